"""An episode as a conversation: the rules once, then a message a day, short enough that many fit into a context."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator

from tradeschool.env.config import EnvConfig
from tradeschool.env.facts import HOLDING, MARKET, Fact
from tradeschool.env.observation import HEADING, NOT_TRADED
from tradeschool.errors import did_you_mean

Form = Literal["text", "table", "numbers"]
"""``text`` puts its label before every figure, ``table`` gives labels once in the first message, ``numbers`` gives the
same figures without labels and words: the numeric observation, written out."""
_ACCOUNT = re.compile(r"day (\d+) of (\d+), cash (-?\d+)%, equity (-?[\d.]+)%(?:, (\d+) refused)?")
FACTS: tuple[str, ...] = tuple(fact.name for fact in MARKET[1:])
"""The market's figures that a message may hold, in their order."""


def _known(names: list[str]) -> list[str]:
    for name in names:
        if name not in FACTS:
            raise ValueError(f"has '{name}', but facts are {', '.join(FACTS)}.{did_you_mean(name, FACTS)}")
    return names


Facts = Annotated[list[str], AfterValidator(_known)]
"""As a recipe names them."""


def opening(config: EnvConfig, form: Form = "text", facts: Sequence[str] = FACTS) -> str:
    """The first message, of the system: what is traded, how orders are written, how the days are shown."""
    stocks = "one stock" if config.tickers == 1 else f"{config.tickers} stocks"
    where = "" if config.tickers == 1 else " STOCK"
    short = " SELL without a holding opens a short." if config.short else ""
    rules = (
        f"Trade {stocks} for {config.days} days. Answer every day with orders, one a line: "
        f"BUY{where} FRACTION of the cash, SELL{where} FRACTION of the holding, or HOLD.{short} "
        "Orders fill at the next open, with costs."
    )
    if form != "table":
        return rules
    return "\n".join([rules, " ".join(["stock", *(fact.label for fact in (*_shown(facts), *HOLDING))])])


def first_messages(
    config: EnvConfig, observation: str, form: Form = "text", facts: Sequence[str] = FACTS
) -> list[dict[str, str]]:
    """What every episode begins with: the rules and the first day."""
    return [
        {"role": "system", "content": opening(config, form, facts)},
        {"role": "user", "content": turn(observation, form, facts)},
    ]


def turn(observation: str, form: Form = "text", facts: Sequence[str] = FACTS) -> str:
    """The message of a day, written from the text observation: account, what the broker told, a line per stock.

    ``facts`` are the market's figures that are told; the account's and the holding's always are.
    """
    lines = observation.split("\n")
    heading = lines.index(HEADING)
    account, told, stocks = lines[0].replace(" of the start", ""), lines[1:heading], lines[heading + 1 :]
    if form == "numbers":
        figures = _ACCOUNT.search(account)
        assert figures, account
        return "\n".join(
            [" ".join(figure or "0" for figure in figures.groups()), *(_stock(line, form, facts) for line in stocks)]
        )
    return "\n".join([account, *told, *(_stock(line, form, facts) for line in stocks)])


def _shown(facts: Sequence[str]) -> list[Fact]:
    return [fact for fact in MARKET[1:] if fact.name in facts]


def _stock(line: str, form: Form, facts: Sequence[str]) -> str:
    name, _, rest = line.partition(" ")
    if rest.startswith(NOT_TRADED):
        figures, holding = [], rest[len(NOT_TRADED) :].split()
    else:
        words = rest.split()
        told = zip(MARKET[1:], words, strict=False)
        figures = [_figure(fact, word, form) for fact, word in told if fact.name in facts]
        holding = words[len(MARKET) - 1 :]
    if form == "numbers" and not holding:
        holding = ["0"] * len(HOLDING)
    held = [_figure(fact, word, form) for fact, word in zip(HOLDING, holding, strict=False)]
    if rest.startswith(NOT_TRADED):
        figures = [NOT_TRADED] if form != "numbers" else ["-"] * len(_shown(facts))
    return " ".join([name, *figures, *held])


def _figure(fact: Fact, word: str, form: Form) -> str:
    """A word of the observation's line, with its label or without anything."""
    if form == "table":
        return word
    if form == "numbers":
        return word.partition("(")[0]
    label, unit = (fact.label[:-1], "%") if fact.label.endswith("%") else (fact.label, "")
    figure, bracket, remark = word.partition("(")
    return f"{label} {figure}{unit if figure != '-' else ''}{' (' if bracket else ''}{remark}"
