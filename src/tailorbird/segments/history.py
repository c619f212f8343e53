"""How a segment grew and shrank: its size, inflow and outflow over time, as recorded and as it would have been."""

from __future__ import annotations

from dataclasses import dataclass

from tailorbird.errors import InvalidInput
from tailorbird.ports import Store

__all__ = ["MAX_STEPS", "Point", "history"]

MAX_STEPS = 2_000


@dataclass(frozen=True, slots=True)
class Point:
    """One step: it begins at ``at``; ``size`` is the number of members at its end."""

    at: int
    size: int
    entered: int
    exited: int


def history(store: Store, segment: str, *, since: int, until: int, step: int, now: int) -> list[Point]:
    """Return one point for each step of ``[since, until)`` that has begun, oldest first, out of the segment's recorded events.

    Sizes are counted back from the members of now. Raises ``InvalidInput`` when the stretch has no or too many steps.
    """
    if step <= 0 or until <= since or (until - since) // step > MAX_STEPS:
        raise InvalidInput(
            f"From {since} to {until} in steps of {step} ms are not 1 to {MAX_STEPS} steps.",
            hint="Take a longer step or a shorter stretch.",
        )  # fmt: skip
    starts = range(since, min(until, now + 1), step)
    if not starts:
        return []
    flows = {at: (entered, exited) for at, entered, exited in store.flows(segment, since, max(until, now + 1), step)}
    size = store.segment_sizes().get(segment, 0)
    size -= sum(entered - exited for at, (entered, exited) in flows.items() if at >= starts[-1] + step)
    points: list[Point] = []
    for at in reversed(starts):
        entered, exited = flows.get(at, (0, 0))
        points.append(Point(at, size, entered, exited))
        size -= entered - exited
    return points[::-1]
