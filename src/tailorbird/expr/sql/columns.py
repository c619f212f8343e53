"""Expressions become columns: a SELECT over a SELECT, so that deep expressions stay shallow text."""

# ruff: noqa: S608 - this package writes SQL; values only ever enter it as bound parameters.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tailorbird.expr.sql.grammar import Grammar
from tailorbird.expr.types import Type

__all__ = ["Column", "Columns"]

_DEEPEST: Final = 6
"""SQLite's parser holds a hundred symbols; a nested call takes about five."""
_TALLEST: Final = 4
_LONGEST: Final = 4_000
_TINIEST: Final = 5e-324


@dataclass(frozen=True, slots=True)
class Column:
    """SQL text that yields a value, and what is known about it.

    ``level`` is the first SELECT in which all it mentions exists; ``depth`` how deep its text nests. A number or a span of
    time is 0 or of a magnitude between ``small`` and ``big``; ``nullable`` is whether it can be unknown.
    """

    sql: str
    type: Type
    level: int = 0
    depth: int = 0
    nullable: bool = True
    big: float = float("inf")
    small: float = _TINIEST


class Columns:
    """The SELECTs stacked over a base relation; ``settle`` moves an expression that has grown deep into one of them."""

    def __init__(self, grammar: Grammar, prefix: str) -> None:
        self._grammar = grammar
        self._prefix = prefix
        self._levels: list[list[tuple[str, str]]] = []
        self._count = 0
        self._known: dict[tuple[int, str], str] = {}
        self._level_of: dict[str, int] = {}

    def settle(self, column: Column, *, force: bool = False) -> Column:
        """Return the column, or a plain name for it where its text is deep or long (or ``force``)."""
        if not force and column.depth <= _DEEPEST and len(column.sql) <= _LONGEST:
            return column
        if column.depth == 0 and column.sql.isidentifier():
            return column
        key = (column.level, column.sql)
        if key not in self._known:
            while len(self._levels) <= column.level:
                self._levels.append([])
            self._known[key] = f"{self._prefix}{self._count}"
            self._count += 1
            self._levels[column.level].append((self._known[key], column.sql))
            self._level_of[self._known[key]] = column.level + 1
        return Column(
            self._known[key], column.type, column.level + 1, 0, column.nullable, column.big, column.small,
        )  # fmt: skip

    def level_of(self, name: str) -> int:
        """Return the first level in which a column of this name can be mentioned."""
        return self._level_of.get(name, 0)

    def render(self, base: str, name: Callable[[str], str]) -> str:
        """Return a relation (``FROM`` item text without alias) that has every settled column, stacked over ``base``.

        ``name`` makes a named relation of a SELECT and returns its name: a tall stack is not one text within another.
        """
        stacked = 0
        for place, level in enumerate(self._levels):
            if level:
                stacked += 1
                if stacked % _TALLEST == 0:
                    base = name(f"SELECT * FROM {base} y{self._grammar.barrier}")
                listed = ", ".join(f"{sql} AS {name}" for name, sql in level)
                base = f"(SELECT s{place}.*, {listed} FROM {base} s{place}{self._grammar.barrier})"
        return base
