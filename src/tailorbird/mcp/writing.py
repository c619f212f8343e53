"""The tools that change something: they are there only for callers with the scope ``write``."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from tailorbird.core.crm import Contact
from tailorbird.engine import Engine, ProfileView
from tailorbird.errors import InvalidInput
from tailorbird.mcp.reading import ContactRef, InstantText
from tailorbird.mcp.tool import Tool

__all__ = ["WRITING"]

_SOURCE: Final = "mcp"
Names = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=100)]


class Tracked(ContactRef, kw_only=True, forbid_unknown_fields=True):
    """What happened, and to whom; an id makes sending it twice harmless."""

    type: Annotated[str, Meta(min_length=1, max_length=200, examples=["call.completed"], description="noun.past_tense")]
    data: Annotated[dict[str, Any], Meta(description='What belongs to it, such as {"channel": "phone"}')] = msgspec.field(
        default_factory=dict
    )
    at: InstantText = None
    id: Annotated[str, Meta(max_length=200, description="A name of your own for this event")] | None = None


class Taken(msgspec.Struct, kw_only=True):
    """What became of an event: accepted or duplicate, and the segments as they are after it."""

    status: str
    id: str | None
    contact_id: str | None
    segments: tuple[str, ...]
    entered: tuple[str, ...]
    exited: tuple[str, ...]


class Tagging(ContactRef, kw_only=True, forbid_unknown_fields=True):
    """Tags to give, and tags to take."""

    add: Names = ()
    remove: Names = ()


class Upsert(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A contact: whom it is about is said by contact_id, email or phone."""

    contact_id: Annotated[str, Meta(max_length=300, description="A public id, an external id, or kind:value")] | None = None
    email: Annotated[str, Meta(max_length=320)] | None = None
    phone: Annotated[str, Meta(max_length=40, description="With country code, such as +33612345678")] | None = None
    attributes: Annotated[dict[str, Any], Meta(description="first_name, last_name, title, company, …; null removes")] = {}
    tags: Names = ()


class Definitions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Definitions as YAML or JSON text, as they would stand in a file."""

    definitions: Annotated[str, Meta(
        min_length=1, max_length=200_000, examples=["kind: segment\nname: keen\nwhen: count(page.viewed, within 7d) >= 3\n"],
    )]  # fmt: skip
    check_only: Annotated[bool, Meta(description="Check and say what would change; change nothing")] = False


class Applied(msgspec.Struct, kw_only=True):
    """Which definitions are active now, which were as asked already, and how many entered and left each segment."""

    activated: tuple[str, ...]
    unchanged: tuple[str, ...]
    checked_only: bool


def _track(engine: Engine, asked: Tracked) -> Taken:
    found = engine.track(asked.type, profile=asked.contact_id, at=asked.at, id=asked.id, source=_SOURCE, **_fit(asked.data))
    return Taken(
        status=found.status, id=found.id, contact_id=found.profile, segments=found.segments, entered=found.entered, exited=found.exited
    )  # fmt: skip


def _fit(data: dict[str, Any]) -> dict[str, Any]:
    taken = {"type", "profile", "at", "id", "source", "identifiers"} & data.keys()
    if taken:
        raise InvalidInput(f"data may not have {', '.join(sorted(taken))}", hint="Give them as arguments, or rename them.")
    return data


def _tag(engine: Engine, asked: Tagging) -> ProfileView:
    if not asked.add and not asked.remove:
        raise InvalidInput("there is no tag to add or remove", hint='Give add: ["vip"] or remove: ["vip"].')
    if asked.add:
        engine.tag(asked.contact_id, *asked.add, source=_SOURCE)
    if asked.remove:
        engine.untag(asked.contact_id, *asked.remove, source=_SOURCE)
    return engine.profile(asked.contact_id)


def _upsert(engine: Engine, asked: Upsert) -> ProfileView:
    if not (asked.contact_id or asked.email or asked.phone):
        raise InvalidInput("nobody is named", hint="Give contact_id, email or phone.")
    named = {"email": asked.email or None, "phone": asked.phone or None}
    contact = Contact(id=asked.contact_id or "", tags=asked.tags, attributes=asked.attributes, **named)  # type: ignore[arg-type]
    return engine.profile(engine.service.adapters["native"].upsert(contact))


def _apply(engine: Engine, asked: Definitions) -> Applied:
    text = asked.definitions if "\n" in asked.definitions else f"{asked.definitions}\n"  # text, never the path of a file
    if asked.check_only:
        engine.check(text)
        return Applied(activated=(), unchanged=(), checked_only=True)
    done = engine.apply(text)
    named = tuple(f"{item.kind} {item.name} (version {item.version})" for item in done.activated)
    return Applied(activated=named, unchanged=tuple(f"{kind} {name}" for kind, name in done.unchanged), checked_only=False)


WRITING: Final = (
    Tool(
        "track_event", "Record an event", "Record that something happened to a contact; their segments follow at once.", Tracked,
        Taken, _track, writes=True, again=False,
    ),
    Tool("tag_contact", "Tag a contact", "Give a contact tags, or take them away.", Tagging, ProfileView, _tag, writes=True),
    Tool(
        "upsert_contact", "Create or change a contact",
        "Create a contact, or change what is given of one; what is left out stays as it is.", Upsert, ProfileView, _upsert,
        writes=True,
    ),
    Tool(
        "apply_definition", "Apply definitions",
        "Check definitions (segments, features, …) and activate them; a new version replaces the active one, and every mistake is "
        "told with line and column. Use check_only first.", Definitions, Applied, _apply, writes=True, replaces=True,
    ),
)  # fmt: skip
"""The tools that only callers with the scope ``write`` see."""
