"""What a recipe's ``task:`` of trading episodes may hold."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tradeschool.env.config import EnvConfig, env_config
from tradeschool.env.conversation import FACTS, Facts, Form
from tradeschool.env.levels import LEVELS
from tradeschool.env.traders import READS, RULES
from tradeschool.errors import did_you_mean
from tradeschool.tasks.base import Weights

COMPONENTS = ("profit", "risk", "grade", "activity", "legal")


class TradeConfig(BaseModel):
    """Which episodes are played, how they are told, what is imitated and what is rewarded.

    ``level`` sets stocks and days; ``env`` changes any of the environment's settings on top. ``form`` and
    ``facts`` are how a day is told and what of it (``env/conversation.py``). ``experts`` are the
    rules that are imitated (``env/traders.py``), which read none but ``facts``; their reasons with ``figures`` or in
    words alone, with ``detours`` (``tasks/trajectories.py``).

    ``credit: day`` gives every answer the rewards from its own day on, each day later counting ``discount`` times as
    much, and compares it with those of the group's completions that hold as many stocks on that day. ``credit:
    episode`` gives every answer of an episode the episode's sum. ``weights`` are those of the components in
    ``tasks/trade_rewards.py``.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Literal["trade"] = "trade"
    level: str = "Easy"
    env: dict[str, Any] = {}
    form: Form = "text"
    facts: Facts = list(FACTS)
    figures: bool = True
    experts: list[str] = Field(default=["rules", "momentum"], min_length=1)
    detours: float = Field(default=0.3, ge=0, lt=1)
    credit: Literal["day", "episode"] = "day"
    discount: float = Field(default=0.9, ge=0, le=1)
    weights: Weights = {"profit": 1.0, "risk": 0.1, "legal": 0.02}

    @field_validator("level")
    @classmethod
    def _known_level(cls, level: str) -> str:
        for name in LEVELS:
            if name.casefold() == level.casefold():
                return name
        raise ValueError(f"is '{level}', but must be one of {', '.join(LEVELS)}.{did_you_mean(level, LEVELS)}")

    @field_validator("experts")
    @classmethod
    def _known_experts(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in RULES:
                raise ValueError(f"has '{name}', but rules are {', '.join(RULES)}.{did_you_mean(name, RULES)}")
        return names

    @field_validator("weights")
    @classmethod
    def _known_components(cls, weights: dict[str, float]) -> dict[str, float]:
        for name in weights:
            if name not in COMPONENTS:
                raise ValueError(
                    f"has '{name}', but components are {', '.join(COMPONENTS)}.{did_you_mean(name, COMPONENTS)}"
                )
        if not any(weights.values()):
            raise ValueError("must have a weight that is not 0, or nothing would be learned")
        return weights

    @model_validator(mode="after")
    def _experts_speak_of_what_is_told(self) -> "TradeConfig":
        for name in self.experts:
            if missing := [fact for fact in READS[name] if fact not in self.facts]:
                raise ValueError(
                    f"has the expert '{name}', which reads {' and '.join(READS[name])}, but facts leaves out "
                    f"{' and '.join(missing)}: a model cannot learn what it is not told. Add it to facts, or take "
                    f"experts that read no more than is told: {', '.join(_that_read(self.facts))}"
                )
        return self

    @model_validator(mode="after")
    def _settings_of_an_environment(self) -> "TradeConfig":
        if "observation" in self.env:
            raise ValueError("env.observation is not the recipe's to set: language models are told text. Use form")
        self.environment()
        return self

    def environment(self, **settings: Any) -> EnvConfig:
        """The environment's settings, with ``settings`` on top."""
        return env_config(**{**LEVELS[self.level], **self.env, **settings})


def _that_read(facts: Sequence[str]) -> list[str]:
    """The rules that read none but these facts."""
    return [name for name, read in READS.items() if set(read) <= set(facts)]
