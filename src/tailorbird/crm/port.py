"""The port of every CRM: what a connector implements, and its capabilities, which it declares as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from tailorbird.core.event import Json
from tailorbird.crm.model import (
    Activity,
    CrmField,
    Logged,
    Notice,
    Page,
    Record,
    Row,
    Subscribed,
    WebhookCall,
    Written,
)

__all__ = ["Capabilities", "CrmConnector", "Filters", "Identity", "Limits"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the vendor allows: requests per window (``second ten_seconds minute day``), and how many go into one call."""

    requests: Mapping[str, int] = {}
    page: int = 100
    batch_write: int = 1
    batch_activities: int = 1


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a connector can do, as data; what it cannot, it refuses with ``Unsupported``, and the contract suite checks that.

    ``objects`` are the kinds of object that stand for people, the default first. ``activities`` maps our kinds to what they become
    there. ``idempotent``: the vendor itself drops a second write with the same key; else we find the first by its marker.
    ``unique_email``: a second record with an address that another has is refused. ``consent`` lists channels whose opt-out can be
    written. ``segments`` says what a segment becomes there, None where it cannot.
    """

    provider: str
    objects: tuple[str, ...] = ("contact",)
    read: bool = True
    write: bool = True
    search: bool = True
    changes: bool = True
    deletions: bool = False
    upsert_many: bool = True
    unique_email: bool = False
    lists: bool = False  # update(lists="merge") adds to lists in place of replacing them
    activities: Mapping[str, str] = {}
    consent: tuple[str, ...] = ()
    segments: Literal["list", "campaign", "tag"] | None = None
    webhooks: bool = False
    renewal: bool = False  # subscriptions end by themselves
    idempotent: bool = False
    limits: Limits = Limits()


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are at the CRM: its account and the user, for people to recognise."""

    account: str
    user: str | None = None


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which records are asked for; everything given has to hold. Names are neutral or the CRM's own.

    ``equals`` compares a field, ``contains`` wants all these in a list field, ``before`` a time field before an instant (or empty),
    ``changed_since`` in ms. A connector narrows by what its CRM can, and checks the rest itself: the answer is exact.
    """

    equals: Mapping[str, Json] = {}
    contains: Mapping[str, tuple[str, ...]] = {}
    before: Mapping[str, int] = {}
    changed_since: int | None = None


class CrmConnector(Protocol):
    """Speaks to one CRM with one connection's credentials. Used from several threads at once.

    Every verb raises ``RemoteError`` of the taxonomy in ``connectors.rest.errors``; the verbs of many report each row instead,
    and raise only when the whole call failed. Nobody's data stands in an error.
    """

    name: str
    provider: str
    capabilities: Capabilities

    def test(self) -> Identity:
        """Ask the CRM who we are."""
        ...

    def get(self, id: str, *, object: str = "") -> Record | None:
        """Return a record; None when there is none (404 is an answer)."""
        ...

    def find(self, *, email: str | None = None, phone: str | None = None) -> list[Record]:
        """Return the records with this address or number."""
        ...

    def search(self, text: str, *, limit: int = 50) -> list[Record]:
        """Return records in which the CRM's own search finds the text."""
        ...

    def query(self, filters: Filters, *, cursor: str | None = None, limit: int = 100) -> Page:
        """Return records for which all filters hold, a page at a time."""
        ...

    def changes(self, cursor: str | None, *, limit: int = 1000) -> Page:
        """Return what was made, changed or (where it can be seen) deleted since the cursor; None: everything there is.

        The cursor is opaque, holds no secret, and may be kept: reading from it again gives at least what followed.
        """
        ...

    def create(self, row: Row) -> Written:
        """Make a record. Raises ``RemoteConflict`` with the existing id when there is one."""
        ...

    def update(self, row: Row, *, lists: Literal["merge", "replace"] = "replace") -> Written:
        """Change the fields given of the record ``row.id``; read the answer, so that what the CRM dropped is told."""
        ...

    def upsert_many(self, rows: Sequence[Row], *, lists: Literal["merge", "replace"] = "replace") -> list[Written]:
        """Write many, each with its own result, in order. Rows without an id are matched, then made."""
        ...

    def log_activities(self, activities: Sequence[Activity]) -> list[Logged]:
        """Write activities into timelines, each with its own result, in order; one whose key is there already is found."""
        ...

    def fields(self, *, object: str = "") -> list[CrmField]:
        """Return the fields of an object."""
        ...

    def set_consent(self, record: Record, channel: str, given: bool, *, purpose: str = "marketing") -> None:
        """Write that the person consents on a channel, or opted out of it."""
        ...

    def set_members(self, segment: str, *, adding: Sequence[str] = (), removing: Sequence[str] = ()) -> list[Written]:
        """Make records members of a segment's list, campaign or tag (made where it is missing), and others no longer."""
        ...

    def subscribe(self, url: str) -> list[Subscribed]:
        """Have the CRM call this address when people change; what it sends is checked by ``verify_webhook``."""
        ...

    def renew(self, subscriptions: Sequence[Subscribed]) -> list[Subscribed]:
        """Make subscriptions last longer."""
        ...

    def unsubscribe(self, subscriptions: Sequence[Subscribed]) -> None:
        """End subscriptions; one that is gone already is no error."""
        ...

    def verify_webhook(self, call: WebhookCall, now: int) -> None:
        """Return when the call comes from the CRM and is fresh; else raise ``Refused`` with a reason. Constant time, on the raw body."""
        ...

    def parse_webhook(self, call: WebhookCall) -> list[Notice]:
        """Return what a verified call tells; raises ``RemoteInvalid`` for what cannot be read."""
        ...

    def close(self) -> None:
        """Close the connections that are kept alive."""
        ...
