"""Companies: profiles of their own kind, and the link from a person to theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tailorbird.core.event import PROFILE_UPDATED, Json
from tailorbird.profiles.drafts import Draft
from tailorbird.profiles.normalise import COMPANY_ID, normalise

__all__ = ["COMPANY", "group_drafts"]

COMPANY: Final = "company"
"""The kind of profile a company is; the attribute of the same name as its identifier, ``company_id``, links a person to it."""


def group_drafts(
    company_id: Json,
    attributes: Mapping[str, Json] | None = None,
    *,
    identifiers: Mapping[str, str] | None = None,
    profile: str | None = None,
    at: int | None = None,
    id: str | None = None,
    source: str = "api",
) -> list[Draft]:
    """Return the events of "this person belongs to this company, of which we know this".

    One updates the company, and one sets the attribute ``company_id`` of the person, if one is named by ``identifiers`` or
    ``profile``. An ``id`` is shared out as ``<id>`` for the person and ``<id>.company``. Raises ``InvalidEvent`` for a
    company id that cannot be used.
    """
    value = normalise(COMPANY_ID, company_id).value
    company = Draft(
        type=PROFILE_UPDATED, data={"attributes": dict(attributes or {})}, identifiers={COMPANY_ID: value}, kind=COMPANY,
        id=f"{id}.company" if id else None, at=at, source=source,
    )  # fmt: skip
    if not identifiers and profile is None:
        return [company]
    person = Draft(
        type=PROFILE_UPDATED, data={"attributes": {COMPANY_ID: value}}, identifiers=dict(identifiers or {}), profile=profile,
        id=id, at=at, source=source,
    )  # fmt: skip
    return [company, person]
