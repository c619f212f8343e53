"""The ordinary routes over HTTP: what people ask of profiles, segments, definitions, expressions and the outbox."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.conftest import DEFINITIONS, Live, running
from tailorbird.engine import Engine
from tailorbird.settings import Settings


@pytest.fixture
def people(shop: Live) -> Live:
    """Ann, who is keen, Bob, who is not, and a visitor."""
    for who, count in (("ann", 3), ("bob", 1)):
        for number in range(count):
            event = {"type": "page.viewed", "profile": who, "id": f"{who}-{number}", "data": {"url": "/pricing"}}
            shop.post("/api/v1/events", event)
    shop.post("/v1/identify", {"userId": "ann", "traits": {"email": "ann@example.org", "country": "FR"}})
    return shop


def test_a_profile_is_found_by_any_of_its_identifiers(people: Live) -> None:
    profile = people.get("/api/v1/profiles/email:ANN@example.org")
    assert profile["attributes"]["country"] == "FR" and profile["segments"] == ["keen"]
    assert people.get(f"/api/v1/profiles/{profile['id']}") == profile
    assert people.get("/api/v1/profiles", ref="ann")["items"] == [profile]
    assert people.get("/api/v1/profiles", ref="nobody")["items"] == []
    assert [m["segment"] for m in people.get("/api/v1/profiles/ann/segments")["items"]] == ["keen"]


def test_pages_follow_each_other_without_gaps(people: Live) -> None:
    for path, params in (("/api/v1/profiles", {}), ("/api/v1/profiles/ann/timeline", {})):
        whole = people.get(path, limit=100)
        assert whole["next"] is None
        found: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = people.get(path, limit=1, **params, **cursor)
            found += page["items"]
            if page["next"] is None:
                break
            cursor = {"before" if "timeline" in path else "after": page["next"]}
        assert found == whole["items"]


@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 30, "1-x", "é", f"1-{'9' * 30}"])
def test_a_cursor_that_nobody_gave_is_refused(people: Live, cursor: str) -> None:
    for path in ("/api/v1/profiles?after=", "/api/v1/segments/keen/members?after=", "/api/v1/outbox?after="):
        assert people.client.get(path + cursor).status_code == 422
    assert people.client.get(f"/api/v1/profiles/ann/timeline?before={cursor}").status_code == 422


def test_why_names_the_clause_and_the_events_behind_it(people: Live) -> None:
    found = people.get("/api/v1/profiles/ann/why/keen")
    assert found["value"] is True and found["until"]
    assert "page.viewed" in str(found)
    assert people.get("/api/v1/profiles/ann/why/keen", as_of="2020-01-01")["value"] is False


def test_features_are_read_now_and_as_of_any_instant(people: Live) -> None:
    assert people.get("/api/v1/profiles/ann/features")["features"] == {"spent": 0, "views": 3}
    assert people.get("/api/v1/profiles/ann/features", names="views")["features"] == {"views": 3}
    assert people.get("/api/v1/profiles/ann/features", names="views", as_of="2020-01-01")["features"] == {"views": 0}
    assert people.client.get("/api/v1/profiles/ann/features?names=viewz").json()["hint"] == "Did you mean views?"
    assert people.client.get("/api/v1/profiles/ann/features?name=views").status_code == 422
    assert people.client.get("/api/v1/profiles/ann/features?as_of=soon").status_code == 422
    assert people.client.get("/api/v1/profiles/nobody/features").status_code == 404
    assert {f["name"] for f in people.get("/api/v1/features")["items"]} == {"views", "spent"}


def test_an_expression_is_answered_for_one_and_for_all(people: Live) -> None:
    ask = {"expression": "count(page.viewed, within 7d) >= 3"}
    assert (people.post("/api/v1/evaluate", ask).json()["count"], people.post("/api/v1/evaluate", ask).json()["total"]) == (1, 2)
    assert people.post("/api/v1/evaluate", ask | {"profile": "bob"}).json()["value"] is False
    assert people.post("/api/v1/evaluate", ask | {"as_of": "2020-01-01"}).json()["count"] == 0
    understood = people.post("/api/v1/evaluate", ask | {"check_only": True}).json()
    assert understood["type"] == "bool" and understood["explanation"]
    again = people.post("/api/v1/evaluate", {"json": understood["json"]}).json()
    assert again["count"] == 1


def test_mistakes_in_an_expression_come_with_line_column_and_caret(people: Live) -> None:
    answer = people.post("/api/v1/evaluate", {"expression": "cuntry = \n  1 +"})
    problem = answer.json()
    assert answer.status_code == 422 and problem["code"] == "invalid_expression"
    mistake = problem["mistakes"][0]
    assert mistake["line"] and mistake["column"] and "^" in mistake["excerpt"] and mistake["message"]


def test_definitions_are_checked_previewed_applied_changed_rolled_back_and_archived(people: Live) -> None:
    client = people.client
    new = {"definitions": [{"kind": "segment", "name": "french", "when": 'country = "FR"'}]}
    assert people.post("/api/v1/definitions/check", new).json()["activated"][0]["name"] == "french"
    preview = people.post("/api/v1/definitions/preview", new).json()["items"][0]
    assert (preview["size"], preview["total"], preview["entering"]) == (1, 2, 1)
    applied = people.post("/api/v1/definitions", new).json()
    assert applied["segments"]["french"]["entered"] == 1
    assert people.post("/api/v1/definitions", new).json()["unchanged"] == [{"kind": "segment", "name": "french"}]
    text = 'kind: segment\nname: french\nwhen: country = "IT"'
    changed = client.post("/api/v1/definitions", content=text, headers={"Content-Type": "application/yaml"})
    assert changed.json()["activated"][0]["version"] == 2
    assert people.get("/api/v1/segments/french/members")["items"] == []
    assert client.post("/api/v1/definitions/segment/french/roll-back").json()["activated"][0]["version"] == 1
    assert [m["name"] for m in people.get("/api/v1/segments/french/members")["items"]]
    assert client.post("/api/v1/definitions/segment/french/activate", json={"version": 2}).status_code == 200
    assert client.post("/api/v1/definitions/segment/french/archive").json()["archived"][0]["name"] == "french"
    versions = people.get("/api/v1/definitions/segment/french")["items"]
    assert {v["status"] for v in versions} == {"archived"}


def test_every_mistake_of_definitions_is_told_at_once(people: Live) -> None:
    bad = [
        {"kind": "segment", "name": "a", "when": "count(page.viewed >= 1"},
        {"kind": "segment", "name": "b", "when": 'member_of("c")'},
        {"kind": "segment", "name": "c", "when": 'member_of("b")'},
        {"kind": "segment", "name": "d", "when": "true"},
        {"kind": "segment", "name": "Bad Name", "when": "true", "whn": 1},
    ]
    answer = people.post("/api/v1/definitions", {"definitions": bad})
    problem = answer.json()
    assert answer.status_code == 422 and problem["code"] == "invalid_definition"
    assert len(problem["mistakes"]) >= 4
    assert people.get("/api/v1/segments")["items"][0]["name"] == "keen"


def test_what_another_definition_needs_cannot_be_archived(people: Live) -> None:
    people.engine.apply([{"kind": "segment", "name": "keener", "when": 'member_of("keen") and country = "FR"'}])
    answer = people.client.post("/api/v1/definitions/segment/keen/archive")
    assert answer.status_code == 409 and "keener" in answer.json()["detail"]


def test_a_yaml_body_is_never_taken_for_the_name_of_a_file(people: Live, tmp_path: Any) -> None:
    file = tmp_path / "secret.yaml"
    file.write_text("kind: segment\nname: stolen\nwhen: 'true'\n")
    for body in (str(file), f'"{file}"'):
        answer = people.client.post("/api/v1/definitions", content=body, headers={"Content-Type": "application/yaml"})
        assert answer.status_code == 422 and "stolen" not in answer.text
    answer = people.post("/api/v1/definitions", {"definitions": [str(file)]})
    assert answer.status_code == 422


def test_segments_have_size_members_history_overlap_and_drift(people: Live) -> None:
    people.post("/api/v1/segments/newsletter/members", {"profiles": ["ann", "bob"]})
    sizes = {s["name"]: s["size"] for s in people.get("/api/v1/segments")["items"]}
    assert sizes == {"keen": 1, "newsletter": 2}
    assert people.post("/api/v1/segments/newsletter/members/remove", {"profiles": ["bob"]}).json() == {"changed": 1}
    points = people.get("/api/v1/segments/newsletter/history", step="1d")["items"]
    assert (points[-1]["size"], points[-1]["entered"], points[-1]["exited"]) == (1, 2, 1)
    pairs = people.get("/api/v1/segments/overlap", names="keen,newsletter")["pairs"]
    assert {(p["left"], p["right"]): p["both"] for p in pairs}["keen", "newsletter"] == 1
    assert people.get("/api/v1/segments/keen/drift", baseline="2026-01-01")["segment"] == "keen"
    assert people.post("/api/v1/segments/keen/members", {"profiles": ["bob"]}).status_code == 422
    assert people.client.get("/api/v1/segments/keenn/members").json()["hint"] == "Did you mean keen?"


def test_tags_and_consent_are_noted(people: Live) -> None:
    assert people.post("/api/v1/profiles/bob/tags", {"tags": ["vip", "press"]}).json()["tags"] == ["vip", "press"]
    assert people.client.delete("/api/v1/profiles/bob/tags/vip").json()["tags"] == ["press"]
    consent = {"channel": "email", "purpose": "marketing", "granted": True}
    assert people.post("/api/v1/profiles/bob/consents", consent).json()["status"] == "accepted"
    assert people.get("/api/v1/profiles/bob")["consents"] == {"email/marketing": True}
    people.post("/api/v1/profiles/bob/consents", consent | {"granted": False})
    people.post("/api/v1/profiles/bob/consents", consent)  # a system's word does not undo a person's
    assert people.get("/api/v1/profiles/bob")["consents"] == {"email/marketing": False}
    people.post(
        "/api/v1/profiles/bob/consents", consent | {"explicit": True, "proof": {"method": "form", "url": "https://x.org/join"}}
    )
    assert people.get("/api/v1/profiles/bob")["consents"] == {"email/marketing": True}


def test_a_merge_joins_and_undoing_it_gives_everything_back(people: Live) -> None:
    bob = people.get("/api/v1/profiles/bob")
    merge = people.post("/api/v1/profiles/ann/merge", {"loser": "bob", "reason": "same person"}).json()
    assert merge["loser"] == bob["id"] and merge["reason"] == "same person"
    assert people.get("/api/v1/profiles/ann/features", names="views")["features"] == {"views": 4}
    assert people.get("/api/v1/profiles/bob")["id"] == merge["winner"]
    assert people.get("/api/v1/profiles/ann/merges")["items"][0]["id"] == merge["id"]
    assert people.client.post(f"/api/v1/merges/{merge['id']}/undo").json()["undone_at"]
    assert people.get("/api/v1/profiles/bob")["id"] == bob["id"]
    assert people.get("/api/v1/profiles/ann/features", names="views")["features"] == {"views": 3}
    assert people.post("/api/v1/profiles/ann/merge", {"loser": "ann"}).status_code == 409


def test_a_person_is_exported_and_erased(people: Live) -> None:
    document = people.get("/api/v1/profiles/ann/export")
    assert document["profile"]["attributes"]["email"] == "ann@example.org" and len(document["events"]) >= 4
    gone = people.client.delete("/api/v1/profiles/ann").json()
    assert gone["ids"] == [document["profile"]["id"]] and gone["rows"] > 0
    for path in ("", "/timeline", "/features", "/export"):
        assert people.client.get(f"/api/v1/profiles/ann{path}").status_code == 404
    assert people.get("/api/v1/segments")["items"][0]["size"] == 0


def test_an_action_is_delivered_by_the_server_and_a_dead_one_can_be_requeued(people: Live) -> None:
    wish = {"key": "hello:ann", "kind": "note.write", "connector": "log", "payload": {"text": "hello"}, "profile": "ann"}
    assert people.post("/api/v1/actions", wish).json()["key"] == "hello:ann"
    assert people.post("/api/v1/actions", wish | {"kind": "other.kind"}).json()["kind"] == "note.write"
    until(lambda: people.get("/api/v1/outbox", status="sent")["items"])
    assert any(e["type"] == "note.sent" for e in people.get("/api/v1/profiles/ann/timeline")["items"])
    assert people.client.post("/api/v1/outbox/hello:ann/requeue").status_code == 409
    assert people.client.post("/api/v1/outbox/nothing/requeue").status_code == 404
    dead = wish | {"key": "to:nowhere", "connector": "nowhere"}
    people.post("/api/v1/actions", dead)
    until(lambda: [a for a in people.get("/api/v1/outbox")["items"] if a["key"] == "to:nowhere" and a["error"]])


def until(found: Callable[[], Any]) -> Any:
    import time

    for _ in range(400):
        if result := found():
            return result
        time.sleep(0.025)
    raise AssertionError("it did not happen")


# ---- idempotency


def test_a_request_repeated_under_its_key_is_carried_out_once(people: Live) -> None:
    headers = {"Idempotency-Key": "k-1"}
    body = {"loser": "bob", "reason": "same"}
    first = people.post("/api/v1/profiles/ann/merge", body, headers=headers)
    again = people.post("/api/v1/profiles/ann/merge", body, headers=headers)
    assert first.status_code == again.status_code == 200 and first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = people.post("/api/v1/profiles/ann/merge", body | {"reason": "other"}, headers=headers)
    assert other.status_code == 409 and other.json()["code"] == "conflict"
    assert people.post("/api/v1/profiles/ann/merge", body, headers={"Idempotency-Key": "x" * 300}).status_code == 422


def test_a_secret_is_never_remembered_as_a_reply(people: Live) -> None:
    headers = {"Idempotency-Key": "k-2"}
    token = people.post("/api/v1/keys", {"name": "a", "scopes": ["admin"]}, headers=headers).json()["token"]
    raw = people.engine.store.database.path.read_bytes()  # type: ignore[attr-defined]
    assert token.rpartition("_")[2].encode() not in raw


# ---- refusals and pages


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing/here", None, 404), ("PUT", "/api/v1/segments", None, 405), ("GET", "/v1/track", None, 405),
        ("POST", "/api/v1/profiles/ann/features", b"{}", 405), ("POST", "/api/v1/evaluate", b"{", 400),
        ("POST", "/api/v1/evaluate", b'{"expression": NaN}', 400), ("POST", "/api/v1/evaluate", b'{"expression": 1}', 422),
        ("POST", "/api/v1/evaluate", b'{"expression": "true", "x": 1}', 422), ("POST", "/api/v1/evaluate", b"", 422),
        ("POST", "/api/v1/evaluate", b'{"a":' * 100_000, 400), ("POST", "/api/v1/evaluate", b"\xff", 400),
        ("POST", "/api/v1/evaluate", b'{"expression": "' + b"(" * 50_000 + b'"}', 422),
        ("POST", "/api/v1/evaluate", b'{"expression": "' + b"x" * 200_000 + b'"}', 422),
        ("POST", "/api/v1/definitions", b"[]", 422), ("POST", "/api/v1/definitions", b"x" * 5_000_000, 413),
        ("GET", "/api/v1/definitions?kind=nonsense", None, 422), ("GET", "/api/v1/profiles?limit=0", None, 422),
        ("GET", "/api/v1/segments/keen/history?step=1ms", None, 422), ("GET", "/api/v1/profiles/" + "x" * 400, None, 422),
        ("GET", "/api/v1/profiles/ann/features?as_of=%C2%B9", None, 422),
        ("GET", "/api/v1/profiles/%00", None, 400), ("GET", "/api/v1/profiles/ann/features?names=%00", None, 400),
        ("GET", "/api/v1/profiles/ann/why/keen?as_of=" + "9" * 30, None, 422), 
        ("POST", "/api/v1/profiles/ann/merge", b'{"loser": "a\\u0000"}', 422),
        ("POST", "/api/v1/profiles/ann/merge", b'{"loser": "\\ud800"}', 400),
    ],
)  # fmt: skip
def test_every_refusal_is_a_problem_that_says_what_to_do(
    people: Live, method: str, path: str, body: bytes | None, status: int
) -> None:
    answer = people.client.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status and problem["code"] and problem["detail"] and problem["title"]
    assert "fault" not in people.log.getvalue(), people.log.getvalue()


def test_the_pages_for_people_need_nothing_from_elsewhere(people: Live) -> None:
    for path in ("/", "/docs"):
        answer = people.client.get(path)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
        for word in ("src=", "@import", "cdn", "https://"):
            assert word not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "/api/v1/evaluate" in people.client.get("/docs").text


def test_the_pages_say_what_holds_here(people: Live) -> None:
    assert f"curl -s {people.url}/api/v1/events" in people.client.get("/").text
    shown = people.client.get("/docs").text
    assert "`" not in shown and "becomes <code>page.viewed</code>" in shown
    assert "List Profiles" not in shown and "Find a profile by one of its identifiers" in shown
    assert "<td class=dim>text · required</td>" in shown


def test_health_and_metrics_tell_numbers_and_no_names(people: Live) -> None:
    health = people.get("/health")
    assert (health["status"], health["database"]) == ("ok", "ok")
    text = people.client.get("/metrics").text
    assert 'tailorbird_segment_members{segment="keen"} 1.0' in text
    assert 'tailorbird_intake_events_total{call="events",status="accepted"} 4.0' in text
    assert 'tailorbird_outbox_actions{status="dead"} 0.0' in text
    assert "tailorbird_request_seconds_bucket" in text and "tailorbird_refusals" in text and "ann" not in text


def test_definitions_of_the_fixture_are_all_live(shop: Live) -> None:
    names = {d["name"] for d in shop.get("/api/v1/definitions", status="active")["items"]}
    assert names == {d["name"] for d in DEFINITIONS}


def test_a_question_that_takes_too_long_is_refused_and_the_server_goes_on(tmp_path: Path) -> None:
    settings = Settings(question_limit=1)
    with Engine.open(str(tmp_path / "slow.db"), settings=settings) as engine, running(engine, settings=settings) as live:
        live.post("/api/v1/events", [{"type": "a", "profile": f"p{n % 9}"} for n in range(5_000)])
        long = " or ".join(f"held(count(a, within {n}h) >= 3, for 90m)" for n in range(1, 40))
        short = {"kind": "segment", "name": "long", "when": long}
        for path, body in (("evaluate", {"expression": long}), ("definitions/preview", {"definitions": [short]})):
            answer = live.post(f"/api/v1/{path}", body)
            told = answer.json()
            assert (answer.status_code, told["code"]) == (422, "over_time")
            assert "within 0.001 s" in told["detail"] and "TAILORBIRD_QUESTION_LIMIT" in told["hint"]
        assert live.get("/health")
        assert live.post("/api/v1/events", {"type": "a", "profile": "ann"}).json()["status"] == "accepted"


def test_definitions_that_are_too_large_are_refused_before_they_are_read(shop: Live) -> None:
    for content, type_ in (
        ("#" * 1_000_001, "application/yaml"),
        ('{"definitions": [' + " " * 1_000_000 + "]}", "application/json"),
    ):
        for path in ("", "/check", "/preview"):
            answer = shop.client.post(f"/api/v1/definitions{path}", content=content, headers={"content-type": type_})
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
            assert "at most 1000000" in answer.json()["detail"]
