"""Reading a value out of decoded JSON as a type: what is known, what is unknown, and never a conversion."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tailorbird.expr.calendar import days_from_civil
from tailorbird.expr.types import Type

__all__ = [
    "LARGEST_NUMBER", "LARGEST_SUMMAND", "READERS", "boolean", "distinct_key", "micros", "number", "parse_time", "read",
    "text", "texts", "walk_path",
]  # fmt: skip

LARGEST_NUMBER: Final = 1e15
LARGEST_SUMMAND: Final = 1e12

_TIME: Final = re.compile(
    r"([12][0-9]{3})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_DAYS_OF_MONTH: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def parse_time(value: str) -> int | None:
    """Return the instant (ms since 1970 UTC) that a strict ISO 8601 text stands for, or None.

    >>> parse_time("1970-01-01T01:00:00.0019+01:00"), parse_time("2024-02-30")
    (1, None)
    """
    found = _TIME.fullmatch(value)
    if found is None:
        return None
    year, month, day = int(found[1]), int(found[2]), int(found[3])
    if not 1 <= month <= 12 or not 1 <= day <= _days_of(year, month):
        return None
    hour, minute, second = int(found[4] or 0), int(found[5] or 0), int(found[6] or 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    offset = _offset(found[8])
    if offset is None:
        return None
    minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset
    return (minutes * 60 + second) * 1_000 + int((found[7] or "").ljust(3, "0")[:3])


def _days_of(year: int, month: int) -> int:
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _DAYS_OF_MONTH[month - 1] + leap


def _offset(zone: str | None) -> int | None:
    """Return a zone's minutes ahead of UTC; None when it is no real offset."""
    if zone is None or zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 23 or minutes > 59:
        return None
    return (hours * 60 + minutes) * (-1 if zone[0] == "-" else 1)


def number(value: Any) -> float | None:
    """Return a JSON number as a double; None when it is none, not finite or beyond 1e15. ``true`` is not a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) + 0.0 if -LARGEST_NUMBER <= value <= LARGEST_NUMBER else None  # + 0.0 turns -0.0 into 0.0


def text(value: Any) -> str | None:
    """Return a JSON string, or None."""
    return value if isinstance(value, str) else None


def boolean(value: Any) -> bool | None:
    """Return a JSON true or false, or None."""
    return value if isinstance(value, bool) else None


def time(value: Any) -> int | None:
    """Return the instant of a JSON string that ``parse_time`` knows, or None."""
    return parse_time(value) if isinstance(value, str) else None


def texts(value: Any) -> tuple[str, ...] | None:
    """Return the strings of a JSON array in order, or None."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, (list, tuple)) else None


READERS: Final[Mapping[Type, Callable[[Any], Any]]] = {
    Type.NUMBER: number,
    Type.TEXT: text,
    Type.BOOL: boolean,
    Type.TIME: time,
    Type.TEXTS: texts,
}


def walk_path(value: Any, path: Sequence[str]) -> Any:
    """Return what lies at the path of object keys; None (unknown) when anything on the way is missing."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def read(value: Any, path: Sequence[str], as_type: Type) -> Any:
    """Return the value at a path of decoded JSON read as a type, None when it is unknown.

    Raises KeyError for a duration, which is never read from data.
    """
    return READERS[as_type](walk_path(value, path))


def micros(value: Any) -> int | None:
    """Return what ``sum`` and ``avg`` add up: a number of magnitude up to 1e12 in whole millionths, else None."""
    known = number(value)
    if known is None or abs(known) > LARGEST_SUMMAND:
        return None
    return int((known * 1e6 + 0.5) // 1)


def distinct_key(value: Any) -> str | float | tuple[bool] | None:
    """Return what ``distinct`` tells values apart by (a bool is no number, 1 is 1.0); None for what does not count."""
    if isinstance(value, bool):
        return (value,)
    return value if isinstance(value, str) else number(value)
