"""Connectors: each speaks to one kind of outside system and performs actions there."""

from __future__ import annotations

from tailorbird.connectors.base import Connector
from tailorbird.connectors.log import LogConnector
from tailorbird.connectors.webhook import WebhookConnector

__all__ = ["Connector", "LogConnector", "WebhookConnector", "open_connectors"]


def open_connectors(
    *, allow_http: bool = False, webhook_secret: str | None = None, timeout: float = 10.0
) -> dict[str, Connector]:
    """Return a fresh set of all connectors by name; the caller closes each."""
    found: list[Connector] = [LogConnector(), WebhookConnector(timeout=timeout, allow_http=allow_http, secret=webhook_secret)]
    return {connector.name: connector for connector in found}
