"""A process that begins work of many steps and stops inside, to be killed there or to be let go on.

python work_child.py URL PLACE [FILE]     PLACE: members, timers (of an activation) or import; a line on stdin lets it go on
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from tailorbird.engine import Engine
from tailorbird.storage import open_store

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
    """A batch engine that stops once where it is told to."""

    def __init__(self, inner: Any, place: str) -> None:
        self._inner = inner
        self._place = place

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _stop(self, place: str) -> None:
        if self._place == place:
            self._place = ""
            stop_here()

    def tables(self, *args: Any, **options: Any) -> Any:
        self._stop("members")
        return self._inner.tables(*args, **options)

    def wakes(self, *args: Any, **options: Any) -> Iterator[tuple[int, int]]:
        self._stop("timers")
        yield from self._inner.wakes(*args, **options)


def main() -> None:
    """Do the work."""
    url, place = sys.argv[1:3]
    store = open_store(url)
    engine = Engine(store)
    if place == "import":
        told: list[int] = []

        def progress(done: int, total: int) -> None:
            if not told:
                told.append(done)
                stop_here()

        engine.import_events(sys.argv[3], {"external_id": "who", "type": "=page.viewed", "at": "at"}, chunk=50, progress=progress)
    else:
        store.attach(Slow(store.batch(), place))  # type: ignore[arg-type]
        engine.apply(SEGMENTS)
    engine.close()


if __name__ == "__main__":
    main()
