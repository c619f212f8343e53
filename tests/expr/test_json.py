"""The JSON form: it reads back as the same expression, and refuses everything else with a path."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expr.surface import expressions
from tailorbird.errors import InvalidExpression
from tailorbird.expr import from_json, nodes, parse, to_json


@settings(max_examples=300, deadline=None)
@given(expressions)
def test_json_reads_back_as_the_same_expression(node):
    written = json.dumps(to_json(node), allow_nan=False)
    again = from_json(json.loads(written))
    assert again == node
    percents = [part.percent for part in nodes.walk(node) if isinstance(part, nodes.Literal)]
    assert [part.percent for part in nodes.walk(again) if isinstance(part, nodes.Literal)] == percents
    assert json.dumps(to_json(again)) == written


KEYS = st.sampled_from(
    [
        "op",
        "left",
        "right",
        "item",
        "items",
        "event",
        "path",
        "where",
        "within",
        "args",
        "value",
        "steps",
        "for",
        "as",
        "options",
        "x",
    ]
)
OPS = st.sampled_from(
    ["and", "=", "count", "min", "in", "held", "sequence", "percent", "time", "duration", "attribute", "if", "has", "7d"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3) | OPS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner | OPS, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(ANYTHING)
def test_any_json_is_read_or_refused_as_an_invalid_expression(value):
    try:
        from_json(value)
    except InvalidExpression as error:
        assert error.mistakes
        assert all(mistake.where.startswith("$") for mistake in error.mistakes)


def mistakes(value):
    with pytest.raises(InvalidExpression) as caught:
        from_json(value)
    return [(mistake.where, mistake.code) for mistake in caught.value.mistakes]


@pytest.mark.parametrize(
    ("value", "where", "code"),
    [
        (None, "$", "wrong_kind"),
        (float("nan"), "$", "bad_number"),
        (float("inf"), "$", "bad_number"),
        (1e16, "$", "bad_number"),
        (10**400, "$", "bad_number"),
        ([1], "$[0]", "wrong_kind"),
        ("a\0", "$", "bad_character"),
        ("\ud800", "$", "bad_character"),
        ({}, "$", "missing_field"),
        ({"op": 3}, "$", "missing_field"),
        ({"op": "nand", "items": []}, "$.op", "unknown_operator"),
        ({"op": "min over events", "event": "a.b", "path": ["c"]}, "$.op", "unknown_operator"),
        ({"op": "not"}, "$", "missing_field"),
        ({"op": "not", "item": True, "extra": 1}, "$", "unknown_field"),
        ({"op": "and", "items": []}, "$.items", "wrong_kind"),
        ({"op": "and", "items": [True, {"op": "not", "item": None}]}, "$.items[1].item", "wrong_kind"),
        ({"op": "in", "item": 1, "options": [{"op": "now"}]}, "$.options[0]", "not_constant"),
        ({"op": "count", "event": "a.b", "within": "soon"}, "$.within", "bad_duration"),
        ({"op": "count", "event": "a.b", "within": "-7d"}, "$.within", "bad_duration"),
        ({"op": "attribute", "path": []}, "$.path", "wrong_kind"),
        ({"op": "attribute", "path": ["a", 1]}, "$.path[1]", "wrong_kind"),
        ({"op": "attribute", "path": ["a"], "as": "duration"}, "$.as", "bad_cast"),
        ({"op": "time", "value": "2026-02-30"}, "$.value", "bad_time"),
        ({"op": "percent", "value": "ten"}, "$.value", "bad_number"),
        ({"op": "sequence", "steps": [{"op": "did", "event": "a"}], "within": "1d"}, "$.steps[0]", "unknown_field"),
    ],
)
def test_a_mistake_names_its_path(value, where, code):
    assert (where, code) in mistakes(value)


def test_all_mistakes_are_reported_together():
    value = {"op": "and", "items": [{"op": "x"}, {"op": "not"}, None]}
    assert [where for where, _ in mistakes(value)] == ["$.items[0].op", "$.items[1]", "$.items[2]"]


def test_deep_and_large_values_are_refused_without_recursion_errors():
    deep: object = True
    for _ in range(100_000):
        deep = {"op": "not", "item": deep}
    assert mistakes(deep)[-1][1] == "too_large"
    while isinstance(deep, dict):  # taken apart by hand: Python frees nested dicts recursively
        deep = deep["item"]
    assert mistakes({"op": "and", "items": [True] * 3_000})[-1][1] == "too_large"
    assert mistakes("x" * 20_001)[-1][1] == "too_large"


def test_readable_forms():
    assert to_json(parse('count(page.viewed where url contains "/pricing", within 7d) >= 3')) == {
        "op": ">=",
        "left": {
            "op": "count",
            "event": "page.viewed",
            "where": {"op": "contains", "text": {"op": "property", "path": ["url"]}, "part": "/pricing"},
            "within": "7d",
        },
        "right": 3,
    }
    assert to_json(parse("min(a, 10%)")) == {
        "op": "min",
        "args": [{"op": "attribute", "path": ["a"]}, {"op": "percent", "value": "10%"}],
    }
    assert to_json(parse("time(min(order.placed.day))")) == {"op": "min", "event": "order.placed", "path": ["day"], "as": "time"}
