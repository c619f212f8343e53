"""Zoho's notifications: a channel's name, whether a call is its own, and which records it is about."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Any, Final

import msgspec

from tailorbird.connectors.rest import Refused, RemoteInvalid
from tailorbird.connectors.zoho.answers import MODULES
from tailorbird.core.context import DAY, MINUTE
from tailorbird.crm.model import Notice, WebhookCall

__all__ = ["EVENTS", "LASTING", "channel", "parse", "verify"]

EVENTS: Final = tuple(f"{module}.{what}" for module in MODULES for what in ("create", "edit", "delete"))
LASTING: Final = 6 * DAY
"""How long a channel is asked for: Zoho gives a week at most."""

_FRESH: Final = 5 * MINUTE


def channel(url: str) -> str:
    """Return the number of the channel to an address, the same each time.

    >>> channel("https://us.example/hook") == channel("https://us.example/hook"), channel("a").isdecimal()
    (True, True)
    """
    return str(10**15 + int(sha256(url.encode()).hexdigest(), 16) % 10**15)


def verify(secret: str, call: WebhookCall, now: int) -> None:
    """Return when a call carries the channel's token and is fresh; else raise ``Refused``."""
    body = _body(call)
    token = body.get("token")
    if not secret:
        raise Refused("there is no webhook secret.", hint="Give the connection the secret webhook_secret.")
    if not isinstance(token, str) or not hmac.compare_digest(token.encode(errors="replace"), secret.encode()):
        raise Refused("the webhook does not carry the token of its channel.", hint="Subscribe again.")
    sent = body.get("server_time")
    if type(sent) is not int or abs(now - sent) > _FRESH:
        raise Refused("the webhook is older than five minutes, or does not say how old it is.")


def parse(call: WebhookCall) -> list[Notice]:
    """Return a notice for each record; raises ``RemoteInvalid`` for what cannot be read."""
    body = _body(call)
    ids, module, sent = body.get("ids"), body.get("module"), body.get("server_time")
    if not isinstance(ids, list) or module not in MODULES:
        raise RemoteInvalid("Zoho's webhook does not say which records it is about.")
    what = "deleted" if body.get("operation") == "delete" else "changed"
    mark = f"{body.get('channel_id')}.{sent}.{body.get('operation')}"
    at = sent if type(sent) is int else None
    return [Notice(id=f"{mark}.{id}", record=str(id), what=what, object=str(module), at=at) for id in ids]


def _body(call: WebhookCall) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(call.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = None
    if not isinstance(found, dict):
        raise RemoteInvalid("Zoho's webhook is no JSON object.")
    return found
