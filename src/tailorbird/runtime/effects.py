"""What an event changes: facts, state, memberships, timers, and the events and actions that follow from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Final

from tailorbird.core.action import Action, ActionStatus
from tailorbird.core.context import MINUTE
from tailorbird.core.event import SEGMENT_ENTERED, SEGMENT_EXITED, Event, Json
from tailorbird.core.profile import Profile
from tailorbird.definitions.catalog import Catalog
from tailorbird.expr.incremental import NEVER, Change, Program
from tailorbird.ports import Membership, Store
from tailorbird.profiles.fold import FACT_TYPES, fold, refold
from tailorbird.profiles.lifecycle import HIDDEN, SOURCE
from tailorbird.profiles.records import RECORD_TYPES, record_key, records_of
from tailorbird.runtime.cache import Cache, Entry
from tailorbird.runtime.ingest import OWN_IDS
from tailorbird.runtime.reactors import Reactors
from tailorbird.runtime.stages import LOOK, LOOKS, Stages
from tailorbird.runtime.timers import TIMER_KEY, Timers
from tailorbird.runtime.turns import Turn

__all__ = ["CASCADE_LIMIT", "Effects"]

CASCADE_LIMIT: Final = 200
"""How many events one event may bring about; beyond it conditions are chasing each other in a circle."""

_REST: Final = 60 * MINUTE
"""How long conditions that chased each other are left alone, unless something happens."""

_NONE: Final[tuple[tuple[str, ...], tuple[str, ...]]] = ((), ())


class Effects:
    """Runs events through facts, conditions and reactors into a turn's unit. ``seq`` is the number of the last event."""

    catalog: Catalog
    program: Program
    reactors: Reactors
    declared: Mapping[str, str]

    def __init__(self, store: Store, cache: Cache, timers: Timers, flying: Mapping[int, Turn]) -> None:
        self._store = store
        self._cache = cache
        self._timers = timers
        self._flying = flying
        self.seq = 0
        self.stages = Stages(self)
        self.gate: Callable[[Action, Profile | None, int], Action] | None = None
        self._told: dict[tuple[str, int, str], dict[str, Json]] = {}  # what such events say, once; nobody changes an event

    def run(self, turn: Turn, entry: Entry, event: Event | None, why: str = "event") -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Run an event (None: only the time) and all it brings about; return the segments entered and exited."""
        entry.turn = turn.number
        if event is not None:
            self._fold(turn, entry, event)
        state = entry.state
        if state is None:
            return _NONE
        now = turn.now
        found: list[Change] = []
        if event is None:
            found = self.program.changes(state, "" if why == "time" else None, now)
        elif event.type in self.program.types or state.due <= now or why != "event":
            found = self.program.changes(state, event.type if why == "event" else None, now)
        if (why != "time") if event is None else (event.type in LOOKS and self.stages.spoken(event)):
            found = [*found, LOOK]
        moved = self._follow(turn, entry, event, found, why) if found else _NONE
        state = entry.state or state
        if state.due < entry.armed:
            self._arm(turn, entry, state.due)
        return moved

    def _follow(
        self, turn: Turn, entry: Entry, event: Event | None, found: list[Change], why: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Make transitions into events, run those in turn, and so on until nothing changes any more."""
        now, key = turn.now, entry.profile.key
        moved: tuple[list[str], list[str]] = ([], [])
        queue: deque[Event] = deque()
        current = event
        for _ in range(CASCADE_LIMIT):
            found.sort()  # the order in which conditions are looked at depends on what is in memory
            look = current is not None and current.source == SOURCE
            for name, came in found:
                if name.startswith(HIDDEN):
                    look = True
                    continue
                moved[not came].append(name)
                turn.moves[name, key] = Membership(name, key, now, self.catalog.versions[name]) if came else None
                queue.append(self.transition(now, entry, name, came, cause=current.id if current is not None else None, why=why))
            if look:
                queue.extend(self.stages.moves(turn, entry, current, why))
            if not queue:
                break
            current = queue.popleft()
            self._fold(turn, entry, current)
            found = []
            if entry.state is not None and (current.type in self.program.types or entry.state.due <= now):
                found = self.program.changes(entry.state, current.type, now)
        else:
            self._stop(turn, entry, found, queue)
        if entry.state is not None:
            entry.segments = tuple(sorted(entry.state.members - self.catalog.hidden))
        return tuple(moved[0]), tuple(moved[1])

    def _fold(self, turn: Turn, entry: Entry, event: Event) -> None:
        turn.unit.events.append(event)
        type_ = event.type
        if type_ in FACT_TYPES:
            if not fold(entry.profile, event, self.declared):
                refold(entry.profile, self.history(turn, entry, FACT_TYPES), self.declared)
            turn.changed[entry.profile.key] = entry
        elif type_ in RECORD_TYPES and (only := record_key(event)) is not None:
            turn.unit.records += records_of(entry.profile.key, self.history(turn, entry, RECORD_TYPES), only=only)
        state = entry.state
        if state is not None and type_ in self.program.types and not self.program.fold(state, event):
            self.restart(entry, self.history(turn, entry, self.program.types))
        reactors = self.reactors.of(type_)
        if reactors:
            self.react(turn, event, entry.profile)

    def history(self, turn: Turn, entry: Entry, types: Iterable[str]) -> list[Event]:
        """Return a profile's history: what is durable, what is on its way, and what this turn has added."""
        key = entry.profile.key
        turns = (*self._flying.values(), turn)
        keys = [key, *(other.joined[0] for other in turns if other.joined is not None and other.joined[1] == key)]
        found = [event for events in self._store.history(keys, types).values() for event in events]
        if entry.turn > self._cache.settled:
            seqs = {event.seq for event in found}
            wanted = frozenset(types)
            for other in turns:
                found += [e for e in other.unit.events if e.profile == key and e.type in wanted and e.seq not in seqs]
        found.sort(key=_place)
        return found

    def restart(self, entry: Entry, history: Iterable[Event]) -> None:
        """Build a profile's state anew, from its history in any order."""
        if entry.state is not None:
            events = sorted((e for e in history if e.type in self.program.types), key=_place)
            entry.state = self.program.start(entry.profile.bucket, events, entry.state.members)

    def transition(self, now: int, entry: Entry, name: str, came: bool, *, cause: str | None, why: str, origin: int = 0) -> Event:
        """Return the event that a profile entered or left a segment; its id follows from what brought it about."""
        profile = entry.profile
        self.seq += 1
        type_ = SEGMENT_ENTERED if came else SEGMENT_EXITED
        named = blake2b(f"{profile.id} {origin} {type_} {cause or why} {name}".encode(), digest_size=12).hexdigest()
        version = self.catalog.versions.get(name, 0)
        told = self._told.get((name, version, why))
        if told is None:
            told = self._told[name, version, why] = {"segment": name, "version": version, "reason": why}
        return Event(
            id=f"{OWN_IDS}{now:012x}{named}",
            type=type_,
            profile=profile.key,
            origin=origin or profile.key,
            at=now,
            received_at=now,
            source="segments",
            data=told,
            cause=cause,
            seq=self.seq,
        )

    def _stop(self, turn: Turn, entry: Entry, found: list[Change], queue: deque[Event]) -> None:
        """Put an end to conditions that chase each other: what they brought about so far stands, and an event says so."""
        state = entry.state
        if state is None:
            return
        for name, came in found:  # not told any more, so not true yet either
            (state.members.discard if came else state.members.add)(name)
        turn.unit.events.extend(queue)
        names = {name for name, _ in found if not name.startswith(HIDDEN)}
        names |= {str(event.data["segment"]) for event in queue if "segment" in event.data}
        told: dict[str, Json] = {"limit": CASCADE_LIMIT, "segments": sorted(names)}
        id_ = self.new_id(turn.now)
        self.seq += 1
        key = entry.profile.key
        turn.unit.events.append(
            Event(
                id=id_,
                type="cascade.stopped",
                profile=key,
                origin=key,
                at=turn.now,
                received_at=turn.now,
                source="segments",
                data=told,
                cause=queue[-1].id if queue else None,
                seq=self.seq,
            )
        )
        self.restart(entry, self.history(turn, entry, self.program.types))
        if entry.state is not None:  # it is looked at again when something happens, not at once
            entry.armed = NEVER
            entry.state.due = turn.now + _REST

    def react(self, turn: Turn, event: Event, profile: Profile) -> None:
        """Let the reactors answer to an event; what they want done goes past the gate into the outbox."""
        for reactor in self.reactors.of(event.type):
            for action in reactor.react(event, profile):
                turn.unit.actions.append(self.admit(action, profile, event.received_at))

    def admit(self, action: Action, profile: Profile | None, now: int) -> Action:
        """Return the action as the gate lets it into the outbox."""
        if action.channel is None or self.gate is None or action.status != ActionStatus.PENDING:
            return action
        return self.gate(action, profile, now)

    def _arm(self, turn: Turn, entry: Entry, due: int) -> None:
        """Set the profile's timer, when it has to wake earlier than it would."""
        due = max(due, turn.now + 1)
        if due < entry.armed:
            entry.armed = due
            turn.unit.timers[entry.profile.key, TIMER_KEY] = due
            self._timers.arm(due, entry.profile.key)

    def new_id(self, now: int) -> str:
        """Return an id for an event that came without one."""
        # the next seq is in it, which nobody else can have; time comes first, so that the index grows at its end
        return f"{OWN_IDS}{now:012x}{self.seq + 1:010x}"


def _place(event: Event) -> tuple[int, int]:
    return event.at, event.seq
