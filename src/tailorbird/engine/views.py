"""What the façade answers with: plain values that every face can encode; instants in ms since 1970 (UTC)."""

from __future__ import annotations

from typing import Any

import msgspec

from tailorbird.core.action import Action
from tailorbird.core.event import Json
from tailorbird.core.profile import Provenance

__all__ = [
    "Answer", "EventView", "FeatureView", "IdentifierView", "MemberPage", "MemberView", "MembershipView", "OutboxPage",
    "ProfileView", "SegmentView", "Timeline",
]  # fmt: skip


class IdentifierView(msgspec.Struct, frozen=True):
    """A name a profile goes by, and since when."""

    kind: str
    value: str
    at: int


class MembershipView(msgspec.Struct, frozen=True):
    """A segment that the profile is in, since when, and by which version of it."""

    segment: str
    entered_at: int
    version: int


class ProfileView(msgspec.Struct, frozen=True, kw_only=True):
    """One person or company as it is now. ``segments`` are sorted names; ``merged`` the public ids that were merged into it."""

    id: str
    kind: str
    created_at: int
    identifiers: tuple[IdentifierView, ...] = ()
    attributes: dict[str, Json] = {}
    provenance: dict[str, Provenance] = {}
    tags: tuple[str, ...] = ()
    consents: dict[str, bool] = {}
    segments: tuple[str, ...] = ()
    memberships: tuple[MembershipView, ...] = ()


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is shown to people."""

    id: str
    type: str
    at: int
    received_at: int
    source: str
    data: dict[str, Json]
    cause: str | None = None


class Timeline(msgspec.Struct, frozen=True):
    """Events newest first; ``next`` is the cursor of the older ones, None at the end."""

    events: tuple[EventView, ...]
    next: str | None = None


class FeatureView(msgspec.Struct, frozen=True, kw_only=True):
    """A feature as it is defined: its type, its expression, the views it is in, and how current it is."""

    name: str
    type: str
    value: str
    version: int
    views: tuple[str, ...] = ()
    description: str | None = None
    fresh_at: int | None = None
    error: str | None = None


class SegmentView(msgspec.Struct, frozen=True, kw_only=True):
    """A live segment: its size now, its condition (None: kept by hand), and how current it is."""

    name: str
    size: int
    version: int
    when: str | None = None
    description: str | None = None
    explanation: str | None = None
    activated_at: int | None = None
    fresh_at: int | None = None
    error: str | None = None


class MemberView(msgspec.Struct, frozen=True):
    """A member of a segment: public id, what people would call it, since when, by which version."""

    id: str
    name: str
    entered_at: int
    version: int


class MemberPage(msgspec.Struct, frozen=True):
    """Some members, in the order of their keys; ``next`` is the cursor of those after, None at the end."""

    members: tuple[MemberView, ...]
    next: str | None = None


class OutboxPage(msgspec.Struct, frozen=True):
    """Some actions, in the order of their admission; ``next`` is where those after begin, None at the end."""

    actions: tuple[Action, ...]
    next: int | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What an expression yields: for one profile its value (None: unknown), for everybody how many it is true for."""

    expression: str
    type: str
    instant: int
    profile: str | None = None
    value: Any = None
    count: int | None = None
    total: int | None = None
