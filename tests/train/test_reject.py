"""The stage reject: what it asks and keeps, what an interruption leaves, and what it refuses."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from markets import market, task_of
from pydantic import ValidationError
from rich.console import Console

from tradeschool import pipeline
from tradeschool.chat import Message
from tradeschool.config.recipe import from_mapping, load_panel, make_task
from tradeschool.errors import RecipeError, RunError
from tradeschool.models.load import ModelConfig
from tradeschool.policies.base import Policy
from tradeschool.tasks.base import Example, Task
from tradeschool.tasks.rating import RatingTask
from tradeschool.train import reject
from tradeschool.train.answers import conversations, read_dataset
from tradeschool.train.sampled_answers import Sampling, asker, episodes
from tradeschool.train.selection import Answer, read_asked
from tradeschool.train.stage import CheckContext, Context, Result


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market(), weights={"profit": 1.0, "risk": 1.0, "format": 0.1})


def config_of(**options: Any) -> reject.Config:
    given = {"stage": "reject", "name": "reject", "questions": 20, "n": 4, "batch_size": 16, **options}
    return reject.Config.model_validate(given)


def context_of(task: Any, folder: Path, console: Console | None = None) -> Context:
    folder.mkdir(exist_ok=True)
    return Context(folder, folder, task.panel, task, ModelConfig(base="unused"), {}, 0, console or Console(quiet=True))


def guesser(task: Task, calls: list[list[str]] | None = None, unread: float = 0.2) -> Callable[..., Any]:
    """Stands for a model: random ratings by the seed, some of which cannot be read."""

    def ask(examples: list[Example], seed: int) -> list[list[Answer]]:
        rng, found = np.random.default_rng(seed), []
        for example in examples:
            own = []
            for _ in range(4):
                action = None if rng.random() < unread else int(rng.integers(-2, 3))
                text = "?" if action is None else task.format_answer(action, "Facts.")
                rewards = task.rewards(example, text, action)
                name = None if action is None else task.action_name(action)
                own.append(Answer(task.messages(example), text, rewards, task.total(rewards), name))
            found.append(own)
        if calls is not None:
            calls.append([example.key for example in examples])
        return found

    return lambda *given: ask


def run(task: Task, folder: Path, **options: Any) -> Result:
    return reject.run(config_of(**options), context_of(task, folder))


def written(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}


def test_the_best_answers_are_kept_as_a_data_set(
    task: RatingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(reject, "asker", guesser(task, calls))
    result = run(task, tmp_path / "a")
    assert [len(batch) for batch in calls] == [4] * 5  # 16 answers at a time, four to a question
    keys = [key for batch in calls for key in batch]
    assert len(set(keys)) == 20
    by_key = {example.key: example for example in task.examples("train")}
    rows = read_dataset(result.datasets["reject"])
    assert result.weights is None
    assert 15 < len(rows) <= 20
    for row in rows:
        example = by_key[row["key"]]
        assert row["messages"] == task.messages(example)
        assert row["ticker"] == task.panel.tickers[example.n]
        action = task.parse(row["completion"])
        assert row["reward"] == task.total(task.rewards(example, row["completion"], action))
    metrics = [json.loads(text) for text in (tmp_path / "a" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in metrics] == [1, 2, 3, 4, 5, 5]
    assert metrics[-1]["kept"] == len(rows) == result.summary["kept"]
    assert result.summary["kept_reward"] == pytest.approx(np.mean([row["reward"] for row in rows]))
    assert result.summary["reward"] < result.summary["kept_reward"]
    assert metrics[-1]["before/parse_errors"] > 0 == metrics[-1]["after/parse_errors"]


def test_a_stage_has_its_own_weights_of_the_rewards(
    task: RatingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reject, "asker", lambda weighted, *rest: guesser(weighted)(weighted, *rest))
    result = run(task, tmp_path / "a", weights={"decision": 2.0})
    by_key = {example.key: example for example in task.examples("train")}
    for row in read_dataset(result.datasets["reject"]):
        rewards = task.rewards(by_key[row["key"]], row["completion"], task.parse(row["completion"]))
        assert row["reward"] == 2 * (rewards["decision"] or 0)
    checked(task, weights={"decision": 2.0})
    with pytest.raises(RecipeError, match="no 'decisions'.*Did you mean 'decision'"):
        checked(task, weights={"decisions": 2.0})
    with pytest.raises(RecipeError, match="no reward with a weight above 0"):
        checked(task, weights={"decision": 0.0})


def test_bounds_and_the_csv_of_each_ticker(task: RatingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reject, "asker", guesser(task))
    result = run(task, tmp_path / "a", keep="margin", margin=0.2, min_reward=0.3, csv=True)
    rows = read_dataset(result.datasets["reject"])
    assert rows
    assert all(row["reward"] >= 0.3 for row in rows)
    files = {path.name: read_dataset(path) for path in (tmp_path / "a").glob("*.csv")}
    assert set(files) == {f"{row['ticker']}_sft_training_data.csv" for row in rows}
    assert sum(map(len, files.values())) == len(rows)


def test_the_stage_ends_when_enough_is_kept(task: RatingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(reject, "asker", guesser(task, calls, unread=0.0))
    result = run(task, tmp_path / "a", max_kept=5)
    assert len(read_dataset(result.datasets["reject"])) == 5
    assert len(calls) == 2


@pytest.mark.parametrize("torn", [0, 30])
def test_an_interrupted_stage_loses_no_answer_and_ends_like_an_unbroken_one(
    torn: int, task: RatingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: list[list[str]] = []
    monkeypatch.setattr(reject, "asker", guesser(task, whole))
    unbroken = run(task, tmp_path / "a")
    before: list[list[str]] = []
    ask = guesser(task, before)()

    def broken(examples: list[Example], seed: int) -> Any:
        if len(before) == 3:
            raise KeyboardInterrupt
        return ask(examples, seed)

    monkeypatch.setattr(reject, "asker", lambda *given: broken)
    with pytest.raises(KeyboardInterrupt):
        run(task, tmp_path / "b")
    path = tmp_path / "b" / reject.ANSWERS
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) == 12
    path.write_text(text[: len(text) - torn], encoding="utf-8")  # killed while the last batch was written

    after: list[list[str]] = []
    monkeypatch.setattr(reject, "asker", guesser(task, after))
    console = Console(file=io.StringIO(), width=200)
    result = reject.run(config_of(), context_of(task, tmp_path / "b", console))
    assert [*before[: 2 if torn else 3], *after] == whole
    assert result.summary == unbroken.summary
    assert written(tmp_path / "a") == written(tmp_path / "b")
    assert "Going on after" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_finished_attempt_asks_nothing_again(
    task: RatingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reject, "asker", guesser(task))
    first = run(task, tmp_path / "a")
    files = written(tmp_path / "a")
    monkeypatch.setattr(reject, "asker", None)
    assert run(task, tmp_path / "a").summary == first.summary
    assert written(tmp_path / "a") == files


def test_what_ends_the_stage_says_what_to_change(
    task: RatingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reject, "asker", guesser(task, unread=1.0))
    with pytest.raises(RunError, match=r"none of 80 answers was kept: 100% could not be read.*min_reward"):
        run(task, tmp_path / "a")

    def too_large(examples: list[Example], seed: int) -> Any:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(reject, "asker", lambda *given: too_large)
    with pytest.raises(RunError, match=r"stages\.reject: the memory.*--set stages\.reject\.batch_size=8"):
        run(task, tmp_path / "b")
    with pytest.raises(RunError, match=r"stages\.reject: the memory.*Lower n,"):
        run(task, tmp_path / "c", batch_size=6)
    monkeypatch.setattr(reject, "asker", guesser(task))
    monkeypatch.setattr(RatingTask, "rewards", lambda *given: {"profit": float("nan")})
    with pytest.raises(RunError, match=r"the reward of an answer to .* is nan"):
        run(task, tmp_path / "d")


# a language model --------------------------------------------------------------------------------


def test_answers_of_a_model_depend_on_the_seed_alone(task: RatingTask, tmp_path: Path) -> None:
    source = str(tiny_models.folder(tmp_path / "model", max_position_embeddings=1024))
    ask = asker(task, source, ModelConfig(base=source), Sampling("stages.reject.max_new_tokens", 3, 1.0, 6, 16))
    examples = task.examples("train")[:4]
    first, again, other = ask(examples, 1), ask(examples, 1), ask(examples, 2)
    assert first == again != other
    assert [len(own) for own in first] == [3] * 4
    assert len({one.text for own in first for one in own}) > 4
    for example, own in zip(examples, first, strict=True):
        for one in own:
            assert one.messages == task.messages(example)
            assert one.action is None  # random weights write nothing that can be read
            assert one.total == task.total(task.rewards(example, one.text, None))
    short = asker(task, source, ModelConfig(base=source), Sampling("stages.reject.max_new_tokens", 2, 1.0, 1024, 16))
    with pytest.raises(RecipeError, match=r"stages\.reject\.max_new_tokens is 1,024"):
        short(examples, 0)


# refusals ----------------------------------------------------------------------------------------


def checked(task: Any, **options: Any) -> None:
    reject.check(config_of(**options), CheckContext(task, task.panel, task.split, ModelConfig(), 0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep": "margin"}, "needs margin"),
        ({"margin": 0.1}, "no effect with keep best"),
        ({"n": 1}, "greater than or equal to 2"),
        ({"temperature": 0}, "greater than 0"),
        ({"keep": "worst"}, "best"),
    ],
)
def test_values_without_effect_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        config_of(**options)


def test_tasks_and_sizes_that_cannot_work_are_refused(task: RatingTask, monkeypatch: pytest.MonkeyPatch) -> None:
    checked(task)
    with pytest.raises(RecipeError, match=r"stages\.reject\.batch_size is 16, but the 32 answers"):
        checked(task, n=32)
    with pytest.raises(RecipeError, match=r"stages\.reject\.max_new_tokens is 5,000"):
        checked(task, max_new_tokens=5000)
    with pytest.raises(RecipeError, match="no reward with a weight above 0"):
        checked(task_of(market(), weights={"profit": 0.0, "risk": 0.0, "format": 0.0}))
    with monkeypatch.context() as patch:
        patch.setattr(RatingTask, "rewards", Task.rewards)
        with pytest.raises(RecipeError, match="does not reward answers one by one"):
            checked(task)


# episodes -----------------------------------------------------------------------------------------

EPISODES: dict[str, Any] = {
    "name": "small",
    "market": {"source": "synthetic", "tickers": 6, "days": 400, "edge": 0.3},
    "split": {"train": 0.6, "validation": 0.1, "test": 0.3, "warmup": 60},
    "task": {"name": "trade", "env": {"days": 3}, "facts": ["macd_hist"], "figures": False, "demonstrators": ["macd"]},
    "model": {"base": "tiny"},
    "stages": [{"stage": "reject", "questions": 6, "n": 4, "batch_size": 8, "max_new_tokens": 20}],
}


class Guesses(Policy):
    """Random orders, and an answer that cannot be read now and then."""

    name, kind = "guesses", "rule"

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def generate(self, conversations: Sequence[Sequence[Message]], n: int = 1) -> list[list[str]]:
        options = ["BUY S1 0.5", "SELL S1 0.5", "HOLD", "?"]
        return [[options[self.rng.choice(4, p=[0.4, 0.2, 0.3, 0.1])]] for _ in conversations]


def test_episodes_are_kept_whole_and_all_their_answers_are_imitated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = from_mapping(json.loads(json.dumps(EPISODES)))
    panel = load_panel(recipe, Console(quiet=True))
    task = make_task(recipe, panel)
    policy = Guesses()
    monkeypatch.setattr(reject, "asker", lambda *given: lambda some, seed: episodes(task, policy, some, 4, seed))
    result = reject.run(recipe.stages[0], context_of(task, tmp_path / "a"))
    rows = read_dataset(result.datasets["reject"])
    assert 3 < len(rows) <= 6
    for row, one in zip(rows, conversations(rows), strict=True):
        assert one.learned == [True] * 3
        assert not any(message["content"] == "?" for message in one.messages)
        assert row["ticker"] == ""
    asked = read_asked(tmp_path / "a" / reject.ANSWERS)
    assert len(asked) == len({one.key for one in asked}) == 6
    for found in asked:
        readable = [total for total, action in zip(found.totals, found.actions, strict=True) if action is not None]
        assert [row["reward"] for row in found.kept] == [max(readable)] if readable else not found.kept


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"csv": True}, r"stages\.reject\.csv: a row of the CSV holds one question"),
        ({"question": "day"}, r"stages\.reject: with task\.question: day an episode is not one conversation"),
    ],
)
def test_what_episodes_do_not_have_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    recipe = json.loads(json.dumps(EPISODES))
    (recipe["task"] if "question" in change else recipe["stages"][0]).update(change)
    if "question" in change:
        recipe["task"]["answers"] = "one_order"
    with pytest.raises(RecipeError, match=words):
        pipeline.run(from_mapping(recipe), tmp_path / "run", Console(quiet=True))
