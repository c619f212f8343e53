"""DuckDB's SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from tailorbird.expr.sql.grammar import LARGEST_SPAN, Grammar
from tailorbird.expr.sql.query import Dialect
from tailorbird.expr.text import LOWER_FROM, LOWER_TO
from tailorbird.expr.types import Type

__all__ = ["Duck", "prepare_duckdb"]

_TIME: Final = (
    "([12][0-9]{3}-[0-9]{2}-[0-9]{2})"
    "(?:[T ]([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:[.]([0-9]{1,9}))?)?"
    "(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))?)?"
)


class Duck(Grammar):
    """DuckDB 1.5 and later."""

    dialect = Dialect.DUCKDB
    float_type = "DOUBLE"
    int_type = "BIGINT"
    text_type = "VARCHAR"
    times_from_json = False
    order_columns = ("CAST(e.at AS HUGEINT) * 9223372036854775807 + e.seq AS place",)
    casts: ClassVar = {
        Type.BOOL: "BOOLEAN", Type.NUMBER: "DOUBLE", Type.TEXT: "VARCHAR", Type.TIME: "BIGINT", Type.DURATION: "BIGINT",
        Type.TEXTS: "VARCHAR[]",
    }  # fmt: skip

    def among(self, column: str, keys: Sequence[int]) -> str:
        return f"{column} IN (SELECT unnest(CAST({self.bindings.bind(list(keys))} AS BIGINT[])))"

    def handle(self, data: str, path: tuple[str, ...]) -> str:
        steps = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)
        if not any(key.isdigit() or key == "-" for key in path):
            return f"json_extract({data}, {self.bindings.bind(steps)})"
        for key in path:  # a pointer would take a number for the place in a list
            step = f'$."{key}"' if key.isdigit() or key == "-" else "/" + key.replace("~", "~0").replace("/", "~1")
            data = f"json_extract({data}, {self.bindings.bind(step)})"
        return data

    def read(self, handle: str, type: Type) -> str:
        match type:
            case Type.NUMBER:
                return (
                    f"CASE WHEN json_type({handle}) IN ('DOUBLE', 'BIGINT', 'UBIGINT') THEN "
                    f"CASE WHEN TRY_CAST({handle} AS DOUBLE) BETWEEN -1e15 AND 1e15 "
                    f"THEN TRY_CAST({handle} AS DOUBLE) + 0.0 END END"
                )
            case Type.BOOL:
                return f"CASE WHEN json_type({handle}) = 'BOOLEAN' THEN TRY_CAST({handle} AS BOOLEAN) END"
            case Type.TEXT:
                return f"CASE WHEN json_type({handle}) = 'VARCHAR' THEN {handle} ->> '$' END"
            case _:
                return (
                    f"CASE WHEN json_type({handle}) = 'ARRAY' THEN list_transform(list_filter(from_json({handle}, '[\"JSON\"]'), "
                    "lambda v: json_type(v) = 'VARCHAR'), lambda v: v ->> '$') END"
                )

    def time_of(self, text: str) -> str:
        pattern = self.bindings.bind(_TIME)

        def group(place: int) -> str:
            return f"regexp_extract({text}, {pattern}, {place})"

        def whole(place: int) -> str:
            return f"coalesce(TRY_CAST({group(place)} AS BIGINT), 0)"

        offset = f"(CASE WHEN {group(6)} = '-' THEN -1 ELSE 1 END * ({whole(7)} * 60 + {whole(8)}))"
        return (
            f"CASE WHEN regexp_full_match({text}, {pattern}) THEN epoch_ms(TRY_CAST({group(1)} AS DATE)) "
            f"+ (({whole(2)} * 60 + {whole(3)} - {offset}) * 60 + {whole(4)}) * 1000 "
            f"+ TRY_CAST(left({group(5)} || '000', 3) AS BIGINT) END"
        )

    def finite(self, number: str) -> str:
        return f"list_filter([{number}], lambda v: isfinite(v))[1]"

    def span(self, whole: str) -> str:
        return f"list_filter([{whole}], lambda v: v BETWEEN {-LARGEST_SPAN} AND {LARGEST_SPAN})[1]"

    def rounded_span(self, number: str) -> str:
        return self.span(f"TRY_CAST(floor({number} + CAST(0.5 AS DOUBLE)) AS BIGINT)")

    def extreme(self, fn: str, items: list[str], type: Type, known: bool) -> str:
        if known:
            return f"{'least' if fn == 'min' else 'greatest'}({', '.join(items)})"
        return f"list_sort([{', '.join(items)}], '{'ASC' if fn == 'min' else 'DESC'}', 'NULLS FIRST')[1]"

    def part(self, name: str, instant: str) -> str:
        fn = "isodow" if name == "weekday" else name
        return f"CAST({fn}(make_timestamp_ms({instant})) AS DOUBLE)"

    def fold(self, fn: str, text: str) -> str:
        table = (LOWER_FROM, LOWER_TO) if fn == "lower" else (LOWER_TO, LOWER_FROM)
        return f"translate({text}, {self.text(table[0])}, {self.text(table[1])})"

    def text_test(self, op: str, text: str, part: str) -> str:
        return f"{ {'contains': 'contains', 'starts with': 'starts_with', 'ends with': 'suffix'}[op] }({text}, {part})"

    def size(self, texts: str) -> str:
        return f"len({texts})"

    def has(self, texts: str, item: str) -> str:
        return f"list_contains({texts}, {item})"

    def edge(self, fn: str, value: str, type: Type, where: str) -> str:
        # The order of two events of one instant is their seq: a 128-bit key keeps both.
        return f"arg_{'min' if fn == 'first' else 'max'}_null({value}, e.place) FILTER (WHERE {where})"

    def sums(self, column: str, where: str) -> list[str]:
        return [f"sum({column}) FILTER (WHERE {where})"]

    def total(self, parts: list[str]) -> str:
        # The cast of a HUGEINT to a double may round twice; reading its digits does not.
        return f"CAST(CAST({parts[0]} AS VARCHAR) AS DOUBLE)"


def prepare_duckdb(connection: Any) -> None:
    """Keep a connection off the network: extensions are neither installed nor loaded on their own."""
    for setting in ("autoinstall_known_extensions", "autoload_known_extensions"):
        connection.execute(f"SET {setting} = false")
