"""A process that begins work of many steps and stops inside, to be killed there or to be let go on.

python work_child.py URL PLACE [FILE]     PLACE: members, timers (of an activation) or import; a line on stdin lets it go on
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tailorbird.engine import Engine
from tailorbird.storage import open_store
from tailorbird.storage.batch import attach_columns
from tailorbird.storage.sql.store import SqlStore

SEGMENTS = [
    {"kind": "segment", "name": "seen", "when": "did(page.viewed, within 1d)"},
    {"kind": "segment", "name": "often", "when": "count(page.viewed) >= 2"},
]


def stop_here() -> None:
    """Say that we are inside, and wait."""
    sys.stdout.write("inside\n")
    sys.stdout.flush()
    sys.stdin.readline()


class Slow:
    """A batch engine that stops once where it is asked for members."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._stopped = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def tables(self, *args: Any, **options: Any) -> Any:
        if not self._stopped:
            self._stopped = True
            stop_here()
        return self._inner.tables(*args, **options)


class SlowToArm(SqlStore):
    """A store that stops where timers are to be set: what is active has changed by then, and members are stored."""

    def arm(self, key: str, dues: Iterable[tuple[int, int]]) -> None:
        stop_here()
        super().arm(key, dues)


def main() -> None:
    """Do the work."""
    url, place = sys.argv[1:3]
    store = SlowToArm(url) if place == "timers" else open_store(url)
    engine = Engine(store)
    if place == "import":
        told: list[int] = []

        def progress(done: int, total: int) -> None:
            if not told:
                told.append(done)
                stop_here()

        engine.import_events(sys.argv[3], {"external_id": "who", "type": "=page.viewed", "at": "at"}, chunk=50, progress=progress)
    else:
        if place == "timers":
            attach_columns(store)
        else:
            store.attach(Slow(store.batch()))  # type: ignore[arg-type]
        engine.apply(SEGMENTS)
    engine.close()


if __name__ == "__main__":
    main()
