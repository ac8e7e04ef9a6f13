"""What a price does from one bar to the next: wrong bars, changes of unit, splits, real crashes, another company.

A function of :data:`MOVE_CHECKS` looks at the finished bars of one ticker and reports what it finds. A new check is
one function. The evidence is the volume: after a split it rises as much as the price falls, after a change of unit it
stays, and in a real crash it rises by more.
"""

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from tradeschool.market.panel import Floats
from tradeschool.market.prices.parse import Bools
from tradeschool.market.prices.validate import History

JUMP = 1.9
"""A close that changes by this factor from one bar to the next gets a warning."""
SPLIT_RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 50.0, 100.0)
"""Shares after a split for one before. A reverse split has the inverse."""
SMALL_RATIOS = (1.25, 4 / 3)
"""The same, of splits that are as small as real moves: they must be exact, and on days of usual volume."""
SPLIT_TOLERANCE = 0.05
"""How far the open after a split may be from the close before it divided by the ratio."""
EXACT = 0.02
"""The same where the volume says nothing."""
UNIT = 8.0
"""A lasting change by this factor, without a volume to match, is a change of unit: a real one would be traded."""
ROUND = (10.0, 100.0, 1000.0, 10_000.0, 100_000.0, 1_000_000.0)
MONEY = 2.5
"""A price that falls as in a split is real where the money traded rises by this factor: in a split it stays."""
VOLUME_BARS = 10
"""Bars before and after a move whose median volumes are compared."""
SPIKE, SPIKE_SIGMAS = 1.4, 15.0
"""A wrong bar is this many times both neighbours, and this many usual moves of the ticker away."""
SPIKE_VOLUME, TRADED_SPIKE = 2.5, 10.0
"""With this many times the usual volume, a bar is wrong only from the second factor on."""
REUSE_DAYS, REUSE_LEVEL = 90, 1.5
"""Days without a bar, and a change of price over them, after which a symbol may be another company's; after a year
without a bar, at any price."""


def without_spikes(history: History) -> History:
    """Report each bar of which one or more prices are far from both neighbours; leave it out if the options say so."""
    left = []
    kind = f"a price is more than {SPIKE:g} times the bars before and after it, or less than the inverse"
    for i, name in sorted(_spikes(history).items()):
        before = history.price_in_file("close", i - 1) if i else history.price_in_file("open", i + 1)
        value = f"{history.ticker} {name} {history.price_in_file(name, i):g} on {history.dates_T[i]}, before {before:g}"
        if history.options.spikes == "leave_out" and not history.is_accepted(i):
            history.warn(i, kind, value, "Nothing to do: the bar was left out.")
            left.append(i)
        else:
            cure = "Correct it, empty the row, or leave all such bars out: market.spikes: leave_out, --leave-out."
            history.refuse(i, kind, value, cure)
    return history.take(~np.isin(np.arange(len(history.dates_T)), left)) if left else history


def _spikes(history: History) -> dict[int, str]:
    """Place of each wrong bar and the field that is furthest away."""
    bars = history.bars
    close_T, open_T, count = bars["close"], bars["open"], len(history.dates_T)
    if count < 3:
        return {}
    found: dict[int, str] = {}
    farthest: dict[int, float] = {}
    for name in ("close", "open", "high", "low"):
        # The neighbours' prices; at the ends, another price of the bar itself.
        first = close_T[0] if name == "open" else open_T[0]
        last = open_T[-1] if name == "close" else close_T[-1]
        before_T, after_T = np.append(first, close_T[:-1]), np.append(open_T[1:], last)
        for i in np.flatnonzero(_is_beyond(bars[name] / before_T, SPIKE)).tolist():
            up, down = np.log(bars[name][i] / before_T[i]), np.log(bars[name][i] / after_T[i])
            away = min(abs(up), abs(down)) if up * down > 0 else 0.0
            least = max(np.log(SPIKE), SPIKE_SIGMAS * history.usual_move)
            if not (away > least and away > farthest.get(i, 0.0)):
                continue
            if away > np.log(TRADED_SPIKE) or not _volume_ratio(history.shares_T, i, 1) >= SPIKE_VOLUME:
                found[i], farthest[i] = name, away
    return found


def _is_beyond(ratio_T: Floats, factor: float) -> Bools:
    """Which ratios are above a factor or below its inverse."""
    return (ratio_T > factor) | (ratio_T < 1 / factor)


def _check_jumps(history: History) -> None:
    """Report every bar whose close is ``JUMP`` times the close before, or its inverse, and every likely split."""
    bars, close_T = history.bars, history.bars["close"]
    step_T, change_T = bars["open"][1:] / close_T[:-1], close_T[1:] / close_T[:-1]
    beyond_T = _is_beyond(step_T, SMALL_RATIOS[0] * (1 - EXACT)) | _is_beyond(change_T, JUMP)
    if not beyond_T.any():
        return
    spikes = _spikes(history)
    skipped = {*spikes, *(i + 1 for i in spikes), *_gaps(history)}
    for i in (np.flatnonzero(beyond_T) + 1).tolist():
        if i in skipped:
            continue
        value = _move(history, i)
        step, change = float(np.log(step_T[i - 1])), abs(float(np.log(change_T[i - 1])))
        volume = _volume_ratio(history.shares_T, i, VOLUME_BARS)
        # News would have been traded on: the bar and the one before have no unusual volume.
        is_quiet = all(not _volume_ratio(history.shares_T, at, 1) >= SPIKE_VOLUME for at in (i - 1, i))
        # The volume moved by half of the change, either way; False where it is unknown.
        is_traded = np.log(_most_traded(history, i)) >= 0.5 * change or np.log(volume) <= -0.5 * change
        if history.is_accepted(i):
            history.refuse(i, "a large move", value, "")
        elif ratio := _split_ratio(step, volume, history.usual_move if is_quiet else np.inf):
            _report_split(history, i, ratio, value)
        elif change > np.log(UNIT) and not is_traded:
            factor = float(np.exp(change))
            near = min(ROUND, key=lambda one: abs(np.log(one / factor)))
            named = f"{near:,g}" if abs(np.log(near / factor)) < np.log(1.15) else f"{factor:,.0f}"
            kind = "the price changes by a factor that the volume does not follow, as with another unit or currency"
            history.refuse(i, f"{kind}: {named}", value, "Give all prices in one unit (pence or pounds).", kind)
        elif change > np.log(JUMP):
            cure = "Check whether prices are not adjusted for a split; if the move is real, nothing to do."
            history.warn(i, f"the close changes by more than {JUMP:g} times from one bar to the next", value, cure)


def _move(history: History, i: int) -> str:
    """The closes of bar ``i`` and the one before: as in the file, unless the adjustment itself changes in between."""
    if history.factor_T[i - 1] != history.factor_T[i]:
        before, after = history.bars["close"][i - 1 : i + 1]
        return f"{history.ticker} adjusted from {before:g} to {after:g} on {history.dates_T[i]}"
    before, after = (history.price_in_file("close", at) for at in (i - 1, i))
    return f"{history.ticker} from {before:g} to {after:g} on {history.dates_T[i]}"


def _check_gaps(history: History) -> None:
    """Report long gaps after which the price is another: the symbol may have become another company's."""
    for i in _gaps(history):
        before, after = history.bars["close"][i - 1 : i + 1]
        prices = (f"{history.price_in_file('close', at):g} on {history.dates_T[at]}" for at in (i - 1, i))
        value = f"{history.ticker} {', '.join(prices)}"
        rule = f"no bar for more than {REUSE_DAYS} days"
        a_year = history.dates_T[i] - history.dates_T[i - 1] > np.timedelta64(365, "D")
        if max(before / after, after / before) < REUSE_LEVEL and not a_year:
            history.warn(i, rule, value, "Download these days again; if the ticker did not trade, nothing to do.")
        else:
            rule += ", then another price or after a year: another company may have it"
            cure = "Give each company its own file and ticker, or download the missing days."
            history.refuse(i, rule, value, cure)


MOVE_CHECKS: tuple[Callable[[History], None], ...] = (_check_jumps, _check_gaps)


def _gaps(history: History) -> list[int]:
    """The bars before which too many days lie for the two prices to be compared."""
    step = 365 / (history.frequency or 365)
    steps = np.diff(history.dates_T.astype(np.int64)).astype(float)
    gaps: list[int] = (np.flatnonzero(steps > max(REUSE_DAYS, 3 * step)) + 1).tolist()
    return gaps


def _report_split(history: History, i: int, ratio: float, value: str) -> None:
    volume = _most_traded(history, i)
    new, old = Fraction(ratio).limit_denominator(100).as_integer_ratio()
    name = f"{new}:{old}"
    near = f"{name}, the open is within {SPLIT_TOLERANCE:.0%} of that ratio"
    if history.has_adj_close:
        kind = "the price jumps as in a split, although there is an Adj Close"
        history.warn(i, f"{kind}: {near}", value, "Check the Adj Close; if the move is real, nothing to do.", kind)
    elif ratio > 1 and volume >= MONEY * ratio:
        kind = "the price falls as in a split, but so much more was traded that the fall is taken for real"
        cure = "If it is a split, give adjusted prices; if the fall is real, nothing to do."
        history.warn(i, f"{kind}: {name}, {volume:.2g} times the volume", value, cure, kind)
    elif history.options.splits == "accept":
        kind = "prices are not adjusted for a split"
        history.warn(i, f"{kind}: {near}", value, "Nothing to do if the move is real: it was accepted.", kind)
    else:
        kind = "prices are not adjusted for a split"
        traded = f"{volume:.2g} times the volume" if np.isfinite(volume) else "the volume is unknown"
        cure = f"Give adjusted prices or an Adj Close column, or divide the prices before it by {ratio:g}."
        history.refuse(i, f"{kind}: {near}, {traded}", value, cure, kind)


def _split_ratio(step: float, volume: float, usual: float) -> float | None:
    """The ratio of a likely split, in shares after for one before; None if there is none.

    The open must be within ``SPLIT_TOLERANCE`` of the close before divided by a ratio of ``SPLIT_RATIOS``, and the
    median volume, where it is known, must move the other way by at least the square root of the ratio. A file may
    have adjusted its volumes alone: within ``EXACT`` of a ratio, a volume that stays is no sign of a real fall, if the
    step is far beyond the ``usual`` moves of the ticker. After a small split the volume moves by less than it does
    anyway, so only this sign counts.
    """
    sign = -1 if step > 0 else 1
    ratio = min((*SMALL_RATIOS, *SPLIT_RATIOS), key=lambda one: abs(np.log(one) - abs(step)))
    off = abs(np.exp(step) * ratio**sign - 1)
    if off > SPLIT_TOLERANCE:
        return None
    if np.isnan(volume):
        return ratio**sign if 2 <= ratio < UNIT else None
    small = ratio in SMALL_RATIOS
    least, moved = 0.5 * np.log(ratio), sign * np.log(volume)
    stays = abs(moved) < (np.log(SPIKE_VOLUME) if small else least)
    exact = ratio < UNIT and off <= EXACT and abs(step) > SPIKE_SIGMAS * usual and stays
    return ratio**sign if exact or (moved >= least and not small) else None


def _most_traded(history: History, i: int) -> float:
    """How many times the usual volume was traded from bar ``i`` on: for ten bars, for three, or half of the first."""
    ratios = [_volume_ratio(history.shares_T, i, bars) for bars in (VOLUME_BARS, 3)]
    return float(np.max([*ratios, _volume_ratio(history.shares_T, i, 1) / 2]))


def _volume_ratio(volume_T: Floats, i: int, bars: int) -> float:
    """Median volume of ``bars`` bars from ``i`` on, of that of the ten before; NaN where either is unknown or 0."""
    before_T, after_T = volume_T[max(0, i - VOLUME_BARS) : i], volume_T[i : i + bars]
    before, after = (float(np.median(part[part >= 0])) if (part >= 0).any() else np.nan for part in (before_T, after_T))
    return after / before if before > 0 and after > 0 else np.nan
