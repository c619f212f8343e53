"""The deliverer: takes due actions out of the outbox, performs each through its connector, and tells what became of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple, cast

import msgspec

from tailorbird.core.action import Action, ActionStatus, Outcome, Told
from tailorbird.core.context import HOUR, MINUTE, SECOND, Clock
from tailorbird.core.event import PROFILE_UPDATED, TAG_ADDED, Json
from tailorbird.core.ids import bucket, bucket_seed
from tailorbird.core.profile import Profile
from tailorbird.errors import Conflict, NotFound, Unavailable
from tailorbird.ports import Connector, ManyConnector, Store, Unit
from tailorbird.profiles.drafts import Draft
from tailorbird.runtime.gate import Gate, Verdict, suppression_tag
from tailorbird.runtime.ingest import OWN_IDS

__all__ = ["DELAYS", "Deliverer", "Policy", "back_off", "outcome_draft", "refusal_draft", "told_drafts"]

DELAYS: Final = (1 * SECOND, 5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 1 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR)
"""How long to wait after the first, second, … failed attempt, before jitter; the last holds for all that follow."""

_TRIES: Final = 100
_MOMENT: Final = 0.02  # seconds; what finishes within is settled together


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How hard to try. Durations in ms.

    ``lease``: a deliverer that died gives its actions back after this; it must exceed any connector's time limit.
    ``break_after`` failures in a row hold a destination back, for ``break_for`` at first and doubling up to ``break_most``.
    """

    max_attempts: int = 10
    lease: int = 2 * MINUTE
    threads: int = 32
    per_destination: int = 4
    batch: int = 200
    break_after: int = 5
    break_for: int = 30 * SECOND
    break_most: int = 10 * MINUTE
    longest_wait: int = 24 * HOUR


def back_off(key: str, attempts: int) -> int:
    """Return how many ms to wait after this many failed attempts: the table's delay give or take a quarter.

    The jitter is a hash of the action's key, so that replay waits as long, and so that thousands that failed together do
    not come back together.

    >>> 750 <= back_off("k", 1) <= 1250 and back_off("k", 1) == back_off("k", 1)
    True
    """
    chance = bucket(bucket_seed(key), f"retry-{attempts}")
    return int(DELAYS[min(attempts, len(DELAYS)) - 1] * (0.75 + 0.5 * chance))


def outcome_draft(action: Action, outcome: Outcome, profile: Profile) -> Draft:
    """Return the event that an action was done or given up: ``webhook.sent``, ``message.failed``; its id is the key's."""
    word = "sent" if outcome.ok else "failed"
    data = _about(action) | {"attempts": action.attempts}
    if not outcome.ok:
        data["reason"] = outcome.detail
    return Draft(
        type=f"{action.kind.split('.', 1)[0]}.{word}", data=data, profile=profile.id, kind=profile.kind,
        id=f"{OWN_IDS}{action.key}.{word}", source="outbox", cause=action.cause,
    )  # fmt: skip


def refusal_draft(action: Action, verdict: Verdict, profile: Profile) -> Draft:
    """Return the event that the gate refused an action for good: ``action.refused`` with the reason."""
    data = _about(action) | {"reason": verdict.reason, "text": verdict.text}
    return Draft(
        type="action.refused", data=data, profile=profile.id, kind=profile.kind,
        id=f"{OWN_IDS}{action.key}.refused", source="outbox", cause=action.cause,
    )  # fmt: skip


def _about(action: Action) -> dict[str, Json]:
    said = {"action": action.key, "kind": action.kind, "connector": action.connector, "channel": action.channel}
    return {name: value for name, value in (said | {"purpose": action.purpose}).items() if value is not None}


class _Lane:
    """One destination: what waits for it, how many are under way, and whether it is held back."""

    __slots__ = ("failures", "open_until", "under_way", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[tuple[Action, Connector]] = deque()
        self.under_way = 0
        self.failures = 0
        self.open_until = 0


class _Done(NamedTuple):
    action: Action
    destination: str
    outcome: Outcome
    calls: int = 1  # one of those that were performed together stands for the call; the others count none


class Deliverer:
    """Delivers due actions, each destination on its own lane, so that a dead one delays nobody else.

    ``gate`` is called for the gate of the moment. ``emit`` takes the events that tell what happened into the loop, durably,
    before the action's new status is written by ``commit``: after a crash between the two an action is delivered once more
    with the same key, and its event is dropped as a duplicate; nothing is lost. ``commit`` is ``store.commit`` unless the
    loop offers its own, which it must where it keeps caches. Drafts have ids of Tailorbird's own; ``emit`` must let them in.
    """

    def __init__(
        self,
        store: Store,
        connectors: Mapping[str, Connector],
        gate: Callable[[], Gate],
        clock: Clock,
        emit: Callable[[list[Draft]], object],
        *,
        commit: Callable[[Unit], bool] | None = None,
        policy: Policy | None = None,
    ) -> None:
        self._store = store
        self._connectors = connectors
        self._gate = gate
        self._clock = clock
        self._emit = emit
        self._commit = commit or store.commit
        self._policy = policy or Policy()
        self._lanes: dict[str, _Lane] = {}
        self._done: SimpleQueue[_Done] = SimpleQueue()
        self._threads = ThreadPoolExecutor(self._policy.threads, thread_name_prefix="deliver")
        self._turn = threading.Lock()
        self._leases: dict[str, int] = {}  # until when we hold each action that is not yet settled
        self._wire: dict[str, tuple[int, str]] = {}  # of those, what a cap counts: whose it is, and the channel

    def run_once(self, now: int | None = None, *, wait: bool = True) -> int:
        """Deliver what is due; return how many actions were settled (sent, refused, put off or given up).

        With ``wait`` all that was leased is settled on return. Without, it returns as soon as nothing more finishes for a
        moment; slow ones stay under way and are settled by a later call. The server calls it like this, at once again when
        something was settled, so that a destination that hangs holds up nobody.
        """
        with self._turn:
            instant = self._clock.now() if now is None else now
            settled = self._settle(self._finished(0), instant)
            room = self._policy.batch - len(self._leases)
            actions = self._store.lease_actions(instant, limit=room, lease=self._policy.lease) if room > 0 else []
            settled += self._begin(actions, instant)
            while self._leases:
                finished = self._finished(None if wait else _MOMENT)
                if not finished:
                    break
                settled += self._settle(finished, instant)
            return settled

    def requeue(self, key: str, now: int | None = None) -> Action:
        """Give a dead or refused action another chance, from now on and with fresh attempts; return it as it is then.

        Raises ``NotFound`` for an unknown key and ``Conflict`` for an action that is not dead or refused.
        """
        with self._turn:
            action = self._store.action(key)
            if action is None:
                raise NotFound(f"no action has the key {key!r}.", hint="List the outbox to see the keys.")
            if action.status not in (ActionStatus.DEAD, ActionStatus.REFUSED):
                raise Conflict(f"the action {key} is {action.status}.", hint="Only dead and refused actions can be requeued.")
            instant = self._clock.now() if now is None else now
            again = msgspec.structs.replace(action, status=ActionStatus.PENDING, due=instant, attempts=0, error=None)
            self._write([again])
            return again

    def close(self) -> None:
        """Wait for what is under way; what was not settled comes back when its lease ends."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _begin(self, actions: Sequence[Action], now: int) -> int:
        """Ask the gate about what was leased, put off what goes to destinations held back, and start the rest."""
        profiles = self._profiles(actions)
        gate = self._gate()
        changed: list[Action] = []
        longer: list[Action] = []
        drafts: list[Draft] = []
        touched: dict[str, _Lane] = {}
        for action in actions:
            if action.key in self._leases:  # still in line for a slow destination: our lease goes on
                self._leases[action.key] = action.due
                longer.append(_untried(action))
                continue
            profile = profiles.get(action.profile)
            verdict = gate.admit(action, profile, now, sent_since=partial(self._sent_since, now))
            connector = self._connectors.get(action.connector)
            if not verdict.allowed:
                changed.append(verdict.applied_to(_untried(action)))
                if verdict.retry_at is None and profile is not None:
                    drafts.append(refusal_draft(action, verdict, profile))
            elif action.attempts > self._policy.max_attempts:  # whoever tried it the last time did not live to tell
                ended, told = self._ended(action, now)
                changed.append(ended)
                if profile is not None:
                    drafts.append(outcome_draft(ended, told, profile))
            elif connector is None:
                self._leases[action.key] = action.due
                detail = f"no connector is called {action.connector!r}"
                self._done.put(_Done(action, f"missing:{action.connector}", Outcome(ok=False, detail=detail)))
            else:
                destination = f"{action.connector}:{_destination(connector, action)}"
                lane = self._lanes.setdefault(destination, _Lane())
                if now < lane.open_until:
                    changed.append(_put_off(action, lane.open_until))
                else:
                    self._leases[action.key] = action.due
                    if profile is not None and action.channel is not None:
                        self._wire[action.key] = profile.key, action.channel
                    lane.waiting.append((action, connector))
                    touched[destination] = lane
        for destination, lane in touched.items():  # once all are in line, so that those that go together do
            self._fill(destination, lane, now)
        if drafts:
            self._emit(drafts)
        self._write(self._not_erased([*changed, *longer], profiles))
        return len(changed)

    def _fill(self, destination: str, lane: _Lane, now: int) -> None:
        # After a failure one at a time, so that a host that just died costs one time-out and not one for each in line.
        while lane.waiting:
            action, connector = lane.waiting[0]
            at_once = getattr(connector, "at_once", None)
            most = 1 if lane.failures else at_once(action) if at_once is not None else self._policy.per_destination
            if lane.under_way >= most:
                break
            together = self._next(lane, getattr(connector, "together", 1), now)
            if not together:
                continue
            lane.under_way += 1
            if hasattr(connector, "perform_many"):
                self._threads.submit(self._perform_many, together, cast(ManyConnector, connector), destination)
            else:
                self._threads.submit(self._perform, together[0], connector, destination)

    def _next(self, lane: _Lane, most: int, now: int) -> list[Action]:
        """Take the next actions out of the line, as many as may go together; a lane has one connector."""
        taken: list[Action] = []
        while lane.waiting and len(taken) < most:
            action, _ = lane.waiting.popleft()
            if now >= self._leases[action.key]:  # it waited so long that another deliverer may have it
                self._let_go(action)
            else:
                taken.append(action)
        return taken

    def _perform_many(self, actions: list[Action], connector: ManyConnector, destination: str) -> None:
        try:
            outcomes = list(connector.perform_many(actions))
            if len(outcomes) != len(actions):
                outcomes = [Outcome(ok=False, detail="the connector gave another number of outcomes than actions")] * len(actions)
        except Exception as error:
            outcomes = [Outcome(ok=False, detail=f"the connector raised {type(error).__name__}")] * len(actions)
        alive = next((place for place, outcome in enumerate(outcomes) if _answered(outcome)), 0)
        for place, (action, outcome) in enumerate(zip(actions, outcomes, strict=True)):
            self._done.put(_Done(action, destination, outcome, int(place == alive)))

    def _perform(self, action: Action, connector: Connector, destination: str) -> None:
        try:
            outcome = connector.perform(action)
        except Exception as error:  # a connector's defect is an outcome, too; its text may hold personal data
            outcome = Outcome(ok=False, detail=f"the connector raised {type(error).__name__}")
        self._done.put(_Done(action, destination, outcome))

    def _finished(self, patience: float | None) -> list[_Done]:
        """Return the attempts that have ended, after waiting so many seconds for the first (None: as long as it takes)."""
        found: list[_Done] = []
        try:
            if patience != 0:
                found.append(self._done.get(timeout=patience))
            while True:
                found.append(self._done.get_nowait())
        except Empty:
            return found

    def _settle(self, finished: Sequence[_Done], now: int) -> int:
        """Write what became of attempts, and let the lanes go on; return how many actions were settled."""
        if not finished:
            return 0
        profiles = self._profiles([done.action for done in finished])
        drafts: list[Draft] = []
        changed: list[Action] = []
        for done in finished:
            after = self._after(done.action, done.outcome, now)
            changed.append(after)
            profile = profiles.get(after.profile)
            if profile is not None and done.outcome.events:
                drafts += told_drafts(after, done.outcome.events, profile)
            if after.status not in (ActionStatus.PENDING, ActionStatus.REFUSED) and profile is not None:
                drafts.append(outcome_draft(after, done.outcome, profile))
            if done.outcome.suppress and profile is not None and after.channel is not None:
                drafts.append(_suppression(after, profile, done.outcome))
            changed += self._judge(done, now)
        try:
            if drafts:
                self._emit(drafts)
            self._write(self._not_erased(changed, profiles))
        finally:  # what could not be written comes back when its lease ends
            for action in changed:
                self._let_go(action)
        return len(changed)

    def _let_go(self, action: Action) -> None:
        self._leases.pop(action.key, None)
        self._wire.pop(action.key, None)

    def _sent_since(self, now: int, profile: int, channel: str, since: int) -> int:
        """Count what was sent and what is under way; what waits for its own turn must not keep this one from its own."""
        if since >= now:
            return 0
        sent = self._store.sent_since(profile, channel, since) - self._store.sent_since(profile, channel, now)
        return sent + sum(1 for wire in self._wire.values() if wire == (profile, channel))

    def _not_erased(self, actions: Sequence[Action], profiles: Mapping[int, Profile]) -> list[Action]:
        """Leave out actions that were erased with their person while they were under way: writing would bring them back."""
        return [a for a in actions if not a.profile or a.profile in profiles or self._store.action(a.key) is not None]

    def _after(self, action: Action, outcome: Outcome, now: int) -> Action:
        """Return the action after an attempt: sent, given up, or pending again."""
        if outcome.again is not None and not outcome.ok:
            payload = action.payload if outcome.payload is None else outcome.payload
            due = now + max(0, outcome.again)
            return msgspec.structs.replace(
                action, status=ActionStatus.PENDING, payload=payload, error=None, due=due, attempts=action.attempts - 1
            )
        if outcome.moot:
            return msgspec.structs.replace(action, status=ActionStatus.REFUSED, error=outcome.detail[:500], due=now)
        attempts = action.attempts  # counted when it was leased: also what a crash interrupts is an attempt
        if outcome.ok:
            return msgspec.structs.replace(action, status=ActionStatus.SENT, attempts=attempts, error=None, due=now)
        detail = outcome.detail[:500]
        if outcome.final or attempts >= self._policy.max_attempts:
            return msgspec.structs.replace(action, status=ActionStatus.DEAD, attempts=attempts, error=detail, due=now)
        wait = max(back_off(action.key, attempts), min(outcome.retry_after or 0, self._policy.longest_wait))
        return msgspec.structs.replace(action, status=ActionStatus.PENDING, attempts=attempts, error=detail, due=now + wait)

    def _ended(self, action: Action, now: int) -> tuple[Action, Outcome]:
        """Return an action that was leased too often as it is to be written: given up, or sent if that was still told."""
        action = _untried(action)
        if self._store.event(f"{OWN_IDS}{action.key}.sent") is not None:
            return msgspec.structs.replace(action, status=ActionStatus.SENT, error=None, due=now), Outcome(ok=True)
        detail = f"the process that tried it ended before it could say what came of it, after {action.attempts} attempts in all"
        dead = msgspec.structs.replace(action, status=ActionStatus.DEAD, error=detail, due=now)
        return dead, Outcome(ok=False, detail=detail)

    def _judge(self, done: _Done, now: int) -> list[Action]:
        """Note on the lane how the attempt went; return what waits there, put off, if the destination is now held back."""
        lane = self._lanes.get(done.destination)
        if lane is None or not done.calls:
            return []
        lane.under_way -= 1
        outcome, policy = done.outcome, self._policy
        if _answered(outcome):
            lane.failures = 0
            lane.open_until = 0
        else:
            lane.failures += 1
            beyond = lane.failures - policy.break_after
            hold = min(policy.break_for * 2 ** min(beyond, 20), policy.break_most) if beyond >= 0 else 0
            lane.open_until = now + max(hold, min(outcome.retry_after or 0, policy.longest_wait))
        held: list[Action] = []
        if lane.open_until > now:
            held = [_put_off(action, lane.open_until) for action, _ in lane.waiting]
            lane.waiting.clear()
        self._fill(done.destination, lane, now)
        if not lane.waiting and not lane.under_way and not lane.failures:
            del self._lanes[done.destination]
        return held

    def _profiles(self, actions: Sequence[Action]) -> dict[int, Profile]:
        """Return the profiles of actions under the keys the actions have, following merges."""
        wanted = {action.profile for action in actions} - {0}
        known: dict[int, Profile] = {}
        while missing := wanted - known.keys():
            found = self._store.profiles(sorted(missing))
            known |= found
            wanted = {p.merged_into for p in found.values() if p.merged_into is not None} | (wanted & known.keys())
        return {key: _winner(key, known) for key in known}

    def _write(self, actions: list[Action]) -> None:
        if actions:
            unit = Unit()
            unit.updated_actions = actions
            for _ in range(_TRIES):  # another process may write in between; leased actions are ours whatever it wrote
                if self._commit(unit):
                    return
            raise Unavailable("the outbox could not be written: other processes wrote in between each time.", hint="Try again.")


def told_drafts(action: Action, events: Sequence[Told], profile: Profile) -> list[Draft]:
    """Return the events that an attempt brought about; attributes that are not theirs to say are left out.

    Ids follow from the action's key, so that a second delivery tells nothing twice.
    """
    drafts: list[Draft] = []
    for place, told in enumerate(events):
        data = told.data
        if told.type == PROFILE_UPDATED and told.over is not None:
            held = {name: profile.provenance[name].source for name in profile.attributes if name in profile.provenance}
            kept = {n: v for n, v in data["attributes"].items() if n not in held or held[n] in told.over}
            if not kept:
                continue
            data = {**data, "attributes": kept}
        drafts.append(
            Draft(
                type=told.type, data=data, profile=profile.id, kind=profile.kind, source=told.source,
                id=f"{OWN_IDS}{action.key}.{told.type}.{action.attempts}.{place}", cause=action.cause,
            )
        )  # fmt: skip
    return drafts


def _answered(outcome: Outcome) -> bool:
    """Return whether the destination is alive: a final no is an answer, too."""
    return outcome.ok or outcome.final or outcome.moot or outcome.again is not None


def _winner(key: int, known: Mapping[int, Profile]) -> Profile:
    profile = known[key]
    while profile.merged_into is not None and profile.merged_into in known:
        profile = known[profile.merged_into]
    return profile


def _destination(connector: Connector, action: Action) -> str:
    try:
        return connector.destination(action)
    except Exception:  # a payload that names no destination fails when it is performed, with a message
        return ""


def _put_off(action: Action, until: int) -> Action:
    """Return the action waiting for a destination that is held back, spread over the minute after; no attempt is counted."""
    spread = int(bucket(bucket_seed(action.key), "held") * MINUTE)
    return msgspec.structs.replace(_untried(action), status=ActionStatus.PENDING, due=until + spread)


def _untried(action: Action) -> Action:
    """Return a leased action without the attempt that was counted for it."""
    return msgspec.structs.replace(action, attempts=action.attempts - 1)


def _suppression(action: Action, profile: Profile, outcome: Outcome) -> Draft:
    address = action.payload.get("to")
    tag = suppression_tag(action.channel or "", address if isinstance(address, str) else None)
    return Draft(
        type=TAG_ADDED, data={"tag": tag, "reason": outcome.detail}, profile=profile.id, kind=profile.kind,
        id=f"{OWN_IDS}{action.key}.suppressed", source="outbox", cause=action.cause,
    )  # fmt: skip
