"""The connector to Pipedrive: persons by the second generation of its API, notes and webhooks by the first.

Source: Pipedrive API v2 and v1.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from tailorbird.connectors.pipedrive.answers import VENDOR, refuse
from tailorbird.connectors.pipedrive.persons import dropped, fits, iso, needs_held, record_of, same_phone, values_of
from tailorbird.connectors.pipedrive.timeline import ACTIVITIES, Timeline
from tailorbird.connectors.pipedrive.webhooks import USER, notices, verify
from tailorbird.connectors.rest import (
    Auth,
    AuthExpired,
    AuthRevoked,
    Limiter,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Retry,
    Transport,
    Unsupported,
)
from tailorbird.core.context import MINUTE, Clock
from tailorbird.core.event import Json
from tailorbird.crm.model import Activity, CrmField, Logged, Notice, Page, Record, Row, Subscribed, WebhookCall, Written
from tailorbird.crm.port import Capabilities, Filters, Identity, Limits

__all__ = ["PipedriveConnector"]

_PAGE: Final = 500
_IDS: Final = 100
_OVERLAP: Final = 2 * MINUTE  # our clock and theirs may differ by so much
_LABELS: Final = "label_ids"
_TYPES: Final = {
    "int": "number", "double": "number", "monetary": "number", "boolean": "bool", "date": "date", "time": "time", "set": "list",
}  # fmt: skip
_READ_ONLY: Final = ("id", "first_name", "last_name", "add_time", "update_time", "is_deleted", "picture_id")


class PipedriveConnector:
    """Speaks to one company's Pipedrive.

    ``campaigns``: the company has Campaigns, so that whether a person takes e-mail can be read and written. ``per_second`` is what
    the plan allows of requests.
    """

    def __init__(
        self, name: str = "pipedrive", *, auth: Auth, clock: Clock, url: str = "https://api.pipedrive.com",
        webhook_secret: str = "", campaigns: bool = False, per_second: int = 10, retry: Retry | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self.name = name
        self.provider = "pipedrive"
        asked = {"second": per_second}
        self.capabilities = Capabilities(
            provider="pipedrive", objects=("contact",), lists=True, activities=ACTIVITIES, consent=("email",) if campaigns else (),
            segments="tag", webhooks=True, limits=Limits(requests=asked, page=_PAGE),
        )  # fmt: skip
        self._clock = clock
        self._secret = webhook_secret
        self._also = {"include_fields": "marketing_status"} if campaigns else {}
        self._transport = Transport(
            VENDOR, url, auth=auth, retry=retry, limiter=Limiter(asked, clock=clock), refuse=refuse, clock=clock, sleep=sleep
        )
        common = auth.base_url() is None and urlsplit(url).hostname == "api.pipedrive.com"
        self._old = "v1" if common else "api/v1"
        self._timeline = Timeline(self._transport, self._old, self._rows)
        self._labels: dict[int, str] | None = None
        self._companies: dict[int, str] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"PipedriveConnector({self.name!r}, {self._transport!r})"

    # ---- reading

    def test(self) -> Identity:
        """Ask whose token it is."""
        told: Any = self._transport.request("GET", f"{self._old}/users/me").json()["data"]
        return Identity(account=str(told.get("company_domain") or told.get("company_id") or VENDOR), user=told.get("name"))

    def get(self, id: str, *, object: str = "") -> Record | None:
        """Return a person; None when there is none, or they were deleted."""
        person = self._person(id)
        return None if person is None else self._records([person])[0]

    def find(self, *, email: str | None = None, phone: str | None = None) -> list[Record]:
        """Return the persons with this address or number."""
        found: dict[str, Record] = {}
        if email and len(email) > 1:
            wanted = email.casefold()
            there = self._searched({"term": email, "fields": "email", "exact_match": "true"})
            found |= {record.id: record for record in there if wanted in [one.casefold() for one in record.emails]}
        digits = re.sub(r"\D", "", phone or "")[-10:]
        if phone and len(digits) > 3:
            there = self._searched({"term": digits, "fields": "phone"})
            found |= {record.id: record for record in there if any(same_phone(phone, one) for one in record.phones)}
        return list(found.values())

    def search(self, text: str, *, limit: int = 50) -> list[Record]:
        """Return persons in whom Pipedrive's search finds the text, which has two letters at least."""
        return [] if len(text) < 2 else self._searched({"term": text}, limit=min(limit, _IDS))[:limit]

    def query(self, filters: Filters, *, cursor: str | None = None, limit: int = 100) -> Page:
        """Return persons for whom all filters hold; a page may hold few of them although there are more."""
        params: dict[str, str] = {}
        if filters.changed_since is not None:
            params["updated_since"] = iso(filters.changed_since)
        owner = filters.equals.get("owner")
        if isinstance(owner, str) and owner.isdecimal():
            params["owner_id"] = owner
        people, next = self._page(params, cursor, limit)
        records = tuple(record for record in self._records(people) if not record.deleted and fits(record, filters))
        return Page(records=records, cursor=next, more=next is not None)

    def changes(self, cursor: str | None, *, limit: int = 1000) -> Page:
        """Return everybody, and from then on who changed. Who was deleted is told by webhooks only."""
        state = _state(cursor)
        since, next, newest = state.get("since"), state.get("next"), state.get("newest")
        params = {"sort_by": "id", "sort_direction": "asc"}
        if since is None:
            # What changes while everybody is being read is read again afterwards.
            newest = newest if newest is not None else self._clock.now() - _OVERLAP
        else:
            params = {"sort_by": "update_time", "sort_direction": "asc", "updated_since": iso(since)}
        people: list[dict[str, Any]] = []
        while True:
            more, next = self._page(params, next, limit - len(people))
            people += more
            if next is None or len(people) >= limit:
                break
        records = self._records(people)
        if since is None:
            records = [record for record in records if not record.deleted]
        else:
            newest = max([since, newest or 0, *(record.updated_at or 0 for record in records)])
        state = {"since": newest} if next is None else {"since": since, "next": next, "newest": newest}
        told = msgspec.json.encode({name: value for name, value in state.items() if value is not None}).decode()
        return Page(records=tuple(records), cursor=told, more=next is not None)

    def fields(self, *, object: str = "") -> list[CrmField]:
        """Return the fields of persons; the company's own are called by their code."""
        return [
            CrmField(
                name=str(one["field_code"]), label=str(one["field_name"]), type=_TYPES.get(str(one["field_type"]), "text"),
                writable=one["field_code"] not in _READ_ONLY,
                choices=tuple(str(option.get("label")) for option in one.get("options") or ()),
            )
            for one in self._rows("api/v2/personFields", {"limit": str(_PAGE)})
        ]  # fmt: skip

    # ---- writing

    def create(self, row: Row) -> Written:
        """Make a person; Pipedrive lets two have one address."""
        values, _ = values_of(row.values)
        if "tags" in row.values:
            values[_LABELS] = [*self._label_ids(_texts(row.values["tags"]))]
        told: Any = self._transport.request("POST", "api/v2/persons", json=values).json()
        return self._written(row, told["data"], created=True)

    def update(self, row: Row, *, lists: Literal["merge", "replace"] = "replace") -> Written:
        """Change a person; of addresses, numbers and places only the first is changed, and the others are sent along."""
        merging = lists == "merge" and "tags" in row.values
        held = self._person(str(row.id)) if merging or needs_held(row.values) else {}
        if held is None or not str(row.id).isdecimal():
            raise _nobody()
        values, _ = values_of(row.values, held)
        if "tags" in row.values:
            before = list(held.get(_LABELS) or ()) if merging else []
            values[_LABELS] = [*dict.fromkeys([*before, *self._label_ids(_texts(row.values["tags"]))])]
        told: Any = self._transport.request("PATCH", f"api/v2/persons/{row.id}", json=values, safe=True).json()
        return self._written(row, told["data"], created=False)

    def upsert_many(self, rows: Sequence[Row], *, lists: Literal["merge", "replace"] = "replace") -> list[Written]:
        """Write many, one by one: Pipedrive takes no batches. Raises when our credentials are refused."""
        return [self._each(row.key, lambda row=row: self._upsert(row, lists)) for row in rows]  # type: ignore[misc]

    def log_activities(self, activities: Sequence[Activity]) -> list[Logged]:
        """Write activities: what somebody does as Pipedrive's own, what happened to them as notes."""
        return self._timeline.log(activities)

    def set_consent(self, record: Record, channel: str, given: bool, *, purpose: str = "marketing") -> None:
        """Write whether e-mail is wanted, and read it back: Pipedrive keeps a forbidden change back without a word."""
        if channel not in self.capabilities.consent or purpose != "marketing":
            raise Unsupported(f"{VENDOR} keeps no consent to {channel:.40} for {purpose:.40}.", hint="It takes Campaigns.")
        status = "subscribed" if given else "unsubscribed"
        self._transport.request("PATCH", f"api/v2/persons/{int(record.id)}", json={"marketing_status": status}, safe=True)
        held = self._person(record.id)
        if held is None or held.get("marketing_status") != status:
            raise RemoteInvalid(
                f"{VENDOR} did not keep marketing_status {status}.", fields=("marketing_status",),
                hint="Its rules allow some changes once only; change it in Campaigns.",
            )  # fmt: skip

    def set_members(self, segment: str, *, adding: Sequence[str] = (), removing: Sequence[str] = ()) -> list[Written]:
        """Label persons with the segment's name, and take the label from others."""
        (label,) = self._label_ids([segment])

        def removed(id: str) -> Written:
            held = self._person(id)
            if held is None:
                raise _nobody()
            left: list[Json] = [one for one in held.get(_LABELS) or () if one != label]
            self._transport.request("PATCH", f"api/v2/persons/{id}", json={_LABELS: left}, safe=True)
            return Written(key=id, id=id)

        def added(id: str) -> Written:
            return self.update(Row(key=id, id=id, values={"tags": [segment]}), lists="merge")

        return [
            *(self._each(id, lambda id=id: added(id)) for id in adding),  # type: ignore[misc]
            *(self._each(id, lambda id=id: removed(id)) for id in removing),  # type: ignore[misc]
        ]

    # ---- webhooks

    def subscribe(self, url: str) -> list[Subscribed]:
        """Have an address called about persons; it is called with the webhook secret as password."""
        if not self._secret:
            raise Unsupported("Pipedrive's webhooks are told by a password only.", hint="Give the secret webhook_secret.")
        told: Any = self._transport.request("POST", f"{self._old}/webhooks", json={
            "subscription_url": url, "event_action": "*", "event_object": "person", "name": "Tailorbird", "version": "2.0",
            "http_auth_user": USER, "http_auth_password": self._secret,
        }).json()  # fmt: skip
        return [Subscribed(id=str(told["data"]["id"]), events=("person.*",))]

    def renew(self, subscriptions: Sequence[Subscribed]) -> list[Subscribed]:
        """They do not end by themselves."""
        return list(subscriptions)

    def unsubscribe(self, subscriptions: Sequence[Subscribed]) -> None:
        """Remove webhooks."""
        for subscription in subscriptions:
            try:
                self._transport.request("DELETE", f"{self._old}/webhooks/{int(subscription.id)}", safe=True)
            except RemoteNotFound:
                continue

    def verify_webhook(self, call: WebhookCall, now: int) -> None:
        """Check the password and the time."""
        verify(self._secret, call, now)

    def parse_webhook(self, call: WebhookCall) -> list[Notice]:
        """Return which person changed."""
        return notices(call)

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._transport.close()

    # ---- inside

    def _rows(self, path: str, params: Mapping[str, str]) -> Iterator[Any]:
        """Yield everything of a list of the second generation: until there is no cursor any more."""
        cursor: str | None = None
        while True:
            asked = {**params, **({"cursor": cursor} if cursor else {})}
            told: Any = self._transport.request("GET", path, params=asked).json()
            yield from told.get("data") or ()
            cursor = (told.get("additional_data") or {}).get("next_cursor")
            if not cursor:
                return

    def _page(self, params: Mapping[str, str], cursor: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        asked = {**params, **self._also, "limit": str(max(1, min(limit, _PAGE))), **({"cursor": cursor} if cursor else {})}
        told: Any = self._transport.request("GET", "api/v2/persons", params=asked).json()
        return list(told.get("data") or ()), (told.get("additional_data") or {}).get("next_cursor") or None

    def _person(self, id: str) -> dict[str, Any] | None:
        if not id.isdecimal():
            return None
        try:
            told: Any = self._transport.request("GET", f"api/v2/persons/{id}", params=self._also).json()
        except RemoteNotFound:
            return None
        person: dict[str, Any] = told["data"]
        return None if person.get("is_deleted") else person

    def _searched(self, params: Mapping[str, str], *, limit: int = _IDS) -> list[Record]:
        """Return who is found, read again: a search shows persons in another shape, and not whole."""
        told: Any = self._transport.request("GET", "api/v2/persons/search", params={**params, "limit": str(limit)}).json()
        ids = [str(one["item"]["id"]) for one in (told.get("data") or {}).get("items") or ()]
        if not ids:
            return []
        people, _ = self._page({"ids": ",".join(ids)}, None, _IDS)
        found = {record.id: record for record in self._records(people) if not record.deleted}
        return [found[id] for id in ids if id in found]

    def _records(self, people: Sequence[Mapping[str, Any]]) -> list[Record]:
        labels = self._label_names() if any(person.get(_LABELS) for person in people) else {}
        unknown = {person["org_id"] for person in people if person.get("org_id")} - set(self._companies)
        for start in range(0, len(unknown), _IDS):
            ids = ",".join(str(id) for id in sorted(unknown)[start : start + _IDS])
            rows = self._rows("api/v2/organizations", {"ids": ids, "limit": str(_IDS)})
            self._companies |= {one["id"]: str(one.get("name") or "") for one in rows}
        return [record_of(person, labels, self._companies) for person in people]

    def _label_names(self, *, fresh: bool = False) -> dict[int, str]:
        with self._lock:
            if self._labels is None or fresh:
                rows = self._rows("api/v2/personFields", {"limit": str(_PAGE)})
                options: Iterable[Any] = next((one.get("options") or () for one in rows if one["field_code"] == _LABELS), ())
                self._labels = {int(one["id"]): str(one["label"]) for one in options}
            return self._labels

    def _label_ids(self, names: Sequence[str]) -> list[int]:
        """Return the ids of labels, made where they are missing."""
        ids = {name: id for id, name in self._label_names().items()}
        if not set(names) <= set(ids):
            ids = {name: id for id, name in self._label_names(fresh=True).items()}
        missing: list[Json] = [{"label": name} for name in names if name not in ids]
        if missing:
            self._transport.request("POST", f"api/v2/personFields/{_LABELS}/options", json=missing)
            ids = {name: id for id, name in self._label_names(fresh=True).items()}
        return [ids[name] for name in names if name in ids]

    def _written(self, row: Row, person: Mapping[str, Any], *, created: bool) -> Written:
        (record,) = self._records([person])
        return Written(key=row.key, id=record.id, created=created, dropped=dropped(row.values, record))

    def _upsert(self, row: Row, lists: Literal["merge", "replace"]) -> Written:
        id = row.id
        if id is None and row.match:
            found = self.find(email=row.match.get("email"), phone=row.match.get("phone"))
            id = found[0].id if found else None
        return self.create(row) if id is None else self.update(msgspec.structs.replace(row, id=id), lists=lists)

    def _each(self, key: str, write: Callable[[], Written]) -> Written:
        try:
            return write()
        except (AuthExpired, AuthRevoked):
            raise
        except RemoteError as error:
            return Written(key=key, id=error.existing, error=error.code, detail=error.message, retry_after=error.retry_after)


def _texts(value: Json) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | tuple) else []


def _nobody() -> RemoteNotFound:
    return RemoteNotFound(f"{VENDOR} API error: 404 - Not Found", http_status=404)


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
