"""A small good market in four formats of files, and ways to damage them."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from hypothesis import strategies as st

TICKERS = ("AAA", "BBB", "CCC", "DDD")
DAYS = [str(day.date()) for day in pd.bdate_range("2020-01-02", periods=36)]
NAMES = ("Open", "High", "Low", "Close", "Adj Close", "Volume")
Files = dict[str, bytes]
Key = tuple[str, str]
"""Ticker and day."""
Bar = tuple[float, ...]


def quotes() -> dict[Key, dict[str, str]]:
    """The cells of every ticker and day; DDD is listed ten days later than the others."""
    rng = np.random.default_rng(7)
    found: dict[Key, dict[str, str]] = {}
    for n, ticker in enumerate(TICKERS):
        close = 40.0 + 10 * n
        for t, day in enumerate(DAYS):
            start = close * (1 + rng.normal(0, 0.004))
            close = start * (1 + rng.normal(0, 0.01))
            if ticker == "DDD" and t < 10:
                continue
            values = (start, max(start, close) + 0.3, min(start, close) - 0.3, close, close * 0.96)
            cells = dict(zip(NAMES, [f"{value:.2f}" for value in values], strict=False))
            found[ticker, day] = cells | {"Volume": str(rng.integers(1000, 9000))}
    return found


QUOTES = quotes()


def per_ticker() -> Files:
    lines = {ticker: [",".join(("Date", *NAMES))] for ticker in TICKERS}
    for (ticker, day), cells in QUOTES.items():
        lines[ticker].append(",".join((day, *cells.values())))
    return {f"{ticker}.csv": encoded(found) for ticker, found in lines.items()}


def long() -> Files:
    rows = [",".join((day, ticker, *cells.values())) for (ticker, day), cells in QUOTES.items()]
    return {"all.csv": encoded([",".join(("Date", "Ticker", *NAMES)), *rows])}


def wide() -> Files:
    pairs = [(name, ticker) for name in NAMES for ticker in TICKERS]
    head = [",".join(("Price", *(name for name, _ in pairs))), ",".join(("Ticker", *(ticker for _, ticker in pairs)))]
    rows = [",".join((day, *(QUOTES.get((ticker, day), {}).get(name, "") for name, ticker in pairs))) for day in DAYS]
    return {"all.csv": encoded([*head, "Date" + "," * len(pairs), *rows])}


def field_tables() -> Files:
    files = {}
    for name in NAMES:
        cells = [[QUOTES.get((ticker, day), {}).get(name, "") for ticker in TICKERS] for day in DAYS]
        rows = [",".join((day, *row)) for day, row in zip(DAYS, cells, strict=True)]
        files[f"{name.lower().replace(' ', '_')}.csv"] = encoded([",".join(("Date", *TICKERS)), *rows])
    return files


def encoded(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


FORMATS: dict[str, Callable[[], Files]] = {
    "per ticker": per_ticker,
    "long": long,
    "wide": wide,
    "field tables": field_tables,
}


def plain(files: Mapping[str, bytes]) -> dict[Key, Bar]:
    """An independent reader: bars of plain files; raises whatever it does on any other file."""
    cells: dict[Key, dict[str, str]] = {}
    for file, data in files.items():
        lines = [line.split(",") for line in data.decode("ascii").strip("\n").split("\n")]
        stem, first = file.removesuffix(".csv"), lines[0]
        head, body = [(title, stem) for title in first[1:]], lines[1:]
        if first[0] == "Price":
            head, body = list(zip(first[1:], lines[1][1:], strict=True)), lines[3:]
        elif stem not in (*TICKERS, "all"):
            head = [(stem.replace("_", " ").title(), ticker) for ticker in first[1:]]
        for day, *row in body:
            for (name, ticker), cell in zip(head, row, strict=True):
                owner = row[0] if first[1] == "Ticker" else ticker
                cells.setdefault((owner, day), {})[name] = cell
    return {key: bar(found) for key, found in cells.items() if any(found[name] for name in NAMES)}


def bar(cells: Mapping[str, str]) -> Bar:
    values = {name: float(cells[name]) for name in NAMES if name in cells}
    return (*(shortened(values[name]) for name in (*NAMES[:4], "Volume")),)


def shortened(value: float) -> float:
    """Ten digits: without what multiplying and dividing by a factor leaves behind."""
    return float(f"{value:.10g}")


WORDS = (
    *(
        "nan",
        "NaN",
        "null",
        "NULL",
        "N/A",
        "",
        "-",
        "--",
        " ",
        "none",
        "inf",
        "-inf",
        "Infinity",
        "abc",
        "True",
        "Open",
    ),
    *(
        "0",
        "0.0",
        "-0",
        "-1",
        "-41.5",
        "1e300",
        "1e-300",
        "1e13",
        "99999999",
        "1e400",
        "9" * 30,
        "1e2",
        "+41.5",
        "41.50",
    ),
    *(
        "41,5",
        '"41,5"',
        "1,041.5",
        '"1,041.5"',
        "1 041.5",
        "1'041.5",
        "1.041.5",
        "1_041",
        "$41.5",
        "41.5%",
        "0x29",
        "٤١",
    ),
    *(
        "2020-01-07",
        "2020-13-45",
        "07/01/2020",
        "01/17/2020",
        "20200107",
        "2020-01-07 00:00:00",
        "2020-01-07 00:00:00-05:00",
    ),
    *(
        "2020-01-07T21:00:00+00:00",
        "43837",
        "2919-01-07",
        "1019-01-07",
        "AAA",
        "aaa",
        " AAA",
        "BBB",
        "ZZZ",
        '"',
        "'",
        "\t",
    ),
)
Damage = Callable[[Files], Files]


def in_file(pick: int, change: Callable[[bytes], bytes]) -> Damage:
    def harm(files: Files) -> Files:
        name = sorted(files)[pick % len(files)]
        return files | {name: change(files[name])}

    return harm


def in_rows(pick: int, change: Callable[[list[str]], list[str]]) -> Damage:
    return in_file(pick, lambda data: "\n".join(change(data.decode().split("\n"))).encode("utf-8", "surrogatepass"))


def cell(row: int, column: int, word: str) -> Callable[[list[str]], list[str]]:
    def change(lines: list[str]) -> list[str]:
        at = 1 + row % (len(lines) - 2)
        cells = lines[at].split(",")
        cells[column % len(cells)] = word
        return [*lines[:at], ",".join(cells), *lines[at + 1 :]]

    return change


def columns(change: Callable[[list[str]], list[str]], header_only: bool) -> Callable[[list[str]], list[str]]:
    def apply(lines: list[str]) -> list[str]:
        last = 1 if header_only else len(lines) - 1
        return [",".join(change(line.split(","))) for line in lines[:last]] + lines[last:]

    return apply


def swapped(cells: list[str], i: int, j: int) -> list[str]:
    cells = list(cells)
    i, j = i % len(cells), j % len(cells)
    cells[i], cells[j] = cells[j], cells[i]
    return cells


def spliced(lines: list[str], at: int, count: int, put: list[str]) -> list[str]:
    start = 1 + at % (len(lines) - 2)
    return lines[:start] + put + lines[start + count :]


def shuffled(lines: list[str], seed: int) -> list[str]:
    body = lines[1:-1]
    np.random.default_rng(seed).shuffle(body)
    return [lines[0], *body, lines[-1]]


def at_bytes(at: int, cut: int, put: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[: at % len(data)] + put + data[at % len(data) + cut :]


pick, row, column = st.integers(0, 9), st.integers(0, 200), st.integers(0, 40)
LEVELS: dict[str, st.SearchStrategy[Damage]] = {
    "bytes": st.builds(
        in_file,
        pick,
        st.one_of(
            st.builds(at_bytes, st.integers(0, 20_000), st.integers(0, 3), st.binary(max_size=3)),
            st.builds(
                at_bytes,
                st.integers(0, 20_000),
                st.just(1),
                st.sampled_from(list(b'0123456789,.-\n\r";\0e ')).map(lambda b: bytes([b])),
            ),
            st.integers(0, 20_000).map(lambda at: lambda data: data[: at % len(data)]),
            st.sampled_from(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp500", "utf-7"]).map(
                lambda name: lambda data: data.decode().encode(name)
            ),
            st.tuples(
                st.sampled_from([b",", b"\n", b".", b"-", b"2020-"]),
                st.sampled_from([b";", b"\t", b"|", b"\r\n", b"\r", b",,", b"", b"/", b" ", b"\n\n", b'"']),
            ).map(lambda pair: lambda data: data.replace(*pair)),
        ),
    ),
    "cells": st.builds(
        in_rows, pick, st.builds(cell, row, column, st.sampled_from(WORDS) | st.floats(0.01, 90).map("{:.2f}".format))
    ),
    "rows": st.builds(
        in_rows,
        pick,
        st.one_of(
            row.map(lambda at: lambda lines: spliced(lines, at, 1, [])),
            st.tuples(row, row).map(
                lambda two: lambda lines: spliced(lines, two[0], 0, [lines[1 + two[1] % (len(lines) - 2)]])
            ),
            row.map(lambda at: lambda lines: spliced(lines, at, 0, lines[:1])),
            st.tuples(
                row,
                st.sampled_from(
                    ["", " ", ",", ",,,,,,", "2020-01-08", "2020-01-08,,,,,,", "# note", "Total,1,2,3,4,5,6"]
                ),
            ).map(lambda two: lambda lines: spliced(lines, two[0], 0, [two[1]])),
            st.integers(0, 99).map(lambda seed: lambda lines: shuffled(lines, seed)),
            st.tuples(row, row).map(
                lambda two: lambda lines: [lines[0], *lines[1:-1][two[0] % 30 :], *lines[1:-1][: two[1] % 30], ""]
            ),
        ),
    ),
    "columns": st.builds(
        in_rows,
        pick,
        st.one_of(
            st.tuples(column, st.booleans()).map(
                lambda two: columns(lambda cells: [c for i, c in enumerate(cells) if i != two[0] % len(cells)], two[1])
            ),
            st.tuples(column, column, st.booleans()).map(
                lambda three: columns(lambda cells: swapped(cells, three[0], three[1]), three[2])
            ),
            st.tuples(column, st.booleans()).map(
                lambda two: columns(lambda cells: [*cells, cells[two[0] % len(cells)]], two[1])
            ),
            st.tuples(
                column,
                st.sampled_from(
                    [
                        "Price",
                        "",
                        "close",
                        "Opn",
                        "Adj Clsoe",
                        "Adjusted",
                        "Ticker",
                        "AAA",
                        "aaa",
                        " BBB ",
                        "Date",
                        "VOLUME",
                        "x",
                    ]
                ),
            ).map(
                lambda two: columns(
                    lambda cells: [two[1] if i == two[0] % len(cells) else c for i, c in enumerate(cells)], True
                )
            ),
        ),
    ),
}
