"""What makes an agent that one besides its settings: the code that decides for it, and the libraries that do."""

import functools
import importlib.metadata
from typing import Any

from tradeschool.code_hash import WHOLE, Code, hash_of

PPO: Code = {
    "env/vec.py": WHOLE,
    "policies/numeric.py": WHOLE,
    "policies/sb3.py": ("DATA", "Sb3Agent", "read_parts", "save_agent", "write_bytes"),
    "train/ppo.py": ("train_ppo",),
    "train/ppo_learner.py": WHOLE,
}
CODE: dict[str, Code] = {
    "rule": {
        "env/reference.py": WHOLE,
        "env/signals.py": WHOLE,
        "env/targets.py": WHOLE,
        "env/traders.py": WHOLE,
    },
    "ppo": PPO,
    "zip": {"policies/numeric.py": WHOLE, "policies/sb3.py": ("Sb3Agent", "load_agent")},
    "model": {
        "models/cache.py": WHOLE,
        "models/dialogue.py": WHOLE,
        "models/load.py": ("load",),
        "models/template.py": WHOLE,
        "models/turn.py": WHOLE,
        "models/turns.py": WHOLE,
        "policies/language_trader.py": WHOLE,
    },
    # Its answers may have cost money: only what decides about them counts, not how often a server is asked again.
    "remote": {"policies/chat/reading.py": ("read_answer",), "policies/remote.py": ("RemoteTrader",)},
}
"""By kind of agent, the modules that decide for it, or names in them, besides the rules of the environment."""
NO_AGENT = {
    "checking.py": "words of errors",
    "errors.py": "words of errors",
    "manifest.py": "how files are written",
    "models/tiny.py": "makes weights, whose content is hashed",
    "policies/base.py": "the form of a policy of one turn",
    "policies/chat/client.py": "sends what it is given; the fields of a request stand in the settings",
    "policies/chat/config.py": "reads settings, which the identity holds",
    "tasks/base.py": "types",
    "train/logging.py": "tells of progress",
    "train/ppo_faults.py": "words of errors",
    "train/stage.py": "how a run's stages are called",
    "verbatim.py": "words of errors",
}
"""Modules that the code of agents imports and that do not decide for them, and why they do not."""
LIBRARIES = {
    "ppo": ("stable-baselines3", "torch"),
    "zip": ("stable-baselines3", "torch"),
    "model": ("tokenizers", "torch", "transformers"),
}


@functools.cache
def made_of(kind: str) -> dict[str, Any]:
    """The hash of the code that decides for agents of a kind, and the versions of the libraries; do not change it."""
    libraries = {name: importlib.metadata.version(name) for name in LIBRARIES.get(kind, ())}
    return {"code": hash_of(CODE[kind]), **({"libraries": libraries} if libraries else {})}
