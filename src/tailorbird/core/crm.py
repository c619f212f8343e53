"""What any CRM says of one contact: the person, their company, and what they did lately."""

from __future__ import annotations

import msgspec

from tailorbird.core.event import Event, Json

__all__ = ["Account", "Contact", "CrmContext", "Interaction"]


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A person as a CRM knows them. ``id`` is the CRM's own; ``attributes`` holds everything else that it says of them.

    ``consents`` maps ``"channel/purpose"`` (``email/marketing``) to whether it is given; what is left out was never said.
    """

    id: str
    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    name: str | None = None
    company: str | None = None
    title: str | None = None
    tags: tuple[str, ...] = ()
    consents: dict[str, bool] = {}
    attributes: dict[str, Json] = {}


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The company a contact belongs to, with its tier (such as ``gold``) where the CRM keeps one."""

    id: str | None = None
    name: str | None = None
    tier: str | None = None
    attributes: dict[str, Json] = {}


class Interaction(msgspec.Struct, frozen=True, kw_only=True):
    """Something a contact did: its type (``email.opened``), when (ms since 1970), and on which channel.

    ``channel`` may be left None: it then follows from ``data.channel`` or from the type, as the definition says.
    """

    id: str
    type: str
    at: int
    channel: str | None = None
    data: dict[str, Json] = {}


class CrmContext(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter answers with; interactions newest first.

    ``total`` is how many interactions there are in all, where the CRM can tell cheaply; else those given are taken for all.
    ``history`` is the person's whole history in our own events, oldest first, with ``seed`` as the profile's fixed chance: only
    the native adapter has it, and where it is None conditions are asked over what the contact and the interactions say.
    """

    contact: Contact
    account: Account | None = None
    interactions: tuple[Interaction, ...] = ()
    total: int | None = None
    history: tuple[Event, ...] | None = None
    seed: int = 0
