"""The Python API: running, loading, and asking for decisions."""

import datetime
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import tradeschool as ts
from tradeschool.policies import language
from tradeschool.policies.base import Policy

Write = Callable[..., Path]
HEADER = "Date,Open,High,Low,Close,Volume\n"


class AlwaysBuys(Policy):
    """Stands for a language model: its answers can be read."""

    kind = "trained"
    seen: ClassVar[list[str]] = []

    def __init__(self, model: Any, tokenizer: Any, *, name: str, **settings: Any) -> None:
        self.name = name

    def generate(self, conversations: Sequence[Any], n: int = 1) -> list[list[str]]:
        self.seen.extend(conversation[-1]["content"] for conversation in conversations)
        return [["<think>It rises.</think>\n[[[BUY]]]"] * n for _ in conversations]


@pytest.fixture
def always_buys(monkeypatch: pytest.MonkeyPatch) -> type[AlwaysBuys]:
    monkeypatch.setattr(language, "LanguagePolicy", AlwaysBuys)
    monkeypatch.setattr(AlwaysBuys, "seen", [])
    return AlwaysBuys


@pytest.fixture
def run(fake_recipe: Write) -> ts.Run:
    return ts.run(fake_recipe(), {"market.tickers": 3, "stages.second.steps": 7}, out="mine", quiet=True)


def write_prices(folder: Path, last: str = "2021-03-31") -> Path:
    folder.mkdir()
    days = np.arange(np.datetime64("2020-12-01"), np.datetime64(last) + 1)
    days = days[np.is_busday(days)]
    for n, ticker in enumerate(("AAA", "BBB")):
        closes = 50 + np.random.default_rng(n).normal(size=len(days)).cumsum()
        rows = [f"{day},{c:.2f},{c + 1:.2f},{c - 1:.2f},{c:.2f},1000" for day, c in zip(days, closes, strict=True)]
        rows = rows[:-1] if ticker == "BBB" else rows
        (folder / f"{ticker}.csv").write_text(HEADER + "\n".join(rows), encoding="utf-8")
    return folder


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, tradeschool; print([n for n in ('numpy', 'torch', 'pandas', 'pydantic') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_exists() -> None:
    for name in ts.__all__:
        if name != "evaluate_decisions":
            assert getattr(ts, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = ts.no_such_name


def test_a_recipe_is_run_with_overrides_and_loaded_again(run: ts.Run, tmp_path: Path) -> None:
    assert run.recipe.stages[1].steps == 7
    assert run.manifest.status == "done"
    assert list(run.models) == ["first", "second"]
    assert run.comparison is None
    assert run.report is None
    again = ts.load_run(tmp_path / "mine")
    assert again.folder == run.folder
    assert again.recipe.resolved == run.recipe.resolved
    assert ts.resume("mine", quiet=True).folder == run.folder
    with pytest.raises(ts.TradeschoolError, match="No run"):
        ts.load_run("nothing")


def test_a_recipe_may_be_a_mapping(fake_recipe: Write) -> None:
    from tradeschool.config.document import read_mapping

    document, _ = read_mapping(fake_recipe())
    run = ts.run(document, {"seed": 8}, quiet=True)
    assert run.recipe.seed == 8
    assert document["seed"] == 5


def test_a_model_decides_for_the_newest_date(run: ts.Run, always_buys: type[AlwaysBuys]) -> None:
    ticker = run.panel.tickers[1]
    decision = run.decide(ticker, model="base")
    newest = run.panel.dates_T[-1].astype("datetime64[D]").astype(datetime.date)
    assert (decision.ticker, decision.date, decision.model) == (ticker, newest, "base model (tiny)")
    assert (decision.action, decision.reasoning, decision.error) == ("BUY", "It rises.", None)
    assert [one.ticker for one in run.decide_all(model="base")] == list(run.panel.tickers)


def test_a_date_without_trading_falls_back_to_the_last_trading_date(run: ts.Run, always_buys: type[AlwaysBuys]) -> None:
    ticker = run.panel.tickers[0]
    friday = np.datetime64("2010-06-04")
    assert friday in run.panel.dates_T.astype("datetime64[D]")
    for day in ("2010-06-04", "2010-06-06", datetime.date(2010, 6, 5)):
        assert run.decide(ticker, day, model="base").date == datetime.date(2010, 6, 4)
    with pytest.raises(ts.TradeschoolError, match="it begins on"):
        run.decide(ticker, "1999-01-01", model="base")
    with pytest.raises(ts.TradeschoolError, match="is not a date"):
        run.decide(ticker, "yesterday", model="base")


def test_a_wrong_ticker_or_model_is_refused(run: ts.Run, always_buys: type[AlwaysBuys]) -> None:
    ticker = run.panel.tickers[0]
    with pytest.raises(ts.TradeschoolError, match=f"Did you mean '{ticker}'"):
        run.decide(ticker + "X", model="base")
    with pytest.raises(ts.TradeschoolError, match="Did you mean 'first'"):
        run.decide(ticker, model="frst")


def test_decisions_on_other_prices_see_nothing_later(
    run: ts.Run, always_buys: type[AlwaysBuys], tmp_path: Path
) -> None:
    """The same prompt for a date, whatever comes after it."""
    short = write_prices(tmp_path / "short", "2021-02-26")
    long = write_prices(tmp_path / "long", "2021-03-31")
    decisions = [run.decide("AAA", day, model="base", prices=path) for path, day in
                 ((short, None), (long, "2021-02-26"), (long, None))]  # fmt: skip
    assert [str(one.date) for one in decisions] == ["2021-02-26", "2021-02-26", "2021-03-31"]
    assert always_buys.seen[0] == always_buys.seen[1] != always_buys.seen[2]


def test_a_ticker_without_a_bar_on_the_date_is_left_out_or_refused(
    run: ts.Run, always_buys: type[AlwaysBuys], tmp_path: Path
) -> None:
    prices = write_prices(tmp_path / "prices")
    assert [one.ticker for one in run.decide_all(model="base", prices=prices)] == ["AAA"]
    with pytest.raises(ts.TradeschoolError, match="BBB has no bar on 2021-03-31"):
        run.decide("BBB", model="base", prices=prices)


def test_a_real_untrained_model_answers(run: ts.Run) -> None:
    decision = run.decide(run.panel.tickers[0], model="base")
    assert decision.answer
    assert (decision.action is None) == (decision.error is not None)


def test_a_run_of_episodes_has_no_single_decisions(fake_recipe: Write) -> None:
    run = ts.run(fake_recipe(("name: rating\n  facts: [market, rsi]", "name: trade")), out="episodes", quiet=True)
    with pytest.raises(ts.TradeschoolError, match="episodes"):
        run.decide(run.panel.tickers[0], model="base")


def test_the_models_are_evaluated_again_beside_the_run(run: ts.Run) -> None:
    comparison = run.evaluate(models=[], base=False, tickers=1, split="validation")
    assert comparison.has("hold")
    assert (run.folder / "evaluations" / "1" / "report.html").exists()
    assert run.report is None
    with pytest.raises(ts.TradeschoolError, match="Did you mean 'tickers'"):
        run.evaluate(tickrs=1)


def test_an_environment_by_level_and_market() -> None:
    env = ts.make_env("easy")
    observation, _ = env.reset(seed=1)
    assert isinstance(observation, str)
    assert 300 <= ts.make_env("easy", rows=(300, 321)).reset(seed=2)[1]["start"] <= 301
    with pytest.raises(ts.TradeschoolError, match="Did you mean 'Easy'"):
        ts.make_env("Eesy")
