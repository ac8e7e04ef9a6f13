"""A recipe's section of a market: which source it is, and what that may hold."""

import importlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tradeschool.checking import check
from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.recipe_document import Draft
from tradeschool.recipe_sections import DeepStockMarket, FilesMarket, SampleMarket
from tradeschool.yaml_text import Keys

SOURCES = ("practice", "folder", "parquet", "deepstock", "sample")
_CLASSES: dict[str, type[BaseModel]] = {
    "folder": FilesMarket,
    "parquet": FilesMarket,
    "deepstock": DeepStockMarket,
    "sample": SampleMarket,
}


def market_section(draft: Draft, section: Any, keys: Keys, seed: int) -> BaseModel | None:
    """The checked section at ``keys``; None where it is wrong. A practice market takes ``seed`` where it has none."""
    if not isinstance(section, dict):
        draft.add(keys, f"is {section!r}, but must be a mapping like {{source: practice}}")
        return None
    source = section.get("source")
    if source == "practice":
        practice = {"seed": seed, **{key: value for key, value in section.items() if key != "source"}}
        return check(
            importlib.import_module("tradeschool.market.practice").PracticeConfig, practice, keys, draft.problems
        )
    if source in _CLASSES:
        return check(_CLASSES[source], section, keys, draft.problems)
    text = f"is {source!r}, but must be one of {', '.join(SOURCES)}.{did_you_mean(str(source), SOURCES)}"
    draft.add((*keys, "source"), text)
    return None


def resolved_market(section: dict[str, Any], market: BaseModel) -> dict[str, Any]:
    """A checked section as plain data with every default written out."""
    return {"source": section["source"], **market.model_dump(mode="json")}


def imply_source(draft: Draft, market: Any, keys: Keys) -> None:
    """A market's ``path`` says by what it holds which source it is; the practice market's own dials then don't apply.

    Raises:
        RecipeError: there is nothing at the path, or nothing that holds prices.
    """
    if not isinstance(market, dict):
        return
    path, by_option, name = market.get("path"), (*keys, "path") in draft.given, ".".join(map(str, keys))
    if path is not None and (*keys, "source") not in draft.given and (by_option or "source" not in market):
        market["source"] = _source_of(Path(str(path)).expanduser(), name)
        cls = _CLASSES[market["source"]]
        unused = [key for key in market if key not in cls.model_fields and (*keys, key) not in draft.given]
        for key in unused if by_option else []:
            del market[key]
        if by_option:
            left = f"; not used there: {', '.join(f'{name}.{key}' for key in unused)}" if unused else ""
            draft.notes.append(f"{name}.path is given, so {name}.source is {market['source']}{left}")
    market.setdefault("source", "practice")
    if isinstance(path, str):
        market["path"] = str(Path(path).expanduser().absolute())


def _source_of(path: Path, name: str) -> str:
    if not path.exists():
        raise RecipeError(
            f"{name}.path: {path} does not exist. Give a folder of CSV files, or of parquet, or a parquet file."
        )
    if path.is_file() and importlib.import_module("tradeschool.market.notes.deepstock").holds_rows(path):
        return "deepstock"
    if path.suffix.casefold() == ".jsonl":
        raise RecipeError(
            f"{name}.path: {path} holds no prices: its rows have no company_info, as DeepStock's have. Give a file "
            f"of notes as {name}.notes, beside {name}.path."
        )
    files = [path] if path.is_file() else list(path.iterdir())
    found = {file.suffix.lower() for file in files} & {".csv", ".parquet"}
    if len(found) != 1:
        held = "both CSV and parquet files" if found else "no CSV and no parquet file"
        raise RecipeError(
            f"{name}.path: {path} holds {held}. Give {name}.source=folder or {name}.source=parquet as well."
        )
    return "parquet" if found == {".parquet"} else "folder"
