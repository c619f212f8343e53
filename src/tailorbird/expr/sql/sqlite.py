"""SQLite's SQL, and the functions it lacks, registered from Python."""

# ruff: noqa: S608 - this package writes SQL; values only ever enter it as bound parameters.

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from math import floor
from typing import Any

from tailorbird.expr.calendar import DATE_PARTS
from tailorbird.expr.read import parse_time
from tailorbird.expr.sql.grammar import LARGEST_SPAN, Grammar
from tailorbird.expr.sql.query import Dialect
from tailorbird.expr.text import lower, upper
from tailorbird.expr.types import Type

__all__ = ["Sqlite", "prepare_sqlite"]


class Sqlite(Grammar):
    """SQLite 3.40 and later: bools are 0 and 1, lists of text are JSON text in one canonical spelling."""

    dialect = Dialect.SQLITE
    float_type = "REAL"
    int_type = "INTEGER"
    text_type = "TEXT"
    barrier = " LIMIT -1"

    def encode(self, value: Any, type: Type) -> Any:
        match type:
            case Type.TEXTS:
                return _spell(value)
            case Type.BOOL:
                return int(value)
            case _:
                return super().encode(value, type)

    @property
    def true(self) -> str:
        return "1"

    @property
    def false(self) -> str:
        return "0"

    def among(self, column: str, keys: Sequence[int]) -> str:
        return f"{column} IN (SELECT value FROM json_each({self.bindings.bind(json.dumps(list(keys)))}))"

    def handle(self, data: str, path: tuple[str, ...]) -> str:
        if any(not key or '"' in key or "\\" in key or min(key) < " " for key in path):  # what a JSON path cannot name
            return f"tailorbird_json({data}, {self.bindings.bind(json.dumps(path))})"
        dotted = "$" + "".join(f'."{key}"' for key in path)
        return f"({data} -> {self.bindings.bind(dotted)})"

    def read(self, handle: str, type: Type) -> str:
        match type:
            case Type.NUMBER:
                return (
                    f"CASE WHEN json_type({handle}) IN ('integer', 'real') THEN "
                    f"CASE WHEN json_extract({handle}, '$') BETWEEN -1e15 AND 1e15 THEN json_extract({handle}, '$') + 0.0 END END"
                )
            case Type.BOOL:
                return f"CASE {handle} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"
            case Type.TEXT:
                return f"CASE WHEN json_type({handle}) = 'text' THEN json_extract({handle}, '$') END"
            case Type.TIME:
                return f"CASE WHEN json_type({handle}) = 'text' THEN tailorbird_time(json_extract({handle}, '$')) END"
            case _:
                return f"CASE WHEN json_type({handle}) = 'array' THEN tailorbird_texts({handle}) END"

    def finite(self, number: str) -> str:
        return f"nullif(nullif({number}, 9e999), -9e999)"

    def float_literal(self, digits: str) -> str:
        return digits if "." in digits or "e" in digits else digits + ".0"

    def micros(self, column: str) -> str:
        return f"CASE WHEN {column} BETWEEN -1e12 AND 1e12 THEN tailorbird_floor({column} * 1e6 + 0.5) END"

    def span(self, whole: str) -> str:
        return f"tailorbird_span({whole})"

    def rounded_span(self, number: str) -> str:
        return f"tailorbird_span({number} + 0.5)"

    def floor(self, number: str) -> str:  # SQLite's own is a compile-time option
        return f"tailorbird_floor_number({number})"

    def ceil(self, number: str) -> str:
        return f"tailorbird_ceil_number({number})"

    def extreme(self, fn: str, items: list[str], type: Type, known: bool) -> str:
        return f"{fn}({', '.join(items)})"

    def part(self, name: str, instant: str) -> str:
        return f"tailorbird_{name}({instant})"

    def fold(self, fn: str, text: str) -> str:
        return f"tailorbird_{fn}({text})"

    def text_test(self, op: str, text: str, part: str) -> str:
        match op:
            case "contains":
                return f"(instr({text}, {part}) > 0)"
            case "starts with":
                return f"(instr({text}, {part}) = 1)"
            case _:
                return f"tailorbird_ends({text}, {part})"

    def size(self, texts: str) -> str:
        return f"json_array_length({texts})"

    def has(self, texts: str, item: str) -> str:
        return f"tailorbird_has({texts}, {item})"

    def edge(self, fn: str, value: str, type: Type, where: str) -> str:
        return f"tailorbird_{fn}(e.moment, e.seq, {value}) FILTER (WHERE {where})"

    def sums(self, column: str, where: str) -> list[str]:
        return [f"sum({column} / 1000000000) FILTER (WHERE {where})", f"sum({column} % 1000000000) FILTER (WHERE {where})"]

    def total(self, parts: list[str]) -> str:
        return f"tailorbird_total({', '.join(parts)})"

    def least(self, items: list[str]) -> str:
        return items[0] if len(items) == 1 else f"min({', '.join(items)})"

    def greatest(self, items: list[str]) -> str:
        return items[0] if len(items) == 1 else f"max({', '.join(items)})"


def prepare_sqlite(connection: sqlite3.Connection) -> None:
    """Register the functions that compiled queries call; once per connection."""
    for name, arity, function in _FUNCTIONS:
        connection.create_function(f"tailorbird_{name}", arity, function, deterministic=True)
    connection.create_aggregate("tailorbird_first", 3, _First)  # type: ignore[arg-type]
    connection.create_aggregate("tailorbird_last", 3, _Last)  # type: ignore[arg-type]


class _Last:
    """The value of the greatest (at, seq)."""

    __slots__ = ("order", "value")

    def __init__(self) -> None:
        self.order: tuple[int, int] | None = None
        self.value: Any = None

    def step(self, at: int, seq: int, value: Any) -> None:
        if self.order is None or (at, seq) > self.order:
            self.order, self.value = (at, seq), value

    def finalize(self) -> Any:
        return self.value


class _First(_Last):
    """The value of the least (at, seq)."""

    __slots__ = ()

    def step(self, at: int, seq: int, value: Any) -> None:
        if self.order is None or (at, seq) < self.order:
            self.order, self.value = (at, seq), value


def _spell(texts: Sequence[str]) -> str:
    return json.dumps(list(texts), ensure_ascii=False, separators=(",", ":"))


def _texts(array: str | None) -> str | None:
    return None if array is None else _spell([item for item in json.loads(array) if isinstance(item, str)])


def _json(data: str | None, path: str) -> str | None:
    value = None if data is None else json.loads(data)
    for key in json.loads(path):
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return json.dumps(value, ensure_ascii=False)


def _span(value: float | None) -> int | None:
    if value is None or not -LARGEST_SPAN - 1 < value < LARGEST_SPAN + 1:
        return None
    whole = floor(value)
    return whole if -LARGEST_SPAN <= whole <= LARGEST_SPAN else None


def _part(name: str) -> Any:
    part = DATE_PARTS[name]
    return lambda instant: None if instant is None else part(instant)


_FUNCTIONS: list[tuple[str, int, Any]] = [
    ("json", 2, _json),
    ("time", 1, lambda text: None if text is None else parse_time(text)),
    ("texts", 1, _texts),
    ("floor", 1, lambda value: None if value is None else floor(value)),
    ("floor_number", 1, lambda value: None if value is None else float(floor(value))),
    ("ceil_number", 1, lambda value: None if value is None else -float(floor(-value))),
    ("span", 1, _span),
    ("lower", 1, lambda text: None if text is None else lower(text)),
    ("upper", 1, lambda text: None if text is None else upper(text)),
    ("ends", 2, lambda text, part: None if text is None or part is None else int(text.endswith(part))),
    ("has", 2, lambda texts, item: None if texts is None or item is None else int(item in json.loads(texts))),
    ("total", 2, lambda high, low: None if high is None else float(high * 1_000_000_000 + low)),
    *((name, 1, _part(name)) for name in DATE_PARTS),
]
