"""The façade: every verb over a real store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from tailorbird.connectors import LogConnector
from tailorbird.core.action import ActionStatus
from tailorbird.core.context import DAY, HOUR, ManualClock
from tailorbird.core.event import Event
from tailorbird.core.profile import Profile
from tailorbird.engine import Engine
from tailorbird.engine.reader import Reader
from tailorbird.errors import Conflict, InvalidDefinition, InvalidEvent, InvalidExpression, InvalidInput, NotFound
from tailorbird.ports import Store
from tailorbird.settings import Settings

START = 1_700_000_000_000

DEFINITIONS = """
kind: attribute
name: age
type: number
---
kind: segment
name: vip
when: sum(order.placed.total, within 90d) > 100
---
kind: segment
name: french
when: country = "FR"
---
kind: segment
name: pals
members: manual
---
kind: feature
name: spend
value: sum(order.placed.total, within 90d)
view: money
---
kind: feature
name: since_order
value: time_since(order.placed)
---
kind: feature_view
name: all
features: [spend, since_order]
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine.open(str(tmp_path / "x.db"), clock=ManualClock(START)) as opened:
        opened.apply(DEFINITIONS)
        yield opened


def test_tracking_and_reading_back(engine: Engine) -> None:
    receipt = engine.track("order.placed", profile="ann", total=142, at=datetime(2023, 11, 1, tzinfo=UTC), note="hello")
    assert receipt.segments == ("vip",)
    view = engine.profile("ann")
    assert view == engine.profile(view.id) == engine.profile("external_id:ann")
    assert view.segments == ("vip",)
    assert [m.entered_at for m in view.memberships] == [START]
    newest, oldest = engine.timeline("ann").events
    assert (newest.type, newest.cause) == ("segment.entered", oldest.id)
    assert oldest.data == {"total": 142, "note": "hello"}


def test_attributes_have_their_declared_type_and_say_where_they_come_from(engine: Engine) -> None:
    engine.identify("ann", attributes={"age": "42", "country": "FR"}, source="form")
    view = engine.profile("ann")
    assert view.attributes == {"age": 42, "country": "FR"}
    assert (view.provenance["age"].type, view.provenance["age"].source) == ("number", "form")
    assert view.segments == ("french",)


def test_rejected_events_raise_where_one_was_tracked(engine: Engine) -> None:
    with pytest.raises(InvalidEvent, match=r"data\.x"):
        engine.track("a", profile="ann", x=float("nan"))
    with pytest.raises(InvalidEvent, match="whose"):
        engine.track("a")
    with pytest.raises(InvalidInput, match="instant"):
        engine.track("a", profile="ann", at="soon")
    assert engine.track("a", profile="ann", id="1").status == "accepted"
    assert engine.track("a", profile="ann", id="1").status == "duplicate"


def test_unknown_names_are_not_found_with_a_hint(engine: Engine) -> None:
    with pytest.raises(NotFound, match="kind:value"):
        engine.profile("nobody")
    with pytest.raises(NotFound, match="Did you mean french"):
        engine.members("frensh")
    with pytest.raises(NotFound, match="spend"):
        engine.features(engine.track("a", profile="ann").profile or "", ["spent"])


def test_features_now_and_as_of_any_instant(engine: Engine) -> None:
    engine.track("order.placed", profile="ann", total=50)
    engine.advance_to(START + HOUR)
    assert engine.features("ann", ["all"]) == {"spend": 50.0, "since_order": "1h"}
    assert engine.features("ann", ["money"]) == {"spend": 50.0}
    assert engine.features("ann", as_of=START - 1) == {"since_order": None, "spend": 0.0}
    assert engine.read_features("ann", None, warm=True) == engine.features("ann")
    assert engine.read_features("bob", None, warm=True) is None
    engine.track("order.placed", profile="ann", total=7)
    assert engine.features("ann", ["spend"]) == {"spend": 57.0}
    assert {view.name: view.type for view in engine.feature_list()} == {"spend": "number", "since_order": "duration"}


def test_reading_features_follows_names_that_come_to_mean_another(engine: Engine) -> None:
    engine.track("order.placed", profile="ann", total=1)
    engine.track("order.placed", profile="bob", total=2)
    assert engine.features("bob", ["spend"]) == {"spend": 2.0}
    merge = engine.merge("ann", "bob")
    assert engine.features("bob", ["spend"]) == {"spend": 3.0}
    engine.unmerge(merge.id)
    assert engine.features("bob", ["spend"]) == {"spend": 2.0}
    engine.apply("kind: feature\nname: spend\nvalue: sum(order.placed.total) * 10\nview: money\n")
    assert engine.features("bob", ["spend"]) == {"spend": 20.0}
    engine.forget("bob")
    with pytest.raises(NotFound):
        engine.features("bob", ["spend"])


class Late:
    """A store that says of people what it was asked for, and then what came to pass meanwhile happens."""

    def __init__(self, engine: Engine, happens: Callable[[], object]) -> None:
        self._store, self._happens = engine.store, happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def profiles(self, keys: Sequence[int]) -> dict[int, Profile]:
        found = self._store.profiles(keys)
        self._happens()
        return found


def test_who_is_erased_or_merged_while_features_are_read_gives_no_surprise(engine: Engine) -> None:
    engine.track("order.placed", profile="ann", total=1)
    engine.track("order.placed", profile="bob", total=2)

    def reader(happens: Callable[[], object]) -> Reader:
        engine.loop.refresh()  # who is in memory is not asked for
        return Reader(dataclasses.replace(engine.parts, store=cast(Store, Late(engine, happens))))

    assert reader(lambda: engine.merge("ann", "bob")).read("bob", ("spend",)) == {"spend": 3.0}
    with pytest.raises(NotFound, match="ann"):
        reader(lambda: engine.forget("ann")).read("ann", ("spend",))


def test_expressions_are_answered_for_one_and_for_everybody_as_of_any_instant(engine: Engine) -> None:
    for who, total in (("ann", 60), ("bob", 200)):
        engine.track("order.placed", profile=who, total=total)
    assert engine.evaluate("sum(order.placed.total) > 100").count == 1
    assert engine.evaluate('member_of("vip")', profile="bob").value is True
    assert engine.evaluate('feature("spend") * 2', profile="ann").value == 120.0
    assert engine.evaluate("did(order.placed)", as_of=START - 1).count == 0
    with pytest.raises(InvalidInput, match="not a condition"):
        engine.evaluate("sum(order.placed.total)")
    with pytest.raises(InvalidExpression):
        engine.evaluate("1 +")


def test_why_names_the_clause_and_until_when(engine: Engine) -> None:
    engine.track("order.placed", profile="ann", total=142)
    reason = engine.why("ann", "vip")
    assert reason.value is True
    assert reason.until == START + 90 * DAY
    assert engine.why("ann", "french").value is not True


def test_definitions_are_checked_previewed_applied_rolled_back_and_archived(engine: Engine) -> None:
    engine.track("order.placed", profile="ann", total=60)
    lower = "kind: segment\nname: vip\nwhen: sum(order.placed.total, within 90d) > 50\n"
    assert [d.name for d in engine.check(lower).activated] == ["vip"]
    (shown,) = engine.preview(lower)
    assert (shown.size, shown.entering, shown.leaving) == (1, 1, 0)
    assert engine.profile("ann").segments == ()
    assert engine.apply(lower).segments["vip"].entered == 1
    assert engine.profile("ann").segments == ("vip",)
    assert engine.apply(lower).unchanged == (("segment", "vip"),)
    engine.roll_back("segment", "vip")
    assert engine.profile("ann").segments == ()
    engine.apply([{"kind": "segment", "name": "both", "when": 'member_of("vip") and member_of("french")'}])
    with pytest.raises(Conflict, match="both"):
        engine.archive("segment", "vip")
    engine.archive("segment", "both")
    assert "both" not in [view.name for view in engine.segments()]
    with pytest.raises(InvalidDefinition):
        engine.apply("kind: segment\nname: x\nwhen: nonsense(\n")
    told = [(e.type, e.data["name"], e.data["version"]) for e in engine.log(limit=1000) if e.type.startswith("definition.")]
    assert told[-4:] == [
        ("definition.activated", "vip", 2),
        ("definition.activated", "vip", 1),
        ("definition.activated", "both", 1),
        ("definition.archived", "both", 1),
    ]


def test_what_is_applied_without_activation_waits(engine: Engine) -> None:
    engine.apply("kind: segment\nname: later\nwhen: did(a)\n", activate=False)
    assert "later" not in [view.name for view in engine.segments()]
    engine.track("a", profile="ann")
    engine.activate("segment", "later")
    assert engine.profile("ann").segments == ("later",)


def test_segments_members_history_overlap_and_drift(engine: Engine) -> None:
    for number in range(5):
        engine.identify(f"u{number}", attributes={"country": "FR", "name": f"U {number}"})
        engine.track("order.placed", profile=f"u{number}", total=60 * number)
    assert {view.name: view.size for view in engine.segments()} == {"french": 5, "pals": 0, "vip": 3}
    first = engine.members("french", limit=3)
    rest = engine.members("french", after=first.next, limit=3)
    assert [member.name for member in (*first.members, *rest.members)] == [f"U {n}" for n in range(5)]
    assert rest.next is None
    assert engine.overlap(["vip", "french"]).pair("vip", "french").both == 3
    assert engine.history("vip", step="1d")[-1].size == 3
    assert engine.drift("french").size == 5


def test_tags_consent_and_lists_kept_by_hand(engine: Engine) -> None:
    engine.track("a", profile="ann")
    engine.tag("ann", "gold", "early")
    engine.untag("ann", "early")
    engine.consent("ann", "email", "marketing", True, proof={"method": "form"})
    assert (engine.profile("ann").tags, engine.profile("ann").consents) == (("gold",), {"email/marketing": True})
    assert engine.add_members("pals", ["ann"]) == 1
    assert engine.add_members("pals", ["ann"]) == 0
    assert engine.profile("ann").segments == ("pals",)
    assert engine.remove_members("pals", ["ann"]) == 1
    with pytest.raises(InvalidInput, match="by hand"):
        engine.add_members("vip", ["ann"])
    with pytest.raises(NotFound):
        engine.tag("nobody", "gold")


def test_companies_are_profiles_of_their_own(engine: Engine) -> None:
    engine.identify("company_id:acme", attributes={"plan": "pro", "country": "FR"})
    engine.identify("acme", attributes={"plan": "free"})
    assert engine.profile("company_id:acme").kind == "company"
    assert engine.profile("company_id:acme").segments == ()
    assert engine.profile("acme").attributes == {"plan": "free"}
    assert engine.features("company_id:acme", ["spend"]) == {"spend": 0.0}


def test_actions_pass_the_gate_and_are_admitted_once(engine: Engine) -> None:
    engine.track("a", profile="ann")
    sent = engine.enqueue("message.send", "log", {"text": "hi"}, key="k1", profile="ann", channel="email", purpose="marketing")
    assert sent.status == ActionStatus.REFUSED
    engine.consent("ann", "email", "marketing", True)
    for _ in range(2):
        second = engine.enqueue(
            "message.send", "log", {"text": "hi"}, key="k2", profile="ann", channel="email", purpose="marketing"
        )
    assert second.status == ActionStatus.PENDING
    engine.advance_to(START + HOUR)
    assert [(a.key, a.status) for a in engine.outbox().actions] == [("k1", "refused"), ("k2", "sent")]
    outcome = engine.timeline("ann", limit=1).events[0]
    assert (outcome.type, outcome.at, outcome.data["action"]) == ("message.sent", START, "k2")
    engine.requeue("k1")
    engine.run_due()
    assert {a.status for a in engine.outbox().actions} == {"sent"}


def test_deliveries_on_the_way_happen_at_their_own_instants(tmp_path: Path) -> None:
    with Engine.open(str(tmp_path / "y.db"), clock=ManualClock(START), connectors={"webhook": LogConnector()}) as engine:
        engine.apply(
            "kind: segment\nname: here\nwhen: did(a, within 1h)\n---\n"
            "kind: subscription\nname: hook\nevents: [segment.exited]\nurl: https://example.com/x\n"
        )
        engine.track("a", profile="ann")
        engine.advance_to(START + 5 * DAY)
        sent = next(e for e in engine.timeline("ann").events if e.type == "webhook.sent")
        assert sent.at == START + HOUR


def test_forgetting_and_exporting_one_person(engine: Engine) -> None:
    engine.track("a", profile="ann", secret="rosebud")
    assert engine.export("ann")["profile"]["id"] == engine.profile("ann").id
    assert engine.forget("ann").rows > 0
    with pytest.raises(NotFound):
        engine.profile("ann")
    assert not any(e.data.get("secret") for e in engine.log(limit=1000))
    assert engine.track("a", profile="ann").status == "accepted"


def test_imports_bring_memberships_and_timers_up_to_date(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("customer,when,total\nann,2023-11-10,80\nann,2023-11-12,90\nbob,2023-11-12,20\n")
    report = engine.import_events(file, {"external_id": "customer", "at": "when", "type": "=order.placed"})
    assert report.loaded == 3
    assert engine.profile("ann").segments == ("vip",)
    engine.advance_to(START + 89 * DAY)
    assert engine.profile("ann").segments == ()
    assert engine.timeline("ann", limit=1).events[0].data["reason"] == "time"


def test_only_a_manual_clock_can_be_moved(tmp_path: Path, engine: Engine) -> None:
    with (
        Engine.open(str(tmp_path / "z.db"), settings=Settings(deliver=False)) as running,
        pytest.raises(InvalidInput, match="ManualClock"),
    ):
        running.advance_to(START)
    with pytest.raises(InvalidInput, match="cannot go back"):
        engine.advance_to(START - 1)


def test_everything_the_verbs_answer_can_be_written_as_json(engine: Engine) -> None:
    engine.track("order.placed", profile="ann", total=142)
    answers: list[object] = [
        engine.apply("kind: segment\nname: more\nwhen: did(a)\n"), engine.preview("kind: segment\nname: most\nwhen: did(b)\n"),
        engine.profile("ann"), engine.timeline("ann"), engine.features("ann"), engine.evaluate("did(a)"), engine.why("ann", "vip"),
        engine.segments(), engine.members("vip"), engine.history("vip"), engine.overlap(), engine.drift("vip"), engine.outbox(),
        engine.definitions(), engine.feature_list(), engine.log(), engine.export("ann"),
    ]  # fmt: skip
    for answer in answers:
        assert msgspec.json.encode(answer)


def test_the_log_survives_reopening(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    with Engine.open(path, clock=ManualClock(START)) as engine:
        engine.apply(DEFINITIONS)
        engine.track("order.placed", profile="ann", total=142)
        log: list[Event] = engine.log()
    with Engine.open(path, clock=ManualClock(START)) as engine:
        assert engine.log() == log
        assert engine.profile("ann").segments == ("vip",)
