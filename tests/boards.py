"""Small leaderboards for the tests: played, read back, printed."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tradeschool.evaluate.leaderboard.agents import AgentSpec
from tradeschool.evaluate.leaderboard.console import print_level, print_overview
from tradeschool.evaluate.leaderboard.recipe import LeaderboardRecipe
from tradeschool.evaluate.leaderboard.run import LevelResults, run_leaderboard
from tradeschool.policies.base import Policy

TEXT = """\
    name: mine
    episodes: 12
    levels: [Easy]
    markets: {small: {tickers: 4, days: 400}}
    split: {warmup: 60}
    agents: [hold, momentum 5d, random]
    """
NAMES = ("buy and hold", "hold", "momentum 5d", "random")


def played(recipe: LeaderboardRecipe, folder: Path, **options: Any) -> list[LevelResults]:
    return run_leaderboard(recipe, folder, Console(quiet=True), **options)


def printed(found: list[LevelResults], width: int = 160) -> str:
    console = Console(record=True, width=width, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    for one in found:
        print_level(console, one)
    print_overview(console, found)
    return console.export_text()


def stored(folder: Path, name: str = "small-Easy") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["results"]
    return found


def agents(level: LevelResults) -> list[str]:
    """Those that have a result, highest mean grade first."""
    return [*level.board.results] if level.board else []


batches: dict[str, int] = {}
"""The largest number of conversations that each scripted agent was given at once."""


class Scripted(Policy):
    """A policy that always gives the same answer."""

    kind = "trained"

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text

    def generate(self, conversations: Sequence[Sequence[dict[str, str]]], n: int = 1) -> list[list[str]]:
        batches[self.name] = max(batches.get(self.name, 0), len(conversations))
        assert all("cash" in messages[-1]["content"] for messages in conversations)
        return [[self.text] * n for _ in conversations]


def scripted(name: str, text: str, **options: Any) -> AgentSpec:
    settings = {"agent": "model", "text": text}
    return AgentSpec(name, settings, lambda envs, on_progress: Scripted(name, text), "text", **options)
