"""HubSpot's webhooks: signatures as HubSpot's own client makes them, and what is told in them."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx2
import pytest

from simulated import served
from tailorbird.connectors.hubspot.webhooks import FRESH, notices, signature, verify
from tailorbird.connectors.rest import Refused, RemoteInvalid
from tailorbird.crm.model import WebhookCall
from tailorbird.simulators import HubspotSimulator

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
AT = 1_693_657_560_000
BODY = b"{'example_field':'example_value'}"
SIGNED = "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="


def call(*, url: str = "https://www.example.com/webhook_uri", at: str = str(AT), signed: str = SIGNED) -> WebhookCall:
    headers = {"x-hubspot-request-timestamp": at, "x-hubspot-signature-v3": signed}
    return WebhookCall(method="POST", url=url, headers=headers, body=BODY)


def told(**event: object) -> WebhookCall:
    given = {"eventId": 1, "subscriptionId": 2, "objectId": 512, "occurredAt": AT, "subscriptionType": "contact.propertyChange"}
    return WebhookCall(method="POST", url="https://us.example", headers={}, body=json.dumps([{**given, **event}]).encode())


def test_the_vendors_own_vector_is_accepted_within_five_minutes() -> None:
    assert signature(SECRET, call(), str(AT)) == SIGNED
    verify(SECRET, call(), AT)
    verify(SECRET, call(), AT + FRESH)


@pytest.mark.parametrize("now", [AT + FRESH + 1, AT - FRESH - 1])
def test_what_is_too_old_or_too_new_is_refused(now: int) -> None:
    with pytest.raises(Refused, match="300 s"):
        verify(SECRET, call(), now)


@pytest.mark.parametrize("wrong", [
    call(signed="K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Z="), call(signed=""), call(signed="ü"), call(at=""), call(at="soon"),
    call(at=str(AT + 1)), call(url="https://www.example.com/other"),
])  # fmt: skip
def test_what_is_not_signed_so_is_refused(wrong: WebhookCall) -> None:
    with pytest.raises(Refused):
        verify(SECRET, wrong, AT)


def test_without_a_secret_nothing_is_accepted() -> None:
    empty = call(signed=signature("", call(), str(AT)))
    with pytest.raises(Refused, match="cannot be checked"):
        verify("", empty, AT)


def test_the_address_is_signed_decoded() -> None:
    plain = "https://us.example/h?a=b@c:d/e"
    encoded = "https://us.example/h?a=b%40c%3Ad%2fe"
    assert signature(SECRET, call(url=encoded), str(AT)) == signature(SECRET, call(url=plain), str(AT))


def test_each_kind_of_event_is_told_as_what_it_is() -> None:
    assert [(n.record, n.what, n.at) for n in notices(told())] == [("512", "changed", AT)]
    assert [n.what for n in notices(told(subscriptionType="contact.privacyDeletion"))] == ["deleted"]
    out = told(propertyName="hs_email_optout", propertyValue="true")
    assert [n.what for n in notices(out)] == ["unsubscribed"]
    merged = told(subscriptionType="contact.merge", mergedObjectIds=[512, 600])
    assert [(n.record, n.what) for n in notices(merged)] == [("600", "merged"), ("512", "changed")]
    generic = told(subscriptionType="object.propertyChange", objectTypeId="0-1")
    assert [n.record for n in notices(generic)] == ["512"]
    assert notices(told(subscriptionType="deal.creation")) == []


def test_events_with_one_event_id_are_told_apart() -> None:
    ids = {notices(told(objectId=record, subscriptionId=sub))[0].id for record in (1, 2) for sub in (3, 4)}
    assert len(ids) == 4


@pytest.mark.parametrize("body", [b"{}", b"[1]", b'[{"objectId": 1}]', b"\xff"])
def test_what_is_no_list_of_events_is_said_so(body: bytes) -> None:
    with pytest.raises(RemoteInvalid):
        notices(WebhookCall(method="POST", url="https://us.example", headers={}, body=body))


def test_the_simulator_calls_a_hook_when_a_contact_is_made() -> None:
    got: list[WebhookCall] = []
    arrived = threading.Event()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            got.append(WebhookCall(method="POST", url=url, headers=headers, body=body))
            self.send_response(204)
            self.end_headers()
            arrived.set()

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = HTTPServer(("127.0.0.1", 0), Hook)
    url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    app = HubspotSimulator(hook_url=url)
    try:
        with served(app) as address:
            made = httpx2.post(
                f"{address}/crm/v3/objects/contacts",
                json={"properties": {"email": "ann@x.example"}},
                headers={"authorization": "Bearer simulated"},
            ).json()
            assert arrived.wait(10)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    verify(app.secret, got[0], app.now())
    assert [notice.record for notice in notices(got[0])] == [made["id"]]
