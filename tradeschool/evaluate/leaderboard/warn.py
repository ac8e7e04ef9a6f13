"""What a reader of a leaderboard should be warned of before believing it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tradeschool.env.sampling import BLOCK_EPISODES
from tradeschool.evaluate.diagnose import training_warnings
from tradeschool.evaluate.leaderboard.headline import blocks
from tradeschool.evaluate.leaderboard.ladder import LANGUAGE, Board, kind
from tradeschool.evaluate.leaderboard.row import Row
from tradeschool.evaluate.leaderboard.standing import FEWEST_BLOCKS, NO_DIFFERENCE, REFERENCE
from tradeschool.evaluate.leaderboard.talks import Talk

MOST_REFUSED = 0.01
"""Refused orders a day."""
MOST_UNREAD = 0.01
"""Share of answers."""
IDLE = 0.9
"""Share of episodes without a trade from which on an agent is said to do nothing."""
COPIES = 0.4
"""Share of episodes graded as buy and hold's are from which on that is said."""
FEWEST_ORDERS = 0.5
"""Orders an episode below which holding nearly always is the collapse that a training warning speaks of."""
FOREIGN = (*LANGUAGE, "zip")
"""Kinds of agents that were trained elsewhere."""


def board_warnings(board: Board, talks: Mapping[str, Sequence[Talk]]) -> list[str]:
    """Few dates, agents that do nothing or cannot be understood, and claims that are some of many.

    Args:
        talks: by agent; those whose conversations could not be read are missing.
    """
    warnings = _about_dates(board)
    for one in board.found:
        if kind(one.row) != "rule":
            warnings += _about(one.row, board.reference, talks.get(one.row.agent))
    return warnings + _about_many(board)


def of_unknown_rows(rows: Sequence[Row]) -> list[str]:
    """That nothing is known of what a board's zips and language models learned from: they may know the days played.

    A run's own board needs no such note of what its stages trained: they saw its training rows.
    """
    names = [row.agent for row in rows if row.settings.get("agent") in FOREIGN]
    if not names:
        return []
    return [
        f"Nothing is known of the rows that {' and '.join(names)} {'was' if len(names) == 1 else 'were'} trained on: "
        "who has seen the days of this board is no fair rival."
    ]


def episode_training_warnings(
    training: Mapping[str, Sequence[Mapping[str, Any]]], weights: Mapping[str, float], days: int
) -> list[str]:
    """What training warns of, where holding on most days is no collapse: who buys once and holds is in the market."""

    def kept(step: Mapping[str, Any]) -> dict[str, Any]:
        share = step.get("answers/HOLD")
        trades = isinstance(share, int | float) and (1 - share) * days >= FEWEST_ORDERS
        return {key: value for key, value in step.items() if not (trades and key == "answers/HOLD")}

    return training_warnings({stage: [kept(step) for step in steps] for stage, steps in training.items()}, weights)


def _about_dates(board: Board) -> list[str]:
    if any(one.verdict == "too few dates" for one in board.differences()):
        return ["The episodes begin on too few dates for intervals: nothing is shown here. Play more dates."]
    row = board.found[0].row
    count, days = blocks(row), row.edition.days
    if count < FEWEST_BLOCKS:
        return [
            f"The {row.episodes:,} episodes begin in {count} blocks of {BLOCK_EPISODES * days} days. Below "
            f"{FEWEST_BLOCKS} the intervals are rough, however many episodes there are: those of a block share luck."
        ]
    return []


def _about(row: Row, reference: Row | None, talks: Sequence[Talk] | None) -> list[str]:
    name, days, found = row.agent, row.edition.days, []
    found += _about_room(row, talks)
    if (idle := _idle(row, talks)) >= IDLE:
        found.append(f"{name} traded nothing in {idle:.0%} of its episodes.")
    if reference and reference.edition == row.edition:
        count = min(row.episodes, reference.episodes)
        apart = np.abs(np.subtract(row.grades[:count], reference.grades[:count]))
        if (copies := float(np.mean(apart < NO_DIFFERENCE))) >= COPIES:
            found.append(f"In {copies:.0%} of its episodes {name} did just what {REFERENCE} does.")
    refused = float(np.mean(row.refused))
    unread = _unread(row, talks)
    if unread > MOST_UNREAD:
        found.append(f"{name}: {unread:.1%} of its answers could not be read. They are refused, and trade nothing.")
    elif refused > MOST_REFUSED * days:
        found.append(
            f"{name}: {refused:.1f} orders an episode of {days} days were refused, mostly for more than the cash or "
            "the holding allows. A refused order trades nothing."
        )
    if row.bankrupt:
        found.append(f"{name} went bankrupt in {row.bankrupt:,} of {row.episodes:,} episodes.")
    return found


def _about_room(row: Row, talks: Sequence[Talk] | None) -> list[str]:
    days = row.edition.days
    if talks:
        cut = [len(talk.days) for talk in talks if len(talk.days) < days and talk.trace.stop != "bankrupt"]
        share, after = len(cut) / len(talks), f", at the earliest after {min(cut)} of {days} days" if cut else ""
    else:
        share, after = float(row.figures.get("out_of_room") or 0), ""
    if not share:
        return []
    return [
        f"{row.agent} ran out of room in {share:.1%} of its episodes{after}: the conversation no longer fitted into "
        "the model's positions, and on the days left it was not asked. Fewer facts, shorter answers or a model with "
        "more positions make room."
    ]


def _unread(row: Row, talks: Sequence[Talk] | None) -> float:
    """Share of answers that could not be read: as counted in play, else as their conversations look."""
    if (counted := row.figures.get("unread")) is not None:
        return float(counted)
    days = [day.side == "unreadable" for talk in talks or () for day in talk.days]
    return float(np.mean(days)) if days else 0.0


def _idle(row: Row, talks: Sequence[Talk] | None) -> float:
    """Share of episodes without a trade: by what was said, else by returns that are exactly nothing."""
    if talks:
        return float(np.mean([all(day.side not in ("BUY", "SELL") for day in talk.days) for talk in talks]))
    return float(np.mean([value == 0 for value in row.returns]))


def _about_many(board: Board) -> list[str]:
    """Differences whose intervals leave 0 out by themselves, but not among as many."""
    differences = board.differences()
    weak = [one for one in differences if one.verdict == "not shown" and one.excludes_zero]
    if not weak:
        return []
    pairs = "; ".join(f"{one.first} less {one.second}" for one in weak)
    return [
        f"{len(differences)} differences are looked at here, and some intervals leave 0 out by luck alone. Once their "
        f"number is allowed for (Holm's method), nothing is shown by: {pairs}."
    ]
