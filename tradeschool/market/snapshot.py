"""Everything that is known about a ticker at the close of one day, and nothing later."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from tradeschool.market import features
from tradeschool.market.events.archive import MARKET, TEXTS, EventArchive, KnownEvent
from tradeschool.market.events.event import ROW_KINDS
from tradeschool.market.events.masking import Masker
from tradeschool.market.panel import FIELDS, Floats, Panel

BASE_ROWS = 20
"""The first close of this many bars is shown as 100 in a masked prompt."""
PRICE_DECIMALS, VOLUME_DECIMALS = 10, 3
"""What is divided by a factor is rounded to these, so that a price of 27.845 is that again."""
NEWS_ROWS = 5
MARKET_NEWS_ROWS = 30
ROWS_SHOWN = 15
"""Bars and indicators in a prompt's tables, as in Trading-R1."""
LOOKBACK_DAYS: dict[str, int] = {
    TEXTS: 30,
    "fundamentals": 550,
    "insider": 90,
    "analyst": 90,
    "macro": 730,
    "volatility_index": 30,
    "company": 3650,
}
"""How far back each group of events is shown, in calendar days: Trading-R1's values for news, insider, analyst and
macro rows. 550 days hold the last two yearly filings."""
V = TypeVar("V")
_OF_THE_MARKET = ("macro", "volatility_index")


@dataclass(frozen=True)
class Snapshot:
    """What was known about one ticker after the close of date row ``t``.

    Attributes:
        key: ticker and date, never masked: for identification, not for prompts.
        ticker: the name to show a model: "Stock 7" if masked.
        date: the date to show a model: "day 512" if masked.
        values: every indicator at t by name; NaN where its history is too short.
        news: events about the ticker that became known in the last 5 rows, newest first.
        market_news: events about the whole market that became known in the last 30 rows, newest first.
        recent: the values of the last 15 own bars, oldest first, NaN where unknown, of every indicator (in adjusted
            prices), of open, high, low, close and volume. These are in prices and shares of the day itself, earlier
            ones adjusted for splits and dividends since. If masked, the first close of the last 20 bars is 100.
        events: events of ``texts`` and of each row kind, as far back as :data:`LOOKBACK_DAYS`, newest first.
        masked: whether names, dates and price levels are hidden.
        scale: the factor from prices of the day itself (a target in an event) to those shown; 1 unless masked.
    """

    key: str
    ticker: str
    date: str
    values: Mapping[str, float]
    news: Sequence[KnownEvent]
    market_news: Sequence[KnownEvent]
    recent: Mapping[str, Floats] = field(default_factory=dict)
    events: Mapping[str, Sequence[KnownEvent]] = field(default_factory=dict)
    masked: bool = True
    scale: float = 1.0


class _Lazy(Mapping[str, V]):
    """A mapping with fixed keys whose values are computed on access, because a prompt uses few of them."""

    def __init__(self, names: Mapping[str, None], compute: Callable[[str], V]) -> None:
        self._names, self._compute = names, compute

    def __getitem__(self, name: str) -> V:
        if name not in self._names:
            raise KeyError(name)
        return self._compute(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Snapshots:
    """Makes the snapshots of a panel. Indicators are computed once, causally, for all dates.

    Args:
        panel: the market.
        mask: hide what would let a model recite history. Tickers become "Stock 7" (in an order shuffled by ``seed``),
            dates become counts of trading days, prices start at 100, and symbols, company names and dates are
            replaced in the texts of events.
        seed: determines which ticker gets which masked name.
    """

    def __init__(self, panel: Panel, *, mask: bool = True, seed: int = 0) -> None:
        self.panel = panel
        self.mask = mask
        self.values = dict(features.compute(panel), close=panel.close_TN)
        self.values["strength_10"] = features.strength_TN(panel, self.values["volatility_20"])
        self._bars = {name: getattr(panel, f"{name}_TN") for name in FIELDS}
        self._value_names = dict.fromkeys(self.values)
        self._recent_names = dict.fromkeys((*FIELDS, *self.values))
        self._groups = dict.fromkeys((TEXTS, *ROW_KINDS))
        self._dates = panel.dates_T.astype("datetime64[D]").astype(str).tolist()
        # Panel prices are divided by this to get prices as they were traded on the day.
        self._unit_TN = np.ones(panel.shape) if panel.factor_TN is None else panel.factor_TN
        self._base_TN = _base_TN(panel) if mask else 100.0 * self._unit_TN
        order = np.random.default_rng([seed, 7]).permutation(len(panel.tickers))
        self._masked = {ticker: f"Stock {order[n] + 1}" for n, ticker in enumerate(panel.tickers)}
        self._archive = EventArchive(panel, Masker(self._masked, panel.names) if mask else None)

    def at(self, t: int, n: int) -> Snapshot:
        """The snapshot of ticker column ``n`` after the close of date row ``t``."""
        ticker, date = self.panel.tickers[n], self._dates[t]
        base, unit = float(self._base_TN[t, n]), float(self._unit_TN[t, n])
        return Snapshot(
            key=f"{ticker}@{date}",
            ticker=self._masked[ticker] if self.mask else ticker,
            date=f"day {t}" if self.mask else date,
            values=_Lazy(self._value_names, lambda name: float(self.values[name][t, n])),
            news=self._archive.within_rows(ticker, TEXTS, t, NEWS_ROWS),
            market_news=self._archive.within_rows(MARKET, TEXTS, t, MARKET_NEWS_ROWS),
            recent=_Lazy(self._recent_names, lambda name: self._recent(name, t, n, base, unit)),
            events=_Lazy(self._groups, lambda group: self._events(group, ticker, t)),
            masked=self.mask,
            scale=100 * unit / base,
        )

    def _recent(self, name: str, t: int, n: int, base: float, unit: float) -> Floats:
        values_TN = self._bars[name] if name in self._bars else self.values[name]
        values_L: Floats = values_TN[self.panel.own_bars.until(t, n, ROWS_SHOWN), n]
        if name not in FIELDS:
            return values_L
        if name == "volume":
            return values_L if unit == 1.0 else np.round(values_L * unit, VOLUME_DECIMALS)
        rebased_L = values_L if base == 100.0 else 100 * values_L / base
        return rebased_L if self.mask or unit == 1.0 else np.round(rebased_L, PRICE_DECIMALS)

    def _events(self, group: str, ticker: str, t: int) -> Sequence[KnownEvent]:
        key = MARKET if group in _OF_THE_MARKET else ticker
        return self._archive.within_days(key, group, t, LOOKBACK_DAYS[group])


def _base_TN(panel: Panel) -> Floats:
    """The first known close of the last 20 own bars, which is shown as 100; 100 where there is none."""
    close_BN = panel.own_bars.take(panel.close_TN)
    base_BN = np.full(close_BN.shape, 100.0)
    for back in range(min(BASE_ROWS, len(close_BN))):
        earlier_BN = close_BN[: len(close_BN) - back]
        base_BN[back:] = np.where(np.isfinite(earlier_BN), earlier_BN, base_BN[back:])
    base_TN = panel.own_bars.put(base_BN)
    return np.where(np.isfinite(base_TN), base_TN, 100.0)
