"""The cache of what CRMs say: time, size, single flight, forgetting, statistics, and fields for a running task."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

from tailorbird.core.context import SECOND, ManualClock
from tailorbird.crm.cache import ClientCache, Loaded, context_cache, context_fields

T0 = 1_800_000_000_000


class Source:
    """Counts how often it was asked; answers with the count, under the tags it was made with."""

    def __init__(self, *tags: object) -> None:
        self.tags = tags
        self.asked = 0

    def __call__(self) -> Loaded:
        self.asked += 1
        return Loaded(self.asked, self.tags)  # type: ignore[arg-type]


def test_a_value_is_kept_for_300_s() -> None:
    clock = ManualClock(T0)
    cache, source = ClientCache[int](clock), Source()
    assert [cache.read("ann", source), cache.read("ann", source)] == [1, 1]
    clock.move_to(T0 + 300 * SECOND - 1)
    assert cache.read("ann", source) == 1
    clock.move_to(T0 + 300 * SECOND)
    assert cache.read("ann", source) == 2


def test_that_nobody_is_known_is_kept_for_30_s_only() -> None:
    clock = ManualClock(T0)
    cache = ClientCache[int](clock)
    asked: list[int] = []

    def nobody() -> Loaded:
        asked.append(1)
        return Loaded(None)

    assert cache.read("eve", nobody) is None
    clock.move_to(T0 + 30 * SECOND - 1)
    cache.read("eve", nobody)
    assert len(asked) == 1
    clock.move_to(T0 + 30 * SECOND)
    cache.read("eve", nobody)
    assert len(asked) == 2


def test_the_least_lately_used_are_dropped_beyond_the_bound() -> None:
    cache = ClientCache[int](ManualClock(T0), most=2)
    ann, bob, eve = Source(), Source(), Source()
    cache.read("ann", ann)
    cache.read("bob", bob)
    cache.read("ann", ann)
    cache.read("eve", eve)
    cache.read("ann", ann)
    cache.read("bob", bob)
    assert (ann.asked, bob.asked, eve.asked) == (1, 2, 1)
    stats = cache.stats()
    assert (stats.size, stats.dropped) == (2, 2)


def test_many_threads_that_ask_for_the_same_make_one_call() -> None:
    cache = ClientCache[str](ManualClock(T0))
    started, go = threading.Event(), threading.Event()
    asked: list[int] = []

    def slow() -> Loaded:
        asked.append(1)
        started.set()
        assert go.wait(10)
        return Loaded("Ann")

    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(cache.read, "ann", slow)
        assert started.wait(10)
        others = [threads.submit(cache.read, "ann", slow) for _ in range(7)]
        assert cache.read("bob", lambda: Loaded("Bob")) == "Bob"  # nobody else waits for it
        go.set()
        assert [one.result(10) for one in (first, *others)] == ["Ann"] * 8
    assert len(asked) == 1
    stats = cache.stats()
    assert (stats.misses, stats.hits + stats.shared, stats.saved) == (2, 7, 7)


def test_an_error_goes_to_all_who_wait_and_is_not_kept() -> None:
    cache = ClientCache[int](ManualClock(T0))
    started, go = threading.Event(), threading.Event()

    def fails() -> Loaded:
        started.set()
        assert go.wait(10)
        raise RuntimeError("down")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cache.read, "ann", fails)
        assert started.wait(10)
        other = threads.submit(cache.read, "ann", lambda: Loaded(1))
        while not cache._flights:
            time.sleep(0.001)
        go.set()
        with pytest.raises(RuntimeError):
            first.result(10)
        if other.exception(10) is None:  # it came so late that it asked by itself
            assert other.result() == 1
    assert cache.read("ann", lambda: Loaded(2)) in (1, 2)
    assert cache.stats().failed == 1


def test_what_has_a_tag_is_forgotten_by_it_and_nothing_else() -> None:
    cache = ClientCache[int](ManualClock(T0))
    ann, bob = Source(("hubspot", "1"), 7), Source(("hubspot", "2"), 8)
    cache.read("ann", ann)
    cache.read("bob", bob)
    assert cache.forget(("hubspot", "1")) == 1
    cache.read("ann", ann)
    cache.read("bob", bob)
    assert (ann.asked, bob.asked) == (2, 1)
    assert cache.forget(8) == 1
    assert cache.forget(8) == 0
    assert cache.clear() == 1
    assert cache.stats().size == 0


def test_what_is_forgotten_while_it_is_loaded_is_not_kept() -> None:
    cache = ClientCache[int](ManualClock(T0))

    def overtaken() -> Loaded:
        cache.forget(("hubspot", "1"))
        return Loaded(1, (("hubspot", "1"),))

    def untouched() -> Loaded:
        cache.forget(("hubspot", "1"))
        return Loaded(1, (("hubspot", "2"),))

    cache.read("ann", overtaken)
    cache.read("bob", untouched)
    ann, bob = Source(), Source()
    cache.read("ann", ann)
    cache.read("bob", bob)
    assert (ann.asked, bob.asked) == (1, 0)


def test_eighty_of_a_hundred_calls_are_saved_when_each_is_asked_for_five_times() -> None:
    cache = ClientCache[int](ManualClock(T0))
    for _ in range(5):
        for name in range(20):
            cache.read(name, Source())
    stats = cache.stats()
    assert (stats.misses, stats.saved, stats.ratio) == (20, 80, 0.8)


def test_a_task_sees_the_fields_it_was_handed_and_no_other_does() -> None:
    async def task(name: str) -> str:
        with context_cache({"first_name": name}, prefix="customer_"):
            await asyncio.sleep(0)
            inner = asyncio.create_task(asyncio.to_thread(lambda: str(context_fields()["customer_first_name"])))
            return await inner

    async def both() -> list[str]:
        return await asyncio.gather(task("Ann"), task("Bob"))

    assert asyncio.run(both()) == ["Ann", "Bob"]
    assert dict(context_fields()) == {}


def test_fields_that_were_handed_over_cannot_be_changed() -> None:
    with context_cache({"city": "Lyon"}) as fields, pytest.raises(TypeError):
        fields["customer_city"] = "Paris"  # type: ignore[index]
    assert copy_context().run(context_fields) == {}
