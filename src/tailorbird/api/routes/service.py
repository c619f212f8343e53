"""The segmentation and personalization service: everything about a contact in one answer, and its three parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any, Final

import msgspec
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from starlette.responses import Response

from tailorbird.api.answers import Answer, Send, encode, refusal, send_answer
from tailorbird.api.bodies import Receive, decode
from tailorbird.api.problems import CONTENT_TYPE, Problem
from tailorbird.api.shapes import answers, reference
from tailorbird.engine import Engine
from tailorbird.engine.service import INTERACTIONS, MAX_INTERACTIONS, Answered, ContextView, UnknownContact
from tailorbird.errors import InvalidInput, TailorbirdError
from tailorbird.personalization.rules import Personalization, Segmentation

__all__ = ["Ask", "ContextFound", "PersonalizationFound", "Refused", "SegmentFound", "Shortcut", "replies", "router"]


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


Reply = Callable[[bytes], Answer]


def replies(engine: Engine) -> dict[str, Reply]:
    """Return what answers each path of the service, given the body of a POST; to be called from a thread."""
    service = engine.service

    def invoke(ask: Ask) -> Answered:
        return service.invoke(_id(ask), ask.interaction_limit, ask.query)

    def context(ask: Ask) -> ContextFound:
        return ContextFound(contact_id=_id(ask), crm_context=service.context(_id(ask), ask.interaction_limit))

    def segment(ask: Ask) -> SegmentFound:
        judged = service.judge(_id(ask))
        return SegmentFound(contact_id=_id(ask), segmentation=judged.segmentation, because=judged.because)

    def personalization(ask: Ask) -> PersonalizationFound:
        found = service.segment(_id(ask))
        return PersonalizationFound(contact_id=_id(ask), segment=found.segment, personalization=found.personalization)

    return {
        "/invoke": partial(_reply, invoke), "/mcp/crm/segment/context": partial(_reply, context),
        "/mcp/crm/segment": partial(_reply, segment), "/mcp/crm/personalization": partial(_reply, personalization),
    }  # fmt: skip


class Shortcut:
    """Answers questions about contacts ahead of FastAPI's routing; everything else is let through."""

    def __init__(self, inner: Callable[[Any, Receive, Send], Awaitable[None]], known: Mapping[str, Reply]) -> None:
        self._inner = inner
        self._known = known

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request whose body comes in one piece."""
        found = self._known.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self._inner(scope, receive, send)
            return
        body = (await receive()).get("body", b"")
        try:
            answer = await run_sync(found, body)
        except TailorbirdError as error:
            answer = refusal(error)
        await send_answer(send, answer)


def router(engine: Engine) -> APIRouter:
    """Return the routes of the service, for whoever browses them; the ``Shortcut`` answers before they are reached."""
    routes = APIRouter(tags=["service"])
    known = replies(engine)

    async def answer(request: Request) -> Response:
        found = await run_sync(known[request.url.path], await request.body())
        return Response(found.body, found.status, media_type="application/json")

    @routes.post("/invoke", responses=_answers(Answered), operation_id="invoke", openapi_extra=_extra(INTERACTIONS, "query"))
    async def invoke(request: Request) -> Response:
        """Everything about a contact: CRM context, segmentation, personalization, narrative, and what is missing."""
        return await answer(request)

    @routes.post(
        "/mcp/crm/segment/context", responses=_answers(ContextFound), operation_id="segment_context",
        openapi_extra=_extra(INTERACTIONS),
    )  # fmt: skip
    async def segment_context(request: Request) -> Response:
        """What the CRM says of a contact: the contact, their account, the latest interactions."""
        return await answer(request)

    @routes.post("/mcp/crm/segment", responses=_answers(SegmentFound), operation_id="segment_contact", openapi_extra=_extra())
    async def segment_contact(request: Request) -> Response:
        """A contact's label, why they have it, and what follows from it."""
        return await answer(request)

    @routes.post(
        "/mcp/crm/personalization",
        responses=_answers(PersonalizationFound),
        operation_id="personalization",
        openapi_extra=_extra(),
    )
    async def personalize(request: Request) -> Response:
        """How to speak to a contact: over which channel, and what to recommend."""
        return await answer(request)

    return routes


_decoder: Final = msgspec.json.Decoder(Ask)


def _reply(ask: Callable[[Ask], Any], body: bytes) -> Answer:
    try:
        return Answer(encode(ask(decode(_decoder, body) if body.strip() not in (b"", b"null") else Ask())))
    except UnknownContact as error:
        return Answer(encode(Refused(error=error.message, contact_id=error.contact_id)), error.status)
    except InvalidInput as error:
        return Answer(encode(Refused(error=error.message)), error.status)


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
    broken = {
        "application/json": refused[422]["content"]["application/json"],
        CONTENT_TYPE: refused[422]["content"][CONTENT_TYPE],
    }
    return found | refused | {400: {"description": "The body is broken", "content": broken}}
