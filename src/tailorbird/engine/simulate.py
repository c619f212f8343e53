"""Moving a manual clock: every timer and delivery on the way happens at its own instant."""

from __future__ import annotations

from tailorbird.core.action import ActionStatus
from tailorbird.core.context import ManualClock
from tailorbird.engine.parts import Parts
from tailorbird.errors import InvalidInput
from tailorbird.expr.incremental import NEVER

__all__ = ["advance_to", "run_due"]


def advance_to(parts: Parts, instant: int) -> None:
    """Step through timers and due actions, in order, to the instant; raise ``InvalidInput`` where the clock is not manual."""
    clock, loop = parts.clock, parts.loop
    if not isinstance(clock, ManualClock):
        raise InvalidInput("only a ManualClock can be moved.", hint="Open the engine with clock=ManualClock(start).")
    if instant < clock.now():
        raise InvalidInput(f"the clock stands at {clock.now()} and cannot go back to {instant}.")
    deliver = parts.settings.deliver
    while True:
        action = _next_action(parts) if deliver else NEVER
        if action <= min(loop.next_due, instant):
            clock.move_to(max(action, clock.now()))
            loop.fire(clock.now())
            parts.deliverer.run_once(clock.now())
        elif loop.next_due <= instant:
            # up to the next action, but no further than the first that is admitted on the way
            loop.fire(min(instant, action), one=deliver)
            clock.move_to(max(clock.now(), min(loop.last, instant)))
        else:
            break
    clock.move_to(instant)
    loop.fire(instant)


def run_due(parts: Parts) -> int:
    """Fire what is due now and deliver once; return how many profiles woke and actions were settled."""
    now = parts.now()
    with parts.loop.exclusive():
        parts.loop.timers.look(parts.store.next_due())
        woken = parts.loop.fire(now)
    return woken + (parts.deliverer.run_once(now) if parts.settings.deliver else 0)


def _next_action(parts: Parts) -> int:
    counts = parts.store.count_actions()
    if not counts.get(ActionStatus.PENDING, 0) and not counts.get(ActionStatus.SENDING, 0):
        return NEVER
    dues = []
    for status in (ActionStatus.PENDING, ActionStatus.SENDING):
        after = 0
        while page := parts.store.actions(status=status, after=after, limit=1000):
            dues += [action.due for action in page]
            after = page[-1].seq
    return min(dues, default=NEVER)
