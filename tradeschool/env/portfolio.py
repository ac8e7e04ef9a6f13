"""A portfolio that is traded in words: texts in, texts out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.actions import read_text
from tradeschool.env.broker import Book, Terms, settle
from tradeschool.env.episode import Episode
from tradeschool.env.facts import HIGHEST, PER_STOCK, G, M
from tradeschool.env.kernel import BASIS, SHARES
from tradeschool.env.observation import account_words, page
from tradeschool.env.portfolio_arrays import PortfolioArrays
from tradeschool.env.tell import tell
from tradeschool.market.panel import Floats


class Portfolio(PortfolioArrays):
    """As :class:`PortfolioArrays`, and ``told`` has a sentence for every order of the last day with something to say.

    The compiled law trades. On a day on which anything was refused, cut short or delisted, ``broker.settle`` goes over
    it once more from the same beginning, for the reasons.
    """

    def __init__(self, episode: Episode, terms: Terms, numbers: Floats) -> None:
        super().__init__(episode, numbers)
        self._broker = terms
        self._names = episode.names
        self._words_NT, self._start = episode.words(), episode.start

    def trade(self, action: Any, day: int) -> None:
        """Read an action, fill it at the open of ``day`` and value the book at its close."""
        wanted, told = read_text(action, self._names)
        cash, stocks_N3 = self.cash, self._stocks_BN3[0].copy()
        self._settle(wanted)
        if told:
            self._vector[-1] = min(self.refused + len(told), HIGHEST)
        if self.refused or self._news:
            book = Book(cash, stocks_N3[:, SHARES].tolist(), stocks_N3[:, BASIS].tolist(), self.equity)
            events = settle(book, wanted, self.episode.day(day), self._broker)
            fate = self.episode.config.delisting_return
            self.told = (*told, *(tell(event, wanted, self._names, fate) for event in events))
        else:
            self.told = tuple(told)
        self.refused += len(told)

    def vector(self, day: int) -> NDArray[np.float32]:
        """The numeric observation at the close of ``day``, the last day that was traded: new memory."""
        return self._vector.copy()

    def text(self, day: int) -> str:
        """The observation in words."""
        figures, episode = self._vector.tolist(), self.episode
        account = account_words(figures[-G:], episode.config.days, episode.date(day))
        shares, gains = figures[M:-G:PER_STOCK], figures[M + 1 : -G : PER_STOCK]
        row = self._start + day
        words = [words_T[row] for words_T in self._words_NT]
        return page(account, self.told, zip(self._names, words, shares, gains, strict=True))

    def observe(self, day: int) -> Any:
        """The observation at the close of ``day``."""
        return self.text(day)


def portfolio(episode: Episode, terms: Terms, numbers: Floats) -> PortfolioArrays:
    """The portfolio of an episode that begins; ``numbers`` are the terms as ``kernel.terms_array`` has them."""
    if episode.config.observation == "numeric":
        return PortfolioArrays(episode, numbers)
    return Portfolio(episode, terms, numbers)
