"""Recipes as text: what YAML 1.2 reads, what is refused, and that writing loses nothing."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool.config.document import parse_scalar, read_draft, read_mapping, to_yaml
from tradeschool.errors import RecipeError

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(["1e3", "NO", "on", "0700", "~", "<<", "2015-01-01", "1_000", "1:30", ".5", "0x1F", "=", ""])
    | st.dates().map(str)
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("5E4", 5e4),
        ("-.5", -0.5),
        ("+3", 3),
        ("true", True),
        ("NO", "NO"),
        ("on", "on"),
        ("0700", 700),
        ("'1e-3'", "1e-3"),
        ("1:30", "1:30"),
        ("2015-01-01", "2015-01-01"),
        ("", None),
        ("[a, 1e2]", ["a", 100.0]),
    ],
)
def test_scalars_are_read_as_people_mean_them(text: str, value: Any) -> None:
    read = parse_scalar(text)
    assert read == value
    assert type(read) is type(value)


@given(_VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert parse_scalar(to_yaml({"key": value})) == {"key": value}


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        parse_scalar(text)
    except RecipeError as error:
        assert str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", ["line 3", "'a' is given twice", "Keep one"]),
        ("a: [1, 2\nb: 3\n", ["line 2", "bracket"]),
        ("a:\n\tb: 1\n", ["line 2", "tab", "spaces"]),
        ("a: b: c\n", ["line 1", "indentation"]),
        ("a: &x [*x]\n", ["contains itself"]),
        ("- a\n- b\n", ["no 'key: value' lines"]),
        ("", ["no 'key: value' lines"]),
    ],
)
def test_a_wrong_file_gives_file_line_and_cure(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as raised:
        read_mapping(path)
    for word in ["broken.yaml", *words]:
        assert word in str(raised.value)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(RecipeError, match="UTF-8"):
        read_mapping(tmp_path / "broken.yaml")


def test_every_key_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# first\na:\n  b: 1\nstages:\n  - {stage: sft}\n  - stage: grpo\n    steps: 3\n", encoding="utf-8")
    _, lines = read_mapping(path)
    assert lines[("a", "b")] == 3
    assert lines[("stages", 0, "stage")] == 5
    assert lines[("stages", 1, "steps")] == 7


def test_aliases_of_aliases_are_refused_before_they_are_expanded(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(RecipeError, match="without aliases"):
        read_mapping(path)


def test_a_few_aliases_are_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("a: &a {x: 1}\nb: *a\nc: [*a, *a]\n", encoding="utf-8")
    value, lines = read_mapping(path)
    assert value == {"a": {"x": 1}, "b": {"x": 1}, "c": [{"x": 1}, {"x": 1}]}
    assert lines[("b", "x")] == 1


def test_an_option_changes_one_place_of_an_alias_alone(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("a: &a {x: 1}\nb: *a\n", encoding="utf-8")
    draft = read_draft(path)
    draft.lay(["b.x=2"])
    assert draft.document == {"a": {"x": 1}, "b": {"x": 2}}


def test_a_file_too_large_for_a_recipe_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(b"a: 1\n" * 300_000)
    with pytest.raises(RecipeError, match="1,500,000 bytes, so it is not a recipe"):
        read_mapping(path)
