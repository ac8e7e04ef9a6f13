"""What a recipe's ``market:`` of real prices and its ``split:`` may hold."""

import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator


class _RealMarket(BaseModel):
    """What every market of real prices can be given beside them.

    ``notes``: files of news, tweets, fundamentals, insider, analyst and macro rows (see ``market/notes/read.py``).
    ``names``: a table of companies' names, which masking hides in notes. ``exchange`` tells when its day closes.
    ``dated_notes``: is a note with a day and no hour known at the close of the ``next_day`` or of the ``same_day``?
    """

    model_config = ConfigDict(extra="forbid")

    notes: list[Path] = []
    names: Path | None = None
    exchange: str = "NYSE"
    dated_notes: Literal["next_day", "same_day"] = "next_day"

    @field_validator("notes", mode="before")
    @classmethod
    def _one_or_many(cls, given: Any) -> Any:
        return [given] if isinstance(given, str | Path) else given

    @field_validator("notes", "names")
    @classmethod
    def _from_anywhere(cls, given: Any) -> Any:
        """A run is resumed from any folder."""
        paths = [path.expanduser().absolute() for path in (given if isinstance(given, list) else [given]) if path]
        return paths if isinstance(given, list) else paths[0] if paths else None

    @field_validator("exchange")
    @classmethod
    def _known_exchange(cls, name: str) -> str:
        # Here, because numpy comes with it, and a recipe is read for --help too.
        from tradeschool.market.exchange import exchange

        return exchange(name).name


class FilesMarket(_RealMarket):
    """Real prices: a folder of CSV files, a parquet file or folder.

    ``adjust``: whether prices and volumes are adjusted for splits and dividends where there is an Adj Close.
    ``splits``: whether what looks like a split without an Adj Close is refused, or accepted as a real move.
    """

    source: Literal["folder", "parquet"]
    path: Path
    adjust: bool = True
    splits: Literal["refuse", "accept"] = "refuse"


class DeepStockMarket(_RealMarket):
    """Prices, news, financials and names from a file of DeepStock rows (see ``market/notes/deepstock.py``)."""

    source: Literal["deepstock"]
    path: Path


class SampleMarket(_RealMarket):
    """Real daily bars of five stocks, 2000-2013, from the package of the ``sample`` extra."""

    source: Literal["sample"]


class SplitConfig(BaseModel):
    """Train, validation and test in time: by share of the rows, or from two dates on.

    ``embargo`` is the rows left out between two parts; ``auto`` takes the longest horizon that the
    task looks ahead. ``warmup`` is the rows left out at the start, where indicators are not settled.
    ``folds`` walks forward: the test part is cut into so many consecutive parts, and ``fold`` says
    which of them this run is tested on, after training on all that lies before it (the first is 0).
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
        elif shares and (len(shares) != 3 or abs(sum(shares) - 1) > 1e-6):
            raise ValueError("must have three shares, train, validation and test, that sum to 1, such as 0.6, 0.1, 0.3")
        return self
