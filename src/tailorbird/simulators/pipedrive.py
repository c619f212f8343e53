"""A simulator of Pipedrive: both generations of its API, as its own description has them."""

from __future__ import annotations

import hmac
import time
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from json import dumps, loads
from typing import Any, Final

from tailorbird.simulators.base import Reply, Request, Simulator
from tailorbird.simulators.people import person

__all__ = ["PipedriveSimulator"]

_CUSTOM: Final = "d4de1c1518b4531717c676029a45911c340390a6"
_PLACE: Final = (("city", "locality"), ("state", "admin_area_level_1"), ("country", "country"), ("postal_code", "postal_code"))
_TEXTS: Final = ("name", "job_title", "notes", "birthday", "marketing_status")
_WRITABLE: Final = frozenset({
    "name", "owner_id", "org_id", "emails", "phones", "visible_to", "label_ids", "postal_address", "notes", "im", "birthday",
    "job_title", "marketing_status", "custom_fields", "add_time",
})  # fmt: skip
_FIELDS: Final = (
    ("id", "int"), ("name", "varchar"), ("first_name", "varchar"), ("last_name", "varchar"), ("emails", "varchar"),
    ("phones", "phone"), ("owner_id", "user"), ("org_id", "org"), ("job_title", "varchar"), ("notes", "text"),
    ("add_time", "date"), ("update_time", "date"),
)  # fmt: skip


class PipedriveSimulator(Simulator):
    """Answers under ``/api/v2`` and ``/api/v1`` (or ``/v1``). ``people`` so many are there, made when they are first asked for.

    ``burst`` requests are allowed in two seconds, ``daily`` tokens a day (None: as many as there are). ``campaigns``: opt-outs of e-mail
    are kept. ``unkept`` has the next write answered with 200 and ``success`` false. ``drops`` names fields that are not kept.
    """

    def __init__(
        self, *, people: int = 0, burst: int | None = None, daily: int | None = None, campaigns: bool = True,
        webhook_secret: str = "simulated", clock: Callable[[], float] = time.time, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(clock=clock, **options)
        self.count = people
        self.burst = burst
        self.daily = daily
        self.campaigns = campaigns
        self.webhook_secret = webhook_secret
        self.unkept = False
        self.drops: set[str] = set()
        self.people: dict[int, dict[str, Any]] = {}
        self.activities: list[dict[str, Any]] = []
        self.notes: list[dict[str, Any]] = []
        self.labels: list[dict[str, Any]] = []
        self.hooks: dict[int, dict[str, Any]] = {}
        self.companies: dict[str, int] = {}
        self._last = people
        self._number = 0
        self._asked: deque[float] = deque()

    # ---- what tests and people look at

    def people_seen(self, limit: int) -> list[Any]:
        """Return the first persons."""
        return [self._held(id) for id in range(1, min(self._last, limit) + 1)]

    def delete(self, id: str | int) -> None:
        """Delete somebody, as a person there would."""
        self._held(int(id)).update(is_deleted=True, update_time=self._now())

    def members(self, label: str) -> set[str]:
        """Return the ids of who has a label."""
        ids = {one["id"] for one in self.labels if one["label"] == label}
        return {str(id) for id, held in self.people.items() if ids & set(held["label_ids"])}

    def hook(
        self, id: str | int, *, action: str = "change", url: str = "https://example.com/hook"
    ) -> tuple[str, str, dict[str, str], bytes]:
        """Return (method, url, headers, body) of a webhook about somebody as it is sent now."""
        self._number += 1
        made = sha256(f"{self.seed} {self._number}".encode()).hexdigest()
        meta = {
            "action": action, "entity": "person", "entity_id": str(id), "id": f"{made[:8]}-{made[8:12]}-4{made[13:16]}-8{made[17:20]}-"
            f"{made[20:32]}", "correlation_id": made[32:], "company_id": "1", "user_id": "1", "timestamp": _iso(self.clock()),
            "version": "2.0", "webhook_id": "1", "webhook_owner_id": "1", "change_source": "app", "attempt": 1, "is_bulk_edit": False,
            "permitted_user_ids": ["1"], "host": "simulated.pipedrive.com", "type": "general",
        }  # fmt: skip
        data = None if action == "delete" else self._held(int(id))
        body = dumps({"meta": meta, "data": data, "previous": {}}).encode()
        shown = "Basic " + b64encode(f"tailorbird:{self.webhook_secret}".encode()).decode()
        return "POST", url, {"authorization": shown, "content-type": "application/json"}, body

    # ---- answering

    def over_limit(self, request: Request) -> Reply:
        """Say that it is too much, and when there is room again."""
        headers = {"x-ratelimit-limit": str(self.burst or 20), "x-ratelimit-remaining": "0", "x-ratelimit-reset": "2"}
        if self.daily is not None and self.daily <= 0:
            headers["x-daily-requests-left"] = "0"
        return Reply(429, {"success": False, "error": "request over limit", "errorCode": 429}, headers)

    def reply(self, request: Request) -> Reply:
        """Answer a request."""
        if self.revoked or not hmac.compare_digest(request.headers.get("x-api-token", "").encode(), self.key.encode()):
            return Reply(401, {"success": False, "error": "unauthorized access", "errorCode": 401})
        if self._over(request):
            return self.over_limit(request)
        if request.method in ("POST", "PATCH") and not isinstance(request.body, dict | list):
            return _error(400, "The body is not JSON.")
        if self.unkept and request.method != "GET":
            self.unkept = False
            return Reply(200, {"success": False, "error": "not kept", "data": None})
        path = request.path.removeprefix("/api").strip("/").split("/")
        return self._new(request, path[1:]) if path[0] == "v2" else self._old(request, path[1:])

    def _over(self, request: Request) -> bool:
        if self.daily is not None:
            cost = 20 if "search" in request.path else 10 if request.method == "GET" else 5
            if self.daily < cost:
                self.daily = 0
                return True
            self.daily -= cost
        if self.burst is not None:
            now = self.clock()
            while self._asked and self._asked[0] <= now - 2:
                self._asked.popleft()
            if len(self._asked) >= self.burst:
                return True
            self._asked.append(now)
        return False

    def _new(self, request: Request, path: list[str]) -> Reply:
        body = request.body
        match (request.method, path):
            case ("GET", ["persons"]):
                return self._persons(request)
            case ("GET", ["persons", "search"]):
                return self._search(request.query)
            case ("POST", ["persons"]):
                if wrong := self._wrong(body, making=True):
                    return _error(400, wrong)
                self._last += 1
                self.people[self._last] = self._empty(self._last)
                self._change(self._last, body)
                return _good(self._shown(self._last, request))
            case ("GET" | "PATCH" | "DELETE", ["persons", id]):
                return self._one(request, id)
            case ("GET", ["personFields"]):
                return _paged(self._fields(), None)
            case ("POST", ["personFields", "label_ids", "options"]):
                made = [{"id": len(self.labels) + place, "label": one["label"]} for place, one in enumerate(body, 1)]
                self.labels += made
                return _good(made)
            case ("GET", ["organizations"]):
                ids = request.query.get("ids", "").split(",")
                return _paged([{"id": id, "name": name} for name, id in self.companies.items() if str(id) in ids], None)
            case ("GET", ["activities"]):
                found = [one for one in self.activities if str(one["person_id"]) == request.query.get("person_id")]
                return _sliced(found, request.query, lambda one: [one["id"]])
            case ("POST", ["activities"]):
                return self._activity(body)
        return _error(404, "There is no such resource")

    def _old(self, request: Request, path: list[str]) -> Reply:
        body = request.body
        match (request.method, path):
            case ("GET", ["users", "me"]):
                return _good({
                    "id": 1, "name": "Olive Owner", "email": "owner@simulated.example", "company_id": 1, "company_name": "Simulated",
                    "company_domain": "simulated",
                })  # fmt: skip
            case ("GET", ["notes"]):
                found = [one for one in self.notes if request.query.get("person_id") in (None, str(one["person_id"]))]
                start, size = int(request.query.get("start", "0")), min(int(request.query.get("limit", "100")), 100)
                more = start + size < len(found)
                pages = {"start": start, "limit": size, "more_items_in_collection": more} | (
                    {"next_start": start + size} if more else {}
                )
                told = found[start : start + size]
                return Reply(200, {"success": True, "data": told or None, "additional_data": {"pagination": pages}})
            case ("POST", ["notes"]):
                if not body.get("content") or not body.get("person_id"):
                    return _error(400, "content and person_id are required")
                if self._alive(body["person_id"]) is None:
                    return _error(404, "Person not found")
                self.notes.append({"id": len(self.notes) + 1, "active_flag": True, "add_time": _plain(self.clock()), **body})
                return _good(self.notes[-1])
            case ("GET", ["webhooks"]):
                return Reply(200, {"success": True, "status": "ok", "data": list(self.hooks.values())})
            case ("POST", ["webhooks"]):
                if not str(body.get("subscription_url", "")).startswith("https://"):
                    wrong = {"subscription_url": ["is not a public address"]}
                    return Reply(400, {"status": "error", "success": False, "errors": wrong})
                self._number += 1
                self.hooks[self._number] = {"id": self._number, "is_active": 1, **body}
                return Reply(201, {"success": True, "status": "ok", "data": self.hooks[self._number]})
            case ("DELETE", ["webhooks", id]) if id.isdecimal() and int(id) in self.hooks:
                del self.hooks[int(id)]
                return Reply(200, {"success": True, "status": "ok"})
            case (_, ["persons", *_]):
                return Reply(410, {"success": False, "error": "This endpoint is gone; use API v2"})
        return _error(404, "There is no such resource")

    # ---- persons

    def _persons(self, request: Request) -> Reply:
        query = request.query
        ids = list(range(1, self._last + 1))
        if "ids" in query:
            ids = [int(id) for id in query["ids"].split(",") if id.isdecimal() and 1 <= int(id) <= self._last]
        if "updated_since" in query:
            since = _ms(query["updated_since"])
            ids = [id for id in ids if self._updated(id) >= since]
        if "owner_id" in query:
            ids = [id for id in ids if str(self._held(id)["owner_id"]) == query["owner_id"]]
        ids = [id for id in ids if id not in self.people or not self.people[id]["is_deleted"]]

        def place(id: int) -> list[int]:
            return [self._updated(id), id] if query.get("sort_by") == "update_time" else [id]

        sign = query.get("sort_direction") == "desc"
        page = _sliced(sorted(ids, key=place, reverse=sign), query, place, falling=sign)
        if page.status == 200:
            page.body["data"] = [self._shown(id, request) for id in page.body["data"]]
        return page

    def _search(self, query: dict[str, str]) -> Reply:
        term, exact = query.get("term", "").casefold(), query.get("exact_match") == "true"
        if len(term) < 2 and not exact:
            return _error(400, "term must be at least 2 characters long")
        fields = query.get("fields", "email,phone,name,notes").split(",")
        found = []
        for id in range(1, self._last + 1):
            held = self._held(id)
            texts = [one["value"] for name in ("email", "phone") if name in fields for one in held[name + "s"]]
            texts += [held["name"]] if "name" in fields else []
            if not held["is_deleted"] and any(text.casefold() == term if exact else term in text.casefold() for text in texts):
                emails, phones = ([one["value"] for one in held[name]] for name in ("emails", "phones"))
                item = {"id": id, "type": "person", "name": held["name"], "emails": emails, "phones": phones, "owner": {"id": 1}}
                found.append({"result_score": 1.0, "item": item})
        size = min(int(query.get("limit", "100")), 100)
        return Reply(200, {"success": True, "data": {"items": found[:size]}, "additional_data": {"next_cursor": None}})

    def _one(self, request: Request, text: str) -> Reply:
        id = self._alive(text)
        if id is None:
            return _error(404, "Person not found")
        if request.method == "DELETE":
            self.delete(id)
            return _good({"id": id})
        if request.method == "PATCH":
            if wrong := self._wrong(request.body, making=False):
                return _error(400, wrong)
            self._change(id, request.body)
        return _good(self._shown(id, request))

    def _alive(self, id: Any) -> int | None:
        if not str(id).isdecimal() or not 1 <= int(id) <= self._last or self._held(int(id))["is_deleted"]:
            return None
        return int(id)

    def _updated(self, id: int) -> int:
        if id in self.people:
            return _ms(self.people[id]["update_time"])
        return person(self.count, seed=self.seed, people=self.count).updated_at - (self.count - id) * 1000

    def _held(self, id: int) -> dict[str, Any]:
        if id not in self.people:
            who = person(id, seed=self.seed, people=self.count)
            self.people[id] = self._empty(id) | {
                "add_time": _iso(who.created_at / 1000), "update_time": _iso(who.updated_at / 1000),
                "name": f"{who.first_name} {who.last_name}", "first_name": who.first_name, "last_name": who.last_name,
                "emails": [{"value": who.email, "primary": True, "label": "work"}],
                "phones": [{"value": who.phone, "primary": True, "label": "work"}], "job_title": who.title,
                "postal_address": {theirs: getattr(who, ours) for ours, theirs in _PLACE},
                "org_id": self.companies.setdefault(who.company, len(self.companies) + 1),
                "marketing_status": "unsubscribed" if who.opted_out else "no_consent",
            }  # fmt: skip
        return self.people[id]

    def _empty(self, id: int) -> dict[str, Any]:
        return {
            "id": id, "name": "", "first_name": None, "last_name": None, "owner_id": 1, "org_id": None, "add_time": self._now(),
            "update_time": self._now(), "emails": [], "phones": [], "is_deleted": False, "visible_to": 3, "label_ids": [],
            "picture_id": None, "postal_address": None, "notes": None, "im": [], "birthday": None, "job_title": None,
            "marketing_status": "no_consent", "custom_fields": {_CUSTOM: None},
        }  # fmt: skip

    def _shown(self, id: int, request: Request) -> dict[str, Any]:
        asked = self.campaigns and "marketing_status" in request.query.get("include_fields", "")
        return {name: value for name, value in self._held(id).items() if name != "marketing_status" or asked}

    def _wrong(self, body: Any, *, making: bool) -> str | None:
        if not isinstance(body, dict) or (making and not body.get("name")):
            return "name is required"
        unknown = set(body) - _WRITABLE
        if unknown:
            return f"{min(unknown)} is not allowed"
        return next((f"{name} is not text" for name in _TEXTS if not isinstance(body.get(name), str | None)), None)

    def _change(self, id: int, body: dict[str, Any]) -> None:
        held = self._held(id)
        told = {name: value for name, value in body.items() if name not in self.drops}
        custom = told.pop("custom_fields", {})
        if held["marketing_status"] == "unsubscribed" or not self.campaigns:
            told.pop("marketing_status", None)  # a forbidden change is not refused
        held |= told
        held["custom_fields"] = {**held["custom_fields"], **custom}
        first, _, last = held["name"].partition(" ")
        held |= {"first_name": first or None, "last_name": last or None, "update_time": self._now()}

    def _activity(self, body: dict[str, Any]) -> Reply:
        who = next((one.get("person_id") for one in body.get("participants") or ()), None)
        if who is None or not body.get("type"):
            return _error(400, "type and participants are required")
        if self._alive(who) is None:
            return _error(404, "Person not found")
        made = {
            "id": len(self.activities) + 1,
            "owner_id": 1,
            "is_deleted": False,
            "add_time": self._now(),
            **body,
            "person_id": who,
        }
        self.activities.append(made)
        return _good(made)

    def _fields(self) -> list[dict[str, Any]]:
        told = [*_FIELDS, (_CUSTOM, "varchar")]
        made = [
            {
                "field_name": "Heating" if name == _CUSTOM else name.replace("_", " ").title(), "field_code": name, "field_type": kind,
                "options": None, "is_custom_field": name == _CUSTOM, "is_optional_response_field": False,
            }
            for name, kind in told
        ]  # fmt: skip
        return [*made, {
            "field_name": "Labels", "field_code": "label_ids", "field_type": "set", "options": list(self.labels),
            "is_custom_field": False, "is_optional_response_field": False,
        }]  # fmt: skip

    def _now(self) -> str:
        return _iso(self.clock())


def _good(data: Any) -> Reply:
    return Reply(200, {"success": True, "data": data})


def _paged(data: list[Any], cursor: str | None) -> Reply:
    return Reply(200, {"success": True, "data": data, "additional_data": {"next_cursor": cursor}})


def _sliced(found: list[Any], query: dict[str, str], place: Callable[[Any], list[int]], *, falling: bool = False) -> Reply:
    """Return a page of what stands in order, after the cursor."""
    size = query.get("limit", "100")
    if not size.isdecimal() or not 1 <= int(size) <= 500:
        return _error(400, "limit is from 1 to 500")
    if query.get("cursor"):
        try:
            last = loads(b64decode(query["cursor"]))
        except ValueError:
            return _error(400, "cursor is not valid")
        found = [one for one in found if (place(one) < last if falling else place(one) > last)]
    chosen = found[: int(size)]
    cursor = b64encode(dumps(place(chosen[-1])).encode()).decode() if len(found) > len(chosen) else None
    return _paged(chosen, cursor)


def _error(status: int, message: str) -> Reply:
    return Reply(status, {"success": False, "error": message, "error_info": "", "data": None, "additional_data": None})


def _iso(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%d %H:%M:%S")


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)
