"""Importing while serving: rows that join people are taken like any event, and others are answered in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event as Signal
from typing import Any

import pytest

from tailorbird.core.context import DAY, ManualClock
from tailorbird.engine import Engine
from tailorbird.segments.preview import current_members

NOW = 1_763_700_000_000
SEGMENTS = "\n---\n".join(
    f"kind: segment\nname: {name}\nwhen: {when}"
    for name, when in {
        "buyer": "did(order.placed)",
        "keen": "count(order.placed, within 30d) >= 3",
        "french": 'country = "FR"',
        **{f"spent_{n}": f"sum(order.placed.total, within {n}d) > {n}" for n in range(20, 40)},
    }.items()
)


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    with Engine.open(store_url, clock=ManualClock(NOW)) as opened:
        opened.apply(SEGMENTS + "\n")
        yield opened


def log(engine: Engine) -> list[tuple[Any, ...]]:
    events = engine.log(limit=100_000)
    return sorted((e.id, e.type, e.profile, e.at, json.dumps(e.data, sort_keys=True)) for e in events)


def wrong(engine: Engine) -> dict[str, set[int]]:
    """What members differ from what the conditions say of everybody."""
    batch, now = engine.store.batch(), engine.now()
    return {
        name: found
        for name, node in engine.parts.catalog.conditions.items()
        if (found := set(batch.members(node, now)) ^ set(current_members(engine.store, name)))
    }


def two_people(engine: Engine) -> None:
    engine.identify(identifiers={"anonymous_id": "visitor"})
    engine.track("page.viewed", identifiers={"anonymous_id": "visitor"})
    engine.identify("ann", attributes={"country": "DE"})


def test_events_that_join_people_are_taken_in_the_order_of_the_file_and_once(engine: Engine, tmp_path: Path) -> None:
    two_people(engine)
    file = tmp_path / "orders.csv"
    file.write_text(
        "customer,visitor,at,total\n"
        "ann,visitor,2025-11-20,10\n"  # joins the two
        "bob,,2025-11-19,1\n"
        "ann,visitor,2025-11-20,10\n"
        "ann,visitor,2025-11-21T00:00:00Z,30\n"
    )
    mapping = {"external_id": "customer", "anonymous_id": "visitor", "at": "at", "type": "=order.placed"}
    report = engine.import_events(file, mapping)
    assert (report.loaded, report.joined, report.rejected, report.duplicates) == (4, 3, 0, 0)
    ann = engine.profile("ann")
    assert {i.value for i in ann.identifiers} == {"ann", "visitor"}
    assert [e.data["total"] for e in engine.timeline("ann").events if e.type == "order.placed"] == [30, 10, 10]
    assert ann.segments == ("buyer", "keen", *(f"spent_{n}" for n in range(20, 40)))
    assert engine.merges("ann") and wrong(engine) == {}
    before = log(engine)
    assert engine.import_events(file, mapping).already
    again = tmp_path / "again.csv"  # the same rows in a file of its own
    again.write_text(file.read_text() + "bob,,2025-11-21T01:00:00Z,7\n")
    more = engine.import_events(again, mapping)
    assert (more.loaded, more.duplicates, more.joined) == (1, 4, 0)
    assert [row for row in log(engine) if row not in before and not row[1].startswith("segment.")] == [
        row for row in log(engine) if '"total": 7' in row[4]
    ]


def test_contacts_that_join_people_are_taken_and_twice_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    engine.identify("ann", attributes={"country": "DE"})
    engine.identify(identifiers={"anonymous_id": "visitor"}, attributes={"colour": "red"})
    engine.consent("ann", "email", "marketing", False, explicit=True)
    file = tmp_path / "people.csv"
    file.write_text("id,visitor,country,tags,mail\nann,visitor,FR,vip;new,yes\nbob,,FR,,no\n")
    mapping: Any = {"external_id": "id", "anonymous_id": "visitor", "tags": "tags", "consent": {"email/marketing": "mail"}}
    report = engine.import_contacts(file, mapping)
    assert (report.loaded, report.joined, report.rejected) == (2, 1, 0), report
    ann = engine.profile("ann")
    assert ann.attributes == {"country": "FR", "colour": "red"}
    assert set(ann.tags) == {"vip", "new"}
    assert ann.consents == {"email/marketing": False}, "an import does not undo an opt-out"
    assert ann.segments == ("french",) and wrong(engine) == {}
    before = log(engine)
    again = engine.import_contacts(file, mapping)
    assert (again.loaded, again.duplicates, again.joined) == (0, 2, 0) and log(engine) == before


def test_a_joining_row_that_the_loop_refuses_is_told_with_its_line(engine: Engine, tmp_path: Path) -> None:
    two_people(engine)
    file = tmp_path / "mixed.csv"
    file.write_text("who,visitor,at,type\nbob,,2025-11-20,a\nann,visitor,2025-11-20,definition.made\nann,visitor,2025-11-20,a\n")
    mapping = {"external_id": "who", "anonymous_id": "visitor", "at": "at", "type": "type"}
    report = engine.import_events(file, mapping)
    assert (report.loaded, report.joined, report.rejected) == (2, 1, 1)
    told = json.loads(Path(report.rejected_path or "").read_text())
    assert told["line"] == 3 and "Tailorbird's own" in told["reason"]


def test_others_are_answered_during_an_import_and_nothing_is_lost(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    rows = [f"p{n % 400},{NOW - n * DAY // 200},{n % 7}" for n in range(4_000)]
    file.write_text("\n".join(["customer,at,total", *rows]) + "\n")
    answered: list[int] = []
    over = Signal()

    def customer() -> int:
        count = 0
        while not over.is_set():
            receipt = engine.track("order.placed", profile=f"p{count % 500}", id=f"live-{count}", total=5)
            assert receipt.status == "accepted" and "buyer" in receipt.segments
            count += 1
        return count

    def progress(done: int, total: int) -> None:
        """Between two portions of the file somebody else is answered: nothing is held then."""
        with ThreadPoolExecutor(1) as other:
            receipt = other.submit(engine.track, "order.placed", profile=f"p{len(answered)}", total=1).result(timeout=60)
        assert receipt.status == "accepted"
        answered.append(done)

    mapping = {"external_id": "customer", "at": "at", "type": "=order.placed"}
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(customer)
        try:
            report = engine.import_events(file, mapping, chunk=500, progress=progress)
        finally:
            over.set()
        live = busy.result(timeout=60)
    assert answered == list(range(500, 4_001, 500)) and report.loaded == 4_000
    events = engine.log(limit=100_000)
    assert sum(e.type == "order.placed" for e in events) == 4_000 + live + len(answered)
    assert len({e.seq for e in events}) == len({e.id for e in events}) == len(events)
    assert wrong(engine) == {}
    engine.advance_to(NOW + 45 * DAY)
    assert wrong(engine) == {}, "and everybody leaves on time afterwards"


def test_people_joined_or_erased_during_an_import_keep_or_lose_what_comes_after(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("customer,at,total\n" + "".join(f"{who},2025-11-{day:02},1\n" for who in "abcd" for day in range(1, 11)))
    merged: list[str] = []

    def progress(done: int, total: int) -> None:
        if not merged:
            merged.append(engine.merge("a", "b").id)
            engine.forget("c")

    mapping = {"external_id": "customer", "at": "at", "type": "=order.placed"}
    engine.import_events(file, mapping, chunk=1, progress=progress)
    assert engine.evaluate("count(order.placed)", profile="a").value == 20
    assert engine.store.resolve([]) == {} and len(engine.merges("a")) == 1
    engine.unmerge(merged[0])
    assert [engine.evaluate("count(order.placed)", profile=who).value for who in "abd"] == [10, 10, 10]
    keys = {profile.key for profile in engine.store.page_profiles(limit=100)}
    assert {e.profile for e in engine.log(limit=10_000)} - {0} <= keys, "nothing is kept of who was erased"
    assert wrong(engine) == {}
