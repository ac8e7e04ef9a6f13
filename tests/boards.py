"""Small leaderboards for the tests: played, read back, printed."""

import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console

from tradeschool.env.conversation import first_messages, turn
from tradeschool.evaluate.leaderboard.board import Played, play_all
from tradeschool.evaluate.leaderboard.recipe import LeaderboardRecipe
from tradeschool.evaluate.leaderboard.rivals import Rival
from tradeschool.evaluate.leaderboard.table import print_overview, print_played

TEXT = """\
    name: mine
    episodes: 12
    levels: [Easy]
    markets: {small: {tickers: 4, days: 400}}
    split: {warmup: 60}
    agents: [hold, momentum, random]
    """
NAMES = ("buy and hold", "hold", "momentum", "random")


def played(made: LeaderboardRecipe, folder: Path, **options: Any) -> list[Played]:
    return play_all(made, folder, Console(quiet=True), **options)


def printed(found: list[Played], width: int = 160) -> str:
    console = Console(record=True, width=width, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    for one in found:
        print_played(console, one)
    print_overview(console, found)
    return console.export_text()


def content(folder: Path, name: str = "small-Easy") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    return rows


asked: dict[str, int] = {}
"""How many episodes each talker was asked about at once."""


class Says:
    """An agent on texts that always says the same."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self.conversations: dict[int, list[dict[str, str]]] = {}

    def act(self, observations: list[str], state: Any) -> list[str]:
        asked[self.name] = max(asked.get(self.name, 0), len(observations))
        assert all("cash" in text for text in observations)
        for seed, text, alive in zip(state.seeds, observations, state.live_B, strict=True):
            begun = self.conversations.setdefault(seed, first_messages(state.config, text))
            if alive and state.day:
                begun.append({"role": "user", "content": turn(text)})
            if alive:
                begun.append({"role": "assistant", "content": self.text})
        return [self.text] * len(observations)


def talker(name: str, text: str, **options: Any) -> Rival:
    return Rival(name, {"agent": "model", "text": text}, lambda arena, tell: Says(name, text), "text", **options)
