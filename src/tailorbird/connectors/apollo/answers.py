"""What Apollo answers, read into attributes; fields that break the schema are named and left out.

Source: https://docs.apollo.io/reference/people-enrichment and the OpenAPI document of the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tailorbird.core.event import Json
from tailorbird.enrichment.answers import Found, Verification

__all__ = ["LOCKED", "read_person"]

LOCKED: Final = "email_not_unlocked@"
"""What a placeholder begins with that stands where an address is not paid for."""

_PLAIN: Final = {
    "first_name": "first_name", "last_name": "last_name", "name": "name", "title": "title", "linkedin_url": "linkedin_url",
    "seniority": "seniority_level", "city": "city", "country": "country", "email": "email",
}  # fmt: skip
_COMPANY: Final = {"name": "company", "primary_domain": "domain", "industry": "industry"}


def read_person(person: Json, *, credits: int) -> Found:
    """Return what an answer says of one person; null is a person who is not known there, and costs nothing."""
    if person is None:
        return Found(what="missed", reason="Apollo knows nobody like that")
    if not isinstance(person, dict):
        return Found(what="failed", raw=person, faults=("person",), credits=credits, reason="Apollo's answer broke its schema")
    faults: list[str] = []
    attributes: dict[str, Json] = {}
    _texts(person, _PLAIN, "", attributes, faults)
    if str(attributes.get("email", "")).lower().startswith(LOCKED):
        del attributes["email"]
    company = person.get("organization")
    if isinstance(company, dict):
        _texts(company, _COMPANY, "organization.", attributes, faults)
        size = company.get("estimated_num_employees")
        if isinstance(size, int) and not isinstance(size, bool) and size > 0:
            attributes["company_size"] = size
        elif size is not None:
            faults.append("organization.estimated_num_employees")
    elif company is not None:
        faults.append("organization")
    phone = _phone(person, faults)
    if phone:
        attributes["phone"] = phone
    return Found(
        what="received", attributes=attributes, verification=_verification(person, attributes), credits=credits, raw=person,
        faults=tuple(faults),
    )  # fmt: skip


def _texts(
    source: Mapping[str, Any], names: Mapping[str, str], prefix: str, attributes: dict[str, Json], faults: list[str]
) -> None:
    for theirs, ours in names.items():
        value = source.get(theirs)
        if isinstance(value, str):
            if value.strip():
                attributes[ours] = value
        elif value is not None:
            faults.append(prefix + theirs)


def _phone(person: Mapping[str, Any], faults: list[str]) -> str | None:
    """Return the person's own number: revealed now, or in the team's contacts already."""
    contact = person.get("contact")
    for holder, prefix in ((person, ""), (contact if isinstance(contact, dict) else {}, "contact.")):
        numbers = holder.get("phone_numbers")
        if numbers is None:
            continue
        if not isinstance(numbers, list):
            faults.append(f"{prefix}phone_numbers")
            continue
        for number in numbers:
            said = number.get("sanitized_number") if isinstance(number, dict) else None
            if isinstance(said, str) and said.strip():
                return said
    return None


def _verification(person: Mapping[str, Any], attributes: Mapping[str, Json]) -> Verification | None:
    if "email" not in attributes:
        return None
    status = person.get("email_status")
    return "verified" if status == "verified" else "invalid" if status == "bounced" else "unknown"
