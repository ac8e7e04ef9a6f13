"""The task: one object with the question, its answers, its rewards and its evaluation.

Array names end in their dimensions: T dates, N tickers, Q questions of one date (the tickers, where a task asks about
tickers).
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tradeschool.chat import Episode
from tradeschool.chat import Message as Message
from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.policies.base import Answerer
from tradeschool.text.parse import reasoning_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SplitName = Literal["train", "validation", "test"]
Rewards = dict[str, float | None]
Weights = dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
"""Weights of reward components, as a recipe gives them. A negative one would reward what its component penalises."""
Aggregate = Literal[
    "mean",
    "root_mean",
    "mean_error",
    "ratio",
    "statistic",
    "p_value",
    "correlation",
    "rank_correlation",
    "sign_agreement",
    "calibration_error",
    "share_of_oracle",
    "backtest",
]
POSITION = "position"
"""The key under which a trace records the position that an answer implies."""
CORRECT = "correct"
"""The metric value by which the report marks an answer as right (1) or wrong (0), where a task has one."""


@dataclass(frozen=True)
class Example:
    """One question, asked after the close of date row ``t`` of the panel.

    Attributes:
        key: unique among the task's questions.
        t: date row of the panel.
        n: ticker column of the panel; a task without tickers numbers the questions of a date.
        variant: number of the question, where there are several about the same date and ticker, such as prompts with
            other sections, or other horizons; part of the key too.
        payload: anything that the task's rewards need.
    """

    key: str
    t: int
    n: int
    variant: int = 0
    payload: Any = None


@dataclass(frozen=True)
class Demonstration:
    """A conversation to imitate. ``learned`` says for each answer, in order, whether it counts in the loss."""

    messages: list[Message]
    learned: list[bool]


@dataclass(frozen=True)
class Metric:
    """One column of the evaluation: how answers become a figure, and how the figure is printed.

    Every figure is computed from all questions of all dates, and its interval from what each date adds to it.

    Attributes:
        key: name in ``comparison.json``.
        label: heading of the column.
        meaning: what it is, in one line.
        digits: decimals that are printed.
        scale: factor for printing, 100 for percentages.
        unit: printed in charts, such as ``%``.
        better: ``higher`` or ``lower``; verdicts and sentences follow it.
        primary: the verdict is about the first metric that is primary.
        aggregate: ``mean`` of the input; ``root_mean``, its square root (of squared errors); ``mean_error``, a mean
            whose differences have an interval and itself none, because its level depends on how volatile the dates
            were; ``ratio``, the sum of the first input over that of the second; ``statistic`` and ``p_value``
            (two-sided, not adjusted) of a test that the mean of the input is 0; ``correlation``, ``rank_correlation``
            or ``sign_agreement`` of two inputs, pooled over all questions; ``calibration_error``
            of a probability and of what came true (1 or 0); ``share_of_oracle``, the sum of the input
            over that of the best possible answers. ``backtest`` is for the evaluation's own metrics.
        inputs: names of values in ``Trace.metrics`` or of reward components; the metric's own key when empty.
        terminal: whether it is a column of the terminal's table, and with its interval; the report has every metric.
            The primary metric comes first, with its interval.
    """

    key: str
    label: str
    meaning: str
    digits: int = 3
    scale: float = 1.0
    unit: str = ""
    better: Literal["higher", "lower"] = "higher"
    primary: bool = False
    aggregate: Aggregate = "mean"
    inputs: tuple[str, ...] = ()
    terminal: Literal["no", "figure", "interval"] = "figure"

    @property
    def values(self) -> tuple[str, ...]:
        """The names of the values that it is computed from."""
        return self.inputs or (self.key,)


Values = Mapping[str, NDArray[np.float64]]
"""Values of one policy's answers by name, each [T, Q], NaN where undefined."""


@dataclass(frozen=True)
class Figure:
    """A plot of the task for the report.

    Attributes:
        caption: printed above it.
        paint: draws on matplotlib axes, given the values of every policy by the policy's name.
    """

    caption: str
    paint: Callable[["Axes", Mapping[str, Values]], None]


class Task(ABC):
    """A question with its rewards and its evaluation. An action is whatever ``parse`` returns.

    Attributes:
        name, version: the version changes whenever prompts, parsing or rewards change.
        weights: of every reward component in training. A component of weight 0 is recorded but not trained on.
        special_tokens: markers of an answer that a tokenizer made for this task keeps whole.
        action_names: the classes of answers; empty where answers have no classes.
        episodic: True where a question begins an episode of several answers that are rewarded together.
        per_ticker: False where questions are about a date only, so that ``Example.n`` is not a ticker.
        known_components: the reward components that do not depend on the outcome, such as a charge for risk.
        answers_note: how the answers to imitate are made, for the card of a data set of them.
        horizon: days that outcomes look ahead. As an attribute of the class (or as the field ``horizons`` of
            ``config_class``) it also sets the embargo between the parts of the split. Intervals allow for outcomes
            that overlap.
    """

    name: str
    version: str
    weights: Mapping[str, float]
    special_tokens: Sequence[str] = ()
    action_names: Sequence[str] = ()
    episodic: bool = False
    per_ticker: bool = True
    known_components: Sequence[str] = ()
    answers_note: str = ""
    horizon: int = 1

    # the question --------------------------------------------------------------------------------

    @abstractmethod
    def examples(self, split: SplitName) -> list[Example]:
        """All questions of a split, in time order."""

    def stream(self, split: SplitName) -> Iterator[Example]:
        """The same questions one by one, for splits too large for memory."""
        yield from self.examples(split)

    @abstractmethod
    def rows(self, split: SplitName) -> NDArray[np.int64]:
        """The date rows of a split, consecutive."""

    def example_at(self, t: int, n: int) -> Example:
        """The question about ticker column ``n`` after the close of row ``t``, whether or not its outcome is known."""
        return Example(f"{t}/{n}", t, n)

    @abstractmethod
    def messages(self, example: Example) -> list[Message]:
        """The question as a language model sees it: nothing later than the close of ``example.t``."""

    def snapshot(self, example: Example) -> Any:
        """The same facts as numbers, for rules (a ``Snapshot``); None for a task without them."""
        return None

    # the answer ----------------------------------------------------------------------------------

    @abstractmethod
    def parse(self, completion: str) -> Any:
        """The action that an answer states.

        Raises:
            ParseError: the answer states none, or more than one.
        """

    @abstractmethod
    def format_answer(self, action: Any, reasoning: str) -> str:
        """The answer that states ``action``: ``parse(format_answer(a, r)) == a``."""

    def combine(self, actions: Sequence[Any], how: Literal["mean", "median"] = "mean") -> Any | None:
        """Several answers to one question as one: their mean or median; None for a task that cannot."""
        return None

    def action_name(self, action: Any) -> str:
        """The class of an action for counting: one of ``action_names`` where those exist."""
        return str(action)

    # training ------------------------------------------------------------------------------------

    def rewards(self, example: Example, completion: str, action: Any | None) -> Rewards:
        """The value of each component for an answer; ``action`` is None where it could not be parsed.

        Empty where answers are not rewarded one by one. A component is None where its outcome is not known.
        """
        return {}

    def total(self, rewards: Rewards) -> float:
        """The weighted sum that training maximises; a component that is None counts 0."""
        return sum(self.weights.get(name, 0.0) * value for name, value in rewards.items() if value is not None)

    def with_weights(self, weights: Mapping[str, float]) -> Self:
        """The same task with other weights of its reward components; those that are not named have 0.

        Raises:
            RecipeError: there is no such component.
        """
        for name in weights:
            if name not in self.weights:
                known = ", ".join(self.weights)
                raise RecipeError(
                    f"weights: there is no '{name}'.{did_you_mean(name, self.weights)} There are {known}."
                )
        other = copy.copy(self)
        other.weights = {**dict.fromkeys(self.weights, 0.0), **weights}
        return other

    def sft_examples(
        self, split: SplitName, count: int, seed: int, pool: Sequence[Example] | None = None
    ) -> Sequence[tuple[Example, str]]:
        """``count`` pairs of example and answer to imitate, balanced over classes.

        ``pool`` are the examples to draw from, by default all of the split. Empty for episodic tasks.
        """
        return []

    def demonstrations(
        self, count: int, seed: int, pool: Sequence[Example] | None = None, turns: int | None = None
    ) -> list[Demonstration]:
        """Training episodes to imitate with ``count`` learned answers, balanced over classes.

        ``turns`` ends each episode after that many answers.
        """
        return []

    def tokenizer_texts(self, count: int, seed: int) -> list[str]:
        """Prompts and answers of the training split, on which a tokenizer for this task is trained."""
        return [
            self.messages(example)[-1]["content"] + "\n" + answer
            for example, answer in self.sft_examples("train", count, seed)
        ]

    def hindsight_answer(self, example: Example) -> str | None:
        """The answer that is right given the outcome, as a model would write it; None where that is not known."""
        return None

    def expert_answer(self, example: Example) -> str | None:
        """The answer of the task's expert, which knows only the prompt; None without an expert."""
        return None

    def label(self, example: Example) -> str | None:
        """The class of an example by its outcome, for balancing and counting; None where it has none."""
        return None

    def decisions(self, example: Example) -> Sequence[Any] | None:
        """All actions, where there are few and one outcome reveals the rewards of each; None otherwise."""
        return None

    def reasoning(self, example: Example) -> str | None:
        """The reasoning that a good answer states before any decision; None where the task knows none."""
        return None

    def facts(self, example: Example) -> Sequence[str] | None:
        """The facts of the prompt in one word each, for a learner without a language model; None without such facts.

        With ``decisions``, they get an evaluation the row "same facts, table" (``policies/table.py``).
        """
        return None

    def reasoning_of(self, completion: str) -> str:
        """The reasoning in an answer: what ``format_answer`` joins with a decision."""
        return reasoning_of(completion)

    def oracle_action(self, example: Example) -> Any | None:
        """The action with the highest expected score; None where it is not known, as in every real market."""
        return None

    # evaluation ----------------------------------------------------------------------------------

    def metrics(self) -> Sequence[Metric]:
        """The columns of the evaluation; the first primary one is what verdicts are about.

        A task without metrics cannot be evaluated by the stage ``evaluate``. An episodic task is evaluated if it is
        also a :class:`~tradeschool.rollout.MultiTurnTask`, by one value for each episode.
        """
        return ()

    def metric_values(self, example: Example, action: Any | None) -> dict[str, float]:
        """Values of one answer by name, from which ``metrics`` are computed; NaN where undefined.

        ``action`` is None for an answer that could not be parsed. Where the primary metric then has no value, the
        answer gets the worst value of any policy on that question, so that leaving questions unanswered never pays.
        """
        return {}

    def episode_metrics(self, episode: Episode) -> dict[str, float]:
        """The same for a finished episode, where the task is episodic."""
        return {}

    def positions(self, example: Example, action: Any | None) -> float | None:
        """The position in [-1, 1] that an answer implies, as a share of the ticker's capital.

        None for an answer that could not be parsed, and for every answer of a task that implies no positions. A task
        with positions gets the backtest and its metrics.
        """
        return None

    def eval_score(self, example: Example, action: Any | None) -> float | None:
        """The value of the primary metric for one answer; None where its outcome is not known."""
        primary = next((metric for metric in self.metrics() if metric.primary), None)
        value = self.metric_values(example, action).get(primary.values[0], math.nan) if primary else math.nan
        return value if math.isfinite(value) else None

    def outcome_score(self, example: Example, action: Any) -> float | None:
        """The part of ``eval_score`` that depends on the outcome, to which learners shrink what they forecast."""
        return self.eval_score(example, action)

    def score_definition(self) -> str:
        """All that the primary metric depends on; evaluations that differ in it are not compared."""
        primary = next((metric.label for metric in self.metrics() if metric.primary), "none")
        return f"{primary}, task {self.name} {self.version}"

    def baselines(self, seed: int = 0) -> Sequence[Answerer]:
        """The policies that a model must beat, and the oracle (kind ``best``) where one is known."""
        return ()

    def figures(self) -> Sequence[Figure]:
        """Plots for the report, beside those that every evaluation has."""
        return ()

    def trace_metrics(self, example: Example, action: Any | None) -> dict[str, float]:
        """What a trace records of an answer: its metric values, and its position where it implies one."""
        values = dict(self.metric_values(example, action))
        if (position := self.positions(example, action)) is not None:
            values[POSITION] = position
        return {name: value for name, value in values.items() if math.isfinite(value)}
