"""One contact through all parts: imported, enriched, counted, written to a file, told of, given away and erased."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulated import World
from tailorbird.engine import Engine
from tailorbird.errors import NotFound

PEOPLE = [f"person.no{place}@shop.example" for place in range(12)]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    one = World(tmp_path, monkeypatch)
    one.dropcontact.unknown = 0.3  # so that some addresses are judged by nobody
    yield one
    one.close()


def test_a_campaign_is_enriched_behind_the_scenes_and_every_part_counts_alike(world: World, tmp_path: Path) -> None:
    engine = world.engine
    report = engine.directory.import_campaign("Expo", PEOPLE)
    assert (report.people, report.enriching, report.note) == (12, 12, "")
    assert engine.directory.statistics().by_status == {"new": 12}
    world.run()
    counted, asked = engine.directory.statistics(), engine.enrichment.statistics()
    assert (asked.waiting, asked.enriched) == (0, 12)
    assert counted.enriched == asked.enriched
    assert asked.assumed > 0 and asked.verified > 0, "otherwise this test shows nothing"
    assert counted.verified == asked.verified + asked.assumed == counted.by_status["verified"]
    assert engine.evaluate('did("email.verified")').count == counted.verified
    assert (counted.engaged, counted.engagements) == (0, 0)
    engine.contacts.record_engagement(f"email:{PEOPLE[0]}", "reply_received", metadata={"text": "Sounds great!"})
    counted = engine.directory.statistics()
    assert (counted.by_status["engaged"], counted.engaged, counted.engagements) == (1, 1, 1)

    assert report.id is not None
    assert engine.directory.import_campaign("Expo", PEOPLE).enriching == 0, "nobody is paid for twice"
    back = engine.directory.undo_import(report.id, also_enriched=True)
    assert (back.removed, back.kept_people) == (11, 1)


def test_what_enrichment_and_engagements_wrote_moves_out_and_in_again(world: World, tmp_path: Path) -> None:
    engine = world.engine
    engine.directory.import_campaign("Expo", PEOPLE)
    world.run()
    engine.contacts.record_engagement(f"email:{PEOPLE[0]}", "email_opened", metadata={"mail": "one"})
    engine.contacts.add_note(f"email:{PEOPLE[0]}", "Met at the fair")
    engine.directory.write_contacts(tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    first = written[PEOPLE[0]]
    assert [item["engagement_type"] for item in first["engagements"]] == ["email_opened"]
    assert first["status"] == "engaged" and first["enrichment"]["enrichment_source"] == "dropcontact"
    verified = [entry["enrichment"] for entry in written.values() if entry["enrichment"]["email_verified"]]
    assert verified and all(one["verification_timestamp"] is not None for one in verified)
    with Engine.open(":memory:", clock=world.clock) as other:
        other.directory.read_contacts(tmp_path / "out.json")
        other.directory.write_contacts(tmp_path / "again.json")
        assert other.directory.statistics()._replace(verified=0) == engine.directory.statistics()._replace(verified=0)
    assert json.loads((tmp_path / "again.json").read_text(encoding="utf-8")) == written


def test_somebody_is_given_away_whole_and_erased_whole(world: World) -> None:
    engine, ref = world.engine, f"email:{PEOPLE[0]}"
    engine.directory.import_campaign("Expo", PEOPLE[:2])
    world.run()
    contacts = engine.contacts
    contacts.add_note(ref, "Likes blue kites")
    task = contacts.add_task(ref, "Send the kite catalogue", assignee="bob")
    deal = contacts.open_deal(ref, "Kites for 2027", amount=900, currency="EUR")
    contacts.record_engagement(ref, "reply_received", metadata={"text": "Kites, please"})
    key = next(iter(engine.store.profiles_by_id([engine.profile(ref).id]).values())).key
    whole = json.dumps(engine.export(ref))
    for part in ("Likes blue kites", "Send the kite catalogue", "Kites for 2027", "enrichment.received", "person.enrich", "raw"):
        assert part in whole, part
    assert engine.directory.count(text="kites") + engine.directory.count(text=PEOPLE[0]) >= 1

    engine.forget(ref)
    with pytest.raises(NotFound):
        engine.profile(ref)
    assert engine.directory.count(text=PEOPLE[0]) == 0
    assert engine.directory.statistics().by_status == {"verified": 1}
    assert contacts.tasks(assignee="bob").tasks == () and contacts.deals().deals == ()
    assert engine.enrichment.statistics().enriched == 1
    assert engine.store.actions(profile=key) == []
    assert not [event for event in engine.log() if "kite" in str(event.data).lower() or PEOPLE[0] in str(event.data)]
    assert task.id and deal.id
