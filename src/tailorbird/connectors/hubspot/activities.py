"""Activities as HubSpot's engagements, each written once: a unique property holds their marker, and associating twice is once."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import Any, Final

from tailorbird.connectors.hubspot.answers import path_of, row_errors
from tailorbird.connectors.hubspot.link import Link
from tailorbird.connectors.hubspot.writing import in_batches
from tailorbird.connectors.rest import (
    RemoteConflict,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Transient,
    Unsupported,
)
from tailorbird.core.event import Json
from tailorbird.crm.model import Activity, ActivityKind, Logged

__all__ = ["KINDS", "MARKER", "Timeline", "properties_of"]

MARKER: Final = "tailorbird_key"
"""The property of engagements that holds the marker of an activity."""

KINDS: Final = {
    ActivityKind.EMAIL_SENT: "emails", ActivityKind.REPLY_RECEIVED: "emails", ActivityKind.CALL: "calls",
    ActivityKind.MEETING: "meetings", ActivityKind.TEXT_MESSAGE: "communications", ActivityKind.TASK: "tasks",
    ActivityKind.NOTE: "notes", ActivityKind.EMAIL_OPENED: "notes", ActivityKind.LINK_CLICKED: "notes",
    ActivityKind.PROPERTY_VIEW: "notes", ActivityKind.WEBSITE_VISIT: "notes", ActivityKind.FORM_SUBMISSION: "notes",
}  # fmt: skip
"""What each kind of activity becomes."""

_LONGEST: Final = 65_536
_AT_ONCE: Final = 4
_HOUR: Final = 3_600_000
_SAYS: Final = {
    ActivityKind.EMAIL_OPENED: "Opened an e-mail", ActivityKind.LINK_CLICKED: "Clicked a link",
    ActivityKind.PROPERTY_VIEW: "Viewed a property", ActivityKind.WEBSITE_VISIT: "Visited the website",
    ActivityKind.FORM_SUBMISSION: "Submitted a form",
}  # fmt: skip


def marker_of(key: str) -> str:
    """Return the marker of an activity: short, and the same for the same key."""
    return sha256(key.encode()).hexdigest()[:40]


def properties_of(activity: Activity) -> dict[str, str]:
    """Return the properties of the engagement that an activity becomes."""
    get = activity.data.get
    body, subject = _markup(activity.body), activity.subject
    found: dict[str, str] = {"hs_timestamp": str(activity.at)}
    match KINDS[ActivityKind(activity.kind)]:
        case "emails":
            incoming = activity.kind == ActivityKind.REPLY_RECEIVED
            found |= {
                "hs_email_direction": "INCOMING_EMAIL" if incoming else "EMAIL", "hs_email_status": "SENT",
                "hs_email_subject": subject, "hs_email_text": activity.body[:_LONGEST],
            }  # fmt: skip
            ends = {name: {"email": str(get(name))} for name in ("from", "to") if get(name)}
            if ends:
                told = {name: [one] if name == "to" else one for name, one in ends.items()}
                found["hs_email_headers"] = json.dumps(told)
        case "calls":
            found |= {"hs_call_title": subject, "hs_call_body": body, "hs_call_status": "COMPLETED"}
            found["hs_call_direction"] = "INBOUND" if get("direction") == "in" else "OUTBOUND"
            if isinstance(duration := get("duration"), int | float):
                found["hs_call_duration"] = str(round(duration * 1000))
            if get("phone"):
                found["hs_call_from_number" if get("direction") == "in" else "hs_call_to_number"] = str(get("phone"))
        case "communications":
            found |= {"hs_communication_channel_type": "SMS", "hs_communication_logged_from": "CRM"}
            found["hs_communication_body"] = "<br>".join(part for part in (_markup(subject), body) if part)
        case "tasks":
            found |= {"hs_task_subject": subject, "hs_task_body": body, "hs_task_type": "TODO"}
            found["hs_task_status"] = "COMPLETED" if get("status") == "done" else "NOT_STARTED"
        case "meetings":
            duration = get("duration")
            lasts = round(duration * 1000) if isinstance(duration, int | float) else _HOUR
            found |= {"hs_meeting_title": subject, "hs_meeting_body": body, "hs_meeting_start_time": str(activity.at)}
            found["hs_meeting_end_time"] = str(activity.at + lasts)
        case _:
            parts = [_SAYS.get(ActivityKind(activity.kind), ""), _markup(subject), body, _markup(str(get("url") or ""))]
            found["hs_note_body"] = "<br>".join(part for part in parts if part)[:_LONGEST]
    return found


def _markup(text: str) -> str:
    return html.escape(text, quote=False).replace("\n", "<br>")[:_LONGEST]


class Timeline:
    """Writes activities into timelines."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._marked: set[str] = set()

    def log(self, activities: Sequence[Activity]) -> list[Logged]:
        """Write activities, a hundred at a time, each with its own result in order.

        The first hundred go alone, so that what keeps all from being written is raised; then some go at a time.
        """
        results: dict[int, Logged] = {}
        first, *rest = in_batches(list(enumerate(activities)), key=lambda one: one[1].key) if activities else [[]]
        if first:
            self._batch(first, results)
        if len({activity.key for activity in activities}) < len(activities):  # what comes twice must find the first
            for batch in rest:
                self._batch(batch, results)
        elif rest:
            with ThreadPoolExecutor(min(_AT_ONCE, len(rest))) as pool:
                list(pool.map(partial(self._batch, results=results), rest))
        return [results[place] for place in range(len(activities))]

    def _batch(self, batch: Sequence[tuple[int, Activity]], results: dict[int, Logged]) -> None:
        known = [one for one in batch if one[1].kind in KINDS]
        results |= {place: _refused(activity) for place, activity in batch if activity.kind not in KINDS}
        try:
            alive = self._alive({activity.record for _, activity in known}) if known else set()
        except RemoteError as error:
            self._fail(known, error, results)
            return
        nobody = RemoteNotFound("HubSpot has no such contact")
        results |= {place: _failed(one, nobody) for place, one in known if one.record not in alive}
        kinds: dict[str, list[tuple[int, Activity]]] = {}
        for place, activity in known:
            if activity.record in alive:
                kinds.setdefault(KINDS[ActivityKind(activity.kind)], []).append((place, activity))
        for kind, found in kinds.items():
            try:
                self._mark(kind)
                self._write(kind, found, results)
            except RemoteError as error:
                self._fail(found, error, results)

    def _alive(self, records: set[str]) -> set[str]:
        """Return which of these contacts there are; an engagement of nobody would hang in the air."""
        inputs: list[Json] = [{"id": id} for id in sorted(records)]
        body: Json = {"inputs": inputs, "properties": [], "propertiesWithHistory": []}
        told = self._link.send("POST", path_of("contacts", "batch", "read"), json=body, safe=True)
        return {str(one["id"]) for one in told.get("results") or ()}

    def _mark(self, kind: str) -> None:
        """Make the property of the marker where it is missing."""
        if kind in self._marked:
            return
        path = f"crm/v3/properties/{kind}"
        told: dict[str, Any] = {one["name"]: one for one in self._link.send("GET", path).get("results") or ()}
        if MARKER not in told:
            group = told.get("hs_timestamp", {}).get("groupName") or "engagement"
            made: Mapping[str, Json] = {
                "name": MARKER, "label": "Tailorbird key", "type": "string", "fieldType": "text", "groupName": group,
                "hasUniqueValue": True, "description": "Tells Tailorbird what it has written already.",
            }  # fmt: skip
            with suppress(RemoteConflict):  # somebody else made it just now
                self._link.send("POST", path, json=dict(made), safe=True)
        elif not told[MARKER].get("hasUniqueValue"):
            raise RemoteInvalid(f"the property {MARKER} of {kind} is not unique.", hint="Delete it in HubSpot: it is made anew.")
        self._marked.add(kind)

    def _write(self, kind: str, batch: Sequence[tuple[int, Activity]], results: dict[int, Logged]) -> None:
        inputs: list[Json] = []
        for place, activity in batch:
            marker = marker_of(activity.key)
            properties: dict[str, Json] = {**properties_of(activity), MARKER: marker}
            inputs.append({"id": marker, "idProperty": MARKER, "properties": properties, "objectWriteTraceId": str(place)})
        try:
            told = self._link.send("POST", path_of(kind, "batch", "upsert"), json={"inputs": inputs}, safe=True)
        except (RemoteInvalid, RemoteConflict, RemoteNotFound) as error:
            if len(batch) == 1:
                results[batch[0][0]] = _failed(batch[0][1], error)
                return
            for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
                self._write(kind, half, results)
            return
        errors = row_errors(told)
        written = {(one.get("properties") or {}).get(MARKER): one for one in told.get("results") or ()}
        pairs: list[tuple[int, Activity, str, bool]] = []
        for place, activity in batch:
            one = written.get(marker_of(activity.key))
            if one is None:
                lost = Transient("HubSpot did not say what became of the activity", sent=True)
                results[place] = _failed(activity, errors.get(str(place)) or errors.get("") or lost)
            else:
                pairs.append((place, activity, str(one["id"]), not one.get("new")))
        if pairs:
            self._associate(kind, pairs, results)

    def _associate(self, kind: str, pairs: Sequence[tuple[int, Activity, str, bool]], results: dict[int, Logged]) -> None:
        inputs: list[Json] = [{"from": {"id": id}, "to": {"id": activity.record}} for _, activity, id, _ in pairs]
        path = f"crm/v4/associations/{kind}/contacts/batch/associate/default"
        told = self._link.send("POST", path, json={"inputs": inputs}, safe=True)
        done = {(str(one["from"]["id"]), str(one["to"]["id"])) for one in told.get("results") or ()}
        for place, activity, id, found in pairs:
            if (id, activity.record) in done:
                results[place] = Logged(key=activity.key, id=id, found=found)
            else:
                results[place] = _failed(activity, RemoteNotFound("HubSpot has no such contact"))

    def _fail(self, batch: Sequence[tuple[int, Activity]], error: RemoteError, results: dict[int, Logged]) -> None:
        """Note an error for all of a batch; raise it where nothing else was done, so that the whole call failed."""
        if not results:
            raise error
        results |= {place: _failed(activity, error) for place, activity in batch if place not in results}


def _failed(activity: Activity, error: RemoteError) -> Logged:
    detail = f"{error.message} {error.hint}".strip()
    return Logged(key=activity.key, error=error.code, detail=detail, retry_after=error.retry_after)


def _refused(activity: Activity) -> Logged:
    return Logged(key=activity.key, error=Unsupported.code, detail=f"HubSpot takes no {activity.kind:.60}.")
