"""Which types every operator takes and gives: the whole type system as a table of possibilities.

A signature is a tuple of *cases*; a case is the types of the operands and the type of the result.
"""

from __future__ import annotations

from typing import Final

from tailorbird.expr.nodes import (
    Aggregate,
    And,
    Arith,
    Attribute,
    Bucket,
    Call,
    Compare,
    Consented,
    Did,
    EventTime,
    FeatureRef,
    HasTag,
    Held,
    If,
    In,
    IsKnown,
    IsTrue,
    ListHas,
    Literal,
    MemberOf,
    Negate,
    Node,
    Not,
    Now,
    Or,
    Property,
    Sequence,
    TextTest,
    TimeSince,
    Toggle,
)
from tailorbird.expr.types import Type

__all__ = ["EVERY", "READABLE", "Case", "operands", "readings", "result", "signature", "type_of"]

Case = tuple[tuple[Type, ...], Type]

_B, _N, _T, _AT, _D, _L = Type.BOOL, Type.NUMBER, Type.TEXT, Type.TIME, Type.DURATION, Type.TEXTS
EVERY: Final = frozenset(Type)
"""All types."""
READABLE: Final = EVERY - {_D}
"""The types that values in data can be read as."""
_ORDERED: Final = (_N, _T, _AT, _D)
_MEASURES: Final = (_N, _AT, _D)

_ARITHMETIC: Final[dict[str, tuple[Case, ...]]] = {
    "+": (((_N, _N), _N), ((_AT, _D), _AT), ((_D, _AT), _AT), ((_D, _D), _D)),
    "-": (((_N, _N), _N), ((_AT, _AT), _D), ((_AT, _D), _AT), ((_D, _D), _D)),
    "*": (((_N, _N), _N), ((_D, _N), _D), ((_N, _D), _D)),
    "/": (((_N, _N), _N), ((_D, _D), _N), ((_D, _N), _D)),
}
_CALENDAR: Final[tuple[Case, ...]] = (((_AT,), _N),)
_CALLS: Final[dict[str, tuple[Case, ...]]] = {
    "abs": (((_N,), _N), ((_D,), _D)),
    "floor": (((_N,), _N),),
    "ceil": (((_N,), _N),),
    "lower": (((_T,), _T),),
    "upper": (((_T,), _T),),
    "length": (((_T,), _N), ((_L,), _N)),
    "default": tuple(((kind, kind), kind) for kind in Type),
    "year": _CALENDAR,
    "month": _CALENDAR,
    "day": _CALENDAR,
    "weekday": _CALENDAR,
    "hour": _CALENDAR,
}


def signature(node: Node) -> tuple[Case, ...]:
    """Return the cases of an operator; empty for nodes without operands and for functions that do not exist."""
    match node:
        case And(items=items) | Or(items=items):
            return (((_B,) * len(items), _B),)
        case Not() | IsTrue():
            return (((_B,), _B),)
        case Compare(op=op):
            return tuple(((kind, kind), _B) for kind in (Type if op in ("=", "!=") else _ORDERED))
        case In(options=options):
            return tuple(((kind,) * (len(options) + 1), _B) for kind in Type if kind is not _L)
        case TextTest():
            return (((_T, _T), _B),)
        case ListHas():
            return (((_L, _T), _B),)
        case IsKnown():
            return tuple(((kind,), _B) for kind in Type)
        case Arith(op=op):
            return _ARITHMETIC[op]
        case Negate():
            return (((_N,), _N), ((_D,), _D))
        case If():
            return tuple(((_B, kind, kind), kind) for kind in Type)
        case Call(fn="min" | "max", args=args):
            return tuple(((kind,) * len(args), kind) for kind in _MEASURES)
        case Call(fn="round", args=args):
            return (((_N,) * len(args), _N),)
        case Call(fn=fn):
            return _CALLS.get(fn, ())
        case _:
            return ()


def operands(node: Node) -> tuple[Node, ...]:
    """Return the nodes that the types of a signature belong to, in order."""
    match node:
        case And(items=items) | Or(items=items):
            return items
        case Not(item=item) | IsTrue(item=item) | IsKnown(item=item) | Negate(item=item):
            return (item,)
        case Compare(left=left, right=right) | Arith(left=left, right=right):
            return (left, right)
        case In(item=item, options=options):
            return (item, *options)
        case TextTest(text=text, part=part):
            return (text, part)
        case ListHas(items=items_, item=item):
            return (items_, item)
        case If(condition=condition, then=then, otherwise=otherwise):
            return (condition, then, otherwise)
        case Call(args=args):
            return args
        case _:
            return ()


def readings(node: Attribute | Property | Aggregate) -> frozenset[Type]:
    """Return the types a value out of data may be read as where the node stands (empty: it is not read at all)."""
    if not isinstance(node, Aggregate):
        return READABLE
    match node.fn:
        case "sum" | "avg":
            return frozenset({_N})
        case "min" | "max":
            return frozenset({_N, _AT})
        case "first" | "last":
            return READABLE
        case "count" | "distinct":
            return frozenset()


def result(node: Node) -> Type | None:
    """Return the type of a node without operands, if the node alone tells."""
    match node:
        case Literal(type=kind):
            return kind
        case Now() | EventTime():
            return _AT
        case Aggregate(fn="count" | "distinct") | Bucket():
            return _N
        case Attribute(type=kind) | Property(type=kind) | Aggregate(type=kind):
            return kind
        case TimeSince():
            return _D
        case Did() | Held() | Sequence() | Toggle() | Consented() | HasTag() | MemberOf():
            return _B
        case _:
            return None


def type_of(node: Node) -> Type:
    """Return the type of a resolved expression.

    Raises ``ValueError`` for a surface expression, whose readings are not fixed yet.

    >>> type_of(Arith("-", Now(), Literal(1, Type.DURATION)))
    <Type.TIME: 'time'>
    """
    kind = result(node)
    if kind is not None:
        return kind
    cases = signature(node)
    results = {case[1] for case in cases}
    if len(results) > 1:
        kinds = tuple(type_of(operand) for operand in operands(node))
        results = {case[1] for case in cases if case[0] == kinds}
    if len(results) != 1:
        what = "a feature" if isinstance(node, FeatureRef) else type(node).__name__
        raise ValueError(f"the type of {what} is only known after check.resolve")
    return results.pop()
