"""The OAuth of a simulated organisation: codes, refresh tokens that may rotate, JWT bearer and client credentials.

Source: Salesforce Identity documentation, "OAuth Authorization Flows"; RFC 6749, 7523, 7636.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from tailorbird.simulators.base import Reply, Request
from tailorbird.simulators.salesforce_org import Organisation

__all__ = ["Tokens"]

_JWT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LONGEST: Final = 300
"""Seconds in which an assertion has to end."""


class Tokens:
    """Gives out sessions to one connected app. ``client_id`` and ``client_secret`` are its own; ``lasts`` is how long a session does, in s.

    ``rotate``: each renewal gives a new refresh token, and using an old one again voids the whole family. ``certificate`` (PEM, the
    public key) is what assertions are checked by; without one only what they claim is looked at.
    """

    def __init__(
        self, *, clock: Callable[[], float], rotate: bool = False, client_id: str = "simulated-app",
        client_secret: str = "simulated-secret", lasts: float = 7_200, certificate: str = "",
    ) -> None:  # fmt: skip
        self.clock = clock
        self.rotate = rotate
        self.client_id = client_id
        self.client_secret = client_secret
        self.lasts = lasts
        self.certificate = certificate
        self.sessions: dict[str, float] = {}
        self.refreshes: dict[str, str] = {}
        self._spent: dict[str, str] = {}
        self._codes: dict[str, tuple[str, str]] = {}

    def accepts(self, session: str) -> bool:
        """Return whether a session was given out and has not ended."""
        return self.sessions.get(session, 0) > self.clock()

    def expire(self) -> None:
        """End all sessions now; refresh tokens stay."""
        self.sessions.clear()

    def identity(self, org: Organisation) -> dict[str, Any]:
        """Return who the user of a session is."""
        user = org.rows("User")[org.user]
        return {
            "sub": f"https://login.salesforce.com/id/{org.id}/{org.user}", "user_id": org.user, "organization_id": org.id,
            "preferred_username": user["Username"], "name": user["LastName"], "email": user["Email"],
        }  # fmt: skip

    def reply(self, request: Request, what: str, *, revoked: bool, org: Organisation) -> Reply:
        """Answer a request to the OAuth endpoints."""
        form: Mapping[str, str] = request.body if isinstance(request.body, dict) else request.query
        match request.method, what:
            case "GET", "authorize":
                return self._authorize(request.query)
            case "POST", "token":
                if revoked:
                    return _error("invalid_grant", "expired access/refresh token")
                return self._token(request, form, org)
            case "POST", "revoke":
                self.sessions.pop(form.get("token", ""), None)
                family = self.refreshes.pop(form.get("token", ""), None)
                if family is not None:
                    self._void(family)
                return Reply(200, "")
        return Reply(404, "Not Found")

    def _authorize(self, asked: Mapping[str, str]) -> Reply:
        """Give a code at once: nobody has to be asked for consent here."""
        if asked.get("client_id") != self.client_id or asked.get("response_type") != "code":
            return _error("invalid_client_id", "client identifier invalid")
        code = secrets.token_urlsafe(16)
        self._codes[code] = (asked.get("redirect_uri", ""), asked.get("code_challenge", ""))
        query = urlencode({"code": code, **({"state": asked["state"]} if "state" in asked else {})})
        target = asked.get("redirect_uri", "")
        return Reply(302, "", {"location": f"{target}{'&' if '?' in target else '?'}{query}"})

    def _token(self, request: Request, form: Mapping[str, str], org: Organisation) -> Reply:
        grant = form.get("grant_type", "")
        if grant == _JWT:
            fault = self._assertion_fault(form.get("assertion", ""))
            return fault or self._session(request, org, None)
        client = _basic(request.headers.get("authorization", "")) or (form.get("client_id", ""), form.get("client_secret", ""))
        if client[0] != self.client_id:
            return _error("invalid_client_id", "client identifier invalid")
        if client[1] != self.client_secret and not (
            grant == "authorization_code" and not client[1] and form.get("code_verifier")
        ):
            return _error("invalid_client", "invalid client credentials")
        match grant:
            case "client_credentials":
                return self._session(request, org, None)
            case "authorization_code":
                redirect, challenge = self._codes.pop(form.get("code", ""), ("", "?"))
                if redirect != form.get("redirect_uri") or not _proves(challenge, form.get("code_verifier", "")):
                    return _error("invalid_grant", "invalid authorization code")
                return self._session(request, org, secrets.token_hex(8))
            case "refresh_token":
                return self._refresh(request, form.get("refresh_token", ""), org)
        return _error("unsupported_grant_type", "grant type not supported")

    def _refresh(self, request: Request, token: str, org: Organisation) -> Reply:
        if token in self._spent:  # whoever has an old one has stolen it
            self._void(self._spent[token])
        family = self.refreshes.get(token)
        if family is None:
            return _error("invalid_grant", "expired access/refresh token")
        if not self.rotate:
            return self._session(request, org, None)
        del self.refreshes[token]
        self._spent[token] = family
        return self._session(request, org, family)

    def _session(self, request: Request, org: Organisation, family: str | None) -> Reply:
        """Return a new session; with a refresh token where it belongs to a family of those."""
        host = request.headers.get("host", "localhost")
        session = f"00Dsim!{secrets.token_urlsafe(24)}"
        self.sessions[session] = self.clock() + self.lasts
        body = {
            "access_token": session, "instance_url": f"http://{host}", "id": f"http://{host}/id/{org.id}/{org.user}",
            "token_type": "Bearer", "issued_at": str(int(self.clock() * 1000)), "signature": "c2ltdWxhdGVk", "scope": "api refresh_token",
        }  # fmt: skip
        if family is not None:
            body["refresh_token"] = secrets.token_urlsafe(24)
            self.refreshes[body["refresh_token"]] = family
        return Reply(200, body, {"cache-control": "no-store"})

    def _void(self, family: str) -> None:
        self.refreshes = {token: held for token, held in self.refreshes.items() if held != family}

    def _assertion_fault(self, assertion: str) -> Reply | None:
        parts = assertion.split(".")
        try:
            head, claims = (json.loads(_decoded(part)) for part in parts[:2])
            signature = _decoded(parts[2])
        except (ValueError, IndexError):
            return _error("invalid_grant", "invalid assertion")
        if head.get("alg") != "RS256" or not self._signed(".".join(parts[:2]), signature):
            return _error("invalid_grant", "invalid assertion")
        if claims.get("iss") != self.client_id:
            return _error("invalid_client_id", "client identifier invalid")
        if not isinstance(claims.get("aud"), str) or not claims["aud"].startswith(("http://", "https://")):
            return _error("invalid_grant", "audience is invalid")
        ends = claims.get("exp")
        if not isinstance(ends, int | float) or not self.clock() < ends <= self.clock() + _LONGEST:
            return _error("invalid_grant", "expired authorization code" if isinstance(ends, int | float) else "invalid assertion")
        return None if claims.get("sub") else _error("invalid_grant", "user hasn't approved this consumer")

    def _signed(self, text: str, signature: bytes) -> bool:
        if not self.certificate:
            return True
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        key = load_pem_public_key(self.certificate.encode())
        if not isinstance(key, RSAPublicKey):
            return False
        try:
            key.verify(signature, text.encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True


def _proves(challenge: str, verifier: str) -> bool:
    """Return whether a verifier belongs to the challenge that was given with the code (none: nothing was asked for)."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return not challenge or challenge == digest


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, told = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(told).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return user, password


def _error(code: str, description: str) -> Reply:
    return Reply(400, {"error": code, "error_description": description})
