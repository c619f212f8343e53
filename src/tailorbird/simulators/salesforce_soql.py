"""SOQL and SOSL as far as people's questions need them: read into a small tree, then asked of rows.

Source: SOQL and SOSL Reference. AND and OR do not mix without parentheses, texts compare without regard to capitals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

__all__ = [
    "Both", "Compared", "Condition", "Malformed", "Negated", "Question", "Search", "equal_to", "least", "parse_soql", "parse_sosl",
    "predicate", "words_of",
]  # fmt: skip

_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^'\\]|\\.)*')
    | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:?\d\d))
    | (?P<date>\d{4}-\d\d-\d\d)
    | (?P<number>[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<name>[A-Za-z_]\w*(?:\.\w+)*)
    | (?P<sign><=|>=|!=|<>|[=<>(),])
    )""",
    re.VERBOSE | re.DOTALL,
)
_UNESCAPED: Final = {
    "n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\", "N": "\n", "R": "\r", "T": "\t", "B": "\b",
    "F": "\f",
}  # fmt: skip
_ORDERED: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": lambda a, b: a < b, ">": lambda a, b: a > b, "<=": lambda a, b: a <= b, ">=": lambda a, b: a >= b,
}  # fmt: skip


class Malformed(ValueError):
    """A question that cannot be read; ``code`` is what Salesforce calls that."""

    def __init__(self, message: str, code: str = "MALFORMED_QUERY") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Compared:
    """A field compared with a literal (or several); ``kind`` is the kind of literal."""

    field: str
    sign: str
    value: Any
    kind: str


@dataclass(frozen=True, slots=True)
class Both:
    """Conditions of which all (``and``) or one (``or``) have to hold."""

    word: str
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Negated:
    """A condition that must not hold."""

    part: Condition


Condition = Compared | Both | Negated


@dataclass(frozen=True, slots=True)
class Question:
    """A SELECT; ``fields`` is empty for ``COUNT()``, ``order`` are (field, whether descending)."""

    fields: tuple[str, ...]
    source: str
    where: Condition | None = None
    order: tuple[tuple[str, bool], ...] = ()
    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Search:
    """A FIND: terms, each as its words and whether the last may go on, and what is returned of which object."""

    terms: tuple[tuple[tuple[str, ...], bool], ...]
    scope: str
    returning: tuple[Question, ...]


class _Reader:
    """Reads tokens one after the other."""

    def __init__(self, text: str, code: str = "MALFORMED_QUERY") -> None:
        self.code = code
        self.tokens: list[tuple[str, str]] = []
        place = 0
        text = text.rstrip()
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None:
                raise Malformed(f"unexpected token: {text[place : place + 20]!r}", code)
            self.tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            place = found.end()
        self.place = 0

    def word(self) -> str:
        """Return the next token in small letters where it is a word or a sign; "" at the end."""
        kind, text = self.tokens[self.place] if self.place < len(self.tokens) else ("", "")
        return text.lower() if kind in ("name", "sign") else ""

    def took(self, *words: str) -> bool:
        """Go past these words if they come next."""
        for ahead, word in enumerate(words):
            place = self.place + ahead
            if place >= len(self.tokens) or self.tokens[place][1].lower() != word:
                return False
        self.place += len(words)
        return True

    def need(self, *words: str) -> None:
        if not self.took(*words):
            raise Malformed(f"expecting {' '.join(words)}, found {self.seen()}", self.code)

    def next(self, *kinds: str) -> tuple[str, str]:
        if self.place >= len(self.tokens) or self.tokens[self.place][0] not in kinds:
            raise Malformed(f"unexpected token: {self.seen()}", self.code)
        self.place += 1
        return self.tokens[self.place - 1]

    def seen(self) -> str:
        return repr(self.tokens[self.place][1]) if self.place < len(self.tokens) else "the end"

    def names(self) -> tuple[str, ...]:
        found = [self.next("name")[1]]
        while self.took(","):
            found.append(self.next("name")[1])
        return tuple(found)

    def number(self) -> int:
        text = self.next("number")[1]
        if not text.isdecimal():
            raise Malformed(f"{text} is no number of rows", self.code)
        return int(text)

    def tail(self, fields: tuple[str, ...], source: str) -> Question:
        """Read what follows FROM."""
        where = self.condition() if self.took("where") else None
        order: list[tuple[str, bool]] = []
        if self.took("order", "by"):
            while True:
                field = self.next("name")[1]
                down = self.took("desc")
                if not down:
                    self.took("asc")
                if self.took("nulls"):
                    self.next("name")
                order.append((field, down))
                if not self.took(","):
                    break
        limit = self.number() if self.took("limit") else None
        offset = self.number() if self.took("offset") else 0
        if offset > 2_000:
            raise Malformed("Maximum SOQL offset allowed is 2000", "NUMBER_OUTSIDE_VALID_RANGE")
        return Question(fields, source, where, tuple(order), limit, offset)

    def condition(self) -> Condition:
        parts = [self.single()]
        word = ""
        while self.word() in ("and", "or"):
            if word and self.word() != word:
                raise Malformed(f"unexpected token: {self.seen()} (AND and OR need parentheses)", self.code)
            word = self.word()
            self.place += 1
            parts.append(self.single())
        return parts[0] if len(parts) == 1 else Both(word, tuple(parts))

    def single(self) -> Condition:
        if self.took("not"):
            return Negated(self.single())
        if self.took("("):
            inner = self.condition()
            self.need(")")
            return inner
        field = self.next("name")[1]
        for sign in ("in", "includes", "excludes"):
            if self.took(sign):
                return self.several(field, sign)
        if self.took("not", "in"):
            return Negated(self.several(field, "in"))
        if self.took("like"):
            return Compared(field, "like", _pattern(self.next("string")[1][1:-1]), "string")
        sign = self.next("sign")[1]
        if sign in "(),":
            raise Malformed(f"unexpected token: {sign!r}", self.code)
        value, kind = self.literal()
        return Compared(field, "!=" if sign == "<>" else sign, value, kind)

    def several(self, field: str, sign: str) -> Compared:
        self.need("(")
        found = [self.literal()]
        while self.took(","):
            found.append(self.literal())
        self.need(")")
        return Compared(field, sign, tuple(value for value, _ in found), found[0][1])

    def literal(self) -> tuple[Any, str]:
        kind, text = self.next("string", "datetime", "date", "number", "name")
        match kind:
            case "string":
                return _unescape(text[1:-1]), kind
            case "datetime":
                return datetime.fromisoformat(text).astimezone(UTC).timestamp(), kind
            case "date":
                return text, kind
            case "number":
                return float(text), kind
        known = {"true": (True, "boolean"), "false": (False, "boolean"), "null": (None, "null")}
        if text.lower() not in known:
            raise Malformed(f"unexpected token: {text!r}", self.code)
        return known[text.lower()]


def parse_soql(text: str) -> Question:
    """Return a question as a tree; raise ``Malformed`` for one that is not well-formed.

    >>> parse_soql("SELECT Id FROM Lead WHERE Email = 'a@b.c' LIMIT 2").where
    Compared(field='Email', sign='=', value='a@b.c', kind='string')
    """
    reader = _Reader(text)
    reader.need("select")
    if reader.took("count", "(", ")"):
        fields: tuple[str, ...] = ()
    else:
        fields = reader.names()
    reader.need("from")
    found = reader.tail(fields, reader.next("name")[1])
    if reader.place < len(reader.tokens):
        raise Malformed(f"unexpected token: {reader.seen()}")
    return found


def parse_sosl(text: str) -> Search:
    """Return a search as a tree; raise ``Malformed`` for one that is not well-formed.

    >>> parse_sosl("FIND {ann le*} RETURNING Lead(Id LIMIT 2)").terms
    ((('ann',), False), (('le',), True))
    """
    head = re.match(r"\s*FIND\s*\{((?:[^\\{}]|\\.)*)\}", text, re.IGNORECASE | re.DOTALL)
    if head is None:
        raise Malformed("No search term found. The search term must be enclosed in braces.", "MALFORMED_SEARCH")
    terms = _terms(head[1])
    reader = _Reader(text[head.end() :], "MALFORMED_SEARCH")
    scope = "all"
    if reader.took("in"):
        scope = reader.next("name")[1].lower()
        reader.need("fields")
    returning: list[Question] = []
    if reader.took("returning"):
        while True:
            source = reader.next("name")[1]
            found = Question(("Id",), source)
            if reader.took("("):
                found = reader.tail(reader.names(), source)
                reader.need(")")
            returning.append(found)
            if not reader.took(","):
                break
    if reader.took("limit"):
        reader.number()
    if reader.place < len(reader.tokens):
        raise Malformed(f"unexpected token: {reader.seen()}", "MALFORMED_SEARCH")
    return Search(terms, scope, tuple(returning))


def words_of(text: str) -> list[str]:
    """Return the words of a text as a search sees them.

    >>> words_of("Ann.O'Neil@shop.example")
    ['ann', 'o', 'neil', 'shop', 'example']
    """
    return re.findall(r"\w+", text.casefold())


def predicate(condition: Condition | None, read: Callable[[str], Callable[[Any], Any]]) -> Callable[[Any], bool]:
    """Return a function that tells whether a condition holds for a row; ``read`` gives the reader of a field, comparable."""
    match condition:
        case None:
            return lambda row: True
        case Negated(part):
            inner = predicate(part, read)
            return lambda row: not inner(row)
        case Both(word, parts):
            each = [predicate(part, read) for part in parts]
            if word == "and":
                return lambda row: all(holds(row) for holds in each)
            return lambda row: any(holds(row) for holds in each)
        case Compared():
            return _compared(condition, read(condition.field))


def least(condition: Condition | None, field: str) -> Any:
    """Return the value below which a field cannot be where the condition holds; None where it may be anything."""
    match condition:
        case Compared(name, sign, value, _) if name.lower() == field.lower() and sign in ("=", ">", ">="):
            return value
        case Both("and", parts):
            return max((b for part in parts if (b := least(part, field)) is not None), default=None)
        case Both("or", parts):
            bounds = [least(part, field) for part in parts]
            return None if None in bounds else min(bounds)
    return None


def equal_to(condition: Condition | None) -> list[tuple[str, tuple[Any, ...]]]:
    """Return (field, values) of which the field has one wherever the condition holds."""
    match condition:
        case Compared(name, "=", value, "string"):
            return [(name, (value,))]
        case Compared(name, "in", values, "string"):
            return [(name, values)]
        case Both("and", parts):
            return [found for part in parts for found in equal_to(part)]
    return []


def _compared(asked: Compared, get: Callable[[Any], Any]) -> Callable[[Any], bool]:
    value = _folded(asked.value)
    match asked.sign:
        case "=":
            return lambda row: bool(get(row) == value)
        case "!=":
            return lambda row: bool(get(row) != value)
        case "in":
            among = frozenset(map(_folded, value))
            return lambda row: get(row) in among
        case "like":
            return lambda row: value.fullmatch(get(row) or "") is not None
        case "includes" | "excludes":
            wanted = [frozenset(map(str.casefold, str(one).split(";"))) for one in value]
            has = asked.sign == "includes"
            return lambda row: any(one <= frozenset((get(row) or "").split(";")) for one in wanted) == has
    order = _ORDERED[asked.sign]
    return lambda row: (held := get(row)) is not None and value is not None and order(held, value)


def _folded(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _unescape(raw: str) -> str:
    def one(found: re.Match[str]) -> str:
        if found[1] not in _UNESCAPED:
            raise Malformed(f"Illegal escape sequence: \\{found[1]}")
        return _UNESCAPED[found[1]]

    return re.sub(r"\\(.)", one, raw, flags=re.DOTALL)


def _pattern(raw: str) -> re.Pattern[str]:
    """Return a LIKE as a pattern; an escaped % or _ stands for itself."""
    parts = []
    for token in re.findall(r"\\.|.", raw, re.DOTALL):
        if token in ("%", "_"):
            parts.append(".*" if token == "%" else ".")
        else:
            plain = token[1] if token in ("\\%", "\\_") else _unescape(token)
            parts.append(re.escape(plain.casefold()))
    return re.compile("".join(parts), re.DOTALL)


def _terms(raw: str) -> tuple[tuple[tuple[str, ...], bool], ...]:
    found: list[tuple[tuple[str, ...], bool]] = []
    for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|((?:[^\s\\]|\\.)+)', raw):
        text = quoted or plain
        if not quoted:
            if text.lower() in ("and", "or", "not"):
                raise Malformed("operators are not understood here", "MALFORMED_SEARCH")
            if re.search(r"(?<!\\)(?:\\\\)*[?&|!\[\]()^~:\"'+\-]", text):
                raise Malformed("unescaped reserved character in the search term", "MALFORMED_SEARCH")
        more = text.endswith("*") and not text.endswith("\\*")
        words = tuple(words_of(re.sub(r"\\(.)", r"\1", text.removesuffix("*") if more else text)))
        if words:
            found.append((words, more))
    if sum(len(word) for words, _ in found for word in words) < 2:
        raise Malformed("search term must be longer than one character", "MALFORMED_SEARCH")
    return tuple(found)
