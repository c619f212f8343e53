"""A large shop for the benchmarks: profiles with 20 attributes and a log of their events, made by DuckDB from a fixed seed."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb

NOW = 1_763_700_000_000
DAY = 86_400_000
SPAN = 120 * DAY
CITIES = ("Paris", "Rome", "Berlin", "Madrid", "Wien", "Oslo", "Porto", "Gent", "Lyon", "Kraków")
PLANS = ("free", "basic", "pro", "team", "enterprise")
COUNTRIES = ("FR", "IT", "DE", "ES", "AT", "NO", "PT", "BE", "PL", "US")
TYPES = (
    ("page.viewed", 0.62), ("email.opened", 0.14), ("product.viewed", 0.10), ("cart.updated", 0.05), ("order.placed", 0.04),
    ("email.clicked", 0.03), ("support.asked", 0.015), ("review.written", 0.005),
)  # fmt: skip


def write_files(folder: Path, *, profiles: int, events: int) -> tuple[Path, Path]:
    """Write ``people.parquet`` and ``events.parquet`` (columns user_id, type, at, data as JSON) and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    people, log = folder / "people.parquet", folder / "events.parquet"
    con = duckdb.connect(
        config={"threads": 2, "memory_limit": "2GB", "autoinstall_known_extensions": False, "autoload_known_extensions": False}
    )
    con.execute("SELECT setseed(0.42)")
    texts = ", ".join(
        f"{name} := {_pick(values)}" for name, values in {"country": COUNTRIES, "plan": PLANS, "city": CITIES}.items()
    )
    numbers = ", ".join(f"n{i} := floor(random() * {10 ** (i % 4 + 1)})" for i in range(9))
    flags = ", ".join(f"f{i} := random() < {0.1 * (i + 1)}" for i in range(4))
    more = ", ".join(f"s{i} := {_pick(PLANS)}" for i in range(4))
    con.execute(
        f"COPY (SELECT printf('%07d', i) AS user_id, 'profile.updated' AS type, {NOW - SPAN} AS \"at\", "
        f"to_json({{attributes: struct_pack({texts}, {numbers}, {flags}, {more})}})::VARCHAR AS data FROM range(1, {profiles} + 1) t(i)) "
        f"TO '{people}' (FORMAT parquet)"
    )
    limit, branches = 0.0, []
    for name, share in TYPES[:-1]:
        limit += share
        branches.append(f"WHEN r < {limit} THEN '{name}'")
    con.execute(
        f"""COPY (SELECT user_id, type, "at", CASE
            WHEN type = 'order.placed'
            THEN printf('{{"total":%.2f,"items":%d,"coupon":%s}}', 5 + x * x * 300, 1 + floor(x * 5)::INT, if(x < 0.3, 'true', 'false'))
            WHEN type IN ('page.viewed', 'product.viewed')
            THEN printf('{{"url":"/%s/%d"}}', {_pick(("pricing", "blog", "docs", "shop", "home"))}, floor(y * 50)::INT)
            WHEN type = 'email.opened' THEN printf('{{"campaign":"%s"}}', {_pick(PLANS)})
            ELSE printf('{{"value":%d}}', floor(x * 100)::INT) END AS data
        FROM (SELECT printf('%07d', 1 + floor(power(random(), 1.6) * {profiles})::BIGINT) AS user_id,
            CASE {" ".join(branches)} ELSE '{TYPES[-1][0]}' END AS type,
            {NOW} - floor(random() * {SPAN})::BIGINT AS "at", x, y
            FROM (SELECT random() AS r, random() AS x, random() AS y FROM range({events})))) TO '{log}' (FORMAT parquet)"""
    )
    con.close()
    return people, log


def segments(count: int = 50) -> dict[str, str]:
    """Return conditions as a team would write them: attribute tests and counts in windows, mixed."""
    found: dict[str, str] = {}
    types = [name for name, _ in TYPES]
    for i in range(count):
        days, least = (7, 14, 30, 60, 90)[i % 5], 1 + i % 4
        counted = f"count({types[i % 8]}, within {days}d) >= {least}"
        match i % 6:
            case 0:
                text = f'{counted} and country = "{COUNTRIES[i % 10]}"'
            case 1:
                text = f"{counted} and n{i % 9} > {5 * 10 ** (i % 4)}"
            case 2:
                text = f"sum(order.placed.total, within {days}d) > {50 + i}"
            case 3:
                text = f'plan in ("pro", "team") and f{i % 4} and {counted}'
            case 4:
                text = f'count(page.viewed where url starts with "/pricing", within {days}d) >= {least}'
            case _:
                text = f'not did(email.opened, within {days}d) and s{i % 4} = "{PLANS[i % 5]}"'
        found[f"segment_{i:02}"] = text
    return found


def _pick(values: tuple[str, ...]) -> str:
    listed = json.dumps(list(values), ensure_ascii=False).replace('"', "'")
    return f"list_extract({listed}, 1 + floor(random() * {len(values)})::BIGINT)"
