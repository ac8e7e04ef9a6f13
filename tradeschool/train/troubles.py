"""What is wrong with a training, by its own figures: found while it runs and again for its report, each with a cure."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Bounds from public reproductions: beyond them the answers of a group no longer differ, or the policy has diverged.
LEAST_ENTROPY = 0.03
MOST_ZERO_VARIANCE = 0.6
MOST_KL = 4.0
MOST_CONSTANT = 0.95
MOST_OF_ONE_ANSWER = 0.9
MOST_UNREADABLE = 0.01
LOSS_RISE = 1.2
"""A loss that has risen by this factor from where it began."""
WINDOW = 5
"""Rows whose mean is looked at while a training runs: one row may be chance."""
GRAVE = ("kl", "collapse", "entropy", "zero variance", "loss")
"""Troubles that are told while the training runs. Others, such as unreadable answers, are usual at its beginning."""

Rows = Sequence[Mapping[str, Any]]
"""The figures of a training's steps, as TRL and ``train/rewards.py`` name them."""


def means(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The mean of each figure over the rows that have it."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for key, value in row.items():
            if isinstance(value, int | float):
                values.setdefault(key, []).append(float(value))
    return {key: sum(found) / len(found) for key, found in values.items()}


def troubles(figures: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, str]:
    """Of a training on rewards: a sentence and a cure for each problem, by a word for it.

    Args:
        figures: of some steps.
        weights: the task's reward weights; a component without weight may be constant.
    """
    found: dict[str, str] = {}
    if figures.get("entropy", 1.0) < LEAST_ENTROPY:
        found["entropy"] = (
            f"entropy fell to {figures['entropy']:.3f} a token (below {LEAST_ENTROPY}): the policy explores little. "
            "Lower trl.learning_rate or take fewer steps, or raise trl.temperature."
        )
    # TRL's own share is 0 whenever rewards are scaled by the batch; it stands in where ours was not recorded.
    share = figures.get("zero_variance_groups", figures.get("frac_reward_zero_std", 0.0))
    if share > MOST_ZERO_VARIANCE:
        found["zero variance"] = (
            f"in {share:.0%} of the groups all rewards were equal, so nothing was learned from them. Raise "
            "trl.num_generations or trl.temperature, or use group: decisions where the task has decisions."
        )
    if figures.get("kl", 0.0) > MOST_KL:
        found["kl"] = (
            f"KL to the starting policy reached {figures['kl']:.1f} (above {MOST_KL:g}): it may have diverged. Lower "
            "trl.learning_rate or trl.max_grad_norm, or raise trl.beta (with objective gvpo: tau)."
        )
    if figures.get("parse_errors", 0.0) > MOST_UNREADABLE:
        found["unreadable"] = (
            f"{figures['parse_errors']:.1%} of the answers could not be read. Imitate more answers in an sft stage "
            "first, raise the longest answer (max_completion_length), or give the reward of the format more weight."
        )
    for key, share in figures.items():
        kind, _, name = key.partition("/")
        if kind == "constant_in_group" and weights.get(name) and share > MOST_CONSTANT and name != "format":
            found[key] = (
                f"reward '{name}' was constant within {share:.0%} of the groups, where it cancels out. Give it weight "
                "0, or a value that depends on the answer."
            )
        if kind == "answers" and share > MOST_OF_ONE_ANSWER:
            found["collapse"] = (
                f"{share:.0%} of the answers were {name}: the policy has collapsed to one answer. Draw questions of "
                "every class (curriculum: balanced), keep dates together (by_date: true), lower trl.learning_rate, or "
                "raise trl.beta."
            )
    return found


def loss_trouble(first: Sequence[float], last: Sequence[float]) -> dict[str, str]:
    """Of a training without rewards: a loss that is higher than where it began."""
    if len(first) < WINDOW or len(last) < WINDOW:
        return {}
    began, now = sum(first) / len(first), sum(last) / len(last)
    if began <= 0 or now <= LOSS_RISE * began:
        return {}
    return {
        "loss": f"the loss rose from {began:.3g} to {now:.3g}: the training diverges. Lower trl.learning_rate, or "
        "raise trl.warmup_steps."
    }


def late_troubles(rows: Rows, weights: Mapping[str, float]) -> dict[str, str]:
    """The problems at the end of a training: in the last quarter of its steps."""
    stepped = [row for row in rows if row.get("reward") is not None]
    if stepped and "acceptance" in stepped[0]:
        return _of_selection(means(stepped), rows[-1])
    if stepped:
        return troubles(means(stepped[-max(1, len(stepped) // 4) :]), weights)
    losses = [float(row["loss"]) for row in rows if isinstance(row.get("loss"), int | float)]
    return loss_trouble(losses[:WINDOW], losses[WINDOW:][-WINDOW:])


def _of_selection(figures: Mapping[str, float], whole: Mapping[str, Any]) -> dict[str, str]:
    """The problems of rejection sampling, whose last row sums up."""
    found: dict[str, str] = {}
    if (share := figures.get("parse_errors", 0.0)) > MOST_UNREADABLE:
        found["unreadable"] = (
            f"{share:.1%} of the answers could not be read. Raise max_new_tokens where they are cut off, or ask a "
            "model that has learned their form."
        )
    if (share := figures.get("zero_variance_groups", 0.0)) > MOST_ZERO_VARIANCE:
        found["zero variance"] = (
            f"all answers to {share:.0%} of the questions earned the same, so there was nothing to choose. Raise n or "
            "temperature."
        )
    for key, share in whole.items():
        if key.startswith("after/answers/") and isinstance(share, int | float) and share > MOST_OF_ONE_ANSWER:
            found["collapse"] = (
                f"{share:.0%} of the kept answers are {key.rpartition('/')[2]}: a model that imitates them will give "
                "one answer. Ask questions of every class (curriculum: balanced)."
            )
    return found


class Watch:
    """Sees the rows of a training one by one, and tells each grave problem once.

    Args:
        weights: the task's reward weights.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights, self._told = weights, set[str]()
        self._rows = deque[Mapping[str, Any]](maxlen=WINDOW)
        self._first, self._last = list[float](), deque[float](maxlen=WINDOW)

    def see(self, row: Mapping[str, Any]) -> dict[str, str]:
        """The problems that the last few rows show for the first time."""
        found: dict[str, str] = {}
        if row.get("reward") is not None and "acceptance" not in row:
            self._rows.append(row)
            if len(self._rows) == WINDOW:
                found = troubles(means(self._rows), self._weights)
        elif not self._rows and isinstance(row.get("loss"), int | float):
            (self._first if len(self._first) < WINDOW else self._last).append(float(row["loss"]))
            found = loss_trouble(self._first, self._last)
        new = {word: text for word, text in found.items() if word in GRAVE and word not in self._told}
        self._told |= set(new)
        return new


def passed_troubles(rows: Rows, weights: Mapping[str, float]) -> dict[str, tuple[int, str]]:
    """What was told while the training ran: by a word for each problem, the step and the sentence."""
    watch = Watch(weights)
    return {
        word: (int(row.get("step", place)), text)
        for place, row in enumerate(rows, 1)
        for word, text in watch.see(row).items()
    }
