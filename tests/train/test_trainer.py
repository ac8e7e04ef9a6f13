"""Which model a stage starts from, which checkpoint it goes on from, what it leaves behind."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_models
import torch
from rich.console import Console
from trl.trainer import utils

from tradeschool.models.load import ModelConfig
from tradeschool.train import trainer
from tradeschool.train.logging import write_rows
from tradeschool.train.stage import Context


def context(folder: Path, **models: Path) -> Any:
    given: Any = SimpleNamespace(
        folder=folder,
        run_folder=folder,
        task=None,
        model=ModelConfig(base=str(folder / "base")),
        agents={},
        models=models,
        seed=0,
        console=Console(quiet=True),
    )
    given.starting_weights = partial(Context.starting_weights, given)
    return given


@pytest.mark.parametrize(
    ("name", "stages", "expected"),
    [
        (None, [], "base"),
        ("base", ["sft"], "base"),
        (None, ["sft", "grpo"], "grpo"),
        ("sft", ["sft", "grpo"], "sft"),
    ],
)
def test_a_stage_starts_from_the_stage_named_or_the_latest(
    name: str | None, stages: list[str], expected: str, tmp_path: Path
) -> None:
    folders = {stage: tiny_models.folder(tmp_path / stage) for stage in ["base", *stages]}
    given = context(tmp_path, **{stage: folders[stage] for stage in stages})
    model, tokenizer, peft = trainer.start(name, given)
    assert model.config._name_or_path == str(folders[expected])
    assert tokenizer.padding_side == "left"
    assert peft is None


def test_new_adapters_do_not_depend_on_earlier_draws(tmp_path: Path) -> None:
    import torch

    tiny_models.folder(tmp_path / "base")
    drawn = []
    for before in (0, 5):
        torch.rand(before)
        trainer.start(None, context(tmp_path))
        drawn.append(float(torch.rand(1)))
    assert drawn[0] == drawn[1]


# checkpoints -------------------------------------------------------------------------------------


def checkpoint(folder: Path, step: int, state: str | None) -> Path:
    made = folder / f"checkpoint-{step}"
    made.mkdir(parents=True)
    (made / "model.safetensors").write_text("weights", encoding="utf-8")
    if state is not None:
        (made / "trainer_state.json").write_text(state, encoding="utf-8")
    return made


WHOLE = json.dumps({"global_step": 1})


def test_the_newest_checkpoint_by_number_is_taken(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        checkpoint(tmp_path, step, WHOLE)
    assert trainer.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-100")


@pytest.mark.parametrize("state", [None, "", WHOLE[:8]], ids=["none", "empty", "half"])
def test_an_incomplete_checkpoint_is_removed_and_the_previous_one_taken(state: str | None, tmp_path: Path) -> None:
    whole, cut_off = checkpoint(tmp_path, 3, WHOLE), checkpoint(tmp_path, 6, state)
    assert trainer.last_checkpoint(tmp_path) == str(whole)
    assert not cut_off.exists()


def test_without_a_complete_checkpoint_the_stage_starts_again(tmp_path: Path) -> None:
    checkpoint(tmp_path, 3, None)
    assert trainer.last_checkpoint(tmp_path) is None
    assert trainer.last_checkpoint(tmp_path / "none") is None


# what is left ------------------------------------------------------------------------------------


class Finished:
    """A trainer whose training has ended."""

    def __init__(self) -> None:
        self.state = SimpleNamespace(global_step=2)

    def save_model(self, folder: str) -> None:
        Path(folder).mkdir()
        (Path(folder) / "model.safetensors").touch()
        (Path(folder) / "training_args.bin").touch()


def finished(folder: Path, *summary: str) -> Any:
    given: Any = Finished()
    return trainer.finish(given, tiny_models.tokenizer(), context(folder), summary=summary)


def test_weights_and_tokenizer_are_saved_without_checkpoints_or_pickles(tmp_path: Path) -> None:
    checkpoint(tmp_path / "checkpoints", 3, WHOLE)
    result = finished(tmp_path)
    assert result.weights == tmp_path / "weights"
    assert {"model.safetensors", "tokenizer.json"} <= {path.name for path in result.weights.iterdir()}
    assert not list(tmp_path.rglob("*.bin"))
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_what_tensorboard_wrote_is_kept(tmp_path: Path) -> None:
    """transformers has it write beside the checkpoints."""
    events = checkpoint(tmp_path / "checkpoints", 3, WHOLE).parent / "runs" / "today" / "events.1"
    events.parent.mkdir(parents=True)
    events.touch()
    finished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tensorboard", "weights"]
    assert (tmp_path / "tensorboard" / "today" / "events.1").exists()


def test_a_kill_while_checkpoints_are_removed_leaves_none_that_looks_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint(tmp_path / "checkpoints", 3, WHOLE)

    def cut_off(folder: Any, *given: Any, **options: Any) -> None:
        next(Path(folder).rglob("model.safetensors")).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", cut_off)
        with pytest.raises(KeyboardInterrupt):
            finished(tmp_path)
    assert trainer.last_checkpoint(tmp_path / "checkpoints") is None


def test_the_summary_is_the_last_known_value_of_each_figure(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"step": 1, "loss": 3.0, "kl": 0.5},
        {"step": 2, "loss": 1.0, "kl": None},
        {"step": 2, "train_runtime": 9.0},
    ]
    write_rows(tmp_path / "metrics.jsonl", rows)
    assert finished(tmp_path, "loss", "kl", "entropy").summary == {"steps": 2, "loss": 1.0, "kl": 0.5}


def test_answers_alone_are_projected_onto_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "_use_triton", utils._use_triton)  # restored after the test
    trainer._set_up_cpu()
    model, ids = tiny_models.model(), torch.tensor([[10, 11, 12, 13, 14, 15]])
    plain = model(input_ids=ids).logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None]).squeeze(2)
    utils.add_fused_lm_head(model)
    rows: list[int] = []
    theirs = utils._ChunkedLogProbFunction.apply

    def project(hidden: Any, *more: Any) -> Any:
        rows.append(len(hidden))
        return theirs(hidden, *more)

    monkeypatch.setattr(utils._ChunkedLogProbFunction, "apply", project)
    labels = ids.clone()
    labels[:, :3] = -100
    found = model(input_ids=ids, labels=labels, fused_lm_head=True).log_probs
    assert rows == [3]
    torch.testing.assert_close(found[:, 2:], plain[:, 2:])
    assert not found[:, :2].any()
