"""Notes, tasks and deals: read models folded from a profile's events, so that replay and merges build them anew."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from tailorbird.core.event import Event, Json
from tailorbird.expr.read import parse_time
from tailorbird.ports import RecordRow

__all__ = ["DEAL", "NOTE", "RECORD_TYPES", "TASK", "record_key", "records_of"]

NOTE: Final = "note"
TASK: Final = "task"
DEAL: Final = "deal"

_STATUS: Final = {
    "note.added": "kept", "task.created": "open", "task.completed": "done", "task.cancelled": "cancelled",
    "deal.opened": "open", "deal.moved": "", "deal.won": "won", "deal.lost": "lost",
}  # fmt: skip
"""What an event makes of its record; "" leaves the status as it is."""

RECORD_TYPES: Final = frozenset(_STATUS)
"""The event types that tell of notes, tasks and deals: ``data[kind]`` is the record's id; without one there is no record."""

_OWN: Final = frozenset({"assignee", "due", "stage", "amount", "currency"})
"""What has a column of its own; the rest of what was said is in ``data``."""
_LIMIT: Final = 200


def record_key(event: Event) -> tuple[str, str] | None:
    """Return (kind, id) of the record that an event tells of; None where it names none.

    >>> record_key(Event(id="1", type="deal.won", profile=1, at=0, received_at=0, data={"deal": "D-7"}))
    ('deal', 'D-7')
    """
    kind = event.type.partition(".")[0]
    id_ = event.data.get(kind)
    if isinstance(id_, int) and not isinstance(id_, bool):
        id_ = str(id_)
    return (kind, id_) if isinstance(id_, str) and 0 < len(id_) <= _LIMIT else None


def records_of(profile: int, events: Iterable[Event], *, only: tuple[str, str] | None = None) -> list[RecordRow]:
    """Return the records of a profile, from its events of ``RECORD_TYPES`` at least, in any order.

    They are folded by ``(at, seq)``, so a late event changes what it would have changed in time. With ``only`` (kind, id)
    just that record is returned.
    """
    found: dict[tuple[str, str], RecordRow] = {}
    for event in sorted((e for e in events if e.type in RECORD_TYPES), key=_place):
        key = record_key(event)
        if key is not None and only in (None, key):
            found[key] = _fold(found.get(key), key, profile, event)
    return list(found.values())


def _place(event: Event) -> tuple[int, int]:
    return event.at, event.seq


def _fold(row: RecordRow | None, key: tuple[str, str], profile: int, event: Event) -> RecordRow:
    kind, id_ = key
    if row is None:
        row = RecordRow(
            kind=kind, id=id_, profile=profile, origin=event.origin, status="open", stage=None, assignee=None, due=None,
            amount=None, currency=None, at=event.at, changed_at=event.at, data={},
        )  # fmt: skip
    said = event.data
    more = {name: value for name, value in said.items() if name not in _OWN and name != kind and value is not None}
    return row._replace(
        status=_STATUS[event.type] or row.status,
        stage=_text(said.get("stage"), row.stage),
        assignee=_text(said.get("assignee"), row.assignee),
        due=_instant(said.get("due"), row.due),
        amount=_number(said.get("amount"), row.amount),
        currency=_text(said.get("currency"), row.currency),
        changed_at=event.at,
        data={**row.data, **more},
    )


def _text(value: Json, before: str | None) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LIMIT else before


def _number(value: Json, before: float | None) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) <= 1e15
    return float(value) if good else before


def _instant(value: Json, before: int | None) -> int | None:
    if isinstance(value, str):
        value = parse_time(value)
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return value if good else before
