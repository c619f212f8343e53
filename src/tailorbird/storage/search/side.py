"""Where the read model of people is kept: a file beside a SQLite record, or tables beside those of a PostgreSQL record."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from tailorbird.errors import Unavailable
from tailorbird.storage.sql.database import Database

__all__ = ["PostgresSide", "Side", "SqliteSide"]

FORM: Final = "1"
"""The form of the tables; a read model of another form is thrown away."""

_LOCK: Final = 0x7A11_0D12
_COMMON: Final = (
    "CREATE TABLE IF NOT EXISTS directory_place (name text PRIMARY KEY, value text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS directory_stale (profile bigint PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS directory_engaged (profile bigint PRIMARY KEY, engagements bigint NOT NULL)",
)
_TABLES: Final = (
    "directory_place", "directory_stale", "directory_engaged", "directory_person", "directory_label", "directory_text",
)  # fmt: skip


_INDEXES: Final = {
    "directory_person_status": "directory_person (status{0})",
    "directory_person_name": "directory_person (name{0})",
    "directory_person_updated_at": "directory_person (updated_at{0})",
    "directory_label_profile": "directory_label (profile)",
}


class Side(Protocol):
    """A place for the tables of the read model, next to the record's, which are called ``<record>event`` and so on."""

    postgres: bool
    record: str
    mark: str
    lock: threading.RLock

    def exists(self) -> bool: ...
    def prepare(self) -> bool:
        """Make the tables where they are missing; return whether texts can be searched by index."""
        ...

    def version(self) -> Any:
        """Return what differs when anybody has committed anything to the record; None when that is not known."""
        ...

    def ask(self, sql: str, binds: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...
    @contextmanager
    def writing(self) -> Iterator[None]:
        """Begin a transaction on the read model; one at a time, in all processes."""
        ...

    def put(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each row."""
        ...

    def wipe(self) -> None:
        """Throw everything away."""
        ...

    def unindex(self) -> None:
        """Drop the indexes that a first reading would only slow down."""
        ...

    def index(self) -> None:
        """Make them again."""
        ...

    def shred(self) -> None:
        """Let nothing that was deleted be readable in the files."""
        ...

    def among(self, column: str) -> str:
        """Return the condition that a column is in a list, which ``listed`` makes a parameter of."""
        ...

    def listed(self, keys: Sequence[int]) -> Any: ...
    def close(self) -> None: ...


class SqliteSide:
    """``<database>.search``: removed at any time, it is made again."""

    postgres = False
    record = "record."
    mark = "?"

    def __init__(self, database: Path, freshen: Callable[[], None]) -> None:
        self._freshen = freshen
        self.lock = threading.RLock()
        self._database = database
        self.path = Path(f"{database}.search")
        self._raw: sqlite3.Connection | None = None

    def exists(self) -> bool:
        """Return whether there is a file."""
        return self._raw is not None or self.path.exists()

    def prepare(self) -> bool:
        """Open the file and make the tables; a file that cannot be read is thrown away, for all of it can be made again."""
        if self._raw is not None:
            return True
        try:
            self._open()
        except sqlite3.DatabaseError:
            self.close()
            self._remove()
            self._open()
        return True

    def _open(self) -> None:
        raw = self._raw = sqlite3.connect(
            f"file:{_quoted(self.path)}", uri=True, timeout=30, isolation_level=None, check_same_thread=False
        )
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("PRAGMA synchronous=NORMAL")
        raw.execute("PRAGMA secure_delete=ON")
        raw.execute("PRAGMA temp_store=MEMORY")
        raw.execute("PRAGMA cache_size=-65536")
        raw.execute("PRAGMA mmap_size=1073741824")
        raw.execute(f"ATTACH 'file:{_quoted(self._database).replace(chr(39), chr(39) * 2)}?mode=ro' AS record")
        self._make()

    def _make(self) -> None:
        for statement in (
            *_COMMON,
            "CREATE TABLE IF NOT EXISTS directory_person (profile INTEGER PRIMARY KEY, status text NOT NULL, name text NOT NULL, "
            "updated_at bigint NOT NULL, flags int NOT NULL, company text, phone text)",
            "CREATE TABLE IF NOT EXISTS directory_label (label text, profile bigint, PRIMARY KEY (label, profile)) WITHOUT ROWID",
            *_indexes(""),
            "CREATE VIRTUAL TABLE IF NOT EXISTS directory_text USING fts5(name, rest, tokenize='trigram')",
        ):
            self.ask(statement)

    def version(self) -> Any:
        """Return a number that changes when anybody commits to the record; it has then what waited in a journal."""
        self._freshen()
        return self.ask("PRAGMA record.data_version")[0][0]

    def ask(self, sql: str, binds: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        assert self._raw is not None
        try:
            return self._raw.execute(sql, tuple(binds)).fetchall()
        except sqlite3.OperationalError as error:
            raise Unavailable(f"the index of people did not answer: {error}", hint="Try again.") from None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Begin a transaction on the file."""
        self.ask("BEGIN IMMEDIATE")
        try:
            yield
            self.ask("COMMIT")
        except BaseException:
            assert self._raw is not None
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")
            raise

    def put(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each row."""
        assert self._raw is not None
        self._raw.executemany(sql, rows)

    def wipe(self) -> None:
        """Throw everything away."""
        for table in _TABLES:
            self.ask(f"DROP TABLE IF EXISTS {table}")
        self._make()

    def unindex(self) -> None:
        """Drop the indexes that a first reading would only slow down."""
        for name in _INDEXES:
            self.ask(f"DROP INDEX IF EXISTS {name}")

    def index(self) -> None:
        """Make them again."""
        for statement in _indexes(""):
            self.ask(statement)

    def shred(self) -> None:
        """Empty the log of changes, where old pages stand."""
        self.ask("PRAGMA main.wal_checkpoint(TRUNCATE)")

    def among(self, column: str) -> str:
        """Return the condition that a column is in a list."""
        return f"{column} IN (SELECT value FROM json_each(?))"

    def listed(self, keys: Sequence[int]) -> Any:
        """Return a list as one parameter."""
        return msgspec.json.encode(list(keys)).decode()

    def close(self) -> None:
        """Let go of the file; it stays."""
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    def _remove(self) -> None:
        for ending in ("", "-wal", "-shm"):
            Path(f"{self.path}{ending}").unlink(missing_ok=True)


class PostgresSide:
    """Tables called ``directory_…`` in the record's own database."""

    postgres = True
    record = ""
    mark = "%s"

    def __init__(self, database: Database) -> None:
        self.lock = threading.RLock()
        self._database = database
        self._trigram: bool | None = None
        self._raw: Any = None

    def exists(self) -> bool:
        """Return whether the tables are there."""
        return bool(self._trigram is not None or self.ask("SELECT to_regclass('directory_place') IS NOT NULL")[0][0])

    def prepare(self) -> bool:
        """Make the tables; return whether the extension pg_trgm is there or could be had."""
        if self._trigram is None:
            with self.writing():
                self._make()
            self._trigram = self._have_trigrams()
        return self._trigram

    def _have_trigrams(self) -> bool:
        try:
            with self.writing():
                self.ask("CREATE EXTENSION IF NOT EXISTS pg_trgm")
                self.ask("CREATE INDEX IF NOT EXISTS directory_text_name ON directory_text USING gin (name gin_trgm_ops)")
                self.ask("CREATE INDEX IF NOT EXISTS directory_text_rest ON directory_text USING gin (rest gin_trgm_ops)")
        except Unavailable:  # the extension is not installed, or we may not: every text is read then
            return False
        return True

    def _make(self) -> None:
        for statement in (
            *_COMMON,
            'CREATE TABLE IF NOT EXISTS directory_person (profile bigint PRIMARY KEY, status text COLLATE "C" NOT NULL, '
            'name text COLLATE "C" NOT NULL, updated_at bigint NOT NULL, flags int NOT NULL, company text, phone text)',
            'CREATE TABLE IF NOT EXISTS directory_label (label text COLLATE "C", profile bigint, PRIMARY KEY (label, profile))',
            *_indexes(", profile"),
            "CREATE TABLE IF NOT EXISTS directory_text (profile bigint PRIMARY KEY, name text NOT NULL, rest text NOT NULL)",
        ):
            self.ask(statement)

    def version(self) -> Any:
        """Return None: there is no cheap sign."""
        return None

    def ask(self, sql: str, binds: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        if self._raw is not None:
            return _rows(self._raw.execute(sql, tuple(binds)))
        with self._database.reading_raw() as raw:
            return _rows(raw.execute(sql, tuple(binds)))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Begin a transaction; it does not make us the record's last writer, for the record stays as it is."""
        with self._database.reading_raw() as raw, raw.transaction():
            raw.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            self._raw = raw
            try:
                yield
            finally:
                self._raw = None

    def put(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each row."""
        with self._raw.cursor() as cursor:
            cursor.executemany(sql, list(rows))

    def wipe(self) -> None:
        """Throw everything away."""
        self.ask("TRUNCATE " + ", ".join(_TABLES))

    def unindex(self) -> None:
        """Drop the indexes that a first reading would only slow down."""
        for name in _INDEXES:
            self.ask(f"DROP INDEX IF EXISTS {name}")

    def index(self) -> None:
        """Make them again."""
        for statement in _indexes(", profile"):
            self.ask(statement)

    def shred(self) -> None:
        """Clear away dead rows."""
        for table in _TABLES:
            self.ask(f"VACUUM {table}")

    def among(self, column: str) -> str:
        """Return the condition that a column is in a list."""
        return f"{column} = ANY(%s::bigint[])"

    def listed(self, keys: Sequence[int]) -> Any:
        """Return a list as one parameter."""
        return list(keys)

    def close(self) -> None:
        """Nothing of ours is open."""


def _indexes(more: str) -> list[str]:
    return [f"CREATE INDEX IF NOT EXISTS {name} ON {on.format(more)}" for name, on in _INDEXES.items()]


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path.resolve()))


def _rows(cursor: Any) -> list[tuple[Any, ...]]:
    return cursor.fetchall() if cursor.description is not None else []
