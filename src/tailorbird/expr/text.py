"""Letter case by one fixed table of single characters, so that every engine folds text alike.

The table holds the pairs of Latin, Greek, Cyrillic and Armenian letters that map one to one in both directions and
that Unicode 3.2 already knew: such pairs never change again (Unicode's case pair stability), so neither a newer
Python nor a database's own tables can make two engines disagree. ``ß``, ``İ``, ``ς`` and every other script stay as they are.
"""

from __future__ import annotations

import sys
from typing import Final
from unicodedata import ucd_3_2_0

__all__ = ["LOWER_FROM", "LOWER_TO", "UPPER_FROM", "UPPER_TO", "lower", "upper"]

_SCRIPTS: Final = ("LATIN ", "GREEK ", "CYRILLIC ", "ARMENIAN ")


def _pairs() -> list[tuple[str, str]]:
    """Return ``(capital, small)`` of every letter in the table, in code point order of the capital."""
    found = []
    for code in range(min(sys.maxunicode, 0xFFFF) + 1):
        capital = chr(code)
        small = capital.lower()
        if small == capital or len(small) != 1 or small.upper() != capital:
            continue
        if all(ucd_3_2_0.name(letter, "").startswith(_SCRIPTS) for letter in (capital, small)):
            found.append((capital, small))
    return found


_PAIRS: Final = _pairs()
LOWER_FROM: Final = "".join(capital for capital, _ in _PAIRS)
"""The capitals; ``translate(x, LOWER_FROM, LOWER_TO)`` in SQL is ``lower(x)``."""
LOWER_TO: Final = "".join(small for _, small in _PAIRS)
"""The small letters, each at the place of its capital in ``LOWER_FROM``."""
UPPER_FROM: Final = LOWER_TO
UPPER_TO: Final = LOWER_FROM

_LOWER: Final = str.maketrans(LOWER_FROM, LOWER_TO)
_UPPER: Final = str.maketrans(UPPER_FROM, UPPER_TO)


def lower(text: str) -> str:
    """Return the text with every capital of the table made small.

    >>> lower("ÉCOLE Straße ΣΊΣΥΦΟΣ İ")
    'école straße σίσυφοσ İ'
    """
    return text.translate(_LOWER)


def upper(text: str) -> str:
    """Return the text with every small letter of the table made capital.

    >>> upper("straße жук")
    'STRAßE ЖУК'
    """
    return text.translate(_UPPER)
