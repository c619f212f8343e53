"""Leases: work that one process has begun, told to all others, until it ends or the process is gone."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import msgspec
from sqlalchemy import Connection, select, text, update

from tailorbird.ports import Lease
from tailorbird.storage.sql import schema
from tailorbird.storage.sql.database import Database

__all__ = ["Leases"]

_PREFIX = "lease:"
_CLOCK = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)")
_MAKE = text("INSERT INTO meta (key, value) VALUES (:key, '') ON CONFLICT (key) DO NOTHING")


class _Row(msgspec.Struct, frozen=True):
    """What is stored: the lease, and by what other processes of this machine see that its holder has died."""

    lease: Lease
    machine: str
    pid: int
    born: str


class Leases:
    """The leases of one database. Time is the database's own: the server's clock, or with SQLite this machine's.

    It is never an engine's clock: that one may stand still or leap by months, and a process dies in real time.
    Keeping a lease makes nobody's caches void.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._machine = _machine()
        self._pid = os.getpid()
        self._born = _born(self._pid)
        self._who = f"process {self._pid} on {socket.gethostname()}"

    def holder(self, name: str) -> Lease | None:
        """Return who holds a lease; None when nobody does, its time is over or its process has died."""
        with self._database.reading() as connection:
            row = _read(connection.scalar(select(schema.meta.c.value).where(schema.meta.c.key == _PREFIX + name)))
            return row.lease if row is not None and self._lives(row, self._now(connection)) else None

    def take(self, name: str, token: str, what: str, *, lasting: int) -> Lease:
        """Take a lease that nobody holds; return whose it is then, ours when its token is the one given."""
        with self._database.touching() as connection:
            row, now = self._lock(connection, name), self._now(connection)
            if row is not None and row.lease.token != token and self._lives(row, now):
                return row.lease
            lease = Lease(name=name, what=what, who=self._who, token=token, since=now, until=now + lasting)
            self._put(connection, name, _Row(lease, self._machine, self._pid, self._born))
            return lease

    def keep(self, name: str, token: str, *, lasting: int) -> bool:
        """Make a lease last for so many ms from now; False when it is another's."""
        with self._database.touching() as connection:
            row = self._lock(connection, name)
            if row is None or row.lease.token != token:
                return False
            lease = msgspec.structs.replace(row.lease, until=self._now(connection) + lasting)
            self._put(connection, name, msgspec.structs.replace(row, lease=lease))
            return True

    def drop(self, name: str, token: str) -> None:
        """Give a lease back; one that is another's is left alone."""
        with self._database.touching() as connection:
            row = self._lock(connection, name)
            if row is not None and row.lease.token == token:
                self._put(connection, name, None)

    def _lives(self, row: _Row, now: int) -> bool:
        if row.lease.until <= now:
            return False
        # Of a process on this machine we need not wait for the end of the lease to know that it died.
        return not (self._machine and row.machine == self._machine and _born(row.pid) != row.born)

    def _now(self, connection: Connection) -> int:
        if self._database.postgres:
            return int(connection.scalar(_CLOCK) or 0)
        return time.time_ns() // 1_000_000

    def _lock(self, connection: Connection, name: str) -> _Row | None:
        """Read a lease for changing it: nobody else can until the transaction ends."""
        meta, key = schema.meta, _PREFIX + name
        query = select(meta.c.value).where(meta.c.key == key).with_for_update()
        found = connection.scalar(query)
        if found is None:
            connection.execute(_MAKE, {"key": key})
            found = connection.scalar(query)
        return _read(found)

    def _put(self, connection: Connection, name: str, row: _Row | None) -> None:
        value = "" if row is None else msgspec.json.encode(row).decode()
        connection.execute(update(schema.meta).where(schema.meta.c.key == _PREFIX + name).values(value=value))


def _read(text: str | None) -> _Row | None:
    return msgspec.json.decode(text, type=_Row) if text else None


def _machine() -> str:
    """Return what tells this machine (and, on Linux, this set of process numbers) from others; empty where nothing does."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _born(pid: int) -> str:
    """Return when a process of this machine began, in ticks since boot; empty when there is none (proc(5), field 22)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]
