"""All that is known about a ticker at the close of one day, and nothing later."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from tradeschool.market import indicators
from tradeschool.market.notes.archive import MARKET, TEXTS, Archive, DatedNote
from tradeschool.market.notes.masking import Masker
from tradeschool.market.notes.note import ROW_KINDS
from tradeschool.market.panel import FIELDS, Floats, Panel

STRENGTH_DAYS = 10
CLOSES_SHOWN = 20
NEWS_MEMORY_DAYS = 5
MARKET_MEMORY_DAYS = 30
ROWS_SHOWN = 15
"""Days of bars and indicators that a table in a prompt shows, as in Trading-R1."""
LOOKBACK_DAYS: dict[str, int] = {
    TEXTS: 30,
    "fundamentals": 550,
    "insider": 90,
    "analyst": 90,
    "macro": 730,
    "volatility_index": 30,
    "company": 3650,
}
"""How far back a section looks, in calendar days: Trading-R1's for news, insider, analyst and macro rows. The last
two yearly filings fit into 550 days."""
V = TypeVar("V")
_OF_THE_MARKET = ("macro", "volatility_index")


@dataclass(frozen=True)
class Window:
    """What was known about one ticker after the close of date row ``t``.

    ``values`` holds every indicator at t by name (NaN where its history is too short);
    ``closes_L`` the last L closes, oldest first, NaN where there was no bar, in the prices of the day itself
    (later splits and dividends are not in them), rebased to 100 at the first bar when masked;
    ``news`` and ``market_news`` are the newest notes first. ``ticker`` and ``date`` are the words
    that may be said to a model: "Stock 7" and "day 512" when masked.
    ``recent`` holds the last 15 values, oldest first, of every indicator and of open, high, low, close and
    volume (shares of the day itself); ``notes`` the notes of ``texts`` and of each row kind within the days of
    LOOKBACK_DAYS, newest first.
    ``scale`` is what a price of the day itself (a target in a note) is multiplied by when it is said: 1 unless
    masked. Prices in ``recent`` are so already; price-like indicators are in the panel's adjusted prices.
    """

    key: str
    ticker: str
    date: str
    values: Mapping[str, float]
    closes_L: Floats
    news: Sequence[DatedNote]
    market_news: Sequence[DatedNote]
    recent: Mapping[str, Floats] = field(default_factory=dict)
    notes: Mapping[str, Sequence[DatedNote]] = field(default_factory=dict)
    masked: bool = True
    scale: float = 1.0


class _ValuesAt(Mapping[str, float]):
    """One cell of every indicator array, read when asked for: a prompt states few of them."""

    def __init__(self, values: dict[str, Floats], t: int, n: int) -> None:
        self._values, self._t, self._n = values, t, n

    def __getitem__(self, name: str) -> float:
        return float(self._values[name][self._t, self._n])

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class _Lazy(Mapping[str, V]):
    """Known keys, values worked out when asked for."""

    def __init__(self, names: tuple[str, ...], value: Callable[[str], V]) -> None:
        self._names, self._value = names, value

    def __getitem__(self, name: str) -> V:
        if name not in self._names:
            raise KeyError(name)
        return self._value(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(self._names))

    def __len__(self) -> int:
        return len(set(self._names))


class Windows:
    """Makes Windows from a Panel. Indicators are computed once, causally, for all dates.

    Args:
        panel: the market.
        mask: hide what would let a model recite history: tickers become "Stock 7" (an order
            shuffled by ``seed``), dates become counts of trading days, prices start at 100, and
            symbols, company names and dates are replaced inside notes.
        seed: fixes which ticker gets which masked name.
    """

    def __init__(self, panel: Panel, *, mask: bool = True, seed: int = 0) -> None:
        self.panel = panel
        self.mask = mask
        self.values = dict(indicators.compute(panel), close=panel.close_TN)
        self.values["strength_10"] = strength_TN(panel, self.values["volatility_20"])
        self._bars = {name: getattr(panel, f"{name}_TN") for name in FIELDS}
        self._dates = panel.dates_T.astype("datetime64[D]").astype(str).tolist()
        # What a price of the panel is divided by to be one of the day itself, before later splits and dividends.
        self._unit_TN = np.ones(panel.shape) if panel.factor_TN is None else panel.factor_TN
        self._base_TN = _base_TN(panel.close_TN) if mask else 100.0 * self._unit_TN
        order = np.random.default_rng([seed, 7]).permutation(len(panel.tickers))
        self._masked = {ticker: f"Stock {order[n] + 1}" for n, ticker in enumerate(panel.tickers)}
        self._archive = Archive(panel, Masker(self._masked, panel.names) if mask else None)

    def at(self, t: int, n: int) -> Window:
        """The Window of ticker column ``n`` after the close of date row ``t``."""
        ticker, date = self.panel.tickers[n], self._dates[t]
        base, unit = float(self._base_TN[t, n]), float(self._unit_TN[t, n])
        closes_L = self.panel.close_TN[max(0, t - CLOSES_SHOWN + 1) : t + 1, n]
        return Window(
            key=f"{ticker}@{date}",
            ticker=self._masked[ticker] if self.mask else ticker,
            date=f"day {t}" if self.mask else date,
            values=_ValuesAt(self.values, t, n),
            closes_L=_rebased(closes_L, base),
            news=self._archive.within_rows(ticker, TEXTS, t, NEWS_MEMORY_DAYS),
            market_news=self._archive.within_rows(MARKET, TEXTS, t, MARKET_MEMORY_DAYS),
            recent=_Lazy((*FIELDS, *self.values), lambda name: self._recent(name, t, n, base, unit)),
            notes=_Lazy((TEXTS, *ROW_KINDS), lambda group: self._noted(group, ticker, t)),
            masked=self.mask,
            scale=100 * unit / base,
        )

    def _recent(self, name: str, t: int, n: int, base: float, unit: float) -> Floats:
        values_TN = self._bars[name] if name in self._bars else self.values[name]
        values_L: Floats = values_TN[max(0, t - ROWS_SHOWN + 1) : t + 1, n]
        if name == "volume":
            return values_L if unit == 1.0 else values_L * unit
        return _rebased(values_L, base) if name in FIELDS else values_L

    def _noted(self, group: str, ticker: str, t: int) -> Sequence[DatedNote]:
        key = MARKET if group in _OF_THE_MARKET else ticker
        return self._archive.within_days(key, group, t, LOOKBACK_DAYS[group])


def _base_TN(close_TN: Floats) -> Floats:
    """The first close of the last 20 rows, which is said as 100; 100 itself where there is none."""
    # The first bar, not the first row: a late listing or a gap must not hide the closes after it.
    base_TN = np.full(close_TN.shape, 100.0)
    for back in range(CLOSES_SHOWN):
        rows = len(close_TN) - back
        if rows > 0:
            earlier_TN = close_TN[:rows]
            base_TN[back:] = np.where(np.isfinite(earlier_TN), earlier_TN, base_TN[back:])
    return base_TN


def _rebased(prices_L: Floats, base: float) -> Floats:
    return prices_L if base == 100.0 else 100 * prices_L / base


def strength_TN(panel: Panel, volatility_TN: Floats) -> Floats:
    """Ten-day log return less the market's (equal weights), in units of the stock's own volatility.

    With a single ticker there is no market to compare with: its own return is used.
    """
    gained_TN = np.full(panel.shape, np.nan)
    logs_TN = np.log(panel.close_TN)
    gained_TN[STRENGTH_DAYS:] = logs_TN[STRENGTH_DAYS:] - logs_TN[:-STRENGTH_DAYS]
    if panel.shape[1] > 1:
        count_T = np.isfinite(gained_TN).sum(axis=1)
        mean_T = np.nansum(gained_TN, axis=1) / np.maximum(count_T, 1)
        gained_TN = gained_TN - mean_T[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled_TN = gained_TN / (volatility_TN * np.sqrt(STRENGTH_DAYS))
    return np.where(volatility_TN > 0, scaled_TN, np.nan)
