"""What a trading episode may be set to: size, costs, limits and how it is shown."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tradeschool.checking import plain
from tradeschool.errors import TradeschoolError, did_you_mean


class EnvError(TradeschoolError):
    """An environment that cannot be built, reset or stepped as asked."""


class EnvConfig(BaseModel):
    """The rules of one episode; everything that a step's outcome depends on besides the market.

    ``tickers`` and ``days`` are the size: stocks, and decisions. ``cash`` is in the market's currency. ``commission``
    and ``slippage`` are shares of the traded value (.0005 = 5 basis points). ``volume_share`` is the largest part of
    a day's volume that one order may be. ``leverage`` is the largest gross exposure over equity that an order may
    lead to. ``interest`` is a rate a year on cash, paid on negative cash. An episode ends when the equity is at most
    ``ruin`` times the start. ``delisting_return`` is what a holding still earns on its last close when its bars end:
    -.30 is Shumway's (1997) estimate for delistings for poor performance. ``mask`` hides tickers and dates.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tickers: int = Field(default=1, ge=1, le=500)
    days: int = Field(default=20, ge=2, le=10_000)
    cash: float = Field(default=100_000.0, gt=0, allow_inf_nan=False)
    commission: float = Field(default=0.0005, ge=0, le=0.1)
    slippage: float = Field(default=0.0005, ge=0, le=0.1)
    volume_share: float = Field(default=0.1, gt=0, le=1)
    short: bool = False
    leverage: float = Field(default=1.0, ge=1, le=10)
    interest: float = Field(default=0.0, ge=-0.1, le=1)
    ruin: float = Field(default=0.1, ge=0, lt=1)
    delisting_return: float = Field(default=-0.30, ge=-1, le=0)
    mask: bool = True
    observation: Literal["text", "numeric"] = "text"


def env_config(**settings: Any) -> EnvConfig:
    """An :class:`EnvConfig`, with every fault said in plain words.

    Raises:
        EnvError: a setting is unknown or outside its range.
    """
    for name in settings:
        if name not in EnvConfig.model_fields:
            raise EnvError(
                f"The environment has no setting '{name}'.{did_you_mean(name, EnvConfig.model_fields)} "
                f"There are: {', '.join(EnvConfig.model_fields)}."
            )
    try:
        return EnvConfig(**settings)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))} {plain(e)}" for e in error.errors(include_url=False)]
        said = "; ".join(fault.removesuffix(".") for fault in faults)
        raise EnvError(f"The environment's settings: {said}{'' if said.endswith('?') else '.'}") from error
