"""A frame is a set of points (profile, instant) at which expressions are evaluated: everybody now, or one's own past."""

# ruff: noqa: S608 - this package writes SQL; values only ever enter it as bound parameters.

from __future__ import annotations

from typing import Any

from tailorbird.core.event import CONSENT_GRANTED, CONSENT_WITHDRAWN, PROFILE_UPDATED
from tailorbird.core.ids import BUCKET_PRIME, bucket_constants
from tailorbird.expr import nodes as n
from tailorbird.expr.sql.columns import Column, Columns
from tailorbird.expr.sql.events import SIZES, Events
from tailorbird.expr.sql.grammar import Grammar
from tailorbird.expr.sql.scalar import Scalars
from tailorbird.expr.sql.source import Source
from tailorbird.expr.types import Type

__all__ = ["BEGINNING", "Frame", "Plan", "consent_masks", "toggle_masks"]

BEGINNING = 0
"""``held`` looks back no further."""


class Plan:
    """What the frames of one query share: the engine's grammar, the events, and the named relations made so far."""

    def __init__(self, grammar: Grammar, source: Source, instant: int) -> None:
        self.grammar = grammar
        self.source = source
        self.instant = instant
        self.events = Events(grammar, source)
        self.relations: list[tuple[str, str]] = []
        self._count = 0

    def name(self, sql: str) -> str:
        """Give a SELECT a name and return it."""
        self._count += 1
        self.relations.append((f"r{self._count}", sql))
        return f"r{self._count}"

    def read_events(self, since: int | None, only: str | None) -> list[tuple[str, str]]:
        """Return the named relations that end in ``ev``, once everything has been compiled; see ``Events.render``."""
        made: list[tuple[str, str]] = []

        def name(sql: str) -> str:
            made.append((f"i{len(made)}", sql))
            return made[-1][0]

        last = self.events.render(self.instant, since, only, name)
        return [*made, ("ev", last)]


class Frame:
    """Evaluates expressions at points; the outermost frame (``points`` None) is every profile at the plan's instant."""

    def __init__(self, plan: Plan, points: str | None = None, begin: int | None = None) -> None:
        self.plan = plan
        self.points = points
        self.begin = plan.instant if begin is None else begin
        self.columns = Columns(plan.grammar, "c")
        self.scalars = Scalars(plan.grammar, self.columns, self)
        self.attributes: dict[str, str] = {}
        self._aggregates: dict[str, tuple[str, str]] = {}
        self._joins: dict[str, str] = {}

    # the instant -----------------------------------------------------------------------------------------
    @property
    def now(self) -> str:
        """Return the instant of a point, where the points are in scope as ``q``."""
        return self.plan.grammar.whole(self.plan.instant) if self.points is None else "q.t"

    def since(self, within: int | None) -> str:
        """Return the test that an event ``e`` is in the window, to be appended."""
        if within is None:
            return ""
        if self.points is None:
            return f" AND e.moment > {self.plan.grammar.whole(self.plan.instant - within)}"
        return f" AND e.moment > q.t - {self.plan.grammar.whole(within)}"

    # leaves ----------------------------------------------------------------------------------------------
    def compile(self, node: n.Node) -> Column:
        """Return the node's value as a column of this frame."""
        return self.scalars.compile(node)

    def leaf(self, node: n.Node) -> Column:
        """Return the column of a node that is no operator."""
        grammar, events = self.plan.grammar, self.plan.events
        match node:
            case n.Now():
                sql = grammar.whole(self.plan.instant) if self.points is None else "t"
                return Column(sql, Type.TIME, nullable=False, big=1e14, small=1.0)
            case n.Attribute(path=path, type=as_type) if as_type is not None:
                return self._attribute(path, as_type)
            case n.Aggregate():
                return self._aggregate(node)
            case n.Did():
                count = self._count(f"e.{events.mask(node.event, node.where)}{self.since(node.within)}")
                return Column(f"({count} > 0)", Type.BOOL, nullable=False)
            case n.TimeSince():
                last = self.aggregate(f"max(e.moment) FILTER (WHERE e.{events.mask(node.event, node.where)})")
                now = grammar.whole(self.plan.instant) if self.points is None else "t"
                return Column(f"({now} - {last})", Type.DURATION, big=1e14, small=1.0)
            case n.Sequence():
                start = events.chain(node.steps)
                count = self._count(f"e.{start} IS NOT NULL{self.since(node.within).replace('e.moment', f'e.{start}')}")
                return Column(f"({count} > 0)", Type.BOOL, nullable=False)
            case n.Toggle():
                on, off = toggle_masks(events, node)
                last = self.aggregate(grammar.edge("last", f"e.{on}", Type.BOOL, events.either(on, off)), grammar.false)
                return Column(last, Type.BOOL, nullable=False)
            case n.Consented():
                return self._consented(node)
            case n.Bucket():
                a, b = bucket_constants(node.salt)
                whole = f"(seed * {grammar.whole(a)} + {grammar.whole(b)}) % {BUCKET_PRIME}"
                sql = f"({grammar.number(f'({whole})')} / {grammar.bind(float(BUCKET_PRIME), Type.NUMBER)})"
                return Column(sql, Type.NUMBER, nullable=False, big=1.0, small=1e-10)
            case n.Held():
                return self._held(node)
        raise TypeError(f"{type(node).__name__} is not a resolved node; pass the expression through check.resolve first")

    def aggregate(self, sql: str, default: str | None = None) -> str:
        """Return the column of an aggregate over this frame's events ``e``; ``default`` where there are none."""
        if sql not in self._aggregates:
            name = f"a{len(self._aggregates)}"
            self._aggregates[sql] = (name, f"x.{name}" if default is None else f"coalesce(x.{name}, {default})")
        return self._aggregates[sql][0]

    def join(self, relation: str, default: str) -> str:
        """Return the column that holds ``v`` of a relation (profile[, t], v) that has at most one row per point."""
        if relation not in self._joins:
            self._joins[relation] = default
        return f"v_{relation}"

    def _count(self, where: str) -> str:
        return self.aggregate(f"count(*) FILTER (WHERE {where})", "0")

    def _attribute(self, path: tuple[str, ...], type: Type) -> Column:
        big, small = SIZES.get(type, (float("inf"), 5e-324))
        current = self.plan.source.attribute(path, type) if self.points is None else None
        if current is not None:
            name = self.attributes.setdefault(current, f"u{len(self.attributes)}")
            return Column(name, type, big=big, small=small)
        events = self.plan.events
        value = f"e.{events.value(PROFILE_UPDATED, ('attributes', *path), type)}"
        present = f"e.{events.present(PROFILE_UPDATED, path[0])}"
        return Column(self._edge("last", value, type, present), type, big=big, small=small)

    def _edge(self, fn: str, value: str, type: Type, where: str) -> str:
        return self.plan.grammar.unpacked(self.aggregate(self.plan.grammar.edge(fn, value, type, where)), type)

    def _aggregate(self, node: n.Aggregate) -> Column:
        grammar, events = self.plan.grammar, self.plan.events
        mask = f"e.{events.mask(node.event, node.where)}{self.since(node.within)}"
        if node.fn == "count":
            return Column(grammar.number(self._count(mask)), Type.NUMBER, nullable=False, big=1e18, small=1.0)
        assert node.path is not None
        if node.fn in ("sum", "avg"):
            return self._sum(node.fn, f"e.{events.micros(node.event, node.path)}", mask)
        if node.fn == "distinct":
            counts = [
                self.aggregate(f"count(DISTINCT e.{events.value(node.event, node.path, type)}) FILTER (WHERE {mask})", "0")
                for type in (Type.TEXT, Type.NUMBER, Type.BOOL)
            ]
            return Column(grammar.number(f"({' + '.join(counts)})"), Type.NUMBER, nullable=False, big=1e18, small=1.0)
        type = node.type or Type.NUMBER
        big, small = SIZES.get(type, (float("inf"), 5e-324))
        value = f"e.{events.value(node.event, node.path, type)}"
        if node.fn in ("min", "max"):
            return Column(self.aggregate(f"{node.fn}({value}) FILTER (WHERE {mask})"), type, big=big, small=small)
        return Column(self._edge(node.fn, value, type, f"{mask} AND {value} IS NOT NULL"), type, big=big, small=small)

    def _sum(self, fn: str, micros: str, mask: str) -> Column:
        grammar = self.plan.grammar
        parts = [self.aggregate(part, "0") for part in grammar.sums(micros, mask)]
        million = grammar.bind(1e6, Type.NUMBER)
        total = f"({grammar.total(parts)} / {million})"
        if fn == "sum":
            return Column(total, Type.NUMBER, nullable=False, big=1e30, small=1e-6)
        known = self._count(f"{mask} AND {micros} IS NOT NULL")
        return Column(
            f"(CASE WHEN {known} > 0 THEN {total} / {grammar.number(known)} END)", Type.NUMBER, big=1.1e12, small=1e-25
        )  # fmt: skip

    def _consented(self, node: n.Consented) -> Column:
        grammar, events = self.plan.grammar, self.plan.events
        granted, explicit, withdrawn = consent_masks(events, node)
        given = self._count(f"e.{granted}")
        refused = self._count(f"e.{withdrawn}")
        last = self.aggregate(grammar.edge("last", f"e.{explicit}", Type.BOOL, events.either(explicit, withdrawn)), grammar.false)
        return Column(f"(CASE WHEN {refused} > 0 THEN {last} ELSE {given} > 0 END)", Type.BOOL, nullable=False)

    def _held(self, node: n.Held) -> Column:
        from tailorbird.expr.sql.past import held

        return Column(f"({self.join(held(self, node), '0')} = 1)", Type.BOOL, nullable=False)

    # the relation ----------------------------------------------------------------------------------------
    def render(self) -> str:
        """Return a relation (``FROM`` item without alias): profile[, t] and every column of this frame."""
        top = self.points is None
        keys = ("profile",) if top else ("profile", "t")
        columns = ["q.*" if top else "q.profile, q.t, p.seed"]
        joins: list[str] = [] if top else ["JOIN people p ON p.profile = q.profile"]
        if self._aggregates:
            columns += [f"{use} AS {name}" for name, use in self._aggregates.values()]
            joins.append(f"LEFT JOIN ({self._grouped(keys)}) x ON {_on('x', keys)}")
        for relation, default in self._joins.items():
            columns.append(f"coalesce({relation}.v, {default}) AS v_{relation}")
            joins.append(f"LEFT JOIN {relation} ON {_on(relation, keys)}")
        points = "people" if top else self.points
        base = f"(SELECT {', '.join(columns)} FROM {points} q {' '.join(joins)})"
        return self.columns.render(base, self.plan.name)

    def _grouped(self, keys: tuple[str, ...]) -> str:
        listed = ", ".join(f"{sql} AS {name}" for sql, (name, _) in self._aggregates.items())
        if self.points is None:
            return f"SELECT e.profile, {listed} FROM ev e GROUP BY e.profile"
        by = ", ".join(f"q.{key}" for key in keys)
        return f"SELECT {by}, {listed} FROM {self.points} q JOIN ev e ON e.profile = q.profile AND e.moment <= q.t GROUP BY {by}"


def _on(relation: str, keys: tuple[str, ...]) -> str:
    return " AND ".join(f"{relation}.{key} = q.{key}" for key in keys)


def toggle_masks(events: Events, node: n.Toggle) -> tuple[str, str]:
    """Return the masks of the events that switch a toggle on and off."""
    named = _equals(node.key, node.value)
    return events.mask(node.on, named), events.mask(node.off, named)


def consent_masks(events: Events, node: n.Consented) -> tuple[str, str, str]:
    """Return the masks of grants, explicit grants and withdrawals for a channel and purpose."""
    about = (_equals("channel", node.channel), _equals("purpose", node.purpose))
    said = n.Compare("=", n.Property(("explicit",), Type.BOOL), n.Literal(True, Type.BOOL))
    granted = events.mask(CONSENT_GRANTED, n.And(about))
    return granted, events.mask(CONSENT_GRANTED, n.And((*about, said))), events.mask(CONSENT_WITHDRAWN, n.And(about))


def _equals(key: str, value: str) -> Any:
    return n.Compare("=", n.Property((key,), Type.TEXT), n.Literal(value, Type.TEXT))
