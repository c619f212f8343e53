"""Who an event is about."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tailorbird.core.ids import profile_id
from tailorbird.core.profile import Identifier
from tailorbird.ports import IdentifierRow
from tailorbird.profiles.identity import Held, Resolution, resolve
from tailorbird.profiles.normalise import normalise_all
from tailorbird.profiles.rules import DEFAULT_RULE, Limits, MergeRule


class People:
    """Keeps identifiers and merges in dictionaries and applies resolutions to them, as the loop does to a store."""

    def __init__(self, rule: MergeRule = DEFAULT_RULE) -> None:
        self.rule = rule
        self.rows: dict[Identifier, IdentifierRow] = {}
        self.ids: dict[int, str] = {}
        self.merged: dict[int, int] = {}
        self.events: list[tuple[str, int, int]] = []
        self.apart: set[frozenset[int]] = set()
        self.names: dict[int, str] = {}

    def held(self, key: int) -> Held:
        mine = [i for i, row in self.rows.items() if row.profile == key]
        strong = tuple(i for i in mine if i.kind != "anonymous_id")
        return Held(strong, len(mine), sum(1 for w in self.merged.values() if w == key), self.names.get(key, ""))

    def take(self, name: str = "e", **identifiers: str) -> Resolution:
        given_ = normalise_all({kind.replace("crm_", "crm:"): value for kind, value in identifiers.items()})
        found = {i: self.rows[i] for i in given_ if i in self.rows}
        held = {row.profile: self.held(row.profile) for row in found.values()}
        r = resolve(given_, found, held, self.rule, apart=self.apart)
        key = r.profile
        if key is None:
            key = len(self.ids) + 1
            self.ids[key] = r.public_id
        for join in r.joins:
            self.merged[join.loser] = key
            self.rows = {i: row._replace(profile=key) if row.profile == join.loser else row for i, row in self.rows.items()}
            self.events = [(n, key if p == join.loser else p, o) for n, p, o in self.events]
        origin = key if r.origin is None else r.origin
        for identifier in r.attach:
            self.rows[identifier] = IdentifierRow(identifier.kind, identifier.value, key, origin, 0)
        self.events.append((name, key, origin))
        return r

    def who(self, kind: str, value: str) -> str:
        return self.ids[self.rows[Identifier(kind, value)].profile]


def test_an_unknown_identifier_makes_a_profile_whose_id_is_its_hash() -> None:
    people = People()
    assert people.take(anonymous_id="a1", external_id="ann").public_id == profile_id("external_id", "ann")
    assert people.who("anonymous_id", "a1") == people.who("external_id", "ann")


def test_anonymous_activity_joins_whoever_identifies() -> None:
    people = People()
    people.take("viewed", anonymous_id="a1")
    resolution = people.take("identified", anonymous_id="a1", external_id="ann")
    assert [j.reason for j in resolution.joins] == ["anonymous_activity"]
    assert {people.ids[p] for _, p, _ in people.events} == {profile_id("external_id", "ann")}


def test_the_event_keeps_the_origin_of_the_identifier_it_came_by() -> None:
    people = People()
    people.take(anonymous_id="a1")
    people.take(anonymous_id="a1", external_id="ann")
    assert people.take(anonymous_id="a1").origin == 1  # goes back with the anonymous profile if the merge is undone
    assert people.take(external_id="ann").origin == 2


def test_a_shared_device_never_merges_two_identified_people() -> None:
    people = People()
    people.take(anonymous_id="tablet", external_id="ann")
    resolution = people.take(anonymous_id="tablet", external_id="bob")
    assert resolution.joins == ()
    assert resolution.moved == (Identifier("anonymous_id", "tablet"),)
    assert people.who("anonymous_id", "tablet") == profile_id("external_id", "bob")
    assert people.who("external_id", "ann") == profile_id("external_id", "ann")


def test_a_shared_device_stays_with_its_first_person_where_the_rule_says_keep() -> None:
    people = People(MergeRule(shared_device="keep"))
    people.take(anonymous_id="tablet", external_id="ann")
    resolution = people.take(anonymous_id="tablet", external_id="bob")
    assert [(k.profile, k.reason) for k in resolution.kept] == [(1, "shared_device")]
    assert people.who("anonymous_id", "tablet") == profile_id("external_id", "ann")


def test_an_email_profile_is_given_the_external_id_it_first_comes_with() -> None:
    people = People()
    people.take(email="ann@example.com")
    resolution = people.take(email="Ann@Example.com", external_id="ann")
    assert (resolution.profile, resolution.joins) == (1, ())
    assert resolution.attach == (Identifier("external_id", "ann"),)


def test_an_email_profile_without_external_id_merges_into_the_one_with() -> None:
    people = People()
    people.take(email="ann@example.com")
    people.take(external_id="ann")
    resolution = people.take(email="ann@example.com", external_id="ann")
    assert resolution.profile == 2
    assert [(j.loser, j.reason) for j in resolution.joins] == [(1, "shared_email")]


def test_the_profile_with_the_external_id_wins_even_when_named_by_the_weaker_identifier() -> None:
    people = People()
    people.take(crm_hubspot="77")
    people.take(external_id="ann", email="ann@example.com")
    resolution = people.take(crm_hubspot="77", email="ann@example.com")
    assert resolution.profile == 2
    assert resolution.origin == 1
    assert [(j.loser, j.reason) for j in resolution.joins] == [(1, "shared_email")]


def test_two_external_ids_with_one_email_stay_two_people_by_default() -> None:
    people = People()
    people.take(external_id="ann", email="family@example.com")
    resolution = people.take(external_id="bob", email="family@example.com")
    assert resolution.profile is None
    assert [k.reason for k in resolution.kept] == ["different_ids"]
    assert people.who("email", "family@example.com") == profile_id("external_id", "ann")


def test_two_external_ids_with_one_email_merge_where_the_rule_says_always() -> None:
    people = People(MergeRule(when="always"))
    people.take(external_id="ann", email="a@example.com")
    people.take(external_id="anna")
    assert [j.loser for j in people.take(external_id="anna", email="a@example.com").joins] == [1]


def test_same_name_decides_between_different_external_ids_where_the_rule_says_so() -> None:
    people = People(MergeRule(when="same_name"))
    people.take(external_id="1", email="a@example.com")
    people.take(external_id="2")
    people.names = {1: "Ann Lee", 2: "Bob Lee"}
    assert people.take(external_id="2", email="a@example.com").joins == ()
    people.names = {1: "Ann Lee", 2: "ann lee "}
    assert len(people.take(external_id="2", email="a@example.com").joins) == 1


def test_email_joins_nobody_where_the_rule_says_never() -> None:
    people = People(MergeRule(when="never"))
    people.take(email="ann@example.com")
    resolution = people.take(email="ann@example.com", external_id="ann")
    assert resolution.profile is None
    assert [k.reason for k in resolution.kept] == ["rule"]


def test_two_ids_of_one_crm_are_two_people() -> None:
    people = People()
    people.take(crm_hubspot="1", phone="+33612345678")
    resolution = people.take(crm_hubspot="2", phone="+33612345678")
    assert resolution.profile is None
    assert [k.reason for k in resolution.kept] == ["different_ids"]


def test_what_a_person_took_apart_is_not_joined_again() -> None:
    people = People()
    people.take(anonymous_id="a1")
    people.take(external_id="ann")
    people.apart = {frozenset((1, 2))}
    resolution = people.take(anonymous_id="a1", external_id="ann")
    assert (resolution.profile, resolution.joins) == (2, ())
    assert [k.reason for k in resolution.kept] == ["unmerged"]


def test_an_identifier_the_rule_ignores_does_not_join() -> None:
    people = People(MergeRule(ignore=frozenset({"info@shop.com"})))
    people.take(email="info@shop.com")
    resolution = people.take(external_id="ann", email="info@shop.com")
    assert resolution.profile is None
    assert resolution.ignored == (Identifier("email", "info@shop.com"),)


def test_a_profile_that_gathered_too_much_takes_no_more() -> None:
    people = People(MergeRule(limits=Limits(identifiers=3, merges=1)))
    for n in range(3):
        people.take(anonymous_id=f"a{n}")
    assert len(people.take(anonymous_id="a0", external_id="ann").joins) == 1
    assert [k.reason for k in people.take(anonymous_id="a1", external_id="ann").kept] == ["limit"]
    people.take(external_id="ann", email="ann@example.com")
    assert people.take(external_id="ann", phone="+33612345678").ignored == (Identifier("phone", "+33612345678"),)


STORY = [
    {"anonymous_id": "a1"},
    {"anonymous_id": "a1"},
    {"anonymous_id": "a1", "external_id": "ann"},
    {"external_id": "ann"},
    {"external_id": "ann", "anonymous_id": "a2"},
    {"anonymous_id": "a2"},
    {"external_id": "ann", "email": "ann@example.com"},
]


@given(st.permutations(STORY))
def test_any_order_of_one_story_ends_in_the_same_person(story: list[dict[str, str]]) -> None:
    people = People()
    for number, identifiers in enumerate(story):
        people.take(str(number), **identifiers)
    ann = profile_id("external_id", "ann")
    assert {people.ids[p] for _, p, _ in people.events} == {ann}
    assert {people.ids[row.profile] for row in people.rows.values()} == {ann}
    assert len(people.rows) == 4


NAMES = st.fixed_dictionaries(
    {},
    optional={
        "external_id": st.sampled_from(["ann", "bob", "eve"]),
        "email": st.sampled_from(["a@x.org", "b@x.org", "c@x.org"]),
        "anonymous_id": st.sampled_from(["p1", "p2"]),
        "crm_hub": st.sampled_from(["1", "2"]),
    },
).filter(bool)


@given(st.lists(NAMES, max_size=25))
def test_two_external_ids_are_never_one_profile_by_default(events: list[dict[str, str]]) -> None:
    people = People()
    for identifiers in events:
        people.take(**identifiers)
    owners: dict[int, set[str]] = {}
    for identifier, row in people.rows.items():
        assert row.profile not in people.merged
        if identifier.kind == "external_id":
            owners.setdefault(row.profile, set()).add(identifier.value)
    assert all(len(values) == 1 for values in owners.values())
