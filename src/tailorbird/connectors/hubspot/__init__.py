"""HubSpot: its connector, and how it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tailorbird.connectors.hubspot.connector import HubspotConnector
from tailorbird.connectors.providers import Provider
from tailorbird.connectors.rest import Auth, bearer_auth
from tailorbird.connectors.rest.oauth import OAuthFacts
from tailorbird.core.context import Clock
from tailorbird.core.event import Json
from tailorbird.errors import InvalidInput

__all__ = ["PROVIDER", "HubspotConnector"]

_TEXTS: Final = ("url", "tags_property", "status_property", "app_id", "consent_definition")
_NUMBERS: Final = ("requests_per_ten_seconds", "searches_per_second")


def _open(
    name: str, *, secret: Mapping[str, str], settings: Mapping[str, Json], clock: Clock, auth: Auth | None = None
) -> HubspotConnector:
    if auth is None and not secret.get("key"):
        raise InvalidInput("No CRM credentials found for user", hint=f"Connect {name} with `tailorbird connect hubspot`.")
    given: dict[str, Any] = {key: str(settings[key]) for key in _TEXTS if settings.get(key)}
    try:
        given |= {key: int(str(settings[key])) for key in _NUMBERS if settings.get(key)}
    except ValueError:
        raise InvalidInput(f"{' and '.join(_NUMBERS)} of the connection {name} are whole numbers.") from None
    listed = settings.get("properties") or ()
    properties = (
        listed.split(",") if isinstance(listed, str) else [str(one) for one in listed] if isinstance(listed, list) else []
    )
    return HubspotConnector(
        name, auth=auth or bearer_auth(secret["key"]), clock=clock, webhook_secret=secret.get("webhook_secret", ""),
        developer_key=secret.get("developer_key", ""), properties=[one.strip() for one in properties if one.strip()], **given,
    )  # fmt: skip


PROVIDER: Final = Provider(
    name="hubspot", label="HubSpot", open=_open,
    asks={"key": "Access token (of a private app or a service key)"},
    settings={
        "tags_property": "Name of the multiple-checkbox property that holds tags",
        "properties": "Further properties to read, with commas",
        "requests_per_ten_seconds": "Requests that your plan allows in ten seconds",
    },
    oauth=OAuthFacts(
        authorize_url="https://app.hubspot.com/oauth/authorize", token_url="https://api.hubapi.com/oauth/v1/token", pkce=False,
        scopes=(
            "oauth", "crm.objects.contacts.read", "crm.objects.contacts.write", "crm.schemas.contacts.read",
            "crm.schemas.contacts.write", "crm.lists.read", "crm.lists.write",
        ),
        lasting=1_800, revoked=("invalid_grant", "BAD_REFRESH_TOKEN"),
    ),
)  # fmt: skip
