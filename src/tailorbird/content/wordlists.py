"""The word lists of a language: what is said formally, what casually, and which words tell one from the other."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final, Literal

import msgspec

from tailorbird.content.language import normalise

__all__ = ["Family", "Pair", "Tone", "Words", "languages", "words_of"]

_FOLDER: Final = "words"


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Two ways to say the same.

    Made casual, ``formal``, ``also_formal`` and ``neutral`` become ``casual``; made formal, the other way round. Of a pair
    that is ``one_way`` only that direction is taken. ``addressed``: only where a name follows (or, if false, where none
    does). ``not_before`` and ``not_after`` are neighbouring words (small letters) next to which it means something else.
    """

    formal: str
    casual: str
    also_formal: tuple[str, ...] = ()
    also_casual: tuple[str, ...] = ()
    neutral: tuple[str, ...] = ()
    one_way: Literal["formal", "casual"] | None = None
    addressed: bool | None = None
    not_before: tuple[str, ...] = ()
    not_after: tuple[str, ...] = ()


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Contractions that follow one rule: ``words`` maps the full form to the short one.

    ``next``: what has to follow before it is contracted, any ``word`` or a ``participle``; ``before``: words of which one
    has to follow, in either direction. ``not_before``, ``not_after``: neighbours next to which it is not contracted.
    """

    words: dict[str, str]
    next: Literal["word", "participle"] | None = None
    before: tuple[str, ...] = ()
    one_way: Literal["formal", "casual"] | None = None
    not_before: tuple[str, ...] = ()
    not_after: tuple[str, ...] = ()


class Tone(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Words and phrases (small letters) that tell the tone, and how reading ease is computed.

    Reading ease is ``ease[0] − ease[1] · words per sentence − ease[2] · syllables per word``; ``source`` names who found it.
    """

    formal: tuple[str, ...] = ()
    casual: tuple[str, ...] = ()
    warm: tuple[str, ...] = ()
    cold: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    """Pronouns of speaker and listener, by which people speak to each other."""
    polite: tuple[str, ...] = ()
    """Pronouns that keep a distance (Sie, vous, usted, Lei)."""
    familiar: tuple[str, ...] = ()
    """Pronouns among friends (du, tu)."""
    ease: tuple[float, float, float] = (206.835, 1.015, 84.6)
    source: str = ""
    vowels: str = "aeiouy"
    silent: str = ""
    """Letters at the end of a word that are not heard."""


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything known of one language."""

    language: str
    greeting: tuple[Pair, ...] = ()
    thanks: tuple[Pair, ...] = ()
    signoff: tuple[Pair, ...] = ()
    contractions: tuple[Family, ...] = ()
    participles: tuple[str, ...] = ()
    participle_endings: tuple[str, ...] = ()
    tone: Tone = Tone()


@cache
def languages() -> tuple[str, ...]:
    """Return the languages that there are word lists for."""
    folder = files("tailorbird.content").joinpath(_FOLDER)
    return tuple(sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")))


def words_of(language: str) -> Words | None:
    """Return the word lists that hold for a language tag (``en-GB`` reads those of ``en``), or None.

    >>> words_of("en-GB").language, words_of("tlh")
    ('en', None)
    """
    base = normalise(language).partition("-")[0]
    return _read(base) if base in languages() else None


@cache
def _read(base: str) -> Words:
    import yaml  # here, because reading starts with the first text that is restyled or measured

    text = files("tailorbird.content").joinpath(_FOLDER, f"{base}.yaml").read_text(encoding="utf-8")
    # Every scalar is read as text first: to YAML `on` and `no` are truth values, to us they are words.
    return msgspec.convert(yaml.load(text, yaml.BaseLoader), Words, strict=False)
