"""The curriculum in docs/thesis.md is a recipe that can begin."""

import re
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from tradeschool import pipeline
from tradeschool.config.recipe import from_mapping
from tradeschool.models import load

ROOT = Path(__file__).parents[2]


def test_the_curriculum_of_the_docs_passes_every_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load, "TOKENIZER_EXAMPLES", 50)
    recipe = yaml.safe_load((ROOT / "recipes" / "thesis-tiny.yaml").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "thesis.md").read_text(encoding="utf-8")
    fragment = re.search(r"```yaml\n(stages:.*?)```", page, re.DOTALL)
    assert fragment
    recipe |= {**yaml.safe_load(fragment[1]), "model": {"base": "tiny", "tiny": {"hidden_size": 16, "layers": 1}}}
    recipe["market"] |= {"tickers": 10, "days": 600}
    begun: list[list[str]] = []
    monkeypatch.setattr(pipeline, "_run_stages", lambda run: begun.append([one.stage for one in run.recipe.stages]))
    pipeline.run(from_mapping(recipe), None, Console(quiet=True))
    assert begun == [["sft", "grpo", "reject", "sft"] * 3 + ["evaluate"]]
