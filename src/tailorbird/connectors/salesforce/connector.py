"""The connector to Salesforce: contacts and leads of one organisation, their tasks and events, and campaigns."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal
from urllib.parse import urlsplit

from tailorbird.connectors.rest import Auth, Forbidden, Retry, Unsupported
from tailorbird.connectors.salesforce.answers import VENDOR, long_id, object_of
from tailorbird.connectors.salesforce.campaigns import set_members
from tailorbird.connectors.salesforce.objects import CONSENT, OBJECTS
from tailorbird.connectors.salesforce.org import TOGETHER, Org
from tailorbird.connectors.salesforce.reading import Reader
from tailorbird.connectors.salesforce.soql import column, select
from tailorbird.connectors.salesforce.timeline import ACTIVITIES, Timeline
from tailorbird.connectors.salesforce.writing import Writer
from tailorbird.core.context import Clock
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
from tailorbird.crm.port import Capabilities, Filters, Identity, Limits
from tailorbird.errors import InvalidInput

__all__ = ["VERSION", "SalesforceConnector"]

VERSION: Final = "v63.0"
"""The version of the REST API that is spoken unless told otherwise."""

_VERSION: Final = re.compile(r"v\d{2,3}\.0")
_NO_WEBHOOKS: Final = f"{VENDOR} sends no webhooks that could be checked; what changed is read."


class SalesforceConnector:
    """Speaks to one organisation. ``url`` is its own address (``https://name.my.salesforce.com``); one that came with a token counts.

    ``objects`` are the kinds of people in use, the default first. ``tags_field`` is a multi-select picklist of contacts and leads that
    takes tags, ``activity_key`` a unique external id of activities that takes our marker. ``fields`` names the fields of the
    organisation's own that are read (none: all of them), ``daily`` how many requests of a day may be used.
    """

    provider = "salesforce"

    def __init__(
        self, name: str, url: str, *, auth: Auth, clock: Clock, version: str = VERSION, objects: Sequence[str] = tuple(OBJECTS),
        tags_field: str = "", activity_key: str = "", fields: Sequence[str] = (), daily: int | None = None,
        timeout: float = 30.0, retry: Retry | None = None, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self.name = name
        _check(url, version, objects)
        for own in filter(None, (tags_field, activity_key, *fields)):
            column(own)
        self.capabilities = _capabilities(objects, lists=bool(tags_field), idempotent=bool(activity_key))
        self._org = Org(url, auth=auth, version=version, clock=clock, daily=daily, timeout=timeout, retry=retry, sleep=sleep)
        self._reader = Reader(self._org, objects, tags_field=tags_field, only=fields, clock=clock)
        self._writer = Writer(self._org, objects, tags_field)
        self._timeline = Timeline(self._org, activity_key)

    def __repr__(self) -> str:
        return f"SalesforceConnector({self.name!r}, host={self._org.host!r})"

    def test(self) -> Identity:
        """Ask which organisation this is, and who we are there."""
        rows = self._org.ask(select(["Id", "Name"], "Organization", limit=1))
        account = f"{rows[0]['Name']} ({rows[0]['Id']})" if rows else VENDOR
        return Identity(account=account, user=self._org.user())

    def get(self, id: str, *, object: str = "") -> Record | None:
        """Return a contact or a lead; None when there is none, or none any more."""
        return self._reader.get(id, object)

    def find(self, *, email: str | None = None, phone: str | None = None) -> list[Record]:
        """Return the people with this address or number, contacts before leads, the oldest first."""
        return self._reader.find(email, phone)

    def search(self, text: str, *, limit: int = 50) -> list[Record]:
        """Return people in whom the words occur; new ones take a while until a search finds them."""
        return self._reader.search(text, limit)

    def query(self, filters: Filters, *, cursor: str | None = None, limit: int = 100) -> Page:
        """Return people for whom all filters hold."""
        return self._reader.query(filters, cursor, limit)

    def changes(self, cursor: str | None, *, limit: int = 1000) -> Page:
        """Return who was made, changed or deleted since the cursor; what is a minute young may come twice."""
        return self._reader.changes(cursor, limit)

    def create(self, row: Row) -> Written:
        """Make a person. Raises ``RemoteConflict`` when somebody matches, or a rule against duplicates says so."""
        return self._writer.create(row)

    def update(self, row: Row, *, lists: Literal["merge", "replace"] = "replace") -> Written:
        """Change the fields given. Salesforce refuses what it does not keep; words that have no field there are told as dropped."""
        return self._writer.update(row, lists)

    def upsert_many(self, rows: Sequence[Row], *, lists: Literal["merge", "replace"] = "replace") -> list[Written]:
        """Write many, 200 in a call; rows without an id are matched by address, number or an external id."""
        return self._writer.upsert_many(rows, lists)

    def log_activities(self, activities: Sequence[Activity]) -> list[Logged]:
        """Write activities as tasks and events, 200 in a call; those that are there already are found."""
        return self._timeline.log(activities)

    def fields(self, *, object: str = "") -> list[CrmField]:
        """Return the fields of an object that the connection's user may see."""
        kind = object or self.capabilities.objects[0]
        if kind not in self.capabilities.objects:
            raise Unsupported(f"{VENDOR}: {kind:.40} is no kind of person here")
        return [found.field for found in self._org.shown(kind).values()]

    def set_consent(self, record: Record, channel: str, given: bool, *, purpose: str = "marketing") -> None:
        """Tick or clear the box of an opt-out. Raises ``Forbidden`` where the connection's user may not see it."""
        box = CONSENT.get(channel)
        kind, id = object_of(record.id), long_id(record.id)
        if box is None or purpose != "marketing":
            raise Unsupported(f"{VENDOR} keeps no opt-out of {channel:.40} for {purpose:.40}.")
        if kind is None or id is None:
            raise Unsupported(f"{VENDOR} keeps opt-outs of contacts and leads only.")
        if box not in self._org.shown(kind):
            raise Forbidden(f"{VENDOR} does not show {box} of a {kind}", hint="Make the field visible (field-level security).")
        self._org.change(OBJECTS[kind], id, {box: not given})

    def set_members(self, segment: str, *, adding: Sequence[str] = (), removing: Sequence[str] = ()) -> list[Written]:
        """Make people members of the campaign of a segment's name, others no longer."""
        return set_members(self._org, segment, adding, removing)

    def subscribe(self, url: str) -> list[Subscribed]:
        """Not here: see ``changes``."""
        raise Unsupported(_NO_WEBHOOKS)

    def renew(self, subscriptions: Sequence[Subscribed]) -> list[Subscribed]:
        """Not here: see ``changes``."""
        raise Unsupported(_NO_WEBHOOKS)

    def unsubscribe(self, subscriptions: Sequence[Subscribed]) -> None:
        """Not here: see ``changes``."""
        raise Unsupported(_NO_WEBHOOKS)

    def verify_webhook(self, call: WebhookCall, now: int) -> None:
        """Not here: nothing that Salesforce sends is signed."""
        raise Unsupported(_NO_WEBHOOKS)

    def parse_webhook(self, call: WebhookCall) -> list[Notice]:
        """Not here: see ``changes``."""
        raise Unsupported(_NO_WEBHOOKS)

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._org.close()


def options(settings: Mapping[str, Json]) -> dict[str, object]:
    """Return a connector's options out of a connection's settings; lists may be written with commas.

    >>> options({"objects": "lead, contact", "tags_field": "Tags__c"})
    {'tags_field': 'Tags__c', 'objects': ('lead', 'contact')}
    """
    found: dict[str, object] = {}
    for name in ("version", "tags_field", "activity_key"):
        if settings.get(name):
            found[name] = str(settings[name])
    for name in ("objects", "fields"):
        value = settings.get(name)
        if value:
            listed = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
            found[name] = tuple(str(part).strip() for part in listed)
    daily = settings.get("daily_requests")
    if daily:
        if not str(daily).isdecimal():
            raise InvalidInput("daily_requests is a number of requests.", hint="Leave it out to use what Salesforce allows.")
        found["daily"] = int(str(daily))
    return found


def _check(url: str, version: str, objects: Sequence[str]) -> None:
    host = urlsplit(url).hostname or ""
    if host.endswith(".lightning.force.com"):
        raise InvalidInput(
            f"{host} shows pages to people and answers no requests.", hint="Give the address that ends in .my.salesforce.com."
        )
    if not _VERSION.fullmatch(version):
        raise InvalidInput(f"{version!r:.20} is no version of Salesforce's API.", hint=f"Write it as {VERSION}.")
    if not objects or set(objects) - set(OBJECTS):
        raise InvalidInput("the objects of Salesforce that stand for people are contact and lead.")


def _capabilities(objects: Sequence[str], *, lists: bool, idempotent: bool) -> Capabilities:
    return Capabilities(
        provider="salesforce", objects=tuple(objects), deletions=True, lists=lists, activities=ACTIVITIES, consent=tuple(CONSENT),
        segments="campaign", idempotent=idempotent,
        limits=Limits(requests={"day": 100_000}, page=2_000, batch_write=TOGETHER, batch_activities=TOGETHER),
    )  # fmt: skip
