"""What the loop promises: exact transitions, once each event, timers on time, whoever else writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tailorbird.core.action import Action
from tailorbird.core.context import DAY, HOUR, MINUTE, ManualClock
from tailorbird.core.event import Event
from tailorbird.core.profile import Profile
from tailorbird.engine import Engine
from tailorbird.errors import Conflict
from tailorbird.profiles.drafts import Draft
from tailorbird.runtime.ingest import Incoming, Receipt
from tailorbird.runtime.loop import Loop
from tailorbird.settings import Settings

START = 1_700_000_000_000


def opened(url: str = ":memory:", when: int = START, **conditions: str) -> Engine:
    engine = Engine.open(url, clock=ManualClock(when), settings=Settings(deliver=False), connectors={})
    try:
        if conditions:
            engine.apply([{"kind": "segment", "name": name, "when": text} for name, text in conditions.items()])
    except BaseException:
        engine.close()
        raise
    return engine


def event(type: str = "a", who: str = "ann", **fields: Any) -> Incoming:
    return Incoming(type=type, identifiers={"external_id": who}, **fields)


def transitions(engine: Engine) -> list[tuple[str, str, int, str]]:
    return [
        (e.type.removeprefix("segment."), e.data["segment"], e.received_at - START, e.data["reason"])
        for e in engine.log()
        if e.type.startswith("segment.")
    ]


def test_a_reply_carries_the_memberships_that_the_event_caused() -> None:
    with opened(twice="count(a) >= 2", never="count(a) >= 9") as engine:
        first, second = engine.take([event(), event()])
        assert (first.segments, first.entered) == ((), ())
        assert (second.segments, second.entered) == (("twice",), ("twice",))
        assert engine.profile("ann").segments == ("twice",)


def test_an_event_id_counts_once_within_a_batch_and_ever_after() -> None:
    with opened(twice="count(a) >= 2") as engine:
        receipts = engine.take([event(id="1"), event(id="1")])
        assert [r.status for r in receipts] == ["accepted", "duplicate"]
        assert engine.take([event(id="1")])[0] == Receipt(status="duplicate", id="1", profile=receipts[0].profile)
        assert len([e for e in engine.log() if e.type == "a"]) == 1


def test_one_bad_event_does_not_hold_up_the_others() -> None:
    with opened() as engine:
        receipts = engine.take([event(), event(data={"x": float("nan")}), event(who="null"), event()])
        assert [r.status for r in receipts] == ["accepted", "rejected", "rejected", "accepted"]
        assert "data.x" in receipts[1].mistakes[0]
        assert "names nobody" in receipts[2].mistakes[0]


def test_what_is_entered_and_left_in_one_batch_leaves_no_membership() -> None:
    with opened(calm="count(a) = 1") as engine:
        engine.take([event(), event()])
        assert engine.profile("ann").segments == ()
        assert [t[:2] for t in transitions(engine)] == [("entered", "calm"), ("exited", "calm")]
        assert engine.store.segment_sizes().get("calm", 0) == 0


def test_times_ahead_of_our_clock_count_as_now() -> None:
    with opened() as engine:
        engine.take([event(at=START + HOUR)])
        assert [(e.at, e.received_at) for e in engine.log()] == [(START, START)]


def test_timers_fire_at_their_own_instants_in_order_however_late() -> None:
    with opened(hour="did(a, within 1h)", day="did(a, within 1d)") as engine:
        engine.take([event(who="ann")])
        engine.clock.move_to(START + 10 * MINUTE)  # type: ignore[attr-defined]
        engine.take([event(who="bob")])
        engine.clock.move_to(START + 30 * DAY)  # type: ignore[attr-defined]
        engine.take([event(type="b", who="cyd")])  # overdue timers come before new events
        exits = [t for t in transitions(engine) if t[0] == "exited"]
        assert exits == [
            ("exited", "hour", HOUR, "time"),
            ("exited", "hour", HOUR + 10 * MINUTE, "time"),
            ("exited", "day", DAY, "time"),
            ("exited", "day", DAY + 10 * MINUTE, "time"),
        ]


def test_timers_survive_a_restart(tmp_path: Any) -> None:
    path = str(tmp_path / "x.db")
    with opened(path, hour="did(a, within 1h)") as engine:
        engine.take([event()])
    with opened(path, when=START + 2 * HOUR) as engine:
        assert engine.run_due() == 1
        assert transitions(engine)[-1] == ("exited", "hour", HOUR, "time")
        assert engine.store.next_due() is None


def test_received_at_never_goes_back_when_the_clock_does(tmp_path: Any) -> None:
    path = str(tmp_path / "x.db")
    with opened(path, when=START + HOUR) as engine:
        engine.take([event()])
    with opened(path, when=START) as engine:
        engine.take([event()])
        assert [e.received_at for e in engine.log()] == [START + HOUR, START + HOUR]


def test_conditions_that_chase_each_other_are_stopped_and_it_is_said() -> None:
    # each transition of `odd` is an event that makes it the other way round
    with opened(
        odd='did(a) and count(segment.entered where segment = "odd") = count(segment.exited where segment = "odd")'
    ) as engine:
        engine.take([event()])
        stopped = [e for e in engine.log(limit=10_000) if e.type == "cascade.stopped"]
        assert len(stopped) == 1
        assert stopped[0].data["segments"] == ["odd"]
        assert engine.take([event(type="b", who="bob")])[0].status == "accepted"


def test_segment_events_run_through_the_queue() -> None:
    with opened(buyer="did(a)", promoted='did(segment.entered where segment = "buyer")') as engine:
        receipt = engine.take([event(id="1")])[0]
        assert receipt.entered == ("buyer", "promoted")
        log = {e.data["segment"]: e for e in engine.log() if e.type == "segment.entered"}
        assert log["buyer"].cause == "1"
        assert log["promoted"].cause == log["buyer"].id


def test_two_processes_on_one_database_never_lose_or_double_anything(store_url: str) -> None:
    with opened(store_url, many="count(a) >= 10", named='name = "Ann"') as one, opened(store_url) as other:
        for number in range(10):
            engine = (one, other)[number % 2]
            receipt = engine.take([event(id=str(number)), event(id=str(number - 1))])[0]
        assert receipt.segments == ("many",)
        assert one.identify("ann", attributes={"name": "Ann"}).segments == ("many", "named")
        assert other.take([event(id="last")])[0].segments == ("many", "named")
        assert len([e for e in one.log() if e.type == "a"]) == 12
        one.apply("kind: segment\nname: fresh\nwhen: count(a) >= 13\n")
        assert other.take([event()])[0].segments == ("fresh", "many", "named")


def test_a_profile_is_created_once_with_an_id_that_follows_from_its_identifier() -> None:
    with opened() as one, opened() as other:
        ids = [engine.take([event(), event()])[1].profile for engine in (one, other)]
        assert ids[0] == ids[1]
        assert one.store.count_profiles() == 1


def test_what_somebody_did_before_they_said_who_they_are_joins_their_history() -> None:
    with opened(looked="count(page.viewed, within 1d) >= 2") as engine:
        seen = Incoming(type="page.viewed", identifiers={"anonymous_id": "device"})
        engine.take([seen])
        receipt = engine.take([Incoming(type="page.viewed", identifiers={"anonymous_id": "device", "external_id": "ann"})])[0]
        assert receipt.entered == ("looked",)
        assert len(engine.timeline("ann").events) == len(engine.log()) - 1  # all but the definition
        assert engine.take([seen])[0].profile == receipt.profile


def test_two_people_on_one_device_stay_two() -> None:
    with opened() as engine:
        both = [Incoming(type="login", identifiers={"anonymous_id": "kiosk", "external_id": who}) for who in ("ann", "bob")]
        ann, bob = engine.take(both)
        assert ann.profile != bob.profile
        assert engine.store.merges() == []


def test_merging_and_taking_it_back_leaves_both_as_they_were() -> None:
    with opened(rich="sum(order.placed.total) > 100") as engine:
        engine.take([event("order.placed", who, data={"total": 60}) for who in ("ann", "bob")])
        before = engine.profile("ann"), engine.profile("bob")
        merge = engine.merge("ann", "bob")
        assert engine.profile("bob").segments == ("rich",)
        assert engine.profile("bob").id == before[0].id
        engine.unmerge(merge.id)
        assert (engine.profile("ann"), engine.profile("bob")) == before
        with pytest.raises(Conflict):
            engine.unmerge(merge.id)


def test_reactors_answer_with_actions_that_are_admitted_once() -> None:
    class Greeter:
        def wants(self, type: str) -> bool:
            return type == "a"

        def react(self, event: Event, profile: Profile | None) -> Sequence[Action]:
            assert profile is not None
            return [
                Action(
                    key=f"hello-{event.id}", kind="log.write", connector="log", payload={"id": profile.id}, profile=profile.key
                )
            ]

    with opened() as engine:
        engine.loop.react(Greeter())
        engine.take([event(id="1"), event(id="1"), event(type="b")])
        assert [a.key for a in engine.outbox().actions] == ["hello-1"]


def test_our_own_drafts_may_have_types_that_nobody_outside_may_send() -> None:
    with opened() as engine:
        engine.take([event()])
        draft = Draft(type="segment.noticed", identifiers={"external_id": "ann"}, id="tb:x", cause="y")
        assert engine.take([draft])[0].status == "accepted"
        assert engine.log()[-1].cause == "y"


def test_what_was_made_ready_is_made_ready_again_when_others_came_in_between() -> None:
    with opened() as engine:
        engine.take([Incoming(type="x", identifiers={"email": "ann@example.com"})])
        engine.identify("ann", identifiers={"email": "ann@example.com"}, attributes={"n": 1})
        loop = engine.loop
        group = loop.prepare([Incoming(type="x", identifiers={"external_id": "ann"}, id="e1")], engine.now())
        engine.apply({"kind": "segment", "name": "s", "when": "count(x) >= 9"})
        turn = loop.turn(group)
        assert loop.commit(turn)
        assert engine.store.count_profiles() == 1
        assert engine.profile("ann").attributes == {"n": 1}


def test_an_event_that_became_durable_in_between_is_not_taken_again() -> None:
    with opened() as engine:
        loop = engine.loop
        event = Incoming(type="x", identifiers={"external_id": "ann"}, id="e1")
        engine.track("y", profile="ann")
        group = loop.prepare([event], engine.now())
        assert engine.take([event])[0].status == "accepted"
        turn = loop.turn(group)
        assert loop.commit(turn)
        assert [receipt.status for receipt in turn.receipts] == ["duplicate"]
        assert engine.evaluate("count(x)", profile="ann").value == 1


@pytest.mark.parametrize("cached", [1, 100_000])
def test_an_event_without_an_id_has_one_name_in_all_that_it_causes(cached: int) -> None:
    names = {"external_id": "ann", "email": "ann@example.org", "anonymous_id": "device"}
    with opened() as engine:
        engine.take([Incoming(type="a", identifiers={kind: value}) for kind, value in names.items()])
        loop = Loop(engine.store, cached=cached)  # with room for one, memory is let go between the two merges
        (receipt,) = loop.take([Incoming(type="b", identifiers=names)], START + 1)
        assert receipt.status == "accepted"
        caused = [e.cause for e in engine.log() if e.type == "profile.merged"]
        assert ([e.id for e in engine.log() if e.type == "b"], caused) == ([receipt.id], [receipt.id] * 2)


def test_an_event_that_waits_keeps_no_name_that_another_is_given_meanwhile() -> None:
    with opened() as engine:
        loop = engine.loop
        engine.take([Incoming(type="a", identifiers={"external_id": "ann"})])
        waiting = Incoming(type="b", identifiers={"external_id": "ann", "anonymous_id": "device"})
        group = loop.prepare([Incoming(type="a", identifiers={"anonymous_id": "device"}), waiting], START)
        first = loop.turn(group)  # the device's owner is not durable yet, so the second event waits
        assert len(first.receipts) == 1
        assert loop.commit(first)
        (between,) = engine.take([event(who="bob")])
        second = loop.turn(group)
        assert loop.commit(second)
        assert [r.status for r in (between, *second.receipts)] == ["accepted", "accepted"]
        assert {e.id for e in engine.log() if e.type in ("a", "b")} >= {between.id, second.receipts[0].id}
        assert between.id != second.receipts[0].id
