"""The options ``--level`` and ``--market`` of ``play`` and ``serve``, and their values in Python."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tradeschool.errors import TradeschoolError, did_you_mean

if TYPE_CHECKING:
    from tradeschool.env.market_data import MarketData

KEYWORDS = ("synthetic", "sample")


def find_level(name: str) -> str:
    """The level with this name, in any case.

    Raises:
        TradeschoolError: the level is unknown.
    """
    from tradeschool.env.config import LEVELS

    level = name.strip().capitalize()
    if level not in LEVELS:
        raise TradeschoolError(
            f"There is no level '{name}'.{did_you_mean(name, LEVELS)} Levels are: {', '.join(LEVELS)}."
        )
    return level


def load_market(name: str, console: Console, level: str | None = None) -> "MarketData":
    """The market of a keyword or a path of prices. Prints what was found in reading it.

    Raises:
        TradeschoolError: the path does not exist, its files are invalid, or it has too few stocks for the level.
    """
    from tradeschool.config import sections
    from tradeschool.env.config import LEVELS
    from tradeschool.env.market_data import MarketData

    if name not in KEYWORDS and not Path(name).expanduser().exists():
        raise TradeschoolError(
            f"--market {name}: there is no such file or folder.{did_you_mean(name, KEYWORDS)} "
            f"Give a path of prices, or one of: {', '.join(KEYWORDS)}."
        )
    section = {"source": name} if name in KEYWORDS else {"path": name}
    panel = sections.load_market(sections.resolved_market(section), console)
    stocks, needed = len(panel.tickers), LEVELS[level]["tickers"] if level else 0
    if stocks < needed:
        smaller = next(one for one in reversed(LEVELS) if LEVELS[one]["tickers"] <= stocks)
        raise TradeschoolError(
            f"Level {level} needs {needed} stocks; {name} has {stocks}. Use --level {smaller.lower()} or add tickers."
        )
    return MarketData(panel)
