"""Actions: what is to be done outside, what became of it, and what is to be tried again."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from tailorbird.api.answers import Page, reply
from tailorbird.api.shapes import Body, Limit, answers, cursor, instant
from tailorbird.core.action import Action, ActionStatus
from tailorbird.engine import Engine

__all__ = ["ActionView", "router"]

Key = Annotated[str, Path(description="The action's idempotency key", max_length=300)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Wish(Body):
    """An action to be put into the outbox; one per key is ever admitted, and the gate is asked first."""

    key: Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[!-~]+$", examples=["welcome:ann"])]
    kind: Annotated[Name, Field(examples=["webhook.post"])]
    connector: Annotated[Name, Field(examples=["log"])]
    payload: Annotated[dict[str, Any], Field(default_factory=dict)]
    profile: Annotated[str | None, Field(min_length=1, max_length=300)] = None
    channel: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    purpose: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    due: Annotated[int | str | None, Field(description="ms since 1970 or ISO 8601 text; left out: now")] = None


class ActionView(msgspec.Struct, frozen=True, kw_only=True):
    """An action without its payload; ``due`` is when it is tried next, or was settled."""

    key: str
    kind: str
    connector: str
    status: str
    due: int
    created_at: int
    attempts: int = 0
    channel: str | None = None
    purpose: str | None = None
    cause: str | None = None
    error: str | None = None


def router(engine: Engine) -> APIRouter:
    """Return the routes about the outbox."""
    routes = APIRouter(prefix="/api/v1", tags=["outbox"])

    @routes.post("/actions", responses=answers(ActionView, text="The action as admitted"), operation_id="enqueue_action")
    def enqueue_action(body: Wish) -> Response:
        """Put an action into the outbox. The same key again gives the action that is there already."""
        action = engine.enqueue(
            body.kind, body.connector, body.payload, key=body.key, profile=body.profile, channel=body.channel,
            purpose=body.purpose, due=instant(body.due, "due"),
        )  # fmt: skip
        return reply(_view(action))

    @routes.get("/outbox", responses=answers(Page[ActionView], text="Actions"), operation_id="list_outbox")
    def list_outbox(
        status: Annotated[ActionStatus | None, Query(description="`dead` lists the dead letters")] = None,
        after: Annotated[str | None, Query(description="`next` of the page before", max_length=40)] = None,
        limit: Limit = 50,
    ) -> Response:
        """Actions in the order of their admission."""
        found = engine.outbox(status=status, after=int(cursor(after, "after") or 0), limit=limit)
        following = None if found.next is None else str(found.next)
        return reply(Page(items=tuple(_view(action) for action in found.actions), next=following))

    @routes.post(
        "/outbox/{key}/requeue", responses=answers(ActionView, text="The action as it is then"), operation_id="requeue_action"
    )
    def requeue_action(key: Key) -> Response:
        """Give a dead or refused action another chance, with fresh attempts."""
        return reply(_view(engine.requeue(key)))

    return routes


def _view(action: Action) -> ActionView:
    return ActionView(**{name: getattr(action, name) for name in ActionView.__struct_fields__})
