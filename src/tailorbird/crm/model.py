"""A record and an activity in neutral words, and what a CRM says to a write."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from tailorbird.core.crm import Contact
from tailorbird.core.event import Json

__all__ = [
    "ACTIVITY_KINDS", "NEUTRAL", "Activity", "ActivityKind", "CrmField", "Logged", "Notice", "Page", "Record", "Row",
    "Subscribed", "WebhookCall", "Written",
]  # fmt: skip


class Record(Contact, frozen=True, kw_only=True):
    """A person as one CRM has them, in neutral words; ``fields`` holds everything that was read, by the CRM's own names.

    ``object`` is the CRM's kind of object (``contact``, ``lead``). ``consents`` holds only what the CRM says: its silence is no
    entry. ``emails`` and ``phones`` begin with the primary one. Times in ms since 1970. ``deleted``: it is gone there, and only
    the id is known for sure.
    """

    object: str = "contact"
    city: str | None = None
    state: str | None = None
    country: str | None = None
    postal_code: str | None = None
    status: str | None = None
    owner: str | None = None
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    created_at: int | None = None
    updated_at: int | None = None
    deleted: bool = False
    fields: dict[str, Json] = {}  # noqa: RUF012  (msgspec copies defaults)

    def value(self, name: str) -> Json:
        """Return a field by its neutral name, or by the CRM's own; None where there is none.

        >>> Record(id="7", first_name="Ann", fields={"plan__c": "pro"}).value("plan__c")
        'pro'
        """
        if name in NEUTRAL:
            found = getattr(self, name)
            return list(found) if isinstance(found, tuple) else found
        return self.fields.get(name)


NEUTRAL: Final = frozenset({
    "email", "phone", "first_name", "last_name", "company", "title", "city", "state", "country", "postal_code", "status", "owner",
    "tags",
})  # fmt: skip
"""The names that mean the same in every CRM; any other is the CRM's own name of a field."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be written of one person: ``values`` by neutral or the CRM's own names; None clears a field.

    ``id`` is the CRM's where it is known; else the person is found by ``match`` (``email``, ``phone``) or made. ``key`` is the
    idempotency key of the write. ``object`` is the kind of object to write, the connector's default where it is empty.
    """

    key: str
    values: Mapping[str, Json]
    id: str | None = None
    match: Mapping[str, str] = {}
    object: str = ""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one row. ``error`` is a code of the taxonomy, "" where it was written; ``detail`` is for people.

    ``dropped`` names the fields that the CRM said it took and did not keep. ``retry_after`` in ms where trying again may help.
    """

    key: str
    id: str | None = None
    created: bool = False
    error: str = ""
    detail: str = ""
    dropped: tuple[str, ...] = ()
    retry_after: int | None = None


class ActivityKind(StrEnum):
    """What can be written into a CRM's timeline."""

    EMAIL_SENT = "email_sent"
    EMAIL_OPENED = "email_opened"
    LINK_CLICKED = "link_clicked"
    PROPERTY_VIEW = "property_view"
    WEBSITE_VISIT = "website_visit"
    FORM_SUBMISSION = "form_submission"
    REPLY_RECEIVED = "reply_received"
    CALL = "call"
    MEETING = "meeting"
    TEXT_MESSAGE = "text_message"
    NOTE = "note"
    TASK = "task"


ACTIVITY_KINDS: Final = frozenset(ActivityKind)


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be written into the timeline of a record. ``key`` is its marker: by it a retry finds the first write.

    ``at`` in ms; of a task it is when it is due. ``data`` holds what the kind has besides: ``url``, ``duration`` (s), ``direction``
    (``in``, ``out``), ``phone``, ``to``, ``from``, ``campaign``, ``status``.
    """

    key: str
    kind: str
    record: str
    at: int
    subject: str = ""
    body: str = ""
    object: str = ""
    data: Mapping[str, Json] = {}


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one activity: its id in the CRM, or an error of the taxonomy. ``found``: an earlier try had written it."""

    key: str
    id: str | None = None
    found: bool = False
    error: str = ""
    detail: str = ""
    retry_after: int | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some records, and the cursor of what follows. ``more``: there is more right now.

    Of changes the cursor is never None: where there is no more, it is where to go on another time. ``total`` where it is known.
    """

    records: tuple[Record, ...]
    cursor: str | None = None
    more: bool = False
    total: int | None = None


class CrmField(msgspec.Struct, frozen=True, kw_only=True):
    """A field of the CRM: its own name, its label, its type in our words (``text number bool time date list``), and who may write."""

    name: str
    label: str
    type: str
    writable: bool = True
    choices: tuple[str, ...] = ()


class WebhookCall(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as it arrived: header names in lower case, ``url`` as the CRM called it, the raw body."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook tells: that a record changed. ``id`` tells notices apart, so that one that comes again counts once."""

    id: str
    record: str
    what: str = "changed"  # changed, deleted, merged, unsubscribed
    object: str = "contact"
    at: int | None = None


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription at the CRM: its id, and when it ends (ms; None: it does not)."""

    id: str
    events: tuple[str, ...] = ()
    expires_at: int | None = None
