"""``tradeschool data fetch``: daily bars of tickers from Yahoo Finance, as a snapshot that can be traced."""

import datetime
import functools
import importlib.metadata
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tradeschool
from tradeschool.market.panel import Panel
from tradeschool.market.yahoo import snapshot
from tradeschool.market.yahoo.client import FetchError, NoPricesError, daily_bars, patiently
from tradeschool.market.yahoo.completeness import Completeness, examine

if TYPE_CHECKING:
    from rich.console import Console

EARLIEST = datetime.date(1900, 1, 1)
SHOWN_TICKERS, SHOWN_PROBLEMS = 20, 5
_TICKER = re.compile(r"\^?[A-Z0-9&][A-Z0-9.&=-]{0,30}", re.ASCII)
_ISIN = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]", re.ASCII)
# Share classes are written with a dash by Yahoo, which keeps the dot for exchanges (.L, .T, .NS).
_SHARE_CLASS = re.compile(r"([A-Z]+)[./ _]([A-E])", re.ASCII)


@dataclass(frozen=True)
class Asked:
    """A checked request: Yahoo's symbols, the first day and the day after the last."""

    tickers: tuple[str, ...]
    first: datetime.date
    end: datetime.date


@dataclass(frozen=True)
class Fetched:
    """Where a snapshot lies, its panel, and its manifest as it stands in the file."""

    path: Path
    panel: Panel
    manifest: dict[str, Any]


def fetch(
    tickers: Sequence[str],
    first: str,
    end: str,
    out: str | Path,
    *,
    force: bool = False,
    allow_partial: bool = False,
    session: Any = None,
    console: "Console | None" = None,
    wait: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Download daily bars and write them to the folder ``out``: a parquet file per ticker and ``manifest.json``.

    Columns are Yahoo's own: Date, Open, High, Low, Close (adjusted for splits up to today), Adj Close (for
    dividends too), Volume. A later fetch may therefore give other prices for the same days.

    Args:
        tickers: Yahoo's symbols, in any case.
        first: first day, YYYY-MM-DD.
        end: the day after the last, YYYY-MM-DD; today at the latest (in UTC), as today's bar is not finished.
        out: a new or empty folder.
        force: replace a snapshot that is there, once the new one is complete.
        allow_partial: keep what came when tickers or days are missing; the manifest names what is.
        session: a curl_cffi or requests Session that does not cache, instead of yfinance's own.
        console: shows the progress.
        wait: waits the given seconds before another try.

    Raises:
        FetchError: the request makes no sense, or Yahoo did not give what was asked for.
        DataError: ``out`` cannot be written to, or holds files.
        TradeschoolError: the ``data`` extra is not installed.
    """
    asked = ask(tickers, first, end)
    path = snapshot.target(out, force)
    try:
        found, lost = _download(asked, session, console, wait)
    except KeyboardInterrupt as interrupt:
        interrupt.add_note("Nothing was written. The same command starts again.")
        raise
    _refuse_partial(asked, found, lost, allow_partial)
    manifest = _manifest(asked, found, lost)
    panel = snapshot.write(path, {ticker: whole.frame for ticker, whole in found.items()}, manifest, force)
    return Fetched(path, panel, manifest)


def ask(tickers: Sequence[str], first: str, end: str) -> Asked:
    """Check a request, without the network.

    Raises:
        FetchError: a ticker cannot be one of Yahoo's or comes twice, or the dates make no sense.
    """
    if not tickers:
        raise FetchError("There is no ticker to fetch. Name at least one, for example AAPL.")
    checked = [_ticker(ticker) for ticker in tickers]
    if twice := sorted({ticker for ticker in checked if checked.count(ticker) > 1}):
        raise FetchError(f"{', '.join(twice)} comes twice. Name every ticker once; case does not matter.")
    start, stop = _day("--from", first), _day("--to", end)
    today = datetime.datetime.now(datetime.UTC).date()
    if start < EARLIEST:
        raise FetchError(f"--from {start} lies before {EARLIEST}, the earliest day that can be asked for.")
    if stop > today:
        raise FetchError(f"--to {stop} lies in the future. Give {today} at the latest: it ends with yesterday's bar.")
    if start >= stop:
        raise FetchError(
            f"--from {start} does not come before --to {stop}. Give the first day, then the day after the last."
        )
    return Asked(tuple(checked), start, stop)


def _ticker(text: str) -> str:
    ticker = text.strip().upper()
    if match := _SHARE_CLASS.fullmatch(ticker):
        raise FetchError(f"'{text}' is not how Yahoo writes a class of shares. Did you mean '{match[1]}-{match[2]}'?")
    if "," in ticker:
        raise FetchError(f"'{text}' holds a comma. Separate tickers by spaces.")
    if not _TICKER.fullmatch(ticker) or ".." in ticker:
        plain = re.sub(r"[^A-Z0-9.&=^-]", "", ticker).strip(".-=")
        near = f" Did you mean '{plain}'?" if plain != ticker and _TICKER.fullmatch(plain) else ""
        raise FetchError(
            f"'{text}' cannot be a ticker of Yahoo's: it may hold letters, digits and . - = & and begin with ^.{near}"
        )
    if _ISIN.fullmatch(ticker):
        raise FetchError(f"'{text}' is an ISIN. Give Yahoo's ticker, such as AAPL for US0378331005.")
    return ticker


def _day(option: str, text: str) -> datetime.date:
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            raise ValueError("wrong form")
        return datetime.date.fromisoformat(text)
    except ValueError as error:
        raise FetchError(f"{option} '{text}' is no date. Write it as YYYY-MM-DD, for example 2015-01-31.") from error


def _download(
    asked: Asked, session: Any, console: "Console | None", wait: Callable[[float], None]
) -> tuple[dict[str, Completeness], dict[str, str]]:
    """What came, by ticker, and why nothing came for the others. One ticker after the other: Yahoo limits rates."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    found: dict[str, Completeness] = {}
    lost: dict[str, str] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console or Console(quiet=True), transient=True) as bar:
        task = bar.add_task("", total=len(asked.tickers))
        for ticker in asked.tickers:
            bar.update(task, description=ticker)
            try:
                try_once = functools.partial(daily_bars, ticker, asked.first, asked.end, session)
                bars = patiently(try_once, wait, bar.console.print)
                found[ticker] = examine(bars, asked.first, asked.end)
            except NoPricesError as error:
                lost[ticker] = str(error)
            bar.advance(task)
    return found, lost


def _refuse_partial(asked: Asked, found: dict[str, Completeness], lost: dict[str, str], allow_partial: bool) -> None:
    every = {ticker: [lost[ticker]] if ticker in lost else found[ticker].problems for ticker in asked.tickers}
    problems = {ticker: texts for ticker, texts in every.items() if texts}
    if not problems or (allow_partial and found):
        return
    lines = [
        f"  {ticker}: {_listed(texts, SHOWN_PROBLEMS)}" for ticker, texts in list(problems.items())[:SHOWN_TICKERS]
    ]
    if len(problems) > SHOWN_TICKERS:
        lines.append(f"  and {len(problems) - SHOWN_TICKERS} more tickers")
    if not found:
        head, cure = "Yahoo has no prices for what was asked", "Check the tickers at finance.yahoo.com, and the dates."
    else:
        head = "Yahoo's answer is not complete"
        cure = (
            "Correct the tickers or the dates, leave these tickers out, or keep what came with --allow-partial: "
            "the manifest then names what is missing."
        )
    raise FetchError("\n".join([f"{head}, so nothing was written:", *lines, cure]))


def _listed(texts: Sequence[str], shown: int) -> str:
    more = f"; and {len(texts) - shown} more" if len(texts) > shown else ""
    return "; ".join(texts[:shown]) + more


def _manifest(asked: Asked, found: dict[str, Completeness], lost: dict[str, str]) -> dict[str, Any]:
    """All but what is known only when the files are written."""
    entries = {}
    for ticker, whole in found.items():
        gaps = [asdict(gap) | {"first": str(gap.first), "last": str(gap.last)} for gap in whole.gaps]
        extent = {"calendar": whole.calendar, "gaps": gaps, "left_out": whole.left_out}
        entries[ticker] = {**whole.bars.about, **extent}
    return {
        "snapshot": snapshot.VERSION,
        "source": "Yahoo Finance",
        "from": str(asked.first),
        "to": str(asked.end),
        "fetched_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "yfinance": importlib.metadata.version("yfinance"),
        "tradeschool": tradeschool.__version__,
        "complete": not lost and not any(whole.problems for whole in found.values()),
        "missing_tickers": lost,
        "tickers": entries,
    }
