"""Declared attributes: values that arrive are brought to the type that was declared for them, or the mistake is said."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from tailorbird.core.event import Json
from tailorbird.errors import Mistake
from tailorbird.expr.types import Type

__all__ = ["coerce_attributes", "coerce_value"]

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?\Z", re.ASCII)
_TIME = re.compile(
    r"[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?)?\Z",
    re.ASCII,
)
_WORDS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_LIMIT: Final = 1e15  # beyond this a number is unknown to expressions
_WRONG: Final = object()


def coerce_attributes(attributes: Mapping[str, Json], declared: Mapping[str, str]) -> tuple[dict[str, Json], list[Mistake]]:
    """Return the attributes with declared ones brought to their type, and a mistake for each that cannot be.

    ``declared`` maps names, also paths such as ``account.tier``, to types. What cannot be brought to its type is left as it
    is, which expressions read as unknown, so that nothing that arrived is lost. Undeclared attributes pass as they are.

    >>> coerce_attributes({"age": "42", "x": "y"}, {"age": "number"})
    ({'age': 42, 'x': 'y'}, [])
    """
    after = dict(attributes)
    mistakes: list[Mistake] = []
    for name, type_ in declared.items():
        *folders, last = name.split(".")
        place: Json = after
        for folder in folders:
            inner = place.get(folder)
            if not isinstance(inner, dict):
                break
            place[folder] = dict(inner)
            place = place[folder]
        else:
            value = place.get(last)
            if value is None:
                continue
            better = coerce_value(value, type_)
            if better is _WRONG:
                mistakes.append(
                    Mistake(
                        "invalid_attribute", f"{type(value).__name__} is not {_NAMES[Type(type_)]}", where=f"attributes.{name}"
                    )
                )
            else:
                place[last] = better
    return after, mistakes


_NAMES: Final = {
    Type.BOOL: "true or false", Type.NUMBER: "a number", Type.TEXT: "text", Type.TIME: "a time such as 2026-01-31T12:00:00Z",
    Type.TEXTS: "a list of text", Type.DURATION: "a value that can be stored: declare a number",
}  # fmt: skip


def coerce_value(value: Json, type_: str) -> Json:
    """Return the value as its type is stored, or a marker that is not JSON when it cannot be.

    Text that spells a number, a truth or a time is taken for it, a number or a truth where text is declared is spelled
    out, one text makes a list of one. Times are stored as ISO 8601 text; numbers there are seconds or ms since 1970.
    """
    match type_:
        case Type.BOOL:
            return value if isinstance(value, bool) else _WORDS.get(str(value).strip().lower(), _WRONG)
        case Type.NUMBER:
            return _number(value)
        case Type.TEXT:
            return _text(value)
        case Type.TEXTS:
            return _texts(value)
        case Type.TIME:
            return _time(value)
        case _:
            return _WRONG


def _number(value: Json) -> Json:
    if isinstance(value, bool):
        return _WRONG
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.match(text):
            return _WRONG
        value = float(text)
        value = int(value) if value.is_integer() and abs(value) <= _LIMIT else value
    return value if isinstance(value, int | float) and math.isfinite(value) and abs(value) <= _LIMIT else _WRONG


def _text(value: Json) -> Json:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else _WRONG


def _texts(value: Json) -> Json:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return _WRONG
    texts = [_text(member) for member in value]
    return _WRONG if _WRONG in texts else texts


def _time(value: Json) -> Json:
    if isinstance(value, str):
        text = value.strip()
        if not _TIME.match(text):
            return _WRONG
        try:
            datetime(int(text[:4]), int(text[5:7]), int(text[8:10]), tzinfo=UTC)
        except ValueError:
            return _WRONG
        return text
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value < 2e13:
        return _WRONG
    # Seconds since 1970 stay below 1e11 until the year 5138; milliseconds passed it in March 1973.
    seconds = value / 1000 if value >= 1e11 else value
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
