"""Stages in the loop: what moves people forward, what does not move them back, and what the log says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tailorbird.core.context import DAY, HOUR, ManualClock
from tailorbird.engine import Engine
from tailorbird.errors import Conflict, InvalidDefinition, InvalidInput, NotFound
from tailorbird.profiles.drafts import Draft
from tailorbird.runtime.ingest import Incoming, Receipt
from tailorbird.settings import Settings

START = 1_700_000_000_000


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine.open(":memory:", clock=ManualClock(START), settings=Settings(deliver=False), connectors={}) as opened:
        yield opened


def status(engine: Engine, ref: str = "ann") -> Any:
    return engine.profile(ref).attributes.get("status")


def told(engine: Engine, ref: str, type_: str) -> Receipt:
    """Tell of a person what only Tailorbird itself may tell."""
    try:
        person = engine.profile(ref).id
    except NotFound:
        person = engine.identify(ref).profile or ""
    return engine.take([Draft(type=type_, profile=person)])[0]


def changes(engine: Engine, ref: str = "ann") -> list[tuple[str | None, str, str]]:
    return [(m.before, m.to, m.rule) for m in reversed(engine.contacts.stage(ref).moves)]


def trial(*, gone: str = 'did("account.closed")') -> dict[str, Any]:
    return {
        "kind": "lifecycle", "name": "trial", "stages": [
            {"name": "start"}, {"name": "trying", "when": "did(page.viewed)"},
            {"name": "idle", "when": "time_since(page.viewed) > 2d"},
            {"name": "customer", "when": "did(order.placed)", "terminal": True},
            {"name": "gone", "when": gone, "from_anywhere": True},
        ],
    }  # fmt: skip


def test_somebody_new_is_in_the_first_stage_without_an_event(engine: Engine) -> None:
    engine.apply([{"kind": "segment", "name": "fresh", "when": 'status = "new"'}])
    receipt = engine.track("page.viewed", profile="ann")
    assert receipt.segments == ("fresh",)
    assert engine.contacts.stage("ann").stage == "new" and engine.contacts.stage("ann").since is None
    assert engine.evaluate('status = "new"').count == 1
    assert engine.evaluate('status in ("new", "enriched")', profile="ann").value is True
    assert [e.type for e in engine.timeline("ann").events] == ["segment.entered", "page.viewed"]


def test_what_happens_moves_people_forward_each_step_an_event_with_its_cause(engine: Engine) -> None:
    steps = [
        ("enrichment.received", "enriched"),
        ("email.verified", "verified"),
        ("reply.received", "engaged"),
        ("deal.won", "converted"),
    ]
    for type_, stage in steps:
        receipt = told(engine, "ann", type_)
        assert status(engine) == stage
        assert engine.contacts.stage("ann").moves[0].cause == receipt.id
    assert changes(engine) == [
        ("new", "enriched", "when"), ("enriched", "verified", "when"), ("verified", "engaged", "when"),
        ("engaged", "converted", "when"),
    ]  # fmt: skip
    assert engine.profile("ann").provenance["status"].source == "lifecycle"


def test_stages_may_be_skipped_and_nobody_goes_back(engine: Engine) -> None:
    engine.track("deal.won", profile="ann")
    told(engine, "ann", "enrichment.received")
    assert changes(engine) == [("new", "converted", "when")]


def test_what_we_send_engages_nobody(engine: Engine) -> None:
    engine.contacts.record_engagement(engine.track("page.viewed", profile="ann").profile or "", "email_sent")
    assert status(engine) is None


def test_segments_follow_the_stage_in_the_same_receipt(engine: Engine) -> None:
    engine.apply([{"kind": "segment", "name": "warm", "when": 'status = "engaged"'}])
    assert engine.track("link.clicked", profile="ann").entered == ("warm",)


def test_time_alone_moves_people_on(engine: Engine) -> None:
    engine.apply([trial()])
    engine.track("page.viewed", profile="ann")
    assert status(engine) == "trying"
    engine.advance_to(START + 2 * DAY + HOUR)
    assert status(engine) == "idle"
    assert engine.contacts.stage("ann").moves[0].at == START + 2 * DAY + 1


def test_a_person_moves_back_by_word_with_a_reason_only(engine: Engine) -> None:
    engine.track("reply.received", profile="ann")
    with pytest.raises(Conflict, match="leads back"):
        engine.contacts.set_stage("ann", "new")
    assert engine.contacts.set_stage("ann", "verified", reason="a colleague answered").stage == "verified"
    assert changes(engine)[-1] == ("engaged", "verified", "hand")
    engine.track("reply.received", profile="ann")  # where they have been no condition brings them again
    assert status(engine) == "verified"
    engine.track("deal.won", profile="ann")
    assert status(engine) == "converted"


def test_a_word_stands_whatever_is_forgotten_from_memory(engine: Engine) -> None:
    engine.contacts.set_stage(engine.track("page.viewed", profile="ann").profile or "", "disqualified", reason="a student")
    engine.track("reply.received", profile="ann")
    engine.contacts.set_stage("ann", "new", reason="graduated")
    engine.loop.refresh()
    engine.track("page.viewed", profile="ann")
    assert status(engine) == "new"


def test_out_of_disqualified_leads_a_persons_word_only(engine: Engine) -> None:
    engine.track("email.verified", profile="ann")
    assert engine.contacts.disqualify("ann", reason="a competitor").stage == "disqualified"
    engine.track("deal.won", profile="ann")
    engine.identify("ann", attributes={"status": "engaged"})
    assert status(engine) == "disqualified"
    with pytest.raises(Conflict, match="leads back"):
        engine.contacts.set_stage("ann", "verified")
    assert engine.contacts.set_stage("ann", "verified", reason="they are not").stage == "verified"


def test_a_stage_from_anywhere_with_a_condition_takes_people_out_of_a_terminal_one(engine: Engine) -> None:
    engine.apply([trial()])
    engine.track("order.placed", profile="ann")
    engine.track("page.viewed", profile="ann")
    assert status(engine) == "customer"
    engine.track("account.closed", profile="ann")
    assert status(engine) == "gone"
    engine.contacts.set_stage("ann", "customer", reason="came back")
    engine.track("account.closed", profile="ann")
    assert status(engine) == "customer"


def test_a_status_from_outside_leads_forward_only_and_what_it_said_is_kept(engine: Engine) -> None:
    engine.identify("ann", attributes={"status": "Verified"})
    assert status(engine) == "verified"
    assert changes(engine) == [("new", "verified", "given")]
    engine.identify("ann", attributes={"status": "NEW", "country": "FR"})
    assert status(engine) == "verified"
    assert engine.timeline("ann").events[0].data == {"attributes": {"country": "FR"}, "ignored": {"status": "NEW"}}
    engine.identify("ann", attributes={"status": None})
    assert status(engine) == "verified"


def test_a_status_that_is_no_stage_is_the_teams_own_and_stands(engine: Engine) -> None:
    engine.identify("ann", attributes={"status": "gold"})
    engine.track("reply.received", profile="ann")
    assert status(engine) == "gold" and changes(engine) == []
    engine.identify("ann", attributes={"status": None})
    assert status(engine) == "engaged"


def test_a_late_status_still_leads_forward(engine: Engine) -> None:
    told(engine, "ann", "enrichment.received")
    engine.identify("ann", attributes={"status": "verified"}, at=START - DAY)
    assert status(engine) == "verified"


def test_where_status_is_declared_as_a_number_there_is_no_life_cycle(engine: Engine) -> None:
    engine.apply([{"kind": "attribute", "name": "status", "type": "number"}])
    engine.identify("ann", attributes={"status": 3})
    engine.track("reply.received", profile="ann")
    assert status(engine) == 3 and engine.evaluate("status = 3").count == 1
    with pytest.raises(Conflict, match="no life cycle"):
        engine.contacts.stage("ann")


def test_activating_a_life_cycle_moves_everybody_who_has_to_and_only_them(engine: Engine) -> None:
    engine.track("reply.received", profile="ann")
    engine.track("page.viewed", profile="ben")
    engine.track("order.placed", profile="cyd")
    engine.track("nothing.much", profile="dan")
    engine.apply([trial()])
    assert [status(engine, ref) for ref in ("ann", "ben", "cyd", "dan")] == ["start", "trying", "customer", None]
    assert changes(engine)[-1] == ("engaged", "start", "when")
    assert engine.contacts.stage("ben").moves[0].reason == "activation"
    assert engine.evaluate('status = "start"').count == 2
    engine.advance_to(START + 3 * DAY)
    assert [status(engine, ref) for ref in ("ann", "ben", "cyd", "dan")] == ["start", "idle", "customer", None]
    engine.archive("lifecycle", "trial")
    assert engine.contacts.stage("dan").stages[0] == "new"
    assert [status(engine, ref) for ref in ("ann", "ben")] == ["engaged", "new"]


def test_an_activation_that_was_interrupted_is_finished_when_the_database_is_opened(tmp_path: Path) -> None:
    path, clock = str(tmp_path / "a.db"), ManualClock(START)
    with Engine.open(path, clock=clock, connectors={}) as engine:
        engine.track("page.viewed", profile="ben")
        saved = engine.apply([trial()], activate=False).saved
        engine.store.set_meta("stages", "1")  # as written before anything is visible; then the machine stops
        assert status(engine, "ben") is None and saved
        from tailorbird.definitions.plan import stamped

        engine.store.save_definition(stamped(saved[0], "active", START))  # type: ignore[arg-type]
    with Engine.open(path, clock=clock, connectors={}) as engine:
        assert status(engine, "ben") == "trying"
        assert engine.store.get_meta("stages") == ""


def test_two_people_who_are_one_have_the_further_of_their_stages_and_each_their_own_again(engine: Engine) -> None:
    engine.track("reply.received", profile="ann")
    engine.advance_to(START + HOUR)
    told(engine, "ben", "enrichment.received")
    merge = engine.merge("ben", "ann")
    assert status(engine, "ben") == "engaged"
    engine.unmerge(merge.id)
    assert (status(engine, "ann"), status(engine, "ben")) == ("engaged", "enriched")


def test_who_is_disqualified_stays_so_in_a_merge(engine: Engine) -> None:
    engine.track("reply.received", profile="ann")
    engine.track("page.viewed", profile="ben")
    engine.contacts.disqualify("ben", reason="a bot")
    engine.merge("ann", "ben")
    assert status(engine, "ann") == "disqualified"


def test_an_import_sets_the_starting_stage_and_never_leads_back(engine: Engine, tmp_path: Path) -> None:
    engine.track("reply.received", identifiers={"email": "ann@example.com"})
    path = tmp_path / "contacts.csv"
    path.write_text("email,status\nann@example.com,NEW\nben@example.com,Verified\ncyd@example.com,\n", encoding="utf-8")
    engine.import_contacts(path)
    assert [status(engine, f"email:{name}@example.com") for name in ("ann", "ben", "cyd")] == ["engaged", "verified", None]
    assert engine.import_contacts(path).loaded == 0
    told(engine, "email:ben@example.com", "enrichment.received")
    assert status(engine, "email:ben@example.com") == "verified"


def test_imported_events_move_people_too(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(
        '{"type": "deal.won", "at": "2023-11-01", "email": "ann@example.com", "deal": "D-1", "amount": 5}\n', encoding="utf-8"
    )
    engine.import_events(path)
    assert status(engine, "email:ann@example.com") == "converted"
    assert [(d.id, d.status, d.amount) for d in engine.contacts.deals().deals] == [("D-1", "won", 5.0)]


def test_nobody_outside_writes_stages(engine: Engine) -> None:
    receipt = engine.take([Incoming(type="stage.changed", identifiers={"external_id": "ann"}, data={"to": "converted"})])[0]
    assert receipt.status == "rejected"
    engine.track("page.viewed", profile="ann")
    with pytest.raises(InvalidInput, match="own"):
        engine.contacts.set_stage("ann", "engaged", source="lifecycle")
    with pytest.raises(InvalidInput, match="not a stage"):
        engine.contacts.set_stage("ann", "enchanted")


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ([{"name": "a"}, {"name": "a"}], "stands twice"),
        ([{"name": "a", "when": "did(x)"}], "everybody begins in it"),
        ([{"name": "a", "from_anywhere": True}], "every stage is from_anywhere"),
        ([{"name": "a"}, {"name": "b", "when": "did("}], "the text ends"),
        ([{"name": "a"}, {"name": "b", "when": 'member_of("nobody")'}], "there is no segment called nobody"),
        ([{"name": "a"}, {"name": "b", "when": "count(x)"}], "must give true or false"),
    ],
)
def test_mistakes_of_a_life_cycle_are_told_when_it_is_applied(engine: Engine, stages: list[Any], told: str) -> None:
    with pytest.raises(InvalidDefinition, match=told):
        engine.apply([{"kind": "lifecycle", "name": "ours", "stages": stages}])


def test_there_is_one_life_cycle_and_a_segment_it_asks_about_stays(engine: Engine) -> None:
    own = {"kind": "lifecycle", "name": "ours", "stages": [{"name": "a"}, {"name": "b", "when": 'member_of("hot")'}]}
    engine.apply([{"kind": "segment", "name": "hot", "when": "did(x)"}, own])
    with pytest.raises(InvalidDefinition, match="already"):
        engine.apply([trial()])
    with pytest.raises(Conflict, match="lifecycle ours"):
        engine.archive("segment", "hot")
    engine.track("x", profile="ann")
    assert status(engine) == "b"
    engine.track("y", profile="ben")
    engine.apply([{"kind": "segment", "name": "hot", "when": "did(y)"}])
    assert status(engine, "ben") == "b"
