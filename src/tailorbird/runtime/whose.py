"""Whose an event is: finds the profile, creates it, gives it identifiers, and makes two profiles one."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tailorbird.core.event import Event
from tailorbird.core.ids import bucket_seed
from tailorbird.core.profile import Identifier, Profile
from tailorbird.ports import IdentifierRow, Merge, Store
from tailorbird.profiles.fold import FACT_TYPES
from tailorbird.profiles.identity import Held, Resolution, resolve
from tailorbird.profiles.merge import apart
from tailorbird.profiles.merge import join as merged
from tailorbird.profiles.normalise import is_strong
from tailorbird.profiles.records import RECORD_TYPES, records_of
from tailorbird.profiles.rules import DEFAULT_RULE, MergeRule
from tailorbird.runtime.cache import Cache, Entry
from tailorbird.runtime.effects import Effects
from tailorbird.runtime.turns import Item, Pending, Turn

__all__ = ["Owners"]


class Owners:
    """Decides by ``rule`` whose events are. ``next_key`` is the key of the next profile; ``moves`` counts identifiers that
    went from one profile to another."""

    def __init__(self, store: Store, cache: Cache, effects: Effects) -> None:
        self._store = store
        self._cache = cache
        self._effects = effects
        self.rule: MergeRule = DEFAULT_RULE
        self.next_key = 1
        self.moves = 0
        self.reset((), 1)

    def reset(self, merges: Iterable[Merge], next_key: int) -> None:
        """Start from what is stored."""
        known = list(merges)
        self.next_key = next_key
        self._apart = apart(known)
        self._won: dict[int, int] = {}
        for merge in known:
            if merge.undone_at is None:
                self._won[merge.winner] = self._won.get(merge.winner, 0) + 1

    def find(self, turn: Turn, item: Item, id_: str) -> tuple[Entry, int]:
        """Return the event's profile and origin; creates the profile, attaches identifiers and joins profiles as need be."""
        cache = self._cache
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
            resolution = self._resolve(names, turn.number)
            if resolution.joins:  # asked before anything is given: what has to wait must leave no trace in this turn
                self._check_join(turn, resolution.profile, resolution.joins[0].loser)
            entry = self._settle(turn, item, resolution)
            if not resolution.joins:
                break
            self.join(turn, entry, resolution.joins[0].loser, id_, resolution.joins[0].reason)
            item.id = id_  # from now on, as something was caused by this name; before, another event may still be given it
        origin = entry.profile.key if resolution.origin is None else resolution.origin
        return entry, origin

    def _resolve(self, names: tuple[Identifier, ...], turn: int) -> Resolution:
        cache = self._cache
        found = {name: row for name in names if (row := cache.row(name)) is not None}
        keys = dict.fromkeys(row.profile for row in found.values())
        cache.load([key for key in keys if key not in cache.entries], self._effects.program, turn)
        held = {key: self._held(cache.entries[key]) for key in keys if key in cache.entries}
        return resolve(names, found, held, self.rule, apart=self._apart)

    def _held(self, entry: Entry) -> Held:
        names = self._cache.names(entry)
        strong = tuple(name for name in names if is_strong(name.kind))
        return Held(strong, len(names), self._won.get(entry.profile.key, 0), _name_of(entry.profile))

    def _settle(self, turn: Turn, item: Item, resolution: Resolution) -> Entry:
        """Create the profile if there is none, and attach the identifiers it is given."""
        cache, now = self._cache, turn.now
        if resolution.profile is None:
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
            self.moves += 1
        if resolution.attach:
            entry.turn = turn.number
        return entry

    def _create(self, turn: Turn, public_id: str, kind: str) -> Entry:
        seed = bucket_seed(public_id)
        profile = Profile(key=self.next_key, id=public_id, bucket=seed, kind=kind, created_at=turn.now)
        self.next_key += 1
        state = self._effects.program.start(seed) if kind == "person" else None
        entry = Entry(profile, self._effects.program, state, {})
        self._cache.add(entry, turn.number)
        turn.changed[profile.key] = entry
        return entry

    def join(self, turn: Turn, winner: Entry, loser_key: int, cause: str, reason: str) -> None:
        """Make another profile part of this one, here and now; one join a turn, and of what is durable only (see ``find``)."""
        cache, now = self._cache, turn.now
        loser = cache.entries[loser_key]
        keys = [winner.profile.key, loser_key]
        histories = self._store.history(keys, FACT_TYPES | RECORD_TYPES | self._effects.program.types)
        history = [event for events in histories.values() for event in events]
        left = self._leave_all(turn, loser, winner, cause)
        merge, joined, gone, told = merged(
            winner.profile,
            loser.profile,
            history,
            at=now,
            cause=cause,
            reason=reason,
            rule=self.rule,
            declared=self._effects.declared,
        )
        turn.joined = (loser_key, winner.profile.key)
        turn.unit.records += records_of(winner.profile.key, history)
        turn.unit.merges.append(merge)
        turn.unit.profiles[loser_key] = gone
        names = {**cache.names(winner), **cache.names(loser)}
        winner.names = {name: row._replace(profile=winner.profile.key) for name, row in names.items()}
        winner.profile = joined
        cache.into[loser_key] = joined.key
        pairs = (frozenset(joined.key if key == loser_key else key for key in pair) for pair in self._apart)
        self._apart = frozenset(pair for pair in pairs if len(pair) == 2)
        del cache.entries[loser_key]
        self._won[joined.key] = self._won.get(joined.key, 0) + self._won.pop(loser_key, 0) + 1
        self._effects.restart(winner, [*history, *left])
        for event in told:
            self._effects.seq += 1
            self._effects.run(turn, winner, msgspec.structs.replace(event, seq=self._effects.seq), why="merge")

    def _check_join(self, turn: Turn, winner_key: int | None, loser_key: int) -> None:
        """Raise ``Pending`` when two profiles cannot be joined yet; without a winner it is one that will be made for it."""
        entries, settled = self._cache.entries, self._cache.settled
        if turn.joined is not None or entries[loser_key].turn > settled:
            raise Pending
        if winner_key is not None and entries[winner_key].turn > settled:
            raise Pending

    def _leave_all(self, turn: Turn, loser: Entry, winner: Entry, cause: str) -> list[Event]:
        """Tell that a profile that ceases to be leaves its segments, so that what went in and out adds up."""
        events: list[Event] = []
        for name in loser.segments:
            event = self._effects.transition(turn.now, winner, name, False, cause=cause, why="merge", origin=loser.profile.key)
            events.append(event)
            turn.unit.events.append(event)
            self._effects.react(turn, event, loser.profile)
        return events


def _name_of(profile: Profile) -> str:
    name = profile.attributes.get("name")
    if isinstance(name, str):
        return name
    parts = [profile.attributes.get("first_name"), profile.attributes.get("last_name")]
    return " ".join(part for part in parts if isinstance(part, str))
