"""The three levels: how many stocks, and for how many days."""

from typing import Any

from tradeschool.env.config import EnvConfig

LEVELS: dict[str, dict[str, Any]] = {
    "Easy": {"tickers": 1, "days": 20},
    "Medium": {"tickers": 10, "days": 30},
    "Hard": {"tickers": 25, "days": 40},
}
"""What each level sets; every other setting is the default."""

FORMS = ("observation", "mask")
"""Settings that change how an episode is shown, not what happens in it."""


def level_config(name: str, **settings: Any) -> EnvConfig:
    """A level's configuration with ``settings`` of form or rule on top."""
    return EnvConfig(**{**LEVELS[name], **settings})


def level_of(config: EnvConfig) -> str:
    """The level whose rules these are, whatever their form; ``custom`` where none is."""
    rules = config.model_dump(exclude=set(FORMS))
    for name in LEVELS:
        if level_config(name).model_dump(exclude=set(FORMS)) == rules:
            return name
    return "custom"
