"""Which reactors care about which events: the subscriptions of the catalog, and those added in code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tailorbird.core.action import Action
from tailorbird.core.definition import Definition
from tailorbird.core.event import Event
from tailorbird.core.profile import Profile
from tailorbird.core.reactor import Reactor
from tailorbird.runtime.subscriptions import wants, webhook_action

__all__ = ["Reactors", "Subscriber"]


class Subscriber:
    """A subscription as a reactor: it answers to the events that were asked for with a webhook."""

    def __init__(self, subscription: Definition) -> None:
        self._subscription = subscription
        self._wanted = frozenset(subscription.spec["events"])

    def wants(self, type: str) -> bool:
        """Return whether the subscription may ask for events of this type."""
        return not self._wanted.isdisjoint((type, f"{type.split('.', 1)[0]}.*", "*"))

    def react(self, event: Event, profile: Profile | None) -> Sequence[Action]:
        """Return the webhook for an event that is asked for."""
        return (webhook_action(self._subscription, event, profile),) if wants(self._subscription, event) else ()


class Reactors:
    """All reactors, and for each type of event those that may care, found out once."""

    def __init__(self, subscriptions: Iterable[Definition], extra: Iterable[Reactor] = ()) -> None:
        self._all: tuple[Reactor, ...] = (*(Subscriber(item) for item in subscriptions), *extra)
        self._of: dict[str, tuple[Reactor, ...]] = {}

    def of(self, type: str) -> tuple[Reactor, ...]:
        """Return the reactors that may care about events of a type."""
        found = self._of.get(type)
        if found is None:
            if len(self._of) > 10_000:
                self._of.clear()
            found = self._of[type] = tuple(reactor for reactor in self._all if reactor.wants(type))
        return found
