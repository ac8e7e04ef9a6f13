"""Runs a recipe's stages in a run folder, and resumes runs that were interrupted.

Before the first stage, everything that can be known to fail later is refused.
"""

import contextlib
import importlib.util
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.markup import escape

from tradeschool import manifest as manifests
from tradeschool import run_folder
from tradeschool.config.check import faults
from tradeschool.config.document import to_yaml
from tradeschool.config.recipe import Recipe, differences, load_panel, make_task, makes, read, split_for
from tradeschool.errors import RecipeError, RunError, TradeschoolError
from tradeschool.manifest import Manifest, Status
from tradeschool.market.panel import Panel
from tradeschool.tasks.base import Task
from tradeschool.train.curriculum import CurriculumConfig, select_examples
from tradeschool.train.stage import CheckContext, Context, Result

PASSED_ON = {"trl": "TRL", "sb3": "SB3"}
"""Keys of a stage that are passed on to a library's class, and where its module names that class."""


@dataclass
class _Run:
    """A run whose folder is locked. ``models``, ``agents`` and ``datasets`` grow as stages finish."""

    folder: Path
    recipe: Recipe
    panel: Panel
    task: Task
    manifest: Manifest
    console: Console
    models: dict[str, Path] = field(default_factory=dict)
    agents: dict[str, Path] = field(default_factory=dict)
    datasets: dict[str, Path] = field(default_factory=dict)


def run(recipe: Recipe, out: Path | None, console: Console) -> Path:
    """Run every stage of a recipe in a new run folder.

    Returns:
        The run folder.

    Raises:
        TradeschoolError: a problem that the user can fix. A note on the error says how to resume.
    """
    _prepare_environment()
    for note in recipe.notes:
        console.print(f"Note: {escape(note)}.", highlight=False)
    panel, task = _checked(recipe, console)
    folder = run_folder.create(recipe.name, out)
    with run_folder.locked(folder):
        seeds = {"run": recipe.seed}
        if "seed" in recipe.resolved["market"]:
            seeds["market"] = recipe.resolved["market"]["seed"]
        manifest = Manifest(recipe.resolved, recipe.digest(), panel.name, panel.data_hash(), task.version, seeds)
        this = _Run(folder, recipe, panel, task, manifest, console)
        with _accounted(this):
            (folder / run_folder.RECIPE).write_text(to_yaml(recipe.resolved), encoding="utf-8")
            manifest.write(folder)
            _run_stages(this)
    return folder


def resume(folder: Path, recipe: Recipe | None, console: Console) -> Path:
    """Resume a run: finished stages are kept, and the stage that was interrupted continues in its folder.

    Args:
        folder: the run folder.
        recipe: compared with the recipe that the run was started with; None takes the run folder's own.
        console: for progress and results.

    Raises:
        RunError: the recipe or the data have changed, or the folder is in use or is not a run folder.
    """
    _prepare_environment()
    with run_folder.locked(folder):
        manifest = manifests.read(folder)
        recipe = recipe or read(folder / run_folder.RECIPE)
        _refuse_changed_recipe(manifest, recipe, folder)
        _print_changed_versions(manifest, console)
        panel, task = _checked(recipe, console)
        if panel.data_hash() != manifest.data_hash:
            raise RunError(
                f"{folder} was started on data {manifest.data_hash} ({manifest.data_name}), but the market now "
                f"holds data {panel.data_hash()} ({panel.name}). Put the old files back, or start a new run."
            )
        this = _Run(folder, recipe, panel, task, manifest, console)
        with _accounted(this):
            manifest.resumed.append(manifests.now())
            manifest.status, manifest.ended = "running", None
            manifest.write(folder)
            _run_stages(this)
    return folder


def versions(manifest: Manifest) -> dict[str, str]:
    """The versions that every trace of a run carries.

    ``commit`` is that of the code that runs now, where it runs from a git checkout, and says whether it was changed.
    """
    source = manifests.source_state()
    commit = {"commit": source["commit"] + ("-dirty" if source["dirty"] else "")} if source else {}
    return {
        "tradeschool": manifest.versions["tradeschool"],
        "task": manifest.task_version,
        "data": manifest.data_hash,
        **commit,
    }


def _prepare_environment() -> None:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


# checks -------------------------------------------------------------------------------------------


def _checked(recipe: Recipe, console: Console) -> tuple[Panel, Task]:
    """The recipe's market and task, after every check that can be made before the first stage."""
    for stage, module in zip(recipe.stages, recipe.modules, strict=True):
        for key, attribute in PASSED_ON.items():
            _check_passed_on(getattr(stage, key, {}), getattr(module, attribute, None), f"stages.{stage.name}.{key}")
    _check_model(recipe.model)
    panel = load_panel(recipe, console)
    task = make_task(recipe, panel)
    _check_stages(recipe, panel, task)
    return panel, task


def _check_passed_on(given: dict[str, Any], target: Any, where: str) -> None:
    if given and target is None:
        raise RecipeError(f"{where}: this stage passes nothing on. Remove it.")
    for key, fault in faults(given, target) if given else ():
        raise RecipeError(f"{where}.{key}: {fault}")


def _check_model(model: Any) -> None:
    base = str(model.base)
    if base.startswith((".", "/", "~")) and not Path(base).expanduser().exists():
        raise RecipeError(f"model.base: {base} does not exist. Give a folder, a Hub name, or 'tiny'.")
    if model.lora is not None:
        _check_passed_on(model.lora.model_dump(exclude_unset=True), "peft:LoraConfig", "model.lora")
    if model.load_in_4bit and importlib.util.find_spec("bitsandbytes") is None:
        raise RecipeError(
            "model.load_in_4bit needs bitsandbytes, which is not installed: pip install 'tradeschool[gpu]'"
        )


def _check_stages(recipe: Recipe, panel: Panel, task: Task) -> None:
    """Each stage's own ``check``, in order, and its curriculum."""
    split = split_for(recipe, panel)
    made: dict[str, list[str]] = {"language": [], "numeric": []}
    for stage, module in zip(recipe.stages, recipe.modules, strict=True):
        context = CheckContext(
            task=task,
            panel=panel,
            model=recipe.model,
            seed=recipe.seed,
            split=split,
            stages=recipe.stages,
            models=tuple(made["language"]),
            agents=tuple(made["numeric"]),
        )
        where = f"stages.{stage.name}"
        try:
            if hasattr(module, "check"):
                module.check(stage, context)
        except RecipeError as error:
            if str(error).startswith((where, "task.", "model.", "market.", "split.")):
                raise
            raise RecipeError(f"{where}: {error}") from error
        if isinstance(stage, CurriculumConfig):
            try:
                select_examples(task, stage, panel, seed=recipe.seed, log=lambda text: None)
            except RecipeError as error:
                raise RecipeError(f"{where}.{error}") from error
        if (kind := makes(module)) in made:
            made[kind].append(stage.name)


# stages ------------------------------------------------------------------------------------------


def _run_stages(this: _Run) -> None:
    """Run every stage in order; a stage with done.json only hands on what it made."""
    total, started = len(this.recipe.stages), time.monotonic()
    _refuse_gaps(this)
    for number, (config, module) in enumerate(zip(this.recipe.stages, this.recipe.modules, strict=True), 1):
        folder = _stage_folder(this, number)
        title = f"Stage {number} of {total}: {config.name}"
        done = run_folder.read_done(folder)
        if done is None:
            this.console.rule(f"[bold]{title}[/bold]", align="left")
            done = _run_stage(this, folder, config, module)
            this.console.print(f"{title} took {_took(done.seconds)}, peak memory {done.peak_memory_bytes / 1e9:.2f} GB")
        else:
            this.console.print(f"{title} has already finished, in {_took(done.seconds)}: kept")
        if done.weights is not None:
            (this.agents if done.kind == "numeric" else this.models)[config.name] = done.weights
        this.datasets.update(done.datasets)
    _report(this)
    this.console.print(f"All {total} stages done. This took {_took(time.monotonic() - started)}.")
    report = this.folder / run_folder.REPORT
    _print_path(this.console, "Report" if report.exists() else "Run folder", report if report.exists() else this.folder)


def _report(this: _Run) -> None:
    """Write a leaderboard's report, which covers the whole run; an evaluate stage has written its own."""
    if any(stage.stage == "leaderboard" for stage in this.recipe.stages):
        from tradeschool.evaluate.report import report_leaderboard

        report_leaderboard(this.folder, this.console)


def _run_stage(this: _Run, folder: Path, config: Any, module: ModuleType) -> run_folder.Done:
    folder.mkdir(exist_ok=True)
    set_seed(this.recipe.seed)
    _reset_peak_memory()
    started = time.monotonic()
    context = Context(
        folder=folder,
        run_folder=this.folder,
        panel=this.panel,
        task=this.task,
        model=this.recipe.model,
        models=dict(this.models),
        agents=dict(this.agents),
        datasets=dict(this.datasets),
        seed=this.recipe.seed,
        console=this.console,
        versions=versions(this.manifest),
    )
    result: Result = module.run(config, context)
    seconds, memory = time.monotonic() - started, _peak_memory()
    run_folder.write_done(folder, result, seconds, memory)
    entry = {"name": config.name, "seconds": round(seconds, 3), "peak_memory_bytes": memory}
    this.manifest.stages = [stage for stage in this.manifest.stages if stage["name"] != config.name] + [entry]
    # The stage may have loaded torch, which knows its threads and the GPU.
    this.manifest.machine = manifests.machine()
    this.manifest.write(this.folder)
    return run_folder.Done(result.weights, result.summary, seconds, memory, result.kind, result.datasets)


def _stage_folder(this: _Run, number: int) -> Path:
    return this.folder / f"{number}-{this.recipe.stages[number - 1].name}"


def _refuse_gaps(this: _Run) -> None:
    """Refuse to run an earlier stage again while a later one is marked as finished: its result would be stale."""
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


def set_seed(seed: int) -> None:
    """Seed Python, numpy and torch."""
    import transformers

    transformers.set_seed(seed)


@contextlib.contextmanager
def _accounted(this: _Run) -> Iterator[None]:
    """Write how the run ended into its manifest, and add to an error how to resume."""
    hint = f"The run folder is {this.folder}\nResume it with: tradeschool resume {this.folder}"
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
        # A full disk is often what ended the run, and that error explains more than this one.
        if status == "done":
            raise


def _refuse_changed_recipe(manifest: Manifest, recipe: Recipe, folder: Path) -> None:
    changed = differences(manifest.recipe, recipe.resolved)
    if changed:
        listed = "\n".join(f"  {line}" for line in changed)
        raise RunError(
            f"{folder} was started with a different recipe. These keys differ (then -> now):\n{listed}\n"
            "Put the old values back to resume, or start a new run with the new ones."
        )


def _print_changed_versions(manifest: Manifest, console: Console) -> None:
    current = manifests.versions()
    for name, version in manifest.versions.items():
        if current.get(name) != version:
            console.print(
                f"Note: {name} was {version} when the run began, and is now {current.get(name)}.", highlight=False
            )


# time and memory ----------------------------------------------------------------------------


def _reset_peak_memory() -> None:
    """Reset the peak on Linux; where that is not allowed, the peak of the whole process is reported."""
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
