"""Contact and Lead: which of their fields our words mean, and what an answer says of a person.

Source: Object Reference, "Contact", "Lead".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tailorbird.connectors.salesforce.answers import long_id
from tailorbird.connectors.salesforce.soql import read_instant
from tailorbird.core.event import Json
from tailorbird.crm.model import NEUTRAL, CrmField, Record

__all__ = ["CONSENT", "FIELDS", "OBJECTS", "Shown", "field_of", "is_converted", "read_field", "read_record", "wanted"]

OBJECTS: Final[Mapping[str, str]] = {"contact": "Contact", "lead": "Lead"}
"""Our kinds of object and what they are called there."""

FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    "contact": {
        "email": "Email", "phone": "Phone", "first_name": "FirstName", "last_name": "LastName", "company": "Account.Name",
        "title": "Title", "city": "MailingCity", "state": "MailingState", "country": "MailingCountry",
        "postal_code": "MailingPostalCode", "owner": "OwnerId",
    },
    "lead": {
        "email": "Email", "phone": "Phone", "first_name": "FirstName", "last_name": "LastName", "company": "Company",
        "title": "Title", "city": "City", "state": "State", "country": "Country", "postal_code": "PostalCode",
        "status": "Status", "owner": "OwnerId",
    },
}  # fmt: skip
"""What our words mean. A contact has no status; its company is its account's name, and is written by linking the account."""

CORE: Final[Mapping[str, tuple[str, ...]]] = {
    "contact": ("Id", "IsDeleted", "CreatedDate", "SystemModstamp"),
    "lead": ("Id", "IsDeleted", "CreatedDate", "SystemModstamp", "IsConverted"),
}
"""What is always read: without it no record can be told."""

ALSO: Final[Mapping[str, tuple[str, ...]]] = {
    "contact": (
        "Name", "AccountId", "MobilePhone", "HomePhone", "OtherPhone", "LeadSource", "Department", "HasOptedOutOfEmail",
        "HasOptedOutOfFax", "DoNotCall", "IsEmailBounced", "EmailBouncedDate", "LastActivityDate",
    ),
    "lead": (
        "Name", "MobilePhone", "LeadSource", "Industry", "Rating", "Website", "HasOptedOutOfEmail", "HasOptedOutOfFax", "DoNotCall",
        "EmailBouncedDate", "LastActivityDate", "ConvertedContactId",
    ),
}  # fmt: skip
"""What is read besides where the organisation shows it; and every field of its own making."""

CONSENT: Final[Mapping[str, str]] = {"email": "HasOptedOutOfEmail", "phone": "DoNotCall"}
"""The channels of which an opt-out is kept, and the box that is ticked for it."""

TYPES: Final[Mapping[str, str]] = {
    "int": "number", "double": "number", "currency": "number", "percent": "number", "long": "number", "boolean": "bool",
    "datetime": "time", "date": "date", "multipicklist": "list",
}  # fmt: skip
"""Types of fields in our words; any other is text."""

_COMPOUND: Final = frozenset({"address", "location", "base64", "anyType", "complexvalue"})
_PHONES: Final = ("Phone", "MobilePhone", "HomePhone", "OtherPhone")


@dataclass(frozen=True, slots=True)
class Shown:
    """A field that the organisation shows us: in our words, whether it can be asked by, and whether it is an external id."""

    field: CrmField
    filterable: bool
    external: bool


def field_of(object: str, name: str, tags_field: str = "") -> str | None:
    """Return the field that a name means for an object; None for a word of ours that has none there.

    >>> field_of("contact", "city"), field_of("lead", "city"), field_of("contact", "status"), field_of("lead", "Plan__c")
    ('MailingCity', 'City', None, 'Plan__c')
    """
    if name == "tags":
        return tags_field or None
    return FIELDS[object].get(name) if name in NEUTRAL else name


def wanted(object: str, shown: Mapping[str, Shown], only: Sequence[str] = ()) -> list[str]:
    """Return the names to read of an object: those of ours that are shown, and its own (those named by ``only``, if any)."""
    known = (*FIELDS[object].values(), *ALSO[object])
    names = [*CORE[object], *(name for name in known if ("AccountId" if name == "Account.Name" else name) in shown)]
    own = only or [name for name in shown if name.endswith("__c")]
    return list(dict.fromkeys([*names, *(name for name in own if name in shown)]))


def read_field(told: Mapping[str, Any]) -> Shown | None:
    """Return a field as ``describe`` tells it; None for those that are made of others."""
    if told.get("type") in _COMPOUND:
        return None
    choices = tuple(str(item.get("value")) for item in told.get("picklistValues") or () if item.get("active", True))
    field = CrmField(
        name=str(told["name"]), label=str(told.get("label") or told["name"]), type=TYPES.get(str(told.get("type")), "text"),
        writable=bool(told.get("createable") or told.get("updateable")), choices=choices,
    )  # fmt: skip
    return Shown(field, bool(told.get("filterable", True)), bool(told.get("externalId")))


def is_converted(row: Mapping[str, Any]) -> bool:
    """Return whether a lead became a contact: from then on it cannot be written any more."""
    return bool(row.get("IsConverted"))


def read_record(object: str, row: Mapping[str, Any], tags_field: str = "") -> Record:
    """Return a person as a row of an answer tells; what it leaves out is not said of them."""
    flat: dict[str, Json] = {}
    for name, value in row.items():
        if name == "attributes" or value is None:
            continue
        if isinstance(value, dict):  # a related record, such as the account
            flat |= {f"{name}.{inner}": told for inner, told in value.items() if inner != "attributes" and told is not None}
        else:
            flat[name] = value
    texts = {ours: str(flat[theirs]) for ours, theirs in FIELDS[object].items() if theirs in flat}
    email = texts.get("email")
    return Record(
        id=long_id(str(row["Id"])) or str(row["Id"]), object=object, **texts,  # type: ignore[arg-type]
        name=str(flat["Name"]) if "Name" in flat else None,
        tags=tuple(str(flat.get(tags_field) or "").split(";")) if tags_field and flat.get(tags_field) else (),
        emails=(email,) if email else (), phones=tuple(dict.fromkeys(str(flat[name]) for name in _PHONES if name in flat)),
        # A box that is not ticked says nothing: nobody can tell it from one that was never shown.
        consents={f"{channel}/marketing": False for channel, box in CONSENT.items() if flat.get(box) is True},
        created_at=read_instant(row.get("CreatedDate")), updated_at=read_instant(row.get("SystemModstamp")),
        deleted=bool(row.get("IsDeleted")) or is_converted(row), fields=flat,
    )  # fmt: skip
