"""The rating task: five points from STRONG_SELL to STRONG_BUY for one stock on one day."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.market import outcomes
from tradeschool.market.panel import Floats, Panel
from tradeschool.market.splits import Split
from tradeschool.market.window import Window, Windows
from tradeschool.tasks import rating_rewards
from tradeschool.tasks.base import Example, Message, Prompt, Rewards, SplitName, Task
from tradeschool.text.describe import check_facts, describe, facts
from tradeschool.text.grammar import RATING_NAMES, RATINGS, compose_decision, has_reasoning, parse_decision

INSTRUCTIONS = (
    "You rate one stock for the coming days from what is known after the close. Think first, inside "
    "<think></think>: state the facts that you decide on. Then end with one line that holds exactly one of "
    + ", ".join(f"[[[{name}]]]" for name in RATINGS)
    + "."
)
COMPONENTS = ("profit", "risk", "decision", "outcome", "format")

# Points per fact word for the expert: plain indicator rules, summed and clipped to the five ratings.
EXPERT_POINTS: dict[str, dict[str, int]] = {
    "strength": {"very strong": 2, "strong": 1, "weak": -1, "very weak": -2},
    "momentum": {"rising fast": 2, "rising": 1, "falling": -1, "falling fast": -2},
    "rsi": {"oversold": 1, "overbought": -1},
    "trend": {"up": 1, "down": -1},
    "macd": {"above signal": 1, "below signal": -1},
    "stochastic": {"oversold": 1, "overbought": -1},
    "bollinger": {"below the bands": 1, "above the bands": -1},
    "news": {"good": 1, "bad": -1},
}  # fmt: skip


class RatingConfig(BaseModel):
    """What is shown, what is rewarded and what is imitated.

    ``horizons`` are the days over which the rewards see the market (the mean over them, see
    ``outcomes.excess_TN``: signals that last make several horizons less noisy than one); the score
    that policies are compared by is measured over the first one alone.
    ``risk_aversion`` is lambda in profit - lambda / 2 * position^2; ``hindsight`` is the share of
    SFT targets whose decision is the label of hindsight instead of the expert's. ``measure`` names the
    components whose sum is the score that policies are compared by; ``weights`` what training maximises.
    """

    model_config = ConfigDict(extra="forbid")

    name: Literal["rating"] = "rating"
    facts: list[str] = Field(default=["market", "strength", "rsi", "news"], min_length=1)
    mask: bool = True
    instructions: bool = False
    horizons: list[Annotated[int, Field(ge=1)]] = Field(default=[1], min_length=1)
    risk_aversion: float = Field(default=0.2, ge=0)
    label_mode: Literal["forward", "paper"] = "forward"
    hindsight: float = Field(default=0.5, ge=0, le=1)
    measure: list[str] = Field(default=["profit", "risk"], min_length=1)
    weights: dict[str, float] = {"profit": 1.0, "risk": 1.0, "format": 0.01}
    outcome: rating_rewards.OutcomeConfig = rating_rewards.OutcomeConfig()

    @field_validator("facts")
    @classmethod
    def _known_facts(cls, names: list[str]) -> list[str]:
        check_facts(names)
        return names

    @field_validator("weights", "measure")
    @classmethod
    def _known_components(cls, named: Any) -> Any:
        for name in named:
            if name not in COMPONENTS:
                raise RecipeError(
                    f"'{name}' is no reward component.{did_you_mean(name, COMPONENTS)} "
                    f"Choose from: {', '.join(COMPONENTS)}."
                )
        return named

    @field_validator("measure")
    @classmethod
    def _skill_only(cls, names: list[str]) -> list[str]:
        if "format" in names:
            raise ValueError("has format, but policies are compared by what their ratings are worth. Remove it")
        return names


@dataclass
class RatingTask(Task):
    """Rate a stock after the close; the rating is held from the next open.

    Prompt: the Window in words and numbers. Answer: ``<think>...</think>`` and ``[[[BUY]]]``.
    Reward components (``weights`` in the recipe; weight 0 is measured, not trained on):

    - ``profit``: position (rating / 2) times the excess return over the market, in volatilities.
    - ``risk``: - risk_aversion / 2 * position^2, so that boldness must pay for itself.
    - ``decision``: the asymmetric matrix of Trading-R1 against the label; -1.5 when unreadable.
    - ``outcome``: the market outcome reward of Trading-R1, S5.2.
    - ``format``: 1 when the answer can be read and starts with reasoning, else 0.
    """

    config: RatingConfig
    panel: Panel
    split: Split
    name: str = "rating"
    version: str = "1.0.0"
    words: Sequence[str] = ("<think>", "</think>", *(f"[[[{name}]]]" for name in RATINGS))
    action_names: Sequence[str] = tuple(RATINGS)
    windows: Windows = field(init=False, repr=False)
    excess_TN: Floats = field(init=False, repr=False)
    held_TN: Floats = field(init=False, repr=False)
    label_TN: Floats = field(init=False, repr=False)
    planted_TN: Floats | None = field(init=False, repr=False)

    config_class: ClassVar[type[BaseModel]] = RatingConfig

    def __post_init__(self) -> None:
        self.weights = {**dict.fromkeys(COMPONENTS, 0.0), **self.config.weights}
        self.windows = Windows(self.panel, mask=self.config.mask)
        self.excess_TN = outcomes.excess_TN(self.panel, self.config.horizons)
        self.held_TN = outcomes.excess_TN(self.panel, self.config.horizons[:1])
        self.planted_TN = outcomes.planted_TN(self.panel)
        train_T = np.zeros(self.panel.shape[0], dtype=bool)
        train_T[self.split.train_T] = True
        self.label_TN = outcomes.rating_labels(self.panel, train_T, self.config.label_mode).label_TN
        if self.config.label_mode == "forward":
            for rows in (self.split.train_T, self.split.validation_T, self.split.test_T):
                # Their labels would rest on prices after the split.
                self.label_TN[rows[-outcomes.LONGEST_LABEL_HORIZON :]] = np.nan

    def rows(self, split: SplitName) -> Any:
        """Date rows of a split."""
        return {"train": self.split.train_T, "validation": self.split.validation_T, "test": self.split.test_T}[split]

    def examples(self, split: SplitName) -> list[Example]:
        """Every listed ticker on every date of the split whose volatility and outcome are known."""
        known_TN = self.panel.listed_TN & np.isfinite(self.excess_TN)
        return [self._example(int(t), int(n)) for t in self.rows(split) for n in np.flatnonzero(known_TN[t])]

    def _example(self, t: int, n: int) -> Example:
        return Example(f"{self.panel.tickers[n]}@{self.panel.dates_T[t].astype('datetime64[D]')}", t, n)

    def prompt(self, example: Example) -> Prompt:
        """The Window of the example in words and numbers."""
        window = self.windows.at(example.t, example.n)
        messages: list[Message] = [{"role": "user", "content": describe(window, self.config.facts)}]
        if self.config.instructions:
            messages.insert(0, {"role": "system", "content": INSTRUCTIONS})
        return Prompt(example.key, messages, window)

    def parse(self, text: str) -> int:
        """-2..2; raises ParseError for anything but exactly one clear decision."""
        return RATINGS[parse_decision(text)]

    def action_name(self, action: int) -> str:
        """STRONG_SELL ... STRONG_BUY."""
        return RATING_NAMES[action]

    def compose(self, action: int, reasoning: str) -> str:
        """The answer that states a rating -2..2."""
        return compose_decision(RATING_NAMES[action], reasoning)

    def score(self, example: Example, text: str, action: int | None) -> Rewards:
        """Every component for one answer; None where the future needed for it is not in the data."""
        return self._score(example, text, action, float(self.excess_TN[example.t, example.n]))

    def _score(self, example: Example, text: str, action: int | None, excess: float) -> Rewards:
        return {
            "profit": rating_rewards.profit(action, excess),
            "risk": rating_rewards.risk(action, self.config.risk_aversion),
            "decision": rating_rewards.decision(action, float(self.label_TN[example.t, example.n])),
            "outcome": rating_rewards.outcome(action, excess, self.config.outcome),
            "format": float(action is not None and has_reasoning(text)),
        }

    def expert(self, example: Example) -> tuple[int, str]:
        """Plain indicator rules: points per fact word, summed and clipped."""
        return self._expert(self.windows.at(example.t, example.n))

    def _expert(self, window: Window) -> tuple[int, str]:
        said = facts(window, self.config.facts)
        points = sum(EXPERT_POINTS.get(fact.name, {}).get(fact.word, 0) for fact in said)
        return int(np.clip(points, -2, 2)), self._state(window)

    def _state(self, window: Window) -> str:
        said = facts(window, [name for name in self.config.facts if name not in ("stock", "date")])
        return " ".join(f"{fact.label} {fact.word}." for fact in said)

    def reasoning(self, example: Example) -> str:
        """The facts of the prompt, each by its word: what a decision is reasoned from."""
        return self._state(self.windows.at(example.t, example.n))

    def targets(self, split: SplitName, count: int, seed: int) -> list[tuple[Example, str]]:
        """Answers to imitate: the expert's, and a share ``hindsight`` that knew the label; balanced over ratings."""
        rng = np.random.default_rng([seed, 11])
        pool = self.examples(split)
        drawn = [pool[i] for i in rng.permutation(len(pool))[: 3 * count]]
        by_hindsight = round(count * self.config.hindsight)
        labelled = [(e, int(label)) for e in drawn if np.isfinite(label := self.label_TN[e.t, e.n])]
        ruled = [(e, self.expert(e)[0]) for e in drawn]
        chosen = _balanced(labelled, by_hindsight, rng) + _balanced(ruled, count - by_hindsight, rng)
        rng.shuffle(chosen)
        return [(e, self.compose(rating, self.reasoning(e))) for e, rating in chosen]

    def metrics(self, example: Example, action: int | None) -> dict[str, float]:
        """``score`` (the sum of ``measure``), ``correct`` against the label, ``expected`` on a practice market."""
        label = float(self.label_TN[example.t, example.n])
        score = self.measured(example, action)
        return {
            "score": math.nan if score is None else score,
            "correct": float(action == label) if math.isfinite(label) else math.nan,
            "expected": self.expected(example, action),
        }

    def measured(self, example: Example, action: int | None) -> float | None:
        """The score that policies are compared by; None where the future needed for it is not in the data.

        An unreadable answer takes no position, so its profit and risk are those of HOLD: the penalty
        that training charges for it is no trading result. Unreadable answers are counted apart.
        """
        held = float(self.held_TN[example.t, example.n])
        rewards = self._score(example, "", action, held)
        if action is None:
            idle = self._score(example, "", 0, held)
            rewards = {**rewards, "profit": idle["profit"], "risk": idle["risk"]}
        values = [rewards[name] for name in self.config.measure]
        return None if any(value is None for value in values) else sum(value for value in values if value is not None)

    def expected(self, example: Example, action: int | None) -> float:
        """The score this answer is expected to earn given all that could be known; NaN where nobody knows.

        Known on a practice market, for profit (less the charge for risk) over one day. An unreadable answer
        takes no position: 0.
        """
        known = set(self.config.measure) <= {"profit", "risk"} and self.config.horizons[0] == 1
        if self.planted_TN is None or not known:
            return math.nan
        if action is None:
            return 0.0
        planted = float(self.planted_TN[example.t, example.n])
        charge = rating_rewards.risk(action, self.config.risk_aversion)
        return action / 2 * planted * ("profit" in self.config.measure) + charge * ("risk" in self.config.measure)

    def best(self, example: Example) -> int | None:
        """The rating with the highest expected score, the calmer one of equals; None where nobody knows."""
        if math.isnan(self.expected(example, 0)):
            return None
        return max(RATING_NAMES, key=lambda rating: (self.expected(example, rating), -abs(rating)))


def _balanced(pairs: Sequence[tuple[Example, int]], count: int, rng: np.random.Generator) -> list[tuple[Example, int]]:
    """``count`` pairs with the ratings equally often, repeating pairs of rare ratings."""
    if not pairs or count <= 0:
        return []
    by_rating: dict[int, list[tuple[Example, int]]] = {}
    for pair in pairs:
        by_rating.setdefault(pair[1], []).append(pair)
    quotas = np.full(len(by_rating), count // len(by_rating)) + (np.arange(len(by_rating)) < count % len(by_rating))
    return [
        group[i]
        for (_, group), quota in zip(sorted(by_rating.items()), quotas, strict=True)
        for i in rng.choice(len(group), int(quota), replace=len(group) < quota)
    ]
