"""Webhooks of a custom connector: whether one is genuine, and what it tells."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import urlsplit

import msgspec

from tailorbird.connectors.custom.spec import WebhookSpec
from tailorbird.connectors.custom.values import read, transformed
from tailorbird.connectors.rest.errors import Refused, RemoteInvalid
from tailorbird.core.event import Json
from tailorbird.crm.model import Notice, WebhookCall

__all__ = ["notices", "verify"]

_WHAT = ("changed", "deleted", "merged", "unsubscribed")


def verify(spec: WebhookSpec, secret: str, call: WebhookCall, now: int) -> None:
    """Return when a call is genuine and fresh; else raise ``Refused``. Everything is compared in constant time."""
    if not secret:
        raise Refused("there is no webhook secret.", hint="Give the connection the secret webhook_secret.")
    at = call.headers.get(spec.time_header, "") if spec.time_header else ""
    given, wanted = _shown(spec, secret, call, at)
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Refused("the webhook does not show that it is the CRM's own.", hint="Check the webhook secret of the connection.")
    if spec.time_header:
        sent = int(at) * spec.time_unit if at.isdecimal() and len(at) < 16 else None
        if sent is None or abs(now - sent) > spec.tolerance * 1000:
            raise Refused(f"the webhook is older than {spec.tolerance} s, or does not say how old it is.")


def _shown(spec: WebhookSpec, secret: str, call: WebhookCall, at: str) -> tuple[str, str]:
    """Return what the call shows and what it would have to."""
    header = call.headers.get(spec.header or "authorization", "")
    match spec.verify:
        case "hmac":
            before, _, after = spec.payload.partition("{body}")
            values = {"time": at, "method": call.method, "url": call.url}
            signed = _filled(before, values) + call.body + _filled(after, values)
            raw = hmac.new(secret.encode(), signed, spec.algorithm)
            text = raw.hexdigest() if spec.encoding == "hex" else b64encode(raw.digest()).decode()
            return header, spec.prefix + text
        case "basic":
            return header, "Basic " + b64encode(f"{spec.user}:{secret}".encode()).decode()
        case "path_secret":
            return urlsplit(call.url).path.rpartition("/")[2], secret
        case "shared_token":
            return (header if not spec.path else str(read(spec.path, _json(call)) or "")), secret


def _filled(template: str, values: Mapping[str, str]) -> bytes:
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template.encode()


def notices(spec: WebhookSpec, call: WebhookCall) -> list[Notice]:
    """Return what a call tells; raises ``RemoteInvalid`` for what cannot be read."""
    found = read(spec.events, _json(call))
    told = []
    for place, event in enumerate(found if isinstance(found, list) else [found]):
        record = read(spec.record, event)
        if not isinstance(event, dict) or not isinstance(record, str | int) or isinstance(record, bool):
            raise RemoteInvalid("the webhook does not say which record it is about.")
        said = str(read(spec.type, event)) if spec.type else ""
        what = spec.types.get(said, said)
        id = read(spec.id, event) if spec.id else None
        at = transformed(read(spec.at, event), ("date",)) if spec.at else None
        told.append(Notice(
            id=str(id) if id is not None else sha256(call.body).hexdigest()[:32] + f".{place}", record=str(record),
            what=what if what in _WHAT else "changed", at=at if isinstance(at, int) else None,
        ))  # fmt: skip
    return told


def _json(call: WebhookCall) -> Json:
    try:
        return msgspec.json.decode(call.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RemoteInvalid("the webhook is not JSON.") from None
