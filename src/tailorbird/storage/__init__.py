"""Where the record is kept."""

from __future__ import annotations

from tailorbird.storage.batch import attach_columns
from tailorbird.storage.search import attach_finder, open_finder
from tailorbird.storage.sql.store import SqlStore

__all__ = ["open_finder", "open_store"]


def open_store(url: str) -> SqlStore:
    """Open the store at a URL: a file's path, ``sqlite:///path``, ``:memory:`` or ``postgresql://…``.

    ``sqlite:///path?journal=N``: units of N events and more are taken in by way of a journal; see ``storage/sql/journal.py``.
    """
    store = SqlStore(url)
    attach_columns(store)
    attach_finder(store)
    return store
