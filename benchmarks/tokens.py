"""Tokens of whole episodes as conversations, by tokenizers that ship with PyPI packages, without a model download.

    .venv/bin/pip install --no-deps --target build/tokenizers tiktoken dashscope litellm mistral-common
    PYTHONPATH=build/tokenizers .venv/bin/python benchmarks/tokens.py

An episode is the system message, a message a day, and an answer of one order to each. The chat template's own tokens,
about four a message, are not counted. Prints characters, and tokens of an episode and of a day's message, by level,
form and tokenizer. A tokenizer whose package is missing is named.
"""

import base64
import importlib.util
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.table import Table

from tradeschool.env.config import LEVELS
from tradeschool.env.render import Form
from tradeschool.env.trading_env import TradingChatEnv, TradingEnv
from tradeschool.tasks.base import Example

SEEDS = 5
Count = Callable[[str], int]
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def main() -> None:
    """Print the tables."""
    counters = {name: found for name, load in TOKENIZERS.items() if (found := load()) is not None}
    console = Console(width=120)
    for name in TOKENIZERS.keys() - counters.keys():
        console.print(f"missing: {name} (see the head of this file)")
    for level in LEVELS:
        table = Table(
            title=f"{level}: {LEVELS[level]['tickers']} x {LEVELS[level]['days']} days; tokens an episode / a day"
        )
        for heading in ("form", "characters", *counters):
            table.add_column(heading, justify="left" if heading == "form" else "right")
        for form in get_args(Form):
            episodes = [episode(level, form, seed) for seed in range(SEEDS)]
            characters = statistics.mean(sum(map(len, texts)) for texts in episodes)
            cells = []
            for count in counters.values():
                whole = statistics.mean(sum(map(count, texts)) for texts in episodes)
                daily = statistics.mean(count(day) for texts in episodes for day in texts[1::2])
                cells.append(f"{whole:,.0f} / {daily:,.0f}")
            table.add_row(form, f"{characters:,.0f}", *cells)
        console.print(table)


def episode(level: str, form: Form, seed: int) -> list[str]:
    """The texts of an episode: system message, day, answer, day, answer, ..."""
    chat = TradingChatEnv(TradingEnv(**LEVELS[level]), form)
    texts = [message["content"] for message in chat.reset(Example("", -1, 0, payload={"seed": seed}))]
    names = chat.env.names
    for day in range(chat.env.config.days):
        answer = f"BUY {names[day % len(names)]} 0.1" if day % 5 < 4 else f"SELL {names[0]} 1"
        texts += [answer, *(message["content"] for message in chat.step(answer).messages)]
    return texts


def folder(package: str) -> Path | None:
    """Where a package lies, without importing it."""
    found = importlib.util.find_spec(package)
    places = found.submodule_search_locations if found else None
    return Path(places[0]) if places else None


def bpe(package: str, path: str, pattern: str) -> Count | None:
    """A tokenizer in tiktoken's file format."""
    home = folder(package)
    if home is None or folder("tiktoken") is None:
        return None
    lines = (home / path).read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}
    return _encoding(path, pattern, ranks)


def tekken() -> Count | None:
    """Mistral's."""
    home = folder("mistral_common")
    if home is None or folder("tiktoken") is None:
        return None
    stored = json.loads((home / "data/tekken_240911.json").read_text(encoding="utf-8"))
    config = stored["config"]
    kept = stored["vocab"][: config["default_vocab_size"] - config["default_num_special_tokens"]]
    return _encoding("tekken", config["pattern"], {base64.b64decode(one["token_bytes"]): one["rank"] for one in kept})


def _encoding(name: str, pattern: str, ranks: dict[bytes, int]) -> Count:
    import tiktoken

    built = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return lambda text: len(built.encode(text))


def deepseek() -> Count | None:
    """DeepSeek's, in the format of the tokenizers library."""
    home = folder("litellm")
    if home is None:
        return None
    from tokenizers import Tokenizer

    built: Any = Tokenizer.from_file(str(home / "litellm_core_utils/tokenizers/deepseek_tokenizer.json"))
    return lambda text: len(built.encode(text, add_special_tokens=False).ids)


_LITELLM = "litellm_core_utils/tokenizers/"
TOKENIZERS: dict[str, Callable[[], Count | None]] = {
    "Qwen": lambda: bpe("dashscope", "resources/qwen.tiktoken", WORDS + r"\p{N}" + REST),
    "DeepSeek": deepseek,
    "Mistral (tekken)": tekken,
    "cl100k": lambda: bpe(
        "litellm", _LITELLM + "9b5ad71b2ce5302211f9c61530b329a4922fc6a4", WORDS + r"\p{N}{1,3}" + REST
    ),
    "o200k": lambda: bpe("litellm", _LITELLM + "fb374d419588a4632f3f557e76b4b70aebbca790", O200K),
}
"""By name: Qwen and Mistral read numbers digit by digit, the others up to three digits at once."""


if __name__ == "__main__":
    main()
