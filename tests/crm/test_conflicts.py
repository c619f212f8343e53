"""Two sides of one field: whatever either does, they come to agree, and nothing goes round for ever."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailorbird.core.connection import Link
from tailorbird.crm.conflicts import Act, Ours, consent_pulled, decide, note, tag_changes, to_push
from tailorbird.crm.mapping import MappedField

VALUES = st.sampled_from([None, "a", "b", "c"])
RULES = st.sampled_from(["crm", "us", "newest"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("there"), VALUES), st.tuples(st.just("here"), VALUES), st.tuples(st.just("pull"), st.none()),
        st.tuples(st.just("push"), st.none()),
    ),
    max_size=14,
)  # fmt: skip


@dataclass
class Pair:
    """A CRM's field and ours, and what is done about them as the engine does it."""

    mapped: MappedField
    dated: bool = True
    now: int = 10
    there: Any = None
    there_at: int = 0
    ours: Ours = field(default_factory=Ours)
    link: Link = field(default_factory=lambda: Link(connection="x", record="1", profile=1))
    writes: int = 0
    conflicts: int = 0

    def change_there(self, value: Any) -> None:
        self.now += 1
        self.there, self.there_at = value, self.now

    def change_here(self, value: Any) -> None:
        self.now += 1
        self.ours = Ours(value=value, at=self.now, source="form")

    def pull(self) -> Act:
        self.now += 1
        at = self.there_at if self.dated else None
        decision = decide(self.mapped, self.link, self.there, self.ours, at=at)
        self.conflicts += decision.conflict
        seen, pushed = dict(self.link.seen), dict(self.link.pushed)
        note(self.mapped, seen, pushed, theirs=self.there, ours=self.ours.value, decision=decision)
        if decision.act == Act.PULL:
            self.ours = Ours(value=self.there, at=self.now, source="crm:x")
        self.link = msgspec.structs.replace(self.link, seen=seen, pushed=pushed, seen_at=at or self.now)
        return decision.act

    def push(self) -> bool:
        self.now += 1
        if not to_push(self.mapped, self.link, self.ours):
            return False
        self.there, self.there_at = self.ours.value, self.now
        self.writes += 1
        self.link = msgspec.structs.replace(self.link, pushed={**self.link.pushed, self.mapped.field: self.ours.value})
        return True

    def settle(self) -> None:
        for _ in range(2):
            self.pull()
            self.push()

    def run(self, steps: list[tuple[str, Any]]) -> None:
        for verb, value in steps:
            if verb == "there":
                self.change_there(value)
            elif verb == "here":
                self.change_here(value)
            elif verb == "pull":
                self.pull()
            else:
                self.pull()  # a push reads first
                self.push()


def city(wins: str = "newest", direction: str = "both") -> MappedField:
    return msgspec.convert({"field": "city", "attribute": "city", "wins": wins, "direction": direction}, MappedField)


@given(steps=STEPS, wins=RULES, dated=st.booleans())
def test_both_sides_come_to_agree_whatever_was_done(steps: list[tuple[str, Any]], wins: str, dated: bool) -> None:
    pair = Pair(city(wins), dated)
    pair.run(steps)
    pair.settle()
    assert pair.there == pair.ours.value


@given(
    steps=STEPS,
    wins=st.sampled_from(["crm", "us", "newest", "never"]),
    dated=st.booleans(),
    direction=st.sampled_from(["both", "pull", "push"]),
)
def test_once_nobody_changes_anything_nothing_goes_round(
    steps: list[tuple[str, Any]], wins: str, dated: bool, direction: str
) -> None:
    pair = Pair(city(wins, direction), dated)
    pair.run(steps)
    pair.settle()
    still = (pair.there, pair.ours.value, pair.writes)
    for _ in range(3):
        assert pair.pull() != Act.PULL
        assert not pair.push()
    assert (pair.there, pair.ours.value, pair.writes) == still


@given(steps=STEPS)
def test_with_never_no_value_that_only_one_side_has_is_lost(steps: list[tuple[str, Any]]) -> None:
    pair = Pair(city("never"))
    pair.run(steps)
    pair.settle()
    before = (pair.there, pair.ours.value)
    pair.change_there("theirs")
    pair.change_here("mine")
    pair.settle()
    assert (pair.there, pair.ours.value) == ("theirs", "mine"), before
    pair.change_here("theirs")
    pair.settle()
    pair.change_here("later")
    pair.settle()
    assert pair.there == pair.ours.value == "later"


@given(steps=STEPS, wins=RULES)
def test_our_own_write_coming_back_is_no_change(steps: list[tuple[str, Any]], wins: str) -> None:
    pair = Pair(city(wins))
    pair.run(steps)
    pair.settle()
    pair.change_here("new")
    assert pair.push()
    conflicts = pair.conflicts
    assert pair.pull() == Act.NOTHING
    pair.change_here("newer")
    assert pair.pull() == Act.PUSH
    assert pair.conflicts == conflicts


def test_an_old_copy_after_our_write_is_not_taken_for_a_change() -> None:
    pair = Pair(city("crm"))
    pair.change_there("a")
    pair.pull()
    old = pair.there, pair.there_at
    pair.change_here("b")
    pair.push()
    new = pair.there, pair.there_at
    pair.there, pair.there_at = old  # the search index lags
    assert pair.pull() == Act.NOTHING
    pair.there, pair.there_at = new
    pair.settle()
    assert (pair.there, pair.ours.value) == ("b", "b")


def test_the_crm_going_back_to_what_it_was_before_our_write_is_a_change() -> None:
    pair = Pair(city("newest"))
    pair.change_there("a")
    pair.pull()
    pair.change_here("b")
    pair.push()
    pair.change_there("a")
    assert pair.pull() == Act.PULL
    pair.change_here("c")
    pair.settle()
    assert (pair.there, pair.conflicts) == ("c", 0)


@pytest.mark.parametrize(("ours", "said", "seen", "wanted"), [
    ({}, {}, {}, {}),
    ({"email/marketing": False}, {}, {}, {}),
    ({"email/marketing": False}, {"email/marketing": True}, {}, {}),
    ({"email/marketing": True}, {"email/marketing": False}, {}, {"email/marketing": False}),
    ({"email/marketing": True}, {"email/marketing": False}, {"consent:email/marketing": False}, {}),
    ({}, {"email/marketing": True}, {}, {"email/marketing": True}),
])  # fmt: skip
def test_an_opt_out_counts_and_is_undone_by_nothing_a_crm_says(
    ours: dict[str, bool], said: dict[str, bool], seen: dict[str, Any], wanted: dict[str, bool]
) -> None:
    assert consent_pulled(Link(connection="x", record="1", profile=1, seen=seen), said, ours) == wanted


TAGS = st.frozensets(st.sampled_from(["a", "b", "c", "d"]))


@given(before=TAGS, theirs=TAGS, ours=TAGS)
def test_tags_follow_what_came_and_went_there_and_keep_our_own(
    before: frozenset[str], theirs: frozenset[str], ours: frozenset[str]
) -> None:
    changes = tag_changes("merge", before, theirs, ours)
    after = (ours | set(changes.added)) - set(changes.removed)
    assert theirs - before <= after
    assert not (before - theirs) & after
    assert (ours - before - theirs) <= after
    changes = tag_changes("replace", before, theirs, ours)
    assert (ours | set(changes.added)) - set(changes.removed) == theirs
