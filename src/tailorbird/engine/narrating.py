"""Narratives, tone, translation: gathering what is known of a person, and having it written, by rules or by a model."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from tailorbird.content import language as languages
from tailorbird.content import narrative as narratives
from tailorbird.content import rewriting, tone
from tailorbird.content.narrative import Because, Facts, Interaction, Narrative, SegmentFact
from tailorbird.content.style import Style
from tailorbird.core.event import Event
from tailorbird.core.profile import Profile
from tailorbird.engine.asking import condition_of
from tailorbird.engine.parts import Parts
from tailorbird.engine.reader import Reader
from tailorbird.engine.refs import find_profile
from tailorbird.errors import InvalidInput, Unavailable
from tailorbird.expr import nodes as n
from tailorbird.expr.evaluate import History
from tailorbird.expr.explain import event_words, explain
from tailorbird.ports import LanguageModel, NoAnswer
from tailorbird.profiles.engagements import is_delivery
from tailorbird.settings import PREFIX

if TYPE_CHECKING:
    from tailorbird.expr.incremental import Program
    from tailorbird.expr.why import Reason

    Programs = dict[str, tuple[n.Node, Program]]

__all__ = ["KEY_VARIABLE", "Author", "Narrating", "ToneView", "gather", "interactions_of", "replies_of", "said_of"]

Author = Literal["auto", "rules", "model"]

KEY_VARIABLE: Final = PREFIX + "LLM_KEY"
"""The environment variable with the language model's key; it is no setting, so that it is nowhere shown."""

_FACTS: Final = (
    "profile.", "tag.", "consent.", "member.", "segment.", "stage.", "timer.", "webhook.", "action.", "enrichment.", "task.",
    "contact.", "note.", "message.", "email.verified", "email.rejected", "email.bounced",
)  # fmt: skip
"""How event types begin that are nobody's doing: what is known, not what happened between people."""

_SAID: Final = {
    "email.sent": "was sent an e-mail", "email.opened": "opened an e-mail", "link.clicked": "clicked a link",
    "reply.received": "replied", "website.visited": "visited the website", "form.submitted": "submitted a form",
    "call.scheduled": "scheduled a call", "call.completed": "had a call", "demo.attended": "attended a demo",
    "deal.opened": "became part of a deal", "deal.moved": "had a deal moved on", "deal.won": "closed a deal",
    "deal.lost": "let a deal go",
}  # fmt: skip
_WANTED: Final = {
    "first_name": "their first name", "company": "their company", "title": "their title", "language": "their preferred language",
    "style": "their communication style",
}  # fmt: skip
_TEXTS: Final = ("text", "body", "message", "content", "snippet")
_MOST_REPLIES: Final = 50
_PAGE: Final = 1_000


class ToneView(msgspec.Struct, frozen=True, kw_only=True):
    """The tone of a draft; with a person, their own (None: no reply of theirs has words) and how far apart the two are."""

    draft: tone.Tone
    own: tone.Tone | None = None
    replies: int = 0
    distance: tone.Distance | None = None


class Narrating:
    """What an engine can say about people and how: narratives, tone, languages, translation.

    ``model`` is None unless the setting ``llm_url`` names an endpoint, or one is given.
    """

    def __init__(self, parts: Parts, *, model: LanguageModel | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._parts = parts
        self._reader = Reader(parts)
        self._programs: dict[str, tuple[n.Node, Program]] = {}
        self._given = model
        self._environ = os.environ if environ is None else environ

    @cached_property
    def model(self) -> LanguageModel | None:
        """The language model that is set up; raises ``InvalidInput`` when its address cannot be read."""
        if self._given is not None or not self._parts.settings.llm_url:
            return self._given
        from tailorbird.connectors.llm import OpenAIModel, read_endpoint

        endpoint = read_endpoint(self._parts.settings.llm_url, self._environ.get(KEY_VARIABLE, ""))
        return OpenAIModel(endpoint, clock=self._parts.clock)

    def facts(self, ref: str, *, interactions: int = 20) -> Facts:
        """Return what is known of a person that a narrative may say; ``interactions`` are the latest that are looked at, 1 or more."""
        if type(interactions) is not int or interactions < 1:
            raise InvalidInput(f"interactions {interactions!r:.40} is not 1 or more.", hint="Look at 1 to 100 of the latest.")
        person = find_profile(self._parts.store, ref, region=self._parts.region)
        values = self._reader.read(person.id, None) if self._parts.catalog.features else {}
        return gather(self._parts, person, values, interactions=interactions, programs=self._programs)

    def narrative(self, ref: str, *, language: str = "en", author: Author = "auto", interactions: int = 20) -> Narrative:
        """Return why a person is in their segments and what to say to them.

        ``auto`` asks the model where one is set up, ``rules`` never; with ``model`` there has to be one (``InvalidInput``).
        A model that fails, or writes what is not in the facts, is replaced by the rules, and ``note`` says so.
        """
        found = self.facts(ref, interactions=interactions)
        if author == "rules":
            return narratives.write(found, language)
        model = self.model
        if model is None:
            if author == "model":
                raise _no_model()
            return narratives.write(found, language)
        return narratives.write_with(model, found, language)

    def tone(self, text: str, *, language: str | None = None, html: bool = False, profile: str | None = None) -> ToneView:
        """Return the tone of a draft, and with a person how far it is from the tone of their own replies.

        ``language`` left out is the person's preferred one, else English.
        """
        if profile is None:
            return ToneView(draft=tone.measure(text, language or "en", html=html))
        person = find_profile(self._parts.store, profile, region=self._parts.region)
        preferred = person.attributes.get("language")
        chosen = language or (preferred if isinstance(preferred, str) and languages.is_tag(preferred) else "en")
        draft = tone.measure(text, chosen, html=html)
        own = tone.own_tone(self.replies(person.id), chosen)
        if own is None:
            return ToneView(draft=draft)
        return ToneView(draft=draft, own=own, replies=own.basis, distance=tone.distance(draft, own))

    def replies(self, ref: str) -> list[str]:
        """Return the texts of a person's latest replies (at most 50), oldest first."""
        person = find_profile(self._parts.store, ref, region=self._parts.region)
        events = self._parts.store.history([person.key], ["reply.received"]).get(person.key, ())
        return replies_of(events)

    def coverage(
        self, available: Collection[str], chain: Sequence[str] = (), *, segment: str | None = None
    ) -> languages.Coverage:
        """Return which of N people, of a segment or all, would get which language."""
        counts: Counter[str | None] = Counter()
        for person in self._people(segment):
            preferred = person.attributes.get("language")
            counts[preferred if isinstance(preferred, str) else None] += 1
        return languages.coverage(counts, available, chain)

    def translate(
        self, text: str, to: str, *, source: str | None = None, html: bool = False, names: Collection[str] = ()
    ) -> rewriting.Rewritten:
        """Return a text in another language, by the model; raises ``InvalidInput`` without one, ``Unavailable`` when it fails."""
        if self.model is None:
            raise _no_model()
        try:
            return rewriting.translate(self.model, text, to, source=source, html=html, names=names)
        except NoAnswer as problem:
            raise Unavailable(f"The text was not translated: {problem}.", hint="Try again, or translate it by hand.") from None

    def rewrite(
        self, text: str, style: Style, language: str, *, html: bool = False, names: Collection[str] = (), advice: str = ""
    ) -> rewriting.Rewritten:
        """Return a text in a style, by the model where one is set up and answers, else by the word lists."""
        return rewriting.rewrite(self.model, text, style, language, html=html, names=names, advice=advice)

    def close(self) -> None:
        """Close the model's connections."""
        opened = self.__dict__.get("model")
        if opened is not None and hasattr(opened, "close"):
            opened.close()

    def _people(self, segment: str | None) -> Iterator[Profile]:
        store = self._parts.store
        after = 0
        if segment is not None:
            condition_of(self._parts, segment)
            while rows := store.members(segment, after=after, limit=_PAGE):
                yield from store.profiles([row.profile for row in rows]).values()
                after = rows[-1].profile
            return
        while found := store.page_profiles(after=after, limit=_PAGE, kind="person"):
            yield from found
            after = found[-1].key


def gather(
    parts: Parts, person: Profile, values: Mapping[str, Any], *, interactions: int = 20, programs: Programs | None = None
) -> Facts:
    """Return the facts about a person: segments with why, features (``values``), interactions, consents, gaps.

    ``programs`` is kept between calls: what was compiled of the segments' conditions.
    """
    now = parts.now()
    events = [event for event in parts.store.history([person.key]).get(person.key, ()) if event.at <= now]
    happened, count = interactions_of(events, limit=interactions)
    said = {name: value for name, value in person.attributes.items() if isinstance(value, str) and value.strip()}
    first = said.get("first_name")
    return Facts(
        id=person.id, at=now, first_name=first, name=said.get("name") or _full(first, said.get("last_name")),
        company=said.get("company"), title=said.get("title"), status=said.get("status"), language=said.get("language"),
        style=said.get("style"), channel=said.get("preferred_channel"),
        segments=tuple(_segments(parts, person, events, now, {} if programs is None else programs)), interactions=happened, count=count,
        features={name: value for name, value in values.items() if isinstance(value, str | float | int | bool)},
        consents=dict(person.consents), gaps=tuple(_gaps(person, said, count)),
    )  # fmt: skip


def interactions_of(events: Sequence[Event], *, limit: int) -> tuple[tuple[Interaction, ...], int]:
    """Return the latest interactions among a history, newest first, and how many there are in all."""
    found = [event for event in events if not event.type.startswith(_FACTS) and not is_delivery(event)]
    latest = tuple(Interaction(type=e.type, at=e.at, words=said_of(e.type)) for e in reversed(found[-limit:])) if limit else ()
    return latest, len(found)


def replies_of(events: Sequence[Event]) -> list[str]:
    """Return the texts of the latest replies among a history, oldest first."""
    found: list[str] = []
    for event in events:
        texts = (event.data.get(name) for name in _TEXTS)
        text = next((text for text in texts if isinstance(text, str) and text.strip()), None)
        if event.type == "reply.received" and text is not None:
            found.append(text)
    return found[-_MOST_REPLIES:]


def _segments(parts: Parts, person: Profile, events: Sequence[Event], now: int, programs: Programs) -> Iterator[SegmentFact]:
    from tailorbird.expr.why import change_program, next_change, why

    catalog = parts.catalog
    history = History(person.bucket, tuple(events))
    for membership in sorted(parts.store.memberships([person.key]).get(person.key, ()), key=lambda m: m.segment):
        condition = catalog.conditions.get(membership.segment)
        if condition is None:
            continue
        if membership.segment in catalog.manual:
            yield SegmentFact(name=membership.segment, since=membership.entered_at)
            continue
        kept = programs.get(membership.segment)
        if kept is None or kept[0] is not condition:
            kept = programs[membership.segment] = condition, change_program(condition)
        yield SegmentFact(
            name=membership.segment,
            since=membership.entered_at,
            because=tuple(_because(condition, why(condition, history, now, until=False))),
            until=next_change(kept[1], history, now),
        )


def _because(node: n.Node, reason: Reason) -> Iterator[Because]:
    """Yield the clauses that make a condition true: all of an ``and``, those of an ``or`` that hold."""
    if isinstance(node, n.And | n.Or) and len(node.items) == len(reason.because):
        for item, part in zip(node.items, reason.because, strict=True):
            if part.value is True:
                yield from _because(item, part)
        return
    last = max((event.at for event in reason.events), default=None) if _happens(node) else None
    yield Because(text=explain(node), measured=None if reason.actual is None or not _happens(node) else reason.actual, last=last)


def _happens(node: n.Node) -> bool:
    """Return whether a clause is about events, so that how many and when says more than the clause."""
    return any(isinstance(part, n.Aggregate | n.Did | n.Sequence) for part in n.walk(node))


def said_of(event: str) -> str:
    """Return what an event of this type says that somebody did, to follow their name."""
    words = _SAID.get(event) or event_words(event, None)
    return f"did{words.removeprefix('done')}" if words.startswith("done ") else words  # said without "has"


def _full(first: str | None, last: str | None) -> str | None:
    return " ".join(part for part in (first, last) if part) or None


def _gaps(person: Profile, said: Mapping[str, str], count: int) -> Iterator[str]:
    yield from (words for name, words in _WANTED.items() if name not in said and not (name == "first_name" and "name" in said))
    if "email/marketing" not in person.consents:
        yield "whether they agree to marketing e-mail"
    if count == 0:
        yield "anything they did"


def _no_model() -> InvalidInput:
    return InvalidInput(
        "No language model is set up.", hint=f"Set {PREFIX}LLM_URL and {KEY_VARIABLE}; see docs/reference/settings.md."
    )
