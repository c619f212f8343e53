"""Rewriting a resolved expression into what is cheap to keep up to date, with equal parts made one object.

Comparisons of counts and sums with constants become thresholds. What the compiler asks of a node again and again
(type, whether time alone can change it …) is worked out once, when the node is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

from tailorbird.expr import nodes as n
from tailorbird.expr.evaluate import History, evaluate
from tailorbird.expr.types import Type

__all__ = ["AtLeast", "Facts", "Forest", "SumAtLeast"]

_FLIPPED: Final[dict[str, n.CompareOp]] = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_DEEPEST: Final = 16
_NOTHING: Final = History(0, ())


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


class Facts(NamedTuple):
    """What is known of a node: its type; whether time alone can change it (``timed``); whether its value is, or is cut
    out of, a straight line over time rather than a step (``varying``); whether it can be unknown (``nullable``); how many
    levels it has; and whether it is compiled to a function of its own, as Python nests only so deep (``cut``)."""

    type: Type
    timed: bool
    varying: bool
    nullable: bool
    height: int
    span: int
    cut: bool


class Forest:
    """All lowered expressions of a program; equal ones are the same object."""

    def __init__(self) -> None:
        self._known: dict[Any, n.Node] = {}
        self._facts: dict[int, Facts] = {}

    def facts(self, node: n.Node) -> Facts:
        """Return the facts of a node of this forest."""
        return self._facts[id(node)]

    def lower(self, node: n.Node) -> n.Node:
        """Return the forest's equivalent of a resolved expression."""
        parts: dict[str, Any] = {}
        for item in fields(node):
            value = getattr(node, item.name)
            if isinstance(value, n.Node):
                value = self.lower(value)
            elif isinstance(value, tuple) and any(isinstance(part, n.Node) for part in value):
                value = tuple(self.lower(part) for part in value)
            if item.name not in ("span", "percent"):
                parts[item.name] = value
        if isinstance(node, n.Did):
            return self._make(AtLeast, **parts, path=None, least=1)
        if isinstance(node, n.Compare):
            return self._compare(**parts)
        made = self._make(type(node), **parts)
        return self._folded(made)

    def _make(self, kind: type[n.Node], **parts: Any) -> n.Node:
        key = (kind, *(_identity(value) for value in parts.values()))
        node = self._known.get(key)
        if node is None:
            node = self._known[key] = kind(**parts)
            self._facts[id(node)] = self._find(node)
        return node

    def _folded(self, node: n.Node) -> n.Node:
        """Return the constant that arithmetic of constants gives."""
        if not isinstance(node, n.Arith | n.Negate) or not all(isinstance(part, n.Literal) for part in n.children(node)):
            return node
        value = evaluate(node, _NOTHING, 0)
        return node if value is None else self._make(n.Literal, value=value, type=self.facts(node).type)

    def _constant(self, value: bool) -> n.Node:
        return self._make(n.Literal, value=value, type=Type.BOOL)

    def _compare(self, op: n.CompareOp, left: n.Node, right: n.Node) -> n.Node:
        if isinstance(left, n.Literal):
            op, left, right = _FLIPPED[op], right, left
        plain = (
            not isinstance(left, n.Aggregate) or left.fn not in ("count", "distinct", "sum") or not isinstance(right, n.Literal)
        )
        if plain or not math.isfinite(float(right.value)):  # type: ignore[attr-defined]
            return self._make(n.Compare, op=op, left=left, right=right)
        return self._threshold(op, left, float(right.value))  # type: ignore[arg-type, attr-defined]

    def _threshold(self, op: n.CompareOp, left: n.Aggregate, constant: float) -> n.Node:
        """Return the comparison as at least, or less than, a whole number."""
        parts = {"event": left.event, "where": left.where, "within": left.within, "path": left.path}

        def reaches(strictly: bool) -> n.Node:
            if left.fn == "sum":
                return self._make(SumAtLeast, **parts, least=_least_sum(constant, strictly))
            least = math.floor(constant) + 1 if strictly else math.ceil(constant)
            return self._make(AtLeast, **parts, least=least) if least > 0 else self._constant(True)

        if op in (">=", "<"):
            found = reaches(False)
        elif op in (">", "<="):
            found = reaches(True)
        else:
            found = self._make(n.And, items=(reaches(False), self._make(n.Not, item=reaches(True))))
        return found if op in (">=", ">", "=") else self._make(n.Not, item=found)

    # -- facts --------------------------------------------------------------------------------------------------------

    def _find(self, node: n.Node) -> Facts:
        parts = [self._facts[id(child)] for child in n.children(node)]
        span = 1 + max((0 if part.cut else part.span for part in parts), default=0)
        return Facts(
            type=self._type(node),
            timed=self._timed(node) or any(part.timed for part in parts),
            varying=self._varying(node),
            nullable=self._nullable(node, parts),
            height=1 + max((part.height for part in parts), default=0),
            span=span,
            cut=span >= _DEEPEST,
        )

    def _type(self, node: n.Node) -> Type:
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
            case n.Negate(item=item) | n.If(then=item):
                return self.facts(item).type
            case n.Call():
                same = node.fn in ("min", "max", "default", "abs", "lower", "upper")
                return self.facts(node.args[0]).type if same else Type.NUMBER
            case n.Arith():
                return _type_of_arith(node.op, self.facts(node.left).type, self.facts(node.right).type)
        return Type.BOOL

    def _timed(self, node: n.Node) -> bool:
        match node:
            case n.Now() | n.TimeSince() | n.Held() | n.Sequence():
                return True
            case AtLeast() | SumAtLeast() | n.Aggregate():
                return node.within is not None
        return False

    def _varying(self, node: n.Node) -> bool:
        items: Iterable[n.Node] = ()
        match node:
            case n.Now() | n.TimeSince():
                return True
            case n.Arith():
                items = (node.left, node.right)
            case n.Negate():
                items = (node.item,)
            case n.Call():
                items = node.args
            case n.If():
                items = (node.then, node.otherwise)
        return any(self.facts(item).varying for item in items)

    def _nullable(self, node: n.Node, parts: list[Facts]) -> bool:
        match node:
            case n.Attribute() | n.Property() | n.TimeSince():
                return True
            case n.Aggregate():
                return node.fn not in ("count", "sum", "distinct")
            case n.Arith():
                return True  # too large is unknown
            case n.Call(fn="default"):
                return all(part.nullable for part in parts)
            case n.Call(fn="round"):
                return True
            case n.If():
                return self.facts(node.then).nullable or self.facts(node.otherwise).nullable
            case n.IsKnown() | n.IsTrue() | n.Held() | n.Sequence() | AtLeast() | SumAtLeast():
                return False
        return any(part.nullable for part in parts)


def _identity(value: Any) -> Any:
    """Return what tells values of a node's field apart: nodes by who they are, 0.0 from -0.0, 1 from true."""
    if isinstance(value, n.Node):
        return id(value)
    if isinstance(value, tuple):
        return tuple(_identity(part) for part in value)
    return (type(value), repr(value)) if isinstance(value, float) else (type(value), value)


def _least_sum(constant: float, strictly: bool) -> int:
    """Return the least whole number of millionths whose double reaches (or is above) a constant; doubles of sums grow with them."""
    low = -(high := int(abs(constant) * 2e6) + 2)
    while high - low > 1:
        middle = (low + high) // 2
        value = float(middle) / 1e6
        low, high = (low, middle) if (value > constant if strictly else value >= constant) else (middle, high)
    return high


def _type_of_arith(op: n.ArithOp, left: Type, right: Type) -> Type:
    if Type.TIME in (left, right):
        return Type.DURATION if left == right else Type.TIME
    if Type.DURATION in (left, right) and not (op == "/" and left == right):
        return Type.DURATION
    return Type.NUMBER
