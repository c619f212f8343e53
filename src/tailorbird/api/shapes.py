"""How answers are told in the OpenAPI: schemas made from the very types that are encoded."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import msgspec
from fastapi import Query
from pydantic import BaseModel, ConfigDict

from tailorbird.api.problems import CONTENT_TYPE, Problem
from tailorbird.engine.refs import read_instant
from tailorbird.errors import InvalidInput

__all__ = ["PROBLEMS", "Body", "Instant", "Limit", "Ref", "answers", "cursor", "instant", "reference"]

_TEMPLATE: Final = "#/components/schemas/{name}"

Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most")]
Instant = Annotated[
    str | None, Query(description="ms since 1970, or ISO 8601 text such as 2026-01-31T12:00:00Z; left out: now", max_length=40)
]
Ref = str


_FAR: Final = 2**53
_CURSOR: Final = re.compile(r"[0-9]{1,18}(-[0-9]{1,18})?\Z")


def cursor(text: str | None, name: str) -> str | None:
    """Return a cursor that has the form of one; raise ``InvalidInput`` for what no page can have given."""
    if text is not None and not _CURSOR.match(text):
        raise InvalidInput(f"{name} {text!r:.60} is not a cursor.", hint="Use the value of next from the page before.")
    return text


def instant(value: int | str | None, name: str) -> int | None:
    """Return an instant that was asked for in ms, None for none; raise ``InvalidInput`` for nonsense."""
    if value is None:
        return None
    if isinstance(value, str) and not value.isascii():
        raise InvalidInput(f"{name} is not an instant.", hint="Give ms since 1970, or text such as 2026-01-31T12:00:00Z.")
    found = read_instant(value, name, anywhere=name == "at")  # intake judges the instant of an event
    if abs(found) > _FAR:
        raise InvalidInput(f"{name} {found} lies further from 1970 than 285,000 years.", hint="Instants are ms since 1970.")
    return found


class Body(BaseModel):
    """A request body: nothing but what is named here, each value of its own type."""

    model_config = ConfigDict(extra="forbid", strict=True)


def reference(*types: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a schema for each type, and the components that those refer to."""
    found, components = msgspec.json.schema_components(types, ref_template=_TEMPLATE)
    return list(found), components


def answers(*shapes: Any, text: str = "Done", status: int = 200) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that answers with one of these types.

    Their components travel along until the whole OpenAPI is put together.
    """
    schemas, components = reference(*shapes)
    content = {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}}
    return {status: {"description": text, "content": content, "x-components": components}}


_problem_schema, _ = reference(Problem)
PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": text, "content": {CONTENT_TYPE: {"schema": _problem_schema[0]}}}
    for status, text in {
        400: "The request is broken: not JSON, not UTF-8, nested too deeply",
        401: "There is no valid API key",
        403: "The key lacks the scope, or the request came from elsewhere",
        404: "What was named does not exist",
        409: "It contradicts what is stored",
        413: "It is too large",
        415: "The body is of a kind that is not known here",
        422: "The request is well formed but not acceptable; `mistakes` say why",
        503: "The store cannot answer now; try again",
    }.items()
}
