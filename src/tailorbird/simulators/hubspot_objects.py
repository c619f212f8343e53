"""The objects of the simulated HubSpot over HTTP: one by one, in batches, by search; and what is said of their properties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from tailorbird.simulators.base import Reply, Request
from tailorbird.simulators.hubspot_errors import Wrong, error_of, row_error
from tailorbird.simulators.hubspot_records import FIRST, Objects, Thing, holds, iso, ms_of
from tailorbird.simulators.hubspot_schema import ENGAGEMENTS, contact_properties, engagement_properties, fault_of, property_of

__all__ = ["HubspotObjects", "results_of"]

_MOST: Final = 10_000
_SHOWN: Final = {"contacts": ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname")}
_Changed = Callable[[Thing, str, Mapping[str, str]], None]


def results_of(results: list[Any], now: int, errors: list[Any] | None = None) -> dict[str, Any]:
    """Return the answer to a batch."""
    told: dict[str, Any] = {"status": "COMPLETE", "results": results, "startedAt": iso(now), "completedAt": iso(now)}
    return told if not errors else {**told, "numErrors": len(errors), "errors": errors}


class HubspotObjects:
    """Contacts and engagements. ``changed`` is told of each change of a contact."""

    def __init__(self, *, now: Callable[[], int], people: int, seed: int, changed: _Changed) -> None:
        self._now = now
        self._changed = changed
        self.contacts = Objects(now=now, people=people, seed=seed, stamp="lastmodifieddate")
        self.kinds = {"contacts": self.contacts, **{kind: Objects(now=now, first=FIRST) for kind in ENGAGEMENTS}}
        self.properties = {"contacts": contact_properties(), **{kind: engagement_properties(kind) for kind in ENGAGEMENTS}}
        self._linked: dict[int, list[tuple[str, int]]] = {}

    def timeline(self, contact: int) -> list[dict[str, Any]]:
        """Return the engagements of a contact."""
        found = []
        for kind, id in self._linked.get(contact, ()):
            thing = self.kinds[kind].get(id)
            if thing is not None:
                found.append({"kind": kind, "id": str(id), **thing.properties})
        return found

    def reply(self, request: Request, kind: str, rest: list[str], drops: set[str]) -> Reply:
        """Answer a request about objects of a kind."""
        if kind not in self.kinds:
            return error_of(400, f"Unable to infer object type from: {kind}", "VALIDATION_ERROR")
        match (request.method, rest):
            case ("GET", []):
                return self._list(request, kind)
            case ("POST", []):
                return Reply(201, self._made(request.body, kind, drops))
            case ("POST", ["search"]):
                return self._search(request.body, kind)
            case ("POST", ["batch", verb]):
                return self._batch(request.body, kind, verb, drops)
            case (_, [id]):
                return self._one(request, kind, id, drops)
        return error_of(404, "No such endpoint", "OBJECT_NOT_FOUND")

    def describe(self, request: Request, rest: list[str]) -> Reply:
        """Answer a request about the properties of a kind."""
        known = self.properties.get(rest[0] if rest else "")
        if known is None:
            return error_of(404, "No such object type", "OBJECT_NOT_FOUND")
        if request.method == "GET" and len(rest) == 1:
            return Reply(200, {"results": list(known.values())})
        if request.method == "POST" and len(rest) == 1:
            name = str(request.body["name"])
            if name in known:
                return error_of(409, f'Property "{name}" already exists', "CONFLICT")
            unique = bool(request.body.get("hasUniqueValue"))
            known[name] = property_of(name, str(request.body["type"]), custom=True, unique=unique)
            return Reply(201, known[name])
        found = known.get(rest[1])
        if found is None:
            return error_of(404, f'Property "{rest[1]}" does not exist', "OBJECT_NOT_FOUND")
        if request.method == "PATCH":
            found.update(request.body)
        return Reply(200, found)

    def associate(self, request: Request, kind: str, other: str) -> Reply:
        """Associate objects with contacts."""
        if kind not in self.kinds or other != "contacts":
            return error_of(400, "Unable to infer object type", "VALIDATION_ERROR")
        results, errors = [], []
        for pair in self._inputs(request.body):
            one, person = self.kinds[kind].get(pair["from"]["id"]), self.contacts.get(pair["to"]["id"])
            if one is None or person is None:
                errors.append(row_error("Object not found", "OBJECT_NOT_FOUND", None, ids=[str(pair["to"]["id"])]))
                continue
            self._link(kind, one, person)
            spec = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 202}
            results.append({"from": pair["from"], "to": pair["to"], "associationSpec": spec})
        return Reply(200, results_of(results, self._now(), errors))

    # ---- inside

    def _link(self, kind: str, thing: Thing, person: Thing) -> None:
        if person.id not in thing.links:
            thing.links.add(person.id)
            self._linked.setdefault(person.id, []).append((kind, thing.id))
            self.contacts.change(person, {})  # what is written into a timeline moves the contact, too

    def _shown(self, thing: Thing, kind: str, wanted: Any) -> dict[str, Any]:
        names = {*_SHOWN.get(kind, ("hs_object_id",)), *(wanted or ())} & set(self.properties[kind])
        values = {name: thing.properties.get(name) for name in sorted(names)}
        told = {"id": str(thing.id), "properties": values, "archived": False}
        return {**told, "createdAt": iso(thing.created), "updatedAt": iso(thing.updated)}

    def _unique(self, kind: str) -> tuple[str, ...]:
        return tuple(name for name, told in self.properties[kind].items() if told["hasUniqueValue"])

    def _list(self, request: Request, kind: str) -> Reply:
        if request.query.get("archived") == "true":
            return Reply(200, {"results": []})
        limit = int(request.query.get("limit", "10"))
        if not 1 <= limit <= 100:
            return error_of(400, f"Invalid limit {limit}", "VALIDATION_ERROR")
        wanted = [name for key, value in request.pairs if key == "properties" for name in value.split(",")]
        found = []
        for thing in self.kinds[kind].after(int(request.query.get("after", "0"))):
            found.append(thing)
            if len(found) > limit:
                break
        body: dict[str, Any] = {"results": [self._shown(thing, kind, wanted) for thing in found[:limit]]}
        if len(found) > limit:
            body["paging"] = {"next": {"after": str(found[limit - 1].id)}}
        return Reply(200, body)

    def _one(self, request: Request, kind: str, id: str, drops: set[str]) -> Reply:
        by = request.query.get("idProperty")
        thing = self.kinds[kind].by(by, id) if by else self.kinds[kind].get(id)
        if thing is None:
            return error_of(404, "resource not found", "OBJECT_NOT_FOUND")
        if request.method == "DELETE":
            self.kinds[kind].archive(thing)
            return Reply(204, None)
        if request.method == "PATCH":
            self._judge(kind, request.body, thing)
            return Reply(200, self._kept(kind, thing, request.body, drops))
        wanted = [name for key, value in request.pairs if key == "properties" for name in value.split(",")]
        return Reply(200, self._shown(thing, kind, wanted))

    def _judge(self, kind: str, body: Any, own: Thing | None) -> dict[str, str]:
        """Return the properties of a write, or refuse it."""
        properties = body.get("properties") if isinstance(body, dict) else None
        if not isinstance(properties, dict):
            raise Wrong(400, "Invalid input JSON")
        faults = []
        for name, value in properties.items():
            fault = fault_of(self.properties[kind], name, str(value))
            if fault is not None:
                detail = {"message": fault[1], "code": fault[0], "context": {"propertyName": [name]}}
                faults.append(detail)
        if faults:
            raise Wrong(400, f"Property values were not valid: {[fault['message'] for fault in faults]}", errors=faults)
        for name in self._unique(kind):
            if properties.get(name):
                twin = self.kinds[kind].by(name, str(properties[name]))
                if twin is not None and own is None:
                    raise Wrong(409, f"Contact already exists. Existing ID: {twin.id}", "CONFLICT")
                if twin is not None and own is not None and twin.id != own.id:
                    raise Wrong(400, f"Cannot set PropertyValueCoordinates on {own.id}. {twin.id} already has that value.")
        if kind != "contacts" and own is None and not properties.get("hs_timestamp"):
            raise Wrong(400, "hs_timestamp is required")
        return {name: str(value) for name, value in properties.items()}

    def _kept(self, kind: str, thing: Thing, body: Any, drops: set[str]) -> dict[str, Any]:
        properties = {name: str(value) for name, value in body["properties"].items() if name not in drops}
        self.kinds[kind].change(thing, properties, self._unique(kind))
        if kind == "contacts":
            self._changed(thing, "propertyChange", properties)
        return self._shown(thing, kind, body["properties"])

    def _made(self, body: Any, kind: str, drops: set[str]) -> dict[str, Any]:
        given = self._judge(kind, body, None)
        people = [self.contacts.get(str(one["to"]["id"])) for one in body.get("associations") or ()]
        if None in people:
            raise Wrong(404, "Object not found", "OBJECT_NOT_FOUND")
        properties = {name: value for name, value in given.items() if name not in drops}
        thing = self.kinds[kind].add(properties, self._unique(kind))
        for person in people:
            if person is not None:
                self._link(kind, thing, person)
        if kind == "contacts":
            self._changed(thing, "creation", properties)
        return self._shown(thing, kind, given)

    def _inputs(self, body: Any) -> list[Any]:
        inputs = body.get("inputs") if isinstance(body, dict) else None
        if not isinstance(inputs, list) or not inputs:
            raise Wrong(400, "inputs must not be empty")
        if len(inputs) > 100:
            raise Wrong(400, f"The maximum number of inputs is 100, but {len(inputs)} were given.")
        return inputs

    def _batch(self, body: Any, kind: str, verb: str, drops: set[str]) -> Reply:
        inputs = self._inputs(body)
        store = self.kinds[kind]
        if verb == "read":
            by = body.get("idProperty")
            if by and by not in self._unique(kind):
                raise Wrong(400, f"{by} is no unique property")
            found = {
                thing.id: thing for i in inputs if (thing := store.by(by, i["id"]) if by else store.get(i["id"])) is not None
            }
            missing = [i["id"] for i in inputs if (store.by(by, i["id"]) if by else store.get(i["id"])) is None]
            results = [self._shown(thing, kind, body["properties"]) for thing in found.values()]
            errors = [row_error("Could not get some objects", "OBJECT_NOT_FOUND", None, ids=missing)] if missing else None
            return Reply(207 if errors else 200, results_of(results, self._now(), errors))
        if verb not in ("create", "update", "upsert"):
            return error_of(404, "No such endpoint", "OBJECT_NOT_FOUND")
        keys = [(i.get("idProperty"), str(i.get("id")).lower()) for i in inputs] if verb != "create" else []
        if len(set(keys)) < len(keys):
            raise Wrong(400, "Duplicate IDs found in batch input")
        traced = all(i.get("objectWriteTraceId") for i in inputs)
        results, errors = [], []
        if not traced:  # without traces one wrong row refuses all of them
            for one in inputs:
                self._judge(kind, one, self._meant(kind, one, verb))
        for one in inputs:
            try:
                results.append(self._wrote(kind, one, verb, drops))
            except Wrong as wrong:
                told = wrong.reply.body
                errors.append(row_error(told["message"], told["category"], one.get("objectWriteTraceId")))
        return Reply(207 if errors else 201 if verb == "create" else 200, results_of(results, self._now(), errors))

    def _meant(self, kind: str, one: Any, verb: str) -> Thing | None:
        if verb == "create":
            return None
        by, id = one.get("idProperty"), str(one.get("id"))
        if by and by not in self._unique(kind):
            raise Wrong(400, f"{by} is no unique property")
        found = self.kinds[kind].by(by, id) if by else self.kinds[kind].get(id)
        if found is None and verb == "update":
            raise Wrong(404, "resource not found", "OBJECT_NOT_FOUND")
        return found

    def _wrote(self, kind: str, one: Any, verb: str, drops: set[str]) -> dict[str, Any]:
        own = self._meant(kind, one, verb)
        if own is not None:
            self._judge(kind, one, own)
            return (
                _upserted(self._kept(kind, own, one, drops), new=False) if verb == "upsert" else self._kept(kind, own, one, drops)
            )
        body = one
        if verb == "upsert" and one.get("idProperty"):
            body = {**one, "properties": {one["idProperty"]: str(one["id"]), **one["properties"]}}
        return _upserted(self._made(body, kind, drops), new=True) if verb == "upsert" else self._made(body, kind, drops)

    def _search(self, body: Any, kind: str) -> Reply:
        groups = [group["filters"] for group in body.get("filterGroups") or []]
        limit, start = int(body.get("limit", 10)), int(body.get("after") or 0)
        if len(groups) > 5 or any(len(group) > 6 for group in groups) or sum(map(len, groups)) > 18 or not 1 <= limit <= 200:
            raise Wrong(400, "There are too many filters, or more than 200 results are asked for.")
        if start + limit > _MOST:
            raise Wrong(400, "Paging through results cannot exceed 10000 results.")
        for one in [one for group in groups for one in group]:
            if one["propertyName"] not in self.properties[kind]:
                raise Wrong(400, f"There is no property {one['propertyName']}")
        sorts = body.get("sorts") or ["hs_object_id"]
        sort = sorts[0] if isinstance(sorts[0], str) else sorts[0]["propertyName"]
        down = sort.startswith("-") or (isinstance(sorts[0], dict) and sorts[0].get("direction") == "DESCENDING")
        floor, simple = _floor(groups)
        words = str(body.get("query") or "").lower().split()
        fits = None if simple and not words else partial(_fits, groups, words)
        total, page = self.kinds[kind].search(fits, sort=sort.lstrip("-"), down=down, floor=floor)
        told: dict[str, Any] = {
            "total": total, "results": [self._shown(thing, kind, body.get("properties")) for thing in page(start, start + limit)],
        }  # fmt: skip
        if start + limit < total:
            told["paging"] = {"next": {"after": str(start + limit)}}
        return Reply(200, told)


def _upserted(told: dict[str, Any], *, new: bool) -> dict[str, Any]:
    """Return what an upsert answers of an object, whose schema knows no empty properties."""
    values = {name: value for name, value in told["properties"].items() if value is not None}
    return {**told, "properties": values, "new": new}


def _fits(groups: list[Any], words: list[str], properties: Mapping[str, str | None]) -> bool:
    if groups and not any(all(holds(one, properties) for one in group) for group in groups):
        return False
    said = " ".join(str(properties.get(name) or "") for name in ("firstname", "lastname", "email", "phone", "company")).lower()
    return all(word in said for word in words)


def _floor(groups: list[Any]) -> tuple[dict[str, float], bool]:
    """Return the least id and time that the filters leave, and whether that is all they say."""
    if not groups:
        return {}, True
    floor: dict[str, float] = {}
    simple = len(groups) == 1
    for one in groups[0] if simple else ():
        name = "time" if one["propertyName"] == "lastmodifieddate" else one["propertyName"]
        told = ms_of(str(one.get("value", "")))
        if name in ("time", "hs_object_id") and one["operator"] in ("GT", "GTE", "EQ") and told is not None:
            floor[name] = told + (one["operator"] == "GT")
            simple = simple and one["operator"] != "EQ"
        else:
            simple = False
    return floor, simple
