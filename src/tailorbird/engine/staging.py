"""Bringing everybody's stage up to date, set-based first: after a life cycle changed, or histories did behind the loop's back."""

from __future__ import annotations

from typing import Final

from tailorbird.engine.parts import Parts
from tailorbird.expr.nodes import Held, Node, Now, Sequence, TimeSince, walk
from tailorbird.ports import Store
from tailorbird.segments.backfill import arm_timers

__all__ = ["begin", "resume", "settle"]

_OPEN: Final = "stages"
"""The meta key that says that stages may be behind."""


def begin(store: Store) -> None:
    """Note, before a change of the life cycle is visible, that stages have to follow it."""
    store.set_meta(_OPEN, "1")


def resume(parts: Parts) -> None:
    """Finish what a crash interrupted."""
    if parts.store.get_meta(_OPEN):
        settle(parts, parts.now())


def settle(parts: Parts, now: int) -> None:
    """Move everybody whom a condition of a stage brings on, as of now, with events of the reason ``activation``.

    Who may have to move is found set-based; only those are looked at one by one, some thousand a commit.
    """
    store, lifecycle = parts.store, parts.catalog.lifecycle
    if lifecycle is not None:
        batch = store.batch()
        found = batch.tables(lifecycle.movers(), now)
        arm_timers(store, batch, {name: node for name, node in lifecycle.conditions.items() if _timed(node)}, now)
        parts.loop.refresh()
        keys = sorted({key for members in found.values() for key in members})
        parts.loop.look_again(keys, now, why="activation")
    if store.get_meta(_OPEN):
        store.set_meta(_OPEN, "")


def _timed(condition: Node) -> bool:
    """Return whether a condition may change without an event; what cannot spares a pass over everybody."""
    return any(isinstance(part, Now | TimeSince | Held | Sequence) or getattr(part, "within", None) for part in walk(condition))
