"""Make stored memberships equal to what conditions say at an instant, for whole segments at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tailorbird.core.ids import digest
from tailorbird.expr.nodes import Node
from tailorbird.ports import Batch, Store

__all__ = ["TIMER_KEY", "Backfilled", "arm_timers", "compute_members", "compute_wakes", "fresh_at", "no_earlier", "write_members"]

TIMER_KEY = "segments"
"""The key of the timer that wakes a profile when the first of its conditions can change."""


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What a backfill did to one segment: its size now, and how many profiles came and went."""

    segment: str
    version: int
    size: int
    entered: int
    exited: int


def compute_members(batch: Batch, conditions: Mapping[str, Node], instant: int) -> dict[str, list[int]]:
    """Return the members of each condition as of the instant, ascending; many conditions share as few passes as can be."""
    if not conditions:
        return {}
    return batch.tables(conditions, instant)


def write_members(
    store: Store, members: Mapping[str, Sequence[int]], versions: Mapping[str, int], instant: int
) -> dict[str, Backfilled]:
    """Store the members of each segment, with an entered or exited event for everyone who changes.

    Doing it again with the same members changes nothing, so that an interrupted backfill can simply be repeated.
    """
    done: dict[str, Backfilled] = {}
    for segment, keys in members.items():
        version = versions[segment]
        prefix = digest("backfill", segment, str(version), str(instant))
        entered, exited = store.replace_members(segment, version, keys, instant, prefix)
        done[segment] = Backfilled(segment, version, len(keys), entered, exited)
    return done


def compute_wakes(batch: Batch, conditions: Iterable[Node], instant: int) -> dict[int, int]:
    """Return for every profile for which one of the conditions will change without a new event a due not later than that."""
    found: dict[int, int] = {}
    for node in conditions:
        for profile, due in batch.wakes(node, instant):
            if due < found.get(profile, due + 1):
                found[profile] = due
    return found


def arm_timers(store: Store, batch: Batch, conditions: Mapping[str, Node], instant: int) -> None:
    """Set the timers of every profile for which one of the conditions will change without a new event.

    A timer that is already earlier stays; waking too early is harmless.
    """
    for node in conditions.values():
        store.arm(TIMER_KEY, batch.wakes(node, instant))


def no_earlier(store: Store, now: int) -> int:
    """Return ``now``, or the instant at which the last event was received if that is later, as another process's may be."""
    last = store.events(after=store.last_seq() - 1, limit=1)
    return max(now, last[0].received_at) if last else now


def fresh_at(store: Store, now: int) -> int:
    """Return the instant up to which all live memberships are current: now, or the earliest timer that is overdue."""
    due = store.next_due()
    return now if due is None else min(now, due)
