"""The adapter over our own store: a contact is a profile, its account a company, its interactions events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tailorbird.core.crm import Account, Contact, CrmContext, Interaction
from tailorbird.core.event import CONSENT_GRANTED, CONSENT_WITHDRAWN, PROFILE_UPDATED, TAG_ADDED, Event, Json
from tailorbird.core.profile import Identifier, Profile
from tailorbird.errors import InvalidEvent, NotFound
from tailorbird.ports import Store
from tailorbird.runtime.ingest import Incoming

__all__ = ["NativeAdapter"]

_FIELDS: Final = ("email", "phone", "first_name", "last_name", "name", "company", "title")


class NativeAdapter:
    """Contacts out of the store. ``contact_id`` is a public id, an external id, or ``kind:value``.

    ``find`` raises ``NotFound``; ``counts`` gives what says whether a type of event is an interaction; ``take`` takes events in, or
    raises; ``erase`` erases a person everywhere.
    """

    name = "native"

    def __init__(
        self, store: Store, *, find: Callable[[str], Profile], counts: Callable[[], Callable[[str], bool]],
        take: Callable[[Sequence[Incoming]], Any], erase: Callable[[str], Any],
    ) -> None:  # fmt: skip
        self._store = store
        self._find = find
        self._counts = counts
        self._take = take
        self._erase = erase

    def connect(self) -> None:
        """Ask the store something small; raises ``Unavailable`` when it does not answer."""
        self._store.last_seq()

    def fetch(self, contact_id: str, *, interaction_limit: int) -> CrmContext | None:
        """Return the profile as a contact, with its company, its history and the latest interactions."""
        try:
            profile = self._find(contact_id)
        except (NotFound, InvalidEvent):  # it may well be an id in another CRM
            return None
        history = tuple(self._store.history([profile.key]).get(profile.key, ()))
        counts = self._counts()
        latest: list[Interaction] = []
        total = 0
        for event in reversed(history):
            if counts(event.type):
                total += 1
                if len(latest) < interaction_limit:
                    latest.append(_interaction(event))
        return CrmContext(
            contact=self._contact(profile), account=self._account(profile), interactions=tuple(latest), total=total,
            history=history, seed=profile.bucket,
        )  # fmt: skip

    def upsert(self, contact: Contact) -> str:
        """Take in what is given as events; an empty id makes a new profile under the e-mail address or phone number."""
        attributes: dict[str, Json] = dict(contact.attributes)
        attributes |= {name: value for name in _FIELDS if (value := getattr(contact, name)) is not None}
        identifiers = {kind: value for kind in ("email", "phone") if (value := getattr(contact, kind)) is not None}
        public: str | None = None
        if contact.id:
            try:
                public = self._find(contact.id).id
            except NotFound:
                identifiers["external_id"] = contact.id
        whose: dict[str, Any] = {"profile": public} if public else {"identifiers": identifiers}
        batch = [Incoming(type=PROFILE_UPDATED, data={"attributes": attributes}, source=self.name, **whose)]
        batch += [Incoming(type=TAG_ADDED, data={"tag": tag}, source=self.name, **whose) for tag in contact.tags]
        for name, given in contact.consents.items():
            channel, _, purpose = name.partition("/")
            data = {"channel": channel, "purpose": purpose, "explicit": False}
            kind = CONSENT_GRANTED if given else CONSENT_WITHDRAWN
            batch.append(Incoming(type=kind, data=data, source=self.name, **whose))
        receipts = self._take(batch)
        found: str = receipts[0].profile
        return found

    def delete(self, contact_id: str) -> bool:
        """Erase the person everywhere."""
        try:
            self._erase(contact_id)
        except NotFound:
            return False
        return True

    def _contact(self, profile: Profile) -> Contact:
        told = {name: value for name in _FIELDS if isinstance(value := profile.attributes.get(name), str) and value}
        if "email" not in told or "phone" not in told:
            for row in self._store.identifiers(profile.key):
                if row.kind in ("email", "phone"):
                    told.setdefault(row.kind, row.value)
        if "name" not in told and (full := " ".join(told[n] for n in ("first_name", "last_name") if n in told)):
            told["name"] = full
        others = {name: value for name, value in profile.attributes.items() if name not in told}
        return Contact(id=profile.id, tags=profile.tags, consents=profile.consents, attributes=others, **told)

    def _account(self, profile: Profile) -> Account | None:
        """Return the company the profile is linked to, completed by what the profile itself says of it."""
        said = _said(profile.attributes)
        company = self._company(profile.attributes.get("company_id"))
        if company is None:
            return Account(**said) if said else None
        attributes = company.attributes
        of_company = {"name": attributes.get("name") or said.get("name"), "tier": attributes.get("tier") or said.get("tier")}
        texts = {name: str(value) for name, value in of_company.items() if value}
        rest = {name: value for name, value in attributes.items() if name not in ("name", "tier")}
        return Account(id=company.id, attributes={**said.get("attributes", {}), **rest}, **texts)

    def _company(self, id_: Json) -> Profile | None:
        if not isinstance(id_, str) or not id_:
            return None
        name = Identifier("company_id", id_)
        row = self._store.resolve([name]).get(name)
        found = None if row is None else self._store.profiles([row.profile]).get(row.profile)
        while found is not None and found.merged_into is not None:
            found = self._store.profiles([found.merged_into]).get(found.merged_into)
        return found


def _said(attributes: Mapping[str, Json]) -> dict[str, Any]:
    """Return what a person's attributes say of their account: ``account`` (an object), ``account.tier``, ``company``."""
    inner = attributes.get("account")
    rest = dict(inner) if isinstance(inner, dict) else {}
    rest |= {name.removeprefix("account."): value for name, value in attributes.items() if name.startswith("account.")}
    name, tier = rest.pop("name", None) or attributes.get("company"), rest.pop("tier", None)
    found: dict[str, Any] = {key: str(value) for key, value in (("name", name), ("tier", tier)) if value}
    return found | ({"attributes": rest} if rest else {})


def _interaction(event: Event) -> Interaction:
    return Interaction(id=event.id, type=event.type, at=event.at, data=event.data)
