"""The OpenAPI of everything, the short path included; scopes are told by the function that checks them."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from tailorbird import __version__
from tailorbird.api import forms
from tailorbird.api.guard import scope_of
from tailorbird.api.problems import Problem
from tailorbird.api.routes.definitions import Documents
from tailorbird.api.segment import CALLS, Message
from tailorbird.api.shapes import PROBLEMS, reference
from tailorbird.runtime.ingest import Receipt

__all__ = ["build"]

_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch"})
_ABOUT: Final = (
    "Events in; exact segments, features and answers out. Instants are ms since 1970 (UTC). Errors are RFC 9457 problem "
    "details with a stable `code`. Any POST may carry an `Idempotency-Key`. Keys go into `Authorization: Bearer tb_…`; on "
    "loopback, as long as no key exists, none is needed."
)
_CALLS: Final = {
    "identify": "Say who somebody is and what is known of them",
    "track": "Say that something happened",
    "page": "Say that a page was seen; becomes `page.viewed`",
    "screen": "Say that a screen was seen; becomes `screen.viewed`",
    "group": "Say which company somebody belongs to",
    "alias": "Say that an anonymous visitor is a known person",
}


def build(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of an application whose routes are all there."""
    schema = get_openapi(title="Tailorbird", version=__version__, description=_ABOUT, routes=app.routes)
    components: dict[str, Any] = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    schema["paths"] = _short_paths(components) | schema["paths"]
    components |= reference(Problem)[1] | {"Documents": Documents.model_json_schema()}
    for path, methods in schema["paths"].items():
        for method in _METHODS & methods.keys():
            _complete(path, method, methods[method], components)
    schema["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, `tb_…`"},
        "basic": {"type": "http", "scheme": "basic", "description": "An API key as the user name, as Segment's clients send it"},
    }
    return schema


def _complete(path: str, method: str, operation: dict[str, Any], components: dict[str, Any]) -> None:
    """Gather components, and say how a route refuses and what scope it needs."""
    responses = operation["responses"]
    for answer in responses.values():
        components.update(answer.pop("x-components", {}))
    plain = path in ("/health", "/metrics")
    has_input = bool(operation.get("parameters") or operation.get("requestBody"))
    for status, answer in PROBLEMS.items():
        if plain and status not in (401, 403, 503):
            continue
        if status in (409, 415) and method == "get":
            continue
        if str(status) not in responses or _is_default(responses[str(status)]):
            responses[str(status)] = answer
    if not has_input and not plain:
        responses.pop("422", None)
    scope = scope_of(method.upper(), path)
    operation["security"] = [] if scope is None else [{"bearer": []}, {"basic": []}, {}]
    if scope is not None:
        operation["x-scope"] = scope


def _is_default(answer: dict[str, Any]) -> bool:
    return "HTTPValidationError" in str(answer)


def _short_paths(components: dict[str, Any]) -> dict[str, Any]:
    types = (Message, Receipt, forms.EventIn, forms.Receipts)
    (message, receipt, event, receipts), found = reference(*types)
    components |= found
    paths: dict[str, Any] = {"/api/v1/events": {"post": _events(event, receipt, receipts)}}
    done = {
        "type": "object", "required": ["success"],
        "properties": {
            "success": {"type": "boolean"}, "rejected": {"type": "integer"}, "receipts": {"type": "array", "items": receipt},
            "mistakes": {"type": "array", "items": {"type": "object"}},
        },
    }  # fmt: skip
    full = {
        "name": "receipts", "in": "query", "required": False, "description": "true: answer with receipts, memberships included",
        "schema": {"type": "boolean"},
    }  # fmt: skip
    for call in CALLS:
        paths[f"/v1/{call}"] = {
            "post": _post(call, _CALLS[call], "Segment's tracking API; 32 KB at most.", message, done, [full])
        }
    parcel = {
        "batch": {"type": "array", "items": {"anyOf": [message, {}]}},
        "sentAt": {"type": ["string", "null"]},
        "context": {"type": ["object", "null"]},
    }
    batch = {"type": "object", "required": ["batch"], "properties": parcel}
    text = "Segment's tracking API; 32 KB a call, 500 KB in all. A bad call is told in `mistakes` and costs no other."
    paths["/v1/batch"] = {"post": _post("batch", "Many calls at once", text, batch, done, [full])}
    paths["/api/v1/profiles/{ref}/features"] = {"get": _features()}
    return paths


def _post(name: str, summary: str, text: str, body: Any, answer: Any, parameters: list[Any]) -> dict[str, Any]:
    return {
        "tags": ["events"], "operationId": name, "summary": summary, "description": text, "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": {"description": "Durable", "content": {"application/json": {"schema": answer}}}},
    }  # fmt: skip


def _events(event: Any, receipt: Any, receipts: Any) -> dict[str, Any]:
    text = (
        "One event, or a list of at most 10,000. The receipt comes once the event is durable, and carries the profile's "
        "segments as they are after it. In a list a bad event, whatever it is, is told in its receipt and costs no other; a "
        "list of nothing but bad ones is refused."
    )
    body = {"anyOf": [event, {"type": "array", "items": {"anyOf": [event, {}]}}]}
    return _post("take_events", "Take events in", text, body, {"anyOf": [receipt, receipts]}, [])


def _features() -> dict[str, Any]:
    return {
        "tags": ["features"], "operationId": "read_features", "summary": "Read features of a profile",
        "description": "The short path: a profile that is ready in memory is read in microseconds.",
        "parameters": [
            {"name": "ref", "in": "path", "required": True, "schema": {"type": "string"},
             "description": "A public id (`p_…`), an external id, or `kind:value`"},
            {"name": "names", "in": "query", "required": False, "schema": {"type": "string"},
             "description": "Names of features or feature views with commas between; left out: all"},
            {"name": "as_of", "in": "query", "required": False, "schema": {"type": "string"},
             "description": "ms since 1970 or ISO 8601 text; left out: now"},
        ],
        "responses": {
            "200": {
                "description": "Values by name; null where unknown",
                "content": {"application/json": {"schema": {
                    "type": "object", "required": ["as_of", "features"],
                    "properties": {"as_of": {"type": "integer"}, "features": {"type": "object"}},
                }}},
            }
        },
    }  # fmt: skip
