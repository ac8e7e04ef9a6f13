"""Quotations, sources and copied passages, looked up in a prompt."""

from tradeschool.text.citations import PromptIndex, grams_of, words_of

DATA = """## Facts
Strength -1.3 (very weak)
RSI 28.4 (oversold)
News 2d ago: Profit misses forecasts

## News
0-3 days old (2 of 9):
- 2d ago: Profit misses forecasts, outlook cut [Wire]
- today: The board meets

## Prices
day: open, high, low
-1: 101, 102.5, 99
+0: 100, 101, 98.2

## Insider
nothing known"""
INDEX = PromptIndex(DATA, "Rate one stock for the coming days.")


def test_words_keep_signs_and_decimals_and_drop_punctuation() -> None:
    assert words_of('- "RSI" 28.4 (oversold). It\'s -1.3%, not +1.3%...') == [
        "rsi", "28.4", "oversold", "its", "-1.3%", "not", "+1.3%",
    ]  # fmt: skip
    assert words_of("- ** | ` -") == []
    assert words_of("1,200 shares — sold") == ["1", "200", "shares", "sold"]


def test_quotations_stand_in_one_line_of_data() -> None:
    assert INDEX.find("RSI 28.4 (oversold)")[0].sources == {"facts"}
    assert INDEX.find("profit misses FORECASTS, outlook cut")[0].sources == {"news", "wire"}
    assert len(INDEX.find("Profit misses forecasts")) == 2
    assert INDEX.find("+0: 100, 101")
    for absent in (
        "RSI 28.4",  # two words
        "RSI 28.5 (oversold)",
        "Strength 1.3 (very weak)",  # another sign
        "very weak RSI",  # across lines
        "0-3 days old",  # a heading
        "open, high, low",  # names of columns
        "Rate one stock for the coming days",  # the instructions
        "nothing known here",
        "",
    ):
        assert not INDEX.find(absent), absent


def test_sources_are_sections_with_data_and_publishers() -> None:
    assert INDEX.sources == {"facts", "news", "wire", "prices"}


def test_copied_passages() -> None:
    assert INDEX.copied(grams_of(words_of("Rate one stock for the coming days"))) == 1
    assert INDEX.copied(grams_of(words_of("The price fell far below what its sales would justify"))) == 0
    assert INDEX.copied(set()) == 0
