"""The sections of a long prompt: tables of days, news by age, and every kind of row that was public.

A section is a heading and lines. Where there is nothing to tell it says so. A draw of a random generator makes a
variant: another order of the sections, another sample of the news.
"""

from collections.abc import Callable, Sequence

import numpy as np

from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.market.notes.archive import TEXTS, DatedNote
from tradeschool.market.panel import Floats
from tradeschool.market.statistics import LENGTH, window_statistics
from tradeschool.market.window import Window
from tradeschool.text.figures import figure, row_text, trend_word

BUCKETS: tuple[tuple[str, int, int, int], ...] = (
    ("0-3 days old", 0, 3, 10),
    ("4-10 days old", 4, 10, 20),
    ("11-30 days old", 11, 30, 20),
)
"""News by age in calendar days, first and last included, and how many are shown: Trading-R1 (arXiv 2509.11420)."""
KEPT = 0.8
"""The chance with which a variant keeps a section; the first section of a recipe is always kept."""
MOST_ROWS = {"fundamentals": 2, "insider": 20, "analyst": 20, "volatility_index": 5}
MOST_SERIES = 12
MOST_OF_THE_MARKET = 10
LONGEST = 500
"""Characters of a note that are shown."""
_TABLES = {
    "prices": ("open", "high", "low", "close", "volume"),
    "indicators": ("rsi_14", "stoch_k", "stoch_d", "willr_14", "cci_20", "adx_14", "roc_10", "macd_hist"),
}
_TITLES = {"volatility_index": "Volatility index"}
Draw = np.random.Generator | None


def _table(name: str) -> Callable[[Window, Draw], list[str]]:
    columns = _TABLES[name]

    def lines(window: Window, draw: Draw) -> list[str]:
        values_CL = np.array([_shown(window, column) for column in columns])
        days, known_L = values_CL.shape[1], np.isfinite(values_CL).any(axis=0)
        rows = [
            f"{i - days + 1:+d}: " + ", ".join(figure(value) for value in values_C)
            for i, values_C in enumerate(values_CL.T.tolist())
            if known_L[i]
        ]
        heading = ", ".join(_heading(window, column) for column in columns)
        return [f"day: {heading}", *rows] if rows else []

    return lines


def _shown(window: Window, column: str) -> Floats:
    values_L = window.recent[column]
    # Masked prices are rebased, so an indicator in units of the price would tell the price.
    if column == "macd_hist":
        return 100 * values_L / window.values["close"]
    # Shares traded tell the size of a company.
    if column == "volume" and window.masked:
        known_L = values_L[np.isfinite(values_L)]
        return 100 * values_L / (known_L.mean() if known_L.any() else np.nan)
    return values_L


def _heading(window: Window, column: str) -> str:
    if column == "macd_hist":
        return "macd_hist in % of the close"
    return "volume in % of these days' mean" if column == "volume" and window.masked else column


def _statistics(window: Window, draw: Draw) -> list[str]:
    closes_L = window.recent["close"][-LENGTH:]
    if len(closes_L) < LENGTH or not np.isfinite(closes_L).all():
        return []
    found = {name: float(values_W[0]) for name, values_W in window_statistics(closes_L[None, :]).items()}
    back = {name: LENGTH - 1 - round(found[f"{name}_timestep"]) for name in ("min", "max", "median")}
    lags = ", ".join(f"lag {name.removeprefix('lag_')} {figure(found[name])}" for name in found if "lag_" in name)
    return [
        *(f"{name} {figure(found[name])}, {_ago(back[name])}" for name in ("min", "max", "median")),
        f"mean {figure(found['mean'])}",
        f"trend {figure(found['trend'])} a day ({trend_word(found['trend'], found['mean'])})",
        f"correlation of the closes at {lags}",
    ]


def _news(window: Window, draw: Draw) -> list[str]:
    lines: list[str] = []
    # A text that is told again and again (retweets) is one piece of news, as old as its latest telling.
    newest: dict[str, DatedNote] = {}
    for note in window.notes[TEXTS]:
        newest.setdefault(note.text, note)
    for title, first, last, most in BUCKETS:
        bucket = [note for note in newest.values() if first <= note.days <= last]
        shown = _some(bucket, most, draw)
        if shown:
            more = f" ({len(shown)} of {len(bucket)})" if len(shown) < len(bucket) else ""
            lines += [f"{title}{more}:", *(_told(window, note) for note in shown)]
    return lines


def _some(notes: Sequence[DatedNote], most: int, draw: Draw) -> Sequence[DatedNote]:
    """The newest, or with a draw a sample, the newest first either way."""
    if len(notes) <= most:
        return notes
    if draw is None:
        return notes[:most]
    return [notes[i] for i in sorted(draw.choice(len(notes), most, replace=False).tolist())]


def _rows(kind: str) -> Callable[[Window, Draw], list[str]]:
    def lines(window: Window, draw: Draw) -> list[str]:
        notes = window.notes[kind]
        told = (_told(window, note, notes[i + 1 :]) for i, note in enumerate(notes[: MOST_ROWS[kind]]))
        return list(filter(None, told))

    return lines


def _company(window: Window, draw: Draw) -> list[str]:
    """The newest description, of which every word would tell a masked company."""
    notes = window.notes["company"]
    if window.masked and notes:
        return ["not shown, because it would tell which company this is"]
    return [note.text for note in notes[:1]]


def _market(window: Window, draw: Draw) -> list[str]:
    return [_told(window, note) for note in _some(window.market_news, MOST_OF_THE_MARKET, draw)]


def _macro(window: Window, draw: Draw) -> list[str]:
    """The newest figure of each series, with the one before it."""
    by_series: dict[str, list[DatedNote]] = {}
    for note in window.notes["macro"]:
        by_series.setdefault(series_name(note), []).append(note)
    lines = []
    for notes in list(by_series.values())[:MOST_SERIES]:
        before = f"; before: {row_text(window, notes[1])}" if len(notes) > 1 else ""
        lines.append(_told(window, notes[0]) + before)
    return list(filter(None, lines))


def series_name(note: DatedNote) -> str:
    """Which series a macro row belongs to: its field ``name`` or ``series``, else its text and source."""
    fields = dict(note.fields)
    return str(fields.get("name", fields.get("series", f"{note.text}|{note.source}")))


def _ago(days: int) -> str:
    return "today" if days == 0 else f"{days}d ago"


def _told(window: Window, note: DatedNote, earlier: Sequence[DatedNote] = ()) -> str:
    """One line; empty where a masked window can say nothing of the note."""
    source = f" [{note.source}]" if note.source else ""
    if not (text := row_text(window, note, earlier)):
        return ""
    return f"- {_ago(note.days)}: {text if len(text) <= LONGEST else text[: LONGEST - 3] + '...'}{source}"


_LINES: dict[str, Callable[[Window, Draw], list[str]]] = {
    "prices": _table("prices"),
    "indicators": _table("indicators"),
    "statistics": _statistics,
    "news": _news,
    "market": _market,
    "company": _company,
    "fundamentals": _rows("fundamentals"),
    "insider": _rows("insider"),
    "analyst": _rows("analyst"),
    "macro": _macro,
    "volatility_index": _rows("volatility_index"),
}
SECTIONS: tuple[str, ...] = tuple(_LINES)


def check_sections(names: Sequence[str]) -> None:
    """Raise RecipeError for a section that does not exist, with the nearest one that does."""
    for name in names:
        if name not in _LINES:
            raise RecipeError(
                f"'{name}' is no section.{did_you_mean(name, SECTIONS)} Choose from: {', '.join(SECTIONS)}."
            )


def section(name: str, window: Window, draw: Draw = None) -> str:
    """One section of :data:`SECTIONS`: a heading, and its lines or ``nothing known``."""
    title = _TITLES.get(name, name.capitalize())
    return "\n".join([f"## {title}", *(_LINES[name](window, draw) or ["nothing known"])])


def sections(window: Window, names: Sequence[str], draw: Draw = None) -> str:
    """Sections with an empty line between them: all in their order, or with a draw a variant of them."""
    if draw is not None:
        kept = [name for i, name in enumerate(names) if draw.random() < KEPT or i == 0]
        names = [kept[i] for i in draw.permutation(len(kept))]
    return "\n\n".join(section(name, window, draw) for name in names)
