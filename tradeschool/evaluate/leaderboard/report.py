"""Pages of leaderboards, each one HTML file without scripts or external parts: of a run, or of markets and levels."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradeschool.env.grading import WEIGHTS
from tradeschool.errors import RunError
from tradeschool.evaluate import charts
from tradeschool.evaluate.comparison import figure_with_interval, signed
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
    Transcript,
    read_transcripts,
)
from tradeschool.manifest import Manifest, replace_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Training = Mapping[str, Sequence[Mapping[str, Any]]]
TEMPLATE = Path(__file__).with_name("leaderboard.jinja")
INDEX = "index.html"
KINDS = {"language": "language model", "numeric": "numeric agent", "rule": "rule"}
PARTS = [metric for metric in METRICS if metric.key in WEIGHTS]
TRAINING_CHARTS: dict[str, tuple[str, str]] = {
    "loss": ("Training loss", "loss"),
    "eval_loss": ("Validation loss", "loss on validation examples"),
    "reward": ("Reward, weighted sum of components", "reward"),
    "rewards/grade/mean": ("Grade of the training episodes", "grade, 0 to 1"),
    "rewards/profit/mean": ("Profit beyond buy and hold", "daily volatilities of the market"),
    "rewards/risk/mean": ("Risk penalty", "half squared daily volatilities"),
    "rewards/valid_order/mean": ("Days without a refused order", "days of an episode"),
    "episode_return": ("Return of the training episodes", "return, as a share"),
    "entropy": ("Entropy of an answer's tokens, or of an action", "entropy"),
    "kl": ("KL to the starting model", "KL divergence"),
    "approx_kl": ("KL between updates", "approximate KL"),
}
"""Figures that trainers record: caption and unit of their charts."""
ORDERS = {"SELL": "answers/SELL", "HOLD": "answers/HOLD", "BUY": "answers/BUY", "unreadable": "parse_errors"}


@dataclass(frozen=True)
class Section:
    """One leaderboard on a page.

    Attributes:
        name: its heading.
        board: None where nothing was played; ``reason`` says why.
        headline: the first sentences.
        warnings: what to be careful of.
        missing: why agents have no result, by name.
        older: results on other benchmarks, and what these differ in.
        comparisons: titles, and the transcripts of several agents on one episode.
    """

    name: str
    board: Leaderboard | None
    headline: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    missing: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    older: Sequence[tuple[str, list[RankedResult]]] = ()
    comparisons: Sequence[tuple[str, list[Transcript]]] = ()


def has_leaderboard(run_folder: Path) -> bool:
    """Whether a leaderboard of a run has finished."""
    return any(run_folder.glob(f"*/{LEADERBOARD}"))


def write_run_report(run_folder: Path, path: Path, manifest: Manifest, training: Training) -> list[Section]:
    """Write the report of a run with a leaderboard to ``path``, and return its sections, later stages first.

    ``training`` holds the metrics of each stage's steps. Transcripts that cannot be read are named in the warnings.

    Raises:
        RunError: there is no leaderboard, its results cannot be read, or the page cannot be written.
    """
    folders = sorted((found.parent for found in run_folder.glob(f"*/{LEADERBOARD}")), key=_number, reverse=True)
    if not folders:
        raise RunError(f"{run_folder}: no stage has written {LEADERBOARD}. Resume the run, or start it again.")
    sections = [_stage_section(folder, manifest) for folder in folders]
    if board := sections[0].board:
        weights = manifest.recipe.get("task", {}).get("weights", {})
        days = board.ranked[0].result.benchmark.days
        sections[0].warnings.extend(episode_training_warnings(training, weights, days))
    write_page(path, f"tradeschool: {manifest.recipe['name']}", sections, training, dataclasses.asdict(manifest))
    return sections


def write_index(folder: Path, title: str, levels: Sequence[LevelResults]) -> Path:
    """Write the page of all markets and levels into the folder of their results, and return its path.

    Raises:
        RunError: the page cannot be written.
    """
    write_page(folder / INDEX, title, [_level_section(folder, level) for level in levels])
    return folder / INDEX


def _number(folder: Path) -> int:
    """The 10 of ``10-leaderboard``."""
    return int(folder.name.partition("-")[0])


def _stage_section(folder: Path, manifest: Manifest) -> Section:
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
    board = Leaderboard.of(name, results, lineage(recipe), stage.get("split", "test"), best_rule)
    transcripts, unreadable = _transcripts(folder, board)
    last = board.steps[-1:]
    # The first model, the one that the last was trained from, and the last.
    compared = dict.fromkeys(name for step in last for name in (board.steps[0].name, step.start, step.name))
    return Section(
        name,
        board,
        run_headline(board),
        [*board_warnings(board), *unreadable],
        comparisons=compare_episodes({name: transcripts[name] for name in compared if name in transcripts}),
    )


def _level_section(folder: Path, level: LevelResults) -> Section:
    if level.store is None or level.benchmark is None:
        return Section(level.name, None, reason=level.reason)
    if not level.results:
        return Section(level.name, None, missing=level.missing, reason="No agent could play.")
    board = Leaderboard.of(level.name, level.results)
    transcripts, unreadable = _transcripts(folder / f"{level.market}-{level.level}", board)
    return Section(
        level.name,
        board,
        board_headline(board),
        [*board_warnings(board), *unknown_training_dates(level.results), *unreadable],
        missing=level.missing,
        older=[
            (f"differs in: {benchmark.differs_in(level.benchmark)}", rank(level.store.on(benchmark)))
            for benchmark in level.older
        ],
        comparisons=compare_episodes(transcripts),
    )


def _transcripts(folder: Path, board: Leaderboard) -> tuple[dict[str, list[Transcript]], list[str]]:
    """The models' transcripts by name, and why others cannot be read."""
    found, unreadable = {}, []
    for step in board.steps:
        if result := board.result(step.name):
            try:
                found[step.name] = read_transcripts(folder, result)
            except RunError as error:
                unreadable.append(f"No transcript of {step.name} is shown: {error}")
    return found, unreadable


def compare_episodes(transcripts: Mapping[str, Sequence[Transcript]]) -> list[tuple[str, list[Transcript]]]:
    """Up to three episodes that all agents played.

    With several agents: where the last gained most on the first, a median one, and where it gained least. With one
    agent: its best, a median one, and its worst.
    """
    names = [name for name, own in transcripts.items() if own]
    by_key = [{one.trace.key: one for one in transcripts[name]} for name in names]
    if not by_key:
        return []
    pair = f" of {names[-1]} over {names[0]}" if len(names) > 1 else ""
    gains = {
        key: one.grade - (by_key[0][key].grade if pair else 0.0)
        for key, one in by_key[-1].items()
        if all(key in own for own in by_key)
    }
    ranked = sorted(gains, key=lambda key: -gains[key])
    words = ("Largest gain", "Median gain", "Smallest gain") if pair else ("Best grade", "Median grade", "Worst grade")
    chosen = dict(zip((0, (len(ranked) - 1) // 2, len(ranked) - 1), words, strict=True)) if ranked else {}
    return [
        (f"{word}{pair}: {gains[ranked[at]]:+.2f}", [own[ranked[at]] for own in by_key]) for at, word in chosen.items()
    ]


# the page ----------------------------------------------------------------------------------------


def write_page(
    path: Path,
    title: str,
    sections: Sequence[Section],
    training: Training | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> None:
    """Write the page, replacing the file in one step. All text is escaped.

    Raises:
        RunError: the file cannot be written.
    """
    boards = [section.board for section in sections if section.board]
    html = charts.template(TEMPLATE).render(
        title=title,
        sections=[(section, _shown(section.board) if section.board else None) for section in sections],
        overview=overview(boards) if len(boards) > 1 else None,
        board_names=[board.name for board in boards],
        weights=WEIGHTS,
        parts=PARTS,
        labels={metric.key: metric.label for metric in METRICS},
        reference=REFERENCE,
        kinds=KINDS,
        figure_with_interval=figure_with_interval,
        signed=signed,
        verdict_of=verdict_of,
        shown_metrics=shown_metrics,
        figures_of=_figures,
        training={stage: training_charts(stage, steps) for stage, steps in (training or {}).items()},
        manifest=json.dumps(manifest, indent=2, ensure_ascii=False, default=str) if manifest else "",
    )
    try:
        replace_text(path, html)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}.") from error


def _shown(board: Leaderboard) -> dict[str, Any]:
    """What the template shows of a leaderboard."""
    longest = max((one.result for one in board.ranked), key=lambda result: result.episodes)
    return {
        "description": _description(longest, board.split),
        "needed": _needed(board.ranked),
        "charts": board_charts(board),
        "ranked": board.ranked,
        "differences": [(one, board.episodes(one)) for one in board.compared],
        "identity": _identity(board, longest),
    }


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


def _identity(board: Leaderboard, longest: AgentResult) -> list[tuple[str, str]]:
    """What must be the same for another result to be comparable, and when this was played."""
    spec = longest.benchmark
    dates = [one.result.date[:10] for one in board.ranked]
    versions = {one.result.identity.get("versions", {}).get("tradeschool", "?") for one in board.ranked}
    return [
        ("environment", f"version {spec.env_version}"),
        ("level", f"{spec.level}, version {spec.level_version}, settings {spec.settings_hash}"),
        ("data", f"{spec.data}, hash {spec.data_hash}"),
        ("dates", f"{spec.first} to {spec.last}"),
        ("seeds of the episodes", f"{spec.seed} to {spec.seed + longest.episodes - 1}"),
        ("played", f"{' to '.join(sorted({min(dates), max(dates)}))}, with tradeschool {', '.join(sorted(versions))}"),
    ]


# charts, as (caption, SVG) -----------------------------------------------------------------------


def board_charts(board: Leaderboard) -> list[tuple[str, str]]:
    """Mean grades, differences to buy and hold, and mean equity."""
    drawn = []
    for metric in shown_metrics(board.ranked):
        if metric.key in ("grade", "difference"):
            # Labels are unique on a page.
            labelled = dataclasses.replace(metric, unit=f"{metric.meaning}: {board.name}")
            drawn.append(
                (metric.label.capitalize(), charts.interval_chart([one.row for one in board.ranked], labelled))
            )
    return [*drawn, ("Mean return through an episode, after costs", _path_chart(board))]


def _path_chart(board: Leaderboard) -> str:
    """Mean equity by day of trained agents, buy and hold, and the best rule."""
    rules = dict.fromkeys([board.best_rule.agent if board.best_rule else REFERENCE, REFERENCE])
    shown = [one.result for one in board.ranked if one.result.kind != "rule" or one.agent in rules]
    colours = iter(charts.MODEL_COLOURS * len(shown))

    def paint(axes: "Axes") -> None:
        for one in shown:
            is_rule = one.kind == "rule"
            axes.plot(
                100 * (np.array(one.path) - 1),
                color=charts.INK if is_rule else next(colours),
                linestyle="--" if one.agent == REFERENCE else ":" if is_rule else "-",
                label=one.agent,
            )
        axes.axhline(0, color=charts.INK, linewidth=0.6)
        axes.set_xlabel("day of the episode")
        axes.set_ylabel("mean return so far, %")
        axes.margins(x=0.01)
        charts.legend_below(axes, 3)

    return charts.draw(paint, f"Mean equity, {board.name}")


def training_charts(stage: str, steps: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What a stage recorded, one chart per figure, and the orders that were given."""
    is_rl = any("reward" in step for step in steps)
    drawn = [
        (caption, charts.training_chart(stage, steps, {key: key}, unit))
        for key, (caption, unit) in TRAINING_CHARTS.items()
        if not (is_rl and key == "loss")  # GRPO's loss starts at 0 and says nothing about progress
    ]
    return [(caption, svg) for caption, svg in [*drawn, ("Orders", _orders_chart(stage, steps))] if svg]


def _orders_chart(stage: str, steps: Sequence[Mapping[str, Any]]) -> str:
    """Stacked shares of days with BUY, SELL, HOLD or an unreadable answer; empty where not recorded."""
    found = [step for step in steps if "answers/HOLD" in step]
    if len(found) < 2:
        return ""
    shares_PK = np.array([[charts.number(step.get(key, 0.0)) for key in ORDERS.values()] for step in found])

    def paint(axes: "Axes") -> None:
        colours = [charts.ANSWER_COLOURS[at] for at in (0, 2, 4, 5)]
        charts.stack(axes, charts.step_numbers(found), shares_PK, [name.lower() for name in ORDERS], colours)
        axes.set_xlabel("step")

    return charts.draw(paint, f"Orders during {stage}")
