"""Templates over a real store: rendering, previews, differences, and what needs what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tailorbird.core.context import DAY, ManualClock
from tailorbird.engine import Engine
from tailorbird.errors import Conflict, InvalidDefinition, InvalidInput, InvalidTemplate, NotFound, RenderFailed

START = 1_700_000_000_000
DEFINITIONS = """
kind: attribute
name: plan
type: text
---
kind: feature
name: orders
value: count(order.placed)
---
kind: segment
name: buyers
when: did(order.placed)
---
kind: template
name: footer
type: plain
body: "-- {{ year }}"
variables: {year: {}}
---
kind: template
name: welcome
type: plain
body: "Hello {{ first_name }}, {{ features.orders }} orders, {{ custom.plan }} {% render 'footer', year: 2026 %}"
defaults: {first_name: friend}
variants:
  fr: {body: "Bonjour {{ first_name }}"}
  formal: {body: "Dear {{ full_name }}"}
---
kind: template
name: call
type: sms
body: "{{ first_name }}, we will call {{ phone }}"
missing: skip
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine.open(str(tmp_path / "shop.db"), clock=ManualClock(START)) as opened:
        opened.apply(DEFINITIONS)
        opened.identify(
            "ann", attributes={"first_name": "Ann", "plan": "pro", "language": "fr-CA"}, identifiers={"email": "ann@x.com"}
        )
        opened.identify(
            "ben", attributes={"last_name": "Bo", "plan": "<x>", "style": "Formal"}, identifiers={"phone": "+33612345678"}
        )
        for who in ("ann", "ben", "ben"):
            opened.track("order.placed", profile=who)
        yield opened


def test_a_person_gets_their_language_and_style_and_the_answer_says_why(engine: Engine) -> None:
    ann, ben = engine.content.render("welcome", "ann"), engine.content.render("welcome", "ben")
    assert (ann.content["body"], ann.language, ann.style) == ("Bonjour Ann", "fr", None)
    assert "fr-CA" in ann.language_reason
    assert (ben.content["body"], ben.language, ben.style, ben.style_reason) == ("Dear Bo", "en", "formal", "prefers formal")
    asked = engine.content.render("welcome", "ann", language="en")
    assert asked.content["body"] == "Hello Ann, 1 orders, pro -- 2026"
    assert asked.language_reason.startswith("as asked")


def test_a_render_can_be_of_any_instant(engine: Engine) -> None:
    assert isinstance(engine.clock, ManualClock)
    engine.advance_to(START + DAY)
    engine.identify("ann", attributes={"first_name": "Anna", "plan": "team"})
    engine.track("order.placed", profile="ann")
    now = engine.content.render("welcome", "ann", language="en").content["body"]
    then = engine.content.render("welcome", "ann", language="en", as_of=START + 1)
    assert (now, then.content["body"]) == ("Hello Anna, 2 orders, team -- 2026", "Hello Ann, 1 orders, pro -- 2026")
    assert then.personalized_at == START + 1


def test_text_given_directly_is_checked_first(engine: Engine) -> None:
    assert (
        engine.content.render_text("{{ email }} {{ code }}", "ann", variables={"code": "<b>"}).content["body"] == "ann@x.com <b>"
    )
    assert (
        engine.content.render_text("<p>{{ code }}</p>", None, type="html", variables={"code": "<b>"}).content["html"]
        == "<p>&lt;b&gt;</p>"
    )
    with pytest.raises(InvalidTemplate, match="Did you mean email"):
        engine.content.render_text("{{ emial }}", "ann")
    with pytest.raises(InvalidInput, match="not one of"):
        engine.content.render_text("x", "ann", type="email")


def test_a_caller_gives_json_values_and_no_names_of_ours(engine: Engine) -> None:
    class Shady:
        def __html__(self) -> str:
            return "<script>"

    with pytest.raises(InvalidInput, match="not JSON"):
        engine.content.render_text("{{ x }}", "ann", variables={"x": Shady()})
    with pytest.raises(InvalidInput, match="attributes cannot be given"):
        engine.content.render("welcome", "ann", variables={"attributes": {"plan": "x"}})


def test_what_is_not_there_is_said(engine: Engine) -> None:
    with pytest.raises(NotFound, match="no active template called nope"):
        engine.content.render("nope", "ann")
    with pytest.raises(NotFound, match="No profile"):
        engine.content.render("welcome", "zoe")
    with pytest.raises(InvalidInput, match="not one of formal, casual"):
        engine.content.render("welcome", "ann", style="loud")


def test_a_preview_counts_languages_styles_and_what_is_missing(engine: Engine) -> None:
    told: list[tuple[int, int]] = []
    found = engine.content.preview("welcome", "buyers", sample=None, progress=lambda done, total: told.append((done, total)))
    assert (found.size, found.people, found.rendered, found.skipped, found.failed) == (2, 2, 2, 0, 0)
    assert (found.languages, found.styles) == ({"fr": 1, "en": 1}, {"as written": 1, "formal": 1})
    assert {answer.content["body"] for answer in found.samples} == {"Bonjour Ann", "Dear Bo"}
    assert told[-1] == (2, 2)
    calls = engine.content.preview("call", "buyers")
    assert (calls.rendered, calls.skipped, calls.missing) == (0, 2, {"phone": 1, "first_name": 1})
    assert engine.content.preview("welcome", "buyers", sample=1).people == 1


def test_a_preview_agrees_with_renders_one_by_one(engine: Engine) -> None:
    samples = engine.content.preview("welcome", "buyers", language="en", style="casual").samples
    for answer in samples:
        assert answer.profile is not None
        assert engine.content.render("welcome", answer.profile, language="en", style="casual") == answer


def test_a_preview_tells_failures(engine: Engine) -> None:
    engine.apply({"kind": "template", "name": "strict", "type": "plain", "body": "{{ first_name }}", "missing": "fail"})
    found = engine.content.preview("strict", "buyers")
    assert (found.rendered, found.failed) == (1, 1)
    assert "nothing is known for first_name" in found.failures[0].message
    with pytest.raises(RenderFailed):
        engine.content.render("strict", "ben")


def test_versions_differ_in_text_and_for_a_person(engine: Engine) -> None:
    engine.apply({"kind": "template", "name": "call", "type": "sms", "body": "Hello {{ first_name }}", "missing": "skip"})
    found = engine.content.diff("call", 1, 2, "ann")
    assert [change.part for change in found.source] == ["body"]
    assert "+Hello {{ first_name }}" in found.source[0].diff
    assert "+Hello Ann" in found.rendered[0].diff
    assert engine.content.diff("call", 2, 2, "ann").rendered == ()
    with pytest.raises(NotFound, match="no version 9"):
        engine.content.diff("call", 1, 9)


def test_a_new_version_is_what_is_rendered_from_then_on(engine: Engine) -> None:
    engine.content.render("welcome", "ann")
    engine.apply({"kind": "template", "name": "welcome", "type": "plain", "body": "Hey {{ first_name }}"})
    assert engine.content.render("welcome", "ann").content["body"] == "Hey Ann"
    engine.roll_back("template", "welcome")
    assert engine.content.render("welcome", "ann").content["body"] == "Bonjour Ann"


@pytest.mark.parametrize(("kind", "name"), [("feature", "orders"), ("attribute", "plan"), ("template", "footer")])
def test_what_a_template_mentions_cannot_be_archived(engine: Engine, kind: str, name: str) -> None:
    with pytest.raises(Conflict, match="template welcome needs it"):
        engine.archive(kind, name)


def test_every_mistake_of_every_document_is_told_at_once_with_its_place(engine: Engine) -> None:
    bad = """kind: template
name: bad
type: email
subject: "Hi {{ frist_name }}"
html: |
  <p>Hi {{ first_name }}</p>
    <a href={{ offer.url }}>{{ attributes.plam | upcse }}</a>
variants:
  fr:
    subject: "Salut {{ prenom }}"
    html: <p>Salut</p>
  x/y: {subject: a}
---
kind: segment
name: worse
when: count(page.viewed) >
"""
    with pytest.raises(InvalidDefinition) as caught:
        engine.apply(bad)
    places = [(item.where, item.message.partition(": ")[2]) for item in caught.value.mistakes]
    assert ("text:4:17", "there is no variable called frist_name") in places
    assert ("text:7:32", "there is no attribute called plam") in places
    assert ("text:7:50", "there is no filter called upcse") in places
    assert ("text:10:24", "there is no variable called prenom") in places
    assert any(where.startswith("text:16") for where, _ in places)
    assert any("names no variant" in message for _, message in places)
    assert "  Hi {{ frist_name }}\n        ^^^^^^^^^^" in str(caught.value)


def test_templates_that_render_each_other_in_a_circle_are_refused(engine: Engine) -> None:
    one = {"kind": "template", "name": "one", "type": "plain", "body": '{% render "two" %}'}
    two = {"kind": "template", "name": "two", "type": "plain", "body": '{% render "one" %}'}
    with pytest.raises(InvalidDefinition, match="circle: template one → template two → template one"):
        engine.apply([one, two])
