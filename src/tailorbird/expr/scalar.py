"""Operators and functions over single values: what they yield, with None for unknown, and nothing about histories."""

from __future__ import annotations

import math
from typing import Any, Final, assert_never

from tailorbird.expr.calendar import DATE_PARTS
from tailorbird.expr.nodes import ArithOp, CompareOp, TextOp
from tailorbird.expr.text import lower, upper

__all__ = ["LARGEST_SPAN", "apply_arith", "apply_call", "compare", "text_test"]

LARGEST_SPAN: Final = 2**53
"""A time or a duration (ms) that is computed and lies beyond it, either way, is unknown: no SQL engine counts further exactly."""


def compare(op: CompareOp, left: Any, right: Any) -> bool | None:
    """Return ``left op right``, unknown when either is."""
    if left is None or right is None:
        return None
    match op:
        case "=":
            return bool(left == right)
        case "!=":
            return bool(left != right)
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
        case ">=":
            return bool(left >= right)
    assert_never(op)


def text_test(op: TextOp, text: str | None, part: str | None) -> bool | None:
    """Return ``text op part`` by code points, unknown when either is."""
    if text is None or part is None:
        return None
    match op:
        case "contains":
            return part in text
        case "starts with":
            return text.startswith(part)
        case "ends with":
            return text.endswith(part)
    assert_never(op)


def _finite(value: float) -> float | None:
    return value + 0.0 if math.isfinite(value) else None


def _span(value: int) -> int | None:
    return value if -LARGEST_SPAN <= value <= LARGEST_SPAN else None


def _rounded(value: float) -> int | None:
    """Return a number of milliseconds as a whole duration."""
    return _span(math.floor(value + 0.5)) if math.isfinite(value) else None


def apply_arith(op: ArithOp, left: Any, right: Any) -> Any:
    """Return ``left op right``: a number is a float, a time or a duration an int; unknown is None."""
    if left is None or right is None:
        return None
    whole = isinstance(left, int) or isinstance(right, int)
    match op:
        case "+":
            return _span(left + right) if whole else _finite(left + right)
        case "-":
            return _span(left - right) if whole else _finite(left - right)
        case "*":
            product = float(left) * float(right)
            return _rounded(product) if whole else _finite(product)
        case "/":
            if right == 0:
                return None
            quotient = float(left) / float(right)
            return _rounded(quotient) if isinstance(left, int) and isinstance(right, float) else _finite(quotient)
    assert_never(op)


def apply_call(fn: str, args: list[Any]) -> Any:
    """Return the value of a scalar function of known or unknown (None) arguments."""
    if fn == "default":
        return args[1] if args[0] is None else args[0]
    if None in args:
        return None
    first = args[0]
    match fn:
        case "min":
            return min(args)
        case "max":
            return max(args)
        case "abs":
            return abs(first)
        case "floor":
            return float(math.floor(first))
        case "ceil":
            return float(math.ceil(first)) + 0.0
        case "round":
            scale = 10.0 ** int(args[1]) if len(args) > 1 else 1.0
            scaled = first * scale + 0.5
            return math.floor(scaled) / scale if math.isfinite(scaled) else None
        case "lower":
            return lower(first)
        case "upper":
            return upper(first)
        case "length":
            return float(len(first))
        case _:
            return DATE_PARTS[fn](first)
