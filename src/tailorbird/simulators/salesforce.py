"""A simulator of Salesforce: the REST API over contacts, leads, tasks, events and campaigns, and its OAuth.

Source: REST API Developer Guide; Identity documentation, "OAuth Authorization Flows".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tailorbird.simulators.base import Reply, Request, Simulator
from tailorbird.simulators.salesforce_oauth import Tokens
from tailorbird.simulators.salesforce_org import Organisation, Refusal, suffixed
from tailorbird.simulators.salesforce_schema import Field, Kind
from tailorbird.simulators.salesforce_soql import Compared, Malformed, Question, parse_soql, parse_sosl

__all__ = ["SalesforceSimulator"]

_VERSIONS: Final = ("59.0", "60.0", "61.0", "62.0", "63.0", "64.0")
_TOGETHER: Final = 200
_PAGE: Final = 2_000
_DAY: Final = 24


class SalesforceSimulator(Simulator):
    """Answers as an organisation of Salesforce does. ``key`` is a session that is accepted, besides those that ``tokens`` gives out.

    ``people`` are there from the beginning; ``daily`` requests are allowed in 24 hours; ``lag`` seconds pass until a search finds what
    was written; ``hidden`` names fields that the session may not see (``Lead.DoNotCall``); ``batch`` is how many rows a page of a
    query has at most. ``org`` holds the records and may be looked at.
    """

    def __init__(
        self, *, people: int = 0, daily: int = 100_000, lag: float = 0.0, hidden: frozenset[str] = frozenset(), batch: int = _PAGE,
        clock: Callable[[], float] = time.time, rotate: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(clock=clock, **options)
        self.org = Organisation(clock=clock, people=people, seed=self.seed, hidden=hidden)
        self.tokens = Tokens(clock=clock, rotate=rotate)
        self.daily = daily
        self.lag = lag
        self.batch = batch
        self._used: dict[int, int] = {}
        self._cursors: dict[str, list[dict[str, Any]]] = {}

    def people_seen(self, limit: int) -> list[Any]:
        """Return the first people there are, with what is known of them."""
        found = [row for name in ("Contact", "Lead") for row in self.org.rows(name).values() if not row["IsDeleted"]]
        return [{name: value for name, value in row.items() if value is not None} for row in found[:limit]]

    def over_limit(self, request: Request) -> Reply:
        """Answer as if too much ran at once: Salesforce has no 429 and says nothing of when to come back."""
        return _refused(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded.")

    def activities(self, record: str) -> list[dict[str, Any]]:
        """Return the tasks and events that stand in somebody's timeline."""
        return [
            row for kind in ("Task", "Event") for row in self.org.rows(kind).values()
            if row["WhoId"] == suffixed(record) and not row["IsDeleted"]
        ]  # fmt: skip

    def members(self, campaign: str) -> set[str]:
        """Return the ids of the members of a campaign, by its name."""
        ids = {row["Id"] for row in self.org.rows("Campaign").values() if row["Name"] == campaign}
        held = self.org.rows("CampaignMember").values()
        return {row["ContactId"] or row["LeadId"] for row in held if row["CampaignId"] in ids and not row["IsDeleted"]}

    def reply(self, request: Request) -> Reply:
        """Answer as Salesforce does: the session is judged first, then the allowance, then the question."""
        parts = [part for part in request.path.split("/") if part]
        if parts[:2] == ["services", "oauth2"] and parts[2:] != ["userinfo"]:
            return self.tokens.reply(request, parts[2] if len(parts) == 3 else "", revoked=self.revoked, org=self.org)
        if parts == ["services", "data"]:
            return Reply(200, [{"label": v, "url": f"/services/data/v{v}", "version": v} for v in _VERSIONS])
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if self.revoked or scheme.lower() not in ("bearer", "oauth") or not (token == self.key or self.tokens.accepts(token)):
            return _refused(401, "INVALID_SESSION_ID", "Session expired or invalid")
        hour = int(self.clock() // 3600)
        used = sum(count for when, count in self._used.items() if when > hour - _DAY)
        if used >= self.daily:
            return _refused(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        self._used[hour] = self._used.get(hour, 0) + 1
        headers = {"sforce-limit-info": f"api-usage={used + 1}/{self.daily}"}
        answer = self._answer(request, parts)
        return Reply(answer.status, answer.body, {**headers, **answer.headers})

    def _answer(self, request: Request, parts: list[str]) -> Reply:
        if parts == ["services", "oauth2", "userinfo"]:
            return Reply(200, self.tokens.identity(self.org))
        if len(parts) < 4 or parts[:2] != ["services", "data"] or parts[2].removeprefix("v") not in _VERSIONS:
            return _refused(404, "NOT_FOUND", "The requested resource does not exist")
        if request.body is ...:
            return _refused(400, "JSON_PARSER_ERROR", "Unexpected character")
        try:
            return self._resource(request, parts[3:])
        except Refusal as refusal:
            return _refused(refusal.status, refusal.code, refusal.message, refusal.fields, **refusal.more)
        except Malformed as error:
            return _refused(400, error.code, f"\n{error}")

    def _resource(self, request: Request, parts: list[str]) -> Reply:
        match request.method, parts:
            case "GET", ["query" | "queryAll" as how]:
                return self._query(request, everything=how == "queryAll")
            case "GET", ["query" | "queryAll", locator]:
                return self._more(request, locator)
            case "GET", ["search"]:
                return Reply(200, {"searchRecords": self.org.find(parse_sosl(request.query.get("q", "")), lag=self.lag)})
            case "GET", ["limits"]:
                used = sum(count for when, count in self._used.items() if when > int(self.clock() // 3600) - _DAY)
                return Reply(200, {"DailyApiRequests": {"Max": self.daily, "Remaining": max(0, self.daily - used)}})
            case "GET", ["sobjects"]:
                told = [{"name": kind.name, "keyPrefix": kind.prefix} for kind in self.org.kinds.values()]
                return Reply(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": told})
            case _, ["composite", "sobjects", *rest]:
                return self._collection(request, rest)
            case _, ["sobjects", name, *rest]:
                return self._sobject(request, self.org.kind(name), rest)
        return _refused(404, "NOT_FOUND", "The requested resource does not exist")

    # ---- questions

    def _query(self, request: Request, *, everything: bool) -> Reply:
        question = parse_soql(request.query.get("q", ""))
        total, rows = self.org.ask(question, everything=everything)
        if not question.fields:
            return Reply(200, {"totalSize": total, "done": True, "records": []})
        locator = suffixed(f"01gSim00{len(self._cursors):07d}")
        found = list(rows)
        return self._page(request, found, 0, locator, "queryAll" if everything else "query")

    def _more(self, request: Request, locator: str) -> Reply:
        name, _, start = locator.partition("-")
        if name not in self._cursors or not start.isdecimal():
            return _refused(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(request, self._cursors[name], int(start), name, request.path.strip("/").split("/")[3])

    def _page(self, request: Request, rows: list[dict[str, Any]], start: int, locator: str, how: str) -> Reply:
        told = dict(
            part.strip().split("=", 1) for part in request.headers.get("sforce-query-options", "").split(",") if "=" in part
        )
        asked = int(told["batchSize"]) if told.get("batchSize", "").isdecimal() else _PAGE
        size = min(max(200, min(asked, _PAGE)), self.batch)
        end = start + size
        body: dict[str, Any] = {"totalSize": len(rows), "done": end >= len(rows), "records": rows[start:end]}
        if end < len(rows):
            self._cursors[locator] = rows
            body["nextRecordsUrl"] = f"/services/data/{request.path.strip('/').split('/')[2]}/{how}/{locator}-{end}"
        return Reply(200, body)

    # ---- one record

    def _sobject(self, request: Request, kind: Kind, rest: list[str]) -> Reply:
        match request.method, rest:
            case "GET", []:
                return Reply(200, {"objectDescribe": {"name": kind.name, "keyPrefix": kind.prefix}, "recentItems": []})
            case "POST", []:
                return Reply(201, {"id": self.org.make(kind.name, _values(request.body)), "success": True, "errors": []})
            case "GET", ["describe"]:
                fields = [field.described() for field in kind.fields.values()]
                return Reply(200, {"name": kind.name, "keyPrefix": kind.prefix, "custom": False, "fields": fields})
            case "GET", ["updated" | "deleted" as what]:
                return self._since(request, kind, what)
            case _, [id]:
                return self._record(request, kind, id)
            case "GET" | "PATCH" | "DELETE", [name, *value] if name.lower() in kind.fields:
                return self._external(request, kind, kind.fields[name.lower()], "/".join(value))
        return _refused(404, "NOT_FOUND", "The requested resource does not exist")

    def _record(self, request: Request, kind: Kind, id: str) -> Reply:
        held = self.org.held(kind, id)
        match request.method:
            case "GET":
                wanted = request.query.get("fields")
                names = wanted.split(",") if wanted else [field.name for field in kind.fields.values()]
                _, rows = self.org.ask(Question(tuple(names), kind.name, Compared("Id", "=", held["Id"], "string")))
                return Reply(200, next(rows))
            case "PATCH":
                self.org.change(kind.name, held["Id"], _values(request.body))
                return Reply(204, "")
            case "DELETE":
                self.org.delete(held["Id"])
                return Reply(204, "")
        return _refused(405, "METHOD_NOT_ALLOWED", f"HTTP Method '{request.method}' not allowed.")

    def _external(self, request: Request, kind: Kind, field: Field, value: str) -> Reply:
        if not field.external:
            return _refused(404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible: " + field.name)
        found = self.org.having(kind, field, value)
        if len(found) > 1:
            return Reply(300, [f"/services/data/v63.0/sobjects/{kind.name}/{row['Id']}" for row in found])
        if request.method == "PATCH":
            if found:
                self.org.change(kind.name, found[0]["Id"], _values(request.body))
                return Reply(200, {"id": found[0]["Id"], "success": True, "errors": [], "created": False})
            id = self.org.make(kind.name, {**_values(request.body), field.name: value})
            return Reply(201, {"id": id, "success": True, "errors": [], "created": True})
        if not found:
            return _refused(404, "NOT_FOUND", "The requested resource does not exist")
        return self._record(request, kind, found[0]["Id"])

    def _since(self, request: Request, kind: Kind, what: str) -> Reply:
        try:
            start, end = (datetime.fromisoformat(request.query[name].replace(" ", "+")).timestamp() for name in ("start", "end"))
        except (KeyError, ValueError):
            return _refused(400, "INVALID_PARAMETER", "start and end have to be given")
        if end - start > 30 * 86_400 or end <= start:
            return _refused(400, "EXCEEDED_ID_LIMIT", "the window is at most 30 days")
        rows = [row for row in self.org.rows(kind.name).values() if start <= row["SystemModstamp"] < end]
        covered = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
        if what == "updated":
            return Reply(200, {"ids": [row["Id"] for row in rows if not row["IsDeleted"]], "latestDateCovered": covered})
        gone = [
            {"id": row["Id"], "deletedDate": datetime.fromtimestamp(row["SystemModstamp"], UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")}
            for row in rows if row["IsDeleted"]
        ]  # fmt: skip
        return Reply(200, {"deletedRecords": gone, "earliestDateAvailable": covered, "latestDateCovered": covered})

    # ---- many records

    def _deleted(self, id: str) -> dict[str, Any]:
        self.org.delete(id)
        return {"id": id}

    def _collection(self, request: Request, rest: list[str]) -> Reply:
        if request.method == "DELETE" and not rest:
            ids = [id for id in request.query.get("ids", "").split(",") if id]
            return self._each(ids, self._deleted)
        records = request.body.get("records") if isinstance(request.body, dict) else None
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            return _refused(400, "JSON_PARSER_ERROR", "records are missing")
        match request.method, rest:
            case "POST", []:
                return self._each(records, lambda record: {"id": self.org.make(_type(record), _plain(record))})
            case "PATCH", []:
                return self._each(records, self._changed)
            case "PATCH", [name, external]:
                kind = self.org.kind(name)
                field = kind.fields.get(external.lower())
                if field is None or not field.external:
                    return _refused(400, "INVALID_FIELD", f"No such external id '{external}' on {kind.name}")
                return self._each(records, lambda record: self._upserted(kind, field, record))
        return _refused(405, "METHOD_NOT_ALLOWED", f"HTTP Method '{request.method}' not allowed.")

    def _each(self, items: list[Any], work: Callable[[Any], Mapping[str, Any]]) -> Reply:
        if len(items) > _TOGETHER:
            return _refused(
                400, "EXCEEDED_MAX_SIZE_REQUEST", f"record limit reached. cannot submit more than {_TOGETHER} records"
            )
        told: list[dict[str, Any]] = []
        for item in items:
            try:
                told.append({**work(item), "success": True, "errors": []})
            except Refusal as refusal:
                error = {"statusCode": refusal.code, "message": refusal.message, "fields": list(refusal.fields), **refusal.more}
                told.append({"success": False, "errors": [error]})
        return Reply(200, told)

    def _changed(self, record: Mapping[str, Any]) -> dict[str, Any]:
        id = record.get("id") or record.get("Id")
        if not isinstance(id, str):
            raise Refusal(400, "MISSING_ARGUMENT", "Id not specified in an update call")
        self.org.change(_type(record), id, _plain(record))
        return {"id": suffixed(id)}

    def _upserted(self, kind: Kind, field: Field, record: Mapping[str, Any]) -> dict[str, Any]:
        value = next((value for name, value in record.items() if name.lower() == field.name.lower()), None)
        if not isinstance(value, str) or not value:
            raise Refusal(400, "MISSING_ARGUMENT", f"{field.name} not specified")
        found = self.org.having(kind, field, value)
        if len(found) > 1:
            raise Refusal(400, "DUPLICATE_EXTERNAL_ID", f"{field.name}: more than one record found for external id field")
        if found:
            self.org.change(kind.name, found[0]["Id"], _plain(record))
            return {"id": found[0]["Id"], "created": False}
        return {"id": self.org.make(kind.name, _plain(record)), "created": True}


def _values(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Refusal(400, "JSON_PARSER_ERROR", "The HTTP entity body is required")
    return body


def _type(record: Mapping[str, Any]) -> str:
    told = record.get("attributes")
    if not isinstance(told, dict) or not isinstance(told.get("type"), str):
        raise Refusal(400, "INVALID_TYPE", "the type of the record is missing")
    return str(told["type"])


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "attributes"}


def _refused(status: int, code: str, message: str, fields: tuple[str, ...] = (), **more: Any) -> Reply:
    return Reply(status, [{"message": message, "errorCode": code, **({"fields": list(fields)} if fields else {}), **more}])
