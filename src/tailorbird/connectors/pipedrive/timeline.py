"""Activities as Pipedrive's activities (second generation of its API) and notes (first), found again by their marker.

Source: Pipedrive API v2, "Activities"; v1, "Notes".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from typing import Any, Final

from tailorbird.connectors.rest import (
    AuthExpired,
    AuthRevoked,
    QuotaExhausted,
    RateLimited,
    RemoteError,
    RemoteNotFound,
    Transient,
    Transport,
    Unsupported,
)
from tailorbird.core.event import Json
from tailorbird.crm.model import Activity, Logged

__all__ = ["ACTIVITIES", "Timeline", "marker"]

ACTIVITIES: Final[Mapping[str, str]] = {
    "email_sent": "activities", "call": "activities", "meeting": "activities", "task": "activities", "email_opened": "notes",
    "link_clicked": "notes", "property_view": "notes", "website_visit": "notes", "form_submission": "notes",
    "reply_received": "notes", "text_message": "notes", "note": "notes",
}  # fmt: skip
"""What each kind becomes."""

_TYPES: Final = {"email_sent": "email", "call": "call", "meeting": "meeting", "task": "task"}
_DONE: Final = ("done", "completed")
_TOLD: Final = ("url", "campaign", "from", "to", "phone", "direction", "status")
_PAGES: Final = 20


def marker(key: str) -> str:
    """Return what marks the activity with this key."""
    return f"[tb-{sha256(key.encode()).hexdigest()[:16]}]"


class Timeline:
    """Writes activities of one company. ``old`` is the path of the first generation of the API, ``pages`` reads the second's."""

    def __init__(self, transport: Transport, old: str, pages: Callable[[str, Mapping[str, str]], Iterator[Any]]) -> None:
        self._transport = transport
        self._old = old
        self._pages = pages

    def log(self, activities: Sequence[Activity]) -> list[Logged]:
        """Write activities, each with its own result, in order.

        Raises when our credentials are refused. Once the CRM fails or is over its limit, what follows is not tried.
        """
        seen: dict[tuple[str, str], dict[str, str]] = {}
        stopped: RemoteError | None = None
        results = []
        for activity in activities:
            failed = stopped
            if failed is None:
                try:
                    results.append(self._log(activity, seen))
                    continue
                except (AuthExpired, AuthRevoked):
                    raise
                except (Transient, RateLimited, QuotaExhausted) as error:
                    stopped = failed = error
                except RemoteError as error:
                    failed = error
            results.append(Logged(key=activity.key, error=failed.code, detail=failed.message, retry_after=failed.retry_after))
        return results

    def _log(self, activity: Activity, seen: dict[tuple[str, str], dict[str, str]]) -> Logged:
        collection = ACTIVITIES.get(activity.kind)
        if collection is None:
            raise Unsupported(f"Pipedrive takes no {activity.kind:.60}.")
        if not activity.record.isdecimal():
            raise RemoteNotFound("Pipedrive has no person with such an id.")
        place = (collection, activity.record)
        if place not in seen:
            found = self._activities(activity.record) if collection == "activities" else self._notes(activity.record)
            seen[place] = dict(found)
        mark = marker(activity.key)
        if mark in seen[place]:
            return Logged(key=activity.key, id=seen[place][mark], found=True)
        path, body = (
            ("api/v2/activities", _activity(activity)) if collection == "activities" else (f"{self._old}/notes", _note(activity))
        )
        told: Any = self._transport.request("POST", path, json=body).json()
        seen[place][mark] = str(told["data"]["id"])
        return Logged(key=activity.key, id=seen[place][mark])

    def _activities(self, record: str) -> Iterator[tuple[str, str]]:
        for item in self._pages("api/v2/activities", {"person_id": record, "limit": "500"}):
            yield _mark(item.get("note")), str(item["id"])

    def _notes(self, record: str) -> Iterator[tuple[str, str]]:
        """Yield what the person has in notes, which are counted through: the first generation knows no cursors."""
        start = 0
        for _ in range(_PAGES):
            params = {"person_id": record, "start": str(start), "limit": "100"}
            told: Any = self._transport.request("GET", f"{self._old}/notes", params=params).json()
            for item in told.get("data") or ():  # null where there are none
                yield _mark(item.get("content")), str(item["id"])
            pages = (told.get("additional_data") or {}).get("pagination") or {}
            if not pages.get("more_items_in_collection"):
                return
            start = int(pages.get("next_start") or start + 100)


def _mark(text: Any) -> str:
    _, found, rest = str(text or "").rpartition("[tb-")
    return f"[tb-{rest.partition(']')[0]}]" if found else ""


def _html(activity: Activity, *, titled: bool) -> str:
    """Return what is noted, as HTML: nothing of it is a tag of somebody else's."""
    told = [f"{name}: {activity.data[name]}" for name in _TOLD if activity.data.get(name)]
    title = [f"<b>{escape(activity.subject or _title(activity))}</b>"] if titled else []
    lines = [*title, *(escape(line) for line in (*activity.body.splitlines(), *told, marker(activity.key)))]
    return "<br>".join(lines)


def _title(activity: Activity) -> str:
    return activity.kind.replace("_", " ").capitalize()


def _note(activity: Activity) -> dict[str, Json]:
    at = datetime.fromtimestamp(activity.at // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return {"content": _html(activity, titled=True), "person_id": int(activity.record), "add_time": at}


def _activity(activity: Activity) -> dict[str, Json]:
    when = datetime.fromtimestamp(activity.at // 1000, UTC)
    seconds = activity.data.get("duration")
    made: dict[str, Json] = {
        "subject": activity.subject or _title(activity), "type": _TYPES[activity.kind],
        "participants": [{"person_id": int(activity.record), "primary": True}], "due_date": when.strftime("%Y-%m-%d"),
        "due_time": when.strftime("%H:%M"), "done": activity.kind != "task" or activity.data.get("status") in _DONE,
        "note": _html(activity, titled=False),
    }  # fmt: skip
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0:
        minutes = -(-int(seconds) // 60)
        made["duration"] = f"{minutes // 60:02d}:{minutes % 60:02d}"
    return made
