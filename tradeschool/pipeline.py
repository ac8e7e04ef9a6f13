"""Runs a recipe's stages in a run folder, and resumes runs that were interrupted."""

import contextlib
import dataclasses
import os
import resource
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.markup import escape

from tradeschool import manifest as manifests
from tradeschool import run_folder
from tradeschool.config.document import to_yaml
from tradeschool.config.recipe import Recipe, differences, load_panel, make_task, read
from tradeschool.errors import RunError, machine_error
from tradeschool.manifest import Manifest, Status
from tradeschool.market.panel import Panel
from tradeschool.preflight import check_options, check_stages
from tradeschool.progress import status
from tradeschool.tasks.base import Task
from tradeschool.train.stage import Context, Result, stage_named


class _Run:
    """A run whose folder is locked. The models and data sets of its ``context`` grow as stages finish."""

    def __init__(self, recipe: Recipe, manifest: Manifest, context: Context) -> None:
        self.recipe, self.manifest, self.context = recipe, manifest, context
        self.folder, self.console = context.run_folder, context.console
        self.stage_folders = [self.folder / f"{number}-{stage.name}" for number, stage in enumerate(recipe.stages, 1)]


def run(recipe: Recipe, out: Path | None, console: Console) -> Path:
    """Run every stage of a recipe in a new run folder, and return that.

    A note on an error says how to resume.
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
        this = _Run(recipe, manifest, make_context(folder, recipe, manifest, panel, task, console))
        with _accounted(this):
            (folder / run_folder.RECIPE).write_text(to_yaml(recipe.resolved), encoding="utf-8")
            manifest.write(folder)
            _run_stages(this)
    return folder


def resume(folder: Path, recipe: Recipe | None, console: Console) -> Path:
    """Resume a run: finished stages are kept, and the stage that was interrupted continues in its folder.

    Args:
        folder, console: the run folder, and where progress is shown.
        recipe: the recipe to go on with, which may differ from the run's in stages that have not finished. A stage that
            had begun with other keys begins again. None takes the run folder's own.

    Raises:
        RunError: the recipe differs elsewhere, the data have changed, or the folder is in use or is not a run folder.
    """
    _prepare_environment()
    with run_folder.locked(folder):
        manifest = manifests.read(folder)
        recipe = recipe or read(folder / run_folder.RECIPE)
        changed = _changes(manifest, recipe, folder)
        run_folder.refuse_links(folder)
        for name, now in manifests.versions().items():
            if (then := manifest.versions.get(name, now)) != now:
                console.print(f"Note: {name} was {then} when the run began, and is now {now}.", highlight=False)
        panel, task = _checked(recipe, console)
        if panel.data_hash() != manifest.data_hash:
            raise RunError(
                f"{folder} was started on data {manifest.data_hash} ({manifest.data_name}), but the market now "
                f"holds data {panel.data_hash()} ({panel.name}). Put the old files back, or start a new run."
            )
        this = _Run(recipe, manifest, make_context(folder, recipe, manifest, panel, task, console))
        with _accounted(this):
            manifest.resumed.append(manifests.now())
            if changed:
                _change_recipe(this, changed)
            manifest.status, manifest.ended = "running", None
            manifest.write(folder)
            _run_stages(this)
    return folder


def make_context(
    folder: Path, recipe: Recipe, manifest: Manifest, panel: Panel, task: Task, console: Console
) -> Context:
    """What the stages of a run share. Its ``folder`` is that of the run: every stage gets its own instead.

    The commit in ``versions`` is that of the code that runs now, where it runs from a git checkout, and says whether it
    was changed.
    """
    source = manifests.source_state()
    versions = {
        "tradeschool": manifest.versions["tradeschool"],
        "task": manifest.task_version,
        "data": manifest.data_hash,
        **({"commit": source["commit"] + ("-dirty" if source["dirty"] else "")} if source else {}),
    }
    return Context(folder, folder, panel, task, recipe.model, {}, recipe.seed, console, versions)


def _checked(recipe: Recipe, console: Console) -> tuple[Panel, Task]:
    """The recipe's market and task, after every check that can be made before the first stage."""
    check_options(recipe)
    with status(console, "Reading the market"):
        panel = load_panel(recipe, console)
    with status(console, "Checking every stage"):
        task = make_task(recipe, panel)
        check_stages(recipe, panel, task)
    return panel, task


def _prepare_environment() -> None:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


# stages ------------------------------------------------------------------------------------------


def _run_stages(this: _Run) -> None:
    """Run every stage in order; a stage with done.json only hands on what it made."""
    total, started = len(this.recipe.stages), time.monotonic()
    _refuse_gaps(this)
    for number, (config, module) in enumerate(zip(this.recipe.stages, this.recipe.modules, strict=True), 1):
        folder = this.stage_folders[number - 1]
        title = f"Stage {number} of {total}: {config.name}"
        done = run_folder.read_done(folder)
        if done is None:
            this.console.rule(f"[bold]{title}[/bold]", align="left")
            done = _run_stage(this, folder, config, module)
            this.console.print(f"{title} took {_took(done.seconds)}, peak memory {done.peak_memory_bytes / 1e9:.2f} GB")
        else:
            this.console.print(f"{title} has already finished, in {_took(done.seconds)}: kept")
        if done.weights is not None:
            (this.context.agents if done.kind == "numeric" else this.context.models)[config.name] = done.weights
        this.context.datasets.update(done.datasets)
    if any(stage.stage == "leaderboard" for stage in this.recipe.stages):  # an evaluate stage has written its own
        from tradeschool.evaluate.report import report_leaderboard

        report_leaderboard(this.folder, this.console)
    this.console.print(f"All {total} stages done. This took {_took(time.monotonic() - started)}.")
    report = this.folder / run_folder.REPORT
    made = f"Report: {report}" if report.exists() else f"Run folder: {this.folder}"
    this.console.print(made, soft_wrap=True, highlight=False, markup=False)


def _run_stage(this: _Run, folder: Path, config: Any, module: ModuleType) -> run_folder.Done:
    folder.mkdir(exist_ok=True)
    set_seed(this.recipe.seed)
    with contextlib.suppress(OSError):  # where it is not allowed, the peak of the whole process is reported
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    started = time.monotonic()
    with stage_named(config):
        result: Result = module.run(config, dataclasses.replace(this.context, folder=folder))
    seconds, memory = time.monotonic() - started, _peak_memory()
    done = run_folder.Done(result.weights, result.summary, result.kind, result.datasets, seconds, memory)
    run_folder.write_done(folder, done)
    entry = {"name": config.name, "seconds": round(seconds, 3), "peak_memory_bytes": memory}
    entry |= {"steps": result.summary["steps"]} if "steps" in result.summary else {}
    this.manifest.stages = [stage for stage in this.manifest.stages if stage["name"] != config.name] + [entry]
    # The stage may have loaded torch, which knows its threads and the GPU.
    this.manifest.machine = manifests.machine()
    this.manifest.write(this.folder)
    return done


def _refuse_gaps(this: _Run) -> None:
    """Refuse to run an earlier stage again while a later one is marked as finished: its result would be stale."""
    folders = this.stage_folders
    missing = [folder for folder in folders if not (folder / run_folder.DONE).exists()]
    stale = [folder.name for folder in folders[folders.index(missing[0]) :] if folder not in missing] if missing else []
    if stale:
        raise RunError(
            f"{this.folder}: {missing[0].name} has to run again, so what came after it is out of date: "
            f"{', '.join(stale)}. Remove those folders, or start a new run."
        )


def set_seed(seed: int) -> None:
    """Seed Python, numpy and torch."""
    import transformers

    transformers.set_seed(seed)


@contextlib.contextmanager
def _accounted(this: _Run) -> Iterator[None]:
    """Write how the run ended into its manifest, and add to an error how to resume."""

    def close(status: Status) -> None:
        this.manifest.status, this.manifest.ended = status, manifests.now()
        this.manifest.write(this.folder)

    hint = f"The run folder is {this.folder}\nResume it with: tradeschool resume {this.folder}"
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(OSError):  # a full disk is often what ended the run, and that error explains more
            close("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        plain = machine_error(error, this.folder)
        if plain is None:
            error.add_note(hint)
            raise
        plain.add_note(hint)
        raise plain from error
    close("done")


def _changes(manifest: Manifest, recipe: Recipe, folder: Path) -> list[str]:
    """The lines ``key: old -> new`` in which the recipe differs from the run's.

    Raises:
        RunError: one of them is in a section, or in a stage that has finished.
    """
    old, new = manifest.recipe, recipe.resolved
    names = [stage["name"] for stage in old["stages"]]
    finished = sum((folder / f"{number}-{name}" / run_folder.DONE).exists() for number, name in enumerate(names, 1))
    held = differences({**old, "stages": old["stages"][:finished]}, {**new, "stages": new["stages"][:finished]})
    if held:
        listed = "\n".join(f"  {line}" for line in held)
        left = ", ".join(names[finished:])
        may = f"Only stages that have not finished may change: {left}." if left else "All stages have finished."
        raise RunError(
            f"{folder} was started with a different recipe. These keys differ (then -> now):\n{listed}\n"
            f"{may} Put the old values back to resume, or start a new run."
        )
    return differences(old, new)


def _change_recipe(this: _Run, changed: list[str]) -> None:
    """Go on with the new recipe, and set aside what stages that had begun with other keys have left."""
    before = dict(enumerate(this.manifest.recipe["stages"], 1))
    for number, stage in enumerate(this.recipe.resolved["stages"], 1):
        folder = this.stage_folders[number - 1]
        if before.get(number) != stage and folder.exists():
            aside = run_folder.set_aside(folder)
            kept = aside.relative_to(folder.parent)
            text = f"Note: {folder.name} begins again with the new keys. The earlier attempt is in {kept}."
            this.console.print(escape(text), highlight=False)
    listed = "\n".join(["Changed in the recipe:", *(f"  {line}" for line in changed)])
    this.console.print(escape(listed), highlight=False)
    this.manifest.changed.append({"at": manifests.now(), "keys": changed})
    this.manifest.recipe, this.manifest.recipe_hash = this.recipe.resolved, this.recipe.digest()
    manifests.replace_text(this.folder / run_folder.RECIPE, to_yaml(this.recipe.resolved))


# time and memory ----------------------------------------------------------------------------


def _peak_memory() -> int:
    """Peak resident memory in bytes since the last reset."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
    return peaks[0] if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))
