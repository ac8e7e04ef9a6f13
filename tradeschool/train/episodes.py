"""GRPO on whole episodes: TRL's GRPOTrainer, with the trading environment between a completion's answers.

A completion is a conversation: what the market says is part of it, masked from the loss, and no token of it is
rendered twice. The completions of a group begin alike and roll their own episodes forward, so their rewards differ.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from trl import GRPOTrainer

from tradeschool.errors import RecipeError, RunError
from tradeschool.market.panel import Floats
from tradeschool.models.dialogue import Dialogue
from tradeschool.models.turn import end_tokens
from tradeschool.models.turns import Transcript, Turns
from tradeschool.tasks.base import Example
from tradeschool.tasks.trade import TradeTask
from tradeschool.train.credit import day_advantages, logged_shares
from tradeschool.train.playing import Rollout, play
from tradeschool.train.shared import ResumableTrainer, warp_of


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
        for name, share in logged_shares(self._played, self.task, group, self._advantages_DB).items():
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
