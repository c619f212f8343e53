"""What the loop keeps ready of profiles it has met: facts, compiled state, and whose each identifier is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tailorbird.core.profile import Identifier, Profile
from tailorbird.expr.incremental import NEVER, Program, State
from tailorbird.ports import IdentifierRow, Store

__all__ = ["Cache", "Entry"]

_ROWS_PER_PROFILE: Final = 4


class Entry:
    """A profile that is ready to take events: its facts, and its compiled state under a program (None for what has no segments).

    ``armed`` is the due of its stored timer as far as known (NEVER: none, or not known, which costs a rewrite at most).
    ``names`` are its identifiers, once asked for. ``turn`` is the last turn that changed it: until that one is durable,
    the entry must stay. ``segments`` is ``state.members`` sorted. ``kept`` is for who reads: an answer given before.
    """

    __slots__ = ("armed", "kept", "names", "profile", "program", "segments", "state", "touched", "turn")

    def __init__(
        self, profile: Profile, program: Program, state: State | None, names: dict[Identifier, IdentifierRow] | None = None
    ) -> None:
        self.profile = profile
        self.program = program
        self.state = state
        self.names = names
        self.armed: int = NEVER
        self.segments: tuple[str, ...] = tuple(sorted(state.members)) if state is not None else ()
        self.turn = 0
        self.touched = 0
        self.kept: Any = None


class Cache:
    """Entries by profile key, identifier rows by identifier, keys by public id; the oldest go first when there are too many.

    ``into`` leads from profiles merged away to where they went, one step; rows and keys are as they were when read.
    ``settled`` is the last turn known to be durable: what a later one changed is never let go. ``trims`` counts how often
    something was let go, for who has to look whether what was made ready still is.
    """

    def __init__(self, store: Store, limit: int) -> None:
        self._store = store
        self._limit = limit
        self.entries: dict[int, Entry] = {}
        self.rows: dict[Identifier, IdentifierRow] = {}
        self.keys: dict[str, int] = {}
        self.into: dict[int, int] = {}
        self.settled = 0
        self.trims = 0
        self._fresh_rows: list[tuple[int, IdentifierRow]] = []
        self._fresh_keys: list[tuple[int, str, int]] = []

    def clear(self) -> None:
        """Forget everything."""
        self.trims += 1
        self.entries.clear()
        self.rows.clear()
        self.keys.clear()
        self.into.clear()
        self._fresh_rows.clear()
        self._fresh_keys.clear()

    def root(self, key: int) -> int:
        """Return the profile that a profile is part of now."""
        into = self.into
        while key in into:
            key = into[key]
        return key

    def row(self, name: Identifier) -> IdentifierRow | None:
        """Return an identifier's row as it is now, if ``find`` met it."""
        row = self.rows.get(name)
        if self.into and row is not None and row.profile in self.into:
            row = self.rows[name] = row._replace(profile=self.root(row.profile))
        return row

    def find(self, identifiers: Iterable[Identifier]) -> None:
        """Read the rows of identifiers not met yet; those that do not exist are not noted."""
        missing = [name for name in identifiers if name not in self.rows]
        if missing:
            self.rows.update(self._store.resolve(list(dict.fromkeys(missing))))

    def find_ids(self, ids: Iterable[str]) -> None:
        """Read to which profiles public ids lead."""
        missing = [name for name in dict.fromkeys(ids) if name not in self.keys]
        if not missing:
            return
        for name, profile in self._store.profiles_by_id(missing).items():
            self.keys[name] = profile.key
            while profile.merged_into is not None and profile.key not in self.into:
                self.into[profile.key] = profile.merged_into
                profile = self._store.profiles([profile.merged_into])[profile.merged_into]  # noqa: PLW2901

    def attach(self, row: IdentifierRow, turn: int) -> None:
        """Note an identifier that a turn gives to a profile, be it taken from another one."""
        name = Identifier(row.kind, row.value)
        before = self.row(name)
        if before is not None and before.profile in self.entries:
            (self.entries[before.profile].names or {}).pop(name, None)
        self.rows[name] = row
        self._fresh_rows.append((turn, row))
        entry = self.entries.get(row.profile)
        if entry is not None and entry.names is not None:
            entry.names[name] = row

    def add(self, entry: Entry, turn: int) -> None:
        """Note a profile that a turn creates."""
        profile = entry.profile
        entry.turn = entry.touched = turn
        self.entries[profile.key] = entry
        self.keys[profile.id] = profile.key
        self._fresh_keys.append((turn, profile.id, profile.key))

    def names(self, entry: Entry) -> dict[Identifier, IdentifierRow]:
        """Return a profile's identifiers, those of turns not yet durable included."""
        if entry.names is None:
            key = entry.profile.key
            found = {Identifier(row.kind, row.value): row for row in self._store.identifiers(key)}
            for _, row in self._fresh_rows:
                name = Identifier(row.kind, row.value)
                if self.root(row.profile) == key:
                    found[name] = row
                else:
                    found.pop(name, None)
            entry.names = found
        return entry.names

    def load(self, keys: Iterable[int], program: Program, turn: int) -> None:
        """Make the entries of profiles ready, the cold ones with a few queries for all of them together."""
        entries = self.entries
        missing: list[int] = []
        for key in keys:
            if key in self.into:
                continue  # merged away, durably or in a turn on its way: what the store says of it is of the past
            entry = entries.get(key)
            if entry is None:
                missing.append(key)
            else:
                entry.touched = turn
        if not missing:
            return
        profiles = self._store.profiles(list(dict.fromkeys(missing)))
        people = [key for key, profile in profiles.items() if profile.kind == "person" and profile.merged_into is None]
        states = self._states(people, profiles, program)
        for key, profile in profiles.items():
            entry = Entry(profile, program, states.get(key))
            entry.touched = turn
            entries[key] = entry

    def _states(self, keys: Sequence[int], profiles: Mapping[int, Profile], program: Program) -> dict[int, State]:
        if not keys:
            return {}
        histories = self._store.history(keys, program.types)
        memberships = self._store.memberships(keys)
        return {
            key: program.start(profiles[key].bucket, histories.get(key, ()), [m.segment for m in memberships.get(key, ())])
            for key in keys
        }

    def trim(self) -> None:
        """Let the least recently used go when there are too many; a quarter at a time, so that this is rare."""
        if len(self.entries) > self._limit:
            self.trims += 1
            by_age = sorted(self.entries.items(), key=lambda item: item[1].touched)
            for key, entry in by_age[: len(self.entries) - self._limit * 3 // 4]:
                if entry.turn <= self.settled:
                    del self.entries[key]
        self._fresh_rows = [item for item in self._fresh_rows if item[0] > self.settled]
        self._fresh_keys = [item for item in self._fresh_keys if item[0] > self.settled]
        if len(self.rows) > self._limit * _ROWS_PER_PROFILE:
            self.trims += 1
            self.rows = {Identifier(row.kind, row.value): row for _, row in self._fresh_rows}
        if len(self.keys) > self._limit * _ROWS_PER_PROFILE:
            self.trims += 1
            self.keys = {name: key for _, name, key in self._fresh_keys}
