"""A leaderboard in words and in the terminal: headline, warnings, tables."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tradeschool.evaluate.comparison import Difference, signed
from tradeschool.evaluate.console import ELSEWHERE, STYLES, SUMMARY_LINES, fitting_table
from tradeschool.evaluate.diagnostics import training_warnings
from tradeschool.evaluate.inference_cosine import BLOCK_EPISODES
from tradeschool.evaluate.leaderboard.ranking import (
    FEWEST_BLOCKS,
    FEWEST_JUDGED,
    NO_DIFFERENCE,
    REFERENCE,
    Leaderboard,
    RankedResult,
    interval_of,
    overview,
    rank,
    shown_metrics,
    verdict_of,
)
from tradeschool.evaluate.leaderboard.results import AgentResult, LevelResults

CAPTION = f"difference: to {REFERENCE}, paired; [low, high]: 95% interval; verdict: at 5% for all rows together"
MOST_UNREAD = 0.01
"""Share of unreadable answers above which a warning is given."""
IDLE = 0.9
"""Share of episodes without a trade from which a warning is given."""
COPIES = 0.4
"""Share of episodes graded exactly like buy and hold from which a warning is given."""
FEWEST_ORDERS = 0.5
"""Orders per episode below which a training that mostly holds has collapsed."""

# the headline ------------------------------------------------------------------------------------


def run_headline(board: Leaderboard) -> list[str]:
    """Each step of training, the last first; then buy and hold, the best rule and the return of the last model."""
    if not board.steps:
        lines = ["No language model played. The table shows the other agents."]
        numeric = [one.agent for one in board.ranked if one.result.kind == "numeric"]
        return lines + [line for agent in numeric for line in _against_rules(board, agent)]
    last = board.steps[-1].name
    gains = [gain for step in reversed(board.steps) if (gain := board.against(step.name, step.start))]
    return [_sentence(board, gain) for gain in gains] + _against_rules(board, last) + _returns(board, last)


def board_headline(board: Leaderboard) -> list[str]:
    """Which agents are shown to be better than buy and hold, and which has the highest mean grade."""
    best = board.ranked[0]
    better = [one.agent for one in board.ranked if one.row.verdict == "better"]
    shown = f"Shown to be better than {REFERENCE}: {', '.join(better)}."
    lines = [shown if better else f"No agent is shown to be better than {REFERENCE}."]
    if best.difference:
        lines.append(f"The highest mean grade is {best.agent}'s. {_sentence(board, best.difference)}")
    return lines


def _sentence(board: Leaderboard, gap: Difference) -> str:
    """``grpo beat sft: grade 0.610 against 0.575, +0.035 [+0.030, +0.040].``"""
    verb = {
        "better": f"beat {gap.against}",
        "worse": f"did worse than {gap.against}",
        "same": f"has the grade of {gap.against} in every episode",
        "too few dates": f"cannot be compared with {gap.against} on so few dates",
    }.get(verdict_of(gap), f"is not shown to be better or worse than {gap.against}")
    grade = {one.agent: f"{one.grade.value:.3f}" for one in board.ranked}
    return f"{gap.policy} {verb}: grade {grade[gap.policy]} against {grade[gap.against]}, {signed(gap.interval, 3)}."


def _against_rules(board: Leaderboard, name: str) -> list[str]:
    """Against buy and hold and, if that is another rule, the best rule."""
    gaps, best = [board.against(name, REFERENCE)], board.best_rule
    if best and best.agent != REFERENCE:
        gaps.append(board.against(name, best.agent))
    lines = [_sentence(board, gap) for gap in gaps if gap]
    return [*lines, f"The best rule {best.chosen_on} was {best.agent}."] if len(gaps) > 1 and best else lines


def _returns(board: Leaderboard, name: str) -> list[str]:
    """What an episode returned, next to buy and hold's."""
    result, base = board.result(name), board.reference
    if result is None or base is None:
        return []
    # No verdict: those of grades are adjusted for their number, and this would be one more.
    gap = interval_of(result.estimate(result.returns) - base.estimate(base.returns))
    return [
        f"{name} returned {np.mean(result.returns):+.2%} per episode of {result.benchmark.days} days after costs, "
        f"{REFERENCE} {np.mean(base.returns):+.2%}: {signed(gap, 2, 100)} percentage points."
    ]


# warnings ----------------------------------------------------------------------------------------


def board_warnings(board: Leaderboard) -> list[str]:
    """Few dates, agents that do nothing or are unreadable, and claims that do not survive the number of comparisons."""
    trained = [one.result for one in board.ranked if one.result.kind != "rule"]
    found = [line for result in trained for line in _about(result, board.reference)]
    differences, first = board.differences(), board.ranked[0].result
    if any(math.isnan(one.p_value) for one in differences):
        found.insert(
            0,
            f"The episodes begin on too few dates for intervals: nothing is shown here. At least {FEWEST_JUDGED} "
            f"blocks of {BLOCK_EPISODES * first.benchmark.days} days are needed. Use more dates.",
        )
    elif first.blocks < FEWEST_BLOCKS:
        found.insert(
            0,
            f"The {first.episodes:,} episodes begin in {first.blocks} blocks of "
            f"{BLOCK_EPISODES * first.benchmark.days} days. With fewer than {FEWEST_BLOCKS} the intervals are rough.",
        )
    weak = [one for one in differences if verdict_of(one) == "not shown" and one.interval.excludes_zero]
    if weak:
        found.append(
            f"{len(differences)} differences are compared here, and some intervals exclude 0 by chance. Not shown "
            "after adjusting for their number (Holm): "
            f"{'; '.join(f'{one.policy} minus {one.against}' for one in weak)}."
        )
    return found


def unknown_training_dates(results: Sequence[AgentResult]) -> list[str]:
    """That zips and language models may have been trained on the test dates. A run's own agents never are."""
    names = [one.agent for one in results if one.identity.get("agent") in ("model", "remote", "zip")]
    return [f"{', '.join(names)}: training dates unknown. May have been trained on these test dates."] if names else []


def episode_training_warnings(
    training: Mapping[str, Sequence[Mapping[str, Any]]], weights: Mapping[str, float], days: int
) -> list[str]:
    """Warnings about training. Holding on most days is not reported as collapse if orders are still given.

    Args:
        training: the metrics of each stage's steps.
        weights: the task's reward weights.
        days: length of an episode.
    """

    def kept(step: Mapping[str, Any]) -> dict[str, Any]:
        share = step.get("answers/HOLD")
        trades = isinstance(share, int | float) and (1 - share) * days >= FEWEST_ORDERS
        return {key: value for key, value in step.items() if not (trades and key == "answers/HOLD")}

    return training_warnings({stage: [kept(step) for step in steps] for stage, steps in training.items()}, weights)


def _about(result: AgentResult, reference: AgentResult | None) -> list[str]:
    name, found = result.agent, []
    if cut := float(result.figures.get("out_of_room") or 0):
        found.append(
            f"{name} exceeded its context length in {cut:.1%} of its episodes and gave no orders on the remaining "
            "days. Use fewer facts, shorter answers or a model with a longer context."
        )
    if (unread := float(result.figures.get("unread") or 0)) > MOST_UNREAD:
        found.append(f"{name}: {unread:.1%} of its answers could not be read. Such an answer trades nothing.")
    if (idle := float(np.mean([value == 0 for value in result.returns]))) >= IDLE:
        found.append(f"{name} traded nothing in {idle:.0%} of its episodes.")
    if reference:
        gain_B = (result.estimate(result.grades) - reference.estimate(reference.grades)).values_B
        if (copies := float(np.mean(np.abs(gain_B) < NO_DIFFERENCE))) >= COPIES:
            found.append(f"{name} did exactly what {REFERENCE} does in {copies:.0%} of its episodes.")
    return found


# the terminal ------------------------------------------------------------------------------------


def print_level(console: Console, level: LevelResults) -> None:
    """The table of one market and level, and the agents that did not play."""
    if level.store is None or level.benchmark is None:
        console.print(Text.assemble((f"{level.name}: not played. ", "bold yellow"), level.reason))
        return
    print_ranked(console, level.name, rank(level.results))
    for note in unknown_training_dates(level.results):
        console.print(Text(note))
    dates = {one.agent: one.date for one in level.results}
    for name, reason in level.missing.items():
        earlier = f" now; its result is of {dates[name]}" if name in dates else ""
        console.print(Text.assemble((f"{name}: not played{earlier}. ", "bold yellow"), reason))
    for benchmark in level.older:
        changes = benchmark.differs_in(level.benchmark)
        console.print(Text(f"The page also shows results of another benchmark (differs in: {changes})."))


def print_ranked(console: Console, heading: str, ranked: Sequence[RankedResult]) -> None:
    """The table of one benchmark."""
    if not ranked:
        return
    benchmark = ranked[0].result.benchmark
    stocks = "1 stock" if benchmark.tickers == 1 else f"{benchmark.tickers} stocks"
    title = f"{heading}: {stocks}, {benchmark.days} days, within {benchmark.first} to {benchmark.last}"
    metrics = [metric for metric in shown_metrics(ranked) if metric.terminal != "no"]
    rows, with_interval = [("", one.row) for one in ranked], ("difference", "grade")
    console.print(fitting_table(title, CAPTION, metrics, rows, console, with_interval))


def print_summary(console: Console, headline: Sequence[str], warnings: Sequence[str]) -> None:
    """Whole sentences of the headline and the first warning, in ``SUMMARY_LINES`` lines; the report has the rest."""
    most = SUMMARY_LINES - 2 * bool(warnings)
    sentences = [textwrap.wrap(text, console.width) for text in headline]
    lines: list[str] = []
    for place, sentence in enumerate(sentences):
        if len(lines) + len(sentence) > most - (place < len(sentences) - 1):
            lines.append(ELSEWHERE)
            break
        lines += sentence
    for line in lines:
        console.print(Text(line, style="bold"))
    if warnings:
        count = f"{len(warnings)} warnings, the first" if len(warnings) > 1 else "Warning"
        text = textwrap.shorten(f"{count}: {warnings[0]}", 2 * console.width - 20, placeholder=" ... (see the report)")
        for line in textwrap.wrap(text, console.width)[: SUMMARY_LINES - len(lines)]:
            console.print(Text(line, style="yellow"))


def print_overview(console: Console, levels: Sequence[LevelResults]) -> None:
    """Mean grades of every agent on every market and level that was played."""
    played = [level for level in levels if level.results]
    if len(played) < 2:
        return
    table = Table(title=Text("Mean grades"), box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, title_justify="left")
    table.caption = Text(f"green: better than {REFERENCE}, red: worse")
    table.add_column("agent", no_wrap=True)
    for level in played:
        table.add_column(Text(f"{level.market}\n{level.level}"), justify="right", no_wrap=True)
    for agent, cells in overview([Leaderboard.of(level.name, level.results) for level in played]).items():
        texts = [Text(grade, STYLES[verdict] if verdict in ("better", "worse") else "") for grade, verdict in cells]
        table.add_row(Text(agent), *texts)
    console.print(table)
