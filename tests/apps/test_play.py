"""A person's episode: the table, the orders, the grade and the saved result."""

import io
import json
import os
import re
import select
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from env_markets import by_hand
from rich.console import Console
from typer.testing import CliRunner

from tradeschool.apps import play
from tradeschool.apps.play import ResultsFile, play_episode
from tradeschool.cli.main import app
from tradeschool.env.config import KEYS
from tradeschool.env.grading import grade
from tradeschool.env.market_data import MarketData
from tradeschool.env.render import HEADING
from tradeschool.env.trading_env import TradingEnv
from tradeschool.errors import TradeschoolError
from tradeschool.market.load import load_prices
from tradeschool.market.synthetic import SyntheticConfig, simulate

FIRST = "1987-01-05"
"""No date of this year appears by chance."""


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of 25 stocks over 130 days."""
    panel = simulate(SyntheticConfig(tickers=25, days=200, start=FIRST))
    lines = ["Date,Ticker,Open,High,Low,Close,Volume"]
    for t in range(130):
        for n, ticker in enumerate(panel.tickers):
            fields = (panel.open_TN, panel.high_TN, panel.low_TN, panel.close_TN, panel.volume_TN)
            lines.append(",".join([str(panel.dates_T[t]), ticker, *(repr(float(one[t, n])) for one in fields)]))
    path = tmp_path_factory.mktemp("prices") / "market.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def call(*arguments: str, orders: list[str] | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["play", *arguments], input="".join(f"{one}\n" for one in orders or []))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", result.output)


def rows(path: Path = Path("leaderboards/human-results.jsonl")) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_episode_from_the_first_order_to_the_saved_result(prices: Path) -> None:
    orders = ["BUY 0.5", "", "buy", *[""] * 10, "SELL 50%", *["hold"] * 6]
    code, output = call("--market", str(prices), "--seed", "4", "--name", "Ada", orders=orders)
    assert code == 0
    assert "day 0 of 20" in output
    assert "day 19 of 20" in output
    (row,) = rows()
    env = TradingEnv(load_prices(prices))
    env.reset(seed=4)
    for order in orders:
        _, _, _, truncated, _ = env.step(order or "HOLD")
    assert truncated
    found = grade(env)
    assert row["grade"] == {
        "total": pytest.approx(found.total, abs=1e-6),
        **{part: pytest.approx(getattr(found, part), abs=1e-6) for part in ("risk", "pnl", "drawdown", "activity")},
    }
    assert row["market_grade"]["total"] == pytest.approx(0.575, abs=1e-6)
    assert row["return"] == pytest.approx(env.equities[-1] / env.equities[0] - 1, abs=1e-6)
    assert (row["name"], row["level"], row["seed"], row["finished"], row["days"]) == ("Ada", "Easy", 4, True, 20)
    assert row["orders"] == [order or "HOLD" for order in orders]
    assert row["tickers"] == list(env.episode.tickers)
    assert (row["data_hash"], row["env_version"]) == (env.data.data_hash, env.versions["env_version"])
    assert {key: row[key] for key in KEYS} == env.versions
    table = output[output.index("grade risk") :]
    for name in ("Ada", "buy and hold", "hold", "rsi", "macd", "momentum 5d", "rsi+macd"):
        assert re.search(rf"^{re.escape(name)} +[01]\.\d\d", table, re.MULTILINE), name
    assert f"{found.total:.2f} {found.risk:.2f}" in re.sub(" +", " ", table)


def test_invalid_orders_are_asked_again_and_cost_nothing(prices: Path) -> None:
    typed = ["BUX 1", "BUY 7", "BUY S9 1", "BUY 1; SELL 1", "BUY 1", "q"]
    _, output = call("--market", str(prices), "--seed", "4", orders=typed)
    assert output.count("Not sent:") == 5
    assert "'BUX 1' is no order" in output
    assert "[fraction], orders separated by semicolons." in " ".join(output.split())
    assert "2 orders in S1" in output
    assert output.index("Not sent: there is no stock 'S9'.") < output.index("day 1 of 20")
    (row,) = rows()
    assert (row["orders"], row["refused"]) == (["BUY 1"], 0)


def test_refused_orders_are_shown_and_counted(prices: Path) -> None:
    _, output = call("--market", str(prices), "--seed", "4", orders=["SELL", "q"])
    assert (
        output.index("orders> SELL")
        < output.index("! SELL S1 refused, there was no position")
        < output.index("day 1 of")
    )
    assert rows()[0]["refused"] == 1


def test_a_refusal_on_the_last_day_is_shown(prices: Path) -> None:
    _, output = call("--market", str(prices), "--seed", "4", orders=["SELL", *[""] * 18, "SELL"])
    assert "! SELL S1 refused" in output
    assert "Orders refused: 2." in output


@pytest.mark.parametrize("end", [["q"], ["QUIT"], []], ids=["q", "quit", "end of file"])
def test_quitting_saves_a_result_without_a_grade(prices: Path, end: list[str]) -> None:
    code, output = call("--market", str(prices), "--seed", "4", "--unmasked", orders=["", "", *end])
    assert code == 0
    assert "You quit on day 2 of 20: no grade." in output
    command = f"tradeschool play --level easy --market {prices} --seed 4 --unmasked"
    # A long path may be broken over lines.
    assert "".join(command.split()) in "".join(output.split())
    (row,) = rows()
    assert (row["finished"], row["days"], "grade" in row) == (False, 2, False)


def test_quitting_before_the_first_order_saves_nothing(prices: Path) -> None:
    code, output = call("--market", str(prices), orders=["q"])
    assert code == 0
    assert "You quit on day 0" in output
    assert not Path("leaderboards").exists()


def test_ctrl_c_quits(prices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def isatty(self) -> bool:
            return False

        def readline(self) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Interrupted())
    out = io.StringIO()
    play_episode(Console(file=out), MarketData(load_prices(prices)), "Easy", market="synthetic", seed=1)
    assert "You quit on day 0 of 20" in out.getvalue()
    assert "tradeschool play --level easy --seed 1" in out.getvalue()


def test_tickers_and_dates_are_hidden_until_the_end(prices: Path) -> None:
    _, output = call("--market", str(prices), "--seed", "4", "--level", "MEDIUM", orders=[""] * 30)
    during, end = output[: output.index("grade risk")], output[output.index("grade risk") :]
    assert "PRAC" not in during
    assert "1987" not in during
    (row,) = rows()
    assert len(row["tickers"]) == 10
    close = dict(zip(*_closes(prices), strict=True))
    for name, ticker in enumerate(row["tickers"], 1):
        change = close[ticker][row["start"] + 30] / close[ticker][row["start"]] - 1
        assert re.search(rf"S{name} +{ticker} +{re.escape(f'{100 * change:+.1f}%')}", end), ticker
    assert "1987-" in end


def _closes(prices: Path) -> tuple[tuple[str, ...], Any]:
    panel = load_prices(prices)
    return panel.tickers, panel.close_TN.T


def test_unmasked_shows_them_from_the_start(prices: Path) -> None:
    _, output = call("--market", str(prices), "--seed", "4", "--unmasked", orders=["q"])
    assert re.search(r"1987-\d\d-\d\d, day 0 of 20", output)
    assert re.search(r"^PRAC\d\d ", output, re.MULTILINE)


def test_the_same_seed_is_the_same_episode_and_the_file_counts_it(prices: Path) -> None:
    first = call("--market", str(prices), "--seed", "4", orders=["", "q"])[1]
    again = call("--market", str(prices), "--seed", "4", orders=["", "q"])[1]
    call("--market", str(prices), "--seed", "5", orders=["", "q"])
    assert first == again
    assert [row["played_before"] for row in rows()] == [0, 1, 0]


def test_without_a_seed_episodes_differ(prices: Path) -> None:
    for _ in range(3):
        call("--market", str(prices), orders=["", "q"])
    assert len({row["seed"] for row in rows()}) == 3


def test_a_question_mark_explains_every_column(prices: Path) -> None:
    output = call("--market", str(prices), orders=["?", "q"])[1]
    assert set(play.LABELS) == set(HEADING.split()) - {"stock"}
    for label, meaning in play.LABELS.items():
        assert f"{label} " in output
        assert meaning[:40] in output
    assert "q  " in output


def shown(env: TradingEnv, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(play.day_table(env.observed))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 200])
def test_25_stocks_fit_the_terminal(prices: Path, width: int) -> None:
    env = TradingEnv(load_prices(prices), tickers=25, days=40)
    env.reset(seed=0)
    observation = env.step("; ".join(f"BUY S{n} 0.04" for n in range(1, 26, 2)))[0]
    lines = shown(env, width)
    assert max(map(len, lines)) <= width
    body = lines[-25:]
    assert [line.split()[0] for line in body] == [f"S{n}" for n in range(1, 26)]
    expected = observation.split("\n")[-25:]
    for line, words in zip(body, expected, strict=True):
        assert line.split() == re.sub(r"\(\w+\)", "", words).split()
    assert lines[0].split() == HEADING.split()


def test_long_tickers_are_wrapped_and_numbers_are_not(prices: Path) -> None:
    panel = replace(load_prices(prices), tickers=tuple(f"RELIANCE.NSE{n:02d}" for n in range(25)))
    env = TradingEnv(panel, tickers=25, days=40, mask=False)
    env.reset(seed=0)
    observation = env.step("BUY RELIANCE.NSE00 1")[0]
    lines = shown(env, 80)
    assert max(map(len, lines)) <= 80
    whole = " ".join(word for line in lines for word in line.split()[1:])
    for words in observation.split("\n")[-25:]:
        assert re.sub(r"\(\w+\)", "", words).split(" ", 1)[1] in whole
    assert "RELIANCE.NSE00" in "".join(line.split()[0] for line in lines if line)


def test_holdings_have_columns_once_there_are_some(prices: Path) -> None:
    env = TradingEnv(load_prices(prices))
    env.reset(seed=0)
    assert "held%" not in shown(env, 100)[0]
    env.step("BUY 1")
    assert "held%" in shown(env, 100)[0]


def test_a_stock_without_a_bar_is_listed() -> None:
    closes = np.array([[10.0, 20.0]] * 70)
    closes[51, 1] = np.nan
    env = TradingEnv(by_hand(np.full((70, 2), 10.0), closes), tickers=2, days=5)
    env.reset(seed=0, options={"start": 49})
    env.step("BUY S1 0.5; BUY S2 0.5")
    env.step("HOLD")
    (silent,) = play.not_traded(env.observed)
    (line,) = [line for line in shown(env, 80) if line.startswith(f"{silent} ")]
    assert line.split()[1:9] == ["-"] * 8
    assert float(line.split()[9]) > 0
    assert silent in env.names


def test_bankruptcy_ends_the_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    # The stock loses 95 % the day after the one row that episodes start at.
    falling = by_hand([10.0] * 51 + [0.5] * 19, [10.0] * 50 + [0.5] * 20)
    monkeypatch.setattr(sys, "stdin", io.StringIO("BUY 1\n" * 30))
    out = io.StringIO()
    play_episode(Console(file=out), MarketData(falling), "Easy", market="m", results=ResultsFile(Path("p.jsonl")))
    assert "Bankrupt: less than 10%" in out.getvalue()
    (row,) = rows(Path("p.jsonl"))
    assert (row["finished"], row["days"]) == (True, 1)
    assert row["return"] < -0.9


def test_results_may_be_saved_elsewhere_or_not_at_all(prices: Path) -> None:
    call("--market", str(prices), "--results", "mine/r.jsonl", orders=["", "q"])
    call("--market", str(prices), "--no-results", orders=["", "q"])
    assert len(rows(Path("mine/r.jsonl"))) == 1
    assert not Path("leaderboards").exists()


def test_an_incomplete_line_does_not_break_the_next() -> None:
    path = Path("r.jsonl")
    path.write_text('{"level": "Easy"')
    ResultsFile(path).add({"level": "Easy", "seed": 1, "data_hash": "x"})
    assert path.read_text().splitlines()[0] == '{"level": "Easy"'
    assert json.loads(path.read_text().splitlines()[1])["played_before"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--level", "medum"), "Did you mean 'Medium'?"),
        (("--market", "sampel"), "Did you mean 'sample'?"),
        (("--results", "."), "--no-results"),
        (("--results", "file/r.jsonl"), "--no-results"),
    ],
)
def test_a_wrong_option_is_refused_before_the_episode(arguments: tuple[str, ...], words: str) -> None:
    Path("file").write_text("")
    code, output = call(*arguments, orders=[""])
    assert code == 2
    assert words in output
    assert "day 0" not in output


def test_too_few_stocks_for_a_level() -> None:
    data = MarketData(by_hand([10.0] * 80, [10.0] * 80))
    with pytest.raises(TradeschoolError, match=r"has 25 stocks.*Use fewer stocks"):
        play_episode(Console(), data, "Hard", market="x")


def test_a_result_that_cannot_be_written_is_shown() -> None:
    file = ResultsFile(Path("r.jsonl"))
    Path("r.jsonl").mkdir()
    with pytest.raises(TradeschoolError, match='It is: {"level": "Easy"'):
        file.add({"level": "Easy", "seed": 1, "data_hash": "x"})


@pytest.mark.slow
def test_at_a_terminal(prices: Path) -> None:
    """Through a pseudo-terminal: a prompt to type at, orders, Ctrl-C."""
    import pty

    process, terminal = pty.fork()
    if process == 0:
        command = [sys.executable, "-c", "from tradeschool.cli import main; main()", "play", "--market", str(prices)]
        os.environ["TERM"] = "dumb"
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored in what a shell runs in the background
        os.execv(sys.executable, [*command, "--seed", "4"])
    seen, deadline = "", time.monotonic() + 180

    def until(words: str, again: bytes = b"") -> None:
        """Read on; ``again`` is typed where nothing comes: a Ctrl-C while Python's readline is setting up is lost."""
        nonlocal seen
        while words not in seen:
            assert time.monotonic() < deadline, f"no {words!r} in {seen!r}"
            if select.select([terminal], [], [], 5.0)[0]:
                seen += os.read(terminal, 4096).decode()
            else:
                os.write(terminal, again)

    until("orders> ")
    os.write(terminal, b"BUY 0.5\n")
    until("day 1 of 20")
    seen = seen[seen.index("day 1 of 20") :]
    until("orders> ")
    os.write(terminal, b"\x03")
    until("You quit on day 1 of 20", again=b"\x03")
    assert os.waitpid(process, 0)[1] == 0
