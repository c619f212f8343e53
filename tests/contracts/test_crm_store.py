"""What every store keeps of connections: themselves, links, and sealed credentials whose versions two writers cannot both win."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tailorbird.core.connection import Connection, ConnectionStatus, Link
from tailorbird.errors import NotFound
from tailorbird.ports import CrmStore
from tailorbird.storage import open_store


@pytest.fixture
def crm(store_url: str) -> Iterator[CrmStore]:
    store = open_store(store_url)
    yield store.crm
    store.close()


def test_a_connection_is_kept_and_its_cursor_moves_by_itself(crm: CrmStore) -> None:
    crm.put_connection(Connection(name="main", provider="hubspot", settings={"url": "https://x"}, created_at=1, changed_at=1))
    crm.put_cursor("main", "contacts", "abc", now=2)
    crm.put_connection(Connection(name="main", provider="hubspot", status=ConnectionStatus.PAUSED, created_at=9, changed_at=3))
    found = crm.connection("main")
    assert found is not None
    assert (found.status, found.cursors, found.created_at, found.settings) == ("paused", {"contacts": "abc"}, 1, {})
    crm.put_cursor("main", "contacts", None, now=4)
    assert [c.cursors for c in crm.connections()] == [{}]
    with pytest.raises(NotFound):
        crm.put_cursor("other", "contacts", "x", now=5)


def test_links_are_found_by_record_and_by_profile(crm: CrmStore) -> None:
    links = [Link(connection="main", record=str(n), profile=n % 10, seen={"email": "é"}) for n in range(1200)]
    crm.put_links(links)
    crm.put_links([Link(connection="main", record="7", profile=99, pushed={"title": None}, gone_at=5)])
    assert crm.links("main", ["7", "8", "none"]).keys() == {"7", "8"}
    assert crm.links("main", ["7"])["7"].pushed == {"title": None}
    assert [link.record for link in crm.links_of([99])] == ["7"]
    assert len(crm.links_of([3], connection="main")) == 120
    assert crm.links_of([3], connection="other") == []
    assert [link.record for link in crm.page_links("main", after="998", limit=2)] == ["999"]
    crm.drop_links(99)
    assert crm.links("main", ["7"]) == {}


def test_a_secret_is_changed_by_one_of_two_writers(crm: CrmStore) -> None:
    assert crm.put_secret("main", "one", expected=0, now=1)
    assert not crm.put_secret("main", "two", expected=0, now=2)
    assert crm.secret("main") == (1, "one")
    assert crm.put_secret("main", "two", expected=1, now=3)
    assert not crm.put_secret("main", "three", expected=1, now=4)
    assert crm.put_secret("main", "four", expected=None, now=5)
    assert crm.secret("main") == (3, "four")
    assert crm.put_secret("other", "x", expected=None, now=6)
    assert crm.secrets() == ["main", "other"]
    assert crm.drop_secret("main")
    assert not crm.drop_secret("main")
    assert crm.secret("main") is None


def test_a_connection_goes_with_its_links_and_its_credentials(crm: CrmStore) -> None:
    crm.put_connection(Connection(name="main", provider="zoho"))
    crm.put_links([Link(connection="main", record="1", profile=1), Link(connection="other", record="1", profile=1)])
    crm.put_secret("main", "sealed", expected=0, now=1)
    assert crm.drop_connection("main")
    assert not crm.drop_connection("main")
    assert [link.connection for link in crm.links_of([1])] == ["other"]
    assert crm.secret("main") is None
