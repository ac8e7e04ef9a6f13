"""The settings of the direction task: the section ``task:`` of a recipe."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from tradeschool.config.check import known_names
from tradeschool.tasks.base import Weights
from tradeschool.text.describe import FACTS
from tradeschool.text.sections import SECTIONS

BRIER = ("signal", "charge")
"""Their sum is the Brier score as a gain over the base rate of the training dates."""
SEED = ("direction", "magnitude", "confidence", "data_use", "format")
"""The reward of 11 points."""
COMPONENTS = (*BRIER, "log", *SEED)


class DirectionConfig(BaseModel):
    """Prompts, outcomes, answers and rewards.

    Attributes:
        facts: lines of the prompt, in order.
        sections: follow the facts where something of them is known (``text/sections.py``).
        mask: hides tickers, names and dates. A description of the company is shown only without it.
        instructions: true adds a system message that explains the answer's format; a text is that message itself.
        horizons: days until the outcome. Every question names its own, so one model learns several.
        label: the outcome is the move above the mean of all stocks (``neutral``), or the stock's own (``raw``).
        confidences: of the decisions in ``group: decisions``, each with UP and with DOWN.
        hindsight_share: share of SFT answers whose direction is the outcome instead of the expert's.
        weights: of the reward components in training.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Literal["direction"] = "direction"
    facts: Annotated[list[str], AfterValidator(known_names("facts", FACTS))] = Field(
        default=["market", "strength", "rsi", "news"], min_length=1
    )
    sections: Annotated[list[str], AfterValidator(known_names("sections", SECTIONS))] = [
        "company",
        "news",
        "fundamentals",
    ]
    mask: bool = True
    instructions: bool | str = False
    horizons: list[Annotated[int, Field(ge=1)]] = Field(default=[1], min_length=1)
    label: Literal["neutral", "raw"] = "neutral"
    confidences: list[Annotated[float, Field(ge=0.5, le=1)]] = Field(
        default=[0.5, 0.55, 0.6, 0.7, 0.8, 0.9], min_length=1
    )
    hindsight_share: float = Field(default=0.5, ge=0, le=1)
    weights: Annotated[Weights, AfterValidator(known_names("reward components", COMPONENTS))] = {
        "signal": 1.0,
        "charge": 1.0,
    }

    @field_validator("horizons", "confidences")
    @classmethod
    def _each_once(cls, given: list[float]) -> list[float]:
        if len(set(given)) < len(given):
            raise ValueError(f"is {given}, but each may be given once")
        return sorted(given)

    @model_validator(mode="after")
    def _proper(self) -> "DirectionConfig":
        signal, charge = (self.weights.get(name, 0.0) for name in BRIER)
        if signal != charge:
            raise ValueError(
                f"has weights signal {signal:g} and charge {charge:g}, which must be equal: only then the confidence "
                "that earns most is the probability of being right"
            )
        return self
