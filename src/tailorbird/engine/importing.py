"""Importing while serving: the file is read aside, and the loop is held for one portion of the work at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from tailorbird.definitions import lifecycle
from tailorbird.engine import staging
from tailorbird.engine.authoring import rebuild_records
from tailorbird.engine.parts import Parts
from tailorbird.runtime.imports.settling import settled
from tailorbird.runtime.imports.turns import Turns
from tailorbird.segments.backfill import arm_timers, compute_members, write_members

if TYPE_CHECKING:
    from tailorbird.runtime.imports import Report

__all__ = ["load", "turn"]

_TOGETHER: Final = 4
"""Segments whose members are brought up to date in one turn."""

_COURTESY: Final = 20
"""How often an import looks whether others still wait before it takes its next turn, five ms apart: a lock alone is not fair."""


def load(
    parts: Parts, importer: Any, path: str | Path, mapping: Mapping[str, str] | None, options: Mapping[str, Any], one: Lock
) -> Report:
    """Import a file, then bring memberships and timers up to date; others take events in between, one turn each.

    Two imports do not run at once (``one``): each says at its end that memberships have followed all that was imported.
    """
    if options.get("dry_run"):
        return importer(  # type: ignore[no-any-return]
            parts.store, path, mapping, now=parts.now(), region=parts.region, rule=parts.loop.rule, **options
        )
    with one, parts.work.doing(f"An import of {Path(path).name}") as held:
        told = options.get("progress")

        def progress(done: int, total: int) -> None:
            held.check()
            if told is not None:
                told(done, total)

        options = {**options, "progress": progress}
        before = parts.store.last_seq()
        turns = Turns(lambda: turn(parts), lambda events: parts.loop.take(events, parts.now()))
        report: Report = importer(
            parts.store, path, mapping, now=parts.now(), region=parts.region, rule=parts.loop.rule, turns=turns, **options
        )
        if report.touched:
            _follow(parts, before)
        return report


@contextmanager
def turn(parts: Parts) -> Iterator[int]:
    """Be alone for one portion of work, after the timers that are due; give its instant. Caches begin anew afterwards."""
    loop = parts.loop
    for _ in range(_COURTESY):
        if not loop.waiting:
            break
        time.sleep(0.005)
    with loop.exclusive():
        loop.recover()
        if parts.store.others_wrote():
            loop.refresh()
        now = parts.now()
        loop.fire(now)
        try:
            yield now
        finally:
            loop.last = max(loop.last, now)
            loop.refresh()


def _follow(parts: Parts, before: int) -> None:
    """Bring all that is derived up to date, some segments a turn; what changes in between the loop sees to.

    ``before`` is the number of the last event before the import.
    """
    names = sorted(parts.catalog.conditions)
    for start in range(0, len(names), _TOGETHER):
        with turn(parts) as now:
            catalog, batch = parts.catalog, parts.store.batch()
            chosen = {name: catalog.conditions[name] for name in names[start : start + _TOGETHER] if name in catalog.conditions}
            write_members(parts.store, compute_members(batch, chosen, now), catalog.versions, now)
            lifecycle.refresh(parts.store, chosen, now)
    for name in names:
        with turn(parts) as now:
            if (node := parts.catalog.conditions.get(name)) is not None:
                arm_timers(parts.store, parts.store.batch(), {name: node}, now)
    with turn(parts) as now:
        rebuild_records(parts.store, before)
        staging.settle(parts, now)
    with turn(parts):
        settled(parts.store)
