"""Traces in and out of JSON lines."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradeschool.errors import RunError
from tradeschool.trace import Trace, read_traces, write_traces

_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_TRACES = st.builds(
    Trace,
    key=_TEXT,
    task=_TEXT,
    policy=_TEXT,
    messages=st.lists(st.fixed_dictionaries({"role": _TEXT, "content": _TEXT}), max_size=3),
    rewards=st.dictionaries(_TEXT, st.none() | _NUMBERS, max_size=3),
    stop=st.sampled_from(["answered", "parse_error", "max_turns", "max_tokens", "bankrupt"]),
    action=st.none() | _TEXT,
    error=st.none() | _TEXT,
    metrics=st.dictionaries(_TEXT, _NUMBERS, max_size=3),
    versions=st.dictionaries(_TEXT, _TEXT, max_size=3),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(_TRACES, max_size=4))
def test_what_is_written_is_read_back(tmp_path: Path, traces: list[Trace]) -> None:
    path = tmp_path / "traces.jsonl"
    assert write_traces(path, traces) == len(traces)
    assert list(read_traces(path)) == traces


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    write_traces(path, [Trace("a", "t", "p", [], {}, "answered")])
    with path.open("a", encoding="utf-8") as file:
        file.write('{"key": "b", "task"\n')
    with pytest.raises(RunError, match=r"traces\.jsonl, line 2: not a trace"):
        list(read_traces(path))


@pytest.mark.parametrize("line", ['{"key": "b"}', "[1, 2]", "3"])
def test_json_that_is_not_a_trace_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(RunError, match="line 1: not a trace"):
        list(read_traces(path))


def test_unknown_keys_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    write_traces(path, [Trace("a", "t", "p", [], {}, "answered")])
    text = path.read_text(encoding="utf-8").replace('{"key"', '{"mood": "new", "key"')
    path.write_text(text, encoding="utf-8")
    assert [trace.key for trace in read_traces(path)] == ["a"]


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_traces(tmp_path / "traces.jsonl", [Trace("a", "t", "p", [], {"profit": float("nan")}, "answered")])
