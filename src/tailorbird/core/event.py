"""An Event: an immutable fact about a profile, and the names of the events Tailorbird writes itself."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

__all__ = [
    "CONSENT_GRANTED",
    "CONSENT_WITHDRAWN",
    "MEMBER_ADDED",
    "MEMBER_REMOVED",
    "MERGED",
    "NAME_PATTERN",
    "PROFILE_UPDATED",
    "SEGMENT_ENTERED",
    "SEGMENT_EXITED",
    "STAGE_CHANGED",
    "TAG_ADDED",
    "TAG_REMOVED",
    "UNMERGED",
    "Event",
    "Json",
    "is_name",
]

Json = Any
"""A decoded JSON value: None, bool, int, float, str, list or dict with str keys."""

NAME_PATTERN: Final = "[ -~]{0,199}[!-~]"
"""What the type and the id of an event from outside look like, whichever way it comes: 1 to 200 printable ASCII characters, the
last one no space. A pattern that Python, DuckDB and JSON Schema read alike."""

_is_name: Final = re.compile(NAME_PATTERN).fullmatch


def is_name(value: object) -> bool:
    """Return whether a value can be the type or the id of an event from outside.

    >>> is_name("order.placed"), is_name("Order Completed"), is_name("commandé"), is_name(""), is_name("a" * 201)
    (True, True, False, False, False)
    """
    return type(value) is str and _is_name(value) is not None


PROFILE_UPDATED: Final = "profile.updated"  # data: {"attributes": {name: value or null}}
TAG_ADDED: Final = "tag.added"  # data: {"tag": name}
TAG_REMOVED: Final = "tag.removed"
CONSENT_GRANTED: Final = "consent.granted"  # data: {"channel", "purpose", "explicit": bool, "proof"}
CONSENT_WITHDRAWN: Final = "consent.withdrawn"
MEMBER_ADDED: Final = "member.added"  # data: {"segment": name}; for segments kept by hand
MEMBER_REMOVED: Final = "member.removed"
SEGMENT_ENTERED: Final = "segment.entered"  # data: {"segment", "version", "reason"}
SEGMENT_EXITED: Final = "segment.exited"
STAGE_CHANGED: Final = "stage.changed"  # data: {"lifecycle", "from", "to", "rule", "reason"}
MERGED: Final = "profile.merged"  # data: {"merge", "loser", "rule"}
UNMERGED: Final = "profile.unmerged"


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An immutable fact.

    ``at`` is when it happened and ``received_at`` when we took it in, both in milliseconds since 1970 (UTC);
    ``at <= received_at`` always. ``seq`` is the order of arrival, unique and growing. A profile's history is
    ordered by ``(at, seq)``. ``profile`` is the internal key of the profile it is about (0 for none) and
    ``origin`` the key of the profile that its identifier belonged to when it arrived: merging changes
    ``profile``, never ``origin``, which is how a merge can be undone.
    """

    id: str
    type: str
    profile: int
    at: int
    received_at: int
    source: str = "api"
    data: dict[str, Json] = {}
    cause: str | None = None
    seq: int = 0
    origin: int = 0
