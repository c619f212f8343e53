"""Rewriting a resolved expression into what is cheap to keep up to date: thresholds instead of counts, and what varies with time."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from tailorbird.expr import nodes as n
from tailorbird.expr.types import Type

__all__ = ["AtLeast", "SumAtLeast", "is_timed", "is_varying", "lower", "nullable", "type_of"]

_FLIPPED: Final[dict[str, n.CompareOp]] = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_TRUE: Final = n.Literal(value=True, type=Type.BOOL)
_FALSE: Final = n.Literal(value=False, type=Type.BOOL)


@dataclass(frozen=True, slots=True)
class AtLeast(n.Node):
    """At least ``least`` (one or more) such events in the window; with a ``path``, so many distinct values of it."""

    event: str
    where: n.Node | None
    within: int | None
    path: tuple[str, ...] | None
    least: int


@dataclass(frozen=True, slots=True)
class SumAtLeast(n.Node):
    """The exact sum, in millionths, of such events' values in the window is at least ``least``."""

    event: str
    where: n.Node | None
    within: int | None
    path: tuple[str, ...]
    least: int


def lower(node: n.Node) -> n.Node:
    """Return an equivalent expression in which comparisons of counts and sums with constants are thresholds."""
    new: dict[str, Any] = {}
    for item in fields(node):
        value = getattr(node, item.name)
        if isinstance(value, n.Node):
            new[item.name] = lower(value)
        elif isinstance(value, tuple) and any(isinstance(part, n.Node) for part in value):
            new[item.name] = tuple(lower(part) for part in value)
    node = replace(node, **new) if new else node
    if isinstance(node, n.Did):
        return AtLeast(event=node.event, where=node.where, within=node.within, path=None, least=1)
    if isinstance(node, n.Compare):
        return _lower_compare(node)
    return node


def _lower_compare(node: n.Compare) -> n.Node:
    op, left, right = node.op, node.left, node.right
    if isinstance(left, n.Literal):
        op, left, right = _FLIPPED[op], right, left
    if not isinstance(left, n.Aggregate) or not isinstance(right, n.Literal) or left.fn not in ("count", "distinct", "sum"):
        return node
    constant = float(right.value)  # type: ignore[arg-type]
    if not math.isfinite(constant):
        return node
    at_least, above = _sum_thresholds(left, constant) if left.fn == "sum" else _count_thresholds(left, constant)
    match op:
        case ">=":
            return at_least
        case ">":
            return above
        case "<":
            return n.Not(item=at_least)
        case "<=":
            return n.Not(item=above)
    equal = n.And(items=(at_least, n.Not(item=above)))
    return equal if op == "=" else n.Not(item=equal)


def _count_thresholds(node: n.Aggregate, constant: float) -> tuple[n.Node, n.Node]:
    """Return the conditions that a count is at least, and above, a constant."""

    def reaches(least: int) -> n.Node:
        if least <= 0:
            return _TRUE
        return AtLeast(event=node.event, where=node.where, within=node.within, path=node.path, least=least)

    return reaches(math.ceil(constant)), reaches(math.floor(constant) + 1)


def _sum_thresholds(node: n.Aggregate, constant: float) -> tuple[n.Node, n.Node]:
    """Return the conditions that a sum is at least, and above, a constant; exact, as the double of a sum grows with it."""

    def reaches(strictly: bool) -> n.Node:
        low = -(high := int(abs(constant) * 2e6) + 2)
        while high - low > 1:
            middle = (low + high) // 2
            value = float(middle) / 1e6
            low, high = (low, middle) if (value > constant if strictly else value >= constant) else (middle, high)
        assert node.path is not None
        return SumAtLeast(event=node.event, where=node.where, within=node.within, path=node.path, least=high)

    return reaches(False), reaches(True)


def type_of(node: n.Node) -> Type:
    """Return the type that a resolved expression yields."""
    match node:
        case n.Literal(type=found) | n.Attribute(type=Type() as found) | n.Property(type=Type() as found):
            return found
        case n.Now() | n.EventTime():
            return Type.TIME
        case n.TimeSince():
            return Type.DURATION
        case n.Aggregate():
            return node.type if node.fn in ("min", "max", "first", "last") and node.type else Type.NUMBER
        case n.Bucket():
            return Type.NUMBER
        case n.Negate():
            return type_of(node.item)
        case n.If():
            return type_of(node.then)
        case n.Call():
            if node.fn in ("min", "max", "default", "abs", "lower", "upper"):
                return type_of(node.args[0])
            return Type.NUMBER
        case n.Arith():
            return _type_of_arith(node.op, type_of(node.left), type_of(node.right))
    return Type.BOOL


def _type_of_arith(op: n.ArithOp, left: Type, right: Type) -> Type:
    if Type.TIME in (left, right):
        return Type.DURATION if left == right else Type.TIME
    if Type.DURATION in (left, right) and not (op == "/" and left == right):
        return Type.DURATION
    return Type.NUMBER


def is_timed(node: n.Node) -> bool:
    """Return whether the value can change without an event."""
    match node:
        case n.Now() | n.TimeSince() | n.Held() | n.Sequence():
            return True
        case AtLeast() | SumAtLeast() | n.Aggregate():
            return node.within is not None
    return any(is_timed(child) for child in n.children(node))


def is_varying(node: n.Node) -> bool:
    """Return whether the value is, or is cut out of, a straight line over time rather than a step."""
    match node:
        case n.Now() | n.TimeSince():
            return True
        case n.Arith():
            return is_varying(node.left) or is_varying(node.right)
        case n.Negate():
            return is_varying(node.item)
        case n.Call():
            return any(is_varying(arg) for arg in node.args)
        case n.If():
            return is_varying(node.then) or is_varying(node.otherwise)
    return False


def nullable(node: n.Node) -> bool:
    """Return whether the value can be unknown."""
    match node:
        case n.Attribute() | n.Property() | n.TimeSince():
            return True
        case n.Aggregate():
            return node.fn not in ("count", "sum", "distinct")
        case n.Arith():
            exact = node.op in ("+", "-") and type_of(node) != Type.NUMBER
            return not exact or nullable(node.left) or nullable(node.right)
        case n.Call(fn="default"):
            return nullable(node.args[0]) and nullable(node.args[1])
        case n.Call(fn="round"):
            return True
        case n.If():
            return nullable(node.then) or nullable(node.otherwise)
        case n.IsKnown() | n.IsTrue() | n.Held() | n.Sequence() | AtLeast() | SumAtLeast():
            return False
    return any(nullable(child) for child in n.children(node))
