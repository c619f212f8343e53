"""Activities on their way into CRMs: outages, order per person, dead destinations, escalation once, resuming."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tailorbird.connectors.memory import MemoryCrm
from tailorbird.connectors.rest import Locked, QuotaExhausted, RateLimited, RemoteInvalid, Transient
from tailorbird.core.action import Action, ActionStatus, Outcome
from tailorbird.core.connection import ConnectionStatus, Link
from tailorbird.core.context import DAY, HOUR, MINUTE, SECOND, ManualClock
from tailorbird.crm.model import Row
from tailorbird.engine import Engine
from tailorbird.engine.activities import ConnectionState
from tailorbird.engine.refs import find_profile

T0 = 1_800_000_000_000


class Inbox:
    """A connector that keeps what it is given to send."""

    name = "slack"
    honours_idempotency = True

    def __init__(self) -> None:
        self.texts: list[str] = []

    def destination(self, action: Action) -> str:
        return ""

    def perform(self, action: Action) -> Outcome:
        self.texts.append(str(action.payload["text"]))
        return Outcome(ok=True)

    def close(self) -> None:
        """Nothing is held open."""


class World:
    """An engine with two CRMs in memory, ``one`` and ``two``, and people who are linked in both."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(T0)
        self.one, self.two = MemoryCrm("one", clock=self.clock), MemoryCrm("two", clock=self.clock)
        self.inbox = Inbox()
        self.path = str(folder / "people.db")
        self.engine = self.open()

    def open(self) -> Engine:
        crm = {"one": self.one, "two": self.two}
        return Engine.open(self.path, clock=self.clock, crm=crm, connectors={"slack": self.inbox})

    def restart(self) -> None:
        self.engine.close()
        self.engine = self.open()

    def people(self, *names: str) -> None:
        for name in names:
            self.engine.identify(name, identifiers={"email": f"{name}@example.com"})
            person = find_profile(self.engine.store, name, region=None).key
            for crm in (self.one, self.two):
                record = crm.create(Row(key=name, values={"email": f"{name}@example.com"})).id
                assert record is not None
                self.engine.store.crm.put_links([Link(connection=crm.name, record=record, profile=person)])

    def write(self, name: str, *subjects: str, connection: str = "one") -> list[str]:
        given = [{"profile": name, "kind": "note", "subject": s, "connection": connection} for s in subjects]
        return [str(one.key) for one in self.engine.activities.batch_sync_activities(given)]

    def run(self, ms: int) -> None:
        self.engine.advance_to(self.clock.now() + ms)

    def jump(self, ms: int) -> None:
        """Leap, and deliver what is due then once: what would have been tried on the way is left out."""
        self.clock.move_to(self.clock.now() + ms)
        while self.engine.run_due():
            pass

    def subjects(self, crm: MemoryCrm) -> list[str]:
        return [activity.subject for _, activity in crm.activities.values()]

    def state(self, name: str) -> ConnectionState:
        return next(one for one in self.engine.crm_status() if one.connection == name)

    def count(self, status: ActionStatus) -> int:
        return self.engine.store.count_actions().get(status, 0)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    try:
        yield made
    finally:
        made.engine.close()


def test_activities_of_many_people_go_in_few_calls(world: World) -> None:
    world.people(*(f"p{n}" for n in range(30)))
    for n in range(30):
        world.write(f"p{n}", "hello")
    world.run(SECOND)
    assert len(world.one.activities) == 30
    assert world.one.calls["log_activities"] <= 2
    assert world.count(ActionStatus.SENT) == 30


def test_a_day_of_outage_makes_no_dead_letter_and_loses_nothing(world: World) -> None:
    world.people("ann", "bob")
    world.one.down = True
    for hour in range(24):
        world.write("ann", f"a{hour}")
        world.write("bob", f"b{hour}")
        world.jump(HOUR)
    state = world.state("one")
    assert (state.status, state.waiting, state.oldest) == (ConnectionStatus.UNREACHABLE, 48, T0)
    assert state.resumes_at is not None and state.resumes_at - world.clock.now() <= 40 * SECOND  # it is still tried
    assert world.count(ActionStatus.DEAD) == 0
    world.one.down = False
    world.run(2 * MINUTE)
    told = world.subjects(world.one)
    assert [s for s in told if s[0] == "a"] == [f"a{hour}" for hour in range(24)]
    assert [s for s in told if s[0] == "b"] == [f"b{hour}" for hour in range(24)]
    assert (world.state("one").status, world.state("one").waiting) == (ConnectionStatus.CONNECTED, 0)


def test_while_a_crm_is_down_few_calls_are_made(world: World) -> None:
    world.people(*(f"p{n}" for n in range(5)))
    world.one.down = True
    for n in range(5):
        world.write(f"p{n}", "1", "2")
    world.run(3 * MINUTE)
    assert world.one.calls["log_activities"] < 15  # one at a time, after 1, 2, 4 … 30 s
    assert world.one.activities == {}


def test_a_dead_crm_delays_no_other(world: World) -> None:
    world.people("ann")
    world.one.down = True
    for n in range(20):
        world.write("ann", f"one {n}", connection="one")
        world.write("ann", f"two {n}", connection="two")
    world.run(5 * SECOND)
    assert world.subjects(world.two) == [f"two {n}" for n in range(20)]
    assert world.state("one").waiting == 20


def test_a_later_activity_of_a_person_waits_for_an_earlier_one_and_one_of_somebody_else_does_not(world: World) -> None:
    world.people("ann", "bob")
    world.one.faults.append(Locked("the record is locked", retry_after=30 * SECOND))
    world.write("ann", "first")
    world.run(SECOND)
    world.write("ann", "second")
    world.write("bob", "other")
    world.run(10 * SECOND)
    assert world.subjects(world.one) == ["other"]
    world.run(MINUTE)
    assert world.subjects(world.one) == ["other", "first", "second"]


def test_order_per_person_holds_across_a_restart(world: World) -> None:
    world.people("ann")
    world.one.faults.append(Locked("the record is locked", retry_after=MINUTE))
    world.write("ann", "first")
    world.run(SECOND)
    world.restart()
    world.write("ann", "second")
    world.run(30 * SECOND)
    assert world.subjects(world.one) == []
    world.run(2 * MINUTE)
    assert world.subjects(world.one) == ["first", "second"]


def test_an_answer_that_was_lost_writes_nothing_twice(world: World) -> None:
    world.people("ann")

    def lost() -> None:
        world.one.after_write = None
        raise Transient("memory timed out", sent=True)

    world.one.after_write = lost
    world.write("ann", "once")
    world.run(2 * MINUTE)
    assert world.subjects(world.one) == ["once"]
    assert world.one.calls["log_activities"] == 2
    assert world.count(ActionStatus.SENT) == 1


def test_what_the_crm_refuses_is_dead_with_the_reason_and_takes_no_other_along(world: World) -> None:
    world.people("ann", "bob", "eve")
    world.one.records["2"] = type(world.one.records["2"])(id="2", deleted=True)
    keys = [world.write(name, name)[0] for name in ("ann", "bob", "eve")]
    world.run(SECOND)
    assert world.subjects(world.one) == ["ann", "eve"]
    dead = world.engine.store.action(keys[1])
    assert dead is not None
    assert (dead.status, dead.error) == (ActionStatus.DEAD, "remote_not_found: there is no such record")
    assert world.state("one").status == ConnectionStatus.CONNECTED


def test_a_call_that_is_refused_as_a_whole_is_made_one_by_one(world: World) -> None:
    world.people("ann", "bob")
    world.one.faults.append(RemoteInvalid("memory API error: 400", http_status=400))
    world.write("ann", "a")
    world.write("bob", "b")
    world.run(SECOND)
    assert sorted(world.subjects(world.one)) == ["a", "b"]


def test_refused_credentials_are_told_once_and_what_waits_goes_on_when_they_are_mended(world: World) -> None:
    world.people("ann", "bob")
    world.one.revoked = True
    for n in range(10):
        world.write("ann", f"a{n}")
        world.write("bob", f"b{n}")
        world.run(MINUTE)
    assert world.inbox.texts == ["CRM authentication failed — check credentials (one): memory API error: 401 - Unauthorized"]
    failed = [event for event in world.engine.log(limit=1000) if event.type == "crm.auth_failed"]
    assert [(event.profile, event.data["connection"], event.data["provider"]) for event in failed] == [(0, "one", "memory")]
    assert world.one.calls["log_activities"] == 1  # nobody knocks at a closed door
    assert (world.state("one").status, world.state("one").waiting) == (ConnectionStatus.UNAUTHORISED, 20)
    world.one.revoked = False
    world.engine.connections.test("one")
    world.run(MINUTE)
    assert len(world.one.activities) == 20
    assert world.count(ActionStatus.DEAD) == 0
    world.one.revoked = True
    world.write("ann", "again")
    world.run(MINUTE)
    assert len(world.inbox.texts) == 2  # another episode


def test_a_subscription_is_told_of_refused_credentials(world: World) -> None:
    world.engine.apply([{"kind": "subscription", "name": "ops", "url": "https://ops.example/hook", "events": ["crm.*"]}])
    world.people("ann")
    world.one.revoked = True
    world.write("ann", "a")
    world.engine.run_due()
    posts = [action for action in world.engine.outbox().actions if action.kind == "webhook.post"]
    assert [action.payload["body"]["type"] for action in posts] == ["crm.auth_failed"]


def test_too_many_requests_are_answered_by_waiting_as_long_as_was_said(world: World) -> None:
    world.people("ann", "bob")
    world.one.faults.append(RateLimited("memory API error: 429", http_status=429, retry_after=10 * SECOND))
    world.write("ann", "a")
    world.run(SECOND)
    world.write("bob", "b")
    world.run(8 * SECOND)
    assert world.one.calls["log_activities"] == 1
    world.run(40 * SECOND)
    assert sorted(world.subjects(world.one)) == ["a", "b"]
    assert world.state("one").status == ConnectionStatus.CONNECTED


def test_a_used_up_quota_stops_the_connection_until_the_reset(world: World) -> None:
    world.people("ann")
    world.one.faults.append(QuotaExhausted("memory API error: 429 - DAILY", retry_after=6 * HOUR))
    world.write("ann", "a")
    world.run(HOUR)
    assert (world.state("one").status, world.state("one").resumes_at) == (ConnectionStatus.LIMITED, T0 + 6 * HOUR)
    assert world.one.calls["log_activities"] == 1
    world.run(5 * HOUR + 6 * MINUTE)
    assert world.subjects(world.one) == ["a"]
    assert world.state("one").status == ConnectionStatus.CONNECTED


def test_a_paused_connection_waits_for_a_person(world: World) -> None:
    world.people("ann")
    world.engine.connections.pause("one")
    world.write("ann", "a")
    world.jump(DAY)
    assert world.one.activities == {}
    world.engine.connections.resume("one")
    world.run(MINUTE)
    assert world.subjects(world.one) == ["a"]


def test_an_activity_of_somebody_whom_the_crm_does_not_know_is_dead_with_the_reason(world: World) -> None:
    world.engine.identify("eve", identifiers={"email": "eve@example.com"})
    key = world.write("eve", "a")[0]
    world.run(SECOND)
    action = world.engine.store.action(key)
    assert action is not None
    assert (action.status, action.error) == (ActionStatus.DEAD, "nobody in one is linked to the person")


def test_a_connection_that_was_removed_ends_what_waits_for_it(world: World) -> None:
    world.people("ann")
    key = world.write("ann", "a")[0]
    world.engine.connections.remove("one")
    world.run(SECOND)
    action = world.engine.store.action(key)
    assert action is not None
    assert (action.status, action.error) == (ActionStatus.DEAD, "there is no connection one")
