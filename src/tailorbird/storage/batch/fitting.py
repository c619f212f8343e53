"""The batch engine of a SQLite store: its own SQL while it is small, DuckDB over columnar files once it is not."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tailorbird.core.deadline import Deadline
from tailorbird.expr.nodes import Node
from tailorbird.ports import Batch
from tailorbird.storage.sql.query import SqlBatch
from tailorbird.storage.sql.store import SqlStore

if TYPE_CHECKING:
    from tailorbird.storage.batch.duck import DuckBatch

__all__ = ["FittingBatch", "attach_columns"]

_LARGE: Final = 50_000
"""Events from which on the files pay for themselves."""

_FEW: Final = 1_000
"""Profiles up to which the index on (profile, at) beats reading columns."""


def attach_columns(store: SqlStore, *, memory: str = "1GB") -> None:
    """Give a SQLite store its batch engine; a PostgreSQL store keeps its own."""
    path = store.database.path
    if path is not None and not store.postgres:
        batch = FittingBatch(store, path, memory=memory)
        store.attach(batch)
        store.listeners.append(batch.changed)


class FittingBatch:
    """``ports.Batch``: each question goes to the engine that answers it sooner; the answers are the same."""

    def __init__(self, store: SqlStore, path: Path, *, memory: str = "1GB") -> None:
        self._store = store
        self._path = path
        self._folder = Path(f"{path}.columns")
        self._memory = memory
        self._sql = SqlBatch(store.database)
        self._duck: DuckBatch | None = None
        self._whole = self
        self._deadline: Deadline | None = None

    def until(self, deadline: Deadline) -> Self:
        """Return the same with an end: see ``ports.Batch``."""
        bounded = copy.copy(self)
        bounded._deadline = deadline
        bounded._sql = self._sql.until(deadline)
        return bounded

    def close(self) -> None:
        """Let go of the database; the files stay."""
        if self._duck is not None:
            self._duck.close()
            self._duck = None

    def changed(self, profiles: Sequence[int]) -> None:
        """Take notice that the events of these profiles changed owner or were erased."""
        if self._duck is not None or self._folder.exists():
            self._columns().changed(profiles)

    def count(self, condition: Node, instant: int, *, kind: str = "person") -> int:
        """Return for how many profiles the condition is true."""
        return self._everybody().count(condition, instant, kind=kind)

    def members(
        self, condition: Node, instant: int, *, limit: int | None = None, after: int = 0, kind: str = "person"
    ) -> list[int]:
        """Return the keys of the profiles for which the condition is true, ascending, above ``after``."""
        return self._everybody().members(condition, instant, limit=limit, after=after, kind=kind)

    def values(self, expressions: Mapping[str, Node], instant: int, profiles: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return for each profile the value of each named expression (None: unknown)."""
        engine: Batch = self._sql if len(profiles) <= _FEW else self._everybody()
        return engine.values(expressions, instant, profiles)

    def tables(self, conditions: Mapping[str, Node], instant: int, *, kind: str = "person") -> dict[str, list[int]]:
        """Return the members of many conditions in one pass."""
        return self._everybody().tables(conditions, instant, kind=kind)

    def wakes(self, condition: Node, instant: int, *, kind: str = "person") -> Iterator[tuple[int, int]]:
        """Yield (profile, due): see ``ports.Batch``."""
        return self._everybody().wakes(condition, instant, kind=kind)

    def _everybody(self) -> Batch:
        if self._store.last_seq() < _LARGE:
            return self._sql
        columns = self._whole._columns()
        return columns if self._deadline is None else columns.until(self._deadline)

    def _columns(self) -> DuckBatch:
        if self._duck is None:
            from tailorbird.storage.batch.duck import DuckBatch  # here, because small databases never need DuckDB

            self._duck = DuckBatch(self._path, self._folder, freshen=self._store.database.freshen, memory=self._memory)
        return self._duck
