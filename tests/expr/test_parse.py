"""The parser: what it reads, what it refuses and how helpfully, and that nothing makes it fall over."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tailorbird.errors import InvalidExpression
from tailorbird.expr import nodes as n
from tailorbird.expr import parse
from tailorbird.expr.types import Type

DAY = 86_400_000


def number(value, **more):
    return n.Literal(float(value), Type.NUMBER, **more)


def text(value):
    return n.Literal(value, Type.TEXT)


def a(*path):
    return n.Attribute(path)


@pytest.mark.parametrize(
    ("written", "node"),
    [
        ("true", n.Literal(True, Type.BOOL)),
        ("1.5", number(1.5)),
        ("1e3", number(1000)),
        ("-3", number(-3)),
        ("10%", number(0.1)),
        ("7d", n.Literal(7 * DAY, Type.DURATION)),
        ("-1d12h", n.Literal(-36 * 3_600_000, Type.DURATION)),
        ("500ms", n.Literal(500, Type.DURATION)),
        ("2w", n.Literal(14 * DAY, Type.DURATION)),
        ("1970-01-02", n.Literal(DAY, Type.TIME)),
        ("1970-01-01T01:00:00Z", n.Literal(3_600_000, Type.TIME)),
        ("1970-01-01T01:00:00.5+01:00", n.Literal(500, Type.TIME)),
        (r'"a\"b\\\n\u00e9\u{1F600}"', text('a"b\\\né😀')),
        ("'a\"b'", text('a"b')),
        ('["a", "b"]', n.Literal(("a", "b"), Type.TEXTS)),
        ("[]", n.Literal((), Type.TEXTS)),
        ("now", n.Now()),
        ("account.tier", a("account", "tier")),
        ("`odd name`.x", a("odd name", "x")),
        (r"`tick \` tock`", a("tick ` tock")),
        ("x.and.now", a("x", "and", "now")),
        ("for", a("for")),
        ("1 - 2 - 3", n.Arith("-", n.Arith("-", number(1), number(2)), number(3))),
        ("1 + 2 * 3", n.Arith("+", number(1), n.Arith("*", number(2), number(3)))),
        ("-x * 2", n.Arith("*", n.Negate(a("x")), number(2))),
        ("a or b and not c = 1", n.Or((a("a"), n.And((a("b"), n.Not(n.Compare("=", a("c"), number(1)))))))),
        ("a and (b and c)", n.And((a("a"), n.And((a("b"), a("c")))))),
        ("x in (1, -2, 10%)", n.In(a("x"), (number(1), number(-2), number(0.1)))),
        ('x not in ("a")', n.Not(n.In(a("x"), (text("a"),)))),
        ('x starts with "a"', n.TextTest("starts with", a("x"), text("a"))),
        ('x ends with "a"', n.TextTest("ends with", a("x"), text("a"))),
        ('x contains lower("A")', n.TextTest("contains", a("x"), n.Call("lower", (text("A"),)))),
        ('x has "a"', n.ListHas(a("x"), text("a"))),
        ("x is known", n.IsKnown(a("x"))),
        ("x + 1 is unknown", n.Not(n.IsKnown(n.Arith("+", a("x"), number(1))))),
        ("is_true(x)", n.IsTrue(a("x"))),
        ("if(x, 1, 2)", n.If(a("x"), number(1), number(2))),
        ("round(x, 2)", n.Call("round", (a("x"), number(2)))),
        ("count(page.viewed)", n.Aggregate("count", "page.viewed")),
        ("count(signup, within 1d)", n.Aggregate("count", "signup", within=DAY)),
        ('count("Any Name")', n.Aggregate("count", "Any Name")),
        ("sum(order.placed.cart.total)", n.Aggregate("sum", "order.placed", ("cart", "total"))),
        ('sum("Order Placed".total)', n.Aggregate("sum", "Order Placed", ("total",))),
        ("min(order.placed.total)", n.Aggregate("min", "order.placed", ("total",))),
        ("min(order.placed.total, within 1d)", n.Aggregate("min", "order.placed", ("total",), None, DAY)),
        (
            "max(order.placed.total where x = 1)",
            n.Aggregate("max", "order.placed", ("total",), n.Compare("=", n.Property(("x",)), number(1))),
        ),
        ("min(a.b.c, 3)", n.Call("min", (a("a", "b", "c"), number(3)))),
        ("max(a, b, c)", n.Call("max", (a("a"), a("b"), a("c")))),
        ("number(x)", n.Attribute(("x",), Type.NUMBER)),
        ("time(last(trip.booked.day))", n.Aggregate("last", "trip.booked", ("day",), type=Type.TIME)),
        ("did(a.b where text(c) is known)", n.Did("a.b", n.IsKnown(n.Property(("c",), Type.TEXT)))),
        ("did(a.b where at > now)", n.Did("a.b", n.Compare(">", n.EventTime(), n.Now()))),
        ("did(a.b where `at` = at.x)", n.Did("a.b", n.Compare("=", n.Property(("at",)), n.Property(("at", "x"))))),
        ("time_since(a.b)", n.TimeSince("a.b")),
        ("held(x, for 1d)", n.Held(a("x"), DAY)),
        ("sequence(a.b, c where d, within 1d)", n.Sequence((n.Step("a.b"), n.Step("c", n.Property(("d",)))), DAY)),
        ('member_of("x")', n.MemberOf("x")),
        ('feature("x")', n.FeatureRef("x")),
        ('has_tag("x")', n.HasTag("x")),
        ('bucket("x")', n.Bucket("x")),
        ('consented("email", "marketing")', n.Consented("email", "marketing")),
    ],
)
def test_reads(written, node):
    assert parse(written) == node


def test_spans_point_into_the_text():
    written = 'a = 1 and\n  count(page.viewed where url = "x") > 3'
    node = parse(written)
    found = {type(part).__name__: written[part.span.start : part.span.end] for part in n.walk(node)}
    assert found["Aggregate"] == 'count(page.viewed where url = "x")'
    assert found["Property"] == "url"
    assert found["And"] == written


def mistakes(written):
    with pytest.raises(InvalidExpression) as caught:
        parse(written)
    return caught.value.mistakes


@pytest.mark.parametrize(
    ("written", "culprit", "says"),
    [
        ("", "", "no expression"),
        ("# only a note", "", "no expression"),
        ("a == 1", "==", "write ="),
        ("a <> 1", "<>", "write !="),
        ("a && b", "&&", "write and"),
        ("a || b", "||", "write or"),
        ("!a", "!", "write not"),
        ("a ≥ 1", "≥", "write >="),
        ("a AND b", "AND", "write and"),
        ("a ; b", ";", "has no meaning"),
        ('a = "x', '"x', 'close it with "'),
        ("a = “x”", "“", "straight quotes"),
        (r'a = "\x"', r"\x", "not an escape"),
        (r'a = "\u0000"', r"\u0000", "character"),
        ("``", "``", "cannot be empty"),
        ("a > 5 days", "days", "write 5d"),
        ("did(a.b, within 7days)", "7days", "write 7d"),
        ("did(a.b, within 2 months)", "2", "60d"),
        ("did(a.b, within 7)", "7", "within 7d"),
        ("did(a.b, within 0d)", "0d", "longer than nothing"),
        ("did(a.b, within 1.5d)", "1.5d", "whole numbers"),
        ("did(a.b, within 99999999999d)", "99999999999d", "too long"),
        ("a > 1e99", "1e99", "too large"),
        ("a > 2026-02-30", "2026-02-30", "not a date"),
        ("a = .5", ".", "write 0.5"),
        ("1 < x < 5", "<", "1 < x and x < 5"),
        ("a is null", "is", "is unknown"),
        ("a is not known", "is", "is unknown"),
        ("a not contains b", "not", "not before the whole condition"),
        ("a starts b", "starts", "starts with"),
        ("x in (a, b)", "a", "constants"),
        ("x in ()", "(", "at least one option"),
        ('x in ["a"]', "[", "parentheses"),
        ('[1, "a"]', "1", "lists hold texts"),
        ("cuont(a.b)", "cuont", "did you mean count?"),
        ("coalesce(a, 1)", "coalesce", "default(x, y)"),
        ("frobnicate(a)", "frobnicate", "reference"),
        ("count(page viewed)", "page viewed", 'write "page viewed"'),
        ("count(order.placed.total)", "count(order.placed.total)", "takes no property"),
        ("sum(order.placed)", "sum(order.placed)", "needs a property"),
        ("did(order.placed.total)", "did", "not a property"),
        ("time_since(a.b, within 7d)", "time_since(a.b, within 7d)", "takes no within"),
        ("count(a.b, within 7d where c)", "where", "before within"),
        ("count(a.b where c where d)", "where", "and"),
        ("held(a)", "held", "for 7d"),
        ("held(a, within 7d)", "within", "for 7d"),
        ("sequence(a.b, c.d)", "sequence", "within 1d"),
        ("sequence(a.b, within 1d)", "sequence", "two or more"),
        ("member_of(vip)", "vip", 'member_of("segment")'),
        ('consented("email")', 'consented("email")', "2 names"),
        ("if(a, b)", "if(a, b)", "if(condition, then, otherwise)"),
        ("round()", "round()", "1 or 2 values"),
        ("number(1)", "number(1)", "converts nothing"),
        ("number(count(a.b))", "number(count(a.b))", "converts nothing"),
        ("number(text(x))", "number(text(x))", "already said"),
        ("a b", "b", "backquotes"),
        ("1 b", "b", "operator"),
        ("(a", "(", "never closed"),
        ("a)", ")", "no ( that it closes"),
        ("a = within", "within", "`within`"),
        ("a = ", "=", "ends where"),
        ("a.1", ".1", ""),
    ],
)
def test_refuses_and_says_how_to_mend(written, culprit, says):
    found = mistakes(written)
    assert any(says in f"{m.message} {m.hint}" for m in found), [m.render(written) for m in found]
    if culprit and culprit != ".1":
        assert any(written[m.span.start : m.span.end] == culprit for m in found), [m.render(written) for m in found]


def test_all_mistakes_are_reported_together():
    written = "a == 1 &&\n cuont(b.c) > 3 and\n did(d.e, within 7days) and x in (y) and 1 < z < 3 or (q"
    found = [written[m.span.start : m.span.end] for m in mistakes(written)]
    assert found == ["==", "&&", "cuont", "7days", "y", "<", "("]


def test_a_mistake_shows_line_column_and_caret():
    with pytest.raises(InvalidExpression) as caught:
        parse("a = 1 and\n  b == 2")
    assert str(caught.value) == "line 2, column 5: == is not an operator of this language\n    b == 2\n      ^^\n  write ="


@pytest.mark.parametrize(
    "written",
    [
        "(" * 5_000, "[" * 5_000, "not " * 4_000, "-" * 10_000, "if(" * 3_000, "a" + "+a" * 3_000, "a" + " and a" * 3_000,
        "held(" * 2_000, "count(a where " * 1_000, "a." * 9_000, "x in (" * 2_000, "(a" * 300 + ")" * 300, "1 < " * 4_000,
        "a" * 20_001, "max(a,max(" * 500, "a = b = " * 900, "$" * 1_000, "a is " * 900, "a not " * 900,
    ],
)  # fmt: skip
def test_deep_and_long_text_is_refused_without_recursion_errors(written):
    assert mistakes(written)


def test_nesting_within_the_limit_is_read():
    for opening, closing in (("not (", ")"), ("(1 + ", ")"), ("abs(", ")"), ("-(", ")"), ("if(true, ", ", 1)")):
        depth = 62
        assert parse(opening * depth + "x" + closing * depth)


PIECES = (
    "and or not in is known unknown has contains starts ends with where within for true false now at a b.c \"x\" 'y' `z` 1 2.5 10% "
    "7d 2026-01-01 ( ) [ ] , . + - * / = != < <= > >= count( min( max( held( sequence( if( number( did( member_of( round( == && # “ \\"
)
WORDS = st.sampled_from(PIECES.split())


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=25).map(" ".join), st.lists(WORDS, max_size=25).map("".join)))
@example("\ud800")
@example("\0")
def test_any_text_is_read_or_refused_as_an_invalid_expression(written):
    try:
        parse(written)
    except InvalidExpression as error:
        assert error.mistakes
        assert str(error)
        assert all(m.span is None or 0 <= m.span.start <= m.span.end <= len(written) for m in error.mistakes)
