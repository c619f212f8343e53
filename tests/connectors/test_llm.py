"""The language model's client against a real server that behaves as such endpoints do, badly too."""

from __future__ import annotations

import json
import logging
from typing import Any

import msgspec
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from connectors.model_server import ModelServer, Step, answering, completion, failing, late
from tailorbird.connectors.llm import MAX_RESPONSE, MAX_TEXT, OpenAIModel, read_endpoint
from tailorbird.core.context import DAY, ManualClock
from tailorbird.errors import InvalidInput
from tailorbird.ports import NoAnswer

KEY = "sk-very-secret"


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str


def model(httpserver: HTTPServer, *steps: Step, query: str = "", now: int = 0) -> tuple[OpenAIModel, ModelServer, list[float]]:
    """A client, the server it talks to, and how long it waited between tries."""
    fake = ModelServer(httpserver, list(steps))
    waits: list[float] = []
    client = OpenAIModel(read_endpoint(f"{fake.base}?model=mini&{query}", KEY), clock=ManualClock(now), wait=waits.append)
    return client, fake, waits


def why(client: OpenAIModel, text: str = "hello", **options: Any) -> str:
    with pytest.raises(NoAnswer) as caught:
        client.ask("Say it.", text, Said, **options)
    client.close()
    assert KEY not in str(caught.value) and "hello" not in str(caught.value)
    return caught.value.why


def test_what_is_asked_has_the_wire_form_and_the_answer_its_shape(httpserver: HTTPServer) -> None:
    client, fake, _ = model(httpserver, answering({"text": "Good day"}))
    assert client.ask("Say it.", "hello", Said) == Said("Good day")
    client.close()
    (body,) = fake.bodies
    assert body["model"] == "mini" and body["temperature"] == 0 and body["max_tokens"] == 1500
    form = body["response_format"]
    assert form["type"] == "json_schema" and form["json_schema"]["strict"] is True
    assert form["json_schema"]["schema"] == {
        "type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"], "additionalProperties": False,
    }  # fmt: skip
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    assert fake.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert client.budget.spent(0).calls == 1 and client.budget.spent(0).tokens == 42


def test_azure_gets_its_header_and_its_version(httpserver: HTTPServer) -> None:
    client, fake, _ = model(httpserver, answering({"text": "x"}), query="auth=api-key&api-version=2024-10-21")
    client.ask("Say it.", "hello", Said)
    client.close()
    request = fake.requests[0]
    assert request.headers["api-key"] == KEY and "Authorization" not in request.headers
    assert dict(request.args) == {"api-version": "2024-10-21"}


def test_servers_without_schemas_are_told_in_words(httpserver: HTTPServer) -> None:
    client, fake, _ = model(httpserver, answering({"text": "x"}), query="format=json_object")
    client.ask("Say it.", "hello", Said)
    client.close()
    assert fake.bodies[0]["response_format"] == {"type": "json_object"}
    assert "additionalProperties" in fake.bodies[0]["messages"][0]["content"]


def test_what_identifies_people_never_leaves_and_comes_back(httpserver: HTTPServer) -> None:
    def echo(request: Any) -> Response:
        return answering({"text": json.loads(request.get_data())["messages"][1]["content"]})

    client, fake, _ = model(httpserver, echo)
    text = (
        "Ann Lee <ann@shop.example> of Acme, +33 6 12 34 56 78, https://x.example/?u=ann, p_abcdefgh234567ab, ann lee, 3 orders"
    )
    found = client.ask("Say it.", text, Said, hidden={"Ann Lee": "PERSON", "Acme": "COMPANY"})
    client.close()
    sent = fake.requests[0].get_data(as_text=True)
    assert not any(secret in sent for secret in ("Ann", "ann", "Acme", "shop.example", "34 56", "abcdefgh"))
    assert "3 orders" in sent and found.text == text


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(httpserver: HTTPServer, status: int) -> None:
    busy = failing(status, "rate_limit_exceeded", headers={"Retry-After": "3"})
    client, fake, waits = model(httpserver, busy, busy, answering({"text": "x"}))
    assert client.ask("Say it.", "hello", Said).text == "x"
    client.close()
    assert waits == [3.0, 3.0] and len(fake.requests) == 3


def test_a_server_that_asks_for_more_time_than_there_is_is_given_up_at_once(httpserver: HTTPServer) -> None:
    client, fake, waits = model(httpserver, failing(429, headers={"Retry-After": "3600"}))
    assert why(client) == "busy" and waits == [] and len(fake.requests) == 1


@pytest.mark.parametrize(
    ("step", "reason", "tries"),
    [
        (failing(500, "server_error"), "busy", 3),
        (Response("<html>bad gateway</html>", 502), "busy", 3),
        (failing(401, "invalid_api_key", message=f"Incorrect API key provided: {KEY} for hello"), "unauthorized", 1),
        (failing(404, "model_not_found", message="hello"), "rejected", 1),
        (failing(429, "insufficient_quota"), "budget", 1),
        (failing(400, "content_filter"), "filtered", 1),
        (completion(None, refusal="I cannot help with that."), "filtered", 1),
        (completion("", finish="content_filter"), "filtered", 1),
        (completion('{"text": "x', finish="length"), "cut_off", 1),
        (completion("Sure! Here it is: hello"), "invalid", 3),
        (answering({"text": 7}), "invalid", 3),
        (answering({"text": "x", "more": 1}), "invalid", 3),
        (answering(["x"]), "invalid", 3),
        (answering({"text": "Hello [PERSON_7]"}), "invalid", 3),
        (completion(None), "invalid", 3),
        (Response("{}", 200), "invalid", 3),
        (Response("[" * 100_000, 200), "invalid", 3),
        (Response("not json", 200), "invalid", 3),
        (Response(b"x" * (MAX_RESPONSE + 1), 200), "too_large", 1),
        (Response("", 302, {"Location": "http://127.0.0.1:1/"}), "rejected", 1),
    ],
)
def test_every_way_to_fail_has_its_name(httpserver: HTTPServer, step: Response, reason: str, tries: int) -> None:
    client, fake, _ = model(httpserver, step)
    assert why(client) == reason
    assert len(fake.requests) == tries


def test_a_bad_answer_may_be_followed_by_a_good_one(httpserver: HTTPServer) -> None:
    client, _, _ = model(httpserver, answering({"wrong": 1}), answering({"text": "x"}))
    assert client.ask("Say it.", "hello", Said).text == "x"
    client.close()


def test_a_server_that_does_not_answer_in_time_is_left(httpserver: HTTPServer) -> None:
    client, fake, _ = model(httpserver, late(1.5), query="timeout=0.3&retries=0")
    assert why(client) == "timeout"
    assert client.budget.spent(0).tokens > 1500, "it may have worked on it, so it counts"
    assert len(fake.requests) <= 1


def test_nobody_listening_is_told() -> None:
    client = OpenAIModel(read_endpoint("http://127.0.0.1:9/v1", KEY), wait=lambda _: None)
    assert why(client) == "unreachable"


def test_the_budget_of_a_day_ends_and_begins_anew(httpserver: HTTPServer) -> None:
    clock = ManualClock(DAY - 1)
    fake = ModelServer(httpserver, [answering({"text": "x"})])
    client = OpenAIModel(read_endpoint(f"{fake.base}?calls=2", KEY), clock=clock)
    for _ in range(2):
        client.ask("Say it.", "hello", Said)
    assert why(client) == "budget" and len(fake.requests) == 2
    clock.move_to(DAY)
    assert client.ask("Say it.", "hello", Said).text == "x"
    client.close()


def test_tokens_are_a_budget_too(httpserver: HTTPServer) -> None:
    client, fake, _ = model(httpserver, answering({"text": "x"}), query="tokens=1700")
    client.ask("Say it.", "hello", Said)
    assert why(client, "word " * 200) == "budget" and len(fake.requests) == 1


def test_a_text_that_is_too_long_is_not_sent(httpserver: HTTPServer) -> None:
    client, fake, _ = model(httpserver, answering({"text": "x"}))
    assert why(client, "x" * (MAX_TEXT + 1)) == "too_large" and not fake.requests


def test_neither_key_nor_text_is_shown(httpserver: HTTPServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client, fake, _ = model(httpserver, failing(500, message=KEY))
    assert why(client, "hello Zoé") == "busy"
    told = "".join(r.getMessage() for r in caplog.records if r.name.startswith(("httpx2", "tailorbird"))) + repr(client.endpoint)
    assert KEY not in told and "Zoé" not in told and len(fake.requests) == 3


@pytest.mark.parametrize(
    "setting",
    [
        "nonsense", "ftp://127.0.0.1/", "http://api.example/v1", "https://", "https://u:p@api.example/", "http://[bad",
        "https://api.example/v1?timeout=0", "https://api.example/v1?calls=many", "https://api.example/v1?auth=none",
    ],
)  # fmt: skip
def test_an_address_that_will_not_do_is_refused_without_telling_the_key(setting: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_endpoint(setting, KEY)
    assert "TAILORBIRD_LLM_URL" in str(caught.value) and KEY not in str(caught.value)
