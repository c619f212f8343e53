"""The narrative: why a person is in their segments and what to say to them, in prose, from facts alone.

The deterministic writer is a function of the facts. A language model may write instead; what it writes is held against the
facts, and where it says a number or a name that is not among them, the deterministic writer's text is given, and that is said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from tailorbird.content.language import normalise
from tailorbird.content.supported import unsupported
from tailorbird.core.context import DAY
from tailorbird.ports import LanguageModel, NoAnswer

__all__ = ["Because", "Facts", "Interaction", "Narrative", "SegmentFact", "date_words", "write", "write_with"]


class Because(msgspec.Struct, frozen=True):
    """One clause that holds: in words (``has viewed a page at least 3 times in the last 7 days``), and what was measured.

    Words that begin with a verb (has, is, does) are about the person; others are a statement of their own.
    """

    text: str
    measured: str | None = None
    last: int | None = None
    """When the latest event behind it happened (ms)."""


class SegmentFact(msgspec.Struct, frozen=True, kw_only=True):
    """A segment somebody is in: since when (ms), why, and until when with no new event (ms; None: for good)."""

    name: str
    description: str | None = None
    since: int | None = None
    because: tuple[Because, ...] = ()
    until: int | None = None


class Interaction(msgspec.Struct, frozen=True, kw_only=True):
    """Something the person did or met with: event type, when (ms), in words (``opened an e-mail``, ``was sent an e-mail``)."""

    type: str
    at: int
    words: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that a narrative may say. ``at`` is the instant (ms) it is told; ``interactions`` are newest first.

    ``count`` is how many interactions there are in all. ``consents`` maps ``channel/purpose`` to given or withdrawn. ``gaps``
    are what is not known of them, in words. ``suggested`` is what to offer, where rules say so; ``features`` are named values.
    """

    id: str
    at: int
    first_name: str | None = None
    name: str | None = None
    company: str | None = None
    title: str | None = None
    status: str | None = None
    language: str | None = None
    style: str | None = None
    channel: str | None = None
    segments: tuple[SegmentFact, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    count: int = 0
    features: dict[str, str | float | bool | None] = {}
    consents: dict[str, bool] = {}
    suggested: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    optin: bool | None = None
    """Whether they agreed to marketing over any channel, where that was judged."""


class Narrative(msgspec.Struct, frozen=True, kw_only=True):
    """The text, who wrote it (``rules`` or ``model``), and what the reader should know about that (empty: nothing)."""

    text: str
    author: Literal["rules", "model"]
    note: str = ""
    language: str = "en"


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model answers with: two paragraphs."""

    why: str
    say: str


_ABOUT_THEM: Final = ("has ", "is ", "does ", "was ", "have ", "did ", "for ")
_NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_PLAIN_NAME: Final = re.compile(r"[a-z][a-z0-9_.]* (?:is|has|contains|starts|ends|does) ")
_MOST_SEGMENTS: Final = 6
_MOST_CLAUSES: Final = 4
_MOST_LETTERS: Final = 4_000
_TASK: Final = (
    "You write for a salesperson, in English, about one contact. You get facts as JSON. In `why` (one paragraph) explain why the "
    "contact is in these segments. In `say` (one paragraph) say how to approach them now: channel, tone, language, what to open with. "
    "Respect withdrawn consent: then propose no marketing. State nothing that is not in the facts: no number, name, product, date or "
    "offer of your own. Do not calculate. Write plain prose: no lists, no headings, no markup, no greeting."
)


def write(facts: Facts, language: str = "en") -> Narrative:
    """Return the narrative by the deterministic writer, which writes English; another ``language`` is answered so in ``note``."""
    facts = _tidy(facts)
    text = "\n\n".join(part for part in (_why(facts), _lately(facts), _say(facts)) if part)
    return Narrative(text=text, author="rules", note=_only_english(language))


def write_with(model: LanguageModel, facts: Facts, language: str = "en") -> Narrative:
    """Return the narrative that a model writes; the deterministic writer's where it fails or strays from the facts.

    The model gets the facts as JSON, with names, company and id replaced by placeholders.
    """
    facts = _tidy(facts)
    plain = write(facts, language)
    try:
        written = model.ask(_TASK, _told(facts), Written, hidden=_hidden(facts))
    except NoAnswer as problem:
        return msgspec.structs.replace(plain, note=_join(f"Written by rules, because {problem}.", plain.note))
    text = f"{written.why.strip()}\n\n{written.say.strip()}"
    strayed = _strayed(text, written, facts, plain.text)
    if strayed:
        return msgspec.structs.replace(plain, note=_join(f"Written by rules, because {strayed}.", plain.note))
    return Narrative(text=text, author="model", note=plain.note)


def _tidy(facts: Facts) -> Facts:
    """Return the facts with names on one line and of a bearable length: they come from outside."""
    names = {name: getattr(facts, name) for name in ("first_name", "name", "company", "title", "status", "channel")}
    mended = {name: " ".join(value.split())[:200] or None for name, value in names.items() if value is not None}
    return facts if all(names[name] == value for name, value in mended.items()) else msgspec.structs.replace(facts, **mended)


def _strayed(text: str, written: Written, facts: Facts, plain: str) -> str:
    """Return what is wrong with a model's text, or nothing."""
    if not written.why.strip() or not written.say.strip():
        return "the language model left a paragraph empty"
    if len(text) > _MOST_LETTERS:
        return f"the language model wrote more than {_MOST_LETTERS} characters"
    if re.search(r"^\s*(?:[-*•#]|\d+[.)])\s|</?[a-z]|\*\*|```", text, re.MULTILINE | re.IGNORECASE):
        return "the language model wrote lists or markup"
    strange = unsupported(text, (_told(facts), plain, " ".join(_hidden(facts))))
    if strange:
        return f"the language model wrote what is not in the facts ({len(strange)} numbers or names)"
    return ""


def _told(facts: Facts) -> str:
    """Return the facts as JSON for a model, instants as dates."""
    told = msgspec.to_builtins(facts)
    told.pop("id")
    told["at"] = date_words(facts.at)
    for segment, fact in zip(told["segments"], facts.segments, strict=True):
        segment["since"], segment["until"] = (None if t is None else date_words(t) for t in (fact.since, fact.until))
        for clause in segment["because"]:
            clause["last"] = None if clause["last"] is None else date_words(clause["last"])
    for interaction in told["interactions"]:
        interaction["at"] = date_words(interaction["at"])
    return msgspec.json.encode({key: value for key, value in told.items() if value not in (None, [], {}, "")}).decode()


def _hidden(facts: Facts) -> dict[str, str]:
    """Return what identifies the person, and as what."""
    parts = {part: "PERSON" for part in (facts.name or "").split() if len(part) > 1}
    named = {facts.name: "PERSON", facts.first_name: "PERSON", facts.company: "COMPANY", facts.id: "ID"}
    return {**parts, **{value: label for value, label in named.items() if value}}


def _only_english(language: str) -> str:
    base = normalise(language).partition("-")[0]
    return "" if base in ("en", "") else f"Narratives are written in English; there is no writer for {normalise(language)}."


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


# ---- the deterministic writer


def _why(facts: Facts) -> str:
    return " ".join([_introduction(facts), *(_reason(segment, facts) for segment in facts.segments[:_MOST_SEGMENTS])])


def _introduction(facts: Facts) -> str:
    who = facts.name or facts.first_name or "This person"
    subject = f"{who}, {facts.title}," if facts.title else who
    if facts.company:
        subject = f"{who}, {facts.title} at {facts.company}," if facts.title else f"{who} of {facts.company}"
    stage = f"at the stage “{_words(facts.status)}” and " if facts.status else ""
    if not facts.segments:
        return f"{subject} is {stage}in no segment."
    count = len(facts.segments)
    names = _and([f"“{_words(item.name)}”" for item in facts.segments[:_MOST_SEGMENTS]])
    if count > _MOST_SEGMENTS:
        return f"{subject} is {stage}in {_number(count)} segments, among them {names}."
    return f"{subject} is {stage}in {_number(count)} segment{'s' * (count > 1)}, {names}."


def _reason(segment: SegmentFact, facts: Facts) -> str:
    name = f"“{_words(segment.name)}”"
    since = f" since {date_words(segment.since)}" if segment.since is not None else ""
    if not segment.because:
        by_hand = "was" if facts.first_name else "were"
        return f"{_them(facts, start=True)} {by_hand} put into {name} by hand{since.replace('since', 'on')}."
    has, is_ = ("has", "is") if facts.first_name else ("have", "are")
    lead = f"{_them(facts, start=True)} {f'{has} been in {name}{since}' if since else f'{is_} in {name}'}"
    clauses = [f"because {_clause(item, facts)}" for item in segment.because[:_MOST_CLAUSES]]
    more = len(segment.because) - _MOST_CLAUSES
    if more > 0:
        clauses.append(f"because {_number(more)} more condition{'s hold' if more > 1 else ' holds'}")
    ends = f" If nothing else happens, that ends on {date_words(segment.until)}." if segment.until is not None else ""
    return f"{lead}, {_and(clauses)}.{ends}"


def _clause(item: Because, facts: Facts) -> str:
    text = item.text.strip()
    if text.startswith(_ABOUT_THEM):
        text = f"{_them(facts)} {text if facts.first_name else _plural(text)}"
    elif _PLAIN_NAME.match(text):
        text = f"their {_words(text)}"
    notes = [_counted(item.measured)] if item.measured else []
    if item.last is not None:
        notes.append(f"{'the last' if item.measured else 'last'} on {date_words(item.last)}")
    return text + (f" ({', '.join(notes)})" if notes else "")


def _counted(measured: str) -> str:
    """Return what was measured in words: ``4 of 3`` wanted is four so far."""
    found = re.match(r"([\d,.]+) of [\d,.]+\Z", measured)
    return f"{found[1]} so far" if found else measured


def _them(facts: Facts, *, start: bool = False) -> str:
    return facts.first_name or ("They" if start else "they")


def _plural(text: str) -> str:
    first, space, rest = text.partition(" ")
    return {"has": "have", "is": "are", "does": "do", "was": "were"}.get(first, first) + space + rest


def _agreed(words: str, facts: Facts) -> str:
    return words if facts.first_name else _plural(words)


def _lately(facts: Facts) -> str:
    if not facts.interactions:
        return "Nothing is known of what they did so far."
    latest = facts.interactions[0]
    total = max(facts.count, len(facts.interactions))
    said = f"{_sentence(_ago(latest.at, facts.at))} {_them(facts)} {_agreed(latest.words, facts)}"
    said += f", the latest of {_number(total)} interactions" if total > 1 else ", the only interaction so far"
    before = list(dict.fromkeys(item.words for item in facts.interactions[1:8] if item.words != latest.words))[:3]
    return said + (f"; before that {_them(facts)} {_and([_agreed(words, facts) for words in before])}." if before else ".")


def _say(facts: Facts) -> str:
    them = facts.first_name or "them"
    withdrawn = sorted(name for name, given in facts.consents.items() if not given)
    sentences = []
    if withdrawn:
        refused = _and([_consent(name) for name in withdrawn])
        sentences.append(f"{_them(facts, start=True)} withdrew consent for {refused}: sell nothing that way.")
    if facts.optin is False and not withdrawn:
        sentences.append(
            f"{_them(facts, start=True)} {'has' if facts.first_name else 'have'} not agreed to marketing: send none."
        )
    how = _manner(facts)
    if how:
        sentences.append(f"What has to be written, write {how}." if facts.optin is False else f"Write to {them} {how}.")
    else:
        sentences.append(f"How {_them(facts)} like{'s' * bool(facts.first_name)} to be written to is not known.")
    if facts.suggested:
        sentences.append(f"What suits now: {_and([_words(item) for item in facts.suggested])}.")
    if facts.gaps:
        sentences.append(f"Not known so far: {_and(facts.gaps)}; do not write as if you knew.")
    return " ".join(sentences)


def _manner(facts: Facts) -> str:
    parts = []
    if facts.style in ("formal", "casual"):
        parts.append(f"{facts.style}ly")
    if facts.language:
        parts.append(f"in {_language(facts.language)}")
    if facts.channel:
        parts.append(f"by {_words(facts.channel)}")
    return " ".join(parts)


def _consent(name: str) -> str:
    channel, _, purpose = name.partition("/")
    return f"{_words(channel)} {_words(purpose)}".strip()


_LANGUAGES: Final = {
    "en": "English", "fr": "French", "de": "German", "es": "Spanish", "it": "Italian", "pt": "Portuguese", "nl": "Dutch",
    "pl": "Polish", "sv": "Swedish", "da": "Danish", "fi": "Finnish", "nb": "Norwegian", "ja": "Japanese", "zh": "Chinese",
    "ko": "Korean", "tr": "Turkish", "cs": "Czech", "ru": "Russian", "uk": "Ukrainian", "ar": "Arabic", "he": "Hebrew",
}  # fmt: skip


def _language(tag: str) -> str:
    found = normalise(tag)
    return _LANGUAGES.get(found.partition("-")[0], found or tag)


def _words(name: str) -> str:
    return re.sub(r"(?<=\w)[_](?=\w)", " ", name)


def _and(parts: Sequence[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _number(count: int) -> str:
    return _NUMBERS[count] if 0 <= count < len(_NUMBERS) else f"{count:,}"


def date_words(instant: int) -> str:
    """Return the day of an instant (ms) in words, in UTC.

    >>> date_words(0)
    '1 January 1970'
    """
    moment = datetime.fromtimestamp(instant / 1000, UTC)
    return f"{moment.day} {moment.strftime('%B %Y')}"


def _ago(instant: int, at: int) -> str:
    days = at // DAY - instant // DAY
    if days <= 0:
        return "today"
    if days == 1:
        return "yesterday"
    return f"{_number(days)} days ago" if days < 15 else f"on {date_words(instant)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
