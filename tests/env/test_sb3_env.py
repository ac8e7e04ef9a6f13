"""With Stable-Baselines3's interface, the vector environment is a DummyVecEnv of the same single environments."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from env_markets import hostile
from stable_baselines3.common.vec_env import DummyVecEnv

from tradeschool.env.market_data import MarketData
from tradeschool.env.sb3_env import SB3TradingEnv
from tradeschool.env.trading_env import TradingEnv

MARKET = MarketData(hostile(1))
B = 5


class Following(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A single environment whose episodes are those of number ``b`` of a batch."""

    def __init__(self, vec: SB3TradingEnv, b: int, rules: dict[str, Any]) -> None:
        super().__init__(TradingEnv(MARKET, observation="numeric", **rules))
        self.vec, self.b = vec, b

    def reset(self, **given: Any) -> Any:
        batch = self.vec.batch
        # In the vector environment's order; a single environment would draw masked stocks again.
        tickers = [MARKET.panel.tickers[n] for n in batch._columns_BN[self.b]]
        return self.env.reset(options={"start": int(batch._start_B[self.b]), "tickers": tickers})


@pytest.mark.parametrize(
    "rules",
    [
        {"tickers": 1, "days": 4},
        {"tickers": 3, "days": 7, "mask": False},
        {"tickers": 2, "days": 30, "ruin": 0.97, "slippage": 0.05, "mask": False},
    ],
)
def test_it_is_a_dummy_vec_env_of_single_environments(rules: dict[str, Any]) -> None:
    rules = {"mask": False, **rules}
    vec = SB3TradingEnv(TradingEnv(MARKET, observation="numeric", **rules), B)
    vec.seed(3)
    seen = vec.reset()
    singles = DummyVecEnv([lambda b=b: Following(vec, b, rules) for b in range(B)])
    np.testing.assert_array_equal(seen, singles.reset())
    rng = np.random.default_rng(0)
    ended = cut = 0
    for _ in range(40):
        orders = rng.uniform(-1, 1, (B, rules["tickers"])).astype(np.float32)
        seen, rewards, dones, infos = vec.step(orders)
        own_seen, own_rewards, own_dones, own_infos = singles.step(orders)
        np.testing.assert_allclose(seen, own_seen, rtol=1e-6, atol=1e-5)
        np.testing.assert_allclose(rewards, own_rewards, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(dones, own_dones)
        assert (rewards.dtype, dones.dtype, seen.dtype) == (np.float32, np.bool_, np.float32)
        for b in range(B):
            assert infos[b]["TimeLimit.truncated"] is own_infos[b]["TimeLimit.truncated"]
            assert ("terminal_observation" in infos[b]) == dones[b]
            if dones[b]:
                cut += infos[b]["TimeLimit.truncated"]
                ended += not infos[b]["TimeLimit.truncated"]
                last = infos[b]["terminal_observation"]
                np.testing.assert_allclose(last, own_infos[b]["terminal_observation"], rtol=1e-6, atol=1e-5)
                # The last observation is the old episode's, the other one the new episode's.
                assert seen[b, -2] == rules["days"] != last[-2]
    assert ended if "ruin" in rules else cut


def test_a_seed_gives_the_same_episodes_and_is_used_once() -> None:
    vec = SB3TradingEnv(TradingEnv(MARKET, observation="numeric", tickers=2, days=5), 20)
    firsts = []
    for seed in (1, 1, 2, None):
        if seed is not None:
            vec.seed(seed)
        firsts.append(vec.reset())
    np.testing.assert_array_equal(firsts[0], firsts[1])
    assert (firsts[0] != firsts[2]).any()
    assert (firsts[2] != firsts[3]).any()


def test_episodes_keep_to_the_rows_of_the_environment() -> None:
    env = TradingEnv(MARKET, rows=(60, 90), observation="numeric", days=5)
    vec = SB3TradingEnv(env, 30)
    vec.reset()
    starts = []
    for _ in range(30):
        vec.step(np.zeros((30, 1), np.float32))
        starts += vec.batch._start_B.tolist()
    assert (min(starts), max(starts)) == (60, 85)


def test_rewards_are_divided_by_the_unit() -> None:
    env = TradingEnv(MARKET, observation="numeric", days=5)
    earned = []
    for unit in (1.0, 0.01):
        vec = SB3TradingEnv(env, 10, unit)
        vec.seed(0)
        vec.reset()
        seen, rewards, _, _ = vec.step(np.ones((10, 1), np.float32))
        earned.append((seen, rewards))
    np.testing.assert_array_equal(earned[0][0], earned[1][0])
    np.testing.assert_allclose(100 * earned[0][1], earned[1][1], rtol=1e-5)
    assert earned[0][1].any()


def test_attributes_are_read_and_not_changed() -> None:
    vec = SB3TradingEnv(TradingEnv(MARKET, observation="numeric", days=5), 3)
    assert [config.days for config in vec.get_attr("config")] == [5, 5, 5]
    assert len(vec.get_attr("config", [0, 2])) == 2
    assert vec.env_is_wrapped(gymnasium.Wrapper) == [False] * 3
    with pytest.raises(AttributeError, match="share their rules"):
        vec.set_attr("config", None)
    with pytest.raises(AttributeError, match="no single environments"):
        vec.env_method("reset")
