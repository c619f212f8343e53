"""``ports.Store`` on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, or_, select, text, update

from tailorbird.core.action import Action, ActionStatus
from tailorbird.core.definition import Definition
from tailorbird.core.event import SEGMENT_ENTERED, SEGMENT_EXITED, Json
from tailorbird.ports import Batch, Lease, RecordRow, Unit
from tailorbird.storage.sql import rows, schema
from tailorbird.storage.sql.bulk import Bulk
from tailorbird.storage.sql.connections import CrmTables
from tailorbird.storage.sql.database import Database
from tailorbird.storage.sql.leases import Leases
from tailorbird.storage.sql.records import RecordReading
from tailorbird.storage.sql.write import numbering, write_flows, write_records, write_unit

__all__ = ["SqlStore"]

_TOGETHER: Final = 500
_TELLING: Final = (
    text(
        f"SELECT seq, profile, data FROM event WHERE {schema.OF_MERGES} "
        "AND (data ->> 'winner' IN :ids OR data ->> 'loser' IN :ids) ORDER BY seq"
    )
    .bindparams(bindparam("ids", expanding=True))
    .columns(schema.event.c.seq, schema.event.c.profile, schema.event.c.data)
)


class SqlStore(RecordReading):
    """The record in one SQL database.

    ``listeners`` are called with the keys of the profiles whose events changed owner or were erased, after the commit:
    whatever keeps a copy of events has to follow.
    """

    def __init__(self, url: str) -> None:
        super().__init__(Database(url))
        self.url = url
        self.listeners: list[Callable[[Sequence[int]], None]] = []
        self._batch: Batch | None = None
        self._leases = Leases(self._database)
        self._crm = CrmTables(self._database)
        self._untold: list[int] | None = None  # while alone: whose events changed owner

    @property
    def database(self) -> Database:
        """The connections; for what evaluates set-based on the same database."""
        return self._database

    @property
    def crm(self) -> CrmTables:
        """Connections to CRMs, their links and credentials."""
        return self._crm

    @property
    def postgres(self) -> bool:
        """Whether this is PostgreSQL (else SQLite)."""
        return self._database.postgres

    def close(self) -> None:
        """Close all connections."""
        closing = getattr(self._batch, "close", None)
        if closing is not None:
            closing()
        self._database.close()

    def attach(self, batch: Batch) -> None:
        """Say what evaluates set-based for this store."""
        self._batch = batch

    def batch(self) -> Batch:
        """Return what evaluates set-based: what was attached, else the database's own SQL."""
        if self._batch is None:
            from tailorbird.storage.sql.query import SqlBatch

            self._batch = SqlBatch(self._database)
        return self._batch

    def bulk(self) -> Bulk:
        """Return the bulk loader."""
        return Bulk(self._database.writing_raw, postgres=self.postgres)

    # ---- units
    def commit(self, unit: Unit) -> bool:
        """Write a unit durably; False (nothing written) when another process wrote since this store last did."""
        written = self._database.append(unit)
        if written is not None:
            return written
        with self._database.writing_raw_as_last() as raw:
            if raw is None:
                return False
            write_unit(raw, unit, postgres=self.postgres)
            return True

    def claim(self) -> bool:
        """Notice from now on what others write; False when another process wrote since this store last did or claimed."""
        return self._database.claim()

    def others_wrote(self, *, within: float = 0.0) -> bool:
        """Return whether another process wrote since this store last did or claimed."""
        return self._database.others_wrote(within=within)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep everybody else from writing; see ``ports.Store``."""
        outermost = self._database.mine() is None
        with self._database.alone() as kept:
            if outermost:
                self._untold = []
            yield kept
        if outermost and self._untold:
            told, self._untold = self._untold, None
            self._tell(told)

    # ---- leases
    def lease(self, name: str) -> Lease | None:
        """Return who holds a lease, None when nobody does."""
        return self._leases.holder(name)

    def take_lease(self, name: str, token: str, what: str, *, lasting: int) -> Lease:
        """Take a lease that nobody holds; return whose it is then."""
        return self._leases.take(name, token, what, lasting=lasting)

    def keep_lease(self, name: str, token: str, *, lasting: int) -> bool:
        """Make our lease last for so many ms from now; False when it is another's."""
        return self._leases.keep(name, token, lasting=lasting)

    def drop_lease(self, name: str, token: str) -> None:
        """Give our lease back."""
        self._leases.drop(name, token)

    def set_meta(self, key: str, value: str) -> None:
        """Set a key of the table of small things."""
        with self._database.writing() as connection:
            self._upsert(connection, schema.meta, {"key": key, "value": value})

    # ---- merging and erasing
    def rekey(self, unit: Unit, *, loser: int, winner: int) -> bool:
        """In one transaction with the unit: the loser's events and identifiers become the winner's; its memberships and
        timers go. False (nothing written) as ``commit``."""
        with self._database.writing_as_last() as connection:
            if connection is None:
                return False
            write_unit(_raw(connection), unit, postgres=self.postgres)
            for table in (schema.event, schema.identifier):
                connection.execute(update(table).where(table.c.profile == loser).values(profile=winner))
            for table in (schema.membership, schema.timer, schema.record):
                connection.execute(delete(table).where(table.c.profile == loser))
            connection.execute(
                update(schema.outbox)
                .where(schema.outbox.c.profile == loser, schema.outbox.c.status == ActionStatus.PENDING.value)
                .values(profile=winner)
            )
        self._tell([loser, winner])
        return True

    def unrekey(self, unit: Unit, *, winner: int, origins: Sequence[int], loser: int) -> bool:
        """Undo: the winner's events and identifiers of these origins become the loser's again. False as ``commit``."""
        with self._database.writing_as_last() as connection:
            if connection is None:
                return False
            for table in (schema.event, schema.identifier):
                mine = (table.c.profile == winner, table.c.origin.in_(origins))
                connection.execute(update(table).where(*mine).values(profile=loser))
            connection.execute(delete(schema.record).where(schema.record.c.profile.in_((winner, loser))))
            write_unit(_raw(connection), unit, postgres=self.postgres)
        self._tell([loser, winner])
        return True

    def forget(self, profile: int) -> int:
        """Erase a profile everywhere, with the profiles that were merged into it; return how many rows went."""
        with self._database.writing() as connection:
            keys = self._family(connection, profile)
            self._keep_highest(connection)
            ids = connection.scalars(select(schema.profile.c.id).where(schema.profile.c.key.in_(keys))).all()
            gone = 0
            for table, condition in _traces(keys, self._winners(connection, profile)):
                gone += connection.execute(delete(table).where(condition)).rowcount
            others = _blank(connection, ids)
            self._database.sweep()
        self._tell([*keys, *others])
        self._database.checkpoint()
        return gone

    def forget_all(self, profiles: Sequence[int]) -> int:
        """Erase many profiles that were never merged with anybody, in one transaction; return how many rows went."""
        with self._database.writing() as connection:
            self._keep_highest(connection)
            gone = 0
            for keys in _parts(profiles, _TOGETHER):
                ids = connection.scalars(select(schema.profile.c.id).where(schema.profile.c.key.in_(keys))).all()
                for table, condition in _traces(keys, ()):
                    gone += connection.execute(delete(table).where(condition)).rowcount
                _blank(connection, ids)
            self._database.sweep()
        self._tell(list(profiles))
        self._database.checkpoint()
        return gone

    def _family(self, connection: Connection, profile: int) -> list[int]:
        """Return the profile and all that were merged into it."""
        keys, fresh = [profile], [profile]
        while fresh:
            table = schema.profile
            fresh = [row[0] for row in connection.execute(select(table.c.key).where(table.c.merged_into.in_(fresh)))]
            keys += fresh
        return keys

    def _winners(self, connection: Connection, profile: int) -> list[int]:
        """Return the profiles that this one was merged into: what it brought is with them."""
        found: list[int] = []
        column = schema.profile.c.merged_into
        into = connection.scalar(select(column).where(schema.profile.c.key == profile))
        while into is not None:
            found.append(into)
            into = connection.scalar(select(column).where(schema.profile.c.key == into))
        return found

    def _keep_highest(self, connection: Connection) -> None:
        """Remember the highest numbers given, so that those of erased rows are never given again."""
        for column in (schema.event.c.seq, schema.profile.c.key):
            row = {"key": f"highest {column.table.name}", "value": str(self._highest(column))}
            self._upsert(connection, schema.meta, row)

    def _tell(self, profiles: Sequence[int]) -> None:
        if self._database.mine() is not None and self._untold is not None:
            self._untold += profiles  # nothing is committed yet
            return
        for listener in self.listeners:
            listener(profiles)

    # ---- definitions
    def save_definition(self, definition: Definition) -> None:
        """Insert or replace one version."""
        with self._database.writing() as connection:
            self._upsert(connection, schema.definition, msgspec.structs.asdict(definition))

    # ---- memberships and timers, set-based
    def replace_members(self, segment: str, version: int, members: Sequence[int], at: int, event_ids: str) -> tuple[int, int]:
        """Make ``members`` the segment's members; see ``ports.Store``. Return how many entered and left."""
        with self._database.writing() as connection:
            raw = _raw(connection)
            mark = "%s" if self.postgres else "?"
            raw.execute("CREATE TEMP TABLE wanted (profile BIGINT PRIMARY KEY)" + ("" if self.postgres else " WITHOUT ROWID"))
            self._load_wanted(raw, members)
            # NOT EXISTS: PostgreSQL plans NOT IN as a nested loop when the list does not fit in its working memory.
            left = f"m.segment = {mark} AND NOT EXISTS (SELECT 1 FROM wanted w WHERE w.profile = m.profile)"
            new = f"NOT EXISTS (SELECT 1 FROM membership h WHERE h.segment = {mark} AND h.profile = wanted.profile)"
            gone, come = f"SELECT m.profile FROM membership m WHERE {left}", f"SELECT profile FROM wanted WHERE {new}"
            with numbering(raw, postgres=self.postgres):
                exited = self._append_changes(raw, SEGMENT_EXITED, gone, segment, version, at, event_ids)
                entered = self._append_changes(raw, SEGMENT_ENTERED, come, segment, version, at, event_ids)
            raw.execute(f"DELETE FROM membership AS m WHERE {left}", (segment,))
            raw.execute(
                f"INSERT INTO membership (segment, profile, entered_at, version) "
                f"SELECT {mark}, profile, {mark}, {mark} FROM wanted WHERE {new} ORDER BY profile",
                (segment, at, version, segment),
            )
            raw.execute(
                f"UPDATE membership SET version = {mark} WHERE segment = {mark} AND version <> {mark}",
                (version, segment, version),
            )
            raw.execute("DROP TABLE wanted")
            if entered or exited:
                write_flows(raw, [(segment, at, entered, exited)], postgres=self.postgres)
        return entered, exited

    def _load_wanted(self, raw: Any, members: Sequence[int]) -> None:
        if self.postgres:
            raw.execute("INSERT INTO wanted SELECT unnest(%s::bigint[]) ON CONFLICT DO NOTHING", (list(members),))
            raw.execute("ANALYZE wanted")
            return
        # One JSON array: a single statement, whatever the number of members.
        raw.execute("INSERT OR IGNORE INTO wanted SELECT value FROM json_each(?)", (msgspec.json.encode(list(members)).decode(),))

    def _append_changes(self, raw: Any, type_: str, who: str, segment: str, version: int, at: int, event_ids: str) -> int:
        """Append a membership event for each profile of a query; its one parameter is the segment."""
        mark = "%s" if self.postgres else "?"
        data = msgspec.json.encode({"segment": segment, "version": version, "reason": "activation"}).decode()
        cast = "::jsonb" if self.postgres else ""
        suffix = ":x:" if type_ == SEGMENT_EXITED else ":"
        cursor = raw.execute(
            f"INSERT INTO event (id, type, profile, origin, at, received_at, source, data) "
            f"SELECT {mark} || who.profile, {mark}, who.profile, who.profile, {mark}, {mark}, 'tailorbird', {mark}{cast} "
            f"FROM ({who}) AS who WHERE true ORDER BY who.profile ON CONFLICT (id) DO NOTHING",
            (event_ids + suffix, type_, at, at, data, segment),
        )
        return int(cursor.rowcount)

    def arm(self, key: str, dues: Iterable[tuple[int, int]]) -> None:
        """Arm timers; one that is already earlier stays."""
        sooner = (
            "INSERT INTO timer (profile, key, due) {0} ON CONFLICT (profile, key) DO UPDATE SET due = excluded.due "
            "WHERE excluded.due < timer.due"
        )
        for part in _parts(dues, 20_000):
            earliest: dict[int, int] = {}
            for profile, due in part:
                if due < earliest.get(profile, due + 1):
                    earliest[profile] = due
            with self._database.writing() as connection:
                raw = _raw(connection)
                if self.postgres:
                    source = "SELECT p, %s, d FROM unnest(%s::bigint[], %s::bigint[]) AS t(p, d)"
                    raw.execute(sooner.format(source), (key, list(earliest), list(earliest.values())))
                else:
                    source = "SELECT value ->> 0, ?, value ->> 1 FROM json_each(?) WHERE true"
                    raw.execute(sooner.format(source), (key, msgspec.json.encode(sorted(earliest.items())).decode()))

    # ---- notes, tasks and deals
    def replace_records(self, profiles: Sequence[int], rows: Sequence[RecordRow]) -> None:
        """Make the rows all the records that these profiles have."""
        with self._database.writing() as connection:
            for part in _parts(profiles, _TOGETHER):
                connection.execute(delete(schema.record).where(schema.record.c.profile.in_(part)))
            if rows:
                write_records(_raw(connection), rows, postgres=self.postgres)

    # ---- outbox
    def lease_actions(self, now: int, *, limit: int, lease: int) -> list[Action]:
        """Take due actions for delivery; what a dead deliverer had leased comes back when its lease is over, an attempt poorer."""
        table = schema.outbox
        open_ = table.c.status.in_((ActionStatus.PENDING.value, ActionStatus.SENDING.value))
        if self._one_action(select(table.c.seq).where(open_, table.c.due <= now).limit(1)) is None:
            return []  # looked for before writing: a deliverer with nothing to do must not void the caches of others
        with self._database.writing() as connection:
            query = select(*rows.ACTION).where(open_, table.c.due <= now).order_by(table.c.due, table.c.seq).limit(limit)
            found = [rows.action(row) for row in connection.execute(query)]
            for part in _parts([action.key for action in found], _TOGETHER):
                taken = {"status": ActionStatus.SENDING.value, "due": now + lease, "attempts": table.c.attempts + 1}
                connection.execute(update(table).where(table.c.key.in_(part)).values(**taken))
        return [msgspec.structs.replace(a, status=ActionStatus.SENDING, due=now + lease, attempts=a.attempts + 1) for a in found]

    def hurry_actions(self, connector: str, field: str, value: str, now: int) -> int:
        """Make due what waits of a connector's actions with this text in their payload; return how many."""
        table = schema.outbox
        chosen = and_(
            table.c.status == ActionStatus.PENDING.value, table.c.due > now, table.c.connector == connector,
            table.c.payload[field].as_string() == value,
        )  # fmt: skip
        if self._one_action(select(table.c.seq).where(chosen).limit(1)) is None:
            return 0
        with self._database.writing() as connection:
            return connection.execute(update(table).where(chosen).values(due=now)).rowcount

    # ---- the rest
    def remember_reply(self, key: str, digest: str, reply: Json, at: int) -> None:
        """Keep a reply under an idempotency key; those older than a day are dropped."""
        with self._database.writing() as connection:
            connection.execute(delete(schema.reply).where(schema.reply.c.at < at - 86_400_000))
            self._upsert(connection, schema.reply, {"key": key, "digest": digest, "reply": reply, "at": at})

    def save_key(self, row: Mapping[str, Json]) -> None:
        """Insert or replace an API key."""
        with self._database.writing() as connection:
            self._upsert(connection, schema.api_key, dict(row))

    def _upsert(self, connection: Connection, table: Any, values: Mapping[str, Any]) -> None:
        dialect: Any = import_module(f"sqlalchemy.dialects.{'postgresql' if self.postgres else 'sqlite'}")
        keys = [column.name for column in table.primary_key]
        query = dialect.insert(table).values(**values)
        connection.execute(
            query.on_conflict_do_update(index_elements=keys, set_={n: query.excluded[n] for n in values if n not in keys})
        )


def _traces(keys: Sequence[int], winners: Sequence[int]) -> list[tuple[Any, ColumnElement[bool]]]:
    """Return where people may be found: table and condition. ``winners`` hold what has their origin."""
    outbox, merge = schema.outbox, schema.merge
    return [
        *(
            # By profile first: there is an index on it, and a scan of ten million events would hold up every writer.
            (table, or_(table.c.profile.in_(keys), and_(table.c.profile.in_(winners), table.c.origin.in_(keys))))
            for table in (schema.event, schema.identifier, schema.record)
        ),
        (schema.membership, schema.membership.c.profile.in_(keys)),
        (schema.timer, schema.timer.c.profile.in_(keys)),
        (outbox, outbox.c.profile.in_(keys)),
        (merge, or_(merge.c.winner.in_(keys), merge.c.loser.in_(keys))),
        (schema.profile, schema.profile.c.key.in_(keys)),
        # Replies may repeat what was said of anybody; they live a day at most.
        (schema.reply, func.length(schema.reply.c.key) > -1),
    ]


def _blank(connection: Connection, ids: Sequence[str]) -> list[int]:
    """Take public ids out of what tells others of merges with them; return the keys of those others."""
    event, others = schema.event, dict[int, None]()
    told = connection.execute(_TELLING, {"ids": ids}).all() if ids else []
    for seq, profile, data in told:
        kept = {name: None if name in ("winner", "loser") and value in ids else value for name, value in data.items()}
        connection.execute(update(event).where(event.c.seq == seq).values(data=kept))
        others[profile] = None
    return list(others)


def _raw(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _parts(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    part: list[Any] = []
    for value in values:
        part.append(value)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
