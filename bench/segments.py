"""A new segment over a million profiles, and fifty at once against the same fifty written by hand for DuckDB over Parquet."""

from __future__ import annotations

import argparse
import resource
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from _report import RESULTS, report
from _shop import COUNTRIES, DAY, NOW, PLANS, TYPES, segments, write_files
from tailorbird.core.context import ManualClock
from tailorbird.engine import Engine
from tailorbird.errors import NotFound
from tailorbird.expr.check import Schema, resolve
from tailorbird.expr.parse import parse
from tailorbird.runtime.imports import import_events
from tailorbird.storage import open_store
from tailorbird.storage.batch.duck import DuckBatch

AS_OF = NOW + DAY
MAPPING = {"profile": "user_id", "type": "type", "at": "at", "data": "data"}
GOALS = {"new": 3.0, "fifty": 2.0}


def prepare(folder: Path, profiles: int, events: int) -> list[list[Any]]:
    """Make the files and the database through the import path, once; return what that took."""
    if (folder / "ready").exists():
        return []
    rows: list[list[Any]] = []
    people, log = write_files(folder, profiles=profiles, events=events)
    store = open_store(str(folder / "shop.db"))
    for name, path, count in (("profiles with 20 attributes", people, profiles), ("events", log, events)):
        started = time.perf_counter()
        done = import_events(store, path, MAPPING, now=AS_OF, chunk=200_000)
        assert done.rejected == 0, done.reasons
        rows.append([f"import of {count:,} {name}", time.perf_counter() - started, ""])
    store.close()
    con = duckdb.connect(config={"threads": 2, "autoinstall_known_extensions": False, "autoload_known_extensions": False})
    shape = con.execute(f"SELECT json_structure(json_extract(data, '/attributes')) FROM '{people}' LIMIT 1").fetchall()[0][0]
    con.execute(
        f"COPY (SELECT user_id::BIGINT AS user_id, unnest(json_transform(json_extract(data, '/attributes'), '{shape}')) FROM '{people}') "
        f"TO '{folder}/plain_people.parquet'"
    )
    con.execute(
        f"COPY (SELECT user_id::BIGINT AS user_id, type, \"at\" AS moment, (data->>'/total')::DOUBLE AS total, data->>'/url' AS url "
        f"FROM '{log}' ORDER BY type) TO '{folder}/plain_events.parquet'"
    )
    con.close()
    (folder / "ready").touch()
    return rows


def by_hand() -> list[tuple[str, str]]:
    """Return the fifty as (aggregates, test) in plain SQL, as somebody who knows the data would write them."""
    types = [name for name, _ in TYPES]
    found = []
    for i in range(50):
        days, least = (7, 14, 30, 60, 90)[i % 5], 1 + i % 4
        since = AS_OF - days * DAY
        counted = f"count(*) FILTER (WHERE type = '{types[i % 8]}' AND moment > {since})"
        match i % 6:
            case 0:
                found.append((counted, f"{{0}} >= {least} AND country = '{COUNTRIES[i % 10]}'"))
            case 1:
                found.append((counted, f"{{0}} >= {least} AND n{i % 9} > {5 * 10 ** (i % 4)}"))
            case 2:
                found.append((f"sum(total) FILTER (WHERE type = 'order.placed' AND moment > {since})", f"{{0}} > {50 + i}"))
            case 3:
                found.append((counted, f"{{0}} >= {least} AND plan IN ('pro', 'team') AND f{i % 4}"))
            case 4:
                found.append(
                    (
                        f"count(*) FILTER (WHERE type = 'page.viewed' AND moment > {since} AND url LIKE '/pricing%')",
                        f"{{0}} >= {least}",
                    )
                )
            case _:
                opened = f"count(*) FILTER (WHERE type = 'email.opened' AND moment > {since})"
                found.append((opened, f"coalesce({{0}}, 0) = 0 AND s{i % 4} = '{PLANS[i % 5]}'"))
    return found


def hand_query(folder: Path) -> str:
    """Return the one query over plain Parquet."""
    parts = by_hand()
    aggregates = ", ".join(f"{aggregate} AS a{i}" for i, (aggregate, _) in enumerate(parts))
    lists = ", ".join(f"list(p.user_id) FILTER (WHERE {test.format(f'a{i}')})" for i, (_, test) in enumerate(parts))
    oldest = AS_OF - 90 * DAY
    return (
        f"SELECT {lists} FROM '{folder}/plain_people.parquet' p LEFT JOIN (SELECT user_id, {aggregates} "
        f"FROM '{folder}/plain_events.parquet' WHERE moment > {oldest} GROUP BY user_id) USING (user_id)"
    )


def clocked(run: Callable[[], Any], times: int = 3) -> tuple[float, Any]:
    """Return the best of a few runs, and the last answer."""
    best, found = float("inf"), None
    for _ in range(times):
        started = time.perf_counter()
        found = run()
        best = min(best, time.perf_counter() - started)
    return best, found


def until_served(engine: Engine, name: str) -> list[Any]:
    """Ask for the members of a segment as any reader would, until there are some; return how long that took."""
    started = time.perf_counter()
    while time.perf_counter() < started + 60:
        with suppress(NotFound):
            if engine.members(name, limit=50).members:
                break
        time.sleep(0.02)
    return [f"{name.rpartition('_')[0]} from apply to members served", time.perf_counter() - started, f"goal {GOALS['new']} s"]


def main() -> None:
    """Measure, on a shop that is made once and kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where the shop is kept (default: under bench/results)")
    parser.add_argument("--small", action="store_true", help="100,000 profiles and 1,000,000 events")
    options = parser.parse_args()
    profiles, events = (100_000, 1_000_000) if options.small else (options.profiles, options.events)
    folder = options.folder or RESULTS / f"shop-{profiles}-{events}"
    rows = prepare(folder, profiles, events)

    schema = Schema(attributes={}, segments={}, features={})
    conditions = {name: resolve(parse(text), schema) for name, text in segments().items()}
    started = time.perf_counter()
    batch = DuckBatch(folder / "shop.db")
    batch.mirror.refresh()
    rows.append(["columnar files brought up to date", time.perf_counter() - started, ""])
    one, size = clocked(lambda: batch.count(conditions["segment_00"], AS_OF))
    rows.append([f"one condition counted ({size:,} people)", one, ""])
    single, _ = clocked(lambda: [batch.count(node, AS_OF) for node in conditions.values()], 1)
    rows.append(["50 conditions, 50 queries", single, ""])
    ours, table = clocked(lambda: batch.tables(conditions, AS_OF))
    batch.close()
    con = duckdb.connect(
        config={"threads": 2, "memory_limit": "2GB", "autoinstall_known_extensions": False, "autoload_known_extensions": False}
    )
    theirs, hand = clocked(lambda: con.execute(hand_query(folder)).fetchone())
    con.close()
    assert [len(members) for members in table.values()] == [len(members or ()) for members in hand], "the two do not agree"
    rows.append(["50 segments by hand, one DuckDB pass over plain Parquet", theirs, "1.0"])
    rows.append(["50 segments of ours, one pass", ours, f"{ours / theirs:.2f} (goal {GOALS['fifty']})"])

    engine = Engine.open(str(folder / "shop.db"), clock=ManualClock(AS_OF))
    for name in ("segment_00", "segment_02"):
        fresh = f"{name}_{time.time_ns()}"
        served = threading.Thread(target=lambda name: rows.append(until_served(engine, name)), args=(fresh,))
        served.start()
        started = time.perf_counter()
        engine.apply({"kind": "segment", "name": fresh, "when": segments()[name]})
        rows.append([f"{name} until apply returned, timers set", time.perf_counter() - started, ""])
        served.join()
        engine.archive("segment", fresh)
    engine.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    report("segments", ["what", "seconds", "ratio"], rows, profiles=profiles, events=events, peak_mb=peak)
    print(f"peak memory {peak} MB")


if __name__ == "__main__":
    main()
