"""``tradeschool data fetch``: daily bars from Yahoo Finance, through yfinance, as a snapshot with a manifest."""

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import logging
import os
import re
import shutil
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import tradeschool
from tradeschool.errors import DataError, TradeschoolError
from tradeschool.market.calendar import EXCHANGES, sessions
from tradeschool.market.findings import join_some
from tradeschool.market.load import load_prices
from tradeschool.market.panel import Panel
from tradeschool.market.prices.parse import parse_numbers
from tradeschool.market.prices.validate import ROW_CHECKS, TickerRows

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    TickerData = tuple[pd.DataFrame, dict[str, Any]]  # the rows that can be loaded, and the entry of the manifest

COLUMNS = ("Open", "High", "Low", "Close", "Adj Close", "Volume")
TIMEOUT_SECONDS = 30
RETRIES = 3
"""After connection errors, by yfinance, which waits 1, 2 and 4 seconds."""
RATE_LIMIT_WAITS = (15, 60)
"""Seconds to wait after Yahoo's answer 429. yfinance does not retry after it."""
EDGE_DAYS = 7
"""Days that may be missing at either end of the request where the exchange has no calendar here."""
CALENDAR_INSTRUMENTS = ("EQUITY", "ETF", "INDEX", "MUTUALFUND")
"""Instruments that trade on an exchange's days. Currencies and futures have other days."""
_ABOUT = ("fullExchangeName", "exchangeTimezoneName", "currency", "instrumentType")
"""What the manifest records of a ticker, under Yahoo's names."""
_TICKER = re.compile(r"\^?[A-Z0-9&][A-Z0-9.&=-]{0,30}", re.ASCII)
_UNKNOWN = "Yahoo does not know this ticker, or it is delisted (share classes have a dash: BRK-B)"
_NO_PRICES = "Yahoo has no prices between these dates"
_BLANK = "no prices"
_sessions = functools.lru_cache(maxsize=8)(sessions)


class FetchError(TradeschoolError):
    """Prices that could not be fetched as requested."""


class NoPricesError(FetchError):
    """Yahoo has no prices for the ticker between the dates. The text is the reason alone."""


class Request(NamedTuple):
    """A checked request: Yahoo's symbols, the first day and the day after the last."""

    tickers: tuple[str, ...]
    first: datetime.date
    end: datetime.date


class Fetched(NamedTuple):
    """A snapshot's folder, its panel, and its manifest as written."""

    path: Path
    panel: Panel
    manifest: dict[str, Any]


def fetch(
    tickers: Sequence[str],
    first: str,
    end: str,
    out: str | Path,
    *,
    allow_partial: bool = False,
    session: Any = None,
    console: "Console | None" = None,
) -> Fetched:
    """Download daily bars and write them to the folder ``out``: a parquet file per ticker and ``manifest.json``.

    Columns are Yahoo's own: Date, Open, High, Low, Close (adjusted for splits up to today), Adj Close (for dividends
    too), Volume. A later fetch may therefore give other prices for the same days.

    Args:
        tickers: Yahoo's symbols, in any case.
        first: first day, YYYY-MM-DD.
        end: the day after the last, YYYY-MM-DD; today (UTC) at the latest, because today's bar is not finished.
        out: a new or empty folder.
        allow_partial: keep what was found if tickers or days are missing; the manifest lists what is missing.
        session: instead of yfinance's own; without a cache.
        console: shows the progress.

    Raises:
        FetchError: the request is invalid, or Yahoo did not give what was requested. If the network or Yahoo's rate
            limit stopped the download, the tickers fetched until then are written; the text names the folder.
        DataError: ``out`` cannot be written, or holds files.
        TradeschoolError: the ``data`` extra is not installed.
    """
    request = parse_request(tickers, first, end)
    path = _check_target(out)
    found, missing, stopped = _download(request, session, console)
    if stopped is not None and not found:
        raise stopped
    if stopped is None:
        _refuse_partial(request, found, missing, allow_partial)
    manifest = {
        "source": "Yahoo Finance",
        "requested": list(request.tickers),
        "from": str(request.first),
        "to": str(request.end),
        "fetched_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "yfinance": importlib.metadata.version("yfinance"),
        "tradeschool": tradeschool.__version__,
        "complete": not missing and not any(entry["problems"] for _, entry in found.values()),
        "missing_tickers": missing,
        "tickers": {ticker: entry for ticker, (_, entry) in found.items()},
    }
    panel = _write(path, {entry["file"]: frame for frame, entry in found.values()}, manifest)
    if stopped is not None:
        raise FetchError(
            f"{stopped} {len(found)} of {len(request.tickers)} tickers were written to {path}. Fetch the others later "
            "into another folder, and move their files there."
        )
    return Fetched(path, panel, manifest)


def parse_request(tickers: Sequence[str], first: str, end: str) -> Request:
    """Check the tickers and dates of a request, without the network."""
    if not tickers:
        raise FetchError("No tickers given. Name at least one, for example AAPL.")
    symbols = [_parse_ticker(ticker) for ticker in tickers]
    if repeated := sorted({symbol for symbol in symbols if symbols.count(symbol) > 1}):
        raise FetchError(f"{', '.join(repeated)} is repeated. Name every ticker once; case does not matter.")
    start, stop = _parse_day("--from", first), _parse_day("--to", end)
    today = datetime.datetime.now(datetime.UTC).date()
    if stop > today:
        raise FetchError(f"--to {stop} is in the future. Give {today} at the latest: it ends with yesterday's bar.")
    if start >= stop:
        raise FetchError(f"--from {start} is not before --to {stop}. Give the first day, then the day after the last.")
    return Request(tuple(symbols), start, stop)


def _parse_ticker(text: str) -> str:
    ticker = text.strip().upper()
    if not _TICKER.fullmatch(ticker) or ".." in ticker:
        raise FetchError(
            f"'{text}' is not a valid ticker: use letters, digits and . - = & only, with ^ allowed in front, and "
            "separate tickers by spaces."
        )
    return ticker


def _parse_day(option: str, text: str) -> datetime.date:
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError as error:
        raise FetchError(f"{option} '{text}' is not a date. Write it as YYYY-MM-DD, for example 2015-01-31.") from error


def _download(
    request: Request, session: Any, console: "Console | None"
) -> "tuple[dict[str, TickerData], dict[str, str], FetchError | None]":
    """What was found by ticker, why the other tickers have nothing, and the error that stopped the download."""
    from rich.console import Console
    from rich.progress import track

    found: dict[str, TickerData] = {}
    missing = dict.fromkeys(request.tickers, "not fetched")
    # One ticker at a time: Yahoo limits rates.
    for ticker in track(request.tickers, "Fetching", console=console or Console(quiet=True), transient=True):
        try:
            found[ticker] = _ticker_data(ticker, request, session)
            del missing[ticker]
        except NoPricesError as error:
            missing[ticker] = str(error)
        except FetchError as error:
            return found, missing, error
    return found, missing, None


def _ticker_data(ticker: str, request: Request, session: Any) -> "TickerData":
    """One ticker's usable rows between the dates of the request, and what is missing."""
    import pandas as pd

    with _yfinance(ticker) as yf:
        source = yf.Ticker(ticker, session=session)
        got = _history(yf, source, ticker, request)
        about = {key: source.history_metadata.get(key) for key in _ABOUT}
        rows = got.loc[:, list(COLUMNS)].reset_index(names="Date")
        rows["Date"] = pd.to_datetime(rows["Date"]).dt.tz_localize(None).astype("datetime64[ms]")
    rows = rows[(rows["Date"] >= pd.Timestamp(request.first)) & (rows["Date"] < pd.Timestamp(request.end))]
    if rows.empty:
        raise NoPricesError(_NO_PRICES)
    reasons = _rejected_rows(ticker, rows)
    frame = rows[[day not in reasons for day in _days(rows)]].reset_index(drop=True)
    if frame.empty:
        raise NoPricesError("Yahoo has no usable prices between these dates")
    calendar, problems = _completeness(frame, about, request)
    problems += [f"{day}: {reason}" for day, reason in reasons.items() if reason != _BLANK]
    days = _days(frame)
    return frame, {
        **about,
        "file": f"{ticker}.parquet",
        "rows": len(frame),
        "first_day": days[0],
        "last_day": days[-1],
        "calendar": calendar,
        "left_out": reasons,
        "problems": problems,
    }


def _history(yf: Any, source: Any, ticker: str, request: Request) -> "pd.DataFrame":
    """Yahoo's rows, after a wait if it limits the rate of requests."""
    waits = list(RATE_LIMIT_WAITS)
    while True:
        # yfinance keeps answers, failures included, for as long as Python runs.
        yf.data.YfData.cache_get.cache_clear()
        try:
            rows: pd.DataFrame = source.history(
                start=request.first, end=request.end, auto_adjust=False, actions=False, keepna=True,
                timeout=TIMEOUT_SECONDS,
            )  # fmt: skip
            return rows
        except yf.exceptions.YFRateLimitError:
            if not waits:
                raise
            time.sleep(waits.pop(0))
        except yf.exceptions.YFPricesMissingError as error:  # for all answers without rows
            reason = error.yahoo_reason or ""
            if reason.startswith("No data found"):
                raise NoPricesError(_UNKNOWN) from error
            # An answer that describes the ticker but has no rows is not a failure.
            described = not reason and source.history_metadata.get("exchangeTimezoneName")
            if reason.startswith("Data doesn't exist") or described:
                raise NoPricesError(_NO_PRICES) from error
            raise _unreadable(ticker, reason or "neither prices nor a reason") from error


@contextlib.contextmanager
def _yfinance(ticker: str) -> Iterator[Any]:
    """The module yfinance, which retries after connection errors; its errors and those of HTTP become ours."""
    try:
        import yfinance as yf
        from yfinance import exceptions
    except ImportError as error:
        raise TradeschoolError(
            "Fetching prices needs the package yfinance, which is not installed. "
            "Install it: pip install 'tradeschool[data]'"
        ) from error
    logger, config = logging.getLogger("yfinance"), yf.config
    before = config.debug.hide_exceptions, config.network.retries, logger.level
    config.debug.hide_exceptions, config.network.retries = False, RETRIES
    logger.setLevel(logging.ERROR)  # its warnings are about cookies that it does not need
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield yf
    except exceptions.YFRateLimitError as error:
        raise FetchError(
            f"Yahoo refuses more requests (rate limit, HTTP 429), at ticker {ticker}. Wait an hour, or fetch fewer "
            "tickers at a time."
        ) from error
    except exceptions.YFTzMissingError as error:
        raise NoPricesError(_UNKNOWN) from error
    except (exceptions.YFException, LookupError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(ticker, f"{type(error).__name__}: {error}") from error
    except OSError as error:
        # HTTP libraries raise OSErrors; one with a status (curl_cffi's is 0 without) reached Yahoo.
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == 404:
            raise NoPricesError(_UNKNOWN) from error
        if status:
            raise _unreadable(ticker, f"HTTP status {status}") from error
        raise FetchError(
            f"Yahoo Finance cannot be reached ({error}). Check the network connection and the proxy (HTTPS_PROXY)."
        ) from error
    finally:
        config.debug.hide_exceptions, config.network.retries = before[:2]
        logger.setLevel(before[2])


def _unreadable(ticker: str, what: str) -> FetchError:
    return FetchError(
        f"Yahoo's answer for {ticker} cannot be read ({what}). Yahoo may be down, or have changed its format: "
        "try again later, or upgrade yfinance: pip install --upgrade yfinance"
    )


def _rejected_rows(ticker: str, rows: "pd.DataFrame") -> dict[str, str]:
    """Day to reason of the rows that have no prices or break a rule of loading."""
    columns = {name: parse_numbers(rows[name].to_numpy()) for name in COLUMNS}
    checked = TickerRows(ticker, np.arange(len(rows)), rows["Date"].to_numpy().astype("datetime64[D]"), columns)
    days = _days(rows)
    reasons = {days[i]: _BLANK for i in np.flatnonzero(checked.blank_T)}
    for rule in (rule for check in ROW_CHECKS for rule in check(checked)):
        for i in np.flatnonzero(rule.broken_T):
            reasons.setdefault(days[i], rule.rule)
    return dict(sorted(reasons.items()))


def _completeness(frame: "pd.DataFrame", about: Mapping[str, Any], request: Request) -> tuple[str | None, list[str]]:
    """The exchange whose sessions are expected, None without a calendar, and which days of the request are missing."""
    dates_T = frame["Date"].to_numpy().astype("datetime64[D]")
    first, last = np.datetime64(request.first), np.datetime64(request.end) - np.timedelta64(1, "D")
    zones = {exchange.zone: exchange.name for exchange in reversed(EXCHANGES.values())}
    calendar = zones.get(about["exchangeTimezoneName"]) if about["instrumentType"] in CALENDAR_INSTRUMENTS else None
    if calendar is None:
        short = max(dates_T[0] - first, last - dates_T[-1]) > np.timedelta64(EDGE_DAYS, "D")
        return None, [f"bars only from {dates_T[0]} to {dates_T[-1]}"] if short else []
    expected_T = _sessions(calendar, first, last)
    missing_T = expected_T[~np.isin(expected_T, dates_T)]
    if not len(missing_T):
        return calendar, []
    shown = join_some([str(day) for day in missing_T], 3)
    return calendar, [f"{len(missing_T)} of {len(expected_T)} sessions have no bar: {shown}"]


def _refuse_partial(
    request: Request, found: "dict[str, TickerData]", missing: dict[str, str], allow_partial: bool
) -> None:
    problems = {ticker: entry["problems"] for ticker, (_, entry) in found.items()}
    problems |= {ticker: [reason] for ticker, reason in missing.items()}
    lines = [f"  {ticker}: {join_some(problems[ticker], 5, '; ')}" for ticker in request.tickers if problems[ticker]]
    if not lines or (allow_partial and found):
        return
    cure = (
        "Correct the tickers or the dates, leave these tickers out, or keep what was found with --allow-partial: "
        "the manifest then lists what is missing."
    )
    shown = join_some(lines, 20, "\n")
    raise FetchError(f"Yahoo's answer is not complete, so nothing was written:\n{shown}\n{cure}")


def _check_target(out: str | Path) -> Path:
    """The absolute path of the folder to write, checked before the download."""
    path = Path(out).resolve()
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    used = not existing.is_dir() or (existing == path and any(path.iterdir()))
    if used or Path.cwd().is_relative_to(path):
        raise DataError(f"{path} cannot be written. Give a folder that is new or empty, and not the current one.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise DataError(f"{path} cannot be written. Check your rights to {existing}, or give another folder.")
    return path


def _write(path: Path, frames: "Mapping[str, pd.DataFrame]", manifest: dict[str, Any]) -> Panel:
    """Write the files and the manifest beside ``path``, load them, then move them to ``path``.

    ``manifest`` gains the ``data_hash`` of the panel. If writing stops for any reason, no partial files are left.

    Raises:
        DataError: the folder cannot be written, or it was written and its prices break a rule of loading.
    """
    panel: Panel | None = None
    problem: DataError | None = None
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        new.mkdir(parents=True)
        for name, frame in frames.items():
            frame.to_parquet(new / name, index=False, write_page_checksum=True)
        try:
            panel = load_prices(new, messages=[])
            manifest["data_hash"] = panel.data_hash()
        except DataError as error:
            # Only files that are there can be corrected, or loaded with what is found accepted.
            problem, manifest["complete"] = error, False
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        (new / "manifest.json").write_text(f"{text}\n", encoding="utf-8")
        new.rename(path)
    except OSError as error:
        cure = "Give another folder, or free some space."
        raise DataError(f"{path} cannot be written: {error.strerror or error}. {cure}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    if panel is None:
        raise DataError(f"{path} was written, but cannot be loaded as it is. {problem}".replace(str(new), str(path)))
    return dataclasses.replace(panel, name=path.name)


def _days(frame: "pd.DataFrame") -> list[str]:
    days: list[str] = frame["Date"].dt.strftime("%Y-%m-%d").tolist()
    return days
