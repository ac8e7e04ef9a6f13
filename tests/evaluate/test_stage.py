"""The exam: who is asked what, what is kept after an interruption, and the report from what lies on the disk."""

import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tradeschool import pipeline
from tradeschool.errors import RecipeError, RunError
from tradeschool.evaluate import stage
from tradeschool.recipe import Recipe, read
from tradeschool.tasks.base import Example
from tradeschool.trace import Trace, read_traces, write_traces

DEMO = Path(__file__).parents[2] / "recipes" / "demo.yaml"
SETS = (
    "market={source: practice, tickers: 5, days: 300, edge: 0.3}",
    "split={train: 0.7, validation: 0.1, test: 0.2, warmup: 30}",
    "task={name: rating, facts: [rsi], horizons: [1], weights: {profit: 1.0, risk: 1.0, format: 0.05}}",
    "model={base: tiny, tiny: {vocabulary: 300, hidden_size: 16, layers: 1, heads: 2, intermediate_size: 32}}",
)
EXAM = {"stage": "evaluate", "name": "evaluate", "tickers": 2, "max_new_tokens": 3, "draws": 200}


def recipe(*sets: str, **exam: Any) -> Recipe:
    return read(DEMO, [*SETS, *sets, f"stages=[{json.dumps({**EXAM, **exam})}]"])


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=250)


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the exam alone: rivals and the untrained model."""
    return pipeline.run(recipe(), tmp_path_factory.mktemp("runs") / "run", Console(quiet=True))


@pytest.fixture
def run(examined: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(examined, tmp_path / "run"))


def comparison(run: Path) -> Any:
    return json.loads((run / "1-evaluate" / "comparison.json").read_text(encoding="utf-8"))


def unfinish(run: Path) -> Path:
    """As if the run had been cut off behind the asking; the traces of the model."""
    (run / "1-evaluate" / "done.json").unlink()
    (run / "1-evaluate" / "comparison.json").unlink()
    (run / "report.html").unlink()
    return run / "1-evaluate" / "traces-untrained.jsonl"


# asking ------------------------------------------------------------------------------------------


def test_every_policy_answers_the_same_questions_of_the_test_dates(examined: Path) -> None:
    found = comparison(examined)
    names = [row["policy"] for row in found["rows"]]
    expected = {
        "hold",
        "buy and hold",
        "best constant",
        "random",
        "rsi rules",
        "momentum",
        "untrained",
        "best possible",
    }
    assert set(names) == expected
    kinds = {row["policy"]: row["kind"] for row in found["rows"]}
    assert (kinds["hold"], kinds["untrained"], kinds["best possible"]) == ("naive", "untrained", "best")
    made = recipe()
    task = pipeline.make_task(made, pipeline.load_panel(made, Console(quiet=True)))
    traces = list(read_traces(examined / "1-evaluate" / "traces-untrained.jsonl"))
    asked = Counter(trace.key.split("@")[0] for trace in traces)
    dates = {trace.key.split("@")[1] for trace in traces}
    assert len(asked) == 2
    assert dates == {example.key.split("@")[1] for example in task.examples("test")}
    assert set(asked.values()) == {len(dates)}
    assert all(trace.versions["data"] for trace in traces)


def questions(seed: int, tickers: int | None) -> list[Example]:
    pool = [Example(f"T{n}@{t}", t, n) for t in range(4) for n in range(10)]
    task: Any = SimpleNamespace(examples=lambda split: pool)
    context: Any = SimpleNamespace(task=task, seed=seed)
    return stage._questions(stage.Config(stage="evaluate", tickers=tickers), context)


def test_the_draw_of_tickers_is_fixed_by_the_seed_and_takes_all_their_dates() -> None:
    drawn = questions(0, 3)
    assert drawn == questions(0, 3)
    assert Counter(example.t for example in drawn) == dict.fromkeys(range(4), 3)
    assert len({example.n for example in drawn}) == 3
    assert len({frozenset(example.n for example in questions(seed, 3)) for seed in range(8)}) > 4
    assert [example.t for example in drawn] == sorted(example.t for example in drawn)
    for all_of_them in (None, 10, 50):
        assert len(questions(0, all_of_them)) == 40


def test_a_split_without_a_question_is_told_in_plain_words() -> None:
    task: Any = SimpleNamespace(examples=lambda split: [])
    context: Any = SimpleNamespace(task=task, seed=0)
    with pytest.raises(RecipeError, match="validation split has no question"):
        stage._questions(stage.Config(stage="evaluate", split="validation"), context)


def test_a_misspelt_model_is_named_with_the_right_ones() -> None:
    context: Any = SimpleNamespace(models={"sft": Path("a"), "grpo": Path("b")})
    config = stage.Config(stage="evaluate", models=["gpro"], untrained=False)
    with pytest.raises(RecipeError, match=r"'gpro' is no training stage.*Did you mean 'grpo'\?.*sft, grpo\."):
        list(stage._models(config, context, []))


@pytest.mark.parametrize(
    ("chosen", "expected"), [(None, ["sft", "grpo"]), (["grpo"], ["grpo"]), ([], [])], ids=["all", "one", "none"]
)
def test_the_models_of_a_run_are_asked_as_the_recipe_says(
    chosen: list[str] | None, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(stage, "_asked", lambda name, kind, source, *rest: asked.append((name, source)))
    context: Any = SimpleNamespace(models={"sft": Path("a"), "grpo": Path("b")})
    config = stage.Config(stage="evaluate", models=chosen, untrained=False)
    assert [name for name, *_ in stage._models(config, context, [])] == expected
    assert asked == [(name, {"sft": "a", "grpo": "b"}[name]) for name in expected]


def test_the_best_constant_is_the_best_of_the_training_dates() -> None:
    scores: dict[int, list[float | None]] = {
        -2: [1.0, 1.0],
        -1: [2.0, 3.0],
        0: [0.0, 0.0],
        1: [None, 2.0],
        2: [9.0, -9.0],
    }
    task: Any = SimpleNamespace(
        examples=lambda split: [0, 1] if split == "train" else [],
        measured=lambda example, rating: scores[rating][example],
    )
    assert stage._best_constant(task) == -1


def test_the_best_possible_answers_every_question_with_its_best_rating(examined: Path) -> None:
    made = recipe()
    task: Any = pipeline.make_task(made, pipeline.load_panel(made, Console(quiet=True)))
    examples = task.examples("test")[::7]
    replies = stage.BestPossible(task, examples).reply([task.prompt(example) for example in examples])
    for example, reply in zip(examples, replies, strict=True):
        worth = {rating: task.expected(example, rating) for rating in range(-2, 3)}
        assert worth[task.parse(reply)] == max(worth.values())
    assert len(set(replies)) > 2
    share = {row["policy"]: row["metrics"]["share"]["value"] for row in comparison(examined)["rows"]}
    assert share["best possible"] == pytest.approx(1)
    assert all(value < 1 for name, value in share.items() if name != "best possible")


# interrupted -------------------------------------------------------------------------------------


def test_a_model_whose_traces_are_complete_is_not_asked_again(
    run: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = comparison(run)
    path = unfinish(run)
    bold = [dataclasses.replace(trace, action="STRONG_BUY", stop="answered") for trace in read_traces(path)]
    write_traces(path, bold)
    monkeypatch.setattr("tradeschool.models.load.load", lambda *given, **options: pytest.fail("asked again"))
    pipeline.resume(run, None, console)
    after = {row["policy"]: row for row in comparison(run)["rows"]}
    was = {row["policy"]: row for row in before["rows"]}
    # The traces on the disk are what is compared: they were changed, and the table shows it.
    assert after["untrained"] != was["untrained"]
    assert after["hold"]["metrics"]["score"] == was["hold"]["metrics"]["score"]


@pytest.mark.parametrize("changed", [0, -1], ids=["first", "last"])
def test_traces_of_another_version_are_asked_for_anew(
    changed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {"tradeschool": "0.1.0", "task": "1.0.0", "data": "abc"}
    examples = [Example(f"T{n}@0", 0, n) for n in range(3)]
    kept = [dataclasses.replace(trace(n, 1.0), key=f"T{n}@0", versions=versions) for n in range(3)]

    def load(*given: object) -> None:
        raise InterruptedError("asked again")

    monkeypatch.setattr("tradeschool.models.load.load", load)
    context: Any = SimpleNamespace(folder=tmp_path, versions=versions, model=None)

    def ask() -> list[Trace]:
        return stage._asked("grpo", "trained", "model", stage.Config(stage="evaluate"), context, examples)

    write_traces(tmp_path / "traces-grpo.jsonl", kept)
    assert ask() == kept
    kept[changed] = dataclasses.replace(kept[changed], versions={**versions, "task": "1.1.0"})
    write_traces(tmp_path / "traces-grpo.jsonl", kept)
    with pytest.raises(InterruptedError, match="asked again"):
        ask()


@pytest.mark.parametrize("kept", [0, 5], ids=["none", "some"])
def test_a_model_whose_traces_are_not_complete_is_asked_again(kept: int, run: Path, console: Console) -> None:
    before = comparison(run)
    path = unfinish(run)
    traces = list(read_traces(path))
    if kept:
        write_traces(path, traces[:kept])
    else:
        path.unlink()
    pipeline.resume(run, None, console)
    assert list(read_traces(path)) == traces
    assert comparison(run) == before
    assert not list(run.rglob("*.part"))


# the report --------------------------------------------------------------------------------------


def test_the_report_is_rebuilt_from_what_is_in_the_run_folder(run: Path, console: Console) -> None:
    (run / "report.html").unlink()
    stage.rebuild_report(run, console)
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "tradeschool: demo" in report
    said = console.export_text()
    for row in comparison(run)["rows"]:
        assert row["policy"] in said
        assert row["policy"] in report


def test_a_run_without_a_finished_exam_is_told_how_to_go_on(run: Path, console: Console) -> None:
    unfinish(run)
    with pytest.raises(RunError, match=r"no evaluate stage has finished.*tradeschool resume "):
        stage.rebuild_report(run, console)


def test_the_latest_of_several_exams_is_reported(run: Path) -> None:
    for name in ("2-validation", "10-final"):
        shutil.copytree(run / "1-evaluate", run / name)
    assert stage._evaluated(run) == run / "10-final"


def test_training_of_every_stage_is_reported_in_order(run: Path) -> None:
    for number, name in ((10, "grpo"), (2, "sft"), (3, "grpo-2")):
        folder = run / f"{number}-{name}"
        folder.mkdir()
        (folder / "metrics.jsonl").write_text(f'{{"step": {number}, "loss": 1.0}}\n', encoding="utf-8")
    training = stage._training(run)
    assert list(training.metrics) == ["sft", "grpo-2", "grpo"]
    assert training.metrics["grpo"] == [{"step": 10, "loss": 1.0}]


def trace(n: int, correct: float | None) -> Trace:
    metrics = {} if correct is None else {"correct": correct}
    return Trace(f"T@{n}", "rating", "grpo", [], {"profit": 0.0}, "answered", metrics=metrics)


def fake_comparison(*trained: str) -> Any:
    kinds = {"hold": "naive", "untrained": "untrained", **dict.fromkeys(trained, "trained")}
    return SimpleNamespace(rows=[SimpleNamespace(policy=name, kind=kind) for name, kind in kinds.items()])


def test_samples_are_of_the_last_trained_policy_right_and_wrong_over_the_whole_exam(tmp_path: Path) -> None:
    write_traces(tmp_path / "traces-sft.jsonl", [trace(-1, 1.0)])
    write_traces(
        tmp_path / "traces-grpo.jsonl", [trace(n, None if n % 10 == 0 else float(n % 3 == 0)) for n in range(300)]
    )
    shown = stage._samples(tmp_path, fake_comparison("sft", "grpo"))
    marks = [trace.metrics["correct"] for trace in shown]
    assert marks == [1.0] * 6 + [0.0] * 6
    for half in (shown[:6], shown[6:]):
        places = [int(trace.key[2:]) for trace in half]
        assert len(set(places)) == 6
        assert places[0] < 60
        assert places[-1] > 200


def test_samples_of_a_dozen_answers_reach_to_the_last_one(tmp_path: Path) -> None:
    write_traces(tmp_path / "traces-grpo.jsonl", [trace(n, 1.0) for n in range(11)])
    keys = [trace.key for trace in stage._samples(tmp_path, fake_comparison("grpo"))]
    assert keys == [f"T@{n}" for n in (0, 2, 4, 6, 8, 10)]


@pytest.mark.parametrize("right", [0, 1, 4])
def test_samples_of_few_right_answers_are_all_of_them(right: int, tmp_path: Path) -> None:
    write_traces(tmp_path / "traces-grpo.jsonl", [trace(n, float(n < right)) for n in range(40)])
    marks = [trace.metrics["correct"] for trace in stage._samples(tmp_path, fake_comparison("grpo"))]
    assert marks == [1.0] * right + [0.0] * 6


def test_without_a_trained_policy_there_are_no_samples(tmp_path: Path) -> None:
    assert stage._samples(tmp_path, fake_comparison()) == []
