"""A CRM in memory: everything the port asks for, with switches for trouble; for trying out and for tests."""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec

from tailorbird.connectors.rest.errors import (
    AuthExpired,
    Refused,
    RemoteConflict,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Transient,
    Unsupported,
)
from tailorbird.core.context import MINUTE, SECOND, Clock, SystemClock
from tailorbird.core.event import Json
from tailorbird.crm.model import (
    ACTIVITY_KINDS,
    NEUTRAL,
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

__all__ = ["MemoryCrm"]

_FRESH: Final = 5 * MINUTE

CAPABILITIES: Final = Capabilities(
    provider="memory", deletions=True, lists=True, unique_email=True, segments="tag", webhooks=True, consent=("email", "sms"),
    activities={str(kind): "entry" for kind in ACTIVITY_KINDS},
    limits=Limits(page=100, batch_write=100, batch_activities=100),
)  # fmt: skip


class MemoryCrm:
    """Holds records and activities, and answers as a well-behaved CRM does.

    ``down`` and ``revoked`` are switches; ``drops`` names fields that are taken without a word and not kept; ``faults`` are raised by
    the next calls, one each; ``calls`` counts calls by verb. ``after_write`` is called once something was written and before the
    answer is given: what it raises is an answer that was lost. Time is the clock's.
    """

    def __init__(self, name: str = "memory", *, clock: Clock | None = None, secret: str = "simulated") -> None:
        self.name = name
        self.provider = "memory"
        self.capabilities = CAPABILITIES
        self.clock = clock or SystemClock()
        self.secret = secret
        self.down = False
        self.revoked = False
        self.drops: set[str] = set()
        self.faults: list[RemoteError] = []
        self.calls: dict[str, int] = {}
        self.after_write: Callable[[], None] | None = None
        self.records: dict[str, Record] = {}
        self.activities: dict[str, tuple[str, Activity]] = {}
        self.members: dict[str, set[str]] = {}
        self._order: dict[str, int] = {}
        self._next = 0
        self._lock = threading.RLock()

    # ---- reading

    def test(self) -> Identity:
        """Return who we are."""
        with self._call("test"):
            return Identity(account="memory", user="ann")

    def get(self, id: str, *, object: str = "") -> Record | None:
        """Return a record; None when there is none, or no more."""
        with self._call("get"):
            found = self.records.get(id)
            return None if found is None or found.deleted else found

    def find(self, *, email: str | None = None, phone: str | None = None) -> list[Record]:
        """Return the records with this address or number."""
        with self._call("find"):
            return [r for r in self._alive() if (email and _folded(r.email) == _folded(email)) or (phone and r.phone == phone)]

    def search(self, text: str, *, limit: int = 50) -> list[Record]:
        """Return records in whose name or address the text occurs."""
        with self._call("search"):
            wanted = text.casefold()
            return [r for r in self._alive() if wanted in " ".join(filter(None, (r.name, r.email, r.company))).casefold()][:limit]

    def query(self, filters: Filters, *, cursor: str | None = None, limit: int = 100) -> Page:
        """Return records for which all filters hold."""
        with self._call("query"):
            found = [record for record in self._alive() if _fits(record, filters)]
            start = int(cursor or 0)
            more = start + limit < len(found)
            return Page(
                records=tuple(found[start : start + limit]),
                cursor=str(start + limit) if more else None,
                more=more,
                total=len(found),
            )

    def changes(self, cursor: str | None, *, limit: int = 1000) -> Page:
        """Return what changed since, in the order in which it did; deleted records are among it."""
        with self._call("changes"):
            since = int(cursor or 0)
            order = sorted((place, id) for id, place in self._order.items() if place > since)
            chosen = order[:limit]
            records = tuple(self.records[id] for _, id in chosen if cursor is not None or not self.records[id].deleted)
            last = chosen[-1][0] if chosen else since
            return Page(records=records, cursor=str(last), more=len(order) > limit)

    def fields(self, *, object: str = "") -> list[CrmField]:
        """Return the neutral fields; any other is taken, too."""
        with self._call("fields"):
            return [CrmField(name=name, label=name, type="list" if name == "tags" else "text") for name in sorted(NEUTRAL)]

    # ---- writing

    def create(self, row: Row) -> Written:
        """Make a record; raises ``RemoteConflict`` when another has the address."""
        with self._call("create"):
            return self._wrote(self._create(row))

    def update(self, row: Row, *, lists: Literal["merge", "replace"] = "replace") -> Written:
        """Change the fields given."""
        with self._call("update"):
            return self._wrote(self._update(row, lists))

    def upsert_many(self, rows: Sequence[Row], *, lists: Literal["merge", "replace"] = "replace") -> list[Written]:
        """Write many, each with its own result."""
        with self._call("upsert_many"):
            results = []
            for row in rows:
                try:
                    id = row.id or self._matched(row)
                    done = self._create(row) if id is None else self._update(msgspec.structs.replace(row, id=id), lists)
                except RemoteError as error:
                    done = Written(key=row.key, id=error.existing, error=error.code, detail=error.message)
                results.append(done)
            if self.after_write is not None:
                self.after_write()
            return results

    def log_activities(self, activities: Sequence[Activity]) -> list[Logged]:
        """Note activities; one whose key is there already is found."""
        with self._call("log_activities"):
            results = [self._log(activity) for activity in activities]
            if self.after_write is not None:
                self.after_write()
            return results

    def set_consent(self, record: Record, channel: str, given: bool, *, purpose: str = "marketing") -> None:
        """Write a consent or an opt-out."""
        if channel not in self.capabilities.consent:
            raise Unsupported(f"memory keeps no consent to {channel}.")
        with self._call("set_consent"):
            held = self._held(record.id)
            self._put(msgspec.structs.replace(held, consents={**held.consents, f"{channel}/{purpose}": given}))

    def set_members(self, segment: str, *, adding: Sequence[str] = (), removing: Sequence[str] = ()) -> list[Written]:
        """Make records members of a segment, others no longer."""
        with self._call("set_members"):
            members = self.members.setdefault(segment, set())
            results = []
            for id in [*adding, *removing]:
                known = id in self.records and not self.records[id].deleted
                results.append(Written(key=id, id=id, error="" if known else RemoteNotFound.code))
                if known:
                    (members.add if id in adding else members.discard)(id)
            return results

    def delete(self, id: str) -> None:
        """Delete a record, as somebody at the CRM would."""
        with self._lock:
            self._put(msgspec.structs.replace(self._held(id), deleted=True))

    # ---- webhooks

    def subscribe(self, url: str) -> list[Subscribed]:
        """Return a subscription; whoever wants to send uses ``signed``."""
        with self._call("subscribe"):
            return [Subscribed(id="1", events=("changed", "deleted"))]

    def renew(self, subscriptions: Sequence[Subscribed]) -> list[Subscribed]:
        """They do not end."""
        return list(subscriptions)

    def unsubscribe(self, subscriptions: Sequence[Subscribed]) -> None:
        """Nothing is sent by itself."""

    def signed(self, *records: str, what: str = "changed", url: str = "https://example.com/hook") -> WebhookCall:
        """Return a webhook about records, as this CRM would send it now."""
        now = self.clock.now()
        told = [
            {"id": f"{record}.{self._order.get(record, 0)}.{what}", "record": record, "what": what, "at": now}
            for record in records
        ]
        body = msgspec.json.encode(told)
        signature = hmac.new(self.secret.encode(), f"{now}.".encode() + body, sha256).hexdigest()
        return WebhookCall(method="POST", url=url, headers={"x-time": str(now), "x-signature": signature}, body=body)

    def verify_webhook(self, call: WebhookCall, now: int) -> None:
        """Check the signature over time and body; what is older than five minutes is refused."""
        at = call.headers.get("x-time", "")
        wanted = hmac.new(self.secret.encode(), f"{at}.".encode() + call.body, sha256).hexdigest()
        if not hmac.compare_digest(wanted, call.headers.get("x-signature", "")):
            raise Refused("the signature of the webhook is wrong.", hint="Check the webhook secret of the connection.")
        if not at.isdecimal() or abs(now - int(at)) > _FRESH:
            raise Refused(f"the webhook is older than {_FRESH // SECOND} s.")

    def parse_webhook(self, call: WebhookCall) -> list[Notice]:
        """Return what a call tells."""
        try:
            return msgspec.json.decode(call.body, type=list[Notice])
        except msgspec.DecodeError as error:
            raise RemoteInvalid("the webhook cannot be read.") from error

    def close(self) -> None:
        """Nothing is held open."""

    # ---- inside

    @contextmanager
    def _call(self, verb: str) -> Iterator[None]:
        with self._lock:
            self.calls[verb] = self.calls.get(verb, 0) + 1
            if self.down:
                raise Transient("memory cannot be reached (down)")
            if self.revoked:
                raise AuthExpired("memory API error: 401 - Unauthorized", hint="Connect again.", http_status=401)
            if self.faults:
                raise self.faults.pop(0)
            yield

    def _alive(self) -> list[Record]:
        return [record for record in self.records.values() if not record.deleted]

    def _held(self, id: str | None) -> Record:
        found = self.records.get(id or "")
        if found is None or found.deleted:
            raise RemoteNotFound("memory API error: 404", http_status=404)
        return found

    def _put(self, record: Record) -> None:
        self._next += 1
        self._order[record.id] = self._next
        self.records[record.id] = msgspec.structs.replace(record, updated_at=self.clock.now())

    def _wrote(self, written: Written) -> Written:
        if self.after_write is not None:
            self.after_write()
        return written

    def _matched(self, row: Row) -> str | None:
        found = [r.id for r in self._alive() if any(v and _folded(r.value(n)) == _folded(v) for n, v in row.match.items())]
        return found[0] if found else None

    def _create(self, row: Row) -> Written:
        self._refuse_twin(row, None)
        id = str(len(self.records) + 1)
        made = _changed(Record(id=id, created_at=self.clock.now()), self._kept(row), "replace")
        self._put(made)
        return Written(key=row.key, id=id, created=True, dropped=self._dropped(row))

    def _update(self, row: Row, lists: str) -> Written:
        held = self._held(row.id)
        self._refuse_twin(row, held.id)
        self._put(_changed(held, self._kept(row), lists))
        return Written(key=row.key, id=held.id, dropped=self._dropped(row))

    def _kept(self, row: Row) -> dict[str, Json]:
        wrong = tuple(n for n, v in row.values.items() if n in NEUTRAL - {"tags"} and not isinstance(v, str | None))
        if wrong:
            raise RemoteInvalid(f"memory API error: 422 - {', '.join(wrong)}", http_status=422, fields=wrong)
        return {name: value for name, value in row.values.items() if name not in self.drops}

    def _dropped(self, row: Row) -> tuple[str, ...]:
        return tuple(sorted(self.drops.intersection(row.values)))

    def _refuse_twin(self, row: Row, own: str | None) -> None:
        email = row.values.get("email")
        for record in self._alive() if email else ():
            if record.id != own and _folded(record.email) == _folded(email):
                raise RemoteConflict("memory API error: 409", http_status=409, existing=record.id)

    def _log(self, activity: Activity) -> Logged:
        found = self.activities.get(activity.key)
        if found is not None:
            return Logged(key=activity.key, id=found[0], found=True)
        if activity.record not in self.records or self.records[activity.record].deleted:
            return Logged(key=activity.key, error=RemoteNotFound.code, detail="there is no such record")
        if activity.kind not in self.capabilities.activities:
            return Logged(key=activity.key, error=Unsupported.code, detail=f"{activity.kind:.60} cannot be written")
        id = f"a{len(self.activities) + 1}"
        self.activities[activity.key] = (id, activity)
        return Logged(key=activity.key, id=id)


def _folded(value: Any) -> str:
    return str(value or "").casefold()


def _changed(record: Record, values: Mapping[str, Json], lists: str) -> Record:
    neutral: dict[str, Any] = {name: value for name, value in values.items() if name in NEUTRAL}
    if "tags" in neutral:
        kept = record.tags if lists == "merge" else ()
        neutral["tags"] = tuple(dict.fromkeys([*kept, *(neutral["tags"] or ())]))
    own = {name: value for name, value in values.items() if name not in NEUTRAL}
    fields = {name: value for name, value in {**record.fields, **own}.items() if value is not None}
    changed = msgspec.structs.replace(record, **neutral, fields=fields)
    name = " ".join(part for part in (changed.first_name, changed.last_name) if part)
    emails = (changed.email,) if changed.email else ()
    return msgspec.structs.replace(changed, name=name or None, emails=emails, phones=(changed.phone,) if changed.phone else ())


def _fits(record: Record, filters: Filters) -> bool:
    for name, wanted in filters.equals.items():
        if record.value(name) != wanted:
            return False
    for name, parts in filters.contains.items():
        if not set(parts) <= set(record.value(name) or ()):
            return False
    for name, instant in filters.before.items():
        held = record.value(name)
        if held is not None and int(held) >= instant:
            return False
    return filters.changed_since is None or (record.updated_at or 0) >= filters.changed_since
