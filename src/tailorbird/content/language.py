"""Choosing a language: a person's preferences against what there is, by BCP 47 lookup, with an explicit fallback chain.

Source: RFC 4647, section 3.4 (lookup): a tag is shortened from its end until something matches.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

__all__ = ["Choice", "Coverage", "Portion", "Why", "choose", "coverage", "is_tag", "normalise", "shortened"]

Why = Literal["exact", "broader", "narrower", "fallback", "only", "none"]
"""How a language was found: as preferred (``fr-CA``), wider (``fr``), of another region (``fr-FR``), from the chain, at last resort."""

_TAG: Final = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,7}\Z")
_MOST: Final = 64
"""Characters of the longest tag that is looked at."""


class Choice(msgspec.Struct, frozen=True):
    """The language that was chosen, as it is written in what there is (None: there is nothing), and the reason in a clause.

    ``how`` says the same for programs; ``wanted`` is the preference that led to it, None when none did.
    """

    language: str | None
    reason: str
    how: Why = "none"
    wanted: str | None = None


class Portion(msgspec.Struct, frozen=True):
    """How many people get a language, and for which reasons."""

    language: str | None
    people: int
    reasons: dict[str, int]


class Coverage(msgspec.Struct, frozen=True):
    """Which of ``people`` get which language, most first; ``unmet`` is how many get none of what they prefer."""

    people: int
    portions: tuple[Portion, ...]
    unmet: int


def is_tag(text: str) -> bool:
    """Return whether a text has the form of a language tag.

    >>> is_tag("zh-Hant-TW"), is_tag("french please")
    (True, False)
    """
    return len(text) <= _MOST and _TAG.match(text) is not None


def normalise(tag: str) -> str:
    """Return a tag as RFC 5646 (2.1.1) writes it; ``_`` counts as ``-``, and what is no tag becomes empty.

    >>> normalise("FR_ca"), normalise("zh-hant-tw"), normalise(" en "), normalise("fr_FR.UTF-8"), normalise("??")
    ('fr-CA', 'zh-Hant-TW', 'en', 'fr-FR', '')
    """
    text = tag.strip().partition(".")[0].partition("@")[0].replace("_", "-")
    if not is_tag(text):
        return ""
    first, *rest = text.split("-")
    return "-".join([first.lower(), *(_subtag(part) for part in rest)])


def _subtag(part: str) -> str:
    if len(part) == 2 and part.isalpha():
        return part.upper()
    if len(part) == 4 and part.isalpha():
        return part.capitalize()
    return part.lower()


def shortened(tag: str) -> Iterator[str]:
    """Yield a normalised tag, then ever wider ones; a single letter goes with what it introduces.

    >>> list(shortened("zh-Hant-TW")), list(shortened("de-x-formal"))
    (['zh-Hant-TW', 'zh-Hant', 'zh'], ['de-x-formal', 'de'])
    """
    parts = tag.split("-")
    while parts:
        yield "-".join(parts)
        parts.pop()
        while parts and len(parts[-1]) == 1:
            parts.pop()


def choose(preferred: Sequence[str], available: Collection[str], chain: Sequence[str] = ()) -> Choice:
    """Return which of the available languages a person gets.

    Each preference in turn is looked for as it is, then wider (``fr-CA``, ``fr``), then in another region of the same
    language (``fr-FR``; never in another script). When none of them leads anywhere the chain is gone through in the same
    way; a chain of ``()`` means that nothing else will do, and the choice is None unless no preference was given at all
    and there is one language only.

    >>> choose(["fr-CA"], ["en", "fr"], ["en"])
    Choice(language='fr', reason='prefers fr-CA; fr is the nearest there is', how='broader', wanted='fr-CA')
    >>> choose(["pl"], ["en", "de"], ["en"]).reason
    'there is nothing in pl; en is the fallback'
    """
    there = _spelled(available)
    asked = [tag for tag in map(normalise, preferred) if tag]
    for want in asked:
        found, how = _lookup(want, there)
        if found is not None:
            why = f"prefers {want}" if how == "exact" else f"prefers {want}; {found} is the nearest there is"
            return Choice(found, why, how, want)
    lacking = f"there is nothing in {_either(asked)}" if asked else "no preference is known"
    for want in filter(None, map(normalise, chain)):
        found, _ = _lookup(want, there)
        if found is not None:
            return Choice(found, f"{lacking}; {found} is the fallback", "fallback")
    if not asked and len(there) == 1:
        only = next(iter(there.values()))
        return Choice(only, f"{lacking}; {only} is all there is", "only")
    return Choice(None, f"{lacking}, and no fallback fits" if there else "there is nothing to choose from")


def coverage(preferences: Mapping[str | None, int], available: Collection[str], chain: Sequence[str] = ()) -> Coverage:
    """Return which of N people get which language; ``preferences`` counts people by preferred language (None or ``""``: unknown).

    >>> found = coverage({"fr-CA": 2, "pl": 1, None: 4}, ["en", "fr"], ["en"])
    >>> [(p.language, p.people) for p in found.portions], found.unmet
    ([('en', 5), ('fr', 2)], 1)
    """
    people: Counter[str | None] = Counter()
    reasons: dict[str | None, Counter[str]] = {}
    unmet = 0
    for preference, count in preferences.items():
        found = choose([preference] if preference else [], available, chain)
        people[found.language] += count
        reasons.setdefault(found.language, Counter())[found.reason] += count
        if preference and normalise(preference) and found.wanted is None:
            unmet += count
    ranked = sorted(people.items(), key=lambda item: (-item[1], item[0] or ""))
    portions = tuple(Portion(name, count, dict(reasons[name].most_common())) for name, count in ranked)
    return Coverage(sum(people.values()), portions, unmet)


def _spelled(available: Collection[str]) -> dict[str, str]:
    """Return normalised tag -> the tag as it is written, in the order given (sorted for what has none)."""
    ordered = available if isinstance(available, Sequence | Mapping) else sorted(available)
    found: dict[str, str] = {}
    for tag in ordered:
        found.setdefault(normalise(tag), tag)
    found.pop("", None)
    return found


def _lookup(want: str, there: Mapping[str, str]) -> tuple[str | None, Why]:
    for place, tag in enumerate(shortened(want)):
        if tag in there:
            return there[tag], "exact" if place == 0 else "broader"
    base, script = want.partition("-")[0], _script(want)
    for tag, spelled in there.items():
        if tag.partition("-")[0] == base and (script is None or _script(tag) in (None, script)):
            return spelled, "narrower"
    return None, "none"


def _script(tag: str) -> str | None:
    return next((part for part in tag.split("-")[1:] if len(part) == 4 and part.isalpha()), None)


def _either(tags: Sequence[str]) -> str:
    return tags[0] if len(tags) == 1 else f"{', '.join(tags[:-1])} or {tags[-1]}"
