"""Pipedrive: persons, activities, notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tailorbird.connectors.pipedrive.connector import PipedriveConnector
from tailorbird.connectors.providers import Provider
from tailorbird.connectors.rest import Auth, StaticAuth
from tailorbird.connectors.rest.oauth import OAuthFacts
from tailorbird.core.context import Clock
from tailorbird.core.event import Json
from tailorbird.errors import InvalidInput

__all__ = ["OAUTH", "PROVIDER", "PipedriveConnector"]

OAUTH: Final = OAuthFacts(
    authorize_url="https://oauth.pipedrive.com/oauth/authorize", token_url="https://oauth.pipedrive.com/oauth/token",
    client="basic", pkce=False, base_field="api_domain", rotates=True,
)  # fmt: skip
"""A refresh token that nobody used for 60 days is void."""


def _open(
    name: str, *, secret: Mapping[str, str], settings: Mapping[str, Json], clock: Clock, auth: Auth | None = None
) -> PipedriveConnector:
    if auth is None:
        if not secret.get("key"):
            raise InvalidInput("No CRM credentials found for Pipedrive.", hint="Give an API token (Personal preferences, API).")
        auth = StaticAuth({"x-api-token": secret["key"]})
    per_second = settings.get("per_second")
    return PipedriveConnector(
        name, auth=auth, clock=clock, url=str(settings.get("url") or "https://api.pipedrive.com"),
        webhook_secret=secret.get("webhook_secret", ""), campaigns=settings.get("campaigns") is True,
        per_second=per_second if isinstance(per_second, int) and per_second > 0 else 10,
    )  # fmt: skip


PROVIDER: Final = Provider(
    name="pipedrive", label="Pipedrive", open=_open,
    asks={"key": "API token", "webhook_secret": "Password that webhooks are to show"},
    settings={
        "campaigns": "Whether the company has Campaigns, so that opt-outs of e-mail can be kept (false)",
        "per_second": "Requests a second that the plan allows (10)",
    },
    oauth=OAUTH,
)  # fmt: skip
