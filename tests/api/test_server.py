"""The life of a server: it starts over a URL, finishes what it has taken on when it stops, and shares its database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx2

from api.conftest import DEFINITIONS, Live, running
from tailorbird.engine import Engine

SERVE = """
import sys
from tailorbird.api.server import listen, serve
port = listen("127.0.0.1", 0)
number = port.getsockname()[1]
port.close()
serve(sys.argv[1], port=number, ready=lambda port: print(port, flush=True))
"""


def test_what_was_acknowledged_before_a_server_stops_is_there_after_it(tmp_path: Path) -> None:
    path = str(tmp_path / "stop.db")
    acknowledged: list[str] = []
    child = subprocess.Popen([sys.executable, "-c", SERVE, path], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert child.stdout is not None
    with child.stdout:
        url = f"http://127.0.0.1:{int(child.stdout.readline())}"

        def send(worker: int) -> None:
            with httpx2.Client(base_url=url) as client:
                for number in range(10_000):
                    event = {"type": "x", "profile": f"u{worker}", "id": f"{worker}-{number}"}
                    try:
                        answer = client.post("/api/v1/events", json=event)
                    except httpx2.TransportError:
                        return
                    if answer.status_code != 200:
                        return
                    acknowledged.append(event["id"])
                    if worker == 0 and number == 50:
                        child.send_signal(signal.SIGTERM)

        threads = [threading.Thread(target=send, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        child.wait(30)
    assert len(acknowledged) > 50
    with Engine.open(path) as engine:
        assert engine.store.known_ids(acknowledged) == set(acknowledged)


def test_two_processes_over_one_database_see_what_the_other_wrote(live: Live, tmp_path: Path) -> None:
    live.post("/api/v1/events", {"type": "x", "profile": "ann"})
    with Engine.open(str(tmp_path / "served.db")) as other:
        other.track("y", profile="ann")
        other.apply([{"kind": "segment", "name": "both", "when": "did(x) and did(y)"}])
        assert live.post("/api/v1/events", {"type": "x", "profile": "ann"}).json()["segments"] == ["both"]
        other.track("y", profile="bob")
        assert live.post("/api/v1/events", {"type": "x", "profile": "bob"}).json()["segments"] == ["both"]
    assert {e["type"] for e in live.get("/api/v1/profiles/ann/timeline")["items"]} >= {"x", "y"}


def test_two_servers_over_one_database_lose_nothing_and_count_nothing_twice(serve: Callable[..., Live], tmp_path: Path) -> None:
    one = serve()
    with Engine.open(str(tmp_path / "served.db")) as engine, running(engine) as two:

        def send(live: Live, name: str) -> None:
            for number in range(20):
                event = {"type": "x", "profile": "ann", "id": f"{name}{number}"}
                for _ in range(100):  # a server that the other one keeps overtaking says 503: try again
                    if live.client.post("/api/v1/events", json=event).status_code == 200:
                        break

        threads = [threading.Thread(target=send, args=pair) for pair in ((one, "a"), (two, "b"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(two.get("/api/v1/profiles/ann/timeline", limit=200)["items"]) == 40


def test_a_segment_is_left_on_time_without_a_new_event(shop: Live) -> None:
    shop.engine.apply([{"kind": "segment", "name": "brief", "when": "count(page.viewed, within 1s) >= 1"}])
    found = shop.post("/api/v1/events", {"type": "page.viewed", "profile": "ann"}).json()
    assert found["segments"] == ["brief"]
    for _ in range(400):
        if shop.get("/api/v1/profiles/ann/segments")["items"] == []:
            break
        threading.Event().wait(0.025)
    events = [e["type"] for e in shop.get("/api/v1/profiles/ann/timeline")["items"]]
    assert sorted(events) == ["page.viewed", "segment.entered", "segment.exited"]
    assert "tailorbird_timers_fired_total 1.0" in shop.client.get("/metrics").text


def test_the_whole_round_works_on_every_database(store_url: str) -> None:
    with Engine.open(store_url) as engine, running(engine) as live:
        assert live.post("/api/v1/definitions", {"definitions": DEFINITIONS}).status_code == 200
        for _ in range(2):
            receipt = live.post("/api/v1/events", {"type": "page.viewed", "profile": "ann"}).json()
        assert receipt["segments"] == ["keen"]
        assert live.get("/api/v1/profiles/ann/features", names="views")["features"] == {"views": 2}
        assert live.get("/api/v1/profiles/ann/features", names="views", as_of="2020-01-01")["features"] == {"views": 0}
        assert live.post("/api/v1/evaluate", {"expression": "did(page.viewed)"}).json()["count"] == 1
        assert live.get("/api/v1/profiles/ann/why/keen")["value"] is True
        once = {"Idempotency-Key": "k"}
        wish = {"key": "a", "kind": "a.b", "connector": "log", "payload": {}}
        answers = [live.post("/api/v1/actions", wish, headers=once) for _ in range(2)]
        assert [a.status_code for a in answers] == [200, 200] and "idempotency-replayed" in answers[1].headers
        assert live.post("/api/v1/evaluate", {"expression": 'plan = "\x00"'}).status_code == 422
        assert live.client.delete("/api/v1/profiles/ann").status_code == 200
        assert live.log.getvalue() == ""
