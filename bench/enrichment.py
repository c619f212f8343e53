"""A hundred people enriched against simulators with 500–2,000 ms latency, beside what the providers' own limits allow."""

from __future__ import annotations

import argparse
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from _report import report
from tailorbird.engine import Engine
from tailorbird.settings import Settings
from tailorbird.simulators import ApolloSimulator, DropcontactSimulator, Simulator

LATENCY = (500, 2_000)
CHAIN = {
    "kind": "enrichment", "name": "bench",
    # What the vendors allow, as their pages say: Apollo 1,000 calls a minute, Dropcontact 60 requests a second.
    "providers": [{"provider": "apollo", "limits": {"minute": 1_000}}, {"provider": "dropcontact", "limits": {"second": 60}}],
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="look at batches every 5 s, not every 30")
    options = parser.parse_args()
    poll = 5 if options.small else 30
    for name in ("APOLLO", "DROPCONTACT"):
        os.environ[f"TAILORBIRD_{name}_KEY"] = "simulated"
    rows = [_run(seed, poll) for seed in range(1, 3 if options.small else 4)]
    report(
        "enrichment", ("seed", "people", "s", "bound s", "ratio", "Apollo calls", "batches", "looks"), rows,
        latency_ms=LATENCY, poll_s=poll, reach="ratio at most 1.3",
        note="bound: the slowest call of Apollo with all at once, then of sending, the pause before a look, the slowest look",
    )  # fmt: skip


def _run(seed: int, poll: int, people: int = 100) -> tuple[Any, ...]:
    apollo = ApolloSimulator(seed=seed, latency=LATENCY)
    dropcontact = DropcontactSimulator(seed=seed, latency=LATENCY, ready_after=poll * 0.8)
    with tempfile.TemporaryDirectory(prefix="tailorbird-bench-") as folder, _served(apollo) as one, _served(dropcontact) as other:
        settings = Settings(apollo_url=one + "/api/v1", dropcontact_url=other, dropcontact_poll=poll)
        engine = Engine.open(str(Path(folder) / "people.db"), settings=settings)
        engine.apply([CHAIN])
        refs = [f"p{n}" for n in range(people)]
        for n, ref in enumerate(refs):
            engine.identify(ref, identifiers={"email": f"ann{n}.lee@shop{n % 9}.example"})
        begin = time.perf_counter()
        left = engine.enrichment.work(engine.enrichment.enrich_batch(refs))
        took = time.perf_counter() - begin
        done = engine.enrichment.statistics()
        assert left == 0 and done.waiting == 0 and done.enriched > 0.8 * people
        engine.close()
    sends = [d for r, d in zip(dropcontact.log, dropcontact.delays, strict=True) if r.method == "POST"]
    looks = [d for r, d in zip(dropcontact.log, dropcontact.delays, strict=True) if r.method == "GET"]
    bound = max(apollo.delays) + max(sends) + poll + max(looks)
    return seed, people, took, bound, took / bound, len(apollo.log), len(sends), len(looks)


@contextmanager
def _served(app: Simulator) -> Iterator[str]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


if __name__ == "__main__":
    main()
