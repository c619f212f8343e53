"""OAuth of connections: sending a person to the vendor's page, taking what they come back with, and renewing tokens ever after."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from tailorbird.connectors.providers import Provider
from tailorbird.connectors.rest import Auth
from tailorbird.connectors.rest.oauth import GRANTS, OAuthFacts, Pkce, TokenDesk, authorize_url
from tailorbird.connectors.rest.tokens import OAuthAuth
from tailorbird.core.context import MINUTE, SECOND, Clock
from tailorbird.core.event import Json
from tailorbird.errors import InvalidInput, Unavailable
from tailorbird.ports import Store
from tailorbird.storage.secrets import Vault

__all__ = ["Authorising", "AuthorizePage", "Redeemed"]

_LASTING: Final = 10 * MINUTE
"""For how long a person may take to allow access."""

_TURN: Final = 30 * SECOND
"""For how long one process may take to renew a token; what it asks of the vendor is given up before."""

_WAITING: Final = "oauth:"


class AuthorizePage(NamedTuple):
    """The page on which a person allows access, and the state they come back with."""

    url: str
    state: str

    def __repr__(self) -> str:
        return "AuthorizePage()"


class Redeemed(NamedTuple):
    """What a connection is made of, once access was allowed; ``repr`` shows no secret."""

    provider: str
    name: str
    secret: dict[str, str]
    settings: dict[str, Json]

    def __repr__(self) -> str:
        return f"Redeemed({self.provider!r}, {self.name!r})"


class _Waiting(msgspec.Struct, frozen=True):
    """What is kept, sealed, while a person is at the vendor's page."""

    provider: str
    name: str
    secret: dict[str, str]
    settings: dict[str, Json]
    redirect_uri: str
    verifier: str
    until: int


class _Kept:
    """One connection's secret, for who renews it."""

    def __init__(self, vault: Vault, name: str) -> None:
        self._vault = vault
        self._name = name

    def read(self) -> tuple[int, Mapping[str, str]] | None:
        return self._vault.read(self._name)

    def write(self, values: Mapping[str, str], *, expected: int) -> bool:
        return self._vault.write(self._name, values, expected=expected)


class Authorising:
    """Whatever of OAuth needs a vault and a store. Connections whose secret names a ``grant`` use it, no others."""

    def __init__(self, store: Store, vault: Vault, clock: Clock, *, chance: Callable[[int], str] = secrets.token_urlsafe) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._chance = chance

    def auth(self, name: str, chosen: Provider, secret: Mapping[str, str], settings: Mapping[str, Json]) -> Auth | None:
        """Return what renews a connection's tokens; None where its credentials are no tokens."""
        if not secret.get("grant"):
            return None
        facts = _facts(chosen, secret["grant"])
        mend = _mend(chosen, name)
        desk = TokenDesk(chosen.label, facts, settings, self._clock, mend=mend)
        return OAuthAuth(
            chosen.label,
            _Kept(self._vault, name),
            desk,
            self._clock,
            turn=lambda: self._turn(name),
            scheme=facts.scheme,
            mend=mend,
        )

    def begin(
        self, chosen: Provider, name: str, *, secret: Mapping[str, str], settings: Mapping[str, Json], redirect_uri: str
    ) -> AuthorizePage:
        """Return where to send a person; ``secret`` holds the app's ``client_id`` and ``client_secret``.

        What is needed when they come back is kept in the vault, sealed, for ten minutes: any process may take it.
        """
        facts = _facts(chosen, GRANTS[0])
        if not secret.get("client_id"):
            raise InvalidInput(f"{chosen.label} wants the client_id of an app.", hint=f"Make an app at {chosen.label} first.")
        self._sweep()
        state, pkce = self._chance(32), Pkce.fresh(self._chance)
        url = authorize_url(
            facts, settings, client_id=secret["client_id"], redirect_uri=redirect_uri, state=state, pkce=pkce
        )  # fmt: skip
        kept = _Waiting(
            chosen.name, name, dict(secret), dict(settings), redirect_uri, pkce.verifier, self._clock.now() + _LASTING
        )  # fmt: skip
        self._vault.write(_place(state), {"waiting": msgspec.json.encode(kept).decode()}, expected=0)
        return AuthorizePage(url, state)

    def redeem(self, state: str, code: str, *, provider: Callable[[str], Provider]) -> Redeemed:
        """Take what a person came back with and get tokens; each state is good once. Raises ``InvalidInput`` and ``RemoteError``."""
        place = _place(state)
        found = self._vault.read(place)
        if found is None or not self._vault.drop(place):
            raise _unknown()
        kept = msgspec.json.decode(found.values["waiting"], type=_Waiting)
        if kept.until < self._clock.now():
            raise _unknown()
        chosen = provider(kept.provider)
        desk = TokenDesk(
            chosen.label, _facts(chosen, GRANTS[0]), kept.settings, self._clock, mend=_mend(chosen, kept.name)
        )  # fmt: skip
        tokens = desk.exchange(kept.secret, code, kept.redirect_uri, Pkce(kept.verifier))
        return Redeemed(kept.provider, kept.name, {"grant": GRANTS[0], **kept.secret, **tokens}, kept.settings)

    def forget(self, state: str) -> None:
        """A person did not allow access: nothing is waited for any longer. Raises ``InvalidInput`` for a state that is not ours."""
        if not self._vault.drop(_place(state)):
            raise _unknown()

    def _sweep(self) -> None:
        """Forget those who never came back."""
        for name in self._vault.names():
            if name.startswith(_WAITING):
                with suppress(Unavailable):  # sealed with a key that is gone: it will never be asked for either
                    found = self._vault.read(name)
                    if found and msgspec.json.decode(found.values["waiting"], type=_Waiting).until < self._clock.now():
                        self._vault.drop(name)

    @contextmanager
    def _turn(self, name: str) -> Iterator[bool]:
        lease, token = f"token:{name}", secrets.token_hex(16)
        held = self._store.take_lease(lease, token, f"renewing the access of {name}", lasting=_TURN)
        ours = held.token == token
        try:
            yield ours
        finally:
            if ours:
                with suppress(Unavailable):  # then it ends by itself
                    self._store.drop_lease(lease, token)


def _facts(chosen: Provider, grant: str) -> OAuthFacts:
    if chosen.oauth is None or grant not in chosen.oauth.grants:
        known = ", ".join(chosen.oauth.grants) if chosen.oauth is not None else "a key"
        raise InvalidInput(f"{chosen.label} cannot be connected by {grant:.40}.", hint=f"It knows: {known}.")
    return chosen.oauth


def _place(state: str) -> str:
    return _WAITING + sha256(state.encode()).hexdigest()


def _mend(chosen: Provider, name: str) -> str:
    return f"Run `tailorbird connect {chosen.name}{'' if name == chosen.name else f' --name {name}'}`."


def _unknown() -> InvalidInput:
    return InvalidInput(
        "nobody is waited for with this state: it was used already, is older than ten minutes, or is not ours.",
        hint="Begin anew.",
    )  # fmt: skip
