"""A server's intake: everybody answered after the commit, failures told to those concerned, and work under way left whole."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tailorbird.core.context import SystemClock
from tailorbird.engine import Engine
from tailorbird.errors import Unavailable
from tailorbird.expr.evaluate import History, evaluate
from tailorbird.ports import Unit
from tailorbird.runtime.ingest import Incoming, Receipt
from tailorbird.runtime.intake import Intake
from tailorbird.runtime.loop import Loop
from tailorbird.settings import Settings
from tailorbird.storage.sql.store import SqlStore

DEFINITIONS = [
    {"kind": "segment", "name": "brief", "when": "did(a, within 1s)"},
    {"kind": "segment", "name": "many", "when": "count(a, within 1d) >= 3"},
]


def event(who: str, id: str | None = None, **names: str) -> Incoming:
    return Incoming(type="a", identifiers={"external_id": who, **names}, id=id)


def served(path: Path, work: Callable[[Engine, Intake], Awaitable[None]], **limits: int) -> None:
    """Open an engine with an intake, let the work run, and stop both."""

    async def run() -> None:
        with Engine.open(str(path / "x.db"), settings=Settings(deliver=False, **limits), connectors={}) as engine:
            engine.apply(DEFINITIONS)
            intake = engine.intake()
            await intake.start()
            await work(engine, intake)
            await intake.stop()
            check(engine)

    asyncio.run(run())


def check(engine: Engine) -> None:
    engine.run_due()
    now = engine.loop.last
    for profile in engine.store.page_profiles(limit=10_000):
        history = History(profile.bucket, engine.store.history([profile.key])[profile.key])
        wanted = {n for n, c in engine.loop.catalog.conditions.items() if evaluate(c, history, now) is True}
        stored = {m.segment for m in engine.store.memberships([profile.key])[profile.key]}
        assert stored == wanted


def test_many_clients_at_once_are_all_answered_with_what_is_durable(tmp_path: Path) -> None:
    async def work(engine: Engine, intake: Intake) -> None:
        async def client(number: int) -> None:
            for turn in range(12):
                names = {"anonymous_id": f"d{(number + turn) % 7}"} if turn % 4 == 0 else {}
                receipt = (await intake.take([event(f"u{(number * turn) % 11}", id=f"{number}-{turn}", **names)]))[0]
                assert receipt.status == "accepted"
                assert engine.store.event(f"{number}-{turn}") is not None

        await asyncio.gather(*(client(number) for number in range(20)))
        assert len([e for e in engine.log(limit=10_000) if e.type == "a"]) == 240

    served(tmp_path, work)


def test_the_same_id_sent_at_the_same_moment_counts_once(tmp_path: Path) -> None:
    async def work(engine: Engine, intake: Intake) -> None:
        answers = await asyncio.gather(*(intake.take([event("ann", id="once")]) for _ in range(30)))
        assert sorted(receipts[0].status for receipts in answers) == ["accepted"] + ["duplicate"] * 29

    served(tmp_path, work)


def test_segments_are_left_on_time_while_nothing_comes_in(tmp_path: Path) -> None:
    async def work(engine: Engine, intake: Intake) -> None:
        receipt = (await intake.take([event("ann")]))[0]
        assert "brief" in receipt.segments
        for _ in range(100):
            await asyncio.sleep(0.05)
            if not engine.profile("ann").segments:
                break
        exit_ = engine.log()[-1]
        assert (exit_.type, exit_.data["segment"]) == ("segment.exited", "brief")
        entered = next(e for e in engine.log() if e.type == "segment.entered")
        assert exit_.received_at == entered.received_at + 1_000

    served(tmp_path, work)


def test_definitions_change_while_events_come_in(tmp_path: Path) -> None:
    async def work(engine: Engine, intake: Intake) -> None:
        async def client(number: int) -> None:
            for _ in range(15):
                assert (await intake.take([event(f"u{number}")]))[0].status == "accepted"

        def author() -> None:
            for least in (2, 5, 9):
                engine.apply([{"kind": "segment", "name": "busy", "when": f"count(a, within 1d) >= {least}"}])
            engine.identify("u1", attributes={"country": "FR"})
            engine.track("b", profile="u2")
            engine.track("b", profile="u3")
            engine.merge("u2", "u3")

        await asyncio.gather(*(client(number) for number in range(8)), asyncio.to_thread(author))
        assert engine.store.segment_sizes()["busy"] == 7

    served(tmp_path, work)


def test_a_queue_that_is_full_refuses_at_once(tmp_path: Path) -> None:
    async def work(engine: Engine, intake: Intake) -> None:
        answers = await asyncio.gather(*(intake.take([event("ann")]) for _ in range(50)), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Unavailable)]
        assert refused
        assert "busy" in str(refused[0])
        assert len([a for a in answers if isinstance(a, list)]) == len([e for e in engine.log() if e.type == "a"])

    served(tmp_path, work, queue_limit=20)


class Failing(SqlStore):
    """A store that refuses some commits: with an error, or as if another process had written."""

    plan: list[Any]

    def commit(self, unit: Unit) -> bool:
        step = self.plan.pop(0) if self.plan else None
        if step == "error":
            raise Unavailable("the disk is full.")
        return False if step == "other" else super().commit(unit)


@pytest.mark.parametrize("plan", [["other"] * 3, ["error"], [None, "other", None, "error", "other"]])
def test_what_could_not_be_written_is_told_and_everything_else_is_kept(tmp_path: Path, plan: list[Any]) -> None:
    async def run() -> tuple[list[Any], SqlStore]:
        store = Failing(str(tmp_path / "x.db"))
        store.plan = []
        loop = Loop(store)
        intake = Intake(loop, SystemClock(), eager=1)
        await intake.start()
        store.plan = list(plan)

        async def client(number: int) -> list[Receipt]:
            await asyncio.sleep(number / 500)
            return await intake.take([event(f"u{number}", id=str(number))])

        answers = await asyncio.gather(*(client(number) for number in range(30)), return_exceptions=True)
        await intake.stop()
        return list(answers), store

    answers, store = asyncio.run(run())
    stored = {e.id for e in store.events()}
    answered = {str(n) for n, a in enumerate(answers) if isinstance(a, list)}
    assert stored == answered
    assert ("error" in plan) == (len(answered) < 30)
    store.close()


class Slow(SqlStore):
    """A store whose commits take their time."""

    def commit(self, unit: Unit) -> bool:
        time.sleep(0.2)
        return super().commit(unit)


def test_stopping_while_a_turn_is_on_its_way_waits_for_it_and_leaves_the_event_loop_free(tmp_path: Path) -> None:
    async def run() -> SqlStore:
        store = Slow(str(tmp_path / "x.db"))
        intake = Intake(Loop(store), SystemClock(), eager=1)
        await intake.start()
        taken = asyncio.create_task(intake.take([event("ann", id="1")]))
        await asyncio.sleep(0.1)  # by now the turn is with the thread that writes
        await asyncio.wait_for(intake.stop(), 10)
        assert (await taken)[0].status == "accepted"
        return store

    store = asyncio.run(run())
    assert [e.id for e in store.events()] == ["1"]
    store.close()


def test_events_keep_coming_in_while_others_change_people(tmp_path: Path) -> None:
    asyncio.run(_changed_while_taking(tmp_path))


async def _changed_while_taking(tmp_path: Path) -> None:
    with Engine.open(str(tmp_path / "t.db")) as engine:
        people = 40
        for n in range(people):
            engine.track("x", identifiers={"email": f"u{n}@example.com"})
        named = {n: {"email": f"u{n}@example.com", "external_id": f"u{n}"} for n in range(people)}
        engine.take([Incoming(type="profile.updated", identifiers=who, data={"attributes": {}}) for who in named.values()])
        stop = threading.Event()

        def change() -> int:
            times = 0
            while not stop.is_set():
                times += 1
                engine.apply({"kind": "segment", "name": "s", "when": f"count(x) >= {times}"})
                engine.tag(f"u{times % people}", "seen")
            return times

        intake = engine.intake()
        await intake.start()
        changing = asyncio.create_task(asyncio.to_thread(change))

        async def client(number: int) -> list[str]:
            statuses: list[str] = []
            for turn in range(25):
                whose = {"external_id": f"u{(number * 31 + turn * 7) % people}"}
                event = Incoming(type="x", identifiers=whose, id=f"{number}-{turn}")
                statuses += [receipt.status for batch in ([event], [event]) for receipt in await intake.take(batch)]
            return statuses

        answers = [status for statuses in await asyncio.gather(*(client(n) for n in range(6))) for status in statuses]
        stop.set()
        assert await changing > 1
        await intake.stop()
        assert (answers.count("accepted"), answers.count("duplicate")) == (150, 150)
        assert engine.store.count_profiles() == people
        assert sum(event.type == "x" for event in engine.log(limit=10_000)) == people + 150
