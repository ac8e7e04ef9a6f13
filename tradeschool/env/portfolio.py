"""A portfolio on its way through an episode: reads actions, trades with the broker, says what it sees."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.actions import read_numbers, read_text
from tradeschool.env.broker import REFUSALS, Book, Event, Terms, settle
from tradeschool.env.episode import Episode
from tradeschool.env.facts import PER_STOCK, M
from tradeschool.env.observation import account_figures, holding_figures, say
from tradeschool.env.portfolio_arrays import PortfolioArrays
from tradeschool.env.tell import tell
from tradeschool.market.panel import Floats


class Portfolio:
    """A book in plain floats, after the law of ``broker.settle``.

    ``equity`` and ``refused`` (orders refused on the last day) are numbers, ``fills`` the shares traded by stock,
    ``told`` the sentences about the last day's orders.
    """

    def __init__(self, episode: Episode, terms: Terms) -> None:
        self.episode, self.terms = episode, terms
        self.book = Book.opened(episode.config.cash, len(episode.columns))
        self.equity, self.turnover, self.costs = self.book.equity, 0.0, 0.0
        self.refused = 0
        self.told: tuple[str, ...] = ()
        self.fills: tuple[float, ...] = tuple(self.book.fills)
        self._days = episode.days()
        self._vectors = episode.vectors()
        self._text = episode.config.observation == "text"
        self._names = episode.names
        self._words = episode.words() if self._text else []

    @property
    def cash(self) -> float:
        return self.book.cash

    @property
    def shares(self) -> list[float]:
        return list(self.book.shares)

    def trade(self, action: Any, day: int) -> None:
        """Read an action, fill it at the open of ``day`` and value the book at its close."""
        wanted, told = (read_text if self._text else read_numbers)(action, self._names)
        book = self.book
        events = settle(book, wanted, self._days[day], self.terms)
        self.refused = len(told)
        if events:
            told = self._tell(events, wanted, told)
        self.told = tuple(told)
        self.equity, self.turnover, self.costs, self.fills = book.equity, book.turnover, book.costs, tuple(book.fills)

    def _tell(self, events: list[Event], wanted: list[float], told: list[str]) -> list[str]:
        self.refused += sum(event.kind in REFUSALS for event in events)
        fate = self.episode.config.delisting_return
        return told + [tell(event, wanted, self._names, fate) for event in events]

    def vector(self, day: int) -> NDArray[np.float32]:
        """The numeric observation at the close of ``day``: new memory."""
        vector, book, config = self._vectors[day].copy(), self.book, self.episode.config
        close, equity = self._days[day].close, book.equity
        for n, shares in enumerate(book.shares):
            if shares != 0.0:
                at = n * PER_STOCK + M
                vector[at], vector[at + 1] = holding_figures(shares, book.basis[n], close[n], equity)
        at = len(book.shares) * PER_STOCK
        figures = account_figures(book.cash, equity, config.cash, config.days - day, self.refused)
        vector[at], vector[at + 1], vector[at + 2], vector[at + 3] = figures
        return vector

    def text(self, day: int) -> str:
        """The observation at the close of ``day`` in words."""
        episode = self.episode
        words = self._words[day] if self._text else None
        return say(self.vector(day), self._names, episode.config.days, episode.date(day), self.told, words)

    def observe(self, day: int) -> Any:
        """The observation of the configured kind."""
        return self.text(day) if self._text else self.vector(day)


def portfolio(episode: Episode, terms: Terms, numbers: Floats) -> Portfolio | PortfolioArrays:
    """The portfolio of an episode that begins; ``numbers`` are the terms as ``kernel.terms_array`` has them."""
    if episode.config.observation == "numeric":
        return PortfolioArrays(episode, numbers)
    return Portfolio(episode, terms)
