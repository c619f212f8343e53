"""The life cycle of definitions over a store: check, preview, activate, roll back, archive, and resume after a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from tailorbird.core.definition import Definition, Kind, Status
from tailorbird.definitions.catalog import Catalog
from tailorbird.definitions.files import EXPRESSIONS, Document, What
from tailorbird.definitions.plan import Plan, current, plan, plan_activate, plan_archive, plan_roll_back, stamped
from tailorbird.errors import TailorbirdError, Unavailable
from tailorbird.expr.explain import explain
from tailorbird.expr.parse import parse
from tailorbird.ports import Batch, Store
from tailorbird.segments.backfill import (
    TIMER_KEY,
    Backfilled,
    arm_timers,
    compute_members,
    compute_wakes,
    no_earlier,
    write_members,
)
from tailorbird.segments.preview import Preview, population
from tailorbird.segments.preview import preview as preview_segment

__all__ = [
    "Applied", "Plan", "check", "execute", "interrupted", "plan", "plan_activate", "plan_archive", "plan_roll_back",
    "preview", "record", "refresh", "resume",
]  # fmt: skip

PENDING = "activation"
"""The meta key under which an activation that has begun is noted until it is finished."""


class _Pending(msgspec.Struct):
    """What an activation still has to do; written before its first visible change, so that a crash cannot lose the rest."""

    at: int
    stage: str  # members, then timers
    activate: list[tuple[str, str, int]] = []
    archive: list[tuple[str, str, int]] = []
    segments: list[str] = []
    retire: list[tuple[str, int]] = []


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a plan: definitions by what happened to them, and the segments whose members were computed anew."""

    activated: tuple[Definition, ...] = ()
    saved: tuple[Definition, ...] = ()
    archived: tuple[Definition, ...] = ()
    unchanged: tuple[tuple[str, str], ...] = ()
    segments: Mapping[str, Backfilled] = field(default_factory=dict)


def check(store: Store, what: What | Iterable[Document], now: int) -> Catalog:
    """Return the catalog as it would be; raises what ``plan`` raises. Nothing is written."""
    return plan(store, what, now).catalog


def record(made: Plan, store: Store, status: Status = Status.CHECKED) -> tuple[Definition, ...]:
    """Store the new versions of a plan without activating them (drafts stay drafts); return them."""
    saved = tuple(d if d.status == Status.DRAFT else msgspec.structs.replace(d, status=status) for d in made.save)
    for item in saved:
        store.save_definition(item)
    return saved


def preview(made: Plan, store: Store, batch: Batch, now: int, *, sample: int = 10) -> tuple[Preview, ...]:
    """Return what the plan would do to each segment whose members it computes or ends; nothing is written.

    All conditions are evaluated together, as of now.
    """
    members = compute_members(batch, {name: made.catalog.conditions[name] for name in made.backfill}, now)
    total = population(batch, now)
    shown = []
    for name in made.backfill:
        needs = sorted(f"{kind} {other}" for kind, other in made.catalog.needs[Kind.SEGMENT, name])
        text = explanation(made.catalog.definitions[Kind.SEGMENT, name])
        shown.append(
            preview_segment(store, name, members[name], instant=now, total=total, sample=sample, explanation=text, needs=needs)
        )
    shown += [preview_segment(store, name, (), instant=now, total=total, sample=sample) for name in made.retire]
    return tuple(shown)


def explanation(definition: Definition) -> str:
    """Return what a segment or feature says, in words."""
    if "members" in definition.spec:
        return "kept by hand"
    text = definition.spec.get(EXPRESSIONS.get(definition.kind, ""))
    return explain(parse(text)) if isinstance(text, str) else ""


def execute(
    made: Plan, store: Store, batch: Batch, now: int, *, tell: Callable[[Applied, int], None] | None = None,
    served: Callable[[], None] | None = None,
) -> Applied:  # fmt: skip
    """Carry a plan out: members are computed first, then versions switch, members are stored and timers are set.

    When members cannot be computed the new versions are marked ``failed`` with the error, what was active stays so, and
    the error is raised. The switch is one transaction. What other processes write while members are computed is not
    overlooked: then they are computed again while the others wait. ``tell`` is called within with what was done and when,
    ``served`` once members are stored: timers, of which there may be many more, are set after that.
    What an error interrupts later than that is finished by ``resume``, or by the next call, which then raises
    ``Unavailable`` because its plan was made in between.
    """
    earlier = _noted(store)
    if earlier is not None:
        resume(store, batch, now)
        if earlier.stage == "members":
            raise Unavailable("An earlier activation had been interrupted and was finished first.", hint="Apply again.")
    saved = record(made, store)
    if not made.activate and not made.archive and not made.backfill:
        return Applied(saved=saved, unchanged=made.unchanged)
    conditions = {name: made.catalog.conditions[name] for name in made.backfill}
    try:
        members = compute_members(batch, conditions, now)
        # Now rather than later: what is written in between would have to be brought into the columns first.
        wakes = compute_wakes(batch, conditions.values(), now)
    except Exception as error:
        _record_failure(made, store, error)
        raise
    pending = _Pending(
        at=now, stage="members",
        activate=[(d.kind, d.name, d.version) for d in made.activate],
        archive=[(d.kind, d.name, d.version) for d in made.archive],
        segments=list(made.backfill),
        retire=[(name, made.before.versions[name]) for name in made.retire],
    )  # fmt: skip
    _note(store, pending)
    with store.alone() as kept:
        if not kept:
            now = no_earlier(store, now)
            members = compute_members(batch, conditions, now)
            wakes = compute_wakes(batch, conditions.values(), now)
        archived = tuple(stamped(item, Status.ARCHIVED, now) for item in made.archive)
        activated = tuple(stamped(item, Status.ACTIVE, now) for item in made.activate)
        for item in (*archived, *activated):
            store.save_definition(item)
        done = write_members(store, members, made.catalog.versions, now)
        done |= write_members(store, {name: () for name, _ in pending.retire}, dict(pending.retire), now)
        refresh(store, made.backfill, now)
        applied = Applied(activated, saved, archived, made.unchanged, done)
        if tell is not None:
            tell(applied, now)
        pending.stage = "timers"
        _note(store, pending)
    if served is not None:
        served()
    store.arm(TIMER_KEY, wakes.items())
    store.set_meta(PENDING, "")
    return applied


def _arm(pending: _Pending, store: Store, batch: Batch, now: int) -> None:
    """Set the timers that an activation left to be set."""
    catalog = Catalog.build(current(store).values(), lenient=True)
    arm_timers(store, batch, {n: catalog.conditions[n] for n in pending.segments if n in catalog.conditions}, now)
    store.set_meta(PENDING, "")


def interrupted(store: Store) -> bool:
    """Return whether an activation has begun and not ended; it may be under way in another process."""
    return _noted(store) is not None


def resume(store: Store, batch: Batch, now: int) -> Applied | None:
    """Finish what a crash interrupted; to be called when nobody is at it any more. Return None when nothing was open."""
    pending = _noted(store)
    if pending is None:
        return None
    done: dict[str, Backfilled] = {}
    if pending.stage == "members":
        with store.alone():
            now = no_earlier(store, now)
            _switch(store, pending)
            catalog = Catalog.build(current(store).values(), lenient=True)
            live = {name: catalog.conditions[name] for name in pending.segments if name in catalog.conditions}
            done = write_members(store, compute_members(batch, live, now), catalog.versions, now)
            done |= write_members(store, {name: () for name, _ in pending.retire}, dict(pending.retire), now)
            refresh(store, live, now)
            pending.stage = "timers"
            _note(store, pending)
    _arm(pending, store, batch, now)
    return Applied(segments=done)


def refresh(store: Store, segments: Iterable[str], now: int) -> None:
    """Note that the members of these segments are current as of now, and that their last error is over."""
    for name in segments:
        for item in store.definitions(kind=Kind.SEGMENT, name=name, status=Status.ACTIVE):
            store.save_definition(msgspec.structs.replace(item, fresh_at=now, error=None))


def _switch(store: Store, pending: _Pending) -> None:
    versions = {(item.kind, item.name, item.version): item for item in store.definitions()}
    for keys, status in ((pending.archive, Status.ARCHIVED), (pending.activate, Status.ACTIVE)):
        for key in keys:
            item = versions.get(key)
            if item is not None and item.status != status:
                store.save_definition(stamped(item, status, pending.at))


def _record_failure(made: Plan, store: Store, error: Exception) -> None:
    told = error.message if isinstance(error, TailorbirdError) else type(error).__name__
    for item in made.activate:
        # a version that was active before keeps its standing; only its error is new
        status = item.status if item.activated_at is not None else Status.FAILED
        store.save_definition(msgspec.structs.replace(item, status=status, error=told[:500]))


def _note(store: Store, pending: _Pending) -> None:
    store.set_meta(PENDING, msgspec.json.encode(pending).decode())


def _noted(store: Store) -> _Pending | None:
    text = store.get_meta(PENDING)
    return msgspec.json.decode(text, type=_Pending) if text else None
