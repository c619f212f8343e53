"""What the connectors to enrichment providers share: credits, outcomes, and the connector that concludes a run."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final, Literal, Protocol

import msgspec

from tailorbird.connectors.rest import QuotaExhausted, RateLimited, RemoteError, Transient
from tailorbird.core.action import Action, Outcome
from tailorbird.core.context import DAY, MINUTE, SECOND, Clock, SystemClock
from tailorbird.core.event import Json
from tailorbird.enrichment.answers import Found, told
from tailorbird.enrichment.planning import CONCLUDE, Run, conclude

__all__ = ["Asking", "Conclusion", "Free", "Ledger", "definition_of", "settled", "waiting"]

TRIES: Final = 3
"""How often a provider that cannot answer is asked about one person, a while apart, before the next one's turn comes."""

_PAUSES: Final = (5 * SECOND, 30 * SECOND, 2 * MINUTE)


class Ledger(Protocol):
    """Keeps what was spent, durably, before it is spent: a crash may count too much, never too little."""

    def reserve(self, provider: str, costs: dict[str, int], budget: int | None) -> dict[str, str]:
        """Reserve credits for these actions; return by key "" for granted, ``budget`` for too much today, or ``in_doubt``
        where an earlier attempt was begun and nobody knows what came of it."""
        ...

    def settle(self, provider: str, used: dict[str, int]) -> None:
        """Note what was really used; 0 gives the credits back."""
        ...

    def release(self, provider: str, keys: Sequence[str]) -> None:
        """Give credits back and forget the attempt: it certainly cost nothing."""
        ...


class Free:
    """A ledger that grants everything and remembers nothing; for trying out a connector by itself."""

    def reserve(self, provider: str, costs: dict[str, int], budget: int | None) -> dict[str, str]:
        """Grant all."""
        return dict.fromkeys(costs, "")

    def settle(self, provider: str, used: dict[str, int]) -> None:
        """Nothing is kept."""

    def release(self, provider: str, keys: Sequence[str]) -> None:
        """Nothing is kept."""


def settled(action: Action, found: Found, now: int) -> Outcome:
    """Return the outcome of an action that has its answer, be it none."""
    ok = found.what != "failed"
    return Outcome(ok=ok, final=not ok, detail=found.reason, events=told(action.payload, found, now))


def waiting(action: Action, wait: int, now: int, reason: str, payload: dict[str, Json] | None = None) -> Outcome:
    """Return the outcome of an action that goes on later, or a failure where it has waited long enough."""
    if now + wait > int(action.payload.get("give_up_at") or now + wait):
        return settled(action, Found(what="failed", reason=f"waited too long: {reason}"), now)
    return Outcome(ok=False, again=wait, detail=reason, payload=payload)


def definition_of(action: Action) -> str:
    """Return which definition a question follows: questions of one call share its budget and limits."""
    run = action.payload.get("run")
    return str(run.get("definition", "")) if isinstance(run, dict) else ""


def tomorrow(now: int) -> int:
    """Return how many ms there are until the next day (UTC)."""
    return DAY - now % DAY


class Asking:
    """A connector that asks one provider; what differs between providers is in ``ask``.

    ``name`` is the provider's. Without a key it is not ``ready`` and fails each action for good, so that its run goes on.
    """

    name = ""
    honours_idempotency = False
    together = 1

    def __init__(self, *, key: str, key_name: str, ledger: Ledger | None, clock: Clock | None) -> None:
        self._key = key
        self._key_name = key_name
        self.clock: Clock = clock or SystemClock()
        self.ledger: Ledger = ledger or Free()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(ready={not self.missing})"

    @property
    def missing(self) -> str:
        """Why the provider cannot be asked; nothing where it can."""
        return "" if self._key else f"no key is set ({self._key_name})"

    def at_once(self, action: Action) -> int:
        """Return how many calls may be under way at once: what the chain says, else what suits the provider."""
        said = action.payload.get("concurrency")
        return said if isinstance(said, int) and said > 0 else self._at_once(action)

    def perform(self, action: Action) -> Outcome:
        """Ask about one person."""
        return self.perform_many([action])[0]

    def perform_many(self, actions: Sequence[Action]) -> list[Outcome]:
        """Ask about several people; whatever goes wrong is an outcome of each, so that every run goes on."""
        now = self.clock.now()
        if not all(_is_question(action) for action in actions):
            return [Outcome(ok=False, final=True, detail="the payload asks nothing") for _ in actions]
        if self.missing:
            return [settled(action, Found(what="failed", reason=self.missing), now) for action in actions]
        try:
            return self.ask(actions)
        except RemoteError as error:
            return self.failed(actions, error)
        except Exception as error:  # a defect must not stop the run; its text may hold personal data
            reason = f"the connector raised {type(error).__name__}"
            return [settled(action, Found(what="failed", reason=reason), now) for action in actions]

    def ask(self, actions: Sequence[Action]) -> list[Outcome]:
        """Ask; return an outcome for each. A ``RemoteError`` that is raised stands for all of them."""
        raise NotImplementedError

    def _at_once(self, action: Action) -> int:
        raise NotImplementedError

    def reserve(self, actions: Sequence[Action]) -> tuple[list[Action], dict[str, Outcome]]:
        """Reserve credits; return the actions that may be asked, and the outcomes of the others by key."""
        now = self.clock.now()
        budget = actions[0].payload.get("budget")
        said = self.ledger.reserve(self.name, {a.key: int(a.payload.get("cost") or 1) for a in actions}, budget)
        granted, refused = [], {}
        for action in actions:
            match said[action.key]:
                case "":
                    granted.append(action)
                case "budget":
                    refused[action.key] = waiting(action, tomorrow(now), now, "the budget of the day is used up")
                case _:
                    reason = "asked before, and the answer was lost: not asked again, because it may cost again"
                    found = Found(what="failed", reason=reason, credits=int(action.payload.get("cost") or 1))
                    refused[action.key] = settled(action, found, now)
        return granted, refused

    def failed(self, actions: Sequence[Action], error: RemoteError) -> list[Outcome]:
        """Return what an error means for each action: wait, try again in a while, or let the run go on without an answer.

        A question that may have been answered, and so paid, is not asked again.
        """
        now = self.clock.now()
        if not error.sent:
            self.ledger.release(self.name, [action.key for action in actions])
        if isinstance(error, RateLimited | QuotaExhausted) and (error.retry_after or isinstance(error, RateLimited)):
            return [waiting(action, error.retry_after or MINUTE, now, error.message) for action in actions]
        return [self._one_failed(action, error, now) for action in actions]

    def _one_failed(self, action: Action, error: RemoteError, now: int) -> Outcome:
        tries = int(action.payload.get("tries") or 0) + 1
        if isinstance(error, Transient) and not error.sent and tries < TRIES:
            payload = {**action.payload, "tries": tries}
            return waiting(action, error.retry_after or _PAUSES[tries - 1], now, error.message, payload)
        paid = int(action.payload.get("cost") or 1) if error.sent else 0
        return settled(action, Found(what="failed", reason=error.message, credits=paid), now)


class _Payload(msgspec.Struct):
    """What a question's payload must be: anybody who may enqueue actions can write one."""

    provider: str
    question: dict[str, str]
    question_digest: str
    run: Run
    take: list[str] = []
    over: dict[str, list[str]] = {}
    verifies: bool = False
    cost: int = 1
    budget: int | None = None
    limits: dict[Literal["second", "minute", "hour", "day"], int] = {}
    concurrency: int | None = None
    options: dict[str, bool] = {}
    give_up_at: int | None = None
    tries: int = 0
    single: bool = False
    request_id: str | None = None
    row: str = ""
    place: int = 0
    of: int = 0
    polls: int = 0
    twin: bool = False


def _is_question(action: Action) -> bool:
    try:
        msgspec.convert(action.payload, _Payload)
    except msgspec.ValidationError:
        return False
    return True


class Conclusion:
    """The connector that ends a run: it speaks to nobody, and tells what is made of what was found."""

    name = CONCLUDE
    honours_idempotency = True

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()

    def destination(self, action: Action) -> str:
        """Return that all goes to the same place."""
        return ""

    def perform(self, action: Action) -> Outcome:
        """Conclude the run."""
        try:
            msgspec.convert(action.payload.get("run"), Run)
        except msgspec.ValidationError:
            return Outcome(ok=False, final=True, detail="the payload has no run")
        return Outcome(ok=True, events=conclude(action.payload, self._clock.now()))

    def close(self) -> None:
        """Nothing is held open."""
