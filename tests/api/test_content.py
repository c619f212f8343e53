"""Content over HTTP."""

from __future__ import annotations

from api.conftest import Live

TEMPLATE = {
    "kind": "template",
    "name": "hi",
    "type": "plain",
    "body": "Hi {{ first_name }}, {{ code }}",
    "variables": {"code": {}},
}


def prepared(live: Live) -> None:
    live.engine.apply([TEMPLATE, {"kind": "segment", "name": "seen", "when": "did(page.viewed)"}])
    live.engine.identify("ann", attributes={"first_name": "Ann"})
    live.engine.track("page.viewed", profile="ann")


def test_a_template_is_rendered_with_its_sources(live: Live) -> None:
    prepared(live)
    answer = live.post("/api/v1/render", {"template": "hi", "profile": "ann", "variables": {"code": "X"}})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["content"] == {"body": "Hi Ann, X"}
    assert {item["name"]: item["source"] for item in body["variables"]} == {"first_name": "attribute", "code": "caller"}
    assert live.post("/api/v1/render", {"text": "{{ first_name }}", "profile": "ann"}).json()["content"] == {"body": "Ann"}


def test_what_is_wrong_with_a_text_is_told_with_its_mistakes(live: Live) -> None:
    prepared(live)
    answer = live.post("/api/v1/templates/check", {"text": "{{ frist_name }} {{ x | upcse }}"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_template")
    assert len(answer.json()["mistakes"]) == 3
    assert live.post("/api/v1/templates/check", {"text": "{{ x }}", "variables": ["x"]}).json() == {"ok": True}
    assert live.post("/api/v1/render", {"template": "hi", "text": "x"}).status_code == 422
    assert live.post("/api/v1/render", {"template": "nope", "profile": "ann"}).status_code == 404


def test_a_template_is_previewed_and_compared(live: Live) -> None:
    prepared(live)
    found = live.post("/api/v1/templates/hi/preview", {"segment": "seen"}).json()
    assert (found["people"], found["rendered"], found["missing"]) == (1, 1, {"code": 1})
    live.engine.apply({**TEMPLATE, "body": "Hello {{ first_name }}"})
    changes = live.post("/api/v1/templates/hi/diff", {"version_a": 1, "version_b": 2, "profile": "ann"}).json()
    assert "+Hello Ann" in changes["rendered"][0]["diff"]
