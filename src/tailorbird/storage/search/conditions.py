"""Criteria as SQL over the read model and the record; what a person gives is always bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from tailorbird.ports import Clause, Criteria
from tailorbird.storage.search.person import fold
from tailorbird.storage.search.side import Side

__all__ = ["Condition", "conditions", "words"]


class Condition(NamedTuple):
    """``source`` lists the people it holds for as rows ``profile`` (None: there is no such list); ``test`` tries one person ``p``.

    ``ordered``: the list can be read in order of profile without sorting.
    """

    source: str | None
    source_binds: tuple[Any, ...]
    test: str
    test_binds: tuple[Any, ...]
    ordered: bool = True


def conditions(criteria: Criteria, side: Side, *, indexed: bool) -> list[Condition]:
    """Return a condition for everything that is asked."""
    found: list[Condition] = []
    for prefix, value in (("s", criteria.status), ("d", criteria.domain)):
        if value is not None:
            found.append(_label(f"{prefix}:{value.strip().lower()}", side))
    if criteria.tag is not None:
        found.append(_label(f"t:{criteria.tag}", side))
    if criteria.segment is not None:
        found.append(_member(criteria.segment, side))
    if criteria.profiles is not None:
        found.append(_keys(criteria.profiles, side))
    if criteria.text is not None:
        found += _texts(criteria.text, side, indexed=indexed)
    found += [_attribute(test, side) for test in criteria.attributes]
    return found


def words(text: str) -> list[str]:
    """Return the words that are looked for, longest first."""
    return sorted(dict.fromkeys(fold(text).split()), key=len, reverse=True)[:20]


def _label(label: str, side: Side) -> Condition:
    source = f"SELECT profile FROM directory_label WHERE label = {side.mark}"
    test = f"EXISTS (SELECT 1 FROM directory_label l WHERE l.label = {side.mark} AND l.profile = p.profile)"
    return Condition(source, (label,), test, (label,))


def _member(segment: str, side: Side) -> Condition:
    source = f"SELECT profile FROM {side.record}membership WHERE segment = {side.mark}"
    test = f"EXISTS (SELECT 1 FROM {side.record}membership m WHERE m.segment = {side.mark} AND m.profile = p.profile)"
    return Condition(source, (segment,), test, (segment,))


def _keys(keys: Sequence[int], side: Side) -> Condition:
    listed = (side.listed(keys),)
    source = f"SELECT profile FROM directory_person WHERE {side.among('profile')}"
    return Condition(source, listed, side.among("p.profile"), listed)


def _texts(text: str, side: Side, *, indexed: bool) -> list[Condition]:
    asked = words(text)
    mark, column = side.mark, "profile" if side.postgres else "rowid"
    if side.postgres:
        binds = tuple(f"%{_escaped(word)}%" for word in asked for _ in range(2))
        where = " AND ".join(f"(name LIKE {mark} OR rest LIKE {mark})" for _ in asked) or "false"
        source = f"SELECT profile FROM directory_text WHERE {where}"
        return [Condition(source, binds, f"p.profile IN ({source})", binds, ordered=False)]
    long, short = [w for w in asked if len(w) >= 3], [w for w in asked if len(w) < 3]
    tests = ["directory_text MATCH ?"] if long else []
    tests += ["instr(name || char(10) || rest, ?) > 0" for _ in short]
    binds = ((" AND ".join(_phrase(word) for word in long),) if long else ()) + tuple(short)
    source = f"SELECT {column} AS profile FROM directory_text WHERE {' AND '.join(tests) or '0'}"
    return [Condition(source, binds, f"p.profile IN ({source})", binds, ordered=False)]


def _phrase(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _attribute(test: Clause, side: Side) -> Condition:
    inner, binds = (_postgres if side.postgres else _sqlite)(test)
    sql = f"EXISTS (SELECT 1 FROM {side.record}profile f WHERE f.key = p.profile AND {inner})"
    return Condition(None, (), sql, binds)


def _sqlite(test: Clause) -> tuple[str, tuple[Any, ...]]:
    path = "$" + "".join('."' + part.replace('"', '\\"') + '"' for part in test.name.split("."))
    if test.op == "contains":
        part = test.value
        member = "EXISTS (SELECT 1 FROM json_each(f.attributes, ?) j WHERE j.value = ?)"
        inside = "instr(lower(f.attributes ->> ?), lower(?)) > 0"
        sql = f"CASE json_type(f.attributes, ?) WHEN 'array' THEN {member} WHEN 'text' THEN {inside} ELSE 0 END"
        return sql, (path, path, part, path, str(part))
    values = test.value if test.op == "in" else [test.value]
    parts: list[str] = []
    binds: list[Any] = []
    for value in values:
        if isinstance(value, bool):
            parts.append("json_type(f.attributes, ?) = ?")
            binds += [path, "true" if value else "false"]
        elif value is None:
            parts.append("f.attributes ->> ? IS NULL")
            binds.append(path)
        else:
            kind = "('text')" if isinstance(value, str) else "('integer', 'real')"
            parts.append(f"(json_type(f.attributes, ?) IN {kind} AND f.attributes ->> ? = ?)")
            binds += [path, path, value]
    return f"({' OR '.join(parts) or '0'})", tuple(binds)


def _postgres(test: Clause) -> tuple[str, tuple[Any, ...]]:
    path = test.name.split(".")
    place = "(f.attributes #> %s::text[])"
    if test.op == "contains":
        inside = f"position(lower(%s) in lower({place} #>> '{{}}')) > 0"
        sql = f"CASE jsonb_typeof({place}) WHEN 'array' THEN {place} @> %s::jsonb WHEN 'string' THEN {inside} ELSE false END"
        return sql, (path, path, _json(test.value), str(test.value), path)
    values = test.value if test.op == "in" else [test.value]
    parts: list[str] = []
    binds: list[Any] = []
    for value in values:
        parts.append(f"{place} IS NULL" if value is None else f"{place} = %s::jsonb")
        binds += [path] if value is None else [path, _json(value)]
    return f"({' OR '.join(parts) or 'false'})", tuple(binds)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
