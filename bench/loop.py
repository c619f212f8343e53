"""One event through the loop against fifty live segments: the turn, the commit, many clients at once, and reading features."""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from _report import report
from _shop import CITIES, COUNTRIES, PLANS, TYPES, segments
from tailorbird.core.context import SystemClock
from tailorbird.engine import Engine
from tailorbird.runtime.ingest import Incoming
from tailorbird.settings import Settings

FEATURES = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of the events")
    options = parser.parse_args()
    share = 10 if options.small else 1
    rows: list[tuple[str, float, float, float]] = []
    with tempfile.TemporaryDirectory(prefix="tailorbird-bench-") as folder:
        engine = Engine.open(str(Path(folder) / "loop.db"), settings=Settings(deliver=False), connectors={})
        engine.apply([{"kind": "segment", "name": name, "when": text} for name, text in segments(50).items()])
        engine.apply([{"kind": "feature", "name": f"f{n}", "value": _feature(n)} for n in range(FEATURES)])
        stream = _Stream(people=5_000)
        engine.take(stream.attributes())
        for _ in range(60_000 // share // 1_000):
            engine.take(stream.events(1_000))
        for size, turns in ((100, 300), (1, 3_000)):
            rows += _turns(engine, stream, size, turns // share)
        for clients in (32, 256):
            rows.append(asyncio.run(_served(engine, stream, clients, 20_000 // share)))
        rows.append(_reads(engine, stream, 20_000 // share))
        engine.close()
    report(
        "loop",
        ("what", "CPU µs each", "µs each", "each/s"),
        rows,
        segments=50,
        features=FEATURES,
        people=5_000,
        note="CPU is that of the thread that computes (for the commit: that writes)",
    )


class _Stream:
    """Events as a shop would send them, always the same."""

    def __init__(self, people: int) -> None:
        self.chance = random.Random(1)
        self.people = people
        self.sent = 0
        self.types = [name for name, _ in TYPES]
        self.weights = [weight for _, weight in TYPES]

    def attributes(self) -> list[Incoming]:
        pick = self.chance.choice
        return [
            Incoming(
                type="profile.updated",
                identifiers={"external_id": f"u{number}"},
                data={
                    "attributes": {
                        "country": pick(COUNTRIES), "plan": pick(PLANS), "city": pick(CITIES),
                        **{f"n{i}": self.chance.randrange(10 ** (i % 4 + 1)) for i in range(9)},
                        **{f"f{i}": self.chance.random() < 0.3 for i in range(4)},
                    }
                },
            )
            for number in range(self.people)
        ]  # fmt: skip

    def events(self, count: int) -> list[Incoming]:
        return [self.event() for _ in range(count)]

    def event(self) -> Incoming:
        self.sent += 1
        type_ = self.chance.choices(self.types, self.weights)[0]
        data: dict[str, Any] = {"url": "/pricing/7"} if "viewed" in type_ else {"total": self.chance.randrange(30_000) / 100}
        who = f"u{self.chance.randrange(self.people)}"
        return Incoming(type=type_, identifiers={"external_id": who}, data=data, id=f"{self.sent:012d}", source="bench")


def _feature(number: int) -> str:
    types = [name for name, _ in TYPES]
    match number % 4:
        case 0:
            return f"count({types[number % 8]}, within {number + 1}d)"
        case 1:
            return f"sum(order.placed.total, within {number + 7}d)"
        case 2:
            return f"default(time_since({types[number % 8]}) / 1d, 999)"
        case _:
            return f"0.5 * min(count(page.viewed, within {number + 1}d) / 10, 1) + 0.1 * n{number % 9}"


def _turns(engine: Engine, stream: _Stream, size: int, turns: int) -> list[tuple[str, float, float, float]]:
    """Measure computing and committing turns of a size, one after the other."""
    loop = engine.loop
    spent = {"turn": [0.0, 0.0], "commit": [0.0, 0.0]}
    for _ in range(turns):
        batch = stream.events(size)
        marks = [(time.thread_time(), time.perf_counter())]
        turn = loop.turn(loop.prepare(batch, engine.now()))
        marks.append((time.thread_time(), time.perf_counter()))
        if not loop.commit(turn) or len(turn.receipts) != size:
            raise SystemExit("a turn was not taken whole")
        marks.append((time.thread_time(), time.perf_counter()))
        for name, before, after in zip(spent, marks, marks[1:], strict=False):
            spent[name][0] += after[0] - before[0]
            spent[name][1] += after[1] - before[1]
    count = turns * size
    return [
        (f"{name}, {size} event{'s' if size > 1 else ''} a turn", cpu / count * 1e6, wall / count * 1e6, count / wall)
        for name, (cpu, wall) in spent.items()
    ]


async def _served(engine: Engine, stream: _Stream, clients: int, count: int) -> tuple[str, float, float, float]:
    """Measure the server's intake with many clients that each send one event at a time."""
    intake = engine.intake()
    await intake.start()
    waiting = iter(stream.events(count))

    async def client() -> None:
        for event in waiting:
            await intake.take([event])

    cpu, wall = time.thread_time(), time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
    await intake.stop()
    return f"durable intake, {clients} clients, single events", cpu / count * 1e6, wall / count * 1e6, count / wall


def _reads(engine: Engine, stream: _Stream, count: int) -> tuple[str, float, float, float]:
    """Measure reading all features of a profile that is in memory."""
    names = tuple(f"f{n}" for n in range(FEATURES))
    refs = [f"u{stream.chance.randrange(stream.people)}" for _ in range(count)]
    for ref in dict.fromkeys(refs):
        engine.read_features(ref, names)
    if not isinstance(engine.clock, SystemClock):
        raise SystemExit("the clock must run")
    cpu, wall = time.thread_time(), time.perf_counter()
    for ref in refs:
        engine.read_features(ref, names)
    cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
    return f"read {FEATURES} features, profile in memory", cpu / count * 1e6, wall / count * 1e6, count / wall


if __name__ == "__main__":
    main()
