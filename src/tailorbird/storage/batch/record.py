"""Reading the record out of SQLite in bulk: text files that DuckDB takes in, and the few facts that tell what changed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["EVENT_COLUMNS", "PEOPLE_COLUMNS", "Record", "State"]

_US: Final = "char(31)"
_TOGETHER: Final = 512  # rows to a line handed over: the interpreter is asked once for all of them
EVENT_COLUMNS: Final = {"seq": "BIGINT", "origin": "BIGINT", "moment": "BIGINT", "type": "VARCHAR", "data": "VARCHAR"}
PEOPLE_COLUMNS: Final = {"key": "BIGINT", "bucket": "BIGINT", "kind": "VARCHAR"}


class State(NamedTuple):
    """What tells whether the files still fit: the last event and profile, and the merges that stand (loser to winner)."""

    seq: int
    key: int
    merged: Mapping[int, int]


class Record:
    """A reader of one SQLite database, on a connection of its own; ``freshen`` lets its tables have what a journal holds."""

    def __init__(self, path: Path, freshen: Callable[[], None]) -> None:
        self._freshen = freshen
        self._raw = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30, isolation_level=None, check_same_thread=False)
        self._raw.execute("PRAGMA busy_timeout=30000")
        self._raw.execute("PRAGMA cache_size=-16384")
        self._raw.execute("PRAGMA mmap_size=1073741824")

    def close(self) -> None:
        """Close the connection."""
        self._raw.close()

    def version(self) -> int:
        """Return a number that changes when anybody commits anything; what waits in a journal is moved over before."""
        self._freshen()
        return int(self._raw.execute("PRAGMA data_version").fetchone()[0])

    def state(self) -> State:
        """Return where the record stands."""
        seq, key = self._raw.execute("SELECT (SELECT max(seq) FROM event), (SELECT max(key) FROM profile)").fetchone()
        merges = dict(self._raw.execute("SELECT loser, winner FROM merge WHERE undone_at IS NULL").fetchall())
        return State(seq or 0, key or 0, merges)

    def event_mark(self, seq: int) -> str:
        """Return the id of the event at a seq, empty where there is none."""
        row = self._raw.execute("SELECT id FROM event WHERE seq = ?", (seq,)).fetchone()
        return row[0] if row else ""

    def people_up_to(self, key: int) -> int:
        """Return how many profiles have a key up to this one."""
        return int(self._raw.execute("SELECT count(*) FROM profile INDEXED BY profile_id WHERE key <= ?", (key,)).fetchone()[0])

    def among(self, keys: Sequence[int]) -> set[int]:
        """Return which of these profiles there are."""
        found = self._raw.execute(
            "SELECT key FROM profile WHERE key IN (SELECT value FROM json_each(?))", (json.dumps(list(keys)),)
        )
        return {row[0] for row in found}

    def keys_up_to(self, key: int) -> list[int]:
        """Return the keys of the profiles up to this one."""
        return [row[0] for row in self._raw.execute("SELECT key FROM profile INDEXED BY profile_id WHERE key <= ?", (key,))]

    def write_events(self, path: Path, after: int, last: int) -> int:
        """Write the events with a seq in (after, last] to a file, fields between unit separators; return how many."""
        return self._write(
            path,
            f"SELECT group_concat(line, char(10)), count(*) FROM (SELECT seq / {_TOGETHER} AS part, seq || {_US} || origin || {_US} || at "
            f"|| {_US} || json_quote(type) || {_US} || replace(replace(data, char(10), ' '), char(13), ' ') AS line "
            "FROM event WHERE seq > ? AND seq <= ?) GROUP BY part",
            (after, last),
        )

    def write_people(self, path: Path, after: int, last: int) -> int:
        """Write the profiles with a key in (after, last] to a file; return how many."""
        return self._write(
            path,
            f"SELECT group_concat(line, char(10)), count(*) FROM (SELECT key / {_TOGETHER} AS part, key || {_US} || bucket || {_US} "
            "|| kind AS line FROM profile WHERE key > ? AND key <= ?) GROUP BY part",
            (after, last),
        )

    def _write(self, path: Path, sql: str, binds: tuple[int, int]) -> int:
        count = 0
        with path.open("w", encoding="utf-8", newline="") as file:
            for text, rows in self._raw.execute(sql, binds):
                file.write(text)
                file.write("\n")
                count += rows
        return count
