"""The segmentation and personalization service: everything about a contact in one answer, and its three parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from starlette.responses import Response

from tailorbird.api.answers import reply
from tailorbird.api.bodies import decode
from tailorbird.api.problems import CONTENT_TYPE, Problem
from tailorbird.api.shapes import answers, reference
from tailorbird.engine import Engine
from tailorbird.engine.service import INTERACTIONS, MAX_INTERACTIONS, Answered, ContextView, UnknownContact
from tailorbird.errors import InvalidInput
from tailorbird.personalization.rules import Personalization, Segmentation

__all__ = ["Ask", "ContextFound", "PersonalizationFound", "Refused", "SegmentFound", "router"]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Which contact is asked about; what else a caller sends along is ignored."""

    contact_id: str | int | None = None
    interaction_limit: int = INTERACTIONS
    query: str | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why there is no answer; ``contact_id`` when nobody is known by it."""

    error: str
    contact_id: str | None = None


class ContextFound(msgspec.Struct, frozen=True, kw_only=True):
    """What the CRM says of a contact."""

    contact_id: str
    crm_context: ContextView


class SegmentFound(msgspec.Struct, frozen=True, kw_only=True):
    """A contact's label and what follows from it; ``because`` says why in words."""

    contact_id: str
    segmentation: Segmentation
    because: str


class PersonalizationFound(msgspec.Struct, frozen=True, kw_only=True):
    """How to speak to a contact."""

    contact_id: str
    segment: str
    personalization: Personalization


def router(engine: Engine) -> APIRouter:
    """Return the routes of the service."""
    routes = APIRouter(tags=["service"])
    service = engine.service

    def context(ask: Ask) -> ContextFound:
        return ContextFound(contact_id=_id(ask), crm_context=service.context(_id(ask), ask.interaction_limit))

    def segment(ask: Ask) -> SegmentFound:
        judged = service.judge(_id(ask))
        return SegmentFound(contact_id=_id(ask), segmentation=judged.segmentation, because=judged.because)

    def personalization(ask: Ask) -> PersonalizationFound:
        found = service.segment(_id(ask))
        return PersonalizationFound(contact_id=_id(ask), segment=found.segment, personalization=found.personalization)

    @routes.post("/invoke", responses=_answers(Answered), operation_id="invoke", openapi_extra=_extra(INTERACTIONS, "query"))
    async def invoke(request: Request) -> Response:
        """Everything about a contact: CRM context, segmentation, personalization, narrative, and what is missing."""
        return await _answer(request, lambda ask: service.invoke(_id(ask), ask.interaction_limit, ask.query))

    @routes.post(
        "/mcp/crm/segment/context", responses=_answers(ContextFound), operation_id="segment_context",
        openapi_extra=_extra(INTERACTIONS),
    )  # fmt: skip
    async def segment_context(request: Request) -> Response:
        """What the CRM says of a contact: the contact, their account, the latest interactions."""
        return await _answer(request, context)

    @routes.post("/mcp/crm/segment", responses=_answers(SegmentFound), operation_id="segment_contact", openapi_extra=_extra())
    async def segment_contact(request: Request) -> Response:
        """A contact's label, why they have it, and what follows from it."""
        return await _answer(request, segment)

    @routes.post(
        "/mcp/crm/personalization", responses=_answers(PersonalizationFound), operation_id="personalization", openapi_extra=_extra()
    )
    async def personalize(request: Request) -> Response:
        """How to speak to a contact: over which channel, and what to recommend."""
        return await _answer(request, personalization)

    return routes


_decoder: Final = msgspec.json.Decoder(Ask)


async def _answer(request: Request, ask: Callable[[Ask], Any]) -> Response:
    body = await request.body()
    try:
        asked = decode(_decoder, body) if body.strip() not in (b"", b"null") else Ask()
        return reply(await run_sync(ask, asked))
    except UnknownContact as error:
        return reply(Refused(error=error.message, contact_id=error.contact_id), error.status)
    except InvalidInput as error:
        return reply(Refused(error=error.message), error.status)


def _id(ask: Ask) -> str:
    return "" if ask.contact_id is None else str(ask.contact_id).strip()


def _extra(limit: int | None = None, *more: str) -> dict[str, Any]:
    """Return how a request's body is told in the OpenAPI."""
    properties: dict[str, Any] = {
        "contact_id": {
            "anyOf": [{"type": "string", "minLength": 1, "maxLength": 300}, {"type": "integer"}], "examples": ["email:ann@example.com"],
            "description": "A public id (`p_…`), an external id, `kind:value`, or the id in another CRM that is connected",
        }
    }  # fmt: skip
    if limit is not None:
        properties["interaction_limit"] = {
            "type": "integer", "minimum": 1, "maximum": MAX_INTERACTIONS, "default": limit,
            "description": "How many of the latest interactions the answer shows",
        }  # fmt: skip
    if more:
        properties["query"] = {
            "type": ["string", "null"], "maxLength": 2_000, "description": "What the narrative should answer; it changes nothing else",
        }  # fmt: skip
    schema = {"type": "object", "required": ["contact_id"], "properties": properties}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _answers(shape: Any) -> dict[int | str, dict[str, Any]]:
    found = answers(shape, text="The answer")
    found |= answers(Refused, text="No CRM knows a contact by that id", status=404)
    refused = answers(Refused, text="contact_id is missing, or something else is not acceptable", status=422)
    refused[422]["content"][CONTENT_TYPE] = {"schema": reference(Problem)[0][0]}
    broken = {"application/json": refused[422]["content"]["application/json"], CONTENT_TYPE: refused[422]["content"][CONTENT_TYPE]}
    return found | refused | {400: {"description": "The body is broken", "content": broken}}
