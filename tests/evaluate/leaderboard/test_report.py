"""Reports of leaderboards: complete, without anything from outside, and no text in them becomes markup."""

import dataclasses
import json
import re
from collections.abc import Sequence
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from boards import played
from made_boards import DAYS, TWO_STEPS, model, result, rules, run_folder, trace
from rich.console import Console
from typer.testing import CliRunner

from tradeschool import pipeline
from tradeschool.cli.main import app
from tradeschool.config.recipe import read
from tradeschool.errors import RunError
from tradeschool.evaluate import charts
from tradeschool.evaluate.leaderboard.report import compare_episodes, write_index
from tradeschool.evaluate.leaderboard.results import traces_path
from tradeschool.evaluate.page import turns_of
from tradeschool.evaluate.report import report_leaderboard, report_run
from tradeschool.trace import Trace, write_traces

EPISODES = Path(__file__).parents[3] / "recipes" / "episodes.yaml"
EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>"
METRICS = [
    {
        "step": n,
        "reward": 0.1 * n,
        "rewards/grade/mean": 0.5,
        "answers/HOLD": 0.5,
        "answers/BUY": 0.3,
        "answers/SELL": 0.2,
        "parse_errors": 0.0,
        "kl": 0.01 * n,
        "entropy": 1.0,
    }
    for n in range(10)
]


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def labels(self) -> list[str | None]:
        return [value for name, value in self.attributes if name == "aria-label"]


def episodes(agent: str, better: float = 0.0, **changes: Any) -> list[Trace]:
    """Eleven episodes; ``better`` counts most on the last ones."""
    answers = [f"<think>{agent} thinks</think>\nBUY 1", "HOLD", "HOLD", "HOLD"]
    return [trace(agent, n, 0.4 + better * n / 10, *answers, **changes) for n in range(11)]


RESULTS = [
    *rules(macd=-0.1),
    result("ppo", -0.2, identity={"agent": "zip"}),
    model("base model (tiny)", -0.3),
    model("sft", -0.1),
    model("grpo", 0.05),
]
TRACES = {
    "base model (tiny)": episodes("base model (tiny)"),
    "sft": episodes("sft", 0.1),
    "grpo": episodes("grpo", 0.3),
}


@pytest.fixture
def drawn() -> None:
    """Asked for by tests that look at the charts themselves."""


@pytest.fixture(autouse=True)
def plain_charts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts as their labels alone, but where they are what is tested: each takes a tenth of a second to draw."""
    if "drawn" in request.fixturenames:
        return

    def draw(paint: Any, label: str, size: Any = None) -> str:
        return f'<svg aria-label="{escape(label)}"></svg>'

    monkeypatch.setattr(charts, "draw", draw)


def page(folder: Path) -> Page:
    return Page(report_run(folder, Console(quiet=True)))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = run_folder(tmp_path / "run", RESULTS, TRACES)
    (folder / "2-grpo").mkdir()
    (folder / "2-grpo" / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in METRICS))
    return folder


def test_the_page_of_a_run_holds_all_its_parts(run: Path, drawn: None) -> None:
    found = page(run)
    for part in (
        "tradeschool: episodes",
        "grpo beat sft:",
        "grpo beat buy and hold:",
        "60 episodes of 1 stock and 4 days",
        "60 blocks of 8 days",
        "numeric agent",
        "version 1.0.0",
        "hash cccccccccccccccc",
        "7 to 66",
        "Training: grpo",
        "9 optimizer steps.",
        "grpo thinks",
        "BUY 1",
        "Largest gain of grpo over base model (tiny): +0.30",
    ):
        assert part in found.text, part
    for label in (
        "mean grade of an episode, 0 to 1 by policy: board",
        "grade minus that of buy and hold, same episodes by policy: board",
        "Capital after costs: board",
        "reward during grpo",
        "Answers during grpo",
        "KL to the reference during grpo",
    ):
        assert label in found.labels, label


def test_the_page_needs_nothing_from_outside(run: Path, drawn: None) -> None:
    found = page(run)
    assert not {"script", "link", "iframe", "img"} & set(found.tags)
    assert all(
        (value or "").startswith("#") for name, value in found.attributes if name in ("href", "src", "xlink:href")
    )
    assert not re.search(r"url\((?!#)", found.html)
    assert "prefers-color-scheme: dark" in found.html
    ids = [value for name, value in found.attributes if name == "id" and value and re.match(r"p[0-9a-f]{8}", value)]
    assert len(ids) == len(set(ids)) > 3


def test_hostile_text_stays_text(tmp_path: Path, drawn: None) -> None:
    name = f"grpo {EVIL}"
    stages = [{"stage": "sft", "name": EVIL}, {"stage": "grpo", "name": name}]
    results = [
        *rules(),
        result(f"{EVIL} $x_{{1}}$", -0.1),
        model(EVIL),
        model(name, 0.1, figures={EVIL: 3.0, "unread": 0.5}),
    ]
    traces = [trace(name, n, 0.4, EVIL, f"<think>{EVIL}</think>BUY 1", message=EVIL) for n in range(3)]
    traces = [dataclasses.replace(one, key=EVIL + one.key, rewards={EVIL: 0.5}) for one in traces]
    folder = run_folder(tmp_path / "run", results, stages=stages, name=EVIL)
    write_traces(traces_path(folder / "3-board", name), traces)
    (folder / "2-x").mkdir()
    (folder / "2-x" / "metrics.jsonl").write_text(
        json.dumps({"step": 1, "reward": 1.0, f"answers/{EVIL}": 0.99}) + "\n"
    )
    found = page(folder)
    assert not {"script", "img"} & set(found.tags)
    assert not any(name.startswith("on") for name, _ in found.attributes)
    assert "<script" not in found.html
    assert found.text.count(EVIL) > 10
    assert f"99% of the answers were {EVIL}" in found.text


@pytest.mark.parametrize(
    ("results", "stages", "lead"),
    [
        ([*rules(), model("base model (tiny)", -0.1), model("sft")], TWO_STEPS[:1], "sft beat base model (tiny):"),
        ([*rules(), model("base model (tiny)", -0.1)], (), "worse than buy and hold"),
        (rules(macd=-0.1), (), "No language model"),
    ],
    ids=["without grpo", "one model", "rules alone"],
)
def test_runs_with_less_have_a_page(results: Any, stages: Any, lead: str, tmp_path: Path) -> None:
    found = page(
        run_folder(tmp_path / "run", results, {"base model (tiny)": episodes("base model (tiny)")}, stages=stages)
    )
    assert lead in found.text
    assert "grpo" not in found.text
    assert ("Best grade" in found.text) == any(one.agent == "base model (tiny)" for one in results)


# what cannot be read


def spoil(run: Path, how: str) -> None:
    path = run / "3-board" / "traces-grpo.jsonl"
    text = path.read_text(encoding="utf-8")
    if how == "missing":
        path.unlink()
    elif how == "bytes":
        path.write_bytes(b"\xff\xfe" + text.encode())
    else:
        line = {"broken": "{", "messages": text.splitlines()[0].replace('[{"role"', '["x", {"role"')}[how]
        path.write_text("\n".join([text.splitlines()[0], line]), encoding="utf-8")


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("missing", "traces-grpo.jsonl cannot be read"),
        ("broken", "traces-grpo.jsonl, line 2: not a trace"),
        ("messages", "traces-grpo.jsonl cannot be read"),
        ("bytes", "traces-grpo.jsonl cannot be read"),
    ],
)
def test_traces_that_cannot_be_read_are_named_and_the_rest_is_shown(how: str, text: str, run: Path) -> None:
    spoil(run, how)
    found = page(run)
    assert "No transcript of grpo is shown: " in found.text
    assert text in found.text
    assert "grpo beat sft:" in found.text
    assert "sft thinks" in found.text
    assert "grpo thinks" not in found.text


def test_transcripts_of_another_agent_of_that_name_are_not_shown(run: Path) -> None:
    other = [dataclasses.replace(one, versions={"agent_hash": "other"}) for one in TRACES["grpo"]]
    write_traces(run / "3-board" / "traces-grpo.jsonl", other)
    found = page(run)
    assert "is of another agent named grpo" in found.text
    assert "grpo thinks" not in found.text


def test_models_are_compared_with_the_rule_that_the_stage_chose(run: Path) -> None:
    path = run / "3-board" / "leaderboard.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["best_rule"] = {"agent": "macd", "split": "validation", "episodes": 12}
    path.write_text(json.dumps(content), encoding="utf-8")
    text = page(run).text
    assert "The best rule on the validation dates (12 episodes) was macd." in text
    assert "grpo beat macd: grade 0.625 against 0.475" in text


@pytest.mark.parametrize("content", ["{", "[]", '{"rows": [{}]}'])
def test_a_damaged_leaderboard_is_named_with_the_cure(content: str, run: Path) -> None:
    (run / "3-board" / "leaderboard.json").write_text(content)
    with pytest.raises(RunError, match=r"leaderboard.json or .* cannot be read .* Remove .*done.json, and resume"):
        report_run(run, Console(quiet=True))


def test_rows_that_are_gone_are_named(run: Path) -> None:
    (run / "3-board" / "results.json").unlink()
    with pytest.raises(RunError, match=r"results.json cannot be read"):
        report_run(run, Console(quiet=True))


def test_a_leaderboard_that_is_gone_is_named(run: Path) -> None:
    (run / "3-board" / "leaderboard.json").unlink()
    with pytest.raises(RunError, match=r"no stage has written leaderboard.json"):
        report_leaderboard(run, Console(quiet=True))


# the command report


def test_the_command_writes_the_page_and_prints_the_table(run: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(run)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert f"Report: {run / 'report.html'}" in result.output
    assert "grpo beat sft:" in result.output
    assert "macd" in result.output
    assert (run / "report.html").exists()


@pytest.mark.parametrize(
    ("stages", "text"),
    [
        (TWO_STEPS, "its recipe has the stages sft, grpo"),
        ((*TWO_STEPS, {"stage": "leaderboard", "name": "b"}), "no leaderboard stage has finished"),
        (({"stage": "evaluate", "name": "e"},), "no evaluate stage has finished"),
    ],
)
def test_a_run_with_nothing_to_report_is_refused(stages: Sequence[dict[str, Any]], text: str, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", stages=stages)
    result = CliRunner().invoke(app, ["report", str(folder)])
    assert result.exit_code == 2
    assert text in result.output
    assert "Traceback" not in result.output
    assert ("tradeschool resume" in result.output) == (text.startswith("no "))
    assert not (folder / "report.html").exists()


def test_of_several_leaderboards_the_last_stands_first(run: Path) -> None:
    own = run / "10-final"
    own.mkdir()
    for name in ("results.json", "leaderboard.json"):
        (own / name).write_bytes((run / "3-board" / name).read_bytes())
    found = page(run)
    assert re.findall(r'<h2 class="board">(.*?)</h2>', found.html) == ["final", "board"]
    assert found.text.count("grpo beat sft:") == 2


def test_at_the_end_of_a_run_no_table_is_printed_twice(run: Path) -> None:
    console = Console(record=True, width=200)
    report_leaderboard(run, console)
    text = console.export_text()
    assert "grpo beat sft:" in text
    assert "policy" not in text


def test_a_run_that_ends_in_a_leaderboard_has_a_report_in_the_end(tmp_path: Path) -> None:
    stage = {"stage": "leaderboard", "name": "leaderboard", "episodes": 12, "rules": ["macd"], "base": False}
    sets = ("market={source: synthetic, tickers: 3, days: 400}", f"stages=[{json.dumps(stage)}]")
    console = Console(record=True, width=200)
    folder = pipeline.run(read(EPISODES, sets), tmp_path / "run", console)
    assert "No language model" in Page(folder / "report.html").text
    text = console.export_text()
    assert f"Report: {folder / 'report.html'}" in text
    assert text.count("at 5% for all rows") == 1
    (folder / "report.html").unlink()
    pipeline.resume(folder, None, Console(quiet=True))
    assert (folder / "report.html").exists()


# episodes that are shown


def test_the_best_median_and_worst_episodes_are_shown() -> None:
    found = compare_episodes(TRACES)
    assert [[one.key for one in own] for _, own in found] == [[f"Easy#{n}"] * 3 for n in (10, 5, 0)]
    assert [one.policy for one in found[0][1]] == ["base model (tiny)", "sft", "grpo"]


def test_only_episodes_that_all_played_are_shown() -> None:
    ((_, own),) = compare_episodes({"a": TRACES["sft"][:1], "b": TRACES["grpo"]})
    assert [one.key for one in own] == ["Easy#0", "Easy#0"]


@pytest.mark.parametrize(
    ("answer", "thought", "order", "name"),
    [
        ("<think>up</think>\nBUY 1", "up", "BUY 1", "BUY"),
        ("sell S1 0.5; buy S2", "", "sell S1 0.5; buy S2", "BUY"),
        ("<think>never closed BUY 1", "", "<think>never closed BUY 1", "unreadable"),
        ("HOLD", "", "HOLD", "HOLD"),
        ("", "", "", "unreadable"),
        ("I would BUY", "", "I would BUY", "unreadable"),
    ],
)
def test_an_answer_is_split_into_thought_and_order(answer: str, thought: str, order: str, name: str) -> None:
    day = turns_of(trace("a", 0, 0.5, *[answer] * DAYS))[-1]
    assert (day.thought, day.answer, day.style) == (thought, order, name)
    assert day.message == "day 3, RSI 30"


# the command leaderboard


def test_the_index_shows_every_level_and_why_others_are_missing(recipe: Any, tmp_path: Path, drawn: None) -> None:
    made = recipe("levels=[Easy, Hard]", "markets.other={tickers: 3, days: 400}")
    folder = tmp_path / "out"
    found = Page(write_index(folder, "mine", played(made, folder)))
    for part in ("small, Easy", "other, Easy", "small, Hard", "Not played. ", "Mean grades"):
        assert part in found.text, part
    assert "Capital after costs: small, Easy" in found.labels
    assert len(found.labels) == len(set(found.labels))


def test_other_benchmarks_are_shown_apart(recipe: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    played(recipe(), folder)
    found = Page(write_index(folder, "mine", played(recipe("seed=5"), folder)))
    assert "differs in: seed" in found.text
    assert found.text.count("momentum 5d") > 1
