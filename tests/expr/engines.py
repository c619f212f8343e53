"""The three SQL engines, loaded with events and profiles, behind one call: for tests."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import pytest

import postgres
from tailorbird.core.event import Event
from tailorbird.expr import nodes as n
from tailorbird.expr.sql import (
    POSTGRES_FUNCTIONS,
    Dialect,
    Query,
    compile_values,
    prepare_duckdb,
    prepare_sqlite,
    read_value,
)
from tailorbird.expr.types import Type

__all__ = ["ENGINES", "Duck", "Engine", "Person", "Postgres", "Sqlite", "opened"]

ENGINES = ["sqlite", "duckdb", pytest.param("postgres", marks=pytest.mark.postgres)]
"""Parameters of a fixture that gives every engine in turn to ``opened``."""

Person = tuple[int, str, int, int | None]
"""key, kind, bucket seed, merged_into."""


class Engine:
    """One engine with tables ``event`` and ``profile``."""

    dialect: Dialect

    def load(self, people: Iterable[Person], events: Iterable[Event]) -> None:
        """Replace what the tables hold."""
        rows = [(e.seq, e.type, e.profile, e.at, json.dumps(e.data, ensure_ascii=False)) for e in events]
        self._fill(list(people), rows)

    def run(self, query: Query) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the engine."""

    def values(
        self, expressions: Mapping[str, tuple[n.Node, Type]], instant: int, profiles: Sequence[int] | None = None
    ) -> dict[int, dict[str, Any]]:
        """Return the value of each expression for each profile."""
        query = compile_values({name: node for name, (node, _) in expressions.items()}, instant, self.dialect, profiles=profiles)
        types = [type for _, type in expressions.values()]
        return {
            row[0]: {name: read_value(raw, type) for name, raw, type in zip(expressions, row[1:], types, strict=True)}
            for row in self.run(query)
        }

    def _fill(self, people: list[Person], rows: list[tuple[Any, ...]]) -> None:
        raise NotImplementedError


class Sqlite(Engine):
    """SQLite in memory."""

    dialect = Dialect.SQLITE

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:")
        prepare_sqlite(self.connection)
        self.connection.execute("CREATE TABLE event (seq INTEGER PRIMARY KEY, type TEXT, profile INTEGER, at INTEGER, data TEXT)")
        self.connection.execute("CREATE TABLE profile (key INTEGER PRIMARY KEY, kind TEXT, bucket INTEGER, merged_into INTEGER)")

    def run(self, query: Query) -> list[tuple[Any, ...]]:
        return self.connection.execute(query.sql, query.params).fetchall()

    def close(self) -> None:
        self.connection.close()

    def _fill(self, people: list[Person], rows: list[tuple[Any, ...]]) -> None:
        self.connection.execute("DELETE FROM event")
        self.connection.execute("DELETE FROM profile")
        self.connection.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?)", rows)
        self.connection.executemany("INSERT INTO profile VALUES (?, ?, ?, ?)", people)


class Duck(Engine):
    """DuckDB in memory, kept off the network."""

    dialect = Dialect.DUCKDB

    def __init__(self) -> None:
        self.connection = duckdb.connect(":memory:", config={"memory_limit": "512MB", "threads": 1})
        prepare_duckdb(self.connection)
        self.connection.execute('CREATE TABLE event (seq BIGINT, type VARCHAR, profile BIGINT, "at" BIGINT, data JSON)')
        self.connection.execute("CREATE TABLE profile (key BIGINT, kind VARCHAR, bucket BIGINT, merged_into BIGINT)")

    def run(self, query: Query) -> list[tuple[Any, ...]]:
        return self.connection.execute(query.sql, query.params).fetchall()

    def close(self) -> None:
        self.connection.close()

    def _fill(self, people: list[Person], rows: list[tuple[Any, ...]]) -> None:
        self.connection.execute("DELETE FROM event")
        self.connection.execute("DELETE FROM profile")
        if rows:
            self.connection.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?)", rows)
        if people:
            self.connection.executemany("INSERT INTO profile VALUES (?, ?, ?, ?)", people)


class Postgres(Engine):
    """PostgreSQL: a schema of temporary tables in the database at a libpq URL."""

    dialect = Dialect.POSTGRES

    def __init__(self, url: str) -> None:
        import psycopg

        self.connection = psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"), autocommit=True)
        self.connection.execute(POSTGRES_FUNCTIONS)
        self.connection.execute(
            "CREATE TEMP TABLE event (seq BIGINT PRIMARY KEY, type TEXT, profile BIGINT, at BIGINT, data JSONB)"
        )
        self.connection.execute(
            "CREATE TEMP TABLE profile (key BIGINT PRIMARY KEY, kind TEXT, bucket BIGINT, merged_into BIGINT)"
        )

    def run(self, query: Query) -> list[tuple[Any, ...]]:
        return self.connection.execute(query.sql, query.params).fetchall()

    def close(self) -> None:
        self.connection.close()

    def _fill(self, people: list[Person], rows: list[tuple[Any, ...]]) -> None:
        self.connection.execute("TRUNCATE event")
        self.connection.execute("TRUNCATE profile")
        with self.connection.cursor() as cursor:
            cursor.executemany("INSERT INTO event VALUES (%s, %s, %s, %s, %s)", rows)
            cursor.executemany("INSERT INTO profile VALUES (%s, %s, %s, %s)", people)


@contextmanager
def opened(name: str) -> Iterator[Engine]:
    """Give an engine by its name; where PostgreSQL cannot be had the test is skipped, and under CI it fails."""
    if name != "postgres":
        engine: Engine = Sqlite() if name == "sqlite" else Duck()
        yield engine
        engine.close()
        return
    try:
        url = postgres.fresh_database()
    except postgres.NoServer as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    engine = Postgres(url)
    yield engine
    engine.close()
    postgres.drop_database(url)
