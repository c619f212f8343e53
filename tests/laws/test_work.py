"""Work of many steps and several processes: what lives is left alone, what died is finished, and who has to wait is told why."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from laws.test_crash import check_members
from laws.work_child import SEGMENTS
from tailorbird.engine import Engine
from tailorbird.errors import Unavailable
from tailorbird.runtime.ingest import Incoming
from tailorbird.settings import Settings

CHILD = Path(__file__).with_name("work_child.py")
PEOPLE = 40


@contextmanager
def working(url: str, place: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process until it is in the middle of its work."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(CHILD), url, place, *more]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "inside\n"
            yield child
        finally:
            child.kill()


def go_on(child: subprocess.Popen[str]) -> None:
    """Let it finish."""
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.wait(60) == 0


def kill(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()


def opened(url: str) -> Engine:
    return Engine.open(url, settings=Settings(deliver=False), connectors={})


@pytest.fixture
def url(store_url: str) -> str:
    with opened(store_url) as engine:
        engine.take([Incoming(type="page.viewed", identifiers={"external_id": f"u{n}"}) for n in range(PEOPLE)])
    return store_url


@pytest.fixture
def events(tmp_path: Path) -> str:
    path = tmp_path / "visits.csv"
    at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    path.write_text("who,at,n\n" + "".join(f"u{n % PEOPLE},{at},{n}\n" for n in range(200)))
    return str(path)


def check(engine: Engine) -> None:
    """Everything is as if nothing had happened on the way."""
    assert engine.loop.store.lease("work") is None
    assert {d.name for d in engine.definitions(status="active")} == {"seen", "often"}
    assert {e.data["name"] for e in engine.log(limit=10_000) if e.type == "definition.activated"} == {"seen", "often"}
    assert {s.name: s.size for s in engine.segments()}["seen"] == PEOPLE
    assert len(engine.store.due_timers(engine.now() + 2 * 86_400_000)) == PEOPLE
    check_members(engine)


@pytest.mark.parametrize("place", ["members", "timers"])
def test_an_activation_whose_process_was_killed_is_finished_by_the_next(url: str, place: str) -> None:
    with working(url, place) as child:
        kill(child)
    with opened(url) as engine:
        if place == "members":  # nothing had been changed yet
            assert engine.definitions(status="active") == []
            engine.apply(SEGMENTS)
        check(engine)


@pytest.mark.parametrize("place", ["members", "timers"])
def test_an_activation_under_way_is_left_alone_by_who_opens_the_database(url: str, place: str) -> None:
    with working(url, place) as child:
        with opened(url) as engine:
            holder = engine.parts.work.holder()
            assert holder is not None and str(child.pid) in holder.who
            assert engine.resume() is False
            assert engine.store.due_timers(engine.now() + 2 * 86_400_000) == []
            switched = 2 if place == "timers" else 0  # both at once, or none
            assert len([e for e in engine.log(limit=10_000) if e.type == "definition.activated"]) == switched
            assert len(engine.definitions(status="active")) == switched
            engine.parts.work.patience = 0.2
            told = (
                rf"A change of definitions is under way, by process {child.pid} on .* since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"
            )
            with pytest.raises(Unavailable, match=told):
                engine.apply({"kind": "segment", "name": "third", "when": "did(a)"})
            with pytest.raises(Unavailable, match=told):
                engine.import_events(__file__)
            # events are taken in meanwhile, and what they change is not lost by the activation
            engine.take([Incoming(type="page.viewed", identifiers={"external_id": f"u{n}"}) for n in range(5)])
        go_on(child)
    with opened(url) as engine:
        check(engine)
        assert {s.name: s.size for s in engine.segments()}["often"] == 5


def test_an_import_whose_process_was_killed_is_followed_by_the_next(url: str, events: str) -> None:
    with opened(url) as engine:
        engine.apply(SEGMENTS)
    with working(url, "import", events) as child:
        kill(child)
    with opened(url) as engine:
        stored = len([e for e in engine.log(limit=10_000) if e.type == "page.viewed"])
        assert PEOPLE < stored < PEOPLE + 200, "some of the file is there"
        check(engine)
        report = engine.import_events(events, {"external_id": "who", "type": "=page.viewed", "at": "at"})
        assert report.resumed and report.loaded + report.duplicates == 200
        check(engine)


def test_an_import_under_way_is_left_alone_and_followed_once_it_is_done(url: str, events: str) -> None:
    with opened(url) as engine:
        engine.apply(SEGMENTS)
    with working(url, "import", events) as child, opened(url) as engine:
        assert {s.name: s.size for s in engine.segments()}["often"] == 0
        engine.parts.work.patience = 0.2
        with pytest.raises(Unavailable, match=r"An import of visits\.csv is under way, by process"):
            engine.apply({"kind": "segment", "name": "third", "when": "did(a)"})
        engine.track("page.viewed", profile="u1")
        go_on(child)
        assert engine.resume() is False
        check(engine)


def test_a_server_that_is_there_already_finishes_what_dies_beside_it(url: str) -> None:
    with opened(url) as engine:
        with working(url, "timers") as child:
            assert engine.resume() is False
            kill(child)
        assert engine.resume() is True
        check(engine)


def test_who_asks_for_the_same_waits_for_a_little_while(url: str) -> None:
    with working(url, "timers") as child, opened(url) as engine:
        engine.parts.work.patience = 30
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        engine.apply({"kind": "segment", "name": "third", "when": "did(nothing)"})
        assert {d.name for d in engine.definitions(status="active")} == {"seen", "often", "third"}


def test_a_lease_is_kept_while_the_work_lasts_and_its_loss_is_noticed(url: str) -> None:
    with opened(url) as engine, opened(url) as other:
        work = engine.parts.work
        work.beat = 0.05
        with work.doing("Something long") as held:
            lease = work.holder()
            assert lease is not None and lease.what == "Something long"
            deadline = time.monotonic() + 30
            while (now := other.store.lease("work")) is not None and now.until == lease.until:
                assert time.monotonic() < deadline, "nobody keeps the lease"
                time.sleep(0.02)
            held.check()
            other.store.keep_lease("work", lease.token, lasting=-1)  # as if it had been stopped for an hour
            taken = other.store.take_lease("work", "another", "The same", lasting=60_000)
            while taken.token != "another":
                other.store.keep_lease("work", lease.token, lasting=-1)
                taken = other.store.take_lease("work", "another", "The same", lasting=60_000)
            with pytest.raises(Unavailable, match="took this work over"):
                while time.monotonic() < deadline:
                    held.check()
                    time.sleep(0.02)
        still = other.store.lease("work")
        assert still is not None and still.token == "another", "what is another's is not given back"
        assert re.fullmatch(r"process \d+ on .+", still.who)
