"""A program: conditions and values compiled once, and the state of a profile that an event updates in microseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tailorbird.core.event import Event
from tailorbird.expr import nodes as n
from tailorbird.expr.evaluate import NEVER
from tailorbird.expr.incremental.cells import Cells, HeldCell, event_types
from tailorbird.expr.incremental.compile import (
    compile_decisions,
    compile_due,
    compile_folding,
    compile_held,
    compile_values,
    namespace,
)
from tailorbird.expr.incremental.lower import Forest

__all__ = ["NEVER", "Change", "Program", "State", "true_since"]


class Change(NamedTuple):
    """A condition became true (``entered``) or stopped being true."""

    name: str
    entered: bool


class State:
    """What a program remembers of one profile.

    ``members`` are the names of the conditions that are true as of the last ``changes``; ``due`` is the earliest
    instant at which one of them can change without an event (0: nothing has been looked at yet; ``NEVER``).
    """

    __slots__ = ("due", "dues", "members", "x")

    def __init__(self, x: list[Any], dues: list[int], members: set[str]) -> None:
        self.x = x
        self.dues = dues
        self.members = members
        self.due = 0


Decide = Callable[[list[Any], list[int], set[str], int], list[Change]]
Fold = Callable[[Event, list[Any]], bool]


class Program:
    """Conditions and values over one profile's history, kept exact event by event.

    Takes resolved expressions by name. Events are given once each (an event id counts once: the caller drops
    duplicates) and in the order of their arrival, which need not be the order of their times; ``now`` is never
    before an event that was folded. Functions are compiled when they are first needed.
    """

    types: frozenset[str]
    """The event types that can change anything."""

    def __init__(self, conditions: Mapping[str, n.Node], values: Mapping[str, n.Node] | None = None) -> None:
        self._forest = Forest()
        self._conditions = {name: self._forest.lower(node) for name, node in conditions.items()}
        self._values = {name: self._forest.lower(node) for name, node in (values or {}).items()}
        self._cells = Cells()
        for node in [*self._conditions.values(), *self._values.values()]:
            self._cells.require(node)
        self._affected: dict[str, dict[str, None]] = {}
        for name, node in self._conditions.items():
            for event in set(event_types(node)):
                self._affected.setdefault(event, {})[name] = None
        self._timed_names = [name for name, node in self._conditions.items() if self._forest.facts(node).timed]
        self._timed = {name: place for place, name in enumerate(self._timed_names)}
        # The last one never comes, so that the least of all is defined.
        self._dues = [0] * len(self._timed) + [NEVER]
        self._names = namespace(Change)
        self._row = self._cells.row
        value_types = {event for node in self._values.values() for event in event_types(node)}
        self.types = frozenset(self._affected) | value_types
        for cell in self._cells:
            if isinstance(cell, HeldCell):
                compile_held(self._forest, self._cells, self._names, cell)
        self._folds: dict[str, Fold] = {}
        self._decisions: dict[str, Decide] = {}
        self._single: dict[str, Decide] = {}
        self._everything: Decide | None = None
        self._readers: dict[tuple[str, ...], Callable[[list[Any], int], tuple[Any, ...]]] = {}
        self._dues_of: dict[tuple[str, ...], Callable[[list[Any], int], int]] = {}

    # -- state ------------------------------------------------------------------------------------------------------------

    def start(self, seed: int, events: Iterable[Event] = (), members: Iterable[str] = ()) -> State:
        """Return the state after events given in ``(at, seq)`` order; every condition counts as due.

        ``members`` are the conditions known to be true before: the next ``changes`` reports what differs from them.
        """
        x = self._row.copy()
        x[0] = seed
        state = State(x, self._dues.copy(), set(members))
        for event in events:
            self.fold(state, event)
        return state

    def fold(self, state: State, event: Event) -> bool:
        """Take in an event. False: it is too late for what depends on order, and the state is void; ``start`` again."""
        fold = self._folds.get(event.type)
        if fold is None:
            if event.type not in self.types:
                return True
            fold = self._folds[event.type] = compile_folding(self._forest, self._cells, self._names, event.type)
        return fold(event, state.x)

    def changes(self, state: State, event_type: str | None, now: int) -> list[Change]:
        """Return what became true or stopped being true at ``now``, and bring ``members`` and ``due`` up to date.

        Looks at the conditions that events of the type can change and at those that are due; with None, at all.
        """
        if event_type is None or state.due == 0:
            decide = self._everything = self._everything or self._compile(list(self._conditions))
            found = decide(state.x, state.dues, state.members, now)
            state.due = min(state.dues)
            return found
        found = self._due(state, event_type, now) if state.due <= now else []
        if event_type in self._affected:
            decide_some = self._decisions.get(event_type)
            if decide_some is None:
                decide_some = self._decisions[event_type] = self._compile(list(self._affected[event_type]))
            found += decide_some(state.x, state.dues, state.members, now)
            state.due = min(state.dues)
        return found

    def affected(self, event_type: str) -> tuple[str, ...]:
        """Return the names of the conditions that events of a type can change."""
        return tuple(self._affected.get(event_type, ()))

    def _due(self, state: State, event_type: str, now: int) -> list[Change]:
        """Look at the conditions that are due and that the event type does not bring up anyway."""
        found: list[Change] = []
        affected = self._affected.get(event_type, {})
        for place, due in enumerate(state.dues):
            if due <= now and (name := self._timed_names[place]) not in affected:
                if name not in self._single:
                    self._single[name] = self._compile([name])
                found += self._single[name](state.x, state.dues, state.members, now)
        state.due = min(state.dues)
        return found

    def _compile(self, names: list[str]) -> Decide:
        chosen = {name: (self._conditions[name], self._timed.get(name)) for name in names}
        decide: Decide = compile_decisions(self._forest, self._cells, self._names, chosen)
        return decide

    def run_of(self, state: State) -> int | None:
        """Return when the outermost condition under ``held`` became true as of the last ``changes``; None when it is not true."""
        tracker = state.x[max((cell for cell in self._cells if isinstance(cell, HeldCell)), key=lambda cell: cell.size).slot]
        run: int = tracker[3]
        return None if run < 0 else run

    # -- values -----------------------------------------------------------------------------------------------------------

    def value(self, state: State, name: str, now: int) -> Any:
        """Return one value at ``now``; None is unknown. Raises KeyError for a name that the program does not have."""
        return self.values(state, (name,), now)[0]

    def values(self, state: State, names: tuple[str, ...], now: int) -> tuple[Any, ...]:
        """Return several values at ``now``, in the order of the names; shared parts are computed once."""
        reader = self._readers.get(names)
        if reader is None:
            reader = compile_values(self._forest, self._cells, self._names, [self._values[name] for name in names])
            self._readers[names] = reader
        return reader(state.x, now)

    def moving(self, names: tuple[str, ...]) -> tuple[bool, ...]:
        """Return of each of these values whether it changes from one millisecond to the next, as ``time_since`` does."""
        return tuple(self._forest.facts(self._values[name]).varying for name in names)

    def due(self, state: State, names: tuple[str, ...], now: int) -> int:
        """Return the earliest instant after ``now`` at which one of these values can change without an event (``NEVER``).

        None of them may be ``moving``.
        """
        due = self._dues_of.get(names)
        if due is None:
            due = self._dues_of[names] = compile_due(
                self._forest, self._cells, self._names, [self._values[name] for name in names]
            )
        return due(state.x, now)


def true_since(condition: n.Node, seed: int, events: Iterable[Event], instant: int) -> int | None:
    """Return since when a resolved condition has been true without interruption; 0: from the beginning, None: it is not true.

    ``events`` are the history up to the instant, in ``(at, seq)`` order.
    """
    held = n.Held(condition=condition, duration=1)
    program = Program({"held": held})
    state = program.start(seed, events)
    program.changes(state, None, instant)
    return program.run_of(state)
