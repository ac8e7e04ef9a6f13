"""Figures as a prompt says them; those that would tell which company is meant are made relative when masked."""

import math
import re
from collections.abc import Sequence

import numpy as np

from tradeschool.market.notes.archive import DatedNote
from tradeschool.market.window import Window

_PURE = """beta growth margin margins multiple payout pb pct pe peg percent ps rate ratio roa roc roce roe roic score to
turnover yield"""
_RATIOS = frozenset(_PURE.split())
"""Words in the names of fields that are pure numbers, the same for a small company and a large one."""
_LARGEST_RATIO = 1e3
_PER_SHARE = frozenset({"bvps", "dps", "eps", "price", "target"})
"""Words in the names of fields in units of the stock's price, as is all that is ``per_share``: rebased with it."""
_COUNTS = frozenset({"shares", "quantity", "volume", "units", "options"})
"""Words in the names of an insider's amounts that are shares; the others are money."""
_PEOPLE = frozenset({"insider", "person", "owner", "filer", "analyst", "ceo", "cfo", "executive", "director", "author"})
"""Fields that name a person where a row is of one ticker, as do ``name`` and ``.._name``."""
_LARGEST_FIGURE = 1e4
"""Figures of analysts and of news from here on are amounts."""
_REVENUE = ("revenue", "total_revenue", "revenues", "operating_revenue", "sales", "net_sales")
_HARMLESS = re.compile(r"\d+ (?:days|years) ago|in \d+ (?:days|years)|\bStock \d+\b")
"""Ages and masked names: the numbers that a text may have."""
_FORMS = ("form", "form_type", "filing_type")

_UNITS = ((1e9, 1e9, "bn"), (1e6, 1e6, "m"), (9999.5, 1e3, "k"))
"""From which amount on, what it is divided by, and what stands behind it."""


def figure(value: float) -> str:
    """Four digits at most, thousands as k, m, bn; ``-`` where there is none."""
    if abs(value) < _UNITS[-1][0]:  # nearly all
        return f"{value:.4g}"
    if not math.isfinite(value):
        return "-"
    _, size, letters = next(unit for unit in _UNITS if abs(value) >= unit[0])
    return f"{value / size:.4g}{letters}"


def trend_word(slope: float, mean: float) -> str:
    """``up`` or ``down`` where the slope is at least a tenth of a percent of the mean a day, else ``flat``."""
    share = slope / abs(mean) if mean else 0.0
    return "up" if share >= 1e-3 else "down" if share <= -1e-3 else "flat"


def row_text(window: Window, note: DatedNote, earlier: Sequence[DatedNote] = ()) -> str:
    """The text of a note and its fields; ``earlier`` rows of the same kind, newest first, are compared with.

    Of a masked window's rows no field tells the size of the company, its price level or a person's name:
    fundamentals are in percent of revenue (revenue by its change from the row before), an insider's shares and
    money in percent of a day's volume and turnover, prices and figures per share rebased as the stock's prices are.
    What cannot be said so is left out.
    """
    said = [f"{name.replace('_', ' ')} {value}" for name, value in _figures(window, note, earlier)]
    text = _without_people(note) if window.masked else note.text
    return " | ".join(filter(None, (text, ", ".join(said))))


def _figures(window: Window, note: DatedNote, earlier: Sequence[DatedNote]) -> list[tuple[str, str]]:
    if not window.masked or note.kind in ("macro", "volatility_index"):
        return [(name, figure(value) if isinstance(value, float) else value) for name, value in note.fields]
    return [(name, said) for name, value in note.fields if (said := _hidden(name, value, window, note, earlier))]


def _hidden(name: str, value: str | float, window: Window, note: DatedNote, earlier: Sequence[DatedNote]) -> str:
    """A field as a masked window says it; empty where nothing can be said."""
    words = set(name.split("_"))
    if not isinstance(value, float):
        amount = re.search(r"\d", _HARMLESS.sub("", value)) and name not in _FORMS
        return "" if amount or _is_person(name) else value
    if (words & _RATIOS or "return_on" in name) and abs(value) < _LARGEST_RATIO:
        return figure(value)
    if words & _PER_SHARE or "per_share" in name:
        return figure(value * window.scale)
    if note.kind == "insider":
        return _of_a_day(value, bool(words & _COUNTS), window)
    if note.kind == "fundamentals":
        return _of_revenue(name, value, note, earlier)
    return figure(value) if abs(value) < _LARGEST_FIGURE else ""


def _of_a_day(value: float, shares: bool, window: Window) -> str:
    """An insider's amount in percent of the shares, or of the money, that change hands on a day of the window."""
    volume_L, close_L = window.recent["volume"], window.recent["close"] / window.scale
    traded_L = volume_L if shares else volume_L * close_L
    known_L = traded_L[np.isfinite(traded_L)]
    mean = float(known_L.mean()) if known_L.size else 0.0
    return f"{100 * value / mean:.2g}% of a day's {'volume' if shares else 'turnover'}" if mean > 0 else ""


def _of_revenue(name: str, value: float, note: DatedNote, earlier: Sequence[DatedNote]) -> str:
    fields = dict(note.fields)
    revenue = next((fields[key] for key in _REVENUE if isinstance(fields.get(key), float)), None)
    if name not in _REVENUE and isinstance(revenue, float) and revenue > 0:
        return f"{100 * value / revenue:.3g}% of revenue"
    before = next((found for one in earlier if isinstance(found := dict(one.fields).get(name), float)), None)
    if isinstance(before, float) and before:
        return f"{100 * (value - before) / abs(before):+.3g}% on the row before"
    return ""


def _is_person(name: str) -> bool:
    return name in _PEOPLE or (name.rpartition("_")[2] == "name" and "company" not in name)


def _without_people(note: DatedNote) -> str:
    """The text without the names of the people that the row's fields name."""
    text = note.text
    for name, value in note.fields if note.kind not in ("macro", "volatility_index") else ():
        if isinstance(value, str) and _is_person(name):
            words = [re.escape(word) for word in re.findall(r"\w+", value) if len(word) > 2]
            if words:
                text = re.sub(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", "[person]", text, flags=re.IGNORECASE)
    return re.sub(r"\[person\](?:[\s.,]+(?:\w\.?\s+)?\[person\])+", "[person]", text)
