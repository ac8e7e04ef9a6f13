"""The settings of the forecast task: the section ``task:`` of a recipe."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from tradeschool.config.check import known_names
from tradeschool.tasks.base import Weights
from tradeschool.tasks.forecast_rewards import COMPONENTS
from tradeschool.text.describe import FACTS
from tradeschool.text.window_sections import SECTIONS


class ForecastConfig(BaseModel):
    """Prompts, answers, rewards and SFT answers.

    Attributes:
        inputs: closes in a window.
        horizons: days ahead whose closes are forecast, ascending: one number each.
        unit: ``scaled`` writes closes in standard deviations from the mean of the ticker's training closes;
            ``volatility`` writes changes from the last close in daily volatilities. Scores are the same.
        decimals: with which closes are written.
        facts: lines of the prompt before the sections (``text/describe.py``).
        sections: ``closes``, ``indicators``, ``statistics``.
        mask: hides tickers, names and dates.
        instructions: true adds a system message that explains the answer's format; a text is that message itself.
        grid: the finite decisions. Each number is the expected change of the first day in daily volatilities.
        decay: each day's change in a decision, as a share of the change of the day before; 1 is a straight line.
        hindsight_share: share of SFT answers that state the decision nearest to the true path; the others state the
            one nearest to the best simple forecast.
        full_position: expected change over the longest horizon, in volatilities of as many days, at which the backtest
            takes a full position.
        statistical: whether ARIMA and exponential smoothing are among the baselines, which need statsmodels.
        weights: of the components in training.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Literal["forecast"] = "forecast"
    inputs: int = Field(default=10, ge=4, le=250)
    horizons: list[Annotated[int, Field(ge=1, le=250)]] = Field(default=list(range(1, 11)), min_length=1)
    unit: Literal["scaled", "volatility"] = "scaled"
    decimals: int = Field(default=3, ge=1, le=6)
    facts: Annotated[list[str], AfterValidator(known_names("facts", FACTS))] = []
    sections: Annotated[list[str], AfterValidator(known_names("sections", SECTIONS))] = Field(
        default=["closes", "statistics", "indicators"], min_length=1
    )
    mask: bool = True
    instructions: bool | str = False
    grid: list[float] = Field(default=[-0.8, -0.4, 0.0, 0.4, 0.8], min_length=2)
    decay: float = Field(default=0.9, gt=0, le=1)
    hindsight_share: float = Field(default=0.5, ge=0, le=1)
    full_position: float = Field(default=0.5, gt=0, le=2)
    statistical: bool = True
    weights: Annotated[Weights, AfterValidator(known_names("reward components", COMPONENTS))] = {
        "agreement": 1.0,
        "size": 1.0,
        "format": 0.01,
    }

    @field_validator("horizons")
    @classmethod
    def _ascending(cls, horizons: list[int]) -> list[int]:
        if sorted(set(horizons)) != horizons:
            raise ValueError(f"is {horizons}, but must be ascending, each once: {sorted(set(horizons))}")
        return horizons

    @field_validator("grid")
    @classmethod
    def _with_persistence(cls, grid: list[float]) -> list[float]:
        if 0.0 not in grid or sorted(set(grid)) != grid:
            raise ValueError("must be ascending, each number once, with 0 among them: the close stays where it is")
        return grid
