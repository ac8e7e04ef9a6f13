"""The rating task: five points from STRONG_SELL to STRONG_BUY for one stock on one day."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.market import labels
from tradeschool.market.panel import Floats, Panel
from tradeschool.market.snapshot import Snapshot, Snapshots
from tradeschool.market.splits import Split
from tradeschool.policies import rules
from tradeschool.policies.base import Answerer
from tradeschool.tasks import rating_rewards
from tradeschool.tasks.base import CORRECT, Example, Message, Metric, Rewards, SplitName, Task
from tradeschool.tasks.rating_config import COMPONENTS, RatingConfig
from tradeschool.text.describe import Fact, facts
from tradeschool.text.parse import RATING_NAMES, RATINGS, format_decision, has_reasoning, parse_decision
from tradeschool.text.sections import sections

INSTRUCTIONS = (
    "You rate one stock for the coming days from what is known after the close. Think first, inside "
    "<think></think>: state the facts that you decide on. Then end with one line that holds exactly one of "
    + ", ".join(f"[[[{name}]]]" for name in RATINGS)
    + "."
)

RATING_VALUES = tuple(RATINGS.values())
"""-2 (STRONG_SELL) to 2 (STRONG_BUY)."""
KNOWN = ("risk", "format")
"""The reward components that do not depend on the outcome."""
PAIR = ("rating", "forward_return")
METRICS = (
    Metric("score", "score", "mean score per question", primary=True),
    Metric(
        "share",
        "edge %",
        "expected score / that of the best possible answers",
        digits=0,
        scale=100,
        unit="% of the best possible score",
        aggregate="share_of_oracle",
        inputs=("expected",),
        terminal="interval",
    ),
    Metric("decision", "decision", "mean reward by the decision matrix", terminal="no"),
    Metric("accuracy", "right %", "answers equal to the label", 1, 100, inputs=(CORRECT,), terminal="no"),
    Metric("ic", "IC", "correlation of rating and forward return", aggregate="correlation", inputs=PAIR, terminal="no"),
    Metric(
        "rank_ic", "rank IC", "rank correlation of rating and forward return", aggregate="rank_correlation", inputs=PAIR
    ),
    Metric(
        "hit_rate",
        "hit %",
        "ratings on the right side, HOLD left out",
        1,
        100,
        aggregate="sign_agreement",
        inputs=PAIR,
        terminal="no",
    ),
)


class RatingTask(Task):
    """Rate a stock after the close; the rating is held from the next open.

    Prompt: the snapshot in words and numbers. Answer: ``<think>...</think>`` and ``[[[BUY]]]``.
    Reward components (``weights`` in the recipe; a component of weight 0 is recorded but not trained on):

    - ``profit``: position (rating / 2) times the excess return over the market, in volatilities.
    - ``risk``: - risk_aversion / 2 * position^2, the cost of a large position.
    - ``decision``: the asymmetric matrix of Trading-R1 against the label; -1.5 when the answer is unreadable.
    - ``outcome``: the market outcome reward of Trading-R1, S5.2.
    - ``format``: 1 when the answer can be read and starts with reasoning, else 0.
    """

    name, version = "rating", "1.1.0"
    special_tokens = ("<think>", "</think>", *(f"[[[{name}]]]" for name in RATINGS))
    action_names = tuple(RATINGS)
    known_components = KNOWN
    config_class = RatingConfig

    def __init__(self, config: RatingConfig, panel: Panel, split: Split) -> None:
        self.config, self.panel, self.split = config, panel, split
        self.weights = {**dict.fromkeys(COMPONENTS, 0.0), **config.weights}
        self.horizon = max(config.horizons)
        self.snapshots = Snapshots(panel, mask=config.mask)
        self.excess_TN = labels.excess_TN(panel, config.horizons)
        self.held_TN = labels.excess_TN(panel, config.horizons[:1])
        self.forward_TN = labels.forward_return_TN(panel, config.horizons[0])
        self.true_alpha_TN = labels.true_alpha_TN(panel)
        self.label_TN = self._labels()
        self._train = frozenset(split.train_T.tolist())
        self._last: tuple[tuple[int, int], Snapshot, list[Fact]] | None = None

    def _labels(self) -> Floats:
        if not self.split.train_T.size:
            return np.full(self.panel.shape, np.nan)
        train_T = np.zeros(self.panel.shape[0], dtype=bool)
        train_T[self.split.train_T] = True
        label_TN = labels.rating_labels(self.panel, train_T, self.config.label_mode).label_TN
        if self.config.label_mode == "forward":
            for rows in (self.split.train_T, self.split.validation_T, self.split.test_T):
                # These labels would depend on prices after the split.
                label_TN[rows[-labels.LONGEST_LABEL_HORIZON :]] = np.nan
        return label_TN

    # the question --------------------------------------------------------------------------------

    def rows(self, split: SplitName) -> NDArray[np.int64]:
        return self.split.rows(split)

    def examples(self, split: SplitName) -> list[Example]:
        """Every listed ticker on every date of the split whose volatility and outcome are known."""
        return list(self.stream(split))

    def stream(self, split: SplitName) -> Iterator[Example]:
        """The same one by one, with all variants of a training question together."""
        variants = self.config.variants if split == "train" else 1
        for t in self.rows(split).tolist():
            known_N = np.isfinite(self.panel.close_TN[t]) & np.isfinite(self.excess_TN[t])
            for n in np.flatnonzero(known_N).tolist():
                for variant in range(variants):
                    yield self.example_at(t, n, variant)

    def example_at(self, t: int, n: int, variant: int = 0) -> Example:
        key = f"{self.panel.tickers[n]}@{self.panel.dates_T[t].astype('datetime64[D]')}"
        return Example(f"{key}#{variant}" if variant else key, t, n, variant)

    def messages(self, example: Example) -> list[Message]:
        """The snapshot of the example in words and numbers: the facts, then the sections."""
        snapshot, stated = self._seen(example.t, example.n)
        text = "\n".join(fact.text for fact in stated)
        if self.config.sections:
            text += "\n\n" + sections(snapshot, self.config.sections, self._variant_rng(example))
        messages: list[Message] = [{"role": "user", "content": text}]
        if given := self.config.instructions:
            messages.insert(0, {"role": "system", "content": given if isinstance(given, str) else INSTRUCTIONS})
        return messages

    def snapshot(self, example: Example) -> Snapshot:
        return self._seen(example.t, example.n)[0]

    def _variant_rng(self, example: Example) -> np.random.Generator | None:
        """The random source of a variant; None where a question has one prompt, which has all sections in order."""
        if self.config.variants == 1 or example.t not in self._train:
            return None
        # From the key, so that a prompt does not depend on which others are written.
        return np.random.default_rng([self.config.variant_seed, example.variant, *example.key.encode()])

    # the answer ----------------------------------------------------------------------------------

    def parse(self, completion: str) -> int:
        """-2..2; raises ParseError for anything but exactly one clear decision."""
        return RATINGS[parse_decision(completion)]

    def action_name(self, action: int) -> str:
        return RATING_NAMES[action]

    def format_answer(self, action: int, reasoning: str) -> str:
        return format_decision(RATING_NAMES[action], reasoning)

    # training ------------------------------------------------------------------------------------

    def rewards(self, example: Example, completion: str, action: int | None) -> Rewards:
        """Every component for one answer; None where the future needed for it is not in the data."""
        excess = float(self.excess_TN[example.t, example.n])
        return {name: self._component(name, example, completion, action, excess) for name in COMPONENTS}

    def _component(
        self, name: str, example: Example, completion: str, action: int | None, excess: float
    ) -> float | None:
        match name:
            case "profit":
                return rating_rewards.profit(action, excess)
            case "risk":
                return rating_rewards.risk(action, self.config.risk_aversion)
            case "decision":
                return rating_rewards.decision(action, float(self.label_TN[example.t, example.n]))
            case "outcome":
                return rating_rewards.outcome(action, excess, self.config.outcome)
            case _:
                return float(action is not None and has_reasoning(completion))

    def decisions(self, example: Example) -> Sequence[int]:
        return RATING_VALUES

    def expert(self, example: Example) -> tuple[int, str]:
        """Plain indicator rules: points per fact word, summed and clipped."""
        stated = self._seen(example.t, example.n)[1]
        return max(-2, min(2, rules.expert_points(stated))), self.reasoning(example)

    def reasoning(self, example: Example) -> str:
        """The facts of the prompt, each by its word."""
        stated = self._seen(example.t, example.n)[1]
        return " ".join(f"{fact.label} {fact.word}." for fact in stated if fact.name not in ("stock", "date"))

    def facts(self, example: Example) -> list[str]:
        return [one.word for one in self.stated(example)]

    def stated(self, example: Example) -> list[Fact]:
        """The facts of the prompt."""
        return self._seen(example.t, example.n)[1]

    def _seen(self, t: int, n: int) -> tuple[Snapshot, list[Fact]]:
        """The snapshot of a question and its facts, cached for the next call about the same question."""
        if self._last is None or self._last[0] != (t, n):
            snapshot = self.snapshots.at(t, n)
            self._last = ((t, n), snapshot, facts(snapshot, self.config.facts))
        return self._last[1], self._last[2]

    def hindsight_answer(self, example: Example) -> str | None:
        """The rating of the label, reasoned from the facts of the prompt."""
        label = self.label_TN[example.t, example.n]
        return self.format_answer(int(label), self.reasoning(example)) if np.isfinite(label) else None

    def expert_answer(self, example: Example) -> str:
        return self.format_answer(*self.expert(example))

    def label(self, example: Example) -> str | None:
        """The rating that is right given the outcome; None near the end of a split and around gaps."""
        label = self.label_TN[example.t, example.n]
        return RATING_NAMES[int(label)] if np.isfinite(label) else None

    def sft_examples(
        self, split: SplitName, count: int, seed: int, pool: Sequence[Example] | None = None
    ) -> list[tuple[Example, str]]:
        """The expert's answers, and a share ``hindsight_share`` with the label as rating; balanced over ratings."""
        chosen = self.sft_ratings(split, count, seed, pool)
        return [(e, self.format_answer(rating, self.reasoning(e))) for e, rating in chosen]

    def sft_ratings(
        self, split: SplitName, count: int, seed: int, pool: Sequence[Example] | None = None
    ) -> list[tuple[Example, int]]:
        """The examples of :meth:`sft_examples`, each with its rating."""
        rng = np.random.default_rng([seed, 11])
        pool = self.examples(split) if pool is None else pool
        drawn = [pool[i] for i in rng.permutation(len(pool))[: 3 * count]]
        by_hindsight = round(count * self.config.hindsight_share)
        labelled = [(e, int(label)) for e in drawn if np.isfinite(label := self.label_TN[e.t, e.n])]
        ruled = [(e, self.expert(e)[0]) for e in drawn]
        chosen = _balanced(labelled, by_hindsight, rng) + _balanced(ruled, count - by_hindsight, rng)
        rng.shuffle(chosen)
        return chosen

    # evaluation ----------------------------------------------------------------------------------

    def metrics(self) -> Sequence[Metric]:
        return METRICS

    def metric_values(self, example: Example, action: float | None) -> dict[str, float]:
        """The values behind the metrics.

        ``score`` is the sum of the components ``eval_score``; ``correct`` compares with the label; ``expected`` is
        known on a synthetic market. ``action`` may be a fraction of a rating (a position).
        """
        label, forward = (float(value_TN[example.t, example.n]) for value_TN in (self.label_TN, self.forward_TN))
        score = self.eval_score(example, action)
        return {
            "score": math.nan if score is None else score,
            CORRECT: float(action == label) if math.isfinite(label) else math.nan,
            "expected": self.expected(example, action),
            "rating": math.nan if action is None else float(action),
            "forward_return": forward,
        }

    def positions(self, example: Example, action: float | None) -> float | None:
        return None if action is None else action / 2

    def eval_score(self, example: Example, action: float | None) -> float | None:
        """The score that policies are compared by; None where the future needed for it is not in the data.

        An unreadable answer takes no position, so its profit and risk are those of HOLD. The penalty that training
        charges for it is not a trading result; unreadable answers are counted separately.
        """
        return self._score(example, action, self.config.eval_score)

    def outcome_score(self, example: Example, action: float | None) -> float | None:
        """The same without the charge for risk."""
        return self._score(example, action, [name for name in self.config.eval_score if name not in KNOWN])

    def _score(self, example: Example, action: float | None, names: Sequence[str]) -> float | None:
        held = float(self.held_TN[example.t, example.n])
        total = 0.0
        for name in names:
            taken: Any = 0 if action is None and name in ("profit", "risk") else action
            if (value := self._component(name, example, "", taken, held)) is None:
                return None
            total += value
        return total

    def score_definition(self) -> str:
        """``profit + risk (aversion 0.2) over 1 day, task rating 1.0.0``: all that the score depends on."""
        outcome = ", ".join(f"{key} {value}" for key, value in self.config.outcome.model_dump().items())
        settings = {
            "risk": f"aversion {self.config.risk_aversion:g}",
            "decision": f"labels {self.config.label_mode}",
            "outcome": outcome,
        }
        parts = [f"{name} ({settings[name]})" if name in settings else name for name in self.config.eval_score]
        days = self.config.horizons[0]
        return f"{' + '.join(parts)} over {days} day{'s' if days > 1 else ''}, task {self.name} {self.version}"

    def baselines(self, seed: int = 0) -> list[Answerer]:
        """Constant ratings, random ones, two indicator rules, and the oracle on a synthetic market."""
        found: list[Answerer] = [rules.constant("hold", 0), rules.constant("buy and hold", 2)]
        if train := self.examples("train"):
            found.append(rules.constant("best constant", self._best_constant(train)))
        found += [rules.random(RATING_VALUES, seed), rules.rsi_rules(), rules.momentum()]
        return [*found, rules.oracle(self)] if self._knows_expected() else found

    def _best_constant(self, examples: Sequence[Example]) -> int:
        """The constant rating with the highest mean score, the calmest of equals."""

        def mean(rating: int) -> float:
            scores = [score for e in examples if (score := self.eval_score(e, rating)) is not None]
            return float(np.mean(scores)) if scores else 0.0

        return max((0, 1, -1, 2, -2), key=mean)

    def _knows_expected(self) -> bool:
        known = set(self.config.eval_score) <= {"profit", "risk"} and self.config.horizons[0] == 1
        return self.true_alpha_TN is not None and known

    def expected(self, example: Example, action: float | None) -> float:
        """The score this answer is expected to earn given all that could be known; NaN where that is not known.

        Known on a synthetic market, for profit (less the charge for risk) over one day. An unreadable answer
        takes no position: 0.
        """
        if self.true_alpha_TN is None or not self._knows_expected():
            return math.nan
        if action is None:
            return 0.0
        alpha = float(self.true_alpha_TN[example.t, example.n])
        charge = rating_rewards.risk(action, self.config.risk_aversion)
        return action / 2 * alpha * ("profit" in self.config.eval_score) + charge * ("risk" in self.config.eval_score)

    def oracle_action(self, example: Example) -> int | None:
        """The rating with the highest expected score, the calmer one of equals; None where it is not known."""
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
