"""The part of the grammar that looks like functions: aggregates over events, named things, scalar functions, casts."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, get_args

from tailorbird.expr.cursor import Cursor, close_to, describe
from tailorbird.expr.lexer import RESERVED, Token, TokenKind, unit_hint
from tailorbird.expr.nodes import (
    Aggregate,
    AggregateFn,
    Attribute,
    Bucket,
    Call,
    Consented,
    Did,
    FeatureRef,
    HasTag,
    Held,
    If,
    IsTrue,
    MemberOf,
    Node,
    Property,
    Sequence,
    Step,
    TimeSince,
)
from tailorbird.expr.types import Type

__all__ = ["AGGREGATES", "CASTS", "FORM_NAMES", "SCALARS", "Forms"]

AGGREGATES: Final[dict[str, AggregateFn]] = {fn: fn for fn in get_args(AggregateFn)}
"""The functions over events that give a value."""
CASTS: Final = {str(kind): kind for kind in (Type.NUMBER, Type.TEXT, Type.BOOL, Type.TIME, Type.TEXTS)}
"""``number(x)`` and its like, and the type each reads as."""
SCALARS: Final = {
    "min": (2, 20), "max": (2, 20), "abs": (1, 1), "round": (1, 2), "floor": (1, 1), "ceil": (1, 1), "lower": (1, 1),
    "upper": (1, 1), "length": (1, 1), "default": (2, 2), "year": (1, 1), "month": (1, 1), "day": (1, 1), "weekday": (1, 1),
    "hour": (1, 1),
}  # fmt: skip
"""The scalar functions, with the least and the greatest number of arguments."""

_NAMED: Final[dict[str, tuple[Callable[..., Node], int, str]]] = {
    "member_of": (MemberOf, 1, 'member_of("segment")'),
    "feature": (FeatureRef, 1, 'feature("name")'),
    "has_tag": (HasTag, 1, 'has_tag("tag")'),
    "bucket": (Bucket, 1, 'bucket("salt")'),
    "consented": (Consented, 2, 'consented("email", "marketing")'),
}
_OTHERS: Final = ("did", "time_since", "held", "sequence", "if", "is_true")
FORM_NAMES: Final = tuple(dict.fromkeys((*AGGREGATES, *_OTHERS, *_NAMED, *SCALARS, *CASTS)))
"""Every word that stands before an opening parenthesis."""
_KNOWN_ELSEWHERE: Final = {
    "coalesce": "write default(x, y)", "ifnull": "write default(x, y)", "nvl": "write default(x, y)", "len": "write length(x)",
    "mean": "write avg(…)", "average": "write avg(…)", "exists": "write did(…) for events, is known for values",
    "iif": "write if(condition, then, otherwise)", "case": "write if(condition, then, otherwise)", "today": "write now",
    "lcase": "write lower(x)", "ucase": "write upper(x)", "ceiling": "write ceil(x)", "date": "write the date itself: 2026-01-31",
    "segment": 'write member_of("segment")', "in_segment": 'write member_of("segment")', "tag": 'write has_tag("tag")',
    "consent": 'write consented("email", "marketing")', "isnull": "write is unknown", "starts_with": "write x starts with y",
    "startswith": "write x starts with y", "endswith": "write x ends with y", "ends_with": "write x ends with y",
    "contains": "write x contains y", "days_since": "write time_since(event) > 7d", "event": "write did(event) or count(event)",
    "num": "write number(x)", "string": "write text(x)", "str": "write text(x)", "int": "write number(x)",
    "list": "write texts(x)", "performed": "write did(event)", "has_done": "write did(event)",
    "not": "write not before the condition",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Event:
    """An event as it is named in the text, with the path of a property behind it."""

    name: str
    path: tuple[str, ...] | None


class Forms(Cursor, ABC):
    """Reads what has the shape ``word(…)``."""

    def form(self) -> Node:
        """Read one such form; the next two tokens are a word and an opening parenthesis."""
        self.depth += 1
        node = self.one_form(self.token.text)
        self.depth -= 1
        return node

    def one_form(self, word: str) -> Node:
        if word in AGGREGATES and (word not in SCALARS or self.over_events()):
            return self.aggregate()
        if word in SCALARS:
            return self.scalar()
        if word in CASTS:
            return self.cast()
        if word in _NAMED:
            return self.named()
        match word:
            case "did" | "time_since":
                return self.did()
            case "held":
                return self.held()
            case "sequence":
                return self.sequence()
            case "if" | "is_true":
                return self.logic()
            case _:
                return self.unknown_form()

    def unknown_form(self) -> Node:
        start, opening = self.take(), self.take()
        hint = _KNOWN_ELSEWHERE.get(start.text.lower()) or close_to(start.text.lower(), FORM_NAMES)
        hint = hint or "the reference of the expression language lists every function"
        self.fail("unknown_function", f"there is no function {start.text}", start, hint)
        self.skip(")")
        self.close(opening)
        return self.hole(start)

    # names -------------------------------------------------------------------------------------------------
    def path(self) -> tuple[str, ...]:
        """Read ``a.b.c``; the first segment is known to be a name."""
        names = [self.segment()]
        while self.token.is_sign("."):
            self.place += 1
            if self.token.kind not in (TokenKind.NAME, TokenKind.QUOTED):
                hint = "names that do not begin with a letter are written in backquotes: `2nd`"
                self.fail("unexpected", f"{describe(self.token)} where a name should stand after the dot", self.token, hint)
                if self.token.kind in (TokenKind.NUMBER, TokenKind.BROKEN, TokenKind.DURATION, TokenKind.TEXT):
                    self.place += 1
                break
            names.append(self.segment())
        return tuple(names)

    def segment(self) -> str:
        token = self.take()
        return str(token.value) if token.kind is TokenKind.QUOTED else token.text

    def is_name(self, token: Token) -> bool:
        """Tell whether a name can begin with the token."""
        return token.kind is TokenKind.QUOTED or (token.kind is TokenKind.NAME and token.text not in RESERVED)

    def event(self) -> _Event | None:
        """Read ``noun.past_tense.path…`` or ``"Any Name".path…``; None, with a mistake noted, when there is none."""
        start = self.token
        if start.kind is TokenKind.TEXT:
            self.place += 1
            if not start.value:
                self.fail("empty_name", "an event name cannot be empty", start)
            path: tuple[str, ...] = ()
            if self.token.is_sign(".") and self.ahead().kind in (TokenKind.NAME, TokenKind.QUOTED):
                self.place += 1
                path = self.path()
            return _Event(str(start.value), path or None)
        if not self.is_name(start):
            self.missing("an event")
            return None
        names = self.path()
        if self.token.kind is TokenKind.NAME and self.token.text not in RESERVED and self.token.text != "for":
            words = [start]
            while self.token.kind is TokenKind.NAME and self.token.text not in RESERVED:
                words.append(self.take())
            whole = " ".join([".".join(names), *(word.text for word in words[1:])])
            self.fail("unquoted_event", "an event name with spaces stands in quotes", self.since(start), f'write "{whole}"')
            return _Event(whole, None)
        if start.kind is TokenKind.QUOTED and len(names) == 1:
            return _Event(names[0], None)
        return _Event(".".join(names[:2]), names[2:] or None)

    # over events -------------------------------------------------------------------------------------------
    def over_events(self) -> bool:
        """Tell ``min(event.path where …, within …)`` from ``min(a, b)``: one event, not two values."""
        place = self.place + 2
        kinds = (TokenKind.NAME, TokenKind.QUOTED, TokenKind.TEXT)
        first = self.ahead(2)
        if first.kind not in kinds or (first.kind is TokenKind.NAME and first.text in RESERVED):
            return False
        while self.ahead(place - self.place).kind in kinds and self.ahead(place - self.place + 1).is_sign("."):
            place += 2
        after = self.ahead(place - self.place + 1)
        if after.is_sign(","):
            return self.ahead(place - self.place + 2).is_word("within")
        return after.is_sign(")") or after.is_word("where", "within")

    def where(self) -> Node | None:
        if not self.token.is_word("where"):
            return None
        word = self.take()
        outer, self.in_where = self.in_where, True
        node = self.expression()
        self.in_where = outer
        if self.token.is_word("where"):
            self.fail("unexpected", "where stands once", self.token, "join the conditions with and")
        elif self.in_where:
            self.fail("unexpected", "where cannot stand inside where", word)
        return node

    def window(self) -> int | None:
        """Read ``[,] within 7d`` if it comes next."""
        if not (self.token.is_word("within") or (self.token.is_sign(",") and self.ahead().is_word("within"))):
            return None
        self.accept(",")
        self.take()
        return self.length("within")

    def length(self, word: str) -> int:
        """Read a positive duration after ``within`` or ``for``."""
        token = self.token
        if token.kind is TokenKind.DURATION and isinstance(token.value, int):
            self.place += 1
            if token.value <= 0:
                self.fail("bad_duration", f"the duration after {word} must be longer than nothing", token)
            return token.value
        hint = f"write a duration such as {word} 7d; the units are ms s m h d w"
        if token.kind is TokenKind.NUMBER:
            self.place += 1
            unit = self.token.text if self.token.kind is TokenKind.NAME and self.token.text not in RESERVED else ""
            hint = (unit and unit_hint(token.text, unit)) or hint
            if unit:
                self.place += 1
        elif token.kind is TokenKind.BROKEN:
            self.place += 1
            return 1
        self.fail("bad_duration", f"{describe(token)} is not a duration", token, hint)
        return 1

    def aggregate(self) -> Node:
        start, opening = self.take(), self.take()
        fn = AGGREGATES[start.text]
        found = self.event()
        where, within = self.where(), self.window()
        if self.token.is_word("where"):
            self.fail("unexpected", "where stands before within", self.token, "write count(event where …, within 7d)")
        self.close(opening)
        span = self.since(start)
        if found is None:
            return self.hole(start)
        if fn == "count" and found.path is not None:
            event = ".".join((found.name, *found.path))
            hint = f'write "{event}" if the event is called so, or count the event where the property is known'
            self.fail("bad_event", "count counts events and takes no property", span, hint)
        elif fn != "count" and found.path is None:
            hint = f'write {fn}(order.placed.total), or {fn}("Order Placed".total)'
            self.fail("bad_event", f"{fn} needs a property of the event", span, hint)
        return Aggregate(fn, found.name, found.path, where, within, span=span)

    def did(self) -> Node:
        start, opening = self.take(), self.take()
        found = self.event()
        where, within = self.where(), self.window()
        self.close(opening)
        span = self.since(start)
        if found is None:
            return self.hole(start)
        self.no_path(found, start.text, span.start)
        if start.text == "did":
            return Did(found.name, where, within, span=span)
        if within is not None:
            hint = "compare instead: time_since(event) < 7d"
            self.fail("unexpected", "time_since looks at all time and takes no within", span, hint)
        return TimeSince(found.name, where, span=span)

    def no_path(self, found: _Event, word: str, start: int) -> None:
        if found.path is None:
            return
        event = ".".join((found.name, *found.path))
        hint = f'write "{event}" if the event is called so, or test the property: {found.name} where {found.path[0]} is known'
        token = next(t for t in self.tokens if t.span.start >= start)
        self.fail("bad_event", f"{word} takes an event, not a property of it", token, hint)

    def held(self) -> Node:
        start, opening = self.take(), self.take()
        condition = self.expression()
        comma = self.accept(",")
        duration = 1
        if self.token.is_word("for", "within"):
            if self.token.text == "within":
                self.fail("unexpected", "held says for how long", self.token, "write held(…, for 7d)")
            self.place += 1
            duration = self.length("for")
        else:
            self.fail("missing_for", "held needs to know for how long", self.token if comma else start, "write held(…, for 7d)")
        self.close(opening)
        return Held(condition, duration, span=self.since(start))

    def sequence(self) -> Node:
        start, opening = self.take(), self.take()
        steps: list[Step] = []
        within = None
        while True:
            first = self.token
            found = self.event()
            where = self.where()
            if found is not None:
                self.no_path(found, "sequence", first.span.start)
                steps.append(Step(found.name, where, span=self.since(first)))
                self.made_one(first.span)
            within = self.window()
            if within is not None or not self.accept(","):
                break
        self.close(opening)
        span = self.since(start)
        if within is None:
            hint = "write sequence(page.viewed, order.placed, within 1d)"
            self.fail("missing_within", "a sequence ends with the time it may take", start, hint)
        if len(steps) < 2:
            self.fail("too_few_steps", "a sequence has two or more steps", start, "for one event write did(event, within 1d)")
        return Sequence(tuple(steps), within or 1, span=span)

    # named things and values -------------------------------------------------------------------------------
    def named(self) -> Node:
        start, opening = self.take(), self.take()
        make, wanted, example = _NAMED[start.text]
        names: list[str] = []
        while not self.token.is_sign(")") and not self.at_end():
            token = self.take()
            if token.kind is not TokenKind.TEXT:
                self.fail("not_constant", f"{start.text} takes names in double quotes", token, f"write {example}")
                while not self.at_end() and not self.token.is_sign(",", ")"):
                    self.place += 1
            elif not token.value:
                self.fail("empty_name", "a name cannot be empty", token)
            names.append(str(token.value))
            if not self.accept(","):
                break
        self.close(opening)
        span = self.since(start)
        if len(names) != wanted:
            count = "one name" if wanted == 1 else f"{wanted} names"
            self.fail("wrong_arguments", f"{start.text} takes {count}, here are {len(names)}", span, f"write {example}")
            return self.hole(start)
        return make(*names, span=span)

    def arguments(self) -> tuple[Node, ...]:
        """Read ``(a, b, …)``."""
        opening, items = self.take(), []
        while not self.token.is_sign(")") and not self.at_end():
            items.append(self.expression())
            if not self.accept(","):
                break
        self.close(opening)
        return tuple(items)

    def scalar(self) -> Node:
        start = self.take()
        args = self.arguments()
        span = self.since(start)
        least, most = SCALARS[start.text]
        if not least <= len(args) <= most:
            wanted = str(least) if least == most else f"{least} or more" if most > 2 else f"{least} or {most}"
            hint = f"over events write {start.text}(order.placed.total, within 30d)" if start.text in AGGREGATES else ""
            self.fail("wrong_arguments", f"{start.text} takes {wanted} values, here are {len(args)}", span, hint)
        return Call(start.text, args, span=span)

    def logic(self) -> Node:
        start = self.take()
        args = self.arguments()
        span = self.since(start)
        wanted, example = (3, "if(condition, then, otherwise)") if start.text == "if" else (1, "is_true(condition)")
        if len(args) != wanted:
            self.fail("wrong_arguments", f"{start.text} takes {wanted} values, here are {len(args)}", span, f"write {example}")
            return self.hole(start)
        return If(*args, span=span) if wanted == 3 else IsTrue(*args, span=span)

    def cast(self) -> Node:
        start = self.take()
        args = self.arguments()
        span = self.since(start)
        if len(args) != 1:
            self.fail("wrong_arguments", f"{start.text} takes one value, here are {len(args)}", span)
            return self.hole(start)
        inner = args[0]
        readable = isinstance(inner, Attribute | Property) or (
            isinstance(inner, Aggregate) and inner.fn not in ("count", "distinct")
        )
        if not readable or not isinstance(inner, Attribute | Property | Aggregate):
            hint = "it stands directly around an attribute, a property or min, max, first, last of events"
            self.fail("bad_cast", f"{start.text}() says how a value is read out of data; it converts nothing", span, hint)
            return inner
        if inner.type is not None:
            self.fail("bad_cast", "the reading is already said", span, f"leave one of them out: {start.text}(…)")
        return replace(inner, type=CASTS[start.text], span=span)
