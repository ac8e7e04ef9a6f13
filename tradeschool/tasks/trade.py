"""The trade task: a whole episode of the trading environment, as a conversation of one answer a day."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from tradeschool.env.config import EnvError
from tradeschool.env.conversation import first_messages, turn
from tradeschool.env.data import MarketData
from tradeschool.env.trading import TradingEnv
from tradeschool.market.panel import Panel
from tradeschool.market.splits import Split
from tradeschool.tasks.base import Conversation, Example, Message, Prompt, SplitName, Task
from tradeschool.tasks.trade_config import COMPONENTS, TradeConfig
from tradeschool.tasks.trajectories import expert_conversations
from tradeschool.tasks.versions import TRADE_VERSION
from tradeschool.text.orders import Order, compose_orders, parse_orders

SEEDS_APART = 1_000_003
"""Prime, so that seeds of the draws of different rows do not meet."""


@dataclass
class TradeTask(Task):
    """Trade a stretch of the market, a conversation of one answer a day.

    An :class:`Example` is a beginning: row ``t``, with stocks drawn under ``variant``. Prompt: the rules and the first
    day. Answer: orders (``text/orders.py``), after a ``<think>`` block. Scored is the episode (``trade_rewards.py``).
    """

    config: TradeConfig
    panel: Panel
    split: Split
    name: str = "trade"
    version: str = TRADE_VERSION
    words: Sequence[str] = ("<think>", "</think>", "BUY", "SELL", "HOLD")
    action_names: Sequence[str] = ("BUY", "SELL", "HOLD")
    episodic: bool = True
    data: MarketData = field(init=False, repr=False)

    config_class: ClassVar[type[BaseModel]] = TradeConfig

    def __post_init__(self) -> None:
        self.weights = {**dict.fromkeys(COMPONENTS, 0.0), **self.config.weights}
        self.data = MarketData(self.panel)

    def rows(self, split: SplitName) -> NDArray[np.int64]:
        """Date rows of a split."""
        return self.split.rows(split)

    def env(self, split: SplitName, observation: str = "text") -> TradingEnv:
        """The environment on the rows of a split.

        Raises:
            EnvError: the split has no row that an episode fits behind.
        """
        settings = self.config.environment(observation=observation).model_dump()
        return TradingEnv(self.data, rows=self.split.ends(split), **settings)

    def examples(self, split: SplitName) -> list[Example]:
        """Every row of a split at which an episode can begin and end within it."""
        starts = self.data.start_rows(self.config.environment(), self.split.ends(split))
        return [self.example(t) for t in starts.tolist()]

    def example(self, t: int, variant: int = 0) -> Example:
        """A beginning at row ``t`` with the stocks of draw ``variant``."""
        date = self.panel.dates_T[t].astype("datetime64[D]")
        return Example(f"{date}#{variant}" if variant else str(date), t, 0, variant)

    def reset(self, env: TradingEnv, example: Example) -> str:
        """Begin the episode of an example; the first observation."""
        observation: str = env.reset(seed=example.variant * SEEDS_APART + example.t, options={"start": example.t})[0]
        return observation

    def prompt(self, example: Example) -> Prompt:
        """The rules and the first day."""
        env = TradingEnv(self.data, **self.config.environment().model_dump())
        return Prompt(example.key, self.first_messages(env, self.reset(env, example)))

    def first_messages(self, env: TradingEnv, observation: str) -> list[Message]:
        """What the conversation about an episode begins with."""
        return first_messages(env.config, observation, self.config.form, self.config.facts)

    def heard(self, observation: str) -> str:
        """A day's message."""
        return turn(observation, self.config.form, self.config.facts)

    def parse(self, text: str, names: Sequence[str] | None = None) -> list[Order]:
        """The orders of an answer.

        Args:
            text: the answer.
            names: the stocks as the episode calls them (``TradingEnv.names``); may be left out where they are masked.

        Raises:
            ParseError: an order cannot be read.
            EnvError: stocks are not masked, and which of them the episode has was not said.
        """
        settings = self.config.environment()
        if names is None and not settings.mask:
            raise EnvError("which stocks an answer may name is its episode's affair: give parse() its names.")
        return parse_orders(text, names or [f"S{n}" for n in range(1, settings.tickers + 1)])

    def compose(self, action: Sequence[Order], reasoning: str) -> str:
        """The answer that gives orders."""
        return compose_orders(action, reasoning)

    def action_name(self, action: Any) -> str:
        """BUY where anything is bought, else SELL where anything is sold, else HOLD."""
        sides = {order.side for order in action}
        return next((side for side in ("BUY", "SELL") if side in sides), "HOLD")

    def conversations(
        self, count: int, seed: int, pool: Sequence[Example] | None = None, turns: int | None = None
    ) -> list[Conversation]:
        """The experts' episodes; see ``trajectories.py``."""
        return expert_conversations(self, count, seed, self.examples("train") if pool is None else pool, turns)

    def texts(self, count: int, seed: int) -> list[str]:
        """All messages of episodes of the expert's."""
        return [message["content"] for talk in self.conversations(count, seed) for message in talk.messages]
