"""What an exam is, and what one policy answered on it: T exam dates x N tickers."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import RunError
from tradeschool.market.panel import Floats, Panel
from tradeschool.policies.base import Kind
from tradeschool.text import grammar

# In the order in which answers are shown: from STRONG_SELL to STRONG_BUY.
RATINGS = tuple(grammar.RATINGS.values())
RATING_NAMES = tuple(grammar.RATINGS)


@dataclass(frozen=True)
class Costs:
    """Paid on the traded notional, in basis points; without ``allow_short`` a sell rating means no position."""

    commission_bps: float = 1.0
    slippage_bps: float = 5.0
    allow_short: bool = True

    def __post_init__(self) -> None:
        for name in ("commission_bps", "slippage_bps"):
            value = getattr(self, name)
            if not 0 <= value < 1000:
                raise RunError(f"{name} is {value}: a cost lies between 0 and 1000 basis points (10 %). Correct it.")

    @property
    def fraction(self) -> float:
        """What a trade costs, as a fraction of its notional."""
        return (self.commission_bps + self.slippage_bps) / 10_000


@dataclass(frozen=True)
class Exam:
    """The questions' market: ``rows_T`` are consecutive rows of ``panel``, the dates a policy is examined on.

    ``forward_TN`` is the forward log return at the task's horizon, from the open after the date, NaN
    where unknown. ``horizon`` is that horizon in days: outcomes of dates nearer than it overlap.
    ``score`` names what the score of an answer is: exams that measure something else are not compared.

    Raises:
        RunError: the rows are not consecutive rows of the panel, or a shape differs.
    """

    panel: Panel
    rows_T: NDArray[np.int64]
    forward_TN: Floats
    costs: Costs = field(default_factory=Costs)
    horizon: int = 1
    score: str = "score"

    def __post_init__(self) -> None:
        rows_T = np.asarray(self.rows_T)
        if rows_T.size == 0 or (np.diff(rows_T) != 1).any() or rows_T[0] < 0 or rows_T[-1] >= self.panel.shape[0]:
            raise RunError(
                f"The exam's rows are not consecutive rows of the panel (0..{self.panel.shape[0] - 1}): {rows_T}. "
                "Give every row between the first and the last exam date."
            )
        if self.forward_TN.shape != self.shape:
            raise RunError(
                f"The exam's forward returns have shape {self.forward_TN.shape}, "
                f"but its dates x tickers make {self.shape}. Give one value per exam date and ticker."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(T, N)."""
        return len(self.rows_T), len(self.panel.tickers)

    @property
    def dates_T(self) -> NDArray[np.datetime64]:
        """The exam dates."""
        return self.panel.dates_T[self.rows_T]


@dataclass(frozen=True)
class Answers:
    """What one policy answered on the exam, all arrays [T, N].

    ``rating_TN`` is -2..2, NaN where nothing was asked or the answer could not be read; ``asked_TN``
    tells the two apart. ``score_TN`` is the realised task score (the primary measure), NaN where not
    scored; ``decision_TN`` the reward by the rating matrix and ``correct_TN`` 1 or 0, NaN where there
    is no label. ``expected_TN`` exists on practice markets only: the score this answer is expected to
    earn given all that was knowable. ``rewards`` is the mean of each reward component.

    Raises:
        RunError: shapes differ, a rating is not one of -2..2, or an answer stands where none was asked.
    """

    policy: str
    kind: Kind
    rating_TN: Floats
    asked_TN: NDArray[np.bool_]
    score_TN: Floats
    decision_TN: Floats
    correct_TN: Floats
    expected_TN: Floats | None = None
    rewards: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.asked_TN.shape
        for name in ("rating_TN", "score_TN", "decision_TN", "correct_TN", "expected_TN"):
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise RunError(f"{self.policy}: {name} has shape {value.shape}, asked_TN {shape}. Align them.")
        read_TN = np.isfinite(self.rating_TN)
        odd = set(np.unique(self.rating_TN[read_TN])) - set(map(float, RATINGS))
        if odd:
            raise RunError(f"{self.policy}: {sorted(odd)[0]:g} is no rating. A rating is one of {RATINGS}.")
        if (read_TN & ~self.asked_TN).any():
            raise RunError(f"{self.policy}: an answer stands where nothing was asked. Set asked_TN there.")

    @property
    def unreadable_TN(self) -> NDArray[np.bool_]:
        """True where the question was asked and the answer could not be read."""
        return self.asked_TN & ~np.isfinite(self.rating_TN)
