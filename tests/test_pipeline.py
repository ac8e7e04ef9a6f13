"""Runs of fake stages: run folders, killing and resuming, refusals, locks."""

import contextlib
import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_stage
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from tradeschool import manifest, pipeline, run_folder
from tradeschool.cli.main import app
from tradeschool.config.recipe import read
from tradeschool.errors import RecipeError, RunError
from tradeschool.models import load
from tradeschool.train import sft
from tradeschool.train.stage import CheckContext, Context, Result

Write = Callable[..., Path]


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=300)


def figures(folder: Path) -> list[dict[str, Any]]:
    """The metrics of every stage of the fake recipe."""
    stages = ("1-first", "2-second", "3-fake")
    return [json.loads((folder / stage / "metrics.jsonl").read_text(encoding="utf-8")) for stage in stages]


def attempts(folder: Path) -> list[int]:
    stages = ("1-first", "2-second", "3-fake")
    return [len((folder / stage / "attempts.txt").read_text(encoding="utf-8").splitlines()) for stage in stages]


def environment(**extra: str) -> dict[str, str]:
    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, **extra}


@contextlib.contextmanager
def interrupts_enabled() -> Iterator[None]:
    """Restore Ctrl-C and SIGHUP: a script in the background ignores them, and a child process inherits that."""
    default: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in default.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_blocked(recipe: Path, out: Path) -> subprocess.Popen[str]:
    """A run in a process of its own that hangs in the middle of its second stage."""
    command = [sys.executable, fake_stage.__file__, "run", str(recipe), "--out", str(out)]
    env = environment(**{fake_stage.BLOCK: "second"})
    with interrupts_enabled():
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60
    while not (out / "2-second" / "checkpoint").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"the run never reached its second stage: {process.communicate()[0]}")
        time.sleep(0.05)
    return process


def test_the_manifest_records_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert manifest.machine()["threads"] == threads
    finally:
        torch.set_num_threads(before)


def test_a_run_folder_holds_recipe_manifest_and_results(fake_recipe: Write, console: Console) -> None:
    recipe = read(fake_recipe())
    folder = pipeline.run(recipe, None, console)
    assert folder.parent == Path.cwd() / "runs" / "fake"
    assert (Path("runs/fake/latest")).resolve() == folder
    assert read(folder / "recipe.yaml").resolved == recipe.resolved
    record = manifest.read(folder)
    assert record.status == "done"
    assert record.ended is not None
    assert record.data_hash == pipeline.load_panel(recipe, console).data_hash()
    assert record.seeds == {"run": 5, "market": 0}
    assert record.versions["trl"] == "1.16.0"
    assert record.machine["cpus"] >= 1
    assert record.machine["memory_bytes"] > 1e8
    assert [stage["name"] for stage in record.stages] == ["first", "second", "fake"]
    assert all(stage["peak_memory_bytes"] > 1e6 and stage["seconds"] >= 0 for stage in record.stages)
    assert [figure["models"] for figure in figures(folder)] == [[], ["first"], ["first", "second"]]
    assert run_folder.read_done(folder / "3-fake") is not None
    assert "Stage 3 of 3: fake" in console.export_text()


def test_every_stage_starts_from_the_seed_whatever_ran_before(fake_recipe: Write, console: Console) -> None:
    folder = pipeline.run(read(fake_recipe()), None, console)
    fake_stage.set_seed(5)
    expected = random.random()
    assert [figure["random"] for figure in figures(folder)] == [expected] * 3
    other = pipeline.run(read(fake_recipe(), ["seed=6"]), None, console)
    assert figures(other)[0]["random"] != expected


@pytest.mark.slow
def test_the_seed_reaches_torch_and_numpy() -> None:
    import numpy as np
    import torch

    import tradeschool.pipeline

    drawn = []
    for _ in range(2):
        tradeschool.pipeline.set_seed(11)
        drawn.append((random.random(), float(np.random.random()), float(torch.rand(1))))
    assert drawn[0] == drawn[1]


def test_two_runs_in_one_second_get_a_folder_each(fake_recipe: Write, console: Console) -> None:
    folders = {pipeline.run(read(fake_recipe()), None, console) for _ in range(2)}
    assert len(folders) == 2


def test_a_run_killed_in_a_stage_resumes_and_ends_like_an_unbroken_one(
    fake_recipe: Write, console: Console, tmp_path: Path
) -> None:
    recipe, out = fake_recipe(), tmp_path / "killed"
    process = start_blocked(recipe, out)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "2-second" / "done.json").exists()
    assert manifest.read(out).status == "running"

    pipeline.resume(out, None, console)

    assert attempts(out) == [1, 2, 1]
    assert (out / "2-second" / "checkpoint").exists(), "the stage's folder must stay as it was"
    assert manifest.read(out).status == "done"
    assert len(manifest.read(out).resumed) == 1
    assert [stage["name"] for stage in manifest.read(out).stages] == ["first", "second", "fake"]
    unbroken = pipeline.run(read(recipe), tmp_path / "unbroken", console)
    assert figures(out) == figures(unbroken)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_kill_and_a_closed_terminal_print_how_to_resume(
    number: signal.Signals, fake_recipe: Write, tmp_path: Path
) -> None:
    out = tmp_path / "stopped"
    process = start_blocked(fake_recipe(), out)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert f"Interrupted ({number.name})" in output
    assert f"tradeschool resume {out}" in output
    assert "Traceback" not in output
    assert manifest.read(out).status == "interrupted"


def test_a_second_process_cannot_run_the_same_folder(fake_recipe: Write, console: Console, tmp_path: Path) -> None:
    out = tmp_path / "held"
    process = start_blocked(fake_recipe(), out)
    try:
        with pytest.raises(RunError, match=f"in use by process {process.pid}"):
            pipeline.resume(out, None, console)
    finally:
        process.kill()
        process.wait()
    pipeline.resume(out, None, console)
    assert attempts(out) == [1, 2, 1]


def test_the_lock_is_the_operating_systems(fake_recipe: Write, tmp_path: Path) -> None:
    with run_folder.locked(tmp_path), (tmp_path / ".lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with run_folder.locked(tmp_path):
        assert (tmp_path / ".lock").read_text(encoding="utf-8") == str(os.getpid())


def test_after_an_interruption_sft_trains_on_the_data_set_of_an_earlier_stage(
    fake_recipe: Write, console: Console, tmp_path: Path
) -> None:
    stages = """\
  - {stage: fake, name: first, makes_weights: false, writes: 8}
  - {stage: sft, name: second, data: first, trl: {max_steps: 2, per_device_train_batch_size: 4, logging_steps: 1}}
"""
    tiny = "{vocabulary: 300, hidden_size: 16, layers: 1, heads: 2, intermediate_size: 16}"
    path = fake_recipe(("model: {base: tiny}", f"model: {{base: tiny, tiny: {tiny}}}"))
    head, _, _ = path.read_text(encoding="utf-8").partition("  - ")
    path.write_text(head + stages, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sft, "run", lambda config, context: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(read(path), tmp_path / "out", console)

    rows: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "TOKENIZER_EXAMPLES", 20)
        patch.setattr(sft, "check_lengths", lambda config, given, *others: rows.extend(given))
        pipeline.resume(tmp_path / "out", None, console)
    assert (tmp_path / "out" / "1-first" / "attempts.txt").read_text(encoding="utf-8") == "attempt\n"
    assert len(rows) == 8
    done = run_folder.read_done(tmp_path / "out" / "2-second")
    assert done is not None
    assert done.weights is not None
    assert done.summary["loss"] > 0


# refusals


def test_another_recipe_is_refused_naming_the_keys(fake_recipe: Write, console: Console) -> None:
    folder = pipeline.run(read(fake_recipe()), None, console)
    changed = read(fake_recipe(("edge: 0.1", "edge: 0.2"), ("steps: 4", "steps: 5")))
    with pytest.raises(RunError) as raised:
        pipeline.resume(folder, changed, console)
    assert "market.edge: 0.1 -> 0.2" in str(raised.value)
    assert "stages.second.steps: 4 -> 5" in str(raised.value)
    assert str(raised.value).count("->") == 3  # with the heading's "(then -> now)"
    pipeline.resume(folder, read(fake_recipe()), console)


def test_an_edited_recipe_in_the_run_folder_is_refused(fake_recipe: Write, console: Console) -> None:
    folder = pipeline.run(read(fake_recipe()), None, console)
    path = folder / "recipe.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("steps: 4", "steps: 40"), encoding="utf-8")
    with pytest.raises(RunError, match=r"stages\.second\.steps: 4 -> 40"):
        pipeline.resume(folder, None, console)


def failed_in_the_exam(fake_recipe: Write, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose last stage has failed, after it wrote something into its folder."""
    run = fake_stage.run

    def fail_last(config: fake_stage.Config, context: Context) -> Result:
        result = run(config, context)
        if config.name == "fake":
            raise RecipeError("rate is too high")
        return result

    with monkeypatch.context() as patch:
        patch.setattr(fake_stage, "run", fail_last)
        with pytest.raises(RecipeError, match="too high"):
            pipeline.run(read(fake_recipe()), out, Console(quiet=True))
    return out


def test_a_failed_stage_may_be_changed_on_resume(
    fake_recipe: Write, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = failed_in_the_exam(fake_recipe, tmp_path / "run", monkeypatch)
    changed = read(folder / "recipe.yaml", ["stages.fake.rate=0.01"])

    pipeline.resume(folder, changed, console)

    assert attempts(folder) == [1, 1, 1], "finished stages are kept, and the failed one begins again"
    assert (folder / "earlier" / "3-fake-1" / "attempts.txt").exists(), "nothing is removed"
    assert read(folder / "recipe.yaml").resolved == changed.resolved
    record = manifest.read(folder)
    assert (record.status, record.recipe, record.recipe_hash) == ("done", changed.resolved, changed.digest())
    assert [one["keys"] for one in record.changed] == [["stages.fake.rate: 0.1 -> 0.01"]]
    text = " ".join(console.export_text().split())
    assert "stages.fake.rate: 0.1 -> 0.01" in text
    assert "3-fake begins again with the new keys. The earlier attempt is in earlier/3-fake-1" in text
    pipeline.resume(folder, None, console)


def test_the_command_resume_takes_options_and_a_recipe(
    fake_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = failed_in_the_exam(fake_recipe, tmp_path / "run", monkeypatch)
    refused = CliRunner().invoke(app, ["resume", str(folder), "--set", "stages.first.rate=0.01"])
    assert refused.exit_code == 2
    assert "stages.first.rate: 0.1 -> 0.01" in refused.output
    other = fake_recipe(("{stage: fake, makes_weights", "{stage: fake, rate: 0.2, makes_weights"))
    options = ["--recipe", str(other), "--set", "stages.fake.steps=9"]
    assert CliRunner().invoke(app, ["resume", str(folder), *options]).exit_code == 0
    last = read(folder / "recipe.yaml").stages[2]
    assert (last.rate, last.steps) == (0.2, 9)


def test_stages_may_be_added_or_left_out_behind_those_that_have_finished(
    fake_recipe: Write, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = failed_in_the_exam(fake_recipe, tmp_path / "run", monkeypatch)
    stages = "[{stage: fake, name: first}, {stage: fake, name: second, steps: 4}, {stage: fake, name: other}]"
    pipeline.resume(folder, read(folder / "recipe.yaml", [f"stages={stages}"]), console)
    assert (folder / "3-other" / "done.json").exists()
    assert manifest.read(folder).status == "done"


@pytest.mark.parametrize("option", ["stages.second.steps=5", "market.edge=0.2", "task.facts=[rsi]", "seed=6"])
def test_what_finished_stages_were_made_with_may_not_change(
    option: str, fake_recipe: Write, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = failed_in_the_exam(fake_recipe, tmp_path / "run", monkeypatch)
    before = (folder / "recipe.yaml").read_bytes()
    with pytest.raises(RunError) as raised:
        pipeline.resume(folder, read(folder / "recipe.yaml", [option, "stages.fake.rate=0.01"]), console)
    assert f"{option.partition('=')[0]}: " in str(raised.value)
    assert "Only stages that have not finished may change: fake." in str(raised.value)
    assert "stages.fake.rate" not in str(raised.value)
    assert (folder / "recipe.yaml").read_bytes() == before
    assert attempts(folder) == [1, 1, 1]


def test_a_change_that_is_wrong_itself_is_refused_and_changes_nothing(
    fake_recipe: Write, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = failed_in_the_exam(fake_recipe, tmp_path / "run", monkeypatch)
    with pytest.raises(RecipeError, match="lerning_rate"):
        pipeline.resume(folder, read(folder / "recipe.yaml", ["stages.fake.trl.lerning_rate=1"]), console)
    assert not (folder / "earlier").exists()
    assert manifest.read(folder).changed == []


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/checkpoint-2"])
def test_a_link_that_leads_out_of_the_run_is_refused(
    name: str, fake_recipe: Write, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, outside = failed_in_the_exam(fake_recipe, tmp_path / "run", monkeypatch), tmp_path / "outside"
    outside.mkdir()
    link = folder / "3-fake" / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(RunError, match=f"{name} is a link to .*outside, outside of the run"):
        pipeline.resume(folder, None, console)
    link.unlink()
    pipeline.resume(folder, None, console)


def test_a_run_inside_another_run_is_refused(fake_recipe: Write, console: Console, tmp_path: Path) -> None:
    folder = pipeline.run(read(fake_recipe()), tmp_path / "run", console)
    (tmp_path / "link").symlink_to(folder)
    for inside in (folder / "1-first" / "mine", tmp_path / "link" / "mine"):
        with pytest.raises(RunError, match=f"inside of another run, {folder}"):
            pipeline.run(read(fake_recipe()), inside, console)
        assert not inside.exists()


def test_changed_data_are_refused(fake_recipe: Write, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pipeline.run(read(fake_recipe()), None, console)
    other = pipeline.load_panel(read(fake_recipe(), ["market.seed=77"]), console)
    monkeypatch.setattr(pipeline, "load_panel", lambda recipe, console: other)
    with pytest.raises(RunError, match=f"{manifest.read(folder).data_hash}.*{other.data_hash()}"):
        pipeline.resume(folder, None, console)


def test_a_finished_run_has_nothing_left_to_do(fake_recipe: Write, console: Console) -> None:
    folder = pipeline.run(read(fake_recipe()), None, console)
    pipeline.resume(folder, None, console)
    assert attempts(folder) == [1, 1, 1]


def test_a_stage_done_after_one_that_is_not_is_refused_as_out_of_date(fake_recipe: Write, console: Console) -> None:
    folder = pipeline.run(read(fake_recipe()), None, console)
    (folder / "1-first" / "done.json").unlink()
    with pytest.raises(RunError, match="2-second, 3-fake"):
        pipeline.resume(folder, None, console)


def test_weights_that_are_gone_are_named(fake_recipe: Write, console: Console) -> None:
    folder = pipeline.run(read(fake_recipe()), None, console)
    (folder / "1-first" / "weights").rmdir()
    with pytest.raises(RunError, match="1-first/weights"):
        pipeline.resume(folder, None, console)


def test_a_run_folder_can_be_moved(fake_recipe: Write, console: Console, tmp_path: Path) -> None:
    folder = pipeline.run(read(fake_recipe()), tmp_path / "here", console)
    moved = folder.rename(tmp_path / "there")
    done = run_folder.read_done(moved / "1-first")
    assert done is not None
    assert done.weights == moved / "1-first" / "weights"


def test_a_changed_library_is_noted(fake_recipe: Write, console: Console) -> None:
    folder = pipeline.run(read(fake_recipe()), None, console)
    record = manifest.read(folder)
    record.versions["torch"] = "1.0"
    record.write(folder)
    pipeline.resume(folder, None, console)
    assert "torch was 1.0 when the run began" in console.export_text()


def test_an_embargo_shorter_than_the_horizon_is_refused(fake_recipe: Write, console: Console) -> None:
    with pytest.raises(RecipeError, match="Give at least 16, or auto"):
        pipeline.run(read(fake_recipe(), ["split.embargo=15"]), None, console)
    task: Any = pipeline.make_task(read(fake_recipe()), pipeline.load_panel(read(fake_recipe()), console))
    assert task.split.validation_T[0] - task.split.train_T[-1] == 17
    assert task.split.train_T[0] == 30


# checks before the first stage


def refused(recipe: Path, *sets: str) -> str:
    with pytest.raises(RecipeError) as raised:
        pipeline.run(read(recipe, sets), None, Console(quiet=True))
    assert not Path("runs").exists(), "no stage may have started"
    return str(raised.value)


def test_every_stage_checks_with_what_earlier_stages_will_make(
    fake_recipe: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, CheckContext]] = []
    monkeypatch.setattr(fake_stage, "check", lambda config, context: seen.append((config.name, context)), raising=False)
    recipe = read(fake_recipe())
    folder = pipeline.run(recipe, None, Console(quiet=True))
    assert [(name, context.models) for name, context in seen] == [
        ("first", ()),
        ("second", ("first",)),
        ("fake", ("first", "second")),
    ]
    context = seen[0][1]
    assert context.stages == recipe.stages
    assert context.seed == 5
    assert context.task.name == "rating"
    assert len(context.split.rows("test")) > 0
    pipeline.resume(folder, None, Console(quiet=True))
    assert len(seen) == 6


def test_a_stage_that_refuses_is_named(fake_recipe: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(config: Any, context: CheckContext) -> None:
        if config.name == "second":
            raise RecipeError("steps is too small.")

    monkeypatch.setattr(fake_stage, "check", check, raising=False)
    assert refused(fake_recipe()) == "stages.second.steps is too small."


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("stages.fake.trl.lerning_rate=1", ["stages.fake.trl.lerning_rate", "Did you mean 'learning_rate'"]),
        ("stages.fake.trl.shuffle=no", ["stages.fake.trl.shuffle", "Write true or false"]),
        ("model.base=./nowhere", ["model.base", "does not exist"]),
        ("model.lora={lora_alfa: 8}", ["model.lora.lora_alfa", "Did you mean 'lora_alpha'"]),
    ],
)
def test_what_would_fail_in_a_later_stage_is_refused(fake_recipe: Write, option: str, words: list[str]) -> None:
    message = refused(fake_recipe(), option)
    for word in words:
        assert word in message


def test_a_curriculum_that_cannot_be_made_is_refused(fake_recipe: Write) -> None:
    stage = "{stage: sft, name: first, curriculum: volatile, volatile_by: index}"
    assert "stages.first.volatile_by" in refused(fake_recipe(("{stage: fake, name: first}", stage)))


# disk problems and bugs


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(config: fake_stage.Config, context: Context) -> Result:
        raise error

    monkeypatch.setattr(fake_stage, "run", run)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/runs/x/model.safetensors"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_a_plain_error(
    fake_recipe: Write, console: Console, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failing(monkeypatch, error)
    with pytest.raises(RunError, match="the disk is full") as raised:
        pipeline.run(read(fake_recipe()), None, console)
    assert any("tradeschool resume" in note for note in raised.value.__notes__)
    assert manifest.read(run_folder.find("fake")).status == "failed"


def test_a_bug_keeps_its_error_and_names_the_run_folder(
    fake_recipe: Write, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, ZeroDivisionError("division by zero"))
    with pytest.raises(ZeroDivisionError) as raised:
        pipeline.run(read(fake_recipe()), None, console)
    assert str(run_folder.find("fake")) in "".join(raised.value.__notes__)


def test_an_unwritable_folder_is_a_plain_error(
    fake_recipe: Write, console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "runs"))

    # Permissions do not bind root, as which containers run tests.
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(RunError, match=r"permission denied.*--out"):
        pipeline.run(read(fake_recipe()), None, console)


def test_out_must_be_new_or_empty(fake_recipe: Write, console: Console, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(RunError, match="not empty. Choose a new folder"):
        pipeline.run(read(fake_recipe()), tmp_path / "full", console)
    pipeline.run(read(fake_recipe()), tmp_path / "new" / "deep", console)
    with pytest.raises(RunError, match="Resume it"):
        pipeline.run(read(fake_recipe()), tmp_path / "new" / "deep", console)


def test_a_run_is_found_by_path_or_by_its_recipes_name(fake_recipe: Write, console: Console) -> None:
    folder = pipeline.run(read(fake_recipe()), None, console)
    for text in (str(folder), "runs/fake/latest", "runs/fake", "fake"):
        assert run_folder.find(text) == folder
    with pytest.raises(RunError, match="Did you mean 'fake'"):
        run_folder.find("fkae")
    with pytest.raises(RunError, match="is not a run folder"):
        run_folder.find(str(folder / "1-first"))


def test_a_damaged_manifest_is_a_plain_error(fake_recipe: Write, console: Console) -> None:
    folder = pipeline.run(read(fake_recipe()), None, console)
    (folder / "manifest.json").write_text('{"recipe": ', encoding="utf-8")
    with pytest.raises(RunError, match="damaged"):
        pipeline.resume(folder, None, console)
