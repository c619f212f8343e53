"""What a condition would do as a segment: how large it is, who is in it, who would come and who would go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tailorbird.core.profile import Profile
from tailorbird.expr.nodes import Literal
from tailorbird.expr.types import Type
from tailorbird.ports import Batch, Store
from tailorbird.profiles.normalise import rank

__all__ = ["Person", "Preview", "current_members", "name_of", "people", "population", "preview"]

_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Person:
    """A profile to be shown: its public id, and what people call it."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What activating would do, as of an instant. ``percent`` is of all persons, 0 to 100; samples are spread over all keys.

    ``explanation`` says the condition in words, ``needs`` names the segments and features it refers to.
    """

    segment: str
    instant: int
    size: int
    total: int
    percent: float
    sample: tuple[Person, ...]
    entering: int
    entering_sample: tuple[Person, ...]
    leaving: int
    leaving_sample: tuple[Person, ...]
    explanation: str = ""
    needs: tuple[str, ...] = ()


def population(batch: Batch, instant: int) -> int:
    """Return how many persons there are."""
    return batch.count(Literal(True, Type.BOOL), instant)


def preview(
    store: Store, segment: str, members: Sequence[int], *,
    instant: int, total: int, sample: int = 10, explanation: str = "", needs: Iterable[str] = (),
) -> Preview:  # fmt: skip
    """Compare what would be the members (keys, ascending) with those stored now, and name a few of each."""
    present = set(current_members(store, segment))
    wanted = set(members)
    entering = [key for key in members if key not in present]
    leaving = sorted(present - wanted)
    return Preview(
        segment=segment, instant=instant, size=len(members), total=total,
        percent=round(100 * len(members) / total, 2) if total else 0.0,
        sample=people(store, _spread(members, sample)),
        entering=len(entering), entering_sample=people(store, _spread(entering, sample)),
        leaving=len(leaving), leaving_sample=people(store, _spread(leaving, sample)),
        explanation=explanation, needs=tuple(needs),
    )  # fmt: skip


def current_members(store: Store, segment: str) -> Iterator[int]:
    """Yield the keys of all stored members, ascending."""
    after = 0
    while page := store.members(segment, after=after, limit=_PAGE):
        yield from (row.profile for row in page)
        after = page[-1].profile


def people(store: Store, keys: Sequence[int]) -> tuple[Person, ...]:
    """Return the profiles of these keys with their names, in the order of the keys; the nameless go by an identifier."""
    found = store.profiles(keys) if keys else {}
    return tuple(Person(found[key].id, _called(store, found[key])) for key in keys if key in found)


def _called(store: Store, profile: Profile) -> str:
    name = name_of(profile)
    if name != profile.id:
        return name
    rows = sorted(store.identifiers(profile.key), key=lambda row: (rank(row.kind), row.at))
    return rows[0].value if rows else name


def name_of(profile: Profile) -> str:
    """Return what people would call a profile: its name, else its mail address, else its id."""
    attributes = profile.attributes
    full = " ".join(str(attributes[key]) for key in ("first_name", "last_name") if attributes.get(key))
    return full or str(attributes.get("name") or attributes.get("email") or profile.id)


def _spread(keys: Sequence[int], count: int) -> list[int]:
    if len(keys) <= count:
        return list(keys)
    return [keys[index * len(keys) // count] for index in range(count)]
