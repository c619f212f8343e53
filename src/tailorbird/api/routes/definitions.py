"""Definitions: apply, check, preview, activate, roll back, archive."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from tailorbird.api.answers import Page, reply
from tailorbird.api.shapes import Body, answers
from tailorbird.core.definition import Definition, Kind, Status
from tailorbird.definitions.files import What
from tailorbird.definitions.lifecycle import Applied
from tailorbird.definitions.source import MAX_TEXT
from tailorbird.engine import Engine
from tailorbird.errors import InvalidDefinition, NotFound, TooLarge
from tailorbird.segments.backfill import Backfilled
from tailorbird.segments.preview import Preview

__all__ = ["Change", "Documents", "Named", "router"]

Name = Annotated[str, Path(description="A definition's name", max_length=200)]

_EXAMPLE = [{"kind": "segment", "name": "hot_lead", "when": 'count(page.viewed where url contains "/pricing", within 7d) >= 3'}]


class Documents(Body):
    """Definitions as JSON; YAML text can be sent instead, with ``Content-Type: application/yaml``."""

    definitions: Annotated[list[dict[str, Any]], Field(min_length=1, examples=[_EXAMPLE])]


class Version(Body):
    """Which version to activate."""

    version: Annotated[int | None, Field(ge=1, le=2**31, description="Left out: the newest")] = None


class Named(msgspec.Struct, frozen=True):
    """A definition's name."""

    kind: str
    name: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: definitions by what happened to them, and the segments whose members were computed anew."""

    activated: tuple[Definition, ...] = ()
    saved: tuple[Definition, ...] = ()
    archived: tuple[Definition, ...] = ()
    unchanged: tuple[Named, ...] = ()
    segments: dict[str, Backfilled] = {}


def router(engine: Engine) -> APIRouter:
    """Return the routes about definitions."""
    routes = APIRouter(prefix="/api/v1/definitions", tags=["definitions"])
    _applying(routes, engine)
    _moving(routes, engine)
    return routes


_body: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Documents"}},
            "application/yaml": {"schema": {"type": "string"}, "example": "kind: segment\nname: french\nwhen: country = \"FR\"\n"},
        },
    }
}  # fmt: skip


def _applying(routes: APIRouter, engine: Engine) -> None:
    # FastAPI knows one kind of body a route: the OpenAPI's `_body` says what is read by `_what`.
    @routes.get("", responses=answers(Page[Definition], text="Versions"), operation_id="list_definitions")
    def list_definitions(kind: Kind | None = None, status: Status | None = None) -> Response:
        """Every version of every definition, with its status, freshness and last error."""
        return reply(Page(items=tuple(engine.definitions(kind=kind, status=status))))

    @routes.post("", responses=answers(Change, text="What changed"), operation_id="apply_definitions", openapi_extra=_body)
    async def apply_definitions(
        request: Request, activate: Annotated[bool, Query(description="false: check and store only")] = True
    ) -> Response:
        """Check all definitions together, every mistake told at once; then store and activate what changed."""
        what = await _what(request)
        return reply(_change(await run_sync(lambda: engine.apply(what, activate=activate))))

    @routes.post(
        "/check", responses=answers(Change, text="What would change"), operation_id="check_definitions", openapi_extra=_body
    )
    async def check_definitions(request: Request) -> Response:
        """Check definitions and say what applying them would do; nothing is written."""
        what = await _what(request)
        return reply(_change(await run_sync(lambda: engine.check(what))))

    @routes.post(
        "/preview", responses=answers(Page[Preview], text="Each new or changed segment"), operation_id="preview_definitions",
        openapi_extra=_body,
    )  # fmt: skip
    async def preview_definitions(
        request: Request, sample: Annotated[int, Query(ge=0, le=100, description="How many people to show")] = 10
    ) -> Response:
        """Size, a sample, and who would enter and leave, for each segment that is new or changed."""
        what = await _what(request)
        limit = engine.settings.question_limit
        return reply(Page(items=tuple(await run_sync(lambda: engine.preview(what, sample=sample, limit=limit)))))


def _moving(routes: APIRouter, engine: Engine) -> None:
    @routes.get("/{kind}/{name}", responses=answers(Page[Definition], text="Its versions"), operation_id="get_definition")
    def get_definition(kind: Kind, name: Name) -> Response:
        """All versions of one definition."""
        found = tuple(engine.store.definitions(kind=kind, name=name))
        if not found:
            raise NotFound(f"There is no {kind} called {name}.", hint="List what there is with GET /api/v1/definitions.")
        return reply(Page(items=found))

    @routes.post("/{kind}/{name}/activate", responses=answers(Change, text="What changed"), operation_id="activate_definition")
    def activate_definition(kind: Kind, name: Name, body: Version | None = None) -> Response:
        """Activate a stored version."""
        return reply(_change(engine.activate(kind, name, body.version if body else None)))

    @routes.post("/{kind}/{name}/roll-back", responses=answers(Change, text="What changed"), operation_id="roll_back_definition")
    def roll_back_definition(kind: Kind, name: Name) -> Response:
        """Go back to the version that was active before."""
        return reply(_change(engine.roll_back(kind, name)))

    @routes.post("/{kind}/{name}/archive", responses=answers(Change, text="What changed"), operation_id="archive_definition")
    def archive_definition(kind: Kind, name: Name) -> Response:
        """End a definition; refused while another one needs it."""
        return reply(_change(engine.archive(kind, name)))


async def _what(request: Request) -> What:
    """Return the definitions of a body; never a path, whatever it says."""
    body = await request.body()
    if len(body) > MAX_TEXT:
        raise TooLarge(
            f"the definitions have {len(body)} bytes; at most {MAX_TEXT} are read at once.",
            hint="Send them in several requests, what others need first.",
        )
    if request.headers.get("content-type", "").partition(";")[0].strip().lower().endswith("yaml"):
        try:
            return body.decode() + "\n"  # with a line break it is text, and never the name of a file
        except UnicodeDecodeError:
            raise InvalidDefinition("the body is not UTF-8") from None
    return Documents.model_validate_json(body or b"{}").definitions


def _change(done: Applied) -> Change:
    unchanged = tuple(Named(str(kind), name) for kind, name in done.unchanged)
    return Change(
        activated=done.activated, saved=done.saved, archived=done.archived, unchanged=unchanged, segments=dict(done.segments)
    )
