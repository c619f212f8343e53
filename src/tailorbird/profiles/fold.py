"""The read model of a profile, folded from its events: attributes with where they came from, tags and consents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from tailorbird.core.event import (
    CONSENT_GRANTED,
    CONSENT_WITHDRAWN,
    PROFILE_UPDATED,
    TAG_ADDED,
    TAG_REMOVED,
    Event,
    Json,
)
from tailorbird.core.profile import Profile, Provenance

__all__ = ["FACTS", "FACT_TYPES", "attribute_type", "fold", "refold"]

FACT_TYPES: Final = frozenset({PROFILE_UPDATED, TAG_ADDED, TAG_REMOVED, CONSENT_GRANTED, CONSENT_WITHDRAWN})
"""The event types that change the read model; all others leave it as it is."""

FACTS: Final = ""
"""The name in ``provenance`` under which the place of the newest tag or consent event is kept; no attribute has it."""


def fold(profile: Profile, event: Event, declared: Mapping[str, str] | None = None) -> bool:
    """Bring one event into the read model; return False when it is too late for that and ``refold`` is needed.

    Attributes take late events as they come: the newest by ``(at, seq)`` wins, name by name, and a ``null`` removes.
    Tags and consents depend on order, so one that is older than the newest folded leaves the profile untouched and
    returns False. Dictionaries are replaced, not changed, so a shallow copy of a profile is a snapshot of it.
    ``declared`` maps attribute names to the types their definitions give.
    """
    type_ = event.type
    if type_ == PROFILE_UPDATED:
        _fold_attributes(profile, event, declared)
        return True
    if type_ not in FACT_TYPES:
        return True
    newest = profile.provenance.get(FACTS)
    if newest is not None and (event.at, event.seq) < (newest.at, newest.seq):
        return False
    if type_ in (TAG_ADDED, TAG_REMOVED):
        _fold_tag(profile, event)
    else:
        _fold_consent(profile, event)
    profile.provenance = {**profile.provenance, FACTS: Provenance("facts", "", event.at, event.seq)}
    return True


def refold(profile: Profile, events: Iterable[Event], declared: Mapping[str, str] | None = None) -> None:
    """Rebuild the read model from the profile's whole history, or from its events of ``FACT_TYPES``, in any order."""
    profile.attributes = {}
    profile.provenance = {}
    profile.tags = ()
    profile.consents = {}
    for event in sorted((e for e in events if e.type in FACT_TYPES), key=_place):
        fold(profile, event, declared)


def attribute_type(value: Json) -> str:
    """Return how a JSON value is read when nothing is declared: bool number text texts object null, or list for other arrays.

    >>> [attribute_type(v) for v in (True, 1.5, "FR", ["a"], {"tier": 1}, None, [1])]
    ['bool', 'number', 'text', 'texts', 'object', 'null', 'list']
    """
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "text"
        case dict():
            return "object"
        case _:
            return "texts" if all(isinstance(member, str) for member in value) else "list"


def _place(event: Event) -> tuple[int, int]:
    return event.at, event.seq


def _fold_attributes(profile: Profile, event: Event, declared: Mapping[str, str] | None) -> None:
    given = event.data.get("attributes")
    if not isinstance(given, dict) or not given:
        return
    attributes, provenance = profile.attributes.copy(), profile.provenance.copy()
    at, seq = event.at, event.seq
    for name, value in given.items():
        if name == FACTS:
            continue
        known = provenance.get(name)
        if known is not None and (known.at, known.seq) > (at, seq):
            continue
        if value is None:
            attributes.pop(name, None)
            kind = "null"  # remembered, so that an older value arriving late does not bring it back
        else:
            attributes[name] = value
            kind = (declared.get(name) if declared else None) or attribute_type(value)
        provenance[name] = Provenance(kind, event.source, at, seq)
    profile.attributes, profile.provenance = attributes, provenance


def _fold_tag(profile: Profile, event: Event) -> None:
    tag = event.data.get("tag")
    if not isinstance(tag, str):
        return
    if event.type == TAG_REMOVED:
        profile.tags = tuple(t for t in profile.tags if t != tag)
    elif tag not in profile.tags:
        profile.tags = (*profile.tags, tag)


def _fold_consent(profile: Profile, event: Event) -> None:
    channel, purpose = event.data.get("channel"), event.data.get("purpose")
    if not isinstance(channel, str) or not isinstance(purpose, str):
        return
    name = f"{channel}/{purpose}"
    if event.type == CONSENT_WITHDRAWN:
        given = False
    else:  # what was withdrawn comes back by the person's own word only
        given = event.data.get("explicit") is True or profile.consents.get(name, True)
    profile.consents = {**profile.consents, name: given}
