"""Stages in the loop: what conditions, people and sources say of a person's stage becomes events."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from tailorbird.core.event import MERGED, PROFILE_UPDATED, STAGE_CHANGED, Event, Json
from tailorbird.expr.incremental import Change
from tailorbird.profiles.lifecycle import HIDDEN, SOURCE, STATUS, Lifecycle, Past, of_itself, past
from tailorbird.runtime.cache import Entry
from tailorbird.runtime.ingest import OWN_IDS
from tailorbird.runtime.turns import Turn

if TYPE_CHECKING:
    from tailorbird.runtime.effects import Effects

__all__ = ["LOOK", "LOOKS", "Stages"]

LOOK: Final = Change(HIDDEN, True)
"""A change that stands for none: it makes the stage be looked at."""

LOOKS: Final = frozenset({PROFILE_UPDATED, STAGE_CHANGED, MERGED})
"""The event types that may say something of a stage themselves."""

_HISTORY: Final = frozenset({STAGE_CHANGED, PROFILE_UPDATED})


class Stages:
    """Moves people through the life cycle that is active; asked only where a stage's condition changed or was spoken of."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    def given(self, entry: Entry, data: dict[str, Json]) -> dict[str, Json]:
        """Return the data of an update that names the status as it is taken in; see ``Lifecycle.given``."""
        lifecycle = self._effects.catalog.lifecycle
        return data if lifecycle is None or entry.state is None else lifecycle.given(entry.profile, data)

    def spoken(self, event: Event) -> bool:
        """Return whether an event of one of the types in ``LOOKS`` says something of a stage."""
        return event.type != PROFILE_UPDATED or STATUS in event.data["attributes"]

    def moves(self, turn: Turn, entry: Entry, event: Event | None, why: str) -> list[Event]:
        """Return the events that follow for a person's stage, ready for the queue."""
        lifecycle = self._effects.catalog.lifecycle
        if lifecycle is None or entry.state is None:
            return []
        status = entry.profile.attributes.get(STATUS)
        if event is not None and not of_itself(event):
            match event.type:
                case "stage.changed":
                    return self._by_hand(turn, entry, event, lifecycle)
                case "profile.updated" if isinstance(step := event.data.get("stage"), dict):
                    told = {"from": step.get("from"), "to": step.get("to"), "rule": "given", "reason": event.source}
                    return self._tell(turn, entry, event, lifecycle, told, needs_status=status != step.get("to"))
                case "profile.merged":
                    return self._joined(turn, entry, event, lifecycle)
        if event is not None and event.type == STAGE_CHANGED and STATUS not in entry.profile.provenance:
            return []  # the first word of where they stand comes right behind it
        to = self._next(turn, entry, lifecycle)
        if to is None:
            return []
        return self._tell(turn, entry, event, lifecycle, {"to": to, "rule": "when", "reason": why})

    def _next(self, turn: Turn, entry: Entry, lifecycle: Lifecycle) -> str | None:
        assert entry.state is not None
        if STATUS not in entry.profile.provenance:  # nobody ever said where they stand: the history need not be read
            return lifecycle.next(entry.profile, entry.state.members, Past)
        history = self._effects.history
        return lifecycle.next(entry.profile, entry.state.members, lambda: past(lifecycle, history(turn, entry, _HISTORY)))

    def _by_hand(self, turn: Turn, entry: Entry, event: Event, lifecycle: Lifecycle) -> list[Event]:
        """A person's word stands: conditions that are true already do not move anybody on from there."""
        assert entry.state is not None
        to = event.data.get("to")
        if not isinstance(to, str) or to not in lifecycle.ranks:
            return []
        passed = sorted(name.removeprefix(HIDDEN) for name in entry.state.members if name.startswith(HIDDEN))
        return [self._status(turn, entry, event, lifecycle, to, passed=passed)]

    def _joined(self, turn: Turn, entry: Entry, event: Event, lifecycle: Lifecycle) -> list[Event]:
        """Two people are one: the further of their stages stands."""
        said = event.data.get("stages") or (None, None)
        best = lifecycle.further(said[0], said[1])
        rank = lifecycle.rank(entry.profile)
        if best is not None and rank is not None and lifecycle.ranks[best] > rank:
            origin = turn.joined[0] if best == said[1] and turn.joined is not None else 0
            return self._tell(turn, entry, event, lifecycle, {"to": best, "rule": "merge", "reason": "merge"}, origin=origin)
        to = self._next(turn, entry, lifecycle)
        return [] if to is None else self._tell(turn, entry, event, lifecycle, {"to": to, "rule": "when", "reason": "merge"})

    def _tell(
        self, turn: Turn, entry: Entry, event: Event | None, lifecycle: Lifecycle, told: Mapping[str, Json], *,
        needs_status: bool = True, origin: int = 0,
    ) -> list[Event]:  # fmt: skip
        data: dict[str, Json] = {"lifecycle": lifecycle.name, "from": lifecycle.stage_of(entry.profile), **told}
        changed = self._event(turn, entry, event, STAGE_CHANGED, data, origin)
        if not needs_status:
            return [changed]
        return [changed, self._status(turn, entry, changed, lifecycle, str(told["to"]))]

    def _status(
        self, turn: Turn, entry: Entry, cause: Event, lifecycle: Lifecycle, to: str, *, passed: list[str] | None = None
    ) -> Event:
        data: dict[str, Json] = {"attributes": {STATUS: to}, "lifecycle": lifecycle.name}
        if passed:
            data["passed"] = passed
        return self._event(turn, entry, cause, PROFILE_UPDATED, data, cause.origin)

    def _event(self, turn: Turn, entry: Entry, cause: Event | None, type_: str, data: dict[str, Json], origin: int = 0) -> Event:
        """Return an event of the life cycle's own; its id follows from what brought it about.

        It has the origin of its cause, so that taking a merge back gives each person the stages that they came to.
        """
        profile, now = entry.profile, turn.now
        self._effects.seq += 1
        cause_id = None if cause is None else cause.id
        to = data.get("to")
        named = blake2b(f"{profile.id} {type_} {cause_id} {to}".encode(), digest_size=12).hexdigest()
        return Event(
            id=f"{OWN_IDS}{now:012x}{named}",
            type=type_,
            profile=profile.key,
            origin=origin or (cause.origin if cause is not None else 0) or profile.key,
            at=now,
            received_at=now,
            source=SOURCE,
            data=data,
            cause=cause_id,
            seq=self._effects.seq,
        )
