"""Where a query reads from: the names of the relations, and columns that spare it the parsing of JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tailorbird.expr.types import Type

__all__ = ["Reading", "Source", "no_column"]

Reading = Callable[[tuple[str, ...], Type], str | None]
"""``(path, type) -> SQL`` of a column that already follows the reading rules of the semantics, or None."""


def no_column(path: tuple[str, ...], type: Type) -> str | None:
    """Say that there is no column for this reading: it is taken from the JSON."""
    return None


@dataclass(frozen=True, slots=True)
class Source:
    """The relations to read and the typed columns they offer; all of it is text of our own, never of a person's.

    ``events`` is a relation (seq, type, profile, at[, data]), usable as ``FROM <events> e``; ``profiles`` a relation
    (key, kind, bucket, merged_into) usable as ``FROM <profiles> p``. ``property(path, type)`` may name a column of ``e``
    holding ``data.<path>`` read as the type, ``present(name)`` a bool column of ``e`` telling whether ``data.attributes``
    holds the name (null counts). ``attribute(path, type)`` may name a column of ``p`` with the profile's current value:
    only offer it when the instant asked about is not before the newest event.
    """

    events: str = "event"
    profiles: str = "profile"
    property: Reading = no_column
    present: Callable[[str], str | None] = lambda name: None
    attribute: Reading = no_column
