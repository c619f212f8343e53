"""Connectors: each speaks to one kind of outside system and performs actions there."""

from __future__ import annotations

from tailorbird.connectors.base import Connector
from tailorbird.connectors.log import LogConnector
from tailorbird.connectors.slack import SlackConnector
from tailorbird.connectors.webhook import WebhookConnector

__all__ = ["Connector", "LogConnector", "SlackConnector", "WebhookConnector", "open_connectors"]


def open_connectors(
    *, allow_http: bool = False, webhook_secret: str | None = None, timeout: float = 10.0, loopback: bool = True,
    allow_private: bool = False,
) -> dict[str, Connector]:  # fmt: skip
    """Return a fresh set of all connectors by name; the caller closes each."""
    webhook = WebhookConnector(
        timeout=timeout,
        allow_http=allow_http,
        secret=webhook_secret,
        loopback=loopback or allow_private,
        allow_private=allow_private,
    )
    slack = SlackConnector(loopback=loopback or allow_private, allow_private=allow_private)
    found: list[Connector] = [LogConnector(), webhook, slack]
    return {connector.name: connector for connector in found}
