"""Whose each row of a file is: identifiers found or made into profiles, thousands at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from tailorbird.core.ids import bucket_seed, profile_id
from tailorbird.core.profile import Identifier, Profile
from tailorbird.errors import InvalidEvent
from tailorbird.ports import IdentifierRow
from tailorbird.profiles.identity import Held, resolve
from tailorbird.profiles.normalise import is_placeholder, is_strong, normalise, normalise_all
from tailorbird.profiles.rules import DEFAULT_RULE, MergeRule

__all__ = ["JOINS", "Bulk", "Names", "Transaction", "find_or_create", "read_names"]

JOINS: Final = (
    "its identifiers belong to different profiles, which this row would merge: send it through the API, or merge them first"
)
"""What is said of a row that only the loop can take: joining replays both histories."""

Names = tuple[Identifier, ...]
"""The identifiers of one row, strongest first."""


class Transaction(Protocol):
    """One write transaction of the bulk loader: the write lock is held, and other writers' caches are made void."""

    def get_meta(self, key: str) -> str | None: ...
    def set_meta(self, key: str, value: str) -> None: ...
    def next_key(self) -> int: ...
    def resolve(self, identifiers: Sequence[Identifier]) -> dict[Identifier, IdentifierRow]: ...
    def held(self, profiles: Sequence[int]) -> dict[int, list[IdentifierRow]]: ...
    def profiles(self, keys: Sequence[int]) -> dict[int, Profile]: ...
    def owners(self, origins: Sequence[int]) -> dict[int, int | None]:
        """Return who holds what came to these profiles now, for those merged away (the holder) or erased (None) only."""
        ...

    def put_profiles(self, profiles: Iterable[Profile]) -> None: ...
    def put_people(self, profiles: Sequence[tuple[int, str, str, int, int]], identifiers: Sequence[IdentifierRow]) -> None:
        """Insert new profiles (key, id, kind, bucket, created_at) and identifiers that nobody has."""
        ...

    def add_events(self, rows: Sequence[tuple[Any, ...]], columns: Sequence[str], constants: Mapping[str, Any]) -> int:
        """Append events whose id is not stored; return how many were. ``columns`` names what each row holds (data as JSON
        text), ``constants`` what is the same for all; without ``origin`` it is the profile."""
        ...

    def facts(self, profiles: Sequence[int]) -> dict[int, list[Any]]:
        """Return the events of the fact types of each profile."""
        ...


class Bulk(Protocol):
    """Set-based writing into a store."""

    def transaction(self) -> AbstractContextManager[Transaction]: ...


def read_names(
    kinds: Sequence[str], values: Sequence[str | None], *, profile_kind: str = "person", region: str | None = None
) -> Names | str:
    """Return one row's identifiers in their one form, strongest first, or a sentence that says what is wrong with them."""
    try:
        if len(kinds) == 1 and profile_kind == "person":
            one = normalise(kinds[0], values[0] or "", region=region)
            return f"{one.kind} {one.value!r} names nobody" if is_placeholder(one.kind, one.value) else (one,)
        return normalise_all(dict(zip(kinds, values, strict=True)), profile_kind=profile_kind, region=region)
    except InvalidEvent as error:
        return " ".join(error.message.split())


def find_or_create(
    tx: Transaction, rows: Sequence[Names], *, now: int, kind: str = "person", rule: MergeRule = DEFAULT_RULE
) -> list[tuple[int, int] | str]:
    """Return (profile key, origin) of each row, creating who is not known; a sentence where the row would join two profiles.

    Joining replays both histories, which is the loop's work: for such a row ``JOINS`` is returned.
    """
    found = tx.resolve(list({identifier for names in rows for identifier in names}))
    held: dict[int, Held] = {}
    if any(len(names) > 1 for names in rows):
        theirs = tx.held(list({row.profile for row in found.values()}))
        held = {
            key: Held(tuple(Identifier(r.kind, r.value) for r in owned if is_strong(r.kind)), len(owned))
            for key, owned in theirs.items()
        }
    book = _Book(tx.next_key(), found, held, now, kind, rule)
    keys = [book.key(names) for names in rows]
    tx.put_people(book.profiles, book.identifiers)
    return keys


class _Book:
    """Who is known so far, and who was created, in one batch."""

    def __init__(
        self, next_key: int, found: dict[Identifier, IdentifierRow], held: dict[int, Held], now: int, kind: str, rule: MergeRule
    ) -> None:
        self.next_key = next_key
        self.found = found
        self.held = held
        self.now = now
        self.kind = kind
        self.rule = rule
        self.profiles: list[tuple[int, str, str, int, int]] = []
        self.identifiers: list[IdentifierRow] = []

    def key(self, names: Names) -> tuple[int, int] | str:
        row = self.found.get(names[0])
        if row is not None and len(names) == 1:
            return row.profile, row.origin
        if len(names) == 1 and not self.rule.ignore:
            return self._create(names[0])
        known = {name: self.found[name] for name in names if name in self.found}
        resolution = resolve(names, known, self.held, self.rule)
        if resolution.joins:
            return JOINS
        key = resolution.profile
        if key is None:
            key, self.next_key = self.next_key, self.next_key + 1
            self.profiles.append((key, resolution.public_id, self.kind, bucket_seed(resolution.public_id), self.now))
        origin = resolution.origin or key
        for identifier in resolution.attach:
            if identifier not in self.found:
                self.found[identifier] = row = IdentifierRow(identifier.kind, identifier.value, key, origin, self.now)
                self.identifiers.append(row)
        if len(names) > 1:
            self._hold(key, resolution.attach)
        return key, origin

    def _create(self, name: Identifier) -> tuple[int, int]:
        """The common case of one identifier that nobody has; what ``resolve`` would say."""
        key, self.next_key = self.next_key, self.next_key + 1
        public_id = profile_id(name.kind, name.value)
        self.profiles.append((key, public_id, self.kind, bucket_seed(public_id), self.now))
        self.found[name] = row = IdentifierRow(name.kind, name.value, key, key, self.now)
        self.identifiers.append(row)
        return key, key

    def _hold(self, key: int, attached: Mapping[Identifier, Any] | Sequence[Identifier]) -> None:
        before = self.held.get(key, Held())
        strong = tuple(dict.fromkeys((*before.strong, *(i for i in attached if is_strong(i.kind)))))
        self.held[key] = before._replace(strong=strong, identifiers=before.identifiers + len(attached))
