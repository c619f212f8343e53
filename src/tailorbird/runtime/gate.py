"""The gate: whether an action may reach a person now, and if not, why, and when to ask again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from tailorbird.core.action import Action, ActionStatus
from tailorbird.core.context import SECOND
from tailorbird.core.event import Json
from tailorbird.core.profile import Profile
from tailorbird.expr.units import duration_of

__all__ = ["DEFAULT_PURPOSE", "TRANSACTIONAL", "Gate", "Guard", "Verdict", "parse_guard", "quiet_until", "suppression_tag"]

DEFAULT_PURPOSE: Final = "marketing"
"""What an action with a channel and no purpose is taken to be for: the one that needs consent."""

TRANSACTIONAL: Final = "transactional"
"""The purpose that needs no consent (a receipt, a password): only a withdrawal of it stops it."""


Count = Callable[[int, str, int], int]
"""How many messages on a channel a profile was sent, or is about to be, after an instant: (profile, channel, since)."""

_QUEUE: Final = 64  # windows ahead that a deferred message looks for room in; beyond, it asks again when its turn comes


class Verdict(NamedTuple):
    """What the gate says: ``reason`` is a stable code, ``text`` a sentence; with ``retry_at`` the action only waits."""

    allowed: bool
    reason: str = ""
    text: str = ""
    retry_at: int | None = None

    def applied_to(self, action: Action) -> Action:
        """Return the action as the verdict leaves it: as it was, waiting until ``retry_at``, or refused."""
        if self.allowed:
            return action
        if self.retry_at is not None:
            return msgspec.structs.replace(action, status=ActionStatus.PENDING, due=self.retry_at, error=self.text)
        return msgspec.structs.replace(action, status=ActionStatus.REFUSED, error=f"{self.reason}: {self.text}")


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """One ``gate`` definition: what it guards, a cap of ``count`` per ``per`` ms, quiet hours in minutes of the local day.

    ``defer`` says what a reached cap does: wait until there is room, or refuse.
    """

    name: str
    channel: str
    purpose: str | None = None
    count: int | None = None
    per: int = 0
    defer: bool = False
    quiet: tuple[int, int] | None = None
    timezone: str | None = None


def parse_guard(name: str, spec: Mapping[str, Json]) -> Guard:
    """Return the guard of a checked ``gate`` spec: ``channel``, ``purpose?``, ``cap? {count, per, then?}``, ``quiet_hours?``.

    >>> parse_guard("nights", {"channel": "sms", "quiet_hours": {"from": "21:00", "to": "08:00"}}).quiet
    (1260, 480)
    """
    cap, quiet = spec.get("cap") or {}, spec.get("quiet_hours") or {}
    return Guard(
        name=name,
        channel=spec["channel"],
        purpose=spec.get("purpose"),
        count=cap.get("count"),
        per=(duration_of(cap["per"]) or 0) if cap else 0,
        defer=cap.get("then") == "defer",
        quiet=(_minutes(quiet["from"]), _minutes(quiet["to"])) if quiet else None,
        timezone=quiet.get("timezone"),
    )


def suppression_tag(channel: str, address: str | None = None) -> str:
    """Return the tag that suppresses a channel for a profile, or one address of it.

    Suppression is a tag, so it is an event with a time, survives merging, and conditions can ask for it.

    >>> suppression_tag("email"), suppression_tag("email", "ann@example.com")
    ('suppressed:email', 'suppressed:email:ann@example.com')
    """
    return f"suppressed:{channel}:{address}" if address else f"suppressed:{channel}"


class Gate:
    """Decides on actions. Asked when an action is admitted to the outbox and again right before each delivery.

    In this order: suppression, consent, quiet hours, caps. Actions without a channel concern no person's inbox and pass.
    ``sent_since(profile, channel, since)`` counts what was sent to the profile after an instant, or is due after it, *besides*
    the action that is judged.
    """

    def __init__(self, guards: Iterable[Guard], sent_since: Count) -> None:
        self._guards: dict[str, list[Guard]] = {}
        for guard in guards:
            self._guards.setdefault(guard.channel, []).append(guard)
        self._sent_since = sent_since

    def admit(self, action: Action, profile: Profile | None, now: int, *, sent_since: Count | None = None) -> Verdict:
        """Return whether the action may go to the profile at this instant.

        ``sent_since`` is asked in place of the gate's own: who knows of more than is stored counts that, too.
        """
        if action.channel is None:
            return _YES
        if profile is None:
            return Verdict(False, "no_profile", "the person is not known, or was erased")
        purpose = action.purpose or DEFAULT_PURPOSE
        guards = [g for g in self._guards.get(action.channel, ()) if g.purpose in (None, purpose)]
        return (
            _suppressed(action, action.channel, profile)
            or _unconsented(action.channel, purpose, profile)
            or _quiet(guards, profile, now)
            or _capped(guards, profile, now, sent_since or self._sent_since)
            or _YES
        )


_YES: Final = Verdict(True)


def _suppressed(action: Action, channel: str, profile: Profile) -> Verdict | None:
    if not profile.tags:
        return None
    address = action.payload.get("to")
    tags = {"suppressed", suppression_tag(channel), suppression_tag(channel, address if isinstance(address, str) else None)}
    if tags.isdisjoint(profile.tags):
        return None
    return Verdict(False, "suppressed", f"{channel} is suppressed for this person or address")


def _unconsented(channel: str, purpose: str, profile: Profile) -> Verdict | None:
    given = profile.consents.get(f"{channel}/{purpose}")
    if given or (given is None and purpose == TRANSACTIONAL):
        return None
    said = "was withdrawn" if given is False else "was never given"
    return Verdict(False, "no_consent", f"consent to {channel} for {purpose} {said}")


def _quiet(guards: Iterable[Guard], profile: Profile, now: int) -> Verdict | None:
    ends = [(end, guard.name) for guard in guards if (end := quiet_until(guard, profile, now)) is not None]
    if not ends:
        return None
    end, name = max(ends)
    return Verdict(False, "quiet_hours", f"it is quiet by {name}", end)


def quiet_until(guard: Guard, profile: Profile, now: int) -> int | None:
    """Return when the guard's quiet hours end if it is quiet now where the profile lives, else None.

    The zone is the profile's attribute ``timezone`` where that names one, else the guard's, else UTC. Hours that begin
    when they end are never quiet.
    """
    if guard.quiet is None or guard.quiet[0] == guard.quiet[1]:
        return None
    begin, end = guard.quiet
    own = profile.attributes.get("timezone")
    zone = (_zone(own) if isinstance(own, str) else None) or (_zone(guard.timezone) if guard.timezone else None) or UTC
    local = datetime.fromtimestamp(now / 1000, zone)
    minute = local.hour * 60 + local.minute
    quiet = begin <= minute < end if begin < end else minute >= begin or minute < end
    if not quiet:
        return None
    day = local.date() + timedelta(days=1 if minute >= end else 0)
    until = datetime(day.year, day.month, day.day, end // 60 % 24, end % 60, tzinfo=zone)
    return max(int(until.timestamp() * 1000), now + SECOND)  # a clock that is put back must not answer the past


def _capped(guards: Iterable[Guard], profile: Profile, now: int, sent_since: Count) -> Verdict | None:
    waiting: Verdict | None = None
    for guard in guards:
        if guard.count is None or sent_since(profile.key, guard.channel, now - guard.per) < guard.count:
            continue
        text = f"{guard.name} lets {guard.count} through in {guard.per // SECOND} s on {guard.channel}"
        if not guard.defer:
            return Verdict(False, "cap_reached", text)
        room = _room_at(guard, profile.key, now, sent_since)
        if waiting is None or room > (waiting.retry_at or 0):
            waiting = Verdict(False, "cap_reached", text, room)
    return waiting


def _room_at(guard: Guard, profile: int, now: int, sent_since: Count) -> int:
    """Return when the cap has room again, to the second: the first start that leaves fewer than ``count``, plus ``per``.

    What waits for its own turn is due in the future and counts there, so that many that wait are spread out.
    """
    most = guard.count or 0
    low, high = now - guard.per, now
    while sent_since(profile, guard.channel, high) >= most and high - now < _QUEUE * guard.per:
        low, high = high, high + guard.per
    while high - low > SECOND:
        middle = (low + high) // 2
        if sent_since(profile, guard.channel, middle) < most:
            high = middle
        else:
            low = middle
    return high + guard.per


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return (int(hours) * 60 + int(minutes)) % (24 * 60)
