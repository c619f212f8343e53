"""What the simulated HubSpot answers when something is wrong."""

from __future__ import annotations

from typing import Any, Final

from tailorbird.simulators.base import Reply

__all__ = ["Wrong", "error_of", "over_limit", "row_error"]

_CORRELATION: Final = "aeb5f871-7f07-4993-9211-075dc63e7cbf"
_WINDOWS: Final = {"TEN_SECONDLY_ROLLING": "ten_secondly_rolling", "DAILY": "daily", "SECONDLY": "secondly"}


class Wrong(Exception):
    """Ends the answering of a request with an error's reply."""

    def __init__(self, status: int, message: str, category: str = "VALIDATION_ERROR", **more: Any) -> None:
        super().__init__(message)
        self.reply = error_of(status, message, category, **more)


def error_of(status: int, message: str, category: str, **more: Any) -> Reply:
    """Return an error as HubSpot writes it."""
    told = {"status": "error", "message": message, "correlationId": _CORRELATION, "category": category, **more}
    return Reply(status, told)


def over_limit(policy: str) -> Reply:
    """Return what HubSpot says when a limit is passed: which one, but not until when."""
    told = f"You have reached your {_WINDOWS[policy]} limit."
    return error_of(429, told, "RATE_LIMITS", errorType="RATE_LIMIT", policyName=policy)


def row_error(message: str, category: str, trace: str | None, **context: list[str]) -> dict[str, Any]:
    """Return the error of one row of a batch; ``trace`` tells whose it is."""
    if trace is not None:
        context["objectWriteTraceId"] = [trace]
    return {"status": "error", "category": category, "message": message, "context": context, "errors": [], "links": {}}
