"""What the compiled functions call: insertion into ordered streams, trimming, and reading windows of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from typing import Any, Final

from tailorbird.expr.evaluate import NEVER

__all__ = [
    "EMPTY_ATS", "EMPTY_SUMS", "PAST", "advance", "average", "consent", "distinct", "every", "follow", "held", "insert_late",
    "insert_value", "push_extreme", "some", "summand", "sums_at_least", "trim", "value_after",
]  # fmt: skip

PAST: Final = -(2**62)
"""An instant before all others: of what has not happened yet."""
EMPTY_ATS: Final = (PAST,)
EMPTY_SUMS: Final = (0,)
"""A stream of sums holds, beside every event, the sum of everything up to it; before the first one stands a sentinel."""


def trim(times: list[int], bound: int, keep: int) -> None:
    """Forget what is at or before ``bound``, but not the ``keep`` latest."""
    gone = min(bisect_right(times, bound), len(times) - keep)
    if gone > 0:
        del times[:gone]


def insert_late(times: list[int], at: int, keep: int, window: int) -> None:
    """Insert an instant that is older than the newest; ``window`` 0 keeps only the ``keep`` latest."""
    insort(times, at)
    trim(times, times[-1] - window, keep)


def summand(x: list[Any], slot: int, at: int, value: int, window: int) -> None:
    """Add a value (millionths) to the stream of sums at ``slot``: instants, running sums, whether any value was negative."""
    ats, sums = x[slot], x[slot + 1]
    if ats is EMPTY_ATS:
        ats, sums = x[slot], x[slot + 1] = [PAST], [0]
    if value < 0:
        x[slot + 2] = True
    if at >= ats[-1]:
        ats.append(at)
        sums.append(sums[-1] + value)
        gone = bisect_right(ats, at - window) - 1
        if gone > 0:  # what goes becomes part of the sentinel's sum
            del ats[:gone], sums[:gone]
            ats[0] = PAST
        return
    if at <= ats[-1] - window:
        return
    place = bisect_right(ats, at)
    ats.insert(place, at)
    sums.insert(place, sums[place - 1])
    for later in range(place, len(sums)):
        sums[later] += value


def sums_at_least(x: list[Any], slot: int, window: int, least: int, now: int) -> tuple[bool, int]:
    """Return whether the sum over ``(now - window, now]`` is at least ``least``, and when that next changes by itself."""
    ats, sums, mixed = x[slot], x[slot + 1], x[slot + 2]
    first = bisect_right(ats, now - window)
    holds = sums[-1] - sums[first - 1] >= least
    if mixed:
        return holds, ats[first] + window if first < len(ats) else NEVER
    if not holds:
        return False, NEVER  # nothing is negative: a sum only falls as events leave the window
    last = bisect_right(sums, sums[-1] - least, first)
    return True, ats[last] + window if last < len(ats) else NEVER


def average(x: list[Any], slot: int, bound: int) -> float | None:
    """Return the mean of the values after ``bound``, None when there is none."""
    ats, sums = x[slot], x[slot + 1]
    first = bisect_right(ats, bound)
    count = len(ats) - first
    return float(sums[-1] - sums[first - 1]) / 1e6 / float(count) if count else None


def push_extreme(x: list[Any], slot: int, at: int, value: Any, window: int, greatest: bool) -> None:
    """Keep what can still be the least (greatest) of a window: values not outdone by a later one."""
    ats, values = x[slot], x[slot + 1]
    if not ats:
        x[slot], x[slot + 1] = [at], [value]
        return
    place = bisect_left(ats, at)
    if place < len(ats) and (values[place] >= value if greatest else values[place] <= value):
        return
    end = bisect_right(ats, at, place)  # of the same instant at most one is kept
    begin = place
    while begin and (values[begin - 1] <= value if greatest else values[begin - 1] >= value):
        begin -= 1
    ats[begin:end] = [at]
    values[begin:end] = [value]
    gone = bisect_right(ats, ats[-1] - window)
    if gone:
        del ats[:gone], values[:gone]


def insert_value(x: list[Any], slot: int, at: int, value: Any, window: int) -> None:
    """Keep every value of the window with its instant, in order; equal instants in order of arrival."""
    ats, values = x[slot], x[slot + 1]
    if not ats:
        x[slot], x[slot + 1] = [at], [value]
        return
    place = bisect_right(ats, at)
    ats.insert(place, at)
    values.insert(place, value)
    gone = bisect_right(ats, ats[-1] - window)
    if gone:
        del ats[:gone], values[:gone]


def value_after(x: list[Any], slot: int, bound: int) -> Any:
    """Return the first kept value after ``bound``, None when there is none."""
    ats = x[slot]
    place = bisect_right(ats, bound)
    return x[slot + 1][place] if place < len(ats) else None


def distinct(x: list[Any], slot: int, at: int, key: Any, window: int) -> None:
    """Keep, ordered, when each distinct value was last seen; ``slot + 1`` says for which value that is."""
    latest, seen = x[slot], x[slot + 1]
    if not latest:
        x[slot], x[slot + 1] = [at], {key: at}
        return
    before = seen.get(key)
    if before is not None:
        if before >= at:
            return
        place = bisect_left(latest, before)
        if place < len(latest) and latest[place] == before:
            del latest[place]
    seen[key] = at
    insort(latest, at)
    bound = latest[-1] - window
    if latest[0] <= bound:
        trim(latest, bound, 0)
        if len(seen) > 2 * len(latest) + 8:
            x[slot + 1] = {key: seen_at for key, seen_at in seen.items() if seen_at > bound}


def consent(x: list[Any], slot: int, at: int, granted: bool, explicit: bool) -> None:
    """Fold one consent event; ``slot + 1`` holds any grant, the last explicit grant, the last withdrawal."""
    state = x[slot + 1]
    if state is None:
        state = x[slot + 1] = [False, PAST, PAST, False]
    if granted:
        state[0] = True
        if explicit and at >= state[1]:
            state[1] = at
            state[3] = at >= state[2]
    elif at >= state[2]:
        state[2] = at
        state[3] = state[1] > at
    x[slot] = state[3] if state[2] > PAST else state[0]


def every(items: tuple[bool | None, ...]) -> bool | None:
    """Return Kleene's conjunction."""
    return False if False in items else None if None in items else True


def some(items: tuple[bool | None, ...]) -> bool | None:
    """Return Kleene's disjunction."""
    return True if True in items else None if None in items else False


Condition = Callable[[list[Any], int], tuple[bool, int]]

# A tracker of ``held``: [consumed up to (not yet looked at there), start of the run before that or -1,
#                         looked ahead to, start of the run there, next change after it]


def follow(condition: Condition, x: list[Any], begin: int, run: int, end: int) -> tuple[int, int]:
    """Follow a condition from ``begin`` to ``end``; return where its current run of truth began (-1: none) and its next change."""
    while True:
        truth, due = condition(x, begin)
        if not truth:
            run = -1
        elif run < 0:
            run = begin
        if due > end:
            return run, due
        begin = due


def advance(condition: Condition, x: list[Any], slot: int, at: int) -> bool:
    """Get a tracker ready for an event at ``at``; False when the event comes too late for it."""
    tracker = x[slot]
    if tracker is None:
        tracker = x[slot] = [0, -1, NEVER, -1, NEVER]
    consumed = tracker[0]
    if at < consumed:
        return False
    if at > consumed:
        tracker[1] = follow(condition, x, consumed, tracker[1], at - 1)[0]
        tracker[0] = at
    tracker[2] = NEVER
    return True


def held(condition: Condition, x: list[Any], slot: int, duration: int, now: int) -> tuple[bool, int]:
    """Return whether the condition was true throughout ``[now - duration, now]``, and when that next changes by itself.

    Looks ahead without consuming, so that an event with an earlier time than ``now`` is not late.
    """
    tracker = x[slot]
    if tracker is None:
        tracker = x[slot] = [0, -1, NEVER, -1, NEVER]
    if now < tracker[2]:
        run, due = follow(condition, x, tracker[0], tracker[1], now)
    elif now < tracker[4]:
        run, due = tracker[3], tracker[4]
    else:
        run, due = follow(condition, x, tracker[4], tracker[3], now)
    tracker[2], tracker[3], tracker[4] = now, run, due
    if run < 0:
        return False, due
    if run == 0 or run <= now - duration:
        return True, due
    return False, min(due, run + duration)
