"""The parser: text into surface nodes, noting every mistake it can see on the way.

A precedence-climbing reader. From loose to tight: ``or``, ``and``, ``not``, comparisons, ``+ -``, ``* /``, unary ``-``.
"""

from __future__ import annotations

from typing import Final, get_args

from tailorbird.errors import InvalidExpression, Mistake, Span
from tailorbird.expr.cursor import GiveUp, describe
from tailorbird.expr.forms import Forms
from tailorbird.expr.lexer import RESERVED, Token, TokenKind, tokenize
from tailorbird.expr.limits import MAX_DEPTH, MAX_LENGTH, MAX_MISTAKES, MAX_READING
from tailorbird.expr.nodes import (
    And,
    Arith,
    ArithOp,
    Attribute,
    Compare,
    CompareOp,
    EventTime,
    In,
    IsKnown,
    ListHas,
    Literal,
    Negate,
    Node,
    Not,
    Now,
    Or,
    Property,
    TextOp,
    TextTest,
)
from tailorbird.expr.shape import depth_within
from tailorbird.expr.types import Type

__all__ = ["parse"]

_OR, _AND, _NOT, _COMPARE, _ADD, _MULTIPLY, _UNARY = range(1, 8)
_COMPARISONS: Final[dict[str, CompareOp]] = {op: op for op in get_args(CompareOp)}
_ARITHMETIC: Final[dict[str, tuple[ArithOp, int]]] = {
    "+": ("+", _ADD),
    "-": ("-", _ADD),
    "*": ("*", _MULTIPLY),
    "/": ("/", _MULTIPLY),
}
_TEXT_TESTS: Final[dict[str, TextOp]] = {"contains": "contains", "starts": "starts with", "ends": "ends with"}
_COMPARING_WORDS: Final = ("in", "is", "has", "contains", "starts", "ends", "not")
_CONSTANTS: Final = {
    TokenKind.NUMBER: Type.NUMBER, TokenKind.PERCENT: Type.NUMBER, TokenKind.DURATION: Type.DURATION,
    TokenKind.INSTANT: Type.TIME, TokenKind.TEXT: Type.TEXT,
}  # fmt: skip


def parse(text: str) -> Node:
    """Return the surface expression that the text says.

    Raises ``InvalidExpression`` with every mistake found, each with its place and how to mend it. Types and names are
    not looked at here: that is ``check.resolve``.

    >>> parse("not account.plan is known")
    Not(item=IsKnown(item=Attribute(path=('account', 'plan'), type=None)))
    """
    if len(text) > MAX_LENGTH:
        message = f"the expression has {len(text):,} characters; the limit is {MAX_LENGTH:,}"
        raise InvalidExpression(text[:200], (Mistake("too_large", message, "split it into features and segments"),))
    unfit = next((place for place, letter in enumerate(text) if letter == "\0" or "\ud800" <= letter <= "\udfff"), None)
    if unfit is not None:
        mistake = Mistake("bad_character", "this is not a character that text can hold", "", Span(unfit, unfit + 1))
        raise InvalidExpression(text.encode("utf-8", "replace").decode().replace("\0", "?"), (mistake,))
    tokens, mistakes = tokenize(text)
    if len(mistakes) >= MAX_MISTAKES:
        raise InvalidExpression(text, tuple(mistakes))
    parser = _Parser(tokens, mistakes)
    node = parser.everything()
    if parser.mistakes or node is None:
        ordered = sorted(parser.mistakes, key=lambda m: m.span.start if m.span else 0)
        raise InvalidExpression(text, tuple(ordered))
    return node


class _Parser(Forms):
    """The operators; ``Forms`` reads what looks like a function."""

    def everything(self) -> Node | None:
        """Read the whole text; None when a limit stopped the reading."""
        try:
            if self.at_end():
                self.fail("empty", "there is no expression here", self.token, "write a condition or a value")
                return None
            node = self.expression()
            self.rest()
        except GiveUp:
            return None
        if not self.mistakes and not depth_within(node, MAX_DEPTH):
            self.too_deep(self.tokens[0])
        return node

    def rest(self) -> None:
        """Complain about whatever follows the expression, and look at it for further mistakes."""
        while not self.at_end():
            token = self.token
            hint = "there is no ( that it closes" if token.is_sign(")") else self.stray_hint()
            self.fail("unexpected", f"{describe(token)} cannot follow here", token, hint)
            while not self.at_end() and not (self.token.is_word("and", "or") or self.token.is_sign(",", "(")):
                self.place += 1
            if not self.at_end():
                self.place += 1
                if not self.at_end():
                    self.expression()

    def too_deep(self, token: Token) -> None:
        message = f"the expression nests deeper than {MAX_DEPTH} levels"
        self.fail("too_deep", message, token, "name a part of it as a feature or a segment, or group long sums with parentheses")

    def expression(self, strength: int = 0) -> Node:
        """Read an expression whose operators bind at least this strongly."""
        self.depth += 1
        if self.depth > MAX_READING:
            self.too_deep(self.token)
            raise GiveUp
        start = self.token
        node = self.prefix()
        while (following := self.infix(node, start, strength)) is not None:
            self.made_one(self.since(start))
            node = following
        self.depth -= 1
        return node

    # what stands before --------------------------------------------------------------------------------------
    def prefix(self) -> Node:
        token = self.token
        self.made_one(token.span)
        if token.is_word("not"):
            self.place += 1
            item = self.expression(_NOT)
            return Not(item, span=self.since(token))
        if token.is_sign("-"):
            return self.minus()
        if token.is_sign("+"):
            self.fail("unexpected", "a plus sign stands between two values", token, "leave it out")
            self.place += 1
            return self.expression(_UNARY)
        return self.primary()

    def minus(self) -> Node:
        start = self.take()
        constant = self.token
        if constant.kind in (TokenKind.NUMBER, TokenKind.PERCENT, TokenKind.DURATION):
            self.place += 1
            return self.constant(constant, self.since(start), negative=True)
        item = self.expression(_UNARY)
        return Negate(item, span=self.since(start))

    def constant(self, token: Token, span: Span, *, negative: bool = False) -> Literal:
        value = token.value
        if negative and not isinstance(value, str):
            value = 0 - value
        return Literal(value, _CONSTANTS[token.kind], token.kind is TokenKind.PERCENT, span=span)

    def primary(self) -> Node:
        token = self.token
        if token.kind in _CONSTANTS:
            self.place += 1
            return self.constant(token, token.span)
        if token.kind is TokenKind.BROKEN:
            return self.hole(self.take())
        if token.is_sign("("):
            self.place += 1
            inner = self.expression()
            self.close(token)
            return inner
        if token.is_sign("["):
            return self.texts()
        if token.is_word("true", "false"):
            self.place += 1
            return Literal(token.text == "true", Type.BOOL, span=token.span)
        if token.is_word("now"):
            return Now(span=self.take().span)
        if token.kind is TokenKind.NAME and token.text not in RESERVED and self.ahead().is_sign("("):
            return self.form()
        if token.kind is TokenKind.QUOTED or (token.kind is TokenKind.NAME and token.text not in RESERVED):
            return self.name()
        if token.is_sign("*", "/", "]"):
            self.missing("a value")
            self.place += 1
            return self.hole(token)
        return self.missing("a value")

    def name(self) -> Node:
        start = self.token
        path = self.path()
        if not self.in_where:
            return Attribute(path, span=self.since(start))
        if path == ("at",) and start.kind is TokenKind.NAME:
            return EventTime(span=start.span)
        return Property(path, span=self.since(start))

    def texts(self) -> Node:
        start, items = self.take(), []
        while not self.token.is_sign("]") and not self.at_end():
            if self.token.kind is not TokenKind.TEXT:
                self.fail(
                    "unexpected", f"{describe(self.token)} where a text should stand", self.token, 'lists hold texts: ["a", "b"]'
                )
                self.skip("]")
                break
            items.append(str(self.take().value))
            if not self.accept(","):
                break
        self.close(start, "]")
        return Literal(tuple(items), Type.TEXTS, span=self.since(start))

    # what stands between -------------------------------------------------------------------------------------
    def infix(self, left: Node, start: Token, strength: int) -> Node | None:
        """Read one operator and what follows it, or None when the next token does not bind this strongly."""
        token = self.token
        if token.kind is TokenKind.SIGN and token.text in _ARITHMETIC:
            arith, level = _ARITHMETIC[token.text]
            if level < strength:
                return None
            self.place += 1
            right = self.expression(level + 1)
            return Arith(arith, left, right, span=self.since(start))
        if token.is_word("and", "or"):
            level = _AND if token.text == "and" else _OR
            return self.junction(left, start, level) if level >= strength else None
        if (token.kind is TokenKind.SIGN and token.text in _COMPARISONS) or token.is_word(*_COMPARING_WORDS):
            return self.comparison(left, start) if strength <= _COMPARE else None
        return None

    def junction(self, left: Node, start: Token, level: int) -> Node:
        word, items = self.token.text, [left]
        while self.token.is_word(word):
            self.place += 1
            items.append(self.expression(level + 1))
        make = And if word == "and" else Or
        return make(tuple(items), span=self.since(start))

    def comparison(self, left: Node, start: Token) -> Node:
        node = self.one_comparison(left, start)
        again = self.token
        if again.kind is TokenKind.SIGN and again.text in _COMPARISONS:
            hint = "join two comparisons with and: 1 < x and x < 5"
            self.fail("chained", "a comparison cannot be compared again", again, hint)
            while self.token.kind is TokenKind.SIGN and self.token.text in _COMPARISONS:
                self.place += 1
                self.expression(_ADD)
        elif again.is_word(*_COMPARING_WORDS):
            hint = "put the first comparison in parentheses"
            self.fail("chained", f"{again.text} cannot follow a comparison", again, hint)
            self.one_comparison(left, start)
        return node

    def one_comparison(self, left: Node, start: Token) -> Node:
        token = self.take()
        negated = token.text == "not"
        if negated:
            token = self.token
            if not token.is_word("in", "contains", "starts", "ends", "has"):
                self.fail("unexpected", "not stands before a condition, or in not in (…)", self.tokens[self.place - 1])
                return self.expression(_COMPARE)
            if token.text != "in":
                hint = f"write not … {token.text} …, with not before the whole condition"
                self.fail("unexpected", f"not cannot stand before {token.text}", self.tokens[self.place - 1], hint)
            self.place += 1
        if token.text == "in":
            node: Node = self.membership(left, start, token)
        elif token.text == "is":
            return self.known(left, start, token)
        elif token.text == "has":
            node = ListHas(left, self.expression(_ADD), span=self.since(start))
        elif token.text in _TEXT_TESTS:
            if token.text in ("starts", "ends") and not self.accept_word("with"):
                self.fail("unexpected", f"{token.text} is followed by with", token, f"write {token.text} with")
            node = TextTest(_TEXT_TESTS[token.text], left, self.expression(_ADD), span=self.since(start))
        else:
            node = Compare(_COMPARISONS[token.text], left, self.expression(_ADD), span=self.since(start))
        return Not(node, span=node.span) if negated else node

    def accept_word(self, word: str) -> bool:
        if self.token.is_word(word):
            self.place += 1
            return True
        return False

    def known(self, left: Node, start: Token, word: Token) -> Node:
        if self.accept_word("known"):
            return IsKnown(left, span=self.since(start))
        if self.accept_word("unknown"):
            span = self.since(start)
            return Not(IsKnown(left, span=span), span=span)
        hint = "write is known or is unknown; other comparisons use ="
        if self.token.is_word("true", "false"):
            hint = "write is_true(…), or compare with = true"
        elif self.token.is_word("null", "none", "None", "NULL", "empty"):
            hint = "a missing value is unknown: write is unknown"
        elif self.token.is_word("not"):
            hint = "write is unknown, or use !="
            self.place += 1
        self.fail("unexpected", "is must be followed by known or unknown", word, hint)
        if not self.at_end() and not self.token.is_sign(")", ",") and not self.token.is_word("and", "or"):
            self.place += 1
        return IsKnown(left, span=self.since(start))

    def membership(self, left: Node, start: Token, word: Token) -> Node:
        opening = self.token
        if not opening.is_sign("(", "["):
            self.fail("unexpected", "in is followed by its options", word, 'write in ("a", "b")')
            self.expression(_ADD)
            return self.hole(word)
        if opening.text == "[":
            self.fail("unexpected", "the options of in stand in parentheses", opening, 'write in ("a", "b")')
        self.place += 1
        closing = ")" if opening.text == "(" else "]"
        options: list[Literal] = []
        while not self.token.is_sign(closing) and not self.at_end():
            option = self.expression(_ADD)
            if isinstance(option, Literal):
                options.append(option)
            else:
                hint = "for anything else write x = a or x = b; texts stand in double quotes"
                self.fail("not_constant", "the options of in are constants", option.span or word.span, hint)
            if not self.accept(","):
                break
        self.close(opening, closing)
        if self.tokens[self.place - 2] is opening:
            self.fail("empty", "in needs at least one option", opening, 'write in ("a", "b")')
        return In(left, tuple(options), span=self.since(start))
