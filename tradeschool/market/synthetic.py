"""A seeded synthetic market with a known amount of predictability.

The predictable part of the next return is a known function of three things that a snapshot shows at the close of day
t: the stock's strength against the market over ten days, the market regime (reported by market headlines) and the
tone of the company's latest headline. Strength continues in a trending regime and reverses in a choppy one; company
news keeps moving the price for a few days. With ``edge: 0`` nothing is predictable: every open is a martingale given
the past.
"""

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tradeschool.market.events.event import Event
from tradeschool.market.panel import Floats, Panel

STRENGTH_DAYS = 10
VOLATILITY_DAYS = 20
NEWS_DAYS = 5
DAYS_A_YEAR = 252
MAX_STRENGTH = 2.0
INTRADAY_VARIANCE = 0.7
TAIL_DEGREES = 5
MAX_SHOCK = 6.0
TRENDING_SHARE = 0.6
MEAN_REGIME_DAYS = 15
RESTATE_DAYS = 10
NEWS_RATE = 0.12
QUARTER = 63
"""Trading days."""
# Scale the signal to a root mean square of about one, so that `edge` is a correlation.
STRENGTH_WEIGHT = 0.78
NEWS_WEIGHT = 0.65

TRENDING = ("Trends persist across the market", "Markets are trending", "Trending sessions continue")
CHOPPY = ("Choppy trading across the market", "Markets are choppy", "Moves reverse in choppy sessions")
GOOD_NEWS = (
    "Profit beats forecasts",
    "Wins large contract",
    "Raises outlook",
    "Upgraded by analysts",
    "Record sales reported",
    "Buyback announced",
)
BAD_NEWS = (
    "Profit misses forecasts",
    "Loses large contract",
    "Cuts outlook",
    "Downgraded by analysts",
    "Weak sales reported",
    "Lawsuit announced",
)


class SyntheticConfig(BaseModel):
    """Settings of the synthetic market.

    ``edge`` is the correlation (to within about 20 %) over all tickers and days between the best possible forecast of
    the next open-to-open excess return, in units of volatility, and that return. 0 is a martingale, 0.05 a good real
    signal, 0.3 a strong edge that a small model learns in minutes. ``drift`` is what every stock is expected to gain in
    a year. All gain it alike, so it is no edge: returns above the market do not have it. ``fundamentals`` adds a row of
    made-up figures of every company each quarter. They have nothing to do with prices, and leave these as they are.
    """

    model_config = ConfigDict(extra="forbid")

    seed: int = Field(default=0, ge=0)
    tickers: int = Field(default=40, ge=2, le=500)
    days: int = Field(default=1500, ge=200, le=20_000)
    edge: float = Field(default=0.3, ge=0.0, le=0.6)
    drift: float = Field(default=0.0, ge=-0.5, le=1.0)
    start: datetime.date = datetime.date(2010, 1, 4)
    fundamentals: bool = False

    @field_validator("start")
    @classmethod
    def _in_our_calendar(cls, start: datetime.date) -> datetime.date:
        if not 1900 <= start.year <= 2200:
            raise ValueError(f"is {start}, but must be a day from 1900 to 2200")
        return start


def simulate(config: SyntheticConfig) -> Panel:
    """Simulate a market whose ``true_alpha_TN`` [T, N] is the best possible forecast at the close of every date.

    ``true_alpha_TN`` is the expected simple return from the open of t+1 to the open of t+2, less the drift that all
    stocks have in common, divided by the 20-day volatility known at the close of t; NaN for the first 20 days.
    """
    rng = np.random.default_rng([config.seed, 20])
    dates_T = np.busday_offset(np.datetime64(config.start, "D"), np.arange(config.days), roll="forward").astype(
        "datetime64[D]"
    )
    tickers = tuple(f"PRAC{n:02d}" for n in range(config.tickers))
    days, count = config.days, config.tickers
    trending_T = _regimes(rng, days)
    event_TN = rng.random((days, count)) < NEWS_RATE
    good_TN = rng.random((days, count)) < 0.5
    events = _market_events(rng, dates_T, trending_T)
    for t, n in np.argwhere(event_TN):
        texts = GOOD_NEWS if good_TN[t, n] else BAD_NEWS
        events.append(Event(dates_T[t], tickers[n], "news", str(rng.choice(texts))))
    if config.fundamentals:
        events += _fundamentals(config, dates_T, tickers)
    tone_TN = _lasting_tone(event_TN, good_TN)
    shock_T2N = _shocks(rng, days, count)
    scale_TN = _volatility(rng, days, count)
    opening_N = rng.uniform(20, 200, count)
    open_TN, close_TN, true_alpha_TN = _simulate(config, opening_N, trending_T, tone_TN, shock_T2N, scale_TN)
    drifting = f"drift {config.drift:g}, " if config.drift else ""
    return Panel(
        dates_T=dates_T,
        tickers=tickers,
        open_TN=open_TN,
        close_TN=close_TN,
        **_ranges(rng, open_TN, close_TN, scale_TN),
        events=tuple(sorted(events, key=lambda event: event.known_at)),
        name=f"synthetic market (edge {config.edge:g}, {drifting}seed {config.seed})",
        true_alpha_TN=true_alpha_TN,
    )


def _regimes(rng: np.random.Generator, days: int) -> NDArray[np.bool_]:
    """A two-state Markov chain, trending for TRENDING_SHARE of the time."""
    rate = 2 / MEAN_REGIME_DAYS
    leave = {True: rate * (1 - TRENDING_SHARE), False: rate * TRENDING_SHARE}
    trending_T = np.empty(days, dtype=bool)
    state = bool(rng.random() < TRENDING_SHARE)
    for t, draw in enumerate(rng.random(days)):
        if draw < leave[state]:
            state = not state
        trending_T[t] = state
    return trending_T


def _market_events(rng: np.random.Generator, dates_T: NDArray[Any], trending_T: NDArray[np.bool_]) -> list[Event]:
    """A headline at every change of regime, repeated every ten days."""
    changed_T = np.diff(trending_T, prepend=~trending_T[:1])
    events = []
    for t in np.flatnonzero(changed_T | (np.arange(len(dates_T)) % RESTATE_DAYS == 0)):
        texts = TRENDING if trending_T[t] else CHOPPY
        events.append(Event(dates_T[t], None, "market", str(rng.choice(texts))))
    return events


def _fundamentals(config: SyntheticConfig, dates_T: NDArray[Any], tickers: Sequence[str]) -> list[Event]:
    """Sales, profits and debt of every company each quarter, on days of its own."""
    rng = np.random.default_rng([config.seed, 31])  # of their own, so that prices and headlines stay the same
    events = []
    for ticker in tickers:
        sales, margin, debt = np.exp(rng.normal(20, 1)), rng.uniform(0.02, 0.2), rng.uniform(0.1, 2)
        for t in range(int(rng.integers(QUARTER)), len(dates_T), QUARTER):
            sales *= np.exp(rng.normal(0.01, 0.05))
            margin = min(max(margin + rng.normal(0, 0.01), -0.1), 0.3)
            debt = max(debt + rng.normal(0, 0.05), 0.0)
            fields = {"revenue": sales, "net_income": margin * sales, "debt_ratio": debt}
            rounded = {name: float(f"{value:.4g}") for name, value in fields.items()}
            events.append(Event(dates_T[t], ticker, "fundamentals", fields=rounded))
    return events


def _lasting_tone(event_TN: NDArray[np.bool_], good_TN: NDArray[np.bool_]) -> Floats:
    """+1 or -1 by the latest headline of the last NEWS_DAYS days, 0 without one."""
    tone_TN = np.zeros(event_TN.shape)
    for back in range(NEWS_DAYS - 1, -1, -1):
        shifted_event = event_TN[: len(event_TN) - back]
        shifted_tone = np.where(good_TN, 1.0, -1.0)[: len(event_TN) - back]
        tone_TN[back:] = np.where(shifted_event, shifted_tone, tone_TN[back:])
    return tone_TN


def _shocks(rng: np.random.Generator, days: int, count: int) -> Floats:
    """Unit-variance fat-tailed shocks for (day, overnight or intraday, ticker), with a common factor."""

    def draw(*shape: int) -> Floats:
        raw = rng.standard_t(TAIL_DEGREES, shape) / np.sqrt(TAIL_DEGREES / (TAIL_DEGREES - 2))
        return np.clip(raw, -MAX_SHOCK, MAX_SHOCK)

    loading_N = rng.uniform(0.35, 0.65, count)
    return loading_N * draw(days, 2, 1) + np.sqrt(1 - loading_N**2) * draw(days, 2, count)


def _volatility(rng: np.random.Generator, days: int, count: int) -> Floats:
    """Daily volatility: a level per ticker times a slow common and a slow own log-AR(1) (clustering)."""
    level_N = rng.uniform(0.010, 0.022, count)

    def slow(columns: int, size: float) -> Floats:
        path = np.empty((days, columns))
        state = rng.normal(0, size, columns)
        for t in range(days):
            state = 0.98 * state + np.sqrt(1 - 0.98**2) * rng.normal(0, size, columns)
            path[t] = state
        return path

    return level_N * np.exp(slow(1, 0.25) + slow(count, 0.2))


def _simulate(
    config: SyntheticConfig,
    opening_N: Floats,
    trending_T: NDArray[np.bool_],
    tone_TN: Floats,
    shock_T2N: Floats,
    scale_TN: Floats,
) -> tuple[Floats, Floats, Floats]:
    """Opens, closes and true alpha; the predictable part of t+1 depends on what is known at the close of t."""
    days, count = tone_TN.shape
    open_TN, close_TN, true_alpha_TN = (np.full((days, count), np.nan) for _ in range(3))
    common = config.drift / DAYS_A_YEAR
    expected_N = np.full(count, common)  # the expected return of the current open-to-open step
    noise_left = np.sqrt(1 - config.edge**2)
    for t in range(days):
        open_TN[t] = opening_N
        sigma_N = scale_TN[t] * noise_left
        step_N = INTRADAY_VARIANCE * expected_N + np.sqrt(INTRADAY_VARIANCE) * sigma_N * shock_T2N[t, 0]
        close_TN[t] = opening_N * (1 + np.clip(step_N, -0.6, 0.6))
        night = 1 - INTRADAY_VARIANCE
        step_N = night * expected_N + np.sqrt(night) * sigma_N * shock_T2N[t, 1]
        opening_N = close_TN[t] * (1 + np.clip(step_N, -0.6, 0.6))
        if t >= VOLATILITY_DAYS:
            signal_N, volatility_N = _signal(close_TN[: t + 1], trending_T[t], tone_TN[t])
            true_alpha_TN[t] = config.edge * signal_N
            expected_N = true_alpha_TN[t] * volatility_N + common
    return open_TN, close_TN, true_alpha_TN


def _signal(close_TN: Floats, trending: bool, tone_N: Floats) -> tuple[Floats, Floats]:
    """The best forecast in units of volatility, divided by ``edge``, and the volatility, at the last row."""
    steps = np.diff(np.log(close_TN[-VOLATILITY_DAYS - 1 :]), axis=0)
    volatility_N = steps.std(axis=0, ddof=1)
    gained_N = np.log(close_TN[-1] / close_TN[-1 - STRENGTH_DAYS])
    strength_N = (gained_N - gained_N.mean()) / (volatility_N * np.sqrt(STRENGTH_DAYS))
    strength_N = np.clip(strength_N, -MAX_STRENGTH, MAX_STRENGTH)
    side = 1.0 if trending else -1.0
    return STRENGTH_WEIGHT * side * strength_N + NEWS_WEIGHT * tone_N, volatility_N


def _ranges(rng: np.random.Generator, open_TN: Floats, close_TN: Floats, scale_TN: Floats) -> dict[str, Any]:
    """Highs, lows and volumes consistent with the opens and closes."""
    shape = open_TN.shape
    top_TN, bottom_TN = np.maximum(open_TN, close_TN), np.minimum(open_TN, close_TN)
    high_TN = top_TN * np.exp(np.abs(rng.normal(0, 0.4, shape)) * scale_TN)
    low_TN = bottom_TN * np.exp(-np.abs(rng.normal(0, 0.4, shape)) * scale_TN)
    moved_TN = np.abs(np.log(close_TN / open_TN)) / scale_TN
    volume_TN = np.round(1e6 * np.exp(rng.normal(0, 0.35, shape) + 0.3 * moved_TN))
    return {"high_TN": high_TN, "low_TN": low_TN, "volume_TN": volume_TN}
