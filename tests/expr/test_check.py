"""Checking: readings follow from use, names exist, time is used predictably, and every mistake is reported at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from expr.surface import expressions
from tailorbird.errors import InvalidExpression
from tailorbird.expr import Schema, nodes, parse, references, resolve, type_of
from tailorbird.expr.types import Type

SCHEMA = Schema(
    attributes={"tier": Type.TEXT, "account.seats": Type.NUMBER},
    segments={
        "vip": resolve(parse("sum(order.placed.total) > 100"), Schema(), expect=Type.BOOL),
        "board": None,
        "recent": resolve(parse("time_since(order.placed) < 7d"), Schema(), expect=Type.BOOL),
    },
    features={
        "score": (resolve(parse("count(page.viewed) / 10"), Schema()), Type.NUMBER),
        "age": (resolve(parse("time_since(signup)"), Schema()), Type.DURATION),
    },
)


def check(text, expect=None):
    return resolve(parse(text), SCHEMA, expect=expect, text=text)


def readings(text, expect=None):
    """Return how each value is read, by its last path segment."""
    found = {}
    for part in nodes.walk(check(text, expect)):
        if isinstance(part, nodes.Attribute | nodes.Property | nodes.Aggregate) and part.path and part.type is not None:
            found[part.path[-1]] = str(part.type)
    return found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('x = "a"', {"x": "text"}),
        ("3 < x", {"x": "number"}),
        ("x = true", {"x": "bool"}),
        ("x and y", {"x": "bool", "y": "bool"}),
        ("x = 2026-01-01", {"x": "time"}),
        ('x = ["a"]', {"x": "texts"}),
        ("now - x > 3d", {"x": "time"}),
        ("x + 3d < now", {"x": "time"}),
        ("x - y > 3d", {"x": "time", "y": "time"}),
        ("x - y > 3", {"x": "number", "y": "number"}),
        ("x * y > z", {"x": "number", "y": "number", "z": "number"}),
        ("x * 3d > 1h", {"x": "number"}),
        ("x + y = 3", {"x": "number", "y": "number"}),
        ("-x > 3", {"x": "number"}),
        ('x contains "a" and y starts with x', {"x": "text", "y": "text"}),
        ('x has "a"', {"x": "texts"}),
        ("x has y and x = z", {"x": "texts", "y": "text", "z": "texts"}),
        ("x in (1, 2)", {"x": "number"}),
        ('if(x, y, "a") = z', {"x": "bool", "y": "text", "z": "text"}),
        ("default(x, 1) > y", {"x": "number", "y": "number"}),
        ("min(x, y) > 2026-01-01", {"x": "time", "y": "time"}),
        ("hour(x) = 3", {"x": "time"}),
        ('lower(x) = "a"', {"x": "text"}),
        ("sum(a.b.c) > 1", {"c": "number"}),
        ("min(a.b.c) < now", {"c": "time"}),
        ('last(a.b.c) = x and x = "1"', {"c": "text", "x": "text"}),
        ("x is known and x = 3", {"x": "number"}),
        ("tier is known", {"tier": "text"}),
        ("account.seats is known", {"seats": "number"}),
        ("number(tier) is known", {"tier": "number"}),
        ("count(a.b where x > 3 and y) > 1", {"x": "number", "y": "bool"}),
        ("count(a.b where x is known) + sum(a.b.x)", {"x": "number"}),
        ('held(x = "a", for 1d)', {"x": "text"}),
        ('sequence(a where x = 1, b where x = "1", within 1d)', {"x": "text"}),
        ('feature("score") > x', {"x": "number"}),
    ],
)
def test_readings_follow_from_use(text, found):
    assert {name: kind for name, kind in readings(text).items() if name in found} == found


@pytest.mark.parametrize(("kind", "reading"), [(Type.NUMBER, "number"), (Type.TEXT, "text"), (Type.BOOL, "bool")])
def test_readings_follow_from_what_is_expected(kind, reading):
    assert readings("x", kind) == {"x": reading}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1", "number"), ("x = 1", "bool"), ("now", "time"), ("now - 3d", "time"), ("now - 2026-01-01", "duration"),
        ("3d / 1h", "number"), ("3d / 2", "duration"), ("2 * 3d", "duration"), ("3d + now", "time"), ("abs(-3d)", "duration"),
        ('lower("a")', "text"), ("year(now)", "number"), ("if(true, 3d, 1d)", "duration"), ("max(now, 2026-01-01)", "time"),
        ("distinct(a.b.c)", "number"), ("texts(x)", "texts"), ("time(last(a.b.c))", "time"), ("time_since(a)", "duration"),
        ('feature("age")', "duration"), ('member_of("vip")', "bool"), ('default(3d, 1d)', "duration"), ('bucket("x")', "number"),
    ],
)  # fmt: skip
def test_types(text, kind):
    assert type_of(check(text)) == Type(kind)


def mistakes(text, expect=None):
    with pytest.raises(InvalidExpression) as caught:
        check(text, expect)
    return [(text[m.span.start : m.span.end], m.code, f"{m.message} {m.hint}") for m in caught.value.mistakes if m.span]


@pytest.mark.parametrize(
    ("text", "culprit", "code"),
    [
        ("x is known", "x", "ambiguous"),
        ("x = y", "y", "ambiguous"),
        ("x - y", "x", "ambiguous"),
        ("length(x) > 1", "x", "ambiguous"),
        ("max(a.b.c)", "max(a.b.c)", "ambiguous"),
        ('"a" < 3', '"a" < 3', "wrong_type"),
        ("true < false", "true", "wrong_type"),
        ('["a"] < ["b"]', '["a"]', "wrong_type"),
        ("not 3", "3", "wrong_type"),
        ("x = 1 and 3", "3", "wrong_type"),
        ('1 + "a"', '"a"', "wrong_type"),
        ("now + now", "now + now", "wrong_type"),
        ("now * 2 > now", "now", "wrong_type"),
        ("3d * 3d > 1d", "3d * 3d", "wrong_type"),
        ("3 / 3d > 1", "3 / 3d", "wrong_type"),
        ("3 - 3d > 1", "3 - 3d", "wrong_type"),
        ("x + y > 3d", "x + y > 3d", "wrong_type"),
        ('min("a", "b") = "a"', '"a"', "wrong_type"),
        ('x in (1, "a")', 'x in (1, "a")', "wrong_type"),
        ('3 contains "a"', "3", "wrong_type"),
        ("x has 3", "3", "wrong_type"),
        ("if(1, 2, 3)", "1", "wrong_type"),
        ('if(true, 2, "a")', 'if(true, 2, "a")', "wrong_type"),
        ("tier > 3", "tier > 3", "wrong_type"),
        ("year(3) = 1", "3", "wrong_type"),
        ("abs(now) = now", "now", "wrong_type"),
        ("count(a.b where 3)", "3", "wrong_type"),
        ("held(3, for 1d)", "3", "wrong_type"),
        ("sum(a.b.c) contains x", "sum(a.b.c)", "wrong_type"),
        ("text(sum(a.b.c)) = x", "text(sum(a.b.c))", "bad_cast"),
        ("time_since(a.b) > 3", "time_since(a.b) > 3", "wrong_type"),
        ("round(x, 7) > 1", "7", "wrong_arguments"),
        ("round(x, 1.5) > 1", "1.5", "wrong_arguments"),
        ("round(x, y) > 1", "y", "wrong_arguments"),
        ('member_of("vipp")', 'member_of("vipp")', "unknown_segment"),
        ('feature("scores") > 1', 'feature("scores")', "unknown_feature"),
        ("did(a.b where now > at)", "now", "bad_place"),
        ("did(a.b where did(c.d))", "did(c.d)", "bad_place"),
        ('did(a.b where has_tag("x"))', 'has_tag("x")', "bad_place"),
        ('did(a.b where member_of("vip"))', 'member_of("vip")', "bad_place"),
        ('did(a.b where bucket("x") < 1)', 'bucket("x")', "bad_place"),
        ("did(a.b where held(c, for 1d))", "held(c, for 1d)", "bad_place"),
        ("(now - x) / 1d * ((now - y) / 1d) > 1", "(now - x) / 1d * ((now - y) / 1d)", "varies_with_time"),
        ("3d / time_since(a.b) > 1", "3d / time_since(a.b)", "varies_with_time"),
        ('3d / feature("age") > 1', '3d / feature("age")', "varies_with_time"),
        ("held(now - x > 3d, for 1d)", "now - x > 3d", "varies_with_time"),
        ("held(time_since(a) > time_since(b), for 1d)", "time_since(a) > time_since(b)", "varies_with_time"),
        ("held(time_since(a) in (1d, 2d), for 1d)", "time_since(a) in (1d, 2d)", "varies_with_time"),
        ("held(hour(now) = 3, for 1d)", "hour(now) = 3", "varies_with_time"),
        ("held(now > now - 1d, for 1d)", "now > now - 1d", "varies_with_time"),
        ("held(default(time_since(a), 9d) > 3d, for 1d)", "default(time_since(a), 9d) > 3d", "varies_with_time"),
    ],
)
def test_refuses(text, culprit, code):
    found = mistakes(text)
    assert (culprit, code) in [(part, kind) for part, kind, _ in found], found


@pytest.mark.parametrize(
    "text",
    [
        "held(time_since(a) > 3d, for 1d)",
        "held(3d + 1d <= time_since(a) - 1h, for 1d)",
        "held(now - 1d > x, for 1d)",
        "held(x + 7d < now, for 1d)",
        "held(now > last(a.b.until), for 1d)",
        "held(text(x) is known and not (time_since(a) is known), for 1d)",
        'held(member_of("recent") or y = 1, for 1d)',
        "held(count(a.b, within 7d) > 3, for 1d)",
        "held(held(x = 1, for 1d), for 2d)",
        "time_since(a) * 2 > 3d",
        "(now - x) / 1d * 0.5 + time_since(a) / 1d > 3",
    ],
)
def test_predictable_uses_of_time_are_accepted(text):
    assert type_of(check(text, Type.BOOL)) is Type.BOOL


def test_all_mistakes_are_reported_together_in_reading_order():
    text = 'not 3 and member_of("vpi") and x is known and did(a.b where now > at) and "a" < 1'
    found = mistakes(text)
    assert [code for _, code, _ in found] == ["wrong_type", "unknown_segment", "ambiguous", "bad_place", "wrong_type"]
    assert "did you mean vip?" in found[1][2]


def test_one_wrong_operand_is_reported_once():
    assert len(mistakes('(1 + "x") * y > z')) == 1


def test_what_is_expected_is_checked():
    assert mistakes("count(a.b)", Type.BOOL)[0][2].startswith("the expression must give true or false, and this gives a number")


def test_names_are_written_out():
    assert check('has_tag("x")') == nodes.Toggle("tag.added", "tag.removed", "tag", "x")
    assert check('member_of("board")') == nodes.Toggle("member.added", "member.removed", "segment", "board")
    assert check('member_of("vip")') == nodes.IsTrue(SCHEMA.segments["vip"])
    assert check('feature("score")') == SCHEMA.features["score"][0]
    surface = (nodes.HasTag, nodes.MemberOf, nodes.FeatureRef)
    assert not any(
        isinstance(part, surface) for part in nodes.walk(check('has_tag("x") and member_of("vip") and feature("score") > 1'))
    )


def test_nested_and_or_become_flat():
    resolved = check("(a and b) and (c and (d or (e or f)))")
    assert isinstance(resolved, nodes.And) and len(resolved.items) == 4
    assert isinstance(resolved.items[3], nodes.Or) and len(resolved.items[3].items) == 3


def test_references():
    text = 'member_of("s") and feature("f") > sum(a.b.c) and x.y = 1 and did(q where z = 1) and sequence(m, n, within 1d)'
    names = references(parse(text))
    assert names == ({"s"}, {"f"}, {"x"}, {"a.b", "q", "m", "n"})


def test_segments_that_double_at_every_step_are_refused():
    segments = {"s0": resolve(parse("a = 1"), Schema())}
    schema = Schema(segments=segments)
    with pytest.raises(InvalidExpression, match="more than 20,000 parts"):
        for step in range(30):
            text = f'member_of("s{step}") and not member_of("s{step}")'
            segments[f"s{step + 1}"] = resolve(parse(text), schema, text=text)


def test_long_chains_of_segments_are_refused():
    segments = {"s0": resolve(parse("a = 1"), Schema())}
    schema = Schema(segments=segments)
    with pytest.raises(InvalidExpression, match="nests deeper"):
        for step in range(300):
            segments[f"s{step + 1}"] = resolve(parse(f'not member_of("s{step}")'), schema)


def test_held_stands_three_deep_at_most():
    assert check("held(held(held(x = 1, for 1d), for 1d), for 1d)")
    with pytest.raises(InvalidExpression, match="at most 3 deep"):
        check("held(held(held(held(x = 1, for 1d), for 1d), for 1d), for 1d)")


def test_without_source_text_mistakes_carry_no_place():
    with pytest.raises(InvalidExpression) as caught:
        resolve(parse("x is known"), Schema())
    assert [m.span for m in caught.value.mistakes] == [None]


@settings(max_examples=300, deadline=None)
@given(expressions)
def test_any_expression_is_resolved_or_refused(node):
    try:
        resolved = resolve(node, SCHEMA)
    except InvalidExpression as error:
        assert error.mistakes
        return
    type_of(resolved)
    for part in nodes.walk(resolved):
        assert not isinstance(part, nodes.HasTag | nodes.MemberOf | nodes.FeatureRef)
        if isinstance(part, nodes.Attribute | nodes.Property):
            assert part.type is not None
    assert resolve(resolved, SCHEMA) == resolved


def test_a_sequence_has_a_bounded_number_of_steps() -> None:
    steps = ", ".join(["page.viewed"] * 17)
    with pytest.raises(InvalidExpression, match="at most 16 steps, not 17"):
        resolve(parse(f"sequence({steps}, within 1d)"), Schema({}, {}, {}))
