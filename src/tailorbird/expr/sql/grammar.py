"""What every SQL engine says alike, and the names of what each says its own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from tailorbird.expr.scalar import LARGEST_SPAN
from tailorbird.expr.sql.query import Bindings, Dialect
from tailorbird.expr.types import Type

__all__ = ["LARGEST_SPAN", "Grammar"]


class Grammar(ABC):
    """One engine's way of saying things.

    Arguments and results are SQL text. Every template mentions an operand that may be large once, so that the text grows
    with the expression and not faster. ``int`` below is a 64-bit integer, ``float`` an IEEE double.
    """

    dialect: ClassVar[Dialect]
    float_type: ClassVar[str]
    int_type: ClassVar[str]
    text_type: ClassVar[str]
    order_columns: ClassVar[tuple[str, ...]] = ()
    """What ``edge`` wants computed of every event ``e``."""
    barrier: ClassVar[str] = ""
    """Ends a subquery whose columns the planner must not copy into every place that uses them."""
    casts: ClassVar[dict[Type, str]] = {}
    lowest: ClassVar[str] = "-9223372036854775807"

    def __init__(self, bindings: Bindings) -> None:
        self.bindings = bindings

    def relation(self, name: str, sql: str) -> str:
        """Return the body of a named relation in a WITH."""
        return f"({sql})"

    # constants -------------------------------------------------------------------------------------------
    def bind(self, value: Any, type: Type) -> str:
        """Return a constant of a type as a bound parameter."""
        mark = self.bindings.bind(self.encode(value, type))
        return f"CAST({mark} AS {self.casts[type]})" if type in self.casts else mark

    def encode(self, value: Any, type: Type) -> Any:
        """Return a constant as the driver wants it."""
        match type:
            case Type.NUMBER:
                return float(value)
            case Type.TEXTS:
                return list(value)
            case _:
                return value

    def text(self, value: str) -> str:
        """Return a bound text."""
        return self.bind(value, Type.TEXT)

    def whole(self, value: int) -> str:
        """Return a bound integer."""
        return self.bind(value, Type.TIME)

    @property
    def true(self) -> str:
        """Return the constant true."""
        return "TRUE"

    @property
    def false(self) -> str:
        """Return the constant false."""
        return "FALSE"

    @abstractmethod
    def among(self, column: str, keys: Sequence[int]) -> str:
        """Return a test whether the integer column is one of the keys, however many they are."""

    # reading JSON ----------------------------------------------------------------------------------------
    @abstractmethod
    def handle(self, data: str, path: tuple[str, ...]) -> str:
        """Return the JSON value at a path, SQL NULL where the path leads nowhere (JSON null is not SQL NULL)."""

    @abstractmethod
    def read(self, handle: str, type: Type) -> str:
        """Return a JSON value (a column: it may be mentioned often) read as a type; as time only if ``times_from_json``."""

    times_from_json: ClassVar[bool] = True

    def time_of(self, text: str) -> str:
        """Return the instant that a text column stands for."""
        raise NotImplementedError

    # numbers ---------------------------------------------------------------------------------------------
    def number(self, whole: str) -> str:
        """Return an integer as a double."""
        return f"CAST({whole} AS {self.float_type})"

    @abstractmethod
    def finite(self, number: str) -> str:
        """Return the number, NULL where it is infinite or no number."""

    def add(self, op: str, left: str, right: str, safe: bool) -> str:
        """Return ``left + right`` or ``left - right``; ``safe``: it cannot overflow."""
        return f"({left} {op} {right})" if safe else self.finite(f"{left} {op} {right}")

    def multiply(self, left: str, right: str, safe: bool) -> str:
        """Return the product; ``safe``: it can neither overflow nor underflow."""
        return f"({left} * {right})" if safe else self.finite(f"{left} * {right}")

    def divide(self, left: str, right: str) -> str:
        """Return the quotient, NULL where the divisor is 0."""
        return self.finite(f"{left} / {right}")

    @abstractmethod
    def span(self, whole: str) -> str:
        """Return the integer, NULL where it is beyond ``LARGEST_SPAN``."""

    @abstractmethod
    def rounded_span(self, number: str) -> str:
        """Return ``floor(number + 0.5)`` as an integer, NULL where it is beyond ``LARGEST_SPAN``."""

    def floor(self, number: str) -> str:
        """Return the greatest whole number that is not greater, as a double."""
        return f"floor({number})"

    def ceil(self, number: str) -> str:
        """Return the least whole number that is not less, as a double."""
        return f"ceil({number})"

    def micros(self, column: str) -> str:
        """Return a number column in whole millionths as an integer, NULL beyond a magnitude of 1e12."""
        return (
            f"CASE WHEN {column} BETWEEN {self.float_literal('-1e12')} AND {self.float_literal('1e12')} "
            f"THEN CAST(floor({column} * {self.float_literal('1e6')} + {self.float_literal('0.5')}) AS {self.int_type}) END"
        )

    def float_literal(self, digits: str) -> str:
        """Return a double written in our own templates."""
        return f"CAST({digits} AS {self.float_type})"

    @abstractmethod
    def extreme(self, fn: str, items: list[str], type: Type, known: bool) -> str:
        """Return the ``min`` or ``max`` of numbers, NULL if any is; ``known``: none can be."""

    def part(self, name: str, instant: str) -> str:
        """Return year, month, day, weekday (1 Monday) or hour of an instant as a double."""
        raise NotImplementedError

    # text ------------------------------------------------------------------------------------------------
    def compare_text(self, op: str, left: str, right: str) -> str:
        """Return a comparison of texts by code point."""
        return f"({left} {op} {right})"

    @abstractmethod
    def fold(self, fn: str, text: str) -> str:
        """Return ``lower`` or ``upper`` by the table of ``expr/text.py``."""

    @abstractmethod
    def text_test(self, op: str, text: str, part: str) -> str:
        """Return contains, starts with, ends with."""

    def length(self, text: str) -> str:
        """Return the number of code points, an integer."""
        return f"length({text})"

    @abstractmethod
    def size(self, texts: str) -> str:
        """Return the number of members of a list, an integer."""

    @abstractmethod
    def has(self, texts: str, item: str) -> str:
        """Return whether the list holds the text, NULL where either is."""

    # aggregates ------------------------------------------------------------------------------------------
    @abstractmethod
    def edge(self, fn: str, value: str, type: Type, where: str) -> str:
        """Return the value (also NULL) of the ``first`` or ``last`` row by (at, seq) of relation ``e`` that passes."""

    def unpacked(self, column: str, type: Type) -> str:
        """Return the value that a column of ``edge`` holds."""
        return column

    @abstractmethod
    def sums(self, column: str, where: str) -> list[str]:
        """Return the aggregates that together hold the exact sum of an integer column."""

    @abstractmethod
    def total(self, parts: list[str]) -> str:
        """Return the double nearest to the exact sum held by the columns of ``sums``."""

    def least(self, items: list[str]) -> str:
        """Return the least of integers that are never NULL."""
        return items[0] if len(items) == 1 else f"least({', '.join(items)})"

    def greatest(self, items: list[str]) -> str:
        """Return the greatest of integers that are never NULL."""
        return items[0] if len(items) == 1 else f"greatest({', '.join(items)})"
