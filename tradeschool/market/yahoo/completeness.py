"""What is missing from a fetched ticker: sessions by the exchange's calendar, and rows that cannot be used."""

import datetime
import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.exchange import EXCHANGES, sessions
from tradeschool.market.sources import inspect
from tradeschool.market.yahoo.client import COLUMNS, Bars, FetchError, NoPricesError

if TYPE_CHECKING:
    import pandas as pd

EDGE_DAYS, INNER_DAYS = 7, 14
"""Without a calendar: days that may be missing at either end, and between two bars (the longest holidays are 11)."""
CALENDAR_INSTRUMENTS = ("EQUITY", "ETF", "INDEX", "MUTUALFUND")
"""What trades on an exchange's days; currencies and futures have days of their own."""
Days = NDArray[np.datetime64]
_NO_PRICES = "no prices"
_expected = functools.lru_cache(maxsize=8)(sessions)


@dataclass(frozen=True)
class Gap:
    """Days without a bar, both ends included. ``sessions`` is None where no calendar tells how many there were."""

    first: datetime.date
    last: datetime.date
    sessions: int | None

    def __str__(self) -> str:
        if self.first == self.last:
            return f"no bar on {self.first}"
        count = "" if self.sessions is None else f" ({self.sessions} sessions)"
        return f"no bars from {self.first} to {self.last}{count}"


@dataclass(frozen=True)
class Completeness:
    """A ticker's usable rows, and all that keeps them from being what was asked for.

    ``calendar`` names the exchange whose sessions were expected, None where it has none here.
    ``left_out`` has the day and the reason of every row that Yahoo gave and ``frame`` does not hold.
    """

    bars: Bars
    frame: "pd.DataFrame"
    calendar: str | None
    gaps: list[Gap]
    left_out: dict[str, str]

    @property
    def problems(self) -> list[str]:
        """Empty when the answer is complete. A row without prices is one only on a day of trading."""
        broken = [f"{day}: {reason}" for day, reason in self.left_out.items() if reason != _NO_PRICES]
        return [str(gap) for gap in self.gaps] + broken


def examine(bars: Bars, first: datetime.date, end: datetime.date) -> Completeness:
    """Sort out the rows that loading would refuse, and compare the days with those asked for.

    Raises:
        NoPricesError: no row can be used.
        FetchError: temporary files cannot be written.
        TradeschoolError: the calendars are not installed.
    """
    frame, left_out = _sorted_out(bars)
    if frame.empty:
        raise NoPricesError("Yahoo has no usable prices between these dates")
    dates_T = frame["Date"].to_numpy().astype("datetime64[D]")
    calendar = _calendar(bars)
    if calendar is None:
        gaps = _long_gaps(dates_T, first, end)
    else:
        last = np.datetime64(end) - np.timedelta64(1, "D")
        gaps = _missing_sessions(dates_T, _expected(calendar, np.datetime64(first), last))
    return Completeness(bars, frame, calendar, gaps, left_out)


def _sorted_out(bars: Bars) -> "tuple[pd.DataFrame, dict[str, str]]":
    """The usable rows, and day to reason of the others."""
    blank = bars.frame[list(COLUMNS)].drop(columns="Volume").isna().all(axis=1)
    frame = bars.frame[~blank]
    left_out = dict.fromkeys(_days(bars.frame[blank]), _NO_PRICES)
    # Findings name the first rows of many that break a rule, so it may take several passes.
    while reasons := _refused_rows(bars.ticker, frame):
        left_out |= reasons
        frame = frame[[day not in reasons for day in _days(frame)]]
    return frame.reset_index(drop=True), dict(sorted(left_out.items()))


def _refused_rows(ticker: str, frame: "pd.DataFrame") -> dict[str, str]:
    """Day to reason of rows that loading refuses: found by the same code, in the same kind of file."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            frame.to_parquet(Path(folder, f"{ticker}.parquet"), index=False)
            findings = inspect(folder).findings
    except OSError as error:
        raise FetchError(
            f"The folder for temporary files cannot be written ({error}). Make room, or name another in TMPDIR."
        ) from error
    days = _days(frame)
    reasons: dict[str, str] = {}
    for finding in findings:
        if finding.severity == "error" and finding.row is not None:
            reasons.setdefault(days[finding.row - 1], f"{finding.rule} ({finding.value})")
    return reasons


def _days(frame: "pd.DataFrame") -> list[str]:
    days: list[str] = frame["Date"].dt.strftime("%Y-%m-%d").tolist()
    return days


def _calendar(bars: Bars) -> str | None:
    if bars.about["instrument"] not in CALENDAR_INSTRUMENTS:
        return None
    zone = bars.about["time_zone"]
    return next((exchange.name for exchange in EXCHANGES.values() if exchange.zone == zone), None)


def _missing_sessions(dates_T: Days, expected_T: Days) -> list[Gap]:
    missing = np.flatnonzero(~np.isin(expected_T, dates_T))
    runs = np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1) if len(missing) else []
    return [Gap(expected_T[run[0]].item(), expected_T[run[-1]].item(), len(run)) for run in runs]


def _long_gaps(dates_T: Days, first: datetime.date, end: datetime.date) -> list[Gap]:
    day = np.timedelta64(1, "D")
    bounds = np.concatenate([[np.datetime64(first, "D") - day], dates_T, [np.datetime64(end, "D")]])
    missing = (np.diff(bounds) // day) - 1
    allowed = np.full(len(missing), INNER_DAYS)
    allowed[[0, -1]] = EDGE_DAYS
    return [
        Gap((bounds[i] + day).item(), (bounds[i + 1] - day).item(), None) for i in np.flatnonzero(missing > allowed)
    ]
