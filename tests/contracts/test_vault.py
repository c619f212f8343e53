"""What every vault does, wherever its sealed texts are kept: SQLite, PostgreSQL or DynamoDB."""

from __future__ import annotations

import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from moto_server import aws
from tailorbird.core.context import ManualClock
from tailorbird.errors import InvalidInput, Unavailable
from tailorbird.storage import open_store
from tailorbird.storage.secrets import Rows, Vault, fresh_key, open_vault
from tailorbird.storage.secrets.dynamodb import DynamoTable, Pending

KEY, OTHER = fresh_key(), fresh_key()


@pytest.fixture(scope="module")
def aws_url() -> Iterator[str]:
    with aws() as url:
        yield url


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "simulated")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "simulated")


@pytest.fixture
def table(aws_url: str, credentials: None) -> DynamoTable:
    made = DynamoTable.open(f"dynamodb://vault-{uuid4().hex}?region=eu-west-1&endpoint={aws_url}&user=ann")
    made.create()
    return made


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres), "dynamodb"])
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rows]:
    if request.param == "dynamodb":
        yield request.getfixturevalue("table")
        return
    postgres = request.param == "postgres"
    store = open_store(request.getfixturevalue("postgres_url") if postgres else str(tmp_path / "tailorbird.db"))
    yield store.crm
    store.close()


Opened = Callable[[str], Vault]


@pytest.fixture
def opened(rows: Rows) -> Opened:
    return lambda keys: open_vault(rows, ManualClock(7), environ={"TAILORBIRD_VAULT_KEY": keys})


def test_a_secret_is_read_as_it_was_written_and_is_not_in_what_is_stored(opened: Opened, rows: Rows) -> None:
    vault = opened(KEY)
    assert vault.read("main") is None
    assert vault.write("main", {"key": "pat-é-123456"}, expected=0)
    found = vault.read("main")
    assert found is not None
    assert (found.version, found.values) == (1, {"key": "pat-é-123456"})
    assert "pat" not in repr(found)
    stored = rows.secret("main")
    assert stored is not None
    sealed = stored[1]
    assert sealed.startswith("tb1.")
    assert all(b"123456" not in b64decode(part + "==", altchars="-_") for part in sealed.split(".")[1:])


def test_the_same_secret_is_sealed_differently_each_time(opened: Opened, rows: Rows) -> None:
    vault = opened(KEY)
    vault.write("main", {"key": "k"})
    first = rows.secret("main")
    vault.write("main", {"key": "k"})
    assert first is not None
    assert rows.secret("main") != (2, first[1])


def test_of_two_writers_who_read_the_same_version_one_wins(opened: Opened) -> None:
    vault = opened(KEY)
    vault.write("main", {"token": "0"}, expected=0)
    won: list[int] = []
    barrier = threading.Barrier(4)

    def write(number: int) -> None:
        barrier.wait()
        if vault.write("main", {"token": str(number)}, expected=1):
            won.append(number)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    found = vault.read("main")
    assert found is not None
    assert (found.version, found.values) == (2, {"token": str(won[0])})
    assert not vault.write("main", {"token": "late"}, expected=0)
    assert not vault.write("gone", {"token": "none"}, expected=3)
    assert vault.read("gone") is None


def test_a_sealed_text_opens_under_no_other_name_and_not_when_a_bit_is_changed(opened: Opened, rows: Rows) -> None:
    vault = opened(KEY)
    vault.write("main", {"key": "k"})
    stored = rows.secret("main")
    assert stored is not None
    sealed = stored[1]
    rows.put_secret("other", sealed, expected=None, now=1)
    with pytest.raises(Unavailable, match="do not open"):
        vault.read("other")
    place = len(sealed) - 6
    rows.put_secret("main", sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :], expected=None, now=1)
    with pytest.raises(Unavailable, match="do not open"):
        vault.read("main")
    rows.put_secret("main", "tb9" + sealed[3:], expected=None, now=1)
    with pytest.raises(Unavailable, match="does not know"):
        vault.read("main")


def test_keys_are_changed_while_both_are_known_and_the_old_one_is_then_not_needed(opened: Opened) -> None:
    old = opened(KEY)
    old.write("one", {"key": "1"})
    old.write("two", {"key": "2"})
    with pytest.raises(Unavailable, match="does not hold"):
        opened(OTHER).read("one")
    both = opened(f"{OTHER}, {KEY}")
    assert both.read("one") is not None
    assert both.rotate() == 2
    assert len(set(both.key_ids().values())) == 1
    found = opened(OTHER).read("two")
    assert found is not None
    assert found.values == {"key": "2"}
    with pytest.raises(Unavailable, match="does not hold"):
        old.read("one")


def test_what_is_written_while_keys_are_changed_is_not_lost(opened: Opened) -> None:
    old, both = opened(KEY), opened(f"{OTHER},{KEY}")
    for number in range(5):
        old.write(f"s{number}", {"key": "first"})
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            both.write("s2", {"key": "second"})

    writer = threading.Thread(target=write)
    writer.start()
    while (now := both.read("s2")) is None or now.values["key"] != "second":
        pass
    try:
        assert both.rotate() == 5
    finally:
        stop.set()
        writer.join()
    found = opened(OTHER).read("s2")
    assert found is not None
    assert found.values == {"key": "second"}


def test_secrets_are_listed_and_dropped(opened: Opened) -> None:
    vault = opened(KEY)
    vault.write("b", {})
    vault.write("a", {})
    assert vault.names() == ["a", "b"]
    assert vault.drop("a")
    assert not vault.drop("a")
    assert vault.names() == ["b"]


def test_without_a_key_it_is_said_how_to_make_one(opened: Opened) -> None:
    vault = opened("")
    assert vault.read("main") is None
    with pytest.raises(Unavailable, match="TAILORBIRD_VAULT_KEY is not set") as told:
        vault.write("main", {"key": "secret-7"})
    assert "tailorbird vault key" in told.value.hint
    assert "secret-7" not in str(told.value)


@pytest.mark.parametrize(
    "text", ["c2hvcnQ=", "not base64 at all", f"{KEY},short", ","], ids=["short", "no base64", "one of two", "none"]
)
def test_a_key_that_is_none_is_refused_and_not_shown(rows: Rows, text: str) -> None:
    vault = open_vault(rows, ManualClock(7), environ={"TAILORBIRD_VAULT_KEY": text})
    with pytest.raises((InvalidInput, Unavailable)) as told:
        vault.write("main", {"key": "k"})
    assert text not in str(told.value) or text == ","
    assert KEY not in str(told.value)


def test_in_dynamodb_rows_of_one_user_are_not_seen_by_another(table: DynamoTable, aws_url: str) -> None:
    other = DynamoTable(table._table, user="bob", region="eu-west-1", endpoint=aws_url)
    table.put_secret("hubspot", "sealed", expected=0, now=1)
    assert other.secret("hubspot") is None
    assert other.put_secret("hubspot", "theirs", expected=0, now=1)
    assert table.secret("hubspot") == (1, "sealed")
    raw = table._client.scan(TableName=table._table)["Items"]
    assert {(row["PK"]["S"], row["SK"]["S"]) for row in raw} == {
        ("USER#ann", "CRM_CREDENTIALS#hubspot"), ("USER#bob", "CRM_CREDENTIALS#hubspot"),
    }  # fmt: skip


def test_in_dynamodb_an_activity_waits_once_and_is_taken_by_one(table: DynamoTable) -> None:
    assert table.put_pending("a1", "sealed", now=1)
    assert not table.put_pending("a1", "other", now=2)
    assert table.put_pending("a2", "x" * 300_000, now=3)  # answers come in pages of 1 MB
    for number in range(3, 9):
        table.put_pending(f"a{number}", "x" * 300_000, now=3)
    assert [item.id for item in table.pending()] == [f"a{n}" for n in range(1, 9)]
    assert next(table.pending()) == Pending("a1", "sealed")
    assert table.drop_pending("a1")
    assert not table.drop_pending("a1")
    assert table.secrets() == []
    raw = table._client.scan(TableName=table._table)["Items"]
    assert {row["SK"]["S"] for row in raw} >= {"PENDING_ACTIVITY#a2"}


def test_a_table_that_is_not_there_is_said(aws_url: str, credentials: None) -> None:
    missing = DynamoTable.open(f"dynamodb://missing?region=eu-west-1&endpoint={aws_url}")
    with pytest.raises(Unavailable, match="ResourceNotFoundException"):
        missing.put_secret("a", "sealed", expected=0, now=1)


@pytest.mark.parametrize("url", ["dynamodb://", "s3://table", "dynamodb://ta ble", "dynamodb://table?colour=red"])
def test_an_address_that_names_no_table_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="TAILORBIRD_SECRETS_URL"):
        DynamoTable.open(url)
