"""What was learned, in a few plain sentences: the first thing a reader sees."""

import math

from tradeschool.evaluate.result import Comparison, Interval, Row
from tradeschool.evaluate.verdict import signed


def headline(comparison: Comparison) -> list[str]:
    """One sentence on the whole, one on each step of training, one on the money after costs."""
    trained = [row for row in comparison.rows if row.kind == "trained"]
    if not trained:
        return ["No trained policy sat this exam; the rows below only show the rivals."]
    better = [row for row in trained if row.verdict == "better"]
    lines = [_verdict_line(comparison, trained, better)]
    lines += [line for row in trained if (line := _step_line(comparison, row))]
    last = trained[-1]
    if last.return_against_naive is not None:
        lines.append(_money_line(last))
    return lines


def _verdict_line(comparison: Comparison, trained: list[Row], better: list[Row]) -> str:
    exam = comparison.exam
    where = f"on {len(exam.dates)} unseen dates and {exam.tickers} tickers"
    if not better:
        names = _joined([row.policy for row in trained])
        worse = [row.policy for row in trained if row.verdict == "worse"]
        tail = f" {_joined(worse)} did worse." if worse else ""
        return f"Not shown to have learned anything: {where}, {names} did not beat {comparison.reference}.{tail}"
    names = _joined([row.policy for row in better])
    text = f"Learned something: {where}, {names} beat every naive rival (the best was {comparison.reference})."
    rest = [row.policy for row in trained if row.verdict != "better"]
    return text + (f" {_joined(rest)} did not." if rest else "")


def _step_line(comparison: Comparison, row: Row) -> str:
    """What this step of training added, in shares of the edge where the best possible is known."""
    previous = row.score_against_previous
    if previous is None:
        return ""
    share = next((d for d in row.share_against if d.against == previous.against), None)
    if share is None or not math.isfinite(share.interval.value):
        verb = _verb(previous.interval)
        return f"{row.policy} {verb} the score against {previous.against}: {signed(previous.interval, 3)}."
    now, before = row.metrics["share"], comparison.row(previous.against).metrics["share"]
    return (
        f"{row.policy} {_verb(share.interval)} the share of the edge recovered from {before.value:.0%} "
        f"({previous.against}) to {now.value:.0%} {_percent_range(now)}; "
        f"the difference is {100 * share.interval.value:+.1f} points {_points_range(share.interval)}."
    )


def _verb(interval: Interval) -> str:
    if interval.low > 0:
        return "raised"
    return "lowered" if interval.high < 0 else "was not shown to change"


def _percent_range(interval: Interval) -> str:
    return f"[{interval.low:.0%}, {interval.high:.0%}]"


def _points_range(interval: Interval) -> str:
    return f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def _money_line(row: Row) -> str:
    difference, earned = row.return_against_naive, row.metrics["cumulative_return"]
    assert difference is not None
    if difference.interval.low > 0:
        text = f"shown to earn more than {difference.against}"
    elif difference.interval.high < 0:
        text = f"shown to earn less than {difference.against}"
    else:
        text = f"not shown to earn more or less than {difference.against}"
    return f"Traded after costs, {row.policy} returned {earned.value:.1%} {_percent_range(earned)}: {text}."


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
