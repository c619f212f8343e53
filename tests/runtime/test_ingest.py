"""Intake refuses what cannot be kept, says what, where and how to mend, and never fails in another way."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailorbird.core.context import DAY
from tailorbird.runtime.ingest import Incoming, check

NOW = 1_700_000_000_000


def incoming(**fields: Any) -> Incoming:
    return Incoming(**{"type": "order.placed", "identifiers": {"external_id": "ann"}, **fields})


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"type": "Order Completed", "data": {"total": 1.5, "items": [{"sku": "a"}], "note": "naïve ☂", "none": None}},
        {"type": "a  !~", "id": "x" * 200, "at": NOW + DAY, "source": "web"},
        {"profile": "p_aaaaaaaaaaaaaaaa", "identifiers": {}},
        {"type": "profile.updated", "data": {"attributes": {"country": None}}},
        {"type": "consent.granted", "data": {"channel": "email", "purpose": "marketing", "explicit": True}},
        {"type": "tag.added", "data": {"tag": "gold"}},
        {"type": "member.removed", "data": {"segment": "pals"}},
        {"type": "segmentation.done"},
        {"data": deep(30)},
        {"data": {"n": 2**63 - 1, "m": -(2**63)}},
    ],
)
def test_good_events_pass(fields: dict[str, Any]) -> None:
    assert check(incoming(**fields), NOW) == ()


@pytest.mark.parametrize(
    ("fields", "where", "said"),
    [
        ({"type": ""}, "type", "empty"),
        ({"type": "x" * 201}, "type", "201 characters"),
        ({"type": "a\x00b"}, "type", "control"),
        ({"type": "été"}, "type", "printable ASCII"),
        ({"type": "paid "}, "type", "ends in a space"),
        ({"type": "   "}, "type", "empty"),
        ({"type": "a\x7fb"}, "type", "printable ASCII"),
        ({"id": "naïve"}, "id", "printable ASCII"),
        ({"id": "1\u2028"}, "id", "printable ASCII"),
        ({"id": "1\n"}, "id", "control"),
        ({"type": 5}, "type", "int"),
        ({"type": "segment.entered"}, "type", "Tailorbird's own"),
        ({"type": "enrichment.received", "data": {"provider": "apollo"}}, "type", "Tailorbird's own"),
        ({"type": "profile.merged"}, "type", "only profile.updated"),
        ({"type": "definition.activated"}, "type", "Tailorbird's own"),
        ({"type": "profile.updated", "data": {}}, "data.attributes", "object"),
        ({"type": "profile.updated", "data": {"attributes": {"": 1}}}, "data.attributes", "no name"),
        ({"type": "tag.added", "data": {"tag": 7}}, "data.tag", "text"),
        ({"type": "tag.added", "data": {"tag": "a", "more": 1}}, "data", "'more'"),
        ({"type": "consent.granted", "data": {"channel": "email"}}, "data.purpose", "text"),
        ({"identifiers": {}}, "identifiers", "whose"),
        ({"id": ""}, "id", "empty"),
        ({"id": "x" * 201}, "id", "201"),
        ({"id": "tb:0001"}, "id", "Tailorbird's own"),
        ({"kind": "robot"}, "kind", "robot"),
        ({"at": -1}, "at", "before 1970"),
        ({"at": NOW + DAY + 1}, "at", "ahead"),
        ({"at": "yesterday"}, "at", "str"),
        ({"at": True}, "at", "bool"),
        ({"data": []}, "data", "list"),
        ({"data": {"x": math.nan}}, "data.x", "nan"),
        ({"data": {"x": [1, math.inf]}}, "data.x[1]", "inf"),
        ({"data": {"x": 2**63}}, "data.x", "64 bits"),
        ({"data": {"x": 10**5000}}, "data.x", "64 bits"),
        ({"data": {"x": "a\x00"}}, "data.x", "NUL"),
        ({"data": {"x": "\ud800"}}, "data.x", "half a character"),
        ({"data": {"\ud800": 1}}, "data", "half a character"),
        ({"data": {"x" * 201: 1}}, "data", "201"),
        ({"data": {"x": "y" * 32_769}}, "data.x", "32769"),
        ({"data": {str(n): "y" * 900 for n in range(40)}}, "data", "the limit is 32768"),
        ({"data": {"x": object()}}, "data.x", "object"),
        ({"data": {1: 2}}, "data", "not text"),
        ({"source": "x" * 101}, "source", "101"),
    ],
)
def test_bad_events_are_refused_with_the_place_and_the_reason(fields: dict[str, Any], where: str, said: str) -> None:
    mistakes = check(incoming(**fields), NOW)
    assert [m.where for m in mistakes] == [where]
    assert said in mistakes[0].render()


def test_nesting_beyond_the_limit_is_refused_without_exhausting_the_stack() -> None:
    (mistake,) = check(incoming(data=deep(5_000)), NOW)
    assert mistake.code == "too_deep"


def test_many_mistakes_are_told_at_once() -> None:
    mistakes = check(incoming(type="", id="", at=-1, data={"x": math.nan, "y": "\x00"}), NOW)
    assert {m.where for m in mistakes} == {"type", "id", "at", "data.x", "data.y"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.text(max_size=250),
    st.dictionaries(st.text(max_size=10), JSON, max_size=4),
    st.integers() | st.none(),
    st.text(max_size=210),
)
def test_whatever_passes_can_be_stored_as_json(type_: str, data: dict[str, Any], at: int | None, id_: str) -> None:
    event = incoming(type=type_, data=data, at=at, id=id_)
    if not check(event, NOW):
        assert msgspec.json.decode(msgspec.json.encode(event.data)) == event.data
        (event.type + (event.id or "")).encode()
        assert "\x00" not in event.type
