"""Planning and answers by themselves: what is asked, who comes next, what is kept; no network, no clock."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailorbird.connectors.apollo.answers import read_person
from tailorbird.connectors.dropcontact.answers import ROW, qualify, read_record, row_of
from tailorbird.core.context import DAY
from tailorbird.core.event import PROFILE_UPDATED, Event
from tailorbird.core.profile import Profile
from tailorbird.definitions.files import read
from tailorbird.enrichment import DEFAULT, Found, Known, Run, advance, begin, evidence, parse_chain, question, sufficient, told
from tailorbird.enrichment.questions import named
from tailorbird.errors import InvalidDefinition
from tailorbird.expr.check import Schema, resolve
from tailorbird.expr.nodes import Node
from tailorbird.expr.parse import parse
from tailorbird.expr.types import Type
from tailorbird.runtime.enriching import Enricher

READY = {"apollo": "", "dropcontact": ""}
EMAIL = {"email": "ann@shop.example"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=30,
)


def condition(text: str) -> Node:
    return resolve(parse(text), Schema(attributes={"title": Type.TEXT}), expect=Type.BOOL)


def ann(**attributes: Any) -> Profile:
    return Profile(key=1, id="p_ann", bucket=7, attributes=attributes, tags=("vip",), consents={"email/marketing": True})


def answered(type_: str, at: int, **data: Any) -> Event:
    return Event(id=f"e{at}", type=type_, profile=1, at=at, received_at=at, data={"provider": "apollo", **data})


def test_the_order_of_the_chain_is_the_order_of_asking() -> None:
    step, run = begin(DEFAULT, ann(), Known(), EMAIL, 0, ready=READY, condition=condition)
    assert step is not None and step.provider == "apollo"
    following = advance(DEFAULT, run, ann(), 5, ready=READY, condition=condition)
    assert following.provider == "dropcontact"
    last = advance(DEFAULT, run, ann(), 9, ready=READY, condition=condition)
    assert last.provider is None and last.action.connector == "enrichment"


def test_the_same_beginning_gives_the_same_keys_and_a_new_answer_gives_others() -> None:
    def key(known: Known, name: str = "x") -> str:
        step, _ = begin(DEFAULT, ann(name=name), known, EMAIL, 0, ready=READY, condition=condition)
        assert step is not None
        return step.action.key

    assert key(Known()) == key(Known(), name="changed")
    assert key(Known()) != key(Known(last={"apollo": "e1"}))


@pytest.mark.parametrize(
    ("text", "asked"),
    [("title is unknown", True), ('title = "CEO"', False), ('has_tag("vip")', True), ('has_tag("old")', False),
     ('consented("email", "marketing")', True), ('consented("sms", "marketing")', False)],
)  # fmt: skip
def test_a_condition_sees_attributes_tags_and_consent(text: str, asked: bool) -> None:
    chain = parse_chain("c", {"providers": [{"provider": "apollo", "when": text}]})
    step, run = begin(chain, ann(), Known(), EMAIL, 0, ready=READY, condition=condition)
    assert (step is not None) is asked
    assert asked or run.skipped == {"apollo": f"not when {text}"}


def test_paid_answers_count_for_every_question_and_free_ones_for_the_same() -> None:
    now = 10 * DAY
    paid = Known.of(DEFAULT, [answered("enrichment.received", 0, question="old", credits=1)], "new", now)
    assert "apollo" in paid.fresh
    doubtful = Known.of(DEFAULT, [answered("enrichment.failed", 0, question="old", credits=1)], "new", now)
    assert "apollo" in doubtful.fresh
    for type_, asked, fresh in (("missed", "old", True), ("missed", "new", False), ("failed", "old", False)):
        known = Known.of(DEFAULT, [answered(f"enrichment.{type_}", 0, question="old", credits=0)], asked, now)
        assert ("apollo" in known.fresh) is fresh
    assert Known.of(DEFAULT, [answered("enrichment.received", 0, credits=1)], "x", 90 * DAY).fresh == {}


def test_events_that_anybody_may_send_lead_to_no_question() -> None:
    """Whoever may send events must not be able to make us pay: answers count only from the connectors themselves."""
    enricher = Enricher(lambda: pytest.fail("not looked at"), lambda: READY)
    run = msgspec.to_builtins(Run(id="r", definition="default", at=0))
    event = msgspec.structs.replace(answered("enrichment.received", 0, run=run), source="apollo")
    assert enricher.react(event, ann()) == ()


def test_a_question_has_one_form_however_it_is_written() -> None:
    one = question({"company": " Acme  Inc ", "linkedin_url": "HTTPS://LinkedIn.com/in/Ann"}, {"email": "Ann@Shop.example"})
    other = question({"company": "acme inc", "linkedin_url": "https://linkedin.com/in/ann"}, {"email": "ann@shop.example"})
    assert named(one) == named(other)
    assert question({"name": 7, "company": ["x"], "domain": "\x00", "title": "CEO"}, {}) == {}
    assert not sufficient({"first_name": "Ann", "company": "Acme"})


def test_an_earlier_provider_is_not_replaced_by_a_later_one_unless_preferred() -> None:
    chain = parse_chain(
        "c", {"providers": [{"provider": "apollo"}, {"provider": "dropcontact"}], "prefer": {"phone": ["dropcontact", "apollo"]}}
    )
    assert chain.may_replace("apollo", "title") == ("apollo", "dropcontact")
    assert chain.may_replace("dropcontact", "title") == ("dropcontact",)
    assert chain.may_replace("dropcontact", "phone") == ("dropcontact", "apollo")


@given(JSON)
def test_whatever_apollo_answers_can_be_told_and_stored(answer: Any) -> None:
    found = read_person(answer, credits=1)
    _can_be_stored(found)


@given(JSON, st.dictionaries(st.sampled_from(["email", "job", "website", "phone", "nb_employees", "custom_fields"]), JSON))
def test_whatever_dropcontact_answers_can_be_told_and_stored(answer: Any, record: dict[str, Any]) -> None:
    for raw in (answer, record):
        row_of(raw)
        _can_be_stored(read_record(raw, "ann@shop.example", credits=1))


def _can_be_stored(found: Found) -> None:
    payload = {"provider": "apollo", "take": list(DEFAULT.links[0].take), "over": {}, "verifies": True, "question_digest": "q",
               "run": msgspec.to_builtins(Run(id="r", definition="d", at=0))}  # fmt: skip
    events = told(payload, found, 0)
    text = msgspec.json.encode([event.data for event in events])
    assert len(text) < 32_768 + 20_000
    assert b"\\u0000" not in text and b"\\ud8" not in text.lower()
    for event in events:
        if event.type == PROFILE_UPDATED:
            assert all(isinstance(value, str | int | bool) for value in event.data["attributes"].values())


def test_a_long_answer_is_cut() -> None:
    kept = evidence({"text": "é" * 100_000})
    assert kept["bytes"] > 100_000 and len(msgspec.json.encode(kept)) < 25_000


@pytest.mark.parametrize(
    ("qualification", "quality"),
    [("nominative@pro", "valid"), ("nominative@perso", "valid_personal"), ("catch_all@pro", "risky"), ("non_confirm@pro", "risky"),
     ("generic@pro", "role"), ("random@pro", "invalid"), ("invalid@perso", "invalid"), ("nominative@invalid", "invalid"),
     ("new@pro", None), (None, None), (7, None)],
)  # fmt: skip
def test_qualifications_are_mapped(qualification: Any, quality: str | None) -> None:
    assert qualify(qualification) == quality


def test_another_address_that_is_found_says_nothing_of_the_one_that_was_asked_about() -> None:
    record = {"email": [{"email": "other@shop.example", "qualification": "nominative@pro"}], "custom_fields": {ROW: "k"}}
    found = read_record(record, "ann@shop.example", credits=1)
    assert (found.verification, found.attributes["email"]) == ("unknown", "other@shop.example")
    assert read_record(record, None, credits=1).verification is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("providers: []", "a list of 1 to 10"),
        ("providers: [{provider: clearbit}]", "one of apollo, dropcontact"),
        ("providers: [{provider: apollo}, {provider: apollo}]", "stands twice"),
        ("providers: [{provider: apollo, take: [shoe_size]}]", "has no shoe_size"),
        ("providers: [{provider: apollo, when: did(page.viewed)}]", "page.viewed cannot be asked here"),
        ("providers: [{provider: apollo, when: member_of(\"vip\")}]", "vip cannot be asked here"),
        ("providers: [{provider: apollo, when: title + 1}]", "title"),
        ("providers: [{provider: apollo, when: title is}]", "is known or is unknown"),
        ("providers: [{provider: apollo, key: abc}]", "knows no field key"),
        ("providers: [{provider: apollo, budget: -1}]", "whole number"),
        ("providers: [{provider: apollo}]\nif_unverified: maybe", "assume_valid, unknown"),
        ("providers: [{provider: apollo}]\nprefer: {phone: [nobody]}", "one of apollo, dropcontact"),
    ],
)  # fmt: skip
def test_every_mistake_of_a_chain_is_told_when_it_is_applied(text: str, told: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        read(f"kind: enrichment\nname: contacts\n{text}\n")
    assert told in str(caught.value)
