"""A numeric portfolio in plain floats, after ``broker.settle`` alone: what the compiled law must agree with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.actions import read_numbers
from tradeschool.env.broker import REFUSALS, Book, Terms, settle
from tradeschool.env.episode import Episode
from tradeschool.env.observation import account_figures, holding_figures, say


class PlainPortfolio:
    """Stands in for ``PortfolioArrays``."""

    def __init__(self, episode: Episode, numbers: object) -> None:
        self.episode, self.terms = episode, Terms.of(episode.config)
        self.book = Book.opened(episode.config.cash, len(episode.columns))
        self.refused = 0
        self.told: tuple[str, ...] = ()
        self._days = [episode.day(day) for day in range(episode.config.days + 1)]
        self._facts_DNM = episode.of(episode.data.facts_TNM)

    def __getattr__(self, name: str) -> Any:
        """Cash, equity, shares and so on are the book's."""
        if name.startswith("__") or name == "book":
            raise AttributeError(name)
        value = getattr(self.book, name)
        return (tuple if name == "fills" else list)(value) if isinstance(value, list) else value

    def trade(self, action: Any, day: int) -> None:
        wanted, told = read_numbers(action, self.episode.names)
        events = settle(self.book, wanted, self._days[day], self.terms)
        self.refused = len(told) + sum(event.kind in REFUSALS for event in events)

    def observe(self, day: int) -> NDArray[np.float32]:
        book, config = self.book, self.episode.config
        vector: list[float] = []
        for n, facts in enumerate(self._facts_DNM[day].tolist()):
            held = holding_figures(book.shares[n], book.basis[n], self._days[day].close[n], book.equity)
            vector += [*facts, *held]
        vector += account_figures(book.cash, book.equity, config.cash, config.days - day, self.refused)
        return np.array(vector, np.float32)

    def text(self, day: int) -> str:
        return say(self.observe(day), self.episode.names, self.episode.config.days, self.episode.date(day))
