"""What the simulated HubSpot knows of properties: which there are, who may write them, and which values they take."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["ENGAGEMENTS", "LIFECYCLE", "contact_properties", "engagement_properties", "fault_of", "property_of"]

ENGAGEMENTS: Final = {
    "notes": ("hs_note_body",),
    "emails": (
        "hs_email_subject", "hs_email_text", "hs_email_html", "hs_email_direction", "hs_email_status", "hs_email_headers",
    ),
    "calls": (
        "hs_call_title", "hs_call_body", "hs_call_duration", "hs_call_status", "hs_call_direction", "hs_call_to_number",
        "hs_call_from_number", "hs_call_recording_url", "hs_call_disposition",
    ),
    "communications": ("hs_communication_channel_type", "hs_communication_logged_from", "hs_communication_body"),
    "tasks": ("hs_task_subject", "hs_task_body", "hs_task_status", "hs_task_priority", "hs_task_type"),
    "meetings": (
        "hs_meeting_title", "hs_meeting_body", "hs_meeting_start_time", "hs_meeting_end_time", "hs_meeting_outcome",
        "hs_meeting_location",
    ),
}  # fmt: skip
"""The kinds of engagement and what can be written of each, besides what all have."""

LIFECYCLE: Final = (
    "subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer", "evangelist", "other",
)  # fmt: skip
_STATUS: Final = (
    "NEW", "OPEN", "IN_PROGRESS", "OPEN_DEAL", "UNQUALIFIED", "ATTEMPTED_TO_CONTACT", "CONNECTED", "BAD_TIMING",
)  # fmt: skip
_TEXT: Final = (
    "email", "hs_additional_emails", "firstname", "lastname", "phone", "mobilephone", "company", "jobtitle", "city", "state",
    "country", "zip", "hubspot_owner_id",
)  # fmt: skip
_READ_ONLY: Final = {
    "hs_object_id": "number", "createdate": "datetime", "lastmodifieddate": "datetime", "hs_email_optout": "bool",
    "hs_lastmodifieddate": "datetime", "hs_createdate": "datetime",
}  # fmt: skip
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def property_of(
    name: str, type: str = "string", *, options: tuple[str, ...] = (), read_only: bool = False, custom: bool = False,
    field_type: str = "", unique: bool = False, label: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Return a property as HubSpot describes it."""
    return {
        "name": name, "label": label or name.replace("_", " ").title(), "type": type, "description": "",
        "fieldType": field_type or {"enumeration": "select", "number": "number", "bool": "booleancheckbox"}.get(type, "text"),
        "groupName": "contactinformation", "hidden": False, "hubspotDefined": not custom, "hasUniqueValue": unique,
        "calculated": read_only, "formField": False, "archived": False,
        "options": [{"label": option, "value": option, "hidden": False, "displayOrder": n} for n, option in enumerate(options)],
        "modificationMetadata": {"archivable": custom, "readOnlyDefinition": not custom, "readOnlyValue": read_only},
    }  # fmt: skip


def contact_properties() -> dict[str, dict[str, Any]]:
    """Return the properties of contacts: HubSpot's own, and three of the account's."""
    found = [property_of(name, unique=name == "email") for name in _TEXT]
    found += [property_of(name, type, read_only=True) for name, type in _READ_ONLY.items() if not name.startswith("hs_l")]
    found += [
        property_of("hs_lead_status", "enumeration", options=_STATUS),
        property_of("lifecyclestage", "enumeration", options=LIFECYCLE),
        property_of(
            "tailorbird_tags",
            "enumeration",
            options=("lawn", "newsletter", "referral", "snow", "vip", "winback"),
            field_type="checkbox",
            custom=True,
            label="Tags",
        ),
        property_of("last_service_date", "date", custom=True, label="Last service"),
        property_of("lawn_size", "number", custom=True, label="Lawn size"),
    ]
    return {one["name"]: one for one in found}


def engagement_properties(kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of a kind of engagement."""
    found = [property_of(name) for name in (*ENGAGEMENTS[kind], "hs_timestamp", "hubspot_owner_id", "hs_attachment_ids")]
    found += [property_of(name, type, read_only=True) for name, type in _READ_ONLY.items() if name.startswith("hs_")]
    return {one["name"]: one for one in found}


def fault_of(known: dict[str, dict[str, Any]], name: str, value: str) -> tuple[str, str] | None:
    """Return (code, message) of why a property does not take a value; None where it does."""
    told = known.get(name)
    if told is None:
        return "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist'
    if told["modificationMetadata"]["readOnlyValue"]:
        return "READ_ONLY_VALUE", f'"{name}" is a read only property; its value cannot be set.'
    if value == "":
        return None
    if name == "email" and not _EMAIL.fullmatch(value):
        return "INVALID_EMAIL", f"Email address {value} is invalid"
    if told["type"] == "enumeration":
        allowed = {option["value"] for option in told["options"]}
        given = value.strip(";").split(";") if told["fieldType"] == "checkbox" else [value]
        if not set(given) <= allowed:
            return "INVALID_OPTION", f"{value} was not one of the allowed options: {sorted(allowed)}"
    if told["type"] == "number" and not re.fullmatch(r"-?\d+(\.\d+)?", value):
        return "INVALID_LONG", f"{value} was not a valid number."
    return None
