"""Identifiers brought to one form."""

from __future__ import annotations

import pytest
from email_validator import validate_email
from hypothesis import given
from hypothesis import strategies as st

from tailorbird.core.profile import Identifier
from tailorbird.errors import InvalidEvent
from tailorbird.profiles.normalise import normalise, normalise_all


@pytest.mark.parametrize(
    ("kind", "given_", "value"),
    [
        ("email", "  Ann.Lee+x@Example.COM ", "ann.lee+x@example.com"),
        ("email", "ZOÉ@exämple.com", "zoé@exämple.com"),
        ("email", "ann@xn--exmple-cua.com", "ann@exämple.com"),
        ("phone", "+33612345678", "+33612345678"),
        ("phone", "+33 (0)6 12-34.56 78", "+33612345678"),
        ("phone", "+330612345678", "+33612345678"),
        ("phone", "+1 (202) 555-0100", "+12025550100"),
        ("external_id", " u-17 ", "u-17"),
        ("external_id", 17, "17"),
        ("anonymous_id", "A1", "A1"),
        ("crm:hubspot", "77", "77"),
    ],
)
def test_an_identifier_has_one_form(kind: str, given_: object, value: str) -> None:
    assert normalise(kind, given_) == Identifier(kind, value)


def test_a_phone_without_country_needs_a_region() -> None:
    assert normalise("phone", "06 12 34 56 78", region="FR").value == "+33612345678"
    with pytest.raises(InvalidEvent, match="default region"):
        normalise("phone", "06 12 34 56 78")


@pytest.mark.parametrize(
    ("kind", "given_", "says"),
    [
        ("email", "ann", "not an e-mail"),
        ("email", "a" * 70 + "@x.org", "not an e-mail"),
        ("email", "ann@@x.org", "not an e-mail"),
        ("phone", "hello", "not a phone number"),
        ("phone", "+33", "phone"),
        ("phone", "+331", "phone"),
        ("phone", "1" * 100, "100 characters"),
        ("external_id", "x" * 201, "201 characters"),
        ("external_id", "   ", "is empty"),
        ("external_id", "a\x00b", "control characters"),
        ("external_id", "\ud800", "control characters"),
        ("external_id", 1.5, "must be text"),
        ("external_id", True, "must be text"),
        ("external_id", ["a"], "must be text"),
        ("crm:", "1", "not a kind of identifier"),
        ("cookie", "1", "not a kind of identifier"),
    ],
)
def test_a_mistake_says_what_and_where(kind: str, given_: object, says: str) -> None:
    with pytest.raises(InvalidEvent, match=says) as error:
        normalise(kind, given_)
    assert error.value.mistakes[0].where.startswith("identifiers.")


@given(
    st.from_regex(
        r"[a-z0-9_+'-]{1,10}(\.[a-z0-9_+-]{1,8}){0,2}@[a-z0-9-]{1,12}(\.[a-z0-9-]{1,8}){0,2}\.[a-z]{2,5}", fullmatch=True
    )
)
def test_the_short_way_agrees_with_the_library(address: str) -> None:
    try:
        expected = validate_email(address, check_deliverability=False, test_environment=True).normalized.lower()
    except ValueError as error:
        if "special-use" in str(error):  # the library knows a few domains that exist on no internet; harmless here
            return
        with pytest.raises(InvalidEvent):
            normalise("email", address)
    else:
        assert normalise("email", address).value == expected


@given(
    st.text(max_size=40) | st.binary(max_size=40).map(lambda b: b.decode("latin-1")),
    st.sampled_from(["email", "phone", "external_id"]),
)
def test_any_text_is_taken_or_refused_and_taking_it_again_changes_nothing(text: str, kind: str) -> None:
    try:
        once = normalise(kind, text)
    except InvalidEvent:
        return
    assert normalise(kind, once.value) == once


@pytest.mark.parametrize(
    "identifiers",
    [
        {"external_id": "null"},
        {"anonymous_id": "0000-0000"},
        {"email": "test@test.com"},
        {"phone": "+10000000000"},
        {"external_id": ""},
        {},
    ],
)
def test_placeholders_alone_name_nobody(identifiers: dict[str, str]) -> None:
    with pytest.raises(InvalidEvent) as error:
        normalise_all(identifiers)
    assert error.value.mistakes[0].code == "no_identifier"


def test_placeholders_are_left_out_and_the_strongest_comes_first() -> None:
    found = normalise_all(
        {"anonymous_id": "a1", "email": "test@test.com", "phone": "+33612345678", "crm:hub": "7", "external_id": "u1"}
    )
    assert [i.kind for i in found] == ["external_id", "crm:hub", "phone", "anonymous_id"]


def test_all_mistakes_are_said_at_once() -> None:
    with pytest.raises(InvalidEvent) as error:
        normalise_all({"email": "x", "phone": "y", "external_id": "ok"})
    assert len(error.value.mistakes) == 2


def test_companies_have_ids_of_their_own() -> None:
    assert normalise_all({"external_id": "7"}, profile_kind="company") == (Identifier("company_id", "7"),)
    assert normalise_all({"crm:hub": "7"}, profile_kind="company") == (Identifier("company_crm:hub", "7"),)
    with pytest.raises(InvalidEvent, match="a company cannot"):
        normalise_all({"email": "a@x.org"}, profile_kind="company")
    with pytest.raises(InvalidEvent, match="a person cannot"):
        normalise_all({"company_id": "7"})
