"""A query is text and the values bound to it; values stand in the text as marks until the query is finished."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Final, NamedTuple

__all__ = ["Bindings", "Dialect", "Query"]


class Dialect(StrEnum):
    """The SQL engines that the compiler writes for."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"
    DUCKDB = "duckdb"


class Query(NamedTuple):
    """SQL text and its positional parameters: ``?`` for SQLite and DuckDB, ``%s`` for PostgreSQL (psycopg)."""

    sql: str
    params: tuple[Any, ...]


_MARK: Final = re.compile("\x01([0-9]+)\x02")
"""Control characters never occur in the templates, and nothing that a person wrote ever becomes text of a query."""


class Bindings:
    """The values of one query: ``bind`` gives a mark to put into the text, ``finish`` turns marks into placeholders."""

    __slots__ = ("_marks", "_values")

    def __init__(self) -> None:
        self._values: list[Any] = []
        self._marks: dict[tuple[type, Any], str] = {}

    def bind(self, value: Any) -> str:
        """Return the mark of a value; it may stand at several places of the text."""
        key = (type(value), tuple(value) if isinstance(value, list) else value)
        if key not in self._marks:
            self._marks[key] = f"\x01{len(self._values)}\x02"
            self._values.append(value)
        return self._marks[key]

    def finish(self, sql: str, dialect: Dialect) -> Query:
        """Return the query whose parameters stand in the order of their places in the text."""
        params = tuple(self._values[int(found[1])] for found in _MARK.finditer(sql))
        if dialect is Dialect.POSTGRES:
            return Query(_MARK.sub("%s", sql.replace("%", "%%")), params)
        return Query(_MARK.sub("?", sql), params)
