"""Limits: never more than a window allows, wherever the vendor's own begins, and hardly less."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tailorbird.connectors.rest import Breaker, Limiter
from tailorbird.core.context import DAY, HOUR, MINUTE, ManualClock


@settings(max_examples=60, deadline=None)
@given(limit=st.integers(1, 30), gaps=st.lists(st.integers(0, 9_000), min_size=50, max_size=200))
def test_no_window_of_the_length_ever_holds_more_than_the_limit(limit: int, gaps: list[int]) -> None:
    clock = ManualClock(0)
    limiter = Limiter({"minute": limit}, clock=clock)
    taken: list[int] = []
    for gap in gaps:
        clock.move_to(clock.now() + gap)
        if limiter.take() == 0:
            taken.append(clock.now())
    for start in taken:
        assert sum(start <= at < start + MINUTE for at in taken) <= limit


@settings(max_examples=30, deadline=None)
@given(limit=st.integers(1, 100), start=st.integers(0, 10 * MINUTE))
def test_waiting_as_told_uses_at_least_95_percent_of_the_limit(limit: int, start: int) -> None:
    clock = ManualClock(start)
    limiter = Limiter({"minute": limit}, clock=clock)
    count = 0
    while clock.now() < start + 60 * MINUTE:
        wait = limiter.take()
        if wait:
            clock.move_to(clock.now() + wait)
        else:
            count += 1
    assert count >= 0.95 * limit * 60


def test_the_narrowest_window_decides() -> None:
    clock = ManualClock(0)
    limiter = Limiter({"minute": 2, "hour": 3, "day": 100}, clock=clock)
    assert [limiter.take(), limiter.take()] == [0, 0]
    clock.move_to(limiter.take())
    assert limiter.take() == 0
    assert HOUR - 2 * MINUTE < limiter.take() <= HOUR + MINUTE


def test_what_the_vendor_says_is_left_counts_for_more_than_our_own_count() -> None:
    clock = ManualClock(0)
    limiter = Limiter({"minute": 10}, clock=clock)
    assert limiter.take() == 0
    limiter.observe("minute", left=1)
    assert limiter.take() == 0
    assert limiter.take() > 0
    clock.move_to(2 * MINUTE)
    assert limiter.take() == 0


def test_a_lower_limit_of_the_vendor_holds_and_a_new_window_is_learnt() -> None:
    clock = ManualClock(0)
    limiter = Limiter({"minute": 1_000}, clock=clock)
    limiter.observe("minute", limit=2)
    limiter.observe("day", limit=3)
    assert [limiter.take(), limiter.take()] == [0, 0]
    assert limiter.take() > 0
    clock.move_to(3 * MINUTE)
    assert limiter.take() == 0
    assert limiter.take() > DAY - 5 * MINUTE


def test_a_vendor_that_says_wait_is_waited_for() -> None:
    clock = ManualClock(0)
    limiter = Limiter(clock=clock)
    limiter.close(5_000)
    assert limiter.take() == 5_000
    clock.move_to(5_000)
    assert limiter.take() == 0


def test_a_breaker_opens_tries_once_and_closes_when_that_went_well() -> None:
    clock = ManualClock(0)
    breaker = Breaker(clock=clock, after=2, hold=1_000, most=3_000)
    for _ in range(2):
        assert breaker.wait() == 0
        breaker.bad()
    assert breaker.wait() == 1_000
    clock.move_to(1_000)
    assert breaker.wait() == 0
    assert breaker.wait() > 0  # one at a time
    breaker.bad()
    assert breaker.wait() == 2_000
    clock.move_to(3_000)
    assert breaker.wait() == 0
    breaker.good()
    assert breaker.wait() == 0
