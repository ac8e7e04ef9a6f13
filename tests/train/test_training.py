"""The whole job on a tiny market: what is logged, that a seed fixes everything, and runs that are killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import halting_run
import pytest
import torch
from rich.console import Console

from tradeschool import manifest, pipeline
from tradeschool.config.recipe import Recipe, read
from tradeschool.train.stage import Result

DEMO = Path(__file__).parents[2] / "recipes" / "demo.yaml"
SETS = (
    "market={source: synthetic, tickers: 6, days: 400, edge: 0.3}",
    "split={train: 0.7, validation: 0.1, test: 0.2, warmup: 30}",
    "task={name: rating, facts: [rsi], horizons: [1], weights: {profit: 1.0, risk: 1.0, format: 0.05}}",
    "model={base: tiny, tiny: {vocabulary: 300, hidden_size: 32, layers: 2, heads: 4, intermediate_size: 64}}",
)
SFT = """
{stage: sft, name: sft, examples: 400, trl: {
  max_steps: 60, per_device_train_batch_size: 16, learning_rate: 1.0e-2, logging_steps: 7, save_steps: 20}}"""
# 20 questions make 2 steps an epoch: eight steps are four epochs, each in an order of its own.
GRPO = """
{stage: grpo, name: grpo, questions: 20, by_date: false, trl: {
  max_steps: 8, num_generations: 4, per_device_train_batch_size: 32, max_completion_length: 14,
  learning_rate: 5.0e-3, beta: 0.02, scale_rewards: batch, logging_steps: 1, save_steps: 3}}"""
EVALUATE = "{stage: evaluate, name: evaluate, tickers: 2, max_new_tokens: 14}"
STAGES = ("sft", "grpo")
OF_THE_PROCESS = ("step_time", "train_runtime", "train_samples_per_second", "train_steps_per_second")


def recipe(*more: str, grpo: str = GRPO) -> Recipe:
    flat = " ".join(f"stages=[{SFT}, {grpo}, {EVALUATE}]".split())
    return read(DEMO, [*SETS, flat, *more])


def quiet() -> Console:
    return Console(quiet=True)


@pytest.fixture(autouse=True)
def without_charts(unbroken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the unbroken run draws its report: the charts take longer than the rest of the evaluation."""
    monkeypatch.setattr("tradeschool.evaluate.report.report_evaluation", lambda *given, **options: None)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline.run(recipe(), tmp_path_factory.mktemp("runs") / "unbroken", quiet())


def rows(run: Path, stage: str) -> list[dict[str, Any]]:
    (path,) = run.glob(f"*-{stage}/metrics.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def figures(run: Path, stage: str) -> list[dict[str, Any]]:
    """All that was logged, except for what depends on the clock."""
    return [{key: value for key, value in row.items() if not key.endswith(OF_THE_PROCESS)} for row in rows(run, stage)]


def table(run: Path) -> Any:
    return json.loads((run / "3-evaluate" / "comparison.json").read_text(encoding="utf-8"))


def weights(run: Path, stage: str) -> dict[str, Any]:
    from safetensors.torch import load_file

    (path,) = run.glob(f"*-{stage}/weights/*model.safetensors")
    return load_file(path)


def same_weights(first: dict[str, Any], second: dict[str, Any]) -> bool:
    assert first.keys() == second.keys()
    return all(bool((first[key] == second[key]).all()) for key in first)


def assert_same_end(run: Path, unbroken: Path) -> None:
    for stage in STAGES:
        assert same_weights(weights(run, stage), weights(unbroken, stage)), f"the weights after {stage} differ"
    assert table(run) == table(unbroken)
    for stage in STAGES:
        assert figures(run, stage) == figures(unbroken, stage)
    assert manifest.read(run).status == "done"


def only_sft(unbroken: Path, folder: Path) -> Path:
    """The run as it was when SFT had ended."""
    shutil.copytree(unbroken, folder)
    for later in ("2-grpo", "3-evaluate"):
        shutil.rmtree(folder / later)
    return folder


def resumed_without_evaluation(run: Path) -> dict[str, Any]:
    """Resume up to the evaluation; the weights of every stage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tradeschool.evaluate.stage.run", lambda config, context: Result())
        pipeline.resume(run, None, quiet())
    return {stage: weights(run, stage) for stage in STAGES}


def killed(stage: str, step: int, moment: str, run: Path, *command: str) -> None:
    """Run a command in a process of its own and end it by SIGKILL at a step of a stage."""
    marker = run.parent / f"{run.name}-{stage}-{step}-reached"
    arguments = [sys.executable, halting_run.__file__, stage, str(step), moment, str(marker), *command]
    source = str(Path(__file__).parents[2])
    # The weights depend on the number of threads, so both processes must have the same.
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
    env["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    process = subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 300
    while not marker.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"never came to step {step} of {stage}: {process.communicate()[0]}")
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(run.glob(f"*-{stage}/done.json"))


# what a run leaves -------------------------------------------------------------------------------


def test_sft_learns_to_answer_and_grpo_starts_from_it(unbroken: Path) -> None:
    losses = [row["loss"] for row in rows(unbroken, "sft") if "loss" in row]
    assert losses[-1] < 0.5 * losses[0]
    assert rows(unbroken, "grpo")[0]["parse_errors"] < 0.5
    assert not same_weights(weights(unbroken, "sft"), weights(unbroken, "grpo"))
    policies = [row["policy"] for row in table(unbroken)["rows"]]
    assert {"hold", "buy and hold", "base model (tiny)", "sft", "grpo"} <= set(policies)
    assert {"best possible", "same facts, table"} <= set(policies)
    task = pipeline.make_task(recipe(), pipeline.load_panel(recipe(), quiet()))
    used = json.loads((unbroken / "2-grpo" / "outcomes.json").read_text())
    assert len(used) == len(set(used)) > 0
    assert set(used) <= {example.key for example in task.examples("train")}
    assert (unbroken / "report.html").read_text(encoding="utf-8").count("grpo") > 0


def test_grpo_logs_its_diagnostics_at_every_step(unbroken: Path) -> None:
    steps = [row for row in rows(unbroken, "grpo") if "entropy" in row]
    assert [row["step"] for row in steps] == list(range(1, 9))
    answers = [f"answers/{name}" for name in ("STRONG_SELL", "SELL", "HOLD", "BUY", "STRONG_BUY")]
    components = ("profit", "risk", "decision", "outcome", "format")
    constant = [f"constant_in_group/{name}" for name in components]
    means = [f"rewards/{name}/mean" for name in components]
    plain = ["reward", "entropy", "kl", "frac_reward_zero_std", "parse_errors", "grad_norm", "learning_rate"]
    for row in steps:
        missing = [key for key in [*plain, *answers, *constant, *means] if row.get(key) is None]
        assert not missing, f"step {row['step']} lacks {missing}"
        assert sum(row[key] for key in answers) + row["parse_errors"] == pytest.approx(1)
    assert any(row["grad_norm"] > 0 for row in steps)
    assert any(row["constant_in_group/profit"] < 1 for row in steps)


def test_grpo_starts_at_its_own_reference(unbroken: Path) -> None:
    first, *_, last = [row["kl"] for row in rows(unbroken, "grpo") if "kl" in row]
    assert abs(first) < 1e-6
    assert last > 1e-4


def test_checkpoints_are_gone_and_weights_are_safetensors(unbroken: Path) -> None:
    kept = {"1-sft": {"done.json", "metrics.jsonl", "weights"}}
    kept["2-grpo"] = {*kept["1-sft"], "outcomes.json"}
    for stage, names in kept.items():
        assert {path.name for path in (unbroken / stage).iterdir()} == names
        assert (unbroken / stage / "weights" / "model.safetensors").exists()
    assert not list(unbroken.rglob("*.bin"))
    assert not list(unbroken.rglob("*.part"))


def test_the_same_seed_gives_the_same_weights_and_table(unbroken: Path, tmp_path: Path) -> None:
    again = pipeline.run(recipe(), tmp_path / "again", quiet())
    assert_same_end(again, unbroken)


def test_another_seed_gives_other_weights(unbroken: Path, tmp_path: Path) -> None:
    stages = " ".join(f"stages=[{SFT}]".split())
    other = pipeline.run(read(DEMO, [*SETS, stages, "seed=1"]), tmp_path / "other", quiet())
    assert manifest.read(other).data_hash == manifest.read(unbroken).data_hash
    assert not same_weights(weights(other, "sft"), weights(unbroken, "sft"))


# cut off and resumed -----------------------------------------------------------------------------


def test_a_run_killed_during_grpo_ends_as_an_unbroken_one(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after step 5, in the third epoch; the checkpoint of step 3 is from the second."""
    from tradeschool.train import grpo_trainers

    run = only_sft(unbroken, tmp_path / "killed")
    killed("grpo", 5, "after", run, "resume", str(run))
    assert [path.name for path in (run / "2-grpo" / "checkpoints").glob("checkpoint-*")] == ["checkpoint-3"]
    assert max(row["step"] for row in rows(run, "grpo")) >= 4
    rollout, drawn = grpo_trainers.sample_answers, list[int]()

    def counted(*given: Any) -> Any:
        drawn.append(1)
        return rollout(*given)

    monkeypatch.setattr(grpo_trainers, "sample_answers", counted)
    pipeline.resume(run, None, quiet())
    assert len(drawn) == 8 - 3, "started again instead of going on from the checkpoint"
    assert_same_end(run, unbroken)


@pytest.mark.slow
def test_a_run_killed_during_sft_ends_as_an_unbroken_one(unbroken: Path, tmp_path: Path) -> None:
    """Killed after step 45, in the second epoch of 25 steps."""
    run = only_sft(unbroken, tmp_path / "killed")
    shutil.rmtree(run / "1-sft")
    killed("sft", 45, "after", run, "resume", str(run))
    assert [path.name for path in (run / "1-sft" / "checkpoints").glob("checkpoint-*")] == ["checkpoint-40"]
    pipeline.resume(run, None, quiet())
    assert_same_end(run, unbroken)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_killed_while_it_writes_a_checkpoint_continues_from_the_previous_one(
    stage: str, unbroken: Path, tmp_path: Path
) -> None:
    run = only_sft(unbroken, tmp_path / "killed")
    if stage == "sft":
        shutil.rmtree(run / "1-sft")
    folder, step = {"sft": ("1-sft", 40), "grpo": ("2-grpo", 6)}[stage]
    killed(stage, step, "during", run, "resume", str(run))
    assert (run / folder / "checkpoints" / f"checkpoint-{step}" / "model.safetensors").exists()
    pipeline.resume(run, None, quiet())
    assert_same_end(run, unbroken)


@pytest.mark.slow
def test_a_run_killed_again_and_again_from_its_first_minute_on(unbroken: Path, tmp_path: Path) -> None:
    run, path = tmp_path / "killed", tmp_path / "recipe.yaml"
    shutil.copy(unbroken / "recipe.yaml", path)
    killed("sft", 5, "after", run, "run", str(path), "--out", str(run))
    for stage, step in (("sft", 25), ("sft", 59), ("grpo", 1), ("grpo", 4), ("grpo", 7)):
        killed(stage, step, "after", run, "resume", str(run))
    pipeline.resume(run, None, quiet())
    assert_same_end(run, unbroken)


@pytest.mark.parametrize(("stage", "last"), [pytest.param("sft", 60, marks=pytest.mark.slow), ("grpo", 8)])
def test_a_run_interrupted_after_the_last_step_trains_no_further(
    stage: str, last: int, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tradeschool.train import trainer

    def cut_off(*given: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    run = only_sft(unbroken, tmp_path / "cut")
    if stage == "sft":
        shutil.rmtree(run / "1-sft")
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "finish", cut_off)
        with pytest.raises(KeyboardInterrupt):
            pipeline.resume(run, None, quiet())
    assert list(run.glob(f"*-{stage}/checkpoints/checkpoint-{last}"))
    made = resumed_without_evaluation(run)
    assert max(row["step"] for row in rows(run, stage)) == last
    assert same_weights(made[stage], weights(unbroken, stage))


# adapters ----------------------------------------------------------------------------------------

LORA_SFT = SFT.replace("max_steps: 60", "max_steps: 6")
LORA_GRPO = GRPO.replace("max_steps: 8", "max_steps: 5").replace("learning_rate: 5.0e-3", "learning_rate: 2.0e-2")


def lora_recipe(base: Path) -> Recipe:
    flat = " ".join(f"stages=[{LORA_SFT}, {LORA_GRPO}]".split())
    return read(DEMO, [*SETS[:3], f"model={{base: {base}, lora: {{r: 4, lora_alpha: 8}}}}", flat])


def test_adapters_are_trained_by_sft_and_further_by_grpo(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import PeftModel

    from tradeschool.models.load import ModelConfig, load
    from tradeschool.train import grpo_trainers

    made = lora_recipe(unbroken / "1-sft" / "weights")
    run = pipeline.run(made, tmp_path / "lora", quiet())
    sft, grpo = weights(run, "sft"), weights(run, "grpo")
    assert all(".lora_" in key for key in sft)
    assert any(key.endswith("lora_B.weight") and bool(sft[key].any()) for key in sft), "SFT did not train the adapters"
    assert sft.keys() == grpo.keys(), "GRPO made other adapters instead of going on with those of SFT"
    assert not same_weights(sft, grpo)
    for stage in STAGES:
        (folder,) = run.glob(f"*-{stage}/weights")
        assert (folder / "adapter_config.json").exists()
        assert not (folder / "model.safetensors").exists()

    # The reference of KL is the model after SFT, not the one without adapters.
    kl = [row["kl"] for row in rows(run, "grpo") if "kl" in row]
    assert abs(kl[0]) < 1e-6
    assert kl[-1] > 1e-4

    model, _ = load(str(run / "1-sft" / "weights"), ModelConfig.model_validate(made.model.model_dump()), trainable=True)
    assert isinstance(model, PeftModel)
    trainable, total = model.get_nb_trainable_parameters()
    assert 0 < trainable / total < 0.25
    assert {name for name, weight in model.named_parameters() if weight.requires_grad} == {
        name for name, _ in model.named_parameters() if ".lora_" in name
    }

    # Cut off after the checkpoint of step 3, it ends the same: reference and fresh adapters included.
    rollout, calls = grpo_trainers.sample_answers, iter(range(100))

    def cut_off(prompts: Any, trainer: Any) -> Any:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return rollout(prompts, trainer)

    with monkeypatch.context() as patch:
        patch.setattr(grpo_trainers, "sample_answers", cut_off)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(made, tmp_path / "cut", quiet())
    resumed = pipeline.resume(tmp_path / "cut", None, quiet())
    assert same_weights(weights(resumed, "grpo"), grpo)
    assert [row["kl"] for row in rows(resumed, "grpo") if "kl" in row] == kl
