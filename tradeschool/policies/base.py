"""Whoever answers: a rule, a language model, a person."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from tradeschool.tasks.base import Prompt

Kind = Literal["naive", "rule", "untrained", "trained", "best"]


class Policy(ABC):
    """Answers prompts in batches, as text. ``kind`` says how a report treats its row."""

    name: str
    kind: Kind

    @abstractmethod
    def reply(self, prompts: Sequence[Prompt]) -> list[str]:
        """One answer per prompt, in order."""
