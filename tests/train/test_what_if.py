"""Groups of decisions in episodes: rows with branches equal separate rows, and a stage that trains on them."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from markets import market
from rich.console import Console
from transformers import TrainerCallback

from tradeschool import pipeline
from tradeschool.config.recipe import from_mapping
from tradeschool.errors import RecipeError
from tradeschool.market.splits import split_rows
from tradeschool.models.chat_renderer import ChatRenderer, end_tokens, transcribe
from tradeschool.models.load import TinyConfig, build_model, build_tokenizer
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_config import TradeConfig
from tradeschool.train import trainer
from tradeschool.train.what_if import Row, batch_of, log_probs, stating

pytestmark = pytest.mark.usefixtures("few_texts")
PANEL = market(tickers=6, days=400)
TASK: dict[str, Any] = {"answers": "one_order", "facts": ["macd_hist"], "demonstrators": ["macd"]}
SFT = {
    "stage": "sft",
    "turns": 4,
    "examples": 200,
    "trl": {"max_steps": 40, "per_device_train_batch_size": 8, "learning_rate": 1e-2, "logging_steps": 20},
}
STAGE: dict[str, Any] = {
    "stage": "grpo",
    "group": "decisions",
    "objective": "gvpo",
    "questions": 400,
    "trl": {
        "max_steps": 8,
        "per_device_train_batch_size": 8,
        "max_completion_length": 8,
        "learning_rate": 3e-3,
        "logging_steps": 1,
        "save_steps": 3,
    },
}


def recipe(stage: dict[str, Any] = STAGE, **task: Any) -> Any:
    tiny = {"vocabulary": 330, "hidden_size": 32, "layers": 2, "heads": 4, "intermediate_size": 64}
    return from_mapping(
        {
            "name": "small",
            "market": {"source": "synthetic", "tickers": 6, "days": 400, "edge": 0.5},
            "split": {"train": 0.6, "validation": 0.1, "test": 0.3, "warmup": 60},
            "task": {"name": "trade", "env": {"days": 4}, **TASK, **task},
            "model": {"base": "tiny", "tiny": tiny},
            "stages": [SFT, stage],
        }
    )


def task_of(**config: Any) -> TradeTask:
    split = split_rows(PANEL, (0.6, 0.1, 0.3), embargo=16, warmup=60)
    return TradeTask(TradeConfig(**{**TASK, **config}), PANEL, split)


def metrics(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "2-grpo" / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "reward" in row]


@pytest.mark.parametrize(("tickers", "describe"), [(1, []), (3, []), (1, ["market", "news"])])
def test_branches_have_the_log_probabilities_of_separate_rows(tickers: int, describe: list[str]) -> None:
    task = task_of(env={"days": 4, "tickers": tickers}, describe=describe)
    episodes = task.what_if(task.examples("train")[:3], [(0, i) for i in range(3)])
    shape = TinyConfig(vocabulary=330, hidden_size=32, layers=2, heads=2, intermediate_size=32)
    tokenizer = build_tokenizer(task.tokenizer_texts(50, 0), task.special_tokens, shape)
    model = build_model(tokenizer, shape, 0)
    renderer = ChatRenderer.of(tokenizer, end_tokens(model, tokenizer))
    rows = [Row.of(renderer, episode) for episode in episodes]
    found_BDA, labelled = log_probs(model, batch_of(rows, episodes, tokenizer.pad_token_id))
    others: list[float] = []
    for b, episode in enumerate(episodes):
        for d, texts in enumerate(episode.answers):
            answers = [renderer.answer(text) for text in texts]
            before = episode.messages[: 2 + 2 * d]
            start, all_stated = stating(answers)
            for a, (answer, stated) in enumerate(zip(answers, all_stated, strict=True)):
                ids = transcribe(renderer, [*before, {"role": "assistant", "content": texts[a]}]).ids
                with torch.no_grad():
                    logits = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
                first = len(ids) - len(answer)
                each = [float(logits[first + i - 1, token]) for i, token in enumerate(answer)]
                assert sum(each[start : start + len(stated)]) == pytest.approx(found_BDA[b, d, a].item(), abs=1e-4)
                if a == episode.given[d]:
                    others += each[:start] + each[start + len(stated) :]
    assert sorted(others) == pytest.approx(sorted(labelled.tolist()), abs=1e-4)


def test_an_answer_is_stated_as_soon_as_it_differs_from_all_others() -> None:
    assert stating([[1, 2, 9], [1, 3, 9], [4, 9], [1, 9]]) == (0, [[1, 2], [1, 3], [4], [1, 9]])
    assert stating([[7, 8, 2, 9], [7, 8, 3, 9]]) == (2, [[2], [3]])
    assert stating([[7, 8, 9]]) == (3, [[]])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline.run(recipe(), tmp_path_factory.mktemp("runs") / "unbroken", Console(quiet=True))


def test_training_raises_the_expected_reward(unbroken: Path) -> None:
    rows = metrics(unbroken)
    assert sum(row["reward"] for row in rows[4:]) > sum(row["reward"] for row in rows[:4])
    assert rows[-1]["decision_mass"] > rows[0]["decision_mass"]
    assert all(torch.isfinite(torch.tensor(row["loss"])) for row in rows)


class CutOff(BaseException):
    """As a Ctrl+C or a power cut: nothing may catch it."""


class CutAt(TrainerCallback):
    """Ends training at the beginning of step 5, after the checkpoint of step 3."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 5:
            raise CutOff


def test_an_interrupted_training_ends_like_the_unbroken_one(unbroken: Path, tmp_path: Path) -> None:
    run = tmp_path / "cut"
    shutil.copytree(unbroken, run)
    shutil.rmtree(run / "2-grpo")
    train = trainer.train

    def watched(made: Any, *given: Any, **options: Any) -> None:
        made.add_callback(CutAt())
        train(made, *given, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "train", watched)
        with pytest.raises(CutOff):
            pipeline.resume(run, None, Console(quiet=True))
    assert [path.name for path in (run / "2-grpo" / "checkpoints").glob("checkpoint-*")] == ["checkpoint-3"]
    pipeline.resume(run, None, Console(quiet=True))
    ours, theirs = (folder / "2-grpo" / "weights" / "model.safetensors" for folder in (run, unbroken))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("question", ["episode", "day", "stock"])
@pytest.mark.parametrize("objective", ["gvpo", "grpo"])
def test_every_kind_of_conversation_and_objective_can_be_trained(question: str, objective: str, tmp_path: Path) -> None:
    stage = {**STAGE, "objective": objective, "trl": {**STAGE["trl"], "max_steps": 2}}
    made = recipe(stage, question=question, env={"days": 4, "tickers": 2})
    rows = metrics(pipeline.run(made, tmp_path / "run", Console(quiet=True)))
    assert 0 < rows[-1]["decision_mass"] <= 1


@pytest.mark.parametrize(("scale", "warned"), [("group", True), ("batch", False)])
def test_dividing_market_rewards_by_their_spread_in_each_group_is_warned_of(
    scale: str, warned: bool, tmp_path: Path
) -> None:
    output = io.StringIO()
    stage = {**STAGE, "trl": {**STAGE["trl"], "max_steps": 2, "scale_rewards": scale}}
    made = recipe(stage, question="day", env={"days": 4, "tickers": 2})
    pipeline.run(made, tmp_path / "run", Console(file=output, width=1_000))
    assert ("scale_rewards is group" in output.getvalue()) == warned


@pytest.mark.parametrize(
    ("stage", "task", "words"),
    [
        ({}, {"answers": "reasons"}, r"stages\.grpo\.group: task\.answers is reasons.* one_order"),
        ({"reasonings": 2}, {}, r"reasonings has no effect in episodes"),
        ({"group": "sampled"}, {}, r"objective: in the episodes of 'trade' gvpo needs group: decisions"),
        ({"group": "sampled", "objective": "grpo"}, {"question": "day"}, r"with task\.question: day"),
        ({}, {"env": {"days": 40}}, r"a conversation has .* 1,024 positions. Set task\.question: day"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_stage(
    stage: dict[str, Any], task: dict[str, Any], words: str, tmp_path: Path
) -> None:
    made = recipe({**STAGE, **stage}, **task)
    with pytest.raises(RecipeError, match=words):
        pipeline.run(made, tmp_path / "run", Console(quiet=True))
    assert not (tmp_path / "run").exists()
