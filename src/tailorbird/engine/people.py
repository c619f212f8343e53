"""Changing people: events, tags, consent, lists kept by hand, merging, erasing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tailorbird.core.event import MEMBER_ADDED, MEMBER_REMOVED, TAG_ADDED, TAG_REMOVED, Json
from tailorbird.core.ids import digest
from tailorbird.engine.asking import condition_of
from tailorbird.engine.parts import Parts
from tailorbird.engine.refs import find_profile, is_public, read_instant, read_ref
from tailorbird.errors import InvalidEvent, InvalidInput, Mistake
from tailorbird.ports import Merge
from tailorbird.profiles.consent import consent_draft
from tailorbird.profiles.erase import Erasure, forget
from tailorbird.runtime.ingest import OWN_IDS, Incoming, Receipt

__all__ = ["consent", "erase", "incoming", "list_members", "merge", "tag", "take_one", "unmerge"]


def incoming(
    parts: Parts, type: str, data: Mapping[str, Json], *,
    profile: str | None, identifiers: Mapping[str, str] | None, at: Any, id: str | None, source: str,
) -> Incoming:  # fmt: skip
    """Return an event about the profile that a reference and identifiers name."""
    names = dict(identifiers or {})
    public: str | None = None
    if profile is not None and is_public(profile) and not names:
        public = profile
    elif profile is not None and is_public(profile):
        person = find_profile(parts.store, profile, region=parts.region)
        known = parts.store.identifiers(person.key)
        if not known:
            raise InvalidInput(f"{profile} has no identifier yet.", hint="Leave the public id out and give identifiers.")
        names.setdefault(known[0].kind, known[0].value)
    elif profile is not None:
        kind, value = read_ref(profile)
        names.setdefault(kind, value)
    company = any(name.startswith("company") for name in names)
    return Incoming(
        type=type, identifiers=names, data=dict(data), id=id, at=None if at is None else read_instant(at, anywhere=True), source=source,
        kind="company" if company else "person", profile=public,
    )  # fmt: skip


def take_one(parts: Parts, event: Incoming) -> Receipt:
    """Take one event in; raise ``InvalidEvent`` when it is rejected."""
    return accepted(parts.loop.take([event], parts.now()))[0]


def accepted(receipts: Sequence[Receipt]) -> Sequence[Receipt]:
    """Return the receipts, or raise ``InvalidEvent`` saying why one was rejected."""
    for receipt in receipts:
        if receipt.status == "rejected":
            told = tuple(Mistake("invalid_event", text) for text in receipt.mistakes)
            raise InvalidEvent("; ".join(receipt.mistakes), mistakes=told)
    return receipts


def tag(parts: Parts, ref: str, tags: Sequence[str], *, on: bool, source: str) -> None:
    """Give a profile tags, or take them away."""
    public = find_profile(parts.store, ref, region=parts.region).id
    type_ = TAG_ADDED if on else TAG_REMOVED
    batch = [Incoming(type=type_, data={"tag": name}, profile=public, source=source) for name in tags]
    accepted(parts.loop.take(batch, parts.now()))


def consent(
    parts: Parts, ref: str, channel: str, purpose: str, granted: bool, *, explicit: bool, proof: Json, source: str
) -> Receipt:
    """Note that a person consents, or withdraws a consent."""
    public = find_profile(parts.store, ref, region=parts.region).id
    draft = consent_draft(channel, purpose, granted, explicit=explicit, proof=proof, profile=public, source=source)
    event = Incoming(type=draft.type, data=draft.data, profile=public, source=source)
    return take_one(parts, event)


def list_members(parts: Parts, segment: str, refs: Iterable[str], *, on: bool, source: str) -> int:
    """Put people on a list kept by hand, or take them off; return for how many that changed something."""
    condition_of(parts, segment)
    if segment not in parts.catalog.manual:
        raise InvalidInput(f"{segment} is not kept by hand.", hint="Its members follow from its condition; change that instead.")
    type_ = MEMBER_ADDED if on else MEMBER_REMOVED
    batch = [
        Incoming(
            type=type_, data={"segment": segment}, profile=find_profile(parts.store, ref, region=parts.region).id, source=source
        )
        for ref in refs
    ]
    receipts = accepted(parts.loop.take(batch, parts.now()))
    return sum(segment in (receipt.entered if on else receipt.exited) for receipt in receipts)


def merge(parts: Parts, winner: str, loser: str, *, reason: str) -> Merge:
    """Make one profile part of another because a person said so."""
    one, other = (find_profile(parts.store, ref, region=parts.region) for ref in (winner, loser))
    now = parts.now()
    cause = OWN_IDS + digest("manual merge", one.id, other.id, str(now))
    merge_id = parts.loop.merge(one.key, other.key, now, cause=cause, reason=reason or "by_hand")
    return next(m for m in parts.store.merges(one.key) if m.id == merge_id)


def unmerge(parts: Parts, merge_id: str) -> Merge:
    """Take a merge back."""
    holder, _ = parts.loop.unmerge(merge_id, parts.now())
    found = [m for m in parts.store.merges() if m.id == merge_id]
    return found[0] if found else parts.store.merges(holder)[0]


def erase(parts: Parts, ref: str) -> Erasure:
    """Erase a person everywhere."""
    loop = parts.loop
    with loop.exclusive():
        profile = find_profile(parts.store, ref, region=parts.region)
        try:
            return forget(parts.store, profile.key)
        finally:
            loop.refresh()
