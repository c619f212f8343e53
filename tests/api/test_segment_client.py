"""The official Python client of Segment works with our host, unmodified."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from api.conftest import Live
from tailorbird.api.security import Keyring

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from segment.analytics import Client


def send(host: str, key: str, **options: Any) -> list[Exception]:
    failures: list[Exception] = []
    client = Client(key, host=host, on_error=lambda error, _: failures.append(error), **options)
    client.identify("ann", {"email": "ann@example.org", "plan": "pro"})
    client.track("ann", "Order Completed", {"total": 12.5, "currency": "EUR"})
    client.page("ann", "Docs", "Pricing", {"url": "https://x.org/pricing"})
    client.screen("ann", "App", "Home")
    client.group("ann", "acme", {"name": "Acme"})
    client.alias("visitor-1", "ann")
    for number in range(200):
        client.track("bob", "Clicked", {"number": number})
    client.flush()
    client.shutdown()
    return failures


def check(live: Live) -> None:
    timeline = live.get("/api/v1/profiles/email:ann@example.org/timeline")["items"]
    data = {event["type"]: event["data"] for event in timeline}
    assert data["Order Completed"] == {"total": 12.5, "currency": "EUR"}
    assert data["page.viewed"]["url"] == "https://x.org/pricing"
    assert live.get("/api/v1/profiles/ann")["attributes"]["plan"] == "pro"
    assert live.get("/api/v1/profiles/company_id:acme")["attributes"]["name"] == "Acme"
    assert len(live.get("/api/v1/profiles/bob/timeline", limit=500)["items"]) == 200


def test_the_official_client_works_without_keys(live: Live) -> None:
    assert send(live.url, "anything") == []
    check(live)


def test_the_official_client_works_with_a_key_and_gzip(serve: Callable[..., Live]) -> None:
    live = serve()
    key = Keyring(live.engine.store).create("site", ["ingest"], live.engine.now())
    reader = Keyring(live.engine.store).create("reader", ["read"], live.engine.now())
    live.wait_for_keys()
    assert send(live.url, "wrong")
    assert send(live.url, key, gzip=True) == []
    live.client.headers["Authorization"] = f"Bearer {reader}"
    check(live)


def test_what_the_client_sends_again_after_a_failure_counts_once(live: Live, httpserver: HTTPServer) -> None:
    calls = 0

    def flaky(request: Request) -> Response:
        nonlocal calls
        calls += 1
        live.client.post(request.path, content=request.get_data()).raise_for_status()
        return Response("gone", 503 if calls == 1 else 200)  # the first answer is lost on the way

    httpserver.expect_request("/v1/batch").respond_with_handler(flaky)
    client = Client("k", host=httpserver.url_for("").rstrip("/"), on_error=None)
    client.track("ann", "Once")
    client.flush()
    client.shutdown()
    assert calls == 2
    assert [e["type"] for e in live.get("/api/v1/profiles/ann/timeline")["items"]] == ["Once"]
