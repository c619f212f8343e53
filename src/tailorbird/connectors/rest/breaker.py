"""A circuit breaker: a connection that fails again and again is left alone for a while, then tried once."""

from __future__ import annotations

import threading

from tailorbird.core.context import SECOND, Clock

__all__ = ["Breaker"]


class Breaker:
    """Counts failures in a row of one connection; used from several threads.

    After ``after`` of them nothing is let through for ``hold`` ms, doubling up to ``most``; then one request may try.
    """

    def __init__(self, *, clock: Clock, after: int = 5, hold: int = 15 * SECOND, most: int = 600 * SECOND) -> None:
        self._clock = clock
        self._after = after
        self._hold = hold
        self._most = most
        self._failures = 0
        self._until = 0
        self._trying = False
        self._lock = threading.Lock()

    def wait(self) -> int:
        """Return 0 where a request may go, else in how many ms to ask again. Who gets 0 must tell how it went."""
        now = self._clock.now()
        with self._lock:
            if self._failures < self._after:
                return 0
            if now < self._until:
                return self._until - now
            if self._trying:
                return SECOND
            self._trying = True
            return 0

    def good(self) -> None:
        """The other side answered."""
        with self._lock:
            self._failures, self._until, self._trying = 0, 0, False

    def bad(self) -> None:
        """The other side could not be reached, or did not cope."""
        with self._lock:
            self._failures += 1
            self._trying = False
            if self._failures >= self._after:
                doubled = self._hold * 2 ** min(self._failures - self._after, 16)
                self._until = self._clock.now() + min(doubled, self._most)
