"""Who plays: what makes an agent that one, and how it is had for a market and a level."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tradeschool.env.conversation import Form
from tradeschool.env.harness import Agent
from tradeschool.env.traders import rule
from tradeschool.env.trading import TradingEnv
from tradeschool.errors import RunError
from tradeschool.evaluate.leaderboard.identity import made_of
from tradeschool.models.fingerprint import fingerprint, fingerprint_now
from tradeschool.models.load import ModelConfig
from tradeschool.tasks.base import SplitName

if TYPE_CHECKING:
    from tradeschool.policies.chat.config import ServerConfig

NUMERIC_BATCH = 512


class Arena(Protocol):
    """A market, a level and its parts in time."""

    def env(self, split: SplitName, observation: Literal["text", "numeric"]) -> TradingEnv:
        """The environment on the rows of a part."""


Tell = Callable[[int], None]
"""Called with the number of answers that a language model has given, or of steps that were learned from, since last."""


@dataclass(frozen=True)
class Rival:
    """Who is to play: its name, and the settings that it is given.

    ``made_of`` tells what else makes it this agent: code, libraries, weights. ``make`` gives the agent for an arena;
    ``learns`` where it is trained on that arena's training rows. ``episodes`` is how many it plays of those asked for,
    all where it is None; a large model may have time for a few alone.
    """

    name: str
    settings: dict[str, Any]
    make: Callable[[Arena, Tell], Agent]
    observation: Literal["text", "numeric"] = "numeric"
    episodes: int | None = None
    batch: int = NUMERIC_BATCH
    learns: bool = False
    made_of: Callable[[], dict[str, Any]] = dict

    def settings_in(self, arena: "Arena") -> dict[str, Any]:
        """All that makes it this agent: a row of other settings is another agent's.

        What is played stands in the edition; here stand the rows that it learns from, where it does.

        Raises:
            TradeschoolError: its weights cannot be found.
        """
        learned = {"trained_on": list(arena.env("train", "numeric").rows or ())} if self.learns else {}
        return {**self.settings, **self.made_of(), **learned}


def rule_rival(name: str, /, **settings: Any) -> Rival:
    """A rule as a rival.

    Raises:
        EnvError: there is no such rule, or it has no such setting.
    """
    agent = rule(name, **settings)
    known = {key: value for key, value in dataclasses.asdict(agent).items() if key != "name"}  # type: ignore[call-overload]
    code = functools.partial(made_of, "rule")
    return Rival(agent.name, {"agent": name, **known}, lambda arena, tell: agent, made_of=code)


def ppo_rival(name: str, settings: dict[str, Any]) -> Rival:
    """A PPO of Stable-Baselines3, trained for each arena; ``settings`` are :func:`train_ppo`'s."""

    def make(arena: Arena, tell: Tell) -> Agent:
        from tradeschool.train.ppo import train_ppo

        done = 0

        def count(figures: dict[str, Any]) -> None:
            nonlocal done
            tell(figures["step"] - done)
            done = figures["step"]

        return Renamed(train_ppo(arena.env("train", "numeric"), progress=count, **settings), name)

    return Rival(name, {"agent": "ppo", **settings}, make, learns=True, made_of=functools.partial(made_of, "ppo"))


def zip_rival(name: str, path: Path, *, trust: bool = False) -> Rival:
    """An agent that Stable-Baselines3 saved, or the folder of a ``ppo`` stage."""

    def make(arena: Arena, tell: Tell) -> Agent:
        from tradeschool.policies.sb3 import load_agent

        return load_agent(path, trust=trust, name=name)

    digest = hashlib.sha256(zip_at(path).read_bytes()).hexdigest()[:16]
    return Rival(name, {"agent": "zip", "sha256": digest}, make, made_of=functools.partial(made_of, "zip"))


def zip_at(path: Path) -> Path:
    """The zip itself, where the folder of a ``ppo`` stage may be given."""
    from tradeschool.policies.sb3 import ZIP

    return path / ZIP if path.is_dir() else path


def model_rival(name: str, source: str, config: ModelConfig, *, batch: int, **options: Any) -> Rival:
    """A language model; ``options`` are :class:`LanguageTrader`'s. A folder is known by its content, not its place."""

    def make(arena: Arena, tell: Tell) -> Agent:
        from tradeschool.policies.language_trader import LanguageTrader

        model, tokenizer = _loaded(source, json.dumps(fingerprint(source)), config.model_dump_json())
        return LanguageTrader(model, tokenizer, name=name, batch=batch, on_day=tell, **options)

    loading = config.model_dump(include={"dtype", "attention", "load_in_4bit"})
    # As it was before there was one, so that rows of models without one stay.
    loading |= {"template": config.template} if config.template else {}
    settings = {"agent": "model", **loading, **options}
    return Rival(name, settings, make, "text", batch=batch, made_of=lambda: _model_of(source))


def _model_of(source: str) -> dict[str, Any]:
    return {"weights": fingerprint(source), **made_of("model")}


@functools.lru_cache(maxsize=1)
def _loaded(source: str, weights: str, config: str) -> tuple[Any, Any]:
    """One model stays loaded: the levels of a market ask for the same one in turn.

    Raises:
        RunError: its weights have changed since their fingerprint was taken.
    """
    from tradeschool.models.load import load

    loaded = load(source, ModelConfig.model_validate_json(config))
    if (now := json.dumps(fingerprint_now(source))) != weights:
        raise RunError(f"{source} changed while it was loaded: it was {weights}, and is {now}. Run it again.")
    return loaded


def unload() -> None:
    """Let go of the model that is kept loaded."""
    _loaded.cache_clear()


def remote_rival(name: str, config: "ServerConfig", form: Form, facts: Sequence[str]) -> Rival:
    """A model behind a chat server.

    Raises:
        RemoteError: no server or model is named, or the key cannot be one.
    """
    from tradeschool.policies.chat.config import endpoint

    def make(arena: Arena, tell: Tell) -> Agent:
        from tradeschool.policies.chat.client import ChatClient
        from tradeschool.policies.remote import RemoteTrader

        return RemoteTrader(ChatClient(config, on_answer=lambda count: tell(1)), name=name, form=form, facts=facts)

    server = endpoint(config)
    settings = {"agent": "remote", "url": server.url, "model": server.model, "request": config.body}
    settings |= {"form": form, "facts": [*facts]}
    return Rival(name, settings, make, "text", made_of=functools.partial(made_of, "remote"))


@dataclass(frozen=True)
class Renamed:
    """An agent under the name that the recipe gives it."""

    agent: Agent
    name: str

    def act(self, observations: Any, state: Any) -> Any:
        """The agent's answers."""
        return self.agent.act(observations, state)
