"""API keys: list, make, rotate, revoke."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import Response

from tailorbird.api.answers import Page, reply
from tailorbird.api.security import Keyring
from tailorbird.api.shapes import Body, answers, instant
from tailorbird.engine import Engine

__all__ = ["KeyView", "Token", "router"]

Identity = Annotated[str, Path(description="The key's id, the middle part of its token", max_length=40)]


class NewKey(Body):
    """A key to be made."""

    name: Annotated[str, Field(min_length=1, max_length=200, examples=["website"])]
    scopes: Annotated[list[Literal["ingest", "read", "write", "admin"]], Field(min_length=1, max_length=4, examples=[["ingest"]])]
    expires_at: Annotated[int | str | None, Field(description="ms since 1970 or ISO 8601 text; left out: never")] = None


class Rotation(Body):
    """How long the old token stays valid, in ms."""

    grace: Annotated[int, Field(ge=0, le=90 * 86_400_000)] = 0


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None


class Token(msgspec.Struct, frozen=True):
    """A new key's token; it is shown this once."""

    token: str


def router(engine: Engine, keyring: Keyring) -> APIRouter:
    """Return the routes about keys; they need the scope admin."""
    routes = APIRouter(prefix="/api/v1/keys", tags=["keys"])

    @routes.get("", responses=answers(Page[KeyView], text="Keys"), operation_id="list_keys")
    def list_keys() -> Response:
        """Every key, without secrets."""
        return reply(Page(items=tuple(_view(row) for row in keyring.listing())))

    @routes.post("", responses=answers(Token, text="The token"), operation_id="create_key")
    def create_key(body: NewKey) -> Response:
        """Make a key; as soon as there is one, every request needs one."""
        expires = instant(body.expires_at, "expires_at")
        return reply(Token(keyring.create(body.name, body.scopes, engine.now(), expires_at=expires)))

    @routes.post("/{identity}/rotate", responses=answers(Token, text="The new token"), operation_id="rotate_key")
    def rotate_key(identity: Identity, body: Rotation | None = None) -> Response:
        """Give the key's rights to a new token."""
        return reply(Token(keyring.rotate(identity, engine.now(), grace=body.grace if body else 0)))

    @routes.delete("/{identity}", responses=answers(Page[KeyView], text="The keys that are left"), operation_id="revoke_key")
    def revoke_key(identity: Identity) -> Response:
        """Take a key out of force at once."""
        keyring.revoke(identity, engine.now())
        return list_keys()

    return routes


def _view(row: dict[str, Any]) -> KeyView:
    return KeyView(**{name: row[name] for name in KeyView.__struct_fields__})
