"""What Follow Up Boss answers when it refuses, in our words.

Source: docs.followupboss.com, "Rate Limiting", "Authentication", "Identification".
"""

from __future__ import annotations

from typing import Final

from tailorbird.connectors.rest import (
    Answer,
    AuthExpired,
    Forbidden,
    RateLimited,
    RemoteConflict,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Transient,
)
from tailorbird.core.context import SECOND

__all__ = ["VENDOR", "refuse"]

VENDOR: Final = "Follow Up Boss"

_WORDS: Final = {
    AuthExpired: ("Unauthorized", "Check the API key of the connection (Admin, API in Follow Up Boss), or connect again."),
    Forbidden: (
        "Forbidden",
        "The key's user may not do this, the account has ended, or it takes a registered system (X-System-Key). "
        "Webhooks need the key of the account's owner.",
    ),
    RemoteNotFound: ("Not Found", ""),
    RemoteInvalid: ("Bad Request", "Compare the mapping with the fields of Follow Up Boss."),
    RemoteConflict: ("Conflict", ""),
}
_SYSTEM: Final = "Registered Systems Only"


def refuse(answer: Answer, error: RemoteError | None) -> RemoteError | None:
    """Say in words what a status stands for; the vendor's own message quotes values and is not repeated."""
    if error is None:
        return None
    if isinstance(error, RateLimited):
        wait = error.retry_after
        if wait is None:
            window = answer.headers.get("x-ratelimit-window", "")
            wait = (int(window) if window.isdecimal() and len(window) < 5 else 10) * SECOND
        return RateLimited(f"{VENDOR} API error: 429 - Too Many Requests", http_status=429, retry_after=wait)
    if isinstance(error, Transient):
        return error
    word, hint = _WORDS.get(type(error), ("", ""))
    if isinstance(error, Forbidden) and _SYSTEM in answer.body[:2000].decode(errors="replace"):
        word, hint = _SYSTEM, "Register a system with Follow Up Boss and give the connection its X-System-Key."
    message = f"{VENDOR} API error: {answer.status}" + (f" - {word}" if word else "")
    return type(error)(message, hint=hint, http_status=answer.status, retry_after=error.retry_after, sent=error.sent)
