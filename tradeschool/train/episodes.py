"""GRPO on whole episodes: TRL's GRPOTrainer, with the trading environment between a completion's answers.

A completion is a conversation: what the market says is part of it, masked from the loss, and no token of it is
rendered twice. The completions of a group begin alike and roll their own episodes forward, so their rewards differ.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from trl import GRPOTrainer

from tradeschool.env.trading import TradingEnv
from tradeschool.errors import ParseError, RecipeError
from tradeschool.market.panel import Floats
from tradeschool.models.dialogue import Dialogue
from tradeschool.models.turns import Transcript, Turns, end_tokens
from tradeschool.tasks.base import Example
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_rewards import Played, day_rewards, to_go
from tradeschool.train.shared import ResumableTrainer, warp_of

UNDISCOUNTED = {"grade": 1.0, "activity": 1.0}


@dataclass(frozen=True)
class Rollout:
    """B episodes of D days that a model has played.

    ``rewards`` are [D, B] by component; ``held`` says day by day how many stocks each held before it answered, None
    where its episode was over; ``answers`` are the texts it gave, day by day.
    """

    transcripts: Sequence[Transcript]
    rewards: dict[str, Floats]
    held: Sequence[Sequence[int | None]]
    answers: Sequence[Sequence[str]]


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
    answers: list[list[str]] = []
    held: list[list[int | None]] = []
    for day in range(days):
        held.append([_held(env) if alive else None for env, alive in zip(envs, live, strict=True)])
        if day:
            dialogue.hear([task.heard(text) if alive else None for text, alive in zip(observations, live, strict=True)])
        answers.append(dialogue.answer(live))
        for b in np.flatnonzero(live).tolist():
            observations[b], _, terminated, _, info = envs[b].step(answers[-1][b])
            refused_DB[day, b] = info["refused"]
            live[b] = not terminated
        if not any(live):
            break
    return Rollout(dialogue.transcripts(), day_rewards(Played(envs, refused_DB)), held, answers)


def _held(env: TradingEnv) -> int:
    return sum(shares != 0 for shares in env.portfolio.shares)


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


def _compare(above_B: Floats, ahead_B: Floats, held: dict[int, int | None]) -> None:
    """Write one group's day into ``above_B``."""
    alive = [b for b, count in held.items() if count is not None]
    for b in alive:
        alike = [other for other in alive if held[other] == held[b]]
        others = alike if len(alike) > 1 else alive
        above_B[b] = ahead_B[b] - ahead_B[others].mean()


class EpisodeTrainer(ResumableTrainer):
    """GRPO as TRL does it, on episodes; only where completions come from and, by day, whom they credit is ours.

    ``max_completion_length`` is that of one answer. TRL's loss, KL, clipping and logging are its own.
    """

    def __init__(self, *, task: TradeTask, **options: Any) -> None:
        # TRL warns that rollout_func may change; its version is pinned and a contract test watches it.
        os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
        self.task = task
        if options["args"].loss_type == "dr_grpo":
            raise RecipeError(
                "trl.loss_type: dr_grpo divides by max_completion_length, which is one answer's here and not the "
                "episode's. Leave it out, or take dapo or grpo."
            )
        super().__init__(rollout_func=_rollout, reward_funcs=component_functions(task), **options)
        env = task.env("train")
        self._envs = [env]
        self._turns = Turns.of(self.processing_class, end_tokens(options["model"], self.processing_class))
        self._rows: list[dict[str, Any]] = []
        self._played: Rollout | None = None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._rows = inputs
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.task.config.credit == "day":
            group = self.num_generations if self.model.training else self.num_generations_eval
            output["advantages"] = self._by_day(output["completion_ids"], group)
        return output

    def _by_day(self, completion_ids_BC: torch.Tensor, group: int) -> torch.Tensor:
        """[B, C] the advantage of the day that each token was said on, 0 for what was heard."""
        assert self._played is not None
        advantages_DB = day_advantages(self._played, self.task, group, self.scale_rewards)
        by_token_BC = np.zeros(tuple(completion_ids_BC.shape), np.float32)
        for b, (_, turns) in enumerate(map(completion, self._played.transcripts)):
            day_C = np.array(turns)
            by_token_BC[b, : len(turns)] = np.where(day_C >= 0, advantages_DB[day_C, b], 0.0)
        return torch.from_numpy(by_token_BC).to(completion_ids_BC.device)

    def roll_out(self, count: int) -> Rollout:
        """Play the episodes of the batch under way.

        Raises:
            RecipeError: a group is spread over processes.
        """
        group = self.num_generations if self.model.training else self.num_generations_eval
        if count % group:
            raise RecipeError(
                f"{count} episodes a process are no whole groups of {group}. Give a per_device_train_batch_size that "
                f"{group} divides."
            )
        self._envs += [self.task.env("train") for _ in range(count - len(self._envs))]
        examples = [Example(row["key"], row["t"], row["n"], row["variant"]) for row in self._rows]
        model = self.accelerator.unwrap_model(self.model)
        training = model.training
        model.eval()
        dialogue = Dialogue(model, self._turns, max_new_tokens=self.args.max_completion_length, warp=warp_of(self.args))
        self._played = play(self.task, self._envs[:count], examples, dialogue)
        model.train(training)
        return self._played


def completion(transcript: Transcript) -> tuple[list[int], list[int]]:
    """The tokens from the first answer on, and the day each was said on, -1 where it was heard."""
    first = next(i for i, turn in enumerate(transcript.turns) if turn >= 0)
    return transcript.ids[first:], transcript.turns[first:]


def _rollout(prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
    """Episodes for prompts that TRL has repeated ``num_generations`` times."""
    played = trainer.roll_out(len(prompts))
    completions = [completion(transcript) for transcript in played.transcripts]
    return {
        "prompt_ids": [
            transcript.ids[: len(transcript.ids) - len(ids)]
            for transcript, (ids, _) in zip(played.transcripts, completions, strict=True)
        ],
        "completion_ids": [ids for ids, _ in completions],
        "logprobs": None,
        "env_mask": [[int(turn >= 0) for turn in turns] for _, turns in completions],
        "answered": [[day[b] for day in played.answers] for b in range(len(prompts))],
        **{f"sum_{name}": value_DB.sum(axis=0).tolist() for name, value_DB in played.rewards.items()},
    }


def component_functions(task: TradeTask) -> list[Any]:
    """One reward function per component, in the order of ``task.weights``: the sum over an episode's days."""

    def component(name: str, first: bool) -> Any:
        def reward(completions: list[Any], **columns: Any) -> list[float]:
            if first and (log := columns.get("log_metric")):
                _log_answers(task, columns["answered"], log)
            sums: list[float] = columns[f"sum_{name}"]
            return sums

        reward.__name__ = name
        return reward

    return [component(name, place == 0) for place, name in enumerate(task.weights)]


def _log_answers(task: TradeTask, answered: Sequence[Sequence[str]], log: Any) -> None:
    """Share of days of each class, and of answers that cannot be read."""
    texts = [text for own in answered for text in own if text]
    names = [_class(task, text) for text in texts]
    log("parse_errors", names.count("") / max(len(names), 1))
    for name in task.action_names:
        log(f"answers/{name}", names.count(name) / max(len(names), 1))


def _class(task: TradeTask, text: str) -> str:
    try:
        return task.action_name(task.parse(text))
    except ParseError:
        return ""  # a bad answer is data: the environment has refused it, and the share of them is logged


def questions(task: TradeTask, pool: Sequence[Example], count: int, seed: int) -> list[dict[str, Any]]:
    """``count`` beginnings in random order, as rows of a dataset."""
    rng: np.random.Generator = np.random.default_rng([seed, 29])
    order: NDArray[np.int64] = np.concatenate([rng.permutation(len(pool)) for _ in range(-(-count // len(pool)))])
    rows = []
    for place, i in enumerate(order[:count].tolist()):
        # Other draws of stocks than the expert's episodes have.
        example = task.example(pool[i].t, 1_000 + place // len(pool))
        rows.append(
            {
                "prompt": task.prompt(example).messages,
                "key": example.key,
                "t": example.t,
                "n": example.n,
                "variant": example.variant,
            }
        )
    return rows
