"""The direction task: UP or DOWN over a number of days, by how much, and how sure."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.panel import Floats, Panel
from tradeschool.market.snapshot import Snapshot, Snapshots
from tradeschool.market.splits import Split
from tradeschool.policies import rules
from tradeschool.policies.base import Answerer
from tradeschool.tasks import direction_rewards
from tradeschool.tasks.base import CORRECT, Example, Figure, Message, Metric, Rewards, SplitName, Task
from tradeschool.tasks.direction_config import COMPONENTS, DirectionConfig
from tradeschool.tasks.direction_metrics import calibration_curve, metrics
from tradeschool.tasks.direction_outcomes import Outcomes, best_probability_TN, day_return_TN
from tradeschool.text.describe import Fact, facts
from tradeschool.text.direction import DIRECTIONS, Call, Direction, format_call, justification_of, parse_call
from tradeschool.text.parse import has_reasoning
from tradeschool.text.sections import section

WHAT = {"neutral": "gains more than the mean of all stocks", "raw": "gains"}
INSTRUCTIONS = (
    "You forecast whether a stock {what} from the next open over the given days: UP if it does, otherwise DOWN. Think "
    "first, inside <think></think>: state the facts that you decide on. Then write three lines: 'Magnitude: ' and the "
    "size of the move in percent, 'Direction: ' and UP or DOWN, 'Confidence: ' and the probability in percent that the "
    "direction is right."
)
NOTHING_KNOWN = "nothing known"
PLACES = 4
"""Digits of a baseline's confidence."""


class DirectionTask(Task):
    """Forecast the direction of a stock's move from the next open, its size, and how sure that is.

    Prompt: the facts, what is known of the sections, a typical move, and the horizon. Answer: ``<think>...</think>``,
    then ``Magnitude: 1.5%``, ``Direction: UP`` and ``Confidence: 65%``. A question's ``variant`` is the place of its
    horizon. Reward components (``weights`` in the recipe): see ``tasks/direction_rewards.py``.
    """

    name, version = "direction", "1.0.0"
    action_names = DIRECTIONS
    known_components = ("charge", "data_use", "format")
    config_class = DirectionConfig

    def __init__(self, config: DirectionConfig, panel: Panel, split: Split) -> None:
        self.config, self.panel, self.split = config, panel, split
        self.weights = {**dict.fromkeys(COMPONENTS, 0.0), **config.weights}
        self.horizon = max(config.horizons)
        self.special_tokens = (
            *("<think>", "</think>", *(f"Direction: {one}" for one in DIRECTIONS)),
            *(f"Confidence: {round(100 * one, 10):g}%" for one in config.confidences),
        )
        self.snapshots = Snapshots(panel, mask=config.mask)
        self.outcomes = [Outcomes.of(panel, split.train_T, days, config.label) for days in config.horizons]
        self.base = [one.share_up() for one in self.outcomes]
        only = self.outcomes[0] if len(self.outcomes) == 1 else None
        self.best_TN = best_probability_TN(panel, only, config.label) if only else None
        self._last: tuple[tuple[int, int], Snapshot, list[Fact], str] | None = None
        self._cited: tuple[str, str, int] = ("", "", 0)

    # the question --------------------------------------------------------------------------------

    def rows(self, split: SplitName) -> NDArray[np.int64]:
        """Date rows of a split."""
        return self.split.rows(split)

    def examples(self, split: SplitName) -> list[Example]:
        """Every listed ticker on every date of the split, once for each horizon whose outcome is known."""
        return list(self.stream(split))

    def stream(self, split: SplitName) -> Iterator[Example]:
        """The same one by one."""
        for t in self.rows(split).tolist():
            for n in np.flatnonzero(np.isfinite(self.panel.close_TN[t])).tolist():
                for place, outcomes in enumerate(self.outcomes):
                    if math.isfinite(outcomes.move_TN[t, n]):
                        yield self.example_at(t, n, place)

    def example_at(self, t: int, n: int, place: int = 0) -> Example:
        """The question about ticker column ``n`` after the close of row ``t`` and the horizon at ``place``."""
        key = f"{self.panel.tickers[n]}@{self.panel.dates_T[t].astype('datetime64[D]')}"
        several = len(self.outcomes) > 1
        return Example(f"{key}/{self.outcomes[place].days}d" if several else key, t, n, place)

    def messages(self, example: Example) -> list[Message]:
        """The facts in words and numbers, the sections of which something is known, a typical move, the horizon."""
        _, stated, sections = self._seen(example.t, example.n)
        days = self._outcomes(example).days
        asked = [f"Typical move {self._typical(example)}%", f"Horizon {days} day{'s' * (days > 1)}"]
        text = "\n".join([*(fact.text for fact in stated), *asked])
        messages: list[Message] = [{"role": "user", "content": f"{text}\n\n{sections}" if sections else text}]
        if given := self.config.instructions:
            ours = INSTRUCTIONS.format(what=WHAT[self.config.label])
            messages.insert(0, {"role": "system", "content": given if isinstance(given, str) else ours})
        return messages

    def snapshot(self, example: Example) -> Snapshot:
        """All that is known about the ticker at the close."""
        return self._seen(example.t, example.n)[0]

    def _seen(self, t: int, n: int) -> tuple[Snapshot, list[Fact], str]:
        """Snapshot, facts and sections of a ticker on a date, cached for the next call about the same."""
        if self._last is None or self._last[0] != (t, n):
            snapshot = self.snapshots.at(t, n)
            written = [section(name, snapshot) for name in self.config.sections]
            known = [text for text in written if not text.endswith(f"\n{NOTHING_KNOWN}")]
            self._last = ((t, n), snapshot, facts(snapshot, self.config.facts), "\n\n".join(known))
        return self._last[1:]

    def _outcomes(self, example: Example) -> Outcomes:
        return self.outcomes[example.variant]

    def _typical(self, example: Example) -> float:
        return round(float(self._outcomes(example).typical_TN[example.t, example.n]), 1)

    def _move(self, example: Example) -> float:
        return float(self._outcomes(example).move_TN[example.t, example.n])

    # the answer ----------------------------------------------------------------------------------

    def parse(self, completion: str) -> Call:
        """Raises ParseError for anything but one clear direction, magnitude and confidence."""
        return parse_call(completion)

    def action_name(self, action: Call) -> str:
        """UP or DOWN."""
        return action.direction

    def format_answer(self, action: Call, reasoning: str) -> str:
        """The answer that states a call."""
        return format_call(action, reasoning)

    def combine(self, actions: Sequence[Call], how: Literal["mean", "median"] = "mean") -> Call:
        """The mean or median probability of UP, and of the magnitudes."""
        middle = np.mean if how == "mean" else np.median
        probability = float(middle([one.probability for one in actions]))
        size = float(middle([one.magnitude for one in actions]))
        return Call("UP", size, probability) if probability >= 0.5 else Call("DOWN", size, 1 - probability)

    # training ------------------------------------------------------------------------------------

    def rewards(self, example: Example, completion: str, action: Call | None) -> Rewards:
        """Every component for one answer; None where the outcome is not known."""
        move = self._move(example)
        up, known = move > 0, math.isfinite(move)
        ours, base = direction_rewards, self.base[example.variant]
        return {
            "signal": ours.signal(action, up, base) if known else None,
            "charge": ours.charge(action, base),
            "log": ours.log_score(action, up) if known else None,
            "direction": ours.direction(action, up) if known else None,
            "magnitude": ours.magnitude(action, move) if known else None,
            "confidence": ours.confidence(action, up) if known else None,
            "data_use": ours.data_use(action, self._cited_points(example, completion)),
            "format": float(action is not None and has_reasoning(completion)),
        }

    def _cited_points(self, example: Example, completion: str) -> int:
        """Data points of the prompt that the reasoning cites; cached, since the decisions of a group share theirs."""
        text = justification_of(completion)
        if self._cited[:2] != (example.key, text):
            _, stated, sections = self._seen(example.t, example.n)
            self._cited = (example.key, text, direction_rewards.cited_points(text, stated, sections))
        return self._cited[2]

    def decisions(self, example: Example) -> list[Call]:
        """UP and DOWN with each of the confidences, and the typical magnitude."""
        size = self._typical(example)
        return [Call(way, size, confidence) for way in DIRECTIONS for confidence in self.config.confidences]

    def reasoning(self, example: Example) -> str:
        """The facts of the prompt, each by its word, and the horizon where there are several."""
        stated = [one for one in self._seen(example.t, example.n)[1] if one.name not in ("stock", "date")]
        words = [f"{fact.label} {fact.word}." for fact in stated]
        return " ".join([*words, f"{self._outcomes(example).days} days."] if len(self.outcomes) > 1 else words)

    def facts(self, example: Example) -> list[str]:
        """The word of each fact of the prompt, and the horizon."""
        words = [one.word for one in self._seen(example.t, example.n)[1]]
        return [*words, f"{self._outcomes(example).days}d"] if len(self.outcomes) > 1 else words

    def expert(self, example: Example) -> Call:
        """Plain indicator rules: points per fact word; their sign is the direction, their number the confidence."""
        stated = self._seen(example.t, example.n)[1]
        points = rules.expert_points(stated)
        up = points > 0 or (points == 0 and self.base[example.variant] >= 0.5)
        sure = self.config.confidences[min(abs(points), len(self.config.confidences) - 1)]
        return Call("UP" if up else "DOWN", self._typical(example), sure)

    def expert_answer(self, example: Example) -> str:
        """The expert's call and its reasoning."""
        return self.format_answer(self.expert(example), self.reasoning(example))

    def hindsight_answer(self, example: Example) -> str | None:
        """The direction and the size of the move, with the highest confidence."""
        if (way := self.label(example)) is None:
            return None
        call = Call(_way(way == "UP"), round(abs(self._move(example)), 1), self.config.confidences[-1])
        return self.format_answer(call, self.reasoning(example))

    def label(self, example: Example) -> str | None:
        """UP or DOWN by the outcome; None where it is not known."""
        move = self._move(example)
        return _way(move > 0) if math.isfinite(move) else None

    def sft_examples(
        self, split: SplitName, count: int, seed: int, pool: Sequence[Example] | None = None
    ) -> list[tuple[Example, str]]:
        """The expert's answers, and a share ``hindsight_share`` with the direction that came true; half are UP.

        The confidence of the latter is drawn evenly: one outcome does not say how likely it was.
        """
        rng = np.random.default_rng([seed, 11])
        pool = self.examples(split) if pool is None else pool
        drawn = [pool[i] for i in rng.permutation(len(pool))[: 3 * count]]
        by_hindsight = round(count * self.config.hindsight_share)
        sure = rng.choice(self.config.confidences, len(drawn)).tolist()
        labelled = [
            (e, Call(_way(way == "UP"), self._typical(e), c))
            for e, c in zip(drawn, sure, strict=True)
            if (way := self.label(e)) is not None
        ]
        ruled = [(e, self.expert(e)) for e in drawn]
        chosen = _balanced(labelled, by_hindsight, rng) + _balanced(ruled, count - by_hindsight, rng)
        rng.shuffle(chosen)
        return [(e, self.format_answer(call, self.reasoning(e))) for e, call in chosen]

    # evaluation ----------------------------------------------------------------------------------

    def metrics(self) -> Sequence[Metric]:
        """Brier score first; see ``tasks/direction_metrics.py``."""
        return metrics(self.config.horizons)

    def metric_values(self, example: Example, action: Call | None) -> dict[str, float]:
        """The values behind the metrics; empty where the outcome is not known. Unreadable: the worst Brier score."""
        move = self._move(example)
        if not math.isfinite(move):
            return {}
        up, base = float(move > 0), self.base[example.variant]
        brier = direction_rewards.brier(action, move > 0)
        values = {
            "brier": brier,
            f"brier_{self._outcomes(example).days}d": brier,
            "gain": (base - up) ** 2 - brier,
            "log": direction_rewards.log_score(action, move > 0),
            "expected": self._expected(example, action),
        }
        if action is None:
            return values
        right = float(direction_rewards.is_right(action, move > 0))
        return values | {
            CORRECT: right,
            "up_right" if up else "down_right": right,
            "probability": action.probability,
            "up": up,
            "sure": action.confidence,  # `confidence` is a reward component
            "up_excess": (action.direction == "UP") - up,
            "probability_bias": action.probability - up,
            "magnitude_error": abs(action.magnitude - abs(move)),
        }

    def _expected(self, example: Example, action: Call | None) -> float:
        """The expected gain in the Brier score over the base rate, where the true probability is known."""
        if self.best_TN is None:
            return math.nan
        true, base = float(self.best_TN[example.t, example.n]), self.base[example.variant]
        error = 1 - true * (1 - true) if action is None else (action.probability - true) ** 2
        return (base - true) ** 2 - error

    def outcome_score(self, example: Example, action: Call) -> float | None:
        """The part of the Brier score that depends on the outcome and the decision, higher is better."""
        return self.rewards(example, "", action)["signal"]

    def positions(self, example: Example, action: Call | None) -> float | None:
        """2 x probability of UP - 1: 0 where it is even."""
        return None if action is None else 2 * action.probability - 1

    def score_definition(self) -> str:
        """``Brier score of neutral moves over 1 day, task direction 1.0.0``."""
        days = ", ".join(map(str, self.config.horizons))
        unit = "day" if self.config.horizons == [1] else "days"
        return f"Brier score of {self.config.label} moves over {days} {unit}, task {self.name} {self.version}"

    def oracle_action(self, example: Example) -> Call | None:
        """The true probability; None where it is not known."""
        if self.best_TN is None or not math.isfinite(best := float(self.best_TN[example.t, example.n])):
            return None
        return Call(_way(best >= 0.5), self._typical(example), max(best, 1 - best))

    def baselines(self, seed: int = 0) -> list[Answerer]:
        """The base rate of the training dates, always up and always down with it, 50 %, two rules, and the oracle.

        The rules state how often they were right on the training dates.
        """
        own = self.snapshots.values
        trend_TN = own["strength_10" if self.config.label == "neutral" else "roc_10"]
        day_TN = day_return_TN(self.panel)
        if self.config.label == "neutral":
            day_TN = day_TN - np.nanmean(np.where(np.isfinite(day_TN).any(1, keepdims=True), day_TN, 0), 1)[:, None]
        found: list[Answerer] = [
            self._constant("base rate", None),
            self._constant("always up", "UP"),
            self._constant("always down", "DOWN"),
            self._constant("50 %", None, EVEN),
            self._by_sign("momentum 10d", trend_TN),
            self._by_sign("reversal 1d", -day_TN),
        ]
        return [*found, rules.oracle(self)] if self.best_TN is not None else found

    def _constant(self, name: str, way: Direction | None, up: float | None = None) -> rules.Rule:
        """UP with the same probability always, by default the base rate; ``way`` by default what is more likely."""

        def decide(example: Example, snapshot: Snapshot | None) -> tuple[Call, str]:
            share = self.base[example.variant] if up is None else up
            chosen = way or _way(share >= 0.5)
            return self._call(example, chosen, share if chosen == "UP" else 1 - share), "Always the same."

        return rules.Rule(name, "naive", decide)

    def _by_sign(self, name: str, signal_TN: Floats) -> rules.Rule:
        """UP where a number is above 0, with the share of training outcomes in which that was right."""
        above = [one.share_up(signal_TN > 0) for one in self.outcomes]
        below = [1 - one.share_up(signal_TN <= 0) for one in self.outcomes]

        def decide(example: Example, snapshot: Snapshot | None) -> tuple[Call, str]:
            value = float(signal_TN[example.t, example.n])
            if not math.isfinite(value):
                return self._call(example, _way(self.base[example.variant] >= 0.5), EVEN), "Not known."
            sure = above if value > 0 else below
            return self._call(example, _way(value > 0), sure[example.variant]), f"{value:+.3g}."

        return rules.Rule(name, "rule", decide)

    def _call(self, example: Example, way: Direction, sure: float) -> Call:
        return Call(way, self._typical(example), round(sure, PLACES))

    def figures(self) -> Sequence[Figure]:
        """The calibration curve."""
        return (calibration_curve(),)


EVEN = 0.5


def _way(up: bool) -> Direction:
    return DIRECTIONS[0] if up else DIRECTIONS[1]


def _balanced(
    pairs: Sequence[tuple[Example, Call]], count: int, rng: np.random.Generator
) -> list[tuple[Example, Call]]:
    """``count`` pairs, half of them UP, repeating where one side has too few."""
    sides = [[pair for pair in pairs if pair[1].direction == way] for way in DIRECTIONS]
    sides = [side for side in sides if side] if count > 0 else []
    found: list[tuple[Example, Call]] = []
    for place, side in enumerate(sides):
        quota = count // len(sides) + (place < count % len(sides))
        found += [side[i] for i in rng.choice(len(side), quota, replace=len(side) < quota)]
    return found
