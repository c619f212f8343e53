"""Activities written into a CRM that answers in 50 ms, a cached read, an outage drained, and calls saved on a day of reads."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from _report import report
from tailorbird.connectors.memory import MemoryCrm
from tailorbird.core.connection import Link
from tailorbird.core.context import SECOND, ManualClock
from tailorbird.crm.model import Activity, Logged, Row
from tailorbird.crm.port import Limits
from tailorbird.engine import Engine
from tailorbird.engine.clients import Clients

LATENCY = 0.05
T0 = 1_800_000_000_000


class SlowCrm(MemoryCrm):
    """A CRM in memory that takes a while to take activities, ``batch`` in one call; the waits of several calls overlap."""

    def __init__(self, *, batch: int, latency: float = LATENCY, **options: Any) -> None:
        super().__init__("slow", **options)
        self.capabilities = msgspec.structs.replace(self.capabilities, limits=Limits(batch_activities=batch))
        self.latency = latency

    def log_activities(self, activities: Sequence[Activity]) -> list[Logged]:
        """Take activities after a while."""
        time.sleep(self.latency)
        return super().log_activities(activities)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of everything")
    small = parser.parse_args().small
    rows = [
        *(_sustained(batch, 1_000 if small else 10_000) for batch in (100, 1)),
        _outage(1 if small else 10),
        _cached_read(10_000 if small else 100_000),
        _day(500 if small else 2_000),
    ]
    report(
        "crm", ("what", "how many", "value", "unit", "reach"), rows, latency_ms=LATENCY * 1000,
        note="the CRM is in memory and waits 50 ms for each call; no HTTP is spoken",
    )  # fmt: skip


def _open(folder: str, crm: MemoryCrm, people: int, **options: Any) -> tuple[Engine, list[str]]:
    engine = Engine.open(str(Path(folder) / "people.db"), crm={"slow": crm}, **options)
    refs = [f"p{n}" for n in range(people)]
    for n, ref in enumerate(refs):
        engine.identify(ref, identifiers={"email": f"{ref}@example.com"})
        crm.create(Row(key=ref, values={"email": f"{ref}@example.com", "first_name": f"Ann{n}"}))
    found = engine.store.page_profiles(limit=people)
    engine.store.crm.put_links([Link(connection="slow", record=str(n + 1), profile=p.key) for n, p in enumerate(found)])
    return engine, refs


def _put(engine: Engine, refs: Sequence[str], start: int, count: int) -> None:
    given = [{"profile": refs[n % len(refs)], "kind": "note", "subject": str(n)} for n in range(start, start + count)]
    assert not any(one.error for one in engine.activities.batch_sync_activities(given))


def _sustained(batch: int, count: int) -> tuple[Any, ...]:
    with tempfile.TemporaryDirectory(prefix="tailorbird-bench-") as folder:
        crm = SlowCrm(batch=batch)
        engine, refs = _open(folder, crm, 1_000)
        for start in range(0, count, 1_000):
            _put(engine, refs, start, min(1_000, count - start))
        begin = time.perf_counter()
        while len(crm.activities) < count:
            engine.deliverer.run_once(wait=False)
        took = time.perf_counter() - begin
        engine.close()
    return f"activities, {batch} to a call", count, count / took, "activities/s", "1,000"


def _outage(minutes: int, per_second: int = 100) -> tuple[Any, ...]:
    """A CRM that is down for so many minutes of a clock that is moved by hand, then drained in real time."""
    with tempfile.TemporaryDirectory(prefix="tailorbird-bench-") as folder:
        clock = ManualClock(T0)
        crm = SlowCrm(batch=100, clock=clock, latency=0)
        engine, refs = _open(folder, crm, 1_000, clock=clock)
        crm.down = True
        count = minutes * 60 * per_second
        for second in range(minutes * 60):
            _put(engine, refs, second * per_second, per_second)
            engine.deliverer.run_once()
            clock.move_to(clock.now() + SECOND)
        crm.down, crm.latency = False, LATENCY
        back, begin = clock.now(), time.perf_counter()
        while len(crm.activities) < count:
            if not engine.deliverer.run_once():
                clock.move_to(clock.now() + SECOND)
        # What was computed takes real time, and what was waited for passes on the clock that stood still meanwhile.
        drained = time.perf_counter() - begin + (clock.now() - back) / SECOND
        order: dict[str, int] = {}
        for _, activity in crm.activities.values():
            assert order.get(activity.record, -1) < int(activity.subject), "out of order"
            order[activity.record] = int(activity.subject)
        states = engine.store.count_actions()
        assert states == {"sent": count}, states
        engine.close()
    return f"drained after {minutes} min at {per_second}/s", count, drained, "s", "120"


def _cached_read(count: int) -> tuple[Any, ...]:
    with tempfile.TemporaryDirectory(prefix="tailorbird-bench-") as folder:
        engine, refs = _open(folder, SlowCrm(batch=1), 100)
        for ref in refs:
            engine.clients.get_client_data(ref)
        begin = time.perf_counter()
        for n in range(count):
            engine.clients.get_client_data(refs[n % 100])
        took = time.perf_counter() - begin
        engine.close()
    return "cached read", count, took / count * 1e6, "µs", "20"


def _day(people: int) -> tuple[Any, ...]:
    """A day in which everybody is worked on twice, as an agent does: ten reads within a few minutes."""
    chance = random.Random(7)
    visits = [(chance.randrange(86_400), n) for n in range(people) for _ in range(2)]
    reads = sorted((at + chance.randrange(240), n) for at, n in visits for _ in range(10))
    with tempfile.TemporaryDirectory(prefix="tailorbird-bench-") as folder:
        clock = ManualClock(T0)
        engine, refs = _open(folder, SlowCrm(batch=1, clock=clock), people, clock=clock)
        clients = Clients(engine.parts, engine.content, engine.activities)
        for at, n in reads:
            clock.move_to(max(clock.now(), T0 + at * SECOND))
            clients.get_client_data(refs[n])
        ratio = clients.cache_stats().ratio
        engine.close()
    return "calls saved on a day of reads", len(reads), ratio * 100, "%", "80"


if __name__ == "__main__":
    main()
