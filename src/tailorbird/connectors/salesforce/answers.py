"""What Salesforce answers, in our words: its errors, whole and by row, and what it says of its limits.

Source: REST API Developer Guide, "Status Codes and Error Responses", "sObject Collections", "API Limits and Monitoring".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tailorbird.connectors.rest import (
    Answer,
    AuthExpired,
    AuthRevoked,
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

__all__ = ["VENDOR", "error_of", "long_id", "object_of", "quota", "refuse"]

VENDOR: Final = "Salesforce"

_KINDS: Final[Mapping[str, type[RemoteError]]] = {
    "INVALID_SESSION_ID": AuthExpired, "INVALID_AUTH_HEADER": AuthExpired,
    "REQUEST_LIMIT_EXCEEDED": QuotaExhausted, "STORAGE_LIMIT_EXCEEDED": QuotaExhausted,
    "UNABLE_TO_LOCK_ROW": Locked,
    "DUPLICATES_DETECTED": RemoteConflict, "DUPLICATE_VALUE": RemoteConflict, "DUPLICATE_EXTERNAL_ID": RemoteConflict,
    "NOT_FOUND": RemoteNotFound, "ENTITY_IS_DELETED": RemoteNotFound, "INVALID_CROSS_REFERENCE_KEY": RemoteNotFound,
    "MALFORMED_ID": RemoteNotFound,
    "INSUFFICIENT_ACCESS": Forbidden, "INSUFFICIENT_ACCESS_OR_READONLY": Forbidden, "API_DISABLED_FOR_ORG": Forbidden,
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": Forbidden, "API_CURRENTLY_DISABLED": Forbidden,
    "SERVER_UNAVAILABLE": Transient, "QUERY_TIMEOUT": Transient, "UNKNOWN_EXCEPTION": Transient,
}  # fmt: skip
_HINTS: Final[Mapping[type[RemoteError], str]] = {
    AuthExpired: "The session ended or is not accepted; connect Salesforce again.",
    AuthRevoked: "The connected app may not use the REST API for this user; ask the administrator of Salesforce, then connect again.",
    Forbidden: "The user of the connection needs the permission for this in Salesforce (profile, permission set).",
    QuotaExhausted: "The organisation's requests of 24 hours are used up; they come back bit by bit.",
    Locked: "Somebody else is changing the record; it is tried again later.",
    RemoteInvalid: "Compare the mapping with the fields of the object in Salesforce.",
}
_NEVER: Final = ("This session is not valid for use with the REST API", "Connected app is not attached to Agent")
"""What a 401 says when a new token would be refused like the old one."""

_EXISTING: Final = re.compile(r"record with id:\s*([A-Za-z0-9]{15,18})\b")
_LINKED: Final = re.compile(r"/([A-Za-z0-9]{15,18})$")
_NAMED: Final = re.compile(r"(?:No such column '|Unable to create/update fields: |Required fields are missing: \[)([\w., ]+)")
_USAGE: Final = re.compile(r"(?:^|[^-\w])api-usage=(\d{1,12})/(\d{1,12})")
_ID: Final = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{2,80}")
_SUFFIX: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_PREFIXES: Final[Mapping[str, str]] = {"003": "contact", "00Q": "lead"}


def long_id(id: str) -> str | None:
    """Return an id in its form of 18 characters, by which two are compared; None for what is none.

    >>> long_id("0035e00000AbCdE"), long_id("0035e00000AbCdEAAV"), long_id("../x")
    ('0035e00000AbCdEAAV', '0035e00000AbCdEAAV', None)
    """
    if not _ID.fullmatch(id):
        return None
    if len(id) == 18:
        return id
    parts = [id[start : start + 5] for start in (0, 5, 10)]
    # The last three say which letters are capitals, five at a time.
    return id + "".join(_SUFFIX[sum(1 << n for n, letter in enumerate(part) if letter.isupper())] for part in parts)


def object_of(id: str) -> str | None:
    """Return which kind of person an id stands for, by how it begins; None where it stands for none."""
    return _PREFIXES.get(id[:3]) if long_id(id) else None


def quota(answer: Answer) -> tuple[int, int] | None:
    """Return (limit, left) of the requests of 24 hours as an answer says them.

    >>> quota(Answer(200, {"sforce-limit-info": "api-usage=18/5000; per-app-api-usage=17/250(appName=x)"}, b""))
    (5000, 4982)
    """
    found = _USAGE.search(answer.headers.get("sforce-limit-info", ""))
    return (int(found[2]), max(0, int(found[2]) - int(found[1]))) if found else None


def refuse(answer: Answer, error: RemoteError | None) -> RemoteError | None:
    """Refine what a status says by the codes that Salesforce gives besides."""
    if error is None:
        return None
    try:
        body = answer.json()
    except ValueError:  # gateways answer in HTML
        body = None
    if answer.status == 300 and isinstance(body, list):
        found = _LINKED.search(str(body[0])) if body else None
        return RemoteConflict(
            f"{VENDOR} API error: 300 - several records have this external id", http_status=300,
            hint="Make the values of the field unique in Salesforce.", existing=found[1] if found else None,
        )  # fmt: skip
    first = body[0] if isinstance(body, list) and body and isinstance(body[0], dict) else {}
    code = first.get("errorCode")
    if not isinstance(code, str):
        hint = _HINTS.get(type(error), "")
        return type(error)(error.message, hint=hint, http_status=answer.status, retry_after=error.retry_after, sent=error.sent)
    kind = _KINDS.get(code, type(error))
    if answer.status == 401 and any(text in str(first.get("message")) for text in _NEVER):
        kind = AuthRevoked
    return _made(kind, code, first, status=answer.status, error=error)


def error_of(errors: Any, *, sent: bool = False) -> RemoteError:
    """Return the error of one row of a collection: there the code is called ``statusCode``."""
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    code = str(first.get("statusCode") or first.get("errorCode") or "UNKNOWN")
    return _made(_KINDS.get(code, RemoteInvalid), code, first, sent=sent)


def _made(
    kind: type[RemoteError], code: str, told: Mapping[str, Any], *, status: int | None = None, error: RemoteError | None = None,
    sent: bool = False,
) -> RemoteError:  # fmt: skip
    """Return an error with what may be said of it: the code and names of fields, never the message, which quotes values."""
    message = str(told.get("message") or "")
    wait = error.retry_after if error is not None else None
    if kind is QuotaExhausted:
        if "concurrent" in message.lower():  # that passes by itself in seconds
            kind = RateLimited
        else:
            wait = wait or HOUR
    elif kind is Locked:
        wait = wait or 2 * SECOND
    code = code if _CODE.fullmatch(code) else "UNKNOWN"
    fields = tuple(name for name in told.get("fields") or () if isinstance(name, str))
    if not fields:
        named = _NAMED.search(message)
        fields = tuple(part for part in re.split(r"[,\s]+", named[1]) if part) if named else ()
    where = f"{status} - {code}" if status else code
    return kind(
        f"{VENDOR} API error: {where}" + (f" ({', '.join(fields)[:200]})" if fields and kind is RemoteInvalid else ""),
        hint=_HINTS.get(kind, ""), http_status=status, retry_after=wait, fields=fields,
        sent=sent or (error.sent if error is not None else False),
        existing=_existing(told, message) if kind is RemoteConflict else None,
    )  # fmt: skip


def _existing(told: Mapping[str, Any], message: str) -> str | None:
    """Return the id of the record that was there first: in the message, or in the result of the duplicate rule."""
    found = _EXISTING.search(message)
    if found:
        return long_id(found[1])
    # The REST API itself spells the name of this field without its l.
    result = told.get("duplicateResut") or told.get("duplicateResult") or {}
    for match in result.get("matchResults") or () if isinstance(result, dict) else ():
        for record in match.get("matchRecords") or ():
            id = (record.get("record") or {}).get("Id")
            if isinstance(id, str):
                return long_id(id)
    return None
