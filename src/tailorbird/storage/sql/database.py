"""Connections to one database: many readers, one writer at a time, and who wrote last."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Engine, create_engine, event, insert, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import QueuePool, SingletonThreadPool, StaticPool

from tailorbird.errors import InvalidInput, Unavailable
from tailorbird.storage.sql import schema

__all__ = ["Database"]

_ADVISORY_LOCK: Final = 0x7A11_0B12D
"""The PostgreSQL advisory lock that writers take turns by."""


class Database:
    """One database. ``writing()`` serialises writers of all processes; ``reading()`` never waits for them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self.path: Path | None = None
        self._lock = threading.RLock()
        self._name = uuid.uuid4().hex
        self._lost = True
        parsed = self._parse(url)
        self.postgres = parsed.startswith("postgresql")
        self._errors = _driver_errors(self.postgres)
        try:
            self._writer, self._reader = self._open_postgres(parsed) if self.postgres else self._open_sqlite()
        except SQLAlchemyError as error:
            raise _cannot_open(error) from None
        try:
            self._create()
        except Exception as error:
            self._writer.dispose()
            self._reader.dispose()
            if isinstance(error, (SQLAlchemyError, *self._errors)):
                raise _cannot_open(error) from None
            raise

    # ---- opening
    def _parse(self, url: str) -> str:
        if url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
            return "postgresql+psycopg://" + url.split("://", 1)[1]
        name = url.removeprefix("sqlite:///") if url.startswith("sqlite:") else url
        if "://" in name:
            raise InvalidInput(
                f"a database URL cannot begin with {name.split('://')[0]}://",
                hint="write a file's path, sqlite:///path or postgresql://user@host/database",
            )
        if name in ("", ":memory:"):
            self._scratch = tempfile.TemporaryDirectory(prefix="tailorbird-")
            name = str(Path(self._scratch.name) / "memory.db")
        self.path = Path(name).expanduser()
        if not self.path.parent.is_dir():
            raise InvalidInput(f"the folder {self.path.parent} does not exist", hint="make it first, or choose another path")
        return f"sqlite:///{name}"

    def _open_sqlite(self) -> tuple[Engine, Engine]:
        def connect(read_only: bool) -> sqlite3.Connection:
            raw = sqlite3.connect(
                str(self.path), timeout=30, isolation_level=None, check_same_thread=False, cached_statements=512
            )
            raw.execute("PRAGMA busy_timeout=30000")
            raw.execute("PRAGMA journal_mode=WAL")
            raw.execute("PRAGMA synchronous=FULL")
            raw.execute("PRAGMA temp_store=MEMORY")
            raw.execute("PRAGMA mmap_size=1073741824")
            if read_only:
                raw.execute("PRAGMA cache_size=-16384")
                raw.execute("PRAGMA query_only=ON")
            else:
                raw.execute("PRAGMA cache_size=-131072")
                # What is erased must be gone from the file too, not only from the index of it.
                raw.execute("PRAGMA secure_delete=ON")
                raw.execute("PRAGMA wal_autocheckpoint=4000")
            return raw

        options: dict[str, Any] = {"json_serializer": _encode, "json_deserializer": msgspec.json.decode}
        writer = create_engine("sqlite://", creator=lambda: connect(False), poolclass=StaticPool, **options)
        reader = create_engine("sqlite://", creator=lambda: connect(True), poolclass=SingletonThreadPool, pool_size=64, **options)
        event.listen(writer, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        event.listen(reader, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        return writer, reader

    def _open_postgres(self, url: str) -> tuple[Engine, Engine]:
        try:
            engine = create_engine(
                make_url(url), poolclass=QueuePool, pool_size=8, max_overflow=8, pool_pre_ping=True,
                json_serializer=_encode, json_deserializer=msgspec.json.decode,
            )  # fmt: skip
        except (ModuleNotFoundError, NoSuchModuleError):
            raise InvalidInput(
                "PostgreSQL needs its driver", hint="install it with: pip install 'tailorbird[postgres]'"
            ) from None
        return engine, engine

    def _create(self) -> None:
        with self._lock, self._writer.begin() as connection:
            self._take_turn(connection)
            schema.meta.create(connection, checkfirst=True)
            found = connection.scalar(select(schema.meta.c.value).where(schema.meta.c.key == "schema"))
            if found is not None and int(found) > schema.VERSION:
                raise InvalidInput(
                    f"the database has schema {found}, newer than this program's {schema.VERSION}", hint="upgrade tailorbird"
                )
            if found is None:
                schema.metadata.create_all(connection, checkfirst=True)
                connection.execute(insert(schema.meta).values(key="schema", value=str(schema.VERSION)))
                connection.execute(insert(schema.meta).values(key="writer", value=""))

    def close(self) -> None:
        """Close all connections; a database in memory is gone then."""
        with self._lock:
            if not self.postgres:
                with self._raw_writer() as raw:
                    raw.execute("PRAGMA optimize")
            self._writer.dispose()
            self._reader.dispose()
        if self._scratch is not None:
            self._scratch.cleanup()

    # ---- reading and writing
    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees what is committed."""
        try:
            with self._reader.begin() as connection:
                yield connection
        except self._errors as error:
            raise Unavailable(f"the database did not answer: {_reason(error)}", hint="try again") from None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection inside a write transaction, as the last writer; commits at the end, rolls back on an error."""
        try:
            with self._lock, self._writer.begin() as connection:
                self._take_turn(connection)
                self._become_writer(connection)
                yield connection
        except self._errors as error:
            self._lost = True
            raise Unavailable(f"the database did not take it: {_reason(error)}", hint="nothing was written; try again") from None

    @contextmanager
    def writing_as_last(self) -> Iterator[Connection | None]:
        """Like ``writing``, but give None (and write only our name) when somebody else wrote since we last did."""
        with self.writing() as connection:
            lost, self._lost = self._lost, False
            yield None if lost else connection

    @contextmanager
    def writing_raw(self) -> Iterator[Any]:
        """Give the driver's own connection inside a write transaction; for bulk work."""
        with self.writing() as connection:
            yield connection.connection.driver_connection

    @contextmanager
    def _raw_writer(self) -> Iterator[Any]:
        raw = self._writer.raw_connection()
        try:
            yield raw.driver_connection
        finally:
            raw.close()

    def checkpoint(self) -> None:
        """Bring what is in the write-ahead log into the database file (SQLite) or clear away dead rows (PostgreSQL)."""
        with self._lock:
            if self.postgres:
                with self._writer.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.exec_driver_sql("VACUUM event, profile, identifier, outbox, reply")
            else:
                with self._raw_writer() as raw:
                    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _take_turn(self, connection: Connection) -> None:
        if self.postgres:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})

    def _become_writer(self, connection: Connection) -> None:
        meta = schema.meta
        if connection.scalar(select(meta.c.value).where(meta.c.key == "writer")) != self._name:
            self._lost = True
            connection.execute(update(meta).where(meta.c.key == "writer").values(value=self._name))


def _cannot_open(error: Exception) -> Unavailable:
    return Unavailable(f"the database cannot be opened: {_reason(error)}", hint="check the URL, the server and its rights")


def _driver_errors(postgres: bool) -> tuple[type[Exception], ...]:
    if not postgres:
        return (DBAPIError, sqlite3.Error)
    try:
        import psycopg
    except ModuleNotFoundError:
        return (DBAPIError,)
    return (DBAPIError, psycopg.Error)


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _reason(error: Exception) -> str:
    """Say what the driver said without the statement and its values, which may be personal."""
    original = getattr(error, "orig", None) or error
    first = str(original).strip().splitlines()
    return f"{type(original).__name__}: {first[0][:200] if first else ''}"
