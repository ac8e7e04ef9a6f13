"""The result of a comparison as data, as JSON (where NaN is null), and in words."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from tradeschool.errors import RunError, did_you_mean
from tradeschool.policies.base import Kind
from tradeschool.tasks.base import Metric

Verdict = Literal["better", "not shown", "worse", "same", "too few dates", "reference", "ceiling"]
Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]

UNTRAINED = "untrained"
"""The name of the base model's row."""
NAIVE: tuple[Kind, ...] = ("naive", "rule")
JUDGED: tuple[Kind, ...] = ("trained", "decisions")
MODELS: tuple[Kind, ...] = ("untrained", *JUDGED)
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
        p_value: two-sided, of no difference; adjusted by Holm's method where several are judged together, NaN where
            the difference is not judged.
        better: the direction of the metric.
    """

    policy: str
    against: str
    metric: str
    interval: Interval
    p_value: Number = math.nan
    better: Literal["higher", "lower"] = "higher"

    @property
    def shown(self) -> bool:
        """Whether the interval excludes zero."""
        return self.interval.excludes_zero

    @property
    def improved(self) -> bool:
        """Whether the whole interval lies on the better side of zero."""
        return self.interval.low > 0 if self.better == "higher" else self.interval.high < 0

    @property
    def worsened(self) -> bool:
        """Whether the whole interval lies on the worse side of zero."""
        return self.shown and not self.improved


class Row(Plain):
    """The results of one policy.

    Attributes:
        verdict: on the primary metric, against the reference.
        sentence: the verdict in words.
        p_value: two-sided p of the verdict, adjusted by Holm's method over the models judged; NaN where not judged.
        metrics: figures by key, without intervals where the dates are too few.
        differences: from the reference, and of a model from the models before it.
        answer_shares: share of all questions by class of answer, and ``unreadable``; they add up to 1. Empty where
            answers have no classes.
        shares_over_time: the same in consecutive periods.
        rewards: mean of each reward component.
        equity_T: capital after costs, from 1; empty without a backtest.
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
        reference: the baseline with the best primary metric.
        level: of the intervals.
        draws, seed, block_length: of the bootstrap over dates.
    """

    evaluation: EvaluationFacts
    metrics: list[Metric]
    primary: str
    rows: list[Row]
    reference: str
    level: float
    draws: int
    seed: int
    block_length: int
    warnings: list[str]

    def row(self, policy: str) -> Row:
        """The row of one policy.

        Raises:
            RunError: there is none; the text names the rows.
        """
        rows = {row.policy: row for row in self.rows}
        if policy not in rows:
            raise RunError(f"There is no row '{policy}'.{did_you_mean(policy, rows)} The rows are: {', '.join(rows)}.")
        return rows[policy]

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
        """Read a file.

        Raises:
            RunError: it cannot be read, or is not a comparison.
        """
        try:
            return cls.from_json(path.read_text(encoding="utf-8"), path)
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{path}: cannot be read ({error}). Run the evaluate stage again.") from error

    def to_json(self) -> str:
        """JSON text in which every undefined figure is null."""
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str, source: Path | str = "comparison.json") -> "Comparison":
        """Read what :meth:`to_json` wrote.

        Raises:
            RunError: the text is not a comparison; the message names the first wrong field.
        """
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
    text = figure(metric, interval.value)
    if not math.isfinite(interval.low):
        return text
    return f"{text} [{figure(metric, interval.low)}, {figure(metric, interval.high)}]"


def signed(interval: Interval, digits: int, scale: float = 1.0) -> str:
    """``+0.043 [+0.021, +0.066]``, every figure times ``scale``."""
    if not math.isfinite(interval.value):
        return "undefined"
    text = f"{scale * interval.value:+.{digits}f}"
    if not math.isfinite(interval.low):
        return text
    return f"{text} [{scale * interval.low:+.{digits}f}, {scale * interval.high:+.{digits}f}]"


def gap(metric: Metric, difference: Difference) -> str:
    """``+0.043 [+0.021, +0.066]`` in the metric's printed units."""
    return signed(difference.interval, metric.digits, metric.scale)


def sentence(verdict: Verdict, primary: Metric, differences: Sequence[Difference], reference: str) -> str:
    """The verdict on one policy in words."""
    if verdict == "ceiling":
        return "The best possible answers given all that could be known: a ceiling, not a competitor."
    if verdict == "reference":
        return "The best baseline: the one to beat."
    if verdict == "too few dates":
        return "Not judged: the dates are too few."
    parts = []
    for one in differences:
        if (one.metric, one.against) == (primary.key, reference):
            parts.append(_against_reference(verdict, primary, one))
        elif one.metric == MEAN_RETURN.key:
            parts.append(_after_costs(one))
        elif one.metric == primary.key:
            shown = "shown" if one.shown else "not shown"
            parts.append(f"Against {one.against}: {gap(primary, one)} in {primary.label}, {shown}.")
    return " ".join(parts)


def _against_reference(verdict: Verdict, primary: Metric, difference: Difference) -> str:
    found = f"{gap(primary, difference)} in {primary.label}"
    if verdict in ("better", "worse"):
        return f"{verdict.capitalize()} than the best baseline, {difference.against}: {found}."
    text = f"Not shown to differ from the best baseline, {difference.against}: {found}."
    if difference.improved:
        text += (
            " The interval excludes zero, but the difference is not significant after correcting for the number of "
            "models judged."
        )
    elif difference.worsened:
        text += (
            " The interval excludes zero, but the difference is not significant after correcting for the choice of the "
            "best of several baselines."
        )
    return text


def _after_costs(returns: Difference) -> str:
    if not math.isfinite(returns.interval.low):
        return "After costs the daily returns cannot be compared."
    if returns.interval.value == returns.interval.low == returns.interval.high == 0:
        return "After costs it earned the same."
    shown = "shown" if returns.shown else "not shown"
    return f"After costs its return differed by {gap(MEAN_RETURN, returns)} % a day: {shown}."
