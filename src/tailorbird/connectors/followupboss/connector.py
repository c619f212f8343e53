"""The connector to Follow Up Boss.

Source: docs.followupboss.com, "People", "Events", "Pagination", "Rate Limiting".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from tailorbird.connectors.followupboss.answers import VENDOR, refuse
from tailorbird.connectors.followupboss.people import (
    FIELDS,
    NO_CONTACT,
    OPT_OUT,
    dropped,
    fits,
    iso,
    needs_held,
    record_of,
    same_phone,
    values_of,
)
from tailorbird.connectors.followupboss.timeline import ACTIVITIES, Timeline
from tailorbird.connectors.followupboss.webhooks import EVENTS, notices, verify
from tailorbird.connectors.rest import (
    Answer,
    Auth,
    AuthExpired,
    AuthRevoked,
    Limiter,
    RemoteConflict,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Retry,
    Transport,
    Unsupported,
)
from tailorbird.core.context import MINUTE, SECOND, Clock
from tailorbird.core.event import Json
from tailorbird.crm.model import Activity, CrmField, Logged, Notice, Page, Record, Row, Subscribed, WebhookCall, Written
from tailorbird.crm.port import Capabilities, Filters, Identity, Limits

__all__ = ["FollowUpBossConnector"]

_PAGE: Final = 100
_OVERLAP: Final = 2 * MINUTE  # our clock and theirs may differ by so much
_TYPES: Final = {"text": "text", "date": "date", "number": "number", "dropdown": "text"}
_ASKED: Final = {
    "email": "email", "phone": "phone", "first_name": "firstName", "last_name": "lastName", "status": "stage", "source": "source",
}  # fmt: skip


class FollowUpBossConnector:
    """Speaks to one account of Follow Up Boss.

    ``system_key`` is what registered systems get: with it more requests are allowed, text messages can be written, and webhooks are
    checked. ``lead_flow``: whom nobody matches comes in as an event of ``event_type``, so that the account's rules apply.
    """

    def __init__(
        self, name: str = "followupboss", *, auth: Auth, clock: Clock, url: str = "https://api.followupboss.com/v1",
        system: str = "Tailorbird", system_key: str = "", lead_flow: bool = True, event_type: str = "Registration",
        retry: Retry | None = None, sleep: Callable[[float], None] = time.sleep, limits: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.provider = "followupboss"
        asked = dict(limits) if limits is not None else {"ten_seconds": 250 if system_key else 125}
        self.capabilities = Capabilities(
            provider="followupboss", objects=("contact",), deletions=True, unique_email=True, lists=True, segments="tag",
            activities={kind: what for kind, what in ACTIVITIES.items() if system_key or what != "textMessages"},
            consent=tuple(OPT_OUT), webhooks=True, limits=Limits(requests=asked, page=_PAGE),
        )  # fmt: skip
        self._clock = clock
        self._system = system
        self._key = system_key
        self._lead_flow = lead_flow
        self._event_type = event_type
        named = {"x-system": system, **({"x-system-key": system_key} if system_key else {})}
        self._transport = Transport(
            VENDOR, url, headers=lambda: named, auth=auth, retry=retry, limiter=Limiter(asked, clock=clock), refuse=refuse,
            clock=clock, sleep=sleep,
        )  # fmt: skip
        events = Limiter({"ten_seconds": 20 if system_key else 10}, clock=clock)
        self._timeline = Timeline(self._transport, system, there=lambda id: self.get(id) is not None, events=events, sleep=sleep)

    def __repr__(self) -> str:
        return f"FollowUpBossConnector({self.name!r}, {self._transport!r})"

    # ---- reading

    def test(self) -> Identity:
        """Ask whose key it is."""
        told: Any = self._transport.request("GET", "identity").json()
        account, user = told.get("account") or {}, told.get("user") or {}
        return Identity(account=str(account.get("domain") or account.get("id") or VENDOR), user=user.get("name"))

    def get(self, id: str, *, object: str = "") -> Record | None:
        """Return a person; None when there is none, or they are in the trash."""
        person = self._person(id)
        return None if person is None else record_of(person)

    def find(self, *, email: str | None = None, phone: str | None = None) -> list[Record]:
        """Return the people with this address or number."""
        found: dict[str, Record] = {}
        if email:
            wanted = email.casefold()
            found |= {r.id: r for r in self._list({"email": email}) if wanted in [one.casefold() for one in r.emails]}
        if phone:
            found |= {r.id: r for r in self._list({"phone": phone}) if any(same_phone(phone, one) for one in r.phones)}
        return list(found.values())

    def search(self, text: str, *, limit: int = 50) -> list[Record]:
        """Return people by a part of their name, or by an address or number."""
        by = "email" if "@" in text else "phone" if sum(c.isdigit() for c in text) >= 7 else "name"
        return self._list({by: text}, limit=min(limit, _PAGE))[:limit]

    def query(self, filters: Filters, *, cursor: str | None = None, limit: int = 100) -> Page:
        """Return people for whom all filters hold; a page may hold few of them although there are more."""
        params = {_ASKED[name]: str(value) for name, value in filters.equals.items() if name in _ASKED and isinstance(value, str)}
        if filters.contains.get("tags"):
            params["tags"] = ",".join(filters.contains["tags"])
        if filters.changed_since is not None:
            params["updatedAfter"] = iso(filters.changed_since - SECOND)
        if cursor is not None:
            params["next"] = cursor
        people, next, total = self._page(params, limit)
        records = tuple(record for person in people if not (record := record_of(person)).deleted and fits(record, filters))
        narrow = bool(filters.equals or filters.contains or filters.before or filters.changed_since)
        return Page(records=records, cursor=next, more=next is not None, total=None if narrow else total)

    def changes(self, cursor: str | None, *, limit: int = 1000) -> Page:
        """Return everybody, and from then on who changed; people in the trash come as deleted.

        Pages follow each other by the vendor's token: it refuses to count far.
        """
        state = _state(cursor)
        since, next, newest = state.get("since"), state.get("next"), state.get("newest")
        params: dict[str, str] = {}
        if since is None:
            # What changes while everybody is being read is read again afterwards.
            newest = newest if newest is not None else self._clock.now() - _OVERLAP
        else:
            params = {"sort": "updated", "updatedAfter": iso(since - SECOND), "includeTrash": "true"}
        records: list[Record] = []
        while True:
            if next is not None:
                params["next"] = next
            people, next, _ = self._page(params, limit - len(records))
            records += [record_of(person) for person in people]
            if next is None or len(records) >= limit:
                break
        if since is not None:
            newest = max([since, newest or 0, *(record.updated_at or 0 for record in records)])
        else:
            records = [record for record in records if not record.deleted]
        if next is None:
            return Page(records=tuple(records), cursor=_told({"since": newest}))
        return Page(records=tuple(records), cursor=_told({"since": since, "next": next, "newest": newest}), more=True)

    def fields(self, *, object: str = "") -> list[CrmField]:
        """Return the fields of people, the account's own among them."""
        told: Any = self._transport.request("GET", "customFields", params={"limit": "100"}).json()
        own = told.get("customfields") or told.get("customFields") or []
        return [*FIELDS, *(
            CrmField(
                name=str(one["name"]), label=str(one.get("label") or one["name"]), type=_TYPES.get(str(one.get("type")), "text"),
                choices=tuple(str(choice) for choice in one.get("choices") or ()),
            )
            for one in own if one.get("name")
        )]  # fmt: skip

    # ---- writing

    def create(self, row: Row) -> Written:
        """Make a person, without any automation. Raises ``RemoteConflict`` when their address or number is there already."""
        values, _ = values_of(row.values)
        answer = self._transport.request("POST", "people", params={"deduplicate": "true"}, json=values)
        person = _person_of(answer)
        if answer.status == 200:  # the one who was there, unchanged
            raise RemoteConflict(f"{VENDOR} API error: 200 - exists", http_status=200, existing=str(person["id"]))
        return Written(key=row.key, id=str(person["id"]), created=True, dropped=dropped(row.values, person))

    def update(self, row: Row, *, lists: Literal["merge", "replace"] = "replace") -> Written:
        """Change a person; of addresses, numbers and places only the first is changed, and the others are sent along."""
        held = None
        if needs_held(row.values):
            held = self._person(str(row.id))
            if held is None:
                raise _nobody()
        values, _ = values_of(row.values, held)
        if not str(row.id).isdecimal():
            raise _nobody()
        params = {"mergeTags": "true"} if lists == "merge" and "tags" in values else None
        person = _person_of(self._transport.request("PUT", f"people/{row.id}", params=params, json=values, safe=True))
        if record_of(person).deleted and values.get("stage") != person.get("stage"):
            raise _nobody()
        return Written(key=row.key, id=str(person["id"]), dropped=dropped(row.values, person))

    def upsert_many(self, rows: Sequence[Row], *, lists: Literal["merge", "replace"] = "replace") -> list[Written]:
        """Write many, one by one: Follow Up Boss takes no batches. Raises when our credentials are refused."""
        results = []
        for row in rows:
            try:
                results.append(self._upsert(row, lists))
            except (AuthExpired, AuthRevoked):
                raise
            except RemoteError as error:
                results.append(_failed(row.key, error))
        return results

    def log_activities(self, activities: Sequence[Activity]) -> list[Logged]:
        """Write activities; an e-mail opened becomes e-mail marketing, a page looked at an event of the person."""
        return self._timeline.log(activities)

    def set_consent(self, record: Record, channel: str, given: bool, *, purpose: str = "marketing") -> None:
        """Write an opt-out as a tag (and for e-mail as e-mail marketing's own), or take the tag away."""
        tag = OPT_OUT.get(channel)
        if tag is None or purpose != "marketing":
            raise Unsupported(f"{VENDOR} keeps no consent to {channel:.40} for {purpose:.40}.")
        person = self._person(record.id)
        if person is None:
            raise _nobody()
        if given:
            held = [str(one) for one in person.get("tags") or ()]
            if NO_CONTACT.casefold() in [one.casefold() for one in held]:
                raise RemoteInvalid(
                    f"{VENDOR}: somebody tagged this person {NO_CONTACT}.", hint="Take the tag away there if they consent again."
                )
            kept: list[Json] = [one for one in held if one.casefold() != tag.casefold()]
            if len(kept) < len(held):
                self._transport.request("PUT", f"people/{record.id}", json={"tags": kept}, safe=True)
            return
        self._transport.request("PUT", f"people/{record.id}", params={"mergeTags": "true"}, json={"tags": [tag]}, safe=True)
        address = record_of(person).email
        if channel == "email" and address:
            self._transport.request("POST", "emEvents", json={"emEvents": [{
                "type": "unsubscribe", "personId": int(record.id), "recipient": address, "occurred": iso(self._clock.now()),
            }]})  # fmt: skip

    def set_members(self, segment: str, *, adding: Sequence[str] = (), removing: Sequence[str] = ()) -> list[Written]:
        """Tag people with the segment's name, and take the tag from others."""
        results = []
        for id in [*adding, *removing]:
            try:
                if id in adding:
                    results.append(self.update(Row(key=id, id=id, values={"tags": [segment]}), lists="merge"))
                    continue
                person = self._person(id)
                if person is None:
                    raise _nobody()
                tags: list[Json] = [tag for tag in person.get("tags") or () if tag != segment]
                results.append(self.update(Row(key=id, id=id, values={"tags": tags})))
            except (AuthExpired, AuthRevoked):
                raise
            except RemoteError as error:
                results.append(_failed(id, error))
        return results

    # ---- webhooks

    def subscribe(self, url: str) -> list[Subscribed]:
        """Have an address called about people; one hook for each event, those that are there already are kept."""
        if not self._key:
            raise Unsupported(f"{VENDOR} signs webhooks with the X-System-Key.", hint="Register a system and give its key.")
        made = []
        for event in EVENTS:
            told: Any = self._transport.request("GET", "webhooks", params={"event": event}).json()
            there = [hook for hook in told.get("webhooks") or () if hook.get("url") == url and hook.get("event") == event]
            hook: Any = (
                there[0] if there else self._transport.request("POST", "webhooks", json={"event": event, "url": url}).json()
            )
            made.append(Subscribed(id=str(hook["id"]), events=(event,)))
        return made

    def renew(self, subscriptions: Sequence[Subscribed]) -> list[Subscribed]:
        """They do not end."""
        return list(subscriptions)

    def unsubscribe(self, subscriptions: Sequence[Subscribed]) -> None:
        """Remove hooks."""
        for subscription in subscriptions:
            try:
                self._transport.request("DELETE", f"webhooks/{int(subscription.id)}", safe=True)
            except RemoteNotFound:
                continue

    def verify_webhook(self, call: WebhookCall, now: int) -> None:
        """Check the signature, made with the X-System-Key, and the time."""
        verify(self._key, call, now)

    def parse_webhook(self, call: WebhookCall) -> list[Notice]:
        """Return which people changed; what changed is not said."""
        return notices(call)

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._transport.close()

    # ---- inside

    def _person(self, id: str) -> dict[str, Any] | None:
        if not id.isdecimal():
            return None
        try:
            person = _person_of(self._transport.request("GET", f"people/{id}", params={"fields": "allFields"}))
        except RemoteNotFound:
            return None
        return None if record_of(person).deleted else person

    def _list(self, params: Mapping[str, str], *, limit: int = _PAGE) -> list[Record]:
        return [record for person in self._page(params, limit)[0] if not (record := record_of(person)).deleted]

    def _page(self, params: Mapping[str, str], limit: int) -> tuple[list[dict[str, Any]], str | None, int | None]:
        """Return people, the token of what follows, and how many there are. Custom fields come only when asked for."""
        size = str(max(1, min(limit, _PAGE)))
        told: Any = self._transport.request("GET", "people", params={**params, "fields": "allFields", "limit": size}).json()
        about = told.get("_metadata") or {}
        return list(told.get("people") or ()), about.get("next") or None, about.get("total")

    def _upsert(self, row: Row, lists: Literal["merge", "replace"]) -> Written:
        id = row.id
        if id is None and row.match:
            found = self.find(email=row.match.get("email"), phone=row.match.get("phone"))
            id = found[0].id if found else None
        if id is not None:
            return self.update(msgspec.structs.replace(row, id=id), lists=lists)
        return self._arrive(row, lists) if self._lead_flow else self.create(row)

    def _arrive(self, row: Row, lists: Literal["merge", "replace"]) -> Written:
        """Have somebody come in by the lead flow; who is there after all, by another address, is updated."""
        values, _ = values_of(row.values)
        answer = self._transport.request("POST", "events", json={
            "source": self._system, "system": self._system, "type": self._event_type, "person": values,
        })  # fmt: skip
        if answer.status == 204 or not answer.body:
            raise RemoteInvalid(
                f"{VENDOR} ignored the person: a lead flow archives this source.", http_status=204,
                hint="Change the lead flow in Follow Up Boss, or set lead_flow to false.",
            )  # fmt: skip
        person = _person_of(answer)
        id, created = str(person["id"]), answer.status == 201
        lost = dropped(row.values, person)
        if not created or set(lost) - {"company", "title"}:
            lost = self.update(msgspec.structs.replace(row, id=id), lists=lists).dropped
        return Written(key=row.key, id=id, created=created, dropped=lost)


def _person_of(answer: Answer) -> dict[str, Any]:
    told: Any = answer.json()
    if not isinstance(told, dict) or not told.get("id"):
        raise RemoteError(f"{VENDOR} answered without a person.", http_status=answer.status, sent=True)
    return told


def _nobody() -> RemoteNotFound:
    return RemoteNotFound(f"{VENDOR} API error: 404 - Not Found", http_status=404)


def _failed(key: str, error: RemoteError) -> Written:
    return Written(key=key, id=error.existing, error=error.code, detail=error.message, retry_after=error.retry_after)


def _state(cursor: str | None) -> dict[str, Any]:
    if cursor is None:
        return {}
    try:
        found = msgspec.json.decode(cursor)
    except (msgspec.DecodeError, UnicodeEncodeError):
        found = None
    if not isinstance(found, dict):
        raise RemoteInvalid("the cursor is none that a page gave.", hint="Begin from the start.")
    return found


def _told(state: Mapping[str, Json]) -> str:
    return msgspec.json.encode({name: value for name, value in state.items() if value is not None}).decode()
