"""How often a CRM is asked again, and after how long: plans, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from tailorbird.core.context import SECOND
from tailorbird.core.event import Json
from tailorbird.errors import InvalidInput

__all__ = ["BULK", "CLIENT", "PLANS", "RetryPlan", "attempt", "plan_of"]

Answer = TypeVar("Answer")


class RetryPlan(msgspec.Struct, frozen=True):
    """The waits between tries, in ms: ``(1000, 2000)`` asks at once, after 1 s and after 2 s more."""

    waits: tuple[int, ...] = ()


CLIENT: Final = RetryPlan((1 * SECOND, 2 * SECOND, 4 * SECOND))
"""Of one person's data: at once, then after 1, 2 and 4 s."""

BULK: Final = RetryPlan((2 * SECOND, 4 * SECOND, 8 * SECOND))
"""Of questions about many, as playbooks ask them: at once, then after 2, 4 and 8 s."""

PLANS: Final[Mapping[str, RetryPlan]] = {"client": CLIENT, "bulk": BULK}

_MOST: Final = 10
_LONGEST: Final = 600


def plan_of(settings: Mapping[str, Json], what: str) -> RetryPlan:
    """Return a connection's plan for ``client`` or ``bulk``: ``settings["retry"][what]`` are waits in seconds, else the usual ones.

    >>> plan_of({"retry": {"bulk": [0.5, 1]}}, "bulk").waits, plan_of({}, "client").waits
    ((500, 1000), (1000, 2000, 4000))
    """
    said = settings.get("retry")
    waits = said.get(what) if isinstance(said, Mapping) else None
    if waits is None:
        return PLANS[what]
    good = isinstance(waits, Sequence) and not isinstance(waits, str) and len(waits) <= _MOST
    if not good or not all(type(wait) in (int, float) and 0 <= wait <= _LONGEST for wait in waits):
        raise InvalidInput(
            f"retry.{what} of a connection are waits in seconds.",
            hint=f"Give at most {_MOST} numbers from 0 to {_LONGEST}: [1, 2, 4].",
        )
    return RetryPlan(tuple(int(wait * SECOND) for wait in waits))


def attempt(
    ask: Callable[[], Answer], plan: RetryPlan, *, passes: Callable[[Exception], bool], sleep: Callable[[float], None],
    chance: Callable[[], float],
) -> Answer:  # fmt: skip
    """Ask until there is an answer, waiting as the plan says, give or take a quarter by ``chance`` (0 to 1); raise the last error.

    Only errors that ``passes`` says may pass are worth asking again; an error's own ``retry_after`` (ms) that is longer than what
    the plan would wait in all ends it, a shorter one is kept.
    """
    budget = sum(plan.waits)
    for wait in plan.waits:
        try:
            return ask()
        except Exception as error:
            asked = getattr(error, "retry_after", None) or 0
            if not passes(error) or asked > budget:
                raise
            sleep(max(wait * (0.75 + 0.5 * chance()), asked) / 1000)
    return ask()
