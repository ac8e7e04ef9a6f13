"""Demonstrations: rules trade training episodes and give their reasons, as conversations to imitate."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tradeschool.chat import Message
from tradeschool.env.features import PER_STOCK, G
from tradeschool.env.strategies import State, Strategy, decimals, make_strategy
from tradeschool.env.trading_env import TradingChatEnv
from tradeschool.errors import RecipeError
from tradeschool.market.panel import Floats
from tradeschool.rollout import run_episodes
from tradeschool.tasks.base import Demonstration, Example
from tradeschool.tasks.trade_config import EXPERT, TradeConfig
from tradeschool.text.expert import expert_points
from tradeschool.text.parse import SIDES, Order, Side, format_orders

BOTH, RANDOM = "BOTH", "RANDOM"
"""Classes of answers besides BUY, SELL and HOLD: those that buy and sell, and random actions."""
PARTS = 5
"""Parts of the equity that a single order buys, at most as many as stocks: those of ``SignalStrategy``."""
MOST_ANSWERS = 20
"""Answers played for each one that is wanted, at most: a rule that never sells cannot be balanced."""
_FIGURE = re.compile(r" ([+-]?)\d+(?:\.\d+)?%?(?!\w)( oversold| overbought)?")

Played = tuple[list[Message], list[str]]
"""An episode's messages, and the class of each answer."""


def demonstrate(
    env: TradingChatEnv,
    config: TradeConfig,
    pool: Sequence[Example],
    count: int,
    seed: int,
    turns: int | None = None,
) -> list[Demonstration]:
    """Episodes until ``count`` answers have loss, as many BUY as SELL and HOLD.

    Every day one of the demonstrators is drawn to answer. Where they disagree, the model that imitates them stays
    uncertain, which GRPO needs to explore.

    Most rules hold on most days, and imitating all answers would teach the model to always hold. So some answers of the
    more frequent classes have no loss, though they stay in the conversation. Answers that both buy and sell are a class
    of their own, with loss on at most as many. On a share ``random_action_prob`` of the days a random order is given,
    without loss. It shows how demonstrators leave positions that they would not have taken (Laskey et al. 2017, DART).

    Args:
        env: the environment as a conversation.
        config: the demonstrators, and how they answer.
        pool: the starts to draw from.
        count: answers that bear loss.
        seed: of the run.
        turns: ends every episode after this many answers.

    Raises:
        RecipeError: the demonstrators only ever give one class of answers.
    """
    rng = np.random.default_rng([seed, 23])
    episodes: list[Played] = []
    seen: Counter[str] = Counter()
    for example in _starts(pool, rng):
        chat = Demonstrator(env, config, example, rng)
        (episode,) = run_episodes(chat, [env], [example], max_turns=turns)
        episodes.append((episode.messages, chat.classes))
        seen.update(chat.classes)
        enough = len(SIDES) * _rarest(seen) + min(seen[BOTH], _rarest(seen)) >= count
        if enough or seen.total() >= MOST_ANSWERS * count:
            break
    if len(given := [name for name in (*SIDES, BOTH) if seen[name]]) < 2:
        raise RecipeError(
            f"task.demonstrators: {', '.join(config.demonstrators)} only ever answer {given[0]}, so a model would "
            "learn nothing else. Choose a rule that trades, such as macd or momentum 5d."
        )
    return _balanced(episodes, _rarest(seen), rng)


def _starts(pool: Sequence[Example], rng: np.random.Generator) -> Iterator[Example]:
    """The pool in random order, again and again with other stocks."""
    variant = 0
    while True:
        for i in rng.permutation(len(pool)):
            key = f"{pool[i].key}#{variant}" if variant else pool[i].key
            yield dataclasses.replace(pool[i], key=key, variant=variant)
        variant += 1


def _rarest(seen: Counter[str]) -> int:
    """How many answers of each class can bear loss; classes that the rules never give are left out."""
    return min((seen[side] for side in SIDES if seen[side]), default=0)


class Demonstrator:
    """The rules as the policy of one conversation. It reads the environment's numbers, not the messages.

    Attributes:
        classes: of the answers so far.
        choices: with ``answers: one_order``, all orders of each turn so far, and the number of the one that was given.
        reasonings: with ``answers: one_order``, what each answer so far begins with.
    """

    def __init__(self, chat: TradingChatEnv, config: TradeConfig, example: Example, rng: np.random.Generator) -> None:
        self.classes: list[str] = []
        self.choices: list[tuple[list[Order], int]] = []
        self.reasonings: list[str] = []
        self._chat, self._env, self._config, self._example, self._rng = chat, chat.env, config, example, rng
        self._rules = [make_strategy(name) for name in config.demonstrators if name != EXPERT]

    def start(self, conversations: Sequence[Sequence[Message]], seeds: Sequence[int] | None = None) -> None:
        """Begin an episode. Each rule has a memory of its own."""
        live_B = np.ones(1, np.bool_)
        self._states = [
            State(self._env.config, (self._env.names,), (self._example.variant,), 0, live_B) for _ in self._rules
        ]

    def answer(self, live: Sequence[bool]) -> list[str | None]:
        """The answer of one rule, or a random order."""
        pairs = list(zip(self._rules, self._states, strict=True))
        # Every rule is asked every day, because it may remember what it saw.
        if self._config.answers == "one_order":
            per_day = len(self._env.names) if self._config.question == "stock" else 1
            if (n := len(self.choices) % per_day) == 0:
                vector_1F = self._env.account.vector()[None]
                self._orders_RN = [rule.act(vector_1F, state)[0] for rule, state in pairs]
            text, name = self._one_order(self._orders_RN, None if per_day == 1 else n)
            if n + 1 < per_day:
                self.classes.append(name)
                return [text]
        else:
            answers = [self._by_rule(*pair) for pair in pairs]
            by_rule = self._rng.random() >= self._config.random_action_prob
            text, name = answers[self._rng.integers(len(answers))] if by_rule else self._random_order()
        self.classes.append(name)
        for state in self._states:
            state.day += 1
        return [text]

    def add_user_turn(self, turns: Sequence[Sequence[Message]]) -> None:
        """The messages are not read."""

    def _one_order(self, orders_RN: Sequence[Floats], stock: int | None) -> tuple[str, str]:
        """One of the day's single orders: any, or one that a rule wants, of which sales come first.

        ``stock`` is the number of the only one that may be traded; None where all may.
        """
        choices = self._env.account.single_orders(min(PARTS, len(self._env.names)))
        if stock is not None:
            choices = [order for order in choices if order.ticker in (None, self._env.names[stock])]
        names, by_rule = self._env.names, self._rng.random() >= self._config.random_action_prob
        given = int(self._rng.integers(len(choices)))
        if by_rule:
            drawn = int(self._rng.integers(len(self._config.demonstrators)))
            # The expert comes last, whatever its place in the list.
            orders_N = orders_RN[drawn].tolist() if drawn < len(orders_RN) else self._by_expert(stock or 0)
            wanted = {name: order for name, order in zip(names, orders_N, strict=True) if order}
            agreed = [i for i, order in enumerate(choices) if _agrees(order, wanted)]
            sales = [i for i in agreed if choices[i].side == "SELL"]
            given = int(self._rng.choice(sales or agreed or [0]))
        self.choices.append((choices, given))
        self.reasonings.append(self._chat.reasoning())
        named = len(names) > 1 and stock is None
        return order_text(choices[given], named, self.reasonings[-1]), choices[given].side if by_rule else RANDOM

    def _by_expert(self, stock: int) -> list[float]:
        """What the expert wants to trade of the one stock that the facts describe."""
        wanted = [0.0] * len(self._env.names)
        wanted[stock] = float(expert_points(self._chat.described()))
        return wanted

    def _random_order(self) -> tuple[str, str]:
        """Buy a stock that is not held, of the buying power without leverage, or sell all of one that is."""
        env = self._env
        n = int(self._rng.integers(len(env.names)))
        side: Side = "SELL" if env.account.shares[n] else "BUY"
        fraction = 1.0 if side == "SELL" else round(1.0 / env.config.leverage, decimals(env.config))
        return format_orders([Order(side, None if len(env.names) == 1 else env.names[n], fraction)]), RANDOM

    def _by_rule(self, rule: Strategy, state: State) -> tuple[str, str]:
        """A rule's answer, and its class."""
        names, vector = self._env.names, self._env.account.vector()
        orders_N = rule.act(vector[None], state)[0]
        reason = rule.why(vector[:-G].reshape(-1, PER_STOCK), orders_N, names)
        if not self._config.figures:  # in words: what a figure means, or whether it is up or down
            reason = _FIGURE.sub(lambda figure: figure[2] or (" down" if figure[1] == "-" else " up"), reason)
        single = len(names) == 1
        if single:
            reason = reason.replace(f"{names[0]} ", "")
        digits = decimals(self._env.config)
        orders = [
            Order("BUY" if order > 0 else "SELL", None if single else name, abs(round(float(order), digits)))
            for name, order in zip(names, orders_N, strict=True)
            if order
        ]
        sides = {order.side for order in orders}
        return format_orders(orders, reason), BOTH if len(sides) > 1 else next(iter(sides), "HOLD")


def order_text(order: Order, named: bool, reasoning: str) -> str:
    """The answer that places one order, with the stock's name or without."""
    return format_orders([order if named else order._replace(ticker=None)], reasoning)


def _agrees(order: Order, wanted: Mapping[str, float]) -> bool:
    """Whether a rule that wants to trade ``wanted`` wants this order too."""
    change = wanted.get(order.ticker or "", 0.0)
    return (change > 0 and order.side == "BUY") or (change < 0 and order.side == "SELL")


def by_turn(one: Demonstration) -> list[Demonstration]:
    """A conversation for each learned answer, of an episode in which every turn begins a new one."""
    first = [i for i, message in enumerate(one.messages) if message["role"] == "system"]
    turns = [one.messages[a:b] for a, b in zip(first, [*first[1:], None], strict=True)]
    return [Demonstration(turn, [True]) for turn, learned in zip(turns, one.learned, strict=True) if learned]


def _balanced(episodes: Sequence[Played], each: int, rng: np.random.Generator) -> list[Demonstration]:
    """The episodes with at most ``each`` answers of every class, drawn at random, marked as learned."""
    classes = np.array([name for _, own in episodes for name in own])
    learned = np.zeros(len(classes), np.bool_)
    for name in (*SIDES, BOTH):
        learned[rng.permutation(np.flatnonzero(classes == name))[:each]] = True
    ends = np.cumsum([len(own) for _, own in episodes])[:-1]
    return [
        Demonstration(messages, flags.tolist())
        for (messages, _), flags in zip(episodes, np.split(learned, ends), strict=True)
    ]
