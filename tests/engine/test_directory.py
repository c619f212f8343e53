"""Finding people and changing many, through the façade."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailorbird.engine import Engine
from tailorbird.engine.directory import read_clause
from tailorbird.errors import InvalidInput, NotFound
from tailorbird.ports import Clause, Criteria


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine.open(str(tmp_path / "people.db")) as opened:
        for number in range(30):
            attributes = {"first_name": f"N{number:02}", "plan": ("free", "pro")[number % 2], "score": number}
            opened.identify(identifiers={"email": f"n{number}@x.com"}, attributes=attributes)
        yield opened


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("city=Paris", Clause("city", "eq", "Paris")),
        ("score=5", Clause("score", "eq", 5)),
        ('zip="075"', Clause("zip", "eq", "075")),
        ("keen=true", Clause("keen", "eq", True)),
        ("gone=null", Clause("gone", "eq", None)),
        ("x=[1]", Clause("x", "eq", "[1]")),
        ("equation=a=b", Clause("equation", "eq", "a=b")),
        ("title ~ head of", Clause("title", "contains", "head of")),
        ("plan in pro, team", Clause("plan", "in", ["pro", "team"])),
        ("plan in a=b", Clause("plan", "in", ["a=b"])),
    ],
)
def test_a_test_of_an_attribute_is_read_from_text(text: str, clause: Clause) -> None:
    assert read_clause(text) == clause


@pytest.mark.parametrize("text", ["", "=", "city", "~x", " in a"])
def test_what_is_no_test_is_refused_with_the_mend(text: str) -> None:
    with pytest.raises(InvalidInput, match="city=Paris"):
        read_clause(text)


def test_people_are_found_a_page_at_a_time(engine: Engine) -> None:
    one = engine.directory.find(where=["plan=pro"], sort="name", limit=10)
    two = engine.directory.find(where=["plan=pro"], sort="name", limit=10, after=one.next)
    assert [p.name for p in (*one.people, *two.people)] == [f"N{n:02}" for n in range(1, 30, 2)]
    assert two.next is None
    assert one.people[0].email == "n1@x.com"
    assert one.people[0].status == "new"


def test_the_newest_change_comes_first_when_sorted_by_it(engine: Engine) -> None:
    engine.identify(identifiers={"email": "n3@x.com"}, attributes={"score": 99}, at=engine.now() + 1_000)
    assert engine.directory.find(sort="updated_at", limit=1).people[0].email == "n3@x.com"


def test_an_unknown_segment_order_or_size_is_refused(engine: Engine) -> None:
    with pytest.raises(NotFound):
        engine.directory.find(segment="nobody")
    with pytest.raises(InvalidInput, match="sorted by"):
        engine.directory.find(sort="shoe size")
    with pytest.raises(InvalidInput, match="limit"):
        engine.directory.find(limit=0)


def test_many_are_tagged_once_and_untagged(engine: Engine) -> None:
    directory = engine.directory
    chosen = directory.criteria(where=["plan=pro"])
    before = engine.store.last_seq()
    assert directory.tag(chosen, "vip", "keen").changed == 15
    assert engine.store.last_seq() == before + 30
    assert directory.tag(chosen, "vip", "keen").changed == 0
    assert directory.count(tag="vip") == 15
    seen: list[tuple[int, int]] = []
    done = directory.untag(directory.criteria(tag="vip"), "vip", progress=lambda d, t: seen.append((d, t)))
    assert (done.matched, done.changed) == (15, 15)
    assert seen == [(15, 15)]
    assert directory.count(tag="vip") == 0
    assert directory.count(tag="keen") == 15


def test_many_are_updated_only_where_it_differs(engine: Engine) -> None:
    directory = engine.directory
    everybody = directory.criteria()
    assert directory.update(everybody, {"plan": "pro", "region": "EU"}).changed == 30
    assert directory.update(everybody, {"plan": "pro", "region": "EU"}).changed == 0
    assert directory.update(directory.criteria(refs=["email:n1@x.com"]), {"region": None}).changed == 1
    assert directory.count(where=["region=EU"]) == 29
    assert "region" not in engine.profile("email:n1@x.com").attributes


def test_segments_follow_a_change_of_many(engine: Engine) -> None:
    engine.apply([{"kind": "segment", "name": "vips", "when": 'has_tag("vip")'}])
    engine.directory.tag(engine.directory.criteria(where=["score in 1,2,3"]), "vip")
    assert len(engine.members("vips").members) == 3
    assert engine.directory.count(segment="vips", where=["plan=pro"]) == 2


def test_csv_holds_no_formula_and_comes_whole(engine: Engine, tmp_path: Path) -> None:
    nasty = ["=1+1", "+33 6", "-2", "@sum", "\t=x", " =cmd", 'a"b,c\nd', "ok"]
    for number, text in enumerate(nasty):
        engine.identify(identifiers={"email": f"n{number}@x.com"}, attributes={"note": text, "amount": -number})
    text = engine.directory.write_csv(None, Criteria(), ["note", "amount"])
    rows = list(csv.DictReader(io.StringIO(str(text), newline="")))
    assert [row["note"] for row in rows[:8]] == [f"'{one}" for one in nasty[:6]] + nasty[6:]
    assert rows[3]["amount"] == "-3"  # a number is not a formula
    path = tmp_path / "out.csv"
    assert engine.directory.write_csv(path, engine.directory.criteria(where=["plan=pro"])) == 15
    assert path.read_text().count("\n") == 16
    with pytest.raises(NotFound):
        engine.directory.write_csv(tmp_path / "no" / "out.csv", Criteria())
    assert sorted(p.name for p in tmp_path.glob("*.part")) == []


def test_duplicates_are_suggested_and_merged_by_a_person_only(engine: Engine) -> None:
    directory = engine.directory
    engine.identify(
        identifiers={"email": "ann.smith@acme.com"}, attributes={"first_name": "Ann", "last_name": "Smith", "company": "Acme"}
    )
    engine.identify(identifiers={"email": "annsmith@acme.com"}, attributes={"name": "Ann Smith", "company": "ACME Ltd"})
    engine.identify(identifiers={"email": "ann@gmail.com"}, attributes={"first_name": "Ann", "last_name": "Smith"})
    found = directory.duplicates()
    assert found[0].score > 0.9
    assert {"the same name", "the same mailbox but for dots, digits or a tag", "the same company"} <= set(found[0].reasons)
    assert directory.count() == 33
    merge = directory.merge_suggestion(found[0].id, by="Eve")
    assert directory.count() == 32
    assert "Eve" in merge.reason
    engine.unmerge(merge.id)
    assert directory.count() == 33
    with pytest.raises(InvalidInput):
        directory.merge_suggestion("nonsense")
    with pytest.raises(InvalidInput, match="person to decide"):
        directory.merge_by_rule(0.5)
    assert len(directory.merge_by_rule(0.9)) == 1
    assert directory.merge_by_rule(0.9) == []


def test_a_model_finds_them_too_and_says_so(engine: Engine) -> None:
    for number, (one, two) in enumerate([("ann.smith", "annsmith"), ("bo.li+x", "boli")]):
        for address in (one, two):
            attributes = {"name": ("Ann Smith", "Bo Li")[number], "company": ("Acme", "Zeta")[number]}
            engine.identify(identifiers={"email": f"{address}@firm{number}.com"}, attributes=attributes)
    found = engine.directory.duplicates(model=True, min_score=0.5)
    assert {pair.winner_name for pair in found} == {"Ann Smith", "Bo Li"}
    assert [(p.method, p.reasons[0], p.score >= 0.5) for p in found] == [("model", "the same name", True)] * 2
    assert engine.directory.count() == 34


def test_a_question_that_is_too_large_or_no_text_is_refused(engine: Engine) -> None:
    many = ",".join(str(number) for number in range(520))
    with pytest.raises(InvalidInput, match="more than 200 values"):
        engine.directory.find(where=[f"score in {many}"])
    assert len(engine.directory.find(where=["score in " + ",".join(map(str, range(200)))]).people) == 30
    for limit in (1.5, "x", True):
        with pytest.raises(InvalidInput, match="limit"):
            engine.directory.find(limit=limit)  # type: ignore[arg-type]
    for said in ({"text": "a\ud800"}, {"name": "\udfff"}):
        with pytest.raises(InvalidInput, match="is not text"):
            engine.directory.find(**said)
