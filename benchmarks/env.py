"""Steps per second of the trading environment and other packages' environments, in one process on one synthetic market.

    python -m venv .bench && .bench/bin/pip install -e '.[bench]'
    .bench/bin/pip install --no-deps FinRL==0.3.7 torchtrade==0.1.0
    OMP_NUM_THREADS=1 .bench/bin/python benchmarks/env.py

FinRL and TorchTrade are installed without their dependencies: both require broker clients, and TorchTrade another ccxt
than gym-trading-env. Their environments need none of that and are imported without the packages' own imports.

A step is a complete one: orders in; observation, reward and info out. Resets at the ends of episodes are timed. The
call of a vector environment that only begins new episodes is timed but not counted. Orders are drawn beforehand: random
in every stock on every day, so that many are for stocks not held or cannot be paid, and one in fifty is invalid. Not
timed: the first run of each, with numba's compilation, and the words of each stock's day, which are made once.

Every figure is the median over repeats, with the lowest and highest. Times are processor seconds of one core, so that
other work on the machine counts less. It still counts, because caches are shared. Therefore a fixed loop in plain
Python is timed before every run and one in numpy before every round; "in a loop" is the number of steps in the time of
the former, and can be compared between runs. A Python compiled by pyenv without profiling takes a third longer per step
than Debian's.
"""

import importlib
import importlib.util
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from tradeschool.env.market_data import MarketData
from tradeschool.env.render import market_words
from tradeschool.env.trading_env import TradingEnv
from tradeschool.env.vector_env import VectorTradingEnv
from tradeschool.market.panel import Panel
from tradeschool.market.synthetic import SyntheticConfig, simulate

REPEATS = 7
STEPS = 20_000
EPISODES = 1024
FAULTY = 0.02
Run = Callable[[], int]
"""Takes some steps and returns how many."""


class Row(NamedTuple):
    """A line of the table: what is run, the steps per second that ours should reach, and how another's step differs."""

    name: str
    build: Callable[[], Run]
    aim: int = 0
    remark: str = ""


def single(data: MarketData, stocks: int, days: int, observation: str = "numeric") -> Run:
    """One environment, episode after episode."""
    env = TradingEnv(data, tickers=stocks, days=days, observation=observation)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    actions: list[Any] = list(_numbers(rng, (days * 7, stocks)))
    if observation == "text":
        actions = ["\n".join(_order(rng, env.names, n, want) for n, want in enumerate(row)) for row in actions]
    return _gym(env, actions, STEPS if observation == "numeric" else STEPS // stocks)


def vectorized(data: MarketData, stocks: int, days: int) -> Run:
    """Many episodes in a vector environment."""
    env = VectorTradingEnv(data, EPISODES, tickers=stocks, days=days)
    env.reset(seed=0)
    actions = _numbers(np.random.default_rng(0), (20, EPISODES, stocks))
    calls = 400 if stocks == 1 else 100

    def run() -> int:
        count = 0
        over_B = np.zeros(EPISODES, bool)
        for i in range(calls):
            count += EPISODES - int(np.count_nonzero(over_B))
            _, _, terminated_B, truncated_B, _ = env.step(actions[i % len(actions)])
            over_B = terminated_B | truncated_B
        return count

    return run


def _numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    wanted = rng.uniform(-1, 1, shape)
    return np.where(rng.random(shape) < FAULTY, 1.5, wanted).astype(np.float32)


def _order(rng: np.random.Generator, names: tuple[str, ...], n: int, want: float) -> str:
    if want > 1:
        return str(rng.choice([f"BUY S{len(names) + 1} 0.5", f"BUY {names[n]} 1.5", "I would rather wait"]))
    return f"{'BUY' if want > 0 else 'SELL'} {names[n]} {max(abs(float(want)), 0.01):.2f}"


def gym_trading_env(panel: Panel) -> Run:
    """Discrete positions of one stock, fees, two static and two of its own features."""
    module = importlib.import_module("gym_trading_env.environments")
    frame = _frame(panel, "feature_")
    env = module.TradingEnv(frame, positions=[0, 0.5, 1], trading_fees=0.0005, verbose=0, max_episode_duration=20)
    return _discrete(env, 3)


def gym_anytrading(panel: Panel) -> Run:
    """Long or short in one stock."""
    module = importlib.import_module("gym_anytrading.envs")
    frame = _frame(panel, "feature_").rename(columns=str.capitalize)
    return _discrete(module.StocksEnv(df=frame, window_size=10, frame_bound=(10, len(frame))), 2)


def finrl_numpy(panel: Panel, stocks: int) -> Run:
    """FinRL's environment on arrays, with eight indicators a stock."""
    module = _inside("finrl", "finrl.meta.env_stock_trading.env_stocktrading_np")
    prices = panel.close_TN[60:, :stocks].astype(np.float32)
    config = {
        "price_array": prices,
        "tech_array": np.zeros((len(prices), 8 * stocks), np.float32),
        "turbulence_array": np.zeros(len(prices), np.float32),
        "if_train": True,
    }
    actions = np.random.default_rng(0).uniform(-1, 1, (200, stocks)).astype(np.float32)
    return _gym(module.StockTradingEnv(config), list(actions), STEPS // (1 if stocks == 1 else 4))


def finrl_pandas(panel: Panel, stocks: int) -> Run:
    """FinRL's environment on a table, with eight indicators a stock."""
    import pandas as pd

    module = _inside("finrl", "finrl.meta.env_stock_trading.env_stocktrading")
    closes = panel.close_TN[60:, :stocks]
    rows, techs = len(closes), [f"tech_{i}" for i in range(8)]
    columns = {
        "date": np.repeat(panel.dates_T[60:].astype(str), stocks),
        "tic": list(panel.tickers[:stocks]) * rows,
        "close": closes.ravel(),
        **dict.fromkeys(techs, 0.0),
    }
    env = module.StockTradingEnv(
        df=pd.DataFrame(columns, index=np.repeat(np.arange(rows), stocks)),
        stock_dim=stocks,
        hmax=100,
        initial_amount=1_000_000,
        num_stock_shares=[0] * stocks,
        buy_cost_pct=[0.0005] * stocks,
        sell_cost_pct=[0.0005] * stocks,
        reward_scaling=1e-4,
        state_space=1 + 10 * stocks,
        action_space=stocks,
        tech_indicator_list=techs,
        print_verbosity=10**9,
    )
    actions = np.random.default_rng(0).uniform(-1, 1, (200, stocks)).astype(np.float32)
    return _gym(env, list(actions), STEPS // 10)


def torchtrade(panel: Panel) -> Run:
    """TorchTrade's vector environment, with the same number of episodes of 20 days."""
    module = _inside("torchtrade", "torchtrade.envs.offline.vectorized_sequential")
    config = module.VectorizedSequentialTradingEnvConfig(
        num_envs=EPISODES,
        time_frames="1Day",
        execute_on="1Day",
        window_sizes=1,
        transaction_fee=0.0005,
        slippage=0.0005,
        max_traj_length=20,
        action_levels=[0, 0.5, 1],
    )
    frame = _frame(panel, "features_")
    # It refuses markets without weekends.
    frame["timestamp"] = np.datetime64("2000-01-01") + np.arange(len(frame))
    env = module.VectorizedSequentialTradingEnv(frame, config)
    state = env.reset()
    actions = [env.action_spec.rand() for _ in range(20)]

    def run() -> int:
        nonlocal state
        for i in range(100):
            state["action"] = actions[i % len(actions)]
            _, state = env.step_and_maybe_reset(state)
        return 100 * EPISODES

    return run


def _inside(package: str, path: str) -> Any:
    """A module of a package, with empty packages above it, whose own imports require broker clients."""
    if package not in sys.modules:
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise ImportError(f"No module named '{package}'")
        folder = Path(next(iter(found.submodule_search_locations)))
        parts = path.split(".")[:-1]
        for depth in range(1, len(parts) + 1):
            empty = ModuleType(".".join(parts[:depth]))
            empty.__path__ = [str(folder.joinpath(*parts[1:depth]))]
            sys.modules[empty.__name__] = empty
    return importlib.import_module(path)


def _discrete(env: Any, count: int) -> Run:
    return _gym(env, np.random.default_rng(0).integers(0, count, 200).tolist(), STEPS)


def _gym(env: Any, actions: list[Any], count: int) -> Run:
    env.reset()

    def run() -> int:
        for i in range(count):
            _, _, terminated, truncated, _ = env.step(actions[i % len(actions)])
            if terminated or truncated:
                env.reset()
        return count

    return run


def _frame(panel: Panel, feature: str) -> Any:
    import pandas as pd

    fields = {name: getattr(panel, f"{name}_TN")[60:, 0] for name in ("open", "high", "low", "close", "volume")}
    frame = pd.DataFrame(fields, index=pd.DatetimeIndex(panel.dates_T[60:]))
    frame[f"{feature}change"] = frame["close"].pct_change().fillna(0)
    frame[f"{feature}volume"] = frame["volume"] / frame["volume"].mean()
    return frame


def _rows(panel: Panel, data: MarketData) -> list[Row]:
    close = "fills at the close just seen"
    return [
        Row("one stock, numbers", lambda: single(data, 1, 20), 150_000),
        Row("  gym-trading-env", lambda: gym_trading_env(panel), 0, f"{close}; 2 features"),
        Row("  gym-anytrading", lambda: gym_anytrading(panel), 0, f"{close}; no costs in the reward, no cash"),
        Row("  FinRL, numpy", lambda: finrl_numpy(panel, 1), 0, "fills at the next close; indicators all 0"),
        Row("  FinRL, pandas", lambda: finrl_pandas(panel, 1), 0, f"{close}; indicators all 0"),
        Row("25 stocks, numbers", lambda: single(data, 25, 40), 80_000),
        Row("  FinRL, numpy", lambda: finrl_numpy(panel, 25), 0, "fills at the next close; indicators all 0"),
        Row("  FinRL, pandas", lambda: finrl_pandas(panel, 25), 0, f"{close}; indicators all 0"),
        Row("one stock, text", lambda: single(data, 1, 20, "text"), 50_000),
        Row("25 stocks, text", lambda: single(data, 25, 40, "text"), 5_000),
        Row(f"{EPISODES} episodes, one stock", lambda: vectorized(data, 1, 20), 10_000_000),
        Row("  TorchTrade", lambda: torchtrade(panel), 0, f"{close}; 2 features"),
        Row(f"{EPISODES} episodes, 25 stocks", lambda: vectorized(data, 25, 40), 2_000_000),
    ]


def _in_python() -> None:
    total = 0
    for i in range(100_000):
        total += i * i % 7


def _in_numpy() -> None:
    values = np.ones(1000)
    for _ in range(5_000):
        values = values * 1.0


def _seconds(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _built(row: Row) -> Run | str:
    """A run that has run once, or why it cannot run."""
    try:
        run = row.build()
        # gym-trading-env's import makes errors of all warnings of the process.
        warnings.filterwarnings("ignore")
        run()
    except ImportError as error:
        return f"absent: {error}"
    except Exception as error:
        if not row.name.startswith(" "):
            raise
        return f"does not run here: {type(error).__name__}: {error}"
    return run


def main() -> None:
    """Measure and print the table."""
    warnings.filterwarnings("ignore")
    panel = simulate(SyntheticConfig(tickers=40, days=1500))
    rows = _rows(panel, MarketData(panel))
    runs = [_built(row) for row in rows]
    rates: list[list[float]] = [[] for _ in rows]
    in_a_loop: list[list[float]] = [[] for _ in rows]
    loops: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        loops[1].append(_seconds(_in_numpy))
        for run, rate, shares in zip(runs, rates, in_a_loop, strict=True):
            if not isinstance(run, str):
                loops[0].append(_seconds(_in_python))
                started = time.process_time()
                rate.append(run() / (time.process_time() - started))
                shares.append(rate[-1] * loops[0][-1])
    print(f"steps a second, median of {REPEATS}; load of the machine {os.getloadavg()[0]:.1f}")
    print(f"Python {sys.version}")
    print(f"loop in Python {_span(loops[0], 1e3, '.1f')} ms, in numpy {_span(loops[1], 1e3, '.1f')} ms")
    print(f"once for each day of a stock: its words, {1e6 * _seconds_of_words(panel):.1f} microseconds\n")
    print(f"{'':26}{'steps a second':40}{'in a loop':>10}{'aim':>12}  what is different")
    for row, run, rate, shares in zip(rows, runs, rates, in_a_loop, strict=True):
        if isinstance(run, str):
            print(f"{row.name:26}{run}")
            continue
        aim = f"{row.aim:,}" if row.aim else ""
        print(f"{row.name:26}{_span(rate):40}{statistics.median(shares):10,.0f}{aim:>12}  {row.remark}".rstrip())


def _span(values: list[float], unit: float = 1.0, form: str = ",.0f") -> str:
    middle, low, high = (unit * of(values) for of in (statistics.median, min, max))
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def _seconds_of_words(panel: Panel) -> float:
    data = MarketData(panel)
    return _seconds(lambda: data.words(0, market_words)) / len(panel.dates_T)


if __name__ == "__main__":
    main()
