"""What the conditions of a personalization may name besides everything a segment may: facts of the question itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tailorbird.core.crm import CrmContext
from tailorbird.core.event import CONSENT_GRANTED, CONSENT_WITHDRAWN, PROFILE_UPDATED, TAG_ADDED, Event, Json
from tailorbird.core.ids import bucket_seed
from tailorbird.expr.check import Schema
from tailorbird.expr.types import Type

__all__ = ["FACTS", "history_of", "schema_with_facts"]

FACTS: Final[Mapping[str, Type]] = {
    "interaction_count": Type.NUMBER,
    "preferred_channel": Type.TEXT,
    "consent_known": Type.BOOL,
    "account_tier": Type.TEXT,
    "email": Type.TEXT,
    "phone": Type.TEXT,
    "name": Type.TEXT,
    "company": Type.TEXT,
    "title": Type.TEXT,
}
"""Names that stand for what was found of the contact, whichever CRM it came from, and what they are read as."""

_LAST: Final = 2**62
"""No event has a number as high."""


def schema_with_facts(schema: Schema) -> Schema:
    """Return what the conditions are checked against: a segment's names, and the facts."""
    return Schema({**schema.attributes, **FACTS}, schema.segments, schema.features)


def history_of(context: CrmContext, facts: Mapping[str, Json], instant: int) -> tuple[int, list[Event]]:
    """Return the chance and the events that conditions are asked over, in their order, the facts last.

    It is the person's own history, or what the CRM says read as one. Facts with the value None are left out: unknown.
    """
    told = {name: value for name, value in facts.items() if value is not None}
    last = Event(
        id="tb:facts", type=PROFILE_UPDATED, profile=0, at=instant, received_at=instant, seq=_LAST, data={"attributes": told}
    )
    if context.history is not None:
        return context.seed, [*context.history, last]
    events = sorted(_told(context, instant), key=lambda event: (event.at, event.seq))
    return bucket_seed(context.contact.id), [*events, last]


def _told(context: CrmContext, instant: int) -> Iterator[Event]:
    """Yield what a CRM says of a contact as events: facts first, as of long ago, then the interactions at their own times."""
    contact = context.contact
    fields = ("email", "phone", "first_name", "last_name", "name", "company", "title")
    attributes = {**contact.attributes, **{name: value for name in fields if (value := getattr(contact, name)) is not None}}
    if context.account is not None:
        attributes["account"] = {**context.account.attributes, "name": context.account.name, "tier": context.account.tier}
    rows: list[tuple[str, int, dict[str, Json]]] = [(PROFILE_UPDATED, 0, {"attributes": attributes})]
    rows += [(TAG_ADDED, 0, {"tag": tag}) for tag in contact.tags]
    for name, given in contact.consents.items():
        channel, _, purpose = name.partition("/")
        type_ = CONSENT_GRANTED if given else CONSENT_WITHDRAWN
        rows.append((type_, 0, {"channel": channel, "purpose": purpose, "explicit": given}))
    rows += [(item.type, min(item.at, instant), item.data) for item in reversed(context.interactions)]
    for seq, (type_, at, data) in enumerate(rows, 1):
        yield Event(id=f"tb:told:{seq}", type=type_, profile=0, at=at, received_at=at, seq=seq, data=data)
