"""Agents on numeric observations: the network, one small one for all stocks, and how agents are saved and loaded."""

import contextlib
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from torch import Tensor, nn

from tradeschool.config.check import known_names
from tradeschool.env.config import EnvConfig
from tradeschool.env.features import ACCOUNT, HOLDING, MARKET, PER_STOCK, UNKNOWN, G, M, action_space, observation_space
from tradeschool.env.render import FACTS
from tradeschool.env.strategies import State
from tradeschool.env.trading_env import TradingEnv
from tradeschool.errors import TradeschoolError
from tradeschool.manifest import replacing

# A typical value of each fact, and its typical deviation. The bounds of env/features.py are unsuitable as scales:
# they reach to 9999, and typical values would all be 0.
TYPICAL: dict[str, tuple[float, float]] = {
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
MAX_SCALED = 5.0
"""Scaled values are clipped here, so that one outlier does not drown the others."""
LAYERS = (32, 32)
"""Hidden units of actor and critic."""
AGENT_FILE = "ppo.safetensors"
"""The agent in the weights folder of a ``ppo`` stage."""
PLAYED_BY = ("policy_class", "policy_kwargs", "observation_space", "action_space", "use_sde")
"""What a zip of Stable-Baselines3 holds about an agent's network, besides its weights. The rest is about training."""
NOT_PLAYED_BY = (":serialized:", "__doc__", "_abc_impl", "_np_random")
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
TEXT_OBSERVED = "needs numeric observations, but got text. Set observation='numeric'."
Shape = tuple[int, ...]


class AgentError(TradeschoolError):
    """A saved agent that cannot be loaded, or that does not fit the episodes."""


@dataclass(frozen=True)
class NumericAgent:
    """Plays with a Stable-Baselines3 policy or algorithm. Takes the mode of its action distribution."""

    policy: Any
    name: str = "ppo"

    def act(self, observations: NDArray[np.float32], state: State) -> NDArray[np.float32]:
        """The orders [B, N] for observations [B, F].

        Raises:
            AgentError: the observations or orders do not have the shape that the policy was trained on.
        """
        if not isinstance(observations, np.ndarray):
            raise AgentError(f"{self.name} {TEXT_OBSERVED}")
        self._check(observations.shape[1:], (state.config.tickers,))
        actions_BN: NDArray[np.float32] = self.policy.predict(observations, deterministic=True)[0]
        return actions_BN

    def check_env(self, env: TradingEnv) -> None:
        """Raise AgentError where the agent cannot play in ``env``."""
        if env.config.observation != "numeric":
            raise AgentError(f"{self.name} {TEXT_OBSERVED}")
        self._check(_shape(env.observation_space), _shape(env.action_space))

    def _check(self, observed: Shape, orders: Shape) -> None:
        own = _shape(self.policy.observation_space), _shape(self.policy.action_space)
        if (observed, orders) != own:
            raise AgentError(
                f"{self.name} was trained on observations of shape {own[0]} and orders of shape {own[1]}, but these "
                f"episodes have {observed} and {orders} ({(observed[0] - G) // PER_STOCK} stocks). Train an agent on "
                "episodes with this number of stocks."
            )


def known_facts(names: Sequence[str]) -> list[str]:
    """The market facts with these names, in the order of the observation; a ValueError if a fact is unknown."""
    known_names("facts", FACTS)(names)
    return [name for name in FACTS if name in names]


class StockFeatures(BaseFeaturesExtractor):
    """Turns numeric observations [B, F] into features [B, N * width], each stock's side by side.

    It reads the market ``facts`` that are named, all by default, and always the account, the holdings and whether a
    stock is traded. Features of a stock: its facts, flags for unknown ones, the means of the market facts over all
    stocks, the account.

    Facts are scaled by constants, not by running means. Those would need a file of their own (``VecNormalize``), and
    a policy without it would give nonsense. An unknown fact is 0, the typical value, and has its flag set.
    """

    def __init__(self, observation_space: spaces.Box, facts: Sequence[str] = FACTS) -> None:
        """Raises ValueError where a fact is unknown."""
        read = known_facts(facts)
        self.stocks = (observation_space.shape[0] - G) // PER_STOCK
        self.market = [m for m, fact in enumerate(MARKET) if fact.name in read or fact.name not in FACTS]
        self.nullable = [m for m in self.market if MARKET[m].low == UNKNOWN]
        self.own = [*self.market, *range(M, PER_STOCK)]
        width = len(self.own) + len(self.nullable) + len(self.market) + G
        super().__init__(observation_space, self.stocks * width)
        stock, account = ([TYPICAL[fact.name] for fact in facts] for facts in ((*MARKET, *HOLDING), ACCOUNT))
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
        flags_BNU = unknown_BNK[..., self.nullable].to(facts_BNK.dtype)
        return torch.cat([facts_BNK[..., self.own], flags_BNU, mean_BNM, account_BNG], dim=2).flatten(1)

    def _scaled(self, values: Tensor, name: str) -> Tensor:
        scaled = (values - getattr(self, f"{name}_place")) / getattr(self, f"{name}_scale")
        return scaled.clamp(-MAX_SCALED, MAX_SCALED)


class _PerStock(nn.Module):
    """Applies one network to every stock. The value is the mean over stocks."""

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
    """Actor and critic that treat all stocks alike, since their order in the observation is random.

    Each stock's order comes from the same network, applied to that stock's features. A network over all of them would
    have to learn the same thing once per position.
    """

    def _build_mlp_extractor(self) -> None:
        stocks = self.action_space.shape[0]
        width = self.features_dim // stocks
        network = MlpExtractor(width, self.net_arch, self.activation_fn, device=self.device)
        self.mlp_extractor = _PerStock(network, stocks)

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        stocks = self.action_space.shape[0]
        head = nn.Linear(self.mlp_extractor.latent_dim_pi // stocks, 1)
        if self.ortho_init:
            self.init_weights(head, gain=0.01)
        self.action_net = nn.Sequential(nn.Unflatten(1, (stocks, -1)), head, nn.Flatten())
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)


def network_options(given: dict[str, Any], facts: Sequence[str] | None = None) -> dict[str, Any]:
    """``policy_kwargs`` of Stable-Baselines3: our features (of ``facts``, by default all) and layers, below ``given``.

    A ValueError if a fact is unknown, or both arguments name facts.
    """
    ours: dict[str, Any] = {"features_extractor_class": StockFeatures, "net_arch": list(LAYERS)}
    if facts is None:
        return {**ours, **given}
    if given.keys() & {"features_extractor_class", "features_extractor_kwargs"}:
        raise ValueError("are set, and sb3.policy_kwargs sets the features too. Remove one of the two")
    return {**ours, **given, "features_extractor_kwargs": {"facts": known_facts(facts)}}


def save_agent(model: Any, path: Path) -> None:
    """Write the weights of a trained PPO and what rebuilds its network as one safetensors file.

    The file is replaced in one step. Equal agents give equal bytes.
    """
    network = {key: value for key, value in model.policy_kwargs.items() if key != "features_extractor_class"}
    settings = {"stocks": model.action_space.shape[0], "use_sde": model.use_sde, "policy_kwargs": network}
    # Copies, as safetensors refuses tensors that share memory.
    weights = {name: value.clone() for name, value in model.policy.state_dict().items()}
    # One entry: safetensors does not write several in a fixed order.
    content = save(weights, {"agent": json.dumps(settings, sort_keys=True)})
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def agent_hash(path: Path) -> str:
    """16 hex digits over what a saved agent plays by: its weights, network and spaces.

    Equal trainings give equal digits. Zips of Stable-Baselines3 themselves differ, as they hold times and memory
    addresses. Reading one here runs no code from it. A file that cannot be read so has the hash of its bytes.
    """
    content = path.read_bytes()
    if path.suffix != ".safetensors":
        with contextlib.suppress(Exception):  # any file may be given, and loading it says what is wrong with it
            content = _zip_content(content)
    return hashlib.sha256(content).hexdigest()[:16]


def _zip_content(content: bytes) -> bytes:
    """The weights and readable settings in a zip of Stable-Baselines3, in a fixed order."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        settings = json.loads(archive.read("data"))
        weights = torch.load(io.BytesIO(archive.read("policy.pth")), map_location="cpu", weights_only=True)
    played_by = {key: settings.get(key) for key in PLAYED_BY}
    for value in played_by.values():
        for key in NOT_PLAYED_BY if isinstance(value, dict) else ():
            value.pop(key, None)
    readable = ADDRESS.sub("", json.dumps(played_by, sort_keys=True))
    tensors: bytes = save({name: value.clone() for name, value in weights.items()})
    return readable.encode() + tensors


def load_agent(path: Path, *, trust: bool = False, env: TradingEnv | None = None, name: str = "ppo") -> NumericAgent:
    """Load an agent of a ``ppo`` stage or of Stable-Baselines3.

    Args:
        path: the weights folder of a ``ppo`` stage, its ``ppo.safetensors``, or a zip written by ``model.save()``.
        trust: load a zip. It holds pickles, and loading one runs any code in it.
        env: the environment that the agent will play; checked now if given.
        name: the agent's name in tables.

    Raises:
        AgentError: the file is missing, damaged or not trusted, or does not fit ``env``.
    """
    path = path / AGENT_FILE if path.is_dir() else path
    if not path.is_file():
        raise AgentError(
            f"There is no file {path}. Give a zip of Stable-Baselines3 or the weights folder of a ppo stage."
        )
    if path.suffix != ".safetensors" and not trust:
        raise AgentError(
            f"{path} is a zip of Stable-Baselines3. Such a zip holds pickles, and loading one runs any code in it with "
            "your rights. If you trust its author, pass trust=True (in a leaderboard recipe: trust: true)."
        )
    if path.suffix == ".safetensors":
        agent = NumericAgent(_read_agent(path), name)
    else:
        try:
            model = PPO.load(path, device="cpu")
        except Exception as error:  # unpickling can raise anything
            raise AgentError(f"{path}: Stable-Baselines3 cannot load it: {type(error).__name__}: {error}") from error
        model.policy.set_training_mode(False)
        agent = NumericAgent(model, name)
    if env is not None:
        agent.check_env(env)
    return agent


def _read_agent(path: Path) -> StockPolicy:
    """What :func:`save_agent` wrote. Reading it runs no code from the file."""
    try:
        with safe_open(path, "pt") as file:
            settings = json.loads(file.metadata()["agent"])
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        config = EnvConfig(tickers=settings["stocks"], observation="numeric")
        policy = StockPolicy(
            observation_space(config, ()),
            action_space(config),
            lambda progress: 0.0,
            use_sde=settings["use_sde"],
            **network_options(settings["policy_kwargs"]),
        )
        policy.load_state_dict(weights)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise AgentError(f"{path} is damaged or not an agent of a ppo stage ({error}). Train it again.") from error
    policy.set_training_mode(False)
    return policy


def _shape(space: Any) -> Shape:
    return tuple(space.shape or ())
