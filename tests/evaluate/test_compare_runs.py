"""Runs side by side: the same exam or a refusal that says why."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import exams
import numpy as np
import pytest
from rich.console import Console

from tradeschool.errors import RunError
from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.compare_runs import compare_runs, read_runs
from tradeschool.evaluate.result import Comparison


def run(folder: Path, comparison: Comparison, stage: str = "") -> Path:
    (folder / stage).mkdir(parents=True)
    (folder / stage / "comparison.json").write_text(comparison.to_json(), encoding="utf-8")
    return folder


def sat(market: int = 0, policies: int = 0, seed: int = 0) -> Comparison:
    exam = exams.exam(dates=30, tickers=3, seed=market)
    return compare(exam, exams.field(exam, policies), seed=seed, draws=150)


def test_rows_stand_side_by_side_and_common_ones_once(tmp_path: Path) -> None:
    folders = [run(tmp_path / "a", sat()), run(tmp_path / "b", sat(policies=50), "3-evaluate")]
    console = Console(record=True, width=120)
    runs = compare_runs(folders, console)
    assert [name for name, row in runs.rows if row.policy == "grpo"] == ["a", "b"]
    assert [name for name, row in runs.rows if row.policy == "hold"] == ["all"]
    assert runs.warnings == []
    assert "grpo" in console.export_text()


def test_other_seeds_are_warned_of(tmp_path: Path) -> None:
    runs = read_runs([run(tmp_path / "a", sat()), run(tmp_path / "b", sat(seed=1))])
    assert "a: 0, b: 1" in runs.warnings[0]


def test_another_exam_is_refused_with_the_reason(tmp_path: Path) -> None:
    first, other = run(tmp_path / "a", sat()), run(tmp_path / "b", sat(market=1))
    with pytest.raises(RunError, match="market data"):
        read_runs([first, other])
    facts = sat().exam
    later = sat().model_copy(update={"exam": facts.model_copy(update={"dates": facts.dates[1:]})})
    with pytest.raises(RunError, match="exam dates 2020-01-01 to 2020-01-30"):
        read_runs([first, run(tmp_path / "c", later)])


def sat_by(tickers: list[int], score: str = "score") -> Comparison:
    """An exam on which only these columns were asked."""
    exam = replace(exams.exam(dates=30, tickers=3), score=score)
    asked = np.zeros(exam.shape, bool)
    asked[:, tickers] = True
    names = ("rating_TN", "score_TN", "decision_TN", "correct_TN", "expected_TN")
    answers = []
    for a in exams.field(exam):
        values = {name: getattr(a, name) for name in names}
        cut: dict[str, Any] = {name: np.where(asked, v, np.nan) for name, v in values.items() if v is not None}
        answers.append(replace(a, asked_TN=asked, **cut))
    return compare(exam, answers, seed=0, draws=150)


def test_as_many_questions_on_other_tickers_are_another_exam(tmp_path: Path) -> None:
    first, other = sat_by([0, 1]), sat_by([1, 2])
    assert first.exam.model_copy(update={"questions_hash": other.exam.questions_hash}) == other.exam
    assert len(first.exam.questions_hash) == 16
    assert sat_by([1, 0]).exam.questions_hash == first.exam.questions_hash
    with pytest.raises(RunError, match=r"questions asked .* The seed draws the tickers.*evaluate\.tickers"):
        read_runs([run(tmp_path / "a", first), run(tmp_path / "b", other)])


def test_another_score_is_another_exam(tmp_path: Path) -> None:
    first, other = sat_by([0], "profit, task rating 1.0.0"), sat_by([0], "profit, task rating 1.1.0")
    with pytest.raises(
        RunError, match=r"score profit, task rating 1\.0\.0 against .* 1\.1\.0\. Give both the same task"
    ):
        read_runs([run(tmp_path / "a", first), run(tmp_path / "b", other)])


@pytest.mark.parametrize("key", ["questions_hash", "score"])
def test_a_file_of_another_version_is_refused_by_what_it_lacks(tmp_path: Path, key: str) -> None:
    folders = [run(tmp_path / "a", sat()), run(tmp_path / "b", sat())]
    path = folders[1] / "comparison.json"
    plain = json.loads(path.read_text(encoding="utf-8"))
    value = plain["exam"].pop(key)
    path.write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(RunError, match=rf"exam\.{key} is missing, as in a file of an older version\).*anew"):
        read_runs(folders)
    plain["exam"] |= {key: value, "colour": "red"}
    path.write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(RunError, match=r"exam\.colour is unknown, as in a file of another version"):
        read_runs(folders)


def test_folders_without_one_comparison_are_refused(tmp_path: Path) -> None:
    whole = run(tmp_path / "a", sat())
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="Resume it first"):
        read_runs([whole, tmp_path / "empty"])
    with pytest.raises(RunError, match="no such run folder"):
        read_runs([whole, tmp_path / "gone"])
    with pytest.raises(RunError, match="given twice"):
        read_runs([whole, whole])
    with pytest.raises(RunError, match="at least two"):
        read_runs([whole])
    run(tmp_path / "many", sat(), "1")
    run(tmp_path / "many" / "sub", sat(), "2")
    with pytest.raises(RunError, match="several comparisons"):
        read_runs([whole, tmp_path / "many"])
    (tmp_path / "a" / "comparison.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match="not a comparison"):
        read_runs([whole, tmp_path / "many" / "1"])
