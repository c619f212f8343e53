"""API keys: scoped, stored hashed, rotated; and who may call without one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tailorbird.errors import Forbidden, InvalidInput, NotFound, TailorbirdError
from tailorbird.ports import Store

__all__ = ["SCOPES", "Keyring", "Unauthorized", "is_loopback", "token_of"]

SCOPES: Final = ("ingest", "read", "write", "admin")
"""``write`` may also read and ingest, ``admin`` may do everything."""

_GRANTS: Final = {
    "ingest": frozenset({"ingest"}),
    "read": frozenset({"read"}),
    "write": frozenset({"ingest", "read", "write"}),
    "admin": frozenset(SCOPES),
}
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


class Unauthorized(TailorbirdError):
    """No valid API key came with the request; the message says how to send one."""

    code = "unauthorized"
    status = 401

    def __init__(self) -> None:
        super().__init__(
            "this needs a valid API key",
            hint="send `Authorization: Bearer tb_…` (or the key as the user of Basic authentication); "
            "`tailorbird keys create` makes one",
        )


def is_loopback(host: str) -> bool:
    """Return whether a host name or address (a ``Host`` header's too) is this machine's own loopback.

    >>> is_loopback("127.0.0.1:8321"), is_loopback("[::1]:80"), is_loopback("example.com")
    (True, True, False)
    """
    name = host.strip().lower()
    if name.startswith("["):
        name = name.partition("]")[0] + "]"
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    return name in _LOOPBACK_NAMES


def token_of(headers: Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the API key of a request: a Bearer token, or the user (or password) of Basic authentication."""
    value = dict(headers).get(b"authorization")
    if value is None:
        return None
    scheme, _, rest = value.decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return user or password or None


class Keyring:
    """The API keys of one store, checked in constant time and remembered once verified.

    ``empty``: no key is in force. ``unused``: none was ever made; a loopback server may then be used without a key.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.empty = self.unused = True
        self._rows: dict[str, dict[str, Any]] = {}
        self._verified: dict[str, tuple[str, frozenset[str]]] = {}
        self.reload()

    def reload(self) -> None:
        """Read the keys again, forgetting what was verified before."""
        self._rows = {str(row["id"]): row for row in self._store.keys()}  # noqa: SIM118
        self._verified.clear()
        self.empty = all(row.get("revoked_at") for row in self._rows.values())
        self.unused = not self._rows

    def create(self, name: str, scopes: Iterable[str], now: int, *, expires_at: int | None = None) -> str:
        """Store a new key and return its token, which is shown this once and cannot be read again."""
        wanted = sorted(set(scopes), key=lambda s: SCOPES.index(s) if s in SCOPES else len(SCOPES))
        unknown = [scope for scope in wanted if scope not in SCOPES]
        if unknown or not wanted:
            raise InvalidInput(f"unknown scope {', '.join(unknown) or '(none)'}", hint=f"scopes are {', '.join(SCOPES)}")
        identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        self._save(identity, name, secret, wanted, now, expires_at)
        return f"tb_{identity}_{secret}"

    def rotate(self, identity: str, now: int, *, grace: int = 0) -> str:
        """Return a new token for a key's scopes; the old one stays valid for ``grace`` ms."""
        row = self._row(identity)
        token = self.create(row["name"], row["scopes"], now, expires_at=row.get("expires_at"))
        self._store.save_key({**row, "expires_at": now + grace} if grace else {**row, "revoked_at": now})
        self.reload()
        return token

    def revoke(self, identity: str, now: int) -> None:
        """Take a key out of force at once."""
        self._store.save_key({**self._row(identity), "revoked_at": now})
        self.reload()

    def listing(self) -> list[dict[str, Any]]:
        """Return the keys without their hashes."""
        return [{k: v for k, v in row.items() if k != "hash"} for row in self._rows.values()]

    def allow(self, token: str | None, scope: str, now: int) -> str:
        """Return the key's id when the token grants the scope; raise ``Unauthorized`` or ``Forbidden`` otherwise."""
        known = self._verified.get(token or "")
        if known is None:
            known = self._verify(token, now)
        identity, grants = known
        row = self._rows[identity]
        if row.get("expires_at") and row["expires_at"] <= now:
            raise Unauthorized
        if scope not in grants:
            raise Forbidden(f"the key {row['name']!r} lacks the scope {scope}", hint="make a key with that scope")
        return identity

    def _verify(self, token: str | None, now: int) -> tuple[str, frozenset[str]]:
        prefix, _, rest = (token or "").partition("_")
        identity, _, secret = rest.partition("_")
        row = self._rows.get(identity)
        expected = row["hash"] if row else ""
        good = hmac.compare_digest(expected, _hash(secret)) and prefix == "tb"
        if row is None or not good or row.get("revoked_at"):
            raise Unauthorized
        grants = frozenset().union(*(_GRANTS[scope] for scope in row["scopes"]))
        if len(self._verified) < 10_000:
            self._verified[token or ""] = (identity, grants)
        return identity, grants

    def _row(self, identity: str) -> dict[str, Any]:
        row = self._rows.get(identity)
        if row is None:
            raise NotFound(f"there is no API key {identity!r}", hint="`tailorbird keys list` shows them")
        return row

    def _save(self, identity: str, name: str, secret: str, scopes: list[str], now: int, expires_at: int | None) -> None:
        self._store.save_key(
            {
                "id": identity, "name": name, "hash": _hash(secret), "scopes": scopes,
                "created_at": now, "expires_at": expires_at, "revoked_at": None,
            }
        )  # fmt: skip
        self.reload()


def _hash(secret: str) -> str:
    """Return the hash a key is stored by: its secret has 256 bits of chance, so one SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()
