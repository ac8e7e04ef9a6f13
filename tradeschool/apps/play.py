"""A person plays an episode at the terminal: the loop from the first day to the grade."""

import contextlib
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.text import Text

import tradeschool
from tradeschool.apps.people import ResultsFile
from tradeschool.apps.play_table import day_table, explanation, grade_table, not_traded, revealed
from tradeschool.env.data import MarketData
from tradeschool.env.grading import WEIGHTS, Grade, grade, grades
from tradeschool.env.harness import play
from tradeschool.env.levels import LEVELS
from tradeschool.env.trading import TradingEnv
from tradeschool.text.orders import read_orders

PROMPT = "orders> "
HELP, LEAVE = ("?", "h", "help"), ("q", "quit", "exit")
RIVALS = ("buy and hold", "hold", "rsi", "macd", "momentum", "rules")
SEEDS = 1_000_000


@dataclass
class Game:
    """An episode under way: what was ordered by day, and what came of it."""

    env: TradingEnv
    seed: int
    orders: list[str] = field(default_factory=list)
    refused: int = 0
    over: bool = False


def play_episode(
    console: Console,
    data: MarketData,
    level: str,
    *,
    market: str,
    seed: int | None = None,
    masked: bool = True,
    name: str = "person",
    results: ResultsFile | None = None,
) -> None:
    """Play an episode of a level with whoever types, until it is over or left.

    Args:
        console: where all is shown; orders are read from the standard input, which need not be a terminal.
        data: the market.
        level: its name.
        market: what ``--market`` was given, to say how to play the same episode again.
        seed: of the episode; None draws one.
        masked: hide tickers and dates until the end.
        name: of who plays.
        results: where the result is added; None keeps none.

    Raises:
        TradeschoolError: the market is too short for the level, or the result cannot be written.
    """
    env = TradingEnv(data, mask=masked, **LEVELS[level])
    game = Game(env, secrets.randbelow(SEEDS) if seed is None else seed)
    # Ctrl-C and the end of the orders leave, as q does.
    with contextlib.suppress(KeyboardInterrupt, EOFError):
        _play(console, game, level)
    if game.over:
        _finish(console, game, name, results)
        return
    day, days = len(game.orders), env.config.days
    _say(console, f"\nYou left on day {day} of {days}: no grade.")
    _say(console, f"The same episode again: {_command(level, market, game.seed, masked)}", "dim")
    if results is not None and day:
        results.add(_row(game, name, finished=False))


def _command(level: str, market: str, seed: int, masked: bool) -> str:
    words = ["tradeschool play", f"--level {level.lower()}"]
    if market != "practice":
        words.append(f"--market {market}")
    return " ".join([*words, f"--seed {seed}", *([] if masked else ["--unmasked"])])


def _play(console: Console, game: Game, level: str) -> None:
    env = game.env
    observation, _ = env.reset(seed=game.seed)
    stocks = "one stock" if env.config.tickers == 1 else f"{env.config.tickers} stocks"
    example = "BUY 0.5" if env.config.tickers == 1 else f"BUY {env.names[0]} 0.5; SELL {env.names[1]}"
    _say(console, f"{level}: {stocks}, {env.config.days} days, seed {game.seed}.", "bold")
    _say(console, f"Orders: {example}. They fill at the next open. Enter holds, ? explains, q leaves.")
    while not game.over:
        _show(console, observation)
        order = _ask(console, env.names)
        observation, _, terminated, truncated, info = env.step(order)
        game.orders.append(order)
        game.refused += info["refused"]
        game.over = terminated or truncated
    _tell(console, observation)
    if terminated:
        _say(console, f"Bankrupt: less than {100 * env.config.ruin:.0f}% of the start is left.", "bold red")


def _show(console: Console, observation: str) -> None:
    console.print()
    _tell(console, observation)
    _say(console, observation.split("\n", 1)[0], "bold")
    console.print(day_table(observation, console.width))
    if silent := not_traded(observation):
        _say(console, f"Not traded today: {', '.join(silent)}")


def _tell(console: Console, observation: str) -> None:
    """What the broker said to the last orders: refusals and the like."""
    for line in observation.split("\n"):
        if line.startswith("! "):
            _say(console, line, "yellow")


def _ask(console: Console, names: Sequence[str]) -> str:
    """A day's orders that can be read; EOFError where whoever types leaves."""
    while True:
        line = _line(console)
        word = line.strip().casefold()
        if word in LEAVE:
            raise EOFError
        if word in HELP:
            console.print(explanation(len(names)))
            continue
        if not word:
            return "HOLD"
        _, refused = read_orders(line, names)
        if not refused:
            return line.strip()
        for reason in refused:
            _say(console, f"Not sent: {reason}{'' if reason.endswith(('.', '?')) else '.'}", "yellow")


def _line(console: Console) -> str:
    if sys.stdin.isatty():
        # Gives input() the keys that move through the line and through the orders before.
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401
        return input(PROMPT)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    # Orders from a file are shown, so that what is printed reads like a game at the terminal.
    _say(console, f"{PROMPT}{line.rstrip()}", "dim")
    return line


def _finish(console: Console, game: Game, name: str, results: ResultsFile | None) -> None:
    with console.status("Grading"):
        own = grade(game.env)
        graded = [(name, own, _gain(game)), *_rivals(game)]
    console.print()
    console.print(grade_table(graded, name))
    shares = ", ".join(f"{part} {100 * weight:.0f}%" for part, weight in WEIGHTS.items())
    _say(console, f"The grade is {shares}. Orders refused: {game.refused}.", "dim")
    _say(console, "One episode is mostly luck: play many before you believe a difference.", "dim")
    _reveal(console, game)
    if results is None:
        return
    market = next(one for rival, one, _ in graded if rival == RIVALS[0])
    scores = {"grade": _scores(own), "market_grade": _scores(market)}
    row = results.add({**_row(game, name, finished=True), **scores})
    _say(console, f"Added to {results.path}.", "dim")
    if row["played_before"]:
        _say(console, f"This episode stood there before ({row['played_before']} times), and the line says so.", "dim")


def _gain(game: Game) -> float:
    return game.env.equities[-1] / game.env.equities[0] - 1


def _rivals(game: Game) -> list[tuple[str, Grade, float]]:
    """The rules on the same episode."""
    from tradeschool.env.traders import rule

    settings = {**game.env.config.model_dump(), "observation": "numeric"}
    env = TradingEnv(game.env.data, **settings)
    records = [play(rule(name), env, 1, game.seed)[0] for name in RIVALS]
    gains = [float(record.equity_D[-1] / record.equity_D[0]) - 1 for record in records]
    return list(zip(RIVALS, grades(records), gains, strict=True))


def _reveal(console: Console, game: Game) -> None:
    episode = game.env.episode
    dates = episode.data.panel.dates_T[episode.rows].astype("datetime64[D]")
    console.print()
    _say(console, f"{episode.data.panel.name}, {dates[0]} to {dates[-1]}:", "bold")
    console.print(revealed(episode))


def _row(game: Game, name: str, *, finished: bool) -> dict[str, Any]:
    env = game.env
    return {
        "name": name,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "market": env.data.panel.name,
        "seed": game.seed,
        "masked": env.config.mask,
        "start": env.episode.start,
        "tickers": list(env.episode.tickers),
        "days": len(game.orders),
        "finished": finished,
        "orders": game.orders,
        "refused": game.refused,
        "return": round(_gain(game), 6),
        "tradeschool": tradeschool.__version__,
        **env.versions,
    }


def _scores(one: Grade) -> dict[str, float]:
    return {"total": round(one.total, 6), **{part: round(getattr(one, part), 6) for part in WEIGHTS}}


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style))
