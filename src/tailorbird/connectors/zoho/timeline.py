"""Activities as Zoho's notes, tasks, calls and meetings, each with a marker by which a retry finds the first write."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from tailorbird.connectors.zoho.answers import MODULES, stamp
from tailorbird.core.context import MINUTE
from tailorbird.core.event import Json
from tailorbird.crm.model import ACTIVITY_KINDS, Activity

__all__ = ["KINDS", "TITLES", "written"]

_OWN: Final = {"task": "Tasks", "call": "Calls", "meeting": "Events"}
KINDS: Final = {str(kind): _OWN.get(str(kind), "Notes") for kind in ACTIVITY_KINDS}
"""The module that each kind of activity is written to; what Zoho has no module for is a note."""

TITLES: Final = {"Notes": "Note_Title", "Tasks": "Subject", "Calls": "Subject", "Events": "Event_Title"}
"""The field that holds the title, and in it the marker."""

_LONG: Final = 60_000


def _title(activity: Activity) -> str:
    marker = f" [tb-{sha256(activity.key.encode()).hexdigest()[:16]}]"
    said = " ".join((activity.subject or activity.kind.replace("_", " ").capitalize()).split())
    return said[: 110 - len(marker)] + marker


def written(activity: Activity, module: str) -> tuple[str, dict[str, Json]]:
    """Return the module an activity goes to and the row: contacts stand in ``Who_Id``, others in ``What_Id`` with ``$se_module``."""
    to = KINDS[activity.kind]
    row: dict[str, Json] = {TITLES[to]: _title(activity)}
    said = activity.body[:_LONG]
    if to == "Notes":
        row |= {
            "Note_Content": said or activity.subject or activity.kind,
            "Parent_Id": {"module": {"api_name": module}, "id": activity.record},
        }
        return to, row
    row["Description"] = said
    if module == MODULES[0]:
        row["Who_Id"] = {"id": activity.record}
    else:
        row |= {"What_Id": {"id": activity.record}, "$se_module": module}
    match to:
        case "Tasks":
            done = activity.data.get("status") in ("done", "completed")
            row |= {"Due_Date": stamp(activity.at)[:10], "Status": "Completed" if done else "Not Started"}
        case "Calls":
            length = activity.data.get("duration")
            seconds = int(length) if isinstance(length, int | float) and 0 <= length < 360_000 else 0
            row |= {
                "Call_Type": "Inbound" if activity.data.get("direction") == "in" else "Outbound",
                "Call_Start_Time": stamp(activity.at), "Call_Duration": f"{seconds // 60:02d}:{seconds % 60:02d}",
            }  # fmt: skip
        case _:
            row |= {"Start_DateTime": stamp(activity.at), "End_DateTime": stamp(activity.at + 30 * MINUTE)}
    return to, row
