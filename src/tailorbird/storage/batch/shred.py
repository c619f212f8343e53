"""JSON taken apart into typed columns, one for each path and kind, by the reading rules that every engine follows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import duckdb

from tailorbird.core.event import PROFILE_UPDATED
from tailorbird.expr.sql.duckdb import Duck
from tailorbird.expr.sql.query import Bindings, Dialect
from tailorbird.expr.types import Type

__all__ = ["NULLS", "PRESENT", "Key", "column_name", "read_json", "shred"]

Key = tuple[str, tuple[str, ...]]
"""What a column holds: a type (or ``PRESENT``) and a path."""

PRESENT: Final = "present"
"""The kind of the columns that tell whether ``data.attributes`` holds a name."""

NULLS: Final[Mapping[str, str]] = {
    Type.NUMBER: "DOUBLE", Type.TEXT: "VARCHAR", Type.BOOL: "BOOLEAN", Type.TIME: "BIGINT", Type.TEXTS: "VARCHAR[]",
    PRESENT: "BOOLEAN",
}  # fmt: skip
"""The column types."""

_MOST_TYPES: Final = 300
_MOST_COLUMNS: Final = 400  # of one event type; what has more keeps its JSON
_DEEPEST: Final = 8
_NUMBERS: Final = ("BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT", "DOUBLE", "INTEGER", "UINTEGER")
_EASY = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]{0,60}\Z")


@dataclass(slots=True)
class _Leaves:
    """What the data of one event type holds: columns that one cast gives, columns that need care, and whether that is all."""

    quick: list[Key] = field(default_factory=list)
    careful: list[Key] = field(default_factory=list)
    whole: bool = True


def column_name(key: Key) -> str:
    """Return the name of the column of a path and kind: fixed, and free of what a person wrote."""
    kind, path = key
    return f"{kind}_{blake2b(json.dumps(path).encode(), digest_size=8).hexdigest()}"


def read_json(data: str, key: Key) -> str:
    """Return SQL that reads a path from JSON exactly as the compiled expressions do, without parameters."""
    kind, path = key
    bindings = Bindings()
    grammar = Duck(bindings)
    if kind == PRESENT:
        sql = f"({grammar.handle(data, path)} IS NOT NULL)"
    elif kind == Type.TIME:
        sql = grammar.time_of(f"({grammar.read(grammar.handle(data, path), Type.TEXT)})")
    else:
        sql = grammar.read(grammar.handle(data, path), Type(kind))
    query = bindings.finish(sql, Dialect.DUCKDB)
    values = iter(query.params)
    return re.sub(r"\?", lambda _: _literal(next(values)), query.sql)  # the grammar's own text has no question mark


def shred(con: duckdb.DuckDBPyConnection, raw: str, target: str) -> list[Key]:
    """Make the table ``target`` of the rows of ``raw`` (seq, origin, moment, type, data); return the columns it has.

    Rows lie sorted by type, then origin and time. ``data`` keeps the JSON of rows that hold more than their columns say.
    """
    con.execute(f"CREATE TABLE {target} (seq BIGINT, origin BIGINT, moment BIGINT, type VARCHAR, data VARCHAR)")
    found = con.execute(
        f"SELECT type, json_group_structure(data::JSON), count(*) FROM {raw} GROUP BY type ORDER BY count(*) DESC"
    ).fetchall()
    columns: dict[Key, None] = {}
    done: list[str] = []
    for type_, structure, _ in sorted(found[:_MOST_TYPES]):
        leaves = _leaves(con, raw, type_, json.loads(structure))
        _add_columns(con, target, [*leaves.quick, *leaves.careful], columns)
        _insert(con, raw, target, type_, leaves)
        done.append(type_)
    if len(found) > len(done):
        con.execute(
            f"INSERT INTO {target} BY NAME SELECT seq, origin, moment, type, data FROM {raw} WHERE NOT list_contains(?, type) "
            "ORDER BY type, origin, moment, seq",
            [done],
        )
    return list(columns)


def _leaves(con: duckdb.DuckDBPyConnection, raw: str, type_: str, structure: Any) -> _Leaves:
    leaves = _Leaves()
    if isinstance(structure, dict):
        _walk(structure, (), leaves, easy=True)
    elif con.execute(f"SELECT bool_or(data <> '{{}}') FROM {raw} WHERE type = ?", [type_]).fetchall()[0][0]:
        leaves.whole = False
    if type_ == PROFILE_UPDATED and isinstance(structure, dict):
        attributes = structure.get("attributes")
        if isinstance(attributes, dict):
            leaves.careful += [(PRESENT, ("attributes", name)) for name in attributes]
        elif attributes is not None:
            leaves.whole = False
    if len(leaves.quick) + len(leaves.careful) > _MOST_COLUMNS:
        return _Leaves(whole=False)
    return leaves


def _walk(structure: Mapping[str, Any], path: tuple[str, ...], leaves: _Leaves, *, easy: bool) -> None:
    folded = [name.lower() for name in structure]
    for name, kind in structure.items():
        here = (*path, name)
        # The fields of a STRUCT do not tell upper from lower case, and odd names are not worth the trouble.
        simple = easy and _EASY.match(name) is not None and folded.count(name.lower()) == 1
        if isinstance(kind, dict):
            if len(here) >= _DEEPEST:
                leaves.whole = False
            else:
                _walk(kind, here, leaves, easy=simple)
        elif isinstance(kind, list):
            (leaves.quick if simple and kind == ["VARCHAR"] else leaves.careful).append((Type.TEXTS, here))
        elif kind in _NUMBERS:
            (leaves.quick if simple else leaves.careful).append((Type.NUMBER, here))
        elif kind == "VARCHAR":
            (leaves.quick if simple else leaves.careful).append((Type.TEXT, here))
        elif kind == "BOOLEAN":
            (leaves.quick if simple else leaves.careful).append((Type.BOOL, here))
        elif kind != "NULL":  # of several kinds; an object among them may hold more than shows
            leaves.careful += [(each, here) for each in (Type.NUMBER, Type.TEXT, Type.BOOL, Type.TEXTS)]
            leaves.whole = False


def _add_columns(con: duckdb.DuckDBPyConnection, target: str, keys: Iterable[Key], columns: dict[Key, None]) -> None:
    for key in keys:
        if key not in columns:
            columns[key] = None
            con.execute(f"ALTER TABLE {target} ADD COLUMN {column_name(key)} {NULLS[key[0]]}")


def _insert(con: duckdb.DuckDBPyConnection, raw: str, target: str, type_: str, leaves: _Leaves) -> None:
    shape: dict[str, Any] = {}
    for kind, path in leaves.quick:
        place = shape
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = ["VARCHAR"] if kind == Type.TEXTS else NULLS[kind]
    parts = ["seq", "origin", "moment", "type", f"{'NULL' if leaves.whole else 'data'} AS data"]
    parts += [f"{_quick(key)} AS {column_name(key)}" for key in leaves.quick]
    quick = {path: _quick((kind, path)) for kind, path in leaves.quick}
    for key in leaves.careful:
        sql = read_json("data", key)
        if key[0] == PRESENT and key[1] in quick:  # most have a value, and then there is nothing to look up
            sql = f"CASE WHEN {quick[key[1]]} IS NOT NULL THEN true ELSE {sql} END"
        parts.append(f"{sql} AS {column_name(key)}")
    source = (
        f"SELECT *, json_transform(data::JSON, {_literal(json.dumps(shape))}) AS s FROM {raw}"
        if shape
        else f"SELECT * FROM {raw}"
    )
    con.execute(
        f"INSERT INTO {target} BY NAME SELECT {', '.join(parts)} FROM ({source} WHERE type = ?) ORDER BY origin, moment, seq",
        [type_],
    )


def _quick(key: Key) -> str:
    kind, path = key
    field = "s" + "".join(f"[{_literal(name)}]" for name in path)
    if kind == Type.NUMBER:
        return f"CASE WHEN {field} BETWEEN -1e15 AND 1e15 THEN {field} + 0.0 END"
    return f"list_filter({field}, lambda v: v IS NOT NULL)" if kind == Type.TEXTS else field


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    raise TypeError(f"a path is text, not {type(value).__name__}")
