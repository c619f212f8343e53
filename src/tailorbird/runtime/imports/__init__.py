"""Bulk import of events and contacts from files, set-based; the record is the same as if the loop had taken each row in."""

from tailorbird.runtime.imports.contacts import import_contacts
from tailorbird.runtime.imports.events import import_events
from tailorbird.runtime.imports.report import Report
from tailorbird.runtime.imports.rows import Progress

__all__ = ["Progress", "Report", "import_contacts", "import_events"]
