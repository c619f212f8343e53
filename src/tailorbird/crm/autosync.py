"""Which events are written into a CRM's timeline by themselves, and as what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from tailorbird.core.action import Action
from tailorbird.core.event import Event, Json
from tailorbird.core.ids import digest
from tailorbird.core.profile import Profile
from tailorbird.crm.model import ActivityKind

__all__ = ["AUTO", "AutoSync", "Target", "activity_kind", "activity_of"]

AUTO: Final[Mapping[str, ActivityKind]] = {
    "message.sent": ActivityKind.EMAIL_SENT,
    "message.opened": ActivityKind.EMAIL_OPENED,
    "message.clicked": ActivityKind.LINK_CLICKED,
    "email.sent": ActivityKind.EMAIL_SENT,
    "email.opened": ActivityKind.EMAIL_OPENED,
    "email.clicked": ActivityKind.LINK_CLICKED,
    "link.clicked": ActivityKind.LINK_CLICKED,
    "reply.received": ActivityKind.REPLY_RECEIVED,
    "property.viewed": ActivityKind.PROPERTY_VIEW,
    "website.visited": ActivityKind.WEBSITE_VISIT,
    "page.viewed": ActivityKind.WEBSITE_VISIT,
    "form.submitted": ActivityKind.FORM_SUBMISSION,
    "call.completed": ActivityKind.CALL,
    "demo.attended": ActivityKind.MEETING,
    "meeting.held": ActivityKind.MEETING,
    "note.added": ActivityKind.NOTE,
    "task.created": ActivityKind.TASK,
}
"""The activity that each type of event becomes; what is not named stays here."""

_TEXTS: Final = frozenset({"sms", "whatsapp"})
_PASSED_ON: Final = ("url", "duration", "direction", "phone", "to", "from", "campaign", "status")
_LONGEST: Final = 10_000


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A connection that activities are written to by themselves; ``kinds`` are those wanted, empty: all."""

    connection: str
    kinds: frozenset[str] = frozenset()


def activity_kind(event: Event) -> ActivityKind | None:
    """Return what an event becomes in a timeline, None where nothing.

    >>> activity_kind(Event(id="1", type="message.sent", profile=1, at=0, received_at=0, data={"channel": "sms"}))
    <ActivityKind.TEXT_MESSAGE: 'text_message'>
    """
    kind = AUTO.get(event.type)
    if kind is not ActivityKind.EMAIL_SENT or event.type != "message.sent":
        return kind
    channel = event.data.get("channel")
    if channel in _TEXTS:
        return ActivityKind.TEXT_MESSAGE
    return kind if channel in (None, "email") else None


def activity_of(event: Event, kind: ActivityKind, connection: str) -> dict[str, Json]:
    """Return the payload of the action that writes an event into a connection's timeline."""
    said = event.data
    title = _text(said, "subject") or _text(said, "title") or kind.value.replace("_", " ").capitalize()
    body = _text(said, "body") or _text(said, "text") or _text(said, "note") or _text(said, "url") or ""
    data = {name: said[name] for name in _PASSED_ON if said.get(name) is not None}
    return {
        "connection": connection, "kind": str(kind), "subject": title[:255], "body": body[:_LONGEST], "at": event.at, "data": data,
        "auto": True,
    }  # fmt: skip


class AutoSync:
    """A reactor: what happens to people becomes activities in the CRMs that want them.

    ``targets`` is asked for the connections that have it on. The action's key follows from the event's id and the connection. An
    event that came from a connection is not written back there.
    """

    def __init__(self, targets: Callable[[], Sequence[Target]], connector: str, kind: str) -> None:
        self._targets = targets
        self._connector = connector
        self._kind = kind

    def wants(self, type: str) -> bool:
        """Return whether events of this type become activities."""
        return type in AUTO

    def react(self, event: Event, profile: Profile | None) -> Sequence[Action]:
        """Return an action for each connection that wants the event."""
        kind = activity_kind(event)
        if kind is None or not event.profile:
            return ()
        return tuple(
            Action(
                key="crm_" + digest("crm.activity", target.connection, event.id), kind=self._kind, connector=self._connector,
                payload=activity_of(event, kind, target.connection), profile=event.profile, due=event.received_at,
                created_at=event.received_at, cause=event.id,
            )
            for target in self._targets()
            if (not target.kinds or kind in target.kinds) and not _from_there(event, target.connection)
        )  # fmt: skip


def _from_there(event: Event, connection: str) -> bool:
    return event.source in (connection, f"crm:{connection}")


def _text(said: Mapping[str, Json], name: str) -> str:
    value = said.get(name)
    return value.strip() if isinstance(value, str) else ""
