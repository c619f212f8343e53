"""Webhooks against a real server: what is signed, what is tried again, what is never sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import httpx2
import pytest
from pytest_httpserver import HTTPServer
from standardwebhooks.webhooks import Webhook
from werkzeug import Request, Response

from tailorbird.connectors.reach import Reach
from tailorbird.connectors.webhook import WebhookConnector, wants, webhook_action
from tailorbird.core.action import Action
from tailorbird.core.context import ManualClock
from tailorbird.core.definition import Definition
from tailorbird.core.event import Event
from tailorbird.core.profile import Profile
from tailorbird.engine import Engine
from tailorbird.settings import Settings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def connector() -> Iterator[WebhookConnector]:
    connector = WebhookConnector(environ={"SHOP_SECRET": SECRET, "BAD_SECRET": "whsec_no base64 at all"}, timeout=2)
    yield connector
    connector.close()


def action(url: str, **payload: object) -> Action:
    body = {"type": "segment.entered", "timestamp": "2026-01-01T00:00:00.000Z", "data": {"segment": "vip", "name": "Zoé"}}
    return Action(key="wh_1", kind="webhook.post", connector="webhook", payload={"url": url, "body": body, **payload})


def test_the_receiver_can_verify_the_signature_with_the_standard_library(
    connector: WebhookConnector, httpserver: HTTPServer
) -> None:
    requests: list[Request] = []

    def receive(request: Request) -> Response:
        requests.append(request)
        return Response(status=204)

    httpserver.expect_request("/hook", method="POST").respond_with_handler(receive)
    assert connector.perform(action(httpserver.url_for("/hook"), secret_env="SHOP_SECRET")).ok
    headers = {k.lower(): v for k, v in requests[0].headers.items()}
    assert Webhook(SECRET).verify(requests[0].get_data(), headers)["data"]["name"] == "Zoé"
    assert headers["webhook-id"] == "wh_1"
    assert headers["content-type"] == "application/json"


def test_every_attempt_carries_the_same_id(connector: WebhookConnector, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hook").respond_with_data(status=500)
    for _ in range(2):
        assert not connector.perform(action(httpserver.url_for("/hook"))).ok
    assert {request.headers["webhook-id"] for request, _ in httpserver.log} == {"wh_1"}


@pytest.mark.parametrize(
    ("status", "headers", "ok", "final", "wait"),
    [
        (200, {}, True, False, None),
        (202, {}, True, False, None),
        (410, {}, False, True, None),
        (404, {}, False, False, None),
        (429, {"Retry-After": "120"}, False, False, 120_000),
        (503, {"Retry-After": "Thu, 01 Jan 1970 00:02:00 GMT"}, False, False, 60_000),
        (503, {"Retry-After": "soon"}, False, False, None),
        (500, {"Retry-After": "9"}, False, False, None),
        (302, {"Location": "http://127.0.0.1:1/"}, False, False, None),
    ],
)
def test_what_the_receiver_answers_decides(
    httpserver: HTTPServer, status: int, headers: dict[str, str], *, ok: bool, final: bool, wait: int | None
) -> None:
    connector = WebhookConnector(clock=ManualClock(60_000))
    httpserver.expect_request("/hook").respond_with_data("x", status=status, headers=headers)
    outcome = connector.perform(action(httpserver.url_for("/hook")))
    connector.close()
    assert (outcome.ok, outcome.final, outcome.retry_after) == (ok, final, wait)


def test_a_redirect_is_not_followed(connector: WebhookConnector, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hook").respond_with_data(status=307, headers={"Location": httpserver.url_for("/other")})
    assert "redirect" in connector.perform(action(httpserver.url_for("/hook"))).detail
    assert [request.path for request, _ in httpserver.log] == ["/hook"]


def test_a_huge_response_is_cut_off(connector: WebhookConnector, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hook").respond_with_data(b"x" * 2_000_000)
    assert connector.perform(action(httpserver.url_for("/hook"))).ok


def test_nobody_listening_is_tried_again(connector: WebhookConnector) -> None:
    outcome = connector.perform(action("http://127.0.0.1:9/hook"))
    assert (outcome.ok, outcome.final) == (False, False)


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/hook",
        "ftp://127.0.0.1/",
        "https://",
        "hook",
        "http://127.0.0.1.evil.example/",
        "http://[bad",
        "",
        None,
    ],
)
def test_an_unacceptable_address_is_refused_for_good(connector: WebhookConnector, url: str) -> None:
    assert connector.perform(action(url)).final


def test_plain_http_elsewhere_can_be_allowed() -> None:
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200))
    connector = WebhookConnector(allow_http=True, transport=transport)
    assert connector.perform(action("http://shop.example/hook")).ok
    connector.close()


def test_a_secret_that_is_not_set_is_named_and_nothing_is_sent(connector: WebhookConnector, httpserver: HTTPServer) -> None:
    outcome = connector.perform(action(httpserver.url_for("/hook"), secret_env="OTHER"))
    assert "OTHER" in outcome.detail and not outcome.final
    assert httpserver.log == []


def test_neither_secrets_nor_addresses_are_shown(
    connector: WebhookConnector, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    httpserver.expect_request("/hook").respond_with_data(status=500)
    outcomes = [
        connector.perform(action(httpserver.url_for("/hook?token=t0psecret"), secret_env=name))
        for name in ("SHOP_SECRET", "BAD_SECRET")
    ]
    shown = caplog.text + "".join(outcome.detail for outcome in outcomes)
    assert "Zoé" not in shown and "whsec_Mf" not in shown and "no base64" not in shown
    assert "t0psecret" not in "".join(r.getMessage() for r in caplog.records if r.name.startswith(("httpx2", "tailorbird")))


def subscription(**spec: object) -> Definition:
    fields = {"events": ["segment.entered"], "url": "https://shop.example/hook", **spec}
    return Definition(kind="subscription", name="shop", version=1, status="active", spec=fields, digest="d", created_at=0)


def event(type_: str = "segment.entered", **data: object) -> Event:
    return Event(id="e1", type=type_, profile=7, at=1_000, received_at=2_000, data={"segment": "vip", **data})


def test_a_subscription_wants_its_types_and_segments_only() -> None:
    assert wants(subscription(), event())
    assert not wants(subscription(), event("segment.exited"))
    assert wants(subscription(events=["segment.*"]), event("segment.exited"))
    assert wants(subscription(events=["*"]), event("order.placed"))
    assert wants(subscription(segments=["vip"]), event())
    assert not wants(subscription(segments=["vip"]), event(segment="new"))


@pytest.mark.parametrize("type_", ["webhook.sent", "webhook.failed", "action.refused"])
def test_what_becomes_of_a_webhook_is_never_sent_by_webhook(type_: str) -> None:
    assert not wants(subscription(events=["*", type_]), event(type_))


def test_a_webhook_action_is_one_per_subscription_and_event() -> None:
    ann = Profile(key=7, id="p_ann", bucket=0, attributes={"secret": "x"})
    one = webhook_action(subscription(), event(), ann)
    assert one.key == webhook_action(subscription(url="https://other.example/"), event(), None).key
    assert one.payload["body"] == {
        "type": "segment.entered",
        "timestamp": "1970-01-01T00:00:01.000Z",
        "data": {"segment": "vip", "event_id": "e1", "profile": {"id": "p_ann", "kind": "person"}},
    }
    assert json.dumps(one.payload)
    assert (one.profile, one.cause, one.channel) == (7, "e1", None)


def test_a_receiver_on_this_machine_is_refused_where_the_server_is_open_to_others(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hook").respond_with_data()
    connector = WebhookConnector(loopback=False)
    for host in ("127.0.0.1", "localhost"):
        outcome = connector.perform(action(f"http://{host}:{httpserver.port}/hook"))
        assert outcome.final and "private network or on this machine" in outcome.detail
    assert httpserver.log == []
    connector.close()


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "192.168.1.1", "172.16.0.9", "169.254.169.254", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"],
)
def test_a_name_that_leads_into_a_private_network_is_refused(address: str) -> None:
    connector = WebhookConnector(resolve=lambda host, port: [address])
    outcome = connector.perform(action("https://hooks.example/hook"))
    assert outcome.final and address not in outcome.detail
    assert not Reach().allows(address) and Reach(private=True).allows(address)
    connector.close()


def test_the_address_that_was_looked_at_is_the_one_connected_to(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hook").respond_with_data()
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["10.0.0.1", "127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    connector = WebhookConnector(resolve=resolve)
    assert connector.perform(action(f"http://shop.localhost:{httpserver.port}/hook")).ok
    assert asked == ["shop.localhost"], "a name is resolved once a connection"
    assert httpserver.log[0][0].headers["host"] == f"shop.localhost:{httpserver.port}"
    connector.close()


@pytest.mark.parametrize(
    ("listen", "private", "allowed"), [("127.0.0.1:1", False, True), ("0.0.0.0:1", False, False), ("0.0.0.0:1", True, True)]
)
def test_whether_this_machine_is_allowed_follows_from_where_the_server_listens(
    httpserver: HTTPServer, listen: str, *, private: bool, allowed: bool
) -> None:
    httpserver.expect_request("/hook").respond_with_data()
    with Engine.open(":memory:", settings=Settings(listen=listen, webhook_private=private)) as engine:
        assert engine.connectors["webhook"].perform(action(httpserver.url_for("/hook"))).ok is allowed


def test_nobody_is_connected_to_by_multicast_or_nowhere() -> None:
    assert [Reach(private=True).allows(text) for text in ("224.0.0.1", "0.0.0.0", "::", "ff02::1")] == [False] * 4
