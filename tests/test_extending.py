"""The example of docs/extending.md: a task outside the package, trained, evaluated and reported."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from tradeschool import pipeline
from tradeschool.config.recipe import from_mapping, load_panel, make_task, read
from tradeschool.errors import RecipeError

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
FILES = re.compile(r"<!-- (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's files, in the working folder."""
    files = dict(FILES.findall(PAGE.read_text(encoding="utf-8")))
    assert set(files) == {"ranges/task.py", "ranges/policies.py", "range.yaml", "stage.yaml"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "ranges"]:
        del sys.modules[name]


def test_the_task_of_the_docs_page_is_trained_evaluated_and_reported(folder: Path) -> None:
    console = Console(record=True, width=80)
    run = pipeline.run(read(Path("range.yaml")), folder / "run", console)
    found: Any = json.loads((run / "3-evaluate" / "comparison.json").read_text(encoding="utf-8"))
    rows = {row["policy"]: row for row in found["rows"]}
    baselines = {"always wider", "always narrower", "random", "mean reversion", "same as yesterday"}
    assert set(rows) == {*baselines, "base model (tiny)", "sft", "grpo"}
    assert found["primary"] == "right"
    assert found["best_baseline"] in baselines
    assert found["evaluation"]["commission_bps"] is None
    assert rows["always wider"]["metrics"]["right"]["value"] == pytest.approx(
        1 - rows["always narrower"]["metrics"]["right"]["value"]
    )
    assert rows["grpo"]["verdict"] in ("better", "not shown", "worse", "same")
    assert rows["sft"]["metrics"]["parse_errors"]["value"] < 1
    assert "right" in rows["grpo"]["rewards"]
    assert "mean reversion" in (run / "report.html").read_text(encoding="utf-8")
    assert "grpo" in console.export_text()


def test_the_stage_of_the_docs_page_trains_on_all_decisions(folder: Path) -> None:
    document = yaml.safe_load(Path("range.yaml").read_text(encoding="utf-8"))
    document["stages"][1] = yaml.safe_load(Path("stage.yaml").read_text(encoding="utf-8"))
    recipe = from_mapping(document, ["stages.sft.trl.max_steps=5"])
    run = pipeline.run(recipe, folder / "run", Console(quiet=True))
    found: Any = json.loads((run / "3-evaluate" / "comparison.json").read_text(encoding="utf-8"))
    assert "gvpo" in {row["policy"] for row in found["rows"]}
    logged = [json.loads(line) for line in (run / "2-gvpo" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert "decision_mass" in logged[0]


def changed_task(folder: Path, old: str, new: str) -> Any:
    """The page's task with some text replaced, on its market."""
    module = folder / "ranges" / "task.py"
    text = module.read_text(encoding="utf-8")
    assert old in text
    module.write_text(text.replace(old, new), encoding="utf-8")
    recipe = read(Path("range.yaml"))
    return make_task(recipe, load_panel(recipe, Console(quiet=True)))


def test_the_embargo_follows_the_horizon_of_the_class(folder: Path) -> None:
    split = changed_task(folder, 'name, version = "range", "1"', 'name, version, horizon = "range", "1", 30').split
    assert split.validation_T[0] - split.train_T[-1] == 32
    assert split.test_T[0] - split.validation_T[-1] == 32


def test_a_horizon_that_is_set_after_the_split_and_reaches_across_the_embargo_is_refused(folder: Path) -> None:
    with pytest.raises(RecipeError, match="look 30 days ahead.*covers 15.*embargo=31"):
        changed_task(
            folder, "self.panel, self.split = panel, split", "self.panel, self.split, self.horizon = panel, split, 30"
        )
