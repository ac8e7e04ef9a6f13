"""One ticker's daily bars from Yahoo Finance through yfinance, whose ways of failing are told apart here."""

import contextlib
import datetime
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradeschool.errors import TradeschoolError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("Open", "High", "Low", "Close", "Adj Close", "Volume")
TIMEOUT_SECONDS = 30
ABOUT = {
    "exchange": "fullExchangeName",
    "time_zone": "exchangeTimezoneName",
    "currency": "currency",
    "instrument": "instrumentType",
}
"""What a snapshot records of a ticker, and Yahoo's name for it."""

_UNKNOWN = "Yahoo knows no such ticker, or it is delisted"
_NOTHING = "Yahoo has no prices between these dates"


class FetchError(TradeschoolError):
    """Prices that could not be fetched as they were asked for."""


class NoPricesError(FetchError):
    """Yahoo answered, and has no prices for the ticker between the dates. Its text is the reason alone."""


class UnavailableError(FetchError):
    """Yahoo gave no answer that can be used, which may pass: ``waits`` are the seconds before each further try."""

    short = "No usable answer from Yahoo."
    waits: tuple[float, ...] = (2, 8)


class RateLimitError(UnavailableError):
    """Yahoo refuses more requests for a while."""

    short = "Yahoo refuses more requests for a while."
    waits = (5, 20, 60)


@dataclass(frozen=True)
class Bars:
    """A ticker's rows as Yahoo gave them: Date (the exchange's day) and :data:`COLUMNS`, ascending, NaN kept.

    Prices are adjusted for splits as of the day of fetching; Adj Close also for dividends. ``about`` has
    the keys of :data:`ABOUT`, None where Yahoo is silent.
    """

    ticker: str
    frame: "pd.DataFrame"
    about: dict[str, str | None]


def library() -> Any:
    """The yfinance module.

    Raises:
        TradeschoolError: the ``data`` extra is not installed.
    """
    try:
        import yfinance
    except ImportError as error:
        raise TradeschoolError(
            "Fetching prices needs the package yfinance, which is not installed. "
            "Install it: pip install 'tradeschool[data]'"
        ) from error
    return yfinance


def daily_bars(ticker: str, first: datetime.date, end: datetime.date, session: Any = None) -> Bars:
    """Ask Yahoo once for the days from ``first`` up to, not including, ``end``.

    Args:
        ticker: Yahoo's symbol.
        first: first day wanted.
        end: the day after the last.
        session: a curl_cffi or requests Session that does not cache; yfinance makes its own without it.

    Raises:
        NoPricesError: the ticker is unknown or delisted, or has no prices between the dates.
        UnavailableError: rate limit, no network, or an answer that cannot be read.
        FetchError: yfinance's cache is broken, or it does not take the session.
    """
    import pandas as pd

    yf = library()
    with _told_apart(yf, ticker), _raising(yf):
        # yfinance remembers answers, failures too, for as long as Python runs: a new try asks anew.
        yf.data.YfData.cache_get.cache_clear()
        source = _source(yf, ticker, session)
        got = _history(source, ticker, first, end)
        about = {name: source.history_metadata.get(key) for name, key in ABOUT.items()}
        frame = got.loc[:, list(COLUMNS)].reset_index(names="Date")
        frame["Date"] = pd.to_datetime(frame["Date"]).dt.tz_localize(None).astype("datetime64[ms]")
    wanted = (frame["Date"] >= pd.Timestamp(first)) & (frame["Date"] < pd.Timestamp(end))
    frame = frame[wanted].reset_index(drop=True)
    if frame.empty:
        raise NoPricesError(_NOTHING)
    return Bars(ticker, frame, about)


def patiently(ask: Callable[[], Bars], wait: Callable[[float], None], tell: Callable[[str], None]) -> Bars:
    """``ask()``, again after ever longer waits while Yahoo is unavailable; its error when that does not help."""
    tries: Counter[type[UnavailableError]] = Counter()
    while True:
        try:
            return ask()
        except UnavailableError as error:
            done = tries[type(error)]
            if done == len(error.waits):
                raise
            seconds = error.waits[done]
            tries[type(error)] += 1
            tell(f"{error.short} Next try in {seconds:g} s.")
        wait(seconds)


def _source(yf: Any, ticker: str, session: Any) -> Any:
    try:
        return yf.Ticker(ticker, session=session)
    except yf.exceptions.YFDataException as error:
        raise FetchError(f"yfinance does not take this session: {error}") from error


def _history(source: Any, ticker: str, first: datetime.date, end: datetime.date) -> "pd.DataFrame":
    """Yahoo's rows. yfinance has one exception for all answers without any, so what Yahoo said decides."""
    from yfinance.exceptions import YFPricesMissingError

    try:
        return source.history(
            start=first, end=end, auto_adjust=False, actions=False, keepna=True, timeout=TIMEOUT_SECONDS
        )
    except YFPricesMissingError as error:
        said = error.yahoo_reason or ""
        if said.startswith("No data found"):
            raise NoPricesError(_UNKNOWN) from error
        # An answer about the ticker, with its description but without rows, is no failure of Yahoo's.
        if said.startswith("Data doesn't exist") or (not said and source.history_metadata.get("exchangeTimezoneName")):
            raise NoPricesError(_NOTHING) from error
        raise _unreadable(ticker, said or "it has neither prices nor a reason") from error


@contextlib.contextmanager
def _raising(yf: Any) -> Iterator[None]:
    """yfinance raises what goes wrong, instead of logging it and giving an empty frame."""
    logger = logging.getLogger("yfinance")
    hidden, level = yf.config.debug.hide_exceptions, logger.level
    yf.config.debug.hide_exceptions = False
    # Its warnings are of cookies that it can do without, and of pandas functions that will change.
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        yf.config.debug.hide_exceptions = hidden
        logger.setLevel(level)


@contextlib.contextmanager
def _told_apart(yf: Any, ticker: str) -> Iterator[None]:
    import peewee  # type: ignore[import-untyped]
    from yfinance import exceptions

    try:
        yield
    except exceptions.YFRateLimitError as error:
        raise _rate_limit(ticker) from error
    except exceptions.YFTzMissingError as error:
        raise NoPricesError(_UNKNOWN) from error
    except peewee.PeeweeException as error:
        raise FetchError(
            f"yfinance's cache cannot be used ({error}). Delete the folder py-yfinance in your cache folder "
            "(~/.cache on Linux), or name another cache folder in XDG_CACHE_HOME."
        ) from error
    except (exceptions.YFException, LookupError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(ticker, f"{type(error).__name__}: {error}") from error
    except OSError as error:
        raise _transport(ticker, error) from error


def _transport(ticker: str, error: OSError) -> FetchError:
    """Both of yfinance's HTTP libraries raise OSErrors; one that carries a status (curl_cffi's is 0 without) reached
    Yahoo."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 404:
        return NoPricesError(_UNKNOWN)
    if status == 429:
        return _rate_limit(ticker)
    if status:
        return _unreadable(ticker, f"HTTP status {status}")
    return UnavailableError(
        f"Yahoo Finance cannot be reached ({error}). Check the network connection and the proxy "
        "(HTTPS_PROXY), then run the same command again."
    )


def _rate_limit(ticker: str) -> RateLimitError:
    return RateLimitError(
        f"Yahoo refuses more requests for now (rate limit, HTTP 429), at ticker {ticker}. Wait some minutes, then run "
        "the same command again. If it comes back, wait an hour, or fetch fewer tickers at a time."
    )


def _unreadable(ticker: str, what: str) -> UnavailableError:
    return UnavailableError(
        f"Yahoo's answer for {ticker} cannot be read ({what}). Yahoo may be down, or have changed its format: "
        "try again later, or upgrade yfinance: pip install --upgrade yfinance"
    )
