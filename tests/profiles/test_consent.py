"""Consent with proof, and declared attributes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailorbird.core.event import Event
from tailorbird.errors import InvalidEvent
from tailorbird.profiles.attributes import coerce_attributes
from tailorbird.profiles.consent import consent_draft, consents
from tailorbird.profiles.rules import MergeRule, check_merge_rule, parse_merge_rule


def test_consent_is_an_event_with_its_proof() -> None:
    proof = {"method": "form", "ip": "192.0.2.1", "text": "Send me news"}
    draft = consent_draft("email", "marketing", True, explicit=True, proof=proof, profile="p_ann")
    assert (draft.type, draft.profile) == ("consent.granted", "p_ann")
    assert draft.data == {"channel": "email", "purpose": "marketing", "explicit": True, "proof": proof}
    assert consent_draft("email", "marketing", False, profile="p_ann").type == "consent.withdrawn"


def test_every_mistake_of_a_consent_is_said_at_once() -> None:
    with pytest.raises(InvalidEvent) as error:
        consent_draft("E mail", "", True, proof={"ip": 5, "colour": "red"})
    assert [m.where for m in error.value.mistakes] == ["channel", "purpose", "proof.method", "proof.ip", "proof"]


def test_consent_shows_since_when_it_stands_and_everything_that_was_said() -> None:
    def said(type_: str, at: int, **data: object) -> Event:
        fields = {"channel": "email", "purpose": "news", **data}
        return Event(id=f"e{at}", type=type_, profile=1, at=at, received_at=at, seq=at, data=fields)

    (news,) = consents(
        [
            said("consent.granted", 4),
            said("consent.withdrawn", 3),
            said("consent.granted", 1, explicit=True, proof={"method": "form"}),
            said("consent.granted", 2),
        ]
    )
    assert (news.given, news.since) == (False, 3)
    assert [(p.at, p.granted) for p in news.history] == [(1, True), (2, True), (3, False), (4, True)]
    assert news.history[0].proof == {"method": "form"}


@pytest.mark.parametrize(
    ("type_", "value", "stored"),
    [
        ("number", "42", 42),
        ("number", " 1.5e2 ", 150),
        ("number", 7.25, 7.25),
        ("bool", "Yes", True),
        ("bool", 0, False),
        ("text", 75001, "75001"),
        ("text", True, "true"),
        ("texts", "a", ["a"]),
        ("texts", ["a", 1], ["a", "1"]),
        ("time", "2026-02-28T10:00:00Z", "2026-02-28T10:00:00Z"),
        ("time", 1_700_000_000, "2023-11-14T22:13:20.000Z"),
        ("time", 1_700_000_000_000, "2023-11-14T22:13:20.000Z"),
    ],
)
def test_a_declared_attribute_is_brought_to_its_type(type_: str, value: object, stored: object) -> None:
    assert coerce_attributes({"x": value}, {"x": type_}) == ({"x": stored}, [])


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("number", "twelve"), ("number", True), ("number", "1_000"), ("number", float("nan")), ("number", 1e300), ("number", [1]),
        ("bool", "maybe"), ("bool", 2), ("text", {"a": 1}), ("texts", [{}]), ("texts", {}), ("time", "2026-02-30"),
        ("time", "soon"), ("time", -1), ("time", 1e15), ("time", True),
    ],
)  # fmt: skip
def test_what_cannot_be_brought_to_its_type_is_kept_and_said(type_: str, value: object) -> None:
    after, mistakes = coerce_attributes({"x": value}, {"x": type_})
    assert after["x"] is value
    assert [m.where for m in mistakes] == ["attributes.x"]


def test_a_declared_path_is_followed_without_changing_what_came_in() -> None:
    given_ = {"account": {"tier": "3", "name": 4}, "other": 1}
    assert coerce_attributes(given_, {"account.tier": "number", "missing.x": "number"})[0] == {
        "account": {"tier": 3, "name": 4}, "other": 1,
    }  # fmt: skip
    assert given_["account"] == {"tier": "3", "name": 4}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@given(JSON, st.sampled_from(["bool", "number", "text", "texts", "time", "duration"]))
def test_bringing_to_a_type_never_fails_and_twice_is_once(value: object, type_: str) -> None:
    after, mistakes = coerce_attributes({"x": value}, {"x": type_})
    if not mistakes:
        assert coerce_attributes(after, {"x": type_}) == (after, [])


def test_a_merge_rule_is_checked_whole() -> None:
    wrong = {"on": ["cookie"], "when": "often", "limits": {"merges": 0, "x": 1}, "colour": 1, "ignore": "a@x.org"}
    assert sorted(m.where for m in check_merge_rule(wrong)) == ["colour", "ignore", "limits.merges", "limits.x", "on", "when"]
    spec = {"on": ["email"], "when": "always", "limits": {"merges": 3}, "ignore": ["Info@Shop.com"]}
    assert check_merge_rule(spec) == []
    rule = parse_merge_rule("mine", spec)
    assert (rule.name, rule.on, rule.limits.merges, rule.limits.identifiers) == ("mine", ("email",), 3, 500)
    assert rule.ignore == {"info@shop.com"}
    assert parse_merge_rule("default", {}) == MergeRule()
