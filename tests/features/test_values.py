"""Features as of any instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tailorbird.errors import NotFound
from tailorbird.expr.nodes import Aggregate, Literal, Node
from tailorbird.expr.types import Type
from tailorbird.features.values import choose, described, values_as_of, wire

COUNT = Aggregate("count", "order.placed")
FEATURES = {"orders": (COUNT, Type.NUMBER), "one": (Literal(1.0, Type.NUMBER), Type.NUMBER)}


class CountingBatch:
    """Answers every feature with the instant it was asked for, and remembers the questions."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, list[int]]] = []

    def values(self, expressions: Mapping[str, Node], instant: int, profiles: Sequence[int]) -> dict[int, dict[str, Any]]:
        self.asked.append((instant, list(profiles)))
        return {key: dict.fromkeys(expressions, instant) for key in profiles}


def test_names_are_features_or_views_and_unknown_ones_are_told_together() -> None:
    views = {"buying": ("orders",)}
    assert list(choose(FEATURES, views, ["buying", "one"])) == ["orders", "one"]
    assert list(choose(FEATURES, views)) == ["orders", "one"]
    with pytest.raises(NotFound, match=r"called ordres, x\. Did you mean orders\?"):
        choose(FEATURES, views, ["ordres", "x", "one"])


def test_nothing_asked_is_nothing_computed() -> None:
    batch = CountingBatch()
    assert values_as_of(batch, {}, [1], 5) == {1: {}}  # type: ignore[arg-type]
    assert values_as_of(batch, FEATURES, [], 5) == {}  # type: ignore[arg-type]
    assert batch.asked == []


def test_values_carry_type_and_freshness_and_read_well_as_json() -> None:
    orders, one = described(FEATURES, {"orders": 3.0}, 42)
    assert (orders.value, orders.type, orders.fresh_at) == (3.0, Type.NUMBER, 42)
    assert one.value is None
    assert [wire(86_400_000, kind) for kind in (Type.TIME, Type.DURATION, Type.NUMBER)] == ["1970-01-02", "1d", 86_400_000]
    assert wire(("a", "b"), Type.TEXTS) == ["a", "b"]
