"""Ending a statement that takes too long, so that its connection can be used again, and saying when one is too large."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final

from tailorbird.core.deadline import Deadline
from tailorbird.errors import InvalidInput, OverTime

__all__ = ["ending"]

_STEPS: Final = 20_000
"""Instructions of SQLite's machine between two looks at the clock: a fraction of a millisecond."""


_TOO_LARGE: Final = ("tables in a join", "Expression tree is too large", "parser stack overflow", "too many", "query too complex")
"""What SQLite says of a statement that is over one of its own limits."""


@contextmanager
def ending(raw: Any, deadline: Deadline | None, *, postgres: bool) -> Iterator[None]:
    """Let statements on the driver's connection run until the deadline, if there is one; raise ``OverTime`` then.

    Raises ``InvalidInput`` where an expression makes a statement larger than SQLite takes.
    """
    if postgres:
        with nullcontext() if deadline is None else _postgres(raw, deadline):
            yield
        return
    try:
        with nullcontext() if deadline is None else _sqlite(raw, deadline):
            yield
    except sqlite3.OperationalError as error:
        if not any(words in str(error) for words in _TOO_LARGE):
            raise
        raise InvalidInput(
            f"the expression is too large for SQLite: {error}.", hint="Split it, or ask with fewer held, sequence and windows."
        ) from None


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
