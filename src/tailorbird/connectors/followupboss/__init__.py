"""Follow Up Boss: people, notes, calls, text messages, tasks, events and e-mail marketing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tailorbird.connectors.followupboss.connector import FollowUpBossConnector
from tailorbird.connectors.providers import Provider
from tailorbird.connectors.rest import Auth, basic_auth
from tailorbird.connectors.rest.oauth import OAuthFacts
from tailorbird.core.context import Clock
from tailorbird.core.event import Json
from tailorbird.errors import InvalidInput

__all__ = ["OAUTH", "PROVIDER", "FollowUpBossConnector"]

OAUTH: Final = OAuthFacts(
    authorize_url="https://app.followupboss.com/oauth/authorize", token_url="https://app.followupboss.com/oauth/token",
    client="basic", pkce=False, authorize_params={"response_type": "auth_code", "prompt": "login"},
    token_params={"state": "tailorbird"},
)  # fmt: skip
"""The code is asked for by ``auth_code`` where others say ``code``, and a state has to be given with every form."""


def _open(
    name: str, *, secret: Mapping[str, str], settings: Mapping[str, Json], clock: Clock, auth: Auth | None = None
) -> FollowUpBossConnector:
    if auth is None:
        if not secret.get("key"):
            raise InvalidInput(
                "No CRM credentials found for Follow Up Boss.", hint="Give an API key (Admin, API in Follow Up Boss)."
            )
        auth = basic_auth(secret["key"])
    return FollowUpBossConnector(
        name, auth=auth, clock=clock, url=str(settings.get("url") or "https://api.followupboss.com/v1"),
        system=str(settings.get("system") or "Tailorbird"), system_key=secret.get("system_key") or secret.get("webhook_secret", ""),
        lead_flow=settings.get("lead_flow") is not False, event_type=str(settings.get("event_type") or "Registration"),
    )  # fmt: skip


PROVIDER: Final = Provider(
    name="followupboss", label="Follow Up Boss", open=_open,
    asks={"key": "API key", "system_key": "System key (X-System-Key; webhooks are signed with it)"},
    settings={
        "system": "Name of the registered system (X-System)",
        "lead_flow": "Whether people that are matched to nobody come in by the lead flow (true)",
        "event_type": "Type of the event they come in by (Registration)",
    },
    oauth=OAUTH,
)  # fmt: skip
