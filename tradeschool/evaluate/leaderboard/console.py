"""A leaderboard in words and in the terminal: headline, warnings, tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from tradeschool.evaluate.comparison import Difference, signed
from tradeschool.evaluate.diagnostics import training_warnings
from tradeschool.evaluate.inference_cosine import BLOCK_EPISODES
from tradeschool.evaluate.leaderboard.ranking import (
    FEWEST_BLOCKS,
    FEWEST_JUDGED,
    NO_DIFFERENCE,
    REFERENCE,
    Leaderboard,
    overview,
    verdict_of,
)
from tradeschool.evaluate.leaderboard.results import AgentResult
from tradeschool.evaluate.leaderboard.run import LevelResults
from tradeschool.evaluate.tables import fitting_table, terminal_table

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
        numeric = [agent for agent, one in board.results.items() if one.kind == "numeric"]
        return lines + [line for agent in numeric for line in _against_rules(board, agent)]
    last = [*board.steps][-1]
    steps = [board.against(model, start) for model, start in reversed(board.steps.items())]
    return [_sentence(board, step) for step in steps if step] + _against_rules(board, last) + _returns(board, last)


def board_headline(board: Leaderboard) -> list[str]:
    """Which agents are shown to be better than buy and hold, and which has the highest mean grade."""
    best = board.rows[0]
    better = [row.policy for row in board.rows if row.verdict == "better"]
    shown = f"Shown to be better than {REFERENCE}: {', '.join(better)}."
    lines = [shown if better else f"No agent is shown to be better than {REFERENCE}."]
    if best.differences:
        lines.append(f"The highest mean grade is {best.policy}'s. {_sentence(board, best.differences[0])}")
    return lines


def _sentence(board: Leaderboard, gap: Difference) -> str:
    """``grpo beat sft: grade 0.610 against 0.575, +0.035 [+0.030, +0.040].``"""
    verb = {
        "better": f"beat {gap.against}",
        "worse": f"did worse than {gap.against}",
        "same": f"has the grade of {gap.against} in every episode",
        "too few dates": f"cannot be compared with {gap.against} on so few dates",
    }.get(verdict_of(gap), f"is not shown to be better or worse than {gap.against}")
    grade = {row.policy: f"{row.metrics['grade'].value:.3f}" for row in board.rows}
    return f"{gap.policy} {verb}: grade {grade[gap.policy]} against {grade[gap.against]}, {signed(gap.interval, 3)}."


def _against_rules(board: Leaderboard, name: str) -> list[str]:
    """Against buy and hold and, if that is another rule, the best rule."""
    best, rules = board.best_rule, [REFERENCE]
    if best and best.agent != REFERENCE:
        rules.append(best.agent)
    lines = [_sentence(board, gap) for rule in rules if (gap := board.against(name, rule))]
    return [*lines, f"The best rule {best.chosen_on} was {best.agent}."] if len(rules) > 1 and best else lines


def _returns(board: Leaderboard, name: str) -> list[str]:
    """What an episode returned, next to buy and hold's; without a verdict, which would be one more to adjust for."""
    rows = {row.policy: row.metrics for row in board.rows}
    if REFERENCE not in rows:
        return []
    returned, theirs = (rows[agent]["return"].value for agent in (name, REFERENCE))
    return [
        f"{name} returned {returned:+.2%} per episode of {board.longest.benchmark.days} days after costs, "
        f"{REFERENCE} {theirs:+.2%}: {signed(rows[name]['excess_return'], 2, 100)} percentage points."
    ]


# warnings ----------------------------------------------------------------------------------------


def board_warnings(board: Leaderboard) -> list[str]:
    """Few dates, agents that do nothing or are unreadable, and claims that do not survive the number of comparisons."""
    found, differences, first = [], board.differences(), next(iter(board.results.values()))
    days = f"{BLOCK_EPISODES * first.benchmark.days} days"
    if any(math.isnan(one.p_value) for one in differences):
        found.append(
            f"The episodes begin on too few dates for intervals: nothing is shown here. At least {FEWEST_JUDGED} "
            f"blocks of {days} are needed. Use more dates."
        )
    elif first.blocks < FEWEST_BLOCKS:
        found.append(
            f"The {first.episodes:,} episodes begin in {first.blocks} blocks of {days}. With fewer than "
            f"{FEWEST_BLOCKS} the intervals are rough."
        )
    trained = [one for one in board.results.values() if one.kind != "rule"]
    found += [line for result in trained for line in _about(result, board.results.get(REFERENCE))]
    weak = [one for one in differences if verdict_of(one) == "not shown" and one.interval.excludes_zero]
    if weak:
        found.append(
            f"{len(differences)} differences are compared here, and some intervals exclude 0 by chance. Not shown "
            "after adjusting for their number (Holm): "
            f"{'; '.join(f'{one.policy} minus {one.against}' for one in weak)}."
        )
    return found


def unknown_training_dates(board: Leaderboard) -> list[str]:
    """That zips and language models may have been trained on the test dates. A run's own agents never are."""
    names = [agent for agent, one in board.results.items() if one.identity.get("agent") in ("model", "remote", "zip")]
    return [f"{', '.join(names)}: training dates unknown. May have been trained on these test dates."] if names else []


def episode_training_warnings(
    training: Mapping[str, Sequence[Mapping[str, Any]]], weights: Mapping[str, float], days: int
) -> list[str]:
    """Warnings about training. Holding on most days of an episode is no collapse if orders are still given."""

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
    copies = float(np.mean(np.abs(result.gain(reference).values_B) < NO_DIFFERENCE)) if reference else 0.0
    if copies >= COPIES:
        found.append(f"{name} did exactly what {REFERENCE} does in {copies:.0%} of its episodes.")
    return found


# the terminal ------------------------------------------------------------------------------------


def print_level(console: Console, level: LevelResults) -> None:
    """The table of one market and level, and the agents that did not play."""
    if level.benchmark is None:
        console.print(Text.assemble((f"{level.name}: not played. ", "bold yellow"), level.reason))
        return
    if level.board:
        print_board(console, level.board)
        for note in unknown_training_dates(level.board):
            console.print(Text(note))
    for name, reason in level.missing.items():
        console.print(Text.assemble((f"{name}: not played. ", "bold yellow"), reason))
    for benchmark in level.older:
        changes = benchmark.differs_in(level.benchmark)
        console.print(Text(f"The page also shows results of another benchmark (differs in: {changes})."))


def print_board(console: Console, board: Leaderboard) -> None:
    """The table of one benchmark."""
    benchmark = board.longest.benchmark
    title = f"{board.name}: {benchmark.episode}, within {benchmark.first} to {benchmark.last}"
    metrics, rows = [metric for metric in board.metrics if metric.terminal != "no"], [("", row) for row in board.rows]
    console.print(fitting_table(title, CAPTION, metrics, rows, console, ("difference", "grade")))


def print_overview(console: Console, levels: Sequence[LevelResults]) -> None:
    """Mean grades of every agent on every market and level that was played."""
    boards = [level.board for level in levels if level.board]
    if len(boards) > 1:
        caption = f"green: better than {REFERENCE}, red: worse"
        console.print(terminal_table(overview(boards), "Mean grades", caption, names=1))
