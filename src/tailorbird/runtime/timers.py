"""Which profile has to wake next: the nearest timers of the store in memory, those not yet durable included."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Final

from tailorbird.expr.incremental import NEVER
from tailorbird.ports import Store, Unit

__all__ = ["TIMER_KEY", "Timers"]

TIMER_KEY: Final = "segments"
"""The key of the core's own timers: the earliest instant at which one of a profile's conditions can change."""

_PORTION: Final = 5_000
_MOST: Final = 200_000


class Timers:
    """All timers due before ``horizon``, in a heap; those after it are only in the store.

    An entry that was armed anew later on stays in the heap until it is popped: who pops it has to look whether it still
    holds. ``next`` is the earliest instant at which something may be due.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._heap: list[tuple[int, int]] = []
        self._horizon = 0

    @property
    def next(self) -> int:
        """The earliest instant at which a profile may have to wake; never later than the first one has to."""
        return self._heap[0][0] if self._heap else self._horizon

    def reset(self) -> None:
        """Read anew; everything must be durable."""
        self._heap = []
        self._horizon = 0
        self.extend(())

    def look(self, due: int | None) -> None:
        """Read anew when the store's earliest timer is earlier, as another process may have set; everything must be durable."""
        if due is not None and due < self.next:
            self.reset()

    def arm(self, due: int, profile: int) -> None:
        """Note a timer that a turn sets."""
        if due < self._horizon:
            heappush(self._heap, (due, profile))
            if len(self._heap) > _MOST:
                self._heap.sort()
                del self._heap[_MOST // 2 :]
                self._horizon = self._heap[-1][0]

    def pop(self, until: int) -> tuple[int, int] | None:
        """Take out the first (due, profile) that is due, None when no more are known; then ``extend`` may find more."""
        if self._heap and self._heap[0][0] <= until:
            return heappop(self._heap)
        return None

    def due(self, until: int, limit: int) -> list[int]:
        """Return the profiles of the first entries that are due; they stay."""
        heap, found = self._heap, list[int]()
        # What comes next in a heap is a child of what came before: all the rest is not looked at.
        fringe = [(heap[0], 0)] if heap else []
        while fringe and fringe[0][0][0] <= until and len(found) < limit:
            (_, profile), place = heappop(fringe)
            found.append(profile)
            for child in range(2 * place + 1, min(2 * place + 3, len(heap))):
                heappush(fringe, (heap[child], child))
        return found

    def extend(self, units: Iterable[Unit]) -> None:
        """Read the next timers from the store when the heap has run dry; ``units`` are those not yet durable."""
        if self._heap or self._horizon == NEVER:
            return
        limit = _PORTION
        while True:
            timers = self._store.due_timers(NEVER, limit=limit)
            if len(timers) < limit or timers[-1].due > max(timers[0].due, self._horizon):
                break
            limit *= 4  # more profiles than that are due at one and the same instant
        self._horizon = timers[-1].due if len(timers) == limit else NEVER
        found = {timer.profile: timer.due for timer in timers if timer.key == TIMER_KEY}
        for unit in units:
            for (profile, key), due in unit.timers.items():
                if key == TIMER_KEY:
                    found[profile] = due
        self._heap = [(due, profile) for profile, due in found.items() if 0 <= due <= self._horizon]
        heapify(self._heap)
