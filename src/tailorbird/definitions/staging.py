"""From definitions to the life cycle and the pipelines: conditions of stages resolved among all that is active."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tailorbird.core.definition import Definition, Kind
from tailorbird.definitions.shipped import shipped
from tailorbird.errors import InvalidExpression, Mistake
from tailorbird.expr.check import Schema, references, resolve
from tailorbird.expr.nodes import Node
from tailorbird.expr.parse import parse
from tailorbird.expr.types import Type
from tailorbird.profiles.lifecycle import STATUS, Lifecycle, Stage
from tailorbird.profiles.pipeline import Pipeline, parse_pipeline

__all__ = ["build_lifecycle", "chosen_lifecycle", "first_stage", "pipelines", "stage_needs"]

Key = tuple[str, str]


def chosen_lifecycle(definitions: Mapping[Key, Definition]) -> Definition | None:
    """Return the life cycle that holds: the team's (by name the first), else the shipped one.

    None where the team declares ``status`` as something that is not text: then it is no business of a life cycle.
    """
    declared = definitions.get((Kind.ATTRIBUTE, STATUS))
    if declared is not None and declared.spec.get("type") != Type.TEXT:
        return None
    own = [item for key, item in sorted(definitions.items()) if key[0] == Kind.LIFECYCLE and item.spec.get("stages")]
    return own[0] if own else shipped(Kind.LIFECYCLE)


def first_stage(chosen: Definition | None) -> str | None:
    """Return the stage in which everybody begins."""
    stages = [] if chosen is None else [stage for stage in _stages(chosen) if not stage.get("from_anywhere")]
    return stages[0].get("name") if stages else None


def stage_needs(definition: Definition) -> tuple[frozenset[str], frozenset[str]]:
    """Return the segments and the features that the conditions of a life cycle name."""
    segments: set[str] = set()
    features: set[str] = set()
    for _, text in _conditions(definition):
        try:
            found = references(parse(text))
        except InvalidExpression:
            continue
        segments |= found.segments
        features |= found.features
    return frozenset(segments), frozenset(features)


def build_lifecycle(
    chosen: Definition | None, schema: Schema
) -> tuple[Lifecycle | None, list[tuple[str, tuple[Mistake, ...], str]]]:
    """Return the life cycle with its conditions resolved, and (stage, mistakes, text) for each condition that is wrong.

    A stage whose condition is wrong stays, without it: nobody comes to it by itself.
    """
    if chosen is None or first_stage(chosen) is None:
        return None, []
    faults: list[tuple[str, tuple[Mistake, ...], str]] = []
    nodes: dict[str, Node] = {}
    for name, text in _conditions(chosen):
        try:
            nodes[name] = resolve(parse(text), schema, expect=Type.BOOL, text=text)
        except InvalidExpression as error:
            faults.append((name, error.mistakes, text))
    stages = tuple(
        Stage(s["name"], nodes.get(s["name"]), bool(s.get("from_anywhere")), bool(s.get("terminal"))) for s in _stages(chosen)
    )
    return Lifecycle(chosen.name, stages, chosen.version), faults


def pipelines(definitions: Mapping[Key, Definition]) -> dict[str, Pipeline]:
    """Return the pipelines by name: the team's, else the shipped one."""
    own = [item for key, item in sorted(definitions.items()) if key[0] == Kind.PIPELINE]
    return {item.name: parse_pipeline(item.name, item.spec) for item in own or [shipped(Kind.PIPELINE)]}


def _stages(definition: Definition) -> list[dict[str, str]]:
    return [s for s in definition.spec.get("stages") or () if isinstance(s, dict) and isinstance(s.get("name"), str)]


def _conditions(definition: Definition) -> Iterator[tuple[str, str]]:
    for stage in _stages(definition):
        if isinstance(stage.get("when"), str):
            yield stage["name"], stage["when"]
