"""Activities and clients: explicit and by themselves, batches with a result per item, a client's data, content, the cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tailorbird.connectors.memory import MemoryCrm
from tailorbird.connectors.rest import AuthExpired, Transient
from tailorbird.core.connection import ConnectionStatus, Link
from tailorbird.core.context import SECOND, ManualClock
from tailorbird.crm.cache import context_fields
from tailorbird.crm.model import Row
from tailorbird.crm.port import Filters
from tailorbird.engine import Engine
from tailorbird.engine.clients import Clients
from tailorbird.engine.refs import find_profile
from tailorbird.errors import InvalidInput, NotFound, Unavailable

T0 = 1_800_000_000_000


class World:
    def __init__(self, path: Path) -> None:
        self.clock = ManualClock(T0)
        self.crm = MemoryCrm("memory", clock=self.clock)
        self.engine = Engine.open(str(path / "people.db"), clock=self.clock, crm={"memory": self.crm})
        self.slept: list[float] = []
        self.clients = Clients(
            self.engine.parts, self.engine.content, self.engine.activities, sleep=self.slept.append, chance=lambda: 0.5
        )

    def person(self, name: str, **values: Any) -> str:
        self.engine.identify(name, identifiers={"email": f"{name}@example.com"})
        record = self.crm.create(Row(key=name, values={"email": f"{name}@example.com", **values})).id
        assert record is not None
        key = find_profile(self.engine.store, name, region=None).key
        self.engine.store.crm.put_links([Link(connection="memory", record=record, profile=key)])
        return record

    def run(self, ms: int = SECOND) -> None:
        self.engine.advance_to(self.clock.now() + ms)

    def written(self) -> list[tuple[str, str, str]]:
        return [(a.record, a.kind, a.subject) for _, a in self.crm.activities.values()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    try:
        yield made
    finally:
        made.engine.close()


# ---- writing back


def test_an_activity_is_written_into_the_timeline_of_the_linked_record(world: World) -> None:
    record = world.person("ann")
    done = world.engine.activities.sync_activity(
        "email:ann@example.com", "call", subject="Checked in", body="All well", at=T0 - 60_000, data={"duration": 120}
    )
    assert (done.connection, done.status) == ("memory", "pending")
    world.run()
    ((_, activity),) = world.crm.activities.values()
    assert (activity.record, activity.kind, activity.subject, activity.body) == (record, "call", "Checked in", "All well")
    assert (activity.at, activity.data) == (T0 - 60_000, {"duration": 120})
    assert activity.key == done.key


def test_the_same_activity_given_twice_is_written_once(world: World) -> None:
    world.person("ann")
    for _ in range(2):
        world.clients.sync_activity("ann", "note", subject="hello", key="n1")
        world.run()
    assert len(world.crm.activities) == 1
    world.clients.sync_activity("ann", "note", subject="hello", key="n2")
    world.run()
    assert len(world.crm.activities) == 2


def test_a_batch_tells_of_each_and_a_bad_one_keeps_no_good_one_back(world: World) -> None:
    record = world.person("ann")
    results = world.clients.batch_sync_activities(
        [
            {"profile": "ann", "kind": "note", "subject": "1"},
            {"profile": "nobody", "kind": "note"},
            {"profile": "ann", "kind": "dance"},
            {"kind": "note"},
            {"profile": "ann", "kind": "note", "colour": "red"},
            {"record": record, "kind": "task", "subject": "2"},
            {"profile": "ann", "kind": "note", "connection": "other"},
        ]
    )
    assert [bool(one.key) for one in results] == [True, False, False, False, False, True, False]
    assert [one.error for one in results] == [
        "", "not_found", "invalid_input", "invalid_input", "invalid_input", "", "not_found",
    ]  # fmt: skip
    assert "dance" in results[2].detail
    world.run()
    assert world.written() == [(record, "note", "1"), (record, "task", "2")]


def test_an_unknown_person_kind_or_connection_is_said_at_once(world: World) -> None:
    world.person("ann")
    with pytest.raises(NotFound):
        world.engine.activities.sync_activity("nobody", "note")
    with pytest.raises(InvalidInput, match="dance"):
        world.engine.activities.sync_activity("ann", "dance")
    with pytest.raises(NotFound, match="No CRM credentials found for user"):
        world.engine.activities.sync_activity("ann", "note", connection="hubspot")


# ---- by themselves


def test_events_become_activities_where_auto_sync_is_on_and_not_where_it_is_off(world: World) -> None:
    record = world.person("ann")
    world.engine.track("email.opened", profile="ann", subject="News")
    world.run()
    assert world.written() == []
    world.engine.activities.auto_sync("memory", True)
    assert world.engine.crm_status()[0].auto_sync
    world.engine.track("email.opened", profile="ann", subject="News")
    world.engine.track("property.viewed", profile="ann", title="Elm Street 4")
    world.engine.track("cart.filled", profile="ann")
    world.run()
    assert world.written() == [(record, "email_opened", "News"), (record, "property_view", "Elm Street 4")]
    world.engine.activities.auto_sync("memory", False)
    world.engine.track("email.opened", profile="ann")
    world.run()
    assert len(world.written()) == 2


def test_kinds_narrow_auto_sync_down(world: World) -> None:
    record = world.person("ann")
    world.engine.activities.auto_sync("memory", True, kinds=["link_clicked"])
    world.engine.track("email.opened", profile="ann")
    world.engine.track("link.clicked", profile="ann", url="https://shop.example/a")
    world.run()
    assert world.written() == [(record, "link_clicked", "Link clicked")]
    ((_, activity),) = world.crm.activities.values()
    assert activity.data == {"url": "https://shop.example/a"}


def test_an_event_that_is_given_twice_is_written_once(world: World) -> None:
    world.person("ann")
    world.engine.activities.auto_sync("memory", True)
    for _ in range(2):
        world.engine.track("email.opened", profile="ann", id="e1")
        world.run()
    assert len(world.written()) == 1


def test_what_came_from_a_crm_is_not_written_back_there(world: World) -> None:
    world.person("ann")
    world.engine.activities.auto_sync("memory", True)
    world.engine.track("call.completed", profile="ann", source="crm:memory")
    world.run()
    assert world.written() == []


def test_whom_the_crm_does_not_know_leaves_no_dead_letter_and_no_event(world: World) -> None:
    world.engine.identify("eve", identifiers={"email": "eve@example.com"})
    world.engine.activities.auto_sync("memory", True)
    world.engine.track("email.opened", profile="eve")
    world.run()
    assert world.engine.store.count_actions() == {"refused": 1}
    assert not [event.type for event in world.engine.timeline("eve").events if event.source == "outbox"]


# ---- reading


def test_a_clients_data_is_the_neutral_names_and_the_crms_own(world: World) -> None:
    record = world.person("ann", first_name="Ann", city="Lyon", plan__c="pro")
    found = world.clients.get_client_data("ann")
    assert found is not None
    assert {name: found[name] for name in ("id", "connection", "first_name", "city", "plan__c", "email")} == {
        "id": record, "connection": "memory", "first_name": "Ann", "city": "Lyon", "plan__c": "pro", "email": "ann@example.com",
    }  # fmt: skip
    assert "company" not in found
    assert world.clients.get_client_data(f"record:{record}") == found


def test_a_second_read_makes_no_call_until_the_crm_tells_of_a_change(world: World) -> None:
    record = world.person("ann", city="Lyon")
    for _ in range(5):
        world.clients.get_client_data("ann")
    assert world.crm.calls["get"] == 1
    assert (world.clients.cache_stats().saved, world.clients.cache_stats().misses) == (4, 1)
    world.crm.update(Row(key="u", id=record, values={"city": "Paris"}))
    assert world.clients.changed("memory", record) == 1
    found = world.clients.get_client_data("ann")
    assert found is not None and found["city"] == "Paris"
    found["city"] = "Rome"  # an answer is the caller's own
    again = world.clients.get_client_data("ann")
    assert again is not None and again["city"] == "Paris"


def test_the_cache_is_cleared_by_client_by_connection_or_as_a_whole(world: World) -> None:
    world.person("ann")
    world.person("bob")
    for name in ("ann", "email:ann@example.com", "bob"):
        world.clients.get_client_data(name)
    assert world.clients.clear_cache(client="ann") == 2
    assert world.clients.clear_cache(connection="memory") == 1
    world.clients.get_client_data("bob")
    assert world.clients.clear_cache() == 1


def test_somebody_only_the_crm_knows_is_found_by_address_and_nobody_is_none(world: World) -> None:
    world.crm.create(Row(key="1", values={"email": "zoe@example.com", "first_name": "Zoe"}))
    found = world.clients.get_client_data("email:zoe@example.com")
    assert found is not None and found["first_name"] == "Zoe"
    assert world.clients.get_client_data("email:nobody@example.com") is None
    assert world.clients.get_client_data("record:77") is None


def test_client_data_is_asked_for_again_after_1_2_and_4_seconds_then_the_step_fails(world: World) -> None:
    world.person("ann", first_name="Ann")
    world.crm.faults += [Transient("memory timed out")] * 2
    assert world.clients.get_client_data("ann") is not None
    assert world.slept == [1, 2]
    world.slept.clear()
    world.clients.clear_cache()
    world.crm.down = True
    with pytest.raises(Transient):
        world.clients.get_client_data("ann")
    assert world.slept == [1, 2, 4]
    assert world.engine.connections.get("memory").status == ConnectionStatus.UNREACHABLE
    world.crm.down = False
    assert world.clients.get_client_data("ann") is not None
    assert world.engine.connections.get("memory").status == ConnectionStatus.CONNECTED


def test_questions_about_many_are_retried_by_their_own_plan(world: World) -> None:
    for name in ("ann", "bob", "eve"):
        world.person(name, city="Lyon" if name != "eve" else "Paris")
    world.crm.faults.append(Transient("memory timed out"))
    found = world.clients.query_clients(Filters(equals={"city": "Lyon"}))
    assert [one["email"] for one in found] == ["ann@example.com", "bob@example.com"]
    assert world.slept == [2]


def test_refused_credentials_are_not_tried_again(world: World) -> None:
    world.person("ann")
    world.crm.revoked = True
    with pytest.raises(AuthExpired):
        world.clients.get_client_data("ann")
    with pytest.raises(Unavailable, match="does not accept our credentials"):
        world.clients.get_client_data("ann")
    assert (world.crm.calls["get"], world.slept) == (1, [])
    assert [event.type for event in world.engine.log() if event.source == "connections"] == ["crm.auth_failed"]


# ---- content


def test_content_is_personalised_with_what_the_crm_says(world: World) -> None:
    world.person("ann", first_name="Ann", plan__c="pro")
    rendered = world.clients.personalize_content("ann", text="Hello {{ customer_first_name }}, you are {{ customer_plan__c }}.")
    assert rendered.content["body"] == "Hello Ann, you are pro."


def test_a_template_takes_the_crms_fields_as_variables(world: World) -> None:
    world.person("ann", city="Lyon")
    world.engine.apply(
        [
            {
                "kind": "template",
                "name": "hello",
                "type": "sms",
                "body": "News from {{ customer_city }}",
                "variables": {"customer_city": {}},
            }
        ]
    )
    assert world.clients.personalize_content("ann", template="hello").content["body"] == "News from Lyon"


def test_content_for_nobody_is_refused(world: World) -> None:
    with pytest.raises(NotFound, match="nobody is known"):
        world.clients.personalize_content("email:nobody@example.com", text="Hello")
    with pytest.raises(InvalidInput):
        world.clients.personalize_content("ann")


def test_a_running_task_finds_the_fields_of_one_person(world: World) -> None:
    world.person("ann", first_name="Ann")
    with world.clients.context_cache("ann", prefix="customer_") as fields:
        assert fields["customer_first_name"] == "Ann"
        assert context_fields()["customer_email"] == "ann@example.com"
    assert dict(context_fields()) == {}
