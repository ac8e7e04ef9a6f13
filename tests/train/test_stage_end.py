"""What a stage on TRL's trainers leaves: figures over all its steps, also after a resume, in its own folder alone."""

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transformers
from rich.console import Console

from tradeschool import manifest, pipeline
from tradeschool.config.recipe import Recipe, from_mapping
from tradeschool.errors import RecipeError, RunError
from tradeschool.train.trainer import StopDiverged

SFT = {
    "stage": "sft",
    "name": "sft",
    "examples": 100,
    "trl": {
        "max_steps": 6,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-2,
        "logging_steps": 5,
        "save_steps": 2,
    },
}
GRPO = {
    "stage": "grpo",
    "name": "grpo",
    "questions": 8,
    "trl": {
        "max_steps": 5, "num_generations": 2, "per_device_train_batch_size": 8, "max_completion_length": 6,
        "learning_rate": 1e-2, "beta": 0.02, "logging_steps": 1, "save_steps": 2,
    },
}  # fmt: skip
GVPO = {
    "stage": "grpo",
    "name": "gvpo",
    "objective": "gvpo",
    "group": "decisions",
    "questions": 12,
    "trl": {
        "max_steps": 5, "per_device_train_batch_size": 20, "learning_rate": 1e-2, "logging_steps": 1, "save_steps": 2,
    },
}  # fmt: skip
FOLDERS = {"sft": "1-sft", "grpo": "2-grpo", "gvpo": "3-gvpo"}
CLOCK = {"step_time", "train_runtime", "train_samples_per_second", "train_steps_per_second"}


def recipe(*stages: dict[str, Any], **more: Any) -> Recipe:
    model = {"vocabulary": 300, "hidden_size": 32, "layers": 1, "heads": 2, "intermediate_size": 32}
    return from_mapping(
        {
            "name": "small",
            "market": {"source": "synthetic", "tickers": 4, "days": 300},
            "split": {"train": 0.6, "validation": 0.1, "test": 0.3, "warmup": 30},
            "task": {"name": "rating", "facts": ["rsi"], "horizons": [1]},
            "model": {"base": "tiny", "tiny": model, **more},
            "stages": list(stages),
        }
    )


def changed(stage: dict[str, Any], **trl: Any) -> dict[str, Any]:
    return {**stage, "trl": {**stage["trl"], **trl}}


def run(made: Recipe, folder: Path) -> Path:
    return pipeline.run(made, folder, Console(quiet=True))


def resume(folder: Path) -> Path:
    return pipeline.resume(folder, None, Console(quiet=True))


def rows(folder: Path, stage: str) -> list[dict[str, Any]]:
    (path,) = folder.glob(f"*-{stage}/metrics.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def without_clock(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in CLOCK} for row in found]


@pytest.fixture(scope="module", autouse=True)
def few_words(few_texts: None) -> None:
    """The tiny tokenizer is trained on few texts."""


@pytest.fixture(scope="module")
def unbroken(few_words: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(recipe(SFT, GRPO, GVPO), tmp_path_factory.mktemp("runs") / "unbroken")


# figures -----------------------------------------------------------------------------------------


def cut_at_step(step: int, patch: pytest.MonkeyPatch, stage: str) -> None:
    theirs = StopDiverged.on_step_end

    def cut(self: Any, args: Any, state: Any, *given: Any, **options: Any) -> None:
        if state.global_step == step and f"-{stage}/" in args.output_dir:
            raise KeyboardInterrupt
        theirs(self, args, state, *given, **options)

    patch.setattr(StopDiverged, "on_step_end", cut)


def cut_before_the_last_entry(patch: pytest.MonkeyPatch, stage: str) -> None:
    theirs = transformers.Trainer.log

    def cut(self: Any, logs: Any, *given: Any) -> None:
        if "train_loss" in logs and f"-{stage}/" in self.args.output_dir:
            raise KeyboardInterrupt
        theirs(self, logs, *given)

    patch.setattr(transformers.Trainer, "log", cut)


def started(unbroken: Path, folder: Path, stage: str) -> Path:
    """The run as it was when ``stage`` began."""
    shutil.copytree(unbroken, folder)
    for later in list(FOLDERS.values())[list(FOLDERS).index(stage) :]:
        shutil.rmtree(folder / later)
    return folder


@pytest.mark.parametrize("stage", ["sft", "grpo", "gvpo"])
def test_a_training_resumed_twice_ends_as_an_unbroken_one(stage: str, unbroken: Path, tmp_path: Path) -> None:
    folder = started(unbroken, tmp_path / "cut", stage)
    for step in (3, 5):
        with pytest.MonkeyPatch.context() as patch:
            cut_at_step(step, patch, stage)
            with pytest.raises(KeyboardInterrupt):
                resume(folder)
    resume(folder)
    expected = without_clock(rows(unbroken, stage))
    assert without_clock(rows(folder, stage)) == expected
    assert expected[-1]["train_loss"] is not None
    weights = f"{FOLDERS[stage]}/weights/model.safetensors"
    assert (folder / weights).read_bytes() == (unbroken / weights).read_bytes()
    assert stage != "sft" or expected[-2]["num_tokens"] > expected[0]["num_tokens"] > 0


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_training_cut_off_before_its_last_entry_gets_one_on_resume(
    stage: str, unbroken: Path, tmp_path: Path
) -> None:
    folder = started(unbroken, tmp_path / "cut", stage)
    with pytest.MonkeyPatch.context() as patch:
        cut_before_the_last_entry(patch, stage)
        with pytest.raises(KeyboardInterrupt):
            resume(folder)
    assert "train_loss" not in rows(folder, stage)[-1]
    resume(folder)
    steps = {one["name"]: one["steps"] for one in manifest.read(folder).stages}
    assert steps == {"sft": 6, "grpo": 5, "gvpo": 5}
    assert without_clock(rows(folder, stage)) == without_clock(rows(unbroken, stage))


def test_the_loss_of_a_training_is_the_mean_over_its_steps(tmp_path: Path, unbroken: Path) -> None:
    every_step = run(recipe(changed(SFT, logging_steps=1)), tmp_path / "run")
    losses = [row["loss"] for row in rows(every_step, "sft") if "loss" in row]
    assert len(losses) == 6
    for folder in (every_step, unbroken):
        assert rows(folder, "sft")[-1]["train_loss"] == pytest.approx(sum(losses) / 6, rel=1e-6)


@pytest.mark.parametrize("trl", [{"save_strategy": "no"}, {"logging_strategy": "no"}])
def test_the_loss_is_whole_however_seldom_it_is_logged(trl: dict[str, Any], tmp_path: Path, unbroken: Path) -> None:
    found = rows(run(recipe(changed(SFT, **trl)), tmp_path / "run"), "sft")
    assert found[-1]["train_loss"] == pytest.approx(rows(unbroken, "sft")[-1]["train_loss"], rel=1e-6)


# steps -------------------------------------------------------------------------------------------


def test_the_manifest_says_how_many_steps_every_stage_took(unbroken: Path) -> None:
    steps = {stage["name"]: stage["steps"] for stage in manifest.read(unbroken).stages}
    assert steps == {"sft": 6, "grpo": 5, "gvpo": 5}
    done = json.loads((unbroken / "2-grpo" / "done.json").read_text(encoding="utf-8"))
    assert done["summary"]["steps"] == 5


FEW = "no step would be trained: there are {} training examples, but a batch takes {}"


@pytest.mark.parametrize(
    ("stage", "numbers"),
    [
        ({**GRPO, "questions": 3}, (3, 4)),
        ({**changed(GRPO, per_device_train_batch_size=2_000), "questions": 10_000}, ("[0-9]+", 1_000)),
        ({**changed(GRPO, per_device_train_batch_size=800), "curriculum": "volatile", "volatile_share": 0.1}, (8, 400)),
        ({**changed(SFT, dataloader_drop_last=True), "examples": 7}, (7, 8)),
    ],
    ids=["questions", "pool", "curriculum", "answers"],
)
def test_fewer_examples_than_a_batch_are_refused_before_the_first_stage(
    stage: dict[str, Any], numbers: tuple[Any, Any], tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=rf"stages\.last: {FEW.format(*numbers)}.*Use more"):
        run(recipe(SFT, {**stage, "name": "last"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_as_many_examples_as_a_batch_make_one_step(tmp_path: Path) -> None:
    stage = {**GRPO, "questions": 4, "trl": {**GRPO["trl"], "max_steps": -1, "num_train_epochs": 1}}  # type: ignore[dict-item]
    assert manifest.read(run(recipe(stage), tmp_path / "run")).stages[0]["steps"] == 1


def test_packed_rows_that_do_not_fill_a_batch_are_refused(tmp_path: Path) -> None:
    """How many rows there are is known when they are packed."""
    stage = {**changed(SFT, packing=True, max_length=1_000, dataloader_drop_last=True), "examples": 9}
    with pytest.raises(RecipeError, match=r"stages\.sft: no step would be trained: there are \d training examples"):
        run(recipe(stage), tmp_path / "run")


def test_a_training_that_changes_no_weight_fails(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"stages\.sft: 6 steps changed no weight\. Raise trl\.learning_rate \(1e-30\)"):
        run(recipe(changed(SFT, learning_rate=1e-30)), tmp_path / "run")


def test_a_training_that_ends_without_a_step_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers.Trainer, "train", lambda self, **options: None)
    with pytest.raises(RunError, match=r"stages\.sft: no step was trained on 100 training examples in batches of 8"):
        run(recipe(SFT), tmp_path / "run")
    assert not list((tmp_path / "run").glob("*/done.json"))


# folders -----------------------------------------------------------------------------------------


@pytest.fixture
def precious(tmp_path: Path) -> Iterator[Path]:
    """A folder of the user, with another run's checkpoint in it."""
    folder = tmp_path / "precious"
    (folder / "checkpoint-9").mkdir(parents=True)
    (folder / "checkpoint-9" / "trainer_state.json").write_text('{"global_step": 9, "max_steps": 9}', encoding="utf-8")
    (folder / "thesis.tex").write_text("three years", encoding="utf-8")
    before = set(folder.rglob("*"))
    yield folder
    assert before <= set(folder.rglob("*"))


@pytest.mark.parametrize("stage", [SFT, GRPO], ids=["sft", "grpo"])
@pytest.mark.parametrize("key", ["output_dir", "resume_from_checkpoint"])
def test_a_stage_has_no_other_folder_than_its_own(
    key: str, stage: dict[str, Any], precious: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=rf"stages\.\w+\.trl\.{key}: .*Remove it"):
        run(recipe(changed(stage, **{key: str(precious)})), tmp_path / "run")


def test_a_finished_stage_removes_its_own_checkpoints_alone(
    precious: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if TRL is given another folder after all."""
    theirs = StopDiverged.on_step_end

    def moved(self: Any, args: Any, *given: Any, **options: Any) -> None:
        args.output_dir = str(precious)
        theirs(self, args, *given, **options)

    monkeypatch.setattr(StopDiverged, "on_step_end", moved)
    monkeypatch.setattr(transformers.Trainer, "_save_checkpoint", lambda *given, **options: None)
    folder = run(recipe(SFT), tmp_path / "run")
    assert sorted(path.name for path in (folder / "1-sft").iterdir()) == ["done.json", "metrics.jsonl", "weights"]


# what the machine or the model lacks ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("trl", "model", "words"),
    [
        ({"optim": "adamw_8bit"}, {}, r"stages\.sft\.trl: a trial step fails .*bitsandbytes.*optim: 'adamw_8bit'"),
        ({"report_to": "wandb"}, {}, r"stages\.sft\.trl\.report_to: wandb .*[Ii]nstall"),
        ({"use_liger_kernel": True}, {}, r"stages\.sft\.trl\.use_liger_kernel: liger_kernel is not installed"),
        ({"deepspeed": "none.json"}, {}, r"stages\.sft\.trl\.deepspeed"),
        ({"accelerator_config": "none.json"}, {}, r"stages\.sft\.trl: .*none\.json"),
        ({"activation_offloading": True}, {}, r"stages\.sft\.trl\.activation_offloading needs a GPU"),
        ({"lr_scheduler_kwargs": {"foo": 1}}, {}, r"stages\.sft\.trl: a trial step fails .*'foo'"),
        ({"push_to_hub": True}, {}, r"stages\.sft\.trl\.push_to_hub needs hub_model_id"),
        ({"push_to_hub": True, "hub_model_id": "a/b"}, {}, r"push_to_hub: the Hub cannot be used: .*hf auth login"),
        ({}, {"load_in_4bit": True}, r"model\.load_in_4bit needs bitsandbytes, which is not installed"),
        ({}, {"lora": {"target_modules": ["foo"]}}, r"model\.lora: .*'foo'.* not found"),
    ],
)
def test_what_the_machine_or_the_model_lacks_is_refused_before_the_first_stage(
    trl: dict[str, Any], model: dict[str, Any], words: str, tmp_path: Path
) -> None:
    for package in ("bitsandbytes", "wandb", "liger_kernel", "deepspeed"):
        if package in words and importlib.util.find_spec(package) is not None:
            pytest.skip(f"{package} is installed")
    with pytest.raises(RecipeError, match=words):
        run(recipe(changed(SFT, **trl), **model), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_beyond_the_machines_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 100)  # a hundred pages of a hundred bytes
    with pytest.raises(RecipeError, match=r"model\.base: .* takes at least .* GB"):
        run(recipe(SFT), tmp_path / "run")


def test_a_training_that_runs_out_of_memory_can_be_resumed(unbroken: Path, tmp_path: Path) -> None:
    def fail(self: Any, args: Any, state: Any, *given: Any, **options: Any) -> None:
        if state.global_step == 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    folder = started(unbroken, tmp_path / "cut", "grpo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StopDiverged, "on_step_end", fail)
        with pytest.raises(RunError, match=r"memory is not enough .*CUDA .*per_device_train_batch_size") as raised:
            resume(folder)
    assert "tradeschool resume" in "".join(raised.value.__notes__)
    resume(folder)
    assert without_clock(rows(folder, "grpo")) == without_clock(rows(unbroken, "grpo"))
