"""Whether memberships and timers have followed what was imported; kept with the imported rows, so that a crash shows."""

from __future__ import annotations

from typing import Final

from tailorbird.ports import Store

__all__ = ["UNSETTLED", "settled", "unsettled"]

UNSETTLED: Final = "import:unsettled"
"""Set in the same transaction as imported rows: memberships and timers have not followed yet."""


def unsettled(store: Store) -> bool:
    """Return whether something was imported that memberships and timers have not followed, even by a process that died."""
    return store.get_meta(UNSETTLED) == "1"


def settled(store: Store) -> None:
    """Remember that memberships and timers have followed every import."""
    if unsettled(store):
        store.set_meta(UNSETTLED, "")
