"""The Python API: run recipes, load finished runs, and ask a run's models for decisions."""

import dataclasses
import datetime
import functools
import importlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from tradeschool import manifest as manifests
from tradeschool import pipeline, run_folder
from tradeschool.config import recipe as recipes
from tradeschool.config.recipe import STAGES, Recipe, load_panel, make_task
from tradeschool.errors import DataError, RunError, did_you_mean
from tradeschool.evaluate.comparison import Comparison
from tradeschool.market.panel import Panel
from tradeschool.market.splits import Split
from tradeschool.tasks.base import Task
from tradeschool.trace import Trace
from tradeschool.train.stage import BASE, StageConfig, base_row

if TYPE_CHECKING:
    from tradeschool.env.trading_env import TradingEnv
    from tradeschool.policies.base import Policy

COMPARISON = "comparison.json"
Day = str | datetime.date | np.datetime64


@dataclass(frozen=True)
class Decision:
    """A model's decision about one ticker.

    ``date`` is the last date whose prices and events the model was shown; a trade is possible at the next open.
    ``action`` is what the answer states, such as "BUY"; None where it cannot be read, and ``error`` says why.
    ``reasoning`` is the text before the decision, ``answer`` the complete answer.
    """

    ticker: str
    date: datetime.date
    model: str
    action: str | None
    reasoning: str
    answer: str
    error: str | None = None


class Run:
    """A run folder: its recipe, models, results and decisions. Files are read when first asked for."""

    def __init__(self, folder: Path, console: Console | None = None) -> None:
        self.folder = folder
        self._console = console or Console(quiet=True)
        self._policies: dict[str, Policy] = {}

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @functools.cached_property
    def recipe(self) -> Recipe:
        """The recipe of the run, with all defaults."""
        return recipes.read(self.folder / run_folder.RECIPE)

    @property
    def manifest(self) -> manifests.Manifest:
        """Versions, data, seeds, times and status of the run."""
        return manifests.read(self.folder)

    @property
    def report(self) -> Path | None:
        """The HTML report; None before an evaluate or leaderboard stage has finished."""
        path = self.folder / run_folder.REPORT
        return path if path.exists() else None

    @property
    def models(self) -> dict[str, Path]:
        """The weights folder of each language model that the run has trained, by stage name, in order."""
        return self._made("language")

    @property
    def comparison(self) -> Comparison | None:
        """The result of the last finished evaluate stage; None where there is none."""
        found = run_folder.stage_folders(self.folder, COMPARISON)
        return Comparison.read(found[-1] / COMPARISON) if found else None

    @functools.cached_property
    def panel(self) -> Panel:
        """The market that the run was trained and evaluated on."""
        return load_panel(self.recipe, self._console)

    @functools.cached_property
    def task(self) -> Task:
        """The run's task on its market."""
        return make_task(self.recipe, self.panel)

    @property
    def last_training_date(self) -> datetime.date:
        """The last date of the training part of the run's market."""
        return _days(self.panel)[int(self.task.rows("train")[-1])]

    def decide(
        self, ticker: str, date: Day | None = None, *, model: str | None = None, prices: str | Path | None = None
    ) -> Decision:
        """Ask a model of the run for its decision about one ticker.

        Args:
            ticker: a ticker of the market.
            date: decide after the close of this date, or of the last trading date before it. Default: the newest.
            model: the stage that trained the model, or "base". Default: the model trained last.
            prices: a file or folder of prices to decide on instead of the run's own market.

        Raises:
            DataError: the ticker is not in the market, or has no bar on that date; there is no such date.
            RunError: the run has no such model, or its task does not ask about single tickers.
        """
        return self.decide_all([ticker], date, model=model, prices=prices)[0]

    def decide_all(
        self,
        tickers: Sequence[str] | None = None,
        date: Day | None = None,
        *,
        model: str | None = None,
        prices: str | Path | None = None,
    ) -> list[Decision]:
        """As :meth:`decide`, for several tickers in one batch: by default for every ticker with a bar on that date."""
        from tradeschool.rollout import rollout

        panel = self.panel if prices is None else self._load_prices(str(prices))
        t = _row_on(panel, date)
        task = self.task if prices is None else self._task_at(panel, t)
        if task.episodic or not getattr(task, "per_ticker", True):
            raise RunError(
                f"{self.folder}: the task '{task.name}' does not ask about single tickers (it plays episodes, or asks "
                "about dates). Use a run of a task such as 'rating'."
            )
        columns = _columns_of(panel, tickers, t)
        policy = self._policy(model)
        traces = rollout(policy, task, [task.example_at(t, n) for n in columns], {})
        return [
            _decision(trace, panel.tickers[n], _days(panel)[t], policy.name)
            for trace, n in zip(traces, columns, strict=True)
        ]

    def evaluate(self, **options: Any) -> Comparison:
        """Evaluate the run's models again with other options, in ``evaluations/<number>/`` in the run folder.

        The run's own report and results stay as they are.

        Args:
            **options: keys of the evaluate stage, such as ``split="validation"`` or ``tickers=5``. The others are as
                in the recipe's own evaluate stage, if it has one.

        Raises:
            RecipeError: an option is wrong.
        """
        module = importlib.import_module(STAGES["evaluate"])
        own = [stage.model_dump(exclude_unset=True) for stage in self.recipe.stages if stage.stage == "evaluate"]
        given = {**(own[-1] if own else {}), "stage": "evaluate", "name": "evaluate", **options}
        config = recipes.check_stage(module, given)
        folder = self._new_evaluation()
        stage = folder / "1-evaluate"
        stage.mkdir()
        shared = pipeline.make_context(folder, self.recipe, self.manifest, self.panel, self.task, self._console)
        module.run(config, dataclasses.replace(shared, folder=stage, models=self.models, agents=self._made("numeric")))
        return Comparison.read(stage / COMPARISON)

    def _stages(self) -> Iterator[tuple[StageConfig, run_folder.Done | None]]:
        """Every stage, and what it left if it has finished."""
        for number, stage in enumerate(self.recipe.stages, 1):
            yield stage, run_folder.read_done(self.folder / f"{number}-{stage.name}")

    def _made(self, kind: str) -> dict[str, Path]:
        return {
            stage.name: done.weights for stage, done in self._stages() if done and done.weights and done.kind == kind
        }

    def _policy(self, name: str | None) -> "Policy":
        models = self.models
        if name is None:
            name = next(reversed(models), BASE)
            self._warn_of_unfinished(name)
        if name not in self._policies:
            from tradeschool.models.load import base_source, load
            from tradeschool.policies.language import LanguagePolicy

            if name == BASE:
                source = base_source(self.recipe.model, self.task, self.folder, self.recipe.seed)
            elif name in models:
                source = str(models[name])
            else:
                options = [BASE, *models]
                raise RunError(
                    f"{self.folder} has no model '{name}'.{did_you_mean(name, options)} It has: {', '.join(options)}."
                )
            model, tokenizer = load(source, self.recipe.model)
            self._policies[name] = LanguagePolicy(
                model,
                tokenizer,
                name=base_row(self.recipe.model.base) if name == BASE else name,
                kind=BASE if name == BASE else "trained",
                max_new_tokens=max(64, *(getattr(stage, "max_new_tokens", 64) for stage in self.recipe.stages)),
            )
        return self._policies[name]

    def _warn_of_unfinished(self, used: str) -> None:
        """Name on standard error, before a model is used first, the first training stage that has not finished."""
        for stage, done in self._stages():
            trains = recipes.makes(importlib.import_module(STAGES[stage.stage])) == "language"
            if used not in self._policies and trains and done is None:
                text = f"Warning: stage {stage.name} has not finished; using {used}. Continue with: tradeschool resume"
                Console(stderr=True).print(f"{text} {self.folder}", soft_wrap=True, markup=False)
                return

    @functools.lru_cache(maxsize=2)  # noqa: B019
    def _load_prices(self, path: str) -> Panel:
        recipe = recipes.read(self.folder / run_folder.RECIPE, [f"market.path={json.dumps(path)}"])
        return load_panel(recipe, self._console)

    def _task_at(self, panel: Panel, t: int) -> Task:
        """The task on prices other than the run's, cut after row t so that nothing later can reach a prompt."""
        if t < 1:
            raise DataError(f"{panel.name} has one date up to {_days(panel)[t]}. Give a longer history.")
        rows = np.arange(t + 1, dtype=np.int64)
        names = [one.name for one in dataclasses.fields(panel) if one.name.endswith(("_T", "_TN"))]
        arrays = {name: values[: t + 1] for name in names if (values := getattr(panel, name)) is not None}
        until = dataclasses.replace(panel, **arrays)
        task: Task = self.recipe.task_class(self.recipe.task, until, Split(rows[:-1], rows[-1:], rows[-1:]))
        return task

    def _new_evaluation(self) -> Path:
        numbers = itertools.count(1)
        folder = next(one for n in numbers if not (one := self.folder / "evaluations" / str(n)).exists())
        folder.mkdir(parents=True)
        (folder / manifests.FILE).write_bytes((self.folder / manifests.FILE).read_bytes())
        if (base := self.folder / "base").exists():
            (folder / "base").symlink_to(base.absolute(), target_is_directory=True)
        return folder


def run(
    recipe: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Run a recipe: train, evaluate, report.

    Args:
        recipe: a YAML file, or the recipe as a mapping.
        overrides: values to change, by dotted key: ``{"seed": 3, "stages.gvpo.trl.max_steps": 100}``.
        out: the run folder. Default: ``runs/<recipe name>/<time>``.
        quiet: print nothing.

    Raises:
        TradeschoolError: a problem that the user can fix; a note on the error says how to resume.
    """
    console = Console(quiet=quiet)
    checked = recipes.read_any(recipe, overrides or {})
    return Run(pipeline.run(checked, Path(out) if out is not None else None, console), console)


def resume(folder: str | Path, overrides: Mapping[str, Any] | None = None, *, quiet: bool = False) -> Run:
    """Resume a run that was interrupted or that has failed.

    Args:
        folder: a run folder, or a recipe's name for its latest run.
        overrides: values to change in stages that have not finished, as for :func:`run`.
        quiet: print nothing.

    Raises:
        RunError: there is no such run, or its recipe or data have changed.
    """
    console, found = Console(quiet=quiet), run_folder.find(str(folder))
    recipe = recipes.read_any(found / run_folder.RECIPE, overrides) if overrides else None
    return Run(pipeline.resume(found, recipe, console), console)


def load_run(folder: str | Path) -> Run:
    """Load a run to look at its results or to ask its models.

    Args:
        folder: a run folder ("runs/demo/latest"), or a recipe's name for its latest run ("demo").

    Raises:
        RunError: there is no such run.
    """
    return Run(run_folder.find(str(folder)))


def make_env(
    level: str = "Easy",
    market: str | Path | Panel = "synthetic",
    *,
    rows: tuple[int, int] | None = None,
    **settings: Any,
) -> "TradingEnv":
    """Make a trading environment.

    Args:
        level: Easy, Medium or Hard.
        market: "synthetic", "sample", a file or folder of prices, or a panel.
        rows: the first and last row of the market's dates that episodes may use; all by default.
        **settings: settings of the environment (``env/config.py``) that differ from the level's.

    Raises:
        TradeschoolError: there is no such level or market, or the market has too few stocks.
    """
    from tradeschool.env.config import find_level, level_config
    from tradeschool.env.market_data import MarketData, read_market
    from tradeschool.env.trading_env import TradingEnv

    level = find_level(level)
    data = MarketData(market) if isinstance(market, Panel) else read_market(str(market), Console())
    return TradingEnv(data, rows=rows, **level_config(level, **settings).model_dump())


# decisions ----------------------------------------------------------------------------------------


def _days(panel: Panel) -> list[datetime.date]:
    """The dates of a panel's rows."""
    days: list[datetime.date] = panel.dates_T.astype("datetime64[D]").tolist()
    return days


def _row_on(panel: Panel, date: Day | None) -> int:
    """The last row on or before a date; the newest where no date is given."""
    if date is None:
        return len(panel.dates_T) - 1
    try:
        day = datetime.date.fromisoformat(str(date)[:10])
    except ValueError as error:
        raise DataError(f"{date!r} is not a date. Write it like 2015-01-31.") from error
    row = int(np.searchsorted(panel.dates_T.astype("datetime64[D]"), np.datetime64(day), side="right")) - 1
    if row < 0:
        raise DataError(
            f"{panel.name} has no date on or before {day}: it begins on {_days(panel)[0]}. Give a later date."
        )
    return row


def _columns_of(panel: Panel, tickers: Sequence[str] | None, t: int) -> list[int]:
    """The columns of tickers, all of which have a bar at row t."""
    listed_N = panel.listed_TN[t]
    if tickers is None:
        return [int(n) for n in np.flatnonzero(listed_N)]
    day = _days(panel)[t]
    for ticker in tickers:
        if ticker not in panel.tickers:
            raise DataError(f"{panel.name} has no ticker '{ticker}'.{did_you_mean(ticker, panel.tickers)}")
        if not listed_N[panel.tickers.index(ticker)]:
            raise DataError(f"{ticker} has no bar on {day}. Choose another date, or leave it out.")
    return [panel.tickers.index(ticker) for ticker in tickers]


def _decision(trace: Trace, ticker: str, day: datetime.date, model: str) -> Decision:
    answer = trace.messages[-1]["content"]
    thought = re.search(r"<think>(.*?)(</think>|$)", answer, re.DOTALL)
    reasoning = (thought[1] if thought else answer).strip()
    return Decision(ticker, day, model, trace.action, reasoning, answer, trace.error)
