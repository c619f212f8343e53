"""The loop: events in, one unit of work out; whose they are, what they change, who enters and leaves, all in order of arrival."""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final

from tailorbird.core.action import Action, ActionStatus
from tailorbird.core.context import MINUTE
from tailorbird.core.definition import Kind, Status
from tailorbird.core.event import MEMBER_ADDED, MEMBER_REMOVED, SEGMENT_ENTERED, SEGMENT_EXITED, Event, Json
from tailorbird.core.ids import bucket_seed
from tailorbird.core.profile import Identifier, Profile
from tailorbird.core.reactor import Reactor
from tailorbird.definitions.catalog import Catalog
from tailorbird.errors import InvalidEvent, NotFound, Unavailable
from tailorbird.expr.incremental import NEVER, Change, Program
from tailorbird.ports import IdentifierRow, Membership, Store, Unit
from tailorbird.profiles.attributes import coerce_attributes
from tailorbird.profiles.drafts import Draft
from tailorbird.profiles.fold import FACT_TYPES, fold, refold
from tailorbird.profiles.identity import Held, Resolution, resolve
from tailorbird.profiles.merge import apart, build_unmerge, check_merge, join
from tailorbird.profiles.normalise import is_strong, normalise_all
from tailorbird.profiles.rules import DEFAULT_RULE, MergeRule, parse_merge_rule
from tailorbird.runtime.cache import Cache, Entry
from tailorbird.runtime.ingest import OWN_IDS, Incoming, Receipt, check
from tailorbird.runtime.reactors import Reactors
from tailorbird.runtime.timers import TIMER_KEY, Timers

__all__ = ["Group", "Loop", "Turn"]

CASCADE_LIMIT: Final = 200
"""How many events one event may bring about; beyond it conditions are chasing each other in a circle."""

_REST: Final = 60 * MINUTE
"""How long conditions that chased each other are left alone, unless something happens."""

_WAKES: Final = 2_000
"""How many profiles wake in one turn at most."""

_TOGETHER: Final = 500
_TRIES: Final = 20
_NONE: Final[tuple[tuple[str, ...], tuple[str, ...]]] = ((), ())


class Turn:
    """One unit of work: what is to be written, the receipts it answers, and the events in memory until it is durable."""

    __slots__ = ("changed", "ids", "joined", "moves", "now", "number", "receipts", "start", "unit", "woken")

    def __init__(self, number: int, now: int, start: int = 0) -> None:
        self.number = number
        self.now = now
        self.start = start
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
    """Events that came together: ``receipts`` grow turn by turn until there is one for each."""

    __slots__ = ("items", "known", "now", "position", "receipts", "trims")

    def __init__(self, items: list[Item], known: set[str], now: int, trims: int) -> None:
        self.trims = trims
        self.items = items
        self.known = known
        self.now = now
        self.position = 0
        self.receipts: list[Receipt] = []

    @property
    def done(self) -> bool:
        """Whether every event has its receipt."""
        return self.position >= len(self.items)


class _Pending(Exception):
    """An event needs what an earlier turn has not yet made durable."""


class Loop:
    """The one place where events take effect. Deterministic: time comes with the call, chance is a hash.

    ``prepare`` a group, take ``turn`` after ``turn`` of it, ``commit`` each; ``take`` does all of it. A server may compute
    one turn while the one before is being committed by another thread. ``lock`` guards everything here but ``send``.
    ``epoch`` grows whenever what names and features stand for may have changed.
    """

    def __init__(self, store: Store, *, region: str | None = None, cached: int = 100_000) -> None:
        self.store = store
        self.lock = threading.RLock()
        self.region = region or None
        self.cache = Cache(store, cached)
        self.timers = Timers(store)
        self.flying: dict[int, Turn] = {}
        self.flights: deque[tuple[Turn, Future[bool]]] = deque()
        self.waiting = 0
        self.epoch = 0
        self._count = threading.Lock()
        self.stale = True
        self._turns = 0
        self._extra: tuple[Reactor, ...] = ()
        self.gate: Callable[[Action, Profile | None, int], Action] | None = None
        self.refresh()

    # ---- one at a time ----------------------------------------------------------------------------------

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Be alone with the store and the caches: what a server has on its way is waited for, and nothing else begins."""
        with self._count:
            self.waiting += 1
        try:
            self.lock.acquire()
        finally:
            with self._count:
                self.waiting -= 1
        try:
            self.land()
            yield
        finally:
            self.lock.release()

    def land(self) -> None:
        """Wait for the turns that another thread is committing, if there are any; ``lock`` must be held."""
        for turn, future in list(self.flights):
            try:
                written = future.result()
            except Exception:
                written = False  # whoever sent it off tells those who wait for it
            self.settle(turn, written)

    # ---- what is defined --------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read definitions, counters and the clock's last reading from the store, and start with empty caches.

        Nothing may be on its way; ``lock`` must be held once others can call.
        """
        store = self.store
        self.flying.clear()
        store.claim()
        active = store.definitions(status=Status.ACTIVE)
        self.catalog = Catalog.build(active, lenient=True)
        self.program = Program(self.catalog.conditions, {name: node for name, (node, _) in self.catalog.features.items()})
        self.declared: Mapping[str, str] = {d.name: str(d.spec.get("type")) for d in active if d.kind == Kind.ATTRIBUTE}
        found = self.catalog.merge_rule
        self.rule: MergeRule = parse_merge_rule(found.name, found.spec) if found is not None else DEFAULT_RULE
        self.reactors = Reactors(self.catalog.subscriptions, self._extra)
        self._reset()

    def _reset(self) -> None:
        store = self.store
        self.cache.clear()
        self.epoch += 1
        self.seq = store.last_seq()
        self.next_key = store.next_profile_key()
        last = store.events(after=self.seq - 1, limit=1) if self.seq else []
        self.last = max(last[0].received_at if last else 0, getattr(self, "last", 0))
        merges = store.merges()
        self.apart = apart(merges)
        self.won: dict[int, int] = {}
        for merge in merges:
            if merge.undone_at is None:
                self.won[merge.winner] = self.won.get(merge.winner, 0) + 1
        self.timers.reset()
        self.cache.settled = self._turns
        self.stale = False

    def react(self, *reactors: Reactor) -> None:
        """Let these react to every event from now on, besides the subscriptions."""
        self._extra = (*self._extra, *reactors)
        self.reactors = Reactors(self.catalog.subscriptions, self._extra)

    # ---- intake -----------------------------------------------------------------------------------------

    def take(self, batch: Sequence[Incoming | Draft], now: int) -> list[Receipt]:
        """Take events in durably, after the timers that are due; return a receipt for each."""
        receipts: list[Receipt] = []
        with self.exclusive():
            self.recover()
            for _ in range(_TRIES):
                group = self.prepare(batch[len(receipts) :], now)
                while not group.done:
                    turn = self.turn(group)
                    if not self.commit(turn):
                        break
                    receipts += turn.receipts
                else:
                    return receipts
                self.recover()
        raise Unavailable("other processes wrote in between each time we tried.", hint="Try again.")

    def recover(self) -> None:
        """After a commit that did not happen: drop what is in memory and read anew."""
        if self.stale:
            self.refresh()

    def prepare(self, batch: Sequence[Incoming | Draft], now: int) -> Group:
        """Check the events and read whatever is cold for all of them together."""
        now = max(now, self.last)
        items = [self._item(incoming, now) for incoming in batch]
        good = [item for item in items if item.refused is None]
        ids = [item.incoming.id for item in good if item.incoming.id is not None]
        known = self.store.known_ids(ids) if ids else set()
        self._load(good)
        return Group(items, known, now, self.cache.trims)

    def _item(self, incoming: Incoming | Draft, now: int) -> Item:
        item = Item(incoming, type(incoming) is Draft)
        try:
            if not item.own:
                mistakes = check(incoming, now)  # type: ignore[arg-type]
                if mistakes:
                    item.refused = _refused(incoming.id, [m.render() for m in mistakes])
                    return item
                if incoming.type in (MEMBER_ADDED, MEMBER_REMOVED) and incoming.data["segment"] not in self.catalog.manual:
                    told = f"data.segment: {incoming.data['segment']!r} is not a segment kept by hand"
                    item.refused = _refused(incoming.id, [told])
                    return item
            if incoming.profile is None:
                item.identifiers = normalise_all(incoming.identifiers, profile_kind=incoming.kind, region=self.region)
        except InvalidEvent as error:
            item.refused = _refused(incoming.id, [m.render() for m in error.mistakes] or [str(error)])
        return item

    def _load(self, chosen: Iterable[Item]) -> None:
        cache = self.cache
        items = list(chosen)
        cache.find(name for item in items for name in item.identifiers)
        cache.find_ids(item.incoming.profile for item in items if item.incoming.profile is not None)
        wanted: list[int] = []
        for item in items:
            if item.incoming.profile is not None:
                key = cache.keys.get(item.incoming.profile)
                if key is not None:
                    wanted.append(cache.root(key))
            else:
                wanted += [row.profile for name in item.identifiers if (row := cache.row(name)) is not None]
        cache.load(wanted, self.program, self._turns + 1)

    def turn(self, group: Group) -> Turn:
        """Compute the next turn of a group, after waking whoever has to wake before.

        It ends early where an event needs what comes before it to be durable, or when many had to wake.
        """
        self._turns += 1
        turn = Turn(self._turns, group.now, group.position)
        try:
            if group.trims != self.cache.trims:
                self._load(item for item in group.items[group.position :] if item.refused is None)
                group.trims = self.cache.trims
            through = self._wake_all(turn, group.now)
            turn.now = self.last = max(group.now, self.last)
            for item in group.items[group.position :] if through else ():
                turn.receipts.append(item.refused or self._event(turn, group, item))
                group.position += 1
        except _Pending:
            pass
        except BaseException:
            self.stale = True  # what is in memory may be half of an event
            raise
        group.receipts += turn.receipts
        self._close(turn)
        return turn

    def _event(self, turn: Turn, group: Group, item: Item) -> Receipt:
        incoming = item.incoming
        id_ = item.id
        if incoming.id is not None and id_ is not None and (id_ in group.known or self._flies(id_)):
            return self._duplicate(item)
        if incoming.profile is not None:
            key = self.cache.keys.get(incoming.profile)
            entry = None if key is None else self.cache.entries.get(self.cache.root(key))
            if entry is None or key is None:
                return _refused(id_, [f"profile: no profile has the id {incoming.profile}"])
            origin = key
        else:
            id_ = item.id = id_ or self._new_id(turn.now)
            entry, origin = self._whose(turn, item, id_)
        if id_ is None:
            id_ = self._new_id(turn.now)
        group.known.add(id_)
        turn.ids.add(id_)
        data = incoming.data
        if incoming.type == "profile.updated" and self.declared:
            data = {**data, "attributes": coerce_attributes(data["attributes"], self.declared)[0]}
        at = incoming.at
        now = turn.now
        self.seq += 1
        event = Event(
            id=id_, type=incoming.type, profile=entry.profile.key, origin=origin, at=now if at is None or at > now else at,
            received_at=now, source=incoming.source, data=data, cause=incoming.cause if item.own else None,  # type: ignore[union-attr]
            seq=self.seq,
        )
        entered, exited = self._run(turn, entry, event)
        return Receipt(
            status="accepted", id=id_, profile=entry.profile.id, segments=entry.segments, entered=entered, exited=exited
        )

    def _flies(self, id_: str) -> bool:
        return any(id_ in turn.ids for turn in self.flying.values())

    def _duplicate(self, item: Item) -> Receipt:
        key = None
        if item.incoming.profile is not None:
            key = self.cache.keys.get(item.incoming.profile)
        elif (row := self.cache.row(item.identifiers[0])) is not None:
            key = row.profile
        entry = None if key is None else self.cache.entries.get(self.cache.root(key))
        if entry is None:
            return Receipt(status="duplicate", id=item.incoming.id)
        return Receipt(status="duplicate", id=item.incoming.id, profile=entry.profile.id, segments=entry.segments)

    def _new_id(self, now: int) -> str:
        # the next seq is in it, which nobody else can have; time comes first, so that the index grows at its end
        return f"{OWN_IDS}{now:012x}{self.seq + 1:010x}"

    # ---- whose it is ------------------------------------------------------------------------------------

    def _whose(self, turn: Turn, item: Item, id_: str) -> tuple[Entry, int]:
        """Return the event's profile and origin; creates the profile, attaches identifiers and joins profiles as need be."""
        cache = self.cache
        names = item.identifiers
        row = cache.row(names[0])
        if row is not None and not self.rule.ignore:
            for name in names[1:]:
                other = cache.row(name)
                if other is None or other.profile != row.profile:
                    break
            else:
                entry = cache.entries.get(row.profile)
                if entry is not None:
                    return entry, row.origin
        while True:
            resolution = self._resolve(names)
            entry = self._settle(turn, item, resolution)
            if not resolution.joins:
                break
            self._join(turn, entry, resolution.joins[0].loser, id_, resolution.joins[0].reason)
        origin = entry.profile.key if resolution.origin is None else resolution.origin
        return entry, origin

    def _resolve(self, names: tuple[Identifier, ...]) -> Resolution:
        cache = self.cache
        found = {name: row for name in names if (row := cache.row(name)) is not None}
        keys = dict.fromkeys(row.profile for row in found.values())
        cache.load([key for key in keys if key not in cache.entries], self.program, self._turns)
        held = {key: self._held(cache.entries[key]) for key in keys if key in cache.entries}
        return resolve(names, found, held, self.rule, apart=self.apart)

    def _held(self, entry: Entry) -> Held:
        names = self.cache.names(entry)
        strong = tuple(name for name in names if is_strong(name.kind))
        return Held(strong, len(names), self.won.get(entry.profile.key, 0), _name_of(entry.profile))

    def _settle(self, turn: Turn, item: Item, resolution: Resolution) -> Entry:
        """Create the profile if there is none, and attach the identifiers it is given."""
        cache, now = self.cache, turn.now
        if resolution.profile is None:
            if turn.joined is not None and resolution.joins:
                raise _Pending
            entry = self._create(turn, resolution.public_id, item.incoming.kind)
        else:
            entry = cache.entries[resolution.profile]
        key = entry.profile.key
        origin = key if resolution.origin is None else resolution.origin
        for name in resolution.attach:
            row = IdentifierRow(name.kind, name.value, key, origin, now)
            turn.unit.identifiers.append(row)
            cache.attach(row, turn.number)
        if resolution.moved:
            self.epoch += 1
        if resolution.attach:
            entry.turn = turn.number
        return entry

    def _create(self, turn: Turn, public_id: str, kind: str) -> Entry:
        seed = bucket_seed(public_id)
        profile = Profile(key=self.next_key, id=public_id, bucket=seed, kind=kind, created_at=turn.now)
        self.next_key += 1
        state = self.program.start(seed) if kind == "person" else None
        entry = Entry(profile, self.program, state, {})
        self.cache.add(entry, turn.number)
        turn.changed[profile.key] = entry
        return entry

    def _join(self, turn: Turn, winner: Entry, loser_key: int, cause: str, reason: str) -> None:
        """Make another profile part of this one, here and now; one join a turn, and of what is durable only."""
        cache, now = self.cache, turn.now
        loser = cache.entries[loser_key]
        settled = cache.settled
        fresh = winner.profile.key in turn.changed and not any(e.profile == winner.profile.key for e in turn.unit.events)
        if turn.joined is not None or loser.turn > settled or (winner.turn > settled and not fresh):
            raise _Pending
        keys = [winner.profile.key, loser_key]
        histories = self.store.history(keys, FACT_TYPES | self.program.types)
        history = [event for events in histories.values() for event in events]
        left = self._leave_all(turn, loser, winner, cause)
        merge, joined, gone, told = join(
            winner.profile, loser.profile, history, at=now, cause=cause, reason=reason, rule=self.rule, declared=self.declared
        )
        turn.joined = (loser_key, winner.profile.key)
        turn.unit.merges.append(merge)
        turn.unit.profiles[loser_key] = gone
        names = {**cache.names(winner), **cache.names(loser)}
        winner.names = {name: row._replace(profile=winner.profile.key) for name, row in names.items()}
        winner.profile = joined
        cache.into[loser_key] = joined.key
        pairs = (frozenset(joined.key if key == loser_key else key for key in pair) for pair in self.apart)
        self.apart = frozenset(pair for pair in pairs if len(pair) == 2)
        del cache.entries[loser_key]
        self.won[joined.key] = self.won.get(joined.key, 0) + self.won.pop(loser_key, 0) + 1
        self._restart(turn, winner, [*history, *left])
        for event in told:
            self.seq += 1
            self._run(turn, winner, _numbered(event, self.seq), why="merge")

    def _leave_all(self, turn: Turn, loser: Entry, winner: Entry, cause: str) -> list[Event]:
        """Tell that a profile that ceases to be leaves its segments, so that what went in and out adds up."""
        events: list[Event] = []
        for name in loser.segments:
            event = self._transition(turn.now, winner, name, False, cause=cause, why="merge", origin=loser.profile.key)
            events.append(event)
            turn.unit.events.append(event)
            self._react(turn, event, loser.profile)
        return events

    def merge(self, winner: int, loser: int, now: int, *, cause: str, reason: str) -> str:
        """Make one profile part of another because a person said so; return the merge's id. Raises ``Conflict``."""
        with self.exclusive():
            for _ in range(_TRIES):
                self.fire(now)
                self._turns += 1
                now = self.last = max(now, self.last)
                turn = Turn(self._turns, now)
                self.cache.load([winner, loser], self.program, self._turns)
                one, other = (self.store.profiles([key]).get(key) for key in (winner, loser))
                if one is None or other is None:
                    raise NotFound("one of the two profiles does not exist.", hint="It may have been erased.")
                check_merge(one, other)
                self._join(turn, self.cache.entries[winner], loser, cause, reason)
                self._close(turn)
                if self.commit(turn):
                    return turn.unit.merges[0].id
                self.recover()
        raise Unavailable("other processes wrote in between each time we tried.", hint="Try again.")

    def unmerge(self, merge_id: str, now: int, *, cause: str | None = None) -> tuple[int, int]:
        """Take a merge back; return the keys of who held the profile and of the profile itself."""
        with self.exclusive():
            for _ in range(_TRIES):
                self.fire(now)
                now = self.last = max(now, self.last)
                unit, undo = build_unmerge(self.store, merge_id, at=now, seq=self.seq + 1, cause=cause, declared=self.declared)
                if self.store.unrekey(unit, winner=undo.holder, origins=undo.origins, loser=undo.loser):
                    self.refresh()
                    self.look_again((undo.holder, undo.loser), now, why="unmerge")
                    return undo.holder, undo.loser
                self.stale = True
                self.recover()
        raise Unavailable("other processes wrote in between each time we tried.", hint="Try again.")

    def look_again(self, keys: Sequence[int], now: int, *, why: str) -> None:
        """Look at all conditions of some profiles anew; what differs from their memberships becomes events."""
        for start in range(0, len(keys), _WAKES):
            self._turns += 1
            turn = Turn(self._turns, now)
            chosen = keys[start : start + _WAKES]
            self.cache.load(chosen, self.program, self._turns)
            for key in chosen:
                self._wake(turn, key, now, why)
            self._close(turn)
            self.commit(turn)

    # ---- what it changes --------------------------------------------------------------------------------

    def _run(self, turn: Turn, entry: Entry, event: Event | None, why: str = "event") -> tuple[tuple[str, ...], tuple[str, ...]]:
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
            for name, came in found:
                moved[not came].append(name)
                turn.moves[name, key] = Membership(name, key, now, self.catalog.versions[name]) if came else None
                queue.append(self._transition(now, entry, name, came, cause=current.id if current is not None else None, why=why))
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
            entry.segments = tuple(sorted(entry.state.members))
        return tuple(moved[0]), tuple(moved[1])

    def _fold(self, turn: Turn, entry: Entry, event: Event) -> None:
        turn.unit.events.append(event)
        type_ = event.type
        if type_ in FACT_TYPES:
            if not fold(entry.profile, event, self.declared):
                refold(entry.profile, self._history(turn, entry, FACT_TYPES), self.declared)
            turn.changed[entry.profile.key] = entry
        state = entry.state
        if state is not None and type_ in self.program.types and not self.program.fold(state, event):
            self._restart(turn, entry, self._history(turn, entry, self.program.types))
        reactors = self.reactors.of(type_)
        if reactors:
            self._react(turn, event, entry.profile)

    def _history(self, turn: Turn, entry: Entry, types: Iterable[str]) -> list[Event]:
        """Return a profile's history: what is durable, what is on its way, and what this turn has added."""
        key = entry.profile.key
        turns = (*self.flying.values(), turn)
        keys = [key, *(other.joined[0] for other in turns if other.joined is not None and other.joined[1] == key)]
        found = [event for events in self.store.history(keys, types).values() for event in events]
        if entry.turn > self.cache.settled:
            seqs = {event.seq for event in found}
            wanted = frozenset(types)
            for other in turns:
                found += [e for e in other.unit.events if e.profile == key and e.type in wanted and e.seq not in seqs]
        found.sort(key=_place)
        return found

    def _restart(self, turn: Turn, entry: Entry, history: Iterable[Event]) -> None:
        if entry.state is not None:
            events = sorted((e for e in history if e.type in self.program.types), key=_place)
            entry.state = self.program.start(entry.profile.bucket, events, entry.state.members)

    def _transition(
        self, now: int, entry: Entry, name: str, came: bool, *, cause: str | None, why: str, origin: int = 0
    ) -> Event:
        profile = entry.profile
        self.seq += 1
        type_ = SEGMENT_ENTERED if came else SEGMENT_EXITED
        named = blake2b(f"{profile.id} {origin} {type_} {cause or why} {name}".encode(), digest_size=12).hexdigest()
        data: dict[str, Json] = {"segment": name, "version": self.catalog.versions.get(name, 0), "reason": why}
        return Event(
            id=f"{OWN_IDS}{now:012x}{named}", type=type_, profile=profile.key, origin=origin or profile.key, at=now,
            received_at=now, source="segments", data=data, cause=cause, seq=self.seq,
        )

    def _stop(self, turn: Turn, entry: Entry, found: list[Change], queue: deque[Event]) -> None:
        """Put an end to conditions that chase each other: what they brought about so far stands, and an event says so."""
        state = entry.state
        if state is None:
            return
        for name, came in found:  # not told any more, so not true yet either
            (state.members.discard if came else state.members.add)(name)
        turn.unit.events.extend(queue)
        names = {name for name, _ in found} | {str(event.data.get("segment")) for event in queue}
        told: dict[str, Json] = {"limit": CASCADE_LIMIT, "segments": sorted(names)}
        id_ = self._new_id(turn.now)
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
        self._restart(turn, entry, self._history(turn, entry, self.program.types))
        if entry.state is not None:  # it is looked at again when something happens, not at once
            entry.armed = NEVER
            entry.state.due = turn.now + _REST

    def _react(self, turn: Turn, event: Event, profile: Profile) -> None:
        for reactor in self.reactors.of(event.type):
            for action in reactor.react(event, profile):
                turn.unit.actions.append(self.admit(action, profile, event.received_at))

    def admit(self, action: Action, profile: Profile | None, now: int) -> Action:
        """Return the action as the gate lets it into the outbox."""
        if action.channel is None or self.gate is None or action.status != ActionStatus.PENDING:
            return action
        return self.gate(action, profile, now)

    def admit_action(self, action: Action, profile: Profile | None, now: int) -> None:
        """Put an action into the outbox past the gate, durably; a key that exists is left as it is."""
        unit = Unit()
        unit.actions.append(self.admit(action, profile, now))
        for _ in range(_TRIES):
            if self.write(unit):
                return
        raise Unavailable("other processes wrote in between each time we tried.", hint="Try again.")

    def _arm(self, turn: Turn, entry: Entry, due: int) -> None:
        """Set the profile's timer, when it has to wake earlier than it would."""
        due = max(due, turn.now + 1)
        if due < entry.armed:
            entry.armed = due
            turn.unit.timers[entry.profile.key, TIMER_KEY] = due
            self.timers.arm(due, entry.profile.key)

    # ---- timers -----------------------------------------------------------------------------------------

    @property
    def next_due(self) -> int:
        """The earliest instant at which a profile may have to wake."""
        return self.timers.next

    def fire(self, until: int, *, limit: int = _WAKES, one: bool = False) -> int:
        """Wake every profile whose time has come, in order of time, each at its own instant; return how many woke.

        With ``one`` only one turn is taken, which ends at the first action that is admitted, so that it can be delivered at
        its own instant.
        """
        woken = 0
        with self.exclusive():
            for _ in range(_TRIES):
                while self.next_due <= until:
                    turn = self.wake(until, limit=limit, stop_at_actions=one)
                    if not self.commit(turn):
                        break
                    woken += turn.woken
                    if one:
                        return woken
                else:
                    return woken
                self.recover()
        raise Unavailable("other processes wrote in between each time we tried.", hint="Try again.")

    def wake(self, until: int, *, limit: int = _WAKES, stop_at_actions: bool = False) -> Turn:
        """Compute a turn of timers only, those that are due first."""
        self._turns += 1
        turn = Turn(self._turns, self.last)
        self._wake_all(turn, until, limit=limit, stop_at_actions=stop_at_actions)
        self._close(turn)
        return turn

    def _wake_all(self, turn: Turn, until: int, *, limit: int = _WAKES, stop_at_actions: bool = False) -> bool:
        """Wake those whose time has come, in order; return whether nobody is left who has to."""
        timers, entries = self.timers, self.cache.entries
        loaded: set[int] = set()
        while timers.next <= until:
            found = timers.pop(until)
            if found is None:
                timers.extend((*(other.unit for other in self.flying.values()), turn.unit))
                continue
            due, key = found
            if key not in entries and key not in loaded:
                wanted = {key, *(k for k in timers.due(until, _TOGETHER) if k not in entries)} - loaded
                loaded |= wanted
                self.cache.load(wanted, self.program, turn.number)
            entry = entries.get(key)
            if entry is not None and entry.armed not in (due, NEVER):
                continue  # armed anew since
            self._wake(turn, key, due)
            if turn.woken >= limit or (stop_at_actions and turn.unit.actions):
                return False
        return True

    def _wake(self, turn: Turn, key: int, due: int, why: str = "time") -> None:
        """Let the time that has come change what it changes, and see when the profile has to wake next."""
        turn.woken += 1
        turn.unit.timers[key, TIMER_KEY] = -1
        entry = self.cache.entries.get(key)
        if entry is None or entry.state is None:
            return
        turn.now = self.last = max(due, self.last)
        entry.armed = NEVER
        self._run(turn, entry, None, why)

    # ---- writing ----------------------------------------------------------------------------------------

    def _close(self, turn: Turn) -> None:
        """Take snapshots of what changed and let the turn fly."""
        unit = turn.unit
        for place, row in turn.moves.items():
            if row is None:
                unit.left.append(place)
            else:
                unit.memberships.append(row)
        profiles = unit.profiles
        for key, entry in turn.changed.items():
            profiles[key] = copy.copy(entry.profile)
        if turn.joined is not None:
            winner = self.cache.entries[turn.joined[1]]
            profiles[winner.profile.key] = copy.copy(winner.profile)
        self.flying[turn.number] = turn

    def commit(self, turn: Turn) -> bool:
        """Write a turn durably; False when another process wrote in between, after which ``recover`` must be called."""
        written = False
        try:
            written = self.send(turn)
        finally:
            self.settle(turn, written)
        return written

    def send(self, turn: Turn) -> bool:
        """Write a turn, in any thread, one at a time and in order; ``settle`` has to follow. Raises what the store raises.

        After a turn that could not be written every later one is refused, until ``recover``.
        """
        written = False
        try:
            if self.stale:
                return False
            if turn.joined is not None:
                loser, winner = turn.joined
                written = self.store.rekey(turn.unit, loser=loser, winner=winner)
            else:
                written = not turn.unit or self.store.commit(turn.unit)
            return written
        finally:
            self.stale = self.stale or not written

    def settle(self, turn: Turn, written: bool) -> None:
        """Note that a turn is durable, or that it is not and memory is ahead of the store; ``lock`` must be held."""
        if self.flights and self.flights[0][0] is turn:
            self.flights.popleft()
        if self.flying.pop(turn.number, None) is not None and written:
            self.cache.settled = turn.number
            self.cache.trim()

    def write(self, unit: Unit) -> bool:
        """Write a unit made elsewhere that changes no profile (outcomes of actions, say); as ``Store.commit``."""
        with self.exclusive():
            written = self.store.commit(unit)
            if not written:
                self.stale = True
                self.recover()
            return written


def _refused(id_: str | None, mistakes: Sequence[str]) -> Receipt:
    return Receipt(status="rejected", id=id_ if isinstance(id_, str) else None, mistakes=tuple(mistakes))


def _place(event: Event) -> tuple[int, int]:
    return event.at, event.seq


def _numbered(event: Event, seq: int) -> Event:
    import msgspec

    return msgspec.structs.replace(event, seq=seq)


def _name_of(profile: Profile) -> str:
    name = profile.attributes.get("name")
    if isinstance(name, str):
        return name
    parts = [profile.attributes.get("first_name"), profile.attributes.get("last_name")]
    return " ".join(part for part in parts if isinstance(part, str))
