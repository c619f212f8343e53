"""Segments as campaigns, and who is in them as their members.

Source: Object Reference, "Campaign", "CampaignMember".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tailorbird.connectors.rest import RemoteConflict, RemoteError, RemoteNotFound
from tailorbird.connectors.salesforce.answers import VENDOR, error_of, long_id, object_of
from tailorbird.connectors.salesforce.matching import parts
from tailorbird.connectors.salesforce.org import Org
from tailorbird.connectors.salesforce.soql import literal, one_of, select
from tailorbird.crm.model import Written

__all__ = ["set_members"]

_COLUMNS: Final = {"contact": "ContactId", "lead": "LeadId"}
_NAME: Final = 80


def set_members(org: Org, segment: str, adding: Sequence[str], removing: Sequence[str]) -> list[Written]:
    """Make people members of the campaign of a segment's name, others no longer; a result per id, in order."""
    results: dict[str, Written] = {}
    ids: dict[str, str] = {}
    for told in dict.fromkeys([*adding, *removing]):
        id = long_id(told)
        if id is None or object_of(id) is None:
            results[told] = _failed(told, RemoteNotFound(f"{VENDOR} has no person with this id"))
        else:
            ids[told] = id
    campaign = _campaign(org, segment, make=any(told in ids for told in adding))
    held = _members(org, campaign, sorted(set(ids.values()))) if campaign else {}
    joining = [told for told in dict.fromkeys(adding) if told in ids and ids[told] not in held]
    leaving = [told for told in dict.fromkeys(removing) if told in ids and ids[told] in held]
    rows = [
        ("CampaignMember", {"CampaignId": campaign, _COLUMNS[object_of(ids[told]) or ""]: ids[told]}) for told in joining
    ]  # fmt: skip
    answers = [*org.create_many(rows), *org.delete_many([held[ids[told]] for told in leaving])]
    for told, answer in zip([*joining, *leaving], answers, strict=True):
        if not answer.get("success"):
            error = error_of(answer.get("errors"))
            gone = told in leaving and isinstance(error, RemoteNotFound)
            if not gone and not (told in joining and isinstance(error, RemoteConflict)):  # it is as it should be already
                results[told] = _failed(told, error)
    return [results.get(told) or Written(key=told, id=ids[told]) for told in [*adding, *removing]]


def _campaign(org: Org, segment: str, *, make: bool) -> str | None:
    name = segment[:_NAME]
    # Two may have one name: everybody takes the one made first.
    found = org.ask(select(["Id"], "Campaign", where=[f"Name = {literal(name)}"], order=["CreatedDate", "Id"], limit=1))
    if found:
        return str(found[0]["Id"])
    return org.create("Campaign", {"Name": name, "IsActive": True}) if make else None


def _members(org: Org, campaign: str, people: Sequence[str]) -> dict[str, str]:
    """Return the ids of memberships by those of their people."""
    held: dict[str, str] = {}
    for object, column in _COLUMNS.items():
        for part in parts([id for id in people if object_of(id) == object]):
            where = [f"CampaignId = {literal(campaign)}", one_of(column, part)]
            for row in org.ask(select(["Id", column], "CampaignMember", where=where)):
                held[row[column]] = row["Id"]
    return held


def _failed(key: str, error: RemoteError) -> Written:
    return Written(key=key, error=error.code, detail=error.message, retry_after=error.retry_after)
