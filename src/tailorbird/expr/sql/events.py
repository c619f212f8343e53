"""The events of a query, read once: every JSON value, every condition on an event and every chain becomes a column."""

# ruff: noqa: S608 - this package writes SQL; values only ever enter it as bound parameters.

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tailorbird.expr import nodes as n
from tailorbird.expr.sql.columns import Column, Columns
from tailorbird.expr.sql.grammar import Grammar
from tailorbird.expr.sql.scalar import Scalars
from tailorbird.expr.sql.source import Source
from tailorbird.expr.types import Type

__all__ = ["SIZES", "Events"]

SIZES: Final[dict[Type, tuple[float, float]]] = {Type.NUMBER: (1e15, 5e-324), Type.TIME: (4e13, 1.0)}
"""The greatest and the least magnitude but 0 of what is read as a type."""


class Events:
    """The relation ``ev`` (profile, moment, seq, …): events up to the instant, of the types that matter.

    It is also the scope of a ``where``. Names it gives out are columns of ``ev``.
    """

    def __init__(self, grammar: Grammar, source: Source) -> None:
        self._grammar = grammar
        self._source = source
        self._flags: dict[str, str] = {}
        self._handles: dict[tuple[str, ...], tuple[str, set[str]]] = {}
        self._plain: dict[str, str] = {}
        self._columns = Columns(grammar, "w")
        self._scalars: dict[str, Scalars] = {}
        self._type = ""

    # what can be asked for -------------------------------------------------------------------------------
    def flag(self, type: str) -> str:
        """Return the column that tells whether an event is of the type."""
        return self._flags.setdefault(type, f"k{len(self._flags)}")

    def mask(self, type: str, where: n.Node | None) -> str:
        """Return the column that tells whether an event is of the type and its whole ``where`` is true."""
        flag = self.flag(type)
        if where is None:
            return flag
        self._type = type
        condition = self._scalars.setdefault(type, Scalars(self._grammar, self._columns, self)).compile(where)
        sql = f"({flag} AND {condition.sql} IS TRUE)"
        return self._columns.settle(Column(sql, Type.BOOL, condition.level, condition.depth + 1), force=True).sql

    def either(self, first: str, second: str) -> str:
        """Return the test that one of two masks holds, over alias ``e``."""
        return f"(e.{first} OR e.{second})" if first != second else f"e.{first}"

    def value(self, event: str, path: tuple[str, ...], type: Type) -> str:
        """Return the column of a property of an event of the type ``event``."""
        return self._reading(event, path, type).sql

    def present(self, event: str, name: str) -> str:
        """Return the column that tells whether ``data.attributes`` has the name at its top level."""
        offered = self._source.present(name)
        if offered is not None:
            self.flag(event)
            return self._offered(offered)
        handle = self._handle(event, ("attributes", name))
        sql = f"({self.flag(event)} AND {handle} IS NOT NULL)"
        return self._columns.settle(Column(sql, Type.BOOL), force=True).sql

    def micros(self, event: str, path: tuple[str, ...]) -> str:
        """Return the column of a number property in whole millionths."""
        value = self._reading(event, path, Type.NUMBER)
        return self._columns.settle(Column(self._grammar.micros(value.sql), Type.TIME, value.level), force=True).sql

    def chain(self, steps: tuple[n.Step, ...]) -> str:
        """Return the column that holds, on an event ending the sequence, the latest instant such a sequence starts at."""
        start = Column("moment", Type.TIME)
        for place, step in enumerate(steps):
            mask = self.mask(step.event, step.where)
            level = max(start.level, self._columns.level_of(mask))
            if place == 0:
                text = f"CASE WHEN {mask} THEN moment END"
            else:
                text = f"CASE WHEN {mask} THEN {start.sql} END"
            own = self._columns.settle(Column(text, Type.TIME, level), force=True)
            if place == len(steps) - 1:
                return own.sql
            rows = "PARTITION BY profile ORDER BY moment, seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
            before = f"max({own.sql}) OVER ({rows})"
            start = self._columns.settle(Column(before, Type.TIME, own.level), force=True)
        raise ValueError("a sequence has at least one step")

    # scope of a where ------------------------------------------------------------------------------------
    def leaf(self, node: n.Node) -> Column:
        """Return the column of a property or of the event's time."""
        match node:
            case n.EventTime():
                return Column("moment", Type.TIME, nullable=False, big=1e14, small=1.0)
            case n.Property(path=path, type=as_type) if as_type is not None:
                return self._reading(self._type, path, as_type)
            case _:
                raise TypeError(f"{type(node).__name__} cannot stand in a where; check.resolve refuses it")

    # the relation ----------------------------------------------------------------------------------------
    def render(self, instant: int, since: int | None, only: str | None, name: Callable[[str], str]) -> str:
        """Return the SELECT of the relation: events at most at ``instant`` and after ``since``; ``only`` is a test on ``e``;
        ``name`` makes a named relation."""
        grammar = self._grammar
        types = ", ".join(grammar.text(type) for type in self._flags)
        columns = ["e.profile AS profile", "e.at AS moment", "e.seq AS seq", *grammar.order_columns]
        columns += [f"e.type = {grammar.text(type)} AS {flag}" for type, flag in self._flags.items()]
        columns += [f"{sql} AS {label}" for sql, label in self._plain.items()]
        for path, (label, events) in self._handles.items():
            handle = grammar.handle("e.data", path)
            if len(events) < len(self._flags):
                listed = ", ".join(grammar.text(event) for event in sorted(events))
                handle = f"CASE WHEN e.type IN ({listed}) THEN {handle} END"
            columns.append(f"{handle} AS {label}")
        tests = [f"e.type IN ({types})", f"e.at <= {grammar.whole(instant)}"]
        if since is not None:
            tests.append(f"e.at > {grammar.whole(since)}")
        if only is not None:
            tests.append(only)
        base = f"(SELECT {', '.join(columns)} FROM {self._source.events} e WHERE {' AND '.join(tests)}{grammar.barrier})"
        return f"SELECT z.* FROM {self._columns.render(base, name)} z{grammar.barrier}"

    def __bool__(self) -> bool:
        return bool(self._flags)

    # reading ---------------------------------------------------------------------------------------------
    def _offered(self, sql: str) -> str:
        return self._plain.setdefault(sql, f"o{len(self._plain)}")

    def _handle(self, event: str, path: tuple[str, ...]) -> str:
        self.flag(event)
        name, events = self._handles.setdefault(path, (f"h{len(self._handles)}", set()))
        events.add(event)
        return name

    def _reading(self, event: str, path: tuple[str, ...], type: Type) -> Column:
        big, small = SIZES.get(type, (float("inf"), 5e-324))
        offered = self._source.property(path, type)
        if offered is not None:
            self.flag(event)
            return Column(self._offered(offered), type, big=big, small=small)
        if type is Type.TIME and not self._grammar.times_from_json:
            text = self._reading(event, path, Type.TEXT)
            column = Column(self._grammar.time_of(text.sql), type, text.level, big=big, small=small)
        else:
            column = Column(self._grammar.read(self._handle(event, path), type), type, big=big, small=small)
        return self._columns.settle(column, force=True)
