"""The nearest timers in memory: none is missed, whatever is stored, set meanwhile, or not yet durable."""

from __future__ import annotations

import random

from tailorbird.expr.incremental import NEVER
from tailorbird.ports import Unit
from tailorbird.runtime.timers import TIMER_KEY, Timers
from tailorbird.storage import open_store


def drain(timers: Timers, until: int, *units: Unit) -> list[tuple[int, int]]:
    """Take out what is due, as the loop does: what was popped is noted in the unit under way."""
    found, under_way = [], Unit()
    while timers.next <= until:
        item = timers.pop(until)
        if item is None:
            timers.extend([*units, under_way])
        else:
            found.append(item)
            under_way.timers[item[1], TIMER_KEY] = -1
    return found


def test_more_timers_than_are_read_at_once_come_in_order() -> None:
    store = open_store(":memory:")
    chance = random.Random(1)
    dues = {profile: chance.randrange(1_000) for profile in range(1, 12_001)}
    store.arm(TIMER_KEY, dues.items())
    timers = Timers(store)
    timers.reset()
    found = []
    for until in (10, 400, 2_000):
        due = drain(timers, until)
        found += due
        unit = Unit()  # as the loop does with what woke
        unit.timers = {(profile, TIMER_KEY): -1 for _, profile in due}
        store.claim()
        assert store.commit(unit)
    assert [due for due, _ in found] == sorted(dues.values())
    assert {profile for _, profile in found} == dues.keys()
    assert timers.next == NEVER
    store.close()


def test_thousands_due_at_the_same_instant_are_all_found() -> None:
    store = open_store(":memory:")
    store.arm(TIMER_KEY, ((profile, 7) for profile in range(1, 6_001)))
    store.arm(TIMER_KEY, [(9_000, 8)])
    timers = Timers(store)
    timers.reset()
    assert len(drain(timers, 7)) == 6_000
    store.close()


def test_timers_that_are_not_yet_durable_are_known() -> None:
    store = open_store(":memory:")
    store.arm(TIMER_KEY, ((profile, profile) for profile in range(1, 6_001)))
    timers = Timers(store)
    timers.reset()
    first = drain(timers, 10)
    flying = Unit()
    flying.timers = {(profile, TIMER_KEY): -1 for _, profile in first} | {(1, TIMER_KEY): 5_500, (2, TIMER_KEY): 20}
    for (profile, _), due in flying.timers.items():
        if due > 0:
            timers.arm(due, profile)
    rest = drain(timers, NEVER - 1, flying)
    assert (20, 2) in rest
    assert (5_500, 1) in rest
    assert {profile for _, profile in rest} == {1, 2, *range(11, 6_001)}
    store.close()


def test_what_another_process_left_behind_is_found_by_looking() -> None:
    store = open_store(":memory:")
    timers = Timers(store)
    timers.reset()
    assert timers.next == NEVER
    store.arm(TIMER_KEY, [(1, 50)])
    timers.look(store.next_due())
    assert drain(timers, 60) == [(50, 1)]
    store.close()


class Compared(int):
    """An instant that counts how often it is compared."""

    times = 0

    def __lt__(self, other: int) -> bool:
        Compared.times += 1
        return int(self) < int(other)

    def __le__(self, other: int) -> bool:
        Compared.times += 1
        return int(self) <= int(other)


def test_the_first_that_are_due_are_told_in_order_without_looking_at_all() -> None:
    store = open_store(":memory:")
    timers = Timers(store)
    timers.reset()
    chance = random.Random(2)
    armed = [(chance.randrange(500), profile) for profile in range(5_000)]
    for due, profile in armed:
        timers.arm(Compared(due), profile)
    Compared.times = 0
    assert timers.due(400, 20) == [profile for _, profile in sorted(armed)[:20]]
    assert Compared.times < len(armed) / 4
    assert timers.due(3, 5_000) == [profile for due, profile in sorted(armed) if due <= 3]
    assert timers.due(-1, 5) == timers.due(400, 0) == []
    assert len(drain(timers, 500)) == len(armed)
    store.close()
