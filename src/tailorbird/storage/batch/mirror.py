"""The columnar mirror of a SQLite record: Parquet files beside the database, brought up to date before every question."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import duckdb

from tailorbird.expr.nodes import Attribute
from tailorbird.expr.sql import Dialect, Source, compile_values, prepare_duckdb
from tailorbird.expr.types import Type
from tailorbird.storage.batch import manifest as files
from tailorbird.storage.batch.manifest import Chunk, Manifest, Snapshot
from tailorbird.storage.batch.record import EVENT_COLUMNS, PEOPLE_COLUMNS, Record, State
from tailorbird.storage.batch.shred import NULLS, PRESENT, Key, column_name, read_json, shred

__all__ = ["Mirror"]

_CHUNK: Final = 250_000  # events taken apart at once
_TAIL: Final = 20_000  # events and profiles kept in memory before they become a file
_SMALL: Final = 300_000  # files below this are joined
_MANY: Final = 8  # so many of them at a time
_PEOPLE: Final = 200_000  # profiles whose attributes are gathered at a time
_FOREVER: Final = 2**62


class Mirror:
    """Keeps the files, and offers relations over them to one in-memory DuckDB.

    ``folder`` may be removed at any time: it is made again. Not to be used by two threads at once (``lock`` is there to take).
    """

    def __init__(
        self, database: Path, folder: Path, *, freshen: Callable[[], None], memory: str = "1GB", threads: int = 2, tail: int = _TAIL
    ) -> None:  # fmt: skip
        self.lock = threading.RLock()
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._record = Record(database, freshen)
        self._tail = tail
        self._scratch = TemporaryDirectory(prefix="tailorbird-batch-")
        self.con = duckdb.connect(
            config={
                "memory_limit": memory, "threads": threads, "temp_directory": self._scratch.name,
                "autoinstall_known_extensions": False, "autoload_known_extensions": False,
            }
        )  # fmt: skip
        prepare_duckdb(self.con)
        self._manifest = Manifest()
        self._seen: tuple[Any, ...] = ()
        self._events: dict[Key, None] = {}
        self._attributes: set[Key] = set()
        self._leftovers = False
        self._news = _FOREVER
        self._fresh_files()

    def close(self) -> None:
        """Let go of the database; the files stay."""
        with self.lock:
            self.con.close()
            self._record.close()
            self._scratch.cleanup()

    # ---- what queries use
    def source(self, instant: int) -> Source:
        """Bring everything up to date and return what a query as of an instant reads from."""
        self.refresh()
        current = instant >= self._news
        return Source(
            events="events_now",
            profiles="people_now",
            property=self._property,
            present=self._present,
            attribute=self._attribute if current else lambda path, type: None,
        )

    def rebuild(self) -> None:
        """Throw the files away and make them again: something was amiss with them."""
        with files.locked(self._folder):
            files.save(self._folder, Manifest(serial=files.load(self._folder).serial + 1000))
        self._seen = ()
        self.refresh()

    def _property(self, path: tuple[str, ...], type: Type) -> str | None:
        return self._column((type.value, path)) if type in NULLS else None

    def _present(self, name: str) -> str | None:
        return self._column((PRESENT, ("attributes", name)))

    def _column(self, key: Key) -> str | None:
        kind = key[0]
        if kind == Type.TIME and key not in self._events:
            return None  # the text is read instead
        column = f"e.{column_name(key)}" if key in self._events else f"CAST(NULL AS {NULLS[kind]})"
        if not self._leftovers:
            return column
        return f"CASE WHEN e.data IS NULL THEN {column} ELSE {read_json('e.data', key)} END"

    def _attribute(self, path: tuple[str, ...], type: Type) -> str | None:
        key = (type.value, path)
        return f"p.{column_name(key)}" if key in self._attributes else None

    # ---- keeping up
    def refresh(self) -> None:
        """Make the relations equal to the record as it is now."""
        version = self._record.version()
        stamp = self._stamp()
        if self._seen == (version, stamp):
            return
        state = self._record.state()
        self._manifest = files.load(self._folder)
        # Whoever erases tells us, or changes the files; that somebody died in between is looked for once.
        unsure = self._seen == () and self._erased()
        if self._amiss(state) or self._behind(state) or unsure:
            with files.locked(self._folder):
                self._manifest = files.load(self._folder)
                self._bring_up(state)
                files.save(self._folder, self._manifest)
        self._load_tail(state)
        self._define(state)
        self._seen = (version, self._stamp())

    def follow(self, keys: Sequence[int]) -> None:
        """Leave no trace of those of these profiles that the record has no more; who merely merged is seen at the next question."""
        with self.lock:
            gone = sorted(set(keys) - self._record.among(keys))
            if not gone:
                return
            with files.locked(self._folder):
                self._manifest = files.load(self._folder)
                self._leave_out(gone)
                files.save(self._folder, self._manifest)
            self._seen = ()
            self._fresh_files()

    def _stamp(self) -> int:
        try:
            return (self._folder / "manifest.json").stat().st_mtime_ns
        except OSError:
            return 0

    def _amiss(self, state: State) -> bool:
        """Return whether the files are of another database, or of one that was set back; they are forgotten then."""
        held = self._manifest
        wrong = held.seq() > state.seq or held.key() > state.key
        wrong = wrong or any(self._record.event_mark(c.last) != c.mark for c in held.events if c.mark)
        if wrong:
            self._manifest = Manifest(serial=held.serial + 1)
        return wrong

    def _behind(self, state: State) -> bool:
        held = self._manifest
        return state.seq - held.seq() > self._tail or state.key - held.key() > self._tail

    def _erased(self) -> bool:
        """Return whether profiles are held that the record has no more: erased while nobody told us."""
        rows = sum(c.rows for c in self._manifest.people)
        return rows != self._record.people_up_to(self._manifest.key())

    def _bring_up(self, state: State) -> None:
        self._amiss(state)
        if self._erased():
            held = self._column_of("key", [c.file for c in self._manifest.people])
            self._leave_out(sorted(held - set(self._record.keys_up_to(self._manifest.key()))))
        if self._behind(state):
            self._append_events(state.seq)
            self._append_people(state.key)
            self._join_small()

    def _append_events(self, last: int) -> None:
        while (after := self._manifest.seq()) < last:
            upto = min(after + _CHUNK, last)
            columns = self._import("raw", self._record.write_events, EVENT_COLUMNS, after, upto)
            keys = shred(self.con, "raw", "shredded")
            chunk = Chunk(
                file=self._manifest.name("events"), first=after + 1, last=upto, rows=columns, size=0,
                mark=self._record.event_mark(upto), columns=[(str(kind), list(path)) for kind, path in keys],
                leftovers=bool(self._one("SELECT count(*) FROM shredded WHERE data IS NOT NULL")),
                news=self._one("SELECT coalesce(max(moment), -1) FROM shredded WHERE type = 'profile.updated'"),
            )  # fmt: skip
            self._put("SELECT * FROM shredded", chunk)
            self.con.execute("DROP TABLE raw; DROP TABLE shredded")
            self._manifest.events.append(chunk)
            files.save(self._folder, self._manifest)  # so that an interruption costs one file

    def _append_people(self, last: int) -> None:
        after = self._manifest.key()
        if after >= last:
            return
        rows = self._import("raw", self._record.write_people, PEOPLE_COLUMNS, after, last)
        chunk = Chunk(file=self._manifest.name("people"), first=after + 1, last=last, rows=rows, size=0)
        self._put("SELECT * FROM raw ORDER BY key", chunk)
        self.con.execute("DROP TABLE raw")
        self._manifest.people.append(chunk)

    def _join_small(self) -> None:
        """Join small files, some at a time, once there are many."""
        for chunks, what in ((self._manifest.events, "events"), (self._manifest.people, "people")):
            first = len(chunks)
            while first and chunks[first - 1].rows < _SMALL:
                first -= 1
            while len(chunks) - first >= _MANY:
                chunks[first : first + _MANY] = [self._joined(chunks[first : first + _MANY], what)]
                first += 1

    def _joined(self, small: Sequence[Chunk], what: str) -> Chunk:
        """Write one file in the place of several."""
        columns = dict.fromkeys((kind, tuple(path)) for c in small for kind, path in c.columns)
        joined = Chunk(
            file=self._manifest.name(what), first=small[0].first, last=small[-1].last, rows=sum(c.rows for c in small), size=0,
            mark=small[-1].mark, columns=[(kind, list(path)) for kind, path in columns],
            leftovers=any(c.leftovers for c in small), news=max(c.news for c in small),
        )  # fmt: skip
        order = "type, origin, moment, seq" if what == "events" else "key"
        self._put(f"SELECT * FROM {self._files(c.file for c in small)} ORDER BY {order}", joined)
        return joined

    def _leave_out(self, keys: Sequence[int]) -> None:
        """Rewrite the files that mention one of these profiles."""
        for chunks, column in ((self._manifest.events, "origin"), (self._manifest.people, "key")):
            for place, chunk in enumerate(chunks):
                if not self._column_of(column, [chunk.file], keys):
                    continue
                name = "events" if column == "origin" else "people"
                fresh = Chunk(**{f: getattr(chunk, f) for f in chunk.__struct_fields__})
                fresh.file = self._manifest.name(name)
                rest = f"SELECT * FROM {self._files([chunk.file])} WHERE NOT list_contains(CAST(? AS BIGINT[]), {column})"
                self._put(rest, fresh, [list(keys)])
                fresh.rows = self._one(f"SELECT count(*) FROM {self._files([fresh.file])}")
                last = self._one(f"SELECT max(seq) FROM {self._files([fresh.file])}") if column == "origin" else None
                if column == "origin" and last != chunk.last:
                    fresh.mark = ""  # the row it named is gone
                chunks[place] = fresh
        snapshot = self._manifest.snapshot
        if snapshot is not None and self._column_of("key", [snapshot.file], keys):
            rest = f"SELECT * FROM {self._files([snapshot.file])} WHERE NOT list_contains(CAST(? AS BIGINT[]), key)"
            fresh_snapshot = Snapshot(**{f: getattr(snapshot, f) for f in snapshot.__struct_fields__})
            fresh_snapshot.file = self._manifest.name("snapshot")
            self._put(rest, fresh_snapshot, [list(keys)])
            self._manifest.snapshot = fresh_snapshot

    # ---- the relations
    def _fresh_files(self) -> None:
        """Forget what is in memory."""
        self.con.execute(
            "CREATE OR REPLACE TABLE tail_raw (seq BIGINT, origin BIGINT, moment BIGINT, type VARCHAR, data VARCHAR); "
            "CREATE OR REPLACE TABLE tail (seq BIGINT, origin BIGINT, moment BIGINT, type VARCHAR, data VARCHAR); "
            "CREATE OR REPLACE TABLE tail_people (key BIGINT, bucket BIGINT, kind VARCHAR); "
            "CREATE OR REPLACE TABLE remap (origin BIGINT, root BIGINT); CREATE OR REPLACE TABLE dirty (key BIGINT)"
        )
        self._tail_from = self._tail_to = self._tail_key = -1
        self._tail_columns: list[Key] = []

    def _load_tail(self, state: State) -> None:
        """Take into memory what came after the files."""
        if self._tail_from != self._manifest.seq():
            self._fresh_files()
            self._tail_from = self._tail_to = self._manifest.seq()
        if self._tail_key < self._manifest.key():
            self.con.execute("DELETE FROM tail_people")
            self._tail_key = self._manifest.key()
        if state.seq > self._tail_to:
            self._import("raw", self._record.write_events, EVENT_COLUMNS, self._tail_to, state.seq)
            self.con.execute("INSERT INTO tail_raw SELECT * FROM raw; DROP TABLE raw; DROP TABLE tail")
            self._tail_columns = shred(self.con, "tail_raw", "tail")
            self._tail_to = state.seq
        if state.key > self._tail_key:
            self._import("raw", self._record.write_people, PEOPLE_COLUMNS, self._tail_key, state.key)
            self.con.execute("INSERT INTO tail_people SELECT * FROM raw; DROP TABLE raw")
            self._tail_key = state.key

    def _define(self, state: State) -> None:
        """Define ``events_now`` and ``people_now`` over the files and the tail."""
        held = self._manifest
        self._events = dict.fromkeys(self._tail_columns)
        self._events.update(dict.fromkeys((kind, tuple(path)) for c in held.events for kind, path in c.columns))
        self._leftovers = any(c.leftovers for c in held.events) or bool(
            self._one("SELECT count(*) FROM tail WHERE data IS NOT NULL")
        )
        tail_news = self._one("SELECT coalesce(max(moment), -1) FROM tail WHERE type = 'profile.updated'")
        self._news = max([tail_news, *(c.news for c in held.events)])
        roots = [(loser, _root(state.merged, loser)) for loser in state.merged]
        self.con.execute("DELETE FROM remap")
        if roots:
            self.con.execute("INSERT INTO remap SELECT unnest(?), unnest(?)", [[a for a, _ in roots], [b for _, b in roots]])
        owner = "coalesce(m.root, c.origin)" if roots else "c.origin"
        join = " LEFT JOIN remap m ON m.origin = c.origin" if roots else ""
        columns = "".join(f", c.{column_name(key)}" for key in self._events)
        data = ", c.data" if self._leftovers else ""
        union = self._union([c.file for c in held.events], "tail")
        self.con.execute(
            f'CREATE OR REPLACE VIEW events_now AS SELECT c.seq, c.type, {owner} AS profile, c.moment AS "at"{data}{columns} '
            f"FROM {union} c{join}"
        )
        self._define_people(state, roots)

    def _define_people(self, state: State, roots: list[tuple[int, int]]) -> None:
        """Define ``people_bare``, and ``people_now`` with the attributes of everybody where there is a snapshot."""
        union = self._union([c.file for c in self._manifest.people], "tail_people")
        merged = "m.root" if roots else "CAST(NULL AS BIGINT)"
        join = " LEFT JOIN remap m ON m.origin = c.key" if roots else ""
        self.con.execute(
            f"CREATE OR REPLACE VIEW people_bare AS SELECT c.key, c.kind, c.bucket, {merged} AS merged_into FROM {union} c{join}"
        )
        self.con.execute("CREATE OR REPLACE VIEW people_now AS SELECT * FROM people_bare")
        self._attributes = set()
        snapshot = self._manifest.snapshot
        if snapshot is None or self._mark_dirty(state, snapshot) > self._tail:
            if self._manifest.key() > self._tail and any(_is_attribute(key) for key in self._events):
                snapshot = self._take_snapshot(state)
            else:
                return
        self._attributes = {(kind, tuple(path)) for kind, path in snapshot.columns}
        self._overlay(snapshot)

    def _mark_dirty(self, state: State, snapshot: Snapshot) -> int:
        """Fill the table ``dirty`` with the profiles of whom the snapshot does not tell the truth; return how many."""
        before = dict(snapshot.merged)
        moved = {key for key in before.keys() | state.merged.keys() if before.get(key) != state.merged.get(key)}
        moved |= {_root(merges, key) for key in moved for merges in (before, state.merged)}
        known = {(kind, tuple(path)) for kind, path in snapshot.columns}
        if any(_is_attribute(key) and (key[0], key[1][1:]) not in known for key in self._events):
            return _FOREVER  # an attribute that it has no column for
        self.con.execute("CREATE OR REPLACE TABLE dirty (key BIGINT)")
        self.con.execute("INSERT INTO dirty SELECT unnest(CAST(? AS BIGINT[]))", [sorted(moved)])
        later = self._union([c.file for c in self._manifest.events if c.last > snapshot.seq], "tail")
        self.con.execute(
            f"INSERT INTO dirty SELECT DISTINCT coalesce(m.root, c.origin) FROM {later} c LEFT JOIN remap m ON m.origin = c.origin "
            "WHERE c.seq > ? AND c.type = 'profile.updated'",
            [snapshot.seq],
        )
        self.con.execute("INSERT INTO dirty SELECT key FROM people_bare WHERE key > ?", [snapshot.key])
        self.con.execute("CREATE OR REPLACE TABLE dirty AS SELECT DISTINCT key FROM dirty")
        return int(self._one("SELECT count(*) FROM dirty"))

    def _take_snapshot(self, state: State) -> Snapshot:
        """Write everybody with their attributes to a file, some ten thousands at a time."""
        keys = [(kind, path[1:]) for kind, path in self._events if _is_attribute((kind, path))]
        listed = "".join(f", {column_name(key)} {NULLS[key[0]]}" for key in keys)
        self.con.execute(f"CREATE OR REPLACE TABLE snap (key BIGINT, kind VARCHAR, bucket BIGINT{listed})")
        for start in range(0, state.key, _PEOPLE):
            self._attributes_of(keys, f"> {start} AND {{0}} <= {start + _PEOPLE}", "snap")
        with files.locked(self._folder):
            fresh = files.load(self._folder)
            snapshot = Snapshot(
                file=fresh.name("snapshot"), seq=state.seq, key=state.key, size=0, merged=sorted(state.merged.items()),
                columns=[(str(kind), list(path)) for kind, path in keys],
            )  # fmt: skip
            self._put("SELECT * FROM snap ORDER BY key", snapshot)
            fresh.snapshot = snapshot
            files.save(self._folder, fresh)
            self._manifest = fresh
        self.con.execute("DROP TABLE snap; CREATE OR REPLACE TABLE dirty (key BIGINT)")
        return snapshot

    def _attributes_of(self, keys: Sequence[Key], test: str, table: str) -> None:
        """Append the profiles whose key passes a test, with their attributes as their events say, to a table."""
        nodes = {column_name(key): Attribute(path=key[1], type=Type(key[0])) for key in keys}
        source = Source(
            events=f"(SELECT * FROM events_now WHERE profile {test.format('profile')})",
            profiles=f"(SELECT * FROM people_bare WHERE key {test.format('key')})",
            property=self._property,
            present=self._present,
        )
        query = compile_values(nodes, max(self._news, 0), Dialect.DUCKDB, source=source)
        columns = "".join(f", v.x{place} AS {name}" for place, name in enumerate(nodes))
        self.con.execute(
            f"INSERT INTO {table} BY NAME SELECT p.key, p.kind, p.bucket{columns} FROM ({query.sql}) v "
            f"JOIN people_bare p ON p.key = v.profile",
            list(query.params),
        )

    def _overlay(self, snapshot: Snapshot) -> None:
        """Define ``people_now``: the snapshot, and over it those who changed since."""
        held = f"SELECT *, CAST(NULL AS BIGINT) AS merged_into FROM {self._files([snapshot.file])} s"
        if self._one("SELECT count(*) FROM dirty"):
            keys = [(kind, tuple(path)) for kind, path in snapshot.columns]
            listed = "".join(f", {column_name(key)} {NULLS[key[0]]}" for key in keys)
            self.con.execute(f"CREATE OR REPLACE TABLE changed (key BIGINT, kind VARCHAR, bucket BIGINT{listed})")
            self._attributes_of(keys, "IN (SELECT d.key FROM dirty d)", "changed")
            held += " WHERE NOT EXISTS (SELECT 1 FROM dirty d WHERE d.key = s.key) UNION ALL BY NAME "
            held += "SELECT *, CAST(NULL AS BIGINT) AS merged_into FROM changed"
        self.con.execute(f"CREATE OR REPLACE VIEW people_now AS {held}")

    # ---- small things
    def _union(self, names: Sequence[str], tail: str) -> str:
        if not names:
            return tail
        return f"(SELECT * FROM {self._files(names)} UNION ALL BY NAME SELECT * FROM {tail})"

    def _files(self, names: Iterable[str]) -> str:
        listed = ", ".join("'" + str(self._folder / name).replace("'", "''") + "'" for name in names)
        return f"read_parquet([{listed}], union_by_name=true)"

    def _column_of(self, column: str, names: Sequence[str], among: Sequence[int] | None = None) -> set[int]:
        if not names:
            return set()
        test = "" if among is None else f" WHERE list_contains(CAST(? AS BIGINT[]), {column})"
        rows = self.con.execute(
            f"SELECT DISTINCT {column} FROM {self._files(names)}{test}", [] if among is None else [list(among)]
        )
        return {row[0] for row in rows.fetchall()}

    def _import(self, table: str, write: Callable[[Path, int, int], int], columns: dict[str, str], after: int, last: int) -> int:
        path = Path(self._scratch.name) / "rows.txt"
        count = write(path, after, last)
        chosen = ", ".join("json_extract_string(type, '$') AS type" if c == "type" else c for c in columns)
        self.con.execute(
            f"CREATE OR REPLACE TABLE {table} AS SELECT {chosen} FROM read_csv(?, auto_detect=false, header=false, delim='\x1f', quote='', "
            "escape='', max_line_size=8000000, buffer_size=33554432, columns=?)",
            [str(path), columns],
        )
        path.unlink()
        return count

    def _put(self, query: str, chunk: Chunk | Snapshot, binds: Sequence[Any] = ()) -> None:
        """Write a query's rows to the file of a chunk."""
        path = self._folder / chunk.file
        draft = path.with_suffix(".parquet.draft")
        self.con.execute(
            f"COPY ({query}) TO '{str(draft).replace(chr(39), chr(39) * 2)}' (FORMAT parquet, COMPRESSION zstd)", list(binds)
        )
        draft.replace(path)
        chunk.size = path.stat().st_size

    def _one(self, sql: str) -> Any:
        row = self.con.execute(sql).fetchone()
        return row[0] if row else None


def _is_attribute(key: Key) -> bool:
    return key[0] != PRESENT and len(key[1]) > 1 and key[1][0] == "attributes"


def _root(merged: Any, key: int) -> int:
    seen = {key}
    while (winner := merged.get(key)) is not None and winner not in seen:
        seen.add(winner)
        key = winner
    return key
