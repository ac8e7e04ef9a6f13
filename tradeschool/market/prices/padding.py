"""Days without trading that a file fills with the last price, and files without a volume."""

from dataclasses import replace

import numpy as np

from tradeschool.market.findings import Report
from tradeschool.market.prices.parse import Bools
from tradeschool.market.prices.validate import History

COPIES = 3
"""Bars in a row that equal the bar before them, volume included, above which they are copies and not chance."""

SAME = 1e-7
"""Relative difference below which adjusted prices are equal."""


def without_padding(history: History, report: Report) -> History:
    """The history without days that were filled with the last price, which count as days without a bar.

    A file without any volume (currencies, indices) has unknown volumes, not volumes of 0.
    """
    volume_T = history.bars["volume"]
    has_volume = bool((volume_T > 0).any())
    if not has_volume and (volume_T == 0).any():
        kind = "the volume is 0 on every day: it counts as unknown, and limits no order"
        report.info(f"{history.ticker}: {kind}", f"{len(volume_T)} bars", kind=kind)
        history = replace(history, bars=history.bars | {"volume": np.full(len(volume_T), np.nan)})
    padded_T = _padded(history, has_volume)
    for first, last in _runs(padded_T):
        rule = "a day without trading is filled with the last price"
        if first < last:
            rule = "days without trading are filled with the last price"
        days = f"{history.dates_T[first]}" if first == last else f"{history.dates_T[first]} to {history.dates_T[last]}"
        price = history.bars["close"][first]
        value = f"{history.ticker} {price:g} on {days}, to row {history.rows_T[last]}"
        cure = "Nothing to do: left out, they count as days without a bar, so no fill, label or feature uses them."
        kind = "days without trading were filled with the last price"
        report.warning(int(history.rows_T[first]), rule, value, cure, kind)
    moved_T = ~padded_T & (volume_T == 0) & has_volume
    if moved_T.any():
        at = np.flatnonzero(moved_T)
        kind = "the volume is 0 although the price moved: no order is filled on such a day"
        value = f"{history.ticker}, {len(at)} bars, the first on {history.dates_T[at[0]]}"
        cure = "Check the volume; empty it where it is unknown."
        report.warning(int(history.rows_T[at[0]]), kind, value, cure, kind)
    return history.take(~padded_T) if padded_T.any() and not padded_T.all() else history


def _padded(history: History, has_volume: bool) -> Bools:
    """Bars that only repeat the price before them.

    Without a volume on that day: the close is that of the bar before or, at the start of such days, of the bar after.
    With one, or in a file without volumes: the whole bar is a copy; a few bars of a single price may be so by chance.
    """
    values_TF = np.column_stack([history.bars[name] for name in ("open", "high", "low", "close")])
    volume_T, close_T = history.bars["volume"], history.bars["close"]
    same_T = np.append(False, np.isclose(close_T[1:], close_T[:-1], rtol=SAME, atol=0))
    copy_T = np.append(False, np.isclose(values_TF[1:], values_TF[:-1], rtol=SAME, atol=0).all(axis=1))
    flat_T = values_TF.max(axis=1) == values_TF.min(axis=1)
    if not has_volume:
        # A bar of one price at the close before it is a copy where bars usually have a range.
        return copy_T & ~flat_T | same_T & flat_T & bool(np.median(flat_T) == 0)
    idle_T = (volume_T == 0) | np.isnan(volume_T) & (copy_T | flat_T)
    copy_T &= np.append(False, volume_T[1:] == volume_T[:-1])
    if copy_T[1:].all():
        return idle_T & same_T  # a made-up file of equal bars
    padded_T = idle_T & same_T | copy_T & ~flat_T
    for first, last in _runs(copy_T & flat_T):
        begin = first - 1 if flat_T[first - 1] and same_T[first - 1] else first
        padded_T[begin : last + 1] |= last - first + 1 >= COPIES
    padded_T[:-1] |= idle_T[:-1] & idle_T[1:] & same_T[1:]
    return padded_T


def _runs(chosen_T: Bools) -> list[tuple[int, int]]:
    """First and last place of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen_T.astype(np.int8), [0]])))
    return [(int(first), int(after) - 1) for first, after in zip(edges[::2], edges[1::2], strict=True)]
