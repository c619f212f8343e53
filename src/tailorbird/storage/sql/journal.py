"""The journal of a busy SQLite database: units in order of arrival, moved into the indexed tables in long runs.

An event belongs to a profile, and profiles come in any order: every unit of work touches a page of each index for nearly every
row, and writing pages is what a commit costs. So while units come fast they are first made durable in a second file that has
no such indexes, a page for dozens of rows; a thread moves them over, thousands at a time, each page of an index once.
Whoever reads what the journal still holds moves it over before (see ``Database``), so nobody ever sees less than everything.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tailorbird.core.profile import Identifier
from tailorbird.ports import Unit
from tailorbird.storage.sql.connecting import begin_by, encode
from tailorbird.storage.sql.write import TARGETS, Target, put_sqlite, unit_rows

__all__ = ["Journal", "clear", "close_journal", "fits", "forget", "journal_path", "last_unit", "move", "remove", "state"]

_TABLES: Final = {target.table: ", ".join(name for name, _ in target.columns) for target in TARGETS}
"""What the journal has of each table: its columns, and before them the place in the order and the number of the unit.

A membership that was left has no ``entered_at``, a timer that is gone no ``due``.
"""

_LAST: Final = "n IN (SELECT max(n) FROM journal.{0} WHERE {1} GROUP BY {2}) AND {1}"
_SCOPE: Final = "unit > :done AND unit <= :last"


def _upsert(table: str, keys: str, also: str = "") -> str:
    """Return the statement that brings the last row of each key over."""
    columns = _TABLES[table]
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns.split(", ") if name not in keys.split(", "))
    return (
        f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM journal.{table} WHERE {_LAST.format(table, _SCOPE, keys)}"
        f"{also} ORDER BY {keys} ON CONFLICT ({keys}) DO UPDATE SET {changes}"
    )


def _delete(table: str, keys: str, gone: str) -> str:
    last = _LAST.format(table, _SCOPE, keys)
    return f"DELETE FROM main.{table} WHERE ({keys}) IN (SELECT {keys} FROM journal.{table} WHERE {last} AND {gone})"


_MOVES: Final = (
    _upsert("profile", "key"),
    _upsert("identifier", "kind, value"),
    # How many came and went, before the events are there: one whose id is stored already is skipped, and not counted either.
    "INSERT INTO main.flow (segment, at, entered, exited) SELECT data ->> 'segment', at, sum(type = 'segment.entered'), "
    "sum(type = 'segment.exited') FROM (SELECT e.data, e.at, e.type FROM journal.event e WHERE e.unit > :done AND e.unit <= :last "
    "AND e.type IN ('segment.entered', 'segment.exited') AND NOT EXISTS (SELECT 1 FROM main.event m WHERE m.id = e.id) "
    "GROUP BY e.id) GROUP BY 1, 2",
    f"INSERT INTO main.event ({_TABLES['event']}) SELECT {_TABLES['event']} FROM journal.event WHERE {_SCOPE} ORDER BY n "
    "ON CONFLICT (id) DO NOTHING",
    _delete("membership", "segment, profile", "entered_at IS NULL"),
    _upsert("membership", "segment, profile", " AND entered_at IS NOT NULL"),
    _upsert("record", "profile, kind, id"),
    _delete("timer", "profile, key", "due IS NULL"),
    _upsert("timer", "profile, key", " AND due IS NOT NULL"),
    f"INSERT INTO main.outbox ({_TABLES['outbox']}) SELECT {_TABLES['outbox']} FROM journal.outbox WHERE {_SCOPE} ORDER BY n "
    "ON CONFLICT (key) DO NOTHING",
)


_OF_PROFILES: Final = (
    f"SELECT {_TABLES['event']} FROM event WHERE profile IN (SELECT value FROM json_each(?)) AND unit > ? ORDER BY n"
)


class Pending:
    """What a journal holds that the tables do not have yet, for who has to know whether a question concerns it."""

    __slots__ = ("actions", "ids", "keys", "names", "public")

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.keys: set[int] = set()
        self.names: set[Identifier] = set()
        self.public: set[str] = set()
        self.actions = False

    def add(self, unit: Unit) -> None:
        """Take note of a unit."""
        self.ids.update([event.id for event in unit.events])
        self.keys.update([event.profile for event in unit.events])
        self.keys.update([row.profile for row in unit.memberships])
        self.keys.update([key for _, key in unit.left])
        for profile in unit.profiles.values():
            self.keys.add(profile.key)
            self.public.add(profile.id)
        for row in unit.identifiers:
            self.names.add(Identifier(row.kind, row.value))
            self.keys.add(row.profile)
        self.actions = self.actions or bool(unit.actions)


def fits(unit: Unit) -> bool:
    """Return whether a unit may go by the journal: what changes merges or actions that exist does not."""
    return not (unit.merges or unit.updated_actions)


def journal_path(database: Path, name: str) -> Path:
    """Return where a journal of this name lies: beside the database."""
    return Path(f"{database}.{name}")


class Journal:
    """A journal that this process writes. Not thread-safe: the caller holds the database's lock.

    ``last`` is the number of the last unit in it, ``done`` of the last that was moved over, as far as known here; ``highest`` is
    the highest number of an event that there is.
    """

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection], *, highest: int) -> None:
        self.path = path
        self.highest = highest
        self.last = 0
        self.done = 0
        self.cleared = 0
        self._closed = False
        self.recent = Pending()
        self.moving = Pending()
        self.began = 0.0
        self._guard = threading.Lock()
        self._raw = connect(path)
        self._raw.execute("PRAGMA wal_autocheckpoint=4000")
        self._raw.execute("BEGIN IMMEDIATE")
        for table, columns in _TABLES.items():
            self._raw.execute(f"CREATE TABLE {table} (n INTEGER PRIMARY KEY, unit INTEGER, {columns})")
        self._raw.execute("CREATE TABLE state (closed INTEGER, last INTEGER)")
        self._raw.execute("INSERT INTO state VALUES (0, 0)")
        self._raw.execute("COMMIT")
        self._reader = connect(path)
        self._reading = threading.Lock()

    @property
    def name(self) -> str:
        """What the database calls it."""
        return self.path.suffix[1:]

    @property
    def waiting(self) -> int:
        """How many events it holds that are not moved over."""
        return len(self.recent.ids) + len(self.moving.ids)

    def append(self, unit: Unit) -> bool:
        """Write a unit durably; False (nothing written) when another process closed the journal to write itself."""
        raw, number = self._raw, self.last + 1
        raw.execute("BEGIN IMMEDIATE")
        try:
            if raw.execute("SELECT closed FROM state").fetchone()[0]:
                raw.execute("ROLLBACK")
                return False
            for target, rows in unit_rows(unit):
                put_sqlite(raw, _TARGETS[target.table], rows, number)
            put_sqlite(raw, _TARGETS["membership"], [(*pair, None, None) for pair in unit.left], number)
            put_sqlite(raw, _TARGETS["timer"], [(*pair, None) for pair, due in unit.timers.items() if due < 0], number)
            raw.execute("UPDATE state SET last = ?", (number,))
            raw.execute("COMMIT")
        except BaseException:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            raise
        with self._guard:
            self.last = number
            self.highest = max([self.highest, *[event.seq for event in unit.events]])
            self.recent.add(unit)
        return True

    def follows(self, unit: Unit) -> bool:
        """Return whether the unit's events have numbers that were never given: what has not is for the tables to refuse."""
        events = unit.events
        if not events:
            return True
        if events[0].seq > self.highest and events[-1].seq - events[0].seq + 1 == len(events):
            return all(one.seq < two.seq for one, two in pairwise(events))
        seqs = {event.seq for event in events}
        return len(seqs) == len(unit.events) and min(seqs) > self.highest

    def holds(self, what: str, values: Iterable[Any]) -> bool:
        """Return whether any of these is among what waits: ``keys``, ``names``, ``public`` ids; or any ``actions`` at all."""
        with self._guard:
            if what == "actions":
                return self.recent.actions or self.moving.actions
            return not (getattr(self.recent, what).isdisjoint(values) and getattr(self.moving, what).isdisjoint(values))

    def known(self, ids: Iterable[str]) -> set[str]:
        """Return which of these event ids are among what waits."""
        asked = set(ids)
        with self._guard:
            return (asked & self.recent.ids) | (asked & self.moving.ids)

    def history(self, keys: Iterable[int]) -> list[tuple[Any, ...]] | None:
        """Return the events of these profiles that wait, with the columns of the table; None once it is closed."""
        with self._reading:
            if self._closed:
                return None
            found: list[tuple[Any, ...]] = self._reader.execute(_OF_PROFILES, (encode(list(keys)), self.done)).fetchall()
            return found

    def begin_move(self) -> int:
        """Say that all there is now is being moved over; return the number of the last unit of it."""
        with self._guard:
            self.moving, self.recent = self.recent, Pending()
            return self.last

    def end_move(self, done: int | None) -> None:
        """Say up to which unit the tables have everything now (None: it failed, nothing is known to have changed)."""
        with self._guard:
            if done is None:
                back = self.moving
                for name in ("ids", "keys", "names", "public"):
                    getattr(self.recent, name).update(getattr(back, name))
                self.recent.actions = self.recent.actions or back.actions
            else:
                self.done = max(self.done, done)
            self.moving = Pending()

    def close(self) -> None:
        """Close the connections; the file stays."""
        with self._reading:
            self._closed = True
            self._reader.close()
        self._raw.close()

    def remove(self) -> None:
        """Close the connection and delete the file; everything must have been moved over."""
        self.close()
        remove(self.path)


def remove(path: Path) -> None:
    """Delete a journal that was moved over."""
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").unlink()


def move(raw: Any, name: str, last: int | None) -> int:
    """Move a journal's units up to ``last`` (None: all) into the tables; return the number of the last unit moved.

    ``raw`` is a connection to the database with the journal attached as ``journal``. One transaction: what the tables have is
    told by the number that is written with it, so a unit is moved once, whatever happens in between.
    """
    # Only the database is locked then, and the journal goes on taking units.
    begin_by(raw, "UPDATE meta SET value = value WHERE key = 'journal'")
    try:
        named, done = state(raw)
        if named != name:
            raw.execute("ROLLBACK")
            return last or 0  # somebody else moved all of it and closed it
        if last is None:
            last = last_unit(raw)
        if last > done:
            for statement in _MOVES:
                raw.execute(statement, {"done": done, "last": last})
            raw.execute("UPDATE meta SET value = ? WHERE key = 'journal'", (f"{name} {last}",))
        raw.execute("COMMIT")
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raise
    return max(last, done)


def clear(raw: Any, done: int) -> None:
    """Drop from an attached journal what the tables have."""
    raw.execute("BEGIN")
    try:
        for table in _TABLES:
            raw.execute(f"DELETE FROM journal.{table} WHERE unit <= ?", (done,))
        raw.execute("COMMIT")
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raise


def last_unit(raw: Any) -> int:
    """Return the number of the last unit in an attached journal."""
    return int(raw.execute("SELECT last FROM journal.state").fetchone()[0])


def close_journal(raw: Any) -> None:
    """Close an attached journal: whoever writes it notices at the next unit."""
    raw.execute("UPDATE journal.state SET closed = 1")


def forget(raw: Any, name: str) -> None:
    """Note in the database that this journal, which was moved over, is no more."""
    begin_by(raw, "UPDATE meta SET value = '' WHERE key = 'journal' AND value LIKE ? || ' %'", name)
    raw.execute("COMMIT")


def state(raw: Any) -> tuple[str, int]:
    """Return the name of the database's journal (empty: none) and the number of the last unit moved over."""
    value = raw.execute("SELECT value FROM meta WHERE key = 'journal'").fetchone()
    name, _, done = (value[0] if value else "").partition(" ")
    return name, int(done or 0)


_TARGETS: Final = {
    table: Target(table, (("unit", "bigint"), *((name, "") for name in _TABLES[table].split(", ")))) for table in _TABLES
}
