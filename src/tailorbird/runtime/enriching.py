"""What enrichment adds to the loop: each answer of a provider leads to the next step of its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from tailorbird.core.action import Action
from tailorbird.core.definition import Kind
from tailorbird.core.event import Event
from tailorbird.core.profile import Profile
from tailorbird.definitions.catalog import Catalog
from tailorbird.enrichment.answers import FAILED, MISSED, RECEIVED
from tailorbird.enrichment.chain import DEFAULT, KNOWN_TYPES, Chain, parse_chain
from tailorbird.enrichment.planning import Run, advance
from tailorbird.errors import InvalidExpression
from tailorbird.expr.check import Schema, resolve
from tailorbird.expr.nodes import Literal, Node
from tailorbird.expr.parse import parse
from tailorbird.expr.types import Type
from tailorbird.runtime.ingest import OWN_IDS

__all__ = ["Enricher", "chain_of", "condition_in"]

_OURS: Final = f"{OWN_IDS}enr_"
"""What the ids of events begin with that the deliverer tells of questions; nobody else can give an event such an id."""


def chain_of(catalog: Catalog, name: str) -> Chain | None:
    """Return the chain that is active under a name; None where there is none, but ``default`` is always there."""
    item = catalog.definitions.get((Kind.ENRICHMENT, name))
    if item is not None:
        return parse_chain(name, item.spec)
    return DEFAULT if name == DEFAULT.name else None


def condition_in(catalog: Catalog) -> Callable[[str], Node]:
    """Return what resolves the conditions of chains; one that does not fit the declared types is never true."""
    schema = Schema(attributes={**KNOWN_TYPES, **catalog.schema.attributes})

    @lru_cache(maxsize=64)
    def resolved(text: str) -> Node:
        try:
            return resolve(parse(text), schema, expect=Type.BOOL)
        except InvalidExpression:
            return Literal(False, Type.BOOL)

    return resolved


class Enricher:
    """A reactor: answers of providers lead to the next provider's question, or to the end of the run.

    ``ready`` says of each provider why it cannot be asked ("" where it can); None where this process enriches nobody, such
    as a replay, which must not pay again.
    """

    def __init__(self, catalog: Callable[[], Catalog], ready: Callable[[], Mapping[str, str] | None]) -> None:
        self._catalog = catalog
        self._ready = ready
        self._conditions: tuple[Catalog, Callable[[str], Node]] | None = None

    def wants(self, type: str) -> bool:
        """Return whether events of this type are answers."""
        return type in (RECEIVED, MISSED, FAILED)

    def react(self, event: Event, profile: Profile | None) -> Sequence[Action]:
        """Return the next step of the run that the answer belongs to."""
        ready = self._ready()
        said: Any = event.data.get("run")
        if ready is None or profile is None or not isinstance(said, dict) or not event.id.startswith(_OURS):
            return ()  # nobody outside makes us pay by sending an event
        try:
            run = msgspec.convert(said, Run)
        except msgspec.ValidationError:
            return ()
        catalog = self._catalog()
        chain = chain_of(catalog, run.definition)
        if chain is None:  # it was archived meanwhile: what is left of it is to conclude
            chain = msgspec.structs.replace(DEFAULT, name=run.definition, links=())
        step = advance(
            chain, run, profile, event.received_at, ready=ready, condition=self.condition(catalog), cause=event.id
        )  # fmt: skip
        return (step.action,)

    def condition(self, catalog: Catalog) -> Callable[[str], Node]:
        """Return what resolves conditions under a catalog, kept as long as that is in force."""
        if self._conditions is None or self._conditions[0] is not catalog:
            self._conditions = catalog, condition_in(catalog)
        return self._conditions[1]
