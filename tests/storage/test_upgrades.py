"""A database of an older schema is brought up to date when it is opened, wholly or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from sqlalchemy import text

from tailorbird.core.profile import Profile
from tailorbird.errors import InvalidInput, Unavailable
from tailorbird.ports import Unit
from tailorbird.storage.sql import schema
from tailorbird.storage.sql.database import Database
from tailorbird.storage.sql.store import SqlStore

NEXT = schema.VERSION + 1
GOOD: Mapping[int, Sequence[str]] = {
    NEXT: ("ALTER TABLE profile ADD COLUMN nickname TEXT", "UPDATE profile SET nickname = id"),
    NEXT + 1: ("CREATE TABLE nickname (profile BIGINT)", "INSERT INTO nickname SELECT key FROM profile"),
}


@pytest.fixture
def url(store_url: str) -> str:
    """A database of today's schema with one profile in it."""
    store = SqlStore(store_url)
    store.claim()
    unit = Unit()
    unit.profiles[1] = Profile(key=1, id="p_1", bucket=5)
    assert store.commit(unit)
    store.close()
    return store_url


def version_of(database: Database) -> str | None:
    with database.reading() as connection:
        found: str | None = connection.scalar(text("SELECT value FROM meta WHERE key = 'schema'"))
        return found


def test_every_version_has_its_upgrade() -> None:
    assert sorted(schema.UPGRADES) == list(range(2, schema.VERSION + 1))


def test_an_older_database_is_upgraded_step_by_step_and_once(url: str) -> None:
    for _ in range(2):  # the second time there is nothing to do, and doing it again would fail
        database = Database(url, version=NEXT + 1, upgrades=GOOD)
        with database.reading() as connection:
            assert connection.execute(text("SELECT nickname FROM profile")).scalars().all() == ["p_1"]
            assert connection.execute(text("SELECT profile FROM nickname")).scalars().all() == [1]
        assert version_of(database) == str(NEXT + 1)
        database.close()


@pytest.mark.parametrize("broken", [NEXT, NEXT + 1])
def test_an_upgrade_that_fails_half_way_changes_nothing_and_can_be_done_later(url: str, broken: int) -> None:
    upgrades = {**GOOD, broken: (*GOOD[broken], "INSERT INTO nowhere VALUES (1)")}
    with pytest.raises(
        Unavailable, match=rf"schema {schema.VERSION} and could not be brought to {broken}.*nothing in it was changed"
    ):
        Database(url, version=NEXT + 1, upgrades=upgrades)
    store = SqlStore(url)  # the older program goes on with it
    assert version_of(store.database) == str(schema.VERSION)
    assert store.profiles([1])[1].id == "p_1"
    store.close()
    database = Database(url, version=NEXT + 1, upgrades=GOOD)
    assert version_of(database) == str(NEXT + 1)
    database.close()


def test_a_newer_database_is_not_touched(url: str) -> None:
    Database(url, version=NEXT + 1, upgrades=GOOD).close()
    with pytest.raises(InvalidInput, match=f"schema {NEXT + 1}, newer than this program's {schema.VERSION}"):
        SqlStore(url)
