"""The account of an episode: reads an action, settles it, and says what became of each order.

``vector_kernel.py`` settles orders and counts refusals. It does not say why: that is derived here, from the account
before the day, and only on days when there is something to report.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.config import EnvError, ExecutionParams
from tradeschool.env.features import MAX_REFUSED, PER_STOCK, G
from tradeschool.env.market_data import Episode
from tradeschool.env.render import Observation, market_words, observation_text
from tradeschool.env.vector_kernel import ACCOUNT, CASH, EQUITY, FILL, HELD, SHARES, UNIT, settle_days
from tradeschool.market.panel import Floats
from tradeschool.text.parse import Order, read_orders

NOT_LISTED, NO_POSITION, NO_CASH = "not listed", "no position", "no cash"
"""Why an order is refused."""
LAPSED, PARTLY, DELISTED = "lapsed", "partly", "delisted"
"""An accepted order that was not filled, or not in full; a holding whose stock no longer trades."""
_WORDS = {
    NOT_LISTED: "refused, it is no longer listed",
    NO_POSITION: "refused, there was no position to sell",
    NO_CASH: "refused, there was no buying power",
    LAPSED: "lapsed, it was not traded",
}


class Outcome(NamedTuple):
    """What happened to the order in, or the holding of, stock number ``stock``; ``filled`` is the share filled."""

    kind: str
    stock: int
    filled: float = 0.0


def order_outcomes(
    wanted_N: Sequence[float], shares_N: Floats, unit: float, lines_N: NDArray[Any], params: ExecutionParams
) -> list[Outcome]:
    """What was refused, lapsed, partly filled or delisted on a day, in the order in which it happened.

    Args:
        wanted_N: the orders in [-1, 1]; 0 means no order.
        shares_N: held before the day, in shares.
        unit: money for an opening order of fraction 1, in currency; 0 where there was no buying power.
        lines_N: the stocks' day, as ``features.LINE``.
        params: costs and limits.

    Returns:
        Reducing orders and refusals first, then opening orders, then delistings.
    """
    reducing: list[Outcome] = []
    opening: list[Outcome] = []
    limits_N = (lines_N["volume"] * params.volume_share).tolist()
    stocks = zip(
        wanted_N, shares_N.tolist(), limits_N, lines_N["open"].tolist(), lines_N["listed"].tolist(), strict=True
    )
    for n, (want, held, limit, price, listed) in enumerate(stocks):
        if want == 0.0:
            continue
        if not listed:
            reducing.append(Outcome(NOT_LISTED, n))
        elif want * held < 0.0:
            reducing += _cut(n, abs(held * want), limit)
        elif want < 0.0 and not params.short:
            reducing.append(Outcome(NO_POSITION, n))
        elif not unit:
            opening.append(Outcome(NO_CASH, n))
        else:
            opening += _cut(n, abs(unit * want / (price * (params.buy if want > 0.0 else params.slipped_sell))), limit)
    ended = (lines_N["ended"] & (shares_N != 0.0)).nonzero()[0]
    return [*reducing, *opening, *(Outcome(DELISTED, n) for n in ended.tolist())]


def _cut(n: int, ordered: float, limit: float) -> list[Outcome]:
    """What the volume limit did to an order of ``ordered`` shares."""
    return [Outcome(PARTLY if limit else LAPSED, n, limit / ordered)] if ordered > limit else []


def outcome_message(outcome: Outcome, wanted_N: Sequence[float], names: Sequence[str], params: ExecutionParams) -> str:
    """One sentence about an outcome."""
    name = names[outcome.stock]
    if outcome.kind == DELISTED:
        return f"{name} was delisted: closed at {100 * params.delisting:.0f}% of its last close"
    side = "BUY" if wanted_N[outcome.stock] > 0 else "SELL"
    if outcome.kind == PARTLY:
        return f"{side} {name} filled to {100 * outcome.filled:.0f}%, the volume limit"
    return f"{side} {name} {_WORDS[outcome.kind]}"


def read_text(action: Any, names: Sequence[str]) -> tuple[list[Order], list[str]]:
    """The orders of a text action, and why others cannot be read.

    Raises:
        EnvError: the action is not text.
    """
    if not isinstance(action, str):
        raise EnvError(f"a text environment takes text, not {type(action).__name__}. Write BUY, SELL or HOLD.")
    return read_orders(action, names)


def signed_fractions(orders: Sequence[Order], names: Sequence[str]) -> list[float]:
    """The fraction to trade of each stock, negative to sell."""
    wanted = dict.fromkeys(names, 0.0)
    for side, ticker, fraction in orders:
        if side != "HOLD" and ticker is not None:
            wanted[ticker] = fraction if side == "BUY" else -fraction
    return list(wanted.values())


def read_numbers(action: Any, stocks: int) -> NDArray[Any]:
    """An action of numbers as an array [N].

    Raises:
        EnvError: it is not an array of numbers, or has another shape.
    """
    try:
        numbers_N: NDArray[Any] = action if isinstance(action, np.ndarray) else np.asarray(action, np.float32)
    except (TypeError, ValueError):
        numbers_N = np.array(None)
    if numbers_N.shape != (stocks,) or numbers_N.dtype.kind not in "fiu":
        raise EnvError(f"the action {action!r} is not one number per stock. Give an array of shape ({stocks},).")
    return numbers_N


class Account:
    """The account of one episode: cash and holdings, settled by ``vector_kernel.settle_days``.

    Args:
        episode: stocks, days and rules.
        params: costs and limits.
        factors: the same as the kernel reads them, of :func:`~tradeschool.env.vector_kernel.kernel_params`.

    Attributes:
        day: days traded so far.
        cash: in the market's currency; negative where it is borrowed.
        equity: cash and holdings at the last close.
        turnover: value traded on the last day.
        costs: what commission and slippage took of it.
        fills: shares traded on the last day by stock; negative where sold.
        refused: orders refused on the last day.
        messages: about orders of the last day that were refused, cut short and so on. Text orders alone have them.
        orders, faults: what was read out of the last text action, and why the rest of it cannot be read.
    """

    def __init__(self, episode: Episode, params: ExecutionParams, factors: Floats) -> None:
        stocks, config = len(episode.columns), episode.config
        self.orders: list[Order] = []
        self.faults: list[str] = []
        self.episode, self._params, self._columns = episode, params, episode.columns.tolist()
        self._wanted_BN = np.zeros((1, stocks))
        self._stocks_BN3 = np.zeros((1, stocks, HELD))
        self._accounts_8B = np.zeros((ACCOUNT, 1))
        self._accounts_8B[CASH] = self._accounts_8B[EQUITY] = config.cash
        self._vectors_BF = np.empty((1, stocks * PER_STOCK + G), np.float32)
        self._arguments = (
            self._wanted_BN,
            # The clock is at the row of the first decision and does not trade at first.
            np.array([[episode.start, config.days, 0]]),
            factors,
            episode.data.lines_TN,
            episode.columns[None],
            self._stocks_BN3,
            self._accounts_8B,
            self._vectors_BF,
        )
        self.day = 0
        self.cash, self.equity, self.turnover, self.costs, self.refused = config.cash, config.cash, 0.0, 0.0, 0
        self.messages: tuple[str, ...] = ()
        self.fills: tuple[float, ...] = (0.0,) * stocks
        settle_days(*self._arguments)

    @property
    def shares(self) -> list[float]:
        """Shares held by stock; negative where short."""
        shares: list[float] = self._stocks_BN3[0, :, SHARES].tolist()
        return shares

    def vector(self) -> NDArray[np.float32]:
        """[F] the numeric observation at the last close, in new memory."""
        return np.array(self._vectors_BF[0])

    def trade_numbers(self, action: Any) -> None:
        """Fill an action of numbers on the next day; see :func:`read_numbers`."""
        self._settle(read_numbers(action, len(self.fills)))

    def trade_text(self, action: Any) -> None:
        """Fill an action of text on the next day; see :func:`read_text`."""
        self.orders, self.faults = read_text(action, self.episode.names)
        wanted = signed_fractions(self.orders, self.episode.names)
        unread = [f"refused: {fault}" for fault in self.faults]
        shares_N = self._stocks_BN3[0, :, SHARES].copy()
        events = self._settle(wanted)
        self.messages = (*unread, *(self._messages(wanted, shares_N) if self.refused or events else ()))
        if unread:
            self.refused += len(unread)
            self._vectors_BF[0, -1] = min(self.refused, MAX_REFUSED)

    def single_orders(self, parts: int) -> list[Order]:
        """Doing nothing, and every order that alone is a decision of today: a finite set.

        A stock that is held can be sold, all of it. One that is not held can be bought for about one of ``parts`` equal
        parts of the equity: for the whole, a half, a third and so on of the cash, which is at least half a part.
        Accounts are long-only.
        """
        episode, orders = self.episode, [Order("HOLD", None, 1.0)]
        traded_N = episode.data.traded_TN[episode.start + self.day].take(episode.columns).tolist()
        left = self.cash * parts / self.equity
        fraction = round(1.0 / max(round(left), 1), 2) if left >= 0.5 else 0.0
        for name, traded, shares in zip(episode.names, traded_N, self.shares, strict=True):
            if traded and shares:
                orders.append(Order("SELL", name, 1.0))
            elif traded and fraction:
                orders.append(Order("BUY", name, fraction))
        return orders

    def observation(self) -> Observation:
        """The observation at the last close, as numbers."""
        episode = self.episode
        figures = self._vectors_BF[0].tolist()
        return Observation(episode.names, figures, episode.config.days, episode.date(self.day), self.messages)

    def text(self) -> str:
        """The observation at the last close, as text."""
        data, row = self.episode.data, self.episode.start + self.day
        return observation_text(self.observation(), [data.words(n, market_words)[row] for n in self._columns])

    def _messages(self, wanted: list[float], shares_N: Floats) -> list[str]:
        """About a day's orders, given the holdings before it."""
        episode, params = self.episode, self._params
        lines_N = episode.data.lines_TN[episode.start + self.day].take(episode.columns)
        found = order_outcomes(wanted, shares_N, float(self._accounts_8B[UNIT, 0]), lines_N, params)
        return [outcome_message(outcome, wanted, episode.names, params) for outcome in found]

    def _settle(self, wanted: Any) -> float:
        """Settle a day; the number of orders cut short and stocks delisted."""
        self._wanted_BN[0] = wanted
        settle_days(*self._arguments)
        self.day += 1
        self.cash, self.equity, self.turnover, self.costs, refused, _, _, events = self._accounts_8B[:, 0].tolist()
        self.refused = int(refused)
        self.fills = tuple(self._stocks_BN3[0, :, FILL].tolist())
        return float(events)
