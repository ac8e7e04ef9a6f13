"""The parts of a split as a task meets them: dates, questions, and how often each class is the right one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tradeschool.market.panel import Panel
from tradeschool.market.splits import PARTS
from tradeschool.tasks.base import SplitName, Task

NAMES: dict[str, SplitName] = {"train": "train", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Part:
    """``rows`` are its first and last date row; ``questions`` those that can be scored.

    ``labels`` counts them by class, ``unlabelled`` those without one (near the end of a part, around gaps).
    """

    name: str
    rows: tuple[int, int]
    first: str
    last: str
    dates: int
    questions: int
    labels: dict[str, int]
    unlabelled: int

    def share(self, label: str) -> float:
        """Of its labelled questions; 0 where there is none."""
        return self.labels[label] / max(1, sum(self.labels.values()))


def parts(panel: Panel, task: Task) -> tuple[Part, ...]:
    """Train, validation and test. Their ``labels`` are empty where the task knows no classes."""
    counted = [(name, Counter(map(task.label, task.examples(NAMES[name])))) for name in PARTS]
    found = {label for _, counts in counted for label in counts if label is not None}
    classes = tuple(dict.fromkeys((*task.action_names, *sorted(found)))) if found else ()
    return tuple(_part(panel, task, name, counts, classes) for name, counts in counted)


def _part(panel: Panel, task: Task, name: str, counts: Counter[str | None], classes: Sequence[str]) -> Part:
    rows_T = task.rows(NAMES[name])
    first, last = int(rows_T[0]), int(rows_T[-1])
    days = panel.dates_T[[first, last]].astype("datetime64[D]")
    return Part(
        name=name,
        rows=(first, last),
        first=str(days[0]),
        last=str(days[1]),
        dates=len(rows_T),
        questions=counts.total(),
        labels={label: counts[label] for label in classes},
        unlabelled=counts[None],
    )
