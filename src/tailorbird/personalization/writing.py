"""The narrative in plain sentences: who this is, why they have their label, how to reach them, what to say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from tailorbird.core.crm import CrmContext, Interaction
from tailorbird.personalization.rules import Segmentation

__all__ = ["Story", "relevant", "write"]

_WORD: Final = re.compile(r"[\w/-]{3,}", re.UNICODE)
_COMMON: Final = frozenset({
    "the", "and", "for", "are", "was", "were", "with", "what", "when", "who", "why", "how", "this", "that", "they",
    "them", "their", "has", "have", "had", "does", "did", "can", "should", "could", "would", "about", "into", "from",
    "our", "you", "your", "she", "her", "his", "him", "its", "not", "any", "all", "last", "latest", "recent", "recently",
    "tell", "show", "give", "please",
})  # fmt: skip
_TOPICS: Final = {
    "segment": frozenset({"segment", "label", "why", "group", "segmentation"}),
    "channel": frozenset({"channel", "reach", "contact", "call", "email", "write", "phone"}),
    "content": frozenset({"content", "offer", "recommend", "recommended", "say", "send", "message", "pitch"}),
    "gaps": frozenset({"missing", "unknown", "gap", "gaps", "lack", "lacks", "incomplete"}),
}
_CHOICES: Final = ("segment", "channel", "content", "gaps")
_ASKING: Final = frozenset().union(*_TOPICS.values())


@dataclass(frozen=True, slots=True)
class Story:
    """What a narrative is written from: a dressed context, its segmentation and why, what is missing, and what was asked."""

    context: CrmContext
    segmentation: Segmentation
    because: str
    gaps: tuple[str, ...] = ()
    query: str | None = None


def write(story: Story) -> str:
    """Return the narrative; the same story always gives the same text.

    A query steers it: the sentences it asks for (by words such as why, channel, offer, missing) come first after the
    introduction, and interactions in which its other words occur are told, newest first.
    """
    parts = {
        "segment": _segment(story), "channel": _channel(story), "content": _content(story), "gaps": _gaps(story),
    }  # fmt: skip
    words = _words(story.query or "")
    first = [topic for topic in _CHOICES if words & _TOPICS[topic]]
    order = first + [topic for topic in _CHOICES if topic not in first]
    told = [_introduction(story), *(_about(story) if story.query else ()), *(parts[topic] for topic in order)]
    return " ".join(sentence for sentence in told if sentence)


def relevant(interactions: Iterable[Interaction], query: str) -> tuple[Interaction, ...]:
    """Return the interactions in whose type, channel or data one of the query's telling words occurs, in their order.

    Words of less than three letters, common ones, and those that ask for a part of the answer tell nothing.
    """
    asked = _words(query) - _ASKING
    stems = {word[:-1] if len(word) > 4 and word.endswith("s") else word for word in asked}
    if not stems:
        return ()
    return tuple(item for item in interactions if any(stem in _text(item) for stem in stems))


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip("/-") for word in _WORD.findall(text.lower())) - _COMMON


def _text(item: Interaction) -> str:
    return f"{item.type} {item.channel or ''} {msgspec.json.encode(item.data).decode()}".lower()


def _introduction(story: Story) -> str:
    contact, account = story.context.contact, story.context.account
    named = contact.name or " ".join(part for part in (contact.first_name, contact.last_name) if part) or "This contact"
    company = contact.company or (account.name if account else None)
    role = f", {contact.title} at {company}," if contact.title and company else f" of {company}" if company else ""
    count = story.segmentation.interaction_count
    if not count or not story.context.interactions:
        return f"{named}{role} has no interaction on record."
    latest = story.context.interactions[0]
    many = "1 interaction" if count == 1 else f"{count} interactions"
    return f"{named}{role} has {many} on record; the latest is {latest.type} on {_day(latest.at)}."


def _segment(story: Story) -> str:
    return f"The segment is {story.segmentation.segment}: {story.because}."


def _channel(story: Story) -> str:
    channel = story.segmentation.personalization.preferred_channel
    if channel is None:
        return "No channel can be preferred yet."
    used = any(item.channel == channel for item in story.context.interactions)
    return f"The channel used most is {channel}." if used else f"Write by {channel}, which is the channel to begin with."


def _content(story: Story) -> str:
    content = story.segmentation.personalization.recommended_content
    return f"Recommended: {', '.join(content)}." if content else "Nothing is recommended."


def _gaps(story: Story) -> str:
    return f"Not known: {', '.join(story.gaps)}." if story.gaps else ""


def _about(story: Story) -> tuple[str, ...]:
    query = story.query or ""
    found = relevant(story.context.interactions, query)
    if not _words(query) - _ASKING:
        return ()
    shown = len(story.context.interactions)
    if not found:
        return (f"None of the {shown} latest interactions has to do with what was asked.",) if shown else ()
    told = "; ".join(f"{item.type} on {_day(item.at)}" for item in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return (
        f"Of the {shown} latest interactions {len(found)} {'has' if len(found) == 1 else 'have'} to do with it: {told}{more}.",
    )


def _day(instant: int) -> str:
    try:
        return datetime.fromtimestamp(instant / 1000, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return "an unreadable date"
