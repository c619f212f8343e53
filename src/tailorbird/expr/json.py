"""The JSON form: one object per node, with its operator under ``op``; constants stand for themselves.

``from_json(to_json(node)) == node`` for every surface node. ``docs/reference/expressions.md`` lists the forms:

    {"op": ">=", "left": {"op": "count", "event": "page.viewed", "within": "7d"}, "right": 3}

Reading is strict: an unknown operator, an unknown or missing field or a value of the wrong kind is a mistake that
names its path, and all of them are reported together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from tailorbird.core.event import Json
from tailorbird.errors import InvalidExpression, Mistake
from tailorbird.expr.cursor import close_to
from tailorbird.expr.forms import CASTS, SCALARS
from tailorbird.expr.limits import MAX_DEPTH, MAX_LENGTH, MAX_MISTAKES, MAX_NODES, MAX_NUMBER
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
    Step,
    TextTest,
    TimeSince,
    Toggle,
)
from tailorbird.expr.read import parse_time
from tailorbird.expr.types import Type
from tailorbird.expr.units import (
    duration_of,
    duration_text,
    instant_text,
    percent_of,
    percent_text,
)

__all__ = ["JSON_OPS", "from_json", "to_json"]


class _Field(NamedTuple):
    """A field of a form: its name in JSON, the node's attribute, what kind of value it holds, and whether it must be there."""

    name: str
    attribute: str
    kind: str
    required: bool = True


class _Form(NamedTuple):
    """How one operator is written: the node's class, what the operator's name fixes in it, and its fields."""

    make: Callable[..., Node]
    fixed: Mapping[str, str]
    fields: tuple[_Field, ...]


_ITEM: Final = (_Field("item", "item", "node"),)
_SIDES: Final = (_Field("left", "left", "node"), _Field("right", "right", "node"))
_ITEMS: Final = (_Field("items", "items", "nodes"),)
_READ: Final = (_Field("path", "path", "path"), _Field("as", "type", "type", required=False))
_EVENT: Final = (_Field("event", "event", "name"), _Field("where", "where", "node", required=False))
_WITHIN: Final = _Field("within", "within", "length", required=False)
_OVER: Final = (_EVENT[0], _Field("path", "path", "path", required=False), _EVENT[1], _WITHIN, _READ[1])


def _forms() -> dict[str, _Form]:
    """Return the forms by operator; ``min`` and ``max`` of values are told from those of events by their ``args``."""
    forms = {
        "now": _Form(Now, {}, ()),
        "event_time": _Form(EventTime, {}, ()),
        "attribute": _Form(Attribute, {}, _READ),
        "property": _Form(Property, {}, _READ),
        "not": _Form(Not, {}, _ITEM),
        "and": _Form(And, {}, _ITEMS),
        "or": _Form(Or, {}, _ITEMS),
        "in": _Form(In, {}, (*_ITEM, _Field("options", "options", "constants"))),
        "has": _Form(ListHas, {}, (_Field("items", "items", "node"), *_ITEM)),
        "is known": _Form(IsKnown, {}, _ITEM),
        "is_true": _Form(IsTrue, {}, _ITEM),
        "negate": _Form(Negate, {}, _ITEM),
        "if": _Form(If, {}, tuple(_Field(name, name, "node") for name in ("condition", "then", "otherwise"))),
        "did": _Form(Did, {}, (*_EVENT, _WITHIN)),
        "time_since": _Form(TimeSince, {}, _EVENT),
        "held": _Form(Held, {}, (_Field("condition", "condition", "node"), _Field("for", "duration", "length"))),
        "sequence": _Form(Sequence, {}, (_Field("steps", "steps", "steps"), _Field("within", "within", "length"))),
        "member_of": _Form(MemberOf, {}, (_Field("segment", "segment", "name"),)),
        "feature": _Form(FeatureRef, {}, (_Field("name", "feature", "name"),)),
        "has_tag": _Form(HasTag, {}, (_Field("tag", "tag", "name"),)),
        "toggle": _Form(Toggle, {}, tuple(_Field(name, name, "name") for name in ("on", "off", "key", "value"))),
        "consented": _Form(Consented, {}, tuple(_Field(name, name, "name") for name in ("channel", "purpose"))),
        "bucket": _Form(Bucket, {}, (_Field("salt", "salt", "name"),)),
    }
    forms |= {op: _Form(Compare, {"op": op}, _SIDES) for op in ("=", "!=", "<", "<=", ">", ">=")}
    forms |= {op: _Form(Arith, {"op": op}, _SIDES) for op in "+-*/"}
    sides = (_Field("text", "text", "node"), _Field("part", "part", "node"))
    forms |= {op: _Form(TextTest, {"op": op}, sides) for op in ("contains", "starts with", "ends with")}
    forms |= {fn: _Form(Call, {"fn": fn}, (_Field("args", "args", "nodes"),)) for fn in SCALARS}
    for fn in ("count", "sum", "avg", "min", "max", "first", "last", "distinct"):
        forms[_aggregate_key(fn)] = _Form(Aggregate, {"fn": fn}, _OVER)
    return forms


def _aggregate_key(fn: str) -> str:
    """Return the table's key of an aggregate; ``min`` and ``max`` are scalar functions too."""
    return f"{fn} over events" if fn in SCALARS else fn


_FORMS: Final = _forms()
_OPS: Final = {(form.make, *form.fixed.values()): (op.removesuffix(" over events"), form) for op, form in _FORMS.items()}
_CONSTANT_OPS: Final = ("percent", "duration", "time")
JSON_OPS: Final = (*dict.fromkeys(op.removesuffix(" over events") for op in _FORMS), *_CONSTANT_OPS)
"""Every value that ``op`` may have."""


# writing ---------------------------------------------------------------------------------------------------
def to_json(node: Node) -> Json:
    """Return the expression as JSON values (see the module).

    >>> from tailorbird.expr.parse import parse
    >>> to_json(parse('plan in ("pro", "team")'))
    {'op': 'in', 'item': {'op': 'attribute', 'path': ['plan']}, 'options': ['pro', 'team']}
    """
    if isinstance(node, Literal):
        return _constant_json(node)
    name = getattr(node, "op", None) or (node.fn if isinstance(node, Call | Aggregate) else None)
    found = _OPS.get((type(node),) if name is None else (type(node), name))
    if found is None:
        raise TypeError(f"{type(node).__name__} has no JSON form")
    op, form = found
    out: dict[str, Json] = {"op": op}
    for item in form.fields:
        value = getattr(node, item.attribute)
        if value is not None:
            out[item.name] = _WRITERS[item.kind](value)
    return out


def _constant_json(node: Literal) -> Json:
    value = node.value
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, bool | str):
        return value
    match node.type:
        case Type.DURATION:
            return {"op": "duration", "value": duration_text(int(value))}
        case Type.TIME:
            return {"op": "time", "value": instant_text(int(value))}
        case _ if node.percent:
            return {"op": "percent", "value": percent_text(value)}
        case _:
            return int(value) if value == math.floor(value) and abs(value) <= 2**53 else float(value)


def _steps_json(steps: tuple[Step, ...]) -> Json:
    return [{"event": s.event} if s.where is None else {"event": s.event, "where": to_json(s.where)} for s in steps]


_WRITERS: Final[dict[str, Callable[[Any], Json]]] = {
    "node": to_json,
    "nodes": lambda nodes: [to_json(node) for node in nodes],
    "constants": lambda nodes: [to_json(node) for node in nodes],
    "path": list,
    "name": str,
    "type": str,
    "length": duration_text,
    "steps": _steps_json,
}


# reading ---------------------------------------------------------------------------------------------------
def from_json(value: Json) -> Node:
    """Return the surface expression that JSON values say.

    Raises ``InvalidExpression`` with every mistake; ``where`` in each is the path of the culprit, such as ``$.items[1].left``.

    >>> from_json({"op": "not", "item": {"op": "now"}})
    Not(item=Now())
    """
    reading = _Reading()
    try:
        node = reading.node(value, "$", 1)
    except _Enough:
        node = None
    if reading.mistakes or node is None:
        raise InvalidExpression("", tuple(reading.mistakes))
    return node


class _Enough(Exception):
    """Reading on is pointless: a limit was passed. Control flow inside this module, never seen outside."""


class _Reading:
    """One pass over JSON values; a part that cannot be read is None and its mistake is noted."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []
        self.made = 0
        self.letters = 0

    def fail(self, code: str, message: str, path: str, hint: str = "") -> None:
        self.mistakes.append(Mistake(code, message, hint, where=path))
        if len(self.mistakes) >= MAX_MISTAKES:
            raise _Enough

    def node(self, value: Json, path: str, depth: int) -> Node | None:
        self.made += 1
        if depth > MAX_DEPTH or self.made > MAX_NODES:
            message = f"an expression nests at most {MAX_DEPTH} levels and has at most {MAX_NODES} parts"
            self.fail("too_large", message, path, "split it into features and segments")
            raise _Enough
        if not isinstance(value, dict):
            return self.constant(value, path)
        op = value.get("op")
        if not isinstance(op, str):
            self.fail("missing_field", "an expression object needs a text under op", path, 'such as {"op": "now"}')
            return None
        if op in _CONSTANT_OPS:
            return self.constant_object(op, value, path)
        key = _aggregate_key(op) if op in ("min", "max") and "args" not in value else op
        form = _FORMS.get(key) if not op.endswith(" over events") else None
        if form is None:
            hint = close_to(op, sorted({*_FORMS, *_CONSTANT_OPS}))
            self.fail("unknown_operator", f"there is no operator {op[:60]!r}", f"{path}.op", hint)
            return None
        given = self.fields(value, form.fields, path, depth)
        return None if given is None else form.make(**form.fixed, **given)

    def fields(self, value: dict[str, Json], wanted: tuple[_Field, ...], path: str, depth: int) -> dict[str, Any] | None:
        """Return the node's attributes, or None when one of them cannot be read."""
        names = [item.name for item in wanted]
        before = len(self.mistakes)
        for name in value:
            if name != "op" and name not in names:
                hint = (isinstance(name, str) and close_to(name, names)) or f"the fields here are {', '.join(names) or 'none'}"
                self.fail("unknown_field", f"there is no field {str(name)[:60]!r} here", path, hint)
        given = {}
        for item in wanted:
            if item.name in value:
                given[item.attribute] = self.one(value[item.name], item.kind, f"{path}.{item.name}", depth)
            elif item.required:
                self.fail("missing_field", f"the field {item.name} is missing", path)
        return given if len(self.mistakes) == before else None

    def one(self, value: Json, kind: str, path: str, depth: int) -> Any:
        """Return the value of one field by its kind."""
        match kind:
            case "node":
                return self.node(value, path, depth + 1)
            case "nodes":
                return self.many(value, path, lambda item, at: self.node(item, at, depth + 1))
            case "constants":
                return self.many(value, path, lambda item, at: self.option(item, at, depth + 1))
            case "steps":
                return self.many(value, path, lambda item, at: self.step(item, at, depth + 1))
            case "path":
                return self.many(value, path, self.name)
            case "type":
                return self.cast(value, path)
            case "length":
                return self.length(value, path)
            case _:
                return self.name(value, path)

    def many(self, value: Json, path: str, read: Callable[[Json, str], Any]) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or not value:
            self.fail("wrong_kind", "a list with at least one member should stand here", path)
            return ()
        return tuple(read(item, f"{path}[{place}]") for place, item in enumerate(value))

    def name(self, value: Json, path: str) -> str:
        if not isinstance(value, str) or not value:
            self.fail("wrong_kind", "a text that is not empty should stand here", path)
            return "?"
        self.fit(value, path)
        return value

    def fit(self, value: str, path: str) -> None:
        """Check a text: what no database can hold, and how much there is."""
        self.letters += len(value)
        if self.letters > MAX_LENGTH:
            self.fail("too_large", f"an expression holds at most {MAX_LENGTH:,} characters of text", path)
            raise _Enough
        if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value):
            self.fail("bad_character", "this text holds a character that text cannot hold", path)

    def cast(self, value: Json, path: str) -> Type | None:
        if isinstance(value, str) and value in CASTS:
            return CASTS[value]
        self.fail("bad_cast", f"a reading is one of {', '.join(CASTS)}", path)
        return None

    def length(self, value: Json, path: str) -> int:
        ms = duration_of(value) if isinstance(value, str) else None
        if ms is None or ms <= 0:
            self.fail("bad_duration", "a duration longer than nothing should stand here", path, 'such as "7d" or "1d12h"')
            return 1
        return ms

    def step(self, value: Json, path: str, depth: int) -> Step | None:
        self.made += 1
        if not isinstance(value, dict):
            self.fail("wrong_kind", "a step should stand here", path, 'such as {"event": "order.placed"}')
            return None
        if "op" in value:
            self.fail("unknown_field", "a step has no op", path)
        given = self.fields(value, _EVENT, path, depth)
        return None if given is None else Step(**given)

    def option(self, value: Json, path: str, depth: int) -> Node | None:
        node = self.node(value, path, depth)
        if node is not None and not isinstance(node, Literal):
            self.fail("not_constant", "the options of in are constants", path)
        return node

    def constant(self, value: Json, path: str) -> Node | None:
        match value:
            case bool():
                return Literal(value, Type.BOOL)
            case int() | float():
                if not -MAX_NUMBER <= value <= MAX_NUMBER:  # nan is in no range
                    self.fail("bad_number", "a constant is a finite number of at most 1e15", path)
                    return None
                return Literal(float(value) + 0.0, Type.NUMBER)
            case str():
                self.fit(value, path)
                return Literal(value, Type.TEXT)
            case list() | tuple():
                for place, item in enumerate(value):
                    if not isinstance(item, str):
                        self.fail("wrong_kind", "lists hold texts", f"{path}[{place}]")
                    else:
                        self.fit(item, f"{path}[{place}]")
                return Literal(tuple(str(item) for item in value if isinstance(item, str)), Type.TEXTS)
            case _:
                self.fail("wrong_kind", "an expression should stand here", path, "there is no null: a missing value is unknown")
                return None

    def constant_object(self, op: str, value: dict[str, Json], path: str) -> Node | None:
        given = self.fields(value, (_Field("value", "value", "name"),), path, 0)
        if given is None:
            return None
        text = given["value"]
        match op:
            case "duration":
                ms = duration_of(text)
                if ms is not None:
                    return Literal(ms, Type.DURATION)
                self.fail("bad_duration", f"{text[:60]!r} is not a duration", f"{path}.value", 'such as "7d" or "1d12h"')
            case "time":
                ms = parse_time(text)
                if ms is not None:
                    return Literal(ms, Type.TIME)
                self.fail("bad_time", f"{text[:60]!r} is not a date or time", f"{path}.value", 'such as "2026-01-31T10:00:00Z"')
            case _:
                number = _percentage(text)
                if number is not None:
                    return Literal(number, Type.NUMBER, True)
                self.fail("bad_number", f"{text[:60]!r} is not a percentage", f"{path}.value", 'such as "10%"')
        return None


def _percentage(text: str) -> float | None:
    """Return the value of ``10%``, or None."""
    digits = text.removesuffix("%").removeprefix("-")
    if not text.endswith("%") or not digits.replace(".", "", 1).isdecimal() or not digits.isascii():
        return None
    value = percent_of(text)
    return value + 0.0 if abs(value) <= MAX_NUMBER else None
