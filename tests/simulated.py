"""Simulators served over real HTTP on free ports, and an engine that asks them under a clock that the test moves."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tailorbird.core.context import ManualClock
from tailorbird.engine import Engine, EventView
from tailorbird.engine.enriching import Begun
from tailorbird.settings import Settings
from tailorbird.simulators import ApolloSimulator, DropcontactSimulator, Simulator

T0 = 1_800_000_000_000
WIDE = {"second": 1_000, "minute": 10_000}
CHAIN: dict[str, Any] = {
    "kind": "enrichment", "name": "contacts",
    "providers": [{"provider": "apollo", "limits": WIDE}, {"provider": "dropcontact", "limits": WIDE}],
}  # fmt: skip


@contextmanager
def served(app: Simulator) -> Iterator[str]:
    """Serve a simulator in a thread until the block ends; yield its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        for _ in range(1_000):
            if server.started:
                break
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


class World:
    """Both simulators, and an engine whose clock stands still until ``run`` moves it to what is due next."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = ManualClock(T0)
        self.stack = ExitStack()
        self.apollo = ApolloSimulator(clock=lambda: self.clock.now() / 1000, unknown=0, locked=0, limits={"minute": 10_000})
        self.dropcontact = DropcontactSimulator(clock=lambda: self.clock.now() / 1000, unknown=0, rate=10_000)
        self.urls = [self.stack.enter_context(served(app)) for app in (self.apollo, self.dropcontact)]
        for name in ("APOLLO", "DROPCONTACT"):
            monkeypatch.setenv(f"TAILORBIRD_{name}_KEY", "simulated")
        self.path = str(folder / "people.db")
        self.engine = self.open()
        self.engine.apply([CHAIN])

    def open(self) -> Engine:
        settings = Settings(apollo_url=self.urls[0] + "/api/v1", dropcontact_url=self.urls[1])
        return Engine.open(self.path, clock=self.clock, settings=settings)

    def restart(self) -> None:
        self.engine.close()
        self.engine = self.open()

    def people(self, count: int, **attributes: Any) -> list[str]:
        for place in range(count):
            email = {"email": f"person.no{place}@shop{place % 3}.example"}
            self.engine.identify(f"p{place}", identifiers=email, attributes=attributes)
        return [f"p{place}" for place in range(count)]

    def run(self, *, most: int = 60) -> list[str]:
        """Deliver and move on to what is due next until nothing is; return how each instant was called (seconds since T0)."""
        moments = []
        for _ in range(most):
            while self.engine.run_due():
                pass
            waiting = self.engine.enrichment.waiting()
            if not waiting:
                return moments
            due = min(action.due for action in waiting)
            if due > self.clock.now():
                self.clock.move_to(due)
                moments.append(f"{(due - T0) / 1000:g}")
        raise AssertionError(f"still waiting: {[(a.connector, a.due - T0, a.error) for a in self.engine.enrichment.waiting()]}")

    def enrich(self, *refs: str, **options: Any) -> list[Begun]:
        found = self.engine.enrichment.enrich_batch(refs, **options)
        self.run()
        return found

    def events(self, ref: str, *types: str) -> list[EventView]:
        found = self.engine.timeline(ref, limit=200).events[::-1]
        return [event for event in found if event.type in types or (not types and not event.type.startswith("person."))]

    def close(self) -> None:
        self.engine.close()
        self.stack.close()
