"""The part of Zoho's query language (COQL) that its simulator understands."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

__all__ = ["select"]

_QUERY: Final = re.compile(r"select (.+?) from (\w+) where (.+) order by id asc limit (\d+), (\d+)", re.DOTALL)
_TOKEN: Final = re.compile(r"\s*('(?:\\.|[^'\\])*'|[(),]|>=|[=<>]|[\w.$]+)")
Row = Mapping[str, Any]
Test = Callable[[Row], bool]


def select(query: str, modules: Mapping[str, Mapping[str, dict[str, Any]]]) -> tuple[list[dict[str, Any]], bool]:
    """Return the rows of a query and whether there are more; raise ``ValueError`` for what is not understood.

    >>> select("select id from Leads where (id is not null) and (City = 'O\\\\'Fallon') order by id asc limit 0, 5",
    ...        {"Leads": {"7": {"id": "7", "City": "O'Fallon"}}})
    ([{'id': '7'}], False)
    """
    found = _QUERY.fullmatch(query.strip())
    if found is None or found[2] not in modules:
        raise ValueError("this is no query")
    reader = _Reader(_tokens(found[3]))
    test = reader.either()
    if reader.tokens:
        raise ValueError("something follows the condition")
    rows = sorted((row for row in modules[found[2]].values() if test(row)), key=lambda row: str(row["id"]))
    start, count = int(found[4]), int(found[5])
    if count > 200:
        raise ValueError("limit is 200 at most")
    names = ["id", *(name.strip() for name in found[1].split(","))]
    return [{name: row.get(name) for name in names} for row in rows[start : start + count]], len(rows) > start + count


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError("a character is not understood")
        tokens.append(found[1])
        at = found.end()
    return tokens


class _Reader:
    """Reads a condition token by token."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def either(self) -> Test:
        test = self.one()
        while self.tokens and self.tokens[0] == "and":
            self.tokens.pop(0)
            test = _both(test, self.one())
        return test

    def one(self) -> Test:
        if self.take() == "(":
            test = self.either()
            self.expect(")")
            return test
        name, op = self.last, self.take()
        match op:
            case "is":
                negated = self.tokens[0] == "not"
                if negated:
                    self.take()
                self.expect("null")
                return lambda row: (row.get(name) is None) != negated
            case "in":
                self.expect("(")
                wanted = [self.value()]
                while self.take() == ",":
                    wanted.append(self.value())
                return lambda row: str(row.get(name) or "") in wanted
            case "=" | ">" | ">=":
                return _compared(name, op, self.value())
        raise ValueError("an operator is not understood")

    def take(self) -> str:
        if not self.tokens:
            raise ValueError("the condition ends too early")
        self.last = self.tokens.pop(0)
        return self.last

    def expect(self, token: str) -> None:
        if self.take() != token:
            raise ValueError(f"{token} is missing")

    def value(self) -> str:
        token = self.take()
        return re.sub(r"\\(.)", r"\1", token[1:-1]) if token.startswith("'") else token


def _both(one: Test, other: Test) -> Test:
    return lambda row: one(row) and other(row)


def _compared(name: str, op: str, value: str) -> Test:
    def test(row: Row) -> bool:
        held = str(row.get(name) or "")
        if op == "=":
            return held.casefold() == value.casefold()
        if op == ">":
            return held > value
        return bool(held) and datetime.fromisoformat(held) >= datetime.fromisoformat(value)

    return test
