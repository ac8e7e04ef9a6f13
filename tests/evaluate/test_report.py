"""report.html: complete, self-contained, and no text becomes markup."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import evaluations as fake
import numpy as np
import pytest

from tradeschool.evaluate.charts import task_figure
from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.comparison import Comparison
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
    return compare(questions, fake.field(questions, grpo=0.7), seed=0, draws=150)


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
    for part in ("Learned something", "KL is high.", "Sharpe", "[[[BUY]]]", "right", "wrong", "abc123", "Entropy"):
        assert part in page.text, part
    labels = [value for name, value in page.attributes if name == "aria-label"]
    for label in (
        "Capital after costs",
        "% of the best possible score by policy",
        "Answers of grpo over time",
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
            "reference": rows[0].policy,
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
    _, page = write(tmp_path, comparison, training={"sft": []}, samples=[], warnings=[])
    assert "Training:" not in page.text
    assert "Example answers" not in page.text


def test_the_same_comparison_writes_the_same_page(
    tmp_path: Path, comparison: Comparison, written: tuple[str, Page]
) -> None:
    assert write(tmp_path, comparison)[0] == written[0]
