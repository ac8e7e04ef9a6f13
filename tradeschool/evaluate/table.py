"""A comparison in the terminal: what was learned, the table, the verdicts, the warnings."""

import math
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tradeschool.evaluate.headline import headline
from tradeschool.evaluate.result import METRICS, Comparison, Metric, Row, figure, figure_with_interval

# The most telling columns, narrow enough for 120 characters; the report has them all.
WITH_INTERVAL = ("score", "share", "sharpe")
COLUMNS = ("score", "share", "rank_ic", "cumulative_return", "sharpe", "max_drawdown")
# The run's name takes the room of the last two.
COLUMNS_OF_RUNS = ("score", "share", "rank_ic", "cumulative_return")
STYLES = {"better": "bold green", "worse": "red", "not shown": "yellow", "reference": "cyan", "ceiling": "dim"}


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the headline, the table, a line per policy and the warnings."""
    for line in headline(comparison):
        console.print(Text(line, style="bold"))
    console.print(comparison_table(comparison, console))
    for row in comparison.rows:
        console.print(Text.assemble((f"{row.policy}: ", "bold"), row.sentence))
    print_warnings(console, comparison.warnings)


def print_warnings(console: Console, warnings: Sequence[str]) -> None:
    """One line each."""
    for warning in warnings:
        console.print(Text.assemble(("Warning: ", "bold yellow"), warning))


def comparison_table(comparison: Comparison, console: Console) -> Table:
    """The rich table, one row a policy, with as many columns as the console is wide."""
    exam = comparison.exam
    title = f"{exam.tickers} tickers, {len(exam.dates)} unseen dates, {exam.dates[0]} to {exam.dates[-1]}"
    return row_table(title, comparison, [("", row) for row in comparison.rows], console)


def row_table(title: str, comparison: Comparison, rows: Sequence[tuple[str, Row]], console: Console) -> Table:
    """Rows with the name of their run; the run's column is there only where a row has one.

    In a narrow console the last columns are left out, never cut: a figure without its end is no figure.
    """
    with_run = any(run for run, _ in rows)
    metrics = shown_metrics([row for _, row in rows], COLUMNS_OF_RUNS if with_run else COLUMNS)
    table = _table(title, comparison, rows, metrics, with_run)
    unbounded = console.options.update(max_width=10_000)  # else what is measured is cut to the console's width
    while len(metrics) > 1 and console.measure(table, options=unbounded).maximum > console.width:
        metrics = metrics[:-1]
        table = _table(title, comparison, rows, metrics, with_run)
    return table


def _table(
    title: str, comparison: Comparison, rows: Sequence[tuple[str, Row]], metrics: Sequence[Metric], with_run: bool
) -> Table:
    caption = f"[low, high]: {comparison.level:.0%} interval, {comparison.draws} draws of dates in blocks, after costs"
    table = Table(title=Text(title), caption=Text(caption), box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in (["run"] if with_run else []) + ["policy", "verdict"]:
        table.add_column(name, no_wrap=True)
    for metric in metrics:
        table.add_column(Text(metric.label.replace(" ", "\n")), justify="right", no_wrap=True)
    for run, row in rows:
        table.add_row(*([Text(run)] if with_run else []), *_cells(row, metrics))
    return table


def shown_metrics(rows: Sequence[Row], keys: Sequence[str] | None = None) -> list[Metric]:
    """The metrics that are defined for any of the rows, in the order of METRICS."""
    defined = {key for row in rows for key, interval in row.metrics.items() if math.isfinite(interval.value)}
    return [metric for metric in METRICS if metric.key in defined and (keys is None or metric.key in keys)]


def _cells(row: Row, metrics: Sequence[Metric]) -> list[Text]:
    cells = [Text(row.policy), Text(row.verdict, style=STYLES[row.verdict])]
    for metric in metrics:
        interval = row.metrics.get(metric.key)
        if interval is None:
            cells.append(Text("-"))
        elif metric.key in WITH_INTERVAL:
            cells.append(Text(figure_with_interval(metric, interval)))
        else:
            cells.append(Text(figure(metric, interval.value)))
    return cells
