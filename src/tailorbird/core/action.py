"""An Action: an intended effect on the outside world, and what became of it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tailorbird.core.event import Json

__all__ = ["Action", "ActionStatus", "Outcome", "Told"]


class ActionStatus(StrEnum):
    """Where an action stands in the outbox."""

    PENDING = "pending"  # due at ``due``; also after a failed attempt that will be retried
    SENDING = "sending"  # leased to a deliverer until ``due``
    SENT = "sent"
    REFUSED = "refused"  # the gate said no; the reason is in ``error``
    DEAD = "dead"  # gave up; can be requeued by a person


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """An intended effect. ``key`` is the idempotency key: one action per key is ever admitted.

    ``kind`` reads ``noun.verb`` (``message.send``, ``webhook.post``). ``channel`` and ``purpose`` are set on what goes to
    a person and are what the gate asks consent for. ``profile`` is 0 where no person is concerned.
    """

    key: str
    kind: str
    connector: str
    payload: dict[str, Json]
    profile: int = 0
    channel: str | None = None
    purpose: str | None = None
    due: int = 0
    created_at: int = 0
    cause: str | None = None
    status: str = ActionStatus.PENDING
    attempts: int = 0
    error: str | None = None
    seq: int = 0


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An event that an attempt brings about for its profile, besides that it was done; ``source`` is who says so.

    ``over``: the sources whose attributes a ``profile.updated`` of ours may replace (what nobody has said counts as ours to
    say); None: all. Judged by the profile as it is when the event is told, so that a person's own word of meanwhile stands.
    """

    type: str
    data: dict[str, Json] = {}
    source: str = "outbox"
    over: tuple[str, ...] | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a connector says of one attempt; ``retry_after`` in ms where the other side told us, ``final`` when retrying is vain.

    ``suppress``: the address itself is dead or refuses us (a hard bounce, a complaint) and must not be used again.
    ``again``: not done yet and nothing wrong; go on in so many ms, with ``payload`` in place of the action's if given. No
    attempt is counted. ``events`` are told of the profile, in this order, once the action is settled or goes on.
    ``moot``: there is nothing to do after all, such as for whom the other side does not know; refused, and no event tells of it.
    """

    ok: bool
    detail: str = ""
    final: bool = False
    retry_after: int | None = None
    suppress: bool = False
    again: int | None = None
    payload: dict[str, Json] | None = None
    events: tuple[Told, ...] = ()
    moot: bool = False
