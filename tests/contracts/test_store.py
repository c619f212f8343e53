"""What every store must do; the same sentences on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tailorbird.core.action import Action, ActionStatus
from tailorbird.core.definition import Definition
from tailorbird.core.event import SEGMENT_ENTERED, SEGMENT_EXITED, Event
from tailorbird.core.profile import Identifier, Profile, Provenance
from tailorbird.errors import InvalidInput, Unavailable
from tailorbird.ports import IdentifierRow, Membership, Merge, RecordRow, Unit
from tailorbird.storage import open_store
from tailorbird.storage.sql.store import SqlStore


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:
    opened = open_store(store_url)
    opened.claim()
    yield opened
    opened.close()


def person(key: int, **facts: object) -> Profile:
    return Profile(key=key, id=f"p_{key}", bucket=key * 7, created_at=5, **facts)  # type: ignore[arg-type]


def event(seq: int, *, profile: int = 1, at: int = 0, type: str = "page.viewed", **data: object) -> Event:
    return Event(id=f"e{seq}", type=type, profile=profile, at=at or seq, received_at=1_000, seq=seq, origin=profile, data=data)


def everything_beside(store: SqlStore) -> bytes:
    """Return what all the files of a SQLite database hold: its own, their logs, the journal."""
    path = store.database.path
    assert path is not None
    return b"".join(found.read_bytes() for found in path.parent.glob(f"{path.name}*") if found.is_file())


def write(
    store: SqlStore, *events: Event, profiles: list[Profile] | None = None, identifiers: list[IdentifierRow] | None = None
) -> None:
    unit = Unit()
    unit.events += events
    unit.profiles = {p.key: p for p in profiles or []}
    unit.identifiers += identifiers or []
    assert store.commit(unit)


def test_events_come_back_as_they_went_in(store: SqlStore) -> None:
    given = Event(
        id="é-1", type="Order Completed", profile=3, at=7, received_at=9, source="segment", cause="e0", seq=4, origin=2,
        data={"total": 1.5, "n": 12345678901234, "b": True, "none": None, "list": ["ü", "字", "🐦"], "deep": {"a.b": {"'": '"'}}},
    )  # fmt: skip
    write(store, given)
    assert store.event("é-1") == given
    assert store.events() == [given]
    assert store.last_seq() == 4


def test_history_is_in_order_of_time_then_arrival(store: SqlStore) -> None:
    write(store, event(1, at=50), event(2, at=10), event(3, at=50), event(4, profile=2, at=20), event(5, at=10, type="a.b"))
    history = store.history([1, 2, 9])
    assert [e.seq for e in history[1]] == [2, 5, 1, 3]
    assert [e.seq for e in history[2]] == [4]
    assert history[9] == []
    assert [e.seq for e in store.history([1], ["a.b"])[1]] == [5]


def test_timeline_pages_backward_without_gap_or_repeat(store: SqlStore) -> None:
    write(store, *(event(n, at=100 + n // 3) for n in range(1, 20)))
    seen: list[int] = []
    before = None
    while page := store.timeline(1, before=before, limit=4):
        seen += [e.seq for e in page]
        before = (page[-1].at, page[-1].seq)
    assert seen == list(range(19, 0, -1))


def test_an_event_id_is_stored_once(store: SqlStore) -> None:
    write(store, event(1, total=1))
    again = Event(id="e1", type="other", profile=2, at=3, received_at=4, seq=2, origin=2)
    write(store, again, event(3))
    assert store.event("e1") == event(1, total=1)
    assert store.known_ids(["e1", "e2", "e3"]) == {"e1", "e3"}


def test_a_sequence_number_given_twice_is_refused_not_dropped(store: SqlStore) -> None:
    write(store, event(1))
    unit = Unit()
    unit.events.append(Event(id="other", type="a.b", profile=1, at=1, received_at=1, seq=1, origin=1))
    with pytest.raises(Unavailable):
        store.commit(unit)
    assert store.event("other") is None


def test_a_unit_is_written_whole_or_not_at_all(store: SqlStore) -> None:
    unit = Unit()
    unit.profiles[1] = person(1)
    unit.timers[(1, "segments")] = 50
    unit.events += [event(1), Event(id="x", type="a.b", profile=1, at=1, received_at=1, seq=1, origin=1)]
    with pytest.raises(Unavailable):
        store.commit(unit)
    assert store.profiles([1]) == {}
    assert store.due_timers(100) == []
    assert store.events() == []


def test_profiles_are_replaced_and_found_by_key_and_id(store: SqlStore) -> None:
    full = person(
        1, attributes={"name": "Zoë", "tier": {"level": 3}}, provenance={"name": Provenance("text", "crm", 5, 6)},
        tags=("a", "b"), consents={"email/marketing": True},
    )  # fmt: skip
    write(store, profiles=[person(1), person(2, kind="company")])
    write(store, profiles=[full])
    assert store.profiles([1, 2, 3]) == {1: full, 2: person(2, kind="company")}
    assert store.profiles_by_id(["p_2", "p_9"]) == {"p_2": person(2, kind="company")}
    assert [p.key for p in store.page_profiles(kind="person")] == [1]
    assert [p.key for p in store.page_profiles(after=1)] == [2]
    assert (store.count_profiles(), store.next_profile_key()) == (2, 3)


def test_identifiers_resolve_to_their_latest_owner(store: SqlStore) -> None:
    write(
        store, identifiers=[IdentifierRow("email", "a@b.example", 1, 1, 5), IdentifierRow("external_id", "a@b.example", 2, 2, 6)]
    )
    write(store, identifiers=[IdentifierRow("email", "a@b.example", 3, 1, 5)])
    email, external = Identifier("email", "a@b.example"), Identifier("external_id", "a@b.example")
    found = store.resolve([email, external, Identifier("phone", "+33")])
    assert (found[email].profile, found[email].origin, found[external].profile, len(found)) == (3, 1, 2, 2)
    assert [row.kind for row in store.identifiers(3)] == ["email"]


def test_merged_profiles_give_up_everything_and_an_unmerge_gives_it_back(store: SqlStore) -> None:
    rows = [IdentifierRow("external_id", "ann", 1, 1, 1), IdentifierRow("anonymous_id", "x", 2, 2, 1)]
    write(store, event(1), event(2, profile=2), event(3, profile=2), profiles=[person(1), person(2)], identifiers=rows)
    unit = Unit()
    unit.profiles[2] = person(2, merged_into=1)
    unit.merges.append(Merge(id="m1", winner=1, loser=2, at=9, rule="anonymous", reason="identify"))
    unit.memberships.append(Membership("s", 1, 9, 1))
    store.rekey(unit, loser=2, winner=1)
    assert [e.seq for e in store.history([1])[1]] == [1, 2, 3]
    device = Identifier("anonymous_id", "x")
    assert store.resolve([device])[device] == IdentifierRow("anonymous_id", "x", 1, 2, 1)
    assert store.count_profiles() == 1
    undo = Unit()
    undo.profiles[2] = person(2)
    undo.merges.append(Merge(id="m1", winner=1, loser=2, at=9, rule="anonymous", reason="identify", undone_at=10))
    store.unrekey(undo, winner=1, origins=[2], loser=2)
    assert [e.seq for e in store.history([2])[2]] == [2, 3]
    assert [e.seq for e in store.history([1])[1]] == [1]
    assert store.resolve([device])[device].profile == 2
    assert [m.undone_at for m in store.merges(2)] == [10]


def test_replacing_members_keeps_those_who_stay_and_tells_of_each_change(store: SqlStore) -> None:
    write(store, profiles=[person(n) for n in range(1, 6)])
    assert store.replace_members("s", 1, [1, 2, 3], 100, "a1") == (3, 0)
    assert store.replace_members("s", 2, [2, 3, 4], 200, "a2") == (1, 1)
    assert [(m.profile, m.entered_at, m.version) for m in store.members("s")] == [(2, 100, 2), (3, 100, 2), (4, 200, 2)]
    told = [(e.type, e.profile, e.at, e.data["version"], e.data["reason"]) for e in store.events(after=3)]
    assert sorted(told) == [(SEGMENT_ENTERED, 4, 200, 2, "activation"), (SEGMENT_EXITED, 1, 200, 2, "activation")]
    assert store.flows("s", 0, 300, 100) == [(0, 0, 0), (100, 3, 0), (200, 1, 1)]
    assert store.segment_sizes() == {"s": 3}


def test_membership_follows_the_unit_and_overlaps_are_counted(store: SqlStore) -> None:
    unit = Unit()
    unit.memberships += [Membership("a", 1, 5, 1), Membership("b", 1, 6, 1), Membership("b", 2, 6, 1)]
    unit.events.append(event(1, type=SEGMENT_ENTERED, segment="a", version=1, reason="event"))
    store.commit(unit)
    assert store.overlap(["a", "b"]) == {("a", "b"): 1}
    leave = Unit()
    leave.left.append(("b", 1))
    store.commit(leave)
    assert store.memberships([1, 2]) == {1: [Membership("a", 1, 5, 1)], 2: [Membership("b", 2, 6, 1)]}
    assert store.members("b", after=2) == []


def test_timers_fire_in_order_and_the_earlier_stays(store: SqlStore) -> None:
    unit = Unit()
    unit.timers |= {(1, "segments"): 50, (2, "segments"): 40, (3, "segments"): 60}
    store.commit(unit)
    store.arm("segments", [(1, 70), (2, 30), (4, 55), (4, 45)])
    assert [(t.profile, t.due) for t in store.due_timers(100)] == [(2, 30), (4, 45), (1, 50), (3, 60)]
    assert [t.profile for t in store.due_timers(50, limit=2)] == [2, 4]
    gone = Unit()
    gone.timers[(2, "segments")] = -1
    store.commit(gone)
    assert store.next_due() == 45


def action(key: str, *, due: int = 10, **facts: object) -> Action:
    return Action(key=key, kind="webhook.post", connector="log", payload={"n": key}, due=due, **facts)  # type: ignore[arg-type]


def test_one_action_per_key_is_ever_admitted(store: SqlStore) -> None:
    unit = Unit()
    unit.actions += [action("k", due=1), action("k", due=2)]
    store.commit(unit)
    store.commit(unit)
    found = store.actions()
    assert [(a.key, a.due) for a in found] == [("k", 1)]


def test_a_leased_action_comes_back_only_when_its_lease_is_over(store: SqlStore) -> None:
    unit = Unit()
    unit.actions += [action("a", due=10, profile=1, channel="email"), action("b", due=5), action("late", due=99)]
    store.commit(unit)
    assert [a.key for a in store.lease_actions(20, limit=9, lease=100)] == ["b", "a"]
    assert store.lease_actions(50, limit=9, lease=100) == []
    assert [a.key for a in store.lease_actions(120, limit=2, lease=100)] == ["late", "a"]
    done = Unit()
    first = store.action("a")
    assert first is not None
    done.updated_actions.append(msgspec.structs.replace(first, status=ActionStatus.SENT, due=30))
    store.commit(done)
    assert store.count_actions() == {"sent": 1, "sending": 2}
    assert (store.sent_since(1, "email", 29), store.sent_since(1, "email", 30)) == (1, 0)


def test_definitions_keep_every_version(store: SqlStore) -> None:
    first = Definition(kind="segment", name="s", version=1, status="active", spec={"when": "a = 1"}, digest="d", created_at=1)
    second = Definition(
        kind="segment", name="s", version=2, status="draft", spec={"when": "a = 2"}, digest="e", created_at=2, error="x"
    )
    for one in (second, first, first):
        store.save_definition(one)
    assert store.definitions() == [first, second]
    assert store.definitions(status="draft", kind="segment", name="s") == [second]


def test_a_store_learns_that_another_one_wrote(store: SqlStore, store_url: str) -> None:
    other = open_store(store_url)
    other.set_meta("a", "1")
    unit = Unit()
    unit.events.append(event(1))
    assert store.commit(unit) is False
    assert store.events() == []
    assert store.commit(unit) is True
    other.save_definition(Definition(kind="segment", name="s", version=1, status="draft", spec={}, digest="", created_at=1))
    assert store.claim() is False
    assert store.claim() is True
    other.close()


def test_two_processes_write_at_once_and_nothing_is_lost(store: SqlStore, store_url: str, tmp_path: Path) -> None:
    script = tmp_path / "writer.py"
    script.write_text(
        "import sys\n"
        "from tailorbird.storage import open_store\n"
        "from tailorbird.core.event import Event\n"
        "from tailorbird.ports import Unit\n"
        "store = open_store(sys.argv[1])\n"
        "for n in range(60):\n"
        "    while True:\n"
        "        unit = Unit()\n"
        "        seq = store.last_seq() + 1\n"
        "        unit.events.append(Event(id=f'{sys.argv[2]}{n}', type='a.b', profile=1, at=1, received_at=1, seq=seq, origin=1))\n"
        "        if store.commit(unit):\n"
        "            break\n"
    )
    writers = [subprocess.Popen([sys.executable, str(script), store_url, name]) for name in "xy"]
    assert [w.wait(60) for w in writers] == [0, 0]
    found = store.events()
    assert len(found) == 120
    assert len({e.seq for e in found}) == 120


def test_replies_keys_and_small_things_are_kept(store: SqlStore) -> None:
    store.remember_reply("k", "d1", {"ok": [1, "é"]}, 5)
    assert store.recall_reply("k") == ("d1", {"ok": [1, "é"]})
    assert store.recall_reply("other") is None
    row = {"id": "1", "name": "n", "hash": "h", "scopes": ["read"], "created_at": 1, "expires_at": None, "revoked_at": None}
    store.save_key(row)
    store.save_key({**row, "revoked_at": 9})
    assert store.keys() == [{**row, "revoked_at": 9}]
    store.set_meta("a", "1")
    store.set_meta("a", "2")
    assert store.get_meta("a") == "2"


def test_a_forgotten_person_leaves_no_trace(store: SqlStore) -> None:
    secret = "zoe.hidden@example.com"
    rows = [IdentifierRow("email", secret, 1, 1, 1), IdentifierRow("anonymous_id", "hidden-device", 1, 2, 1)]
    people = [
        person(1, attributes={"email": secret, "filler": "x" * 5000}), person(2, merged_into=1, attributes={"note": secret}), person(3),
    ]  # fmt: skip
    write(store, event(1, email=secret, filler="y" * 5000), event(2, profile=3), profiles=people, identifiers=rows)
    write(store, profiles=[person(1, attributes={"email": secret, "again": True})])
    unit = Unit()
    unit.actions.append(action("mail", profile=1, channel="email"))
    unit.memberships.append(Membership("s", 1, 5, 1))
    unit.timers[(1, "segments")] = 9
    store.commit(unit)
    store.remember_reply("r", "d", {"email": secret}, 5)
    told: list[int] = []
    store.listeners.append(told.extend)
    assert store.forget(1) > 6
    assert told == [1, 2]
    assert store.profiles([1, 2]) == {}
    assert store.history([1, 2, 3]) == {1: [], 2: [], 3: [event(2, profile=3)]}
    assert (store.identifiers(1), store.memberships([1])[1], store.actions(), store.due_timers(99)) == ([], [], [], [])
    if not store.postgres:
        assert b"hidden" not in everything_beside(store)
        store.close()
        assert b"hidden" not in everything_beside(store)


def test_numbers_of_erased_rows_are_not_given_again(store: SqlStore) -> None:
    write(store, event(1), event(2, profile=2), profiles=[person(1), person(2)])
    store.forget(2)
    assert store.last_seq() == 2
    assert store.next_profile_key() == 3


def test_no_way_of_writing_gives_numbers_of_erased_rows_again(store: SqlStore) -> None:
    write(store, *(event(n, profile=n) for n in (1, 2, 3, 4)), profiles=[person(n) for n in (1, 2, 3, 4)])
    for key in (4, 3, 2):
        store.forget(key)
    write(store, msgspec.structs.replace(event(1), seq=0, id="unnumbered"))
    assert store.last_seq() == 5
    store.forget(1)
    assert store.replace_members("s", 1, [7], 100, "a") == (1, 0)
    assert [e.seq for e in store.events()] == [6]
    store.forget(7)
    columns = ("id", "type", "profile", "at", "received_at", "source", "data")
    with store.bulk().transaction() as tx:
        assert tx.next_key() == 5
        assert tx.add_events([("b", "t", 5, 1, 1, "s", "{}"), ("b", "t", 5, 1, 1, "s", "{}")], columns, {}) == 1
    with store.bulk().transaction() as tx:
        assert tx.add_events([("c", "t", 5, 1, 1, "s", "{}")], columns, {}) == 1
    found = [e.seq for e in store.events()]
    assert found[0] == 7
    assert len(found) == 2


def test_of_a_crowded_file_nothing_remains_of_the_forgotten(store: SqlStore) -> None:
    """Pages that were split and joined many times hold no left-over of who was erased."""
    seq = 0
    for round in range(6):
        unit = Unit()
        for key in range(1, 120):
            note = f"secret-of-{key}-" * (1 + (key * 7 + round) % 9)
            unit.profiles[key] = person(key, attributes={"note": note, "round": round})
            unit.identifiers.append(IdentifierRow("email", f"{key}-{round}@secret-of-{key}-.example", key, key, 1))
            for _ in range(2):
                seq += 1
                unit.events.append(event(seq, profile=key, note=note))
        assert store.commit(unit)
    for key in range(1, 120, 3):
        store.forget(key)
    assert len(store.history([1, 2])[2]) == 12
    if not store.postgres:
        store.close()
        left = everything_beside(store)
        assert b"secret-of-2-" in left
        assert [key for key in range(1, 120, 3) if f"secret-of-{key}-".encode() in left] == []


def test_what_a_merged_person_brought_is_forgotten_with_it(store: SqlStore) -> None:
    write(store, event(1), event(2, profile=2), profiles=[person(1), person(2)])
    unit = Unit()
    unit.profiles[2] = person(2, merged_into=1)
    store.rekey(unit, loser=2, winner=1)
    store.forget(2)
    assert [e.seq for e in store.history([1])[1]] == [1]


def test_what_tells_others_of_merges_with_the_forgotten_names_it_no_more(store: SqlStore) -> None:
    told = {"merge": "m", "winner": "p_1", "loser": "p_2"}
    tells = [event(1, type="profile.merged", **told), event(2, type="profile.unmerged", **told), event(3, note="p_2")]
    write(store, *tells, event(4, profile=2, type="profile.unmerged", **told), profiles=[person(1), person(2)])
    heard: list[int] = []
    store.listeners.append(heard.extend)
    store.forget(2)
    blank = {**told, "loser": None}
    assert [e.data for e in store.events()] == [blank, blank, {"note": "p_2"}]
    assert heard == [2, 1]


def test_many_members_are_replaced_at_once(store: SqlStore) -> None:
    assert store.replace_members("s", 1, range(1, 30_001), 100, "a1") == (30_000, 0)
    assert store.replace_members("s", 2, range(2, 30_002), 200, "a2") == (1, 1)
    assert store.segment_sizes() == {"s": 30_000}
    assert store.last_seq() == 30_002
    write(store, event(30_003))
    assert store.replace_members("s", 3, [], 300, "a3") == (0, 30_000)
    assert store.last_seq() == 60_003


def test_a_deliverer_without_work_leaves_the_caches_of_others_valid(store: SqlStore, store_url: str) -> None:
    other = open_store(store_url)
    assert other.lease_actions(10, limit=5, lease=5) == []
    assert store.claim() is True
    other.close()


def test_big_and_odd_values_come_back_whole(store: SqlStore) -> None:
    odd = {
        "big": "x" * 3_000_000, "quotes": "'; DROP TABLE event; --", "percent": "100 % %s ? :name", "": {"$.a": [[]]},
        "emoji": "👩‍👩‍👧 e\u0301",
    }  # fmt: skip
    write(store, event(1, **odd), identifiers=[IdentifierRow("email", "a'?%s@b.example", 1, 1, 1)])
    assert store.history([1])[1][0].data == odd
    assert list(store.resolve([Identifier("email", "a'?%s@b.example")]))


def test_a_server_that_dropped_us_is_asked_again(store: SqlStore, store_url: str) -> None:
    write(store, event(1))
    assert store.known_ids(["e1"]) == {"e1"}
    if not store.postgres:
        return
    import psycopg

    with psycopg.connect(store_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert store.known_ids(["e1"]) == {"e1"}
    write(store, event(2))
    assert store.last_seq() == 2


def test_an_error_names_no_values(store: SqlStore) -> None:
    unit = Unit()
    unit.events += [Event(id=f"secret{n}", type="a.b", profile=1, at=1, received_at=1, seq=7, origin=1) for n in (1, 2)]
    with pytest.raises(Unavailable) as caught:
        store.commit(unit)
    assert "secret" not in str(caught.value)
    assert store.commit(Unit()) is False, "after an error the caller has to reload"
    assert store.commit(Unit()) is True


def test_what_was_acknowledged_is_there_after_reopening(store: SqlStore, store_url: str) -> None:
    write(store, event(1), profiles=[person(1)])
    again = open_store(store_url)
    assert again.events() == [event(1)]
    again.close()


def test_a_store_that_is_closed_answers_nobody_and_opens_nothing_anew(store_url: str) -> None:
    store = open_store(store_url)
    store.claim()
    write(store, event(1))
    store.close()
    refused: list[Callable[[], object]] = [
        store.last_seq,
        lambda: store.known_ids(["e1"]),
        lambda: store.commit(Unit()),
        store.claim,
        store.others_wrote,
        lambda: store.lease_actions(1, limit=1, lease=1),
        store.database.checkpoint,
    ]
    for ask in refused:
        with pytest.raises(Unavailable, match="closed"):
            ask()
    store.close()
    if store.postgres:
        assert connections_to(store_url) == 0


def test_what_a_thread_still_reads_from_is_closed_when_it_is_done(store_url: str) -> None:
    store = open_store(store_url)
    store.claim()
    write(store, event(1))
    reading, closed, found = threading.Event(), threading.Event(), []

    def read() -> None:
        with store.database.reading() as connection, store.database.reading_raw() as raw:
            reading.set()
            assert closed.wait(30)
            found.extend([connection.exec_driver_sql("SELECT count(*) FROM event").scalar(), raw])

    thread = threading.Thread(target=read)
    thread.start()
    assert reading.wait(30)
    store.close()
    closed.set()
    thread.join(30)
    count, raw = found
    assert count == 1, "what was under way is finished"
    if store.postgres:
        assert raw.closed and connections_to(store_url) == 0
    else:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            raw.execute("SELECT 1")


def connections_to(url: str) -> int:
    """Return how many connections a PostgreSQL database has beside the one that asks; those that are ending are waited for."""
    import psycopg

    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(100):
            ((count,),) = connection.execute(asked).fetchall()
            if not count:
                break
            time.sleep(0.05)
    return int(count)


def test_a_url_that_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not exist"):
        open_store(str(tmp_path / "missing" / "x.db"))
    with pytest.raises(InvalidInput, match="mysql"):
        open_store("mysql://localhost/x")
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is not a database" * 100)
    with pytest.raises(Unavailable, match="cannot be opened"):
        open_store(str(broken))


def test_a_database_of_a_newer_program_is_left_alone(store: SqlStore, store_url: str) -> None:
    store.set_meta("schema", "99")
    with pytest.raises(InvalidInput, match="newer"):
        open_store(store_url)


def test_what_is_skipped_because_it_is_stored_is_not_counted_as_a_flow(store: SqlStore) -> None:
    def entered(id_: str, seq: int, type_: str = SEGMENT_ENTERED) -> Event:
        data = {"segment": "vip", "version": 1, "reason": "event"}
        return Event(id=id_, type=type_, profile=1, origin=1, at=1_000, received_at=1_000, data=data, seq=seq)

    def write(*events: Event) -> list[tuple[int, int, int]]:
        unit = Unit()
        unit.events = list(events)
        assert store.commit(unit)
        return store.flows("vip", 0, 10_000, 10_000)

    first = store.last_seq() + 1
    assert write(entered("a", first)) == [(0, 1, 0)]
    assert write(entered("a", first + 1), entered("b", first + 2, SEGMENT_EXITED)) == [(0, 1, 1)]
    assert write(entered("c", first + 3), entered("c", first + 4)) == [(0, 2, 1)]
    assert write(entered("a", 0), entered("d", 0), entered("d", 0)) == [(0, 3, 1)]


def record(id: str, profile: int, **facts: Any) -> RecordRow:
    known: dict[str, Any] = {
        "kind": "task", "origin": profile, "status": "open", "stage": None, "assignee": None, "due": None, "amount": None,
        "currency": None, "at": 5, "changed_at": 5, "data": {},
    }  # fmt: skip
    return RecordRow(id=id, profile=profile, **{**known, **facts})


def write_records(store: SqlStore, *rows: RecordRow) -> None:
    unit = Unit()
    unit.records += rows
    assert store.commit(unit)


def test_records_come_back_as_they_went_in_and_the_last_word_counts(store: SqlStore) -> None:
    given = record(
        "é 1", 3, kind="deal", stage="s", assignee="ü", due=7, amount=1.5, currency="EUR", data={"a": {"b": [None, "字"]}}
    )
    write_records(store, record("é 1", 3, kind="deal"), given)
    assert store.records("deal") == [given] and store.records("task") == []
    write_records(store, given._replace(status="won", amount=None))
    assert store.records("deal", id="é 1") == [given._replace(status="won", amount=None)]


def test_records_are_in_the_order_they_are_due_and_page_without_gap_or_repeat(store: SqlStore) -> None:
    rows = [record(f"r{n}", n % 3 + 1, due=[None, 40, 20, 20][n % 4], at=n % 5) for n in range(25)]
    write_records(store, *rows)
    whole = store.records("task", limit=100)
    places = [(2**53 if row.due is None else row.due, row.at, row.profile, row.id) for row in whole]
    assert places == sorted(places) and len(whole) == 25
    seen: list[RecordRow] = []
    after = None
    while page := store.records("task", after=after, limit=4):
        seen += page
        last = page[-1]
        after = (2**53 if last.due is None else last.due, last.at, last.profile, last.id)
    assert seen == whole
    assert {row.profile for row in store.records("task", profile=2, limit=100)} == {2}
    assert {row.due for row in store.records("task", due_before=21, limit=100)} == {20}


def test_deals_are_totalled_by_stage_and_currency(store: SqlStore) -> None:
    deals = [
        record("1", 1, kind="deal", stage="a", amount=1.5, currency="EUR"),
        record("2", 2, kind="deal", stage="a", amount=2.0, currency="EUR"),
        record("3", 2, kind="deal", stage="a"), record("4", 2, kind="deal", stage="b", status="won", amount=9.0, currency="USD"),
        record("5", 2, kind="deal", stage="a", status="won", amount=1.0, currency="USD"),
    ]  # fmt: skip
    write_records(store, *deals)
    assert store.deal_totals() == [("a", "open", None, 1, 0.0), ("a", "open", "EUR", 2, 3.5), (None, "won", "USD", 2, 10.0)]


def test_records_are_replaced_dropped_with_a_merge_and_erased(store: SqlStore) -> None:
    write(
        store,
        event(1, type="task.created"),
        event(2, profile=2, type="note.added"),
        event(3, profile=2, type="a"),
        profiles=[person(1), person(2)],
    )
    write_records(store, record("1", 1), record("2", 2), record("3", 2, kind="note"))
    assert store.told_of(("task.created", "note.added"), 0) == [1, 2] and store.told_of(("a", "note.added"), 2) == [2]
    store.replace_records([2], [record("9", 2)])
    assert [row.id for row in store.records("task")] == ["1", "9"] and store.records("note") == []
    assert store.claim() in (True, False)
    unit = Unit()
    unit.records = [record("1", 1), record("9", 1, origin=2)]
    assert store.rekey(unit, loser=2, winner=1)
    assert [(row.id, row.profile) for row in store.records("task")] == [("1", 1), ("9", 1)]
    back = Unit()
    back.records = [record("9", 2)]
    assert store.unrekey(back, winner=1, origins=[2], loser=2)
    assert [(row.id, row.profile) for row in store.records("task")] == [("9", 2)]
    store.forget(2)
    assert store.records("task") == []


def test_the_people_of_a_company_are_found_by_key(store: SqlStore) -> None:
    there = [person(n, attributes={"company_id": "acme" if n % 2 else "other", "x": n}) for n in range(1, 8)]
    there += [
        person(8),
        person(9, kind="company", attributes={"company_id": "acme"}),
        person(10, attributes={"company_id": "acme"}, merged_into=1),
    ]
    write(store, profiles=there)
    assert [p.key for p in store.contacts_of("acme", limit=3)] == [1, 3, 5]
    assert [p.key for p in store.contacts_of("acme", after=5)] == [7]


def test_a_database_of_the_first_version_is_brought_up_to_date(store: SqlStore, store_url: str) -> None:
    write(store, event(1), profiles=[person(1, attributes={"company_id": "acme"})])
    with store.database.writing() as connection:
        for statement in ("DROP TABLE record", "DROP INDEX profile_company"):
            connection.exec_driver_sql(statement)
    store.set_meta("schema", "1")
    again = open_store(store_url)
    again.claim()
    write_records(again, record("1", 1))
    assert len(again.records("task")) == 1 and [p.key for p in again.contacts_of("acme")] == [1]
    again.close()
