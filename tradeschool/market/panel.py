"""The market as arrays: daily bars aligned to dates x tickers, and the events published along the way."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import DataError
from tradeschool.market.calendar import bars_per_year, find_exchange
from tradeschool.market.events.event import Event
from tradeschool.market.own_bars import OwnBars

Floats = NDArray[np.float64]
FIELDS = ("open", "high", "low", "close", "volume")
BLOCK = 64
"""Rows of bars that are checked at a time."""


@dataclass(frozen=True)
class GivenWindows:
    """Windows of one ticker's closes that were read from files without prices (``market/window_files.py``).

    Attributes:
        end_rows_W: the row of the last input of each.
        part_W: ``train``, ``validation`` or ``test``.
        columns: of the files, lists [W, L], numbers [W].
        shift: the panel's close is the scaled close plus this.
    """

    end_rows_W: NDArray[np.int64]
    part_W: NDArray[np.str_]
    columns: Mapping[str, Floats]
    shift: float


@dataclass(frozen=True)
class Panel:
    """Daily bars of all tickers, validated once at construction.

    Arrays are float64 [T, N] (T dates, N tickers), NaN where a ticker was not listed or not traded.

    Attributes:
        dates_T: datetime64, ascending. A row stands for the close of ``exchange`` on that date: decisions are taken
            then.
        tickers: N symbols.
        open_TN, high_TN, low_TN, close_TN, volume_TN: the bars, adjusted where ``factor_TN`` is given.
        events: what was published, each with the moment from which it is known.
        name: shown in messages.
        exchange: name of the exchange, see :mod:`tradeschool.market.calendar`.
        names: company names by ticker, which masking hides in events.
        true_alpha_TN: synthetic markets only. The expected log return from the open of day t+1 to the open of day t+2,
            given all that is known after the close of day t, in units of the ticker's daily volatility at t. Only
            ``market/labels.py`` may read it.
        factor_TN: what prices were multiplied by (and volumes divided by) for the splits and dividends until that day;
            None where nothing was adjusted. Prices are those of a share whose dividends were reinvested since the first
            bar, so no later split or dividend changes them. Divided by the factor they are the file's.
        given: by ticker, the windows that the panel was made of; its bars are then no prices.

    Raises:
        DataError: shapes differ, dates do not ascend, tickers repeat, a bar breaks a rule, or the exchange is unknown.
    """

    dates_T: NDArray[np.datetime64]
    tickers: tuple[str, ...]
    open_TN: Floats
    high_TN: Floats
    low_TN: Floats
    close_TN: Floats
    volume_TN: Floats
    events: tuple[Event, ...] = ()
    name: str = "market"
    exchange: str = "NYSE"
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    true_alpha_TN: Floats | None = field(default=None, repr=False)
    factor_TN: Floats | None = field(default=None, repr=False)
    given: Mapping[str, GivenWindows] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        find_exchange(self.exchange)
        _check_shape(self)
        _check_bars(self)

    @property
    def shape(self) -> tuple[int, int]:
        """(T, N)."""
        return len(self.dates_T), len(self.tickers)

    @property
    def bars_per_year(self) -> int:
        """Rows a year, found from the dates: 252 on business days, 365 on seven days a week, 52 for weekly bars."""
        return bars_per_year(self.dates_T)

    @property
    def listed_TN(self) -> NDArray[np.bool_]:
        """True where a bar exists."""
        return np.isfinite(self.close_TN)

    @cached_property
    def traded_close_TN(self) -> Floats:
        """The close as it was traded, without adjustment."""
        return self.close_TN if self.factor_TN is None else self.close_TN / self.factor_TN

    @cached_property
    def own_bars(self) -> OwnBars:
        """Each ticker's own bars, without the rows on which it has none."""
        return OwnBars(self.listed_TN, self.dates_T)

    def data_hash(self) -> str:
        """Sixteen hex digits over dates, tickers, bars, factors, events, exchange and company names."""
        digest = hashlib.sha256()
        digest.update(self.dates_T.astype("datetime64[D]").astype(np.int64).tobytes())
        digest.update("\n".join(self.tickers).encode())
        for name in FIELDS:
            digest.update(np.ascontiguousarray(getattr(self, f"{name}_TN")).tobytes())
        if self.factor_TN is not None:
            digest.update(np.ascontiguousarray(self.factor_TN).tobytes())
        for ticker, windows in (self.given or {}).items():
            digest.update(ticker.encode())
            for values in (windows.end_rows_W, *windows.columns.values()):
                digest.update(np.ascontiguousarray(values).tobytes())
        for event in self.events:
            digest.update(event.digest_line().encode())
        if self.exchange != "NYSE" or self.names:
            digest.update(f"{self.exchange}|{sorted(self.names.items())}".encode())
        return digest.hexdigest()[:16]


def _check_shape(panel: Panel) -> None:
    for name in (*(f"{bar}_TN" for bar in FIELDS), "true_alpha_TN", "factor_TN"):
        values = getattr(panel, name)
        if values is not None and values.shape != panel.shape:
            raise DataError(
                f"{panel.name}: {name} has shape {values.shape}, but {panel.shape[0]} dates x {panel.shape[1]} tickers "
                f"need {panel.shape}. Align all arrays to the same dates and tickers."
            )
    if 0 in panel.shape:
        raise DataError(f"{panel.name}: the panel is empty. Give at least one ticker with at least one day.")
    steps = np.diff(panel.dates_T.astype("datetime64[D]").astype(np.int64))
    if (steps <= 0).any():
        at = int(np.argmax(steps <= 0)) + 1
        raise DataError(
            f"{panel.name}: date {panel.dates_T[at]} (row {at}) is not after {panel.dates_T[at - 1]}. "
            "Sort the dates and remove duplicates."
        )
    if len(set(panel.tickers)) != len(panel.tickers):
        repeated = next(ticker for ticker in panel.tickers if panel.tickers.count(ticker) > 1)
        raise DataError(f"{panel.name}: ticker '{repeated}' appears twice. Keep one column per ticker.")


def _check_bars(panel: Panel) -> None:
    """Raise for the first bar that breaks a rule. Blocks of rows fit the processor's cache."""
    blocks = (slice(start, start + BLOCK) for start in range(0, len(panel.dates_T), BLOCK))
    if not any(broken_TN.any() for rows in blocks for broken_TN in _broken_bars(panel, rows).values()):
        return
    for rule, broken_TN in _broken_bars(panel, slice(None)).items():
        if broken_TN.any():
            t, n = (int(i) for i in np.argwhere(broken_TN)[0])
            bar = ", ".join(f"{name} {getattr(panel, f'{name}_TN')[t, n]:g}" for name in FIELDS)
            raise DataError(
                f"{panel.name}: {panel.tickers[n]} on {panel.dates_T[t]}: {rule} ({bar}). "
                "Correct the row, or remove it to mark the day as not traded."
            )


def _broken_bars(panel: Panel, rows: slice) -> dict[str, NDArray[np.bool_]]:
    """Which bars of some rows break each rule."""
    o, h, low, c, v = (getattr(panel, f"{name}_TN")[rows] for name in FIELDS)
    tolerance = 1e-6 * np.abs(c)
    missing = np.isnan([o, h, low, c])
    with np.errstate(invalid="ignore"):
        return {
            "a price is zero or negative": (o <= 0) | (h <= 0) | (low <= 0) | (c <= 0),
            "the high is below the low": h < low - tolerance,
            "open or close lies outside the day's range": (np.maximum(o, c) > h + tolerance)
            | (np.minimum(o, c) < low - tolerance),
            "the volume is negative": v < 0,
            "a value is infinite": np.isinf(o) | np.isinf(h) | np.isinf(low) | np.isinf(c) | np.isinf(v),
            "the bar has some prices but not all": missing.any(axis=0) & ~missing.all(axis=0),
        }
