"""Merging loses nothing, and taking it back restores exactly; over a real store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailorbird.core.action import Action
from tailorbird.core.event import Event
from tailorbird.core.ids import bucket_seed, profile_id
from tailorbird.core.profile import Identifier, Profile
from tailorbird.errors import Conflict, NotFound
from tailorbird.ports import IdentifierRow, Membership, Merge, Store, Unit
from tailorbird.profiles.erase import export, forget
from tailorbird.profiles.fold import FACT_TYPES, FACTS, fold, refold
from tailorbird.profiles.identity import Held, resolve
from tailorbird.profiles.merge import apart, build_unmerge, join, root
from tailorbird.profiles.normalise import is_strong, normalise_all
from tailorbird.profiles.rules import DEFAULT_RULE, MergeRule
from tailorbird.storage import open_store


class Town:
    """Takes events into a store one at a time, as the loop does, without segments."""

    def __init__(self, store: Store, rule: MergeRule = DEFAULT_RULE) -> None:
        self.store = store
        self.rule = rule
        self.now = 1_000

    def take(self, type_: str, data: dict[str, Any] | None = None, **identifiers: str) -> int:
        self.now += 10
        given_ = normalise_all(identifiers)
        found = self.store.resolve(given_)
        held = {row.profile: self._held(row.profile) for row in found.values()}
        r = resolve(given_, found, held, self.rule, apart=apart(self.store.merges()))
        unit = Unit()
        seq = self.store.last_seq() + 1
        key = self.store.next_profile_key() if r.profile is None else r.profile
        if r.profile is None:
            unit.profiles[key] = Profile(key=key, id=r.public_id, bucket=bucket_seed(r.public_id), created_at=self.now)
            self.store.commit(unit)
            unit = Unit()
        for joining in r.joins:
            self.merge(key, joining.loser, reason=joining.reason)
        seq = self.store.last_seq() + 1
        origin = key if r.origin is None else r.origin
        unit.identifiers = [IdentifierRow(i.kind, i.value, key, origin, self.now) for i in r.attach]
        event = Event(
            id=f"e{seq}", type=type_, profile=key, origin=origin, at=self.now, received_at=self.now, seq=seq, data=data or {}
        )
        unit.events = [event]
        profile = self.store.profiles([key])[key]
        if not fold(profile, event):
            refold(profile, [*self.store.history([key])[key], event])
        unit.profiles[key] = profile
        self.store.commit(unit)
        return key

    def _held(self, key: int) -> Held:
        rows = self.store.identifiers(key)
        return Held(tuple(Identifier(r.kind, r.value) for r in rows if is_strong(r.kind)), len(rows))

    def merge(self, winner: int, loser: int, *, reason: str = "by hand") -> str:
        self.now += 10
        profiles = self.store.profiles([winner, loser])
        if winner not in profiles or loser not in profiles:
            raise NotFound("one of the two does not exist")
        facts = [event for events in self.store.history([winner, loser], FACT_TYPES).values() for event in events]
        merge, joined, gone, events = join(
            profiles[winner], profiles[loser], facts, at=self.now, cause=f"c{self.now}", reason=reason, rule=self.rule
        )
        unit, seq = Unit(), self.store.last_seq() + 1
        unit.events = [msgspec.structs.replace(event, seq=seq + n) for n, event in enumerate(events)]
        refold(joined, [*facts, *unit.events])
        unit.profiles, unit.merges = {winner: joined, loser: gone}, [merge]
        self.store.rekey(unit, loser=loser, winner=winner)
        return unit.merges[0].id

    def undo(self, merge_id: str) -> None:
        self.now += 10
        unit, undo = build_unmerge(self.store, merge_id, at=self.now, seq=self.store.last_seq() + 1)
        self.store.unrekey(unit, winner=undo.holder, origins=undo.origins, loser=undo.loser)

    def state(self, *keys: int) -> dict[int, Any]:
        """What is known of profiles, without the telling of merges and without sequence numbers."""
        profiles = self.store.profiles(keys)
        history = self.store.history(keys)
        return {
            key: (
                dict(profiles[key].attributes),
                {(n, p.at) for n, p in profiles[key].provenance.items() if n != FACTS},
                set(profiles[key].tags),
                profiles[key].consents,
                profiles[key].merged_into,
                {(e.id, e.at, e.origin) for e in history.get(key, []) if e.type not in ("profile.merged", "profile.unmerged")},
                {(r.kind, r.value, r.origin) for r in self.store.identifiers(key)},
            )
            for key in keys
        }


@pytest.fixture
def town() -> Iterator[Town]:
    store = open_store(":memory:")
    store.claim()
    yield Town(store)
    store.close()


def test_anonymous_history_joins_and_attributes_are_those_of_both(town: Town) -> None:
    town.take("profile.updated", {"attributes": {"city": "Lyon", "plan": "trial"}}, anonymous_id="a1")
    town.take("tag.added", {"tag": "curious"}, anonymous_id="a1")
    ann = town.take("profile.updated", {"attributes": {"plan": "pro"}}, external_id="ann")
    assert town.take("page.viewed", external_id="ann", anonymous_id="a1") == ann
    profile = town.store.profiles([ann])[ann]
    assert profile.id == profile_id("external_id", "ann")
    assert profile.attributes == {"city": "Lyon", "plan": "pro"}
    assert profile.tags == ("curious",)
    assert [e.type for e in town.store.history([ann])[ann]] == [
        "profile.updated", "tag.added", "profile.updated", "profile.merged", "page.viewed",
    ]  # fmt: skip
    (merge,) = town.store.merges(ann)
    assert (merge.winner, merge.reason, merge.rule) == (ann, "anonymous_activity", "default")


def test_an_opt_out_of_either_survives_the_merge(town: Town) -> None:
    consent = {"channel": "email", "purpose": "news"}
    ann = town.take("consent.granted", consent | {"explicit": True}, external_id="ann")
    other = town.take("consent.withdrawn", consent, email="ann@example.com")
    town.take("consent.granted", consent, external_id="ann")
    town.merge(ann, other)
    assert town.store.profiles([ann])[ann].consents == {"email/news": False}


def test_the_winners_attributes_stand_where_the_rule_says_so(town: Town) -> None:
    town.rule = MergeRule(attributes="winner")
    ann = town.take("profile.updated", {"attributes": {"city": "Lyon", "plan": "pro"}}, external_id="ann")
    other = town.take("profile.updated", {"attributes": {"city": "Nice", "age": 40}}, email="ann@example.com")
    merge = town.merge(ann, other)
    assert town.store.profiles([ann])[ann].attributes == {"city": "Lyon", "plan": "pro", "age": 40}
    last = town.store.history([ann])[ann][-1]
    assert (last.type, last.data) == ("profile.updated", {"attributes": {"city": "Lyon"}})  # so expressions see the same
    town.undo(merge)
    assert town.store.profiles([other])[other].attributes == {"city": "Nice", "age": 40}


def test_undoing_gives_back_what_was_and_what_came_later_by_the_losers_identifiers(town: Town) -> None:
    town.take("page.viewed", anonymous_id="a1")
    ann = town.take("page.viewed", external_id="ann", anonymous_id="a1")
    town.take("late", anonymous_id="a1")
    town.take("mine", external_id="ann")
    (merge,) = town.store.merges()
    town.undo(merge.id)
    back = town.store.history([merge.loser])[merge.loser]
    assert [e.type for e in back] == ["page.viewed", "late", "profile.unmerged"]
    assert [e.type for e in town.store.history([ann])[ann]] == ["profile.merged", "page.viewed", "mine", "profile.unmerged"]
    assert town.take("more", anonymous_id="a1") == merge.loser


def test_what_was_taken_apart_stays_apart(town: Town) -> None:
    town.take("page.viewed", anonymous_id="a1")
    ann = town.take("page.viewed", external_id="ann", anonymous_id="a1")
    (merge,) = town.store.merges()
    town.undo(merge.id)
    assert town.take("page.viewed", external_id="ann", anonymous_id="a1") == ann
    assert len(town.store.merges()) == 1
    town.merge(ann, merge.loser)  # by hand it can be done again
    assert apart(town.store.merges()) == frozenset()


def test_what_cannot_be_done_is_refused_with_the_reason(town: Town) -> None:
    ann, bob, eve = (town.take("page.viewed", external_id=name) for name in ("ann", "bob", "eve"))
    with pytest.raises(Conflict, match="into itself"):
        town.merge(ann, ann)
    merge = town.merge(ann, bob)
    with pytest.raises(Conflict, match="merged away before"):
        town.merge(eve, bob)
    with pytest.raises(Conflict, match="merged away before"):
        town.merge(bob, eve)
    with pytest.raises(NotFound):
        town.undo("m_unknown")
    town.undo(merge)
    with pytest.raises(Conflict, match="undone before"):
        town.undo(merge)
    unit = Unit()
    unit.profiles[99] = Profile(key=99, id="p_acme", bucket=0, kind="company")
    town.store.commit(unit)
    with pytest.raises(Conflict, match="is a person"):
        town.merge(ann, 99)


def test_the_root_of_a_chain_is_found() -> None:
    chain = [Merge(id=f"m{n}", winner=n + 1, loser=n, at=0, rule="", reason="") for n in range(3)]
    assert [root(n, chain) for n in range(4)] == [3, 3, 3, 3]


FACT = st.sampled_from(
    [
        ("profile.updated", {"attributes": {"plan": "pro"}}),
        ("profile.updated", {"attributes": {"plan": None, "city": "Lyon"}}),
        ("profile.updated", {"attributes": {"city": "Nice"}}),
        ("tag.added", {"tag": "vip"}),
        ("tag.removed", {"tag": "vip"}),
        ("consent.granted", {"channel": "email", "purpose": "news", "explicit": True}),
        ("consent.withdrawn", {"channel": "email", "purpose": "news"}),
        ("order.placed", {"total": 3}),
    ]
)
NAMES = ["ann", "bob", "eve", "joe"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), FACT), min_size=4, max_size=14),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_merging_in_any_way_and_undoing_in_any_order_restores_exactly(
    facts: list[Any], pairs: list[tuple[int, int]], chance: Any
) -> None:
    store = open_store(":memory:")
    store.claim()
    town = Town(store)
    try:
        keys = [town.take("page.viewed", external_id=name) for name in NAMES]
        for name, (type_, data) in facts:
            town.take(type_, data, external_id=name)
        before = town.state(*keys)
        done = []
        for winner, loser in pairs:
            try:
                done.append(town.merge(keys[winner], keys[loser]))
            except Conflict:
                continue
        chance.shuffle(done)
        for merge in done:
            town.undo(merge)
        assert town.state(*keys) == before
    finally:
        store.close()


def test_one_document_holds_everything_and_nothing_is_left_after_forgetting(town: Town) -> None:
    town.take("page.viewed", {"note": "needle-1"}, anonymous_id="needle-2")
    town.take("profile.updated", {"attributes": {"name": "needle-3"}}, external_id="needle-4", anonymous_id="needle-2")
    proof = {"method": "form", "text": "needle-6"}
    ann = town.take(
        "consent.granted", {"channel": "email", "purpose": "news", "explicit": True, "proof": proof},
        external_id="needle-4", email="needle-5@example.com",
    )  # fmt: skip
    bob = town.take("page.viewed", external_id="bob")
    unit = Unit()
    unit.actions = [
        Action(key="k1", kind="message.send", connector="log", payload={"to": "needle-7"}, profile=ann, created_at=1, due=1)
    ]
    unit.memberships = [Membership("vip", ann, town.now, 2)]
    town.store.commit(unit)

    document = export(town.store, ann, at=town.now)
    shown = str(document)
    assert all(f"needle-{n}" in shown for n in range(1, 8))
    assert FACTS not in document["profile"]["provenance"]
    assert document["segments"][0]["segment"] == "vip"
    assert document["consents"][0]["history"][0]["proof"] == proof
    assert len(document["merges"]) == len(document["merged_from"]) == 1

    loser = town.store.merges()[0].loser
    erasure = forget(town.store, loser)  # named by a part, the whole person goes
    assert set(erasure.ids) == {profile_id("external_id", "needle-4"), profile_id("anonymous_id", "needle-2")}
    assert erasure.rows > 0
    with pytest.raises(NotFound):
        export(town.store, ann, at=town.now)
    assert town.store.actions() == []
    assert town.store.merges() == []
    assert [e.profile for e in town.store.events()] == [bob]
