"""Webhooks of Follow Up Boss: signed with the key of the system that subscribed.

Source: docs.followupboss.com, "Webhooks".
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from hashlib import sha256
from typing import Any, Final

import msgspec

from tailorbird.connectors.followupboss.people import instant
from tailorbird.connectors.rest import Refused, RemoteInvalid
from tailorbird.core.context import HOUR
from tailorbird.crm.model import Notice, WebhookCall

__all__ = ["EVENTS", "FRESH", "notices", "signature", "verify"]

EVENTS: Final = ("peopleCreated", "peopleUpdated", "peopleDeleted", "peopleTagsCreated", "peopleStageUpdated")
"""What is subscribed to; each takes a hook of its own."""

FRESH: Final = 24 * HOUR
"""How old a webhook may be: one that could not be delivered comes again for hours, with the time it was made at."""


def signature(key: str, body: bytes) -> str:
    """Return what the header ``FUB-Signature`` has to hold: it is made over the body in base64.

    >>> signature("k", b"{}")[:16]
    'fc4712595909549a'
    """
    return hmac.new(key.encode(), b64encode(body), sha256).hexdigest()


def verify(key: str, call: WebhookCall, now: int) -> None:
    """Return when a call is signed with the key and fresh; else raise ``Refused``."""
    if not key:
        raise Refused("there is no system key to check the webhook by.", hint="Give the connection its X-System-Key.")
    given = call.headers.get("fub-signature", "").removeprefix("sha256=")
    if not hmac.compare_digest(given.encode(), signature(key, call.body).encode()):
        raise Refused("the signature of the webhook is wrong.", hint="Check the X-System-Key of the connection.")
    try:
        told = _payloads(call)
    except RemoteInvalid:
        raise Refused("the webhook cannot be read.") from None
    for one in told:
        at = instant(one.get("eventCreated"))
        if at is None or abs(now - at) > FRESH:
            raise Refused(f"the webhook is older than {FRESH // HOUR} h, or does not say how old it is.")


def notices(call: WebhookCall) -> list[Notice]:
    """Return what a call tells of people; calls about anything else tell nothing. Raises ``RemoteInvalid``."""
    found = []
    for one in _payloads(call):
        event, ids = str(one.get("event") or ""), one.get("resourceIds")
        if not event.startswith("people") or event.startswith("peopleRelationship"):
            continue
        if not isinstance(ids, list) or not one.get("eventId"):
            raise RemoteInvalid("the webhook does not say which people it is about.")
        what = "deleted" if event == "peopleDeleted" else "changed"
        at = instant(one.get("eventCreated"))
        found += [Notice(id=f"{one['eventId']}.{id}", record=str(id), what=what, at=at) for id in ids]
    return found


def _payloads(call: WebhookCall) -> list[dict[str, Any]]:
    """Return the payloads of a call: it is one, or a list of them."""
    try:
        told = msgspec.json.decode(call.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RemoteInvalid("the webhook is not JSON.") from None
    found = told if isinstance(told, list) else [told]
    if not all(isinstance(one, dict) for one in found):
        raise RemoteInvalid("the webhook is no event.")
    return found
