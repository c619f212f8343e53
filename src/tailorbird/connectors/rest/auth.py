"""How a connection shows who it is: a key in a header, a user and password, or a token that is renewed (see ``oauth``)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Protocol

__all__ = ["Auth", "StaticAuth", "basic_auth", "bearer_auth"]


class Auth(Protocol):
    """Gives the headers that show who we are. Used from several threads at once; ``repr`` shows no secret."""

    def headers(self) -> Mapping[str, str]:
        """Return the headers for the next request, after renewing what is about to end. Raises ``AuthRevoked``."""
        ...

    def renew(self, rejected: Mapping[str, str]) -> bool:
        """After a 401 to these headers: get others; return False where there is nothing to renew. Raises ``AuthRevoked``."""
        ...

    def base_url(self) -> str | None:
        """Return the address the vendor gave with the token (an instance, an API domain); None: the configured one."""
        ...


class StaticAuth:
    """Headers that stay as they are: an API key, a long-lived token.

    >>> StaticAuth({"x-api-key": "s3cret"})
    StaticAuth('x-api-key')
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)

    def headers(self) -> Mapping[str, str]:
        """Return the headers."""
        return self._headers

    def renew(self, rejected: Mapping[str, str]) -> bool:
        """There is nothing to renew."""
        return False

    def base_url(self) -> str | None:
        """Nothing is said of an address."""
        return None

    def __repr__(self) -> str:
        return f"StaticAuth({', '.join(repr(name) for name in self._headers)})"


def bearer_auth(token: str, *, scheme: str = "Bearer") -> StaticAuth:
    """Return ``Authorization: Bearer token``; ``scheme`` is another word for the same."""
    return StaticAuth({"authorization": f"{scheme} {token}"})


def basic_auth(user: str, password: str = "", *, also: Mapping[str, str] | None = None) -> StaticAuth:
    """Return ``Authorization: Basic …`` (RFC 7617), and further headers that the vendor asks for.

    >>> basic_auth("key").headers()["authorization"]
    'Basic a2V5Og=='
    """
    return StaticAuth({"authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode(), **(also or {})})
