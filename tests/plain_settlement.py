"""Settlement in plain floats, order by order: what the compiled kernel and its outcomes are compared with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.broker import DELISTED, LAPSED, NO_CASH, NO_POSITION, NOT_LISTED, PARTLY, Outcome
from tradeschool.env.config import ExecutionParams
from tradeschool.env.features import MAX_EQUITY, MAX_PERCENT, MAX_REFUSED
from tradeschool.env.market_data import Episode
from tradeschool.env.render import Observation, observation_text

REFUSALS = frozenset({NOT_LISTED, NO_POSITION, NO_CASH})


class Day(NamedTuple):
    """One day of an episode's stocks.

    ``listed`` is whether the bars had not ended before this day. ``most`` is the largest number of
    shares that one order may fill. ``gone`` lists the stocks whose bars have ended on this day.
    """

    listed: Sequence[bool]
    open: Sequence[float]
    close: Sequence[float]
    most: Sequence[float]
    gone: Sequence[int]


def day_of(episode: Episode, day: int) -> Day:
    """A day after the first decision's."""
    lines_N = episode.data.lines_TN[episode.start + day].take(episode.columns)
    listed, opens, closes, volume_N = (lines_N[name] for name in ("listed", "open", "close", "volume"))
    most_N = volume_N * episode.config.volume_share
    gone = np.flatnonzero(lines_N["ended"])
    return Day(listed.tolist(), opens.tolist(), closes.tolist(), most_N.tolist(), gone.tolist())


@dataclass(slots=True)
class PlainAccount:
    """Cash, shares by stock (negative: short), what they cost, and the last day's equity, fills, turnover and costs."""

    cash: float
    shares: list[float]
    basis: list[float]
    equity: float
    fills: list[float] = field(default_factory=list)
    turnover: float = 0.0
    costs: float = 0.0

    @classmethod
    def opened(cls, cash: float, stocks: int) -> "PlainAccount":
        return cls(cash, [0.0] * stocks, [0.0] * stocks, cash, [0.0] * stocks)


def settle(account: PlainAccount, wanted: Sequence[float], day: Day, params: ExecutionParams) -> list[Outcome]:
    """Settle a day's orders in place; what was refused, lapsed, partly filled or delisted, in order."""
    outcomes: list[Outcome] = []
    shares = account.shares
    account.fills = [0.0] * len(shares)
    account.turnover = account.costs = 0.0
    opening = _reduce(account, wanted, day, params, outcomes)
    if opening:
        _open(account, opening, day, params, outcomes)
    for n in day.gone:
        if shares[n] != 0.0:
            account.cash += shares[n] * (day.close[n] * params.delisting)
            shares[n] = account.basis[n] = 0.0
            outcomes.append(Outcome(DELISTED, n))
    account.cash *= params.interest
    held = 0.0
    for quantity, price in zip(shares, day.close, strict=True):
        held += quantity * price
    account.equity = account.cash + held
    return outcomes


def _reduce(
    account: PlainAccount, wanted: Sequence[float], day: Day, params: ExecutionParams, outcomes: list[Outcome]
) -> list[tuple[int, float]]:
    """Fill the orders against a position; return those that open one."""
    opening: list[tuple[int, float]] = []
    for n, want in enumerate(wanted):
        if want == 0.0:
            continue
        held = account.shares[n]
        if not day.listed[n]:
            outcomes.append(Outcome(NOT_LISTED, n))
        elif want * held < 0.0:
            _fill(account, n, -held * abs(want), day, params, outcomes)
        elif want < 0.0 and not params.short:
            outcomes.append(Outcome(NO_POSITION, n))
        else:
            opening.append((n, want))
    return opening


def _open(
    account: PlainAccount,
    opening: list[tuple[int, float]],
    day: Day,
    params: ExecutionParams,
    outcomes: list[Outcome],
) -> None:
    """Fill the orders that open or add to a position, scaled down where their fractions sum to more than 1."""
    power = account.cash if params.cash_only else _buying_power(account, day, params)
    if power <= params.min_power:
        outcomes.extend(Outcome(NO_CASH, n) for n, _ in opening)
        return
    unit = power / max(1.0, sum([abs(want) for _, want in opening]))
    for n, want in opening:
        price = day.open[n] * (params.buy if want > 0.0 else params.slipped_sell)
        _fill(account, n, unit * want / price, day, params, outcomes)
    if params.cash_only and account.cash < 0.0:
        account.cash = 0.0  # rounding errors of spending all of it


def _buying_power(account: PlainAccount, day: Day, params: ExecutionParams) -> float:
    """leverage * equity - gross exposure, both at the open; a stock without a bar counts at its last close."""
    net = gross = 0.0
    for quantity, price in zip(account.shares, day.open, strict=True):
        net += quantity * price
        gross += abs(quantity) * price
    return params.leverage * (account.cash + net) - gross


def _fill(
    account: PlainAccount, n: int, traded: float, day: Day, params: ExecutionParams, outcomes: list[Outcome]
) -> None:
    """Trade shares up to the volume limit. What stays held keeps its cost."""
    most = day.most[n]
    if abs(traded) > most:
        outcomes.append(Outcome(PARTLY if most else LAPSED, n, most / abs(traded)))
        traded = most if traded > 0.0 else -most
    if not traded:
        return
    held, price = account.shares[n], day.open[n]
    paid = price * (params.buy if traded > 0.0 else params.sell)
    left = held + traded
    if held * traded >= 0.0:
        account.basis[n] += abs(traded) * paid
    else:
        account.basis[n] *= left / held
    account.cash -= traded * paid
    account.shares[n] = left
    account.fills[n] = traded
    account.turnover += abs(traded) * (price * (params.slipped_buy if traded > 0.0 else params.slipped_sell))
    account.costs += traded * (paid - price)


def account_figures(cash: float, equity: float, start: float, days_left: float, refused: int) -> list[float]:
    """The account's columns of the vector, within their bounds. An equity of 0 or less has a cash share of 0."""
    share = 100.0 * cash / equity if equity > 0.0 else 0.0
    whole = 100.0 * equity / start
    return [
        min(max(share, -MAX_PERCENT), MAX_PERCENT),
        min(max(whole, 0.0), MAX_EQUITY),
        days_left,
        min(refused, MAX_REFUSED),
    ]


def holding_figures(shares: float, basis: float, close: float, equity: float) -> tuple[float, float]:
    """Share of the equity, and gain on ``basis``, in percent, within their bounds; a short gains when prices fall."""
    if shares == 0.0:
        return 0.0, 0.0
    value = shares * close
    share = 100.0 * value / equity if equity > 0.0 else 0.0
    gain = 100.0 * (value - basis) / basis if shares > 0.0 else 100.0 * (value + basis) / basis
    return min(max(share, -MAX_PERCENT), MAX_PERCENT), min(max(gain, -MAX_PERCENT), MAX_PERCENT)


class PlainEpisodeAccount:
    """Takes the place of ``trading_env.Account`` for numbers."""

    def __init__(self, episode: Episode, params: ExecutionParams, factors: object) -> None:
        self.episode, self._params = episode, params
        self._account = PlainAccount.opened(episode.config.cash, len(episode.columns))
        self.day = self.refused = 0
        self.messages: tuple[str, ...] = ()
        self._facts_DNM = episode.of(episode.data.facts_TNM)

    def __getattr__(self, name: str) -> Any:
        """Cash, equity, shares and so on."""
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._account, name)
        return (tuple if name == "fills" else list)(value) if isinstance(value, list) else value

    def trade_numbers(self, action: Any) -> None:
        wanted, smallest = np.asarray(action, float).tolist(), self.episode.config.smallest_order
        invalid = [(abs(want) >= smallest and not -1.0 <= want <= 1.0) or want != want for want in wanted]
        valid = [0.0 if bad or abs(want) < smallest else want for want, bad in zip(wanted, invalid, strict=True)]
        self.day += 1
        outcomes = settle(self._account, valid, day_of(self.episode, self.day), self._params)
        self.refused = sum(invalid) + sum(outcome.kind in REFUSALS for outcome in outcomes)

    def vector(self) -> NDArray[np.float32]:
        account, config = self._account, self.episode.config
        close_N = self.episode.of(self.episode.data.close_TN)[self.day].tolist()
        vector: list[float] = []
        for n, facts in enumerate(self._facts_DNM[self.day].tolist()):
            vector += [*facts, *holding_figures(account.shares[n], account.basis[n], close_N[n], account.equity)]
        left = config.days - self.day
        vector += account_figures(account.cash, account.equity, config.cash, left, self.refused)
        return np.array(vector, np.float32)

    def observation(self) -> Observation:
        episode = self.episode
        return Observation(episode.names, self.vector().tolist(), episode.config.days, episode.date(self.day))

    def text(self) -> str:
        return observation_text(self.observation())
