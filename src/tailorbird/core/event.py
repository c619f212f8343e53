"""An Event: an immutable fact about a profile, and the names of the events Tailorbird writes itself."""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = [
    "CONSENT_GRANTED",
    "CONSENT_WITHDRAWN",
    "MEMBER_ADDED",
    "MEMBER_REMOVED",
    "MERGED",
    "PROFILE_UPDATED",
    "SEGMENT_ENTERED",
    "SEGMENT_EXITED",
    "STAGE_CHANGED",
    "TAG_ADDED",
    "TAG_REMOVED",
    "UNMERGED",
    "Event",
    "Json",
]

Json = Any
"""A decoded JSON value: None, bool, int, float, str, list or dict with str keys."""

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
