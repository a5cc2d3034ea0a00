"""Secrets as Junos writes them down: `$9$` and what hides the text from a passing glance, and from nothing else. Pure.

Each character of the text is a number, written as the distances between neighbours in one fixed round of 65 letters,
two to four of them, weighted by a table that goes round with the position. The first letter is any; it says by its
family how many letters without a meaning follow it. Nobody needs a key to read it: it is a secret like the text itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from random import Random

MAGIC = "$9$"
_FAMILIES = ("QzF3n6/9CAtpu0O", "B1IREhcSyrleKvMW8LXx", "7N-dVbwsY2g4oaJZGUDj", "iHkq.mPf5T")
_ROUND = "".join(_FAMILIES)
_PLACE = {letter: place for place, letter in enumerate(_ROUND)}
_FILLING = {letter: 3 - number for number, family in enumerate(_FAMILIES) for letter in family}
_WEIGHTS = ((1, 4, 32), (1, 16, 32), (1, 8, 32), (1, 64), (1, 32), (1, 4, 16, 128), (1, 32, 64))


class NotHidden(ValueError):
    """The text is not of this form."""


def decode(hidden: str) -> str:
    """The text that is hidden. Raises NotHidden."""
    letters = hidden.removeprefix(MAGIC)
    if letters == hidden or not letters or not _PLACE.keys() >= set(letters):
        raise NotHidden
    before, rest = letters[0], letters[1 + _FILLING[letters[0]] :]
    found = bytearray()
    while rest:
        weights = _WEIGHTS[len(found) % len(_WEIGHTS)]
        some, rest = rest[: len(weights)], rest[len(weights) :]
        if len(some) < len(weights):
            raise NotHidden
        number = 0
        for last, letter, weight in zip(before + some[:-1], some, weights, strict=True):
            number += ((_PLACE[letter] - _PLACE[last]) % len(_ROUND) - 1) * weight
        found.append(number % 256)
        before = some[-1]
    return found.decode(errors="surrogateescape")


def encode(text: str, random: Random) -> str:
    """The text, hidden; another way each time, as `random` has it."""
    first = random.choice(_ROUND)
    written = first + "".join(random.choices(_ROUND, k=_FILLING[first]))
    before = first
    for place, number in enumerate(text.encode(errors="surrogateescape")):
        for distance in _distances(number, _WEIGHTS[place % len(_WEIGHTS)]):
            before = _ROUND[(_PLACE[before] + distance + 1) % len(_ROUND)]
            written += before
    return MAGIC + written


def _distances(number: int, weights: Sequence[int]) -> list[int]:
    """The number as so many of each weight."""
    found: list[int] = []
    for weight in reversed(weights):
        some, number = divmod(number, weight)
        found.append(some)
    return found[::-1]


def normal(text: str) -> str:
    """One way to write a secret, whether it is hidden already or not; the same again of what it gives.

    What merely looks hidden is a text like any other.
    """
    with suppress(NotHidden):
        text = decode(text)
    return encode(text, Random(0))  # what is hidden tells its text anyway, so nothing is lost by its not varying
