"""Loads the language-neutral cases of ``tests/cases`` for the tests of every evaluator; the format is in its README."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tailorbird.core.event import Event
from tailorbird.expr.check import Schema, resolve, type_of
from tailorbird.expr.nodes import Node
from tailorbird.expr.parse import parse
from tailorbird.expr.read import parse_time
from tailorbird.expr.types import Type

FOLDER = Path(__file__).parent.parent / "cases"


class Case(NamedTuple):
    """One case, ready to be evaluated: at every instant of ``expected`` the node has the value (None: unknown)."""

    name: str
    node: Node
    seed: int
    events: list[Event]
    expected: list[tuple[int, Any]]


def raw_cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``(file/name, case)`` as the JSON says it."""
    for path in sorted(FOLDER.glob("*.json")):
        for case in json.loads(path.read_text(encoding="utf-8")):
            yield f"{path.stem}/{case['name']}", case


def load_cases() -> Iterator[Case]:
    """Yield every case; unpacks as ``name, node, seed, events, expected``."""
    for name, case in raw_cases():
        yield load(name, case)


def load(name: str, case: dict[str, Any]) -> Case:
    """Return one case made ready; unknown fields are refused so that a typing error cannot pass for a success."""
    strange = set(case) - {"name", "expression", "attributes", "segments", "features", "seed", "events", "expect"}
    assert not strange, f"{name}: unknown fields {strange}"
    node = resolve(parse(case["expression"]), schema_of(case), text=case["expression"])
    kind = type_of(node)
    expected = [(instant(at), value_of(value, kind)) for at, value in case["expect"]]
    return Case(name, node, case.get("seed", 1), events_of(case.get("events", [])), expected)


def schema_of(case: dict[str, Any]) -> Schema:
    """Return what the case's expression may name; segments and features may name those that stand before them."""
    attributes = {name: Type(kind) for name, kind in case.get("attributes", {}).items()}
    segments: dict[str, Node | None] = {}
    features: dict[str, tuple[Node, Type]] = {}
    schema = Schema(attributes=attributes, segments=segments, features=features)
    for name, text in case.get("features", {}).items():
        node = resolve(parse(text), schema, text=text)
        features[name] = (node, type_of(node))
    for name, text in case.get("segments", {}).items():
        segments[name] = None if text is None else resolve(parse(text), schema, expect=Type.BOOL, text=text)
    return schema


def events_of(rows: list[dict[str, Any]]) -> list[Event]:
    """Return the events in the order of the file, which is the order of arrival unless ``seq`` says otherwise."""
    events = []
    for place, row in enumerate(rows, start=1):
        at, seq = instant(row["at"]), row.get("seq", place)
        events.append(
            Event(
                id=row.get("id", f"e{seq}"), type=row["type"], profile=1, at=at, received_at=at, data=row.get("data", {}), seq=seq
            )
        )
    return events


def instant(text: str) -> int:
    """Return an instant in milliseconds."""
    found = parse_time(text)
    assert found is not None, text
    return found


def value_of(value: Any, kind: Type) -> Any:
    """Return an expected value as evaluators give it: numbers are floats, times and durations ints, lists tuples."""
    if value is None:
        return None
    match kind:
        case Type.NUMBER:
            return float(value)
        case Type.TEXTS:
            return tuple(value)
        case _:
            return value
