"""What an open engine consists of, for the functions behind its verbs."""

from __future__ import annotations

from dataclasses import dataclass

from tailorbird.core.context import Clock
from tailorbird.definitions.catalog import Catalog
from tailorbird.engine.connections import Connections
from tailorbird.ports import Connector, Store
from tailorbird.runtime.loop import Loop
from tailorbird.runtime.outbox import Deliverer
from tailorbird.runtime.work import Work
from tailorbird.settings import Settings

__all__ = ["Parts"]


@dataclass(frozen=True, slots=True)
class Parts:
    """The store, the loop over it, the deliverer, the clock, the settings, the work of many steps and the connections of one engine."""

    store: Store
    loop: Loop
    deliverer: Deliverer
    connectors: dict[str, Connector]
    clock: Clock
    settings: Settings
    work: Work
    connections: Connections

    def now(self) -> int:
        """Return the instant: the clock's, or the last one that something was decided at, should the clock have gone back."""
        return max(self.clock.now(), self.loop.last)

    @property
    def region(self) -> str | None:
        """The country of phone numbers without ``+``."""
        return self.settings.default_region or None

    @property
    def catalog(self) -> Catalog:
        """What is active."""
        return self.loop.catalog
