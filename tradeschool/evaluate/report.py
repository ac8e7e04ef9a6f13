"""report.html: one file without scripts or outside parts, which a person reads in a minute."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tradeschool.evaluate import charts
from tradeschool.evaluate.answers import RATING_NAMES
from tradeschool.evaluate.headline import headline
from tradeschool.evaluate.page import template
from tradeschool.evaluate.result import Comparison, Row, figure_with_interval
from tradeschool.evaluate.table import shown_metrics
from tradeschool.evaluate.verdict import MODELS, signed
from tradeschool.trace import Trace

TEMPLATE = Path(__file__).with_name("report.jinja")
COMPONENT_PREFIX = "rewards/"
# Keys of the metrics of train/rewards.py and of TRL, and how they are called in the charts.
STABILITY = {
    "entropy": "entropy",
    "kl": "KL to the reference",
    "zero_variance_groups": "groups without a spread",
}
# TRL's own share of such groups is 0 whenever rewards are scaled by the batch: drawn only where ours is absent.
FALLBACK = {"frac_reward_zero_std": "groups without a spread"}
LOSS = {"loss": "training loss", "eval_loss": "validation loss"}
MOST_SAMPLES = 12


def write_report(
    path: Path,
    comparison: Comparison,
    *,
    title: str,
    training: Mapping[str, Sequence[Mapping[str, Any]]],
    warnings: Sequence[str],
    samples: Sequence[Trace],
    manifest: Mapping[str, Any],
) -> None:
    """Write the report of one run.

    Args:
        path: the HTML file, replaced where it exists.
        training: the metrics of each stage's steps, in order; keys as TRL names them (``step``,
            ``reward``, ``rewards/<component>/mean``, ``kl``, ``entropy``, ``loss``),
            ``zero_variance_groups``, and ``answers/<RATING>`` for the share of each answer. What is missing
            is not drawn.
        warnings: of training; those of the comparison are added.
        samples: example answers; the first dozen is shown.
        manifest: versions, hashes and seeds, printed as JSON.

    Every text is escaped: an answer, a headline or a policy's name cannot become markup.
    """
    html = template(TEMPLATE).render(
        title=title,
        comparison=comparison,
        exam=comparison.exam,
        headline=headline(comparison),
        metrics=shown_metrics(comparison.rows),
        figure_with_interval=figure_with_interval,
        signed=signed,
        probability=lambda value: f"{value:.2f}" if value == value else "-",
        rating_names=[name.replace("_", " ").lower() for name in RATING_NAMES],
        share_names=charts.SHARES,
        money_charts=_money_charts(comparison),
        training_charts={stage: _training_charts(stage, steps) for stage, steps in training.items()},
        answer_charts=[charts.answers_chart(row, comparison.exam.dates) for row in _models(comparison)],
        warnings=[*warnings, *comparison.warnings],
        samples=[_sample(trace) for trace in samples[:MOST_SAMPLES]],
        manifest=json.dumps(manifest, indent=2, ensure_ascii=False, default=str),
    )
    path.write_text(html, encoding="utf-8")


def _models(comparison: Comparison) -> list[Row]:
    return [row for row in comparison.rows if row.kind in MODELS]


def _money_charts(comparison: Comparison) -> list[tuple[str, str]]:
    drawn = [("Capital after costs", charts.equity_chart(comparison))]
    if any(metric.key == "share" for metric in shown_metrics(comparison.rows)):
        scaled = _in_percent(comparison)
        drawn.insert(0, ("Share of the edge", charts.interval_chart(scaled, "share", "% of the best possible score")))
    drawn.insert(len(drawn) - 1, ("Score", charts.interval_chart(comparison, "score", "mean score per question")))
    return drawn


def _in_percent(comparison: Comparison) -> Comparison:
    rows = []
    for row in comparison.rows:
        share = row.metrics.get("share")
        if share is not None:
            scaled = share.model_copy(update={end: 100 * value for end, value in share.model_dump().items()})
            rows.append(row.model_copy(update={"metrics": {**row.metrics, "share": scaled}}))
    return comparison.model_copy(update={"rows": rows})


def _training_charts(stage: str, steps: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(caption, SVG) of all that the stage recorded."""
    names = dict.fromkeys(key for step in steps for key in step if key.startswith(COMPONENT_PREFIX))
    components = {key: key.split("/")[1] for key in names if not key.endswith("/std")}
    drawn = [("Loss", charts.training_chart(stage, steps, LOSS, "loss"))]
    rewards = {"reward": "all, weighted", **components}
    drawn.append(("Reward by component", charts.training_chart(stage, steps, rewards, "reward")))
    ours = any("zero_variance_groups" in step for step in steps)
    drawn += [
        (label[0].upper() + label[1:], charts.training_chart(stage, steps, {key: label}, label))
        for key, label in (STABILITY if ours else STABILITY | FALLBACK).items()
    ]
    drawn.append(("Answers", charts.training_answers_chart(stage, steps)))
    return [(caption, svg) for caption, svg in drawn if svg]


def _sample(trace: Trace) -> dict[str, Any]:
    """What the page shows of a trace: the outcome's name, the question folded away, the answer, the rewards."""
    answers = [message["content"] for message in trace.messages if message["role"] == "assistant"]
    questions = [message["content"] for message in trace.messages if message["role"] == "user"]
    return {
        "key": trace.key,
        "policy": trace.policy,
        "outcome": _outcome(trace),
        "question": "\n\n".join(questions),
        "answer": "\n\n".join(answers),
        "error": trace.error,
        "rewards": [(name, "-" if value is None else f"{value:+.3f}") for name, value in trace.rewards.items()],
    }


def _outcome(trace: Trace) -> str:
    """Right or wrong by ``metrics["correct"]`` where it is known, else by the sign of the decision reward."""
    if trace.stop == "parse_error":
        return "unreadable"
    mark = trace.metrics.get("correct")
    if mark is not None:
        return "right" if mark > 0 else "wrong"
    decision = trace.rewards.get("decision")
    if decision is None:
        return "not scored"
    return "right" if decision > 0 else "wrong"
