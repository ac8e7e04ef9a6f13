"""What a recipe's ``task:`` of ratings may hold."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.tasks import rating_rewards
from tradeschool.tasks.base import Weights
from tradeschool.text.describe import check_facts
from tradeschool.text.sections import check_sections

COMPONENTS = ("profit", "risk", "decision", "outcome", "format")


class RatingConfig(BaseModel):
    """What is shown, what is rewarded and what is imitated.

    ``horizons`` are the days over which the rewards see the market (the mean over them, see
    ``outcomes.excess_TN``: signals that last make several horizons less noisy than one); the score
    that policies are compared by is measured over the first one alone.
    ``risk_aversion`` is lambda in profit - lambda / 2 * position^2; ``hindsight`` is the share of
    SFT targets whose decision is the label of hindsight instead of the expert's. ``measure`` names the
    components whose sum is the score that policies are compared by; ``weights`` what training maximises.

    ``sections`` follow the facts, in their order (``text/sections.py``: tables, news by age, rows). ``variants`` is
    how many prompts a ticker and date of the training part gives, each with the sections in another order and
    another sample of them, drawn under ``variant_seed``; Trading-R1 has 20. Other parts have one, with all in order.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Literal["rating"] = "rating"
    facts: list[str] = Field(default=["market", "strength", "rsi", "news"], min_length=1)
    sections: list[str] = []
    variants: int = Field(default=1, ge=1)
    variant_seed: int = Field(default=0, ge=0)
    mask: bool = True
    instructions: bool = False
    horizons: list[Annotated[int, Field(ge=1)]] = Field(default=[1], min_length=1)
    risk_aversion: float = Field(default=0.2, ge=0)
    label_mode: Literal["forward", "paper"] = "forward"
    hindsight: float = Field(default=0.5, ge=0, le=1)
    measure: list[str] = Field(default=["profit", "risk"], min_length=1)
    weights: Weights = {"profit": 1.0, "risk": 1.0, "format": 0.01}
    outcome: rating_rewards.OutcomeConfig = rating_rewards.OutcomeConfig()

    @field_validator("facts")
    @classmethod
    def _known_facts(cls, names: list[str]) -> list[str]:
        check_facts(names)
        return names

    @field_validator("sections")
    @classmethod
    def _known_sections(cls, names: list[str]) -> list[str]:
        check_sections(names)
        return names

    @model_validator(mode="after")
    def _something_to_vary(self) -> "RatingConfig":
        if self.variants > 1 and not self.sections:
            raise ValueError("has variants but no sections: all would be alike. Name sections, or set variants to 1")
        return self

    @field_validator("weights", "measure")
    @classmethod
    def _known_components(cls, named: Any) -> Any:
        for name in named:
            if name not in COMPONENTS:
                raise RecipeError(
                    f"'{name}' is no reward component.{did_you_mean(name, COMPONENTS)} "
                    f"Choose from: {', '.join(COMPONENTS)}."
                )
        return named

    @field_validator("measure")
    @classmethod
    def _skill_only(cls, names: list[str]) -> list[str]:
        if "format" in names:
            raise ValueError("has format, but policies are compared by what their ratings are worth. Remove it")
        return names
