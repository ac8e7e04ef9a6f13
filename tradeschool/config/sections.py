"""A recipe's sections ``market:`` and ``split:``: what they may hold, and the panel and split that they describe."""

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from rich.console import Console
from rich.markup import escape

from tradeschool.config.check import Keys, check
from tradeschool.config.document import Draft, read_draft
from tradeschool.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    from tradeschool.market.events.event import EventFile
    from tradeschool.market.panel import Panel
    from tradeschool.market.splits import Split


# market -------------------------------------------------------------------------------------------


AbsolutePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
"""A run may be resumed from another folder."""


class _RealMarket(BaseModel):
    """Keys that every market of real prices has.

    ``events``: files of news, tweets, fundamentals, insider, analyst and macro rows (see ``market/events/read.py``).
    ``names``: a table of company names, which masking hides in texts. ``exchange``: its calendar and closing time.
    ``dated_events``: an event with a date and no time is known at the close of the ``next_day`` or the ``same_day``.
    """

    model_config = ConfigDict(extra="forbid")

    events: list[AbsolutePath] = []
    names: AbsolutePath | None = None
    exchange: str = "NYSE"
    dated_events: Literal["next_day", "same_day"] = "next_day"

    @field_validator("events", mode="before")
    @classmethod
    def _one_or_many(cls, given: Any) -> Any:
        return [given] if isinstance(given, str | Path) else given

    @field_validator("exchange")
    @classmethod
    def _known_exchange(cls, name: str) -> str:
        # Imported here: it imports numpy, and the command line must start fast.
        from tradeschool.market.calendar import find_exchange

        return find_exchange(name).name


class _CheckedMarket(_RealMarket):
    """Keys of prices from files of the user's own, which are checked.

    ``splits``: refuse what looks like a split without an Adj Close, or accept it as a real move.
    ``spikes``: refuse bars that are far from both of their neighbours, or leave them out.
    ``accept``: ticker and day, like ``ABC 2016-01-04``, of what would be refused although it is real.
    """

    path: AbsolutePath
    splits: Literal["refuse", "accept"] = "refuse"
    spikes: Literal["refuse", "leave_out"] = "refuse"
    accept: list[str] = []

    @field_validator("accept")
    @classmethod
    def _tickers_and_days(cls, entries: list[str]) -> list[str]:
        from tradeschool.market.prices.validate import accepted

        accepted(entries)
        return entries


class FilesMarket(_CheckedMarket):
    """Real prices: a folder of CSV or of parquet files, or one such file.

    ``adjust``: adjust prices and volumes for splits and dividends where there is an Adj Close column.
    """

    source: Literal["folder", "parquet"]
    adjust: bool = True


class DeepStockMarket(_CheckedMarket):
    """Prices, news, financials and names from a file of DeepStock rows (see ``market/events/deepstock.py``)."""

    source: Literal["deepstock"]


class SampleMarket(_RealMarket):
    """Real daily bars of five stocks, 2000-2013, from the package of the ``sample`` extra."""

    source: Literal["sample"]


class WindowsMarket(BaseModel):
    """Forecasting windows from files in VTA's layout (see ``market/window_files.py``)."""

    model_config = ConfigDict(extra="forbid")

    source: Literal["windows"]
    path: AbsolutePath


_CLASSES: dict[str, type[BaseModel]] = {
    "folder": FilesMarket,
    "parquet": FilesMarket,
    "deepstock": DeepStockMarket,
    "sample": SampleMarket,
    "windows": WindowsMarket,
}
SOURCES = ("synthetic", *_CLASSES)


def market_section(draft: Draft, section: Any, keys: Keys) -> dict[str, Any] | None:
    """Check the market section at ``keys``, whose ``source`` is set from what its ``path`` holds.

    Returns:
        The section as plain data with all defaults, or None with a problem added to the draft.
    """
    if not isinstance(section, dict):
        draft.add(keys, f"is {section!r}, but must be a mapping like {{source: synthetic}}")
        return None
    _imply_source(draft, section, keys)
    source, cls, settings = section["source"], _CLASSES.get(section["source"]), section
    if source == "synthetic":
        from tradeschool.market.synthetic import SyntheticConfig

        cls, settings = SyntheticConfig, {k: v for k, v in section.items() if k != "source"}
    if cls is None:
        text = f"is {source!r}, but must be one of {', '.join(SOURCES)}.{did_you_mean(str(source), SOURCES)}"
        draft.add((*keys, "source"), text)
        return None
    market = check(cls, settings, keys, draft.problems)
    return None if market is None else {"source": source, **market.model_dump(mode="json")}


def resolved_market(section: dict[str, Any]) -> dict[str, Any]:
    """A market section outside of a recipe, checked, with all defaults; RecipeError where it is wrong."""
    draft = Draft({"market": section}, {}, "market")
    market = market_section(draft, section, ("market",))
    if market is None:
        raise draft.error()
    return market


def _imply_source(draft: Draft, market: dict[str, Any], keys: Keys) -> None:
    """Where the path comes from ``--set``, keys that the new source does not have are dropped, and a note says so."""
    path, by_option, name = market.get("path"), (*keys, "path") in draft.given, ".".join(map(str, keys))
    if path is not None and (*keys, "source") not in draft.given and (by_option or "source" not in market):
        market["source"] = _source_of(Path(str(path)).expanduser(), name)
        cls = _CLASSES[market["source"]]
        unused = [key for key in market if key not in cls.model_fields and (*keys, key) not in draft.given]
        for key in unused if by_option else []:
            del market[key]
        if by_option:
            left = f"; dropped: {', '.join(f'{name}.{key}' for key in unused)}" if unused else ""
            draft.notes.append(f"{name}.path is given, so {name}.source is {market['source']}{left}")
    market.setdefault("source", "synthetic")
    if isinstance(path, int):  # a folder may be called 2024
        market["path"] = str(path)


def _source_of(path: Path, name: str) -> str:
    if not path.exists():
        raise RecipeError(
            f"{name}.path: {path} does not exist. Give a folder of CSV or of parquet files, or one such file."
        )
    from tradeschool.market.events.deepstock import is_deepstock_file
    from tradeschool.market.window_files import holds_windows

    if path.is_file() and is_deepstock_file(path):
        return "deepstock"
    if holds_windows(path):
        return "windows"
    if path.suffix.casefold() == ".jsonl":
        raise RecipeError(
            f"{name}.path: {path} holds no prices: its rows have no company_info, unlike DeepStock's. Give a file "
            f"of events as {name}.events, beside {name}.path."
        )
    files = [path] if path.is_file() else list(path.iterdir())
    found = {file.suffix.lower() for file in files} & {".csv", ".parquet"}
    if len(found) != 1:
        held = "both CSV and parquet files" if found else "no CSV and no parquet file"
        raise RecipeError(
            f"{name}.path: {path} holds {held}. Give {name}.source=folder or {name}.source=parquet as well."
        )
    return "parquet" if found == {".parquet"} else "folder"


def load_market(market: dict[str, Any], console: Console, masked: bool = False) -> "Panel":
    """Load the market of a recipe's resolved section; lines about warnings go to the console.

    ``masked``: whether the task hides names in texts; missing company names are then warned of. A DataError if a file
    of prices, events or names breaks a rule.
    """
    if market["source"] == "synthetic":
        from tradeschool.market.synthetic import SyntheticConfig, simulate

        return simulate(SyntheticConfig.model_validate({k: v for k, v in market.items() if k != "source"}))
    if market["source"] == "windows":
        from tradeschool.market.window_files import read_windows

        console.print(
            "Note: the files' own train and test windows are used; the recipe's split is not", highlight=False
        )
        return read_windows(Path(market["path"]))
    from tradeschool.metrics import DAYS_A_YEAR

    messages: list[str] = []
    panel = _with_events(market, messages)
    with_text = {event.ticker for event in panel.events if masked and event.ticker and event.text}
    if without := [ticker for ticker in with_text if not panel.names.get(ticker)]:
        few = f"{len(without)} of {len(with_text)} tickers with texts have no company name"
        messages.insert(0, f"{few}, so masking hides their symbols only: give market.names")
    if panel.bars_per_year != DAYS_A_YEAR:
        messages.append(f"{panel.bars_per_year} bars a year, by which figures are annualised. Horizons count bars")
    for message in messages:
        console.print(f"Note: {escape(message)}", highlight=False)
    return panel


def _prices(market: dict[str, Any], messages: list[str]) -> tuple["Panel", list["EventFile"]]:
    """The prices, and the events that are in the same file."""
    from tradeschool.market.findings import note
    from tradeschool.market.load import load_sample, read_prices
    from tradeschool.market.prices.validate import Options, accepted

    if market["source"] == "sample":
        return load_sample(), []
    options = Options(market.get("adjust", True), market["splits"], market["spikes"], accepted(market["accept"]))
    panel, findings = read_prices(
        market["path"], options, (".parquet",) if market["source"] == "parquet" else (".csv",)
    )
    messages += note(findings, market["path"])
    if market["source"] != "deepstock":
        return panel, []
    from tradeschool.market.events.read import read_events

    return panel, [read_events(market["path"], same_day=market["dated_events"] == "same_day")]


def _with_events(market: dict[str, Any], messages: list[str]) -> "Panel":
    from tradeschool.market.events.event import EventFile, read_names
    from tradeschool.market.events.read import attach, read_events

    names = EventFile([], [], read_names(market["names"]) if market["names"] else {})
    panel, own = _prices(market, messages)
    panel = dataclasses.replace(panel, exchange=market["exchange"])
    files = [read_events(path, same_day=market["dated_events"] == "same_day") for path in market["events"]]
    return attach(panel, [*own, names, *files], messages)


# split --------------------------------------------------------------------------------------------


class SplitConfig(BaseModel):
    """Train, validation and test parts in time: by share of the rows, or by two start dates.

    ``embargo``: rows dropped between two parts; ``auto`` follows the longest horizon of the task's rewards.
    ``warmup``: rows dropped at the start, where indicators have too little history. ``folds``: walk forward over this
    many consecutive test parts; ``fold`` (from 0) is the one that this run tests on, after training on all before it.
    """

    model_config = ConfigDict(extra="forbid")

    train: float | None = Field(default=None, gt=0, lt=1)
    validation: float | None = Field(default=None, gt=0, lt=1)
    test: float | None = Field(default=None, gt=0, lt=1)
    validation_from: datetime.date | None = None
    test_from: datetime.date | None = None
    embargo: Any = "auto"
    warmup: int = Field(default=250, ge=0)
    folds: int = Field(default=1, ge=1)
    fold: int = Field(default=0, ge=0)

    @field_validator("embargo")
    @classmethod
    def _auto_or_rows(cls, value: Any) -> Any:
        if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
            return value
        raise ValueError(f"is {value!r}, but must be auto or a whole number of days, 0 or more")

    @field_validator("fold")
    @classmethod
    def _one_of_the_folds(cls, fold: int, others: ValidationInfo) -> int:
        folds = others.data.get("folds", fold + 1)
        if fold >= folds:
            there = f"the folds are 0 to {folds - 1}" if folds > 1 else "there is one fold, number 0"
            raise ValueError(f"is {fold}, but split.folds is {folds}: {there}")
        return fold

    @model_validator(mode="after")
    def _shares_or_dates(self) -> "SplitConfig":
        shares = [share for share in (self.train, self.validation, self.test) if share is not None]
        dates = [date for date in (self.validation_from, self.test_from) if date is not None]
        if not shares and not dates:
            self.train, self.validation, self.test = 0.6, 0.1, 0.3
        elif shares and dates:
            raise ValueError(
                "has shares and dates; give one of them. To change over with --set, replace the whole: "
                "--set 'split={validation_from: 2015-01-01, test_from: 2016-01-01}'"
            )
        elif dates and (self.validation_from is None or self.test_from is None or dates[0] >= dates[1]):
            raise ValueError("must have both validation_from and test_from, test_from the later of the two")
        elif shares and len(shares) != 3:
            raise ValueError("must have three shares, train, validation and test, that sum to 1, such as 0.6, 0.1, 0.3")
        elif shares and abs(sum(shares) - 1) > 1e-6:
            total = f"{' + '.join(map(str, shares))} = {sum(shares):g}"
            raise ValueError(f"must have shares of train, validation and test that sum to 1, but {total}")
        return self


def split_of(path: Path) -> SplitConfig:
    """The section ``split`` of a recipe of any kind; the rest of the file is ignored."""
    draft = read_draft(path)
    split: SplitConfig | None = draft.section("split", SplitConfig)
    if split is None:
        raise draft.error()
    return split


def split_panel(split: SplitConfig, panel: "Panel", horizons: Sequence[int] = ()) -> "Split":
    """Split a panel's rows in time as a recipe's section says; a RecipeError if the embargo is too short.

    The embargo ``auto`` is one row more than the longest horizon (of ``horizons`` and of the labels), because a
    decision is filled on the next day.
    """
    from tradeschool.market.labels import LONGEST_LABEL_HORIZON
    from tradeschool.market.splits import walk_forward

    needed = 1 + max([LONGEST_LABEL_HORIZON, *horizons])
    embargo = needed if split.embargo == "auto" else split.embargo
    if embargo < needed:
        raise RecipeError(
            f"split.embargo is {embargo} days, but rewards and labels look {needed - 1} days ahead from the next open, "
            f"so outcomes of one part would reach into the next. Give at least {needed}, or auto."
        )
    dates = (split.validation_from, split.test_from) if split.validation_from and split.test_from else None
    shares = (split.train or 0.0, split.validation or 0.0, split.test or 0.0)
    folds = walk_forward(panel, split.folds, shares, dates, embargo=embargo, warmup=split.warmup)
    return folds[split.fold]
