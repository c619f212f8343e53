"""A small HTTP/1.1 load generator in a process of its own: closed loop (as fast as it goes) and open loop (at a rate)."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop


@dataclass(frozen=True, slots=True)
class Load:
    """What came of one run: answers per second, latency in ms (open loop: from when the request was due), failures."""

    rate: float
    p50: float
    p99: float
    worst: float
    answers: int
    failures: int


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way at a time."""

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.buffer = b""
        self.started = 0.0
        self.need = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.run.ready(self)

    def send(self, started: float) -> None:
        self.started = started
        self.transport.write(self.run.next_request())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer + data if self.buffer else data
        head = buffer.find(b"\r\n\r\n")
        if head < 0:
            self.buffer = buffer
            return
        where = buffer.lower().find(b"content-length:", 0, head)
        length = int(buffer[where + 15 : buffer.find(b"\r", where)]) if where >= 0 else 0
        if len(buffer) < head + 4 + length:
            self.buffer = buffer
            return
        self.buffer = b""
        self.run.answered(self, buffer[9:10] == b"2")

    def connection_lost(self, exc: Exception | None) -> None:
        self.run.failures += not self.run.over


class _Run:
    def __init__(self, requests: Sequence[bytes], seconds: float, rate: float | None) -> None:
        self.requests, self.seconds, self.rate = requests, seconds, rate
        self.position = 0
        self.latencies: list[float] = []
        self.failures = 0
        self.idle: deque[_Connection] = deque()
        self.over = False

    def next_request(self) -> bytes:
        self.position += 1
        return self.requests[(self.position - 1) % len(self.requests)]

    def ready(self, connection: _Connection) -> None:
        self.idle.append(connection)

    def answered(self, connection: _Connection, good: bool) -> None:
        now = time.perf_counter()
        self.latencies.append(now - connection.started)
        self.failures += not good
        if self.over:
            return
        if self.rate is None:
            connection.send(now)
        elif self.due <= now:
            connection.send(self.due)
            self.due += 1 / self.rate
        else:
            self.idle.append(connection)

    async def go(self, host: str, port: int, connections: int) -> float:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            await loop.create_connection(lambda: _Connection(self), host, port)
        begun = time.perf_counter()
        self.due = begun
        if self.rate is None:
            while self.idle:
                self.idle.popleft().send(time.perf_counter())
            await asyncio.sleep(self.seconds)
        else:
            while (now := time.perf_counter()) < begun + self.seconds:
                while self.idle and self.due <= now:
                    self.idle.popleft().send(self.due)
                    self.due += 1 / self.rate
                await asyncio.sleep(0.0005)
        self.over = True
        return time.perf_counter() - begun


def _drive(queue: multiprocessing.Queue[Load], host: str, port: int, requests: Sequence[bytes],
           connections: int, seconds: float, rate: float | None) -> None:  # fmt: skip
    run = _Run(requests, seconds, rate)
    took = uvloop.run(run.go(host, port, connections))
    done = sorted(run.latencies) or [0.0]
    at = [done[min(len(done) - 1, int(len(done) * q))] * 1000 for q in (0.5, 0.99, 1.0)]
    queue.put(Load(len(run.latencies) / took, at[0], at[1], at[2], len(run.latencies), run.failures))


def drive(port: int, requests: Sequence[bytes], *, host: str = "127.0.0.1", connections: int = 32,
          seconds: float = 5.0, rate: float | None = None) -> Load:  # fmt: skip
    """Send the requests (whole HTTP messages, in turn) for some seconds from another process; return what came of it."""
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[Load] = context.Queue()
    process = context.Process(target=_drive, args=(queue, host, port, requests, connections, seconds, rate))
    process.start()
    try:
        return queue.get(timeout=seconds + 30)
    finally:
        process.join(5)


def request(method: str, path: str, body: bytes = b"", *, headers: Sequence[str] = ()) -> bytes:
    """Return a whole HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body
