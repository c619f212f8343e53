"""Actions that go together, that go on later, and that bring events along."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from tailorbird.core.action import Action, ActionStatus, Outcome, Told
from tailorbird.core.context import MINUTE, ManualClock
from tailorbird.core.event import PROFILE_UPDATED
from tailorbird.core.profile import Profile, Provenance
from tailorbird.ports import Store, Unit
from tailorbird.profiles.drafts import Draft
from tailorbird.runtime.gate import Gate
from tailorbird.runtime.outbox import Deliverer, Policy
from tailorbird.storage import open_store

T0 = 1_800_000_000_000


class Batch:
    """Takes four at once; answers with ``outcome``, and waits for ``go`` while ``hanging``."""

    name = "batch"
    honours_idempotency = False
    together = 4

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.outcome: Outcome | Exception | None = None
        self.most = 0
        self.running = 0
        self.lock = threading.Lock()
        self.gate = threading.Barrier(2, timeout=10)
        self.meet = False

    def destination(self, action: Action) -> str:
        return str(action.payload.get("batch") or "")

    def at_once(self, action: Action) -> int:
        return 2

    def perform(self, action: Action) -> Outcome:
        return self.perform_many([action])[0]

    def perform_many(self, actions: Sequence[Action]) -> list[Outcome]:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.calls.append([action.key for action in actions])
        if self.meet:
            self.gate.wait()
        with self.lock:
            self.running -= 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return [self.outcome or Outcome(ok=True) for _ in actions]

    def close(self) -> None:
        """Nothing is held open."""


class World:
    def __init__(self, store: Store, **policy: int) -> None:
        self.store = store
        self.batch = Batch()
        self.clock = ManualClock(T0)
        self.told: list[Draft] = []
        unit = Unit()
        attributes = {"title": "Founder", "city": "Lyon"}
        provenance = {"title": Provenance("text", "form", T0, 1), "city": Provenance("text", "other", T0, 1)}
        unit.profiles[1] = Profile(key=1, id="p_ann", bucket=1, attributes=attributes, provenance=provenance)
        store.commit(unit)
        self.deliverer = Deliverer(
            store,
            {"batch": self.batch},
            lambda: Gate([], store.sent_since),
            self.clock,
            self.told.extend,
            policy=Policy(**policy),
        )

    def put(self, count: int, **payload: object) -> None:
        unit = Unit()
        unit.actions = [
            Action(key=f"k{n}", kind="person.enrich", connector="batch", payload=dict(payload), profile=1, due=T0, created_at=T0)
            for n in range(count)
        ]
        self.store.commit(unit)

    def action(self, key: str) -> Action:
        found = self.store.action(key)
        assert found is not None
        return found


@pytest.fixture
def world() -> Iterator[World]:
    store = open_store(":memory:")
    store.claim()
    world = World(store)
    yield world
    world.deliverer.close()
    store.close()


def test_actions_of_one_destination_go_together_as_many_as_the_connector_takes(world: World) -> None:
    world.put(10)
    assert world.deliverer.run_once() == 10
    assert sorted(len(call) for call in world.batch.calls) == [2, 4, 4]
    assert {world.action(f"k{n}").status for n in range(10)} == {ActionStatus.SENT}


def test_as_many_calls_are_under_way_as_the_connector_says(world: World) -> None:
    world.batch.meet = True  # each call waits for another one: alone it would never end
    world.put(16)
    assert world.deliverer.run_once() == 16
    assert world.batch.most == 2


def test_one_call_that_fails_counts_once_against_the_destination(world: World) -> None:
    world.batch.outcome = Outcome(ok=False, detail="down")
    world.put(4)
    world.deliverer.run_once()
    assert {world.action(f"k{n}").attempts for n in range(4)} == {1}
    assert {world.action(f"k{n}").error for n in range(4)} == {"down"}
    assert min(world.action(f"k{n}").due for n in range(4)) < T0 + MINUTE  # not held back: that takes five failures in a row


@pytest.mark.parametrize("wrong", [ValueError("secret"), "short"])
def test_a_connector_with_a_defect_fails_each_of_them(world: World, wrong: ValueError | str) -> None:
    if isinstance(wrong, ValueError):
        world.batch.outcome = wrong
    else:
        world.batch.perform_many = lambda actions: [Outcome(ok=True)]  # type: ignore[method-assign]
    world.put(3)
    assert world.deliverer.run_once() == 3
    assert {world.action(f"k{n}").status for n in range(3)} == {ActionStatus.PENDING}
    assert "secret" not in str([world.action(f"k{n}").error for n in range(3)])


def test_what_goes_on_later_loses_no_attempt_and_remembers_what_it_has_to(world: World) -> None:
    world.batch.outcome = Outcome(ok=False, again=30_000, payload={"batch": "b1"})
    world.put(2)
    assert world.deliverer.run_once() == 2
    action = world.action("k0")
    assert (action.status, action.attempts, action.due, action.payload) == (ActionStatus.PENDING, 0, T0 + 30_000, {"batch": "b1"})
    assert world.told == []
    world.clock.move_to(T0 + 29_999)
    assert world.deliverer.run_once() == 0
    world.clock.move_to(T0 + 30_000)
    world.batch.outcome = None
    assert world.deliverer.run_once() == 2
    assert world.action("k0").attempts == 1


def test_events_of_an_outcome_come_before_that_it_is_done_with_ids_of_their_own(world: World) -> None:
    events = (Told(type="enrichment.received", data={"n": 1}, source="apollo"), Told(type="email.verified", source="apollo"))
    world.batch.outcome = Outcome(ok=True, events=events)
    world.put(1)
    world.deliverer.run_once()
    assert [(draft.type, draft.source) for draft in world.told] == [
        ("enrichment.received", "apollo"), ("email.verified", "apollo"), ("person.sent", "outbox"),
    ]  # fmt: skip
    ids = [draft.id for draft in world.told]
    assert len(set(ids)) == 3 and all(str(id_).startswith("tb:k0.") for id_ in ids)


def test_attributes_give_way_to_what_others_have_said(world: World) -> None:
    data = {"attributes": {"title": "CEO", "city": "Paris", "company": "Acme"}}
    world.batch.outcome = Outcome(ok=True, events=(Told(type=PROFILE_UPDATED, data=data, source="apollo", over=("other",)),))
    world.put(1)
    world.deliverer.run_once()
    assert world.told[0].data == {"attributes": {"city": "Paris", "company": "Acme"}}


def test_attributes_of_which_none_is_left_are_no_event(world: World) -> None:
    data = {"attributes": {"title": "CEO"}}
    world.batch.outcome = Outcome(ok=True, events=(Told(type=PROFILE_UPDATED, data=data, source="apollo", over=("apollo",)),))
    world.put(1)
    world.deliverer.run_once()
    assert [draft.type for draft in world.told] == ["person.sent"]
