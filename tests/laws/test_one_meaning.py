"""Law 1, one meaning: the incremental evaluator and the reference agree on every expression, history and instant."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from laws.strategies import LAW, T0, anything, arrivals, conditions, instants, moving, seeds
from tailorbird.core.event import Event
from tailorbird.expr import nodes as n
from tailorbird.expr.evaluate import History, changes, evaluate
from tailorbird.expr.incremental import NEVER, Program, State


def same(left: Any, right: Any) -> bool:
    """Equal, and of one type: true is not 1, 1.0 is not 1."""
    return type(left) is type(right) and left == right


class Feed:
    """A profile as the loop would keep it: events arrive one by one, and too late ones make it start again."""

    def __init__(self, program: Program, seed: int) -> None:
        self.program = program
        self.seed = seed
        self.arrived: list[Event] = []
        self.ids: set[str] = set()
        self.state: State = program.start(seed)

    def restart(self) -> None:
        members = self.state.members
        self.state = self.program.start(self.seed, History(self.seed, self.arrived).events, members)

    def take(self, event: Event) -> None:
        if event.id in self.ids:
            return
        self.ids.add(event.id)
        self.arrived.append(event)
        if not self.program.fold(self.state, event):
            self.restart()

    @property
    def history(self) -> History:
        return History(self.seed, self.arrived)


@given(st.data())
@LAW
def test_memberships_are_what_the_reference_says_after_every_event_and_instant(data: st.DataObject) -> None:
    chosen = {f"c{place}": node for place, node in enumerate(data.draw(st.lists(conditions(), min_size=1, max_size=3)))}
    events = data.draw(arrivals())
    feed = Feed(Program(chosen), data.draw(seeds()))
    now = 1
    members: set[str] = set()
    waiting = list(events)
    moments = sorted(data.draw(st.lists(instants(events, n.And(items=tuple(chosen.values()))), min_size=2, max_size=8)))
    for moment in [*moments, moments[-1] + 10**6]:
        now = max(now, moment)
        # What happened by now may have arrived by now, or comes late.
        while waiting and waiting[0].at <= now and data.draw(st.booleans()):
            event = waiting.pop(0)
            feed.take(event)
            for change in feed.program.changes(feed.state, event.type, now):
                assert (change.name in members) is not change.entered
                (members.add if change.entered else members.discard)(change.name)
            check_members(feed, chosen, members, now)
        if data.draw(st.integers(0, 5)) == 0:
            feed.restart()
        kind = data.draw(st.sampled_from([None, "nothing", "a"]))
        for change in feed.program.changes(feed.state, kind, now):
            (members.add if change.entered else members.discard)(change.name)
        check_members(feed, chosen, members, now)


def check_members(feed: Feed, chosen: dict[str, n.Node], members: set[str], now: int) -> None:
    expected = {name for name, node in chosen.items() if evaluate(node, feed.history, now) is True}
    assert members == expected, f"at T0+{now - T0}"
    assert feed.state.members == members
    assert feed.state.due > now


@given(st.data())
@LAW
def test_nothing_changes_before_the_predicted_instant(data: st.DataObject) -> None:
    node = data.draw(st.one_of(conditions(), moving()))
    events = data.draw(arrivals())
    history = History(data.draw(seeds()), events)
    now = max([1, *(event.at for event in events)])
    now = max(now, data.draw(instants(events, node)))
    program = Program({"c": node})
    state = program.start(history.seed, history.events)
    for _ in range(6):
        program.changes(state, None, now)
        truth = evaluate(node, history, now) is True
        assert ("c" in state.members) is truth
        assert state.due > now
        end = min(state.due - 1, now + 10**14)
        for place, instant in enumerate(changes(node, history, now, end)):
            assert (evaluate(node, history, instant) is True) is truth, (
                f"T0+{now - T0} due T0+{state.due - T0} but changes at T0+{instant - T0}"
            )
            if place > 50:
                break
        if end > now:
            for instant in (end, data.draw(st.integers(now, end))):
                assert (evaluate(node, history, instant) is True) is truth, (
                    f"T0+{now - T0} due T0+{state.due - T0} but not at T0+{instant - T0}"
                )
        if state.due >= NEVER:
            break
        now = min(state.due, now + 10**14)


@given(st.data())
@LAW
def test_values_are_what_the_reference_says(data: st.DataObject) -> None:
    chosen = {f"f{place}": node for place, node in enumerate(data.draw(st.lists(anything(), min_size=1, max_size=3)))}
    events = data.draw(arrivals())
    feed = Feed(Program({}, chosen), data.draw(seeds()))
    names = tuple(chosen)
    now = 1
    waiting = list(events)
    together = n.And(items=tuple(chosen.values()))
    for moment in sorted(data.draw(st.lists(instants(events, together), min_size=1, max_size=4))):
        now = max(now, moment)
        while waiting and waiting[0].at <= now and data.draw(st.booleans()):
            feed.take(waiting.pop(0))
        expected = [evaluate(chosen[name], feed.history, now) for name in names]
        found = feed.program.values(feed.state, names, now)
        assert all(map(same, found, expected)), f"at T0+{now - T0}: {found} is not {expected}"
        assert same(feed.program.value(feed.state, names[0], now), expected[0])


@given(st.data())
@LAW
def test_no_value_that_stands_still_changes_before_the_predicted_instant(data: st.DataObject) -> None:
    node = data.draw(anything())
    events = data.draw(arrivals())
    history = History(data.draw(seeds()), events)
    now = max([1, *(event.at for event in events)])
    now = max(now, data.draw(instants(events, node)))
    program = Program({}, {"f": node})
    if program.moving(("f",)) == (True,):
        return
    state = program.start(history.seed, history.events)
    for _ in range(6):
        expected = evaluate(node, history, now)
        due = program.due(state, ("f",), now)
        assert due > now
        end = min(due - 1, now + 10**14)
        for place, instant in enumerate(changes(node, history, now, end)):
            assert same(evaluate(node, history, instant), expected), f"T0+{now - T0} due T0+{due - T0} but T0+{instant - T0}"
            if place > 50:
                break
        if end > now:
            for instant in (end, data.draw(st.integers(now, end))):
                assert same(evaluate(node, history, instant), expected), f"due T0+{due - T0} but not at T0+{instant - T0}"
        if due >= NEVER:
            break
        now = min(due, now + 10**14)
