"""The rating task: five points from STRONG_SELL to STRONG_BUY for one stock on one day."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel

from tradeschool.market import outcomes
from tradeschool.market.panel import Floats, Panel
from tradeschool.market.splits import Split
from tradeschool.market.window import Window, Windows
from tradeschool.tasks import rating_rewards
from tradeschool.tasks.base import Example, Message, Prompt, Rewards, SplitName, Task
from tradeschool.tasks.rating_config import COMPONENTS, RatingConfig
from tradeschool.text.describe import Fact, facts
from tradeschool.text.grammar import RATING_NAMES, RATINGS, compose_decision, has_reasoning, parse_decision
from tradeschool.text.sections import sections

INSTRUCTIONS = (
    "You rate one stock for the coming days from what is known after the close. Think first, inside "
    "<think></think>: state the facts that you decide on. Then end with one line that holds exactly one of "
    + ", ".join(f"[[[{name}]]]" for name in RATINGS)
    + "."
)
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
    version: str = "1.1.0"
    words: Sequence[str] = ("<think>", "</think>", *(f"[[[{name}]]]" for name in RATINGS))
    action_names: Sequence[str] = tuple(RATINGS)
    windows: Windows = field(init=False, repr=False)
    excess_TN: Floats = field(init=False, repr=False)
    held_TN: Floats = field(init=False, repr=False)
    label_TN: Floats = field(init=False, repr=False)
    planted_TN: Floats | None = field(init=False, repr=False)
    _train: frozenset[int] = field(init=False, repr=False)
    _last: tuple[tuple[int, int], Window, list[Fact]] | None = field(init=False, repr=False, default=None)

    config_class: ClassVar[type[BaseModel]] = RatingConfig

    def __post_init__(self) -> None:
        self.weights = {**dict.fromkeys(COMPONENTS, 0.0), **self.config.weights}
        self.windows = Windows(self.panel, mask=self.config.mask)
        self.excess_TN = outcomes.excess_TN(self.panel, self.config.horizons)
        self.held_TN = outcomes.excess_TN(self.panel, self.config.horizons[:1])
        self.planted_TN = outcomes.planted_TN(self.panel)
        self._train = frozenset(self.split.train_T.tolist())
        train_T = np.zeros(self.panel.shape[0], dtype=bool)
        train_T[self.split.train_T] = True
        self.label_TN = outcomes.rating_labels(self.panel, train_T, self.config.label_mode).label_TN
        if self.config.label_mode == "forward":
            for rows in (self.split.train_T, self.split.validation_T, self.split.test_T):
                # Their labels would rest on prices after the split.
                self.label_TN[rows[-outcomes.LONGEST_LABEL_HORIZON :]] = np.nan

    def rows(self, split: SplitName) -> Any:
        """Date rows of a split."""
        return self.split.rows(split)

    def examples(self, split: SplitName) -> list[Example]:
        """Every listed ticker on every date of the split whose volatility and outcome are known."""
        return list(self.stream(split))

    def stream(self, split: SplitName) -> Iterator[Example]:
        """The same one after the other, the variants of a training question next to each other."""
        variants = self.config.variants if split == "train" else 1
        for t in self.rows(split).tolist():
            known_N = np.isfinite(self.panel.close_TN[t]) & np.isfinite(self.excess_TN[t])
            for n in np.flatnonzero(known_N).tolist():
                for variant in range(variants):
                    yield self._example(t, n, variant)

    def _example(self, t: int, n: int, variant: int = 0) -> Example:
        key = f"{self.panel.tickers[n]}@{self.panel.dates_T[t].astype('datetime64[D]')}"
        return Example(f"{key}#{variant}" if variant else key, t, n, variant)

    def prompt(self, example: Example) -> Prompt:
        """The Window of the example in words and numbers: the facts, then the sections."""
        window, stated = self._seen(example.t, example.n)
        said = "\n".join(fact.text for fact in stated)
        if self.config.sections:
            said += "\n\n" + sections(window, self.config.sections, self._draw(example))
        messages: list[Message] = [{"role": "user", "content": said}]
        if self.config.instructions:
            messages.insert(0, {"role": "system", "content": INSTRUCTIONS})
        return Prompt(example.key, messages, window)

    def _draw(self, example: Example) -> np.random.Generator | None:
        """The source of a variant; None where the question has one prompt alone, which has all in order."""
        if self.config.variants == 1 or example.t not in self._train:
            return None
        # From the key, so that a prompt does not depend on which others are written.
        return np.random.default_rng([self.config.variant_seed, example.variant, *example.key.encode()])

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
        return _advice(self._seen(example.t, example.n)[1])

    def _expert(self, window: Window) -> tuple[int, str]:
        return _advice(facts(window, self.config.facts))

    def reasoning(self, example: Example) -> str:
        """The facts of the prompt, each by its word: what a decision is reasoned from."""
        return _reasoning(self._seen(example.t, example.n)[1])

    def _seen(self, t: int, n: int) -> tuple[Window, list[Fact]]:
        """The window of a question and its facts; kept for the next call, for prompt and answers come together."""
        if self._last is None or self._last[0] != (t, n):
            window = self.windows.at(t, n)
            self._last = ((t, n), window, facts(window, self.config.facts))
        return self._last[1:]

    def target(self, example: Example) -> str | None:
        """The rating of hindsight, reasoned from the facts of the prompt."""
        label = self.label_TN[example.t, example.n]
        return self.compose(int(label), self.reasoning(example)) if np.isfinite(label) else None

    def expert_answer(self, example: Example) -> str:
        """The expert's rating and its reasoning."""
        return self.compose(*self.expert(example))

    def label(self, example: Example) -> str | None:
        """The rating of hindsight; None near the end of a split and around gaps."""
        label = self.label_TN[example.t, example.n]
        return RATING_NAMES[int(label)] if np.isfinite(label) else None

    def targets(
        self, split: SplitName, count: int, seed: int, pool: Sequence[Example] | None = None
    ) -> list[tuple[Example, str]]:
        """Answers to imitate: the expert's, and a share ``hindsight`` that knew the label; balanced over ratings."""
        rng = np.random.default_rng([seed, 11])
        pool = self.examples(split) if pool is None else pool
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


def _advice(stated: Sequence[Fact]) -> tuple[int, str]:
    points = sum(EXPERT_POINTS.get(fact.name, {}).get(fact.word, 0) for fact in stated)
    return max(-2, min(2, points)), _reasoning(stated)


def _reasoning(stated: Sequence[Fact]) -> str:
    return " ".join(f"{fact.label} {fact.word}." for fact in stated if fact.name not in ("stock", "date"))


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
