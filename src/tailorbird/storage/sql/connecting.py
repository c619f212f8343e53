"""Opening a connection as it has to be for everything above, waiting for one's turn on SQLite, and saying what went wrong."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
from sqlalchemy.exc import DBAPIError

from tailorbird.errors import Unavailable

__all__ = ["WAIT", "begin", "begin_by", "cannot_open", "connect_sqlite", "driver_errors", "encode", "reason"]

_BUSY: Final = 5  # SQLITE_BUSY
WAIT: Final = 30.0
"""For how many seconds a writer waits for its turn."""

_POLL: Final = 0.001  # seconds between two tries; SQLite's own waiting grows to 0.1, and a busy neighbour would starve us


def begin(raw: sqlite3.Connection) -> None:
    """Begin a write transaction on SQLite, waiting for those of others."""
    deadline = time.monotonic() + WAIT
    while True:
        try:
            raw.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != _BUSY or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(_POLL)


def begin_by(raw: sqlite3.Connection, statement: str, *values: Any) -> None:
    """Begin a write transaction on SQLite by a statement that writes, waiting for those of others.

    For a connection with more than one database: only that which the statement writes is locked then.
    """
    deadline = time.monotonic() + WAIT
    raw.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            raw.execute("BEGIN")
            try:
                raw.execute(statement, values)
                return
            except sqlite3.OperationalError as error:
                raw.execute("ROLLBACK")
                if error.sqlite_errorcode & 0xFF != _BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(_POLL)
    finally:
        raw.execute(f"PRAGMA busy_timeout={int(WAIT * 1000)}")


def connect_sqlite(path: Path | None, *, read_only: bool) -> sqlite3.Connection:
    """Return a connection of SQLite's own, durable at every commit; it may attach files by their URI."""
    name = f"file:{quote(str(path))}"
    raw = sqlite3.connect(name, uri=True, timeout=WAIT, isolation_level=None, check_same_thread=False, cached_statements=512)
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


def cannot_open(error: Exception) -> Unavailable:
    """Return what to raise when a database cannot be opened."""
    return Unavailable(f"the database cannot be opened: {reason(error)}", hint="check the URL, the server and its rights")


def driver_errors(postgres: bool) -> tuple[type[Exception], ...]:
    """Return what SQLAlchemy and the driver raise."""
    if not postgres:
        return (DBAPIError, sqlite3.Error)
    try:
        import psycopg
    except ModuleNotFoundError:
        return (DBAPIError,)
    return (DBAPIError, psycopg.Error)


def encode(value: Any) -> str:
    """Return a value as JSON text."""
    return msgspec.json.encode(value).decode()


def reason(error: Exception) -> str:
    """Say what the driver said without the statement and its values, which may be personal."""
    original = getattr(error, "orig", None) or error
    first = str(original).strip().splitlines()
    return f"{type(original).__name__}: {first[0][:200] if first else ''}"
