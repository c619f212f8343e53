"""The connector to HubSpot: contacts, engagements, lists, communication preferences and webhooks.

Source: https://developers.hubspot.com/docs/api-reference, and HubSpot's OpenAPI documents.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec

from tailorbird.connectors.hubspot import webhooks
from tailorbird.connectors.hubspot.activities import KINDS, Timeline
from tailorbird.connectors.hubspot.answers import refuse
from tailorbird.connectors.hubspot.link import HOSTS, Link
from tailorbird.connectors.hubspot.reading import Reading
from tailorbird.connectors.hubspot.words import Words, field_of
from tailorbird.connectors.hubspot.writing import BATCH, Writing
from tailorbird.connectors.rest import Auth, RemoteInvalid, RemoteNotFound, Retry, Transport, Unsupported
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

__all__ = ["HubspotConnector"]

_CONTACT: Final = "0-1"
_MEMBERS: Final = 1_000


class HubspotConnector:
    """Speaks to one HubSpot account; used from several threads at once.

    ``tags_property`` names the multiple-checkbox property that holds tags, ``status_property`` the one that holds the status,
    ``properties`` further ones to read. ``app_id`` and ``developer_key`` are an app's, and needed to subscribe. ``consent_definition``
    is the id of the subscription that a consent is given to; else the one whose purpose is asked for.
    """

    provider = "hubspot"

    def __init__(
        self, name: str = "hubspot", *, auth: Auth, clock: Clock, url: str = "https://api.hubapi.com", webhook_secret: str = "",
        developer_key: str = "", app_id: str = "", tags_property: str = "", status_property: str = "hs_lead_status",
        consent_definition: str = "", properties: Sequence[str] = (), requests_per_ten_seconds: int = 190,
        searches_per_second: int = 5, retry: Retry | None = None, sleep: Callable[[float], None] = time.sleep,
        timeout: float = 15.0,
    ) -> None:  # fmt: skip
        self.name = name
        self.capabilities = Capabilities(
            provider="hubspot", unique_email=True, lists=bool(tags_property), consent=("email",), segments="list",
            activities={str(kind): theirs for kind, theirs in KINDS.items()}, webhooks=bool(webhook_secret), idempotent=True,
            limits=Limits(
                requests={"ten_seconds": requests_per_ten_seconds, "second": searches_per_second}, page=100, batch_write=BATCH,
                batch_activities=BATCH,
            ),
        )  # fmt: skip
        self._webhook_secret = webhook_secret
        self._developer_key = developer_key
        self._app_id = app_id
        self._definition = consent_definition
        self._link = Link(
            url, auth=auth, clock=clock, requests=requests_per_ten_seconds, searches=searches_per_second, properties=properties,
            retry=retry, sleep=sleep, timeout=timeout,
        )  # fmt: skip
        # An app's own settings are asked for with the developer's key, never with the account's token.
        self._app = (
            Transport("HubSpot", url, hosts=HOSTS, retry=retry, refuse=refuse, clock=clock, sleep=sleep, timeout=timeout)
            if app_id.isdecimal() and developer_key
            else None
        )
        words = Words(tags=tags_property, status=status_property)
        self._reading = Reading(self._link, words, clock)
        self._writing = Writing(self._link, words, self._first_with)
        self._timeline = Timeline(self._link)
        self._lists: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"HubspotConnector({self.name!r}, {self._link!r})"

    def test(self) -> Identity:
        """Return the number of the account."""
        told = self._link.send("GET", "account-info/v3/details")
        return Identity(account=str(told.get("portalId") or "HubSpot"))

    # ---- reading

    def get(self, id: str, *, object: str = "") -> Record | None:
        """Return a contact; None when there is none."""
        found = self._reading.by([id]) if id.isdecimal() else []
        return found[0] if found else None

    def find(self, *, email: str | None = None, phone: str | None = None) -> list[Record]:
        """Return the contacts with this address (the further ones of a contact, too) or number."""
        found = self._reading.by([email.strip().lower()], name="email") if email and email.strip() else []
        found += self._reading.by_phone(phone.strip()) if phone and phone.strip() else []
        return list({record.id: record for record in found}.values())

    def search(self, text: str, *, limit: int = 50) -> list[Record]:
        """Return contacts that HubSpot's search finds."""
        return self._reading.search(text, limit)

    def query(self, filters: Filters, *, cursor: str | None = None, limit: int = 100) -> Page:
        """Return the contacts for whom all filters hold."""
        return self._reading.query(filters, cursor, limit)

    def changes(self, cursor: str | None, *, limit: int = 1000) -> Page:
        """Return a page of all contacts, then of those that changed. Deletions are told by webhooks only."""
        return self._reading.changes(cursor, limit)

    def fields(self, *, object: str = "") -> list[CrmField]:
        """Return the properties of contacts."""
        return [field_of(told) for told in self._link.described(again=True).values() if not told.get("hidden")]

    # ---- writing

    def create(self, row: Row) -> Written:
        """Make a contact."""
        return self._writing.create(row)

    def update(self, row: Row, *, lists: Literal["merge", "replace"] = "replace") -> Written:
        """Change a contact."""
        return self._writing.update(row, merge=lists == "merge")

    def upsert_many(self, rows: Sequence[Row], *, lists: Literal["merge", "replace"] = "replace") -> list[Written]:
        """Write many contacts, a hundred in one call."""
        return self._writing.upsert_many(rows, merge=lists == "merge")

    def log_activities(self, activities: Sequence[Activity]) -> list[Logged]:
        """Write activities as engagements, a hundred in one call."""
        return self._timeline.log(activities)

    def set_consent(self, record: Record, channel: str, given: bool, *, purpose: str = "marketing") -> None:
        """Opt somebody out of all marketing e-mail, or write their consent to (or opt-out of) one kind of it."""
        if channel != "email":
            raise Unsupported(f"HubSpot's preferences are written for email, not for {channel:.40}.")
        if not record.email:
            raise RemoteInvalid("the contact has no address, and HubSpot keeps preferences by address.")
        path = f"communication-preferences/v4/statuses/{quote(record.email, safe='@')}"
        if not given and purpose == "marketing":
            self._link.send("POST", f"{path}/unsubscribe-all", params={"channel": "EMAIL"}, safe=True)
            return
        state: dict[str, Json] = {"channel": "EMAIL", "statusState": "SUBSCRIBED" if given else "UNSUBSCRIBED"}
        state["subscriptionId"] = int(self._definition or self._definition_of(purpose))
        if given:
            state |= {"legalBasis": "CONSENT_WITH_NOTICE", "legalBasisExplanation": "Consent recorded by Tailorbird."}
        self._link.send("POST", path, json=state, safe=True)

    def _definition_of(self, purpose: str) -> str:
        told = self._link.send("GET", "communication-preferences/v4/definitions").get("results") or ()
        for one in told:
            named = {str(one.get("purpose")).casefold(), str(one.get("name")).casefold()}
            if one.get("isActive") and not one.get("isInternal") and purpose.casefold() in named:
                return str(one["id"])
        raise RemoteInvalid(f"HubSpot has no subscription for the purpose {purpose:.60}.", hint="Set consent_definition.")

    def set_members(self, segment: str, *, adding: Sequence[str] = (), removing: Sequence[str] = ()) -> list[Written]:
        """Make contacts members of a static list of the segment's name, and others no longer."""
        steps = [(id, True) for id in adding] + [(id, False) for id in removing]
        missing: set[str] = set()
        for start in range(0, len(steps), _MEMBERS):
            part = steps[start : start + _MEMBERS]
            body: Json = {
                "recordIdsToAdd": [id for id, added in part if added], "recordIdsToRemove": [id for id, added in part if not added],
            }  # fmt: skip
            missing |= self._move(segment, body)
        nobody = RemoteNotFound.code
        return [Written(key=id, id=id, error=nobody if id in missing else "") for id, _ in steps]

    def _move(self, segment: str, body: Json) -> set[str]:
        known = segment in self._lists
        path = f"crm/v3/lists/{self._list(segment)}/memberships/add-and-remove"
        try:
            told = self._link.send("PUT", path, json=body, safe=True)
        except RemoteNotFound:
            if not known:
                raise
            del self._lists[segment]  # somebody deleted the list: it is made anew
            return self._move(segment, body)
        return {str(id) for id in told.get("recordIdsMissing") or ()}

    def _list(self, segment: str) -> str:
        if segment not in self._lists:
            told: dict[str, Any]
            try:
                told = self._link.send("GET", f"crm/v3/lists/object-type-id/{_CONTACT}/name/{quote(segment, safe='')}")
            except RemoteNotFound:
                made: Json = {"name": segment, "objectTypeId": _CONTACT, "processingType": "MANUAL"}
                told = self._link.send("POST", "crm/v3/lists", json=made)
            self._lists[segment] = str(told["list"]["listId"])
        return self._lists[segment]

    # ---- webhooks

    def subscribe(self, url: str) -> list[Subscribed]:
        """Have HubSpot call this address when contacts change."""
        if not self.capabilities.webhooks:
            raise Unsupported("webhooks of HubSpot could not be checked.", hint="Give the app's client secret as webhook_secret.")
        return webhooks.subscribe(self._app, self._app_id, self._developer_key, url)

    def renew(self, subscriptions: Sequence[Subscribed]) -> list[Subscribed]:
        """They do not end."""
        return [msgspec.structs.replace(one, expires_at=None) for one in subscriptions]

    def unsubscribe(self, subscriptions: Sequence[Subscribed]) -> None:
        """End subscriptions."""
        webhooks.unsubscribe(self._app, self._app_id, self._developer_key, subscriptions)

    def verify_webhook(self, call: WebhookCall, now: int) -> None:
        """Check the signature of version 3, and that the call is no older than five minutes."""
        webhooks.verify(self._webhook_secret, call, now)

    def parse_webhook(self, call: WebhookCall) -> list[Notice]:
        """Return what a call tells of contacts."""
        return webhooks.notices(call)

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._link.close()
        if self._app is not None:
            self._app.close()

    def _first_with(self, phone: str) -> str | None:
        found = self._reading.by_phone(phone)
        return found[0].id if found else None
