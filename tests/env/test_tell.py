"""Sentences about what became of orders, with the figures in them."""

import pytest

from tradeschool.env.broker import DELISTED, LAPSED, NO_BAR, NO_CASH, NO_POSITION, PARTLY, Event
from tradeschool.env.tell import tell


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Event(DELISTED, 1), "XYZ was delisted: closed at 70% of its last close"),
        (Event(PARTLY, 0, 0.25), "BUY ABC filled to 25%, the volume limit"),
        (Event(PARTLY, 1, 0.5), "SELL XYZ filled to 50%, the volume limit"),
        (Event(NO_POSITION, 1), "SELL XYZ refused, there was no position to sell"),
        (Event(NO_CASH, 0), "BUY ABC refused, there was no buying power"),
        (Event(NO_BAR, 0), "BUY ABC refused, it had no bar on the day of the order"),
        (Event(LAPSED, 1), "SELL XYZ lapsed, it was not traded"),
    ],
)
def test_what_became_of_an_order_is_said(event: Event, said: str) -> None:
    assert tell(event, [0.3, -1.0], ["ABC", "XYZ"], -0.3) == said
