"""Several training seeds: a run for each, the mean and spread of every figure, and resume."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import evaluations as fake
import fake_stage
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import tradeschool as ts
from tradeschool import manifest, seeds
from tradeschool.cli.main import app
from tradeschool.errors import RecipeError, RunError
from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.comparison import Comparison
from tradeschool.train.stage import Context, Result

Write = Callable[..., Path]


def evaluated(policies: int) -> Comparison:
    questions = fake.evaluation_set(dates=30, tickers=3)
    return compare(questions, fake.field(questions, policies))


def test_mean_deviation_and_t_interval_over_the_seeds() -> None:
    found = [evaluated(policies) for policies in (0, 10, 20)]
    metrics, figures = seeds.summarise([(one.metrics, one.rows) for one in found])
    assert {one.policy for one in figures} == {"untrained", "sft", "grpo", "grpo minus sft"}
    assert metrics[0].key == found[0].primary
    values = np.array([one.row("grpo").metrics["score"].value for one in found])
    (grpo,) = [one for one in figures if (one.policy, one.metric) == ("grpo", "score")]
    assert grpo.values == values.tolist()
    assert (grpo.mean.value, grpo.deviation) == pytest.approx((values.mean(), values.std(ddof=1)))
    # 4.303 is Student's t for a 95 % interval with two degrees of freedom.
    assert grpo.mean.high - grpo.mean.value == pytest.approx(4.3027 * values.std(ddof=1) / math.sqrt(3), rel=1e-4)
    (step,) = [one for one in figures if (one.policy, one.metric) == ("grpo minus sft", "score")]
    assert step.values == pytest.approx(values - [one.row("sft").metrics["score"].value for one in found])


def test_one_seed_has_no_spread() -> None:
    _, figures = seeds.summarise([(evaluated(0).metrics, evaluated(0).rows)])
    assert math.isnan(figures[0].deviation)
    assert math.isnan(figures[0].mean.low)
    assert seeds.summarise([]) == ([], [])


@pytest.mark.parametrize(("text", "expected"), [("0,1,2", [0, 1, 2]), ("0-4", [0, 1, 2, 3, 4]), ("7, 1-2", [7, 1, 2])])
def test_seeds_as_written(text: str, expected: list[int]) -> None:
    assert seeds.parse_seeds(text) == expected


@pytest.mark.parametrize("text", ["", "a", "1,1", "0-2,1", "3-1", "-1", "0-99999999999"])
def test_seeds_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="like 0,1,2 or 0-4"):
        seeds.parse_seeds(text)


def test_each_seed_has_its_run_on_the_same_market(fake_recipe: Write, tmp_path: Path) -> None:
    found = ts.run_seeds(fake_recipe(), [3, 4], {"stages.first.steps": 2}, out="several", quiet=True)
    assert list(found.runs) == [3, 4]
    records = [manifest.read(run) for run in found.runs.values()]
    assert [one.recipe["seed"] for one in records] == [3, 4]
    assert [one.recipe["stages"][0]["steps"] for one in records] == [2, 2]
    assert len({one.data_hash for one in records}) == 1
    figures = [(run / "1-first" / "metrics.jsonl").read_text(encoding="utf-8") for run in found.runs.values()]
    assert figures[0] != figures[1]
    assert found.folder == tmp_path / "several"
    with pytest.raises(RunError, match="no figure 'score' of 'grpo'"):
        found.figure("grpo", "score")


def test_after_an_interruption_the_finished_seeds_are_kept(
    fake_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(config: fake_stage.Config, context: Context) -> Result:
        if context.seed == 1:
            raise KeyboardInterrupt
        return run(config, context)

    run = fake_stage.run
    with monkeypatch.context() as patch:
        patch.setattr(fake_stage, "run", cut)
        result = CliRunner().invoke(app, ["run", str(fake_recipe()), "--seeds", "0-2", "--out", "several"])
    assert result.exit_code == 130
    assert f"Resume all seeds with: tradeschool resume {tmp_path / 'several'}" in result.output
    assert [(tmp_path / "several" / f"seed-{seed}").exists() for seed in (0, 1, 2)] == [True, True, False]
    changed = CliRunner().invoke(app, ["resume", "several", "--set", "stages.first.steps=3"])
    assert changed.exit_code != 0
    assert "several seeds" in " ".join(changed.output.split())
    assert CliRunner().invoke(app, ["resume", "several"]).exit_code == 0
    statuses = [manifest.read(tmp_path / "several" / f"seed-{seed}") for seed in (0, 1, 2)]
    assert [(one.status, len(one.resumed)) for one in statuses] == [("done", 0), ("done", 1), ("done", 0)]
    assert json.loads((tmp_path / "several" / "summary.json").read_text(encoding="utf-8"))["seeds"] == [0, 1, 2]


def test_a_seed_that_fails_is_reported_and_the_others_run(
    fake_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(config: fake_stage.Config, context: Context) -> Result:
        if context.seed == 0:
            raise RunError("the training has diverged")
        return run(config, context)

    run = fake_stage.run
    monkeypatch.setattr(fake_stage, "run", diverge)
    result = CliRunner().invoke(app, ["run", str(fake_recipe()), "--seeds", "0,1", "--out", "several"])
    assert result.exit_code == 1
    assert "Training seed 0 failed: the training has diverged" in result.output
    assert manifest.read(tmp_path / "several" / "seed-1").status == "done"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "seed=4"], "--seeds sets the recipe's seed"),
        (["--open"], "--open opens one report"),
        (["--set", "stages.first.steps=0"], "must be at least 1"),
    ],
)
def test_a_wrong_recipe_is_refused_before_a_folder_is_made(
    fake_recipe: Write, arguments: list[str], words: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(app, ["run", str(fake_recipe()), "--seeds", "0,1", "--out", "several", *arguments])
    assert result.exit_code == 2
    assert words in result.output
    assert not (tmp_path / "several").exists()


def test_the_table_has_a_row_for_each_model_and_figure(tmp_path: Path) -> None:
    found = [evaluated(policies) for policies in (0, 10)]
    metrics, figures = seeds.summarise([(one.metrics, one.rows) for one in found])
    made: Any = dict.fromkeys((0, 1))
    console = Console(record=True, width=100)
    seeds._print(console, seeds.Seeds(tmp_path, made, {7: "why"}, metrics, figures))
    text = console.export_text()
    assert "Training seeds 0, 1" in text
    assert "grpo minus sft" in text
    assert "Training seed 7 failed: why" in text
