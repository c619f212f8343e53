"""What the store is asked about notes, tasks and deals, and about the people of a company."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Select, case, func, literal, select, text, tuple_

from tailorbird.core.profile import Profile
from tailorbird.ports import RecordRow
from tailorbird.storage.sql import rows, schema
from tailorbird.storage.sql.reading import Reading

__all__ = ["RecordReading"]

_NEVER: Final = 2**53
"""Where records without a due stand: after all others."""
_COMPANY: Final = text("attributes ->> 'company_id' = :company")  # in the very words of the index


class RecordReading(Reading):
    """The questions of ``ports.Store`` about records."""

    def records(
        self, kind: str, *, id: str | None = None, profile: int | None = None, status: str | None = None,
        assignee: str | None = None, stage: str | None = None, due_before: int | None = None,
        after: tuple[int, int, int, str] | None = None, limit: int = 50,
    ) -> list[RecordRow]:  # fmt: skip
        """Return records in the order of ``(due, at, profile, id)``, those without a due last."""
        table = schema.record
        due = func.coalesce(table.c.due, _NEVER)
        query = select(*(table.c[name] for name in RecordRow._fields)).where(table.c.kind == kind)
        for name, value in (("id", id), ("profile", profile), ("status", status), ("assignee", assignee), ("stage", stage)):
            if value is not None:
                query = query.where(table.c[name] == value)
        if due_before is not None:
            query = query.where(table.c.due < due_before)
        place = tuple_(due, table.c.at, table.c.profile, table.c.id)
        if after is not None:
            query = query.where(place > tuple_(*(literal(part) for part in after)))
        query = query.order_by(due, table.c.at, table.c.profile, table.c.id).limit(limit)
        return [RecordRow(*row) for row in self._all(query)]

    def deal_totals(self) -> list[tuple[str | None, str, str | None, int, float]]:
        """Return (stage, status, currency, how many, sum of amounts) of all deals."""
        table = schema.record
        stage = case((table.c.status == "open", table.c.stage), else_=None)
        keys = (stage.label("stage"), table.c.status, table.c.currency)
        query: Select[Any] = (
            select(*keys, func.count(), func.coalesce(func.sum(table.c.amount), 0.0))
            .where(table.c.kind == "deal")
            .group_by(*keys)
        )
        found = [(row[0], row[1], row[2], int(row[3]), float(row[4])) for row in self._all(query)]
        return sorted(found, key=lambda row: (row[1], row[0] or "", row[2] or ""))

    def told_of(self, types: Iterable[str], after: int) -> list[int]:
        """Return the profiles that have events of these types numbered above ``after``, ascending."""
        table = schema.event
        query = select(table.c.profile).where(table.c.seq > after, table.c.type.in_(sorted(types))).distinct()
        return sorted(row[0] for row in self._all(query))

    def contacts_of(self, company_id: str, *, after: int = 0, limit: int = 50) -> list[Profile]:
        """Return people whose attribute ``company_id`` is this, by key."""
        table = schema.profile
        query = (
            select(*rows.PROFILE)
            .where(_COMPANY.bindparams(company=company_id), table.c.key > after, table.c.merged_into.is_(None))
            .where(table.c.kind == "person")
            .order_by(table.c.key)
            .limit(limit)
        )
        return [rows.profile(row) for row in self._all(query)]
