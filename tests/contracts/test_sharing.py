"""What every store must do where several processes share a database: who wrote, who is alone, and whose work it is."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailorbird.core.action import Action, ActionStatus
from tailorbird.core.event import Event
from tailorbird.core.profile import Profile
from tailorbird.errors import Unavailable
from tailorbird.expr.parse import parse
from tailorbird.ports import Unit
from tailorbird.storage import open_store
from tailorbird.storage.sql.store import SqlStore

SECOND = 1000


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:
    opened = open_store(store_url)
    opened.claim()
    yield opened
    opened.close()


@pytest.fixture
def other(store: SqlStore, store_url: str) -> Iterator[SqlStore]:
    opened = open_store(store_url)
    opened.claim()
    yield opened
    opened.close()


def one(seq: int) -> Unit:
    unit = Unit()
    unit.events.append(Event(id=f"e{seq}", type="a.b", profile=1, at=1, received_at=1, seq=seq, origin=1))
    return unit


# ---- who wrote


def test_a_store_sees_without_writing_that_another_one_wrote(store: SqlStore, other: SqlStore) -> None:
    assert not store.others_wrote() and not other.others_wrote()
    assert other.commit(one(1))
    assert store.others_wrote() and not other.others_wrote()
    assert store.claim() is False
    assert not store.others_wrote()
    assert other.commit(one(2))
    assert store.others_wrote(), "each write after a claim shows, also one more by the same writer"
    assert not other.others_wrote(), "a claim is nothing that others have to read"


def test_who_only_claimed_costs_others_nothing(store: SqlStore, other: SqlStore) -> None:
    assert store.commit(one(1))
    assert other.claim() is False
    assert store.commit(one(2)), "nobody wrote in between"
    assert other.commit(one(3)) is False
    assert other.commit(one(3))
    assert store.commit(one(4)) is False


def test_two_who_claimed_notice_each_other(store: SqlStore, other: SqlStore) -> None:
    assert store.claim() and other.claim()
    assert store.commit(one(1))
    assert other.others_wrote()
    assert other.commit(one(2)) is False


def test_who_asks_about_everybody_makes_nobody_read_anew(store: SqlStore, other: SqlStore) -> None:
    assert store.batch().count(parse("did(a)"), 1) == 0  # the first who asks may make what it needs for that
    other.claim()
    store.set_meta("a", "1")
    assert other.batch().count(parse("did(a)"), 1) == 0
    assert not store.others_wrote()


def test_an_error_makes_us_read_anew(store: SqlStore, other: SqlStore) -> None:
    assert store.commit(one(1))
    twice = one(2)
    twice.events += one(1).events
    twice.events[-1] = Event(id="other", type="a.b", profile=1, at=1, received_at=1, seq=2, origin=1)
    with pytest.raises(Unavailable):
        store.commit(twice)
    assert store.others_wrote()
    assert store.claim() is False
    assert not store.others_wrote()


# ---- alone


def test_what_is_written_alone_is_seen_by_who_writes_it_and_by_others_at_the_end(store: SqlStore, other: SqlStore) -> None:
    with store.alone() as kept:
        assert kept
        assert store.commit(one(1))
        store.set_meta("a", "1")
        assert (store.last_seq(), store.get_meta("a"), store.known_ids(["e1"])) == (1, "1", {"e1"})
        assert (other.last_seq(), other.get_meta("a")) == (0, None)
        with store.alone() as again:
            assert again
    assert (other.last_seq(), other.get_meta("a")) == (1, "1")
    assert other.others_wrote() and not store.others_wrote()


def test_what_was_written_alone_is_gone_after_an_error(store: SqlStore, other: SqlStore) -> None:
    with pytest.raises(RuntimeError), store.alone():
        store.commit(one(1))
        raise RuntimeError
    assert store.last_seq() == other.last_seq() == 0
    assert store.commit(one(1)) is False, "what is in memory is not to be trusted"
    assert store.commit(one(1)) is True


def test_who_is_alone_is_told_that_others_wrote_before(store: SqlStore, other: SqlStore) -> None:
    other.set_meta("a", "1")
    with store.alone() as kept:
        assert not kept
        assert store.get_meta("a") == "1"
        assert store.commit(one(1)), "from here on nobody can be in between"


def test_who_was_alone_without_reading_anew_still_has_to(store: SqlStore, other: SqlStore) -> None:
    other.set_meta("a", "1")
    with store.alone() as kept:
        assert not kept
        store.set_meta("b", "1")
    assert store.others_wrote()
    assert store.commit(one(1)) is False
    other.set_meta("a", "2")
    with store.alone():
        assert store.claim() is False
        assert store.claim() is True
    assert not store.others_wrote()
    assert store.commit(one(1))


def test_others_wait_while_one_is_alone(store: SqlStore, other: SqlStore) -> None:
    done: list[bool] = []
    writer = threading.Thread(target=lambda: done.append(other.commit(one(1))))
    with store.alone():
        writer.start()
        writer.join(0.3)
        assert writer.is_alive()
        assert store.commit(one(1))
    writer.join(30)
    assert done == [False]


def test_who_keeps_a_copy_of_events_is_told_after_the_end_of_being_alone(store: SqlStore) -> None:
    unit = Unit()
    unit.profiles |= {n: Profile(key=n, id=f"p_{n}", bucket=n, created_at=1) for n in (1, 2)}
    assert store.commit(unit)
    told: list[tuple[int, bool]] = []
    reader = open_store(store.url)
    store.listeners.append(lambda keys: told.extend((key, reader.profiles([2])[2].merged_into == 1) for key in keys))
    merged = Unit()
    merged.profiles[2] = Profile(key=2, id="p_2", bucket=2, created_at=1, merged_into=1)
    with store.alone():
        assert store.rekey(merged, loser=2, winner=1)
        assert told == []
    assert told == [(2, True), (1, True)]
    reader.close()


# ---- leases


def test_a_lease_is_one_holders_until_it_gives_it_back(store: SqlStore, other: SqlStore) -> None:
    assert store.lease("work") is None
    mine = store.take_lease("work", "m", "an import", lasting=60 * SECOND)
    assert (mine.token, mine.what, mine.until - mine.since) == ("m", "an import", 60 * SECOND)
    assert other.lease("work") == mine
    assert other.take_lease("work", "o", "an activation", lasting=60 * SECOND) == mine
    assert other.take_lease("other work", "o", "", lasting=SECOND).token == "o"
    other.drop_lease("work", "o")
    assert not other.keep_lease("work", "o", lasting=SECOND)
    assert store.keep_lease("work", "m", lasting=90 * SECOND)
    kept = other.lease("work")
    assert kept is not None and kept.until >= mine.until + 29 * SECOND and kept.since == mine.since
    store.drop_lease("work", "m")
    assert other.lease("work") is None
    assert other.take_lease("work", "o", "", lasting=SECOND).token == "o"


def test_a_lease_that_was_not_kept_is_anybodys(store: SqlStore, other: SqlStore) -> None:
    store.take_lease("work", "m", "", lasting=1)
    time.sleep(0.01)
    assert other.lease("work") is None
    assert other.take_lease("work", "o", "", lasting=60 * SECOND).token == "o"
    assert not store.keep_lease("work", "m", lasting=60 * SECOND), "it is told that it lost it"


def test_keeping_leases_makes_nobody_read_anew(store: SqlStore, other: SqlStore) -> None:
    assert store.commit(one(1))
    other.claim()
    store.take_lease("work", "m", "", lasting=SECOND)
    store.keep_lease("work", "m", lasting=SECOND)
    assert not other.others_wrote() and not store.others_wrote()
    other.keep_lease("work", "m", lasting=SECOND)
    assert store.commit(one(2))


def test_the_lease_of_a_process_that_died_on_this_machine_is_free_at_once(store: SqlStore, store_url: str) -> None:
    script = (
        "import sys, time\n"
        "from tailorbird.storage import open_store\n"
        "open_store(sys.argv[1]).take_lease('work', 'dead', 'an import', lasting=3_600_000)\n"
        "print('taken', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, store_url], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "taken\n"
        held = store.lease("work")
        assert held is not None and str(child.pid) in held.who
        assert store.take_lease("work", "m", "", lasting=SECOND) == held
        child.kill()
        child.wait()
    if not Path("/proc/self/ns/pid").exists():
        pytest.skip("this system does not tell which processes live")
    assert store.lease("work") is None
    assert store.take_lease("work", "m", "", lasting=SECOND).token == "m"


def test_many_who_want_a_lease_at_once_get_it_one_after_the_other(store: SqlStore, store_url: str) -> None:
    stores = [open_store(store_url) for _ in range(4)]
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda s=s, n=n: found.append(s.take_lease("work", f"t{n}", "", lasting=60 * SECOND).token))
        for n, s in enumerate(stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1
    for opened in stores:
        opened.close()


# ---- the outbox


def test_taking_an_action_for_delivery_counts_as_an_attempt(store: SqlStore, other: SqlStore) -> None:
    unit = Unit()
    unit.actions += [
        Action(key=key, kind="webhook.post", connector="log", payload={}, due=due) for key, due in (("a", 10), ("b", 5))
    ]
    assert store.commit(unit)
    assert [(a.key, a.attempts) for a in store.lease_actions(20, limit=9, lease=100)] == [("b", 1), ("a", 1)]
    again = other.lease_actions(121, limit=9, lease=100)
    assert [(a.key, a.attempts, a.status, a.due) for a in again] == [
        ("a", 2, ActionStatus.SENDING, 221), ("b", 2, ActionStatus.SENDING, 221),
    ]  # fmt: skip
    assert {a.key: a.attempts for a in store.actions()} == {"a": 2, "b": 2}
