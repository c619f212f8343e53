"""A simulator of Follow Up Boss, as its documentation describes it."""

from __future__ import annotations

import hmac
import time
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from json import dumps, loads
from typing import Any, Final

from tailorbird.simulators.base import Reply, Request, Simulator
from tailorbird.simulators.people import person

__all__ = ["FollowUpBossSimulator"]

_ROOT: Final = "/v1/"
_DEEP: Final = 2_000
_LISTS: Final = ("notes", "calls", "textMessages", "tasks", "events", "emEvents")
_LOWER: Final = {"textMessages": "textmessages", "customFields": "customfields"}
_TEXTS: Final = ("firstName", "lastName", "stage", "assignedTo", "background")
_STAGES: Final = {"new": "Lead", "open": "Nurture", "customer": "Closed", "lost": "Past Client"}
_CUSTOM: Final = (
    {"id": 1, "label": "Close date", "name": "customCloseDate", "type": "date", "choices": [], "isRecurring": False},
    {"id": 2, "label": "Heating", "name": "customHeating", "type": "dropdown", "choices": ["gas", "wood"], "isRecurring": False},
)  # fmt: skip
_FIXED: Final = frozenset({"id", "created", "updated", "lastActivity", "name", "source", "sourceUrl"})


class FollowUpBossSimulator(Simulator):
    """Answers under ``/v1``. ``people`` so many are there from the start, made when they are first asked for.

    ``system_key`` registers a system: without it limits are lower and text messages are refused. ``settling`` s pass before a new
    person takes activities; ``ignored`` has the lead flow archive what comes in; ``drops`` names fields that are not kept; ``window``
    allows so many requests in ten seconds (None: as many as there are). ``written`` holds activities by their collection.
    """

    def __init__(
        self, *, people: int = 0, system_key: str = "simulated-system", settling: float = 0.0, window: int | None = None,
        clock: Callable[[], float] = time.time, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(clock=clock, **options)
        self.count = people
        self.system_key = system_key
        self.settling = settling
        self.window = window
        self.ignored = False
        self.drops: set[str] = set()
        self.people: dict[int, dict[str, Any]] = {}
        self.written: dict[str, list[dict[str, Any]]] = {name: [] for name in _LISTS}
        self.campaigns: dict[tuple[str, str], int] = {}
        self.hooks: dict[int, dict[str, Any]] = {}
        self._last = people
        self._number = 0
        self._asked: deque[float] = deque()

    # ---- what tests and people look at

    def people_seen(self, limit: int) -> list[Any]:
        """Return the first people."""
        return [self._held(id) for id in range(1, min(self._last, limit) + 1)]

    def trash(self, id: str | int) -> None:
        """Move somebody to the trash, as a person there would."""
        self._change(int(id), {"stage": "Trash"})

    def hook(
        self, *ids: str | int, event: str = "peopleUpdated", url: str = "https://example.com/hook"
    ) -> tuple[str, str, dict[str, str], bytes]:
        """Return (method, url, headers, body) of a webhook about people as it is sent now."""
        self._number += 1
        made = sha256(f"{self.seed} {self._number}".encode()).hexdigest()
        told = {
            "eventId": f"{made[:8]}-{made[8:12]}-4{made[13:16]}-8{made[17:20]}-{made[20:32]}",
            "eventCreated": datetime.fromtimestamp(int(self.clock()), UTC).isoformat(), "event": event,
            "resourceIds": [int(id) for id in ids],
            "uri": None if event == "peopleDeleted" else f"https://api.followupboss.com/v1/people?id={','.join(map(str, ids))}",
        }  # fmt: skip
        body = dumps(told, separators=(",", ":")).encode()
        mark = hmac.new(self.system_key.encode(), b64encode(body), sha256).hexdigest()
        return "POST", url, {"fub-signature": mark, "content-type": "application/json"}, body

    # ---- answering

    def over_limit(self, request: Request) -> Reply:
        """Say when to come again, and what the limit is."""
        headers = {} if self.silent_429 else {"retry-after": "1"}
        limits = {"x-ratelimit-limit": str(self.window or 250), "x-ratelimit-remaining": "0", "x-ratelimit-window": "10"}
        return Reply(429, {"errorMessage": "Rate limit exceeded."}, {**headers, **limits, "x-ratelimit-context": "global"})

    def reply(self, request: Request) -> Reply:
        """Answer a request."""
        if refused := self._refused(request):
            return refused
        method, path, body = request.method, request.path.removeprefix(_ROOT).strip("/").split("/"), request.body
        if method in ("POST", "PUT") and not isinstance(body, dict):
            return _error(400, "The body is no object.")
        match (method, path):
            case ("GET", ["identity"]):
                owner = {"name": "Olive Owner", "email": "owner@simulated.example"}
                account = {"id": 1, "domain": "simulated", "owner": owner}
                return Reply(200, {"account": account, "user": {"id": 1, **owner, "role": "Broker"}})
            case ("GET", ["people"]):
                return self._people(request)
            case ("POST", ["people"]):
                return self._create(request)
            case ("POST", ["events"]):
                return self._event(body)
            case ("GET" | "PUT" | "DELETE", ["people", id]):
                return self._one(request, id)
            case ("GET", ["customFields"]):
                return _listed("customFields", list(_CUSTOM), len(_CUSTOM), None)
            case ("GET", ["webhooks"]):
                found = [hook for hook in self.hooks.values() if request.query.get("event") in (None, hook["event"])]
                return _listed("webhooks", found, len(found), None)
            case ("POST", ["webhooks"]):
                return self._subscribe(body)
            case ("DELETE", ["webhooks", id]) if id.isdecimal():
                gone = self.hooks.pop(int(id), None)
                return Reply(200, {}) if gone else _error(404, "No such webhook.")
            case ("POST", ["emCampaigns"]):
                place = (str(body.get("origin")), str(body.get("originId")))
                return Reply(200, {**body, "id": self.campaigns.setdefault(place, len(self.campaigns) + 1)})
            case ("GET", [collection]) if collection in _LISTS:
                return self._activities(collection, request)
            case ("POST", [collection]) if collection in _LISTS:
                return self._activity(collection, request)
        return _error(404, "There is no such resource.")

    def _refused(self, request: Request) -> Reply | None:
        shown = request.headers.get("authorization", "")
        basic = "Basic " + b64encode(f"{self.key}:".encode()).decode()
        if self.revoked or not hmac.compare_digest(shown.encode(), basic.encode()):
            return _error(401, "Access denied. The API key is not valid.")
        if self.window is not None:
            now = self.clock()
            while self._asked and self._asked[0] <= now - 10:
                self._asked.popleft()
            if len(self._asked) >= self.window:
                return self.over_limit(request)
            self._asked.append(now)
        return None

    # ---- people

    def _people(self, request: Request) -> Reply:
        query = request.query
        size, offset = query.get("limit", "10"), query.get("offset", "0")
        if not (size.isdecimal() and offset.isdecimal() and 1 <= int(size) <= 100):
            return _error(400, "limit is from 1 to 100.")
        if int(offset) > _DEEP:
            return _error(400, "Deep pagination disabled. Use next in place of offset.")
        ids = self._sorted(query)
        if ids is None:
            return _error(400, "There is no such order.")
        total = len(ids)
        start = int(offset)
        if query.get("next"):
            try:
                last = loads(b64decode(query["next"], altchars=b"-_"))
            except ValueError:
                return _error(400, "next is not valid.")
            start = next((place for place, one in enumerate(ids) if self._place(one, query) > last), total)
        chosen = ids[start : start + int(size)]
        more = start + len(chosen) < total
        token = urlsafe_b64encode(dumps(self._place(chosen[-1], query)).encode()).decode() if more and chosen else None
        whole = query.get("fields") == "allFields"
        return _listed("people", [_shown(self._held(id), whole) for id in chosen], total, token, offset=start, limit=int(size))

    def _sorted(self, query: dict[str, str]) -> list[int] | None:
        if query.get("sort", "-id") not in ("-id", "id", "updated", "-updated"):
            return None
        ids = list(range(1, self._last + 1))
        wanted: dict[str, str] = {
            name: query[name]
            for name in ("email", "phone", "name", "firstName", "lastName", "stage", "tags", "source")
            if name in query
        }
        trash = query.get("includeTrash") == "true"
        after = _ms(query["updatedAfter"]) if "updatedAfter" in query else None
        if after is not None:
            ids = [id for id in ids if self._updated(id) > after]
        if wanted:
            ids = [id for id in ids if _fits(self._held(id), wanted)]
        if not trash:
            ids = [id for id in ids if id not in self.people or self.people[id]["stage"] != "Trash"]
        return sorted(ids, key=lambda id: self._place(id, query))

    def _place(self, id: int, query: dict[str, str]) -> list[int]:
        """Return where somebody stands in the order that is asked for."""
        order = query.get("sort", "-id")
        sign = -1 if order.startswith("-") else 1
        return [sign * self._updated(id), id] if order.endswith("updated") else [sign * id, id]

    def _updated(self, id: int) -> int:
        if id in self.people:
            return _ms(self.people[id]["updated"])
        return person(self.count, seed=self.seed, people=self.count).updated_at - (self.count - id) * 1000

    def _held(self, id: int) -> dict[str, Any]:
        if id not in self.people:
            who = person(id, seed=self.seed, people=self.count)
            tags = [*who.tags, *(["Do Not Email"] if who.opted_out else [])]
            self.people[id] = self._new(id, _iso(who.created_at / 1000)) | {
                "updated": _iso(who.updated_at / 1000), "firstName": who.first_name, "lastName": who.last_name,
                "name": f"{who.first_name} {who.last_name}", "stage": _STAGES[who.status], "tags": tags,
                "emails": [{"value": who.email, "type": "home", "status": "Valid", "isPrimary": 1}],
                "phones": [{"value": who.phone, "type": "mobile", "status": "Valid", "isPrimary": 1}],
                "addresses": [{
                    "type": "home", "street": "", "city": who.city, "state": who.state, "code": who.postal_code,
                    "country": who.country,
                }],
            }  # fmt: skip
        return self.people[id]

    def _new(self, id: int, created: str) -> dict[str, Any]:
        return {
            "id": id, "created": created, "updated": created, "lastActivity": created, "name": "", "firstName": "", "lastName": "",
            "stage": "Lead", "stageId": 2, "source": "API", "sourceUrl": None, "contacted": 0, "price": 0, "assignedTo": "Olive Owner",
            "assignedUserId": 1, "assignedLenderId": None, "assignedPondId": None, "tags": [], "emails": [], "phones": [],
            "addresses": [], "background": "",
        }  # fmt: skip

    def _one(self, request: Request, text: str) -> Reply:
        id = self._alive(text)
        if id is None:
            return _error(404, "Person not found.")
        if request.method == "DELETE":
            self.trash(id)
            return Reply(204, None)
        if request.method == "PUT":
            if wrong := _wrong(request.body):
                return _error(400, wrong)
            self._change(id, request.body, merge=request.query.get("mergeTags") == "true")
            return Reply(200, _shown(self._held(id), True))
        return Reply(200, _shown(self._held(id), request.query.get("fields") == "allFields"))

    def _alive(self, id: Any) -> int | None:
        if not str(id).isdecimal() or not 1 <= int(id) <= self._last or self._held(int(id))["stage"] == "Trash":
            return None
        return int(id)

    def _twin(self, body: dict[str, Any]) -> int | None:
        if not body.get("emails") and not body.get("phones"):
            return None
        for id in range(1, self._last + 1):
            held = self._held(id)
            same = any(_values(held, name) & _values(body, name) for name in ("emails", "phones"))
            if same and held["stage"] != "Trash":
                return id
        return None

    def _create(self, request: Request) -> Reply:
        if wrong := _wrong(request.body):
            return _error(400, wrong)
        twin = self._twin(request.body) if request.query.get("deduplicate") == "true" else None
        if twin is not None:
            return Reply(200, _shown(self._held(twin), True))
        return Reply(201, _shown(self._held(self._make(request.body)), True))

    def _make(self, body: dict[str, Any]) -> int:
        self._last += 1
        self.people[self._last] = self._new(self._last, _iso(self.clock()))
        self._change(self._last, body)
        return self._last

    def _change(self, id: int, body: dict[str, Any], *, merge: bool = False) -> None:
        held = self._held(id)
        told = {name: value for name, value in body.items() if name not in _FIXED and name not in self.drops}
        if merge and "tags" in told:
            told["tags"] = list(dict.fromkeys([*held["tags"], *told["tags"]]))
        held |= told
        for name in [name for name, value in held.items() if name.startswith("custom") and value is None]:
            del held[name]
        held["name"] = " ".join(part for part in (held["firstName"], held["lastName"]) if part)
        held["updated"] = _iso(self.clock())

    def _event(self, body: dict[str, Any]) -> Reply:
        told = body.get("person")
        if not isinstance(told, dict) or not body.get("type"):
            return _error(400, "person and type are required.")
        if self.ignored:
            return Reply(204, None)
        if "id" in told:
            id = self._alive(told["id"])
            if id is None or self._unsettled(id):
                return _error(404, "Person not found.")
            status = 200
        else:
            if wrong := _wrong(told):
                return _error(400, wrong)
            twin = self._twin(told)
            status = 201 if twin is None else 200
            id = self._make(told) if twin is None else twin
        number = len(self.written["events"]) + 1
        self.written["events"].append({**body, "id": number, "personId": id, "created": _iso(self.clock())})
        return Reply(status, _shown(self._held(id), True))

    # ---- activities and webhooks

    def _unsettled(self, id: int) -> bool:
        return self.settling > 0 and _ms(self._held(id)["created"]) / 1000 > self.clock() - self.settling

    def _activities(self, collection: str, request: Request) -> Reply:
        size, last = request.query.get("limit", "10"), request.query.get("next", "")
        if not (size.isdecimal() and 1 <= int(size) <= 100 and (last.isdecimal() or not last)):
            return _error(400, "limit is from 1 to 100.")
        wanted = request.query.get("personId")
        found = [one for one in reversed(self.written[collection]) if wanted in (None, str(one["personId"]))]
        total = len(found)
        found = [one for one in found if not last or one["id"] < int(last)]
        chosen = found[: int(size)]
        if collection == "textMessages":  # what was said is shown to people only
            chosen = [{**one, "message": "* Body is hidden for privacy reasons *"} for one in chosen]
        return _listed(collection, chosen, total, str(chosen[-1]["id"]) if len(found) > len(chosen) else None, limit=int(size))

    def _activity(self, collection: str, request: Request) -> Reply:
        if collection == "textMessages" and not self._registered(request):
            return _error(403, "Registered Systems Only")
        items = request.body.get("emEvents") if collection == "emEvents" else [request.body]
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            return _error(400, "emEvents is no list.")
        for item in items:
            id = self._alive(item.get("personId"))
            if id is None or self._unsettled(id):
                return _error(404, "Person not found.")
        made = []
        for item in items:
            made.append({**item, "id": len(self.written[collection]) + 1, "created": _iso(self.clock())})
            self.written[collection].append(made[-1])
        return Reply(201, {"emEvents": made} if collection == "emEvents" else made[0])

    def _registered(self, request: Request) -> bool:
        return hmac.compare_digest(request.headers.get("x-system-key", "").encode(), self.system_key.encode())

    def _subscribe(self, body: dict[str, Any]) -> Reply:
        if not str(body.get("url", "")).startswith("https://") or not body.get("event"):
            return _error(400, "event and an https url are required.")
        if sum(hook["event"] == body["event"] for hook in self.hooks.values()) >= 2:
            return _error(400, "There are two webhooks for this event already.")
        self._number += 1
        self.hooks[self._number] = {"id": self._number, "status": "Active", "event": body["event"], "url": body["url"]}
        return Reply(201, self.hooks[self._number])


def _error(status: int, message: str) -> Reply:
    return Reply(status, {"errorMessage": message})


def _listed(name: str, items: list[Any], total: int, next: str | None, *, offset: int = 0, limit: int = 10) -> Reply:
    listed = _LOWER.get(name, name)
    link = f"https://api.followupboss.com/v1/{name}?limit={limit}&&next={next}" if next else None
    about = {"collection": listed, "offset": offset, "limit": limit, "total": total, "next": next, "nextLink": link}
    return Reply(200, {"_metadata": about, listed: items})


def _shown(held: dict[str, Any], whole: bool) -> dict[str, Any]:
    return {name: value for name, value in held.items() if whole or not name.startswith("custom")}


def _wrong(body: dict[str, Any]) -> str | None:
    for name in _TEXTS:
        if not isinstance(body.get(name), str | None):
            return f"{name} is not text."
    for name in ("emails", "phones"):
        entries = body.get(name) or []
        if not isinstance(entries, list) or not all(
            isinstance(one, dict) and isinstance(one.get("value"), str) for one in entries
        ):
            return f"{name} is no list of values."
    return None


def _values(held: dict[str, Any], name: str) -> set[str]:
    return {_plain(name, str(one.get("value", ""))) for one in held.get(name) or ()} - {""}


def _plain(name: str, value: str) -> str:
    return "".join(c for c in value if c.isdigit())[-10:] if name.startswith("phone") else value.casefold()


def _fits(held: dict[str, Any], wanted: dict[str, str]) -> bool:
    for name, value in wanted.items():
        if name in ("email", "phone"):
            if _plain(name, value) not in _values(held, name + "s"):
                return False
        elif name == "tags":
            if not {tag.casefold() for tag in value.split(",")} & {tag.casefold() for tag in held["tags"]}:
                return False
        elif name == "name":
            if value.casefold() not in held["name"].casefold():
                return False
        elif str(held.get(name) or "").casefold() != value.casefold():
            return False
    return True


def _iso(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)
