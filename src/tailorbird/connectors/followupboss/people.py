"""People of Follow Up Boss as records, and what is written of them.

Source: docs.followupboss.com, "People".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from tailorbird.core.event import Json
from tailorbird.crm.model import CrmField, Record
from tailorbird.crm.port import Filters

__all__ = [
    "FIELDS",
    "NO_CONTACT",
    "OPT_OUT",
    "dropped",
    "fits",
    "instant",
    "iso",
    "needs_held",
    "record_of",
    "same_phone",
    "values_of",
]

OPT_OUT: Final = {"email": "Do Not Email", "sms": "Do Not Text"}
"""The tag that stands for an opt-out, by channel: Follow Up Boss has no field for it."""

NO_CONTACT: Final = "DNC"
"""A tag that people give by hand; it counts for every channel."""

FIELDS: Final = (
    CrmField(name="id", label="Id", type="number", writable=False), CrmField(name="firstName", label="First name", type="text"),
    CrmField(name="lastName", label="Last name", type="text"), CrmField(name="emails", label="E-mails", type="list"),
    CrmField(name="phones", label="Phones", type="list"), CrmField(name="addresses", label="Addresses", type="list"),
    CrmField(name="tags", label="Tags", type="list"), CrmField(name="stage", label="Stage", type="text"),
    CrmField(name="source", label="Source", type="text", writable=False),
    CrmField(name="assignedUserId", label="Agent's id", type="number"),
    CrmField(name="assignedTo", label="Agent", type="text"), CrmField(name="price", label="Price", type="number"),
    CrmField(name="background", label="Background", type="text"), CrmField(name="contacted", label="Contacted", type="bool"),
    CrmField(name="lastActivity", label="Last activity", type="time", writable=False),
    CrmField(name="created", label="Created", type="time", writable=False),
    CrmField(name="updated", label="Updated", type="time", writable=False),
)  # fmt: skip
"""The fields that every account has; custom ones come besides."""

_PLAIN: Final = {"first_name": "firstName", "last_name": "lastName", "status": "stage"}
_PLACE: Final = {"city": "city", "state": "state", "country": "country", "postal_code": "code"}
_ARRAYS: Final = {"email": "emails", "phone": "phones"}
_NOWHERE: Final = frozenset({"company", "title"})
_TRASH: Final = "Trash"


def iso(at: int) -> str:
    """Return an instant as Follow Up Boss writes it, in whole seconds.

    >>> iso(1_800_000_000_999)
    '2027-01-15T08:00:00Z'
    """
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(text: Any) -> int | None:
    """Return a time in ms; None where there is none.

    >>> instant("2027-01-15T08:00:00Z"), instant("2026-04-28T15:24:07+00:00"), instant(None)
    (1800000000000, 1777389847000, None)
    """
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def same_phone(one: str | None, other: str | None) -> bool:
    """Return whether two numbers are one, however they are written.

    >>> same_phone("+1 (415) 555-0100", "4155550100"), same_phone("", "")
    (True, False)
    """
    parts = [re.sub(r"\D", "", number or "")[-10:] for number in (one, other)]
    return bool(parts[0]) and parts[0] == parts[1]


def record_of(person: Mapping[str, Any]) -> Record:
    """Return a person as a record; one in the trash is deleted."""
    emails, phones = (_listed(person.get(name)) for name in ("emails", "phones"))
    place: dict[str, Any] = next((one for one in person.get("addresses") or () if isinstance(one, dict)), {})
    where: dict[str, Any] = {ours: place.get(theirs) or None for ours, theirs in _PLACE.items()}
    tags = tuple(str(tag) for tag in person.get("tags") or ())
    folded = {tag.casefold() for tag in tags}
    owner = person.get("assignedTo") or person.get("assignedUserId")
    first, last = person.get("firstName") or None, person.get("lastName") or None
    return Record(
        id=str(person["id"]), email=emails[0] if emails else None, phone=phones[0] if phones else None, emails=emails, phones=phones,
        first_name=first, last_name=last, name=person.get("name") or " ".join(part for part in (first, last) if part) or None,
        tags=tags, status=person.get("stage") or None, owner=str(owner) if owner else None,
        **where,
        consents={f"{c}/marketing": False for c, tag in OPT_OUT.items() if folded & {tag.casefold(), NO_CONTACT.casefold()}},
        created_at=instant(person.get("created")), updated_at=instant(person.get("updated")),
        deleted=person.get("stage") == _TRASH, fields=dict(person),
    )  # fmt: skip


def _listed(entries: Any) -> tuple[str, ...]:
    """Return values, the primary one first."""
    held = [one for one in entries or () if isinstance(one, dict) and one.get("value")]
    held.sort(key=lambda one: not one.get("isPrimary"))
    return tuple(str(one["value"]) for one in held)


def needs_held(values: Mapping[str, Json]) -> bool:
    """Return whether what the person has already has to be sent along: these arrays are replaced as a whole."""
    return any(name in values for name in (*_ARRAYS, *_PLACE))


def values_of(values: Mapping[str, Json], held: Mapping[str, Any] | None = None) -> tuple[dict[str, Json], tuple[str, ...]]:
    """Return values as Follow Up Boss takes them, and the names that it has no place for.

    ``held`` is the person as they are: other addresses and numbers than the primary ones are kept.

    >>> values_of({"first_name": "Ann", "company": "Acorn"})
    ({'firstName': 'Ann'}, ('company',))
    """
    made: dict[str, Json] = {}
    place: dict[str, Json] = {}
    for name, value in values.items():
        if name in _NOWHERE:
            continue
        if name in _ARRAYS:
            made[_ARRAYS[name]] = _replaced((held or {}).get(_ARRAYS[name]), value, name)
        elif name in _PLACE:
            place[_PLACE[name]] = value
        elif name == "owner":
            text = str(value if value is not None else "")
            made |= {"assignedUserId": int(text)} if text.isdecimal() else {"assignedTo": value}
        elif name == "tags":
            made["tags"] = list(value) if isinstance(value, list | tuple) else []
        else:
            made[_PLAIN.get(name, name)] = value
    if place:
        before = [one for one in (held or {}).get("addresses") or () if isinstance(one, dict)]
        first: dict[str, Json] = {"type": "home", **(before[0] if before else {}), **place}
        rest: list[Json] = [*before[1:]]
        made["addresses"] = [first, *rest]
    return made, tuple(sorted(_NOWHERE.intersection(values)))


def _replaced(held: Any, value: Json, name: str) -> list[Json]:
    """Return the array with another primary value."""
    entries = [one for one in held or () if isinstance(one, dict)]
    entries.sort(key=lambda one: not one.get("isPrimary"))
    rest = [{**one, "isPrimary": False} for one in entries[1:] if _folded(one.get("value")) != _folded(value)]
    if value is None:
        return [*rest]
    kind = entries[0].get("type", "home") if entries else ("home" if name == "email" else "mobile")
    return [{"value": value, "type": kind, "isPrimary": True}, *rest]


def dropped(wanted: Mapping[str, Json], person: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of values that the answer to a write does not hold."""
    record = record_of(person)
    lost = []
    for name, value in wanted.items():
        held = record.value(name)
        if name == "phone":
            kept = same_phone(record.phone, str(value)) if value else not record.phone
        elif name == "owner":
            kept = str(value) in (str(person.get("assignedUserId")), str(person.get("assignedTo")))
        elif isinstance(value, list | tuple):
            kept = _within(value, held)
        else:
            kept = _folded(held) == _folded(value)
        if not kept:
            lost.append(name)
    return tuple(sorted(lost))


def _within(wanted: Sequence[Json], held: Json) -> bool:
    have = held if isinstance(held, list | tuple) else []

    def shown(one: Json) -> str:
        return _folded(one.get("value", one) if isinstance(one, dict) else one)

    return {shown(one) for one in wanted} <= {shown(one) for one in have}


def fits(record: Record, filters: Filters) -> bool:
    """Return whether all filters hold for a record."""
    for name, wanted in filters.equals.items():
        held = record.value(name)
        if not (same_phone(str(held or ""), str(wanted)) if name == "phone" else _folded(held) == _folded(wanted)):
            return False
    for name, parts in filters.contains.items():
        if not _within(parts, record.value(name)):
            return False
    for name, before in filters.before.items():
        at = instant(record.value(name))
        if at is not None and at >= before:
            return False
    return filters.changed_since is None or (record.updated_at or 0) >= filters.changed_since


def _folded(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).strip().casefold()
