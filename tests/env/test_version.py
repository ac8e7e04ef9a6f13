"""A version of the environment always does the same."""

import json
from typing import Any

import env_trajectories
import numpy as np
import pytest
from env_markets import hostile

from tradeschool.env import config
from tradeschool.env.config import LEVELS, env_config, level_config, level_of
from tradeschool.env.grading import play
from tradeschool.env.market_data import MarketData
from tradeschool.env.strategies import make_strategy
from tradeschool.env.trading_env import TradingEnv
from tradeschool.env.vector_env import VectorTradingEnv

RAISE = (
    "The environment's behaviour has changed. If that is intended, raise ENV_VERSION (or LEVEL_VERSIONS) in "
    "tradeschool/env/config.py and run tests/env_trajectories.py, which writes the new version's file."
)


def same(one: Any, other: Any) -> bool:
    """Equal up to the last digits of numbers, which differ between processors."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-6, abs=1e-9)
    return bool(one == other)


def test_the_present_version_does_what_its_golden_trajectories_do() -> None:
    golden = json.loads((env_trajectories.FOLDER / f"{config.ENV_VERSION}.json").read_text(encoding="utf-8"))
    present = env_trajectories.present()
    assert golden.keys() == present.keys(), RAISE
    for name, expected in golden.items():
        assert same(expected, json.loads(json.dumps(present[name]))), f"{name}: {RAISE}"


def test_the_golden_trajectories_show_refusals_cut_orders_and_delistings() -> None:
    text = (env_trajectories.FOLDER / f"{config.ENV_VERSION}.json").read_text(encoding="utf-8")
    for words in (
        "no longer listed",
        "no position",
        "no buying power",
        "filled to",
        "lapsed",
        "delisted",
        "not traded",
    ):
        assert words in text, words


@pytest.mark.parametrize("setting", [{"commission": 0.011}, {"volume_share": 0.2}, {"delisting_return": -0.5}])
def test_another_rule_is_found(setting: dict[str, float]) -> None:
    settings = env_trajectories.CASES["delistings"]
    before, after = (env_trajectories.trajectory(settings | changed, 7) for changed in ({}, setting))
    assert not same(before, after)


def test_every_episode_has_all_that_it_must_share_to_be_compared() -> None:
    data = MarketData(hostile())
    env = TradingEnv(data, observation="numeric", **LEVELS["Easy"])
    expected = {
        "env_version": config.ENV_VERSION,
        "level": "Easy",
        "level_version": config.LEVEL_VERSIONS["Easy"],
        "settings_hash": config.settings_hash(level_config("Easy")),
        "data_hash": data.data_hash,
    }
    assert tuple(expected) == config.KEYS
    vector_env = VectorTradingEnv(data, 2, **LEVELS["Easy"])
    for info in (
        env.reset(seed=0)[1],
        env.step([0.0])[4],
        vector_env.reset(seed=0)[1],
        vector_env.step(np.zeros((2, 1), np.float32))[4],
    ):
        assert expected.items() <= info.items()
    assert play(make_strategy("hold"), env, 1)[0].versions == expected


def test_versions_differ_with_settings_and_data_not_with_presentation() -> None:
    easy = config.versions(level_config("Easy"), "d")

    def differing(**settings: Any) -> set[str]:
        found = config.versions(level_config("Easy", **settings), "d")
        return {key for key in config.KEYS if found[key] != easy[key]}

    assert differing(observation="numeric", mask=False) == set()
    assert differing(commission=0.001) == {"level", "level_version", "settings_hash"}
    assert config.versions(level_config("Easy", commission=0.001), "d")["level_version"] == config.ENV_VERSION
    assert config.settings_hash(level_config("Easy", days=10)) != config.settings_hash(level_config("Easy", days=11))
    other = config.versions(level_config("Easy"), "e")
    assert {key for key in config.KEYS if other[key] != easy[key]} == {"data_hash"}


def test_a_level_is_known_by_its_rules_not_its_presentation() -> None:
    for name in LEVELS:
        assert level_of(level_config(name)) == name
        assert level_of(level_config(name, observation="numeric", mask=False)) == name
        assert level_of(level_config(name, commission=0.0)) == "custom"
        assert config.versions(level_config(name), "d")["level_version"] == config.LEVEL_VERSIONS[name]
    assert level_of(env_config(tickers=3)) == "custom"
