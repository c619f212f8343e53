"""Expressions in words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from expr.surface import expressions
from tailorbird.errors import InvalidExpression
from tailorbird.expr import Schema, explain, parse, resolve


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'count(page.viewed where url contains "/pricing", within 7d) >= 3 and country = "FR"',
            "has viewed a page whose url contains “/pricing” at least 3 times in the last 7 days, and country is “FR”",
        ),
        (
            "sum(order.placed.total, within 90d) > 500 and not did(email.opened, within 30d)",
            "the sum of total of “order.placed” events in the last 90 days is more than 500, "
            "and has not opened an email in the last 30 days",
        ),
        (
            'last(order.placed.total) > 100 or plan in ("pro", "team")',
            "the latest total of “order.placed” events is more than 100, or plan is one of “pro”, “team”",
        ),
        ('time_since("Order Completed") < 14d', "has last done “Order Completed” less than 14 days ago"),
        ('held(plan = "trial", for 7d)', "for 7 days without interruption, it was so that plan is “trial”"),
        (
            'sequence(page.viewed where url contains "/cart", order.placed, within 1d)',
            "has viewed a page whose url contains “/cart”, then placed an order, all in the last day",
        ),
        (
            'member_of("newsletter") and consented("email", "marketing") and bucket("spring-test") < 10%',
            "is in the segment “newsletter”, and has consented to email for marketing, "
            "and is in the first 10% of the random split “spring-test”",
        ),
        ('a = 1 and (b = 2 or has_tag("vip"))', "a is 1, and (b is 2, or has the tag “vip”)"),
        ('not member_of("x") and not has_tag("y")', "is not in the segment “x”, and does not have the tag “y”"),
        ('url not in ("a") and not url starts with "b"', "url is none of “a”, and url does not start with “b”"),
        ("email is unknown", "email is unknown"),
        ('interests has "golf"', "interests has “golf”"),
        ("now > trial_end + 3d", "now is after (trial_end plus 3 days)"),
        ("3 <= count(a.added)", "has added an a at least 3 times"),
        ("count(a.b) = 1", "has done “a.b” exactly 1 time"),
        ("if(vip = true, 2, 1)", "2 if vip is true, otherwise 1"),
        ("round(x, 2) + min(a, b, 3)", "x rounded to 2 decimals plus the smallest of a, b and 3"),
        ("default(lower(city), 'none') != 'paris'", "city in small letters (or “none” if unknown) is not “paris”"),
        ('feature("score") >= 0.5', "the feature “score” is at least 0.5"),
        ("is_true(a = 1) and not is_true(b = 2)", "a is 1, and it is not so that (b is 2)"),
        ("did(email.bounced)", "has had “email.bounced”"),
        (
            "count(a.b where weekday(at) > 5) > 2",
            "has done “a.b” where the weekday (1 is Monday) of its time is more than 5 more than 2 times",
        ),
    ],
)
def test_sentences(text, words):
    assert explain(parse(text)) == words


def test_resolved_expressions_say_the_same():
    for text in ('has_tag("vip")', 'member_of("board") and plan = "pro"', "number(last(order.placed.total)) > 1", "did(a.b)"):
        assert explain(resolve(parse(text), Schema(segments={"board": None}))) == explain(parse(text))


@settings(max_examples=200, deadline=None)
@given(expressions)
def test_every_expression_has_words(node):
    assert explain(node)
    try:
        resolved = resolve(node, Schema())
    except InvalidExpression:
        return
    assert explain(resolved)
