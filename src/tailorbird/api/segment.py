"""Segment's tracking API: its calls as our events, so that the clients people already have work unmodified.

Source: the public specification of Segment's HTTP tracking API (calls identify, track, page, screen, group, alias, batch;
``messageId`` for de-duplication; ``sentAt`` against skewed clocks; 32 KB a call, 500 KB a batch).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import msgspec

from tailorbird.core.context import DAY
from tailorbird.core.event import PROFILE_UPDATED
from tailorbird.errors import InvalidEvent
from tailorbird.expr.read import parse_time
from tailorbird.profiles.normalise import normalise
from tailorbird.runtime.ingest import Incoming

__all__ = ["CALLS", "MAX_BATCH", "MAX_CALL", "Message", "Parcel", "incoming_of"]

CALLS: Final = ("identify", "track", "page", "screen", "group", "alias")
MAX_CALL: Final = 32 * 1024
"""Bytes of one call."""
MAX_BATCH: Final = 500 * 1024
"""Bytes of one batch."""

_MAX_SKEW: Final = 2 * 365 * DAY
"""A client's clock that is wrong by more than this is not corrected: what it says is taken for nonsense."""

Text = str | int | None


class Message(msgspec.Struct, rename="camel", kw_only=True, gc=False):
    """One call as it comes over the wire; what we do not use (integrations, …) is ignored."""

    type: str | None = None
    message_id: str | None = None
    user_id: Text = None
    anonymous_id: Text = None
    event: str | None = None
    name: str | None = None
    category: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    timestamp: str | None = None
    original_timestamp: str | None = None
    sent_at: str | None = None
    group_id: Text = None
    previous_id: Text = None


class Parcel(msgspec.Struct, rename="camel", kw_only=True):
    """The body of ``/v1/batch``; each call is decoded by itself, so that one bad call does not cost the others."""

    batch: list[msgspec.Raw]
    sent_at: str | None = None
    context: dict[str, Any] | None = None


def incoming_of(
    call: str | None, message: Message, *, received_at: int, sent_at: str | None = None, region: str | None = None
) -> list[Incoming]:
    """Return the events that a call stands for (one; two for ``group``: the company and the link to it).

    ``call`` is the path's last part, None in a batch, where the message's own ``type`` says it; ``region`` is the country of
    phone numbers without ``+``. Raises ``InvalidEvent``.
    """
    kind = call or message.type
    identifiers = _identifiers(message)
    at = _instant(message, received_at, message.sent_at or sent_at)
    make: dict[str, Any] = {"id": message.message_id, "at": at, "source": "segment"}
    match kind:
        case "track":
            if not message.event:
                raise InvalidEvent("`event` is missing", hint="a track call names what happened")
            return [Incoming(type=message.event, identifiers=identifiers, data=message.properties or {}, **make)]
        case "page" | "screen":
            return [Incoming(type=f"{kind}.viewed", identifiers=identifiers, data=_seen(message, kind), **make)]
        case "identify":
            traits = message.traits or {}
            _add_contacts(identifiers, traits, region)
            return [Incoming(type=PROFILE_UPDATED, identifiers=identifiers, data={"attributes": traits}, **make)]
        case "alias":
            return [Incoming(type=PROFILE_UPDATED, identifiers=_alias(message, identifiers), data={"attributes": {}}, **make)]
        case "group":
            return _group(message, identifiers, make)
    raise InvalidEvent(f"`type` is {kind!r}", hint=f"it is one of {', '.join(CALLS)}")


def _identifiers(message: Message) -> dict[str, str]:
    found = {}
    if message.user_id is not None and message.user_id != "":
        found["external_id"] = str(message.user_id)
    if message.anonymous_id is not None and message.anonymous_id != "":
        found["anonymous_id"] = str(message.anonymous_id)
    if not found:
        raise InvalidEvent(
            "`userId` and `anonymousId` are both missing", hint="send one of them, so that we know whom it concerns"
        )
    return found


def _add_contacts(identifiers: dict[str, str], traits: dict[str, Any], region: str | None) -> None:
    """Take e-mail and phone out of traits as identifiers too; they stay attributes, which is all that unreadable ones are."""
    for name in ("email", "phone"):
        value = traits.get(name)
        if isinstance(value, str) and value:
            with suppress(InvalidEvent):
                normalise(name, value, region=region)
                identifiers[name] = value


def _alias(message: Message, identifiers: dict[str, str]) -> dict[str, str]:
    """``previousId`` was an anonymous visitor who is now ``userId``: both identifiers on one event join them."""
    if message.previous_id is None or "external_id" not in identifiers:
        raise InvalidEvent("`previousId` or `userId` is missing", hint="an alias call says who became whom")
    return {"external_id": identifiers["external_id"], "anonymous_id": str(message.previous_id)}


def _group(message: Message, identifiers: dict[str, str], make: dict[str, Any]) -> list[Incoming]:
    if message.group_id is None or message.group_id == "":
        raise InvalidEvent("`groupId` is missing", hint="a group call names the company")
    company = str(message.group_id)
    link = Incoming(type=PROFILE_UPDATED, identifiers=identifiers, data={"attributes": {"company_id": company}}, **make)
    if not message.traits:
        return [link]
    twin = {**make, "id": f"{make['id']}:company" if make["id"] else None}
    facts = {"attributes": message.traits}
    return [link, Incoming(type=PROFILE_UPDATED, kind="company", identifiers={"company_id": company}, data=facts, **twin)]


def _seen(message: Message, kind: str) -> dict[str, Any]:
    """A page's own properties, completed by what the browser library puts into ``context.page``."""
    data: dict[str, Any] = {}
    page = (message.context or {}).get("page") if kind == "page" else None
    if isinstance(page, dict):
        data = {k: v for k, v in page.items() if k in ("url", "path", "title", "referrer", "search")}
    data |= message.properties or {}
    if message.name:
        data.setdefault("name", message.name)
    if message.category:
        data.setdefault("category", message.category)
    return data


def _instant(message: Message, received_at: int, sent_at: str | None) -> int | None:
    """Return when it happened by our clock: ``received_at − (sent_at − timestamp)``, as the sender's clock may be wrong."""
    said = message.timestamp if message.timestamp is not None else message.original_timestamp
    if said is None:
        return None
    happened = _parse("timestamp", said)
    if sent_at is None:
        return happened
    skew = received_at - _parse("sentAt", sent_at)
    if abs(skew) > _MAX_SKEW:
        raise InvalidEvent(f"`sentAt` is {skew // DAY} days away from now", hint="set the sender's clock, or leave `sentAt` out")
    return happened + skew


def _parse(field: str, value: str) -> int:
    instant = parse_time(value)
    if instant is None:
        raise InvalidEvent(f"`{field}` is not a time", hint="write it as 2026-01-31T12:00:00.000Z")
    return instant
