"""Who an event is about: identifiers to a profile, deterministically, by rules that are written in one place."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

from tailorbird.core.ids import profile_id
from tailorbird.core.profile import Identifier
from tailorbird.ports import IdentifierRow
from tailorbird.profiles.normalise import is_strong, rank
from tailorbird.profiles.rules import DEFAULT_RULE, MergeRule

__all__ = ["Held", "Joining", "Kept", "Resolution", "resolve"]


class Held(NamedTuple):
    """What resolution has to know of a profile that was found: its strong identifiers, and how much it gathered.

    ``identifiers`` counts all of them, ``merges`` those it won and that stand; ``name`` is asked for by the rule
    ``same_name`` only.
    """

    strong: tuple[Identifier, ...] = ()
    identifiers: int = 0
    merges: int = 0
    name: str = ""


class Joining(NamedTuple):
    """A profile that becomes part of the resolved one: the loser's key, and why."""

    loser: int
    reason: Literal["anonymous_activity", "shared_email", "shared_phone", "shared_crm_id", "shared_id"]


class Kept(NamedTuple):
    """An identifier of the event that stays with another profile, and why; nothing happens, it is for people who ask."""

    identifier: Identifier
    profile: int
    reason: Literal["shared_device", "different_ids", "rule", "limit", "unmerged"]


class Resolution(NamedTuple):
    """What to do with an event.

    ``profile`` is the key it is about, None to create one whose public id is ``public_id``. ``origin`` is the event's
    origin (None: the same as the profile created). ``attach`` are identifiers to store for the profile with that same
    origin: new ones, and those of ``moved``, which leave another profile. ``joins`` are merges into the profile, to be
    made before the event is folded, in this order. ``ignored`` were dropped because the rule or a limit says so.
    """

    profile: int | None
    origin: int | None
    public_id: str = ""
    attach: tuple[Identifier, ...] = ()
    joins: tuple[Joining, ...] = ()
    moved: tuple[Identifier, ...] = ()
    kept: tuple[Kept, ...] = ()
    ignored: tuple[Identifier, ...] = ()


_NOTHING = Held()


def resolve(
    identifiers: Sequence[Identifier],
    found: Mapping[Identifier, IdentifierRow],
    held: Mapping[int, Held],
    rule: MergeRule = DEFAULT_RULE,
    *,
    apart: Collection[frozenset[int]] = (),
) -> Resolution:
    """Decide whose an event is, from its identifiers (normalised, strongest first) and the rows and profiles they name.

    ``found`` has a row for each of them that is known (and no others), ``held`` an entry for each profile among the rows; ``apart`` the
    pairs of profiles that were unmerged and must not be joined by themselves again. The rules are in
    ``docs/explanation/identity.md``. Pure: the same arguments give the same answer. ``identifiers`` must not be empty.
    """
    if not rule.ignore and len(found) == len(identifiers):  # the most common case by far: all is known, and one profile's
        lead = found[identifiers[0]]
        if len(identifiers) == 1 or all(row.profile == lead.profile for row in found.values()):
            return Resolution(lead.profile, lead.origin)
    usable = [i for i in identifiers if i.value not in rule.ignore] or list(identifiers)
    case = _Case(usable, found, held, rule, apart)
    resolution = case.decide()
    if len(usable) < len(identifiers):
        dropped = tuple(i for i in identifiers if i.value in rule.ignore)
        resolution = resolution._replace(ignored=(*dropped, *resolution.ignored))
    return resolution


class _Case:
    """One resolution under way."""

    def __init__(
        self,
        identifiers: Sequence[Identifier],
        found: Mapping[Identifier, IdentifierRow],
        held: Mapping[int, Held],
        rule: MergeRule,
        apart: Collection[frozenset[int]],
    ) -> None:
        self.identifiers = identifiers
        self.found = found
        self.held = held
        self.rule = rule
        self.apart = apart
        self.kept: list[Kept] = []
        self.moved: list[Identifier] = []
        self.joins: dict[int, Joining] = {}

    def decide(self) -> Resolution:
        target, origin = self._target()
        group = {i for i in self.identifiers if i not in self.found}
        if target is not None:
            group |= set(self.held.get(target, _NOTHING).strong)
        members: list[int] = [] if target is None else [target]
        for identifier in self.identifiers:
            row = self.found.get(identifier)
            if row is None or row.profile in members:
                continue
            reason = self._obstacle(identifier, row.profile, members, group)
            if reason is None:
                members.append(row.profile)
                group |= set(self.held.get(row.profile, _NOTHING).strong)
                self.joins[row.profile] = Joining(row.profile, _why(identifier.kind))
            elif reason == "shared_device" and self.rule.shared_device == "forward":
                self.moved.append(identifier)
            else:
                self.kept.append(Kept(identifier, row.profile, reason))
        return self._settle(target, origin, members)

    def _target(self) -> tuple[int | None, int | None]:
        """Return the profile that the strongest identifier names, or that may take it on, and the event's origin."""
        first = self.identifiers[0]
        row = self.found.get(first)
        if row is not None:
            return row.profile, row.origin
        for other in self.identifiers[1:]:
            row = self.found.get(other)
            if row is not None and is_strong(other.kind) and self._may_take_on(row.profile, other.kind):
                return row.profile, row.origin
        return None, None

    def _may_take_on(self, profile: int, by: str) -> bool:
        """Return whether a profile found by a weaker identifier may be given the event's stronger, unknown ones."""
        if rank(by) > 1 and (by not in self.rule.on or self.rule.when == "never"):
            return False
        if self.rule.when == "always":
            return True
        new = [i for i in self.identifiers if i not in self.found]
        return not _differ(self.held.get(profile, _NOTHING).strong, new)

    def _obstacle(
        self, identifier: Identifier, other: int, members: Sequence[int], group: Collection[Identifier]
    ) -> Literal["shared_device", "different_ids", "rule", "limit", "unmerged"] | None:
        """Return why another profile that the event names is not joined with the one resolved, None to join it."""
        theirs = self.held.get(other, _NOTHING)
        if any(frozenset((other, member)) in self.apart for member in members):
            return "unmerged"
        if not is_strong(identifier.kind):
            if theirs.strong:
                return "shared_device"
            if self.rule.anonymous == "never":
                return "rule"
        elif self.rule.when == "never" or (rank(identifier.kind) > 1 and identifier.kind not in self.rule.on):
            return "rule"
        elif self.rule.when != "always" and _differ(theirs.strong, group) and not self._same_name(other, members):
            return "different_ids"
        return "limit" if self._beyond(other, members) else None

    def _same_name(self, other: int, members: Sequence[int]) -> bool:
        if self.rule.when != "same_name" or not members:
            return False
        names = {self.held.get(key, _NOTHING).name.casefold().strip() for key in (other, members[0])}
        return len(names) == 1 and names != {""}

    def _beyond(self, other: int, members: Sequence[int]) -> bool:
        everyone = [self.held.get(key, _NOTHING) for key in (other, *members)]
        gathered, merges = sum(h.identifiers for h in everyone), sum(h.merges for h in everyone) + 1
        return gathered > self.rule.limits.identifiers or merges > self.rule.limits.merges

    def _settle(self, target: int | None, origin: int | None, members: Sequence[int]) -> Resolution:
        """Choose who wins among those joined, and what the winner is given."""
        winner = target
        if target is not None and self.joins:
            winner = min(members, key=lambda key: (self._strength(key), members.index(key)))
        if winner is not None and winner != target and target is not None:
            self.joins[target] = Joining(target, self.joins.pop(winner).reason)
        new = [i for i in self.identifiers if i not in self.found]
        room = len(new)
        if winner is not None:
            room = max(0, self.rule.limits.identifiers - sum(self.held.get(key, _NOTHING).identifiers for key in members))
        first = self.identifiers[0]
        return Resolution(
            winner,
            origin,
            profile_id(first.kind, first.value) if winner is None else "",
            (*new[:room], *self.moved),
            tuple(self.joins.values()),
            tuple(self.moved),
            tuple(self.kept),
            tuple(new[room:]),
        )

    def _strength(self, profile: int) -> int:
        return min((rank(i.kind) for i in self.held.get(profile, _NOTHING).strong), default=9)


def _differ(some: Collection[Identifier], others: Collection[Identifier]) -> bool:
    """Return whether two sets of identifiers name two people: both have ids of one kind, external or a CRM's, and share none."""
    for kind in {i.kind for i in some if rank(i.kind) <= 1}:
        theirs = {i.value for i in others if i.kind == kind}
        if theirs and theirs.isdisjoint(i.value for i in some if i.kind == kind):
            return True
    return False


def _why(kind: str) -> Literal["anonymous_activity", "shared_email", "shared_phone", "shared_crm_id", "shared_id"]:
    match kind:
        case "anonymous_id":
            return "anonymous_activity"
        case "email":
            return "shared_email"
        case "phone":
            return "shared_phone"
        case "external_id" | "company_id":
            return "shared_id"
        case _:
            return "shared_crm_id"
