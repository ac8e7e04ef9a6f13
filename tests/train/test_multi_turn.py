"""GRPO on episodes: what is trained on, and that TRL's loss stays as it is."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from markets import market
from rich.console import Console

from tradeschool import pipeline
from tradeschool.config.recipe import from_mapping
from tradeschool.errors import RecipeError
from tradeschool.market.splits import split_rows
from tradeschool.models.chat_renderer import Transcript
from tradeschool.rollout import run_episodes
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_config import TradeConfig
from tradeschool.train.grpo import FIRST_VARIANT, draw_episodes
from tradeschool.train.grpo_trainers import MultiTurnTrainer, completion
from tradeschool.train.rewards import States, logged_shares, turn_advantages

pytestmark = pytest.mark.usefixtures("few_texts")
PANEL = market(tickers=6, days=400)
RECIPE: dict[str, Any] = {
    "name": "small",
    "market": {"source": "synthetic", "tickers": 6, "days": 400, "edge": 0.3},
    "split": {"train": 0.6, "validation": 0.1, "test": 0.3, "warmup": 60},
    "task": {"name": "trade", "env": {"days": 4}, "facts": ["macd_hist"], "figures": False, "demonstrators": ["macd"]},
    "model": {
        "base": "tiny",
        "tiny": {"vocabulary": 330, "hidden_size": 32, "layers": 2, "heads": 4, "intermediate_size": 64},
    },
    "stages": [
        {
            "stage": "sft",
            "examples": 200,
            "trl": {"max_steps": 40, "per_device_train_batch_size": 8, "learning_rate": 1e-2, "logging_steps": 20},
        },
        {
            "stage": "grpo",
            "questions": 40,
            "trl": {
                "max_steps": 4,
                "num_generations": 4,
                "per_device_train_batch_size": 8,
                "max_completion_length": 20,
                "learning_rate": 1e-3,
                "scale_rewards": "batch",
                "logging_steps": 1,
                "save_steps": 2,
            },
        },
    ],
}


def task_of(**config: Any) -> TradeTask:
    settings = {"env": {"days": 4}, **config}
    return TradeTask(TradeConfig(**settings), PANEL, split_rows(PANEL, (0.6, 0.1, 0.3), embargo=16, warmup=60))


@pytest.mark.parametrize("mask", [True, False])
def test_orders_name_the_episodes_own_stocks_and_missing_answers_are_refused(mask: bool) -> None:
    task = task_of(env={"days": 4, "tickers": 2, "mask": mask})
    envs, examples = [task.chat_env("train") for _ in range(2)], [task.example(100), task.example(101)]
    for env, example in zip(envs, examples, strict=True):
        env.reset(example)
    names = envs[0].env.names
    other = "S3" if mask else next(name for name in PANEL.tickers if name not in names)
    chat: Any = Scripted([[f"BUY {names[0]} 0.5", ""], [f"SELL {other}", "HOLD"], ["HOLD", None], ["HOLD", None]])
    episodes = run_episodes(chat, envs, examples)
    actions = [[turn.result.info["action"] for turn in episode.turns] for episode in episodes]
    assert [[action is not None for action in own] for own in actions] == [
        [True, False, True, True],
        [False, True, False, False],
    ]
    assert [episode.out_of_room for episode in episodes] == [False, True]
    # An answer that was not given is refused as an empty one is.
    assert task.episode_rewards(episodes)["valid_order"].T.tolist() == [[1, 0, 1, 1], [0, 1, 0, 0]]


@pytest.mark.parametrize("tiny", [True, False])
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_conversations_that_do_not_fit_are_refused_before_the_first_stage(
    stage: str, tiny: bool, tmp_path: Path
) -> None:
    model = {"base": "tiny", "tiny": {**RECIPE["model"]["tiny"], "positions": 64}}
    if not tiny:
        model = {"base": str(tiny_models.folder(tmp_path / "base", max_position_embeddings=64))}
    stages = [one for one in RECIPE["stages"] if one["stage"] == stage]
    words = {"sft": "the longest answer", "grpo": r"max_completion_length is 20"}[stage]
    with pytest.raises(RecipeError, match=rf"stages\.{stage}.*{words}.* the model has 64 positions"):
        pipeline.run(from_mapping({**RECIPE, "model": model, "stages": stages}), tmp_path / "run", Console(quiet=True))
    assert not (tmp_path / "run").exists()


class Scripted:
    """A chat whose answers are known; None where there is no room left."""

    def __init__(self, turns: list[list[str | None]]) -> None:
        self._turns = iter(turns)

    def start(self, conversations: Any, seeds: Any = None) -> None:
        """Nothing is kept."""

    def add_user_turn(self, turns: Any) -> None:
        """Nothing is read."""

    def answer(self, live: Any) -> list[str | None]:
        return next(self._turns)


def test_a_completion_begins_with_the_first_answer() -> None:
    script = Transcript([7, 8, 1, 2, 9, 3], [-1, -1, 0, 0, -1, 1])
    assert completion(script) == ([1, 2, 9, 3], [0, 0, -1, 1])


# the trainer -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """What the trainer made of one batch: TRL's inputs of the loss, and the episodes behind them."""
    return {}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, seen: dict[str, Any]) -> Path:
    theirs = MultiTurnTrainer._generate_and_score_completions

    def kept(self: Any, inputs: Any) -> Any:
        output = theirs(self, inputs)
        seen.setdefault("batches", []).append(
            (output, self.played, self.renderer, [self.examples[row["example"]] for row in inputs])
        )
        return output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MultiTurnTrainer, "_generate_and_score_completions", kept)
        return pipeline.run(from_mapping(RECIPE), tmp_path_factory.mktemp("runs") / "small", Console(quiet=True))


def test_a_run_writes_weights_and_metrics(run: Path) -> None:
    assert (run / "2-grpo" / "weights" / "model.safetensors").exists()
    rows = [json.loads(line) for line in (run / "2-grpo" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows[:4]] == [1, 2, 3, 4]
    for name in ("profit", "risk", "grade", "valid_order"):
        assert f"rewards/{name}/mean" in rows[0]
    shares = [rows[0][f"answers/{name}"] for name in ("BUY", "SELL", "HOLD")]
    assert sum(shares) + rows[0]["parse_errors"] == pytest.approx(1)
    assert [row["out_of_room"] for row in rows[:4]] == [0, 0, 0, 0]


def test_the_shares_of_every_batch_are_logged(run: Path, seen: dict[str, Any]) -> None:
    rows = [json.loads(line) for line in (run / "2-grpo" / "metrics.jsonl").read_text().splitlines()]
    task = task_of(**RECIPE["task"])
    assert task.turn_discounts
    for (_, played, _, _), row in zip(seen["batches"], rows, strict=False):
        states = States.of(played.episodes)
        advantages_DB = turn_advantages(played.rewards, states, task.weights, task.turn_discounts, 4)
        shares = logged_shares(played.episodes, task, states, 4, advantages_DB)
        assert {name: row[name] for name in shares} == pytest.approx(shares)


def test_the_environments_tokens_have_no_loss_and_no_advantage(run: Path, seen: dict[str, Any]) -> None:
    for output, played, renderer, _ in seen["batches"]:
        for b, script in enumerate(played.transcripts):
            ids, days = completion(script)
            width = len(ids)
            assert output["completion_ids"][b, :width].tolist() == ids
            generated = [day >= 0 for day in days]
            assert output["tool_mask"][b, :width].bool().tolist() == generated
            assert not output["advantages"][b][
                ~torch.tensor(generated + [False] * (output["advantages"].shape[1] - width))
            ].any()
            text = renderer.tokenizer.decode([token for token, own in zip(ids, generated, strict=True) if not own])
            assert text.count("day ") == 3


def test_the_completions_of_a_group_begin_alike_and_differ_later(run: Path, seen: dict[str, Any]) -> None:
    apart = 0
    for _, played, _, examples in seen["batches"]:
        for first in range(0, len(examples), 4):
            assert len({example.key for example in examples[first : first + 4]}) == 1
            own = range(first, first + 4)
            starts = {tuple(script.ids[: script.turns.index(0)]) for script in (played.transcripts[b] for b in own)}
            assert len(starts) == 1
            apart += len({played.rewards["profit"][:, b].sum().round(9) for b in own}) > 1
    assert apart > 0


def test_the_prompt_is_the_examples_own(run: Path, seen: dict[str, Any]) -> None:
    task = task_of(**RECIPE["task"])
    for output, played, renderer, examples in seen["batches"]:
        for b, script in enumerate(played.transcripts):
            prompt = renderer.prompt(task.messages(examples[b]))
            assert script.ids[: len(prompt)] == prompt
            assert output["prompt_ids"][b, -len(prompt) :].tolist() == prompt


def test_trl_logs_the_sums_over_days(run: Path, seen: dict[str, Any]) -> None:
    rows = [json.loads(line) for line in (run / "2-grpo" / "metrics.jsonl").read_text().splitlines()]
    for (_, played, _, _), row in zip(seen["batches"], rows, strict=False):
        assert row["rewards/profit/mean"] == pytest.approx(played.rewards["profit"].sum(axis=0).mean(), abs=1e-4)


def test_advantages_by_episode_are_trls_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[torch.Tensor] = []
    theirs = MultiTurnTrainer._generate_and_score_completions

    def kept(self: Any, inputs: Any) -> Any:
        found.append(theirs(self, inputs)["advantages"])
        raise KeyboardInterrupt

    recipe = from_mapping(
        {**RECIPE, "task": {**RECIPE["task"], "advantage": "episode"}, "stages": RECIPE["stages"][1:]}
    )
    monkeypatch.setattr(MultiTurnTrainer, "_generate_and_score_completions", kept)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(recipe, tmp_path / "run", Console(quiet=True))
    assert found[0].dim() == 1


def test_examples_are_fixed_by_the_seed_and_spread_over_the_pool() -> None:
    task = task_of()
    pool = task.examples("train")
    drawn = draw_episodes(task, pool, 2 * len(pool), seed=0)
    assert drawn == draw_episodes(task, pool, 2 * len(pool), seed=0)
    assert drawn != draw_episodes(task, pool, 2 * len(pool), seed=1)
    assert sorted(example.t for example in drawn) == sorted([example.t for example in pool] * 2)
    assert len({example.key for example in drawn}) == len(drawn)
    assert {example.variant for example in drawn} == {FIRST_VARIANT, FIRST_VARIANT + 1}
