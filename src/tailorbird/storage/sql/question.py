"""A question about a list of values: built by SQLAlchemy, compiled once, whatever the length of the list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
from sqlalchemy import ARRAY, ColumnElement, Select, any_, bindparam, cast, func, select
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine import Dialect

__all__ = ["Question"]


class Among(Protocol):
    """Make the condition that a column is one of the values bound under a name."""

    def __call__(self, column: ColumnElement[Any], name: str = "values") -> ColumnElement[bool]: ...


class Question:
    """A query with lists among its parameters; SQLite gets a list as one JSON text, PostgreSQL as one array.

    ``build`` makes the query, given how to say "the column is one of the values".
    """

    def __init__(self, build: Callable[[Among], Select[Any]]) -> None:
        self._build = build
        self._compiled: dict[bool, tuple[str, tuple[str, ...]]] = {}

    def put(self, postgres: bool, **binds: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the SQL and its positional parameters for the values of the named ones."""
        compiled = self._compiled.get(postgres)
        if compiled is None:
            compiled = self._compiled[postgres] = self._compile(postgres)
        sql, names = compiled
        if postgres:
            return sql, tuple(binds[name] for name in names)
        return sql, tuple(_spell(binds[name]) for name in names)

    def _compile(self, postgres: bool) -> tuple[str, tuple[str, ...]]:
        dialect = _postgres() if postgres else SQLiteDialect(paramstyle="qmark")
        found = self._build(_among_postgres if postgres else _among_sqlite).compile(dialect=dialect)
        return str(found), tuple(found.positiontup or ())


def _postgres() -> Dialect:
    from sqlalchemy.dialects.postgresql.base import PGDialect  # here, because it takes a while and SQLite never needs it

    return PGDialect(paramstyle="format")  # type: ignore[no-untyped-call]


def _among_sqlite(column: ColumnElement[Any], name: str = "values") -> ColumnElement[bool]:
    return column.in_(select(func.json_each(bindparam(name)).table_valued("value").c.value))


def _among_postgres(column: ColumnElement[Any], name: str = "values") -> ColumnElement[bool]:
    return column == any_(cast(bindparam(name), ARRAY(column.type)))


def _spell(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, Sequence) and not isinstance(value, str) else value
