"""Activities written back into CRMs, and how each connection does."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from tailorbird.api.answers import Page, reply
from tailorbird.api.shapes import Body, answers
from tailorbird.engine import Engine
from tailorbird.engine.activities import ActivityToSync, ConnectionState, Synced

__all__ = ["router"]


class OneActivity(Body):
    """An activity to be written; of a person (``profile``), or of a record by the CRM's id."""

    kind: Annotated[str, Field(max_length=64, examples=["note"])]
    profile: Annotated[str | None, Field(max_length=300)] = None
    record: Annotated[str | None, Field(max_length=200)] = None
    connection: Annotated[str | None, Field(max_length=64, description="Left out: the only one there is")] = None
    subject: Annotated[str, Field(max_length=255)] = ""
    body: Annotated[str, Field(max_length=10_000)] = ""
    at: Annotated[str | int | None, Field(description="Left out: now")] = None
    data: Annotated[dict[str, Any], Field(default_factory=dict)]
    key: Annotated[str | None, Field(max_length=200, description="Tells it apart, so that a second try writes nothing twice")] = (
        None
    )


class Activities(Body):
    """Activities to be written."""

    activities: Annotated[list[OneActivity], Field(min_length=1, max_length=1_000)]


def router(engine: Engine) -> APIRouter:
    """Return the routes about activities and how connections do."""
    routes = APIRouter(prefix="/api/v1/crm", tags=["crm"])

    @routes.get("/status", responses=answers(Page[ConnectionState], text="By name"), operation_id="crm_status")
    def crm_status() -> Response:
        """How each connection does: its status, why, when it resumes, and how many activities wait for it since when."""
        return reply(Page(items=tuple(engine.crm_status())))

    @routes.post("/activities", responses=answers(Page[Synced], text="What became of each"), operation_id="sync_activities")
    def sync_activities(body: Activities) -> Response:
        """Have activities written into timelines; they wait while a CRM is down. A bad one keeps no good one back."""
        given = [ActivityToSync(**one.model_dump()) for one in body.activities]
        return reply(Page(items=tuple(engine.activities.batch_sync_activities(given))))

    return routes
