"""How much one render may do: what goes beyond is stopped with an error that says what, where and how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DEFAULT", "MAX_SOURCE", "Limits"]

MAX_SOURCE: Final = 100_000
"""How many characters one text of a template may have."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one part of one message may take: turns of loops in all, characters of output, seconds, templates within templates."""

    turns: int = 10_000
    output: int = 1_000_000
    seconds: float = 2.0
    depth: int = 20


DEFAULT: Final = Limits()
