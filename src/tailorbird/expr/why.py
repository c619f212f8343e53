"""Why a profile meets a condition or not: which clause decides, what was measured, the events behind it, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tailorbird.core.event import CONSENT_GRANTED, CONSENT_WITHDRAWN, PROFILE_UPDATED, Event
from tailorbird.expr import nodes as n
from tailorbird.expr.evaluate import NEVER, History, Value, evaluate, matches
from tailorbird.expr.incremental import Program, true_since
from tailorbird.expr.render import constant_text, to_text
from tailorbird.expr.signatures import type_of
from tailorbird.expr.types import Type
from tailorbird.expr.units import duration_text, instant_text

__all__ = ["Reason", "change_program", "next_change", "tell", "value_of", "why"]

_MOST_EVENTS: Final = 5
_MOST_STEPS: Final = 10_000
_LAST_INSTANT: Final = 253_402_300_799_999
"""The end of the year 9999; the calendar that texts are written with goes no further."""

_MEASURES = n.Aggregate | n.TimeSince | n.Attribute | n.Bucket | n.Now | n.FeatureRef
_TESTS = n.Did | n.Sequence | n.Held | n.Toggle | n.Consented


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One clause of an expression and how it stands.

    ``text`` is the clause as it is written, ``value`` what it yields (None: unknown), ``actual`` what was measured, in
    words (``2 of 3``), ``because`` its parts, ``events`` the latest (at most five) behind it, oldest first. ``until`` is
    the instant (ms) at which the clause next changes with no new event; None when it does not.
    """

    text: str
    value: Any
    actual: str | None = None
    because: tuple[Reason, ...] = ()
    events: tuple[Event, ...] = ()
    until: int | None = None


def why(node: n.Node, history: History, instant: int, *, until: bool = True) -> Reason:
    """Return how a resolved expression comes to its value for one profile at an instant (ms).

    Without ``until`` no clause says when it next changes, which is most of the work.
    """
    known = History(history.seed, history.until(instant), history.deadline)
    return _Asking(known, instant, until=until).reason(node)


def change_program(node: n.Node) -> Program:
    """Return what ``next_change`` needs of a condition; it may be kept and used for any history."""
    return Program({"true": node, "false": n.Not(item=node)})


def next_change(program: Program, history: History, instant: int) -> int | None:
    """Return the first instant after ``instant`` at which the condition of a program has another value, by time alone."""
    state = program.start(history.seed, history.until(instant))
    program.changes(state, None, instant)
    for _ in range(_MOST_STEPS):
        if history.deadline is not None:
            history.deadline.check()
        due = state.due
        if due == NEVER:
            return None
        if program.changes(state, None, due):
            return due
    return None


def value_of(node: n.Node, history: History, instant: int) -> Value:
    """Return the value of a resolved expression for one profile at an instant, as ``evaluate`` does, and sooner.

    Under ``held`` the reference looks at the whole history for every instant at which the condition might change.
    """
    if not any(isinstance(part, n.Held) for part in n.walk(node)):
        return evaluate(node, history, instant)
    program = Program({}, {"value": node})
    state = program.start(history.seed)
    for event in history.until(instant):
        if history.deadline is not None:
            history.deadline.check()
        program.fold(state, event)
    value: Value = program.value(state, "value", instant)
    return value


def tell(reason: Reason) -> str:
    """Return the reason as an indented tree: ✓ true, ✗ false, ? unknown, · a value.

    >>> print(tell(Reason(text="a and b", value=False, because=(Reason(text="a", value=True), Reason(text="b", value=None)))))
    ✗ a and b
      ✓ a
      ? b
    """
    return "\n".join(_lines(reason, 0))


def _lines(reason: Reason, depth: int) -> Iterator[str]:
    mark = (
        "?" if reason.value is None else {True: "✓", False: "✗"}.get(reason.value, "·") if isinstance(reason.value, bool) else "·"
    )
    notes = [reason.actual] if reason.actual else []
    if reason.until is not None:
        notes.append(f"until {_moment(reason.until)}")
    if reason.events:
        notes.append("events: " + ", ".join(f"{event.type} {_moment(event.at)}" for event in reason.events))
    yield "  " * depth + f"{mark} {reason.text}" + (f"   ({'; '.join(notes)})" if notes else "")
    for part in reason.because:
        yield from _lines(part, depth + 1)


def _moment(instant: int) -> str:
    return instant_text(instant) if 0 <= instant <= _LAST_INSTANT else f"{instant} ms"


def _words(value: Any, kind: Type) -> str:
    """Return a value as it is written in the language."""
    if value is None:
        return "unknown"
    if kind == Type.TIME:
        return _moment(value)
    if kind == Type.DURATION:
        return duration_text(value)
    return constant_text(n.Literal(value=value, type=kind))


class _Asking:
    """One question: the history as it was known at one instant."""

    def __init__(self, history: History, instant: int, *, until: bool) -> None:
        self.history = history
        self.instant = instant
        self.until = until

    def reason(self, node: n.Node) -> Reason:
        """Return the reason of a clause and, where they decide it, of its parts."""
        value = self.value(node)
        match node:
            case n.And() | n.Or():
                parts = tuple(self.reason(item) for item in node.items)
            case n.Not() | n.IsTrue():
                parts = (self.reason(node.item),)
            case n.If():
                chosen = node.then if self.value(node.condition) is True else node.otherwise
                parts = (self.reason(node.condition), self.reason(chosen))
            case n.Held():
                parts = (self.reason(node.condition),)
            case _:
                parts = tuple(self.reason(part) for part in self._parts(node))
        return Reason(
            text=to_text(node),
            value=value,
            actual=self._actual(node, value),
            because=parts,
            events=tuple(self._events(node)[-_MOST_EVENTS:]),
            until=self._until(node) if self.until and _is_condition(node) else None,
        )

    def value(self, node: n.Node) -> Any:
        """Return the value at the instant."""
        return value_of(node, self.history, self.instant)

    def _parts(self, node: n.Node) -> Iterator[n.Node]:
        """Yield the measurements and tests inside a clause, unless the clause shows its only one itself."""
        if isinstance(node, _MEASURES | _TESTS):
            return
        sides = [side for side in n.children(node) if not isinstance(side, n.Literal)]
        if len(sides) == 1 and isinstance(sides[0], _MEASURES):
            return
        seen: set[n.Node] = set()
        for side in sides:
            for item in self._measured(side):
                if item not in seen:
                    seen.add(item)
                    yield item

    def _measured(self, node: n.Node) -> Iterator[n.Node]:
        if isinstance(node, _MEASURES | _TESTS) or _is_condition(node):
            if not isinstance(node, n.Now):
                yield node
            return
        for child in n.children(node):
            yield from self._measured(child)

    # -- what was measured ------------------------------------------------------------------------------------------------

    def _actual(self, node: n.Node, value: Any) -> str | None:
        match node:
            case n.Compare():
                return self._compared(node)
            case n.In(item=side) | n.TextTest(text=side) | n.ListHas(items=side) | n.IsKnown(item=side) if not _is_condition(
                side
            ):
                return _words(self.value(side), type_of(side))
            case n.Did():
                found = self._matching(node)
                return f"{len(found)} such event{'s' * (len(found) != 1)}" if found else "no such event"
            case n.Held():
                return self._held(node)
            case n.Sequence():
                return f"{self._steps(node)} of {len(node.steps)} steps"
            case n.Literal() | n.And() | n.Or() | n.Not() | n.IsTrue() | n.Toggle() | n.Consented():
                return None
        return None if _is_condition(node) and not isinstance(node, _MEASURES) else _words(value, type_of(node))

    def _compared(self, node: n.Compare) -> str:
        left, right = (_words(self.value(side), type_of(side)) for side in (node.left, node.right))
        if isinstance(node.left, n.Literal):
            return right
        if not isinstance(node.right, n.Literal):
            return f"{left} against {right}"
        counted = isinstance(node.left, n.Aggregate) and node.left.fn in ("count", "distinct") and node.op in (">=", "=")
        return f"{left} of {right}" if counted else left

    def _held(self, node: n.Held) -> str:
        since = true_since(node.condition, self.history.seed, self.history.events, self.instant)
        if since is None:
            return "not true now"
        return f"true since {_moment(since)}" if since else "always true"

    def _steps(self, node: n.Sequence) -> int:
        for count in range(len(node.steps), 0, -1):
            if evaluate(n.Sequence(steps=node.steps[:count], within=node.within), self.history, self.instant):
                return count
        return 0

    # -- events -----------------------------------------------------------------------------------------------------------

    def _events(self, node: n.Node) -> list[Event]:
        """Return the events that a clause itself looks at (those of its parts belong to them)."""
        match node:
            case n.Aggregate() | n.Did():
                return self._matching(node)
            case n.TimeSince():
                return [event for event in self.history.events if matches(event, node.event, node.where, self.history)][-1:]
            case n.Attribute():
                return [event for event in self.history.events if _sets(event, node.path[0])][-1:]
            case n.Toggle():
                found = [event for event in self.history.events if event.type in (node.on, node.off)]
                return [event for event in found if event.data.get(node.key) == node.value][-1:]
            case n.Consented():
                return [event for event in self.history.events if _consents(event, node)]
            case n.Sequence():
                steps = [event for event in self.history.events if event.at > self.instant - node.within]
                return [
                    event for event in steps if any(matches(event, step.event, step.where, self.history) for step in node.steps)
                ]
            case n.Compare() | n.In() | n.TextTest() | n.ListHas() | n.IsKnown():
                sides = [side for side in n.children(node) if not isinstance(side, n.Literal)]
                return self._events(sides[0]) if len(sides) == 1 and isinstance(sides[0], _MEASURES) else []
        return []

    def _matching(self, node: n.Aggregate | n.Did) -> list[Event]:
        begin = -NEVER if node.within is None else self.instant - node.within
        return [
            event for event in self.history.events if event.at > begin and matches(event, node.event, node.where, self.history)
        ]

    # -- until when -------------------------------------------------------------------------------------------------------

    def _until(self, node: n.Node) -> int | None:
        """Return the first instant at which the condition has another value, by time alone."""
        return next_change(change_program(node), self.history, self.instant)


def _is_condition(node: n.Node) -> bool:
    return type_of(node) == Type.BOOL


def _sets(event: Event, name: str) -> bool:
    attributes = event.data.get("attributes")
    return event.type == PROFILE_UPDATED and isinstance(attributes, dict) and name in attributes


def _consents(event: Event, node: n.Consented) -> bool:
    same = event.data.get("channel") == node.channel and event.data.get("purpose") == node.purpose
    return same and event.type in (CONSENT_GRANTED, CONSENT_WITHDRAWN)
