"""Who writes and who moves the journal of a busy SQLite database: this process's own one, and those that others left or write."""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from tailorbird.errors import Unavailable
from tailorbird.ports import Unit
from tailorbird.storage.sql.connecting import begin
from tailorbird.storage.sql.journal import (
    Journal,
    clear,
    close_journal,
    fits,
    forget,
    journal_path,
    last_unit,
    move,
    remove,
    state,
)

__all__ = ["Journaling"]

_RUN: Final = 24_000
"""Events that are moved over at once when there are so many; enough to write most pages of an index for many rows each."""

_AGE: Final = 2.0
"""Seconds after which they are moved over, however few."""

_MOST: Final = 200_000
"""Events that may wait at most; a unit that comes then waits itself until there is room."""

_TICK: Final = 0.05


class Journaling:
    """The journals beside one database. ``hurry`` is how many events a unit has from which on it goes by the journal.

    Everything that writes holds the database's lock; moving has a lock of its own, so that units go on being taken meanwhile.
    """

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection], *, hurry: int) -> None:
        self._path = path
        self._connect = connect
        self._hurry = hurry
        self.own: Journal | None = None
        self._moving = threading.RLock()
        self._mover: sqlite3.Connection | None = None
        self._attached = ""
        self._unsure = False
        self._stop = threading.Event()
        self._full = threading.Event()
        self._thread: threading.Thread | None = None

    # ---- our own

    def wants(self, unit: Unit) -> bool:
        """Return whether a unit should go by the journal: it is large, or others wait there already."""
        own = self.own
        return (len(unit.events) >= self._hurry or (own is not None and own.last > own.done)) and fits(unit)

    def open(self, raw: Any) -> None:
        """Begin a journal, inside a write transaction on the database."""
        highest = int(raw.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0])
        path = journal_path(self._path, f"journal-{uuid.uuid4().hex[:12]}")
        journal = Journal(path, self._connect, highest=highest)
        try:
            raw.execute("UPDATE meta SET value = ? WHERE key = 'journal'", (f"{journal.name} 0",))
        except BaseException:
            journal.remove()
            raise
        self.own = journal
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()

    def append(self, unit: Unit, highest: Callable[[], int]) -> bool | None:
        """Write a unit durably to our journal, which must be there.

        None, and nothing is written, when it does not fit in there, or another process closed the journal: to write, or only to
        know from now on whether we do, which the tables will tell. ``highest`` asks for the highest number of an event there.
        """
        own = self.own
        assert own is not None
        if self._unsure:  # the tables were written to directly: numbers were given there
            own.highest = max(own.highest, highest())
            self._unsure = False
        if not own.follows(unit):
            return None
        if own.waiting > _MOST:
            self.settle()
        if own.last == own.done:
            own.began = time.monotonic()
        if not own.append(unit):
            self.drop()
            return None
        if own.waiting >= _RUN:
            self._full.set()
        return True

    def drop(self) -> None:
        """Let go of our journal, which another process took over (it removes the file)."""
        own, self.own = self.own, None
        if own is not None:
            own.close()

    def settle(self) -> None:
        """Move everything in our journal into the tables."""
        with self._moving:
            own = self.own
            if own is None:
                return
            try:
                if own.last > own.done:
                    self._move(own)
                if own.cleared < own.done:  # also what could not be cleared before: nothing of the erased may come back
                    clear(self._attach(own.name), own.done)
                    own.cleared = own.done
            except _Gone:
                if self._still(own.name):
                    raise self._missing(own.name) from None
                own.cleared = own.done  # another process took it over, and has moved all of it

    def _move(self, own: Journal) -> None:
        last, done = own.begin_move(), None
        try:
            done = move(self._attach(own.name), own.name, last)
        except _Gone:
            if not self._still(own.name):
                done = last
            raise
        finally:
            own.end_move(done)

    def wrote(self) -> None:
        """Take notice that the tables are written to directly."""
        self._unsure = True

    def known(self, raw: Any, ids: Sequence[str]) -> set[str]:
        """Return which of these events wait in our journal; what is in another one is moved over first."""
        own = self.own
        if own is not None and state(raw)[0] == own.name:
            return own.known(ids)  # it remembers them, whoever closes it meanwhile
        self.freshen(raw)
        return set()

    def history(self, raw: Any, keys: Sequence[int]) -> list[tuple[Any, ...]]:
        """Return the events of these profiles that wait in our journal; what is in another one is moved over first."""
        own = self.own
        if own is not None and state(raw)[0] == own.name:
            found = own.history(keys) if own.holds("keys", keys) else []
            if found is not None:
                return found
        self.freshen(raw)
        return []

    def _run(self) -> None:
        while not self._stop.is_set():
            self._full.wait(_TICK)
            own = self.own
            if own is None or own.last == own.done:
                continue
            if self._full.is_set() or time.monotonic() - own.began >= _AGE:
                self._full.clear()
                own.began = time.monotonic()
                try:
                    self.settle()
                except (sqlite3.Error, Unavailable):  # whoever reads or writes next is told; nothing is lost meanwhile
                    self._stop.wait(1)

    # ---- whosever

    def freshen(self, raw: Any, what: str = "", values: Iterable[Any] = ()) -> None:
        """Let the tables have everything, before a question; ``raw`` is a connection that reads.

        With ``what``: of our own journal only what concerns the question, see ``Journal.holds``.
        """
        name, done = state(raw)
        if not name:
            return
        own = self.own
        if own is not None and own.name == name:
            if own.last > done and (not what or own.holds(what, values)):
                self.settle()
            return
        with self._moving:
            try:
                journal = self._attach(name)
                if last_unit(journal) > done:  # who has nothing to move waits for no writer
                    move(journal, name, None)
            except _Gone:  # taken over meanwhile: then the tables have it
                if self._still(name):
                    raise self._missing(name) from None

    def admit(self, raw: Any) -> None:
        """Let us write: inside a write transaction, close the journal of another process and move it over first."""
        while True:
            name, _ = state(raw)
            own = self.own
            if own is not None and own.name != name:
                self.drop()
            elif not name or own is not None:
                return
            if name:
                raw.execute("ROLLBACK")
                self._take_over(name)
                begin(raw)

    def _take_over(self, name: str) -> None:
        with self._moving:
            try:
                raw = self._attach(name)
            except _Gone:
                if self._still(name):
                    raise self._missing(name) from None
                return
            close_journal(raw)
            move(raw, name, None)
            forget(raw, name)
            self._detach()
        remove(journal_path(self._path, name))

    def sweep(self, raw: Any) -> None:
        """Remove journals that the database does not name, inside a write transaction on it: what a process left that was killed
        between moving one over and removing it."""
        named, own = state(raw)[0], self.own
        for path in self._path.parent.glob(f"{self._path.name}.journal-*"):
            name = path.name.removeprefix(f"{self._path.name}.").removesuffix("-wal").removesuffix("-shm")
            if name != named and (own is None or name != own.name):
                path.unlink(missing_ok=True)

    def _missing(self, name: str) -> Unavailable:
        return Unavailable(
            f"events that were taken in lie in the file {journal_path(self._path, name).name}, which is not there",
            hint="put it beside the database again: a database and its .journal-… file belong together",
        )

    def _still(self, name: str) -> bool:
        raw = self._connection()
        return state(raw)[0] == name

    def _attach(self, name: str) -> sqlite3.Connection:
        raw = self._connection()
        if self._attached != name:
            self._detach()
            path = quote(str(journal_path(self._path, name)))
            try:
                raw.execute("ATTACH DATABASE ? AS journal", (f"file:{path}?mode=rw",))
            except sqlite3.OperationalError as error:
                if not journal_path(self._path, name).exists():
                    raise _Gone from error
                raise
            raw.execute("PRAGMA journal.synchronous=FULL")
            self._attached = name
        return raw

    def _detach(self) -> None:
        if self._attached and self._mover is not None:
            self._mover.execute("DETACH DATABASE journal")
        self._attached = ""

    def _connection(self) -> sqlite3.Connection:
        if self._mover is None:
            self._mover = self._connect(self._path)
        return self._mover

    # ---- the end

    def checkpoint(self) -> None:
        """Take what was moved over, or erased since, out of the journal's log."""
        with self._moving:
            if self._attached and self._mover is not None:
                self._mover.execute("PRAGMA journal.wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Move everything over and remove our journal; the database's lock must be held."""
        self._stop.set()
        self._full.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        try:
            self.settle()
            own = self.own
            with self._moving:
                if own is not None:
                    raw = self._connection()
                    forget(raw, own.name)
                    self._detach()
                    own.remove()
        finally:
            self.own = None
            if self._mover is not None:
                self._mover.close()
                self._mover = None
                self._attached = ""


class _Gone(Exception):
    """The file of a journal is not there any more."""
