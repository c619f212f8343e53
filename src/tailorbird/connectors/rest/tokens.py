"""Tokens that are renewed: early, by one thread of one process at a time, and stored before anybody uses them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, Protocol

from tailorbird.connectors.rest.errors import AuthRevoked, RateLimited, RemoteError, Transient
from tailorbird.connectors.rest.oauth import TokenDesk
from tailorbird.core.context import SECOND, Clock

__all__ = ["Keeping", "OAuthAuth"]

_PATIENCE: Final = 20.0  # seconds that a renewal of another process is waited for
_POLL: Final = 0.05
_AGAIN: Final = 10 * SECOND
"""After how many ms a renewal that failed, or whose token was refused, is tried again."""


class Keeping(Protocol):
    """Where one connection's secret is kept. ``write`` returns False when it is no longer at the version that was read."""

    def read(self) -> tuple[int, Mapping[str, str]] | None: ...
    def write(self, values: Mapping[str, str], *, expected: int) -> bool: ...


class _State(NamedTuple):
    version: int
    values: Mapping[str, str]

    def instant(self, name: str) -> int | None:
        return int(self.values.get(name) or 0) or None


class OAuthAuth:
    """Shows an access token and renews it; see ``Auth``.

    ``turn`` gives one process at a time the right to renew: it yields whether that is us. Who is not, waits for what the other one
    stores, and goes on with the token in hand as long as that is good. A new token is stored before it is used, so that
    a refresh token that replaced the old one is not lost; what came in between is read anew, never overwritten.
    """

    def __init__(
        self, vendor: str, keeping: Keeping, desk: TokenDesk, clock: Clock, *, turn: Callable[[], AbstractContextManager[bool]],
        scheme: str = "Bearer", mend: str = "Connect again.", sleep: Callable[[float], None] = time.sleep,
        patience: float = _PATIENCE,
    ) -> None:  # fmt: skip
        self._vendor = vendor
        self._keeping = keeping
        self._desk = desk
        self._clock = clock
        self._turn = turn
        self._scheme = scheme
        self._mend = mend
        self._sleep = sleep
        self._patience = patience
        self._state: _State | None = None
        self._unsaved: tuple[Mapping[str, str], dict[str, str]] | None = None
        self._rejected_at: int | None = None
        self._failed_at: int | None = None
        self._lock = threading.Lock()

    def headers(self) -> Mapping[str, str]:
        """Return the header with a token that is good for a while yet. Raises ``AuthRevoked``, and ``Transient`` without one."""
        state, now = self._state, self._clock.now()
        if state is not None and _usable(state, now):
            return self._shown(state)
        if state is not None and _alive(state, now):  # it is to be renewed, but there is no hurry
            if self._failed_at is not None and now - self._failed_at < _AGAIN:
                return self._shown(state)
            if not self._lock.acquire(blocking=False):
                return self._shown(state)
            try:
                return self._shown(self._renewed(None, hurry=False))
            except (Transient, RateLimited):
                self._failed_at = now
                return self._shown(state)
            finally:
                self._lock.release()
        with self._lock:
            return self._shown(self._renewed(None))

    def renew(self, rejected: Mapping[str, str]) -> bool:
        """Get another token than the one that was refused; False where that was tried a moment ago. Raises ``AuthRevoked``."""
        with self._lock:
            now, state = self._clock.now(), self._state
            if state is not None and self._shown(state) != dict(rejected):
                return True  # another thread has renewed it meanwhile
            if self._rejected_at is not None and now - self._rejected_at < _AGAIN:
                return False  # fresh tokens are refused, too: it is not the token
            self._rejected_at = now
            self._renewed(rejected.get("authorization", "").partition(" ")[2])
        return True

    def base_url(self) -> str | None:
        """Return the address that came with the token."""
        state = self._state
        return None if state is None else state.values.get("base_url") or None

    def __repr__(self) -> str:
        return f"OAuthAuth({self._vendor!r})"

    # ---- inside

    def _shown(self, state: _State) -> dict[str, str]:
        return {"authorization": f"{self._scheme} {state.values.get('access_token', '')}"}

    def _renewed(self, rejected: str | None, *, hurry: bool = True) -> _State:
        """Return a state with a good token other than ``rejected``: another process's, or one that we ask for in our turn.

        Without ``hurry`` the old one will do while another process is at it.
        """
        end = time.monotonic() + self._patience
        while True:
            state = self._read()
            if self._serves(state, rejected):
                return state
            with self._turn() as ours:
                if ours:
                    state = self._read()  # what the one before us has stored
                    return state if self._serves(state, rejected) else self._ask(state)
            if not hurry:
                return state
            if time.monotonic() > end:
                raise Transient(f"{self._vendor}: another process is renewing the access and does not finish", retry_after=SECOND)
            self._sleep(_POLL)

    def _serves(self, state: _State, rejected: str | None) -> bool:
        token = state.values.get("access_token")
        if not token or token == rejected:
            return False
        now = self._clock.now()
        return _usable(state, now) or (rejected is not None and _alive(state, now))

    def _read(self) -> _State:
        found = self._keeping.read()
        if found is None:
            raise AuthRevoked(f"{self._vendor}: the credentials were removed", hint=self._mend)
        state = self._state = _State(*found)
        if revoked := state.values.get("revoked"):
            raise AuthRevoked(f"{self._vendor} gave no token: {revoked}", hint=self._mend)
        return state

    def _ask(self, state: _State) -> _State:
        unsaved = self._unsaved
        if unsaved is not None and unsaved[0] == state.values:
            tokens = unsaved[1]  # got, and could not be stored
        else:
            try:
                tokens = self._desk.renew(state.values)
            except AuthRevoked as error:
                self._give_up(state, error)
                raise
        self._unsaved = (state.values, tokens)
        stored = self._store(state, tokens)
        self._unsaved = None
        self._failed_at = None
        return stored

    def _store(self, state: _State, changes: Mapping[str, str]) -> _State:
        """Store, and return what is stored then: others' credentials where somebody has connected anew meanwhile."""
        values = {**state.values, **changes}
        while not self._keeping.write(values, expected=state.version):
            now = self._read()
            if now.values != state.values:
                return now
            state = now  # sealed anew with another key, and nothing else
        stored = self._state = _State(state.version + 1, values)
        return stored

    def _give_up(self, state: _State, error: RemoteError) -> None:
        """Note that it is over, so that no process asks again until somebody connects."""
        self._store(state, {"revoked": error.message.rpartition(": ")[2]})


def _usable(state: _State, now: int) -> bool:
    renew = state.instant("renew_at")
    return bool(state.values.get("access_token")) and (renew is None or now < renew)


def _alive(state: _State, now: int) -> bool:
    ends = state.instant("expires_at")
    return bool(state.values.get("access_token")) and (ends is None or now < ends)
