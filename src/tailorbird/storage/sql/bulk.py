"""Set-based writing for imports: long sorted runs into SQLite, COPY into PostgreSQL, one transaction a chunk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import Any, Final, Protocol

import msgspec

from tailorbird.core.event import Event
from tailorbird.core.profile import Identifier, Profile, Provenance
from tailorbird.ports import IdentifierRow
from tailorbird.storage.sql.write import numbering

__all__ = ["Bulk", "PostgresTransaction", "SqliteTransaction"]

_TOGETHER: Final = 500  # rows in one INSERT: SQLite steps through them without the interpreter in between
_FACTS: Final = ("profile.updated", "tag.added", "tag.removed", "consent.granted", "consent.withdrawn")
_EVENT_COLUMNS: Final = "id, type, profile, origin, at, received_at, source, data"
_PROFILE_COLUMNS: Final = "key, id, kind, bucket, created_at, attributes, provenance, tags, consents, merged_into"


class _Opens(Protocol):
    def __call__(self) -> AbstractContextManager[Any]: ...


class Bulk:
    """The bulk loader of one store.

    ``open_write`` gives a raw DBAPI connection inside a write transaction that the store has begun as any other writer's
    (so that caches elsewhere are made void), commits it at the end and rolls back on an error.
    """

    def __init__(self, open_write: _Opens, *, postgres: bool) -> None:
        self._open_write = open_write
        self._postgres = postgres

    @contextmanager
    def transaction(self) -> Iterator[SqliteTransaction]:
        """Begin a write transaction; everything in it is written or nothing."""
        with self._open_write() as raw, numbering(raw, postgres=self._postgres):
            yield PostgresTransaction(raw) if self._postgres else SqliteTransaction(raw)


class SqliteTransaction:
    """One write transaction; see ``Transaction`` in ``runtime/imports/people.py`` for what each verb means."""

    mark = "?"

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    # ---- reading
    def get_meta(self, key: str) -> str | None:
        """Return the value of a key of the table of small things."""
        row = self._all("SELECT value FROM meta WHERE key = ?", (key,))
        return row[0][0] if row else None

    def next_key(self) -> int:
        """Return the key that the next profile gets; those of erased profiles are not given again."""
        taken = self._all("SELECT coalesce(max(key), 0) FROM profile")[0][0]
        return max(int(taken), int(self.get_meta("highest profile") or 0)) + 1

    def resolve(self, identifiers: Sequence[Identifier]) -> dict[Identifier, IdentifierRow]:
        """Return the rows of those identifiers that are known."""
        found: dict[Identifier, IdentifierRow] = {}
        by_kind: dict[str, list[str]] = {}
        for one in identifiers:
            by_kind.setdefault(one.kind, []).append(one.value)
        for kind, values in by_kind.items():
            for row in self._among(
                "SELECT kind, value, profile, origin, at FROM identifier WHERE kind = ? AND value", values, kind
            ):
                found[Identifier(row[0], row[1])] = IdentifierRow(*row)
        return found

    def held(self, profiles: Sequence[int]) -> dict[int, list[IdentifierRow]]:
        """Return the identifiers of each profile."""
        found: dict[int, list[IdentifierRow]] = {}
        for row in self._among("SELECT kind, value, profile, origin, at FROM identifier WHERE profile", profiles):
            found.setdefault(row[2], []).append(IdentifierRow(*row))
        return found

    def profiles(self, keys: Sequence[int]) -> dict[int, Profile]:
        """Return the profiles with these keys."""
        rows = self._among(f"SELECT {_PROFILE_COLUMNS} FROM profile WHERE key", keys)
        return {row[0]: _profile(row) for row in rows}

    def owners(self, origins: Sequence[int]) -> dict[int, int | None]:
        """Return who holds what came to these profiles now, for those merged away (the holder) or erased (None) only."""
        found: dict[int, int | None] = {}
        waiting = {key: key for key in origins}
        while waiting:
            rows = dict(self._among("SELECT key, merged_into FROM profile WHERE key", sorted(set(waiting.values()))))
            gone: dict[int, int | None] = {origin: None for origin, key in waiting.items() if key not in rows}
            waiting = {origin: rows[key] for origin, key in waiting.items() if rows.get(key) is not None}
            found |= gone
            found |= waiting
        return found

    def facts(self, profiles: Sequence[int]) -> dict[int, list[Event]]:
        """Return the events of each profile that its read model is folded from."""
        found: dict[int, list[Event]] = {}
        names = ", ".join(self.mark for _ in _FACTS)
        sql = f"SELECT seq, {_EVENT_COLUMNS} FROM event WHERE type IN ({names}) AND profile"
        for seq, id_, type_, profile, origin, at, received_at, source, data in self._among(sql, profiles, *_FACTS):
            event = Event(
                id=id_, type=type_, profile=profile, origin=origin, at=at, received_at=received_at, source=source,
                data=_decode(data), seq=seq,
            )  # fmt: skip
            found.setdefault(profile, []).append(event)
        return found

    # ---- writing
    def set_meta(self, key: str, value: str) -> None:
        """Set a key of the table of small things."""
        self._run(
            "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
        )

    def put_people(self, profiles: Sequence[tuple[int, str, str, int, int]], identifiers: Sequence[IdentifierRow]) -> None:
        """Insert new profiles (key, id, kind, bucket, created_at) and identifiers that nobody has."""
        self._insert(
            "INSERT INTO profile (key, id, kind, bucket, created_at, attributes, provenance, tags, consents) VALUES",
            "(?, ?, ?, ?, ?, '{}', '{}', '[]', '{}')", profiles, "",
        )  # fmt: skip
        self._insert("INSERT INTO identifier (kind, value, profile, origin, at) VALUES", "(?, ?, ?, ?, ?)", identifiers, "")

    def put_profiles(self, profiles: Iterable[Profile]) -> None:
        """Write the read model of profiles that exist."""
        self._raw.executemany(
            "UPDATE profile SET attributes = ?, provenance = ?, tags = ?, consents = ? WHERE key = ?",
            [(_encode(p.attributes), _encode(p.provenance), _encode(p.tags), _encode(p.consents), p.key) for p in profiles],
        )

    def add_events(self, rows: Sequence[tuple[Any, ...]], columns: Sequence[str], constants: Mapping[str, Any]) -> int:
        """Append events whose id is not stored; return how many were.

        ``columns`` names what each row holds, ``constants`` what is the same for all; without ``origin`` it is the profile.
        """
        names = [*columns, *constants]
        if "origin" not in names:
            names.append("origin")
        fixed = tuple(constants.values())
        head = f"INSERT INTO event ({', '.join(names)}) VALUES "
        added = 0
        width, whole = len(columns), len(rows) - len(rows) % _TOGETHER
        for start, end, together in ((0, whole, _TOGETHER), (whole, len(rows), 1)):
            places = ", ".join(_numbered(names, columns, constants, i * width, together * width) for i in range(together))
            values = ((*chain.from_iterable(rows[i : i + together]), *fixed) for i in range(start, end, together))
            before = self._raw.total_changes
            self._raw.executemany(f"{head}{places} ON CONFLICT (id) DO NOTHING", values)
            added += self._raw.total_changes - before
        return added

    # ---- the connection
    def _insert(self, head: str, one: str, rows: Sequence[tuple[Any, ...]], tail: str) -> int:
        """Insert rows many at a time; return how many went in."""
        before = self._raw.total_changes
        whole = len(rows) - len(rows) % _TOGETHER
        if whole:
            many = f"{head} {', '.join([one] * _TOGETHER)}{tail}"
            self._raw.executemany(many, (tuple(chain.from_iterable(rows[i : i + _TOGETHER])) for i in range(0, whole, _TOGETHER)))
        if whole < len(rows):
            self._raw.executemany(f"{head} {one}{tail}", rows[whole:])
        added: int = self._raw.total_changes - before
        return added

    def _among(self, sql: str, values: Sequence[Any], *first: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of ``<sql> IN (values)``, asked in portions."""
        for start in range(0, len(values), 500):
            part = values[start : start + 500]
            yield from self._all(f"{sql} IN ({', '.join(self.mark for _ in part)})", (*first, *part))

    def _all(self, sql: str, binds: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._raw.execute(sql, tuple(binds)).fetchall()
        return found

    def _run(self, sql: str, binds: Sequence[Any]) -> None:
        self._raw.execute(sql, tuple(binds))


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _decode(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, str | bytes) else value


def _numbered(names: Sequence[str], columns: Sequence[str], constants: Mapping[str, Any], start: int, end: int) -> str:
    """Return the place holders of one row whose values begin at ``start``; the constants come after ``end``."""
    place = {name: start + i for i, name in enumerate(columns, 1)} | {name: end + i for i, name in enumerate(constants, 1)}
    place.setdefault("origin", place["profile"])
    return f"({', '.join(f'?{place[name]}' for name in names)})"


def _profile(row: Sequence[Any]) -> Profile:
    key, id_, kind, bucket, created_at, attributes, provenance, tags, consents, merged_into = row
    return Profile(
        key=key, id=id_, kind=kind, bucket=bucket, created_at=created_at, attributes=_decode(attributes),
        provenance=msgspec.convert(_decode(provenance), dict[str, Provenance]), tags=tuple(_decode(tags)),
        consents=_decode(consents), merged_into=merged_into,
    )  # fmt: skip


class PostgresTransaction(SqliteTransaction):
    """The same verbs on PostgreSQL: rows arrive by COPY."""

    mark = "%s"

    def put_people(self, profiles: Sequence[tuple[int, str, str, int, int]], identifiers: Sequence[IdentifierRow]) -> None:
        """Insert new profiles (key, id, kind, bucket, created_at) and identifiers that nobody has."""
        columns = ("key", "id", "kind", "bucket", "created_at", "attributes", "provenance", "tags", "consents")
        self._copy("profile", columns, ((*row, "{}", "{}", "[]", "{}") for row in profiles))
        self._copy("identifier", ("kind", "value", "profile", "origin", "at"), identifiers)

    def put_profiles(self, profiles: Iterable[Profile]) -> None:
        """Write the read model of profiles that exist."""
        self._raw.execute(
            "CREATE TEMP TABLE IF NOT EXISTS refolded (key bigint, attributes jsonb, provenance jsonb, tags jsonb, consents jsonb) "
            "ON COMMIT DROP"
        )
        self._raw.execute("TRUNCATE refolded")
        rows = ((p.key, _encode(p.attributes), _encode(p.provenance), _encode(p.tags), _encode(p.consents)) for p in profiles)
        self._copy("refolded", ("key", "attributes", "provenance", "tags", "consents"), rows)
        self._raw.execute(
            "UPDATE profile SET attributes = r.attributes, provenance = r.provenance, tags = r.tags, consents = r.consents "
            "FROM refolded r WHERE profile.key = r.key"
        )

    def add_events(self, rows: Sequence[tuple[Any, ...]], columns: Sequence[str], constants: Mapping[str, Any]) -> int:
        """Append events whose id is not stored; return how many were."""
        self._raw.execute(
            "CREATE TEMP TABLE IF NOT EXISTS incoming (n bigint GENERATED ALWAYS AS IDENTITY, id text, type text, profile bigint, "
            "origin bigint, at bigint, received_at bigint, source text, data jsonb) ON COMMIT DROP"
        )
        self._raw.execute("TRUNCATE incoming")
        self._copy("incoming", columns, rows)
        chosen = {name: name for name in columns} | dict.fromkeys(constants, "%s")
        chosen.setdefault("origin", "profile")
        found = self._raw.execute(
            f"INSERT INTO event ({', '.join(chosen)}) SELECT {', '.join(chosen.values())} FROM incoming ORDER BY n "
            "ON CONFLICT (id) DO NOTHING",
            tuple(constants.values()),
        )
        added: int = found.rowcount
        return added

    def _copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        with self._raw.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def _all(self, sql: str, binds: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return super()._all(sql.replace("?", "%s"), binds)

    def _run(self, sql: str, binds: Sequence[Any]) -> None:
        super()._run(sql.replace("?", "%s"), binds)
