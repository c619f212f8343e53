"""The catalog: names resolved in the order of need, circles named, broken things left out."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tailorbird.core.definition import Definition, Status
from tailorbird.core.event import Json
from tailorbird.definitions.catalog import Catalog
from tailorbird.errors import InvalidDefinition
from tailorbird.expr.nodes import Toggle, walk
from tailorbird.expr.types import Type


def define(kind: str, name: str, version: int = 1, **spec: Json) -> Definition:
    return Definition(kind=kind, name=name, version=version, status=Status.ACTIVE, spec=spec, digest=repr(spec), created_at=0)


def build(*definitions: Definition) -> Catalog:
    return Catalog.build(definitions)


def mistakes(*definitions: Definition) -> list[str]:
    with pytest.raises(InvalidDefinition) as caught:
        Catalog.build(definitions)
    return [item.render() for item in caught.value.mistakes]


def test_segments_and_features_resolve_whatever_their_order() -> None:
    catalog = build(
        define("segment", "a", when='member_of("b") and feature("f") > 1'),
        define("segment", "b", 3, when='feature("f") > 0 and member_of("c")'),
        define("segment", "c", members="manual"),
        define("feature", "f", value="count(order.placed)", view="v"),
        define("feature_view", "w", features=["f"]),
        define("attribute", "plan", type="text"),
    )
    assert set(catalog.conditions) == {"a", "b", "c"}
    assert catalog.conditions["c"] == Toggle(on="member.added", off="member.removed", key="segment", value="c")
    assert not [n for n in walk(catalog.conditions["a"]) if type(n).__name__ in ("MemberOf", "FeatureRef")]
    assert catalog.features["f"][1] == Type.NUMBER
    assert catalog.versions == {"a": 1, "b": 3, "c": 1}
    assert catalog.views == {"v": ("f",), "w": ("f",)}
    assert catalog.manual == {"c"}
    assert catalog.schema.attributes == {"plan": Type.TEXT}


def test_dependents_are_found_also_through_others() -> None:
    catalog = build(
        define("feature", "f", value="1"),
        define("segment", "a", when='feature("f") = 1'),
        define("segment", "b", when='member_of("a")'),
        define("subscription", "s", events=["x"], url="https://x.example", segments=["b"]),
    )
    assert catalog.dependents("feature", "f") == (("segment", "a"),)
    assert catalog.dependents("feature", "f", deep=True) == (("segment", "a"), ("segment", "b"), ("subscription", "s"))


def test_a_circle_is_told_with_its_path() -> None:
    told = mistakes(
        define("segment", "a", when='member_of("b")'),
        define("segment", "b", when='feature("f") > 1'),
        define("feature", "f", value='if(member_of("a"), 1, 2)'),
        define("segment", "z", when='member_of("z")'),
    )
    assert len(told) == 2
    assert any("circle: feature f → segment a → segment b → feature f" in item for item in told)
    assert any("circle: segment z → segment z" in item for item in told)


def test_all_mistakes_are_told_and_none_twice() -> None:
    told = mistakes(
        define("segment", "a", when='member_of("nobody")'),
        define("segment", "b", when='member_of("a") and 1'),
        define("feature", "f", value="count(x) + 'y'"),
        define("segment", "c", when='feature("f") > 1'),
        define("feature", "g", value="count(x)", type="text"),
        define("feature_view", "v", features=["f", "h"]),
        define("merge_rule", "one"),
        define("merge_rule", "two"),
    )
    text = "\n".join(told)
    assert "nobody" in text and "no feature called h" in text and "there is a merge rule already: one" in text
    assert len([item for item in told if item.startswith("segment c")]) == 0
    assert {item.split(",")[0] for item in told} == {
        "segment a", "segment b", "feature f", "feature g", "feature_view v", "merge_rule two",
    }  # fmt: skip


def test_leniently_what_is_broken_is_left_out_with_all_that_needs_it() -> None:
    catalog = Catalog.build(
        [
            define("segment", "bad", when="x = 1 = 2"),
            define("segment", "needs_bad", when='member_of("bad") or x = 1'),
            define("segment", "good", when="x = 1"),
        ],
        lenient=True,
    )
    assert set(catalog.conditions) == {"good"}
    assert {fault.key for fault in catalog.faults} == {("segment", "bad")}
    assert catalog.broken == {("segment", "bad"), ("segment", "needs_bad")}


def test_segments_that_double_at_every_step_are_refused_and_not_written_out() -> None:
    doubling = 'member_of("s{0}") or not member_of("s{0}")'
    chain = [define("segment", f"s{index}", when=doubling.format(index - 1)) for index in range(1, 40)]
    told = mistakes(define("segment", "s0", when="x = 1"), *chain)
    assert len(told) >= 1 and "parts" in told[0]


def test_a_long_chain_of_segments_does_not_exhaust_the_stack() -> None:
    chain = [define("segment", f"s{index}", when=f'x = 1 or member_of("s{index - 1}")') for index in range(1, 300)]
    assert any("levels" in item for item in mistakes(define("segment", "s0", when="x = 1"), *chain))


def specs(catalog: Catalog) -> Mapping[str, object]:
    return dict(catalog.conditions)


def test_building_twice_gives_equal_conditions() -> None:
    parts = [define("segment", "a", when='has_tag("x") and y > 1'), define("segment", "b", when='member_of("a")')]
    assert specs(build(*parts)) == specs(build(*reversed(parts)))
