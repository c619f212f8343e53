"""Limits of one vendor scope: requests (or credits) per minute, hour and day, from configuration and from what the vendor says."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Final

from tailorbird.core.context import DAY, HOUR, MINUTE, SECOND, Clock

__all__ = ["LENGTHS", "Limiter"]

LENGTHS: Final[Mapping[str, int]] = {"second": SECOND, "ten_seconds": 10 * SECOND, "minute": MINUTE, "hour": HOUR, "day": DAY}
"""The windows a limit may be given for, in ms."""

_PARTS: Final = 100


class _Window:
    """What was used of one window. Uses are kept in parts of a hundredth and count until their whole part has left, so that

    whatever instant the vendor's own window begins at, it never sees more than the limit; that costs one percent of it.
    """

    __slots__ = ("length", "limit", "part", "used", "uses")

    def __init__(self, length: int, limit: int) -> None:
        self.length = length
        self.limit = limit
        self.part = max(1, length // _PARTS)
        self.uses: deque[list[int]] = deque()  # [start of the part, how many]
        self.used = 0

    def wait(self, count: int, now: int) -> int:
        """Return for how many ms there is no room for so many more; 0 where there is."""
        while self.uses and now >= self.uses[0][0] + self.part + self.length:
            self.used -= self.uses.popleft()[1]
        over = self.used + count - self.limit
        if over <= 0:
            return 0
        for start, used in self.uses:
            over -= used
            if over <= 0:
                return max(1, start + self.part + self.length - now)
        return self.length  # more than the limit at once: there is never room

    def use(self, count: int, now: int) -> None:
        start = now - now % self.part
        if self.uses and self.uses[-1][0] >= start:
            self.uses[-1][1] += count
        else:
            self.uses.append([start, count])
        self.used += count


class Limiter:
    """Lets requests through no faster than the limits of one vendor scope allow; used from several threads.

    ``limits`` maps ``second``, ``minute``, ``hour``, ``day`` to how many. What the vendor's headers say (``observe``) counts
    for more: others may use the same scope.
    """

    def __init__(self, limits: Mapping[str, int] | None = None, *, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[str, _Window] = {}
        self._closed_until = 0
        self._lock = threading.Lock()
        for name, limit in (limits or {}).items():
            self._windows[name] = _Window(LENGTHS[name], limit)

    def take(self, count: int = 1) -> int:
        """Take so many if there is room and return 0; else take none and return in how many ms to ask again."""
        now = self._clock.now()
        with self._lock:
            wait = max(self._closed_until - now, *(w.wait(count, now) for w in self._windows.values()), 0)
            if wait == 0:
                for window in self._windows.values():
                    window.use(count, now)
            return wait

    def configure(self, limits: Mapping[str, int]) -> None:
        """Set limits, keeping what was used."""
        with self._lock:
            for name, limit in limits.items():
                found = self._windows.get(name)
                if found is None:
                    self._windows[name] = _Window(LENGTHS[name], limit)
                else:
                    found.limit = limit

    def observe(self, window: str, *, limit: int | None = None, left: int | None = None) -> None:
        """Take over what an answer says of a window: how many it allows, and how many are left of it."""
        now = self._clock.now()
        with self._lock:
            found = self._windows.get(window)
            if found is None:
                if limit is None:
                    return
                found = self._windows[window] = _Window(LENGTHS[window], limit)
            if limit is not None and 0 < limit < found.limit:
                found.limit = limit
            if left is not None:
                found.wait(0, now)
                missing = found.limit - max(0, left) - found.used
                if missing > 0:  # somebody else used them, or we did before we were started
                    found.use(missing, now)

    def close(self, wait: int) -> None:
        """Let nothing through for so many ms: the vendor said so."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._clock.now() + wait)
