"""What HubSpot's errors and batches mean: each error in our taxonomy, each row's fate by its trace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tailorbird.connectors.rest import (
    Answer,
    AuthExpired,
    Forbidden,
    Locked,
    QuotaExhausted,
    RateLimited,
    RemoteConflict,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Transient,
)
from tailorbird.core.context import HOUR, SECOND
from tailorbird.core.event import Json

__all__ = ["body_of", "path_of", "refuse", "row_errors"]

_EXISTING: Final = re.compile(r"Existing ID:\s*(\d+)|(\d+) already has that value")
_CATEGORY: Final = re.compile(r"[A-Z_]{3,40}")
_NAME: Final = re.compile(r"[a-z0-9_]{1,100}")
_AGAIN: Final = {"TEN_SECONDLY_ROLLING": 10 * SECOND, "SECONDLY": SECOND}
_BY_CATEGORY: Final[Mapping[str, type[RemoteError]]] = {
    "CONFLICT": RemoteConflict, "OBJECT_NOT_FOUND": RemoteNotFound, "VALIDATION_ERROR": RemoteInvalid,
    "RATE_LIMITS": RateLimited, "MISSING_SCOPES": Forbidden,
}  # fmt: skip


def path_of(kind: str, *rest: str) -> str:
    """Return the path of a kind of object: the one place that knows the version of the API.

    >>> path_of("contacts", "batch", "read")
    'crm/v3/objects/contacts/batch/read'
    """
    return "/".join(("crm/v3/objects", kind, *rest))


def body_of(answer: Answer) -> dict[str, Any]:
    """Return the object an answer holds; raises ``Transient`` for what is none."""
    try:
        body: Json = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Transient("HubSpot answered what is no JSON object", sent=True)
    return body


def refuse(answer: Answer, error: RemoteError | None) -> RemoteError | None:
    """Refine what a status says by what HubSpot says besides; nothing of its messages is repeated, since they name people."""
    status = answer.status
    if error is None:
        return None
    if status == 477:
        return Transient("HubSpot API error: 477 - the account is being moved", http_status=477, retry_after=error.retry_after)
    if status >= 500:
        return error
    try:
        told = answer.json()
    except ValueError:
        told = None
    body: dict[str, Any] = told if isinstance(told, dict) else {}
    category = _category(body)
    if status == 401:
        return AuthExpired(
            "HubSpot API error: 401 - Unauthorized", http_status=401,
            hint="Check the access token, or connect again with `tailorbird connect hubspot`.",
        )  # fmt: skip
    if status == 403:
        scopes = _listed(body, "missingScopes", "requiredGranularScopes", "requiredScopes")
        hint = f"Give the app these scopes: {', '.join(scopes)}." if scopes else "Give the app the scopes that this needs."
        return Forbidden(f"HubSpot API error: 403 - {category or 'Forbidden'}", hint=hint, http_status=403)
    if status == 423:
        return Locked("HubSpot API error: 423 - Locked", http_status=423, retry_after=error.retry_after or 2 * SECOND)
    if status == 429:
        policy = str(body.get("policyName") or "")
        if policy == "DAILY":
            said = "HubSpot API error: 429 - the day's requests are used up"
            return QuotaExhausted(said, http_status=429, retry_after=error.retry_after or HOUR)
        wait = error.retry_after or _AGAIN.get(policy, 10 * SECOND)
        return RateLimited("HubSpot API error: 429 - Too Many Requests", http_status=429, retry_after=wait)
    existing = _EXISTING.search(str(body.get("message") or "")) if status in (400, 409) else None
    if existing is not None:
        return RemoteConflict(
            f"HubSpot API error: {status} - CONFLICT", http_status=status, existing=existing[1] or existing[2],
            hint="Write to the record that is there.",
        )  # fmt: skip
    fields = _fields(body)
    hint = f"Look at {', '.join(fields)}." if fields else ""
    return type(error)(
        f"HubSpot API error: {status}" + (f" - {category}" if category else ""), hint=hint, http_status=status, fields=fields,
        retry_after=error.retry_after, sent=error.sent,
    )  # fmt: skip


def row_errors(body: Mapping[str, Any]) -> dict[str, RemoteError]:
    """Return the errors of a batch by the trace of their row; one that names no row is under ""."""
    found: dict[str, RemoteError] = {}
    for told in body.get("errors") or ():
        category = _category(told)
        existing = _EXISTING.search(str(told.get("message") or ""))
        kind = RemoteConflict if existing else _BY_CATEGORY.get(category, RemoteError)
        said = f"HubSpot API error: {category or 'the row was refused'}"
        error = kind(said, existing=(existing[1] or existing[2]) if existing else None, fields=_fields(told))
        traces = (told.get("context") or {}).get("objectWriteTraceId") or [""]
        found |= dict.fromkeys([str(one) for one in traces], error)
    return found


def _category(body: Mapping[str, Any]) -> str:
    category = str(body.get("category") or "")
    return category if _CATEGORY.fullmatch(category) else ""


def _fields(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of properties that an error tells of; a value is never taken for a name."""
    parts = [body, *(one for one in body.get("errors") or () if isinstance(one, dict))]
    names = [name for part in parts for name in (part.get("context") or {}).get("propertyName") or ()]
    names += [part["name"] for part in parts if isinstance(part.get("name"), str)]
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str) and _NAME.fullmatch(name)))


def _listed(body: Mapping[str, Any], *names: str) -> list[str]:
    parts = [body, *(one for one in body.get("errors") or () if isinstance(one, dict))]
    found = [one for part in parts for name in names for one in (part.get("context") or {}).get(name) or ()]
    return [one for one in dict.fromkeys(found) if isinstance(one, str) and re.fullmatch(r"[a-z0-9._-]{3,80}", one)]
