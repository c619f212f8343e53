"""Whether what a text states is in its sources: every number and every name in it has to occur there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from typing import Final

__all__ = ["unsupported"]

_NUMBER: Final = re.compile(r"\d+(?:[.,\u00a0 ]\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?")
_SPELLED: Final = {
    word: str(value)
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    )
} | {"thirteen": "13", "fourteen": "14", "fifteen": "15", "twenty": "20", "thirty": "30", "fifty": "50", "hundred": "100",
     "thousand": "1000", "million": "1000000", "dozen": "12", "twice": "2", "thrice": "3", "half": "0.5", "double": "2",
     "triple": "3"}  # fmt: skip
_LOOSE: Final = frozenset({"one", "half"})
"""Spelled numbers that are ordinary words as well."""
_ADDRESS: Final = re.compile(
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?:https?://|www\.)\S+|\b[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b", re.IGNORECASE
)
_WORD: Final = re.compile(r"[^\W_]+(?:[’'-][^\W_]+)*")
_START: Final = re.compile(r"(?:\A|[.!?…:]|\n)[\s\"“”'‘(\[]*\Z")
_MARK: Final = re.compile(r"[$€£¥%]")


def unsupported(text: str, sources: Iterable[str]) -> list[str]:
    """Return the numbers, names and addresses of an English text that occur in none of its sources.

    Numbers count in figures and, up to twelve and a few more, in words; ``1,200`` is ``1200``. A name is a word with a
    capital inside a sentence, in quotation marks, or at the beginning of one when it is no common English word.

    >>> unsupported("Ann bought two lamps from Zeus for $30.", ["Ann bought 2 lamps"])
    ['30', '$', 'Zeus']
    """
    known = "\n".join(sources)
    numbers, words = set(_numbers(known)), {word for found in _WORD.findall(known) for word in _forms(found)}
    low = known.casefold()
    strange = [number for number in _numbers(text) if number not in numbers]
    strange += [mark for mark in dict.fromkeys(_MARK.findall(text)) if mark not in known]
    strange += [found[0] for found in _ADDRESS.finditer(text) if found[0].casefold().rstrip(".") not in low]
    strange += [name for name in _names(text) if not any(form in words for form in _forms(name))]
    return list(dict.fromkeys(strange))


def _numbers(text: str) -> Iterator[str]:
    for found in _NUMBER.findall(text):
        yield _plain(found)
    for word in _WORD.findall(text):
        low = word.casefold()
        if low in _SPELLED and low not in _LOOSE:
            yield _SPELLED[low]


def _plain(number: str) -> str:
    """Return a number in one spelling: no separators, no zeros before or after.

    >>> _plain("1,200.50"), _plain("007"), _plain("1.0"), _plain("1,5")
    ('1200.5', '7', '1', '1.5')
    """
    text = re.sub(r"[,.\u00a0 ](?=\d{3}(?:\D|\Z))", "", number) if re.match(r"[1-9]\d{0,2}[,\u00a0 ]\d{3}", number) else number
    text = text.replace(",", ".")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.lstrip("0") or "0" if not text.startswith("0.") else text


def _names(text: str) -> Iterator[str]:
    for found in _WORD.finditer(text):
        word = found[0]
        if not any(letter.isupper() for letter in word) or word in ("I", "I'm", "I'd", "I'll", "I've"):
            continue
        if _START.search(text[max(0, found.start() - 20) : found.start()]) and _ordinary(word):
            continue
        yield word


def _ordinary(word: str) -> bool:
    """Return whether a word at the beginning of a sentence is a common one."""
    return word[1:] == word[1:].lower() and any(form in _common() for form in _forms(word))


def _forms(word: str) -> Iterator[str]:
    low = word.casefold().replace("’", "'")
    yield low
    if "'" in low:
        yield low.partition("'")[0]
    yield from (part for part in low.split("-") if part != low) if "-" in low else ()


@cache
def _common() -> frozenset[str]:
    """Return the English words that sentences begin with and that name nobody."""
    text = files("tailorbird.content").joinpath("words", "common.en.txt").read_text(encoding="utf-8")
    return frozenset(text.split())
