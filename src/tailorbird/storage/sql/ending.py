"""Ending a statement that takes too long, so that its connection can be used again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tailorbird.core.deadline import Deadline
from tailorbird.errors import OverTime

__all__ = ["ending"]

_STEPS: Final = 20_000
"""Instructions of SQLite's machine between two looks at the clock: a fraction of a millisecond."""


@contextmanager
def ending(raw: Any, deadline: Deadline, *, postgres: bool) -> Iterator[None]:
    """Let statements on the driver's connection run until the deadline; raise ``OverTime`` then."""
    with _postgres(raw, deadline) if postgres else _sqlite(raw, deadline):
        yield


@contextmanager
def _sqlite(raw: sqlite3.Connection, deadline: Deadline) -> Iterator[None]:
    deadline.check()
    raw.set_progress_handler(lambda: deadline.passed, _STEPS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        raise OverTime(deadline.limit) from None
    finally:
        raw.set_progress_handler(None, 0)


@contextmanager
def _postgres(raw: Any, deadline: Deadline) -> Iterator[None]:
    from psycopg.errors import QueryCanceled

    # At least 1: with 0 the server would set no limit.
    raw.execute("SELECT set_config('statement_timeout', %s, false)", (str(max(1, int(deadline.left() * 1000))),))
    try:
        yield
    except QueryCanceled:
        raise OverTime(deadline.limit) from None
    finally:
        raw.execute("RESET statement_timeout")
