"""The trade task: an episode of the trading environment, as a conversation with one answer a day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from tradeschool.chat import Episode
from tradeschool.env.config import EnvError
from tradeschool.env.market_data import MarketData
from tradeschool.env.trading_env import TradingChatEnv, TradingEnv
from tradeschool.errors import RecipeError
from tradeschool.market.panel import Floats, Panel
from tradeschool.market.splits import Split
from tradeschool.tasks.base import Demonstration, Example, Message, SplitName, Task
from tradeschool.tasks.demonstrations import by_turn, demonstrate
from tradeschool.tasks.trade_config import COMPONENTS, TradeConfig
from tradeschool.tasks.trade_rewards import day_rewards
from tradeschool.tasks.what_if import WhatIf, what_if
from tradeschool.text.parse import Order, format_orders, parse_orders

OF_THE_EPISODE = ("grade", "activity")
"""Components on the last day that count for all days alike."""


@dataclass
class TradeTask(Task):
    """Trade a stretch of the market, with one answer a day.

    An :class:`Example` is a start: row ``t``, with stocks drawn under ``variant``. The first messages are the rules and
    the first day. An answer is orders (``text/parse.py``), after an optional ``<think>`` block.
    """

    config: TradeConfig
    panel: Panel
    split: Split
    name: str = "trade"
    version: str = "1.0.0"
    action_names: Sequence[str] = ("BUY", "SELL", "HOLD")
    episodic: bool = True
    data: MarketData = field(init=False, repr=False)

    config_class: ClassVar[type[BaseModel]] = TradeConfig

    def __post_init__(self) -> None:
        self.weights = {**dict.fromkeys(COMPONENTS, 0.0), **self.config.weights}
        self.data = MarketData(self.panel)

    @property
    def special_tokens(self) -> Sequence[str]:  # type: ignore[override]
        """The words of an answer, and the stocks' names where they are hidden."""
        environment = self.config.environment()
        names = [f"S{n}" for n in range(1, environment.tickers + 1)] if environment.mask else []
        return ("<think>", "</think>", "BUY", "SELL", "HOLD", *names)

    # episodes

    def rows(self, split: SplitName) -> NDArray[np.int64]:
        """The date rows of a split."""
        return self.split.rows(split)

    def examples(self, split: SplitName) -> list[Example]:
        """Every row of a split at which an episode can start and still end within the split."""
        starts = self.data.start_rows(self.config.environment(), self.split.ends(split))
        return [self.example(t) for t in starts.tolist()]

    def example(self, t: int, variant: int = 0) -> Example:
        """A start at row ``t`` with the stocks of draw ``variant``."""
        date = self.panel.dates_T[t].astype("datetime64[D]")
        return Example(f"{date}#{variant}" if variant else str(date), t, 0, variant)

    def variant(self, example: Example, number: int) -> Example:
        """The same start with another draw of stocks."""
        return self.example(example.t, number)

    def env(self, split: SplitName | None, observation: str = "text") -> TradingEnv:
        """The environment on the rows of a split; on all rows where ``split`` is None.

        Raises:
            EnvError: the split has no row with a whole episode after it.
        """
        settings = self.config.environment(observation=observation).model_dump()
        return TradingEnv(self.data, rows=None if split is None else self.split.ends(split), **settings)

    def chat_env(self, split: SplitName | None) -> TradingChatEnv:
        """The environment on the rows of a split, as a conversation."""
        config, env = self.config, self.env(split)
        return TradingChatEnv(
            env, config.form, config.facts, config.question, config.describe, instructions=config.instructions
        )

    def messages(self, example: Example) -> list[Message]:
        """The rules and the first day."""
        return self.chat_env(None).reset(example)

    # answers

    def parse(self, completion: str, names: Sequence[str] | None = None) -> list[Order]:
        """The orders of an answer.

        Args:
            completion: the answer.
            names: the stocks as the episode calls them (``TradingEnv.names``). Not needed where they are masked.

        Raises:
            ParseError: an order cannot be read.
            EnvError: stocks are not masked, and ``names`` is missing.
        """
        settings = self.config.environment()
        if names is None and not settings.mask:
            raise EnvError("stocks are not masked, so what an answer may name depends on its episode: give names.")
        return parse_orders(completion, names or [f"S{n}" for n in range(1, settings.tickers + 1)])

    def format_answer(self, action: Sequence[Order], reasoning: str) -> str:
        """The answer that states orders."""
        return format_orders(action, reasoning)

    def action_name(self, action: Any) -> str:
        """BUY where anything is bought, else SELL where anything is sold, else HOLD."""
        sides = {order.side for order in action}
        return next((side for side in ("BUY", "SELL") if side in sides), "HOLD")

    # training

    @property
    def turn_discounts(self) -> Mapping[str, float] | None:
        """By component: 1 for those of the whole episode, else the recipe's ``discount``; None by episode."""
        if self.config.advantage == "episode":
            return None
        return {name: 1.0 if name in OF_THE_EPISODE else self.config.discount for name in self.weights}

    def episode_rewards(self, episodes: Sequence[Episode]) -> dict[str, Floats]:
        """[D, B] of each component; see :func:`~tradeschool.tasks.trade_rewards.path_rewards`."""
        envs: list[TradingEnv] = []
        refused_DB = np.ones((self.config.environment().days, len(episodes)))
        for b, episode in enumerate(episodes):
            assert isinstance(episode.env, TradingChatEnv)
            envs.append(episode.env.env)
            refused_DB[: len(episode.env.refused), b] = episode.env.refused
        return day_rewards(envs, refused_DB)

    def what_if(self, examples: Sequence[Example], seeds: Sequence[Sequence[int]]) -> list[WhatIf]:
        """Episodes with what every order of every day would have earned; see ``what_if.py``.

        Raises:
            RecipeError: answers are not single orders, so there is no finite set of them.
        """
        if self.config.answers != "one_order":
            raise RecipeError(
                "task.answers is reasons, whose decisions are not a finite set: a reason says which order follows. For "
                "group: decisions set answers: one_order."
            )
        discounts = self.turn_discounts or dict.fromkeys(self.weights, 1.0)
        return what_if(self.chat_env("train"), self.config, self.weights, discounts, examples, seeds)

    def demonstrations(
        self, count: int, seed: int, pool: Sequence[Example] | None = None, turns: int | None = None
    ) -> list[Demonstration]:
        """Episodes of the demonstrators; see ``demonstrations.py``."""
        pool = self.examples("train") if pool is None else pool
        starts = [self.example(example.t) for example in pool]
        found = demonstrate(self.chat_env(None), self.config, starts, count, seed, turns)
        return found if self.config.question == "episode" else [turn for one in found for turn in by_turn(one)]

    def tokenizer_texts(self, count: int, seed: int) -> list[str]:
        """All messages of demonstrations with ``count`` answers that bear loss."""
        return [message["content"] for one in self.demonstrations(count, seed) for message in one.messages]
