"""Reading features as JSON that is kept: always what computing them anew gives."""

from __future__ import annotations

import json
import random

from tailorbird.core.context import DAY, HOUR, ManualClock
from tailorbird.engine import Engine

FEATURES = {
    "views": "count(page.viewed, within 7d)",
    "spent": "sum(order.placed.total, within 30d)",
    "since": "time_since(page.viewed)",
    "days": "time_since(order.placed) / 1d",
    "active": "did(page.viewed, within 1d)",
    "last": "number(last(order.placed.total))",
    "country": "text(country)",
    "score": "0.5 * min(count(page.viewed, within 3d) / 4, 1) + 0.1",
}


def test_a_kept_answer_is_what_computing_it_anew_gives_at_every_instant() -> None:
    clock = ManualClock(1_700_000_000_000)
    chance = random.Random(5)
    names = tuple(FEATURES)
    kept = 0
    with Engine.open(":memory:", clock=clock) as engine:
        engine.apply([{"kind": "feature", "name": name, "value": text} for name, text in FEATURES.items()])
        asked = names
        engine.track("page.viewed", profile="ann")
        engine.features("ann")
        for _ in range(400):
            step = chance.choice([1, 1_000, HOUR, 7 * HOUR, DAY])
            engine.advance_to(clock.now() + step)
            if chance.random() < 0.2:
                engine.track("page.viewed", profile="ann")
            if chance.random() < 0.1:
                engine.track(
                    "order.placed", profile="ann", at=clock.now() - chance.randrange(3 * DAY), total=chance.randrange(90)
                )
            if chance.random() < 0.05:
                engine.identify("ann", attributes={"country": chance.choice(["FR", "IT", None])})
            chosen = chance.choice([asked, asked, None, ("country", "views")])
            found = engine.encoded_features("ann", chosen, engine.now())
            if found is None:
                engine.features("ann", chosen)
                found = engine.encoded_features("ann", chosen, engine.now())
            assert found is not None
            kept += found == engine.encoded_features("ann", chosen, engine.now())
            assert json.loads(found) == json.loads(json.dumps(engine.features("ann", chosen)))
    assert kept == 400


def test_a_kept_answer_is_given_again_until_something_changes() -> None:
    clock = ManualClock(1_700_000_000_000)
    with Engine.open(":memory:", clock=clock) as engine:
        engine.apply([{"kind": "feature", "name": "views", "value": "count(page.viewed, within 7d)"}])
        engine.track("page.viewed", profile="ann")
        first = engine.encoded_features("ann", ("views",), engine.now())
        assert first == b'{"views":1.0}'
        assert engine.encoded_features("ann", ("views",), engine.now() + 7 * DAY - 1) is first
        engine.track("page.viewed", profile="ann")
        assert engine.encoded_features("ann", ("views",), engine.now()) == b'{"views":2.0}'
        engine.apply([{"kind": "feature", "name": "views", "value": "count(page.viewed, within 7d) * 10"}])
        engine.features("ann")
        assert engine.encoded_features("ann", ("views",), engine.now()) == b'{"views":20.0}'
        engine.advance_to(clock.now() + 7 * DAY)
        assert engine.encoded_features("ann", ("views",), engine.now()) == b'{"views":0.0}'
