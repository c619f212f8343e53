"""The stand of the CRM in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stands import Stand, Switch
from tailorbird.connectors.memory import MemoryCrm


@contextmanager
def stand() -> Iterator[Stand]:
    crm = MemoryCrm()

    yield Stand(
        connector=crm, down=lambda: Switch(crm, "down"), revoked=lambda: Switch(crm, "revoked"), now=crm.clock.now,
        activities=lambda record: [id for id, a in crm.activities.values() if a.record == record],
        members=lambda segment: set(crm.members.get(segment, set())), delete=crm.delete, signed=crm.signed,
        bad={"title": 7}, drops=lambda name: Switch(crm, "drops", {name}),
    )  # fmt: skip
