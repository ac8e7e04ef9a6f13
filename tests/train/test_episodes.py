"""GRPO on episodes: what is trained on, whom rewards credit, and that TRL's loss is left as it is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from markets import market
from rich.console import Console

from tradeschool import pipeline
from tradeschool.market.splits import split_rows
from tradeschool.models.turns import Transcript
from tradeschool.recipe import of
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_config import TradeConfig
from tradeschool.train.credit import alone, day_advantages, logged_shares
from tradeschool.train.episodes import EpisodeTrainer, completion, questions
from tradeschool.train.playing import Rollout, play

PANEL = market(tickers=6, days=400)
RECIPE: dict[str, Any] = {
    "name": "small",
    "market": {"source": "practice", "tickers": 6, "days": 400, "edge": 0.3},
    "split": {"train": 0.6, "validation": 0.1, "test": 0.3, "warmup": 60},
    "task": {"name": "trade", "env": {"days": 4}, "facts": ["macd_hist"], "figures": False, "experts": ["macd"]},
    "model": {
        "base": "tiny",
        "tiny": {"vocabulary": 330, "hidden_size": 32, "layers": 2, "heads": 4, "intermediate_size": 64},
    },
    "stages": [
        {
            "stage": "sft",
            "examples": 400,
            "trl": {"max_steps": 60, "per_device_train_batch_size": 16, "learning_rate": 1e-2, "logging_steps": 20},
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


# credit ------------------------------------------------------------------------------------------


def rewards(held: list[list[int | None]] | None = None, **days_DB: list[list[float]]) -> Rollout:
    """Episodes of one stock, held where ``held`` says so, by default by nobody."""
    found = {name: np.array(values, float) for name, values in days_DB.items()}
    days, count = next(iter(found.values())).shape
    held = held or [[0] * count] * days
    answers = [[None if one is None else "HOLD" for one in held_B] for held_B in held]
    return Rollout([], found, held, answers, [False] * count)


def test_a_day_is_credited_with_what_came_after_it_and_compared_within_its_group() -> None:
    task = task_of(discount=1.0, weights={"profit": 1.0})
    # Two groups of two; in the second nothing differs.
    found_DB = day_advantages(rewards(profit=[[1, 0, 5, 5], [0, 0, 7, 7], [0, 4, 9, 9]]), task, group=2)
    assert found_DB[:, 2:] == pytest.approx(np.zeros((3, 2)))
    # To go: 1, 0, 0 against 4, 4, 4.
    assert found_DB[:, 0] / found_DB[0, 0] == pytest.approx([1, 4 / 3, 4 / 3])
    assert found_DB[:, 0] == pytest.approx(-found_DB[:, 1])
    assert (found_DB[:, 0] < 0).all()
    assert found_DB.std() == pytest.approx(1, abs=1e-3)


def test_a_reward_before_a_day_does_not_credit_it() -> None:
    task = task_of(discount=0.9, weights={"profit": 1.0})
    found_DB = day_advantages(rewards(profit=[[3, 0], [0, 0]]), task, group=2)
    assert found_DB[0, 0] > 0
    assert found_DB[1] == pytest.approx([0, 0])


def test_an_answer_is_compared_with_those_from_the_same_state() -> None:
    task = task_of(discount=0.0, weights={"profit": 1.0})
    # The last two hold the stock, which rises: that they bought it is not today's doing.
    found_DB = day_advantages(rewards(held=[[0, 0, 1, 1]], profit=[[0, 1, 5, 7]]), task, group=4)
    assert found_DB[0, 1] == pytest.approx(-found_DB[0, 0])
    assert found_DB[0, 3] == pytest.approx(2 * found_DB[0, 1])
    assert found_DB[0, 2] < 0


def test_one_alone_in_its_state_is_compared_with_its_group() -> None:
    task = task_of(discount=0.0, weights={"profit": 1.0})
    found_DB = day_advantages(rewards(held=[[0, 0, 3, 0]], profit=[[0, 1, 9, 2]]), task, group=4, scale="none")
    assert found_DB[0].tolist() == pytest.approx([-1, 0, 6, 1])


def test_whose_episode_is_over_is_neither_credited_nor_compared_with() -> None:
    task = task_of(discount=0.0, weights={"profit": 1.0})
    found_DB = day_advantages(rewards(held=[[1, None, 1, 1]], profit=[[1, 50, 2, 3]]), task, group=4, scale="none")
    assert found_DB[0].tolist() == pytest.approx([-1, 0, 0, 1])


def test_credit_is_scaled_as_trl_is_told() -> None:
    task = task_of(discount=0.0, weights={"profit": 1.0})
    calm_and_wild = rewards(profit=[[0, 2, 0, 20]])
    assert day_advantages(calm_and_wild, task, 2, "none")[0].tolist() == pytest.approx([-1, 1, -10, 10])
    assert day_advantages(calm_and_wild, task, 2, "group")[0].tolist() == pytest.approx([-1, 1, -1, 1], abs=1e-3)
    batch = day_advantages(calm_and_wild, task, 2, "batch")[0]
    assert batch.std() == pytest.approx(1, abs=1e-3)
    assert batch[3] == pytest.approx(10 * batch[1])


def test_without_a_discount_to_speak_of_only_the_next_day_counts() -> None:
    task = task_of(discount=0.0, weights={"profit": 1.0})
    found_DB = day_advantages(rewards(profit=[[1, 0], [0, 9]]), task, group=2)
    assert found_DB[0, 0] > 0 > found_DB[1, 0]


def test_components_count_by_their_weights() -> None:
    task = task_of(discount=0.5, weights={"profit": 1.0, "risk": 0.5})
    found_DB = day_advantages(rewards(profit=[[1, 0]], risk=[[-2, 0]], grade=[[9, 0]], legal=[[5, 0]]), task, group=2)
    assert found_DB == pytest.approx(np.zeros((1, 2)))


def test_the_grade_credits_all_days_alike() -> None:
    task = task_of(discount=0.1, weights={"grade": 2.0})
    found_DB = day_advantages(rewards(grade=[[0, 0], [0, 0], [0.7, 0.5]]), task, group=2)
    assert found_DB[0] == pytest.approx(found_DB[2])
    assert found_DB[0, 0] > 0


# what is logged ----------------------------------------------------------------------------------


def test_answers_alone_in_their_state_and_those_without_credit_are_counted() -> None:
    task = task_of(discount=0.0, weights={"profit": 1.0})
    # Two groups of four. Day 0: one alone of the first four; in the second group nobody gains on anybody. Day 1: the
    # last four are over but for one, whose group is itself.
    held: list[list[int | None]] = [[0, 0, 3, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, None, None, None]]
    played = rewards(held, profit=[[0, 1, 9, 2, 0.1, 0.1, 0.1, 0.1], [1, 2, 3, 4, 5, 0, 0, 0]])
    assert alone(held, 4).tolist() == [
        [False, False, True, False, False, False, False, False],
        [False, False, False, False, True, False, False, False],
    ]
    shares = logged_shares(played, task, 4, day_advantages(played, task, 4))
    assert shares["credit/alone"] == pytest.approx(2 / 13)
    # The four that are equal, the one whose group is itself, and nobody else: the mean of 0, 1, 2 is 1.
    assert shares["credit/none"] == pytest.approx(6 / 13)
    assert not {"credit/alone", "credit/none"} & set(logged_shares(played, task, 4, None))


def test_who_is_over_is_alone_in_no_state() -> None:
    assert alone([[None, 0, 1, 1]], 4).tolist() == [[False, True, False, False]]


def test_what_cannot_be_read_is_a_share_of_the_answers_that_were_given() -> None:
    answers = [["BUY", "", "SELL", None], ["HOLD", "", None, None]]
    shares = logged_shares(Rollout([], {}, [[0] * 4] * 2, answers, [False, False, True, True]), task_of(), 4, None)
    assert shares == {
        "parse_errors": 2 / 5, "answers/BUY": 1 / 5, "answers/SELL": 1 / 5, "answers/HOLD": 1 / 5, "out_of_room": 1 / 2,
    }  # fmt: skip


@pytest.mark.parametrize("mask", [True, False])
def test_episodes_are_read_by_their_own_names_and_cut_where_room_ends(mask: bool) -> None:
    task = task_of(env={"days": 4, "tickers": 2, "mask": mask})
    envs, examples = [task.env("train") for _ in range(2)], [task.example(100), task.example(101)]
    for env, example in zip(envs, examples, strict=True):
        task.reset(env, example)
    names = envs[0].names
    other = "S3" if mask else next(name for name in PANEL.tickers if name not in names)
    dialogue: Any = Scripted([[f"BUY {names[0]} 0.5", ""], [f"SELL {other}", "HOLD"], ["HOLD", None], ["HOLD", None]])
    played = play(task, envs, examples, dialogue)
    assert [list(day) for day in played.answers] == [["BUY", ""], ["", "HOLD"], ["HOLD", None], ["HOLD", None]]
    assert played.out_of_room == [False, True]
    assert played.answered_DB.tolist() == [[True, True], [True, True], [True, False], [True, False]]
    # An answer that was not given is refused as an empty one is.
    assert played.rewards["legal"].T.tolist() == [[1, 0, 1, 1], [0, 1, 0, 0]]


class Scripted:
    """A dialogue whose answers are known; who gives none any more has no room left."""

    def __init__(self, days: list[list[str | None]]) -> None:
        self._days, self.full = iter(days), [False] * len(days[0])

    def open(self, messages: Any) -> None:
        """Nothing is kept."""

    hear = open

    def answer(self, live: Any) -> list[str | None]:
        day = next(self._days)
        self.full = [text is None for text in day]
        return day

    def transcripts(self) -> list[Transcript]:
        return []


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
    theirs = EpisodeTrainer._generate_and_score_completions

    def kept(self: Any, inputs: Any) -> Any:
        output = theirs(self, inputs)
        seen.setdefault("batches", []).append((output, self._played, self._turns, [dict(row) for row in inputs]))
        return output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpisodeTrainer, "_generate_and_score_completions", kept)
        return pipeline.run(of(RECIPE), tmp_path_factory.mktemp("runs") / "small", Console(quiet=True))


def test_the_whole_job_leaves_weights_and_figures(run: Path) -> None:
    assert (run / "2-grpo" / "weights" / "model.safetensors").exists()
    rows = [json.loads(line) for line in (run / "2-grpo" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows[:4]] == [1, 2, 3, 4]
    for name in ("profit", "risk", "grade", "legal"):
        assert f"rewards/{name}/mean" in rows[0]
    shares = [rows[0][f"answers/{name}"] for name in ("BUY", "SELL", "HOLD")]
    assert sum(shares) + rows[0]["parse_errors"] == pytest.approx(1)
    assert [row["out_of_room"] for row in rows[:4]] == [0, 0, 0, 0]


def test_the_shares_of_every_batch_are_logged(run: Path, seen: dict[str, Any]) -> None:
    rows = [json.loads(line) for line in (run / "2-grpo" / "metrics.jsonl").read_text().splitlines()]
    for (_, played, _, _), row in zip(seen["batches"], rows, strict=False):
        shares = logged_shares(
            played, task_of(**RECIPE["task"]), 4, day_advantages(played, task_of(**RECIPE["task"]), 4)
        )
        assert {name: row[name] for name in shares} == pytest.approx(shares)


def test_what_the_market_says_bears_no_loss_and_no_credit(run: Path, seen: dict[str, Any]) -> None:
    for output, played, turns, _ in seen["batches"]:
        for b, script in enumerate(played.transcripts):
            ids, days = completion(script)
            width = len(ids)
            assert output["completion_ids"][b, :width].tolist() == ids
            said = [day >= 0 for day in days]
            assert output["tool_mask"][b, :width].bool().tolist() == said
            assert not output["advantages"][b][
                ~torch.tensor(said + [False] * (output["advantages"].shape[1] - width))
            ].any()
            text = turns.tokenizer.decode([token for token, own in zip(ids, said, strict=True) if not own])
            assert text.count("day ") == 3


def test_the_completions_of_a_group_begin_alike_and_end_apart(run: Path, seen: dict[str, Any]) -> None:
    apart = 0
    for _, played, _, rows in seen["batches"]:
        for first in range(0, len(rows), 4):
            assert len({(row["t"], row["variant"]) for row in rows[first : first + 4]}) == 1
            own = range(first, first + 4)
            starts = {tuple(script.ids[: script.turns.index(0)]) for script in (played.transcripts[b] for b in own)}
            assert len(starts) == 1
            apart += len({played.rewards["profit"][:, b].sum().round(9) for b in own}) > 1
    assert apart > 0


def test_the_prompt_is_the_datasets_own(run: Path, seen: dict[str, Any]) -> None:
    for output, played, turns, rows in seen["batches"]:
        for b, script in enumerate(played.transcripts):
            prompt = turns.opening(rows[b]["prompt"])
            assert script.ids[: len(prompt)] == prompt
            assert output["prompt_ids"][b, -len(prompt) :].tolist() == prompt


def test_the_sums_that_trl_logs_are_those_of_the_days(run: Path, seen: dict[str, Any]) -> None:
    rows = [json.loads(line) for line in (run / "2-grpo" / "metrics.jsonl").read_text().splitlines()]
    for (_, played, _, _), row in zip(seen["batches"], rows, strict=False):
        assert row["rewards/profit/mean"] == pytest.approx(played.rewards["profit"].sum(axis=0).mean(), abs=1e-4)


def test_credit_by_episode_is_trls_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[torch.Tensor] = []
    theirs = EpisodeTrainer._generate_and_score_completions

    def kept(self: Any, inputs: Any) -> Any:
        found.append(theirs(self, inputs)["advantages"])
        raise KeyboardInterrupt

    recipe = of({**RECIPE, "task": {**RECIPE["task"], "credit": "episode"}, "stages": RECIPE["stages"][1:]})
    monkeypatch.setattr(EpisodeTrainer, "_generate_and_score_completions", kept)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(recipe, tmp_path / "run", Console(quiet=True))
    assert found[0].dim() == 1


def test_questions_are_fixed_by_the_seed_and_spread_over_the_pool() -> None:
    task = task_of()
    pool = task.examples("train")
    rows = questions(task, pool, 2 * len(pool), seed=0)
    assert rows == questions(task, pool, 2 * len(pool), seed=0)
    assert rows != questions(task, pool, 2 * len(pool), seed=1)
    assert sorted(row["t"] for row in rows) == sorted([example.t for example in pool] * 2)
    assert len({(row["t"], row["variant"]) for row in rows}) == len(rows)
