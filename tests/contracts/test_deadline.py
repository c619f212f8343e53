"""Questions end: what takes too long is given up in every engine, says so, and the next question is answered as ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tailorbird.core.context import HOUR, ManualClock
from tailorbird.core.deadline import Deadline
from tailorbird.engine import Engine
from tailorbird.errors import InvalidInput, OverTime
from tailorbird.expr.check import Schema, resolve
from tailorbird.expr.evaluate import History, evaluate
from tailorbird.expr.nodes import Node
from tailorbird.expr.parse import parse
from tailorbird.expr.why import value_of, why
from tailorbird.ports import Batch
from tailorbird.runtime.ingest import Incoming
from tailorbird.storage.batch.duck import DuckBatch
from tailorbird.storage.batch.fitting import FittingBatch

NOW = 1_763_700_000_000
LONG = " or ".join(
    f"held(held(count(a, within {n}h) >= 3, for 90m) or count(b where x > {n}, within 2d) > 3, for 2h)" for n in range(1, 41)
)


def condition(text: str) -> Node:
    return resolve(parse(text), Schema(attributes={}, segments={}, features={}))


@pytest.fixture(params=["sqlite", "duckdb", pytest.param("postgres", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An engine whose questions about everybody go to SQLite, DuckDB and PostgreSQL in turn."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else str(tmp_path / "tailorbird.db")
    with Engine.open(url, clock=ManualClock(NOW)) as opened:
        opened.take(
            [
                Incoming(type="ab"[i % 2], identifiers={"external_id": f"p{i % 7}"}, at=NOW - i * HOUR // 10, data={"x": i % 11})
                for i in range(4_000)
            ]
        )
        if request.param == "duckdb":
            opened.store.attach(DuckBatch(tmp_path / "tailorbird.db", freshen=opened.store.database.freshen))  # type: ignore[attr-defined]
        yield opened


def test_a_question_about_everybody_is_given_up_at_its_deadline_and_the_next_is_answered(engine: Engine) -> None:
    for _ in range(3):
        with pytest.raises(OverTime) as caught:
            engine.evaluate(LONG, limit=30)
        assert caught.value.code == "over_time" and "within 0.03 s" in str(caught.value)
        assert engine.evaluate("count(a) > 0", limit=60_000).count == 7
    engine.track("a", profile="p8")
    assert engine.evaluate("count(a) > 0").count == 8, "and nothing is limited that has no limit"


def test_every_kind_of_question_about_everybody_ends(engine: Engine) -> None:
    node = condition("did(a)")

    def ended() -> Batch:
        return engine.store.batch().until(Deadline(0))

    asked = (
        lambda: ended().count(node, NOW),
        lambda: ended().members(node, NOW),
        lambda: ended().tables({"a": node}, NOW),
        lambda: ended().values({"a": node}, NOW, [1, 2, 3]),
        lambda: list(ended().wakes(node, NOW)),
    )
    for ask in asked:
        with pytest.raises(OverTime):
            ask()
    assert engine.store.batch().count(condition("did(a)"), NOW) == 7


def test_a_preview_is_given_up_and_leaves_nothing_behind(engine: Engine) -> None:
    with pytest.raises(OverTime):
        engine.preview({"kind": "segment", "name": "long", "when": LONG}, limit=30)
    assert engine.definitions() == []
    (shown,) = engine.preview({"kind": "segment", "name": "short", "when": "did(a)"}, limit=60_000)
    assert shown.size == 7


def test_an_expression_that_is_too_large_for_sqlite_says_so(tmp_path: Path) -> None:
    node = condition(LONG)
    with Engine.open(str(tmp_path / "small.db"), clock=ManualClock(NOW)) as engine:
        engine.track("a", profile="ann")
        batch = engine.store.batch()
        for asked in (batch, batch.until(Deadline(60_000))):
            with pytest.raises(InvalidInput, match=r"too large for SQLite: at most 64 tables in a join\. Split it"):
                list(asked.wakes(node, NOW))
            assert asked.count(condition("did(a)"), NOW) == 1


class Steps:
    """A clock that a look at it moves on by a second."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return float(self.looks)


def test_looking_through_one_history_ends(engine: Engine) -> None:
    person = engine.store.profiles([1])[1]
    events = engine.store.history([1])[1]

    def history(limit: int) -> History:
        return History(person.bucket, events, Deadline(limit, read=Steps()))

    node = condition("held(count(a, within 1h) >= 3, for 90m)")
    for ask in (evaluate, value_of, why):
        with pytest.raises(OverTime):
            ask(node, history(3_000), NOW)
        assert ask(node, history(10**9), NOW) == ask(node, History(person.bucket, events), NOW)


def test_the_columns_are_used_by_questions_with_and_without_an_end(tmp_path: Path) -> None:
    with Engine.open(str(tmp_path / "shop.db"), clock=ManualClock(NOW)) as engine:
        engine.track("a", profile="ann")
        batch = engine.store.batch()
        assert isinstance(batch, FittingBatch)
        assert batch.until(Deadline(60_000)).count(condition("did(a)"), NOW) == batch.count(condition("did(a)"), NOW) == 1
