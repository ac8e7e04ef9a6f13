"""A person plays an episode at the terminal: the daily table, the orders, the grade, and the file of results."""

import contextlib
import json
import os
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

import tradeschool
from tradeschool.chat import Message
from tradeschool.env.config import LEVELS
from tradeschool.env.features import HOLDING, MARKET, UNKNOWN, Fact, M
from tradeschool.env.grading import WEIGHTS, Grade, Record, grades, play, record_conversation
from tradeschool.env.market_data import Episode, MarketData
from tradeschool.env.render import OVERBOUGHT, OVERSOLD, Observation, head_lines
from tradeschool.env.strategies import make_strategy
from tradeschool.env.trading_env import TradingChatEnv, TradingEnv
from tradeschool.errors import TradeschoolError
from tradeschool.rollout import run_episodes
from tradeschool.tasks.base import Example
from tradeschool.text.parse import read_orders

PROMPT = "orders> "
HELP, QUIT = ("?", "h", "help"), ("q", "quit", "exit")
BASELINES = ("buy and hold", "hold", "rsi", "macd", "momentum 5d", "rsi+macd")
MAX_SEED = 1_000_000
LABELS = {
    "1d%": "change of the close since the previous day",
    "5d%": "change of the close over five days",
    "RSI": "relative strength index of 14 days, 0 to 100: below 30 oversold (green), above 70 overbought (red)",
    "MACD%": "MACD histogram (12, 26, 9) in percent of the price: positive when momentum is rising",
    "SMA50%": "close relative to its mean of 50 days",
    "band%": "position within the Bollinger bands of 20 days: 0 is the lower, 100 the upper, 50 the mean",
    "vol%": "volatility: standard deviation of daily returns over 20 days",
    "volume": "today's volume over its mean of 20 days",
    "held%": "the holding's share of your equity; shown once you hold something",
    "gain%": "gain on its purchase price, costs included",
}
"""The column labels of the daily table, explained by ``?``."""
EPISODE_KEYS = ("level", "seed", "data_hash")
"""Results that agree in these are of the same episode."""


def play_episode(
    console: Console,
    data: MarketData,
    level: str,
    *,
    market: str,
    seed: int | None = None,
    masked: bool = True,
    name: str = "you",
    results: "ResultsFile | None" = None,
) -> None:
    """Play an episode of a level interactively, until it is over or the player quits.

    Args:
        console: shows everything. Orders are read from standard input, which need not be a terminal.
        data, level: the market, and the level's name.
        market: the value of ``--market``, to print the command that repeats the episode.
        seed: of the episode; drawn by default.
        masked: hide tickers and dates until the end.
        name: of the player.
        results: where the result is added; None writes none.
    """
    env = TradingEnv(data, mask=masked, **LEVELS[level])
    seed = secrets.randbelow(MAX_SEED) if seed is None else seed
    person, chat_env = Person(console, env), TradingChatEnv(env)
    stocks = "one stock" if env.config.tickers == 1 else f"{env.config.tickers} stocks"
    _say(console, f"{level}: {stocks}, {env.config.days} days, seed {seed}.", "bold")
    example = Example(str(seed), t=-1, n=0, payload={"seed": seed})
    # Ctrl-C and the end of input quit, as q does.
    try:
        run_episodes(person, [chat_env], [example])
    except (KeyboardInterrupt, EOFError):
        _say(console, f"\nYou quit on day {len(person.orders)} of {env.config.days}: no grade.")
        _say(console, f"To play the same episode again: {_command(level, market, seed, masked)}", "dim")
        if results is not None and person.orders:
            results.add(_result(record_conversation(name, seed, chat_env), env, person.orders, finished=False))
        return
    person.show_messages()
    if env.is_bankrupt:
        _say(console, f"Bankrupt: less than {100 * env.config.ruin:.0f}% of the initial equity is left.", "bold red")
    _finish(console, env, record_conversation(name, seed, chat_env), person.orders, results)


class Person:
    """The person's side of a conversation: shows the day as a table and asks for orders.

    Implements :class:`tradeschool.chat.Chat` for one episode of ``env``.

    Attributes:
        orders: as typed, one entry per day.
    """

    def __init__(self, console: Console, env: TradingEnv) -> None:
        self.orders: list[str] = []
        self._console, self._env = console, env

    def start(self, conversations: Sequence[Sequence[Message]], seeds: Sequence[int] | None = None) -> None:
        """Explain how orders are written."""
        names = self._env.names
        example = "BUY 0.5" if len(names) == 1 else f"BUY {names[0]} 0.5; SELL {names[1]}"
        _say(self._console, f"Orders: {example}. They fill at the next open. Enter holds, ? explains, q quits.")

    def answer(self, live: Sequence[bool]) -> list[str | None]:
        """Show the day and read its orders.

        Raises:
            EOFError: the player quits.
        """
        self._show_day()
        self.orders.append(self._ask())
        return [self.orders[-1]]

    def add_user_turn(self, turns: Sequence[Sequence[Message]]) -> None:
        """Nothing to do: the next day is shown from its numbers, as a table."""

    def show_messages(self) -> None:
        """Show the broker's messages about the previous orders, such as refusals."""
        for line in head_lines(self._env.observed)[1:]:
            _say(self._console, line, "yellow")

    def _show_day(self) -> None:
        console, observed = self._console, self._env.observed
        console.print()
        self.show_messages()
        _say(console, head_lines(observed, " of the start")[0], "bold")
        console.print(day_table(observed))
        if missing := not_traded(observed):
            _say(console, f"Not traded today: {', '.join(missing)}")

    def _ask(self) -> str:
        while True:
            line = _read_line(self._console).strip()
            if line.casefold() in QUIT:
                raise EOFError
            if line.casefold() in HELP:
                self._console.print(explanation(len(self._env.names)))
                continue
            refused = read_orders(line, self._env.names)[1] if line else []
            if not refused:
                return line or "HOLD"
            for reason in refused:
                reason = reason.replace("one order a line", "orders separated by semicolons")
                _say(self._console, f"Not sent: {reason}{'' if reason.endswith(('.', '?')) else '.'}", "yellow")


def _read_line(console: Console) -> str:
    if sys.stdin.isatty():
        # Gives input() line editing and history.
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401
        return input(PROMPT)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    # Orders from a file are shown, so that the output reads like a session at the terminal.
    _say(console, f"{PROMPT}{line.rstrip()}", "dim")
    return line


def _finish(
    console: Console, env: TradingEnv, own: Record, orders: Sequence[str], results: "ResultsFile | None"
) -> None:
    """Grade the episode next to the baselines, reveal its stocks and save the result."""
    with console.status("Grading"):
        numeric = TradingEnv(env.data, **{**env.config.model_dump(), "observation": "numeric"})
        records = [own, *(play(make_strategy(name), numeric, 1, own.seed)[0] for name in BASELINES)]
        graded = grades(records)
    console.print()
    console.print(grade_table(records, graded))
    shares = ", ".join(f"{'P&L' if part == 'pnl' else part} {100 * weight:.0f}%" for part, weight in WEIGHTS.items())
    _say(console, f"The grade is {shares}. Orders refused: {own.refused}.", "dim")
    _say(console, "One episode is mostly luck. Play many before you trust a difference.", "dim")
    panel = env.data.panel
    dates = panel.dates_T[env.episode.rows].astype("datetime64[D]")
    _say(console, f"\n{panel.name}, {dates[0]} to {dates[-1]}:", "bold")
    console.print(revealed(env.episode))
    if results is None:
        return
    scores = {"grade": _scores(graded[0]), "market_grade": _scores(graded[1])}
    row = results.add({**_result(own, env, orders, finished=True), **scores})
    _say(console, f"Added to {results.path}.", "dim")
    if row["played_before"]:
        _say(console, f"You have played this episode before ({row['played_before']} times); the result says so.", "dim")


def _command(level: str, market: str, seed: int, masked: bool) -> str:
    words = ["tradeschool play", f"--level {level.lower()}"]
    if market != "synthetic":
        words.append(f"--market {market}")
    return " ".join([*words, f"--seed {seed}", *([] if masked else ["--unmasked"])])


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style))


# results ------------------------------------------------------------------------------------------


def _result(record: Record, env: TradingEnv, orders: Sequence[str], *, finished: bool) -> dict[str, Any]:
    """A line of the results file; docs/agents.md explains its fields."""
    return {
        "name": record.agent,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "market": env.data.panel.name,
        "seed": record.seed,
        "masked": env.config.mask,
        "start": record.start,
        "tickers": list(record.tickers),
        "days": len(orders),
        "finished": finished,
        "orders": list(orders),
        "refused": record.refused,
        "return": round(_gain(record), 6),
        "tradeschool": tradeschool.__version__,
        **record.versions,
    }


def _gain(record: Record) -> float:
    return float(record.equity_D[-1] / record.equity_D[0]) - 1


def _scores(one: Grade) -> dict[str, float]:
    return {"total": round(one.total, 6), **{part: round(getattr(one, part), 6) for part in WEIGHTS}}


class ResultsFile:
    """Human results as JSON lines. Lines are appended and never rewritten.

    Raises:
        TradeschoolError: the file cannot be written. Raised before an episode is played, not after.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        target = self.path if self.path.exists() else next(p for p in self.path.absolute().parents if p.exists())
        if self.path.is_dir() or not os.access(target, os.W_OK) or (target != self.path and not target.is_dir()):
            raise TradeschoolError(
                f"Results cannot be written to {self.path}. Give another file with --results, or --no-results."
            )

    def add(self, row: dict[str, Any]) -> dict[str, Any]:
        """Append a row and count its ``played_before``. Returns what was written."""
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
            row = {**row, "played_before": sum(_same_episode(line, row) for line in text.splitlines())}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                # A new line if the last one is incomplete.
                file.write("\n" * (text[-1:] not in ("", "\n")) + json.dumps(row, ensure_ascii=False) + "\n")
        except OSError as error:
            raise TradeschoolError(
                f"The result could not be written to {self.path} ({error.strerror}). It is: "
                f"{json.dumps(row, ensure_ascii=False)}"
            ) from error
        return row


def _same_episode(line: str, row: dict[str, Any]) -> bool:
    try:
        other = json.loads(line)
    except ValueError:
        return False
    return isinstance(other, dict) and all(other.get(key) == row[key] for key in EPISODE_KEYS)


# tables -------------------------------------------------------------------------------------------


def day_table(observed: Observation) -> Table:
    """The stocks of a day. Columns of holdings are shown only where something is held."""
    held = any(row[M] for row in observed.stocks)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("stock", overflow="fold")
    for fact in (*MARKET[1:], *(HOLDING if held else ())):
        table.add_column(fact.label, justify="right", no_wrap=True)
    for name, row in zip(observed.names, observed.stocks, strict=True):
        # Without a bar today only the holding is known.
        values = row[1:M] if row[0] else [UNKNOWN] * (M - 1)
        cells = [_cell(*pair) for pair in zip(MARKET[1:], values, strict=True)]
        if row[M]:
            cells += [_cell(*pair) for pair in zip(HOLDING, row[M:], strict=True)]
        table.add_row(Text(name), *cells)
    return table


def not_traded(observed: Observation) -> list[str]:
    """The stocks without a bar today."""
    return [name for name, row in zip(observed.names, observed.stocks, strict=True) if not row[0]]


def explanation(tickers: int) -> Table:
    """The meaning of the labels, and how to write orders."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for label, meaning in LABELS.items():
        table.add_row(label, meaning)
    stock = "" if tickers == 1 else " S1"
    table.add_row("", "")
    table.add_row(f"BUY{stock} 0.5", "spend half of the cash, costs included; all of it without a fraction")
    table.add_row(f"SELL{stock} 0.5", "sell half of the holding; all of it without a fraction")
    table.add_row("HOLD", "do nothing; the same as Enter")
    if tickers > 1:
        table.add_row("BUY S1 0.5; SELL S2", "several orders on one line; sales are filled first")
    table.add_row("? q", "this help; quit")
    return table


def grade_table(records: Sequence[Record], graded: Sequence[Grade]) -> Table:
    """Name, grade and return of every agent, best first; the first record is the player's, and bold."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    for heading in ("grade", "risk", "P&L", "drawdown", "activity", "return"):
        table.add_column(heading, justify="right", no_wrap=True)
    for record, found in sorted(zip(records, graded, strict=True), key=lambda pair: -pair[1].total):
        parts = (found.total, found.risk, found.pnl, found.drawdown, found.activity)
        cells = [*(f"{part:.2f}" for part in parts), f"{100 * _gain(record):+.1f}%"]
        table.add_row(Text(record.agent), *cells, style="bold" if record is records[0] else "")
    return table


def revealed(episode: Episode) -> Table:
    """The stocks' real names, and their change from the first close to the last."""
    close_DN = episode.of(episode.data.close_TN)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("stock", overflow="fold")
    if episode.config.mask:
        table.add_column("ticker", overflow="fold")
    table.add_column("change", justify="right", no_wrap=True)
    for name, ticker, change in zip(episode.names, episode.tickers, close_DN[-1] / close_DN[0] - 1, strict=True):
        names = (name, ticker) if episode.config.mask else (ticker,)
        table.add_row(*map(Text, names), f"{100 * change:+.1f}%")
    return table


def _cell(fact: Fact, value: float) -> Text:
    if value == UNKNOWN:
        return Text("-", "dim")
    text = f"{value:.{fact.decimals}f}"
    if not float(text):
        text = text.lstrip("-")
    if fact.name == "rsi_14":
        return Text(text, "green" if value < OVERSOLD else "red" if value > OVERBOUGHT else "")
    if fact.name in ("change_1", "gain") and float(text):
        return Text(text, "green" if value > 0 else "red")
    return Text(text, "bold" if fact.name == "share" and value else "")
