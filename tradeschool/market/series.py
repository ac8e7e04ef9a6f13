"""One ticker's closes as windows for forecasting: some days in, some days out, scaled, with indicators and statistics.

The format is that of VTA (arXiv 2511.08616); where its public code differs, :func:`windows` says so.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tradeschool.errors import DataError
from tradeschool.market import indicators, statistics
from tradeschool.market.panel import FIELDS, Floats, Panel
from tradeschool.market.scaling import StandardNorm

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
Unit = Literal["level", "difference", "none"]

INDICATORS: Mapping[str, tuple[str, Unit]] = {
    "sma": ("sma_20", "level"),
    "ema": ("ema_20", "level"),
    "mom": ("mom_10", "difference"),
    "rsi": ("rsi_14", "none"),
    "macd": ("macd", "difference"),
    "willr": ("willr_14", "none"),
    "cci": ("cci_20", "none"),
    "adx": ("adx_14", "none"),
    "bbands_upper": ("bb_upper", "level"),
    "bbands_middle": ("bb_middle", "level"),
    "bbands_lower": ("bb_lower", "level"),
    "stoch_k": ("stoch_k", "none"),
    "stoch_d": ("stoch_d", "none"),
}
"""Column to the indicator that fills it and how it moves with the price: a level is scaled as a close is, a
difference of prices is divided by the std, the others are free of units."""
STATISTICS = ("min", "min_timestep", "max", "max_timestep", "mean", "median", "median_timestep")
COLUMNS: tuple[str, ...] = ("sequence", *INDICATORS, *STATISTICS)
"""The x columns, in the order of the files. The y column is ``sequence`` too."""


class SeriesConfig(BaseModel):
    """How a series is cut into windows and parts.

    ``inputs`` closes are read and ``outputs`` closes are forecast. The parts are shares of the ticker's own bars
    (its first 70 %, and so on), or begin on two days, the same for every ticker: take those to train on one ticker
    and test on another, or the test of one lies in the training time of another.

    ``borders``: ``outputs`` puts a window into the part that holds all its outputs, while its inputs may begin in
    the part before (the published pipeline's way: its borders lie ``seq_len`` rows early). ``whole`` asks that the
    inputs lie in the part, too. Either way all outputs of a part come before all outputs of the next, the
    forecasts of two parts are made at least ``outputs`` bars apart, and windows over a border are left out.

    ``incomplete``: what to do with windows of which an indicator has no value (its warm-up, or a price that stood
    still for 14 bars): ``drop`` leaves them out, ``keep`` leaves NaN in them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: int = Field(default=10, ge=2)
    outputs: int = Field(default=10, ge=1)
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    validation_from: datetime.date | None = None
    test_from: datetime.date | None = None
    borders: Literal["outputs", "whole"] = "outputs"
    incomplete: Literal["drop", "keep"] = "drop"

    @model_validator(mode="after")
    def _parts_make_sense(self) -> "SeriesConfig":
        if abs(sum(self.shares) - 1) > 1e-6 or not all(share > 0 for share in self.shares):
            raise ValueError(f"shares are {self.shares}; give three above 0 that sum to 1, such as 0.7, 0.1, 0.2")
        if self.validation_from is None and self.test_from is None:
            return self
        if self.validation_from is None or self.test_from is None or self.validation_from >= self.test_from:
            raise ValueError("must have both validation_from and test_from, test_from the later of the two")
        return self


@dataclass(frozen=True)
class SeriesWindows:
    """The windows of one ticker, W of them, in the order of time.

    Attributes:
        ticker: whose closes they are.
        scaler: fitted on the ticker's training closes.
        columns: by name, in the order of :data:`COLUMNS`: ``sequence`` and the indicators [W, inputs], oldest first;
            the statistics of the scaled sequence [W]. Time steps count from 0, the oldest.
        y_WH: the scaled closes of the next ``outputs`` bars.
        part_W: ``train``, ``validation`` or ``test``.
        end_rows_W: the panel's row of the last input. The forecast is made after its close.
        dates_W: its date.
        left_out: how many windows are not here, by reason: ``gap`` (a bar is missing inside), ``border`` (they reach
            over the border of two parts), ``indicator`` (one has no value).
    """

    ticker: str
    scaler: StandardNorm
    columns: dict[str, Floats]
    y_WH: Floats
    part_W: NDArray[np.str_]
    end_rows_W: NDArray[np.int64]
    dates_W: NDArray[np.datetime64]
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.part_W)

    def only(self, *parts: Part) -> "SeriesWindows":
        """The windows of these parts alone; ``left_out`` stays that of the whole series."""
        return self._take(np.isin(self.part_W, parts), self.left_out)

    def _take(self, chosen_W: NDArray[np.bool_], left_out: dict[str, int]) -> "SeriesWindows":
        return replace(
            self,
            columns={name: values_W[chosen_W] for name, values_W in self.columns.items()},
            y_WH=self.y_WH[chosen_W],
            part_W=self.part_W[chosen_W],
            end_rows_W=self.end_rows_W[chosen_W],
            dates_W=self.dates_W[chosen_W],
            left_out=left_out,
        )


def windows(panel: Panel, n: int, config: SeriesConfig | None = None) -> SeriesWindows:
    """The windows of ticker column ``n``, one for every bar that has enough unbroken bars before and after it.

    Closes are scaled by a :class:`StandardNorm` that is fitted on the ticker's training bars alone. Indicators are
    computed on the ticker's whole history up to each day, causally, on its real prices, and those in units of the
    price are then scaled as the closes are (see :data:`INDICATORS`), so that a row speaks one language. VTA's code
    computes them inside the ten scaled bars, with periods cut down to five, and keeps the last value.

    Args:
        panel: the market. For VTA's own target, the adjusted close, it must hold adjusted prices, as
            ``sources.load`` gives them.
        n: column of the ticker.
        config: sizes, parts and borders.

    Raises:
        DataError: the ticker has too few bars for a window in every part, or its training closes do not move.
    """
    config = config or SeriesConfig()
    alone = _alone(panel, n)
    rows_B = np.flatnonzero(alone.listed_TN[:, 0])
    starts = _starts(alone, rows_B, config)
    closes_B = alone.close_TN[rows_B, 0]
    scaler = StandardNorm.fit(closes_B[: starts[0]], f"{panel.name}: {panel.tickers[n]}: the training closes")
    size = config.inputs + config.outputs
    first_W = np.arange(max(0, len(rows_B) - size + 1))
    unbroken_W = rows_B[first_W + size - 1] - rows_B[first_W] == size - 1
    part_W = _parts(first_W, starts, len(rows_B), config)
    first_W = first_W[unbroken_W & (part_W != "")]
    scaled_WS = sliding_window_view(scaler.transform(closes_B), size)[first_W] if len(first_W) else np.empty((0, size))
    found = SeriesWindows(
        ticker=panel.tickers[n],
        scaler=scaler,
        columns=_columns(alone, scaler, rows_B, first_W, scaled_WS[:, : config.inputs]),
        y_WH=scaled_WS[:, config.inputs :].copy(),
        part_W=part_W[first_W],
        end_rows_W=rows_B[first_W + config.inputs - 1],
        dates_W=panel.dates_T[rows_B[first_W + config.inputs - 1]],
        left_out={"gap": int((~unbroken_W).sum()), "border": int((unbroken_W & (part_W == "")).sum()), "indicator": 0},
    )
    if config.incomplete == "drop":
        whole_W = np.all([np.isfinite(found.columns[name]).all(axis=1) for name in INDICATORS], axis=0)
        found = found._take(whole_W, found.left_out | {"indicator": int((~whole_W).sum())})
    _refuse_empty(found, panel.name, len(rows_B), config)
    return found


def _alone(panel: Panel, n: int) -> Panel:
    bars = {f"{name}_TN": getattr(panel, f"{name}_TN")[:, n : n + 1] for name in FIELDS}
    return replace(panel, tickers=panel.tickers[n : n + 1], notes=(), planted_TN=None, factor_TN=None, **bars)


def _starts(alone: Panel, rows_B: NDArray[np.int64], config: SeriesConfig) -> tuple[int, int]:
    """The first bar of validation and of test, counted in the ticker's own bars."""
    if config.validation_from is not None and config.test_from is not None:
        days = np.array([config.validation_from, config.test_from], dtype="datetime64[D]")
        validation, test = np.searchsorted(alone.dates_T[rows_B].astype("datetime64[D]"), days)
        return int(validation), int(test)
    # Rounded as in the published pipeline: train and test down, validation takes the rest.
    return int(len(rows_B) * config.shares[0]), len(rows_B) - int(len(rows_B) * config.shares[2])


def _parts(first_W: NDArray[np.int64], starts: tuple[int, int], bars: int, config: SeriesConfig) -> NDArray[np.str_]:
    """Each window's part, and an empty text for those that reach over a border."""
    lowest_W = first_W if config.borders == "whole" else first_W + config.inputs
    highest_W = first_W + config.inputs + config.outputs - 1
    part_W = np.full(len(first_W), "", dtype=f"U{max(map(len, PARTS))}")
    for part, start, stop in zip(PARTS, (0, *starts), (*starts, bars), strict=True):
        part_W[(lowest_W >= start) & (highest_W < stop)] = part
    return part_W


def _columns(
    alone: Panel, scaler: StandardNorm, rows_B: NDArray[np.int64], first_W: NDArray[np.int64], sequence_WL: Floats
) -> dict[str, Floats]:
    columns = {"sequence": sequence_WL.copy()}
    rows_WL = rows_B[first_W[:, None] + np.arange(sequence_WL.shape[1])]
    values = indicators.compute(alone, [name for name, _ in INDICATORS.values()])
    for column, (name, unit) in INDICATORS.items():
        values_WL = values[name][rows_WL, 0]
        if unit == "level":
            values_WL = scaler.transform(values_WL)
        elif unit == "difference":
            values_WL = values_WL / scaler.std
        columns[column] = values_WL
    found = statistics.window_statistics(sequence_WL, lags=0)
    return columns | {name: found[name] for name in STATISTICS}


def _refuse_empty(found: SeriesWindows, market: str, bars: int, config: SeriesConfig) -> None:
    for part in PARTS:
        if not (found.part_W == part).any():
            lost = ", ".join(f"{count} ({reason})" for reason, count in found.left_out.items() if count) or "none"
            raise DataError(
                f"{market}: {found.ticker}: no window would be left for {part}. It has {bars} bars, a window takes "
                f"{config.inputs} + {config.outputs} unbroken ones, and left out were {lost}. "
                "Give a longer history or other shares or dates, keep the incomplete windows, or leave this ticker out."
            )
