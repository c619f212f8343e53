"""A process that shares its database: takes events in for a while and writes down what became of each.

python neighbour_child.py URL LOG NAME SECONDS
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from tailorbird.engine import Engine
from tailorbird.errors import TailorbirdError
from tailorbird.runtime.ingest import Incoming
from tailorbird.settings import Settings

PEOPLE = 12
CLIENTS = 6


def event(name: str, number: int) -> Incoming:
    """Return the n-th event of a writer; the people are shared with the other one, and some come with a device."""
    who = {"external_id": f"u{number % PEOPLE}"}
    if number % 7 == 0:
        who["anonymous_id"] = f"d{number % 35}"
        if number % 2:
            del who["external_id"]
    return Incoming(type="page.viewed", identifiers=who, data={"n": number}, id=f"{name}-{number}")


async def intake(engine: Engine, name: str, log: int, seconds: float) -> None:
    """Send events by several clients, one after the other each; note the id and the answer."""
    taking = engine.intake()
    await taking.start()
    os.write(log, b"ready - -\n")
    numbers = iter(range(1_000_000))
    end = time.monotonic() + seconds

    async def client() -> None:
        while time.monotonic() < end:
            one = event(name, next(numbers))
            began = time.monotonic()
            try:
                told = (await taking.take([one]))[0].status
            except TailorbirdError as error:
                told = f"error:{error.code}"
            os.write(log, f"{one.id} {told} {time.monotonic() - began:.3f}\n".encode())

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    await taking.stop()


def main() -> None:
    """Run for the time given."""
    url, path, name, seconds = sys.argv[1:5]
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with Engine.open(url, settings=Settings(deliver=False)) as engine:
        asyncio.run(intake(engine, name, log, float(seconds)))


if __name__ == "__main__":
    main()
