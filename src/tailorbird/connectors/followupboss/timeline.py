"""Activities as notes, calls, text messages, tasks, events and e-mail marketing, found again by what marks them.

Source: docs.followupboss.com, "Notes", "Calls", "Text Messages", "Tasks", "Events", "Email Marketing Integration Guide".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from tailorbird.connectors.followupboss.people import instant, iso
from tailorbird.connectors.rest import (
    Answer,
    AuthExpired,
    AuthRevoked,
    Forbidden,
    Limiter,
    QuotaExhausted,
    RateLimited,
    RemoteError,
    RemoteInvalid,
    RemoteNotFound,
    Transient,
    Transport,
    Unsupported,
)
from tailorbird.core.context import SECOND
from tailorbird.core.event import Json
from tailorbird.crm.model import Activity, Logged

__all__ = ["ACTIVITIES", "Timeline", "marker"]

ACTIVITIES: Final[Mapping[str, str]] = {
    "email_sent": "emEvents", "email_opened": "emEvents", "link_clicked": "emEvents", "property_view": "events",
    "website_visit": "events", "form_submission": "events", "reply_received": "notes", "meeting": "notes", "note": "notes",
    "call": "calls", "text_message": "textMessages", "task": "tasks",
}  # fmt: skip
"""What each kind becomes."""

_MAIL: Final = {"email_sent": "delivered", "email_opened": "open", "link_clicked": "click"}
_EVENTS: Final = {"property_view": "Viewed Property", "website_visit": "Visited Website", "form_submission": "General Inquiry"}
_LISTED: Final = {"textMessages": "textmessages"}  # this list is called by another name than its address
_PAGES: Final = 20
_SETTLING: Final = 10 * SECOND


def marker(key: str) -> str:
    """Return what marks the activity with this key.

    >>> marker("k")
    '[tb-8254c329a92850f6]'
    """
    return f"[tb-{sha256(key.encode()).hexdigest()[:16]}]"


class Timeline:
    """Writes activities of one account. ``there`` says whether a person exists; events may be listed by few requests only.

    Most kinds carry a marker. E-mail marketing and tasks have no place for one: they are told by type, second, and campaign or name.
    """

    def __init__(
        self, transport: Transport, system: str, *, there: Callable[[str], bool], events: Limiter, sleep: Callable[[float], None]
    ) -> None:
        self._transport = transport
        self._system = system
        self._there = there
        self._events = events
        self._sleep = sleep
        self._campaigns: dict[str, int] = {}

    def log(self, activities: Sequence[Activity]) -> list[Logged]:
        """Write activities, each with its own result, in order.

        Raises when our credentials are refused. Once the CRM fails or is over its limit, what follows is not tried.
        """
        seen: dict[tuple[str, str], dict[str, str]] = {}
        stopped: RemoteError | None = None
        results = []
        for activity in activities:
            failed: RemoteError
            if stopped is None:
                try:
                    results.append(self._log(activity, seen))
                    continue
                except (AuthExpired, AuthRevoked):
                    raise
                except (Transient, RateLimited, QuotaExhausted) as error:
                    stopped = failed = error
                except RemoteError as error:
                    failed = self._perhaps_settling(activity, error)
            else:
                failed = stopped
            results.append(Logged(key=activity.key, error=failed.code, detail=failed.message, retry_after=failed.retry_after))
        return results

    def _perhaps_settling(self, activity: Activity, error: RemoteError) -> RemoteError:
        """Return the error, or that it passes: a new person takes no activities until they are assigned."""
        if isinstance(error, RemoteNotFound | Forbidden) and activity.record.isdecimal():
            try:
                if self._there(activity.record) and isinstance(error, RemoteNotFound):
                    return Transient("Follow Up Boss does not take activities of this person yet", retry_after=_SETTLING)
            except RemoteError as other:
                return other
        return error

    def _log(self, activity: Activity, seen: dict[tuple[str, str], dict[str, str]]) -> Logged:
        collection = ACTIVITIES.get(activity.kind)
        if collection is None:
            raise Unsupported(f"Follow Up Boss takes no {activity.kind:.60}.")
        if not activity.record.isdecimal():
            raise RemoteNotFound("Follow Up Boss has no person with such an id.")
        body = self._body(collection, activity)
        place = (collection, activity.record)
        if place not in seen:
            seen[place] = self._written(*place)
        mark = _mark(collection, body)
        if mark in seen[place]:
            return Logged(key=activity.key, id=seen[place][mark], found=True)
        sent: Json = {"emEvents": [body]} if collection == "emEvents" else body
        answer = self._transport.request("POST", collection, json=sent)
        id = self._id(collection, answer, mark, place)
        seen[place][mark] = id
        return Logged(key=activity.key, id=id)

    def _id(self, collection: str, answer: Answer, mark: str, place: tuple[str, str]) -> str:
        """Return the id of what was written; the answer to an event is the person, or nothing."""
        if answer.status == 204 or not answer.body:
            raise RemoteInvalid(
                "Follow Up Boss ignored the event: a lead flow archives its source.", http_status=answer.status, sent=True,
                hint="Change the lead flow of this source in Follow Up Boss.",
            )  # fmt: skip
        told: Any = answer.json()
        if collection == "events":
            return mark.strip("[]")
        if collection == "emEvents":
            listed = told.get("emEvents") if isinstance(told, dict) else None
            return str(listed[0]["id"]) if listed and listed[0].get("id") else f"{place[1]} {mark}"
        return str(told["id"])

    def _written(self, collection: str, record: str) -> dict[str, str]:
        """Return the ids of what the person has there already, by what marks each."""
        found: dict[str, str] = {}
        params = {"personId": record, "limit": "100"}
        for _ in range(_PAGES):
            while collection == "events" and (wait := self._events.take()):
                self._sleep(wait / 1000)
            told: Any = self._transport.request("GET", collection, params=params).json()
            for item in told.get(_LISTED.get(collection, collection)) or ():
                mark = _mark(collection, item)
                found[mark] = mark.strip("[]") if collection == "events" else str(item.get("id"))
            next = (told.get("_metadata") or {}).get("next")
            if not next:
                break
            params["next"] = str(next)
        return found

    def _body(self, collection: str, activity: Activity) -> dict[str, Json]:
        mark, data, person = marker(activity.key), activity.data, int(activity.record)
        subject = activity.subject or activity.kind.replace("_", " ").capitalize()
        text = "\n\n".join(part for part in (activity.body, mark) if part)
        match collection:
            case "notes":
                return {"personId": person, "subject": subject, "body": text, "isHtml": False}
            case "calls":
                told: dict[str, Json] = {
                    "personId": person, "isIncoming": data.get("direction") == "in", "note": f"{subject}\n{text}",
                    "duration": _whole(data.get("duration")), "phone": data.get("phone"), "toNumber": data.get("to"),
                    "fromNumber": data.get("from"), "outcome": data.get("status"),
                }  # fmt: skip
                return {name: value for name, value in told.items() if value is not None}
            case "textMessages":
                told = {
                    "personId": person, "message": activity.body or subject, "isIncoming": data.get("direction") == "in",
                    "toNumber": data.get("to") or data.get("phone"), "fromNumber": data.get("from"),
                    "externalLabel": f"{self._system} {mark}", "externalUrl": data.get("url"),
                }  # fmt: skip
                return {name: value for name, value in told.items() if value is not None}
            case "tasks":
                kind = data.get("type")
                return {
                    "personId": person, "name": subject, "dueDateTime": iso(activity.at),
                    "type": kind if isinstance(kind, str) else "Follow Up",
                }  # fmt: skip
            case "emEvents":
                mail: dict[str, Json] = {
                    "type": _MAIL[activity.kind], "personId": person, "occurred": iso(activity.at),
                    "campaignId": self._campaign(activity, subject), "recipient": data.get("to"),
                    "url": data.get("url") if activity.kind == "link_clicked" else None,
                }  # fmt: skip
                return {name: value for name, value in mail.items() if value is not None}
        event: dict[str, Json] = {
            "source": self._system, "system": self._system, "type": _EVENTS[activity.kind], "message": f"{subject}\n{text}",
            "occurredAt": iso(activity.at), "person": {"id": person}, "pageUrl": data.get("url"),
        }  # fmt: skip
        if activity.kind == "property_view":
            told = {name: data[name] for name in ("url", "street", "city", "state", "code", "price", "mlsNumber") if name in data}
            event |= {"property": told, "pageUrl": None}
        return {name: value for name, value in event.items() if value is not None and value != {}}

    def _campaign(self, activity: Activity, subject: str) -> int:
        """Return the id of the campaign that e-mails belong to; saving one that is there gives its id."""
        name = str(activity.data.get("campaign") or subject)
        if name not in self._campaigns:
            saved: Any = self._transport.request(
                "POST", "emCampaigns", safe=True,
                json={"origin": self._system, "originId": sha256(name.encode()).hexdigest()[:32], "name": name, "subject": subject},
            ).json()  # fmt: skip
            self._campaigns[name] = int(saved["id"])
        return self._campaigns[name]


def _mark(collection: str, item: Mapping[str, Any]) -> str:
    """Return what tells one thing of a collection from others."""
    if collection == "emEvents":
        return f"{item.get('type')} {item.get('campaignId')} {instant(item.get('occurred'))} {item.get('url') or ''}"
    if collection == "tasks":
        return f"{item.get('name')} {item.get('type')} {instant(item.get('dueDateTime'))}"
    # The text of a message may be hidden from us; its label is not.
    field = {"notes": "body", "calls": "note", "textMessages": "externalLabel", "events": "message"}[collection]
    _, found, rest = str(item.get(field) or "").rpartition("[tb-")
    return f"[tb-{rest.partition(']')[0]}]" if found else f"{item.get('id')}"


def _whole(value: Json) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None
