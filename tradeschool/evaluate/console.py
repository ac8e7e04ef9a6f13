"""A comparison in the terminal: the table, and a summary of the trained models in six lines."""

import math
import textwrap
from collections.abc import Sequence

import rich.table
from rich.console import Console
from rich.text import Text

from tradeschool.evaluate.comparison import (
    BUY_AND_HOLD,
    JUDGED,
    MEAN_RETURN,
    MODELS,
    NAIVE,
    Comparison,
    Row,
    figure,
    figure_with_interval,
    gap,
)
from tradeschool.evaluate.tables import fitting_table, shown_metrics

EARNED = "cumulative_return"
SUMMARY_LINES = 6
ELSEWHERE = "The report has the rest."
MORE = " ... (more in the report)"


def print_comparison(console: Console, comparison: Comparison, warnings: Sequence[str] = ()) -> None:
    """Print the table and the summary; ``warnings`` are those of training, the comparison's own follow."""
    console.print(rows_table(subject(comparison), comparison, [("", row) for row in comparison.rows], console))
    print_summary(console, summary(comparison), [*warnings, *comparison.warnings])


def subject(comparison: Comparison) -> str:
    """``10 tickers, 310 unseen dates, 2014-01-02 to 2015-03-20``."""
    facts = comparison.evaluation
    tickers = f"{facts.tickers} tickers, " if facts.tickers else ""
    return f"{tickers}{_dates(comparison)}, {facts.dates[0]} to {facts.dates[-1]}"


def rows_table(
    title: str, comparison: Comparison, rows: Sequence[tuple[str, Row]], console: Console
) -> rich.table.Table:
    """Rows with the name of their run, which is shown only where a row has one."""
    caption, primary = f"[low, high]: {comparison.confidence:.0%} interval", comparison.primary
    metrics = shown_metrics(comparison.metrics, [row for _, row in rows], primary)
    metrics = [metric for metric in metrics if metric.key == primary or metric.terminal != "no"]
    with_interval = [metric.key for metric in metrics if metric.key == primary or metric.terminal == "interval"]
    return fitting_table(title, caption, metrics, rows, console, with_interval)


def print_summary(console: Console, sentences: Sequence[str], warnings: Sequence[str]) -> None:
    """Print as many whole sentences as fit into ``SUMMARY_LINES``, the first warning included."""
    wrapped = [textwrap.wrap(text, console.width) for text in sentences]
    most = SUMMARY_LINES - bool(warnings)
    fits = sum(map(len, wrapped)) <= most
    lines: list[str] = []
    for sentence in wrapped:
        if len(lines) + len(sentence) <= most - (not fits):
            lines += sentence
    for line in lines if fits else [*lines, ELSEWHERE]:
        console.print(Text(line, style="bold"))
    if warnings:
        count = f"{len(warnings)} warnings, the first" if len(warnings) > 1 else "Warning"
        room = SUMMARY_LINES - len(lines) - (not fits)
        cut = textwrap.wrap(f"{count}: {warnings[0]}", console.width, max_lines=room, placeholder=MORE)
        console.print(Text("\n".join(cut), style="yellow"))


def print_warnings(console: Console, warnings: Sequence[str]) -> None:
    """One line each."""
    for warning in warnings:
        console.print(Text.assemble(("Warning: ", "bold yellow"), warning))


# the sentences -----------------------------------------------------------------------------------


def summary(comparison: Comparison) -> list[str]:
    """What is shown, the most important first: the whole, the last step of training, the return, the earlier steps.

    Where nothing was trained the sentences are about the base model.
    """
    models = [row for row in comparison.rows if row.kind in MODELS]
    trained = [row for row in models if row.kind in JUDGED] or models
    if not trained:
        return ["No model was evaluated; the rows show the baselines only."]
    if all(row.verdict == "too few dates" for row in trained):
        return [f"Too few dates to judge anything: {_dates(comparison)}."]
    lines = [_overall(comparison, trained)]
    if trained is models:
        lines.insert(0, f"Evaluated as given: {_joined([row.policy for row in models])}, beside the baselines.")
    last, *earlier = reversed([_step(comparison, row) for row in trained])
    return [line for line in (*lines, last, _money(comparison, trained[-1]), *earlier) if line]


def _overall(comparison: Comparison, trained: list[Row]) -> str:
    facts = comparison.evaluation
    where = f"on {_dates(comparison)}" + (f" and {facts.tickers} tickers" if facts.tickers else "")
    better = [row.policy for row in trained if row.verdict == "better"]
    rest = [row.policy for row in trained if row.verdict != "better"]
    worse = [row.policy for row in trained if row.verdict == "worse"]
    base = next((row for row in comparison.rows if row.kind == "base"), None)
    # Where the base model beats the baselines itself, that a trained one does shows nothing about the training.
    learned = base is not None and base not in trained and base.verdict != "better"
    best = _best_baselines(comparison)
    if better:
        claim = "Learned something" if learned else "Better than the baselines"
        text = f"{claim}: {where}, {_joined(better)} beat every baseline ({best})."
        return text + (f" {_joined(rest)} did not." if rest else "")
    claim = "Not shown to have learned anything" if learned else "Not shown to be better than the baselines"
    text = f"{claim}: {where}, {_joined(rest)} did not beat every baseline ({best})."
    return text + (f" {_joined(worse)} did worse than a baseline." if worse else "")


def _best_baselines(comparison: Comparison) -> str:
    """The best by the primary metric and the best by return, which are not always the same."""
    primary, best = comparison.metric(comparison.primary), comparison.row(comparison.best_baseline)
    text = f"best by {primary.label}: {best.policy} {figure(primary, best.metrics[primary.key].value)}"
    earned = {
        row.policy: row.metrics[EARNED].value for row in comparison.rows if row.kind in NAIVE and EARNED in row.metrics
    }
    earned = {policy: value for policy, value in earned.items() if math.isfinite(value)}
    if not earned:
        return text
    metric, richest = comparison.metric(EARNED), max(earned, key=lambda policy: earned[policy])
    return f"{text}; by {metric.label}: {richest} {figure(metric, earned[richest])}"


def _dates(comparison: Comparison) -> str:
    """Called unseen only where that is known: nothing is of the training behind decisions or a base model."""
    dates = len(comparison.evaluation.dates)
    return f"{dates} {'unseen ' if comparison.unseen else ''}{'date' if dates == 1 else 'dates'}"


def _step(comparison: Comparison, row: Row) -> str:
    """What this step of training added: to the share of the edge where it is known, else to the primary metric."""
    if (before := comparison.before(row.policy)) is None:
        return ""
    shares = [metric for metric in comparison.metrics if metric.aggregate == "share_of_oracle"]
    for metric in [*shares, comparison.metric(comparison.primary)]:
        one = row.difference(metric.key, before)
        if one is not None and math.isfinite(one.interval.value):
            shown = "an improvement" if one.improved else "a loss" if one.worsened else "not shown"
            now = figure_with_interval(metric, row.metrics[metric.key])
            return f"{row.policy}: {metric.label} {now}; {gap(metric, one)} over {before}, {shown}."
    return ""


def _money(comparison: Comparison, row: Row) -> str:
    """The return after costs against buy and hold, and only then against every baseline."""
    market = BUY_AND_HOLD if comparison.has(BUY_AND_HOLD) else comparison.best_baseline
    one = row.difference(MEAN_RETURN.key, market)
    if one is None:
        return ""
    earned = comparison.metric(EARNED)
    found = figure_with_interval(earned, row.metrics[EARNED])
    theirs = f"{market} {figure(earned, comparison.row(market).metrics[EARNED].value)}"
    if one.interval.low == one.interval.high == 0:
        claim = "the same"
    elif one.improved:
        claim = "above every baseline"
    else:
        claim = "below it" if one.worsened else "not shown to be above every baseline"
    return f"{row.policy}: {earned.label} {found}, {theirs}: {claim}."


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
