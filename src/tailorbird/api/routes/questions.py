"""Questions: any expression, for one profile or for everybody, as of any instant."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from tailorbird.api.answers import reply
from tailorbird.api.shapes import Body, answers, instant
from tailorbird.engine import Answer, Engine
from tailorbird.errors import InvalidInput
from tailorbird.expr.check import resolve, type_of
from tailorbird.expr.explain import explain
from tailorbird.expr.json import from_json, to_json
from tailorbird.expr.parse import parse
from tailorbird.expr.render import to_text

__all__ = ["Question", "Understood", "router"]


class Question(Body):
    """An expression as text or in its JSON form; for one profile its value is asked, else for how many it is true."""

    expression: Annotated[str | None, Field(max_length=100_000, examples=["count(page.viewed, within 7d) >= 3"])] = None
    json_form: Annotated[Any, Field(alias="json", description="The expression in its JSON form, instead of text")] = None
    profile: Annotated[str | None, Field(min_length=1, max_length=300, examples=["ann"])] = None
    as_of: Annotated[int | str | None, Field(description="ms since 1970 or ISO 8601 text; left out: now")] = None
    check_only: Annotated[bool, Field(description="Check it and say how it is understood; nothing is evaluated")] = False


class Understood(msgspec.Struct, frozen=True, kw_only=True):
    """How an expression is understood: its type, in words, as canonical text, and in its JSON form."""

    expression: str
    type: str
    explanation: str
    json: Any


def router(engine: Engine) -> APIRouter:
    """Return the route that answers expressions."""
    routes = APIRouter(prefix="/api/v1", tags=["questions"])

    @routes.post("/evaluate", responses=answers(Answer, Understood, text="The answer"), operation_id="evaluate")
    def evaluate(body: Question) -> Response:
        """Evaluate an expression, as of now or any other instant."""
        if (body.expression is None) == (body.json_form is None):
            raise InvalidInput("`expression` and `json` are both there, or neither is.", hint="Send one of them.")
        text = to_text(from_json(body.json_form)) if body.expression is None else body.expression
        if body.check_only:
            node = parse(text)
            kind = type_of(resolve(node, engine.loop.catalog.schema, text=text))
            return reply(Understood(expression=to_text(node), type=str(kind), explanation=explain(node), json=to_json(node)))
        as_of, limit = instant(body.as_of, "as_of"), engine.settings.question_limit
        return reply(engine.evaluate(text, profile=body.profile, as_of=as_of, limit=limit))

    return routes
