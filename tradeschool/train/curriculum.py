"""Which training examples a stage uses: all, balanced over classes, or those of volatile days."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from tradeschool.errors import DataError, RecipeError
from tradeschool.market.events.archive import MARKET, EventArchive
from tradeschool.market.features import rolling_std
from tradeschool.market.panel import Floats, Panel
from tradeschool.tasks.base import Example, Task

VOLATILITY_DAYS = 20
INDEX_KIND = "volatility_index"
BEFORE_THE_PANEL = 10**6
"""More rows than lie between any event and the first date."""
INDEX_FIELDS = ("value", "close")
"""Fields that hold the level of an index, in order of preference. A single figure may have any name."""

Log = Callable[[str], None]


class CurriculumConfig(BaseModel):
    """Which training examples a stage uses.

    ``natural`` uses all; ``balanced`` draws every class of the task equally often; ``volatile`` uses those of the most
    volatile ``volatile_share`` of the training days, by the market's own volatility (``volatile_by: market``) or by an
    index among the events, such as the VIX (``volatile_by: index``).
    """

    curriculum: Literal["natural", "balanced", "volatile"] = "natural"
    volatile_share: float = Field(default=0.3, gt=0, le=1)
    volatile_by: Literal["market", "index"] = "market"


def select_examples(
    task: Task, config: CurriculumConfig, panel: Panel, *, count: int | None = None, seed: int, log: Log
) -> list[Example]:
    """Select the training examples of a stage. ``log`` receives one sentence about what was selected.

    ``count`` and ``seed`` are for ``balanced``: how many it draws, by default as many as have a class. A RecipeError if
    the selection would be empty, or is not possible for this task or market.
    """
    pool = list(task.examples("train"))
    if config.curriculum == "balanced":
        return balanced(pool, task.label, task.action_names, count=count, seed=seed, log=log)
    if config.curriculum == "volatile":
        index_T = index_volatility_T(panel) if config.volatile_by == "market" else event_index_T(panel)
        return _on_volatile_days(pool, panel, index_T, task.rows("train"), config.volatile_share, log)
    return pool


def balanced(
    pool: Sequence[Example],
    label: Callable[[Example], str | None],
    classes: Sequence[str] = (),
    *,
    count: int | None = None,
    seed: int,
    log: Log,
) -> list[Example]:
    """Draw ``count`` examples, at most as many as have a class, with every class equally often (to within one).

    Examples of a rare class are repeated; none is repeated before all of its class were drawn.
    """
    groups: dict[str, list[Example]] = {}
    for example in pool:
        if (name := label(example)) is not None:
            groups.setdefault(name, []).append(example)
    if len(groups) < 2:
        found = f"only the class {next(iter(groups))} occurs" if groups else "no training example has a class"
        raise RecipeError(
            f"curriculum: balanced needs at least two classes, but {found} among {len(pool)} training examples. "
            "Use curriculum: natural, a task that labels its questions, or a longer training part."
        )
    rng = np.random.default_rng([seed, 19])
    available = sum(map(len, groups.values()))
    wanted = available if count is None else min(count, available)
    names = sorted(groups)
    # The remainder goes to random classes.
    quotas = np.full(len(names), wanted // len(names)) + (rng.permutation(len(names)) < wanted % len(names))
    drawn: list[Example] = []
    parts = []
    for name, quota in zip(names, quotas.tolist(), strict=True):
        group = groups[name]
        rounds = -(-quota // len(group))
        order = [i for _ in range(rounds) for i in rng.permutation(len(group)).tolist()]
        drawn += [group[i] for i in order[:quota]]
        repeats = f" (up to {rounds} times each)" if rounds > 1 else ""
        parts.append(f"{name} {quota} of {len(group)}{repeats}")
    parts += [f"{name} does not occur" for name in classes if name not in groups]
    log(f"Balanced curriculum, examples used of those available: {'; '.join(parts)}")
    return [drawn[i] for i in rng.permutation(len(drawn))]


def volatile_rows(index_T: Floats, train_T: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """The most volatile ``share`` of the training rows, ascending; only training rows set the threshold.

    ``index_T`` is the volatility by date row, [T]; rows where it is NaN are not selected.
    """
    known_T = train_T[np.isfinite(index_T[train_T])]
    if not known_T.size:
        return known_T
    threshold = np.quantile(index_T[known_T], 1 - share, method="higher")
    return known_T[index_T[known_T] >= threshold]


def _on_volatile_days(
    pool: Sequence[Example], panel: Panel, index_T: Floats, train_T: NDArray[np.int64], share: float, log: Log
) -> list[Example]:
    rows = volatile_rows(index_T, train_T, share)
    chosen = set(rows.tolist())
    selected = [example for example in pool if example.t in chosen]
    if not selected:
        raise RecipeError(
            f"curriculum: volatile is empty: the volatility is known on {np.isfinite(index_T[train_T]).sum()} of "
            f"{len(train_T)} training days, and none of the {len(rows)} most volatile has a question with a known "
            "outcome. Give a larger volatile_share, another volatile_by, or a longer training part."
        )
    days = panel.dates_T[rows[[0, -1]]].astype("datetime64[D]")
    log(
        f"Volatile curriculum: {len(selected)} of {len(pool)} training examples, on {len(rows)} of {len(train_T)} "
        f"training days between {days[0]} and {days[1]} with a volatility of at least {index_T[rows].min():.4g}"
    )
    return selected


def index_volatility_T(panel: Panel, span: int = VOLATILITY_DAYS) -> Floats:
    """Daily volatility of the market [T] at the close of t: std (ddof 1) of its last ``span`` log returns.

    The market's return is the equal-weighted mean log close return of the tickers with a bar on this row, since the bar
    before it. Rows without such a ticker are skipped (NaN).
    """
    logs_BN = np.log(panel.own_bars.take(panel.close_TN))
    returns_TN = panel.own_bars.put(np.diff(logs_BN, axis=0, prepend=np.nan))
    known_TN = np.isfinite(returns_TN)
    rows = np.flatnonzero(known_TN.any(axis=1))
    market_T = np.where(known_TN, returns_TN, 0.0)[rows].sum(axis=1) / known_TN[rows].sum(axis=1)
    index_T = np.full(panel.shape[0], np.nan)
    index_T[rows] = rolling_std(market_T[:, None], span)[:, 0]
    return index_T


def event_index_T(panel: Panel) -> Floats:
    """The volatility index [T] in the panel's events: the latest level known at each close, NaN before the first."""
    sources = {event.source or "no source" for event in panel.events if event.kind == INDEX_KIND}
    if len(sources) != 1:
        raise RecipeError(
            f"volatile_by: index needs events of one {INDEX_KIND}, but {panel.name} has "
            f"{', '.join(sorted(sources)) or 'none'}. Give one index as market.events, or use volatile_by: market."
        )
    archive = EventArchive(panel)
    index_T, level = np.empty(panel.shape[0]), np.nan
    for t in range(panel.shape[0]):
        if known := archive.within_rows(MARKET, INDEX_KIND, t, rows=1 if t else BEFORE_THE_PANEL):
            figures = {name: value for name, value in known[0].fields if isinstance(value, float)}
            named = [figures[name] for name in INDEX_FIELDS if name in figures] or list(figures.values())
            if not named or (len(figures) > 1 and not figures.keys() & set(INDEX_FIELDS)):
                raise DataError(
                    f"{panel.name}: an event of kind {INDEX_KIND} has the figures {', '.join(figures) or 'none'}, but "
                    f"needs one level. Call it {' or '.join(INDEX_FIELDS)}, or give a single figure."
                )
            level = named[0]
        index_T[t] = level
    return index_T
