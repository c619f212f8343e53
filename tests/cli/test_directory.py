"""Commands about many people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.terminal import Terminal


@pytest.fixture
def people(cli: Terminal, tmp_path: Path) -> Terminal:
    table = tmp_path / "expo.csv"
    table.write_text("email,First Name,plan\nAnn@x.com,Ann,pro\nben@x.com,Ben,free\nann@X.com,Ann,pro\nbad,,\n")
    cli("identify", "--profile", "email:ben@x.com", "plan=team")
    said = cli("campaign", "import", "Expo", str(table), "--field", "channel=booth", "--no-enrich")
    assert "4 rows: 2 people came, 1 of them new; 1 rows say nothing new, 1 rejected" in said
    return cli


def test_people_are_found_counted_and_shown(people: Terminal) -> None:
    assert "Ann" in people("directory", "find", "--tag", "campaign:Expo", "--sort", "name")
    assert people("directory", "find", "--where", "plan in pro,free", "--count").strip() == "2"
    found = people.json("directory", "find", "--domain", "x.com", "--limit", "1", "--sort", "name")
    assert found["people"][0]["email"] == "ann@x.com"
    assert people.json("directory", "find", "--name", "bne", "--after", found["next"], "--sort", "name")["people"] == []
    assert people.json("directory", "statistics")["total"] == 2
    assert "people" in people("directory", "statistics")


def test_many_are_changed_and_everybody_is_never_meant_by_accident(people: Terminal) -> None:
    assert "2 people, 2 changed" in people("directory", "tag", "vip", "--domain", "x.com")
    assert "1 people, 1 changed" in people("directory", "tag", "vip", "--remove", "--profile", "email:ann@x.com")
    assert "1 people, 1 changed" in people("directory", "update", "score=5", "--tag", "vip")
    assert "everybody" in people.fails("directory", "update", "score=5")
    assert people.json("profile", "email:ben@x.com")["attributes"]["score"] == 5


def test_a_campaign_is_listed_and_undone(people: Terminal) -> None:
    found = people.json("campaign", "list")
    assert "Expo" in people("campaign", "list")
    said = people("campaign", "undo", found[0]["id"])
    assert "1 people removed, 1 as they were before, 0 people kept" in said
    assert people.json("profile", "email:ben@x.com")["attributes"] == {"plan": "team"}
    people.fails("campaign", "undo", found[0]["id"])


def test_a_dry_run_shows_how_a_table_is_read(cli: Terminal, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("E-Mail,Job Title\na@b.com,CEO\n")
    assert '"title":"Job Title"' in cli("campaign", "import", "Expo", str(table), "--dry-run")
    assert cli.json("directory", "find")["people"] == []


def test_files_go_out_and_come_in(people: Terminal, tmp_path: Path) -> None:
    out, table = tmp_path / "contacts.json", tmp_path / "people.csv"
    assert "2 contacts written" in people("exchange", "write", str(out))
    assert set(json.loads(out.read_text())) == {"ann@x.com", "ben@x.com"}
    assert "2 known already" not in people("exchange", "read", str(out))
    assert "2 known already" in people("exchange", "read", str(out))
    out.write_text('{"x": {}}')
    assert "Nothing of it was taken in" in people.fails("exchange", "read", str(out))
    assert "2 people written" in people("directory", "csv", str(table), "--fields", "plan")
    assert table.read_text().splitlines()[0] == "id,email,name,status,tags,plan"


def test_duplicates_are_listed_and_merged(people: Terminal) -> None:
    for address in ("eva.adams@x.com", "evaadams@x.com"):
        people("identify", "--profile", f"email:{address}", "name=Eva Adams")
    assert "the same name" in people("duplicates", "list")
    pair = people.json("duplicates", "list")[0]
    assert "undo with" in people("duplicates", "merge", pair["id"])
    assert "nobody" in people("duplicates", "merge", "--at-least", "0.95")
    people.fails("duplicates", "merge")
    people.fails("duplicates", "merge", "--at-least", "0.2")


def test_a_campaign_file_that_loses_something_is_refused_and_utf_16_is_read(cli: Terminal, tmp_path: Path) -> None:
    table = tmp_path / "expo.csv"
    table.write_text("Email,email,First Name,first_name\na@x.com,b@x.com,A,B\n")
    said = cli.fails("campaign", "import", "Expo", str(table), "--no-enrich")
    assert "'Email' and 'email'" in said and "'First Name' and 'first_name'" in said
    assert "'Email' and 'email'" in cli.fails("import", "contacts", str(table))
    table.write_text("email,plan\na@x.com,pro\n", encoding="utf-16")
    assert "encoding 'klingon'" in cli.fails("campaign", "import", "Expo", str(table), "--encoding", "klingon")
    assert "delimiter 'xx'" in cli.fails("campaign", "import", "Expo", str(table), "--delimiter", "xx")
    assert "1 people came" in cli("campaign", "import", "Expo", str(table), "--no-enrich")
