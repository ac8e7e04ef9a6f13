"""The forecast task: the next closes of one stock, as numbers. It is always scored beside repeating the last close."""

import functools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import DataError
from tradeschool.market.features import window_statistics
from tradeschool.market.panel import Panel
from tradeschool.market.snapshot import Snapshot, Snapshots
from tradeschool.market.splits import Split
from tradeschool.policies import forecasters
from tradeschool.policies.base import Answerer
from tradeschool.tasks import forecast_rewards
from tradeschool.tasks.base import Example, Figure, Message, Metric, Rewards, SplitName, Task
from tradeschool.tasks.forecast_config import ForecastConfig
from tradeschool.tasks.forecast_metrics import figures, metrics
from tradeschool.tasks.forecast_rewards import COMPONENTS
from tradeschool.tasks.forecast_windows import PanelWindows, check_given
from tradeschool.text.describe import Fact, facts
from tradeschool.text.parse import has_reasoning
from tradeschool.text.paths import format_path, parse_path, whole_numbers
from tradeschool.text.window_sections import Window, trend, window_sections

Path = tuple[float, ...]
"""A forecast: one number for each horizon, in the unit of the prompt."""
UNITS = {
    "scaled": "Prices are in standard deviations from their mean.",
    "volatility": "Prices are changes from the last close, in daily volatilities.",
}
KNOWN = tuple(name for name in COMPONENTS if name not in ("agreement", "accuracy"))
"""The reward components that do not depend on the outcome."""
CLASSES = ("FALL", "FLAT", "RISE")
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
EXPERT_QUESTIONS = 1000
"""Training questions by which the expert is chosen."""


class ForecastTask(Task):
    """Forecast the closes of the next days from a window of closes, its indicators, statistics and facts.

    Prompt: facts, then sections. Answer: ``<think>...</think>`` and one number for each horizon in ``<answer>``.
    Reward components (``weights`` in the recipe; a component of weight 0 is recorded but not trained on):

    - ``agreement`` and ``size``: their sum is how much smaller than persistence's the squared error is, in variances.
      Its expectation is largest for the expected path. ``size`` is the part that does not depend on the outcome.
    - ``format``: 1 when the answer can be read and starts with reasoning, else 0.
    - ``accuracy``, ``think``, ``count``, ``tags``: the reward of VTA's public code. Weights of 1 give that reward.
    """

    name, version = "forecast", "1.0.0"
    known_components = KNOWN
    config_class = ForecastConfig
    reads_windows = True

    def __init__(self, config: ForecastConfig, panel: Panel, split: Split) -> None:
        self.config, self.panel, self.split = config, panel, split
        self.weights = {**dict.fromkeys(COMPONENTS, 0.0), **config.weights}
        self.horizons, self.inputs, self.horizon = config.horizons, config.inputs, config.horizons[-1]
        self.special_tokens = (*TAGS, *whole_numbers(config.unit, config.decimals))
        self.action_names = CLASSES if len(config.horizons) > 1 else ()
        self.windows = PanelWindows(panel, split, config.inputs, config.horizons)
        check_given(panel, config.inputs, config.facts)
        if not self.windows.known_TN.any():
            raise DataError(
                f"{panel.name}: no window of {config.inputs} closes has a known volatility, training closes to scale "
                f"by and closes {config.horizons[-1]} days later. Give a longer history, or fewer inputs or horizons."
            )
        shape_H = np.array([sum(config.decay**day for day in range(h)) for h in config.horizons])
        self._grid_AH = np.array(config.grid)[:, None] * shape_H
        self._last: tuple[tuple[int, int], list[Fact], Window] | None = None

    @functools.cached_property
    def snapshots(self) -> Snapshots:
        """Of the panel; only prompts with facts need them."""
        return Snapshots(self.panel, mask=self.config.mask)

    # the question --------------------------------------------------------------------------------

    def rows(self, split: SplitName) -> NDArray[np.int64]:
        """Date rows of a split."""
        return self.split.rows(split)

    def examples(self, split: SplitName) -> list[Example]:
        """Every ticker on every date of the split whose window and outcome are known."""
        return list(self.stream(split))

    def stream(self, split: SplitName) -> Iterator[Example]:
        """The same one by one."""
        for t in self.rows(split).tolist():
            for n in self.windows.asked(t, split).tolist():
                yield self.example_at(t, n)

    def example_at(self, t: int, n: int) -> Example:
        """The question about ticker column ``n`` after the close of row ``t``, whether or not its outcome is known."""
        return Example(f"{self.panel.tickers[n]}@{self.panel.dates_T[t].astype('datetime64[D]')}", t, n)

    def messages(self, example: Example) -> list[Message]:
        """The facts and the sections of the window."""
        stated, window = self._seen(example.t, example.n)
        parts = ["\n".join(fact.text for fact in stated), window_sections(window, self.config.sections)]
        messages: list[Message] = [{"role": "user", "content": "\n".join(filter(None, parts))}]
        if given := self.config.instructions:
            messages.insert(0, {"role": "system", "content": given if isinstance(given, str) else self.instructions()})
        return messages

    def instructions(self) -> str:
        """The system message that explains the answer's format."""
        days = ", ".join(map(str, self.horizons))
        count = len(self.horizons)
        return (
            f"You forecast the closes of one stock from its last {self.inputs} closes. {UNITS[self.config.unit]} "
            "Think first, inside <think></think>: state the facts that you forecast from. Then write the closes "
            f"expected after {days} trading days inside <answer></answer>, as {count} plain number"
            f"{'s' if count > 1 else ''} in square brackets, separated by commas."
        )

    def snapshot(self, example: Example) -> Snapshot:
        """All that is known about the ticker at the close."""
        return self.snapshots.at(example.t, example.n)

    def _seen(self, t: int, n: int) -> tuple[list[Fact], Window]:
        """The facts and the window of a question, cached for the next call about the same question."""
        if self._last is None or self._last[0] != (t, n):
            stated = facts(self.snapshots.at(t, n), self.config.facts) if self.config.facts else []
            self._last = (t, n), stated, self._window(t, n)
        return self._last[1], self._last[2]

    def _window(self, t: int, n: int) -> Window:
        closes_L = self.windows.closes(t, n, self.inputs)
        if self.config.unit == "volatility":
            closes_L = (closes_L - closes_L[-1]) / self.windows.step_TN[t, n]
        shown, found = self.config.sections, {}
        if "statistics" in shown or not self.config.facts:  # without facts the reasoning states the trend
            found = {name: float(values_W[0]) for name, values_W in window_statistics(closes_L[None, :]).items()}
            if self.config.unit == "scaled":
                found |= self.windows.statistics(t, n)
        indicators = self.windows.indicators(t, n) if "indicators" in shown else {}
        return Window(closes_L, indicators, found, self.config.decimals)

    # the answer ----------------------------------------------------------------------------------

    def parse(self, completion: str) -> Path:
        """One number for each horizon; raises ParseError for anything else."""
        return parse_path(completion, len(self.horizons))

    def format_answer(self, action: Sequence[float], reasoning: str) -> str:
        """The answer that states a forecast, rounded to ``decimals``."""
        return format_path(action, reasoning, self.config.decimals)

    def action_name(self, action: Path) -> str:
        """RISE, FALL or FLAT: the direction from the first to the last of its numbers."""
        change = action[-1] - action[0]
        return CLASSES[1 + (change > 0) - (change < 0)]

    def changes(self, example: Example, action: Sequence[float]) -> list[float]:
        """The forecast as changes from the last close in daily volatilities."""
        if self.config.unit == "volatility":
            return list(action)
        t, n = example.t, example.n
        last, step = float(self.windows.scaled_TN[t, n]), float(self.windows.step_TN[t, n])
        return [(value - last) / step for value in action]

    def path(self, example: Example, changes: Sequence[float]) -> Path:
        """The forecast in the unit of the prompt from changes in daily volatilities, as an answer would state it."""
        t, n = example.t, example.n
        if self.config.unit == "scaled":
            last, step = float(self.windows.scaled_TN[t, n]), float(self.windows.step_TN[t, n])
            changes = [last + step * change for change in changes]
        return tuple(round(float(value), self.config.decimals) + 0.0 for value in changes)

    def outcome(self, example: Example) -> list[float]:
        """The true path as changes from the last close in daily volatilities; NaN where it is not known."""
        t, n = example.t, example.n
        last, step = float(self.windows.scaled_TN[t, n]), float(self.windows.step_TN[t, n])
        return [(value - last) / step for value in self.windows.outcome(t, n)]

    # training ------------------------------------------------------------------------------------

    def rewards(self, example: Example, completion: str, action: Path | None) -> Rewards:
        """Every component for one answer; None where the future needed for it is not in the data."""
        horizons = self.horizons
        change_H, outcome_H = None if action is None else self.changes(example, action), self.outcome(example)
        step = float(self.windows.step_TN[example.t, example.n])
        error = None if change_H is None else step**2 * _squared_error(change_H, outcome_H)
        return {
            "agreement": forecast_rewards.agreement(change_H, outcome_H, horizons),
            "size": forecast_rewards.size(change_H, horizons),
            "format": float(action is not None and has_reasoning(completion)),
            "accuracy": forecast_rewards.accuracy(error),
            "think": forecast_rewards.think(completion),
            "count": forecast_rewards.count(completion, len(horizons)),
            "tags": forecast_rewards.tags(completion),
        }

    def decisions(self, example: Example) -> Sequence[Path]:
        """The paths of the grid, falling fastest first."""
        return [self.path(example, change_H) for change_H in self._grid_AH.tolist()]

    def reasoning(self, example: Example) -> str:
        """The facts of the prompt, each by its word; the trend of the window where there are none."""
        stated, window = self._seen(example.t, example.n)
        words = [f"{fact.label} {fact.word}." for fact in stated if fact.name not in ("stock", "date")]
        return " ".join(words) or f"Trend {trend(window)}."

    def facts(self, example: Example) -> list[str] | None:
        """The word of each fact of the prompt."""
        return [one.word for one in self._seen(example.t, example.n)[0]] or None

    def _nearest(self, changes: Sequence[float]) -> int | None:
        """The place of the decision with the smallest squared error, each horizon in variances of as many days."""
        error_A = ((self._grid_AH - np.asarray(changes)) ** 2 / np.array(self.horizons)).sum(axis=1)
        return int(np.argmin(error_A)) if np.isfinite(error_A).all() else None

    def hindsight_decision(self, example: Example) -> Path | None:
        """The decision nearest to the true path; None where that is not known."""
        place = self._nearest(self.outcome(example))
        return None if place is None else self.decisions(example)[place]

    def expert_decision(self, example: Example) -> Path:
        """The decision nearest to the forecast of the expert: the simple baseline that was best in training."""
        place = self._nearest(self.changes(example, self.expert(example)))
        return self.decisions(example)[place or 0]

    @functools.cached_property
    def expert(self) -> forecasters.Forecast:
        """The simple forecast with the smallest squared error on training questions."""
        some = self.examples("train")
        some = some[:: len(some) // EXPERT_QUESTIONS + 1]

        def error(forecast: forecasters.Forecast) -> float:
            found = [self.metric_values(example, forecast(example))["mse"] for example in some]
            return float(np.mean(found)) if found else 0.0

        return min(forecasters.simple(self).values(), key=error)

    def hindsight_answer(self, example: Example) -> str | None:
        """The decision nearest to the true path, reasoned from the facts of the prompt."""
        decision = self.hindsight_decision(example)
        return None if decision is None else self.format_answer(decision, self.reasoning(example))

    def expert_answer(self, example: Example) -> str:
        """The expert's decision and its reasoning."""
        return self.format_answer(self.expert_decision(example), self.reasoning(example))

    def label(self, example: Example) -> str | None:
        """RISE, FALL or FLAT: the class of the decision nearest to the true path."""
        decision = self.hindsight_decision(example) if self.action_names else None
        return None if decision is None else self.action_name(decision)

    def sft_examples(
        self, split: SplitName, count: int, seed: int, pool: Sequence[Example] | None = None
    ) -> list[tuple[Example, str]]:
        """The expert's answers, and a share ``hindsight_share`` with the decision nearest to the true path.

        All state decisions of the grid: a true path itself is mostly noise, and a model that imitates it learns to
        write noise. Those of hindsight have each decision equally often.
        """
        rng = np.random.default_rng([seed, 11])
        pool = self.examples(split) if pool is None else pool
        drawn = [pool[i] for i in rng.permutation(len(pool))[: 3 * count]]
        groups: dict[int, list[Example]] = {}
        for example in drawn:
            if (place := self._nearest(self.outcome(example))) is not None:
                groups.setdefault(place, []).append(example)
        by_hindsight = round(count * self.config.hindsight_share) if groups else 0
        ordered = [groups[place] for place in sorted(groups)]
        pairs = []
        for i in range(by_hindsight):
            group = ordered[i % len(ordered)]
            example = group[i // len(ordered) % len(group)]
            pairs.append((example, self.hindsight_answer(example) or ""))
        for i in range(count - by_hindsight if drawn else 0):
            example = drawn[i % len(drawn)]
            pairs.append((example, self.expert_answer(example)))
        return [pairs[i] for i in rng.permutation(len(pairs))]

    # evaluation ----------------------------------------------------------------------------------

    def metrics(self) -> Sequence[Metric]:
        """Skill against persistence, errors, direction, information coefficients, a Diebold-Mariano test."""
        return metrics(self.horizons)

    def metric_values(self, example: Example, action: Path | None) -> dict[str, float]:
        """The values behind the metrics and the figures.

        ``gain`` and ``persistence_error`` are in variances: errors of h days in volatilities of h days, so that neither
        volatile stocks nor late days outweigh the others. ``mse``, ``mae``, ``mase``, ``mse_gain`` and
        ``persistence_mse`` are of scaled closes, ``forecast_h`` and ``outcome_h`` changes in daily volatilities.
        """
        horizons, outcome_H = self.horizons, self.outcome(example)
        variance = float(self.windows.step_TN[example.t, example.n]) ** 2
        naive_H = [outcome**2 for outcome in outcome_H]
        values = {f"persistence_error_{h}": error for h, error in zip(horizons, naive_H, strict=True)}
        values |= {f"outcome_{h}": outcome for h, outcome in zip(horizons, outcome_H, strict=True)}
        values["persistence_error"] = _mean_by_day(naive_H, horizons)
        values["persistence_mse"] = variance * sum(naive_H) / len(horizons)
        if action is None:
            return values
        change_H = self.changes(example, action)
        error_H = [(change - outcome) ** 2 for change, outcome in zip(change_H, outcome_H, strict=True)]
        values |= {f"forecast_{h}": change for h, change in zip(horizons, change_H, strict=True)}
        values |= {f"gain_{h}": a - b for h, a, b in zip(horizons, naive_H, error_H, strict=True)}
        values["gain"] = values["persistence_error"] - _mean_by_day(error_H, horizons)
        values["mse"] = variance * sum(error_H) / len(horizons)
        values["mse_gain"] = values["persistence_mse"] - values["mse"]
        values["mae"] = math.sqrt(variance) * sum(map(math.sqrt, error_H)) / len(horizons)
        values["mase"] = values["mae"] / float(self.windows.naive_N[example.n])
        return values

    def positions(self, example: Example, action: Path | None) -> float | None:
        """The forecast change over the longest horizon, in volatilities of as many days / ``full_position``.

        None where the panel has no prices.
        """
        if action is None or self.panel.given is not None:
            return None
        size = self.changes(example, action)[-1] / math.sqrt(self.horizon) / self.config.full_position
        return max(-1.0, min(1.0, size)) if math.isfinite(size) else 0.0

    def outcome_score(self, example: Example, action: Path) -> float | None:
        """The part of the score, in variances, that depends on the outcome."""
        return forecast_rewards.agreement(self.changes(example, action), self.outcome(example), self.horizons)

    def score_definition(self) -> str:
        """All that the skill depends on."""
        config = self.config
        return (
            f"skill over {len(config.horizons)} days up to {self.horizon}, {config.inputs} closes, task {self.version}"
        )

    def baselines(self, seed: int = 0) -> list[Answerer]:
        """Persistence, drift, buy and hold, moving average, straight line, ARIMA and exponential smoothing."""
        full_change = self.config.full_position * math.sqrt(self.horizon)
        return forecasters.baselines(self, full_change, self.config.statistical)

    def figures(self) -> Sequence[Figure]:
        """Forecast fans over true paths, error by horizon, calibration."""
        return figures(self.horizons)


def _mean_by_day(error_H: Sequence[float], horizons: Sequence[int]) -> float:
    """The mean of squared errors, each in variances of as many days."""
    return sum(error / h for h, error in zip(horizons, error_H, strict=True)) / len(horizons)


def _squared_error(change_H: Sequence[float], outcome_H: Sequence[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(change_H, outcome_H, strict=True)) / len(outcome_H)
