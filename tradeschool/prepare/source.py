"""The recipe of what a command prepares or describes: a file, or one made for prices or for a word."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tradeschool.config import recipe as recipes
from tradeschool.config.recipe import Recipe
from tradeschool.errors import RecipeError, did_you_mean

WORDS = ("sample", "synthetic")
MARKET_FILES = (".csv", ".parquet", ".jsonl")
"""Endings of files of prices; DeepStock's may end in .jsonl."""
DEMO: dict[str, Any] = {
    "market": {"edge": 0.4, "tickers": 40, "days": 1500},
    "split": {"train": 0.7, "validation": 0.08, "test": 0.22, "warmup": 60},
    "task": {
        "facts": ["market", "strength", "rsi", "news"],
        "horizons": [1, 3, 5],
        "hindsight_share": 0.25,
    },
}
"""What recipes/demo.yaml says of market, split and task: the defaults for the synthetic market."""
STOCKS: dict[str, Any] = {
    "market": {},
    "split": {"train": 0.62, "validation": 0.1, "test": 0.28, "warmup": 260},
    "task": {
        "facts": ["strength", "trend", "rsi", "macd", "bollinger", "volume"],
        "horizons": [5],
        "risk_aversion": 0.02,
        "eval_score": ["profit"],
    },
}
"""As recipes/stocks.yaml: the defaults for real prices."""


def recipe_from_source(source: str, sets: Sequence[str] = (), split: dict[str, float] | None = None) -> Recipe:
    """Read a recipe file, or make a rating recipe for prices or one of the words ``sample`` and ``synthetic``.

    A recipe made here has the market, split and task of recipes/stocks.yaml, or of recipes/demo.yaml for the synthetic
    market, so that what is prepared or described is what these train on.

    Args:
        source: a .yaml file, a file or folder of prices, or a word.
        sets: ``--set`` overrides.
        split: the split of a recipe made here, unless ``sets`` changes it.

    Raises:
        RecipeError: the recipe is wrong, or the prices do not exist.
    """
    if Path(source).suffix.casefold() in (".yaml", ".yml"):
        return recipes.read(Path(source), sets)
    if source not in WORDS and not Path(source).expanduser().exists():
        near = did_you_mean(source, [*WORDS, *(entry.name for entry in Path().iterdir())])
        raise RecipeError(
            f"{source} does not exist.{near} Give a recipe (.yaml), a file or folder of prices, or one of: "
            f"{', '.join(WORDS)}."
        )
    path = Path(source).expanduser()
    if source not in WORDS and path.is_file() and path.suffix.casefold() not in MARKET_FILES:
        raise RecipeError(f"{source} is not a recipe, .csv or .parquet file.")
    defaults = copy.deepcopy(DEMO if source == "synthetic" else STOCKS)
    document: dict[str, Any] = {
        "name": "overview",
        "market": {**({"source": source} if source in WORDS else {"path": source}), **defaults["market"]},
        "split": split or defaults["split"],
        "task": {"name": "rating", **defaults["task"]},
        "model": {"base": "tiny"},
        "stages": [{"stage": "evaluate"}],
    }
    return recipes.from_mapping(document, sets, source)
