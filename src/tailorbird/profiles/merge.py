"""Joining two profiles that are one person, and taking that back: recorded, lossless, in any order.

A merge gives the loser's events and identifiers to the winner; each keeps its *origin*, so that undoing can give exactly
them back. What was merged into the loser goes along and stays with it when the merge is undone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from tailorbird.core.event import MERGED, PROFILE_UPDATED, UNMERGED, Event, Json
from tailorbird.core.ids import digest
from tailorbird.core.profile import Profile
from tailorbird.errors import Conflict, NotFound
from tailorbird.ports import Merge, Store, Unit
from tailorbird.profiles.fold import FACT_TYPES, refold
from tailorbird.profiles.lifecycle import STATUS
from tailorbird.profiles.records import RECORD_TYPES, records_of
from tailorbird.profiles.rules import DEFAULT_RULE, MergeRule

__all__ = ["Undo", "apart", "build_unmerge", "check_merge", "join", "plan_undo", "root"]

SEGMENTS: Final = "segments"
"""The key of the core's timer; arming it makes the loop look at a profile again."""


_OWN: Final = "tb:"  # the beginning of event ids that nobody outside can take ahead


class Undo(NamedTuple):
    """How to take a merge back: what ``holder`` has of these ``origins`` returns to ``loser``; ``merge`` is as recorded."""

    merge: Merge
    holder: int
    loser: int
    origins: tuple[int, ...]


def root(key: int, merges: Iterable[Merge]) -> int:
    """Return the profile that a profile is part of now, itself when it was not merged away."""
    into = {m.loser: m.winner for m in merges if m.undone_at is None}
    while key in into:
        key = into[key]
    return key


def apart(merges: Collection[Merge]) -> frozenset[frozenset[int]]:
    """Return the pairs of profiles that people took apart and nobody joined again; resolution must leave them so."""
    pairs = (frozenset((root(m.winner, merges), root(m.loser, merges))) for m in merges if m.undone_at is not None)
    return frozenset(pair for pair in pairs if len(pair) == 2)


def check_merge(winner: Profile, loser: Profile) -> None:
    """Raise ``Conflict`` unless the two are different, of one kind, and neither was merged away."""
    if winner.key == loser.key:
        raise Conflict(f"{winner.id} cannot be merged into itself.", hint="Both names lead to the same profile.")
    if winner.kind != loser.kind:
        raise Conflict(
            f"{winner.id} is a {winner.kind} and {loser.id} a {loser.kind}.", hint="Only profiles of one kind can be merged."
        )
    for one in (winner, loser):
        if one.merged_into is not None:
            raise Conflict(f"{one.id} was merged away before.", hint="Merge the profile it is part of, or undo that merge first.")


def join(
    winner: Profile,
    loser: Profile,
    facts: Iterable[Event],
    *,
    at: int,
    cause: str,
    reason: str,
    rule: MergeRule = DEFAULT_RULE,
    declared: Mapping[str, str] | None = None,
) -> tuple[Merge, Profile, Profile, list[Event]]:
    """Return the merge record, both profiles as they are after it, and the events that tell of it (without ``seq``).

    ``facts`` are the events of both, of ``FACT_TYPES`` at least. The read model of the winner is folded from the joined
    history: the newest value of each attribute, all tags, and a withdrawal of consent in either history. Where the rule
    prefers the winner's attributes they are said again in an event, so that expressions see the same. ``cause`` is the id
    of the event that brought it about; the merge's id follows from it and the two public ids. Pure.
    """
    check_merge(winner, loser)
    merge = Merge(
        id="m_" + digest("merge", winner.id, loser.id, cause),
        winner=winner.key,
        loser=loser.key,
        at=at,
        rule=rule.name,
        reason=reason,
    )
    told: dict[str, Json] = {"merge": merge.id, "winner": winner.id, "loser": loser.id, "rule": rule.name, "reason": reason}
    stages = [profile.attributes.get(STATUS) for profile in (winner, loser)]
    if any(stages):
        told["stages"] = stages
    events = [_event(winner.key, MERGED, f"{_OWN}{merge.id}.merged", told, at=at, cause=cause)]
    joined = _refolded(winner, facts, declared)
    if rule.attributes == "winner":
        ours = {name: value for name, value in winner.attributes.items() if name in loser.attributes and name != STATUS}
        own = {name: value for name, value in ours.items() if joined.attributes.get(name) != value}
        if own:
            events.append(
                _event(winner.key, PROFILE_UPDATED, f"{_OWN}{merge.id}.attributes", {"attributes": own}, at=at, cause=cause)
            )
    return merge, joined, _refolded(loser, (), declared, merged_into=winner.key), events


def plan_undo(merge_id: str, merges: Collection[Merge]) -> Undo:
    """Return how to take a merge back, given all merges on record.

    Merges of merges can be undone in any order: what comes back is the loser and what is still part of it, from whoever
    holds it now. Raises ``NotFound`` for an unknown merge and ``Conflict`` for one that was undone.
    """
    merge = next((m for m in merges if m.id == merge_id), None)
    if merge is None:
        raise NotFound(f"no merge has the id {merge_id!r}.", hint="A profile's merges are listed with it.")
    if merge.undone_at is not None:
        raise Conflict(f"the merge {merge_id} was undone before.", hint="Nothing has to be done.")
    return Undo(merge, root(merge.winner, merges), merge.loser, tuple(sorted(_part(merge.loser, merges))))


def _part(key: int, merges: Collection[Merge]) -> set[int]:
    """Return a profile and everything that is merged into it, directly or not."""
    part = {key}
    waiting = [key]
    while waiting:
        last = waiting.pop()
        more = {m.loser for m in merges if m.winner == last and m.undone_at is None} - part
        part |= more
        waiting += more
    return part


def build_unmerge(
    store: Store, merge_id: str, *, at: int, seq: int, cause: str | None = None, declared: Mapping[str, str] | None = None
) -> tuple[Unit, Undo]:
    """Return the unit that takes a merge back and how, to be written by
    ``store.unrekey(unit, winner=undo.holder, origins=undo.origins, loser=undo.loser)``.

    Events are numbered from ``seq`` on. Raises ``NotFound`` for an unknown merge, ``Conflict`` when it was undone or when
    one of the two was erased since.
    """
    undo = plan_undo(merge_id, store.merges())
    profiles = store.profiles([undo.holder, undo.loser])
    if undo.holder not in profiles or undo.loser not in profiles:
        raise Conflict(
            f"the merge {merge_id} cannot be undone: one of the profiles was erased.", hint="What is erased is gone for good."
        )
    holder, loser = profiles[undo.holder], profiles[undo.loser]
    facts = store.history([undo.holder], FACT_TYPES | RECORD_TYPES).get(undo.holder, [])
    back = [event for event in facts if event.origin in undo.origins]
    stay = [event for event in facts if event.origin not in undo.origins]
    told: dict[str, Json] = {"merge": merge_id, "winner": holder.id, "loser": loser.id}
    unit = Unit()
    unit.merges.append(msgspec.structs.replace(undo.merge, undone_at=at))
    unit.profiles = {undo.holder: _refolded(holder, stay, declared), undo.loser: _refolded(loser, back, declared)}
    unit.records = [*records_of(undo.holder, stay), *records_of(undo.loser, back)]
    unit.events = _numbered(
        [
            _event(undo.holder, UNMERGED, f"{_OWN}{merge_id}.unmerged", told, at=at, cause=cause),
            _event(undo.loser, UNMERGED, f"{_OWN}{merge_id}.unmerged.loser", told, at=at, cause=cause),
        ],
        seq,
    )
    unit.timers = {(undo.holder, SEGMENTS): at, (undo.loser, SEGMENTS): at}
    return unit, undo


def _event(profile: int, type_: str, id_: str, data: dict[str, Json], *, at: int, cause: str | None) -> Event:
    return Event(
        id=id_, type=type_, profile=profile, origin=profile, at=at, received_at=at, source="identity", data=data, cause=cause
    )


def _numbered(events: Sequence[Event], seq: int) -> list[Event]:
    return [msgspec.structs.replace(event, seq=seq + n) for n, event in enumerate(events)]


def _refolded(
    profile: Profile, facts: Iterable[Event], declared: Mapping[str, str] | None, *, merged_into: int | None = None
) -> Profile:
    after = msgspec.structs.replace(profile, merged_into=merged_into)
    refold(after, facts, declared)
    return after
