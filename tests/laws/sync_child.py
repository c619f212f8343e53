"""A process to be killed: keeps in step with a CRM whose records are in a file, and dies at a chosen moment.

python sync_child.py URL FILE WHEN
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import msgspec

from tailorbird.connectors.memory import MemoryCrm
from tailorbird.core.context import ManualClock
from tailorbird.crm.model import Page, Record
from tailorbird.engine import Engine

PEOPLE = 1_200
T0 = 1_700_000_000_000


class FiledCrm(MemoryCrm):
    """A CRM whose records outlive us: each write is in the file before it is answered."""

    def __init__(self, path: Path, when: str, clock: ManualClock) -> None:
        super().__init__("memory", clock=clock)
        self.path = path
        self.when = when
        if path.exists():
            for record in msgspec.json.decode(path.read_bytes(), type=list[Record]):
                self._next += 1
                self._order[record.id] = self._next
                self.records[record.id] = record
        self.writes = 0
        self.after_write = self._wrote_file

    def save(self) -> None:
        """Write the records down."""
        self.path.write_bytes(msgspec.json.encode(list(self.records.values())))

    def _wrote_file(self) -> None:
        self.save()
        self.writes += 1
        if self.when == f"write {self.writes}":
            os.kill(os.getpid(), signal.SIGKILL)

    def changes(self, cursor: str | None, *, limit: int = 1000) -> Page:
        """Return what changed; on some pages a shot is fired a little later, while the one before is taken in."""
        page = super().changes(cursor, limit=limit)
        verb, _, delay = self.when.partition(" ")
        if verb == "page" and cursor is not None:
            threading.Timer(int(delay) / 1000, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return page


def main() -> None:
    """Pull, change everybody, push; unless killed before the end."""
    url, path, when = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    clock = ManualClock(T0 + 10_000)
    crm = FiledCrm(path, when, clock)
    with Engine.open(url, clock=clock, connectors={}, crm={"memory": crm}) as engine:
        engine.sync.pull("memory")
        clock.move_to(T0 + 20_000)
        for number in range(150):
            engine.identify(f"email:p{number}@example.org", attributes={"city": "Paris"}, id=f"moved-{number}")
        for number in range(150):
            engine.identify(f"new{number}", identifiers={"email": f"new{number}@example.org"}, id=f"new-{number}")
        clock.move_to(T0 + 30_000)
        engine.sync.push("memory", create=True)
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
