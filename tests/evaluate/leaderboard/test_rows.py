"""Rows, the file they are kept in, and what follows from them."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markets import market

from tradeschool.env.data import MarketData
from tradeschool.env.harness import Record, play
from tradeschool.env.sampling import episodes_needed, grade_interval, paired, paired_interval
from tradeschool.env.traders import rule
from tradeschool.env.trading import TradingEnv
from tradeschool.env.versions import ENV_VERSION
from tradeschool.errors import RunError
from tradeschool.evaluate.leaderboard.book import Book
from tradeschool.evaluate.leaderboard.row import Edition, Row, row_of
from tradeschool.evaluate.leaderboard.standing import agreed, difference, judged, needed, standings
from tradeschool.evaluate.leaderboard.table import sentence

EPISODES = 40


@pytest.fixture(scope="module")
def env() -> TradingEnv:
    return TradingEnv(MarketData(market(tickers=6, days=700)), rows=(100, 690), observation="numeric")


@pytest.fixture(scope="module")
def records(env: TradingEnv) -> dict[str, list[Record]]:
    return {name: play(rule(name), env, EPISODES, 5) for name in ("buy and hold", "momentum", "random", "hold")}


@pytest.fixture(scope="module")
def rows(env: TradingEnv, records: dict[str, list[Record]]) -> dict[str, Row]:
    edition = Edition.of(env, 5)
    return {name: row_of(found, {"agent": name}, edition, 1.0) for name, found in records.items()}


def moved(row: Row, **changes: Any) -> Row:
    """The row as it would be on another edition."""
    return dataclasses.replace(row, edition=dataclasses.replace(row.edition, **changes))


def test_a_row_says_all_of_its_episodes(rows: dict[str, Row], records: dict[str, list[Record]]) -> None:
    row, found = rows["random"], records["random"]
    assert row.starts == [record.start for record in found]
    assert row.refused == [record.refused for record in found]
    assert row.returns == pytest.approx([record.equity_D[-1] / record.equity_D[0] - 1 for record in found], abs=1e-6)
    assert (row.agent, row.episodes, row.edition.seed) == ("random", EPISODES, 5)
    weighted = 0.4 * np.array(row.parts["risk"]) + 0.3 * np.array(row.parts["pnl"])
    weighted += 0.15 * (np.array(row.parts["drawdown"]) + np.array(row.parts["activity"]))
    np.testing.assert_allclose(row.grades, weighted, atol=1e-5)


def test_an_edition_holds_all_that_decides_an_episode(env: TradingEnv) -> None:
    first = Edition.of(env, 5)
    assert (first.env_version, first.level, first.tickers, first.days) == (ENV_VERSION, "Easy", 1, 20)
    dates = env.data.panel.dates_T.astype("datetime64[D]")
    assert (first.first, first.last) == (str(dates[100]), str(dates[690]))
    text = TradingEnv(env.data, rows=(100, 690), observation="text")
    assert Edition.of(text, 5) == first
    others = [
        Edition.of(env, 6),
        Edition.of(TradingEnv(env.data, rows=(101, 690), observation="numeric"), 5),
        Edition.of(TradingEnv(env.data, rows=(100, 690), observation="numeric", commission=0.001), 5),
        Edition.of(TradingEnv(market(tickers=6, days=700, seed=9), rows=(100, 690), observation="numeric"), 5),
    ]
    assert len({first, *others}) == 5


# the file


def test_rows_are_read_as_they_were_written(tmp_path: Path, rows: dict[str, Row]) -> None:
    book = Book(tmp_path / "a.json")
    for row in rows.values():
        book.put(row)
    assert Book(tmp_path / "a.json").rows == list(rows.values())
    lines = (tmp_path / "a.json").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line.rstrip(","))["agent"] for line in lines[1:-1]] == list(rows)


def test_a_new_row_takes_the_place_of_the_same_agents_on_the_same_edition(tmp_path: Path, rows: dict[str, Row]) -> None:
    book = Book(tmp_path / "a.json")
    old = moved(rows["hold"], env_version="0.9.0")
    other = dataclasses.replace(rows["hold"], settings={"agent": "hold", "code": "x"})
    for row in (old, rows["hold"], other, rows["random"], dataclasses.replace(rows["hold"], seconds=9.0)):
        book.put(row)
    kept = Book(tmp_path / "a.json")
    assert [(row.agent, row.edition.env_version, row.seconds) for row in kept.rows] == [
        ("hold", "0.9.0", 1.0),
        ("hold", ENV_VERSION, 1.0),
        ("random", ENV_VERSION, 1.0),
        ("hold", ENV_VERSION, 9.0),
    ]
    assert kept.find("hold", old.edition, old.settings) == old
    assert kept.find("hold", other.edition, other.settings) == other
    assert kept.find("momentum", old.edition, old.settings) is None
    assert kept.find("hold", old.edition, other.settings) is None
    # Of rows of one name on one edition, the newest stands for it.
    assert [(row.agent, row.seconds) for row in kept.on(other.edition)] == [("random", 1.0), ("hold", 9.0)]
    assert kept.editions() == [rows["hold"].edition, old.edition]


def test_the_file_is_replaced_at_once(tmp_path: Path, rows: dict[str, Row], monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book(tmp_path / "a.json")
    book.put(rows["hold"])
    before = (tmp_path / "a.json").read_bytes()

    def full(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        book.put(rows["random"])
    assert (tmp_path / "a.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:-40], "is damaged"),
        (lambda text: text.replace('"format": 1', '"format": 7'), "has format 7"),
        (lambda text: text.replace('"starts"', '"begins"'), "is damaged"),
        (lambda text: text.replace('"refused": [0, ', '"refused": ['), "lists of unequal length"),
        (lambda text: "[]", "is damaged"),
    ],
)
def test_a_damaged_file_is_named_with_a_cure(tmp_path: Path, rows: dict[str, Row], change: Any, words: str) -> None:
    path = tmp_path / "a.json"
    Book(path).put(rows["hold"])
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(RunError, match=words) as raised:
        Book(path)
    assert "Move it away" in str(raised.value)


# what follows


def test_intervals_are_those_of_the_records(rows: dict[str, Row], records: dict[str, list[Record]]) -> None:
    by_name = {one.row.agent: one for one in standings(list(rows.values()))}
    for name, found in records.items():
        assert by_name[name].grade == pytest.approx(grade_interval(found), abs=2e-6)
        if name != "buy and hold":
            paired_with = by_name[name].difference
            assert paired_with
            expected = paired_interval(found, records["buy and hold"])
            assert paired_with.interval == pytest.approx(expected, abs=2e-6)
            deviation = paired(found, records["buy and hold"]).std(ddof=1)
            assert paired_with.deviation == pytest.approx(deviation, abs=1e-5)
    assert by_name["buy and hold"].verdict == "reference"
    values = [one.grade.value for one in standings(list(rows.values()))]
    assert values == sorted(values, reverse=True)


def test_a_difference_is_shown_where_its_interval_excludes_0(rows: dict[str, Row]) -> None:
    base = rows["hold"]
    better = dataclasses.replace(base, agent="better", grades=[grade + 0.1 for grade in base.grades])
    rng = np.random.default_rng(0)
    noisy = dataclasses.replace(base, agent="noisy", grades=(np.array(base.grades) + rng.normal(0, 0.3, 40)).tolist())
    assert difference(better, base).verdict == "above"
    assert difference(base, better).verdict == "below"
    # Whatever the sign of the mean.
    assert difference(noisy, base).interval.value * difference(base, noisy).interval.value < 0
    assert difference(noisy, base).verdict == difference(base, noisy).verdict == "not shown"
    assert difference(base, base).verdict == "same"
    alike = dataclasses.replace(noisy, starts=[7] * EPISODES)
    assert difference(alike, dataclasses.replace(base, starts=[7] * EPISODES)).verdict == "too few dates"


def test_verdicts_allow_for_the_number_of_agents(rows: dict[str, Row]) -> None:
    """Of 40 agents that are buy and hold with noise, two alone would be said to differ; together none may."""
    base, rng = rows["buy and hold"], np.random.default_rng(1)
    market = dataclasses.replace(base, starts=[100 * number for number in range(EPISODES)])
    noise = [rng.normal(0, 0.1, EPISODES) for _ in range(40)]
    noisy = [
        dataclasses.replace(market, agent=f"noise {n}", grades=(np.array(base.grades) + one).tolist())
        for n, one in enumerate(noise)
    ]
    better = dataclasses.replace(market, agent="better", grades=(np.array(base.grades) + noise[0] + 0.2).tolist())
    same = dataclasses.replace(market, agent="same")
    alone = [difference(row, market) for row in noisy]
    lucky = [one for one in alone if one.verdict != "not shown"]
    assert len(lucky) > 1
    assert all(one.excludes_zero == (one.p_value < 0.05) for one in alone)
    found = {one.row.agent: one for one in standings([market, *noisy, better, same])}
    assert found["better"].verdict == "above"
    assert (found["same"].verdict, found["buy and hold"].verdict) == ("same", "reference")
    assert {found[row.agent].verdict for row in noisy} == {"not shown"}
    # The interval stays what it is; what it alone would say is told, and that it does not stand.
    judged_one = found[lucky[0].first].difference
    assert judged_one
    assert judged_one.interval == lucky[0].interval
    assert sentence(judged_one).endswith(
        "not shown: the interval leaves 0 out, but not once the number of comparisons is allowed for"
    )
    assert sentence(lucky[0]).endswith(("shown to be above", "shown to be below"))


def test_p_values_are_adjusted_by_holm_over_what_is_compared(rows: dict[str, Row]) -> None:
    one = difference(rows["momentum"], rows["buy and hold"])
    same, unknown = difference(rows["hold"], rows["hold"]), dataclasses.replace(one, p_value=np.nan)
    values = [0.04, 0.011, 0.03, 0.5]
    found = judged([*(dataclasses.replace(one, p_value=value) for value in values), same, unknown])
    assert [each.p_value for each in found[:4]] == pytest.approx([0.09, 0.044, 0.09, 0.5])
    assert [each.verdict for each in found[4:]] == ["same", "too few dates"]
    side = "above" if one.interval.value > 0 else "below"
    assert [each.verdict for each in found[:4]] == ["not shown", side, "not shown", "not shown"]
    assert judged([]) == []


def test_one_pair_has_one_verdict(rows: dict[str, Row]) -> None:
    """Where it stands in two families, the one that allows for more."""
    market, momentum, hold = rows["buy and hold"], rows["momentum"], rows["hold"]
    one = dataclasses.replace(difference(momentum, market), p_value=0.001)
    other = dataclasses.replace(difference(momentum, hold), p_value=0.3)
    found = [dataclasses.replace(each, difference=None) for each in standings([market, momentum])]
    found = [
        dataclasses.replace(each, difference=dataclasses.replace(one, p_value=0.2))
        if each.row.agent == "momentum"
        else each
        for each in found
    ]
    told, compared = agreed(found, [one, other])
    assert [each.p_value for each in compared] == [0.2, 0.3]
    assert {each.row.agent: each.verdict for each in told} == {"buy and hold": "reference", "momentum": "not shown"}
    told, compared = agreed(told, [dataclasses.replace(one, p_value=0.7)])
    assert [each.difference.p_value for each in told if each.difference] == [0.7]


def test_fewer_episodes_are_compared_on_those_that_both_have(rows: dict[str, Row]) -> None:
    base = rows["hold"]
    few = dataclasses.replace(base, grades=[grade + 0.1 for grade in base.grades[:9]], starts=base.starts[:9])
    assert difference(few, base).episodes == 9
    assert difference(few, base).interval.value == pytest.approx(0.1)


def test_rows_of_other_editions_or_episodes_are_never_compared(rows: dict[str, Row]) -> None:
    base = rows["hold"]
    for other in (
        moved(base, env_version="0.9.0"),
        moved(base, rules_hash="x"),
        moved(base, data_hash="x"),
        moved(base, seed=6),
        dataclasses.replace(base, starts=base.starts[1:] + base.starts[:1]),
    ):
        with pytest.raises(RunError, match="did not play the same episodes"):
            difference(other, rows["random"])


def test_episodes_needed_span_the_measured_deviations(rows: dict[str, Row]) -> None:
    found = standings(list(rows.values()))
    deviations = [one.difference.deviation for one in found if one.difference]
    assert needed(found, 0.02) == (episodes_needed(0.02, min(deviations)), episodes_needed(0.02, max(deviations)))
    assert needed(standings([rows["buy and hold"]]), 0.02) is None
    same = dataclasses.replace(rows["buy and hold"], agent="same")
    assert needed(standings([rows["buy and hold"], same]), 0.02) is None
