"""HubSpot's webhooks: signatures of version 3 over method, address, body and time; notices; subscriptions of an app."""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

from tailorbird.connectors.hubspot.answers import body_of
from tailorbird.connectors.rest import Refused, RemoteInvalid, RemoteNotFound, Transport, Unsupported
from tailorbird.core.context import SECOND
from tailorbird.core.event import Json
from tailorbird.crm.model import Notice, Subscribed, WebhookCall

__all__ = ["EVENTS", "FRESH", "notices", "signature", "subscribe", "unsubscribe", "verify"]

FRESH: Final = 300 * SECOND
"""How far the time of a webhook may be from ours, in ms."""

EVENTS: Final = (
    *((f"contact.{what}", "") for what in ("creation", "deletion", "privacyDeletion", "merge", "restore")),
    *(("contact.propertyChange", name) for name in (
        "email", "firstname", "lastname", "phone", "company", "jobtitle", "city", "hs_lead_status", "lifecyclestage",
        "hs_email_optout",
    )),
)  # fmt: skip
"""What is subscribed to: the type, and the property where it is a change of one."""

_DECODED: Final = {
    "%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$", "%27": "'", "%28": "(", "%29": ")", "%2A": "*",
    "%2C": ",", "%3B": ";",
}  # fmt: skip
_ENCODED: Final = re.compile("|".join(_DECODED), re.IGNORECASE)
_CONTACT: Final = "0-1"
_WHAT: Final = {"deletion": "deleted", "privacyDeletion": "deleted", "merge": "merged"}


def signature(secret: str, call: WebhookCall, at: str) -> str:
    """Return the signature that a call has to bear (version 3)."""
    url = _ENCODED.sub(lambda found: _DECODED[found[0].upper()], call.url)
    signed = call.method.upper().encode() + url.encode() + call.body + at.encode()
    return b64encode(hmac.new(secret.encode(), signed, sha256).digest()).decode()


def verify(secret: str, call: WebhookCall, now: int) -> None:
    """Return when the call is HubSpot's and fresh; else raise ``Refused``."""
    if not secret:
        raise Refused("webhooks of HubSpot cannot be checked.", hint="Give the app's client secret as webhook_secret.")
    at = call.headers.get("x-hubspot-request-timestamp", "")
    given = call.headers.get("x-hubspot-signature-v3", "")
    if not hmac.compare_digest(signature(secret, call, at).encode(), given.encode("utf-8", "replace")):
        raise Refused(
            "the signature of the webhook is wrong.", hint="Check webhook_secret, and that the address is the one HubSpot calls."
        )
    if not (at.isdecimal() and len(at) < 16) or abs(now - int(at)) > FRESH:
        raise Refused(f"the webhook is more than {FRESH // SECOND} s old.", hint="Check the clock of this machine.")


def notices(call: WebhookCall) -> list[Notice]:
    """Return what a call tells of contacts; what it tells of other objects is left out."""
    try:
        told = msgspec.json.decode(call.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        told = None
    if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
        raise RemoteInvalid("the webhook of HubSpot is no list of events.")
    try:
        return [notice for one in told for notice in _read(one)]
    except (KeyError, TypeError, ValueError):
        raise RemoteInvalid("an event in the webhook of HubSpot cannot be read.") from None


def _read(told: dict[str, Any]) -> list[Notice]:
    object, _, what = str(told["subscriptionType"]).partition(".")
    if not (object == "contact" or (object == "object" and told.get("objectTypeId") == _CONTACT)):
        return []
    record, at = str(told["objectId"]), int(told["occurredAt"])
    # an eventId alone is not unique
    id = ".".join(str(part) for part in (told.get("eventId"), told.get("subscriptionId"), record, at))
    if what == "merge":
        gone = [str(one) for one in told.get("mergedObjectIds") or () if str(one) != record]
        merged = [Notice(id=f"{id}.{one}", record=one, what="merged", at=at) for one in gone]
        return [*merged, Notice(id=id, record=record, at=at)]
    if told.get("propertyName") == "hs_email_optout" and told.get("propertyValue") == "true":
        return [Notice(id=id, record=record, what="unsubscribed", at=at)]
    return [Notice(id=id, record=record, what=_WHAT.get(what, "changed"), at=at)]


def subscribe(http: Transport | None, app: str, key: str, url: str) -> list[Subscribed]:
    """Have the app's webhooks sent to an address, and subscribe to what is not subscribed to."""
    if http is None:
        raise Unsupported(
            "HubSpot lets only an app with a developer key subscribe.",
            hint="Set app_id and developer_key, or enter the address in the app's own settings.",
        )
    path, params = f"webhooks/v3/{app}", {"hapikey": key}
    settings: Json = {"targetUrl": url, "throttling": {"maxConcurrentRequests": 10, "period": "SECONDLY"}}
    http.request("PUT", f"{path}/settings", params=params, json=settings, safe=True)
    told = body_of(http.request("GET", f"{path}/subscriptions", params=params)).get("results") or ()
    known = {(one["eventType"], one.get("propertyName") or ""): str(one["id"]) for one in told}
    found = []
    for kind, name in EVENTS:
        id = known.get((kind, name))
        if id is None:
            wanted: dict[str, Json] = {"eventType": kind, "active": True, **({"propertyName": name} if name else {})}
            id = str(body_of(http.request("POST", f"{path}/subscriptions", params=params, json=wanted))["id"])
        found.append(Subscribed(id=id, events=(f"{kind}:{name}".rstrip(":"),)))
    return found


def unsubscribe(http: Transport | None, app: str, key: str, subscriptions: Sequence[Subscribed]) -> None:
    """End subscriptions; one that is gone already is no error."""
    if http is None:
        return
    for one in subscriptions:
        try:
            http.request("DELETE", f"webhooks/v3/{app}/subscriptions/{one.id}", params={"hapikey": key}, safe=True)
        except RemoteNotFound:
            continue
