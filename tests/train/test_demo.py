"""Promise 3 where it needs training: on a market with a true edge, GVPO raises the share that SFT recovered."""

import json
import os
from pathlib import Path

import pytest
import torch
from rich.console import Console

from tradeschool import pipeline
from tradeschool.config.recipe import read
from tradeschool.evaluate.comparison import Comparison

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo as a newcomer runs it, with a thread per core: the number of threads changes its figures."""
    out = tmp_path_factory.mktemp("demo") / "run"
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        return pipeline.run(read(ROOT / "recipes" / "demo.yaml"), out, Console(quiet=True))
    finally:
        torch.set_num_threads(threads)  # the tests after this one compare weights with those of subprocesses


def comparison(run: Path) -> Comparison:
    return Comparison.from_json((run / "3-evaluate" / "comparison.json").read_text())


@pytest.mark.slow
def test_promise_3_training_raises_the_share_of_the_edge(demo: Path) -> None:
    grpo = comparison(demo).row("gvpo")
    against = {one.against: one.interval for one in grpo.differences if one.metric == "share"}
    assert against["base model (tiny)"].low > 0
    assert against["sft"].low > 0


@pytest.mark.slow
def test_trained_policies_answer_readably_and_gvpo_beats_every_baseline(demo: Path) -> None:
    result = comparison(demo)
    for name in ("sft", "gvpo"):
        assert result.row(name).answer_shares["unreadable"] <= 0.01
    assert result.row("gvpo").verdict == "better"


@pytest.mark.slow
def test_the_demo_stays_within_its_memory(demo: Path) -> None:
    stages = json.loads((demo / "manifest.json").read_text())["stages"]
    assert max(stage["peak_memory_bytes"] for stage in stages) < 4e9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["no-edge", "drift"])
def test_promise_2_training_without_an_edge_is_not_reported_as_skill(name: str, tmp_path: Path) -> None:
    run = pipeline.run(read(ROOT / "recipes" / f"{name}.yaml"), tmp_path / "run", Console(quiet=True))
    result = comparison(run)
    verdicts = {row.policy: row.verdict for row in result.rows if row.kind == "trained"}
    assert verdicts.keys() == {"sft", "gvpo"}
    assert set(verdicts.values()) <= {"not shown", "same"}


@pytest.mark.parametrize(("name", "drift"), [("no-edge", 0.0), ("drift", 0.2)])
def test_markets_without_an_edge_train_as_the_demo_does(name: str, drift: float) -> None:
    demo, other = (read(ROOT / "recipes" / f"{one}.yaml").resolved for one in ("demo", name))
    assert demo["stages"] == other["stages"]
    assert demo["model"] == other["model"]
    assert {**demo["market"], "edge": 0.0, "drift": drift} == other["market"]
    assert {**demo["task"], "eval_score": ["profit"]} == other["task"]
