"""Credit by day: what an answer of an episode is praised for, against others in a like state."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.panel import Floats
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_rewards import to_go
from tradeschool.train.playing import Rollout

UNDISCOUNTED = {"grade": 1.0, "activity": 1.0}
NO_CREDIT = 1e-9
"""An advantage smaller than this is none."""


def day_advantages(played: Rollout, task: TradeTask, group: int, scale: str = "batch") -> Floats:
    """[D, B] what each day's rewards to go are above those from a like state, over their spread.

    The completions of a group stand before the same market on the same day. Those that hold as many stocks then are
    compared with each other, after GiGPO's anchor states (Feng et al. 2025, arXiv 2505.10978; with one stock the state
    is theirs but for how much there is): compared with the whole group, an answer would be credited with what was
    bought days before it. One alone in its state is compared with the group, for want of better. Days after a
    bankruptcy are no one's. The grade and its part are of all days alike, and not discounted.

    Args:
        scale: as TRL's ``scale_rewards``: by the spread in the batch, in the group, or not at all ("none").
    """
    ahead = [
        task.weights[name] * to_go(value_DB, UNDISCOUNTED.get(name, task.config.discount))
        for name, value_DB in played.rewards.items()
    ]
    ahead_DB = np.sum(ahead, axis=0)
    above_DB = np.zeros_like(ahead_DB)
    for day, held_B in enumerate(played.held):
        for first in range(0, len(held_B), group):
            _compare(above_DB[day], ahead_DB[day], {b: held_B[b] for b in range(first, first + group)})
    spread = {"batch": above_DB.std(), "none": 1.0}.get(scale)
    if spread is None:
        by_group = above_DB.reshape(len(above_DB), -1, group).std(axis=(0, 2))
        spread = np.repeat(by_group, group)
    advantages_DB: Floats = above_DB / (spread + (0.0 if scale == "none" else 1e-4))
    return advantages_DB


def alone(held: Sequence[Sequence[int | None]], group: int) -> NDArray[np.bool_]:
    """[D, B] where one stands alone in its state in its group, and so is compared with all of it."""
    alone_DB = np.zeros((len(held), len(held[0])), np.bool_)
    for day, held_B in enumerate(held):
        for first in range(0, len(held_B), group):
            own = held_B[first : first + group]
            alone_DB[day, first : first + group] = [count is not None and own.count(count) == 1 for count in own]
    return alone_DB


def _compare(above_B: Floats, ahead_B: Floats, held: dict[int, int | None]) -> None:
    """Write one group's day into ``above_B``."""
    alive = [b for b, count in held.items() if count is not None]
    for b in alive:
        alike = [other for other in alive if held[other] == held[b]]
        others = alike if len(alike) > 1 else alive
        above_B[b] = ahead_B[b] - ahead_B[others].mean()


def logged_shares(played: Rollout, task: TradeTask, group: int, advantages_DB: Floats | None) -> dict[str, float]:
    """What is logged of a batch: of all answers those of each class and those that cannot be read; of conversations
    those without room; where days are credited, of all answers those alone in their state and those without credit.
    """
    classes = [one for answers in played.answers for one in answers if one is not None]
    told = {"parse_errors": classes.count("") / len(classes)}
    told |= {f"answers/{name}": classes.count(name) / len(classes) for name in task.action_names}
    told["out_of_room"] = sum(played.out_of_room) / len(played.out_of_room)
    if advantages_DB is not None:
        answered_DB = played.answered_DB
        days = len(answered_DB)  # fewer than an episode's where all were ruined
        told["credit/alone"] = float(alone(played.held, group)[answered_DB].mean())
        # Equal rewards leave a rest of rounding.
        told["credit/none"] = float((np.abs(advantages_DB[:days][answered_DB]) < NO_CREDIT).mean())
    return told
