"""Set-based evaluation in the database's own SQL."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self

from sqlalchemy import delete, insert, select

from tailorbird.core.deadline import Deadline
from tailorbird.core.ids import digest
from tailorbird.expr.check import type_of
from tailorbird.expr.nodes import Node
from tailorbird.expr.sql import (
    POSTGRES_FUNCTIONS,
    Dialect,
    Query,
    compile_count,
    compile_members,
    compile_table,
    compile_values,
    compile_wakes,
    prepare_sqlite,
    read_value,
)
from tailorbird.storage.sql import schema
from tailorbird.storage.sql.database import Database
from tailorbird.storage.sql.ending import ending

__all__ = ["SqlBatch"]

_FUNCTIONS: Final = "functions"
"""The key in ``meta`` under which it is noted which functions PostgreSQL has been given."""


class SqlBatch:
    """``ports.Batch`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._deadline: Deadline | None = None
        self._dialect = Dialect.POSTGRES if database.postgres else Dialect.SQLITE
        if database.postgres:
            self._make_functions()

    def _make_functions(self) -> None:
        """Make the functions that our SQL calls, unless these very ones are there: who only asks writes nothing."""
        meta, wanted = schema.meta, digest(POSTGRES_FUNCTIONS)
        with self._database.reading() as connection:
            found = connection.scalar(select(meta.c.value).where(meta.c.key == _FUNCTIONS))
        if found != wanted:
            with self._database.writing() as connection:
                connection.exec_driver_sql(POSTGRES_FUNCTIONS)
                connection.execute(delete(meta).where(meta.c.key == _FUNCTIONS))
                connection.execute(insert(meta).values(key=_FUNCTIONS, value=wanted))

    def until(self, deadline: Deadline) -> Self:
        """Return the same with an end: see ``ports.Batch``."""
        bounded = copy.copy(self)
        bounded._deadline = deadline
        return bounded

    def _rows(self, query: Query) -> list[tuple[Any, ...]]:
        with self._database.reading() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            if not self._database.postgres and not connection.info.get("prepared"):
                prepare_sqlite(raw)
                connection.info["prepared"] = True
            with ending(raw, self._deadline, postgres=self._database.postgres):
                return list(raw.execute(query.sql, query.params).fetchall())

    def count(self, condition: Node, instant: int, *, kind: str = "person") -> int:
        """Return for how many profiles the condition is true."""
        return int(self._rows(compile_count(condition, instant, self._dialect, kind=kind))[0][0])

    def members(
        self, condition: Node, instant: int, *, limit: int | None = None, after: int = 0, kind: str = "person"
    ) -> list[int]:
        """Return the keys of the profiles for which the condition is true, ascending, above ``after``."""
        query = compile_members(condition, instant, self._dialect, kind=kind, after=after, limit=limit)
        return [row[0] for row in self._rows(query)]

    def values(self, expressions: Mapping[str, Node], instant: int, profiles: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return the value of each named expression for each profile (None: unknown)."""
        if not expressions or not profiles:
            return {key: {} for key in profiles}
        query = compile_values(expressions, instant, self._dialect, profiles=list(profiles))
        types = [type_of(node) for node in expressions.values()]
        return {
            row[0]: {name: read_value(raw, type) for name, raw, type in zip(expressions, row[1:], types, strict=True)}
            for row in self._rows(query)
        }

    def tables(self, conditions: Mapping[str, Node], instant: int, *, kind: str = "person") -> dict[str, list[int]]:
        """Return the members of many conditions in one pass."""
        found: dict[str, list[int]] = {name: [] for name in conditions}
        if not conditions:
            return found
        lists = list(found.values())
        for row in self._rows(compile_table(conditions, instant, self._dialect, kind=kind)):
            for members, true in zip(lists, row[1:], strict=True):
                if true:
                    members.append(row[0])
        for members in lists:
            members.sort()
        return found

    def wakes(self, condition: Node, instant: int, *, kind: str = "person") -> Iterator[tuple[int, int]]:
        """Yield (profile, due): see ``ports.Batch``."""
        yield from ((row[0], row[1]) for row in self._rows(compile_wakes(condition, instant, self._dialect, kind=kind)))
