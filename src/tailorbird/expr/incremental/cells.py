"""The state that expressions need of a history: which cells there are, where they lie in a profile's row, and how an event updates them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tailorbird.core.event import CONSENT_GRANTED, CONSENT_WITHDRAWN, PROFILE_UPDATED
from tailorbird.expr import nodes as n
from tailorbird.expr.evaluate import NEVER
from tailorbird.expr.incremental.lower import AtLeast, SumAtLeast
from tailorbird.expr.incremental.support import EMPTY_ATS, EMPTY_SUMS, PAST
from tailorbird.expr.types import Type

__all__ = [
    "AttributeCells", "Cell", "Cells", "ConsentCell", "HeldCell", "SequenceCell", "StreamCell", "ToggleCell", "distinct_nodes",
    "event_types", "uses",
]  # fmt: skip


class Cell:
    """A place in the row; ``slot`` is the first of the entries it has there."""

    slot: int


@dataclass(slots=True, eq=False)
class StreamCell(Cell):
    """What is kept of the events of one type that fit one ``where`` (and of one value in them).

    ``kind`` is latest, total, times, sum, sums, mean, min, max, mins, maxs, first, last, firsts, set or distinct;
    ``window`` the longest window asked of it, ``keep`` the number of latest instants.
    """

    slot: int
    kind: str
    event: str
    where: n.Node | None
    path: tuple[str, ...] | None
    reading: Type | str | None
    window: int = 0
    keep: int = 0


@dataclass(slots=True, eq=False)
class AttributeCells(Cell):
    """One top-level attribute: ``slot`` is the time it was last set; ``values`` the slot of every reading of it."""

    slot: int
    name: str
    values: dict[tuple[tuple[str, ...], Type], int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class ToggleCell(Cell):
    """The time of the last toggle, and in the next slot whether it was switched on."""

    slot: int
    node: n.Toggle


@dataclass(slots=True, eq=False)
class ConsentCell(Cell):
    """Whether consent is given; the next slot holds what decides it."""

    slot: int
    node: n.Consented


@dataclass(slots=True, eq=False)
class SequenceCell(Cell):
    """A list: time of the last event consumed, then per step the latest start of a chain that reached it."""

    slot: int
    steps: tuple[n.Step, ...]


@dataclass(slots=True, eq=False)
class HeldCell(Cell):
    """The tracker of one condition (shared by durations) and the name of its compiled function."""

    slot: int
    condition: n.Node
    function: str
    size: int


_VALUES: dict[str, tuple[Any, ...]] = {
    "latest": (PAST,), "total": (0,), "times": ((),), "sum": (0,), "mean": (0, 0), "sums": (EMPTY_ATS, EMPTY_SUMS, False),
    "min": (None,), "max": (None,), "mins": ((), None), "maxs": ((), None), "first": (NEVER, None), "last": (PAST, None),
    "firsts": ((), None), "set": ((),), "distinct": ((), None),
}  # fmt: skip


class Cells:
    """All cells of a program; ``row`` is the row of a profile without history (slot 0 is its seed)."""

    def __init__(self) -> None:
        self.row: list[Any] = [0]
        self._known: dict[Hashable, Any] = {}

    def __iter__(self) -> Iterator[Any]:
        return iter(self._known.values())

    def _place(self, *initial: Any) -> int:
        self.row.extend(initial)
        return len(self.row) - len(initial)

    def stream(self, kind: str, node: Any, path: tuple[str, ...] | None = None, reading: Type | str | None = None) -> StreamCell:
        """Return the cell of a kind over ``node.event`` and ``node.where``, wide enough for ``node.within``."""
        key = (kind, node.event, node.where and id(node.where), path, reading)
        cell = self._known.get(key)
        if cell is None:
            slot = self._place(*_VALUES[kind])
            cell = self._known[key] = StreamCell(slot, kind, node.event, node.where, path, reading)
        assert isinstance(cell, StreamCell)
        return cell

    def of(self, node: Any) -> StreamCell:
        """Return the cell that answers a (lowered) aggregate, threshold or ``time_since``."""
        match node:
            case n.TimeSince():
                return self.stream("latest", node)
            case AtLeast():
                return self._of_threshold(node)
            case SumAtLeast():
                return self._window("sum" if node.within is None else "sums", node, node.path, "micros")
            case n.Aggregate():
                return self._of_aggregate(node)
        raise TypeError(f"{type(node).__name__} has no stream")

    def _window(self, kind: str, node: Any, path: tuple[str, ...] | None = None, reading: Type | str | None = None) -> StreamCell:
        cell = self.stream(kind, node, path, reading)
        cell.window = max(cell.window, node.within or 0)
        return cell

    def _of_threshold(self, node: AtLeast) -> StreamCell:
        if node.path is not None:
            return self._window("set" if node.within is None else "distinct", node, node.path, "distinct")
        if node.within is None:
            return self.stream("total", node)
        if node.least == 1:
            return self.stream("latest", node)
        cell = self.stream("times", node)
        cell.keep = max(cell.keep, node.least)
        return cell

    def _of_aggregate(self, node: n.Aggregate) -> StreamCell:
        windowed = node.within is not None
        match node.fn:
            case "count":
                return self._window("times" if windowed else "total", node)
            case "distinct":
                return self._window("distinct" if windowed else "set", node, node.path, "distinct")
            case "sum":
                return self._window("sums" if windowed else "sum", node, node.path, "micros")
            case "avg":
                return self._window("sums" if windowed else "mean", node, node.path, "micros")
            case "min" | "max":
                return self._window(f"{node.fn}s" if windowed else node.fn, node, node.path, node.type)
            case "first":
                return self._window("firsts" if windowed else "first", node, node.path, node.type)
        return self.stream("last", node, node.path, node.type)

    def attribute(self, node: n.Attribute) -> int:
        """Return the slot of an attribute's value."""
        name = node.path[0]
        cell = self._known.get(("attribute", name))
        if cell is None:
            cell = self._known["attribute", name] = AttributeCells(self._place(PAST), name)
        assert isinstance(cell, AttributeCells) and node.type is not None
        key = (node.path, node.type)
        if key not in cell.values:
            cell.values[key] = self._place(None)
        return cell.values[key]

    def toggle(self, node: n.Toggle) -> ToggleCell:
        """Return the cell of a toggle."""
        return self._once(id(node), lambda: ToggleCell(self._place(PAST, False), node))  # type: ignore[no-any-return]

    def consent(self, node: n.Consented) -> ConsentCell:
        """Return the cell of a consent."""
        return self._once(id(node), lambda: ConsentCell(self._place(False, None), node))  # type: ignore[no-any-return]

    def sequence(self, node: n.Sequence) -> SequenceCell:
        """Return the cell of a sequence; windows of different length share it."""
        return self._once(("sequence", tuple(map(id, node.steps))), lambda: SequenceCell(self._place(None), node.steps))  # type: ignore[no-any-return]

    def held(self, node: n.Held) -> HeldCell:
        """Return the tracker of a condition."""
        make = lambda: HeldCell(slot := self._place(None), node.condition, f"held_{slot}", sum(1 for _ in distinct_nodes([node])))  # noqa: E731
        return self._once(("held", id(node.condition)), make)  # type: ignore[no-any-return]

    def _once(self, key: Hashable, make: Any) -> Any:
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def require(self, node: n.Node) -> None:
        """Make the cells of everything in a lowered expression."""
        for item in distinct_nodes([node]):
            match item:
                case n.Aggregate() | n.TimeSince() | AtLeast() | SumAtLeast():
                    self.of(item)
                case n.Attribute():
                    self.attribute(item)
                case n.Toggle():
                    self.toggle(item)
                case n.Consented():
                    self.consent(item)
                case n.Sequence():
                    self.sequence(item)
                case n.Held():
                    self.held(item)


def distinct_nodes(roots: Iterable[n.Node]) -> Iterator[n.Node]:
    """Yield the nodes of lowered expressions, each once, wholes before parts."""
    seen: set[int] = set()
    waiting = list(roots)[::-1]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting.extend(reversed(list(n.children(node))))


def uses(roots: Iterable[n.Node]) -> dict[int, int]:
    """Return how often each node of lowered expressions is asked for, when each asks for its parts once."""
    found = list(roots)
    counts: dict[int, int] = {}
    for node in [*found, *(child for item in distinct_nodes(found) for child in n.children(item))]:
        counts[id(node)] = counts.get(id(node), 0) + 1
    return counts


def event_types(node: n.Node) -> Iterator[str]:
    """Yield the event types that can change a (lowered) expression."""
    for item in distinct_nodes([node]):
        match item:
            case n.Aggregate() | n.TimeSince() | AtLeast() | SumAtLeast() | n.Step():
                yield item.event
            case n.Attribute():
                yield PROFILE_UPDATED
            case n.Toggle():
                yield item.on
                yield item.off
            case n.Consented():
                yield CONSENT_GRANTED
                yield CONSENT_WITHDRAWN
