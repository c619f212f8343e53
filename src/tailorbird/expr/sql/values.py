"""From what a driver returns to the values of the language, the same for every engine."""

from __future__ import annotations

import json
from typing import Any

from tailorbird.expr.types import Type

__all__ = ["read_value"]


def read_value(raw: Any, type: Type) -> bool | float | int | str | tuple[str, ...] | None:
    """Return a column of ``compile_values`` as the evaluators give it: numbers float, times and durations int (ms),
    lists tuples of text, unknown None.

    >>> read_value(1, Type.BOOL), read_value('["a"]', Type.TEXTS), read_value(None, Type.TEXT)
    (True, ('a',), None)
    """
    if raw is None:
        return None
    match type:
        case Type.BOOL:
            return bool(raw)
        case Type.NUMBER:
            return float(raw)
        case Type.TIME | Type.DURATION:
            return int(raw)
        case Type.TEXTS:
            return tuple(json.loads(raw) if isinstance(raw, str) else raw)
        case _:
            return str(raw)
