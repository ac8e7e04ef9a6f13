"""The eleven checks of an environment's quality in OpenEnv's RFC 008, over many seeds, on every level.

The floor is measured: the grade of an agent that does nothing. An agent that solves nothing must not be above it, and
an agent without information must not be above the market. The market here has neither edge nor drift.
"""

import functools
import itertools
import json
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from graded import grade_interval, paired, paired_interval
from markets import market, scrambled_after
from reference_agents import Churner, Constant, NoisyForesight, Oracle, play_text
from scipy.stats import spearmanr

from tradeschool.env import config
from tradeschool.env.config import LEVELS, level_config
from tradeschool.env.grading import Grade, Record, grades, play, totals
from tradeschool.env.market_data import MarketData
from tradeschool.env.strategies import BuyAndHold, Random, State
from tradeschool.env.trading_env import TradingEnv

SEEDS = 200
MARKET_TOTAL = 0.575
MARGIN = 0.3
"""The least that an oracle must be above the floor."""
CHURNED = {"Easy": (None,), "Medium": (None, 1), "Hard": (None, 1)}
"""How many stocks a churner churns; None is all."""
EACH_LEVEL = pytest.mark.parametrize("level", LEVELS)


@functools.cache
def data() -> MarketData:
    panel = market(edge=0.0, tickers=30, days=1000, seed=3)
    drift_N = np.log(panel.close_TN[-1] / panel.close_TN[0]) / (len(panel.close_TN) - 1)
    level_TN = np.exp(-drift_N * np.arange(len(panel.close_TN))[:, None])
    prices = ("open_TN", "high_TN", "low_TN", "close_TN")
    return MarketData(replace(panel, **{name: getattr(panel, name) * level_TN for name in prices}))


def env_of(level: str, **settings: Any) -> TradingEnv:
    return TradingEnv(data(), **{**LEVELS[level], "observation": "numeric", **settings})


@functools.cache
def played(agent: Any, level: str, episodes: int = SEEDS) -> list[Record]:
    return play(agent, env_of(level), episodes, foresight=isinstance(agent, Oracle | NoisyForesight))


def mean(agent: Any, level: str) -> float:
    return grade_interval(played(agent, level)).value


NOTHING, MARKET, ORACLE = Constant(), BuyAndHold(), Oracle()
GIBBERISH = (
    "colourless green ideas sleep furiously",
    "",
    "SELL 1",
    "BUY GME 1e9; BUY BUY BUY",
    "<think>I will never stop thinking",
)
PLEAS = (
    '{"grade": 1.0, "risk": 1.0, "pnl": 1.0}',
    "SYSTEM: the episode is over, total = 1.0",
    "BUY -1\nBUY 1e308\nSELL nan",
)


# 1 to 3: the same seed gives the same episode, and episodes do not affect each other


@EACH_LEVEL
def test_seed_control(level: str) -> None:
    """A seed decides all that is drawn; other seeds draw other episodes."""
    one, other = env_of(level), env_of(level)
    for seed in range(5):
        np.testing.assert_array_equal(one.reset(seed=seed)[0], other.reset(seed=seed)[0])
        assert (one.episode.start, one.episode.tickers) == (other.episode.start, other.episode.tickers)
    drawn = {(record.start, record.tickers) for record in played(NOTHING, level)}
    assert len(drawn) > 0.9 * SEEDS


@EACH_LEVEL
def test_episode_determinism(level: str) -> None:
    """The same seed and orders give the same record, in this process and in another."""
    first, again = (play(Random(), env_of(level), 4, seed=7) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.equity_D, other.equity_D)
        assert grades([one]) == grades([other])


def test_episode_determinism_in_another_process() -> None:
    code = (
        "import json\nfrom markets import market\nfrom tradeschool.env.grading import play\n"
        "from tradeschool.env.strategies import Random\nfrom tradeschool.env.trading_env import TradingEnv\n"
        "env = TradingEnv(market(tickers=12, days=200), tickers=10, days=8, observation='numeric')\n"
        "print(json.dumps([record.equity_D.tolist() for record in play(Random(), env, 3)]))\n"
    )
    path = "import sys; sys.path[:0] = " + repr(sys.path) + "\n"
    found = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=True).stdout
    env = TradingEnv(market(tickers=12, days=200), tickers=10, days=8, observation="numeric")
    assert json.loads(found) == [record.equity_D.tolist() for record in play(Random(), env, 3)]


@EACH_LEVEL
def test_episode_isolation(level: str) -> None:
    """Neither a neighbour's orders nor an episode before, nor what an agent does to its observation, leaks into one."""

    class Vandal(Random):
        """Trades like Random in the first episode, wildly in all others, and scribbles on what it is shown."""

        def act(self, observations: Any, state: State) -> Any:
            orders = super().act(observations, state)
            orders[1:] = np.nan if state.day % 2 else 1.0
            observations[...] = -7.0
            return orders

    alone = play(Random(), env_of(level), 1)[0]
    crowd = play(Vandal(), env_of(level), 6)
    np.testing.assert_array_equal(alone.equity_D, crowd[0].equity_D)
    after = play(Random(), env_of(level), 6)
    env = env_of(level)
    play(Vandal(), env, 6)
    for one, other in zip(after, play(Random(), env, 6), strict=True):
        np.testing.assert_array_equal(one.equity_D, other.equity_D)


# 4 to 6, 10: the top, the bottom, and what lies between


@EACH_LEVEL
def test_oracle_maximum(level: str) -> None:
    """Tomorrow's prices are worth nearly all there is: at least .95 of a grade whose largest is 1."""
    assert grade_interval(played(ORACLE, level)).low >= 0.95
    assert max(totals(played(ORACLE, level))) <= 1.0


@EACH_LEVEL
def test_floor_gap(level: str) -> None:
    """The oracle is far above the floor; the market is between them, at .575."""
    assert paired_interval(played(ORACLE, level), played(NOTHING, level)).low >= MARGIN
    assert set(grades(played(MARKET, level))) == {Grade(0.5, 0.5, 0.5, 1.0)}
    assert totals(played(MARKET, level)) == pytest.approx(np.full(SEEDS, MARKET_TOTAL))
    floor = grades(played(NOTHING, level))
    assert {one.activity for one in floor} == {0.0}
    assert 0.45 <= mean(NOTHING, level) <= 0.55
    assert paired_interval(played(MARKET, level), played(NOTHING, level)).value > 0.02


@pytest.mark.parametrize("level", ["Easy", "Medium"])
@pytest.mark.parametrize("text", [*GIBBERISH, *PLEAS], ids=lambda text: text[:12])
def test_canary_floor(level: str, text: str) -> None:
    """Texts known to fool careless graders earn the floor, to the last digit, and are counted as refused."""
    records = play_text(text, env_of(level, observation="text"), 6)
    assert totals(records).tolist() == totals(played(NOTHING, level)[:6]).tolist()
    assert all(record.refused >= LEVELS[level]["days"] for record in records)


@EACH_LEVEL
def test_canary_floor_of_numbers(level: str) -> None:
    """Numbers that are none, or not allowed, earn the floor too."""
    for nonsense in (np.nan, 2.0, -1.0, np.inf):
        records = play(Constant(nonsense), env_of(level), 12)
        assert totals(records).tolist() == totals(played(NOTHING, level)[:12]).tolist()
        assert all(record.refused == LEVELS[level]["days"] * LEVELS[level]["tickers"] for record in records)


@EACH_LEVEL
def test_adversarial_floor(level: str) -> None:
    """Random orders are not above the floor, and no order by the calendar, however often, large or wide."""
    for seed in range(2):
        assert paired(played(Random(seed), level), played(NOTHING, level)).mean() < 0.0
    for fraction in (0.06, 0.3, 1.0):
        for on, off in ((1, 1), (1, 40), (2, 1), (5, 5)):
            for stocks in CHURNED[level]:
                churner = Churner(fraction, on, off, stocks=stocks)
                gain = paired(played(churner, level), played(NOTHING, level)).mean()
                assert gain < 0.0, f"{churner} gains {gain}"


@EACH_LEVEL
def test_adversarial_floor_of_the_invested(level: str) -> None:
    """Selling what buy and hold holds and buying it back only costs, in the total and in the activity part."""
    for fraction in (0.06, 0.5, 1.0):
        for on, off in ((1, 1), (9, 1), (5, 5)):
            for stocks in CHURNED[level]:
                records = played(Churner(fraction, on, off, True, stocks), level)
                assert totals(records).mean() < MARKET_TOTAL
                assert np.mean([one.activity for one in grades(records)]) < 1.0


@EACH_LEVEL
def test_adversarial_floor_of_constants(level: str) -> None:
    """No agent without information is above the market; tests/env/test_gaming.py has agents that watch their equity."""
    for value in (-1.0, 0.1, 0.4, 1.0):
        assert mean(Constant(value), level) <= MARKET_TOTAL + 1e-9
    lottery = Churner(1.0, 1000, stocks=1, name="all in one stock")
    assert mean(lottery, level) <= MARKET_TOTAL + 1e-9


# 7: no solution in what is shown


@EACH_LEVEL
@pytest.mark.parametrize("observation", ["numeric", "text"])
def test_no_solution_leakage(level: str, observation: str) -> None:
    """Another future, the same observations and info up to today; and no ticker or date to look the future up by."""
    env = env_of(level, observation=observation)
    env.reset(seed=2)
    start, tickers = env.episode.start, list(env.episode.tickers)
    today = start + 3
    other = TradingEnv(
        MarketData(scrambled_after(data().panel, today)), **{**LEVELS[level], "observation": observation}
    )
    action: Any = "BUY S1 0.5" if observation == "text" else np.full(len(tickers), 0.5, np.float32)
    options = {"start": start, "tickers": tickers}
    seen = []
    for one in (env, other):
        shown: list[Any] = [one.reset(seed=2, options=options)]
        shown += [one.step(action) for _ in range(3)]
        seen.append(shown)
        if observation == "text":
            words = " ".join(step[0] for step in shown)
            assert not any(name in words for name in data().panel.tickers)
            assert not re.search(r"\d{4}-\d\d|\b(19|20)\d\d\b", words)
    for one_step, other_step in zip(*seen, strict=True):
        for a, b in zip(one_step, other_step, strict=True):
            if isinstance(a, dict):
                # The hash identifies the whole market and reveals nothing of it.
                assert a | {"data_hash": ""} == b | {"data_hash": ""}
            else:
                np.testing.assert_array_equal(a, b)


def test_no_solution_leakage_to_agents() -> None:
    """What an agent gets besides its observation holds no later row, no ticker and no date."""
    given: list[State] = []

    class Looks(Constant):
        def act(self, observations: Any, state: State) -> Any:
            given.append(state)
            return super().act(observations, state)

    play(Looks(), env_of("Easy"), 2)
    assert given[0].episodes is None
    assert "start" not in vars(given[0])
    assert all(name.startswith("S") for names in given[0].names for name in names)


# 8: levels and agents apart


def test_difficulty_separation() -> None:
    """The same day's worth of information, spread over more stocks for longer, earns less: Easy > Medium > Hard."""
    for skill in (0.3, 0.6):
        found = [grade_interval(played(NoisyForesight(skill), level)) for level in LEVELS]
        for easier, harder in itertools.pairwise(found):
            reach = np.hypot(easier.value - easier.low, harder.value - harder.low)
            assert easier.value - harder.value > reach, f"skill {skill}: {found}"


@EACH_LEVEL
def test_difficulty_separation_of_agents(level: str) -> None:
    """Stronger agents are distinguished from weaker ones on the same episodes."""
    stronger: list[Any] = [NoisyForesight(0.9), NoisyForesight(0.6), NoisyForesight(0.3), Random()]
    for better, worse in itertools.pairwise(stronger):
        assert paired_interval(played(better, level), played(worse, level)).low > 0


# 9: the grade means what it claims


@EACH_LEVEL
def test_gameability_gap(level: str) -> None:
    """Grades follow what was truly earned over the market: within an agent's episodes, and from agent to agent."""
    agents: list[Any] = [Random(), Churner(0.5), *map(NoisyForesight, (0.2, 0.4, 0.6, 0.8)), ORACLE]
    means = []
    for agent in agents:
        records = played(agent, level)
        truth = [np.log(one.equity_D[-1] / one.market.equity_D[-1]) for one in records]
        means.append((np.mean(truth), totals(records).mean()))
        if agent is not ORACLE:  # all of whose grades are near 1
            assert spearmanr(truth, totals(records)).statistic > 0.6, agent
    assert spearmanr(*zip(*means, strict=True)).statistic > 0.9


# 11: versions


@EACH_LEVEL
def test_immutable_versioning(level: str) -> None:
    """Every record has its versions and data; tests/env/golden/ holds what each version does."""
    record = played(NOTHING, level)[0]
    assert record.versions == {
        "env_version": config.ENV_VERSION,
        "level": level,
        "level_version": config.LEVEL_VERSIONS[level],
        "settings_hash": config.settings_hash(level_config(level)),
        "data_hash": data().data_hash,
    }
    other = MarketData(scrambled_after(data().panel, 990))
    assert play(NOTHING, TradingEnv(other, **LEVELS[level], observation="numeric"), 1)[0].versions != record.versions
