"""The options ``--level`` and ``--market`` of ``play`` and ``serve``, and their values in Python."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

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

    Args:
        name: the keyword or path.
        console: for repairs and warnings.
        level: it must have enough stocks for this level.

    Raises:
        TradeschoolError: the path does not exist, its files are invalid, or it has too few stocks.
    """
    from tradeschool.env.market_data import MarketData, synthetic_data
    from tradeschool.market.findings import note
    from tradeschool.market.load import load_sample, read_prices
    from tradeschool.market.prices.validate import Options

    if name == "synthetic":
        return synthetic_data()
    if name == "sample":
        panel = load_sample()
        _check_stocks(name, len(panel.tickers), level)
        return MarketData(panel)
    path = Path(name).expanduser()
    if not path.exists():
        raise TradeschoolError(
            f"--market {name}: there is no such file or folder.{did_you_mean(name, KEYWORDS)} "
            f"Give a path of prices, or one of: {', '.join(KEYWORDS)}."
        )
    panel, findings = read_prices(path, Options())
    _check_stocks(name, len(panel.tickers), level)
    for message in note(findings, name):
        console.print(Text(f"Note: {message}"), soft_wrap=True)
    return MarketData(panel)


def _check_stocks(name: str, stocks: int, level: str | None) -> None:
    from tradeschool.env.config import LEVELS

    needed = LEVELS[level]["tickers"] if level else 0
    if stocks < needed:
        smaller = next(one for one in reversed(LEVELS) if LEVELS[one]["tickers"] <= stocks)
        raise TradeschoolError(
            f"Level {level} needs {needed} stocks; {name} has {stocks}. Use --level {smaller.lower()} or add tickers."
        )
