"""Trajectories of the environment on generated prices: what each version of it does.

    PYTHONPATH=.:tests python tests/env_trajectories.py

writes ``tests/env/golden/<ENV_VERSION>.json`` for a version that has none. Run it after raising the version.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from env_markets import hostile

from tradeschool.env.config import ENV_VERSION, LEVEL_VERSIONS, LEVELS, level_config
from tradeschool.env.grading import grade
from tradeschool.env.market_data import MarketData
from tradeschool.env.render import day_message, system_message
from tradeschool.env.trading_env import TradingEnv

FOLDER = Path(__file__).with_name("env") / "golden"
FIRST_SEED = 2
"""Of the first case; the others follow it. "delistings" has one with these, "two stocks" orders without cash."""
CASES: dict[str, dict[str, Any]] = {
    "one stock": {"tickers": 1, "days": 8},
    "one stock in numbers": {"tickers": 1, "days": 4, "observation": "numeric"},
    "named stocks": {"tickers": 3, "days": 12, "mask": False, "interest": 0.05, "volume_share": 0.02},
    "shorts and leverage": {"tickers": 4, "days": 12, "short": True, "leverage": 3.0, "ruin": 0.5, "cash": 1e7},
    "numbers": {"tickers": 3, "days": 8, "short": True, "leverage": 3.0, "observation": "numeric"},
    "delistings": {"tickers": 5, "days": 20, "delisting_return": -1.0, "commission": 0.01, "slippage": 0.02},
    "two stocks": {"tickers": 2, "days": 20},
}


def trajectory(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """All that an episode of random orders shows."""
    env, rng = TradingEnv(MarketData(hostile(seed)), **settings), np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    days: list[Any] = []
    forms = [system_message(env.config, "table")]
    over = False
    while not over:
        observation, reward, terminated, truncated, info = env.step(_orders(env, rng))
        over = terminated or truncated
        days.append([_shown(observation), reward, info["equity"], info["refused"], env.turnovers[-1], env.costs[-1]])
        if env.config.observation == "text":
            forms += [day_message(env.observed, "text"), day_message(env.observed, "numbers", ["rsi_14", "change_1"])]
    graded = grade(env)
    parts = [graded.risk, graded.pnl, graded.drawdown, graded.activity]
    return {"start": info["start"], "days": days, "forms": forms, "grade": parts, "ends": terminated}


def _orders(env: TradingEnv, rng: np.random.Generator) -> Any:
    if env.config.observation == "numeric":
        return rng.uniform(-1.1, 1.1, env.config.tickers)
    fractions = ("", "0.01", "0.5", "100%", "1", "1.5")
    sides = ("BUY", "SELL", "HOLD", "KEEP")
    return "\n".join(
        f"{rng.choice(sides, p=(0.5, 0.35, 0.1, 0.05))} {name} {rng.choice(fractions)}" for name in env.names
    )


def _shown(observation: Any) -> Any:
    return observation if isinstance(observation, str) else observation.tolist()


def present() -> dict[str, Any]:
    """What the present version does."""
    levels = {name: [LEVEL_VERSIONS[name], level_config(name).model_dump()] for name in LEVELS}
    return {
        "levels": levels,
        **{name: trajectory(case, seed) for seed, (name, case) in enumerate(CASES.items(), FIRST_SEED)},
    }


def main() -> int:
    """Write the file of the present version."""
    path = FOLDER / f"{ENV_VERSION}.json"
    if path.exists():
        print(f"{path} exists. Raise ENV_VERSION in tradeschool/env/config.py first.")
        return 1
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(present(), indent=0) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
