"""The reference evaluator: slow, obvious, and what every other evaluator is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from typing import Any, Final, assert_never

from tailorbird.core.deadline import Deadline
from tailorbird.core.event import CONSENT_GRANTED, CONSENT_WITHDRAWN, PROFILE_UPDATED, Event
from tailorbird.core.ids import bucket
from tailorbird.expr import nodes as n
from tailorbird.expr.calendar import DATE_PARTS, civil
from tailorbird.expr.read import READERS, distinct_key, micros, read, walk_path
from tailorbird.expr.scalar import apply_arith, apply_call, compare, text_test
from tailorbird.expr.types import Type

__all__ = ["NEVER", "History", "Value", "changes", "evaluate", "matches"]

Value = bool | float | int | str | tuple[str, ...] | None
"""What an expression yields: numbers are float, times and durations int (ms), lists tuples of str, unknown None."""

NEVER: Final = 2**63 - 1
"""An instant that does not come."""
BEGINNING: Final = 0
"""No instant is earlier; ``held`` looks back no further."""


class History:
    """A profile's chance and its events in ``(at, seq)`` order, each event id once (its first arrival).

    With a ``deadline`` looking through it raises ``OverTime`` once that has passed.
    """

    __slots__ = ("deadline", "events", "seed")

    def __init__(self, seed: int, events: Iterable[Event], deadline: Deadline | None = None) -> None:
        first: dict[str, Event] = {}
        for event in sorted(events, key=lambda event: event.seq):
            first.setdefault(event.id, event)
        self.seed = seed
        self.deadline = deadline
        self.events = tuple(sorted(first.values(), key=lambda event: (event.at, event.seq)))

    def until(self, instant: int) -> tuple[Event, ...]:
        """Return the events with ``at <= instant``."""
        if self.deadline is not None:
            self.deadline.check()
        return tuple(event for event in self.events if event.at <= instant)


def evaluate(node: n.Node, history: History, instant: int) -> Value:
    """Return the value of a resolved expression over the history at an instant (ms); None is unknown.

    Raises TypeError for a surface node (``HasTag``, ``MemberOf``, ``FeatureRef``): ``check.resolve`` replaces them.
    """
    value: Value = _evaluate(node, history, instant, None)
    return value


def matches(event: Event, type: str, where: n.Node | None, history: History) -> bool:
    """Return whether an event is of the type and its whole ``where`` is true."""
    return event.type == type and (where is None or _evaluate(where, history, event.at, event) is True)


def _evaluate(node: n.Node, history: History, now: int, event: Event | None) -> Any:
    def value(item: n.Node) -> Any:
        return _evaluate(item, history, now, event)

    match node:
        case n.Literal():
            return float(node.value) if isinstance(node.value, int | float) and node.type == "number" else node.value
        case n.Now():
            return now
        case n.EventTime():
            return event.at if event else None
        case n.Property():
            return _read(event.data if event else None, node.path, node.type)
        case n.Attribute():
            return _attribute(node, history, now)
        case n.Not():
            item = value(node.item)
            return None if item is None else not item
        case n.And():
            items = [value(item) for item in node.items]
            return False if False in items else None if None in items else True
        case n.Or():
            items = [value(item) for item in node.items]
            return True if True in items else None if None in items else False
        case n.Compare():
            return compare(node.op, value(node.left), value(node.right))
        case n.In():
            item = value(node.item)
            return None if item is None else any(item == value(option) for option in node.options)
        case n.TextTest():
            return text_test(node.op, value(node.text), value(node.part))
        case n.ListHas():
            items, item = value(node.items), value(node.item)
            return None if items is None or item is None else item in items
        case n.IsKnown():
            return value(node.item) is not None
        case n.IsTrue():
            return value(node.item) is True
        case n.Arith():
            return apply_arith(node.op, value(node.left), value(node.right))
        case n.Negate():
            item = value(node.item)
            return None if item is None else 0 - item
        case n.Call():
            return apply_call(node.fn, [value(arg) for arg in node.args])
        case n.If():
            return value(node.then if value(node.condition) is True else node.otherwise)
        case n.Aggregate():
            return _aggregate(node, _matching(node, history, now))
        case n.Did():
            return bool(_matching(node, history, now))
        case n.TimeSince():
            found = [item for item in history.until(now) if matches(item, node.event, node.where, history)]
            return now - found[-1].at if found else None
        case n.Sequence():
            return _sequence(node, history, now)
        case n.Held():
            return _held(node, history, now)
        case n.Toggle():
            found = [item for item in history.until(now) if item.type in (node.on, node.off)]
            found = [item for item in found if item.data.get(node.key) == node.value]
            return bool(found) and found[-1].type == node.on
        case n.Consented():
            return _consented(node, history, now)
        case n.Bucket():
            return bucket(history.seed, node.salt)
    raise TypeError(f"{type(node).__name__} is not a resolved node; pass the expression through check.resolve first")


def _read(data: Any, path: tuple[str, ...], as_type: Any) -> Any:
    return None if as_type is None else read(data, path, as_type)


def _attribute(node: n.Attribute, history: History, now: int) -> Any:
    for event in reversed(history.until(now)):
        attributes = event.data.get("attributes")
        if event.type == PROFILE_UPDATED and isinstance(attributes, dict) and node.path[0] in attributes:
            return _read(attributes, node.path, node.type)
    return None


def _matching(node: n.Aggregate | n.Did, history: History, now: int) -> list[Event]:
    """Return the events of the window ``(now - within, now]`` that count, in order."""
    return [
        event
        for event in history.until(now)
        if (node.within is None or event.at > now - node.within) and matches(event, node.event, node.where, history)
    ]


def _aggregate(node: n.Aggregate, events: list[Event]) -> Any:
    if node.fn == "count":
        return float(len(events))
    assert node.path is not None
    reader = {"sum": micros, "avg": micros, "distinct": distinct_key}.get(node.fn) or READERS[node.type or Type.NUMBER]
    values: list[Any] = [known for event in events if (known := reader(walk_path(event.data, node.path))) is not None]
    match node.fn:
        case "sum":
            return float(sum(values)) / 1e6
        case "avg":
            return float(sum(values)) / 1e6 / float(len(values)) if values else None
        case "distinct":
            return float(len(set(values)))
        case "min":
            return min(values, default=None)
        case "max":
            return max(values, default=None)
        case "first":
            return values[0] if values else None
        case "last":
            return values[-1] if values else None
    assert_never(node.fn)


def _sequence(node: n.Sequence, history: History, now: int) -> bool:
    step = 0
    for event in history.until(now):
        wanted = node.steps[step]
        if event.at > now - node.within and matches(event, wanted.event, wanted.where, history):
            step += 1  # the earliest event that fits leaves most room for the steps after it
            if step == len(node.steps):
                return True
    return False


def _held(node: n.Held, history: History, now: int) -> bool:
    begin = max(BEGINNING, now - node.duration)
    instants = [begin, *changes(node.condition, history, begin, now)]
    return all(_evaluate(node.condition, history, instant, None) is True for instant in instants)


def _consented(node: n.Consented, history: History, now: int) -> bool:
    granted, explicit, withdrawn = False, -1, -1
    for place, event in enumerate(history.until(now)):
        if event.data.get("channel") != node.channel or event.data.get("purpose") != node.purpose:
            continue
        if event.type == CONSENT_GRANTED:
            granted = True
            explicit = place if event.data.get("explicit") is True else explicit
        elif event.type == CONSENT_WITHDRAWN:
            withdrawn = place
    return granted if withdrawn < 0 else explicit > withdrawn


def changes(node: n.Node, history: History, since: int, until: int) -> Iterator[int]:
    """Yield, in order, the instants of ``(since, until]`` at which the value may differ from the one just before.

    Between them it is constant, or (a value that varies with time) a straight line up to rounding.
    """
    instant = since
    while (instant := _next(node, history, instant, until)) <= until:
        yield instant


def _next(node: n.Node, history: History, t: int, until: int) -> int:
    """Return the first instant after ``t`` at which the line may break; anything later than ``until`` is none."""
    found = [_next(child, history, t, until) for child in n.children(node) if not isinstance(child, n.Step)]
    match node:
        case n.Literal() | n.Now() | n.Bucket():
            return NEVER
        case n.Aggregate() | n.Did() | n.Sequence():
            found = [_next_event(history, t)]
            if node.within is not None:
                found.append(_next_event(history, t - node.within) + node.within)
        case n.Held():
            # The run that reaches back to the beginning has no start that could pass.
            found += [_next(node.condition, history, max(t - node.duration, BEGINNING), until) + node.duration]
        case n.Attribute() | n.Toggle() | n.Consented() | n.TimeSince():
            found = [_next_event(history, t)]
        case n.Compare():
            found.append(_bend(node, _order([node.left, node.right], history), t, min(*found, until + 1)))
        case n.In():
            found.append(_bend(node, _order([node.item, *node.options], history), t, min(*found, until + 1)))
        case n.Call(fn="min" | "max" | "abs"):
            zero = [n.Arith(op="-", left=arg, right=arg) for arg in node.args] if node.fn == "abs" else []
            found.append(_bend(node, _order([*node.args, *zero], history), t, min(*found, until + 1)))
        case n.Call(fn=fn) if fn in ("floor", "ceil", "round") or fn in DATE_PARTS:
            found.append(_bend(node, lambda at: _steps(node, history, at), t, min(*found, until + 1)))
    return min(found, default=NEVER)


def _next_event(history: History, t: int) -> int:
    if history.deadline is not None:
        history.deadline.check()
    return next((event.at for event in history.events if event.at > t), NEVER)


def _order(items: list[n.Node], history: History) -> Callable[[int], Any]:
    """Return what tells which of the values is smaller: straight lines cross once."""

    def order(at: int) -> Any:
        values: list[Any] = [evaluate(item, history, at) for item in items]
        return [None if a is None or b is None else (a > b) - (a < b) for a, b in combinations(values, 2)]

    return order


def _steps(node: n.Call, history: History, at: int) -> Any:
    """Return the step a straight line stands on: it never comes back to one that it left."""
    instant: Any = evaluate(node.args[0], history, at)
    if node.fn not in DATE_PARTS or instant is None:
        return evaluate(node, history, at)
    if node.fn == "hour":
        return instant // 3_600_000
    return civil(instant // 86_400_000)[: {"year": 1, "month": 2}.get(node.fn, 3)]


def _bend(node: n.Node, key: Callable[[int], Any], t: int, end: int) -> int:
    """Return the first instant of ``(t, end)`` where the key is not what it is at ``t``, by halving; NEVER if there is none."""
    if end - 1 <= t or not _varies(node):
        return NEVER
    here, low, high = key(t), t, end - 1
    if key(high) == here:
        return NEVER
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if key(middle) == here else (low, middle)
    return high


def _varies(node: n.Node) -> bool:
    return any(isinstance(item, n.Now | n.TimeSince) for item in n.walk(node))
