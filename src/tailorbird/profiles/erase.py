"""One person's data as a whole: all of it in one document, and all of it gone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from tailorbird.core.action import Action
from tailorbird.core.event import Event, Json
from tailorbird.core.profile import Profile
from tailorbird.errors import NotFound
from tailorbird.ports import Merge, Store
from tailorbird.profiles.consent import consents
from tailorbird.profiles.fold import FACTS

__all__ = ["Erasure", "export", "forget"]

_PAGE: Final = 500


class Erasure(NamedTuple):
    """What was erased: the public ids of the profile and of those merged into it, and how many rows."""

    ids: tuple[str, ...]
    rows: int


def forget(store: Store, profile: int) -> Erasure:
    """Erase a profile and everything known of it, also what it was merged from; return what went.

    A profile that was merged away is erased with the one it is part of: they are one person. Raises ``NotFound`` when
    there is no such profile. Who keeps caches must drop theirs.
    """
    person = _whole(store, profile)
    parts = _parts(store, person.key)
    ids = (person.id, *(part.id for part in parts))
    for one in (person, *parts):
        store.crm.drop_links(one.key)
    return Erasure(ids, store.forget(person.key))


def export(store: Store, profile: int, *, at: int) -> dict[str, Json]:
    """Return everything known of a person as one JSON document; instants are ISO 8601 text. Raises ``NotFound``."""
    person = _whole(store, profile)
    events = store.history([person.key]).get(person.key, [])
    segments = store.memberships([person.key]).get(person.key, [])
    parts = _parts(store, person.key)
    names = {p.key: p.id for p in (person, *parts)}
    return {
        "format": "tailorbird.profile/1",
        "exported_at": _iso(at),
        "profile": _profile(person),
        "merged_from": [_profile(part) for part in parts],
        "identifiers": [
            {"kind": row.kind, "value": row.value, "first_seen_on": names.get(row.origin), "at": _iso(row.at)}
            for row in store.identifiers(person.key)
        ],
        "segments": [{"segment": m.segment, "entered_at": _iso(m.entered_at), "version": m.version} for m in segments],
        "consents": [
            {
                "channel": c.channel, "purpose": c.purpose, "given": c.given, "since": _iso(c.since),
                "history": [msgspec.to_builtins(proof) | {"at": _iso(proof.at)} for proof in c.history],
            }
            for c in consents(events)
        ],
        "merges": [_merge(merge, names) for merge in store.merges(person.key)],
        "events": [_event(event, names) for event in events],
        "actions": [_action(action) for part in (person, *parts) for action in _actions(store, part.key)],
    }  # fmt: skip


def _whole(store: Store, profile: int) -> Profile:
    """Return the profile, or the one it was merged into."""
    seen: set[int] = set()
    while profile not in seen:
        seen.add(profile)
        person = store.profiles([profile]).get(profile)
        if person is None:
            raise NotFound(f"no profile has the key {profile}.", hint="It may have been erased.")
        if person.merged_into is None:
            return person
        profile = person.merged_into
    raise NotFound("the profile was merged in a circle.")


def _parts(store: Store, key: int) -> list[Profile]:
    """Return the profiles that are merged into one, directly or not, in the order in which they were."""
    found: list[int] = []
    waiting = [key]
    while waiting:
        last = waiting.pop(0)
        more = [m.loser for m in store.merges(last) if m.winner == last and m.undone_at is None and m.loser not in found]
        found += more
        waiting += more
    profiles = store.profiles(found) if found else {}
    return [profiles[part] for part in found if part in profiles]


def _actions(store: Store, key: int) -> list[Action]:
    found: list[Action] = []
    while page := store.actions(profile=key, after=found[-1].seq if found else 0, limit=_PAGE):
        found += page
    return found


def _profile(profile: Profile) -> dict[str, Json]:
    return {
        "id": profile.id,
        "kind": profile.kind,
        "created_at": _iso(profile.created_at),
        "attributes": profile.attributes,
        "provenance": {
            name: {"type": p.type, "source": p.source, "at": _iso(p.at)}
            for name, p in profile.provenance.items()
            if name != FACTS
        },
        "tags": list(profile.tags),
        "consents": profile.consents,
    }


def _event(event: Event, names: dict[int, str]) -> dict[str, Json]:
    found = {
        "id": event.id, "type": event.type, "at": _iso(event.at), "received_at": _iso(event.received_at), "source": event.source,
        "data": event.data, "cause": event.cause,
    }  # fmt: skip
    return found | ({"first_seen_on": names[event.origin]} if event.origin in names else {})


def _merge(merge: Merge, names: dict[int, str]) -> dict[str, Json]:
    return {
        "id": merge.id, "winner": names.get(merge.winner), "loser": names.get(merge.loser), "at": _iso(merge.at),
        "rule": merge.rule, "reason": merge.reason, "undone_at": None if merge.undone_at is None else _iso(merge.undone_at),
    }  # fmt: skip


def _action(action: Action) -> dict[str, Json]:
    kept = ("key", "kind", "connector", "channel", "purpose", "payload", "status", "attempts", "error")
    return {name: getattr(action, name) for name in kept} | {"created_at": _iso(action.created_at), "due": _iso(action.due)}


def _iso(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
