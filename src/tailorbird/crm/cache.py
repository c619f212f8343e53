"""A cache of what CRMs say of people: short-lived, bounded, in memory alone, and one question at a time about the same person."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from tailorbird.core.context import SECOND, Clock
from tailorbird.core.event import Json

__all__ = ["CacheStats", "ClientCache", "Loaded", "context_cache", "context_fields"]

Value = TypeVar("Value")

_TTL: Final = 300 * SECOND
_NONE_TTL: Final = 30 * SECOND


class CacheStats(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache did: ``shared`` are reads that waited for a question under way; ``saved`` calls are hits and shared together."""

    hits: int
    misses: int
    shared: int
    saved: int
    failed: int
    dropped: int
    invalidated: int
    size: int
    most: int
    ttl: int

    @property
    def ratio(self) -> float:
        """How many of all reads made no call, from 0 to 1."""
        reads = self.hits + self.misses + self.shared
        return self.saved / reads if reads else 0.0


class Loaded(NamedTuple):
    """What was loaded, and by which tags it is forgotten: ``("hubspot", "12")`` for a record, ``7`` for a profile's key."""

    value: object
    tags: tuple[Hashable, ...] = ()


class _Entry:
    __slots__ = ("tags", "until", "value")

    def __init__(self, value: object, until: int, tags: tuple[Hashable, ...]) -> None:
        self.value = value
        self.until = until
        self.tags = tags


class _Flight:
    """A question under way, for those who ask the same meanwhile."""

    __slots__ = ("done", "error", "forgotten", "stale", "value")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.value: object = None
        self.error: BaseException | None = None
        self.forgotten: set[Hashable] = set()  # meanwhile: what it is about is known only once it is there
        self.stale = False


class ClientCache(Generic[Value]):
    """Keeps values for ``ttl`` ms (None, that nobody is known, for 30 s at most), the ``most`` latest used of them.

    ``read`` loads what is not there, once however many threads ask; an error goes to all who wait and is not kept. What is forgotten
    while it is being loaded is answered and not kept. Used from any thread; a kept value is shared, so it must not be changed.
    """

    def __init__(self, clock: Clock, *, ttl: int = _TTL, most: int = 10_000) -> None:
        self._clock = clock
        self._ttl = ttl
        self._most = most
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._tagged: dict[Hashable, set[Hashable]] = {}
        self._flights: dict[Hashable, _Flight] = {}
        self._lock = threading.Lock()
        self._hits = self._misses = self._shared = self._failed = self._dropped = self._invalidated = 0

    def read(self, key: Hashable, load: Callable[[], Loaded]) -> Value | None:
        """Return the value, loading it where it is not kept; raises what ``load`` raises."""
        while True:
            with self._lock:
                entry = self._entries.get(key)
                if entry is not None:
                    if self._clock.now() < entry.until:
                        self._entries.move_to_end(key)
                        self._hits += 1
                        return entry.value  # type: ignore[return-value]
                    self._remove(key)
                flight = self._flights.get(key)
                if flight is None:
                    flight = self._flights[key] = _Flight()
                    self._misses += 1
                    break
            flight.done.wait()
            if flight.stale:  # it was forgotten since: what was answered may be from before
                continue
            with self._lock:
                self._shared += 1
            if flight.error is not None:
                raise flight.error
            return flight.value  # type: ignore[return-value]
        return self._load(key, flight, load)

    def forget(self, *tags: Hashable) -> int:
        """Forget what has one of the tags; return how many values that were. What is being loaded now is not kept either."""
        with self._lock:
            for flight in self._flights.values():
                flight.forgotten.update(tags)
            keys = {key for tag in tags for key in self._tagged.get(tag, ())}
            for key in keys:
                self._remove(key)
            self._invalidated += len(keys)
            return len(keys)

    def clear(self) -> int:
        """Forget everything; return how many values that were."""
        with self._lock:
            for flight in self._flights.values():
                flight.stale = True
            size = len(self._entries)
            self._entries.clear()
            self._tagged.clear()
            self._invalidated += size
            return size

    def stats(self) -> CacheStats:
        """Return the counts since the cache was made."""
        with self._lock:
            return CacheStats(
                hits=self._hits, misses=self._misses, shared=self._shared, saved=self._hits + self._shared, failed=self._failed,
                dropped=self._dropped, invalidated=self._invalidated, size=len(self._entries), most=self._most, ttl=self._ttl,
            )  # fmt: skip

    # ---- inside

    def _load(self, key: Hashable, flight: _Flight, load: Callable[[], Loaded]) -> Value | None:
        try:
            loaded = load()
            flight.value = loaded.value
        except BaseException as error:
            flight.error = error
            raise
        else:
            return loaded.value  # type: ignore[return-value]
        finally:
            with self._lock:
                del self._flights[key]
                self._failed += flight.error is not None
                if flight.error is None:
                    flight.stale = flight.stale or not flight.forgotten.isdisjoint(loaded.tags)
                    if not flight.stale:
                        self._keep(key, loaded)
            flight.done.set()

    def _keep(self, key: Hashable, loaded: Loaded) -> None:
        ttl = self._ttl if loaded.value is not None else min(self._ttl, _NONE_TTL)
        if ttl <= 0 or self._most <= 0:
            return
        self._entries[key] = _Entry(loaded.value, self._clock.now() + ttl, loaded.tags)
        for tag in loaded.tags:
            self._tagged.setdefault(tag, set()).add(key)
        while len(self._entries) > self._most:
            self._remove(next(iter(self._entries)))
            self._dropped += 1

    def _remove(self, key: Hashable) -> None:
        entry = self._entries.pop(key)
        for tag in entry.tags:
            keys = self._tagged.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._tagged[tag]


_NOTHING: Final[Mapping[str, Json]] = MappingProxyType({})
_FIELDS: ContextVar[Mapping[str, Json]] = ContextVar("tailorbird_client_fields", default=_NOTHING)


@contextmanager
def context_cache(fields: Mapping[str, Json], *, prefix: str = "customer_") -> Iterator[Mapping[str, Json]]:
    """Hand the fields of one person to whatever runs inside: a task, and the tasks it starts, find them with ``context_fields``.

    Each task sees its own; outside they are gone.

    >>> with context_cache({"first_name": "Ann"}) as fields:
    ...     fields["customer_first_name"], context_fields()["customer_first_name"]
    ('Ann', 'Ann')
    >>> dict(context_fields())
    {}
    """
    named = MappingProxyType({f"{prefix}{name}": value for name, value in fields.items()})
    token = _FIELDS.set(MappingProxyType({**_FIELDS.get(), **named}))
    try:
        yield named
    finally:
        _FIELDS.reset(token)


def context_fields() -> Mapping[str, Json]:
    """Return the fields that were handed to the running task, by their prefixed names."""
    return _FIELDS.get()
