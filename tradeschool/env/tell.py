"""What the broker did with an order, in words."""

from collections.abc import Sequence

from tradeschool.env.broker import DELISTED, LAPSED, NO_BAR, NO_CASH, NO_POSITION, PARTLY, Event

_WORDS = {
    NO_BAR: "refused, it had no bar on the day of the order",
    NO_POSITION: "refused, there was no position to sell",
    NO_CASH: "refused, there was no buying power",
    LAPSED: "lapsed, it was not traded",
}


def tell(event: Event, wanted: Sequence[float], names: Sequence[str], delisting_return: float) -> str:
    """A sentence about an event."""
    name = names[event.stock]
    if event.kind == DELISTED:
        return f"{name} was delisted: closed at {100 * (1 + delisting_return):.0f}% of its last close"
    side = "BUY" if wanted[event.stock] > 0 else "SELL"
    if event.kind == PARTLY:
        return f"{side} {name} filled to {100 * event.filled:.0f}%, the volume limit"
    return f"{side} {name} {_WORDS[event.kind]}"
