"""The traps of HubSpot: its cap on searches, its slow index, its limits, its silence; and writes that happen once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from simulated import served
from tailorbird.connectors.hubspot import PROVIDER, HubspotConnector
from tailorbird.connectors.hubspot.answers import refuse
from tailorbird.connectors.providers import provider
from tailorbird.connectors.rest import (
    Forbidden,
    QuotaExhausted,
    RemoteConflict,
    RemoteError,
    RemoteInvalid,
    Retry,
    Unsupported,
    bearer_auth,
    by_status,
)
from tailorbird.connectors.rest.transport import Answer
from tailorbird.core.context import ManualClock
from tailorbird.crm.model import Activity, Record, Row
from tailorbird.crm.port import Filters
from tailorbird.errors import InvalidInput
from tailorbird.simulators import HubspotSimulator

T0 = 1_800_000_000_000


@dataclass
class World:
    """A simulator, its connector, and the clock of both."""

    app: HubspotSimulator
    connector: HubspotConnector
    clock: ManualClock
    url: str

    def wait(self, seconds: float) -> None:
        self.clock.move_to(self.clock.now() + max(1, round(seconds * 1000)))

    def everybody(self, cursor: str | None = None) -> tuple[dict[str, Record], str, int]:
        found: dict[str, Record] = {}
        pages = 0
        while True:
            page = self.connector.changes(cursor)
            found |= {record.id: record for record in page.records}
            assert page.cursor is not None
            cursor, pages = page.cursor, pages + 1
            if not page.more:
                return found, cursor, pages

    def make(self, email: str, **values: Any) -> str:
        id = self.connector.create(Row(key=email, values={"email": email, **values})).id
        assert id
        return id


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    options = getattr(request, "param", {})
    clock = ManualClock(T0)
    app = HubspotSimulator(clock=lambda: clock.now() / 1000, **options)
    with served(app) as url:
        connector = HubspotConnector(
            auth=bearer_auth("simulated"), clock=clock, url=url, tags_property="tailorbird_tags", retry=Retry(tries=3),
            sleep=lambda seconds: clock.move_to(clock.now() + max(1, round(seconds * 1000))),
        )  # fmt: skip
        yield World(app, connector, clock, url)
        connector.close()


@pytest.mark.parametrize("world", [{"people": 2_345, "limits": {}}], indirect=True)
def test_a_full_pull_gives_everybody_once_in_pages_of_a_hundred(world: World) -> None:
    found, _, pages = world.everybody()
    assert len(found) == 2_345
    assert pages == 24


@pytest.mark.parametrize("world", [{"limits": {}}], indirect=True)
def test_more_than_ten_thousand_changed_at_one_instant_are_all_read(world: World) -> None:
    _, cursor, _ = world.everybody()
    for number in range(10_500):  # what an import into HubSpot leaves: one instant for all of them
        world.app.objects.contacts.add({"email": f"n{number}@x.example"}, ("email",))
    world.wait(600)
    late = world.make("late@x.example")
    found, _, _ = world.everybody(cursor)
    assert len(found) == 10_501
    assert late in found


@pytest.mark.parametrize("world", [{"lag": 30.0, "limits": {}}], indirect=True)
def test_what_the_index_shows_late_is_not_missed(world: World) -> None:
    _, cursor, _ = world.everybody()
    world.wait(300)
    slow = world.make("slow@x.example")
    world.wait(10)
    found, cursor, _ = world.everybody(cursor)
    assert slow not in found
    world.wait(60)
    found, cursor, _ = world.everybody(cursor)
    assert slow in found
    world.wait(600)
    found, cursor, _ = world.everybody(cursor)
    assert world.everybody(cursor)[0] == {}


@pytest.mark.parametrize("world", [{"people": 450, "limits": {}}], indirect=True)
def test_who_changes_while_pages_are_read_makes_nobody_be_missed(world: World) -> None:
    _, cursor, _ = world.everybody()
    world.wait(600)
    ids = [str(101 + number) for number in range(450)]
    for id in ids:
        world.app.objects.contacts.change(world.app.objects.contacts.get(id), {"city": "Oslo"})  # type: ignore[arg-type]
        world.wait(0.001)
    first = world.connector.changes(cursor)
    world.connector.update(Row(key="u", id=ids[0], values={"city": "Rome"}))
    rest, _, _ = world.everybody(first.cursor)
    assert {record.id for record in first.records} | set(rest) == set(ids)
    assert rest[ids[0]].city == "Rome"


@pytest.mark.parametrize("world", [{"lag": 60.0}], indirect=True)
def test_a_retry_finds_its_first_write_though_the_index_does_not_know_it(world: World) -> None:
    ann = world.make("ann@x.example")
    sent = [Activity(key=f"k{n}", kind="note", record=ann, at=T0, body="Hello") for n in range(3)]
    first = world.connector.log_activities(sent[:2])
    again = world.connector.log_activities(sent)
    assert [item.found for item in first] == [False, False]
    assert [item.found for item in again] == [True, True, False]
    assert [item.id for item in again][:2] == [item.id for item in first]
    assert len(world.app.activities(ann)) == 3


def test_an_engagement_that_was_written_and_not_associated_is_mended_by_the_retry(world: World) -> None:
    ann = world.make("ann@x.example")
    sent = [Activity(key="k", kind="call", record=ann, at=T0, subject="Hello", data={"duration": 90, "direction": "in"})]
    world.connector.log_activities(sent)
    linked = world.app.objects._linked
    linked.clear()
    for thing in world.app.objects.kinds["calls"].after(0):
        thing.links.clear()
    assert world.connector.log_activities(sent)[0].found
    told = world.app.activities(ann)
    assert [(one["kind"], one["hs_call_duration"], one["hs_call_direction"]) for one in told] == [("calls", "90000", "INBOUND")]


def test_a_thousand_activities_take_a_call_for_a_hundred(world: World) -> None:
    world.app.limits = {}
    ann = world.make("ann@x.example")
    before = len(world.app.log)
    sent = [Activity(key=f"k{n}", kind="email_sent", record=ann, at=T0, subject="Hi") for n in range(1_000)]
    assert all(item.id for item in world.connector.log_activities(sent))
    assert len(world.app.log) - before <= 32
    assert len(world.app.activities(ann)) == 1_000


def test_activities_that_come_twice_in_one_call_are_written_once(world: World) -> None:
    world.app.limits = {}
    ann = world.make("ann@x.example")
    sent = [Activity(key=f"k{n % 150}", kind="note", record=ann, at=T0, body="Hi") for n in range(300)]
    logged = world.connector.log_activities(sent)
    assert [item.found for item in logged] == [False] * 150 + [True] * 150
    assert len(world.app.activities(ann)) == 150
    assert world.connector.log_activities([]) == []


def test_when_hubspot_fails_in_the_middle_what_was_written_is_told_and_the_rest_can_be_sent_again(world: World) -> None:
    world.app.limits = {}
    ann = world.make("ann@x.example")
    sent = [Activity(key=f"k{n}", kind="note", record=ann, at=T0, body="Hi") for n in range(250)]
    world.connector.log_activities(sent[:1])
    world.app.limits = {"ten_seconds": 4}
    world.app.silent_429 = True
    tries = HubspotConnector(auth=bearer_auth("simulated"), clock=world.clock, url=world.url, retry=Retry(tries=1))
    logged = tries.log_activities(sent)
    tries.close()
    assert [bool(item.error) for item in logged] == [False] * 100 + [True] * 150
    assert {item.error for item in logged[100:]} == {"remote_rate_limited"}
    world.app.limits = {}
    assert not any(item.error for item in world.connector.log_activities(sent))
    assert len(world.app.activities(ann)) == 250


def test_text_of_an_activity_is_no_markup(world: World) -> None:
    ann = world.make("ann@x.example")
    world.connector.log_activities([Activity(key="k", kind="note", record=ann, at=T0, body="a <b> & c\nd")])
    assert world.app.activities(ann)[0]["hs_note_body"] == "a &lt;b&gt; &amp; c<br>d"


def test_one_wrong_row_spoils_no_other(world: World) -> None:
    good = [Row(key=f"g{n}", values={"city": "Oslo"}, match={"email": f"g{n}@x.example"}) for n in range(150)]
    wrong = [
        Row(key="w1", values={"nonsense": "x"}, match={"email": "w1@x.example"}),
        Row(key="w2", values={"city": "Oslo"}, match={"email": "no address"}),
        Row(key="w3", id="999999", values={"city": "Oslo"}),
    ]
    results = world.connector.upsert_many([*good[:70], *wrong, *good[70:]])
    failed = {one.key: one.error for one in results if one.error}
    assert failed == {"w1": "remote_invalid", "w2": "remote_invalid", "w3": "remote_not_found"}
    assert len({one.id for one in results if not one.error}) == 150


def test_two_rows_of_one_person_are_written_one_after_the_other(world: World) -> None:
    rows = [Row(key=str(n), values={"city": f"City {n}"}, match={"email": "Ann@X.example"}) for n in range(3)]
    results = world.connector.upsert_many(rows)
    assert [one.created for one in results] == [True, False, False]
    found = world.connector.find(email="ann@x.example")
    assert [record.city for record in found] == ["City 2"]


def test_a_stage_that_hubspot_keeps_without_a_word_is_told(world: World) -> None:
    ann = world.make("ann@x.example", lifecyclestage="customer")
    row = Row(key="u", id=ann, values={"lifecyclestage": "lead", "city": "Oslo"})
    assert world.connector.update(row).dropped == ("lifecyclestage",)
    assert world.connector.upsert_many([row])[0].dropped == ("lifecyclestage",)


def test_an_address_that_another_contact_has_is_a_conflict_with_its_id(world: World) -> None:
    ann, ben = world.make("ann@x.example"), world.make("ben@x.example")
    with pytest.raises(RemoteConflict) as refused:
        world.connector.update(Row(key="u", id=ben, values={"email": "ann@x.example"}))
    assert refused.value.existing == ann
    assert "ann@" not in str(refused.value)


def test_tags_that_hubspot_does_not_know_become_choices_and_without_a_property_they_are_refused(world: World) -> None:
    ann = world.make("ann@x.example", tags=["brand new"])
    found = world.connector.get(ann)
    assert found is not None
    assert found.tags == ("brand new",)
    bare = HubspotConnector(auth=bearer_auth("simulated"), clock=world.clock, url=world.url)
    with pytest.raises(RemoteInvalid, match="no property for tags"):
        bare.create(Row(key="c", values={"email": "c@x.example", "tags": ["x"]}))
    bare.close()


def test_silence_about_an_opt_out_is_no_consent(world: World) -> None:
    ann = world.make("ann@x.example")
    record = world.connector.get(ann)
    assert record is not None
    assert record.consents == {}
    world.connector.set_consent(record, "email", False)
    world.connector.set_consent(record, "email", True)
    again = world.connector.get(ann)
    assert again is not None
    assert again.consents == {}


@pytest.mark.parametrize("world", [{"people": 600}], indirect=True)
def test_searches_keep_to_five_a_second_and_requests_to_what_the_headers_allow(world: World) -> None:
    world.app.limits = {"ten_seconds": 20, "search": 5}
    for _ in range(12):
        world.connector.search("ada")
    for _ in range(30):
        world.connector.test()
    assert world.clock.now() - T0 >= 10_000
    assert len(world.app.log) == 43
    assert world.app.refused == 0


def test_a_query_is_exact_and_pages(world: World) -> None:
    world.app.limits = {}
    rows = [
        Row(key=str(n), values={"city": "oslo" if n % 3 else "Oslo", "tags": ["vip"] if n % 2 else []},
            match={"email": f"q{n}@x.example"})
        for n in range(60)
    ]  # fmt: skip
    world.connector.upsert_many(rows)
    filters = Filters(equals={"city": "Oslo"}, contains={"tags": ("vip",)}, before={"last_service_date": T0})
    found: list[Record] = []
    page = world.connector.query(filters, limit=7)
    found += page.records
    while page.more:
        page = world.connector.query(filters, cursor=page.cursor, limit=7)
        found += page.records
    assert len(found) == len({record.id for record in found}) == 10


def answer(status: int, **body: Any) -> RemoteError:
    import msgspec

    said = refuse(Answer(status, {}, msgspec.json.encode(body)), by_status("HubSpot", status))
    assert said is not None
    return said


def test_errors_say_what_to_do_and_repeat_nothing_of_people() -> None:
    missing = answer(403, category="MISSING_SCOPES", errors=[{"context": {"requiredScopes": ["crm.lists.write"]}}])
    assert isinstance(missing, Forbidden)
    assert "crm.lists.write" in missing.hint
    daily = answer(429, policyName="DAILY", message="You have reached your daily limit.")
    assert isinstance(daily, QuotaExhausted)
    assert daily.retry_after
    assert answer(429, policyName="SECONDLY").retry_after == 1_000
    assert answer(429, policyName="TEN_SECONDLY_ROLLING").retry_after == 10_000
    wrong = answer(400, category="VALIDATION_ERROR", message="ann@x.example is wrong", errors=[{"name": "email"}])
    assert "ann" not in f"{wrong} {wrong.hint}"
    assert wrong.fields == ("email",)
    assert answer(401).message == "HubSpot API error: 401 - Unauthorized"


def test_the_provider_opens_from_a_key_or_a_token_and_says_what_is_missing(world: World) -> None:
    assert provider("hubspot") is PROVIDER
    settings: dict[str, Any] = {"url": world.url, "tags_property": "tailorbird_tags", "properties": "lawn_size, city"}
    opened = PROVIDER.open("crm", secret={"key": "simulated"}, settings=settings, clock=world.clock)
    assert opened.test().account == "4321000"
    assert "simulated" not in repr(opened)
    with pytest.raises(Unsupported):
        opened.subscribe("https://us.example/hook")
    opened.close()
    with pytest.raises(InvalidInput, match="No CRM credentials found for user"):
        PROVIDER.open("crm", secret={}, settings={}, clock=world.clock)


def test_a_renewed_token_of_the_simulators_oauth_is_accepted_until_it_ends(world: World) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": "simulated-refresh", "client_id": "a", "client_secret": "b"}
    token = httpx2.post(f"{world.url}/oauth/v1/token", data=form).json()
    owners = f"{world.url}/crm/v3/owners"
    bearer = {"authorization": f"Bearer {token['access_token']}"}
    assert httpx2.get(owners, headers=bearer).status_code == 200
    world.wait(token["expires_in"] + 1)
    assert httpx2.get(owners, headers=bearer).json()["category"] == "EXPIRED_AUTHENTICATION"
    world.app.revoked = True
    assert httpx2.post(f"{world.url}/oauth/v1/token", data=form).json()["error"] == "invalid_grant"
