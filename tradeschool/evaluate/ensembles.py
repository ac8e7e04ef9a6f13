"""Rows of combined answers: the mean or median of several sampled answers, or of the answers of several models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tradeschool.errors import ParseError, RecipeError, did_you_mean
from tradeschool.evaluate.evaluation_set import traces_name
from tradeschool.progress import status
from tradeschool.tasks.base import Example, Task
from tradeschool.trace import Trace, read_traces
from tradeschool.train.stage import Context


class EnsembleConfig(BaseModel):
    """One row of combined answers.

    Attributes:
        name: of the row.
        models: the stages whose models answer.
        samples: answers of each model to a question. One answer is the most likely; several are sampled.
        temperature: of sampled answers.
        by: how the task combines answers (``Task.combine``).
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=64, pattern=r"^[\w][\w .+x-]*$")
    models: list[str] = Field(min_length=1)
    samples: int = Field(default=1, ge=1, le=1000)
    temperature: float = Field(default=1.0, gt=0, le=100)
    by: Literal["mean", "median"] = "mean"

    @property
    def answers(self) -> int:
        """How many answers to a question are combined."""
        return len(self.models) * self.samples


def check_ensembles(
    ensembles: Sequence[EnsembleConfig],
    task: Task,
    example: Example,
    models: Sequence[str],
    rows: Sequence[str],
    at: str,
) -> None:
    """Refuse ensembles that cannot be made.

    Args:
        ensembles, task, example: of the evaluation.
        models: the stages that are evaluated.
        rows: the names of all other rows.
        at: the recipe key.

    Raises:
        RecipeError: a name is taken, a model is not evaluated, there is one answer only, or the task cannot combine.
    """
    taken = list(rows)
    for one in ensembles:
        where = f"{at}.{one.name}"
        if one.name in taken:
            raise RecipeError(f"{where}: another row is called '{one.name}'. Give the ensemble a name of its own.")
        taken.append(one.name)
        for model in one.models:
            if model not in models:
                raise RecipeError(
                    f"{where}.models: '{model}' is not a model that is evaluated here.{did_you_mean(model, models)} "
                    f"Choose from: {', '.join(models) or '(none)'}."
                )
        if one.answers < 2:
            raise RecipeError(f"{where} has one answer to combine. Name several models, or set samples to 2 or more.")
        actions = [] if task.episodic else list(task.decisions(example) or ())
        if task.episodic or (actions and task.combine(actions[:2], one.by) is None):
            raise RecipeError(f"{where}: the task '{task.name}' cannot combine answers (Task.combine). Remove it.")


def ensemble_traces(
    config: EnsembleConfig, context: Context, examples: Sequence[Example], generation: Mapping[str, Any]
) -> list[Trace]:
    """One trace for each example, from the traces of the models or from answers sampled now.

    Args:
        config, context, examples: of the evaluation, which has asked the models.
        generation: arguments of ``LanguagePolicy``.
    """
    answers: list[list[str]] = [[] for _ in examples]
    for name in config.models:
        with status(context.console, f"Asking {name} for {config.name}"):
            if config.samples == 1:
                asked = read_traces(context.folder / traces_name(name, "trained"))
                found = [[trace.messages[-1]["content"]] for trace in asked]
            else:
                found = _sampled(context.models[name], config, context, examples, generation)
        for texts, own in zip(answers, found, strict=True):
            texts += own
    return combined_traces(config, context, examples, answers)


def combined_traces(
    config: EnsembleConfig, context: Context, examples: Sequence[Example], answers: Sequence[Sequence[str]]
) -> list[Trace]:
    """One trace for each example, of the combination of its answers that can be read; unreadable where none can.

    Args:
        config, context, examples: of the evaluation.
        answers: all answers to each example.
    """
    from tradeschool.rollout import score_answer

    task, traces, unread = context.task, [], 0
    for example, texts in zip(examples, answers, strict=True):
        actions = [action for text in texts if (action := _read(task, text)) is not None]
        unread += len(texts) - len(actions)
        combined = task.combine(actions, config.by) if actions else None
        said = f"The {config.by} of {len(actions)} answers."
        text = texts[0] if combined is None else task.format_answer(combined, said)
        messages = [*task.messages(example), {"role": "assistant", "content": text}]
        traces.append(score_answer(task, example, messages, config.name, context.versions))
    count = sum(map(len, answers))
    if unread:
        context.log(f"{config.name}: {unread:,} of {count:,} answers could not be read, and are left out")
    return traces


def _read(task: Task, text: str) -> Any | None:
    try:
        return task.parse(text)
    except ParseError:
        return None


def _sampled(
    source: Path, config: EnsembleConfig, context: Context, examples: Sequence[Example], generation: Mapping[str, Any]
) -> list[list[str]]:
    """``samples`` answers of a model to each example, drawn with the run's seed."""
    from transformers import set_seed

    from tradeschool.models.load import load
    from tradeschool.policies.language import LanguagePolicy

    model, tokenizer = load(str(source), context.model)
    set_seed(context.seed)
    policy = LanguagePolicy(
        model, tokenizer, name=config.name, kind="trained", temperature=config.temperature, **generation
    )
    return policy.generate([context.task.messages(example) for example in examples], config.samples)
