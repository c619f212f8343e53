"""Intake: what a face received as an ``Incoming``, checked in one pass, and the ``Receipt`` that answers it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from tailorbird.core.context import DAY
from tailorbird.core.event import (
    CONSENT_GRANTED,
    CONSENT_WITHDRAWN,
    MEMBER_ADDED,
    MEMBER_REMOVED,
    PROFILE_UPDATED,
    TAG_ADDED,
    TAG_REMOVED,
    Json,
    is_name,
)
from tailorbird.errors import InvalidEvent, Mistake

__all__ = [
    "MAX_DEPTH", "MAX_EVENT", "MAX_ID", "MAX_KEY", "MAX_STRING", "MAX_TYPE", "OWN_IDS", "Incoming", "Receipt", "check", "refuse",
]  # fmt: skip

MAX_TYPE: Final = 200
MAX_ID: Final = 200
MAX_SOURCE: Final = 100
MAX_KEY: Final = 200
MAX_DEPTH: Final = 32
MAX_STRING: Final = 32_768
"""Bytes of one string; as many as a whole event may have."""
MAX_EVENT: Final = 32_768
"""Bytes of an event's data, written as JSON."""
FUTURE: Final = DAY
"""How far a client's clock may run ahead; up to that, an event counts as of when we received it."""

OWN_IDS: Final = "tb:"
"""What the ids of events begin with that Tailorbird names itself; from outside they are refused, so none can be taken ahead."""

_INT_LIMIT: Final = 2**63
_KINDS: Final = frozenset({"person", "company"})
_UNFIT: Final = re.compile("[\x00\ud800-\udfff]")
_RESERVED: Final = re.compile(r"(?:profile|tag|consent|member|segment|stage|definition|timer|cascade|enrichment)\.")


class Incoming(msgspec.Struct, kw_only=True, gc=False):
    """An event as it came in. ``profile`` is a public id (``p_…``); else ``identifiers`` (kind to value) say whose it is.

    ``at`` in ms since 1970 (None: now); ``id`` makes taking it in twice harmless (None: a fresh one); ``kind`` is what the
    profile is, ``person`` or ``company``. ``plain`` is set by who has seen already that every text in it is printable ASCII,
    its type and id are neither empty nor too long, and its data is flat and within the limits.
    """

    type: str
    identifiers: dict[str, str] = {}
    data: dict[str, Json] = {}
    id: str | None = None
    at: int | None = None
    source: str = "api"
    kind: str = "person"
    profile: str | None = None
    plain: bool = False


class Receipt(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """The answer to one event: what became of it, and the profile's segments as they are after it, once durable.

    ``entered`` and ``exited`` are what the event itself caused. ``mistakes`` say why it was rejected, in sentences.
    """

    status: Literal["accepted", "duplicate", "rejected"]
    id: str | None = None
    profile: str | None = None
    segments: tuple[str, ...] = ()
    entered: tuple[str, ...] = ()
    exited: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()


def refuse(mistakes: tuple[Mistake, ...]) -> InvalidEvent:
    """Return the error that carries what is wrong with an event."""
    return InvalidEvent("; ".join(m.render() for m in mistakes), mistakes=mistakes)


def check(incoming: Incoming, now: int) -> tuple[Mistake, ...]:
    """Return everything that is wrong with an event from outside; nothing for a good one, in a few microseconds."""
    data, type_, at, id_ = incoming.data, incoming.type, incoming.at, incoming.id
    if (
        incoming.plain
        and type_[-1] != " "
        and (id_ is None or (id_[:3] != OWN_IDS and id_[-1] != " "))
        and (at is None or 0 <= at <= now + FUTURE)
        and (incoming.profile is not None) ^ bool(incoming.identifiers)
        and not _RESERVED.match(type_)
    ):
        return ()
    if (
        is_name(type_)
        and (id_ is None or (is_name(id_) and id_[:3] != OWN_IDS))
        and (at is None or (type(at) is int and 0 <= at <= now + FUTURE))
        and type(data) is dict
        and type(incoming.identifiers) is dict
        and (incoming.profile is not None) ^ bool(incoming.identifiers)
        and incoming.kind in _KINDS
        and len(incoming.source) <= MAX_SOURCE
        and _is_plain(data)
        and not _RESERVED.match(type_)
    ):  # fmt: skip
        return ()
    return tuple(_mistakes(incoming, now))


def _is_plain(data: dict[str, Json]) -> bool:
    """Return whether the data is certainly good: flat, few, short, ASCII; what is not is looked at more closely."""
    room = 4_096
    for key, value in data.items():
        kind = type(value)
        if type(key) is not str or not key.isascii() or not key.isprintable():
            return False
        if kind is str:
            if not value.isascii() or not value.isprintable():
                return False
            room -= len(value)
        elif kind is float:
            if value - value != 0.0:
                return False
        elif kind is int:
            if not -_INT_LIMIT <= value < _INT_LIMIT:
                return False
        elif value is not None and kind is not bool:
            return False
        room -= len(key) + 24
        if len(key) > MAX_KEY:
            return False
    return room > 0


def _mistakes(incoming: Incoming, now: int) -> list[Mistake]:
    found: list[Mistake] = []
    _name(found, "type", incoming.type, MAX_TYPE)
    if incoming.id is not None and _name(found, "id", incoming.id, MAX_ID) and incoming.id.startswith(OWN_IDS):
        found.append(Mistake("reserved", f"ids that begin with {OWN_IDS} are Tailorbird's own", "use another id", where="id"))
    _text(found, "source", incoming.source, MAX_SOURCE)
    _whose(found, incoming)
    _time(found, incoming.at, now)
    if type(incoming.data) is not dict:
        hint = 'send {"name": value, …}'
        found.append(Mistake("wrong_type", f"data must be an object, not {_kind(incoming.data)}", hint, where="data"))
        return found
    found.extend(_check_data(incoming.data))
    if not found and _RESERVED.match(incoming.type):
        found.extend(_check_reserved(incoming.type, incoming.data))
    return found


def _text(found: list[Mistake], where: str, value: Json, most: int) -> bool:
    if type(value) is not str:
        found.append(Mistake("wrong_type", f"{where} must be text, not {_kind(value)}", where=where))
    elif not value.strip():
        found.append(Mistake("missing", f"{where} is empty", "give it a value or leave it out", where=where))
    elif len(value) > most:
        found.append(Mistake("too_large", f"{where} has {len(value)} characters; the limit is {most}", where=where))
    elif _UNFIT.search(value) or any(ord(char) < 32 for char in value):
        found.append(Mistake("invalid_text", f"{where} contains control characters or half a character pair", where=where))
    else:
        return True
    return False


def _name(found: list[Mistake], where: str, value: Json, most: int) -> bool:
    if not _text(found, where, value, most):
        return False
    if not is_name(value):
        told = (
            f"{where} ends in a space" if value.isascii() and value.isprintable() else f"{where} holds more than printable ASCII"
        )
        found.append(Mistake("invalid_text", told, "use letters A to Z, digits, signs, and spaces inside", where=where))
        return False
    return True


def _whose(found: list[Mistake], incoming: Incoming) -> None:
    if incoming.kind not in _KINDS:
        hint = "known: person, company"
        found.append(Mistake("invalid_value", f"{_shown(incoming.kind)} is not a kind of profile", hint, where="kind"))
    if incoming.profile is not None:
        _text(found, "profile", incoming.profile, MAX_ID)
    if type(incoming.identifiers) is not dict:
        found.append(Mistake("wrong_type", "identifiers must be an object of kind and value", where="identifiers"))
    elif not incoming.identifiers and incoming.profile is None:
        hint = "give one of external_id, email, phone, anonymous_id"
        found.append(Mistake("no_identifier", "nothing says whose event this is", hint, where="identifiers"))
    elif len(incoming.identifiers) > 20:
        told = f"{len(incoming.identifiers)} identifiers; the limit is 20"
        found.append(Mistake("too_large", told, where="identifiers"))


def _time(found: list[Mistake], at: Json, now: int) -> None:
    if at is None:
        return
    if type(at) is not int:
        found.append(Mistake("wrong_type", f"the time must be whole milliseconds, not {_kind(at)}", where="at"))
    elif at < 0:
        found.append(Mistake("absurd_time", "the time lies before 1970", "send ms since 1970, or leave it out", where="at"))
    elif at > now + FUTURE:
        told = f"the time lies {(at - now) // DAY} days ahead of our clock"
        found.append(Mistake("absurd_time", told, "send ms since 1970 (UTC), not micro- or nanoseconds", where="at"))


def _check_data(data: dict[str, Json]) -> list[Mistake]:
    walk = _Walk()
    walk.value(data, "data", 0)
    if walk.size > MAX_EVENT and not walk.mistakes:
        told = f"the data has about {walk.size} bytes; the limit is {MAX_EVENT} an event"
        walk.mistakes.append(Mistake("too_large", told, "send less, or keep it elsewhere and send a link", where="data"))
    return walk.mistakes


class _Walk:
    """One careful walk over an event's data; ``size`` counts bytes as JSON would have them."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []
        self.size = 2

    def value(self, value: Json, where: str, depth: int) -> None:
        if self.size > 2 * MAX_EVENT or len(self.mistakes) >= 10:
            return  # enough is known
        kind = type(value)
        if kind is str:
            self._string(value, where)
        elif kind is dict or kind is list:
            if depth > MAX_DEPTH:
                self._add("too_deep", f"nests deeper than {MAX_DEPTH} levels", where, "flatten it")
            elif kind is dict:
                self._object(value, where, depth)
            else:
                self.size += 2 + len(value)
                for index, item in enumerate(value):
                    self.value(item, f"{where}[{index}]", depth + 1)
        elif kind is float:
            self.size += 8
            if value - value != 0.0:
                self._add("not_finite", f"is {value}", where, "send a number, or null where there is none")
        elif kind is int:
            self.size += len(str(value)) if -_INT_LIMIT <= value < _INT_LIMIT else 20
            if not -_INT_LIMIT <= value < _INT_LIMIT:
                self._add("too_large", "does not fit in 64 bits", where, "send it as text")
        elif value is None or kind is bool:
            self.size += 5
        else:
            self._add("wrong_type", f"is of type {kind.__name__}", where, "send text, numbers, true, false, null, lists, objects")

    def _object(self, value: dict[str, Json], where: str, depth: int) -> None:
        for key, item in value.items():
            if type(key) is not str:
                self._add("wrong_type", f"has the key {_shown(key)}, which is not text", where)
                continue
            self.size += len(key) + 4
            if len(key) > MAX_KEY:
                self._add("too_large", f"has a name of {len(key)} characters; the limit is {MAX_KEY}", where)
            elif _UNFIT.search(key):
                self._add("invalid_text", "has a name with a NUL or half a character pair", where)
            else:
                self.value(item, f"{where}.{key}", depth + 1)

    def _string(self, value: str, where: str) -> None:
        if _UNFIT.search(value):
            self._add("invalid_text", "contains a NUL or half a character pair", where, "send valid text")
            return
        size = len(value) if value.isascii() else len(value.encode())
        self.size += size + 2
        if size > MAX_STRING:
            self._add("too_large", f"has {size} bytes; the limit is {MAX_STRING}", where, "shorten it")

    def _add(self, code: str, message: str, where: str, hint: str = "") -> None:
        self.mistakes.append(Mistake(code, message, hint, where=where[:200]))


def _check_reserved(type_: str, data: dict[str, Json]) -> list[Mistake]:
    """Check an event whose type Tailorbird gives a meaning to; those it alone may write are refused."""
    form = _FORMS.get(type_)
    if form is None:
        noun = type_.split(".", 1)[0]
        own = ", ".join(name for name in _FORMS if name.startswith(f"{noun}."))
        hint = f"from outside only {own}" if own else "use another name"
        return [Mistake("reserved", f"events called {noun}.… are Tailorbird's own", hint, where="type")]
    return form(data)


def _form_profile(data: dict[str, Json]) -> list[Mistake]:
    attributes = data.get("attributes")
    if type(attributes) is not dict:
        hint = '{"attributes": {"name": value or null}}'
        return [Mistake("wrong_type", "attributes must be an object", hint, where="data.attributes")]
    if any(not name.strip() for name in attributes):
        return [Mistake("missing", "an attribute has no name", where="data.attributes")]
    return _only(data, "attributes")


def _form_tag(data: dict[str, Json]) -> list[Mistake]:
    return _named(data, "tag") or _only(data, "tag", "reason")


def _form_member(data: dict[str, Json]) -> list[Mistake]:
    return _named(data, "segment") or _only(data, "segment", "reason")


def _form_consent(data: dict[str, Json]) -> list[Mistake]:
    found = _named(data, "channel") + _named(data, "purpose")
    if type(data.get("explicit", False)) is not bool:
        found.append(Mistake("wrong_type", "explicit must be true or false", where="data.explicit"))
    return found or _only(data, "channel", "purpose", "explicit", "proof", "reason")


def _named(data: dict[str, Json], name: str) -> list[Mistake]:
    found: list[Mistake] = []
    _text(found, f"data.{name}", data.get(name), MAX_KEY)
    return found


def _only(data: dict[str, Json], *known: str) -> list[Mistake]:
    hint = f"known: {', '.join(known)}"
    unknown = [name for name in data if name not in known]
    return [Mistake("unknown_field", f"{_shown(name)} has no meaning here", hint, where="data") for name in unknown]


_FORMS: Final[dict[str, Callable[[dict[str, Json]], list[Mistake]]]] = {
    PROFILE_UPDATED: _form_profile,
    TAG_ADDED: _form_tag,
    TAG_REMOVED: _form_tag,
    CONSENT_GRANTED: _form_consent,
    CONSENT_WITHDRAWN: _form_consent,
    MEMBER_ADDED: _form_member,
    MEMBER_REMOVED: _form_member,
}


def _kind(value: Json) -> str:
    return "nothing" if value is None else type(value).__name__


def _shown(value: Json) -> str:
    return repr(value)[:80]
