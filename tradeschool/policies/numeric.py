"""The network that trades on numeric observations: figures brought to one scale, one small network for all stocks."""

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from torch import Tensor, nn

from tradeschool.env.conversation import FACTS
from tradeschool.env.facts import ACCOUNT, HOLDING, MARKET, PER_STOCK, UNKNOWN, G, M
from tradeschool.errors import did_you_mean

# The place that a figure of a usual stock lies around, and how far it usually strays from it. The bounds of
# env/facts.py are no scales: they reach to 9999, and usual figures would all be 0.
USUAL: dict[str, tuple[float, float]] = {
    "traded": (0.0, 1.0),
    "change_1": (0.0, 2.0),
    "change_5": (0.0, 4.0),
    "rsi_14": (50.0, 12.0),
    "macd_hist": (0.0, 0.5),
    "from_sma_50": (0.0, 7.0),
    "in_bands": (50.0, 35.0),
    "volatility_20": (2.0, 1.0),
    "volume_ratio_20": (1.0, 0.5),
    "share": (0.0, 100.0),
    "gain": (0.0, 5.0),
    "cash": (50.0, 50.0),
    "equity": (100.0, 5.0),
    "days_left": (10.0, 10.0),
    "refused": (0.0, 1.0),
}
FARTHEST = 5.0
"""Scaled figures are cut off here: one wild figure must not drown the others."""
LAYERS = (32, 32)
"""Hidden units of actor and critic."""


def known_facts(names: Sequence[str]) -> list[str]:
    """The market's facts of these names, in the order of the vector.

    Raises:
        ValueError: there is no such fact.
    """
    for name in names:
        if name not in FACTS:
            raise ValueError(f"has {name!r}, but facts are {', '.join(FACTS)}.{did_you_mean(str(name), FACTS)}")
    return [name for name in FACTS if name in names]


class StockFeatures(BaseFeaturesExtractor):
    """Numeric observations [B, F] as features [B, N * width], each stock's side by side.

    Of the market's ``facts`` those that are named are read, all by default; whether a stock is traded, its holding and
    the account always are. Features of a stock: its facts, flags of those that are unknown, the means of the market's
    facts over all stocks, the account.

    Figures are scaled by constants, not by running means: the means would have to travel beside the weights in a
    pickle of their own (``VecNormalize``), and a policy without them would answer nonsense. These are in the network.
    An unknown figure is 0, a usual one, and has its flag set.
    """

    def __init__(self, observation_space: spaces.Box, facts: Sequence[str] = FACTS) -> None:
        """Raises ValueError where there is no such fact."""
        read = known_facts(facts)
        self.stocks = (observation_space.shape[0] - G) // PER_STOCK
        self.market = [m for m, fact in enumerate(MARKET) if fact.name in read or fact.name not in FACTS]
        self.unknowable = [m for m in self.market if MARKET[m].low == UNKNOWN]
        self.own = [*self.market, *range(M, PER_STOCK)]
        width = len(self.own) + len(self.unknowable) + len(self.market) + G
        super().__init__(observation_space, self.stocks * width)
        stock, account = ([USUAL[fact.name] for fact in facts] for facts in ((*MARKET, *HOLDING), ACCOUNT))
        for name, values in (("stock", stock), ("account", account)):
            self.register_buffer(f"{name}_place", torch.tensor([place for place, _ in values]))
            self.register_buffer(f"{name}_scale", torch.tensor([scale for _, scale in values]))

    def forward(self, observations: Tensor) -> Tensor:
        """[B, F] to [B, N * width]."""
        stocks_BNK = observations[:, :-G].reshape(-1, self.stocks, PER_STOCK)
        unknown_BNK = stocks_BNK == UNKNOWN
        unknown_BNK[..., M:] = False
        facts_BNK = self._scaled(stocks_BNK, "stock").masked_fill(unknown_BNK, 0.0)
        mean_BNM = facts_BNK[..., self.market].mean(dim=1, keepdim=True).expand(-1, self.stocks, -1)
        account_BNG = self._scaled(observations[:, -G:], "account")[:, None].expand(-1, self.stocks, -1)
        flags_BNU = unknown_BNK[..., self.unknowable].to(facts_BNK.dtype)
        return torch.cat([facts_BNK[..., self.own], flags_BNU, mean_BNM, account_BNG], dim=2).flatten(1)

    def _scaled(self, values: Tensor, name: str) -> Tensor:
        scaled = (values - getattr(self, f"{name}_place")) / getattr(self, f"{name}_scale")
        return scaled.clamp(-FARTHEST, FARTHEST)


class _Each(nn.Module):
    """One network for every stock: its value network answers with the mean over them."""

    def __init__(self, network: MlpExtractor, stocks: int) -> None:
        super().__init__()
        self.network, self.stocks = network, stocks
        self.latent_dim_pi = stocks * network.latent_dim_pi
        self.latent_dim_vf = network.latent_dim_vf

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        hidden: Tensor = self.network.forward_actor(features.unflatten(1, (self.stocks, -1)))
        return hidden.flatten(1)

    def forward_critic(self, features: Tensor) -> Tensor:
        hidden: Tensor = self.network.forward_critic(features.unflatten(1, (self.stocks, -1)))
        return hidden.mean(dim=1)


class StockPolicy(ActorCriticPolicy):
    """Actor and critic that treat all stocks alike: their order in the observation is drawn at random and says nothing.

    Each stock's number comes out of the same network, which is given that stock's features; a network over all of
    them would have to learn the same thing once for every place.
    """

    def _build_mlp_extractor(self) -> None:
        stocks = self.action_space.shape[0]
        width = self.features_dim // stocks
        network = MlpExtractor(width, self.net_arch, self.activation_fn, device=self.device)
        self.mlp_extractor = _Each(network, stocks)

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        stocks = self.action_space.shape[0]
        head = nn.Linear(self.mlp_extractor.latent_dim_pi // stocks, 1)
        if self.ortho_init:
            self.init_weights(head, gain=0.01)
        self.action_net = nn.Sequential(nn.Unflatten(1, (stocks, -1)), head, nn.Flatten())
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)


def network_options(given: dict[str, Any], facts: Sequence[str] | None = None) -> dict[str, Any]:
    """``policy_kwargs`` with our scaling of the figures under them, and what is given on top.

    ``facts`` are those that :class:`StockFeatures` is to read.

    Raises:
        ValueError: there is no such fact, or ``given`` names others.
    """
    ours: dict[str, Any] = {"features_extractor_class": StockFeatures, "net_arch": list(LAYERS)}
    if facts is None:
        return {**ours, **given}
    if given.keys() & {"features_extractor_class", "features_extractor_kwargs"}:
        raise ValueError(
            "are given, and sb3.policy_kwargs says itself what is read out of an observation. Remove one of the two"
        )
    return {**ours, **given, "features_extractor_kwargs": {"facts": known_facts(facts)}}
