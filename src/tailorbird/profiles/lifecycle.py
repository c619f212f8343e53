"""The life cycle of a contact: stages in their order, which one comes next, and what a status from outside may say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from tailorbird.core.event import PROFILE_UPDATED, STAGE_CHANGED, Event, Json
from tailorbird.core.profile import Profile
from tailorbird.errors import Mistake
from tailorbird.expr.nodes import And, Attribute, Call, In, IsKnown, IsTrue, Literal, Node, Not
from tailorbird.expr.types import Type

__all__ = ["HIDDEN", "SOURCE", "STATUS", "Lifecycle", "Past", "Stage", "check_lifecycle", "of_itself", "past"]

STATUS: Final = "status"
"""The attribute that holds a person's stage; without it a person is in the first stage."""

SOURCE: Final = "lifecycle"
"""The source of what the life cycle itself writes."""

HIDDEN: Final = "stage:"
"""What the names of stages' conditions begin with among compiled conditions; no segment can be called so."""

_FAR: Final = 1_000
"""The rank from which on stages from anywhere stand: further than every other."""
_STALE: Final = -1


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: ``when`` (resolved) brings people to it by itself, None: only a person's word or a status from outside.

    ``from_anywhere`` is entered from every other stage and left by a person's word only; ``terminal`` is left by itself
    for a stage from anywhere only.
    """

    name: str
    when: Node | None = None
    from_anywhere: bool = False
    terminal: bool = False


@dataclass(frozen=True)
class Past:
    """Where a person has been: the furthest rank ever reached, and stages that conditions must not bring back."""

    reached: int = 0
    spent: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Lifecycle:
    """Stages in their order. A rank is a stage's place in it; stages from anywhere rank above all others.

    ``version`` is of its definition, 0 for the one that is shipped; two life cycles that say the same are equal.
    """

    name: str
    stages: tuple[Stage, ...]
    version: int = field(default=0, compare=False)

    @cached_property
    def ranks(self) -> Mapping[str, int]:
        """The rank of each stage."""
        ordinary = [stage.name for stage in self.stages if not stage.from_anywhere]
        apart = [stage.name for stage in self.stages if stage.from_anywhere]
        return {name: rank for rank, name in enumerate(ordinary)} | {name: _FAR + n for n, name in enumerate(apart)}

    @cached_property
    def first(self) -> str:
        """The stage in which everybody begins."""
        return next(stage.name for stage in self.stages if not stage.from_anywhere)

    @cached_property
    def by_name(self) -> Mapping[str, Stage]:
        """The stages by name."""
        return {stage.name: stage for stage in self.stages}

    @cached_property
    def conditions(self) -> Mapping[str, Node]:
        """The conditions of stages, by the names that they are compiled under."""
        return {HIDDEN + stage.name: stage.when for stage in self.stages if stage.when is not None}

    def rank(self, profile: Profile) -> int | None:
        """Return where a person stands; None when their status is a word from outside that is no stage, -1 when it is a
        stage of a life cycle that ended."""
        status = profile.attributes.get(STATUS)
        if status is None:
            return 0
        if isinstance(status, str) and status in self.ranks:
            return self.ranks[status]
        source = profile.provenance.get(STATUS)
        return _STALE if source is not None and source.source == SOURCE else None

    def stage_of(self, profile: Profile) -> str:
        """Return the stage as it is shown: the status, or the first stage where there is none."""
        status = profile.attributes.get(STATUS)
        return self.first if status is None else str(status)

    def next(self, profile: Profile, true: Collection[str], been: Callable[[], Past]) -> str | None:
        """Return the stage that a person moves to by itself, given the conditions (by hidden name) that are true; or None.

        Forward only, and to the furthest; no condition leads back to where a person has been (``been`` is asked late).
        """
        rank = self.rank(profile)
        if rank is None or rank >= _FAR:
            return None
        terminal = rank >= 0 and self.by_name[profile.attributes.get(STATUS, self.first)].terminal
        far = [
            (self.ranks[stage.name], stage.name) for stage in self.stages
            if HIDDEN + stage.name in true and self.ranks[stage.name] > rank and (stage.from_anywhere or not terminal)
        ]  # fmt: skip
        if far:
            known = been()
            far = [
                item for item in far
                if item[1] not in known.spent and (item[0] >= _FAR or rank == _STALE or item[0] > known.reached)
            ]  # fmt: skip
        if far:
            return max(far)[1]
        return self.first if rank == _STALE else None

    def given(self, profile: Profile, data: Mapping[str, Json]) -> dict[str, Json]:
        """Return the data of a ``profile.updated`` that says something of the status, as it is taken in.

        A stage is spelled in lower case. What would lead back is kept under ``ignored`` and changes nothing; a step
        forward is noted as ``stage``. A word that is no stage is the team's own, and stands.
        """
        attributes: dict[str, Json] = dict(data["attributes"])
        value = attributes[STATUS]
        word = value.strip().lower() if isinstance(value, str) else value
        if isinstance(word, str) and word in self.ranks:
            attributes[STATUS] = word
        elif value is not None:
            return dict(data)
        rank = self.rank(profile)
        if rank is None:
            return {**data, "attributes": attributes}
        to = self.ranks[word] if word is not None else 0
        if to == rank or (word is None and rank <= 0):
            return {**data, "attributes": attributes}
        if to < rank or rank >= _FAR or (rank >= 0 and to < _FAR and self.is_terminal(rank)):
            del attributes[STATUS]
            return {**data, "attributes": attributes, "ignored": {STATUS: value}}
        return {**data, "attributes": attributes, "stage": {"from": self.stage_of(profile), "to": word}}

    def is_terminal(self, rank: int) -> bool:
        """Return whether the stage of this rank is not left by itself."""
        return any(self.ranks[stage.name] == rank and stage.terminal for stage in self.stages)

    def further(self, one: Json, other: Json) -> str | None:
        """Return the stage that is further of two statuses; None where neither is a stage."""
        known = [(self.ranks[status], status) for status in (one, other) if isinstance(status, str) and status in self.ranks]
        return max(known)[1] if known else None

    def movers(self) -> dict[str, Node]:
        """Return conditions, set-based, that hold for everybody who may have to move: by each stage, and off ended ones."""
        status = Attribute((STATUS,), Type.TEXT)
        here = Call("default", (status, Literal(self.first, Type.TEXT)))
        found: dict[str, Node] = {}
        for name, when in self.conditions.items():
            rank = self.ranks[name.removeprefix(HIDDEN)]
            before = tuple(
                Literal(stage.name, Type.TEXT) for stage in self.stages
                if self.ranks[stage.name] < min(rank, _FAR) and (rank >= _FAR or not stage.terminal)
            )  # fmt: skip
            if before:
                found[name] = And((IsTrue(when), In(here, before)))
        every = tuple(Literal(stage.name, Type.TEXT) for stage in self.stages)
        found[HIDDEN] = And((IsKnown(status), Not(In(status, every))))
        return found


def past(lifecycle: Lifecycle, events: Iterable[Event]) -> Past:
    """Return where a person has been, from their events of types ``stage.changed`` and ``profile.updated``."""
    reached, spent = 0, set[str]()
    ranks = lifecycle.ranks
    for event in events:
        names: list[Json] = []
        if event.type == STAGE_CHANGED:
            names = [event.data.get("to"), event.data.get("from")]
        elif event.type == PROFILE_UPDATED:
            spent.update(name for name in event.data.get("passed", ()) if isinstance(name, str))
            attributes = event.data.get("attributes")
            names = [attributes.get(STATUS)] if isinstance(attributes, dict) else []
        for name in names:
            if isinstance(name, str) and name in ranks:
                if ranks[name] >= _FAR:
                    spent.add(name)
                else:
                    reached = max(reached, ranks[name])
    return Past(reached, frozenset(spent))


def of_itself(event: Event) -> bool:
    """Return whether the life cycle itself wrote the event, which replay therefore makes anew."""
    return event.source == SOURCE and event.type in (STAGE_CHANGED, PROFILE_UPDATED) and SOURCE in event.data


def check_lifecycle(spec: Mapping[str, Json]) -> list[Mistake]:
    """Return everything that is wrong with the spec of a ``lifecycle`` definition beyond its fields.

    >>> [m.message for m in check_lifecycle({"stages": [{"name": "new"}, {"name": "new"}]})]
    ['new stands twice']
    """
    stages = [stage for stage in spec.get("stages") or () if isinstance(stage, dict)]
    names = [stage.get("name") for stage in stages]
    mistakes = [
        Mistake("duplicate", f"{name} stands twice", where="stages")
        for name in dict.fromkeys(names) if name is not None and names.count(name) > 1
    ]  # fmt: skip
    ordinary = [stage for stage in stages if not stage.get("from_anywhere")]
    if stages and not ordinary:
        mistakes.append(
            Mistake("missing_field", "every stage is from_anywhere", "name the stage people begin in", where="stages")
        )
    elif ordinary and ordinary[0].get("when"):
        hint = "Leave out its condition, or put a stage before it."
        mistakes.append(Mistake("invalid_value", "the first stage has a condition; everybody begins in it", hint, where="stages"))
    return mistakes
