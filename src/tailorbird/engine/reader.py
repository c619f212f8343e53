"""Reading features of profiles that are ready in memory, in microseconds, and as JSON that is kept until it changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from tailorbird.core.profile import Identifier
from tailorbird.engine.asking import features
from tailorbird.engine.parts import Parts
from tailorbird.engine.refs import find_profile, is_public, read_ref
from tailorbird.errors import NotFound
from tailorbird.expr.types import Type
from tailorbird.features.values import choose, wire
from tailorbird.runtime.cache import Entry

__all__ = ["Reader"]

_MOST: Final = 1_000_000
"""Names of profiles that are remembered."""

_DRESSED: Final = (Type.TIME, Type.DURATION, Type.TEXTS)
_encode = msgspec.json.Encoder().encode


class _Asked(NamedTuple):
    """Which features a question is for, ready to be answered; ``dressed`` are those that JSON shows in another form."""

    names: tuple[str, ...]
    dressed: tuple[tuple[int, Type], ...]
    still: tuple[str, ...]
    moving: tuple[str, ...]
    kinds: tuple[Type, ...]


class _Kept(NamedTuple):
    """An answer in pieces, between which the values that move all the time belong; right until ``due`` or the next ``turn``."""

    names: tuple[str, ...] | None
    turn: int
    due: int
    pieces: tuple[bytes, ...]


class Reader:
    """Reads features. Every answer is of the instant it is given, and of what is durable."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._asked: dict[tuple[str, ...] | None, _Asked] = {}
        self._epoch = -1
        self._keys: dict[str, int] = {}

    def warm(self, ref: str, names: tuple[str, ...] | None) -> dict[str, Any] | None:
        """Return the features as JSON values when the profile is in memory, else None; never waits."""
        entry = self._entry(ref)
        return None if entry is None else self._values(entry, names)

    def encoded(self, ref: str, names: tuple[str, ...] | None, now: int) -> bytes | None:
        """Return the features as a JSON object when the profile is in memory, else None; never waits.

        What was answered before is answered again until an event changes the profile or time changes a value; only values
        that move all the time, such as a ``time_since``, are computed each time.
        """
        entry = self._entry(ref)
        if entry is None:
            return None
        kept: _Kept | None = entry.kept
        if kept is None or kept.turn != entry.turn or now >= kept.due or kept.names != names:
            kept = self._keep(entry, names, now)
            if kept is None:
                return None
            entry.kept = kept
        pieces = kept.pieces
        if len(pieces) == 1:
            return pieces[0]
        asked = self._asked[names] if names in self._asked else self._ask(names)
        values = entry.program.values(entry.state, asked.moving, now)  # type: ignore[arg-type]
        found = [pieces[0]]
        for value, kind, piece in zip(values, asked.kinds, pieces[1:], strict=True):
            found.append(_encode(wire(value, kind) if kind in _DRESSED else value))
            found.append(piece)
        return b"".join(found)

    def _entry(self, ref: str) -> Entry | None:
        loop = self._parts.loop
        if loop.epoch != self._epoch:  # names may lead elsewhere now, and features may be others
            self._keys.clear()
            self._asked.clear()
            self._epoch = loop.epoch
        cache = loop.cache
        key = self._keys.get(ref)
        if key is None:
            key = self._met(ref)
        entry = cache.entries.get(key) if key is not None and key not in cache.into else None
        if entry is None or entry.state is None or entry.turn > cache.settled:  # what is not durable yet is not shown
            return None
        return entry

    def _keep(self, entry: Entry, names: tuple[str, ...] | None, now: int) -> _Kept | None:
        """Compute an answer and cut it where values belong that move; None when the profile changed meanwhile."""
        turn = entry.turn
        asked = self._asked[names] if names in self._asked else self._ask(names)
        values = self._values(entry, names)
        pieces, piece = [], b"{"
        moving = set(asked.moving)
        for place, name in enumerate(asked.names):
            piece += b"%s%s:" % (b"," if place else b"", _encode(name))
            if name in moving:
                pieces.append(piece)
                piece = b""
            else:
                piece += _encode(values[name])
        pieces.append(piece + b"}")
        due = entry.program.due(entry.state, asked.still, now)  # type: ignore[arg-type]
        if entry.turn != turn:  # another thread is at it
            return None
        return _Kept(names, turn, due, tuple(pieces))

    def _met(self, ref: str) -> int | None:
        """Return the key of a profile whose name the loop has met, without asking the store."""
        cache = self._parts.loop.cache
        if is_public(ref):
            key = cache.keys.get(ref)
        else:
            row = cache.row(Identifier(*read_ref(ref)))
            key = None if row is None else row.profile
        if key is not None and len(self._keys) < _MOST:
            self._keys[ref] = key
        return key

    def read(self, ref: str, names: tuple[str, ...] | None) -> dict[str, Any]:
        """Return the features as JSON values, as of now; the profile is made ready if it is not."""
        found = self.warm(ref, names)
        if found is not None:
            return found
        loop = self._parts.loop
        profile = find_profile(self._parts.store, ref, region=self._parts.region)
        with loop.exclusive():
            key = loop.cache.root(profile.key)  # it may have been merged since it was found, or erased
            loop.cache.load([key], loop.program, 0)
            entry = loop.cache.entries.get(key)
        if entry is None:
            raise NotFound(f"No profile is known as {ref!r}.", hint="It was erased just now.")
        if len(self._keys) > _MOST:
            self._keys.clear()
        self._keys[ref] = profile.key
        if entry.state is None:
            return features(self._parts, ref, names, as_of=None)
        return self._values(entry, names)

    def _ask(self, names: tuple[str, ...] | None) -> _Asked:
        catalog = self._parts.loop.catalog
        found = choose(catalog.features, catalog.views, names)
        kinds = [kind for _, kind in found.values()]
        dressed = tuple((place, kind) for place, kind in enumerate(kinds) if kind in _DRESSED)
        moves = self._parts.loop.program.moving(tuple(found))
        asked = self._asked[names] = _Asked(
            tuple(found), dressed,
            tuple(name for name, moving in zip(found, moves, strict=True) if not moving),
            tuple(name for name, moving in zip(found, moves, strict=True) if moving),
            tuple(kind for kind, moving in zip(kinds, moves, strict=True) if moving),
        )  # fmt: skip
        return asked

    def _values(self, entry: Entry, names: tuple[str, ...] | None) -> dict[str, Any]:
        asked = self._asked[names] if names in self._asked else self._ask(names)
        values: Sequence[Any] = entry.program.values(entry.state, asked.names, self._parts.now())  # type: ignore[arg-type]
        result = dict(zip(asked.names, values, strict=True))
        for place, kind in asked.dressed:
            result[asked.names[place]] = wire(values[place], kind)
        return result
