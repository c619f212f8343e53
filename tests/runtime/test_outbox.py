"""The deliverer: what is tried again, what is given up, and that one dead destination delays nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import msgspec
import pytest

from tailorbird.connectors import LogConnector
from tailorbird.core.action import Action, ActionStatus, Outcome
from tailorbird.core.context import DAY, HOUR, MINUTE, SECOND, ManualClock
from tailorbird.core.event import Event
from tailorbird.core.profile import Profile
from tailorbird.errors import Conflict, NotFound
from tailorbird.ports import Store, Unit
from tailorbird.profiles.drafts import Draft
from tailorbird.runtime.gate import Gate, Guard
from tailorbird.runtime.outbox import DELAYS, Deliverer, Policy, back_off
from tailorbird.storage import open_store

T0 = 1_800_000_000_000


class Post(LogConnector):
    """A log connector whose destinations are in the payload; those in ``dead`` fail, those in ``hanging`` wait for ``go``."""

    def __init__(self) -> None:
        super().__init__("post")
        self.dead: set[str] = set()
        self.hanging: set[str] = set()
        self.go = threading.Event()
        self.asked: list[str] = []

    def destination(self, action: Action) -> str:
        return str(action.payload.get("host", ""))

    def perform(self, action: Action) -> Outcome:
        self.asked.append(action.key)
        host = self.destination(action)
        if host in self.hanging:
            self.go.wait(20)
        if host in self.dead:
            return Outcome(ok=False, detail="the receiver answered 500")
        return super().perform(action)


class World:
    """A store with one person, a deliverer over it, and what it told."""

    def __init__(self, store: Store, *guards: Guard, **policy: int) -> None:
        self.store = store
        self.post = Post()
        self.clock = ManualClock(T0)
        self.told: list[Draft] = []
        self.guards = list(guards)
        self.crash = False
        unit = Unit()
        unit.profiles[1] = Profile(key=1, id="p_ann", bucket=1, created_at=T0, consents={"email/marketing": True})
        store.commit(unit)
        self.deliverer = Deliverer(store, {"post": self.post}, self.gate, self.clock, self.emit, policy=Policy(**policy))

    def gate(self) -> Gate:
        return Gate(self.guards, self.store.sent_since)

    def emit(self, drafts: list[Draft]) -> None:
        if self.crash:
            raise OSError("the machine went down")
        self.told += drafts

    def put(self, *keys: str, host: str = "good", **changes: object) -> None:
        unit = Unit()
        for key in keys:
            fields: dict[str, object] = {
                "key": key, "kind": "message.send", "connector": "post", "payload": {"host": host, "to": "a@x.org"}, "profile": 1,
                "due": self.clock.now(), "created_at": self.clock.now(), "cause": "e1",
            }  # fmt: skip
            unit.actions.append(Action(**{**fields, **changes}))  # type: ignore[arg-type]
        self.store.commit(unit)

    def after(self, wait: int) -> int:
        self.clock.move_to(self.clock.now() + wait)
        return self.deliverer.run_once()

    def action(self, key: str) -> Action:
        found = self.store.action(key)
        assert found is not None
        return found

    def status(self, key: str) -> str:
        return self.action(key).status


@pytest.fixture
def store() -> Iterator[Store]:
    store = open_store(":memory:")
    store.claim()
    yield store
    store.close()


@pytest.fixture
def world(store: Store) -> Iterator[World]:
    world = World(store)
    yield world
    world.post.go.set()
    world.deliverer.close()


def test_a_due_action_is_performed_once_and_told(world: World) -> None:
    world.put("k1")
    assert world.after(0) == 1
    assert world.after(HOUR) == 0
    assert [action.key for action in world.post.sent] == ["k1"]
    assert world.status("k1") == ActionStatus.SENT
    (draft,) = world.told
    assert (draft.type, draft.profile, draft.cause, draft.id) == ("message.sent", "p_ann", "e1", "tb:k1.sent")


def test_an_action_is_not_performed_before_it_is_due(world: World) -> None:
    world.put("k1", due=T0 + HOUR)
    assert world.after(HOUR - 1) == 0
    assert world.after(1) == 1


def test_a_failed_attempt_comes_back_later_and_later_until_it_is_given_up(store: Store) -> None:
    world = World(store, max_attempts=4, break_after=100)
    world.post.dead = {"bad"}
    world.put("k1", host="bad")
    waits = []
    while world.status("k1") != ActionStatus.DEAD:
        world.deliverer.run_once()
        waits.append(world.action("k1").due - world.clock.now())
        world.clock.move_to(max(world.action("k1").due, world.clock.now()))
    assert waits == [back_off("k1", 1), back_off("k1", 2), back_off("k1", 3), 0]
    assert world.action("k1").attempts == 4
    assert [(d.type, d.data["reason"]) for d in world.told] == [("message.failed", "the receiver answered 500")]
    world.deliverer.close()


def test_waits_grow_and_differ_between_actions() -> None:
    for attempts, delay in enumerate(DELAYS, 1):
        assert 0.75 * delay <= back_off("k", attempts) <= 1.25 * delay
    assert back_off("k", 50) <= 1.25 * DAY
    assert len({back_off(f"k{n}", 5) for n in range(50)}) > 40


def test_a_final_no_is_not_tried_again(world: World) -> None:
    world.post.outcomes = [Outcome(ok=False, final=True, detail="410: the receiver is gone")]
    world.put("k1")
    world.after(0)
    assert (world.status("k1"), world.action("k1").attempts) == (ActionStatus.DEAD, 1)


def test_the_receiver_says_when_to_come_back(world: World) -> None:
    world.post.outcomes = [Outcome(ok=False, detail="429", retry_after=HOUR)]
    world.put("k1")
    world.after(0)
    assert world.action("k1").due == T0 + HOUR
    world.put("k2")
    world.after(MINUTE)
    assert world.post.asked == ["k1"]  # the whole destination is left in peace
    world.after(HOUR + 2 * MINUTE)
    assert world.status("k1") == world.status("k2") == ActionStatus.SENT


def test_an_action_for_an_unknown_connector_waits_for_one(world: World) -> None:
    world.put("k1", connector="pigeon")
    world.after(0)
    assert world.status("k1") == ActionStatus.PENDING
    assert "pigeon" in (world.action("k1").error or "")


def test_the_gate_is_asked_again_at_delivery(world: World) -> None:
    world.put("k1", channel="sms", purpose="marketing")
    world.after(0)
    assert world.post.asked == []
    assert world.status("k1") == ActionStatus.REFUSED
    (draft,) = world.told
    assert (draft.type, draft.data["reason"]) == ("action.refused", "no_consent")


def test_quiet_hours_put_a_delivery_off(store: Store) -> None:
    world = World(store, Guard(name="always", channel="email", quiet=(0, 24 * 60 - 1)))
    world.put("k1", channel="email", purpose="marketing")
    world.after(0)
    assert world.status("k1") == ActionStatus.PENDING
    assert world.action("k1").attempts == 0
    assert world.action("k1").due > T0
    assert world.told == []
    world.deliverer.close()


def test_a_cap_holds_for_what_is_delivered_together_and_lets_the_rest_through_later(store: Store) -> None:
    world = World(store, Guard(name="daily", channel="email", count=2, per=DAY, defer=True))
    world.put(*(f"k{n}" for n in range(6)), channel="email", purpose="marketing")
    sent = []
    for _ in range(40):
        world.after(3 * HOUR)
        sent.append(len(world.post.sent))
    assert sent[0] == 2
    assert sent[-1] == 6
    assert all(later - earlier <= 2 for earlier, later in zip(sent, sent[8:], strict=False))
    world.deliverer.close()


def test_a_hard_bounce_suppresses_the_address(world: World) -> None:
    world.post.outcomes = [Outcome(ok=False, final=True, suppress=True, detail="550 no such user")]
    world.put("k1", channel="email", purpose="marketing")
    world.after(0)
    assert ("tag.added", "suppressed:email:a@x.org") in [(d.type, d.data.get("tag")) for d in world.told]


def test_a_dead_destination_is_held_back_without_wasting_attempts(store: Store) -> None:
    world = World(store, break_after=3)
    world.post.dead = {"bad"}
    world.put(*(f"b{n}" for n in range(50)), host="bad")
    world.put("g1")
    world.after(0)
    assert world.status("g1") == ActionStatus.SENT
    assert len(world.post.asked) - 1 <= 6  # four at once at first, then one at a time, until the third failure
    assert sum(world.action(f"b{n}").attempts for n in range(50)) == len(world.post.asked) - 1
    world.post.dead = set()
    world.after(2 * MINUTE)
    assert all(world.status(f"b{n}") == ActionStatus.SENT for n in range(50))
    world.deliverer.close()


def test_a_destination_that_hangs_delays_nobody_else(world: World) -> None:
    world.post.hanging = {"slow"}
    world.put(*(f"s{n}" for n in range(20)), host="slow")
    world.put(*(f"g{n}" for n in range(20)))
    for _ in range(1000):
        world.deliverer.run_once(wait=False)
        if all(world.status(f"g{n}") == ActionStatus.SENT for n in range(20)):
            break
        threading.Event().wait(0.01)
    assert all(world.status(f"g{n}") == ActionStatus.SENT for n in range(20))
    assert sum(key.startswith("s") for key in world.post.asked) == 4
    world.post.go.set()
    world.deliverer.run_once()
    assert all(world.status(f"s{n}") == ActionStatus.SENT for n in range(20))


def test_what_waits_for_a_slow_destination_longer_than_its_lease_is_not_delivered_twice(world: World) -> None:
    world.post.hanging = {"slow"}
    world.put(*(f"s{n}" for n in range(8)), host="slow")
    for _ in range(4):
        world.deliverer.run_once(wait=False)
        world.clock.move_to(world.clock.now() + 3 * MINUTE)
    world.post.go.set()
    world.deliverer.run_once()
    world.after(3 * MINUTE)
    assert sorted(world.post.asked) == sorted(f"s{n}" for n in range(8))
    assert all(world.status(f"s{n}") == ActionStatus.SENT for n in range(8))


def test_an_action_that_was_erased_under_way_is_not_written_back(world: World) -> None:
    world.post.hanging = {"slow"}
    world.put("k1", host="slow")
    world.deliverer.run_once(wait=False)
    world.store.forget(1)
    world.store.claim()
    world.post.go.set()
    world.deliverer.run_once()
    assert world.store.action("k1") is None
    assert world.told == []


def test_what_a_dead_deliverer_had_taken_comes_back_when_its_lease_ends(world: World) -> None:
    world.put("k1")
    world.crash = True
    with pytest.raises(OSError, match="went down"):
        world.after(0)
    assert world.status("k1") == ActionStatus.SENDING
    world.crash = False
    assert world.after(MINUTE) == 0
    assert world.after(2 * MINUTE) == 1
    assert world.status("k1") == ActionStatus.SENT
    assert [action.key for action in world.post.sent] == ["k1"]  # the second delivery carried the same key


def test_an_action_at_which_processes_die_again_and_again_is_given_up(store: Store) -> None:
    world = World(store, max_attempts=3)
    world.put("k1", "k2")
    for attempts in (1, 2, 3):  # three processes take it and die
        leased = store.lease_actions(world.clock.now(), limit=9, lease=MINUTE)
        assert [a.attempts for a in leased] == [attempts, attempts]
        world.clock.move_to(world.clock.now() + 2 * MINUTE)
    unit = Unit()
    told = Event(id="tb:k2.sent", type="message.sent", profile=1, at=T0, received_at=T0, seq=1, origin=1)
    unit.events.append(told)  # the last one lived to tell it of the second, but not to write it down
    store.claim()
    store.commit(unit)
    world.after(0)
    assert world.post.asked == []
    assert (world.status("k1"), world.action("k1").attempts) == (ActionStatus.DEAD, 3)
    assert "3 attempts" in str(world.action("k1").error)
    assert (world.status("k2"), world.action("k2").attempts) == (ActionStatus.SENT, 3)
    assert [(d.type, d.data["action"]) for d in world.told] == [("message.failed", "k1"), ("message.sent", "k2")]
    world.deliverer.requeue("k1")
    world.after(SECOND)
    assert (world.status("k1"), world.action("k1").attempts) == (ActionStatus.SENT, 1)
    world.deliverer.close()


def test_waiting_in_line_under_a_longer_lease_is_no_attempt(world: World) -> None:
    world.post.hanging = {"slow"}
    world.put(*(f"s{n}" for n in range(8)), host="slow")
    for _ in range(4):
        world.deliverer.run_once(wait=False)
        world.clock.move_to(world.clock.now() + 3 * MINUTE)
    assert {world.action(f"s{n}").attempts for n in range(8)} == {1}
    world.post.go.set()
    world.deliverer.run_once()


def test_a_connector_that_raises_is_a_failed_attempt_without_its_text(world: World) -> None:
    def broken(action: Action) -> Outcome:
        raise ValueError("ann@example.com is odd")

    world.post.perform = broken  # type: ignore[method-assign]
    world.put("k1")
    world.after(0)
    assert world.action("k1").error == "the connector raised ValueError"


def test_a_dead_letter_can_be_requeued(world: World) -> None:
    world.post.outcomes = [Outcome(ok=False, final=True, detail="no")]
    world.put("k1")
    world.after(0)
    world.deliverer.requeue("k1")
    assert (world.status("k1"), world.action("k1").attempts) == (ActionStatus.PENDING, 0)
    world.after(SECOND)
    assert world.status("k1") == ActionStatus.SENT
    with pytest.raises(Conflict, match="sent"):
        world.deliverer.requeue("k1")
    with pytest.raises(NotFound):
        world.deliverer.requeue("k2")


def test_an_action_follows_the_person_into_a_merge(world: World) -> None:
    world.put("k1")
    unit = Unit()
    unit.profiles[1] = msgspec.structs.replace(world.store.profiles([1])[1], merged_into=2)
    unit.profiles[2] = Profile(key=2, id="p_anna", bucket=1)
    world.store.commit(unit)
    world.after(0)
    assert [draft.profile for draft in world.told] == ["p_anna"]
