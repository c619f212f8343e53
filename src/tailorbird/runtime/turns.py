"""What the loop works with: groups of events as they came, and turns, each of them one unit of work."""

from __future__ import annotations

from collections.abc import Sequence

from tailorbird.core.profile import Identifier
from tailorbird.ports import Membership, Unit
from tailorbird.profiles.drafts import Draft
from tailorbird.runtime.cache import Entry
from tailorbird.runtime.ingest import Incoming, Receipt

__all__ = ["Group", "Item", "Pending", "Turn", "refused"]


class Pending(Exception):
    """An event needs what an earlier turn has not yet made durable."""


class Turn:
    """One unit of work: what is to be written, the receipts it answers, and the events in memory until it is durable."""

    __slots__ = ("changed", "ids", "joined", "moves", "now", "number", "receipts", "unit", "woken")

    def __init__(self, number: int, now: int) -> None:
        self.number = number
        self.now = now
        self.unit = Unit()
        self.receipts: list[Receipt] = []
        self.changed: dict[int, Entry] = {}
        self.ids: set[str] = set()
        self.moves: dict[tuple[str, int], Membership | None] = {}
        self.joined: tuple[int, int] | None = None
        self.woken = 0

    def __bool__(self) -> bool:
        return bool(self.receipts) or bool(self.unit)


class Item:
    """One event of a group, made ready: its identifiers, its id, or the receipt that refuses it."""

    __slots__ = ("id", "identifiers", "incoming", "own", "refused")

    def __init__(self, incoming: Incoming | Draft, own: bool) -> None:
        self.incoming = incoming
        self.id = incoming.id
        self.own = own
        self.identifiers: tuple[Identifier, ...] = ()
        self.refused: Receipt | None = None


class Group:
    """Events that came together and are taken in turn by turn; ``position`` is the first that has no receipt yet.

    ``made`` says of which state of the loop it was made ready: how often memory was let go, and turns became durable.
    """

    __slots__ = ("items", "known", "made", "now", "position")

    def __init__(self, items: list[Item], known: set[str], now: int, made: tuple[int, int]) -> None:
        self.made = made
        self.items = items
        self.known = known
        self.now = now
        self.position = 0

    @property
    def done(self) -> bool:
        """Whether every event has its receipt."""
        return self.position >= len(self.items)


def refused(id: str | None, mistakes: Sequence[str]) -> Receipt:
    """Return the receipt of an event that was not taken in."""
    return Receipt(status="rejected", id=id if isinstance(id, str) else None, mistakes=tuple(mistakes))
