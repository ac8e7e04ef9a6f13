"""report.html of a run that ends in an evaluation or a leaderboard: one file without scripts or external parts."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tradeschool import manifest as manifests
from tradeschool.errors import RunError
from tradeschool.evaluate import charts
from tradeschool.evaluate.comparison import MEAN_RETURN, MODELS, Comparison, figure_with_interval, gap
from tradeschool.evaluate.console import print_comparison, shown_metrics, summary
from tradeschool.evaluate.diagnostics import training_warnings
from tradeschool.run_folder import REPORT
from tradeschool.tasks.base import CORRECT
from tradeschool.trace import Trace, read_traces

COMPARISON = "comparison.json"
FIGURES = "figures.json"
"""The task's own plots as pairs of caption and SVG."""
TEMPLATE = Path(__file__).with_name("report.jinja")
COMPONENT_PREFIX = "rewards/"
# Keys of the metrics of train/rewards.py and of TRL, and their names in the charts.
STABILITY = {
    "entropy": "entropy",
    "kl": "KL to the reference",
    "zero_variance_groups": "groups with equal rewards",
}
LOSS = {"loss": "training loss", "eval_loss": "validation loss"}
SAMPLES = 12

Training = Mapping[str, Sequence[Mapping[str, Any]]]
Drawn = list[tuple[str, str]]
"""(caption, SVG)."""


def write_report(
    path: Path,
    comparison: Comparison,
    *,
    title: str,
    training: Training | None = None,
    warnings: Sequence[str] = (),
    samples: Sequence[Trace] = (),
    figures: Sequence[tuple[str, str]] = (),
    manifest: Mapping[str, Any] | None = None,
) -> None:
    """Write the report of a comparison.

    Args:
        path: the HTML file, replaced where it exists.
        comparison: what it is about.
        title: of the page.
        training: the metrics of each stage's steps, in order; keys as TRL names them (``step``, ``reward``,
            ``rewards/<component>/mean``, ``kl``, ``entropy``, ``loss``), ``zero_variance_groups``, and
            ``answers/<class>`` for the share of each class of answers. What is missing is not drawn.
        warnings: of training; those of the comparison are added.
        samples: example answers; the first dozen is shown.
        figures: the task's own plots, as (caption, SVG).
        manifest: versions, hashes and seeds, printed as JSON.

    Every text is escaped: an answer, a headline or a policy's name cannot become markup.
    """
    models = [row for row in comparison.rows if row.kind in MODELS]
    classes = list(comparison.rows[0].answer_shares)
    html = charts.template(TEMPLATE).render(
        title=title,
        comparison=comparison,
        facts=comparison.evaluation,
        summary=summary(comparison),
        metrics=shown_metrics(comparison, comparison.rows),
        primary=comparison.metric(comparison.primary),
        figure_with_interval=figure_with_interval,
        differences=_difference_rows(comparison),
        classes=classes,
        result_charts=[*_result_charts(comparison), *figures],
        training_charts={stage: _training_charts(stage, steps, classes) for stage, steps in (training or {}).items()},
        answer_charts=[(r.policy, charts.answers_chart(r, comparison.evaluation.dates)) for r in models if classes],
        warnings=[*warnings, *comparison.warnings],
        samples=[_sample(trace) for trace in samples[:SAMPLES]],
        manifest=json.dumps(manifest, indent=2, ensure_ascii=False, default=str) if manifest else "",
    )
    path.write_text(html, encoding="utf-8")


def _difference_rows(comparison: Comparison) -> list[dict[str, str]]:
    """Every paired difference as the text of its cells."""
    labels = {metric.key: metric for metric in (*comparison.metrics, MEAN_RETURN)}
    return [
        {
            "policy": one.policy,
            "against": one.against,
            "metric": labels[one.metric].label,
            "gap": gap(labels[one.metric], one),
            "p": f"{one.p_value:.3f}" if one.p_value == one.p_value else "-",
        }
        for row in comparison.rows
        for one in row.differences
    ]


def _result_charts(comparison: Comparison) -> Drawn:
    drawn = [
        (_capital(metric.label), charts.interval_chart(comparison.rows, metric))
        for metric in shown_metrics(comparison, comparison.rows)
        if metric.aggregate == "share_of_oracle" or metric.key == comparison.primary
    ]
    if comparison.rows[0].equity_T:
        drawn.append(("Capital after costs", charts.equity_chart(comparison.rows, comparison.evaluation.dates)))
    return drawn


def _training_charts(stage: str, steps: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> Drawn:
    """Of all that the stage recorded."""
    names = dict.fromkeys(key for step in steps for key in step if key.startswith(COMPONENT_PREFIX))
    components = {key: key.split("/")[1] for key in names if not key.endswith("/std")}
    drawn = [
        ("Loss", charts.training_chart(stage, steps, LOSS, "loss")),
        (
            "Reward by component",
            charts.training_chart(stage, steps, {"reward": "all, weighted", **components}, "reward"),
        ),
        *(
            (_capital(label), charts.training_chart(stage, steps, {key: label}, label))
            for key, label in STABILITY.items()
        ),
        ("Answers", charts.training_answers_chart(stage, steps, classes)),
    ]
    return [(caption, svg) for caption, svg in drawn if svg]


def _capital(label: str) -> str:
    return label[0].upper() + label[1:]


def _sample(trace: Trace) -> dict[str, Any]:
    """A trace as the page shows it: the outcome, the question folded away, the answer, the rewards."""
    texts = {
        role: "\n\n".join(message["content"] for message in trace.messages if message["role"] == role)
        for role in ("user", "assistant")
    }
    return {
        "key": trace.key,
        "policy": trace.policy,
        "outcome": _outcome(trace),
        "question": texts["user"],
        "answer": texts["assistant"],
        "error": trace.error,
        "rewards": [(name, "-" if value is None else f"{value:+.3f}") for name, value in trace.rewards.items()],
    }


def _outcome(trace: Trace) -> str:
    """Right or wrong by the value ``CORRECT``, where the task records one."""
    if trace.stop == "parse_error":
        return "unreadable"
    if (mark := trace.metrics.get(CORRECT)) is None:
        return "answered"
    return "right" if mark > 0 else "wrong"


# from a run folder -------------------------------------------------------------------------------


def report_run(run_folder: Path, console: Console) -> Path:
    """Write ``report.html`` from the files of a run folder, print the tables, and return the page's path.

    Raises:
        RunError: neither an evaluation nor a leaderboard has finished, or their files cannot be read.
    """
    from tradeschool.evaluate.leaderboard.report import has_leaderboard

    if has_leaderboard(run_folder):
        return report_leaderboard(run_folder, console, tables=True)
    evaluated = sorted((path.parent for path in run_folder.glob(f"*/{COMPARISON}")), key=_number)
    if not evaluated:
        raise RunError(_nothing_to_report(run_folder))
    return report_evaluation(run_folder, evaluated[-1], console)


def report_evaluation(run_folder: Path, folder: Path, console: Console) -> Path:
    """The same for an evaluate stage that has finished; ``folder`` is the stage's."""
    comparison = Comparison.read(folder / COMPARISON)
    manifest = manifests.read(run_folder)
    training = training_metrics(run_folder)
    warnings = training_warnings(training, manifest.recipe.get("task", {}).get("weights", {}))
    figures = folder / FIGURES
    write_report(
        run_folder / REPORT,
        comparison,
        title=f"tradeschool: {manifest.recipe['name']}",
        training=training,
        warnings=warnings,
        samples=_samples(folder, comparison),
        figures=json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else (),
        manifest=dataclasses.asdict(manifest),
    )
    print_comparison(console, comparison, warnings)
    return run_folder / REPORT


def report_leaderboard(run_folder: Path, console: Console, *, tables: bool = False) -> Path:
    """The same for a run whose leaderboard has finished; ``tables`` prints its tables too."""
    from tradeschool.evaluate.leaderboard.console import print_leaderboard, print_summary
    from tradeschool.evaluate.leaderboard.report import write_run_report

    path = run_folder / REPORT
    for section in write_run_report(run_folder, path, manifests.read(run_folder), training_metrics(run_folder)):
        if tables and section.board:
            print_leaderboard(console, section.board)
        print_summary(console, section.headline, section.warnings)
    return path


def _nothing_to_report(run_folder: Path) -> str:
    stages = [stage["stage"] for stage in manifests.read(run_folder).recipe.get("stages", [])]
    planned = dict.fromkeys(stage for stage in stages if stage in ("evaluate", "leaderboard"))
    if planned:
        return (
            f"{run_folder}: no {' or '.join(planned)} stage has finished, so there is nothing to report. "
            f"Finish the run with: tradeschool resume {run_folder}"
        )
    return (
        f"{run_folder}: its recipe has the stages {', '.join(stages) or '(none)'}, and a report needs an "
        "evaluation or a leaderboard. Add one of these to the recipe (stage: evaluate, or stage: leaderboard for the "
        "task 'trade'), and start a new run."
    )


def _number(folder: Path) -> int:
    """The 10 of ``10-evaluate``."""
    return int(folder.name.split("-")[0])


def training_metrics(run_folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The metrics that every stage of a run recorded in training, by the stage's name, in order."""
    from tradeschool.train.logging import METRICS, read_metrics

    folders = sorted((path.parent for path in run_folder.glob(f"*/{METRICS}")), key=_number)
    return {folder.name.partition("-")[2]: read_metrics(folder / METRICS) for folder in folders}


def _samples(folder: Path, comparison: Comparison) -> list[Trace]:
    """Answers of the last trained policy over all dates; half of them right, where the task says which are."""
    trained = [row.policy for row in comparison.rows if row.kind == "trained"]
    path = folder / f"traces-{trained[-1]}.jsonl" if trained else folder / "none"
    if not path.exists():
        return []
    traces = list(read_traces(path))
    halves = [[trace for trace in traces if trace.metrics.get(CORRECT) == mark] for mark in (1.0, 0.0)]
    if not any(halves):
        return _spread(traces, SAMPLES)
    return [trace for half in halves for trace in _spread(half, SAMPLES // 2)]


def _spread(traces: list[Trace], count: int) -> list[Trace]:
    """``count`` of them from the first to the last, all where there are fewer."""
    if len(traces) <= count:
        return traces
    return [traces[i] for i in np.linspace(0, len(traces) - 1, count).astype(int)]
