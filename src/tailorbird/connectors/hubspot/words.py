"""Our words and HubSpot's: which property is which field, how values are written, and how a contact is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from tailorbird.core.event import Json
from tailorbird.crm.model import NEUTRAL, CrmField, Record

__all__ = ["READ", "Words", "field_of", "instant", "same"]

_NAMES: Final = {
    "email": "email", "phone": "phone", "first_name": "firstname", "last_name": "lastname", "company": "company",
    "title": "jobtitle", "city": "city", "state": "state", "country": "country", "postal_code": "zip",
    "owner": "hubspot_owner_id",
}  # fmt: skip

READ: Final = (
    *_NAMES.values(), "mobilephone", "hs_additional_emails", "hs_lead_status", "lifecyclestage", "hs_email_optout", "createdate",
    "lastmodifieddate",
)  # fmt: skip
"""The properties that are read of every contact."""

_TYPES: Final = {"string": "text", "number": "number", "bool": "bool", "date": "date", "datetime": "time", "enumeration": "text"}


class Words:
    """Translates names and values. ``tags`` and ``status`` are the properties that hold those; no tags where ``tags`` is empty."""

    def __init__(self, *, tags: str = "", status: str = "hs_lead_status") -> None:
        self._names = {**_NAMES, "status": status, **({"tags": tags} if tags else {})}
        self.tags = tags
        self.status = status

    def theirs(self, name: str) -> str | None:
        """Return HubSpot's name of a field; None for a neutral one that it has no property for."""
        return self._names.get(name) if name in NEUTRAL else name

    def properties(self, values: Mapping[str, Json], *, merge: bool = False) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return what to send, and the fields for which there is no property. ``merge`` adds to lists."""
        found, unknown = {}, []
        for name, value in values.items():
            theirs = self.theirs(name)
            if theirs is None:
                unknown.append(name)
            else:
                found[theirs] = _text(value, merge=merge)
        return found, tuple(unknown)

    def dropped(self, values: Mapping[str, Json], sent: Mapping[str, str], kept: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the fields that were sent and that the answer does not hold as they were sent."""
        theirs = {name: self.theirs(name) or "" for name in values}
        return tuple(name for name, t in theirs.items() if t in sent and not same(sent[t], kept.get(t)))

    def record(self, told: Any) -> Record:
        """Return a contact as HubSpot tells it."""
        properties: dict[str, Any] = told.get("properties") or {}
        get = properties.get
        emails = [get("email"), *(get("hs_additional_emails") or "").split(";")]
        names = " ".join(part for part in (get("firstname"), get("lastname")) if part)
        return Record(
            id=str(told["id"]), email=get("email") or None, phone=get("phone") or get("mobilephone") or None,
            first_name=get("firstname") or None, last_name=get("lastname") or None, name=names or None,
            company=get("company") or None, title=get("jobtitle") or None, city=get("city") or None, state=get("state") or None,
            country=get("country") or None, postal_code=get("zip") or None, status=get(self.status) or None,
            owner=get("hubspot_owner_id") or None,
            tags=tuple(one for one in (get(self.tags) or "").split(";") if one) if self.tags else (),
            # "false" says no more than that nobody opted out: no consent follows from it
            consents={"email/marketing": False} if get("hs_email_optout") == "true" else {},
            emails=tuple(dict.fromkeys(one for one in emails if one)),
            phones=tuple(dict.fromkeys(one for one in (get("phone"), get("mobilephone")) if one)),
            created_at=instant(told.get("createdAt")), updated_at=instant(get("lastmodifieddate") or told.get("updatedAt")),
            deleted=bool(told.get("archived")), fields={name: value for name, value in properties.items() if value is not None},
        )  # fmt: skip


def _text(value: Json, *, merge: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence) and not isinstance(value, str):
        joined = ";".join(str(one) for one in value)
        return f";{joined}" if merge and joined else joined  # a leading semicolon adds to what is there
    return str(value)


def same(sent: str, kept: Any) -> bool:
    """Return whether a property holds what was sent, however HubSpot writes it.

    >>> same("Ann@X.example", "ann@x.example"), same(";b", "a;b"), same("", None), same("5", "5.0"), same("CEO", None)
    (True, True, True, True, False)
    """
    held = "" if kept is None else str(kept)
    if sent.strip().casefold() == held.strip().casefold():
        return True
    if ";" in sent:
        given = {one.casefold() for one in sent.split(";") if one}
        have = {one.casefold() for one in held.split(";")}
        return given <= have if sent.startswith(";") else given == have
    one, other = _number(sent), _number(held)
    return one is not None and one == other


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return instant(text)


def instant(text: str | None) -> int | None:
    """Return an instant in ms from ISO text or ms; None for what is neither.

    >>> instant("2027-01-15T08:00:00.123Z"), instant("1800000000123"), instant("soon")
    (1800000000123, 1800000000123, None)
    """
    if not text:
        return None
    if text.isdecimal():
        return int(text)
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round((told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() * 1000)


def field_of(told: Any) -> CrmField:
    """Return a property as a field."""
    changed = told.get("modificationMetadata") or {}
    return CrmField(
        name=told["name"], label=told.get("label") or told["name"],
        type="list" if told.get("fieldType") == "checkbox" else _TYPES.get(told.get("type"), "text"),
        writable=not (changed.get("readOnlyValue") or told.get("calculated")),
        choices=tuple(option["value"] for option in told.get("options") or ()),
    )  # fmt: skip
