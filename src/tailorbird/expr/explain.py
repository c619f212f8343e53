"""An expression as a sentence for the person who wrote it, or has to agree to it."""

from __future__ import annotations

import re
from typing import Final

from tailorbird.core.context import DAY, HOUR, MINUTE, SECOND
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
from tailorbird.expr.render import constant_text
from tailorbird.expr.types import Type
from tailorbird.expr.units import duration_text, percent_text

__all__ = ["event_words", "explain", "length_words"]

_COMPARISONS: Final = {
    "=": "is",
    "!=": "is not",
    "<": "is less than",
    "<=": "is at most",
    ">": "is more than",
    ">=": "is at least",
}
_MOMENTS: Final = {"=": "is", "!=": "is not", "<": "is before", "<=": "is not after", ">": "is after", ">=": "is not before"}
_TIMES: Final = {"=": "exactly", "!=": "not exactly", "<": "fewer than", "<=": "at most", ">": "more than", ">=": "at least"}
_AGO: Final = {"<": "less than", "<=": "at most", ">": "more than", ">=": "at least", "=": "exactly", "!=": "not exactly"}
_FLIPPED: Final = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_TESTS: Final = {
    "contains": ("contains", "does not contain"), "starts with": ("starts with", "does not start with"),
    "ends with": ("ends with", "does not end with"),
}  # fmt: skip
_SUMS: Final = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
_OF_VALUES: Final = {
    "sum": "the sum of", "avg": "the average of", "min": "the smallest", "max": "the largest", "first": "the first",
    "last": "the latest", "distinct": "the number of different values of",
}  # fmt: skip
_CALLS: Final = {
    "abs": "{0} without its sign", "floor": "{0} rounded down", "ceil": "{0} rounded up", "lower": "{0} in small letters",
    "upper": "{0} in capitals", "length": "the length of {0}", "default": "{0} (or {1} if unknown)", "year": "the year of {0}",
    "month": "the month of {0}", "day": "the day of the month of {0}", "weekday": "the weekday (1 is Monday) of {0}",
    "hour": "the hour (UTC) of {0}",
}  # fmt: skip
_UNITS: Final = ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (SECOND, "second"), (1, "millisecond"))
_NATURAL: Final = re.compile(r"([a-z]+(?:_[a-z]+)*)\.([a-z]+ed|bought|paid|read|left|seen|made|won|lost|begun|set)")
_TO_THEM: Final = frozenset({"delivered", "bounced", "entered", "exited", "assigned", "updated", "merged", "failed", "granted"})


def explain(node: Node) -> str:
    """Return what the expression says, as one plain sentence without a full stop.

    Works for surface and resolved expressions.

    >>> from tailorbird.expr.parse import parse
    >>> print(explain(parse('count(page.viewed where url contains "/pricing", within 7d) >= 3 and country = "FR"')))
    has viewed a page whose url contains “/pricing” at least 3 times in the last 7 days, and country is “FR”
    """
    return _say(node)


def length_words(ms: int) -> str:
    """Return a duration in words.

    >>> length_words(604_800_000), length_words(3_600_000), length_words(129_600_000), length_words(90_000_001)
    ('7 days', '1 hour', '36 hours', '1d1h1ms')
    """
    if ms < 0:
        return f"minus {length_words(-ms)}"
    for unit, word in _UNITS:
        count = ms // unit
        if ms and ms % unit == 0 and (unit > 1 or count < SECOND):
            return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
    return duration_text(ms)


def event_words(event: str, where: Node | None = None) -> str:
    """Return what a person did, to follow ``has``.

    >>> event_words("order.placed"), event_words("Order Completed")
    ('placed an order', 'done “Order Completed”')
    """
    found = _NATURAL.fullmatch(event)
    if found is None or found.group(2) in _TO_THEM:
        text = f"done “{event}”" if found is None else f"had “{event}”"
        return text if where is None else f"{text} where {_say(where)}"
    noun = found.group(1).replace("_", " ")
    text = f"{found.group(2)} {'an' if noun[0] in 'aeio' else 'a'} {noun}"
    return text if where is None else f"{text} whose {_say(where)}"


def _last(ms: int | None) -> str:
    if ms is None:
        return ""
    words = length_words(ms)
    return f" in the last {words.removeprefix('1 ')}"


def _group(node: Node) -> str:
    """Return an operand, in parentheses where the sentence would be ambiguous without."""
    inside = node.item if isinstance(node, IsTrue) else node
    return f"({_say(inside)})" if isinstance(inside, And | Or | Arith | If) else _say(inside)


def _say(node: Node, *, yes: bool = True) -> str:
    """Return the words for a node; with ``yes`` false, for its negation."""
    match node:
        case And(items=items) | Or(items=items):
            word = "and" if isinstance(node, And) else "or"
            text = f", {word} ".join(_group(item) for item in items)
            return text if yes else f"it is not so that ({text})"
        case Not(item=item):
            return _say(item, yes=not yes)
        case IsTrue(item=item):
            return _say(item) if yes else f"it is not so that ({_say(item)})"
        case Compare():
            return _compare(node, yes)
        case In(item=item, options=options):
            return f"{_group(item)} is {'one' if yes else 'none'} of {', '.join(_say(option) for option in options)}"
        case TextTest(op=op, text=text_, part=part):
            return f"{_group(text_)} {_TESTS[op][0 if yes else 1]} {_group(part)}"
        case ListHas(items=items_, item=item):
            return f"{_group(items_)} {'has' if yes else 'does not have'} {_group(item)}"
        case IsKnown(item=item):
            return f"{_group(item)} is {'known' if yes else 'unknown'}"
        case If() | Attribute() | Property() | Literal() | Call():
            return _value(node) if yes else f"{_value(node)} is false"
        case Did() | Held() | Sequence() | MemberOf() | HasTag() | Toggle() | Consented():
            return _fact(node, yes)
        case _:
            return _value(node)


def _fact(node: Node, yes: bool) -> str:
    """Return the words for what is so of a person, or is not."""
    has, not_ = ("has", "") if yes else ("has not", "not ")
    match node:
        case Did(event=event, where=where, within=within):
            return f"{has} {event_words(event, where)}{_last(within)}"
        case Held(condition=condition, duration=duration):
            always = "so" if yes else "not always so"
            return f"for {length_words(duration)} without interruption, it was {always} that {_group(condition)}"
        case Sequence(steps=steps, within=within):
            return f"{has} {', then '.join(event_words(step.event, step.where) for step in steps)}, all{_last(within)}"
        case MemberOf(segment=name) | Toggle(key="segment", value=name):
            return f"is {not_}in the segment “{name}”"
        case HasTag(tag=name) | Toggle(value=name):
            return f"{'has' if yes else 'does not have'} the tag “{name}”"
        case Consented(channel=channel, purpose=purpose):
            return f"{has} consented to {channel} for {purpose}"
        case _:
            raise TypeError(f"{type(node).__name__} is not a fact")


def _compare(node: Compare, yes: bool) -> str:
    left, op, right = node.left, node.op, node.right
    if isinstance(left, Literal) and not isinstance(right, Literal):
        left, op, right = right, _FLIPPED[op], left  # type: ignore[assignment]  # the same six operators
    if not yes:
        return f"it is not so that {_compare(Compare(op, left, right), True)}"
    match left, right:
        case Aggregate(fn="count", event=event, where=where, within=within), Literal(type=Type.NUMBER):
            times = constant_text(right)
            return f"has {event_words(event, where)} {_TIMES[op]} {times} {'time' if times == '1' else 'times'}{_last(within)}"
        case TimeSince(event=event, where=where), Literal(type=Type.DURATION, value=int(ms)):
            return f"has last {event_words(event, where)} {_AGO[op]} {length_words(ms)} ago"
        case Bucket(salt=salt), Literal(type=Type.NUMBER, value=float(share)) if op in ("<", "<="):
            return f"is in the first {percent_text(share)} of the random split “{salt}”"
        case _, Literal(type=Type.BOOL, value=bool(wanted)) if op in ("=", "!="):
            return (
                _value(left) + (" is true" if wanted == (op == "=") else " is false") if _plain(left) else _both(left, op, right)
            )
        case _:
            return _both(left, op, right)


def _plain(node: Node) -> bool:
    return isinstance(node, Attribute | Property | Aggregate)


def _both(left: Node, op: str, right: Node) -> str:
    words = _MOMENTS if _momentary(left) or _momentary(right) else _COMPARISONS
    return f"{_group(left)} {words[op]} {_group(right)}"


def _momentary(node: Node) -> bool:
    """Tell whether a value is plainly a time, so that it is before or after rather than less or more."""
    if isinstance(node, Now | EventTime):
        return True
    return getattr(node, "type", None) is Type.TIME or (
        isinstance(node, Arith) and node.op in "+-" and _momentary(node.left) and not _momentary(node.right)
    )


def _value(node: Node) -> str:
    """Return the words for a value."""
    match node:
        case Literal(type=Type.TEXT, value=str(text)):
            return f"“{text}”"
        case Literal(type=Type.TEXTS, value=tuple(texts)):
            return "the list of " + (", ".join(f"“{text}”" for text in texts) or "nothing")
        case Literal(type=Type.DURATION, value=int(ms)):
            return length_words(ms)
        case Literal():
            return constant_text(node)
        case Now():
            return "now"
        case EventTime():
            return "its time"
        case Attribute(path=path) | Property(path=path):
            return ".".join(path)
        case Arith(op=op, left=left, right=right):
            return f"{_group(left)} {_SUMS[op]} {_group(right)}"
        case Negate(item=item):
            return f"minus {_group(item)}"
        case If(condition=condition, then=then, otherwise=otherwise):
            return f"{_group(then)} if {_group(condition)}, otherwise {_group(otherwise)}"
        case Call(fn=fn, args=args):
            return _call(fn, args)
        case FeatureRef(feature=name):
            return f"the feature “{name}”"
        case Bucket(salt=salt):
            return f"the place in the random split “{salt}”"
        case TimeSince(event=event, where=where):
            return f"the time since having last {event_words(event, where)}"
        case Aggregate(fn="count", event=event, where=where, within=within):
            return f"the number of times having {event_words(event, where)}{_last(within)}"
        case Aggregate(fn=fn, event=event, path=path, where=where, within=within):
            over = f" of “{event}” events{'' if where is None else f' whose {_say(where)}'}{_last(within)}"
            return f"{_OF_VALUES[fn]} {'.'.join(path or ())}{over}"
        case Step(event=event, where=where):
            return event_words(event, where)
        case _:
            return _say(node)


def _call(fn: str, args: tuple[Node, ...]) -> str:
    said = [_group(arg) for arg in args]
    if fn in ("min", "max"):
        return f"the {'smallest' if fn == 'min' else 'largest'} of {', '.join(said[:-1])} and {said[-1]}"
    if fn == "round":
        return f"{said[0]} rounded" + (f" to {said[1]} decimals" if len(said) > 1 else "")
    return _CALLS[fn].format(*said)
