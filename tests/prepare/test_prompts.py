"""Prompts as a dataset: the right rows, the same bytes, complete or absent."""

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from markets import market, task_of
from rich.console import Console

from tradeschool.errors import DataError
from tradeschool.prepare.export import identity, write_prompts
from tradeschool.tasks.base import Example
from tradeschool.tasks.rating import RatingTask
from tradeschool.text.parse import RATINGS

QUIET = Console(quiet=True)


def made_from(task: RatingTask, **changes: Any) -> dict[str, Any]:
    recipe = {"seed": 0, "market": {"source": "synthetic"}, "split": {}, "task": {}}
    return identity("prompts", {**recipe, **changes}, task.panel, task.version)


def write(task: RatingTask, out: Path, workers: int = 1, rows: int = 500) -> None:
    write_prompts(task, made_from(task), out, QUIET, workers=workers, rows=rows)


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market(tickers=6, days=600), sections=["news", "prices"], variants=3)


@pytest.fixture(scope="module")
def whole(task: RatingTask, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "whole"
    write(task, out)
    return out


def test_every_question_is_there_with_its_prompt_and_answers(task: RatingTask, whole: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(whole), cache_dir=str(whole.parent / "cache"))
    for split in ("train", "validation", "test"):
        examples = task.examples(split)
        rows = list(loaded[split])
        assert [row["key"] for row in rows] == [example.key for example in examples]
        for row, example in list(zip(rows, examples, strict=True))[::37]:
            assert row["prompt"] == task.messages(example)
            assert row["expert"] == task.format_answer(*task.expert(example))
            assert row["label"] == task.label(example)
            assert f"{row['ticker']}@{row['date']}" == example.key.partition("#")[0]
            assert row["variant"] == example.variant
            answer = row["completion"]
            assert (answer is None) == (row["label"] is None)
            if answer is not None:
                assert [message["role"] for message in answer] == ["assistant"]
                assert task.action_name(task.parse(answer[0]["content"])) == row["label"]


def test_the_training_part_has_the_variants_and_the_others_one_prompt_each(task: RatingTask, whole: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    train = pq.read_table(whole / "data/train-00000.parquet").to_pylist()[:30]
    assert [row["variant"] for row in train[:6]] == [0, 1, 2, 0, 1, 2]
    assert len({row["key"] for row in train}) == 30
    # Two sections have few orders, so some variants are alike; that all are would mean that none is drawn.
    assert len({row["prompt"][0]["content"] for row in train}) > 15
    assert {row["variant"] for row in pq.read_table(whole / "data/test-00000.parquet").to_pylist()} == {0}


@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_bytes_whatever_the_number_of_workers(
    task: RatingTask, whole: Path, tmp_path: Path, workers: int
) -> None:
    write(task, tmp_path / "again", workers=workers)
    assert hashes(tmp_path / "again") == hashes(whole)
    assert sum(name.startswith("data/train-") for name in hashes(whole)) > 3


class _Interrupted(RatingTask):
    """Raises KeyboardInterrupt after 1,300 prompts."""

    left = 1300

    def messages(self, example: Example) -> Any:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().messages(example)


def test_an_interrupted_preparation_leaves_nothing_and_can_be_repeated(
    task: RatingTask, whole: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(_Interrupted(task.config, task.panel, task.split), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    write(task, tmp_path / "out")
    assert hashes(tmp_path / "out") == hashes(whole)


def test_existing_files_are_never_overwritten(task: RatingTask, whole: Path) -> None:
    before = hashes(whole)
    with pytest.raises(DataError, match="not empty"):
        write(task, whole)
    assert hashes(whole) == before


def test_the_card_names_its_sources_but_no_path_of_this_machine(task: RatingTask, whole: Path) -> None:
    card = (whole / "README.md").read_text()
    assert f"preparation {made_from(task)['digest']}" in card
    assert f"| train | {len(task.examples('train')):,} |" in card
    resolved = {
        "seed": 0,
        "split": {},
        "task": {},
        "market": {"path": "/secret", "events": ["/secret/n"], "names": None},
    }
    assert "secret" not in str(identity("prompts", resolved, task.panel, "v"))


def test_the_card_counts_labels_and_sections(task: RatingTask, whole: Path) -> None:
    card = (whole / "README.md").read_text()
    examples = task.examples("test")
    for name in RATINGS:
        count = sum(task.label(example) == name for example in examples)
        assert re.search(rf"^\| {name} \| [\d,]+ \| [\d,]+ \| {count:,} \|$", card, re.MULTILINE)
    count = sum("## Prices" in task.messages(example)[-1]["content"] for example in examples)
    assert re.search(rf"^\| Prices \| [\d,]+ \| [\d,]+ \| {count:,} \|$", card, re.MULTILINE)
    assert "seed 0" in card
