"""A week of a trial, told day by day: segments are entered and left on time, late news count by their own time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tailorbird.core.context import DAY, HOUR, ManualClock
from tailorbird.engine import Engine
from tailorbird.expr.read import parse_time
from tailorbird.settings import Settings

MONDAY = "2026-03-02"

DEFINITIONS = """
kind: segment
name: on_trial
when: plan = "trial"
---
kind: segment
name: week_without_upgrade
when: held(plan = "trial", for 7d)
---
kind: segment
name: hot
when: count(page.viewed where url contains "/pricing", within 2d) >= 3
---
kind: segment
name: silent
when: plan = "trial" and time_since(page.viewed) > 3d
---
kind: segment
name: to_call
when: member_of("hot") and not member_of("silent") and consented("phone", "sales")
---
kind: feature
name: pages_2d
value: count(page.viewed, within 2d)
"""


@pytest.fixture
def engine() -> Iterator[Engine]:
    start = parse_time(MONDAY)
    assert start is not None
    with Engine.open(":memory:", clock=ManualClock(start), settings=Settings(deliver=False), connectors={}) as opened:
        opened.apply(DEFINITIONS)
        yield opened


def test_a_trial_week(engine: Engine) -> None:
    monday = engine.now()

    def segments() -> set[str]:
        return set(engine.profile("ann").segments)

    # Monday: Ann looks around without saying who she is, then signs up. What she did before is hers.
    for _ in range(2):
        engine.track("page.viewed", identifiers={"anonymous_id": "browser-1"}, url="/pricing")
    engine.identify("ann", identifiers={"anonymous_id": "browser-1", "email": "Ann@Example.org"}, attributes={"plan": "trial"})
    assert segments() == {"on_trial"}
    assert engine.features("email:ann@example.org") == {"pages_2d": 2.0}

    # The third look at the prices, that evening: the answer to the event already says that she is hot.
    engine.advance_to(monday + 20 * HOUR)
    receipt = engine.track("page.viewed", profile="ann", url="/pricing?from=mail")
    assert receipt.entered == ("hot",)
    assert receipt.segments == ("hot", "on_trial")

    # Wednesday, 00:00 exactly: the first two looks are two days old, and nobody had to do anything.
    engine.advance_to(monday + 2 * DAY - 1)
    assert "hot" in segments()
    engine.advance_to(monday + 2 * DAY)
    assert "hot" not in segments()
    newest = engine.timeline("ann", limit=1).events[0]
    assert (newest.type, newest.at, newest.data["reason"]) == ("segment.exited", monday + 2 * DAY, "time")

    # Thursday evening and a moment: silent for more than three days.
    engine.advance_to(monday + 20 * HOUR + 3 * DAY)
    assert "silent" not in segments()
    engine.advance_to(monday + 20 * HOUR + 3 * DAY + 1)
    assert segments() == {"on_trial", "silent"}

    # Friday: her phone finds a network and sends two looks of Thursday morning. She was not silent after all.
    engine.advance_to(monday + 4 * DAY)
    for minute in (0, 1):
        receipt = engine.track("page.viewed", profile="ann", at=monday + 3 * DAY + 9 * HOUR + minute, url="/pricing/teams")
    assert receipt.segments == ("on_trial",)
    assert engine.evaluate("time_since(page.viewed) > 3d", profile="ann", as_of=monday + 20 * HOUR + 3 * DAY + 1).value is False

    # One more makes three in two days, and she agrees to be called.
    engine.track("page.viewed", profile="ann", url="/pricing/teams")
    engine.consent("ann", "phone", "sales", True, explicit=True)
    assert segments() == {"on_trial", "hot", "to_call"}
    why = engine.why("ann", "hot")
    assert why.value is True
    assert why.until == monday + 3 * DAY + 9 * HOUR + 2 * DAY

    # Saturday 09:00: the oldest of the three passes out of the window, and with it two memberships.
    engine.advance_to(why.until - 1)
    assert "to_call" in segments()
    engine.advance_to(why.until)
    assert segments() == {"on_trial"}

    # The next Monday, a week on trial to the millisecond.
    engine.advance_to(monday + 7 * DAY - 1)
    assert "week_without_upgrade" not in segments()
    engine.advance_to(monday + 7 * DAY)
    assert "week_without_upgrade" in segments()

    # On Tuesday we learn that she had upgraded on Sunday: it was not a week without interruption.
    engine.advance_to(monday + 8 * DAY)
    engine.identify("ann", attributes={"plan": "pro"}, at=monday + 6 * DAY)
    assert segments() == set()
    assert engine.evaluate('held(plan = "trial", for 7d)', profile="ann", as_of=monday + 7 * DAY).value is False

    history = [(e.type, e.data.get("segment")) for e in reversed(engine.timeline("ann", limit=100).events)]
    assert history.count(("segment.entered", "hot")) == 2
    assert history.count(("segment.exited", "hot")) == 2


def test_half_a_year_of_thousands_passes_in_seconds(engine: Engine) -> None:
    from tailorbird.runtime.ingest import Incoming

    begun = engine.now()
    people = [f"u{number}" for number in range(1_500)]
    for start in range(0, len(people), 500):
        engine.take(
            [
                Incoming(type=type_, identifiers={"external_id": who}, data=data)
                for who in people[start : start + 500]
                for type_, data in (
                    ("profile.updated", {"attributes": {"plan": "trial"}}),
                    *[("page.viewed", {"url": "/pricing"})] * 3,
                )
            ]
        )
        engine.advance_to(engine.now() + HOUR)
    engine.advance_to(begun + 120 * DAY)
    sizes = {view.name: view.size for view in engine.segments()}
    assert sizes == {"on_trial": 1_500, "week_without_upgrade": 1_500, "hot": 0, "silent": 1_500, "to_call": 0}
    flows = engine.history("hot", since=begun, until=begun + 3 * DAY, step="1d")
    assert [(point.entered, point.exited) for point in flows] == [(1_500, 0), (0, 0), (0, 1_500)]
