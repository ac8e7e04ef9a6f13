"""The practice market: seeded, lifelike, with a known amount of predictability planted in it.

What can be predicted at the close of day t is a known function of three things that a Window
shows: the strength of the stock against the market over ten days, the state of the market (told
by market headlines) and the tone of the company's latest headline. Strength goes on while the
market is trending and reverses while it is choppy; company news drifts on for a few days. With
``edge: 0`` nothing can be predicted: every open is a martingale given all that came before.
"""

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tradeschool.market.notes.note import Note
from tradeschool.market.panel import Floats, Panel

STRENGTH_DAYS = 10
VOLATILITY_DAYS = 20
NEWS_DAYS = 5
MAX_STRENGTH = 2.0
INTRADAY_VARIANCE = 0.7
TAIL_DEGREES = 5
MAX_SHOCK = 6.0
TRENDING_SHARE = 0.6
MEAN_REGIME_DAYS = 15
RESTATE_DAYS = 10
NEWS_RATE = 0.12
# Scales the signal to a root mean square of about one, so that `edge` reads as a correlation.
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


class PracticeConfig(BaseModel):
    """The dials of the practice market.

    ``edge`` is the correlation, within a fifth, over all tickers and days, between the best forecast
    of the next open-to-open excess return (in units of volatility) and that return: 0 is a martingale,
    0.05 what a good real signal may have, 0.3 a strong edge that a small model can learn in minutes.
    """

    model_config = ConfigDict(extra="forbid")

    seed: int = Field(default=0, ge=0)
    tickers: int = Field(default=40, ge=2, le=500)
    days: int = Field(default=1500, ge=200, le=20_000)
    edge: float = Field(default=0.3, ge=0.0, le=0.6)
    start: str = "2010-01-04"

    @field_validator("start")
    @classmethod
    def _is_a_date(cls, value: str) -> str:
        try:
            return datetime.date.fromisoformat(value).isoformat()
        except ValueError as error:
            raise ValueError(f"is {value!r}, but must be a date like 2010-01-04") from error


@dataclass(frozen=True)
class _Weather:
    """Everything that does not depend on prices: drawn before the first day."""

    trending_T: NDArray[np.bool_]
    tone_TN: Floats
    shock_T2N: Floats
    scale_TN: Floats
    notes: list[Note]


def practice(config: PracticeConfig) -> Panel:
    """Simulate a practice market; its ``planted_TN`` is the best forecast at every date.

    Units of ``planted_TN``: the simple return from the open of t+1 to that of t+2, divided by the
    20-day volatility known at the close of t. NaN during the first 20 days.
    """
    rng = np.random.default_rng([config.seed, 20])
    dates_T = np.busday_offset(config.start, np.arange(config.days), roll="forward").astype("datetime64[D]")
    tickers = tuple(f"PRAC{n:02d}" for n in range(config.tickers))
    weather = _weather(rng, dates_T, tickers)
    bars, planted_TN = _simulate(config, rng, weather)
    return Panel(
        dates_T=dates_T,
        tickers=tickers,
        notes=tuple(weather.notes),
        name=f"practice market (edge {config.edge:g}, seed {config.seed})",
        planted_TN=planted_TN,
        **bars,
    )


def _weather(rng: np.random.Generator, dates_T: NDArray[Any], tickers: tuple[str, ...]) -> _Weather:
    days, count = len(dates_T), len(tickers)
    trending_T = _regimes(rng, days)
    event_TN = rng.random((days, count)) < NEWS_RATE
    good_TN = rng.random((days, count)) < 0.5
    notes = _market_notes(rng, dates_T, trending_T)
    notes += _company_notes(rng, dates_T, tickers, event_TN, good_TN)
    notes.sort(key=lambda note: note.known_at)
    return _Weather(
        trending_T=trending_T,
        tone_TN=_lasting_tone(event_TN, good_TN),
        shock_T2N=_shocks(rng, days, count),
        scale_TN=_volatility(rng, days, count),
        notes=notes,
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


def _market_notes(rng: np.random.Generator, dates_T: NDArray[Any], trending_T: NDArray[np.bool_]) -> list[Note]:
    """A headline at every change of regime, restated every ten days."""
    changed_T = np.diff(trending_T, prepend=~trending_T[:1])
    notes = []
    for t in np.flatnonzero(changed_T | (np.arange(len(dates_T)) % RESTATE_DAYS == 0)):
        texts = TRENDING if trending_T[t] else CHOPPY
        notes.append(Note(dates_T[t], None, "market", str(rng.choice(texts))))
    return notes


def _company_notes(
    rng: np.random.Generator,
    dates_T: NDArray[Any],
    tickers: tuple[str, ...],
    event_TN: NDArray[np.bool_],
    good_TN: NDArray[np.bool_],
) -> list[Note]:
    notes = []
    for t, n in np.argwhere(event_TN):
        texts = GOOD_NEWS if good_TN[t, n] else BAD_NEWS
        notes.append(Note(dates_T[t], tickers[n], "news", str(rng.choice(texts))))
    return notes


def _lasting_tone(event_TN: NDArray[np.bool_], good_TN: NDArray[np.bool_]) -> Floats:
    """+1 or -1 from the latest headline of the last NEWS_DAYS days, 0 when there is none."""
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


def _simulate(config: PracticeConfig, rng: np.random.Generator, weather: _Weather) -> tuple[dict[str, Any], Floats]:
    """Walk the days; what is predictable for t+1 is fixed by what is visible at the close of t."""
    days, count = weather.tone_TN.shape
    open_TN, close_TN, planted_TN = (np.full((days, count), np.nan) for _ in range(3))
    drift_N = np.zeros(count)  # the planted return of the open-to-open step now under way
    opening_N = rng.uniform(20, 200, count)
    noise_left = np.sqrt(1 - config.edge**2)
    for t in range(days):
        open_TN[t] = opening_N
        sigma_N = weather.scale_TN[t] * noise_left
        step_N = INTRADAY_VARIANCE * drift_N + np.sqrt(INTRADAY_VARIANCE) * sigma_N * weather.shock_T2N[t, 0]
        close_TN[t] = opening_N * (1 + np.clip(step_N, -0.6, 0.6))
        night = 1 - INTRADAY_VARIANCE
        step_N = night * drift_N + np.sqrt(night) * sigma_N * weather.shock_T2N[t, 1]
        opening_N = close_TN[t] * (1 + np.clip(step_N, -0.6, 0.6))
        if t >= VOLATILITY_DAYS:
            signal_N, volatility_N = _signal(close_TN[: t + 1], weather.trending_T[t], weather.tone_TN[t])
            planted_TN[t] = config.edge * signal_N
            drift_N = planted_TN[t] * volatility_N
    return {**_ranges(rng, open_TN, close_TN, weather.scale_TN), "open_TN": open_TN, "close_TN": close_TN}, planted_TN


def _signal(close_TN: Floats, trending: bool, tone_N: Floats) -> tuple[Floats, Floats]:
    """The best forecast in units of volatility over ``edge``, and the volatility, at the last row."""
    steps = np.diff(np.log(close_TN[-VOLATILITY_DAYS - 1 :]), axis=0)
    volatility_N = steps.std(axis=0, ddof=1)
    gained_N = np.log(close_TN[-1] / close_TN[-1 - STRENGTH_DAYS])
    strength_N = (gained_N - gained_N.mean()) / (volatility_N * np.sqrt(STRENGTH_DAYS))
    strength_N = np.clip(strength_N, -MAX_STRENGTH, MAX_STRENGTH)
    side = 1.0 if trending else -1.0
    return STRENGTH_WEIGHT * side * strength_N + NEWS_WEIGHT * tone_N, volatility_N


def _ranges(rng: np.random.Generator, open_TN: Floats, close_TN: Floats, scale_TN: Floats) -> dict[str, Floats]:
    """Highs, lows and volumes that fit the opens and closes."""
    shape = open_TN.shape
    top_TN, bottom_TN = np.maximum(open_TN, close_TN), np.minimum(open_TN, close_TN)
    high_TN = top_TN * np.exp(np.abs(rng.normal(0, 0.4, shape)) * scale_TN)
    low_TN = bottom_TN * np.exp(-np.abs(rng.normal(0, 0.4, shape)) * scale_TN)
    moved_TN = np.abs(np.log(close_TN / open_TN)) / scale_TN
    volume_TN = np.round(1e6 * np.exp(rng.normal(0, 0.35, shape) + 0.3 * moved_TN))
    return {"high_TN": high_TN, "low_TN": low_TN, "volume_TN": volume_TN}
