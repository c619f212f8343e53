"""The connector to a CRM that YAML describes: operations, pages, errors, rows and fields as it says."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote, urlsplit

import msgspec

from tailorbird.connectors.custom import webhooks
from tailorbird.connectors.custom.records import dropped, fits, record_of, values_of
from tailorbird.connectors.custom.refusals import refusals
from tailorbird.connectors.custom.spec import Operation, Spec
from tailorbird.connectors.custom.values import fill_path, fill_text, fill_tree, read, written_time
from tailorbird.connectors.rest import (
    Auth,
    Limiter,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Retry,
    StaticAuth,
    Transport,
    Unsupported,
    basic_auth,
    bearer_auth,
)
from tailorbird.core.context import Clock, SystemClock
from tailorbird.core.event import Json
from tailorbird.crm.model import Activity, CrmField, Logged, Notice, Page, Record, Row, Subscribed, WebhookCall, Written
from tailorbird.crm.port import Capabilities, Filters, Identity, Limits
from tailorbird.errors import InvalidInput

if TYPE_CHECKING:
    import httpx2

__all__ = ["CustomConnector"]

_UNFIT: Final = "!#$%&'*+,-./:;<=>?@[]^_`{|}~ \"()"


class _Batch(msgspec.Struct, frozen=True):
    """Some items of a list, where the next begin (None: there are no more), and how many there are in all where it is told."""

    items: list[Json]
    next: Json
    total: int | None


class CustomConnector:
    """Speaks as a ``Spec`` says. ``url`` replaces its address, ``auth`` its credential where tokens are renewed by others.

    Capabilities follow from the operations that there are; what is not described is refused with ``Unsupported``.
    """

    provider = "custom"

    def __init__(
        self, name: str, spec: Spec, *, secret: Mapping[str, str] | None = None, auth: Auth | None = None, url: str | None = None,
        clock: Clock | None = None, retry: Retry | None = None, sleep: Callable[[float], None] = time.sleep,
        allow_private: bool = False, transport: httpx2.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.spec = spec
        self.capabilities = _capabilities(spec)
        self._clock = clock or SystemClock()
        self._secret = dict(secret or {})
        self._url = (url or spec.base_url).rstrip("/")
        self._http = Transport(
            spec.name, self._url, auth=auth or _auth(name, spec, self._secret), headers=lambda: spec.headers, retry=retry,
            limiter=Limiter(spec.limits, clock=self._clock), refuse=refusals(spec), clock=self._clock, sleep=sleep,
            allow_private=allow_private, transport=transport,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"CustomConnector({self.name!r}, {self.spec.name!r})"

    # ---- reading

    def test(self) -> Identity:
        """Ask for something small; return the CRM by its name."""
        if self.spec.operation("test") is not None:
            self._call("test", {})
        else:
            self._batch("list", {}, None, 1, [])
        return Identity(account=self.spec.name)

    def get(self, id: str, *, object: str = "") -> Record | None:
        """Return a record; None when there is none."""
        operation = self._operation("get")
        try:
            body = self._call("get", {"id": id})
        except RemoteNotFound:
            return None
        return record_of(self.spec, read(operation.record, body))

    def find(self, *, email: str | None = None, phone: str | None = None) -> list[Record]:
        """Return the records with this address or number."""
        found: dict[str, Record] = {}
        for name, wanted in (("email", email), ("phone", phone)):
            if not wanted:
                continue
            if self.spec.operation(f"find_{name}") is None and name == "email" and self.spec.operation("list"):
                records: Sequence[Record] = self.query(Filters(equals={"email": wanted})).records
            else:
                records = self._records(self._batch(f"find_{name}", {name: wanted}, None, 100, []).items)
            for record in records:
                same = record.emails if name == "email" else ()
                if name == "phone" or wanted.casefold() in [one.casefold() for one in (*same, record.email or "")]:
                    found[record.id] = record
        return list(found.values())

    def search(self, text: str, *, limit: int = 50) -> list[Record]:
        """Return records in which the CRM finds the text."""
        return self._records(self._batch("search", {"text": text}, None, limit, []).items)[:limit]

    def query(self, filters: Filters, *, cursor: str | None = None, limit: int = 100) -> Page:
        """Return records for which all filters hold: narrowed there as far as it can, and checked here."""
        operation = self._operation("list")
        pairs = self._narrowed(operation, filters)
        batch = self._batch("list", {}, _decoded(cursor), limit, pairs)
        records = tuple(record for record in self._records(batch.items) if fits(record, filters))
        return Page(records=records, cursor=_encoded(batch.next), more=batch.next is not None, total=batch.total)

    def changes(self, cursor: str | None, *, limit: int = 1000) -> Page:
        """Return what was made or changed since; where the CRM cannot tell, everything again.

        While pages follow, the instant asked for stays as it is. After them it is the last change seen, but not later than when
        reading began, less the overlap: a change that came in between is read twice rather than never.
        """
        operation = self._operation("list")
        state = _decoded(cursor)
        if not isinstance(state, dict):
            state = {}
        since, seen = _instant(state.get("since")), _instant(state.get("seen"))
        began = _instant(state.get("began")) or self._clock.now()
        pairs = self._narrowed(operation, Filters(changed_since=since)) if since is not None else []
        batch = self._batch("list", {}, state.get("at"), limit, pairs)
        records = self._records(batch.items)
        seen = max([seen or 0, *(record.updated_at or 0 for record in records)])
        if batch.next is not None:
            onward: Json = {"since": since, "seen": seen, "began": began, "at": batch.next}
        else:
            reached = min(seen, began) - operation.overlap * 1000
            onward = {"since": max(since or 0, reached) if seen else since}
        return Page(records=tuple(records), cursor=_encoded(onward), more=batch.next is not None, total=batch.total)

    def fields(self, *, object: str = "") -> list[CrmField]:
        """Return the fields that the description names."""
        known = [name for name in {**self.spec.reading, **self.spec.writing} if name != "*" and not name.startswith("consent:")]
        kinds = {
            "tags": "list",
            "emails": "list",
            "phones": "list",
            "created_at": "time",
            "updated_at": "time",
            "deleted": "bool",
        }
        return [
            CrmField(name=name, label=name, type=kinds.get(name, "text"), writable=name in self.spec.writing) for name in known
        ]

    # ---- writing

    def create(self, row: Row) -> Written:
        """Make a record; raises ``RemoteConflict`` where the CRM says that there is one."""
        values, nowhere = values_of(self.spec, row.values)
        body = self._call("create", {"values": values, "key": row.key})
        operation = self._operation("create")
        id = read(operation.id, body)
        if not isinstance(id, str | int) or isinstance(id, bool):
            raise RemoteInvalid(f"{self.spec.name}: the answer to create has no id.", hint="Say where it stands: id: $.…")
        return Written(key=row.key, id=str(id), created=True, dropped=self._dropped(operation, row, body, nowhere))

    def update(self, row: Row, *, lists: Literal["merge", "replace"] = "replace") -> Written:
        """Change a record, and tell which values the answer does not hold."""
        if row.id is None:
            raise RemoteInvalid(f"{self.spec.name}: a record is updated by its id.")
        if lists == "merge" and not self.spec.merges_lists and any(isinstance(v, list | tuple) for v in row.values.values()):
            row = self._merged(row)
        values, nowhere = values_of(self.spec, row.values)
        body = self._call("update", {"id": row.id, "values": values, "key": row.key})
        return Written(key=row.key, id=row.id, dropped=self._dropped(self._operation("update"), row, body, nowhere))

    def upsert_many(self, rows: Sequence[Row], *, lists: Literal["merge", "replace"] = "replace") -> list[Written]:
        """Write many: in batches where the CRM takes them, else one by one, each with its own result."""
        operation = self.spec.operation("upsert_many")
        if operation is None or operation.rows is None:
            return [self._upsert(row, lists) for row in rows]
        done: list[Written] = []
        for start in range(0, len(rows), operation.batch):
            done += self._upsert_batch(operation, rows[start : start + operation.batch])
        return done

    def log_activities(self, activities: Sequence[Activity]) -> list[Logged]:
        """Write activities, each with its own result."""
        operation = self._operation("log_activity")
        return [self._log(operation, activity) for activity in activities]

    def set_consent(self, record: Record, channel: str, given: bool, *, purpose: str = "marketing") -> None:
        """Write a consent or an opt-out."""
        if channel not in self.capabilities.consent:
            raise Unsupported(f"{self.spec.name} keeps no consent to {channel:.60}.")
        self._call("set_consent", {"id": record.id, "channel": channel, "purpose": purpose, "given": given})

    def set_members(self, segment: str, *, adding: Sequence[str] = (), removing: Sequence[str] = ()) -> list[Written]:
        """Make records members of a segment, others no longer, one by one."""
        self._operation("add_member"), self._operation("remove_member")
        results = []
        for verb, ids in (("add_member", adding), ("remove_member", removing)):
            for id in ids:
                try:
                    self._call(verb, {"id": id, "segment": segment})
                    results.append(Written(key=id, id=id))
                except RemoteError as error:
                    results.append(_failed(id, error))
        return results

    # ---- webhooks

    def subscribe(self, url: str) -> list[Subscribed]:
        """Have the CRM call an address."""
        operation = self._operation("subscribe")
        id = read(operation.id, self._call("subscribe", {"url": url}))
        return [Subscribed(id=str(id or "1"), events=("changed",))]

    def renew(self, subscriptions: Sequence[Subscribed]) -> list[Subscribed]:
        """Nothing is said of subscriptions that end."""
        return list(subscriptions)

    def unsubscribe(self, subscriptions: Sequence[Subscribed]) -> None:
        """End subscriptions; one that is gone already is no error."""
        for subscription in subscriptions:
            try:
                self._call("unsubscribe", {"id": subscription.id})
            except RemoteNotFound:
                continue

    def verify_webhook(self, call: WebhookCall, now: int) -> None:
        """Check a call as the description says."""
        if self.spec.webhook is None:
            raise Unsupported(f"{self.spec.name} describes no webhook.")
        webhooks.verify(self.spec.webhook, self._secret.get("webhook_secret", ""), call, now)

    def parse_webhook(self, call: WebhookCall) -> list[Notice]:
        """Return what a call tells."""
        if self.spec.webhook is None:
            raise Unsupported(f"{self.spec.name} describes no webhook.")
        return webhooks.notices(self.spec.webhook, call)

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._http.close()

    # ---- inside

    def _operation(self, name: str) -> Operation:
        found = self.spec.operation(name)
        if found is None:
            raise Unsupported(f"{self.spec.name} describes no operation {name}.", hint="Add it to the description's operations.")
        return found

    def _call(self, name: str, values: Mapping[str, Json], pairs: Sequence[tuple[str, str]] = (), url: str | None = None) -> Json:
        """Send an operation and return its answer as JSON; None where it is empty."""
        operation = self._operation(name)
        query = [(key, fill_text(part, values)) for key, part in operation.query.items()]
        answer = self._http.request(
            operation.method, url or fill_path(operation.path, values), params=None if url else [*query, *pairs],
            json=fill_tree(operation.body, values), safe=True if operation.idempotent else None,
            headers={key: quote(fill_text(part, values), safe=_UNFIT) for key, part in operation.headers.items()},
        )  # fmt: skip
        if not answer.body.strip():
            return None
        try:
            return answer.json()
        except ValueError:
            raise RemoteInvalid(f"{self.spec.name}: the answer to {name} is not JSON.", http_status=answer.status) from None

    def _batch(self, name: str, values: Mapping[str, Json], at: Json, limit: int, pairs: Sequence[tuple[str, str]]) -> _Batch:
        """Return a page of a list; ``at`` is where it begins, as an earlier page told."""
        operation = self._operation(name)
        pages = operation.pagination
        place: Any = at if isinstance(at, dict) else {}
        size = int(place.get("size") or max(1, min(limit, pages.size)))
        sent = list(pairs)
        url = None
        if pages.limit_param:
            sent.append((pages.limit_param, str(size)))
        counted = pages.kind in ("page", "offset")
        number = int(place.get("n", pages.first if pages.kind == "page" else 0)) if counted else 0
        if counted:
            sent.append((pages.param, str(number)))
        elif pages.kind == "cursor" and place.get("n"):
            sent.append((pages.param, str(place["n"])))
        elif pages.kind == "next_url" and place.get("n"):
            url = self._absolute(str(place["n"]))
        body = self._call(name, {**values, "limit": size}, sent, url)
        found = read(operation.records, body)
        items = found if isinstance(found, list) else [] if found is None else [found]
        total = read(operation.total, body) if operation.total else None
        total = total if type(total) is int else None
        onward: Json = None
        if pages.kind in ("cursor", "next_url"):
            onward = read(pages.path, body) or None
        elif pages.kind == "page" and items:
            done = (number - pages.first + 1) * size
            onward = number + 1 if (done < total if total is not None else len(items) >= size) else None
        elif pages.kind == "offset" and items:
            done = number + len(items)
            onward = done if (done < total if total is not None else len(items) >= size) else None
        return _Batch(items, None if onward is None else {"n": onward, "size": size}, total)

    def _absolute(self, link: str) -> str:
        if "://" in link:
            return link
        base = urlsplit(self._url)
        return f"{base.scheme}://{base.netloc}/{link.lstrip('/')}"

    def _records(self, items: Sequence[Json]) -> list[Record]:
        return [record for item in items if (record := record_of(self.spec, item)) is not None]

    def _narrowed(self, operation: Operation, filters: Filters) -> list[tuple[str, str]]:
        """Return the parameters by which the CRM itself leaves out what is not asked for."""
        pairs = []
        for names, wanted in ((operation.equals, filters.equals), (operation.contains, filters.contains)):
            for name, value in wanted.items():
                param = names.get(name) or names.get("*", "").replace("{name}", name)
                if param:
                    values = value if isinstance(value, tuple | list) else [value]
                    pairs += [(param, fill_text("{value}", {"value": one})) for one in values]
        for name, instant in filters.before.items():
            if name in operation.before:
                pairs.append((operation.before[name], written_time(instant, operation.time)))
        if filters.changed_since is not None and operation.changed_since:
            pairs.append((operation.changed_since, written_time(filters.changed_since, operation.time)))
        return pairs

    def _dropped(self, operation: Operation, row: Row, body: Json, nowhere: tuple[str, ...]) -> tuple[str, ...]:
        answered = record_of(self.spec, read(operation.record, body))
        lost = () if answered is None else dropped(self.spec, row.values, answered)
        return tuple(sorted({*lost, *nowhere}))

    def _merged(self, row: Row) -> Row:
        """Return the row with what the record's lists hold already."""
        held = self.get(str(row.id))
        if held is None:
            raise RemoteNotFound(f"{self.spec.name} API error: 404", http_status=404)
        values = dict(row.values)
        for name, value in values.items():
            if isinstance(value, list | tuple):
                before = held.value(name)
                values[name] = list(dict.fromkeys([*(before if isinstance(before, list) else []), *value]))
        return msgspec.structs.replace(row, values=values)

    def _upsert(self, row: Row, lists: Literal["merge", "replace"]) -> Written:
        try:
            id = row.id
            if id is None and row.match:
                found = self.find(email=row.match.get("email"), phone=row.match.get("phone"))
                id = found[0].id if found else None
            return self.create(row) if id is None else self.update(msgspec.structs.replace(row, id=id), lists=lists)
        except Unsupported:
            raise
        except RemoteError as error:
            return _failed(row.key, error)

    def _upsert_batch(self, operation: Operation, rows: Sequence[Row]) -> list[Written]:
        told = operation.rows
        assert told is not None  # the caller looked
        made = [values_of(self.spec, row.values) for row in rows]
        sent: list[Json] = [{**values, **({"id": row.id} if row.id else {})} for row, (values, _) in zip(rows, made, strict=True)]
        answers = read(told.path, self._call("upsert_many", {"rows": sent}))
        if not isinstance(answers, list) or len(answers) != len(rows):
            raise RemoteInvalid(f"{self.spec.name}: the answer does not tell of each row.", sent=True)
        results = []
        for row, answer, (_, nowhere) in zip(rows, answers, made, strict=True):
            id = read(told.id, answer)
            if read(told.ok, answer) == told.equals and id is not None:
                created = bool(told.created) and read(told.created, answer) is True
                results.append(Written(key=row.key, id=str(id), created=created, dropped=nowhere))
            else:
                said = read(told.error, answer) if told.error else None
                code = said if isinstance(said, str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", said) else "refused"
                results.append(Written(key=row.key, error=RemoteInvalid.code, detail=f"{self.spec.name}: {code}"))
        return results

    def _log(self, operation: Operation, activity: Activity) -> Logged:
        kind = operation.kinds.get(activity.kind)
        if kind is None:
            return Logged(key=activity.key, error=Unsupported.code, detail=f"{activity.kind:.60} cannot be written")
        values: dict[str, Json] = {
            "key": activity.key, "kind": kind, "record": activity.record, "at": activity.at, "subject": activity.subject,
            "at_iso": written_time(activity.at, "iso"), "body": activity.body, "data": dict(activity.data),
        }  # fmt: skip
        try:
            body = self._call("log_activity", values)
        except RemoteError as error:
            failed = _failed(activity.key, error)
            return Logged(key=activity.key, error=failed.error, detail=failed.detail, retry_after=failed.retry_after)
        id = read(operation.id, body)
        found = bool(operation.found) and read(operation.found, body) == operation.found_equals
        return Logged(key=activity.key, id=activity.key if id is None else str(id), found=found)


def _failed(key: str, error: RemoteError) -> Written:
    return Written(key=key, id=error.existing, error=error.code, detail=error.message, retry_after=error.retry_after)


def _capabilities(spec: Spec) -> Capabilities:
    has = spec.operations.__contains__
    log, many, listing = (spec.operation(name) for name in ("log_activity", "upsert_many", "list"))
    consent = spec.operation("set_consent")
    return Capabilities(
        provider="custom", search=has("search"), changes=has("list"), write=has("create") or has("update"),
        upsert_many=has("upsert_many") or (has("create") and has("update")), unique_email=spec.unique_email,
        lists="tags" in spec.writing and "tags" in spec.reading, activities={} if log is None else log.kinds,
        consent=() if consent is None else consent.channels, segments="tag" if has("add_member") and has("remove_member") else None,
        webhooks=spec.webhook is not None, idempotent=log is not None and log.idempotent,
        limits=Limits(
            requests=spec.limits, page=100 if listing is None else listing.pagination.size,
            batch_write=1 if many is None else many.batch,
        ),
    )  # fmt: skip


def _auth(name: str, spec: Spec, secret: Mapping[str, str]) -> Auth:
    told = spec.auth
    if told.kind == "none":
        return StaticAuth({})
    named = "access_token" if told.kind == "oauth2" and told.secret == "key" else told.secret
    value = secret.get(named, "")
    if not value:
        raise InvalidInput(f"No CRM credentials found for {name}: {named} is missing.", hint="Give it when connecting.")
    if not value.isascii() or not value.isprintable():
        raise InvalidInput(f"{name}: {named} holds a character that no key has.", hint="Copy it again, without line breaks.")
    if told.kind == "basic":
        return basic_auth(secret.get("user", told.user), value)
    if told.kind == "header":
        return StaticAuth({told.header: fill_text(told.template, {"secret": value})})
    return bearer_auth(value)


def _encoded(state: Json) -> str | None:
    return None if state is None else msgspec.json.encode(state).decode()


def _decoded(cursor: str | None) -> Json:
    if cursor is None:
        return None
    try:
        return msgspec.json.decode(cursor)
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise RemoteInvalid("the cursor is none that a page gave.", hint="Begin from the start.") from None


def _instant(value: Json) -> int | None:
    return value if type(value) is int else None
