"""The composite risk-aware reward: what an account that follows a rating earns over a window, and at what risk.

Every rating of a question begins with the same account (all in cash) after the same close, is filled at the next open
with the environment's costs and held for the window. So the parts differ between the answers of a group exactly where
their ratings do.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tradeschool import metrics
from tradeschool.env.broker import Account
from tradeschool.env.config import EnvConfig, ExecutionParams
from tradeschool.env.market_data import Episode, MarketData
from tradeschool.env.vector_kernel import kernel_params
from tradeschool.market.panel import Floats, Panel

INVALID = -1.0
"""Each part of an unreadable answer."""
BOUND = 3.0
"""Largest size of the risk-adjusted part: ratios of a few days can be of any size."""


class AccountConfig(BaseModel):
    """The account that follows a rating.

    Attributes:
        window: days that a position is held.
        ratio: the risk-adjusted part.
        commission, slippage: as in the trading environment (``env/config.py``).
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    window: int = Field(default=10, ge=2, le=250)
    ratio: Literal["sharpe", "sortino"] = "sharpe"
    commission: float = Field(default=0.0005, ge=0, le=0.1)
    slippage: float = Field(default=0.0005, ge=0, le=0.1)


class RiskAware(NamedTuple):
    """The three parts, in units of the window's volatility known at the decision.

    Attributes:
        pnl: log return of the account / (daily volatility x sqrt(window)).
        risk_adjusted: mean / spread of the daily returns x sqrt(window), the Sharpe or Sortino ratio of the window,
            at most :data:`BOUND` in size; 0 in cash.
        drawdown: largest fall from a peak, in the same units as ``pnl``; 0 or below.
    """

    pnl: float
    risk_adjusted: float
    drawdown: float


UNREADABLE = RiskAware(INVALID, INVALID, INVALID)


class RatedAccounts:
    """Rolls the account of each rating forward; the results of the last question are kept.

    Args:
        panel: the market.
        volatility_TN: daily volatility known at each close.
        config: the account.
    """

    def __init__(self, panel: Panel, volatility_TN: Floats, config: AccountConfig) -> None:
        self._panel, self._volatility_TN, self._config = panel, volatility_TN, config
        # A sale opens a short position, and one volume limit would make the rewards depend on the starting capital.
        self._rules = EnvConfig(
            tickers=1,
            days=config.window,
            commission=config.commission,
            slippage=config.slippage,
            volume_share=1.0,
            short=True,
        )
        self._params = ExecutionParams.of(self._rules, panel.bars_per_year)
        self._factors = kernel_params(self._params, self._rules.cash, self._rules.smallest_order)
        self._data: MarketData | None = None
        self._known: tuple[tuple[int, int], dict[int, RiskAware]] = ((-1, -1), {})

    def rewards(self, t: int, n: int, rating: int | None) -> RiskAware | None:
        """The parts of a rating of ticker column ``n`` after the close of row ``t``.

        None where the window's prices or the volatility are not known.
        """
        volatility = float(self._volatility_TN[t, n])
        if t + self._config.window >= self._panel.shape[0] or not volatility > 0:
            return None
        if rating is None:
            return UNREADABLE
        if self._known[0] != (t, n):
            self._known = ((t, n), {})
        found = self._known[1]
        if rating not in found:
            found[rating] = risk_aware(self.path(t, n, rating), volatility, self._config.ratio)
        return found[rating]

    def path(self, t: int, n: int, rating: int) -> Floats:
        """[window + 1] equity at the closes, from the close of row ``t`` on."""
        if self._data is None:
            self._data = MarketData(self._panel)
        episode = Episode(self._data, self._rules, t, np.array([n], np.intp))
        account = Account(episode, self._params, self._factors)
        equity = [account.equity]
        for day in range(self._config.window):
            account.trade_numbers(np.array([rating / 2 if day == 0 else 0.0], np.float32))
            equity.append(account.equity)
        return np.array(equity)


def risk_aware(equity_D: Floats, volatility: float, ratio: Literal["sharpe", "sortino"] = "sharpe") -> RiskAware:
    """The parts of a path of equity, the start first; a ruined account has lost all but a millionth."""
    path_D = np.maximum(equity_D, 1e-6 * equity_D[0])
    returns_D = path_D[1:] / path_D[:-1] - 1
    root = math.sqrt(len(returns_D))
    annual = metrics.sharpe(returns_D) if ratio == "sharpe" else metrics.sortino(returns_D)
    if math.isnan(annual):  # no spread, or no loss
        mean = float(returns_D.mean())
        adjusted = math.copysign(BOUND, mean) if abs(mean) > metrics.ROUNDING_OF_RETURNS else 0.0
    else:
        adjusted = annual / math.sqrt(metrics.DAYS_A_YEAR) * root
    return RiskAware(
        pnl=math.log(path_D[-1] / path_D[0]) / (volatility * root),
        risk_adjusted=max(-BOUND, min(BOUND, adjusted)),
        drawdown=metrics.max_drawdown(returns_D) / (volatility * root),
    )
