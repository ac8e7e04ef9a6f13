"""A policy meets a task: one scored trace per question, and a bad answer is data."""

from pathlib import Path

import pytest
from markets import Says, market, task_of

from tradeschool.rollout import judge, rollout
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
        assert trace.messages == [*task.prompt(example).messages, {"role": "assistant", "content": GOOD}]
        assert trace.rewards == task.score(example, GOOD, 1)
        assert trace.metrics["score"] == pytest.approx(task.measured(example, 1))
        assert trace.versions == {"task": "1.0.0"}
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
    """The last questions have no label: NaN is no JSON."""
    traces = rollout(Says(GOOD, BAD), task, task.examples("test")[-4:], {})
    assert all("correct" not in trace.metrics for trace in traces)
    assert all(trace.rewards["decision"] is None for trace in traces)
    write_traces(tmp_path / "traces.jsonl", traces)
    assert list(read_traces(tmp_path / "traces.jsonl")) == traces


def test_judge_reads_the_last_message(task: RatingTask) -> None:
    example = task.examples("test")[0]
    messages = [{"role": "assistant", "content": BAD}, {"role": "assistant", "content": GOOD}]
    assert judge(task, example, messages, "someone", {}).action == "BUY"


def test_a_policy_that_answers_too_little_is_an_error(task: RatingTask) -> None:
    class Silent(Says):
        def reply(self, prompts: object) -> list[str]:
            return []

    with pytest.raises(ValueError, match="shorter"):
        rollout(Silent(GOOD), task, task.examples("test")[:2], {})


def test_no_question_no_trace(task: RatingTask) -> None:
    assert rollout(Says(GOOD), task, [], {}) == []
