"""Pages of leaderboards: of a run, or of all markets and levels of a recipe."""

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
    RankedResult,
    lineage,
    overview,
    range_needed,
    rank,
    shown_metrics,
    verdict_of,
)
from tradeschool.evaluate.leaderboard.results import (
    LEADERBOARD,
    RESULTS,
    AgentResult,
    LevelResults,
    ResultsStore,
    identity_hash,
    traces_path,
)
from tradeschool.evaluate.page import (
    Card,
    Cell,
    Part,
    Section,
    Table,
    Training,
    figure_tables,
    tag,
    training_section,
    turns_of,
    write_page,
)
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
    """Write the report of a run with a leaderboard to ``path``.

    Args:
        run_folder: of the run.
        path: the HTML file.
        manifest: of the run.
        training: the metrics of each stage's steps.

    Returns:
        Leaderboards and their sections, later stages first. Transcripts that cannot be read are named in the warnings.

    Raises:
        RunError: there is no leaderboard, its results cannot be read, or the page cannot be written.
    """
    folders = stage_folders(run_folder, LEADERBOARD)[::-1]
    if not folders:
        raise RunError(f"{run_folder}: no stage has written {LEADERBOARD}. Resume the run, or start it again.")
    record = dataclasses.asdict(manifest)
    boards = [_stage_board(folder, manifest) for folder in folders]
    found = []
    for folder, board in zip(folders, boards, strict=True):
        warnings: list[str] = []
        if board is boards[0]:
            weights = manifest.recipe.get("task", {}).get("weights", {})
            days = board.ranked[0].result.benchmark.days
            warnings = episode_training_warnings(training, weights, days)
        last = board.steps[-1:]
        # The first model, the one that the last was trained from, and the last.
        compared = dict.fromkeys(name for step in last for name in (board.steps[0].name, step.start, step.name))
        found.append((board, _section(board, folder, run_headline(board), warnings, compared=compared)))
    sections = [section for _, section in found]
    title = f"tradeschool: {manifest.recipe['name']}"
    sections.append(training_section(training, record, ("SELL", "HOLD", "BUY")))
    write_page(path, title, [*_overview(boards), *sections], record, **METHOD)
    return found


def write_index(folder: Path, title: str, levels: Sequence[LevelResults]) -> Path:
    """Write the page of all markets and levels into the folder of their results, and return its path.

    Raises:
        RunError: the page cannot be written.
    """
    boards = [Leaderboard.of(level.name, level.results) for level in levels if level.results]
    by_name = {board.name: board for board in boards}
    sections = [_level_section(folder, level, by_name.get(level.name)) for level in levels]
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


def _level_section(folder: Path, level: LevelResults, board: Leaderboard | None) -> Section:
    missing = [f"{name}: not played now. {reason}" for name, reason in level.missing.items()]
    if board is None or level.store is None or level.benchmark is None:
        return Section(level.name, f"Not played. {level.reason or 'No agent could play.'}", warnings=missing)
    older = [
        Part(
            f"another benchmark, not comparable with the one above: differs in: {one.differs_in(level.benchmark)}",
            tables=_tables(rank(level.store.on(one))),
            folded=True,
        )
        for one in level.older
    ]
    own = folder / f"{level.market}-{level.level}"
    return _section(board, own, board_headline(board), [*missing, *unknown_training_dates(level.results)], older)


# what a section holds ----------------------------------------------------------------------------


def _section(
    board: Leaderboard,
    folder: Path,
    headline: Sequence[str],
    warnings: Sequence[str],
    older: Sequence[Part] = (),
    compared: Mapping[str, None] | None = None,
) -> Section:
    """All about one leaderboard; ``compared`` are the models whose episodes are shown, by default all."""
    traces, unreadable = _readable_traces(folder, board)
    shown = {name: own for name, own in traces.items() if compared is None or name in compared}
    longest = max((one.result for one in board.ranked), key=lambda result: result.episodes)
    return Section(
        board.name,
        f"{_description(longest, board.split)} {_needed(board.ranked)}",
        headline,
        [*board_warnings(board), *warnings, *unreadable],
        [*_results(board), *_conversations(shown), _identity(board, longest), *older],
    )


def _results(board: Leaderboard) -> Iterator[Part]:
    yield Part("Grades", charts=board_charts(board))
    own = [f"{one.agent}: {text}." for one in board.ranked if (text := _figures(one.result))]
    yield Part("All figures", [FIGURES_NOTE, *own], tables=_tables(board.ranked))
    if board.compared:
        note = "Episode by episode on the same seeds, which removes the noise that all agents share. Judged together."
        rows = [
            (one.policy, one.against, signed(one.interval, 3), tag(verdict_of(one)), f"{board.episodes(one):,}")
            for one in board.compared
        ]
        columns = ("policy", "against", "difference", "verdict", "episodes")
        yield Part("Paired differences of grades", [note], tables=[Table(columns, rows)])


def _tables(ranked: Sequence[RankedResult]) -> list[Table]:
    kinds = {one.agent: KINDS[one.result.kind] for one in ranked}
    return figure_tables([one.row for one in ranked], shown_metrics(ranked), kinds)


def _overview(boards: Sequence[Leaderboard]) -> list[Section]:
    """Mean grades of every agent on every leaderboard, where there are several."""
    if len(boards) < 2:
        return []
    rows: list[Sequence[Cell]] = [(agent, *cells) for agent, cells in overview(boards).items()]
    note = f"From 0 to 1. Green: shown to be better than {REFERENCE}; red: worse."
    columns = ("policy", *(board.name for board in boards))
    return [Section(parts=[Part("Mean grades", [note], tables=[Table(columns, rows)])])]


def _conversations(transcripts: Mapping[str, Sequence[Trace]]) -> Iterator[Part]:
    note = "The same episode for each model. An order is given after a day's close and filled at the next open."
    for title, own in compare_episodes(transcripts):
        yield Part(f"Episodes as conversations. {title}", [note], cards=[_card(one) for one in own])


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
    for step in board.steps:
        if (result := board.result(step.name)) is None:
            continue
        path, own = traces_path(folder, step.name), identity_hash(result.identity)
        try:
            traces = list(read_traces(path))
            for one in traces:
                float(one.metrics["grade"]), turns_of(one)  # fails where the page would
            if any(one.versions.get("agent_hash", own) != own for one in traces):
                raise RunError(f"{path} is of another agent named {result.agent}.")
            found[step.name] = traces
        except (RunError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            why = error if isinstance(error, RunError) else f"{path} cannot be read ({type(error).__name__}: {error})."
            unreadable.append(f"No transcript of {step.name} is shown: {why}")
    return found, unreadable


def compare_episodes(traces: Mapping[str, Sequence[Trace]]) -> list[tuple[str, list[Trace]]]:
    """Up to three episodes that all agents played.

    With several agents: where the last gained most on the first, a median one, and where it gained least. With one
    agent: its best, a median one, and its worst.
    """
    by_key = [{one.key: one for one in own} for own in traces.values() if own]
    if not by_key:
        return []
    names = [name for name, own in traces.items() if own]
    pair = f" of {names[-1]} over {names[0]}" if len(names) > 1 else ""
    gains = {
        key: one.metrics["grade"] - (by_key[0][key].metrics["grade"] if pair else 0.0)
        for key, one in by_key[-1].items()
        if all(key in own for own in by_key)
    }
    ranked = sorted(gains, key=lambda key: -gains[key])
    words = ("Largest gain", "Median gain", "Smallest gain") if pair else ("Best grade", "Median grade", "Worst grade")
    chosen = dict(zip((0, (len(ranked) - 1) // 2, len(ranked) - 1), words, strict=True)) if ranked else {}
    return [
        (f"{word}{pair}: {gains[ranked[at]]:+.2f}", [own[ranked[at]] for own in by_key]) for at, word in chosen.items()
    ]


def _description(result: AgentResult, split: str) -> str:
    benchmark = result.benchmark
    stocks = "1 stock" if benchmark.tickers == 1 else f"{benchmark.tickers} stocks"
    blocks = f"{result.blocks} block{'s' if result.blocks != 1 else ''} of {BLOCK_EPISODES * benchmark.days} days"
    return (
        f"{benchmark.data}: {result.episodes:,} episodes of {stocks} and {benchmark.days} days, the same for all "
        f"agents, from {benchmark.first} to {benchmark.last} (the {split} dates, not used for training here). They "
        f"begin in {blocks}."
    )


def _needed(ranked: Sequence[RankedResult]) -> str:
    """How many episodes the differences of CLAIMS would need; empty where no agent differs from the reference."""
    needed = []
    for claim in CLAIMS:
        if counts := range_needed(ranked, claim):
            fewest, most = counts
            needed.append(f"{claim:.2f}: {fewest:,}" + (f" to {most:,}" if most > fewest else ""))
    return f"Episodes needed to show a difference to {REFERENCE} (power 80 %): {'; '.join(needed)}." if needed else ""


def _figures(result: AgentResult) -> str:
    """The agent's own figures, such as a remote model's cost, except those that are 0 or unknown."""
    found = {name: value for name, value in result.figures.items() if isinstance(value, int | float) and value}
    return ", ".join(f"{name.replace('_', ' ')} {value:,.4g}" for name, value in found.items())


def _identity(board: Leaderboard, longest: AgentResult) -> Part:
    """What must be the same for another result to be comparable, and when this was played."""
    spec = longest.benchmark
    dates = [one.result.date[:10] for one in board.ranked]
    versions = {one.result.identity.get("versions", {}).get("tradeschool", "?") for one in board.ranked}
    rows = [
        ("environment", f"version {spec.env_version}"),
        ("level", f"{spec.level}, version {spec.level_version}, settings {spec.settings_hash}"),
        ("data", f"{spec.data}, hash {spec.data_hash}"),
        ("dates", f"{spec.first} to {spec.last}"),
        ("seeds of the episodes", f"{spec.seed} to {spec.seed + longest.episodes - 1}"),
        ("played", f"{' to '.join(sorted({min(dates), max(dates)}))}, with tradeschool {', '.join(sorted(versions))}"),
    ]
    return Part("What identifies this result", [f"{label}: {text}" for label, text in rows])


def board_charts(board: Leaderboard) -> charts.Drawn:
    """Mean grades, differences to buy and hold, and mean equity."""
    rows = [one.row for one in board.ranked]
    # Labels are unique on a page.
    metrics = [
        dataclasses.replace(metric, unit=f"{metric.meaning}: {board.name}") for metric in shown_metrics(board.ranked)
    ]
    drawn = [(m.label.capitalize(), charts.interval_chart(rows, m)) for m in metrics if m.terminal == "interval"]
    equity = charts.equity_chart(rows, label=f"Mean equity, {board.name}")
    return [*drawn, ("Mean equity through an episode, after costs", equity)]
