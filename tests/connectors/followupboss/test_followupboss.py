"""The connector to Follow Up Boss: how it reads on, what it sends, what it makes of refusals, and whose webhooks it takes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from simulated import served
from tailorbird.connectors.followupboss import PROVIDER, FollowUpBossConnector
from tailorbird.connectors.followupboss.answers import refuse
from tailorbird.connectors.rest import (
    Answer,
    AuthExpired,
    Forbidden,
    RateLimited,
    Refused,
    RemoteConflict,
    RemoteInvalid,
    RemoteNotFound,
    Retry,
    Transient,
    basic_auth,
    by_status,
)
from tailorbird.core.context import HOUR, ManualClock
from tailorbird.crm.model import Activity, Record, Row, WebhookCall
from tailorbird.crm.port import Filters
from tailorbird.errors import InvalidInput
from tailorbird.simulators import FollowUpBossSimulator

T0 = 1_800_000_000_000
VECTOR_KEY = "560270f7914b5b4a5f4dc1793ebc2796"
VECTOR = (
    b'{"eventId":"152d60c0-79cc-4c69-b0e5-6c8a1ab7ce67","eventCreated":"2026-04-28T15:24:07+00:00","event":"peopleStageUpdated",'
    b'"resourceIds":[1234],"uri":"https://api.followupboss.com/v1/people?id=1234","data":{"stage":"Hot"}}'
)
VECTOR_MARK = (
    "ba029c7e4e2d04423f3cb9fa39b07a6b5060a1a937695cf6905cc9fc2a71f74f"  # by openssl dgst -sha256 -hmac, over the body in base64
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(T0)


@pytest.fixture
def app(clock: ManualClock) -> FollowUpBossSimulator:
    return FollowUpBossSimulator(people=2_350, clock=lambda: clock.now() / 1000)


def connected(url: str, clock: ManualClock, **options: object) -> FollowUpBossConnector:
    told = {"system_key": "simulated-system", "retry": Retry(tries=1), "sleep": lambda _: None, "limits": {}} | options
    return FollowUpBossConnector(auth=basic_auth("simulated"), clock=clock, url=f"{url}/v1", **told)  # type: ignore[arg-type]


@pytest.fixture
def crm(app: FollowUpBossSimulator, clock: ManualClock) -> Iterator[FollowUpBossConnector]:
    with served(app) as url:
        connector = connected(url, clock)
        yield connector
        connector.close()


def new(who: str, **values: Any) -> Row:
    email = f"{who}@fub.example"
    return Row(key=who, values={"email": email, "first_name": who, "last_name": "Lee", **values}, match={"email": email})


def test_everybody_is_read_by_tokens_and_never_by_counting_far(crm: FollowUpBossConnector, app: FollowUpBossSimulator) -> None:
    seen: list[str] = []
    page = crm.changes(None, limit=500)
    while True:
        seen += [record.id for record in page.records]
        if not page.more:
            break
        page = crm.changes(page.cursor, limit=500)
    assert len(seen) == len(set(seen)) == 2_350
    assert all("offset" not in request.query and int(request.query["limit"]) <= 100 for request in app.log)
    assert len(app.log) == 24


def test_the_simulator_refuses_to_count_far(crm: FollowUpBossConnector) -> None:
    with pytest.raises(RemoteInvalid):
        crm._transport.request("GET", "people", params={"offset": "2001"})


def test_who_changes_while_everybody_is_read_is_not_missed(
    crm: FollowUpBossConnector, app: FollowUpBossSimulator, clock: ManualClock
) -> None:
    page = crm.changes(None, limit=500)
    clock.move_to(T0 + 1_000)
    late = crm.create(new("late")).id
    crm.update(Row(key="u", id="2340", values={"first_name": "Changed"}))  # was read already
    while page.more:
        page = crm.changes(page.cursor, limit=500)
    assert {late, "2340"} == {record.id for record in crm.changes(page.cursor).records}


def test_somebody_in_the_trash_is_deleted(crm: FollowUpBossConnector, app: FollowUpBossSimulator) -> None:
    page = crm.changes('{"since":1799999000000}')
    app.trash("7")
    assert [(r.id, r.deleted) for r in crm.changes(page.cursor).records] == [("7", True)]
    assert crm.get("7") is None


def test_further_addresses_survive_a_new_one(crm: FollowUpBossConnector) -> None:
    two = [{"value": "one@fub.example", "type": "home", "isPrimary": True}, {"value": "two@fub.example", "type": "work"}]
    id = crm.create(Row(key="k", values={"first_name": "Ann", "emails": two})).id
    crm.update(Row(key="u", id=id, values={"email": "three@fub.example"}))
    read = crm.get(str(id))
    assert read is not None
    assert read.emails == ("three@fub.example", "two@fub.example")


def test_tags_are_added_by_the_vendor_itself(crm: FollowUpBossConnector, app: FollowUpBossSimulator) -> None:
    id = crm.create(new("ann", tags=["one"])).id
    crm.update(Row(key="u", id=id, values={"tags": ["two"]}), lists="merge")
    assert app.log[-1].query == {"mergeTags": "true"}
    crm.update(Row(key="u", id=id, values={"tags": ["three"]}))
    assert app.log[-1].query == {}
    read = crm.get(str(id))
    assert read is not None
    assert read.tags == ("three",)


def test_custom_fields_are_written_and_cleared_by_their_names(crm: FollowUpBossConnector) -> None:
    id = crm.create(new("ann", customHeating="gas")).id
    read = crm.get(str(id))
    assert read is not None
    assert read.value("customHeating") == "gas"
    assert "customHeating" in {field.name for field in crm.fields()}
    assert crm.update(Row(key="u", id=id, values={"customHeating": None})).dropped == ()
    read = crm.get(str(id))
    assert read is not None
    assert read.value("customHeating") is None


def test_a_second_person_with_an_address_is_a_conflict_although_the_vendor_says_200(crm: FollowUpBossConnector) -> None:
    id = crm.create(new("ann")).id
    with pytest.raises(RemoteConflict) as conflict:
        crm.create(new("ann", first_name="Other"))
    assert conflict.value.existing == id
    read = crm.get(str(id))
    assert read is not None
    assert read.first_name == "ann"


def test_new_people_come_in_as_an_event_and_the_one_who_is_there_is_updated(
    crm: FollowUpBossConnector, app: FollowUpBossSimulator
) -> None:
    (made,) = crm.upsert_many([new("ann")])
    assert made.created
    assert [(one["type"], one["system"]) for one in app.written["events"]] == [("Registration", "Tailorbird")]
    (again,) = crm.upsert_many([new("ann", first_name="Anna")])
    assert (again.id, again.created) == (made.id, False)
    # Not matched by us, yet the vendor knows the address: what it leaves as it was is written.
    (third,) = crm.upsert_many([Row(key="k", values={"email": "ann@fub.example", "first_name": "Annika"})])
    assert (third.id, third.created) == (made.id, False)
    read = crm.get(str(made.id))
    assert read is not None
    assert read.first_name == "Annika"


def test_whom_the_lead_flow_ignores_is_told_so(crm: FollowUpBossConnector, app: FollowUpBossSimulator) -> None:
    app.ignored = True
    (result,) = crm.upsert_many([new("ann")])
    assert (result.error, result.id) == (RemoteInvalid.code, None)
    assert "ignored" in result.detail
    logged = crm.log_activities([Activity(key="k", kind="website_visit", record="7", at=T0)])
    assert "ignored" in logged[0].detail


def test_without_the_lead_flow_no_event_is_made(app: FollowUpBossSimulator, clock: ManualClock) -> None:
    with served(app) as url:
        connector = connected(url, clock, lead_flow=False)
        assert connector.upsert_many([new("ann")])[0].created
        connector.close()
    assert app.written["events"] == []


def test_each_kind_of_activity_becomes_the_vendors_own(crm: FollowUpBossConnector, app: FollowUpBossSimulator) -> None:
    data = {"url": "https://shop.example/p", "duration": 61.0, "direction": "in", "phone": "+14155550100", "campaign": "May"}
    sent = [
        Activity(key=f"k-{kind}", kind=kind, record="7", at=T0, subject="Hello", body="text", data=data)
        for kind in crm.capabilities.activities
    ]
    assert all(one.id for one in crm.log_activities(sent))
    assert {name: len(items) for name, items in app.written.items()} == {
        "notes": 3, "calls": 1, "textMessages": 1, "tasks": 1, "events": 3, "emEvents": 3,
    }  # fmt: skip
    (call,) = app.written["calls"]
    assert (call["isIncoming"], call["duration"], call["phone"]) == (True, 61, "+14155550100")
    (task,) = app.written["tasks"]
    assert (task["name"], task["dueDateTime"]) == ("Hello", "2027-01-15T08:00:00Z")
    assert {one["type"] for one in app.written["emEvents"]} == {"delivered", "open", "click"}
    assert len(app.campaigns) == 1
    assert {one["type"] for one in app.written["events"]} == {"Viewed Property", "Visited Website", "General Inquiry"}


def test_a_retry_finds_its_text_message_although_bodies_are_hidden(
    crm: FollowUpBossConnector, app: FollowUpBossSimulator
) -> None:
    sent = [Activity(key="k", kind="text_message", record="7", at=T0, body="private words")]
    (first,) = crm.log_activities(sent)
    (again,) = crm.log_activities(sent)
    assert (again.id, again.found) == (first.id, True)
    assert len(app.written["textMessages"]) == 1


def test_a_new_person_takes_activities_a_little_later(
    crm: FollowUpBossConnector, app: FollowUpBossSimulator, clock: ManualClock
) -> None:
    app.settling = 30
    id = str(crm.create(new("ann")).id)
    sent = [Activity(key="k", kind="note", record=id, at=T0, body="b")]
    (early,) = crm.log_activities(sent)
    assert (early.error, early.retry_after) == (Transient.code, 10_000)
    (nobody,) = crm.log_activities([Activity(key="n", kind="note", record="999999", at=T0)])
    assert (nobody.error, nobody.retry_after) == (RemoteNotFound.code, None)
    clock.move_to(T0 + 31_000)
    assert crm.log_activities(sent)[0].id


def test_text_messages_take_a_registered_system(app: FollowUpBossSimulator, clock: ManualClock) -> None:
    with served(app) as url:
        connector = connected(url, clock, system_key="")
        assert "text_message" not in connector.capabilities.activities
        (result,) = connector.log_activities([Activity(key="k", kind="text_message", record="7", at=T0)])
        connector.close()
    assert result.error == Forbidden.code
    assert "Registered Systems Only" in result.detail


def test_every_request_says_who_we_are(crm: FollowUpBossConnector, app: FollowUpBossSimulator) -> None:
    assert crm.test().account == "simulated"
    headers = app.log[-1].headers
    assert (headers["x-system"], headers["x-system-key"]) == ("Tailorbird", "simulated-system")
    assert headers["authorization"] == "Basic " + b64encode(b"simulated:").decode()
    assert "simulated" not in repr(crm)


def test_an_opt_out_is_a_tag_and_an_unsubscription(crm: FollowUpBossConnector, app: FollowUpBossSimulator) -> None:
    id = str(crm.create(new("ann", tags=["vip"])).id)
    record = crm.get(id)
    assert record is not None
    crm.set_consent(record, "email", False)
    assert app.written["emEvents"][-1]["type"] == "unsubscribe"
    read = crm.get(id)
    assert read is not None
    assert set(read.tags) == {"vip", "Do Not Email"}
    crm.set_consent(record, "email", True)
    read = crm.get(id)
    assert read is not None
    assert (read.tags, read.consents) == (("vip",), {})
    crm.update(Row(key="u", id=id, values={"tags": ["DNC"]}))
    with pytest.raises(RemoteInvalid, match="DNC"):
        crm.set_consent(record, "email", True)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [(400, RemoteInvalid, "400 - Bad Request"), (401, AuthExpired, "401 - Unauthorized"), (403, Forbidden, "403 - Forbidden"),
     (404, RemoteNotFound, "404 - Not Found"), (429, RateLimited, "429"), (500, Transient, "500"), (503, Transient, "503")],
)  # fmt: skip
def test_statuses_are_errors_in_words_without_what_the_vendor_quotes(status: int, kind: type[Exception], said: str) -> None:
    for body in (
        b'{"errorMessage":"ann@private.example"}',
        b'{"title":"x","errors":[{"detail":"ann@private.example"}]}',
        b"<html>",
    ):
        error = refuse(Answer(status, {}, body), by_status("Follow Up Boss", status))
        assert type(error) is kind
        assert said in str(error)
        assert "private" not in f"{error} {error.hint}"


def test_the_limit_says_when_to_come_again(crm: FollowUpBossConnector, app: FollowUpBossSimulator) -> None:
    app.limited = 1
    with pytest.raises(RateLimited) as limited:
        crm.test()
    assert limited.value.retry_after == 1_000
    app.silent_429, app.limited = True, 1
    crm._clock.move_to(T0 + 1_001)  # type: ignore[attr-defined]
    with pytest.raises(RateLimited) as limited:
        crm.test()
    assert limited.value.retry_after == 10_000


def test_a_filter_is_narrowed_there_and_checked_here(crm: FollowUpBossConnector, app: FollowUpBossSimulator) -> None:
    filters = Filters(equals={"status": "Closed", "city": "Austin"}, contains={"tags": ("vip",)})
    found: list[Record] = []
    page = crm.query(filters)
    while True:
        found += page.records
        if not page.more:
            break
        page = crm.query(filters, cursor=page.cursor)
    assert found
    assert {(record.status, record.city, "vip" in record.tags) for record in found} == {("Closed", "Austin", True)}
    assert app.log[-1].query["stage"] == "Closed"


def test_the_signature_is_that_of_the_test_vector() -> None:
    from tailorbird.connectors.followupboss.webhooks import signature, verify

    mark = VECTOR_MARK
    assert signature(VECTOR_KEY, VECTOR) == mark
    now = 1_777_389_847_000
    for shown in (mark, f"sha256={mark}"):
        verify(
            VECTOR_KEY, WebhookCall(method="POST", url="https://us.example", headers={"fub-signature": shown}, body=VECTOR), now
        )
    for headers, body, at in (
        ({}, VECTOR, now), ({"fub-signature": mark}, VECTOR + b"\n", now), ({"fub-signature": "é"}, VECTOR, now),
        ({"fub-signature": mark}, VECTOR, now + 25 * HOUR),
    ):  # fmt: skip
        with pytest.raises(Refused):
            verify(VECTOR_KEY, WebhookCall(method="POST", url="https://us.example", headers=headers, body=body), at)


def test_a_webhook_may_be_a_list_and_tell_of_many(crm: FollowUpBossConnector, app: FollowUpBossSimulator) -> None:
    _, url, headers, body = app.hook("1", "2", event="peopleDeleted")
    for told in (body, b"[" + body + b"]"):
        found = crm.parse_webhook(WebhookCall(method="POST", url=url, headers=headers, body=told))
        assert [(one.record, one.what) for one in found] == [("1", "deleted"), ("2", "deleted")]
        assert len({one.id for one in found}) == 2
    _, url, headers, body = app.hook("5", event="notesCreated")
    assert crm.parse_webhook(WebhookCall(method="POST", url=url, headers=headers, body=body)) == []


def test_subscribing_twice_keeps_the_hooks(crm: FollowUpBossConnector, app: FollowUpBossSimulator) -> None:
    made = crm.subscribe("https://us.example/hook")
    assert crm.subscribe("https://us.example/hook") == made
    assert len(app.hooks) == len(made) == 5
    crm.unsubscribe(made)
    crm.unsubscribe(made)
    assert app.hooks == {}


def test_without_credentials_nothing_is_opened(clock: ManualClock) -> None:
    with pytest.raises(InvalidInput, match="No CRM credentials found"):
        PROVIDER.open("fub", secret={}, settings={}, clock=clock)
    opened = PROVIDER.open("fub", secret={"key": "k", "webhook_secret": "s"}, settings={}, clock=clock)
    assert "text_message" in opened.capabilities.activities
    opened.close()
