"""The incremental evaluator gives what the cases say, bounded in memory and on time."""

from __future__ import annotations

import pytest

from expr.cases import Case, load_cases
from tailorbird.core.event import Event
from tailorbird.expr import nodes as n
from tailorbird.expr.check import Schema, resolve
from tailorbird.expr.evaluate import History
from tailorbird.expr.incremental import NEVER, Change, Program, State
from tailorbird.expr.parse import parse
from tailorbird.expr.types import Type

CASES = list(load_cases())
T = 1_700_000_000_000
DAY = 86_400_000


def condition(text: str) -> n.Node:
    return resolve(parse(text), Schema(), expect=Type.BOOL, text=text)


def event(seq: int, at: int, type: str = "a", **data: object) -> Event:
    return Event(id=f"e{seq}", type=type, profile=1, at=at, received_at=at, seq=seq, data=data)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_state_after_history_gives_the_value_of_every_case(case: Case) -> None:
    program = Program({}, {"x": case.node})
    history = History(case.seed, case.events)
    for instant, expected in case.expected:
        found = program.value(program.start(case.seed, history.until(instant)), "x", instant)
        assert type(found) is type(expected)
        assert found == expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_events_in_order_of_arrival_and_time_alone_give_the_memberships_of_every_case(case: Case) -> None:
    if not all(isinstance(value, bool | None) for _, value in case.expected):
        return
    program = Program({"x": case.node})
    for instant, expected in case.expected:
        known: list[Event] = []
        state = program.start(case.seed)
        for item in sorted(case.events, key=lambda item: item.seq):
            if item.at <= instant and item.id not in {other.id for other in known}:
                known.append(item)
                if not program.fold(state, item):
                    state = program.start(case.seed, History(case.seed, known).events, state.members)
                program.changes(state, item.type, max(other.at for other in known))
        earliest = instant - 3 * DAY  # a calendar's conditions are due every hour
        if state.due <= earliest:
            program.changes(state, None, max([earliest, *(item.at for item in known)]))
        while state.due <= instant:
            program.changes(state, "nothing", state.due)
        assert ("x" in state.members) is (expected is True)


def test_a_profile_leaves_when_the_window_passes_and_not_before() -> None:
    program = Program({"hot": condition("count(a, within 7d) >= 2")})
    state = program.start(1)
    for seq, at in enumerate((T, T + DAY), 1):
        program.fold(state, event(seq, at))
        last = program.changes(state, "a", at)
    assert last == [Change("hot", True)]
    assert state.due == T + 7 * DAY
    assert program.changes(state, None, T + 7 * DAY - 1) == []
    assert program.changes(state, None, T + 7 * DAY) == [Change("hot", False)]
    assert state.due == NEVER


def test_only_conditions_that_the_event_can_change_are_due_to_be_looked_at() -> None:
    program = Program({"a": condition("did(a)"), "b": condition("did(b)")})
    state = program.start(1)
    assert program.changes(state, None, T) == []
    program.fold(state, event(1, T, "a"))
    program.fold(state, event(2, T, "b"))
    assert program.changes(state, "a", T) == [Change("a", True)]
    assert program.types == {"a", "b"}


def test_a_late_event_counts_by_its_own_time() -> None:
    program = Program({"x": condition("count(a, within 7d) >= 2")})
    state = program.start(1)
    program.fold(state, event(1, T))
    assert program.changes(state, "a", T + DAY) == []
    assert program.fold(state, event(2, T - DAY))
    assert program.changes(state, "a", T + DAY) == [Change("x", True)]
    assert state.due == T + 6 * DAY


def test_an_event_too_late_for_a_sequence_asks_for_a_new_start() -> None:
    program = Program({"x": condition("sequence(a, b, within 1d)")})
    first, second = event(2, T, "a"), event(1, T + 5, "b")
    state = program.start(1)
    assert program.fold(state, second)
    assert not program.fold(state, first)
    again = program.start(1, [first, second], state.members)
    assert program.changes(again, None, T + 5) == [Change("x", True)]


def test_held_becomes_true_by_time_alone() -> None:
    program = Program({"x": condition('held(plan = "trial", for 7d)')})
    state = program.start(1)
    program.fold(state, event(1, T, "profile.updated", attributes={"plan": "trial"}))
    assert program.changes(state, "profile.updated", T) == []
    assert state.due == T + 7 * DAY
    assert program.changes(state, None, state.due) == [Change("x", True)]
    assert state.due == NEVER


def test_looking_ahead_of_an_event_does_not_make_it_late_for_held() -> None:
    program = Program({"x": condition('held(plan = "trial", for 1d)')})
    state = program.start(1)
    program.fold(state, event(1, T, "profile.updated", attributes={"plan": "trial"}))
    assert program.changes(state, None, T + 2 * DAY) == [Change("x", True)]
    assert program.fold(state, event(2, T + DAY, "profile.updated", attributes={"plan": "pro"}))
    assert program.changes(state, "profile.updated", T + 2 * DAY) == [Change("x", False)]


def entries(state: State) -> int:
    return sum(len(cell) for cell in state.x if isinstance(cell, list | dict | set))


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("count(a, within 365d) >= 5", 5),
        ("did(a, within 30d)", 0),
        ("count(a) >= 5 or time_since(a) > 3d", 0),
        ('sum("a".n, within 1d) > 5', 60),
        ('min("a".n, within 365d) < 0', 4),
        ('distinct("a".n, within 365d) > 1', 4),
        ("held(count(a, within 2h) > 1, for 1h)", 7),
        ("sequence(a, b, within 30d)", 3),
    ],
)
def test_state_is_bounded_however_long_the_history(text: str, most: int) -> None:
    program = Program({"x": condition(text)})
    state = program.start(1, (event(seq, T + seq * 3_600_000, "a", n=1) for seq in range(3_000)))
    program.changes(state, None, T + 3_000 * 3_600_000)
    assert entries(state) <= most


def test_a_condition_of_many_levels_compiles() -> None:
    node: n.Node = n.Did(event="a", within=DAY)
    for level in range(150):
        other = n.Did(event="b", within=DAY + level)
        node = (
            n.And(items=(n.Not(item=node), other)) if level % 3 else n.If(condition=node, then=other, otherwise=n.Not(item=other))
        )
    program = Program({"x": node}, {"v": node})
    state = program.start(1, [event(1, T, "b"), event(2, T + 1, "a")])
    program.changes(state, None, T + 1)
    assert ("x" in state.members) is program.value(state, "v", T + 1)
