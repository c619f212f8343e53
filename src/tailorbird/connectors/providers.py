"""Which CRMs there are connectors for, and how one is opened: loaded when it is first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol

from tailorbird.core.context import Clock
from tailorbird.core.event import Json
from tailorbird.crm.port import CrmConnector
from tailorbird.errors import InvalidInput

if TYPE_CHECKING:
    from tailorbird.connectors.rest.auth import Auth
    from tailorbird.connectors.rest.oauth import OAuthFacts

__all__ = ["PROVIDERS", "Opening", "Provider", "provider"]


class Opening(Protocol):
    """Opens a connector. ``secret`` is what the vault holds (``key``, ``access_token``, ``webhook_secret`` …); where the credentials
    are OAuth tokens, ``auth`` renews them and ``secret`` need not be looked at for that."""

    def __call__(
        self, name: str, *, secret: Mapping[str, str], settings: Mapping[str, Json], clock: Clock, auth: Auth | None = None
    ) -> CrmConnector: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A kind of CRM: its name and label, how it is opened, what has to be given, and its OAuth where it has one.

    ``asks`` maps what a person has to give (a secret's name) to how to call it; ``settings`` likewise, for what is no secret.
    ``proves``: a field of ``settings`` named ``url`` may always be given, to speak to a simulator.
    """

    name: str
    label: str
    open: Opening
    asks: Mapping[str, str]
    settings: Mapping[str, str]
    oauth: OAuthFacts | None = None


PROVIDERS: Final = ("hubspot", "salesforce", "followupboss", "pipedrive", "zoho", "custom")
"""The modules of this package that have a ``PROVIDER``."""


def provider(name: str) -> Provider:
    """Return a provider; raise ``InvalidInput`` for one that is not supported."""
    if name not in PROVIDERS:
        raise InvalidInput(f"Unsupported CRM provider: {name:.60}", hint=f"Supported are {', '.join(PROVIDERS)}.")
    found: Provider = import_module(f"tailorbird.connectors.{name}").PROVIDER
    return found
