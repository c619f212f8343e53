"""Rows of the driver as values of the core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tailorbird.core.action import Action
from tailorbird.core.definition import Definition
from tailorbird.core.event import Event
from tailorbird.core.profile import Profile, Provenance
from tailorbird.storage.sql import schema

__all__ = ["ACTION", "EVENT", "PROFILE", "action", "definition", "event", "profile"]

_EVENT_NAMES: Final = ("seq", "id", "type", "profile", "origin", "at", "received_at", "source", "data", "cause")
EVENT: Final = [schema.event.c[name] for name in _EVENT_NAMES]
PROFILE: Final = list(schema.profile.c)
ACTION: Final = list(schema.outbox.c)


def event(row: Sequence[Any]) -> Event:
    """Return the event of a row of ``EVENT`` columns."""
    seq, id_, type_, about, origin, at, received_at, source, data, cause = row
    return Event(
        id=id_,
        type=type_,
        profile=about,
        at=at,
        received_at=received_at,
        source=source,
        data=_decode(data),
        cause=cause,
        seq=seq,
        origin=origin,
    )


def profile(row: Sequence[Any]) -> Profile:
    """Return the profile of a row of ``PROFILE`` columns."""
    key, id_, kind, bucket, created_at, attributes, provenance, tags, consents, merged_into = row
    return Profile(
        key=key, id=id_, bucket=bucket, kind=kind, created_at=created_at, attributes=_decode(attributes),
        provenance=_provenance(provenance), tags=tuple(_decode(tags)), consents=_decode(consents), merged_into=merged_into,
    )  # fmt: skip


def _decode(value: Any) -> Any:
    """Return the value of a JSON column; SQLite's driver gives text, everything else has decoded it already."""
    return msgspec.json.decode(value) if isinstance(value, str) else value


def _provenance(value: Any) -> dict[str, Provenance]:
    if isinstance(value, str):
        return msgspec.json.decode(value, type=dict[str, Provenance])
    return msgspec.convert(value, dict[str, Provenance])


def action(row: Any) -> Action:
    """Return the action of a row of ``ACTION`` columns."""
    return Action(**row._mapping)


def definition(row: Any) -> Definition:
    """Return the definition of a row of the table's columns."""
    return Definition(**row._mapping)
