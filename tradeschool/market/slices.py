"""Slices of the training questions as curricula: as they are, balanced over classes, or of volatile days alone."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from tradeschool.errors import DataError, RecipeError
from tradeschool.market.indicators import rolling_std
from tradeschool.market.notes.archive import known_rows
from tradeschool.market.notes.note import Note
from tradeschool.market.panel import Floats, Panel

VOLATILITY_DAYS = 20
INDEX_KIND = "volatility_index"
INDEX_FIELDS = ("value", "close")
"""The fields of an index note that hold its level, the first one found; a note with one figure needs neither."""


class SliceConfig(BaseModel):
    """Which of the training questions a training stage sees.

    ``slice``: ``natural`` takes all of them as they are; ``balanced`` draws so that every class of the
    task is met equally often; ``volatile`` takes the questions of the most volatile ``volatile_share`` of
    the train days, by the market's own volatility (``volatile_by: market``) or by the notes of kind
    ``volatility_index``, such as the VIX (``volatile_by: index``).
    """

    slice: Literal["natural", "balanced", "volatile"] = "natural"
    volatile_share: float = Field(default=0.3, gt=0, le=1)
    volatile_by: Literal["market", "index"] = "market"


class Dated(Protocol):
    """Whatever is asked on a date row ``t``."""

    @property
    def t(self) -> int:
        """The date row."""


Question = TypeVar("Question", bound=Dated)
Label = Callable[[Question], str | None]
Tell = Callable[[str], None]


class Questions(Protocol[Question]):
    """What a slice asks of a task, which lives further up the street."""

    @property
    def action_names(self) -> Sequence[str]:
        """The classes that there may be."""

    def examples(self, split: Literal["train"]) -> list[Question]:
        """Every training question."""

    def rows(self, split: Literal["train"]) -> NDArray[np.int64]:
        """The date rows of the training part; a day outside it decides nothing."""

    def label(self, example: Question) -> str | None:
        """The class of a question by hindsight, None where it has none."""


def sliced(
    task: Questions[Question], config: SliceConfig, panel: Panel, *, count: int | None = None, seed: int, tell: Tell
) -> list[Question]:
    """The training questions of ``task`` that a stage trains on.

    Args:
        panel: the market they are asked in.
        count: how many a balanced slice draws, as many as there are by default; the others are not cut.
        seed: fixes the draw of a balanced slice.
        tell: receives a sentence on what was taken.

    Raises:
        RecipeError: the slice would be empty, or cannot be made of this task or market.
        DataError: a note of the index tells no level.
    """
    pool = task.examples("train")
    if config.slice == "balanced":
        return balanced(pool, task.label, task.action_names, count=count, seed=seed, tell=tell)
    if config.slice == "volatile":
        index_T = index_volatility_T(panel) if config.volatile_by == "market" else noted_index_T(panel)
        return _of_volatile_days(pool, panel, index_T, task.rows("train"), config.volatile_share, tell)
    return pool


def balanced(
    pool: Sequence[Question],
    label: Label[Question],
    classes: Sequence[str] = (),
    *,
    count: int | None = None,
    seed: int,
    tell: Tell,
) -> list[Question]:
    """``count`` questions, at most as many as have a class, every class that occurs equally often to within one.

    Questions of a rare class come again, none a second time before all of its class were taken once.
    Those of ``classes`` that do not occur are told.

    Raises:
        RecipeError: fewer than two classes occur.
    """
    groups: dict[str, list[Question]] = {}
    for question in pool:
        if (name := label(question)) is not None:
            groups.setdefault(name, []).append(question)
    if len(groups) < 2:
        found = f"only the class {next(iter(groups))} occurs" if groups else "no training question has a class"
        raise RecipeError(
            f"slice: balanced needs at least two classes, and {found} among {len(pool)} training questions. "
            "Use slice: natural, a task that labels its questions, or a longer training part."
        )
    rng = np.random.default_rng([seed, 19])
    there = sum(map(len, groups.values()))
    wanted = there if count is None else min(count, there)
    names = sorted(groups)
    # Whom the odd questions out fall to is drawn too.
    quotas = np.full(len(names), wanted // len(names)) + (rng.permutation(len(names)) < wanted % len(names))
    taken = [
        groups[name][i] for name, quota in zip(names, quotas, strict=True) for i in _rounds(groups[name], quota, rng)
    ]
    tell(_balance(groups, dict(zip(names, quotas.tolist(), strict=True)), classes))
    return [taken[i] for i in rng.permutation(len(taken))]


def _rounds(group: Sequence[object], quota: int, rng: np.random.Generator) -> list[int]:
    drawn: list[int] = []
    while len(drawn) < quota:
        drawn += rng.permutation(len(group)).tolist()
    return drawn[:quota]


def _balance(groups: Mapping[str, Sequence[object]], quotas: Mapping[str, int], classes: Sequence[str]) -> str:
    parts = []
    for name, quota in quotas.items():
        there = len(groups[name])
        often = f", each up to {-(-quota // there)} times" if quota > there else ""
        parts.append(f"{name} {quota} of {there}{often}")
    parts += [f"{name} does not occur" for name in classes if name not in groups]
    return f"Slice balanced, questions taken of those there are: {'; '.join(parts)}"


def volatile_rows(index_T: Floats, train_T: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """The rows of ``train_T`` whose index is among the highest ``share`` of those of the train days, ascending.

    The bound is the quantile 1 - share of the index over the train days on which it is known; no other day
    enters it. Days on which the index is not known are not taken.
    """
    known_T = train_T[np.isfinite(index_T[train_T])]
    if not known_T.size:
        return known_T
    # "higher": the bound is the value of a day, so that rounding cannot cost the last day its place.
    bound = np.quantile(index_T[known_T], 1 - share, method="higher")
    return known_T[index_T[known_T] >= bound]


def _of_volatile_days(
    pool: Sequence[Question],
    panel: Panel,
    index_T: Floats,
    train_T: NDArray[np.int64],
    share: float,
    tell: Tell,
) -> list[Question]:
    rows = volatile_rows(index_T, train_T, share)
    chosen = set(rows.tolist())
    taken = [question for question in pool if question.t in chosen]
    if not taken:
        raise RecipeError(
            f"slice: volatile is empty: the volatility is known on {np.isfinite(index_T[train_T]).sum()} of "
            f"{len(train_T)} train days, and no question that can be scored falls on the {len(rows)} most volatile. "
            "Give a larger volatile_share, another volatile_by, or a longer training part."
        )
    days = panel.dates_T[rows[[0, -1]]].astype("datetime64[D]")
    tell(
        f"Slice volatile: {len(taken)} of {len(pool)} training questions, on {len(rows)} of {len(train_T)} train days "
        f"between {days[0]} and {days[1]} with an index of at least {index_T[rows].min():.4g}"
    )
    return taken


def index_volatility_T(panel: Panel, span: int = VOLATILITY_DAYS) -> Floats:
    """Daily volatility of the market as known at the close of t: std (ddof 1) of its last ``span`` log returns.

    The market's return of a day is the mean log close return of all tickers that traded on it and on the
    row before (equal weights). Days without any are passed over: NaN on them, and on the first ``span`` others.
    """
    returns_TN = np.full(panel.shape, np.nan)
    returns_TN[1:] = np.diff(np.log(panel.close_TN), axis=0)
    known_TN = np.isfinite(returns_TN)
    rows = np.flatnonzero(known_TN.any(axis=1))
    market_T = np.where(known_TN, returns_TN, 0.0)[rows].sum(axis=1) / known_TN[rows].sum(axis=1)
    index_T = np.full(panel.shape[0], np.nan)
    index_T[rows] = rolling_std(market_T[:, None], span)[:, 0]
    return index_T


def supplied_index_T(panel: Panel, values: Mapping[np.datetime64, float]) -> Floats:
    """A supplied index on the dates of a panel: on every row the latest value known at its close, NaN before the first.

    Args:
        values: by the moment (UTC) or the day on which the value became known; a day counts as known by its close.
    """
    return _index_T(panel, [Note(at, None, INDEX_KIND, fields={"value": value}) for at, value in values.items()])


def _index_T(panel: Panel, notes: Sequence[Note]) -> Floats:
    rows_K = known_rows(replace(panel, notes=tuple(notes)))
    # Of two notes first known at the same close the later one stands; a day without an hour ends at that close.
    days_K = [note.known_at.astype("datetime64[D]") for note in notes]
    index_T = np.full(panel.shape[0], np.nan)
    for k in sorted(range(len(notes)), key=lambda k: (rows_K[k], days_K[k], notes[k].by_day, notes[k].known_at)):
        index_T[max(rows_K[k], 0) :] = _level(notes[k], panel)
    return index_T


def noted_index_T(panel: Panel) -> Floats:
    """The index that the panel's notes of kind ``volatility_index`` tell, as :func:`supplied_index_T`.

    Raises:
        RecipeError: there are no such notes, or of more than one source.
        DataError: a note tells no level.
    """
    notes = [note for note in panel.notes if note.kind == INDEX_KIND]
    if not notes:
        kinds = ", ".join(sorted({note.kind for note in panel.notes})) or "none at all"
        raise RecipeError(
            f"volatile_by: index needs notes of kind {INDEX_KIND}, and {panel.name} has none (its kinds: {kinds}). "
            "Add them to the market, or use volatile_by: market."
        )
    sources = Counter((note.ticker, note.source) for note in notes)
    if len(sources) > 1:
        listed = ", ".join(f"{source or 'no source'} ({ticker or 'market'})" for ticker, source in sources)
        raise RecipeError(
            f"volatile_by: index needs one index, and the {INDEX_KIND} notes of {panel.name} tell several: {listed}. "
            "Keep one of them."
        )
    return _index_T(panel, notes)


def _level(note: Note, panel: Panel) -> float:
    figures = {name: value for name, value in note.fields.items() if isinstance(value, int | float)}
    named = [figures[name] for name in INDEX_FIELDS if name in figures]
    if named or len(figures) == 1:
        return float(named[0] if named else next(iter(figures.values())))
    raise DataError(
        f"{panel.name}: the {INDEX_KIND} note of {note.known_at} has the figures {', '.join(figures) or 'none'}, and "
        f"one is needed as the index's level. Name it {' or '.join(INDEX_FIELDS)}, or give it alone."
    )
