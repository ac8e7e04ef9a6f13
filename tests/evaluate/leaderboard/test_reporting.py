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
from boards import TEXT, played
from made_boards import DAYS, TWO_STEPS, model, row, rules, run_folder, talk
from rich.console import Console
from typer.testing import CliRunner

from tradeschool import pipeline
from tradeschool.cli import app
from tradeschool.errors import RunError
from tradeschool.evaluate import charts as evaluate_charts
from tradeschool.evaluate.leaderboard import charts
from tradeschool.evaluate.leaderboard.reporting import write_index
from tradeschool.evaluate.leaderboard.talks import meetings, read_talks, side
from tradeschool.evaluate.run_report import report_leaderboard, report_run
from tradeschool.recipe import read
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
    """Eleven episodes; on the last ones ``better`` counts most."""
    answers = [f"<think>{agent} thinks</think>\nBUY 1", "HOLD", "HOLD", "HOLD"]
    return [talk(agent, n, 0.4 + better * n / 10, *answers, **changes) for n in range(11)]


ROWS = [
    *rules(macd=-0.1),
    row("ppo", -0.2, settings={"agent": "zip"}),
    model("untrained", -0.3),
    model("sft", -0.1),
    model("grpo", 0.05),
]
TRACES = {"untrained": episodes("untrained"), "sft": episodes("sft", 0.1), "grpo": episodes("grpo", 0.3)}


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

    for module in (charts, evaluate_charts):
        monkeypatch.setattr(module, "draw", draw)


def page(folder: Path) -> Page:
    return Page(report_run(folder, Console(quiet=True)))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = run_folder(tmp_path / "run", ROWS, TRACES)
    (folder / "2-grpo").mkdir()
    (folder / "2-grpo" / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in METRICS))
    return folder


def test_the_page_of_a_run_holds_all_its_parts(run: Path, drawn: None) -> None:
    found = page(run)
    for part in (
        "tradeschool: episodes",
        "GRPO beat SFT.",
        "grpo is better than buy and hold",
        "60 episodes of 1 stock and 4 days",
        "they begin in 60 blocks of 8 days",
        "agent on numbers",
        "version 1.0.0, rules aaaaaaaaaaaaaaaa",
        "hash cccccccccccccccc",
        "7 to 66",
        "run 7",
        "grpo thinks",
        "BUY 1",
        "Where grpo gained most on untrained: +0.30 in grade",
        "Training: grpo",
    ):
        assert part in found.text, part
    for label in (
        "Mean grades, board",
        "Grade less that of buy and hold, board",
        "Mean equity, board",
        "reward during grpo",
        "grade, 0 to 1 during grpo",
        "Orders during grpo",
        "KL divergence during grpo",
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
    rows = [
        *rules(),
        row(f"{EVIL} $x_{{1}}$", -0.1),
        model(EVIL),
        model(name, 0.1, figures={EVIL: 3.0, "unread": 0.5}),
    ]
    said = [talk(name, n, 0.4, EVIL, f"<think>{EVIL}</think>BUY 1", told=EVIL, stop="answered") for n in range(3)]
    said = [dataclasses.replace(one, key=EVIL + one.key, rewards={EVIL: 0.5}) for one in said]
    folder = run_folder(tmp_path / "run", rows, stages=stages, name=EVIL)
    write_traces(
        folder / "3-board" / f"traces-{''.join(c if c.isalnum() or c in '-_.' else '-' for c in name)}.jsonl", said
    )
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
    ("rows", "stages", "lead"),
    [
        ([*rules(), model("untrained", -0.1), model("sft")], TWO_STEPS[:1], "SFT beat the untrained model."),
        ([*rules(), model("untrained", -0.1)], (), "The untrained model is worse than buy and hold"),
        (rules(macd=-0.1), (), "No language model played"),
    ],
    ids=["without grpo", "one model", "rules alone"],
)
def test_runs_with_less_have_a_page(rows: Any, stages: Any, lead: str, tmp_path: Path) -> None:
    found = page(run_folder(tmp_path / "run", rows, {"untrained": episodes("untrained")}, stages=stages))
    assert lead in found.text
    assert "GRPO" not in found.text
    assert ("Its best episode" in found.text) == any(one.agent == "untrained" for one in rows)


def test_rows_without_equity_by_day_are_told(tmp_path: Path) -> None:
    rows = [dataclasses.replace(one, path=[]) for one in ROWS]
    found = page(run_folder(tmp_path / "run", rows, TRACES))
    assert "These rows hold no equity by day" in found.text
    assert "Mean equity, board" not in found.labels


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
    ("how", "said"),
    [
        ("missing", "traces-grpo.jsonl is missing"),
        ("broken", "traces-grpo.jsonl, line 2: not a trace"),
        ("messages", "traces-grpo.jsonl, episode 2: not a conversation"),
        ("bytes", "traces-grpo.jsonl cannot be read"),
    ],
)
def test_traces_that_cannot_be_read_are_told_and_the_rest_is_shown(how: str, said: str, run: Path) -> None:
    spoil(run, how)
    console = Console(record=True, width=300)
    found = Page(report_run(run, console))
    assert "No conversation of grpo is shown: " in found.text
    assert said in found.text
    assert said in console.export_text()
    assert "GRPO beat SFT." in found.text
    assert "sft thinks" in found.text
    assert "grpo thinks" not in found.text


def test_conversations_of_another_agent_of_that_name_are_not_shown(run: Path) -> None:
    other = [dataclasses.replace(one, versions={"agent_hash": "other"}) for one in TRACES["grpo"]]
    write_traces(run / "3-board" / "traces-grpo.jsonl", other)
    found = page(run)
    assert "is of another agent of the name grpo" in found.text
    assert "grpo thinks" not in found.text


def test_the_rule_that_the_stage_chose_on_earlier_rows_is_the_one_compared_with(run: Path) -> None:
    path = run / "3-board" / "leaderboard.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["best_rule"] = {"agent": "macd", "split": "validation", "episodes": 12}
    path.write_text(json.dumps(content), encoding="utf-8")
    text = page(run).text
    assert "The best of the 2 rules on the validation part (12 episodes) was macd, grade 0.475 here" in text
    assert "grpo is better than it: +0.150" in text


@pytest.mark.parametrize("content", ["{", '{"rows": []}', '{"standings": [{}]}'])
def test_a_damaged_leaderboard_is_named_with_the_cure(content: str, run: Path) -> None:
    (run / "3-board" / "leaderboard.json").write_text(content)
    with pytest.raises(RunError, match=r"leaderboard.json cannot be read .* Remove it and .*done.json, and resume"):
        report_run(run, Console(quiet=True))


def test_rows_that_are_gone_are_named(run: Path) -> None:
    (run / "3-board" / "rows.json").unlink()
    with pytest.raises(RunError, match=r"rows.json has no row"):
        report_run(run, Console(quiet=True))


def test_a_leaderboard_that_is_gone_is_told(run: Path) -> None:
    (run / "3-board" / "leaderboard.json").unlink()
    with pytest.raises(RunError, match=r"no stage has left a leaderboard.json"):
        report_leaderboard(run, Console(quiet=True))


# the command report


def test_the_command_writes_the_page_and_prints_the_table(run: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(run)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert f"Report: {run / 'report.html'}" in result.output
    assert "GRPO beat SFT." in result.output
    assert "macd" in result.output
    assert (run / "report.html").exists()


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (TWO_STEPS, "its recipe has the stages sft, grpo, and a report tells of an evaluation or a leaderboard"),
        ((*TWO_STEPS, {"stage": "leaderboard", "name": "b"}), "no leaderboard stage has finished"),
        (({"stage": "evaluate", "name": "e"},), "no evaluate stage has finished"),
    ],
)
def test_a_run_with_nothing_to_report_is_told_why(stages: Sequence[dict[str, Any]], said: str, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", stages=stages)
    result = CliRunner().invoke(app, ["report", str(folder)])
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output
    assert ("tradeschool resume" in result.output) == (said.startswith("no "))
    assert not (folder / "report.html").exists()


def test_of_several_leaderboards_the_last_stands_first(run: Path) -> None:
    own = run / "10-final"
    own.mkdir()
    for name in ("rows.json", "leaderboard.json"):
        (own / name).write_bytes((run / "3-board" / name).read_bytes())
    found = page(run)
    assert re.findall(r'<h2 class="board">(.*?)</h2>', found.html) == ["final", "board"]
    assert found.text.count("GRPO beat SFT.") == 2


def test_at_the_end_of_a_run_no_table_is_printed_twice(run: Path) -> None:
    console = Console(record=True, width=200)
    report_leaderboard(run, console)
    said = console.export_text()
    assert "GRPO beat SFT." in said
    assert "verdict" not in said


def test_a_run_that_ends_in_a_leaderboard_has_a_report_in_the_end(tmp_path: Path) -> None:
    stage = {"stage": "leaderboard", "name": "leaderboard", "episodes": 12, "rules": ["macd"], "untrained": False}
    sets = ("market={source: practice, tickers: 3, days: 400}", f"stages=[{json.dumps(stage)}]")
    console = Console(record=True, width=200)
    folder = pipeline.run(read(EPISODES, sets), tmp_path / "run", console)
    assert "No language model played" in Page(folder / "report.html").text
    said = console.export_text()
    assert f"Report: {folder / 'report.html'}" in said
    assert said.count("less buy and hold") == 1
    (folder / "report.html").unlink()
    pipeline.resume(folder, None, Console(quiet=True))
    assert (folder / "report.html").exists()


# episodes that are shown


def test_shown_are_the_best_a_middling_and_the_worst_against_the_first(tmp_path: Path) -> None:
    for name, own in TRACES.items():
        write_traces(tmp_path / f"traces-{name}.jsonl", own)
    found = meetings([read_talks(tmp_path, name) for name in TRACES])
    assert [one.key for one in found] == ["Easy#10", "Easy#5", "Easy#0"]
    assert [talk.agent for talk in found[0].talks] == ["untrained", "sft", "grpo"]
    assert {talk.trace.key for talk in found[1].talks} == {"Easy#5"}


def test_only_episodes_that_all_have_played_are_shown(tmp_path: Path) -> None:
    write_traces(tmp_path / "traces-a.jsonl", TRACES["sft"][:1])
    write_traces(tmp_path / "traces-b.jsonl", TRACES["grpo"])
    found = meetings([read_talks(tmp_path, name) for name in "ab"])
    assert [one.key for one in found] == ["Easy#0"]


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
def test_an_answer_is_parted_into_thought_and_order(
    answer: str, thought: str, order: str, name: str, tmp_path: Path
) -> None:
    write_traces(tmp_path / "traces-a.jsonl", [talk("a", 0, 0.5, *[answer] * DAYS)])
    day = read_talks(tmp_path, "a")[0].days[-1]
    assert (day.thought, day.order, day.side) == (thought, order, name)
    assert side(order) == name
    assert day.told == "day 3, RSI 30"


# the command leaderboard


def test_the_index_shows_every_board_and_why_others_are_missing(recipe: Any, tmp_path: Path, drawn: None) -> None:
    made = recipe("levels=[Easy, Hard]", "markets.other={tickers: 3, days: 400}")
    folder = tmp_path / "out"
    found = Page(write_index(folder, "mine", played(made, folder)))
    for part in ("small, Easy", "other, Easy", "small, Hard", "Not played. ", "Mean grades"):
        assert part in found.text, part
    assert "Mean equity, small, Easy" in found.labels
    assert len(found.labels) == len(set(found.labels))


def test_older_editions_are_kept_apart(recipe: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    played(recipe(), folder)
    found = Page(write_index(folder, "mine", played(recipe("seed=5"), folder)))
    assert "another edition, not to be compared with the above: it differs in: data, seed" in found.text
    assert found.text.count("momentum") > 1


def test_the_command_says_where_the_page_is(tmp_path: Path) -> None:
    from textwrap import dedent

    path = tmp_path / "mine.yaml"
    path.write_text(dedent(TEXT), encoding="utf-8")
    out = tmp_path / "rows"
    result = CliRunner().invoke(app, ["leaderboard", str(path), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert f"Page: {out / 'index.html'}" in result.output
    assert "small, Easy" not in Page(out / "index.html").text  # one board needs no heading of its own
    assert "is shown to be better than buy and hold" in Page(out / "index.html").text
