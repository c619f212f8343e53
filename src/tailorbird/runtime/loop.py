"""The loop: events in, one unit of work out; whose they are, what they change, who enters and leaves, all in order of arrival."""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from threading import get_ident
from typing import Final

from tailorbird.core.action import Action
from tailorbird.core.definition import Kind, Status
from tailorbird.core.event import MEMBER_ADDED, MEMBER_REMOVED, PROFILE_UPDATED, Event
from tailorbird.core.profile import Profile
from tailorbird.core.reactor import Reactor
from tailorbird.definitions.catalog import Catalog
from tailorbird.errors import InvalidEvent, NotFound, Unavailable
from tailorbird.expr.incremental import NEVER, Program
from tailorbird.ports import Store, Unit
from tailorbird.profiles.attributes import coerce_attributes
from tailorbird.profiles.drafts import Draft
from tailorbird.profiles.engagements import REPLY_RECEIVED
from tailorbird.profiles.lifecycle import STATUS
from tailorbird.profiles.merge import build_unmerge, check_merge
from tailorbird.profiles.normalise import normalise_all
from tailorbird.profiles.rules import DEFAULT_RULE, MergeRule, parse_merge_rule
from tailorbird.profiles.sentiment import scored
from tailorbird.runtime.cache import Cache
from tailorbird.runtime.effects import Effects
from tailorbird.runtime.holding import PATIENT, Hold
from tailorbird.runtime.ingest import Incoming, Receipt, check
from tailorbird.runtime.reactors import Reactors
from tailorbird.runtime.timers import TIMER_KEY, Timers
from tailorbird.runtime.turns import Group, Item, Pending, Turn, refused
from tailorbird.runtime.whose import Owners

__all__ = ["Loop"]

_WAKES: Final = 2_000
"""How many profiles wake in one turn at most."""

_TOGETHER: Final = 500
_PATIENCE: Final = 0.02
_CHUNK: Final = 5_000
"""How many events share one commit at most, when more are given at once."""

_TRIES: Final = 20


class Loop:
    """The one place where events take effect. Deterministic: time comes with the call, chance is a hash.

    ``prepare`` a group, take ``turn`` after ``turn`` of it, ``commit`` each; ``take`` does all of it. A server may compute
    one turn while the one before is being committed by another thread. ``lock`` guards everything here but ``send``.
    """

    def __init__(self, store: Store, *, region: str | None = None, cached: int = 100_000) -> None:
        self.store = store
        self.lock = threading.RLock()
        self.region = region or None
        self.cache = Cache(store, cached)
        self.timers = Timers(store)
        self.watch: Callable[[Turn], None] | None = None  # told of every turn that is durable
        self.flying: dict[int, Turn] = {}
        self.flights: deque[tuple[Turn, Future[bool]]] = deque()
        self.waiting = 0
        self._count = threading.Lock()
        self.fair = threading.Event()
        self.fair.set()
        self._owner: int | None = None
        self.hold = Hold(store)
        self.stale = True
        self._turns = 0
        self._written = 0
        self._extra: tuple[Reactor, ...] = ()
        self.effects = Effects(store, self.cache, self.timers, self.flying)
        self.owners = Owners(store, self.cache, self.effects)
        self._epoch = 0
        self._active: list[tuple[str, str, int, str]] | None = None
        self.last = 0
        self.refresh()

    @property
    def catalog(self) -> Catalog:
        """What is active."""
        return self.effects.catalog

    @property
    def program(self) -> Program:
        """The live conditions and features, compiled."""
        return self.effects.program

    @property
    def rule(self) -> MergeRule:
        """The rule by which profiles are joined."""
        return self.owners.rule

    @property
    def epoch(self) -> int:
        """Grows whenever what names and features stand for may have changed."""
        return self._epoch + self.owners.moves

    # ---- one at a time ----------------------------------------------------------------------------------

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Be alone with the store and the caches: what a server has on its way is waited for, and nothing else begins."""
        with self._count:
            self.waiting += 1
        try:
            if self._owner != get_ident():
                # Whoever was let in last waits for the intake's turn, which must not starve behind many of us.
                while not (self.fair.wait(_PATIENCE) and self.lock.acquire(timeout=_PATIENCE)):
                    pass
            else:
                self.lock.acquire()
        finally:
            with self._count:
                self.waiting -= 1
        before, self._owner = self._owner, get_ident()
        try:
            with self.hold.within(self, outermost=before is None):
                self.land()
                yield
        finally:
            self._owner = before
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
        self.cache.clear()  # first of all: who reads meanwhile finds nothing rather than what no longer fits
        store.claim()
        active = store.definitions(status=Status.ACTIVE)
        effects, versions = self.effects, [(d.kind, d.name, d.version, d.digest) for d in active]
        if versions != self._active:  # compiling takes most of the time, and an import comes here often
            self._active, effects.catalog = versions, Catalog.build(active, lenient=True)
            features = {name: node for name, (node, _) in effects.catalog.features.items()}
            effects.program = Program(effects.catalog.watched, features)
        catalog = effects.catalog
        effects.declared = {d.name: str(d.spec.get("type")) for d in active if d.kind == Kind.ATTRIBUTE}
        effects.reactors = Reactors(catalog.subscriptions, self._extra)
        found = catalog.merge_rule
        self.owners.rule = parse_merge_rule(found.name, found.spec) if found is not None else DEFAULT_RULE
        self.cache.clear()
        self._epoch += 1
        self.cache.settled = self._turns
        effects.seq = store.last_seq()
        last = store.events(after=effects.seq - 1, limit=1) if effects.seq else []
        self.last = max(last[0].received_at if last else 0, self.last)
        self.owners.reset(store.merges(), store.next_profile_key())
        self.timers.reset()
        self.stale = False

    def react(self, *reactors: Reactor) -> None:
        """Let these react to every event from now on, besides the subscriptions."""
        self._extra = (*self._extra, *reactors)
        self.effects.reactors = Reactors(self.catalog.subscriptions, self._extra)

    # ---- intake -----------------------------------------------------------------------------------------

    def take(self, batch: Sequence[Incoming | Draft], now: int, *, insist: bool = False) -> list[Receipt]:
        """Take events in durably, after the timers that are due; return a receipt for each.

        With ``insist`` the first try is made under the write lock already.
        """
        receipts: list[Receipt] = []
        with self.exclusive():
            if insist:
                self.stale, self.hold.losses = True, PATIENT
            self.recover()
            tries = _TRIES
            while tries:
                while len(receipts) < len(batch):
                    done = len(receipts)
                    group = self.prepare(batch[done : done + _CHUNK], now)
                    if not self._take_group(group, receipts):
                        break
                else:
                    return receipts
                tries = tries - 1 if len(receipts) == done else _TRIES
                self.recover()
        raise Unavailable("other processes wrote in between each time we tried.", hint="Try again.")

    def _take_group(self, group: Group, receipts: list[Receipt]) -> bool:
        while not group.done:
            turn = self.turn(group)
            if not self.commit(turn):
                return False
            receipts += turn.receipts
        return True

    def recover(self) -> None:
        """After a commit that did not happen: drop what is in memory and read anew, and after several keep others from writing
        until the next one (where this thread has the loop for itself)."""
        if self.stale:
            self.hold.lost(insist=self._owner == get_ident())
            self.refresh()

    def prepare(self, batch: Sequence[Incoming | Draft], now: int) -> Group:
        """Check the events and read whatever is cold for all of them together."""
        now = max(now, self.last)
        items = [self._item(incoming, now) for incoming in batch]
        return Group(items, self._ready(items), now, self._state())

    def _state(self) -> tuple[int, int]:
        """Return what tells whether something made ready still is: how often memory was let go, and turns became durable."""
        return self.cache.trims, self._written

    def _ready(self, items: Sequence[Item]) -> set[str]:
        """Read whatever is cold for these events; return which of their ids are stored."""
        good = [item for item in items if item.refused is None]
        ids = [item.incoming.id for item in good if item.incoming.id is not None]
        known = self.store.known_ids(ids) if ids else set()
        self._load(good)
        return known

    def _renew(self, group: Group) -> None:
        """Make the rest of a group ready again, when others came in between: what it found then may not hold any more."""
        if group.made[0] != self.cache.trims:
            for place in range(group.position, len(group.items)):
                was = group.items[place]
                group.items[place] = now = self._item(was.incoming, group.now)
                now.id = was.id  # an event that waits for its second merge has caused the first by this name
        group.known |= self._ready(group.items[group.position :])
        group.made = self._state()

    def _item(self, incoming: Incoming | Draft, now: int) -> Item:
        item = Item(incoming, type(incoming) is Draft)
        try:
            if not item.own:
                mistakes = check(incoming, now)  # type: ignore[arg-type]
                if mistakes:
                    item.refused = refused(incoming.id, [m.render() for m in mistakes])
                    return item
                if incoming.type in (MEMBER_ADDED, MEMBER_REMOVED) and incoming.data["segment"] not in self.catalog.manual:
                    told = f"data.segment: {incoming.data['segment']!r} is not a segment kept by hand"
                    item.refused = refused(incoming.id, [told])
                    return item
            if incoming.profile is None:
                item.identifiers = normalise_all(incoming.identifiers, profile_kind=incoming.kind, region=self.region)
        except InvalidEvent as error:
            item.refused = refused(incoming.id, [m.render() for m in error.mistakes] or [str(error)])
        return item

    def _load(self, items: Sequence[Item]) -> None:
        cache = self.cache
        rows, into = cache.rows, cache.into
        wanted: list[int] = []
        unmet: list[Item] = []
        for item in items:
            if item.incoming.profile is not None:
                unmet.append(item)
                continue
            for name in item.identifiers:
                row = rows.get(name)
                if row is None or row.profile in into:
                    unmet.append(item)
                    break
                wanted.append(row.profile)
        if unmet:
            cache.find([name for item in unmet for name in item.identifiers])
            cache.find_ids(item.incoming.profile for item in unmet if item.incoming.profile is not None)
            for item in unmet:
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
        turn = self._begin(group.now)
        with self._computing():
            if group.made != self._state():
                self._renew(group)
            through = self._wake_all(turn, group.now)
            turn.now = self.last = max(group.now, self.last)
            for item in group.items[group.position :] if through else ():
                turn.receipts.append(item.refused or self._event(turn, group, item))
                group.position += 1
        self._close(turn)
        return turn

    def _begin(self, now: int) -> Turn:
        self._turns += 1
        return Turn(self._turns, now)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """End a turn quietly where it must wait for another; after a defect nothing in memory is to be trusted."""
        try:
            yield
        except Pending:
            pass
        except BaseException:
            self.stale = True
            raise

    def _event(self, turn: Turn, group: Group, item: Item) -> Receipt:
        incoming = item.incoming
        id_ = item.id
        if incoming.id is not None and id_ is not None and (id_ in group.known or self._flies(id_)):
            return self._duplicate(item)
        if incoming.profile is not None:
            key = self.cache.keys.get(incoming.profile)
            entry = None if key is None else self.cache.entries.get(self.cache.root(key))
            if entry is None or key is None:
                return refused(id_, [f"profile: no profile has the id {incoming.profile}"])
            origin = key
        else:
            id_ = id_ or self.effects.new_id(turn.now)
            entry, origin = self.owners.find(turn, item, id_)
        if id_ is None:
            id_ = self.effects.new_id(turn.now)
        group.known.add(id_)
        turn.ids.add(id_)
        data = incoming.data
        if incoming.type == PROFILE_UPDATED:
            if declared := self.effects.declared:
                data = {**data, "attributes": coerce_attributes(data["attributes"], declared)[0]}
            if STATUS in data["attributes"]:
                data = self.effects.stages.given(entry, data)
        elif incoming.type == REPLY_RECEIVED:
            data = scored(data, entry.profile.attributes.get("language"))
        at = incoming.at
        now = turn.now
        self.effects.seq += 1
        event = Event(
            id=id_,
            type=incoming.type,
            profile=entry.profile.key,
            origin=origin,
            at=now if at is None or at > now else at,
            received_at=now,
            source=incoming.source,
            data=data,
            cause=incoming.cause if item.own else None,  # type: ignore[union-attr]
            seq=self.effects.seq,
        )
        entered, exited = self.effects.run(turn, entry, event)
        return Receipt(
            status="accepted", id=id_, profile=entry.profile.id, segments=entry.segments, entered=entered, exited=exited
        )

    def _flies(self, id_: str) -> bool:
        for turn in self.flying.values():  # noqa: SIM110 – asked for every event, and a generator costs as much as the answer
            if id_ in turn.ids:
                return True
        return False

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

    # ---- merging ----------------------------------------------------------------------------------------

    def merge(self, winner: int, loser: int, now: int, *, cause: str, reason: str) -> str:
        """Make one profile part of another because a person said so; return the merge's id. Raises ``Conflict``."""
        with self.exclusive():
            for _ in range(_TRIES):
                self.fire(now)
                now = self.last = max(now, self.last)
                one, other = (self.store.profiles([key]).get(key) for key in (winner, loser))
                if one is None or other is None:
                    raise NotFound("one of the two profiles does not exist.", hint="It may have been erased.")
                check_merge(one, other)
                turn = self._begin(now)
                with self._computing():
                    self.cache.load([winner, loser], self.program, turn.number)
                    self.owners.join(turn, self.cache.entries[winner], loser, cause, reason)
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
                effects = self.effects
                unit, undo = build_unmerge(
                    self.store, merge_id, at=now, seq=effects.seq + 1, cause=cause, declared=effects.declared
                )
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
            for _ in range(_TRIES):
                if self._look(keys[start : start + _WAKES], now, why):
                    break
                self.recover()
            else:
                raise Unavailable("other processes wrote in between each time we tried.", hint="Try again.")

    def _look(self, keys: Sequence[int], now: int, why: str) -> bool:
        turn = self._begin(now)
        with self._computing():
            self.cache.load(keys, self.program, turn.number)
            for key in keys:
                self._wake(turn, key, now, why)
        self._close(turn)
        return self.commit(turn)

    # ---- actions ----------------------------------------------------------------------------------------

    def admit_action(self, action: Action, profile: Profile | None, now: int) -> None:
        """Put an action into the outbox past the gate, durably; a key that exists is left as it is."""
        unit = Unit()
        unit.actions.append(self.effects.admit(action, profile, now))
        for _ in range(_TRIES):
            if self.write(unit):
                return
        raise Unavailable("other processes wrote in between each time we tried.", hint="Try again.")

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
            tries = _TRIES
            while tries:
                while self.next_due <= until:
                    turn = self.wake(until, limit=limit, stop_at_actions=one)
                    if not self.commit(turn):
                        break
                    woken, tries = woken + turn.woken, _TRIES
                    if one:
                        return woken
                else:
                    return woken
                tries -= 1
                self.recover()
        raise Unavailable("other processes wrote in between each time we tried.", hint="Try again.")

    def wake(self, until: int, *, limit: int = _WAKES, stop_at_actions: bool = False) -> Turn:
        """Compute a turn of timers only, those that are due first."""
        turn = self._begin(self.last)
        with self._computing():
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
            if key in self.cache.into:
                turn.unit.timers[key, TIMER_KEY] = -1
                continue  # merged away: who it is part of has a timer of its own
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
        self.effects.run(turn, entry, None, why)

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
            sent = self.send(turn)
            self.hold.release()
            written = sent
        finally:
            self.stale = self.stale or not written
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
            self._written += 1
            self.cache.settled = turn.number
            self.cache.trim()
            if self.watch is not None:
                self.watch(turn)

    def write(self, unit: Unit) -> bool:
        """Write a unit made elsewhere that changes no profile (outcomes of actions, say); as ``Store.commit``."""
        with self.exclusive():
            written = self.store.commit(unit)
            if not written:
                self.stale, self.hold.losses = True, PATIENT
                self.recover()
                self.stale = True  # until we know that it is durable
                written = self.store.commit(unit)
                self.hold.release()
                self.stale = not written
            return written
