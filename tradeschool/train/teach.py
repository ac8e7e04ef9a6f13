"""A data set of theses for an ``sft`` stage, written by a model behind a chat server (reverse reasoning)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from tradeschool.errors import RecipeError
from tradeschool.policies.remote import ChatClient, Usage
from tradeschool.policies.remote_config import RemoteError, ServerConfig, endpoint, server_config
from tradeschool.progress import progress
from tradeschool.tasks.base import Example
from tradeschool.tasks.thesis import ThesisTask
from tradeschool.tasks.thesis_api_teacher import ApiTeacher, Taught
from tradeschool.text.parse import RATING_NAMES
from tradeschool.train.curriculum import CurriculumConfig, select_examples
from tradeschool.train.stage import CheckContext, Context, Result, StageConfig

WRITES_DATA = True
"""A later ``sft`` stage may name this one as its ``data``."""
ANSWERS, DATA = "answers.jsonl", "theses.jsonl"
MAX_TOKENS = 4_096
"""Of an answer, where ``remote.request`` does not say."""
SCORED = ("structure", "evidence")


class Config(CurriculumConfig, StageConfig):
    """The ``teach`` stage.

    Attributes:
        remote: the server, its limits and prices: settings of ``policies/remote_config.py``. ``answers`` is a file in
            the stage's folder by default; name one to use its answers in several runs.
        examples: theses; ``curriculum`` sets about which questions.
        attempts: theses that the server is asked for about a question, before the offline teacher writes one.
        batch_size: questions whose requests are sent together.
    """

    remote: dict[str, Any] = Field(default={}, validate_default=True)
    examples: int = Field(default=1_000, ge=1, le=10_000_000)
    attempts: int = Field(default=3, ge=1, le=20)
    batch_size: int = Field(default=64, ge=1, le=10_000)

    @field_validator("remote")
    @classmethod
    def _is_a_server(cls, remote: dict[str, Any]) -> dict[str, Any]:
        try:
            config = server_config(**remote)
        except RemoteError as error:
            raise ValueError(f"cannot be used. {error}".removesuffix(".")) from None
        # The real path of a file: a run may be resumed from elsewhere.
        return remote | ({"answers": str(config.answers.expanduser().resolve())} if config.answers else {})


def server_of(config: Config, folder: Path) -> ServerConfig:
    """The server's settings, with the defaults of this stage."""
    request = {"max_tokens": MAX_TOKENS, **config.remote.get("request", {})}
    return server_config(**{"answers": folder / ANSWERS, **config.remote, "request": request})


def check(config: Config, context: CheckContext) -> None:
    """Refuse other tasks, theses that do not argue, and a server that is not named.

    Raises:
        RecipeError: one of these is the case.
    """
    task, where = context.task, f"stages.{config.name}"
    if not isinstance(task, ThesisTask):
        raise RecipeError(f"{where}: the task '{task.name}' has no theses. Set task.name: thesis, or remove the stage.")
    if not task.config.argued:
        raise RecipeError(
            f"{where}: the server writes theses that argue for a rating, but task.argued is false. Set it to true, or "
            "remove the stage: the theses of the offline teacher state both sides."
        )
    try:
        endpoint(server_of(config, Path("unused")))
    except RemoteError as error:
        raise RecipeError(f"{where}.remote: {error}") from error


def run(config: Config, context: Context) -> Result:
    """Ask the server, and write the theses as a data set. Answers that are on the disk are not asked for again.

    Raises:
        RemoteError: the server refuses, or the spending limit is reached. What it has answered is kept.
    """
    task = context.task
    assert isinstance(task, ThesisTask)
    pool = select_examples(task, config, context.panel, seed=context.seed, log=context.log)
    chosen = task.rating.sft_ratings("train", config.examples, context.seed, pool)
    client = ChatClient(server_of(config, context.folder))
    teacher = ApiTeacher(task, client, config.attempts)
    scores: list[list[float]] = []
    accepted = 0
    with (context.folder / DATA).open("w", encoding="utf-8") as file, progress(context.console) as bar:
        shown = bar.add_task(config.name, total=len(chosen), unit="theses", figures="")
        for first in range(0, len(chosen), config.batch_size):
            batch = chosen[first : first + config.batch_size]
            theses = teacher.write(batch)
            rows = _rows(task, batch, theses)
            file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
            file.flush()
            accepted += sum(one.accepted for one in theses)
            scores += [[row[name] for name in SCORED] for row in rows if row["teacher"] == "server"]
            bar.update(shown, advance=len(batch), figures=_cost(client.usage))
    return _finish(config, context, teacher, client.usage, accepted, len(chosen), scores)


def _rows(task: ThesisTask, chosen: Sequence[tuple[Example, int]], theses: Sequence[Taught]) -> list[dict[str, Any]]:
    rows = []
    for (example, rating), thesis in zip(chosen, theses, strict=True):
        rewards = task.rewards(example, thesis.text, rating)
        rows.append(
            {
                "messages": task.messages(example),
                "completion": thesis.text,
                "rating": RATING_NAMES[rating],
                "teacher": "server" if thesis.accepted else "offline",
                "attempts": thesis.attempts,
                **{name: rewards[name] for name in SCORED},
                "key": example.key,
            }
        )
    return rows


def _cost(usage: Usage) -> str:
    """Requests, tokens and money so far."""
    found = usage.summary()
    text = f"{found['requests']:,} requests"
    if usage.prompt_tokens is not None:
        text += f", {usage.prompt_tokens:,} tokens in and {usage.completion_tokens:,} out"
    return text + (f", cost {usage.cost:.4f}" if usage.cost is not None else "")


def _finish(
    config: Config,
    context: Context,
    teacher: ApiTeacher,
    usage: Usage,
    accepted: int,
    count: int,
    scores: Sequence[Sequence[float]],
) -> Result:
    """Sum up."""
    context.log(
        f"The server wrote {accepted:,} of {count:,} theses, the offline teacher {count - accepted:,}. {_cost(usage)}; "
        f"{usage.reused:,} answers were on the disk."
    )
    if teacher.faults:
        context.log("Not accepted: " + ", ".join(f"{n:,} x {kind}" for kind, n in teacher.faults.most_common()) + ".")
    if 2 * accepted < count:
        context.log(
            "Warning: the offline teacher wrote most of the theses. Ask a stronger model, raise attempts, or "
            f"remote.request.max_tokens where answers are cut off ({usage.truncated:,} were)."
        )
    summary = {"theses": float(count), "accepted": float(accepted), "fallbacks": float(count - accepted)}
    summary |= {"rejected": float(teacher.faults.total()), "reused": float(usage.reused)}
    known = {name: usage.summary()[name] for name in ("requests", "prompt_tokens", "completion_tokens", "cost")}
    summary |= {name: float(value) for name, value in known.items() if value is not None}
    if scores:
        summary |= dict(zip(SCORED, np.mean(scores, axis=0).tolist(), strict=True))
    return Result(summary=summary, datasets={config.name: context.folder / DATA})
