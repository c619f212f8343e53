"""Writing a unit of work as fast as the database takes it: one statement for many rows.

Python's ``sqlite3`` lets other threads run only while a statement is being stepped, so a statement with hundreds of rows keeps
the event loop free where ``executemany`` would stop it for every row. PostgreSQL gets one array per column.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any, Final, NamedTuple

import msgspec

from tailorbird.core.action import Action
from tailorbird.core.event import SEGMENT_ENTERED, SEGMENT_EXITED, Event
from tailorbird.core.profile import Profile
from tailorbird.ports import RecordRow, Unit

__all__ = [
    "TARGETS", "Target", "numbering", "put_sqlite", "unit_rows", "write_flows", "write_records", "write_unit",
]  # fmt: skip

_FLOOR: Final = "SELECT coalesce(max(CAST(value AS bigint)), 0) FROM meta WHERE key = 'highest event'"
_TAKEN: Final = "SELECT coalesce(max(seq), 0) FROM event"

_CATCH_UP: Final = f"SELECT setval(pg_get_serial_sequence('event', 'seq'), greatest(({_TAKEN}), ({_FLOOR})) + 1, false)"
"""Brings PostgreSQL's sequence of event numbers past all that were ever given, those of erased events included."""

_CHUNKS: Final = tuple(1 << power for power in range(10, -1, -1))
"""How many rows a statement has: powers of two, so that a handful of statements, each compiled once, write any number."""

_encoder = msgspec.json.Encoder()


class Target(NamedTuple):
    """A table, its columns with their PostgreSQL types, and what happens on a conflict."""

    table: str
    columns: tuple[tuple[str, str], ...]
    tail: str = ""


def _upsert(table: str, keys: str, *columns: tuple[str, str]) -> Target:
    names = [name for name, _ in columns if name not in keys.split(", ")]
    changes = ", ".join(f"{name} = excluded.{name}" for name in names)
    return Target(table, columns, f"ON CONFLICT ({keys}) DO UPDATE SET {changes}")


_EVENTS = Target(
    "event",
    (
        ("seq", "bigint"), ("id", "text"), ("type", "text"), ("profile", "bigint"), ("origin", "bigint"), ("at", "bigint"),
        ("received_at", "bigint"), ("source", "text"), ("data", "jsonb"), ("cause", "text"),
    ),
    "ON CONFLICT (id) DO NOTHING",
)  # fmt: skip
_EVENTS_WITHOUT_SEQ = Target("event", _EVENTS.columns[1:], _EVENTS.tail)
_PROFILES = _upsert(
    "profile", "key",
    ("key", "bigint"), ("id", "text"), ("kind", "text"), ("bucket", "bigint"), ("created_at", "bigint"),
    ("attributes", "jsonb"), ("provenance", "jsonb"), ("tags", "jsonb"), ("consents", "jsonb"), ("merged_into", "bigint"),
)  # fmt: skip
_IDENTIFIERS = _upsert(
    "identifier", "kind, value",
    ("kind", "text"), ("value", "text"), ("profile", "bigint"), ("origin", "bigint"), ("at", "bigint"),
)  # fmt: skip
_MEMBERSHIPS = _upsert(
    "membership", "segment, profile", ("segment", "text"), ("profile", "bigint"), ("entered_at", "bigint"), ("version", "integer")
)
_TIMERS = _upsert("timer", "profile, key", ("profile", "bigint"), ("key", "text"), ("due", "bigint"))
_ACTIONS = Target(
    "outbox",
    (
        ("key", "text"), ("kind", "text"), ("connector", "text"), ("payload", "jsonb"), ("profile", "bigint"), ("channel", "text"),
        ("purpose", "text"), ("due", "bigint"), ("created_at", "bigint"), ("cause", "text"), ("status", "text"),
        ("attempts", "integer"), ("error", "text"),
    ),
    "ON CONFLICT (key) DO NOTHING",
)  # fmt: skip
_UPDATED_ACTIONS = _upsert("outbox", "key", *_ACTIONS.columns)
_MERGES = _upsert(
    "merge", "id",
    ("id", "text"), ("winner", "bigint"), ("loser", "bigint"), ("at", "bigint"), ("rule", "text"), ("reason", "text"),
    ("undone_at", "bigint"),
)  # fmt: skip
_FLOWS = Target("flow", (("segment", "text"), ("at", "bigint"), ("entered", "bigint"), ("exited", "bigint")))
_RECORDS = _upsert(
    "record", "profile, kind, id",
    ("kind", "text"), ("id", "text"), ("profile", "bigint"), ("origin", "bigint"), ("status", "text"), ("stage", "text"),
    ("assignee", "text"), ("due", "bigint"), ("amount", "double precision"), ("currency", "text"), ("at", "bigint"),
    ("changed_at", "bigint"), ("data", "jsonb"),
)  # fmt: skip


TARGETS: Final = (_EVENTS, _PROFILES, _IDENTIFIERS, _MEMBERSHIPS, _TIMERS, _ACTIONS, _RECORDS)
"""The tables that ``unit_rows`` yields rows for, with all of their columns."""


def write_unit(raw: Any, unit: Unit, *, postgres: bool) -> None:
    """Write all of a unit through the driver's connection (inside a transaction that the caller began)."""
    put = _put_postgres if postgres else put_sqlite
    if unit.left:
        _delete_pairs(raw, "membership", ("segment", "profile"), unit.left, postgres)
    gone = [key for key, due in unit.timers.items() if due < 0]
    if gone:
        _delete_pairs(raw, "timer", ("profile", "key"), gone, postgres)
    for target, found in unit_rows(unit):
        if target is _EVENTS:
            _put_events(raw, unit.events, found, put, postgres)
        else:
            put(raw, target, found)
    if unit.updated_actions:
        put(raw, _UPDATED_ACTIONS, [_action_row(a) for a in {a.key: a for a in unit.updated_actions}.values()])
    if unit.merges:
        put(raw, _MERGES, [msgspec.structs.astuple(m) for m in {m.id: m for m in unit.merges}.values()])


def unit_rows(unit: Unit) -> Iterator[tuple[Target, Sequence[tuple[Any, ...]]]]:
    """Yield what a unit adds or replaces: a table, and rows for it with all of its columns."""
    if unit.profiles:
        yield _PROFILES, [_profile_row(p) for p in unit.profiles.values()]
    if unit.identifiers:
        # The last row of a name counts: one statement may not touch a row twice.
        yield _IDENTIFIERS, list({(row.kind, row.value): tuple(row) for row in unit.identifiers}.values())
    if unit.events:
        encode = _encoder.encode
        yield (
            _EVENTS,
            [
                (
                    e.seq,
                    e.id,
                    e.type,
                    e.profile,
                    e.origin or e.profile,
                    e.at,
                    e.received_at,
                    e.source,
                    encode(e.data).decode(),
                    e.cause,
                )
                for e in unit.events
            ],
        )
    if unit.memberships:
        yield _MEMBERSHIPS, list({(m.segment, m.profile): tuple(m) for m in unit.memberships}.values())
    armed = [(profile, key, due) for (profile, key), due in unit.timers.items() if due >= 0]
    if armed:
        yield _TIMERS, armed
    if unit.records:
        yield _RECORDS, _record_rows(unit.records)
    if unit.actions:
        yield _ACTIONS, [_action_row(a) for a in {a.key: a for a in reversed(unit.actions)}.values()][::-1]


@contextmanager
def numbering(raw: Any, *, postgres: bool) -> Iterator[None]:
    """Let events that are appended without a number get one that was never given, not even to an event erased since.

    Inside a write transaction. SQLite numbers from the highest row on, so for the while a row holds the highest number given.
    """
    if postgres:
        raw.execute(_CATCH_UP)
        yield
        return
    floor = raw.execute(f"SELECT f FROM (SELECT ({_FLOOR}) AS f, ({_TAKEN}) AS t) WHERE f > t").fetchone()
    if floor is not None:
        raw.execute(
            "INSERT INTO event (seq, id, type, profile, origin, at, received_at, source, data) VALUES (?, '', '', 0, 0, 0, 0, '', '{}')",
            floor,
        )
    yield
    if floor is not None:
        raw.execute("DELETE FROM event WHERE seq = ?", floor)


def write_records(raw: Any, records: Sequence[RecordRow], *, postgres: bool) -> None:
    """Insert or replace records; of several rows of one record the last counts."""
    (_put_postgres if postgres else put_sqlite)(raw, _RECORDS, _record_rows(records))


def _record_rows(records: Sequence[RecordRow]) -> list[tuple[Any, ...]]:
    last = {(row.profile, row.kind, row.id): row for row in records}
    return [(*row[:-1], _encoder.encode(row.data).decode()) for row in last.values()]


def write_flows(raw: Any, rows: Sequence[tuple[str, int, int, int]], *, postgres: bool) -> None:
    """Append (segment, at, entered, exited) rows."""
    (_put_postgres if postgres else put_sqlite)(raw, _FLOWS, rows)


def _put_events(raw: Any, events: Sequence[Event], rows: Sequence[tuple[Any, ...]], put: Any, postgres: bool) -> None:
    numbered = [row for row in rows if row[0]]
    told = [event for event in events if event.type in (SEGMENT_ENTERED, SEGMENT_EXITED)]
    if len(numbered) < len(rows):
        told = _unknown(raw, told, postgres)
        with numbering(raw, postgres=postgres):
            put(raw, _EVENTS_WITHOUT_SEQ, [row[1:] for row in rows if not row[0]])
    if numbered and put(raw, _EVENTS, numbered) < len(numbered):
        told = _written(raw, told, postgres)
    flows = _flow_rows(told)
    if flows:
        put(raw, _FLOWS, flows)


def _flow_rows(events: Sequence[Event]) -> list[tuple[str, int, int, int]]:
    """Return (segment, at, entered, exited) for what events tell of memberships."""
    flows: dict[tuple[str, int], list[int]] = {}
    for event in events:
        if event.type in (SEGMENT_ENTERED, SEGMENT_EXITED):
            tally = flows.setdefault((event.data["segment"], event.at), [0, 0])
            tally[event.type == SEGMENT_EXITED] += 1
    return [(segment, at, *tally) for (segment, at), tally in flows.items()]  # type: ignore[misc]


def _unknown(raw: Any, events: Sequence[Event], postgres: bool) -> list[Event]:
    """Return those events whose id is not stored yet, each id once."""
    stored = _numbers(raw, events, postgres)
    return [event for event in {e.id: e for e in reversed(events)}.values() if event.id not in stored][::-1]


def _written(raw: Any, events: Sequence[Event], postgres: bool) -> list[Event]:
    """Return those events that were stored just now, by their number; one whose id was there before was skipped."""
    stored = _numbers(raw, events, postgres)
    return [event for event in events if stored.get(event.id) == event.seq or not event.seq]


def _numbers(raw: Any, events: Sequence[Event], postgres: bool) -> dict[str, int]:
    if not events:
        return {}
    ids = [event.id for event in events]
    if postgres:
        return dict(raw.execute("SELECT id, seq FROM event WHERE id = ANY(%s)", (ids,)).fetchall())
    listed = _encoder.encode(ids).decode()
    return dict(raw.execute("SELECT id, seq FROM event WHERE id IN (SELECT value FROM json_each(?))", (listed,)).fetchall())


def _delete_pairs(raw: Any, table: str, columns: tuple[str, str], pairs: Iterable[tuple[Any, Any]], postgres: bool) -> None:
    mark = "%s" if postgres else "?"
    sql = f"DELETE FROM {table} WHERE {columns[0]} = {mark} AND {columns[1]} = {mark}"
    (raw.cursor() if postgres else raw).executemany(sql, list(pairs))


def put_sqlite(raw: Any, target: Target, rows: Sequence[tuple[Any, ...]], *first: Any) -> int:
    """Write rows with as few statements as can be; return how many were (those skipped on a conflict were not).

    ``first`` are the values of the first columns, the same in every row.
    """
    start, before = 0, raw.total_changes
    for size in _CHUNKS:
        sql = None
        while len(rows) - start >= size:
            sql = sql or _sqlite_insert(target, size, len(first))
            raw.execute(sql, (*first, *chain.from_iterable(rows[start : start + size])))
            start += size
    return int(raw.total_changes) - int(before)


@lru_cache(maxsize=128)
def _sqlite_insert(target: Target, size: int, same: int) -> str:
    names = ", ".join(name for name, _ in target.columns)
    shared = "".join(f"?{place + 1}, " for place in range(same))
    one = f"({shared}{', '.join('?' * (len(target.columns) - same))})"
    return f"INSERT INTO {target.table} ({names}) VALUES {', '.join([one] * size)} {target.tail}"


def _put_postgres(raw: Any, target: Target, rows: Sequence[tuple[Any, ...]]) -> int:
    """Write rows; return how many were (those skipped on a conflict were not)."""
    return int(raw.execute(_postgres_insert(target), [list(column) for column in zip(*rows, strict=True)]).rowcount)


@lru_cache(maxsize=64)
def _postgres_insert(target: Target) -> str:
    names = ", ".join(name for name, _ in target.columns)
    arrays = ", ".join(f"%s::{type_}[]" for _, type_ in target.columns)
    return f"INSERT INTO {target.table} ({names}) SELECT * FROM unnest({arrays}) {target.tail}"


def _profile_row(profile: Profile) -> tuple[Any, ...]:
    encode = _encoder.encode
    return (
        profile.key, profile.id, profile.kind, profile.bucket, profile.created_at, encode(profile.attributes).decode(),
        encode(profile.provenance).decode(), encode(profile.tags).decode(), encode(profile.consents).decode(), profile.merged_into,
    )  # fmt: skip


def _action_row(action: Action) -> tuple[Any, ...]:
    return (
        action.key, action.kind, action.connector, _encoder.encode(action.payload).decode(), action.profile, action.channel,
        action.purpose, action.due, action.created_at, action.cause, str(action.status), action.attempts, action.error,
    )  # fmt: skip
