"""Connections to one database: many readers, one writer at a time, and who wrote last."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Engine, create_engine, event, insert, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from tailorbird.errors import InvalidInput, Unavailable
from tailorbird.storage.sql import schema

__all__ = ["Database"]

_ADVISORY_LOCK: Final = 0x7A11_0B12D
"""The PostgreSQL advisory lock that writers take turns by."""

_OLDEST_SQLITE: Final = (3, 40, 0)
_READERS: Final = 64
_WHO: Final = "SELECT value FROM meta WHERE key = 'writer'"
_ME: Final = "UPDATE meta SET value = ? WHERE key = 'writer'"


class Database:
    """One database. ``writing()`` serialises writers of all processes; ``reading()`` never waits for them.

    The ``…_raw`` forms give the driver's own connection: they cost a tenth of the others, and are what the hot path uses.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self.path: Path | None = None
        self._lock = threading.RLock()
        self._name = uuid.uuid4().hex
        self._lost = True
        self._idle: list[sqlite3.Connection] = []
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
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise InvalidInput(
                f"this Python has SQLite {sqlite3.sqlite_version}, and 3.40 or later is needed",
                hint="use a newer Python, or a PostgreSQL database",
            )
        options: dict[str, Any] = {"json_serializer": _encode, "json_deserializer": msgspec.json.decode}
        try:
            self._raw: Any = _connect_sqlite(self.path, read_only=False)
        except sqlite3.Error as error:
            raise _cannot_open(error) from None
        writer = create_engine("sqlite://", creator=lambda: self._raw, poolclass=StaticPool, **options)
        reader = create_engine(
            "sqlite://", creator=lambda: _connect_sqlite(self.path, read_only=True),
            poolclass=QueuePool, pool_size=8, max_overflow=_READERS, pool_use_lifo=True, **options,
        )  # fmt: skip
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
        # A question is one statement: without a transaction around it, it costs one round trip instead of three.
        return engine, engine.execution_options(isolation_level="AUTOCOMMIT")

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
                return
            for version in range(int(found) + 1, schema.VERSION + 1):
                for statement in schema.UPGRADES[version]:
                    connection.exec_driver_sql(statement)
            if int(found) < schema.VERSION:
                schema.metadata.create_all(connection, checkfirst=True)
                changed = update(schema.meta).where(schema.meta.c.key == "schema")
                connection.execute(changed.values(value=str(schema.VERSION)))

    def close(self) -> None:
        """Close all connections; a database in memory is gone then."""
        with self._lock:
            if not self.postgres:
                with suppress(sqlite3.Error):
                    self._raw.execute("PRAGMA optimize")
                while self._idle:
                    self._idle.pop().close()
            self._writer.dispose()
            self._reader.dispose()
            if not self.postgres:
                self._raw.close()
        if self._scratch is not None:
            self._scratch.cleanup()

    # ---- reading and writing
    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees what is committed."""
        with self._saying("the database did not answer", "try again"), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def reading_raw(self) -> Iterator[Any]:
        """Give the driver's own connection, for one statement that reads."""
        if self.postgres:
            with self.reading() as connection:
                yield connection.connection.driver_connection
            return
        with self._saying("the database did not answer", "try again"):
            try:
                raw = self._idle.pop()
            except IndexError:
                raw = _connect_sqlite(self.path, read_only=True)
            try:
                yield raw
            except BaseException:
                raw.close()
                raise
            if len(self._idle) < _READERS:
                self._idle.append(raw)
            else:
                raw.close()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection inside a write transaction, as the last writer; commits at the end, rolls back on an error."""
        with self._writing_or_lost(), self._lock, self._writer.begin() as connection:
            self._take_turn(connection)
            self._become_writer(connection)
            yield connection

    @contextmanager
    def writing_as_last(self) -> Iterator[Connection | None]:
        """Like ``writing``, but give None (and write only our name) when somebody else wrote since we last did."""
        with self.writing() as connection:
            lost, self._lost = self._lost, False
            yield None if lost else connection

    @contextmanager
    def writing_raw(self) -> Iterator[Any]:
        """Give the driver's own connection inside a write transaction; for bulk work."""
        if not self.postgres:
            with self._sqlite_transaction() as raw:
                yield raw
            return
        with self.writing() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            yield raw

    @contextmanager
    def writing_raw_as_last(self) -> Iterator[Any]:
        """Like ``writing_as_last``, with the driver's own connection: what commits a unit."""
        if self.postgres:
            with self.writing_as_last() as connection:
                yield None if connection is None else connection.connection.driver_connection
            return
        with self._sqlite_transaction() as raw:
            lost, self._lost = self._lost, False
            yield None if lost else raw

    @contextmanager
    def _sqlite_transaction(self) -> Iterator[Any]:
        with self._writing_or_lost(), self._lock:
            raw = self._raw
            raw.execute("BEGIN IMMEDIATE")
            try:
                if raw.execute(_WHO).fetchone()[0] != self._name:
                    self._lost = True
                    raw.execute(_ME, (self._name,))
                yield raw
                raw.execute("COMMIT")
            except BaseException:
                self._lost = True
                if raw.in_transaction:
                    raw.execute("ROLLBACK")
                raise

    @contextmanager
    def _writing_or_lost(self) -> Iterator[None]:
        """Say what went wrong; after any error we no longer know that we wrote last (a commit may have been half heard)."""
        with self._saying("the database did not take it", "nothing was written; try again"):
            try:
                yield
            except BaseException:
                self._lost = True
                raise

    @contextmanager
    def _saying(self, what: str, hint: str) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise Unavailable(f"{what}: {_reason(error)}", hint=hint) from None

    def checkpoint(self) -> None:
        """Bring what is in the write-ahead log into the database file (SQLite) or clear away dead rows (PostgreSQL)."""
        with self._lock:
            if self.postgres:
                with self._writer.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.exec_driver_sql("VACUUM event, profile, identifier, record, outbox, reply")
            else:
                self._raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _take_turn(self, connection: Connection) -> None:
        if self.postgres:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})

    def _become_writer(self, connection: Connection) -> None:
        meta = schema.meta
        if connection.scalar(select(meta.c.value).where(meta.c.key == "writer")) != self._name:
            self._lost = True
            connection.execute(update(meta).where(meta.c.key == "writer").values(value=self._name))


def _connect_sqlite(path: Path | None, *, read_only: bool) -> sqlite3.Connection:
    raw = sqlite3.connect(str(path), timeout=30, isolation_level=None, check_same_thread=False, cached_statements=512)
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
        # 64 MB of log between checkpoints: a page written many times meanwhile goes to the file once.
        raw.execute("PRAGMA wal_autocheckpoint=16000")
    return raw


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
