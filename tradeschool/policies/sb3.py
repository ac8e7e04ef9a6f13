"""Agents of Stable-Baselines3, and how one comes out of a zip without running what else may be in it."""

import hashlib
import io
import json
import os
import pickle
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.config import EnvConfig
from tradeschool.env.facts import PER_STOCK, G
from tradeschool.env.harness import State
from tradeschool.env.trading import TradingEnv
from tradeschool.errors import TradeschoolError
from tradeschool.manifest import write_json

ZIP, RECORD = "ppo.zip", "ppo.json"
DATA, WEIGHTS = "data", "policy.pth"
"""What Stable-Baselines3 calls the parts of its zip that an agent needs."""
MOST_DATA, MOST_BYTES = 2**26, 2**30
"""Bytes of ``data``, and of all parts together, once unpacked: a zip of a few MB can hold terabytes of zeros."""
OURS = "features_extractor_class"
"""The argument of a policy that is no plain value, and always ours."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, KeyError, ValueError)
"""What reading a zip may end in that is cut off, changed, encrypted or packed in an unknown way."""


class AgentError(TradeschoolError):
    """A saved agent that cannot be loaded, or one that cannot play the episodes that it is given."""


@dataclass(frozen=True)
class Sb3Agent:
    """Plays with a policy or a whole algorithm of Stable-Baselines3: its likeliest action, no draw."""

    policy: Any
    name: str = "ppo"

    def act(self, observations: NDArray[np.float32], state: State) -> NDArray[np.float32]:
        """[B, N] of observations [B, F].

        Raises:
            AgentError: the observations, or the orders wanted, are not of the shape that the policy is made for.
        """
        if not isinstance(observations, np.ndarray):
            raise AgentError(f"{self.name} sees numbers, and these are texts. Play it with observation='numeric'.")
        _check_shapes(self.name, observations.shape[1:], (state.config.tickers,), *_shapes_of(self.policy))
        actions_BN: NDArray[np.float32] = self.policy.predict(observations, deterministic=True)[0]
        return actions_BN


def save_agent(model: Any, folder: Path) -> Path:
    """Write a PPO of the ``ppo`` stage as ``ppo.zip``, which ``PPO.load`` reads, and beside it the record that it is.

    Both replace what was there, each in one step. Returns the zip's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    model.save(content)
    write_bytes(folder / ZIP, content.getvalue())
    record = {
        "sha256": _digest(content.getvalue()),
        "stocks": model.action_space.shape[0],
        "use_sde": model.use_sde,
        "policy_kwargs": {key: value for key, value in model.policy_kwargs.items() if key != OURS},
    }
    write_json(folder / RECORD, record)
    return folder / ZIP


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file so that a reader, or a resumed run, sees the old one or the whole new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_agent(path: Path, *, trust: bool = False, env: TradingEnv | None = None, name: str = "ppo") -> Sb3Agent:
    """The agent in a zip of Stable-Baselines3, or in a folder that a ``ppo`` stage wrote.

    Most of such a zip are pickles, and unpickling runs whatever code they name. What a ``ppo`` stage wrote has a
    record beside it, ``ppo.json``, with the zip's hash and the network's sizes: from these the network is built anew,
    and nothing but its numbers is read out of the zip (``torch.load(weights_only=True)``). So a forged record cannot
    run code either. Every other zip is unpickled, and therefore needs ``trust``.

    Args:
        path: the zip, or the folder that holds ``ppo.zip``.
        trust: unpickle a zip that no ``ppo`` stage wrote.
        env: the environment that it shall play, to find out now whether it can.
        name: as tables shall call it.

    Raises:
        AgentError: there is no such zip, it is damaged or not to be trusted, or it is made for other observations.
    """
    path = path / ZIP if path.is_dir() else path
    if not path.is_file():
        raise AgentError(f"There is no {path}. Give a zip of Stable-Baselines3, or the weights folder of a ppo stage.")
    content = path.read_bytes()
    parts = read_parts(content, path)
    if env is not None:
        _check_env(path, env, parts[DATA])
    record = _record(path, content)
    if record is not None:
        return Sb3Agent(_rebuilt(record, parts[WEIGHTS], path), name)
    if not trust:
        raise AgentError(
            f"{path} was not written by a ppo stage, or has been changed since. A zip of Stable-Baselines3 holds "
            "pickles, and loading one runs whatever code is in it, with your rights on this machine. If you know where "
            "it comes from and trust that, load it with trust=True (in a leaderboard's recipe: trust: true)."
        )
    agent = Sb3Agent(_unpickled(content, path), name)
    if env is not None:
        _check_shapes(str(path), _shape(env.observation_space), _shape(env.action_space), *_shapes_of(agent.policy))
    return agent


def read_parts(content: bytes, path: Path) -> dict[str, Any]:
    """The zip's JSON under ``data`` and the bytes under ``policy.pth``; nothing is unpickled, all is checked.

    Raises:
        AgentError: this is no zip, it is damaged, it lacks a part, or it would unpack to far more than an agent has.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = archive.namelist()
            missing = [name for name in (DATA, WEIGHTS) if name not in found]
            if missing:
                raise AgentError(
                    f"{path} is a zip without {' and '.join(missing)}, so Stable-Baselines3 did not save it. "
                    "Give what model.save() wrote."
                )
            _refuse_bomb(archive, path)
            damaged = archive.testzip()
            if damaged:
                raise AgentError(f"{path} is damaged: its part {damaged} fails its checksum. Copy it anew.")
            data, weights = json.loads(archive.read(DATA)), archive.read(WEIGHTS)
        # What torch writes is a zip again, and torch unpacks what another has packed.
        if zipfile.is_zipfile(io.BytesIO(weights)):
            with zipfile.ZipFile(io.BytesIO(weights)) as archive:
                _refuse_bomb(archive, path)
    except _DAMAGED as error:
        raise AgentError(f"{path} is damaged, or no zip at all ({error}). Give what model.save() wrote.") from error
    if not isinstance(data, dict):
        raise AgentError(f"{path} is damaged: its part {DATA} is no mapping. Give what model.save() wrote.")
    return {DATA: data, WEIGHTS: weights}


def _refuse_bomb(archive: zipfile.ZipFile, path: Path) -> None:
    """Before anything is unpacked, by the sizes that the zip tells: no more than these is read of a part."""
    sizes = {part.filename: part.file_size for part in archive.infolist()}
    whole = sum(part.file_size for part in archive.infolist())
    for what, size, most in (("it", whole, MOST_BYTES), (f"its part {DATA}", sizes.get(DATA, 0), MOST_DATA)):
        if size > most:
            raise AgentError(
                f"{path}: {what} would unpack to {size / 2**20:,.0f} MiB, and no more than {most / 2**20:,.0f} are "
                "read. An agent of Stable-Baselines3 is smaller: give what model.save() wrote."
            )


def _check_env(path: Path, env: TradingEnv, data: dict[str, Any]) -> None:
    if env.config.observation != "numeric":
        raise AgentError(f"{path} sees numbers, and the environment tells texts. Make it with observation='numeric'.")
    # Stable-Baselines3 writes what of a space is plain JSON beside the pickle of it; a zip without is seen to later.
    spaces = (data.get(f"{kind}_space") for kind in ("observation", "action"))
    shapes = [space.get("_shape") if isinstance(space, dict) else None for space in spaces]
    if all(isinstance(shape, list) for shape in shapes):
        own = [tuple(shape) for shape in shapes if shape is not None]
        _check_shapes(str(path), _shape(env.observation_space), _shape(env.action_space), own[0], own[1])


Shape = tuple[int, ...]


def _shape(space: Any) -> Shape:
    return tuple(space.shape or ())


def _shapes_of(policy: Any) -> tuple[Shape, Shape]:
    return _shape(policy.observation_space), _shape(policy.action_space)


def _check_shapes(what: str, seen: Shape, orders: Shape, own_seen: Shape, own_orders: Shape) -> None:
    if (seen, orders) != (own_seen, own_orders):
        raise AgentError(
            f"{what} is made for observations of shape {own_seen} and orders of shape {own_orders}; these episodes "
            f"have {seen} and {orders}{_stocks(seen)}. Train one on episodes with as many stocks."
        )


def _stocks(seen: Shape) -> str:
    return f", {(seen[0] - G) // PER_STOCK} stocks" if len(seen) == 1 else ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _record(path: Path, content: bytes) -> dict[str, Any] | None:
    """What a ``ppo`` stage wrote about this very zip, where it did."""
    beside = path.with_name(RECORD)
    if not beside.is_file():
        return None
    try:
        record = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AgentError(f"{beside} is damaged ({error}). Put it back, or train the agent again.") from error
    if not isinstance(record, dict) or record.get("sha256") != _digest(content):
        return None
    return record


def _rebuilt(record: dict[str, Any], weights: bytes, path: Path) -> Any:
    """The policy that a record describes, with the weights of the zip."""
    import torch

    from tradeschool.env.spaces import action_space, observation_space
    from tradeschool.policies.numeric import StockPolicy, network_options

    try:
        config = EnvConfig(tickers=record["stocks"], observation="numeric")
        policy = StockPolicy(
            observation_space(config, ()),
            action_space(config),
            lambda progress: 0.0,
            use_sde=record["use_sde"],
            **network_options(record["policy_kwargs"]),
        )
        policy.load_state_dict(torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True))
    except (
        KeyError,
        TypeError,
        ValueError,
        AssertionError,
        RuntimeError,
        MemoryError,
        pickle.UnpicklingError,
    ) as error:
        raise AgentError(
            f"{path}: its weights are not those that {RECORD} tells of ({error}). Train it again."
        ) from error
    policy.set_training_mode(False)
    return policy


def _unpickled(content: bytes, path: Path) -> Any:
    """Whatever Stable-Baselines3 makes of a zip that its owner trusts."""
    from stable_baselines3 import PPO

    try:
        model = PPO.load(io.BytesIO(content), device="cpu")
        model.policy.set_training_mode(False)
    except Exception as error:  # a pickle may end in any error
        raise AgentError(f"{path}: Stable-Baselines3 cannot load it: {type(error).__name__}: {error}") from error
    return model
