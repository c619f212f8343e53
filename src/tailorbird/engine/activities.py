"""Activities: what people do, written into the timelines of CRMs; and how each connection does."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from tailorbird.connectors.crm import ACTIVITY, CRM
from tailorbird.core.action import Action
from tailorbird.core.event import Json
from tailorbird.core.ids import digest
from tailorbird.crm.autosync import AutoSync, Target
from tailorbird.crm.model import ACTIVITY_KINDS
from tailorbird.engine.parts import Parts
from tailorbird.engine.refs import find_profile, read_instant
from tailorbird.errors import InvalidInput, NotFound, TailorbirdError, Unavailable
from tailorbird.ports import Unit

__all__ = ["Activities", "ActivityToSync", "ConnectionState", "Synced"]

_LOOK: Final = 5.0  # seconds
_MOST: Final = 10_000
_TRIES: Final = 20


class ActivityToSync(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An activity to be written. ``profile`` is any reference to a person; ``record`` the CRM's id of them, in its place or besides.

    ``key`` tells it apart, so that giving it again writes nothing twice; left out, it follows from all the rest. ``at`` is now when
    left out. ``data`` is as of an ``Activity``.
    """

    kind: str
    profile: str | None = None
    record: str | None = None
    connection: str | None = None
    subject: str = ""
    body: str = ""
    at: Any = None
    data: dict[str, Json] = {}
    key: str | None = None


class Synced(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one: the key of its action in the outbox, or why it is not there (``error`` a code, ``detail`` for people)."""

    key: str | None = None
    connection: str | None = None
    status: str = ""
    error: str = ""
    detail: str = ""


class ConnectionState(msgspec.Struct, frozen=True, kw_only=True):
    """How a connection does: its status and why, when it resumes, how many activities wait for it and since when (ms)."""

    connection: str
    provider: str
    status: str
    error: str | None
    resumes_at: int | None
    waiting: int
    oldest: int | None
    auto_sync: bool


class Activities:
    """Writes activities back, through the outbox: they survive a crash, and wait while a CRM is down."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._targets: tuple[Target, ...] = ()
        self._looked = float("-inf")
        parts.loop.react(AutoSync(self.targets, CRM, ACTIVITY))

    # ---- verbs

    def sync_activity(
        self, profile: str | None, kind: str, *, connection: str | None = None, record: str | None = None, subject: str = "",
        body: str = "", at: Any = None, data: Mapping[str, Json] | None = None, key: str | None = None,
    ) -> Synced:  # fmt: skip
        """Have an activity written into a person's timeline; return its action's key and status.

        Without ``connection`` it is the only one there is. Raises ``NotFound`` for an unknown person or connection and
        ``InvalidInput`` for an unknown kind.
        """
        wanted = ActivityToSync(
            kind=kind, profile=profile, record=record, connection=connection, subject=subject, body=body, at=at, data=dict(data or {}),
            key=key,
        )  # fmt: skip
        action = self._action(wanted)
        self._admit([action])
        found = self._parts.store.action(action.key)
        return Synced(key=action.key, connection=str(action.payload["connection"]), status=found.status if found else "pending")

    def batch_sync_activities(self, activities: Sequence[Mapping[str, Any] | ActivityToSync]) -> list[Synced]:
        """Have many written, in one transaction; return what became of each, in order. A bad one keeps no good one back."""
        if len(activities) > _MOST:
            raise InvalidInput(f"{len(activities)} activities are too many at once.", hint=f"Give at most {_MOST:,} at a time.")
        results: list[Synced] = []
        actions: list[Action] = []
        for one in activities:
            try:
                action = self._action(_read(one))
            except TailorbirdError as error:
                results.append(Synced(error=error.code, detail=error.message))
                continue
            actions.append(action)
            results.append(Synced(key=action.key, connection=str(action.payload["connection"]), status="pending"))
        self._admit(actions)
        return results

    def auto_sync(self, connection: str, on: bool, *, kinds: Sequence[str] = ()) -> None:
        """Turn on or off that what happens is written to a connection by itself; ``kinds`` narrows it down. ``NotFound`` where there
        is no such connection."""
        for kind in kinds:
            _known(kind)
        crm = self._parts.store.crm
        found = self._parts.connections.get(connection)
        settings = {**found.settings, "auto_sync": on, "auto_sync_kinds": sorted(set(kinds))}
        crm.put_connection(msgspec.structs.replace(found, settings=settings, changed_at=self._parts.now()))
        self._looked = float("-inf")

    def targets(self) -> tuple[Target, ...]:
        """Return the connections that have auto-sync on; what another process changed is seen within 5 s."""
        if time.monotonic() - self._looked > _LOOK:
            self._looked = time.monotonic()
            self._targets = tuple(
                Target(connection=one.name, kinds=frozenset(one.settings.get("auto_sync_kinds") or ()))
                for one in self._parts.store.crm.connections()
                if one.settings.get("auto_sync") is True
            )
        return self._targets

    def status(self) -> list[ConnectionState]:
        """Return how each connection does, and what waits for it."""
        waiting = self._parts.store.unsettled_by(CRM, "connection")
        return [
            ConnectionState(
                connection=one.name, provider=one.provider, status=one.status, error=one.error, resumes_at=one.resumes_at,
                waiting=waiting.get(one.name, (0, 0))[0], oldest=waiting[one.name][1] if one.name in waiting else None,
                auto_sync=one.settings.get("auto_sync") is True,
            )
            for one in self._parts.store.crm.connections()
        ]  # fmt: skip

    # ---- inside

    def _action(self, wanted: ActivityToSync) -> Action:
        now = self._parts.now()
        kind = _known(wanted.kind)
        connection = self.connection(wanted.connection)
        at = now if wanted.at is None else read_instant(wanted.at, "at")
        person = 0
        if wanted.profile is not None:
            person = find_profile(self._parts.store, wanted.profile, region=self._parts.region).key
        elif wanted.record:
            link = self._parts.store.crm.links(connection, [wanted.record]).get(wanted.record)
            person = link.profile if link is not None else 0
        else:
            raise InvalidInput("an activity is of a profile or of a record.", hint="Give one of the two.")
        payload: dict[str, Json] = {
            "connection": connection, "kind": kind, "subject": wanted.subject, "body": wanted.body, "at": at,
            "data": msgspec.to_builtins(wanted.data),
        }  # fmt: skip
        if wanted.record:
            payload["record"] = wanted.record
        whose = str(person) if person else f"record {wanted.record}"
        made_of = wanted.key or msgspec.json.encode(payload, order="sorted").decode()
        key = "crm_" + digest(ACTIVITY, connection, whose, made_of)
        return Action(key=key, kind=ACTIVITY, connector=CRM, payload=payload, profile=person, due=now, created_at=now)

    def connection(self, name: str | None) -> str:
        """Return the connection that is meant: the one of that name, or the only one there is."""
        if name is not None:
            return self._parts.connections.get(name).name
        found = self._parts.store.crm.connections()
        if len(found) == 1:
            return found[0].name
        if not found:
            raise NotFound("No CRM credentials found for user", hint="Run `tailorbird connect hubspot`, or another CRM's name.")
        names = ", ".join(one.name for one in found)
        raise InvalidInput("there are several connections.", hint=f"Say which one: {names}.")

    def _admit(self, actions: Sequence[Action]) -> None:
        unit = Unit()
        unit.actions = list({action.key: action for action in actions}.values())
        for _ in range(_TRIES):
            if not unit or self._parts.loop.write(unit):
                return
        raise Unavailable("other processes wrote in between each time we tried.", hint="Try again.")


def _read(one: Mapping[str, Any] | ActivityToSync) -> ActivityToSync:
    if isinstance(one, ActivityToSync):
        return one
    try:
        return msgspec.convert(dict(one), ActivityToSync)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the activity cannot be read: {error}", hint="Give kind, and profile or record.") from None


def _known(kind: str) -> str:
    if kind not in ACTIVITY_KINDS:
        raise InvalidInput(f"{kind!r:.60} is no kind of activity.", hint=f"Kinds are {', '.join(sorted(ACTIVITY_KINDS))}.")
    return kind
