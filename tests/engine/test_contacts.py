"""The small CRM: notes, tasks, deals, companies and engagements, what becomes of them in merges, replay and erasure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tailorbird.core.context import DAY, ManualClock
from tailorbird.engine import Engine
from tailorbird.errors import Conflict, InvalidInput, NotFound
from tailorbird.settings import Settings

START = 1_700_000_000_000


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine.open(":memory:", clock=ManualClock(START), settings=Settings(deliver=False), connectors={}) as opened:
        opened.identify("ann", attributes={"first_name": "Ann", "last_name": "Lee"}, identifiers={"email": "ann@acme.io"})
        opened.identify("ben", identifiers={"email": "ben@gmail.com"})
        yield opened


def all_of(engine: Engine) -> list[Any]:
    contacts = engine.contacts
    return [contacts.tasks(status=None).tasks, contacts.deals().deals, contacts.notes("ann"), contacts.pipeline()]


def test_notes_are_kept_newest_first_with_who_wrote_them(engine: Engine) -> None:
    engine.contacts.add_note("ann", " Met at the fair ", by="bob")
    engine.advance_to(START + 1)
    engine.contacts.add_note("ann", "Wants a discount")
    notes = engine.contacts.notes("ann")
    assert [(n.text, n.by, n.at - START) for n in notes] == [("Wants a discount", None, 1), ("Met at the fair", "bob", 0)]
    assert engine.contacts.notes("ben") == []
    assert engine.evaluate("count(note.added) = 2", profile="ann").value is True


def test_tasks_come_in_the_order_they_are_due_page_by_page(engine: Engine) -> None:
    for title, due in (("late", START + 9 * DAY), ("whenever", None), ("soon", START + DAY), ("then", "2023-11-18")):
        engine.contacts.add_task("ann", title, due=due, assignee="bob")
    seen: list[str] = []
    after = None
    while True:
        page = engine.contacts.tasks(assignee="bob", after=after, limit=1)
        seen += [task.title for task in page.tasks]
        after = page.next
        if after is None:
            break
    assert seen == ["soon", "then", "late", "whenever"]
    assert [t.title for t in engine.contacts.tasks(due_before=START + 2 * DAY).tasks] == ["soon"]
    assert engine.contacts.tasks(assignee="eve").tasks == ()
    assert len(engine.contacts.tasks(ref="ann").tasks) == 4 and engine.contacts.tasks(ref="ben").tasks == ()


def test_a_task_ends_once(engine: Engine) -> None:
    one, other = engine.contacts.add_task("ann", "call"), engine.contacts.add_task("ann", "write")
    assert engine.contacts.complete_task(one.id, outcome="agreed").outcome == "agreed"
    assert engine.contacts.cancel_task(other.id).status == "cancelled"
    assert engine.contacts.tasks().tasks == ()
    assert {t.status for t in engine.contacts.tasks(status=None).tasks} == {"done", "cancelled"}
    with pytest.raises(Conflict, match="done already"):
        engine.contacts.complete_task(one.id)
    with pytest.raises(NotFound, match="no task"):
        engine.contacts.complete_task("t_nothing")


def test_deals_go_through_the_pipeline(engine: Engine) -> None:
    deal = engine.contacts.open_deal("ann", "Toys", amount=1000, currency="eur", due=START + DAY)
    assert (deal.stage, deal.probability, deal.currency, deal.status) == ("qualified", 0.2, "EUR", "open")
    other = engine.contacts.open_deal("ben", "Balls", amount=50, stage="negotiation")
    assert engine.contacts.move_deal(deal.id, "proposal", amount=900).amount == 900
    overview = [(r.stage, r.deals, r.currency, r.amount, r.weighted) for r in engine.contacts.pipeline()]
    assert overview == [("proposal", 1, "EUR", 900.0, 450.0), ("negotiation", 1, None, 50.0, 37.5)]
    assert engine.contacts.win_deal(deal.id).probability == 1.0
    assert engine.contacts.lose_deal(other.id, reason="too dear").reason == "too dear"
    assert [(r.stage, r.weighted) for r in engine.contacts.pipeline()] == [("won", 900.0), ("lost", 0.0)]
    assert engine.contacts.stage("ann").stage == "converted" and engine.contacts.stage("ben").stage == "new"
    with pytest.raises(Conflict, match="won already"):
        engine.contacts.move_deal(deal.id, "qualified")
    assert [d.id for d in engine.contacts.deals(status="won").deals] == [deal.id]


def test_a_team_has_pipelines_of_its_own(engine: Engine) -> None:
    stages = [{"name": "asked", "probability": 0.4}, {"name": "agreed", "probability": 0.9}]
    engine.apply([{"kind": "pipeline", "name": "renewals", "stages": stages}])
    deal = engine.contacts.open_deal("ann", "Again")
    assert (deal.pipeline, deal.stage) == ("renewals", "asked")
    with pytest.raises(InvalidInput, match="no stage of the pipeline"):
        engine.contacts.move_deal(deal.id, "proposal")
    with pytest.raises(NotFound, match="no pipeline"):
        engine.contacts.open_deal("ann", "x", pipeline="sales")


def test_a_deal_that_lives_elsewhere_comes_as_events_in_any_order(engine: Engine) -> None:
    engine.track("deal.won", profile="ann", at=START - 1, deal="D-7", amount=5)
    engine.track(
        "deal.opened", profile="ann", at=START - 9, deal="D-7", name="Elsewhere", stage="proposal", amount=4, currency="USD"
    )
    deal = engine.contacts.deals().deals[0]
    assert (deal.name, deal.status, deal.amount, deal.at, deal.changed_at) == ("Elsewhere", "won", 5.0, START - 9, START - 1)
    with pytest.raises(Conflict, match="already"):
        engine.contacts.open_deal("ben", "Another", id="D-7")
    engine.track("deal.opened", profile="ben", deal=["no", "id"], amount="much")
    engine.track("task.created", profile="ben", task=7, title={"odd": 1}, due="never", assignee=3)
    assert len(engine.contacts.deals().deals) == 1
    assert [(t.id, t.due, t.assignee) for t in engine.contacts.tasks().tasks] == [("7", None, None)]


def test_records_go_along_in_a_merge_and_return_when_it_is_undone(engine: Engine) -> None:
    task = engine.contacts.add_task("ben", "call")
    engine.contacts.open_deal("ann", "Toys")
    engine.contacts.add_note("ben", "hello")
    merge = engine.merge("ann", "ben")
    ann, ben = engine.profile("ann").id, merge.loser
    assert [t.profile for t in engine.contacts.tasks().tasks] == [ann]
    engine.contacts.complete_task(task.id)
    engine.unmerge(merge.id)
    assert [n.text for n in engine.contacts.notes("ben")] == ["hello"] and engine.contacts.notes("ann") == []
    assert engine.store.records("task", profile=ben)[0].status == "open"  # what was done while they were one stays with ann
    assert [d.profile for d in engine.contacts.deals().deals] == [ann]


def test_replay_builds_the_same_records(engine: Engine) -> None:
    engine.contacts.complete_task(engine.contacts.add_task("ann", "call", due=START + DAY).id)
    engine.contacts.move_deal(engine.contacts.open_deal("ann", "Toys", amount=1).id, "proposal")
    engine.contacts.add_note("ann", "hello")
    engine.contacts.add_task("ben", "write")
    engine.merge("ann", "ben")
    with engine.replay(":memory:") as again:
        assert all_of(again) == all_of(engine)


def test_who_is_forgotten_leaves_no_record_behind(engine: Engine) -> None:
    engine.contacts.add_note("ann", "secret")
    engine.contacts.add_task("ann", "secret")
    engine.contacts.open_deal("ben", "Balls")
    engine.forget("ann")
    assert engine.contacts.tasks(status=None).tasks == () and engine.store.records("note") == []
    assert len(engine.contacts.deals().deals) == 1


def test_engagements_have_the_names_of_contact_files_and_replies_a_sentiment(engine: Engine) -> None:
    engine.contacts.record_engagement("ann", "LINK_CLICKED", at=START - 5, metadata={"url": "/a"}, id="e1")
    engine.contacts.record_engagement("ann", "reply_received", metadata={"text": "This is great, thank you!"})
    engine.contacts.record_engagement("ben", "reply_received", metadata={"text": "Das ist leider sehr schlecht"})
    engine.identify("ben", attributes={"language": "fr"})
    engine.contacts.record_engagement("ben", "reply_received", metadata={"text": "super"})
    engine.track("reply.received", profile="ann", body="No, this is terrible")
    assert engine.store.event("e1").type == "link.clicked"  # type: ignore[union-attr]
    found = [(e.data.get("sentiment"), e.data.get("sentiment_score")) for e in engine.timeline("ann").events if "reply" in e.type]
    assert [label for label, _ in found] == ["negative", "positive"] and found[1][1] > 0.5
    assert all("sentiment" not in e.data for e in engine.timeline("ben").events)
    condition = 'did(reply.received where sentiment = "negative")'
    assert engine.evaluate(condition, profile="ann").value is True
    with engine.replay(":memory:") as again:
        assert [e.data for e in again.timeline("ann").events] == [e.data for e in engine.timeline("ann").events]


def test_a_contact_works_for_the_company_of_their_domain_or_the_one_that_is_named(engine: Engine) -> None:
    company = engine.contacts.link_company("ann", attributes={"name": "Acme"})
    assert engine.profile(company).attributes == {"name": "Acme", "domain": "acme.io"}
    with pytest.raises(InvalidInput, match="Nothing says where"):
        engine.contacts.link_company("ben")
    engine.contacts.link_company("ben", "acme.io")
    page = engine.contacts.company_contacts("acme.io", limit=1)
    assert [c.name for c in page.contacts] == ["Ann Lee"]
    rest = engine.contacts.company_contacts(company, after=page.next)
    assert [c.id for c in rest.contacts] == [engine.profile("ben").id] and rest.next is None
    engine.contacts.link_company("ben", "other.example")
    assert len(engine.contacts.company_contacts("acme.io").contacts) == 1
    engine.contacts.add_note(company, "Big customer")
    assert [n.text for n in engine.contacts.notes(company)] == ["Big customer"]
    with pytest.raises(InvalidInput, match="is a company"):
        engine.contacts.stage(company)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.add_note("ann", "  "),
        lambda c: c.add_note("ann", "a\x00b"),
        lambda c: c.add_note("ann", "\ud800"),
        lambda c: c.add_task("ann", "x" * 20_001),
        lambda c: c.add_task("ann", "x", due="soon"),
        lambda c: c.open_deal("ann", "x", amount=-1),
        lambda c: c.open_deal("ann", "x", amount=float("nan")),
        lambda c: c.open_deal("ann", "x", currency="euro"),
        lambda c: c.open_deal("ann", "x", stage="won"),
        lambda c: c.tasks(after="1-2"),
        lambda c: c.tasks(after="1-2-3-\x00"),
        lambda c: c.tasks(status="gone"),
        lambda c: c.deals(status="gone"),
        lambda c: c.company_contacts("acme.io", after="x"),
    ],
)
def test_nonsense_is_refused_and_nothing_written(engine: Engine, call: Any) -> None:
    engine.contacts.link_company("ann")
    before = engine.store.last_seq()
    with pytest.raises(InvalidInput):
        call(engine.contacts)
    assert engine.store.last_seq() == before
