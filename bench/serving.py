"""Over HTTP: durable intake with 50 live segments, reads of 32 features, memory; a real server in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _load import Load, drive, request
from _report import report
from _shop import NOW, TYPES, segments, write_files
from incremental import FEATURES
from tailorbird.engine import Engine

Row = tuple[str, str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of the people, two seconds a measurement")
    parser.add_argument("--seconds", type=float, help="how long each measurement takes (default 5, small 2)")
    parser.add_argument("--only", choices=["intake", "features"], help="one half of it")
    options = parser.parse_args()
    people, seconds = (5_000, 2.0) if options.small else (100_000, 5.0)
    seconds = options.seconds or seconds
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="tailorbird-bench-") as folder:
        empty = str(Path(folder) / "empty.db")
        if options.only is None:
            with server(empty) as (_, pid):
                rows.append(("idle server, empty database", "RSS MB", rss(pid)))
        shop = prepare(Path(folder), people)
        with server(shop) as (port, pid):
            warm(port, people)
            rows.append((f"{people:,} profiles ready in memory", "RSS MB", rss(pid)))
            if options.only != "intake":
                rows += features((port, pid), people, seconds)
            if options.only != "features":
                rows += intake((port, pid), people, seconds)
        if options.only != "intake":
            rows.append(("one read in process, 32 features", "µs", in_process(shop)))
    report("serving", ("what", "unit", "value"), rows, people=people, segments=50, features=len(FEATURES), seconds=seconds)


class ShopClock:
    """A clock that runs as the machine's does, from the instant up to which the shop's events reach."""

    def __init__(self) -> None:
        self._ahead = NOW - time.time_ns() // 1_000_000

    def now(self) -> int:
        return time.time_ns() // 1_000_000 + self._ahead


def prepare(folder: Path, people: int) -> str:
    """Make a shop with so many people, ten events each, 50 segments and 32 features; return its database's path."""
    path = str(folder / "shop.db")
    definitions: list[dict[str, Any]] = [{"kind": "attribute", "name": name, "type": "text"} for name in ("country", "plan")]
    definitions += [{"kind": "segment", "name": name, "when": text} for name, text in segments(50).items()]
    definitions += [{"kind": "feature", "name": f"f{i}", "value": text} for i, text in enumerate(FEATURES)]
    with Engine.open(path, clock=ShopClock()) as engine:
        for file in write_files(folder / "files", profiles=people, events=10 * people):
            engine.import_events(file, {"profile": "user_id", "type": "type", "at": "at", "data": "data"})
        engine.apply(definitions)
    return path


def warm(port: int, people: int) -> None:
    """Touch every profile once, so that all are ready in memory."""
    import urllib.request

    for start in range(0, people, 1_000):
        body = json.dumps([event(n, "app.opened", {}) for n in range(start + 1, min(start + 1_000, people) + 1)]).encode()
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/events", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked) as answer:
            assert json.load(answer)["rejected"] == 0


def event(number: int, kind: str, data: dict[str, Any], id: str | None = None) -> dict[str, Any]:
    """Return an event of our own form."""
    made = {"type": kind, "profile": f"{number:07d}", "data": data}
    return made if id is None else made | {"id": id}


def intake(at: tuple[int, int], people: int, seconds: float) -> list[Row]:
    """Measure batches of 100 and single events, each event with an id of its own, memberships in the reply."""
    many = list(posts(people, 100, int(600 * seconds)))
    rows, _ = measured("intake, batches of 100, closed loop", at, many, 100, connections=32, seconds=seconds)
    found, load = measured(
        "intake, single events, closed loop", at, list(posts(people, 1, int(20_000 * seconds))), connections=64, seconds=seconds
    )
    one = list(posts(people, 1, int(20_000 * seconds)))
    name = "intake, single events, open loop at half that rate"
    return rows + found + measured(name, at, one, connections=64, seconds=seconds, rate=load.rate / 2)[0]


def data_of(kind: str, chance: random.Random) -> dict[str, Any]:
    """Return properties as the shop's events have them."""
    if kind == "order.placed":
        return {"total": chance.randrange(500, 30_500) / 100, "items": chance.randrange(1, 6), "coupon": chance.random() < 0.3}
    if kind.endswith("viewed"):
        return {"url": f"/{chance.choice(['pricing', 'blog', 'docs', 'shop', 'home'])}/{chance.randrange(50)}"}
    return {"campaign": "pro"} if kind == "email.opened" else {"value": chance.randrange(100)}


def posts(people: int, size: int, count: int) -> Iterator[bytes]:
    """Yield requests with so many events each; all ids differ, also from those of other runs."""
    chance, run = random.Random(size), time.time_ns()
    kinds, weights = zip(*TYPES, strict=True)
    templates = [(kind, data_of(kind, chance)) for kind in chance.choices(kinds, weights, k=500)]
    for number in range(count):
        events = []
        for place in range(size):
            kind, data = chance.choice(templates)
            events.append(event(1 + chance.randrange(people), kind, data, f"{run:x}-{number}-{place}"))
        yield request("POST", "/api/v1/events", json.dumps(events if size > 1 else events[0]).encode())


def features(at: tuple[int, int], people: int, seconds: float) -> list[Row]:
    """Measure reads, and a server that echoes the same bytes."""
    names = ",".join(f"f{i}" for i in range(32))
    chance = random.Random(3)
    who = [1 + chance.randrange(people) for _ in range(min(people, 50_000))]
    reads = [request("GET", f"/api/v1/profiles/{number:07d}/features?names={names}") for number in who]
    drive(at[0], reads, seconds=seconds * 2)  # every reference is met once
    rows, read = measured("feature read, 32 features, closed loop", at, reads, seconds=seconds)
    with process([sys.executable, __file__, "--echo", str(sample(at[0], reads[0]))]) as other:
        found, echo = measured("the same server echoing the same bytes", other, reads, seconds=seconds)
    rows += [*found, ("feature read to echo", "ratio", read.rate / echo.rate)]
    return rows + measured("feature read, open loop at 5,000/s", at, reads, seconds=seconds, rate=5_000)[0]


def measured(name: str, at: tuple[int, int], requests: Sequence[bytes], size: int = 1, **how: Any) -> tuple[list[Row], Load]:
    """Drive the server at (port, process id); return what came of it as rows, and the figures."""
    port, pid = at
    before = cpu(pid)
    load = drive(port, requests, **how)
    spent = (cpu(pid) - before) / max(load.answers * size, 1) * 1e6
    return [*told(name, load, size), (name, "server CPU µs each", spent)], load


def cpu(pid: int) -> float:
    """Return the seconds of processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def told(name: str, load: Load, size: int) -> list[Row]:
    """Return what came of a run as rows."""
    unit = "requests/s" if size == 1 else "events/s"
    rows: list[Row] = [(name, unit, load.rate * size), (name, "p50 ms", load.p50), (name, "p99 ms", load.p99)]
    return [*rows, (name, "failures", float(load.failures))] if load.failures else rows


def in_process(path: str) -> float:
    """Return the time of one read of 32 features without HTTP, in µs."""
    names = tuple(f"f{i}" for i in range(32))
    refs = [f"{n:07d}" for n in range(1, 2_001)]
    with Engine.open(path, clock=ShopClock()) as engine:
        for ref in refs:
            engine.read_features(ref, names)
        begun = time.process_time()
        for _ in range(10):
            for ref in refs:
                engine.read_features(ref, names, warm=True)
        return (time.process_time() - begun) / (10 * len(refs)) * 1e6


def sample(port: int, read: bytes) -> int:
    """Return how many bytes the answer to a read has."""
    import socket

    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(read)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65_536)
    return int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])


def rss(pid: int) -> float:
    """Return the memory a process has resident, in MB."""
    time.sleep(1)
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


@contextmanager
def server(path: str) -> Iterator[tuple[int, int]]:
    """Serve a database in a process of its own; give its port and process id."""
    with process([sys.executable, __file__, "--serve", path]) as found:
        yield found


@contextmanager
def process(command: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Run a server that prints its port, and stop it at the end."""
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TAILORBIRD_CACHED_PROFILES": "200000"}
    )
    try:
        assert child.stdout is not None
        yield int(child.stdout.readline()), child.pid
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(60)


def run_server(path: str) -> None:
    """Serve a database on a free port."""
    from tailorbird.api.server import serve

    with Engine.open(path, clock=ShopClock()) as engine:
        serve(engine, port=0, ready=lambda port: print(port, flush=True))


def run_echo(size: int) -> None:
    """Answer everything with so many bytes, by the same ASGI server with the same settings."""
    import uvicorn

    from tailorbird.api.server import listen

    listener = listen("127.0.0.1", 0)
    body = b"x" * size
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % size)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", ws="none", lifespan="off", access_log=False, log_level="warning", server_header=False,
        proxy_headers=False, limit_concurrency=2_000,
    )  # fmt: skip
    listener.listen(2048)
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        run_server(sys.argv[2])
    elif sys.argv[1:2] == ["--echo"]:
        run_echo(int(sys.argv[2]))
    else:
        main()
