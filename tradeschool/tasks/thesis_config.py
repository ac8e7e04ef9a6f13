"""The settings of the thesis task: the section ``task:`` of a recipe."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tradeschool.config.check import known_names
from tradeschool.tasks import rating_rewards
from tradeschool.tasks.base import Weights
from tradeschool.tasks.rating_config import RatingConfig
from tradeschool.tasks.thesis_account import AccountConfig
from tradeschool.tasks.thesis_rewards import COMPONENTS, JOINT, MARKET, RATED, Combine
from tradeschool.tasks.thesis_structure import FORMS
from tradeschool.text.describe import FACTS
from tradeschool.text.sections import SECTIONS

DEFAULT_FACTS = ["market", "news", "strength", "trend", "momentum", "rsi", "stochastic", "williams", "cci", "macd"]
DEFAULT_FACTS += ["adx", "bollinger", "atr", "volatility", "volume"]
DEFAULT_SECTIONS = ["prices", "indicators", "news", "fundamentals", "insider", "analyst", "macro"]
TEXTS = {"stock", "date", "market", "news"}
"""Facts that can be missing, or too short to be quoted."""
OF_RATING: tuple[str, ...] = (
    "facts",
    "sections",
    "variants",
    "variant_seed",
    "mask",
    "horizons",
    "risk_aversion",
    "label_mode",
)
OF_RATING += ("hindsight_share", "eval_score", "outcome")
"""Settings that the rating task has too."""


class ThesisConfig(BaseModel):
    """Prompts, the form of theses, what the teacher writes, rewards, and the score of the evaluation.

    Attributes:
        form: ``full``, Trading-R1's; ``short``, for small models; ``simple``, the tags reasoning, support and action.
        argued: the teacher's theses argue for their decision; otherwise they state both sides and only then decide.
        facts, sections, variants, variant_seed, mask, horizons, risk_aversion, label_mode, hindsight_share,
            eval_score, outcome: as in the rating task.
        instructions: true adds a system message that explains the answer's format; a text is that message itself.
        combine: how the rewards of market and evidence are joined (``thesis_rewards.joined``).
        gate: least evidence for a gain with ``combine: gate``.
        account: the account of the components ``pnl``, ``risk_adjusted`` and ``drawdown``.
        weights: of the components in training.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Literal["thesis"] = "thesis"
    form: Literal["full", "short", "simple"] = "full"
    argued: bool = True
    facts: Annotated[list[str], AfterValidator(known_names("facts", FACTS))] = Field(
        default=DEFAULT_FACTS, min_length=1
    )
    sections: Annotated[list[str], AfterValidator(known_names("sections", SECTIONS))] = DEFAULT_SECTIONS
    variants: int = Field(default=1, ge=1, le=1000)
    variant_seed: int = Field(default=0, ge=0)
    mask: bool = True
    instructions: bool | str = False
    horizons: list[Annotated[int, Field(ge=1)]] = Field(default=[1], min_length=1)
    risk_aversion: float = Field(default=0.2, ge=0, le=1000)
    label_mode: Literal["forward", "paper"] = "forward"
    hindsight_share: float = Field(default=1.0, ge=0, le=1)
    eval_score: Annotated[list[str], AfterValidator(known_names("reward components", RATED))] = Field(
        default=["profit", "risk"], min_length=1
    )
    weights: Annotated[Weights, AfterValidator(known_names("reward components", COMPONENTS))] = {
        "decision": 1.0,
        "evidence": 0.5,
        "structure": 0.5,
    }
    outcome: rating_rewards.OutcomeConfig = rating_rewards.OutcomeConfig()
    account: AccountConfig = AccountConfig()
    combine: Combine = "sum"
    gate: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> "ThesisConfig":
        least = FORMS[self.form].sections[0] * FORMS[self.form].bullets[0]
        figures = len(set(self.facts) - TEXTS)
        if not self.sections and figures < least:
            raise ValueError(
                f"has {figures} facts with figures and no sections, but a thesis of form {self.form} quotes at least "
                f"{least} different lines. Name more facts, or sections such as prices"
            )
        if self.combine != "sum":
            if not any(self.weights.get(name) for name in MARKET):
                raise ValueError(
                    f"has combine: {self.combine} but no weight of a market component ({', '.join(MARKET)}), so there "
                    "is nothing to join. Give one, or set combine: sum"
                )
        elif self.weights.get(JOINT):
            raise ValueError("has a weight of joint with combine: sum, where it is not used. Set combine, or remove it")
        self.rating()  # its checks
        return self

    def rating(self) -> RatingConfig:
        """The settings of the rating task that this one asks and scores by."""
        return RatingConfig(**{name: getattr(self, name) for name in OF_RATING})
