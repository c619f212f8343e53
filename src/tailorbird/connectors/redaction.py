"""Replacing what identifies people by placeholders before a text leaves, and putting it back into what returns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["Redaction", "StrangePlaceholder"]

_PLACEHOLDER: Final = re.compile(r"\[[A-Z]{2,12}_\d{1,5}\]")
_PATTERNS: Final = (
    ("LINK", re.compile(r"\b(?:[a-z][a-z0-9+.-]{1,15}://|www\.)[^\s<>\"'\[\]]+", re.IGNORECASE)),
    ("EMAIL", re.compile(r"(?<![\w.+'-])[\w.+'-]+(?:@[\w-]+(?:\.[\w-]+)*)+")),
    ("IBAN", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")),
    ("ID", re.compile(r"\bp_[a-z2-7]{16}\b")),
    ("PHONE", re.compile(r"(?<![\w.,:/-])(?!\d{4}-\d{2}-\d{2})\+?\(?\d(?:[ ()./\u00a0-]{0,2}\d){6,16}(?![\w:-]|[.,]\d)")),
)
_MOST_HIDDEN: Final = 2_000


class StrangePlaceholder(ValueError):
    """An answer holds a placeholder that nothing was hidden behind."""


class Redaction:
    """What was hidden in one exchange: the same value has the same placeholder throughout.

    >>> redaction = Redaction({"Ann Lee": "PERSON"})
    >>> redaction.hide("Ann Lee (ann@shop.example, +33 6 12 34 56 78) came on 2026-01-31.")
    '[PERSON_1] ([EMAIL_1], [PHONE_1]) came on 2026-01-31.'
    >>> redaction.reveal("Write to [PERSON_1].")
    'Write to Ann Lee.'
    """

    def __init__(self, hidden: Mapping[str, str] | None = None) -> None:
        self._given: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._places: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        named = {k.strip(): v for k, v in (hidden or {}).items() if len(k.strip()) > 1}
        for value in sorted(named, key=lambda value: (-len(value), value))[:_MOST_HIDDEN]:
            self._given[value.casefold()] = named[value]
        either = "|".join(re.escape(value) for value in sorted(self._given, key=lambda value: (-len(value), value)))
        self._names = re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE) if either else None

    def hide(self, text: str) -> str:
        """Return the text with e-mail addresses, phone and account numbers, links, ids and the given values replaced."""
        # What looks like a placeholder already would be taken for one of ours on the way back.
        text = _PLACEHOLDER.sub(lambda match: self._place(match[0], "TEXT"), text)
        for label, pattern in _PATTERNS[:2]:
            text = self._sub(pattern, text, label)
        if self._names is not None:
            text = self._outside(self._names, text, lambda value: self._given.get(value.casefold(), "NAME"))
        for label, pattern in _PATTERNS[2:]:
            text = self._sub(pattern, text, label)
        return text

    def hide_all(self, value: Any) -> Any:
        """Return a JSON value with every text in it redacted, keys of objects left as they are."""
        match value:
            case str():
                return self.hide(value)
            case list() | tuple():
                return [self.hide_all(item) for item in value]
            case dict():
                return {key: self.hide_all(item) for key, item in value.items()}
            case _:
                return value

    def reveal(self, text: str) -> str:
        """Return the text with what was hidden put back; raise ``StrangePlaceholder`` for a placeholder that is not ours."""

        def back(match: re.Match[str]) -> str:
            if match[0] not in self._values:
                raise StrangePlaceholder("the answer holds a placeholder that nothing was hidden behind")
            return self._values[match[0]]

        return _PLACEHOLDER.sub(back, text)

    def reveal_all(self, value: Any) -> Any:
        """Return a JSON value with what was hidden put back into every text."""
        match value:
            case str():
                return self.reveal(value)
            case list():
                return [self.reveal_all(item) for item in value]
            case dict():
                return {key: self.reveal_all(item) for key, item in value.items()}
            case _:
                return value

    def _sub(self, pattern: re.Pattern[str], text: str, label: str) -> str:
        return self._outside(pattern, text, lambda _: label)

    def _outside(self, pattern: re.Pattern[str], text: str, label: Any) -> str:
        """Return the text with matches replaced, except inside placeholders."""
        pieces: list[str] = []
        end = 0
        for placed in _PLACEHOLDER.finditer(text):
            pieces += (pattern.sub(lambda m: self._place(m[0], label(m[0])), text[end : placed.start()]), placed[0])
            end = placed.end()
        pieces.append(pattern.sub(lambda m: self._place(m[0], label(m[0])), text[end:]))
        return "".join(pieces)

    def _place(self, value: str, label: str) -> str:
        found = self._places.get(value)
        if found is None:
            self._counts[label] += 1
            found = f"[{label}_{self._counts[label]}]"
            self._places[value] = found
            self._values[found] = value
        return found
