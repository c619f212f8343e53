"""Adding a node or a function cannot be forgotten anywhere: every visitor meets every one of them here."""

from __future__ import annotations

from pathlib import Path

import pytest

from expr.cases import raw_cases
from tailorbird.errors import InvalidExpression
from tailorbird.expr import Schema, explain, from_json, nodes, parse, resolve, to_json, to_text, type_of
from tailorbird.expr.evaluate import History, evaluate
from tailorbird.expr.forms import FORM_NAMES
from tailorbird.expr.incremental import Program
from tailorbird.expr.json import JSON_OPS
from tailorbird.expr.sql import Dialect, compile_values
from tailorbird.expr.types import Type

INSTANT = 1_772_323_200_000
SURFACE_ONLY = {"HasTag", "MemberOf", "FeatureRef"}
SCHEMA = Schema(
    segments={"s": resolve(parse('plan = "pro"'), Schema()), "board": None},
    features={"f": (resolve(parse("count(a.b)"), Schema()), Type.NUMBER)},
)
SAMPLES = {
    "Literal": "1 = 1",
    "Now": "now > 2026-01-01",
    "Attribute": 'account.tier = "gold"',
    "Property": "did(a.b where x = 1)",
    "EventTime": "did(a.b where at > 2026-01-01)",
    "Not": "not a = 1",
    "And": "a = 1 and b = 2",
    "Or": "a = 1 or b = 2",
    "Compare": "a < 1",
    "In": "a in (1, 2)",
    "TextTest": 'a contains "x"',
    "ListHas": 'a has "x"',
    "IsKnown": "text(a) is known",
    "IsTrue": "is_true(a = 1)",
    "Arith": "a + 1 > 2",
    "Negate": "-(a * 2) > 2",
    "Call": "abs(a) > 2",
    "If": "if(a = 1, 2, 3) > 2",
    "Aggregate": "count(a.b where x = 1, within 7d) > 1",
    "Did": "did(a.b, within 7d)",
    "TimeSince": "time_since(a.b) < 7d",
    "Held": "held(a = 1, for 7d)",
    "Step": "sequence(a.b, c.d where x = 1, within 1d)",
    "Sequence": "sequence(a.b, c.d, within 1d)",
    "MemberOf": 'member_of("s")',
    "FeatureRef": 'feature("f") > 1',
    "HasTag": 'has_tag("vip")',
    "Toggle": 'member_of("board")',
    "Consented": 'consented("email", "marketing")',
    "Bucket": 'bucket("salt") < 50%',
}
"""One condition per node class that holds such a node, before or after it is resolved."""
CALLS = {
    "min": "min(a, 1)", "max": "max(a, 1)", "abs": "abs(a)", "round": "round(a, 2)", "floor": "floor(a)", "ceil": "ceil(a)",
    "lower": "lower(a)", "upper": "upper(a)", "length": "length(text(a)) + length(texts(b))", "default": "default(a, 1)",
    "year": "year(now)", "month": "month(a)", "day": "day(a)", "weekday": "weekday(a)", "hour": "hour(a)",
}  # fmt: skip
AGGREGATES = [
    "count(a.b)", "sum(a.b.c)", "avg(a.b.c)", "number(min(a.b.c))", "time(max(a.b.c))", "text(first(a.b.c))", "bool(last(a.b.c))",
    "texts(last(a.b.c))", "distinct(a.b.c)",
]  # fmt: skip


def node_classes():
    """Return the names of all node classes of the language (an evaluator may have nodes of its own)."""
    return {kind.__name__ for kind in vars(nodes).values() if isinstance(kind, type) and issubclass(kind, nodes.Node)} - {"Node"}


def meet_every_visitor(text):
    """Feed one expression to everything that walks expressions."""
    surface = parse(text)
    assert parse(to_text(surface)) == surface
    assert from_json(to_json(surface)) == surface
    assert explain(surface)
    resolved = resolve(surface, SCHEMA, text=text)
    assert to_text(resolved) and explain(resolved) and from_json(to_json(resolved)) == resolved
    kind = type_of(resolved)
    value = evaluate(resolved, History(1, []), INSTANT)
    program = Program({"c": resolved}, {"v": resolved}) if kind is Type.BOOL else Program({}, {"v": resolved})
    state = program.start(1, [])
    program.changes(state, None, INSTANT)
    assert program.value(state, "v", INSTANT) == value
    for dialect in Dialect:
        assert compile_values({"v": resolved}, INSTANT, dialect).sql
    return surface, resolved


@pytest.mark.parametrize("text", [*SAMPLES.values(), *CALLS.values(), *AGGREGATES])
def test_every_expression_has_a_reason(text):
    why = pytest.importorskip("tailorbird.expr.why").why
    resolved = resolve(parse(text), SCHEMA)
    assert why(resolved, History(1, []), INSTANT).value == evaluate(resolved, History(1, []), INSTANT)


def test_every_node_class_has_a_sample():
    assert node_classes() == set(SAMPLES)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_visitor_handles(name):
    surface, resolved = meet_every_visitor(SAMPLES[name])
    where = surface if name in SURFACE_ONLY else resolved
    assert any(type(part).__name__ == name for part in nodes.walk(where))
    assert not any(type(part).__name__ in SURFACE_ONLY for part in nodes.walk(resolved))


@pytest.mark.parametrize("text", [*CALLS.values(), *AGGREGATES])
def test_every_visitor_handles_the_function(text):
    meet_every_visitor(text)


def test_every_function_has_a_sample():
    texts = " ".join([*CALLS.values(), *AGGREGATES, *SAMPLES.values()])
    assert [name for name in FORM_NAMES if f"{name}(" not in texts] == []


@pytest.mark.parametrize("name", FORM_NAMES)
def test_the_cases_show_the_function(name):
    assert any(f"{name}(" in case["expression"] for _, case in raw_cases())


@pytest.mark.parametrize(
    "word",
    ["and", "or", "not", "in", "not in", "is known", "is unknown", "has", "contains", "starts with", "ends with", "where", "within",
     "now", "at", "=", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "for"],
)  # fmt: skip
def test_the_cases_show_the_word(word):
    spaced = word if word == "%" else f" {word} "
    assert any(spaced in f" {case['expression']} ".replace("(", " ").replace(",", " ") for _, case in raw_cases())


def test_a_function_that_does_not_exist_is_refused_from_json_too():
    with pytest.raises(InvalidExpression):
        from_json({"op": "median", "args": [1, 2]})


def test_the_reference_lists_every_function_and_every_json_operator():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "expressions.md").read_text(encoding="utf-8")
    assert [name for name in FORM_NAMES if f"`{name}(" not in page] == []
    assert [op for op in JSON_OPS if f"`{op}`" not in page] == []
