"""Single environments, plain floats and the vector environment agree step for step, whatever market and rules."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from env_markets import hostile
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import market

from tradeschool.env import features, vector_kernel
from tradeschool.env.config import LEVELS, EnvError, ExecutionParams, env_config
from tradeschool.env.market_data import MarketData
from tradeschool.env.trading_env import TradingEnv
from tradeschool.env.vector_env import VectorTradingEnv

SYNTHETIC = MarketData(market(tickers=30, days=300))
MARKETS = [MarketData(hostile(seed)) for seed in range(4)]


def rules() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "tickers": st.integers(1, 5),
            "days": st.integers(2, 30),
            "cash": st.sampled_from([50.0, 1e4, 1e5, 1e9]),
            "commission": st.sampled_from([0.0, 0.0005, 0.02]),
            "slippage": st.sampled_from([0.0, 0.001, 0.05]),
            "volume_share": st.sampled_from([0.01, 0.1, 1.0]),
            "short": st.booleans(),
            "leverage": st.sampled_from([1.0, 2.0, 5.0]),
            "interest": st.sampled_from([0.0, 0.05]),
            "ruin": st.sampled_from([0.0, 0.1, 0.6]),
            "delisting_return": st.sampled_from([0.0, -0.3, -1.0]),
        }
    )


def actions(rng: np.random.Generator, stocks: int) -> Any:
    """Random orders, some too small to count, some out of range, some not a number."""
    drawn = rng.uniform(-1, 1, stocks) * rng.choice([0.04, 0.3, 1.0], stocks)
    drawn = np.where(rng.random(stocks) < 0.2, rng.choice([-1.0, 1.0, 0.0], stocks), drawn)
    drawn = np.where(rng.random(stocks) < 0.05, rng.choice([np.nan, np.inf, -1.5, 2.0], stocks), drawn)
    return drawn.astype(np.float32)


@pytest.mark.parametrize("seed", range(2))
def test_a_vector_environment_is_its_single_environments_step_for_step(settlement: str, seed: int) -> None:
    @settings(max_examples=10 if settlement == "uncompiled" else 50, deadline=None)
    @given(rules=rules(), market=st.sampled_from(MARKETS), draw=st.integers(0, 10_000))
    def check(rules: dict[str, Any], market: MarketData, draw: int) -> None:
        _same_steps(market, rules, np.random.default_rng([seed, draw]))

    check()


def _same_steps(market: MarketData, rules: dict[str, Any], rng: np.random.Generator, count: int = 4) -> None:
    batch = VectorTradingEnv(market, count, **rules)
    singles = [TradingEnv(market, observation="numeric", **rules) for _ in range(count)]
    firsts = [env.reset(seed=int(rng.integers(1 << 30))) for env in singles]
    options = {"start": [env.episode.start for env in singles], "tickers": [env.episode.tickers for env in singles]}
    vectors, info = batch.reset(options=options)
    np.testing.assert_array_equal(vectors, [vector for vector, _ in firsts])
    over = np.zeros(count, bool)
    for _ in range(rules["days"]):
        orders = np.array([actions(rng, rules["tickers"]) for _ in singles])
        vectors, rewards, ended, cut, info = batch.step(orders)
        for b, env in enumerate(singles):
            if over[b]:
                continue
            vector, reward, terminated, truncated, own = env.step(orders[b])
            np.testing.assert_allclose(vectors[b], vector, rtol=1e-6, atol=1e-5)
            assert info["equity"][b] == pytest.approx(own["equity"], rel=1e-9, abs=1e-12)
            assert rewards[b] == pytest.approx(reward, rel=1e-9, abs=1e-9)
            assert info["turnover"][b] == pytest.approx(env.turnovers[-1], rel=1e-9, abs=1e-12)
            assert info["costs"][b] == pytest.approx(env.costs[-1], rel=1e-9, abs=1e-12)
            assert info["refused"][b] == own["refused"]
            assert (ended[b], cut[b]) == (terminated, truncated)
            over[b] = terminated or truncated
        if over.all():
            break
    assert over.all()


def test_orders_belong_to_the_caller() -> None:
    """They are overwritten in a copy, whatever the kind of number."""
    batch = VectorTradingEnv(MARKETS[0], 4, tickers=2, days=5)
    batch.reset(seed=0)
    for kind in (np.float32, np.float64):
        orders = np.full((4, 2), -0.5, kind)
        batch.step(orders)
        assert (orders == -0.5).all()


@pytest.mark.parametrize("mask", [True, False])
def test_stocks_are_in_the_order_drawn_only_where_they_are_masked(mask: bool) -> None:
    batch = VectorTradingEnv(MARKETS[0], 100, tickers=3, days=5, mask=mask)
    batch.reset(seed=0)
    in_order = (np.diff(batch._columns_BN, axis=1) > 0).all(axis=1)
    assert in_order.all() != mask
    assert in_order.any()


def test_a_new_episode_does_not_depend_on_the_previous_one() -> None:
    batch = VectorTradingEnv(MARKETS[0], 3, tickers=2, days=2)
    batch.reset(seed=0)
    batch.step(np.tile(np.array([1, 0], np.float32), (3, 1)))
    *_, info = batch.step(np.tile(np.array([-1, 2], np.float32), (3, 1)))
    assert info["refused"].all()
    assert info["turnover"].all()
    vectors_BK, *_, info = batch.step(np.zeros((3, 2), np.float32))
    for name in ("refused", "turnover", "costs"):
        assert not info[name].any(), name
    assert not vectors_BK[:, -1].any()


def test_an_episode_that_is_over_begins_again_on_the_next_step() -> None:
    batch = VectorTradingEnv(MARKETS[0], 5, tickers=2, days=4)
    assert batch.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    _, info = batch.reset(seed=1)
    first = info["start"]
    orders = np.ones((5, 2), np.float32)
    for _ in range(4):
        _, rewards, ended, cut, info = batch.step(orders)
    assert cut.all()
    assert not ended.any()
    vectors, rewards, ended, cut, info = batch.step(orders)
    assert (rewards == 0).all()
    assert not (ended | cut).any()
    assert (info["equity"] == batch.config.cash).all()
    assert (vectors[:, -2] == 4).all()
    assert (info["start"] != first).any()
    stocks = vectors[:, : -features.G].reshape(5, 2, features.PER_STOCK)
    assert (stocks[:, :, features.M :] == 0).all()
    assert (batch.step(np.zeros((5, 2), np.float32))[4]["equity"] == batch.config.cash).all()


def test_only_the_bankrupt_begin_again() -> None:
    market = MARKETS[1]
    batch = VectorTradingEnv(market, 64, tickers=3, days=30, ruin=0.9)
    batch.reset(seed=3)
    rng = np.random.default_rng(0)
    seen = False
    for _ in range(25):
        left = batch._clocks_B3[:, 1].copy()
        vectors, _, _, _, info = batch.step(rng.uniform(-1, 1, (64, 3)).astype(np.float32))
        again = vectors[:, -2] == 30
        assert (vectors[~again, -2] == left[~again] - 1).all()
        assert (info["equity"][again] == batch.config.cash).all()
        seen |= bool(again.any() and not again.all())
    assert seen


def test_a_seed_gives_the_same_batch_again_and_another_seed_another() -> None:
    runs = []
    for seed in (5, 5, 6):
        batch = VectorTradingEnv(MARKETS[2], 16, tickers=3, days=10)
        vectors, _ = batch.reset(seed=seed)
        found = [vectors]
        rng = np.random.default_rng(0)
        for _ in range(25):
            found.append(batch.step(rng.uniform(-1, 1, (16, 3)).astype(np.float32))[0])
        runs.append(np.array(found))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()


@pytest.mark.parametrize("stocks", [1, 3])
def test_drawn_stocks_differ_are_eligible_and_start_within_the_rows(stocks: int) -> None:
    market = MARKETS[0]
    batch = VectorTradingEnv(market, 200, rows=(60, 110), tickers=stocks, days=20)
    _, info = batch.reset(seed=0)
    columns = batch._columns_BN
    assert all(len(set(row)) == stocks for row in columns.tolist())
    assert market.eligible_TN[info["start"][:, None], columns].all()
    assert info["start"].min() >= 60
    assert info["start"].max() + 20 <= 110
    assert len(np.unique(info["start"])) > 5
    assert set(np.unique(columns)) == set(np.flatnonzero(market.eligible_TN[60:91].any(axis=0)))


def test_observations_infos_and_actions_share_no_memory() -> None:
    batch = VectorTradingEnv(MARKETS[0], 3, tickers=2, days=5)
    kept = [batch.reset(seed=0)]
    orders = np.full((3, 2), 0.5, np.float32)
    for _ in range(3):
        vectors, rewards, _, _, info = batch.step(orders)
        kept.append((vectors, {**info, "rewards": rewards}))
    assert (orders == 0.5).all()
    for i, (vectors, info) in enumerate(kept):
        for other, info2 in kept[:i]:
            assert not np.shares_memory(vectors, other)
            for key in info.keys() & info2.keys():
                if isinstance(info[key], np.ndarray):
                    assert not np.shares_memory(info[key], info2[key])


def begun(count: int) -> VectorTradingEnv:
    batch = VectorTradingEnv(MARKETS[0], count, days=5)
    batch.reset(seed=0)
    return batch


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: VectorTradingEnv(MARKETS[0], observation="text"), "numeric observations"),
        (lambda: VectorTradingEnv(MARKETS[0], 0), "num_envs is 0"),
        (lambda: VectorTradingEnv(MARKETS[0], 2, days=5).step(np.zeros((2, 1), np.float32)), "reset"),
        (lambda: VectorTradingEnv(MARKETS[0], 2, days=5).reset(options={"start": [60]}), "both 'start' and 'tickers'"),
        (
            lambda: VectorTradingEnv(MARKETS[0], 1, days=5).reset(options={"start": [60], "tickers": [["TICK9"]]}),
            "no ticker 'TICK9'",
        ),
        (lambda: VectorTradingEnv("AAPL"), "a market is a Panel, not a str"),  # type: ignore[arg-type]
        (lambda: begun(1).reset(options={"start": [60, 61], "tickers": [["TICK1"]]}), "with 1 entries each"),
        (lambda: begun(1).reset(options={"start": [60], "tickers": ["TICK1"]}), "give a list of 1"),
    ],
)
def test_errors_name_the_value(call: Any, match: str) -> None:
    with pytest.raises(EnvError, match=match):
        call()


def test_actions_of_another_shape_are_refused() -> None:
    batch = VectorTradingEnv(MARKETS[0], 2, tickers=2, days=5)
    batch.reset(seed=0)
    with pytest.raises(EnvError, match=r"shape \(2, 1\)\. Give \(2, 2\)"):
        batch.step(np.zeros((2, 1), np.float32))


def test_the_constants_of_the_kernel_are_those_of_the_observation() -> None:
    assert (vector_kernel.FACTS, vector_kernel.WIDTH) == (features.M, features.PER_STOCK)
    params = vector_kernel.kernel_params(ExecutionParams.of(env_config(short=True, leverage=3.0)), 1e5, 0.05)
    places = {name: getattr(vector_kernel, name.upper()) for name in ExecutionParams._fields}
    assert places == {name: i for i, name in enumerate(ExecutionParams._fields)}
    assert params[vector_kernel.LEVERAGE] == 3.0
    assert params[vector_kernel.SHORT] == 1.0
    assert params[vector_kernel.START_CASH] == 1e5


@pytest.mark.parametrize("mode", [None, "vector_entry_point"])
def test_gymnasium_makes_a_vector_environment_of_a_level(mode: str | None) -> None:
    for name, rules in LEVELS.items():
        made = gymnasium.make_vec(f"tradeschool/{name}-v1", 4, vectorization_mode=mode, panel=SYNTHETIC)
        assert isinstance(made, VectorTradingEnv)
        assert (made.num_envs, made.level) == (4, name)
        assert made.single_action_space.shape == (rules["tickers"],)
        own = VectorTradingEnv(SYNTHETIC, 4, **rules)
        np.testing.assert_array_equal(made.reset(seed=3)[0], own.reset(seed=3)[0])
        wanted = np.random.default_rng(0).uniform(-1, 1, (4, rules["tickers"])).astype(np.float32)
        for one, other in zip(made.step(wanted)[:4], own.step(wanted)[:4], strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(EnvError, match="vectorization_mode='sync'"):
        gymnasium.make_vec("tradeschool/Easy-v1", 4, observation="text", panel=SYNTHETIC)


def test_gymnasium_makes_single_environments_side_by_side_on_request() -> None:
    made = gymnasium.make_vec("tradeschool/Easy-v1", 2, vectorization_mode="sync", panel=SYNTHETIC)
    texts, _ = made.reset(seed=1)
    assert all(isinstance(text, str) for text in texts)
    assert not isinstance(made, VectorTradingEnv)


def test_a_fork_goes_on_from_the_present_state_and_leaves_the_original_alone() -> None:
    def played() -> VectorTradingEnv:
        env = VectorTradingEnv(MarketData(market()), 3, tickers=2, days=6)
        env.reset(seed=1)
        for orders in orders_DBN[:2]:
            env.step(orders)
        return env

    orders_DBN = np.random.default_rng(0).uniform(-1, 1, (4, 3, 2)).astype(np.float32)
    env, same, other = played(), played(), played()
    fork = env.fork([2, 0, 2, 1])
    forked = fork.step(orders_DBN[3, [2, 1, 0, 1]])
    expected = other.step(orders_DBN[3, [1, 1, 2]])
    assert np.array_equal(forked[0][[1, 3, 0]], expected[0])
    assert np.array_equal(forked[1][[1, 3, 0]], expected[1])
    assert not np.array_equal(forked[0][2], forked[0][0])
    assert np.array_equal(env.step(orders_DBN[2])[0], same.step(orders_DBN[2])[0])
