"""A comparison in the terminal: the table, and a summary of the trained models in six lines."""

import math
import textwrap
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tradeschool.evaluate.comparison import (
    BUY_AND_HOLD,
    JUDGED,
    MEAN_RETURN,
    MODELS,
    NAIVE,
    Comparison,
    Difference,
    Interval,
    Row,
    figure,
    figure_with_interval,
    gap,
)
from tradeschool.tasks.base import Metric

EARNED = "cumulative_return"
SUMMARY_LINES = 6
ELSEWHERE = "The report has the rest."
MORE = " ... (more in the report)"
STYLES = {
    "better": "bold green",
    "worse": "red",
    "not shown": "yellow",
    "same": "yellow",
    "too few dates": "yellow",
    "reference": "cyan",
    "ceiling": "dim",
    "bound": "dim",
}


def print_comparison(console: Console, comparison: Comparison, warnings: Sequence[str] = ()) -> None:
    """Print the table and the summary; ``warnings`` are those of training, the comparison's own follow."""
    facts = comparison.evaluation
    tickers = f"{facts.tickers} tickers, " if facts.tickers else ""
    title = f"{tickers}{_dates(comparison)}, {facts.dates[0]} to {facts.dates[-1]}"
    console.print(rows_table(title, comparison, [("", row) for row in comparison.rows], console))
    found = [*warnings, *comparison.warnings]
    lines = _summary_lines(comparison, console.width, SUMMARY_LINES - bool(found))
    for line in lines:
        console.print(Text(line, style="bold"))
    if found:
        count = f"{len(found)} warnings, the first" if len(found) > 1 else "Warning"
        room = SUMMARY_LINES - len(lines)
        cut = textwrap.wrap(f"{count}: {found[0]}", console.width, max_lines=room, placeholder=MORE)
        console.print(Text("\n".join(cut), style="yellow"))


def print_warnings(console: Console, warnings: Sequence[str]) -> None:
    """One line each."""
    for warning in warnings:
        console.print(Text.assemble(("Warning: ", "bold yellow"), warning))


# the table ---------------------------------------------------------------------------------------


def rows_table(title: str, comparison: Comparison, rows: Sequence[tuple[str, Row]], console: Console) -> Table:
    """Rows with the name of their run, which is shown only where a row has one."""
    caption = f"[low, high]: {comparison.level:.0%} interval"
    metrics = shown_metrics(comparison, [row for _, row in rows])
    metrics = [metric for metric in metrics if metric.key == comparison.primary or metric.terminal != "no"]
    with_interval = [
        metric.key for metric in metrics if metric.key == comparison.primary or metric.terminal == "interval"
    ]
    return fitting_table(title, caption, metrics, rows, console, with_interval)


def shown_metrics(comparison: Comparison, rows: Sequence[Row]) -> list[Metric]:
    """The metrics that are defined for any of the rows, the primary one first."""
    defined = {key for row in rows for key, interval in row.metrics.items() if math.isfinite(interval.value)}
    found = [metric for metric in comparison.metrics if metric.key in defined]
    return sorted(found, key=lambda metric: metric.key != comparison.primary)


def fitting_table(
    title: str,
    caption: str,
    metrics: Sequence[Metric],
    rows: Sequence[tuple[str, Row]],
    console: Console,
    with_interval: Sequence[str] = (),
) -> Table:
    """Any rows as a table.

    Where it does not fit, the last column is left out, then all intervals but the first metric's, then more columns;
    the caption says where they are.

    Args:
        title, caption: above and below the table.
        metrics: the columns after ``policy`` and ``verdict``.
        rows: with the name of their run, empty where there is one run.
        console: whose width counts.
        with_interval: keys of the metrics that are printed with their interval, the most important first.
    """
    unbounded = console.options.update(max_width=10_000)  # otherwise the measured width is cut to the console's

    def fits(table: Table) -> bool:
        return console.measure(table, options=unbounded).maximum <= console.width

    def table(count: int, intervals: Sequence[str]) -> Table:
        note = caption if count == len(metrics) else f"{caption}; more columns in the report"
        return _table(title, note, metrics[:count], rows, intervals)

    whole = len(metrics)
    tries = [(whole, with_interval), (whole - 1, with_interval)]
    tries += [(count, with_interval[:1]) for count in range(whole, 0, -1)]
    candidates = [table(count, intervals) for count, intervals in tries if count > 0]
    return next((one for one in candidates if fits(one)), candidates[-1])


def _table(
    title: str,
    caption: str,
    metrics: Sequence[Metric],
    rows: Sequence[tuple[str, Row]],
    with_interval: Sequence[str],
) -> Table:
    with_run = any(run for run, _ in rows)
    table = Table(title=Text(title), caption=Text(caption), box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in [*(["run"] if with_run else []), "policy", "verdict"]:
        table.add_column(name, no_wrap=True)
    for metric in metrics:
        table.add_column(Text(metric.label.replace(" ", "\n")), justify="right", no_wrap=True)
    for run, row in rows:
        cells = [_cell(metric, row.metrics.get(metric.key), metric.key in with_interval) for metric in metrics]
        verdict = Text(row.verdict, style=STYLES[row.verdict])
        table.add_row(*([Text(run)] if with_run else []), Text(row.policy), verdict, *cells)
    return table


def _cell(metric: Metric, interval: Interval | None, with_interval: bool) -> Text:
    if interval is None:
        return Text("-")
    return Text(figure_with_interval(metric, interval) if with_interval else figure(metric, interval.value))


# the summary -------------------------------------------------------------------------------------


def _summary_lines(comparison: Comparison, width: int, most: int) -> list[str]:
    """The sentences wrapped to ``width``. Where they need more than ``most`` lines, the last line says so."""
    wrapped = [textwrap.wrap(text, width) for text in summary(comparison)]
    if sum(map(len, wrapped)) <= most:
        return [line for lines in wrapped for line in lines]
    kept: list[str] = []
    for lines in wrapped:
        if len(kept) + len(lines) < most:
            kept += lines
    return [*kept, ELSEWHERE]


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
    lines += [last, _money(comparison, trained[-1]), *earlier]
    return [line for line in lines if line]


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
    primary, rows = comparison.metric(comparison.primary), [row for row in comparison.rows if row.kind in NAIVE]
    best = comparison.row(comparison.reference)
    text = f"best by {primary.label}: {best.policy} {figure(primary, best.metrics[primary.key].value)}"
    earned = [row for row in rows if EARNED in row.metrics and math.isfinite(row.metrics[EARNED].value)]
    if not earned:
        return text
    metric, richest = comparison.metric(EARNED), max(earned, key=lambda row: row.metrics[EARNED].value)
    return f"{text}; by {metric.label}: {richest.policy} {figure(metric, richest.metrics[EARNED].value)}"


def _dates(comparison: Comparison) -> str:
    """Called unseen only where that is known: nothing is of the training behind decisions or a base model."""
    return f"{len(comparison.evaluation.dates)} {'unseen ' if comparison.unseen else ''}dates"


def _step(comparison: Comparison, row: Row) -> str:
    """What this step of training added: to the share of the edge where it is known, else to the primary metric."""
    if (before := comparison.before(row.policy)) is None:
        return ""
    shares = [metric for metric in comparison.metrics if metric.aggregate == "share_of_oracle"]
    for metric in [*shares, comparison.metric(comparison.primary)]:
        one = row.difference(metric.key, before)
        if one is not None and math.isfinite(one.interval.value):
            now = figure_with_interval(metric, row.metrics[metric.key])
            return f"{row.policy}: {metric.label} {now}; {gap(metric, one)} over {before}, {_shown(one)}."
    return ""


def _shown(one: Difference) -> str:
    if one.improved:
        return "an improvement"
    return "a loss" if one.worsened else "not shown"


def _money(comparison: Comparison, row: Row) -> str:
    """The return after costs against buy and hold, and only then against every baseline."""
    market = BUY_AND_HOLD if comparison.has(BUY_AND_HOLD) else comparison.reference
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
