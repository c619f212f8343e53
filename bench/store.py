"""How fast a store takes units of work: units of 1, 100 and 1,000 events with random ids, and other threads' share meanwhile."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

from _report import report
from tailorbird.core.event import Event
from tailorbird.core.profile import Profile
from tailorbird.ports import IdentifierRow, Unit
from tailorbird.storage import open_store

PEOPLE = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of the events")
    parser.add_argument("--url", action="append", help="a store to measure instead of a new SQLite file (may be repeated)")
    options = parser.parse_args()
    share = 10 if options.small else 1
    rows = []
    with tempfile.TemporaryDirectory(prefix="tailorbird-bench-") as folder:
        for url in options.url or [str(Path(folder) / "store.db")]:
            for size, units in ((1, 4_000 // share), (100, 2_000 // share), (1_000, 200 // share)):
                rows.append(measure(url, size, max(units, 20)))
    report(
        "store",
        ("store", "events a unit", "events/s", "units/s", "p50 ms", "p99 ms", "writer CPU µs/event", "kept by another thread %"),
        rows,
        note="a unit writes its events; every tenth also a new profile with an identifier and a timer",
    )


def measure(url: str, size: int, units: int) -> tuple[object, ...]:
    """Commit units and return a row of the report."""
    store = open_store(url)
    store.claim()
    chance = random.Random(size)
    work = make(store.last_seq(), size, units, chance)
    with Busy() as busy:
        alone = busy.rate(0.3)
        taken: list[float] = []
        cpu = time.thread_time()
        count, begun = busy.count, time.perf_counter()
        for unit in work:
            start = time.perf_counter()
            while not store.commit(unit):
                pass
            taken.append(time.perf_counter() - start)
        seconds = time.perf_counter() - begun
        kept = (busy.count - count) / seconds / alone * 100
        cpu = time.thread_time() - cpu
    store.close()
    plain = timed(url, make(size_of(url), size, units, chance))
    total = size * units
    name = "PostgreSQL" if "://" in url else "SQLite"
    plain_total = sum(plain)
    plain.sort()
    return (
        name, size, round(total / plain_total), round(units / plain_total), round(plain[len(plain) // 2] * 1e3, 3),
        round(plain[int(len(plain) * 0.99)] * 1e3, 3), round(cpu / total * 1e6, 2), round(kept, 1),
    )  # fmt: skip


def size_of(url: str) -> int:
    store = open_store(url)
    last = store.last_seq()
    store.close()
    return last


def timed(url: str, work: list[Unit]) -> list[float]:
    """Commit units with nothing else running; return the seconds of each."""
    store = open_store(url)
    store.claim()
    taken = []
    for unit in work:
        start = time.perf_counter()
        store.commit(unit)
        taken.append(time.perf_counter() - start)
    store.close()
    return taken


def make(last: int, size: int, units: int, chance: random.Random) -> list[Unit]:
    """Make units of events with random ids, after the seq given."""
    found, seq = [], last
    for _ in range(units):
        unit = Unit()
        for _ in range(size):
            seq += 1
            profile = chance.randrange(PEOPLE) + 1
            unit.events.append(
                Event(
                    id=f"{chance.getrandbits(128):032x}", type="page.viewed", profile=profile, origin=profile,
                    at=1_700_000_000_000 + seq, received_at=1_700_000_000_000 + seq, seq=seq,
                    data={"url": f"https://shop.example/products/{seq % 977}", "title": "A product", "price": seq % 100 / 2},
                )
            )  # fmt: skip
            if seq % 10 == 0:
                key = PEOPLE + seq
                unit.profiles[key] = Profile(key=key, id=f"p_{key}", bucket=key, created_at=seq)
                unit.identifiers.append(IdentifierRow("external_id", f"u{key}", key, key, seq))
                unit.timers[(key, "segments")] = 1_700_000_000_000 + seq
        found.append(unit)
    return found


class Busy:
    """A thread that counts in the interpreter: what it still gets tells how much of the time writing holds the lock of it."""

    def __enter__(self) -> Busy:
        self.count = 0
        self._on = True
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._on = False
        self._thread.join()

    def rate(self, seconds: float) -> float:
        before = self.count
        time.sleep(seconds)
        return (self.count - before) / seconds

    def _spin(self) -> None:
        while self._on:
            for _ in range(200):
                pass
            self.count += 1


if __name__ == "__main__":
    if os.environ.get("TAILORBIRD_BENCH_SWITCH"):
        sys.setswitchinterval(float(os.environ["TAILORBIRD_BENCH_SWITCH"]))
    main()
