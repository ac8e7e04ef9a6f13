"""Cells of a row as texts and figures, whatever type a file gave them."""

import datetime
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tradeschool.market.notes.note import Value

_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", re.ASCII)


def text_of(cell: Any) -> str:
    """A cell as a text, empty where it is missing. Lone surrogates, which no file can hold, become U+FFFD."""
    if isinstance(cell, str):
        text = cell.strip()
    elif cell is None or _is_nan(cell):
        return ""
    elif isinstance(cell, bytes):
        text = cell.decode("utf-8", "replace").strip()
    elif isinstance(cell, datetime.datetime | datetime.date | np.datetime64):
        text = _day_or_moment(cell)
    elif isinstance(cell, np.ndarray | list | tuple | set):
        text = ", ".join(filter(None, map(text_of, cell)))
    else:
        text = str(cell).strip()
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def plain(cell: Any) -> Value | None:
    """A cell as a number, or as a text where it is none; None where it is empty or not finite."""
    if isinstance(cell, bool | int | float | np.number | np.bool_):
        try:
            number = float(cell)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    text = text_of(cell)
    try:
        number = float(text.replace(",", "") if _THOUSANDS.fullmatch(text) else text)
    except ValueError:
        return text or None
    return number if math.isfinite(number) else None


def flat(cells: Iterable[tuple[Any, Any]], prefix: str = "") -> dict[str, Value]:
    """Named figures and texts without the empty ones; those of a mapping inside are named after both."""
    found: dict[str, Value] = {}
    for name, cell in cells:
        key = prefix + snake(str(name))
        if isinstance(cell, Mapping):
            found |= flat(cell.items(), f"{key}_")
        elif (value := plain(cell)) is not None:
            found[key] = value
    return found


def snake(name: str) -> str:
    """``Total Revenue``, ``totalRevenue``, ``total-revenue`` and ``total_revenue`` are one name, the last.

    An acronym is a word: ``reportedEPS`` and ``EPSReported`` are ``reported_eps`` and ``eps_reported``.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.strip())
    return re.sub(r"[\s_.-]+", "_", words).casefold()


def mapping_of(cell: Any) -> Mapping[str, Any]:
    """A mapping, or the JSON object that a text holds; empty where there is nothing.

    Raises:
        ValueError: the text is no JSON object, or the cell is something else.
    """
    if isinstance(cell, Mapping):
        return cell
    text = text_of(cell)
    if not text:
        return {}
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if isinstance(found, Mapping):
        return found
    raise ValueError(f"it is a {type(found).__name__}")


def _day_or_moment(cell: datetime.date | np.datetime64) -> str:
    text = str(cell).replace("T", " ")
    return text.removesuffix(" 00:00:00") if text != "NaT" else ""


def _is_nan(cell: Any) -> bool:
    """NaN, NaT and NA, of which only the first is a number, differ from themselves or cannot tell."""
    try:
        return bool(cell != cell)
    except (TypeError, ValueError):
        return type(cell).__name__ == "NAType"
