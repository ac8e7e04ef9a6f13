"""What deserves a second look before anything is trained, each in a sentence with what to do about it."""

from collections.abc import Iterable, Iterator, Sequence

from tradeschool.market.indicators import SETTLED
from tradeschool.prepare.parts import Part
from tradeschool.prepare.presence import Calendar, NoteKind, Presence
from tradeschool.prepare.relation import Relations

NAMED = 5
MISSING_SHARE = 0.02
SURVIVORS = (5, 756)
"""Tickers and dates (three years) from which it is odd that none of them was ever delisted."""
SHIFT = 0.05
"""How far a class's share of validation or test may lie from that of train before it is told."""
FEW_DATES = 120


def advice(
    dates: Sequence[str],
    tickers: Sequence[Presence],
    calendar: Calendar | None,
    notes: Sequence[NoteKind],
    parts: Sequence[Part],
    relations: Relations | None,
    *,
    real: bool = True,
) -> list[str]:
    """Plain sentences; empty when nothing looks wrong. ``real`` is False for a practice market."""
    return [
        *_about_tickers(tickers),
        *(_about_survivors(dates, tickers) if real else ()),
        *_about_calendar(calendar),
        *(_about_training(tickers, parts[0]) if parts else ()),
        *_about_notes(notes, parts),
        *(_about_labels(parts) if parts and parts[0].labels else ()),
        *(_about_relations(relations) if relations else ()),
    ]


def _about_tickers(tickers: Sequence[Presence]) -> Iterator[str]:
    few = [f"{ticker.ticker} ({ticker.bars} bars)" for ticker in tickers if ticker.bars < SETTLED]
    if few:
        yield (
            f"Too short a history: {_some(few)}. Indicators need {SETTLED} bars to settle. "
            "Give a longer history, or leave them out."
        )
    holed = [
        f"{ticker.ticker} ({ticker.missing} of {ticker.span} days)"
        for ticker in tickers
        if ticker.missing > MISSING_SHARE * ticker.span
    ]
    if holed:
        yield (
            f"Many days missing between the first and the last: {_some(holed)}. Indicators begin anew after every "
            "gap. Look at the source: tradeschool data check."
        )


def _about_survivors(dates: Sequence[str], tickers: Sequence[Presence]) -> Iterator[str]:
    lasting = all(ticker.last == dates[-1] for ticker in tickers)
    if lasting and len(tickers) >= SURVIVORS[0] and len(dates) >= SURVIVORS[1]:
        yield (
            "Every ticker still trades on the last day. Where tickers were chosen at the end of the period, those "
            "that failed on the way are missing, and any result looks better than it would have been (survivorship)."
        )


def _about_calendar(calendar: Calendar | None) -> Iterator[str]:
    if calendar and calendar.missing:
        yield (
            f"{len(calendar.missing)} sessions of {calendar.exchange} are missing from every ticker: "
            f"{_some(calendar.missing)}. Fetch them again, or choose the exchange that these tickers trade on."
        )
    if calendar and calendar.extra:
        yield (
            f"{len(calendar.extra)} dates are no sessions of {calendar.exchange}: {_some(calendar.extra)}. "
            "Remove them, or choose the exchange that these tickers trade on."
        )


def _about_training(tickers: Sequence[Presence], train: Part) -> Iterator[str]:
    first, last = train.rows
    unseen = [ticker.ticker for ticker in tickers if not any(run[0] <= last and run[1] >= first for run in ticker.runs)]
    if unseen:
        yield f"No bar in the training part: {_some(unseen)}. A model first meets such tickers in the exam."


def _about_notes(notes: Sequence[NoteKind], parts: Sequence[Part]) -> Iterator[str]:
    for kind in notes:
        without = [part.name for part in parts if kind.last < part.first or kind.first > part.last]
        if without:
            yield (
                f"Notes of kind {kind.kind} reach from {kind.first} to {kind.last}: none of them falls into "
                f"{' or '.join(without)}. Choose the split's dates so that train and test have them alike."
            )


def _about_labels(parts: Sequence[Part]) -> Iterator[str]:
    train, *others = parts
    moved = [
        f"{part.name} {label} {part.share(label):.0%} (train {train.share(label):.0%})"
        for part in others
        if part.questions > part.unlabelled
        for label in part.labels
        if abs(part.share(label) - train.share(label)) > SHIFT
    ]
    if moved:
        yield (
            f"Labels are shared out otherwise than in train: {_some(moved)}. The market was another one there: what "
            "pays may be a constant answer, so compare with the best constant."
        )
    absent = [label for label, count in train.labels.items() if not count]
    if absent:
        yield f"No training question has the class {_some(absent)}: a model cannot learn when it is right."


def _about_relations(relations: Relations) -> Iterator[str]:
    if relations.dates < FEW_DATES:
        yield (
            f"Only {relations.dates} training dates have an outcome inside the training part: intervals are wide, "
            "and what is learned from so few days may be chance. Give a longer history."
        )


def _some(words: Iterable[str]) -> str:
    listed = list(words)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more
