"""The tools that change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from tailorbird.content.rendered import Rendered
from tailorbird.engine import Answer, Engine, ProfileView
from tailorbird.engine.service import INTERACTIONS, MAX_INTERACTIONS, ContextView
from tailorbird.engine.views import SegmentView
from tailorbird.errors import InvalidEvent, InvalidInput, NotFound
from tailorbird.expr.explain import explain
from tailorbird.expr.parse import parse
from tailorbird.expr.why import Reason
from tailorbird.mcp.tool import Tool
from tailorbird.personalization.rules import Personalization, Segmentation

__all__ = ["READING", "ContactRef", "InstantText", "Ref"]

_LIKELIEST: Final = 5

Ref = Annotated[
    str,
    Meta(
        min_length=1, max_length=300, examples=["email:ann@example.com"],
        description="Which contact: a public id (p_…), an external id, or kind:value with the kinds email, phone, external_id, "
        "anonymous_id; find_contact gives the public id",
    ),
]  # fmt: skip
InstantText = (
    Annotated[str, Meta(description="As of when: ISO 8601 such as 2026-01-31T12:00:00Z; left out: now", max_length=40)] | None
)
Expression = Annotated[
    str,
    Meta(
        min_length=1, max_length=20_000, examples=['count(page.viewed where url contains "/pricing", within 7d) >= 3'],
        description="A condition or value in Tailorbird's expression language: attributes by name, count/sum/last/did over "
        'events with "where" and "within", member_of("segment"), has_tag("tag"), consented("email", "marketing"), and/or/not',
    ),
]  # fmt: skip
Limit = Annotated[int, Meta(ge=1, le=MAX_INTERACTIONS, description="How many of the latest interactions to show")]
SegmentName = Annotated[
    str, Meta(min_length=1, max_length=64, description="The name of a live segment; list_segments names them")
]


class ContactRef(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which contact."""

    contact_id: Ref


class AboutContact(ContactRef, kw_only=True, forbid_unknown_fields=True):
    """Which contact, and how much of them."""

    interaction_limit: Limit = INTERACTIONS


class Context(msgspec.Struct, kw_only=True):
    """What the CRM says of a contact."""

    contact_id: str
    crm_context: ContextView


class Segmented(msgspec.Struct, kw_only=True):
    """A contact's label, why in words, what follows from it, and what is missing."""

    contact_id: str
    segmentation: Segmentation
    because: str
    data_gaps: tuple[str, ...]


class Personalized(msgspec.Struct, kw_only=True):
    """How to speak to a contact."""

    contact_id: str
    segment: str
    personalization: Personalization


class Wanted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What somebody is known by."""

    contact: Annotated[str, Meta(
        min_length=1, max_length=300, examples=["ann@example.com"],
        description="An e-mail address, a phone number with +, an id of any kind, kind:value; or a name, which may be misspelt, "
        "or words that occur in what is known of them",
    )]  # fmt: skip


class Found(msgspec.Struct, kw_only=True):
    """Who was found: the one profile that goes by that address, number or id; else up to five, the likeliest first; or none."""

    contacts: tuple[ProfileView, ...]


class WhyAsked(ContactRef, kw_only=True, forbid_unknown_fields=True):
    """Whose membership in which segment."""

    segment: SegmentName
    as_of: InstantText = None


class WhyTold(msgspec.Struct, kw_only=True):
    """Whether the contact is in the segment, and the condition clause by clause with the events behind each.

    In ``reason``, ``value`` null means unknown and ``until`` is the instant at which a clause next changes by itself.
    """

    contact_id: str
    segment: str
    member: bool
    reason: Reason


class Asked(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An expression, about one contact or about everybody."""

    expression: Expression
    contact_id: Annotated[str, Meta(max_length=300, description="For whom; left out: for how many it is true")] | None = None
    as_of: InstantText = None


class Drafted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The condition of a segment that does not exist yet."""

    when: Expression
    sample: Annotated[int, Meta(ge=0, le=50, description="How many of its people to name")] = 10


class Somebody(msgspec.Struct, kw_only=True):
    """A person by public id and what people call them."""

    id: str
    name: str


class Previewed(msgspec.Struct, kw_only=True):
    """What the segment would be: its size, its share of all people, a sample; nothing was changed."""

    size: int
    total: int
    percent: float
    explanation: str
    sample: tuple[Somebody, ...]


class Nothing(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """No arguments."""


class Segments(msgspec.Struct, kw_only=True):
    """The live segments."""

    segments: tuple[SegmentView, ...]


class Rendering(ContactRef, kw_only=True, forbid_unknown_fields=True):
    """Which template, for whom, with which variables."""

    template: Annotated[str, Meta(min_length=1, max_length=64, description="The name of an active template")]
    variables: Annotated[dict[str, Any], Meta(description="The caller's own variables")] = {}


def _context(engine: Engine, asked: AboutContact) -> Context:
    return Context(contact_id=asked.contact_id, crm_context=engine.service.context(asked.contact_id, asked.interaction_limit))


def _segment(engine: Engine, asked: ContactRef) -> Segmented:
    judged = engine.service.judge(asked.contact_id)
    return Segmented(contact_id=asked.contact_id, segmentation=judged.segmentation, because=judged.because, data_gaps=judged.gaps)


def _personalization(engine: Engine, asked: ContactRef) -> Personalized:
    found = engine.service.segment(asked.contact_id)
    return Personalized(contact_id=asked.contact_id, segment=found.segment, personalization=found.personalization)


def _find(engine: Engine, asked: Wanted) -> Found:
    for ref in _readings(asked.contact.strip()):
        try:
            return Found(contacts=(engine.profile(ref),))
        except (NotFound, InvalidEvent):
            continue
    return Found(contacts=tuple(_searched(engine, asked.contact)))


def _searched(engine: Engine, text: str) -> Iterator[ProfileView]:
    """Yield whom a search finds, by a name that may be misspelt, else by words; nobody for what cannot be searched for."""
    with suppress(InvalidInput):
        directory = engine.directory
        people = directory.find(name=text, limit=_LIKELIEST).people or directory.find(text=text, limit=_LIKELIEST).people
        for person in people:
            with suppress(NotFound):  # erased this very moment
                yield engine.profile(person.id)


def _readings(text: str) -> Iterator[str]:
    """Yield what a text may stand for, the likeliest first."""
    yield text
    if "@" in text:
        yield f"email:{text}"
    elif text.startswith("+") or text.replace(" ", "").isdigit():
        yield f"phone:{text}"


def _why(engine: Engine, asked: WhyAsked) -> WhyTold:
    reason = engine.why(asked.contact_id, asked.segment, as_of=asked.as_of)
    return WhyTold(contact_id=asked.contact_id, segment=asked.segment, member=reason.value is True, reason=reason)


def _evaluate(engine: Engine, asked: Asked) -> Answer:
    return engine.evaluate(asked.expression, profile=asked.contact_id, as_of=asked.as_of)


def _preview(engine: Engine, asked: Drafted) -> Previewed:
    taken = {item.name for item in engine.definitions(kind="segment")}
    name = next(f"draft-{n}" for n in range(len(taken) + 1) if f"draft-{n}" not in taken)
    found = engine.preview([{"kind": "segment", "name": name, "when": asked.when}], sample=asked.sample)
    made = next((item for item in found if item.segment == name), None)
    if made is None:
        raise InvalidInput("there is nothing to preview", hint="Give a condition, such as count(page.viewed, within 7d) >= 3.")
    sample = tuple(Somebody(id=person.id, name=person.name) for person in made.sample)
    return Previewed(
        size=made.size, total=made.total, percent=made.percent, explanation=explain(parse(asked.when)), sample=sample
    )


def _segments(engine: Engine, _: Nothing) -> Segments:
    return Segments(segments=tuple(engine.segments()))


def _render(engine: Engine, asked: Rendering) -> Rendered:
    return engine.content.render(asked.template, asked.contact_id, variables=asked.variables)


READING: Final = (
    Tool(
        "segment_context", "CRM context of a contact",
        "What the CRM says of a contact: who they are, their account, and their latest interactions, newest first. Call this "
        "before writing to somebody.", AboutContact, Context, _context,
    ),
    Tool(
        "segment", "Segment of a contact",
        "The label a contact has (do-not-contact, new-lead, engaged, nurture, or the team's own), why, the preferred channel, "
        "recommended content, and which data is missing. Respect do-not-contact.", ContactRef, Segmented, _segment,
    ),
    Tool(
        "personalization", "Personalization of a contact",
        "How to speak to a contact: the channel they use most and what to recommend to them.", ContactRef, Personalized,
        _personalization,
    ),
    Tool(
        "find_contact", "Find a contact",
        "Find a contact by e-mail address, phone number or id, or search for a name or other words; gives profiles with their "
        "public ids, attributes, tags, consents and segments, or none.", Wanted, Found, _find,
    ),
    Tool(
        "why", "Why a contact is in a segment",
        "Why a contact is or is not in a live segment: every clause of its condition, what was measured, the events behind it, "
        "and until when it holds.", WhyAsked, WhyTold, _why,
    ),
    Tool(
        "evaluate_expression", "Evaluate an expression",
        "Evaluate a condition or value for one contact, or count for how many people a condition is true; as of now or any "
        "past instant.", Asked, Answer, _evaluate,
    ),
    Tool(
        "preview_segment", "Preview a segment",
        "Say how many people a condition would put into a segment, and name a few. Nothing is saved.", Drafted, Previewed, _preview,
    ),
    Tool(
        "list_segments", "List the segments", "Every live segment with its size, condition and explanation.", Nothing, Segments,
        _segments,
    ),
    Tool(
        "render_template", "Render a template",
        "Write a template out for one contact: subject, text or HTML, with the variables used and the language chosen. Nothing "
        "is sent.", Rendering, Rendered, _render,
    ),
)  # fmt: skip
"""The tools that anybody who may read may call."""
