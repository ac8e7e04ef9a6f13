"""``tradeschool data fetch``: daily bars from Yahoo Finance, through yfinance, as a snapshot with a manifest."""

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import tradeschool
from tradeschool.errors import DataError, TradeschoolError
from tradeschool.manifest import new_folder
from tradeschool.market.calendar import EXCHANGES, sessions
from tradeschool.market.findings import join_some
from tradeschool.market.load import load_prices
from tradeschool.market.panel import Panel
from tradeschool.market.prices.validate import blank_rows, broken_rules

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

COLUMNS = ("Open", "High", "Low", "Close", "Adj Close", "Volume")
TIMEOUT_SECONDS = 30
RETRIES = 3
"""After connection errors, by yfinance, which waits 1, 2 and 4 seconds."""
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
    """
    request, path = parse_request(tickers, first, end), Path(out).resolve()
    with new_folder(path) as new:
        frames, entries, missing, stopped = _download(request, session, console)
        if stopped is not None and not frames:
            raise stopped
        if stopped is None:
            _refuse_partial(request, entries, missing, allow_partial)
        manifest = {
            "source": "Yahoo Finance",
            "requested": list(request.tickers),
            "from": str(request.first),
            "to": str(request.end),
            "fetched_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "yfinance": importlib.metadata.version("yfinance"),
            "tradeschool": tradeschool.__version__,
            "complete": not missing and not any(entry["problems"] for entry in entries.values()),
            "missing_tickers": missing,
            "tickers": entries,
        }
        loaded = _write(new, frames, manifest)
    if isinstance(loaded, DataError):
        text = f"{path} was written, but cannot be loaded as it is. {loaded}"
        raise DataError(text.replace(str(new), str(path)))
    if stopped is not None:
        raise FetchError(
            f"{stopped} {len(frames)} of {len(request.tickers)} tickers were written to {path}. Fetch the others later "
            "into another folder, and move their files there."
        )
    return Fetched(path, dataclasses.replace(loaded, name=path.name), manifest)


def parse_request(tickers: Sequence[str], first: str, end: str) -> Request:
    """Check the tickers and dates of a request, without the network."""
    if not tickers:
        raise FetchError("No tickers given. Name at least one, for example AAPL.")
    symbols = [text.strip().upper() for text in tickers]
    for text, symbol in zip(tickers, symbols, strict=True):
        if not _TICKER.fullmatch(symbol) or ".." in symbol:
            raise FetchError(
                f"'{text}' is not a valid ticker: use letters, digits and . - = & only, with ^ allowed in front, and "
                "separate tickers by spaces."
            )
    if repeated := sorted({symbol for symbol in symbols if symbols.count(symbol) > 1}):
        raise FetchError(f"{', '.join(repeated)} is repeated. Name every ticker once; case does not matter.")
    start, stop = _parse_day("--from", first), _parse_day("--to", end)
    today = datetime.datetime.now(datetime.UTC).date()
    if stop > today:
        raise FetchError(f"--to {stop} is in the future. Give {today} at the latest: it ends with yesterday's bar.")
    if start >= stop:
        raise FetchError(f"--from {start} is not before --to {stop}. Give the first day, then the day after the last.")
    return Request(tuple(symbols), start, stop)


def _parse_day(option: str, text: str) -> datetime.date:
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError as error:
        raise FetchError(f"{option} '{text}' is not a date. Write it as YYYY-MM-DD, for example 2015-01-31.") from error


def _download(
    request: Request, session: Any, console: "Console | None"
) -> "tuple[dict[str, pd.DataFrame], dict[str, Any], dict[str, str], FetchError | None]":
    """Rows and manifest entries by ticker, why other tickers have none, and the error that stopped the download."""
    from rich.console import Console
    from rich.progress import track

    frames: dict[str, pd.DataFrame] = {}
    entries: dict[str, Any] = {}
    missing = dict.fromkeys(request.tickers, "not fetched")
    # One ticker at a time: Yahoo limits rates.
    for ticker in track(request.tickers, "Fetching", console=console or Console(quiet=True), transient=True):
        try:
            frames[ticker], entries[ticker] = _ticker_data(ticker, request, session)
            del missing[ticker]
        except NoPricesError as error:
            missing[ticker] = str(error)
        except FetchError as error:
            return frames, entries, missing, error
    return frames, entries, missing, None


def _ticker_data(ticker: str, request: Request, session: Any) -> "tuple[pd.DataFrame, dict[str, Any]]":
    """One ticker's usable rows between the dates of the request, and its entry in the manifest."""
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
    days = rows["Date"].dt.strftime("%Y-%m-%d")
    columns = {name: rows[name].to_numpy(dtype=np.float64) for name in COLUMNS}
    reasons = dict.fromkeys(days[blank_rows(columns)], _BLANK)
    for rule in broken_rules(columns):
        reasons = dict.fromkeys(days[rule.broken_T], rule.rule) | reasons
    kept = ~days.isin(list(reasons))
    if not kept.any():
        raise NoPricesError("Yahoo has no usable prices between these dates")
    frame = rows[kept].reset_index(drop=True)
    calendar, problems = _completeness(frame, about, request)
    problems += [f"{day}: {reason}" for day, reason in sorted(reasons.items()) if reason != _BLANK]
    return frame, {
        **about,
        "file": f"{ticker}.parquet",
        "rows": len(frame),
        "first_day": days[kept].iloc[0],
        "last_day": days[kept].iloc[-1],
        "calendar": calendar,
        "left_out": dict(sorted(reasons.items())),
        "problems": problems,
    }


def _history(yf: Any, source: Any, ticker: str, request: Request) -> "pd.DataFrame":
    """Yahoo's rows."""
    # yfinance keeps answers, failures included, for as long as Python runs.
    yf.data.YfData.cache_get.cache_clear()
    try:
        rows: pd.DataFrame = source.history(
            start=request.first, end=request.end, auto_adjust=False, actions=False, keepna=True,
            timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
    except yf.exceptions.YFPricesMissingError as error:  # for all answers without rows
        reason = error.yahoo_reason or ""
        if reason.startswith("No data found"):
            raise NoPricesError(_UNKNOWN) from error
        # An answer that describes the ticker but has no rows is not a failure.
        described = not reason and source.history_metadata.get("exchangeTimezoneName")
        if reason.startswith("Data doesn't exist") or described:
            raise NoPricesError(_NO_PRICES) from error
        raise _unreadable(ticker, reason or "neither prices nor a reason") from error
    return rows


@contextlib.contextmanager
def _yfinance(ticker: str) -> Iterator[Any]:
    """The module yfinance, which retries after connection errors; its errors and those of HTTP become ours."""
    import yfinance as yf
    from yfinance import exceptions

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
    request: Request, entries: Mapping[str, Any], missing: Mapping[str, str], allow_partial: bool
) -> None:
    problems = {ticker: entry["problems"] for ticker, entry in entries.items()}
    problems |= {ticker: [reason] for ticker, reason in missing.items()}
    lines = [f"  {ticker}: {join_some(problems[ticker], 5, '; ')}" for ticker in request.tickers if problems[ticker]]
    if lines and not (allow_partial and entries):
        shown = join_some(lines, 20, "\n")
        raise FetchError(
            f"Yahoo's answer is not complete, so nothing was written:\n{shown}\n"
            "Correct the tickers or the dates, leave these tickers out, or keep what was found with --allow-partial: "
            "the manifest then lists what is missing."
        )


def _write(folder: Path, frames: "Mapping[str, pd.DataFrame]", manifest: dict[str, Any]) -> Panel | DataError:
    """Write the files and the manifest, which gains the ``data_hash``; the panel, or why it cannot be loaded."""
    for ticker, frame in frames.items():
        frame.to_parquet(folder / f"{ticker}.parquet", index=False, write_page_checksum=True)
    loaded: Panel | DataError
    try:
        loaded = load_prices(folder, messages=[])
        manifest["data_hash"] = loaded.data_hash()
    except DataError as error:
        # Only files that are there can be corrected, or loaded with what is found accepted.
        loaded, manifest["complete"] = error, False
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (folder / "manifest.json").write_text(f"{text}\n", encoding="utf-8")
    return loaded
