"""Staying in step with CRMs, asking them, and the address that they call."""

from __future__ import annotations

from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from tailorbird.api.answers import Page, reply
from tailorbird.api.shapes import Body, Limit, answers, instant
from tailorbird.core.event import Event
from tailorbird.crm.model import Record, WebhookCall, Written
from tailorbird.engine import Engine
from tailorbird.engine.crm_pushing import Pushed
from tailorbird.engine.crm_taking import Taken
from tailorbird.engine.syncing import Segmented
from tailorbird.errors import NotFound

__all__ = ["router"]

Connection = Annotated[str, Path(max_length=64, description="The connection's name")]
Id = Annotated[str, Path(min_length=1, max_length=200, description="The record's id at the CRM")]
Text = Annotated[str | None, Query(max_length=200)]


class Pull(Body):
    """How to pull."""

    full: Annotated[bool, Field(description="Read everything, not only what changed")] = False


class Push(Body):
    """Whom to write, and how."""

    profiles: Annotated[list[str] | None, Field(max_length=10_000, description="Left out: everybody who has a record there")] = (
        None
    )
    create: Annotated[bool, Field(description="Make records for people who have none")] = False
    dry_run: Annotated[bool, Field(description="Only say what would be written")] = False


class Person(Body):
    """What is to be written of one person, by our names of attributes."""

    attributes: Annotated[dict[str, Any], Field(min_length=1, examples=[{"email": "ann@example.com", "city": "Lyon"}])]


def router(engine: Engine) -> APIRouter:
    """Return the routes about CRMs."""
    routes = APIRouter(prefix="/api/v1/crm", tags=["crm"])
    _keeping(routes, engine)
    _asking(routes, engine)
    _called(routes, engine)
    return routes


def _keeping(routes: APIRouter, engine: Engine) -> None:
    @routes.post("/{connection}/pull", responses=answers(Taken, text="What became of the records"), operation_id="pull_crm")
    def pull_crm(connection: Connection, body: Pull | None = None) -> Response:
        """Read what changed at a CRM since the last time, and take it in."""
        return reply(engine.sync.pull(connection, full=(body or Pull()).full))

    @routes.post("/{connection}/push", responses=answers(Pushed, text="What was or would be written"), operation_id="push_crm")
    def push_crm(connection: Connection, body: Push | None = None) -> Response:
        """Write what changed with us into a CRM; a dry run says what would be written."""
        how = body or Push()
        return reply(engine.sync.push(connection, how.profiles, dry_run=how.dry_run, create=how.create))

    @routes.get("/{connection}/conflicts", responses=answers(Page[Event], text="Newest first"), operation_id="crm_conflicts")
    def crm_conflicts(connection: Connection, limit: Limit = 50) -> Response:
        """Return where both sides had changed a field: what each said, and who won."""
        engine.connections.get(connection)
        return reply(Page(items=tuple(engine.sync.conflicts(connection, limit=limit))))

    @routes.post(
        "/{connection}/segments/{segment}", responses=answers(Segmented, text="What was sent"), operation_id="sync_crm_segment"
    )
    def sync_crm_segment(
        connection: Connection, segment: Annotated[str, Path(description="The segment's name", max_length=100)]
    ) -> Response:
        """Bring a segment's list, campaign or tag at a CRM up to date; only differences are sent."""
        return reply(engine.sync.sync_segment(segment, connection))


def _asking(routes: APIRouter, engine: Engine) -> None:
    @routes.get("/{connection}/records", responses=answers(Page[Record], text="Records"), operation_id="query_crm")
    def query_crm(
        connection: Connection, status: Text = None, city: Text = None,
        services: Annotated[list[str] | None, Query(description="All of these")] = None,
        not_signed_for_season: Text = None, last_service_before: Text = None, changed_since: Text = None,
        search: Annotated[str | None, Query(max_length=200, description="A text, in place of all the others")] = None,
        limit: Limit = 100,
    ) -> Response:  # fmt: skip
        """Return people of a CRM for whom everything given holds, as they are there right now."""
        if search is not None:
            return reply(Page(items=tuple(engine.crm.search(search, connection=connection, limit=limit))))
        found = engine.crm.query(
            status=status, city=city, services=services, not_signed_for_season=not_signed_for_season, connection=connection,
            last_service_before=instant(last_service_before, "last_service_before"),
            changed_since=instant(changed_since, "changed_since"), limit=limit,
        )  # fmt: skip
        return reply(Page(items=tuple(found)))

    @routes.get("/{connection}/records/{id}", responses=answers(Record, text="The record"), operation_id="find_crm_record")
    def find_crm_record(connection: Connection, id: Id) -> Response:
        """Return a record by the CRM's id."""
        found = engine.crm.find(id, connection=connection)
        if found is None:
            raise _gone(connection)
        return reply(found)

    @routes.post("/{connection}/records", responses=answers(Written, text="What was written"), operation_id="create_crm_record")
    def create_crm_record(connection: Connection, body: Person) -> Response:
        """Make a record; where one exists already, what is given is written onto it."""
        return reply(engine.crm.create(body.attributes, connection=connection))

    @routes.post(
        "/{connection}/records/{id}", responses=answers(Written, text="What was written"), operation_id="update_crm_record"
    )
    def update_crm_record(connection: Connection, id: Id, body: Person) -> Response:
        """Change the attributes given of a record."""
        found = engine.crm.update(id, body.attributes, connection=connection)
        if found is None:
            raise _gone(connection)
        return reply(found)


def _called(routes: APIRouter, engine: Engine) -> None:
    @routes.post("/{connection}/webhook", operation_id="crm_webhook")
    async def crm_webhook(connection: Connection, request: Request) -> Response:
        """Take a webhook of a CRM: its signature is the key. What it tells of is read afterwards."""
        body = await request.body()
        headers = {name.lower(): value for name, value in request.headers.items()}
        url = engine.sync.webhook_url(connection) or str(request.url)
        call = WebhookCall(method=request.method, url=url, headers=headers, body=body)
        news = await run_sync(engine.sync.receive_webhook, connection, call)
        return reply({"news": news})


def _gone(connection: str) -> NotFound:
    return NotFound(f"there is no record of that id at {connection}.", hint="It may have been deleted there.")
