"""Progress: plain lines with the time left where there is no terminal, a bar where there is one."""

import io
import logging

import pytest
from rich.console import Console

from tradeschool.progress import PlainProgress, duration, is_live, progress, quiet_libraries, status


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "\r" not in text
    assert "\x1b" not in text
    return text.splitlines()


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=40)


def test_a_line_each_tenth_with_the_time_left_and_one_at_the_end(console: Console) -> None:
    clock = Clock()
    with PlainProgress(console, clock) as bar:
        task = bar.add_task("sft", total=100, unit="steps", figures="")
        for step in range(1, 101):
            clock.now += 2
            bar.update(task, completed=step, figures=f"loss {1 / step:.3f}")
    found = lines(console)
    assert len(found) == 10
    assert found[0] == "sft: 10 of 100 steps (10%), 0:03:00 left, loss 0.100"
    assert found[8] == "sft: 90 of 100 steps (90%), 20 s left, loss 0.011"
    assert found[9] == "sft: 100 of 100 steps (100%), took 0:03:20, loss 0.010"


def test_slow_steps_are_reported_every_half_minute_and_fast_ones_once(console: Console) -> None:
    clock = Clock()
    with PlainProgress(console, clock) as bar:
        task = bar.add_task("grpo", total=1000, figures="")
        for _ in range(4):
            clock.now += 31
            bar.advance(task)
        fast = bar.add_task("asking sft", total=4, unit="questions", figures="")
        for _ in range(4):
            clock.now += 0.1
            bar.advance(fast)
    found = lines(console)
    assert found[0] == "grpo: 1 of 1,000 (0%), 8:36:09 left"
    assert found[4:] == ["asking sft: 4 of 4 questions (100%), took 0 s"]


def test_what_a_resumed_stage_had_done_does_not_shorten_the_time_left(console: Console) -> None:
    clock = Clock()
    with PlainProgress(console, clock) as bar:
        task = bar.add_task("sft", total=100, completed=50, unit="steps", figures="")
        clock.now += 40
        bar.update(task, completed=60)
    assert lines(console) == ["sft: 60 of 100 steps (60%), 0:02:40 left"]


def test_a_phase_is_named_once(console: Console) -> None:
    with status(console, "Reading [the] market"):
        assert lines(console) == ["Reading [the] market ..."]
    assert len(lines(console)) == 1


def test_a_file_is_no_terminal_whatever_the_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not is_live(Console(file=io.StringIO()))
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    shown = Console(file=terminal, force_terminal=True)
    assert is_live(shown)
    assert not isinstance(progress(shown), PlainProgress)


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (59.6, "0:01:00"), (3725, "1:02:05")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_warnings_about_the_libraries_themselves_are_left_out() -> None:
    from transformers.utils import logging as transformers_logging

    quiet_libraries()
    stream = io.StringIO()
    handler = next(one for one in logging.getLogger("transformers").handlers if type(one) is logging.StreamHandler)
    before = handler.setStream(stream)
    try:
        logger = transformers_logging.get_logger("transformers.trainer_utils")
        logger.warning("mtime may not be reliable on this filesystem")
        logger.warning("Some weights were not initialized")
    finally:
        handler.setStream(before or handler.stream)
    assert "mtime" not in stream.getvalue()
    assert "Some weights were not initialized" in stream.getvalue()
    assert logging.getLogger("httpx").level == logging.WARNING
