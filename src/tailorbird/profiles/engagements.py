"""Engagements: what contacts do, under the names that contact files use and as the events that they are here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tailorbird.core.event import Event

__all__ = ["ENGAGEMENTS", "REPLY_RECEIVED", "engagement_type", "event_type", "is_delivery"]

REPLY_RECEIVED: Final = "reply.received"

ENGAGEMENTS: Final[Mapping[str, str]] = {
    "email_sent": "email.sent",
    "email_opened": "email.opened",
    "link_clicked": "link.clicked",
    "reply_received": REPLY_RECEIVED,
    "website_visit": "website.visited",
    "form_submission": "form.submitted",
    "call_scheduled": "call.scheduled",
    "call_completed": "call.completed",
    "demo_attended": "demo.attended",
}
"""The engagement types by the names that contact files use, and the types of event that they are."""

_BACK: Final = {event: name for name, event in ENGAGEMENTS.items()}


def event_type(engagement: str) -> str:
    """Return the event type of an engagement type; any other name is an event type already.

    >>> event_type("link_clicked"), event_type("LINK_CLICKED"), event_type("webinar.attended")
    ('link.clicked', 'link.clicked', 'webinar.attended')
    """
    return ENGAGEMENTS.get(engagement.strip().lower(), engagement)


def engagement_type(event: str) -> str:
    """Return the name that contact files use for an event type; events that are no such engagement keep theirs.

    >>> engagement_type("demo.attended"), engagement_type("webinar.attended")
    ('demo_attended', 'webinar.attended')
    """
    return _BACK.get(event, event)


def is_delivery(event: Event) -> bool:
    """Return whether an event only says that a question about a person, a webhook or a note to a CRM was delivered: nobody did anything.

    What the outbox tells of messages (``message.sent``, ``email.sent``) is between us and the contact, and is none.
    """
    return event.source == "outbox" and event.type.startswith(("person.", "webhook.", "action.", "crm."))
