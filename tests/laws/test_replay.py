"""Law 2: the same events and definitions give the same state, however they came in batches, and whatever was forgotten between."""

from __future__ import annotations

import pytest

from laws.scripts import DEFINITIONS, FOREVER, actions_of, fresh, log_of, make_script, people_of, play, wrong_members

SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_memberships_are_what_the_reference_evaluator_says(seed: int) -> None:
    with fresh() as engine:
        for step in make_script(seed):
            play(engine, [step])
            assert wrong_members(engine) == [], step


@pytest.mark.parametrize("seed", SEEDS)
def test_replaying_the_log_gives_the_same_profiles_memberships_events_and_actions(seed: int) -> None:
    with fresh() as engine:
        play(engine, make_script(seed))
        with engine.replay(":memory:") as again:
            assert log_of(again) == log_of(engine)
            assert people_of(again) == people_of(engine)
            assert actions_of(again) == actions_of(engine)
            for one in (engine, again):
                one.advance_to(engine.now() if one is again else engine.now() + FOREVER)
            assert log_of(again) == log_of(engine)
            assert people_of(again) == people_of(engine)


@pytest.mark.parametrize("seed", SEEDS)
def test_events_taken_in_together_and_one_by_one_give_the_same_log(seed: int) -> None:
    script = make_script(seed)
    with fresh() as together, fresh() as apart:
        first, second = play(together, script), play(apart, script, together=False)
        assert log_of(together) == log_of(apart)
        assert people_of(together) == people_of(apart)
        assert first == second


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_kept_in_memory_changes_nothing(seed: int) -> None:
    script = make_script(seed)
    with fresh() as roomy, fresh(cached_profiles=1) as forgetful:
        play(roomy, script)
        for step in script:
            play(forgetful, [step])
            forgetful.loop.refresh()
        assert log_of(roomy) == log_of(forgetful)
        assert people_of(roomy) == people_of(forgetful)


@pytest.mark.parametrize("gone", ["ann", "bob"])
def test_the_log_replays_after_one_of_two_who_were_merged_for_a_while_is_forgotten(gone: str) -> None:
    with fresh() as engine:
        engine.apply(DEFINITIONS)
        for name in ("ann", "bob"):
            engine.track("page.viewed", url="/home", identifiers={"external_id": name})
        ids = {name: engine.profile(name).id for name in ("ann", "bob")}
        merge = engine.merge("ann", "bob")
        engine.track("order.placed", total=10, identifiers={"external_id": "bob"})
        engine.unmerge(merge.id)
        engine.forget(gone)
        assert [event.type for event in engine.log() if ids[gone] in str(event.data)] == []
        with engine.replay(":memory:") as again:
            kept = [[event.id for event in one.log() if event.source == "python"] for one in (again, engine)]
            assert kept[0] == kept[1]
            assert people_of(again) == people_of(engine)


@pytest.mark.postgres
def test_replay_from_sqlite_into_postgresql_gives_the_same(postgres_url: str) -> None:
    with fresh() as engine:
        play(engine, make_script(99, length=60))
        with engine.replay(postgres_url) as again:
            assert log_of(again) == log_of(engine)
            assert people_of(again) == people_of(engine)
            assert wrong_members(again) == []
