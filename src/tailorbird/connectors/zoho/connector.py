"""The connector to Zoho CRM (API v8): every row has a status of its own, whatever the status of the answer.

Source: https://www.zoho.com/crm/developer/docs/api/v8/ and Zoho's own OpenAPI documents.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

import msgspec

from tailorbird.connectors.rest import (
    Auth,
    Limiter,
    Locked,
    RemoteConflict,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Retry,
    Transport,
    Unsupported,
)
from tailorbird.connectors.zoho import notices
from tailorbird.connectors.zoho.answers import FIELDS, MODULES, instant, name_of, record_of, refuse, row_error, stamp, values_of
from tailorbird.connectors.zoho.following import Reading
from tailorbird.connectors.zoho.timeline import KINDS, TITLES, written
from tailorbird.core.context import Clock, SystemClock
from tailorbird.core.event import Json
from tailorbird.crm.model import Activity, CrmField, Logged, Notice, Page, Record, Row, Subscribed, WebhookCall, Written
from tailorbird.crm.port import Capabilities, Filters, Identity, Limits

if TYPE_CHECKING:
    import httpx2

__all__ = ["URL", "ZohoConnector"]

URL: Final = "https://www.zohoapis.com"
HOSTS: Final = tuple(f".zohoapis.{end}" for end in ("com", "eu", "in", "com.au", "com.cn", "jp", "ca", "sa"))
_BATCH: Final = 100
_PAGE: Final = 200
_PAGED: Final = 2_000  # rows that may be read by page numbers; what follows needs the token
_OTHERS: Final = "id,Created_Time,Modified_Time,Email_Opt_Out,Mobile"
_NAME: Final = re.compile(r"[A-Za-z$][A-Za-z0-9_.]{0,99}")
_TYPES: Final = {
    "boolean": "bool",
    "integer": "number",
    "double": "number",
    "currency": "number",
    "datetime": "time",
    "date": "date",
}

CAPABILITIES: Final = Capabilities(
    provider="zoho", objects=MODULES, deletions=True, lists=True, activities=KINDS, consent=("email",), segments="tag", webhooks=True,
    renewal=True, limits=Limits(requests={"minute": 600}, page=_PAGE, batch_write=_BATCH, batch_activities=_BATCH),
)  # fmt: skip


class ZohoConnector:
    """Speaks to one organisation. ``webhook_secret`` is the token that its notification channels send along."""

    provider = "zoho"
    capabilities = CAPABILITIES

    def __init__(
        self, name: str, url: str = URL, *, auth: Auth, webhook_secret: str = "", clock: Clock | None = None,
        retry: Retry | None = None, sleep: Callable[[float], None] = time.sleep, transport: httpx2.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self._clock = clock or SystemClock()
        self._secret = webhook_secret
        self._http = Transport(
            "Zoho", url, auth=auth, hosts=HOSTS, retry=retry, limiter=Limiter(CAPABILITIES.limits.requests, clock=self._clock),
            refuse=refuse, clock=self._clock, sleep=sleep, transport=transport,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"ZohoConnector({self.name!r})"

    # ---- reading

    def test(self) -> Identity:
        """Ask Zoho who we are."""
        users = self._ask("GET", "users", params={"type": "CurrentUser"}).get("users") or [{}]
        return Identity(account=self._http.host, user=users[0].get("email"))

    def get(self, id: str, *, object: str = "") -> Record | None:
        """Return a record of a module, or of whichever module has it."""
        for module in [_module(object)] if object else MODULES:
            try:
                rows = self._ask("GET", f"{module}/{quote(id, safe='')}", params={"fields": _asked(module)}).get("data")
            except RemoteNotFound:
                continue
            except RemoteInvalid as error:
                if "INVALID_DATA" not in error.message:
                    raise
                continue  # of an id that nobody has Zoho says no more than that
            if rows:
                return record_of(module, rows[0])
        return None

    def find(self, *, email: str | None = None, phone: str | None = None) -> list[Record]:
        """Return the contacts and leads with this address or number; the search lags behind what was just written."""
        found: dict[str, Record] = {}
        for module in MODULES:
            for name, wanted in (("email", email), ("phone", phone)):
                if wanted:
                    for record in self._search(module, {name: wanted}, _PAGE):
                        if name == "phone" or wanted.casefold() in [one.casefold() for one in record.emails]:
                            found[record.id] = record
        return list(found.values())

    def search(self, text: str, *, limit: int = 50) -> list[Record]:
        """Return contacts, then leads, that Zoho's search finds."""
        found: list[Record] = []
        for module in MODULES:
            found += self._search(module, {"word": text}, max(1, min(limit, _PAGE)))
        return found[:limit]

    def query(self, filters: Filters, *, cursor: str | None = None, limit: int = 100) -> Page:
        """Return records for which all filters hold, by COQL in the order of their ids."""
        module, _, last = (cursor or f"{MODULES[0]}:").partition(":")
        module = _module(module)
        wanted = ["id is not null" if not last else f"id > {_literal(last)}"]
        for name, value in filters.equals.items():
            theirs = name_of(module, name)
            if theirs is None:
                wanted.append("id is null")
            elif _NAME.fullmatch(theirs) is None:
                raise RemoteInvalid(f"Zoho: {theirs!r:.60} is no name of a field.")
            elif isinstance(value, str) and theirs not in ("Tag", "Owner", "Account_Name"):
                wanted.append(f"{theirs} = {_literal(value)}")
        if filters.changed_since is not None:
            wanted.append(f"Modified_Time >= '{stamp(filters.changed_since)}'")
        size = max(1, min(limit, _PAGE))
        rows, more = self._coql(module, _asked(module), wanted, size)
        following = f"{module}:{rows[-1]['id']}" if more else None
        if following is None and module != MODULES[-1]:
            following = f"{MODULES[MODULES.index(module) + 1]}:"
        records = tuple(record for row in rows if _fits(record := record_of(module, row), filters))
        return Page(records=records, cursor=following, more=following is not None)

    def changes(self, cursor: str | None, *, limit: int = 1000) -> Page:
        """Return what changed, contacts, then leads, then what was deleted of both; see ``zoho.following``."""
        state = Reading.decode(cursor, self._clock.now())
        return state.page(self._rows_since, self._deleted)

    def fields(self, *, object: str = "") -> list[CrmField]:
        """Return the fields of a module."""
        found = self._ask("GET", "settings/fields", params={"module": _module(object)}).get("fields") or []
        return [
            CrmField(
                name=one["api_name"], label=one.get("display_label") or one["api_name"],
                type=_TYPES.get(one.get("data_type", ""), "list" if "multiselect" in one.get("data_type", "") else "text"),
                writable=not one.get("read_only"), choices=tuple(c["actual_value"] for c in one.get("pick_list_values") or ()),
            )
            for one in found
        ]  # fmt: skip

    # ---- writing

    def create(self, row: Row) -> Written:
        """Make a record; raises ``RemoteConflict`` where a field that has to be unique is taken."""
        return self._one("POST", row, "replace")

    def update(self, row: Row, *, lists: Literal["merge", "replace"] = "replace") -> Written:
        """Change the fields given, and read back what Zoho kept of them."""
        return self._one("PUT", row, lists)

    def upsert_many(self, rows: Sequence[Row], *, lists: Literal["merge", "replace"] = "replace") -> list[Written]:
        """Write up to a hundred in a call: by id, by e-mail address, or new."""
        done: dict[int, Written] = {}
        groups: dict[tuple[str, str], list[int]] = {}
        for place, row in enumerate(rows):
            verb = "PUT" if row.id else "upsert" if row.match.get("email") else "POST"
            groups.setdefault((verb, _module(row.object)), []).append(place)
        for (verb, module), places in groups.items():
            for start in range(0, len(places), _BATCH):
                chosen = places[start : start + _BATCH]
                results = self._write(verb, module, [rows[place] for place in chosen], lists)
                done.update(zip(chosen, (_told(one, rows[p].key) for p, one in zip(chosen, results, strict=True)), strict=True))
        return [done[place] for place in range(len(rows))]

    def log_activities(self, activities: Sequence[Activity]) -> list[Logged]:
        """Write activities; those whose marker is there already are found."""
        done: dict[int, Logged] = {}
        groups: dict[str, list[tuple[int, dict[str, Json]]]] = {}
        for place, activity in enumerate(activities):
            if activity.kind not in KINDS:
                done[place] = Logged(key=activity.key, error=Unsupported.code, detail=f"{activity.kind:.60} cannot be written")
                continue
            module, row = written(activity, _module(activity.object))
            groups.setdefault(module, []).append((place, row))
        for module, items in groups.items():
            there = self._there(module, activities, items)
            missing = [(place, row) for place, row in items if str(row[TITLES[module]]) not in there]
            for place, row in items:
                if (id := there.get(str(row[TITLES[module]]))) is not None:
                    done[place] = Logged(key=activities[place].key, id=id, found=True)
            for start in range(0, len(missing), _BATCH):
                chosen = missing[start : start + _BATCH]
                body: dict[str, Json] = {"data": [row for _, row in chosen]}
                if module != "Notes":  # notes set off nothing, and refuse the word
                    body["trigger"] = []
                answers = self._send_rows("POST", module, body, len(chosen))
                for (place, _), answer in zip(chosen, answers, strict=True):
                    done[place] = _logged(activities[place].key, answer)
        return [done[place] for place in range(len(activities))]

    def set_consent(self, record: Record, channel: str, given: bool, *, purpose: str = "marketing") -> None:
        """Write an opt-out of e-mail, or that there is none (any longer)."""
        if channel not in CAPABILITIES.consent:
            raise Unsupported(f"Zoho keeps no consent to {channel:.60}.")
        module = _module(record.object if record.object in MODULES else "")
        body: Json = {"data": [{"id": record.id, "Email_Opt_Out": not given}], "trigger": []}
        answer = self._send_rows("PUT", module, body, 1)[0]
        if answer.get("status") != "success":
            raise row_error(answer, 200)

    def set_members(self, segment: str, *, adding: Sequence[str] = (), removing: Sequence[str] = ()) -> list[Written]:
        """Give records the segment's tag, and take it from others."""
        results = []
        for verb, ids in (("add_tags", adding), ("remove_tags", removing)):
            for id in ids:
                try:
                    self._tag_whoever(verb, id, segment)
                    results.append(Written(key=id, id=id))
                except RemoteError as error:
                    results.append(_told(error, id))
        return results

    # ---- webhooks

    def subscribe(self, url: str) -> list[Subscribed]:
        """Open a channel for contacts and leads; it ends within a week unless it is renewed."""
        return self._watch("POST", url, notices.channel(url))

    def renew(self, subscriptions: Sequence[Subscribed]) -> list[Subscribed]:
        """Make channels last another six days."""
        return [one for kept in subscriptions for one in self._watch("PATCH", "", kept.id)]

    def unsubscribe(self, subscriptions: Sequence[Subscribed]) -> None:
        """Close channels; one that is gone already is no error."""
        for one in subscriptions:
            try:
                self._ask("DELETE", "actions/watch", params={"channel_ids": one.id})
            except (RemoteNotFound, RemoteInvalid):
                continue

    def verify_webhook(self, call: WebhookCall, now: int) -> None:
        """Compare the token that a channel was opened with; Zoho signs nothing."""
        notices.verify(self._secret, call, now)

    def parse_webhook(self, call: WebhookCall) -> list[Notice]:
        """Return which records a call is about."""
        return notices.parse(call)

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._http.close()

    # ---- inside

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Return the body of an answer; an empty one, which stands for no rows, is an empty object."""
        answer = self._http.request(method, f"crm/v8/{path}", **options)
        if answer.status in (204, 304) or not answer.body.strip():
            return {}
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise RemoteInvalid("Zoho's answer is no JSON object.", http_status=answer.status)
        return body

    def _search(self, module: str, by: Mapping[str, str], limit: int) -> list[Record]:
        params = {**by, "fields": _asked(module), "per_page": str(limit)}
        return [record_of(module, row) for row in self._ask("GET", f"{module}/search", params=params).get("data") or []]

    def _coql(self, module: str, fields: str, wanted: Sequence[str], limit: int) -> tuple[list[dict[str, Any]], bool]:
        where = wanted[0]
        for one in wanted[1:]:  # more than two conditions have to be nested in pairs
            where = f"(({where}) and ({one}))"
        # Values are quoted by _literal and names are checked: nothing in either is read as COQL.
        query = f"select {fields} from {module} where {where} order by id asc limit 0, {limit}"  # noqa: S608
        body = self._ask("POST", "coql", json={"select_query": query}, safe=True)
        return body.get("data") or [], bool((body.get("info") or {}).get("more_records"))

    def _rows_since(self, module: str, since: int | None, at: str | int) -> tuple[list[Record], str | int | None]:
        """Return a page of a module, and the number or token of the next."""
        params = {"fields": _asked(module), "per_page": str(_PAGE), "sort_by": "id", "sort_order": "asc"}
        params |= {"page": str(at)} if isinstance(at, int) else {"page_token": at}
        headers = {"if-modified-since": stamp(since)} if since else {}
        body = self._ask("GET", module, params=params, headers=headers)
        info = body.get("info") or {}
        onward: str | int | None = None
        if info.get("more_records"):
            counted = isinstance(at, int) and (at + 1) * _PAGE <= _PAGED
            onward = at + 1 if counted and isinstance(at, int) else info.get("next_page_token")
        return [record_of(module, row) for row in body.get("data") or []], onward

    def _deleted(self, module: str, since: int, page: int) -> tuple[list[Record], int | None]:
        params = {"type": "all", "page": str(page), "per_page": str(_PAGE)}
        body = self._ask("GET", f"{module}/deleted", params=params)
        rows = [row for row in body.get("data") or [] if (instant(row.get("deleted_time")) or since) >= since]
        more = bool((body.get("info") or {}).get("more_records"))
        return [Record(id=str(row["id"]), object=module, deleted=True) for row in rows], page + 1 if more else None

    def _one(self, verb: str, row: Row, lists: str) -> Written:
        result = self._write(verb, _module(row.object), [row], lists)[0]
        if isinstance(result, RemoteError):
            raise result
        return result

    def _write(self, verb: str, module: str, rows: Sequence[Row], lists: str) -> list[Written | RemoteError]:
        """Write rows of one module in one call, then their tags, then read back what was kept."""
        made = [values_of(module, row.values) for row in rows]
        sent: list[Json] = [{**values, **({"id": row.id} if row.id else {})} for row, (values, _) in zip(rows, made, strict=True)]
        body: dict[str, Json] = {"data": sent, "trigger": []}
        path = module
        if verb == "upsert":
            body["duplicate_check_fields"] = ["Email"]
            path = f"{module}/upsert"
        answers = self._send_rows("PUT" if verb == "PUT" else "POST", path, body, len(rows))
        results: list[Written | RemoteError] = []
        for row, answer, (_, nowhere) in zip(rows, answers, made, strict=True):
            if answer.get("status") != "success":
                results.append(row_error(answer, 200))
                continue
            id = str((answer.get("details") or {}).get("id") or row.id)
            try:
                self._tags(module, id, row, lists)
            except RemoteError as error:
                results.append(error)
                continue
            created = verb == "POST" or (verb == "upsert" and _inserted(answer))
            results.append(Written(key=row.key, id=id, created=created, dropped=nowhere))
        return self._read_back(module, results, [values for values, _ in made], rows)

    def _read_back(
        self, module: str, results: list[Written | RemoteError], made: Sequence[Mapping[str, Json]], rows: Sequence[Row]
    ) -> list[Written | RemoteError]:
        """Name the fields that Zoho took and did not keep: it says nothing of those."""
        ids = [one.id for one in results if isinstance(one, Written) and one.id]
        names = sorted({name for values in made for name in values if name != "id"})[:48]
        if not ids or not names:
            return results
        params = {"ids": ",".join(ids), "fields": ",".join(["id", *names]), "per_page": str(_PAGE)}
        kept = {str(row["id"]): row for row in self._ask("GET", module, params=params).get("data") or []}
        for place, (one, values, row) in enumerate(zip(results, made, rows, strict=True)):
            held = None if isinstance(one, RemoteError) or one.id is None else kept.get(one.id)
            if isinstance(one, RemoteError) or held is None:
                continue
            lost = [
                ours
                for ours in row.values
                if (theirs := name_of(module, ours)) is not None
                and theirs in values
                and not _same(held.get(theirs), values[theirs])
            ]
            results[place] = msgspec.structs.replace(one, dropped=tuple(sorted({*one.dropped, *lost})))
        return results

    def _send_rows(self, method: str, path: str, body: Json, count: int) -> list[dict[str, Any]]:
        """Return what is told of each row; a refusal of the only row is told as that row's."""
        try:
            answers = self._ask(method, path, json=body).get("data")
        except (RemoteInvalid, RemoteConflict, RemoteNotFound, Locked) as error:
            if count > 1:
                raise
            twin: Json = {"id": error.existing} if error.existing else {"api_name": error.fields[0]} if error.fields else {}
            code = str(error.message).rpartition(" - ")[2]
            return [
                {"status": "error", "code": code, "details": {"api_name": "id"} if isinstance(error, RemoteNotFound) else twin}
            ]
        if not isinstance(answers, list) or len(answers) != count:
            raise RemoteInvalid("Zoho's answer does not tell of each row.", sent=True)
        return answers

    def _tags(self, module: str, id: str, row: Row, lists: str) -> None:
        if "tags" not in row.values:
            return
        said = row.values["tags"]
        tags = [str(tag) for tag in said] if isinstance(said, list | tuple) else []
        if tags:
            self._tag("add_tags", module, id, tags, over_write=lists == "replace")
        elif lists == "replace":
            held = self.get(id, object=module)
            if held is not None and held.tags:
                self._tag("remove_tags", module, id, held.tags)

    def _tag(self, verb: str, module: str, id: str, tags: Sequence[str], *, over_write: bool = False) -> None:
        body: dict[str, Json] = {"tags": [{"name": tag} for tag in tags]}
        if over_write:
            body["over_write"] = True
        rows = self._ask("POST", f"{module}/{quote(id, safe='')}/actions/{verb}", json=body, safe=True).get("data") or [{}]
        if rows[0].get("status") == "error":
            raise row_error(rows[0], 200)

    def _tag_whoever(self, verb: str, id: str, tag: str) -> None:
        """Give or take a tag of whichever module has the record."""
        for module in MODULES:
            try:
                return self._tag(verb, module, id, [tag])
            except RemoteNotFound:
                if module == MODULES[-1]:
                    raise

    def _there(
        self, module: str, activities: Sequence[Activity], items: Sequence[tuple[int, Mapping[str, Json]]]
    ) -> dict[str, str]:
        """Return the ids of those activities that an earlier try wrote, by title: the marker in it is theirs alone."""
        title = TITLES[module]
        found: dict[str, str] = {}
        if module == "Notes":  # notes cannot be asked for by COQL: they are looked for where they hang
            for record, parent in sorted({(activities[p].record, _module(activities[p].object)) for p, _ in items}):
                params = {"fields": "id,Note_Title", "per_page": str(_PAGE)}
                try:
                    rows = self._ask("GET", f"{parent}/{quote(record, safe='')}/Notes", params=params).get("data") or []
                except (RemoteNotFound, RemoteInvalid):
                    continue
                found |= {str(row.get(title)): str(row["id"]) for row in rows}
            return found
        for start in range(0, len(items), 50):
            titles = ", ".join(_literal(str(row[title])) for _, row in items[start : start + 50])
            rows, _ = self._coql(module, f"id, {title}", [f"{title} in ({titles})"], _PAGE)
            found |= {str(row.get(title)): str(row["id"]) for row in rows}
        return found

    def _watch(self, method: str, url: str, channel: str) -> list[Subscribed]:
        until = self._clock.now() + notices.LASTING
        asked: dict[str, Json] = {
            "channel_id": channel,
            "channel_expiry": stamp(until),
            "events": list(notices.EVENTS),
            "token": self._secret,
        }
        if url:
            asked["notify_url"] = url
        rows = self._ask(method, "actions/watch", json={"watch": [asked]}).get("watch") or [{}]
        if rows[0].get("status") != "success":
            raise row_error(rows[0], 200)
        return [Subscribed(id=channel, events=notices.EVENTS, expires_at=until // 1000 * 1000)]


def _module(object: str) -> str:
    if object in ("", "contact"):
        return MODULES[0]
    if object not in MODULES:
        raise RemoteInvalid(f"Zoho: {object!r:.60} is no kind of person.", hint=f"There are {', '.join(MODULES)}.")
    return object


def _asked(module: str) -> str:
    return ",".join([_OTHERS, *FIELDS[module].values()])


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _same(held: Json, value: Json) -> bool:
    if isinstance(held, dict) and isinstance(value, dict):
        return held.get("id") == value.get("id")
    return ("" if held is None else str(held).strip().casefold()) == ("" if value is None else str(value).strip().casefold())


def _fits(record: Record, filters: Filters) -> bool:
    if not all(_same(record.value(name), wanted) for name, wanted in filters.equals.items()):
        return False
    for name, parts in filters.contains.items():
        held = record.value(name)
        if not set(parts) <= set(held if isinstance(held, list) else ()):
            return False
    for name, before in filters.before.items():
        at = instant(record.value(name))
        if at is not None and at >= before:
            return False
    return True


def _inserted(answer: Mapping[str, Any]) -> bool:
    """Return whether an upsert made its record: Zoho says so, though its own document knows nothing of the word."""
    details = answer.get("details") or {}
    return answer["action"] == "insert" if "action" in answer else details.get("Created_Time") == details.get("Modified_Time")


def _told(result: Written | RemoteError, key: str) -> Written:
    if isinstance(result, Written):
        return result
    return Written(key=key, id=result.existing, error=result.code, detail=result.message, retry_after=result.retry_after)


def _logged(key: str, answer: Mapping[str, Any]) -> Logged:
    if answer.get("status") == "success":
        return Logged(key=key, id=str((answer.get("details") or {}).get("id")))
    error = row_error(answer, 200)
    return Logged(key=key, error=error.code, detail=error.message, retry_after=error.retry_after)
