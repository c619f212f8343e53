"""Writing contacts: one by one, and a hundred at a time with a result for each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from tailorbird.connectors.hubspot.answers import path_of, row_errors
from tailorbird.connectors.hubspot.link import Link
from tailorbird.connectors.hubspot.words import Words
from tailorbird.connectors.rest import (
    RemoteConflict,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Transient,
)
from tailorbird.core.event import Json
from tailorbird.crm.model import Row, Written

__all__ = ["BATCH", "Writing", "in_batches"]

BATCH: Final = 100
"""How many rows one call takes."""

T = TypeVar("T")


class Writing:
    """Writes contacts. ``find_phone`` returns the id of the contact with a number."""

    def __init__(self, link: Link, words: Words, find_phone: Callable[[str], str | None]) -> None:
        self._link = link
        self._words = words
        self._find_phone = find_phone
        self._lock = threading.Lock()

    def create(self, row: Row) -> Written:
        """Make a contact."""
        sent = self._sent(row, merge=False)
        told = self._link.send("POST", path_of("contacts"), json={"properties": dict(sent), "associations": []})
        return self._done(row, sent, told, created=True)

    def update(self, row: Row, *, merge: bool) -> Written:
        """Change a contact."""
        if not row.id:
            raise RemoteInvalid("a row without an id cannot be updated.", hint="Give the id, or use upsert_many.")
        sent = self._sent(row, merge=merge)
        told = self._link.send("PATCH", path_of("contacts", row.id), json={"properties": dict(sent)}, safe=True)
        return self._done(row, sent, told)

    def upsert_many(self, rows: Sequence[Row], *, merge: bool) -> list[Written]:
        """Write many; whatever became of a row is said in its result."""
        results: dict[int, Written] = {}
        batches: dict[str, list[tuple[int, str, Row, dict[str, str]]]] = {"update": [], "upsert": []}
        for place, row in enumerate(rows):
            try:
                sent = self._sent(row, merge=merge)
                id = row.id
                email = "" if id else (row.match.get("email") or "").strip()
                if not id and not email and row.match.get("phone"):
                    id = self._find_phone(row.match["phone"])
                if id:
                    batches["update"].append((place, id, row, sent))
                elif email:
                    batches["upsert"].append((place, email, row, {"email": email, **sent}))
                else:
                    results[place] = self.create(row)
            except RemoteError as error:
                if isinstance(error, Transient) and not results:
                    raise
                results[place] = _failed(row, error)
        for verb, found in batches.items():
            for batch in in_batches(found, key=lambda one: one[1].casefold()):
                self._batch(verb, batch, results)
        return [results[place] for place in range(len(rows))]

    def _batch(self, verb: str, batch: list[tuple[int, str, Row, dict[str, str]]], results: dict[int, Written]) -> None:
        by = {"idProperty": "email"} if verb == "upsert" else {}
        inputs: list[Json] = [
            {"id": target, **by, "properties": dict(sent), "objectWriteTraceId": str(place)} for place, target, _, sent in batch
        ]
        try:
            told = self._link.send("POST", path_of("contacts", "batch", verb), json={"inputs": inputs}, safe=True)
        except (RemoteInvalid, RemoteConflict, RemoteNotFound) as error:
            if len(batch) == 1:
                results[batch[0][0]] = _failed(batch[0][2], error)
                return
            for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):  # one wrong row refused them all: find it
                self._batch(verb, half, results)
            return
        except RemoteError as error:
            if not results:
                raise
            results |= {place: _failed(row, error) for place, _, row, _ in batch}
            return
        errors = row_errors(told)
        kept = {_named(one, verb): one for one in told.get("results") or ()}
        for place, target, row, sent in batch:
            one = kept.get(target.casefold())
            said = errors.get(str(place)) or errors.get("")
            if one is not None:
                results[place] = self._done(row, sent, one, created=bool(one.get("new")))
            else:
                lost = Transient("HubSpot did not say what became of the row", sent=True)
                results[place] = _failed(row, said or lost)

    def _sent(self, row: Row, *, merge: bool) -> dict[str, str]:
        sent, unknown = self._words.properties(row.values, merge=merge)
        if unknown:
            said = f"HubSpot has no property for {', '.join(unknown)}"
            raise RemoteInvalid(said, hint="Set tags_property of the connection.", fields=unknown)
        if self._words.tags and sent.get(self._words.tags):
            self._allow([one for one in sent[self._words.tags].split(";") if one])
        return sent

    def _allow(self, tags: list[str]) -> None:
        """Make the tags choices of their property, which takes no others; the property is made where it is missing."""
        name = self._words.tags
        with self._lock:
            told = self._link.described().get(name)
            options: list[Any] = list((told or {}).get("options") or ())
            missing = [tag for tag in dict.fromkeys(tags) if tag not in {option["value"] for option in options}]
            if not missing:
                return
            known = [{"label": one["label"], "value": one["value"], "hidden": bool(one.get("hidden"))} for one in options]
            known += [{"label": tag, "value": tag, "hidden": False} for tag in missing]
            listed: list[Json] = [{**one, "displayOrder": place} for place, one in enumerate(known)]
            if told is None:
                made: dict[str, Json] = {"name": name, "label": "Tags", "type": "enumeration", "fieldType": "checkbox"}
                made |= {"groupName": "contactinformation", "options": listed}
                self._link.send("POST", "crm/v3/properties/contacts", json=made)
            else:
                self._link.send("PATCH", f"crm/v3/properties/contacts/{name}", json={"options": listed}, safe=True)
            self._link.described(again=True)

    def _done(self, row: Row, sent: dict[str, str], told: Any, *, created: bool = False) -> Written:
        dropped = self._words.dropped(row.values, sent, told.get("properties") or {})
        return Written(key=row.key, id=str(told["id"]), created=created, dropped=dropped)


def _named(told: Any, verb: str) -> str:
    return str((told.get("properties") or {}).get("email") if verb == "upsert" else told.get("id")).casefold()


def _failed(row: Row, error: RemoteError) -> Written:
    detail = f"{error.message} {error.hint}".strip()
    return Written(key=row.key, id=error.existing or row.id, error=error.code, detail=detail, retry_after=error.retry_after)


def in_batches(items: Sequence[T], *, key: Callable[[T], str]) -> Iterator[list[T]]:
    """Yield the items in batches in which no key stands twice: the first of each first.

    >>> list(in_batches(["a", "b", "A"], key=str.lower))
    [['a', 'b'], ['A']]
    """
    left = list(items)
    while left:
        batch: dict[str, T] = {}
        rest = []
        for item in left:
            if len(batch) < BATCH and key(item) not in batch:
                batch[key(item)] = item
            else:
                rest.append(item)
        yield list(batch.values())
        left = rest
