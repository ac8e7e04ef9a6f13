"""What every stage is given, and what it hands on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from rich.console import Console

from tradeschool.market.panel import Panel
from tradeschool.tasks.base import Task


class StageConfig(BaseModel):
    """Fields common to all stages. Unknown keys are refused by the recipe with a did-you-mean.

    ``trl`` goes verbatim to TRL's own configuration class.
    """

    model_config = ConfigDict(extra="forbid")

    stage: str
    name: str = ""
    trl: dict[str, Any] = {}


@dataclass(frozen=True)
class Context:
    """All that a stage may use.

    ``models`` maps the name of each finished stage that trained a language model to its weights folder, in order;
    ``agents`` does so for stages that trained an agent on numbers. ``model`` is the recipe's checked ``model:``
    mapping. ``folder`` is the stage's own, and may hold checkpoints of an interrupted attempt, from which the stage
    continues.
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


Kind = Literal["language", "numeric"]
"""What weights are of: a language model, or an agent that acts on numeric observations (``policies/sb3.py``)."""


@dataclass(frozen=True)
class Result:
    """``weights`` is the folder of the model that the stage made, of ``kind``; None for a stage that makes none."""

    weights: Path | None = None
    summary: dict[str, float] = field(default_factory=dict)
    kind: Kind = "language"


StageRun = Callable[[Any, Context], Result]
