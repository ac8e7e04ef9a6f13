"""What every stage is given, and what it hands on."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict
from rich.console import Console

from tradeschool.errors import RecipeError
from tradeschool.market.panel import Panel
from tradeschool.market.splits import Split
from tradeschool.tasks.base import Task


class StageConfig(BaseModel):
    """Fields common to all stages. Unknown keys are refused by the recipe with a did-you-mean.

    ``trl`` is passed to TRL's own configuration class as it is.
    """

    model_config = ConfigDict(extra="forbid")

    stage: str
    name: str = ""
    trl: dict[str, Any] = {}


@contextmanager
def stage_named(stage: StageConfig) -> Iterator[None]:
    """Put the stage's name in front of what it refuses, unless the text begins with a section of the recipe."""
    try:
        yield
    except RecipeError as error:
        text = str(error)
        if text.startswith(("stages.", "task.", "model.", "market.", "split.")):
            raise
        is_key = re.split(r"\W", text)[0] in type(stage).model_fields
        raise RecipeError(f"stages.{stage.name}{'.' if is_key else ': '}{text}") from error


Kind = Literal["language", "numeric"]
"""Of weights: a language model, or an agent that acts on numeric observations (``policies/numeric.py``)."""


@dataclass(frozen=True)
class CheckContext:
    """What a stage can check before the first stage starts.

    ``stages`` are the configs of all stages, in order. ``models``, ``agents`` and ``datasets`` name the earlier stages
    that train a language model or an agent on numeric observations, or write a data set. ``model`` is the recipe's
    ``model`` section.
    """

    task: Task
    panel: Panel
    split: Split
    model: Any
    seed: int
    stages: tuple[StageConfig, ...] = ()
    models: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()


BASE: Final = "base"
"""What recipes, commands and the API call the model that a run starts from."""


def base_row(base: str) -> str:
    """The row of the base model in tables, such as ``base model (tiny)``, from ``model.base``: a word, folder or name.

    The row's kind says that it is the base model; nothing depends on this text.
    """
    path = Path(base)
    return f"base model ({(path.parent.name if path.name == 'weights' else path.name) or base})"


def refuse_reserved(context: CheckContext, rows: Iterable[str] = ()) -> None:
    """Refuse a stage that trains a model under a reserved name, since two rows of a table would have it."""
    names = {BASE, *(policy.name for policy in context.task.baselines(0)), *rows}
    for name in (*context.models, *context.agents):
        if name in names:
            raise RecipeError(
                f"stages.{name}.name: '{name}' is the name of a baseline or of the base model. Give the stage a name "
                f"other than: {', '.join(sorted(names))}."
            )


@dataclass(frozen=True)
class Context:
    """What a running stage may use.

    Attributes:
        folder: the stage's own folder. It may hold checkpoints of an interrupted attempt, from which the stage resumes.
        run_folder: the folder of the whole run.
        panel: the market.
        task: the recipe's task.
        model: the recipe's checked ``model`` section.
        models: name of each finished stage that trained a language model -> its weights folder, in order.
        seed: of the run.
        console: for progress and messages.
        versions: recorded in every trace.
        agents: as ``models``, for agents on numeric observations.
        datasets: name -> data set that an earlier stage wrote (``train/answers.py``).
    """

    folder: Path
    run_folder: Path
    panel: Panel
    task: Task
    model: Any
    models: dict[str, Path]
    seed: int
    console: Console
    versions: dict[str, str] = field(default_factory=dict)
    agents: dict[str, Path] = field(default_factory=dict)
    datasets: dict[str, Path] = field(default_factory=dict)

    def starting_weights(self, name: str | None) -> tuple[str, str]:
        """The weights that a stage starts from: their name, and the folder or Hub name to load.

        ``name`` is that of an earlier stage, or "base"; None takes the last stage with a language model, or the base
        model. The recipe's check has made sure that there is one.
        """
        from tradeschool.models.load import base_source

        name = name or next(reversed(self.models), BASE)
        if name == BASE:
            return name, base_source(self.model, self.task, self.run_folder, self.seed)
        return name, str(self.models[name])

    def log(self, text: str) -> None:
        """Print a line of plain text."""
        self.console.print(text, markup=False, highlight=False)


C = TypeVar("C", CheckContext, Context)


def weighted(weights: Mapping[str, float] | None, context: C) -> C:
    """The context with the task's rewards weighted as in one stage; None leaves the weights of ``task.weights``.

    Raises:
        RecipeError: the task has no such component.
    """
    return context if weights is None else replace(context, task=context.task.with_weights(weights))


OUTCOMES = "outcomes.json"
"""In the folder of a stage that learns from rewards: the keys of the questions whose outcomes it used."""


@dataclass(frozen=True)
class Result:
    """What a stage hands on.

    Attributes:
        weights: the folder of the model that the stage made; None for a stage that makes none.
        summary: figures for the manifest and the terminal.
        kind: of the weights.
        datasets: name -> data set (``train/answers.py``). By convention the name is the stage's own.
    """

    weights: Path | None = None
    summary: dict[str, float] = field(default_factory=dict)
    kind: Kind = "language"
    datasets: dict[str, Path] = field(default_factory=dict)
