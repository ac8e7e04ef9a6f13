"""Intervals of the mean grades of played episodes, alone and paired."""

from collections.abc import Sequence

from tradeschool.env.grading import Record, totals
from tradeschool.evaluate.comparison import Interval
from tradeschool.evaluate.inference_cosine import CosineEstimate
from tradeschool.market.panel import Floats


def estimate(records: Sequence[Record]) -> CosineEstimate:
    """The mean total grade of one agent's episodes."""
    starts = [record.start for record in records]
    return CosineEstimate.of(totals(records), starts, len(records[0].turnover_D))


def grade_interval(records: Sequence[Record]) -> Interval:
    return estimate(records).interval()


def paired(first: Sequence[Record], second: Sequence[Record]) -> Floats:
    """[B] differences of total grades, first minus second, on the same episodes."""
    return (estimate(first) - estimate(second)).values_B


def paired_interval(first: Sequence[Record], second: Sequence[Record]) -> Interval:
    return (estimate(first) - estimate(second)).interval()
