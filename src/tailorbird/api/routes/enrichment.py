"""Enrichment: begin it for people or a campaign, what it would cost, and how far it is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import Response

from tailorbird.api.answers import Page, reply
from tailorbird.api.shapes import Body, answers
from tailorbird.engine import Engine
from tailorbird.engine.enriching import Begun, Cost, EnrichmentCounts

__all__ = ["router"]

Ref = Annotated[str, Field(min_length=1, max_length=300)]
Definition = Annotated[
    str | None, Field(max_length=64, description="The enrichment's name; left out: the only one, else the built-in")
]
Force = Annotated[bool, Field(description="Ask again about people who were asked about lately; it costs again")]


class Wanted(Body):
    """Whom to enrich."""

    profiles: Annotated[list[Ref], Field(min_length=1, max_length=1_000, examples=[["ann", "email:bob@example.com"]])]
    definition: Definition = None
    force: Force = False


class How(Body):
    """How to enrich."""

    definition: Definition = None
    force: Force = False


def router(engine: Engine) -> APIRouter:
    """Return the routes about enrichment."""
    routes = APIRouter(prefix="/api/v1/enrichment", tags=["enrichment"])
    enrichment = engine.enrichment

    @routes.post("/contacts", responses=answers(Page[Begun], text="What came of each"), operation_id="enrich_contacts")
    def enrich_contacts(body: Wanted) -> Response:
        """Begin to enrich people. The questions go out in the background; nobody is asked about twice within the chosen time."""
        found = enrichment.enrich_batch(body.profiles, definition=body.definition, force=body.force)
        return reply(Page(items=tuple(found)))

    @routes.post(
        "/campaigns/{campaign}", responses=answers(Page[Begun], text="What came of each"), operation_id="enrich_campaign"
    )
    def enrich_campaign(
        campaign: Annotated[str, Path(description="The campaign's name", max_length=200)], body: How | None = None
    ) -> Response:
        """Begin to enrich everybody who came with a campaign."""
        how = body or How()
        found = enrichment.enrich_from_campaign(campaign, definition=how.definition, force=how.force)
        return reply(Page(items=tuple(found)))

    @routes.post("/cost", responses=answers(Cost, text="Credits at most"), operation_id="enrichment_cost")
    def enrichment_cost(body: Wanted) -> Response:
        """What enriching these people may cost at most; nothing is asked."""
        return reply(enrichment.cost(body.profiles, definition=body.definition, force=body.force))

    @routes.get("/statistics", responses=answers(EnrichmentCounts, text="Counts"), operation_id="enrichment_statistics")
    def enrichment_statistics() -> Response:
        """How many people are enriched and verified, how each provider did, and what it was paid."""
        return reply(enrichment.statistics())

    return routes
