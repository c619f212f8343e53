"""Values of features as of any instant, for one profile or many, with their types and how fresh they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from tailorbird.errors import NotFound
from tailorbird.expr.nodes import Node
from tailorbird.expr.types import Type
from tailorbird.expr.units import duration_text, instant_text
from tailorbird.ports import Batch

__all__ = ["FeatureValue", "Features", "choose", "described", "values_as_of", "wire"]

Features = Mapping[str, tuple[Node, Type]]
"""Features by name: resolved expression and type."""


@dataclass(frozen=True, slots=True)
class FeatureValue:
    """A feature of one profile: its value (None: unknown), its type, and the instant up to which it is current."""

    name: str
    value: Any
    type: Type
    fresh_at: int


def choose(features: Features, views: Mapping[str, Sequence[str]], names: Iterable[str] | None = None) -> Features:
    """Return the features of these names, each the name of a feature or of a feature view; all of them when left out.

    Raises ``NotFound`` naming every name that is neither.
    """
    if names is None:
        return dict(features)
    chosen: dict[str, tuple[Node, Type]] = {}
    missing: list[str] = []
    for name in names:
        if name in features:
            chosen[name] = features[name]
        elif name in views:
            chosen |= {item: features[item] for item in views[name] if item in features}
        else:
            missing.append(name)
    if missing:
        close = [near for name in missing for near in get_close_matches(name, [*features, *views], n=1)]
        hint = f"Did you mean {', '.join(close)}?" if close else "List what there is with: tailorbird features"
        raise NotFound(f"There is no feature or feature view called {', '.join(missing)}.", hint=hint)
    return chosen


def values_as_of(batch: Batch, features: Features, profiles: Sequence[int], instant: int) -> dict[int, dict[str, Any]]:
    """Return for each profile key the value of each feature as of the instant, from nothing that happened after it."""
    if not profiles or not features:
        return {key: {} for key in profiles}
    return batch.values({name: node for name, (node, _) in features.items()}, instant, profiles)


def described(features: Features, values: Mapping[str, Any], instant: int) -> tuple[FeatureValue, ...]:
    """Return the values of one profile as of an instant with their types, in the order of the features.

    A live value is computed when it is asked for, so it is fresh as of the instant it was asked for.
    """
    return tuple(FeatureValue(name, values.get(name), kind, instant) for name, (_, kind) in features.items())


def wire(value: Any, kind: Type) -> Any:
    """Return a value as JSON shows it: times and durations in the notation of the language, everything else as it is.

    >>> wire(86_400_000, Type.TIME), wire(5_400_000, Type.DURATION), wire(None, Type.TIME)
    ('1970-01-02', '90m', None)
    """
    if value is None:
        return None
    if kind == Type.TIME:
        return instant_text(int(value))
    if kind == Type.DURATION:
        return duration_text(int(value))
    return list(value) if kind == Type.TEXTS else value
