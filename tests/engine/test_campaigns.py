"""Campaigns: people come in as one import, and the import can be taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tailorbird.engine import Engine
from tailorbird.errors import Conflict, InvalidInput, NotFound
from tailorbird.profiles.drafts import Draft

TABLE = """E-Mail,First Name,Job Title,Plan,Tags
Ann@X.com,Ann,Buyer,pro,a
ann@x.COM,Ann,Buyer,pro,a
old@acme.com,Old,CEO,free,
nobody,No,No,x,
ben@x.com,Ben,,x,b;c
"""


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    with Engine.open(store_url) as opened:
        opened.identify(identifiers={"email": "old@acme.com"}, attributes={"title": "Boss", "company": "Acme"})
        opened.tag("email:old@acme.com", "known")
        yield opened


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "expo.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def facts(engine: Engine) -> dict[str | None, tuple[tuple[str, ...], dict[str, Any]]]:
    return {p.email: (p.tags, p.attributes) for p in engine.directory.find().people}


def test_people_come_once_each_with_tag_fields_and_well_known_names(engine: Engine, table: Path) -> None:
    report = engine.directory.import_campaign("Expo 26", table, fields={"channel": "booth"}, tags=["lead"])
    assert (report.rows, report.people, report.created, report.duplicates, report.rejected) == (5, 3, 2, 1, 1)
    assert report.rejected_path is not None
    rejected = [json.loads(line) for line in Path(report.rejected_path).read_text().splitlines()]
    assert [(row["line"], row["row"]["E-Mail"]) for row in rejected] == [(5, "nobody")]
    found = facts(engine)
    assert set(found) == {"old@acme.com", "ann@x.com", "ben@x.com"}
    assert found["ben@x.com"] == (
        ("b", "c", "campaign:Expo 26", "lead"),
        {"campaign": "Expo 26", "channel": "booth", "first_name": "Ben", "plan": "x"},
    )
    assert found["old@acme.com"][1]["title"] == "CEO"
    assert engine.directory.count(tag="campaign:Expo 26") == 3
    assert [c.name for c in engine.directory.campaigns()] == ["Expo 26"]


def test_the_same_again_changes_nothing(engine: Engine, table: Path) -> None:
    engine.directory.import_campaign("Expo", table)
    before = engine.store.last_seq()
    again = engine.directory.import_campaign("Expo", table)
    assert engine.store.last_seq() == before
    assert (again.people, again.created) == (0, 0)


def test_a_dry_run_writes_nothing(engine: Engine, table: Path) -> None:
    report = engine.directory.import_campaign("Expo", table, dry_run=True)
    assert report.id is None
    assert report.mapping["data"]["title"] == "Job Title"
    assert engine.directory.count() == 1
    assert engine.directory.campaigns() == []


def test_a_list_of_addresses_is_enough(engine: Engine, tmp_path: Path) -> None:
    report = engine.directory.import_campaign("List", ["A@b.com", "Zoé Roy <zoe@b.com>", "a@B.COM", "what?"])
    assert (report.people, report.created, report.rejected) == (2, 2, 1)
    assert facts(engine)["zoe@b.com"][1] == {"campaign": "List", "name": "Zoé Roy"}
    path = tmp_path / "list.txt"
    path.write_text("\ufeffc@b.com\n\nd@b.com; Eve <e@b.com>\n", encoding="utf-8")
    assert engine.directory.import_campaign("List", path).created == 3


def test_an_undo_brings_everything_back_to_what_it_was(engine: Engine, table: Path) -> None:
    before = facts(engine)
    report = engine.directory.import_campaign("Expo", table)
    assert report.id is not None
    done = engine.directory.undo_import(report.id)
    assert (done.removed, done.restored, done.kept_people, done.kept) == (2, 1, 0, ())
    assert facts(engine) == before
    with pytest.raises(Conflict):
        engine.directory.undo_import(report.id)
    with pytest.raises(NotFound):
        engine.directory.undo_import("c_nothing")


def test_an_undo_leaves_what_others_built_on_and_says_so(engine: Engine, table: Path) -> None:
    engine.apply([{"kind": "segment", "name": "pro", "when": 'plan = "pro"'}])
    report = engine.directory.import_campaign("Expo", table)
    engine.track("reply.received", profile="email:ben@x.com")
    engine.identify(identifiers={"email": "old@acme.com"}, attributes={"title": "Chair"}, source="crm")
    assert report.id is not None
    done = engine.directory.undo_import(report.id)
    assert (done.removed, done.kept_people) == (1, 1)
    told = {(kept.what, kept.why) for kept in done.kept}
    assert told == {("the person", "since then: reply.received"), ("attribute title", "changed since then by crm")}
    assert facts(engine) == {
        "old@acme.com": (("known",), {"title": "Chair", "company": "Acme"}),
        "ben@x.com": ((), {"status": "engaged"}),  # what they did stays done
    }


def test_of_two_imports_one_can_be_undone(engine: Engine, tmp_path: Path) -> None:
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("email,plan\na@b.com,x\nb@b.com,x\n")
    two.write_text("email,plan\nb@b.com,y\nc@b.com,y\n")
    first = engine.directory.import_campaign("One", one)
    second = engine.directory.import_campaign("Two", two)
    assert second.id is not None
    assert first.id is not None
    assert engine.directory.undo_import(second.id).removed == 1
    assert facts(engine)["b@b.com"] == (("campaign:One",), {"campaign": "One", "plan": "x"})
    assert engine.directory.undo_import(first.id).removed == 1
    assert set(facts(engine)) == {"old@acme.com", "b@b.com"}  # touched by another import: its second one came back


def answered(engine: Engine, ref: str) -> None:
    person = engine.profile(ref).id
    engine.take([Draft(type="enrichment.received", profile=person, data={"provider": "apollo"}, source="apollo")])


def test_people_enriched_since_are_kept_unless_said_otherwise(engine: Engine) -> None:
    report = engine.directory.import_campaign("List", ["a@b.com", "c@b.com"])
    answered(engine, "email:a@b.com")
    engine.identify(identifiers={"email": "a@b.com"}, attributes={"title": "CTO"}, source="apollo")
    assert report.id is not None
    done = engine.directory.undo_import(report.id)
    assert done.removed == 1
    assert [kept.why for kept in done.kept] == ["enriched since then"]
    again = engine.directory.import_campaign("List", ["d@b.com"])
    answered(engine, "email:d@b.com")
    assert again.id is not None
    assert engine.directory.undo_import(again.id, also_enriched=True).removed == 1


def test_undone_people_are_erased_from_the_database_too(engine: Engine, table: Path) -> None:
    report = engine.directory.import_campaign("Expo", table)
    assert engine.directory.count(text="ben@x.com") == 1
    assert report.id is not None
    engine.directory.undo_import(report.id)
    assert engine.directory.count(text="ben@x.com") == 0
    assert not [e for e in engine.log() if "Ben" in str(e.data)]
    with pytest.raises(NotFound):
        engine.profile("email:ben@x.com")
    assert engine.identify(identifiers={"email": "ben@x.com"}, attributes={}).profile is not None


@pytest.mark.parametrize("name", ["", "  ", "x" * 151, "a\x00b"])
def test_a_campaign_needs_a_name(engine: Engine, name: str) -> None:
    with pytest.raises(InvalidInput, match="name for a campaign"):
        engine.directory.import_campaign(name, ["a@b.com"])


def test_a_name_with_commas_and_quotes_is_one_tag(engine: Engine) -> None:
    engine.directory.import_campaign('Spring; "big", 50 %', ["a@b.com"])
    assert facts(engine)["a@b.com"][0] == ('campaign:Spring; "big", 50 %',)


# ---- hostile tables


def test_formula_cells_are_kept_as_they_are_and_disarmed_on_the_way_out(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "formula.csv"
    path.write_text('email,first_name\na@b.com,"=HYPERLINK(""http://x"")"\n')
    engine.directory.import_campaign("Expo", path)
    assert facts(engine)["a@b.com"][1]["first_name"] == '=HYPERLINK("http://x")'
    written = str(engine.directory.write_csv(None, engine.directory.criteria(tag="campaign:Expo"), ["first_name"]))
    assert "\"'=HYPERLINK" in written
    assert ",=" not in written
    assert ',"=' not in written


def test_rows_in_another_encoding_are_rejected_and_the_others_come_in(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "mixed.csv"
    path.write_bytes(
        "\ufeffemail,first_name\nzoe@b.com,Zoé\n".encode() + "rene@b.com,René\n".encode("latin-1") + b"bob@b.com,Bob\n"
    )
    report = engine.directory.import_campaign("Expo", path)
    assert (report.people, report.rejected) == (2, 1)
    assert facts(engine)["zoe@b.com"][1]["first_name"] == "Zoé"


def test_quotes_that_never_close_and_rows_of_another_width_cost_themselves_only(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "quotes.csv"
    path.write_text('email,first_name\na@b.com,"never closed\nb@b.com,Bob\nc@b.com\nd@b.com,D,too,many\ne@b.com,"two\nlines"\n')
    report = engine.directory.import_campaign("Expo", path)
    assert (report.people, report.rejected) == (2, 3)
    assert facts(engine)["e@b.com"][1]["first_name"] == "two\nlines"


@pytest.mark.parametrize("columns", [2_001, 300_000, 1_000_000])
def test_a_table_of_a_million_columns_is_refused_at_once(engine: Engine, tmp_path: Path, columns: int) -> None:
    path = tmp_path / "broad.csv"
    path.write_text("email," + ",".join(f"c{n}" for n in range(columns)) + "\na@b.com" + "," * columns + "\n")
    with pytest.raises(InvalidInput, match=r"columns|first line"):
        engine.directory.import_campaign("Expo", path)
    with pytest.raises(InvalidInput, match=r"columns|first line"):
        engine.import_contacts(path)


def test_a_line_without_end_costs_itself_only(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    with path.open("w") as file:
        file.write("email,first_name\na@b.com,")
        for _ in range(30):
            file.write("x" * 100_000)
        file.write("\nb@b.com,Bob\n")
    report = engine.directory.import_campaign("Expo", path)
    assert (report.people, report.rejected) == (1, 1)


@pytest.mark.parametrize("text", ["", "first_name,plan\nAnn,x\n", "email,email\na@b.com,b\n", "email,\na@b.com,x\n"])
def test_a_table_without_usable_columns_is_refused(engine: Engine, tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.csv"
    path.write_text(text)
    with pytest.raises(InvalidInput):
        engine.directory.import_campaign("Expo", path)
    assert engine.directory.campaigns() == []
    assert engine.directory.count() == 1


def test_delivered_questions_about_somebody_are_not_what_they_did(engine: Engine) -> None:
    report = engine.directory.import_campaign("List", ["a@b.com"])
    answered(engine, "email:a@b.com")
    person = engine.profile("email:a@b.com").id
    engine.take([Draft(type="person.sent", profile=person, data={"kind": "person.enrich"}, source="outbox")])
    assert report.id is not None
    assert engine.directory.undo_import(report.id, also_enriched=True).removed == 1


def test_columns_that_say_how_to_write_to_somebody_are_well_known(engine: Engine, tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    table.write_text("Email,Preferred Language,Style\na@b.com,fr,formal\n", encoding="utf-8")
    engine.directory.import_campaign("List", table)
    found = engine.profile("email:a@b.com").attributes
    assert (found["language"], found["style"]) == ("fr", "formal")
