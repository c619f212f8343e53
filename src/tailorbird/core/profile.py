"""A Profile: the person or company that events fold into, and the identifiers it is known by."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tailorbird.core.event import Json

__all__ = ["Identifier", "IdentifierKind", "Profile", "Provenance"]


class IdentifierKind(StrEnum):
    """The kinds of identifier, strongest first; a CRM's id is ``crm:<connection>`` and ranks with ``external_id``."""

    EXTERNAL_ID = "external_id"
    EMAIL = "email"
    PHONE = "phone"
    ANONYMOUS_ID = "anonymous_id"


class Identifier(msgspec.Struct, frozen=True, gc=False):
    """A name that a profile goes by: ``kind`` is an ``IdentifierKind`` or ``crm:<connection>``; ``value`` is normalised."""

    kind: str
    value: str


class Provenance(msgspec.Struct, frozen=True, gc=False):
    """Where an attribute's value came from: the type we read it as, the source, and the event's ``(at, seq)``."""

    type: str
    source: str
    at: int
    seq: int


class Profile(msgspec.Struct, kw_only=True):
    """One person or company. ``key`` is internal, ``id`` public and for ever, ``bucket`` its fixed chance.

    ``attributes``, ``tags`` and ``consents`` are folded from events (as of the last one taken in).
    ``consents`` maps ``"channel/purpose"`` to whether it is given. ``merged_into`` is the key of the winner or None.
    """

    key: int
    id: str
    bucket: int
    kind: str = "person"
    created_at: int = 0
    attributes: dict[str, Json] = {}
    provenance: dict[str, Provenance] = {}
    tags: tuple[str, ...] = ()
    consents: dict[str, bool] = {}
    merged_into: int | None = None
