"""One scored trace for each question, a bad answer included; and conversations of several turns."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from markets import Says, market, task_of

from tradeschool.chat import Message, StepResult
from tradeschool.rollout import CONSTRAINED, MultiTurnTask, few_shot, rollout, run_episodes, score_answer
from tradeschool.tasks.base import Example
from tradeschool.tasks.rating import RatingTask
from tradeschool.trace import read_traces, write_traces

GOOD, BAD = "<think>RSI low.</think>\n[[[BUY]]]", "I would buy or sell."


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market())


def test_one_trace_per_question_in_order(task: RatingTask) -> None:
    examples = task.examples("test")[:20]
    traces = rollout(Says(GOOD, name="says"), task, examples, {"task": "1.0.0"})
    assert [trace.key for trace in traces] == [example.key for example in examples]
    for example, trace in zip(examples, traces, strict=True):
        assert (trace.task, trace.policy, trace.stop, trace.action) == ("rating", "says", "answered", "BUY")
        assert trace.messages == [*task.messages(example), {"role": "assistant", "content": GOOD}]
        assert trace.rewards == task.rewards(example, GOOD, 1)
        assert trace.metrics["score"] == pytest.approx(task.eval_score(example, 1))
        assert trace.versions == {"task": "1.0.0"}
        assert trace.label == task.label(example) is not None
        assert trace.error is None


def test_a_bad_answer_becomes_a_trace_that_says_so(task: RatingTask) -> None:
    good, bad = rollout(Says(GOOD, BAD), task, task.examples("test")[:2], {})
    assert good.stop == "answered"
    assert (bad.stop, bad.action) == ("parse_error", None)
    assert bad.error is not None
    assert bad.error.startswith("no decision: end with one of")
    assert bad.rewards["profit"] == -1
    assert bad.rewards["format"] == 0


def test_undefined_figures_are_left_out_so_that_traces_can_be_written(task: RatingTask, tmp_path: Path) -> None:
    """The last questions have no label, and JSON has no NaN."""
    traces = rollout(Says(GOOD, BAD), task, task.examples("test")[-4:], {})
    assert all("correct" not in trace.metrics and trace.label is None for trace in traces)
    assert all(trace.rewards["decision"] is None for trace in traces)
    write_traces(tmp_path / "traces.jsonl", traces)
    assert list(read_traces(tmp_path / "traces.jsonl")) == traces


class Prefers(Says):
    """Finds the last of some answers most likely, and keeps what it was asked."""

    asked: Sequence[Sequence[str]] = ()

    def choose(self, conversations: Sequence[Sequence[Message]], choices: Sequence[Sequence[str]]) -> list[int]:
        self.asked = choices
        return [len(one) - 1 for one in choices]


def test_constrained_decoding_changes_unreadable_answers_alone(task: RatingTask) -> None:
    twice = "<think>RSI low. <think>again</think> [[[BUY]]]"
    policy = Prefers(GOOD, BAD, twice, "[[[BUY]]] or [[[SELL]]]")
    traces = rollout(policy, task, task.examples("test")[:4], {}, constrained=True)
    assert [trace.action for trace in traces] == ["BUY", "STRONG_BUY", "STRONG_BUY", "STRONG_BUY"]
    assert [trace.metrics[CONSTRAINED] for trace in traces] == [0, 1, 1, 1]
    assert traces[0].messages[-1]["content"] == GOOD
    assert [one[0] for one in policy.asked] == [
        f"<think>{BAD}</think>\n[[[STRONG_SELL]]]",
        "<think></think>\n[[[STRONG_SELL]]]",  # a second <think> cannot be kept
        "<think></think>\n[[[STRONG_SELL]]]",
    ]
    assert all(len(one) == 5 for one in policy.asked)


def test_few_shot_examples_are_turns_from_training_dates_behind_the_system_message() -> None:
    task = task_of(market(), instructions=True)
    shots = few_shot(task, 2)
    questions = {task.messages(example)[-1]["content"] for example in task.examples("train")}
    assert [message["role"] for message in shots] == ["user", "assistant"] * 2
    assert all(message["content"] in questions for message in shots[::2])
    assert all(task.parse(message["content"]) in (-2, -1, 0, 1, 2) for message in shots[1::2])
    example = task.examples("test")[0]
    (trace,) = rollout(Says(GOOD), task, [example], {}, shots=shots)
    system, question = task.messages(example)
    assert trace.messages == [system, *shots, question, {"role": "assistant", "content": GOOD}]


def test_the_last_message_is_scored(task: RatingTask) -> None:
    example = task.examples("test")[0]
    messages = [{"role": "assistant", "content": BAD}, {"role": "assistant", "content": GOOD}]
    assert score_answer(task, example, messages, "someone", {}).action == "BUY"


def test_a_policy_that_answers_too_little_is_an_error(task: RatingTask) -> None:
    class Silent(Says):
        def generate(self, conversations: object, n: int = 1) -> list[list[str]]:
            return []

    with pytest.raises(ValueError, match="shorter"):
        rollout(Silent(GOOD), task, task.examples("test")[:2], {})


def test_no_examples_give_no_traces(task: RatingTask) -> None:
    assert rollout(Says(GOOD), task, [], {}) == []


# conversations -----------------------------------------------------------------------------------

EXAMPLES = [Example(f"count to {goal}", 0, 0, payload=goal) for goal in (2, 3)]


class Counting:
    """A tool that answers with the number so far; the conversation ends at the payload, or at "stop"."""

    def reset(self, example: Any) -> list[Message]:
        self._goal, self._count = example.payload, 0
        return [{"role": "user", "content": example.key}]

    def step(self, completion: str) -> StepResult:
        self._count += 1
        info = {"action": completion if completion == "go" else None, "error": None if completion == "go" else "what?"}
        if completion == "stop":
            return StepResult([], {"count": 0.0}, True, {**info, "stop": "bankrupt"})
        done = self._count == self._goal
        messages = [] if done else [{"role": "tool", "content": str(self._count)}]
        return StepResult(messages, {"count": float(self._count)}, done, info)


def conversations(*texts: str, **options: Any) -> list[Any]:
    policy = Says(*texts)
    return run_episodes(policy.chat(), [Counting(), Counting()], EXAMPLES, **options)


def test_conversations_of_different_lengths_are_played_side_by_side() -> None:
    counts: list[int] = []
    first, second = conversations("go", on_turn=counts.append)
    assert [message["content"] for message in first.messages] == ["count to 2", "go", "1", "go"]
    assert [message["content"] for message in second.messages] == ["count to 3", "go", "1", "go", "2", "go"]
    assert [message["role"] for message in second.messages[1:]] == ["assistant", "tool"] * 2 + ["assistant"]
    assert [turn.result.rewards["count"] for turn in second.turns] == [1, 2, 3]
    assert (first.stop, first.answers, first.unread, first.out_of_room) == ("answered", 2, 0, False)
    assert counts == [2, 2, 2]


def test_a_policy_reads_the_whole_history_at_every_turn() -> None:
    asked: list[list[str]] = []

    class Remembers(Says):
        def generate(self, conversations: Sequence[Sequence[Message]], n: int = 1) -> list[list[str]]:
            asked.extend([message["content"] for message in messages] for messages in conversations)
            return super().generate(conversations, n)

    run_episodes(Remembers("go").chat(), [Counting()], EXAMPLES[:1])
    assert asked == [["count to 2"], ["count to 2", "go", "1"]]


def test_max_turns_ends_a_conversation_with_an_answer() -> None:
    for episode in conversations("go", max_turns=1):
        assert [message["role"] for message in episode.messages] == ["user", "assistant"]
        assert episode.stop == "max_turns"


def test_parse_errors_and_stop_reasons_are_kept() -> None:
    first, second = conversations("go?", "stop")
    assert (first.unread, first.turns[0].result.info["error"]) == (2, "what?")
    assert (second.stop, second.unread, len(second.turns)) == ("bankrupt", 1, 1)


def test_without_room_the_environment_gets_an_empty_answer() -> None:
    class Full:
        def start(self, conversations: Any, seeds: Any = None) -> None:
            assert list(seeds) == [7]

        def answer(self, live: Sequence[bool]) -> list[str | None]:
            return [None]

        def add_user_turn(self, turns: Any) -> None:
            assert turns == [[{"role": "tool", "content": "1"}]]

    (episode,) = run_episodes(Full(), [Counting()], EXAMPLES[:1], seeds=[7])
    assert (episode.out_of_room, episode.stop, episode.answers, episode.unread) == (True, "max_tokens", 0, 0)
    assert [message["content"] for message in episode.messages] == ["count to 2"]


def test_a_single_turn_task_is_not_multi_turn(task: RatingTask) -> None:
    assert not isinstance(task, MultiTurnTask)
