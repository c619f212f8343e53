"""Persons of Pipedrive as records, and what is written of them.

Source: Pipedrive API v2, "Persons".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tailorbird.core.event import Json
from tailorbird.crm.model import Record
from tailorbird.crm.port import Filters

__all__ = ["dropped", "fits", "instant", "iso", "needs_held", "record_of", "same_phone", "values_of"]

_PLACE: Final = {"city": "locality", "state": "admin_area_level_1", "country": "country", "postal_code": "postal_code"}
_ARRAYS: Final = {"email": "emails", "phone": "phones"}
_NAMES: Final = ("first_name", "last_name")
_NOWHERE: Final = frozenset({"company", "status"})
_CUSTOM: Final = re.compile(r"[0-9a-f]{40}")
_STATUS: Final = {"unsubscribed": False, "subscribed": True}


def iso(at: int) -> str:
    """Return an instant as the second generation of the API writes it.

    >>> iso(1_800_000_000_999)
    '2027-01-15T08:00:00Z'
    """
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(text: Any) -> int | None:
    """Return a time of either generation in ms; None where there is none.

    >>> instant("2027-01-15T08:00:00Z") == instant("2027-01-15 08:00:00"), instant("soon")
    (True, None)
    """
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def same_phone(one: Any, other: Any) -> bool:
    """Return whether two numbers are one, however they are written."""
    parts = [re.sub(r"\D", "", str(number or ""))[-10:] for number in (one, other)]
    return bool(parts[0]) and parts[0] == parts[1]


def record_of(person: Mapping[str, Any], labels: Mapping[int, str], companies: Mapping[int, str] | None = None) -> Record:
    """Return a person as a record; ``labels`` and ``companies`` are names by id."""
    emails, phones = (_listed(person.get(name)) for name in ("emails", "phones"))
    place: dict[str, Any] = person.get("postal_address") or {}
    where: dict[str, Any] = {ours: place.get(theirs) or None for ours, theirs in _PLACE.items()}
    status = _STATUS.get(str(person.get("marketing_status")))
    own = {**person, **(person.get("custom_fields") or {})}
    own.pop("custom_fields", None)
    owner = person.get("owner_id")
    return Record(
        id=str(person["id"]), email=emails[0] if emails else None, phone=phones[0] if phones else None, emails=emails, phones=phones,
        first_name=person.get("first_name") or None, last_name=person.get("last_name") or None, name=person.get("name") or None,
        company=(companies or {}).get(person.get("org_id") or 0), title=person.get("job_title") or None,
        tags=tuple(labels[id] for id in person.get("label_ids") or () if id in labels), owner=str(owner) if owner else None,
        **where,
        consents={} if status is None else {"email/marketing": status},
        created_at=instant(person.get("add_time")), updated_at=instant(person.get("update_time")),
        deleted=person.get("is_deleted") is True, fields=own,
    )  # fmt: skip


def _listed(entries: Any) -> tuple[str, ...]:
    held = [one for one in entries or () if isinstance(one, dict) and one.get("value")]
    held.sort(key=lambda one: not one.get("primary"))
    return tuple(str(one["value"]) for one in held)


def needs_held(values: Mapping[str, Json]) -> bool:
    """Return whether what is there already has to be known: arrays and addresses are replaced, a name is one field."""
    return any(name in values for name in (*_ARRAYS, *_PLACE)) or len([name for name in _NAMES if name in values]) == 1


def values_of(values: Mapping[str, Json], held: Mapping[str, Any] | None = None) -> tuple[dict[str, Json], tuple[str, ...]]:
    """Return values as Pipedrive takes them, without tags, and the names that it has no place for.

    >>> values_of({"first_name": "Ann", "last_name": "Lee", "status": "new"})
    ({'name': 'Ann Lee'}, ('status',))
    """
    made: dict[str, Json] = {}
    custom: dict[str, Json] = {}
    place: dict[str, Json] = {}
    for name, value in values.items():
        if name in _NOWHERE or name == "tags" or name in _NAMES:
            continue
        if name in _ARRAYS:
            made[_ARRAYS[name]] = _replaced((held or {}).get(_ARRAYS[name]), value)
        elif name in _PLACE:
            place[_PLACE[name]] = value
        elif name == "owner":
            made["owner_id"] = int(value) if isinstance(value, str) and value.isdecimal() else value
        elif _CUSTOM.fullmatch(name):
            custom[name] = None if value == [] else value  # an empty list is refused
        else:
            made["job_title" if name == "title" else name] = value
    if any(name in values for name in _NAMES):
        parts = [values[name] if name in values else (held or {}).get(name) for name in _NAMES]
        made["name"] = " ".join(str(part) for part in parts if part)
    if place:
        made["postal_address"] = {
            **{k: v for k, v in ((held or {}).get("postal_address") or {}).items() if k != "value"},
            **place,
        }
    if custom:
        made["custom_fields"] = custom
    return made, tuple(sorted(_NOWHERE.intersection(values)))


def _replaced(held: Any, value: Json) -> list[Json]:
    entries = [one for one in held or () if isinstance(one, dict)]
    entries.sort(key=lambda one: not one.get("primary"))
    rest = [{**one, "primary": False} for one in entries[1:] if _folded(one.get("value")) != _folded(value)]
    if value is None:
        return [{**one, "primary": place == 0} for place, one in enumerate(rest)]
    return [{"value": value, "primary": True, "label": entries[0].get("label", "work") if entries else "work"}, *rest]


def dropped(wanted: Mapping[str, Json], record: Record) -> tuple[str, ...]:
    """Return the names of values that the answer to a write does not hold."""
    lost = []
    for name, value in wanted.items():
        held = record.value(name)
        if name in _NAMES:  # Pipedrive divides a name in its own way
            kept = _folded(value) in _folded(record.name)
        elif name == "phone":
            kept = same_phone(held, value) if value else not held
        elif isinstance(value, list | tuple):
            kept = _within(value, held)
        elif name == "marketing_status":
            kept = name not in record.fields or _folded(held) == _folded(value)
        else:
            kept = _folded(held) == _folded(value)
        if not kept:
            lost.append(name)
    return tuple(sorted(lost))


def _within(wanted: Any, held: Any) -> bool:
    def shown(one: Any) -> str:
        return _folded(one.get("value", one) if isinstance(one, dict) else one)

    return {shown(one) for one in wanted} <= {shown(one) for one in held or () if held is not None}


def fits(record: Record, filters: Filters) -> bool:
    """Return whether all filters hold for a record."""
    for name, wanted in filters.equals.items():
        held = record.value(name)
        if not (same_phone(held, wanted) if name == "phone" else _folded(held) == _folded(wanted)):
            return False
    for name, parts in filters.contains.items():
        held = record.value(name)
        if not _within(parts, held if isinstance(held, list) else []):
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
