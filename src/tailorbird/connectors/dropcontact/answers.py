"""What Dropcontact answers, read into attributes and a word on the address; what breaks the schema is named and left out.

Source: https://developer.dropcontact.com (enrich/all, qualifications).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from tailorbird.core.event import Json
from tailorbird.enrichment.answers import Found, Verification

__all__ = ["ROW", "qualify", "read_record", "row_of"]

ROW: Final = "tailorbird_row"
"""The custom field that carries our name of a row, by which answers find the person they are about."""

Quality = Literal["valid", "valid_personal", "risky", "role", "invalid"]

_PLAIN: Final = {
    "first_name": "first_name", "last_name": "last_name", "full_name": "name", "company": "company", "linkedin": "linkedin_url",
    "country": "country", "siret_city": "city", "industry": "industry", "job": "title", "job_level": "seniority_level",
}  # fmt: skip


def qualify(qualification: Json) -> Quality | None:
    """Return what a qualification ``<local>@<domain>`` says of an address; None where it says nothing known.

    >>> qualify("nominative@pro"), qualify("catch_all@pro"), qualify("generic@pro"), qualify("random@pro"), qualify("?")
    ('valid', 'risky', 'role', 'invalid', None)
    """
    if not isinstance(qualification, str):
        return None
    local, _, domain = qualification.strip().lower().partition("@")
    if local in ("random", "invalid") or domain == "invalid":
        return "invalid"
    if domain not in ("pro", "perso"):
        return None
    found: dict[str, Quality] = {
        "nominative": "valid" if domain == "pro" else "valid_personal", "catch_all": "risky", "non_confirm": "risky",
        "generic": "role",
    }  # fmt: skip
    return found.get(local)


def row_of(record: Json) -> str | None:
    """Return our name of the row that a record answers, None where it does not say."""
    fields = record.get("custom_fields") if isinstance(record, dict) else None
    row = fields.get(ROW) if isinstance(fields, dict) else None
    return row if isinstance(row, str) else None


def read_record(record: Json, asked_email: str | None, *, credits: int) -> Found:
    """Return what a record says of one person, whose address was ``asked_email`` if any."""
    if not isinstance(record, dict):
        return Found(what="failed", raw=record, faults=("data",), reason="Dropcontact's answer broke its schema")
    faults: list[str] = []
    attributes: dict[str, Json] = {}
    for theirs, ours in _PLAIN.items():
        value = record.get(theirs)
        if isinstance(value, str):
            if value.strip():
                attributes[ours] = value
        elif value is not None:
            faults.append(theirs)
    _more(record, attributes, faults)
    addresses = _addresses(record, faults)
    verification = _verdict(addresses, asked_email)
    best = next((email for email, quality in addresses if quality in ("valid", "valid_personal", "risky")), None)
    if best:
        attributes["email"] = best
    found = bool(best) or verification in ("verified", "invalid")
    new = {name: value for name, value in attributes.items() if name not in ("email",)}
    if not found and not new:
        return Found(what="missed", raw=record, faults=tuple(faults), reason="Dropcontact found nothing")
    return Found(
        what="received", attributes=attributes, verification=verification, credits=credits if found else 0, raw=record,
        faults=tuple(faults),
    )  # fmt: skip


def _more(record: Mapping[str, Any], attributes: dict[str, Json], faults: list[str]) -> None:
    phone = record.get("mobile_phone") or record.get("phone")
    if isinstance(phone, str) and phone.strip():
        attributes["phone"] = phone
    elif phone is not None and not isinstance(phone, str):
        faults.append("phone")
    website = record.get("website")
    if isinstance(website, str) and website.strip():
        text = website.strip().lower().removeprefix("https://").removeprefix("http://").removeprefix("www.")
        attributes["domain"] = text.split("/")[0]
    elif website is not None and not isinstance(website, str):
        faults.append("website")
    size = record.get("nb_employees")
    if isinstance(size, str | int) and not isinstance(size, bool) and size:
        attributes["company_size"] = size
    elif size:
        faults.append("nb_employees")


def _addresses(record: Mapping[str, Any], faults: list[str]) -> list[tuple[str, Quality | None]]:
    """Return the addresses in order with what is said of each; it is a list, or not there at all."""
    said = record.get("email")
    if said is None:
        return []
    if not isinstance(said, list):
        faults.append("email")
        return []
    found = []
    for item in said:
        email = item.get("email") if isinstance(item, dict) else None
        if isinstance(email, str) and "@" in email:
            found.append((email.strip().lower(), qualify(item.get("qualification"))))
        else:
            faults.append("email")
    return found


def _verdict(addresses: list[tuple[str, Quality | None]], asked: str | None) -> Verification | None:
    """Return the word on the address that was asked about; another address that was found says nothing of it."""
    if not asked:
        return None
    for email, quality in addresses:
        if email == asked.lower():
            return "verified" if quality in ("valid", "valid_personal") else "invalid" if quality == "invalid" else "unknown"
    return "unknown"
