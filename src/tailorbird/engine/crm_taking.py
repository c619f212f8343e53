"""Records of a CRM become events of people: what changed there since both sides last agreed, and who won where both did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tailorbird.core.connection import Link
from tailorbird.core.definition import Kind
from tailorbird.core.event import PROFILE_UPDATED, TAG_ADDED, TAG_REMOVED, Json
from tailorbird.core.ids import digest
from tailorbird.core.profile import Identifier, Profile
from tailorbird.crm.conflicts import CONSENT, Act, Ours, consent_pulled, decide, note, tag_changes
from tailorbird.crm.mapping import DEFAULT, CrmMapping, MappedField, mapping_from, read_record
from tailorbird.crm.model import Record
from tailorbird.engine.parts import Parts
from tailorbird.errors import InvalidEvent
from tailorbird.ports import Store
from tailorbird.profiles.consent import consent_draft
from tailorbird.profiles.drafts import Draft
from tailorbird.profiles.normalise import is_placeholder, normalise
from tailorbird.runtime.ingest import OWN_IDS, Incoming, check

__all__ = ["CONFLICT_RESOLVED", "RECORD_DELETED", "TAGS", "Taken", "mapping_of", "ours_of", "roots", "take_gone", "take_records"]

CONFLICT_RESOLVED: Final = "crm.conflict_resolved"
RECORD_DELETED: Final = "crm.record_deleted"
TAGS: Final = "tags"


@dataclass(slots=True)
class Taken:
    """What became of some records: how many were read, how many changed something, and what could not be taken."""

    read: int = 0
    changed: int = 0
    created: int = 0
    deleted: int = 0
    conflicts: int = 0
    rejected: dict[str, str] = field(default_factory=dict)

    def add(self, other: Taken) -> None:
        """Count another's in."""
        for name in ("read", "changed", "created", "deleted", "conflicts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.rejected.update(other.rejected)


@dataclass(slots=True)
class _Case:
    """One record on its way: what it says, whose it is, and what is to be told of it."""

    record: Record
    link: Link
    owner: Profile | None
    drafts: list[Draft] = field(default_factory=list)
    named: bool = False  # the owner goes by the record's id already
    conflicts: int = 0
    seen: dict[str, Json] = field(default_factory=dict)
    pushed: dict[str, Json] = field(default_factory=dict)


def mapping_of(parts: Parts, connection: str) -> CrmMapping:
    """Return the mapping of a connection: its own, else one for all, else the default."""
    specs = [item.spec for item in parts.catalog.mappings]
    own = [spec for spec in specs if spec.get("connection") == connection]
    common = [spec for spec in specs if not spec.get("connection")]
    named = [item.spec for item in parts.catalog.mappings if (item.kind, item.name) == (Kind.MAPPING, connection)]
    for spec in (*own, *(s for s in named if not s.get("connection")), *common):
        return mapping_from(spec)
    return DEFAULT


def roots(store: Store, keys: Iterable[int]) -> dict[int, Profile]:
    """Return the profiles of these keys, each through its merges; who is gone is left out."""
    found: dict[int, Profile] = {}
    wanted = {key: key for key in keys}
    while wanted:
        profiles = store.profiles(sorted(set(wanted.values())))
        further: dict[int, int] = {}
        for key, at in wanted.items():
            profile = profiles.get(at)
            if profile is not None and profile.merged_into is not None:
                further[key] = profile.merged_into
            elif profile is not None:
                found[key] = profile
        wanted = further
    return found


def ours_of(field_: MappedField, profile: Profile | None, names: Mapping[str, str] | None = None) -> Ours:
    """Return what we have of a field; ``names`` are identifiers that stand in for attributes that are not there."""
    if profile is None:
        return Ours()
    value = profile.attributes.get(field_.attribute)
    known = profile.provenance.get(field_.attribute)
    if value is None and known is None and names and field_.attribute in names:
        return Ours(value=names[field_.attribute])
    return Ours(value=value, at=known.at if known else None, source=known.source if known else "")


def take_records(parts: Parts, connection: str, records: Sequence[Record], *, mapping: CrmMapping, now: int) -> Taken:
    """Take records in: events first, then the links. Doing it twice, or after half of it, changes nothing more."""
    taken = Taken(read=len(records))
    latest = {record.id: record for record in records}
    store = parts.store
    gone = [record.id for record in latest.values() if record.deleted]
    alive = [record for record in latest.values() if not record.deleted]
    taken.add(take_gone(parts, connection, gone, now=now))
    links = store.crm.links(connection, [record.id for record in alive])
    cases = [
        _Case(record, links.get(record.id) or Link(connection=connection, record=record.id, profile=0), None) for record in alive
    ]
    _find_owners(parts, connection, cases)
    kept: list[_Case] = []
    for case in cases:
        at = case.record.updated_at
        if at is not None and at < case.link.seen_at and case.link.gone_at is None:
            continue  # an older copy than the one that was seen
        _judge(parts, connection, mapping, case, now)
        wrong = next((m for draft in case.drafts for m in check(_as_incoming(draft), now)), None)
        if wrong is not None:
            taken.rejected[case.record.id] = f"{wrong.where or 'event'}: {wrong.code}"
            continue
        kept.append(case)
    _tell(parts, kept, taken, now)
    return taken


def take_gone(parts: Parts, connection: str, records: Sequence[str], *, now: int) -> Taken:
    """Note that records were deleted at the CRM; those that nobody stands behind are passed over."""
    taken = Taken()
    links = [link for link in parts.store.crm.links(connection, records).values() if link.gone_at is None]
    owners = roots(parts.store, {link.profile for link in links})
    drafts: list[Draft] = []
    changed: list[Link] = []
    for link in links:
        owner = owners.get(link.profile)
        changed.append(msgspec.structs.replace(link, gone_at=now))
        if owner is not None:
            drafts.append(
                Draft(
                    type=RECORD_DELETED, profile=owner.id, kind=owner.kind, source=f"crm:{connection}",
                    id=OWN_IDS + digest("crm deleted", connection, link.record, str(link.seen_at)),
                    data={"connection": connection, "record": link.record, "object": link.object},
                )
            )  # fmt: skip
    if drafts:
        parts.loop.take(drafts, now)
    if changed:
        parts.store.crm.put_links(changed)
    taken.deleted = len(changed)
    return taken


def _as_incoming(draft: Draft) -> Incoming:
    """Return the draft as if it came from outside, so that what a CRM says is checked as everything else is."""
    type_ = draft.type if not draft.type.startswith("crm.") else "crm_event"
    return Incoming(
        type=type_, data=draft.data, identifiers=draft.identifiers, profile=draft.profile, at=draft.at, source=draft.source
    )


def _identifiers(parts: Parts, connection: str, record: Record) -> dict[str, str]:
    """Return what the record's person goes by; what cannot be read names nobody."""
    found = {f"crm:{connection}": record.id}
    for kind, value in (("email", record.email), ("phone", record.phone)):
        try:
            one = normalise(kind, value, region=parts.region) if value else None
        except InvalidEvent:
            continue
        if one is not None and not is_placeholder(one.kind, one.value):
            found[kind] = one.value
    return found


def _find_owners(parts: Parts, connection: str, cases: Sequence[_Case]) -> None:
    """Find whose the records are: by their links, else by what their person goes by."""
    store = parts.store
    unknown = [case for case in cases if case.link.profile == 0]
    names = {case.record.id: _identifiers(parts, connection, case.record) for case in unknown}
    wanted = {Identifier(kind, value) for one in names.values() for kind, value in one.items()}
    rows = store.resolve(list(wanted)) if wanted else {}
    keys: dict[str, int] = {}
    for case in unknown:
        for kind, value in names[case.record.id].items():  # the strongest stands first
            row = rows.get(Identifier(kind, value))
            if row is not None:
                keys[case.record.id] = row.profile
                break
    taken_by = store.crm.links_of(sorted(set(keys.values())), connection=connection) if keys else []
    others = {link.profile: link.record for link in taken_by if link.gone_at is None}
    found = roots(store, {*keys.values(), *(case.link.profile for case in cases if case.link.profile)})
    for case in cases:
        key = case.link.profile or keys.get(case.record.id, 0)
        # who has another record of the same CRM already is another person, until the merge rule says otherwise
        if case.link.profile or others.get(key, case.record.id) == case.record.id:
            case.owner = found.get(key)
            row = rows.get(Identifier(f"crm:{connection}", case.record.id))
            case.named = case.link.profile != 0 or (row is not None and row.profile == key)


def _judge(parts: Parts, connection: str, mapping: CrmMapping, case: _Case, now: int) -> None:
    """Decide about everything that the record says, and note what is to be told."""
    record, link, owner = case.record, case.link, case.owner
    said = read_record(mapping, record, region=parts.region)
    case.seen, case.pushed = dict(link.seen), dict(link.pushed)
    attributes: dict[str, Json] = {}
    at = record.updated_at
    for item in mapping.fields:
        if item.field not in said:
            continue
        theirs, ours = said[item.field], ours_of(item, owner)
        decision = decide(item, link, theirs, ours, at=at)
        if decision.act == Act.PULL:
            attributes[item.attribute] = theirs
        note(item, case.seen, case.pushed, theirs=theirs, ours=ours.value, decision=decision)
        if decision.conflict:
            case.conflicts += 1
            case.drafts.append(_conflict(connection, case, item, theirs, ours, decision.act))
    newest = max((p.at for name in attributes if owner and (p := owner.provenance.get(name))), default=0)
    when = at if at is not None and newest <= at <= now else None
    _tell_facts(parts, connection, case, mapping, attributes, when)


def _tell_facts(
    parts: Parts, connection: str, case: _Case, mapping: CrmMapping, attributes: dict[str, Json], when: int | None
) -> None:
    record, link, owner = case.record, case.link, case.owner
    source = f"crm:{connection}"
    names = _identifiers(parts, connection, record)
    own = {source: record.id}
    facts: list[Draft] = []

    def fact(type_: str, data: dict[str, Json], identifiers: dict[str, str]) -> None:
        facts.append(Draft(type=type_, data=data, identifiers=identifiers, source=source, at=when, id=_id(case, type_, data)))

    addressed = any(name in attributes for name in ("email", "phone"))
    if attributes or not case.named:
        fact(PROFILE_UPDATED, {"attributes": attributes}, names if not case.named or addressed else own)
    if mapping.tags != "none":
        tags = tag_changes(mapping.tags, link.seen.get(TAGS), record.tags, owner.tags if owner else ())
        for tag in tags.added:
            fact(TAG_ADDED, {"tag": tag}, own)
        for tag in tags.removed:
            fact(TAG_REMOVED, {"tag": tag}, own)
        case.seen[TAGS] = sorted(set(record.tags))
        if link.seen.get(TAGS) != case.seen[TAGS]:
            case.pushed.pop(TAGS, None)
    if mapping.consent != "none":
        for name, given in consent_pulled(link, record.consents, owner.consents if owner else {}).items():
            channel, _, purpose = name.partition("/")
            draft = consent_draft(channel, purpose or "marketing", given, identifiers=own, source=source)
            fact(draft.type, draft.data, own)
        case.seen |= {CONSENT + name: given for name, given in record.consents.items()}
        for name, given in record.consents.items():
            if link.seen.get(CONSENT + name) is not given:
                case.pushed.pop(CONSENT + name, None)
    case.drafts[:0] = facts


def _id(case: _Case, type_: str, data: Mapping[str, Json]) -> str:
    """Return the id of an event that this state of the record brings about, the same whenever it is read."""
    link, record = case.link, case.record
    state = str(link.seen_at) if record.updated_at is None else f"{record.updated_at} {link.seen_at}"
    told = msgspec.json.encode(data, order="deterministic").decode()
    return OWN_IDS + digest("crm", link.connection, record.id, state, type_, told)


def _conflict(connection: str, case: _Case, item: MappedField, theirs: Json, ours: Ours, act: Act) -> Draft:
    winner = {Act.PULL: "crm", Act.PUSH: "us"}.get(act, "us" if item.wins != "never" else "nobody")
    data: dict[str, Json] = {
        "connection": connection, "record": case.record.id, "field": item.field, "attribute": item.attribute, "crm": theirs,
        "crm_at": case.record.updated_at, "ours": ours.value, "ours_at": ours.at, "ours_source": ours.source,
        "rule": item.wins, "winner": winner,
    }  # fmt: skip
    told = msgspec.json.encode([theirs, ours.value, ours.at, winner], order="deterministic").decode()
    id_ = OWN_IDS + digest("crm conflict", connection, case.record.id, item.field, told)
    return Draft(
        type=CONFLICT_RESOLVED, data=data, id=id_, source=f"crm:{connection}", identifiers={f"crm:{connection}": case.record.id}
    )


def _tell(parts: Parts, cases: Sequence[_Case], taken: Taken, now: int) -> None:
    """Take the events in, then note in the links what was seen and whose the records are."""
    drafts = [draft for case in cases for draft in case.drafts]
    receipts = iter(parts.loop.take(drafts, now) if drafts else ())
    owned: list[tuple[_Case, str]] = []
    for case in cases:
        told = [next(receipts) for _ in case.drafts]
        refused = next((receipt for receipt in told if receipt.status == "rejected"), None)
        if refused is not None:
            taken.rejected[case.record.id] = "an event of it was rejected"
            continue
        fresh = any(receipt.status == "accepted" for receipt in told)
        taken.changed += fresh and case.link.profile != 0
        taken.created += fresh and case.link.profile == 0
        taken.conflicts += case.conflicts
        public = next((receipt.profile for receipt in told if receipt.profile), None)
        owned.append((case, public or (case.owner.id if case.owner else "")))
    keys = {id_: profile.key for id_, profile in parts.store.profiles_by_id(sorted({public for _, public in owned})).items()}
    links = list(_links(owned, keys, now))
    if links:
        parts.store.crm.put_links(links)


def _links(owned: Sequence[tuple[_Case, str]], keys: Mapping[str, int], now: int) -> Iterator[Link]:
    for case, public in owned:
        link, record = case.link, case.record
        changed = msgspec.structs.replace(
            link, profile=keys.get(public, link.profile), object=record.object, seen=case.seen, pushed=case.pushed, gone_at=None,
            seen_at=link.seen_at if record.updated_at is not None and record.updated_at <= link.seen_at else record.updated_at or now,
        )  # fmt: skip
        if changed != link and changed.profile:
            yield changed
