"""Results, the file they are kept in, and their ranking: intervals, paired differences, verdicts."""

import dataclasses
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graded import grade_interval, paired, paired_interval
from markets import market

from tradeschool.env.config import ENV_VERSION
from tradeschool.env.grading import Record, play
from tradeschool.env.market_data import MarketData
from tradeschool.env.strategies import make_strategy
from tradeschool.env.trading_env import TradingEnv
from tradeschool.errors import RunError
from tradeschool.evaluate.comparison import Row
from tradeschool.evaluate.inference_cosine import episodes_needed
from tradeschool.evaluate.leaderboard.ranking import BestRule, Leaderboard, adjusted, difference, verdict_of
from tradeschool.evaluate.leaderboard.results import AgentResult, BenchmarkSpec, ResultsStore, result_of

EPISODES = 40
Results = dict[str, AgentResult]


@pytest.fixture(scope="module")
def env() -> TradingEnv:
    return TradingEnv(MarketData(market(tickers=6, days=700)), rows=(100, 690), observation="numeric")


@pytest.fixture(scope="module")
def records(env: TradingEnv) -> dict[str, list[Record]]:
    return {
        name: play(make_strategy(name), env, EPISODES, 5) for name in ("buy and hold", "momentum 5d", "random", "hold")
    }


@pytest.fixture(scope="module")
def results(env: TradingEnv, records: dict[str, list[Record]]) -> Results:
    benchmark = BenchmarkSpec.of(env, 5)
    return {name: result_of(found, {"agent": name}, benchmark, 1.0) for name, found in records.items()}


def moved(result: AgentResult, **changes: Any) -> AgentResult:
    """The result as it would be on another benchmark."""
    return dataclasses.replace(result, benchmark=dataclasses.replace(result.benchmark, **changes))


def shifted(result: AgentResult, gain: Any, agent: str) -> AgentResult:
    """The result with grades higher by ``gain``."""
    return dataclasses.replace(result, agent=agent, grades=(np.array(result.grades) + gain).tolist())


def ranked(results: Iterable[AgentResult]) -> list[Row]:
    return Leaderboard.of("board", [*results]).rows


def test_a_result_holds_all_of_its_episodes(results: Results, records: dict[str, list[Record]]) -> None:
    result, found = results["random"], records["random"]
    assert result.starts == [record.start for record in found]
    assert result.refused == [record.refused for record in found]
    returns = [record.equity_D[-1] / record.equity_D[0] - 1 for record in found]
    assert result.returns == pytest.approx(returns, abs=1e-6)
    assert (result.agent, result.episodes, result.benchmark.seed, result.kind) == ("random", EPISODES, 5, "rule")
    weighted = 0.4 * np.array(result.parts["risk"]) + 0.3 * np.array(result.parts["pnl"])
    weighted += 0.15 * (np.array(result.parts["drawdown"]) + np.array(result.parts["activity"]))
    np.testing.assert_allclose(result.grades, weighted, atol=1e-5)


def test_a_benchmark_holds_all_that_decides_an_episode(env: TradingEnv) -> None:
    first = BenchmarkSpec.of(env, 5)
    assert (first.env_version, first.level, first.tickers, first.days) == (ENV_VERSION, "Easy", 1, 20)
    dates = env.data.panel.dates_T.astype("datetime64[D]")
    assert (first.first, first.last) == (str(dates[100]), str(dates[690]))
    assert BenchmarkSpec.of(TradingEnv(env.data, rows=(100, 690), observation="text"), 5) == first

    def other(**changes: Any) -> BenchmarkSpec:
        options: dict[str, Any] = {"rows": (100, 690), "observation": "numeric", **changes}
        return BenchmarkSpec.of(TradingEnv(options.pop("data", env.data), **options), 5)

    changed = {
        "seed": BenchmarkSpec.of(env, 6),
        "dates": other(rows=(101, 690)),
        "level": other(commission=0.001),
        "data": other(data=market(tickers=6, days=700, seed=9)),
    }
    assert len({first, *changed.values()}) == 5
    assert {words: spec.differs_in(first) for words, spec in changed.items()} == {words: words for words in changed}


# the file


def test_results_are_read_as_they_were_written(tmp_path: Path, results: Results) -> None:
    store = ResultsStore(tmp_path / "a.json")
    for result in results.values():
        store.put(result)
    assert ResultsStore(tmp_path / "a.json").results == list(results.values())
    lines = (tmp_path / "a.json").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line.rstrip(","))["agent"] for line in lines[1:-1]] == list(results)


def test_a_new_result_replaces_the_same_agents_on_the_same_benchmark(tmp_path: Path, results: Results) -> None:
    store, hold = ResultsStore(tmp_path / "a.json"), results["hold"]
    old = moved(hold, env_version="0.9.0")
    other = dataclasses.replace(hold, identity={"agent": "hold", "versions": {}})
    for result in (old, hold, other, results["random"], dataclasses.replace(hold, seconds=9.0)):
        store.put(result)
    kept = ResultsStore(tmp_path / "a.json")
    assert [(one.agent, one.benchmark.env_version, one.seconds) for one in kept.results] == [
        ("hold", "0.9.0", 1.0),
        ("hold", ENV_VERSION, 1.0),
        ("random", ENV_VERSION, 1.0),
        ("hold", ENV_VERSION, 9.0),
    ]
    assert kept.find("hold", old.benchmark, old.identity) == old
    assert kept.find("hold", other.benchmark, other.identity) == other
    assert kept.find("momentum 5d", old.benchmark, old.identity) is None
    assert kept.find("hold", old.benchmark, other.identity) is None
    # Of one name on one benchmark, the newest counts.
    assert [(one.agent, one.seconds) for one in kept.on(hold.benchmark)] == [("random", 1.0), ("hold", 9.0)]
    assert kept.benchmarks() == [hold.benchmark, old.benchmark]


def test_the_file_is_replaced_at_once(tmp_path: Path, results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultsStore(tmp_path / "a.json")
    store.put(results["hold"])
    before = (tmp_path / "a.json").read_bytes()

    def full(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        store.put(results["random"])
    assert (tmp_path / "a.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:-40], "is damaged"),
        (lambda text: text.replace('"starts"', '"begins"'), "is damaged"),
        (lambda text: "[]", "is damaged"),
    ],
)
def test_a_damaged_file_is_named_with_a_cure(tmp_path: Path, results: Results, change: Any, words: str) -> None:
    path = tmp_path / "a.json"
    ResultsStore(path).put(results["hold"])
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(RunError, match=words) as raised:
        ResultsStore(path)
    assert "Move it away" in str(raised.value)


# ranking


def test_intervals_are_those_of_the_records(results: Results, records: dict[str, list[Record]]) -> None:
    rows = ranked(results.values())
    by_name = {row.policy: row for row in rows}
    for name, found in records.items():
        expected = grade_interval(found)
        assert by_name[name].metrics["grade"].model_dump() == pytest.approx(expected.model_dump(), abs=2e-6)
        for gap in by_name[name].differences:
            expected = paired_interval(found, records["buy and hold"])
            assert gap.interval.model_dump() == pytest.approx(expected.model_dump(), abs=2e-6)
    assert by_name["buy and hold"].verdict == "reference"
    assert by_name["buy and hold"].differences == []
    assert len(by_name["hold"].differences) == 1
    grades = [row.metrics["grade"].value for row in rows]
    assert grades == sorted(grades, reverse=True)


def test_a_difference_is_shown_if_its_interval_excludes_0(results: Results) -> None:
    base = results["hold"]
    better = shifted(base, 0.1, "better")
    noisy = shifted(base, np.random.default_rng(0).normal(0, 0.3, 40), "noisy")
    assert verdict_of(difference(better, base)) == "better"
    assert verdict_of(difference(base, better)) == "worse"
    assert difference(noisy, base).interval.value * difference(base, noisy).interval.value < 0
    assert verdict_of(difference(noisy, base)) == verdict_of(difference(base, noisy)) == "not shown"
    assert verdict_of(difference(base, base)) == "same"
    starts = [7] * EPISODES
    together = dataclasses.replace(base, starts=starts)
    assert verdict_of(difference(dataclasses.replace(noisy, starts=starts), together)) == "too few dates"
    assert verdict_of(difference(together, together)) == "same"


def test_verdicts_allow_for_the_number_of_agents(results: Results) -> None:
    """Of 40 agents that are buy and hold plus noise, at least two differ by themselves; together none may."""
    rng = np.random.default_rng(1)
    base = dataclasses.replace(results["buy and hold"], starts=[100 * number for number in range(EPISODES)])
    noise = [rng.normal(0, 0.1, EPISODES) for _ in range(40)]
    noisy = [shifted(base, one, f"noise {n}") for n, one in enumerate(noise)]
    better, same = shifted(base, noise[0] + 0.2, "better"), dataclasses.replace(base, agent="same")
    alone = [difference(one, base) for one in noisy]
    lucky = [one for one in alone if verdict_of(one) != "not shown"]
    assert len(lucky) > 1
    assert all(one.interval.excludes_zero == (one.p_value < 0.05) for one in alone)
    found = {row.policy: row for row in ranked([base, *noisy, better, same])}
    assert found["better"].verdict == "better"
    assert (found["same"].verdict, found["buy and hold"].verdict) == ("same", "reference")
    assert {found[one.agent].verdict for one in noisy} == {"not shown"}
    (judged,) = found[lucky[0].policy].differences
    assert judged.interval == lucky[0].interval


def test_p_values_are_adjusted_by_holm_over_what_is_compared(results: Results) -> None:
    one = difference(results["momentum 5d"], results["buy and hold"])
    same = difference(results["hold"], results["hold"])
    values = [0.04, 0.011, 0.03, 0.5, math.nan]
    found = adjusted([*(one.model_copy(update={"p_value": value}) for value in values), same])
    assert [each.p_value for each in found[:4]] == pytest.approx([0.09, 0.044, 0.09, 0.5])
    side = "better" if one.interval.value > 0 else "worse"
    verdicts = ["not shown", side, "not shown", "not shown", "too few dates", "same"]
    assert [verdict_of(each) for each in found] == verdicts
    assert adjusted([]) == []


def test_a_pair_in_two_groups_has_the_larger_p_value(results: Results) -> None:
    """The model's difference to buy and hold is one of four among the rows, and alone among those of models."""
    market = results["buy and hold"]
    model = dataclasses.replace(shifted(results["random"], 0.12, "grpo"), identity={"agent": "model"})
    found = Leaderboard.of("board", [*results.values(), model], {"grpo": ""}, best_rule=BestRule(market.agent))
    (pair,) = (one for one in found.compared if one.policy == "grpo")
    (row,) = (row for row in found.rows if row.policy == "grpo")
    together = adjusted([difference(one, market) for one in (*results.values(), model) if one is not market])
    assert difference(model, market).p_value < together[-1].p_value
    assert pair.p_value == row.p_value == row.differences[0].p_value == together[-1].p_value
    assert row.verdict == verdict_of(pair)


def test_fewer_episodes_are_compared_on_those_that_both_have(results: Results) -> None:
    base = results["hold"]
    few = dataclasses.replace(shifted(base, 0.1, "few"), starts=base.starts[:9])
    few = dataclasses.replace(few, grades=few.grades[:9])
    assert difference(few, base).interval.value == pytest.approx(0.1)
    assert difference(base, few).interval.value == pytest.approx(-0.1)


def test_results_of_other_benchmarks_or_episodes_are_never_compared(results: Results) -> None:
    base = results["hold"]
    for other in (
        moved(base, env_version="0.9.0"),
        moved(base, settings_hash="x"),
        moved(base, data_hash="x"),
        moved(base, seed=6),
        dataclasses.replace(base, starts=base.starts[1:] + base.starts[:1]),
    ):
        with pytest.raises(RunError, match="--again"):
            difference(other, results["random"])


def test_episodes_needed_span_the_measured_deviations(results: Results, records: dict[str, list[Record]]) -> None:
    market = results["buy and hold"]
    others = [found for name, found in records.items() if name != "buy and hold"]
    deviations = [paired(found, records["buy and hold"]).std(ddof=1) for found in others]
    expected = episodes_needed(0.02, min(deviations)), episodes_needed(0.02, max(deviations))
    same = [market, dataclasses.replace(market, agent="same")]
    assert Leaderboard.of("board", [*results.values()]).range_needed(0.02) == expected
    assert Leaderboard.of("board", [market]).range_needed(0.02) is None
    assert Leaderboard.of("board", same).range_needed(0.02) is None
