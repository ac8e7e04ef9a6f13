"""The ``task`` section of a recipe with trading episodes."""

from collections.abc import Collection
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tradeschool.env.config import LEVELS, EnvConfig, env_config
from tradeschool.env.render import FACTS, Facts, Form, Question
from tradeschool.env.strategies import FACTS_READ, STRATEGIES
from tradeschool.errors import did_you_mean
from tradeschool.policies.rules import EXPERT_POINTS
from tradeschool.tasks.base import Weights
from tradeschool.text.describe import FACTS as DESCRIBED

COMPONENTS = ("profit", "risk", "grade", "activity", "valid_order")
EXPERT = "expert"
"""The demonstrator that decides by the words of the described facts: the rating task's expert."""


class TradeConfig(BaseModel):
    """Which episodes are played, how a day is written, what is imitated and what is rewarded.

    ``level`` sets stocks and days; ``env`` overrides any setting of the environment. ``form`` and ``facts`` set how a
    day is written, and which of the market's facts. ``question: day`` begins a new conversation every day, of the rules
    and that day, which is much shorter; ``question: stock`` one for each stock of each day. ``describe`` adds facts of
    the rating task (``text/describe.py``) to a message about one stock: its news, the state of the market.
    ``instructions: false`` leaves out the rules, which a small model that imitates answers does not need: a prompt
    about one stock is 40 tokens shorter, a third of it.

    ``demonstrators`` are the rules to imitate; they read nothing but ``facts``. One more, ``expert``, reads nothing but
    ``describe``: plain indicator rules (``EXPERT_POINTS`` in ``policies/rules.py``), which buy a stock whose words have
    more than 0 points in sum, and sell it below 0. ``answers: reasons`` are a rule's
    reason and all its orders, with ``figures`` or in words alone. ``answers: one_order`` are one of a day's single
    orders (``Account.single_orders``) and nothing else: a finite set, which ``group: decisions`` needs. On a share
    ``random_action_prob`` of the days a random order is given (``tasks/demonstrations.py``).

    ``advantage: turn`` credits every answer with the rewards from its own day on, each later day multiplied by
    ``discount`` once more, and compares it with those completions of the group that hold as many stocks on that day.
    ``advantage: episode`` credits every answer with the sum over the episode. With ``group: decisions`` an answer is
    credited in the same way and compared with all other orders of its day (``tasks/what_if.py``). ``weights`` are those
    of the components described at ``tasks.trade_rewards.path_rewards``.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Literal["trade"] = "trade"
    level: str = "Easy"
    env: dict[str, Any] = {}
    form: Form = "text"
    question: Question = "episode"
    facts: Facts = list(FACTS)
    describe: list[str] = []
    instructions: bool = True
    figures: bool = True
    answers: Literal["reasons", "one_order"] = "reasons"
    demonstrators: list[str] = Field(default=["rsi+macd", "momentum 5d"], min_length=1)
    random_action_prob: float = Field(default=0.3, ge=0, lt=1)
    advantage: Literal["turn", "episode"] = "turn"
    discount: float = Field(default=0.9, ge=0, le=1)
    weights: Weights = {"profit": 1.0, "risk": 0.1, "valid_order": 0.02}

    @field_validator("level")
    @classmethod
    def _known_level(cls, level: str) -> str:
        return _known(level.title(), LEVELS)

    @field_validator("demonstrators")
    @classmethod
    def _known_rules(cls, names: list[str]) -> list[str]:
        return [_known(name, [*STRATEGIES, EXPERT]) for name in names]

    @field_validator("weights")
    @classmethod
    def _known_components(cls, weights: dict[str, float]) -> dict[str, float]:
        if not any(weights.values()):
            raise ValueError("must have a weight that is not 0, or nothing is learned")
        return {_known(name, COMPONENTS): weight for name, weight in weights.items()}

    @model_validator(mode="after")
    def _demonstrators_read_what_is_shown(self) -> "TradeConfig":
        for name in self.demonstrators:
            if name == EXPERT:
                self._check_expert()
            elif missing := [fact for fact in FACTS_READ[name] if fact not in self.facts]:
                readable = [rule for rule, read in FACTS_READ.items() if set(read) <= set(self.facts)]
                raise ValueError(
                    f"has the demonstrator '{name}', which reads {' and '.join(FACTS_READ[name])}, but facts omits "
                    f"{' and '.join(missing)}. A model cannot learn from what it does not see. Add it to facts, or "
                    f"choose among the rules that read only these facts: {', '.join(readable)}"
                )
        return self

    def _check_expert(self) -> None:
        if self.answers != "one_order":
            raise ValueError(f"has the demonstrator '{EXPERT}', which gives single orders. Set answers: one_order")
        if not set(self.describe) & set(EXPERT_POINTS):
            raise ValueError(
                f"has the demonstrator '{EXPERT}', which reads the facts of describe, but none that it has points for. "
                f"Add some of {', '.join(EXPERT_POINTS)} to describe"
            )

    @model_validator(mode="after")
    def _single_orders_are_long(self) -> "TradeConfig":
        if self.answers == "one_order" and (self.environment().short or self.environment().leverage > 1.0):
            raise ValueError("has answers: one_order, which needs env.short: false and env.leverage: 1. Set these")
        return self

    @field_validator("describe")
    @classmethod
    def _known_descriptions(cls, names: list[str]) -> list[str]:
        return [_known(name, DESCRIBED) for name in names]

    @model_validator(mode="after")
    def _described_one_by_one(self) -> "TradeConfig":
        if self.describe and self.question != "stock" and self.environment().tickers > 1:
            raise ValueError("has describe, for which a message must be about one stock. Set question: stock")
        return self

    @model_validator(mode="after")
    def _one_order_a_stock(self) -> "TradeConfig":
        if self.question == "stock" and self.answers == "reasons":
            raise ValueError("has question: stock, whose answers are single orders. Set answers: one_order")
        return self

    @model_validator(mode="after")
    def _settings_of_an_environment(self) -> "TradeConfig":
        if "observation" in self.env:
            raise ValueError("env.observation cannot be set here: language models read text. Use form")
        self.environment()
        return self

    def environment(self, **settings: Any) -> EnvConfig:
        """The environment's settings, overridden by ``settings``."""
        return env_config(**{**LEVELS[self.level], **self.env, **settings})


def _known(name: str, choices: Collection[str]) -> str:
    if name not in choices:
        raise ValueError(f"has '{name}', but must be one of {', '.join(choices)}.{did_you_mean(name, choices)}")
    return name
