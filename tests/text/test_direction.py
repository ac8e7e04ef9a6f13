"""Calls: one scale of confidence, what is refused, and that formatting is the inverse of parsing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tradeschool.errors import ParseError
from tradeschool.text.direction import DIRECTIONS, Call, format_call, justification_of, parse_call

reasoning = st.text().filter(lambda text: "think>" not in text)
calls = st.builds(Call, st.sampled_from(DIRECTIONS), st.floats(0, 1000), st.floats(0, 1))
WORDS = "<think> </think> Direction: Magnitude: Confidence: UP DOWN 85% .85 1.5 nan -0.2 1e400 1,000 ** ٣"
UNREADABLE = "1.5 1 1.0 -0.2 +.85 nan NaN none inf 1e400 1e-1 101% 250 8,5% 85%% 50-60% 1,000 ٨٥"
pieces = st.lists(st.sampled_from(WORDS.split()) | st.sampled_from(["\n", " ", "9" * 400]) | st.text(max_size=3)).map(
    "".join
)


def answer(direction: str = "UP", magnitude: str = "1.5%", confidence: str = "65%", more: str = "") -> str:
    return f"<think>x</think>\nMagnitude: {magnitude}\nDirection: {direction}\nConfidence: {confidence}{more}"


@given(call=calls, thought=reasoning)
@example(call=Call("UP", 0.1 + 0.2, 0.55), thought="Direction: DOWN\nConfidence: 3%")
@example(call=Call("DOWN", 5e-324, 5e-324), thought="")
def test_parse_is_the_inverse_of_format(call: Call, thought: str) -> None:
    assert parse_call(format_call(call, thought)) == call


def test_an_answer_looks_like_this() -> None:
    text = "<think>RSI low.</think>\nMagnitude: 1.5%\nDirection: UP\nConfidence: 55%"
    assert format_call(Call("UP", 1.5, 0.55), "RSI low.") == text


@given(text=st.text() | pieces)
def test_arbitrary_text_is_read_or_refused(text: str) -> None:
    try:
        call = parse_call(text)
    except ParseError:
        return  # any other error fails the test
    assert call.direction in DIRECTIONS
    assert 0 <= call.magnitude <= 1000
    assert 0 <= call.confidence <= 1


@pytest.mark.parametrize("text", ["85%", ".85", "0.85", "85", "85.0", "85 %", "85.0%.", "**85%**"])
def test_all_ways_to_write_a_confidence_are_one_scale(text: str) -> None:
    assert parse_call(answer(confidence=text)).confidence == 0.85


@pytest.mark.parametrize(("text", "value"), [("100%", 1.0), ("1%", 0.01), ("0", 0.0), ("1.5%", 0.015), ("2", 0.02)])
def test_the_ends_of_the_scale(text: str, value: float) -> None:
    assert parse_call(answer(confidence=text)).confidence == value


@pytest.mark.parametrize("text", [*UNREADABLE.split(), "", "about 60%", "60% or 70%"])
def test_other_confidences_are_unreadable(text: str) -> None:
    with pytest.raises(ParseError, match=r"[Cc]onfidence"):
        parse_call(answer(confidence=text))


@pytest.mark.parametrize("text", ["1.5", "1.5%", "+1.5%", "1.50 %"])
def test_a_magnitude_is_in_percent(text: str) -> None:
    assert parse_call(answer(magnitude=text)).magnitude == 1.5
    assert parse_call(answer("DOWN", "-1.5%")).magnitude == 1.5


@pytest.mark.parametrize("text", ["-1.5%", "1,500%", "$2", "2 points", "nan", "1e400", "1001%", "", "1-2%", "15bps"])
def test_other_magnitudes_are_unreadable(text: str) -> None:
    with pytest.raises(ParseError, match="agnitude"):
        parse_call(answer(magnitude=text))


@pytest.mark.parametrize("text", ["UP or DOWN", "sideways", "UPWARD", "", "UP DOWN"])
def test_other_directions_are_unreadable(text: str) -> None:
    with pytest.raises(ParseError, match="direction"):
        parse_call(answer(text))


def test_case_and_markdown_do_not_matter() -> None:
    text = "- **Direction:** up\n* Magnitude: 2%\n__Confidence__: 0.7"
    assert parse_call(text) == Call("UP", 2.0, 0.7)


def test_a_line_missing_or_repeated_is_refused() -> None:
    for label in ("Direction", "Magnitude", "Confidence"):
        lines = [line for line in answer().splitlines() if not line.startswith(label)]
        with pytest.raises(ParseError, match=label):
            parse_call("\n".join(lines))
        twice = next(line for line in answer().splitlines() if line.startswith(label))
        with pytest.raises(ParseError, match="two lines"):
            parse_call(f"{answer()}\n{twice}")


def test_the_other_direction_beside_the_forecast_is_ambiguous() -> None:
    with pytest.raises(ParseError, match="ambiguous"):
        parse_call(answer(more="\nIt may as well go DOWN."))
    assert parse_call(answer(more="\nThe trend was down, it turns UP.")).direction == "UP"


def test_the_justification_is_the_answer_without_the_forecast() -> None:
    assert justification_of(answer(more="\nRSI 28.4.")) == "<think>x</think>\nRSI 28.4."


def test_the_probability_of_up_is_one_less_the_confidence_in_down() -> None:
    assert Call("UP", 1.0, 0.7).probability == 0.7
    assert Call("DOWN", 1.0, 0.7).probability == pytest.approx(0.3)
