"""Compare decisions from a table with the baselines: the same costs, intervals and verdicts as for trained models."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from tradeschool.errors import DataError, RunError
from tradeschool.evaluate.compare import check_confidence, compare
from tradeschool.evaluate.comparison import Comparison
from tradeschool.evaluate.decisions import Decisions, read_decisions
from tradeschool.evaluate.evaluation_set import (
    Costs,
    EvaluationSet,
    Predictions,
    evaluation_set_of,
    traces_to_predictions,
)
from tradeschool.evaluate.report import write_report
from tradeschool.market.load import load_prices
from tradeschool.market.panel import Panel
from tradeschool.market.splits import Split
from tradeschool.rollout import rollout
from tradeschool.tasks.base import Example
from tradeschool.tasks.rating import RatingTask
from tradeschool.tasks.rating_config import RatingConfig
from tradeschool.trace import Trace

if TYPE_CHECKING:
    from pandas import DataFrame

LABEL_METRICS = ("decision", "accuracy")  # which need labels fitted on a training split
FEWEST_EARLIER = 120  # dates before the first decision, to choose the best constant rating from


def evaluate_decisions(
    decisions: "Path | str | DataFrame",
    prices: Path | str | Panel,
    *,
    name: str = "decisions",
    commission_bps: float = 1.0,
    slippage_bps: float = 5.0,
    allow_short: bool = True,
    risk_aversion: float = 0.02,
    horizon: int = 1,
    trained_until: date | str | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    report: Path | str | None = None,
    price_options: Mapping[str, Any] | None = None,
) -> Comparison:
    """Compare decisions with the baselines on the same dates and tickers.

    A decision is made after the close of its date and filled at the next open. Every ticker that occurs in the
    decisions must have one on each of its trading days between the first and the last decision.

    Args:
        decisions: a CSV file or a data frame with the columns date, ticker, and rating or position.
        prices: a folder or file of prices, or a panel.
        name: of the decisions in tables.
        commission_bps, slippage_bps: paid on the traded amount, in basis points.
        allow_short: without it, a negative position is traded as 0.
        risk_aversion: lambda of the score: position * excess return - lambda / 2 * position^2, in volatilities.
        horizon: days over which the score measures the return.
        trained_until: the last date used to train whatever made the decisions; dates up to it are warned of.
        seed: of the random baseline.
        confidence: of the intervals and of the verdict.
        report: an HTML file to write; the comparison is written beside it as JSON.
        price_options: of :func:`~tradeschool.market.load.load_prices`, such as ``{"accept": ["ABC 2016-01-04"]}``.

    Returns:
        The comparison; ``row(name)`` is the row of the decisions.

    Raises:
        DataError: a row of the decisions or the prices breaks a rule; the text names file and line.
        RunError: a setting is out of range, or ``name`` is the name of a baseline.
    """
    if not name.strip():
        raise RunError("name is empty. Give the decisions a name for the tables.")
    if not 0 <= seed < 2**32:
        raise RunError(f"seed is {seed}. Give one from 0 to {2**32 - 1}.")
    check_confidence(confidence)
    with _named_settings():
        costs = Costs(commission_bps=commission_bps, slippage_bps=slippage_bps, allow_short=allow_short)
        config = RatingConfig(risk_aversion=risk_aversion, horizons=[horizon])
    if report is not None:
        _refuse_to_replace(Path(report), decisions, prices)
    panel = _panel(prices, price_options or {})
    read = read_decisions(decisions, panel)
    seen = _seen_in_training(panel, read, trained_until)
    # Decisions are the test split. Earlier dates whose outcome was known serve to choose the best constant rating.
    earlier = max(0, int(read.rows_T[0]) - horizon - 1)
    split = Split(np.arange(earlier if earlier >= FEWEST_EARLIER else 0), np.arange(0), read.rows_T)
    task = RatingTask(config, panel, split)
    policies = task.baselines(seed)
    if name in {policy.name for policy in policies}:
        raise RunError(f"name is '{name}', which is a baseline's. Choose another name.")
    examples = _questions(task, read)
    questions = evaluation_set_of(task, panel, examples, "test", costs)
    metrics = tuple(metric for metric in questions.metrics if metric.key not in LABEL_METRICS)
    questions = replace(questions, metrics=metrics, action_names=questions.action_names if read.are_ratings else ())
    predictions = [
        traces_to_predictions(questions, policy.name, policy.kind, examples, rollout(policy, task, examples, {}))
        for policy in policies
    ]
    predictions.append(_predictions(task, questions, examples, name, read))
    comparison = compare(questions, predictions, confidence=confidence)
    warnings = [*read.warnings, *seen, *_not_scored(read, len(examples), horizon), *comparison.warnings]
    comparison = comparison.model_copy(update={"warnings": warnings})
    if report is not None:
        write_report(Path(report), comparison, title=f"tradeschool: {name}")
        Path(report).with_suffix(".json").write_text(comparison.to_json(), encoding="utf-8")
    return comparison


@contextmanager
def _named_settings() -> Iterator[None]:
    """Turn a setting out of range into an error that names it."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]).replace("horizons", "horizon")
        raise RunError(f"{key} is {first['input']}: {first['msg']}. Give another value.") from error


def _panel(prices: Path | str | Panel, options: Mapping[str, Any]) -> Panel:
    if not isinstance(prices, Panel):
        return load_prices(prices, **options)
    if options:
        raise RunError("price_options are for prices from files, but a panel is given. Remove them.")
    return prices


def _refuse_to_replace(report: Path, *inputs: object) -> None:
    """An earlier report is replaced; it is known by the comparison beside it. Other files are not ours to replace."""
    if report.is_dir() or not report.parent.is_dir():
        raise RunError(f"report is {report}. Give a file in a folder that exists.")
    if report.suffix.lower() != ".html":
        raise RunError(f"report is {report}, which does not end in .html. Give a file that does, with --report.")
    figures = report.with_suffix(".json")
    for path in inputs:  # data frames and panels are no files
        if isinstance(path, str | Path) and Path(path).resolve() in (report.resolve(), figures.resolve()):
            raise RunError(f"The report would replace {path}, which is read here. Choose another file with --report.")
    try:
        if figures.exists() or report.exists():
            Comparison.read(figures)
    except RunError as error:
        raise RunError(
            f"{report} or {figures} exists already and is not an earlier report ({error}) Choose another file with "
            "--report, or remove both."
        ) from error


def _questions(task: RatingTask, read: Decisions) -> list[Example]:
    """The questions about the tickers that have decisions, each of which must be answered."""
    given_TN = np.isfinite(read.position_TN)
    asked = [example for example in task.examples("test") if given_TN[:, example.n].any()]
    # On the last dates too, whose outcomes are not known and which are not scored: a row is not forgotten unnoticed.
    wanted_TN = np.zeros_like(given_TN)
    wanted_TN[read.rows_T] = task.panel.listed_TN[read.rows_T] & given_TN.any(axis=0)
    first = {example.n: example.t for example in reversed(asked)}
    missing = [(t, n) for t, n in np.argwhere(wanted_TN & ~given_TN) if t >= first.get(n, len(given_TN))]
    if missing:
        t, n = missing[0]
        ticker, day = task.panel.tickers[n], task.panel.dates_T[t].astype("datetime64[D]")
        more = f" (the first of {len(missing)} missing rows)" if len(missing) > 1 else ""
        raise DataError(
            f"{read.source}: no decision for {ticker} on {day}{more}. Every ticker needs a row on each of its trading "
            "days between the first and the last decision. Add it; HOLD, or position 0, means no position."
        )
    if not asked:
        raise DataError(
            f"No decision can be scored: a score needs 20 days of earlier prices and {task.horizon + 1} later days."
        )
    return asked


def _predictions(
    task: RatingTask, questions: EvaluationSet, examples: Sequence[Example], name: str, read: Decisions
) -> Predictions:
    """The decisions as the answers of a model. A position counts as a rating, or as a fraction of one."""
    traces = []
    for example in examples:
        if (example.t, example.n) in read.unreadable:
            metrics = task.trace_metrics(example, None)
            traces.append(Trace(example.key, task.name, name, [], {}, "parse_error", metrics=metrics))
            continue
        rating = 2 * float(read.position_TN[example.t, example.n])
        action = task.action_name(int(rating)) if rating == int(rating) else f"{rating / 2:+g}"
        metrics = task.trace_metrics(example, rating)
        traces.append(Trace(example.key, task.name, name, [], {}, "answered", action, metrics=metrics))
    return traces_to_predictions(questions, name, "decisions", examples, traces)


def _seen_in_training(panel: Panel, read: Decisions, trained_until: date | str | None) -> list[str]:
    if trained_until is None:
        return []
    try:
        last = np.datetime64(date.fromisoformat(str(trained_until)))
    except ValueError:
        raise RunError(f"trained_until is '{trained_until}', which is not a date. Write YYYY-MM-DD.") from None
    days_T = panel.dates_T[read.rows_T].astype("datetime64[D]")
    if not (seen := int((days_T <= last).sum())):
        return []
    dates = "1 decision date is" if len(days_T) == 1 else f"{len(days_T)} decision dates are"
    return [
        f"{seen} of the {dates} not after the end of training ({last}): results on dates "
        "seen in training say nothing about new ones."
    ]


def _not_scored(read: Decisions, scored: int, horizon: int) -> list[str]:
    given = int(np.isfinite(read.position_TN).sum())
    if given == scored:
        return []
    return [
        f"{given - scored} of {given} decisions are not scored, because their outcome or the volatility before "
        f"them is not in the prices (such as the last {horizon + 1} days)."
    ]
