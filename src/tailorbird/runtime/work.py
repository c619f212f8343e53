"""Work of many steps that one process at a time may do: told to the others while it lasts, and theirs when it has died."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Final

from tailorbird.errors import Unavailable
from tailorbird.ports import Lease, Store

__all__ = ["BEAT", "LASTING", "Held", "Work"]

LASTING: Final = 30_000
"""For how many ms a lease holds unless it is kept; where it cannot be seen that a process has died, others wait for so long."""

BEAT: Final = 5.0
"""After how many seconds a lease is kept for longer, as long as the work goes on."""

_NAME: Final = "work"
_POLL: Final = 0.1  # seconds between two looks whether the other one is done


class Held:
    """A lease while it is ours: a thread keeps it until ``end``. ``check`` between steps notices that it was lost."""

    def __init__(self, store: Store, token: str, beat: float) -> None:
        self._store = store
        self._token = token
        self._beat = beat
        self._over = threading.Event()
        self._lost = False
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise ``Unavailable`` when another process has taken over, as one may when this one had been stopped for long."""
        if self._lost:
            raise Unavailable("another process took this work over.", hint="Look at what it did before trying again.")

    def end(self) -> None:
        """Stop keeping the lease and give it back."""
        self._over.set()
        self._thread.join()
        with suppress(Unavailable):  # then it ends by itself
            self._store.drop_lease(_NAME, self._token)

    def _keep(self) -> None:
        while not self._over.wait(self._beat):
            with suppress(Unavailable):  # the database is busy or away; there is another time
                self._lost = not self._store.keep_lease(_NAME, self._token, lasting=LASTING)


class Work:
    """The work that changes many profiles at once: activations, imports, and finishing what a process left that died.

    One process does one at a time, whatever its kind: each of them sets all the memberships it computes, and two would undo
    each other's. ``patience`` is how many seconds to wait for another process; threads of this one simply take turns.
    """

    def __init__(self, store: Store, *, patience: float = 5.0, beat: float = BEAT) -> None:
        self._store = store
        self.patience = patience
        self.beat = beat
        self._turn = threading.RLock()
        self._held: Held | None = None

    def holder(self) -> Lease | None:
        """Return what is being done and by whom, by any process; None when nothing is."""
        return self._store.lease(_NAME)

    @contextmanager
    def doing(self, what: str) -> Iterator[Held]:
        """Do something while no other process does; raise ``Unavailable`` saying what is done, by whom and since when."""
        with self._turn:
            other = self._take(what, self.patience)
            if other is not None:
                since = datetime.fromtimestamp(other.since / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
                raise Unavailable(
                    f"{other.what} is under way, by {other.who} since {since}.", hint="Try again when that is done."
                )
            with self._holding() as held:
                yield held

    @contextmanager
    def if_free(self, what: str) -> Iterator[bool]:
        """Do something unless somebody is doing something already: gives whether it may be done."""
        if not self._turn.acquire(blocking=False):
            yield False
            return
        try:
            if self._held is not None or self._take(what, 0) is not None:
                yield False
                return
            with self._holding():
                yield True
        finally:
            self._turn.release()

    def _take(self, what: str, patience: float) -> Lease | None:
        """Take the lease, waiting for a while; return whose it is if it cannot be had."""
        if self._held is not None:
            return None
        self._token = uuid.uuid4().hex
        deadline = time.monotonic() + patience
        while True:
            found = self._store.lease(_NAME) or self._store.take_lease(_NAME, self._token, what, lasting=LASTING)
            if found.token == self._token:
                return None
            if time.monotonic() >= deadline:
                return found
            time.sleep(_POLL)

    @contextmanager
    def _holding(self) -> Iterator[Held]:
        if self._held is not None:  # part of something larger
            yield self._held
            return
        self._held = Held(self._store, self._token, self.beat)
        try:
            yield self._held
        finally:
            held, self._held = self._held, None
            held.end()
