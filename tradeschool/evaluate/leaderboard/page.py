"""The page of leaderboards: one file without scripts or outside parts; a run's, or a folder of markets and levels."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tradeschool.env.grading import WEIGHTS
from tradeschool.env.sampling import BLOCK_EPISODES
from tradeschool.errors import RunError
from tradeschool.evaluate.leaderboard import charts
from tradeschool.evaluate.leaderboard.headline import blocks, percent_points, return_gap
from tradeschool.evaluate.leaderboard.ladder import Board, kind
from tradeschool.evaluate.leaderboard.row import Edition, Row
from tradeschool.evaluate.leaderboard.standing import REFERENCE, Difference, Standing
from tradeschool.evaluate.leaderboard.table import interval
from tradeschool.evaluate.leaderboard.talks import Meeting
from tradeschool.evaluate.page import template
from tradeschool.manifest import replace_text

TEMPLATE = Path(__file__).with_name("leaderboard.jinja")
KINDS = {"language": "language model", "numeric": "agent on numbers", "rule": "rule"}
LABELS = {"risk": "risk", "pnl": "P&L", "drawdown": "drawdown", "activity": "activity"}
MEANINGS = {
    "risk": "return for the ups and downs taken (a Sharpe ratio), against the market's",
    "pnl": "return after costs, against the market's",
    "drawdown": "largest fall from a peak, against the market's",
    "activity": "capital at work, as far as it earned",
}
FIGURES = {
    "unread": ("answers that could not be read", "{:.1%}"),
    "out_of_room": ("episodes in which it ran out of room", "{:.1%}"),
    "latency_median": ("seconds to an answer, median", "{:.2f}"),
    "latency_p95": ("seconds to an answer, 95th percentile", "{:.2f}"),
    "cost": ("cost in the currency of its prices", "{:.4g}"),
}
"""Figures of rows that need other words than their names, and how they are written."""
TAGS = {"above": "better", "below": "worse", "not shown": "not-shown", "too few dates": "not-shown"}
WORDS = {"above": "higher", "below": "lower", "same": "the same", "reference": "the one to beat"}


@dataclass(frozen=True)
class Section:
    """A board with all that is told about it.

    Attributes:
        board: None where nothing was played; ``reason`` says why.
        missing: why agents have no row, by name.
        older: boards of other editions, and in what they differ.
        made_of: more of what the result is one of, besides the edition: (label, value).
    """

    name: str
    board: Board | None
    headline: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    missing: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    older: Sequence[tuple[str, Board]] = ()
    meetings: Sequence[Meeting] = ()
    made_of: Sequence[tuple[str, str]] = ()


def write_page(
    path: Path,
    title: str,
    sections: Sequence[Section],
    training: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> None:
    """Write the page, replacing the file in one step. Every text is escaped: no answer or name becomes markup.

    Args:
        training: the metrics of each stage's steps, in order.
        manifest: versions, hashes and seeds, printed as JSON.

    Raises:
        RunError: the file cannot be written.
    """
    played = [section.board for section in sections if section.board]
    html = template(TEMPLATE).render(
        title=title,
        sections=[(section, _shown(section.board, section) if section.board else None) for section in sections],
        overview=_overview(sections) if len(played) > 1 else None,
        weights=WEIGHTS,
        labels=LABELS,
        meanings=MEANINGS,
        reference=REFERENCE,
        tags=TAGS,
        training={stage: charts.training_charts(stage, steps) for stage, steps in (training or {}).items()},
        manifest=json.dumps(manifest, indent=2, ensure_ascii=False, default=str) if manifest else "",
    )
    try:
        replace_text(path, html)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}.") from error


def _shown(board: Board, section: Section) -> dict[str, Any]:
    """What the template shows of a board."""
    edition = board.found[0].row.edition
    most = max(one.row.episodes for one in board.found)
    starts = max((one.row for one in board.found), key=lambda row: row.episodes)
    drawn = [
        ("Mean grade", charts.grade_chart(board)),
        (f"Against {REFERENCE}", charts.difference_chart(board)),
        ("Mean return through an episode, after costs", charts.path_chart(board)),
    ]
    return {
        "what": _what(edition, most, blocks(starts), board.part),
        "charts": [(caption, svg) for caption, svg in drawn if svg],
        "paths": bool(drawn[2][1]),
        "rows": [_line(one, board.reference) for one in board.found],
        "differences": [_difference(one) for one in board.compared],
        "ruined": any(one.row.bankrupt for one in board.found),
        "identity": [*_identity(edition, most), ("played", _played(board)), *section.made_of],
        "older": [(text, [_line(one, old.reference) for one in old.found]) for text, old in section.older],
    }


def _what(edition: Edition, episodes: int, count: int, part: str) -> str:
    stocks = "1 stock" if edition.tickers == 1 else f"{edition.tickers} stocks"
    within = f"{count} block{'s' if count != 1 else ''} of {BLOCK_EPISODES * edition.days} days"
    return (
        f"{edition.data}: {episodes:,} episodes of {stocks} and {edition.days} days, the same for all, within "
        f"{edition.first} to {edition.last} (the {part} part, never trained on here); they begin in {within}."
    )


def _line(one: Standing, reference: Row | None) -> dict[str, Any]:
    returns = return_gap(one.row, reference) if reference and one.difference else None
    return {
        "agent": one.row.agent,
        "kind": KINDS[kind(one.row)],
        "learned": kind(one.row) != "rule",
        "grade": _cell(interval(one.grade)),
        "parts": {name: f"{one.parts[name]:.2f}" for name in WEIGHTS},
        "difference": _cell(interval(one.difference.interval, sign=True)) if one.difference else ("-", ""),
        "verdict": one.verdict,
        "verdict_words": WORDS.get(one.verdict, one.verdict),
        "return": f"{100 * one.mean_return:+.2f}",
        "returns": _cell(percent_points(returns).removesuffix(" percentage points")) if returns else ("-", ""),
        "refused": f"{one.refused:.1f}",
        "bankrupt": f"{one.row.bankrupt:,}",
        "episodes": f"{one.row.episodes:,}",
        "seconds": f"{one.row.seconds:,.1f}",
        "figures": _figures(one.row),
    }


def _figures(row: Row) -> str:
    """The agent's own figures in words; those that are not known, or shares of nothing, are left out."""
    told = []
    for name, value in row.figures.items():
        words, form = FIGURES.get(name, (name.replace("_", " "), "{:,.6g}"))
        if isinstance(value, int | float) and value:
            told.append(f"{words} {form.format(value)}")
    return ", ".join(told)


def _cell(text: str) -> tuple[str, str]:
    """A figure and its ``[low, high]``, which stand below each other."""
    value, bracket, ends = text.partition(" [")
    return value, f"[{ends}" if bracket else ""


def _difference(one: Difference) -> dict[str, Any]:
    return {
        "first": one.first,
        "second": one.second,
        "cell": _cell(interval(one.interval, sign=True)),
        "verdict": one.verdict,
        "words": WORDS.get(one.verdict, one.verdict),
        "episodes": f"{one.episodes:,}",
    }


def _identity(edition: Edition, episodes: int) -> list[tuple[str, str]]:
    """What has to be the same for another result to be compared with this one."""
    return [
        ("environment", f"version {edition.env_version}, rules {edition.rules_hash}"),
        ("level", f"{edition.level}, version {edition.level_version}, settings {edition.settings_hash}"),
        ("data", f"{edition.data}, hash {edition.data_hash}"),
        ("dates", f"{edition.first} to {edition.last}"),
        ("seeds of the episodes", f"{edition.seed} to {edition.seed + episodes - 1}"),
    ]


def _played(board: Board) -> str:
    dates = sorted({one.row.date[:10] for one in board.found})
    versions = sorted({one.row.tradeschool for one in board.found})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f"{when}, with tradeschool {', '.join(versions)}"


def _overview(sections: Sequence[Section]) -> dict[str, Any]:
    """Mean grades of every agent on every board that was played."""
    boards = [(section.name, section.board) for section in sections if section.board]
    agents = dict.fromkeys(one.row.agent for _, board in boards for one in board.found)
    found = [{one.row.agent: one for one in board.found} for _, board in boards]
    cells = {
        agent: [(f"{own[agent].grade.value:.3f}", own[agent].verdict) if agent in own else ("-", "") for own in found]
        for agent in agents
    }
    return {"names": [name for name, _ in boards], "cells": cells}
