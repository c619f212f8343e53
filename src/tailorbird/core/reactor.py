"""A Reactor: what a domain does when something happens to a profile; pure, so live, replayed and simulated runs agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tailorbird.core.action import Action
from tailorbird.core.event import Event
from tailorbird.core.profile import Profile

__all__ = ["Reactor"]


class Reactor(Protocol):
    """Answers to events with actions; ``react`` must depend on its arguments alone, time included (``event.received_at``)."""

    def wants(self, type: str) -> bool:
        """Return whether events of this type can matter; asked once per type, then remembered."""
        ...

    def react(self, event: Event, profile: Profile | None) -> Sequence[Action]:
        """Return the actions to admit because of the event; their keys must follow from the event's id."""
        ...
