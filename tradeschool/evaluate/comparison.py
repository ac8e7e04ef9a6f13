"""The result of a comparison as data, as JSON (where NaN is null), and in words."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from tradeschool.errors import RunError, did_you_mean
from tradeschool.policies.base import Kind
from tradeschool.tasks.base import Metric

Verdict = Literal[
    "better", "not shown", "worse", "same", "too few dates", "best baseline", "reference", "ceiling", "bound"
]
Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]

NAIVE: tuple[Kind, ...] = ("naive", "rule")
JUDGED: tuple[Kind, ...] = ("trained", "decisions")
MODELS: tuple[Kind, ...] = ("base", *JUDGED)
KINDS = {"naive": "baseline", "rule": "baseline", "base": "base model", "trained": "trained model"}
"""Words for kinds of policies, on pages."""
BUY_AND_HOLD = "buy and hold"
"""The baseline that returns are compared with first."""
UNREADABLE = "unreadable"
PARSE_ERRORS = Metric(
    "parse_errors",
    "unreadable %",
    "answers that could not be read",
    digits=1,
    scale=100,
    better="lower",
    terminal="no",
)
MEAN_RETURN = Metric(
    "mean_return", "return a day %", "mean daily return, after costs", digits=3, scale=100, aggregate="backtest"
)


class Plain(BaseModel):
    """Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Interval(Plain):
    """A figure with the ends of its interval; NaN where undefined."""

    value: Number
    low: Number = math.nan
    high: Number = math.nan

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0


class Difference(Plain):
    """The figure of ``policy`` minus that of ``against``, paired over the same dates or episodes.

    Attributes:
        metric: key of the figure.
        p_value: two-sided, of no difference; adjusted by Holm's method for all differences that are judged together,
            NaN where nothing can be claimed.
        better: the direction of the metric.
        confidence: of the interval and of claims.
    """

    policy: str
    against: str
    metric: str
    interval: Interval
    p_value: Number = math.nan
    better: Literal["higher", "lower"] = "higher"
    confidence: float = 0.95

    @property
    def shown(self) -> bool:
        """Whether a difference can be claimed: by its adjusted p, not by its own interval."""
        return self.p_value < 1 - self.confidence

    @property
    def improved(self) -> bool:
        """Whether the policy is shown to be better."""
        return self.shown and (self.interval.value > 0) is (self.better == "higher")

    @property
    def worsened(self) -> bool:
        """Whether the policy is shown to be worse."""
        return self.shown and not self.improved


class DailySums(Plain):
    """What a figure over all dates is a ratio of, on each date: the sum and the number of a metric's values.

    Of a metric that is itself a ratio, ``count_T`` is the sum of what is divided by.
    """

    sum_T: list[float]
    count_T: list[float]


class Row(Plain):
    """The results of one policy.

    Attributes:
        verdict: on the primary metric, against all baselines.
        sentence: the verdict in words.
        p_value: two-sided p of the verdict, adjusted by Holm's method over the models judged; NaN where not judged.
        metrics: figures by key, without intervals where the dates are too few.
        differences: in the primary metric from the baseline that decides the verdict and from the best one; in daily
            returns from buy and hold and from the baseline that decides; of a model also from the models before it.
        answer_shares: share of all questions by class of answer, and ``unreadable``; they add up to 1. Empty where
            answers have no classes.
        shares_over_time: the same in consecutive periods.
        rewards: mean of each reward component.
        equity_T: capital after costs, from 1; empty without a backtest.
        daily: by metric, from which ``compare`` computes paired differences between runs.
    """

    policy: str
    kind: Kind
    verdict: Verdict
    sentence: str
    p_value: Number = math.nan
    metrics: dict[str, Interval]
    differences: list[Difference] = []
    answer_shares: dict[str, Number] = {}
    shares_over_time: list[dict[str, Number]] = []
    rewards: dict[str, Number] = {}
    equity_T: list[Number] = []
    daily: dict[str, DailySums] = {}

    def difference(self, metric: str, against: str) -> Difference | None:
        """The difference in one metric from another policy; None where it was not computed."""
        found = (one for one in self.differences if (one.metric, one.against) == (metric, against))
        return next(found, None)


class EvaluationFacts(Plain):
    """The questions and the costs. Comparisons with equal facts used the same evaluation.

    Attributes:
        tickers: how many; 0 where questions are about a date only.
        questions_hash: 16 hex digits over the questions.
        score: definition of the primary metric.
        horizon: days that outcomes look ahead.
        commission_bps, slippage_bps, allow_short: of the backtest; None without one.
    """

    market: str
    data_hash: str
    tickers: int
    dates: list[str]
    questions: int
    questions_hash: str
    score: str
    horizon: int
    commission_bps: float | None = None
    slippage_bps: float | None = None
    allow_short: bool | None = None


class Comparison(Plain):
    """Every policy on the same dates.

    Attributes:
        metrics: the columns, in order.
        primary: key of the metric that verdicts are about.
        best_baseline: that with the best primary metric in this sample.
        confidence: of the intervals and verdicts.
        cosines: degrees of freedom of the intervals of figures with a value for every question.
        shuffled: by policy, the primary metric over questions drawn at random (``evaluate/shuffled.py``).
    """

    evaluation: EvaluationFacts
    metrics: list[Metric]
    primary: str
    rows: list[Row]
    best_baseline: str
    confidence: float
    cosines: int
    warnings: list[str]
    shuffled: dict[str, Interval] = {}

    def row(self, policy: str) -> Row:
        """The row of one policy; a RunError that names the rows if there is none."""
        rows = {row.policy: row for row in self.rows}
        if policy not in rows:
            raise RunError(f"There is no row '{policy}'.{did_you_mean(policy, rows)} The rows are: {', '.join(rows)}.")
        return rows[policy]

    @property
    def unseen(self) -> bool:
        """Whether the dates were not used in training: of models that a run has trained itself this is known."""
        return any(row.kind == "trained" for row in self.rows)

    def has(self, policy: str) -> bool:
        """Whether there is a row of that policy."""
        return any(row.policy == policy for row in self.rows)

    def metric(self, key: str) -> Metric:
        """The metric of that key; KeyError where there is none."""
        return {metric.key: metric for metric in self.metrics}[key]

    def before(self, policy: str) -> str | None:
        """The model before this one in the order of training; None for the first, and for other policies."""
        models = [row.policy for row in self.rows if row.kind in MODELS]
        place = models.index(policy) if policy in models else 0
        return models[place - 1] if place else None

    @classmethod
    def read(cls, path: Path) -> "Comparison":
        """Read a file; a RunError if it cannot be read, or is not a comparison."""
        try:
            return cls.from_json(path.read_text(encoding="utf-8"), path)
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{path}: cannot be read ({error}). Run the evaluate stage again.") from error

    def to_json(self) -> str:
        """JSON text in which every undefined figure is null."""
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str, source: Path | str = "comparison.json") -> "Comparison":
        """Read what :meth:`to_json` wrote; a RunError names the first wrong field."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first: Any = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            wrong = {"missing": f"{where} is missing", "extra_forbidden": f"{where} is unknown"}
            text = wrong.get(first["type"], f"{where}: {first['msg']}")
            raise RunError(
                f"{source}: not a comparison of this version ({text}). Run the evaluate stage again."
            ) from error


def figure(metric: Metric, value: float) -> str:
    """A value as it is printed: scaled, rounded, a dash where undefined."""
    return f"{value * metric.scale:.{metric.digits}f}" if math.isfinite(value) else "-"


def figure_with_interval(metric: Metric, interval: Interval) -> str:
    """``value [low, high]``, without brackets where there is no interval."""
    return _with_ends(interval, lambda value: figure(metric, value))


def signed(interval: Interval, digits: int, scale: float = 1.0) -> str:
    """``+0.043 [+0.021, +0.066]``, every figure times ``scale``."""
    if not math.isfinite(interval.value):
        return "undefined"
    return _with_ends(interval, lambda value: f"{scale * value:+.{digits}f}")


def _with_ends(interval: Interval, text: Callable[[float], str]) -> str:
    value, low, high = map(text, (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]" if math.isfinite(interval.low) else value


def gap(metric: Metric, difference: Difference) -> str:
    """``+0.043 [+0.021, +0.066]`` in the metric's printed units."""
    return signed(difference.interval, metric.digits, metric.scale)


def sentence(verdict: Verdict, primary: Metric, kind: Kind, differences: Sequence[Difference], market: str) -> str:
    """The verdict on one policy in words: on the score, on the return against ``market``, on each step of training."""
    if verdict == "ceiling":
        return "The best possible answers given all that could be known: a ceiling, not a competitor."
    if verdict == "bound":
        return "What a ridge regression learns from the same facts and outcomes: a bound, not a competitor."
    if verdict == "too few dates":
        return "Not judged: the dates are too few."
    every = "every other baseline" if kind in NAIVE else "every baseline"
    parts = [f"The best baseline by {primary.label}."]
    if verdict != "best baseline":
        first = next(one for one in differences if one.metric == primary.key)  # from the baseline that decides
        parts = [_score(verdict, primary, first, every)]
    if returns := [one for one in differences if one.metric == MEAN_RETURN.key]:
        parts.append(_money(returns, market, every))
    return " ".join(parts)


def _score(verdict: Verdict, primary: Metric, first: Difference, every: str) -> str:
    label = primary.label
    if verdict == "same":
        return f"Its {label} equals that of {first.against} on every date."
    if verdict == "better":
        return f"Better than {every} in {label}; the closest is {first.against}: {gap(primary, first)}."
    if verdict == "worse":
        return f"Worse than {first.against}: {gap(primary, first)} in {label}."
    return f"Not shown to be better than {every} in {label}: {gap(primary, first)} against {first.against}."


def _money(returns: Sequence[Difference], market: str, every: str) -> str:
    """What is shown about the daily return after costs: against ``market``, then against every baseline."""
    first = next(one for one in returns if one.against == market)
    if not math.isfinite(first.interval.low):
        return "After costs the daily returns cannot be compared."
    if first.interval.low == first.interval.high == 0:
        return f"After costs it earned the same as {market}."
    found = f"{gap(MEAN_RETURN, first)} % a day against {market}"
    if first.improved:
        return f"After costs it earned more than {every}: {found}."
    if first.worsened:
        return f"After costs it earned less than {market}: {found}."
    others = [f", {gap(MEAN_RETURN, one)} against {one.against}" for one in returns if one is not first]
    return f"After costs it is not shown to earn more than {every}: {found}{''.join(others)}."
