"""A simulator of Zoho CRM's API v8: modules, rows with a status of their own, COQL, tags, notes and activities, channels."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from json import dumps
from typing import Any, Final
from urllib.parse import unquote

from tailorbird.simulators.base import Reply, Request, Simulator
from tailorbird.simulators.people import person
from tailorbird.simulators.zoho_query import select

__all__ = ["ZohoSimulator"]

_ROOT: Final = "/crm/v8"
_REQUIRED: Final = {
    "Contacts": ("Last_Name",), "Leads": ("Last_Name", "Company"), "Notes": ("Parent_Id",), "Tasks": ("Subject",),
    "Calls": ("Subject", "Call_Type", "Call_Start_Time"), "Events": ("Event_Title", "Start_DateTime", "End_DateTime"),
}  # fmt: skip
_COMMON: Final = ("First_Name", "Last_Name", "Email", "Phone", "Mobile", "Email_Opt_Out", "Owner", "Secondary_Email")
_FIELDS: Final = {
    "Contacts": (*_COMMON, "Title", "Account_Name", "Mailing_City", "Mailing_State", "Mailing_Country", "Mailing_Zip"),
    "Leads": (*_COMMON, "Designation", "Company", "City", "State", "Country", "Zip_Code", "Lead_Status", "Lead_Source"),
}  # fmt: skip
_READ_ONLY: Final = ("id", "Created_Time", "Modified_Time", "Tag")
_PAGED: Final = 2_000
_USER: Final = {"name": "Ann Simulated", "id": "5000000000001"}


class ZohoSimulator(Simulator):
    """Answers as Zoho does; ``key`` is the access token. ``people`` contacts are there from the start.

    ``lag`` s pass before a search finds what was written (COQL and lists see it at once). With ``unique`` a second record with an
    address is DUPLICATE_DATA. ``drops`` names fields that are taken without a word and not kept. ``rows`` holds modules by name,
    ``channels`` what was subscribed to; ``hook`` returns a notification as it is sent.
    """

    def __init__(
        self, *, people: int = 0, lag: float = 0.0, unique: bool = False, clock: Callable[[], float] = time.time, **options: Any
    ) -> None:
        super().__init__(clock=clock, **options)
        self.lag = lag
        self.unique = unique
        self.drops: set[str] = set()
        self.rows: dict[str, dict[str, dict[str, Any]]] = {module: {} for module in _REQUIRED}
        self.deleted: dict[str, list[dict[str, Any]]] = {module: [] for module in _REQUIRED}
        self.channels: dict[str, dict[str, Any]] = {}
        self._next = 4_000_000_000_000
        for number in range(people):
            who = person(number, seed=self.seed)
            self._insert("Contacts", {
                "First_Name": who.first_name, "Last_Name": who.last_name, "Email": who.email, "Phone": who.phone, "Title": who.title,
                "Mailing_City": who.city, "Mailing_State": who.state, "Mailing_Country": who.country, "Mailing_Zip": who.postal_code,
                "Email_Opt_Out": who.opted_out, "Tag": [{"name": tag, "id": str(1000 + n)} for n, tag in enumerate(who.tags)],
            }, who.updated_at / 1000)  # fmt: skip

    # ---- what tests and people look at

    def people_seen(self, limit: int) -> list[Any]:
        """Return the first contacts and leads."""
        return [*self.rows["Contacts"].values(), *self.rows["Leads"].values()][:limit]

    def delete(self, id: str) -> None:
        """Delete a record, as somebody there would."""
        for module, rows in self.rows.items():
            if rows.pop(id, None) is not None:
                gone = {"id": id, "display_name": None, "type": "recycle", "deleted_time": self._time(), "deleted_by": _USER}
                self.deleted[module].insert(0, gone)

    def hook(self, *ids: str, module: str = "Contacts", operation: str = "edit") -> tuple[str, str, dict[str, str], bytes]:
        """Return (method, url, headers, body) of a notification of the channel that was opened last."""
        channel = next(reversed(self.channels.values()))
        body = {
            "server_time": int(self.clock() * 1000), "module": module, "operation": operation, "ids": list(ids), "query_params": {},
            "channel_id": channel["channel_id"], "token": channel["token"], "affected_fields": [], "resource_uri": f"{_ROOT}/{module}",
        }  # fmt: skip
        return "POST", channel["notify_url"], {"content-type": "application/json"}, dumps(body).encode()

    # ---- answering

    def over_limit(self, request: Request) -> Reply:
        """Answer as over the limit."""
        return _error(429, "TOO_MANY_REQUESTS", "Too many requests fired in concurrency level.")

    def reply(self, request: Request) -> Reply:
        """Answer a request."""
        shown = request.headers.get("authorization", "")
        if self.revoked or not hmac.compare_digest(shown.encode(), f"Zoho-oauthtoken {self.key}".encode()):
            return _error(401, "INVALID_TOKEN", "invalid oauth token")
        if not request.path.startswith(f"{_ROOT}/"):
            return _error(404, "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one")
        path = [unquote(part) for part in request.path.removeprefix(_ROOT).strip("/").split("/")]
        match (request.method, path):
            case ("GET", ["users"]):
                user = {**_USER, "email": "ann@simulated.example", "status": "active"}
                return Reply(200, {"users": [user], "info": {"per_page": 200, "count": 1, "page": 1, "more_records": False}})
            case ("GET", ["settings", "fields"]):
                return self._fields(request.query.get("module", ""))
            case ("POST", ["coql"]):
                return self._coql(request.body)
            case (_, ["actions", "watch"]):
                return self._watch(request)
            case (_, [module, *rest]) if module in self.rows:
                return self._module(request, module, rest)
        return _error(400, "INVALID_MODULE", "the module name given seems to be invalid")

    def _module(self, request: Request, module: str, rest: list[str]) -> Reply:
        match (request.method, rest):
            case ("GET", []):
                return self._list(request, module)
            case ("GET", ["search"]):
                return self._search(request, module)
            case ("GET", ["deleted"]):
                return self._page(request, self.deleted[module])
            case ("GET", [id]):
                return Reply(200, {"data": [self.rows[module][id]]}) if id in self.rows[module] else _nobody()
            case ("GET", [id, "Notes"]):
                notes = [row for row in self.rows["Notes"].values() if row["Parent_Id"]["id"] == id]
                return self._page(request, notes[::-1])
            case ("POST", []):
                return self._write(request.body, module, "insert")
            case ("POST", ["upsert"]):
                return self._write(request.body, module, "upsert")
            case ("PUT", []):
                return self._write(request.body, module, "update")
            case ("POST", [id, "actions", ("add_tags" | "remove_tags") as verb]):
                return self._tag(module, id, verb, request.body)
        return _error(404, "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one")

    # ---- reading

    def _list(self, request: Request, module: str) -> Reply:
        asked = request.query
        if not asked.get("fields"):
            return _error(400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", {"param": "fields"})
        rows = list(self.rows[module].values())
        if "ids" in asked:
            rows = [self.rows[module][id] for id in asked["ids"].split(",") if id in self.rows[module]]
        if since := request.headers.get("if-modified-since"):
            rows = [row for row in rows if _at(row["Modified_Time"]) >= _at(since)]
            if not rows:
                return Reply(304, "")
        order = asked.get("sort_by", "id")
        rows.sort(key=lambda row: str(row.get(order, "")), reverse=asked.get("sort_order", "desc") == "desc")
        return self._page(request, rows, tokens=True)

    def _page(self, request: Request, rows: list[dict[str, Any]], *, tokens: bool = False) -> Reply:
        asked = request.query
        size = min(int(asked.get("per_page", "200")), 200)
        token = asked.get("page_token")
        page = int(token.removeprefix("after")) if token else int(asked.get("page", "1"))
        if token is None and page * size > _PAGED:
            said = "You can only get the first 2000 records without using page_token param"
            return _error(400, "DISCRETE_PAGINATION_LIMIT_EXCEEDED", said, {"limit": _PAGED})
        found = rows[(page - 1) * size : page * size]
        if not found:
            return Reply(204, "")
        fields = [name for name in asked.get("fields", "").split(",") if name]
        shown = [{name: row.get(name) for name in {"id": 0, **dict.fromkeys(fields)}} if fields else row for row in found]
        more = len(rows) > page * size
        info: dict[str, Any] = {"per_page": size, "count": len(found), "page": page, "more_records": more}
        if tokens and more:
            info["next_page_token"] = f"after{page + 1}"
        return Reply(200, {"data": shown, "info": info})

    def _search(self, request: Request, module: str) -> Reply:
        asked = request.query
        until = self.clock() - self.lag
        rows = [row for row in self.rows[module].values() if _at(row["Modified_Time"]) <= until or not self.lag]
        if "email" in asked:
            rows = [row for row in rows if str(row.get("Email") or "").casefold() == asked["email"].casefold()]
        elif "phone" in asked:
            rows = [row for row in rows if asked["phone"] in (row.get("Phone"), row.get("Mobile"))]
        else:
            word = asked.get("word", "").casefold()
            rows = [row for row in rows if any(word in str(row.get(name) or "").casefold() for name in _FIELDS.get(module, ()))]
        return self._page(request, rows)

    def _coql(self, body: Any) -> Reply:
        try:
            rows, more = select(str(body["select_query"]), self.rows)
        except (KeyError, TypeError, ValueError) as error:
            return _error(400, "SYNTAX_ERROR", f"error occured while parsing the query: {error}")
        if not rows:
            return Reply(204, "")
        return Reply(200, {"data": rows, "info": {"count": len(rows), "more_records": more}})

    def _fields(self, module: str) -> Reply:
        if module not in _FIELDS:
            return _error(400, "INVALID_MODULE", "the module name given seems to be invalid")
        kinds = {"Email_Opt_Out": "boolean", "Created_Time": "datetime", "Modified_Time": "datetime"}
        fields = [
            {
                "api_name": name,
                "display_label": name.replace("_", " "),
                "data_type": kinds.get(name, "text"),
                "read_only": name in _READ_ONLY,
            }
            for name in (*_FIELDS[module], *_READ_ONLY)
        ]
        return Reply(200, {"fields": fields})

    # ---- writing

    def _write(self, body: Any, module: str, verb: str) -> Reply:
        rows = body.get("data") if isinstance(body, dict) else None
        if not isinstance(rows, list) or not 1 <= len(rows) <= 100:
            return _error(400, "INVALID_DATA", "body", {"api_name": "data"})
        checks = body.get("duplicate_check_fields") or []
        answers = [self._row(module, row, verb, checks) for row in rows]
        bad = sum(one["status"] == "error" for one in answers)
        status = (400 if len(rows) == 1 else 202) if bad == len(rows) else 207 if bad else 201 if verb == "insert" else 200
        return Reply(status, {"data": answers})

    def _row(self, module: str, row: Mapping[str, Any], verb: str, checks: list[str]) -> dict[str, Any]:
        held = self.rows[module].get(str(row.get("id"))) if verb == "update" else None
        if verb == "update" and held is None:
            return _row_error("INVALID_DATA", "the id given seems to be invalid", {"api_name": "id"})
        twin = self._twin(module, row, held)
        if verb == "upsert" and "Email" in checks and twin is not None:
            held = twin
        elif self.unique and twin is not None:
            return _row_error("DUPLICATE_DATA", "duplicate data", {"api_name": "Email", "id": twin["id"]})
        for name in _REQUIRED[module] if held is None else ():
            if not row.get(name):
                return _row_error("MANDATORY_NOT_FOUND", "required field not found", {"api_name": name})
        for name, value in row.items():
            if name in _COMMON[:5] and not isinstance(value, str | None):
                return _row_error("INVALID_DATA", "invalid data", {"api_name": name, "expected_data_type": "text"})
        parent = row.get("Parent_Id") or row.get("Who_Id") or row.get("What_Id")
        if parent is not None and not any(str(parent.get("id")) in self.rows[kind] for kind in ("Contacts", "Leads")):
            return _row_error("INVALID_DATA", "the related id given seems to be invalid", {"api_name": "Parent_Id"})
        known = {name: value for name, value in row.items() if self._kept(module, name)}
        if held is None:
            made = self._insert(module, known, self.clock())
            action = "insert"
        else:
            made, action = held, "update"
            made |= {**known, "Modified_Time": self._time()}
        details = {name: made[name] for name in ("id", "Created_Time", "Modified_Time")} | {
            "Created_By": _USER,
            "Modified_By": _USER,
        }
        if module != "Notes":
            details["$approval_state"] = "approved"
        told = {
            "code": "SUCCESS",
            "status": "success",
            "message": f"record {'added' if action == 'insert' else 'updated'}",
            "details": details,
        }
        return told | ({"action": action, "duplicate_field": "Email" if action == "update" else None} if verb == "upsert" else {})

    def _kept(self, module: str, name: str) -> bool:
        """Return whether a field is kept: names that nobody knows are taken and forgotten without a word."""
        return (
            name not in self.drops
            and name not in _READ_ONLY
            and (module not in _FIELDS or name in _FIELDS[module] or name.endswith("__c"))
        )

    def _twin(self, module: str, row: Mapping[str, Any], own: Mapping[str, Any] | None) -> dict[str, Any] | None:
        email = str(row.get("Email") or "").casefold()
        rows = self.rows[module].values() if email else ()
        return next((one for one in rows if one is not own and str(one.get("Email") or "").casefold() == email), None)

    def _insert(self, module: str, row: Mapping[str, Any], at: float) -> dict[str, Any]:
        self._next += 1
        id, when = str(self._next), _stamp(at)
        owner = {**_USER, "email": "ann@simulated.example"}
        self.rows[module][id] = {
            "Tag": [],
            "Email_Opt_Out": False,
            "Owner": owner,
            **row,
            "id": id,
            "Created_Time": when,
            "Modified_Time": when,
        }
        return self.rows[module][id]

    def _tag(self, module: str, id: str, verb: str, body: Any) -> Reply:
        held = self.rows[module].get(id)
        if held is None:
            return Reply(400, {"data": [_row_error("INVALID_DATA", "the id given seems to be invalid", {"api_name": "id"})]})
        names = [str(tag["name"]) for tag in body["tags"]]
        before = [] if body.get("over_write") else [tag["name"] for tag in held["Tag"]]
        kept = [*before, *names] if verb == "add_tags" else [name for name in before if name not in names]
        held["Tag"] = [{"name": name, "id": str(2000 + place)} for place, name in enumerate(dict.fromkeys(kept))]
        held["Modified_Time"] = self._time()
        tags = [{**tag, "color_code": None} for tag in held["Tag"]]
        return Reply(
            200,
            {"data": [{"code": "SUCCESS", "status": "success", "message": "tags updated", "details": {"id": id, "tags": tags}}]},
        )

    # ---- channels

    def _watch(self, request: Request) -> Reply:
        if request.method == "DELETE":
            ids = request.query.get("channel_ids", "").split(",")
            gone = [self.channels.pop(id, None) for id in ids]
            if None in gone:
                return Reply(
                    400, {"watch": [_row_error("INVALID_DATA", "channel is not subscribed", {"api_name": "channel_ids"})]}
                )
            details = [{"resource_uri": f"{_ROOT}/Contacts", "resource_id": "100", "channel_id": id} for id in ids]
            return Reply(200, {"watch": [_success(one, "unsubscribed") for one in details]})
        asked = request.body["watch"][0]
        id = str(asked["channel_id"])
        if request.method == "PATCH" and id not in self.channels:
            return Reply(400, {"watch": [_row_error("INVALID_DATA", "channel is not subscribed", {"api_name": "channel_id"})]})
        if not 0 < _at(asked["channel_expiry"]) - self.clock() <= 7 * 86_400:
            return Reply(
                400, {"watch": [_row_error("INVALID_DATA", "a channel lasts a week at most", {"api_name": "channel_expiry"})]}
            )
        self.channels[id] = {**self.channels.get(id, {}), **asked}
        events = [
            {
                "channel_id": id,
                "channel_expiry": asked["channel_expiry"],
                "resource_uri": f"{_ROOT}/{one}",
                "resource_id": "100",
                "resource_name": one,
            }
            for one in sorted({event.partition(".")[0] for event in asked["events"]})
        ]
        return Reply(201 if request.method == "POST" else 200, {"watch": [_success({"events": events}, "subscribed")]})

    def _time(self) -> str:
        return _stamp(self.clock())


def _success(details: Mapping[str, Any], message: str) -> dict[str, Any]:
    return {"code": "SUCCESS", "status": "success", "message": message, "details": details}


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).isoformat()


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _error(status: int, code: str, message: str, details: Mapping[str, Any] | None = None) -> Reply:
    return Reply(status, {"code": code, "details": dict(details or {}), "message": message, "status": "error"})


def _row_error(code: str, message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    return {"code": code, "details": dict(details), "message": message, "status": "error"}


def _nobody() -> Reply:
    return Reply(
        400,
        {"data": [_row_error("INVALID_DATA", "the id given seems to be invalid", {"api_name": "id", "resource_path_index": 1})]},
    )
