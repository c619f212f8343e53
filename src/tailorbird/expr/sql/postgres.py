"""PostgreSQL's SQL, and the functions it lacks, as DDL."""

# ruff: noqa: S608 - this package writes SQL; values only ever enter it as bound parameters.

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from tailorbird.expr.sql.grammar import LARGEST_SPAN, Grammar
from tailorbird.expr.sql.query import Dialect
from tailorbird.expr.text import LOWER_FROM, LOWER_TO
from tailorbird.expr.types import Type

__all__ = ["POSTGRES_FUNCTIONS", "Postgres"]


class Postgres(Grammar):
    """PostgreSQL 13 and later.

    Its float8 raises where IEEE goes to infinity or silently to zero, so sums and products that can leave the range go
    through functions that yield NULL and zero instead.
    """

    dialect = Dialect.POSTGRES
    float_type = "float8"
    int_type = "bigint"
    text_type = "text"
    barrier = " OFFSET 0"
    casts: ClassVar = {
        Type.BOOL: "boolean", Type.NUMBER: "float8", Type.TEXT: "text", Type.TIME: "bigint", Type.DURATION: "bigint",
        Type.TEXTS: "text[]",
    }  # fmt: skip

    def among(self, column: str, keys: Sequence[int]) -> str:
        return f"{column} = ANY(CAST({self.bindings.bind(list(keys))} AS bigint[]))"

    def handle(self, data: str, path: tuple[str, ...]) -> str:
        return "(" + " -> ".join([data, *(self.text(key) for key in path)]) + ")"

    def read(self, handle: str, type: Type) -> str:
        match type:
            case Type.NUMBER:
                return (
                    f"CASE WHEN jsonb_typeof({handle}) = 'number' THEN "
                    f"CASE WHEN {handle}::numeric BETWEEN -1e15 AND 1e15 THEN "
                    f"CASE WHEN abs({handle}::numeric) < 2.4703282292062328e-324 THEN 0::float8 ELSE {handle}::float8 END END END"
                )
            case Type.BOOL:
                return f"CASE WHEN jsonb_typeof({handle}) = 'boolean' THEN {handle}::boolean END"
            case Type.TEXT:
                return f"CASE WHEN jsonb_typeof({handle}) = 'string' THEN {handle} #>> '{{}}' END"
            case Type.TIME:
                return f"CASE WHEN jsonb_typeof({handle}) = 'string' THEN tailorbird_time({handle} #>> '{{}}') END"
            case _:
                return f"CASE WHEN jsonb_typeof({handle}) = 'array' THEN tailorbird_texts({handle}) END"

    def finite(self, number: str) -> str:
        return f"nullif(nullif({number}, 'infinity'::float8), '-infinity'::float8)"

    def add(self, op: str, left: str, right: str, safe: bool) -> str:
        return f"({left} {op} {right})" if safe else f"tailorbird_{'add' if op == '+' else 'subtract'}({left}, {right})"

    def multiply(self, left: str, right: str, safe: bool) -> str:
        return f"({left} * {right})" if safe else f"tailorbird_multiply({left}, {right})"

    def divide(self, left: str, right: str) -> str:
        return f"tailorbird_divide({left}, {right})"

    def span(self, whole: str) -> str:
        return f"tailorbird_span({whole})"

    def rounded_span(self, number: str) -> str:
        return f"tailorbird_span({number} + 0.5::float8)"

    def float_literal(self, digits: str) -> str:
        return f"{digits}::float8" if not digits.startswith("-") else f"({digits})::float8"

    def extreme(self, fn: str, items: list[str], type: Type, known: bool) -> str:
        if known:
            return f"{'least' if fn == 'min' else 'greatest'}({', '.join(items)})"
        found = items[0]
        for item in items[1:]:
            found = f"tailorbird_{fn}({found}, {item})"
        return found

    def part(self, name: str, instant: str) -> str:
        return f"tailorbird_{name}({instant})"

    def compare_text(self, op: str, left: str, right: str) -> str:
        return f'({left} {op} {right} COLLATE "C")'

    def fold(self, fn: str, text: str) -> str:
        return f"tailorbird_{fn}({text})"

    def text_test(self, op: str, text: str, part: str) -> str:
        match op:
            case "contains":
                return f"(strpos({text}, {part}) > 0)"
            case "starts with":
                return f"starts_with({text}, {part})"
            case _:
                return f"starts_with(reverse({text}), reverse({part}))"

    def length(self, text: str) -> str:
        return f"char_length({text})"

    def size(self, texts: str) -> str:
        return f"cardinality({texts})"

    def has(self, texts: str, item: str) -> str:
        return f"tailorbird_has({texts}, {item})"

    def edge(self, fn: str, value: str, type: Type, where: str) -> str:
        order = "e.moment, e.seq" if fn == "first" else "e.moment DESC, e.seq DESC"
        if type is Type.TEXTS:  # arrays of unlike lengths do not stack into one array
            return f"(array_agg(to_jsonb({value}) ORDER BY {order}) FILTER (WHERE {where}))[1]"
        return f"(array_agg({value} ORDER BY {order}) FILTER (WHERE {where}))[1]"

    def unpacked(self, column: str, type: Type) -> str:
        return f"tailorbird_texts({column})" if type is Type.TEXTS else column

    def sums(self, column: str, where: str) -> list[str]:
        return [f"sum({column}) FILTER (WHERE {where})"]

    def total(self, parts: list[str]) -> str:
        return f"CAST({parts[0]} AS float8)"


_BODIES: Final = f"""
FUNCTION tailorbird_time(value text) RETURNS bigint AS $body$
DECLARE
  p text[] := regexp_match(value, '^([12][0-9]{{3}})-([0-9]{{2}})-([0-9]{{2}})'
    '(?:[T ]([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:[.]([0-9]{{1,9}}))?)?(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))?)?$');
  y int; m int; d int; days bigint; away bigint;
BEGIN
  IF p IS NULL OR strpos(value, chr(10)) > 0 THEN RETURN NULL; END IF;
  y := p[1]::int; m := p[2]::int; d := p[3]::int;
  IF m < 1 OR m > 12 OR d < 1 OR d > 31 THEN RETURN NULL; END IF;
  IF d > 28 AND d > (CASE WHEN m IN (4, 6, 9, 11) THEN 30 WHEN m <> 2 THEN 31
      WHEN mod(y, 4) = 0 AND (mod(y, 100) <> 0 OR mod(y, 400) = 0) THEN 29 ELSE 28 END) THEN RETURN NULL; END IF;
  days := make_date(y, m, d) - DATE '1970-01-01';
  away := (coalesce(p[9], '0')::bigint * 60 + coalesce(p[10], '0')::bigint) * CASE WHEN p[8] = '-' THEN -1 ELSE 1 END;
  RETURN (((days * 24 + coalesce(p[4], '0')::bigint) * 60 + coalesce(p[5], '0')::bigint - away) * 60
    + coalesce(p[6], '0')::bigint) * 1000
    + left(coalesce(p[7], '') || '000', 3)::bigint;
END $body$

FUNCTION tailorbird_texts(value jsonb) RETURNS text[] AS $body$
BEGIN
  RETURN ARRAY(SELECT item #>> '{{}}' FROM jsonb_array_elements(value) WITH ORDINALITY AS a(item, place)
    WHERE jsonb_typeof(item) = 'string' ORDER BY place);
END $body$

FUNCTION tailorbird_has(items text[], item text) RETURNS boolean AS $body$
BEGIN RETURN item = ANY(items); END $body$

FUNCTION tailorbird_add(a float8, b float8) RETURNS float8 AS $body$
BEGIN RETURN a + b; EXCEPTION WHEN numeric_value_out_of_range THEN RETURN NULL; END $body$

FUNCTION tailorbird_subtract(a float8, b float8) RETURNS float8 AS $body$
BEGIN RETURN a - b; EXCEPTION WHEN numeric_value_out_of_range THEN RETURN NULL; END $body$

FUNCTION tailorbird_multiply(a float8, b float8) RETURNS float8 AS $body$
BEGIN
  IF a = 0 OR b = 0 THEN RETURN 0; END IF;
  IF abs(a) BETWEEN 1e-150 AND 1e150 AND abs(b) BETWEEN 1e-150 AND 1e150 THEN RETURN a * b; END IF;
  BEGIN RETURN a * b; EXCEPTION WHEN numeric_value_out_of_range THEN
    RETURN CASE WHEN abs(a) < 1 OR abs(b) < 1 THEN 0 END;
  END;
END $body$

FUNCTION tailorbird_divide(a float8, b float8) RETURNS float8 AS $body$
BEGIN
  IF b = 0 THEN RETURN NULL; END IF;
  IF a = 0 THEN RETURN 0; END IF;
  IF abs(a) BETWEEN 1e-150 AND 1e150 AND abs(b) BETWEEN 1e-150 AND 1e150 THEN RETURN a / b; END IF;
  BEGIN RETURN a / b; EXCEPTION WHEN numeric_value_out_of_range THEN
    RETURN CASE WHEN abs(a) < abs(b) THEN 0 END;
  END;
END $body$

FUNCTION tailorbird_span(value float8) RETURNS bigint AS $body$
BEGIN RETURN CASE WHEN floor(value) BETWEEN -{LARGEST_SPAN} AND {LARGEST_SPAN} THEN floor(value)::bigint END; END $body$

FUNCTION tailorbird_span(value bigint) RETURNS bigint AS $body$
BEGIN RETURN CASE WHEN value BETWEEN -{LARGEST_SPAN} AND {LARGEST_SPAN} THEN value END; END $body$

FUNCTION tailorbird_min(a float8, b float8) RETURNS float8 AS $body$
BEGIN RETURN least(a, b); END $body$

FUNCTION tailorbird_max(a float8, b float8) RETURNS float8 AS $body$
BEGIN RETURN greatest(a, b); END $body$

FUNCTION tailorbird_min(a bigint, b bigint) RETURNS bigint AS $body$
BEGIN RETURN least(a, b); END $body$

FUNCTION tailorbird_max(a bigint, b bigint) RETURNS bigint AS $body$
BEGIN RETURN greatest(a, b); END $body$

FUNCTION tailorbird_lower(value text) RETURNS text AS $body$
BEGIN RETURN translate(value, '{LOWER_FROM}', '{LOWER_TO}'); END $body$

FUNCTION tailorbird_upper(value text) RETURNS text AS $body$
BEGIN RETURN translate(value, '{LOWER_TO}', '{LOWER_FROM}'); END $body$

FUNCTION tailorbird_days(instant bigint) RETURNS bigint AS $body$
BEGIN RETURN (instant - mod(mod(instant, 86400000) + 86400000, 86400000)) / 86400000; END $body$

FUNCTION tailorbird_civil(instant bigint) RETURNS bigint[] AS $body$
DECLARE
  -- Days from 0000-03-01, moved by whole eras of 400 years (146097 days) so that no division meets a negative number.
  days bigint := tailorbird_days(instant) + 719468 + 146097::bigint * 1000000;
  era bigint := days / 146097; of_era bigint := mod(days, 146097);
  years bigint := (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  of_year bigint := of_era - (365 * years + years / 4 - years / 100);
  shifted bigint := (5 * of_year + 2) / 153;
  m bigint := CASE WHEN shifted < 10 THEN shifted + 3 ELSE shifted - 9 END;
BEGIN
  RETURN ARRAY[years + (era - 1000000) * 400 + CASE WHEN m <= 2 THEN 1 ELSE 0 END, m, of_year - (153 * shifted + 2) / 5 + 1];
END $body$

FUNCTION tailorbird_year(instant bigint) RETURNS float8 AS $body$
BEGIN RETURN (tailorbird_civil(instant))[1]; END $body$

FUNCTION tailorbird_month(instant bigint) RETURNS float8 AS $body$
BEGIN RETURN (tailorbird_civil(instant))[2]; END $body$

FUNCTION tailorbird_day(instant bigint) RETURNS float8 AS $body$
BEGIN RETURN (tailorbird_civil(instant))[3]; END $body$

FUNCTION tailorbird_weekday(instant bigint) RETURNS float8 AS $body$
BEGIN RETURN mod(mod(tailorbird_days(instant) + 3, 7) + 7, 7) + 1; END $body$

FUNCTION tailorbird_hour(instant bigint) RETURNS float8 AS $body$
BEGIN RETURN mod(mod(instant, 86400000) + 86400000, 86400000) / 3600000; END $body$
"""

POSTGRES_FUNCTIONS: Final[str] = "\n".join(
    [
        "SELECT pg_advisory_xact_lock(8321002);",  # two processes that replace a function at once would fail
        *(f"CREATE OR REPLACE {body.strip()} LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE;" for body in _BODIES.split("\n\n")),
    ]
)
"""DDL of the functions that compiled queries call; safe to run again, also at once. To be executed without parameters."""
