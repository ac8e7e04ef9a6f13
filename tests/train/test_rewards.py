"""Reward components as TRL calls them: one function each, scored once, and what is logged of their spread."""

from typing import Any

import pytest

from tradeschool.errors import ParseError
from tradeschool.tasks.base import Example, Rewards, Task
from tradeschool.train.rewards import reward_functions


class UpDown(Task):
    """``up`` earns the number in the payload, ``down`` loses it, anything else cannot be read."""

    name = "updown"
    version = "1"
    weights = {"gain": 1.0, "style": 0.1, "unknown": 0.0}  # noqa: RUF012
    action_names = ("up", "down", "flat")

    def __init__(self) -> None:
        self.scored: list[tuple[str, str]] = []

    def parse(self, text: str) -> str:
        if text not in self.action_names:
            raise ParseError(f"'{text}' is not a direction")
        return text

    def rewards(self, example: Example, text: str, action: Any | None) -> Rewards:
        self.scored.append((example.key, text))
        sign = {"up": 1.0, "down": -1.0, "flat": 0.0, None: -2.0}[action]
        return {"gain": sign * example.payload["gain"], "style": 1.0, "unknown": None}

    def rows(self, split: Any) -> Any:
        raise NotImplementedError

    def eval_score(self, example: Example, action: Any | None) -> float | None:
        raise NotImplementedError

    def examples(self, split: Any) -> Any:
        raise NotImplementedError

    def messages(self, example: Example) -> Any:
        raise NotImplementedError

    def format_answer(self, action: Any, reasoning: str) -> str:
        raise NotImplementedError

    def sft_examples(self, split: Any, count: int, seed: int, pool: Any = None) -> Any:
        raise NotImplementedError


EXAMPLES = [Example(str(i), i, 0, payload={"gain": i}) for i in range(5)]


def columns(keys: str, **more: Any) -> dict[str, Any]:
    """TRL passes every dataset column as a list."""
    return {"example": [int(key) for key in keys], **more}


def functions(task: UpDown | None = None, **options: Any) -> list[Any]:
    return reward_functions(task or UpDown(), 2, EXAMPLES, **options)


def chat(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "assistant", "content": text}] for text in texts]


def test_there_is_one_function_per_component_in_the_order_of_the_weights() -> None:
    assert [function.__name__ for function in functions()] == ["gain", "style", "unknown"]


@pytest.mark.parametrize("form", [chat, lambda *texts: list(texts)], ids=["messages", "text"])
def test_every_completion_gets_its_own_score_or_none(form: Any) -> None:
    gain, style, unknown = functions()
    completions = form("up", "down", "up", "what?")
    given = columns("1122")
    assert gain(completions=completions, **given) == [1.0, -1.0, 2.0, -4.0]
    assert style(completions=completions, **given) == [1.0] * 4
    assert unknown(completions=completions, **given) == [None] * 4


def test_equal_answers_to_one_question_are_scored_once_for_all_components() -> None:
    task = UpDown()
    completions, given = chat("up", "up", "down", "up"), columns("1112")
    for function in functions(task):
        function(completions=completions, **given)
    assert task.scored == [("1", "up"), ("1", "down"), ("2", "up")]


def test_a_new_batch_is_scored_again() -> None:
    gain = functions()[0]
    assert gain(completions=chat("up", "up"), **columns("11")) == [1.0, 1.0]
    assert gain(completions=chat("down", "up"), **columns("33")) == [-3.0, 3.0]


def test_answer_shares_and_constant_components_are_logged() -> None:
    logged: list[tuple[str, float]] = []
    completions = chat("up", "down", "up", "up", "flat", "flat", "what?", "up")
    given = columns("11223344", log_metric=lambda name, value: logged.append((name, value)))
    for function in functions():
        function(completions=completions, **given)
    assert len(logged) == len(dict(logged)), "logged more than once a batch"
    assert dict(logged) == {
        "parse_errors": 1 / 8,
        "zero_variance_groups": 2 / 4,
        "answers/up": 4 / 8,
        "answers/down": 1 / 8,
        "answers/flat": 2 / 8,
        "constant_in_group/gain": 2 / 4,
        "constant_in_group/style": 1.0,
        "constant_in_group/unknown": 1.0,
    }


def test_columns_of_different_lengths_raise() -> None:
    gain = functions()[0]
    with pytest.raises(ValueError, match=r"zip\(\)"):
        gain(completions=chat("up", "up"), **columns("1"))


def test_the_part_of_an_answer_in_the_prompt_is_scored_too() -> None:
    """TRL's text of a completion lacks what the prompt has begun, and all that it takes for thinking."""
    task, texts = UpDown(), {7: "up", 8: "uup"}
    gain = functions(task, decode=lambda ids: texts[ids[0]])[0]
    assert gain(completions=chat("p", ""), completion_ids=[[7], [8]], **columns("12")) == [1.0, -4.0]
    assert task.scored == [("1", "up"), ("2", "uup")]
