"""Overview of a market: bars, events, labels per split part, rank ICs of features; and its terminal output."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rich.table
from rich import box
from rich.console import Console
from rich.text import Text

from tradeschool.config import recipe as recipes
from tradeschool.config.recipe import Recipe
from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.evaluate.comparison import signed
from tradeschool.evaluate.console import print_warnings
from tradeschool.evaluate.page import Table
from tradeschool.market.frequency import bars_per_year
from tradeschool.market.panel import Panel
from tradeschool.metrics import DAYS_A_YEAR
from tradeschool.prepare.coverage import (
    CalendarDifference,
    EventKind,
    SplitPart,
    TickerCoverage,
    calendar_difference,
    data_warnings,
    event_kinds,
    split_parts,
    ticker_coverage,
)
from tradeschool.prepare.feature_ic import LEVEL, FeatureIC, FeatureICs, feature_ics
from tradeschool.tasks.base import Task

WORDS = ("sample", "synthetic")
MARKET_FILES = (".csv", ".parquet", ".jsonl")
"""Endings of files of prices; DeepStock's may end in .jsonl."""
DEMO: dict[str, Any] = {
    "market": {"edge": 0.4, "tickers": 40, "days": 1500},
    "split": {"train": 0.7, "validation": 0.08, "test": 0.22, "warmup": 60},
    "task": {
        "facts": ["market", "strength", "rsi", "news"],
        "horizons": [1, 3, 5],
        "risk_aversion": 0.2,
        "hindsight_share": 0.25,
        "weights": {"profit": 1.0, "risk": 1.0, "format": 0.01},
    },
}
"""What recipes/demo.yaml says of market, split and task: the defaults for the synthetic market."""
STOCKS: dict[str, Any] = {
    "market": {},
    "split": {"train": 0.62, "validation": 0.1, "test": 0.28, "warmup": 260},
    "task": {
        "facts": ["strength", "trend", "rsi", "macd", "bollinger", "volume"],
        "horizons": [5],
        "risk_aversion": 0.02,
        "hindsight_share": 0.5,
        "eval_score": ["profit"],
        "weights": {"profit": 1.0, "risk": 1.0, "format": 0.01},
    },
}
"""As recipes/stocks.yaml: the defaults for real prices."""


@dataclass(frozen=True)
class Overview:
    """What the terminal and the report show; ``parts`` and ``feature_ics`` are empty if the market cannot be split."""

    name: str
    data_hash: str
    dates: tuple[str, ...]
    task: str
    tickers: list[TickerCoverage]
    calendar: CalendarDifference | None
    events: list[EventKind]
    parts: tuple[SplitPart, ...]
    feature_ics: FeatureICs | None
    warnings: list[str]

    @property
    def classes(self) -> tuple[str, ...]:
        """The task's classes; empty for a task without classes."""
        return tuple(self.parts[0].labels) if self.parts else ()


def recipe_from_source(source: str, sets: Sequence[str] = (), split: dict[str, float] | None = None) -> Recipe:
    """Read a recipe file, or make a rating recipe for prices or one of the words ``sample`` and ``synthetic``.

    A recipe made here has the market, split and task of recipes/stocks.yaml, or of recipes/demo.yaml for the synthetic
    market, so that what is prepared or described is what these train on.

    Args:
        source: a .yaml file, a file or folder of prices, or a word.
        sets: ``--set`` overrides.
        split: the split of a recipe made here, unless ``sets`` changes it.

    Raises:
        RecipeError: the recipe is wrong, or the prices do not exist.
    """
    if Path(source).suffix.casefold() in (".yaml", ".yml"):
        return recipes.read(Path(source), sets)
    if source not in WORDS and not Path(source).expanduser().exists():
        near = did_you_mean(source, [*WORDS, *(entry.name for entry in Path().iterdir())])
        raise RecipeError(
            f"{source} does not exist.{near} Give a recipe (.yaml), a file or folder of prices, or one of: "
            f"{', '.join(WORDS)}."
        )
    path = Path(source).expanduser()
    if source not in WORDS and path.is_file() and path.suffix.casefold() not in MARKET_FILES:
        raise RecipeError(f"{source} is not a recipe, .csv or .parquet file.")
    defaults = copy.deepcopy(DEMO if source == "synthetic" else STOCKS)
    document: dict[str, Any] = {
        "name": "overview",
        "market": {**({"source": source} if source in WORDS else {"path": source}), **defaults["market"]},
        "split": split or defaults["split"],
        "task": {"name": "rating", **defaults["task"]},
        "model": {"base": "tiny"},
        "stages": [{"stage": "evaluate"}],
    }
    return recipes.from_mapping(document, sets, source)


def make_overview(
    panel: Panel,
    task: Task | None,
    *,
    horizons: Sequence[int],
    exchange: str | None = None,
    problem: str | None = None,
) -> Overview:
    """Describe a market.

    Args:
        panel: the market.
        task: the task; None if the market cannot be split, with the reason in ``problem``.
        horizons: days of the outcome that features are correlated with.
        exchange: compare the dates with this exchange's calendar.
        problem: the first warning, if any.
    """
    # An exchange's sessions are expected of daily bars alone.
    exchange = exchange if panel.bars_per_year >= DAYS_A_YEAR else None
    tickers, events = ticker_coverage(panel, exchange), event_kinds(panel)
    difference = calendar_difference(panel, exchange) if exchange else None
    dates = tuple(str(day) for day in panel.dates_T.astype("datetime64[D]"))
    parts: tuple[SplitPart, ...] = ()
    found: FeatureICs | None = None
    if task is not None:
        parts, train_T = split_parts(panel, task), task.rows("train")
        found = feature_ics(panel, int(train_T[0]), int(train_T[-1]), horizons)
    outcome_dates, real = found.dates if found else None, panel.true_alpha_TN is None
    warnings = data_warnings(dates, tickers, difference, events, parts, outcome_dates, real=real)
    warnings = [problem, *warnings] if problem else warnings
    name, task_name = panel.name, task.name if task else ""
    return Overview(name, panel.data_hash(), dates, task_name, tickers, difference, events, parts, found, warnings)


# terminal ----------------------------------------------------------------------------------------

MOST_FEATURES = 10


def print_overview(console: Console, overview: Overview) -> None:
    """Print the tables and the warnings; the report has the details."""
    for line in headline(overview):
        console.print(Text(line, style="bold"))
    for kind in overview.events:
        scope = f"{kind.tickers} tickers" if kind.tickers else "the whole market"
        console.print(Text(f"{kind.count:,} events of kind {kind.kind}: {scope}, {kind.first} to {kind.last}"))
    if overview.parts:
        _print(console, "Split parts and label shares", parts_table(overview))
    if found := overview.feature_ics:
        shown = found.known[:MOST_FEATURES]
        title = f"Rank IC with the return over {days(found)}: {len(shown)} of {len(found.known)}"
        _print(console, title, features_table(found, shown))
    print_warnings(console, overview.warnings)


def _print(console: Console, title: str, table: Table) -> None:
    printed = rich.table.Table(title=Text(title), box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(table.columns):
        printed.add_column(column, justify="right" if number else "left", no_wrap=True)
    for number, row in enumerate(table.rows):
        cells = (Text(str(cell).replace("\n", " ")) for cell in row)
        printed.add_row(*cells, style="bold green" if number in table.marked else "")
    console.print(printed)


def headline(overview: Overview) -> list[str]:
    """One or two sentences on bars and features."""
    tickers, dates = len(overview.tickers), overview.dates
    a_year = bars_per_year(np.array(dates, dtype="datetime64[D]"))
    missing, spanned = (sum(getattr(ticker, name) for ticker in overview.tickers) for name in ("missing", "span"))
    bars = (
        f"{tickers} {'ticker' if tickers == 1 else 'tickers'} on {len(dates):,} dates, "
        f"{dates[0]} to {dates[-1]}{f', {a_year} a year' if a_year != DAYS_A_YEAR else ''}. "
        f"{f'{missing:,} of {spanned:,}' if missing else 'No'} days are missing between first and last bars."
    )
    return [bars, significance_summary(overview.feature_ics)] if overview.feature_ics else [bars]


def significance_summary(feature_ics: FeatureICs) -> str:
    """How many features are significant, and how many would be by chance."""
    count = len(feature_ics.known)
    return (
        f"On train, the interval of {len(feature_ics.excluding_zero)} of {count} features excludes zero; about "
        f"{count * (1 - LEVEL):.0f} would by chance. After Holm's correction: {len(feature_ics.after_holm) or 'none'}."
    )


def parts_table(overview: Overview) -> Table:
    """The split parts side by side: dates, questions and label shares."""
    parts = overview.parts
    rows = [
        ("first day", *(part.first for part in parts)),
        ("last day", *(part.last for part in parts)),
        ("dates", *(f"{part.dates:,}" for part in parts)),
        ("questions", *(f"{part.questions:,}" for part in parts)),
    ]
    for label in overview.classes:
        rows.append((label.replace("_", " ").lower(), *(f"{part.share(label):.1%}" for part in parts)))
    if overview.classes:
        rows.append(("no label", *(f"{part.unlabelled:,}" for part in parts)))
    return Table(["", *(part.name for part in parts)], rows)


def features_table(found: FeatureICs, shown: Sequence[FeatureIC]) -> Table:
    """Features with their rank IC; those that are significant after Holm's correction are marked."""
    rows = [
        (
            row.feature,
            signed(row.ic, 4).replace(" [", "\n["),
            f"{row.p_value:.3f}" if math.isfinite(row.p_value) else "-",
            f"{row.dates:,}",
        )
        for row in shown
    ]
    marked = [number for number, row in enumerate(shown) if row in found.after_holm]
    return Table(["feature", "rank IC", "p, adjusted", "dates"], rows, marked)


def days(feature_ics: FeatureICs) -> str:
    """``5 days``, or ``1, 3 and 5 days``."""
    *before, last = map(str, feature_ics.horizons)
    listed = f"{', '.join(before)} and {last}" if before else last
    return f"{listed} {'day' if feature_ics.horizons == (1,) else 'days'}"
