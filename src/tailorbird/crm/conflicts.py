"""Who changed a field since both sides last agreed, and whose value stands: a decision of three values and a rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec

from tailorbird.core.connection import Link
from tailorbird.core.event import Json
from tailorbird.crm.mapping import MappedField

__all__ = [
    "CONSENT",
    "HELD",
    "Act",
    "Decision",
    "Ours",
    "TagChanges",
    "base_of",
    "consent_pulled",
    "decide",
    "note",
    "tag_changes",
    "to_push",
]

HELD = "held:"
"""What the name under which ``Link.seen`` keeps a value that a person has to decide about begins with."""
CONSENT = "consent:"
"""What the name under which ``Link.seen`` and ``Link.pushed`` keep a consent begins with."""


class Act(StrEnum):
    """What is done about a field."""

    NOTHING = "nothing"  # both say the same, or nothing was said
    PULL = "pull"  # the CRM's value becomes ours
    PUSH = "push"  # ours is to be written there
    HOLD = "hold"  # they differ, and nobody's value is touched


class Decision(NamedTuple):
    """What is done about a field; ``conflict``: both sides had changed it."""

    act: Act
    conflict: bool = False


class Ours(msgspec.Struct, frozen=True, kw_only=True):
    """What we have of a field: the value (None: none), since when (ms), and who said it."""

    value: Json = None
    at: int | None = None
    source: str = ""


def base_of(link: Link, field: str) -> Json:
    """Return what both sides last agreed on: what we wrote last, else what the CRM said last; UNSET where nothing is known."""
    if field in link.pushed:
        return link.pushed[field]
    return link.seen.get(field, msgspec.UNSET)


def decide(field: MappedField, link: Link, theirs: Json, ours: Ours, *, at: int | None = None) -> Decision:
    """Decide about one field of a record that was just read; ``at`` is when the CRM says that the record changed.

    A value that equals what we wrote last is our own write coming back. One that equals what we saw before, in a record that has not
    changed since, is an old copy. What we have from this very CRM is no change of ours. Where one side changed the other
    follows, as far as the direction lets it; where both did, the rule decides, and with ``newest`` and no times, the CRM.
    """
    if _same(theirs, ours.value):
        return Decision(Act.NOTHING)
    base = base_of(link, field.field)
    known = base is not msgspec.UNSET
    old = at is not None and at <= link.seen_at and field.field in link.seen and _same(theirs, link.seen[field.field])
    changed_there = not old and (not _same(theirs, base) if known else theirs is not None)
    changed_here = (not _same(ours.value, base) if known else ours.value is not None) and ours.source != f"crm:{link.connection}"
    if field.direction == "push":  # the CRM's word counts for nothing
        return Decision(Act.PUSH if ours.value is not None or changed_here else Act.NOTHING)
    if not changed_there:
        return Decision(Act.PUSH if field.pushes and changed_here else Act.HOLD if changed_here else Act.NOTHING)
    if not changed_here:
        return Decision(Act.PULL)
    match field.wins:
        case "crm":
            return Decision(Act.PULL, conflict=True)
        case "us":
            return Decision(Act.PUSH if field.pushes else Act.HOLD, conflict=True)
        case "never":
            return Decision(Act.HOLD, conflict=True)
        case "newest":
            if at is None or ours.at is None or at >= ours.at:
                return Decision(Act.PULL, conflict=True)
            return Decision(Act.PUSH if field.pushes else Act.HOLD, conflict=True)


def note(
    field: MappedField, seen: dict[str, Json], pushed: dict[str, Json], *, theirs: Json, ours: Json, decision: Decision
) -> None:
    """Note in copies of ``Link.seen`` and ``Link.pushed`` what was read of a field, once it is decided about.

    What nobody may touch keeps what was agreed on, so that it stays undecided. What we wrote last counts no more where the CRM
    said something new, or both agree on something else; an old copy leaves it.
    """
    name = field.field
    if decision.act == Act.HOLD and decision.conflict and field.wins == "never":
        seen[HELD + name] = theirs
        return
    newer = decision.act == Act.PULL or _same(theirs, ours) or not _same(theirs, seen.get(name))
    if newer and name in pushed and not _same(pushed[name], theirs):
        del pushed[name]
    seen.pop(HELD + name, None)
    seen[name] = theirs


def to_push(field: MappedField, link: Link, ours: Ours) -> bool:
    """Return whether our value is to be written, by what is known of the CRM without asking it."""
    if not field.pushes or HELD + field.field in link.seen:
        return False
    base = base_of(link, field.field)
    if base is msgspec.UNSET:
        return ours.value is not None
    if _same(ours.value, base):
        return False
    return field.direction == "push" or ours.source != f"crm:{link.connection}"


class TagChanges(NamedTuple):
    """Which tags a profile is given, and which are taken from it."""

    added: tuple[str, ...]
    removed: tuple[str, ...]


def tag_changes(rule: str, before: Iterable[str] | None, theirs: Iterable[str], ours: Iterable[str]) -> TagChanges:
    """Return what the CRM's tags change in ours: what came and went there since ``before``; with ``replace`` all differences.

    >>> tag_changes("merge", ["vip", "old"], ["vip", "new"], ["vip", "old", "own"])
    TagChanges(added=('new',), removed=('old',))
    """
    there, here = set(theirs), set(ours)
    if rule == "none":
        return TagChanges((), ())
    if rule == "replace":
        return TagChanges(tuple(sorted(there - here)), tuple(sorted(here - there)))
    was = set(before or ())
    return TagChanges(tuple(sorted(there - was - here)), tuple(sorted((was - there) & here)))


def consent_pulled(link: Link, said: Mapping[str, bool], ours: Mapping[str, bool]) -> dict[str, bool]:
    """Return the consents that the CRM's word changes with us, by ``"channel/purpose"``.

    An opt-out counts when it is new; a consent only where nothing was known, for a person's withdrawal is undone by their own word
    alone. What the CRM does not say changes nothing.
    """
    found: dict[str, bool] = {}
    for name, given in said.items():
        new = link.seen.get(CONSENT + name) is not given and link.pushed.get(CONSENT + name) is not given
        if (not given and new and ours.get(name) is not False) or (given and name not in ours):
            found[name] = given
    return found


def _same(one: Json, other: Json) -> bool:
    if one is msgspec.UNSET or other is msgspec.UNSET:
        return one is other
    if isinstance(one, bool) is not isinstance(other, bool):
        return False  # 1 is not True
    return bool(one == other) or (one in ("", []) and other is None) or (other in ("", []) and one is None)
