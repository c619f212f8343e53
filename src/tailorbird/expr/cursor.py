"""A place in a list of tokens, with what every rule of the grammar needs: look, take, expect, complain and go on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from difflib import get_close_matches

from tailorbird.errors import Mistake, Span
from tailorbird.expr.lexer import RESERVED, Token, TokenKind, unit_hint
from tailorbird.expr.limits import MAX_MISTAKES, MAX_NODES
from tailorbird.expr.nodes import Attribute, Node

__all__ = ["Cursor", "GiveUp", "close_to", "describe"]


class GiveUp(Exception):
    """Reading on is pointless: a limit was passed. Control flow inside the parser, never seen outside."""


def close_to(word: str, known: list[str] | tuple[str, ...]) -> str:
    """Return ``did you mean …?`` for the nearest known words, or nothing.

    >>> close_to("cuont", ["count", "sum"])
    'did you mean count?'
    """
    near = get_close_matches(word[:100], known, n=1, cutoff=0.75) or get_close_matches(word[:100], known, n=2, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else ""


class Cursor(ABC):
    """Walks the tokens once, from left to right; mistakes pile up in ``mistakes``."""

    def __init__(self, tokens: list[Token], mistakes: list[Mistake]) -> None:
        self.tokens = tokens
        self.mistakes = mistakes
        self.place = 0
        self.depth = 0
        self.made = 0
        self.in_where = False

    @abstractmethod
    def expression(self, strength: int = 0) -> Node:
        """Read an expression whose operators bind at least this strongly."""

    @property
    def token(self) -> Token:
        """The token to read next."""
        return self.tokens[self.place]

    def at_end(self) -> bool:
        """Tell whether everything has been read."""
        return self.token.kind is TokenKind.END

    def ahead(self, count: int = 1) -> Token:
        """Return a token further on (``END`` past the end)."""
        return self.tokens[min(self.place + count, len(self.tokens) - 1)]

    def take(self) -> Token:
        """Return the next token and step over it; ``END`` is never stepped over."""
        token = self.token
        if token.kind is not TokenKind.END:
            self.place += 1
        return token

    def since(self, start: Token) -> Span:
        """Return the span from a token to the last one taken."""
        last = self.tokens[max(self.place - 1, 0)]
        return Span(start.span.start, max(last.span.end, start.span.end))

    def fail(self, code: str, message: str, at: Token | Span, hint: str = "") -> None:
        """Note a mistake; a second one at the same place would only repeat the first."""
        span = at if isinstance(at, Span) else at.span
        if any(m.span is not None and m.span.start == span.start for m in self.mistakes):
            return
        self.mistakes.append(Mistake(code, message, hint, span))
        if len(self.mistakes) >= MAX_MISTAKES:
            raise GiveUp

    def made_one(self, span: Span) -> None:
        """Count a node; past the limit reading stops."""
        self.made += 1
        if self.made > MAX_NODES:
            self.fail("too_large", f"an expression has at most {MAX_NODES} parts", span, "split it into features and segments")
            raise GiveUp

    def hole(self, token: Token) -> Node:
        """Return a stand-in for a value that could not be read; the mistake is already noted."""
        return Attribute(("?",), span=token.span)

    def missing(self, wanted: str) -> Node:
        """Complain that a value is missing here; step over the token unless something after can use it."""
        token = self.token
        if token.kind is TokenKind.END:
            self.fail("unexpected_end", f"the text ends where {wanted} should stand", self.end_span())
            return self.hole(token)
        hint = ""
        if token.is_sign("."):
            hint = "a number begins with a digit: write 0.5"
        elif token.is_sign("["):
            hint = 'a list is written ["a", "b"]'
        elif token.is_word(*RESERVED):
            hint = f"{token.text} is a word of the language; a name spelled so is written `{token.text}`"
        self.fail("unexpected", f"{describe(token)} where {wanted} should stand", token, hint)
        return self.hole(token)

    def end_span(self) -> Span:
        """Return the span of the last token before the end, so that the caret points at something."""
        return self.tokens[self.place - 1].span if self.place and self.at_end() else self.token.span

    def accept(self, sign: str) -> bool:
        """Step over a sign if it comes next."""
        if self.token.is_sign(sign):
            self.place += 1
            return True
        return False

    def close(self, opening: Token, closing: str = ")") -> None:
        """Expect a closing sign; on anything else complain and skip to it."""
        if self.accept(closing):
            return
        token = self.token
        if token.kind is TokenKind.END:
            self.fail("not_closed", f"this {opening.text} is never closed", opening, f"add {closing}")
            return
        self.fail("unexpected", f"{describe(token)} where {closing} should stand", token, self.stray_hint())
        self.skip(closing)
        self.accept(closing)

    def stray_hint(self) -> str:
        """Guess why the next token cannot stand after a complete value."""
        token, before = self.token, self.tokens[self.place - 1] if self.place else self.token
        if before.kind is TokenKind.NUMBER and token.kind is TokenKind.NAME and (hint := unit_hint(before.text, token.text)):
            return hint
        if token.kind is TokenKind.NAME and (near := close_to(token.text, sorted(RESERVED))):
            return near
        both = (TokenKind.NAME, TokenKind.QUOTED)
        if token.kind in both and before.kind in both and before.text not in RESERVED:
            return "a name with spaces is written in backquotes, an event name with spaces in double quotes"
        if token.kind in (TokenKind.NAME, TokenKind.QUOTED, TokenKind.NUMBER, TokenKind.TEXT):
            return "an operator such as = or and is missing before it"
        return ""

    def skip(self, closing: str) -> None:
        """Skip to a closing sign of this level, or to the end."""
        level = 0
        while not self.at_end():
            if level == 0 and self.token.is_sign(closing):
                return
            level += self.token.is_sign("(", "[") - self.token.is_sign(")", "]")
            if level < 0:
                return
            self.place += 1


def describe(token: Token) -> str:
    """Return how a message names a token."""
    return "the end" if token.kind is TokenKind.END else token.text if len(token.text) <= 40 else token.text[:37] + "…"
