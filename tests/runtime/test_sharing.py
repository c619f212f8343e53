"""What one process does with a database that others write to as well: it notices, it gets on, and joins leave no half traces."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from tailorbird.core.action import Action
from tailorbird.core.event import Event
from tailorbird.core.profile import Identifier, Profile
from tailorbird.engine import Engine
from tailorbird.errors import TailorbirdError
from tailorbird.runtime.ingest import Incoming
from tailorbird.settings import Settings

FEATURE = {"kind": "feature", "name": "views", "value": "count(a)"}


def opened(url: str) -> Engine:
    return Engine.open(url, settings=Settings(deliver=False), connectors={})


@pytest.fixture
def two(store_url: str) -> Iterator[tuple[Engine, Engine]]:
    with opened(store_url) as one:
        one.apply(FEATURE)
        with opened(store_url) as other:
            yield one, other


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline, "it never happens"
        time.sleep(0.02)


def test_features_read_out_of_memory_follow_what_another_process_writes(two: tuple[Engine, Engine]) -> None:
    one, other = two
    one.track("a", profile="ann")
    assert one.features("ann") == {"views": 1}
    for number in range(2, 5):
        other.track("a", profile="ann")
        until(lambda n=number: one.features("ann") == {"views": n})  # type: ignore[misc]
    other.apply({"kind": "feature", "name": "twice", "value": "2 * count(a)"})
    until(lambda: one.features("ann") == {"views": 4, "twice": 8})


def test_an_idle_server_notices_what_another_process_writes(two: tuple[Engine, Engine]) -> None:
    one, other = two

    async def follow() -> None:
        intake = one.intake()
        await intake.start()
        await intake.take([Incoming(type="a", identifiers={"external_id": "ann"})])
        assert one.read_features("ann", None, warm=True) == {"views": 1}
        for number in range(2, 5):
            await asyncio.to_thread(other.track, "a", profile="ann")
            deadline = time.monotonic() + 30
            # once noticed the profile is not in memory any more; the first who asks reads it anew
            while one.read_features("ann", None, warm=True) is not None:
                assert time.monotonic() < deadline, "it is never noticed"
                await asyncio.sleep(0.02)
            assert one.read_features("ann", None) == {"views": number}
        await intake.stop()

    asyncio.run(follow())


def test_two_idle_servers_do_not_make_each_other_read_anew(two: tuple[Engine, Engine]) -> None:
    async def rest() -> tuple[int, int]:
        intakes = [engine.intake() for engine in two]
        for intake in intakes:
            await intake.start()
        for engine in two:
            await asyncio.to_thread(engine.track, "a", profile="ann")
        await asyncio.sleep(1)
        before = two[0].loop.epoch, two[1].loop.epoch
        await asyncio.sleep(1)
        for intake in intakes:
            await intake.stop()
        return two[0].loop.epoch - before[0], two[1].loop.epoch - before[1]

    assert asyncio.run(rest()) == (0, 0)


class _Disturbed:
    """A reactor during which another process tries to write; ``waited`` tells each time whether it had to wait."""

    def __init__(self, other: Engine, *, fail: bool = False) -> None:
        self._other = other
        self._fail = fail
        self.rivals: list[threading.Thread] = []
        self.waited: list[bool] = []

    def wants(self, type: str) -> bool:
        return type == "a"

    def react(self, event: Event, profile: Profile | None) -> Sequence[Action]:
        rival = threading.Thread(target=self._other.store.set_meta, args=("n", str(len(self.rivals))))
        rival.start()
        rival.join(0.5)
        self.rivals.append(rival)
        self.waited.append(rival.is_alive())
        if self._fail and self.waited[-1]:
            self._fail = False
            raise RuntimeError("a defect")
        return []


def test_who_lost_again_and_again_keeps_others_from_writing_and_gets_on(two: tuple[Engine, Engine]) -> None:
    one, other = two
    disturbed = _Disturbed(other)
    one.loop.react(disturbed)
    assert one.track("a", profile="ann").status == "accepted"
    for rival in disturbed.rivals:
        rival.join()
    assert disturbed.waited == [False, False, False, True]
    assert one.features("ann") == {"views": 1}


def test_a_defect_while_others_are_kept_from_writing_leaves_nothing_behind(two: tuple[Engine, Engine]) -> None:
    one, other = two
    disturbed = _Disturbed(other, fail=True)
    one.loop.react(disturbed)
    with pytest.raises(RuntimeError, match="a defect"):
        one.track("a", profile="ann")
    for rival in disturbed.rivals:
        rival.join(30)
        assert not rival.is_alive(), "others may write again"
    assert one.store.count_profiles() == other.store.count_profiles() == 0
    assert one.track("a", profile="ann").status == "accepted"
    for rival in disturbed.rivals:
        rival.join()
    assert one.features("ann") == {"views": 1}


def test_events_of_a_batch_are_refused_by_no_number_of_lost_commits(two: tuple[Engine, Engine]) -> None:
    one, other = two
    stop = threading.Event()
    wrong: list[TailorbirdError] = []

    def rival() -> None:
        number = 0
        while not stop.is_set():
            number += 1  # faster than anybody could compute
            try:
                other.store.set_meta("n", str(number))
            except TailorbirdError as error:
                wrong.append(error)

    thread = threading.Thread(target=rival)
    thread.start()
    try:
        for number in range(10):
            receipts = one.take([Incoming(type="a", identifiers={"external_id": f"u{n}"}) for n in range(20)])
            assert {r.status for r in receipts} == {"accepted"}
            one.tag("u3", f"t{number}")
        one.unmerge(one.merge("u4", "u5").id)
        one.merge("u1", "u2")
    finally:
        stop.set()
        thread.join()
    assert not wrong
    assert one.store.count_profiles() == 19


def test_an_event_that_has_to_wait_for_a_join_leaves_no_trace_until_then(two: tuple[Engine, Engine]) -> None:
    one, _ = two
    loop = one.loop
    first = Incoming(type="a", identifiers={"anonymous_id": "device"}, id="1")
    second = Incoming(type="a", identifiers={"external_id": "ann", "anonymous_id": "device"}, id="2")
    one.identify("ann", attributes={"n": 1})
    group = loop.prepare([first, second], one.now())
    turn = loop.turn(group)
    assert [r.id for r in turn.receipts] == ["1"], "the device's owner is not durable yet"
    assert [(row.kind, row.value) for row in turn.unit.identifiers] == [("anonymous_id", "device")]
    assert loop.commit(turn)
    joining = loop.turn(group)
    assert loop.commit(joining) and group.done
    assert len(one.store.merges()) == 1
    assert one.evaluate("count(a)", profile="ann").value == 2


def test_a_name_that_waits_for_a_join_is_not_given_away_by_a_crash(store_url: str) -> None:
    with opened(store_url) as one:
        loop = one.loop
        one.identify("ann", attributes={"n": 1})
        before = Incoming(type="a", identifiers={"anonymous_id": "device"}, id="1")
        names = {"external_id": "ann", "email": "ann@example.com", "anonymous_id": "device"}
        group = loop.prepare([before, Incoming(type="a", identifiers=names, id="2")], one.now())
        turn = loop.turn(group)
        assert loop.commit(turn)
        assert not group.done
    # the process dies here: of the second event, which nobody acknowledged, there is nothing
    with opened(store_url) as one:
        email = Identifier("email", "ann@example.com")
        assert one.store.resolve([email]) == {}
        assert one.store.event("2") is None
        again = one.take([Incoming(type="a", identifiers=names, id="2")])[0]
        assert again.status == "accepted"
        assert len(one.store.merges()) == 1
        assert (
            one.store.resolve([email])[email].profile == one.store.profiles_by_id([again.profile or ""])[again.profile or ""].key
        )
