"""What every batch engine must answer: what the reference evaluator says, also of merged, unmerged and forgotten people."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import postgres
from laws.strategies import arrivals, conditions, expressions, instants, seeds
from tailorbird.core.event import Event
from tailorbird.core.profile import Profile
from tailorbird.expr import nodes as n
from tailorbird.expr.evaluate import History, changes, evaluate
from tailorbird.expr.types import Type
from tailorbird.ports import Batch, Merge, Unit
from tailorbird.storage.batch.duck import DuckBatch
from tailorbird.storage.sql.query import SqlBatch
from tailorbird.storage.sql.store import SqlStore

MANY = 300 if os.environ.get("TAILORBIRD_THOROUGH") == "1" else 25
LOOKS = settings(
    max_examples=MANY, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)  # fmt: skip


@dataclass
class World:
    """A store with an engine over it, that crowds are added to one after another; each crowd is a kind of its own."""

    store: SqlStore
    batch: Batch
    crowds: int = 0
    key: int = 0
    seq: int = 0
    people: dict[int, Profile] = field(default_factory=dict)

    def admit(self, histories: list[History]) -> tuple[str, dict[int, History]]:
        """Store some people with their histories; return their kind and histories by key."""
        self.crowds += 1
        kind = f"crowd{self.crowds}"
        unit = Unit()
        found = {}
        keys = {}
        for history in histories:
            self.key += 1
            keys[id(history)] = self.key
            unit.profiles[self.key] = Profile(key=self.key, id=f"p_{self.key}", kind=kind, bucket=history.seed)
        arriving = sorted(
            ((event.seq, place, event) for place, h in enumerate(histories) for event in h.events), key=lambda a: a[:2]
        )
        mine: dict[int, list[Event]] = {key: [] for key in unit.profiles}
        for _, place, event in arriving:
            self.seq += 1
            key = keys[id(histories[place])]
            fresh = msgspec.structs.replace(
                event, profile=key, origin=key, seq=self.seq, id=f"e{self.seq}", received_at=max(event.at, event.received_at)
            )
            mine[key].append(fresh)
            unit.events.append(fresh)
        for history in histories:
            found[keys[id(history)]] = History(history.seed, mine[keys[id(history)]])
        self.store.claim()
        assert self.store.commit(unit)
        self.people.update(unit.profiles)
        return kind, found

    def join(self, winner: int, loser: int) -> str:
        """Merge two people."""
        unit = Unit()
        merge = Merge(id=f"m{self.seq}-{loser}", winner=winner, loser=loser, at=1, rule="test", reason="test")
        unit.merges.append(merge)
        unit.profiles[loser] = msgspec.structs.replace(self.people[loser], merged_into=winner)
        assert self.store.rekey(unit, loser=loser, winner=winner) is not False
        return merge.id

    def part(self, merge: str, winner: int, loser: int) -> None:
        """Take a merge back."""
        unit = Unit()
        unit.merges.append(Merge(id=merge, winner=winner, loser=loser, at=1, rule="test", reason="test", undone_at=2))
        unit.profiles[loser] = self.people[loser]
        assert self.store.unrekey(unit, winner=winner, origins=[loser], loser=loser) is not False


def on_sqlite(folder: Path) -> World:
    store = SqlStore(str(folder / "sql.db"))
    return World(store, SqlBatch(store.database))


def on_duckdb(folder: Path) -> World:
    store = SqlStore(str(folder / "duck.db"))
    batch = DuckBatch(folder / "duck.db", freshen=store.database.freshen, tail=40)
    store.listeners.append(batch.changed)
    return World(store, batch)


def on_postgres(folder: Path) -> World:
    try:
        store = SqlStore(postgres.fresh_database())
    except postgres.NoServer as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    return World(store, SqlBatch(store.database))


@pytest.fixture(scope="module", params=[on_sqlite, on_duckdb, pytest.param(on_postgres, marks=pytest.mark.postgres)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    make: Callable[[Path], World] = request.param
    found = make(tmp_path_factory.mktemp("batch"))
    yield found
    if isinstance(found.batch, DuckBatch):
        found.batch.close()
    url = found.store.url
    found.store.close()
    if found.store.postgres:
        postgres.drop_database(url)


@st.composite
def crowds(draw: st.DrawFn) -> list[History]:
    return [History(draw(seeds()), draw(arrivals())) for _ in range(draw(st.integers(2, 4)))]


def true_for(node: n.Node, crowd: dict[int, History], instant: int) -> list[int]:
    return [key for key in sorted(crowd) if evaluate(node, crowd[key], instant) is True]


def together(first: History, second: History, winner: int) -> History:
    return History(first.seed, [msgspec.structs.replace(e, profile=winner) for e in (*first.events, *second.events)])


def check_conditions(world: World, data: st.DataObject, kind: str, crowd: dict[int, History]) -> None:
    chosen = {f"c{place}": node for place, node in enumerate(data.draw(st.lists(conditions(), min_size=1, max_size=4)))}
    events = [event for history in crowd.values() for event in history.events]
    instant = data.draw(instants(events, n.And(items=tuple(chosen.values()))))
    expected = {name: true_for(node, crowd, instant) for name, node in chosen.items()}
    assert world.batch.tables(chosen, instant, kind=kind) == expected
    for name, node in chosen.items():
        assert world.batch.members(node, instant, kind=kind) == expected[name]
        assert world.batch.count(node, instant, kind=kind) == len(expected[name])
    first = min(crowd)
    assert (
        world.batch.members(chosen["c0"], instant, kind=kind, after=first, limit=1)
        == [k for k in expected["c0"] if k > first][:1]
    )


@given(st.data())
@LOOKS
def test_members_are_those_for_whom_the_reference_says_true(world: World, data: st.DataObject) -> None:
    kind, crowd = world.admit(data.draw(crowds()))
    check_conditions(world, data, kind, crowd)


@given(st.data())
@LOOKS
def test_values_are_what_the_reference_says(world: World, data: st.DataObject) -> None:
    _, crowd = world.admit(data.draw(crowds()))
    chosen = {
        f"f{i}": node
        for i, node in enumerate(data.draw(st.lists(st.sampled_from(list(Type)).flatmap(expressions), min_size=1, max_size=6)))
    }
    events = [event for history in crowd.values() for event in history.events]
    instant = data.draw(instants(events, n.And(items=tuple(chosen.values()))))
    found = world.batch.values(chosen, instant, list(crowd))
    for key, history in crowd.items():
        for name, node in chosen.items():
            value = evaluate(node, history, instant)
            assert (type(found[key][name]), found[key][name]) == (type(value), value), f"{node} of {key} at {instant}"


@given(st.data())
@LOOKS
def test_merged_unmerged_and_forgotten_people_are_followed(world: World, data: st.DataObject) -> None:
    kind, crowd = world.admit(data.draw(crowds()))
    check_conditions(world, data, kind, crowd)
    winner, loser = data.draw(st.permutations(sorted(crowd)))[:2]
    merge = world.join(winner, loser)
    joined = {key: history for key, history in crowd.items() if key != loser} | {
        winner: together(crowd[winner], crowd[loser], winner)
    }
    check_conditions(world, data, kind, joined)
    if data.draw(st.booleans()):
        world.part(merge, winner, loser)
        check_conditions(world, data, kind, crowd)
        joined = dict(crowd)
    world.store.forget(winner)
    del joined[winner]
    check_conditions(world, data, kind, joined or {winner: History(1, [])}) if joined else None


@given(st.data())
@LOOKS
def test_nobody_changes_before_the_wake_that_is_given(world: World, data: st.DataObject) -> None:
    kind, crowd = world.admit(data.draw(crowds()))
    node = data.draw(conditions())
    events = [event for history in crowd.values() for event in history.events]
    instant = max([data.draw(instants(events, node)), *(event.at for event in events)])
    dues = dict(world.batch.wakes(node, instant, kind=kind))
    for key, history in crowd.items():
        due = dues.get(key, 2**63 - 1)
        assert due > instant
        truth = evaluate(node, history, instant) is True
        end = min(due - 1, instant + 10**14)
        for moment in [*changes(node, history, instant, end), end][:50]:
            assert (evaluate(node, history, moment) is True) is truth
