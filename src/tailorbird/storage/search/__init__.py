"""Finding people: a disposable read model beside the record (SQLite) or in tables of its own (PostgreSQL)."""

from __future__ import annotations

from collections.abc import Sequence

from tailorbird.storage.search.finder import Finder
from tailorbird.storage.search.side import PostgresSide, Side, SqliteSide
from tailorbird.storage.sql.store import SqlStore

__all__ = ["Finder", "attach_finder", "open_finder"]


def open_finder(store: SqlStore) -> Finder:
    """Return what finds people in a store; it is made and brought up to date when it is first asked."""
    return Finder(_side(store))


def attach_finder(store: SqlStore) -> None:
    """Let the read model of a store forget whom the record forgets, at once, whether it is open in this process or not."""
    store.listeners.append(lambda profiles: _erase(store, profiles))


def _erase(store: SqlStore, profiles: Sequence[int]) -> None:
    gone = set(profiles) - store.profiles(list(profiles)).keys()
    side = _side(store)
    if gone and side.exists():  # who merely merged is seen when somebody asks
        finder = Finder(side)
        try:
            finder.erased(profiles)
        finally:
            finder.close()


def _side(store: SqlStore) -> Side:
    path = store.database.path
    if store.postgres or path is None:
        return PostgresSide(store.database)
    return SqliteSide(path, store.database.freshen)
