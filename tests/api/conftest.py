"""A real server on a free port of this machine, in a thread, and a client for it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tailorbird.api.logs import open_log
from tailorbird.api.server import listen, make_server
from tailorbird.engine import Engine
from tailorbird.settings import Settings


@dataclass
class Live:
    """A running server: its engine, its address, a client that talks to it, and what it has logged."""

    engine: Engine
    url: str
    client: httpx2.Client
    log: io.StringIO = field(default_factory=io.StringIO)

    def post(self, path: str, body: Any, **options: Any) -> httpx2.Response:
        return self.client.post(path, json=body, **options)

    def wait_for_keys(self) -> None:
        """Wait until the server knows that there are keys; it looks every other second."""
        for _ in range(200):
            if self.client.get("/api/v1/segments").status_code == 401:
                return
            time.sleep(0.05)
        raise AssertionError("the server did not notice the keys")

    def get(self, path: str, **params: Any) -> Any:
        answer = self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def running(engine: Engine, *, settings: Settings | None = None, local: bool = True) -> Iterator[Live]:
    """Serve an engine in a thread until the block ends."""
    log, started = io.StringIO(), threading.Event()
    listener = listen("127.0.0.1", 0)
    server = make_server(engine, settings=settings, local=local, ready=started.set, log=open_log("debug", to=log))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert started.wait(30), log.getvalue()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx2.Client(base_url=url, timeout=30) as client:
            yield Live(engine, url, client, log)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Live]]:
    """Start servers, each over an empty database unless an engine is given; all are stopped at the end."""
    with ExitStack() as stack:

        def start(engine: Engine | None = None, **options: Any) -> Live:
            chosen = engine or stack.enter_context(Engine.open(str(tmp_path / "served.db")))
            return stack.enter_context(running(chosen, **options))

        yield start


@pytest.fixture
def live(serve: Callable[..., Live]) -> Live:
    """A server without keys over an empty database."""
    return serve()


DEFINITIONS = [
    {"kind": "segment", "name": "keen", "when": "count(page.viewed, within 7d) >= 2"},
    {"kind": "segment", "name": "newsletter", "members": "manual"},
    {"kind": "feature", "name": "views", "value": "count(page.viewed, within 30d)"},
    {"kind": "feature", "name": "spent", "value": "sum(order.placed.total)"},
]


@pytest.fixture
def shop(live: Live) -> Live:
    """A server with a few definitions."""
    live.engine.apply(DEFINITIONS)
    return live
