"""What comes in over HTTP as events: our own form, and Segment's calls, as ``Incoming``; one bad event costs no other."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from tailorbird.api.bodies import decode
from tailorbird.api.segment import MAX_CALL, Message, Parcel, incoming_of
from tailorbird.core.event import NAME_PATTERN
from tailorbird.engine.refs import is_public, read_ref
from tailorbird.errors import InvalidEvent, TailorbirdError, TooLarge
from tailorbird.expr.read import parse_time
from tailorbird.runtime.ingest import MAX_EVENT, MAX_ID, MAX_KEY, MAX_TYPE, Incoming, Receipt

__all__ = ["MAX_EVENTS", "EventIn", "Reading", "Receipts", "read_batch", "read_call", "read_events"]

MAX_EVENTS: Final = 10_000
"""How many events one request may hold."""


_NAME: Final = {"pattern": f"^{NAME_PATTERN}$"}  # told in OpenAPI; whether it holds, the loop looks


class EventIn(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """An event of our own form. Whose it is say ``profile`` (a public id, an external id, or ``kind:value``) or ``identifiers``.

    ``at`` is ms since 1970 or ISO 8601 text (left out: now); ``id`` makes sending it twice harmless.
    """

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=200, examples=["order.placed"], extra_json_schema=_NAME)]
    profile: Annotated[str, msgspec.Meta(min_length=1, max_length=200, examples=["ann"])] | None = None
    identifiers: dict[str, str] = {}
    data: dict[str, Any] = {}
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=200, extra_json_schema=_NAME)] | None = None
    at: int | str | None = None
    source: Annotated[str, msgspec.Meta(max_length=100)] = "api"
    kind: Annotated[str, msgspec.Meta(pattern="^(person|company)$")] = "person"


_Plain = None | bool | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | float | str


class _Flat(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """An ``EventIn`` as nearly all are, checked while it is decoded: data without nesting, nothing unusual."""

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TYPE)]
    profile: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    identifiers: dict[str, str] = {}
    data: dict[Annotated[str, msgspec.Meta(max_length=MAX_KEY)], _Plain] = {}
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)] | None = None
    at: int | str | None = None
    source: Annotated[str, msgspec.Meta(max_length=100)] = "api"
    kind: Literal["person", "company"] = "person"


class Receipts(msgspec.Struct, kw_only=True):
    """The receipts of several events, in their order, and how many of them were rejected."""

    receipts: list[Receipt]
    rejected: int = 0


class Reading:
    """What was read: the good events, and for each event that was sent its place among them, or why it is bad."""

    __slots__ = ("good", "single", "slots")

    def __init__(self, *, single: bool = False) -> None:
        self.good: list[Incoming] = []
        self.slots: list[int | TailorbirdError] = []
        self.single = single

    def add(self, found: list[Incoming]) -> None:
        """Note an event that was sent; where it stands for two, its receipt is that of the first."""
        self.slots.append(len(self.good))
        self.good += found

    def name(self, key: str) -> None:
        """Give events without an id one that follows from the request's idempotency key."""
        for place, event in enumerate(self.good):
            if event.id is None:
                event.id = f"{key}:{place}"

    def receipts(self, given: list[Receipt]) -> list[Receipt]:
        """Return a receipt for each event that was sent."""
        if len(given) == len(self.slots):
            return given
        return [
            given[slot] if isinstance(slot, int) else Receipt(status="rejected", mistakes=(_told(slot),)) for slot in self.slots
        ]


_message = msgspec.json.Decoder(Message)
_parcel = msgspec.json.Decoder(Parcel)
_event = msgspec.json.Decoder(EventIn)
_many = msgspec.json.Decoder(list[msgspec.Raw])
_flat = msgspec.json.Decoder(_Flat)
_all_flat = msgspec.json.Decoder(list[_Flat])


def read_call(call: str, body: bytes, now: int, region: str | None = None) -> Reading:
    """Read one call of Segment's API. Raises ``BadRequest``, ``InvalidEvent``, ``TooLarge``."""
    found = Reading(single=True)
    found.add(incoming_of(call, decode(_message, body), received_at=now, region=region))
    return found


def read_batch(body: bytes, now: int, region: str | None = None) -> Reading:
    """Read a batch of calls. Raises ``BadRequest`` and the like for what is wrong with it as a whole."""
    parcel = decode(_parcel, body)
    _limit(len(parcel.batch))
    found = Reading()
    for raw in parcel.batch:
        try:
            if len(raw) > MAX_CALL:
                raise _long_event(len(raw))
            message = decode(_message, raw)
            found.add(incoming_of(None, message, received_at=now, sent_at=parcel.sent_at, region=region))
        except TailorbirdError as error:
            found.slots.append(error)
    return found


def read_events(body: bytes) -> Reading:
    """Read one event or a list of events of our own form."""
    return _read_flat(body) or _read_any(body)


def _read_flat(body: bytes) -> Reading | None:
    """Read events that are as nearly all are, which the decoder can check by itself; None when one is not.

    No byte is outside printable ASCII and nothing is escaped: so no text in it is, and all of it is shorter than one event may be.
    """
    if len(body) > MAX_EVENT or not body.isascii() or b"\\" in body or b"\x7f" in body:
        return None
    single = body[:1] == b"{"
    try:
        flat = [_flat.decode(body)] if single else _all_flat.decode(body)
    except msgspec.DecodeError:
        return None  # what is wrong with it, the slower way tells
    found = Reading(single=single)
    good = found.good
    for event in flat:
        ref, identifiers, at = event.profile, event.identifiers, event.at
        if type(at) is str:
            at = parse_time(at)
            if at is None:
                return None
        if ref is not None:
            if identifiers or is_public(ref):
                return None
            kind, value = read_ref(ref)
            identifiers = {kind: value}
        good.append(
            Incoming(
                type=event.type,
                identifiers=identifiers,
                data=event.data,
                id=event.id,
                at=at,  # type: ignore[arg-type]
                source=event.source,
                kind=event.kind,
                plain=True,
            )
        )
    found.slots.extend(range(len(good)))
    return found


def _read_any(body: bytes) -> Reading:
    if body.lstrip()[:1] != b"[":
        if len(body) > 2 * MAX_CALL:
            raise _long_event(len(body))
        found = Reading(single=True)
        found.add([_incoming(decode(_event, body))])
        return found
    found = Reading()
    raws = decode(_many, body)
    _limit(len(raws))
    for raw in raws:
        try:
            if len(raw) > 2 * MAX_CALL:
                raise _long_event(len(raw))
            found.add([_incoming(decode(_event, raw))])
        except TailorbirdError as error:
            found.slots.append(error)
    return found


def _incoming(event: EventIn) -> Incoming:
    at = event.at
    if type(at) is str:
        at = parse_time(at)
        if at is None:
            raise InvalidEvent("`at` is not a time", hint="write ms since 1970, or 2026-01-31T12:00:00Z")
    ref, identifiers = event.profile, event.identifiers
    public = None
    if ref is not None:
        if identifiers:
            raise InvalidEvent("`profile` and `identifiers` are both there", hint="send one of them")
        if is_public(ref):
            public = ref
        else:
            kind, value = read_ref(ref)
            identifiers = {kind: value}
    return Incoming(
        type=event.type, identifiers=identifiers, data=event.data, id=event.id, at=at,  # type: ignore[arg-type]
        source=event.source, kind=event.kind, profile=public,
    )  # fmt: skip


def _limit(count: int) -> None:
    if count > MAX_EVENTS:
        raise TooLarge(f"{count} events in one request; the limit is {MAX_EVENTS}", hint="send them in several")


def _long_event(size: int) -> TooLarge:
    return TooLarge(f"the event has {size} bytes; the limit is {MAX_CALL}", hint="keep large things elsewhere and send a link")


def _told(error: TailorbirdError) -> str:
    return str(error)
