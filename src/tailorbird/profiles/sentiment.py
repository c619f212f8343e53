"""The sentiment of a reply: an English lexicon, offline; for other languages there is none.

The lexicon and its rules are VADER (Hutto and Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis
of Social Media Text"); a compound score of 0.05 and more is positive, of -0.05 and less negative, as its authors say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from tailorbird.core.event import Json

__all__ = ["Sentiment", "looks_english", "scored", "sentiment"]

_EDGE: Final = 0.05
_MOST: Final = 5_000
"""How many characters of a reply are looked at."""
_FIELDS: Final = ("text", "body", "content", "message")
_WORD: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_ENGLISH_WORDS: Final = (
    "the a an and or but not no is are was were be been i you he she it we they me my your our this that these those to of in "
    "for with on at from as by have has had do does did will would can could should please thanks thank yes so if what when how "
    "i'm it's don't can't let's very just about"
)
_OTHER_WORDS: Final = (
    "der die das und oder aber nicht ist sind ich du er sie es wir ihr mein dein ein eine zu von mit auf für bitte danke ja nein "
    "le la les des et ou mais pas est sont je tu il elle nous vous mon votre un une de du pour avec sur merci oui non "
    "el los las y o pero es son yo usted nosotros mi su del para con por gracias si que lo no me "
    "il gli e ma non sono io noi mio suo di per con grazie che het een en niet ik jij wij van voor met op dank "
    "os e mas não são eu nós meu seu do da para com por obrigado obrigada sim"
)
# What is a word of English and of another language says nothing.
_ENGLISH: Final = frozenset(_ENGLISH_WORDS.split()) - frozenset(_OTHER_WORDS.split())
_OTHERS: Final = frozenset(_OTHER_WORDS.split()) - frozenset(_ENGLISH_WORDS.split())


class Sentiment(NamedTuple):
    """How a text sounds: ``score`` from -1 to 1, and its label: positive, neutral or negative."""

    score: float
    label: str


def sentiment(text: str, language: str | None = None) -> Sentiment | None:
    """Return how an English text sounds; None for another language, for an empty text, and without the extra ``content``.

    ``language`` is a BCP 47 tag where it is known; else the text has to look English.

    >>> sentiment("Vielen Dank, das ist sehr gut!"), sentiment("Great", "de")
    (None, None)
    """
    text = text.strip()[:_MOST]
    if not text or (not looks_english(text) if language is None else language.lower().replace("_", "-").split("-")[0] != "en"):
        return None
    analyser = _analyser()
    if analyser is None:
        return None
    score = float(analyser.polarity_scores(text)["compound"])
    return Sentiment(score, "positive" if score >= _EDGE else "negative" if score <= -_EDGE else "neutral")


def looks_english(text: str) -> bool:
    """Return whether the small words of a text are English; a few words without any are taken for English when plain ASCII.

    >>> looks_english("Sounds good, thanks!"), looks_english("C'est une bonne idée, merci"), looks_english("Perfect!")
    (True, False, True)
    """
    words = [word.lower() for word in _WORD.findall(text)]
    ours = sum(word in _ENGLISH for word in words)
    theirs = sum(word in _OTHERS for word in words)
    if ours or theirs:
        return ours > theirs
    return bool(words) and len(words) <= 4 and text.isascii()


def scored(data: Mapping[str, Json], language: Json = None) -> dict[str, Json]:
    """Return a reply's data with ``sentiment`` and ``sentiment_score``, which stay with the event for ever.

    Data that says a sentiment itself, or whose text has none, is returned as it is. ``language`` is the person's.
    """
    text = next((data[name] for name in _FIELDS if isinstance(data.get(name), str)), None)
    if text is None or "sentiment" in data:
        return dict(data)
    said = data.get("language", language)
    found = sentiment(text, said if isinstance(said, str) else None)
    return dict(data) if found is None else {**data, "sentiment": found.label, "sentiment_score": found.score}


@lru_cache(maxsize=1)
def _analyser() -> Any:
    """Return the lexicon, read once; None when it is not installed."""
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ModuleNotFoundError:
        return None
    return SentimentIntensityAnalyzer()
