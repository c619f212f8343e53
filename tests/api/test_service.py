"""The segmentation and personalization service over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from api.conftest import Live


@pytest.fixture
def known(live: Live) -> Live:
    """A server that knows Ann of Acme, who opted in, opened an e-mail five times and was called once."""
    engine = live.engine
    engine.identify("ann", attributes={"first_name": "Ann", "last_name": "Lee", "title": "CTO", "company_id": "acme"},
                    identifiers={"email": "ann@example.com"})  # fmt: skip
    engine.identify(identifiers={"company_id": "acme"}, attributes={"name": "Acme", "tier": "gold"})
    engine.consent("ann", "email", "marketing", True)
    engine.tag("ann", "vip")
    for _ in range(5):
        engine.track("email.opened", profile="ann", campaign="pricing")
    engine.track("call.completed", profile="ann")
    return live


def ask(live: Live, path: str = "/invoke", **body: Any) -> Any:
    answer = live.post(path, body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_invoke_answers_everything_about_a_contact(known: Live) -> None:
    found = ask(known, contact_id="email:ann@example.com")
    assert list(found) == ["service", "contact_id", "crm_context", "segmentation", "narrative", "data_gaps"]
    assert (found["service"], found["contact_id"]) == ("segmentation-personalization", "email:ann@example.com")
    context = found["crm_context"]
    assert list(context) == ["contact", "account", "interactions"]
    assert (context["contact"]["name"], context["contact"]["email"]) == ("Ann Lee", "ann@example.com")
    assert (context["account"]["name"], context["account"]["tier"]) == ("Acme", "gold")
    assert [(i["type"], i["channel"]) for i in context["interactions"]] == [("call.completed", "phone")] + [
        ("email.opened", "email")
    ] * 5
    assert found["segmentation"] == {
        "segment": "engaged", "interaction_count": 6, "tags": ["vip"], "account_tier": "gold",
        "personalization": {
            "preferred_channel": "email", "recommended_content": ["upgrade offer", "loyalty program", "cross-sell bundle"],
        },
    }  # fmt: skip
    assert found["data_gaps"] == ["phone"]
    assert found["narrative"].startswith("Ann Lee, CTO at Acme, is at the stage “engaged” and in one segment, “engaged”.")


def test_the_limit_shortens_what_is_shown_and_changes_nothing_else(known: Live) -> None:
    short, long = ask(known, contact_id="ann", interaction_limit=2), ask(known, contact_id="ann")
    assert len(short["crm_context"]["interactions"]) == 2
    assert short["segmentation"] == long["segmentation"]


def test_a_query_steers_the_narrative_and_nothing_else(known: Live) -> None:
    plain, asked = ask(known, contact_id="ann"), ask(known, contact_id="ann", query="What did she do about pricing?")
    assert "5 have to do with it: email.opened" in asked.pop("narrative")
    assert "to do with it" not in plain.pop("narrative")
    assert asked == plain


@pytest.mark.parametrize("path", ["/invoke", "/mcp/crm/segment/context", "/mcp/crm/segment", "/mcp/crm/personalization"])
def test_refusals_have_their_own_form(known: Live, path: str) -> None:
    for body in ({}, {"contact_id": ""}, {"contact_id": None}, {"contact_id": " "}):
        answer = known.post(path, body)
        assert (answer.status_code, answer.json()) == (422, {"error": "contact_id is required"})
    answer = known.post(path, {"contact_id": "nobody"})
    assert (answer.status_code, answer.json()) == (404, {"error": "contact not found", "contact_id": "nobody"})
    assert known.client.post(path).json() == {"error": "contact_id is required"}
    broken = known.client.post(path, content=b'{"contact_id":', headers={"content-type": "application/json"})
    assert broken.status_code == 400


@pytest.mark.parametrize("wrong", [{"interaction_limit": 0}, {"interaction_limit": "5"}, {"interaction_limit": 201}, {"query": "x" * 2001},
                                   {"contact_id": "x" * 301}, {"contact_id": ["ann"]}])  # fmt: skip
def test_what_is_not_acceptable_is_told(known: Live, wrong: dict[str, Any]) -> None:
    answer = known.post("/invoke", {"contact_id": "ann"} | wrong)
    assert answer.status_code == 422
    assert set(answer.json()) == {"error"} and next(iter(wrong)) in answer.json()["error"]


def test_the_parts_answer_by_themselves(known: Live) -> None:
    whole = ask(known, contact_id="ann")
    assert ask(known, "/mcp/crm/segment/context", contact_id="ann") == {"contact_id": "ann", "crm_context": whole["crm_context"]}
    segment = ask(known, "/mcp/crm/segment", contact_id="ann")
    assert segment == {
        "contact_id": "ann", "segmentation": whole["segmentation"], "because": "interaction_count is at least 5",
    }  # fmt: skip
    found = ask(known, "/mcp/crm/personalization", contact_id="ann")
    expected = {"contact_id": "ann", "segment": "engaged", "personalization": whole["segmentation"]["personalization"]}
    assert found == expected


def test_health_names_the_service_and_its_adapters(known: Live) -> None:
    found = known.get("/health")
    assert (found["service"], found["adapters"]) == ("segmentation-personalization", {"native": "connected"})
    assert {"status", "version", "database", "events", "queue", "timer_delay_ms"} <= set(found)
