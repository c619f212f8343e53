"""Replay: the log of what came from outside, run again into an empty store, gives the same profiles, memberships and events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from tailorbird.core.definition import Definition, Status
from tailorbird.core.event import MERGED, SEGMENT_ENTERED, SEGMENT_EXITED, UNMERGED, Event
from tailorbird.errors import Conflict
from tailorbird.ports import Store, Unit
from tailorbird.profiles.drafts import Draft
from tailorbird.profiles.lifecycle import of_itself
from tailorbird.runtime.loop import Loop

__all__ = ["ACTIVATED", "ARCHIVED", "replay"]

ACTIVATED: Final = "definition.activated"
ARCHIVED: Final = "definition.archived"

_DERIVED: Final = frozenset({SEGMENT_ENTERED, SEGMENT_EXITED, "cascade.stopped"})
_CHANGES: Final = frozenset({ACTIVATED, ARCHIVED})
_PAGE: Final = 2_000
_TOGETHER: Final = 1_000

Change = Callable[[Sequence[Definition], Sequence[Definition], int], None]
"""Carries out a change of definitions: what becomes active, what ends, and when."""


def replay(source: Store, loop: Loop, change: Change) -> int:
    """Run the log of ``source`` through a loop over an empty store; return how many events were fed.

    The clock is what each event says of when it was received. Whose an event is was decided when it came in, so identifiers
    are not resolved again: events go to the profile that they came for (their origin), merges happen where they happened.
    Raises ``Conflict`` when the target is not empty.
    """
    if loop.store.last_seq() or loop.store.count_profiles():
        raise Conflict("the store to replay into is not empty.", hint="Give the URL of a new database.")
    run = _Run(source, loop, change)
    for events in _steps(source):
        run.step(events)
    run.finish()
    return run.fed


def _steps(source: Store) -> Iterator[list[Event]]:
    """Yield the log in portions that go together: one change of definitions, or one event of another kind."""
    waiting: list[Event] = []
    for event in _log(source):
        change = event.data.get("change") if event.type in _CHANGES else None
        if waiting and (change is None or change != waiting[0].data.get("change")):
            yield waiting
            waiting = []
        if change is not None:
            waiting.append(event)
        else:
            yield [event]
    if waiting:
        yield waiting


def _log(source: Store) -> Iterator[Event]:
    after = 0
    while page := source.events(after=after, limit=_PAGE):
        yield from page
        after = page[-1].seq


class _Run:
    """One replay under way; events that were received at one instant are fed together."""

    def __init__(self, source: Store, loop: Loop, change: Change) -> None:
        self.source = source
        self.loop = loop
        self.change = change
        self.ids: dict[int, str] = {}
        self.merged: set[str] = set()
        self.waiting: list[Event] = []
        self.last = 0
        self.fed = 0

    def step(self, events: list[Event]) -> None:
        event = events[0]
        type_ = event.type
        if type_ in _DERIVED or of_itself(event) or (event.source == "identity" and type_ not in (MERGED, UNMERGED)):
            self.last = max(self.last, event.received_at)
            return
        apart = type_ in _CHANGES or type_ in (MERGED, UNMERGED)
        if apart or len(self.waiting) >= _TOGETHER or (self.waiting and event.received_at > self.waiting[0].received_at):
            self._feed()
        now = self.last = max(self.last, event.received_at)
        if type_ in _CHANGES:
            self._define(events, now)
        elif type_ == MERGED:
            self._merge(event, now)
        elif type_ == UNMERGED:
            self._unmerge(event, now)
        else:
            self.waiting.append(event)

    def finish(self) -> None:
        """Let the time pass that passed, and take over whose each identifier is."""
        self._feed()
        self.loop.fire(self.last)
        keys = list(self.ids)
        for start in range(0, len(keys), _PAGE):
            unit = Unit()
            for key in keys[start : start + _PAGE]:
                unit.identifiers += self.source.identifiers(key)
            if unit:
                self.loop.write(unit)
        with self.loop.exclusive():
            self.loop.refresh()

    def _feed(self) -> None:
        """Take in what waits, all of it received at one instant."""
        events, self.waiting = self.waiting, []
        if not events:
            return
        now = max(event.received_at for event in events)
        self._ensure([event.origin for event in events], now)
        drafts = [
            Draft(
                type=event.type, data=event.data, profile=self.ids[event.origin], id=event.id, at=event.at, source=event.source,
                cause=event.cause,
            )
            for event in events
        ]  # fmt: skip
        for event, receipt in zip(events, self.loop.take(drafts, now), strict=True):
            if receipt.status != "accepted":
                raise Conflict(f"the event {event.id} could not be replayed: {receipt.status} {'; '.join(receipt.mistakes)}")
        self.fed += len(events)

    def _define(self, events: Sequence[Event], now: int) -> None:
        made = [(event.type, _definition(event.data)) for event in events]
        self.change([d for t, d in made if t == ACTIVATED], [d for t, d in made if t == ARCHIVED], now)

    def _merge(self, event: Event, now: int) -> None:
        ids = [id_ for name in ("winner", "loser") if (id_ := event.data[name])]
        found = self.source.profiles_by_id(ids)
        if len(found) < 2:
            return  # one of the two was erased since, after the merge had been undone
        winner, loser = (found[id_].key for id_ in ids)
        self._ensure([winner, loser], now)
        self.merged.add(self.loop.merge(winner, loser, now, cause=event.cause or "", reason=event.data["reason"]))

    def _unmerge(self, event: Event, now: int) -> None:
        if event.data["merge"] not in self.merged:
            return  # it is told on both profiles; or one of the two was erased since, so that they were not merged here
        self.merged.remove(event.data["merge"])
        self.loop.unmerge(event.data["merge"], now, cause=event.cause)

    def _ensure(self, keys: Sequence[int], now: int) -> None:
        """Create profiles as they were when they were first met."""
        missing = [key for key in dict.fromkeys(keys) if key not in self.ids]
        if not missing:
            return
        self.loop.fire(now)
        unit = Unit()
        for key, profile in self.source.profiles(missing).items():
            self.ids[key] = profile.id
            unit.profiles[key] = msgspec.structs.replace(
                profile, attributes={}, provenance={}, tags=(), consents={}, merged_into=None
            )
        self.loop.write(unit)


def _definition(data: dict[str, Any]) -> Definition:
    fields = {name: value for name, value in data.items() if name in Definition.__struct_fields__}
    return Definition(**{**fields, "status": Status.CHECKED, "activated_at": None})
