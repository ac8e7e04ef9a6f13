"""Reports of leaderboards from what lies on the disk: of a run, and of the command's markets and levels."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tradeschool.errors import RunError
from tradeschool.evaluate.leaderboard.board import Played
from tradeschool.evaluate.leaderboard.book import Book
from tradeschool.evaluate.leaderboard.headline import board_headline, run_headline
from tradeschool.evaluate.leaderboard.ladder import Board, Rule, ladder
from tradeschool.evaluate.leaderboard.outcome import LEADERBOARD
from tradeschool.evaluate.leaderboard.page import Section, write_page
from tradeschool.evaluate.leaderboard.stage import ROWS
from tradeschool.evaluate.leaderboard.table import changes
from tradeschool.evaluate.leaderboard.talks import Talk, meetings, read_talks
from tradeschool.evaluate.leaderboard.warn import board_warnings, episode_training_warnings, of_unknown_rows
from tradeschool.manifest import Manifest

INDEX = "index.html"


def has_leaderboard(run_folder: Path) -> bool:
    """Whether a leaderboard of a run has finished."""
    return any(run_folder.glob(f"*/{LEADERBOARD}"))


def report_run(
    run_folder: Path, path: Path, manifest: Manifest, training: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Section]:
    """Write the report of a run with a leaderboard; the sections are given back, those of later stages first.

    Conversations that cannot be read are told of in the warnings, and the rest is shown without them.

    Raises:
        RunError: there is no leaderboard, its rows cannot be read, or the page cannot be written.
    """
    folders = sorted((found.parent for found in run_folder.glob(f"*/{LEADERBOARD}")), key=_number, reverse=True)
    if not folders:
        raise RunError(f"{run_folder}: no stage has left a {LEADERBOARD}. Resume the run, or start it again.")
    sections = [_section(folder, manifest) for folder in folders]
    first = sections[0]
    if first.board:
        weights = manifest.recipe.get("task", {}).get("weights", {})
        days = first.board.found[0].row.edition.days
        first.warnings.extend(episode_training_warnings(training, weights, days))
    write_page(path, f"tradeschool: {manifest.recipe['name']}", sections, training, dataclasses.asdict(manifest))
    return sections


def _number(folder: Path) -> int:
    """The 10 of ``10-leaderboard``."""
    digits = folder.name.partition("-")[0]
    return int(digits) if digits.isdigit() else 0


def _section(folder: Path, manifest: Manifest) -> Section:
    name, recipe = folder.name.partition("-")[2], manifest.recipe
    stage: dict[str, Any] = next((stage for stage in recipe.get("stages", []) if stage.get("name") == name), {})
    path = folder / LEADERBOARD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        agents, best = {one["agent"] for one in content["standings"]}, _best(content.get("best_rule"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path} cannot be read ({error}). Remove it and {folder / 'done.json'}, and resume the run."
        ) from error
    book = Book(folder / ROWS)
    rows = [row for row in book.on(book.rows[-1].edition) if row.agent in agents] if book.rows else []
    if not rows:
        raise RunError(f"{folder / ROWS} has no row of {path.name}. Remove {folder / 'done.json'}, and resume the run.")
    board = Board.of(name, rows, ladder(recipe), stage.get("split", "test"), best)
    talks, faults = _talks(folder, board)
    return Section(
        name,
        board,
        run_headline(board),
        [*board_warnings(board, talks), *faults],
        meetings=meetings([talks[name] for name in _shown(board) if name in talks]),
        made_of=[
            ("seeds of the run", ", ".join(f"{name} {seed}" for name, seed in manifest.seeds.items())),
            ("recipe", f"{recipe['name']}, hash {manifest.recipe_hash[:16]}, task version {manifest.task_version}"),
        ],
    )


def _best(choice: Mapping[str, Any] | None) -> Rule | None:
    """The rule that the stage has chosen; None in a file of before, and where nobody learned."""
    if not choice:
        return None
    return Rule(choice["agent"], f"on the {choice['split']} part ({choice['episodes']:,} episodes)")


def _talks(folder: Path, board: Board) -> tuple[dict[str, list[Talk]], list[str]]:
    """The models' conversations by name, and why there are none of others."""
    talks, faults = {}, []
    for step in board.steps:
        try:
            talks[step.name] = read_talks(folder, step.name, board.row(step.name))
        except RunError as error:
            faults.append(f"No conversation of {step.name} is shown: {error}")
    return talks, faults


def _shown(board: Board) -> list[str]:
    """The first model, the one that the last was trained from, and the last."""
    if not board.steps:
        return []
    last = board.steps[-1]
    return list(dict.fromkeys(name for name in (board.steps[0].name, last.start, last.name) if name))


def write_index(folder: Path, title: str, played: Sequence[Played]) -> Path:
    """Write the page of all markets and levels into the folder of their rows, and give its path.

    Raises:
        RunError: the page cannot be written.
    """
    path = folder / INDEX
    write_page(path, title, [_played(folder, one) for one in played])
    return path


def _played(folder: Path, played: Played) -> Section:
    name = f"{played.market}, {played.level}"
    if played.book is None or played.edition is None:
        return Section(name, None, reason=played.reason)
    missing = played.missing or {}
    if not played.rows:
        return Section(name, None, missing=missing, reason="No agent could play.")
    board = Board.of(name, played.rows)
    talks, faults = _talks(folder / f"{played.market}-{played.level}", board)
    older = [edition for edition in played.book.editions() if edition != played.edition]
    return Section(
        name,
        board,
        board_headline(board),
        [*board_warnings(board, talks), *of_unknown_rows(played.rows), *faults],
        missing=missing,
        older=[
            (changes(edition, played.edition), Board.of(f"{name} {place}", played.book.on(edition)))
            for place, edition in enumerate(older)
        ],
        meetings=meetings([talks[step.name] for step in board.steps if step.name in talks]),
    )
