"""What the simulated HubSpot holds: objects by id, seeded people made when they are looked at, and a search index that lags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tailorbird.simulators.hubspot_schema import LIFECYCLE
from tailorbird.simulators.people import NEWEST, Person, person

__all__ = ["FIRST", "Objects", "Thing", "holds", "iso", "ms_of"]

FIRST: Final = 101
"""The id of the first of the seeded people; the others follow."""

_STATUS: Final = {"new": "NEW", "open": "OPEN", "customer": "CONNECTED", "lost": "UNQUALIFIED"}
_STAGE: Final = {"new": "lead", "open": "opportunity", "customer": "customer", "lost": "other"}
_TIMES: Final = ("lastmodifieddate", "hs_lastmodifieddate", "createdate", "hs_createdate", "hs_timestamp")


def iso(ms: int) -> str:
    """Return an instant as HubSpot writes it.

    >>> iso(1_800_000_000_123)
    '2027-01-15T08:00:00.123Z'
    """
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def ms_of(text: str) -> float | None:
    """Return a number, or an instant in ms, from what a property or a filter holds; None where it is neither."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() * 1000


@dataclass(slots=True)
class Thing:
    """One object: what it holds, when it changed (ms), and what the index still has of it."""

    id: int
    properties: dict[str, str | None]
    created: int
    updated: int
    archived: bool = False
    indexed: dict[str, str | None] | None = None
    """What searches still see of it; None: nothing yet, or (where ``seen_from`` has passed) what it is."""
    seen_from: int = 0
    links: set[int] = field(default_factory=set)


class Objects:
    """The objects of one kind. Ids go up; the first ``people`` of them are people who do not exist.

    ``now`` gives ms; ``lag`` is for how many ms a search sees an object as it was before it changed.
    """

    def __init__(self, *, now: Callable[[], int], people: int = 0, seed: int = 0, first: int = FIRST, stamp: str = "") -> None:
        self.people = people
        self.lag = 0
        self._seed = seed
        self._now = now
        self._first = first
        self._next = first + people
        self._stamp = stamp or "hs_lastmodifieddate"
        self._held: dict[int, Thing] = {}
        self._by_email: dict[str, int] = {}
        self.index: dict[tuple[str, str], int] = {}

    def get(self, id: str | int) -> Thing | None:
        """Return an object that is not archived; None where there is none."""
        if isinstance(id, str) and not (id.isdecimal() and len(id) < 18):
            return None
        number = int(id)
        found = self._held.get(number)
        if found is None and self._first <= number < self._first + self.people:
            found = self._seeded(number)
        return None if found is None or found.archived else found

    def by(self, name: str, value: str) -> Thing | None:
        """Return the object with a value of a unique property."""
        if name == "hs_object_id":
            return self.get(value)
        known = self.index.get((name, value.lower() if name == "email" else value))
        if known is not None:
            return self.get(known)
        parts = value.partition("@")[0].split(".")
        if name == "email" and len(parts) == 4 and parts[3].isdecimal():  # one of the seeded: the number stands in the address
            found = self.get(self._first + int(parts[3]))
            if found is not None and (found.properties.get("email") or "").lower() == value.lower():
                return found
        return None

    def add(self, properties: Mapping[str, str], unique: tuple[str, ...] = ()) -> Thing:
        """Add an object."""
        now = self._now()
        thing = Thing(self._next, {}, now, now)
        self._next += 1
        self._held[thing.id] = thing
        self._put(thing, properties, unique, now)
        return thing

    def change(self, thing: Thing, properties: Mapping[str, str], unique: tuple[str, ...] = ()) -> None:
        """Change an object; nothing of it where no value differs."""
        if self.lag and self._now() >= thing.seen_from:
            thing.indexed = dict(thing.properties)
        self._held[thing.id] = thing
        self._put(thing, properties, unique, self._now())

    def archive(self, thing: Thing) -> None:
        """Archive an object."""
        self._held[thing.id] = thing
        thing.archived = True
        thing.updated = self._now()
        for key in [key for key, id in self.index.items() if id == thing.id]:
            del self.index[key]

    def _put(self, thing: Thing, properties: Mapping[str, str], unique: tuple[str, ...], now: int) -> None:
        for name, given in properties.items():
            value, old = given, thing.properties.get(name)
            if name in unique and old:
                self.index.pop((name, old.lower() if name == "email" else old), None)
            if value.startswith(";") and old:  # a leading semicolon adds to what a checkbox property holds
                value = ";".join(dict.fromkeys([*old.split(";"), *value.strip(";").split(";")]))
            if name == "lifecyclestage" and old in LIFECYCLE and value and LIFECYCLE.index(value) < LIFECYCLE.index(old):
                continue  # it only ever goes forward, without a word
            thing.properties[name] = value.strip(";") or None
            if name in unique and value:
                self.index[(name, value.lower() if name == "email" else value)] = thing.id
        thing.updated = max(now, thing.updated)
        thing.seen_from = now + self.lag
        thing.properties |= {"hs_object_id": str(thing.id), self._stamp: iso(thing.updated), "createdate": iso(thing.created)}

    def _seeded(self, number: int) -> Thing:
        one: Person = person(number - self._first, seed=self._seed, people=self.people)
        properties: dict[str, str | None] = {
            "email": one.email, "firstname": one.first_name, "lastname": one.last_name, "phone": one.phone, "company": one.company,
            "jobtitle": one.title, "city": one.city, "state": one.state, "country": one.country, "zip": one.postal_code,
            "hs_lead_status": _STATUS[one.status], "lifecyclestage": _STAGE[one.status],
            "hs_email_optout": "true" if one.opted_out else None, "tailorbird_tags": ";".join(one.tags) or None,
            "hs_object_id": str(number), "createdate": iso(one.created_at), "lastmodifieddate": iso(one.updated_at),
        }  # fmt: skip
        return Thing(number, properties, one.created_at, one.updated_at)

    def after(self, id: int) -> Iterator[Thing]:
        """Yield the objects with a greater id, in order."""
        for number in range(max(id + 1, self._first), self._next):
            found = self.get(number)
            if found is not None:
                yield found

    def search(
        self, fits: Callable[[Mapping[str, str | None]], bool] | None, *, sort: str, down: bool, floor: Mapping[str, float]
    ) -> tuple[int, Callable[[int, int], list[Thing]]]:
        """Return how many objects a search finds, and a function that gives those from one place to another.

        ``floor`` holds the least id and time that can fit, so that of many people only those are looked at; where ``fits`` is None
        the floor says all.
        """
        now = self._now()
        low = max(self._first, int(floor.get("hs_object_id", 0)))
        since = floor.get("time", 0)
        if self.people and since > NEWEST - self.people * 1_000:
            low = max(low, self._first + self.people + -int((NEWEST - since) // 1_000))
        seeded: list[int] = [n for n in range(low, self._first + self.people) if n not in self._held]
        touched = [thing for thing in self._held.values() if self._seen(thing, now) is not None]
        if fits is not None:
            seeded = [n for n in seeded if fits(self._seeded(n).properties)]
            touched = [thing for thing in touched if fits(self._seen(thing, now) or {})]
        else:
            touched = [t for t in touched if t.id >= floor.get("hs_object_id", 0) and t.updated >= since]
        keys: dict[int, Any] = {n: self._key(sort, None, n) for n in seeded} if sort in _TIMES and touched else {}
        if not touched:
            order = seeded[::-1] if down else seeded
        else:
            keys |= {thing.id: self._key(sort, self._seen(thing, now), thing.id) for thing in touched}
            order = sorted([*seeded, *(t.id for t in touched)], key=lambda n: (keys.get(n, 0), n), reverse=down)

        def page(start: int, end: int) -> list[Thing]:
            found = []
            for number in order[start:end]:
                thing = self.get(number)
                if thing is not None:
                    seen = self._seen(thing, now) or {}
                    told = ms_of(str(seen.get(self._stamp) or thing.updated))
                    found.append(Thing(thing.id, dict(seen), thing.created, int(told or 0)))
            return found

        return len(order), page

    def _seen(self, thing: Thing, now: int) -> dict[str, str | None] | None:
        if thing.archived:
            return None
        return thing.properties if now >= thing.seen_from else thing.indexed

    def _key(self, sort: str, seen: Mapping[str, str | None] | None, number: int) -> float:
        if sort not in _TIMES:
            return 0
        if seen is None:
            return NEWEST - (self.people - (number - self._first)) * 1_000
        return ms_of(str(seen.get(sort) or seen.get(self._stamp) or "")) or 0


def holds(said: Mapping[str, Any], properties: Mapping[str, str | None]) -> bool:
    """Return whether a filter of a search holds for what an object has."""
    value = properties.get(str(said.get("propertyName")))
    operator, wanted = str(said.get("operator")), str(said.get("value", ""))
    if operator in ("HAS_PROPERTY", "NOT_HAS_PROPERTY"):
        return bool(value) == (operator == "HAS_PROPERTY")
    if operator in ("IN", "NOT_IN"):
        return (str(value or "").lower() in [str(one) for one in said.get("values") or []]) == (operator == "IN")
    if operator in ("CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"):
        tokens = str(value or "").lower().replace(";", " ").split()
        plain = wanted.lower().strip("*")
        found = any(token == plain or ("*" in wanted and plain in token) for token in tokens)
        return found == (operator == "CONTAINS_TOKEN")
    if value is None:
        return operator == "NEQ"
    one, other = ms_of(value), ms_of(wanted)
    if one is None or other is None or operator in ("EQ", "NEQ"):
        same = (one == other) if one is not None and other is not None else value.lower() == wanted.lower()
        return operator in ("EQ", "LTE", "GTE") if same else operator == "NEQ"
    if operator == "BETWEEN":
        return other <= one <= (ms_of(str(said.get("highValue"))) or 0)
    return {"LT": one < other, "LTE": one <= other, "GT": one > other, "GTE": one >= other}.get(str(operator), False)
