"""Over HTTP: everything about a contact in one answer (``POST /invoke``), with the deterministic writer, over 100,000 contacts."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from _load import request
from _report import report
from _shop import write_files
from serving import Row, ShopClock, measured, process, rss, run_server
from tailorbird.engine import Engine

RATE = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of the contacts, five seconds")
    parser.add_argument("--seconds", type=float, help="how long each measurement takes (default 20, small 5)")
    options = parser.parse_args()
    people, seconds = (10_000, 5.0) if options.small else (100_000, 20.0)
    seconds = options.seconds or seconds
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="tailorbird-bench-") as folder:
        path = prepare(Path(folder), people)
        rows.append(("in process", "µs", in_process(path, people)))
        with process([sys.executable, __file__, "--serve", path]) as at:
            asked = requests(people)
            measured("warming up", at, asked, seconds=2.0, rate=RATE)
            with process([sys.executable, str(Path(__file__).with_name("serving.py")), "--echo", "3500"]) as other:
                name = f"a server that echoes 3,500 bytes, open loop at {RATE}/s"
                rows += measured(name, other, asked, connections=32, seconds=seconds / 2, rate=RATE)[0]
            found, _ = measured(f"open loop at {RATE}/s", at, asked, connections=32, seconds=seconds, rate=RATE)
            rows += found
            rows += measured("closed loop", at, asked, connections=16, seconds=seconds / 2)[0]
            rows.append(("server", "RSS MB", rss(at[1])))
    report("invoke", ("what", "unit", "value"), rows, people=people, rate=RATE, seconds=seconds)


def prepare(folder: Path, people: int) -> str:
    """Make a shop with so many contacts and ten events each; return its database's path."""
    path = str(folder / "contacts.db")
    with Engine.open(path, clock=ShopClock()) as engine:
        for file in write_files(folder / "files", profiles=people, events=10 * people):
            engine.import_events(file, {"profile": "user_id", "type": "type", "at": "at", "data": "data"})
    return path


def requests(people: int) -> list[bytes]:
    """Return requests about contacts drawn evenly from all of them."""
    chance = random.Random(5)
    bodies = ({"contact_id": f"{1 + chance.randrange(people):07d}", "query": "what about pricing?"} for _ in range(50_000))
    return [request("POST", "/invoke", json.dumps(body).encode()) for body in bodies]


def in_process(path: str, people: int) -> float:
    """Return the time of one answer without HTTP, in µs of processor."""
    chance = random.Random(6)
    with Engine.open(path, clock=ShopClock()) as engine:
        engine.service.invoke("0000001")
        begun = time.process_time()
        for _ in range(2_000):
            engine.service.invoke(f"{1 + chance.randrange(people):07d}")
        return (time.process_time() - begun) / 2_000 * 1e6


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        run_server(sys.argv[2])
    else:
        main()
