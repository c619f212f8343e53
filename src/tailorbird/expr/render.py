"""Nodes back into text: the canonical way to write an expression, with no more parentheses than it needs.

``parse(to_text(node)) == node`` for every surface node.
"""

from __future__ import annotations

import re
from typing import Final

from tailorbird.expr.lexer import RESERVED
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
from tailorbird.expr.types import Type
from tailorbird.expr.units import duration_text, instant_text, number_text, percent_text, quoted

__all__ = ["constant_text", "to_text"]

_OR, _AND, _NOT, _COMPARE, _ADD, _MULTIPLY, _UNARY, _TIGHT = range(1, 9)
_BARE: Final = re.compile(r"[^\W\d]\w*")
_STRENGTH: Final = {"+": _ADD, "-": _ADD, "*": _MULTIPLY, "/": _MULTIPLY}


def to_text(node: Node) -> str:
    """Return the expression as text that parses back to it.

    Resolved expressions can be written too; a ``Toggle`` then reads as the ``has_tag`` or ``member_of`` it came from.

    >>> from tailorbird.expr.parse import parse
    >>> to_text(parse("not (a=1)  or (b = 2 and( c contains 'x'))"))
    'not a = 1 or b = 2 and c contains "x"'
    """
    return _write(node)[0]


def constant_text(node: Literal) -> str:
    """Return a constant as it is written."""
    value = node.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(quoted(item) for item in value) + "]"
    match node.type:
        case Type.DURATION:
            return duration_text(int(value))
        case Type.TIME:
            return instant_text(int(value))
        case _:
            return percent_text(value) if node.percent else number_text(value)


def _at_least(node: Node, strength: int) -> str:
    """Return the text of an operand, in parentheses unless it binds strongly enough."""
    text, bound = _write(node)
    return text if bound >= strength else f"({text})"


def _list(items: tuple[Node, ...]) -> str:
    return ", ".join(_at_least(item, 0) for item in items)


def _write(node: Node) -> tuple[str, int]:
    """Return the text and how strongly its outermost operator binds."""
    match node:
        case Or(items=items):
            return " or ".join(_at_least(item, _AND) for item in items), _OR
        case And(items=items):
            return " and ".join(_at_least(item, _NOT) for item in items), _AND
        case Not(item=In(item=item, options=options)):
            return f"{_at_least(item, _ADD)} not in ({_list(options)})", _COMPARE
        case Not(item=IsKnown(item=item)):
            return f"{_at_least(item, _ADD)} is unknown", _COMPARE
        case Not(item=item):
            return f"not {_at_least(item, _NOT)}", _NOT
        case Compare(op=op, left=left, right=right):
            return f"{_at_least(left, _ADD)} {op} {_at_least(right, _ADD)}", _COMPARE
        case In(item=item, options=options):
            return f"{_at_least(item, _ADD)} in ({_list(options)})", _COMPARE
        case TextTest(op=test, text=text, part=part):
            return f"{_at_least(text, _ADD)} {test} {_at_least(part, _ADD)}", _COMPARE
        case ListHas(items=items_, item=item):
            return f"{_at_least(items_, _ADD)} has {_at_least(item, _ADD)}", _COMPARE
        case IsKnown(item=item):
            return f"{_at_least(item, _ADD)} is known", _COMPARE
        case Arith(op=arith, left=left, right=right):
            bound = _STRENGTH[arith]
            return f"{_at_least(left, bound)} {arith} {_at_least(right, bound + 1)}", bound
        case Negate(item=Literal() as item):
            return f"-({constant_text(item)})", _UNARY
        case Negate(item=item):
            return f"-{_at_least(item, _UNARY)}", _UNARY
        case _:
            return _tight(node), _TIGHT


def _tight(node: Node) -> str:
    """Return the text of what needs no parentheses anywhere."""
    match node:
        case Literal():
            return constant_text(node)
        case Now():
            return "now"
        case EventTime():
            return "at"
        case Attribute(path=path, type=kind):
            return _cast(_path(path), kind)
        case Property(path=path, type=kind):
            return _cast(_path(path, at=True), kind)
        case IsTrue(item=item):
            return f"is_true({to_text(item)})"
        case Call(fn=fn, args=args):
            return f"{fn}({_list(args)})"
        case If(condition=condition, then=then, otherwise=otherwise):
            return f"if({_list((condition, then, otherwise))})"
        case Held(condition=condition, duration=duration):
            return f"held({to_text(condition)}, for {duration_text(duration)})"
        case MemberOf(segment=name):
            return f"member_of({quoted(name)})"
        case FeatureRef(feature=name):
            return f"feature({quoted(name)})"
        case HasTag(tag=name):
            return f"has_tag({quoted(name)})"
        case Toggle(key=key, value=value):
            return f"has_tag({quoted(value)})" if key == "tag" else f"member_of({quoted(value)})"
        case Consented(channel=channel, purpose=purpose):
            return f"consented({quoted(channel)}, {quoted(purpose)})"
        case Bucket(salt=salt):
            return f"bucket({quoted(salt)})"
        case _:
            return _over_events(node)


def _over_events(node: Node) -> str:
    match node:
        case Aggregate(fn=fn, event=event, path=path, where=where, within=within, type=kind):
            name = _event(event, path)
            return _cast(f"{fn}({name}{_where(where)}{_within(within)})", kind)
        case Did(event=event, where=where, within=within):
            return f"did({_event(event)}{_where(where)}{_within(within)})"
        case TimeSince(event=event, where=where):
            return f"time_since({_event(event)}{_where(where)})"
        case Sequence(steps=steps, within=within):
            return f"sequence({', '.join(_tight(step) for step in steps)}{_within(within)})"
        case Step(event=event, where=where):
            return f"{_event(event)}{_where(where)}"
        case _:
            raise TypeError(f"{type(node).__name__} has no text")


def _where(where: Node | None) -> str:
    return "" if where is None else f" where {to_text(where)}"


def _within(within: int | None) -> str:
    return "" if within is None else f", within {duration_text(within)}"


def _cast(text: str, kind: Type | None) -> str:
    return text if kind is None else f"{kind}({text})"


def _bare(name: str) -> bool:
    """Tell whether a name can stand without quotes after a dot."""
    return _BARE.fullmatch(name) is not None


def _capital_keyword(name: str) -> bool:
    return name.lower() in RESERVED


def _path(path: tuple[str, ...], *, at: bool = False) -> str:
    first, *others = path
    plain = _bare(first) and not _capital_keyword(first) and not (at and first == "at")
    return ".".join([first if plain else quoted(first, "`"), *(name if _bare(name) else quoted(name, "`") for name in others)])


def _event(event: str, path: tuple[str, ...] | None = None) -> str:
    """Return an event name, bare where it reads back: ``noun.past_tense``, or one word without a property."""
    words = event.split(".")
    plain = all(_bare(word) for word in words) and not _capital_keyword(words[0])
    name = event if plain and (len(words) == 2 or (len(words) == 1 and path is None)) else quoted(event)
    return name if path is None else ".".join([name, *(word if _bare(word) else quoted(word, "`") for word in path)])
