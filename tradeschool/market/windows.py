"""One ticker's closes as forecasting windows: scaled inputs and outputs, indicators and statistics.

The layout is that of VTA (arXiv 2511.08616); :func:`make_windows` names the differences from its public code.
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
from tradeschool.market import features
from tradeschool.market.panel import FIELDS, Floats, Panel
from tradeschool.market.splits import PARTS, Part

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
"""Column -> (indicator, unit). A level is scaled like a close, a price difference is divided by the std, the others
have no unit."""
STATISTICS = ("min", "min_timestep", "max", "max_timestep", "mean", "median", "median_timestep")
COLUMNS: tuple[str, ...] = ("sequence", *INDICATORS, *STATISTICS)
"""The x columns, in the order of the files. The y column is ``sequence`` too."""
SMALLEST_SPREAD = 1e-12
"""A standard deviation below this share of the largest training value is rounding error."""


@dataclass(frozen=True)
class StandardNorm:
    """z = (x - mean) / std, with mean and std (ddof 0, as scikit-learn's StandardScaler) of the training values."""

    mean: float
    std: float

    @classmethod
    def fit(cls, train_values: Floats, what: str) -> "StandardNorm":
        """Fit on the values of the training rows; ``what`` names them in an error.

        Raises:
            DataError: there are no values, or no spread.
        """
        if not train_values.size:
            raise DataError(f"{what} are none, so nothing can be scaled. Give a longer training part.")
        mean, std = float(train_values.mean()), float(train_values.std())
        if std <= SMALLEST_SPREAD * float(np.abs(train_values).max()):
            raise DataError(
                f"{what} are all {train_values.flat[0]:g} ({train_values.size} of them), so nothing can be scaled. "
                "Leave this ticker out, or give a longer training part."
            )
        return cls(mean, std)

    def transform(self, values: Floats) -> Floats:
        """Scaled values, in the shape given; NaN stays NaN."""
        return (values - self.mean) / self.std


class WindowConfig(BaseModel):
    """How a ticker's closes are cut into windows and split into parts.

    ``inputs`` closes are read and ``outputs`` closes are forecast. A window belongs to the part that holds all its
    outputs; its inputs may begin in the previous part (as in the published pipeline).

    The parts are ``shares`` of each ticker's own bars, or begin on two days for every ticker. Use days to train on
    several tickers: with shares, one ticker's test part can overlap another's training part in time.

    ``incomplete``: ``drop`` leaves out windows with an undefined indicator (warm-up, or a constant price for 14 bars);
    ``keep`` keeps them with NaN.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: int = Field(default=10, ge=2)
    outputs: int = Field(default=10, ge=1)
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    validation_from: datetime.date | None = None
    test_from: datetime.date | None = None
    incomplete: Literal["drop", "keep"] = "drop"

    @model_validator(mode="after")
    def _parts_make_sense(self) -> "WindowConfig":
        if abs(sum(self.shares) - 1) > 1e-6 or not all(share > 0 for share in self.shares):
            raise ValueError(f"shares are {self.shares}; give three above 0 that sum to 1, such as 0.7, 0.1, 0.2")
        if self.validation_from is None and self.test_from is None:
            return self
        if self.validation_from is None or self.test_from is None or self.validation_from >= self.test_from:
            raise ValueError("must have both validation_from and test_from, test_from the later of the two")
        return self


@dataclass(frozen=True)
class TickerWindows:
    """The W windows of one ticker in time order.

    Attributes:
        ticker: the ticker.
        scaler: fitted on the ticker's training closes.
        columns: by name, in the order of :data:`COLUMNS`: ``sequence`` and the indicators [W, inputs], oldest first;
            the statistics of the scaled sequence [W].
        y_WH: the scaled closes of the next ``outputs`` bars.
        part_W: ``train``, ``validation`` or ``test``.
        end_rows_W: the panel row of the last input; the forecast is made after its close.
        dates_W: the date of that row.
        left_out: number of windows left out by reason: ``gap`` (a suspension), ``border`` (outputs in two parts),
            ``indicator`` (an undefined indicator).
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

    def only(self, *parts: Part) -> "TickerWindows":
        """The windows of these parts; ``left_out`` still counts the whole series."""
        return self.where(np.isin(self.part_W, parts))

    def where(self, chosen_W: NDArray[np.bool_]) -> "TickerWindows":
        """The windows where ``chosen_W`` is True."""
        arrays = {name: getattr(self, name)[chosen_W] for name in ("y_WH", "part_W", "end_rows_W", "dates_W")}
        return replace(self, columns={name: values[chosen_W] for name, values in self.columns.items()}, **arrays)


def make_windows(panel: Panel, n: int, config: WindowConfig | None = None) -> TickerWindows:
    """The windows of ticker column ``n``: one for every bar with enough own bars before and after it, none suspended.

    Closes are scaled by a :class:`StandardNorm` fitted on the ticker's training bars. Indicators are computed causally
    on the ticker's real prices; those in price units are then scaled like the closes (:data:`INDICATORS`). VTA's code
    instead computes them inside the ten scaled bars, with periods cut to five.

    Args:
        panel: the market. VTA forecasts the adjusted close, so load adjusted prices to compare with it.
        n: column of the ticker.
        config: sizes and parts.

    Raises:
        DataError: the ticker has too few bars for a window in every part, or its training closes do not move.
    """
    config = config or WindowConfig()
    rows_B = np.flatnonzero(panel.listed_TN[:, n])
    # The ticker's own bars. At least one row, because a panel has one.
    own_B = rows_B if len(rows_B) else np.array([0])
    bars = {f"{name}_TN": getattr(panel, f"{name}_TN")[own_B, n : n + 1] for name in FIELDS}
    alone = Panel(panel.dates_T[own_B], panel.tickers[n : n + 1], **bars, name=panel.name)
    starts = _starts(alone, config)
    closes_B = alone.close_TN[:, 0]
    scaler = StandardNorm.fit(closes_B[: starts[0]], f"{panel.name}: {panel.tickers[n]}: the training closes")
    size = config.inputs + config.outputs
    first_W = np.arange(max(0, len(rows_B) - size + 1))
    places_B = panel.own_bars.places(rows_B, n)
    unbroken_W = places_B[first_W + size - 1] - places_B[first_W] == size - 1
    part_W = _parts(first_W, starts, len(rows_B), config)
    first_W = first_W[unbroken_W & (part_W != "")]
    scaled_WS = sliding_window_view(scaler.transform(closes_B), size)[first_W] if len(first_W) else np.empty((0, size))
    found = TickerWindows(
        ticker=panel.tickers[n],
        scaler=scaler,
        columns=_columns(alone, scaler, first_W, scaled_WS[:, : config.inputs]),
        y_WH=scaled_WS[:, config.inputs :].copy(),
        part_W=part_W[first_W],
        end_rows_W=rows_B[first_W + config.inputs - 1],
        dates_W=panel.dates_T[rows_B[first_W + config.inputs - 1]],
        left_out={"gap": int((~unbroken_W).sum()), "border": int((unbroken_W & (part_W == "")).sum()), "indicator": 0},
    )
    if config.incomplete == "drop":
        whole_W = np.all([np.isfinite(found.columns[name]).all(axis=1) for name in INDICATORS], axis=0)
        found.left_out["indicator"] = int((~whole_W).sum())
        found = found.where(whole_W)
    _refuse_empty(found, panel.name, len(rows_B), config)
    return found


def _starts(alone: Panel, config: WindowConfig) -> tuple[int, int]:
    """The first bar of validation and of test, counted in the ticker's own bars."""
    bars = int(alone.listed_TN.sum())
    if config.validation_from is not None and config.test_from is not None:
        days = np.array([config.validation_from, config.test_from], dtype="datetime64[D]")
        validation, test = np.searchsorted(alone.dates_T.astype("datetime64[D]"), days)
        return int(validation), int(test)
    # Rounded as in the published pipeline: train and test down, validation takes the rest.
    return int(bars * config.shares[0]), bars - int(bars * config.shares[2])


def _parts(first_W: NDArray[np.int64], starts: tuple[int, int], bars: int, config: WindowConfig) -> NDArray[np.str_]:
    """The part of each window; empty for windows that cross a border."""
    lowest_W, highest_W = first_W + config.inputs, first_W + config.inputs + config.outputs - 1
    part_W = np.full(len(first_W), "", dtype=f"U{max(map(len, PARTS))}")
    for part, start, stop in zip(PARTS, (0, *starts), (*starts, bars), strict=True):
        part_W[(lowest_W >= start) & (highest_W < stop)] = part
    return part_W


def _columns(alone: Panel, scaler: StandardNorm, first_W: NDArray[np.int64], sequence_WL: Floats) -> dict[str, Floats]:
    columns = {"sequence": sequence_WL.copy()}
    rows_WL = first_W[:, None] + np.arange(sequence_WL.shape[1])
    values = features.compute(alone, [name for name, _ in INDICATORS.values()])
    for column, (name, unit) in INDICATORS.items():
        values_WL = values[name][rows_WL, 0]
        if unit == "level":
            values_WL = scaler.transform(values_WL)
        columns[column] = values_WL / scaler.std if unit == "difference" else values_WL
    found = features.window_statistics(sequence_WL, lags=0)
    return columns | {name: found[name] for name in STATISTICS}


def _refuse_empty(found: TickerWindows, market: str, bars: int, config: WindowConfig) -> None:
    for part in PARTS:
        if not (found.part_W == part).any():
            lost = ", ".join(f"{count} ({reason})" for reason, count in found.left_out.items() if count) or "none"
            raise DataError(
                f"{market}: {found.ticker}: no window would be left for {part}. It has {bars} bars, a window takes "
                f"{config.inputs} + {config.outputs} unbroken ones, and left out were {lost}. "
                "Give a longer history or other shares or dates, keep the incomplete windows, or leave this ticker out."
            )
