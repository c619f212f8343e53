"""Law 1, one meaning: every SQL engine and the reference agree on every expression, history and instant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from expr.engines import ENGINES, Engine, opened
from laws.strategies import arrivals, conditions, expressions, instants, moving, seeds
from tailorbird.core.event import Event
from tailorbird.expr import nodes as n
from tailorbird.expr.evaluate import History, changes, evaluate
from tailorbird.expr.sql import compile_count, compile_members, compile_table, compile_wakes
from tailorbird.expr.types import Type

THOROUGH = os.environ.get("TAILORBIRD_THOROUGH") == "1"
PHASES = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]


def looks(few: int, many: int) -> Any:
    """How many examples a law takes."""
    return settings(
        max_examples=many if THOROUGH else few,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=PHASES,
        print_blob=True,
    )


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with opened(request.param) as found:
        yield found


@st.composite
def crowds(draw: st.DrawFn) -> dict[int, History]:
    """Some profiles with their histories; sequence numbers are theirs alone."""
    found = {}
    for key in range(1, draw(st.integers(1, 4)) + 1):
        events = [msgspec.structs.replace(event, profile=key, seq=event.seq * 10 + key) for event in draw(arrivals())]
        found[key] = History(draw(seeds()), events)
    return found


def load(engine: Engine, crowd: dict[int, History]) -> list[Event]:
    """Put everybody into the engine's tables; return all events."""
    events = [event for history in crowd.values() for event in history.events]
    engine.load([(key, "person", history.seed, None) for key, history in crowd.items()], events)
    return events


def same(left: Any, right: Any) -> bool:
    """Equal, and of one type: true is not 1, 1.0 is not 1."""
    return type(left) is type(right) and left == right


@given(st.data())
@looks(60, 3_000)
def test_values_in_sql_are_what_the_reference_says(engine: Engine, data: st.DataObject) -> None:
    typed = st.sampled_from(list(Type)).flatmap(lambda kind: st.tuples(expressions(kind), st.just(kind)))
    chosen = {f"f{place}": pair for place, pair in enumerate(data.draw(st.lists(typed, min_size=1, max_size=8)))}
    crowd = data.draw(crowds())
    events = load(engine, crowd)
    together = n.And(items=tuple(node for node, _ in chosen.values()))
    for instant in data.draw(st.lists(instants(events, together), min_size=1, max_size=2)):
        found = engine.values(chosen, instant)
        assert set(found) == set(crowd)
        for key, history in crowd.items():
            for name, (node, _) in chosen.items():
                expected = evaluate(node, history, instant)
                assert same(found[key][name], expected), f"{node} of {key} at {instant}: {found[key][name]!r} is not {expected!r}"


@given(st.data())
@looks(25, 1_000)
def test_members_counts_and_tables_hold_whom_the_reference_admits(engine: Engine, data: st.DataObject) -> None:
    chosen = {f"c{place}": node for place, node in enumerate(data.draw(st.lists(conditions(), min_size=1, max_size=4)))}
    crowd = data.draw(crowds())
    events = load(engine, crowd)
    instant = data.draw(instants(events, n.And(items=tuple(chosen.values()))))
    table = engine.run(compile_table(chosen, instant, engine.dialect))
    for place, node in enumerate(chosen.values(), 1):
        expected = [key for key, history in crowd.items() if evaluate(node, history, instant) is True]
        assert sorted(row[0] for row in table if row[place]) == expected
    node = chosen["c0"]
    expected = [key for key, history in crowd.items() if evaluate(node, history, instant) is True]
    assert [row[0] for row in engine.run(compile_members(node, instant, engine.dialect))] == expected
    second = engine.run(compile_members(node, instant, engine.dialect, after=1, limit=1))
    assert [row[0] for row in second] == [key for key in expected if key > 1][:1]
    assert engine.run(compile_count(node, instant, engine.dialect)) == [(len(expected),)]


@given(st.data())
@looks(40, 2_000)
def test_nothing_changes_before_the_instant_that_sql_predicts(engine: Engine, data: st.DataObject) -> None:
    node = data.draw(st.one_of(conditions(), moving()))
    crowd = data.draw(crowds())
    events = load(engine, crowd)
    instant = max([data.draw(instants(events, node)), *(event.at for event in events)])
    dues = dict(engine.run(compile_wakes(node, instant, engine.dialect)))
    for key, history in crowd.items():
        due = dues.get(key, 2**63 - 1)
        assert due > instant
        truth = evaluate(node, history, instant) is True
        end = min(due - 1, instant + 10**14)
        for place, moment in enumerate([*changes(node, history, instant, end), end]):
            assert (evaluate(node, history, moment) is True) is truth, (
                f"{node} of {key} at {instant}: due {due} but changes at {moment}"
            )
            if place > 50:
                break
