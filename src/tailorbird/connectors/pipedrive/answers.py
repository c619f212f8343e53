"""What Pipedrive answers when it refuses, in our words: also with 200, and with a page of its gateway.

Source: developers.pipedrive.com, "Rate limiting", "HTTP status codes".
"""

from __future__ import annotations

import re
from typing import Any, Final

from tailorbird.connectors.rest import (
    Answer,
    AuthExpired,
    Forbidden,
    QuotaExhausted,
    RateLimited,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Transient,
)
from tailorbird.core.context import HOUR, SECOND

__all__ = ["VENDOR", "refuse"]

VENDOR: Final = "Pipedrive"

_WORDS: Final = {
    AuthExpired: ("Unauthorized", "Check the API token of the connection (Personal preferences, API), or connect again."),
    Forbidden: ("Forbidden", "The token's user needs the permission for this in Pipedrive."),
    RemoteNotFound: ("Not Found", ""),
    RemoteInvalid: ("Bad Request", "Compare the mapping with the fields of persons in Pipedrive."),
}
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{2,60}")
_BLOCKED: Final = 5 * 60 * SECOND


def refuse(answer: Answer, error: RemoteError | None) -> RemoteError | None:
    """Say in words what an answer stands for; an answer of 200 may be a refusal."""
    try:
        told: Any = answer.json() if answer.body else None
    except ValueError:
        told = None
    body = told if isinstance(told, dict) else {}
    if error is None:
        if body.get("success") is False:
            return RemoteInvalid(
                f"{VENDOR} API error: {answer.status} - success is false",
                http_status=answer.status,
                hint=_WORDS[RemoteInvalid][1],
            )
        return None
    if isinstance(error, RateLimited):
        return _limited(answer, error)
    if isinstance(error, Transient):
        return error
    if isinstance(error, Forbidden) and told is None and answer.body.lstrip()[:1] == b"<":
        # The gateway shuts out whom 429 did not stop.
        return RateLimited(f"{VENDOR} API error: 403 - blocked for too many requests", http_status=403, retry_after=_BLOCKED)
    code = str(body.get("code") or "")
    word, hint = _WORDS.get(type(error), ("", ""))
    if isinstance(error, Forbidden) and _CODE.fullmatch(code):
        word, hint = code, "The company's plan does not allow this; the credentials are good."
    fields = tuple(str(name) for name in body["errors"]) if isinstance(body.get("errors"), dict) else ()
    message = f"{VENDOR} API error: {answer.status}" + (f" - {word}" if word else "")
    return type(error)(
        message, hint=hint, http_status=answer.status, retry_after=error.retry_after, sent=error.sent, fields=fields
    )


def _limited(answer: Answer, error: RemoteError) -> RemoteError:
    if answer.headers.get("x-daily-requests-left") == "0":
        return QuotaExhausted(
            f"{VENDOR} API error: 429 - the day's budget is used up", http_status=429, retry_after=error.retry_after or HOUR,
            hint="It comes back at midnight of Pipedrive's server.",
        )  # fmt: skip
    reset = answer.headers.get("x-ratelimit-reset", "")
    wait = error.retry_after or (int(reset) if reset.isdecimal() and len(reset) < 6 and int(reset) else 2) * SECOND
    return RateLimited(f"{VENDOR} API error: 429 - Too Many Requests", http_status=429, retry_after=wait)
