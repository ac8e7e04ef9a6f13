"""``leaderboard.json``: what a leaderboard stage came to, for programs."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

from tradeschool.env.sampling import Interval
from tradeschool.evaluate.leaderboard.best_rule import Choice
from tradeschool.evaluate.leaderboard.standing import READING, Difference, Standing
from tradeschool.manifest import replace_text

LEADERBOARD = "leaderboard.json"


def write_outcome(
    path: Path, found: Sequence[Standing], differences: Sequence[Difference], choice: Choice | None
) -> None:
    """Write the standings, the differences that were judged with them, and the best rule."""
    content = {
        "edition": dataclasses.asdict(found[0].row.edition),
        "best_rule": {**dataclasses.asdict(choice), "grade": _ends(choice.grade)} if choice else None,
        "standings": [
            {
                "agent": one.row.agent,
                "grade": _ends(one.grade),
                **one.parts,
                "return": one.mean_return,
                "refused": one.refused,
                **{name: one.row.figures[name] for name in READING if name in one.row.figures},
                "episodes": one.row.episodes,
                "p_value": _known(one.difference.p_value) if one.difference else None,
                "verdict": one.verdict,
            }
            for one in found
        ],
        "differences": [
            {
                "first": one.first,
                "second": one.second,
                **_ends(one.interval),
                "p_value": _known(one.p_value),
                "verdict": one.verdict,
                "episodes": one.episodes,
            }
            for one in differences
        ],
    }
    replace_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _ends(interval: Interval) -> dict[str, float | None]:
    return {"mean": interval.value, "low": _known(interval.low), "high": _known(interval.high)}


def _known(figure: float) -> float | None:
    """JSON knows no NaN."""
    return None if math.isnan(figure) else figure
