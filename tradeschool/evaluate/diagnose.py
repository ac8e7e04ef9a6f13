"""What a training's own figures warn of: cancelling rewards, lost exploration, collapse, unreadable answers."""

from collections.abc import Mapping, Sequence
from typing import Any

# Bounds as seen in public reproductions: below or above them groups no longer differ, or the policy has run away.
LEAST_ENTROPY = 0.03
MOST_ZERO_VARIANCE = 0.6
MOST_KL = 4.0
MOST_CONSTANT = 0.95
MOST_OF_ONE_ANSWER = 0.9
MOST_UNREADABLE = 0.01


def training_warnings(training: Mapping[str, Sequence[Mapping[str, Any]]], weights: Mapping[str, float]) -> list[str]:
    """One sentence per trouble, from the last quarter of every stage's steps.

    Args:
        training: the metrics of each stage's steps, as TRL and ``train/rewards.py`` name them.
        weights: the task's reward weights; a component that is not trained on may be constant.
    """
    warnings = []
    for stage, rows in training.items():
        late = _late_means(rows)
        if "reward" in late:
            warnings += [f"{stage}: {text}" for text in _about(late, weights)]
    return warnings


def _late_means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    stepped = [row for row in rows if row.get("reward") is not None]
    late = stepped[-max(1, len(stepped) // 4) :]
    values: dict[str, list[float]] = {}
    for row in late:
        for key, value in row.items():
            if isinstance(value, int | float):
                values.setdefault(key, []).append(float(value))
    return {key: sum(found) / len(found) for key, found in values.items()}


def _about(late: Mapping[str, float], weights: Mapping[str, float]) -> list[str]:
    found = []
    if late.get("entropy", 1.0) < LEAST_ENTROPY:
        found.append(f"entropy fell to {late['entropy']:.3f} a token (below {LEAST_ENTROPY}): little is tried out.")
    # TRL's own share is 0 whenever rewards are scaled by the batch; it stands in where ours was not recorded.
    share = late.get("zero_variance_groups", late.get("frac_reward_zero_std", 0.0))
    if share > MOST_ZERO_VARIANCE:
        found.append(f"in {share:.0%} of the groups all rewards were equal: those taught nothing.")
    if late.get("kl", 0.0) > MOST_KL:
        found.append(f"KL to the starting policy reached {late['kl']:.1f} (above {MOST_KL:g}): it may have run away.")
    if late.get("parse_errors", 0.0) > MOST_UNREADABLE:
        found.append(f"{late['parse_errors']:.1%} of the answers could not be read.")
    for key, share in late.items():
        kind, _, name = key.partition("/")
        if kind == "constant_in_group" and weights.get(name) and share > MOST_CONSTANT and name != "format":
            found.append(f"reward '{name}' was constant inside {share:.0%} of the groups: there it cancels.")
        if kind == "answers" and share > MOST_OF_ONE_ANSWER:
            found.append(f"{share:.0%} of the answers were {name}: the policy has collapsed to one answer.")
    return found
