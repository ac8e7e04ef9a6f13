"""Theses written by a chat server: what is accepted, what goes back, the fallback, and what an interruption leaves."""

import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import chat_server as servers
import pytest
from chat_server import KEY, MODEL, ChatServer, chat_server
from markets import market
from rich.console import Console

from tradeschool.config.recipe import from_mapping
from tradeschool.errors import RecipeError
from tradeschool.market.splits import split_rows
from tradeschool.models.load import ModelConfig
from tradeschool.policies.remote import ChatClient
from tradeschool.policies.remote_config import RemoteError, server_config
from tradeschool.tasks.base import Example
from tradeschool.tasks.rating import RatingTask
from tradeschool.tasks.rating_config import RatingConfig
from tradeschool.tasks.thesis import ThesisTask
from tradeschool.tasks.thesis_api_teacher import ApiTeacher, Taught, fault_of, whole
from tradeschool.tasks.thesis_config import ThesisConfig
from tradeschool.text.parse import RATINGS
from tradeschool.train import teach
from tradeschool.train.answers import conversations, read_dataset
from tradeschool.train.stage import CheckContext, Context, Result

PANEL = market(edge=0.5, tickers=3, days=300)
SPLIT = split_rows(PANEL, (0.6, 0.1, 0.3), embargo=16, warmup=60)
FACTS = ["market", "strength", "rsi", "news", "momentum", "trend", "macd", "stochastic"]
RATED = re.compile(r"in the rating\s+(\w+)")
Change = Callable[[str], str]


@pytest.fixture(scope="module")
def task() -> ThesisTask:
    return ThesisTask(ThesisConfig(form="short", facts=FACTS, sections=["fundamentals"]), PANEL, SPLIT)


def invented(text: str) -> str:
    """The thesis with a quotation that does not stand in the prompt."""
    return re.sub(r"\*[^*]+\* `", "*profit rose by a third* `", text.replace("**", ""), count=1)


def other_decision(text: str) -> str:
    return re.sub(r"\[\[\[\w+\]\]\]", "[[[HOLD]]]" if "[[[HOLD" not in text else "[[[BUY]]]", text)


def same(text: str) -> str:
    return text


class Writer:
    """Stands for a model: plans and notes, then the offline teacher's theses, the first ones changed."""

    def __init__(self, task: ThesisTask, *changes: Change, always: Change = same) -> None:
        self.by_data = {task.messages(one)[-1]["content"]: one for one in task.examples("train")}
        self.task, self.changes, self.always = task, list(changes), always
        self.theses = 0

    def __call__(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        asked = body["messages"][1]["content"]
        text = "First the trend, then what speaks against it."
        if "Answer with the thesis alone." in asked:
            self.theses += 1
            rated = RATED.search(asked)
            assert rated
            example = self.by_data[asked.partition("\n\nThe plan:")[0]]
            change = self.changes.pop(0) if self.changes else self.always
            text = change(self.task.answer(example, RATINGS[rated[1]]))
        servers.say(text)(handler, body)


def chosen_of(task: ThesisTask, count: int = 1) -> list[tuple[Example, int]]:
    return [(example, i % 5 - 2) for i, example in enumerate(task.examples("train")[:count])]


def written(task: ThesisTask, *changes: Change, attempts: int = 3) -> tuple[Taught, ApiTeacher, ChatServer]:
    with chat_server(always=Writer(task, *changes)) as server:
        teacher = ApiTeacher(task, client(server), attempts)
        (found,) = teacher.write(chosen_of(task))
    return found, teacher, server


def client(server: ChatServer, **settings: Any) -> ChatClient:
    return ChatClient(server_config(base_url=server.url, model=MODEL, retries=0, concurrency=1, **settings), {})


def test_a_true_thesis_is_accepted_after_a_plan_and_notes_on_every_part(task: ThesisTask) -> None:
    found, teacher, server = written(task)
    (example, rating) = chosen_of(task)[0]
    assert found == Taught(task.answer(example, rating), 1, accepted=True)
    assert not teacher.faults
    asked = [body["messages"][-1]["content"] for body in server.bodies]
    parts = sorted({source for source, _ in task.index(example).lines})
    assert len(asked) == 2 + len(parts)
    assert "Plan it" in asked[0]
    assert sorted(text.partition(":")[0].removeprefix("The data on ") for text in asked[1:-1]) == parts
    assert all("the rating STRONG_SELL" in text for text in asked)


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        (other_decision, "decision", "it ends in HOLD, and has to argue for and end in STRONG_SELL"),
        (invented, "quotation", "'profit rose by a third' does not stand in the data"),
        (lambda text: re.sub(r"`\w+`", "`bloomberg`", text, count=1), "source", "'bloomberg' is not a source"),
        (lambda text: text.replace("<conclusion>", "<conclusion>By 77.25 percent. "), "figure", "77.25"),
        (lambda text: text.partition("[[[")[0], "unreadable", "no decision"),
    ],
)
def test_what_does_not_match_goes_back_with_the_reason(task: ThesisTask, change: Change, kind: str, told: str) -> None:
    found, teacher, server = written(task, change)
    assert found.accepted
    assert found.attempts == 2
    assert teacher.faults == {kind: 1}
    again = server.bodies[-1]["messages"]
    assert [one["role"] for one in again] == ["system", "user", "assistant", "user"]
    assert told in again[-1]["content"]
    assert fault_of(task, *chosen_of(task)[0], found.text) is None


def test_after_the_last_attempt_the_offline_teacher_writes(task: ThesisTask) -> None:
    found, teacher, _ = written(task, invented, invented)
    assert found.accepted
    found, teacher, _ = written(task, invented, invented, attempts=2)
    assert found == Taught(task.answer(*chosen_of(task)[0]), 2, accepted=False)
    assert teacher.faults == {"quotation": 2}


def test_a_failed_request_is_sent_again_as_it_was(task: ThesisTask) -> None:
    writer = Writer(task)

    def flaky(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        if "thesis alone" in body["messages"][-1]["content"] and not writer.theses:
            writer.theses += 1
            servers.error(500, "busy")(handler, body)
        else:
            writer(handler, body)

    with chat_server(always=flaky) as server:
        teacher = ApiTeacher(task, client(server), 2)
        assert teacher.write(chosen_of(task))[0].accepted
    assert server.bodies[-1] == server.bodies[-2]
    assert teacher.faults == {"no answer": 1}


def test_thinking_before_the_thesis_and_a_fence_around_it_do_not_matter() -> None:
    thesis = "<think>a</think>\n<conclusion>b</conclusion>\n[[[BUY]]]"
    for answer in (thesis, f"```xml\n{thesis}\n```", f"<think>hm [[[SELL]]]</think>\n{thesis}", f"hm</think>{thesis}"):
        assert whole(answer, simple=False) == thesis


# the stage ----------------------------------------------------------------------------------------


def stage(server: ChatServer | None = None, remote: dict[str, Any] | None = None, **options: Any) -> teach.Config:
    address = {"base_url": server.url if server else "http://localhost:1/v1", "model": MODEL, "retries": 0}
    given = {"stage": "teach", "name": "teach", "examples": 10, "batch_size": 5, **options}
    return teach.Config.model_validate(given | {"remote": {**address, "concurrency": 1, **(remote or {})}})


def run(task: ThesisTask, folder: Path, config: teach.Config) -> tuple[Result, str]:
    folder.mkdir(exist_ok=True)
    with (folder / "log.txt").open("w", encoding="utf-8") as file:
        console = Console(file=file, width=300)
        result = teach.run(config, Context(folder, folder, PANEL, task, ModelConfig(base="unused"), {}, 0, console))
    return result, (folder / "log.txt").read_text(encoding="utf-8")


def test_the_stage_writes_a_balanced_data_set_that_sft_imitates_and_says_what_it_cost(
    task: ThesisTask, tmp_path: Path
) -> None:
    prices = {"price_input": 1.0, "price_output": 10.0}
    with chat_server(always=Writer(task, other_decision)) as server:
        result, log = run(task, tmp_path / "a", stage(server, prices))
    path = result.datasets["teach"]
    rows = read_dataset(path)
    assert sorted(row["rating"] for row in rows) == sorted([*RATINGS] * 2)
    for row in rows:
        assert row["rating"] == next(name for name, value in RATINGS.items() if value == task.parse(row["completion"]))
    requests = len(server.bodies)
    assert result.summary["accepted"] == 10
    assert result.summary["rejected"] == 1
    assert result.summary["requests"] == requests
    assert result.summary["cost"] == pytest.approx(requests * 200 / 1e6)  # 100 tokens in and 10 out, each
    assert result.summary["evidence"] > 0.9
    assert f"{requests * 100:,} tokens in and {requests * 10:,} out, cost {requests * 200 / 1e6:.4f}" in log
    assert "Not accepted: 1 x decision" in log
    assert [one.learned for one in conversations(rows)] == [[True]] * 10


def test_fallbacks_are_counted_and_marked(task: ThesisTask, tmp_path: Path) -> None:
    with chat_server(always=Writer(task, always=invented)) as server:
        result, log = run(task, tmp_path / "a", stage(server, attempts=2))
    assert (result.summary["fallbacks"], result.summary["rejected"]) == (10, 20)
    assert {row["teacher"] for row in read_dataset(result.datasets["teach"])} == {"offline"}
    assert "Warning: the offline teacher wrote most" in log


def test_a_second_run_asks_nothing_again(task: ThesisTask, tmp_path: Path) -> None:
    with chat_server(always=Writer(task, invented)) as server:
        remote = {"answers": str(tmp_path / "shared.jsonl")}
        first, _ = run(task, tmp_path / "a", stage(server, remote))
        sent = len(server.bodies)
        second, log = run(task, tmp_path / "b", stage(server, remote))
        assert len(server.bodies) == sent
    assert first.datasets["teach"].read_bytes() == second.datasets["teach"].read_bytes()
    assert second.summary["reused"] == sent
    assert f"{sent} answers were on the disk" in log


def test_an_interrupted_stage_pays_for_no_answer_twice(task: ThesisTask, tmp_path: Path) -> None:
    with chat_server(always=Writer(task)) as server:
        unbroken, _ = run(task, tmp_path / "a", stage(server))
        needed = len(server.bodies)
    writer = Writer(task)
    with chat_server(*[writer] * 21, always=servers.error(401, "no")) as server:
        config = stage(server)
        with pytest.raises(RemoteError, match="refuses"):
            run(task, tmp_path / "b", config)
        answered = len((tmp_path / "b" / teach.ANSWERS).read_text(encoding="utf-8").split())
        server.always = writer
        sent = len(server.bodies)
        resumed, _ = run(task, tmp_path / "b", config)
        assert len(server.bodies) - sent == needed - resumed.summary["reused"]
    assert answered
    assert resumed.summary["reused"] == 21
    assert resumed.datasets["teach"].read_bytes() == unbroken.datasets["teach"].read_bytes()


def test_what_cannot_work_is_refused_before_the_first_request(task: ThesisTask) -> None:
    def checked(task: Any, config: teach.Config) -> None:
        teach.check(config, CheckContext(task, PANEL, SPLIT, ModelConfig(), 0))

    checked(task, stage())
    with pytest.raises(RecipeError, match="task 'rating' has no theses"):
        checked(RatingTask(RatingConfig(), PANEL, SPLIT), stage())
    config = ThesisConfig(form="short", facts=FACTS, sections=[], argued=False)
    with pytest.raises(RecipeError, match=r"task\.argued is false"):
        checked(ThesisTask(config, PANEL, SPLIT), stage())
    with pytest.raises(RecipeError, match=r"stages\.teach\.remote: .*No model is named"):
        checked(task, stage(remote={"model": ""}))


@pytest.mark.parametrize(
    ("remote", "words"), [({"modle": "x"}, "Did you mean 'model'"), ({"api_key": KEY}, "environment only")]
)
def test_wrong_settings_of_the_server_are_refused_and_a_key_is_not_repeated(remote: dict[str, str], words: str) -> None:
    recipe = {"name": "theses", "task": {"name": "thesis"}, "stages": [{"stage": "teach", "remote": remote}]}
    with pytest.raises(RecipeError, match=words) as raised:
        from_mapping(recipe)
    assert "stages.teach.remote" in str(raised.value)
    assert KEY not in str(raised.value)
