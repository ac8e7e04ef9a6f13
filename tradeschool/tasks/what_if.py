"""What-if credit: what every order of a day would have earned, exactly.

An order moves no price, so an episode can be played again from any day with another order. Each order of a day's finite
set is placed in a copy of the account of that day, and nothing is traded afterwards. What this copy earns, discounted
as with ``advantage: turn``, is the order's reward. The orders of a day share all that came before them and the market,
so they differ by what the changed position earns, less its costs.

Why nothing is traded afterwards: with the orders of the episode replayed, the difference would also contain the luck of
those orders, and end at random when one of them closes the position. ``discount`` says how long a position counts.

Shapes: B episodes, D days, N stocks, F copies of accounts (all orders of a day in all episodes), A orders of a day.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tradeschool.chat import Message
from tradeschool.env.broker import signed_fractions
from tradeschool.env.grading import market_portfolios, reset_options
from tradeschool.env.market_data import Episode as MarketEpisode
from tradeschool.env.trading_env import TradingChatEnv
from tradeschool.env.vector_env import VectorTradingEnv
from tradeschool.market.panel import Floats
from tradeschool.rollout import run_episodes
from tradeschool.tasks.base import Example
from tradeschool.tasks.demonstrations import Demonstrator, order_text
from tradeschool.tasks.trade_config import TradeConfig
from tradeschool.tasks.trade_rewards import path_rewards
from tradeschool.text.parse import Order

DAYS_APART = 3
"""From one question to the next of an episode, where every day is a conversation of its own."""
MOST_ASKED = 24
"""Questions of such an episode, at most."""
WITHOUT_CHOICE = 0.2
"""Share of the turns with one possible answer (no cash, nothing held) that are questions."""
Choices = Sequence[tuple[list[Order], int]]
"""By turn, all orders, and the number of the one that was given."""


@dataclass(frozen=True)
class WhatIf:
    """One episode, with all answers that each of its turns could have had.

    Attributes:
        messages: the conversation as it was played.
        answers: by turn, the texts of all answers.
        given: by turn, the number of the one that was given.
        rewards: by turn, what each answer would have earned, [A].
        classes: by turn, the class of each answer.
    """

    messages: list[Message]
    answers: list[list[str]]
    given: list[int]
    rewards: list[Floats]
    classes: list[list[str]]

    def by_turn(self) -> list["WhatIf"]:
        """A conversation for each answer, where every turn began a new one of three messages."""
        return [
            WhatIf(self.messages[3 * i : 3 * i + 3], [texts], [given], [rewards], [classes])
            for i, (texts, given, rewards, classes) in enumerate(
                zip(self.answers, self.given, self.rewards, self.classes, strict=True)
            )
        ]


@runtime_checkable
class WhatIfTask(Protocol):
    """What a :class:`~tradeschool.rollout.MultiTurnTask` has in addition for ``group: decisions``."""

    def what_if(self, examples: Sequence[Example], seeds: Sequence[Sequence[int]]) -> list[WhatIf]:
        """An episode of each example, with answers drawn from the seeds, whoever gives them.

        An episode may come as several conversations of fewer turns.
        """


def what_if(
    chat: TradingChatEnv,
    config: TradeConfig,
    weights: Mapping[str, float],
    discounts: Mapping[str, float],
    examples: Sequence[Example],
    seeds: Sequence[Sequence[int]],
) -> list[WhatIf]:
    """Episodes of the demonstrators, with random orders in between, and what every order would have earned.

    Whose episodes they are matters little, because rewards are exact for every order of every day: the episodes only
    decide which holdings occur.

    Args:
        chat: the environment as a conversation, with ``answers: one_order``.
        config: of the task.
        weights: of the reward components.
        discounts: by component, what a later day's reward counts.
        examples: the starts.
        seeds: of what is drawn in each episode.
    """
    episodes: list[MarketEpisode] = []
    messages: list[list[Message]] = []
    choices: list[Choices] = []
    reasonings: list[list[str]] = []
    for example, seed in zip(examples, seeds, strict=True):
        rules = Demonstrator(chat, config, example, np.random.default_rng(seed))
        (conversation,) = run_episodes(rules, [chat], [example])
        episodes.append(chat.env.episode)
        messages.append(conversation.messages)
        choices.append(rules.choices)
        reasonings.append(rules.reasonings)
    turns = len(episodes[0].names) if config.question == "stock" else 1
    by_day = [[own[i : i + turns] for i in range(0, len(own), turns)] for own in choices]
    rewards = choice_rewards(episodes, by_day, weights, discounts)
    named = turns == 1 and len(episodes[0].names) > 1
    played = [
        WhatIf(
            messages=messages[b],
            answers=[
                [order_text(order, named, reasoning) for order in orders]
                for (orders, _), reasoning in zip(choices[b], reasonings[b], strict=True)
            ],
            given=[given for _, given in choices[b]],
            rewards=rewards[b],
            classes=[[order.side for order in orders] for orders, _ in choices[b]],
        )
        for b in range(len(episodes))
    ]
    if config.question == "episode":
        return played
    return [one for episode, seed in zip(played, seeds, strict=True) for one in _asked(episode, turns, seed)]


def _asked(episode: WhatIf, per_day: int, seed: Sequence[int]) -> list[WhatIf]:
    """The turns of an episode that are questions.

    Orders of neighbouring days are rewarded with nearly the same moves, so every third day teaches more per question;
    and so do few stocks of many episodes.
    """
    rng = np.random.default_rng([*seed, DAYS_APART])
    start, turns = int(rng.integers(DAYS_APART)), episode.by_turn()
    asked = [
        i
        for i in range(len(turns))
        if i // per_day % DAYS_APART == start and (len(turns[i].answers[0]) > 1 or rng.random() < WITHOUT_CHOICE)
    ]
    return [turns[i] for i in sorted(rng.permutation(asked)[:MOST_ASKED].tolist())]


def choice_rewards(
    episodes: Sequence[MarketEpisode],
    choices: Sequence[Sequence[Choices]],
    weights: Mapping[str, float],
    discounts: Mapping[str, float],
) -> list[list[Floats]]:
    """The weighted reward of every order of every turn, by episode; see :func:`what_if`.

    Args:
        episodes: stocks and days.
        choices: by episode and day, those of its turns.
        weights: of the reward components.
        discounts: by component.
    """
    data, config = episodes[0].data, episodes[0].config
    env = VectorTradingEnv(data, len(episodes), **{**config.model_dump(), "observation": "numeric"})
    env.reset(options=reset_options(episodes))
    markets = market_portfolios(episodes)
    equity_DB = np.full((config.days + 1, len(episodes)), config.cash)
    traded_B = np.zeros(len(episodes))
    found: list[list[Floats]] = [[] for _ in episodes]
    for day in range(config.days):
        turns = [(b, *turn) for b, own in enumerate(choices) if day < len(own) for turn in own[day]]
        owner_F = np.array([b for b, orders, _ in turns for _ in orders], np.intp)
        orders_FN = np.array([signed_fractions([one], episodes[b].names) for b, orders, _ in turns for one in orders])
        paths = _hold_after(env, day, owner_F, orders_FN, equity_DB, traded_B)
        parts = path_rewards(*paths, [markets[b] for b in owner_F])
        total_F = np.zeros(len(owner_F))
        for name, value_DF in parts.items():
            total_F += weights[name] * (discounts[name] ** np.arange(config.days - day) @ value_DF[day:])
        given_BN = np.zeros((len(episodes), config.tickers))
        first = 0
        for b, orders, given in turns:
            found[b].append(total_F[first : first + len(orders)])
            given_BN[b] += signed_fractions([orders[given]], episodes[b].names)
            first += len(orders)
        info = env.step(given_BN)[-1]  # type: ignore[arg-type]
        equity_DB[day + 1] = info["equity"]
        traded_B += info["turnover"] / config.cash
    return found


def _hold_after(
    env: VectorTradingEnv, day: int, owner_F: NDArray[np.intp], orders_FN: Floats, equity_DB: Floats, traded_B: Floats
) -> tuple[Floats, NDArray[np.int64], Floats, Floats]:
    """Copies of accounts place an order and hold: equity, days lasted, value traded over the start, refused orders."""
    days, fork = env.config.days, env.fork(owner_F)
    equity_DF, traded_F = equity_DB[:, owner_F], traded_B[owner_F]
    refused_DF, lasted_F = np.zeros((days, len(owner_F))), np.full(len(owner_F), days)
    for later in range(day, days):
        live_F = lasted_F == days
        _, _, terminated_F, _, info = fork.step(orders_FN)  # type: ignore[arg-type]
        equity_DF[later + 1] = np.where(live_F, info["equity"], equity_DF[later])
        traded_F = traded_F + np.where(live_F, info["turnover"], 0.0) / env.config.cash
        refused_DF[later] = np.where(live_F, info["refused"], 1)
        lasted_F[live_F & terminated_F] = later + 1
        orders_FN = np.zeros_like(orders_FN)
    return equity_DF, lasted_F, traded_F, refused_DF
