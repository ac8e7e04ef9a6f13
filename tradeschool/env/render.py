"""Observations as text, written from numbers.

:func:`observation_text` is the text of a text environment. :func:`day_message` has three shorter forms, for
conversations, where the rules come once, in :func:`system_message`.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator

from tradeschool.config.check import known_names
from tradeschool.env.config import EnvConfig
from tradeschool.env.features import HOLDING, MARKET, MAX_MESSAGES, PER_STOCK, UNKNOWN, Fact, G, H, M

OVERSOLD, OVERBOUGHT = 30.0, 70.0
HEADING = " ".join(["stock", *(fact.label for fact in (*MARKET[1:], *HOLDING))])
NOT_TRADED = "not traded"
EVERY_DAY = "Answer every day with orders, one a line"

Form = Literal["text", "table", "numbers"]
"""``text`` puts a label before every figure, ``table`` gives the labels once in the first message, ``numbers`` gives
the same figures without labels and words."""
Question = Literal["episode", "day", "stock"]
"""What one conversation is about: all days so far; the rules and today, since today's message has all that decides; or
one stock of today after another."""
FACTS: tuple[str, ...] = tuple(fact.name for fact in MARKET[1:])
"""The market's figures that a message can hold, in order."""


Facts = Annotated[list[str], AfterValidator(known_names("facts", FACTS))]
"""A list of facts in a recipe."""


class Observation(NamedTuple):
    """All that is observed at one close.

    Attributes:
        names: the stocks as orders name them.
        figures: the numeric observation, as ``features.names(len(names))`` lists it.
        days: decisions of the whole episode.
        date: today; empty where dates are hidden.
        messages: about orders that were refused, cut short and so on, on the last day.
    """

    names: Sequence[str]
    figures: Sequence[float]
    days: int
    date: str = ""
    messages: Sequence[str] = ()

    @property
    def day(self) -> int:
        """Decisions taken so far."""
        return self.days - int(self.figures[-2])

    @property
    def stocks(self) -> list[Sequence[float]]:
        """The figures of each stock: M of the market, then H of the holding."""
        return [self.figures[at : at + PER_STOCK] for at in range(0, len(self.figures) - G, PER_STOCK)]


def market_words(facts: Sequence[float]) -> str:
    """The market's figures of one stock, as its line in a table has them."""
    return " ".join(_stock([*facts, *[0.0] * H], "table", FACTS))


def holding_words(share: float, gain: float) -> list[str]:
    """The figures of a holding; none where nothing is held."""
    return [str(round(share)), str(round(gain))] if share or gain else []


def head_lines(observation: Observation, equity_of: str = "") -> list[str]:
    """The line about the account, and messages about orders; the first of them where there are many."""
    cash, equity, _, refused = observation.figures[-G:]
    text = f"day {observation.day} of {observation.days}, cash {round(cash)}%, equity {equity:.1f}%{equity_of}"
    text = f"{observation.date}, {text}" if observation.date else text
    shown, more = observation.messages[:MAX_MESSAGES], len(observation.messages) - MAX_MESSAGES
    lines = [f"{text}, {int(refused)} refused" if refused else text, *(f"! {message}" for message in shown)]
    return [*lines, f"! and {more} more"] if more > 0 else lines


def observation_text(observation: Observation, words: Sequence[str] | None = None) -> str:
    """The text of an observation: the account, messages about orders, a heading, a line per stock.

    A figure has the decimals of its :class:`~tradeschool.env.features.Fact`, "-" where it is not known. A stock without
    a bar today is "not traded". A line ends before ``held%`` where nothing is held.

    Args:
        observation: the numbers.
        words: :func:`market_words` of each stock, where the caller has them.
    """
    figures = observation.figures
    lines = [*head_lines(observation, " of the start"), HEADING]
    words = [market_words(stock[:M]) for stock in observation.stocks] if words is None else words
    stocks = zip(observation.names, words, figures[M:-G:PER_STOCK], figures[M + 1 : -G : PER_STOCK], strict=True)
    lines += [" ".join([name, known, *holding_words(share, gain)]) for name, known, share, gain in stocks]
    return "\n".join(lines)


def system_message(
    config: EnvConfig, form: Form = "text", facts: Sequence[str] = FACTS, question: Question = "episode"
) -> str:
    """The first message: what is traded, how orders are written, how the days are shown."""
    stocks = "one stock" if config.tickers == 1 else f"{config.tickers} stocks"
    where = "" if config.tickers == 1 or question == "stock" else " STOCK"
    power = "cash"
    if config.leverage > 1.0:
        power = f"buying power ({config.leverage:g} times the equity, less what is held)"
    short = " SELL without a holding opens a short." if config.short else ""
    rules = (
        f"Trade {stocks} for {config.days} days. {'Answer for each' if question == 'stock' else EVERY_DAY}: "
        f"BUY{where} FRACTION of the {power}, SELL{where} FRACTION of the holding, or HOLD.{short} "
        "Orders fill at the next open, with costs."
    )
    if form != "table":
        return rules
    shown = [fact for fact in MARKET[1:] if fact.name in facts]
    return "\n".join([rules, " ".join(["stock", *(fact.label for fact in (*shown, *HOLDING))])])


def day_message(observation: Observation, form: Form = "text", facts: Sequence[str] = FACTS) -> str:
    """The message of a day: the account, messages about orders, a line per stock.

    Args:
        observation: today's numbers.
        form: how they are written.
        facts: the market's figures that are shown. The account and the holdings always are.
    """
    head = head_lines(observation)
    if form == "numbers":
        cash, equity, _, refused = observation.figures[-G:]
        head = [f"{observation.day} {observation.days} {round(cash)} {equity:.1f} {int(refused)}"]
    stocks = zip(observation.names, observation.stocks, strict=True)
    return "\n".join([*head, *(" ".join([name, *_stock(stock, form, facts)]) for name, stock in stocks)])


def _stock(stock: Sequence[float], form: Form, facts: Sequence[str]) -> list[str]:
    """The words of a stock's line after its name."""
    shown = [(fact, value) for fact, value in zip(MARKET[1:], stock[1:M], strict=True) if fact.name in facts]
    held = holding_words(*stock[M:])
    if form == "numbers":
        figures = [_figure(fact, value if stock[0] else UNKNOWN) for fact, value in shown]
        return [*figures, *(held or ["0"] * len(HOLDING))]
    words = []
    for fact, value in shown if stock[0] else ():
        extreme = fact.name == "rsi_14" and value != UNKNOWN
        remark = "oversold" if value < OVERSOLD else "overbought" if value > OVERBOUGHT else ""
        words.append(_words(fact, _figure(fact, value), form, remark if extreme else ""))
    owned = (_words(fact, figure, form) for fact, figure in zip(HOLDING, held, strict=False))
    return [*(words if stock[0] else [NOT_TRADED]), *owned]


def _figure(fact: Fact, value: float) -> str:
    """The number as text, without the sign of a zero."""
    if value == UNKNOWN:
        return "-"
    text = f"{value:.{fact.decimals}f}"
    return text.lstrip("-") if text[0] == "-" and not text.strip("-0.") else text


def _words(fact: Fact, figure: str, form: Form, remark: str = "") -> str:
    """A figure as a table or labelled text has it."""
    if form == "table":
        return f"{figure}({remark})" if remark else figure
    label, unit = (fact.label[:-1], "%") if fact.label.endswith("%") else (fact.label, "")
    text = f"{label} {figure}{unit if figure != '-' else ''}"
    return f"{text} ({remark})" if remark else text
