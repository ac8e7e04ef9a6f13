"""The trading environment: one episode of one portfolio, as text or as numbers."""

import functools
import math
from typing import Any

import gymnasium

from tradeschool.env.actions import HOLD_BELOW
from tradeschool.env.broker import Terms
from tradeschool.env.config import EnvConfig, EnvError, env_config
from tradeschool.env.data import MarketData
from tradeschool.env.episode import Episode, draw
from tradeschool.env.kernel import LEAST_EQUITY, LEAST_FRACTION, terms_array
from tradeschool.env.portfolio import portfolio
from tradeschool.env.portfolio_arrays import PortfolioArrays
from tradeschool.env.spaces import action_space, observation_space
from tradeschool.env.versions import stamp
from tradeschool.market.panel import Panel
from tradeschool.market.practice import PracticeConfig, practice


@functools.lru_cache(maxsize=1)
def practice_data() -> MarketData:
    """The market of an environment that is given none: the default practice market."""
    return MarketData(practice(PracticeConfig()))


def market_data(panel: Panel | MarketData | None) -> MarketData:
    """A panel as environments read it. Give several environments one ``MarketData``: a panel is worked out anew."""
    if panel is None:
        return practice_data()
    return panel if isinstance(panel, MarketData) else MarketData(panel)


class TradingEnv(gymnasium.Env[Any, Any]):
    """Trade a portfolio of stocks through a stretch of a market, one decision a day.

    ## Description

    The environment replays daily bars. A decision is taken after the close of a day, knowing all up to that close,
    and filled at the open of the next day at a price that slippage makes worse; commission is a share of the traded
    value. Within a day orders against a position (SELL of a holding, BUY of a short) are filled first, then those that
    open or add to one, from the buying power there then is; their order does not matter. An order is filled up to
    ``volume_share`` of that day's volume, and the rest lapses; it lapses in whole where the stock has no bar that day.
    A holding in a stock that has no bar is worth its last close; where none follows, and the market goes on for five
    days or more, it is closed at the last close times 1 + ``delisting_return`` on the first day without a bar. No
    decision ever sees a later row.

    ## Action Space

    With ``observation="text"`` a text: one order a line, or several parted by semicolons, after a ``<think>`` block
    if there is one: ``BUY|SELL|HOLD [TICKER] [fraction]``. With ``observation="numeric"`` a ``Box(-1, 1, (N,))``:
    above .05 BUY that fraction, below -.05 SELL it, else HOLD.

    BUY spends a fraction of the buying power (long-only without leverage: the cash), costs included; where the day's
    fractions sum to more than 1 they are scaled down by their sum. SELL sells a fraction of the holding. With
    ``short=True`` a SELL without a holding opens a short worth that fraction of the buying power, and a BUY in a short
    covers that fraction of it. Buying power is ``leverage`` times equity less gross exposure, at the open.

    What is not allowed is refused, counted, and said by the next observation: an unreadable line, an unknown stock, a
    fraction outside (0, 1], a stock named twice, a stock without a bar today, a SELL of nothing, a BUY without cash.

    ## Observation Space

    Numeric, a ``Box`` of float32: per stock the ``MARKET`` and ``HOLDING`` facts of ``env/facts.py``, then its
    ``ACCOUNT``; percentages are in percent, and -100 stands for a figure that is not known. The text says the same
    facts, a line per stock under one heading, rounded; ``observation.say`` writes it from the vector and
    ``observation.read`` turns it back. The text also says why orders were refused; the vector has their number.

    ## Rewards

    The log return of the equity, cash and holdings at the close, from one decision to the next, costs included. The
    last day counts. An equity below a millionth of the start counts as that, the day before too,
    which keeps the reward finite.

    ## Starting State

    All cash, at a row and with stocks drawn at random: stocks with a bar at that row and at least 50 so far.
    ``reset(options={"start": row, "tickers": [...]})`` chooses either. With ``mask=True`` stocks are called S1, S2, ...
    in the order drawn and there are no dates.

    ## Episode End

    Truncated after ``days`` decisions. Terminated when the equity is at most ``ruin`` times the start.

    ## Arguments

    ``panel``: a :class:`Panel`, or a :class:`MarketData` that several environments share; a practice market where
    none is given. ``rows``: first and last row that episodes may touch. ``render_mode``: "ansi" or None. All other
    arguments are fields of :class:`EnvConfig`.

    ``info`` holds ``equity``, ``refused`` (orders, last day), ``fills`` (shares by stock), ``told`` (why, in text
    environments), ``start``, and what episodes must have in common to be compared: ``env_version``, ``rules_hash``,
    ``level``, ``level_version``, ``settings_hash`` and ``data_hash`` (:data:`tradeschool.env.versions.KEYS`).

    ## Version History

    * 1.1.0: the least equity of the reward holds for the day before too. Only episodes without a bound of ruin change:
      what had lost nearly all was rewarded every day for doing nothing.
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
            raise EnvError(f"render_mode '{render_mode}': there is 'ansi', the observation as text, and None.")
        self.render_mode = render_mode
        self.data = market_data(panel)
        self.terms = Terms.of(self.config)
        least = HOLD_BELOW if self.config.observation == "numeric" else LEAST_FRACTION
        self._numbers = terms_array(self.terms, self.config.cash, least)
        self.observation_space = observation_space(self.config, self.data.panel.tickers)
        self.action_space = action_space(self.config)
        self.rows = rows
        self._starts = self.data.start_rows(self.config, rows)
        self.versions = stamp(self.config, self.data.data_hash)
        self.level = self.versions["level"]
        self._least = LEAST_EQUITY * self.config.cash
        self._ruin = self.config.ruin * self.config.cash
        self._over = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; see the class for ``options``.

        Raises:
            EnvError: an option is unknown or cannot be had.
        """
        super().reset(seed=seed)
        self.episode: Episode = draw(self.data, self.config, self._starts, self.np_random, options)
        self.portfolio: PortfolioArrays = portfolio(self.episode, self.terms, self._numbers)
        self.names = self.episode.names
        self.equities = [self.config.cash]
        self.turnovers: list[float] = []
        self.costs: list[float] = []
        self._day, self._over = 0, False
        return self.portfolio.observe(0), self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Give a day's orders; see the class.

        Raises:
            EnvError: the episode is over, or the action is of another kind than the action space's.
        """
        if self._over:
            raise EnvError("the episode is over, or was never begun: call reset() before step().")
        held = self.portfolio
        before = held.equity
        day = self._day + 1
        held.trade(action, day)
        # Not before: an action of the wrong kind is refused, and costs no day.
        self._day = day
        equity = held.equity
        self.equities.append(equity)
        self.turnovers.append(held.turnover)
        self.costs.append(held.costs)
        terminated = equity <= self._ruin
        truncated = not terminated and day == self.config.days
        self._over = terminated or truncated
        reward = math.log(max(equity, self._least) / max(before, self._least))
        return held.observe(day), reward, terminated, truncated, self._info()

    def _info(self) -> dict[str, Any]:
        held = self.portfolio
        return {
            "equity": held.equity,
            "refused": held.refused,
            "fills": held.fills,
            "told": held.told,
            "start": self.episode.start,
            **self.versions,
        }

    def render(self) -> str | None:
        """The observation as text, where ``render_mode`` is "ansi"."""
        return None if self.render_mode is None else self.portfolio.text(self._day)
