"""``ports.CrmStore`` on SQLite and PostgreSQL: connections, links and sealed credentials. No cache depends on any of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Table, delete, func, insert, select, update

from tailorbird.core.connection import Connection, Link
from tailorbird.errors import NotFound
from tailorbird.storage.sql import schema
from tailorbird.storage.sql.database import Database

__all__ = ["CrmTables"]

_MANY: Final = 500
"""How many values one question names, and how many rows one statement writes."""


class CrmTables:
    """The tables ``connection``, ``crm_link`` and ``credential`` of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ---- connections

    def connection(self, name: str) -> Connection | None:
        """Return a connection; None when there is none of that name."""
        found = self._rows(select(schema.connection).where(schema.connection.c.name == name))
        return Connection(**found[0]) if found else None

    def connections(self) -> list[Connection]:
        """Return all connections, by name."""
        return [Connection(**row) for row in self._rows(select(schema.connection).order_by(schema.connection.c.name))]

    def put_connection(self, connection: Connection) -> None:
        """Insert or replace all of it but its cursors, which stay as they are once it is there."""
        row = msgspec.structs.asdict(connection)
        with self._database.touching() as sql:
            self._upsert(sql, schema.connection, [row], keep={"cursors", "created_at"})

    def put_cursor(self, connection: str, what: str, cursor: str | None, *, now: int) -> None:
        """Note where reading ``what`` stands; raises ``NotFound`` without such a connection."""
        table = schema.connection
        with self._database.touching() as sql:
            asked = select(table.c.cursors).where(table.c.name == connection)
            found = sql.execute(asked if not self._database.postgres else asked.with_for_update()).first()
            if found is None:
                raise NotFound(f"there is no connection {connection}", hint="See `tailorbird connections`.")
            cursors = {key: value for key, value in {**found[0], what: cursor}.items() if value is not None}
            sql.execute(update(table).where(table.c.name == connection).values(cursors=cursors, changed_at=now))

    def drop_connection(self, name: str) -> bool:
        """Remove a connection with its links and credentials."""
        with self._database.touching() as sql:
            sql.execute(delete(schema.crm_link).where(schema.crm_link.c.connection == name))
            sql.execute(delete(schema.credential).where(schema.credential.c.name == name))
            return sql.execute(delete(schema.connection).where(schema.connection.c.name == name)).rowcount > 0

    # ---- links

    def links(self, connection: str, records: Sequence[str]) -> dict[str, Link]:
        """Return the links of these records, by record."""
        table = schema.crm_link
        found: dict[str, Link] = {}
        for start in range(0, len(records), _MANY):
            asked = table.c.record.in_(records[start : start + _MANY])
            found |= {
                row["record"]: Link(**row) for row in self._rows(select(table).where(table.c.connection == connection, asked))
            }
        return found

    def links_of(self, profiles: Sequence[int], *, connection: str | None = None) -> list[Link]:
        """Return all links of these profiles, of one connection or of all."""
        table = schema.crm_link
        found: list[Link] = []
        for start in range(0, len(profiles), _MANY):
            asked = select(table).where(table.c.profile.in_(profiles[start : start + _MANY]))
            if connection is not None:
                asked = asked.where(table.c.connection == connection)
            found += [Link(**row) for row in self._rows(asked.order_by(table.c.connection, table.c.record))]
        return found

    def page_links(self, connection: str, *, after: str = "", limit: int = 1000) -> list[Link]:
        """Return links of a connection in order of record."""
        table = schema.crm_link
        asked = (
            select(table).where(table.c.connection == connection, table.c.record > after).order_by(table.c.record).limit(limit)
        )
        return [Link(**row) for row in self._rows(asked)]

    def put_links(self, links: Sequence[Link]) -> None:
        """Insert or replace, in one transaction."""
        latest = {(link.connection, link.record): msgspec.structs.asdict(link) for link in links}
        rows = [latest[key] for key in sorted(latest)]
        with self._database.touching() as sql:
            for start in range(0, len(rows), _MANY):
                self._upsert(sql, schema.crm_link, rows[start : start + _MANY])

    def drop_links(self, profile: int) -> None:
        """Forget which records stand for a profile."""
        with self._database.touching() as sql:
            sql.execute(delete(schema.crm_link).where(schema.crm_link.c.profile == profile))

    # ---- secrets

    def secret(self, name: str) -> tuple[int, str] | None:
        """Return the version and the sealed text of a secret."""
        table = schema.credential
        found = self._rows(select(table.c.version, table.c.sealed).where(table.c.name == name))
        return (found[0]["version"], found[0]["sealed"]) if found else None

    def secrets(self) -> list[str]:
        """Return the names of all secrets."""
        return [row["name"] for row in self._rows(select(schema.credential.c.name).order_by(schema.credential.c.name))]

    def put_secret(self, name: str, sealed: str, *, expected: int | None, now: int) -> bool:
        """Store a secret when its version is the ``expected`` one."""
        table = schema.credential
        with self._database.touching() as sql:
            if expected == 0:
                row = {"name": name, "version": 1, "sealed": sealed, "changed_at": now}
                # By what comes back: the count of rows is unknown to PostgreSQL's driver for such a statement.
                made = self._insert(table).values(row).on_conflict_do_nothing().returning(table.c.name)
                return sql.execute(made).first() is not None
            if expected is None and sql.scalar(select(func.count()).where(table.c.name == name)) == 0:
                sql.execute(insert(table).values(name=name, version=1, sealed=sealed, changed_at=now))
                return True
            change = update(table).where(table.c.name == name)
            if expected is not None:
                change = change.where(table.c.version == expected)
            return sql.execute(change.values(version=table.c.version + 1, sealed=sealed, changed_at=now)).rowcount > 0

    def drop_secret(self, name: str) -> bool:
        """Remove a secret; return whether it was there."""
        with self._database.touching() as sql:
            return sql.execute(delete(schema.credential).where(schema.credential.c.name == name)).rowcount > 0

    # ---- inside

    def _rows(self, asked: Any) -> list[dict[str, Any]]:
        with self._database.reading(fresh=False) as sql:
            return [dict(row) for row in sql.execute(asked).mappings()]

    def _upsert(
        self,
        sql: SqlConnection,
        table: Table,
        rows: Sequence[Mapping[str, Any]],
        *,
        keep: frozenset[str] | set[str] = frozenset(),
    ) -> None:
        written = self._insert(table)
        keys = [column.name for column in table.primary_key]
        changes = {c.name: written.excluded[c.name] for c in table.columns if c.name not in keys and c.name not in keep}
        # One statement for all rows, as a statement of its own for their number takes longer to build than to carry out.
        sql.execute(written.on_conflict_do_update(index_elements=keys, set_=changes), [dict(row) for row in rows])

    def _insert(self, table: Table) -> Any:
        if self._database.postgres:
            from sqlalchemy.dialects import postgresql

            return postgresql.insert(table)
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
