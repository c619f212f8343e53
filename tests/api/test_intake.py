"""Events over HTTP: our own form, Segment's calls, and everything that is not an event."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.conftest import Live
from tailorbird.api.bodies import MAX_BODY
from tailorbird.api.segment import MAX_BATCH, MAX_CALL


def view(**more: Any) -> dict[str, Any]:
    return {"type": "page.viewed", "profile": "ann", "data": {"url": "/pricing"}} | more


def test_the_receipt_of_an_event_carries_the_segments_it_led_to(shop: Live) -> None:
    first = shop.post("/api/v1/events", view()).json()
    assert first["status"] == "accepted" and first.get("segments", []) == []
    second = shop.post("/api/v1/events", view()).json()
    assert (second["segments"], second["entered"]) == (["keen"], ["keen"])
    assert second["profile"] == first["profile"]


def test_what_was_acknowledged_can_be_read_at_once(shop: Live) -> None:
    shop.post("/api/v1/events", view(type="order.placed", data={"total": 42.5}))
    assert shop.get("/api/v1/profiles/ann/features", names="spent")["features"] == {"spent": 42.5}


def test_an_event_with_an_id_counts_once(shop: Live) -> None:
    answers = [shop.post("/api/v1/events", view(id="one")).json()["status"] for _ in range(3)]
    assert answers == ["accepted", "duplicate", "duplicate"]
    assert len(shop.get("/api/v1/profiles/ann/timeline")["items"]) == 1


def test_an_idempotency_key_names_events_that_have_no_id(shop: Live) -> None:
    headers = {"Idempotency-Key": "retry-1"}
    first = shop.post("/api/v1/events", [view(), view()], headers=headers).json()
    again = shop.post("/api/v1/events", [view(), view()], headers=headers).json()
    assert [r["status"] for r in first["receipts"]] == ["accepted", "accepted"]
    assert [r["status"] for r in again["receipts"]] == ["duplicate", "duplicate"]


def test_an_idempotency_key_used_for_other_events_or_by_another_caller_loses_none(shop: Live) -> None:
    headers = {"Idempotency-Key": "1"}
    other = headers | {"Authorization": "Bearer tb_someone_else"}
    sent = ((view(), headers), (view(data={"url": "/other"}), headers), (view(), other), (view(), headers))
    answers = [shop.post("/api/v1/events", body, headers=names).json()["status"] for body, names in sent]
    assert answers == ["accepted", "accepted", "accepted", "duplicate"]


def test_in_a_list_a_bad_event_costs_no_other(shop: Live) -> None:
    batch = [view(), view(type=""), {"type": "x"}, view(at="yesterday"), view(surprise=1), 7, view()]
    found = shop.post("/api/v1/events", batch).json()
    assert [r["status"] for r in found["receipts"]] == ["accepted", *["rejected"] * 5, "accepted"]
    assert found["rejected"] == 5
    told = [r["mistakes"][0] for r in found["receipts"] if r["status"] == "rejected"]
    assert "surprise" in told[3] and "is not a time" in told[2]


def test_a_single_bad_event_is_refused_with_every_reason(shop: Live) -> None:
    answer = shop.post("/api/v1/events", view(type="segment.entered", data={}))
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid_event" and "own" in problem["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("at", "status"),
    [
        ("2026-01-31T12:00:00Z", 200),
        (1_700_000_000_000, 200),
        (10**17, 422),
        (-5, 422),
        ("never", 422),
        (1.5, 422),
        (10**30, 422),
    ],
)
def test_absurd_times_are_refused(shop: Live, at: Any, status: int) -> None:
    answer = shop.post("/api/v1/events", view(at=at))
    assert answer.status_code == status, answer.text


def test_many_clients_at_once_lose_nothing_and_count_nothing_twice(shop: Live) -> None:
    def send(number: int) -> None:
        with httpx2.Client(base_url=shop.url) as client:
            for index in range(20):
                body = [view(profile=f"p{number}", id=f"{number}-{index}-{i}") for i in range(5)]
                assert client.post("/api/v1/events", json=body).json()["rejected"] == 0

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = [shop.get(f"/api/v1/profiles/p{n}/features", names="views")["features"]["views"] for n in range(8)]
    assert counts == [100] * 8


# ---- Segment's calls


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_segment_calls_become_events_and_attributes(shop: Live) -> None:
    who = {"userId": "u1"}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("identify", {"traits": {"email": "Ann@Example.org", "plan": "pro", "phone": "not a number"}}),
        ("track", {"event": "Order Completed", "properties": {"total": 3}}),
        ("page", {"name": "Pricing", "category": "Docs", "context": {"page": {"url": "https://x.org/pricing"}}}),
        ("screen", {"name": "Home", "properties": {"url": "app://home"}}),
        ("group", {"groupId": "acme", "traits": {"name": "Acme"}}),
    ]
    for call, body in calls:
        answer = shop.post(f"/v1/{call}", body | who)
        assert (answer.status_code, answer.json()) == (200, {"success": True}), answer.text
    events = {e["type"]: e["data"] for e in shop.get("/api/v1/profiles/email:ann@example.org/timeline")["items"]}
    assert events["Order Completed"] == {"total": 3}
    assert events["page.viewed"] == {"url": "https://x.org/pricing", "name": "Pricing", "category": "Docs"}
    assert events["screen.viewed"] == {"url": "app://home", "name": "Home"}
    profile = shop.get("/api/v1/profiles/u1")
    assert profile["attributes"]["plan"] == "pro" and profile["attributes"]["company_id"] == "acme"
    assert shop.get("/api/v1/profiles/company_id:acme")["attributes"] == {"name": "Acme"}


def test_what_a_visitor_did_becomes_the_persons_once_they_say_who_they_are(shop: Live) -> None:
    for _ in range(2):
        shop.post("/v1/page", {"anonymousId": "a-1", "properties": {"url": "/"}})
    found = shop.post("/v1/identify?receipts=true", {"anonymousId": "a-1", "userId": "ann", "traits": {}}).json()
    assert found["receipts"][0]["segments"] == ["keen"]


def test_alias_joins_a_visitor_to_a_person(shop: Live) -> None:
    shop.post("/v1/track", {"anonymousId": "a-2", "event": "Signed Up"})
    shop.post("/v1/track", {"userId": "bob", "event": "Paid"})
    assert shop.post("/v1/alias", {"previousId": "a-2", "userId": "bob"}).status_code == 200
    assert {e["type"] for e in shop.get("/api/v1/profiles/bob/timeline")["items"]} >= {"Signed Up", "Paid"}


def test_a_message_id_counts_once_however_it_comes(shop: Live) -> None:
    call = {"type": "track", "event": "x", "userId": "u", "messageId": "m-1"}
    shop.post("/v1/track", call)
    found = shop.post("/v1/batch?receipts=true", {"batch": [call, call]}).json()
    assert [r["status"] for r in found["receipts"]] == ["duplicate", "duplicate"]


def test_the_senders_clock_is_corrected_by_sent_at(shop: Live) -> None:
    wrong = datetime.now(UTC) - timedelta(days=3)
    call = {"type": "track", "event": "x", "userId": "u", "timestamp": iso(wrong - timedelta(hours=1))}
    shop.post("/v1/batch", {"batch": [call], "sentAt": iso(wrong)})
    at = shop.get("/api/v1/profiles/u/timeline")["items"][0]["at"] / 1000
    assert abs(at - (datetime.now(UTC) - timedelta(hours=1)).timestamp()) < 60


def test_late_events_keep_their_time_and_future_ones_are_taken_as_now(shop: Live) -> None:
    now = datetime.now(UTC)
    for name, moment in (("late", now - timedelta(days=400)), ("early", now + timedelta(minutes=5))):
        assert shop.post("/v1/track", {"event": name, "userId": "u", "timestamp": iso(moment)}).status_code == 200
    assert shop.post("/v1/track", {"event": "absurd", "userId": "u", "timestamp": "2999-01-01T00:00:00Z"}).status_code == 400
    events = {e["type"]: e for e in shop.get("/api/v1/profiles/u/timeline")["items"]}
    assert abs(events["late"]["at"] / 1000 - (now - timedelta(days=400)).timestamp()) < 1
    assert events["early"]["at"] == events["early"]["received_at"]


def test_a_bad_call_in_a_batch_is_told_and_costs_no_other(shop: Live) -> None:
    good = {"type": "track", "event": "x", "userId": "u"}
    bad = [
        {"type": "track", "event": "x"},
        {"type": "dance", "userId": "u"},
        good | {"event": "a" * MAX_CALL},
        "x",
        good | {"userId": []},
    ]
    found = shop.post("/v1/batch", {"batch": [good, *bad, good]}).json()
    assert (found["success"], found["rejected"]) == (True, 5)
    assert [m["index"] for m in found["mistakes"]] == [1, 2, 3, 4, 5]
    answer = shop.post("/v1/batch", {"batch": bad})
    assert answer.status_code == 400 and "all 5" in answer.json()["detail"]


def test_packed_bodies_are_unpacked(shop: Live) -> None:
    plain = json.dumps({"batch": [{"type": "track", "event": "x", "userId": "u"}] * 50}).encode()
    for name, packed in (("gzip", gzip.compress(plain)), ("deflate", zlib.compress(plain))):
        answer = shop.client.post("/v1/batch", content=packed, headers={"Content-Encoding": name})
        assert answer.json() == {"success": True}, answer.text


# ---- bad input


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [("/v1/track", MAX_CALL + 1, 413), ("/v1/batch", MAX_BATCH + 1, 413), ("/api/v1/events", MAX_BODY + 1, 413)],
)
def test_bodies_beyond_the_limit_are_refused(shop: Live, path: str, size: int, status: int) -> None:
    body = b'{"a":"' + b"x" * size + b'"}'
    answer = shop.client.post(path, content=body)
    assert answer.status_code == status and answer.json()["code"] == "too_large"
    chunks = (body[i : i + 60_000] for i in range(0, len(body), 60_000))  # without a Content-Length
    assert shop.client.post(path, content=chunks).status_code == status


def test_a_small_body_that_unpacks_to_a_huge_one_is_refused(shop: Live) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 60_000
    answer = shop.client.post("/v1/batch", content=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"), (b"{", "JSON"), (b"\xff\xfe", "JSON"), (b'{"event": "\xff"}', "UTF-8"), (b'{"event": NaN}', "JSON"),
        (b'{"properties": {"a": 1e999}}', "range"), (b"[" * 100_000, "limit"), (b'{"a":' * 5_000, "nests"), (b"null", "object"),
        (b'{"userId": "u", "event": "x", "properties": [1]}', "object"), (b'{"userId": "u", "event": 5}', "str"),
        (b'{"userId": "u"}', "event"), (b'{"event": "x"}', "userId"), (b'{"userId":"u","event":"x","timestamp":"soon"}', "time"),
    ],
)  # fmt: skip
def test_what_is_not_a_call_gets_a_clear_refusal(shop: Live, body: bytes, word: str) -> None:
    answer = shop.client.post("/v1/track", content=body)
    assert answer.status_code in (400, 413), answer.text
    assert word.lower() in answer.json()["detail"].lower(), answer.json()
    assert shop.log.getvalue() == ""


def test_a_body_that_is_packed_wrongly_is_refused(shop: Live) -> None:
    for name, status in (("gzip", 400), ("br", 415)):
        answer = shop.client.post("/v1/track", content=b"nonsense", headers={"Content-Encoding": name})
        assert answer.status_code == status
    cut = gzip.compress(b'{"event": "x", "userId": "u"}')[:-6]
    assert shop.client.post("/v1/track", content=cut, headers={"Content-Encoding": "gzip"}).status_code == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["type", "event", "userId", "anonymousId", "messageId", "timestamp", "sentAt", "properties", "traits", "context", "batch",
     "groupId", "previousId", "profile", "identifiers", "data", "id", "at", "kind", "source", "name"]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["/v1/track", "/v1/identify", "/v1/page", "/v1/group", "/v1/alias", "/v1/batch", "/api/v1/events"]),
    body=st.binary(max_size=200)
    | st.builds(lambda v: json.dumps(v).encode(), st.dictionaries(FIELDS, JSON, max_size=6) | JSON)
    | st.builds(lambda v: json.dumps({"batch": v}).encode(), st.lists(st.dictionaries(FIELDS, JSON, max_size=6), max_size=4)),
)
def test_nothing_that_can_be_sent_makes_intake_fail(shop: Live, path: str, body: bytes) -> None:
    answer = shop.client.post(path, content=body)
    assert answer.status_code in (200, 400, 413, 422), answer.text
    if answer.status_code != 200:
        problem = answer.json()
        assert problem["code"] and problem["detail"] and problem["status"] == answer.status_code
    assert shop.log.getvalue() == ""
