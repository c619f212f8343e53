"""Arithmetic over values that move with time: each carries its slope, a bound of its error, and how long that holds.

A comparison of two straight lines changes where they cross. The crossing is computed a little early: by the error that
floating-point rounding can have added up, so that a prediction is never late; close to the crossing it is the next
millisecond.
"""

from __future__ import annotations

import math
from typing import Any, Final

from tailorbird.expr.calendar import DATE_PARTS, next_boundary
from tailorbird.expr.evaluate import NEVER
from tailorbird.expr.nodes import ArithOp, CompareOp
from tailorbird.expr.scalar import LARGEST_SPAN, apply_arith, apply_call, compare

__all__ = [
    "Varying", "absolute", "arith", "bound", "compared", "date_part", "extreme", "fixed", "in_options", "otherwise", "rounded",
    "scalar", "since",
]  # fmt: skip

Varying = tuple[Any, float, float, float, int]
"""Value (None: unknown), slope per ms, magnitude that rounding errors are relative to, its growth per ms, valid until."""

_EPSILON: Final = 2.0**-46
_FAR: Final = 1e15  # ms: thirty thousand years from now is never


def fixed(value: Any, due: int = NEVER) -> Varying:
    """Return a value that stays as it is until ``due``."""
    return (value, 0.0, 0.0, 0.0, due)


def since(latest: int | None, now: int) -> Varying:
    """Return ``now - latest``; ``latest`` None is unknown, 0 makes it ``now`` itself."""
    return (None, 0.0, 0.0, 0.0, NEVER) if latest is None else (now - latest, 1.0, 0.0, 0.0, NEVER)


def bound(value: Varying, due: int) -> Varying:
    """Return the same, valid until ``due`` at the latest."""
    return (*value[:4], due) if due < value[4] else value


def _meets(distance: float, slope: float, error: float, growth: float, now: int) -> int:
    """Return an instant before which ``distance + slope · dt`` surely keeps its sign (and is not 0 unless it is now)."""
    if slope == 0.0 and growth == 0.0:
        return NEVER
    exact = error == 0.0 and growth == 0.0
    gap = abs(distance) if exact else abs(distance) - _EPSILON * (error + abs(distance))
    if gap <= 0:
        return now + 1
    closing = -slope if distance > 0 else slope
    if not exact:
        closing += _EPSILON * (growth + abs(slope))
    if closing <= 0:
        return NEVER
    wait = gap / closing
    if wait > _FAR:
        return NEVER
    return now + max(1, math.ceil(wait) if exact and wait < 2.0**50 else math.floor(wait * (1 - 2.0**-50)) - 1)


def _unknown(*parts: Varying) -> Varying:
    return (None, 0.0, 0.0, 0.0, min(part[4] for part in parts))


def arith(op: ArithOp, left: Varying, right: Varying, now: int) -> Varying:
    """Return ``left op right``; where something moves, the factors and the divisor beside it stand still."""
    a, slope_a, error_a, growth_a, due_a = left
    b, slope_b, error_b, growth_b, due_b = right
    value = apply_arith(op, a, b)
    due = min(due_a, due_b)
    if a is None or b is None or (slope_a == slope_b == growth_a == growth_b == error_a == error_b == 0.0):
        return (value, 0.0, 0.0, 0.0, due)
    if op in ("+", "-"):
        slope = slope_a + slope_b if op == "+" else slope_a - slope_b
        error, growth = error_a + error_b, growth_a + growth_b
    elif op == "*":
        slope = slope_a * b + slope_b * a
        error, growth = error_a * abs(b) + error_b * abs(a), growth_a * abs(b) + growth_b * abs(a)
    elif b == 0:
        return (None, 0.0, 0.0, 0.0, due)
    else:
        slope, error, growth = slope_a / b, error_a / abs(b), growth_a / abs(b)
    whole = (isinstance(a, int) and not (op == "/" and isinstance(b, int))) or (isinstance(b, int) and op != "/")
    if whole:
        return _whole(op, a, b, value, (slope, error, growth, due), now)
    if value is None:
        return (None, 0.0, 0.0, 0.0, due)
    return (value, slope, error + abs(value), growth + abs(slope), due)


def _whole(op: ArithOp, a: Any, b: Any, value: int | None, line: tuple[float, float, float, int], now: int) -> Varying:
    """Return a moving time or duration: rounded to the millisecond, and unknown beyond the largest span."""
    slope, error, growth, due = line
    if op in ("+", "-"):
        exact: float = a + b if op == "+" else a - b
    else:
        exact = float(a) * float(b) if op == "*" else float(a) / float(b)
        error, growth = error + abs(exact) + 1.0 / _EPSILON, growth + abs(slope)
    for edge in (-LARGEST_SPAN - 1, -LARGEST_SPAN, LARGEST_SPAN, LARGEST_SPAN + 1):
        due = min(due, _meets(exact - edge, slope, error, growth, now))
    return (None, 0.0, 0.0, 0.0, due) if value is None else (value, slope, error, growth, due)


def absolute(item: Varying, now: int) -> Varying:
    """Return the magnitude."""
    value, slope, error, growth, due = item
    if value is None:
        return item
    turn = _meets(value, slope, error, growth, now)
    return (abs(value), -slope if value < 0 else slope if value > 0 else abs(slope), error, growth, min(due, turn))


def extreme(fn: str, now: int, *items: Varying) -> Varying:
    """Return the least (``min``) or the greatest (``max``) of two or more."""
    if any(item[0] is None for item in items):
        return _unknown(*items)
    chosen = (min if fn == "min" else max)(items, key=lambda item: item[0])
    due = min(item[4] for item in items)
    for item in items:
        if item is not chosen:
            gap = item[0] - chosen[0]
            due = min(due, _meets(gap, item[1] - chosen[1], item[2] + chosen[2], item[3] + chosen[3], now))
    return (*chosen[:4], due)


def otherwise(first: Varying, second: Varying) -> Varying:
    """Return the first where it is known, else the second."""
    return first if first[0] is not None else bound(second, first[4])


def _until_step(value: float, below: float, above: float, item: Varying, now: int) -> int:
    """Return until when a moving value surely stays at or above ``below`` and under ``above``."""
    _, slope, error, growth, _ = item
    return min(_meets(above - value, -slope, error, growth, now), _meets(value - below, slope, error, growth, now))


def rounded(fn: str, now: int, item: Varying, digits: float = 0.0) -> Varying:
    """Return ``floor``, ``ceil`` or ``round`` of a moving number: steps."""
    if item[0] is None:
        return item
    value = apply_call(fn, [item[0], digits] if fn == "round" else [item[0]])
    if value is None or (item[1] == 0.0 and item[3] == 0.0):
        return fixed(value, item[4])
    if fn == "round":
        item = arith("+", arith("*", item, fixed(10.0 ** int(digits)), now), fixed(0.5), now)
    base = float(math.floor(item[0]))
    return fixed(value, min(item[4], _until_step(item[0], base, base + 1.0, item, now)))


def date_part(part: str, now: int, item: Varying) -> Varying:
    """Return year, month, day, weekday or hour of a moving time: steps."""
    value = item[0]
    if value is None:
        return item
    unit = 3_600_000 if part == "hour" else 86_400_000
    begin, end = value - value % unit, next_boundary(part, value)
    due = min(item[4], _until_step(value, begin - 1, end, item, now))
    return fixed(DATE_PARTS[part](value), due)


def scalar(fn: str, now: int, items: list[Varying]) -> Varying:
    """Return any function of values of which some may move."""
    match fn:
        case "min" | "max":
            return extreme(fn, now, *items)
        case "default":
            return otherwise(items[0], items[1])
        case "abs":
            return absolute(items[0], now)
        case "floor" | "ceil" | "round":
            return rounded(fn, now, items[0], *(item[0] for item in items[1:]))
    return date_part(fn, now, items[0])


def compared(op: CompareOp, left: Varying, right: Varying, now: int) -> tuple[bool, int]:
    """Return whether ``left op right`` is true, and an instant before which that cannot change."""
    truth = compare(op, left[0], right[0])
    due = min(left[4], right[4])
    if truth is None:
        return False, due
    gap = left[0] - right[0]
    return truth, min(due, _meets(gap, left[1] - right[1], left[2] + right[2], left[3] + right[3], now))


def in_options(item: Varying, options: tuple[Any, ...], want: bool, now: int) -> tuple[bool, int]:
    """Return whether being equal to one of the options is ``want`` (not unknown), and until when surely."""
    if item[0] is None:
        return False, item[4]
    due = min(_meets(item[0] - option, item[1], item[2], item[3], now) for option in options) if options else NEVER
    return (item[0] in options) is want, min(due, item[4])
