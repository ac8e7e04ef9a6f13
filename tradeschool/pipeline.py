"""Runs a recipe's stages in a run folder, and goes on with a run that was cut off."""

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.markup import escape

from tradeschool import manifest as manifests
from tradeschool import run_folder, yaml_text
from tradeschool.errors import RecipeError, RunError, TradeschoolError
from tradeschool.manifest import Manifest, Status
from tradeschool.market.panel import Panel
from tradeschool.opening import load_panel, make_task
from tradeschool.recipe import Recipe, differences, read
from tradeschool.tasks.base import Task
from tradeschool.train.stage import Context, Result
from tradeschool.verbatim import faults

VERBATIM = ("trl", "sb3")
"""Mappings of a stage that go to a library as they are; a module that takes one names the class in TRL or SB3."""


@dataclass
class _Run:
    """A run that holds its folder's lock."""

    folder: Path
    recipe: Recipe
    panel: Panel
    task: Task
    manifest: Manifest
    console: Console


def run(recipe: Recipe, out: Path | None, console: Console) -> Path:
    """Run every stage of a recipe in a new run folder, and return the folder.

    Raises:
        TradeschoolError: something that a person can mend. A note on the error says how to resume.
    """
    _prepare_environment()
    for note in recipe.notes:
        console.print(f"Note: {escape(note)}.", highlight=False)
    _check_verbatim(recipe)
    panel = load_panel(recipe, console)
    task = make_task(recipe, panel)
    _check_task(recipe, task)
    _check_slices(recipe, task, panel)
    folder = run_folder.create(recipe.name, out)
    with run_folder.locked(folder):
        seeds = {"run": recipe.seed}
        if "seed" in recipe.resolved["market"]:
            seeds["market"] = recipe.resolved["market"]["seed"]
        manifest = Manifest(recipe.resolved, recipe.digest(), panel.name, panel.data_hash(), task.version, seeds)
        this = _Run(folder, recipe, panel, task, manifest, console)
        with _accounted(this):
            (folder / run_folder.RECIPE).write_text(yaml_text.write(recipe.resolved), encoding="utf-8")
            manifest.write(folder)
            _run_stages(this)
    return folder


def resume(folder: Path, recipe: Recipe | None, console: Console) -> Path:
    """Go on with a run: finished stages are kept, the one that was cut off continues in its folder.

    ``recipe`` is compared with the one that the run was started with; None takes the run folder's own.

    Raises:
        RunError: the recipe or the data have changed since, or the folder is in use or is no run folder.
    """
    _prepare_environment()
    with run_folder.locked(folder):
        manifest = manifests.read(folder)
        recipe = recipe or read(folder / run_folder.RECIPE)
        _refuse_changed_recipe(manifest, recipe, folder)
        _tell_changed_versions(manifest, console)
        _check_verbatim(recipe)
        panel = load_panel(recipe, console)
        if panel.data_hash() != manifest.data_hash:
            raise RunError(
                f"{folder} was started on data {manifest.data_hash} ({manifest.data_name}), but the market now "
                f"holds data {panel.data_hash()} ({panel.name}). Put the old files back, or start a new run."
            )
        this = _Run(folder, recipe, panel, make_task(recipe, panel), manifest, console)
        with _accounted(this):
            manifest.resumed.append(manifests.now())
            manifest.status, manifest.ended = "running", None
            manifest.write(folder)
            _run_stages(this)
    return folder


def _prepare_environment() -> None:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _check_verbatim(recipe: Recipe) -> None:
    """Refuse a misspelt key, or a word for true or false, that goes verbatim to a library, before any stage has run."""
    for stage, module in zip(recipe.stages, recipe.modules, strict=True):
        for mapping in VERBATIM:
            given, target = getattr(stage, mapping, {}), getattr(module, mapping.upper(), None)
            where = f"stages.{stage.name}.{mapping}"
            if given and target is None:
                raise RecipeError(f"{where}: the stage '{stage.stage}' hands nothing to {mapping.upper()}. Remove it.")
            for key, fault in faults(given, target) if given else ():
                raise RecipeError(f"{where}.{key}: {fault}")


def _check_task(recipe: Recipe, task: Task) -> None:
    """Refuse a task that a stage cannot train on now, not after the stages before it have run."""
    for stage, module in zip(recipe.stages, recipe.modules, strict=True):
        if hasattr(module, "check_task"):
            module.check_task(stage, task)


def _check_slices(recipe: Recipe, task: Task, panel: Panel) -> None:
    """Refuse a slice that cannot be made now, not after the stages before it have run."""
    from tradeschool.market.slices import SliceConfig, sliced

    for stage in recipe.stages:
        if not isinstance(stage, SliceConfig):
            continue
        try:
            sliced(task, stage, panel, seed=recipe.seed, tell=lambda text: None)
        except RecipeError as error:
            raise RecipeError(f"stages.{stage.model_dump()['name']}.{error}") from error


# stages ------------------------------------------------------------------------------------------


def _run_stages(this: _Run) -> None:
    """Every stage in order; those with done.json only hand on their weights."""
    total, started = len(this.recipe.stages), time.monotonic()
    _refuse_gaps(this)
    models: dict[str, Path] = {}
    agents: dict[str, Path] = {}
    for number, (config, module) in enumerate(zip(this.recipe.stages, this.recipe.modules, strict=True), 1):
        folder = _stage_folder(this, number)
        title = f"Stage {number} of {total}: {config.name}"
        done = run_folder.read_done(folder)
        if done is None:
            this.console.rule(f"[bold]{title}[/bold]", align="left")
            done = _run_stage(this, folder, config, module, models, agents)
            this.console.print(f"{title} took {_took(done.seconds)}, peak memory {done.peak_memory_bytes / 1e9:.2f} GB")
        else:
            this.console.print(f"{title} was finished before, in {_took(done.seconds)}: kept")
        if done.weights is not None:
            (agents if done.kind == "numeric" else models)[config.name] = done.weights
    _report(this)
    this.console.print(f"All {total} stages done. This took {_took(time.monotonic() - started)}.")
    report = this.folder / run_folder.REPORT
    _print_path(this.console, "Report" if report.exists() else "Run folder", report if report.exists() else this.folder)


def _report(this: _Run) -> None:
    """A leaderboard's report tells of the whole run, so it is written at its end; an evaluation has written its own."""
    if any(stage.stage == "leaderboard" for stage in this.recipe.stages):
        from tradeschool.evaluate.run_report import report_leaderboard

        report_leaderboard(this.folder, this.console)


def _run_stage(
    this: _Run, folder: Path, config: Any, module: ModuleType, models: dict[str, Path], agents: dict[str, Path]
) -> run_folder.Done:
    folder.mkdir(exist_ok=True)
    _set_seed(this.recipe.seed)
    _reset_peak_memory()
    started = time.monotonic()
    context = Context(
        folder=folder,
        run_folder=this.folder,
        panel=this.panel,
        task=this.task,
        model=this.recipe.model,
        models=dict(models),
        agents=dict(agents),
        seed=this.recipe.seed,
        console=this.console,
        versions={
            "tradeschool": this.manifest.versions["tradeschool"],
            "task": this.task.version,
            "data": this.manifest.data_hash,
        },
    )
    result: Result = module.run(config, context)
    seconds, memory = time.monotonic() - started, _peak_memory()
    run_folder.write_done(folder, result, seconds, memory)
    entry = {"name": config.name, "seconds": round(seconds, 3), "peak_memory_bytes": memory}
    this.manifest.stages = [stage for stage in this.manifest.stages if stage["name"] != config.name] + [entry]
    # A stage may have loaded torch since, which knows its threads and the GPU.
    this.manifest.machine = manifests.machine()
    this.manifest.write(this.folder)
    return run_folder.Done(result.weights, result.summary, seconds, memory, result.kind)


def _stage_folder(this: _Run, number: int) -> Path:
    return this.folder / f"{number}-{this.recipe.stages[number - 1].name}"


def _refuse_gaps(this: _Run) -> None:
    """A later stage's result is stale once an earlier one has to run again."""
    folders = [_stage_folder(this, number) for number in range(1, len(this.recipe.stages) + 1)]
    done = [(folder / run_folder.DONE).exists() for folder in folders]
    if done != sorted(done, reverse=True):
        first = done.index(False)
        stale = ", ".join(
            folder.name for folder, finished in zip(folders[first:], done[first:], strict=True) if finished
        )
        raise RunError(
            f"{this.folder}: {folders[first].name} has to run again, so what came after it is out of date: {stale}. "
            "Remove those folders, or start a new run."
        )


def _set_seed(seed: int) -> None:
    from transformers import set_seed

    set_seed(seed)


@contextlib.contextmanager
def _accounted(this: _Run) -> Iterator[None]:
    """Write how the run ended into its manifest, and put the way to resume on whatever ended it."""
    hint = f"The run folder is {this.folder}\nGo on with: tradeschool resume {this.folder}"
    try:
        yield
    except BaseException as error:
        _close(this, "interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        plain = None if isinstance(error, TradeschoolError) else run_folder.plain_os_error(error, this.folder)
        if plain is None:
            error.add_note(hint)
            raise
        plain.add_note(hint)
        raise plain from error
    _close(this, "done")


def _close(this: _Run, status: Status) -> None:
    this.manifest.status, this.manifest.ended = status, manifests.now()
    try:
        this.manifest.write(this.folder)
    except OSError:
        # A full disk is often what ended the run: its own error says more than this one would.
        if status == "done":
            raise


def _refuse_changed_recipe(manifest: Manifest, recipe: Recipe, folder: Path) -> None:
    changed = differences(manifest.recipe, recipe.resolved)
    if changed:
        listed = "\n".join(f"  {line}" for line in changed)
        raise RunError(
            f"{folder} was started with another recipe. These keys differ (then -> now):\n{listed}\n"
            "Put the old values back to resume, or start a new run with the new ones."
        )


def _tell_changed_versions(manifest: Manifest, console: Console) -> None:
    current = manifests.versions()
    for name, version in manifest.versions.items():
        if current.get(name) != version:
            console.print(
                f"Note: {name} was {version} when the run began, and is {current.get(name)} now.", highlight=False
            )


# measuring and saying ----------------------------------------------------------------------------


def _reset_peak_memory() -> None:
    """Linux forgets a process's peak when 5 is written here; where that is not allowed, peaks only grow."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_memory() -> int:
    """Peak resident memory in bytes since the last reset."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
    return peaks[0] if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def _print_path(console: Console, what: str, path: Path) -> None:
    console.print(f"{what}: {escape(str(path))}", soft_wrap=True, highlight=False)
