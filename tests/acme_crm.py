"""A provider of a CRM that does not exist, over the small vendor: a key or OAuth, and a connector that can say who it is."""

from __future__ import annotations

from collections.abc import Mapping

from tailorbird.connectors.memory import MemoryCrm
from tailorbird.connectors.providers import Provider
from tailorbird.connectors.rest import Auth, Retry, StaticAuth, Transport
from tailorbird.connectors.rest.oauth import OAuthFacts
from tailorbird.core.context import Clock
from tailorbird.core.event import Json
from tailorbird.crm.port import Identity
from tailorbird.errors import InvalidInput

FACTS = OAuthFacts(
    authorize_url="https://login.acme.example/oauth/authorize", token_url="https://login.acme.example/oauth/token",
    scopes=("contacts", "offline"), grants=("authorization_code", "client_credentials", "jwt_bearer"), rotates=True,
    base_field="instance_url", client="basic",
)  # fmt: skip


class AcmeConnector(MemoryCrm):
    """Keeps records in memory, and asks the vendor who it is."""

    def __init__(self, name: str, url: str, auth: Auth, clock: Clock) -> None:
        super().__init__(name, clock=clock)
        self.closed = False
        self._transport = Transport("Acme", url, auth=auth, clock=clock, retry=Retry(tries=1))

    def test(self) -> Identity:
        """Ask who we are."""
        self._transport.request("GET", "/me")
        return Identity(account="Acme", user="ann")

    def close(self) -> None:
        """Note that it is closed."""
        self.closed = True
        self._transport.close()


def _open(
    name: str, *, secret: Mapping[str, str], settings: Mapping[str, Json], clock: Clock, auth: Auth | None = None
) -> AcmeConnector:
    if auth is None and not secret.get("key"):
        raise InvalidInput("Acme wants a key.", hint="Make one in its settings.")
    shown = auth or StaticAuth({"authorization": f"Bearer {secret['key']}"})
    return AcmeConnector(name, str(settings.get("url") or "https://api.acme.example"), shown, clock)


ACME = Provider(name="acme", label="Acme", open=_open, asks={"key": "API key"}, settings={}, oauth=FACTS)
