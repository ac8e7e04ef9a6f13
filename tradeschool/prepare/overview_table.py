"""An overview in the terminal: tickers, parts with their labels, features, and what deserves a look."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tradeschool.evaluate.table import print_warnings
from tradeschool.prepare.overview import Overview
from tradeschool.prepare.relation import LEVEL, Relations

MOST_TICKERS, MOST_FEATURES = 10, 10


def print_overview(console: Console, seen: Overview) -> None:
    """Print the tables and the sentences. What does not fit is on the page."""
    for line in headline(seen):
        console.print(Text(line, style="bold"))
    if table := _tickers(seen):
        console.print(table)
    for kind in seen.notes:
        told = f"{kind.tickers} tickers" if kind.tickers else "the whole market"
        console.print(Text(f"{kind.count:,} notes of kind {kind.kind}: {told}, {kind.first} to {kind.last}"))
    if seen.parts:
        console.print(_parts(seen))
    if seen.relations:
        console.print(_features(seen.relations))
    print_warnings(console, seen.advice)


def headline(seen: Overview) -> list[str]:
    """What there is, in one or two sentences."""
    tickers, dates = len(seen.tickers), len(seen.dates)
    missing, spanned = (sum(getattr(ticker, name) for ticker in seen.tickers) for name in ("missing", "span"))
    lines = [
        f"{tickers} {'ticker' if tickers == 1 else 'tickers'} on {dates:,} dates, {seen.dates[0]} to {seen.dates[-1]}. "
        f"Between each one's first and last bar, {f'{missing:,} of {spanned:,}' if missing else 'no'} days are missing."
    ]
    if seen.relations:
        lines.append(luck(seen.relations))
    return lines


def luck(relations: Relations) -> str:
    """How many features stand out, beside how many would without any meaning."""
    count = len(relations.known)
    chance = count * (1 - LEVEL)
    return (
        f"On train, {len(relations.excluding_zero)} of {count} features have an interval that leaves zero out; "
        f"about {chance:.0f} would by luck alone. Allowing for their number (Holm), "
        f"{len(relations.after_holm) or 'none'} {'does' if len(relations.after_holm) == 1 else 'do'}."
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _tickers(seen: Overview) -> Table | None:
    """All of them where they are few, else those that lack most; None where they are many and none lacks a day."""
    shown, title = list(seen.tickers), seen.name
    if len(shown) > MOST_TICKERS:
        ragged = [ticker for ticker in shown if ticker.bars < len(seen.dates)]
        shown = sorted(ragged, key=lambda ticker: ticker.bars)[:MOST_TICKERS]
        title = f"{seen.name}: {len(ragged)} of {len(seen.tickers)} tickers have no bar on some dates"
    table = _table(title, "ticker", "first day", "last day", "bars", "missing", "longest gap")
    for ticker in shown:
        figures = [f"{figure:,}" for figure in (ticker.bars, ticker.missing, ticker.longest_gap)]
        table.add_row(Text(ticker.ticker), ticker.first or "never listed", ticker.last, *figures)
    return table if shown else None


def _parts(seen: Overview) -> Table:
    """The parts side by side: their dates, their questions, the shares of their labels."""
    table = _table("Parts, and the shares of their labels", "", *(p.name for p in seen.parts))
    table.add_row("first day", *(part.first for part in seen.parts))
    table.add_row("last day", *(part.last for part in seen.parts))
    table.add_row("dates", *(f"{part.dates:,}" for part in seen.parts))
    table.add_row("questions", *(f"{part.questions:,}" for part in seen.parts))
    for label in seen.classes:
        table.add_row(label.replace("_", " ").lower(), *(f"{part.share(label):.1%}" for part in seen.parts))
    return table


def _features(relations: Relations) -> Table:
    shown = relations.known[:MOST_FEATURES]
    title = f"Rank IC with the return over {days(relations)}: {len(shown)} of {len(relations.known)}"
    table = _table(title, "feature", "rank IC", f"{LEVEL:.0%} interval", "p, adjusted")
    for row in shown:
        interval = f"{row.ic.low:+.3f} to {row.ic.high:+.3f}"
        style = "bold green" if row in relations.after_holm else ""
        table.add_row(Text(row.feature, style=style), f"{row.ic.value:+.3f}", interval, f"{row.p_value:.3f}")
    return table


def days(relations: Relations) -> str:
    """``5 days``, or ``1, 3 and 5 days``."""
    *before, last = map(str, relations.horizons)
    listed = f"{', '.join(before)} and {last}" if before else last
    return f"{listed} {'day' if relations.horizons == (1,) else 'days'}"
