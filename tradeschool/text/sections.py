"""Prompt sections: tables of days, news by age, and every kind of row that was public.

A section is a heading and lines, or "nothing known". With a random generator a prompt gets a variant: a different order
of the sections and a different sample of the news. In a masked prompt no number reveals which company it is.
"""

import math
import re
from collections.abc import Callable, Sequence

import numpy as np

from tradeschool.market.events.archive import TEXTS, KnownEvent
from tradeschool.market.features import STATISTICS_LENGTH, window_statistics
from tradeschool.market.panel import Floats
from tradeschool.market.snapshot import Snapshot
from tradeschool.text.describe import ago

BUCKETS: tuple[tuple[str, int, int, int], ...] = (
    ("0-3 days old", 0, 3, 10),
    ("4-10 days old", 4, 10, 20),
    ("11-30 days old", 11, 30, 20),
)
"""News by age in calendar days (first and last included) and how many are shown: Trading-R1 (arXiv 2509.11420)."""
KEEP_PROBABILITY = 0.8
"""The chance that a variant keeps a section; the first section of a recipe is always kept."""
MAX_ROWS = {"fundamentals": 2, "insider": 20, "analyst": 20, "volatility_index": 5}
MAX_SERIES = 12
MAX_MARKET_NEWS = 10
MAX_CHARACTERS = 500
"""Longer events are cut."""
_TABLES = {
    "prices": ("open", "high", "low", "close", "volume"),
    "indicators": ("rsi_14", "stoch_k", "stoch_d", "willr_14", "cci_20", "adx_14", "roc_10", "macd_hist"),
}
_TITLES = {"volatility_index": "Volatility index"}
Draw = np.random.Generator | None
"""None for the whole prompt, a generator for a variant."""


def _table(name: str) -> Callable[[Snapshot, Draw], list[str]]:
    def lines(snapshot: Snapshot, draw: Draw) -> list[str]:
        headings, columns = zip(*(_column(snapshot, column) for column in _TABLES[name]), strict=True)
        values_LC = np.array(columns).T
        known_L = np.isfinite(values_LC).any(axis=1)
        rows = [
            f"{i - len(known_L) + 1:+d}: " + ", ".join(map(format_number, values_C))
            for i, values_C in enumerate(values_LC.tolist())
            if known_L[i]
        ]
        return [f"day: {', '.join(headings)}", *rows] if rows else []

    return lines


def _column(snapshot: Snapshot, column: str) -> tuple[str, Floats]:
    """The heading and the values of a column."""
    values_L = snapshot.recent[column]
    # Masked prices are rebased; an indicator in price units would reveal the price.
    if column == "macd_hist":
        return "macd_hist in % of the close", 100 * values_L / snapshot.values["close"]
    # The number of shares traded would reveal the size of the company.
    if column == "volume" and snapshot.masked:
        known_L = values_L[np.isfinite(values_L)]
        return "volume in % of these days' mean", 100 * values_L / (known_L.mean() if known_L.any() else np.nan)
    return column, values_L


def _statistics(snapshot: Snapshot, draw: Draw) -> list[str]:
    closes_L = snapshot.recent["close"][-STATISTICS_LENGTH:]
    if len(closes_L) < STATISTICS_LENGTH or not np.isfinite(closes_L).all():
        return []
    found = {name: float(values_W[0]) for name, values_W in window_statistics(closes_L[None, :]).items()}
    back = {name: STATISTICS_LENGTH - 1 - round(found[f"{name}_timestep"]) for name in ("min", "max", "median")}
    lags = ", ".join(
        f"lag {name.removeprefix('lag_')} {format_number(found[name])}" for name in found if "lag_" in name
    )
    return [
        *(f"{name} {format_number(found[name])}, {ago(back[name])}" for name in ("min", "max", "median")),
        f"mean {format_number(found['mean'])}",
        f"trend {format_number(found['trend'])} a day ({trend_word(found['trend'], found['mean'])})",
        f"correlation of the closes at {lags}",
    ]


def _news(snapshot: Snapshot, draw: Draw) -> list[str]:
    lines: list[str] = []
    # Repeated texts (retweets) count once, as the newest of them.
    newest: dict[str, KnownEvent] = {}
    for event in snapshot.events[TEXTS]:
        newest.setdefault(event.text, event)
    for title, first, last, most in BUCKETS:
        bucket = [event for event in newest.values() if first <= event.days <= last]
        shown = _sample(bucket, most, draw)
        if shown:
            more = f" ({len(shown)} of {len(bucket)})" if len(shown) < len(bucket) else ""
            lines += [f"{title}{more}:", *(_line(snapshot, event) for event in shown)]
    return lines


def _sample(events: Sequence[KnownEvent], most: int, draw: Draw) -> Sequence[KnownEvent]:
    """The newest events, or a random sample of them if there is a generator; newest first either way."""
    if draw is None or len(events) <= most:
        return events[:most]
    return [events[i] for i in sorted(draw.choice(len(events), most, replace=False).tolist())]


def _rows(kind: str) -> Callable[[Snapshot, Draw], list[str]]:
    def lines(snapshot: Snapshot, draw: Draw) -> list[str]:
        events = snapshot.events[kind]
        shown = (_line(snapshot, event, events[i + 1 :]) for i, event in enumerate(events[: MAX_ROWS[kind]]))
        return list(filter(None, shown))

    return lines


def _company(snapshot: Snapshot, draw: Draw) -> list[str]:
    """The newest description; every word of it would identify a masked company."""
    shown = "not shown, because it would tell which company this is"
    return [shown if snapshot.masked else event.text for event in snapshot.events["company"][:1]]


def _macro(snapshot: Snapshot, draw: Draw) -> list[str]:
    """The newest figure of each series, with the one before it.

    A series is the field ``name`` or ``series`` of a row, otherwise its text and source.
    """
    by_series: dict[str, list[KnownEvent]] = {}
    for event in snapshot.events["macro"]:
        fields = dict(event.fields)
        series = str(fields.get("name", fields.get("series", f"{event.text}|{event.source}")))
        by_series.setdefault(series, []).append(event)
    lines = []
    for events in list(by_series.values())[:MAX_SERIES]:
        before = f"; before: {event_text(snapshot, events[1])}" if len(events) > 1 else ""
        lines.append(_line(snapshot, events[0]) + before)
    return list(filter(None, lines))


def _line(snapshot: Snapshot, event: KnownEvent, earlier: Sequence[KnownEvent] = ()) -> str:
    """One line; empty if nothing of the event can be shown in a masked prompt."""
    source = f" [{event.source}]" if event.source else ""
    if not (text := event_text(snapshot, event, earlier)):
        return ""
    if len(text) > MAX_CHARACTERS:
        text = text[: MAX_CHARACTERS - 3] + "..."
    return f"- {ago(event.days)}: {text}{source}"


_LINES: dict[str, Callable[[Snapshot, Draw], list[str]]] = {
    "prices": _table("prices"),
    "indicators": _table("indicators"),
    "statistics": _statistics,
    "news": _news,
    "market": lambda snapshot, draw: [
        _line(snapshot, event) for event in _sample(snapshot.market_news, MAX_MARKET_NEWS, draw)
    ],
    "company": _company,
    "fundamentals": _rows("fundamentals"),
    "insider": _rows("insider"),
    "analyst": _rows("analyst"),
    "macro": _macro,
    "volatility_index": _rows("volatility_index"),
}
SECTIONS: tuple[str, ...] = tuple(_LINES)


def section(name: str, snapshot: Snapshot, draw: Draw = None) -> str:
    """One section of :data:`SECTIONS`: a heading, and its lines or ``nothing known``."""
    title = _TITLES.get(name, name.capitalize())
    return "\n".join([f"## {title}", *(_LINES[name](snapshot, draw) or ["nothing known"])])


def sections(snapshot: Snapshot, names: Sequence[str], draw: Draw = None) -> str:
    """Sections separated by empty lines: all of them in the given order, or a variant if there is a generator."""
    if draw is not None:
        kept = [name for i, name in enumerate(names) if draw.random() < KEEP_PROBABILITY or i == 0]
        names = [kept[i] for i in draw.permutation(len(kept))]
    return "\n\n".join(section(name, snapshot, draw) for name in names)


# Numbers, and what masking does to them --------------------------------------------------------------

_RATIO_WORDS = """beta growth margin margins multiple payout pb pct pe peg percent ps rate ratio roa roc roce roe roic
score to turnover yield"""
_RATIOS = frozenset(_RATIO_WORDS.split())
"""Words in the names of fields that are pure numbers, independent of the size of the company."""
_LARGEST_RATIO = 1e3
_PER_SHARE = frozenset({"bvps", "dps", "eps", "price", "target"})
"""Words in the names of fields in price units, which are rebased like prices; ``per_share`` is another."""
_SHARE_COUNTS = frozenset({"shares", "quantity", "volume", "units", "options"})
"""Words in the names of an insider's amounts that are numbers of shares; the others are money."""
_PEOPLE = frozenset({"insider", "person", "owner", "filer", "analyst", "ceo", "cfo", "executive", "director", "author"})
"""Fields that name a person; so do ``name`` and ``.._name`` in rows about one ticker."""
_LARGEST_FIGURE = 1e4
"""From here on, figures of analysts and of news count as amounts."""
_REVENUE = ("revenue", "total_revenue", "revenues", "operating_revenue", "sales", "net_sales")
_HARMLESS = re.compile(r"\d+ (?:days|years) ago|in \d+ (?:days|years)|\bStock \d+\b")
"""Ages and masked names: the digits that a masked text may contain."""
_FORMS = ("form", "form_type", "filing_type")
_OF_THE_MARKET = ("macro", "volatility_index")
_UNITS = ((1e9, 1e9, "bn"), (1e6, 1e6, "m"), (9999.5, 1e3, "k"))
"""Smallest value, divisor and suffix."""


def format_number(value: float) -> str:
    """At most four digits, thousands as k, m, bn; ``-`` for NaN and infinity."""
    if abs(value) < _UNITS[-1][0]:  # nearly all
        return f"{value:.4g}"
    if not math.isfinite(value):
        return "-"
    _, size, suffix = next(unit for unit in _UNITS if abs(value) >= unit[0])
    return f"{value / size:.4g}{suffix}"


def trend_word(slope: float, mean: float) -> str:
    """``up`` or ``down`` if the slope per day is at least 0.1 % of the mean, otherwise ``flat``."""
    share = slope / abs(mean) if mean else 0.0
    return "up" if share >= 1e-3 else "down" if share <= -1e-3 else "flat"


def event_text(snapshot: Snapshot, event: KnownEvent, earlier: Sequence[KnownEvent] = ()) -> str:
    """The text of an event, followed by its fields; changes refer to ``earlier`` events of the same kind, newest first.

    If masked, no field reveals the size of the company, its price level or a person. Fundamentals are in percent of
    revenue, and revenue as its change. An insider's shares and money are in percent of a day's volume and turnover.
    Prices and figures per share are rebased like the stock's prices. Other amounts are left out.
    """
    if snapshot.masked and event.kind not in _OF_THE_MARKET:
        text = _without_people(event)
        masked = ((name, _masked_field(name, value, snapshot, event, earlier)) for name, value in event.fields)
        fields = [(name, shown) for name, shown in masked if shown]
    else:
        text = event.text
        fields = [(name, format_number(value) if isinstance(value, float) else value) for name, value in event.fields]
    shown = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in fields)
    return " | ".join(filter(None, (text, shown)))


def _masked_field(
    name: str, value: str | float, snapshot: Snapshot, event: KnownEvent, earlier: Sequence[KnownEvent]
) -> str:
    """A field as a masked prompt shows it; empty if it cannot be shown."""
    words = set(name.split("_"))
    if not isinstance(value, float):
        amount = re.search(r"\d", _HARMLESS.sub("", value)) and name not in _FORMS
        return "" if amount or _is_person(name) else value
    if (words & _RATIOS or "return_on" in name) and abs(value) < _LARGEST_RATIO:
        return format_number(value)
    if words & _PER_SHARE or "per_share" in name:
        return format_number(value * snapshot.scale)
    if event.kind == "insider":
        return _of_a_day(value, bool(words & _SHARE_COUNTS), snapshot)
    if event.kind == "fundamentals":
        return _of_revenue(name, value, event, earlier)
    return format_number(value) if abs(value) < _LARGEST_FIGURE else ""


def _of_a_day(value: float, shares: bool, snapshot: Snapshot) -> str:
    """An insider's amount in percent of the shares or the money traded on an average day."""
    volume_L, close_L = snapshot.recent["volume"], snapshot.recent["close"] / snapshot.scale
    traded_L = volume_L if shares else volume_L * close_L
    known_L = traded_L[np.isfinite(traded_L)]
    mean = float(known_L.mean()) if known_L.size else 0.0
    return f"{100 * value / mean:.2g}% of a day's {'volume' if shares else 'turnover'}" if mean > 0 else ""


def _of_revenue(name: str, value: float, event: KnownEvent, earlier: Sequence[KnownEvent]) -> str:
    fields = dict(event.fields)
    revenue = next((fields[key] for key in _REVENUE if isinstance(fields.get(key), float)), None)
    if name not in _REVENUE and isinstance(revenue, float) and revenue > 0:
        return f"{100 * value / revenue:.3g}% of revenue"
    before = next((found for one in earlier if isinstance(found := dict(one.fields).get(name), float)), None)
    if isinstance(before, float) and before:
        return f"{100 * (value - before) / abs(before):+.3g}% on the row before"
    return ""


def _is_person(name: str) -> bool:
    return name in _PEOPLE or (name.rpartition("_")[2] == "name" and "company" not in name)


def _without_people(event: KnownEvent) -> str:
    """The text without the people who are named in the fields."""
    text = event.text
    for name, value in event.fields:
        if isinstance(value, str) and _is_person(name):
            words = [re.escape(word) for word in re.findall(r"\w+", value) if len(word) > 2]
            if words:
                text = re.sub(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", "[person]", text, flags=re.IGNORECASE)
    return re.sub(r"\[person\](?:[\s.,]+(?:\w\.?\s+)?\[person\])+", "[person]", text)
