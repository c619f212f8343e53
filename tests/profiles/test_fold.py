"""The read model of a profile, against the words of docs/explanation/semantics.md."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tailorbird.core.event import Event, Json
from tailorbird.core.profile import Profile
from tailorbird.profiles.fold import FACTS, fold, refold


def event(type_: str, at: int, seq: int, **data: Json) -> Event:
    return Event(id=f"e{seq}", type=type_, profile=1, at=at, received_at=10**6, seq=seq, data=data, source=f"s{seq}")


def nobody() -> Profile:
    return Profile(key=1, id="p_x", bucket=0)


FACT = st.one_of(
    st.tuples(
        st.just("profile.updated"),
        st.fixed_dictionaries(
            {
                "attributes": st.dictionaries(
                    st.sampled_from(["plan", "city", "account"]), st.sampled_from([None, 1, "x", {"tier": 2}])
                )
            }
        ),
    ),
    st.tuples(st.sampled_from(["tag.added", "tag.removed"]), st.fixed_dictionaries({"tag": st.sampled_from(["a", "b"])})),
    st.tuples(
        st.sampled_from(["consent.granted", "consent.withdrawn"]),
        st.fixed_dictionaries(
            {"channel": st.just("email"), "purpose": st.sampled_from(["news", "offers"]), "explicit": st.booleans()}
        ),
    ),
    st.tuples(st.just("page.viewed"), st.just({"attributes": {"plan": "no"}})),
)


def by_the_words(events: Sequence[Event]) -> tuple[dict[str, Json], set[str], dict[str, bool]]:
    ordered = sorted(events, key=lambda e: (e.at, e.seq))
    attributes: dict[str, Json] = {}
    for one in ordered:
        if one.type == "profile.updated":
            attributes |= one.data["attributes"]
    tags = set()
    for tag in ("a", "b"):
        toggles = [e for e in ordered if e.type.startswith("tag.") and e.data["tag"] == tag]
        if toggles and toggles[-1].type == "tag.added":
            tags.add(tag)
    consents = {}
    for purpose in ("news", "offers"):
        mine = [e for e in ordered if e.type.startswith("consent.") and e.data["purpose"] == purpose]
        if mine:
            withdrawn = [n for n, e in enumerate(mine) if e.type == "consent.withdrawn"]
            explicit = [n for n, e in enumerate(mine) if e.type == "consent.granted" and e.data["explicit"]]
            consents[f"email/{purpose}"] = bool(explicit and explicit[-1] > withdrawn[-1]) if withdrawn else True
    return {n: v for n, v in attributes.items() if v is not None}, tags, consents


@given(st.lists(st.tuples(st.integers(0, 5), FACT), max_size=25))
def test_folding_in_any_order_of_arrival_gives_what_the_history_says(
    facts: list[tuple[int, tuple[str, dict[str, Json]]]],
) -> None:
    profile, history = nobody(), []
    for seq, (at, (type_, data)) in enumerate(facts):
        history.append(event(type_, at, seq, **data))
        if not fold(profile, history[-1]):
            refold(profile, history)
        attributes, tags, consents = by_the_words(history)
        assert profile.attributes == attributes
        assert set(profile.tags) == tags
        assert profile.consents == consents


def test_a_late_attribute_fills_in_and_does_not_overwrite() -> None:
    profile = nobody()
    assert fold(profile, event("profile.updated", 5, 1, attributes={"plan": "pro"}))
    assert fold(profile, event("profile.updated", 3, 2, attributes={"plan": "trial", "city": "Lyon"}))
    assert profile.attributes == {"plan": "pro", "city": "Lyon"}
    assert (profile.provenance["city"].at, profile.provenance["city"].source) == (3, "s2")


def test_a_removed_attribute_does_not_come_back_with_an_older_value() -> None:
    profile = nobody()
    fold(profile, event("profile.updated", 5, 1, attributes={"plan": None}))
    fold(profile, event("profile.updated", 3, 2, attributes={"plan": "trial"}))
    assert profile.attributes == {}
    assert profile.provenance["plan"].type == "null"


def test_a_late_opt_out_asks_for_a_refold_and_leaves_the_profile_as_it_was() -> None:
    profile = nobody()
    fold(profile, event("consent.granted", 5, 1, channel="email", purpose="news", explicit=False))
    before = copy.copy(profile)
    late = event("consent.withdrawn", 3, 2, channel="email", purpose="news")
    assert not fold(profile, late)
    assert profile == before


def test_an_opt_out_is_undone_by_the_persons_own_word_only() -> None:
    profile = nobody()
    fold(profile, event("consent.withdrawn", 1, 1, channel="email", purpose="news"))
    fold(profile, event("consent.granted", 2, 2, channel="email", purpose="news"))
    assert profile.consents == {"email/news": False}
    fold(profile, event("consent.granted", 3, 3, channel="email", purpose="news", explicit=True))
    assert profile.consents == {"email/news": True}


def test_a_shallow_copy_is_a_snapshot() -> None:
    profile = nobody()
    fold(profile, event("profile.updated", 1, 1, attributes={"plan": "pro"}))
    before = copy.copy(profile)
    fold(profile, event("profile.updated", 2, 2, attributes={"plan": "team"}))
    fold(profile, event("tag.added", 2, 3, tag="vip"))
    assert (before.attributes, before.tags, FACTS in before.provenance) == ({"plan": "pro"}, (), False)


def test_what_is_not_as_agreed_changes_nothing() -> None:
    profile = nobody()
    for seq, data in enumerate(({}, {"attributes": 3}, {"attributes": {"": 1}}, {"tag": 5}, {"channel": "email"})):
        for type_ in ("profile.updated", "tag.added", "consent.granted"):
            fold(profile, event(type_, 1, seq, **data))
    assert (profile.attributes, profile.tags, profile.consents) == ({}, (), {})


def test_a_declared_type_is_the_one_noted() -> None:
    profile = nobody()
    fold(profile, event("profile.updated", 1, 1, attributes={"since": "2026-01-01"}), {"since": "time"})
    assert profile.provenance["since"].type == "time"
