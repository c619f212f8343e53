"""Reading people: by id, by words, by filters, and what changed since a cursor.

Source: SOQL and SOSL Reference; REST API Developer Guide, "Query", "QueryAll", "Search".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from tailorbird.connectors.rest import RemoteInvalid
from tailorbird.connectors.salesforce.answers import VENDOR, long_id, object_of
from tailorbird.connectors.salesforce.filters import check_names, conditions, fits
from tailorbird.connectors.salesforce.matching import alive, people_where
from tailorbird.connectors.salesforce.objects import OBJECTS, is_converted, read_record, wanted
from tailorbird.connectors.salesforce.org import Org
from tailorbird.connectors.salesforce.soql import finding, instant, literal, read_instant, select
from tailorbird.core.context import MINUTE, Clock
from tailorbird.crm.model import Page, Record
from tailorbird.crm.port import Filters

__all__ = ["Reader"]

OVERLAP: Final = MINUTE
"""What is younger is read once more: a long transaction shows with the time at which it began, and clocks differ."""

_ORDER: Final = ("SystemModstamp", "Id")


class _Reached(msgspec.Struct, forbid_unknown_fields=True):
    """Where reading changes stands: per object the (stamp, id) read last; ``begun``: in ms, of the first reading."""

    begun: int
    at: dict[str, tuple[int, str]] = {}
    turn: str = ""
    whole: bool = False


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    """Where a query stands: the object, and the id read last."""

    object: str
    after: str = ""


class Reader:
    """Reads people of one organisation. ``objects`` are the kinds in use, ``only`` the own fields to read (none: all)."""

    def __init__(self, org: Org, objects: Sequence[str], *, tags_field: str, only: Sequence[str], clock: Clock) -> None:
        self._org = org
        self._objects = objects
        self._tags = tags_field
        self._only = (*only, tags_field) if only and tags_field else only
        self._clock = clock

    def get(self, id: str, object: str) -> Record | None:
        """Return a record; None for one that is gone, or a lead that became a contact."""
        kind, full = object_of(id), long_id(id)
        if kind is None or full is None or (object and object != kind):
            return None
        rows = self._org.ask(select(self._names(kind), OBJECTS[kind], where=[f"Id = {literal(full)}", *alive(kind)]))
        return self._record(kind, rows[0]) if rows else None

    def find(self, email: str | None, phone: str | None) -> list[Record]:
        """Return those with this address or number, the oldest first, contacts before leads."""
        found: list[Record] = []
        for kind in self._objects:
            where = people_where(self._org.shown(kind), email, phone)
            if where is not None:
                question = select(
                    self._names(kind), OBJECTS[kind], where=[where, *alive(kind)], order=["CreatedDate", "Id"], limit=200
                )
                found += [self._record(kind, row) for row in self._org.ask(question)]
        return found

    def search(self, text: str, limit: int) -> list[Record]:
        """Return those in whom Salesforce finds the words; the last word may be a beginning."""
        limit = max(1, min(limit, 2_000))
        returning = [(OBJECTS[kind], self._names(kind), " AND ".join(alive(kind))) for kind in self._objects]
        question = finding(text, returning, limit=limit)
        if question is None:
            return []
        kinds = {theirs: ours for ours, theirs in OBJECTS.items()}
        rows = self._org.search(question)
        return [self._record(kinds[row["attributes"]["type"]], row) for row in rows if row["attributes"]["type"] in kinds][:limit]

    def query(self, filters: Filters, cursor: str | None, limit: int) -> Page:
        """Return those for whom all filters hold, by id."""
        reached = _decoded(cursor, _Asked) if cursor else _Asked(object=self._objects[0])
        if reached.object not in self._objects:
            raise _unreadable()
        shown = {kind: self._org.shown(kind) for kind in self._objects}
        check_names(filters, shown, self._tags)
        found: list[Record] = []
        room = max(1, min(limit, 2_000))
        for kind in self._objects[self._objects.index(reached.object) :]:
            after = reached.after if kind == reached.object else ""
            asked = conditions(kind, filters, shown[kind], self._tags)
            if asked is None:
                continue
            where = [*asked, *alive(kind), *([f"Id > {literal(after)}"] if after else [])]
            rows = self._org.ask(select(self._names(kind), OBJECTS[kind], where=where, order=["Id"], limit=room))
            found += [record for row in rows if fits(record := self._record(kind, row), filters)]
            room -= len(rows)
            if room <= 0:
                return Page(records=tuple(found), cursor=_encoded(_Asked(object=kind, after=str(rows[-1]["Id"]))), more=True)
        return Page(records=tuple(found))

    def changes(self, cursor: str | None, limit: int) -> Page:
        """Return what was made, changed or deleted since, in the order of its last change; a lead that became a contact is gone."""
        now = self._clock.now()
        reached = _decoded(cursor, _Reached) if cursor else _Reached(begun=now)
        found: list[Record] = []
        room = max(1, min(limit, 2_000))
        first = self._objects.index(reached.turn) if reached.turn in self._objects else 0
        for kind in self._objects[first:]:
            rows = self._changed(kind, reached.at.get(kind), room)
            found += [record for row in rows if self._counts(record := self._record(kind, row), row, reached)]
            room -= len(rows)
            if rows:
                reached.at[kind] = (read_instant(rows[-1]["SystemModstamp"]) or 0, str(rows[-1]["Id"]))
            if room <= 0:
                reached.turn = kind
                return Page(records=tuple(found), cursor=_encoded(reached), more=True)
            at = reached.at.get(kind)
            if at is None or at[0] > now - OVERLAP:
                reached.at[kind] = (now - OVERLAP, "")
        reached.turn, reached.whole = "", True
        return Page(records=tuple(found), cursor=_encoded(reached))

    def _changed(self, kind: str, at: tuple[int, str] | None, room: int) -> list[dict[str, Any]]:
        where = []
        if at is not None:
            stamp, last = instant(at[0]), at[1]
            same = f" OR (SystemModstamp = {stamp} AND Id > {literal(last)})" if last else ""
            where = [f"(SystemModstamp {'>' if last else '>='} {stamp}{same})"]
        return self._org.ask(select(self._names(kind), OBJECTS[kind], where=where, order=_ORDER, limit=room), everything=True)

    def _counts(self, record: Record, row: Mapping[str, Any], reached: _Reached) -> bool:
        """Return whether a record is told of: who was gone before the first reading began was never here."""
        if not record.deleted or reached.whole:
            return True
        return (record.updated_at or 0) >= reached.begun - OVERLAP and not is_converted(row)

    def _record(self, kind: str, row: Mapping[str, Any]) -> Record:
        return read_record(kind, row, self._tags)

    def _names(self, kind: str) -> list[str]:
        return wanted(kind, self._org.shown(kind), self._only)


def _encoded(reached: _Reached | _Asked) -> str:
    return msgspec.json.encode(reached).decode()


def _decoded(cursor: str, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(cursor, type=kind)
    except msgspec.DecodeError:
        raise _unreadable() from None


def _unreadable() -> RemoteInvalid:
    return RemoteInvalid(f"{VENDOR}: the cursor cannot be read.", hint="Read from the beginning: give no cursor.")
