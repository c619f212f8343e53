"""A simulator of HubSpot: contacts with search, batches and limits, engagements, lists, consent, OAuth and signed webhooks.

Source: HubSpot's OpenAPI documents and https://developers.hubspot.com/docs/api-reference.
"""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from hmac import new as hmac_of
from typing import Any, Final
from urllib.parse import urlencode

from tailorbird.simulators.base import Reply, Request, Simulator
from tailorbird.simulators.hubspot_errors import Wrong, error_of, over_limit
from tailorbird.simulators.hubspot_objects import HubspotObjects, results_of
from tailorbird.simulators.hubspot_records import Thing, iso

__all__ = ["HubspotSimulator"]

_WINDOWS: Final = {"ten_seconds": (10, "TEN_SECONDLY_ROLLING"), "day": (86_400, "DAILY"), "search": (1, "SECONDLY")}
_DEFINITION: Final = "1001"


class HubspotSimulator(Simulator):
    """Answers as ``api.hubapi.com`` does, to the static token ``key`` or to tokens of its own OAuth.

    ``people`` is how many there are to begin with, ``lag`` for how many seconds searches see things as they were. ``limits`` are
    requests per ``ten_seconds`` and ``day``, and searches per second as ``search``. ``drops`` names properties that are taken and not
    kept. ``hook_url`` is called, signed with ``secret``, when contacts change; ``signed`` returns such a call. ``refreshes`` counts
    renewals of tokens, which last ``lasting`` s, and ``refused`` the requests that were over a limit.
    """

    def __init__(
        self, *, people: int = 0, lag: float = 0.0, limits: Mapping[str, int] | None = None, secret: str = "simulated-secret",
        hook_url: str = "", lasting: int = 1_800, portal: int = 4_321_000, **options: Any,
    ) -> None:  # fmt: skip
        options.setdefault("clock", time.time)
        super().__init__(**options)
        self.limits = dict({"ten_seconds": 100, "day": 250_000, "search": 5} if limits is None else limits)
        self.secret = secret
        self.hook_url = hook_url
        self.lasting = lasting
        self.portal = portal
        self.drops: set[str] = set()
        self.refreshes = 0
        self.refused = 0
        self.objects = HubspotObjects(now=self.now, people=people, seed=self.seed, changed=self._changed)
        self.lag = lag
        self.lists: dict[str, dict[str, Any]] = {}
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.target_url = ""
        self._used: dict[tuple[str, int], int] = {}
        self._tokens: dict[str, float] = {}
        self._events = 0
        self._unsent: list[dict[str, Any]] = []
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def lag(self) -> float:
        """For how many seconds searches see a contact as it was before it changed."""
        return self.objects.contacts.lag / 1000

    @lag.setter
    def lag(self, seconds: float) -> None:
        for store in self.objects.kinds.values():
            store.lag = int(seconds * 1000)

    def now(self) -> int:
        """Return the instant in ms since 1970."""
        return int(self.clock() * 1000)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, then send what is to be told of it to ``hook_url``."""
        await super().__call__(scope, receive, send)
        if self.hook_url and self._unsent:
            told, self._unsent = self._unsent[:100], self._unsent[100:]
            task = asyncio.get_running_loop().create_task(self._send(told))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    def reply(self, request: Request) -> Reply:
        """Answer as HubSpot does: the token is judged first, then the limit, then the question."""
        if request.path in ("/oauth/v1/token", "/oauth/authorize"):
            return self._oauth(request)
        if request.path.startswith("/webhooks/v3/"):
            return self._webhooks(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.revoked or not (token == self.key or self._tokens.get(token, 0) > self.clock()):
            expired = token in self._tokens and not self.revoked
            said = "The OAuth token used to make this call expired" if expired else "Authentication credentials not found."
            return error_of(401, said, "EXPIRED_AUTHENTICATION" if expired else "INVALID_AUTHENTICATION")
        headers, refused = self._count(searching=request.path.endswith("/search"))
        if refused is not None:
            return refused
        if request.body is ...:
            return error_of(400, "Invalid input JSON", "VALIDATION_ERROR")
        try:
            found = self._route(request)
        except Wrong as wrong:
            found = wrong.reply
        return Reply(found.status, found.body, {**headers, **found.headers})

    def over_limit(self, request: Request) -> Reply:
        """Answer as over the limit of ten seconds, which HubSpot says no ``Retry-After`` with."""
        return over_limit("TEN_SECONDLY_ROLLING")

    def people_seen(self, limit: int) -> list[Any]:
        """Return the first contacts."""
        found: list[Any] = []
        for thing in self.objects.contacts.after(0):
            if len(found) >= limit:
                break
            found.append({"id": str(thing.id), **thing.properties})
        return found

    def activities(self, contact: str) -> list[dict[str, Any]]:
        """Return what stands in a contact's timeline, each with its ``kind`` and ``id``."""
        return self.objects.timeline(int(contact))

    def members(self, name: str) -> set[str]:
        """Return the ids of a list's members."""
        return next((set(one["members"]) for one in self.lists.values() if one["list"]["name"] == name), set())

    def delete(self, contact: str) -> None:
        """Archive a contact, as somebody at HubSpot would."""
        thing = self.objects.contacts.get(contact)
        if thing is not None:
            self.objects.contacts.archive(thing)
            self._changed(thing, "deletion", {})

    def signed(
        self, contact: str, what: str = "propertyChange", *, url: str = "https://example.com/hook", **event: Any
    ) -> tuple[str, str, dict[str, str], bytes]:
        """Return (method, url, headers, body) of a call about a contact, as HubSpot would send it now."""
        return self._sealed([{**self._event(contact, what), **event}], url)

    def _route(self, request: Request) -> Reply:
        parts = request.path.strip("/").split("/")
        if parts[:3] == ["crm", "v3", "objects"] and len(parts) >= 4:
            return self.objects.reply(request, parts[3], parts[4:], self.drops)
        if parts[:3] == ["crm", "v3", "properties"]:
            return self.objects.describe(request, parts[3:])
        if parts[:3] == ["crm", "v4", "associations"] and parts[5:] == ["batch", "associate", "default"]:
            return self.objects.associate(request, parts[3], parts[4])
        if parts[:3] == ["crm", "v3", "lists"]:
            return self._lists(request, parts[3:])
        if parts[:2] == ["communication-preferences", "v4"]:
            return self._preferences(request, parts[2:])
        if parts == ["crm", "v3", "owners"]:
            times = {"createdAt": iso(0), "updatedAt": iso(0), "archived": False, "type": "PERSON"}
            owner = {"id": "61", "email": "owner@portal.example", "firstName": "Olga", "lastName": "Owner", "userId": 61, **times}
            return Reply(200, {"results": [owner]})
        if parts == ["account-info", "v3", "details"]:
            return Reply(200, {"portalId": self.portal, "accountType": "DEVELOPER_TEST", "timeZone": "UTC"})
        return error_of(404, "No such endpoint", "OBJECT_NOT_FOUND")

    def _count(self, *, searching: bool) -> tuple[dict[str, str], Reply | None]:
        """Count the request in its windows; return the headers that tell of them, and the refusal where one is over."""
        headers: dict[str, str] = {}
        for name, limit in self.limits.items():
            if (name == "search") > searching:
                continue
            length, policy = _WINDOWS[name]
            place = int(self.clock() // length)
            if (name, place) not in self._used:
                self._used = {key: used for key, used in self._used.items() if key[0] != name}
            used = self._used[(name, place)] = self._used.get((name, place), 0) + 1
            left = str(max(0, limit - used))
            if name == "ten_seconds" and not searching:
                headers |= {"x-hubspot-ratelimit-max": str(limit), "x-hubspot-ratelimit-remaining": left}
                headers["x-hubspot-ratelimit-interval-milliseconds"] = "10000"
            elif name == "day" and not searching:
                headers |= {"x-hubspot-ratelimit-daily": str(limit), "x-hubspot-ratelimit-daily-remaining": left}
            if used > limit:
                self.refused += 1
                return headers, over_limit(policy)
        return headers, None

    # ---- lists and consent

    def _lists(self, request: Request, parts: list[str]) -> Reply:
        if request.method == "POST" and not parts:
            name = str(request.body.get("name"))
            if any(one["list"]["name"] == name for one in self.lists.values()):
                return error_of(400, f"A List already exists with name {name}.", "VALIDATION_ERROR")
            id = str(len(self.lists) + 1)
            told = {
                "listId": id, "listVersion": 1, "name": name, "objectTypeId": str(request.body.get("objectTypeId")),
                "processingType": str(request.body.get("processingType")), "processingStatus": "COMPLETE",
            }  # fmt: skip
            self.lists[id] = {"list": told, "members": {}}
            return Reply(200, {"list": told})
        if parts[:1] == ["object-type-id"] and len(parts) == 4:
            for one in self.lists.values():
                if one["list"]["name"] == parts[3] and one["list"]["objectTypeId"] == parts[1]:
                    return Reply(200, {"list": one["list"]})
            return error_of(404, "List does not exist.", "OBJECT_NOT_FOUND")
        found = self.lists.get(parts[0]) if parts else None
        if found is None:
            return error_of(404, "List does not exist.", "OBJECT_NOT_FOUND")
        members: dict[str, str] = found["members"]
        if request.method == "GET" and parts[1:] == ["memberships"]:
            told_of = [{"recordId": id, "membershipTimestamp": at} for id, at in members.items()]
            return Reply(200, {"results": told_of, "total": len(members)})
        if request.method == "PUT" and parts[1:] == ["memberships", "add-and-remove"]:
            adding, removing = request.body["recordIdsToAdd"], request.body["recordIdsToRemove"]
            missing = [id for id in [*adding, *removing] if self.objects.contacts.get(id) is None]
            added = [id for id in adding if id not in missing and id not in members]
            removed = [id for id in removing if id in members]
            members |= {id: iso(self.now()) for id in added}
            for id in removed:
                del members[id]
            return Reply(200, {"recordsIdsAdded": added, "recordIdsRemoved": removed, "recordIdsMissing": missing})
        return error_of(404, "No such endpoint", "OBJECT_NOT_FOUND")

    def _preferences(self, request: Request, parts: list[str]) -> Reply:
        if parts == ["definitions"]:
            told = {
                "id": _DEFINITION, "name": "Marketing Information", "description": "Offers and news", "isActive": True,
                "isDefault": True, "isInternal": False, "purpose": "Marketing", "communicationMethod": "Email",
                "createdAt": iso(0), "updatedAt": iso(0),
            }  # fmt: skip
            return Reply(200, results_of([told], self.now()))
        if parts[:1] != ["statuses"] or len(parts) < 2:
            return error_of(404, "No such endpoint", "OBJECT_NOT_FOUND")
        thing = self.objects.contacts.by("email", parts[1])
        if thing is None:
            return error_of(404, "There is no such subscriber", "OBJECT_NOT_FOUND")
        if request.method == "POST":
            out = parts[2:] == ["unsubscribe-all"] or request.body.get("statusState") == "UNSUBSCRIBED"
            self.objects.contacts.change(thing, {"hs_email_optout": "true" if out else ""})
            self._changed(thing, "propertyChange", {"hs_email_optout": "true" if out else ""})
        out = thing.properties.get("hs_email_optout") == "true"
        status = {
            "channel": "EMAIL", "source": "API", "status": "UNSUBSCRIBED" if out else "SUBSCRIBED", "subscriptionId": int(_DEFINITION),
            "subscriberIdString": parts[1], "timestamp": iso(self.now()),
        }  # fmt: skip
        if parts[2:] == ["unsubscribe-all"] and request.method == "GET":
            status = {name: value for name, value in status.items() if name not in ("source", "subscriptionId")}
            status["wideStatusType"] = "PORTAL_WIDE"
        return Reply(200, results_of([status], self.now()))

    # ---- OAuth

    def _oauth(self, request: Request) -> Reply:
        if request.path == "/oauth/authorize":
            back = request.query.get("redirect_uri", "")
            told = urlencode({"code": "simulated-code", "state": request.query.get("state", "")})
            return Reply(302, "", {"location": f"{back}?{told}"})
        form = request.body if isinstance(request.body, dict) else {}
        good = {"authorization_code": ("code", "simulated-code"), "refresh_token": ("refresh_token", "simulated-refresh")}
        name, wanted = good.get(str(form.get("grant_type")), ("", "-"))
        if self.revoked or form.get(name) != wanted:
            said = {"status": "BAD_REFRESH_TOKEN", "message": "missing or invalid refresh token", "error": "invalid_grant"}
            return Reply(400, said)
        self.refreshes += name == "refresh_token"
        token = f"simulated-access-{len(self._tokens) + 1}"
        self._tokens[token] = self.clock() + self.lasting
        lasting = {"expires_in": self.lasting, "token_type": "bearer", "refresh_token": "simulated-refresh"}
        return Reply(200, {"access_token": token, **lasting})

    # ---- webhooks

    def _webhooks(self, request: Request) -> Reply:
        if request.query.get("hapikey") != self.key:
            return error_of(401, "The API key provided is invalid.", "INVALID_AUTHENTICATION")
        what = request.path.strip("/").split("/")[3:]
        now = iso(self.now())
        if what == ["settings"] and request.method == "PUT":
            self.target_url = request.body["targetUrl"]
            return Reply(200, {**request.body, "createdAt": now, "updatedAt": now})
        if what == ["subscriptions"] and request.method == "GET":
            return Reply(200, {"results": list(self.subscriptions.values())})
        if what == ["subscriptions"] and request.method == "POST":
            id = str(len(self.subscriptions) + 1)
            self.subscriptions[id] = {"active": False, **request.body, "id": id, "createdAt": now}
            return Reply(201, self.subscriptions[id])
        if what[:1] == ["subscriptions"] and len(what) == 2 and request.method == "DELETE" and what[1] in self.subscriptions:
            del self.subscriptions[what[1]]
            return Reply(204, None)
        return error_of(404, "No such subscription", "OBJECT_NOT_FOUND")

    def _changed(self, thing: Thing, what: str, properties: Mapping[str, str]) -> None:
        """Note what is to be told of a contact."""
        if not self.hook_url:
            return
        if what != "propertyChange":
            self._unsent.append(self._event(str(thing.id), what))
        for name, value in properties.items() if what == "propertyChange" else ():
            self._unsent.append({**self._event(str(thing.id), what), "propertyName": name, "propertyValue": value})

    def _event(self, contact: str, what: str) -> dict[str, Any]:
        self._events += 1
        return {
            "eventId": self._events, "subscriptionId": 1, "portalId": self.portal, "appId": 1, "occurredAt": self.now(),
            "subscriptionType": f"contact.{what}", "attemptNumber": 0, "objectId": int(contact), "changeSource": "CRM",
        }  # fmt: skip

    def _sealed(self, events: list[dict[str, Any]], url: str) -> tuple[str, str, dict[str, str], bytes]:
        body = json.dumps(events).encode()
        at = str(self.now())
        mac = hmac_of(self.secret.encode(), b"POST" + url.encode() + body + at.encode(), sha256)
        headers = {
            "content-type": "application/json", "x-hubspot-request-timestamp": at, "x-hubspot-signature-version": "v1",
            "x-hubspot-signature-v3": b64encode(mac.digest()).decode(),
            "x-hubspot-signature": sha256(self.secret.encode() + body).hexdigest(), "x-hubspot-timeout-millis": "10000",
        }  # fmt: skip
        return "POST", url, headers, body

    async def _send(self, events: list[dict[str, Any]]) -> None:
        import httpx2

        _, url, headers, body = self._sealed(events, self.hook_url)
        try:
            async with httpx2.AsyncClient(timeout=10, trust_env=False) as client:
                await client.post(url, headers=headers, content=body)
        except httpx2.HTTPError:
            return  # nobody listens; HubSpot would try again for a day
