"""Writing people: our words into fields, one at a time or 200 in a call, each row with its own result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from tailorbird.connectors.rest import RemoteConflict, RemoteError, RemoteInvalid, RemoteNotFound
from tailorbird.connectors.salesforce.answers import VENDOR, error_of, long_id, object_of
from tailorbird.connectors.salesforce.matching import account_ids, match_key, parts, resolve_rows
from tailorbird.connectors.salesforce.objects import OBJECTS, field_of
from tailorbird.connectors.salesforce.org import Org
from tailorbird.connectors.salesforce.soql import column, one_of, select
from tailorbird.core.event import Json
from tailorbird.crm.model import Row, Written
from tailorbird.errors import InvalidInput

__all__ = ["Writer"]

Lists = Literal["merge", "replace"]
_ACCOUNT: Final = "Account.Name"


class Writer:
    """Writes people into one organisation. ``objects`` are the kinds in use, the default first."""

    def __init__(self, org: Org, objects: Sequence[str], tags_field: str) -> None:
        self._org = org
        self._objects = objects
        self._tags = tags_field

    def create(self, row: Row) -> Written:
        """Make a record; raises ``RemoteConflict`` with the id of who matches."""
        object = self._object(row)
        there = resolve_rows(self._org, [row], self._objects).get(row.key)
        if there is not None:
            raise RemoteConflict(f"{VENDOR} has this {there[0]} already", existing=there[1])
        values, dropped = self._values(object, row, self._accounts([row]))
        id = self._org.create(OBJECTS[object], values)
        return Written(key=row.key, id=long_id(id), created=True, dropped=dropped)

    def update(self, row: Row, lists: Lists) -> Written:
        """Change the fields given of a record."""
        object, id = object_of(row.id or ""), long_id(row.id or "")
        if object is None or id is None:
            raise RemoteNotFound(
                f"{VENDOR} has no person with this id", hint="Ids of contacts begin with 003, of leads with 00Q."
            )
        values, dropped = self._values(object, row, self._accounts([row]))
        if lists == "merge":
            values = self._merged(object, {id: values})[id]
        self._org.change(OBJECTS[object], id, values)
        return Written(key=row.key, id=id, dropped=dropped)

    def upsert_many(self, rows: Sequence[Row], lists: Lists) -> list[Written]:
        """Write many rows; those that stand for one person are written one after the other, in order."""
        results: dict[int, Written] = {}
        waiting = list(range(len(rows)))
        while waiting:
            now, waiting = self._at_once(rows, waiting)
            results |= self._write(rows, now, lists)
        return [results[place] for place in range(len(rows))]

    def _at_once(self, rows: Sequence[Row], places: Sequence[int]) -> tuple[dict[int, tuple[str, str | None]], list[int]]:
        """Return (object, id) by place of rows that stand for different people, and the places of the rest."""
        unknown = [msgspec.structs.replace(rows[p], key=str(p)) for p in places if rows[p].id is None]
        matched = resolve_rows(self._org, [row for row in unknown if not self._external(row)], self._objects)
        now: dict[int, tuple[str, str | None]] = {}
        later: list[int] = []
        seen: set[object] = set()
        for place in places:
            row = rows[place]
            object, id = (row.object or self._objects[0], None) if row.id is None else (object_of(row.id) or "", long_id(row.id))
            object, id = matched.get(str(place), (object, id))
            identity = id or match_key(row) or place
            if identity in seen:
                later.append(place)
            else:
                seen.add(identity)
                now[place] = (object, id)
        return now, later

    def _write(self, rows: Sequence[Row], now: Mapping[int, tuple[str, str | None]], lists: Lists) -> dict[int, Written]:
        results: dict[int, Written] = {}
        dropped: dict[int, tuple[str, ...]] = {}
        making: list[tuple[int, str, dict[str, Json]]] = []
        changing: list[tuple[int, str, dict[str, Json]]] = []
        by_external: dict[tuple[str, str], list[tuple[int, dict[str, Json]]]] = {}
        accounts = self._accounts([rows[place] for place in now])
        for place, (kind, id) in now.items():
            row = rows[place]
            try:
                if row.id is not None and (id is None or not kind):
                    raise RemoteNotFound(f"{VENDOR} has no person with this id")
                object = kind if id else self._object(row)
                values, dropped[place] = self._values(object, row, accounts)
            except RemoteError as error:
                results[place] = _failed(row, error)
                continue
            external = self._external(row) if id is None and not (lists == "merge" and _listed(row)) else ""
            if id is not None:
                changing.append((place, object, {**values, "Id": id}))
            elif external:
                by_external.setdefault((object, external), []).append((place, {**values, external: row.match[external]}))
            else:
                making.append((place, object, values))
        if lists == "merge":
            changing = self._merge_many(changing)
        done = list(
            zip([p for p, _, _ in changing], self._org.change_many([(OBJECTS[o], v) for _, o, v in changing]), strict=True)
        )
        done += zip([p for p, _, _ in making], self._org.create_many([(OBJECTS[o], v) for _, o, v in making]), strict=True)
        for (object, field), told in by_external.items():
            answers = self._org.upsert_many(OBJECTS[object], field, [values for _, values in told])
            done += zip([place for place, _ in told], answers, strict=True)
        made = {place for place, _, _ in making}
        for place, answer in done:
            results[place] = _written(rows[place], answer, place in made, dropped[place])
        return results

    def _object(self, row: Row) -> str:
        object = row.object or self._objects[0]
        if object not in self._objects:
            raise RemoteInvalid(
                f"{VENDOR}: {object:.40} is no kind of person here", hint=f"The kinds are {', '.join(self._objects)}."
            )
        return object

    def _external(self, row: Row) -> str:
        """Return the external id that a row is matched by, as its object declares it; "" where it is by none."""
        object = row.object or self._objects[0]
        if row.id is not None or object not in self._objects or not set(row.match) - {"email", "phone"}:
            return ""
        shown = self._org.shown(object)
        return next((name for name, value in row.match.items() if value and name in shown and shown[name].external), "")

    def _accounts(self, rows: Sequence[Row]) -> dict[str, str]:
        """Return accounts by the names that rows of contacts give as companies."""
        names = [name for row in rows if isinstance(name := row.values.get("company"), str) and name]
        return account_ids(self._org, names) if names and "contact" in self._objects else {}

    def _values(self, object: str, row: Row, accounts: Mapping[str, str]) -> tuple[dict[str, Json], tuple[str, ...]]:
        """Return the fields to be written, and the names of ours that this object has no place for."""
        values: dict[str, Json] = {}
        dropped: list[str] = []
        for name, value in row.values.items():
            theirs = field_of(object, name, self._tags)
            if theirs == _ACCOUNT:
                known = accounts.get(value.casefold()) if isinstance(value, str) else None
                if value is None or known is not None:
                    values["AccountId"] = known
                else:  # no account is made up, and none is guessed among several
                    dropped.append(name)
            elif theirs is None:
                dropped.append(name)
            else:
                try:
                    values[column(theirs)] = ";".join(str(part) for part in value) if isinstance(value, list | tuple) else value
                except InvalidInput as error:
                    raise RemoteInvalid(error.message, hint=error.hint, fields=(name,)) from None
        return values, tuple(dropped)

    def _merge_many(self, changing: Sequence[tuple[int, str, dict[str, Json]]]) -> list[tuple[int, str, dict[str, Json]]]:
        merged: dict[str, dict[str, Json]] = {}
        for kind in self._objects:
            merged |= self._merged(kind, {str(v["Id"]): v for _, object, v in changing if object == kind})
        return [(place, object, merged[str(values["Id"])]) for place, object, values in changing]

    def _merged(self, object: str, rows: Mapping[str, dict[str, Json]]) -> dict[str, dict[str, Json]]:
        """Return what is to be written, by id, with what their lists hold already."""
        shown = self._org.shown(object) if rows else {}
        lists = sorted({n for values in rows.values() for n in values if n in shown and shown[n].field.type == "list"})
        held: dict[str, dict[str, Any]] = {}
        for part in parts(sorted(rows)) if lists else ():
            for row in self._org.ask(select(["Id", *lists], OBJECTS[object], where=[one_of("Id", part)])):
                held[row["Id"]] = row
        return {id: {**values, **_added(values, held.get(id, {}), lists)} for id, values in rows.items()}


def _added(values: Mapping[str, Json], held: Mapping[str, Any], lists: Sequence[str]) -> dict[str, Json]:
    both = {
        name: [*str(held.get(name) or "").split(";"), *str(values[name] or "").split(";")] for name in lists if name in values
    }
    return {name: ";".join(part for part in dict.fromkeys(all_parts) if part) for name, all_parts in both.items()}


def _listed(row: Row) -> bool:
    return any(isinstance(value, list | tuple) for value in row.values.values())


def _failed(row: Row, error: RemoteError) -> Written:
    return Written(key=row.key, id=error.existing, error=error.code, detail=error.message, retry_after=error.retry_after)


def _written(row: Row, answer: Mapping[str, Any], made: bool, dropped: tuple[str, ...]) -> Written:
    if not answer.get("success"):
        return _failed(row, error_of(answer.get("errors")))
    id = answer.get("id")
    return Written(
        key=row.key, id=long_id(id) if isinstance(id, str) else None, created=bool(answer.get("created", made)), dropped=dropped
    )
