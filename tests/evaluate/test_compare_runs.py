"""Runs side by side: the same evaluation, or a refusal that says why."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import evaluations as fake
import numpy as np
import pytest
from rich.console import Console

from tradeschool.errors import RunError
from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.compare_runs import compare_runs, read_runs
from tradeschool.evaluate.comparison import Comparison
from tradeschool.manifest import Manifest


def run(folder: Path, comparison: Comparison, stage: str = "") -> Path:
    (folder / stage).mkdir(parents=True)
    (folder / stage / "comparison.json").write_text(comparison.to_json(), encoding="utf-8")
    return folder


def evaluated(market: int = 0, policies: int = 0) -> Comparison:
    questions = fake.evaluation_set(dates=30, tickers=3, seed=market)
    return compare(questions, fake.field(questions, policies))


def test_rows_stand_side_by_side_and_common_ones_once(tmp_path: Path) -> None:
    folders = [run(tmp_path / "a", evaluated()), run(tmp_path / "b", evaluated(policies=50), "3-evaluate")]
    console = Console(record=True, width=120)
    runs = compare_runs(folders, console)
    assert [name for name, row in runs.rows if row.policy == "grpo"] == ["a", "b"]
    assert [name for name, row in runs.rows if row.policy == "hold"] == ["all"]
    assert runs.warnings == []
    assert "grpo" in console.export_text()


def test_the_page_has_one_table_the_differences_and_the_plots(tmp_path: Path) -> None:
    folders = [run(tmp_path / "a", evaluated()), run(tmp_path / "b", evaluated(policies=50), "3-evaluate")]
    recipe = {
        "seed": 7,
        "model": {"base": "/models/large", "lora": {"r": 8}},
        "stages": [{"stage": "sft", "name": "first"}, {"stage": "evaluate", "name": "evaluate"}],
    }
    took = [
        {"name": "first", "seconds": 1200.0, "peak_memory_bytes": 2 * 10**9},
        {"name": "evaluate", "seconds": 5.0, "peak_memory_bytes": 10**9},
    ]
    Manifest(recipe, "", "", "", "", {}, versions={}, source={}, machine={}, stages=took).write(folders[1])
    (folders[1] / "1-first").mkdir()
    losses = "".join(json.dumps({"step": step, "loss": 1.0 / step}) + "\n" for step in (1, 2, 3))
    (folders[1] / "1-first" / "metrics.jsonl").write_text(losses, encoding="utf-8")
    (folders[1] / "3-evaluate" / "figures.json").write_text('[["Fans", "<svg></svg>"]]', encoding="utf-8")
    console = Console(record=True, width=200)
    compare_runs(folders, console)
    page = (folders[0] / "compare.html").read_text(encoding="utf-8")
    text = " ".join(re.sub("<.*?>", " ", page).split())
    assert "b large, LoRA rank 8 first 7 1,200 s 2.00 GB" in text
    assert "a - - - - -" in text  # a folder that holds a comparison alone
    assert "grpo (a) trained model" in text
    assert "grpo (b) trained model" in text
    assert "hold baseline" in text  # equal in both
    for heading in ("All figures", "Paired differences", "Results", "Plots of b", "Training"):
        assert f"<h2>{heading}</h2>" in page
    labels = re.findall('aria-label="(.*?)"', page)
    assert {"Capital after costs", "Training curves of all stages of b"} <= set(labels)
    assert "Page: " in console.export_text()
    compare_runs(folders, Console(quiet=True), tmp_path / "mine.html")
    assert (tmp_path / "mine.html").read_text(encoding="utf-8") == page


def test_models_of_two_runs_are_paired_by_date(tmp_path: Path) -> None:
    """The interval of a difference is that of the paired daily differences, as within one run."""
    questions = fake.evaluation_set(dates=120, tickers=3)
    ours, theirs = fake.field(questions, 0), fake.field(questions, 0, grpo=0.8)
    folders = [run(tmp_path / name, compare(questions, field)) for name, field in (("a", ours), ("b", theirs))]
    console = Console(record=True, width=120)
    runs = compare_runs(folders, console)
    ((name, what, gaps),) = runs.gaps  # the others are equal
    assert (name, what) == ("b", "grpo")
    values = [
        np.nanmean(next(p for p in field if p.policy == "grpo").value("score"), axis=1) for field in (theirs, ours)
    ]
    change = values[0] - values[1]
    assert gaps["score"].interval.value == pytest.approx(change.mean())
    assert gaps["score"].improved
    error = change.std(ddof=1) / np.sqrt(120)
    assert gaps["score"].interval.high - gaps["score"].interval.low == pytest.approx(2 * 1.98 * error, rel=0.35)
    alone = [one.row("grpo").metrics["score"] for one in runs.comparisons]
    assert gaps["share"].interval.value == pytest.approx(
        runs.comparisons[1].row("grpo").metrics["share"].value - runs.comparisons[0].row("grpo").metrics["share"].value
    )
    equity = [np.array([1.0, *one.row("grpo").equity_T]) for one in runs.comparisons]
    returns = [(one[1:] / one[:-1] - 1).mean() for one in equity]
    assert gaps["mean_return"].interval.value == pytest.approx(returns[1] - returns[0])
    assert alone[0].value < alone[1].value
    text = console.export_text()
    assert "Paired differences from a" in text
    assert "--seeds" in text


def test_the_last_models_are_compared_whatever_their_names(tmp_path: Path) -> None:
    questions = fake.evaluation_set(dates=30, tickers=3)
    field = fake.field(questions)
    short = [p for p in field if p.policy != "grpo"]
    folders = [run(tmp_path / name, compare(questions, made)) for name, made in (("a", short), ("b", field))]
    assert [what for _, what, _ in read_runs(folders).gaps] == ["grpo minus sft"]


def test_another_market_is_refused_with_the_keys_that_differ_and_the_cure(tmp_path: Path) -> None:
    recipe = {
        "market": {"seed": 0},
        "split": {},
        "task": {"name": "rating"},
        "stages": [
            {"stage": "sft", "name": "sft", "examples": 5},
            {"stage": "evaluate", "name": "evaluate", "seed": 0},
        ],
    }
    folders = [run(tmp_path / "a", evaluated()), run(tmp_path / "b", evaluated(market=1))]
    for folder, seed, examples in zip(folders, (0, 1), (5, 6), strict=True):
        stages = [{**recipe["stages"][0], "examples": examples}, {**recipe["stages"][1], "seed": seed}]  # type: ignore[index]
        changed = {**recipe, "market": {"seed": seed}, "stages": stages}
        Manifest(changed, "", "a market", "", "1", {}, versions={}, source={}, machine={}).write(folder)
    with pytest.raises(RunError, match="market data") as raised:
        read_runs(folders)
    text = str(raised.value)
    assert "market.seed: 0 -> 1" in text
    assert "stages.evaluate.seed: 0 -> 1" in text
    assert "examples" not in text
    assert text.endswith("such as --set market.seed=0")


def test_another_evaluation_is_refused_with_the_reason(tmp_path: Path) -> None:
    first, other = run(tmp_path / "a", evaluated()), run(tmp_path / "b", evaluated(market=1))
    with pytest.raises(RunError, match="market data"):
        read_runs([first, other])
    facts = evaluated().evaluation
    later = evaluated().model_copy(update={"evaluation": facts.model_copy(update={"dates": facts.dates[1:]})})
    with pytest.raises(RunError, match="dates 2020-01-01 to 2020-01-30"):
        read_runs([first, run(tmp_path / "c", later)])


def evaluated_on(tickers: list[int], score: str = "score") -> Comparison:
    """An evaluation in which only these columns were asked."""
    whole = fake.evaluation_set(dates=30, tickers=3)
    asked = np.zeros(whole.shape, bool)
    asked[:, tickers] = True
    answers = []
    for p in fake.field(whole):
        assert p.position_TQ is not None
        cut: dict[str, Any] = {name: np.where(asked, value, np.nan) for name, value in p.values.items()}
        answers.append(
            replace(p, values=cut, read_TQ=asked, position_TQ=np.where(asked, p.position_TQ, np.nan), action_TQ=None)
        )
    return compare(replace(whole, asked_TQ=asked, score=score), answers)


def test_as_many_questions_on_other_tickers_are_another_evaluation(tmp_path: Path) -> None:
    first, other = evaluated_on([0, 1]), evaluated_on([1, 2])
    assert first.evaluation.model_copy(update={"questions_hash": other.evaluation.questions_hash}) == other.evaluation
    assert len(first.evaluation.questions_hash) == 16
    assert evaluated_on([1, 0]).evaluation.questions_hash == first.evaluation.questions_hash
    with pytest.raises(RunError, match=r"questions asked .* evaluate\.seed draws the tickers"):
        read_runs([run(tmp_path / "a", first), run(tmp_path / "b", other)])


def test_another_score_is_another_evaluation(tmp_path: Path) -> None:
    first, other = evaluated_on([0], "profit, task rating 1.0.0"), evaluated_on([0], "profit, task rating 1.1.0")
    with pytest.raises(
        RunError, match=r"score profit, task rating 1\.0\.0 against .* 1\.1\.0\. Give both the same task"
    ):
        read_runs([run(tmp_path / "a", first), run(tmp_path / "b", other)])


@pytest.mark.parametrize("key", ["questions_hash", "score"])
def test_a_file_of_another_version_is_refused_by_what_it_lacks(tmp_path: Path, key: str) -> None:
    folders = [run(tmp_path / "a", evaluated()), run(tmp_path / "b", evaluated())]
    path = folders[1] / "comparison.json"
    plain = json.loads(path.read_text(encoding="utf-8"))
    value = plain["evaluation"].pop(key)
    path.write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(RunError, match=rf"evaluation\.{key} is missing\)"):
        read_runs(folders)
    plain["evaluation"] |= {key: value, "colour": "red"}
    path.write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(RunError, match=r"evaluation\.colour is unknown\)"):
        read_runs(folders)


def test_folders_without_one_comparison_are_refused(tmp_path: Path) -> None:
    whole = run(tmp_path / "a", evaluated())
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="Resume the run first"):
        read_runs([whole, tmp_path / "empty"])
    with pytest.raises(RunError, match="no such run folder"):
        read_runs([whole, tmp_path / "gone"])
    with pytest.raises(RunError, match="given twice"):
        read_runs([whole, whole])
    with pytest.raises(RunError, match="at least two"):
        read_runs([whole])
    (tmp_path / "a" / "comparison.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match="not a comparison"):
        read_runs([whole, run(tmp_path / "b", evaluated())])


def test_of_several_evaluations_the_last_counts(tmp_path: Path) -> None:
    folder = run(tmp_path / "many", evaluated(), "2-first")
    run(folder, evaluated(policies=50), "10-last")
    run(folder / "earlier", evaluated(policies=90), "11-last-1")
    found = read_runs([run(tmp_path / "a", evaluated()), folder]).comparisons
    assert [one.to_json() for one in found] == [evaluated().to_json(), evaluated(policies=50).to_json()]
