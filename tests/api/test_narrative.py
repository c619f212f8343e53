"""Narrative and tone over HTTP."""

from __future__ import annotations

import pytest

from api.conftest import Live


def test_a_narrative_says_why_and_who_wrote_it(shop: Live) -> None:
    for _ in range(2):
        shop.engine.track("page.viewed", profile="ann", url="/")
    found = shop.get("/api/v1/profiles/ann/narrative", language="fr")
    assert "“keen”" in found["text"] and found["author"] == "rules"
    assert "no writer for fr" in found["note"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/profiles/nobody/narrative", 404),
        ("/api/v1/profiles/ann/narrative?author=nobody", 422),
        ("/api/v1/profiles/ann/narrative?author=model", 422),
        ("/api/v1/profiles/ann/narrative?language=french+please", 422),
        ("/api/v1/profiles/ann/narrative?interactions=-1", 422),
    ],
)
def test_what_cannot_be_told_is_refused(shop: Live, path: str, status: int) -> None:
    shop.engine.identify("ann")
    assert shop.client.get(path).status_code == status


def test_the_tone_of_a_draft_is_measured_and_compared(shop: Live) -> None:
    shop.engine.track("reply.received", profile="ann", text="Hey, yep, cool!")
    body = {"text": "Dear Ms Lee, we would like to inform you.", "profile": "ann", "language": "en"}
    found = shop.post("/api/v1/tone", body).json()
    assert found["draft"]["formality"] > found["own"]["formality"] and "more formal" in found["distance"]["advice"]
    assert shop.post("/api/v1/tone", {"text": "<p>Hi</p>", "html": True}).json()["own"] is None


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": 7}, {"text": "x", "language": "!"}, {"text": "x", "more": 1}])
def test_a_draft_that_is_none_is_refused(shop: Live, body: dict[str, object]) -> None:
    assert shop.post("/api/v1/tone", body).status_code == 422


def test_reading_is_enough_to_ask(shop: Live) -> None:
    from tailorbird.api.guard import scope_of

    assert scope_of("POST", "/api/v1/tone") == "read" == scope_of("GET", "/api/v1/profiles/ann/narrative")


def test_who_gets_which_language_can_be_asked(shop: Live) -> None:
    shop.engine.identify("ann", attributes={"language": "fr-CA"})
    found = shop.get("/api/v1/languages", available="en, fr", chain="en")
    assert found["portions"] == [{"language": "fr", "people": 1, "reasons": {"prefers fr-CA; fr is the nearest there is": 1}}]
    assert shop.client.get("/api/v1/languages", params={"available": "en,no tag!"}).status_code == 422
    assert shop.client.get("/api/v1/languages", params={"available": "en", "segment": "none"}).status_code == 404
