"""Coverage of 95 % intervals, level of verdicts and claims, and power, on simulated data, for docs/evaluation.md.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.levels [REPEATS]

Returns have fat tails (t with 4 degrees of freedom), volatility that clusters (GARCH(1,1) with .10 and .85) and a
common factor; outcomes over h days overlap; positions are persistent (AR(1) with .8). Nothing that is called a policy
has skill, except for the power.
"""

import functools
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.signal import lfilter

from tradeschool.evaluate import inference
from tradeschool.evaluate.evaluation_set import Predictions
from tradeschool.evaluate.inference import Estimate, holm
from tradeschool.evaluate.verdicts import judge
from tradeschool.policies.base import Kind
from tradeschool.tasks.base import Metric

REPEATS = 1000
CHUNK = 50
SIZES = (
    (60, 1, 1), (60, 5, 10), (60, 20, 10), (80, 5, 10), (250, 1, 1), (250, 1, 10), (250, 5, 1), (250, 5, 10),
    (250, 20, 10), (1000, 5, 80), (1500, 1, 1), (1500, 20, 10),
)  # fmt: skip
"""Dates, horizon, tickers."""
RAGGED = ((250, 5, 10), (1000, 5, 80))
LONG = 2_000_000
"""Questions of the sample whose figures count as the true ones, where these are not known."""
COMMON, OWN, HINT = 1.0, 1.5, 0.1
"""Weights of the factor and of a ticker's own return; of the outcome's sign in the forecast."""
ALPHA, BETA, TAILS = 0.10, 0.85, 4
DAILY, SPREAD = 0.0005, 0.01
CONFIDENCE = 0.95


class Sample(NamedTuple):
    """Arrays [T, Q] of one simulated evaluation, and daily returns [T] of a strategy."""

    mine: Any
    other: Any
    blind: Any
    forecast: Any
    outcome: Any
    error: Any
    other_error: Any
    earned: Any
    best: Any
    noisy: Any
    returns: Any


def samples(size: tuple[int, int, int], count: int, *, ragged: bool = False, seed: int = 0) -> Iterator[Sample]:
    """Simulated evaluations; ``ragged``: tickers that are listed later, and tickers that are delisted."""
    dates, horizon, tickers = size
    rng = np.random.default_rng([*size, ragged, seed])
    grid = (count, dates, tickers)
    factor, volatility = _garch(rng, count, dates + horizon)
    daily = ((COMMON * factor + OWN * _tails(rng, (tickers, count, dates + horizon))) * volatility).transpose(1, 2, 0)
    total = np.concatenate([np.zeros((count, 1, tickers)), np.cumsum(daily, axis=1)], axis=1)
    outcome = (total[:, horizon:-1] - total[:, : -horizon - 1]) / np.sqrt(horizon)
    outcome = outcome - (outcome.mean(2, keepdims=True) if tickers > 1 else 0)
    mine, other = _positions(rng, grid), _positions(rng, grid)
    calm = volatility[:, :dates, None]
    error, other_error = ((_tails(rng, grid) + 0.5 * factor[:, :dates, None]) * calm for _ in range(2))
    best = np.abs(rng.normal(size=grid)) * calm**2
    earned = best * rng.choice([1.0, -0.4], grid, p=[0.6, 0.4])
    if ragged:
        first, last = rng.integers(-dates // 4, dates // 2, tickers), rng.integers(dates * 3 // 4, dates * 2, tickers)
        listed = (np.arange(dates)[:, None] >= first) & (np.arange(dates)[:, None] <= last)
        outcome = np.where(listed, outcome, np.nan)
    returns = DAILY + SPREAD * (factor * volatility)[:, :dates]
    blind = _positions(rng, grid)
    everything = (
        mine * outcome, other * outcome, blind, blind + HINT * np.sign(outcome), outcome, error**2,
        other_error**2, earned, best, 0.2 + daily[:, :dates], returns,
    )  # fmt: skip
    for b in range(count):
        yield Sample(*(values[b] for values in everything))


def _tails(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.standard_t(TAILS, shape) / np.sqrt(TAILS / (TAILS - 2))


def _garch(rng: np.random.Generator, count: int, days: int, burn: int = 200) -> tuple[Any, Any]:
    """Shocks and volatilities [count, days]; the variance is 1 on average."""
    noise = _tails(rng, (count, days + burn))
    variance = np.ones((count, days + burn))
    for t in range(1, days + burn):
        variance[:, t] = 1 - ALPHA - BETA + variance[:, t - 1] * (BETA + ALPHA * noise[:, t - 1] ** 2)
    return noise[:, burn:], np.sqrt(variance[:, burn:])


def _positions(rng: np.random.Generator, grid: tuple[int, int, int], phi: float = 0.8) -> Any:
    noise = rng.normal(0, np.sqrt(1 - phi**2), (grid[0], grid[1] + 50, grid[2]))
    return np.clip(np.round(1.2 * lfilter([1], [1, -phi], noise, axis=1)[:, 50:]), -2, 2) / 2


# coverage ----------------------------------------------------------------------------------------


def _hits(profit: Any) -> Any:
    return np.where(np.isfinite(profit) & (profit != 0), profit > 0, np.nan)


FIGURES: dict[str, Callable[[Sample, int], Estimate]] = {
    "mean": lambda s, h: inference.mean(s.mine, h),
    "difference": lambda s, h: inference.mean(s.mine, h) - inference.mean(s.other, h),
    "difference of RMSE": lambda s, h: inference.root_mean(s.error) - inference.root_mean(s.other_error),
    "hit rate": lambda s, h: inference.mean(_hits(s.mine), h),
    "IC of no edge": lambda s, h: inference.correlation(s.blind, s.outcome, h),
    "IC": lambda s, h: inference.correlation(s.forecast, s.outcome, h),
    "rank IC of no edge": lambda s, h: inference.rank_correlation(s.blind, s.outcome, h),
    "rank IC": lambda s, h: inference.rank_correlation(s.forecast, s.outcome, h),
    "share of edge": lambda s, h: inference.ratio(s.earned.sum(1), s.best.sum(1)),
    "noisy ratio": lambda s, h: inference.ratio((0.5 * s.noisy + 0.3 * (s.noisy[::-1] - 0.2)).sum(1), s.noisy.sum(1)),
    "Sharpe": lambda s, h: inference.sharpe(s.returns),
    "Sortino": lambda s, h: inference.sortino(s.returns),
    "return": lambda s, h: inference.cumulative_return(s.returns),
}


def truths(size: tuple[int, int, int]) -> dict[str, float]:
    """The true figures of samples of a size."""
    dates, horizon, tickers = size
    same = {"hit rate": 0.5, "share of edge": 0.44, "noisy ratio": 0.5, "Sharpe": DAILY / SPREAD * 252**0.5}
    long = _of_long_sample(horizon, tickers)
    growth = float(np.expm1(dates * long["growth"]))
    return dict.fromkeys(FIGURES, 0.0) | same | long | {"return": growth}


@functools.cache
def _of_long_sample(horizon: int, tickers: int) -> dict[str, float]:
    """What has no formula. Variances are known, and those of a sample settle slowly."""
    long = next(samples((LONG // max(tickers, 10), horizon, tickers), 1, seed=1))
    variance = COMMON**2 + OWN**2 if tickers == 1 else OWN**2 * (1 - 1 / tickers)
    spread = np.sqrt((np.var(long.blind) + HINT**2) * variance)
    return {
        "IC": float(HINT * np.mean(np.abs(long.outcome)) / spread),
        "rank IC": FIGURES["rank IC"](long, horizon).value,
        "Sortino": float(DAILY / np.sqrt(np.mean(np.minimum(long.returns, 0) ** 2)) * 252**0.5),
        "growth": DAILY + float(np.mean(np.log1p(long.returns) - long.returns)),
    }


def coverage(console: Console, repeats: int) -> None:
    """Print the share of intervals that hold the true figure."""
    table = Table(title="Coverage of 95 % intervals; in brackets the share of samples in which a figure has none")
    for heading in ("dates, horizon, tickers", "nu", *FIGURES):
        table.add_column(heading, justify="right")
    for size, ragged in [*((size, False) for size in SIZES), *((size, True) for size in RAGGED)]:
        dates, horizon, _ = size
        true = truths(size)
        held: dict[str, list[float]] = {name: [] for name in FIGURES}
        for chunk in range(repeats // CHUNK):
            for sample in samples(size, CHUNK, ragged=ragged, seed=10 + chunk):
                for name, figure in FIGURES.items():
                    one = figure(sample, horizon).interval(CONFIDENCE)
                    held[name].append(one.low <= true[name] <= one.high if np.isfinite(one.low) else np.nan)
        none = {
            name: f" ({np.isnan(found).mean():.2f})" if np.isnan(found).any() else "" for name, found in held.items()
        }
        cells = [f"{np.nanmean(found):.3f}{none[name]}" for name, found in held.items()]
        nu = str(inference.cosines_of(np.ones(dates), horizon))
        table.add_row(", ".join(map(str, size)) + (" ragged" if ragged else ""), nu, *cells)
    console.print(table)


# level and power ---------------------------------------------------------------------------------

SCORE = Metric("score", "score", "simulated", primary=True)


class Setting(NamedTuple):
    """Policies whose scores [T] are independent, as (mean, spread); MA(horizon - 1)."""

    name: str
    baselines: tuple[tuple[float, float], ...]
    models: tuple[tuple[float, float], ...]
    dates: int = 250
    horizon: int = 1


HOLD = (0.0, 0.0)
FIVE = (HOLD, *((0.0, 0.5),) * 4)
NULL = (
    Setting("as good as buy and hold: mean .05, spread .2 against 1", (HOLD, (0.05, 1.0)), ((0.05, 0.2),)),
    Setting("as good as buy and hold: mean .02, spread .1 against 1", (HOLD, (0.02, 1.0)), ((0.02, 0.1),)),
    Setting("the same, horizon 5", (HOLD, (0.02, 1.0)), ((0.02, 0.1),), horizon=5),
    Setting("as good as each of four baselines, three models", (HOLD, *((0.05, 1.0),) * 4), ((0.05, 0.2),) * 3),
    Setting("no skill, five baselines, three models", FIVE, ((0.0, 0.5),) * 3),
    Setting("no skill, hold alone, three models", (HOLD,), ((0.0, 0.5),) * 3),
    Setting("no skill, hold alone, three models, horizon 5", (HOLD,), ((0.0, 0.5),) * 3, horizon=5),
    Setting("no skill, hold alone, three models, 80 dates, horizon 5", (HOLD,), ((0.0, 0.5),) * 3, 80, 5),
    Setting("no skill, hold alone, three models, 60 dates", (HOLD,), ((0.0, 0.5),) * 3, 60),
    Setting("no skill, hold alone, three models, 12 dates", (HOLD,), ((0.0, 0.5),) * 3, 12),
)
EDGES = tuple(
    Setting(f"{edge:.2f} a day, spread .5, {dates} dates", FIVE, ((edge, 0.5),), dates)
    for dates in (250, 1000)
    for edge in (0.05, 0.1, 0.2)
)


def estimates(setting: Setting, count: int, seed: int = 0) -> Iterator[dict[str, dict[str, Estimate]]]:
    """The estimates of the policies "baseline 0", "model 0" and so on in each of ``count`` samples."""
    rng = np.random.default_rng([seed, setting.dates, setting.horizon, len(setting.name)])
    given = [*setting.baselines, *setting.models]
    names = [f"baseline {n}" for n in range(len(setting.baselines))] + [
        f"model {n}" for n in range(len(setting.models))
    ]
    days, horizon = setting.dates + setting.horizon, setting.horizon
    for _ in range(count):
        noise = np.cumsum(_tails(rng, (len(given), days)), axis=1)
        noise = (noise[:, horizon:] - noise[:, :-horizon]) / horizon**0.5
        yield {
            name: {"score": inference.mean((mean + spread * noise_T)[:, None], horizon)}
            for name, (mean, spread), noise_T in zip(names, given, noise, strict=True)
        }


def claims(setting: Setting, count: int, seed: int = 0) -> dict[str, float]:
    """The share of samples in which any model is better, is worse, or differs from the model before it."""
    found = dict.fromkeys(("better", "worse", "step"), 0.0)
    models = [f"model {n}" for n in range(len(setting.models))]
    for one in estimates(setting, count, seed):
        policies = [_stub(name) for name in one]
        verdicts = {
            name: judged.verdict for name, judged in judge(SCORE, policies, one, CONFIDENCE).items() if name in models
        }
        gaps = {now: one[now]["score"] - one[then]["score"] for then, now in itertools.pairwise(models)}
        steps = holm({name: gap.p_value() for name, gap in gaps.items()})
        for verdict in ("better", "worse"):
            found[verdict] += verdict in verdicts.values()
        found["step"] += any(p < 1 - CONFIDENCE for p in steps.values())
    return {name: number / count for name, number in found.items()}


def _stub(name: str) -> Predictions:
    kind: Kind = "naive" if name.startswith("baseline") else "trained"
    return Predictions(name, kind, np.ones((1, 1), bool), {})


def levels(console: Console, repeats: int) -> None:
    """Print how often something is claimed without an edge, and how often with one."""
    table = Table(title="Share of samples with a claim that is false: nominal .025 for better, .05 for worse and steps")
    for heading in ("setting", "any model better", "any model worse", "any change between models"):
        table.add_column(heading, justify="left" if heading == "setting" else "right")
    for setting in NULL:
        found = claims(setting, repeats)
        is_worse_false = setting.models[0][0] == 0 or len(setting.baselines) == 2
        worse = f"{found['worse']:.3f}" if is_worse_false else "-"
        table.add_row(
            setting.name, f"{found['better']:.3f}", worse, f"{found['step']:.3f}" if len(setting.models) > 1 else "-"
        )
    console.print(table)
    table = Table(title="Power: share of samples in which a model with an edge is better than all of five baselines")
    for heading in ("edge", "better"):
        table.add_column(heading, justify="left" if heading == "edge" else "right")
    for setting in EDGES:
        table.add_row(setting.name, f"{claims(setting, repeats)['better']:.2f}")
    console.print(table)


def main(repeats: int) -> None:
    """Print all tables."""
    console = Console(width=200)
    levels(console, 2 * repeats)
    coverage(console, repeats)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS)
