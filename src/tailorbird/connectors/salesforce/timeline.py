"""Activities as tasks and events, with a marker by which a retry finds what the first try wrote.

Source: Object Reference, "Task", "Event".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from tailorbird.connectors.rest import RemoteError, RemoteInvalid, RemoteNotFound, Unsupported
from tailorbird.connectors.salesforce.answers import VENDOR, error_of, long_id, object_of
from tailorbird.connectors.salesforce.matching import parts
from tailorbird.connectors.salesforce.org import Org
from tailorbird.connectors.salesforce.soql import column, instant, one_of, select
from tailorbird.core.event import Json
from tailorbird.crm.model import Activity, ActivityKind, Logged

__all__ = ["ACTIVITIES", "Timeline"]

ACTIVITIES: Final[Mapping[str, str]] = {
    str(kind): "Event" if kind == ActivityKind.MEETING else "Task" for kind in ActivityKind
}  # fmt: skip
"""What each kind becomes."""

_SUBTYPES: Final = {
    "email_sent": "Email",
    "email_opened": "Email",
    "link_clicked": "Email",
    "reply_received": "Email",
    "call": "Call",
}
_DIRECTIONS: Final = {"in": "Inbound", "out": "Outbound"}
_DONE: Final = frozenset({"done", "completed"})
_TOLD: Final = ("url", "campaign", "from", "to", "phone", "direction", "duration")
_PLAIN: Final = re.compile(r"[\w.:@/+-]{1,160}")
_SUBJECT: Final = 255
_BODY: Final = 31_000
_MEETING: Final = 30


class Timeline:
    """Writes activities into one organisation. ``key_field`` is a unique field of activities that takes the marker.

    Without one the marker stands at the end of the description, and is looked for among what the person has of that day.
    """

    def __init__(self, org: Org, key_field: str) -> None:
        self._org = org
        self._key_field = column(key_field) if key_field else ""

    def log(self, activities: Sequence[Activity]) -> list[Logged]:
        """Write activities, each with its own result, in order."""
        results: dict[str, Logged] = {}
        good: dict[str, Activity] = {}
        for activity in activities:
            try:
                _check(activity)
                good.setdefault(activity.key, activity)
            except RemoteError as error:
                results[activity.key] = _failed(activity.key, error)
        there = self._there(list(good.values()))
        results |= {key: Logged(key=key, id=id, found=True) for key, id in there.items()}
        writing = [activity for key, activity in good.items() if key not in there]
        answers = self._org.create_many([(ACTIVITIES[activity.kind], self._values(activity)) for activity in writing])
        for activity, answer in zip(writing, answers, strict=True):
            results[activity.key] = _logged(activity.key, answer)
        seen: set[str] = set()
        ordered = []
        for activity in activities:
            result = results[activity.key]
            if activity.key in seen and result.id:
                result = Logged(key=activity.key, id=result.id, found=True)
            seen.add(activity.key)
            ordered.append(result)
        return ordered

    def _values(self, activity: Activity) -> dict[str, Json]:
        values: dict[str, Json] = {
            "WhoId": long_id(activity.record), "Subject": (activity.subject or activity.kind.replace("_", " "))[:_SUBJECT],
            "Description": _description(activity, "" if self._key_field else marker(activity.key)),
        }  # fmt: skip
        if self._key_field:
            values[self._key_field] = marker(activity.key)
        duration = activity.data.get("duration")
        seconds = (
            int(duration) if isinstance(duration, int | float) and not isinstance(duration, bool) and duration >= 0 else None
        )
        if ACTIVITIES[activity.kind] == "Event":
            values |= {"StartDateTime": _moment(activity), "DurationInMinutes": max(1, -(-(seconds or _MEETING * 60) // 60))}
            if isinstance(activity.data.get("location"), str):
                values["Location"] = str(activity.data["location"])[:_SUBJECT]
            return values
        open = activity.kind == ActivityKind.TASK and activity.data.get("status") not in _DONE
        values |= {
            "ActivityDate": _day(activity), "Status": "Not Started" if open else "Completed", "Priority": "Normal",
            "TaskSubtype": _SUBTYPES.get(activity.kind, "Task"),
        }  # fmt: skip
        if activity.kind == ActivityKind.CALL:
            values["CallType"] = _DIRECTIONS.get(str(activity.data.get("direction")), "Outbound")
            if seconds is not None:
                values["CallDurationInSeconds"] = seconds
        return values

    def _there(self, activities: Sequence[Activity]) -> dict[str, str]:
        """Return the ids of those that an earlier try wrote, by key."""
        found: dict[str, str] = {}
        for kind in ("Task", "Event"):
            for part in parts([activity for activity in activities if ACTIVITIES[activity.kind] == kind]):
                found |= self._by_field(kind, part) if self._key_field else self._by_description(kind, part)
        return found

    def _by_field(self, kind: str, part: Sequence[Activity]) -> dict[str, str]:
        keys = {marker(activity.key): activity.key for activity in part}
        rows = self._org.ask(select(["Id", self._key_field], kind, where=[one_of(self._key_field, keys)]))
        return {keys[row[self._key_field]]: row["Id"] for row in rows if row[self._key_field] in keys}

    def _by_description(self, kind: str, part: Sequence[Activity]) -> dict[str, str]:
        # A description cannot be asked by: what the same people have of the same moments is few, and is looked through.
        when = "StartDateTime" if kind == "Event" else "ActivityDate"
        moments = sorted({_moment(a) if kind == "Event" else _day(a) for a in part})
        who = sorted({id for a in part if (id := long_id(a.record))})
        where = [one_of("WhoId", who), f"{when} IN ({', '.join(moments)})"]
        wanted = {marker(activity.key): activity.key for activity in part}
        found: dict[str, str] = {}
        for row in self._org.ask(select(["Id", "Description"], kind, where=where, order=["CreatedDate", "Id"])):
            last = str(row.get("Description") or "").rstrip().rpartition("\n")[2]
            if last in wanted:
                found.setdefault(wanted[last], row["Id"])
        return found


def marker(key: str) -> str:
    """Return what tells an activity from every other.

    >>> marker("act-1"), len(marker("a key of any kind"))
    ('[tailorbird:act-1]', 77)
    """
    return f"[tailorbird:{key if _PLAIN.fullmatch(key) else sha256(key.encode()).hexdigest()}]"


def _check(activity: Activity) -> None:
    if activity.kind not in ACTIVITIES:
        raise Unsupported(f"{VENDOR}: {activity.kind:.60} cannot be written")
    if object_of(activity.record) is None:
        raise RemoteNotFound(f"{VENDOR} has no person with this id")
    if not 0 <= activity.at < 253_402_300_800_000:
        raise RemoteInvalid(f"{VENDOR}: the activity's time is no date", fields=("at",))


def _description(activity: Activity, mark: str) -> str:
    told = [f"{name}: {activity.data[name]}" for name in _TOLD if activity.data.get(name) not in (None, "")]
    text = "\n\n".join(part for part in (activity.body, "\n".join(told)) if part)[:_BODY]
    return f"{text}\n\n{mark}".strip() if mark else text


def _moment(activity: Activity) -> str:
    """Return when an event begins; Salesforce keeps whole seconds, and it has to be found by what it keeps."""
    return instant(activity.at // 1000 * 1000)


def _day(activity: Activity) -> str:
    return instant(activity.at)[:10]


def _failed(key: str, error: RemoteError) -> Logged:
    return Logged(key=key, error=error.code, detail=error.message, retry_after=error.retry_after)


def _logged(key: str, answer: Mapping[str, Any]) -> Logged:
    if answer.get("success"):
        return Logged(key=key, id=long_id(str(answer.get("id"))))
    error = error_of(answer.get("errors"))
    if error.existing is not None:  # somebody with the same key was quicker, which only a unique field can tell
        return Logged(key=key, id=error.existing, found=True)
    return _failed(key, error)
