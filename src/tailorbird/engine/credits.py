"""The ledger of credits: what each provider was paid today, and which questions are open, in the database."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import msgspec

from tailorbird.core.action import ActionStatus
from tailorbird.core.context import DAY, Clock
from tailorbird.ports import Store

__all__ = ["Credits", "Spent"]

_META: Final = "enrichment.credits."
_MANY: Final = 500
_OPEN: Final = (ActionStatus.PENDING, ActionStatus.SENDING)


class Spent(msgspec.Struct):
    """A provider's page: the day (days since 1970, UTC), credits spent or reserved on it, in all, and open questions by key."""

    day: int = 0
    today: int = 0
    total: int = 0
    open: dict[str, int] = {}


class Credits:
    """The ledger of one database. A question is written down before it is sent; it stays open until its answer is recorded.

    So a question that was begun and neither recorded nor taken back, because the process died, is in doubt ever after.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()

    def page(self, provider: str) -> Spent:
        """Return what is noted of a provider, as of today."""
        text = self._store.get_meta(_META + provider)
        page = msgspec.json.decode(text, type=Spent) if text else Spent()
        today = self._clock.now() // DAY
        if page.day != today:
            page.day, page.today = today, 0
        return page

    def reserve(self, provider: str, costs: dict[str, int], budget: int | None) -> dict[str, str]:
        """Reserve credits for these actions; see ``connectors.enrichment.Ledger``."""
        with self._lock:
            page = self.page(provider)
            self._prune(page, costs)
            said: dict[str, str] = {}
            for key, cost in costs.items():
                if key in page.open:
                    said[key] = "in_doubt"
                    del page.open[key]  # told once: whoever asks for it to be tried again after that knows what it may cost
                elif budget is not None and page.today + cost > budget:
                    said[key] = "budget"
                else:
                    said[key] = ""
                    page.open[key] = cost
                    page.today += cost
                    page.total += cost
            self._save(provider, page)
            return said

    def settle(self, provider: str, used: dict[str, int]) -> None:
        """Note what was really used. The question stays open until its answer is on record."""
        with self._lock:
            page = self.page(provider)
            for key, cost in used.items():
                reserved = page.open.get(key)
                if reserved is not None:
                    self._back(page, reserved - cost)
                    page.open[key] = cost
            self._save(provider, page)

    def release(self, provider: str, keys: Sequence[str]) -> None:
        """Give credits back and forget the attempt."""
        with self._lock:
            page = self.page(provider)
            for key in keys:
                self._back(page, page.open.pop(key, 0))
            self._save(provider, page)

    def _back(self, page: Spent, cost: int) -> None:
        page.today = max(0, page.today - cost)
        page.total = max(0, page.total - cost)

    def _prune(self, page: Spent, asking: dict[str, int]) -> None:
        """Forget open questions whose answers are on record by now, once there are many."""
        if len(page.open) < _MANY:
            return
        unsettled = set(asking)
        for status in _OPEN:
            after = 0
            while found := self._store.actions(status=status, after=after, limit=1000):
                unsettled.update(action.key for action in found)
                after = found[-1].seq
        page.open = {key: cost for key, cost in page.open.items() if key in unsettled}

    def _save(self, provider: str, page: Spent) -> None:
        self._store.set_meta(_META + provider, msgspec.json.encode(page).decode())
