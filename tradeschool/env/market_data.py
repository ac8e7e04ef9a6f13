"""A market as the environment reads it, and the part of it that an episode is."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from tradeschool.env.config import LEVELS, EnvConfig, EnvError
from tradeschool.env.features import LINE, market_facts
from tradeschool.errors import did_you_mean
from tradeschool.market.panel import Floats, Panel
from tradeschool.market.synthetic import SyntheticConfig, simulate

WARM_UP = 50
"""Bars that a stock needs before it can be drawn for an episode: those of the slowest figure, SMA 50."""
ENDED = 5
"""Rows without a bar, up to the panel's last, after which a stock counts as delisted."""
KEYWORDS = ("synthetic", "sample")
"""Markets that need no file."""
OPTIONS = ("start", "tickers")
"""Options of ``reset``."""


class MarketData:
    """Prices, limits and facts of a panel, T rows by N stocks: built once, shared by environments, never changed.

    Attributes:
        close_TN: close, carried forward over days without a bar; NaN before the first bar.
        open_TN: open; the last close where there is no bar (no order fills at it).
        traded_TN: True where a bar exists.
        volume_TN: shares traded; infinite where unknown, 0 where there is no bar. The base of the volume limit.
        gone_TN: True on the first row without a bar of a stock that has none in any later row either, if there are at
            least :data:`ENDED` of them: a file that ends a few days before the others is not a delisting.
        facts_TNM: float32, see ``features.MARKET``.

    Raises:
        EnvError: the panel is not a :class:`Panel`.
    """

    def __init__(self, panel: Panel) -> None:
        if not isinstance(panel, Panel):
            raise EnvError(
                f"a market is a Panel, not a {type(panel).__name__}. tradeschool.market.load.load_prices reads one."
            )
        self.panel = panel
        self.data_hash = panel.data_hash()
        self.traded_TN = panel.listed_TN
        # The last row with a close, up to every row.
        row_TN = np.where(np.isnan(panel.close_TN), 0, np.arange(len(panel.close_TN))[:, None])
        self.close_TN: Floats = np.take_along_axis(panel.close_TN, np.maximum.accumulate(row_TN, axis=0), axis=0)
        self.open_TN = np.where(self.traded_TN, panel.open_TN, self.close_TN)
        volume_TN = np.where(np.isnan(panel.volume_TN), np.inf, panel.volume_TN)
        self.volume_TN: Floats = np.where(self.traded_TN, volume_TN, 0.0)
        self.gone_TN = np.zeros_like(self.traded_TN)
        last_N = len(self.traded_TN) - 1 - np.argmax(self.traded_TN[::-1], axis=0)
        ended_N = np.flatnonzero(self.traded_TN.any(axis=0) & (last_N < len(self.traded_TN) - ENDED))
        self.gone_TN[last_N[ended_N] + 1, ended_N] = True
        self.facts_TNM = market_facts(panel)
        self._words: dict[int, list[str]] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """(T, N)."""
        return self.panel.shape

    @cached_property
    def eligible_TN(self) -> NDArray[np.bool_]:
        """Where a stock can enter an episode: a bar today and at least :data:`WARM_UP` so far. Uses past rows alone."""
        eligible_TN: NDArray[np.bool_] = self.traded_TN & (np.cumsum(self.traded_TN, axis=0) >= WARM_UP)
        return eligible_TN

    @cached_property
    def lines_TN(self) -> NDArray[Any]:
        """What settlement reads of a row and stock: ``features.LINE``."""
        # The items of the array begin at multiples of their size.
        size = math.prod(self.shape) * LINE.itemsize
        memory = np.empty(size + LINE.itemsize, np.uint8)
        skipped = -memory.ctypes.data % LINE.itemsize
        lines_TN = memory[skipped : skipped + size].view(LINE).reshape(self.shape)
        lines_TN["open"], lines_TN["close"], lines_TN["volume"] = self.open_TN, self.close_TN, self.volume_TN
        lines_TN["listed"] = ~np.logical_or.accumulate(self.gone_TN, axis=0) | self.gone_TN
        lines_TN["ended"], lines_TN["facts"] = self.gone_TN, self.facts_TNM
        return lines_TN

    @cached_property
    def eligible_table(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """[T, N] columns, the eligible ones of each row first and in order, and [T] their number."""
        table_TN = np.argsort(~self.eligible_TN, axis=1, kind="stable")
        return table_TN, self.eligible_TN.sum(axis=1)

    def words(self, n: int, write: Callable[[Sequence[float]], str]) -> list[str]:
        """What ``write`` makes of the stock's facts at every row; computed once for each stock."""
        if n not in self._words:
            self._words[n] = [write(facts) for facts in self.facts_TNM[:, n].tolist()]
        return self._words[n]

    def start_rows(self, config: EnvConfig, rows: tuple[int, int] | None = None) -> NDArray[np.intp]:
        """The rows at which an episode can start so that it ends within ``rows`` (first, last); an EnvError if none."""
        first, last = rows or (0, self.shape[0] - 1)
        if not 0 <= first <= last < self.shape[0]:
            raise EnvError(f"rows {rows}: the panel has rows 0 to {self.shape[0] - 1}. Give (first, last) within them.")
        enough_T = self.eligible_TN.sum(axis=1) >= config.tickers
        found = np.flatnonzero(enough_T[first : max(first, last - config.days + 1)]) + first
        if not found.size:
            raise EnvError(
                f"{self.panel.name}: no row from {first} to {last} has {config.tickers} stocks with {WARM_UP} earlier "
                f"bars and {config.days} rows after it. Use fewer stocks or days, or a longer market."
            )
        return found


def read_market(name: str, console: Console, level: str | None = None) -> MarketData:
    """The market of a keyword (``synthetic``, ``sample``) or a path of prices. Prints what was found in reading it.

    An EnvError if the path does not exist, or has too few stocks for the level.
    """
    from tradeschool.config import sections

    if name not in KEYWORDS and not Path(name).expanduser().exists():
        raise EnvError(
            f"--market {name}: there is no such file or folder.{did_you_mean(name, KEYWORDS)} "
            f"Give a path of prices, or one of: {', '.join(KEYWORDS)}."
        )
    section = {"source": name} if name in KEYWORDS else {"path": name}
    panel = sections.load_market(sections.resolved_market(section), console)
    stocks, needed = len(panel.tickers), LEVELS[level]["tickers"] if level else 0
    if stocks < needed:
        smaller = next(one for one in reversed(LEVELS) if LEVELS[one]["tickers"] <= stocks)
        raise EnvError(
            f"Level {level} needs {needed} stocks; {name} has {stocks}. Use --level {smaller.lower()} or add tickers."
        )
    return MarketData(panel)


@functools.lru_cache(maxsize=1)
def synthetic_data() -> MarketData:
    """The default synthetic market, for environments without a panel."""
    return MarketData(simulate(SyntheticConfig()))


def as_market_data(panel: Panel | MarketData | None) -> MarketData:
    """A panel as environments read it. Give several environments one ``MarketData`` to compute it once."""
    if panel is None:
        return synthetic_data()
    return panel if isinstance(panel, MarketData) else MarketData(panel)


@dataclass(frozen=True)
class Episode:
    """One episode's part of the market.

    Attributes:
        data: the market.
        config: the rules.
        start: row of the first decision.
        columns: [N] the stocks' columns in the panel, in the order of the observations.
    """

    data: MarketData
    config: EnvConfig
    start: int
    columns: NDArray[np.intp]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The stocks as observations and orders name them."""
        return tuple(f"S{n + 1}" for n in range(len(self.columns))) if self.config.mask else self.tickers

    @property
    def tickers(self) -> tuple[str, ...]:
        """The stocks' true tickers."""
        return tuple(self.data.panel.tickers[n] for n in self.columns)

    def date(self, day: int) -> str:
        """The date of a day of the episode; empty where dates are hidden."""
        date = self.data.panel.dates_T[self.start + day].astype("datetime64[D]")
        return "" if self.config.mask else str(date)

    @property
    def rows(self) -> slice:
        """The first decision's row to the last valuation's."""
        return slice(self.start, self.start + self.config.days + 1)

    def of(self, values_TN: NDArray[Any]) -> NDArray[Any]:
        """The episode's rows and columns of an array of the market: [days + 1, N, ...]."""
        return values_TN[self.rows].take(self.columns, axis=1)


def draw(
    data: MarketData,
    config: EnvConfig,
    starts: NDArray[np.intp],
    rng: np.random.Generator,
    options: dict[str, Any] | None,
) -> Episode:
    """An episode with its start row and stocks drawn at random, or as ``options`` say.

    Drawn stocks are eligible at the start. Masked stocks are in random order, others in the panel's or as requested.

    Args:
        data: the market.
        config: the rules.
        starts: the rows to draw from, of :meth:`MarketData.start_rows`.
        rng: random numbers.
        options: may hold ``start`` (a row with ``config.days`` rows after it) and ``tickers``.

    Raises:
        EnvError: an option is unknown or not possible.
    """
    options = options or {}
    for key in options:
        if key not in OPTIONS:
            raise EnvError(f"reset has no option '{key}'.{did_you_mean(key, OPTIONS)} Options: {', '.join(OPTIONS)}.")
    tickers = options.get("tickers")
    columns = None if tickers is None else _checked_columns(data, config, tickers)
    if "start" in options:
        start = check_start(data, config, options["start"])
    else:
        if columns is not None:
            starts = starts[data.eligible_TN[np.ix_(starts, columns)].all(axis=1)]
        if not starts.size:
            raise EnvError("there is no row at which all requested tickers have enough earlier bars. Request others.")
        start = int(starts[rng.integers(len(starts))])
    if tickers is not None:
        columns = columns_of(data, config, tickers, start)
        return Episode(data, config, start, rng.permutation(columns) if config.mask else columns)
    eligible = np.flatnonzero(data.eligible_TN[start])
    if len(eligible) < config.tickers:
        raise EnvError(f"row {start} has {len(eligible)} eligible stocks, not {config.tickers}. Start elsewhere.")
    if config.tickers == 1:
        return Episode(data, config, start, eligible[[rng.integers(len(eligible))]])
    drawn = rng.permutation(eligible)[: config.tickers]
    return Episode(data, config, start, drawn if config.mask else np.sort(drawn))


def check_start(data: MarketData, config: EnvConfig, start: Any) -> int:
    """A requested start row; an EnvError if it is not a row, or too late."""
    last = data.shape[0] - 1 - config.days
    if isinstance(start, bool) or not isinstance(start, int | np.integer) or not 0 <= start <= last:
        raise EnvError(f"start {start!r}: give a row from 0 to {last}, which has {config.days} rows after it.")
    return int(start)


def columns_of(data: MarketData, config: EnvConfig, tickers: Sequence[str], start: int) -> NDArray[np.intp]:
    """The columns of requested tickers, in their order, all of which must have a bar at ``start``."""
    columns = _checked_columns(data, config, tickers)
    traded_N = data.traded_TN[start, columns]
    if not traded_N.all():
        missing = data.panel.tickers[columns[np.argmin(traded_N)]]
        raise EnvError(f"{missing} has no bar in row {start}. Start where every requested stock has one.")
    return columns


def _checked_columns(data: MarketData, config: EnvConfig, tickers: Any) -> NDArray[np.intp]:
    named = [] if isinstance(tickers, str) else list(tickers)
    if not len(named) == len(set(named)) == config.tickers:
        raise EnvError(f"tickers {tickers!r}: give a list of {config.tickers} different tickers, as in the settings.")
    panel = data.panel
    for ticker in named:
        if ticker not in panel.tickers:
            raise EnvError(f"{panel.name} has no ticker '{ticker}'.{did_you_mean(ticker, panel.tickers)}")
    return np.array([panel.tickers.index(ticker) for ticker in named], np.intp)
