"""Reads a text observation back into numbers: what the text says is compared with the numbers it was written from."""

import re

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.features import HOLDING, UNKNOWN, M
from tradeschool.env.render import HEADING, NOT_TRADED

_ACCOUNT = re.compile(
    r"(?:\S+, )?day (\d+) of (\d+), cash (-?\d+)%, equity (-?[\d.]+)% of the start(?:, (\d+) refused)?$"
)


def read(text: str) -> tuple[NDArray[np.float32], list[str]]:
    """The vector, up to the decimals shown, and the names of the stocks."""
    lines = text.split("\n")
    account = _ACCOUNT.match(lines[0])
    assert account, lines[0]
    day, days, cash, equity, refused = account.groups()
    vector: list[float] = []
    names: list[str] = []
    for line in lines[lines.index(HEADING) + 1 :]:
        name, _, rest = line.partition(" ")
        names.append(name)
        vector += _stock(rest)
    vector += [float(cash), float(equity), float(int(days) - int(day)), float(refused or 0)]
    return np.array(vector, np.float32), names


def _stock(rest: str) -> list[float]:
    if rest.startswith(NOT_TRADED):
        figures, words = [0.0] + [UNKNOWN] * (M - 1), rest[len(NOT_TRADED) :].split()
    else:
        words = re.sub(r"\(\w+\)", "", rest).split()
        figures = [1.0, *(UNKNOWN if word == "-" else float(word) for word in words[: M - 1])]
        words = words[M - 1 :]
    assert len(figures) == M, rest
    assert len(words) in (0, len(HOLDING)), rest
    return [*figures, *(map(float, words) if words else (0.0, 0.0))]
