"""Changing definitions: planned, carried out while nothing else runs, and told in the log so that replay can do it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec

from tailorbird.core.deadline import Deadline
from tailorbird.core.definition import Definition, Status
from tailorbird.core.event import SEGMENT_ENTERED, SEGMENT_EXITED, Event, Json
from tailorbird.core.ids import digest
from tailorbird.definitions import lifecycle
from tailorbird.definitions.files import What
from tailorbird.definitions.lifecycle import Applied, Plan
from tailorbird.engine import staging
from tailorbird.engine.parts import Parts
from tailorbird.ports import Store, Unit
from tailorbird.profiles.records import RECORD_TYPES, records_of
from tailorbird.runtime.ingest import OWN_IDS
from tailorbird.runtime.replay import ACTIVATED, ARCHIVED
from tailorbird.segments.backfill import arm_timers, compute_members, no_earlier, write_members
from tailorbird.segments.preview import Preview

__all__ = ["apply", "carry_out", "check", "is_untold", "mend_log", "previews", "rebuild_records", "recompute"]


def apply(parts: Parts, what: What, *, activate: bool) -> Applied:
    """Check, store and (when asked) activate definitions."""
    return carry_out(parts, lambda: lifecycle.plan(parts.store, what, parts.now(), activate=activate))


def check(parts: Parts, what: What) -> Applied:
    """Return what applying would do to which definitions, in the shape of its outcome; nothing is written."""
    made = lifecycle.plan(parts.store, what, parts.now())
    return Applied(made.activate, made.save, made.archive, made.unchanged)


def carry_out(parts: Parts, planned: Callable[[], Plan]) -> Applied:
    """Plan and execute while nothing else runs, in no other process either; members are current and served when this returns."""
    loop, store = parts.loop, parts.store
    with parts.work.doing("A change of definitions"), loop.exclusive():
        loop.recover()
        now = parts.now()
        loop.fire(now)
        before = store.last_seq()
        made = planned()
        moves = made.before.lifecycle != made.catalog.lifecycle
        if moves:
            staging.begin(store)
        if not made:
            return lifecycle.execute(made, store, store.batch(), now)
        try:
            done = lifecycle.execute(made, store, store.batch(), now, tell=partial(tell, store), served=loop.refresh)
        finally:
            loop.last = max(loop.last, now)
            loop.refresh()
        _follow_up(parts, before, now)
        if moves:
            staging.settle(parts, now)
        return done


def _follow_up(parts: Parts, before: int, now: int) -> None:
    """Where conditions ask for segment events, look again at those whom an activation gave some."""
    if parts.loop.program.types.isdisjoint((SEGMENT_ENTERED, SEGMENT_EXITED)):
        return
    touched: dict[int, None] = {}
    while page := parts.store.events(after=before, limit=10_000):
        touched |= dict.fromkeys(event.profile for event in page if event.type in (SEGMENT_ENTERED, SEGMENT_EXITED))
        before = page[-1].seq
    parts.loop.look_again(list(touched), now, why="activation")


def previews(parts: Parts, what: What, *, sample: int, deadline: Deadline | None = None) -> list[Preview]:
    """Return for every segment that would be new, changed or ended what activating would do."""
    store, now = parts.store, parts.now()
    made = lifecycle.plan(store, what, now)
    batch = store.batch() if deadline is None else store.batch().until(deadline)
    return list(lifecycle.preview(made, store, batch, now, sample=sample))


def recompute(parts: Parts, now: int, *, since: int = 0) -> None:
    """Bring everything derived up to date set-based, after histories changed behind the loop's back.

    ``since`` is the number of the last event before they did. What the loop knows of definitions must be current. Other
    processes wait where they wrote while members were computed.
    """
    store, catalog = parts.store, parts.loop.catalog
    batch = store.batch()
    members = compute_members(batch, catalog.conditions, now)
    with store.alone() as kept:
        if not kept:
            now = no_earlier(store, now)
            members = compute_members(batch, catalog.conditions, now)
        write_members(store, members, catalog.versions, now)
    arm_timers(store, batch, catalog.conditions, now)
    lifecycle.refresh(store, catalog.conditions, now)
    rebuild_records(store, since)
    staging.settle(parts, now)


def rebuild_records(store: Store, since: int) -> None:
    """Fold the notes, tasks and deals of everybody who has news of them numbered above ``since``."""
    keys = store.told_of(RECORD_TYPES, since)
    for start in range(0, len(keys), 1_000):
        some = keys[start : start + 1_000]
        histories = store.history(some, RECORD_TYPES)
        store.replace_records(some, [row for key in some for row in records_of(key, histories.get(key, ()))])


def tell(store: Store, done: Applied, now: int) -> None:
    """Write events for the definitions that became active and ceased to be."""
    replaced = {(item.kind, item.name) for item in done.activated}
    events = [(ACTIVATED, item) for item in done.activated]
    events += [(ARCHIVED, item) for item in done.archived if (item.kind, item.name) not in replaced]
    _write(store, events, now)


def mend_log(store: Store) -> None:
    """Write the events that a crash kept from being written: the log's last word on every definition is what is active."""
    missing = _untold(store)
    if missing:
        _write(store, missing, max((d.archived_at if t == ARCHIVED else d.activated_at) or 0 for t, d in missing))


def is_untold(store: Store) -> bool:
    """Return whether the log's last word on some definition is not what is active."""
    return bool(_untold(store))


def _untold(store: Store) -> list[tuple[str, Definition]]:
    last = {
        (event.data["kind"], event.data["name"]): (event.type, event.data["version"], event.data.get("activated_at"))
        for event in sorted(store.history([0], (ACTIVATED, ARCHIVED)).get(0, ()), key=lambda event: event.seq)
    }
    active = {(item.kind, item.name): item for item in store.definitions(status=Status.ACTIVE)}
    missing = [(ACTIVATED, d) for key, d in active.items() if last.get(key) != (ACTIVATED, d.version, d.activated_at)]
    for key, (type_, version, _) in last.items():
        if type_ == ACTIVATED and key not in active:
            missing += [(ARCHIVED, d) for d in store.definitions(kind=key[0], name=key[1]) if d.version == version]
    return missing


def _write(store: Store, told: Sequence[tuple[str, Definition]], now: int) -> None:
    if not told:
        return
    with store.alone():
        seq, now = store.last_seq(), no_earlier(store, now)
        unit = Unit()
        unit.events = list(_events(told, now, seq, digest("change", str(now), str(seq))))
        store.commit(unit)


def _events(told: Sequence[tuple[str, Definition]], now: int, seq: int, change: str) -> Iterable[Event]:
    for number, (type_, item) in enumerate(told, 1):
        data: dict[str, Json] = {"change": change, **msgspec.to_builtins(item)}
        for name in ("status", "fresh_at", "error", "archived_at"):
            data.pop(name, None)
        yield Event(
            id=f"{OWN_IDS}{digest(type_, item.kind, item.name, str(item.version), change)}", type=type_, profile=0, at=now,
            received_at=now, source="definitions", data=data, seq=seq + number,
        )  # fmt: skip
