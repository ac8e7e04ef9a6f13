"""What a comparison says: plain data, to JSON and back. NaN is null in the JSON."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from tradeschool.errors import RunError
from tradeschool.policies.base import Kind

Verdict = Literal["better", "not shown", "worse", "reference", "ceiling"]
Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]


class Plain(BaseModel):
    """Frozen, with no keys but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Interval(Plain):
    """A figure with the ends of its interval; NaN where undefined."""

    value: Number
    low: Number
    high: Number

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


class Difference(Plain):
    """This row's figure minus that of the row ``against``, paired over the same dates."""

    against: str
    interval: Interval

    @property
    def shown(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.interval.excludes_zero


class Row(Plain):
    """All about one policy.

    ``metrics`` has the keys of :data:`METRICS` (``share`` on practice markets only). ``p_value`` is
    the two-sided p of the verdict, adjusted by Holm over the models judged, NaN where not judged.
    ``answer_shares``: share of all questions per rating name, and ``unreadable``; they add up to 1.
    ``shares_over_time``: the same per period of the exam. ``equity_T``: capital after costs, from 1.
    """

    policy: str
    kind: Kind
    verdict: Verdict
    sentence: str
    p_value: Number
    metrics: dict[str, Interval]
    probabilistic_sharpe: Number
    deflated_sharpe: Number
    score_against_naive: Difference | None
    return_against_naive: Difference | None
    score_against_previous: Difference | None
    share_against: list[Difference]
    answer_shares: dict[str, Number]
    rewards: dict[str, Number]
    equity_T: list[Number]
    shares_over_time: list[dict[str, Number]]


class ExamFacts(Plain):
    """What was asked of whom, and what a trade cost: two comparisons with equal facts sat the same exam.

    ``questions_hash``: 16 hex digits over the asked (date, ticker) pairs. ``score`` names what is scored.
    """

    market: str
    data_hash: str
    tickers: int
    dates: list[str]
    questions: int
    questions_hash: str
    score: str
    horizon: int
    commission_bps: float
    slippage_bps: float
    allow_short: bool


class Comparison(Plain):
    """Every policy on the same dates. ``reference`` is the naive or rule row with the highest mean score."""

    exam: ExamFacts
    rows: list[Row]
    reference: str
    level: float
    draws: int
    seed: int
    block_length: int
    warnings: list[str]

    def row(self, policy: str) -> Row:
        """The row of one policy; KeyError where there is none."""
        return {row.policy: row for row in self.rows}[policy]

    def has(self, policy: str) -> bool:
        """Whether there is a row of that policy."""
        return any(row.policy == policy for row in self.rows)

    def to_json(self) -> str:
        """JSON text in which every undefined figure is null."""
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str, source: Path | str = "comparison.json") -> "Comparison":
        """Read what :meth:`to_json` wrote.

        Raises:
            RunError: the text is no comparison; the message names the first wrong field.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first: Any = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            wrong = {
                "missing": f"{where} is missing, as in a file of an older version",
                "extra_forbidden": f"{where} is unknown, as in a file of another version",
            }.get(first["type"], f"{where}: {first['msg']}")
            raise RunError(f"{source}: not a comparison ({wrong}). Write it anew with the evaluate stage.") from error


class Metric(Plain):
    """How a metric is called and printed; ``scale`` is 100 for percentages."""

    key: str
    label: str
    digits: int
    scale: float = 1.0
    meaning: str


METRICS = (
    Metric(key="score", label="score", digits=3, meaning="mean realised task score per question"),
    Metric(key="share", label="edge %", digits=0, scale=100, meaning="expected score / the best possible one"),
    Metric(key="decision", label="decision", digits=3, meaning="mean decision reward by the rating matrix"),
    Metric(key="accuracy", label="right %", digits=1, scale=100, meaning="answers equal to the label"),
    Metric(key="ic", label="IC", digits=3, meaning="correlation of rating and forward return"),
    Metric(key="rank_ic", label="rank IC", digits=3, meaning="the same by ranks"),
    Metric(key="hit_rate", label="hit %", digits=1, scale=100, meaning="ratings on the right side, HOLD left out"),
    Metric(key="cumulative_return", label="return %", digits=1, scale=100, meaning="compounded, after costs"),
    Metric(key="sharpe", label="Sharpe", digits=2, meaning="annualised, after costs, 252 days, no risk-free rate"),
    Metric(key="sortino", label="Sortino", digits=2, meaning="the same by the falls alone"),
    Metric(key="max_drawdown", label="drawdown %", digits=1, scale=100, meaning="largest fall from a peak"),
    Metric(key="turnover", label="turnover %", digits=1, scale=100, meaning="traded a day, of the capital"),
    Metric(key="parse_errors", label="unreadable %", digits=1, scale=100, meaning="answers that could not be read"),
)


def figure(metric: Metric, value: float) -> str:
    """A value as it is printed: scaled, rounded, a dash where undefined."""
    return f"{value * metric.scale:.{metric.digits}f}" if math.isfinite(value) else "-"


def figure_with_interval(metric: Metric, interval: Interval) -> str:
    """``value [low, high]``, without brackets where there is no interval."""
    text = figure(metric, interval.value)
    if not math.isfinite(interval.low):
        return text
    return f"{text} [{figure(metric, interval.low)}, {figure(metric, interval.high)}]"
