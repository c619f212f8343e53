"""A process to be killed: takes events in and delivers webhooks, and writes down every id once it was acknowledged.

python crash_child.py URL FOLDER ROUND PORT
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
from pathlib import Path

from tailorbird.connectors import open_connectors
from tailorbird.engine import Engine
from tailorbird.runtime.ingest import Incoming
from tailorbird.settings import Settings

PEOPLE = 15


def definitions(port: int) -> list[dict[str, object]]:
    """Return what is live; windows are short, so that timers are always under way."""
    return [
        {"kind": "segment", "name": "brief", "when": "did(page.viewed, within 700ms)"},
        {"kind": "segment", "name": "many", "when": "count(page.viewed, within 1d) >= 4"},
        {"kind": "segment", "name": "buyer", "when": "sum(order.placed.total, within 2s) > 100"},
        {"kind": "segment", "name": "known", "when": "text(name) is known"},
        {"kind": "subscription", "name": "hook", "events": ["segment.*"], "url": f"http://127.0.0.1:{port}/hook"},
    ]


def events(round_: int, count: int = 4_000) -> list[Incoming]:
    """Return a round's events; the same each time it is asked, so that what was not acknowledged can be sent again."""
    chance = random.Random(round_)
    made = []
    for number in range(count):
        names = {"external_id": f"u{chance.randrange(PEOPLE)}"}
        if chance.random() < 0.1:
            names["anonymous_id"] = f"d{round_}-{chance.randrange(10)}"
            if chance.random() < 0.5:
                del names["external_id"]
        type_, data = chance.choice(
            [
                ("page.viewed", {"url": "/"}),
                ("order.placed", {"total": chance.randrange(80)}),
                ("profile.updated", {"attributes": {"name": f"n{number}"}}),
            ]
        )
        made.append(Incoming(type=type_, identifiers=names, data=data, id=f"r{round_}-{number}"))
    return made


async def intake(engine: Engine, batch: list[Incoming], log: int) -> None:
    """Send the events by eight clients, and note the ids of those that were acknowledged."""
    taking = engine.intake()
    await taking.start()
    os.write(log, b"ready\n")
    waiting = iter(batch)

    async def client() -> None:
        for event in waiting:
            receipts = await taking.take([event])
            os.write(log, f"{event.id} {receipts[0].status}\n".encode())

    await asyncio.gather(*(client() for _ in range(8)))
    await taking.stop()


def main() -> None:
    """Run until killed, or until everything was sent."""
    url, folder, round_, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    log = os.open(folder / f"acknowledged-{round_}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sent = {line.split()[0] for path in folder.glob("acknowledged-*") for line in path.read_text().splitlines()}
    earlier = [event for before in range(round_) for event in events(before, 300)]
    # A little of what was answered comes again, then what was sent without an answer, before anything new: in this order,
    # so that also where little is done before the end comes, some of it is what was there before.
    answered = [event for event in earlier if event.id in sent][-16:]
    unsure = [event for event in earlier if event.id not in sent][-500:]
    engine = Engine.open(url, settings=Settings(), connectors=open_connectors(allow_http=True, timeout=5))
    engine.apply(definitions(port))
    stop = threading.Event()

    def deliver() -> None:
        while not stop.wait(0.02):
            engine.deliverer.run_once(wait=False)

    thread = threading.Thread(target=deliver, daemon=True)
    thread.start()
    asyncio.run(intake(engine, answered + unsure + events(round_), log))
    stop.set()
    thread.join()
    engine.close()


if __name__ == "__main__":
    main()
