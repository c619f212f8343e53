"""The life cycle over a real store: versions, previews, backfills, conflicts, rolling back, and crashes in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from tailorbird.core.context import DAY
from tailorbird.core.definition import Definition, Status
from tailorbird.core.event import Event
from tailorbird.core.ids import bucket_seed
from tailorbird.core.profile import Profile
from tailorbird.definitions import lifecycle
from tailorbird.definitions.plan import Plan
from tailorbird.errors import Conflict, InvalidDefinition, NotFound, Unavailable
from tailorbird.expr.nodes import Node
from tailorbird.ports import Batch, Store, Unit
from tailorbird.segments.preview import current_members
from tailorbird.storage import open_store

NOW = 1_790_000_000_000


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = open_store(store_url)
    unit = Unit()
    for key in range(1, 11):
        attributes = {"number": key, "first_name": f"Name{key}", "last_name": "Test"}
        past = NOW - 9 * DAY
        seed = bucket_seed(f"p_{key}")
        unit.profiles[key] = Profile(key=key, id=f"p_{key}", bucket=seed, created_at=past, attributes=attributes)
        data = {"attributes": attributes}
        named = Event(
            id=f"e{key}", seq=2 * key - 1, type="profile.updated", profile=key, origin=key, at=past, received_at=past, data=data
        )
        visited = Event(id=f"v{key}", seq=2 * key, type="visited", profile=key, origin=key, at=NOW - key * DAY, received_at=NOW)
        unit.events += [named, visited]
    opened.claim()
    assert opened.commit(unit)
    yield opened
    opened.close()


def apply(store: Store, *documents: Mapping[str, Any], now: int = NOW, batch: Batch | None = None) -> lifecycle.Applied:
    made = lifecycle.plan(store, list(documents), now)
    return lifecycle.execute(made, store, batch or store.batch(), now)


def segment(name: str, when: str, **more: Any) -> dict[str, Any]:
    return {"kind": "segment", "name": name, "when": when, **more}


def feature(name: str, value: str, **more: Any) -> dict[str, Any]:
    return {"kind": "feature", "name": name, "value": value, **more}


def members(store: Store, name: str) -> list[int]:
    return list(current_members(store, name))


def active(store: Store, kind: str, name: str) -> Definition:
    return store.definitions(kind=kind, name=name, status=Status.ACTIVE)[0]


def test_applying_serves_members_records_events_and_sets_timers(store: Store) -> None:
    done = apply(store, segment("recent", "did(visited, within 3d)"))
    assert members(store, "recent") == [1, 2]
    assert (done.segments["recent"].size, done.segments["recent"].entered) == (2, 2)
    entered = [e for e in store.events(limit=100) if e.type == "segment.entered"]
    assert [(e.profile, e.data["segment"], e.data["version"], e.data["reason"]) for e in entered] == [
        (1, "recent", 1, "activation"), (2, "recent", 1, "activation"),
    ]  # fmt: skip
    due = {row.profile: row.due for row in store.due_timers(NOW + 30 * DAY)}
    assert NOW < due[1] <= NOW + 2 * DAY and NOW < due[2] <= NOW + DAY
    assert active(store, "segment", "recent").fresh_at == NOW


def test_the_same_again_changes_nothing_and_a_change_is_the_next_version(store: Store) -> None:
    apply(store, segment("low", "number <= 3"))
    again = lifecycle.plan(store, [segment("low", "number   <= 3")], NOW + 1)
    assert not again and again.unchanged == (("segment", "low"),)
    done = apply(store, segment("low", "number <= 5"), now=NOW + 2)
    assert done.activated[0].version == 2
    assert [(d.version, d.status) for d in store.definitions(kind="segment", name="low")] == [(1, "archived"), (2, "active")]
    assert members(store, "low") == [1, 2, 3, 4, 5]
    assert (done.segments["low"].entered, done.segments["low"].exited) == (2, 0)


def test_new_words_about_a_segment_are_a_version_but_move_nobody(store: Store) -> None:
    apply(store, segment("low", "number <= 3"))
    done = apply(store, segment("low", "number <= 3", description="small ones"), now=NOW + 1)
    assert done.activated[0].version == 2 and not done.segments


def test_a_changed_feature_backfills_the_segments_that_use_it_also_through_others(store: Store) -> None:
    apply(
        store, feature("double", "number * 2"), segment("a", 'feature("double") > 10'), segment("b", 'not member_of("a")'),
        segment("c", "number = 1"),
    )  # fmt: skip
    assert members(store, "a") == [6, 7, 8, 9, 10]
    done = apply(store, feature("double", "number * 3"), now=NOW + 1)
    assert set(done.segments) == {"a", "b"}
    assert members(store, "a") == [4, 5, 6, 7, 8, 9, 10] and members(store, "b") == [1, 2, 3]
    assert active(store, "segment", "a").version == 1


def test_what_would_break_something_active_is_a_conflict_that_names_it(store: Store) -> None:
    apply(store, feature("double", "number * 2"), segment("a", 'feature("double") > 10'))
    with pytest.raises(Conflict, match="would break segment a"):
        lifecycle.plan(store, [feature("double", '"two"')], NOW)
    with pytest.raises(Conflict, match="feature double cannot be archived: segment a needs it"):
        lifecycle.plan_archive(store, "feature", "double")
    both = [feature("double", '"two"'), segment("a", 'feature("double") = "two"')]
    assert lifecycle.plan(store, both, NOW)


def test_archiving_lets_everybody_leave_and_dependents_go_first(store: Store) -> None:
    apply(store, segment("a", "number > 8"), segment("b", 'member_of("a")'))
    for name in ("b", "a"):
        made = lifecycle.plan_archive(store, "segment", name)
        done = lifecycle.execute(made, store, store.batch(), NOW + 1)
        assert done.segments[name].exited == 2 and members(store, name) == []
    assert store.definitions(status=Status.ACTIVE) == []
    assert not lifecycle.plan_archive(store, "segment", "a")


def test_rolling_back_makes_the_version_before_active_again_as_it_was(store: Store) -> None:
    apply(store, segment("low", "number <= 3"))
    apply(store, segment("low", "number <= 5"), now=NOW + 1)
    made = lifecycle.plan_roll_back(store, "segment", "low")
    lifecycle.execute(made, store, store.batch(), NOW + 2)
    assert active(store, "segment", "low").version == 1 and members(store, "low") == [1, 2, 3]
    with pytest.raises(Conflict, match="no earlier version"):
        lifecycle.plan_roll_back(store, "segment", "low")
    apply(store, segment("low", "number <= 5"), now=NOW + 3)
    assert active(store, "segment", "low").version == 3


def test_a_preview_says_who_would_come_and_go_and_writes_nothing(store: Store) -> None:
    apply(store, segment("low", "number <= 3"))
    made = lifecycle.plan(store, [segment("low", 'number > 2 and not member_of("one")'), segment("one", "number = 3")], NOW)
    one, low = lifecycle.preview(made, store, store.batch(), NOW)
    assert (one.segment, low.segment) == ("one", "low")
    assert (low.size, low.total, low.percent, low.entering, low.leaving) == (7, 10, 70.0, 7, 3)
    assert [person.name for person in low.leaving_sample] == ["Name1 Test", "Name2 Test", "Name3 Test"]
    assert low.needs == ("segment one",) and low.explanation
    assert members(store, "low") == [1, 2, 3] and len(store.definitions()) == 1


def test_checked_versions_are_replaced_in_place_until_one_is_active(store: Store) -> None:
    for limit in (3, 4):
        made = lifecycle.plan(store, [segment("low", f"number <= {limit}")], NOW, activate=False)
        lifecycle.record(made, store, Status.PREVIEWED)
    assert [(d.version, d.status) for d in store.definitions()] == [(1, "previewed")]
    lifecycle.execute(lifecycle.plan_activate(store, "segment", "low"), store, store.batch(), NOW)
    assert members(store, "low") == [1, 2, 3, 4]
    with pytest.raises(NotFound, match="no version 9; it has 1"):
        lifecycle.plan_activate(store, "segment", "low", 9)


def test_drafts_are_stored_and_activated_only_when_asked(store: Store) -> None:
    apply(store, segment("low", "number <= 3", draft=True), segment("high", "number > 3"))
    assert [(d.name, d.status) for d in store.definitions()] == [("high", "active"), ("low", "draft")]
    assert not lifecycle.plan(store, [segment("low", "number <= 3", draft=True)], NOW)
    lifecycle.execute(lifecycle.plan_activate(store, "segment", "low"), store, store.batch(), NOW)
    assert members(store, "low") == [1, 2, 3]


def test_what_needs_a_draft_is_told_so(store: Store) -> None:
    with pytest.raises(InvalidDefinition, match="low"):
        lifecycle.plan(store, [segment("low", "number <= 3", draft=True), segment("x", 'member_of("low")')], NOW)


def test_all_mistakes_of_fields_and_of_names_are_told_together(store: Store) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        lifecycle.plan(store, [segment("a", "x = 1", wen="?"), segment("b", 'member_of("a") and member_of("z")')], NOW)
    text = str(caught.value)
    assert len(caught.value.mistakes) == 2 and "wen" in text and "z" in text


class _Failing:
    """A batch engine that is out of order."""

    def tables(self, conditions: Mapping[str, Node], instant: int, *, kind: str = "person") -> dict[str, list[int]]:
        raise OSError("disk full")


def test_when_members_cannot_be_computed_the_old_stays_and_the_new_is_failed(store: Store) -> None:
    apply(store, segment("low", "number <= 3"))
    with pytest.raises(OSError, match="disk full"):
        apply(store, segment("low", "number <= 5"), now=NOW + 1, batch=_Failing())  # type: ignore[arg-type]
    states = [(d.version, d.status, d.error) for d in store.definitions(kind="segment", name="low")]
    assert states == [(1, "active", None), (2, "failed", "OSError")]
    assert members(store, "low") == [1, 2, 3]
    apply(store, segment("low", "number <= 5"), now=NOW + 2)
    assert (active(store, "segment", "low").version, active(store, "segment", "low").error) == (2, None)


class _Dying:
    """A store whose process dies at the n-th write."""

    def __init__(self, store: Store, writes: int) -> None:
        self._store, self._left = store, writes

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in ("save_definition", "set_meta", "replace_members", "arm"):
            return found

        def write(*args: Any, **kwargs: Any) -> Any:
            if self._left == 0:
                raise KeyboardInterrupt
            self._left -= 1
            return found(*args, **kwargs)

        return write


@pytest.mark.parametrize("writes", range(16))
def test_an_activation_that_a_crash_interrupts_is_finished_or_was_never_begun(store: Store, writes: int) -> None:
    apply(store, segment("low", "number <= 3"), segment("recent", "did(visited, within 3d)"))
    documents = [segment("low", "number <= 5"), segment("recent", "did(visited, within 5d)")]
    made: Plan = lifecycle.plan(store, documents, NOW + 1)
    try:
        lifecycle.execute(made, _Dying(store, writes), store.batch(), NOW + 1)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        lifecycle.resume(store, store.batch(), NOW + 2)
    assert lifecycle.resume(store, store.batch(), NOW + 3) is None
    version = active(store, "segment", "low").version
    assert active(store, "segment", "recent").version == version
    assert members(store, "low") == ([1, 2, 3, 4, 5] if version == 2 else [1, 2, 3])
    assert members(store, "recent") == ([1, 2, 3, 4] if version == 2 else [1, 2])
    assert len(_changes(store, "low")) == len(set(_changes(store, "low"))) == (5 if version == 2 else 3)
    if version == 2:
        due = {row.profile: row.due for row in store.due_timers(NOW + 30 * DAY)}
        assert NOW < due[4] <= NOW + 1 * DAY


def test_an_interrupted_activation_is_finished_before_the_next_which_is_asked_to_try_again(store: Store) -> None:
    made = lifecycle.plan(store, [segment("low", "number <= 3")], NOW)
    with pytest.raises(KeyboardInterrupt):
        lifecycle.execute(made, _Dying(store, 3), store.batch(), NOW)  # type: ignore[arg-type]
    later = lifecycle.plan(store, [segment("high", "number > 3")], NOW + 1)
    with pytest.raises(Unavailable, match="finished first"):
        lifecycle.execute(later, store, store.batch(), NOW + 1)
    assert members(store, "low") == [1, 2, 3] and active(store, "segment", "low").fresh_at == NOW + 1
    apply(store, segment("high", "number > 3"), now=NOW + 2)
    assert members(store, "high") == [4, 5, 6, 7, 8, 9, 10]


def test_a_version_that_was_never_active_can_be_archived(store: Store) -> None:
    apply(store, segment("low", "number <= 3", draft=True))
    lifecycle.execute(lifecycle.plan_archive(store, "segment", "low"), store, store.batch(), NOW + 1)
    assert [(d.status, d.archived_at) for d in store.definitions()] == [("archived", NOW + 1)]


def _changes(store: Store, name: str) -> Sequence[tuple[str, int]]:
    found: Iterable[Event] = store.events(limit=1000)
    return [(e.type, e.profile) for e in found if e.type.startswith("segment.") and e.data["segment"] == name]
