"""Steps a second of the trading environment and of its peers, side by side in one run, on one made-up market.

    .venv/bin/pip install numba gym-trading-env gym-anytrading
    .venv/bin/python benchmarks/env.py

Peers that cannot be imported are named as absent. Every figure is the median over repeats, with the fastest and the
slowest; resets are inside the time. Actions are drawn before: random orders in every stock on every day.
"""

import importlib
import importlib.util
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tradeschool.env.batched import BatchedTradingEnv
from tradeschool.env.data import MarketData
from tradeschool.env.trading import TradingEnv
from tradeschool.market.panel import Panel
from tradeschool.market.practice import PracticeConfig, practice
from tradeschool.text.orders import Order, compose_orders

REPEATS = 7
STEPS = 20_000
EPISODES = 1024
Run = Callable[[], int]
"""Takes some steps and returns how many."""


def single(data: MarketData, stocks: int, days: int, observation: str = "numeric") -> Run:
    """One environment, episode after episode."""
    env = TradingEnv(data, tickers=stocks, days=days, observation=observation)
    env.reset(seed=0)
    actions: list[Any] = list(np.random.default_rng(0).uniform(-1, 1, (days * 7, stocks)).astype(np.float32))
    if observation == "text":
        actions = [_words(env.names, wanted) for wanted in actions]
    count = STEPS if observation == "numeric" else STEPS // stocks

    def run() -> int:
        for i in range(count):
            _, _, terminated, truncated, _ = env.step(actions[i % len(actions)])
            if terminated or truncated:
                env.reset()
        return count

    return run


def _words(names: tuple[str, ...], wanted: Any) -> str:
    sides = ["BUY" if want > 0 else "SELL" for want in wanted]
    return compose_orders(
        [Order(side, name, round(abs(float(w)), 2) or 0.5) for side, name, w in zip(sides, names, wanted, strict=True)]  # type: ignore[arg-type]
    )


def batched(data: MarketData, stocks: int, days: int) -> Run:
    """A batch of episodes."""
    env = BatchedTradingEnv(data, EPISODES, tickers=stocks, days=days)
    env.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1, 1, (20, EPISODES, stocks)).astype(np.float32)
    steps = 400 if stocks == 1 else 100

    def run() -> int:
        for i in range(steps):
            env.step(actions[i % len(actions)])
        return steps * EPISODES

    return run


def gym_trading_env(panel: Panel) -> Run:
    """Discrete positions of one stock, fees in the reward, two static features."""
    module = importlib.import_module("gym_trading_env.environments")
    frame = _frame(panel)
    env = module.TradingEnv(frame, positions=[0, 0.5, 1], trading_fees=0.0005, verbose=0, max_episode_duration=20)
    return _discrete(env, 3)


def gym_anytrading(panel: Panel) -> Run:
    """Long or short in one stock; the reward has no costs."""
    module = importlib.import_module("gym_anytrading.envs")
    frame = _frame(panel).rename(columns=str.capitalize)
    env = module.StocksEnv(df=frame, window_size=10, frame_bound=(10, len(frame)))
    return _discrete(env, 2)


def finrl(panel: Panel, stocks: int) -> Run:
    """FinRL's numpy environment: shares in units, costs, no slippage, fills at the close just seen."""
    module = _alone("finrl", "meta/env_stock_trading/env_stocktrading_np.py")
    config = {
        "price_array": panel.close_TN[60:, :stocks].astype(np.float32),
        "tech_array": np.zeros((len(panel.close_TN) - 60, 8 * stocks), np.float32),
        "turbulence_array": np.zeros(len(panel.close_TN) - 60, np.float32),
        "if_train": True,
    }
    env = module.StockTradingEnv(config)
    actions = np.random.default_rng(0).uniform(-1, 1, (200, stocks)).astype(np.float32)
    return _gym(env, list(actions), STEPS // (1 if stocks == 1 else 4))


def torchtrade() -> Run:
    """Not run: its environments are TorchRL's, and its wheel asks for the clients of four exchanges."""
    raise ImportError("not run, it needs TorchRL and the clients of four exchanges")


def _alone(package: str, path: str) -> Any:
    """One module of a package without the package's own imports, which ask for brokers' clients."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ImportError(f"No module named '{package}'")
    file = Path(next(iter(found.submodule_search_locations)), path)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{package} has no {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def _frame(panel: Panel) -> Any:
    import pandas as pd

    fields = {name: getattr(panel, f"{name}_TN")[60:, 0] for name in ("open", "high", "low", "close", "volume")}
    frame = pd.DataFrame(fields, index=pd.DatetimeIndex(panel.dates_T[60:]))
    frame["feature_change"] = frame["close"].pct_change().fillna(0)
    frame["feature_volume"] = frame["volume"] / frame["volume"].mean()
    return frame


def main() -> None:
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    panel = practice(PracticeConfig(tickers=40, days=1500))
    data = MarketData(panel)
    rows: list[tuple[str, int, Callable[[], Run]]] = [
        ("numeric, 1 stock x 20 days", 150_000, lambda: single(data, 1, 20)),
        ("  gym-trading-env, 1 stock", 0, lambda: gym_trading_env(panel)),
        ("  gym-anytrading, 1 stock", 0, lambda: gym_anytrading(panel)),
        ("  FinRL (numpy), 1 stock", 0, lambda: finrl(panel, 1)),
        ("numeric, 25 stocks x 40 days", 80_000, lambda: single(data, 25, 40)),
        ("  FinRL (numpy), 25 stocks", 0, lambda: finrl(panel, 25)),
        ("text, 1 stock x 20 days", 50_000, lambda: single(data, 1, 20, "text")),
        ("text, 25 stocks x 40 days", 5_000, lambda: single(data, 25, 40, "text")),
        (f"batch of {EPISODES}, 1 stock x 20 days", 10_000_000, lambda: batched(data, 1, 20)),
        (f"batch of {EPISODES}, 25 stocks x 40 days", 2_000_000, lambda: batched(data, 25, 40)),
        ("  TorchTrade, 1 stock", 0, torchtrade),
    ]
    runs = {name: _built(name, build) for name, _, build in rows}
    rates: dict[str, list[float]] = {name: [] for name, run in runs.items() if run}
    for _ in range(REPEATS):
        for name in rates:
            rates[name].append(_rate(runs[name]))
    print(f"steps a second, median of {REPEATS}, resets included; load of the machine {os.getloadavg()[0]:.1f}")
    for name, goal, _ in rows:
        if name in rates:
            found = rates[name]
            aim = f"   aim {goal:,}" if goal else ""
            print(f"  {name:36} {statistics.median(found):12,.0f}  ({min(found):,.0f} to {max(found):,.0f}){aim}")
    absent = [name.strip() for name, run in runs.items() if run is None]
    if absent:
        print(f"absent: {', '.join(absent)}")


def _built(name: str, build: Callable[[], Run]) -> Run | None:
    try:
        run = build()
    except ImportError as error:
        print(f"{name.strip()} is absent: {error}")
        return None
    run()  # compiles, fills caches
    return run


def _rate(run: Run | None) -> float:
    assert run
    started = time.perf_counter()
    steps = run()
    return steps / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
