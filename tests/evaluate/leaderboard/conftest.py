"""A small leaderboard's recipe, and who plays in it."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from boards import TEXT

from tradeschool.evaluate.leaderboard import playing
from tradeschool.evaluate.leaderboard.recipe import LeaderboardRecipe, read


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., LeaderboardRecipe]:
    path = tmp_path / "mine.yaml"
    path.write_text(dedent(TEXT), encoding="utf-8")
    return lambda *sets: read(path, sets)


@pytest.fixture
def plays(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of those who play, as they do."""
    names: list[str] = []
    real = playing.play

    def counted(agent: Any, *args: Any, **options: Any) -> Any:
        names.append(agent.name)
        return real(agent, *args, **options)

    monkeypatch.setattr(playing, "play", counted)
    return names
