"""Training on episodes that is interrupted and resumed ends as training that was not."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from safetensors.torch import load_file
from transformers import TrainerCallback

from tradeschool import manifest, pipeline
from tradeschool.config.recipe import from_mapping
from tradeschool.train import trainer
from tradeschool.train.grpo_trainers import MultiTurnTrainer
from tradeschool.train.logging import read_metrics

pytestmark = pytest.mark.usefixtures("few_texts")
# Long enough that answers can be read: GRPO has nothing to learn from those that cannot.
SFT = {"max_steps": 45, "per_device_train_batch_size": 8, "learning_rate": 1e-2, "logging_steps": 6, "save_steps": 20}
# Completions serve two steps, and 4 questions are one epoch of two: six steps are three, each in an order of its own.
GRPO = {
    "max_steps": 6,
    "num_generations": 4,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "steps_per_generation": 4,
    "max_completion_length": 16,
    "learning_rate": 1e-3,
    "scale_rewards": "batch",
    "logging_steps": 1,
    "save_steps": 2,
}
RECIPE: dict[str, Any] = {
    "name": "small",
    "market": {"source": "synthetic", "tickers": 4, "days": 400, "edge": 0.3},
    "split": {"train": 0.6, "validation": 0.1, "test": 0.3, "warmup": 60},
    "task": {
        "name": "trade",
        "level": "Easy",
        "env": {"days": 3},
        "facts": ["change_5", "macd_hist"],
        "figures": False,
        "demonstrators": ["macd", "momentum 5d"],
    },
    "model": {
        "base": "tiny",
        "tiny": {"vocabulary": 330, "hidden_size": 32, "layers": 1, "heads": 4, "intermediate_size": 64},
    },
    "stages": [
        {"stage": "sft", "examples": 200, "trl": SFT},
        {"stage": "grpo", "questions": 4, "by_date": False, "trl": GRPO},
    ],
}
FOLDERS = {"sft": "1-sft", "grpo": "2-grpo"}
OF_THE_PROCESS = ("step_time", "num_tokens", "runtime", "per_second", "total_flos", "train_loss")


class CutOff(BaseException):
    """As a Ctrl+C or a power cut: nothing may catch it."""


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline.run(from_mapping(RECIPE), tmp_path_factory.mktemp("runs") / "unbroken", Console(quiet=True))


def before(stage: str, unbroken: Path, folder: Path) -> Path:
    """The run as it was when a stage was about to begin."""
    shutil.copytree(unbroken, folder)
    names = list(FOLDERS)
    for later in names[names.index(stage) :]:
        shutil.rmtree(folder / FOLDERS[later])
    return folder


def resumed(run: Path) -> Path:
    return pipeline.resume(run, None, Console(quiet=True))


def figures(run: Path, stage: str) -> list[dict[str, Any]]:
    """All that was logged step by step, except for what depends on the clock or the process."""
    rows = read_metrics(run / FOLDERS[stage] / "metrics.jsonl")
    return [{key: value for key, value in row.items() if not key.endswith(OF_THE_PROCESS)} for row in rows[:-1]]


def weights(run: Path, stage: str) -> dict[str, Any]:
    found: dict[str, Any] = load_file(run / FOLDERS[stage] / "weights" / "model.safetensors")
    return found


def same(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    assert ours.keys() == theirs.keys()
    return all(bool((ours[key] == theirs[key]).all()) for key in ours)


def assert_same_end(run: Path, unbroken: Path) -> None:
    for stage in ("sft", "grpo"):
        assert same(weights(run, stage), weights(unbroken, stage)), f"the weights after {stage} differ"
        assert figures(run, stage) == figures(unbroken, stage)
    assert manifest.read(run).status == "done"


class CutAt(TrainerCallback):
    """Ends training at the beginning of a step."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.begun: list[int] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.begun.append(state.global_step)
        if state.global_step == self.step:
            raise CutOff


def with_callback(patch: pytest.MonkeyPatch, callback: CutAt) -> None:
    train = trainer.train

    def watched(made: Any, *given: Any, **options: Any) -> None:
        made.add_callback(callback)
        train(made, *given, **options)

    patch.setattr(trainer, "train", watched)


def test_the_unbroken_run_learns_in_both_stages(unbroken: Path) -> None:
    """Else it would not show whether a resumed one does the same."""
    losses = [row["loss"] for row in figures(unbroken, "sft")]
    assert losses[-1] < 0.5 * losses[0]
    assert not same(weights(unbroken, "sft"), weights(unbroken, "grpo"))
    steps = [row for row in figures(unbroken, "grpo") if "advantage/zero" in row]
    assert steps
    assert all(row["advantage/zero"] < 1 for row in steps)


@pytest.mark.parametrize(("stage", "cut", "kept"), [("sft", 25, 20), ("grpo", 3, 2)])
def test_an_interrupted_training_continues_from_its_checkpoint(
    stage: str, cut: int, kept: int, unbroken: Path, tmp_path: Path
) -> None:
    run = before(stage, unbroken, tmp_path / "cut")
    with pytest.MonkeyPatch.context() as patch:
        with_callback(patch, CutAt(cut))
        with pytest.raises(CutOff):
            resumed(run)
    checkpoints = [path.name for path in (run / FOLDERS[stage] / "checkpoints").glob("checkpoint-*")]
    assert checkpoints == [f"checkpoint-{kept}"]
    again = CutAt(-1)
    with pytest.MonkeyPatch.context() as patch:
        with_callback(patch, again)
        resumed(run)
    assert again.begun[0] == kept, "started again instead of going on from the checkpoint"
    assert_same_end(run, unbroken)


def test_a_resumed_grpo_draws_the_same_completions(unbroken: Path, tmp_path: Path) -> None:
    """The same episodes and the same answers, token by token."""
    drawn: dict[str, list[Any]] = {}

    def keeping(patch: pytest.MonkeyPatch, name: str) -> None:
        play = MultiTurnTrainer.play
        mine = drawn.setdefault(name, [])

        def kept(self: Any, count: int) -> Any:
            played = play(self, count)
            mine.append(
                [(one.example.key, script.ids) for one, script in zip(played.episodes, played.transcripts, strict=True)]
            )
            return played

        patch.setattr(MultiTurnTrainer, "play", kept)

    for name, step in (("whole", -1), ("cut", 3), ("resumed", -1)):
        run = tmp_path / ("whole" if name == "whole" else "cut")
        if not run.exists():
            before("grpo", unbroken, run)
        with pytest.MonkeyPatch.context() as patch:
            keeping(patch, name)
            with_callback(patch, CutAt(step))
            if name == "cut":
                with pytest.raises(CutOff):
                    resumed(run)
            else:
                resumed(run)
    assert len(drawn["whole"]) == 3
    assert drawn["cut"] == drawn["whole"][:2]
    assert drawn["resumed"] == drawn["whole"][1:]
    assert drawn["whole"][0] != drawn["whole"][1]
