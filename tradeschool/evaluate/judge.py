"""Compare decisions from a table with the baselines: the same costs, intervals and verdicts as for trained models."""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tradeschool.errors import DataError, RunError, did_you_mean
from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.comparison import Comparison
from tradeschool.evaluate.evaluation_set import Costs, EvaluationSet, evaluation_set_of
from tradeschool.evaluate.predictions import Predictions, traces_to_predictions
from tradeschool.evaluate.report import write_report
from tradeschool.market.load import load_prices
from tradeschool.market.panel import Floats, Panel
from tradeschool.market.splits import Split
from tradeschool.rollout import rollout
from tradeschool.tasks.base import Example
from tradeschool.tasks.rating import RatingTask
from tradeschool.tasks.rating_config import RatingConfig
from tradeschool.text.parse import RATINGS
from tradeschool.trace import Trace

if TYPE_CHECKING:
    from pandas import DataFrame

LABEL_METRICS = ("decision", "accuracy")  # which need labels fitted on a training split
FEWEST_EARLIER = 120  # dates before the first decision, to choose the best constant rating from
COLUMNS = ("date", "ticker", "rating", "position")
SAME_CLOSE = 0.9  # share of rows in which a column equals the day's close that suggests execution at that close
FILL_WORDS = re.compile(r"fill|exec|entry|exit|trade_?price|pnl|profit|return", re.IGNORECASE)
LATE = "Date each decision by the trading day whose close it was based on; a later date can hide look-ahead."


@dataclass(frozen=True)
class Decisions:
    """Positions that somebody decided on after the close of each date.

    Attributes:
        position_TN: on the panel's grid, in [-1, 1], NaN where there is no decision.
        source: the file, for messages.
        are_ratings: whether the table holds ratings, so that a position is rating / 2.
        warnings: what suggests look-ahead.
        unreadable: grid cells of answers that could not be read, whose position is 0.
    """

    source: str
    position_TN: Floats
    are_ratings: bool
    warnings: list[str]
    unreadable: frozenset[tuple[int, int]] = frozenset()

    @property
    def rows_T(self) -> NDArray[np.int64]:
        """The panel's rows from the first to the last decision."""
        decided_T = np.flatnonzero(np.isfinite(self.position_TN).any(axis=1))
        return np.arange(decided_T[0], decided_T[-1] + 1)


def evaluate_decisions(
    decisions: "Path | str | DataFrame",
    prices: Path | str | Panel,
    *,
    name: str = "decisions",
    commission_bps: float = 1.0,
    slippage_bps: float = 5.0,
    allow_short: bool = True,
    risk_aversion: float = 0.02,
    horizon: int = 1,
    trained_until: date | str | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    report: Path | str | None = None,
) -> Comparison:
    """Compare decisions with the baselines on the same dates and tickers.

    A decision is made after the close of its date and filled at the next open. Every ticker that occurs in the
    decisions must have one on each of its trading days between the first and the last decision.

    Args:
        decisions: a CSV file or a data frame with the columns date, ticker, and rating or position.
        prices: a folder or file of prices, or a panel.
        name: of the decisions in tables.
        commission_bps, slippage_bps: paid on the traded amount, in basis points.
        allow_short: without it, a negative position is traded as 0.
        risk_aversion: lambda of the score, position * excess return over the market - lambda / 2 * position^2, in
            units of volatility.
        horizon: days over which the score measures the return.
        trained_until: the last date used to train whatever made the decisions; dates up to it are warned of.
        seed: of the random baseline.
        confidence: of the intervals and of the verdict.
        report: an HTML file to write; the comparison is written beside it as JSON.

    Returns:
        The comparison; ``row(name)`` is the row of the decisions.

    Raises:
        DataError: a row of the decisions or the prices breaks a rule; the text names file and line.
        RunError: a setting is out of range, or ``name`` is the name of a baseline.
    """
    path = None if report is None else Path(report)
    try:
        costs = Costs(commission_bps=commission_bps, slippage_bps=slippage_bps, allow_short=allow_short)
        config = RatingConfig(risk_aversion=risk_aversion, horizons=[horizon])
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]).replace("horizons", "horizon")
        raise RunError(f"{key} is {first['input']}: {first['msg']}. Give another value.") from error
    if path is not None:
        _refuse_to_replace(path)
    panel = prices if isinstance(prices, Panel) else load_prices(prices)
    read = read_decisions(decisions, panel)
    warnings = [*read.warnings, *_seen_in_training(panel, read, trained_until)]
    task = RatingTask(config, panel, _split(read, horizon))
    examples = _questions(task, read)
    questions = _evaluation_set(task, examples, read, costs)
    predictions = _baselines(task, questions, examples, name, seed)
    predictions.append(_predictions(task, questions, examples, name, read))
    comparison = compare(questions, predictions, confidence=confidence)
    warnings += _not_scored(read, len(examples), horizon)
    comparison = comparison.model_copy(update={"warnings": [*warnings, *comparison.warnings]})
    if path is not None:
        write_report(path, comparison, title=f"tradeschool: {name}")
        path.with_suffix(".json").write_text(comparison.to_json(), encoding="utf-8")
    return comparison


def _refuse_to_replace(report: Path) -> None:
    """An earlier report is replaced; it is known by the comparison beside it. Other files are not ours to replace."""
    if report.is_dir() or not report.parent.is_dir():
        raise RunError(f"report is {report}. Give a file in a folder that exists.")
    figures = report.with_suffix(".json")
    try:
        if figures.exists() or report.exists():
            Comparison.read(figures)
    except RunError as error:
        raise RunError(
            f"{report} or {figures} exists already and is not an earlier report ({error}) Choose another file with "
            "--report, or remove both."
        ) from error


def _split(read: Decisions, horizon: int) -> Split:
    """Decisions are the test split. Earlier dates whose outcome was known serve to choose the best constant rating."""
    earlier = max(0, int(read.rows_T[0]) - horizon - 1)
    train_T = np.arange(earlier) if earlier >= FEWEST_EARLIER else np.arange(0)
    return Split(train_T, np.arange(0), read.rows_T)


def _questions(task: RatingTask, read: Decisions) -> list[Example]:
    """The questions about the tickers that have decisions, each of which must be answered."""
    given_TN = np.isfinite(read.position_TN)
    asked = [example for example in task.examples("test") if given_TN[:, example.n].any()]
    # On the last dates too, whose outcomes are not known and which are not scored: a row is not forgotten unnoticed.
    wanted_TN = np.zeros_like(given_TN)
    wanted_TN[read.rows_T] = task.panel.listed_TN[read.rows_T] & given_TN.any(axis=0)
    first = {example.n: example.t for example in reversed(asked)}
    missing = [(t, n) for t, n in np.argwhere(wanted_TN & ~given_TN) if t >= first.get(n, len(given_TN))]
    if missing:
        t, n = missing[0]
        ticker, day = task.panel.tickers[n], task.panel.dates_T[t].astype("datetime64[D]")
        more = f" (the first of {len(missing)} missing rows)" if len(missing) > 1 else ""
        raise DataError(
            f"{read.source}: no decision for {ticker} on {day}{more}. Every ticker needs a row on each of its trading "
            "days between the first and the last decision. Add it; HOLD, or position 0, means no position."
        )
    if not asked:
        raise DataError(
            f"No decision can be scored: a score needs 20 days of earlier prices and {task.horizon + 1} later days."
        )
    return asked


def _evaluation_set(task: RatingTask, examples: Sequence[Example], read: Decisions, costs: Costs) -> EvaluationSet:
    whole = evaluation_set_of(task, task.panel, examples, "test", costs)
    metrics = tuple(metric for metric in whole.metrics if metric.key not in LABEL_METRICS)
    return replace(whole, metrics=metrics, action_names=whole.action_names if read.are_ratings else ())


def _baselines(
    task: RatingTask, questions: EvaluationSet, examples: Sequence[Example], name: str, seed: int
) -> list[Predictions]:
    """The baselines' answers; none of them may have the name of the decisions."""
    policies = task.baselines(seed)
    if name in {policy.name for policy in policies}:
        raise RunError(f"name is '{name}', which is a baseline's. Choose another name.")
    return [
        traces_to_predictions(questions, policy.name, policy.kind, examples, rollout(policy, task, examples, {}))
        for policy in policies
    ]


def _predictions(
    task: RatingTask, questions: EvaluationSet, examples: Sequence[Example], name: str, read: Decisions
) -> Predictions:
    """The decisions as the answers of a model. A position counts as a rating, or as a fraction of one."""
    traces = []
    for example in examples:
        if (example.t, example.n) in read.unreadable:
            metrics = task.trace_metrics(example, None)
            traces.append(Trace(example.key, task.name, name, [], {}, "parse_error", metrics=metrics))
            continue
        rating = 2 * float(read.position_TN[example.t, example.n])
        action = task.action_name(int(rating)) if rating == int(rating) else f"{rating / 2:+g}"
        metrics = task.trace_metrics(example, rating)
        traces.append(Trace(example.key, task.name, name, [], {}, "answered", action, metrics=metrics))
    return traces_to_predictions(questions, name, "decisions", examples, traces)


def _seen_in_training(panel: Panel, read: Decisions, trained_until: date | str | None) -> list[str]:
    if trained_until is None:
        return []
    try:
        last = np.datetime64(date.fromisoformat(str(trained_until)))
    except ValueError:
        raise RunError(f"trained_until is '{trained_until}', which is not a date. Write YYYY-MM-DD.") from None
    days_T = panel.dates_T[read.rows_T].astype("datetime64[D]")
    if not (seen := int((days_T <= last).sum())):
        return []
    return [
        f"{seen} of the {len(days_T)} decision dates are not after the end of training ({last}): results on dates "
        "seen in training say nothing about new ones."
    ]


def _not_scored(read: Decisions, scored: int, horizon: int) -> list[str]:
    given = int(np.isfinite(read.position_TN).sum())
    if given == scored:
        return []
    return [
        f"{given - scored} of {given} decisions are not scored, because their outcome or the volatility before "
        f"them is not in the prices (such as the last {horizon + 1} days)."
    ]


# reading -----------------------------------------------------------------------------------------


def read_decisions(decisions: "Path | str | DataFrame", panel: Panel) -> Decisions:
    """Read a table with the columns date, ticker, and rating or position.

    Args:
        decisions: a CSV file or a data frame. A rating is STRONG_SELL to STRONG_BUY or -2 to 2, a position a number
            from -1 (all of the ticker's capital short) to 1. An empty rating with a text in the column ``error``, as
            ``tradeschool signal --csv`` writes it, is an answer that could not be read.
        panel: the prices; every date and ticker must be in it.

    Raises:
        DataError: a row breaks a rule; the text names the file and the line.
    """
    table, source, where = _table(decisions)
    column = _value_column(list(table.columns), source)
    read = _rating if column == "rating" else _position
    rows = {str(day): row for row, day in enumerate(panel.dates_T.astype("datetime64[D]"))}
    columns = {ticker: n for n, ticker in enumerate(panel.tickers)}
    position_TN = np.full(panel.shape, np.nan)
    lines: dict[tuple[int, int], Hashable] = {}
    unreadable = set()
    for line, entry in table.iterrows():
        try:
            cell = _date_row(str(entry["date"]), rows), _ticker_column(str(entry["ticker"]), columns)
            if not panel.listed_TN[cell]:
                raise DataError(f"{entry['ticker']} has no bar on {entry['date']}. {LATE}")
            if cell in lines:
                first = where(lines[cell])
                raise DataError(
                    f"a second decision for {entry['ticker']} on {entry['date']}; the first is at {first}. Keep one."
                )
            if column == "rating" and not str(entry[column]).strip() and str(entry.get("error", "")).strip():
                unreadable.add(cell)
                position_TN[cell] = 0.0
            else:
                position_TN[cell] = read(str(entry[column]))
        except DataError as error:
            raise DataError(f"{where(line)}: {error}") from None
        lines[cell] = line
    if not lines:
        raise DataError(f"{source}: no decision. Give at least one row.")
    warnings = _fill_warnings(table, lines, panel)
    return Decisions(source, position_TN, column == "rating", warnings, frozenset(unreadable))


def _table(decisions: "Path | str | DataFrame") -> "tuple[DataFrame, str, Callable[[Hashable], str]]":
    """The table as text, its name, and how messages name its rows."""
    import pandas as pd

    if isinstance(decisions, pd.DataFrame):
        table, source = decisions.reset_index(drop=True).astype(str), "decisions"
    else:
        source = str(decisions)
        try:
            table = pd.read_csv(decisions, dtype=str, keep_default_na=False, skip_blank_lines=False)
        except FileNotFoundError:
            raise DataError(f"{source}: there is no such file.") from None
        except (OSError, ValueError) as error:
            raise DataError(f"{source}: cannot be read as CSV ({error}).") from error
    table.columns = [str(column).strip().lower() for column in table.columns]
    if isinstance(decisions, pd.DataFrame):
        return table, source, lambda row: f"{source}, row {row}"
    return table, source, lambda row: f"{source}, line {int(str(row)) + 2}"


def _value_column(found: list[str], source: str) -> str:
    for name in ("date", "ticker"):
        if name not in found:
            raise DataError(
                f"{source}: no column '{name}', only {', '.join(found)}. Add it, or rename one to '{name}'."
            )
    given = [name for name in ("rating", "position") if name in found]
    if len(given) != 1:
        have = "both" if given else f"only {', '.join(found)}"
        raise DataError(f"{source}: has {have}. Give exactly one of the columns 'rating' and 'position'.")
    return given[0]


def _date_row(text: str, rows: Mapping[str, int]) -> int:
    text = text.strip().removesuffix(" 00:00:00")
    try:
        day = str(date.fromisoformat(text))
    except ValueError:
        raise DataError(f"'{text}' is not a date. Write YYYY-MM-DD.") from None
    if day in rows:
        return rows[day]
    first, *_, last = rows
    if not first <= day <= last:
        raise DataError(f"{day} is outside the prices, which run from {first} to {last}.")
    raise DataError(f"{day} has no bar in the prices (weekend or holiday). {LATE}")


def _ticker_column(text: str, columns: Mapping[str, int]) -> int:
    if (ticker := text.strip()) not in columns:
        raise DataError(f"ticker '{ticker}' is not in the prices.{did_you_mean(ticker, columns)}")
    return columns[ticker]


def _rating(text: str) -> float:
    name = re.sub(r"[\s-]+(?=[A-Za-z])", "_", text.strip()).upper()
    if name in RATINGS:
        return RATINGS[name] / 2
    if (value := _number(text)) not in RATINGS.values():
        raise DataError(
            f"rating '{text}' cannot be read.{did_you_mean(name, RATINGS)} Write one of {', '.join(RATINGS)}, "
            "or -2 to 2."
        )
    return value / 2


def _position(text: str) -> float:
    if not -1 <= (value := _number(text)) <= 1:
        raise DataError(f"position '{text}' is not a number from -1 to 1.")
    return value


def _number(text: str) -> float:
    """NaN where it is not a number."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _fill_warnings(table: "DataFrame", lines: Mapping[tuple[int, int], Hashable], panel: Panel) -> list[str]:
    """Of columns that suggest execution at the close that a decision was made from."""
    import pandas as pd

    warnings = []
    close_R = np.array([panel.traded_close_TN[cell] for cell in lines])
    for column in [name for name in table.columns if name not in COLUMNS]:
        value_R = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float)
        share = float(np.mean(np.isclose(value_R, close_R, rtol=1e-4)))
        if share >= SAME_CLOSE:
            reason = f"equals the day's close in {share:.0%} of the rows"
        elif FILL_WORDS.search(column):
            reason = "suggests execution prices or results of your own"
        else:
            continue
        warnings.append(
            f"Column '{column}' {reason}. A decision made from a close cannot be executed at that close; here every "
            "decision is executed at the next open."
        )
    return warnings
