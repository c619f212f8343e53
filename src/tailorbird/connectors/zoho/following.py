"""Where reading of changes stands: module after module, page after page, then what was deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from tailorbird.connectors.rest import RemoteInvalid
from tailorbird.connectors.zoho.answers import MODULES
from tailorbird.core.context import MINUTE
from tailorbird.crm.model import Page, Record

__all__ = ["Reading"]

_OVERLAP: Final = MINUTE
Rows = Callable[[str, int | None, str | int], tuple[list[Record], str | int | None]]
Gone = Callable[[str, int, int], tuple[list[Record], int | None]]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The state that a cursor holds: since when, what comes next, and when this reading began.

    The next reading begins where this one began, less a minute: what changes while it is under way is read again, never missed.
    """

    began: int
    since: int | None = None
    module: int = 0
    at: str | int = 1
    gone: bool = False

    @classmethod
    def decode(cls, cursor: str | None, now: int) -> Reading:
        """Return what a cursor says; raises ``RemoteInvalid`` for what is none."""
        if cursor is None:
            return cls(began=now)
        try:
            found = msgspec.json.decode(cursor.encode(), type=cls)
        except (msgspec.DecodeError, UnicodeEncodeError):
            raise RemoteInvalid("the cursor is none that a page gave.", hint="Begin from the start.") from None
        return msgspec.structs.replace(found, began=found.began or now)

    def page(self, rows: Rows, gone: Gone) -> Page:
        """Read the next page."""
        if not 0 <= self.module < len(MODULES):
            raise RemoteInvalid("the cursor is none that a page gave.", hint="Begin from the start.")
        module = MODULES[self.module]
        records: list[Record]
        onward: str | int | None
        if self.gone:
            records, onward = gone(module, self.since or 0, self.at if isinstance(self.at, int) else 1)
        else:
            try:
                records, onward = rows(module, self.since, self.at)
            except RemoteInvalid:
                if isinstance(self.at, int):
                    raise
                # A page's token lasts a day; when it is over, the module is read from its beginning.
                records, onward = rows(module, self.since, 1)
        following = self._following(onward)
        if following is None:
            done = Reading(began=0, since=max(self.since or 0, self.began - _OVERLAP))
            return Page(records=tuple(records), cursor=_text(done), more=False)
        return Page(records=tuple(records), cursor=_text(following), more=True)

    def _following(self, onward: str | int | None) -> Reading | None:
        if onward is not None:
            return msgspec.structs.replace(self, at=onward)
        if self.module + 1 < len(MODULES):
            return msgspec.structs.replace(self, module=self.module + 1, at=1)
        if not self.gone and self.since is not None:
            return msgspec.structs.replace(self, module=0, at=1, gone=True)
        return None


def _text(state: Reading) -> str:
    return msgspec.json.encode(state).decode()
