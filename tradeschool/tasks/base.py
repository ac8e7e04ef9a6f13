"""The question a model is asked: one object owns prompt, parsing, reward and expert."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

SplitName = Literal["train", "validation", "test"]
Message = dict[str, str]
Rewards = dict[str, float | None]
Weights = dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
"""Of reward components, as a recipe gives them: a negative one would train for what the component is against."""


@dataclass(frozen=True)
class Example:
    """One question: ticker column ``n`` of the panel, asked after the close of date row ``t``.

    ``variant`` tells several prompts about the same ticker and date apart; the key holds it too.
    """

    key: str
    t: int
    n: int
    variant: int = 0


@dataclass(frozen=True)
class Prompt:
    """What a policy is given: chat messages for a language model; for rules the Window, where there is one."""

    key: str
    messages: list[Message]
    window: Any = None


@dataclass(frozen=True)
class Conversation:
    """A conversation to imitate; ``learned`` says of each answer, in order, whether it bears loss."""

    messages: list[Message]
    learned: list[bool]


class Task(ABC):
    """A question with its reward. ``Action`` is whatever ``parse`` returns.

    ``weights`` names every reward component and what it counts for in training; a component of
    weight 0 is measured and reported but not trained on. ``version`` changes whenever prompts,
    parsing or scores change.
    """

    name: str
    version: str
    weights: Mapping[str, float]
    words: Sequence[str] = ()
    """Markers of an answer that a tokenizer made for this task keeps whole."""
    action_names: Sequence[str] = ()
    """The classes of answers whose distribution is watched; empty where actions are no classes."""
    episodic: bool = False
    """True where a question begins an episode of several answers, which are scored together (``tasks/trade.py``)."""

    @abstractmethod
    def examples(self, split: SplitName) -> list[Example]:
        """Every question of a split, in time order."""

    def stream(self, split: SplitName) -> Iterator[Example]:
        """The same questions one after the other, for who must not hold them all."""
        yield from self.examples(split)

    @abstractmethod
    def prompt(self, example: Example) -> Prompt:
        """The question as a policy sees it: nothing later than the close of ``example.t``."""

    @abstractmethod
    def parse(self, text: str) -> Any:
        """The action an answer states.

        Raises:
            ParseError: the answer states none, or more than one can be read out of it.
        """

    @abstractmethod
    def compose(self, action: Any, reasoning: str) -> str:
        """The answer that states ``action``: ``parse(compose(a, r)) == a``."""

    @abstractmethod
    def rows(self, split: SplitName) -> NDArray[np.int64]:
        """The date rows of a split, consecutive."""

    def score(self, example: Example, text: str, action: Any | None) -> Rewards:
        """The value of each component for an answer; ``action`` is None where it could not be parsed.

        Nothing where answers are not scored one by one.
        """
        return {}

    def measured(self, example: Example, action: Any | None) -> float | None:
        """The score that policies are compared by; None where the future needed for it is not in the data."""
        return None

    def targets(
        self, split: SplitName, count: int, seed: int, pool: Sequence[Example] | None = None
    ) -> Sequence[tuple[Example, str]]:
        """``count`` (example, answer) pairs to imitate, balanced over classes; none where answers come in episodes.

        ``pool`` are the examples to draw from: a slice of the split's, all of them where it is None.
        """
        return []

    def conversations(
        self, count: int, seed: int, pool: Sequence[Example] | None = None, turns: int | None = None
    ) -> list[Conversation]:
        """Training episodes to imitate with ``count`` answers that bear loss, balanced over classes.

        ``turns`` ends each after so many answers.
        """
        return []

    def texts(self, count: int, seed: int) -> list[str]:
        """Prompts and answers of the training part, as a tokenizer made for this task is trained on."""
        return [
            self.prompt(example).messages[-1]["content"] + "\n" + target
            for example, target in self.targets("train", count, seed)
        ]

    def target(self, example: Example) -> str | None:
        """The answer that hindsight would give, as a model would write it; None where nobody knows."""
        return None

    def expert_answer(self, example: Example) -> str | None:
        """The answer of the task's expert, who knows what the prompt says and no more; None where there is none."""
        return None

    def label(self, example: Example) -> str | None:
        """The class of an example by hindsight, for balancing and for counting; None where it has none."""
        return None

    def best(self, example: Example) -> Any | None:
        """The action with the highest expected score; None where nobody knows, as in every real market."""
        return None

    def metrics(self, example: Example, action: Any | None) -> dict[str, float]:
        """Figures of an answer beside its rewards; NaN where one is not defined."""
        return {}

    def action_name(self, action: Any) -> str:
        """The class of an action for counting: a name in ``action_names`` where those exist."""
        return str(action)

    def total(self, rewards: Rewards) -> float:
        """The weighted sum that training maximises; a component that was not scored counts 0."""
        return sum(self.weights.get(name, 0.0) * value for name, value in rewards.items() if value is not None)
