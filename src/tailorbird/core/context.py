"""Time as an argument: the clocks, and the few constants of the calendar."""

from __future__ import annotations

import time
from typing import Final, Protocol

__all__ = ["DAY", "HOUR", "MINUTE", "SECOND", "WEEK", "Clock", "ManualClock", "SystemClock"]

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY


class Clock(Protocol):
    """Tells the instant: milliseconds since 1970 (UTC)."""

    def now(self) -> int: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until it is told to move; for tests and simulation.

    >>> clock = ManualClock(1_000); clock.move_to(2_000); clock.now()
    2000
    """

    def __init__(self, instant: int) -> None:
        self._instant = instant

    def now(self) -> int:
        return self._instant

    def move_to(self, instant: int) -> None:
        """Move forward to an instant; moving backward raises ``ValueError``."""
        if instant < self._instant:
            raise ValueError(f"the clock stands at {self._instant} and cannot go back to {instant}")
        self._instant = instant
