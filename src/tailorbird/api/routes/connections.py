"""Connections to CRMs: list, make, try, pause, remove; and the page to which a vendor sends people back."""

from __future__ import annotations

from html import escape
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import Field, JsonValue
from starlette.responses import HTMLResponse, Response

from tailorbird.api.answers import Page, reply
from tailorbird.api.problems import CONTENT_TYPE, Problem
from tailorbird.api.shapes import Body, answers, reference
from tailorbird.core.connection import Connection
from tailorbird.core.event import Json
from tailorbird.crm.port import Identity
from tailorbird.engine import Engine
from tailorbird.errors import TailorbirdError

__all__ = ["ConnectionView", "router"]

Name = Annotated[str, Path(description="The connection's name", max_length=60)]
Word = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[a-z][a-z0-9_-]*$")]
Secrets = Annotated[
    dict[Annotated[str, Field(max_length=60)], Annotated[str, Field(max_length=20_000)]],
    Field(max_length=20, description="What is kept sealed and never given out: `key`, `webhook_secret`, `client_id` …"),
]
Plain = Annotated[dict[str, JsonValue], Field(max_length=50, description="What is no secret: `url` and what the CRM asks for")]

_problem, _ = reference(Problem)
_REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    501: {"description": "The part `crm` is not installed here", "content": {CONTENT_TYPE: {"schema": _problem[0]}}},
    502: {"description": "The CRM refused; `code` says how", "content": {CONTENT_TYPE: {"schema": _problem[0]}}},
}
_PAGE: Final = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Tailorbird</title><p>{text}</p></html>'
_PRIVATE: Final = {"cache-control": "no-store", "referrer-policy": "no-referrer", "content-security-policy": "default-src 'none'"}


class NewConnection(Body):
    """A connection to be made, or to take the place of one of the same name."""

    provider: Annotated[str, Field(min_length=1, max_length=60, examples=["hubspot"])]
    name: Annotated[Word | None, Field(description="Left out: the provider's name")] = None
    secret: Secrets = Field(default_factory=dict)
    settings: Plain = Field(default_factory=dict)
    test: Annotated[bool, Field(description="Try it first; what the CRM refuses is not kept")] = True


class Authorization(Body):
    """A connection by OAuth: ``secret`` holds the app's ``client_id`` and ``client_secret``."""

    provider: Annotated[str, Field(min_length=1, max_length=60, examples=["hubspot"])]
    name: Word | None = None
    secret: Secrets
    settings: Plain = Field(default_factory=dict)
    redirect_uri: Annotated[
        str,
        Field(
            max_length=1_000, pattern=r"^https?://[^\s?#]+/api/v1/connections/callback$",
            description="Where people reach this server's callback; the app at the vendor must know it",
        ),
    ]  # fmt: skip


class ConnectionView(msgspec.Struct, frozen=True, kw_only=True):
    """A connection; its credentials are nowhere in it. ``resumes_at``: until then the CRM is left alone."""

    name: str
    provider: str
    status: str
    settings: dict[str, Json]
    error: str | None
    resumes_at: int | None
    created_at: int
    changed_at: int


class AuthorizeView(msgspec.Struct, frozen=True):
    """The vendor's page on which a person allows access, within ten minutes."""

    url: str


def router(engine: Engine) -> APIRouter:
    """Return the routes about connections; making and removing them needs the scope admin."""
    routes = APIRouter(prefix="/api/v1/connections", tags=["connections"])
    connections = engine.connections

    @routes.get("", responses=answers(Page[ConnectionView], text="Connections"), operation_id="list_connections")
    def list_connections() -> Response:
        """Every connection and how it does; no credentials."""
        return reply(Page(items=tuple(_view(found) for found in connections.list())))

    @routes.post("", responses={**answers(ConnectionView, text="The connection"), **_REFUSED}, operation_id="connect")
    def connect(body: NewConnection) -> Response:
        """Make a connection; it is tried first. The credentials are sealed and never given out again."""
        if body.test:
            connections.connect(body.provider, body.name, secret=body.secret, settings=body.settings)
        else:
            connections.add(body.provider, body.name, secret=body.secret, settings=body.settings)
        return reply(_view(connections.get(body.name or body.provider)))

    @routes.post(
        "/authorize", responses={**answers(AuthorizeView, text="Where to send the person"), **_REFUSED}, operation_id="authorize"
    )
    def authorize(body: Authorization) -> Response:
        """Begin a connection by OAuth: send the person to this page; the vendor sends them back to the callback."""
        page = connections.begin(
            body.provider, body.name, secret=body.secret, settings=body.settings, redirect_uri=body.redirect_uri
        )
        return reply(AuthorizeView(page.url))

    @routes.get(
        "/callback", operation_id="authorize_callback", response_class=HTMLResponse,
        responses={
            **{
                status: {"description": text, "content": {"text/html": {"schema": {"type": "string"}}}}
                for status, text in ((200, "Connected"), (502, "Not connected"), (503, "Not connected"))
            },
            422: {
                "description": "Not connected; or no such question at all",
                "content": {"text/html": {"schema": {"type": "string"}}, CONTENT_TYPE: {"schema": _problem[0]}},
            },
        },
    )  # fmt: skip
    def callback(
        state: Annotated[str, Query(max_length=200, description="What belongs to the attempt; good once")] = "",
        code: Annotated[str, Query(max_length=4_000)] = "", error: Annotated[str, Query(max_length=200)] = "",
    ) -> Response:  # fmt: skip
        """Where a vendor sends a person back to; for browsers, and protected by the state."""
        try:
            if not code:
                connections.refuse(state)
                return _page(f"Access was not allowed ({error or 'no code came back'}).", 422)
            found = connections.finish(state, code)
        except TailorbirdError as refused:
            return _page(str(refused), refused.status if refused.status in (422, 502, 503) else 422)
        return _page(f"{found.name} is connected. You can close this page.", 200)

    @routes.post("/{name}/test", responses={**answers(Identity, text="Who we are"), **_REFUSED}, operation_id="test_connection")
    def test_connection(name: Name) -> Response:
        """Ask the CRM who we are, and note how the connection does."""
        return reply(connections.test(name))

    @routes.post("/{name}/pause", responses=answers(ConnectionView, text="The connection"), operation_id="pause_connection")
    def pause_connection(name: Name) -> Response:
        """Leave the CRM alone: what needs it waits."""
        return reply(_view(connections.pause(name)))

    @routes.post("/{name}/resume", responses=answers(ConnectionView, text="The connection"), operation_id="resume_connection")
    def resume_connection(name: Name) -> Response:
        """Go on with a connection."""
        return reply(_view(connections.resume(name)))

    @routes.delete("/{name}", responses=answers(Page[ConnectionView], text="Those that are left"), operation_id="disconnect")
    def disconnect(name: Name) -> Response:
        """Forget a connection, its credentials, and which records stand for whom; people and their history stay."""
        connections.remove(name)
        return list_connections()

    return routes


def _view(found: Connection) -> ConnectionView:
    values = msgspec.structs.asdict(found)
    return ConnectionView(**{name: values[name] for name in ConnectionView.__struct_fields__})


def _page(text: str, status: int) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(text=escape(text)), status, headers=_PRIVATE)
