"""Set-based evaluation by DuckDB over the columnar mirror of a SQLite record."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import duckdb

from tailorbird.core.deadline import Deadline
from tailorbird.errors import OverTime
from tailorbird.expr.check import type_of
from tailorbird.expr.nodes import Node
from tailorbird.expr.sql import (
    Dialect,
    Query,
    Source,
    compile_count,
    compile_members,
    compile_table,
    compile_values,
    compile_wakes,
    read_value,
)
from tailorbird.storage.batch.mirror import Mirror

__all__ = ["DuckBatch"]


class DuckBatch:
    """``ports.Batch`` over the files in ``folder``, which follow the SQLite database at ``database``.

    ``freshen`` is called before a question, to let the database's tables have what a journal holds (``Database.freshen``).
    """

    def __init__(
        self, database: Path, folder: Path | None = None, *, freshen: Callable[[], None] = lambda: None, memory: str = "1GB",
        tail: int = 20_000,
    ) -> None:  # fmt: skip
        self.mirror = Mirror(database, folder or Path(f"{database}.columns"), freshen=freshen, memory=memory, tail=tail)
        self._deadline: Deadline | None = None

    def until(self, deadline: Deadline) -> Self:
        """Return the same with an end: see ``ports.Batch``. Bringing the files up to date is not ended: it helps every question."""
        bounded = copy.copy(self)
        bounded._deadline = deadline
        return bounded

    def close(self) -> None:
        """Let go of the database; the files stay."""
        self.mirror.close()

    def changed(self, profiles: Sequence[int]) -> None:
        """Take notice that the events of these profiles changed owner or were erased; of the erased no trace is left."""
        self.mirror.follow(profiles)

    def _ask(self, instant: int, compile: Callable[[Source], Query]) -> list[tuple[Any, ...]]:
        with self.mirror.lock:
            try:
                return self._rows(compile(self.mirror.source(instant)))
            except (duckdb.IOException, duckdb.InvalidInputException, duckdb.SerializationException, OSError):
                # Somebody removed or damaged the files, or another process replaced them just now.
                self.mirror.rebuild()
                return self._rows(compile(self.mirror.source(instant)))

    def _rows(self, query: Query) -> list[tuple[Any, ...]]:
        if self._deadline is None:
            return self.mirror.con.execute(query.sql, list(query.params)).fetchall()
        with _ending(self.mirror.con, self._deadline):
            return self.mirror.con.execute(query.sql, list(query.params)).fetchall()

    def count(self, condition: Node, instant: int, *, kind: str = "person") -> int:
        """Return for how many profiles the condition is true."""
        rows = self._ask(instant, lambda source: compile_count(condition, instant, Dialect.DUCKDB, source=source, kind=kind))
        return int(rows[0][0])

    def members(
        self, condition: Node, instant: int, *, limit: int | None = None, after: int = 0, kind: str = "person"
    ) -> list[int]:
        """Return the keys of the profiles for which the condition is true, ascending, above ``after``."""
        rows = self._ask(
            instant,
            lambda source: compile_members(
                condition, instant, Dialect.DUCKDB, source=source, kind=kind, after=after, limit=limit
            ),
        )
        return [row[0] for row in rows]

    def values(self, expressions: Mapping[str, Node], instant: int, profiles: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return the value of each named expression for each profile (None: unknown)."""
        if not expressions or not profiles:
            return {key: {} for key in profiles}
        keys = list(profiles)
        rows = self._ask(
            instant, lambda source: compile_values(expressions, instant, Dialect.DUCKDB, source=source, profiles=keys)
        )
        types = [type_of(node) for node in expressions.values()]
        return {
            row[0]: {name: read_value(raw, type) for name, raw, type in zip(expressions, row[1:], types, strict=True)}
            for row in rows
        }

    def tables(self, conditions: Mapping[str, Node], instant: int, *, kind: str = "person") -> dict[str, list[int]]:
        """Return the members of many conditions in one pass."""
        if not conditions:
            return {}
        rows = self._ask(instant, lambda source: self._lists(conditions, instant, source, kind))
        return {name: members or [] for name, members in zip(conditions, rows[0], strict=True)}

    def _lists(self, conditions: Mapping[str, Node], instant: int, source: Source, kind: str) -> Query:
        """Have DuckDB gather the members of each condition into a list, so that no row per profile crosses over."""
        query = compile_table(conditions, instant, Dialect.DUCKDB, source=source, kind=kind)
        listed = ", ".join(f"list_sort(list(profile) FILTER (WHERE x{i}))" for i in range(len(conditions)))
        return Query(f"SELECT {listed} FROM ({query.sql})", query.params)

    def wakes(self, condition: Node, instant: int, *, kind: str = "person") -> Iterator[tuple[int, int]]:
        """Yield (profile, due): see ``ports.Batch``."""
        rows = self._ask(instant, lambda source: compile_wakes(condition, instant, Dialect.DUCKDB, source=source, kind=kind))
        yield from ((row[0], row[1]) for row in rows)


@contextmanager
def _ending(con: duckdb.DuckDBPyConnection, deadline: Deadline) -> Iterator[None]:
    """Interrupt what the connection does at the deadline, and nothing that it does after."""
    over, lock = False, threading.Lock()

    def interrupt() -> None:
        with lock:
            if not over:
                con.interrupt()

    timer = threading.Timer(deadline.left(), interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    except duckdb.InterruptException:
        raise OverTime(deadline.limit) from None
    finally:
        with lock:
            over = True
        timer.cancel()
