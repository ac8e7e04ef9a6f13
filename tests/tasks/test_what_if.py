"""What-if credit: rewards equal those of an episode played again with the other order."""

from typing import Any

import numpy as np
import pytest
from markets import market, scrambled_after

from tradeschool.errors import RecipeError
from tradeschool.market.splits import split_rows
from tradeschool.rollout import run_episodes
from tradeschool.tasks import what_if
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_config import TradeConfig
from tradeschool.tasks.what_if import DAYS_APART, WhatIf, WhatIfTask
from tradeschool.train.rewards import rewards_to_go

PANEL = market(tickers=12, days=500)
WEIGHTS = {"profit": 1.0, "risk": 0.2, "grade": 0.7, "activity": 0.4, "valid_order": 0.1}
SEEDS = [(0, i) for i in range(3)]


def task_of(panel: Any = PANEL, **config: Any) -> TradeTask:
    settings = {"answers": "one_order", "facts": ["rsi_14"], "demonstrators": ["rsi"], "weights": WEIGHTS, **config}
    return TradeTask(TradeConfig(**settings), panel, split_rows(panel, (0.6, 0.1, 0.3), embargo=16, warmup=60))


class Answers:
    """A chat with known answers, and HOLD afterwards."""

    def __init__(self, answers: list[str]) -> None:
        self._answers = iter(answers)

    def start(self, conversations: Any, seeds: Any = None) -> None:
        """Nothing is read."""

    def add_user_turn(self, turns: Any) -> None:
        """Nothing is read."""

    def answer(self, live: Any) -> list[str | None]:
        return [next(self._answers, "HOLD")]


def replayed(task: TradeTask, example: Any, answers: list[str], day: int) -> float:
    """The weighted and discounted rewards from a day on of an episode with these answers."""
    env = task.chat_env("train")
    episode = run_episodes(Answers(answers), [env], [example])
    discounts = task.turn_discounts or dict.fromkeys(WEIGHTS, 1.0)
    parts = task.episode_rewards(episode)
    return sum(WEIGHTS[name] * rewards_to_go(value_DB, discounts[name])[day, 0] for name, value_DB in parts.items())


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({"tickers": 1}, {"discount": 0.7}),
        ({"tickers": 4}, {"discount": 0.9}),
        ({"tickers": 2, "commission": 0.02, "volume_share": 0.001, "cash": 1e8}, {"discount": 1.0}),
        ({"tickers": 2, "interest": 0.05}, {"advantage": "episode"}),
        ({"tickers": 2, "ruin": 0.985}, {"discount": 0.8}),
    ],
)
def test_a_reward_is_what_the_episode_earns_when_it_is_played_again(settings: Any, more: Any) -> None:
    task = task_of(env={"days": 6, **settings}, **more)
    examples = task.examples("train")[:40:20]
    for example, episode in zip(examples, task.what_if(examples, SEEDS[:2]), strict=True):
        given = [texts[i] for texts, i in zip(episode.answers, episode.given, strict=True)]
        for d, texts in enumerate(episode.answers):
            again = [replayed(task, example, [*given[:d], text], d) for text in texts]
            assert np.allclose(episode.rewards[d], again, atol=1e-12)


def test_a_stock_after_another_is_rewarded_as_one_order_of_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(what_if, "DAYS_APART", 1)
    monkeypatch.setattr(what_if, "MOST_ASKED", 99)
    monkeypatch.setattr(what_if, "WITHOUT_CHOICE", 1.0)
    settings = {"env": {"days": 4, "tickers": 3}, "discount": 0.8}
    task, whole = task_of(question="stock", **settings), task_of(**settings)
    example = task.examples("train")[7]
    turns = task.what_if([example], SEEDS[:1])
    assert len(turns) == 4 * 3

    def named(text: str, stock: int) -> str:
        return text.replace(" ", f" S{stock + 1} ")

    given = [one.answers[0][one.given[0]] for one in turns]
    days = [";".join(named(text, n) for n, text in enumerate(given[i : i + 3])) for i in range(0, 12, 3)]
    for i, one in enumerate(turns):
        again = [replayed(whole, example, [*days[: i // 3], named(text, i % 3)], i // 3) for text in one.answers[0]]
        assert np.allclose(one.rewards[0], again, atol=1e-12)


def test_answers_about_single_stocks_are_settled_together() -> None:
    task = task_of(question="stock", env={"days": 3, "tickers": 2})
    whole = task_of(env={"days": 3, "tickers": 2})
    example = task.examples("train")[7]
    answers = ["BUY 0.5", "BUY 0.25", "nothing", "SELL", "HOLD", "BUY 1"]
    env, other = task.chat_env("train"), whole.chat_env("train")
    episodes = run_episodes(Answers(answers), [env], [example])
    run_episodes(Answers(["BUY S1 0.5; BUY S2 0.25", "SELL S2", "BUY S2 1"]), [other], [example])
    assert env.env.equities == other.env.equities
    assert env.refused == [0, 1, 0]
    assert [turn.result.info["action"] is None for turn in episodes[0].turns] == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]
    assert task.episode_rewards(episodes)["valid_order"][:, 0].tolist() == [1, 0, 1]
    asked = [message["content"] for message in episodes[0].messages if message["role"] == "user"]
    assert [text.splitlines()[1].split()[0] for text in asked] == ["S1", "S2"] * 3


def test_all_orders_of_a_day_are_accepted_and_differ_in_reward() -> None:
    task = task_of(env={"days": 8, "tickers": 3})
    (episode,) = task.what_if(task.examples("train")[:1], SEEDS[:1])
    for d, (texts, rewards) in enumerate(zip(episode.answers, episode.rewards, strict=True)):
        assert len(set(texts)) == len(texts) > 1
        assert len(set(np.round(rewards, 12))) == len(texts)
        assert texts[0] == "HOLD"
        assert episode.messages[1 + 2 * d]["role"] == "user"
        assert "refused" not in episode.messages[1 + 2 * d]["content"]


def test_more_is_earned_by_holding_what_rises() -> None:
    task = task_of(env={"days": 4, "tickers": 1}, weights={"profit": 1.0}, discount=1.0)
    for example in task.examples("train")[:60:10]:
        (episode,) = task.what_if([example], SEEDS[:1])
        chat = task.chat_env("train")
        chat.reset(example)
        opens = chat.env.episode.of(task.data.open_TN)[:, 0]
        rose = task.data.close_TN[example.t + 4, chat.env.episode.columns[0]] / opens[1]
        hold, buy = episode.rewards[0]
        if abs(rose - 1) > 0.01:
            assert (buy > hold) == (rose > 1)


def test_every_day_a_conversation_of_its_own() -> None:
    whole = task_of(env={"days": 9, "tickers": 3})
    daily = task_of(env={"days": 9, "tickers": 3}, question="day")
    example = whole.examples("train")[5]
    (one,) = whole.what_if([example], SEEDS[:1])
    days = daily.what_if([example], SEEDS[:1])
    assert len(days) == 9 // DAYS_APART
    for day in days:
        assert [message["role"] for message in day.messages] == ["system", "user", "assistant"]
        d = next(d for d in range(9) if one.messages[1 + 2 * d]["content"] == day.messages[1]["content"])
        assert (day.answers, day.given) == ([one.answers[d]], [one.given[d]])
        assert np.allclose(day.rewards[0], one.rewards[d])


@pytest.mark.parametrize("question", ["episode", "day", "stock"])
def test_no_message_depends_on_later_days(question: Any) -> None:
    def shown(panel: Any) -> list[WhatIf]:
        task = task_of(panel, env={"days": 6, "tickers": 2}, question=question)
        return task.what_if([task.example(100)], SEEDS[:1])

    for last in (102, 104):
        shown_days = [
            [message["content"] for one in episodes for message in one.messages if message["role"] == "user"]
            for episodes in (shown(PANEL), shown(scrambled_after(PANEL, last)))
        ]
        upto = [[text for text in texts if int(text.split()[1]) <= last - 100] for texts in shown_days]
        assert upto[0] == upto[1] != []


def test_the_same_seeds_give_the_same_episodes_whatever_else_is_in_the_batch() -> None:
    task = task_of(env={"days": 6, "tickers": 3})
    examples = task.examples("train")[:3]
    together = task.what_if(examples, SEEDS)
    (alone,) = task.what_if(examples[1:2], SEEDS[1:2])
    assert together[1].messages == alone.messages
    assert all(np.allclose(a, b) for a, b in zip(together[1].rewards, alone.rewards, strict=True))


def test_orders_that_are_no_finite_set_are_refused() -> None:
    task = task_of(answers="reasons")
    assert isinstance(task, WhatIfTask)
    with pytest.raises(RecipeError, match="answers: one_order"):
        task.what_if(task.examples("train")[:1], SEEDS[:1])
    with pytest.raises(ValueError, match="Set answers: one_order"):
        TradeConfig(question="stock")
    with pytest.raises(ValueError, match=r"env\.leverage: 1"):
        TradeConfig(answers="one_order", env={"leverage": 2})
