"""Which answers are kept, by hand; the figures of a selection; and the data sets that are written and read."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tradeschool.errors import RecipeError
from tradeschool.train.answers import conversations, read_dataset, write_csv, write_dataset
from tradeschool.train.selection import (
    Answer,
    Asked,
    batch_figures,
    line,
    places_kept,
    read_asked,
    whole_figures,
)

TASK: Any = SimpleNamespace(action_names=("BUY", "SELL"))


def answers(*totals: float | None) -> list[Answer]:
    """Answers with these rewards; None stands for an unreadable one with the highest reward of all."""
    return [
        Answer(
            [], f"answer {place}", {"profit": total}, 99.0 if total is None else total, None if total is None else "BUY"
        )
        for place, total in enumerate(totals)
    ]


@pytest.mark.parametrize(
    ("totals", "least", "kept"),
    [
        ((0.1, 0.3, 0.2), None, [1]),
        ((0.3, 0.1, 0.3), None, [0]),  # the first of equal ones
        ((0.1, None, 0.2), None, [2]),
        ((None, None), None, []),
        ((-1.0, -2.0), None, [0]),
        ((0.1, 0.3), 0.3, [1]),
        ((0.1, 0.3), 0.31, []),
        ((0.2, 0.2), None, [0]),
    ],
)
def test_the_best_answer_is_kept(totals: Any, least: float | None, kept: list[int]) -> None:
    assert places_kept(answers(*totals), "best", None, least) == kept


@pytest.mark.parametrize(
    ("totals", "margin", "least", "kept"),
    [
        ((0.0, 0.5, 1.0), 0.5, None, [2]),  # the mean is .5
        ((0.0, 0.0, 0.0, 1.0), 0.75, None, [3]),  # the mean is .25, and the bound is met exactly
        ((0.0, 0.0, 0.0, 1.0), 0.76, None, []),
        ((0.0, 0.0, 1.0, 1.0), 0.5, None, [2, 3]),
        ((0.0, 0.0, 1.0, 1.0), 0.5, 1.5, []),
        ((0.2, 0.2), 0.1, None, []),
    ],
)
def test_answers_above_the_mean_are_kept(totals: Any, margin: float, least: float | None, kept: list[int]) -> None:
    assert places_kept(answers(*totals), "margin", margin, least) == kept


def test_of_equal_rewards_the_text_that_was_given_most_often_is_kept() -> None:
    own = answers(0.3, 0.1, 0.3, 0.3)
    assert places_kept(own, "best", None, None) == [0]
    assert places_kept([*own[:3], replace(own[3], text=own[2].text)], "best", None, None) == [2]


def test_unreadable_answers_count_in_the_mean_and_equal_texts_are_kept_once() -> None:
    own = answers(0.0, 1.0, 1.0)
    assert places_kept([own[0], own[1], replace(own[2], text=own[1].text)], "margin", 0.3, None) == [1]
    unread = replace(own[1], action=None, total=-7.0)
    assert places_kept([own[0], unread, own[2]], "margin", 2.0, None) == [0, 2]


# figures -----------------------------------------------------------------------------------------


def asked(key: str, totals: list[float], actions: list[str | None], places: list[int], batch: int = 0) -> Asked:
    rewards: list[Any] = [{"profit": total, "later": None} for total in totals]
    return Asked(key, batch, totals, rewards, actions, places, [{"completion": key} for _ in places])


TWO = [asked("a", [0.0, 1.0], ["SELL", "BUY"], [1]), asked("b", [0.5, 0.5], [None, "BUY"], [])]


def test_figures_of_a_batch() -> None:
    assert batch_figures(TASK, TWO) == {
        "reward": 0.5,
        "reward_spread": 0.25,
        "kept_reward": 1.0,
        "acceptance": 0.25,
        "questions_kept": 0.5,
        "zero_variance_groups": 0.5,
        "rewards/profit/mean": 0.5,
        "parse_errors": 0.25,
        "answers/BUY": 0.5,
        "answers/SELL": 0.25,
    }
    assert batch_figures(TASK, TWO[1:])["kept_reward"] is None


def test_figures_before_and_after() -> None:
    found = whole_figures(TASK, TWO)
    assert {key: found[key] for key in ("questions", "answers", "kept", "questions_kept", "reward_spread")} == {
        "questions": 2,
        "answers": 4,
        "kept": 1,
        "questions_kept": 1,
        "reward_spread": 0.25,
    }
    assert (found["before/reward"], found["after/reward"]) == (0.5, 1.0)
    assert (found["before/rewards/profit"], found["after/rewards/profit"]) == (0.5, 1.0)
    assert (found["before/answers/BUY"], found["after/answers/BUY"]) == (0.5, 1.0)
    assert (found["before/parse_errors"], found["after/parse_errors"]) == (0.25, 0.0)


def test_lines_that_are_not_whole_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    assert read_asked(path) == []
    whole = "".join(map(line, TWO))
    path.write_text(whole, encoding="utf-8")
    assert read_asked(path) == TWO
    for cut in (2, 20, len(line(TWO[1])) - 2):
        path.write_text(whole[:-cut], encoding="utf-8")
        assert read_asked(path) == TWO[:1]
    path.write_text('{"key": "other"}\n' + whole, encoding="utf-8")
    assert read_asked(path) == []


# data sets ---------------------------------------------------------------------------------------

ROW = {
    "messages": [{"role": "user", "content": 'Facts, with "quotes"\nand lines.'}],
    "completion": "<think>Up.</think>BUY",
}


def test_json_lines_and_parquet_are_read_alike(tmp_path: Path) -> None:
    from datasets import Dataset

    write_dataset(tmp_path / "rows.jsonl", [ROW, ROW])
    assert read_dataset(tmp_path / "rows.jsonl") == [ROW, ROW]
    Dataset.from_list([ROW, ROW]).to_parquet(tmp_path / "rows.parquet")
    assert read_dataset(tmp_path / "rows.parquet") == [ROW, ROW]


def test_a_csv_of_each_ticker_is_read_again(tmp_path: Path) -> None:
    system = {"role": "system", "content": "Answer BUY or SELL."}
    rows: list[Any] = [
        {**ROW, "ticker": "BRK/B", "date": "2020-01-02", "reward": 0.5},
        {**ROW, "messages": [system, *ROW["messages"]], "ticker": "AAPL", "date": "2020-01-03", "reward": -1.0},
    ]
    paths = write_csv(tmp_path, rows)
    assert [path.name for path in paths] == ["BRK-B_sft_training_data.csv", "AAPL_sft_training_data.csv"]
    for path, row in zip(paths, rows, strict=True):
        (found,) = read_dataset(path)
        assert {key: found[key] for key in ("messages", "completion", "date")} == {
            key: row[key] for key in ("messages", "completion", "date")
        }
        assert float(found["reward"]) == row["reward"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("rows.jsonl", "{", "cannot be read"),
        ("rows.jsonl", json.dumps({"question": "?", "answer": "BUY"}), "row 1 has the columns question, answer"),
        ("rows.jsonl", json.dumps({"prompt": "?", "completion": None}), "row 1 .*completion, the answer"),
        ("rows.jsonl", json.dumps({"prompt": [{"role": "user"}], "completion": "BUY"}), "row 1"),
        ("rows.jsonl", "[1]", "row 1"),
        ("rows.csv", "prompt,answer\n?,BUY\n", "row 1 has the columns prompt, answer"),
        ("rows.parquet", "no parquet", "cannot be read"),
        ("rows.txt", "", r"ends in \.jsonl, \.csv, \.parquet"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=f"{name}.*{words}"):
        read_dataset(tmp_path / name)


def test_only_the_completion_bears_loss_unless_the_row_says_otherwise() -> None:
    history = [
        {"role": "user", "content": "0"},
        {"role": "assistant", "content": "HOLD"},
        {"role": "user", "content": "1"},
    ]
    row: dict[str, Any] = {"messages": history, "completion": "BUY"}
    plain, marked = conversations([row, {**row, "learned": [True]}])
    assert plain.learned == [False, True]
    assert marked.learned == [True, True]
    assert plain.messages[-1] == {"role": "assistant", "content": "BUY"}
