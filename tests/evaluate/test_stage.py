"""The evaluate stage: the questions, what is kept after an interruption, what is refused before training."""

import dataclasses
import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from markets import Says, market, task_of
from pydantic import BaseModel
from rich.console import Console

from tradeschool import pipeline
from tradeschool.chat import Message, StepResult
from tradeschool.config.recipe import Recipe, read
from tradeschool.errors import RecipeError, RunError
from tradeschool.evaluate import report, stage
from tradeschool.evaluate.evaluation_set import evaluation_set_of
from tradeschool.manifest import source_state
from tradeschool.models.load import ModelConfig
from tradeschool.policies import rules
from tradeschool.policies.base import Answerer
from tradeschool.rollout import rollout
from tradeschool.tasks.base import Example, Metric, Task
from tradeschool.tasks.rating import RatingTask
from tradeschool.trace import Trace, read_traces, write_traces
from tradeschool.train.stage import CheckContext, base_row

DEMO = Path(__file__).parents[2] / "recipes" / "demo.yaml"
SETS = (
    "market={source: synthetic, tickers: 5, days: 300, edge: 0.3}",
    "split={train: 0.7, validation: 0.1, test: 0.2, warmup: 30}",
    "task={name: rating, facts: [rsi], horizons: [1], weights: {profit: 1.0, risk: 1.0, format: 0.05}}",
    "model={base: tiny, tiny: {vocabulary: 300, hidden_size: 16, layers: 1, heads: 2, intermediate_size: 32}}",
)
STAGE = {"stage": "evaluate", "name": "evaluate", "tickers": 2, "max_new_tokens": 3}


def recipe(*sets: str, **config: Any) -> Recipe:
    return read(DEMO, [*SETS, *sets, f"stages=[{json.dumps({**STAGE, **config})}]"])


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=250)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the evaluation alone: baselines and the untrained model."""
    return pipeline.run(recipe(), tmp_path_factory.mktemp("runs") / "run", Console(quiet=True))


@pytest.fixture
def run(evaluated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(evaluated, tmp_path / "run"))


def comparison(run: Path) -> Any:
    return json.loads((run / "1-evaluate" / "comparison.json").read_text(encoding="utf-8"))


def unfinish(run: Path) -> Path:
    """Undo the comparison, as if the run had stopped after the answers; returns the model's traces."""
    (run / "1-evaluate" / "done.json").unlink()
    (run / "1-evaluate" / "comparison.json").unlink()
    (run / "report.html").unlink()
    return run / "1-evaluate" / "traces-base.jsonl"


# asking ------------------------------------------------------------------------------------------


def test_every_policy_answers_the_same_questions_of_the_test_dates(evaluated: Path) -> None:
    found = comparison(evaluated)
    names = [row["policy"] for row in found["rows"]]
    expected = {
        "hold",
        "buy and hold",
        "best constant",
        "random",
        "rsi rules",
        "momentum 10d",
        "base model (tiny)",
        "best possible",
    }
    assert set(names) == expected
    kinds = {row["policy"]: row["kind"] for row in found["rows"]}
    assert (kinds["hold"], kinds["base model (tiny)"], kinds["best possible"]) == ("naive", "base", "best")
    made = recipe()
    task = pipeline.make_task(made, pipeline.load_panel(made, Console(quiet=True)))
    traces = list(read_traces(evaluated / "1-evaluate" / "traces-base.jsonl"))
    asked = Counter(trace.key.split("@")[0] for trace in traces)
    dates = {trace.key.split("@")[1] for trace in traces}
    assert len(asked) == 2
    assert dates == {example.key.split("@")[1] for example in task.examples("test")}
    assert set(asked.values()) == {len(dates)}
    assert all(trace.versions["data"] for trace in traces)
    source = source_state()
    assert all(trace.versions.get("commit", "").partition("-")[0] == source.get("commit", "") for trace in traces)


def test_a_model_that_writes_nonsense_decides_where_decoding_is_constrained(tmp_path: Path, console: Console) -> None:
    done = pipeline.run(recipe(constrained=True, few_shot=1, tickers=1), tmp_path / "run", console)
    traces = list(read_traces(done / "1-evaluate" / "traces-base.jsonl"))
    assert all(trace.error is None and trace.action for trace in traces)
    assert all(trace.metrics["constrained"] == 1 for trace in traces)
    assert [message["role"] for message in traces[0].messages] == ["user", "assistant", "user", "assistant"]
    said = f"{len(traces)} of {len(traces)} answers were unreadable before constrained decoding"
    assert said in console.export_text()


def questions(seed: int, tickers: int | None) -> list[Example]:
    pool = [Example(f"T{n}@{t}", t, n) for t in range(4) for n in range(10)]
    task: Any = SimpleNamespace(examples=lambda split: pool)
    return stage._questions(stage.Config(stage="evaluate", tickers=tickers, seed=seed), task)


def test_the_draw_of_tickers_is_fixed_by_the_seed_and_takes_all_their_dates() -> None:
    drawn = questions(0, 3)
    assert drawn == questions(0, 3)
    assert Counter(example.t for example in drawn) == dict.fromkeys(range(4), 3)
    assert len({example.n for example in drawn}) == 3
    assert len({frozenset(example.n for example in questions(seed, 3)) for seed in range(8)}) > 4
    assert [example.t for example in drawn] == sorted(example.t for example in drawn)
    for all_of_them in (None, 10, 50):
        assert len(questions(0, all_of_them)) == 40


# refused before training -------------------------------------------------------------------------


def check(task: RatingTask, trained: tuple[str, ...] = ("sft", "grpo"), **config: Any) -> None:
    context = CheckContext(task, task.panel, task.split, ModelConfig(), 0, models=trained)
    stage.check(stage.Config(stage="evaluate", name="evaluate", **config), context)


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market())


def test_answers_longer_than_the_model_are_refused(task: RatingTask) -> None:
    with pytest.raises(RecipeError, match=r"stages\.evaluate\.max_new_tokens is 1,024, .* has 1,024 positions"):
        check(task, max_new_tokens=1024)
    check(task, trained=(), base=False, max_new_tokens=1024)


@pytest.mark.parametrize("name", ["hold", "random", "momentum 10d", "base"])
def test_a_stage_with_the_name_of_another_row_is_refused(name: str, task: RatingTask) -> None:
    with pytest.raises(RecipeError, match=rf"stages\.{name}\.name: '{name}' is the name of .* other than: base, best"):
        check(task, trained=("sft", name))


@pytest.mark.parametrize(
    ("base", "row"),
    [
        ("tiny", "base model (tiny)"),
        ("Qwen/Qwen3-0.6B", "base model (Qwen3-0.6B)"),
        ("runs/demo/latest/2-grpo/weights/", "base model (2-grpo)"),
        ("~/models/mine", "base model (mine)"),
        (".", "base model (.)"),
    ],
)
def test_the_row_of_the_base_model_names_it(base: str, row: str) -> None:
    assert base_row(base) == row


def test_tasks_without_answers_or_finite_decisions_refuse_what_needs_them(
    task: RatingTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "sft_examples", lambda split, count, seed, pool=None: [])
    with pytest.raises(RecipeError, match=r"evaluate\.few_shot .*the task 'rating' has none"):
        check(task, few_shot=2)
    monkeypatch.setattr(task, "decisions", lambda example: None)
    with pytest.raises(RecipeError, match=r"evaluate\.constrained: .* no finite set of decisions"):
        check(task, constrained=True)


def test_a_sound_stage_passes(task: RatingTask) -> None:
    check(task)
    check(task, trained=())


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"models": ["gpro"]}, r"evaluate\.models: 'gpro'.*Did you mean 'grpo'.*sft, grpo\."),
        ({"baselines": ["markets:Says2"]}, r"evaluate\.baselines: .*Did you mean 'Says'"),
        (
            {"baselines": ["tradeschool.policies.rules:Rule"]},
            r"evaluate\.baselines: tradeschool\.policies\.rules:Rule cannot .*__init__\(self, task\)",
        ),
    ],
)
def test_what_would_fail_after_training_is_refused(task: RatingTask, config: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        check(task, **config)


@pytest.mark.parametrize("costs", [{"commission_bps": 2000}, {"slippage_bps": 1000}, {"slippage_bps": -1}])
def test_costs_out_of_range_are_refused_by_the_recipe(costs: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match=next(iter(costs))):
        recipe(costs=costs)


@pytest.mark.parametrize(
    ("changed", "value", "config", "words"),
    [
        ("metrics", lambda: (), {}, "no primary metric"),
        ("episodic", True, {}, "leaderboard"),
        ("baselines", lambda seed: [], {}, "no baseline"),
        ("eval_score", lambda example, action: None, {}, "no question of the test split has a score"),
        ("examples", lambda split: [], {}, "test split has no question"),
        ("per_ticker", False, {"tickers": 2}, r"evaluate\.tickers"),
    ],
)
def test_tasks_that_cannot_be_evaluated_are_refused(
    changed: str, value: object, config: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(market())
    monkeypatch.setattr(task, changed, value)
    with pytest.raises(RecipeError, match=words):
        check(task, **config)


def no_answer(example: Example, action: Any) -> dict[str, float]:
    return {"score": float(action)}


@pytest.mark.parametrize(
    ("changed", "make", "words"),
    [
        ("examples", lambda task: lambda split, old=task.examples: [*old(split), old(split)[0]], "asks two questions"),
        ("examples", lambda task: lambda split, old=task.examples: old("train"), r"rows\('test'\) are .*Leave the"),
        ("rows", lambda task: lambda split, old=task.rows: old(split)[::2], "not consecutive rows.*Return every row"),
        ("positions", lambda task: lambda example, action: 1.5, r"returned 1\.5.*from -1 to 1"),
        ("metric_values", lambda task: no_answer, r"TypeError.* cannot be read\. Let metric_values.*action None"),
        ("parse", lambda task: lambda text: [][0], "IndexError.* when the baseline 'hold' answers"),
    ],
    ids=["doubled", "outside", "gaps", "position", "unreadable", "parse"],
)
def test_mistakes_of_a_task_are_found_before_training(
    changed: str, make: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(market())
    monkeypatch.setattr(task, changed, make(task))
    with pytest.raises(RecipeError, match=rf"(?s)stages\.evaluate: the task 'rating' cannot be evaluated.*{words}"):
        check(task)


def test_an_episode_is_tried_before_training(parity: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ParityTask, "episode_metrics", lambda self, episode: {"share": 1 / 0})
    with pytest.raises(RecipeError, match="the task 'parity' cannot be evaluated: ZeroDivisionError"):
        pipeline.run(parity, tmp_path / "run", Console(quiet=True))


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [(None, ["sft", "grpo"]), (["grpo"], ["grpo"]), ([], []), (["grpo", "sft"], ["sft", "grpo"])],
    ids=["all", "one", "none", "in the order of training"],
)
def test_the_models_of_a_run_are_asked_as_the_recipe_says(
    chosen: list[str] | None, expected: list[str], task: RatingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples, asked = task.examples("test")[:3], []

    def ask(name: str, kind: str, source: str, *rest: object) -> list[Trace]:
        asked.append((name, source))
        return rollout(Says("?"), task, examples, {})

    monkeypatch.setattr(stage, "_ask_model", ask)
    context: Any = SimpleNamespace(models={"sft": Path("a"), "grpo": Path("b")}, folder=tmp_path)
    config = stage.Config(stage="evaluate", models=chosen, base=False)
    found = stage._ask_models(config, context, evaluation_set_of(task, task.panel, examples, "test"), examples)
    assert [p.policy for p in found] == expected
    assert asked == [(name, {"sft": "a", "grpo": "b"}[name]) for name in expected]


def test_the_best_possible_answers_every_question_with_its_best_rating(evaluated: Path) -> None:
    made = recipe()
    task: Any = pipeline.make_task(made, pipeline.load_panel(made, Console(quiet=True)))
    examples = task.examples("test")[::7]
    replies = rules.oracle(task).answer(task, examples)
    for example, reply in zip(examples, replies, strict=True):
        worth = {rating: task.expected(example, rating) for rating in range(-2, 3)}
        assert worth[task.parse(reply)] == max(worth.values())
    assert len(set(replies)) > 2
    share = {row["policy"]: row["metrics"]["share"]["value"] for row in comparison(evaluated)["rows"]}
    assert share["best possible"] == pytest.approx(1)
    assert all(value < 1 for name, value in share.items() if name != "best possible")


# tasks of several turns ----------------------------------------------------------------------------


class ParityConfig(BaseModel):
    pass


class ParityEnv:
    """Asks twice whether the row of the date is odd."""

    def reset(self, example: Any) -> list[Message]:
        self._right, self._turns = ("even", "odd")[example.t % 2], 0
        return [{"role": "user", "content": str(example.t)}]

    def step(self, completion: str) -> StepResult:
        self._turns += 1
        info = {"action": completion if completion in ("even", "odd") else None}
        rewards = {"right": float(completion == self._right)}
        return StepResult([{"role": "user", "content": "sure?"}], rewards, self._turns == 2, info)


class ParityTask(Task):
    """One episode of two turns for every date."""

    name, version, weights, config_class = "parity", "1", {"right": 1.0}, ParityConfig
    episodic, per_ticker, action_names, turn_discounts = True, False, ("even", "odd"), None

    def __init__(self, config: ParityConfig, panel: Any, split: Any) -> None:
        self._split = split

    def rows(self, split: Any) -> Any:
        return self._split.rows(split)

    def examples(self, split: Any) -> list[Example]:
        return [self.example_at(t, 0) for t in self.rows(split).tolist()]

    def messages(self, example: Example) -> list[Message]:
        return ParityEnv().reset(example)

    def parse(self, completion: str) -> str:
        return completion

    def format_answer(self, action: Any, reasoning: str) -> str:
        return str(action)

    def chat_env(self, split: Any) -> ParityEnv:
        return ParityEnv()

    def episode_rewards(self, episodes: Any) -> Any:
        return {"right": np.array([[turn.result.rewards["right"] for turn in one.turns] for one in episodes]).T}

    def variant(self, example: Example, number: int) -> Example:
        return example

    def metrics(self) -> list[Metric]:
        return [Metric("right", "right %", "answers that are right", 1, 100, primary=True, inputs=("share",))]

    def episode_metrics(self, episode: Any) -> dict[str, float]:
        return {"share": float(np.mean([turn.result.rewards["right"] for turn in episode.turns]))}

    def baselines(self, seed: int = 0) -> list[Answerer]:
        return [Says("even", name="always even", kind="naive"), Says("?", name="silent", kind="rule")]


class Counts(Says):
    """Right at every turn: it reads the first message."""

    def generate(self, conversations: Any, n: int = 1) -> list[list[str]]:
        return [[("even", "odd")[int(messages[0]["content"]) % 2]] * n for messages in conversations]


@pytest.fixture
def parity(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Evaluates a scripted policy in the place of the base model."""

    def ask(name: str, kind: Any, source: str, config: Any, context: Any, examples: Any) -> list[Trace]:
        return stage._answers(Counts(name=name, kind=kind), config, context, examples)

    monkeypatch.setattr("tradeschool.models.load.base_source", lambda *given: "nowhere")
    monkeypatch.setattr(stage, "_ask_model", ask)
    monkeypatch.setitem(sys.modules, "parity", sys.modules[__name__])
    config = {**STAGE, "tickers": None, "batch_size": 7}
    sets = [line for line in SETS if not line.startswith("task")]
    return read(DEMO, [*sets, 'task={name: "parity:ParityTask"}', f"stages=[{json.dumps(config)}]"])


def test_a_task_of_several_turns_is_evaluated_by_its_episodes(parity: Recipe, tmp_path: Path) -> None:
    run = pipeline.run(parity, tmp_path / "run", Console(quiet=True))
    traces = list(read_traces(run / "1-evaluate" / "traces-base.jsonl"))
    assert [message["role"] for message in traces[0].messages] == ["user", "assistant"] * 2
    assert all(trace.rewards == {"right": 2.0} and trace.metrics == {"share": 1.0} for trace in traces)
    assert len({trace.key for trace in traces}) == len(comparison(run)["evaluation"]["dates"]) == len(traces)
    rows = {row["policy"]: row for row in comparison(run)["rows"]}
    assert rows["base model (tiny)"]["verdict"] == "better"
    assert rows["always even"]["verdict"] == "best baseline"
    right = rows["always even"]["metrics"]["right"]
    assert right["low"] < right["value"] < right["high"]
    assert right["value"] == pytest.approx(0.5, abs=0.02)
    assert rows["silent"]["metrics"]["parse_errors"]["value"] == 1
    assert "always even" in (run / "report.html").read_text(encoding="utf-8")


def test_a_rule_cannot_play_episodes(parity: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ParityTask, "baselines", lambda self, seed: [rules.constant("even", "even")])
    with pytest.raises(RecipeError, match="'even' answers single questions only"):
        pipeline.run(parity, tmp_path / "run", Console(quiet=True))


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
    assert after["base model (tiny)"] != was["base model (tiny)"]
    assert after["hold"]["metrics"]["score"] == was["hold"]["metrics"]["score"]


@pytest.mark.parametrize("changed", [0, -1], ids=["first", "last"])
def test_traces_of_another_version_are_not_kept(changed: int, tmp_path: Path) -> None:
    versions = {"tradeschool": "0.1.0", "task": "1.0.0", "data": "abc"}
    examples = [Example(f"T{n}@0", 0, n) for n in range(3)]
    kept = [dataclasses.replace(trace(n, 1.0), key=f"T{n}@0", versions=versions) for n in range(3)]

    context: Any = SimpleNamespace(folder=tmp_path, versions=versions, model=None)

    def ask() -> list[Trace] | None:
        return stage._kept_traces(tmp_path / "traces-grpo.jsonl", context, examples)

    write_traces(tmp_path / "traces-grpo.jsonl", kept)
    assert ask() == kept
    kept[changed] = dataclasses.replace(kept[changed], versions={**versions, "commit": "earlier"})
    write_traces(tmp_path / "traces-grpo.jsonl", kept)
    assert ask() == kept
    kept[changed] = dataclasses.replace(kept[changed], versions={**versions, "task": "1.1.0"})
    write_traces(tmp_path / "traces-grpo.jsonl", kept)
    assert ask() is None


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
    report.report_run(run, console)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "tradeschool: demo" in page
    printed = console.export_text()
    for row in comparison(run)["rows"]:
        assert row["policy"] in printed
        assert row["policy"] in page


def test_a_run_without_a_finished_evaluation_says_how_to_resume(run: Path, console: Console) -> None:
    unfinish(run)
    with pytest.raises(RunError, match=r"no evaluate stage has finished.*tradeschool resume "):
        report.report_run(run, console)


def test_the_latest_of_several_evaluations_is_reported(run: Path) -> None:
    for name, title in (("2-validation", "earlier"), ("10-final", "the latest one")):
        shutil.copytree(run / "1-evaluate", run / name)
        path = run / name / "comparison.json"
        plain = json.loads(path.read_text(encoding="utf-8"))
        plain["warnings"].append(title)
        path.write_text(json.dumps(plain), encoding="utf-8")
    page = report.report_run(run, Console(quiet=True)).read_text(encoding="utf-8")
    assert "the latest one" in page
    assert "earlier" not in page


def test_training_of_every_stage_is_reported_in_order(run: Path) -> None:
    for number, name in ((10, "grpo"), (2, "sft"), (3, "grpo-2")):
        folder = run / f"{number}-{name}"
        folder.mkdir()
        (folder / "metrics.jsonl").write_text(f'{{"step": {number}, "loss": 1.0}}\n', encoding="utf-8")
    training = report.training_metrics(run)
    assert list(training) == ["sft", "grpo-2", "grpo"]
    assert training["grpo"] == [{"step": 10, "loss": 1.0}]


def trace(n: int, correct: float | None) -> Trace:
    metrics = {} if correct is None else {"correct": correct}
    return Trace(f"T@{n}", "rating", "grpo", [], {"profit": 0.0}, "answered", metrics=metrics)


def fake_comparison(*trained: str) -> Any:
    kinds = {"hold": "naive", "base model (tiny)": "base", **dict.fromkeys(trained, "trained")}
    return SimpleNamespace(rows=[SimpleNamespace(policy=name, kind=kind) for name, kind in kinds.items()])


def test_samples_are_right_and_wrong_answers_of_the_last_trained_policy_over_all_dates(tmp_path: Path) -> None:
    write_traces(tmp_path / "traces-sft.jsonl", [trace(-1, 1.0)])
    write_traces(
        tmp_path / "traces-grpo.jsonl", [trace(n, None if n % 10 == 0 else float(n % 3 == 0)) for n in range(300)]
    )
    shown = report._samples(tmp_path, fake_comparison("sft", "grpo"))
    marks = [trace.metrics["correct"] for trace in shown]
    assert marks == [1.0] * 6 + [0.0] * 6
    for half in (shown[:6], shown[6:]):
        places = [int(trace.key[2:]) for trace in half]
        assert len(set(places)) == 6
        assert places[0] < 60
        assert places[-1] > 200


def test_samples_of_a_dozen_answers_reach_to_the_last_one(tmp_path: Path) -> None:
    write_traces(tmp_path / "traces-grpo.jsonl", [trace(n, 1.0) for n in range(11)])
    keys = [trace.key for trace in report._samples(tmp_path, fake_comparison("grpo"))]
    assert keys == [f"T@{n}" for n in (0, 2, 4, 6, 8, 10)]


@pytest.mark.parametrize("right", [0, 1, 4])
def test_samples_of_few_right_answers_are_all_of_them(right: int, tmp_path: Path) -> None:
    write_traces(tmp_path / "traces-grpo.jsonl", [trace(n, float(n < right)) for n in range(40)])
    marks = [trace.metrics["correct"] for trace in report._samples(tmp_path, fake_comparison("grpo"))]
    assert marks == [1.0] * right + [0.0] * 6


def test_without_a_trained_policy_there_are_no_samples(tmp_path: Path) -> None:
    assert report._samples(tmp_path, fake_comparison()) == []
