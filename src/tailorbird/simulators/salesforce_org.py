"""The records of a simulated organisation: made, changed, deleted and asked for, with Salesforce's own refusals.

Source: REST API Developer Guide, "Status Codes and Error Responses"; SOAP API Developer Guide, "Core Data Types", "StatusCode".
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from tailorbird.simulators.people import person
from tailorbird.simulators.salesforce_schema import PARENTS, Field, Kind, kinds
from tailorbird.simulators.salesforce_soql import Malformed, Question, Search, equal_to, least, predicate, words_of

__all__ = ["Organisation", "Refusal", "suffixed"]

_SUFFIX: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_EMAIL: Final = re.compile(r"[^@\s<>()\"\\,;]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_TEXTS: Final = frozenset({"string", "email", "phone", "textarea", "picklist", "url", "multipicklist", "id", "reference"})
_NUMBERS: Final = frozenset({"int", "currency"})
_INDEXED: Final = frozenset({"Id", "Email", "WhoId", "CampaignId", "ContactId", "LeadId"})
_SEARCHED: Final = ("Name", "Email", "Phone", "MobilePhone", "Company", "Title", "City", "MailingCity")
_STATUSES: Final = {
    "new": "Open - Not Contacted", "open": "Working - Contacted", "customer": "Closed - Converted", "lost": "Closed - Not Converted",
}  # fmt: skip


class Refusal(Exception):
    """What Salesforce refuses: its code, its words, and the fields concerned."""

    def __init__(self, status: int, code: str, message: str, fields: tuple[str, ...] = (), **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields
        self.more = more


def suffixed(id: str) -> str:
    """Return an id of 15 characters with the three that tell its capitals.

    >>> suffixed("0035e00000AbCdE")
    '0035e00000AbCdEAAV'
    """
    parts = (id[0:5], id[5:10], id[10:15])
    return id[:15] + "".join(_SUFFIX[sum(1 << n for n, c in enumerate(part) if c.isupper())] for part in parts)


class Organisation:
    """Holds records by object and id. ``people`` are there from the beginning, two contacts to each lead.

    ``duplicate_rule`` refuses a second person with an address; ``locked`` holds ids that somebody else is changing just now.
    """

    def __init__(
        self, *, clock: Callable[[], float], people: int = 0, seed: int = 0, hidden: frozenset[str] = frozenset()
    ) -> None:
        self.clock = clock
        self.kinds = kinds(hidden)
        self.duplicate_rule = False
        self.locked: set[str] = set()
        self._rows: dict[str, dict[str, dict[str, Any]]] = {kind.name: {} for kind in self.kinds.values()}
        self._order: dict[str, list[tuple[int, str]]] = {name: [] for name in self._rows}
        self._index: dict[tuple[str, str], dict[Any, set[str]]] = {}
        self._made = 0
        self.user = self.make("User", {"Username": "ann@org.example", "LastName": "Admin", "Email": "ann@org.example"})
        self.id = self.make("Organization", {}, Name="Simulated Org", OrganizationType="Developer Edition", IsSandbox=False)
        self._seed(people, seed)

    # ---- what there is

    def kind(self, name: str) -> Kind:
        """Return an object by its name."""
        found = self.kinds.get(name.lower())
        if found is None:
            raise Refusal(404, "NOT_FOUND", "The requested resource does not exist")
        return found

    def rows(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the records of an object by id, the deleted ones included."""
        return self._rows[kind]

    def held(self, kind: Kind, id: str) -> dict[str, Any]:
        """Return a record that is not deleted."""
        found = self.rows(kind.name).get(suffixed(id) if len(id) in (15, 18) else id)
        if found is None:
            raise Refusal(404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible: " + id[:18])
        if found["IsDeleted"]:
            raise Refusal(404, "ENTITY_IS_DELETED", "entity is deleted")
        return found

    def having(self, kind: Kind, field: Field, value: str) -> list[dict[str, Any]]:
        """Return the records that have this value in a field, without regard to capitals."""
        index = self._indexed(kind.name, field)
        rows = self.rows(kind.name)
        return [rows[id] for id in sorted(index.get(value.casefold(), ())) if not rows[id]["IsDeleted"]]

    # ---- questions

    def ask(self, question: Question, *, everything: bool = False) -> tuple[int, Iterator[dict[str, Any]]]:
        """Return how many rows a question has, and the rows as they are answered."""
        kind = self.kinds.get(question.source.lower())
        if kind is None:
            raise Malformed(f"sObject type '{question.source}' is not supported.", "INVALID_TYPE")
        readers = [(name, self._reader(kind, name)) for name in question.fields]
        holds = predicate(question.where, lambda name: self._comparable(kind, name))
        self._check(kind, question.where)
        found = (row for row in self._candidates(kind, question) if (everything or not row["IsDeleted"]) and holds(row))
        ordered = self._sorted(kind, question, found)
        end = None if question.limit is None else question.offset + question.limit
        rows = list(islice(ordered, question.offset, end))
        return len(rows), (_shaped(kind, row, readers) for row in rows)

    def find(self, search: Search, *, lag: float = 0) -> list[dict[str, Any]]:
        """Return what a search finds; who was changed within the last ``lag`` seconds is not found yet."""
        told = []
        ripe = self.clock() - lag
        for asked in search.returning or (Question(("Id",), "Contact"), Question(("Id",), "Lead")):
            question = Question(asked.fields, asked.source, asked.where, asked.order)
            wanted = {
                id for id, row in self.rows(self.kind(asked.source).name).items()
                if not row["IsDeleted"] and row["SystemModstamp"] <= ripe and _found(search, row)
            }  # fmt: skip
            _, rows = self.ask(question)
            hits = [row for row in rows if row["attributes"]["url"].rpartition("/")[2] in wanted]
            told += hits[: asked.limit]
        return told

    def _candidates(self, kind: Kind, question: Question) -> Iterator[dict[str, Any]]:
        """Return the rows that may fit, in the order of their last change, as few of them as can be told cheaply."""
        rows = self.rows(kind.name)
        for name, values in equal_to(question.where):
            field = kind.fields.get(name.lower())
            if field is not None and (field.external or field.name in _INDEXED):
                ids = {id for value in values for id in self._indexed(kind.name, field).get(_key(field, value), ())}
                return iter(sorted((rows[id] for id in ids), key=lambda row: (row["SystemModstamp"], row["Id"])))
        order = self._order[kind.name]
        low = least(question.where, "SystemModstamp")
        start = bisect_left(order, (low, "")) if isinstance(low, float) else 0
        return (rows[id] for _, id in order[start:])

    def _sorted(self, kind: Kind, question: Question, found: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        names = [(kind.fields[name.lower()].name, down) for name, down in question.order if self._field(kind, name)]
        if not names or names == [("SystemModstamp", False), ("Id", False)]:
            return found  # that is how they come
        rows = list(found)
        for name, down in reversed(names):
            rows.sort(key=lambda row: (row[name] is not None, _low(row[name])), reverse=down)
        return iter(rows)

    def _field(self, kind: Kind, name: str) -> Field:
        field = kind.fields.get(name.lower())
        if field is None:
            raise Malformed(
                f"No such column '{name}' on entity '{kind.name}'. If you are attempting to use a custom field, be sure to append the "
                "'__c' after the custom field name.", "INVALID_FIELD",
            )  # fmt: skip
        return field

    def _reader(self, kind: Kind, name: str) -> Callable[[dict[str, Any]], Any]:
        """Return a function that reads a field of a row, over a relation where the name says so."""
        if "." not in name:
            field = self._field(kind, name)
            return lambda row: _told(field, row.get(field.name))
        relation, _, inner = name.partition(".")
        by, target = self._parent(kind, relation)
        read = self._reader(self.kinds[target.lower()], inner)
        rows = self._rows[target]
        return lambda row: read(rows[row[by]]) if row.get(by) in rows else None

    def _parent(self, kind: Kind, relation: str) -> tuple[str, str]:
        for (source, name), found in PARENTS.items():
            if source == kind.name and name.lower() == relation.lower():
                return found
        raise Malformed(f"Didn't understand relationship '{relation}' in field path.", "INVALID_FIELD")

    def _comparable(self, kind: Kind, name: str) -> Callable[[dict[str, Any]], Any]:
        if "." in name:
            read = self._reader(kind, name)
            return lambda row: _low(read(row))
        field = self._field(kind, name).name
        return lambda row: _low(row.get(field))

    def _check(self, kind: Kind, condition: Any) -> None:
        """Refuse comparisons of a field with a literal of another type, and by what cannot be asked by."""
        for part in getattr(condition, "parts", ()) or ([condition.part] if hasattr(condition, "part") else ()):
            self._check(kind, part)
        if not hasattr(condition, "field") or "." in condition.field:
            return
        field = self._field(kind, condition.field)
        if not field.filterable:
            raise Malformed(f"field '{field.name}' can not be filtered in a query call", "INVALID_FIELD")
        wanted = "number" if field.type in _NUMBERS else field.type if field.type in ("boolean", "date", "datetime") else "string"
        if condition.kind not in (wanted, "null"):
            raise Malformed(f"value of filter criterion for field '{field.name}' must be of type {field.type}", "INVALID_FIELD")
        if (condition.sign in ("includes", "excludes")) and field.type != "multipicklist":
            raise Malformed("includes or excludes operator only valid on multipicklist field", "INVALID_QUERY_FILTER_OPERATOR")

    # ---- writing

    def make(self, name: str, values: Mapping[str, Any], **system: Any) -> str:
        """Make a record and return its id."""
        kind = self.kind(name)
        row = self._checked(kind, values, None)
        missing = tuple(f.name for f in kind.fields.values() if f.needed and row.get(f.name) in (None, ""))
        if missing:
            raise Refusal(400, "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", missing)
        self._made += 1
        id = suffixed(f"{kind.prefix}Sim00{self._made:07d}")
        now = int(self.clock())
        full = {field.name: False if field.type == "boolean" else None for field in kind.fields.values()}
        made = {**full, **_defaults(kind.name), **row, **system, "Id": id, "CreatedDate": now, "LastModifiedDate": now}
        self._put(kind, {**made, "OwnerId": made.get("OwnerId") or getattr(self, "user", None), "IsDeleted": False}, None)
        return id

    def change(self, name: str, id: str, values: Mapping[str, Any]) -> None:
        """Change the fields given of a record."""
        kind = self.kind(name)
        held = self.held(kind, id)
        if held["Id"] in self.locked:
            raise Refusal(400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record or 1 records")
        if held.get("IsConverted"):
            raise Refusal(400, "CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        row = self._checked(kind, values, held["Id"])
        emptied = tuple(f.name for f in kind.fields.values() if f.needed and f.name in row and row[f.name] in (None, ""))
        if emptied:
            raise Refusal(400, "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(emptied)}]", emptied)
        self._put(kind, {**held, **row, "LastModifiedDate": int(self.clock())}, held)

    def delete(self, id: str) -> None:
        """Delete a record: it goes into the bin, where only ``queryAll`` sees it."""
        kind = next((kind for kind in self.kinds.values() if id.startswith(kind.prefix)), None)
        if kind is None or len(id) not in (15, 18):
            raise Refusal(400, "MALFORMED_ID", f"malformed id {id[:18]}")
        held = self.held(kind, id)
        self._put(kind, {**held, "IsDeleted": True}, held)

    def convert(self, id: str) -> str:
        """Make a contact of a lead, as somebody there would; return its id."""
        kind = self.kind("Lead")
        lead = self.held(kind, id)
        contact = self.make("Contact", {name: lead[name] for name in ("FirstName", "LastName", "Email", "Phone")})
        self._put(kind, {**lead, "IsConverted": True, "ConvertedContactId": contact}, lead)
        return contact

    def _checked(self, kind: Kind, values: Mapping[str, Any], own: str | None) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for name, value in values.items():
            if name.lower() in ("attributes", "id"):
                continue
            field = kind.fields.get(name.lower())
            if field is None:
                raise Refusal(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {kind.name}")
            if not field.writable:
                raise Refusal(
                    400, "INVALID_FIELD_FOR_INSERT_UPDATE",
                    f"Unable to create/update fields: {field.name}. Please check the security settings of this field.", (field.name,),
                )  # fmt: skip
            row[field.name] = self._value(kind, field, value, own)
        if kind.name in ("Contact", "Lead"):
            names = {**(self._rows[kind.name][own] if own else {}), **row}
            row["Name"] = " ".join(part for part in (names.get("FirstName"), names.get("LastName")) if part)
            self._refuse_twin(kind, row, own)
        if kind.name == "CampaignMember" and own is None:
            self._refuse_member(kind, row)
        if kind.name == "Event" and own is None and row.get("StartDateTime") is None:
            raise Refusal(400, "REQUIRED_FIELD_MISSING", "Required fields are missing: [StartDateTime]", ("StartDateTime",))
        return row

    def _value(self, kind: Kind, field: Field, value: Any, own: str | None) -> Any:
        if value is None or value == "":
            return False if field.type == "boolean" else None
        good = (
            isinstance(value, bool) if field.type == "boolean"
            else isinstance(value, int | float) and not isinstance(value, bool) if field.type in _NUMBERS
            else isinstance(value, str)
        )  # fmt: skip
        if not good:
            raise Refusal(
                400, "INVALID_TYPE_ON_FIELD_IN_RECORD", f"{field.name}: value not of required type: {value}", (field.name,)
            )
        if field.type in ("date", "datetime"):
            try:
                read = datetime.fromisoformat(value)
            except ValueError:
                raise Refusal(400, "JSON_PARSER_ERROR", f"Cannot deserialize instance of {field.type} from {value}") from None
            return value[:10] if field.type == "date" else int(read.replace(tzinfo=read.tzinfo or UTC).timestamp())
        if field.length and len(value) > field.length:
            raise Refusal(
                400, "STRING_TOO_LONG", f"{field.name}: data value too large (max length={field.length})", (field.name,)
            )
        if field.type == "email" and not _EMAIL.fullmatch(value):
            raise Refusal(400, "INVALID_EMAIL_ADDRESS", f"{field.name}: invalid email address: {value}", (field.name,))
        if field.type == "reference":
            return self._referred(field, value)
        if field.external and (twin := [row for row in self.having(kind, field, value) if row["Id"] != own]):
            said = f"duplicate value found: {field.name} duplicates value on record with id: {twin[0]['Id'][:15]}"
            raise Refusal(400, "DUPLICATE_VALUE", said)
        return value

    def _referred(self, field: Field, value: str) -> str:
        full = suffixed(value) if len(value) == 15 else value
        for kind in self.kinds.values():
            row = self.rows(kind.name).get(full)
            if row is not None:
                if row["IsDeleted"]:
                    raise Refusal(400, "ENTITY_IS_DELETED", "entity is deleted")
                return full
        raise Refusal(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", (field.name,))

    def _refuse_twin(self, kind: Kind, row: Mapping[str, Any], own: str | None) -> None:
        if not self.duplicate_rule or own is not None or not row.get("Email"):
            return
        twins = self.having(kind, kind.fields["email"], row["Email"])
        if twins:
            records = [{"additionalInformation": [], "fieldDiffs": [], "matchConfidence": 100.0, "record": {
                "attributes": {"type": kind.name, "url": f"/sobjects/{kind.name}/{twin['Id']}"}, "Id": twin["Id"]}} for twin in twins
            ]  # fmt: skip
            result = {"allowSave": False, "duplicateRule": f"Standard_{kind.name}_Duplicate_Rule", "matchResults": [
                {"entityType": kind.name, "matchRecords": records, "size": len(records), "success": True}]
            }  # fmt: skip
            raise Refusal(400, "DUPLICATES_DETECTED", "Use one of these records?", duplicateResut=result)

    def _refuse_member(self, kind: Kind, row: Mapping[str, Any]) -> None:
        who = row.get("ContactId") or row.get("LeadId")
        if who is None:
            raise Refusal(400, "REQUIRED_FIELD_MISSING", "Required fields are missing: [ContactId]", ("ContactId",))
        for member in self.having(kind, kind.fields["contactid" if row.get("ContactId") else "leadid"], who):
            if member["CampaignId"] == row.get("CampaignId"):
                raise Refusal(400, "DUPLICATE_VALUE", "Already a campaign member.")

    def _put(self, kind: Kind, row: dict[str, Any], was: Mapping[str, Any] | None) -> None:
        id = row["Id"]
        row["SystemModstamp"] = max(int(self.clock()), row["CreatedDate"])
        order = self._order[kind.name]
        if was is not None:
            del order[bisect_left(order, (was["SystemModstamp"], id))]
        insort(order, (row["SystemModstamp"], id))
        self._rows[kind.name][id] = row
        for (name, field), index in self._index.items():
            if name == kind.name:
                if was is not None and was.get(field) is not None:
                    index.get(_low(was[field]), set()).discard(id)
                if row.get(field) is not None:
                    index.setdefault(_low(row[field]), set()).add(id)

    def _indexed(self, kind: str, field: Field) -> dict[Any, set[str]]:
        index = self._index.get((kind, field.name))
        if index is None:
            index = self._index[kind, field.name] = {}
            for id, row in self.rows(kind).items():
                if row.get(field.name) is not None:
                    index.setdefault(_low(row[field.name]), set()).add(id)
        return index

    def _seed(self, people: int, seed: int) -> None:
        """Make the people that are there from the beginning, every third of them a lead."""
        empty = {
            name: {field.name: False if field.type == "boolean" else None for field in self.kind(name).fields.values()}
            for name in ("Contact", "Lead")
        }
        accounts: dict[str, str] = {}
        for number in range(people):
            one = person(number, seed=seed, people=people)
            name = "Lead" if number % 3 == 2 else "Contact"
            self._made += 1
            row = {
                **empty[name], **_defaults(name), "Id": suffixed(f"{self.kind(name).prefix}Sim00{self._made:07d}"),
                "FirstName": one.first_name, "LastName": one.last_name, "Name": f"{one.first_name} {one.last_name}",
                "Email": one.email, "Phone": one.phone, "Title": one.title, "OwnerId": self.user, "Tags__c": ";".join(one.tags) or None,
                "HasOptedOutOfEmail": one.opted_out, "CreatedDate": one.created_at // 1000,
                "LastModifiedDate": one.updated_at // 1000, "SystemModstamp": one.updated_at // 1000,
            }  # fmt: skip
            place = {"City": one.city, "State": one.state, "Country": one.country, "PostalCode": one.postal_code}
            if name == "Lead":
                row |= {**place, "Company": one.company, "Status": _STATUSES[one.status]}
            else:
                if one.company not in accounts:
                    accounts[one.company] = self.make("Account", {"Name": one.company})
                row |= {f"Mailing{part}": value for part, value in place.items()} | {"AccountId": accounts[one.company]}
            self._rows[name][row["Id"]] = {key: value for key, value in row.items() if key in empty[name]}
            self._order[name].append((row["SystemModstamp"], row["Id"]))


def _defaults(name: str) -> dict[str, Any]:
    if name == "Lead":
        return {"Status": "Open - Not Contacted"}
    return {"Status": "Not Started", "Priority": "Normal"} if name == "Task" else {}


def _low(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _key(field: Field, value: Any) -> Any:
    return _low(suffixed(value) if field.type in ("id", "reference") and isinstance(value, str) and len(value) == 15 else value)


def _told(field: Field, value: Any) -> Any:
    """Return a value as it is answered."""
    if field.type == "datetime" and value is not None:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    return value


def _shaped(kind: Kind, row: dict[str, Any], readers: list[tuple[str, Callable[[dict[str, Any]], Any]]]) -> dict[str, Any]:
    shaped: dict[str, Any] = {"attributes": {"type": kind.name, "url": f"/services/data/v63.0/sobjects/{kind.name}/{row['Id']}"}}
    for name, read in readers:
        value = read(row)
        if "." not in name:
            shaped[kind.fields[name.lower()].name] = value
            continue
        relation, _, inner = name.partition(".")
        by, target = PARENTS[kind.name, relation]
        url = f"/services/data/v63.0/sobjects/{target}/{row[by]}"
        known = shaped.get(relation) or {"attributes": {"type": target, "url": url}}
        shaped[relation] = {**known, inner: value} if row.get(by) else None
    return shaped


def _found(search: Search, row: Mapping[str, Any]) -> bool:
    words = words_of(" ".join(str(row.get(name) or "") for name in _SEARCHED))
    return all(
        all(word in words for word in (term[:-1] if more else term)) and (not more or any(w.startswith(term[-1]) for w in words))
        for term, more in search.terms
    )
