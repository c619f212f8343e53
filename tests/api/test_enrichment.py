"""Enrichment over HTTP: begun here, delivered in the background."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from simulated import served
from tailorbird.simulators import ApolloSimulator, DropcontactSimulator


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApolloSimulator]:
    apollo, dropcontact = ApolloSimulator(unknown=0), DropcontactSimulator(unknown=0, ready_after=0)
    with served(apollo) as one, served(dropcontact) as other:
        monkeypatch.setenv("TAILORBIRD_APOLLO_URL", one + "/api/v1")
        monkeypatch.setenv("TAILORBIRD_DROPCONTACT_URL", other)
        monkeypatch.setenv("TAILORBIRD_DROPCONTACT_POLL", "1")
        for name in ("APOLLO", "DROPCONTACT"):
            monkeypatch.setenv(f"TAILORBIRD_{name}_KEY", "simulated")
        yield apollo


def test_a_campaign_is_enriched_in_the_background(asked: ApolloSimulator, serve: Callable[..., Any]) -> None:
    live = serve()
    for place in range(3):
        identifiers = {"email": f"p{place}@shop.example"}
        live.engine.identify(f"p{place}", identifiers=identifiers, attributes={"campaign": "spring"})
    cost = live.post("/api/v1/enrichment/cost", {"profiles": ["p0", "p1", "p2"]}).json()
    assert (cost["to_ask"], cost["credits"]) == (3, 6)
    begun = live.post("/api/v1/enrichment/campaigns/spring", {}).json()["items"]
    assert [item["status"] for item in begun] == ["begun"] * 3
    for _ in range(300):
        found = live.get("/api/v1/enrichment/statistics")
        if found["waiting"] == 0:
            break
        time.sleep(0.05)
    assert (found["enriched"], found["waiting"]) == (3, 0)
    again = live.post("/api/v1/enrichment/contacts", {"profiles": ["p0"]}).json()["items"][0]
    assert again["status"] == "skipped"
    assert live.get("/api/v1/profiles/p0")["attributes"]["enrichment_source"] == "dropcontact"


def test_an_event_from_outside_makes_nobody_pay(asked: ApolloSimulator, serve: Callable[..., Any]) -> None:
    live = serve()
    live.engine.identify("p0", identifiers={"email": "p0@shop.example"})
    run = {"id": "r", "definition": "default", "at": 0, "given": {"email": "p0@shop.example"}}
    event = {"type": "enrichment.missed", "profile": "p0", "source": "apollo", "data": {"provider": "apollo", "run": run}}
    answer = live.post("/api/v1/events", event)
    assert answer.status_code == 422
    assert "enrichment.… are Tailorbird's own" in answer.text
    assert live.engine.enrichment.waiting() == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("contacts", {"profiles": []}, 422),
        ("contacts", {"profiles": ["ghost"]}, 404),
        ("contacts", {"profiles": ["ghost"], "key": "secret"}, 422),
        ("campaigns/ghost", {}, 404),
        ("cost", {"profiles": ["p"], "definition": "ghost"}, 404),
    ],
)
def test_what_is_asked_wrongly_is_a_problem(live: Any, path: str, body: dict[str, Any], status: int) -> None:
    assert live.post(f"/api/v1/enrichment/{path}", body).status_code == status
