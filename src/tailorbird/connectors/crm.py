"""The connector of the outbox that writes activities into CRMs: in batches, in order per person, and patient while one is down."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

import msgspec

from tailorbird.connectors.rest import (
    AuthExpired,
    AuthRevoked,
    Forbidden,
    Locked,
    QuotaExhausted,
    RateLimited,
    RemoteError,
    Transient,
)
from tailorbird.core.action import Action, ActionStatus, Outcome
from tailorbird.core.connection import Connection, ConnectionStatus
from tailorbird.core.context import DAY, MINUTE, SECOND, Clock
from tailorbird.core.event import Json
from tailorbird.core.ids import bucket, bucket_seed
from tailorbird.crm.model import Activity, Logged
from tailorbird.crm.port import CrmConnector
from tailorbird.errors import NotFound, TailorbirdError, Unavailable
from tailorbird.ports import Store

__all__ = ["ACTIVITY", "CRM", "Connected", "CrmActivities", "Patience"]

CRM: Final = "crm"
"""The name of the connector."""

ACTIVITY: Final = "crm.activity"
"""The kind of its actions."""

_LONGEST: Final = 30.0
"""Seconds after which a turn begins no further call: what it has leased must not be taken for lost."""

_LOST: Final = (AuthExpired, AuthRevoked, Forbidden)
_LATER: Final = {kind.code for kind in (Transient, RateLimited, QuotaExhausted, Locked)}
_LOST_CODES: Final = {kind.code for kind in _LOST}


class Connected(Protocol):
    """What the connector needs of the engine's connections."""

    def open(self, name: str) -> CrmConnector:
        """Return the connector of a connection; raise ``NotFound`` or ``Unavailable``."""
        ...

    def get(self, name: str) -> Connection:
        """Return a connection; raise ``NotFound``."""
        ...

    def mark(
        self, name: str, status: ConnectionStatus, *, error: str | None = None, resumes_at: int | None = None
    ) -> Connection:  # fmt: skip
        """Set how a connection does."""
        ...


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait, in ms: one activity tries a CRM that is down again after ``first``, doubling up to ``most``; the others wait
    for ``waiting`` at least, unless they are woken because it answers.

    ``together`` is how many activities one turn takes, ``calls`` how many calls of one connection are under way at once.
    """

    first: int = 1 * SECOND
    most: int = 30 * SECOND
    waiting: int = 60 * SECOND
    together: int = 100
    calls: int = 32


class CrmActivities:
    """Writes actions of the kind ``crm.activity`` into the timelines of a connection's CRM.

    ``payload``: ``connection``, ``kind``, ``at``, and what an ``Activity`` has besides (``subject body data object``); ``record`` is
    the CRM's id of the person, and where it is left out the one linked to the action's profile. ``key`` is the marker, the action's
    own key where left out: a second try finds the first write by it.

    An outage never ends an action: it waits, uncounted, while the connection is ``unreachable``, ``limited``, ``unauthorised`` or
    ``paused``, and one activity at a time is tried until the CRM answers. Each connection is a destination of its own. What the CRM
    does not accept is given up with the reason. An activity waits while an earlier one of the same person does.
    """

    name = CRM
    honours_idempotency = True

    def __init__(self, connected: Connected, store: Store, clock: Clock, patience: Patience | None = None) -> None:
        self._connected = connected
        self._store = store
        self._clock = clock
        self._patience = patience or Patience()
        self.together = self._patience.together
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, int] = {}  # by the word of the CRM's limits, which are over soon: not worth a status
        self._trying: set[str] = set()
        self._lock = threading.Lock()
        self._opened: ThreadPoolExecutor | None = None

    def destination(self, action: Action) -> str:
        """Return the connection: a CRM that is down is held back alone."""
        return str(action.payload.get("connection") or "")

    def at_once(self, action: Action) -> int:
        """Return how many turns may be under way for one connection; each makes as many calls at once as it may."""
        return 4

    def perform(self, action: Action) -> Outcome:
        """Write one activity."""
        return self.perform_many([action])[0]

    def perform_many(self, actions: Sequence[Action]) -> list[Outcome]:
        """Write several of one connection, each person's one after the other; return what became of each."""
        name = self.destination(actions[0])
        now = self._clock.now()
        try:
            connection = self._connected.get(name)
        except NotFound:
            return [Outcome(ok=False, final=True, detail=f"there is no connection {name:.60}") for _ in actions]
        until = self._held_until(connection, now)
        if until is not None:
            return self._with_one_to_try(
                connection, actions, [self._put_off(action, until, now) for action in actions], until, now
            )
        if connection.status == ConnectionStatus.CONNECTED:
            return self._write(connection, actions, now)
        with self._lock:
            if alone := name not in self._trying:
                self._trying.add(name)
        if not alone:  # somebody finds out already whether it answers again
            return [self._put_off(action, now + SECOND, now) for action in actions]
        first = min(actions, key=lambda action: action.seq)
        try:
            tried = self._write(connection, [first], now)[0]
        finally:
            with self._lock:
                self._trying.discard(name)
        wait = self._patience.waiting if tried.again is not None else 0
        return [tried if action is first else self._put_off(action, now + wait, now) for action in actions]

    def close(self) -> None:
        """End the threads; the connectors are the connections' own."""
        if self._opened is not None:
            self._opened.shutdown(wait=True)

    # ---- waiting

    def _held_until(self, connection: Connection, now: int) -> int | None:
        """Return until when nothing is to be sent to a connection; None: now is fine."""
        match connection.status:
            case ConnectionStatus.PAUSED | ConnectionStatus.UNAUTHORISED:
                return now + self._patience.waiting  # it is woken before, when it is mended
            case ConnectionStatus.LIMITED | ConnectionStatus.UNREACHABLE if connection.resumes_at is not None:
                # A person may mend it before: what waits long looks now and then.
                return min(connection.resumes_at, now + 5 * MINUTE) if connection.resumes_at > now else None
        soon = self._not_before.get(connection.name, 0)
        return soon if soon > now else None

    def _put_off(self, action: Action, until: int, now: int) -> Outcome:
        """Return that an action waits: all of a person for equally long, so that their order stays, others spread out."""
        spread = int(
            bucket(bucket_seed(_person(action)), "crm") * min(self._patience.waiting // 2, max(until - now, SECOND // 10))
        )
        return Outcome(ok=False, again=until - now + spread, detail="the CRM is not to be called now")

    def _with_one_to_try(
        self, connection: Connection, actions: Sequence[Action], outcomes: Sequence[Outcome], until: int, now: int
    ) -> list[Outcome]:  # fmt: skip
        """Let one of those that wait try an unreachable CRM when its time comes, and the others wait longer, to be woken."""
        if connection.status != ConnectionStatus.UNREACHABLE:
            return list(outcomes)
        first = min(actions, key=lambda action: action.seq)
        late = now + self._patience.waiting
        return [
            Outcome(ok=False, again=until - now, detail=outcome.detail) if action is first
            else self._put_off(action, max(until, late), now)
            for action, outcome in zip(actions, outcomes, strict=True)
        ]  # fmt: skip

    def _wait(self, name: str) -> int:
        """Return the ms to wait after the failures so far: doubling, give or take a quarter."""
        failures = self._failures.get(name, 0)
        chance = bucket(bucket_seed(name), f"crm-{failures}")
        return int(min(self._patience.first * 2 ** min(max(failures - 1, 0), 20), self._patience.most) * (0.75 + 0.5 * chance))

    # ---- writing

    def _write(self, connection: Connection, actions: Sequence[Action], now: int) -> list[Outcome]:
        found: dict[str, Outcome] = {}
        ready = self._in_order(connection.name, actions, now, found)
        made = self._activities(connection.name, ready, found)
        if made:
            try:
                connector = self._connected.open(connection.name)
            except Unavailable as error:
                found |= {key: Outcome(ok=False, again=self._patience.waiting, detail=error.message) for key in made}
            except NotFound as error:
                self._connected.mark(connection.name, ConnectionStatus.UNAUTHORISED, error=error.message)
                found |= {key: self._put_off(a, now + self._patience.waiting, now) for a in ready if (key := a.key) in made}
            else:
                found |= self._in_waves(connection, connector, [(a, made[a.key]) for a in ready if a.key in made], now)
        return self._tried(connection.name, actions, found, now)

    def _tried(self, name: str, actions: Sequence[Action], found: Mapping[str, Outcome], now: int) -> list[Outcome]:
        """Return the outcomes; where the CRM did not answer, one of them is to try again before the others."""
        until = self._not_before.get(name, 0)
        failed = self._failures.get(name, 0) > 0 and until > now and all(one.again is not None for one in found.values())
        first = min(actions, key=lambda action: action.seq)
        return [Outcome(ok=False, again=until - now) if failed and a is first else found[a.key] for a in actions]

    def _in_order(self, name: str, actions: Sequence[Action], now: int, found: dict[str, Outcome]) -> list[Action]:
        """Return, in order of admission, those for whose person nothing earlier waits elsewhere; the others are told to wait."""
        ours = {action.key for action in actions}
        people = sorted({action.profile for action in actions if action.profile})
        before: dict[int, list[Action]] = {}
        if people:
            for other in self._store.unsettled(CRM, people, before=max(action.seq for action in actions)):
                if other.key not in ours and other.payload.get("connection") == name:
                    before.setdefault(other.profile, []).append(other)
        ready: list[Action] = []
        for action in sorted(actions, key=lambda action: action.seq):
            earlier = [other for other in before.get(action.profile, ()) if other.seq < action.seq]
            if not earlier:
                ready.append(action)
                continue
            waiting = max((other.due for other in earlier if other.status == ActionStatus.PENDING), default=0)
            found[action.key] = Outcome(
                ok=False, again=max(waiting - now, SECOND // 5), detail="an earlier one of the person waits"
            )
        return ready

    def _activities(self, name: str, actions: Iterable[Action], found: dict[str, Outcome]) -> dict[str, Activity]:
        """Return the activity of each action by its key; those without a record, or that cannot be read, are told why."""
        missing = sorted({action.profile for action in actions if action.profile and not action.payload.get("record")})
        links: dict[int, tuple[str, str]] = {}
        gone: set[int] = set()
        for link in self._store.crm.links_of(missing, connection=name) if missing else ():
            if link.gone_at is None:
                links.setdefault(link.profile, (link.record, link.object))
            else:
                gone.add(link.profile)
        made: dict[str, Activity] = {}
        for action in actions:
            said = action.payload
            record, object_ = (str(said["record"]), "") if said.get("record") else links.get(action.profile, ("", ""))
            if not record:
                gone_there = f"the person's record was deleted in {name}"
                text = gone_there if action.profile in gone else f"nobody in {name} is linked to the person"
                auto = said.get("auto") is True
                found[action.key] = Outcome(ok=False, moot=auto, final=not auto, detail=text)
                continue
            try:
                made[action.key] = msgspec.convert(
                    {"key": action.key, "at": action.created_at, "object": object_, **_given(said), "record": record}, Activity
                )
            except msgspec.ValidationError:
                found[action.key] = Outcome(ok=False, final=True, detail="the payload is no activity")
        return made

    def _in_waves(
        self, connection: Connection, connector: CrmConnector, pairs: Sequence[tuple[Action, Activity]], now: int
    ) -> dict[str, Outcome]:  # fmt: skip
        """Write so that each person's next activity goes out once the one before is there; stop where the CRM fails."""
        found: dict[str, Outcome] = {}
        left = list(pairs)
        blocked: set[str] = set()
        end = time.monotonic() + _LONGEST
        while left and time.monotonic() < end:
            wave: list[tuple[Action, Activity]] = []
            rest: list[tuple[Action, Activity]] = []
            people: set[str] = set()
            for pair in left:
                whose = _person(pair[0])
                (rest if whose in people or whose in blocked else wave).append(pair)
                people.add(whose)
            if not wave:
                break
            size = max(1, connector.capabilities.limits.batch_activities)
            chunks = [wave[start : start + size] for start in range(0, len(wave), size)]
            for outcomes in self._calls([(connection, connector, chunk) for chunk in chunks]):
                found |= outcomes
            waiting = {_person(action) for action, _ in wave if found[action.key].again is not None}
            blocked |= waiting
            left = rest
            if len(waiting) == len(wave):  # the CRM does not answer
                break
        then = now + (self._patience.waiting if blocked else 0)
        return found | {action.key: self._put_off(action, then, now) for action, _ in left}

    def _calls(self, calls: list[tuple[Connection, CrmConnector, list[tuple[Action, Activity]]]]) -> list[dict[str, Outcome]]:
        if len(calls) == 1:
            return [self._call(*calls[0])]
        with self._lock:
            if self._opened is None:
                self._opened = ThreadPoolExecutor(self._patience.calls, thread_name_prefix="crm")
        return list(self._opened.map(lambda call: self._call(*call), calls))

    def _call(
        self, connection: Connection, connector: CrmConnector, pairs: Sequence[tuple[Action, Activity]]
    ) -> dict[str, Outcome]:  # fmt: skip
        """Make one call; where the CRM refuses it as a whole, each by itself, so that a bad one takes no good one along."""
        name = connection.name
        try:
            logged = connector.log_activities([activity for _, activity in pairs])
        except RemoteError as error:
            if error.code in _LATER or isinstance(error, _LOST) or len(pairs) == 1:
                return {action.key: self._failed(name, action, error) for action, _ in pairs}
            return {key: outcome for pair in pairs for key, outcome in self._call(connection, connector, [pair]).items()}
        except TailorbirdError as error:  # such as credentials that cannot be opened just now
            return {a.key: Outcome(ok=False, again=self._patience.waiting, detail=error.message) for a, _ in pairs}
        by_key = {one.key: one for one in logged}
        found = {a.key: self._became(name, a, by_key.get(activity.key)) for a, activity in pairs}
        if any(outcome.again is None for outcome in found.values()):
            self._answers(connection)
        return found

    def _became(self, name: str, action: Action, logged: Logged | None) -> Outcome:
        if logged is None:
            return Outcome(ok=False, detail="the CRM said nothing of this one")
        if not logged.error:
            return Outcome(ok=True, detail="found" if logged.found else "written")
        if logged.error in _LATER | _LOST_CODES:
            error = next(kind for kind in (Transient, RateLimited, QuotaExhausted, Locked, *_LOST) if kind.code == logged.error)
            return self._failed(name, action, error(logged.detail or logged.error, retry_after=logged.retry_after))
        return Outcome(ok=False, final=True, detail=f"{logged.error}: {logged.detail}" if logged.detail else logged.error)

    def _failed(self, name: str, action: Action, error: RemoteError) -> Outcome:
        """Note what an error means for the connection, and return what it means for the action."""
        now = self._clock.now()
        match error:
            case Locked():
                return Outcome(ok=False, again=error.retry_after or 5 * SECOND, detail=error.message)
            case RateLimited():
                until = now + (error.retry_after or SECOND)
                self._not_before[name] = max(self._not_before.get(name, 0), until)
                return self._put_off(action, until, now)
            case QuotaExhausted():
                until = now + (error.retry_after or DAY - now % DAY)
                self._mark(name, ConnectionStatus.LIMITED, error.message, until)
                return self._put_off(action, until, now)
            case Transient():
                until = now + self._one_more(name, now, error.retry_after or 0)
                self._mark(name, ConnectionStatus.UNREACHABLE, error.message, until)
                return self._put_off(action, max(until, now + self._patience.waiting), now)
            case AuthExpired() | AuthRevoked() | Forbidden():
                self._mark(name, ConnectionStatus.UNAUTHORISED, error.message, None)
                return self._put_off(action, now + self._patience.waiting, now)
        return Outcome(ok=False, final=True, detail=error.message)

    def _one_more(self, name: str, now: int, least: int) -> int:
        """Count a failure, those of one instant once; return how long to wait."""
        with self._lock:
            if self._not_before.get(name, 0) <= now:
                self._failures[name] = self._failures.get(name, 0) + 1
                self._not_before[name] = now + max(self._wait(name), least)
            return self._not_before[name] - now

    def _mark(self, name: str, status: ConnectionStatus, error: str, resumes_at: int | None) -> None:
        if self._connected.get(name).status != ConnectionStatus.PAUSED:
            self._connected.mark(name, status, error=error, resumes_at=resumes_at)

    def _answers(self, connection: Connection) -> None:
        """Note that the CRM answers: what waited for it goes on."""
        failed = self._failures.pop(connection.name, 0)
        if failed:
            self._not_before.pop(connection.name, None)
        if failed or connection.status != ConnectionStatus.CONNECTED:
            found = self._connected.get(connection.name)
            if found.status in (ConnectionStatus.UNREACHABLE, ConnectionStatus.LIMITED):
                self._connected.mark(connection.name, ConnectionStatus.CONNECTED)


def _person(action: Action) -> str:
    return str(action.profile) if action.profile else f"record:{action.payload.get('record')}"


def _given(payload: Mapping[str, Json]) -> dict[str, Json]:
    names = ("key", "kind", "at", "subject", "body", "data", "object")
    return {name: payload[name] for name in names if payload.get(name) is not None}
