"""Slack: posts a text to an incoming webhook, for what people must know at once.

Source: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from tailorbird.connectors.webhook import WebhookConnector
from tailorbird.core.action import Action, Outcome

if TYPE_CHECKING:
    import httpx2

    from tailorbird.connectors.reach import Resolve

__all__ = ["SLACK", "VARIABLE", "SlackConnector"]

SLACK: Final = "slack"
"""The name of the connector."""

VARIABLE: Final = "TAILORBIRD_SLACK_WEBHOOK"
"""The environment variable with the address, which is a secret."""

_MOST: Final = 3_000


class SlackConnector:
    """Posts ``payload["text"]`` to the incoming webhook whose address TAILORBIRD_SLACK_WEBHOOK holds.

    The address is a secret: it is in no payload, error or log. It is checked and connected to as any webhook's is, and bounded alike.
    """

    name = SLACK
    honours_idempotency = False

    def __init__(
        self, *, environ: Mapping[str, str] | None = None, loopback: bool = True, allow_private: bool = False,
        resolve: Resolve | None = None, transport: httpx2.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        self._environ = os.environ if environ is None else environ
        self._webhook = WebhookConnector(
            environ={}, loopback=loopback, allow_private=allow_private, resolve=resolve, transport=transport
        )

    @property
    def ready(self) -> bool:
        """Whether an address is set."""
        return bool(self._environ.get(VARIABLE))

    def destination(self, action: Action) -> str:
        """Return that all goes to the same place."""
        return ""

    def perform(self, action: Action) -> Outcome:
        """Post once; outcomes are those of a webhook."""
        text = action.payload.get("text")
        if not isinstance(text, str) or not text:
            return Outcome(ok=False, final=True, detail="the payload has no text")
        url = self._environ.get(VARIABLE)
        if not url:
            return Outcome(ok=False, detail=f"the environment variable {VARIABLE} is not set")
        payload = {"url": url, "body": {"text": text[:_MOST]}}
        return self._webhook.perform(msgspec.structs.replace(action, payload=payload))

    def close(self) -> None:
        """Close the connection that is kept alive."""
        self._webhook.close()
