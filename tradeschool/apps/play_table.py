"""What a person at the terminal is shown: the day as a table, what its figures mean, the grade at the end."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from tradeschool.env.facts import HOLDING, MARKET, PER_STOCK, UNKNOWN, Fact, M
from tradeschool.env.observation import OVERBOUGHT, OVERSOLD, read

if TYPE_CHECKING:
    from tradeschool.env.episode import Episode
    from tradeschool.env.grading import Grade

EXPLAINED = {
    "1d%": "change of the close since the day before",
    "5d%": "change of the close over five days",
    "RSI": "relative strength index of 14 days, 0 to 100: below 30 oversold (in green), above 70 overbought (in red)",
    "MACD%": "MACD histogram (12, 26, 9) in percent of the price: above 0 a rise that quickens, or a fall that slows",
    "SMA50%": "how far the close is above its mean of 50 days",
    "band%": "place between the Bollinger bands of 20 days: 0 is the lower, 100 the upper, 50 the mean",
    "vol%": "volatility: standard deviation of a day's return over 20 days",
    "volume": "today's volume over its mean of 20 days",
    "held%": "the holding's share of your equity; shown once you hold something",
    "gain%": "gain on what you paid for it, costs included",
}
"""Every label of the table, for ``?``."""
NARROW = 76
"""Columns below which labels are broken over two lines."""
_BROKEN = {"volume": "vol-\nume"}


def day_table(observation: str, width: int) -> Table:
    """The stocks of a text observation; the columns of holdings only where something is held."""
    vector, names = read(observation)
    rows = vector[: len(names) * PER_STOCK].reshape(len(names), PER_STOCK).tolist()
    held = any(row[M] for row in rows)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0) if width < NARROW else (0, 2, 0, 0))
    table.add_column("stock", overflow="fold")
    for fact in (*MARKET[1:], *(HOLDING if held else ())):
        table.add_column(_label(fact.label, width), justify="right", no_wrap=True)
    for name, row in zip(names, rows, strict=True):
        # Of a stock without a bar today only the holding is known.
        values = row[1:M] if row[0] else [UNKNOWN] * (M - 1)
        cells = [_cell(*pair) for pair in zip(MARKET[1:], values, strict=True)]
        if row[M]:
            cells += [_cell(*pair) for pair in zip(HOLDING, row[M:], strict=True)]
        table.add_row(Text(name), *cells)
    return table


def not_traded(observation: str) -> list[str]:
    """The stocks without a bar today."""
    vector, names = read(observation)
    return [name for name, row in zip(names, vector[: len(names) * PER_STOCK : PER_STOCK], strict=True) if not row]


def explanation(tickers: int) -> Table:
    """What the labels mean, and how orders are written."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for label, meaning in EXPLAINED.items():
        table.add_row(label, meaning)
    stock = "" if tickers == 1 else " S1"
    table.add_row("", "")
    table.add_row(f"BUY{stock} 0.5", "spend half of the cash, costs included; without a figure, or 100%, all of it")
    table.add_row(f"SELL{stock} 0.5", "sell half of the holding; without a figure all of it")
    table.add_row("HOLD", "do nothing, as Enter does")
    if tickers > 1:
        table.add_row("BUY S1 0.5; SELL S2", "several orders on a line; sales are filled first")
    table.add_row("? q", "this page; leave")
    return table


def grade_table(graded: Sequence[tuple[str, "Grade", float]], person: str) -> Table:
    """Name, grade and return of everyone, best first; the person's own row stands out."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    for heading in ("grade", "risk", "P&L", "drawdown", "activity", "return"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, grade, gained in sorted(graded, key=lambda entry: -entry[1].total):
        parts = (grade.total, grade.risk, grade.pnl, grade.drawdown, grade.activity)
        style = "bold" if name == person else ""
        table.add_row(Text(name), *(f"{part:.2f}" for part in parts), f"{100 * gained:+.1f}%", style=style)
    return table


def revealed(episode: "Episode") -> Table:
    """Which stocks they were, and how far each went from the first close to the last."""
    close_DN = episode.of(episode.data.close_TN)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("stock", overflow="fold")
    if episode.config.mask:
        table.add_column("was", overflow="fold")
    table.add_column("change", justify="right", no_wrap=True)
    for name, ticker, change in zip(episode.names, episode.tickers, close_DN[-1] / close_DN[0] - 1, strict=True):
        names = (name, ticker) if episode.config.mask else (ticker,)
        table.add_row(*map(Text, names), f"{100 * change:+.1f}%")
    return table


def _label(label: str, width: int) -> str:
    if width >= NARROW:
        return label
    if label in _BROKEN:
        return _BROKEN[label]
    return f"{label[:-1]}\n%" if len(label) > 4 and label.endswith("%") else label


def _cell(fact: Fact, value: float) -> Text:
    if value == UNKNOWN:
        return Text("-", "dim")
    text = f"{value:.{fact.decimals}f}"
    if not float(text):
        text = text.lstrip("-")
    if fact.name == "rsi_14":
        return Text(text, "green" if value < OVERSOLD else "red" if value > OVERBOUGHT else "")
    if fact.name in ("change_1", "gain") and float(text):
        return Text(text, "green" if value > 0 else "red")
    return Text(text, "bold" if fact.name == "share" and value else "")
