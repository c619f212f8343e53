"""Who may do what: which scope a request needs, and whether whoever sends it has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tailorbird.api.security import Keyring, is_loopback, token_of
from tailorbird.errors import Forbidden

__all__ = ["Guard", "Headers", "is_signed", "scope_of"]

Headers = list[tuple[bytes, bytes]]

_CALLBACK: Final = "/api/v1/connections/callback"
"""Where vendors send people back to: a browser that carries no key comes from another site; the state in the address is the proof."""
_OPEN: Final = frozenset({"/", "/health", "/docs", "/openapi.json", _CALLBACK})
_CREDENTIALS: Final = frozenset({"/api/v1/connections", "/api/v1/connections/authorize"})
_READING_POSTS: Final = (
    "/api/v1/evaluate", "/api/v1/definitions/check", "/api/v1/definitions/preview", "/api/v1/tone", "/api/v1/enrichment/cost",
    "/api/v1/render", "/invoke",
)  # fmt: skip
_MCP: Final = "/mcp"
_INTAKE: Final = "/api/v1/events"


def is_signed(method: str, path: str) -> bool:
    """Return whether a request proves itself by a signature over its body, which whoever takes it checks, and not by a key.

    >>> is_signed("POST", "/api/v1/crm/hubspot/webhook"), is_signed("POST", "/api/v1/crm/hubspot/pull")
    (True, False)
    """
    return method == "POST" and path.startswith("/api/v1/crm/") and path.endswith("/webhook") and path.count("/") == 5


def scope_of(method: str, path: str) -> str | None:
    """Return the scope that a request needs; None for what anybody may see.

    >>> scope_of("GET", "/health"), scope_of("POST", "/v1/track"), scope_of("DELETE", "/api/v1/profiles/p_1")
    (None, 'ingest', 'admin')
    """
    if path in _OPEN or is_signed(method, path):
        return None
    if path.startswith("/v1/") or path == _INTAKE:
        return "ingest"
    if path == "/api/v1/keys" or path.startswith("/api/v1/keys/"):
        return "admin"
    if method in ("GET", "HEAD", "OPTIONS") or path in _READING_POSTS or path.startswith("/api/v1/templates/"):
        return "read"
    if path == _MCP or path.startswith("/mcp/"):
        return "read"  # tools that write ask for more themselves
    if method == "DELETE" and path.startswith("/api/v1/profiles/") and path.count("/") == 4:
        return "admin"  # erasing a person
    if path in _CREDENTIALS or (method == "DELETE" and path.startswith("/api/v1/connections/")):
        return "admin"
    return "write"


class Guard:
    """Lets requests pass, or raises. Without any key in force nobody may call, or with ``local`` only this machine's programs.

    A server on loopback is within reach of every web page its user opens: such requests name another host, or the page
    they come from, and are turned away while there are no keys.
    """

    def __init__(
        self, keyring: Keyring, now: Callable[[], int], *, local: bool = True, hosts: frozenset[str] = frozenset()
    ) -> None:
        self.keyring = keyring
        self._local = local
        self._now = now
        self._hosts = hosts

    def allow(self, method: str, path: str, headers: Headers) -> str:
        """Return who calls: a key's id, ``local`` without keys, or ``anybody`` for what is open.

        Raises ``Unauthorized`` and ``Forbidden``.
        """
        if is_signed(method, path):
            return "anybody"
        keyring = self.keyring
        if self._local and keyring.unused:
            self._check_origin(headers, page=path == _CALLBACK and method == "GET")
            return "local"
        scope = scope_of(method, path)
        if scope is None:
            return "anybody"
        return keyring.allow(token_of(headers), scope, self._now())

    def _check_origin(self, headers: Headers, *, page: bool) -> None:
        """Raise ``Forbidden`` for another machine's name, and for another site's page unless a ``page`` may lead here."""
        for name, value in headers:
            if name == b"host":
                if value[:10] != b"127.0.0.1:" and value != b"127.0.0.1" and not self._is_ours(value.decode("latin-1")):
                    raise Forbidden(
                        "the Host header names another machine, and there are no API keys",
                        hint="call 127.0.0.1 or localhost, or make a key with `tailorbird keys create`",
                    )
            elif page:
                continue
            elif name == b"origin":
                origin = value.decode("latin-1").lower()
                if origin != "null" and self._is_ours(origin.partition("://")[2]):
                    continue
                raise _from_a_page()
            elif name == b"sec-fetch-site" and value not in (b"same-origin", b"none"):
                raise _from_a_page()

    def _is_ours(self, host: str) -> bool:
        return is_loopback(host) or host.lower() in self._hosts


def _from_a_page() -> Forbidden:
    return Forbidden(
        "a web page of another site cannot call a server without API keys", hint="make a key with `tailorbird keys create`"
    )
