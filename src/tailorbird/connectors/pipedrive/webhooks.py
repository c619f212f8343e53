"""Webhooks of Pipedrive (version 2.0): they show a user and a password that we chose; nothing is signed.

Source: pipedrive.readme.io, "Guide for Webhooks v2".
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from typing import Any, Final

import msgspec

from tailorbird.connectors.pipedrive.persons import instant
from tailorbird.connectors.rest import Refused, RemoteInvalid
from tailorbird.core.context import MINUTE
from tailorbird.crm.model import Notice, WebhookCall

__all__ = ["FRESH", "USER", "notices", "verify"]

USER: Final = "tailorbird"
FRESH: Final = 5 * MINUTE
"""How old a webhook may be: the last of its tries comes three minutes after the first."""


def verify(secret: str, call: WebhookCall, now: int) -> None:
    """Return when a call shows the password and is fresh; else raise ``Refused``."""
    if not secret:
        raise Refused("there is no webhook secret.", hint="Give the connection the secret webhook_secret.")
    wanted = "Basic " + b64encode(f"{USER}:{secret}".encode()).decode()
    if not hmac.compare_digest(call.headers.get("authorization", "").encode(), wanted.encode()):
        raise Refused("the webhook does not show the password.", hint="Check the webhook secret, or subscribe again.")
    try:
        at = instant(_meta(call).get("timestamp"))
    except RemoteInvalid:
        raise Refused("the webhook cannot be read.") from None
    if at is None or abs(now - at) > FRESH:
        raise Refused(f"the webhook is older than {FRESH // MINUTE} minutes, or does not say how old it is.")


def notices(call: WebhookCall) -> list[Notice]:
    """Return what a call tells of a person; of anything else it tells nothing. Raises ``RemoteInvalid``."""
    meta = _meta(call)
    if str(meta.get("version")) != "2.0":
        raise RemoteInvalid("the webhook is not of version 2.0.", hint="Subscribe again.")
    if meta.get("entity") != "person":
        return []
    if not meta.get("entity_id") or not meta.get("id"):
        raise RemoteInvalid("the webhook does not say which person it is about.")
    what = "deleted" if meta.get("action") == "delete" else "changed"
    return [Notice(id=str(meta["id"]), record=str(meta["entity_id"]), what=what, at=instant(meta.get("timestamp")))]


def _meta(call: WebhookCall) -> dict[str, Any]:
    try:
        told = msgspec.json.decode(call.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RemoteInvalid("the webhook is not JSON.") from None
    meta = told.get("meta") if isinstance(told, dict) else None
    if not isinstance(meta, dict):
        raise RemoteInvalid("the webhook is no event.")
    return meta
