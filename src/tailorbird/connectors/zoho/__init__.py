"""Zoho CRM: contacts and leads, notes, tasks, calls and meetings, tags, notification channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tailorbird.connectors.providers import Provider
from tailorbird.connectors.rest import Auth, bearer_auth
from tailorbird.connectors.rest.oauth import OAuthFacts
from tailorbird.connectors.zoho.connector import URL, ZohoConnector
from tailorbird.core.context import Clock
from tailorbird.core.event import Json
from tailorbird.errors import InvalidInput

__all__ = ["OAUTH", "PROVIDER", "ZohoConnector"]

OAUTH: Final = OAuthFacts(
    authorize_url="https://accounts.zoho.{dc=com}/oauth/v2/auth", token_url="https://accounts.zoho.{dc=com}/oauth/v2/token",
    scopes=(
        "ZohoCRM.modules.ALL", "ZohoCRM.settings.fields.READ", "ZohoCRM.users.READ", "ZohoCRM.coql.READ", "ZohoCRM.notifications.ALL",
    ),
    scope_separator=",", pkce=False, base_field="api_domain", lasting=3_600, revoked=("invalid_code", "invalid_client", "invalid_grant"),
    authorize_params={"access_type": "offline", "prompt": "consent"}, scheme="Zoho-oauthtoken",
)  # fmt: skip
"""Without ``prompt=consent`` a second authorisation brings no refresh token. Refusals may come with status 200."""


def _open(
    name: str, *, secret: Mapping[str, str], settings: Mapping[str, Json], clock: Clock, auth: Auth | None = None
) -> ZohoConnector:
    if auth is None:
        if not secret.get("key"):
            raise InvalidInput("No CRM credentials found for Zoho.", hint="Connect it: an access token, or OAuth.")
        auth = bearer_auth(secret["key"], scheme="Zoho-oauthtoken")
    return ZohoConnector(
        name, str(settings.get("url") or auth.base_url() or URL), auth=auth, webhook_secret=secret.get("webhook_secret", ""),
        clock=clock,
    )  # fmt: skip


PROVIDER: Final = Provider(
    name="zoho", label="Zoho CRM", open=_open, asks={"key": "Access token"},
    settings={"dc": "Data centre: com, eu, in, com.au, jp", "url": "API domain (https://www.zohoapis.com)"}, oauth=OAUTH,
)  # fmt: skip
