"""Expert trajectories: rules play training episodes and say why; what they say is a conversation to imitate."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tradeschool.env.facts import PER_STOCK, G
from tradeschool.env.harness import State
from tradeschool.env.portfolio import Portfolio
from tradeschool.env.targets import TradingRule
from tradeschool.env.traders import rule
from tradeschool.env.trading import TradingEnv
from tradeschool.errors import RecipeError
from tradeschool.tasks.base import Conversation, Example, Message
from tradeschool.text.orders import SIDES, Order, Side, compose_orders

if TYPE_CHECKING:
    from tradeschool.tasks.trade import TradeTask

BOTH, DETOUR = "BOTH", "DETOUR"


def expert_conversations(
    task: "TradeTask", count: int, seed: int, pool: Sequence[Example], turns: int | None = None
) -> list[Conversation]:
    """Episodes of the task's experts until ``count`` answers bear loss, balanced: as many BUY, SELL and HOLD.

    Every day one of the experts is drawn to answer: where they disagree, the model that imitates them is left in doubt,
    and doubt is what GRPO explores.

    An answer that both buys and sells counts as a class of its own, of which no more bear loss, and fewer where rules
    hardly give it. Most days of most rules are HOLD; imitated as they come they teach to hold always, so of the more
    frequent classes some answers bear no loss. They stay in the conversation. On a share ``detours`` of the days
    somebody else's order is given, which is not learned either: so the expert is seen to leave positions that it would
    not have taken (Laskey et al. 2017, DART).

    Raises:
        RecipeError: the expert gives one class of answers alone.
    """
    rng = np.random.default_rng([seed, 23])
    experts = [rule(name) for name in task.config.experts]
    talks: list[tuple[list[Message], list[str]]] = []
    seen = dict.fromkeys((*SIDES, BOTH, DETOUR), 0)
    for example in _beginnings(task, pool, rng):
        talks.append(_play(task, experts, example, rng, turns))
        for side in talks[-1][1]:
            seen[side] += 1
        if (
            len(SIDES) * _rarest(seen) + min(seen[BOTH], _rarest(seen)) >= count
            or sum(seen.values()) >= MOST_ANSWERS * count
        ):
            break
    if len(given := [side for side in (*SIDES, BOTH) if seen[side]]) < 2:
        raise RecipeError(
            f"task.experts: {', '.join(task.config.experts)} only ever say {given[0]}, which would teach nothing else. "
            "Choose a rule that trades, such as rules, macd or momentum."
        )
    return _balanced(talks, _rarest(seen), rng)


MOST_ANSWERS = 20
"""Answers played for each one that is asked for, at most: a rule that never sells cannot be balanced."""


def _beginnings(task: "TradeTask", pool: Sequence[Example], rng: np.random.Generator) -> Iterator[Example]:
    """The pool in random order, again and again with other stocks."""
    variant = 0
    while True:
        for i in rng.permutation(len(pool)):
            yield task.example(pool[i].t, variant)
        variant += 1


def _rarest(seen: dict[str, int]) -> int:
    """How many answers of each class can bear loss; classes that a rule never gives are left out."""
    return min((seen[side] for side in SIDES if seen[side]), default=0)


def _play(
    task: "TradeTask", experts: Sequence[TradingRule], example: Example, rng: np.random.Generator, turns: int | None
) -> tuple[list[Message], list[str]]:
    """One episode as messages, and the class of each answer."""
    env = TradingEnv(task.data, **task.config.environment().model_dump())
    messages = task.first_messages(env, task.reset(env, example))
    # What a rule remembers is its own.
    states = [State(env.config, (env.names,), (example.variant,), 0, np.ones(1, np.bool_)) for _ in experts]
    sides: list[str] = []
    over = False
    while not over:
        advice = [_answer(env, *pair, task.config.figures) for pair in zip(experts, states, strict=True)]
        by_expert = rng.random() >= task.config.detours
        answer, side = advice[rng.integers(len(advice))] if by_expert else _detour(env, rng)
        messages.append({"role": "assistant", "content": answer})
        sides.append(side)
        observation, _, terminated, truncated, _ = env.step(answer)
        over = terminated or truncated or len(sides) == turns
        for state in states:
            state.day += 1
        if not over:
            messages.append({"role": "user", "content": task.heard(observation)})
    return messages, sides


def _detour(env: TradingEnv, rng: np.random.Generator) -> tuple[str, str]:
    """All of a stock bought where it is not held, or sold where it is."""
    n = int(rng.integers(len(env.names)))
    side: Side = "SELL" if env.portfolio.shares[n] else "BUY"
    return compose_orders([Order(side, None if len(env.names) == 1 else env.names[n], 1.0)]), DETOUR


def _answer(env: TradingEnv, expert: TradingRule, state: State, figures: bool) -> tuple[str, str]:
    assert isinstance(env.portfolio, Portfolio)  # an environment of texts has no other
    vector = env.portfolio.vector(state.day)
    orders_N = expert.act(vector[None], state)[0]
    reason = expert.why(vector[:-G].reshape(-1, PER_STOCK), orders_N, env.names)
    reason = reason if figures else _FIGURE.sub(_in_words, reason)
    single = len(env.names) == 1
    if single:
        reason = reason.replace(f"{env.names[0]} ", "")
    orders = [
        Order("BUY" if order > 0 else "SELL", None if single else name, abs(round(float(order), 2)))
        for name, order in zip(env.names, orders_N, strict=True)
        if order
    ]
    sides = {order.side for order in orders}
    return compose_orders(orders, reason), BOTH if len(sides) > 1 else next(iter(sides), "HOLD")


_FIGURE = re.compile(r" ([+-]?)\d+(?:\.\d+)?%?(?!\w)( oversold| overbought)?")


def _in_words(figure: re.Match[str]) -> str:
    """The word that says what a figure means, or whether it is up or down."""
    return figure[2] or (" down" if figure[1] == "-" else " up")


def _balanced(
    talks: Sequence[tuple[list[Message], list[str]]], each: int, rng: np.random.Generator
) -> list[Conversation]:
    """The conversations with ``each`` answers of every class, or all there are, marked as learned, drawn at random."""
    sides = np.array([side for _, own in talks for side in own])
    learned = np.zeros(len(sides), np.bool_)
    for side in (*SIDES, BOTH):
        places = np.flatnonzero(sides == side)
        learned[rng.permutation(places)[:each]] = True
    ends = np.cumsum([len(own) for _, own in talks])[:-1]
    return [
        Conversation(messages, flags.tolist())
        for (messages, _), flags in zip(talks, np.split(learned, ends), strict=True)
    ]
