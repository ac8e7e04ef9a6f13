"""What the options ``--level`` and ``--market`` of a command name."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from tradeschool.errors import TradeschoolError, did_you_mean

if TYPE_CHECKING:
    from tradeschool.env.data import MarketData
    from tradeschool.market.panel import Panel

WORDS = ("practice", "sample")
SHOWN_MESSAGES = 5


def level_named(name: str) -> str:
    """A level's name, in any case.

    Raises:
        TradeschoolError: there is no such level.
    """
    from tradeschool.env.levels import LEVELS

    for level in LEVELS:
        if level.casefold() == name.strip().casefold():
            return level
    raise TradeschoolError(f"There is no level '{name}'.{did_you_mean(name, LEVELS)} There are: {', '.join(LEVELS)}.")


def market_named(name: str, level: str, console: Console) -> "MarketData":
    """The market of a word or a path of prices, with enough stocks for the level; what its reading found is printed.

    Raises:
        TradeschoolError: there is no such path, its files break a rule, or it has too few stocks.
    """
    from tradeschool.env.data import MarketData
    from tradeschool.env.levels import LEVELS
    from tradeschool.env.trading import practice_data

    data = practice_data() if name == "practice" else MarketData(_panel(name, console))
    stocks, needed = data.shape[1], LEVELS[level]["tickers"]
    if stocks < needed:
        fitting = [other for other, settings in LEVELS.items() if settings["tickers"] <= stocks]
        cure = f"take --level {fitting[-1].lower()}, or " if fitting else ""
        raise TradeschoolError(
            f"{data.panel.name} has {stocks} stocks, and {level} is played with {needed}: {cure}give another market."
        )
    return data


def _panel(name: str, console: Console) -> "Panel":
    from tradeschool.market import sources

    if name == "sample":
        return sources.sample()
    path = Path(name).expanduser()
    if not path.exists():
        raise TradeschoolError(
            f"--market {name}: there is no such file or folder.{did_you_mean(name, WORDS)} "
            f"Give a path of prices, or a word: {', '.join(WORDS)}."
        )
    messages: list[str] = []
    panel = sources.load(path, messages)
    for message in messages[:SHOWN_MESSAGES]:
        console.print(Text(f"Note: {message}"), soft_wrap=True)
    if len(messages) > SHOWN_MESSAGES:
        more = f"Note: {len(messages) - SHOWN_MESSAGES} more. See them all: tradeschool data check {name}"
        console.print(Text(more), soft_wrap=True)
    return panel
