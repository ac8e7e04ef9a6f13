"""All that is known about a ticker at the close of one day, and nothing later."""

import bisect
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tradeschool.market import indicators
from tradeschool.market.panel import Floats, Note, Panel

STRENGTH_DAYS = 10
CLOSES_SHOWN = 20
NEWS_MEMORY_DAYS = 5
MARKET_MEMORY_DAYS = 30


@dataclass(frozen=True)
class DatedNote:
    """A note as a Window shows it: its text and its age in trading days."""

    text: str
    age: int


@dataclass(frozen=True)
class Window:
    """What was known about one ticker after the close of date row ``t``.

    ``values`` holds every indicator at t by name (NaN where its history is too short);
    ``closes_L`` the last L closes, oldest first, NaN where there was no bar, rebased to 100 at the
    first bar when masked;
    ``news`` and ``market_news`` are the newest notes first. ``ticker`` and ``date`` are the words
    that may be said to a model: "Stock 7" and "day 512" when masked.
    """

    key: str
    ticker: str
    date: str
    values: Mapping[str, float]
    closes_L: Floats
    news: tuple[DatedNote, ...]
    market_news: tuple[DatedNote, ...]


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


class Windows:
    """Makes Windows from a Panel. Indicators are computed once, causally, for all dates.

    Args:
        panel: the market.
        mask: hide what would let a model recite history: tickers become "Stock 7" (an order
            shuffled by ``seed``), dates become counts of trading days, prices start at 100, and
            ticker symbols are replaced inside notes.
        seed: fixes which ticker gets which masked name.
    """

    def __init__(self, panel: Panel, *, mask: bool = True, seed: int = 0) -> None:
        self.panel = panel
        self.mask = mask
        self.values = dict(indicators.compute(panel), close=panel.close_TN)
        self.values["strength_10"] = strength_TN(panel, self.values["volatility_20"])
        order = np.random.default_rng([seed, 7]).permutation(len(panel.tickers))
        self._masked = {ticker: f"Stock {order[n] + 1}" for n, ticker in enumerate(panel.tickers)}
        # The longest first, so that BRK.B is not read as BRK.
        symbols = "|".join(map(re.escape, sorted(panel.tickers, key=len, reverse=True)))
        self._symbols = re.compile(rf"(?<!\w)\$?({symbols})(?!\w)")
        self._rows: dict[str | None, list[int]] = defaultdict(list)
        self._notes: dict[str | None, list[Note]] = defaultdict(list)
        dates_T = panel.dates_T.astype("datetime64[D]")
        for note in sorted(panel.notes, key=lambda note: note.known_at):
            # A note of a day without trading is first known at the close of the next trading day.
            self._rows[note.ticker].append(int(np.searchsorted(dates_T, note.known_at.astype("datetime64[D]"))))
            self._notes[note.ticker].append(note)

    def at(self, t: int, n: int) -> Window:
        """The Window of ticker column ``n`` after the close of date row ``t``."""
        ticker, date = self.panel.tickers[n], str(self.panel.dates_T[t].astype("datetime64[D]"))
        closes_L = self.panel.close_TN[max(0, t - CLOSES_SHOWN + 1) : t + 1, n]
        return Window(
            key=f"{ticker}@{date}",
            ticker=self._masked[ticker] if self.mask else ticker,
            date=f"day {t}" if self.mask else date,
            values=_ValuesAt(self.values, t, n),
            closes_L=_rebased(closes_L) if self.mask else closes_L,
            news=self._recent(ticker, t, NEWS_MEMORY_DAYS),
            market_news=self._recent(None, t, MARKET_MEMORY_DAYS),
        )

    def _recent(self, ticker: str | None, t: int, days: int) -> tuple[DatedNote, ...]:
        rows = self._rows.get(ticker, [])
        first, last = bisect.bisect_right(rows, t - days), bisect.bisect_right(rows, t)
        return tuple(
            DatedNote(self._say(self._notes[ticker][i].text), t - rows[i]) for i in range(last - 1, first - 1, -1)
        )

    def _say(self, text: str) -> str:
        return self._symbols.sub(lambda found: self._masked[found[1]], text) if self.mask else text


def _rebased(closes_L: Floats) -> Floats:
    # From the first bar, not the first row: a late listing or a gap must not hide the closes after it.
    known_L = closes_L[np.isfinite(closes_L)]
    return 100 * closes_L / known_L[0] if known_L.size else closes_L


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
