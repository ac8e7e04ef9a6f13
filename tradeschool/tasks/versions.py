"""The version of the trade task, tied to a hash of what decides prompts, parsing and rewards in ``versions.lock.json``.

    python -m tradeschool.tasks.versions --write

adds the version that stands here to the lock. One whose code has changed since is refused: raise it first. What
happens in the episodes themselves has versions of its own, in ``env/versions.py``.
"""

import sys
from pathlib import Path

from tradeschool.code_hash import WHOLE, Code, hash_of
from tradeschool.env.versions import checked

TRADE_VERSION = "1.0.0"
"""Raised with every change of prompts, parsing, rewards or a default of them."""
NAME = "trade task"
LOCK = Path(__file__).with_name("versions.lock.json")
PACKAGE = Path(__file__).parents[1]
CODE: Code = {
    "env/conversation.py": WHOLE,
    "env/facts.py": ("ACCOUNT", "HOLDING", "MARKET"),
    "env/observation.py": WHOLE,
    "tasks/trade.py": WHOLE,
    "tasks/trade_config.py": WHOLE,
    "tasks/trade_rewards.py": WHOLE,
    "text/grammar.py": ("after_thinking",),
    "text/orders.py": WHOLE,
}
"""Modules, or names in them, that decide what is asked, how an answer is read and what it is worth."""
DECIDES_NOTHING = {
    "env/traders.py": "names of rules; whom to imitate is a recipe's choice",
    "errors.py": "words of errors",
    "market/splits.py": "which rows there are, which a recipe says",
    "tasks/base.py": "types",
    "tasks/trajectories.py": "what is imitated",
    "tasks/versions.py": "names the version",
}
"""Modules that those import and that decide none of it, and why not."""


def present() -> dict[str, dict[str, str]]:
    """The task's version and hash, as the lock holds them."""
    return {NAME: {TRADE_VERSION: hash_of(CODE, PACKAGE)}}


def main(arguments: list[str]) -> int:
    """Check the lock; with --write, add to it."""
    return checked(arguments, LOCK, present())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
