"""Connections to one database: many readers, one writer at a time, and who wrote last."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from threading import get_ident
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Engine, create_engine, event, insert, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from tailorbird.errors import InvalidInput, Unavailable
from tailorbird.ports import Unit
from tailorbird.storage.sql import schema
from tailorbird.storage.sql.connecting import WAIT, begin, cannot_open, connect_sqlite, driver_errors, encode, reason
from tailorbird.storage.sql.journaling import Journaling

__all__ = ["HURRY", "Database"]

HURRY: Final = 16
"""Events that a unit has from which on it goes by the journal: fewer come one at a time, and are where they belong at once."""

_ADVISORY_LOCK: Final = 0x7A11_0B12D
"""The PostgreSQL advisory lock that writers take turns by."""

_OLDEST_SQLITE: Final = (3, 40, 0)
_READERS: Final = 64
_WHO: Final = "SELECT value FROM meta WHERE key = 'writer'"
_ME: Final = "UPDATE meta SET value = ? WHERE key = 'writer'"
_WITH_JOURNAL: Final = 2  # the version of the schema from which on ``meta`` names a journal
_NONE: Final = "-"  # no mark: the database never says this


class Database:
    """One database. ``writing()`` serialises writers of all processes; ``reading()`` never waits for them.

    The ``…_raw`` forms give the driver's own connection: they cost a tenth of the others, and are what the hot path uses.

    Who wrote last is kept in ``meta`` as ``<turn>:<name>``. A turn is a run of writes by one process: the number grows when
    another one begins to write, and not when somebody merely claims, so that two readers never chase each other.
    """

    def __init__(
        self, url: str, *, version: int = schema.VERSION, upgrades: Mapping[int, Sequence[str]] = schema.UPGRADES
    ) -> None:
        self.url = url
        self._hurry = HURRY
        self._version = version
        self._upgrades = upgrades
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self.path: Path | None = None
        self._lock = threading.RLock()
        self._name = uuid.uuid4().hex
        self._lost = True
        self._count = -1  # the turn up to which our readers' caches hold
        self._mark = _NONE  # what ``meta`` says while nobody wrote or claimed after us
        self._aware = False
        self._held: tuple[int, Connection] | None = None  # the thread that is alone, and its transaction
        self._glances = threading.Lock()
        self._glance: sqlite3.Connection | None = None
        self._at_glance = -1
        self._seen = ""
        self._look_again = 0.0
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        parsed = self._parse(url)
        self.postgres = parsed.startswith("postgresql")
        self._errors = driver_errors(self.postgres)
        self.journals: Journaling | None = None
        if self.path is not None:
            self.journals = Journaling(self.path, partial(connect_sqlite, read_only=False), hurry=self._hurry)
        try:
            self._writer, self._reader = self._open_postgres(parsed) if self.postgres else self._open_sqlite()
        except SQLAlchemyError as error:
            raise cannot_open(error) from None
        try:
            self._create()
        except Exception as error:
            self._writer.dispose()
            self._reader.dispose()
            if isinstance(error, (SQLAlchemyError, *self._errors)):
                raise cannot_open(error) from None
            raise

    # ---- opening
    def _parse(self, url: str) -> str:
        if url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
            return "postgresql+psycopg://" + url.split("://", 1)[1]
        name = url
        if url.startswith("sqlite:"):
            name, _, options = url.removeprefix("sqlite:///").partition("?")
            self._read_options(options)
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

    def _read_options(self, options: str) -> None:
        if not options:
            return
        name, _, value = options.partition("=")
        if name != "journal" or not value.isdecimal():
            raise InvalidInput(
                f"{options!r:.60} cannot stand behind a SQLite database's URL",
                hint="known: ?journal=16 (how many events a unit has from which on it is taken in by way of the journal)",
            )
        self._hurry = int(value)

    def _open_sqlite(self) -> tuple[Engine, Engine]:
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise InvalidInput(
                f"this Python has SQLite {sqlite3.sqlite_version}, and 3.40 or later is needed",
                hint="use a newer Python, or a PostgreSQL database",
            )
        options: dict[str, Any] = {"json_serializer": encode, "json_deserializer": msgspec.json.decode}
        try:
            self._raw: Any = connect_sqlite(self.path, read_only=False)
            self._raw.execute("PRAGMA busy_timeout=0")  # ``_begin`` waits better
        except sqlite3.Error as error:
            raise cannot_open(error) from None
        writer = create_engine("sqlite://", creator=lambda: self._raw, poolclass=StaticPool, **options)
        reader = create_engine(
            "sqlite://", creator=lambda: connect_sqlite(self.path, read_only=True),
            poolclass=QueuePool, pool_size=8, max_overflow=_READERS, pool_use_lifo=True, **options,
        )  # fmt: skip
        event.listen(writer, "begin", lambda connection: begin(self._raw))
        event.listen(reader, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        return writer, reader

    def _open_postgres(self, url: str) -> tuple[Engine, Engine]:
        try:
            engine = create_engine(
                make_url(url), poolclass=QueuePool, pool_size=8, max_overflow=8, pool_pre_ping=True,
                json_serializer=encode, json_deserializer=msgspec.json.decode,
            )  # fmt: skip
        except (ModuleNotFoundError, NoSuchModuleError):
            raise InvalidInput(
                "PostgreSQL needs its driver", hint="install it with: pip install 'tailorbird[postgres]'"
            ) from None
        # A question is one statement: without a transaction around it, it costs one round trip instead of three.
        return engine, engine.execution_options(isolation_level="AUTOCOMMIT")

    def _create(self) -> None:
        if self.postgres:
            schema.complete_for_postgres()
        with self._lock, self._writer.begin() as connection:
            self._wait_in_line(connection)
            schema.meta.create(connection, checkfirst=True)
            found = connection.scalar(select(schema.meta.c.value).where(schema.meta.c.key == "schema"))
            if found is not None and int(found) > self._version:
                raise InvalidInput(
                    f"the database has schema {found}, newer than this program's {self._version}", hint="upgrade tailorbird"
                )
            if found is None:
                schema.metadata.create_all(connection, checkfirst=True)
                connection.execute(insert(schema.meta).values(key="schema", value=str(self._version)))
                connection.execute(insert(schema.meta).values(key="writer", value=""))
                connection.execute(insert(schema.meta).values(key="journal", value=""))
                return
            if int(found) < self._version:
                self._upgrade(connection, int(found))
            if int(found) >= _WITH_JOURNAL:
                self.sweep()

    def _upgrade(self, connection: Connection, found: int) -> None:
        """Bring an older database up to date, wholly or not at all: the transaction is that of the caller."""
        for version in range(found + 1, self._version + 1):
            try:
                for statement in self._upgrades[version]:
                    connection.exec_driver_sql(statement)
            except self._errors as error:
                raise Unavailable(
                    f"the database has schema {found} and could not be brought to {version}: {reason(error)}",
                    hint="nothing in it was changed; keep using the program it was made with, and report this",
                ) from None
        schema.metadata.create_all(connection, checkfirst=True)
        changed = update(schema.meta).where(schema.meta.c.key == "schema")
        connection.execute(changed.values(value=str(self._version)))

    def close(self) -> None:
        """Close all connections; a database in memory is gone then.

        What other threads read just then they finish, and their connection is closed after that; nobody gets a new one.
        """
        with self._lock:
            try:
                if self.journals is not None:
                    self.journals.close()
            finally:
                self._close_all()
        if self._scratch is not None:
            self._scratch.cleanup()

    def _close_all(self) -> None:
        with self._lock:
            self._closed = True  # before anything is closed: who gives a connection back after that closes it
            if not self.postgres:
                with suppress(sqlite3.Error):
                    self._raw.execute("PRAGMA optimize")
                self._close_idle()
                if self._glance is not None:
                    self._glance.close()
            self._writer.pool.dispose()
            self._reader.pool.dispose()
            if not self.postgres:
                self._raw.close()

    def _close_idle(self) -> None:
        while self._idle:
            with suppress(IndexError):  # another thread may do the same
                self._idle.pop().close()

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise Unavailable("the database is closed", hint="open it again to go on")

    @contextmanager
    def _begun(self, engine: Engine) -> Iterator[Connection]:
        """Give a transaction on a connection that does not outlive the database by more than the transaction itself."""
        self._refuse_when_closed()
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            if self._closed:
                engine.pool.dispose()

    # ---- reading and writing
    @contextmanager
    def reading(self, *, fresh: bool = True) -> Iterator[Connection]:
        """Give a connection that sees what is committed (and, where this thread is alone, what it has written).

        Not ``fresh``: what a journal may still hold does not matter to the question.
        """
        held = self.mine()
        if held is not None:
            with self._saying("the database did not answer", "try again"):
                yield held
            return
        if fresh:
            self.freshen()
        with self._saying("the database did not answer", "try again"), self._begun(self._reader) as connection:
            yield connection

    def freshen(self) -> None:
        """Let the tables have what a journal still holds, for who reads them on a connection of its own."""
        if self.journals is not None and self.mine() is None:
            with self.reading_raw() as raw:
                self.journals.freshen(raw)

    @contextmanager
    def reading_raw(self) -> Iterator[Any]:
        """Give the driver's own connection, for one statement that reads what no journal holds."""
        if self.postgres or self.mine() is not None:
            with self.reading() as connection:
                yield connection.connection.driver_connection
            return
        with self._saying("the database did not answer", "try again"):
            self._refuse_when_closed()
            try:
                raw = self._idle.pop()
            except IndexError:
                raw = connect_sqlite(self.path, read_only=True)
            try:
                yield raw
            except BaseException:
                raw.close()
                raise
            if len(self._idle) < _READERS:
                self._idle.append(raw)
            else:
                raw.close()
            if self._closed:
                self._close_idle()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection inside a write transaction, as the last writer; commits at the end, rolls back on an error."""
        held = self.mine()
        if held is not None:
            with self._writing_or_lost(), held.begin_nested():
                yield held
            return
        with self._writing_or_lost(), self._lock, self._settled(), self._begun(self._writer) as connection:
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
    def alone(self) -> Iterator[bool]:
        """Keep everybody else from writing: what this thread reads and writes inside is one transaction, of all or nothing.

        Gives whether nobody else wrote since we last did or claimed; who then does not claim inside is told so later, too.
        Reentrant; other threads do not see what is written until the end.
        """
        if self.mine() is not None:
            yield self._aware
            return
        with self._writing_or_lost(), self._lock, self._settled(), self._begun(self._writer) as connection:
            self._take_turn(connection)
            self._become_writer(connection)
            kept, self._lost = not self._lost, False
            self._aware = kept
            self._held = get_ident(), connection
            try:
                yield kept
            finally:
                self._held = None
            if not self._aware:  # what it keeps in memory is as stale as it was
                self._lost, self._count = True, -1

    def claim(self) -> bool:
        """Let whatever another process writes from now on be noticed; return whether none wrote since we last did or claimed."""
        if self.mine() is not None:
            self._aware, kept = True, self._aware
            return kept
        with self._writing_or_lost(), self._lock, self._settled(), self._begun(self._writer) as connection:
            self._take_turn(connection)
            found = self._who(connection)
            count = _turn_of(found)
            kept = not self._lost and count == self._count
            self._count = count
            if found != self._mark:
                self._mark = _NONE  # our first write begins a turn of its own
                if found != f"{count}:{self._name}":
                    self._say(connection, f"{count}:{self._name}")
            self._lost = False
        return kept

    def others_wrote(self, *, within: float = 0.0) -> bool:
        """Return whether another process wrote since we last did or claimed; the answer may be ``within`` seconds old.

        Microseconds on SQLite, a round trip on PostgreSQL.
        """
        if self.mine() is not None or (within and time.monotonic() < self._look_again):
            return False
        with self._glances:
            self._look_again = time.monotonic() + within
            if self._look() == self._count:
                return False
            with self._lock:  # nothing of our own is half written meanwhile
                return self._look() != self._count

    def _look(self) -> int:
        """Return the number of the turn that is under way, as committed."""
        if self.postgres:
            with self.reading() as connection:
                return _turn_of(self._who(connection))
        self._refuse_when_closed()
        with self._saying("the database did not answer", "try again"):
            if self._glance is None:
                self._glance = connect_sqlite(self.path, read_only=True)
            version = self._glance.execute("PRAGMA data_version").fetchone()[0]
            if version != self._at_glance:
                self._seen = self._glance.execute(_WHO).fetchone()[0]
                self._at_glance = version
        return _turn_of(self._seen)

    @contextmanager
    def touching(self) -> Iterator[Connection]:
        """Give a connection inside a write transaction for what nobody keeps in memory: nobody has to read anything anew."""
        held = self.mine()
        if held is not None:
            with self._saying("the database did not take it", "try again"), held.begin_nested():
                yield held
            return
        turn = nullcontext() if self.postgres else self._lock  # PostgreSQL takes it beside the transaction of another thread
        with self._saying("the database did not take it", "try again"), turn, self._begun(self._writer) as connection:
            yield connection

    def mine(self) -> Connection | None:
        """Return the transaction of this thread, if it is alone."""
        held = self._held
        return held[1] if held is not None and held[0] == get_ident() else None

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
        held = self.mine()
        if held is not None:
            with self._writing_or_lost(), held.begin_nested():
                yield self._raw
            return
        with self._writing_or_lost(), self._lock, self._settled():
            self._refuse_when_closed()
            raw = self._raw
            begin(raw)
            try:
                self._admit()
                found = raw.execute(_WHO).fetchone()[0]
                if found != self._mark:
                    raw.execute(_ME, (self._next_turn(found),))
                yield raw
                raw.execute("COMMIT")
            except BaseException:
                if raw.in_transaction:
                    raw.execute("ROLLBACK")
                raise

    def append(self, unit: Unit) -> bool | None:
        """Write a unit durably by way of the journal, where that is the better way (else None, and nothing is written).

        False, and nothing is written, when another process wrote since we last did.
        """
        journals = self.journals
        if journals is None or self.mine() is not None or not journals.wants(unit):
            return None
        with self._writing_or_lost(), self._lock:
            if self._lost:
                return None
            if journals.own is None:
                with self.writing_raw_as_last() as raw:
                    if raw is None:
                        return False
                    journals.open(raw)
            return journals.append(unit, self._highest_event)

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """Let the tables have what our journal holds, before we write to them ourselves; the lock is held."""
        if self.journals is not None:
            self.journals.settle()
            self.journals.wrote()
        yield

    def _highest_event(self) -> int:
        with self.reading_raw() as raw:
            return int(raw.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0])

    def sweep(self) -> None:
        """Remove what was left of journals that are moved over; inside a write transaction."""
        if self.journals is not None:
            self.journals.sweep(self._raw)

    def _admit(self) -> None:
        if self.journals is not None:
            self.journals.admit(self._raw)

    @contextmanager
    def _writing_or_lost(self) -> Iterator[None]:
        """Say what went wrong; after any error we no longer know that we wrote last (a commit may have been half heard)."""
        with self._saying("the database did not take it", "nothing was written; try again"):
            try:
                yield
            except BaseException:
                self._lost = True
                self._count, self._mark = -1, _NONE
                raise

    @contextmanager
    def _saying(self, what: str, hint: str) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise Unavailable(f"{what}: {reason(error)}", hint=hint) from None

    def checkpoint(self) -> None:
        """Bring what is in the write-ahead log into the database file (SQLite) or clear away dead rows (PostgreSQL)."""
        with self._lock:
            self._refuse_when_closed()
            if self.postgres:
                with self._writer.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.exec_driver_sql("VACUUM event, profile, identifier, record, outbox, reply")
            else:
                self._raw.execute(f"PRAGMA busy_timeout={int(WAIT * 1000)}")
                self._raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._raw.execute("PRAGMA busy_timeout=0")
                if self.journals is not None:
                    self.journals.checkpoint()

    def _take_turn(self, connection: Connection) -> None:
        self._wait_in_line(connection)
        self._admit()

    def _wait_in_line(self, connection: Connection) -> None:
        if self.postgres:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})

    def _become_writer(self, connection: Connection) -> None:
        found = self._who(connection)
        if found != self._mark:
            self._say(connection, self._next_turn(found))

    def _who(self, connection: Connection) -> str:
        meta = schema.meta
        return connection.scalar(select(meta.c.value).where(meta.c.key == "writer")) or ""

    def _say(self, connection: Connection, mark: str) -> None:
        meta = schema.meta
        connection.execute(update(meta).where(meta.c.key == "writer").values(value=mark))

    def _next_turn(self, found: str) -> str:
        """Begin a turn of our own after what ``meta`` says; note whether it was another's. Return what it has to say now."""
        count = _turn_of(found)
        if count != self._count:
            self._lost = True
        self._count = count + 1
        self._mark = f"{self._count}:{self._name}"
        return self._mark


def _turn_of(mark: str) -> int:
    return int(mark.partition(":")[0]) if ":" in mark else 0
