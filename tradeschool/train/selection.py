"""Which of several answers to a question are kept, and the figures of a selection: spread, acceptance, reward."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tradeschool.chat import Message
from tradeschool.tasks.base import Rewards, Task

BEFORE, AFTER = "before/", "after/"
"""Begin the keys of figures of all answers and of the kept ones, in the last row of ``metrics.jsonl``."""
ANSWERS = "answers/"


@dataclass(frozen=True)
class Answer:
    """An answer with its rewards.

    Attributes:
        messages: the conversation before it.
        text: the answer; of an episode the last one.
        rewards: by component, of an episode the sums.
        total: their weighted sum.
        action: the class of the answer; None where it, or any answer of an episode, cannot be read.
    """

    messages: list[Message]
    text: str
    rewards: Rewards
    total: float
    action: str | None


@dataclass(frozen=True)
class Asked:
    """What came of a question: the figures of all answers, and rows of a data set with those that are kept.

    ``places`` are those of the kept answers. ``batch`` is the number of the batch that it was asked in.
    """

    key: str
    batch: int
    totals: list[float]
    rewards: list[Rewards]
    actions: list[str | None]
    places: list[int]
    kept: list[dict[str, Any]]


def places_kept(
    answers: Sequence[Answer], keep: Literal["best", "margin"], margin: float | None, least: float | None
) -> list[int]:
    """The places of the answers to a question that are kept; unreadable ones never are.

    ``best``: the one with the highest reward; where several have it, the text that was given most often, since a reward
    may see the decision alone and not whether the reasoning is true. ``margin``: all with at least ``margin`` more than
    the mean of all answers, equal texts once. ``least`` is the lowest reward that is kept, None for any.
    """
    mean = sum(one.total for one in answers) / len(answers)
    threshold = -np.inf if least is None else least
    if keep == "margin":
        threshold = max(threshold, mean + (margin or 0.0))
    fit = [place for place, one in enumerate(answers) if one.action is not None and one.total >= threshold]
    texts = {place: (str(answers[place].messages), answers[place].text) for place in fit}
    if keep == "best":
        given = Counter(texts.values())
        return [max(fit, key=lambda place: (answers[place].total, given[texts[place]]))] if fit else []
    return sorted({texts[place]: place for place in reversed(fit)}.values())


# figures ------------------------------------------------------------------------------------------


def batch_figures(task: Task, asked: Sequence[Asked]) -> dict[str, Any]:
    """Figures of some questions, by the names that trainers use where there is one."""
    totals = [total for one in asked for total in one.totals]
    kept = [one.totals[place] for one in asked for place in one.places]
    shares = _answer_shares([action for one in asked for action in one.actions], task.action_names)
    return {
        "reward": float(np.mean(totals)),
        "reward_spread": float(np.mean([np.std(one.totals) for one in asked])),
        "kept_reward": float(np.mean(kept)) if kept else None,
        "acceptance": len(kept) / len(totals),
        "questions_kept": sum(bool(one.places) for one in asked) / len(asked),
        "zero_variance_groups": sum(len(set(one.totals)) == 1 for one in asked) / len(asked),
        **{f"rewards/{name}/mean": value for name, value in _components([r for o in asked for r in o.rewards]).items()},
        **shares,
    }


def whole_figures(task: Task, asked: Sequence[Asked]) -> dict[str, Any]:
    """The whole selection: figures of all answers (:data:`BEFORE`) and of the kept ones (:data:`AFTER`)."""
    everything = [(one, place) for one in asked for place in range(len(one.totals))]
    kept = [(one, place) for one in asked for place in one.places]
    found: dict[str, Any] = {"questions": len(asked), "answers": len(everything), "kept": len(kept)}
    found |= {"questions_kept": sum(bool(one.places) for one in asked)}
    found |= {"reward_spread": float(np.mean([np.std(one.totals) for one in asked]))}
    for prefix, chosen in ((BEFORE, everything), (AFTER, kept)):
        if not chosen:
            continue
        of = {"reward": float(np.mean([one.totals[place] for one, place in chosen]))}
        of |= {f"rewards/{k}": v for k, v in _components([one.rewards[place] for one, place in chosen]).items()}
        of |= _answer_shares([one.actions[place] for one, place in chosen], task.action_names)
        found |= {f"{prefix}{name}": value for name, value in of.items()}
    return found


def _components(rewards: Sequence[Rewards]) -> dict[str, float]:
    """The mean of each component over the answers where it is known."""
    names = dict.fromkeys(name for one in rewards for name in one)
    known = {name: [value for one in rewards if (value := one.get(name)) is not None] for name in names}
    return {name: float(np.mean(values)) for name, values in known.items() if values}


def _answer_shares(actions: Sequence[str | None], names: Sequence[str]) -> dict[str, float]:
    """The share of answers that cannot be read, and of each class."""
    counts = Counter(actions)
    return {"parse_errors": counts[None] / len(actions)} | {
        f"{ANSWERS}{name}": counts[name] / len(actions) for name in names
    }


# files --------------------------------------------------------------------------------------------


def line(asked: Asked) -> str:
    """A line of the file of answers."""
    return json.dumps(asdict(asked), ensure_ascii=False, allow_nan=False) + "\n"


def read_asked(path: Path) -> list[Asked]:
    """What :func:`line` wrote, up to the first line that is not whole: a process was killed while it wrote."""
    names, found = {field.name for field in fields(Asked)}, []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(text)
        except json.JSONDecodeError:
            break
        if not isinstance(row, dict) or set(row) != names:
            break
        found.append(Asked(**row))
    return found
