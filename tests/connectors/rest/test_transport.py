"""The transport against a real server: where it may go, what it tries again, what it makes of answers, what it never shows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tailorbird.connectors.rest import (
    AuthExpired,
    Breaker,
    Forbidden,
    Limiter,
    Locked,
    QuotaExhausted,
    RateLimited,
    RemoteConflict,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Retry,
    Transient,
    Transport,
    check_address,
)
from tailorbird.connectors.rest.address import check_resolved
from tailorbird.core.context import ManualClock
from tailorbird.errors import InvalidInput

Make = Callable[..., Transport]


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def make(httpserver: HTTPServer, slept: list[float]) -> Iterator[Make]:
    made: list[Transport] = []
    clock = ManualClock(1_000_000)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.move_to(clock.now() + int(seconds * 1000))

    def build(url: str | None = None, **options: Any) -> Transport:
        transport = Transport(
            "Vendor", url or httpserver.url_for("/v1"),
            **{"clock": clock, "sleep": sleep, "chance": lambda: 0.5, "timeout": 2.0, "headers": lambda: {"x-key": "t0psecret"}, **options},
        )  # fmt: skip
        made.append(transport)
        return transport

    yield build
    for transport in made:
        transport.close()


def answers(httpserver: HTTPServer, *statuses: int, **headers: str) -> list[Request]:
    """Answer with each status in turn, the last for ever; return what came in."""
    seen: list[Request] = []

    def handle(request: Request) -> Response:
        seen.append(request)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Response('{"ok": 1}', status=statuses[min(len(seen), len(statuses)) - 1], headers=named)

    httpserver.expect_request("/v1/people").respond_with_handler(handle)
    return seen


def test_a_request_carries_the_credential_the_query_and_the_body(make: Make, httpserver: HTTPServer) -> None:
    seen = answers(httpserver, 200)
    answer = make().request("POST", "/people", params={"email": "a@b.example"}, json={"n": 1})
    assert answer.json() == {"ok": 1}
    assert (seen[0].headers["x-key"], seen[0].args["email"], seen[0].get_json()) == ("t0psecret", "a@b.example", {"n": 1})


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, RemoteInvalid), (401, AuthExpired), (402, QuotaExhausted), (403, Forbidden), (404, RemoteNotFound), (409, RemoteConflict),
     (410, RemoteNotFound), (418, RemoteError), (422, RemoteInvalid), (423, Locked), (429, RateLimited), (500, Transient),
     (503, Transient)],
)  # fmt: skip
def test_each_status_has_its_error(make: Make, httpserver: HTTPServer, status: int, kind: type[RemoteError]) -> None:
    answers(httpserver, status)
    with pytest.raises(RemoteError) as caught:
        make(retry=Retry(tries=1)).request("GET", "people")
    assert type(caught.value) is kind
    assert (caught.value.http_status, str(status) in str(caught.value)) == (status, True)


def test_reading_is_tried_again_with_growing_pauses(make: Make, httpserver: HTTPServer, slept: list[float]) -> None:
    seen = answers(httpserver, 500, 502, 200)
    assert make().request("GET", "people").status == 200
    assert (len(seen), slept) == (3, [0.5, 1.0])


def test_what_may_have_taken_effect_is_not_sent_again(make: Make, httpserver: HTTPServer) -> None:
    seen = answers(httpserver, 500, 200)
    with pytest.raises(Transient) as caught:
        make().request("POST", "people")
    assert (len(seen), caught.value.sent) == (1, True)


@pytest.mark.parametrize("status", [429, 503])
def test_what_certainly_took_no_effect_is_sent_again(make: Make, httpserver: HTTPServer, status: int, slept: list[float]) -> None:
    seen = answers(httpserver, status, 200, Retry_After="3")
    assert make().request("POST", "people").status == 200
    assert (len(seen), slept[0]) == (2, 3.0)


def test_a_long_wait_is_told_and_not_slept(make: Make, httpserver: HTTPServer, slept: list[float]) -> None:
    answers(httpserver, 429, Retry_After="600")
    transport = make()
    with pytest.raises(RateLimited) as caught:
        transport.request("POST", "people")
    assert (caught.value.retry_after, slept) == (600_000, [])
    with pytest.raises(RateLimited):  # and nobody else asks meanwhile
        transport.request("GET", "people")
    assert len(httpserver.log) == 1


def test_an_answer_that_does_not_come_is_in_doubt(make: Make, httpserver: HTTPServer) -> None:
    import time

    httpserver.expect_request("/v1/people").respond_with_handler(lambda _: time.sleep(1) or Response("{}"))
    with pytest.raises(Transient) as caught:
        make(timeout=0.2).request("POST", "people")
    assert caught.value.sent
    assert len(httpserver.log) <= 1


def test_nobody_listening_took_no_effect(make: Make) -> None:
    with pytest.raises(Transient) as caught:
        make("http://127.0.0.1:9").request("POST", "people")
    assert not caught.value.sent


def test_a_connection_that_fails_again_and_again_is_left_alone(make: Make, httpserver: HTTPServer) -> None:
    seen = answers(httpserver, 500)
    clock = ManualClock(0)
    transport = make(retry=Retry(tries=1), breaker=Breaker(clock=clock, after=3, hold=10_000), clock=clock)
    for _ in range(6):
        with pytest.raises(Transient):
            transport.request("GET", "people")
    assert len(seen) == 3
    clock.move_to(10_000)
    with pytest.raises(Transient):
        transport.request("GET", "people")
    assert len(seen) == 4


def test_an_answer_that_is_too_long_is_refused_unpacked(make: Make, httpserver: HTTPServer) -> None:
    import gzip

    packed = gzip.compress(b"x" * 3_000_000)
    httpserver.expect_request("/v1/people").respond_with_data(packed, headers={"Content-Encoding": "gzip"})
    with pytest.raises(RemoteError, match="more than 100000 bytes"):
        make(max_answer=100_000).request("GET", "people")


def test_a_redirect_to_another_host_is_not_followed(make: Make, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/v1/people").respond_with_data(status=302, headers={"Location": "http://127.0.0.1:9/"})
    with pytest.raises(RemoteError, match="redirects elsewhere"):
        make().request("GET", "people")


def test_a_redirect_within_the_host_is_followed_for_reading_only(make: Make, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/v1/people").respond_with_data(status=302, headers={"Location": "/v1/there"})
    httpserver.expect_request("/v1/there").respond_with_data("{}")
    assert make().request("GET", "people").status == 200
    with pytest.raises(RemoteError, match="redirects elsewhere"):
        make().request("POST", "people")


def test_redirects_in_a_circle_end(make: Make, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/v1/people").respond_with_data(status=302, headers={"Location": "/v1/people"})
    with pytest.raises(RemoteError, match="circle"):
        make().request("GET", "people")


@pytest.mark.parametrize(
    "url",
    ["http://api.vendor.example", "https://10.0.0.1", "https://192.168.1.5/v1", "https://169.254.169.254", "ftp://api.vendor.example",
     "https://user:pass@api.vendor.example", "https://api.vendor.example?key=1", "https://", "nonsense", "https://other.example",
     "https://api.vendor.example.evil.example", "http://127.0.0.1.evil.example", "https://[fe80::1]", "http://[bad"],
)  # fmt: skip
def test_an_address_that_is_not_the_vendors_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        check_address(url, hosts=["api.vendor.example"])


@pytest.mark.parametrize(
    "url", ["https://api.vendor.example/v1", "http://127.0.0.1:80", "http://localhost:1/x", "http://[::1]:8"]
)
def test_an_address_that_is_the_vendors_or_a_simulators_is_accepted(url: str) -> None:
    assert check_address(url, hosts=["api.vendor.example"])


def test_a_name_that_leads_inside_a_network_is_refused(make: Make) -> None:
    with pytest.raises(RemoteError, match="inside a network"):
        make("https://api.vendor.example", look_up=lambda host: ["93.184.216.34", "10.0.0.7"]).request("GET", "people")
    with pytest.raises(InvalidInput):
        check_resolved("x.example", lambda host: ["::ffff:127.0.0.1"])


def test_secrets_and_addresses_of_people_are_shown_nowhere(
    make: Make, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answers(httpserver, 500)
    transport = make(retry=Retry(tries=1))
    with pytest.raises(RemoteError) as caught:
        transport.request("GET", "people", params={"email": "ann@shop.example"})
    shown = "".join(r.getMessage() for r in caplog.records if r.name.startswith(("httpx2", "tailorbird")))
    shown += repr(transport) + str(caught.value) + repr(caught.value)
    assert "t0psecret" not in shown and "ann@shop" not in shown


def test_our_own_limit_is_slept_when_short_and_told_when_long(make: Make, httpserver: HTTPServer, slept: list[float]) -> None:
    seen = answers(httpserver, 200)
    clock = ManualClock(0)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.move_to(clock.now() + int(seconds * 1000))

    transport = make(limiter=Limiter({"second": 1, "hour": 3}, clock=clock), clock=clock, sleep=sleep)
    for _ in range(3):
        transport.request("GET", "people")
    assert len(slept) == 2
    with pytest.raises(RateLimited) as caught:
        transport.request("GET", "people")
    assert len(seen) == 3
    assert not caught.value.sent and (caught.value.retry_after or 0) > 3_000_000
