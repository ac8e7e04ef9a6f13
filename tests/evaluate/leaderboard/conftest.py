"""A small leaderboard's recipe, and which agents play in it."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from boards import TEXT

from tradeschool.evaluate.leaderboard import run
from tradeschool.evaluate.leaderboard.recipe import LeaderboardRecipe, read


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., LeaderboardRecipe]:
    path = tmp_path / "mine.yaml"
    path.write_text(dedent(TEXT), encoding="utf-8")
    return lambda *sets: read(path, sets)


@pytest.fixture
def plays(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of agents in the order in which they play."""
    names: list[str] = []

    def count(play: Any) -> Any:
        def counted(agent: Any, *args: Any, **options: Any) -> Any:
            names.append(agent.name)
            return play(agent, *args, **options)

        return counted

    for function in ("play", "play_conversations"):
        monkeypatch.setattr(run, function, count(getattr(run, function)))
    return names
