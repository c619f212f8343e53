"""Connections to CRMs: made, tried, listed and removed; and the one connector of each that everybody uses."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from threading import RLock
from typing import Final, NamedTuple

import msgspec

from tailorbird.connectors.providers import Provider, provider
from tailorbird.connectors.rest import Auth, AuthExpired, AuthRevoked, Forbidden, QuotaExhausted, RemoteError, Transient
from tailorbird.connectors.rest.oauth import TOKENS
from tailorbird.core.connection import Connection, ConnectionStatus
from tailorbird.core.context import Clock
from tailorbird.core.event import Json
from tailorbird.crm.port import CrmConnector, Identity
from tailorbird.engine.authorising import Authorising, AuthorizePage
from tailorbird.errors import InvalidInput, NotFound, Unavailable
from tailorbird.ports import Store
from tailorbird.storage.secrets import Vault

__all__ = ["Connections", "Given"]

Given = CrmConnector | Callable[[], CrmConnector] | Provider
"""A connector that is brought along in place of one that is opened with credentials, or what makes it; or a kind of CRM of one's own."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,59}")
_FRESH: Final = 5.0
"""For how many seconds an open connector is used without looking whether its connection was changed by another process."""


class _Open(NamedTuple):
    connector: CrmConnector
    made_of: str
    looked: float


class Connections:
    """The connections of one engine. All verbs may be called from any thread.

    ``open`` is what everybody else needs: it returns the connector of a connection, the same one each time. ``given`` are
    connectors that need no credentials, by the name of their connection (tests bring those in memory), and providers of one's own,
    by the name that they are connected by. ``when_unauthorised`` is called with a connection that becomes unauthorised, once until
    it is mended, and ``when_connected`` with the name of one that is mended or made.
    """

    def __init__(self, store: Store, vault: Vault, clock: Clock, *, given: Mapping[str, Given] | None = None) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._authorising = Authorising(store, vault, clock)
        self._opened: dict[str, _Open] = {}
        self._retired: list[CrmConnector] = []
        self._lock = RLock()
        self.when_unauthorised: Callable[[Connection], None] | None = None
        self.when_connected: Callable[[str], object] | None = None
        self._own = {name: one for name, one in (given or {}).items() if isinstance(one, Provider)}
        self._given = {name: _made(one) for name, one in (given or {}).items() if not isinstance(one, Provider)}
        for name, connector in self._given.items():
            if store.crm.connection(name) is None:
                now = clock.now()
                store.crm.put_connection(Connection(name=name, provider=connector.provider, created_at=now, changed_at=now))

    @property
    def vault(self) -> Vault:
        """Where the credentials are."""
        return self._vault

    # ---- using

    def open(self, name: str) -> CrmConnector:
        """Return the connector of a connection, ready to be called; whoever gets it does not close it.

        Raises ``NotFound`` where there is no such connection or it has no credentials, and ``Unavailable`` without the vault's key.
        """
        given = self._given.get(name)
        if given is not None:
            return given
        found = self._opened.get(name)
        if found is not None and time.monotonic() - found.looked < _FRESH:
            return found.connector
        with self._lock:
            return self._open(name)

    def get(self, name: str) -> Connection:
        """Return a connection; raise ``NotFound`` where there is none."""
        found = self._store.crm.connection(name)
        if found is None:
            raise _nobody(name)
        return found

    def list(self) -> list[Connection]:
        """Return all connections, by name."""
        return self._store.crm.connections()

    # ---- changing

    def add(
        self, provider_name: str, name: str | None = None, *, secret: Mapping[str, str] | None = None,
        settings: Mapping[str, Json] | None = None,
    ) -> Connection:  # fmt: skip
        """Store a connection and its credentials, in place of one of the same name; nothing is asked of the CRM.

        Raises ``InvalidInput`` for a provider that is not supported and for what it would not accept.
        """
        chosen = self._provider(provider_name)
        name = _checked(name or chosen.name)
        now = self._clock.now()
        with self._lock:
            values, plain = dict(secret or {}), dict(settings or {})
            self._build(chosen, name, values, plain).close()  # says what is missing or absurd
            self._vault.write(name, values)
            made = Connection(name=name, provider=chosen.name, settings=plain, created_at=now, changed_at=now)
            self._store.crm.put_connection(made)
            self._retire(name)
        self._connected(name)
        return self.get(name)

    def connect(
        self, provider_name: str, name: str | None = None, *, secret: Mapping[str, str] | None = None,
        settings: Mapping[str, Json] | None = None,
    ) -> Identity:  # fmt: skip
        """Add a connection and try it; where the CRM refuses, all is as it was before, and its error is raised."""
        name = _checked(name or self._provider(provider_name).name)
        before, kept = self._store.crm.connection(name), None
        with suppress(Unavailable):  # what cannot be opened any more is mended by connecting anew
            kept = self._vault.read(name)
        self.add(provider_name, name, secret=secret, settings=settings)
        try:
            return self.open(name).test()  # what is refused now is told to who connects, and to nobody else
        except BaseException:
            with self._lock:
                if before is None:
                    self.remove(name)
                else:
                    self._store.crm.put_connection(before)
                if kept is not None:
                    self._vault.write(name, kept.values)
                self._retire(name)
            raise

    def begin(
        self, provider_name: str, name: str | None = None, *, secret: Mapping[str, str], redirect_uri: str,
        settings: Mapping[str, Json] | None = None,
    ) -> AuthorizePage:  # fmt: skip
        """Return the page on which a person allows access; ``secret`` holds the app's ``client_id`` and ``client_secret``.

        They come back to ``redirect_uri`` within ten minutes, with a code and the page's state, for ``finish``.
        """
        chosen = self._provider(provider_name)
        name = _checked(name or chosen.name)
        return self._authorising.begin(chosen, name, secret=secret, settings=dict(settings or {}), redirect_uri=redirect_uri)

    def finish(self, state: str, code: str) -> Connection:
        """Take the code of a person who came back, and connect; return the connection. Raises what ``connect`` raises."""
        got = self._authorising.redeem(state, code, provider=self._provider)
        self.connect(got.provider, got.name, secret=got.secret, settings=got.settings)
        return self.get(got.name)

    def refuse(self, state: str) -> None:
        """A person came back without allowing access; raises ``InvalidInput`` for a state that nobody is waited for with."""
        self._authorising.forget(state)

    def test(self, name: str) -> Identity:
        """Ask the CRM who we are; note in the connection's status what came of it. Raises ``RemoteError``."""
        try:
            found = self.open(name).test()
        except RemoteError as error:
            self.note(name, error)
            raise
        if self.get(name).status != ConnectionStatus.PAUSED:
            self.mark(name, ConnectionStatus.CONNECTED)
        return found

    def note(self, name: str, error: RemoteError) -> Connection:
        """Keep in a connection's status what an error of its connector means; one that was paused stays so."""
        status: ConnectionStatus | None = None
        resumes = None if error.retry_after is None else self._clock.now() + error.retry_after
        match error:
            case AuthExpired() | AuthRevoked() | Forbidden():
                status, resumes = ConnectionStatus.UNAUTHORISED, None
            case QuotaExhausted():
                status = ConnectionStatus.LIMITED
            case Transient():
                status = ConnectionStatus.UNREACHABLE
        found = self.get(name)
        if status is None or found.status == ConnectionStatus.PAUSED:
            return found
        return self.mark(name, status, error=error.message, resumes_at=resumes)

    def mark(self, name: str, status: ConnectionStatus, *, error: str | None = None, resumes_at: int | None = None) -> Connection:
        """Set how a connection does; return it."""
        with self._lock:
            found = self.get(name)
            if (found.status, found.error, found.resumes_at) == (status, error, resumes_at):
                return found
            changed = msgspec.structs.replace(
                found, status=str(status), error=error, resumes_at=resumes_at, changed_at=self._clock.now()
            )
            self._store.crm.put_connection(changed)
        lost = status == ConnectionStatus.UNAUTHORISED and found.status != ConnectionStatus.UNAUTHORISED
        if lost and self.when_unauthorised is not None:  # outside the lock: it writes through the loop, which has one of its own
            self.when_unauthorised(changed)
        if status == ConnectionStatus.CONNECTED:
            self._connected(name)
        return changed

    def pause(self, name: str) -> Connection:
        """Leave a CRM alone until ``resume``: what needs it waits."""
        return self.mark(name, ConnectionStatus.PAUSED)

    def resume(self, name: str) -> Connection:
        """Go on with a connection, also one that was given up as unauthorised."""
        return self.mark(name, ConnectionStatus.CONNECTED)

    def remove(self, name: str) -> None:
        """Forget a connection, its links and its credentials; raise ``NotFound`` where there is none."""
        with self._lock:
            self._vault.drop(name)
            there = self._store.crm.drop_connection(name)
            self._retire(name)
        if not there:
            raise _nobody(name)

    def close(self) -> None:
        """Close every connector."""
        with self._lock:
            opened = [item.connector for item in self._opened.values()]
            for connector in (*opened, *self._retired, *self._given.values()):
                connector.close()
            self._opened.clear()
            self._retired.clear()

    # ---- inside

    def _provider(self, name: str) -> Provider:
        return self._own.get(name) or provider(name)

    def _connected(self, name: str) -> None:
        if self.when_connected is not None:
            self.when_connected(name)

    def _open(self, name: str) -> CrmConnector:
        row = self._store.crm.connection(name)
        if row is None:
            self._retire(name)
            raise _nobody(name)
        chosen = self._provider(row.provider)
        secret = self._vault.read(name)
        if secret is None:
            self._retire(name)
            raise _nobody(name, chosen)
        made_of = _digest(row, secret.values)
        found = self._opened.get(name)
        if found is None or found.made_of != made_of:
            self._retire(name)
            connector = self._build(chosen, name, secret.values, row.settings)
        else:
            connector = found.connector
        self._opened[name] = _Open(connector, made_of, time.monotonic())
        return connector

    def _build(
        self, chosen: Provider, name: str, secret: Mapping[str, str], settings: Mapping[str, Json]
    ) -> CrmConnector:  # fmt: skip
        auth: Auth | None = self._authorising.auth(name, chosen, secret, settings)
        return chosen.open(name, secret=secret, settings=settings, clock=self._clock, auth=auth)

    def _retire(self, name: str) -> None:
        """No longer hand a connector out; it is closed with the engine, since a thread may be in the middle of a call."""
        found = self._opened.pop(name, None)
        if found is not None:
            self._retired.append(found.connector)


def _made(given: CrmConnector | Callable[[], CrmConnector]) -> CrmConnector:
    return given() if callable(given) else given


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "the name of a connection is of small letters, digits, - and _, begins with a letter and has at most 60 of them.",
            hint="For example: hubspot-eu.",
        )
    return name


def _digest(row: Connection, values: Mapping[str, str]) -> str:
    """Return what tells one set of credentials and settings from another; tokens that are renewed change nothing."""
    given = {key: value for key, value in values.items() if key not in TOKENS}
    plain = msgspec.json.encode([row.provider, row.settings, given], order="sorted")
    return sha256(plain).hexdigest()


def _nobody(name: str, chosen: Provider | None = None) -> NotFound:
    kind = f"{chosen.name} --name {name}" if chosen is not None and chosen.name != name else name
    return NotFound(
        "No CRM credentials found for user",
        hint=f"run `tailorbird connect {kind:.60}`; `tailorbird connections` shows what there is.",
    )
