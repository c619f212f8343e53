"""Enrichment from the question to the attribute: over real HTTP, through the outbox, with everything that can go wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulated import CHAIN, T0, WIDE, World
from tailorbird.core.context import DAY, MINUTE
from tailorbird.engine import Engine


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(tmp_path, monkeypatch)
    yield world
    world.close()


def paths(app: Any) -> list[str]:
    return [f"{request.method} {request.path}" for request in app.log]


def test_a_person_is_completed_by_both_providers_and_the_address_is_judged(world: World) -> None:
    world.people(1)
    (begun,) = world.enrich("p0")
    assert (begun.status, begun.provider) == ("begun", "apollo")
    known = world.engine.profile("p0")
    assert {"title", "company", "linkedin_url", "phone", "industry", "seniority_level", "company_size"} <= set(known.attributes)
    assert known.provenance["title"].source == "apollo"
    received = world.events("p0", "enrichment.received")
    assert [event.data["provider"] for event in received] == ["apollo", "dropcontact"]
    assert received[0].data["raw"]["title"] == known.attributes["title"]
    (finished,) = world.events("p0", "enrichment.finished")
    assert finished.data["asked"] == ["apollo", "dropcontact"]
    assert world.events("p0")[-1].type == "enrichment.finished"


def test_reactors_see_the_attributes_when_the_answer_is_told(world: World) -> None:
    world.people(1)
    world.enrich("p0")
    types = [event.type for event in world.events("p0")]
    assert types.index("enrichment.received") > types.index("profile.updated", 1)


def test_what_a_person_said_is_never_replaced_even_when_said_while_the_question_is_out(world: World) -> None:
    world.people(1, title="Founder")
    world.engine.enrichment.enrich_contact("p0")
    world.engine.identify("p0", attributes={"company": "Ours"}, source="form")
    world.run()
    known = world.engine.profile("p0")
    assert (known.attributes["title"], known.attributes["company"]) == ("Founder", "Ours")
    assert known.attributes["industry"]


def test_a_later_provider_replaces_an_earlier_one_only_where_it_is_preferred(world: World) -> None:
    world.engine.apply([{**CHAIN, "prefer": {"phone": ["dropcontact", "apollo"]}}])
    world.people(1)
    world.enrich("p0")
    provenance = world.engine.profile("p0").provenance
    assert provenance["industry"].source == "apollo"
    assert provenance["phone"].source == "dropcontact"


def test_ten_go_in_one_call_and_a_batch_holds_them_all(world: World) -> None:
    world.enrich(*world.people(25))
    assert paths(world.apollo).count("POST /api/v1/people/bulk_match") == 3
    assert sum(len(request.body["details"]) for request in world.apollo.log) == 25
    assert sum(len(rows) for _, rows in world.dropcontact.batches.values()) == 25
    counts = world.engine.enrichment.statistics()
    assert (counts.enriched, counts.waiting) == (25, 0)
    assert {p.provider: p.credits for p in counts.providers} == {"apollo": 25, "dropcontact": 25}


def test_a_batch_is_looked_at_no_more_often_than_every_30_seconds(world: World) -> None:
    world.dropcontact.ready_after = 70
    world.people(3)
    world.engine.enrichment.enrich_batch(["p0", "p1", "p2"])
    moments = world.run()
    assert moments == ["30", "60", "90"]
    looks = [path for path in paths(world.dropcontact) if path.startswith("GET")]
    assert len(looks) == 3 * len(world.dropcontact.batches)


def test_a_restart_in_the_middle_of_a_batch_goes_on_with_its_id(world: World) -> None:
    world.people(1)
    world.engine.enrichment.enrich_contact("p0")
    while not world.dropcontact.batches:
        assert world.engine.run_due()
    while world.engine.run_due():
        pass
    world.restart()
    world.run()
    assert paths(world.dropcontact).count("POST /v1/enrich/all") == 1
    assert [e.data["provider"] for e in world.events("p0", "enrichment.received")] == ["apollo", "dropcontact"]


def test_nobody_is_paid_for_twice_within_the_chosen_time(world: World) -> None:
    world.people(1)
    world.enrich("p0")
    credits = world.apollo.credits
    (again,) = world.enrich("p0")
    assert again.status == "skipped"
    assert "again after 90 days" in str(again.reason)
    world.engine.identify("p0", attributes={"company": "Another"})  # another question about the same person
    assert world.enrich("p0")[0].status == "skipped"
    assert world.apollo.credits == credits
    world.clock.move_to(T0 + 91 * DAY)
    assert world.enrich("p0")[0].status == "begun"
    assert world.apollo.credits == credits + 1


def test_somebody_unknown_is_asked_about_again_only_with_another_question(world: World) -> None:
    world.engine.apply([{**CHAIN, "providers": [{"provider": "apollo", "limits": WIDE}]}])
    world.apollo.unknown = 1
    world.people(1)
    world.enrich("p0")
    assert world.events("p0", "enrichment.missed")[0].data["credits"] == 0
    asked = len(world.apollo.log)
    assert "apollo" in world.enrich("p0")[0].providers
    assert len(world.apollo.log) == asked
    world.engine.identify("p0", attributes={"linkedin_url": "https://www.linkedin.com/in/p0"})
    assert world.enrich("p0")[0].provider == "apollo"
    assert len(world.apollo.log) == asked + 1


def test_asking_at_the_same_moment_from_many_threads_asks_once(world: World) -> None:
    world.people(5)
    refs = [f"p{n}" for n in range(5)]
    threads = [threading.Thread(target=world.engine.enrichment.enrich_batch, args=(refs,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.run()
    assert sorted(world.apollo.paid) == sorted(set(world.apollo.paid))
    assert world.apollo.credits == 5


def test_asking_while_it_is_under_way_changes_nothing(world: World) -> None:
    world.people(1)
    world.engine.enrichment.enrich_contact("p0")
    assert world.engine.enrichment.enrich_contact("p0").status == "running"
    world.run()
    assert world.apollo.credits == 1


def test_two_profiles_with_the_same_question_are_asked_about_once(world: World) -> None:
    for ref in ("one", "two"):
        world.engine.identify(ref, attributes={"name": "Ann Lee", "company": "Acme"})
    world.enrich("one", "two")
    assert world.apollo.credits == 1
    assert world.engine.profile("one").attributes["title"] == world.engine.profile("two").attributes["title"]
    costs = [world.events(ref, "enrichment.received")[0].data["credits"] for ref in ("one", "two")]
    assert sorted(costs) == [0, 1]


def test_a_question_that_was_out_when_the_process_died_is_not_paid_again(world: World) -> None:
    world.people(1)
    world.engine.enrichment.enrich_contact("p0")
    connector = world.engine.connectors["apollo"]
    (action,) = world.engine.store.lease_actions(world.clock.now(), limit=1, lease=MINUTE)
    assert connector.perform(action).ok  # the answer came, and was never recorded
    world.restart()
    world.clock.move_to(T0 + 2 * MINUTE)
    world.run()
    assert world.apollo.credits == 1
    (failed,) = world.events("p0", "enrichment.failed")
    assert "lost" in failed.data["reason"]
    assert world.events("p0", "enrichment.received")[0].data["provider"] == "dropcontact"


def test_without_keys_nothing_happens_and_the_reason_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.people(1)
    for name in ("APOLLO", "DROPCONTACT"):
        monkeypatch.delenv(f"TAILORBIRD_{name}_KEY")
    world.restart()
    (begun,) = world.enrich("p0")
    assert begun.status == "skipped"
    assert "TAILORBIRD_APOLLO_KEY" in str(begun.reason) and "TAILORBIRD_DROPCONTACT_KEY" in str(begun.reason)
    assert world.engine.outbox().actions == ()


def test_a_provider_without_a_key_is_passed_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.people(1)
    monkeypatch.delenv("TAILORBIRD_APOLLO_KEY")
    world.restart()
    (begun,) = world.enrich("p0")
    assert begun.provider == "dropcontact"
    (finished,) = world.events("p0", "enrichment.finished")
    assert "TAILORBIRD_APOLLO_KEY" in finished.data["skipped"]["apollo"]


def test_a_key_that_is_taken_away_while_questions_wait_lets_the_run_go_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.people(1)
    world.engine.enrichment.enrich_contact("p0")
    monkeypatch.delenv("TAILORBIRD_APOLLO_KEY")
    world.restart()
    world.run()
    assert [e.data["provider"] for e in world.events("p0", "enrichment.received")] == ["dropcontact"]


@pytest.mark.parametrize("what", ["revoked", "down"])
def test_a_provider_that_fails_does_not_stop_the_next(world: World, what: str) -> None:
    setattr(world.apollo, what, True)
    world.enrich(*world.people(12))
    counts = world.engine.enrichment.statistics()
    assert counts.enriched == 12
    failed = world.events("p3", "enrichment.failed")
    assert [(e.data["provider"], e.data["credits"]) for e in failed] == [("apollo", 0)]
    assert {p.provider: p.credits for p in counts.providers}["apollo"] == 0


def test_one_person_who_spoils_a_call_costs_the_others_nothing(world: World) -> None:
    world.people(3)
    world.apollo.refuse = {"person.no1@shop1.example"}
    world.enrich("p0", "p1", "p2")
    received = [ref for ref in ("p0", "p1", "p2") if world.events(ref, "enrichment.received")[0].data["provider"] == "apollo"]
    assert received == ["p0", "p2"]
    assert world.apollo.credits == 2


def test_a_condition_sees_what_the_provider_before_has_answered(world: World) -> None:
    providers = [
        {"provider": "apollo", "limits": WIDE}, {"provider": "dropcontact", "when": "title is unknown", "limits": WIDE},
    ]  # fmt: skip
    world.engine.apply([{**CHAIN, "providers": providers}])
    world.people(2)
    world.enrich("p0")
    assert world.events("p0", "enrichment.finished")[0].data["skipped"] == {"dropcontact": "not when title is unknown"}
    assert world.dropcontact.batches == {}


def test_a_budget_holds_and_what_is_beyond_waits_for_tomorrow(world: World) -> None:
    providers = [{"provider": "apollo", "budget": 4, "limits": WIDE}]
    world.engine.apply([{**CHAIN, "providers": providers}])
    refs = world.people(6)
    world.engine.enrichment.enrich_batch(refs)
    while world.engine.run_due():
        pass
    assert world.apollo.credits == 4
    waiting = world.engine.enrichment.waiting()
    assert {action.due % DAY for action in waiting} == {0} and len(waiting) == 2
    assert world.engine.enrichment.cost(["p0"], force=True).providers[0].budget == 0
    world.run()
    assert world.apollo.credits == 6
    assert world.engine.enrichment.statistics().enriched == 6


@pytest.mark.parametrize("silent", [True, False])
def test_a_limit_of_the_vendor_is_waited_for_and_nothing_is_lost(world: World, silent: bool) -> None:
    world.apollo.limits = {"minute": 2}
    world.apollo.silent_429 = silent
    world.engine.apply([{**CHAIN, "providers": [{"provider": "apollo", "concurrency": 1}]}])
    world.engine.enrichment.enrich_batch(world.people(45))
    world.run()
    assert world.engine.enrichment.statistics().enriched == 45
    assert world.apollo.credits == 45


def test_an_address_that_nobody_judged_is_assumed_and_never_called_verified_by_anybody(world: World) -> None:
    world.dropcontact.down = True
    world.people(1)
    world.enrich("p0")
    (event,) = world.events("p0", "email.verified")
    assert event.data == {"how": "assumed", "by": None}
    known = world.engine.profile("p0").attributes
    assert (known["email_verified"], known["email_verification"]) == (True, "assumed")


def test_an_address_that_nobody_judged_stays_unknown_if_the_chain_says_so(world: World) -> None:
    world.engine.apply([{**CHAIN, "if_unverified": "unknown"}])
    world.dropcontact.down = True
    world.people(1)
    world.enrich("p0")
    assert world.events("p0", "email.verified") == []
    known = world.engine.profile("p0").attributes
    assert known["email_verification"] == "unknown" and "email_verified" not in known


def test_an_assumption_does_not_replace_a_providers_word(world: World) -> None:
    world.dropcontact.quality = "nominative@pro"
    world.people(1)
    world.enrich("p0")
    assert world.engine.profile("p0").attributes["email_verification"] == "verified"
    world.clock.move_to(T0 + 100 * DAY)
    world.dropcontact.down = True
    world.enrich("p0")
    assert world.engine.profile("p0").attributes["email_verification"] == "verified"
    assert world.engine.profile("p0").provenance["email_verification"].source == "dropcontact"


@pytest.mark.parametrize(
    ("quality", "said", "event"),
    [("nominative@pro", "verified", "email.verified"), ("invalid@pro", "invalid", "email.rejected"),
     ("catch_all@pro", "assumed", "email.verified"), ("generic@pro", "assumed", "email.verified")],
)  # fmt: skip
def test_what_the_verifier_says_decides(world: World, quality: str, said: str, event: str) -> None:
    world.dropcontact.quality = quality
    world.people(1)
    world.enrich("p0")
    assert world.engine.profile("p0").attributes["email_verification"] == said
    assert [e.type for e in world.events("p0", "email.verified", "email.rejected")] == [event]


def test_a_locked_address_is_no_address(world: World) -> None:
    world.apollo.locked = 1
    world.engine.identify("p0", attributes={"name": "Ann Lee", "company": "Acme"})
    world.engine.apply([{**CHAIN, "providers": [{"provider": "apollo", "limits": WIDE}]}])
    world.enrich("p0")
    assert "email" not in world.engine.profile("p0").attributes
    assert "email_not_unlocked" in world.events("p0", "enrichment.received")[0].data["raw"]["email"]


@pytest.mark.parametrize(
    "answer",
    [
        {"person": "Ann"}, {"person": {"title": {"of": "lies"}, "organization": [1], "phone_numbers": "none", "city": 7}}, [1, 2],
        "sorry", {"person": {"title": "x" * 5000, "name": "a\x00b\ud800"}}, {"person": {"id": 2**80, "organization": {"name": []}}},
    ],
)  # fmt: skip
def test_an_answer_that_breaks_its_schema_is_kept_and_harms_nobody(world: World, answer: Any) -> None:
    world.engine.apply([{**CHAIN, "providers": [{"provider": "apollo", "limits": WIDE}]}])
    world.people(1, city="Lyon")
    world.apollo.broken = [answer]
    world.enrich("p0")
    known = world.engine.profile("p0").attributes
    assert known["city"] == "Lyon"
    assert not {"title", "company", "phone"} & set(known)
    (event,) = world.events("p0", "enrichment.received", "enrichment.failed")
    assert event.data["faults"]
    assert event.data["raw"]


def test_matches_of_another_number_than_asked_go_to_nobody(world: World) -> None:
    world.engine.apply([{**CHAIN, "providers": [{"provider": "apollo", "limits": WIDE}]}])
    world.people(2)
    world.apollo.broken = [{"matches": [{"title": "CEO"}]}]
    world.enrich("p0", "p1")
    for ref in ("p0", "p1"):
        assert world.events(ref, "enrichment.failed")[0].data["faults"] == ["matches"]
        assert "title" not in world.engine.profile(ref).attributes


def test_rows_of_a_batch_find_their_person_whatever_their_order(world: World) -> None:
    world.engine.apply([{**CHAIN, "providers": [{"provider": "dropcontact", "limits": WIDE}]}])
    world.people(6)
    world.dropcontact.shuffle, world.dropcontact.quality = True, "nominative@pro"
    world.enrich(*[f"p{n}" for n in range(6)])
    for place in range(6):
        assert world.engine.profile(f"p{place}").attributes["email"] == f"person.no{place}@shop{place % 3}.example"


def test_rows_without_our_name_are_taken_in_order(world: World) -> None:
    world.engine.apply([{**CHAIN, "providers": [{"provider": "dropcontact", "limits": WIDE}]}])
    world.dropcontact.echo, world.dropcontact.quality = False, "nominative@pro"
    world.people(3)
    world.enrich("p0", "p1", "p2")
    for place in range(3):
        assert world.engine.profile(f"p{place}").attributes["email"] == f"person.no{place}@shop{place % 3}.example"


def test_a_batch_that_never_gets_ready_is_given_up_and_the_run_ends(world: World) -> None:
    world.engine.apply([{**CHAIN, "providers": [{"provider": "dropcontact", "limits": WIDE}]}])
    world.people(1)
    world.dropcontact.ready_after = 1e9
    world.dropcontact.force = False
    world.enrich("p0")
    (failed,) = world.events("p0", "enrichment.failed")
    assert failed.data["reason"] == "no answer after 20 looks"
    assert world.events("p0", "enrichment.finished")


def test_cost_is_told_before_and_asks_nobody(world: World) -> None:
    world.people(3, campaign="spring")
    found = world.engine.enrichment.cost(["p0", "p1", "p2"])
    assert (found.people, found.to_ask, found.credits) == (3, 3, 6)
    assert world.apollo.log == []
    world.enrich("p0")
    found = world.engine.enrichment.cost(["p0", "p1", "p2"])
    assert (found.to_ask, found.credits, sum(found.skipped.values())) == (2, 4, 1)


def test_a_campaign_is_enriched(world: World) -> None:
    world.people(3, campaign="spring")
    world.engine.identify("other", identifiers={"email": "x@y.example"})
    begun = world.engine.enrichment.enrich_from_campaign("spring")
    assert [item.status for item in begun] == ["begun"] * 3


def test_somebody_of_whom_too_little_is_known_is_not_asked_about(world: World) -> None:
    world.engine.identify("p0", attributes={"first_name": "Ann"})
    (begun,) = world.enrich("p0")
    assert (begun.status, begun.reason) == ("skipped", "not enough is known to find the person")


def test_replaying_the_log_asks_nobody(world: World, tmp_path: Path) -> None:
    world.people(2)
    world.enrich("p0", "p1")
    asked = len(world.apollo.log)
    copy = world.engine.replay(str(tmp_path / "copy.db"))
    copy.run_due()
    assert copy.enrichment.waiting() == []
    assert len(world.apollo.log) == asked
    assert copy.profile("p0").attributes == world.engine.profile("p0").attributes
    copy.close()


def test_erasing_somebody_while_the_question_is_out_brings_nothing_back(world: World) -> None:
    world.people(1)
    world.engine.enrichment.enrich_contact("p0")
    world.engine.forget("p0")
    while world.engine.run_due():
        pass
    assert world.engine.store.count_profiles() == 0
    assert world.engine.enrichment.waiting() == []


def test_keys_are_shown_nowhere(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    world.apollo.revoked = True
    world.people(1)
    world.enrich("p0")
    told = (
        str(world.engine.timeline("p0"))
        + str(world.engine.outbox())
        + repr(world.engine.connectors)
        + repr(world.engine.settings)
    )
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith(("httpx2", "tailorbird")))
    assert "simulated" not in told + ours
    assert "person.no0" not in ours


def test_a_key_is_never_in_a_definition(world: World) -> None:
    with pytest.raises(Exception, match="knows no field key"):
        world.engine.apply([{**CHAIN, "key": "secret"}])


def test_an_engine_without_connectors_enriches_nobody(tmp_path: Path) -> None:
    with Engine.open(str(tmp_path / "x.db"), connectors={}) as engine:
        engine.identify("ann", identifiers={"email": "ann@shop.example"})
        assert engine.enrichment.enrich_contact("ann").status == "skipped"
