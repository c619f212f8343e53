"""One event against 50 segments with exact windows, in process: folding it, deciding what changed, reading 32 features."""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from _report import report
from tailorbird.core.event import Event
from tailorbird.expr.check import Schema, resolve
from tailorbird.expr.evaluate import History, evaluate
from tailorbird.expr.incremental import Program, State
from tailorbird.expr.nodes import Node
from tailorbird.expr.parse import parse
from tailorbird.expr.types import Type

DAY = 86_400_000
T = 1_700_000_000_000
SEGMENTS = (
    'count(page.viewed where url contains "/pricing", within 7d) >= 3 and country = "FR"',
    'count(page.viewed where url contains "/pricing", within 1d) >= 1 and plan != "pro"',
    'count(page.viewed where url contains "/docs", within 14d) >= 5',
    "count(page.viewed, within 30d) >= 10",
    "count(page.viewed, within 1d) >= 5 and not did(order.placed, within 1d)",
    "count(page.viewed, within 7d) > 20 and time_since(order.placed) > 30d",
    "not did(page.viewed, within 30d)",
    "did(page.viewed, within 1h) and did(cart.updated, within 1h) and not did(order.placed, within 1h)",
    "sum(order.placed.total, within 90d) > 500",
    "sum(order.placed.total, within 30d) > 200 and count(order.placed, within 30d) >= 2",
    "count(order.placed) >= 10",
    "count(order.placed, within 365d) >= 4",
    "last(order.placed.total) > 100",
    "max(order.placed.total, within 90d) >= 250",
    "avg(order.placed.total) > 80 and count(order.placed) >= 3",
    "time_since(order.placed) < 14d",
    "time_since(order.placed) > 90d and count(order.placed) >= 2",
    "count(order.placed where text(coupon) is known, within 180d) >= 2 and not did(order.refunded, within 180d)",
    "did(order.placed where total > 300, within 30d)",
    "distinct(order.placed.category, within 90d) >= 3",
    "count(cart.updated, within 3d) >= 2 and not did(order.placed, within 3d)",
    "did(cart.updated where value > 100, within 1d) and not did(order.placed, within 1d)",
    'sequence(page.viewed where url contains "/cart", order.placed, within 1d)',
    "sequence(email.opened, email.clicked, order.placed, within 7d)",
    "count(email.opened, within 30d) >= 3",
    "count(email.opened, within 30d) >= 3 and not did(email.clicked, within 30d)",
    "not did(email.opened, within 60d) and count(email.opened) >= 1",
    "count(email.clicked, within 14d) >= 2 and did(page.viewed, within 14d)",
    'did(email.clicked where campaign = "spring", within 30d)',
    'did(email.clicked where campaign starts with "win", within 90d) and not did(order.placed, within 90d)',
    "count(ticket.opened, within 30d) >= 2",
    'did(ticket.opened where priority in ("high", "urgent"), within 7d)',
    "did(ticket.opened, within 14d) and time_since(order.placed) < 60d",
    'plan in ("pro", "team") and country = "FR"',
    'plan = "trial" and count(app.opened, within 7d) >= 3',
    'plan = "trial" and not did(app.opened, within 3d)',
    'held(plan = "trial", for 7d)',
    'held(plan = "pro", for 30d) and count(app.opened, within 30d) < 4',
    "count(app.opened, within 7d) >= 5",
    "count(app.opened, within 30d) >= 20 and seats > 5",
    "count(app.opened, within 7d) < 2 and count(app.opened) >= 10",
    "did(app.opened, within 1d) and did(page.viewed, within 1d)",
    "did(order.refunded, within 30d)",
    "count(order.refunded, within 365d) >= 2 or count(ticket.opened, within 90d) >= 5",
    "sum(order.refunded.total, within 365d) > 100",
    'consented("email", "marketing") and count(page.viewed, within 7d) >= 3',
    'consented("email", "marketing") and not did(order.placed, within 30d) and country in ("FR", "DE", "IT")',
    'has_tag("vip") or sum(order.placed.total) > 5000',
    'bucket("spring-test") < 10% and count(page.viewed, within 30d) >= 1',
    "min(count(page.viewed, within 30d) / 10, 1) + min(count(email.opened, within 30d) / 5, 1) > 1.5",
)
MIX = {
    "page.viewed": 40, "app.opened": 20, "email.opened": 12, "cart.updated": 8, "order.placed": 8, "email.clicked": 5,
    "profile.updated": 4, "ticket.opened": 2, "order.refunded": 1,
}  # fmt: skip
_PER_EVENT = tuple(
    template.format(event=event, days=days)
    for event in ("page.viewed", "order.placed", "email.opened", "app.opened")
    for template, days in (
        ("count({event}, within {days}d)", 7),
        ("count({event}, within {days}d)", 30),
        ("count({event})", 0),
        ("time_since({event}) / 1d", 0),
        ("did({event}, within {days}d)", 1),
        ("min(count({event}, within {days}d) / 10, 1)", 30),
    )
)
FEATURES = (
    *_PER_EVENT,
    "sum(order.placed.total)", "sum(order.placed.total, within 90d)", "avg(order.placed.total)", "number(last(order.placed.total))",
    "number(max(order.placed.total, within 365d))", "country", "plan",
    "0.5 * min(count(page.viewed, within 30d) / 10, 1) + 0.3 * min(count(email.opened, within 30d) / 5, 1)",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of the events")
    options = parser.parse_args()
    conditions = {f"s{place}": resolved(text, Type.BOOL) for place, text in enumerate(SEGMENTS)}
    features = {f"f{place}": resolved(text, None) for place, text in enumerate(FEATURES)}
    events = stream(2_000 if options.small else 20_000)
    begun = time.process_time()
    program = Program(conditions, features)
    run(program, events[:200])
    compiled = time.process_time() - begun
    rows = [
        ("compile 50 conditions and what 200 events need, ms", compiled * 1e3),
        ("fold and changes, one event, µs", each(events, lambda: run(program, events))),
        ("fold alone, µs", each(events, lambda: folded(program, events))),
        ("start of a profile without history, µs", each(events, lambda: [program.start(7) for _ in events])),
        *((f"changes after {event} ({len(program.affected(event))} segments), µs", one(program, events, event)) for event in MIX),
        ("32 features, µs", features_cost(program, events, tuple(features))),
        ("reference evaluator over the same history (10 events a profile), µs", interpreted(conditions, program, events[:100])),
        ("memory of a profile with 10 events, bytes", float(memory(program, events))),
        ("memory of a profile without history, bytes", float(memory(program, []))),
    ]
    report("incremental", ("what", "value"), rows, segments=len(SEGMENTS), features=len(FEATURES))


def resolved(text: str, expect: Type | None) -> Node:
    """Return the expression ready to be evaluated."""
    schema = Schema(attributes={"country": Type.TEXT, "plan": Type.TEXT, "seats": Type.NUMBER})
    return resolve(parse(text), schema, expect=expect, text=text)


def stream(size: int) -> list[Event]:
    """Return events of one busy person, in order, a few of them late; about ten lie in a week."""
    chance, now, events = random.Random(4), T, []
    for seq in range(size):
        now += int(chance.expovariate(1 / (0.7 * DAY)))
        kind = chance.choices(list(MIX), list(MIX.values()))[0]
        at = now - (chance.randrange(DAY) if chance.random() < 0.02 else 0)
        events.append(Event(id=f"e{seq}", type=kind, profile=1, at=at, received_at=now, data=data_of(kind, chance), seq=seq))
    return events


def data_of(kind: str, chance: random.Random) -> dict[str, Any]:
    """Return plausible properties."""
    if kind == "page.viewed":
        return {"url": chance.choice(["/", "/pricing", "/docs/start", "/cart", "/blog/x"]), "title": "A page"}
    if kind == "profile.updated":
        return {
            "attributes": {
                "plan": chance.choice(["trial", "pro", "free"]),
                "country": chance.choice(["FR", "DE", "US"]),
                "seats": 7,
            }
        }
    if kind in ("order.placed", "order.refunded"):
        return {"total": round(chance.uniform(5, 400), 2), "category": chance.choice("abcdef"), "currency": "EUR"}
    return {
        "value": chance.randrange(200),
        "campaign": chance.choice(["spring", "winback", "other"]),
        "priority": chance.choice(["low", "high"]),
    }


def run(program: Program, events: list[Event]) -> State:
    """Fold every event and look at what it changed."""
    state = program.start(7)
    history: list[Event] = []
    for event in events:
        if not program.fold(state, event):
            history = sorted(events[: event.seq + 1][-200:], key=lambda item: (item.at, item.seq))
            state = program.start(7, history, state.members)
        program.changes(state, event.type, event.received_at)
    return state


def folded(program: Program, events: list[Event]) -> None:
    """Fold every event, a new profile every ten."""
    state = program.start(7)
    for place, event in enumerate(events):
        if place % 10 == 0:
            state = program.start(7)
        program.fold(state, event)


def each(events: list[Event], work: Callable[[], object]) -> float:
    """Return the best of five runs in µs of CPU an event."""
    best = float("inf")
    for _ in range(5):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return best / len(events) * 1e6


def one(program: Program, events: list[Event], kind: str) -> float:
    """Return what looking at the conditions of one event type costs in µs of CPU, for a profile with ten events."""
    state = program.start(7, sorted(events[:10], key=lambda event: (event.at, event.seq)))
    now = max(event.received_at for event in events[:10]) + 1
    program.changes(state, None, now)
    best = float("inf")
    for _ in range(5):
        begun = time.process_time()
        for _ in range(2_000):
            program.changes(state, kind, now)
        best = min(best, time.process_time() - begun)
    return best / 2_000 * 1e6


def features_cost(program: Program, events: list[Event], names: tuple[str, ...]) -> float:
    """Return what reading all features of a profile with thirty events costs in µs of CPU."""
    state = program.start(7, sorted(events[:30], key=lambda event: (event.at, event.seq)))
    now = max(event.received_at for event in events[:30]) + 1
    best = float("inf")
    for _ in range(5):
        begun = time.process_time()
        for _ in range(2_000):
            program.values(state, names, now)
        best = min(best, time.process_time() - begun)
    return best / 2_000 * 1e6


def interpreted(conditions: dict[str, Node], program: Program, events: list[Event]) -> float:
    """Return what the reference costs in µs of CPU an event, for the conditions that the event can change."""
    begun = time.process_time()
    for place, event in enumerate(events):
        history = History(7, events[max(0, place - 9) : place + 1])
        for name in program.affected(event.type):
            evaluate(conditions[name], history, event.received_at)
    return (time.process_time() - begun) / len(events) * 1e6


def memory(program: Program, events: list[Event]) -> int:
    """Return the bytes of a profile's state after up to ten events, without what all profiles share."""
    shared = {id(item) for item in gc.get_objects()}
    state = program.start(7, sorted(events[:10], key=lambda event: (event.at, event.seq)))
    now = max((event.received_at for event in events[:10]), default=T) + 1
    program.changes(state, None, now)
    seen: set[int] = set()
    waiting: list[Any] = [state, state.x, state.dues, state.members]
    total = 0
    while waiting:
        item = waiting.pop()
        if id(item) in seen or id(item) in shared or isinstance(item, str | float | bool | None):
            continue
        seen.add(id(item))
        total += sys.getsizeof(item)
        if isinstance(item, list | tuple | set | dict):
            waiting.extend(item)
    return total


if __name__ == "__main__":
    main()
