"""Bulk import of events and contacts from files, set-based; the record is the same as if the loop had taken each row in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tailorbird.runtime.imports.settling import settled, unsettled

if TYPE_CHECKING:
    from tailorbird.runtime.imports.contacts import import_contacts as import_contacts
    from tailorbird.runtime.imports.events import import_events as import_events
    from tailorbird.runtime.imports.report import Report as Report
    from tailorbird.runtime.imports.rows import Progress as Progress

__all__ = ["Progress", "Report", "import_contacts", "import_events", "settled", "unsettled"]

_HOMES = {"Progress": "rows", "Report": "report", "import_contacts": "contacts", "import_events": "events"}


def __getattr__(name: str) -> Any:
    """Import what is asked for: reading files needs DuckDB, which takes a while to load and few commands need."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
