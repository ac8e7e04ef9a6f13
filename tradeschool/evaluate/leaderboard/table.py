"""A leaderboard in the terminal: the present edition's table, what it can show, and older editions apart."""

import math
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tradeschool.env.sampling import BLOCK_EPISODES, Interval
from tradeschool.evaluate.leaderboard.board import Played
from tradeschool.evaluate.leaderboard.row import PARTS, Edition
from tradeschool.evaluate.leaderboard.standing import (
    CLAIMS,
    FEWEST_BLOCKS,
    READING,
    REFERENCE,
    Difference,
    Standing,
    needed,
    standings,
)
from tradeschool.evaluate.leaderboard.warn import of_unknown_rows

COLUMN_OF = dict(zip(READING, ("unread", "cut short"), strict=True))
"""Columns of the figures of language models, where a row has them."""
COLUMNS = ("grade", f"less {REFERENCE}", "verdict", "return", "episodes", *COLUMN_OF.values(), "refused", *PARTS)
"""In the order in which a narrow console leaves them out, last first."""
SHOWN = ("grade", *PARTS, "return", f"less {REFERENCE}", "verdict", "refused", *COLUMN_OF.values(), "episodes")
STYLES = {"above": "bold green", "below": "red", "not shown": "yellow", "reference": "cyan"}


def print_played(console: Console, played: Played) -> None:
    """The tables of one market and level."""
    if played.book is None or played.edition is None:
        console.print(Text.assemble((f"{played.market}, {played.level}: not played. ", "bold yellow"), played.reason))
        return
    print_standings(console, f"{played.market}, {played.level}", standings(played.rows))
    for note in of_unknown_rows(played.rows):
        console.print(Text(note))
    dates = {row.agent: row.date for row in played.rows}
    for name, reason in (played.missing or {}).items():
        said = f"{name}: not played{f' now; its row is of {dates[name]}' if name in dates else ''}. "
        console.print(Text.assemble((said, "bold yellow"), reason))
    for edition in played.book.editions():
        if edition != played.edition:
            heading = f"{played.market}, {played.level}, another edition, not to be compared with the one above"
            print_standings(console, heading, standings(played.book.on(edition)), changes(edition, played.edition))


def changes(old: Edition, new: Edition) -> str:
    """In what an edition is not the present one."""
    words = {
        "environment": (old.env_version, old.rules_hash) != (new.env_version, new.rules_hash),
        "level": (old.level_version, old.settings_hash) != (new.level_version, new.settings_hash),
        "data": old.data_hash != new.data_hash,
        "dates": (old.first, old.last) != (new.first, new.last),
        "seed": old.seed != new.seed,
    }
    return f"differs in: {', '.join(word for word, differs in words.items() if differs)}"


def print_standings(console: Console, heading: str, found: Sequence[Standing], note: str = "") -> None:
    """The table of one edition, and what its number of episodes can show."""
    if not found:
        return
    edition = found[0].row.edition
    title = "\n".join(filter(None, (f"{heading}: {_what(edition)}", _version(edition), note)))
    told = {COLUMN_OF[name] for one in found for name in READING if name in one.row.figures}
    columns = [column for column in COLUMNS if column in told or column not in COLUMN_OF.values()]
    table = _table(title, found, columns)
    unbounded = console.options.update(max_width=10_000)  # else what is measured is cut to the console's width
    while len(columns) > 1 and console.measure(table, options=unbounded).maximum > console.width:
        columns.pop()
        table = _table(title, found, columns)
    console.print(table)
    for line in _claims(found, edition.days):
        console.print(Text(line))


def _what(edition: Edition) -> str:
    stocks = "1 stock" if edition.tickers == 1 else f"{edition.tickers} stocks"
    return f"{stocks}, {edition.days} days, within {edition.first} to {edition.last}"


def _version(edition: Edition) -> str:
    return (
        f"environment {edition.env_version} ({edition.rules_hash[:8]}), {edition.level} {edition.level_version}, "
        f"{edition.data} {edition.data_hash[:8]}, seeds from {edition.seed}"
    )


def _table(title: str, found: Sequence[Standing], columns: Sequence[str]) -> Table:
    table = Table(
        title=Text(title),
        caption=Text("\n".join(_notes(columns))),
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        pad_edge=False,
        title_justify="left",
    )
    table.add_column("agent", no_wrap=True)
    shown = [column for column in SHOWN if column in columns]
    for column in shown:
        table.add_column(Text(column), justify="left" if column == "verdict" else "right", no_wrap=True)
    for standing in found:
        cells = _cells(standing)
        table.add_row(Text(standing.row.agent), *(cells[column] for column in shown))
    return table


def _notes(columns: Sequence[str]) -> list[str]:
    """What the columns' names do not say."""
    notes = ["[low, high]: 95% interval, each on its own"]
    if "verdict" in columns:
        notes.append("verdict: 5% for all rows together (Holm)")
    if COLUMN_OF["unread"] in columns:
        notes.append(f"{COLUMN_OF['unread']}: answers that could not be read")
    if COLUMN_OF["out_of_room"] in columns:
        notes.append(f"{COLUMN_OF['out_of_room']}: episodes that a model had no room for")
    return notes


def _cells(standing: Standing) -> dict[str, Text]:
    difference, figures = standing.difference, standing.row.figures
    return {
        "grade": Text(interval(standing.grade)),
        **{name: Text(f"{value:.2f}") for name, value in standing.parts.items()},
        "return": Text(f"{standing.mean_return:+.2%}"),
        f"less {REFERENCE}": Text(interval(difference.interval, sign=True) if difference else "-"),
        "verdict": Text(standing.verdict, style=STYLES.get(standing.verdict, "")),
        "refused": Text(f"{standing.refused:.1f}"),
        "episodes": Text(f"{standing.row.episodes:,}"),
        **{column: Text(f"{figures[name]:.1%}" if name in figures else "-") for name, column in COLUMN_OF.items()},
    }


def interval(found: Interval, sign: bool = False) -> str:
    """``.512 [.480, .544]``; the mean alone where there is no interval."""
    form = "{:+.3f}" if sign else "{:.3f}"
    mean = form.format(found.value)
    if math.isnan(found.low):
        return mean
    return f"{mean} [{form.format(found.low)}, {form.format(found.high)}]"


def sentence(difference: Difference) -> str:
    """A paired difference in words."""
    said = {
        "above": "shown to be above",
        "below": "shown to be below",
        "not shown": "the interval holds 0: no difference is shown",
        "too few dates": "too few dates for an interval",
        "same": "the same in every episode",
    }[difference.verdict]
    if difference.verdict == "not shown" and difference.excludes_zero:
        said = "not shown: the interval leaves 0 out, but not once the number of comparisons is allowed for"
    return (
        f"{difference.first} less {difference.second}: {interval(difference.interval, sign=True)} on "
        f"{difference.episodes:,} episodes; {said}"
    )


def _claims(found: Sequence[Standing], days: int) -> list[str]:
    """How many episodes the differences of CLAIMS would need, and how many blocks of dates there are."""
    told = []
    for claim in CLAIMS:
        if (counts := needed(found, claim)) is None:
            return []
        fewest, most = counts
        told.append(f"{claim:.2f}: {fewest:,}" if fewest == most else f"{claim:.2f}: {fewest:,} to {most:,}")
    block = BLOCK_EPISODES * days
    starts = {start // block for standing in found for start in standing.row.starts}
    lines = [
        f"Episodes that a difference to {REFERENCE} would need, by agent's spread: {'; '.join(told)} "
        f"(power 80%, episodes without common dates; these begin in {len(starts)} blocks of {block} days)."
    ]
    if len(starts) < FEWEST_BLOCKS:
        lines.append(f"Below {FEWEST_BLOCKS} blocks the intervals are rough, however many episodes there are.")
    return lines


def print_overview(console: Console, all_played: Sequence[Played]) -> None:
    """Mean grades of every agent on every market and level."""
    boards = [played for played in all_played if played.book and played.edition]
    if len(boards) < 2:
        return
    means: dict[str, dict[int, Standing]] = {}
    for place, played in enumerate(boards):
        for standing in standings(played.rows):
            means.setdefault(standing.row.agent, {})[place] = standing
    table = Table(title=Text("Mean grades"), box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, title_justify="left")
    table.caption = Text(
        f"green: shown to be above {REFERENCE}, red: below it, at 5% for a board's rows together (Holm)"
    )
    table.add_column("agent", no_wrap=True)
    for played in boards:
        table.add_column(Text(f"{played.market}\n{played.level}"), justify="right", no_wrap=True)
    for agent, by_place in means.items():
        cells = [by_place.get(place) for place in range(len(boards))]
        table.add_row(Text(agent), *(_mean(cell) for cell in cells))
    console.print(table)


def _mean(standing: Standing | None) -> Text:
    if standing is None:
        return Text("-")
    style = {"above": "green", "below": "red"}.get(standing.verdict, "")
    return Text(f"{standing.grade.value:.3f}", style=style)
