"""How fast files come in: events a second into SQLite with both indexes, and with the columnar files brought up to date."""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from pathlib import Path

import duckdb

from _report import report
from tailorbird.runtime.imports import import_events
from tailorbird.storage import open_store
from tailorbird.storage.batch.duck import DuckBatch

NOW = 1_763_700_000_000
MAPPING = {"profile": "customer_id", "type": "=order.placed", "at": "date"}


def make(folder: Path, events: int, people: int) -> dict[str, Path]:
    """Write the same orders as CSV, JSONL and Parquet."""
    con = duckdb.connect(config={"threads": 2, "autoinstall_known_extensions": False, "autoload_known_extensions": False})
    con.execute("SELECT setseed(0.42)")
    con.execute(
        "CREATE TABLE orders AS SELECT printf('%07d', 1 + floor(random() * ?)::BIGINT) AS customer_id, "
        "strftime(TIMESTAMP '2025-01-01' + to_milliseconds(floor(random() * 2e10)::BIGINT), '%Y-%m-%dT%H:%M:%S.%g') AS date, "
        "1 + floor(random() * 5)::INT AS quantity, round(random() * 100, 2) AS amount FROM range(?)",
        [people, events],
    )
    paths = {name: folder / f"orders.{name}" for name in ("csv", "jsonl", "parquet")}
    con.execute(f"COPY orders TO '{paths['csv']}' (HEADER)")
    con.execute(f"COPY orders TO '{paths['jsonl']}' (FORMAT json)")
    con.execute(f"COPY orders TO '{paths['parquet']}' (FORMAT parquet)")
    con.close()
    return paths


def main() -> None:
    """Import each file into a fresh database, and the first one twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--small", action="store_true", help="100,000 events")
    options = parser.parse_args()
    events, people = (100_000, 10_000) if options.small else (options.events, options.people)
    folder = Path(tempfile.mkdtemp(prefix="tailorbird-bench-"))
    rows: list[list[object]] = []
    try:
        paths = make(folder, events, people)
        for name, path in paths.items():
            url = folder / f"{name}.db"
            store = open_store(str(url))
            started, spent = time.perf_counter(), time.process_time()
            done = import_events(store, path, MAPPING, now=NOW)
            seconds, cpu = time.perf_counter() - started, time.process_time() - spent
            assert done.loaded == events and done.created <= people
            rows.append([f"{name}, into an empty database", events, seconds, cpu, events / seconds])
            if name == "csv":
                started, spent = time.perf_counter(), time.process_time()
                batch = DuckBatch(url)
                batch.mirror.refresh()
                mirrored = time.perf_counter() - started
                rows.append(["  columnar files after it", events, mirrored, time.process_time() - spent, events / mirrored])
                rows.append(["  both together", events, seconds + mirrored, "", events / (seconds + mirrored)])
                batch.close()
                store.set_meta("import:events:x", "{}")
                with store.database.writing_raw() as raw:
                    raw.execute("DELETE FROM meta WHERE key LIKE 'import:%'")
                started, spent = time.perf_counter(), time.process_time()
                again = import_events(store, path, MAPPING, now=NOW)
                seconds, cpu = time.perf_counter() - started, time.process_time() - spent
                assert again.duplicates == events and again.loaded == 0
                rows.append(["  the same again, nothing new", events, seconds, cpu, events / seconds])
            store.close()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        report("import", ["what", "events", "seconds", "CPU seconds", "events/s"], rows, people=people, peak_mb=peak)
        print(f"peak memory {peak} MB")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
