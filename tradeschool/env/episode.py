"""One episode's part of the market: which stocks, from which row, and the days that follow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.broker import Day
from tradeschool.env.config import EnvConfig, EnvError
from tradeschool.env.data import MarketData
from tradeschool.errors import did_you_mean

OPTIONS = ("start", "tickers")


@lru_cache
def _masked(stocks: int) -> tuple[str, ...]:
    return tuple(f"S{n}" for n in range(1, stocks + 1))


@dataclass(frozen=True)
class Episode:
    """``columns`` are the stocks' columns in the panel, in the order of the observations; ``start`` the first row."""

    data: MarketData
    config: EnvConfig
    start: int
    columns: NDArray[np.intp]

    @property
    def names(self) -> tuple[str, ...]:
        """The stocks as observations and orders name them."""
        if self.config.mask:
            return _masked(len(self.columns))
        return self.tickers

    @property
    def tickers(self) -> tuple[str, ...]:
        """The stocks' true tickers."""
        return tuple(self.data.panel.tickers[n] for n in self.columns)

    def date(self, day: int) -> str:
        """The date of a day of the episode; empty where dates are hidden."""
        if self.config.mask:
            return ""
        return str(self.data.panel.dates_T[self.start + day].astype("datetime64[D]"))

    def words(self) -> list[list[str]]:
        """What a text says of the market: stock by stock, at every row of it."""
        return [self.data.words(n) for n in self.columns.tolist()]

    @property
    def rows(self) -> slice:
        """The first decision's row to the last valuation's."""
        return slice(self.start, self.start + self.config.days + 1)

    def of(self, values_TN: NDArray[Any]) -> NDArray[Any]:
        """The episode's rows and columns of an array of the market: [days + 1, N, ...]."""
        return values_TN[self.rows].take(self.columns, axis=1)

    def day(self, day: int) -> Day:
        """What the broker needs of a day after the first decision's."""
        lines_N = self.data.lines_TN[self.start + day].take(self.columns)
        known, opens, closes, volume_N = (lines_N[name] for name in ("known", "open", "close", "volume"))
        most_N = volume_N * self.config.volume_share
        gone = np.flatnonzero(lines_N["ended"])
        return Day(known.tolist(), opens.tolist(), closes.tolist(), most_N.tolist(), gone.tolist())


def draw(
    data: MarketData,
    config: EnvConfig,
    starts: NDArray[np.intp],
    rng: np.random.Generator,
    options: dict[str, Any] | None,
) -> Episode:
    """An episode with start row and stocks drawn from ``rng``, or as ``options`` say.

    ``starts`` are the rows to draw from (:meth:`MarketData.start_rows`). Drawn stocks are eligible at the start row;
    masked ones stand in the order drawn, others in the panel's. ``options`` may hold ``start`` (a row with
    ``config.days`` rows after it) and ``tickers``.

    Raises:
        EnvError: an option is unknown or cannot be had.
    """
    options = {} if options is None else options
    if not isinstance(options, Mapping):
        raise EnvError(f"reset's options are {options!r}: give a mapping of {', '.join(OPTIONS)}.")
    for key in options:
        if key not in OPTIONS:
            raise EnvError(f"reset has no option '{key}'.{did_you_mean(str(key), OPTIONS)} There are: start, tickers.")
    asked = options.get("tickers")
    if "start" in options:
        start = check_start(data, config, options["start"])
    elif asked is None:
        start = int(starts[rng.integers(len(starts))])
    else:
        start = _start_for(data, starts, _checked_columns(data, config, asked), rng)
    if asked is None:
        return Episode(data, config, start, _drawn(data, config, start, rng))
    columns = columns_of(data, config, asked, start)
    return Episode(data, config, start, rng.permutation(columns) if config.mask else columns)


def check_start(data: MarketData, config: EnvConfig, asked: Any) -> int:
    """A row asked for as a start.

    Raises:
        EnvError: it is no row, or too late.
    """
    last = data.shape[0] - 1 - config.days
    if isinstance(asked, bool) or not isinstance(asked, int | np.integer) or not 0 <= asked <= last:
        raise EnvError(f"start {asked!r}: give a row from 0 to {last}, which has {config.days} rows after it.")
    return int(asked)


def columns_of(data: MarketData, config: EnvConfig, asked: Sequence[str], start: int) -> NDArray[np.intp]:
    """The columns of tickers asked for, in their order.

    Raises:
        EnvError: one is unknown, stands twice or has no bar at ``start``, or their number is not the settings'.
    """
    columns = _checked_columns(data, config, asked)
    traded_N = data.traded_TN[start, columns]
    if not traded_N.all():
        silent = data.panel.tickers[columns[np.argmin(traded_N)]]
        raise EnvError(f"{silent} has no bar in row {start}. Start where every stock asked for has one.")
    return columns


def _checked_columns(data: MarketData, config: EnvConfig, asked: Any) -> NDArray[np.intp]:
    named = asked.tolist() if isinstance(asked, np.ndarray) else asked
    listed = isinstance(named, Sequence) and not isinstance(named, str) and all(isinstance(one, str) for one in named)
    if not listed or len(named) != config.tickers or len(set(named)) != len(named):
        raise EnvError(f"tickers {asked!r}: give a list of {config.tickers} different tickers, as the settings say.")
    return np.array([data.column(ticker) for ticker in named], np.intp)


def _start_for(data: MarketData, starts: NDArray[np.intp], columns: NDArray[np.intp], rng: np.random.Generator) -> int:
    starts = starts[data.eligible_TN[np.ix_(starts, columns)].all(axis=1)]
    if not starts.size:
        raise EnvError("there is no row at which all tickers asked for have enough bars behind them. Ask for others.")
    return int(starts[rng.integers(len(starts))])


def _drawn(data: MarketData, config: EnvConfig, start: int, rng: np.random.Generator) -> NDArray[np.intp]:
    eligible = data.eligible_columns(start)
    if len(eligible) < config.tickers:
        raise EnvError(f"row {start} has {len(eligible)} settled stocks, not {config.tickers}. Start elsewhere.")
    if config.tickers == 1:
        return eligible[[rng.integers(len(eligible))]]
    columns = rng.permutation(eligible)[: config.tickers]
    return columns if config.mask else np.sort(columns)
