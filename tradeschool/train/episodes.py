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

    ``rewards`` are [D, B] by component; ``held`` says day by day which stocks each held before it answered; ``answers``
    are the texts it gave, day by day.
    """

    transcripts: Sequence[Transcript]
    rewards: dict[str, Floats]
    held: Sequence[Sequence[tuple[bool, ...]]]
    answers: Sequence[Sequence[str]]


def play(task: TradeTask, envs: Sequence[TradingEnv], examples: Sequence[Example], dialogue: Dialogue) -> Rollout:
    """Play the episodes of ``examples`` side by side, each in an environment of its own."""
    observations = [task.reset(env, example) for env, example in zip(envs, examples, strict=True)]
    dialogue.open([task.first_messages(env, text) for env, text in zip(envs, observations, strict=True)])
    days, count = envs[0].config.days, len(envs)
    refused_DB = np.ones((days, count))
    live = [True] * count
    answers: list[list[str]] = []
    held: list[list[tuple[bool, ...]]] = []
    for day in range(days):
        held.append([tuple(shares != 0 for shares in env.portfolio.shares) for env in envs])
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


def day_advantages(played: Rollout, task: TradeTask, group: int) -> Floats:
    """[D, B] what each day's rewards to go are above those from the same state, over their spread in the batch.

    The completions of a group stand before the same market on the same day. Those that hold the same stocks then are in
    the same state but for how much they have, and only their answers part them from there on: they are compared with
    each other, as GiGPO does (Feng et al. 2025, arXiv 2505.10978). Compared with the whole group, an answer would be
    credited with what was bought days before it. One alone in its state has nothing to be compared with: 0. The grade
    and its part are of all days alike, and not discounted.
    """
    ahead = [
        task.weights[name] * to_go(value_DB, UNDISCOUNTED.get(name, task.config.discount))
        for name, value_DB in played.rewards.items()
    ]
    ahead_DB = np.sum(ahead, axis=0)
    above_DB = np.zeros_like(ahead_DB)
    for day, held_B in enumerate(played.held):
        alike: dict[tuple[int, tuple[bool, ...]], list[int]] = {}
        for b, held in enumerate(held_B):
            alike.setdefault((b // group, held), []).append(b)
        for own in alike.values():
            above_DB[day, own] = ahead_DB[day, own] - ahead_DB[day, own].mean()
    advantages_DB: Floats = above_DB / (above_DB.std() + 1e-4)
    return advantages_DB


class EpisodeTrainer(ResumableTrainer):
    """GRPO as TRL does it, on episodes; only where completions come from and, by day, whom they credit is ours.

    ``max_completion_length`` is that of one answer. TRL's loss, KL, clipping and logging are untouched.
    """

    def __init__(self, *, task: TradeTask, **options: Any) -> None:
        # TRL warns that rollout_func may change; its version is pinned and a contract test watches it.
        os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
        self.task = task
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
        advantages_DB = day_advantages(self._played, self.task, group)
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
