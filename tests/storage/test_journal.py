"""The journal of a busy SQLite database: everybody sees everything, whoever moves it over, and nothing is there twice."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailorbird.core.event import SEGMENT_ENTERED, SEGMENT_EXITED, Event
from tailorbird.core.profile import Profile
from tailorbird.errors import InvalidInput, Unavailable
from tailorbird.ports import Membership, Unit
from tailorbird.storage import open_store
from tailorbird.storage.sql import journal
from tailorbird.storage.sql.connecting import connect_sqlite
from tailorbird.storage.sql.store import SqlStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'shop.db'}?journal=0")
    opened.claim()
    yield opened
    opened.close()


def unit_of(first: int, count: int = 20, *, people: int = 7) -> Unit:
    """Return a unit with so many events, a membership that comes or goes with each, a timer and a profile for each person."""
    unit = Unit()
    moves: dict[tuple[str, int], bool] = {}
    for seq in range(first, first + count):
        key, came = seq % people + 1, seq % 3 > 0
        data = {"segment": "vip", "version": 1, "reason": "event"}
        type_ = SEGMENT_ENTERED if came else SEGMENT_EXITED
        unit.events.append(Event(id=f"e{seq}", type=type_, profile=key, origin=key, at=seq, received_at=seq, seq=seq, data=data))
        unit.profiles[key] = Profile(key=key, id=f"p_{key}", bucket=key, attributes={"seen": seq})
        unit.timers[key, "segments"] = -1 if seq % 5 == 0 else seq + 100
        moves["vip", key] = came
    unit.memberships = [Membership(name, key, first, 1) for (name, key), came in moves.items() if came]
    unit.left = [place for place, came in moves.items() if not came]
    return unit


def facts(store: SqlStore) -> tuple[object, ...]:
    """Return all that such units leave behind."""
    return (
        store.events(limit=10_000), store.members("vip", limit=100), store.due_timers(10**9), store.profiles(list(range(1, 20))),
        store.flows("vip", 0, 10_000, 100),
    )  # fmt: skip


def journals(store: SqlStore) -> list[Path]:
    path = store.database.path
    assert path is not None
    return sorted(found for found in path.parent.glob(f"{path.name}.journal-*") if not found.name.endswith(("-wal", "-shm")))


def test_by_way_of_the_journal_everything_is_as_it_would_be_directly(store: SqlStore, tmp_path: Path) -> None:
    direct = open_store(str(tmp_path / "direct.db"))
    direct.claim()
    for first in range(1, 400, 13):
        assert store.commit(unit_of(first, 13)) and direct.commit(unit_of(first, 13))
        if first % 3 == 0:
            assert facts(store) == facts(direct)
    assert facts(store) == facts(direct)
    assert len(journals(store)) == 1
    direct.close()
    store.close()
    assert journals(store) == []


def test_who_reads_sees_what_another_process_has_in_its_journal_and_leaves_it_that(store: SqlStore) -> None:
    other = open_store(store.url)
    for number in range(10):
        assert store.commit(unit_of(1 + 20 * number))
        assert len(other.events(limit=10_000)) == 20 * (number + 1)
        assert other.known_ids([f"e{20 * number + 5}", "never"]) == {f"e{20 * number + 5}"}
    assert facts(other) == facts(store)
    assert len(journals(store)) == 1
    other.close()
    assert store.commit(unit_of(201))


def test_who_writes_takes_the_journal_over_and_its_owner_learns_of_it(store: SqlStore) -> None:
    other = open_store(store.url)
    assert store.commit(unit_of(1))
    owned = journals(store)
    assert not other.commit(unit_of(21))  # somebody wrote since it opened
    assert journals(store) == [] != owned
    other.claim()
    assert other.commit(unit_of(21))
    assert not store.commit(unit_of(41))
    store.claim()
    assert store.commit(unit_of(41))
    assert [event.seq for event in other.events(limit=100)] == list(range(1, 61))
    other.close()


def test_an_interrupted_move_is_not_made_twice(store: SqlStore, tmp_path: Path) -> None:
    assert store.commit(unit_of(1, 50)) and store.commit(unit_of(51, 50))
    expected = facts(store)
    database, (name,) = store.database.path, [path.suffix[1:] for path in journals(store)]
    assert database is not None
    copied = tmp_path / "copy" / "shop.db"
    copied.parent.mkdir()
    with sqlite3.connect(f"{database}") as raw:
        raw.execute("VACUUM INTO ?", (str(copied),))
    # A journal with the very same units, as one that was moved over by a process that was killed before it could clear it.
    again = journal.Journal(journal.journal_path(copied, name), lambda path: connect_sqlite(path, read_only=False), highest=0)
    assert again.append(unit_of(1, 50)) and again.append(unit_of(51, 50))
    again.close()
    opened = open_store(str(copied))
    opened.claim()
    assert facts(opened) == expected
    assert journals(opened) == []
    opened.close()


def test_a_missing_journal_is_told_and_nothing_is_written_until_it_is_back(store: SqlStore, tmp_path: Path) -> None:
    database = store.database.path
    assert database is not None and store.database.journals is not None
    store.database.journals._stop.set()  # nobody moves it over meanwhile
    assert store.commit(unit_of(1))
    (found,) = journals(store)
    copied = tmp_path / "copy" / "shop.db"
    copied.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{database}{suffix}", f"{copied}{suffix}")
    with pytest.raises(Unavailable, match=rf"{found.name.removeprefix('shop.db')}.*not there"):
        open_store(str(copied)).claim()
    for suffix in ("", "-wal"):
        shutil.copy(f"{found}{suffix}", f"{copied.parent / found.name}{suffix}")
    again = open_store(str(copied))
    again.claim()
    assert len(again.events(limit=100)) == 20
    again.close()


def test_units_are_taken_while_others_are_moved_over_and_read(store: SqlStore) -> None:
    seen: list[int] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.append(len(store.events(limit=100_000)))

    reader = threading.Thread(target=read)
    reader.start()
    for first in range(1, 4_000, 20):
        assert store.commit(unit_of(first))
    over.set()
    reader.join()
    assert [event.seq for event in store.events(limit=100_000)] == list(range(1, 4_001))
    assert seen == sorted(seen) and all(count % 20 == 0 for count in seen)


def test_a_number_that_was_given_before_is_refused_and_stops_nothing(store: SqlStore) -> None:
    assert store.commit(unit_of(1))
    wrong = unit_of(20, 3)
    wrong.events[0] = Event(id="other", type="a.b", profile=1, origin=1, at=1, received_at=1, seq=20)
    with pytest.raises(Unavailable):
        store.commit(wrong)
    store.claim()
    assert store.commit(unit_of(21))
    assert len(store.events(limit=100)) == 40


def test_an_unknown_option_of_a_url_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="journal=16"):
        open_store(f"sqlite:///{tmp_path / 'x.db'}?jurnal=1")


def test_what_waits_is_known_by_everybody_also_while_it_is_being_taken_over(store: SqlStore) -> None:
    other = open_store(store.url)
    assert store.commit(unit_of(1))
    assert other.known_ids(["e3", "e999"]) == {"e3"}
    assert store.identifiers(1) == [] and other.history([3])[3] == store.history([3])[3] != []
    assert store.database.journals is not None
    store.database.journals.drop()  # as its owner does when it finds it closed, before the other one has moved it over
    assert store.known_ids(["e3", "e999"]) == {"e3"}
    assert [event.seq for event in store.history([3])[3]] == [event.seq for event in other.history([3])[3]]
    other.close()


def test_who_reads_beside_a_journal_with_nothing_in_it_waits_for_no_writer(store: SqlStore) -> None:
    other = open_store(store.url)
    assert store.commit(unit_of(1))
    assert len(store.events(limit=100)) == 20  # moved over
    with store.alone():
        seen: list[int] = []
        reader = threading.Thread(target=lambda: seen.append(len(other.events(limit=100))))
        reader.start()
        reader.join(5)
        assert seen == [20]
    other.close()


def test_an_import_or_activation_that_is_alone_may_ask_the_columns(store: SqlStore) -> None:
    assert store.commit(unit_of(1))
    with store.alone():
        store.database.freshen()
        assert len(store.events(limit=100)) == 20


def test_what_a_killed_process_left_is_removed_when_somebody_is_forgotten_and_on_opening(store: SqlStore) -> None:
    assert store.commit(unit_of(1))
    path = store.database.path
    assert path is not None
    (mine,) = journals(store)
    for suffix in ("", "-wal"):
        (path.parent / f"{path.name}.journal-000000000000{suffix}").write_text("what somebody said")
    store.forget(1)
    assert journals(store) == [mine]
    (path.parent / f"{path.name}.journal-000000000001").write_text("what somebody said")
    open_store(store.url).close()
    assert not (path.parent / f"{path.name}.journal-000000000001").exists()


def test_numbers_given_directly_are_not_given_again_by_way_of_the_journal(store: SqlStore) -> None:
    assert store.commit(unit_of(1))
    store.replace_members("vip", 2, list(range(1, 40)), 50, "activation")
    taken = store.last_seq()
    assert taken > 20
    with pytest.raises(Unavailable):
        store.commit(unit_of(taken, 3))
    store.claim()
    assert store.commit(unit_of(taken + 1))
    assert len({event.seq for event in store.events(limit=1_000)}) == len(store.events(limit=1_000)) == taken + 20
