"""OAuth 2.0: where a vendor gives tokens, and how they are asked for (RFC 6749, PKCE of RFC 7636, JWT bearer of RFC 7523)."""

from __future__ import annotations

import re
import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import msgspec

from tailorbird.connectors.rest.address import check_address, is_loopback
from tailorbird.connectors.rest.errors import AuthRevoked, RateLimited, RemoteError, RemoteInvalid, Transient
from tailorbird.connectors.rest.transport import Answer, Retry, Transport
from tailorbird.core.context import MINUTE, SECOND, Clock
from tailorbird.core.event import Json
from tailorbird.errors import InvalidInput, NotInstalled

__all__ = ["GRANTS", "TOKENS", "OAuthFacts", "Pkce", "TokenDesk", "addresses", "authorize_url"]

GRANTS: Final = ("authorization_code", "client_credentials", "jwt_bearer")
"""The ways to a token that there are; what a connection uses is its secret's ``grant``."""

TOKENS: Final = ("access_token", "refresh_token", "expires_at", "renew_at", "base_url", "revoked")
"""What of a connection's secret changes by itself; the rest is what a person gave."""

_EARLY: Final = 5 * MINUTE  # a token is renewed so long before it ends, or after nine tenths of its time where it lasts less long
_JWT_LASTING: Final = 3 * MINUTE
_COOL: Final = MINUTE
_PLACE: Final = re.compile(r"\{(\w+)(?:=([^{}]*))?\}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,200}")
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{1,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthFacts:
    """What is particular about a vendor's OAuth. Addresses may hold ``{name}`` or ``{name=default}``, filled in from a connection's
    settings.

    ``client`` says how the client shows who it is: in the form, or by Basic. ``grants`` are the ways to a token that the vendor
    knows (see ``GRANTS``). ``base_field`` names the field of the token's answer that says which address to call
    (``instance_url``, ``api_domain``). ``lasting`` in s is assumed where the answer says nothing (None: until a 401). ``revoked``
    are error codes after which only a person can help; ``rotates``: each renewal gives a new refresh token, and the old one is void.
    """

    authorize_url: str
    token_url: str
    scopes: tuple[str, ...] = ()
    scope_separator: str = " "
    client: Literal["form", "basic"] = "form"
    grants: tuple[str, ...] = ("authorization_code",)
    pkce: bool = True
    base_field: str | None = None
    lasting: int | None = None
    revoked: tuple[str, ...] = ("invalid_grant",)
    rotates: bool = False
    authorize_params: Mapping[str, str] = field(default_factory=dict)
    token_params: Mapping[str, str] = field(default_factory=dict)
    scheme: str = "Bearer"


@dataclass(frozen=True, slots=True)
class Pkce:
    """A verifier that stays here, and the challenge that goes out first (S256); ``repr`` shows neither.

    >>> Pkce("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").challenge  # the example of RFC 7636, appendix B
    'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
    """

    verifier: str = field(repr=False)

    @classmethod
    def fresh(cls, chance: Callable[[int], str] = secrets.token_urlsafe) -> Pkce:
        """Return a new one."""
        return cls(chance(48))

    @property
    def challenge(self) -> str:
        """What is told to the vendor before the code is asked for."""
        return _url64(sha256(self.verifier.encode()).digest())


def addresses(facts: OAuthFacts, settings: Mapping[str, Json]) -> tuple[str, str]:
    """Return where a person is sent to allow access, and where tokens are given.

    A connection to a simulator (``url`` is loopback) asks that one for tokens, at the vendor's paths; settings
    ``authorize_url`` and ``token_url`` go before all else. Raises ``InvalidInput`` for a setting that is missing or absurd.
    """
    return _address(facts.authorize_url, "authorize_url", settings), _address(facts.token_url, "token_url", settings)


def authorize_url(
    facts: OAuthFacts, settings: Mapping[str, Json], *, client_id: str, redirect_uri: str, state: str, pkce: Pkce | None = None
) -> str:  # fmt: skip
    """Return the page on which a person allows access; the vendor sends them back to ``redirect_uri`` with a code and the state."""
    asked = {
        "response_type": "code", "client_id": client_id, "redirect_uri": redirect_uri, "state": state, **facts.authorize_params,
    }  # fmt: skip
    if scope := _scope(facts, settings):
        asked["scope"] = scope
    if facts.pkce and pkce is not None:
        asked |= {"code_challenge": pkce.challenge, "code_challenge_method": "S256"}
    page = addresses(facts, settings)[0]
    return f"{page}{'&' if '?' in page else '?'}{urlencode(asked)}"


class TokenDesk:
    """Asks a vendor for tokens; each verb returns what changes in a connection's secret (see ``TOKENS``).

    Raises ``AuthRevoked`` where only a person can help, and the other errors of the taxonomy; none shows a token.
    """

    def __init__(
        self, vendor: str, facts: OAuthFacts, settings: Mapping[str, Json], clock: Clock, *, mend: str = "Connect again.",
        retry: Retry | None = None, timeout: float = 10.0,
    ) -> None:  # fmt: skip
        self._vendor = vendor
        self._facts = facts
        self._settings = settings
        self._clock = clock
        self._mend = mend
        self._retry = retry or Retry(tries=2, patience=5 * SECOND)
        self._timeout = timeout

    def exchange(self, client: Mapping[str, str], code: str, redirect_uri: str, pkce: Pkce | None) -> dict[str, str]:
        """Give the code of a person who allowed access, and get the first tokens."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        if self._facts.pkce and pkce is not None:
            form["code_verifier"] = pkce.verifier
        return self._ask(client, form, safe=False)

    def renew(self, values: Mapping[str, str]) -> dict[str, str]:
        """Get another access token, by the grant of the secret."""
        grant = values.get("grant", GRANTS[0])
        match grant:
            case "client_credentials":
                scope = _scope(self._facts, self._settings)
                return self._ask(values, {"grant_type": grant, **({"scope": scope} if scope else {})}, safe=True)
            case "jwt_bearer":
                form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": self._assertion(values)}
                return self._ask(values, form, safe=True, client=False)
            case _:
                if not values.get("refresh_token"):
                    raise AuthRevoked(
                        f"{self._vendor}: the access has ended, and there is nothing to renew it by", hint=self._mend
                    )
                form = {"grant_type": "refresh_token", "refresh_token": values["refresh_token"]}
                return self._ask(values, form, safe=not self._facts.rotates)

    def _ask(self, values: Mapping[str, str], form: Mapping[str, str], *, safe: bool, client: bool = True) -> dict[str, str]:
        url = addresses(self._facts, self._settings)[1]
        headers: dict[str, str] = {}
        sent = {**form, **self._facts.token_params}
        if client and self._facts.client == "basic":
            # RFC 6749, section 2.3.1: both are form-encoded first.
            pair = ":".join(quote(values.get(name, ""), safe="") for name in ("client_id", "client_secret"))
            headers["authorization"] = "Basic " + b64encode(pair.encode()).decode()
        elif client:
            sent |= {name: values[name] for name in ("client_id", "client_secret") if values.get(name)}
        began = self._clock.now()
        transport = Transport(
            self._vendor, urlunsplit((*urlsplit(url)[:2], "", "", "")), retry=self._retry, timeout=self._timeout,
            clock=self._clock, refuse=self._refused,
        )  # fmt: skip
        try:
            answer = transport.request("POST", url, form=sent, headers=headers, safe=safe)
        finally:
            transport.close()
        return self._tokens(_said(answer), began)

    def _tokens(self, said: Mapping[str, Any], began: int) -> dict[str, str]:
        found = {"access_token": str(said["access_token"]), "revoked": "", "expires_at": "", "renew_at": ""}
        if said.get("refresh_token"):  # many vendors give it once only
            found["refresh_token"] = str(said["refresh_token"])
        try:
            lasting: float | None = float(said["expires_in"])
        except (KeyError, TypeError, ValueError):
            lasting = self._facts.lasting
        if lasting is not None and lasting > 0:
            whole = int(lasting * SECOND)
            found |= {"expires_at": str(began + whole), "renew_at": str(began + whole - min(_EARLY, whole // 10))}
        base = self._facts.base_field and said.get(self._facts.base_field)
        if isinstance(base, str) and base:
            try:
                check_address(base)
            except InvalidInput as error:
                raise RemoteError(f"{self._vendor} names an address that cannot be called: {error.message}") from None
            found["base_url"] = base
        return found

    def _refused(self, answer: Answer, error: RemoteError | None) -> RemoteError | None:
        """Say what an answer means; vendors also give errors with 200 (Zoho), or in a field of their own (HubSpot's ``status``)."""
        said = _said(answer)
        if error is None and said.get("access_token") and not said.get("error"):
            return None
        named = [said.get(name) for name in ("error", "status", "errorType")]
        codes = [text for text in named if isinstance(text, str) and _CODE.fullmatch(text)]
        code = codes[0] if codes else "the answer holds no token"
        text, status = f"{self._vendor} gave no token: {answer.status} - {code}", answer.status
        if any(code in self._facts.revoked for code in codes):
            return AuthRevoked(text, hint=f"The access was taken back or has ended. {self._mend}", http_status=status)
        if "invalid_client" in codes or "unauthorized_client" in codes:
            return AuthRevoked(text, hint=f"Look at the client id and secret of the app. {self._mend}", http_status=status)
        if status == 429 or "Access Denied" in codes:  # Zoho, asked for tokens too often
            wait = error.retry_after if error is not None and error.retry_after else _COOL
            return RateLimited(text, retry_after=wait, http_status=status)
        if isinstance(error, Transient) or codes[:1] in (["temporarily_unavailable"], ["server_error"]):
            return Transient(text, http_status=status, sent=True, retry_after=error.retry_after if error is not None else None)
        return RemoteInvalid(text, http_status=status, hint=self._mend)

    def _assertion(self, values: Mapping[str, str]) -> str:
        """Return a JWT that is good for three minutes, signed with the connection's private key (RS256)."""
        try:
            from cryptography.hazmat.primitives import hashes, serialization
            from cryptography.hazmat.primitives.asymmetric import padding, rsa
        except ImportError:
            raise NotInstalled(
                "cryptography is not installed; this grant needs it.", hint="pip install 'tailorbird[crm]'"
            ) from None
        try:
            key = serialization.load_pem_private_key(values.get("private_key", "").encode(), password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise InvalidInput("private_key is no RSA key in PEM without a password.", hint=self._mend)
        token = urlsplit(addresses(self._facts, self._settings)[1])
        audience = values.get("audience") or f"{token.scheme}://{token.netloc}"
        claims = {
            "iss": values.get("client_id", ""), "sub": values.get("user", ""), "aud": audience,
            "exp": (self._clock.now() + _JWT_LASTING) // SECOND,
        }  # fmt: skip
        signed = ".".join(_url64(msgspec.json.encode(part)) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
        return f"{signed}.{_url64(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def __repr__(self) -> str:
        return f"TokenDesk({self._vendor!r})"


def _address(template: str, setting: str, settings: Mapping[str, Json]) -> str:
    own = settings.get(setting)
    url = own if isinstance(own, str) and own else _PLACE.sub(lambda place: _filled(place, settings), template)
    there = settings.get("url")
    if not own and isinstance(there, str) and is_loopback(urlsplit(there).hostname or ""):
        url = urlunsplit((*urlsplit(there)[:2], *urlsplit(url)[2:]))
    check_address(url.partition("?")[0])
    return url


def _scope(facts: OAuthFacts, settings: Mapping[str, Json]) -> str:
    """Return what is asked for: the setting ``scopes``, words with spaces between, else what the connector needs."""
    own = settings.get("scopes")
    return facts.scope_separator.join(own.split() if isinstance(own, str) and own.strip() else facts.scopes)


def _filled(place: re.Match[str], settings: Mapping[str, Json]) -> str:
    name, default = place[1], place[2]
    value = settings.get(name, default)
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"the connection needs the setting {name}.", hint=f"Give it with --set {name}=….")
    if place.start() == 0 and value.startswith(("https://", "http://")):
        return value.rstrip("/")
    if not _PLAIN.fullmatch(value):
        raise InvalidInput(
            f"the setting {name} has letters that an address cannot have.", hint="Give a host's name, or a part of it."
        )
    return value


def _said(answer: Answer) -> Mapping[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _url64(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()
