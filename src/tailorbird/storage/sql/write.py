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

__all__ = ["numbering", "write_flows", "write_records", "write_unit"]

_FLOOR: Final = "SELECT coalesce(max(CAST(value AS bigint)), 0) FROM meta WHERE key = 'highest event'"
_TAKEN: Final = "SELECT coalesce(max(seq), 0) FROM event"

_CATCH_UP: Final = f"SELECT setval(pg_get_serial_sequence('event', 'seq'), greatest(({_TAKEN}), ({_FLOOR})) + 1, false)"
"""Brings PostgreSQL's sequence of event numbers past all that were ever given, those of erased events included."""

_CHUNKS: Final = (256, 32, 4, 1)
_encoder = msgspec.json.Encoder()


class _Target(NamedTuple):
    """A table, its columns with their PostgreSQL types, and what happens on a conflict."""

    table: str
    columns: tuple[tuple[str, str], ...]
    tail: str = ""


def _upsert(table: str, keys: str, *columns: tuple[str, str]) -> _Target:
    names = [name for name, _ in columns if name not in keys.split(", ")]
    changes = ", ".join(f"{name} = excluded.{name}" for name in names)
    return _Target(table, columns, f"ON CONFLICT ({keys}) DO UPDATE SET {changes}")


_EVENTS = _Target(
    "event",
    (
        ("seq", "bigint"), ("id", "text"), ("type", "text"), ("profile", "bigint"), ("origin", "bigint"), ("at", "bigint"),
        ("received_at", "bigint"), ("source", "text"), ("data", "jsonb"), ("cause", "text"),
    ),
    "ON CONFLICT (id) DO NOTHING",
)  # fmt: skip
_EVENTS_WITHOUT_SEQ = _Target("event", _EVENTS.columns[1:], _EVENTS.tail)
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
_ACTIONS = _Target(
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
_RECORDS = _upsert(
    "record", "profile, kind, id",
    ("kind", "text"), ("id", "text"), ("profile", "bigint"), ("origin", "bigint"), ("status", "text"), ("stage", "text"),
    ("assignee", "text"), ("due", "bigint"), ("amount", "double precision"), ("currency", "text"), ("at", "bigint"),
    ("changed_at", "bigint"), ("data", "jsonb"),
)  # fmt: skip
_FLOWS = _Target("flow", (("segment", "text"), ("at", "bigint"), ("entered", "bigint"), ("exited", "bigint")))


def write_unit(raw: Any, unit: Unit, *, postgres: bool) -> None:
    """Write all of a unit through the driver's connection (inside a transaction that the caller began)."""
    put = _put_postgres if postgres else _put_sqlite
    if unit.profiles:
        put(raw, _PROFILES, [_profile_row(p) for p in unit.profiles.values()])
    if unit.identifiers:
        # The last row of a name counts: one statement may not touch a row twice.
        put(raw, _IDENTIFIERS, list({(row.kind, row.value): tuple(row) for row in unit.identifiers}.values()))
    if unit.events:
        _put_events(raw, unit.events, put, postgres)
    if unit.left:
        _delete_pairs(raw, "membership", ("segment", "profile"), unit.left, postgres)
    if unit.memberships:
        put(raw, _MEMBERSHIPS, list({(m.segment, m.profile): tuple(m) for m in unit.memberships}.values()))
    if unit.timers:
        _put_timers(raw, unit.timers, put, postgres)
    if unit.actions:
        put(raw, _ACTIONS, [_action_row(a) for a in {a.key: a for a in reversed(unit.actions)}.values()][::-1])
    if unit.updated_actions:
        put(raw, _UPDATED_ACTIONS, [_action_row(a) for a in {a.key: a for a in unit.updated_actions}.values()])
    if unit.records:
        write_records(raw, unit.records, postgres=postgres)
    if unit.merges:
        put(raw, _MERGES, [msgspec.structs.astuple(m) for m in {m.id: m for m in unit.merges}.values()])


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
    last = {(row.profile, row.kind, row.id): row for row in records}
    rows = [(*row[:-1], _encoder.encode(row.data).decode()) for row in last.values()]
    (_put_postgres if postgres else _put_sqlite)(raw, _RECORDS, rows)


def write_flows(raw: Any, rows: Sequence[tuple[str, int, int, int]], *, postgres: bool) -> None:
    """Append (segment, at, entered, exited) rows."""
    (_put_postgres if postgres else _put_sqlite)(raw, _FLOWS, rows)


def _put_events(raw: Any, events: Sequence[Event], put: Any, postgres: bool) -> None:
    encode = _encoder.encode
    rows = [
        (e.seq, e.id, e.type, e.profile, e.origin or e.profile, e.at, e.received_at, e.source, encode(e.data).decode(), e.cause)
        for e in events
    ]
    numbered = [row for row in rows if row[0]]
    if numbered:
        put(raw, _EVENTS, numbered)
    if len(numbered) < len(rows):
        with numbering(raw, postgres=postgres):
            put(raw, _EVENTS_WITHOUT_SEQ, [row[1:] for row in rows if not row[0]])
    flows: dict[tuple[str, int], list[int]] = {}
    for event in events:
        if event.type in (SEGMENT_ENTERED, SEGMENT_EXITED):
            tally = flows.setdefault((event.data["segment"], event.at), [0, 0])
            tally[event.type == SEGMENT_EXITED] += 1
    if flows:
        put(raw, _FLOWS, [(segment, at, *tally) for (segment, at), tally in flows.items()])


def _put_timers(raw: Any, timers: dict[tuple[int, str], int], put: Any, postgres: bool) -> None:
    gone = [key for key, due in timers.items() if due < 0]
    if gone:
        _delete_pairs(raw, "timer", ("profile", "key"), gone, postgres)
    armed = [(profile, key, due) for (profile, key), due in timers.items() if due >= 0]
    if armed:
        put(raw, _TIMERS, armed)


def _delete_pairs(raw: Any, table: str, columns: tuple[str, str], pairs: Iterable[tuple[Any, Any]], postgres: bool) -> None:
    mark = "%s" if postgres else "?"
    sql = f"DELETE FROM {table} WHERE {columns[0]} = {mark} AND {columns[1]} = {mark}"
    (raw.cursor() if postgres else raw).executemany(sql, list(pairs))


def _put_sqlite(raw: Any, target: _Target, rows: Sequence[tuple[Any, ...]]) -> None:
    start = 0
    for size in _CHUNKS:
        sql = None
        while len(rows) - start >= size:
            sql = sql or _sqlite_insert(target, size)
            raw.execute(sql, tuple(chain.from_iterable(rows[start : start + size])))
            start += size


@lru_cache(maxsize=128)
def _sqlite_insert(target: _Target, size: int) -> str:
    names = ", ".join(name for name, _ in target.columns)
    one = f"({', '.join('?' * len(target.columns))})"
    return f"INSERT INTO {target.table} ({names}) VALUES {', '.join([one] * size)} {target.tail}"


def _put_postgres(raw: Any, target: _Target, rows: Sequence[tuple[Any, ...]]) -> None:
    raw.execute(_postgres_insert(target), [list(column) for column in zip(*rows, strict=True)])


@lru_cache(maxsize=64)
def _postgres_insert(target: _Target) -> str:
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
