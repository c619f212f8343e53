"""Checking: names exist, types fit, time is used in ways that can be predicted; every mistake is reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, NamedTuple

from tailorbird.errors import InvalidExpression, Mistake
from tailorbird.expr.cursor import close_to
from tailorbird.expr.forms import SCALARS
from tailorbird.expr.infer import Cell, Inference
from tailorbird.expr.limits import (
    MAX_DEPTH,
    MAX_MISTAKES,
    MAX_NODES,
    MAX_NUMBER,
    MAX_RESOLVED_DEPTH,
    MAX_RESOLVED_NODES,
    MAX_STEPS,
)
from tailorbird.expr.nodes import (
    Aggregate,
    And,
    Attribute,
    Bucket,
    Call,
    Consented,
    Did,
    EventTime,
    FeatureRef,
    HasTag,
    Held,
    In,
    Literal,
    MemberOf,
    Node,
    Now,
    Or,
    Property,
    Sequence,
    Step,
    TimeSince,
    Toggle,
    walk,
)
from tailorbird.expr.rewrite import flat, member, respan, tag
from tailorbird.expr.shape import depth_within, size
from tailorbird.expr.signatures import EVERY, READABLE, operands, readings, result, signature, type_of
from tailorbird.expr.timing import held_mistakes, timing_mistakes
from tailorbird.expr.types import Type

__all__ = ["Names", "Schema", "references", "resolve", "type_of"]

_BOOL: Final = frozenset({Type.BOOL})


@dataclass(frozen=True, slots=True)
class Schema:
    """What an expression may name: declared attributes (``account.tier`` → type), segments with their resolved
    conditions (None: kept by hand), features with their resolved expressions and types. ``first_stage``
    is what the attribute ``status`` is where a person has none."""

    attributes: Mapping[str, Type] = field(default_factory=dict)
    segments: Mapping[str, Node | None] = field(default_factory=dict)
    features: Mapping[str, tuple[Node, Type]] = field(default_factory=dict)
    first_stage: str | None = None


class Names(NamedTuple):
    """What an expression names. ``attributes`` are top-level names, ``events`` event types."""

    segments: frozenset[str]
    features: frozenset[str]
    attributes: frozenset[str]
    events: frozenset[str]


def references(node: Node) -> Names:
    """Return the names that the expression itself mentions (of a surface expression: before anything is written out).

    >>> from tailorbird.expr.parse import parse
    >>> references(parse('member_of("vip") and did(page.viewed)')).segments
    frozenset({'vip'})
    """
    segments: set[str] = set()
    features: set[str] = set()
    attributes: set[str] = set()
    events: set[str] = set()
    for part in walk(node):
        match part:
            case MemberOf(segment=name):
                segments.add(name)
            case FeatureRef(feature=name):
                features.add(name)
            case Attribute(path=path):
                attributes.add(path[0])
            case Aggregate(event=name) | Did(event=name) | TimeSince(event=name) | Step(event=name):
                events.add(name)
            case _:
                pass
    return Names(frozenset(segments), frozenset(features), frozenset(attributes), frozenset(events))


def resolve(node: Node, schema: Schema, *, expect: Type | None = None, text: str | None = None) -> Node:
    """Return the expression with all readings fixed and all names written out.

    ``expect`` is the type it must give, ``text`` the source that its spans point into. Raises ``InvalidExpression``
    with every mistake; without ``text`` the mistakes carry no place.

    >>> from tailorbird.expr.parse import parse
    >>> resolve(parse("age > 17"), Schema(), expect=Type.BOOL).left
    Attribute(path=('age',), type=<Type.NUMBER: 'number'>)
    """
    if not depth_within(node, MAX_DEPTH) or size(node) > MAX_NODES:
        message = f"an expression nests at most {MAX_DEPTH} levels and has at most {MAX_NODES} parts"
        raise InvalidExpression(text or "", (Mistake("too_large", message, "split it into features and segments"),))
    checking = _Checking(schema)
    root = checking.cell(node)
    checking.inference.roots.append((root, EVERY if expect is None else frozenset({expect}), "the expression"))
    checking.inference.run()
    mistakes = checking.mistakes + checking.inference.mistakes
    if not mistakes and (too_large := checking.written_out(node)):
        mistakes.append(too_large)
    if not mistakes:
        resolved = checking.build(root)
        mistakes = timing_mistakes(resolved) + held_mistakes(resolved)
        if not mistakes and not depth_within(resolved, MAX_RESOLVED_DEPTH):
            message = f"with the segments and features that it names the expression nests deeper than {MAX_RESOLVED_DEPTH} levels"
            mistakes.append(Mistake("too_deep", message, "shorten the chain of segments that name segments", node.span))
        if not mistakes:
            return resolved
    raise InvalidExpression(text or "", _placed(mistakes, text))


def _placed(mistakes: list[Mistake], text: str | None) -> tuple[Mistake, ...]:
    """Return the mistakes in reading order and without repetition; without source text their spans mean nothing."""
    distinct = list(dict.fromkeys(mistakes))[:MAX_MISTAKES]
    if text is None:
        return tuple(replace(mistake, span=None) for mistake in distinct)
    return tuple(sorted(distinct, key=lambda m: m.span.start if m.span else 0))


class _Checking:
    """One run over an expression: makes the cells for inference, notes everything else that is wrong, and rebuilds."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.inference = Inference()
        self.mistakes: list[Mistake] = []
        self.event: str | None = None  # the event type whose where we are in

    def fail(self, code: str, message: str, node: Node, hint: str = "") -> None:
        self.mistakes.append(Mistake(code, message, hint, node.span))

    # going down: cells ---------------------------------------------------------------------------------------
    def cell(self, node: Node) -> Cell:
        """Return the cell of a node after those of its parts."""
        self.place(node)
        self.constants(node)
        parts = tuple(self.cell(part) for part in operands(node))
        cases = signature(node) if parts and self.shape(node) else ()
        kinds = frozenset(case[1] for case in cases) if cases else self.leaf(node)
        made = Cell(node, kinds, parts if cases else (), cases, self.key(node), broken=bool(parts) and not cases)
        self.inside(node, made)
        self.inference.cells.append(made)
        return made

    def leaf(self, node: Node) -> frozenset[Type]:
        """Return the types that a node without operands may have."""
        match node:
            case Attribute(path=path, type=None) if (declared := self.schema.attributes.get(".".join(path))) in READABLE:
                return frozenset({declared}) if declared else EVERY
            case Attribute() | Property() | Aggregate() if possible := readings(node):
                if node.type is None:
                    return possible
                if node.type not in possible:
                    self.fail("bad_cast", f"{node.type} is not a way to read this value", node)
                return frozenset({node.type})
            case FeatureRef(feature=name):
                found = self.schema.features.get(name)
                if found is None:
                    self.unknown("feature", name, self.schema.features, node)
                    return EVERY
                return frozenset({found[1]})
            case MemberOf(segment=name):
                if name not in self.schema.segments:
                    self.unknown("segment", name, self.schema.segments, node)
                return _BOOL
            case _:
                kind = result(node)
                return EVERY if kind is None else frozenset({kind})

    def unknown(self, kind: str, name: str, known: Mapping[str, Any], node: Node) -> None:
        hint = close_to(name, sorted(known)) or f"define the {kind} first; tailorbird {kind}s lists what there is"
        self.fail(f"unknown_{kind}", f"there is no {kind} called {name}", node, hint)

    def key(self, node: Node) -> tuple[str, ...] | None:
        """Return the name of the value in data that a node reads, so that two uses of it can agree."""
        match node:
            case Attribute(path=path):
                return ("attribute", ".".join(path))
            case Property(path=path):
                return ("event", self.event or "", ".".join(path))
            case Aggregate(event=event, path=path, fn=fn) if path is not None and fn not in ("count", "distinct"):
                return ("event", event, ".".join(path))
            case _:
                return None

    def inside(self, node: Node, made: Cell) -> None:
        """Visit conditions that stand apart from the types around them: ``where``, steps, what is held."""
        match node:
            case Aggregate(event=event, where=where) | Did(event=event, where=where) | TimeSince(event=event, where=where):
                made.where = self.condition(where, "where", event)
            case Sequence(steps=steps):
                made.steps = tuple(self.condition(step.where, "where", step.event) for step in steps)
            case Held(condition=condition):
                made.where = self.condition(condition, "held", None)
            case _:
                pass

    def condition(self, node: Node | None, what: str, event: str | None) -> Cell | None:
        if node is None:
            return None
        outer, self.event = self.event, event if event is not None else self.event
        made = self.cell(node)
        self.event = outer
        self.inference.roots.append((made, _BOOL, f"what stands in {what}"))
        return made

    # what else can be wrong ----------------------------------------------------------------------------------
    def place(self, node: Node) -> None:
        """Check that a node may stand where it stands: events' properties inside where only, and little else there."""
        if self.event is None:
            if isinstance(node, Property | EventTime):
                self.fail("bad_place", "a property of an event stands inside where only", node)
            return
        match node:
            case Now():
                self.fail("bad_place", "now cannot stand inside where", node, "use within, or compare at with a date")
            case Attribute():
                self.fail("bad_place", "an attribute of the profile cannot stand inside where", node)
            case Aggregate() | Did() | TimeSince() | Sequence() | Held():
                self.fail(
                    "bad_place", "other events cannot be looked at inside where", node, "join two conditions outside with and"
                )
            case MemberOf() | FeatureRef() | HasTag() | Consented() | Bucket() | Toggle():
                message = "where sees the event's own properties only, nothing of the profile"
                self.fail("bad_place", message, node, "move it outside and join with and")
            case _:
                pass

    def constants(self, node: Node) -> None:
        """Check constants and durations."""
        match node:
            case Literal(value=value, type=Type.NUMBER | Type.DURATION | Type.TIME):
                if not isinstance(value, int | float) or not abs(value) <= MAX_NUMBER:
                    self.fail("bad_number", "this constant is too large", node, "constants go up to 1e15")
            case Aggregate(within=int(within)) | Did(within=int(within)) | Sequence(within=within) | Held(duration=within):
                if not 0 < within <= MAX_NUMBER:
                    self.fail("bad_duration", "a window must be longer than nothing and at most 1e15 milliseconds", node)
            case _:
                pass
        match node:
            case Sequence(steps=steps) if len(steps) < 2:
                self.fail("too_few_steps", "a sequence has two or more steps", node)
            case Sequence(steps=steps) if len(steps) > MAX_STEPS:
                self.fail("too_many_steps", f"a sequence has at most {MAX_STEPS} steps, not {len(steps)}", node)
            case Aggregate(fn=fn, path=path) if (fn == "count") != (path is None):
                self.fail(
                    "bad_event", "count takes no property" if fn == "count" else f"{fn} needs a property of the event", node
                )
            case _:
                pass

    def shape(self, node: Node) -> bool:
        """Check the number of operands, and the second of round."""
        match node:
            case Call(fn=fn, args=args):
                least, most = SCALARS.get(fn, (0, -1))
                if not least <= len(args) <= most:
                    self.fail("wrong_arguments", f"there is no function {fn} of {len(args)} values", node)
                    return False
                if fn == "round" and len(args) == 2 and not _small_whole(args[1]):
                    self.fail("wrong_arguments", "round takes 0 to 6 decimals, written as a number", args[1], "write round(x, 2)")
            case And(items=items) | Or(items=items) if len(items) < 2:
                self.fail("wrong_arguments", "and and or join two or more conditions", node)
            case In(options=()):
                self.fail("empty", "in needs at least one option", node)
            case _:
                pass
        return True

    def written_out(self, node: Node) -> Mistake | None:
        """Return a mistake when names stand for too much: segments that name segments can double at every step."""
        total = 0
        for part in walk(node):
            match part:
                case MemberOf(segment=name):
                    condition = self.schema.segments[name]
                    total += size(condition) + 1 if condition is not None else 1
                case FeatureRef(feature=name):
                    total += size(self.schema.features[name][0])
                case _:
                    total += 1
            if total > MAX_RESOLVED_NODES:
                message = (
                    f"with the segments and features that it names the expression has more than {MAX_RESOLVED_NODES:,} parts"
                )
                return Mistake("too_large", message, "name fewer segments", part.span)
        return None

    # going up: the resolved expression -----------------------------------------------------------------------
    def build(self, cell: Cell) -> Node:
        """Return the resolved node of a cell; only called when there are no mistakes."""
        node = cell.node
        match node:
            case HasTag(tag=name):
                return tag(name, node.span)
            case MemberOf(segment=name):
                return member(name, self.schema.segments[name], node.span)
            case FeatureRef(feature=name):
                return respan(self.schema.features[name][0], node.span)
            case Attribute(path=("status",)) if self.schema.first_stage is not None and Type.TEXT in cell.kinds:
                status = replace(node, type=Type.TEXT)
                return Call("default", (status, Literal(self.schema.first_stage, Type.TEXT)), span=node.span)
            case Attribute() | Property():
                return replace(node, type=next(iter(cell.kinds)))
            case Aggregate():
                where = None if cell.where is None else self.build(cell.where)
                return replace(node, where=where, type=next(iter(cell.kinds)) if readings(node) else None)
            case Did() | TimeSince():
                return replace(node, where=None if cell.where is None else self.build(cell.where))
            case Held():
                assert cell.where is not None
                return replace(node, condition=self.build(cell.where))
            case Sequence(steps=steps):
                built = (None if one is None else self.build(one) for one in cell.steps)
                return replace(node, steps=tuple(replace(step, where=where) for step, where in zip(steps, built, strict=True)))
            case _ if cell.parts:
                return flat(_with_operands(node, [self.build(part) for part in cell.parts]))
            case _:
                return node


def _small_whole(node: Node) -> bool:
    return isinstance(node, Literal) and node.type is Type.NUMBER and node.value in (0, 1, 2, 3, 4, 5, 6)


def _with_operands(node: Node, parts: list[Node]) -> Node:
    """Return the node with other operands, given in the order of ``signatures.operands``."""
    changes: dict[str, Any] = {}
    rest = iter(parts)
    for item in fields(node):
        value = getattr(node, item.name)
        if isinstance(value, Node):
            changes[item.name] = next(rest)
        elif isinstance(value, tuple) and value and isinstance(value[0], Node):
            changes[item.name] = tuple(next(rest) for _ in value)
    return replace(node, **changes)
