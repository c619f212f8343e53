"""Measuring tone: how formal, warm, long and easy to read a text is, and how far two texts are apart.

Reading ease is Flesch's, in the form that was fitted for each language; the word list of the language holds the constants and
names who found them. The other scales are our own and are described at ``Tone``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final, Literal

import msgspec

from tailorbird.content.masking import mask
from tailorbird.content.wordlists import Words, words_of

__all__ = ["DIMENSIONS", "Distance", "Gap", "Tone", "distance", "measure", "own_tone", "own_words"]

Dimension = Literal["formality", "warmth", "length", "ease"]
DIMENSIONS: Final[tuple[Dimension, ...]] = ("formality", "warmth", "length", "ease")

_WEIGHTS: Final[dict[Dimension, float]] = {"formality": 0.35, "warmth": 0.25, "length": 0.2, "ease": 0.2}
_LONG: Final = 400
"""Words from which on a text counts as long as can be."""
_ENOUGH: Final = 3
"""Replies from which on a person's own tone is taken as known."""
_NOTICED: Final = 0.15
"""A gap that people notice; smaller ones are not spoken of."""
_MOST: Final = 200_000
"""Characters that are looked at."""
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_SENTENCE_END: Final = re.compile(r"[.!?…]+(?=\s|$)|\n\s*\n|\n(?=\s*[-*•])|[\ue000]+")
_EMOJI: Final = re.compile(r"[\U0001F300-\U0001FAFF\u2600-\u27BF]|(?<!\w)[:;]-?[)D(P](?!\w)")
_HISTORY: Final = re.compile(
    r"^(?:On .{5,200} wrote:|Am .{5,200} schrieb.*:|Le .{5,200} a écrit\s*:|El .{5,200} escribió:|Il .{5,200} ha scritto:"
    r"|-{2,}\s*(?:Original Message|Ursprüngliche Nachricht|Message d'origine|Mensaje original|Messaggio originale).*"
    r"|_{10,}|From: .+|-- )\s*$",
    re.MULTILINE | re.IGNORECASE,
)


class Tone(msgspec.Struct, frozen=True, kw_only=True):
    """How a text sounds. All four scales run from 0 to 1.

    ``formality``: (F + 1) / (F + C + 2), where F counts formal words, full forms that could be contracted, and half of each
    polite pronoun; C counts casual words, contractions, emoji, familiar pronouns, and half of each exclamation mark. 0.5 is neutral.
    ``warmth``: 0.5 + 0.5 · b / (1 + |b|), b = (warm words + pronouns of near ÷ 4 + exclamation marks ÷ 2 − 1.5 · cold words) ÷
    (1 + sentences ÷ 4). 0.5 is neutral.
    ``length``: log(1 + words) / log(401), at most 1, which 400 words reach.
    ``ease``: ``flesch`` ÷ 100 between 0 and 1; for a text without words 0.5.
    ``flesch`` is the reading ease itself (about 0: very hard, 100: very easy), None without words.
    ``basis`` is of how many texts this is the mean. ``language`` is the word list that was used, None when there is none, and
    then only ``length`` says something.
    """

    formality: float
    warmth: float
    length: float
    ease: float
    flesch: float | None
    words: float
    sentences: float
    language: str | None
    basis: int = 1


class Gap(msgspec.Struct, frozen=True):
    """One dimension: the draft's value, the person's own, and their difference (above 0: the draft has more of it)."""

    dimension: Dimension
    draft: float
    own: float
    gap: float


class Distance(msgspec.Struct, frozen=True):
    """How far a draft is from the person's own tone: 0 the same, 1 as far as can be; gaps, widest first; what to do about it."""

    distance: float
    gaps: tuple[Gap, ...]
    advice: str


def measure(text: str, language: str = "en", *, html: bool = False) -> Tone:
    """Return the tone of a text; addresses, code, markup and quotations in it do not count.

    >>> tone = measure("Hey Ann! Thanks a lot, that's awesome :)")
    >>> tone.formality < 0.2, tone.warmth > 0.6, tone.words
    (True, True, 7.0)
    """
    prose = mask(text[:_MOST], html=html).text
    found = _WORD.findall(prose)
    count = len(found)
    sentences = max(1, sum(1 for part in _SENTENCE_END.split(prose) if _WORD.search(part))) if count else 0
    words = words_of(language)
    length = min(1.0, math.log1p(count) / math.log1p(_LONG))
    if words is None or count == 0:
        return Tone(
            formality=0.5, warmth=0.5, length=_rounded(length), ease=0.5, flesch=None, words=float(count),
            sentences=float(sentences), language=words.language if words else None,
        )  # fmt: skip
    flesch = _flesch(found, sentences, words)
    return Tone(
        formality=_rounded(_formality(prose, words)),
        warmth=_rounded(_warmth(prose, sentences, words)),
        length=_rounded(length),
        ease=_rounded(min(1.0, max(0.0, flesch / 100))),
        flesch=round(flesch, 1),
        words=float(count),
        sentences=float(sentences),
        language=words.language,
    )


def own_words(reply: str) -> str:
    """Return what a person wrote in a reply themselves: without what they quote, and without the signature's marker.

    >>> own_words("Sure, go ahead.\\n\\nOn Mon, Ann wrote:\\n> Shall we?")
    'Sure, go ahead.'
    """
    found = _HISTORY.search(reply)
    kept = reply[: found.start()] if found is not None and found.start() > 0 else reply
    return "\n".join(line for line in kept.splitlines() if not line.lstrip().startswith(">")).strip()


def own_tone(replies: Iterable[str], language: str = "en") -> Tone | None:
    """Return the mean tone of what a person wrote; ``basis`` is how many replies had words. None when none had."""
    tones = [tone for tone in (measure(own_words(reply), language) for reply in replies) if tone.words]
    if not tones:
        return None
    easy = [tone.flesch for tone in tones if tone.flesch is not None]
    return Tone(
        formality=_mean([tone.formality for tone in tones]),
        warmth=_mean([tone.warmth for tone in tones]),
        length=_mean([tone.length for tone in tones]),
        ease=_mean([tone.ease for tone in tones]),
        flesch=round(sum(easy) / len(easy), 1) if easy else None,
        words=_mean([tone.words for tone in tones]),
        sentences=_mean([tone.sentences for tone in tones]),
        language=tones[0].language,
        basis=len(tones),
    )


def distance(draft: Tone, own: Tone) -> Distance:
    """Return how far a draft is from a person's own tone, and a sentence of advice.

    The distance is the mean of the absolute gaps, weighted 0.35 formality, 0.25 warmth, 0.2 length, 0.2 reading ease.
    """
    gaps = [
        Gap(name, getattr(draft, name), getattr(own, name), _rounded(getattr(draft, name) - getattr(own, name)))
        for name in DIMENSIONS
    ]
    gaps.sort(key=lambda gap: (-abs(gap.gap), gap.dimension))
    total = sum(_WEIGHTS[gap.dimension] * abs(gap.gap) for gap in gaps)
    return Distance(_rounded(total), tuple(gaps), _advice(gaps, own))


_TOO_MUCH: Final[dict[Dimension, tuple[str, str]]] = {
    "formality": ("more formal", "use contractions and a plain greeting"),
    "warmth": ("warmer", "tone down the enthusiasm"),
    "length": ("longer", "cut it to what they need to answer"),
    "ease": ("simpler", "longer sentences will not put them off"),
}
_TOO_LITTLE: Final[dict[Dimension, tuple[str, str]]] = {
    "formality": ("more casual", "write words out and greet them properly"),
    "warmth": ("cooler", "thank them or say something kind"),
    "length": ("shorter", "there is room for a little more"),
    "ease": ("harder to read", "use shorter sentences and shorter words"),
}


def _advice(gaps: Sequence[Gap], own: Tone) -> str:
    noticed = [gap for gap in gaps if abs(gap.gap) >= _NOTICED][:2]
    if noticed:
        told = [(_TOO_MUCH if gap.gap > 0 else _TOO_LITTLE)[gap.dimension] for gap in noticed]
        said = f"The draft is {' and '.join(how for how, _ in told)} than what they write: {', and '.join(what for _, what in told)}."
    else:
        said = "The draft sounds much as they write themselves."
    if own.basis < _ENOUGH:
        replies = "one reply" if own.basis == 1 else f"{own.basis} replies"
        said += f" This rests on {replies} only."
    return said


def _mean(values: Sequence[float]) -> float:
    return _rounded(sum(values) / len(values))


def _rounded(value: float) -> float:
    return round(value, 3)


def _formality(prose: str, words: Words) -> float:
    lists = _lists(words.language)
    low = prose.casefold().replace("’", "'")
    shouts = len(re.findall(r"!+", prose))
    formal = _count(lists["formal"], low) + _count(lists["full"], low) + 0.5 * _count(lists["polite"], prose)
    casual = (
        0.5 * shouts
        + len(_EMOJI.findall(prose))
        + _count(lists["casual"], low)
        + _count(lists["short"], low)
        + _count(lists["familiar"], low)
    )
    return (formal + 1) / (formal + casual + 2)


def _warmth(prose: str, sentences: int, words: Words) -> float:
    lists = _lists(words.language)
    low = prose.casefold().replace("’", "'")
    warm = _count(lists["warm"], low) + 0.25 * _count(lists["near"], low) + 0.5 * len(re.findall(r"!+", prose))
    balance = (warm - 1.5 * _count(lists["cold"], low)) / (1 + sentences / 4)
    return 0.5 + 0.5 * balance / (1 + abs(balance))


def _count(pattern: re.Pattern[str] | None, text: str) -> int:
    return 0 if pattern is None else sum(1 for _ in pattern.finditer(text))


@cache
def _lists(language: str) -> dict[str, re.Pattern[str] | None]:
    """Return a pattern for each list of a language; ``full`` and ``short`` are the two sides of its contractions."""
    words = words_of(language)
    assert words is not None
    pairs = [pair for family in words.contractions for pair in family.words.items()]
    short = {text.casefold() for _, text in pairs}
    formal, casual = set(words.tone.formal), set(words.tone.casual)
    full = {text.casefold() for text, _ in pairs if "want to" not in text} - formal - {"going to", "got to", "let me", "give me"}
    lists = {
        "formal": formal, "casual": casual - short, "warm": words.tone.warm, "cold": words.tone.cold, "near": words.tone.near,
        "familiar": words.tone.familiar, "full": full if any("'" in s for s in short) else (), "short": short,
    }  # fmt: skip
    found = {name: _any({text.casefold() for text in texts}) for name, texts in lists.items()}
    polite = (
        words.tone.polite
    )  # Sie and Lei are polite with a capital only, and then at the beginning of a sentence nobody can tell
    found["polite"] = _any(set(polite), exact=any(text[:1].isupper() for text in polite))
    return found


def _any(texts: set[str], *, exact: bool = True) -> re.Pattern[str] | None:
    if not texts:
        return None
    either = "|".join(re.escape(text) for text in sorted(texts, key=lambda text: (-len(text), text)))
    return re.compile(rf"(?<![\w'’])(?:{either})(?![\w])", 0 if exact else re.IGNORECASE)


def _flesch(found: Sequence[str], sentences: int, words: Words) -> float:
    base, per_sentence, per_word = words.tone.ease
    syllables = sum(_syllables(word.casefold(), words) for word in found)
    return base - per_sentence * len(found) / sentences - per_word * syllables / len(found)


def _syllables(word: str, words: Words) -> int:
    """Return how many syllables a word about has: its groups of vowels, without a silent end (``table`` keeps its own)."""
    groups, inside = 0, False
    for letter in word:
        vowel = letter in words.tone.vowels
        groups += vowel and not inside
        inside = vowel
    last = word[-1:]
    if groups > 1 and last and last in words.tone.silent and word[-2:-1] not in words.tone.vowels and word[-2:] != "le":
        groups -= 1
    return max(1, groups)
