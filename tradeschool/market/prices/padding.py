"""Days without trading that a file fills with the last price, and files without a volume."""

from dataclasses import replace

import numpy as np

from tradeschool.market.features import segments
from tradeschool.market.panel import Floats
from tradeschool.market.prices.parse import Bools
from tradeschool.market.prices.validate import History

COPIES = 3
"""Bars in a row that equal the bar before them, volume included, above which they are copies and not chance."""

SAME = 1e-7
"""Relative difference below which adjusted prices are equal."""


def without_padding(history: History) -> History:
    """The history without days that were filled with the last price, which count as days without a bar.

    A file without any volume (currencies, indices) has unknown volumes, not volumes of 0.
    """
    volume_T = history.bars["volume"]
    has_volume = bool((volume_T > 0).any())
    if not has_volume and (volume_T == 0).any():
        kind = "the volume is 0 on every day: it counts as unknown, and limits no order"
        history.report.info(f"{history.ticker}: {kind}", f"{len(volume_T)} bars", kind=kind)
        history = replace(history, bars=history.bars | {"volume": np.full(len(volume_T), np.nan)})
    padded_T = _padded(history, has_volume)
    kind = "days without trading are filled with the last price"
    cure = "Nothing to do: left out, they count as days without a bar, so no fill, label or feature uses them."
    for run in segments(padded_T):
        first, last = run.start, run.stop - 1
        days = str(history.dates_T[first]) + (f" to {history.dates_T[last]}" if first < last else "")
        value = f"{history.ticker} {history.bars['close'][first]:g} on {days}, to row {history.rows_T[last]}"
        history.warn(first, kind, value, cure)
    at = np.flatnonzero(~padded_T & (volume_T == 0) & has_volume)
    if len(at):
        rule = "the volume is 0 although the price moved: no order is filled on such a day"
        value = f"{history.ticker}, {len(at)} bars, the first on {history.dates_T[at[0]]}"
        history.warn(int(at[0]), rule, value, "Check the volume; empty it where it is unknown.")
    return history.take(~padded_T) if padded_T.any() and not padded_T.all() else history


def _padded(history: History, has_volume: bool) -> Bools:
    """Bars that only repeat the price before them.

    Without a volume on that day: the close is that of the bar before or, at the start of such days, of the bar after.
    With one, or in a file without volumes: the whole bar is a copy; a few bars of a single price may be so by chance.
    """
    bars = history.bars
    volume_T = bars["volume"]
    same_T = np.append(False, _is_equal(bars["close"][1:], bars["close"][:-1]))
    if not same_T.any():
        return same_T
    copy_T = same_T.copy()
    for name in ("open", "high", "low"):
        copy_T[1:] &= _is_equal(bars[name][1:], bars[name][:-1])
    flat_T = bars["high"] == bars["low"]
    if not has_volume:
        # A bar of one price at the close before it is a copy where bars usually have a range.
        return copy_T & ~flat_T | same_T & flat_T & bool(np.median(flat_T) == 0)
    idle_T = (volume_T == 0) | np.isnan(volume_T) & (copy_T | flat_T)
    copy_T &= np.append(False, volume_T[1:] == volume_T[:-1])
    if copy_T[1:].all():
        return idle_T & same_T  # a made-up file of equal bars
    padded_T = idle_T & same_T | copy_T & ~flat_T
    for run in segments(copy_T & flat_T):
        begin = run.start - 1 if flat_T[run.start - 1] and same_T[run.start - 1] else run.start
        padded_T[begin : run.stop] |= run.stop - run.start >= COPIES
    padded_T[:-1] |= idle_T[:-1] & idle_T[1:] & same_T[1:]
    return padded_T


def _is_equal(one_T: Floats, other_T: Floats) -> Bools:
    return np.asarray(np.abs(one_T - other_T) <= SAME * other_T)
