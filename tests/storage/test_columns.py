"""The columnar files beside a SQLite record: always right, never needed, and nothing of the forgotten in them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tailorbird.core.event import Event
from tailorbird.core.profile import Profile
from tailorbird.expr.check import Schema, resolve
from tailorbird.expr.nodes import Node
from tailorbird.expr.parse import parse
from tailorbird.ports import Unit
from tailorbird.storage import open_store
from tailorbird.storage.batch.duck import DuckBatch
from tailorbird.storage.batch.fitting import FittingBatch
from tailorbird.storage.batch.shred import column_name, shred
from tailorbird.storage.sql.query import SqlBatch
from tailorbird.storage.sql.store import SqlStore

T = 1_700_000_000_000
TAIL = 50


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = SqlStore(str(tmp_path / "shop.db"))
    opened.claim()
    yield opened
    opened.close()


@pytest.fixture
def batch(store: SqlStore, tmp_path: Path) -> Iterator[DuckBatch]:
    opened = DuckBatch(tmp_path / "shop.db", freshen=store.database.freshen, tail=TAIL)
    store.listeners.append(opened.changed)
    yield opened
    opened.close()


def condition(text: str) -> Node:
    return resolve(parse(text), Schema(attributes={}, segments={}, features={}))


def add(store: SqlStore, start: int, count: int, *, people: int = 20, **data: Any) -> None:
    """Append events number ``start`` and on, of profiles in turn."""
    unit = Unit()
    for n in range(start, start + count):
        key = n % people + 1
        unit.profiles.setdefault(key, Profile(key=key, id=f"p_{key}", bucket=key))
        facts = {"total": n % 7, "url": f"/page/{n % 5}", **data}
        unit.events.append(
            Event(id=f"e{n}", type="order.placed", profile=key, origin=key, at=T + n, received_at=T + n, seq=n, data=facts)
        )
    assert store.commit(unit)


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "shop.db.columns").glob("*.parquet"))


def same(store: SqlStore, batch: DuckBatch, *texts: str) -> None:
    for text in texts:
        node = condition(text)
        assert batch.members(node, 2 * T) == SqlBatch(store.database).members(node, 2 * T), text


ASKED = (
    "count(order.placed) >= 4",
    "sum(order.placed.total) > 9",
    'did(order.placed where url contains "3")',
    "last(order.placed.total) = 2",
)


def test_what_comes_in_is_seen_at_once_and_becomes_a_file_when_it_is_much(
    store: SqlStore, batch: DuckBatch, tmp_path: Path
) -> None:
    add(store, 1, 30)
    same(store, batch, *ASKED)
    assert not files(tmp_path), "a few events stay in memory"
    add(store, 31, 60)
    same(store, batch, *ASKED)
    assert any(f.name.startswith("events") for f in files(tmp_path))
    add(store, 91, 5)
    same(store, batch, *ASKED)


def test_many_small_files_are_joined(store: SqlStore, batch: DuckBatch, tmp_path: Path) -> None:
    for part in range(12):
        add(store, 1 + part * 60, 60)
        same(store, batch, ASKED[0])
    assert len([f for f in files(tmp_path) if f.name.startswith("events")]) < 8
    same(store, batch, *ASKED)


@pytest.mark.parametrize("harm", ["remove", "truncate", "garbage", "version", "foreign"])
def test_files_that_are_amiss_are_made_again(store: SqlStore, batch: DuckBatch, tmp_path: Path, harm: str) -> None:
    add(store, 1, 200)
    same(store, batch, ASKED[0])
    folder = tmp_path / "shop.db.columns"
    batch.close()
    victim = next(f for f in files(tmp_path) if f.name.startswith("events"))
    match harm:
        case "remove":
            shutil.rmtree(folder)
        case "truncate":
            victim.write_bytes(victim.read_bytes()[:100])
        case "garbage":
            victim.write_bytes(b"x" * victim.stat().st_size)
        case "version":
            manifest = json.loads((folder / "manifest.json").read_text())
            (folder / "manifest.json").write_text(json.dumps({**manifest, "version": 99}))
        case "foreign":
            other = SqlStore(str(tmp_path / "other.db"))
            other.claim()
            unit = Unit()
            unit.profiles[1] = Profile(key=1, id="p_x", bucket=1)
            unit.events = [
                Event(id=f"x{n}", type="order.placed", profile=1, origin=1, at=T, received_at=T, seq=n, data={})
                for n in range(1, 300)
            ]
            assert other.commit(unit)
            second = DuckBatch(tmp_path / "other.db", folder, freshen=other.database.freshen, tail=TAIL)
            assert second.count(condition("did(order.placed)"), 2 * T) == 1
            second.close()
            other.close()
    again = DuckBatch(tmp_path / "shop.db", folder, freshen=store.database.freshen, tail=TAIL)
    same(store, again, *ASKED)
    again.close()


def test_of_the_forgotten_no_trace_remains(store: SqlStore, batch: DuckBatch, tmp_path: Path) -> None:
    add(store, 1, 200)
    unit = Unit()
    unit.profiles[77] = Profile(key=77, id="p_77", bucket=7)
    secret = "Zebedee-Quillfeather"
    unit.events = [
        Event(id="s1", type="order.placed", profile=77, origin=77, at=T, received_at=T, seq=500, data={"url": secret}),
        Event(id="s2", type="profile.updated", profile=77, origin=77, at=T, received_at=T, seq=501, data={"attributes": {"name": secret}}),
    ]  # fmt: skip
    assert store.commit(unit)
    add(store, 502, 200)
    same(store, batch, *ASKED)
    found = [f for f in files(tmp_path) if _holds(f, secret)]
    assert found, "it was there before"
    store.forget(77)
    assert not [f for f in files(tmp_path) if _holds(f, secret)]
    assert not [f for f in (tmp_path / "shop.db.columns").iterdir() if secret.encode() in f.read_bytes()]
    same(store, batch, *ASKED)


def test_who_was_forgotten_by_a_process_that_died_is_found_out(store: SqlStore, batch: DuckBatch, tmp_path: Path) -> None:
    add(store, 1, 200, people=60)
    same(store, batch, *ASKED)
    batch.close()
    store.listeners.clear()
    store.forget(3)
    again = DuckBatch(tmp_path / "shop.db", freshen=store.database.freshen, tail=TAIL)
    same(store, again, *ASKED)
    for path in files(tmp_path):
        column = "origin" if path.name.startswith("events") else "key"
        assert (3,) not in duckdb.read_parquet(str(path)).project(column).fetchall()
    again.close()


def test_two_readers_share_the_files(store: SqlStore, batch: DuckBatch, tmp_path: Path) -> None:
    second = DuckBatch(tmp_path / "shop.db", freshen=store.database.freshen, tail=TAIL)
    for part in range(10):
        add(store, 1 + part * 60, 60)
        first, other = (batch, second) if part % 2 else (second, batch)
        same(store, first, *ASKED)
        same(store, other, *ASKED)
    second.close()


def test_attributes_of_now_come_from_a_snapshot_and_of_then_from_the_events(
    store: SqlStore, batch: DuckBatch, tmp_path: Path
) -> None:
    unit = Unit()
    for n in range(1, 201):
        unit.profiles[n] = Profile(key=n, id=f"p_{n}", bucket=n)
        facts = {"attributes": {"city": ("Paris", "Rome")[n % 2], "score": n, "account": {"tier": n % 3}}}
        unit.events.append(
            Event(id=f"a{n}", type="profile.updated", profile=n, origin=n, at=T + n, received_at=T + n, seq=n, data=facts)
        )
    assert store.commit(unit)
    asked = ('city = "Rome" and score > 50', "account.tier = 2", "text(city) is unknown")
    same(store, batch, *asked)
    assert any(f.name.startswith("snapshot") for f in files(tmp_path))
    unit = Unit()
    unit.events = [
        Event(
            id="b",
            type="profile.updated",
            profile=101,
            origin=101,
            at=T + 900,
            received_at=T + 900,
            seq=300,
            data={"attributes": {"city": None}},
        )
    ]
    assert store.commit(unit)
    same(store, batch, *asked)
    node = condition(asked[2])
    assert batch.members(node, T + 1_000) == [101]
    assert batch.members(condition('city = "Rome"'), T + 3) == [1, 3]


def test_json_is_taken_apart_by_the_reading_rules() -> None:
    con = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    rows = [
        {"n": 1, "s": "x", "b": True, "l": ["a", None, "b"], "o": {"Deep": {"n": -0.0}}, "odd 'key?\"": 1, "0": "digit"},
        {"n": 2.5, "s": "2024-01-01", "l": [], "o": {"deep": {"n": 1e300}}, "mixed": "1"},
        {"n": None, "mixed": {"in": 1}},
    ]
    con.execute("CREATE TABLE raw (seq BIGINT, origin BIGINT, moment BIGINT, type VARCHAR, data VARCHAR)")
    con.executemany("INSERT INTO raw VALUES (?, 1, 1, 'a', ?)", [(i, json.dumps(row)) for i, row in enumerate(rows)])
    keys = shred(con, "raw", "shredded")

    def column(kind: str, *path: str) -> list[Any]:
        assert (kind, path) in keys
        return [row[0] for row in con.table("shredded").order("seq").project(column_name((kind, path))).fetchall()]

    assert column("number", "n") == [1.0, 2.5, None]
    assert column("text", "s") == ["x", "2024-01-01", None]
    assert column("bool", "b") == [True, None, None]
    assert column("texts", "l") == [["a", "b"], [], None]
    assert [str(v) for v in column("number", "o", "Deep", "n")] == ["0.0", "None", "None"]
    assert column("number", "o", "deep", "n") == [None, None, None], "beyond 1e15 is unknown"
    assert column("number", "odd 'key?\"") == [1.0, None, None]
    assert column("text", "0") == ["digit", None, None]
    assert column("text", "mixed") == [None, "1", None]
    assert con.execute("SELECT count(*) FROM shredded WHERE data IS NULL").fetchone() == (0,), (
        "an object among them: the JSON is kept"
    )
    con.close()


def test_a_small_record_is_asked_directly(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "shop.db"))
    store.claim()
    add(store, 1, 100)
    assert isinstance(store.batch(), FittingBatch)
    assert store.batch().count(condition("did(order.placed)"), 2 * T) == 20
    assert not (tmp_path / "shop.db.columns").exists()
    store.close()


def _holds(path: Path, text: str) -> bool:
    rows = duckdb.read_parquet(str(path)).fetchall()
    return any(text in str(row) for row in rows)
