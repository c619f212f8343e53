"""Salesforce: contacts and leads, tasks and events, campaigns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tailorbird.connectors.providers import Provider
from tailorbird.connectors.rest import Auth, bearer_auth
from tailorbird.connectors.rest.oauth import OAuthFacts
from tailorbird.connectors.salesforce.connector import SalesforceConnector, options
from tailorbird.core.context import Clock
from tailorbird.core.event import Json
from tailorbird.errors import InvalidInput

__all__ = ["OAUTH", "PROVIDER", "SalesforceConnector"]

LOGIN: Final = "https://login.salesforce.com"

OAUTH: Final = OAuthFacts(
    authorize_url="{url=https://login.salesforce.com}/services/oauth2/authorize",
    token_url="{url=https://login.salesforce.com}/services/oauth2/token",
    scopes=("api", "refresh_token"), grants=("authorization_code", "jwt_bearer", "client_credentials"),
    base_field="instance_url", rotates=True,
)  # fmt: skip
"""Answers say nothing of how long a token lasts, so it is used until a 401. Where an organisation rotates refresh tokens, each
renewal brings another; where it does not, the one there is stays. ``url`` is the organisation's own address: client credentials
are refused at the common ones (login, test), and newer organisations want it as the audience of a JWT."""


def _open(
    name: str, *, secret: Mapping[str, str], settings: Mapping[str, Json], clock: Clock, auth: Auth | None = None
) -> SalesforceConnector:
    url = str(settings.get("url") or "")
    if auth is None:
        if not secret.get("key"):
            raise InvalidInput("No CRM credentials found for Salesforce.", hint="Connect it: an access token, or OAuth.")
        if not url:
            raise InvalidInput(
                "the address of the Salesforce organisation is missing.", hint="Set url to https://NAME.my.salesforce.com."
            )
        auth = bearer_auth(secret["key"])
    url = url or LOGIN  # the organisation's own address comes with the token
    given: dict[str, Any] = options(settings)
    return SalesforceConnector(name, url, auth=auth, clock=clock, **given)


PROVIDER: Final = Provider(
    name="salesforce", label="Salesforce", open=_open, asks={"key": "Access token"},
    settings={
        "url": "Address of the organisation (https://NAME.my.salesforce.com)",
        "objects": "Kinds of people, the default first (contact, lead)",
        "tags_field": "Multi-select picklist of contacts and leads that takes tags",
        "activity_key": "Unique external id field of activities that takes our marker",
        "fields": "Own fields to read (all, unless named)",
        "daily_requests": "Requests of a day that may be used",
        "version": "Version of the API",
    },
    oauth=OAUTH,
)  # fmt: skip
