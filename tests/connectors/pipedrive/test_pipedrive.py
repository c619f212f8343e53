"""The connector to Pipedrive: both generations of its API, what it makes of refusals, and whose webhooks it takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from simulated import served
from tailorbird.connectors.pipedrive import PROVIDER, PipedriveConnector
from tailorbird.connectors.pipedrive.answers import refuse
from tailorbird.connectors.rest import (
    Answer,
    AuthExpired,
    Forbidden,
    QuotaExhausted,
    RateLimited,
    Refused,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Retry,
    StaticAuth,
    Transient,
    Unsupported,
    by_status,
)
from tailorbird.core.context import ManualClock
from tailorbird.crm.model import Activity, Row, WebhookCall
from tailorbird.errors import InvalidInput
from tailorbird.simulators import PipedriveSimulator

T0 = 1_800_000_000_000
CUSTOM = "d4de1c1518b4531717c676029a45911c340390a6"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(T0)


@pytest.fixture
def app(clock: ManualClock) -> PipedriveSimulator:
    return PipedriveSimulator(people=1_203, clock=lambda: clock.now() / 1000)


@pytest.fixture
def crm(app: PipedriveSimulator, clock: ManualClock) -> Iterator[PipedriveConnector]:
    with served(app) as url:
        connector = PipedriveConnector(
            auth=StaticAuth({"x-api-token": "simulated"}), clock=clock, url=url, webhook_secret="hush", campaigns=True,
            per_second=10_000, retry=Retry(tries=1), sleep=lambda _: None,
        )  # fmt: skip
        yield connector
        connector.close()


def new(who: str, **values: Any) -> Row:
    email = f"{who}@pipe.example"
    return Row(key=who, values={"email": email, "first_name": who, "last_name": "Lee", **values}, match={"email": email})


def made(crm: PipedriveConnector, who: str, **values: Any) -> str:
    return str(crm.create(new(who, **values)).id)


def test_everybody_is_read_by_cursors_until_there_is_none(crm: PipedriveConnector, app: PipedriveSimulator) -> None:
    seen: list[str] = []
    page = crm.changes(None, limit=500)
    late = made(crm, "late")
    while True:
        seen += [record.id for record in page.records]
        if not page.more:
            break
        page = crm.changes(page.cursor, limit=500)
    assert len(seen) == len(set(seen)) == 1_204
    asked = [request for request in app.log if request.path == "/api/v2/persons" and request.method == "GET"]
    assert [("cursor" in request.query, request.query["limit"]) for request in asked] == [
        (False, "500"), (True, "500"), (True, "500"),
    ]  # fmt: skip
    assert late in {record.id for record in crm.changes(page.cursor).records}


def test_companies_are_named_and_asked_for_once(crm: PipedriveConnector, app: PipedriveSimulator) -> None:
    first = crm.changes(None, limit=200).records
    assert all(record.company for record in first)
    crm.changes(None, limit=200)
    assert sum(request.path == "/api/v2/organizations" for request in app.log) == 1


def test_notes_are_counted_through_and_activities_follow_cursors(crm: PipedriveConnector, app: PipedriveSimulator) -> None:
    sent = [
        Activity(key=f"{kind}-{n}", kind=kind, record="7", at=T0, subject="s") for n in range(120) for kind in ("note", "task")
    ]
    first = crm.log_activities(sent)
    app.log.clear()
    again = crm.log_activities(sent)
    assert [one.id for one in again] == [one.id for one in first]
    assert all(one.found for one in again)
    assert [(one.path, one.query.get("start")) for one in app.log] == [
        ("/api/v1/notes", "0"), ("/api/v1/notes", "100"), ("/api/v2/activities", None),
    ]  # fmt: skip
    assert (len(app.notes), len(app.activities)) == (120, 120)


def test_200_with_success_false_is_a_refusal(crm: PipedriveConnector, app: PipedriveSimulator) -> None:
    app.unkept = True
    with pytest.raises(RemoteInvalid, match="success is false"):
        crm.create(new("ann"))
    app.unkept = True
    assert crm.upsert_many([new("ben")])[0].error == RemoteInvalid.code


def test_the_first_generation_has_no_persons_any_more(crm: PipedriveConnector, app: PipedriveSimulator) -> None:
    with pytest.raises(RemoteNotFound):
        crm._transport.request("GET", "v1/persons/7")
    crm.get("7")
    made(crm, "ann")
    crm.find(email="ann@pipe.example")
    assert all(request.path.startswith("/api/v2/") for request in app.log[1:])


def test_one_half_of_a_name_keeps_the_other(crm: PipedriveConnector) -> None:
    id = made(crm, "Ann")
    assert crm.update(Row(key="u", id=id, values={"first_name": "Anna"})).dropped == ()
    read = crm.get(id)
    assert read is not None
    assert read.name == "Anna Lee"


def test_further_addresses_and_the_rest_of_a_place_survive(crm: PipedriveConnector) -> None:
    two = [{"value": "one@pipe.example", "primary": True}, {"value": "two@pipe.example", "primary": False}]
    id = str(crm.create(Row(key="k", values={"first_name": "Ann", "emails": two, "city": "Oslo", "country": "Norway"})).id)
    crm.update(Row(key="u", id=id, values={"email": "three@pipe.example", "city": "Bergen"}))
    read = crm.get(id)
    assert read is not None
    assert read.emails == ("three@pipe.example", "two@pipe.example")
    assert (read.city, read.country) == ("Bergen", "Norway")


def test_own_fields_go_by_their_code_and_an_empty_list_clears(crm: PipedriveConnector, app: PipedriveSimulator) -> None:
    id = made(crm, "ann", **{CUSTOM: "gas"})
    read = crm.get(id)
    assert read is not None
    assert read.value(CUSTOM) == "gas"
    crm.update(Row(key="u", id=id, values={CUSTOM: []}))
    assert app.log[-1].body == {"custom_fields": {CUSTOM: None}}
    assert CUSTOM in {field.name for field in crm.fields()}


def test_labels_are_made_where_they_are_missing(crm: PipedriveConnector, app: PipedriveSimulator) -> None:
    id = made(crm, "ann", tags=["hot", "new"])
    made(crm, "ben", tags=["hot"])
    assert [one["label"] for one in app.labels] == ["hot", "new"]
    read = crm.get(id)
    assert read is not None
    assert read.tags == ("hot", "new")


def test_what_has_no_place_is_told(crm: PipedriveConnector) -> None:
    assert crm.create(new("ann", company="Acorn", status="new")).dropped == ("company", "status")


def test_an_opt_out_that_pipedrive_keeps_back_is_told(crm: PipedriveConnector, clock: ManualClock) -> None:
    id = made(crm, "ann")
    record = crm.get(id)
    assert record is not None
    assert record.consents == {}
    crm.set_consent(record, "email", False)
    with pytest.raises(RemoteInvalid, match="did not keep"):
        crm.set_consent(record, "email", True)
    plain = PROVIDER.open("p", secret={"key": "k"}, settings={}, clock=clock)
    with pytest.raises(Unsupported):
        plain.set_consent(record, "email", False)
    with pytest.raises(Unsupported):
        plain.subscribe("https://us.example")
    plain.close()


def test_activities_and_notes_say_what_was_done_and_hold_no_foreign_tags(
    crm: PipedriveConnector, app: PipedriveSimulator
) -> None:
    data: dict[str, Any] = {"duration": 3_661, "url": "https://shop.example/<p>"}
    kinds = sorted(crm.capabilities.activities)
    sent = [Activity(key=k, kind=k, record="7", at=T0, subject="A <b>", body="x < y", data=data) for k in kinds]
    assert all(one.id for one in crm.log_activities(sent))
    assert sorted(one["type"] for one in app.activities) == ["call", "email", "meeting", "task"]
    call = next(one for one in app.activities if one["type"] == "call")
    assert (call["due_date"], call["due_time"], call["duration"], call["done"]) == ("2027-01-15", "08:00", "01:02", True)
    assert call["participants"] == [{"person_id": 7, "primary": True}]
    assert not next(one for one in app.activities if one["type"] == "task")["done"]
    assert all("x &lt; y" in one["content"] and "A &lt;b&gt;" in one["content"] for one in app.notes)
    assert app.notes[0]["add_time"] == "2027-01-15 08:00:00"


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "said"),
    [
        (400, {}, b'{"success":false,"error":"ann@private.example"}', RemoteInvalid, "400"),
        (401, {}, b'{"success":false,"error":"unauthorized access","errorCode":401}', AuthExpired, "401 - Unauthorized"),
        (403, {}, b'{"success":false,"error":"private"}', Forbidden, "403 - Forbidden"),
        (403, {}, b'{"success":false,"code":"feature_capping_deals_limit"}', Forbidden, "feature_capping_deals_limit"),
        (403, {}, b"<html>private</html>", RateLimited, "blocked"),
        (404, {}, b"{}", RemoteNotFound, "404"), (410, {}, b"{}", RemoteNotFound, "410"),
        (429, {"x-ratelimit-reset": "2"}, b"{}", RateLimited, "429"),
        (429, {"x-daily-requests-left": "0"}, b"{}", QuotaExhausted, "budget"),
        (500, {}, b"<html>", Transient, "500"), (200, {}, b'{"success":false}', RemoteInvalid, "success is false"),
    ],
)  # fmt: skip
def test_refusals_are_errors_in_words_without_what_the_vendor_quotes(
    status: int, headers: dict[str, str], body: bytes, kind: type[RemoteError], said: str
) -> None:
    error = refuse(Answer(status, headers, body), by_status("Pipedrive", status) if status >= 300 else None)
    assert type(error) is kind
    assert said in str(error)
    assert "private" not in f"{error} {error.hint}"
    if isinstance(error, RateLimited | QuotaExhausted):
        assert error.retry_after


def test_the_days_budget_is_told_from_a_burst(crm: PipedriveConnector, app: PipedriveSimulator, clock: ManualClock) -> None:
    app.limited = 1
    with pytest.raises(RateLimited) as burst:
        crm.test()
    assert burst.value.retry_after == 2_000
    clock.move_to(T0 + 3_000)
    app.daily = 3
    with pytest.raises(QuotaExhausted):
        crm.get("7")


def test_webhooks_show_the_password_and_their_time(crm: PipedriveConnector, app: PipedriveSimulator) -> None:
    app.webhook_secret = "hush"
    method, url, headers, body = app.hook("7", action="delete")
    call = WebhookCall(method=method, url=url, headers=headers, body=body)
    crm.verify_webhook(call, T0 + 200_000)  # its last try
    assert [(one.record, one.what) for one in crm.parse_webhook(call)] == [("7", "deleted")]
    with pytest.raises(Refused):
        crm.verify_webhook(call, T0 + 301_000)
    app.webhook_secret = "other"
    method, url, headers, body = app.hook("7")
    with pytest.raises(Refused):
        crm.verify_webhook(WebhookCall(method=method, url=url, headers=headers, body=body), T0)
    with pytest.raises(RemoteInvalid):
        crm.parse_webhook(WebhookCall(method="POST", url=url, headers={}, body=b'{"meta":{"version":"1.0"}}'))


def test_a_subscription_is_of_version_2_and_ends_without_complaint(crm: PipedriveConnector, app: PipedriveSimulator) -> None:
    subscriptions = crm.subscribe("https://us.example/hook")
    (hook,) = app.hooks.values()
    assert (hook["version"], hook["event_object"], hook["http_auth_password"]) == ("2.0", "person", "hush")
    crm.unsubscribe(subscriptions)
    crm.unsubscribe(subscriptions)
    assert app.hooks == {}


def test_the_generations_have_their_addresses_at_the_vendors_own_host(clock: ManualClock) -> None:
    common = PipedriveConnector(auth=StaticAuth({}), clock=clock)
    company = PipedriveConnector(auth=StaticAuth({}), clock=clock, url="https://acme.pipedrive.com")
    assert (common._old, company._old) == ("v1", "api/v1")
    with pytest.raises(InvalidInput, match="No CRM credentials found"):
        PROVIDER.open("p", secret={}, settings={}, clock=clock)
