"""The types of the expression language."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Type"]


class Type(StrEnum):
    """What an expression yields when it is known; any of them can be *unknown* instead."""

    BOOL = "bool"
    NUMBER = "number"  # IEEE double
    TEXT = "text"
    TIME = "time"  # milliseconds since 1970 UTC, integer
    DURATION = "duration"  # milliseconds, integer
    TEXTS = "texts"  # list of text
