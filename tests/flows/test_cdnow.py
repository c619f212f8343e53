"""The main job: a file of orders imported, and every segment and feature equal to plain SQL over the file.

Always on orders made up in the shape of the CDNOW data set; on its 69,659 real ones too where ``TAILORBIRD_CDNOW`` names the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from math import isclose
from pathlib import Path

import duckdb
import pytest

from flows.orders import write_orders
from tailorbird.core.context import ManualClock
from tailorbird.core.ids import profile_id
from tailorbird.core.profile import Identifier
from tailorbird.definitions import lifecycle
from tailorbird.definitions.catalog import Catalog
from tailorbird.engine import Engine
from tailorbird.features.values import values_as_of
from tailorbird.ports import Store
from tailorbird.runtime.imports import import_events
from tailorbird.segments.preview import current_members
from tailorbird.storage import open_store

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "cdnow"
ORDERS = Path(os.environ.get("TAILORBIRD_CDNOW") or ROOT.parent / "shared" / "data" / "cdnow" / "orders.csv")
DATES = ("1997-04-01", "1997-11-15", "1998-07-01")
LATER = "1998-09-01"

SOURCES = ["made", pytest.param("cdnow", marks=pytest.mark.slow)] if ORDERS.exists() else ["made"]


@pytest.fixture(scope="module", params=SOURCES)
def orders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file: made-up orders, and the real ones where they are."""
    return ORDERS if request.param == "cdnow" else write_orders(tmp_path_factory.mktemp("made") / "orders.csv")


PEOPLE = """
    WITH orders AS (
        SELECT customer_id, quantity, amount, date_diff('day', date, DATE '{date}') AS age
        FROM read_csv('{file}', types = {{'customer_id': 'VARCHAR', 'date': 'DATE', 'amount': 'DECIMAL(12,2)'}})
        WHERE date <= DATE '{date}'
    )
    SELECT customer_id, min(age) AS recency_days, count(*) AS frequency, sum(amount)::DOUBLE AS monetary,
        sum(amount)::DOUBLE / count(*) AS average_order, max(amount)::DOUBLE AS largest_order, sum(quantity)::DOUBLE AS discs,
        count(*) FILTER (age < 90) AS orders_90d, coalesce(sum(amount) FILTER (age < 90), 0)::DOUBLE AS spend_90d,
        count(*) FILTER (age < 180) AS orders_180d, count(*) FILTER (quantity >= 5 AND age < 365) AS bulk_365d
    FROM orders GROUP BY customer_id
"""
SEGMENTS = {
    "champions": "orders_180d >= 4 AND monetary >= 200 AND recency_days <= 60",
    "loyal": "frequency >= 5 AND recency_days < 120",
    "new_customer": "frequency = 1 AND recency_days < 30",
    "one_time": "frequency = 1 AND recency_days >= 30",
    "at_risk": "frequency >= 3 AND recency_days > 90 AND recency_days <= 180",
    "lapsed": "recency_days > 180",
    "big_spender": "monetary > 500 OR largest_order >= 150",
    "win_back": "recency_days > 180 AND (monetary > 500 OR largest_order >= 150)",
    "growing": "spend_90d > 0 AND spend_90d >= 0.5 * monetary AND frequency >= 2",
    "bulk_buyer": "bulk_365d >= 2",
}
FEATURES = ("recency_days", "frequency", "monetary", "average_order", "largest_order", "discs", "orders_90d", "spend_90d")


def instant(date: str) -> int:
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp() * 1000)


def rows(orders: Path) -> int:
    """How many orders the file holds."""
    with orders.open() as file:
        return sum(1 for _ in file) - 1


@cache
def plain(orders: Path, date: str) -> duckdb.DuckDBPyConnection:
    """What plain SQL over the file knows of everybody as of a date, in the table ``people``."""
    connection = duckdb.connect()
    source = PEOPLE.format(date=date, file=str(orders).replace("'", "''"))
    connection.execute(f"CREATE TABLE people AS {source}")
    return connection


@cache
def people(orders: Path, date: str) -> dict[str, dict[str, float]]:
    found = plain(orders, date).execute("SELECT * FROM people")
    columns = [item[0] for item in found.description or ()]
    rows = (dict(zip(columns, row, strict=True)) for row in found.fetchall())
    return {str(row.pop("customer_id")): row for row in rows}


def expected(orders: Path, date: str, condition: str) -> set[str]:
    return {row[0] for row in plain(orders, date).execute(f"SELECT customer_id FROM people WHERE {condition}").fetchall()}  # noqa: S608


@dataclass
class Shop:
    store: Store
    catalog: Catalog
    names: dict[int, str]


@pytest.fixture(scope="module")
def shop(orders: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('cdnow') / 'cdnow.db'}")
    now = instant(DATES[-1])
    report = import_events(store, orders, {"external_id": "customer_id", "at": "date", "type": "=order.placed"}, now=now)
    assert (report.rows, report.rejected) == (rows(orders), 0)
    plan = lifecycle.plan(store, EXAMPLE / "definitions", now)
    lifecycle.execute(plan, store, store.batch(), now)
    names = {
        row.profile: row.value
        for row in store.resolve([Identifier("external_id", name) for name in people(orders, DATES[-1])]).values()
    }
    yield Shop(store, plan.catalog, names)
    store.close()


@pytest.fixture(scope="module")
def engine(orders: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The same through the façade, two months later: everybody who had to leave or enter did so by timers alone."""
    url = f"sqlite:///{tmp_path_factory.mktemp('cdnow') / 'engine.db'}"
    with Engine.open(url, clock=ManualClock(instant(DATES[-1]))) as opened:
        assert opened.import_events(orders).loaded == rows(orders)
        opened.apply(EXAMPLE / "definitions")
        opened.advance_to(LATER)
        yield opened


@pytest.mark.parametrize("segment", SEGMENTS)
def test_two_months_of_timers_leave_exactly_the_members_that_plain_sql_finds(engine: Engine, orders: Path, segment: str) -> None:
    found: set[str] = set()
    after = None
    while True:
        page = engine.members(segment, after=after, limit=5_000)
        found |= {member.id for member in page.members}
        after = page.next
        if after is None:
            break
    assert found == {profile_id("external_id", name) for name in expected(orders, LATER, SEGMENTS[segment])}


@pytest.mark.parametrize("date", DATES)
def test_an_expression_about_everybody_as_of_a_date_counts_what_plain_sql_counts(engine: Engine, orders: Path, date: str) -> None:
    for segment in ("champions", "win_back"):
        assert engine.evaluate(f'member_of("{segment}")', as_of=date).count == len(expected(orders, date, SEGMENTS[segment]))
    bought = engine.evaluate("sum(order.placed.amount, within 90d) > 100", as_of=date)
    assert bought.count == len(expected(orders, date, "spend_90d > 100"))


@pytest.mark.parametrize("date", DATES)
def test_the_features_of_one_customer_as_of_a_date(engine: Engine, orders: Path, date: str) -> None:
    known = people(orders, date)
    for name in sorted(known)[:: len(known) // 3]:
        values = engine.features(name, as_of=date)
        assert {key: pytest.approx(values[key]) for key in FEATURES} == {key: known[name][key] for key in FEATURES}


@pytest.mark.parametrize("segment", SEGMENTS)
def test_the_orders_put_every_segment_to_the_proof(orders: Path, segment: str) -> None:
    sizes = [len(expected(orders, date, SEGMENTS[segment])) for date in DATES]
    assert 0 < max(sizes) < len(people(orders, DATES[-1])), sizes


def test_every_customer_is_one_profile(shop: Shop, orders: Path) -> None:
    assert len(shop.names) == shop.store.count_profiles() == len(people(orders, DATES[-1]))


@pytest.mark.parametrize("date", DATES)
@pytest.mark.parametrize("segment", SEGMENTS)
def test_a_segment_as_of_a_date_is_what_plain_sql_finds(shop: Shop, orders: Path, segment: str, date: str) -> None:
    members = shop.store.batch().members(shop.catalog.conditions[segment], instant(date))
    assert {shop.names[key] for key in members} == expected(orders, date, SEGMENTS[segment])


@pytest.mark.parametrize("segment", SEGMENTS)
def test_the_members_that_are_served_are_those_of_now(shop: Shop, orders: Path, segment: str) -> None:
    assert {shop.names[key] for key in current_members(shop.store, segment)} == expected(orders, DATES[-1], SEGMENTS[segment])


@pytest.mark.parametrize("date", DATES)
def test_features_of_everybody_as_of_a_date_are_what_plain_sql_finds(shop: Shop, orders: Path, date: str) -> None:
    wanted = people(orders, date)
    keys = [key for key, name in shop.names.items() if name in wanted]
    found = values_as_of(shop.store.batch(), shop.catalog.features, keys, instant(date))
    for key in keys:
        row = wanted[shop.names[key]]
        for name in FEATURES:
            assert isclose(found[key][name], row[name], rel_tol=1e-12, abs_tol=1e-9), (shop.names[key], name)
