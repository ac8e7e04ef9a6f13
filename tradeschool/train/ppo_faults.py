"""What an error of Stable-Baselines3 says of the values that a recipe gave it, in plain words."""

import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tradeschool
from tradeschool.errors import RecipeError, TradeschoolError
from tradeschool.verbatim import faults

PACKAGE = Path(tradeschool.__file__).parent
NETWORK = PACKAGE / "policies" / "numeric.py"
UNREAD = {
    "seed": "episodes would not follow it. Write the recipe's seed, or that of the leaderboard's agent.",
    "tensorboard_log": "nothing would be written there: the figures stand in metrics.jsonl. Remove it.",
}
"""Arguments of PPO that would change nothing, or half, and the cure."""


def unusable(sb3: Mapping[str, Any], target: Any) -> Iterator[tuple[str, str]]:
    """The keys of ``sb3`` that the class ``target`` cannot be handed, or that would come to nothing, and why."""
    yield from faults(sb3, target)
    yield from ((key, why) for key, why in UNREAD.items() if sb3.get(key) is not None)


def diverged(learning_rate: Any) -> RecipeError:
    """The training has come to figures that are none."""
    return RecipeError(
        f"sb3: the training has diverged, its weights are no use any more. Lower learning_rate, which is "
        f"{learning_rate}."
    )


def refused(error: Exception, sb3: dict[str, Any]) -> RecipeError:
    """A PPO could not be built."""
    return RecipeError(f"sb3: PPO refuses it: {error} (given: {_given(sb3)}). Correct the values in the recipe.")


def plain_fault(error: Exception, sb3: dict[str, Any], learning_rate: Any) -> RecipeError | None:
    """An error that ended the learning, in plain words; None where the values in ``sb3`` have no part in it.

    Stable-Baselines3 checks few values, so a wrong one ends in whatever error comes first.
    """
    if isinstance(error, ValueError) and "Expected parameter" in str(error):  # torch's word for figures that are none
        return diverged(learning_rate)
    if not sb3 or _is_ours(error):
        return None
    return RecipeError(
        f"sb3: PPO cannot learn with {_given(sb3)} ({type(error).__name__}: {error}). Correct the values in the recipe."
    )


def _given(sb3: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value!r}" for key, value in sb3.items()) or "nothing"


def _is_ours(error: Exception) -> bool:
    """Whether an error came out of the environment, or out of the telling of figures, below whoever caught it.

    The network is made as ``policy_kwargs`` says, so an error in it is no defect of ours.
    """
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)[1:]]
    within = [file for file in files if file.is_relative_to(PACKAGE) and file != NETWORK]
    return isinstance(error, TradeschoolError) or bool(within)
