"""An engine's narratives, tone and languages: gathered from what happened, with a model where one is set up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_httpserver import HTTPServer

from connectors.model_server import ModelServer, answering, failing
from tailorbird.core.context import DAY, ManualClock
from tailorbird.engine import Engine
from tailorbird.engine.narrating import KEY_VARIABLE, Narrating
from tailorbird.errors import InvalidInput, NotFound, Unavailable
from tailorbird.settings import Settings

NOW = 20_000 * DAY
DEFINITIONS = [
    {
        "kind": "segment",
        "name": "hot_lead",
        "when": 'count(page.viewed where url contains "/pricing", within 7d) >= 2 and (country = "FR" or plan = "pro")',
    },
    {"kind": "segment", "name": "testers", "members": "manual"},
    {"kind": "feature", "name": "views", "value": "count(page.viewed, within 30d)"},
]


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine.open(":memory:", clock=ManualClock(NOW), settings=Settings(llm_url="")) as engine:
        engine.apply(DEFINITIONS)
        engine.identify(
            "ann", attributes={"first_name": "Ann", "last_name": "Lee", "company": "Acme", "country": "FR", "language": "fr-CA"}
        )
        for _ in range(3):
            engine.track("page.viewed", profile="ann", url="/pricing")
        engine.track("reply.received", profile="ann", text="Hey, yep, cool!")
        engine.add_members("testers", ["ann"])
        engine.identify("ben", attributes={"language": "pl"})
        yield engine


def test_the_facts_are_what_happened_and_what_is_not_known(engine: Engine) -> None:
    facts = engine.narrating.facts("ann")
    hot, testers = facts.segments
    assert [(b.text, b.measured) for b in hot.because] == [
        ("has viewed a page whose url contains “/pricing” at least 2 times in the last 7 days", "3 of 2"), ("country is “FR”", None),
    ]  # fmt: skip
    assert hot.until == NOW + 7 * DAY and testers.because == ()
    assert [i.words for i in facts.interactions] == ["replied", "viewed a page", "viewed a page", "viewed a page"]
    assert (facts.count, facts.name, facts.features) == (4, "Ann Lee", {"views": 3.0})
    assert "their title" in facts.gaps and "their company" not in facts.gaps


def test_the_reasons_agree_with_why(engine: Engine) -> None:
    assert engine.narrating.facts("ann").segments[0].until == engine.why("ann", "hot_lead").until


def test_a_narrative_follows_what_changes(engine: Engine) -> None:
    text = engine.narrating.narrative("ann").text
    assert "“hot lead”" in text and "(3 so far" in text and "in French" in text
    engine.advance_to(NOW + 8 * DAY)
    assert "“hot lead”" not in engine.narrating.narrative("ann").text
    engine.consent("ann", "email", "marketing", False)
    assert "withdrew consent for email marketing" in engine.narrating.narrative("ann").text


def test_only_as_many_interactions_as_asked_for_are_told_but_all_are_counted(engine: Engine) -> None:
    facts = engine.narrating.facts("ann", interactions=1)
    assert len(facts.interactions) == 1 and facts.count == 4
    with pytest.raises(InvalidInput, match="1 or more"):  # with none told it would seem that nothing is known
        engine.narrating.facts("ann", interactions=0)


def test_a_draft_is_compared_with_what_somebody_wrote(engine: Engine) -> None:
    found = engine.narrating.tone("Dear Ms Lee, we would like to inform you.", profile="ann", language="en")
    assert found.replies == 1 and found.distance is not None and "more formal" in found.distance.advice
    assert engine.narrating.tone("Bonjour", profile="ann").draft.language == "fr"
    assert engine.narrating.tone("Hi", profile="ben").distance is None
    assert engine.narrating.tone("Hi").own is None
    with pytest.raises(NotFound):
        engine.narrating.tone("Hi", profile="nobody")


def test_coverage_counts_everybody_or_a_segment(engine: Engine) -> None:
    found = engine.narrating.coverage(["en", "fr"], ["en"])
    assert {p.language: p.people for p in found.portions} == {"en": 1, "fr": 1} and found.unmet == 1
    assert engine.narrating.coverage(["fr"], [], segment="testers").people == 1
    with pytest.raises(NotFound):
        engine.narrating.coverage(["fr"], [], segment="nothing")


def test_without_a_model_asking_for_one_says_what_to_set(engine: Engine) -> None:
    assert engine.narrating.narrative("ann").author == "rules"
    for ask in (lambda: engine.narrating.narrative("ann", author="model"), lambda: engine.narrating.translate("x", "fr")):
        with pytest.raises(InvalidInput, match="TAILORBIRD_LLM_URL"):
            ask()
    assert engine.narrating.rewrite("Do not wait.", "casual", "en").author == "rules"


GOOD = {"why": "Ann viewed the pricing page three times.", "say": "Write in French."}


def test_a_model_is_set_up_by_the_setting_and_its_key_by_the_environment(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = ModelServer(httpserver, [answering(GOOD)])
    monkeypatch.setenv(KEY_VARIABLE, "sk-secret")
    with Engine.open(":memory:", settings=Settings(llm_url=f"{fake.base}?model=mini")) as engine:
        engine.identify("ann", attributes={"first_name": "Ann", "language": "fr"})
        for _ in range(3):
            engine.track("page.viewed", profile="ann", url="/pricing")
        assert engine.narrating.narrative("ann").author == "model"
        assert engine.narrating.narrative("ann", author="rules").author == "rules"
        assert "sk-secret" not in repr(engine.settings)
    assert fake.requests[0].headers["Authorization"] == "Bearer sk-secret" and len(fake.requests) == 1


def test_a_translation_that_fails_can_be_tried_again(httpserver: HTTPServer, engine: Engine) -> None:
    from tailorbird.connectors.llm import OpenAIModel, read_endpoint

    fake = ModelServer(httpserver, [failing(401), answering({"text": "Bonjour"})])
    model = OpenAIModel(read_endpoint(fake.base, "k"))
    narrating = Narrating(engine.parts, model=model)
    with pytest.raises(Unavailable, match="refused the key"):
        narrating.translate("Hello", "fr")
    assert narrating.translate("Hello", "fr").text == "Bonjour"
    narrating.close()


def test_a_broken_address_hinders_nothing_but_the_model() -> None:
    with Engine.open(":memory:", settings=Settings(llm_url="nonsense")) as engine:
        engine.identify("ann")
        assert engine.narrating.narrative("ann", author="rules").author == "rules"
        with pytest.raises(InvalidInput, match="TAILORBIRD_LLM_URL"):
            engine.narrating.narrative("ann")


def test_a_narrative_looks_at_one_interaction_or_more(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="is not 1 or more"):
        engine.narrating.narrative("ann", interactions=0)
