"""From resolved expressions to one query: the events read once, one aggregation by profile, one column per expression."""

# ruff: noqa: S608 - this package writes SQL; values only ever enter it as bound parameters.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tailorbird.expr import nodes as n
from tailorbird.expr.sql.columns import Column
from tailorbird.expr.sql.duckdb import Duck
from tailorbird.expr.sql.frames import Frame, Plan
from tailorbird.expr.sql.grammar import Grammar
from tailorbird.expr.sql.postgres import Postgres
from tailorbird.expr.sql.query import Bindings, Dialect, Query
from tailorbird.expr.sql.source import Source
from tailorbird.expr.sql.sqlite import Sqlite

__all__ = ["compile_count", "compile_members", "compile_table", "compile_values"]

GRAMMARS: Mapping[Dialect, type[Grammar]] = {
    Dialect.SQLITE: Sqlite,
    Dialect.POSTGRES: Postgres,
    Dialect.DUCKDB: Duck,
}


class Statement:
    """One query in the making: its plan, its outermost frame, and which profiles it is about."""

    def __init__(
        self, nodes: Iterable[n.Node], instant: int, dialect: Dialect, source: Source | None, tests: Mapping[str, Any]
    ) -> None:
        self.bindings = Bindings()
        self.grammar = GRAMMARS[dialect](self.bindings)
        self.plan = Plan(self.grammar, source or Source(), instant)
        self.frame = Frame(self.plan)
        self._dialect = dialect
        self._since = _earliest(nodes, instant, self.plan.source)
        self._tests = tests

    def column(self, node: n.Node) -> Column:
        """Return the value of an expression as a column of ``body``."""
        return self.frame.compile(node)

    def finish(self, select: str) -> Query:
        """Return the query; ``select`` starts it and reads from ``{body}``."""
        body = self.frame.render()
        relations = [("people", self._people())]
        if self.plan.events:
            relations += self.plan.read_events(self._since, self._only())
        relations += self.plan.relations
        named = ", ".join(f"{name} AS {self.grammar.relation(name, sql)}" for name, sql in relations)
        return self.bindings.finish(f"WITH {named} {select.replace('{body}', body)}", self._dialect)

    def _only(self) -> str | None:
        keys = self._tests.get("profiles")
        return None if keys is None else self.grammar.among("e.profile", keys)

    def _people(self) -> str:
        grammar = self.grammar
        columns = ["p.key AS profile", "p.bucket AS seed", *(f"{sql} AS {name}" for sql, name in self.frame.attributes.items())]
        tests = ["p.merged_into IS NULL"]
        if self._tests.get("kind") is not None:
            tests.append(f"p.kind = {grammar.text(self._tests['kind'])}")
        if self._tests.get("after"):
            tests.append(f"p.key > {grammar.whole(self._tests['after'])}")
        if self._tests.get("profiles") is not None:
            tests.append(grammar.among("p.key", self._tests["profiles"]))
        return f"SELECT {', '.join(columns)} FROM {self.plan.source.profiles} p WHERE {' AND '.join(tests)}"


def compile_values(
    expressions: Mapping[str, n.Node],
    instant: int,
    dialect: Dialect,
    *,
    source: Source | None = None,
    profiles: Sequence[int] | None = None,
    kind: str | None = None,
) -> Query:
    """Return a query of the values of resolved expressions at an instant (ms): a row per profile, columns ``profile`` and
    then one per expression in the order given (NULL: unknown). ``read_value`` makes Python values of a row.

    ``profiles`` asks about these keys only, ``kind`` about one kind. Merged-away profiles are left out.
    """
    statement = Statement(expressions.values(), instant, dialect, source, {"profiles": profiles, "kind": kind})
    columns = ["z.profile AS profile", *(f"{statement.column(node).sql} AS x{i}" for i, node in enumerate(expressions.values()))]
    return statement.finish(f"SELECT {', '.join(columns)} FROM {{body}} z ORDER BY z.profile")


def compile_members(
    condition: n.Node,
    instant: int,
    dialect: Dialect,
    *,
    source: Source | None = None,
    kind: str = "person",
    after: int = 0,
    limit: int | None = None,
) -> Query:
    """Return a query of the keys above ``after``, ascending, of the profiles for which the condition is true."""
    statement = Statement([condition], instant, dialect, source, {"kind": kind, "after": after})
    test = statement.column(n.IsTrue(condition))
    tail = "" if limit is None else f" LIMIT {statement.grammar.whole(limit)}"
    return statement.finish(f"SELECT z.profile AS profile FROM {{body}} z WHERE {test.sql} ORDER BY z.profile{tail}")


def compile_count(
    condition: n.Node, instant: int, dialect: Dialect, *, source: Source | None = None, kind: str = "person"
) -> Query:
    """Return a query of one row with the number of profiles for which the condition is true."""
    statement = Statement([condition], instant, dialect, source, {"kind": kind})
    test = statement.column(n.IsTrue(condition))
    return statement.finish(f"SELECT count(*) FROM {{body}} z WHERE {test.sql}")


def compile_table(
    conditions: Mapping[str, n.Node],
    instant: int,
    dialect: Dialect,
    *,
    source: Source | None = None,
    kind: str = "person",
) -> Query:
    """Return a query of all conditions in one pass: a row per profile, ``profile`` and then a bool column per condition
    in the order given, never NULL (0 and 1 in SQLite)."""
    statement = Statement(conditions.values(), instant, dialect, source, {"kind": kind})
    tests = [f"{statement.column(n.IsTrue(node)).sql} AS x{i}" for i, node in enumerate(conditions.values())]
    return statement.finish(f"SELECT {', '.join(['z.profile AS profile', *tests])} FROM {{body}} z")


def _earliest(nodes: Iterable[n.Node], instant: int, source: Source) -> int | None:
    """Return the instant at and before which no event matters, None when every event does."""
    reaches = [_reach(node, source) for node in nodes]
    if any(reach is None for reach in reaches):
        return None
    return instant - max((reach for reach in reaches if reach is not None), default=0)


def _reach(node: n.Node, source: Source | None) -> int | None:
    """Return how far back (ms) the events lie that an expression can see, None when there is no limit; ``source`` where it
    can spare events, which is not so in the past that ``held`` looks at."""
    match node:
        case n.Aggregate() | n.Did() | n.Sequence():
            return node.within
        case n.Attribute(path=path, type=as_type) if source is not None and as_type is not None:
            return None if source.attribute(path, as_type) is None else 0
        case n.Attribute() | n.Toggle() | n.Consented() | n.TimeSince():
            return None
        case n.Held():
            inner = _reach(node.condition, None)
            return None if inner is None else inner + node.duration
    reach = 0
    for child in n.children(node):
        below = _reach(child, source)
        if below is None:
            return None
        reach = max(reach, below)
    return reach
