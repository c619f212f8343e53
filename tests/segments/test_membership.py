"""Segments over a real store: backfill, history, overlap, drift against the past."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tailorbird.core.context import DAY
from tailorbird.core.event import Event
from tailorbird.core.ids import bucket_seed
from tailorbird.core.profile import Profile
from tailorbird.errors import InvalidInput
from tailorbird.expr.check import Schema, resolve
from tailorbird.expr.nodes import Node
from tailorbird.expr.parse import parse
from tailorbird.expr.types import Type
from tailorbird.ports import IdentifierRow, Store, Unit
from tailorbird.segments.backfill import arm_timers, compute_members, fresh_at, write_members
from tailorbird.segments.drift import Stability, drift
from tailorbird.segments.history import history
from tailorbird.segments.overlap import overlap
from tailorbird.segments.preview import name_of, people
from tailorbird.storage import open_store

NOW = 20_700 * DAY
COUNTRIES = ("FR", "DE", "IT")


def condition(text: str) -> Node:
    return resolve(parse(text), Schema(), expect=Type.BOOL)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """Three hundred people; the first half ordered 40 days ago, the second half 5 days ago and is mostly Italian."""
    opened = open_store(store_url)
    opened.claim()
    unit = Unit()
    seq = 0
    for key in range(1, 301):
        late = key > 150
        data = {"attributes": {"country": "IT" if late and key % 10 else COUNTRIES[key % 3]}}
        unit.profiles[key] = Profile(key=key, id=f"p_{key}", bucket=bucket_seed(f"p_{key}"), attributes=data["attributes"])
        ordered = NOW - (5 if late else 40) * DAY
        for type_, at, body in (("profile.updated", NOW - 90 * DAY, data), ("order.placed", ordered, {"total": float(key)})):
            seq += 1
            unit.events.append(
                Event(id=f"e{seq}", seq=seq, type=type_, profile=key, origin=key, at=at, received_at=at, data=body)
            )
    assert opened.commit(unit)
    yield opened
    opened.close()


def fill(store: Store, at: int, version: int = 1, **conditions: str) -> None:
    nodes = {name: condition(text) for name, text in conditions.items()}
    members = compute_members(store.batch(), nodes, at)
    write_members(store, members, dict.fromkeys(nodes, version), at)
    arm_timers(store, store.batch(), nodes, at)


def test_backfilling_again_changes_nothing(store: Store) -> None:
    nodes = {"recent": condition("did(order.placed, within 7d)")}
    members = compute_members(store.batch(), nodes, NOW)
    first = write_members(store, members, {"recent": 1}, NOW)["recent"]
    again = write_members(store, members, {"recent": 1}, NOW)["recent"]
    assert (first.size, first.entered, first.exited) == (150, 150, 0)
    assert (again.size, again.entered, again.exited) == (150, 0, 0)


def test_memberships_are_fresh_until_the_first_timer_that_is_overdue(store: Store) -> None:
    fill(store, NOW, recent="did(order.placed, within 7d)")
    assert fresh_at(store, NOW) == NOW
    due = store.next_due()
    assert due is not None and due <= NOW + 2 * DAY
    assert fresh_at(store, NOW + 9 * DAY) == due


def test_history_tells_size_and_flows_step_by_step(store: Store) -> None:
    fill(store, NOW - 3 * DAY, some="country = 'FR'")
    before = store.segment_sizes()["some"]
    fill(store, NOW - DAY, some="country = 'IT'")
    after = store.segment_sizes()["some"]
    points = history(store, "some", since=NOW - 5 * DAY, until=NOW + 9 * DAY, step=DAY, now=NOW)
    assert [(p.size, p.entered, p.exited) for p in points] == [
        (0, 0, 0), (0, 0, 0), (before, before, 0), (before, 0, 0), (after, after, before), (after, 0, 0),
    ]  # fmt: skip
    assert [p.at for p in points] == [NOW + n * DAY for n in range(-5, 1)]
    earlier = history(store, "some", since=NOW - 4 * DAY, until=NOW - 2 * DAY, step=DAY, now=NOW)
    assert [p.size for p in earlier] == [0, before]
    assert history(store, "some", since=NOW + DAY, until=NOW + 9 * DAY, step=DAY, now=NOW) == []
    with pytest.raises(InvalidInput, match="1 to 2000 steps"):
        history(store, "some", since=0, until=NOW, step=1, now=NOW)


def test_overlap_counts_what_is_in_both(store: Store) -> None:
    fill(store, NOW, big="sum(order.placed.total) > 200", late="did(order.placed, within 7d)", none="did(nothing)")
    found = overlap(store, ["big", "late", "none"])
    assert found.sizes == {"big": 100, "late": 150, "none": 0}
    pair = found.pair("late", "big")
    assert (pair.both, pair.share_of_left, pair.share_of_right, pair.jaccard) == (100, 100 / 150, 1.0, 100 / 150)
    assert found.pair("big", "big").jaccard == 1.0
    assert found.pair("big", "none").jaccard == 0.0


def test_drift_compares_the_members_of_now_with_those_of_then(store: Store) -> None:
    by = {
        "country": (resolve(parse("text(country)"), Schema()), Type.TEXT),
        "orders": (resolve(parse("count(order.placed)"), Schema()), Type.NUMBER),
    }
    recent = condition("did(order.placed, within 10d)")
    found = drift(store.batch(), "recent", recent, by, instant=NOW, baseline=NOW - 35 * DAY)
    assert (found.size, found.baseline_size) == (150, 150)
    country, orders = found.items
    assert country.status == found.status == Stability.DRIFTED and found.psi == country.psi
    assert orders.status == Stability.STABLE
    shares = {share.label: share for share in country.shares}
    assert shares["IT"].now > 0.9 and shares["IT"].baseline == pytest.approx(1 / 3)
    nobody = drift(store.batch(), "recent", recent, by, instant=NOW, baseline=NOW - 80 * DAY)
    assert nobody.status == Stability.UNMEASURED and nobody.psi is None


def test_somebody_without_a_name_is_shown_by_an_identifier(store: Store) -> None:
    unit = Unit()
    unit.identifiers = [IdentifierRow("anonymous_id", "visitor-7", 7, 7, NOW), IdentifierRow("external_id", "cust_7", 7, 7, NOW)]
    assert store.commit(unit)
    assert [person.name for person in people(store, [7, 8])] == ["cust_7", "p_8"]


def test_a_person_is_called_by_name_or_mail_or_id() -> None:
    def name(**attributes: str) -> str:
        return name_of(Profile(key=1, id="p_x", bucket=0, attributes=dict(attributes)))

    assert name(first_name="Ada", last_name="Martin", email="a@example.com") == "Ada Martin"
    assert [name(last_name="Martin"), name(name="Company 1"), name(email="a@example.com"), name()] == [
        "Martin", "Company 1", "a@example.com", "p_x",
    ]  # fmt: skip
