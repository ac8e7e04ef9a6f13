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
from tradeschool.errors import ParseError, RecipeError, RunError
from tradeschool.market.panel import Floats
from tradeschool.models.dialogue import Dialogue
from tradeschool.models.turns import Transcript, Turns, end_tokens
from tradeschool.tasks.base import Example
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_rewards import Played, day_rewards, to_go
from tradeschool.train.shared import ResumableTrainer, warp_of

UNDISCOUNTED = {"grade": 1.0, "activity": 1.0}
NO_CREDIT = 1e-9
"""An advantage smaller than this is none."""


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
        self._advantages_DB: Floats | None = None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._rows = inputs
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self._advantages_DB is not None:
            output["advantages"] = self._by_token(output["completion_ids"], self._advantages_DB)
        return output

    def _by_token(self, completion_ids_BC: torch.Tensor, advantages_DB: Floats) -> torch.Tensor:
        """[B, C] the advantage of the day that each token was said on, 0 for what was heard."""
        assert self._played is not None
        by_token_BC = np.zeros(tuple(completion_ids_BC.shape), np.float32)
        for b, (_, turns) in enumerate(map(completion, self._played.transcripts)):
            day_C = np.array(turns)
            by_token_BC[b, : len(turns)] = np.where(day_C >= 0, advantages_DB[day_C, b], 0.0)
        return torch.from_numpy(by_token_BC).to(completion_ids_BC.device)

    def roll_out(self, count: int) -> Rollout:
        """Play the episodes of the batch under way.

        Raises:
            RecipeError: a group is spread over processes.
            RunError: a reward or an advantage is not finite.
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
        _check_finite(self._played.rewards, self.state.global_step + 1)
        if self.task.config.credit == "day":
            self._advantages_DB = day_advantages(self._played, self.task, group, self.scale_rewards)
            _check_finite({"advantage": self._advantages_DB}, self.state.global_step + 1)
        for name, share in _shares(self._played, self.task, group, self._advantages_DB).items():
            self._log_metric(name, share)
        return self._played


def _check_finite(values: dict[str, Floats], step: int) -> None:
    # TRL takes a reward that is no number for one that was not given, and goes on without it.
    wrong = [name for name, value_DB in values.items() if not np.isfinite(value_DB).all()]
    if wrong:
        raise RunError(
            f"At step {step} of GRPO the {', '.join(wrong)} of an episode is no finite number, and nothing can be "
            "learned from it. Look at the market's prices (tradeschool data check) and task.weights; then begin anew."
        )


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
        **{f"sum_{name}": value_DB.sum(axis=0).tolist() for name, value_DB in played.rewards.items()},
    }


def component_functions(task: TradeTask) -> list[Any]:
    """One reward function per component, in the order of ``task.weights``: the sum over an episode's days."""

    def component(name: str) -> Any:
        def reward(completions: list[Any], **columns: Any) -> list[float]:
            sums: list[float] = columns[f"sum_{name}"]
            return sums

        reward.__name__ = name
        return reward

    return [component(name) for name in task.weights]


def _shares(played: Rollout, task: TradeTask, group: int, advantages_DB: Floats | None) -> dict[str, float]:
    """What is logged of a batch: of all answers those of each class and those that cannot be read; of conversations
    those without room; where days are credited, of all answers those alone in their state and those without credit.
    """
    classes = [one for answers in played.answers for one in answers if one is not None]
    shares = {"parse_errors": classes.count("") / len(classes)}
    shares |= {f"answers/{name}": classes.count(name) / len(classes) for name in task.action_names}
    shares["out_of_room"] = sum(played.out_of_room) / len(played.out_of_room)
    if advantages_DB is not None:
        answered_DB = played.answered_DB
        days = len(answered_DB)  # fewer than an episode's where all were ruined
        shares["credit/alone"] = float(alone(played.held, group)[answered_DB].mean())
        # Equal rewards leave a rest of rounding.
        shares["credit/none"] = float((np.abs(advantages_DB[:days][answered_DB]) < NO_CREDIT).mean())
    return shares


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
