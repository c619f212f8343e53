"""The narrative of the service: what a CRM says of a contact as facts, told by rules or a model, steered by a question."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from tailorbird.content import narrative
from tailorbird.content.narrative import Because, Facts, Narrative, SegmentFact
from tailorbird.core.crm import CrmContext, Interaction
from tailorbird.engine.narrating import said_of
from tailorbird.personalization.rules import Segmentation
from tailorbird.ports import LanguageModel

__all__ = ["Story", "facts_of", "relevant", "tell"]

_WORD: Final = re.compile(r"[\w/-]{3,}", re.UNICODE)
_COMMON: Final = frozenset({
    "the", "and", "for", "are", "was", "were", "with", "what", "when", "who", "how", "this", "that", "they",
    "them", "their", "has", "have", "had", "does", "did", "can", "should", "could", "would", "about", "into", "from",
    "our", "you", "your", "she", "her", "his", "him", "its", "not", "any", "all", "last", "latest", "recent", "recently",
    "tell", "show", "give", "please",
})  # fmt: skip
_WHY: Final = frozenset({"segment", "label", "why", "group", "segmentation"})
_SAY: Final = frozenset({
    "channel", "reach", "contact", "call", "email", "write", "phone", "content", "offer", "recommend", "recommended", "say", "send",
    "message", "pitch", "missing", "unknown", "gap", "gaps", "lack", "lacks", "incomplete",
})  # fmt: skip
_MOST_TOLD: Final = 3
_LATEST: Final = 253_402_300_799_999
"""The last instant that a calendar has, in ms."""


@dataclass(frozen=True, slots=True)
class Story:
    """What a narrative is written from: a dressed context, its segmentation and why, what is missing, what was asked, and when."""

    context: CrmContext
    segmentation: Segmentation
    because: str
    gaps: tuple[str, ...] = ()
    query: str | None = None
    at: int = 0


def tell(story: Story, model: LanguageModel | None = None) -> Narrative:
    """Return the narrative, in paragraphs; by the rules the same story always gives the same text.

    A query steers it: interactions in which its telling words occur come first, and who asks for a channel, an offer or what is
    missing gets the paragraph on that before the one on the segment.
    """
    facts = facts_of(story)
    found = narrative.write(facts) if model is None else narrative.write_with(model, facts)
    if not story.query:
        return found
    parts = found.text.split("\n\n")
    words = _words(story.query)
    if words & _SAY and not words & _WHY and len(parts) > 1:
        parts = [parts[-1], *parts[:-1]]
    return msgspec.structs.replace(found, text="\n\n".join([*_about(story), *parts]))


def facts_of(story: Story) -> Facts:
    """Return what a story says as the facts of a narrative; what it does not say is not looked up."""
    contact, found = story.context.contact, story.segmentation
    said = contact.attributes
    account = story.context.account
    happened = tuple(
        narrative.Interaction(type=item.type, at=max(0, min(item.at, _LATEST)), words=said_of(item.type))
        for item in story.context.interactions
    )
    return Facts(
        id=contact.id, at=max(0, min(story.at, _LATEST)), first_name=contact.first_name,
        name=contact.name or " ".join(part for part in (contact.first_name, contact.last_name) if part) or None,
        company=contact.company or (account.name if account else None), title=contact.title, status=_text(said, "status"),
        language=_text(said, "language"), style=_text(said, "style"), channel=found.personalization.preferred_channel,
        segments=(SegmentFact(name=found.segment, because=(Because(story.because),)),), interactions=happened,
        count=found.interaction_count, consents=contact.consents, suggested=found.personalization.recommended_content, gaps=story.gaps,
        optin=said.get("marketing_opt_in") is True or any(
            given for name, given in contact.consents.items() if name.endswith("/marketing")
        ),
    )  # fmt: skip


def relevant(interactions: Iterable[Interaction], query: str) -> tuple[Interaction, ...]:
    """Return the interactions in whose type, channel or data one of the query's telling words occurs, in their order.

    Words of less than three letters, common ones, and those that ask for a part of the answer tell nothing.
    """
    asked = _words(query) - _WHY - _SAY
    stems = {word[:-1] if len(word) > 4 and word.endswith("s") else word for word in asked}
    if not stems:
        return ()
    return tuple(item for item in interactions if any(stem in _searched(item) for stem in stems))


def _about(story: Story) -> tuple[str, ...]:
    query, shown = story.query or "", story.context.interactions
    if not _words(query) - _WHY - _SAY or not shown:
        return ()
    found = relevant(shown, query)
    if not found:
        return (f"None of the {len(shown)} latest interactions has to do with what was asked.",)
    told = "; ".join(f"{item.type} on {narrative.date_words(min(item.at, _LATEST))}" for item in found[:_MOST_TOLD])
    more = f" and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
    return (
        f"Of the {len(shown)} latest interactions {len(found)} {'has' if len(found) == 1 else 'have'} to do with it: {told}{more}.",
    )


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip("/-") for word in _WORD.findall(text.lower())) - _COMMON


def _searched(item: Interaction) -> str:
    return f"{item.type} {item.channel or ''} {msgspec.json.encode(item.data).decode()}".lower()


def _text(said: Mapping[str, object], name: str) -> str | None:
    value = said.get(name)
    return value if isinstance(value, str) and value.strip() else None
