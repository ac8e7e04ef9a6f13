"""The environment as Gymnasium and Stable-Baselines3 see it, its episodes, and what an observation may know."""

import copy
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from env_markets import by_hand, hostile, scrambled
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import market
from observation_reader import read

import tradeschool.env
from tradeschool.env.config import ENV_VERSION, LEVELS, EnvError
from tradeschool.env.market_data import MarketData, synthetic_data
from tradeschool.env.trading_env import TradingEnv
from tradeschool.text.parse import Order, format_orders

DATA = MarketData(hostile(0))
SYNTHETIC = MarketData(market(tickers=30, days=300))


def env_of(data: Any = DATA, **settings: Any) -> TradingEnv:
    return TradingEnv(data, **{"tickers": 3, "days": 12, "observation": "numeric", **settings})


def played(env: TradingEnv, seed: int, begin: int | None = None, options: Any = None) -> list[Any]:
    """All that an episode of random actions under ``seed`` returns."""
    found: list[Any] = [env.reset(seed=seed if begin is None else begin, options=options)]
    rng = np.random.default_rng(seed)
    while True:
        wanted = wanted_of(rng, env.config.tickers)
        sides = ["BUY" if want > 0 else "SELL" for want in wanted]
        orders = [Order(side, name, abs(w)) for side, name, w in zip(sides, env.names, wanted, strict=True)]  # type: ignore[arg-type]
        found.append(env.step(format_orders(orders) if env.config.observation == "text" else wanted))
        if found[-1][2] or found[-1][3]:
            return found


def wanted_of(rng: np.random.Generator, stocks: int = 3) -> Any:
    wanted = rng.uniform(-1, 1, stocks).round(3)
    wanted[np.abs(wanted) < 0.05] = 0.05  # numbers closer to 0 are no orders in numbers, but are in text
    return wanted


def assert_same(one: list[Any], other: list[Any]) -> None:
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a, b, strict=True):
            if isinstance(x, np.ndarray):
                np.testing.assert_array_equal(x, y)
            else:
                assert x == y


@pytest.mark.parametrize("observation", ["text", "numeric"])
@pytest.mark.parametrize("level", LEVELS)
def test_every_level_passes_gymnasiums_checker(level: str, observation: str) -> None:
    env = gymnasium.make(f"tradeschool/{level}-v1", panel=SYNTHETIC, observation=observation, render_mode="ansi")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    _, info = env.reset(seed=0)
    assert info["level"] == level
    assert env.unwrapped.config.tickers == LEVELS[level]["tickers"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("stocks", [1, 3])
def test_numeric_environments_pass_the_checker_of_stable_baselines3(stocks: int) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(env_of(tickers=stocks))


def test_the_default_market_is_the_synthetic_one() -> None:
    env = gymnasium.make("tradeschool/Easy-v1")
    assert env.unwrapped.data is synthetic_data()  # type: ignore[attr-defined]
    text, info = env.reset(seed=0)
    assert "S1" in text
    assert info["data_hash"] == synthetic_data().panel.data_hash()
    assert info["env_version"] == ENV_VERSION


def test_every_step_carries_version_level_and_data() -> None:
    env = env_of()
    for _, _, _, _, info in played(env, 0)[1:]:
        assert info["env_version"] == ENV_VERSION
        assert info["level"] == "custom"
        assert info["data_hash"] == DATA.panel.data_hash()
        assert info["start"] == env.episode.start


@pytest.mark.parametrize("observation", ["text", "numeric"])
@pytest.mark.parametrize("tickers", [1, 4])
def test_a_seed_gives_the_same_episode_again(observation: str, tickers: int) -> None:
    settings_ = {"observation": observation, "tickers": tickers}
    assert_same(played(env_of(**settings_), 3), played(env_of(**settings_), 3))
    env = env_of(**settings_)
    played(env, 8)
    assert_same(played(env, 3), played(env_of(**settings_), 3))


def test_a_started_environment_leaves_another_on_the_same_market_alone() -> None:
    alone = played(env_of(), 4)
    first, second = env_of(), env_of()
    first.reset(seed=4)
    played(second, 9)
    first.reset(seed=4)
    rng = np.random.default_rng(4)
    for expected in alone[1:]:
        second.reset(seed=1)
        second.step(np.ones(3))
        vector, reward = first.step(wanted_of(rng))[:2]
        np.testing.assert_array_equal(vector, expected[0])
        assert reward == expected[1]


def test_observations_share_no_memory_and_writing_to_one_changes_nothing(settlement: str) -> None:
    expected = played(env_of(), 5)
    env = env_of()
    kept = [env.reset(seed=5)[0]]
    rng = np.random.default_rng(5)
    for one in expected[1:]:
        kept[-1][:] = 7.0
        kept.append(env.step(wanted_of(rng))[0])
        np.testing.assert_array_equal(kept[-1], one[0])
    assert not any(np.shares_memory(a, b) for i, a in enumerate(kept) for b in kept[:i])
    assert not any(np.shares_memory(a, DATA.lines_TN) for a in kept)


@pytest.mark.parametrize("tickers", [1, 4])
def test_text_and_numbers_are_the_same_episode(tickers: int) -> None:
    for seed in range(5):
        numeric = played(env_of(tickers=tickers), seed)
        text = played(env_of(tickers=tickers, observation="text"), seed)
        for (vector, *outcome), (text_, *other) in zip(numeric[1:], text[1:], strict=True):
            assert outcome[1:3] == other[1:3]
            assert other[3]["equity"] == pytest.approx(outcome[3]["equity"], rel=1e-6)
            assert other[3]["refused"] == outcome[3]["refused"]
            np.testing.assert_allclose(read(text_)[0], vector, atol=0.51)


@pytest.mark.parametrize("observation", ["text", "numeric"])
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), day=st.integers(0, 10))
def test_nothing_after_t_is_in_the_observation_at_t(observation: str, seed: int, day: int) -> None:
    panel = hostile(seed % 5)
    env = env_of(panel, observation=observation)
    env.reset(seed=seed)
    options = {"start": env.episode.start, "tickers": list(env.episode.tickers)}
    true = played(env, seed, options=options)
    t = env.episode.start + min(day, len(true) - 1)
    other = played(env_of(scrambled(panel, t), observation=observation), seed, options=options)
    for i, (one, two) in enumerate(zip(true[: t - env.episode.start + 1], other, strict=False)):
        np.testing.assert_array_equal(one[0], two[0])
        if i:
            assert one[1] == two[1]
    changed = [one[1] != two[1] for one, two in zip(true[day + 1 :], other[day + 1 :], strict=False) if len(one) > 2]
    held = any(one[4]["equity"] != 1e5 for one in true[1:])
    assert any(changed) or not held or len(true) <= day + 1


def test_an_action_does_not_earn_the_move_already_observed() -> None:
    panel = by_hand(open_=[10, 10, 20, 20, 20], close=[10, 20, 20, 20, 20])
    data = MarketData(panel)
    env = TradingEnv(_any_row(data), tickers=1, days=4, observation="numeric", commission=0.0, slippage=0.0)
    env.reset(options={"start": 0})
    env.step(np.zeros(1))
    assert env.step(np.ones(1))[1] == pytest.approx(0, abs=1e-12)


def _any_row(data: MarketData) -> MarketData:
    data.__dict__["eligible_TN"] = data.traded_TN
    return data


def test_a_refusal_is_explained_in_the_next_observation_only() -> None:
    env = env_of(SYNTHETIC, observation="text", tickers=2)
    env.reset(seed=0)
    text, _, _, _, info = env.step("SELL S1; BUY S9; BUY S2 150%; do something")
    assert info["refused"] == 4
    assert ", 4 refused" in text.split("\n")[0]
    for words in ("no position to sell", "no stock 'S9'", "must be above 0", "'do something' is no order"):
        assert words in text
    assert len(info["messages"]) == 4
    text, _, _, _, info = env.step("HOLD")
    assert info["refused"] == 0
    assert "refused" not in text
    assert "!" not in text


def test_gibberish_is_refused_and_trades_nothing() -> None:
    env = env_of(SYNTHETIC, observation="text")
    env.reset(seed=0)
    for words in ("", "lorem ipsum", "<think>buy", "BUY BUY BUY", "\x00\u20ac 漢字", "买 S1"):
        text, reward, _, _, info = env.step(words)
        assert info["refused"] >= 1
        assert reward == 0
        assert text in env.observation_space


@pytest.mark.parametrize("words", ["BUY S1 filled to", "was delisted", "lapsed, it was not traded", "no longer listed"])
def test_outcomes_of_orders_are_in_the_observation(words: str) -> None:
    for seed in range(40):
        env = env_of(hostile(seed), observation="text", tickers=5, days=60, cash=1e7)
        found = [env.reset(seed=seed)[0]]
        for day in range(60):
            found.append(env.step(f"BUY S1 0.9\nBUY S{2 + day % 4} .5")[0])
            if env._over:
                break
        if any(words in text for text in found):
            return
    pytest.fail(f"'{words}' never appears")


def test_render_gives_the_text_of_the_present_observation(settlement: str) -> None:
    for tickers in (1, 4):
        env = env_of(tickers=tickers, render_mode="ansi")
        vector, _ = env.reset(seed=0)
        text = env.render()
        np.testing.assert_allclose(read(text or "")[0], vector, atol=0.51)
        vector = env.step(np.full(tickers, -0.9))[0]
        assert f"{tickers} refused" in (env.render() or "")
        np.testing.assert_allclose(read(env.render() or "")[0], vector, atol=0.51)
        before = env.render()
        vector[:] = 7.0
        assert env.render() == before
    assert env_of().render() is None


@pytest.mark.parametrize(
    ("settings_", "match"),
    [
        ({"tickrs": 3}, "Did you mean 'tickers'"),
        ({"tickers": 0}, "tickers"),
        ({"commission": -1}, "commission"),
        ({"observation": "image"}, "observation"),
        ({"render_mode": "human"}, "render_mode 'human'"),
        ({"tickers": 7}, "7 stocks"),
        ({"days": 500}, "500 rows after it"),
        ({"rows": (50, 900)}, "rows 0 to 139"),
        ({"observation": "picture"}, r"must be one of text, numeric\.$"),
        ({"observation": "txt"}, r"must be one of text, numeric\. Did you mean 'text'\?$"),
        (
            {"days": "x", "observation": "picture"},
            r"days is 'x', but must be a whole number; observation .* numeric\.$",
        ),
    ],
)
def test_a_wrong_setting_is_refused(settings_: dict[str, Any], match: str) -> None:
    with pytest.raises(EnvError, match=match):
        env_of(**settings_)


@pytest.mark.parametrize("given", ["AAPL", 5, np.ones((99, 2)), ["AAPL"]])
def test_a_market_of_another_kind_is_refused(given: Any) -> None:
    with pytest.raises(EnvError, match=rf"a market is a Panel, not a {type(given).__name__}\."):
        TradingEnv(given)


@pytest.mark.parametrize("tickers", [1, 4])
@pytest.mark.parametrize("action", ["BUY", None, np.zeros(9), np.array(["a"]), [[0.0]]])
def test_an_action_of_another_kind_is_refused(tickers: int, action: Any) -> None:
    env = env_of(tickers=tickers)
    env.reset(seed=0)
    with pytest.raises(EnvError, match="one number per stock"):
        env.step(action)


def test_a_text_environment_takes_text() -> None:
    env = env_of(observation="text")
    env.reset(seed=0)
    with pytest.raises(EnvError, match="takes text, not ndarray"):
        env.step(np.zeros(3))


def test_a_list_of_numbers_is_an_action() -> None:
    env = env_of()
    env.reset(seed=0)
    assert env.step([0.5, 0.0, 0.0])[4]["fills"][0] >= 0


def test_stepping_needs_a_reset_before_and_after() -> None:
    env = env_of(days=2)
    with pytest.raises(EnvError, match="reset"):
        env.step(np.zeros(3))
    played(env, 0)
    with pytest.raises(EnvError, match="the episode is over"):
        env.step(np.zeros(3))


def test_the_last_day_truncates() -> None:
    env = env_of(SYNTHETIC, days=4)
    env.reset(seed=0)
    ends = [env.step(np.zeros(3))[2:4] for _ in range(4)]
    assert ends == [(False, False)] * 3 + [(False, True)]


def test_the_record_of_an_episode_is_complete() -> None:
    env = env_of(SYNTHETIC, days=6)
    rewards = [one[1] for one in played(env, 0)[1:]]
    assert len(env.equities) == 7
    assert len(env.turnovers) == len(env.costs) == 6
    np.testing.assert_allclose(np.diff(np.log(env.equities)), rewards, rtol=1e-9, atol=1e-12)


def test_an_environment_can_be_copied() -> None:
    env = env_of()
    env.reset(seed=0)
    twin = copy.deepcopy(env)
    first = env.step(np.full(3, 0.3))
    second = twin.step(np.full(3, 0.3))
    np.testing.assert_array_equal(first[0], second[0])


def test_levels_are_registered() -> None:
    assert {f"tradeschool/{level}-v1" for level in LEVELS} <= set(gymnasium.registry)
    assert tradeschool.env.config.LEVELS is LEVELS


def test_the_docstring_has_gymnasiums_sections() -> None:
    sections = [line.strip()[3:] for line in (TradingEnv.__doc__ or "").splitlines() if line.strip().startswith("## ")]
    assert sections == [
        "Description",
        "Action Space",
        "Observation Space",
        "Rewards",
        "Starting State",
        "Episode End",
        "Arguments",
        "Version History",
    ]
    assert f"* {ENV_VERSION}:" in (TradingEnv.__doc__ or "")


@pytest.mark.parametrize(("observation", "wrong"), [("numeric", [1.0, 2.0]), ("text", 3)])
def test_an_action_of_the_wrong_kind_costs_no_day(observation: str, wrong: Any) -> None:
    env = TradingEnv(observation=observation, days=3)
    env.reset(seed=0)
    with pytest.raises(EnvError):
        env.step(wrong)
    right = "HOLD" if observation == "text" else np.zeros(1, np.float32)
    ends = [env.step(right)[3] for _ in range(3)]
    assert ends == [False, False, True]
    assert len(env.equities) == 4
