"""Staying in step with a CRM: pulls, pushes, conflicts, webhooks and segments, over a CRM in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tailorbird.connectors.memory import MemoryCrm
from tailorbird.connectors.rest.errors import Refused, RemoteNotFound, Transient, Unsupported
from tailorbird.core.context import HOUR, MINUTE, ManualClock
from tailorbird.core.event import Event
from tailorbird.crm.model import Row, WebhookCall
from tailorbird.engine import Engine

T0 = 1_700_000_000_000


class Scene:
    """An engine, and a CRM in memory connected to it as ``memory``."""

    def __init__(self, url: str) -> None:
        self.clock = ManualClock(T0)
        self.crm = MemoryCrm("memory", clock=self.clock)
        self.engine = Engine.open(url, clock=self.clock, connectors={}, crm={"memory": self.crm})
        self.sync = self.engine.sync

    def person(self, **values: object) -> str:
        """Make a record at the CRM; return its id."""
        self.clock.move_to(self.clock.now() + 1_000)
        written = self.crm.create(Row(key="k", values=values))
        assert written.id
        return written.id

    def edit(self, record: str, **values: object) -> None:
        """Change a record, as somebody at the CRM would, a second later."""
        self.clock.move_to(self.clock.now() + 1_000)
        self.crm.update(Row(key="k", values=values, id=record))

    def say(self, ref: str, **attributes: object) -> None:
        """Change a profile, a second later."""
        self.clock.move_to(self.clock.now() + 1_000)
        self.engine.identify(ref, attributes=attributes)

    def events(self, ref: str, type_: str) -> list[Event]:
        """Return the events of a type, oldest first."""
        key = self.engine.store.profiles_by_id([self.engine.profile(ref).id]).popitem()[1].key
        return self.engine.store.history([key], [type_]).get(key, [])

    def everything(self) -> int:
        """Return how many events there are."""
        return len(self.engine.log(limit=100_000))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    found = Scene(str(tmp_path / "tailorbird.db"))
    yield found
    found.engine.close()


@pytest.fixture
def stored(store_url: str) -> Iterator[Scene]:
    found = Scene(store_url)
    yield found
    found.engine.close()


def test_a_pull_makes_people_of_records_on_every_store(stored: Scene) -> None:
    record = stored.person(first_name="Ann", email="Ann@Example.org", city="Lyon", tags=["vip"])
    taken = stored.sync.pull("memory")
    assert (taken.read, taken.created, taken.rejected) == (1, 1, {})
    ann = stored.engine.profile("email:ann@example.org")
    assert ann.attributes["city"] == "Lyon"
    assert ann.provenance["city"].source == "crm:memory"
    assert "vip" in ann.tags
    assert stored.engine.profile(f"crm:memory:{record}").id == ann.id


def test_a_second_pull_reads_only_what_changed(scene: Scene) -> None:
    scene.person(first_name="Ann", email="ann@example.org")
    record = scene.person(first_name="Bob", email="bob@example.org")
    scene.sync.pull("memory")
    scene.edit(record, city="Nice")
    taken = scene.sync.pull("memory")
    assert (taken.read, taken.changed) == (1, 1)
    assert scene.engine.profile("email:bob@example.org").attributes["city"] == "Nice"


def test_a_full_pull_of_what_is_known_tells_nothing_new(scene: Scene) -> None:
    for number in range(5):
        scene.person(first_name=f"N{number}", email=f"n{number}@example.org", tags=["a"])
    scene.sync.pull("memory")
    before = scene.everything()
    taken = scene.sync.pull("memory", full=True)
    assert (taken.read, taken.changed, taken.created) == (5, 0, 0)
    assert scene.everything() == before


def test_a_pull_that_is_cut_short_goes_on_where_it_was(scene: Scene) -> None:
    for number in range(1_500):
        scene.crm.create(Row(key="k", values={"email": f"n{number}@example.org"}))
    scene.crm.calls.clear()
    real = scene.crm.changes

    def once(cursor: str | None, *, limit: int = 1000) -> object:
        if cursor is not None:
            raise Transient("memory cannot be reached (down)")
        return real(cursor, limit=limit)

    scene.crm.changes = once  # type: ignore[method-assign,assignment]
    with pytest.raises(Transient):
        scene.sync.pull("memory")
    assert scene.engine.connections.get("memory").status == "unreachable"
    scene.crm.changes = real  # type: ignore[method-assign]
    assert scene.sync.pull("memory").read == 500
    assert scene.engine.connections.get("memory").status == "connected"
    assert scene.engine.store.count_profiles() == 1_500


def test_pages_whose_links_were_lost_are_taken_again_without_a_trace(scene: Scene) -> None:
    record = scene.person(first_name="Ann", email="ann@example.org", tags=["vip"])
    scene.sync.pull("memory")
    before = scene.everything()
    scene.engine.store.crm.drop_links(scene.engine.store.crm.links("memory", [record])[record].profile)
    scene.sync.pull("memory", full=True)
    assert scene.everything() == before
    assert record in scene.engine.store.crm.links("memory", [record])


def test_what_changed_with_us_is_written_and_comes_back_as_no_news(scene: Scene) -> None:
    record = scene.person(first_name="Ann", email="ann@example.org")
    scene.sync.pull("memory")
    scene.say("email:ann@example.org", city="Paris", shoe=42)
    would = scene.sync.push("memory", dry_run=True)
    assert [(row.record, row.values) for row in would.rows] == [(record, {"city": "Paris"})]
    assert scene.crm.records[record].city is None
    pushed = scene.sync.push("memory")
    assert (pushed.written, pushed.failed) == (1, [])
    assert scene.crm.records[record].city == "Paris"
    assert scene.crm.records[record].fields == {}
    before, writes = scene.everything(), scene.crm.calls["upsert_many"]
    assert scene.sync.pull("memory").changed == 0
    assert scene.sync.push("memory").written == 0
    assert (scene.everything(), scene.crm.calls["upsert_many"]) == (before, writes)


@pytest.mark.parametrize(
    ("wins", "there", "here"), [("crm", "Nice", "Nice"), ("us", "Paris", "Paris"), ("never", "Nice", "Paris")]
)
def test_where_both_changed_the_rule_decides_and_it_is_recorded(scene: Scene, wins: str, there: str, here: str) -> None:
    fields = [{"field": "email"}, {"field": "city", "wins": wins}]
    scene.engine.apply([{"kind": "mapping", "name": "ours", "connection": "memory", "fields": fields}])
    record = scene.person(email="ann@example.org", city="Lyon")
    scene.sync.pull("memory")
    scene.edit(record, city="Nice")
    scene.say("email:ann@example.org", city="Paris")
    for _ in range(3):
        scene.sync.push("memory")
    assert scene.crm.records[record].city == there
    assert scene.engine.profile("email:ann@example.org").attributes["city"] == here
    (conflict,) = scene.sync.conflicts("memory")
    assert (conflict.data["crm"], conflict.data["ours"], conflict.data["rule"]) == ("Nice", "Paris", wins)
    assert conflict.data["winner"] == {"crm": "crm", "us": "us", "never": "nobody"}[wins]


@pytest.mark.parametrize("ours_first", [True, False])
def test_the_newest_wins_by_the_instant_of_each_side(scene: Scene, ours_first: bool) -> None:
    record = scene.person(email="ann@example.org", city="Lyon")
    scene.sync.pull("memory")
    if ours_first:
        scene.say("email:ann@example.org", city="Paris")
    scene.edit(record, city="Nice")
    if not ours_first:
        scene.say("email:ann@example.org", city="Paris")
    for _ in range(2):
        scene.sync.push("memory")
    wanted = "Nice" if ours_first else "Paris"
    assert scene.crm.records[record].city == wanted
    assert scene.engine.profile("email:ann@example.org").attributes["city"] == wanted
    assert len(scene.sync.conflicts()) == 1


def test_a_value_that_is_cleared_there_is_cleared_here(scene: Scene) -> None:
    record = scene.person(email="ann@example.org", city="Lyon")
    scene.sync.pull("memory")
    scene.edit(record, city=None)
    scene.sync.pull("memory")
    assert "city" not in scene.engine.profile("email:ann@example.org").attributes


def test_a_deleted_record_is_told_once_and_its_person_stays(scene: Scene) -> None:
    record = scene.person(email="ann@example.org", city="Lyon")
    scene.sync.pull("memory")
    scene.crm.delete(record)
    assert scene.sync.pull("memory").deleted == 1
    assert scene.sync.pull("memory", full=True).deleted == 0
    (told,) = scene.events("email:ann@example.org", "crm.record_deleted")
    assert told.data["record"] == record
    scene.say("email:ann@example.org", city="Paris")
    assert scene.sync.push("memory", create=True).rows == []


def test_fields_that_the_crm_drops_are_told(scene: Scene) -> None:
    scene.person(email="ann@example.org")
    scene.sync.pull("memory")
    scene.crm.drops.add("city")
    scene.say("email:ann@example.org", city="Paris")
    pushed = scene.sync.push("memory")
    assert list(pushed.dropped.values()) == [("city",)]
    (told,) = scene.events("email:ann@example.org", "crm.fields_dropped")
    assert told.data["fields"] == ["city"]


def test_a_row_that_is_refused_stands_alone(scene: Scene) -> None:
    good = scene.person(email="ann@example.org")
    bad = scene.person(email="bob@example.org")
    scene.sync.pull("memory")
    scene.say("email:ann@example.org", city="Paris")
    scene.say("email:bob@example.org", city=75)
    pushed = scene.sync.push("memory")
    assert pushed.written == 1
    assert [(f.record, f.error) for f in pushed.failed] == [(bad, "remote_invalid")]
    assert scene.crm.records[good].city == "Paris"


def test_who_is_not_there_is_made_once_even_when_the_answer_is_lost(scene: Scene) -> None:
    scene.engine.identify("ann", attributes={"city": "Lyon"}, identifiers={"email": "ann@example.org"})

    def lost() -> None:
        raise Transient("memory cannot be reached (lost)", sent=True)

    scene.crm.after_write = lost
    with pytest.raises(Transient):
        scene.sync.push("memory", create=True)
    scene.crm.after_write = None
    scene.sync.push("memory", create=True)
    (record,) = scene.crm.records.values()
    assert (record.email, record.city) == ("ann@example.org", "Lyon")
    assert scene.engine.profile(f"crm:memory:{record.id}").id == scene.engine.profile("ann").id
    assert scene.sync.push("memory", create=True).rows == []


def test_an_opt_out_here_is_written_there_and_silence_there_undoes_nothing(scene: Scene) -> None:
    record = scene.person(email="ann@example.org")
    scene.sync.pull("memory")
    scene.engine.consent("email:ann@example.org", "email", "marketing", False)
    scene.sync.pull("memory", full=True)
    assert scene.engine.profile("email:ann@example.org").consents["email/marketing"] is False
    scene.sync.push("memory")
    assert scene.crm.records[record].consents == {"email/marketing": False}
    held = scene.crm.records[record]
    scene.crm.records[record] = msgspec.structs.replace(held, consents={"email/marketing": True})
    scene.sync.pull("memory", full=True)
    assert scene.engine.profile("email:ann@example.org").consents["email/marketing"] is False


def test_an_opt_out_there_counts_here(scene: Scene) -> None:
    record = scene.person(email="ann@example.org")
    scene.sync.pull("memory")
    scene.clock.move_to(scene.clock.now() + 1_000)
    scene.crm.set_consent(scene.crm.records[record], "email", False)
    scene.sync.pull("memory")
    assert scene.engine.profile("email:ann@example.org").consents["email/marketing"] is False


def test_tags_that_come_and_go_there_come_and_go_here(scene: Scene) -> None:
    record = scene.person(email="ann@example.org", tags=["vip", "old"])
    scene.sync.pull("memory")
    scene.engine.tag("email:ann@example.org", "own")
    scene.edit(record, tags=["vip", "new"])
    scene.sync.pull("memory")
    assert set(scene.engine.profile("email:ann@example.org").tags) == {"vip", "new", "own"}


def test_with_merge_our_tags_are_written_and_the_crm_keeps_its_own(scene: Scene) -> None:
    scene.engine.apply([{"kind": "mapping", "name": "ours", "tags": "merge"}])
    record = scene.person(email="ann@example.org", tags=["vip"])
    scene.sync.pull("memory")
    scene.engine.tag("email:ann@example.org", "own")
    scene.sync.push("memory")
    assert set(scene.crm.records[record].tags) == {"vip", "own"}
    scene.engine.untag("email:ann@example.org", "vip")
    scene.sync.push("memory")
    assert set(scene.crm.records[record].tags) == {"own"}
    assert scene.sync.push("memory").rows == []


def test_a_webhook_has_the_record_read_once_however_often_it_comes(scene: Scene) -> None:
    record = scene.person(email="ann@example.org", city="Lyon")
    call = scene.crm.signed(record)
    assert scene.sync.receive_webhook("memory", call) == 1
    assert scene.sync.receive_webhook("memory", call) == 0
    scene.engine.run_due()
    assert scene.engine.profile("email:ann@example.org").attributes["city"] == "Lyon"
    assert scene.crm.calls["get"] == 1


def test_a_webhook_of_our_own_write_tells_nothing_new(scene: Scene) -> None:
    record = scene.person(email="ann@example.org")
    scene.sync.pull("memory")
    scene.say("email:ann@example.org", city="Paris")
    scene.sync.push("memory")
    before = scene.everything()
    scene.sync.receive_webhook("memory", scene.crm.signed(record))
    scene.engine.run_due()
    assert scene.crm.calls["get"] == 1
    assert scene.everything() == before


def test_a_webhook_of_a_deleted_record_notes_that_it_is_gone(scene: Scene) -> None:
    record = scene.person(email="ann@example.org")
    scene.sync.pull("memory")
    scene.crm.delete(record)
    scene.sync.receive_webhook("memory", scene.crm.signed(record, what="deleted"))
    scene.engine.run_due()
    assert len(scene.events("email:ann@example.org", "crm.record_deleted")) == 1


def test_forged_and_stale_webhooks_are_refused(scene: Scene) -> None:
    call = scene.crm.signed(scene.person(email="ann@example.org"))
    forged = WebhookCall(method=call.method, url=call.url, headers=call.headers, body=call.body + b" ")
    with pytest.raises(Refused):
        scene.sync.receive_webhook("memory", forged)
    scene.clock.move_to(scene.clock.now() + HOUR)
    with pytest.raises(Refused):
        scene.sync.receive_webhook("memory", call)
    assert scene.engine.outbox().actions == ()


def test_webhooks_wait_while_the_crm_is_down_and_are_read_when_it_is_back(scene: Scene) -> None:
    record = scene.person(email="ann@example.org")
    scene.sync.receive_webhook("memory", scene.crm.signed(record))
    scene.crm.down = True
    scene.engine.run_due()
    scene.crm.down = False
    scene.engine.advance_to(scene.clock.now() + 10 * MINUTE)
    assert scene.engine.profile("email:ann@example.org").attributes["email"] == "ann@example.org"


def test_a_segment_is_sent_by_its_differences(scene: Scene) -> None:
    scene.engine.apply([{"kind": "segment", "name": "lyon", "when": 'text(city) = "Lyon"'}])
    ann = scene.person(email="ann@example.org", city="Lyon")
    bob = scene.person(email="bob@example.org", city="Lyon")
    scene.sync.pull("memory")
    done = scene.sync.sync_segment("lyon", "memory")
    assert (done.added, done.removed, scene.crm.members["lyon"]) == (2, 0, {ann, bob})
    scene.edit(bob, city="Nice")
    scene.sync.pull("memory")
    done = scene.sync.sync_segment("lyon", "memory")
    assert (done.added, done.removed, scene.crm.members["lyon"]) == (0, 1, {ann})
    calls = scene.crm.calls["set_members"]
    scene.sync.sync_segment("lyon", "memory")
    assert scene.crm.calls["set_members"] == calls


def test_a_crm_that_keeps_no_lists_says_so(scene: Scene) -> None:
    scene.engine.apply([{"kind": "segment", "name": "lyon", "when": 'text(city) = "Lyon"'}])
    scene.crm.capabilities = msgspec.structs.replace(scene.crm.capabilities, segments=None)
    with pytest.raises(Unsupported):
        scene.sync.sync_segment("lyon", "memory")


def test_who_is_erased_leaves_no_link(scene: Scene) -> None:
    record = scene.person(email="ann@example.org")
    scene.sync.pull("memory")
    scene.engine.forget("email:ann@example.org")
    assert scene.engine.store.crm.links("memory", [record]) == {}


def test_merged_people_are_followed_to_their_record(scene: Scene) -> None:
    record = scene.person(email="ann@example.org")
    scene.sync.pull("memory")
    scene.engine.identify("other", attributes={"city": "Paris"})
    scene.engine.merge("other", f"crm:memory:{record}")
    scene.sync.push("memory")
    assert scene.crm.records[record].city == "Paris"


def test_subscriptions_that_end_soon_are_renewed(scene: Scene) -> None:
    class Ending(MemoryCrm):
        def subscribe(self, url: str) -> list:  # type: ignore[type-arg]
            (one,) = super().subscribe(url)
            return [msgspec.structs.replace(one, expires_at=self.clock.now() + HOUR)]

        def renew(self, subscriptions: object) -> list:  # type: ignore[type-arg]
            return self.subscribe("")

    crm = Ending("ending", clock=scene.clock)
    with Engine.open(":memory:", clock=scene.clock, connectors={}, crm={"ending": crm}) as engine:
        engine.sync.subscribe("ending", "https://example.org/hook")
        assert engine.sync.renew_subscriptions(within=MINUTE) == 0
        scene.clock.move_to(scene.clock.now() + HOUR - MINUTE)
        assert engine.sync.renew_subscriptions(within=5 * MINUTE) == 1
        assert engine.sync.subscriptions("ending")[0].expires_at == scene.clock.now() + HOUR
        engine.sync.unsubscribe("ending")
        assert engine.sync.subscriptions("ending") == []


def test_a_connection_that_says_how_often_is_pulled_and_pushed_when_it_is_time(scene: Scene) -> None:
    store = scene.engine.store.crm
    held = scene.engine.connections.get("memory")
    record = scene.person(email="ann@example.org")
    assert scene.sync.run_due() == 0
    store.put_connection(msgspec.structs.replace(held, settings={"pull_every": "15m", "push": True}))
    assert scene.sync.run_due() == 1
    scene.say("email:ann@example.org", city="Paris")
    assert scene.sync.run_due() == 0
    scene.clock.move_to(scene.clock.now() + 15 * MINUTE)
    assert scene.sync.run_due() == 1
    assert scene.crm.records[record].city == "Paris"
    scene.crm.down = True
    scene.clock.move_to(scene.clock.now() + 15 * MINUTE)
    assert scene.sync.run_due() == 0
    assert scene.engine.connections.get("memory").status == "unreachable"


def test_a_webhook_lets_go_of_what_is_kept_of_a_person(scene: Scene) -> None:
    record = scene.person(email="ann@example.org", city="Lyon")
    scene.engine.clients.get_client_data("email:ann@example.org")
    scene.edit(record, city="Nice")
    scene.sync.receive_webhook("memory", scene.crm.signed(record))
    assert "Nice" in str(scene.engine.clients.get_client_data("email:ann@example.org"))


def test_the_verbs_of_callers_ask_in_our_words(scene: Scene) -> None:
    fields = [{"field": "email"}, {"field": "city"}, {"field": "status"}, {"field": "svc__c", "attribute": "services"}]
    scene.engine.apply([{"kind": "mapping", "name": "ours", "fields": fields}])
    ann = scene.engine.crm.create(
        {"email": "ann@example.org", "city": "Lyon", "services": ["lawn", "snow"], "signed_seasons": ["2026"]}
    )
    bob = scene.engine.crm.create({"email": "bob@example.org", "city": "Lyon", "services": ["lawn"], "last_service_date": T0})
    assert scene.crm.records[ann.id or ""].fields["svc__c"] == ["lawn", "snow"]

    def names(**asked: Any) -> list[str]:
        return [record.id for record in scene.engine.crm.query(**asked)]

    assert names(city="Lyon", services="snow") == [ann.id]
    assert names(services=["lawn"], not_signed_for_season=2026) == [bob.id]
    assert names(last_service_before=T0) == [ann.id]
    assert names(city="Lyon", limit=1) == [ann.id]
    assert [r.id for r in scene.engine.crm.search("bob")] == [bob.id]
    assert scene.engine.crm.create({"email": "bob@example.org", "city": "Nice"}).id == bob.id
    assert (scene.engine.crm.find(bob.id or "") or pytest.fail("gone")).city == "Nice"
    scene.engine.crm.update(ann.id or "", {"city": "Brest"})
    assert scene.crm.records[ann.id or ""].city == "Brest"


def test_who_is_not_there_is_none_and_a_warning(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    assert scene.engine.crm.find("404") is None
    assert scene.engine.crm.update("404", {"city": "Lyon"}) is None
    assert len(caplog.records) == 2
    with pytest.raises(RemoteNotFound):
        scene.crm.update(Row(key="k", values={}, id="404"))
