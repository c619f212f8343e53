"""The nodes of an expression: plain frozen values; what they mean lives in the visitors.

*Surface* nodes are what the parser gives. ``check`` resolves them: it fixes the type that every ``Attribute``,
``Property`` and ``Aggregate`` is read as, and ``rewrite`` replaces ``HasTag``, ``MemberOf`` and ``FeatureRef`` by
what they stand for (``Toggle``, ``IsTrue`` of the segment's condition, the feature's expression). The evaluators see
resolved nodes only. Equality and hash ignore ``span``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Literal as Lit

from tailorbird.errors import Span
from tailorbird.expr.types import Type

__all__ = [
    "Aggregate", "AggregateFn", "And", "Arith", "ArithOp", "Attribute", "Bucket", "Call", "Compare", "CompareOp",
    "Consented", "Did", "EventTime", "FeatureRef", "HasTag", "Held", "If", "In", "IsKnown", "IsTrue", "ListHas",
    "Literal", "MemberOf", "Negate", "Node", "Not", "Now", "Or", "Property", "Sequence", "Step", "TextOp", "TextTest",
    "TimeSince", "Toggle", "children", "walk",
]  # fmt: skip

CompareOp = Lit["=", "!=", "<", "<=", ">", ">="]
ArithOp = Lit["+", "-", "*", "/"]
TextOp = Lit["contains", "starts with", "ends with"]
AggregateFn = Lit["count", "sum", "avg", "min", "max", "first", "last", "distinct"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An expression; ``span`` is where it stands in the source text, if it came from text."""

    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A constant. ``value`` is bool, float, str, int (time, duration: ms) or a tuple of str (texts).

    ``percent`` only remembers that a number was written as ``10%`` (its value is 0.1).
    """

    value: bool | float | int | str | tuple[str, ...]
    type: Type
    percent: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Now(Node):
    """The instant of evaluation (time)."""


@dataclass(frozen=True, slots=True)
class Attribute(Node):
    """A profile attribute, ``path`` walking into nested objects; ``type`` is how it is read (None: not yet resolved)."""

    path: tuple[str, ...]
    type: Type | None = None


@dataclass(frozen=True, slots=True)
class Property(Node):
    """A property of the event under test; only inside ``where``."""

    path: tuple[str, ...]
    type: Type | None = None


@dataclass(frozen=True, slots=True)
class EventTime(Node):
    """The time of the event under test, written ``at``; only inside ``where``."""


@dataclass(frozen=True, slots=True)
class Not(Node):
    """Kleene negation."""

    item: Node


@dataclass(frozen=True, slots=True)
class And(Node):
    """Kleene conjunction of two or more conditions."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or(Node):
    """Kleene disjunction of two or more conditions."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """A comparison of two values of one type; bool and texts know only ``=`` and ``!=``."""

    op: CompareOp
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class In(Node):
    """``item in (a, b, …)``: equal to one of the literal options (all of the item's type)."""

    item: Node
    options: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class TextTest(Node):
    """``text contains|starts with|ends with part``, by code points, case matters."""

    op: TextOp
    text: Node
    part: Node


@dataclass(frozen=True, slots=True)
class ListHas(Node):
    """``texts has "x"``: the list holds the text."""

    items: Node
    item: Node


@dataclass(frozen=True, slots=True)
class IsKnown(Node):
    """``x is known``; never unknown itself (``x is unknown`` is its ``Not``)."""

    item: Node


@dataclass(frozen=True, slots=True)
class IsTrue(Node):
    """``is_true(c)``: true where the condition is true, false where it is false or unknown."""

    item: Node


@dataclass(frozen=True, slots=True)
class Arith(Node):
    """``left op right`` over numbers, times and durations."""

    op: ArithOp
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Negate(Node):
    """Arithmetic minus of a number or a duration."""

    item: Node


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A scalar function; ``tailorbird.expr.types`` and the reference list them: min max abs round floor ceil lower
    upper length default year month day weekday hour."""

    fn: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class If(Node):
    """``if(condition, then, otherwise)``; an unknown condition takes ``otherwise``."""

    condition: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True, slots=True)
class Aggregate(Node):
    """``fn(event[.path] [where …] [, within …])`` over the profile's events; ``within`` in ms, None for all time.

    ``path`` is None for ``count`` alone. ``type`` is how the property is read: number for sum and avg; number or time
    for min and max; anything for first and last; None for count and distinct.
    """

    fn: AggregateFn
    event: str
    path: tuple[str, ...] | None = None
    where: Node | None = None
    within: int | None = None
    type: Type | None = None


@dataclass(frozen=True, slots=True)
class Did(Node):
    """``did(event [where …] [, within …])``: at least one such event."""

    event: str
    where: Node | None = None
    within: int | None = None


@dataclass(frozen=True, slots=True)
class TimeSince(Node):
    """``time_since(event [where …])``: now minus the time of the last such event; unknown when there is none."""

    event: str
    where: Node | None = None


@dataclass(frozen=True, slots=True)
class Held(Node):
    """``held(condition, for d)``: true at every instant of the closed interval ``[now − d, now]``."""

    condition: Node
    duration: int


@dataclass(frozen=True, slots=True)
class Step(Node):
    """One step of a sequence."""

    event: str
    where: Node | None = None


@dataclass(frozen=True, slots=True)
class Sequence(Node):
    """``sequence(a, b, …, within w)``: such events one after another in (at, seq) order, all inside the window."""

    steps: tuple[Step, ...]
    within: int


@dataclass(frozen=True, slots=True)
class MemberOf(Node):
    """Surface: member of the named segment."""

    segment: str


@dataclass(frozen=True, slots=True)
class FeatureRef(Node):
    """Surface: the value of the named feature."""

    feature: str


@dataclass(frozen=True, slots=True)
class HasTag(Node):
    """Surface: the profile carries the tag."""

    tag: str


@dataclass(frozen=True, slots=True)
class Toggle(Node):
    """Resolved ``has_tag`` and membership by hand: the last event of type ``on`` or ``off`` whose ``data[key]`` equals
    ``value`` is an ``on``; false when there is none."""

    on: str
    off: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Consented(Node):
    """``consented(channel, purpose)``: see the semantics of consent in ``docs/explanation/semantics.md``."""

    channel: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Bucket(Node):
    """``bucket(salt)``: the profile's fixed place in [0, 1) for that salt (number)."""

    salt: str


def children(node: Node) -> Iterator[Node]:
    """Yield the direct sub-expressions in reading order."""
    for item in fields(node):
        value = getattr(node, item.name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from (part for part in value if isinstance(part, Node))


def walk(node: Node) -> Iterator[Node]:
    """Yield the node and everything below it, parents first."""
    yield node
    for child in children(node):
        yield from walk(child)
