"""The tables, written once for SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

if TYPE_CHECKING:
    from sqlalchemy import Dialect

__all__ = [
    "OF_MERGES", "UPGRADES", "VERSION", "api_key", "complete_for_postgres", "connection", "credential", "crm_link",
    "definition", "event", "flow", "identifier", "membership", "merge", "meta", "metadata", "outbox", "profile", "record",
    "reply", "timer",
]  # fmt: skip

VERSION: Final = 3
"""The version of this schema; a database says in ``meta`` which one it has."""

UPGRADES: Final[Mapping[int, tuple[str, ...]]] = {
    2: (
        # Which journal there is, and up to which unit it was moved over.
        "INSERT INTO meta (key, value) VALUES ('journal', '') ON CONFLICT DO NOTHING",
        "CREATE INDEX IF NOT EXISTS profile_company ON profile ((attributes ->> 'company_id'))",
    ),
    3: (),  # the tables of connections to CRMs
}
"""The statements that bring a database from version n - 1 to n; run in order, in one transaction, when it is opened.

Tables that are not there yet are made in any case."""


class _Json(TypeDecorator[Any]):
    """JSON, and JSONB on PostgreSQL. Unlike a variant it loads PostgreSQL's dialect only for PostgreSQL: that takes a while."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(JSON(none_as_null=True))
        from sqlalchemy.dialects.postgresql import JSONB

        return dialect.type_descriptor(JSONB(none_as_null=True))


metadata = MetaData()

_json = _Json(none_as_null=True)
# Text that is compared or sorted goes by code points in both databases.
_text = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite gives a key by itself only to a column of type INTEGER.
_serial = BigInteger().with_variant(Integer(), "sqlite")

meta = Table("meta", metadata, Column("key", _text, primary_key=True), Column("value", Text, nullable=False))

OF_MERGES: Final = "type IN ('profile.merged', 'profile.unmerged')"
"""Which events tell of merges; who asks in these very words is served by an index."""

event = Table(
    "event",
    metadata,
    Column("seq", _serial, Identity(always=False), primary_key=True),
    Column("id", _text, nullable=False),
    Column("type", _text, nullable=False),
    Column("profile", BigInteger, nullable=False),
    Column("origin", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("source", _text, nullable=False),
    Column("data", _json, nullable=False),
    Column("cause", _text),
    Index("event_id", "id", unique=True),
    Index("event_history", "profile", "at", "seq"),
    # Few rows: who forgets a person has to find what tells others of merges with it.
    Index("event_merge", "seq", sqlite_where=text(OF_MERGES)),
)


def complete_for_postgres() -> None:
    """Say what only PostgreSQL has to be told of the tables, before they are made there: saying it loads its dialect."""
    merges = next(index for index in event.indexes if index.name == "event_merge")
    merges.dialect_options["postgresql"]["where"] = text(OF_MERGES)


profile = Table(
    "profile",
    metadata,
    Column("key", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
    Column("id", _text, nullable=False),
    Column("kind", _text, nullable=False),
    Column("bucket", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("attributes", _json, nullable=False),
    Column("provenance", _json, nullable=False),
    Column("tags", _json, nullable=False),
    Column("consents", _json, nullable=False),
    Column("merged_into", BigInteger),
    Index("profile_id", "id", unique=True),
    Index("profile_company", text("(attributes ->> 'company_id')")),
)

identifier = Table(
    "identifier",
    metadata,
    Column("kind", _text, nullable=False),
    Column("value", _text, nullable=False),
    Column("profile", BigInteger, nullable=False),
    Column("origin", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("kind", "value"),
    Index("identifier_profile", "profile"),
    sqlite_with_rowid=False,
)

membership = Table(
    "membership",
    metadata,
    Column("segment", _text, nullable=False),
    Column("profile", BigInteger, nullable=False),
    Column("entered_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    PrimaryKeyConstraint("segment", "profile"),
    Index("membership_profile", "profile"),
    sqlite_with_rowid=False,
)

# How many entered and left at an instant: the size of a segment over time, without reading events.
flow = Table(
    "flow",
    metadata,
    Column("segment", _text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("entered", BigInteger, nullable=False),
    Column("exited", BigInteger, nullable=False),
    Index("flow_at", "segment", "at"),
)

timer = Table(
    "timer",
    metadata,
    Column("profile", BigInteger, nullable=False),
    Column("key", _text, nullable=False),
    Column("due", BigInteger, nullable=False),
    PrimaryKeyConstraint("profile", "key"),
    Index("timer_due", "due"),
    sqlite_with_rowid=False,
)

# Notes, tasks and deals as their events left them.
record = Table(
    "record",
    metadata,
    Column("kind", _text, nullable=False),
    Column("id", _text, nullable=False),
    Column("profile", BigInteger, nullable=False),
    Column("origin", BigInteger, nullable=False),
    Column("status", _text, nullable=False),
    Column("stage", _text),
    Column("assignee", _text),
    Column("due", BigInteger),
    Column("amount", Double),
    Column("currency", _text),
    Column("at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("data", _json, nullable=False),
    PrimaryKeyConstraint("profile", "kind", "id"),
    Index("record_id", "kind", "id"),
    Index("record_due", "kind", "status", "due", "at"),
    sqlite_with_rowid=False,
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", _serial, Identity(always=False), primary_key=True),
    Column("key", _text, nullable=False),
    Column("kind", _text, nullable=False),
    Column("connector", _text, nullable=False),
    Column("payload", _json, nullable=False),
    Column("profile", BigInteger, nullable=False),
    Column("channel", _text),
    Column("purpose", _text),
    Column("due", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("cause", _text),
    Column("status", _text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Index("outbox_key", "key", unique=True),
    Index("outbox_due", "status", "due"),
    Index("outbox_profile", "profile", "channel"),
)

definition = Table(
    "definition",
    metadata,
    Column("kind", _text, nullable=False),
    Column("name", _text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("status", _text, nullable=False),
    Column("spec", _json, nullable=False),
    Column("digest", _text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("activated_at", BigInteger),
    Column("archived_at", BigInteger),
    Column("fresh_at", BigInteger),
    Column("error", Text),
    PrimaryKeyConstraint("kind", "name", "version"),
)

merge = Table(
    "merge",
    metadata,
    Column("id", _text, primary_key=True),
    Column("winner", BigInteger, nullable=False),
    Column("loser", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("rule", _text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("undone_at", BigInteger),
    Index("merge_winner", "winner"),
    Index("merge_loser", "loser"),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", _text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("scopes", _json, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)

# Replies to requests with an Idempotency-Key, so that a repetition gets the same answer.
reply = Table(
    "reply",
    metadata,
    Column("key", _text, primary_key=True),
    Column("digest", _text, nullable=False),
    Column("reply", _json),
    Column("at", BigInteger, nullable=False),
    Index("reply_at", "at"),
)

connection = Table(
    "connection",
    metadata,
    Column("name", _text, primary_key=True),
    Column("provider", _text, nullable=False),
    Column("settings", _json, nullable=False),
    Column("status", _text, nullable=False),
    Column("cursors", _json, nullable=False),
    Column("error", Text),
    Column("resumes_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)

# Which record of a CRM stands for which profile, and what either side last said.
crm_link = Table(
    "crm_link",
    metadata,
    Column("connection", _text, nullable=False),
    Column("record", _text, nullable=False),
    Column("profile", BigInteger, nullable=False),
    Column("object", _text, nullable=False),
    Column("seen", _json, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("pushed", _json, nullable=False),
    Column("pushed_at", BigInteger, nullable=False),
    Column("gone_at", BigInteger),
    PrimaryKeyConstraint("connection", "record"),
    Index("crm_link_profile", "profile"),
    sqlite_with_rowid=False,
)

# Sealed credentials: nobody reads them without the key, which is never here. ``version`` grows with each change.
credential = Table(
    "credential",
    metadata,
    Column("name", _text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)
