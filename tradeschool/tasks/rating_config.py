"""The settings of the rating task: the section ``task:`` of a recipe."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from tradeschool.config.check import known_names
from tradeschool.tasks import rating_rewards
from tradeschool.tasks.base import Weights
from tradeschool.text.describe import FACTS
from tradeschool.text.sections import SECTIONS

COMPONENTS = ("profit", "risk", "decision", "outcome", "format")
_components = known_names("reward components", COMPONENTS)


class RatingConfig(BaseModel):
    """Prompts, rewards, SFT answers and the score of the evaluation.

    Attributes:
        facts: lines of the prompt, in order.
        sections: follow the facts (``text/sections.py``: tables, news by age, rows).
        variants: prompts per ticker and date of the training split, each with the sections in another order and
            another sample of them. Trading-R1 has 20. Other splits have one prompt with all sections in order.
        variant_seed: of these samples.
        mask: hides tickers, names and dates.
        instructions: true adds a system message that explains the answer's format; a text is that message itself.
        horizons: days over which rewards measure the return (the mean over them, which is less noisy than one horizon
            where signals last). The score that policies are compared by uses the first one only.
        risk_aversion: lambda in profit - lambda / 2 * position^2.
        label_mode: see ``labels.rating_labels``.
        hindsight_share: share of SFT answers whose decision is the label instead of the expert's.
        eval_score: components whose sum is the score that policies are compared by.
        weights: of the components in training.
        outcome: settings of the component ``outcome``.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Literal["rating"] = "rating"
    facts: Annotated[list[str], AfterValidator(known_names("facts", FACTS))] = Field(
        default=["market", "strength", "rsi", "news"], min_length=1
    )
    sections: Annotated[list[str], AfterValidator(known_names("sections", SECTIONS))] = []
    variants: int = Field(default=1, ge=1, le=1000)
    variant_seed: int = Field(default=0, ge=0)
    mask: bool = True
    instructions: bool | str = False
    horizons: list[Annotated[int, Field(ge=1)]] = Field(default=[1], min_length=1)
    risk_aversion: float = Field(default=0.2, ge=0, le=1000)
    label_mode: Literal["forward", "paper"] = "forward"
    hindsight_share: float = Field(default=0.5, ge=0, le=1)
    eval_score: Annotated[list[str], AfterValidator(_components)] = Field(default=["profit", "risk"], min_length=1)
    weights: Annotated[Weights, AfterValidator(_components)] = {"profit": 1.0, "risk": 1.0, "format": 0.01}
    outcome: rating_rewards.OutcomeConfig = rating_rewards.OutcomeConfig()

    @model_validator(mode="after")
    def _something_to_vary(self) -> "RatingConfig":
        if self.variants > 1 and not self.sections:
            raise ValueError(
                "has variants but no sections: all prompts would be equal. Name sections, or set variants to 1"
            )
        return self

    @field_validator("eval_score")
    @classmethod
    def _skill_only(cls, names: list[str]) -> list[str]:
        if "format" in names:
            raise ValueError("has format, but policies are compared by the value of their ratings. Remove format")
        return names
