"""Text into tokens; whatever cannot be read is noted as a mistake and reading goes on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from tailorbird.errors import Mistake, Span
from tailorbird.expr.limits import MAX_MISTAKES, MAX_NUMBER
from tailorbird.expr.read import parse_time
from tailorbird.expr.units import duration_of, percent_of

__all__ = ["RESERVED", "Token", "TokenKind", "tokenize", "unit_hint"]

RESERVED: Final = frozenset(
    {"and", "or", "not", "in", "is", "has", "contains", "starts", "ends", "where", "within", "true", "false", "now"}
)
"""Words that are never a name; a name spelled like one is written in backquotes."""


class TokenKind(Enum):
    """What a token is."""

    NUMBER = auto()
    PERCENT = auto()
    DURATION = auto()
    INSTANT = auto()
    TEXT = auto()
    NAME = auto()  # a bare word, reserved or not
    QUOTED = auto()  # a name in backquotes
    SIGN = auto()
    BROKEN = auto()  # already reported; stands for a value
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A token: ``text`` is the word or sign, ``value`` what a literal means, ``span`` where it stands."""

    kind: TokenKind
    text: str
    span: Span
    value: float | int | str = ""

    def is_sign(self, *signs: str) -> bool:
        """Tell whether the token is one of these signs."""
        return self.kind is TokenKind.SIGN and self.text in signs

    def is_word(self, *words: str) -> bool:
        """Tell whether the token is one of these bare words."""
        return self.kind is TokenKind.NAME and self.text in words


_SPACE: Final = re.compile(r"(?:\s+|#[^\n]*)+")
_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt][\w:.]*(?:[+-][0-9]{2}:[0-9]{2})?)?")
_NUMBER: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(%|\w*)")
_NAME: Final = re.compile(r"[^\W\d]\w*")
_SIGNS: Final = re.compile(r"<=|>=|!=|[=<>+\-*/(),.\[\]]")
_FOREIGN: Final = {
    "===": "=", "==": "=", "!==": "!=", "<>": "!=", "=>": ">=", "=<": "<=", "≥": ">=", "≤": "<=", "≠": "!=", "−": "-",
    "–": "-", "×": "*", "÷": "/", "&&": "and", "&": "and", "||": "or", "|": "or", "!": "not", "~": "not",
}  # fmt: skip
_FOREIGN_SIGN: Final = re.compile(r"===|!==|==|<>|=>|=<|≥|≤|≠|−|–|×|÷|&&?|\|\|?|!(?!=)|~")
_CURLY: Final = {"“": "”", "„": "“”", "«": "»", "‘": "’", "”": "”", "’": "’"}
_SIMPLE_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "`": "`", "\\": "\\", "/": "/"}
_UNICODE_ESCAPE: Final = re.compile(r"u(?:([0-9a-fA-F]{4})|\{([0-9a-fA-F]{1,6})\})")
_UNIT_WORDS: Final = {
    "millisecond": "ms", "msec": "ms", "second": "s", "sec": "s", "minute": "m", "min": "m", "hour": "h", "hr": "h",
    "day": "d", "week": "w", "wk": "w",
}  # fmt: skip


def unit_hint(count: str, unit: str) -> str:
    """Return how to write a duration that somebody wrote as ``count unit``; empty when the unit means nothing.

    >>> unit_hint("7", "days"), unit_hint("2", "months"), unit_hint("3", "apples")
    ('write 7d', 'months and years differ in length: say it in days, for example 60d', '')
    """
    word = unit.lower()
    word = word.removesuffix("s") if len(word) > 2 else word
    if word in ("month", "mon", "mo", "y", "yr", "year", "quarter"):
        days = 365 if word.startswith("y") else 91 if word == "quarter" else 30
        whole = int(count) if count.isdigit() and len(count) < 5 else 1
        return f"months and years differ in length: say it in days, for example {whole * days}d"
    short = _UNIT_WORDS.get(word) or (word if word in ("ms", "s", "m", "h", "d", "w") else "")
    return f"write {count}{short}" if short else ""


def tokenize(text: str) -> tuple[list[Token], list[Mistake]]:
    """Return the tokens of the text, the last one ``END``, and every mistake found on the way."""
    reading = _Reading(text)
    reading.run()
    return reading.tokens, reading.mistakes


class _Reading:
    """One pass over a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.tokens: list[Token] = []
        self.mistakes: list[Mistake] = []

    def run(self) -> None:
        while True:
            blank = _SPACE.match(self.text, self.place)
            if blank:
                self.place = blank.end()
            if self.place >= len(self.text) or len(self.mistakes) >= MAX_MISTAKES:
                self.put(TokenKind.END, self.place)
                return
            self.one(self.text[self.place])

    def one(self, letter: str) -> None:
        if letter in "\"'`":
            self.quoted(letter)
        elif letter in _CURLY:
            self.curly(letter)
        elif letter in "0123456789":
            self.number()
        elif name := _NAME.match(self.text, self.place):
            self.word(name.end())
        elif foreign := _FOREIGN_SIGN.match(self.text, self.place):
            self.foreign(foreign.group(), foreign.end())
        elif sign := _SIGNS.match(self.text, self.place):
            self.put(TokenKind.SIGN, sign.end())
        else:
            end = self.place + 1
            self.fail("unexpected_character", f"the character {letter!r} has no meaning here", self.place, end)
            self.place = end

    def put(self, kind: TokenKind, end: int, value: float | int | str = "", text: str | None = None) -> None:
        word = self.text[self.place : end] if text is None else text
        self.tokens.append(Token(kind, word, Span(self.place, end), value))
        self.place = end

    def fail(self, code: str, message: str, start: int, end: int, hint: str = "") -> None:
        self.mistakes.append(Mistake(code, message, hint, Span(start, end)))

    def word(self, end: int) -> None:
        word = self.text[self.place : end]
        if word not in RESERVED and word.lower() in RESERVED and (word.isupper() or word.istitle()) and not self.after_dot():
            self.fail("unknown_word", f"{word} is written in small letters", self.place, end, f"write {word.lower()}")
            word = word.lower()
        self.put(TokenKind.NAME, end, text=word)

    def after_dot(self) -> bool:
        return bool(self.tokens) and self.tokens[-1].is_sign(".")

    def foreign(self, sign: str, end: int) -> None:
        ours = _FOREIGN[sign]
        self.fail("unknown_operator", f"{sign} is not an operator of this language", self.place, end, f"write {ours}")
        self.put(TokenKind.NAME if ours.isalpha() else TokenKind.SIGN, end, text=ours)

    def number(self) -> None:
        date = _INSTANT.match(self.text, self.place)
        if date:
            self.instant(date.group(), date.end())
            return
        found = _NUMBER.match(self.text, self.place)
        assert found is not None
        digits, tail, end = found.group(1), found.group(2), found.end()
        if tail and tail != "%":
            self.duration(digits, tail, end)
            return
        try:
            value = percent_of(digits) if tail else float(digits)
        except ValueError:
            self.fail("bad_number", "a percentage has no exponent", self.place, end, "write 10% or 0.1")
            self.put(TokenKind.BROKEN, end)
            return
        if abs(value) > MAX_NUMBER:
            self.fail("bad_number", "this number is too large", self.place, end, "constants go up to 1e15")
        self.put(TokenKind.PERCENT if tail else TokenKind.NUMBER, end, value)

    def duration(self, digits: str, tail: str, end: int) -> None:
        value = duration_of(digits + tail)
        if value is not None:
            self.put(TokenKind.DURATION, end, value)
            return
        whole = digits + tail
        hint = unit_hint(digits, tail) or "the units are ms s m h d w, as in 30s, 12h, 7d or 1d12h"
        if "." in digits:
            hint = "durations are whole numbers: write 36h or 1d12h for a day and a half"
        message = f"{whole} is not a duration"
        if re.fullmatch(r"(?:[0-9]+(?:ms|[smhdw]))+", whole):
            message, hint = f"{whole[:40]} is too long a duration", "durations go up to 11500000d"
        self.fail("bad_duration", message, self.place, end, hint)
        self.put(TokenKind.BROKEN, end)

    def instant(self, word: str, end: int) -> None:
        value = parse_time(word)
        if value is None:
            hint = "write a real date such as 2026-01-31, or a time such as 2026-01-31T10:00:00Z; years 1000 to 2999"
            self.fail("bad_time", f"{word[:60]} is not a date or time", self.place, end, hint)
            self.put(TokenKind.BROKEN, end)
            return
        self.put(TokenKind.INSTANT, end, value)

    def curly(self, opening: str) -> None:
        start = self.place
        ends = [found for closing in _CURLY[opening] if (found := self.text.find(closing, start + 1)) >= 0]
        line = self.text.find("\n", start)
        stop = line if line >= 0 else len(self.text)
        end = min(ends) if ends and min(ends) < stop else stop
        self.fail("typographic_quotes", f"{opening} does not begin a text", start, start + 1, 'use straight quotes: "…"')
        value = self.text[start + 1 : end]
        self.put(TokenKind.TEXT, min(end + 1, len(self.text)) if end != stop else end, value)

    def quoted(self, quote: str) -> None:
        start, place, body = self.place, self.place + 1, []
        while place < len(self.text) and self.text[place] not in (quote, "\n"):
            if self.text[place] == "\\":
                letter, place = self.escape(place)
                body.append(letter)
            else:
                body.append(self.text[place])
                place += 1
        what = "name" if quote == "`" else "text"
        if place >= len(self.text) or self.text[place] == "\n":
            self.fail("unterminated_text", f"this {what} does not end", start, place, f"close it with {quote}")
        else:
            place += 1
        value = "".join(body)
        if quote == "`" and not value:
            self.fail("empty_name", "a name cannot be empty", start, place)
        kind = TokenKind.QUOTED if quote == "`" else TokenKind.TEXT
        self.put(kind, place, value)

    def escape(self, place: int) -> tuple[str, int]:
        """Return what the escape at ``place`` stands for, and where it ends."""
        following = self.text[place + 1 : place + 2]
        if following in _SIMPLE_ESCAPES and following:
            return _SIMPLE_ESCAPES[following], place + 2
        code = _UNICODE_ESCAPE.match(self.text, place + 1)
        if code:
            point = int(code.group(1) or code.group(2), 16)
            if 0 < point < 0xD800 or 0xDFFF < point <= 0x10FFFF:
                return chr(point), code.end()
            self.fail("bad_escape", "this is not a character that text can hold", place, code.end())
            return "?", code.end()
        end = min(place + 2, len(self.text))
        hint = r"the escapes are \" \\ \n \t \r and \u00e9; a backslash itself is \\"
        self.fail("bad_escape", f"{self.text[place:end]} is not an escape", place, end, hint)
        return following if following != "\n" else "", place + 2 if following != "\n" else place + 1
