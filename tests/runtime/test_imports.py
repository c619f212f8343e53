"""Importing files: what is good gets in once, what is bad is told, and nothing interrupts it for good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tailorbird.core.profile import Identifier
from tailorbird.errors import InvalidInput, NotFound
from tailorbird.runtime.imports import Report, import_contacts, import_events, settled, unsettled
from tailorbird.storage import open_store
from tailorbird.storage.sql.store import SqlStore

NOW = 1_763_700_000_000  # 2025-11-21T04:40:00Z
DAY = 86_400_000
ORDERS = "customer_id,date,quantity,amount\n00001,2025-01-01,1,11.77\n00002,2025-01-12,1,12.00\n00002,2025-01-12,5,77.00\n"


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:
    opened = open_store(store_url)
    opened.claim()
    yield opened
    opened.close()


def rejected(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.with_name(path.name + ".rejected.jsonl").read_text().splitlines()]


def orders(store: SqlStore, path: Path, **options: Any) -> Report:
    return import_events(store, path, {"profile": "customer_id", "type": "=order.placed"}, now=NOW, **options)


def everything(store: SqlStore) -> list[tuple[Any, ...]]:
    return sorted((e.id, e.type, e.profile, e.at, json.dumps(e.data, sort_keys=True)) for e in store.events(limit=100_000))


def test_orders_in_csv_become_events_of_profiles(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS)
    report = import_events(store, path, now=NOW)
    assert (report.loaded, report.duplicates, report.rejected, report.created) == (3, 0, 0, 2)
    assert report.mapping == {
        "external_id": "customer_id", "type": "=order.placed", "at": "date", "data": {"quantity": "quantity", "amount": "amount"},
    }  # fmt: skip
    row = store.resolve([Identifier("external_id", "00002")])[Identifier("external_id", "00002")]
    history = store.history([row.profile])[row.profile]
    assert [(e.type, e.at, e.received_at, e.source, e.data) for e in history] == [
        ("order.placed", 1_736_640_000_000, NOW, "import", {"quantity": 1, "amount": 12.0}),
        ("order.placed", 1_736_640_000_000, NOW, "import", {"quantity": 5, "amount": 77.0}),
    ]


def test_a_dry_run_tells_and_writes_nothing(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS + "00003,tomorrow,1,1\n")
    report = import_events(store, path, now=NOW, dry_run=True)
    assert report.dry_run and (report.rows, report.loaded, report.rejected) == (4, 3, 1)
    assert report.readings == {"quantity": "number", "amount": "number"}
    assert report.first[0] == {
        "external_id": "00001",
        "type": "order.placed",
        "at": 1_735_689_600_000,
        "data": {"amount": 11.77, "quantity": 1},
    }
    assert report.reasons == {"the time is not understood": 1}
    assert store.count_profiles() == 0 and store.last_seq() == 0
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".db" and ".db" not in p.name) == ["orders.csv"]


def test_rows_that_cannot_be_taken_are_told_with_their_line_and_the_rest_is_loaded(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "customer_id,date,amount\n"
        "a,2025-01-01,1\n"  # 2
        ",2025-01-01,1\n"
        "b,,1\n"
        "c,1969-12-31,1\n"
        "d,2026-01-01,1\n"
        "e,2025-02-30,1\n"
        "null,2025-01-01,1\n"  # 8
        "f,2025-11-21T20:00:00Z,1\n"
    )
    report = orders(store, path)
    assert (report.loaded, report.rejected) == (2, 6)
    assert [(r["line"], r["reason"]) for r in rejected(path)] == [
        (3, "there is no identifier (customer_id)"),
        (4, "there is no time (date)"),
        (5, "the time lies before 1970: '1969-12-31'"),
        (6, "the time lies more than a day in the future: '2026-01-01'"),
        (7, "the time is not understood: '2025-02-30'"),
        (8, "external_id 'null' names nobody"),
    ]
    assert rejected(path)[0]["row"] == {"customer_id": None, "date": "2025-01-01", "amount": "1"}
    assert max(e.at for e in store.events()) == NOW, "what claims to be of the near future happened now"


def test_the_same_file_twice_changes_nothing_and_a_longer_one_adds_what_is_new(store: SqlStore, tmp_path: Path) -> None:
    path, longer = tmp_path / "orders.csv", tmp_path / "again.csv"
    path.write_text(ORDERS + "00002,2025-01-12,5,77.00\n")
    longer.write_text(ORDERS + "00002,2025-01-12,5,77.00\n00002,2025-01-12,5,77.00\n00009,2025-02-01,1,\n")
    first = orders(store, path)
    before = everything(store)
    assert (first.loaded, first.created) == (4, 2)
    settled(store)
    again = orders(store, path)
    assert again.already and not again.touched and everything(store) == before
    more = orders(store, longer)
    assert (more.loaded, more.duplicates, more.created) == (2, 4, 1)
    assert set(before) < set(everything(store))


def test_what_memberships_have_not_followed_is_remembered_by_the_record(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS)
    orders(store, path)
    assert unsettled(store) and orders(store, path).touched, "whoever imports it again is told to follow"
    settled(store)
    assert not unsettled(store) and not orders(store, path).touched


def test_an_id_column_decides_what_is_the_same_event(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "user_id,event,timestamp,event_id\n1,page.viewed,1735689600,x1\n1,page.viewed,1735689600123,x2\n2,link.clicked,2025-01-01,x1\n"
    )
    report = import_events(store, path, now=NOW)
    assert (report.loaded, report.duplicates) == (2, 1)
    assert [(e.id, e.type, e.at) for e in store.events()] == [
        ("x1", "page.viewed", 1_735_689_600_000),
        ("x2", "page.viewed", 1_735_689_600_123),
    ]


def test_values_are_read_as_numbers_only_where_nothing_is_lost(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "customer_id,date,n,zip,card,flag,when,mixed,empty\n"
        '1,2025-01-01,-1.50,01234,1234567890123456,TRUE,2025-01-01,1,\n1,2025-01-02,2,75001,1,false,2025-01-01T10:00,"a ""b"", c",\n'
    )
    report = orders(store, path)
    assert report.readings == {
        "n": "number", "zip": "text", "card": "text", "flag": "bool", "when": "time", "mixed": "text", "empty": "text",
    }  # fmt: skip
    assert [e.data for e in store.events()] == [
        {"n": -1.5, "zip": "01234", "card": "1234567890123456", "flag": True, "when": "2025-01-01", "mixed": "1"},
        {"n": 2, "zip": "75001", "card": "1", "flag": False, "when": "2025-01-01T10:00", "mixed": 'a "b", c'},
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-01-01", 1_735_689_600_000), ("2025-01-01T00:00", 1_735_689_600_000), ("2025-01-01 00:00:01.5", 1_735_689_601_500),
        ("2025-01-01T00:00:00.1239Z", 1_735_689_600_123), ("2025-01-01T02:00:00+02:00", 1_735_689_600_000),
        ("2024-12-31T18:30:00-05:30", 1_735_689_600_000), ("1735689600.25", 1_735_689_600_250),
    ],
)  # fmt: skip
def test_times_are_read_to_the_millisecond(tmp_path: Path, text: str, expected: int) -> None:
    with_store = open_store(str(tmp_path / "t.db"))
    path = tmp_path / "orders.csv"
    path.write_text(f"customer_id,date\n1,{text}\n")
    orders(with_store, path)
    assert [e.at for e in with_store.events()] == [expected]
    with_store.close()


def test_a_format_can_be_given_for_times(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("customer_id,date\n1,31/12/2024\n2,2024-12-31\n")
    report = import_events(
        store, path, {"profile": "customer_id", "type": "=order.placed", "at": "date", "at_format": "%d/%m/%Y"}, now=NOW
    )
    assert (report.loaded, report.rejected) == (1, 1)
    assert [e.at for e in store.events()] == [1_735_603_200_000]


def test_hostile_csv_costs_only_the_rows_that_are_broken(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(
        b"\xef\xbb\xbfcustomer_id;date;note\r\n"
        b"a;2025-01-01;\"two\nlines; and a \"\"quote\"\"\"\r\n"  # 2 and 3
        b"b;2025-01-01\r\n"  # 4: ragged
        b"c;2025-01-01;x;y\r\n"
        b"\r\n"
        b"d;2025-01-01;nu\x00l\r\n"  # 7
        b"e;2025-01-01;caf\xe9\r\n"
        b"f;2025-01-01;5\" nail\r\n"
        b"g;2025-01-01;\"never closed\r\n"  # 10
        b"h;2025-01-01;" + b"x" * 40_000 + b"\r\n"
        b"i;2025-01-01;\"caf\xc3\xa9\"\r\n"
    )  # fmt: skip
    report = import_events(store, path, {"profile": "customer_id", "type": "=note.taken"}, now=NOW)
    assert [r["line"] for r in rejected(path)] == [4, 5, 7, 8, 10, 11]
    assert (report.loaded, report.rejected, report.rows) == (3, 6, 9)
    assert sorted(e.data["note"] for e in store.events()) == ['5" nail', "café", 'two\nlines; and a "quote"']


def test_other_encodings_are_read_when_declared(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes("customer_id,date,note\nJosé,2025-01-01,café\n".encode("latin-1"))
    assert orders(store, path, encoding="latin-1").loaded == 1
    assert Identifier("external_id", "José") in store.resolve([Identifier("external_id", "José")])


def test_line_numbers_hold_where_values_span_lines(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text('customer_id,date,note\na,2025-01-01,"x\ny"\n\nb,never,z\n')
    orders(store, path)
    assert [r["line"] for r in rejected(path)] == [5]


def test_jsonl_keeps_types_and_nesting(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(
        '{"user": {"mail": "Ann@Example.org"}, "type": "page.viewed", "at": 1735689600000, '
        '"data": {"n": 1, "deep": {"l": ["a", 1]}, "s": "é"}}\n'
        "\n"
        '{"user": {"mail": "bob@example.org"}, "type": "page.viewed", "at": "2025-01-01T00:00:00Z"}\n'
        '{"user": {"mail": "nobody"}, "type": "page.viewed", "at": "2025-01-01T00:00:00Z"}\n'  # 4
        '{"user": \n'
        "[1]\n"
        '{"user": {"mail": "c@example.org"}, "type": "page.viewed", "at": "2025-01-01", "data": {"n": NaN}}\n'
        '{"user": {"mail": "c@example.org"}, "type": "page.viewed", "at": "2025-01-01", "data": {"n": "a\\u0000b"}}\n'
        '{"user": {"mail": "c@example.org"}, "type": "segment.entered", "at": "2025-01-01"}\n'
        '{"user": {"mail": "c@example.org"}, "type": "page.viewed", "at": "2025-01-01", "data": '
        + '{"a":' * 70
        + "1"
        + "}" * 70
        + "}\n"
    )
    report = import_events(store, path, {"email": "user.mail", "type": "type", "at": "at", "data": "data"}, now=NOW)
    assert (report.loaded, report.rejected) == (2, 7)
    assert [r["line"] for r in rejected(path)] == [4, 5, 6, 7, 8, 9, 10]
    assert [e.data for e in sorted(store.events(), key=lambda e: str(e.data))] == [
        {"n": 1, "deep": {"l": ["a", 1]}, "s": "é"},
        {},
    ]
    assert Identifier("email", "ann@example.org") in store.resolve([Identifier("email", "ann@example.org")])


def test_broken_bytes_in_jsonl_cost_one_line(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(
        b'{"user_id":"1","type":"a.b","at":"2025-01-01","x":"\xff"}\n{"user_id":"1","type":"a.b","at":"2025-01-01","x":"y"}\n'
    )
    report = import_events(store, path, now=NOW)
    assert (report.loaded, report.rejected) == (1, 1)
    assert [e.data for e in store.events()] == [{"x": "y"}]


def test_parquet_keeps_its_types(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    duckdb.execute(
        "COPY (SELECT 1 AS user_id, 'a.b' AS type, TIMESTAMP '2025-01-01 00:00:00.123' AS at, 1.5 AS d, 'nan'::DOUBLE AS x, true AS b, "
        f"DATE '2025-01-02' AS day, ['p', 'q'] AS l, {{'k': 1}} AS s, NULL AS nothing) TO '{path}'"
    )
    report = import_events(store, path, now=NOW)
    assert report.loaded == 1
    event = store.events()[0]
    assert event.at == 1_735_689_600_123
    assert event.data == {"d": 1.5, "b": True, "day": "2025-01-02", "l": ["p", "q"], "s": {"k": 1}}


def test_identifiers_find_people_who_are_known(store: SqlStore, tmp_path: Path) -> None:
    contacts, events = tmp_path / "contacts.csv", tmp_path / "orders.csv"
    contacts.write_text("id,email,phone,city\n7,Ann@Example.org,+33612345678,Paris\n")
    events.write_text("email,date\n ANN@example.ORG ,2025-01-01\nbob@example.org,2025-01-01\n")
    import_contacts(store, contacts, now=NOW)
    report = import_events(store, events, {"type": "=order.placed"}, now=NOW)
    assert (report.loaded, report.created, store.count_profiles()) == (2, 1, 2)


def test_contacts_become_attributes_tags_and_consents(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    path.write_text(
        "id,email,city,score,tags,newsletter\n7,ann@example.org,Paris,3,vip;new,yes\n8,bob@example.org,,,,no\n9,,Rome,1,,maybe\n"
    )
    mapping = {"profile": "id", "email": "email", "tags": "tags", "consent": {"email/marketing": "newsletter"}}
    report = import_contacts(store, path, mapping, now=NOW)
    assert (report.loaded, report.rejected, report.created) == (2, 1, 2)
    assert rejected(path)[0]["reason"] == "the consent in newsletter is neither yes nor no: 'maybe'"
    ann, bob = sorted(store.page_profiles(), key=lambda p: "city" not in p.attributes)
    assert (ann.attributes, ann.tags, ann.consents) == ({"city": "Paris", "score": 3}, ("vip", "new"), {"email/marketing": True})
    assert (bob.attributes, bob.tags, bob.consents) == ({}, (), {"email/marketing": False})
    assert ann.provenance["city"].source == "import"


def test_contacts_again_change_only_what_differs(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    path.write_text("id,city,plan,tags\n7,Paris,pro,vip\n8,Rome,free,\n")
    assert import_contacts(store, path, now=NOW).loaded == 2
    before = everything(store)
    settled(store)
    again = import_contacts(store, path, now=NOW + 1)
    assert (again.loaded, again.duplicates, again.touched) == (0, 2, False)
    assert everything(store) == before
    path.write_text("id,city,plan,tags\n7,Lyon,,vip;new\n8,Rome,free,\n")
    assert import_contacts(store, path, now=NOW + 2).loaded == 1
    profile = next(p for p in store.page_profiles() if "vip" in p.tags)
    assert (profile.attributes, profile.tags) == ({"city": "Lyon", "plan": "pro"}, ("vip", "new"))
    path.write_text("id,city,plan,tags\n7,Paris,pro,vip\n8,Rome,free,\n")
    import_contacts(store, path, now=NOW + 3)
    assert next(p for p in store.page_profiles() if "vip" in p.tags).attributes["city"] == "Paris"


def test_an_opt_out_is_not_undone_by_a_file(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    mapping = {"profile": "id", "consent": {"email/marketing": "news"}}
    for place, said in enumerate(("yes", "no", "yes")):
        path.write_text(f"id,news\n7,{said}\n")
        import_contacts(store, path, mapping, now=NOW + place)
    assert store.page_profiles()[0].consents == {"email/marketing": False}


def test_rows_that_would_join_two_people_are_left_out_and_told(store: SqlStore, tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("anonymous_id,date\nx,2025-01-01\n")
    second.write_text("id,anonymous_id,email,city\n7,,ann@example.org,Paris\n7,x,,Rome\n")
    import_events(store, first, {"type": "=page.viewed"}, now=NOW)
    report = import_contacts(store, second, {"profile": "id", "anonymous_id": "anonymous_id", "email": "email"}, now=NOW)
    assert (report.loaded, report.rejected) == (1, 1)
    assert rejected(second)[0]["line"] == 3


def test_facts_in_an_event_file_are_seen_on_the_profile(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(
        '{"user_id":"1","type":"tag.added","at":"2025-01-02","data":{"tag":"vip"}}\n'
        '{"user_id":"1","type":"profile.updated","at":"2025-01-01","data":{"attributes":{"city":"Rome"}}}\n'
    )
    import_events(store, path, now=NOW)
    profile = store.page_profiles()[0]
    assert (profile.attributes, profile.tags) == ({"city": "Rome"}, ("vip",))


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"profile": "nope"}, "no column 'nope'"),
        ({"profile": "a", "wat": "b"}, "wat"),
        ({"profile": "a", "type": "=x.y", "data": 3}, "data"),
        (None, "no column looks like"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused_with_everything_that_is_wrong(tmp_path: Path, mapping: Any, said: str) -> None:
    store = open_store(str(tmp_path / "t.db"))
    path = tmp_path / "file.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InvalidInput, match=said):
        import_events(store, path, mapping, now=NOW)
    store.close()


@pytest.mark.parametrize("text", ["", "a,,b\n1,2,3\n", "a,a\n1,2\n"])
def test_a_header_that_names_nothing_is_refused(tmp_path: Path, text: str) -> None:
    store = open_store(str(tmp_path / "t.db"))
    path = tmp_path / "file.csv"
    path.write_text(text)
    with pytest.raises(InvalidInput):
        import_events(store, path, {"profile": "a", "type": "=x.y", "at": "b"}, now=NOW)
    with pytest.raises(NotFound):
        import_events(store, tmp_path / "nothing.csv", now=NOW)
    store.close()


CHILD = """
import sys
from pathlib import Path
from tailorbird.runtime.imports import import_events
from tailorbird.storage import open_store

store = open_store(sys.argv[1])
store.claim()


def progress(done, total):
    print(done, flush=True)
    sys.stdin.readline()  # never more than a chunk ahead of who is to kill us


import_events(store, Path(sys.argv[2]), {"profile": "customer_id", "type": "=order.placed"}, now=int(sys.argv[3]), chunk=500,
              progress=progress)
"""


def test_an_import_that_is_killed_goes_on_where_it_was(store_url: str, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    lines = [f"{n % 700:05},2025-01-{n % 28 + 1:02},{n % 5},{n % 97}.50" for n in range(20_000)]
    path.write_text("customer_id,date,quantity,amount\n" + "\n".join(lines) + "\n")
    reached = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, store_url, str(path), str(NOW)], env=_environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as child:  # fmt: skip
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write("\n")
            for line in child.stdout:
                if int(line) > reached + 2_000:
                    reached = int(line)
                    break
                child.stdin.write("\n")
                child.stdin.flush()
            time.sleep(0.05)  # somewhere in the middle of a chunk
            child.kill()
            child.stdin.close()
    assert reached > 2_000
    store = open_store(store_url)
    store.claim()
    report = orders(store, path, chunk=500)
    assert report.resumed and report.loaded + report.duplicates == 20_000 - report.rejected
    expected = open_store(str(tmp_path / "other.db"))
    expected.claim()
    orders(expected, path)
    ours = sorted((e.id, e.at, json.dumps(e.data, sort_keys=True)) for e in store.events(limit=100_000))
    assert ours == sorted((e.id, e.at, json.dumps(e.data, sort_keys=True)) for e in expected.events(limit=100_000))
    assert store.count_profiles() == expected.count_profiles()
    store.close()
    expected.close()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
