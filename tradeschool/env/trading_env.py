"""The trading environment: one episode with one account, as text, as numbers or as a conversation."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import gymnasium

from tradeschool.chat import Message, StepResult
from tradeschool.env.broker import Account, read_text
from tradeschool.env.config import EnvConfig, EnvError, ExecutionParams, env_config, versions
from tradeschool.env.features import G, action_space, observation_space
from tradeschool.env.market_data import Episode, MarketData, as_market_data, draw
from tradeschool.env.render import FACTS, Form, Observation, Question, day_message, system_message
from tradeschool.env.vector_kernel import MIN_EQUITY, MIN_FRACTION, kernel_params
from tradeschool.market.panel import Panel
from tradeschool.market.snapshot import Snapshots
from tradeschool.text.describe import Fact
from tradeschool.text.describe import facts as facts_of
from tradeschool.text.parse import Order, format_orders

SEEDS_APART = 1_000_003
"""Prime, so that the seeds of different rows and variants differ."""
WITHOUT_RULES = "Trade."
"""The first message of a conversation without instructions."""


class TradingEnv(gymnasium.Env[Any, Any]):
    """Trade a portfolio of stocks over a stretch of a market, with one decision a day.

    ## Description

    The environment replays daily bars. A decision is made after the close of a day, with what is known at that close,
    and filled at the next day's open. Slippage makes the price worse; commission is a share of the traded value. Within
    a day, orders against a position (SELL of a holding, BUY of a short) are filled first, then orders that open or add
    to one, from the buying power that is left; the order of the lines does not matter. An order is filled up to
    ``volume_share`` of that day's volume and the rest lapses, all of it if the stock has no bar that day. A holding
    without a bar is valued at its last close. If no bar follows, and the market goes on for five days or more, the
    holding is closed at the last close times 1 + ``delisting_return`` on the first day without a bar.

    ## Action Space

    With ``observation="text"`` a text: one order per line, or several separated by semicolons, after an optional
    ``<think>`` block: ``BUY|SELL|HOLD [TICKER] [fraction]``. With ``observation="numeric"`` a ``Box(-1, 1, (N,))``:
    .05 or more is BUY that fraction, -.05 or less is SELL it, anything between is HOLD. With leverage .05 / (leverage x
    N) takes the place of .05: an equal part of the equity is a small fraction of the buying power there.

    BUY spends a fraction of the buying power (the cash, if long-only without leverage), costs included. If the day's
    fractions sum to more than 1 they are divided by their sum. SELL sells a fraction of the holding. With
    ``short=True`` a SELL without a holding opens a short worth that fraction of the buying power, and a BUY in a short
    covers that fraction of it. Buying power is ``leverage`` times equity less gross exposure, at the open.

    Invalid orders are refused, counted, and named in the next observation: an unreadable line, an unknown stock, a
    fraction outside (0, 1], a stock named twice, a delisted stock, a SELL of nothing, a BUY without cash.

    ## Observation Space

    Numeric, a ``Box`` of float32: per stock the ``MARKET`` and ``HOLDING`` figures of ``env/features.py``, then the
    ``ACCOUNT``; -100 marks a figure that is not known. Text has the same figures, rounded, a line per stock under one
    heading, and says why orders were refused; the vector has their number.

    ## Rewards

    The log return of the equity (cash, and holdings at the close) from one decision to the next, costs included. The
    last day counts. Equity below a millionth of the start counts as a millionth, so that the reward is finite.

    ## Starting State

    All cash, with a start row and stocks drawn at random: stocks with a bar at that row and at least 50 so far.
    ``reset(options={"start": row, "tickers": [...]})`` sets either. With ``mask=True`` stocks are named S1, S2, ... in
    random order and there are no dates.

    ## Episode End

    Truncated after ``days`` decisions. Terminated when the equity is at most ``ruin`` times the start.

    ## Arguments

    ``panel``: a :class:`Panel`, or a :class:`MarketData` that several environments share; the default synthetic
    market if omitted. ``rows``: first and last row that episodes may use. ``render_mode``: "ansi" or None. All other
    arguments are fields of :class:`EnvConfig`. ``info`` holds ``equity``, ``refused`` (orders of the last day),
    ``fills`` (shares by stock), ``messages`` (about orders, in text environments), ``start``, and
    :data:`~tradeschool.env.config.KEYS`, which episodes must share to be compared.

    ## Version History

    * 1.3.0: on a day on which only other stocks trade, an order is taken as on any other day. It had been refused.
    * 1.2.0: with leverage, numbers smaller than .05 are orders, the first message states the buying power, and rules
      (``env/strategies.py``) do not borrow. Without leverage nothing changes.
    * 1.1.0: the smallest equity of the reward applies to the day before too. Otherwise an account without a limit of
      ruin that had lost nearly everything was rewarded every day for doing nothing.
    * 1.0.0: the first.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        panel: Panel | MarketData | None = None,
        *,
        rows: tuple[int, int] | None = None,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        self.config: EnvConfig = env_config(**settings)
        if render_mode not in (None, "ansi"):
            raise EnvError(f"render_mode '{render_mode}': use 'ansi', the observation as text, or None.")
        self.render_mode = render_mode
        self.data = as_market_data(panel)
        self.params = ExecutionParams.of(self.config, self.data.panel.bars_per_year)
        self._is_text = self.config.observation == "text"
        smallest = MIN_FRACTION if self._is_text else self.config.smallest_order
        self._factors = kernel_params(self.params, self.config.cash, smallest)
        self.observation_space = observation_space(self.config, self.data.panel.tickers)
        self.action_space = action_space(self.config)
        self.rows = rows
        self._starts = self.data.start_rows(self.config, rows)
        self.versions = versions(self.config, self.data.data_hash)
        self.level = self.versions["level"]
        self._floor = MIN_EQUITY * self.config.cash
        self._ruin = self.config.ruin * self.config.cash
        self._over = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode. The class describes ``options``.

        Raises:
            EnvError: an option is unknown or not possible.
        """
        super().reset(seed=seed)
        self.episode: Episode = draw(self.data, self.config, self._starts, self.np_random, options)
        self.account = Account(self.episode, self.params, self._factors)
        self.names = self.episode.names
        self.equities = [self.config.cash]
        self.turnovers: list[float] = []
        self.costs: list[float] = []
        self._over = False
        return self._observed(), self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Give a day's orders. The class describes actions.

        Raises:
            EnvError: the episode is over, or the action is not of the action space's kind (which uses up no day).
        """
        if self._over:
            raise EnvError("the episode is over, or has not begun: call reset() before step().")
        account = self.account
        before = account.equity
        (account.trade_text if self._is_text else account.trade_numbers)(action)
        equity = account.equity
        self.equities.append(equity)
        self.turnovers.append(account.turnover)
        self.costs.append(account.costs)
        terminated = self.is_bankrupt
        truncated = not terminated and account.day == self.config.days
        self._over = terminated or truncated
        reward = math.log(max(equity, self._floor) / max(before, self._floor))
        return self._observed(), reward, terminated, truncated, self._info()

    @property
    def is_bankrupt(self) -> bool:
        """Whether the equity is at most ``ruin`` times the start."""
        return self.account.equity <= self._ruin

    @property
    def observed(self) -> Observation:
        """The observation of today as numbers, in text environments too."""
        return self.account.observation()

    def render(self) -> str | None:
        """The observation as text, if ``render_mode`` is "ansi"."""
        return None if self.render_mode is None else self.account.text()

    def _observed(self) -> Any:
        return self.account.text() if self._is_text else self.account.vector()

    def _info(self) -> dict[str, Any]:
        account = self.account
        return {
            "equity": account.equity,
            "refused": account.refused,
            "fills": account.fills,
            "messages": account.messages,
            "start": self.episode.start,
            **self.versions,
        }


class TradingChatEnv:
    """A text environment as a :class:`~tradeschool.chat.ChatEnv`.

    Args:
        env: the environment; it holds the episode, its equities and its account.
        form: how a day is written; see ``env/render.py``.
        facts: the market's figures that are shown.
        question: what a conversation is about. With "stock" a day has an answer for each stock, which fill together.
        describe: facts of ``text/describe.py`` that a message about one stock ends with, such as its news.
        instructions: whether the first message explains the rules; otherwise it is :data:`WITHOUT_RULES`.

    Attributes:
        refused: orders refused, one entry per day so far.
        stock: number of the stock that the next answer is about, with ``question="stock"``.
    """

    def __init__(
        self,
        env: TradingEnv,
        form: Form = "text",
        facts: Sequence[str] = FACTS,
        question: Question = "episode",
        describe: Sequence[str] = (),
        instructions: bool = True,
    ) -> None:
        self.env = env
        self.refused: list[int] = []
        self.stock = 0
        self._orders: list[Order] = []
        self._unread = 0
        self._form, self._facts, self._question, self._describe = form, facts, question, describe
        self._instructions = instructions

    def reset(self, example: Any) -> list[Message]:
        """Begin an episode.

        Args:
            example: its ``payload`` is ``{"seed": int}``, with a start row ``"start"`` or without. With no payload the
                start is row ``example.t``, with the stocks drawn for ``example.variant``.

        Returns:
            The rules, and the first day.
        """
        payload = example.payload or {"seed": example.variant * SEEDS_APART + example.t, "start": example.t}
        options = {"start": payload["start"]} if "start" in payload else None
        self.env.reset(seed=payload["seed"], options=options)
        self.refused = []
        self.stock, self._orders, self._unread = 0, [], 0
        return self._opening()

    def step(self, completion: str) -> StepResult:
        """Give a day's orders, as an answer has them.

        Returns:
            The next day's message, and the reward ``return``. ``info`` holds ``action`` (the orders; None where one
            cannot be read), ``error`` (why), ``state`` (number of stocks held before the answer), ``refused`` (number
            of orders) and, after a bankruptcy, ``stop``.
        """
        if self._question == "stock":
            return self._step_stock(completion)
        state = sum(shares != 0 for shares in self.env.account.shares)
        _, reward, terminated, truncated, info = self.env.step(completion)
        account = self.env.account
        action, error = (None, account.faults[0]) if account.faults else (account.orders, None)
        self.refused.append(info["refused"])
        done = terminated or truncated
        found = {"action": action, "error": error, "state": state, "refused": info["refused"]}
        if terminated:
            found["stop"] = "bankrupt"
        if self._question == "day":
            found["restart"] = True
            return StepResult([] if done else self._opening(), {"return": reward}, done, found)
        return StepResult([] if done else [{"role": "user", "content": self.day()}], {"return": reward}, done, found)

    def _step_stock(self, completion: str) -> StepResult:
        """Take the order for one stock; the day's orders are settled after the last."""
        orders, faults = read_text(completion, self.env.names[self.stock : self.stock + 1])
        self._orders += [order for order in orders if order.side != "HOLD"]
        self._unread += len(faults)
        found: dict[str, Any] = {"action": None if faults else orders, "error": faults[0] if faults else None}
        found |= {"refused": len(faults), "restart": True}
        self.stock = (self.stock + 1) % len(self.env.names)
        if self.stock:
            return StepResult(self._opening(), {"return": 0.0}, False, found)
        _, reward, terminated, truncated, info = self.env.step(format_orders(self._orders))
        self.refused.append(info["refused"] + self._unread)
        self._orders, self._unread = [], 0
        if terminated:
            found["stop"] = "bankrupt"
        done = terminated or truncated
        return StepResult([] if done else self._opening(), {"return": reward}, done, found)

    def _opening(self) -> list[Message]:
        """The rules and today's message."""
        rules = WITHOUT_RULES
        if self._instructions:
            rules = system_message(self.env.config, self._form, self._facts, self._question)
        return [{"role": "system", "content": rules}, {"role": "user", "content": self.day()}]

    def day(self) -> str:
        """Today's message."""
        observed = self.env.observed
        if self._question == "stock":
            figures = [*observed.stocks[self.stock], *observed.figures[-G:]]
            observed = observed._replace(names=[observed.names[self.stock]], figures=figures)
        text = day_message(observed, self._form, self._facts)
        return "\n".join([text, *(fact.text for fact in self.described())])

    def reasoning(self) -> str:
        """The described facts in a word each: what can be said before any order."""
        return " ".join(f"{fact.label} {fact.word}." for fact in self.described())

    def described(self) -> list[Fact]:
        """The described facts of today's stock."""
        if not self._describe:
            return []
        episode, account = self.env.episode, self.env.account
        known = _snapshots(episode.data, episode.config.mask)
        return facts_of(known.at(episode.start + account.day, int(episode.columns[self.stock])), self._describe)


@functools.lru_cache(maxsize=2)
def _snapshots(data: MarketData, mask: bool) -> Snapshots:
    """Computed once for a market, however many environments read it."""
    return Snapshots(data.panel, mask=mask)
