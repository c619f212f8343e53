"""Random resolved expressions, histories and instants: every node, ties, late and repeated events, odd values, window edges."""

from __future__ import annotations

import os
from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tailorbird.core.event import (
    CONSENT_GRANTED,
    CONSENT_WITHDRAWN,
    MEMBER_ADDED,
    MEMBER_REMOVED,
    PROFILE_UPDATED,
    TAG_ADDED,
    TAG_REMOVED,
    Event,
)
from tailorbird.expr import nodes as n
from tailorbird.expr.evaluate import History
from tailorbird.expr.types import Type

T0 = 1_700_000_000_000
"""2023-11-14T22:13:20Z: hours, days and the end of a month are near."""
UNIT = 1_000
SPAN = 40
"""Events lie at ``T0 + k · UNIT`` for ``k`` in ``0..SPAN``; windows and durations are multiples of UNIT too, so that edges meet."""

EVENTS = ("a", "b", "Order Completed")
TEXTS = ("", "x", "FR", "Ünïcode ß", "axb", "pro", "2")
NUMBERS = (0.0, 1.0, 2.0, 2.5, -1.0, 0.1, 3.0, 10.0, 1e6, -0.0000005, 1e13)
TIMES = (
    "2023-11-14T22:13:20Z",
    "2023-11-14T22:13:30.500Z",
    "2023-11-15",
    "2023-11-14 22:13",
    "2023-11-14T23:13:40+01:00",
    "2023-02-30",
)
PATHS: dict[Type, tuple[tuple[str, ...], ...]] = {
    Type.NUMBER: (("n",), ("o", "n"), ("s",)),
    Type.TEXT: (("s",), ("o", "s"), ("n",)),
    Type.BOOL: (("f",), ("n",)),
    Type.TIME: (("d",), ("s",)),
    Type.TEXTS: (("l",), ("o",)),
}
NUMERIC: tuple[n.CompareOp, ...] = ("=", "!=", "<", "<=", ">", ">=")
EQUALITY: tuple[n.CompareOp, ...] = ("=", "!=")

thorough = os.environ.get("TAILORBIRD_THOROUGH") == "1"
LAW = settings(
    max_examples=5_000 if thorough else 150,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    print_blob=True,
)
"""How long the laws look: 150 examples, or 5,000 with ``TAILORBIRD_THOROUGH=1``."""


# -- histories ------------------------------------------------------------------------------------------------------------


def _objects() -> list[dict[str, Any]]:
    """Objects with some of the names that expressions look for, plain ones first; a fixed list, as drawing each value is slow."""
    plain: dict[str, list[Any]] = {
        "n": [1, 2, 3, 0, 2.5, -1, 10, 0.1],
        "s": list(TEXTS),
        "f": [True, False],
        "d": list(TIMES),
        "l": [["x"], [], ["x", "FR"], ["FR", 1, "pro"]],
        "o": [{"n": 2, "s": "x"}, {"n": 1}, {"s": "FR"}, {}],
    }
    odd = [
        None,
        True,
        "1",
        "x",
        3,
        -0.0,
        1e12,
        1.5e12,
        1e15,
        2e15,
        -0.0000005,
        [],
        ["x"],
        {},
        {"n": "x", "s": 2},
        10**30,
        "2023-13-01",
    ]
    chance = Random(7)
    found: list[dict[str, Any]] = [{}, {"n": 1}, {"s": "x"}, {"n": 2, "s": "FR", "f": True}]
    for place in range(90):
        names = [name for name in plain if chance.random() < 0.5]
        found.append({name: chance.choice(odd if chance.random() < place / 200 else plain[name]) for name in names})
    return found


OBJECTS = _objects()


def objects() -> st.SearchStrategy[dict[str, Any]]:
    """The data of an event, or attributes."""
    return st.sampled_from(OBJECTS)


@st.composite
def facts(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """The type and the data of one event."""
    kind = draw(st.sampled_from([*EVENTS, *EVENTS, PROFILE_UPDATED, PROFILE_UPDATED, "tag", "member", "consent", "other"]))
    if kind == PROFILE_UPDATED:
        return kind, draw(
            st.one_of(objects().map(lambda o: {"attributes": o}), st.sampled_from([{}, {"attributes": None}, {"attributes": 3}]))
        )
    if kind == "tag":
        return draw(st.sampled_from([TAG_ADDED, TAG_REMOVED])), draw(
            st.sampled_from([{"tag": "vip"}, {"tag": "new"}, {}, {"tag": 1}])
        )
    if kind == "member":
        return draw(st.sampled_from([MEMBER_ADDED, MEMBER_REMOVED])), {"segment": "list"}
    if kind == "consent":
        data: dict[str, Any] = {"channel": draw(st.sampled_from(["email", "email", "sms"])), "purpose": "marketing"}
        data |= draw(st.sampled_from([{}, {"explicit": True}, {"explicit": False}, {"explicit": "yes"}]))
        return draw(st.sampled_from([CONSENT_GRANTED, CONSENT_WITHDRAWN])), data
    return kind, draw(objects())


@st.composite
def arrivals(draw: st.DrawFn, max_size: int = 12) -> list[Event]:
    """Events in order of arrival: ``seq`` grows, ``at`` need not, times repeat, and so may ids."""
    moments = draw(
        st.lists(st.tuples(st.integers(0, SPAN), st.sampled_from([0, 0, 0, 1, 500]), st.integers(0, 11)), max_size=max_size)
    )
    if draw(st.booleans()):
        moments.sort(key=lambda moment: moment[:2])
    events: list[Event] = []
    for seq, (offset, more, repeat) in enumerate(moments, 1):
        name = seq - repeat if 9 <= repeat < seq else seq
        kind, data = draw(facts())
        at = T0 + offset * UNIT + more
        events.append(Event(id=f"e{name}", type=kind, profile=1, at=at, received_at=T0 + 10**9, data=data, seq=seq))
    return events


def seeds() -> st.SearchStrategy[int]:
    """The fixed chance of a profile."""
    return st.integers(0, 2**31 - 2)


def histories() -> st.SearchStrategy[History]:
    """Whole histories."""
    return st.builds(History, seeds(), arrivals())


def instants(events: Sequence[Event], node: n.Node | None = None) -> st.SearchStrategy[int]:
    """Instants at and around events, and at and around the ends of windows that begin with them."""
    edges = {T0 + UNIT * k for k in range(0, SPAN, 10)} | {event.at for event in events}
    spans = {0, UNIT}
    for item in n.walk(node) if node is not None else ():
        spans |= {int(span) for name in ("within", "duration") if (span := getattr(item, name, None)) is not None}
        if isinstance(item, n.Literal) and item.type == Type.DURATION:
            spans.add(int(item.value))  # type: ignore[arg-type]
    chosen = st.tuples(st.sampled_from(sorted(edges)), st.sampled_from(sorted(spans)), st.sampled_from([-1, 0, 0, 1]))
    return chosen.map(lambda parts: max(1, sum(parts)))


# -- expressions ----------------------------------------------------------------------------------------------------------
# ``where`` sees one event only; ``still`` holds no now and no time_since; ``held`` admits them in the simple comparisons only.


def durations_ms() -> st.SearchStrategy[int]:
    return st.sampled_from([1, UNIT, UNIT, 2 * UNIT, 5 * UNIT, 5 * UNIT, 10 * UNIT, 20 * UNIT, 86_400_000, 3_600_000, 10**13])


def windows() -> st.SearchStrategy[int | None]:
    return st.one_of(st.none(), durations_ms())


@st.composite
def literals(draw: st.DrawFn, kind: Type) -> n.Literal:
    """A constant of a type."""
    match kind:
        case Type.BOOL:
            return n.Literal(value=draw(st.booleans()), type=kind)
        case Type.NUMBER:
            return n.Literal(value=draw(st.one_of(st.sampled_from(NUMBERS), st.integers(-2, 6).map(float))), type=kind)
        case Type.TEXT:
            return n.Literal(value=draw(st.sampled_from(TEXTS)), type=kind)
        case Type.TIME:
            return n.Literal(value=T0 + UNIT * draw(st.integers(-2, SPAN + 20)), type=kind)
        case Type.DURATION:
            return n.Literal(value=draw(st.sampled_from([0, 1, -1])) * 7 + draw(durations_ms()), type=kind)
    return n.Literal(value=tuple(draw(st.lists(st.sampled_from(TEXTS), max_size=2))), type=kind)


@st.composite
def wheres(draw: st.DrawFn) -> n.Node | None:
    """What an event is asked, or None."""
    return draw(expressions(Type.BOOL, "where", 1)) if draw(st.integers(0, 2)) == 2 else None


@st.composite
def aggregates(draw: st.DrawFn, kind: Type) -> n.Node:
    """An aggregate over events that yields a type."""
    fns: list[n.AggregateFn] = ["first", "last"]
    if kind == Type.NUMBER:
        fns += ["count", "count", "sum", "sum", "avg", "min", "max", "distinct"]
    elif kind == Type.TIME:
        fns += ["min", "max"]
    fn = draw(st.sampled_from(fns))
    read_as = kind if fn not in ("count", "distinct") else None
    path = None if fn == "count" else draw(st.sampled_from(PATHS[read_as or Type.TEXT]))
    return n.Aggregate(
        fn=fn, event=draw(st.sampled_from(EVENTS)), path=path, where=draw(wheres()), within=draw(windows()), type=read_as
    )


@st.composite
def leaves(draw: st.DrawFn, kind: Type, scope: str) -> n.Node:
    """The smallest expressions of a type."""
    choices = ["literal"]
    if kind != Type.DURATION:
        choices += ["read", "read", "read"]
        if scope != "where":
            choices += ["aggregate", "aggregate", "aggregate"]
    if scope == "where" and kind == Type.TIME:
        choices += ["at", "at"]
    if scope == "free" and kind == Type.TIME:
        choices += ["now", "now"]
    if scope == "free" and kind == Type.DURATION:
        choices += ["since", "since"]
    if scope != "where" and kind == Type.NUMBER:
        choices.append("bucket")
    match draw(st.sampled_from(choices)):
        case "read":
            path = draw(st.sampled_from(PATHS[kind]))
            return n.Property(path=path, type=kind) if scope == "where" else n.Attribute(path=path, type=kind)
        case "aggregate":
            return draw(aggregates(kind))
        case "at":
            return n.EventTime()
        case "now":
            return n.Now()
        case "since":
            return n.TimeSince(event=draw(st.sampled_from(EVENTS)), where=draw(wheres()))
        case "bucket":
            return n.Bucket(salt=draw(st.sampled_from(["spring-test", "b"])))
    return draw(literals(kind))


@st.composite
def expressions(draw: st.DrawFn, kind: Type, scope: str = "free", depth: int = 2) -> n.Node:
    """A resolved expression of a type. ``scope`` is free, still, held or where (see above)."""
    if depth <= 0:
        return draw(leaves(kind, scope))
    if kind == Type.BOOL:
        return draw(conditions(scope, depth))
    value_scope = "still" if scope == "held" else scope

    def part(of: Type, still: bool = False) -> n.Node:
        return draw(expressions(of, "still" if still and scope == "free" else value_scope, depth - 1))

    general = draw(st.sampled_from(["leaf", "leaf", "special", "special", "special", "if", "default"]))
    if general == "if":
        return n.If(condition=draw(expressions(Type.BOOL, value_scope, depth - 1)), then=part(kind), otherwise=part(kind))
    if general == "default":
        return n.Call(fn="default", args=(part(kind), part(kind)))
    if general == "leaf" or kind == Type.TEXTS:
        return draw(leaves(kind, value_scope))
    return draw(composed(kind, part))


@st.composite
def composed(draw: st.DrawFn, kind: Type, part: Any) -> n.Node:
    """An operator or function that yields a type."""
    if kind == Type.TEXT:
        return n.Call(fn=draw(st.sampled_from(["lower", "upper"])), args=(part(kind),))
    if kind == Type.TIME:
        return n.Arith(op=draw(st.sampled_from(["+", "-"])), left=part(Type.TIME), right=part(Type.DURATION))
    if kind == Type.DURATION:
        match draw(st.sampled_from(["times", "over", "minus", "between", "negate", "extreme"])):
            case "times":
                sides = (part(Type.DURATION), part(Type.NUMBER, True))
                left, right = sides if draw(st.booleans()) else sides[::-1]
                return n.Arith(op="*", left=left, right=right)
            case "over":
                return n.Arith(op="/", left=part(Type.DURATION), right=part(Type.NUMBER, True))
            case "minus":
                return n.Arith(op=draw(st.sampled_from(["+", "-"])), left=part(Type.DURATION), right=part(Type.DURATION))
            case "between":
                return n.Arith(op="-", left=part(Type.TIME), right=part(Type.TIME))
            case "negate":
                return n.Negate(item=part(Type.DURATION))
        return n.Call(fn=draw(st.sampled_from(["min", "max"])), args=(part(kind), part(kind)))
    match draw(st.sampled_from(["sum", "times", "ratio", "negate", "extreme", "round", "simple", "part", "length"])):
        case "sum":
            return n.Arith(op=draw(st.sampled_from(["+", "-"])), left=part(kind), right=part(kind))
        case "times":
            return n.Arith(op=draw(st.sampled_from(["*", "/"])), left=part(kind), right=part(kind, True))
        case "ratio":
            return n.Arith(op="/", left=part(Type.DURATION), right=part(Type.DURATION, True))
        case "negate":
            return n.Negate(item=part(kind))
        case "extreme":
            return n.Call(
                fn=draw(st.sampled_from(["min", "max"])), args=tuple(part(kind) for _ in range(draw(st.integers(2, 3))))
            )
        case "round":
            digits = n.Literal(value=float(draw(st.integers(0, 6))), type=Type.NUMBER)
            return n.Call(fn="round", args=(part(kind), digits) if draw(st.booleans()) else (part(kind),))
        case "part":
            return n.Call(fn=draw(st.sampled_from(["year", "month", "day", "weekday", "hour"])), args=(part(Type.TIME),))
        case "length":
            return n.Call(fn="length", args=(part(draw(st.sampled_from([Type.TEXT, Type.TEXTS]))),))
    return n.Call(fn=draw(st.sampled_from(["abs", "floor", "ceil"])), args=(part(kind),))


@st.composite
def conditions(draw: st.DrawFn, scope: str = "free", depth: int = 3) -> n.Node:
    """A condition."""

    def part() -> n.Node:
        return draw(expressions(Type.BOOL, scope, depth - 1))

    match draw(st.sampled_from(["test", "test", "test", "not", "and", "and", "or", "if", "is_true", "default"])):
        case "not":
            return n.Not(item=part())
        case "and":
            return n.And(items=tuple(part() for _ in range(draw(st.integers(2, 3)))))
        case "or":
            return n.Or(items=tuple(part() for _ in range(draw(st.integers(2, 3)))))
        case "if":
            return n.If(condition=part(), then=part(), otherwise=part())
        case "is_true":
            return n.IsTrue(item=part())
        case "default":
            return n.Call(fn="default", args=(part(), part()))
    return draw(tests(scope, depth))


@st.composite
def tests(draw: st.DrawFn, scope: str = "free", depth: int = 3) -> n.Node:
    """A condition over values, events or facts."""
    choices = ["compare", "compare", "compare", "in", "text", "has", "known"]
    if scope != "where":
        choices += ["did", "did", "threshold", "threshold", "sequence", "toggle", "consented", "held"]
        if scope in ("free", "held"):
            choices += ["clock", "clock"]
    value_scope = "still" if scope == "held" else scope

    def part(kind: Type) -> n.Node:
        return draw(expressions(kind, value_scope, depth - 1))

    match draw(st.sampled_from(choices)):
        case "in":
            kind = draw(st.sampled_from([Type.NUMBER, Type.TEXT, Type.TIME, Type.DURATION]))
            return n.In(item=part(kind), options=tuple(draw(literals(kind)) for _ in range(draw(st.integers(1, 3)))))
        case "text":
            return n.TextTest(
                op=draw(st.sampled_from(["contains", "starts with", "ends with"])), text=part(Type.TEXT), part=part(Type.TEXT)
            )
        case "has":
            return n.ListHas(items=part(Type.TEXTS), item=part(Type.TEXT))
        case "known":
            return n.IsKnown(item=part(draw(st.sampled_from(list(Type)))))
        case "did":
            return n.Did(event=draw(st.sampled_from(EVENTS)), where=draw(wheres()), within=draw(windows()))
        case "threshold":
            aggregate, constant = draw(aggregates(Type.NUMBER)), draw(literals(Type.NUMBER))
            sides = (aggregate, constant) if draw(st.booleans()) else (constant, aggregate)
            return n.Compare(op=draw(st.sampled_from(NUMERIC)), left=sides[0], right=sides[1])
        case "sequence":
            size = draw(st.integers(2, 3))
            steps = tuple(n.Step(event=draw(st.sampled_from(EVENTS)), where=draw(wheres())) for _ in range(size))
            return n.Sequence(steps=steps, within=draw(durations_ms()))
        case "toggle":
            if draw(st.booleans()):
                return n.Toggle(on=TAG_ADDED, off=TAG_REMOVED, key="tag", value="vip")
            return n.Toggle(on=MEMBER_ADDED, off=MEMBER_REMOVED, key="segment", value="list")
        case "consented":
            return n.Consented(channel="email", purpose="marketing")
        case "held":
            return n.Held(condition=draw(expressions(Type.BOOL, "held", depth - 1)), duration=draw(durations_ms()))
        case "clock":
            return draw(clocks())
    kind = draw(st.sampled_from(list(Type)))
    ops = EQUALITY if kind in (Type.BOOL, Type.TEXTS) else NUMERIC
    return n.Compare(op=draw(st.sampled_from(ops)), left=part(kind), right=part(kind))


@st.composite
def clocks(draw: st.DrawFn) -> n.Node:
    """A comparison that ``held`` admits: time_since with a constant, or now with what stands still, give or take durations."""
    if draw(st.booleans()):
        left: n.Node = n.TimeSince(event=draw(st.sampled_from(EVENTS)), where=draw(wheres()))
        right = draw(literals(Type.DURATION))
    else:
        left, right = n.Now(), draw(expressions(Type.TIME, "still", 1))
    if draw(st.booleans()):
        left = n.Arith(op=draw(st.sampled_from(["+", "-"])), left=left, right=draw(literals(Type.DURATION)))
    sides = (left, right) if draw(st.booleans()) else (right, left)
    return n.Compare(op=draw(st.sampled_from(NUMERIC)), left=sides[0], right=sides[1])


@st.composite
def moving(draw: st.DrawFn) -> n.Node:
    """A comparison of values of which at least one moves with time."""
    kind = draw(st.sampled_from([Type.NUMBER, Type.DURATION, Type.TIME]))
    sides = [draw(expressions(kind, depth=3)) for _ in range(2)]
    if not any(isinstance(part, n.Now | n.TimeSince) for side in sides for part in n.walk(side)):
        since = n.TimeSince(event=draw(st.sampled_from(EVENTS)))
        sides[0] = {
            Type.NUMBER: n.Arith(op="/", left=since, right=n.Literal(value=draw(durations_ms()), type=Type.DURATION)),
            Type.DURATION: since,
            Type.TIME: n.Now(),
        }[kind]
    return n.Compare(op=draw(st.sampled_from(NUMERIC)), left=sides[0], right=sides[1])


def anything() -> st.SearchStrategy[n.Node]:
    """An expression of any type but texts of durations: what a feature may be."""
    return st.sampled_from(list(Type)).flatmap(expressions)
