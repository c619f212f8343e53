"""How long looking for an answer may take."""

from __future__ import annotations

import time
from collections.abc import Callable

from tailorbird.errors import OverTime

__all__ = ["Deadline"]


class Deadline:
    """Begins to run when it is made; what works on an answer asks it now and then. It decides whether there is an answer at all,
    never which.

    ``limit`` is in ms; ``read`` is a clock that only goes forward, in seconds.
    """

    def __init__(self, limit: int, *, read: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._read = read
        self._end = read() + limit / 1000

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return self._read() >= self._end

    def check(self) -> None:
        """Raise ``OverTime`` when the time is over."""
        if self.passed:
            raise OverTime(self.limit)

    def left(self) -> float:
        """Return how many seconds are left; raise ``OverTime`` when none are."""
        rest = self._end - self._read()
        if rest <= 0:
            raise OverTime(self.limit)
        return rest
