"""The market as arrays: aligned dates x tickers of daily bars, and the notes published along the way."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import DataError
from tradeschool.market.exchange import exchange
from tradeschool.market.notes.note import Note

Floats = NDArray[np.float64]
FIELDS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Panel:
    """Daily bars, dates (T) by tickers (N), float64, NaN on days a ticker was not listed or not traded.

    A date row stands for the moment at which ``exchange`` closes on it: decisions are taken then.
    ``names`` are the companies' names by ticker, which masking hides in notes.

    ``factor_TN`` is what prices were multiplied by for the splits and dividends that came after (volumes were divided
    by it); None where nothing was adjusted. It knows the future, so a Window divides by the factor of its own day:
    what is said on a day is in that day's prices.

    ``planted_TN`` exists on practice markets only: the expected log return from the open of day
    t+1 to the open of day t+2, given all that is known after the close of day t, in units of the
    ticker's daily volatility at t. Only ``market/outcomes.py`` may read it.

    Raises:
        DataError: shapes differ, dates are not strictly increasing, tickers repeat, or a bar
            breaks a rule (price not positive, high below low, ...); the exchange is unknown.
    """

    dates_T: NDArray[np.datetime64]
    tickers: tuple[str, ...]
    open_TN: Floats
    high_TN: Floats
    low_TN: Floats
    close_TN: Floats
    volume_TN: Floats
    notes: tuple[Note, ...] = ()
    name: str = "market"
    exchange: str = "NYSE"
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    planted_TN: Floats | None = field(default=None, repr=False)
    factor_TN: Floats | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        exchange(self.exchange)
        _check_shape(self)
        _check_bars(self)

    @property
    def shape(self) -> tuple[int, int]:
        """(T, N)."""
        return len(self.dates_T), len(self.tickers)

    @property
    def listed_TN(self) -> NDArray[np.bool_]:
        """True where a bar exists."""
        return np.isfinite(self.close_TN)

    def data_hash(self) -> str:
        """Sixteen hex digits over dates, tickers, bars, notes and what dates and masks them: for a run's manifest."""
        digest = hashlib.sha256()
        digest.update(self.dates_T.astype("datetime64[D]").astype(np.int64).tobytes())
        digest.update("\n".join(self.tickers).encode())
        for name in FIELDS:
            digest.update(np.ascontiguousarray(getattr(self, f"{name}_TN")).tobytes())
        if self.factor_TN is not None:
            digest.update(np.ascontiguousarray(self.factor_TN).tobytes())
        for note in self.notes:
            digest.update(note.digest_line().encode())
        if self.exchange != "NYSE" or self.names:
            digest.update(f"{self.exchange}|{sorted(self.names.items())}".encode())
        return digest.hexdigest()[:16]


def _check_shape(panel: Panel) -> None:
    for name in FIELDS:
        shape = getattr(panel, f"{name}_TN").shape
        if shape != panel.shape:
            raise DataError(
                f"{panel.name}: {name} has shape {shape}, but {panel.shape[0]} dates x {panel.shape[1]} tickers "
                f"make {panel.shape}. Align every field to the same dates and tickers."
            )
    for name in ("planted_TN", "factor_TN"):
        values = getattr(panel, name)
        if values is not None and values.shape != panel.shape:
            raise DataError(
                f"{panel.name}: {name} has shape {values.shape}, not {panel.shape}. Cut it as the bars are."
            )
    if 0 in panel.shape:
        raise DataError(f"{panel.name}: the panel is empty. Give at least one ticker with at least one day.")
    steps = np.diff(panel.dates_T.astype("datetime64[D]").astype(np.int64))
    if (steps <= 0).any():
        at = int(np.argmax(steps <= 0)) + 1
        raise DataError(
            f"{panel.name}: date {panel.dates_T[at]} (row {at}) does not come after {panel.dates_T[at - 1]}. "
            "Sort the dates and remove repeats."
        )
    if len(set(panel.tickers)) != len(panel.tickers):
        twice = next(ticker for ticker in panel.tickers if panel.tickers.count(ticker) > 1)
        raise DataError(f"{panel.name}: ticker '{twice}' appears twice. Keep one column per ticker.")


def _check_bars(panel: Panel) -> None:
    o, h, low, c, v = (getattr(panel, f"{name}_TN") for name in FIELDS)
    tolerance = 1e-6 * np.abs(c)
    missing = np.isnan([o, h, low, c])
    with np.errstate(invalid="ignore"):
        rules = {
            "a price is zero or negative": (o <= 0) | (h <= 0) | (low <= 0) | (c <= 0),
            "the high is below the low": h < low - tolerance,
            "open or close lies outside the day's range": (np.maximum(o, c) > h + tolerance)
            | (np.minimum(o, c) < low - tolerance),
            "the volume is negative": v < 0,
            "a value is infinite": np.isinf(o) | np.isinf(h) | np.isinf(low) | np.isinf(c) | np.isinf(v),
            "the bar has some prices but not all": missing.any(axis=0) & ~missing.all(axis=0),
        }
    for rule, broken_TN in rules.items():
        if broken_TN.any():
            t, n = (int(i) for i in np.argwhere(broken_TN)[0])
            bar = ", ".join(f"{name} {getattr(panel, f'{name}_TN')[t, n]:g}" for name in FIELDS)
            raise DataError(
                f"{panel.name}: {panel.tickers[n]} on {panel.dates_T[t]}: {rule} ({bar}). "
                "Correct the row, or remove it to mark the day as not traded."
            )
