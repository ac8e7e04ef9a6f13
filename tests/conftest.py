"""Fixtures and settings for every test."""

import os
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import settings

# No deadline: the first example of a test may import something heavy. In CI the same examples every time.
settings.register_profile("tradeschool", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("tradeschool")

# Before anything imports torch or huggingface_hub: tests never need the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that train, which take longest: workers that share the files then end together."""
    items.sort(key=lambda item: "train" not in item.path.parts)


FAKE_RECIPE = """\
# tradeschool run fake.yaml
name: fake
seed: 5
market: {source: synthetic, tickers: 2, days: 300, edge: 0.1}
split: {train: 0.5, validation: 0.2, test: 0.3, warmup: 30}
task:
  name: rating
  facts: [market, rsi]
model: {base: tiny}
stages:
  - {stage: fake, name: first}
  - {stage: fake, name: second, steps: 4}
  - {stage: fake, makes_weights: false}
"""


@pytest.fixture
def stocknet() -> Path:
    """The folder that holds StockNet's ``price/``; the test is skipped where TRADESCHOOL_STOCKNET is not set."""
    folder = os.environ.get("TRADESCHOOL_STOCKNET")
    if not folder:
        pytest.skip("TRADESCHOOL_STOCKNET is not set")
    return Path(folder)


@pytest.fixture
def fake_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the stage of ``tests/fake_stage.py``, and spare its runs the import of torch."""
    import fake_stage

    from tradeschool import pipeline
    from tradeschool.config.recipe import STAGES

    monkeypatch.setitem(STAGES, "fake", "fake_stage")
    monkeypatch.setattr(pipeline, "set_seed", fake_stage.set_seed)


@pytest.fixture
def fake_recipe(fake_stage: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a recipe of fake stages, with text replaced in it, into the working folder of the test."""
    monkeypatch.chdir(tmp_path)

    def write(*replacements: tuple[str, str], name: str = "fake.yaml") -> Path:
        text = dedent(FAKE_RECIPE)
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write
