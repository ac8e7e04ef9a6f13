"""Episodes that a model plays while it learns: conversations with environments, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.trading import TradingEnv
from tradeschool.errors import ParseError, RecipeError
from tradeschool.market.panel import Floats
from tradeschool.models.dialogue import Dialogue
from tradeschool.models.turns import Transcript
from tradeschool.tasks.base import Example
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_rewards import Played, day_rewards


@dataclass(frozen=True)
class Rollout:
    """B episodes of D days that a model has played.

    ``rewards`` are [D, B] by component; ``held`` says day by day how many stocks each held before it answered, None
    where its episode was over; ``answers`` day by day the class of what each answered, "" where that cannot be read,
    None where it gave none; ``out_of_room`` whose conversation ended because the model's positions were full.
    """

    transcripts: Sequence[Transcript]
    rewards: dict[str, Floats]
    held: Sequence[Sequence[int | None]]
    answers: Sequence[Sequence[str | None]]
    out_of_room: Sequence[bool]

    @property
    def answered_DB(self) -> NDArray[np.bool_]:
        """[D, B] where an answer was given."""
        return np.array([[one is not None for one in answers] for answers in self.answers])


def play(task: TradeTask, envs: Sequence[TradingEnv], examples: Sequence[Example], dialogue: Dialogue) -> Rollout:
    """Play the episodes of ``examples`` side by side, each in an environment of its own.

    Raises:
        RecipeError: a first message does not fit into the model's positions.
    """
    observations = [task.reset(env, example) for env, example in zip(envs, examples, strict=True)]
    dialogue.open([task.first_messages(env, text) for env, text in zip(envs, observations, strict=True)])
    if any(dialogue.full):
        raise RecipeError(
            "The first day of an episode does not fit into the model's positions. Use fewer stocks or facts, form: "
            "table, or a model with more positions (model.tiny.positions)."
        )
    days, count = envs[0].config.days, len(envs)
    refused_DB = np.ones((days, count))
    live = [True] * count
    answers: list[list[str | None]] = []
    held: list[list[int | None]] = []
    for day in range(days):
        held.append([_held(env) if alive else None for env, alive in zip(envs, live, strict=True)])
        if day:
            dialogue.hear([task.heard(text) if alive else None for text, alive in zip(observations, live, strict=True)])
        texts = dialogue.answer(live)
        answers.append([_class(task, text, env) for text, env in zip(texts, envs, strict=True)])
        for b in np.flatnonzero(live).tolist():
            observations[b], _, terminated, _, info = envs[b].step(texts[b] or "")
            refused_DB[day, b] = info["refused"]
            live[b] = not terminated
        if not any(live):
            break
    return Rollout(dialogue.transcripts(), day_rewards(Played(envs, refused_DB)), held, answers, dialogue.full)


def _class(task: TradeTask, text: str | None, env: TradingEnv) -> str | None:
    try:
        return None if text is None else task.action_name(task.parse(text, env.names))
    except ParseError:
        return ""  # a bad answer is data: the environment refuses it, and the share of them is logged


def _held(env: TradingEnv) -> int:
    return sum(shares != 0 for shares in env.portfolio.shares)
