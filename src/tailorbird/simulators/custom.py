"""A simulator of a CRM of somebody's own, which speaks the contract of customers."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from json import dumps
from typing import Any, Final
from urllib.parse import unquote

from tailorbird.simulators.base import Reply, Request, Simulator
from tailorbird.simulators.people import person

__all__ = ["CustomSimulator"]

_TEXTS: Final = (
    "email", "phone", "first_name", "last_name", "company", "title", "city", "state", "country", "postal_code", "status", "owner",
)  # fmt: skip
_SERVICES: Final = ("roof", "gutter", "lawn", "snow")
_ROOT: Final = "/api/v1"
_PAGE: Final = 100


class CustomSimulator(Simulator):
    """Answers ``/api/v1/customers`` with ``{"customers": […], "meta": {total, page, per_page}}``, and takes engagements.

    ``people`` so many are there from the start, the same for the same seed. ``lag`` s pass before a change is seen in lists and
    searches. ``drops`` names fields that are taken and not kept. ``engagements`` holds what was written, by its id; ``hook``
    returns a webhook as it is sent, signed with ``webhook_secret``.
    """

    def __init__(
        self, *, people: int = 0, lag: float = 0.0, webhook_secret: str = "simulated", clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(clock=clock, **options)
        self.lag = lag
        self.webhook_secret = webhook_secret
        self.drops: set[str] = set()
        self.customers: dict[str, dict[str, Any]] = {}
        self.engagements: dict[str, dict[str, Any]] = {}
        self.notices = 0
        self._next = 1
        for place in range(people):
            self._seed(place)

    # ---- what tests and people look at

    def people_seen(self, limit: int) -> list[Any]:
        """Return the first customers."""
        return list(self.customers.values())[:limit]

    def delete(self, id: str) -> None:
        """Delete a customer, as somebody there would."""
        del self.customers[id]

    def hook(
        self, *records: str, type: str = "customer.updated", url: str = "https://example.com/hook"
    ) -> tuple[str, str, dict[str, str], bytes]:
        """Return (method, url, headers, body) of a webhook about customers as it is sent now."""
        now = int(self.clock())
        self.notices += 1
        body = dumps([{"id": f"n{self.notices}.{r}", "record": r, "type": type, "at": now * 1000} for r in records]).encode()
        mark = hmac.new(self.webhook_secret.encode(), f"{now}.".encode() + body, sha256).hexdigest()
        return "POST", url, {"x-time": str(now), "x-signature": f"sha256={mark}", "content-type": "application/json"}, body

    # ---- answering

    def reply(self, request: Request) -> Reply:
        """Answer a request."""
        shown = request.headers.get("authorization", "")
        if self.revoked or not hmac.compare_digest(shown.encode(), f"Bearer {self.key}".encode()):
            return _problem(401, "unauthorised", "There is no valid API key.")
        path = request.path.removeprefix(_ROOT).strip("/").split("/")
        match (request.method, [unquote(part) for part in path]):
            case ("GET", ["customers"]):
                return self._list(request, self._visible())
            case ("GET", ["customers", "search"]):
                words = request.query.get("q", "").casefold().split()
                found = [one for one in self._visible() if all(word in _words(one) for word in words)]
                return self._list(request, found)
            case ("POST", ["customers"]):
                return self._create(request.body)
            case ("GET", ["customers", id]):
                return Reply(200, self.customers[id]) if id in self.customers else _nobody()
            case ("PATCH", ["customers", id]):
                return self._update(id, request.body)
            case ("POST", ["contacts", id, "engagements"]):
                return self._engage(id, request.body)
        return _problem(404, "not_found", "There is no such address.")

    def _visible(self) -> list[dict[str, Any]]:
        if not self.lag:
            return list(self.customers.values())
        until = (self.clock() - self.lag) * 1000
        return [one for one in self.customers.values() if _ms(one["updated_at"]) <= until]

    def _list(self, request: Request, found: list[dict[str, Any]]) -> Reply:
        page, per_page = (request.query.get(name, otherwise) for name, otherwise in (("page", "1"), ("per_page", "50")))
        if not (page.isdecimal() and per_page.isdecimal() and int(page) >= 1 and 1 <= int(per_page) <= _PAGE):
            return _problem(422, "invalid_input", f"per_page is from 1 to {_PAGE}, page from 1.")
        for name, value in request.pairs:
            if name not in ("page", "per_page", "q"):
                found = [one for one in found if _holds(one, name, value)]
        start = (int(page) - 1) * int(per_page)
        meta = {"total": len(found), "page": int(page), "per_page": int(per_page)}
        return Reply(200, {"customers": found[start : start + int(per_page)], "meta": meta})

    def _create(self, body: Any) -> Reply:
        if wrong := self._wrong(body):
            return wrong
        twin = self._twin(body.get("email"), None)
        if twin is not None:
            return Reply(409, {"status": 409, "code": "conflict", "title": "Conflict", "detail": "exists", "existing": twin})
        made = self._new()
        self._change(made, body)
        return Reply(201, made)

    def _update(self, id: str, body: Any) -> Reply:
        if id not in self.customers:
            return _nobody()
        if wrong := self._wrong(body):
            return wrong
        twin = self._twin(body.get("email"), id)
        if twin is not None:
            return Reply(409, {"status": 409, "code": "conflict", "title": "Conflict", "detail": "exists", "existing": twin})
        self._change(self.customers[id], body)
        return Reply(200, self.customers[id])

    def _engage(self, id: str, body: Any) -> Reply:
        if id not in self.customers:
            return _nobody()
        if not isinstance(body, dict) or not body.get("type"):
            return _problem(422, "invalid_event", "type is missing.")
        key = str(body.get("id") or f"e{len(self.engagements) + 1}")
        status = "duplicate" if key in self.engagements else "accepted"
        self.engagements.setdefault(key, {**body, "customer": id})
        return Reply(200, {"status": status, "id": key, "profile": id})

    def _wrong(self, body: Any) -> Reply | None:
        known = {*_TEXTS, "tags", "add_tags", "remove_tags", "attributes", "consents"}
        if not isinstance(body, dict) or not set(body) <= known:
            return _problem(422, "invalid_input", "The body is no customer.")
        wrong = [name for name in _TEXTS if not isinstance(body.get(name), str | None)]
        return _problem(422, "invalid_input", f"{wrong[0]} is not text.", wrong) if wrong else None

    def _twin(self, email: Any, own: str | None) -> str | None:
        if not email:
            return None
        wanted = str(email).casefold()
        return next(
            (id for id, one in self.customers.items() if id != own and str(one["email"] or "").casefold() == wanted), None
        )

    def _new(self) -> dict[str, Any]:
        id, self._next = f"c{self._next}", self._next + 1
        made: dict[str, Any] = {"id": id, **dict.fromkeys(_TEXTS), "name": None, "tags": [], "attributes": {}, "consents": {}}
        made["created_at"] = made["updated_at"] = self._now()
        self.customers[id] = made
        return made

    def _change(self, one: dict[str, Any], body: Mapping[str, Any]) -> None:
        one |= {name: value for name, value in body.items() if name in _TEXTS and name not in self.drops}
        if "tags" in body:
            one["tags"] = list(body["tags"] or [])
        removed = set(body.get("remove_tags") or ())
        one["tags"] = [tag for tag in dict.fromkeys([*one["tags"], *(body.get("add_tags") or ())]) if tag not in removed]
        changed = {**one["attributes"], **{k: v for k, v in (body.get("attributes") or {}).items() if k not in self.drops}}
        one["attributes"] = {name: value for name, value in changed.items() if value is not None}
        one["consents"] = {**one["consents"], **(body.get("consents") or {})}
        one["name"] = " ".join(part for part in (one["first_name"], one["last_name"]) if part) or None
        one["updated_at"] = self._now()

    def _seed(self, place: int) -> None:
        chance, who = self.chance("customer", place), person(place, seed=self.seed)
        made = self._new()
        said = {name: getattr(who, name) for name in _TEXTS if hasattr(who, name)}
        self._change(made, {
            **said, "tags": list(who.tags), "consents": {"email/marketing": False} if who.opted_out else {},
            "attributes": {
                "services": sorted(chance.sample(_SERVICES, 2)), "signed_seasons": chance.sample(("2024", "2025", "2026"), 2),
                "last_service": f"2025-{chance.randrange(1, 13):02d}-15",
            },
        })  # fmt: skip
        made |= {"created_at": _iso(who.created_at / 1000), "updated_at": _iso(who.updated_at / 1000)}

    def _now(self) -> str:
        return _iso(self.clock())


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _problem(status: int, code: str, detail: str, fields: list[str] | None = None) -> Reply:
    mistakes = [{"code": "wrong_type", "message": detail, "where": name} for name in fields or ()]
    return Reply(status, {"status": status, "code": code, "detail": detail, "mistakes": mistakes})


def _nobody() -> Reply:
    return _problem(404, "not_found", "There is no such customer.")


def _words(one: Mapping[str, Any]) -> str:
    return " ".join(str(one[name] or "") for name in ("first_name", "last_name", "email", "company", "phone")).casefold()


def _ms(text: Any) -> int:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return int(text) if str(text).isdecimal() else 0
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _holds(one: Mapping[str, Any], name: str, value: str) -> bool:
    own = one["attributes"]
    match name:
        case "changed_since":
            return _ms(one["updated_at"]) >= _ms(value)
        case "not_signed_for_season":
            return value not in [str(season) for season in own.get("signed_seasons", ())]
        case "last_service_before":
            return not own.get("last_service") or _ms(own["last_service"]) < _ms(value)
    held = own.get(name.removeprefix("attribute.")) if name.startswith("attribute.") or name not in one else one[name]
    if isinstance(held, list):
        return value.casefold() in [str(part).casefold() for part in held]
    shown = "true" if held is True else "false" if held is False else str(held if held is not None else "")
    return shown.casefold() == value.casefold()
