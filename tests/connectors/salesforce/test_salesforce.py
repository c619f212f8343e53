"""The connector to Salesforce: what it asks, what it makes of answers and refusals, and what it never does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from simulated import T0, served
from tailorbird.connectors.providers import provider
from tailorbird.connectors.rest import (
    Answer,
    AuthExpired,
    AuthRevoked,
    Forbidden,
    Locked,
    QuotaExhausted,
    RateLimited,
    RemoteConflict,
    RemoteError,
    RemoteInvalid,
    Retry,
    Transient,
    bearer_auth,
    by_status,
)
from tailorbird.connectors.rest.oauth import TokenDesk
from tailorbird.connectors.salesforce import OAUTH, SalesforceConnector
from tailorbird.connectors.salesforce.answers import refuse
from tailorbird.core.context import HOUR, MINUTE, SECOND, ManualClock
from tailorbird.crm.model import Activity, Record, Row
from tailorbird.crm.port import Filters
from tailorbird.errors import InvalidInput
from tailorbird.simulators import SalesforceSimulator


class World:
    """A simulator and a clock that the test moves; ``connect`` opens a connector to it."""

    def __init__(self, url: str, simulator: SalesforceSimulator, clock: ManualClock) -> None:
        self.url = url
        self.simulator = simulator
        self.clock = clock
        self.opened = ExitStack()

    def connect(self, **options: Any) -> SalesforceConnector:
        options.setdefault("retry", Retry(tries=1))
        options.setdefault("auth", bearer_auth(self.simulator.key))
        connector = SalesforceConnector("sf", self.url, clock=self.clock, **options)
        self.opened.callback(connector.close)
        return connector

    def asked(self, what: str) -> list[Any]:
        return [request for request in self.simulator.log if what in request.path]


@contextmanager
def world(**options: Any) -> Iterator[World]:
    clock = ManualClock(T0)
    simulator = SalesforceSimulator(clock=lambda: clock.now() / 1000, **options)
    with served(simulator) as url:
        made = World(url, simulator, clock)
        with made.opened:
            yield made


@pytest.fixture
def here() -> Iterator[World]:
    with world() as made:
        yield made


def row(key: str, **values: Any) -> Row:
    values.setdefault("last_name", "Lee")
    match = {"email": values["email"]} if "email" in values else {}
    return Row(key=key, values=values, match=match)


# ---- reading


def test_reading_everybody_goes_page_by_page_over_contacts_and_leads_and_follows_the_links_given() -> None:
    with world(people=900, batch=200) as here:
        connector = here.connect()
        found: list[Record] = []
        cursor = None
        while True:
            page = connector.changes(cursor, limit=500)
            found += page.records
            cursor = page.cursor
            if not page.more:
                break
        assert len(found) == len({record.id for record in found}) == 900
        assert {record.object for record in found} == {"contact", "lead"}
        assert any(request.path.rpartition("/")[2].endswith("-200") for request in here.asked("/queryAll/"))
        assert all(record.company and record.email and record.updated_at for record in found)


def test_a_lead_that_became_a_contact_is_told_as_gone_and_the_contact_as_new(here: World) -> None:
    connector = here.connect(objects=("lead", "contact"))
    lead = connector.create(row("a", email="ann@x.example", company="Shop")).id
    assert lead is not None
    assert lead.startswith("00Q")
    cursor = connector.changes(None).cursor
    here.clock.move_to(T0 + HOUR)
    contact = here.simulator.org.convert(lead)
    told = {record.id: record for record in connector.changes(cursor).records}
    assert (told[lead].deleted, told[contact].deleted) == (True, False)
    assert connector.get(lead) is None
    assert [record.id for record in connector.find(email="ann@x.example")] == [contact]
    done = connector.upsert_many([Row(key="k", id=lead, values={"title": "CEO"})])
    assert done[0].error == "remote_invalid"


def test_who_was_deleted_before_the_first_reading_is_never_told_and_during_it_is(here: World) -> None:
    connector = here.connect()
    ids = [connector.create(row(f"k{n}", email=f"p{n}@x.example")).id or "" for n in range(6)]
    here.simulator.org.delete(ids[0])
    here.clock.move_to(T0 + HOUR)
    first = connector.changes(None, limit=3)
    assert ids[0] not in {record.id for record in first.records}
    here.clock.move_to(T0 + HOUR + MINUTE)
    here.simulator.org.delete(ids[1])
    told = {}
    page = first
    while page.more:
        page = connector.changes(page.cursor, limit=3)
        told |= {record.id: record for record in page.records}
    assert told[ids[1]].deleted
    assert ids[0] not in told


def test_what_is_older_than_a_minute_is_not_read_twice_and_what_is_younger_is(here: World) -> None:
    connector = here.connect()
    old = connector.create(row("old", email="old@x.example")).id
    here.clock.move_to(T0 + HOUR)
    new = connector.create(row("new", email="new@x.example")).id
    page = connector.changes(None)
    assert [record.id for record in page.records] == [old, new]
    page = connector.changes(page.cursor)
    assert [record.id for record in page.records] == [new]
    here.clock.move_to(T0 + HOUR + 2 * MINUTE)
    page = connector.changes(connector.changes(page.cursor).cursor)
    assert page.records == ()


def test_a_record_that_commits_late_with_the_time_of_its_beginning_is_not_missed(here: World) -> None:
    connector = here.connect()
    connector.create(row("a", email="a@x.example"))
    here.clock.move_to(T0 + HOUR)
    cursor = connector.changes(None).cursor
    theirs, here.simulator.org.clock = here.simulator.org.clock, lambda: (T0 + HOUR - 30 * SECOND) / 1000
    late = connector.create(row("b", email="b@x.example")).id  # began half a minute before we read, and shows after
    here.simulator.org.clock = theirs
    here.clock.move_to(T0 + HOUR + SECOND)
    assert late in {record.id for record in connector.changes(cursor).records}


@pytest.mark.parametrize("cursor", ["", "nonsense", "{}", '{"begun": "x"}', '{"begun": 1, "at": {"contact": 7}}'])
def test_a_cursor_that_is_none_is_refused_in_words(here: World, cursor: str) -> None:
    connector = here.connect()
    if cursor:
        with pytest.raises(RemoteInvalid, match="cursor"):
            connector.changes(cursor)
        with pytest.raises(RemoteInvalid, match="cursor"):
            connector.query(Filters(), cursor=cursor)
    else:
        assert connector.changes(cursor).records == ()


def test_filters_are_asked_where_they_can_be_and_the_answer_is_exact(here: World) -> None:
    connector = here.connect(tags_field="Tags__c")
    values = {
        "ann": {"city": "Paris", "Services__c": ["lawn", "snow"], "Last_Service__c": "2026-01-05", "tags": ["vip"]},
        "ben": {"city": "paris", "Services__c": ["lawn"], "Last_Service__c": "2026-06-05"},
        "cem": {"city": "Oslo", "Services__c": ["lawn", "snow", "trees"]},
    }
    ids = {who: connector.create(row(who, email=f"{who}@x.example", **told)).id for who, told in values.items()}

    def who(**filters: Any) -> set[str]:
        found = {record.id for record in connector.query(Filters(**filters)).records}
        return {name for name, id in ids.items() if id in found}

    assert who(equals={"city": "Paris"}) == {"ann"}
    assert who(equals={"email": "BEN@x.example"}) == {"ben"}
    assert who(contains={"Services__c": ("snow",)}) == {"ann", "cem"}
    assert who(contains={"tags": ("vip",), "Services__c": ("snow", "lawn")}) == {"ann"}
    march = 1_772_323_200_000  # 2026-03-01
    assert who(before={"Last_Service__c": march}) == {"ann", "cem"}
    assert who(changed_since=T0 + 1) == set()
    assert who(changed_since=T0) == {"ann", "ben", "cem"}
    assert who(equals={"status": "Open"}) == set()
    with pytest.raises(RemoteInvalid) as refused:
        connector.query(Filters(equals={"Nope__c": 1}))
    assert refused.value.fields == ("Nope__c",)


def test_a_query_goes_on_where_it_stood() -> None:
    with world(people=30) as here:
        connector = here.connect()
        found: list[str] = []
        cursor = None
        while True:
            page = connector.query(Filters(), cursor=cursor, limit=7)
            assert len(page.records) <= 7
            found += [record.id for record in page.records]
            cursor = page.cursor
            if not page.more:
                break
        assert len(found) == len(set(found)) == 30


def test_a_number_is_found_however_it_is_written(here: World) -> None:
    connector = here.connect()
    id = connector.create(row("a", phone="(415) 555-0100")).id
    assert [record.id for record in connector.find(phone="+1 415 555 0100")] == [id]
    assert connector.find(phone="12") == connector.find() == []


def test_fields_that_are_hidden_are_not_asked_for() -> None:
    with world(people=3, hidden=frozenset({"Lead.HasOptedOutOfEmail", "Contact.AccountId", "Lead.MobilePhone"})) as here:
        connector = here.connect()
        records = connector.changes(None).records
        assert len(records) == 3
        lead = next(record for record in records if record.object == "lead")
        with pytest.raises(Forbidden, match="HasOptedOutOfEmail"):
            connector.set_consent(lead, "email", False)


def test_a_box_that_is_not_ticked_says_nothing_of_consent(here: World) -> None:
    connector = here.connect()
    record = connector.get(connector.create(row("a", email="a@x.example")).id or "")
    assert record is not None and record.consents == {}
    connector.set_consent(record, "email", False)
    connector.set_consent(record, "phone", False)
    read = connector.get(record.id)
    assert read is not None and read.consents == {"email/marketing": False, "phone/marketing": False}
    connector.set_consent(record, "email", True)
    read = connector.get(record.id)
    assert read is not None and read.consents == {"phone/marketing": False}


# ---- writing


def test_rows_are_written_200_at_a_time_and_each_has_its_own_result(here: World) -> None:
    connector = here.connect()
    known = connector.create(row("known", email="p7@x.example")).id
    rows = [row(f"k{n}", email=f"p{n}@x.example" if n != 5 else "no address") for n in range(450)]
    results = connector.upsert_many(rows)
    assert [result.key for result in results] == [r.key for r in rows]
    assert (results[7].id, results[7].created) == (known, False)
    assert (results[5].error, results[5].id) == ("remote_invalid", None)
    assert sum(result.created for result in results) == 448
    sizes = [len(request.body["records"]) for request in here.asked("composite") if request.method == "POST"]
    assert max(sizes) == 200
    again = connector.upsert_many(rows)
    assert not any(result.created for result in again)


def test_two_rows_of_one_person_are_written_one_after_the_other(here: World) -> None:
    connector = here.connect()
    rows = [row("a", email="ann@x.example", title="One"), row("b", email="ANN@x.example", title="Two")]
    first, second = connector.upsert_many(rows)
    assert (first.created, second.created, first.id == second.id) == (True, False, True)
    read = connector.get(first.id or "")
    assert read is not None and read.title == "Two"


def test_somebody_who_is_a_lead_is_written_as_a_lead(here: World) -> None:
    lead = here.simulator.org.make("Lead", {"LastName": "Lee", "Company": "Shop", "Email": "ann@x.example"})
    connector = here.connect()
    (done,) = connector.upsert_many([row("a", email="ann@x.example", city="Oslo")])
    assert (done.id, done.created) == (lead, False)
    assert here.simulator.org.rows("Lead")[lead]["City"] == "Oslo"
    with pytest.raises(RemoteConflict) as conflict:
        connector.create(row("b", email="ann@x.example"))
    assert conflict.value.existing == lead


def test_rows_with_an_external_id_are_upserted_by_it_in_one_call(here: World) -> None:
    connector = here.connect()
    rows = [Row(key=f"k{n}", values={"last_name": "Lee"}, match={"Customer_No__c": f"no {n}'"}) for n in range(3)]
    assert [done.created for done in connector.upsert_many(rows)] == [True, True, True]
    assert [done.created for done in connector.upsert_many(rows)] == [False, False, False]
    assert [request.path.rpartition("/")[2] for request in here.asked("composite")] == ["Customer_No__c"] * 2


def test_a_company_is_the_account_of_that_name_and_none_is_made_up(here: World) -> None:
    shop = here.simulator.org.make("Account", {"Name": "Shop"})
    for _ in range(2):
        here.simulator.org.make("Account", {"Name": "Twin"})
    connector = here.connect()
    done = [connector.create(row(name, company=name)) for name in ("shop", "Twin", "Nobody")]
    assert [item.dropped for item in done] == [(), ("company",), ("company",)]
    read = connector.get(done[0].id or "")
    assert read is not None
    assert (read.company, read.value("AccountId")) == ("Shop", shop)


def test_words_that_have_no_field_there_are_told_as_dropped(here: World) -> None:
    connector = here.connect()
    assert connector.create(row("a", status="new", tags=["vip"], city="Oslo")).dropped == ("status", "tags")
    assert not connector.capabilities.lists


def test_lists_of_many_rows_are_added_to(here: World) -> None:
    connector = here.connect(tags_field="Tags__c")
    ids = [connector.create(row(f"k{n}", email=f"p{n}@x.example", tags=["one"])).id for n in range(3)]
    connector.upsert_many([Row(key=str(id), id=id, values={"tags": ["two", "one"]}) for id in ids], lists="merge")
    assert {record.tags for id in ids if id and (record := connector.get(id))} == {("one", "two")}


@pytest.mark.parametrize("rule", ["duplicate rule", "unique field"])
def test_a_conflict_names_who_was_there_first(here: World, rule: str) -> None:
    connector = here.connect()
    first = here.simulator.org.make("Contact", {"LastName": "Lee", "Email": "ann@x.example", "Customer_No__c": "7"})
    here.simulator.duplicate_rule = here.simulator.org.duplicate_rule = rule == "duplicate rule"
    told = {"email": "ann@x.example"} if rule == "duplicate rule" else {"Customer_No__c": "7"}
    unmatched = Row(key="k", values={"last_name": "Lee", **told})
    with pytest.raises(RemoteConflict) as conflict:
        connector.create(unmatched)
    assert conflict.value.existing == first
    (done,) = connector.upsert_many([unmatched])
    assert (done.error, done.id) == ("remote_conflict", first)


def test_a_row_that_somebody_else_holds_is_locked_and_worth_another_try(here: World) -> None:
    connector = here.connect()
    id = connector.create(row("a", email="a@x.example")).id or ""
    here.simulator.org.locked.add(id)
    with pytest.raises(Locked) as locked:
        connector.update(Row(key="u", id=id, values={"title": "CEO"}))
    assert locked.value.retry_after
    (done,) = connector.upsert_many([Row(key="u", id=id, values={"title": "CEO"})])
    assert done.error == "remote_locked" and done.retry_after


@pytest.mark.parametrize(
    ("values", "fields"),
    [({"email": "nonsense"}, ("Email",)), ({"Nope__c": 1}, ("Nope__c",)), ({"last_name": None}, ("LastName",)),
     ({"SystemModstamp": "2026-01-01"}, ("SystemModstamp",)), ({"title": "x" * 300}, ("Title",)), ({"a; DROP": 1}, ("a; DROP",))],
)  # fmt: skip
def test_what_salesforce_does_not_take_names_the_fields_and_no_value(here: World, values: Any, fields: Any) -> None:
    with pytest.raises(RemoteInvalid) as refused:
        here.connect().create(Row(key="k", values={"last_name": "Lee", **values}))
    assert refused.value.fields == fields
    assert "nonsense" not in str(refused.value) + refused.value.hint


# ---- activities


@pytest.mark.parametrize("key_field", ["", "Tailorbird_Key__c"])
def test_an_answer_that_was_lost_leads_to_one_activity(here: World, key_field: str) -> None:
    connector = here.connect(activity_key=key_field)
    id = connector.create(row("a", email="a@x.example")).id or ""
    sent = [
        Activity(key=f"k/{n} '", kind=kind, record=id, at=T0 + n, subject="Hello", body="text", data={"url": "https://x.example"})
        for n, kind in enumerate(("email_sent", "meeting", "call", "task"))
    ]
    first = connector.log_activities([*sent, sent[0]])
    assert [item.found for item in first] == [False, False, False, False, True]
    again = here.connect(activity_key=key_field).log_activities(sent[::-1])
    assert [item.id for item in again] == [item.id for item in first[:4]][::-1]
    assert all(item.found for item in again)
    assert len(here.simulator.activities(id)) == 4
    assert connector.capabilities.idempotent == bool(key_field)


def test_who_is_quicker_with_the_same_key_is_found(here: World) -> None:
    connector = here.connect(activity_key="Tailorbird_Key__c")
    id = connector.create(row("a", email="a@x.example")).id or ""
    (first,) = connector.log_activities([Activity(key="k", kind="note", record=id, at=T0)])
    with pytest.raises(RemoteError) as refused:  # what the quicker one leaves for us, had we asked a moment before
        connector._org.create("Task", {"Tailorbird_Key__c": "[tailorbird:k]", "WhoId": id})
    assert refused.value.existing == first.id


def test_activities_are_tasks_and_events_with_what_they_were(here: World) -> None:
    connector = here.connect()
    id = connector.create(row("a", email="a@x.example")).id or ""
    call = Activity(
        key="c", kind="call", record=id, at=T0, subject="Call", data={"duration": 61, "direction": "in", "phone": "1"}
    )
    meeting = Activity(key="m", kind="meeting", record=id, at=T0, subject="Meet", data={"duration": 61})
    task = Activity(key="t", kind="task", record=id, at=T0, subject="Do", body="it")
    odd = Activity(key="o", kind="smoke signal", record=id, at=T0)
    nobody = Activity(key="n", kind="note", record="../../x", at=T0)
    results = connector.log_activities([call, odd, meeting, nobody, task])
    assert [item.error for item in results] == ["", "remote_unsupported", "", "remote_not_found", ""]
    rows = {item["Subject"]: item for item in here.simulator.activities(id)}
    assert (rows["Call"]["CallType"], rows["Call"]["CallDurationInSeconds"], rows["Call"]["TaskSubtype"]) == (
        "Inbound",
        61,
        "Call",
    )
    assert (rows["Call"]["Status"], rows["Do"]["Status"]) == ("Completed", "Not Started")
    assert (rows["Meet"]["DurationInMinutes"], rows["Meet"]["StartDateTime"]) == (2, T0 // 1000)
    assert rows["Do"]["Description"] == "it\n\n[tailorbird:t]"


# ---- what goes wrong


def test_a_session_that_ended_is_expired_and_one_that_may_not_is_revoked(here: World) -> None:
    here.simulator.revoked = True
    with pytest.raises(AuthExpired, match="401 - INVALID_SESSION_ID"):
        here.connect().test()
    said = [{"message": "This session is not valid for use with the REST API", "errorCode": "INVALID_SESSION_ID"}]
    answer = Answer(401, {}, json.dumps(said).encode())
    assert isinstance(refuse(answer, by_status("Salesforce", 401)), AuthRevoked)


def test_a_day_that_is_used_up_is_not_waited_for_and_too_much_at_once_is(here: World) -> None:
    connector = here.connect(retry=Retry(tries=3, first=1))
    here.simulator.limited = 1
    assert connector.test().account
    here.simulator.daily = 0
    before = len(here.simulator.log)
    with pytest.raises(QuotaExhausted) as spent:
        here.connect(retry=Retry(tries=3, first=1)).test()
    assert spent.value.retry_after == HOUR
    assert len(here.simulator.log) == before + 1


def test_our_own_limit_of_a_day_and_what_salesforce_says_of_it_are_kept(here: World) -> None:
    connector = here.connect(daily=2)
    connector.test()
    with pytest.raises(RateLimited):
        connector.test()
    assert len(here.simulator.log) == 2
    here.simulator.daily = 4
    other = here.connect()
    other.test()
    with pytest.raises(RateLimited):
        other.test()
    assert len(here.simulator.log) == 4


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [(300, b'["/services/data/v63.0/sobjects/Contact/003Sim000000001IAA"]', RemoteConflict), (503, b"<html>gateway</html>", Transient),
     (502, b"", Transient), (403, b'[{"errorCode": "API_DISABLED_FOR_ORG", "message": "x"}]', Forbidden), (400, b"[]", RemoteInvalid),
     (400, b'[{"errorCode": 7}]', RemoteInvalid), (500, b'[{"errorCode": "UNKNOWN_EXCEPTION", "message": "x"}]', Transient)],
)  # fmt: skip
def test_every_answer_has_a_place_in_the_taxonomy(status: int, body: bytes, kind: type[RemoteError]) -> None:
    error = refuse(Answer(status, {}, body), by_status("Salesforce", status))
    assert type(error) is kind
    assert error.http_status == status
    if status == 300:
        assert error.existing == "003Sim000000001IAA"


@pytest.mark.parametrize("said", [[], {"records": 7}, "text", {"fields": []}])
def test_an_answer_that_is_not_as_documented_is_an_error_of_ours(said: Any) -> None:
    class Odd(SalesforceSimulator):
        def reply(self, request: Any) -> Any:
            return super().reply(request)._replace(body=said) if "describe" not in request.path else super().reply(request)

    simulator = Odd()
    with served(simulator) as url:
        connector = SalesforceConnector("sf", url, auth=bearer_auth("simulated"), clock=ManualClock(T0), retry=Retry(tries=1))
        for ask in (lambda: connector.query(Filters()), lambda: connector.search("ann"), lambda: connector.create(row("k"))):
            with pytest.raises(RemoteError):
                ask()
        with pytest.raises(RemoteError):
            connector.upsert_many([row("k")])
        connector.close()


# ---- connecting


@pytest.mark.parametrize("grant", ["refresh", "client_credentials", "jwt_bearer"])
def test_each_way_to_a_token_works_and_leads_to_the_address_that_came_with_it(here: World, grant: str) -> None:
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    here.simulator.tokens.certificate = (
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    here.simulator.tokens.refreshes["r1"] = "family"
    client = {"client_id": "simulated-app", "client_secret": "simulated-secret"}
    values = {
        "refresh": {**client, "refresh_token": "r1"}, "client_credentials": {**client, "grant": grant},
        "jwt_bearer": {"client_id": "simulated-app", "user": "ann@org.example", "private_key": pem, "grant": grant},
    }[grant]  # fmt: skip
    desk = TokenDesk("Salesforce", OAUTH, {"url": here.url}, here.clock)
    tokens = desk.renew(values)
    assert tokens["base_url"] == here.url
    assert here.connect(auth=bearer_auth(tokens["access_token"])).test().user == "ann@org.example"
    here.simulator.tokens.expire()
    with pytest.raises(AuthExpired):
        here.connect(auth=bearer_auth(tokens["access_token"])).test()
    here.simulator.revoked = True
    with pytest.raises(AuthRevoked):
        desk.renew(values)


def test_a_refresh_token_that_was_used_already_voids_those_that_followed(here: World) -> None:
    here.simulator.tokens.rotate = True
    here.simulator.tokens.refreshes["r1"] = "family"
    client = {"client_id": "simulated-app", "client_secret": "simulated-secret"}
    desk = TokenDesk("Salesforce", OAUTH, {"url": here.url}, here.clock)
    second = desk.renew({**client, "refresh_token": "r1"})["refresh_token"]
    third = desk.renew({**client, "refresh_token": second})["refresh_token"]
    for token in ("r1", third):
        with pytest.raises(AuthRevoked):
            desk.renew({**client, "refresh_token": token})


def test_a_connection_is_opened_from_its_settings(here: World) -> None:
    opened = provider("salesforce").open(
        "sf", secret={"key": here.simulator.key}, clock=here.clock,
        settings={"url": here.url, "objects": "lead", "tags_field": "Tags__c", "daily_requests": 50, "version": "v60.0"},
    )  # fmt: skip
    assert opened.capabilities.objects == ("lead",)
    assert opened.capabilities.lists
    assert opened.test().account.startswith("Simulated Org")
    assert {request.path.split("/")[3] for request in here.asked("/data/")} == {"v60.0"}
    assert here.simulator.key not in repr(opened)
    opened.close()


@pytest.mark.parametrize(
    "settings",
    [{}, {"url": "https://x.lightning.force.com"}, {"url": "https://evil.example"}, {"url": "http://x.my.salesforce.com"},
     {"url": "https://x.my.salesforce.com", "version": "63"}, {"url": "https://x.my.salesforce.com", "objects": "contact,case"},
     {"url": "https://x.my.salesforce.com", "tags_field": "a b"}, {"url": "https://x.my.salesforce.com", "daily_requests": "many"}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_in_words(settings: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        provider("salesforce").open("sf", secret={"key": "k"}, settings=settings, clock=ManualClock(T0))
    assert refused.value.message
