"""Subscriptions: which events somebody outside wants to hear of, and the webhook that tells them."""

from __future__ import annotations

from datetime import UTC, datetime

from tailorbird.core.action import Action
from tailorbird.core.definition import Definition
from tailorbird.core.event import Event, Json
from tailorbird.core.ids import digest
from tailorbird.core.profile import Profile

__all__ = ["WEBHOOK", "wants", "webhook_action"]

WEBHOOK = "webhook"
"""The name of the connector and the noun of its actions and outcomes."""


def wants(subscription: Definition, event: Event) -> bool:
    """Return whether the subscription asks for this event.

    ``events`` lists types, ``*`` any and ``order.*`` all of a noun; ``segments`` narrows events that name a segment. What
    becomes of webhooks themselves is never sent by webhook: one failure would breed the next.
    """
    noun = event.type.split(".", 1)[0]
    if noun in (WEBHOOK, "action"):
        return False
    if not {event.type, f"{noun}.*", "*"}.intersection(subscription.spec["events"]):
        return False
    segments = subscription.spec.get("segments")
    return not segments or event.data.get("segment") in segments


def webhook_action(subscription: Definition, event: Event, profile: Profile | None) -> Action:
    """Return the action that posts an event to a subscription: one per (subscription, event), whatever is replayed.

    The body is a Standard Webhooks payload ``{type, timestamp, data}``; ``data`` is the event's own with ``event_id`` and
    the profile's public id and kind. Of the profile nothing else is sent: whoever needs more asks the API for it.
    """
    data: dict[str, Json] = {**event.data, "event_id": event.id}
    if profile is not None:
        data["profile"] = {"id": profile.id, "kind": profile.kind}
    timestamp = datetime.fromtimestamp(event.at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    payload: dict[str, Json] = {
        "url": subscription.spec["url"],
        "secret_env": subscription.spec.get("secret_env"),
        "body": {"type": event.type, "timestamp": timestamp, "data": data},
    }
    return Action(
        key="wh_" + digest("webhook", subscription.name, event.id),
        kind="webhook.post",
        connector=WEBHOOK,
        payload=payload,
        profile=event.profile,
        due=event.received_at,
        created_at=event.received_at,
        cause=event.id,
    )
