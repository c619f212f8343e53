"""What the store is asked: events, profiles, definitions, memberships, timers, actions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Column, Select, and_, bindparam, func, or_, select

from tailorbird.core.action import Action, ActionStatus
from tailorbird.core.definition import Definition
from tailorbird.core.event import Event, Json
from tailorbird.core.profile import Identifier, Profile
from tailorbird.ports import IdentifierRow, Membership, Merge, Timer
from tailorbird.storage.sql import rows, schema
from tailorbird.storage.sql.database import Database
from tailorbird.storage.sql.question import Question

__all__ = ["Reading"]

_IDENTIFIER = (
    schema.identifier.c.kind, schema.identifier.c.value, schema.identifier.c.profile, schema.identifier.c.origin,
    schema.identifier.c.at,
)  # fmt: skip
_OPEN = (ActionStatus.PENDING.value, ActionStatus.SENDING.value)
_MEMBERSHIP = tuple(schema.membership.c[name] for name in Membership._fields)
_IN_ORDER = (schema.event.c.profile, schema.event.c.at, schema.event.c.seq)

# Asked for every batch that is taken in: compiled once, and put to the driver without SQLAlchemy in between.
_KNOWN = Question(lambda among: select(schema.event.c.id).where(among(schema.event.c.id)))
_RESOLVE = Question(
    lambda among: select(*_IDENTIFIER).where(schema.identifier.c.kind == bindparam("kind"), among(schema.identifier.c.value))
)
_PROFILES = Question(lambda among: select(*rows.PROFILE).where(among(schema.profile.c.key)))
_PROFILES_BY_ID = Question(lambda among: select(*rows.PROFILE).where(among(schema.profile.c.id)))
_HISTORY = Question(lambda among: select(*rows.EVENT).where(among(schema.event.c.profile)).order_by(*_IN_ORDER))
_HISTORY_OF_TYPES = Question(
    lambda among: (
        select(*rows.EVENT).where(among(schema.event.c.profile), among(schema.event.c.type, "types")).order_by(*_IN_ORDER)
    )
)
_IDENTIFIERS = Question(
    lambda among: (
        select(*_IDENTIFIER)
        .where(among(schema.identifier.c.profile))
        .order_by(schema.identifier.c.at, schema.identifier.c.kind, schema.identifier.c.value)
    )
)
_MEMBERSHIPS = Question(
    lambda among: select(*_MEMBERSHIP).where(among(schema.membership.c.profile)).order_by(schema.membership.c.segment)
)


class Reading:
    """The questions of ``ports.Store``; each sees what is committed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _all(self, query: Select[Any], *, fresh: bool = True) -> Sequence[Any]:
        with self._database.reading(fresh=fresh) as connection:
            return connection.execute(query).all()

    def _one(self, query: Select[Any], *, fresh: bool = True) -> Any:
        found = self._all(query, fresh=fresh)
        return found[0] if found else None

    def _scalar(self, query: Select[Any], *, fresh: bool = True) -> Any:
        row = self._one(query, fresh=fresh)
        return None if row is None else row[0]

    def _one_action(self, query: Select[Any]) -> Any:
        """Ask the outbox, which is asked often; actions seldom wait in the journal."""
        self._settle_for("actions", ("any",))
        return self._one(query, fresh=False)

    def _settle_for(self, what: str, values: Sequence[Any]) -> None:
        """Let the tables have what our journal holds of these; see ``Journal.holds``."""
        if self._database.journals is not None and values and self._database.mine() is None:
            with self._database.reading_raw() as raw:
                self._database.journals.freshen(raw, what, values)

    def _ask(self, question: Question, values: Sequence[Any], **more: Any) -> list[Any]:
        if not values:
            return []
        sql, binds = question.put(self._database.postgres, values=values, **more)
        with self._database.reading_raw() as raw:
            found: list[Any] = raw.execute(sql, binds).fetchall()
            return found

    def get_meta(self, key: str) -> str | None:
        value: str | None = self._scalar(select(schema.meta.c.value).where(schema.meta.c.key == key), fresh=False)
        return value

    # ---- events
    def last_seq(self) -> int:
        return self._highest(schema.event.c.seq)

    def known_ids(self, ids: Sequence[str]) -> set[str]:
        waiting = set[str]()
        if self._database.journals is not None and self._database.mine() is None and ids:
            with self._database.reading_raw() as raw:
                waiting = self._database.journals.known(raw, ids)
        return {row[0] for row in self._ask(_KNOWN, ids)} | waiting

    def history(self, profiles: Sequence[int], types: Iterable[str] | None = None) -> dict[int, list[Event]]:
        found: dict[int, list[Event]] = {key: [] for key in profiles}
        # Asked in the middle of a turn: what our journal has is added rather than moved over. First, for what is moved meanwhile
        # is then found twice, and not missed.
        waiting = self._waiting(list(found))
        if types is None:
            answer = self._ask(_HISTORY, list(found))
        else:
            answer = self._ask(_HISTORY_OF_TYPES, list(found), types=sorted(types))
        for row in answer:
            found[row[3]].append(rows.event(row))
        if waiting:
            wanted, known = None if types is None else frozenset(types), {row[0] for row in answer}
            for row in waiting:
                if row[0] not in known and (wanted is None or row[2] in wanted):
                    found[row[3]].append(rows.event(row))
            for events in found.values():
                events.sort(key=lambda event: (event.at, event.seq))
        return found

    def _waiting(self, keys: Sequence[int]) -> list[tuple[Any, ...]]:
        """Return the events of these profiles in our journal; what is in another one is moved over."""
        journals = self._database.journals
        if journals is None or not keys or self._database.mine() is not None:
            return []
        with self._database.reading_raw() as raw:
            return journals.history(raw, keys)

    def timeline(self, profile: int, *, before: tuple[int, int] | None = None, limit: int = 50) -> list[Event]:
        table = schema.event
        query = select(*rows.EVENT).where(table.c.profile == profile).order_by(table.c.at.desc(), table.c.seq.desc()).limit(limit)
        if before is not None:
            at, seq = before
            query = query.where(or_(table.c.at < at, and_(table.c.at == at, table.c.seq < seq)))
        return [rows.event(row) for row in self._all(query)]

    def events(self, *, after: int = 0, limit: int = 1000) -> list[Event]:
        seq = schema.event.c.seq
        return [rows.event(row) for row in self._all(select(*rows.EVENT).where(seq > after).order_by(seq).limit(limit))]

    def event(self, event_id: str) -> Event | None:
        row = self._one(select(*rows.EVENT).where(schema.event.c.id == event_id))
        return rows.event(row) if row is not None else None

    # ---- profiles
    def resolve(self, identifiers: Sequence[Identifier]) -> dict[Identifier, IdentifierRow]:
        self._settle_for("names", identifiers)
        values: dict[str, list[str]] = {}
        for one in identifiers:
            values.setdefault(one.kind, []).append(one.value)
        return {
            Identifier(row[0], row[1]): IdentifierRow(*row)
            for kind, named in values.items()
            for row in self._ask(_RESOLVE, named, kind=kind)
        }

    def profiles(self, keys: Sequence[int]) -> dict[int, Profile]:
        self._settle_for("keys", keys)
        return {row[0]: rows.profile(row) for row in self._ask(_PROFILES, keys)}

    def profiles_by_id(self, ids: Sequence[str]) -> dict[str, Profile]:
        self._settle_for("public", ids)
        return {row[1]: rows.profile(row) for row in self._ask(_PROFILES_BY_ID, ids)}

    def page_profiles(self, *, after: int = 0, limit: int = 50, kind: str | None = None) -> list[Profile]:
        table = schema.profile
        query = select(*rows.PROFILE).where(table.c.key > after, table.c.merged_into.is_(None)).order_by(table.c.key).limit(limit)
        if kind is not None:
            query = query.where(table.c.kind == kind)
        return [rows.profile(row) for row in self._all(query)]

    def count_profiles(self) -> int:
        return int(self._scalar(select(func.count()).select_from(schema.profile).where(schema.profile.c.merged_into.is_(None))))

    def next_profile_key(self) -> int:
        return self._highest(schema.profile.c.key) + 1

    def _highest(self, column: Column[Any]) -> int:
        """Return the highest number given so far; erased rows do not give theirs back (see ``forget``)."""
        floor = select(schema.meta.c.value).where(schema.meta.c.key == f"highest {column.table.name}").scalar_subquery()
        row = self._one(select(select(func.max(column)).scalar_subquery(), floor))
        return max(int(row[0] or 0), int(row[1] or 0))

    def identifiers(self, profile: int) -> list[IdentifierRow]:
        self._settle_for("keys", [profile])
        return [IdentifierRow(*row) for row in self._ask(_IDENTIFIERS, [profile])]

    def merges(self, profile: int | None = None) -> list[Merge]:
        table = schema.merge
        query = select(*table.c).order_by(table.c.at, table.c.id)
        if profile is not None:
            query = query.where(or_(table.c.winner == profile, table.c.loser == profile))
        return [Merge(**row._mapping) for row in self._all(query)]

    # ---- definitions
    def definitions(self, *, kind: str | None = None, name: str | None = None, status: str | None = None) -> list[Definition]:
        table = schema.definition
        query = select(*table.c).order_by(table.c.kind, table.c.name, table.c.version)
        for column, value in ((table.c.kind, kind), (table.c.name, name), (table.c.status, status)):
            if value is not None:
                query = query.where(column == value)
        return [rows.definition(row) for row in self._all(query, fresh=False)]

    # ---- memberships, timers
    def memberships(self, profiles: Sequence[int]) -> dict[int, list[Membership]]:
        self._settle_for("keys", profiles)
        found: dict[int, list[Membership]] = {key: [] for key in profiles}
        for row in self._ask(_MEMBERSHIPS, list(found)):
            found[row[1]].append(Membership(*row))
        return found

    def members(self, segment: str, *, after: int = 0, limit: int = 50) -> list[Membership]:
        table = schema.membership
        query = (
            select(*_MEMBERSHIP).where(table.c.segment == segment, table.c.profile > after).order_by(table.c.profile).limit(limit)
        )
        return [Membership(*row) for row in self._all(query)]

    def segment_sizes(self) -> dict[str, int]:
        table = schema.membership
        return {row[0]: row[1] for row in self._all(select(table.c.segment, func.count()).group_by(table.c.segment))}

    def overlap(self, segments: Sequence[str]) -> dict[tuple[str, str], int]:
        left, right = schema.membership.alias(), schema.membership.alias()
        query = (
            select(left.c.segment, right.c.segment, func.count())
            .join_from(left, right, and_(left.c.profile == right.c.profile, left.c.segment < right.c.segment))
            .where(left.c.segment.in_(segments), right.c.segment.in_(segments))
            .group_by(left.c.segment, right.c.segment)
        )
        return {(row[0], row[1]): row[2] for row in self._all(query)}

    def flows(self, segment: str, since: int, until: int, step: int) -> list[tuple[int, int, int]]:
        table = schema.flow
        slot = ((table.c.at - since) // step).label("slot")
        query = (
            select(slot, func.sum(table.c.entered), func.sum(table.c.exited))
            .where(table.c.segment == segment, table.c.at >= since, table.c.at < until)
            .group_by(slot)
        )
        sums = {int(row[0]): (int(row[1]), int(row[2])) for row in self._all(query)}
        return [(since + i * step, *sums.get(i, (0, 0))) for i in range(-(-(until - since) // step))]

    def due_timers(self, until: int, *, limit: int = 1000) -> list[Timer]:
        table = schema.timer
        query = select(table.c.profile, table.c.key, table.c.due).where(table.c.due <= until)
        return [Timer(*row) for row in self._all(query.order_by(table.c.due, table.c.profile, table.c.key).limit(limit))]

    def next_due(self) -> int | None:
        due: int | None = self._scalar(select(func.min(schema.timer.c.due)))
        return due

    # ---- outbox
    def actions(self, *, status: str | None = None, profile: int | None = None, after: int = 0, limit: int = 50) -> list[Action]:
        table = schema.outbox
        query = select(*rows.ACTION).where(table.c.seq > after).order_by(table.c.seq).limit(limit)
        if status is not None:
            query = query.where(table.c.status == str(status))
        if profile is not None:
            query = query.where(table.c.profile == profile)
        return [rows.action(row) for row in self._all(query)]

    def action(self, key: str) -> Action | None:
        row = self._one(select(*rows.ACTION).where(schema.outbox.c.key == key))
        return rows.action(row) if row is not None else None

    def unsettled(self, connector: str, profiles: Sequence[int], *, before: int) -> list[Action]:
        table = schema.outbox
        asked = and_(table.c.connector == connector, table.c.seq < before, table.c.status.in_(_OPEN))
        found: list[Action] = []
        for start in range(0, len(profiles), 500):
            chosen = table.c.profile.in_(profiles[start : start + 500])
            found += [rows.action(row) for row in self._all(select(*rows.ACTION).where(chosen, asked).order_by(table.c.seq))]
        return found

    def unsettled_by(self, connector: str, field: str) -> dict[str, tuple[int, int]]:
        table = schema.outbox
        named = table.c.payload[field].as_string()
        query = select(named, func.count(), func.min(table.c.created_at)).where(
            table.c.connector == connector, table.c.status.in_(_OPEN)
        )
        return {str(row[0] or ""): (int(row[1]), int(row[2])) for row in self._all(query.group_by(named))}

    def count_actions(self) -> dict[str, int]:
        status = schema.outbox.c.status
        return {row[0]: row[1] for row in self._all(select(status, func.count()).group_by(status))}

    def sent_since(self, profile: int, channel: str, since: int) -> int:
        table = schema.outbox
        on_its_way = (ActionStatus.SENT.value, ActionStatus.SENDING.value, ActionStatus.PENDING.value)
        query = select(func.count()).where(
            table.c.profile == profile, table.c.channel == channel, table.c.due > since, table.c.status.in_(on_its_way)
        )
        return int(self._one_action(query)[0])

    # ---- the rest
    def recall_reply(self, key: str) -> tuple[str, Json] | None:
        query = select(schema.reply.c.digest, schema.reply.c.reply).where(schema.reply.c.key == key)
        row = self._one(query, fresh=False)
        return (row.digest, row.reply) if row is not None else None

    def keys(self) -> list[dict[str, Json]]:
        query = select(*schema.api_key.c).order_by(schema.api_key.c.created_at)
        return [dict(row._mapping) for row in self._all(query, fresh=False)]
