"""What a leaderboard says, in a few plain sentences: the first thing that a reader sees."""

import math

from tradeschool.env.sampling import BLOCK_EPISODES, Interval, mean_interval
from tradeschool.evaluate.leaderboard.ladder import Board, Step, kind
from tradeschool.evaluate.leaderboard.row import Row
from tradeschool.evaluate.leaderboard.standing import REFERENCE, Difference
from tradeschool.evaluate.stage import UNTRAINED

NAMES = {"sft": "SFT", "grpo": "GRPO", "": "the untrained model"}


def run_headline(board: Board) -> list[str]:
    """Whether the last training beat the model that it began from, then the steps before it, buy and hold, the best
    rule, and money.
    """
    if not board.steps:
        return ["No language model played: the rows below only show the others.", *_of_agents(board)]
    last = board.steps[-1]
    gains = [(step, gain) for step in board.steps if (gain := board.gain(step))]
    lead = next(((step, gain) for step, gain in reversed(gains) if step.method == "grpo"), gains[-1] if gains else None)
    lines = [_lead(board, *lead)] if lead else []
    lines += [_step(board, step, gain) for step, gain in gains if (step, gain) != lead]
    return lines + _against_rules(board, last.name) + _money(board, last.name)


def board_headline(board: Board) -> list[str]:
    """Who is shown to be above buy and hold, and who has the highest mean grade."""
    if board.reference is None:
        return []
    rivals = [one for one in board.found if one.difference]
    above = [one.row.agent for one in rivals if one.verdict == "above"]
    best = board.found[0]
    lines = [
        f"Shown to be better than {REFERENCE}: {_joined(above)}."
        if above
        else f"None of {len(rivals)} agents is shown to be better than {REFERENCE}."
    ]
    if best.difference:
        lines.append(f"The highest mean grade is {best.row.agent}'s, {_grade(best.row)}: {_gap(best.difference)}.")
    return lines


def _of_agents(board: Board) -> list[str]:
    lines = []
    for one in board.found:
        if kind(one.row) == "numeric":
            lines += _against_rules(board, one.row.agent)
    return lines


def _lead(board: Board, step: Step, gain: Difference) -> str:
    """``GRPO beat SFT: ...``"""
    method, before = NAMES.get(step.method, step.method), _method_of(board, step.start)
    said = {
        "above": f"{method} beat {before}",
        "below": f"{method} did worse than {before}",
        "not shown": f"Not shown that {method} changed anything",
        "same": f"{method} changed nothing: the same grade in every episode as {before}",
        "too few dates": f"Too few dates to say whether {method} beat {before}",
    }[gain.verdict]
    later, earlier = board.row(step.name), board.row(step.start)
    assert later
    assert earlier
    return (
        f"{said}. Over the same {gain.episodes:,} episodes the mean grade of {step.name} is {_grade(later)} and that "
        f"of {step.start} {_grade(earlier)}: {_gap(gain)}."
    )


def _step(board: Board, step: Step, gain: Difference) -> str:
    verb = {"above": "raised", "below": "lowered", "same": "did not change"}.get(
        gain.verdict, "is not shown to have changed"
    )
    method = NAMES.get(step.method, step.method)
    return f"{method} ({step.name}) {verb} the grade of {_called(step.start)}: {_gap(gain)}."


def _method_of(board: Board, name: str) -> str:
    return next((NAMES.get(step.method, step.method) for step in board.steps if step.name == name), name)


def _called(name: str) -> str:
    return "the untrained model" if name == UNTRAINED else name


def _against_rules(board: Board, name: str) -> list[str]:
    """Against buy and hold and, where that is another one, the best rule."""
    lines = []
    if gap := board.against(name, REFERENCE):
        lines.append(f"{_subject(name)} is {_verdict(gap, REFERENCE)}: {_gap(gap)}.")
    best, rules = board.best, sum(kind(one.row) == "rule" for one in board.found)
    row = board.row(best.agent) if best else None
    if best is None or row is None or rules < 2:
        return lines
    where = f"The best of the {rules} rules {best.chosen or 'on these episodes'} was {best.agent}"
    if best.agent == REFERENCE:
        lines.append(f"{where}.")
    elif gap := board.against(name, best.agent):
        lines.append(f"{where}, grade {_grade(row)} here; {_called(name)} is {_verdict(gap, 'it')}: {_gap(gap)}.")
    return lines


def _subject(name: str) -> str:
    called = _called(name)
    return called[0].upper() + called[1:] if called != name else name


def _verdict(gap: Difference, rival: str) -> str:
    return {
        "above": f"better than {rival}",
        "below": f"worse than {rival}",
        "same": f"just like {rival}, in every episode",
        "too few dates": f"not comparable with {rival} on so few dates",
    }.get(gap.verdict, f"not shown to be better or worse than {rival}")


def _money(board: Board, name: str) -> list[str]:
    """What an episode returned, beside buy and hold's."""
    row, base = board.row(name), board.reference
    if row is None or base is None:
        return []
    gained = return_gap(row, base)
    shown = "shown" if gained.low > 0 or gained.high < 0 else "not shown"
    days = row.edition.days
    return [
        f"In money: an episode of {days} days returned {_mean_return(row)} on average after costs, with {REFERENCE} "
        f"{_mean_return(base)}: {percent_points(gained)}, {shown}."
    ]


def return_gap(row: Row, base: Row) -> Interval:
    """The mean paired difference of returns on the episodes that both played."""
    count = min(row.episodes, base.episodes)
    gains = [ours - theirs for ours, theirs in zip(row.returns[:count], base.returns[:count], strict=True)]
    return mean_interval(gains, row.starts[:count], row.edition.days)


def blocks(row: Row) -> int:
    """Blocks of dates that a row's episodes begin in: what intervals are drawn over."""
    return len({start // (BLOCK_EPISODES * row.edition.days) for start in row.starts})


def percent_points(found: Interval) -> str:
    """``+0.77 [-0.10, +1.64] percentage points``."""
    return f"{_signed(found, 2, 100)} percentage points"


def _mean_return(row: Row) -> str:
    return f"{sum(row.returns) / len(row.returns):+.2%}"


def _grade(row: Row) -> str:
    return f"{sum(row.grades) / len(row.grades):.3f}"


def _gap(gap: Difference) -> str:
    return f"{_signed(gap.interval, 3)} in grade"


def _signed(found: Interval, digits: int, scale: float = 1.0) -> str:
    text = f"{scale * found.value:+.{digits}f}"
    if math.isnan(found.low):
        return text
    return f"{text} [{scale * found.low:+.{digits}f}, {scale * found.high:+.{digits}f}]"


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
