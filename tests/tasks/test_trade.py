"""The trade task: beginnings within their split, expert episodes, and what days are worth."""

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from markets import market
from pydantic import ValidationError

from tradeschool.env.config import EnvError, env_config
from tradeschool.env.conversation import FACTS
from tradeschool.env.facts import HOLDING, MARKET
from tradeschool.env.grading import grade
from tradeschool.env.harness import State
from tradeschool.env.traders import READS, RULES, rule
from tradeschool.env.trading import TradingEnv
from tradeschool.errors import ParseError, RecipeError
from tradeschool.market.splits import split_rows
from tradeschool.tasks.base import Conversation
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_config import TradeConfig
from tradeschool.tasks.trade_rewards import Played, day_rewards, to_go
from tradeschool.text.orders import Order, parse_orders

PANEL = market(tickers=12, days=500)


def task_of(**config: Any) -> TradeTask:
    return TradeTask(TradeConfig(**config), PANEL, split_rows(PANEL, (0.6, 0.1, 0.3), embargo=16, warmup=60))


@pytest.fixture(scope="module")
def task() -> TradeTask:
    return task_of(env={"days": 8})


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_episodes_begin_and_end_within_their_split(task: TradeTask, split: Any) -> None:
    rows = set(task.rows(split).tolist())
    starts = [example.t for example in task.examples(split)]
    assert starts == sorted(set(starts))
    assert all({t, t + 8} <= rows for t in starts)
    env = task.env(split, "numeric")
    for seed in range(20):
        env.reset(seed=seed)
        assert {env.episode.start, env.episode.start + 8} <= rows


def test_a_prompt_holds_the_rules_and_the_first_day_of_its_example(task: TradeTask) -> None:
    example = task.example(100, variant=3)
    messages = task.prompt(example).messages
    assert [message["role"] for message in messages] == ["system", "user"]
    env = task.env("train")
    assert messages == task.first_messages(env, task.reset(env, example))
    assert env.episode.start == 100
    others = {task.prompt(task.example(100, variant)).messages[1]["content"] for variant in range(6)}
    assert len(others) > 1


def test_what_is_told_does_not_know_tomorrow(task: TradeTask) -> None:
    from markets import scrambled_after

    example = task.example(100)
    other = TradeTask(task.config, scrambled_after(PANEL, 100), task.split)
    assert other.prompt(example) == task.prompt(example)


def test_answers_are_read_as_the_environment_reads_them(task: TradeTask) -> None:
    orders = task.parse("<think>RSI up</think>\nBUY 0.5")
    assert task.parse(task.compose(orders, "why")) == orders
    assert [task.action_name(task.parse(text)) for text in ("BUY 1", "SELL", "HOLD")] == ["BUY", "SELL", "HOLD"]


def test_without_masks_only_the_stocks_of_the_episode_can_be_named() -> None:
    task = task_of(env={"days": 8, "mask": False})
    env = task.env("train")
    task.reset(env, task.example(100))
    (name,) = env.names
    other = next(ticker for ticker in PANEL.tickers if ticker != name)
    assert task.parse("BUY 0.5", env.names) == task.parse(f"BUY {name} 0.5", env.names) == [Order("BUY", name, 0.5)]
    with pytest.raises(ParseError, match="there is no stock"):
        task.parse(f"BUY {other} 0.5", env.names)
    with pytest.raises(EnvError, match="give parse"):
        task.parse("BUY 0.5")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"level": "Esy"}, "Did you mean 'Easy'"),
        ({"experts": ["momentun"]}, "Did you mean 'momentum'"),
        ({"weights": {"profits": 1}}, "Did you mean 'profit'"),
        ({"weights": {"profit": 0}}, "nothing would be learned"),
        ({"facts": ["rsi"]}, "facts are"),
        ({"weights": {"profit": float("nan")}}, "finite number"),
        ({"weights": {"profit": 1, "risk": float("inf")}}, "finite number"),
        ({"weights": {"profit": 1, "grade": -2}}, "greater than or equal to 0"),
        ({"discount": float("nan")}, "finite number"),
        ({"env": {"dais": 3}}, "Did you mean 'days'"),
        ({"env": {"observation": "numeric"}}, "Use form"),
    ],
)
def test_settings_that_cannot_be_are_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match=words) as refused:
        TradeConfig(**config)
    assert isinstance(refused.value, ValidationError) or "setting" in str(refused.value)


@pytest.mark.parametrize("name", RULES)
def test_an_expert_that_reads_what_is_not_told_is_refused_with_what_is_missing(name: str) -> None:
    assert TradeConfig(experts=[name], facts=list(READS[name])).experts == [name]
    for fact in READS[name]:
        told = [other for other in FACTS if other != fact]
        with pytest.raises(ValidationError, match=rf"the expert '{name}', which reads .*facts leaves out {fact}:"):
            TradeConfig(experts=["hold", name], facts=told)


def test_who_is_refused_is_told_which_experts_may_stay() -> None:
    with pytest.raises(
        ValidationError, match="leaves out macd_hist: .*told: hold, buy and hold, equal weight, rsi, random"
    ):
        TradeConfig(facts=["rsi_14"])


@pytest.mark.parametrize("name", RULES)
def test_the_facts_that_a_rule_reads_are_the_declared_ones(name: str) -> None:
    """Nothing but what is declared changes an order or a reason, and all of it changes some."""
    played, rng = rule(name), np.random.default_rng(0)
    columns = [fact.name for fact in (*MARKET, *HOLDING)]
    facts_BNK = np.zeros((300, 2, len(columns)), np.float32)
    facts_BNK[..., 0] = 1
    for fact, spread in (("change_5", 3.0), ("macd_hist", 0.5), ("share", 20.0)):
        facts_BNK[..., columns.index(fact)] = rng.normal(0, spread, (300, 2))
    facts_BNK[..., columns.index("rsi_14")] = rng.uniform(10, 90, (300, 2))
    facts_BNK[..., columns.index("share")] = np.abs(facts_BNK[..., columns.index("share")]).round(-1)

    def said(facts_BNK: np.ndarray) -> list[Any]:
        account = np.tile(np.array([60, 100, 20, 0], np.float32), (300, 1))
        vectors = np.concatenate([facts_BNK.reshape(300, -1), account], axis=1)
        state = State(env_config(tickers=2), (("S1", "S2"),) * 300, tuple(range(300)), 0, np.ones(300, np.bool_))
        orders_BN = played.act(vectors, state)
        return [
            (list(orders), played.why(own, orders, ("S1", "S2")))
            for own, orders in zip(facts_BNK, orders_BN, strict=True)
        ]

    before, moving = said(facts_BNK), []
    for fact in FACTS:
        changed = facts_BNK.copy()
        changed[..., columns.index(fact)] = rng.uniform(5, 95, (300, 2)) * rng.choice([-1, 1], (300, 2)) ** (
            fact != "rsi_14"
        )
        if said(changed) != before:
            moving.append(fact)
    assert sorted(moving) == sorted(READS[name])
    assert RULES.keys() == READS.keys()


def test_levels_are_found_in_any_case() -> None:
    assert TradeConfig(level="medium").environment().tickers == 10


# expert episodes ---------------------------------------------------------------------------------


def classes(talk: Conversation) -> list[str]:
    answers = [message["content"] for message in talk.messages if message["role"] == "assistant"]
    return [answer.rpartition("\n")[2].split()[0] for answer in answers]


@pytest.mark.parametrize("turns", [None, 3])
@pytest.mark.parametrize("level", [{"level": "Easy"}, {"level": "Medium"}])
def test_expert_episodes_are_balanced_over_what_is_learned(level: dict[str, Any], turns: int | None) -> None:
    task = task_of(**level)
    talks = task.conversations(300, 0, turns=turns)
    assert {len(talk.learned) for talk in talks} == {turns or task.config.environment().days}
    learned = [
        (answer, flag)
        for talk in talks
        for answer, flag in zip(
            (m["content"] for m in talk.messages if m["role"] == "assistant"), talk.learned, strict=True
        )
    ]
    names = [f"S{n}" for n in range(1, task.config.environment().tickers + 1)]
    sides = Counter(
        "+".join(sorted({order.side for order in parse_orders(answer, names)})) for answer, flag in learned if flag
    )
    assert sides["BUY"] == sides["SELL"] == sides["HOLD"]
    assert sides["BUY+SELL"] == (0 if level["level"] == "Easy" else sides["BUY"])
    assert sum(sides.values()) >= 300
    assert any(not flag for _, flag in learned)
    assert all("<think>" in answer for answer, flag in learned if flag)


def test_the_expert_gives_the_rules_own_orders_and_reasons() -> None:
    trades = 0
    for talk in task_of(experts=["macd"], detours=0.0).conversations(60, 0):
        for seen, said in zip(talk.messages[1::2], talk.messages[2::2], strict=True):
            line = seen["content"].split("\n")[-1]
            above = float(line.partition("MACD ")[2].partition("%")[0])
            expected = "SELL 1" if above < 0 and "held" in line else "BUY 1" if above > 0 and "held" not in line else ""
            if above and expected:
                word = "sell" if above < 0 else "buy"
                assert re.fullmatch(rf"<think>MACD -?\d+\.\d\d, {word}</think>\n{expected}", said["content"])
                trades += 1
            elif above:
                assert said["content"].endswith("</think>\nHOLD")
    assert trades > 40


def test_experts_take_turns_by_day() -> None:
    talks = task_of(experts=["momentum", "macd"], detours=0.0).conversations(200, 0)
    reasons = [
        [m["content"] for m in talk.messages if m["role"] == "assistant" and "," in m["content"]] for talk in talks
    ]
    both = [own for own in reasons if any("5d" in one for one in own) and any("MACD" in one for one in own)]
    assert len(both) > len(talks) / 2


def test_detours_are_taken_and_never_learned() -> None:
    talks = task_of(detours=0.5).conversations(200, 0)
    answers = [
        (message["content"], flag)
        for talk in talks
        for message, flag in zip((m for m in talk.messages if m["role"] == "assistant"), talk.learned, strict=True)
    ]
    detours = [flag for answer, flag in answers if "<think>" not in answer]
    assert 0.4 < len(detours) / len(answers) < 0.6
    assert not any(detours)


def test_reasons_in_words_hold_no_figures() -> None:
    reasons = {
        message["content"].partition("</think>")[0]
        for talk in task_of(figures=False).conversations(100, 0)
        for message in talk.messages
        if message["role"] == "assistant" and "<think>" in message["content"]
    }
    assert not any(character.isdigit() for reason in reasons for character in reason.replace("5d", ""))
    assert {"<think>RSI oversold, buy", "<think>MACD up, buy", "<think>MACD down, sell", "<think>5d up, buy"} <= reasons


@pytest.mark.parametrize("expert", ["hold", "buy and hold"])
def test_an_expert_whose_answers_cannot_be_balanced_is_refused_or_balanced_over_what_there_is(expert: str) -> None:
    if expert == "hold":
        with pytest.raises(RecipeError, match="task.experts: hold only ever say HOLD"):
            task_of(experts=[expert]).conversations(50, 0)
        return
    talks = task_of(experts=[expert], detours=0.0).conversations(50, 0)
    learned = Counter(side for talk in talks for side, flag in zip(classes(talk), talk.learned, strict=True) if flag)
    assert learned["BUY"] == learned["HOLD"] >= 16


def test_the_same_seed_gives_the_same_episodes(task: TradeTask) -> None:
    assert task.conversations(60, 3) == task.conversations(60, 3)
    assert task.conversations(60, 3) != task.conversations(60, 4)


# what days are worth -----------------------------------------------------------------------------


def played(task: TradeTask, policy: Any, count: int = 4) -> Played:
    envs, refused = [task.env("train") for _ in range(count)], np.zeros((8, count))
    for b, env in enumerate(envs):
        task.reset(env, task.example(100 + 10 * b))
        for day in range(8):
            refused[day, b] = env.step(policy(day, b))[4]["refused"]
    return Played(envs, refused)


def test_profit_is_what_the_market_did_not_give(task: TradeTask) -> None:
    invested = day_rewards(played(task, lambda day, b: "HOLD" if day else "BUY 1"))
    assert invested["profit"] == pytest.approx(np.zeros((8, 4)), abs=1e-9)
    idle = day_rewards(played(task, lambda day, b: "HOLD"))
    market = day_rewards(played(task, lambda day, b: "HOLD" if day else "BUY 1"))
    assert idle["risk"] == pytest.approx(0.0)
    # What the market gives in log returns, in its own volatilities.
    assert np.sqrt(-2 * market["risk"]) == pytest.approx(np.abs(idle["profit"]))
    assert 0.3 < np.abs(idle["profit"]).mean() < 2


def test_the_grade_stands_on_the_last_day(task: TradeTask) -> None:
    run = played(task, lambda day, b: ("BUY 1", "SELL 1")[(day + b) % 2])
    grades_DB = day_rewards(run)["grade"]
    assert grades_DB[-1] == pytest.approx([grade(env).total for env in run.envs])
    assert not grades_DB[:-1].any()


def test_a_refused_order_is_no_legal_day(task: TradeTask) -> None:
    legal_DB = day_rewards(
        played(task, lambda day, b: "SELL 1" if b == 1 else "what?" if (b, day) == (2, 3) else "HOLD")
    )
    expected = np.ones((8, 4))
    expected[:, 1] = 0
    expected[3, 2] = 0
    assert (legal_DB["legal"] == expected).all()


def test_a_bankrupt_day_is_worth_what_was_lost_and_the_later_ones_no_more() -> None:
    task = task_of(env={"days": 8, "ruin": 0.999, "commission": 0.05})
    env: TradingEnv = task.env("train")
    task.reset(env, task.example(100))
    assert env.step("BUY 1")[2]
    rewards = day_rewards(Played([env], np.ones((8, 1))))
    assert rewards["risk"][0, 0] < 0
    assert not rewards["risk"][1:].any()


def test_rewards_to_go_are_discounted_by_day() -> None:
    reward_DB = np.array([[1.0, 0.0], [2.0, 0.0], [4.0, 8.0]])
    assert to_go(reward_DB, 0.5) == pytest.approx(np.array([[3.0, 2.0], [4.0, 4.0], [4.0, 8.0]]))
    assert to_go(reward_DB, 1.0)[0] == pytest.approx(reward_DB.sum(axis=0))
    assert to_go(reward_DB, 0.0) == pytest.approx(reward_DB)
