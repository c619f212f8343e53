"""``Customers``: the native CRM in the contract of customers, by which another Tailorbird (or anybody) reads and writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tailorbird.core.event import (
    CONSENT_GRANTED,
    CONSENT_WITHDRAWN,
    MERGED,
    PROFILE_UPDATED,
    STAGE_CHANGED,
    TAG_ADDED,
    TAG_REMOVED,
    UNMERGED,
    Json,
)
from tailorbird.core.profile import Profile
from tailorbird.engine.directory import read_clause
from tailorbird.engine.people import accepted
from tailorbird.engine.refs import find_profile, read_instant
from tailorbird.errors import Conflict, InvalidInput, NotFound
from tailorbird.ports import Clause, Criteria
from tailorbird.profiles.normalise import normalise
from tailorbird.runtime.ingest import Incoming
from tailorbird.segments.preview import name_of

if TYPE_CHECKING:
    from tailorbird.engine.facade import Engine

__all__ = ["Asked", "Customer", "CustomerExists", "CustomerPage", "Customers", "PageFacts"]

_TEXTS: Final = (
    "first_name", "last_name", "company", "title", "city", "state", "country", "postal_code", "status", "owner",
)  # fmt: skip
_CHANGES: Final = frozenset({
    PROFILE_UPDATED, TAG_ADDED, TAG_REMOVED, CONSENT_GRANTED, CONSENT_WITHDRAWN, STAGE_CHANGED, MERGED, UNMERGED,
})  # fmt: skip
_CHUNK: Final = 1_000


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """A customer: ``attributes`` holds everything else that is known, ``consents`` what was said of ``channel/purpose``."""

    id: str
    email: str | None = None
    phone: str | None = None
    name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    company: str | None = None
    title: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    postal_code: str | None = None
    status: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    consents: dict[str, bool] = {}
    attributes: dict[str, Json] = {}
    created_at: str = ""
    updated_at: str = ""


class PageFacts(msgspec.Struct, frozen=True):
    """Which page this is, how long pages are, and how many customers there are in all."""

    total: int
    page: int
    per_page: int


class CustomerPage(msgspec.Struct, frozen=True):
    """A page of customers."""

    customers: tuple[Customer, ...]
    meta: PageFacts


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which customers are asked for; everything given has to hold.

    ``services`` all have to be in the attribute of that name; ``not_signed_for_season`` is a season that ``signed_seasons`` does not
    hold, ``last_service_before`` an instant before which ``last_service`` was (or there was none). ``attributes`` are (name, value).
    """

    status: str | None = None
    city: str | None = None
    email: str | None = None
    phone: str | None = None
    services: tuple[str, ...] = ()
    not_signed_for_season: str | None = None
    last_service_before: int | None = None
    changed_since: int | None = None
    attributes: tuple[tuple[str, str], ...] = ()


class CustomerExists(Conflict):
    """Somebody has this address or number already; ``existing`` is their id."""

    def __init__(self, what: str, existing: str) -> None:
        super().__init__(f"There is a customer with this {what} already: {existing}.", hint="Change that one.")
        self.existing = existing


class Customers:
    """Finds, makes and changes customers; a customer's id is the profile's public id."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, id: str) -> Customer:
        """Return a customer; raise ``NotFound``."""
        return self._views([self._person(id).key])[0]

    def page(self, asked: Asked, *, page: int = 1, per_page: int = 50) -> CustomerPage:
        """Return a page of those whom everything asked holds for, in the order in which they came."""
        keys = self._keys(asked)
        return self._page(keys, page, per_page)

    def search(self, text: str, *, page: int = 1, per_page: int = 50) -> CustomerPage:
        """Return a page of those in whose texts all the words occur."""
        if not text.strip():
            raise InvalidInput("q is empty.", hint="Give words to search for.")
        directory = self._engine.directory
        return self._page(directory.people.keys(directory.criteria(text=text)), page, per_page)

    def create(self, values: Mapping[str, Any], *, source: str = "api") -> Customer:
        """Make a customer; raise ``CustomerExists`` where the address or number is somebody's."""
        names = {kind: str(values[kind]) for kind in ("email", "phone") if values.get(kind)}
        if not names:
            raise InvalidInput("neither email nor phone is given.", hint="A customer is known by one of them.")
        self._refuse_twin(names, None)
        receipts = self._take(values, None, names, source)
        return self.get(receipts)

    def update(self, id: str, values: Mapping[str, Any], *, source: str = "api") -> Customer:
        """Change what is given and nothing else: null removes, ``tags`` replaces, ``add_tags`` and ``remove_tags`` change some.

        Raises ``NotFound``, and ``CustomerExists`` where the address or number is somebody else's.
        """
        person = self._person(id)
        names = {kind: str(values[kind]) for kind in ("email", "phone") if values.get(kind)}
        self._refuse_twin(names, person.id)
        self._take(values, person, names, source)
        return self.get(person.id)

    # ---- inside

    def _person(self, id: str) -> Profile:
        found = find_profile(self._engine.store, id, region=self._engine.parts.region)
        if found.kind != "person":
            raise NotFound(f"{id!r:.80} is not a customer.", hint="Companies are no customers.")
        return found

    def _known(self, kind: str, value: str) -> Profile | None:
        try:
            name = normalise(kind, value, region=self._engine.parts.region)
            return find_profile(self._engine.store, f"{name.kind}:{name.value}", region=self._engine.parts.region)
        except NotFound:
            return None

    def _refuse_twin(self, names: Mapping[str, str], own: str | None) -> None:
        for kind, value in names.items():
            found = self._known(kind, value)
            if found is not None and found.id != own:
                raise CustomerExists(kind, found.id)

    def _take(self, values: Mapping[str, Any], person: Profile | None, names: Mapping[str, str], source: str) -> str:
        """Take the changes in as events, all or none; return the public id."""
        held = person.tags if person is not None else ()
        wanted = values["tags"] or () if "tags" in values else held
        removed = set(values.get("remove_tags") or ())
        tags = [tag for tag in dict.fromkeys([*wanted, *(values.get("add_tags") or ())]) if tag not in removed]
        said = dict(values.get("attributes") or {})
        said |= {name: values[name] for name in ("email", "phone", *_TEXTS) if name in values}
        identifiers = dict(names)
        if person is not None and names:
            known = self._engine.store.identifiers(person.key)
            if known and known[0].kind not in identifiers:
                identifiers[known[0].kind] = known[0].value
        first: dict[str, Any] = {"identifiers": identifiers} if names else {"profile": person.id if person else None}
        batch: list[Incoming] = []
        if said or person is None:
            batch.append(Incoming(type=PROFILE_UPDATED, data={"attributes": said}, source=source, **first))
        whose: dict[str, Any] = {"profile": person.id} if person is not None else {"identifiers": dict(names)}
        batch += [Incoming(type=TAG_ADDED, data={"tag": tag}, source=source, **whose) for tag in tags if tag not in held]
        batch += [Incoming(type=TAG_REMOVED, data={"tag": tag}, source=source, **whose) for tag in held if tag not in tags]
        for name, given in (values.get("consents") or {}).items():
            channel, slash, purpose = name.partition("/")
            if not (channel and slash and purpose):
                raise InvalidInput(f"consents: {name!r:.60} is no channel and purpose.", hint="Write email/marketing.")
            data: dict[str, Json] = {"channel": channel, "purpose": purpose, "explicit": False}
            batch.append(Incoming(type=CONSENT_GRANTED if given else CONSENT_WITHDRAWN, data=data, source=source, **whose))
        receipts = accepted(self._engine.take(batch)) if batch else []
        return str(receipts[0].profile) if receipts and receipts[0].profile else person.id if person is not None else ""

    def _keys(self, asked: Asked) -> list[int]:
        directory = self._engine.directory
        where = [Clause("city", "eq", asked.city)] if asked.city is not None else []
        where += [Clause("services", "contains", one) for one in asked.services]
        where += [_clause(name, value) for name, value in asked.attributes]
        refs: set[int] | None = None
        for kind, value in (("email", asked.email), ("phone", asked.phone)):
            if value is not None:
                found = self._known(kind, value)
                refs = {found.key} & (refs if refs is not None else {found.key}) if found is not None else set()
        if asked.changed_since is not None and asked.changed_since > 0:
            changed = self._changed(asked.changed_since)
            refs = changed if refs is None else refs & changed
        if refs is not None and not refs:
            return []
        criteria: Criteria = directory.criteria(status=asked.status, where=where)
        keys = directory.people.keys(criteria)
        if refs is not None:
            keys = [key for key in keys if key in refs]
        if not self._narrow(asked):
            return keys
        exact = self._exact(asked, keys)
        return [key for key in keys if key in exact]

    @staticmethod
    def _narrow(asked: Asked) -> bool:
        """Return whether something is asked that the read model cannot answer exactly."""
        season, service = asked.not_signed_for_season, asked.last_service_before
        return season is not None or service is not None or bool(asked.services or asked.attributes)

    def _exact(self, asked: Asked, keys: Sequence[int]) -> set[int]:
        found: set[int] = set()
        for start in range(0, len(keys), _CHUNK):
            for key, profile in self._engine.store.profiles(keys[start : start + _CHUNK]).items():
                if _holds(asked, profile.attributes):
                    found.add(key)
        return found

    def _changed(self, since: int) -> set[int]:
        """Return the keys of those of whom something was said since: read from where the log had come then."""
        store = self._engine.store
        low, high = 0, store.last_seq()
        while low < high:  # the log is in the order of arrival
            middle = (low + high) // 2
            found = store.events(after=middle, limit=1)
            if found and found[0].received_at < since:
                low = found[0].seq
            else:
                high = middle
        keys: set[int] = set()
        while batch := store.events(after=low, limit=_CHUNK):
            keys.update(event.profile for event in batch if event.type in _CHANGES)
            low = batch[-1].seq
        return keys

    def _page(self, keys: Sequence[int], page: int, per_page: int) -> CustomerPage:
        start = (page - 1) * per_page
        return CustomerPage(tuple(self._views(keys[start : start + per_page])), PageFacts(len(keys), page, per_page))

    def _views(self, keys: Sequence[int]) -> list[Customer]:
        store = self._engine.store
        profiles, histories = store.profiles(keys), store.history(keys, _CHANGES)
        views = []
        for key in keys:
            profile = profiles.get(key)
            if profile is None or profile.merged_into is not None:
                continue  # erased or merged this very moment
            names = {row.kind: row.value for row in reversed(store.identifiers(key)) if row.kind in ("email", "phone")}
            changed = max([profile.created_at, *(event.received_at for event in histories.get(key, ()))])
            views.append(_view(profile, names, changed))
        return views


def _view(profile: Profile, names: Mapping[str, str], changed: int) -> Customer:
    known = {name: value for name in ("email", "phone", *_TEXTS) if isinstance(value := profile.attributes.get(name), str)}
    name = name_of(profile)
    return Customer(
        id=profile.id, name=None if name == profile.id else name, tags=profile.tags, consents=profile.consents,
        attributes={key: value for key, value in profile.attributes.items() if key not in known},
        created_at=_iso(profile.created_at), updated_at=_iso(changed), **{**names, **known},
    )  # fmt: skip


def _clause(name: str, value: str) -> Clause:
    """Return what narrows to those who have this value, and perhaps more: as text, or in a list, or as the number that it reads as."""
    read = read_clause(f"{name}={value}") if name.strip() and " in " not in name and "~" not in name else None
    if read is None:
        raise InvalidInput(f"{name!r:.60} is no attribute.", hint="Write attribute.plan=pro.")
    if isinstance(read.value, str):
        return Clause(name, "contains", value)
    return Clause(name, "in", [read.value, value]) if read.value is not None else Clause(name, "eq", value)


def _same(held: Json, value: str) -> bool:
    shown = "true" if held is True else "false" if held is False else "" if held is None else str(held)
    return shown.casefold() == value.casefold()


def _among(held: Json, value: str) -> bool:
    return any(_same(one, value) for one in held) if isinstance(held, list) else _same(held, value)


def _holds(asked: Asked, attributes: Mapping[str, Json]) -> bool:
    if not all(_among(attributes.get("services"), one) for one in asked.services):
        return False
    if not all(_among(_at(attributes, name), value) for name, value in asked.attributes):
        return False
    season, before = asked.not_signed_for_season, asked.last_service_before
    if season is not None and _among(attributes.get("signed_seasons"), season):
        return False
    last = attributes.get("last_service")
    if before is None or last in (None, ""):
        return True
    try:
        return read_instant(last, "last_service", anywhere=True) < before
    except InvalidInput:
        return False  # what is no date says nothing of when it was


def _at(attributes: Mapping[str, Json], path: str) -> Json:
    if path in attributes:
        return attributes[path]
    value: Json = dict(attributes)
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
