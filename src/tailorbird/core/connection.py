"""A Connection: a configured, authorised connector; and a Link: which record of it stands for which profile."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from tailorbird.core.event import Json

__all__ = ["Connection", "ConnectionStatus", "Link"]


class ConnectionStatus(StrEnum):
    """How a connection does. What needs the CRM waits unless it is ``connected``."""

    CONNECTED = "connected"
    UNREACHABLE = "unreachable"  # it does not answer; asked again by itself
    LIMITED = "limited"  # a quota is used up until ``resumes_at``
    UNAUTHORISED = "unauthorised"  # only a person can mend it, by connecting again
    PAUSED = "paused"  # by a person


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """One connection to a CRM: ``provider`` is the kind of connector, ``settings`` what is no secret (address, scopes, owner).

    ``cursors`` holds where reading stands, by what is read. Credentials are not here: they are in the vault under its name.
    """

    name: str
    provider: str
    settings: Mapping[str, Json] = {}
    status: str = ConnectionStatus.CONNECTED
    cursors: Mapping[str, str] = {}
    error: str | None = None
    resumes_at: int | None = None
    created_at: int = 0
    changed_at: int = 0


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a connection and the profile (by key) it stands for.

    ``seen`` is what the CRM last said of each mapped field, ``seen_at`` when (ms), ``pushed`` what we last wrote there: by these a
    change on either side is told from an echo. ``object`` is the CRM's kind of object. ``gone_at``: it was deleted there.
    """

    connection: str
    record: str
    profile: int
    object: str = ""
    seen: Mapping[str, Json] = {}
    seen_at: int = 0
    pushed: Mapping[str, Json] = {}
    pushed_at: int = 0
    gone_at: int | None = None
