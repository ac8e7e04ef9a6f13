"""HTML reports of leaderboards: of a run's stages, and of all markets and levels of a recipe."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tradeschool.env.grading import WEIGHTS
from tradeschool.errors import RunError
from tradeschool.evaluate import charts
from tradeschool.evaluate.comparison import signed
from tradeschool.evaluate.inference_cosine import BLOCK_EPISODES
from tradeschool.evaluate.leaderboard.console import (
    board_headline,
    board_warnings,
    episode_training_warnings,
    run_headline,
    unknown_training_dates,
)
from tradeschool.evaluate.leaderboard.ranking import (
    CLAIMS,
    FEWEST_JUDGED,
    METRICS,
    REFERENCE,
    BestRule,
    Leaderboard,
    lineage,
    overview,
    verdict_of,
)
from tradeschool.evaluate.leaderboard.results import (
    LEADERBOARD,
    RESULTS,
    AgentResult,
    ResultsStore,
    identity_hash,
    traces_path,
)
from tradeschool.evaluate.leaderboard.run import LevelResults
from tradeschool.evaluate.page import Card, Part, Section, Training, training_section, turns_of, write_page
from tradeschool.evaluate.tables import Table, figure_tables, tag
from tradeschool.manifest import Manifest
from tradeschool.run_folder import stage_folders
from tradeschool.trace import Trace, read_traces

INDEX = "index.html"
KINDS = {"language": "language model", "numeric": "numeric agent", "rule": "rule"}
LABELS = {metric.key: metric.label for metric in METRICS}
PARTS = [metric for metric in METRICS if metric.key in WEIGHTS]
FIGURES_NOTE = (
    f"Grade = {' + '.join(f'{WEIGHTS[part.key]:g} {part.label}' for part in PARTS)}, each from 0 to 1. [low, high]: "
    "95 % interval; a grade's is cut at 0 and 1, a difference's at -1 and 1. Verdict: on the difference to "
    f"{REFERENCE}. Compare agents by their difference on the same episodes, not by whether intervals overlap."
)
METHOD: dict[str, Any] = {"metrics": METRICS, "reference": REFERENCE, "fewest_blocks": FEWEST_JUDGED}


def write_run_report(
    run_folder: Path, path: Path, manifest: Manifest, training: Training
) -> list[tuple[Leaderboard, Section]]:
    """Write the report of a run with a leaderboard to ``path``; ``training`` holds the metrics of each stage's steps.

    Transcripts that cannot be read are named in the warnings. A RunError if there is no leaderboard, or its results
    cannot be read.

    Returns:
        Leaderboards and their sections, later stages first.
    """
    folders = stage_folders(run_folder, LEADERBOARD)[::-1]
    if not folders:
        raise RunError(f"{run_folder}: no stage has written {LEADERBOARD}. Resume the run, or start it again.")
    record = dataclasses.asdict(manifest)
    found: list[tuple[Leaderboard, Section]] = []
    for folder in folders:
        board = _stage_board(folder, manifest)
        days, weights = board.longest.benchmark.days, manifest.recipe.get("task", {}).get("weights", {})
        warnings = episode_training_warnings(training, weights, days) if not found else []
        models = [*board.steps]
        # The first model, the one that the last was trained from, and the last.
        shown = [name for name in models if name in (models[0], board.steps[models[-1]], models[-1])]
        found.append((board, _section(board, folder, run_headline(board), warnings, shown)))
    sections = [*_overview([board for board, _ in found]), *(section for _, section in found)]
    sections.append(training_section(training, record, ("SELL", "HOLD", "BUY")))
    write_page(path, f"tradeschool: {manifest.recipe['name']}", sections, record, **METHOD)
    return found


def write_index(folder: Path, title: str, levels: Sequence[LevelResults]) -> Path:
    """Write the page of all markets and levels into the folder of their results, and return its path."""
    sections = [_level_section(folder, level) for level in levels]
    boards = [level.board for level in levels if level.board]
    write_page(folder / INDEX, title, [*_overview(boards), *sections], **METHOD)
    return folder / INDEX


def _stage_board(folder: Path, manifest: Manifest) -> Leaderboard:
    name, recipe = folder.name.partition("-")[2], manifest.recipe
    stage: dict[str, Any] = next((stage for stage in recipe.get("stages", []) if stage.get("name") == name), {})
    try:
        content = json.loads((folder / LEADERBOARD).read_text(encoding="utf-8"))
        agents, best = {one["policy"] for one in content["rows"]}, content.get("best_rule")
        best_rule = BestRule(best["agent"], best["split"], best["episodes"]) if best else None
        store = ResultsStore(folder / RESULTS)
        results = [one for one in store.on(store.benchmarks()[0]) if one.agent in agents]
    except (OSError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise RunError(
            f"{folder}: {LEADERBOARD} or {RESULTS} cannot be read ({type(error).__name__}: {error}). Remove "
            f"{folder / 'done.json'}, and resume the run."
        ) from error
    return Leaderboard.of(name, results, lineage(recipe), stage.get("split", "test"), best_rule)


def _level_section(folder: Path, level: LevelResults) -> Section:
    board = level.board
    missing = [f"{name}: not played. {reason}" for name, reason in level.missing.items()]
    if board is None or level.store is None or level.benchmark is None:
        return Section(level.name, f"Not played. {level.reason or 'No agent could play.'}", warnings=missing)
    older = [
        Part(
            f"another benchmark, not comparable with the one above: differs in: {one.differs_in(level.benchmark)}",
            tables=_figure_tables(Leaderboard.of(level.name, level.store.on(one))),
            folded=True,
        )
        for one in level.older
    ]
    warnings = [*missing, *unknown_training_dates(board)]
    folder /= f"{level.market}-{level.level}"
    return _section(board, folder, board_headline(board), warnings, [*board.steps], older)


# what a section holds ----------------------------------------------------------------------------


def _section(
    board: Leaderboard,
    folder: Path,
    headline: Sequence[str],
    warnings: Sequence[str],
    shown: Sequence[str],
    older: Sequence[Part] = (),
) -> Section:
    """All about one leaderboard; ``shown`` are the models whose episodes are shown."""
    traces, unreadable = _readable_traces(folder, board)
    longest, spec = board.longest, board.longest.benchmark
    blocks = f"{longest.blocks} block{'s' * (longest.blocks != 1)} of {BLOCK_EPISODES * spec.days} days"
    needed = [
        f"{claim:.2f}: {counts[0]:,}" + (f" to {counts[1]:,}" if counts[1] > counts[0] else "")
        for claim in CLAIMS
        if (counts := board.range_needed(claim))
    ]
    power = f" Episodes needed to show a difference to {REFERENCE} (power 80 %): {'; '.join(needed)}." if needed else ""
    note = "The same episode for each model. An order is given after a day's close and filled at the next open."
    conversations = [
        Part(f"Episodes as conversations. {title}", [note], cards=[_card(one) for one in own])
        for title, own in compare_episodes({name: own for name, own in traces.items() if name in shown})
    ]
    return Section(
        board.name,
        f"{spec.data}: {longest.episodes:,} episodes of {spec.episode}, the same for all agents, from {spec.first} to "
        f"{spec.last} (the {board.split} dates, not used for training here). They begin in {blocks}.{power}",
        headline,
        [*board_warnings(board), *warnings, *unreadable],
        [
            *_results(board),
            *conversations,
            _identity(board),
            *older,
        ],
    )


def _results(board: Leaderboard) -> Iterator[Part]:
    drawn = [metric for metric in board.metrics if metric.terminal == "interval"]
    yield Part("Grades", charts=charts.result_charts(board.rows, drawn, of=f": {board.name}"))
    own = [f"{agent}: {text}." for agent, one in board.results.items() if (text := _figures(one))]
    yield Part("All figures", [FIGURES_NOTE, *own], tables=_figure_tables(board))
    if board.compared:
        note = "Episode by episode on the same seeds, which removes the noise that all agents share. Judged together."
        rows = [
            (one.policy, one.against, signed(one.interval, 3), tag(verdict_of(one)), f"{board.episodes(one):,}")
            for one in board.compared
        ]
        columns = ("policy", "against", "difference", "verdict", "episodes")
        yield Part("Paired differences of grades", [note], tables=[Table(columns, rows)])


def _figure_tables(board: Leaderboard) -> list[Table]:
    return figure_tables(board.rows, board.metrics, {agent: KINDS[one.kind] for agent, one in board.results.items()})


def _figures(result: AgentResult) -> str:
    """The agent's own figures, such as a remote model's cost, except those that are 0 or unknown."""
    found = {name: value for name, value in result.figures.items() if isinstance(value, int | float) and value}
    return ", ".join(f"{name.replace('_', ' ')} {value:,.4g}" for name, value in found.items())


def _overview(boards: Sequence[Leaderboard]) -> list[Section]:
    """Mean grades of every agent on every leaderboard, where there are several."""
    note = f"From 0 to 1. Green: shown to be better than {REFERENCE}; red: worse."
    return [Section(parts=[Part("Mean grades", [note], tables=[overview(boards)])])] if len(boards) > 1 else []


def _identity(board: Leaderboard) -> Part:
    """What must be the same for another result to be comparable, and when this was played."""
    spec = board.longest.benchmark
    dates = sorted({one.date[:10] for one in board.results.values()})
    versions = {one.identity.get("versions", {}).get("tradeschool", "?") for one in board.results.values()}
    lines = [
        f"environment: version {spec.env_version}",
        f"level: {spec.level}, version {spec.level_version}, settings {spec.settings_hash}",
        f"data: {spec.data}, hash {spec.data_hash}",
        f"dates: {spec.first} to {spec.last}",
        f"seeds of the episodes: {spec.seed} to {spec.seed + board.longest.episodes - 1}",
        f"played: {' to '.join(dates[:1] + dates[1:][-1:])}, with tradeschool {', '.join(sorted(versions))}",
    ]
    return Part("What identifies this result", lines)


# conversations -----------------------------------------------------------------------------------


def _card(trace: Trace) -> Card:
    found, parts = trace.metrics, trace.rewards.items()
    facts = [f"grade {found['grade']:.3f}"]
    facts += [f"{LABELS.get(name, name)} {value:.2f}" for name, value in parts if value is not None]
    if "return" in found and "market_return" in found:
        facts.append(f"return {found['return']:+.1%}, {REFERENCE} {found['market_return']:+.1%}")
    if found.get("refused"):
        facts.append(f"{found['refused']:g} refused")
    return Card(trace, [*facts, "bankrupt"] if trace.stop == "bankrupt" else facts)


def _readable_traces(folder: Path, board: Leaderboard) -> tuple[dict[str, list[Trace]], list[str]]:
    """The models' episodes by name, and why others cannot be shown."""
    found, unreadable = {}, []
    for name in board.steps:
        path, own = traces_path(folder, name), identity_hash(board.results[name].identity)
        try:
            traces = list(read_traces(path))
            for one in traces:
                float(one.metrics["grade"]), turns_of(one)  # fails where the page would
            if any(one.versions.get("agent_hash", own) != own for one in traces):
                raise RunError(f"{path} is of another agent named {name}.")
            found[name] = traces
        except (RunError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            why = error if isinstance(error, RunError) else f"{path} cannot be read ({type(error).__name__}: {error})."
            unreadable.append(f"No transcript of {name} is shown: {why}")
    return found, unreadable


def compare_episodes(traces: Mapping[str, Sequence[Trace]]) -> list[tuple[str, list[Trace]]]:
    """Up to three episodes that all agents played.

    With several agents: where the last gained most on the first, a median one, and where it gained least. With one
    agent: its best, a median one, and its worst.
    """
    by_agent = {name: {one.key: one for one in own} for name, own in traces.items() if own}
    shared = set.intersection(*(set(own) for own in by_agent.values())) if by_agent else set()
    if not shared:
        return []
    names = [*by_agent]
    first, last = names[0], names[-1]
    gains = {key: by_agent[last][key].metrics["grade"] for key in by_agent[last] if key in shared}
    words, pair = ("Best grade", "Median grade", "Worst grade"), ""
    if len(names) > 1:
        gains = {key: grade - by_agent[first][key].metrics["grade"] for key, grade in gains.items()}
        words, pair = ("Largest gain", "Median gain", "Smallest gain"), f" of {last} over {first}"
    ranked = sorted(gains, key=lambda key: -gains[key])
    chosen = dict(zip((0, (len(ranked) - 1) // 2, len(ranked) - 1), words, strict=True))
    return [
        (f"{word}{pair}: {gains[ranked[at]]:+.2f}", [own[ranked[at]] for own in by_agent.values()])
        for at, word in chosen.items()
    ]
