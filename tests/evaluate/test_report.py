"""report.html: complete, self-contained, and no text becomes markup."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import evaluations as fake
import numpy as np
import pytest
from matplotlib.colors import to_hex

from tradeschool.evaluate import charts, training_curves
from tradeschool.evaluate.charts import task_figure
from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.comparison import Comparison, Interval
from tradeschool.evaluate.report import write_report
from tradeschool.tasks.base import Figure
from tradeschool.trace import Trace

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>"
TRAINING: dict[str, list[dict[str, Any]]] = {
    "sft": [{"step": i, "loss": 2.0 / (i + 1)} for i in range(20)],
    "grpo": [
        {
            "step": i,
            "reward": 0.01 * i,
            "rewards/profit/mean": 0.02 * i,
            "rewards/format/mean": 1.0,
            "kl": 0.001 * i,
            "entropy": 1 - 0.01 * i,
            "zero_variance_groups": 0.1,
            "frac_reward_zero_std": 0.0,
            "answers/BUY": 0.5,
            "answers/HOLD": 0.5,
            "loss": None,
        }
        for i in range(20)
    ],
}

SIDES = (("BUY", 1.0), ("SELL", 0.0))


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def trace(policy: str, answer: str, **changes: Any) -> Trace:
    messages = [{"role": "user", "content": f"RSI 28.4 {EVIL}"}, {"role": "assistant", "content": answer}]
    fields: dict[str, Any] = {"rewards": {"decision": 1.0, "outcome": None}, "stop": "answered"} | changes
    return Trace("A@2020-01-01", "rating", policy, messages, **fields)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    questions = fake.evaluation_set(dates=60, tickers=4)
    return compare(questions, fake.field(questions, grpo=0.7))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, comparison: Comparison) -> tuple[str, Page]:
    return write(tmp_path_factory.mktemp("report"), comparison)


def write(tmp_path: Path, comparison: Comparison, **changes: Any) -> tuple[str, Page]:
    parts: dict[str, Any] = {
        "title": "demo",
        "training": TRAINING,
        "warnings": ["KL is high."],
        "samples": [
            trace("grpo", "[[[BUY]]]", metrics={"correct": 1.0}),
            trace("grpo", "[[[SELL]]]", metrics={"correct": 0.0}),
        ],
        "manifest": {"seed": 7, "data": "abc123"},
    }
    write_report(tmp_path / "report.html", comparison, **(parts | changes))
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(html)
    return html, page


def test_the_page_holds_all_its_parts(written: tuple[str, Page], comparison: Comparison) -> None:
    _, page = written
    for row in comparison.rows:
        assert row.sentence in page.text
    for part in ("Learned something", "KL is high.", "Sharpe", "[[[BUY]]]", "abc123", "Entropy", "19 optimizer steps."):
        assert part in page.text, part
    labels = [value for name, value in page.attributes if name == "aria-label"]
    for label in (
        "Capital after costs",
        "% of the best possible score by policy",
        "Answers of grpo over time",
        "Training curves of all stages",
        "loss during sft",
        "reward during grpo",
        "Answers during grpo",
    ):
        assert label in labels


def test_the_page_needs_nothing_from_outside(written: tuple[str, Page]) -> None:
    html, page = written
    assert not {"script", "link", "iframe", "img"} & set(page.tags)
    assert all(
        (value or "").startswith("#") for name, value in page.attributes if name in ("href", "src", "xlink:href")
    )
    assert not re.search(r"url\((?!#)", html)
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html


def test_ids_of_charts_do_not_collide(written: tuple[str, Page]) -> None:
    _, page = written
    clips = [value for name, value in page.attributes if name == "id" and value and re.match(r"p[0-9a-f]{8}", value)]
    assert len(clips) > 3
    assert len(clips) == len(set(clips))


def test_hostile_text_stays_text(tmp_path: Path, comparison: Comparison) -> None:
    rows = [
        row.model_copy(update={"policy": f"{row.policy} {EVIL} $x_{{1}}$", "differences": []})
        for row in comparison.rows
    ]
    hostile = comparison.model_copy(
        update={
            "rows": rows,
            "best_baseline": rows[0].policy,
            "warnings": [EVIL],
            "evaluation": comparison.evaluation.model_copy(update={"market": EVIL}),
        }
    )
    html, page = write(
        tmp_path,
        hostile,
        title=EVIL,
        warnings=[EVIL],
        training={EVIL: TRAINING["grpo"], "sft": [{"step": i, f"rewards/{EVIL}/mean": 1.0} for i in range(3)]},
        samples=[trace(EVIL, EVIL, stop="parse_error", error=EVIL, rewards={EVIL: 1.0})],
        manifest={EVIL: EVIL},
    )
    assert not {"script", "img"} & set(page.tags)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "<script" not in html
    assert EVIL in page.text
    assert "unreadable" in page.text


def test_a_task_brings_figures_of_its_own(tmp_path: Path, comparison: Comparison) -> None:
    def paint(axes: Any, values: Any) -> None:
        axes.plot(values["grpo"]["score"].mean(1))

    drawn = task_figure(Figure("Daily score", paint), {"grpo": {"score": np.ones((5, 2))}})
    _, page = write(tmp_path, comparison, figures=[("Daily score", drawn)])
    assert "Daily score" in page.text


def test_a_run_without_training_or_samples_has_a_page(tmp_path: Path, comparison: Comparison) -> None:
    _, page = write(tmp_path, comparison, training=None, samples=[], warnings=[])
    assert "Training:" not in page.text
    assert "Example answers" not in page.text


# what a reader could take for something else


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[str, str, Any]]]:
    """By chart: label, colour and dashes of each line."""
    found: dict[str, list[tuple[str, str, Any]]] = {}

    def draw(paint: Any, label: str, size: Any = None) -> str:
        from matplotlib.figure import Figure as Canvas

        axes = Canvas().add_subplot()
        paint(axes)
        drawn: list[Any] = list(axes.lines)
        # The pattern of dashes as it is drawn, since names of patterns may mean the same.
        found[label] = [(one.get_label(), one.get_color(), one._unscaled_dash_pattern) for one in drawn]
        return f"<svg aria-label='{label}'></svg>"

    monkeypatch.setattr(charts, "draw", draw)
    return found


def training_of(*components: str) -> list[dict[str, Any]]:
    return [{"step": i, "reward": 1.0, **{f"rewards/{name}/mean": 0.1 * i for name in components}} for i in range(5)]


@pytest.mark.parametrize("count", [6, 40])
def test_no_two_lines_of_a_chart_look_the_same(lines: Any, count: int) -> None:
    names = [f"part{n}" for n in range(count)]
    charts.training_charts("grpo", training_of(*names), dict.fromkeys(names, 1.0), ())
    (drawn,) = lines.values()
    assert [name for name, *_ in drawn] == ["reward, weighted", *(f"{name} (weight 1)" for name in names)]
    assert len({(colour, str(dashes)) for _, colour, dashes in drawn}) == 1 + count


def test_no_two_policies_look_the_same(lines: Any, comparison: Comparison) -> None:
    kinds = ("naive", "rule", "base", "trained", "decisions", "best")
    made = comparison.rows[0]
    rows = [made.model_copy(update={"policy": f"{kind}{n}", "kind": kind}) for kind in kinds for n in range(12)]
    rows = [row for row in rows if row.kind != "best" or row.policy == "best0"]
    charts.equity_chart(rows, comparison.evaluation.dates)
    (drawn,) = lines.values()
    assert len({(colour, str(dashes)) for _, colour, dashes in drawn}) == len(drawn) == 61


@pytest.mark.parametrize("count", [3, 6, 12])
def test_no_two_classes_of_answers_have_one_colour(count: int) -> None:
    colours = charts.class_colours([*(f"C{n}" for n in range(count)), "unreadable"])
    assert len({to_hex(one) for one in colours}) == count + 1


def test_components_of_weight_0_are_drawn_apart(lines: Any) -> None:
    training = training_of("profit", "decision", "outcome")
    drawn = dict(charts.training_charts("grpo", training, {"profit": 1.0, "decision": 0.0}, ()))
    assert "Recorded, but not trained on (weight 0)" in drawn
    names = {chart: [name for name, *_ in found] for chart, found in lines.items()}
    assert names == {
        "reward during grpo": ["reward, weighted", "profit (weight 1)"],
        "components of weight 0 during grpo": ["decision", "outcome"],
    }
    lines.clear()
    charts.training_charts("grpo", training, {}, ())
    assert list(lines) == ["reward during grpo"]  # nothing is known of the weights


def test_answers_keep_their_order_in_the_charts_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    stacked: list[list[str]] = []
    monkeypatch.setattr(charts, "_stack", lambda axes, x, shares, names: stacked.append(list(names)))
    steps = [{"step": i, "answers/BUY": 0.5, "answers/HOLD": 0.2, "answers/SELL": 0.3} for i in range(3)]
    charts.training_charts("grpo", steps, {}, ("SELL", "HOLD", "BUY", "unreadable"))
    assert stacked == [["SELL", "HOLD", "BUY", "unreadable"]]


def test_samples_say_what_is_right(tmp_path: Path, comparison: Comparison, lines: Any) -> None:
    samples = [
        trace("grpo", "[[[BUY]]]", action="BUY", label="SELL", metrics={"correct": 0.0}, rewards={"profit": 1.477}),
        trace("grpo", "[[[BUY]]]", action="BUY", label="BUY", metrics={"correct": 1.0}, rewards={"outcome": 0.5}),
        trace("grpo", "[[[7]]]", action="7", metrics={"correct": 0.0}, rewards={}),
    ]
    manifest = {"recipe": {"task": {"weights": {"profit": 1.0}}}}
    html, page = write(tmp_path, comparison, samples=samples, manifest=manifest)
    for text in (
        "label: SELL; answer: BUY",
        "profit +1.477",
        "label: BUY; answer: BUY",
        "not counted as correct",
        "outcome +0.500 (weight 0, not trained on)",
    ):
        assert text in page.text, text
    assert "profit +1.477 (weight" not in page.text
    assert not re.search(r">\s*(right|wrong)\s*<", html)


def test_every_training_stage_says_how_many_steps_it_took(tmp_path: Path, comparison: Comparison, lines: Any) -> None:
    stages = [{"stage": kind, "name": name} for kind, name in (("sft", "sft"), ("grpo", "rl"), ("ppo", "ppo"))]
    stages += [{"stage": "grpo", "name": "later"}, {"stage": "evaluate", "name": "evaluate"}]
    finished = [{"name": name} for name in ("sft", "rl", "ppo", "evaluate")]
    manifest = {"recipe": {"stages": stages}, "stages": finished}
    training = {"sft": [{"step": 1, "loss": 1.0}], "ppo": [{"step": 4096}, {"step": 8192, "n_updates": 20}]}
    html, _ = write(tmp_path, comparison, training=training, manifest=manifest)
    text = " ".join(re.sub("<.*?>", " ", html).split())
    for part in (
        "Training: sft 1 optimizer step.",
        "Training: rl No optimizer step: the weights are those that it began with.",
        "Training: ppo 8,192 decisions, learned from in 20 epochs.",
    ):
        assert part in text, part
    assert "Training: later" not in text  # it has not begun
    assert "Training: evaluate" not in text


def test_what_rejection_sampling_chose_is_shown_before_and_after(tmp_path: Path, comparison: Comparison) -> None:
    rows: list[dict[str, Any]] = [
        {"step": i, "reward": 0.1 * i, "kept_reward": 0.5, "acceptance": 0.2, "rewards/profit/mean": 0.1}
        for i in range(3)
    ]
    whole = {"questions": 2000, "answers": 16000, "kept": 1900, "questions_kept": 1900, "reward_spread": 0.25}
    sides = {"before/reward": 0.125, "after/reward": 0.5, "before/rewards/profit": -0.25, "after/rewards/profit": 0.75}
    shares = {"before/parse_errors": 0.04, "after/parse_errors": 0.0, "before/answers/STRONG_BUY": 0.25}
    rows.append({"step": 2, **whole, **sides, **shares})
    stages = [{"stage": "reject", "name": "chosen"}]
    html, page = write(tmp_path, comparison, training={"chosen": rows}, manifest={"recipe": {"stages": stages}})
    text = " ".join(re.sub("<.*?>", " ", html).split())
    assert "Rejection sampling: chosen" in text
    assert "16,000 answers to 2,000 questions. Kept: 1,900 (11.9%), to 1,900 questions." in text
    assert "part of the difference is luck" in text
    for row in ("reward, weighted 0.125 0.500", "profit -0.250 0.750", "unreadable, % 4.0 0.0", "strong buy, % 25.0 -"):
        assert row in text, row
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert {"reward during chosen", "share of the answers that were kept during chosen"} <= set(labels)
    assert "Training curves of all stages" not in labels  # one stage has them


def test_the_curves_of_all_stages_stand_one_after_the_other(lines: Any) -> None:
    chosen = [{"step": i, "reward": 1.0 * i, "kept_reward": 2.0} for i in range(4)]
    grpo = [{"step": i, "reward": 0.5, "loss": 0.1} for i in range(2)]
    training: Any = {"sft": TRAINING["sft"], "chosen": chosen, "grpo": grpo, "evaluate": []}
    svg = training_curves.curves(training)
    for word in ("sft", "chosen", "grpo", "reward", "loss"):
        assert f">{word}<" in svg
    assert ">evaluate<" not in svg
    assert training_curves.curves({"sft": TRAINING["sft"]}) == ""
    assert training_curves.curves({"sft": TRAINING["sft"]}, fewest=1)


def widths(html: str) -> list[int]:
    """Of every table, in characters: the longest line of each column, and the padding of cells as two."""
    found = []
    for table in re.findall(r"<table.*?</table>", html, flags=re.DOTALL):
        rows = [re.findall(r"<t[hd].*?</t[hd]>", row, flags=re.DOTALL) for row in re.findall(r"<tr.*?</tr>", table)]
        columns = zip(*rows, strict=True)
        found.append(sum(2 + max(len(line) for cell in column for line in cell_lines(cell)) for column in columns))
    return found


def cell_lines(cell: str) -> list[str]:
    """The lines that a cell cannot break into shorter ones."""
    if "words" in cell or cell.startswith("<th"):
        return re.sub(r"<.*?>", "", cell).split()
    return [re.sub(r"<.*?>", "", line) for line in cell.split('<span class="low-high">')]


def test_tables_fit_a_screen_of_1280_pixels(tmp_path: Path, comparison: Comparison, lines: Any) -> None:
    extra = [dataclasses.replace(comparison.metrics[0], key=f"m{n}", label=f"metric {n}") for n in range(20)]
    figures = {metric.key: Interval(value=-1234.567, low=-12345.678, high=12345.678) for metric in extra}
    rows = [row.model_copy(update={"metrics": {**row.metrics, **figures}}) for row in comparison.rows]
    update = {"rows": rows, "metrics": [*comparison.metrics, *extra]}
    for found in (comparison, comparison.model_copy(update=update)):
        html, page = write(tmp_path, found)
        # 1,086 pixels inside the page's margins, at the 7.5 of the widest usual font of this size.
        assert max(widths(html)) <= 1086 / 7.5
        assert all(metric.label in page.text for metric in found.metrics if metric.key in rows[-1].metrics)


def test_the_same_comparison_writes_the_same_page(
    tmp_path: Path, comparison: Comparison, written: tuple[str, Page]
) -> None:
    assert write(tmp_path, comparison)[0] == written[0]
