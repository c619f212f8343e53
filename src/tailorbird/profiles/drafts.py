"""An event as a domain asks for it, before intake gives it an id, a time and a profile."""

from __future__ import annotations

import msgspec

from tailorbird.core.event import Json

__all__ = ["Draft"]


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What intake needs: ``profile`` is a public id or None to resolve by ``identifiers``; the other fields are an Event's."""

    type: str
    data: dict[str, Json] = {}
    identifiers: dict[str, str] = {}
    profile: str | None = None
    kind: str = "person"
    id: str | None = None
    at: int | None = None
    source: str = "tailorbird"
    cause: str | None = None
