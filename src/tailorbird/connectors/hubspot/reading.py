"""Reading contacts: by id and address, by search, and what changed; never by offsets, which skip whoever changes meanwhile.

A search gives at most 10,000 results, however it is paged, and sees a change only some moments later. So every page is a search of
its own that begins behind the last one (by time, by id within one instant), and what is read next begins some minutes earlier.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tailorbird.connectors.hubspot.answers import path_of
from tailorbird.connectors.hubspot.link import Link
from tailorbird.connectors.hubspot.words import Words, instant
from tailorbird.connectors.rest import RemoteInvalid
from tailorbird.core.context import MINUTE, Clock
from tailorbird.core.event import Json
from tailorbird.crm.model import Page, Record
from tailorbird.crm.port import Filters

__all__ = ["OVERLAP", "Reading"]

OVERLAP: Final = 2 * MINUTE
"""How far back reading begins anew: searches see a change only some moments after it."""

_PAGE: Final = 200
_LIST_PAGE: Final = 100
_URL: Final = 4_000
_IN_GROUP: Final = 6
_IN_ALL: Final = 18
_GROUPS: Final = 4


class _Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where reading stands. ``full``: all are read, by id, behind ``id``; then from ``at`` on. Else those changed since ``at`` are
    read; ``tie``: those changed at that very instant, behind ``id``. ``seen`` are those of that instant that were given."""

    at: int
    full: bool = False
    tie: bool = False
    id: int = 0
    seen: tuple[str, ...] = ()


class Reading:
    """Reads contacts."""

    def __init__(self, link: Link, words: Words, clock: Clock) -> None:
        self._link = link
        self._words = words
        self._clock = clock

    def by(self, values: list[str], *, name: str = "") -> list[Record]:
        """Return the contacts with these ids, or these values of a unique property; it sees what was written just now."""
        body: dict[str, Json] = {"inputs": [{"id": one} for one in values], "properties": list(self._link.read())}
        body |= {"propertiesWithHistory": [], **({"idProperty": name} if name else {})}
        told = self._link.send("POST", path_of("contacts", "batch", "read"), json=body, safe=True)
        return [self._words.record(one) for one in told.get("results") or ()]

    def by_phone(self, phone: str) -> list[Record]:
        """Return the contacts with a number, written as HubSpot has it."""
        groups: list[Json] = [{"filters": [_filter(name, "EQ", phone)]} for name in ("phone", "mobilephone")]
        told = self._search({"filterGroups": groups, "limit": _PAGE})
        return [self._words.record(one) for one in told["results"]]

    def search(self, text: str, limit: int) -> list[Record]:
        """Return contacts in which HubSpot's search finds the text."""
        told = self._search({"query": text[:3_000], "limit": max(1, min(limit, _PAGE))})
        return [self._words.record(one) for one in told["results"]]

    def query(self, filters: Filters, cursor: str | None, limit: int) -> Page:
        """Return the contacts for whom the filters hold, by id."""
        if cursor is not None and not cursor.isdecimal():
            raise RemoteInvalid("the cursor of a query to HubSpot is none that it gave.")
        limit = max(1, min(limit, _PAGE))
        after = _filter("hs_object_id", "GT", cursor or "0")
        groups = self._groups(filters, after)
        told = self._search({"filterGroups": groups, "sorts": ["hs_object_id"], "limit": limit})
        results = told["results"]
        more = len(results) == limit
        found = [record for one in results if _holds(filters, record := self._words.record(one))]
        exact = len(found) == len(results) and cursor is None
        return Page(
            records=tuple(found),
            cursor=results[-1]["id"] if more else None,
            more=more,
            total=told.get("total") if exact else None,
        )

    def changes(self, cursor: str | None, limit: int) -> Page:
        """Return a page of all, then of what changed."""
        now = self._clock.now()
        if cursor is None:
            place = _Cursor(at=now - OVERLAP, full=True)
        else:
            try:
                place = msgspec.json.decode(cursor, type=_Cursor)
            except msgspec.MsgspecError:
                raise RemoteInvalid("the cursor of changes at HubSpot is none that it gave.") from None
        if place.full:
            return self._all(place, limit)
        return self._tie(place, limit) if place.tie else self._since(place, limit, now)

    def _all(self, place: _Cursor, limit: int) -> Page:
        names = ",".join(self._link.read())
        if len(names) <= _URL:
            size = max(1, min(limit, _LIST_PAGE))
            params = {"limit": str(size), "properties": names, **({"after": str(place.id)} if place.id else {})}
            told = self._link.send("GET", path_of("contacts"), params=params)
            after = ((told.get("paging") or {}).get("next") or {}).get("after")
        else:  # too many for an address; a search takes them in its body
            size = max(1, min(limit, _PAGE))
            groups: list[Json] = [{"filters": [_filter("hs_object_id", "GT", str(place.id))]}]
            told = self._search({"filterGroups": groups, "sorts": ["hs_object_id"], "limit": size})
            after = told["results"][-1]["id"] if len(told["results"]) == size else None
        following = _Cursor(at=place.at) if after is None else msgspec.structs.replace(place, id=int(after))
        return self._page(told["results"], following, more=after is not None)

    def _since(self, place: _Cursor, limit: int, now: int) -> Page:
        size = max(2, min(limit + len(place.seen), _PAGE))
        groups: list[Json] = [{"filters": [_filter("lastmodifieddate", "GTE", str(place.at))]}]
        told = self._search({"filterGroups": groups, "sorts": ["lastmodifieddate"], "limit": size})
        results = told["results"]
        new = [one for one in results if one["id"] not in place.seen]
        if len(results) < size:
            return self._page(new, _Cursor(at=max(place.at, now - OVERLAP)), more=False)
        last = _changed(results[-1])
        if last <= place.at:  # a whole page of one instant: on by id
            return self._page([], _Cursor(at=place.at, tie=True), more=True)
        seen = tuple(one["id"] for one in results if _changed(one) == last)
        return self._page(new, _Cursor(at=last, seen=seen), more=True)

    def _tie(self, place: _Cursor, limit: int) -> Page:
        size = max(1, min(limit, _PAGE))
        filters = [_filter("lastmodifieddate", "EQ", str(place.at)), _filter("hs_object_id", "GT", str(place.id))]
        told = self._search({"filterGroups": [{"filters": filters}], "sorts": ["hs_object_id"], "limit": size})
        results = told["results"]
        if len(results) < size:
            return self._page(results, _Cursor(at=place.at + 1), more=True)
        return self._page(results, _Cursor(at=place.at, tie=True, id=int(results[-1]["id"])), more=True)

    def _page(self, results: list[Any], following: _Cursor, *, more: bool) -> Page:
        records = tuple(self._words.record(one) for one in results)
        return Page(records=records, cursor=msgspec.json.encode(following).decode(), more=more)

    def _search(self, body: dict[str, Json]) -> dict[str, Any]:
        told = self._link.search("contacts", {**body, "properties": list(self._link.read())})
        return {**told, "results": told.get("results") or []}

    def _groups(self, filters: Filters, after: Json) -> list[Json]:
        """Return the filters that HubSpot can be asked, as many as it takes; the rest is checked on what it answers."""
        common = [after]
        if filters.changed_since is not None:
            common.append(_filter("lastmodifieddate", "GTE", str(filters.changed_since)))
        for name, value in filters.equals.items():
            theirs = self._words.theirs(name)
            if theirs is not None and isinstance(value, str | int | float) and value != "":
                common.append(_filter(theirs, "EQ", str(value).lower() if isinstance(value, bool) else str(value)))
        for name, parts in filters.contains.items():
            theirs = self._words.theirs(name)
            common += [_filter(theirs, "CONTAINS_TOKEN", part) for part in parts if theirs and part.isalnum()]
        groups = [common[: _IN_GROUP - 2]]
        for name, instant_ in list(filters.before.items())[:2]:
            theirs = self._words.theirs(name) or name
            either = (_filter(theirs, "LT", str(instant_)), _filter(theirs, "NOT_HAS_PROPERTY"))
            longer = [[*group, one] for group in groups for one in either]
            if len(longer) <= _GROUPS and sum(map(len, longer)) <= _IN_ALL:
                groups = longer
        return [{"filters": group} for group in groups]


def _filter(name: str, operator: str, value: str | None = None) -> dict[str, Json]:
    told: dict[str, Json] = {"propertyName": name, "operator": operator}
    return told if value is None else {**told, "value": value}


def _changed(told: Any) -> int:
    return instant((told.get("properties") or {}).get("lastmodifieddate") or told.get("updatedAt")) or 0


def _holds(filters: Filters, record: Record) -> bool:
    for name, wanted in filters.equals.items():
        if not _equal(record.value(name), wanted):
            return False
    for name, parts in filters.contains.items():
        if not set(parts) <= set(_parts(record.value(name))):
            return False
    for name, before in filters.before.items():
        held = record.value(name)
        at = None if held is None else instant(str(held))
        if at is not None and at >= before:
            return False
    return filters.changed_since is None or (record.updated_at or 0) >= filters.changed_since


def _equal(held: Json, wanted: Json) -> bool:
    if held is None or wanted is None:
        return not held and not wanted
    if isinstance(wanted, bool):
        return bool(held == ("true" if wanted else "false"))
    if isinstance(wanted, int | float):
        try:
            return float(str(held)) == float(wanted)
        except ValueError:
            return False
    return str(held) == wanted if isinstance(wanted, str) else bool(held == wanted)


def _parts(held: Json) -> list[str]:
    if isinstance(held, str):
        return held.split(";")
    return [str(one) for one in held] if isinstance(held, list) else []
