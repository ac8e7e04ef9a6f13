"""Charts of a leaderboard: grades with their intervals, mean equity, and what a training recorded."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tradeschool.evaluate.charts import (
    ANSWER_COLOURS,
    INK,
    MODEL_COLOURS,
    NAIVE_COLOUR,
    NAIVE_DASHES,
    SHARES,
    draw,
    legend_below,
    number,
    stack,
    step_numbers,
    training_chart,
)
from tradeschool.evaluate.leaderboard.ladder import Board, kind
from tradeschool.evaluate.leaderboard.row import Row
from tradeschool.evaluate.leaderboard.standing import REFERENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tradeschool.env.sampling import Interval

Steps = Sequence[Mapping[str, Any]]
Drawn = list[tuple[str, str]]
"""(caption, SVG)."""
WIDTH, ROW_HEIGHT, FRAME_HEIGHT = 5.4, 0.24, 0.75
LONGEST_NAME = 24
ORDERS = {"SELL": "answers/SELL", "HOLD": "answers/HOLD", "BUY": "answers/BUY", "unreadable": "parse_errors"}
ORDER_COLOURS = [ANSWER_COLOURS[SHARES.index(name)] for name in ORDERS]
# What train/episodes.py, TRL and Stable-Baselines3 record, and how it is called: a chart each.
CURVES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("Reward, all components weighted", "reward", {"reward": "of an episode"}),
    (
        "Grade of the training episodes",
        "grade, 0 to 1",
        {"rewards/grade/mean": "grade", "rewards/activity/mean": "its part activity"},
    ),
    ("Profit beyond buy and hold", "daily volatilities of the market", {"rewards/profit/mean": "of an episode"}),
    ("Price of risk", "half squared daily volatilities", {"rewards/risk/mean": "of an episode"}),
    ("Days without a refused order", "days of an episode", {"rewards/legal/mean": "of an episode"}),
    ("Return of the training episodes", "return, as a share", {"episode_return": "of an episode"}),
    ("Entropy: how much is tried out", "entropy", {"entropy": "of an answer's tokens, or of an action"}),
    ("KL to the starting model", "KL divergence", {"kl": "a token"}),
    ("KL from one update to the next", "approximate KL", {"approx_kl": "of an update"}),
)
LOSS = ("Loss", "loss", {"loss": "training loss", "eval_loss": "validation loss"})


def grade_chart(board: Board) -> str:
    """Mean grades with their intervals, the highest on top; a line at buy and hold's."""
    return _whiskers(
        board,
        [(one.row.agent, one.grade) for one in board.found],
        sum(board.reference.grades) / board.reference.episodes if board.reference else None,
        f"Mean grades, {board.name}",
        "mean grade, 0 to 1",
    )


def difference_chart(board: Board) -> str:
    """Every agent's paired difference to buy and hold; empty where nobody has one."""
    given = [(one.row.agent, one.difference.interval) for one in board.found if one.difference]
    if not given:
        return ""
    title = f"Grade less that of {REFERENCE}, {board.name}"
    return _whiskers(board, given, 0.0, title, f"grade less that of {REFERENCE}, same episodes")


def _whiskers(
    board: Board, given: Sequence[tuple[str, "Interval"]], line: float | None, title: str, xlabel: str
) -> str:
    colours = _colours(board)

    def paint(axes: "Axes") -> None:
        for place, (agent, found) in enumerate(given):
            reach = 0.0 if math.isnan(found.low) else found.value - found.low
            learned = agent in colours
            colour = colours.get(agent, NAIVE_COLOUR)
            size, width = (7, 2.2) if learned else (5, 1.2)
            axes.errorbar(
                found.value, place, xerr=reach, fmt="o", color=colour, capsize=2.5, markersize=size, elinewidth=width
            )
        axes.set_yticks(range(len(given)), [_short(agent) for agent, _ in given])
        for tick, (agent, _) in zip(axes.get_yticklabels(), given, strict=True):
            tick.set_fontweight("bold" if agent in colours else "normal")
        axes.set_ylim(len(given) - 0.4, -0.6)
        if line is not None:
            axes.axvline(line, color=INK, linewidth=0.9, linestyle=":")
        axes.set_xlabel(xlabel)

    return draw(paint, title, (WIDTH, FRAME_HEIGHT + ROW_HEIGHT * len(given)))


def path_chart(board: Board) -> str:
    """Mean equity by day of those who learned, of buy and hold and of the best rule; empty where rows hold none."""
    colours = _colours(board)
    rules = {
        row.agent: row
        for row in (board.row(board.best.agent) if board.best else None, board.reference)
        if row and row.path
    }
    learned = [row for agent in colours if (row := board.row(agent)) and row.path]
    if not learned and not rules:
        return ""

    def paint(axes: "Axes") -> None:
        for row in rules.values():
            dashes = "--" if row.agent == REFERENCE else ":"
            axes.plot(_percent(row), color=INK, linestyle=dashes, linewidth=1.5, label=_short(row.agent))
        for place, row in enumerate(learned):
            style: Any = NAIVE_DASHES[place // len(MODEL_COLOURS) % len(NAIVE_DASHES)]
            axes.plot(_percent(row), color=colours[row.agent], linestyle=style, linewidth=1.9, label=_short(row.agent))
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.axhline(0, color=INK, linewidth=0.6)
        axes.set_xlabel("day of the episode")
        axes.set_ylabel("mean return so far, %")
        axes.margins(x=0.01)
        legend_below(axes, 3)

    return draw(paint, f"Mean equity, {board.name}")


def _percent(row: Row) -> Any:
    return 100 * (np.array(row.path) - 1)


def _colours(board: Board) -> dict[str, str]:
    """A colour for everyone who learned: the models in the order of their training, then the agents on numbers."""
    names = [step.name for step in board.steps]
    names += [one.row.agent for one in board.found if kind(one.row) != "rule" and one.row.agent not in names]
    palette = MODEL_COLOURS if board.steps and not board.steps[0].method else MODEL_COLOURS[1:]
    return {name: palette[place % len(palette)] for place, name in enumerate(names)}


def _short(name: str) -> str:
    """What of a name fits beside a chart."""
    plain = " ".join(name.split())
    return plain if len(plain) <= LONGEST_NAME else plain[: LONGEST_NAME - 1] + "…"


def training_charts(stage: str, steps: Steps) -> Drawn:
    """All that a stage recorded, a chart for each kind of figure."""
    rewarded = any(number(step.get("reward")) == number(step.get("reward")) for step in steps)
    # GRPO's loss starts at 0 and says nothing about progress.
    curves = CURVES if rewarded else (LOSS, *CURVES)
    drawn = [(caption, training_chart(stage, steps, keys, label)) for caption, label, keys in curves]
    drawn.insert(2, ("Orders", orders_chart(stage, steps)))
    return [(caption, svg) for caption, svg in drawn if svg]


def orders_chart(stage: str, steps: Steps) -> str:
    """Stacked shares of days with a BUY, a SELL, HOLD, or nothing readable; empty where they were not recorded."""
    found = [step for step in steps if any(key in step for key in ORDERS.values() if key != "parse_errors")]
    if len(found) < 2:
        return ""

    def paint(axes: "Axes") -> None:
        shares_PK = np.array([[number(step.get(key, 0.0)) for key in ORDERS.values()] for step in found])
        stack(axes, step_numbers(found), shares_PK, [name.lower() for name in ORDERS], ORDER_COLOURS)
        axes.set_xlabel("step")
        axes.set_ylabel("% of days")

    return draw(paint, f"Orders during {stage}")
