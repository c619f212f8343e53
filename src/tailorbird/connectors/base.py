"""What connectors share: the protocol they speak, re-exported, and reading what a provider says about waiting."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from tailorbird.core.context import SECOND
from tailorbird.ports import Connector

__all__ = ["Connector", "retry_after"]


def retry_after(header: str | None, now: int) -> int | None:
    """Return the ms a ``Retry-After`` header asks for (RFC 9110, 10.2.3: seconds or a date); None when it says nothing usable.

    >>> retry_after("120", 0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 0), retry_after("soon", 0), retry_after(None, 0)
    (120000, 60000, None, None)
    """
    if not header:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text) * SECOND
    try:
        return max(0, int(parsedate_to_datetime(text).timestamp() * 1000) - now)
    except (ValueError, OverflowError, IndexError):
        return None
