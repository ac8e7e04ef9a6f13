"""DeepStock rows: nothing of a row is known before it was public, and the price of its date is a bar, not an event."""

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradeschool.errors import DataError
from tradeschool.market.events import deepstock
from tradeschool.market.events.event import Event, EventFile, Record
from tradeschool.market.events.read import attach, read_events
from tradeschool.market.events.timing import TimeParser
from tradeschool.market.findings import Finding, Report
from tradeschool.market.load import check_prices, load_prices

FIGURES = {"Total Revenue": 365e9, "Net Income": 95e9, "Basic EPS": 6.0}
Row = dict[str, Any]


def row(current: str = "2023-01-10", ticker: str = "AAPL", **parts: Any) -> Row:
    """A row as the public builder writes it: headlines since a week before, the year still running, its outcome."""
    week_ago = str(np.datetime64(current) - 7)
    info = {
        "current_date": current,
        "company_info": {"name": "Apple Inc.", "description": "Makes phones."},
        "news": {"news_headlines": [f"Headline before {current}"], "news_date": week_ago},
        "financials": {"year": "2023-09-30", "financials": json.dumps(FIGURES)},
        "price": {
            "price_date": current, "open": 10.0, "close": 11.0,
            "previous_date": week_ago, "open_previous": 9.0, "close_previous": 8.0,
        },
    }  # fmt: skip
    return {"ticker": ticker, "company_info": {**info, **parts}}


def extracted(*rows: Row, same_day: bool = True) -> tuple[list[Event], Report]:
    report = Report("rows.jsonl")
    times = TimeParser(report, same_day)
    found = deepstock.extract_events([Record(i, cells) for i, cells in enumerate(rows, start=1)], report, times)
    times.report_assumptions()
    return found, report


def of(kind: str, *rows: Row, same_day: bool = True) -> list[tuple[str, Any]]:
    found, _ = extracted(*rows, same_day=same_day)
    return [(str(event.known_at), event.text or dict(event.fields)) for event in found if event.kind == kind]


def rules(report: Report) -> list[str]:
    return [f"{finding.severity}: {finding.rule}" for finding in report.findings]


def news(headlines: Any, date: Any) -> Row:
    return {"news_headlines": headlines, "news_date": date}


# news ------------------------------------------------------------------------------------------------


def test_headlines_of_a_span_are_known_at_its_end() -> None:
    """news_date is the first day of the week of headlines that a row gathers: taken as theirs it leaks six days."""
    assert of("news", row("2023-01-10")) == [("2023-01-10", "Headline before 2023-01-10")]
    assert of("news", row("2023-01-10"), same_day=False) == [("2023-01-11", "Headline before 2023-01-10")]
    _, report = extracted(row("2023-01-10"))
    assert any("first day of a span" in rule for rule in rules(report))


@pytest.mark.parametrize(
    ("date", "known_at"),
    [("2023-01-10", "2023-01-10"), ("2023-01-12", "2023-01-12"), ("2023-01-05T15:00:00Z", "2023-01-05T15:00:00"),
     (None, "2023-01-10"), ("", "2023-01-10")],
)  # fmt: skip
def test_headlines_with_a_time_or_a_later_date_are_known_then(date: Any, known_at: str) -> None:
    assert of("news", row(news=news(["x"], date))) == [(known_at, "x")]


def test_a_headline_that_rows_repeat_counts_from_the_first_that_has_it() -> None:
    rows = [row(f"2023-01-{day}", news=news(["same", f"only {day}"], f"2023-01-0{day - 7}")) for day in (12, 10, 11)]
    assert of("news", *rows) == [
        ("2023-01-10", "same"), ("2023-01-10", "only 10"), ("2023-01-11", "only 11"), ("2023-01-12", "only 12"),
    ]  # fmt: skip
    _, report = extracted(*rows)
    assert "info: headlines repeated by later rows were kept once" in rules(report)


def test_a_headline_repeated_after_its_span_is_news_again() -> None:
    rows = [
        row(day, news=news(["Reports"], str(np.datetime64(day) - 7)))
        for day in ("2023-01-10", "2023-01-17", "2023-04-11")
    ]
    assert of("news", *rows) == [("2023-01-10", "Reports"), ("2023-04-11", "Reports")]


@pytest.mark.parametrize("headlines", [["a", None, " "], ["a", None, ""], "a"])
def test_headlines_come_in_any_container(headlines: Any) -> None:
    assert of("news", row(news=news(headlines, "2023-01-03"))) == [("2023-01-10", "a")]


# financials ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("year", ["2023-09-30", datetime.date(2023, 9, 30), 20230930])
def test_financials_of_the_year_still_running_are_held_back(year: Any) -> None:
    rows = [
        row(day, financials={"year": year, "financials": json.dumps(FIGURES)}) for day in ("2023-01-10", "2023-01-11")
    ]
    fields = {"period_end": "2023-09-30", "total_revenue": 365e9, "net_income": 95e9, "basic_eps": 6.0}
    assert of("fundamentals", *rows) == [("2023-12-29", fields)]  # ninety days later
    _, report = extracted(*rows)
    (held,) = [finding for finding in report.findings if "held back" in finding.rule]
    assert held.value.startswith("2 rows")


@pytest.mark.parametrize("year", [2022, "2022", 2022.0])
def test_a_year_alone_ends_with_the_calendars(year: Any) -> None:
    assert of("fundamentals", row(financials={"year": year, "revenue": 5.0})) == [
        ("2023-03-31", {"period_end": "2022-12-31", "revenue": 5.0})
    ]


def test_a_filing_date_and_a_period_end_are_taken_as_given() -> None:
    given = {"year": 2022, "period_end": "2022-09-24", "filing_date": "2022-10-28T20:01:00Z", "eps": 1.0}
    assert of("fundamentals", row(financials=given)) == [
        ("2022-10-28T20:01:00", {"period_end": "2022-09-24", "eps": 1.0})
    ]
    found, report = extracted(row(financials={**given, "filing_date": "2022-09-24"}))
    assert not [event for event in found if event.kind == "fundamentals"]
    assert "error: filing_date is not after the end of the fiscal year" in rules(report)


def year(current: str, eps: float, filed: str | None = None) -> Row:
    return row(current, financials={"year": 2021, "eps": eps, "filing_date": filed})


def test_restated_figures_are_a_second_event_known_by_the_row_that_has_them() -> None:
    rows = [year("2023-02-01", 2.0), year("2022-06-01", 1.0), year("2022-07-01", 1.0), year("2023-03-01", 2.0)]
    assert [(day, fields["eps"]) for day, fields in of("fundamentals", *rows)] == [
        ("2022-03-31", 1.0),
        ("2023-02-01", 2.0),
    ]


def test_figures_filed_again_are_known_when_they_were_filed() -> None:
    rows = [
        year("2022-06-01", 1.0, "2022-03-01"),
        year("2022-06-02", 2.0, "2022-05-01"),
        year("2022-06-03", 2.0, "2022-06-01"),
    ]
    assert [(day, fields["eps"]) for day, fields in of("fundamentals", *rows)] == [
        ("2022-03-01", 1.0),
        ("2022-05-01", 2.0),
    ]


def test_different_figures_public_on_one_day_are_a_warning_and_the_later_are_kept() -> None:
    rows = [year("2021-06-01", 1.0), year("2021-07-01", 2.0)]
    found, report = extracted(*rows)
    assert [event.fields["eps"] for event in found if event.kind == "fundamentals"] == [2.0]
    (warning,) = [finding for finding in report.findings if "different figures" in finding.rule]
    assert (warning.severity, warning.row, warning.value) == ("warning", 2, "AAPL, year to 2021-12-31")


@pytest.mark.parametrize(
    ("financials", "rule"),
    [
        ({"year": "x", "eps": 1.0}, "error: the financials have no fiscal year"),
        ({"eps": 1.0}, "error: the financials have no fiscal year"),
        ({"year": 2022, "financials": '{"eps": 1'}, "error: the financials are not a JSON object"),
        ("[]", "error: financials is not a JSON object"),
    ],
)
def test_financials_that_cannot_be_read_are_errors(financials: Any, rule: str) -> None:
    found, report = extracted(row(financials=financials))
    assert rule in rules(report)
    assert {event.kind for event in found} == {"news", "company"}


def test_financials_without_figures_make_no_event() -> None:
    nothing = [None, {}, "", {"year": 2022}, {"year": 2022, "financials": '{"eps": NaN}'}, {"year": 2022, "eps": None}]
    for financials in nothing:
        found, report = extracted(row(financials=financials))
        assert {event.kind for event in found} == {"news", "company"}
        assert not [rule for rule in rules(report) if rule.startswith("error")]


# descriptions and whole rows -------------------------------------------------------------------------


def test_a_description_is_known_once_until_it_changes() -> None:
    changed = {"name": "Apple Inc.", "description": "Makes watches."}
    rows = [
        row("2023-01-10"),
        row("2023-01-11"),
        row("2023-01-12", company_info=changed),
        row("2023-01-13", company_info=changed),
    ]
    assert of("company", *rows) == [("2023-01-10", "Makes phones."), ("2023-01-12", "Makes watches.")]
    assert any("no date of their own" in rule for rule in rules(extracted(*rows)[1]))


def test_rows_with_missing_parts_give_what_they_have() -> None:
    rows: list[Row] = [
        {"ticker": "A", "company_info": None},
        {"ticker": "A"},
        {"ticker": "A", "company_info": {}},
        {"ticker": None, "company_info": row()["company_info"]},
        row(current_date=None),
        row(news=None, financials=None, company_info=None, price=None),
        {"ticker": "$A", "company_info": json.dumps(row("2023-02-01")["company_info"])},
    ]
    found, report = extracted(*rows)
    assert {event.ticker for event in found} == {"A"}
    assert [event.kind for event in found] == ["news", "company", "fundamentals"]
    assert sorted(rule for rule in rules(report) if "row" in rule or "error" in rule)[:2] == [
        "error: current_date is missing", "error: the row has no ticker",
    ]  # fmt: skip
    (left_out,) = [finding for finding in report.findings if "without a company_info" in finding.rule]
    assert left_out.value == "3 rows, the first is row 1"


def test_the_price_of_a_row_is_never_an_event() -> None:
    marked = {**row()["company_info"]["price"], "open": 777.5, "close": 778.5, "open_previous": 779.5}
    found, _ = extracted(row(price=marked))
    assert "77" not in "".join(event.digest_line() for event in found)


# files and prices ------------------------------------------------------------------------------------


def write(folder: Path, *rows: Row, kind: str = "jsonl") -> Path:
    path = folder / f"deep.{kind}"
    if kind == "parquet":
        pd.DataFrame(list(rows)).to_parquet(path)
    else:
        path.write_text("\n".join(json.dumps(one) for one in rows), "utf-8")
    return path


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_files_are_recognized_by_their_column(tmp_path: Path, kind: str) -> None:
    found = read_events(write(tmp_path, row(), row("2023-01-11", "MSFT"), kind=kind), same_day=True)
    assert {event.kind for event in found.events} == {"news", "company", "fundamentals"}
    assert found.names == {"AAPL": ("Apple Inc.",), "MSFT": ("Apple Inc.",)}
    assert [finding for finding in found.findings if finding.severity == "error"] == []


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_market_of_rows_alone(tmp_path: Path, kind: str) -> None:
    rows = [row("2023-01-10"), row("2023-01-17", price={**row("2023-01-17")["company_info"]["price"],
            "open_previous": 10.0, "close_previous": 11.0, "close": 12.0}), row("2023-01-11", "MSFT")]  # fmt: skip
    path = write(tmp_path, *rows, kind=kind)
    panel, events = load_prices(path, []), read_events(path)
    assert panel.tickers == ("AAPL", "MSFT")
    assert panel.dates_T.astype(str).tolist() == ["2023-01-03", "2023-01-04", "2023-01-10", "2023-01-11", "2023-01-17"]
    np.testing.assert_array_equal(panel.open_TN[:, 0], [9, np.nan, 10, np.nan, 10])
    np.testing.assert_array_equal(panel.close_TN[:, 0], [8, np.nan, 11, np.nan, 12])
    np.testing.assert_array_equal(panel.high_TN[:, 0], [9, np.nan, 11, np.nan, 12])
    np.testing.assert_array_equal(panel.low_TN[:, 0], [8, np.nan, 10, np.nan, 10])
    assert np.isnan(panel.volume_TN).all()
    whole = attach(panel, [events], [])
    assert len(whole.events) == len(events.events)
    assert whole.names["MSFT"] == ("Apple Inc.",)
    assert not [finding for finding in events.findings if "different prices" in finding.rule]


def checked(folder: Path, *rows: Row) -> list[Finding]:
    """What is found about the prices, without the infos that other price files have too."""
    kinds = ("rows without a volume", "begin later or end earlier", "days on which other tickers")
    return [one for one in check_prices(write(folder, *rows)) if not any(kind in one.rule for kind in kinds)]


def test_conflicting_prices_are_a_warning_and_the_dates_own_row_counts(tmp_path: Path) -> None:
    later = row("2023-01-17", price={**row("2023-01-17")["company_info"]["price"], "close": 12.0})
    for rows in ((row("2023-01-10"), later), (later, row("2023-01-10"))):
        (warning,) = checked(tmp_path, *rows)  # the second row's previous_date is the first one's: 9, 8 against 10, 11
        panel = load_prices(tmp_path / "deep.jsonl", [])
        assert panel.close_TN[panel.dates_T == np.datetime64("2023-01-10"), 0] == [11]
        assert warning.value == "AAPL on 2023-01-10: open 10 and 9, close 11 and 8"


def test_rounding_is_not_a_conflict(tmp_path: Path) -> None:
    price = {**row("2023-01-17")["company_info"]["price"], "close": 12.0}
    price |= {"open_previous": 10.0 + 1e-7, "close_previous": 11.0 - 1e-7}
    assert checked(tmp_path, row("2023-01-10"), row("2023-01-17", price=price)) == []
    assert load_prices(tmp_path / "deep.jsonl", []).open_TN[1, 0] == 10


def test_a_row_without_a_price_makes_no_bar(tmp_path: Path) -> None:
    found = checked(tmp_path, row(), row("2023-01-11", price=None), {"ticker": "A", "company_info": None})
    assert load_prices(tmp_path / "deep.jsonl", []).shape == (2, 1)
    assert [one.rule for one in found] == ["rows without a price make no bar"]
    price = {"price_date": "2023-01-10", "open": 1, "close": 2}
    assert load_prices(write(tmp_path, row(price=price)), []).shape == (1, 1)


DAYS = np.busday_offset(np.datetime64("2023-01-02"), np.arange(120))


def rows_of(ticker: str, close_T: Any, days: Any = DAYS) -> list[Row]:
    return [
        row(str(day), ticker, price={"price_date": str(day), "open": float(close), "close": float(close) * 1.001})
        for day, close in zip(days, close_T, strict=True)
    ]


def walk(seed: int, level: float = 50.0) -> Any:
    return level * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, len(DAYS))))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("split", "not adjusted for a split"),
        ("spike", "times the bars before and after it"),
        ("pence", "another unit or currency"),
        ("double", "one company twice"),
        ("weekly", "the frequency of the bars changes"),
    ],
)
def test_prices_pass_the_checks_of_other_price_files(tmp_path: Path, change: str, rule: str) -> None:
    """Each is refused by ticker and day, and loads where it is accepted (or the row left out)."""
    close_T, days = walk(1), DAYS
    if change == "split":
        close_T[60:] /= 2
    elif change == "spike":
        close_T[60] *= 20
    elif change == "pence":
        close_T[60:] *= 100
    elif change == "weekly":
        days = np.append(DAYS[:60], DAYS[64::5])
        close_T = close_T[: len(days)]
    others = rows_of("AAA", walk(1) if change == "double" else walk(2))
    path = write(tmp_path, *others, *rows_of("BBB", close_T, days))
    errors = [one for one in check_prices(path) if one.severity == "error"]
    assert [(one.ticker, rule in one.rule) for one in errors] == [("BBB", True)]
    first = 0 if change == "double" else 60
    assert (errors[0].row, errors[0].day) == (120 + first + 1, str(days[first]))
    with pytest.raises(DataError, match=f"row {errors[0].row}"):
        load_prices(path, [])
    if change == "spike":
        assert np.isnan(load_prices(path, [], spikes="leave_out").close_TN[60, 1])
    elif change != "weekly":
        assert load_prices(path, [], accept=[f"BBB {days[first]}"]).shape == (120, 2)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"open": None}, "open and close are not both positive numbers"),
        ({"close": -1.0}, "open and close are not both positive numbers"),
        ({"close": float("nan")}, "open and close are not both positive numbers"),
        ({"open_previous": "x"}, "open and close are not both positive numbers"),
        ({"price_date": "10 Jan"}, "the date of a price is neither a day nor a timestamp"),
        ({"price_date": None}, "the date of a price is missing"),
        ({"price_date": "2999-01-01"}, "the date of a price is in the future"),
    ],
)
def test_a_price_that_breaks_a_rule_is_an_error(tmp_path: Path, change: Row, rule: str) -> None:
    rows = row(), row("2023-01-11", price={**row("2023-01-11")["company_info"]["price"], **change})
    errors = [one for one in checked(tmp_path, *rows) if one.severity == "error"]
    assert [(finding.row, finding.rule) for finding in errors] == [(2, rule)]
    with pytest.raises(DataError, match=f"row 2: {rule}"):
        load_prices(tmp_path / "deep.jsonl", [])


def test_a_file_without_prices_is_refused(tmp_path: Path) -> None:
    for path in (write(tmp_path, row(price=None)), tmp_path / "missing.jsonl"):
        with pytest.raises(DataError, match="there are no prices|no such file"):
            load_prices(path, [])


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8) | st.just("2023-01-10"),
    lambda inside: st.lists(inside, max_size=2) | st.dictionaries(st.text(max_size=4), inside, max_size=2),
    max_leaves=4,
)
PATHS = [
    (part, *inside)
    for part, inside in [
        ("current_date", []), ("company_info", []), ("company_info", ["description"]), ("news", []),
        ("news", ["news_date"]),
        ("news", ["news_headlines"]), ("financials", []), ("financials", ["year"]), ("financials", ["financials"]),
        ("financials", ["filing_date"]), ("price", []), ("price", ["open"]), ("price", ["price_date"]),
        ("price", ["previous_date"]),
    ]
]  # fmt: skip


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.sampled_from(PATHS), JSON), max_size=4), ticker=JSON, whole=st.none() | JSON)
def test_any_damage_ends_in_findings(tmp_path: Path, changes: list[Any], ticker: Any, whole: Any) -> None:
    damaged = row("2023-02-01")
    for path, value in changes:
        place = damaged["company_info"]
        for name in path[:-1]:
            place = place.setdefault(name, {}) if isinstance(place, dict) else {}
        if isinstance(place, dict):
            place[path[-1]] = value
    rows = [row(), damaged, {**row(), "ticker": ticker}, {"ticker": "A", "company_info": whole}]
    path = write(tmp_path, *rows)
    found = read_events(path)
    assert isinstance(found, EventFile)
    assert "Headline before 2023-01-10" in {event.text for event in found.events}
    try:
        panel = load_prices(path, [])
    except DataError:
        return
    assert "AAPL" in panel.tickers


@settings(max_examples=100)
@given(
    days=st.lists(st.integers(0, 60), min_size=1, max_size=12),
    eps=st.lists(st.sampled_from([1.0, 2.0]), min_size=12, max_size=12),
    filed=st.lists(st.sampled_from([None, "2023-02-10"]), min_size=12, max_size=12),
)
def test_nothing_is_known_before_the_row_or_the_filing_that_has_it(
    days: list[int], eps: list[float], filed: list[str | None]
) -> None:
    start = np.datetime64("2023-01-01")
    rows = [
        row(str(start + day), news=news([f"h{day % 5}"], str(start + day - 7)),
            financials={"year": 2022, "eps": eps[i], "filing_date": filed[i]})
        for i, day in enumerate(days)
    ]  # fmt: skip
    found, _ = extracted(*rows)
    for event in found:
        if event.kind == "fundamentals":
            assert event.known_at >= np.datetime64("2023-02-10")
            assert any(event.fields["eps"] == eps[i] for i in range(len(days)))
        else:
            shown = [day for day in days if event.kind == "company" or f"h{day % 5}" == event.text]
            assert (event.known_at - start).astype(int) in shown
    assert {event.text for event in found if event.kind == "news"} == {f"h{day % 5}" for day in days}
