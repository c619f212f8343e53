"""What finds people must do; the same sentences on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tailorbird.engine import Engine
from tailorbird.errors import InvalidInput
from tailorbird.ports import Clause, Criteria
from tailorbird.storage import open_finder
from tailorbird.storage.search import Finder
from tailorbird.storage.sql.store import SqlStore

ANN, BEN, EVE = "ann@acme.com", "ben@acme.com", "eve@other.org"


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    with Engine.open(store_url) as opened:
        yield opened


@pytest.fixture
def finder(engine: Engine) -> Iterator[Finder]:
    assert isinstance(engine.store, SqlStore)
    found = open_finder(engine.store)
    yield found
    found.close()


@pytest.fixture
def three(engine: Engine) -> Engine:
    person(engine, ANN, first_name="Ann", last_name="Smith", status="enriched", city="Paris", score=5, langs=["fr", "de"])
    person(engine, BEN, first_name="Ben", last_name="Müller", city="Rome", score=7, account={"tier": "gold"}, keen=True)
    person(engine, EVE, first_name="Eve", last_name="Adams", status="enriched", city="Paris Nord")
    engine.tag(f"email:{ANN}", "vip")
    engine.tag(f"email:{EVE}", "vip")
    return engine


def person(engine: Engine, address: str, **attributes: Any) -> str:
    receipt = engine.identify(identifiers={"email": address}, attributes=attributes)
    assert receipt.profile is not None
    return receipt.profile


def found(engine: Engine, finder: Finder, criteria: Criteria, sort: str = "name", **options: Any) -> list[str]:
    options = {"descending": False, "after": None, "limit": 50, **options}
    keys = finder.page(criteria, sort=sort, **options).keys
    people = engine.store.profiles(keys)
    return [str(people[key].attributes.get("first_name")) for key in keys]


@pytest.mark.parametrize(
    ("criteria", "names"),
    [
        (Criteria(), ["Ann", "Ben", "Eve"]),
        (Criteria(status="enriched"), ["Ann", "Eve"]),
        (Criteria(status="NEW"), ["Ben"]),
        (Criteria(domain="acme.com"), ["Ann", "Ben"]),
        (Criteria(domain="ACME.com", status="new"), ["Ben"]),
        (Criteria(tag="vip"), ["Ann", "Eve"]),
        (Criteria(tag="VIP"), []),
        (Criteria(attributes=(Clause("city", "eq", "Paris"),)), ["Ann"]),
        (Criteria(attributes=(Clause("city", "contains", "paris"),)), ["Ann", "Eve"]),
        (Criteria(attributes=(Clause("city", "in", ["Rome", "Oslo"]),)), ["Ben"]),
        (Criteria(attributes=(Clause("score", "eq", 7),)), ["Ben"]),
        (Criteria(attributes=(Clause("score", "in", [5, 7.0]),)), ["Ann", "Ben"]),
        (Criteria(attributes=(Clause("score", "eq", "7"),)), []),
        (Criteria(attributes=(Clause("keen", "eq", True),)), ["Ben"]),
        (Criteria(attributes=(Clause("keen", "eq", 1),)), []),
        (Criteria(attributes=(Clause("keen", "eq", None),)), ["Ann", "Eve"]),
        (Criteria(attributes=(Clause("langs", "contains", "de"),)), ["Ann"]),
        (Criteria(attributes=(Clause("langs", "contains", "d"),)), []),
        (Criteria(attributes=(Clause("account.tier", "eq", "gold"),)), ["Ben"]),
        (Criteria(attributes=(Clause("city", "in", []),)), []),
        (Criteria(attributes=(Clause("x' OR 1=1 --", "eq", '"'),)), []),
        (Criteria(tag="vip", attributes=(Clause("city", "eq", "Paris"),)), ["Ann"]),
        (Criteria(text="acme"), ["Ann", "Ben"]),
        (Criteria(text="ACME muller"), ["Ben"]),
        (Criteria(text="Müller"), ["Ben"]),
        (Criteria(text="vip"), ["Ann", "Eve"]),
        (Criteria(text="ri"), ["Ann", "Eve"]),
        (Criteria(text="\"%_'* OR"), []),
        (Criteria(text="   "), []),
        (Criteria(name="anne smiht"), ["Ann"]),
        (Criteria(name="Muller"), ["Ben"]),
        (Criteria(name="Smith Ann"), ["Ann"]),
        (Criteria(name="zzzzzz"), []),
        (Criteria(name="eve adam", tag="vip"), ["Eve"]),
    ],
)
def test_everything_that_is_asked_has_to_hold(three: Engine, finder: Finder, criteria: Criteria, names: list[str]) -> None:
    assert found(three, finder, criteria) == names
    assert finder.count(criteria) == len(names) == len(finder.keys(criteria))


def test_segments_are_conditions_too(three: Engine, finder: Finder) -> None:
    three.apply([{"kind": "segment", "name": "parisian", "when": 'city = "Paris"'}])
    assert found(three, finder, Criteria(segment="parisian")) == ["Ann"]
    assert found(three, finder, Criteria(segment="parisian", domain="other.org")) == []


@pytest.mark.parametrize("sort", ["name", "created_at", "updated_at", "status"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("criteria", [Criteria(), Criteria(tag="all"), Criteria(domain="acme.com")])
def test_pages_leave_nobody_out_and_show_nobody_twice(
    engine: Engine, finder: Finder, sort: str, descending: bool, criteria: Criteria
) -> None:
    for number in range(23):
        attributes = {"first_name": f"P{number % 5}", "status": ("new", "enriched", "odd")[number % 3]}
        engine.identify(identifiers={"email": f"p{number}@acme.com"}, attributes=attributes)
        engine.tag(f"email:p{number}@acme.com", "all")
    whole = finder.page(criteria, sort=sort, descending=descending, after=None, limit=100)
    seen: list[int] = []
    after = None
    for _ in range(20):
        page = finder.page(criteria, sort=sort, descending=descending, after=after, limit=4)
        seen += page.keys
        after = page.next
        if after is None:
            break
    assert seen == whole.keys
    assert len(set(seen)) == 23
    assert whole.next is None


def test_relevance_puts_names_and_whole_words_first_and_has_pages(engine: Engine, finder: Finder) -> None:
    person(engine, "a@x.com", first_name="Nobody", company="Smithson Ltd")
    person(engine, "b@x.com", first_name="Will", last_name="Smith")
    person(engine, "c@x.com", first_name="Joe", company="Smith")
    order = found(engine, finder, Criteria(text="smith"), "relevance")
    assert order[0] == "Will"
    assert order[-1] == "Nobody"
    one = finder.page(Criteria(text="smith"), sort="relevance", descending=True, after=None, limit=2)
    two = finder.page(Criteria(text="smith"), sort="relevance", descending=True, after=one.next, limit=2)
    assert len(one.keys) == 2
    assert len(two.keys) == 1
    assert two.next is None
    with pytest.raises(InvalidInput, match="nothing is searched"):
        finder.page(Criteria(), sort="relevance", descending=True, after=None, limit=2)


@pytest.mark.parametrize("after", ["", "x", "W10", "eyJ9", "WyJuYW1lIiwibiIsMV0xx", "WyJuYW1lIiwibiIsIjEiXQ"])
def test_what_is_no_cursor_is_refused(three: Engine, finder: Finder, after: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        finder.page(Criteria(), sort="name", descending=False, after=after, limit=2)


def test_changes_show_at_once(three: Engine, finder: Finder) -> None:
    assert found(three, finder, Criteria(tag="vip")) == ["Ann", "Eve"]
    three.untag(f"email:{ANN}", "vip")
    three.tag(f"email:{BEN}", "vip")
    three.identify(identifiers={"email": EVE}, attributes={"first_name": "Zoe", "last_name": "Quix", "status": "converted"})
    assert found(three, finder, Criteria(tag="vip")) == ["Ben", "Zoe"]
    assert found(three, finder, Criteria(status="converted")) == ["Zoe"]
    assert found(three, finder, Criteria(text="zoe")) == ["Zoe"]
    assert found(three, finder, Criteria(name="eve adams")) == []


def test_an_address_that_comes_with_any_event_is_found(engine: Engine, finder: Finder) -> None:
    engine.track("page.viewed", identifiers={"external_id": "ann"})
    assert finder.count(Criteria(domain="acme.com")) == 0
    engine.track("page.viewed", identifiers={"external_id": "ann", "email": ANN})
    assert finder.count(Criteria(domain="acme.com")) == 1
    assert finder.count(Criteria(text="ann@acme")) == 1


def test_merged_people_are_one_and_unmerged_two_again(three: Engine, finder: Finder) -> None:
    for type_ in ("email.sent", "email.opened"):
        three.track(type_, profile=f"email:{BEN}")
    three.track("email.sent", profile=f"email:{ANN}")
    types = ("email.sent", "email.opened")
    assert finder.numbers(types)[-2:] == (2, 3)
    done = three.merge(f"email:{ANN}", f"email:{BEN}")
    assert finder.count(Criteria()) == 2
    assert found(three, finder, Criteria(domain="acme.com")) == ["Ben"]  # the newer of two names
    assert found(three, finder, Criteria(attributes=(Clause("account.tier", "eq", "gold"),), tag="vip")) == ["Ben"]
    assert finder.count(Criteria(text="ben@acme")) == 1
    assert finder.numbers(types)[-2:] == (1, 3)
    three.unmerge(done.id)
    assert found(three, finder, Criteria()) == ["Ann", "Ben", "Eve"]
    assert found(three, finder, Criteria(tag="vip")) == ["Ann", "Eve"]
    three.track("email.sent", profile=f"email:{EVE}")
    assert finder.numbers(types)[-2:] == (3, 4)


def test_numbers_count_people_by_status_and_engagement(three: Engine, finder: Finder) -> None:
    three.identify(identifiers={"email": ANN}, attributes={"enriched_at": "2026-01-01", "email_verified": True})
    three.identify(identifiers={"external_id": "c7"}, attributes={"email_verified": False})
    three.track("email.sent", profile=f"email:{ANN}")
    three.track("page.viewed", profile=f"email:{ANN}")
    numbers = finder.numbers(("email.sent",))
    assert numbers.total == 4
    assert numbers.by_status == {"enriched": 2, "new": 2}
    assert numbers[2:] == (1, 1, 1, 1)
    assert finder.numbers(("page.viewed", "email.sent"))[-1] == 2


def test_companies_are_not_people(engine: Engine, finder: Finder) -> None:
    engine.track("company.seen", identifiers={"company_id": "acme"})
    assert finder.count(Criteria()) == 0


def test_erased_people_are_gone_at_once_wherever_they_stood(
    three: Engine, finder: Finder, store_url: str, tmp_path: Path
) -> None:
    assert finder.count(Criteria(text="adams")) == 1
    three.forget(f"email:{EVE}")
    if not store_url.startswith("postgresql"):
        files = list(tmp_path.glob("*.search*"))
        assert files
        assert not [path for path in files if b"adams" in path.read_bytes().lower() or b"other.org" in path.read_bytes()]
        assert isinstance(three.store, SqlStore)
        raw = sqlite3.connect(f"{three.store.database.path}.search")
        assert raw.execute("SELECT count(*) FROM directory_text WHERE directory_text MATCH 'adams'").fetchone() == (0,)
        raw.close()
    assert finder.count(Criteria()) == 2
    assert finder.count(Criteria(text="adams")) == 0
    assert finder.count(Criteria(tag="vip")) == 1


def test_erasing_with_nothing_open_to_find_people_erases_there_too(three: Engine, store_url: str) -> None:
    assert isinstance(three.store, SqlStore)
    first = open_finder(three.store)
    assert first.count(Criteria(name="eve adams")) == 1
    first.close()
    three.forget(f"email:{EVE}")
    second = open_finder(three.store)
    side = second._side
    side.prepare()
    assert side.ask("SELECT count(*) FROM directory_person")[0][0] == 2
    assert side.ask("SELECT count(*) FROM directory_text")[0][0] == 2
    second.close()


def test_imported_people_are_found(engine: Engine, finder: Finder, tmp_path: Path) -> None:
    assert finder.count(Criteria()) == 0
    path = tmp_path / "people.csv"
    path.write_text("email,first_name,tags\n" + "".join(f"p{n}@x.com,N{n},a;b\n" for n in range(50)))
    engine.import_contacts(path)
    assert finder.count(Criteria(tag="b", domain="x.com")) == 50
    path.write_text("email,first_name,tags\np7@x.com,Seven,c\n")
    engine.import_contacts(path)
    assert found(engine, finder, Criteria(tag="c")) == ["Seven"]


def test_two_who_find_share_what_one_of_them_read(three: Engine, finder: Finder) -> None:
    assert isinstance(three.store, SqlStore)
    other = open_finder(three.store)
    assert finder.count(Criteria(text="ann")) == other.count(Criteria(text="ann")) == 1
    three.tag(f"email:{BEN}", "vip")
    assert other.count(Criteria(tag="vip")) == finder.count(Criteria(tag="vip")) == 3
    other.close()


def test_people_with_something_in_common_are_grouped(engine: Engine, finder: Finder) -> None:
    one = person(engine, "ann.smith@acme.com", first_name="Ann", last_name="Smith")
    two = person(engine, "annsmith2@acme.com", first_name="Anna")
    three = person(engine, "a@other.org", name="ann  SMITH", phone="+33 6 12 34 56 78")
    four = person(engine, "b@other.org", phone="+33612345678")
    keys = {
        key: public for public, profile in engine.store.profiles_by_id([one, two, three, four]).items() for key in [profile.key]
    }
    groups = {(group.what, frozenset(keys[key] for key in group.keys)) for group in finder.alike(limit=10)}
    assert groups == {("mail", frozenset({one, two})), ("name", frozenset({one, three})), ("phone", frozenset({three, four}))}
