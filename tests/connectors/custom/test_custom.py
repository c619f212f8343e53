"""A connector described by YAML alone: checked when it is read, safe in what it sends, exact in what it understands."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from typing import Any

import httpx2
import pytest

from tailorbird.connectors.custom import PROVIDER, CustomConnector, load_spec, read_spec
from tailorbird.connectors.rest import QuotaExhausted, Refused, RemoteConflict, RemoteError, RemoteInvalid, Retry, Unsupported
from tailorbird.core.context import ManualClock
from tailorbird.crm.model import Activity, Row, WebhookCall
from tailorbird.crm.port import Filters
from tailorbird.errors import InvalidDefinition, InvalidInput

T0 = 1_800_000_000_000
HEAD = """
name: Own
base_url: https://crm.example/api
auth: {kind: none}
reading: {id: $.id, email: $.mail, updated_at: {path: $.at, transforms: [date]}, tags: {path: $.labels, transforms: ["split ;"]}}
writing: {email: mail, tags: {path: labels, transforms: ["join ;"]}, "*": "custom.{name}"}
fields: $.custom
operations:
  get: {method: GET, path: "/people/{id}"}
"""


class Other:
    """The other end: answers in turn with what it was given, and remembers what was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return httpx2.Response(status, json=body)


def connector(text: str, other: Other, **options: Any) -> CustomConnector:
    return CustomConnector(
        "own", read_spec(HEAD + text), clock=ManualClock(T0), retry=Retry(tries=1), transport=httpx2.MockTransport(other),
        allow_private=True, **options,
    )  # fmt: skip


def test_all_mistakes_are_told_together_each_with_its_line() -> None:
    text = """name: Own
base_url: http://10.0.0.1/api
auth: {kind: magic}
reading: {email: mail}
writing: {}
operations:
  list: {method: FETCH, path: people, pagination: {kind: cursor}, query: {q: "{text}"}}
  fly: {method: GET, path: /x}
errors: [{status: 700, to: nowhere}]
"""
    with pytest.raises(InvalidDefinition) as refused:
        read_spec(text, "own.yaml")
    told = str(refused.value)
    places = ("own.yaml:2", "own.yaml:3", "own.yaml:4", "own.yaml:7", "own.yaml:8", "own.yaml:9")
    assert all(place in told for place in places), told
    words = (
        "without encryption",
        "magic",
        "is not a path",
        "FETCH",
        "cursor needs path",
        "{text}",
        "no operation",
        "700",
        "nowhere",
    )
    assert all(word in told for word in words), told


def test_what_is_no_file_and_what_has_no_key_is_refused_in_words() -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_spec("nowhere.yaml")
    with pytest.raises(InvalidInput, match="No CRM credentials found"):
        PROVIDER.open("own", secret={}, settings={"spec": HEAD.replace("none", "bearer")}, clock=ManualClock(T0))
    with pytest.raises(InvalidInput, match="spec is missing"):
        PROVIDER.open("own", secret={}, settings={}, clock=ManualClock(T0))


def test_no_value_leaves_its_place_in_an_address_or_a_body() -> None:
    other = Other({"id": 1}, {"id": 2, "mail": 'a","admin":true,"x":"'})
    own = connector('  create: {method: POST, path: /people, body: {person: "{values}", note: "by {key}"}}', other)
    own.get("../admin?all=1#x")
    assert other.asked[0].url.raw_path == b"/api/people/..%2Fadmin%3Fall%3D1%23x"
    own.create(Row(key='k"}', values={"email": 'a","admin":true,"x":"', "tags": ["a", "b"], "no.dots": 1}))
    assert json.loads(other.asked[1].content) == {
        "person": {"mail": 'a","admin":true,"x":"', "labels": "a;b", "custom": {"no.dots": 1}}, "note": 'by k"}',
    }  # fmt: skip


ONE, TWO = {"rows": [{"id": 1}]}, {"rows": [{"id": 2}]}
LINK = "/api/people?p=2"
NEXT = "{kind: next_url, path: $.next}"
PAGES: dict[str, tuple[str, list[Any], str]] = {
    "cursor": ("{kind: cursor, path: $.next, param: after}", [ONE | {"next": "c1"}, TWO | {"next": None}], "after=c1"),
    "next_url": (NEXT, [ONE | {"next": LINK}, TWO], "p=2"),
    "absolute": (NEXT, [ONE | {"next": f"https://crm.example{LINK}"}, TWO], "p=2"),
    "offset": ("{kind: offset, param: from, limit_param: n, size: 1}", [ONE, TWO, {"rows": []}], "from=1"),
    "page": ("{kind: page, param: p, size: 1}", [ONE | {"total": 2}, TWO | {"total": 2}], "p=2"),
    "none": ("{kind: none}", [{"rows": [{"id": 1}, {"id": 2}]}], ""),
}


@pytest.mark.parametrize("kind", PAGES)
def test_pages_follow_one_another(kind: str) -> None:
    pages, answers, second = PAGES[kind]
    other = Other(*answers)
    total = "total: $.total, " if kind == "page" else ""
    own = connector(f"  list: {{method: GET, path: /people, records: $.rows, {total}pagination: {pages}}}", other)
    found, cursor, more = [], None, True
    while more:
        page = own.query(Filters(), cursor=cursor)
        found += [record.id for record in page.records]
        cursor, more = page.cursor, page.more
    assert found == ["1", "2"]
    assert not other.answers
    if second:
        assert second in str(other.asked[1].url)


def test_a_link_to_another_host_is_not_followed() -> None:
    other = Other({"rows": [{"id": 1}], "next": "https://evil.example/steal"})
    own = connector("  list: {method: GET, path: /people, records: $.rows, pagination: {kind: next_url, path: $.next}}", other)
    page = own.query(Filters())
    with pytest.raises(RemoteError, match="another host"):
        own.query(Filters(), cursor=page.cursor)
    assert len(other.asked) == 1


def test_reading_what_changed_goes_on_from_the_last_change_less_the_overlap() -> None:
    at = "2026-12-01T00:00:00Z"
    other = Other({"rows": [{"id": 1, "at": at}]}, {"rows": []})
    own = connector(
        "  list: {method: GET, path: /people, records: $.rows, changed_since: since, time: epoch_s, overlap: 10}", other
    )
    page = own.changes(None)
    own.changes(page.cursor)
    assert "since" not in str(other.asked[0].url)
    assert other.asked[1].url.params["since"] == str(1_796_083_200 - 10)


def test_rules_say_what_an_answer_means_even_one_of_200() -> None:
    rules = """
errors:
  - {status: [200, 400], path: $.code, equals: DUPLICATE, to: conflict, existing_regex: 'id=(\\d+)'}
  - {path: $.code, regex: "^LIMIT", to: quota_exhausted, retry_path: $.reset, retry_unit: s}
  - {path: $.ok, equals: false, to: invalid, fields: $.wrong}
"""
    other = Other(
        {"code": "DUPLICATE", "text": "see id=77"}, (429, {"code": "LIMIT_DAY", "reset": 90}), {"ok": False, "wrong": ["mail"]}
    )
    own = connector("  create: {method: POST, path: /people, body: '{values}'}" + rules, other)
    row = Row(key="k", values={"email": "ann@shop.example"})
    with pytest.raises(RemoteConflict) as conflict:
        own.create(row)
    assert conflict.value.existing == "77"
    with pytest.raises(QuotaExhausted) as over:
        own.create(row)
    assert over.value.retry_after == 90_000
    with pytest.raises(RemoteInvalid) as invalid:
        connector("  create: {method: POST, path: /people, body: '{values}'}" + rules, other).create(row)
    assert invalid.value.fields == ("mail",)
    assert "ann@" not in f"{conflict.value} {over.value} {invalid.value}"


def test_each_row_of_a_batch_has_its_own_result() -> None:
    batch = """  upsert_many:
    method: POST
    path: /bulk
    body: {data: "{rows}"}
    batch: 2
    rows: {path: $.data, id: $.id, ok: $.status, equals: success, error: $.code, created: $.new}
"""
    other = Other(
        {"data": [{"id": 1, "status": "success", "new": True}, {"status": "error", "code": "BAD"}]},
        {"data": [{"id": 3, "status": "success"}]},
    )
    rows = [Row(key=f"k{n}", values={"email": f"p{n}@shop.example"}) for n in range(3)]
    first, second, third = connector(batch, other).upsert_many(rows)
    assert (first.id, first.created, second.error, third.id) == ("1", True, RemoteInvalid.code, "3")
    assert "BAD" in second.detail


def test_what_is_not_described_is_refused() -> None:
    own = connector("", Other())
    assert not own.capabilities.write
    for verb in (
        lambda: own.search("x"),
        lambda: own.changes(None),
        lambda: own.log_activities([Activity(key="k", kind="note", record="1", at=0)]),
    ):
        with pytest.raises(Unsupported):
            verb()


@pytest.mark.parametrize(
    ("described", "good"),
    [
        ("{verify: shared_token, path: $.token}", {"body": b'{"token":"s3cret","id":5}'}),
        ("{verify: basic, user: crm}", {"headers": {"authorization": "Basic Y3JtOnMzY3JldA=="}}),
        ("{verify: path_secret}", {"url": "https://us.example/hooks/s3cret"}),
        (
            '{verify: hmac, header: X-Sign, payload: "{method}{url}{body}"}',
            {"headers": {"x-sign": hmac.new(b"s3cret", b'POSThttps://us.example/hook{"id":5}', sha256).hexdigest()}},
        ),
    ],
)
def test_webhooks_show_whose_they_are(described: str, good: dict[str, Any]) -> None:
    own = connector(f"webhook: {described}", Other(), secret={"webhook_secret": "s3cret"})
    blank = {"method": "POST", "url": "https://us.example/hook", "headers": {}, "body": b'{"id":5}'}
    call = WebhookCall(**{**blank, **good})
    own.verify_webhook(call, T0)
    assert [notice.record for notice in own.parse_webhook(call)] == ["5"]
    with pytest.raises(Refused):
        own.verify_webhook(WebhookCall(**blank), T0)
    with pytest.raises(Refused):
        connector(f"webhook: {described}", Other(), secret={}).verify_webhook(call, T0)
