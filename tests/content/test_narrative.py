"""The narrative by rules says the facts and nothing else; a model's is used only where it does the same."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer

from connectors.model_server import ModelServer, Step, answering, completion, failing, late
from tailorbird.connectors.llm import OpenAIModel, read_endpoint
from tailorbird.content.narrative import Because, Facts, Interaction, SegmentFact, write, write_with
from tailorbird.content.supported import unsupported
from tailorbird.core.context import DAY

NOW = 20_000 * DAY
ANN = Facts(
    id="p_abcdefgh234567ab", at=NOW, first_name="Ann", name="Ann Lee", company="Acme", title="Head of Marketing", status="engaged",
    language="fr-CA", style="casual", channel="email",
    segments=(
        SegmentFact(
            name="hot_lead", since=NOW - 10 * DAY, until=NOW + 3 * DAY,
            because=(
                Because("has viewed a page whose url contains “/pricing” at least 3 times in the last 7 days", "4 of 3", NOW - 2 * DAY),
                Because("country is “FR”"),
            ),
        ),
        SegmentFact(name="newsletter", since=NOW - 1000 * DAY),
    ),
    interactions=(
        Interaction(type="reply.received", at=NOW - DAY, words="replied"),
        Interaction(type="page.viewed", at=NOW - 2 * DAY, words="viewed a page"),
        Interaction(type="email.sent", at=NOW - 3 * DAY, words="was sent an e-mail"),
    ),
    count=7, consents={"sms/marketing": False, "email/marketing": True}, suggested=("case studies", "trial_extension"),
    gaps=("their phone number",),
)  # fmt: skip


def test_the_rules_write_sentences_that_say_the_facts() -> None:
    assert write(ANN).text.split("\n\n") == [
        "Ann Lee, Head of Marketing at Acme, is at the stage “engaged” and in two segments, “hot lead” and “newsletter”. "
        "Ann has been in “hot lead” since 24 September 2024, because Ann has viewed a page whose url contains “/pricing” at least "
        "3 times in the last 7 days (4 so far, the last on 2 October 2024) and because their country is “FR”. "
        "If nothing else happens, that ends on 7 October 2024. Ann was put into “newsletter” by hand on 8 January 2022.",
        "Yesterday Ann replied, the latest of seven interactions; before that Ann viewed a page and was sent an e-mail.",
        "Ann withdrew consent for sms marketing: sell nothing that way. Write to Ann casually in French by email. "
        "What suits now: case studies and trial extension. Not known so far: their phone number; do not write as if you knew.",
    ]


def test_without_a_name_it_speaks_of_them() -> None:
    text = write(msgspec.structs.replace(ANN, first_name=None, name=None, company=None, title=None)).text
    assert text.startswith("This person is at the stage")
    assert (
        "because they have viewed a page" in text and "They were put into" in text and "they viewed a page and were sent" in text
    )


def test_of_somebody_unknown_it_says_that_nothing_is_known() -> None:
    found = write(Facts(id="p_y", at=0))
    assert found.text == (
        "This person is in no segment.\n\nNothing is known of what they did so far.\n\nHow they like to be written to is not known."
    )
    assert (found.author, found.note, found.language) == ("rules", "", "en")


def test_another_language_gets_english_and_is_told_so() -> None:
    assert write(ANN, "fr").text == write(ANN).text
    assert write(ANN, "fr").note == "Narratives are written in English; there is no writer for fr."
    assert write(ANN, "en-GB").note == ""


def test_names_from_outside_stay_on_their_line() -> None:
    text = write(msgspec.structs.replace(ANN, first_name="A\n\nnn", company="Acme\n\n# Heading " + "x" * 900)).text
    assert text.count("\n\n") == 2 and "A nn" in text and len(text) < 2_000


WORDS = st.text("abc “”\n.,A1", max_size=20)
ONE = st.builds(Because, WORDS.map(lambda w: "has " + w), st.none() | WORDS, st.none() | st.integers(0, NOW))
SEGMENT = st.builds(
    SegmentFact,
    name=WORDS,
    since=st.none() | st.integers(0, NOW),
    because=st.lists(ONE, max_size=6).map(tuple),
    until=st.none() | st.integers(0, NOW),
)
FACTS = st.builds(
    Facts, id=st.just("p_x"), at=st.integers(0, NOW), first_name=st.none() | WORDS, name=st.none() | WORDS, company=st.none() | WORDS,
    title=st.none() | WORDS, segments=st.lists(SEGMENT, max_size=9).map(tuple), count=st.integers(0, 99),
    interactions=st.lists(st.builds(Interaction, type=WORDS, at=st.integers(0, NOW), words=WORDS), max_size=5).map(tuple),
    consents=st.dictionaries(WORDS, st.booleans(), max_size=3), gaps=st.lists(WORDS, max_size=3).map(tuple), language=st.none() | WORDS,
)  # fmt: skip


@given(FACTS)
def test_any_facts_become_prose_and_the_same_each_time(facts: Facts) -> None:
    found = write(facts)
    assert found.text and found == write(facts)


# ---- the model

GOOD = {
    "why": "Ann Lee is in “hot lead” because Ann viewed the pricing page four times, most recently on 2 October 2024.",
    "say": "Write casually in French by email, and do not sell by sms, since consent was withdrawn. Mention case studies.",
}


def asked(
    httpserver: HTTPServer, *steps: Step, facts: Facts = ANN, language: str = "en", query: str = ""
) -> tuple[Any, ModelServer]:
    fake = ModelServer(httpserver, list(steps))
    model = OpenAIModel(read_endpoint(f"{fake.base}?model=mini&{query}", "k"), wait=lambda _: None)
    try:
        return write_with(model, facts, language), fake
    finally:
        model.close()


def test_a_model_that_keeps_to_the_facts_writes(httpserver: HTTPServer) -> None:
    found, fake = asked(httpserver, answering(GOOD))
    assert (found.author, found.note) == ("model", "")
    assert found.text == f"{GOOD['why']}\n\n{GOOD['say']}"
    sent = fake.requests[0].get_data(as_text=True)
    assert not any(secret in sent for secret in ("Ann", "Lee", "Acme", "p_abcdefgh"))
    assert "2 October 2024" in sent and "[PERSON_1]" in sent


def test_placeholders_come_back_as_what_they_hide(httpserver: HTTPServer) -> None:
    def echo(request: Any) -> Any:
        text = json.loads(request.get_data())["messages"][1]["content"]
        facts = json.loads(text)
        return answering({"why": f"This is about {facts['name']} of {facts['company']}.", "say": f"Greet {facts['first_name']}."})

    found, _ = asked(httpserver, echo)
    assert found.text == "This is about Ann Lee of Acme.\n\nGreet Ann." and found.author == "model"


@pytest.mark.parametrize(
    "answer",
    [
        {**GOOD, "why": "Ann viewed the pricing page 9 times."},
        {**GOOD, "why": "Ann viewed the pricing page nine times."},
        {**GOOD, "say": "Tell Ann about Contoso."},
        {**GOOD, "say": "Offer 10% off."},
        {**GOOD, "say": ""},
        {**GOOD, "say": "- write\n- call"},
        {**GOOD, "say": "Write <b>casually</b>."},
        {**GOOD, "say": "word " * 1_000},
        {**GOOD, "say": "Write to mallory@evil.example."},
    ],
)
def test_a_model_that_strays_is_replaced_and_that_is_said(httpserver: HTTPServer, answer: dict[str, str]) -> None:
    found, _ = asked(httpserver, answering(answer))
    assert found.author == "rules" and found.text == write(ANN).text
    assert found.note.startswith("Written by rules, because the language model ")


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (failing(429), "answered 429"),
        (failing(500), "answered 500"),
        (completion("no json"), "form that was asked for"),
        (answering({"why": "x"}), "form that was asked for"),
        (answering({**GOOD, "say": "Greet [PERSON_9]."}), "form that was asked for"),
        (failing(400, "content_filter"), "filter"),
        (completion(None, refusal="no"), "declined"),
    ],
)
def test_a_model_that_fails_is_replaced_and_that_is_said(httpserver: HTTPServer, step: Step, why: str) -> None:
    found, _ = asked(httpserver, step, language="de")
    assert found.author == "rules" and found.text == write(ANN).text
    assert found.note.startswith("Written by rules, because ") and why in found.note
    assert found.note.endswith("Narratives are written in English; there is no writer for de.")


def test_a_model_that_is_late_is_replaced(httpserver: HTTPServer) -> None:
    found, _ = asked(httpserver, late(1.0), query="timeout=0.2&retries=0")
    assert found.author == "rules" and "did not answer within 0.2 s" in found.note


def test_a_budget_that_is_used_up_costs_the_model_only(httpserver: HTTPServer) -> None:
    found, fake = asked(httpserver, answering(GOOD), query="calls=0")
    assert found.author == "rules" and "budget" in found.note and not fake.requests


def test_what_the_rules_write_would_itself_pass_the_check() -> None:
    text = write(ANN).text
    assert unsupported(text, [text]) == []
