"""The reference evaluator gives what the cases say."""

from __future__ import annotations

import pytest

from expr.cases import Case, load_cases
from tailorbird.core.event import Event
from tailorbird.expr import nodes as n
from tailorbird.expr.evaluate import History, changes, evaluate
from tailorbird.expr.types import Type

CASES = list(load_cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_reference_gives_the_value_of_every_case(case: Case) -> None:
    history = History(case.seed, case.events)
    for instant, expected in case.expected:
        found = evaluate(case.node, history, instant)
        assert type(found) is type(expected)
        assert found == expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_between_two_candidate_instants_a_condition_does_not_change(case: Case) -> None:
    if not isinstance(evaluate(case.node, History(case.seed, []), 1), bool) or not case.expected:
        return
    history = History(case.seed, case.events)
    since = min(instant for instant, _ in case.expected) - 1_000
    before, value = since, evaluate(case.node, history, since)
    for place, instant in enumerate(changes(case.node, history, since, since + 10**9)):
        assert instant > before
        assert evaluate(case.node, history, instant - 1) == value
        before, value = instant, evaluate(case.node, history, instant)
        if place > 30:
            break


def event(seq: int, at: int, id: str | None = None) -> Event:
    return Event(id=id or f"e{seq}", type="a", profile=1, at=at, received_at=99, seq=seq)


def test_an_event_id_counts_once_by_its_first_arrival() -> None:
    history = History(1, [event(3, 5, "x"), event(2, 7, "x"), event(1, 9)])
    assert [(kept.seq, kept.at) for kept in history.events] == [(2, 7), (1, 9)]


def test_the_window_is_open_at_its_beginning_and_closed_at_its_end() -> None:
    node = n.Aggregate(fn="count", event="a", within=10)
    history = History(1, [event(1, 100)])
    assert [evaluate(node, history, instant) for instant in (99, 100, 109, 110)] == [0.0, 1.0, 1.0, 0.0]


def test_held_is_true_from_the_beginning_where_nothing_was_ever_otherwise() -> None:
    node = n.Held(condition=n.Not(item=n.Did(event="a")), duration=10**13)
    history = History(1, [event(1, 100)])
    assert [evaluate(node, history, instant) for instant in (1, 99, 100)] == [True, True, False]


def test_changes_of_a_comparison_with_the_clock_are_where_it_meets_and_where_it_passes() -> None:
    latest = n.TimeSince(event="a")
    node = n.Compare(op="<", left=latest, right=n.Literal(value=10, type=Type.DURATION))
    assert list(changes(node, History(1, [event(1, 100)]), 50, 1_000)) == [100, 110, 111]


def test_a_surface_node_is_refused() -> None:
    with pytest.raises(TypeError, match=r"check\.resolve"):
        evaluate(n.HasTag(tag="vip"), History(1, []), 1)
