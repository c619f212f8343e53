"""OAuth 2.0: where a vendor gives tokens, and how they are asked for and renewed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["OAuthFacts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthFacts:
    """What is particular about a vendor's OAuth. Addresses may hold ``{name}``, filled in from a connection's settings.

    ``client`` says how the client shows who it is: in the form, or by Basic. ``grants`` are the ways to a token that the vendor
    knows. ``base_field`` names the field of the token's answer that says which address to call (``instance_url``, ``api_domain``).
    ``lasting`` in s is assumed where the answer says nothing (None: until a 401). ``revoked`` are error codes after which only a
    person can help; ``rotates``: each renewal gives a new refresh token, and the old one is void.
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
