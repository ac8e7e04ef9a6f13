"""Episodes played for agents, and the reference agents."""

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from env_markets import by_hand, hostile
from markets import market
from reference_agents import Constant, NoisyForesight, Oracle, best_holdings, growth, play_text

from tradeschool.env import config
from tradeschool.env.config import EnvError
from tradeschool.env.grading import play
from tradeschool.env.market_data import MarketData
from tradeschool.env.strategies import Agent, BuyAndHold, Random, State
from tradeschool.env.trading_env import TradingEnv

HOSTILE = MarketData(hostile(0))
SYNTHETIC = MarketData(market(tickers=12, days=260))
DAYS = 12


def env_of(data: Any = HOSTILE, **settings: Any) -> TradingEnv:
    return TradingEnv(data, **{"tickers": 3, "days": DAYS, "observation": "numeric", **settings})


@dataclass(frozen=True)
class Spied(Random):
    """Keeps what it does, day by day."""

    acted: list[Any] = field(default_factory=list)

    def act(self, observations: Any, state: State) -> Any:
        self.acted.append(super().act(observations, state))
        return self.acted[-1]


@pytest.mark.parametrize("rules", [{}, {"short": True, "leverage": 2.0, "ruin": 0.9}, {"tickers": 1}])
def test_episodes_played_at_once_are_those_of_a_single_environment(rules: dict[str, Any]) -> None:
    env, spied = env_of(**rules), Spied()
    records = play(spied, env, 25, seed=3)
    assert not rules.get("short") or any(record.terminated for record in records)
    for b, record in enumerate(records):
        refused = 0
        env.reset(seed=3 + b)
        assert (record.start, record.tickers) == (env.episode.start, env.episode.tickers)
        for day in range(DAYS):
            _, _, terminated, truncated, info = env.step(spied.acted[day][b].astype(np.float64))
            refused += info["refused"]
            if terminated or truncated:
                break
        days = len(env.turnovers)
        np.testing.assert_allclose(record.equity_D[: days + 1], env.equities, rtol=1e-9)
        np.testing.assert_allclose(record.turnover_D[:days], env.turnovers, rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(record.costs_D[:days], env.costs, rtol=1e-9, atol=1e-6)
        assert (record.equity_D[days:] == record.equity_D[days]).all()
        assert not record.turnover_D[days:].any()
        assert not record.costs_D[days:].any()
        assert (record.refused, record.terminated) == (refused, terminated)
        assert record.versions == {name: info[name] for name in config.KEYS}


def test_random_actions_are_drawn_by_the_seed_and_differ_by_episode() -> None:
    def equities(seed: int) -> list[list[float]]:
        return [record.equity_D.tolist() for record in play(Random(seed), env_of(SYNTHETIC, tickers=1), 3, seed=3)]

    spied = Spied()
    play(spied, env_of(SYNTHETIC), 8, seed=3)
    for actions_BN in spied.acted:
        assert len(np.unique(actions_BN)) == actions_BN.size
    assert equities(0) == equities(0)
    assert equities(0) != equities(1)


def test_after_a_bankruptcy_an_agent_keeps_seeing_the_last_day() -> None:
    """And not the beginning of the next episode."""
    seen: list[Any] = []

    class Watching(Random):
        def act(self, observations: Any, state: State) -> Any:
            seen.append((observations.copy(), state.live_B.copy()))
            return super().act(observations, state)

    records = play(Watching(), env_of(short=True, leverage=2.0, ruin=0.95), 25)
    assert sum(record.terminated for record in records) > 0
    for (before, was_live_B), (after, live_B) in itertools.pairwise(seen):
        assert (was_live_B | ~live_B).all()
        np.testing.assert_array_equal(after[~was_live_B], before[~was_live_B])
        assert (after[live_B, -2] == before[live_B, -2] - 1).all()


def test_texts_and_numbers_play_the_same_episodes() -> None:
    numbers = play(BuyAndHold(), env_of(SYNTHETIC), 6)
    texts = play_text("BUY S1 1; BUY S2 1; BUY S3 1", env_of(SYNTHETIC, observation="text"), 6)
    for one, other in zip(numbers, texts, strict=True):
        np.testing.assert_allclose(one.equity_D, other.equity_D, rtol=1e-9)
        assert (one.start, one.tickers) == (other.start, other.tickers)
        assert one.refused == 0
    # The first day's orders are filled, all later ones find no cash.
    assert [record.refused for record in texts] == [3 * (DAYS - 1)] * 6


def test_the_batch_size_changes_nothing() -> None:
    agents: list[Agent] = [Random(), Oracle(), NoisyForesight()]
    whole = [play(agent, env_of(), 9, foresight=True) for agent in agents]
    for agent, before in zip(agents, whole, strict=True):
        for one, other in zip(before, play(agent, env_of(), 9, foresight=True, batch=4), strict=True):
            np.testing.assert_allclose(one.equity_D, other.equity_D, rtol=1e-12)


def test_rows_of_the_environment_bound_what_is_played() -> None:
    env = TradingEnv(SYNTHETIC, rows=(100, 140), tickers=2, days=10, observation="numeric")
    assert {100 <= record.start <= 130 for record in play(Constant(), env, 40)} == {True}


def test_an_agent_gets_the_future_only_with_foresight() -> None:
    agents: list[Agent] = [Oracle(), NoisyForesight()]
    for agent in agents:
        with pytest.raises(EnvError, match="foresight=True"):
            play(agent, env_of(), 1)


def test_nothing_to_play_and_text_are_refused() -> None:
    with pytest.raises(EnvError, match="play at least one"):
        play(Constant(), env_of(), 0)
    with pytest.raises(EnvError, match="numeric observations"):
        play(Constant(), env_of(observation="text"), 2)


def test_the_oracle_finds_the_best_of_all_plans() -> None:
    rng = np.random.default_rng(0)
    params = env_of(tickers=2, days=4, commission=0.01).params
    growth_BDN = rng.normal(0, 0.03, (20, 4, 2))
    plans = np.stack(np.meshgrid(*[[-1, 0, 1]] * 4), -1).reshape(-1, 4)

    def worth(plan: Any, growth_DN: Any) -> float:
        held, value = -1, 0.0
        for day, stock in enumerate(plan):
            if stock != held:
                value += math.log(params.sell) if held >= 0 else 0.0
                value -= math.log(params.buy) if stock >= 0 else 0.0
            value += growth_DN[day, stock] if stock >= 0 else 0.0
            held = stock
        return value

    for plan, growth_DN in zip(best_holdings(growth_BDN, params), growth_BDN, strict=True):
        assert worth(plan, growth_DN) == pytest.approx(max(worth(other, growth_DN) for other in plans))


def test_growth_is_what_a_holding_earns_from_open_to_open_and_at_last_to_the_close() -> None:
    opens, closes = np.arange(1.0, 71.0), np.arange(1.0, 71.0) + 0.5
    env = env_of(MarketData(by_hand(opens, closes)), tickers=1, days=3)
    env.reset(seed=0, options={"start": 60})
    assert np.exp(growth(env.episode))[:, 0] == pytest.approx([63 / 62, 64 / 63, 64.5 / 64])
