"""Prompts as a dataset: the right rows, the same bytes, whole or not there."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from markets import market, task_of
from rich.console import Console

from tradeschool.errors import DataError
from tradeschool.prepare import prompts
from tradeschool.prepare.folder import Identity, identity
from tradeschool.tasks.base import Example, Task
from tradeschool.tasks.rating import RatingTask

QUIET = Console(quiet=True)


def made_from(task: Task, **changes: Any) -> Identity:
    recipe = {"seed": 0, "market": {"source": "practice"}, "split": {}, "task": {}}
    return identity("prompts", {**recipe, **changes}, "practice", "0" * 16, task.version)


def write(task: Task, out: Path, workers: int = 1, shard: int = 500) -> prompts.Written:
    return prompts.write_prompts(task, made_from(task), out, QUIET, workers=workers, shard=shard)


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
    for split in prompts.SPLITS:
        examples = task.examples(split)
        rows = list(loaded[split])
        assert [row["key"] for row in rows] == [example.key for example in examples]
        for row, example in list(zip(rows, examples, strict=True))[::37]:
            assert row["prompt"] == task.prompt(example).messages
            assert row["expert"] == task.compose(*task.expert(example))
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


class _Cut(RatingTask):
    """Is cut off after so many prompts."""

    left = 1300

    def prompt(self, example: Example) -> Any:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().prompt(example)


def test_cut_off_it_goes_on_where_it_was_and_ends_the_same(task: RatingTask, whole: Path, tmp_path: Path) -> None:
    cut = _Cut(task.config, task.panel, task.split)
    with pytest.raises(KeyboardInterrupt):
        write(cut, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    done = sorted(path.name for path in (tmp_path / "out.partial/data").iterdir())
    assert done == ["train-00000.parquet", "train-00001.parquet"]
    cut.left = len(task.examples("train")) + 10**6 - 1000
    write(cut, tmp_path / "out")
    assert hashes(tmp_path / "out") == hashes(whole)
    assert not (tmp_path / "out.partial").exists()
    rendered = len(task.examples("train")) + len(task.examples("validation")) + len(task.examples("test")) - 1000
    assert cut.left == len(task.examples("train")) + 10**6 - 1000 - rendered


def test_what_is_there_is_never_written_over(task: RatingTask, whole: Path, tmp_path: Path) -> None:
    before = hashes(whole)
    with pytest.raises(DataError, match="there is something in it already"):
        write(task, whole)
    assert hashes(whole) == before
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial/mine.txt").write_text("mine")
    with pytest.raises(DataError, match="Remove it, or choose another"):
        write(task, tmp_path / "out")
    assert (tmp_path / "out.partial/mine.txt").read_text() == "mine"


def test_a_half_written_preparation_of_other_data_is_refused(task: RatingTask, tmp_path: Path) -> None:
    cut = _Cut(task.config, task.panel, task.split)
    with pytest.raises(KeyboardInterrupt):
        write(cut, tmp_path / "out")
    other = made_from(task, seed=1)
    with pytest.raises(DataError, match="of another recipe, of other data or of another"):
        prompts.write_prompts(task, other, tmp_path / "out", QUIET, workers=1)


def test_the_card_says_what_it_is_made_from_and_no_place_of_this_machine(task: RatingTask, whole: Path) -> None:
    card = (whole / "README.md").read_text()
    assert f"preparation {made_from(task).digest()}" in card
    assert f"| train | {len(task.examples('train')):,} |" in card
    resolved = {
        "seed": 0,
        "split": {},
        "task": {},
        "market": {"path": "/secret", "notes": ["/secret/n"], "names": None},
    }
    assert "secret" not in str(identity("prompts", resolved, "n", "h", "v"))
