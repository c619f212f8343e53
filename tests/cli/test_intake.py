"""track, identify and import on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.terminal import Terminal

ORDERS = "customer,day,total,coupon\nann,2026-01-01,42.5,SPRING\nben,2026-01-02,7,\ncleo,not a day,9,\n"
MAP = ("--map", "external_id=customer", "--map", "at=day", "--map", "type==order.placed", "--map", "data=total,coupon")


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS, encoding="utf-8")
    return path


def test_track_takes_an_event_in_and_says_which_segments_it_leads_to(shop: Terminal) -> None:
    said = shop("track", "page.viewed", "--profile", "cleo", "url=/")
    assert "accepted: p_" in said
    assert "entered: visitor" in said
    assert "in: visitor" in said


def test_values_keep_their_equals_signs_their_letters_and_their_json_types(cli: Terminal) -> None:
    odd = ("query=a=b&c=d", "name=Zoë 🙂", 'tags=[1,"two"]', "total=42", 'zip="01234"', "empty=", "gift=true", "note=null")
    cli("track", "order.placed", "--profile", "ann", *odd, "--at", "2026-01-01T12:00:00Z", "--id", "o-1")
    event = cli.json("timeline", "ann")["events"][0]
    assert event["data"] == {
        "query": "a=b&c=d", "name": "Zoë 🙂", "tags": [1, "two"], "total": 42, "zip": "01234", "empty": "", "gift": True, "note": None,
    }  # fmt: skip
    assert event["at"] == 1767268800000
    assert "Zoë 🙂" in cli("timeline", "ann")


def test_the_same_event_id_counts_once(cli: Terminal) -> None:
    assert cli.json("track", "page.viewed", "-p", "ann", "--id", "e-1")["status"] == "accepted"
    assert cli.json("track", "page.viewed", "-p", "ann", "--id", "e-1")["status"] == "duplicate"
    assert len(cli.json("timeline", "ann")["events"]) == 1


def test_track_knows_people_by_any_of_their_names(cli: Terminal) -> None:
    public = cli.json("identify", "--profile", "ann", "--also", "email=Ann@Example.com")["profile"]
    for name in ("ann", "email:ann@example.com", public):
        assert cli.json("track", "page.viewed", "--profile", name)["profile"] == public


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("track", "page.viewed"), "--profile is missing"),
        (("track", "page.viewed", "-p", "ann", "novalue"), "'novalue' is not a value"),
        (("track", "page.viewed", "-p", "ann", "=5"), "name=value"),
        (("track", "page.viewed", "-p", "ann", "--at", "soon"), "at 'soon' is not an instant"),
        (("track", "segment.entered", "-p", "ann"), "Tailorbird's own"),
        (("track", "", "-p", "ann"), "type"),
        (("track", "page.viewed", "-p", "email:nonsense"), "email"),
        (("identify", "country=FR"), "--profile is missing"),
        (("identify", "-p", "ann", "--also", "email"), "is not an identifier"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_event_is_said(cli: Terminal, arguments: tuple[str, ...], told: str) -> None:
    said = cli.fails(*arguments)
    assert said.startswith("error: ")
    assert told in said


def test_identify_sets_attributes_and_joins_identifiers(cli: Terminal) -> None:
    cli("track", "page.viewed", "--profile", "anonymous_id:v-1")
    cli("identify", "--profile", "ann", "country=FR", "seats=5", "--also", "anonymous_id=v-1", "--also", "email=ann@example.com")
    found = cli.json("profile", "email:ann@example.com")
    assert found["attributes"] == {"country": "FR", "seats": 5}
    assert {i["kind"] for i in found["identifiers"]} == {"anonymous_id", "email", "external_id"}
    assert "page.viewed" in cli("timeline", "ann")


def test_a_dry_run_shows_how_a_file_would_be_read_and_loads_nothing(cli: Terminal, orders: Path) -> None:
    said = cli("import", "events", str(orders), *MAP, "--dry-run")
    assert "external_id ← customer" in said
    assert "3 rows: 2 acceptable, 1 not" in said
    assert cli.json("evaluate", "did(order.placed)")["total"] == 0


def test_an_import_loads_what_is_right_and_says_what_is_not(cli: Terminal, orders: Path) -> None:
    said = cli("import", "events", str(orders), *MAP)
    assert "3 rows: 2 loaded, 0 known already, 1 rejected; 2 new profiles" in said
    assert "1 × the time is not understood" in said
    assert "orders.csv.rejected" in said
    assert cli("evaluate", "sum(order.placed.total)", "--profile", "ann") == "42.5\n"


def test_importing_a_file_again_changes_nothing(cli: Terminal, orders: Path) -> None:
    cli("import", "events", str(orders), *MAP)
    again = cli.json("import", "events", str(orders), *MAP)
    assert again["already"] or again["loaded"] == 0
    assert cli("evaluate", "count(order.placed)", "--profile", "ann") == "1\n"


def test_a_mapping_may_come_from_a_file_and_be_amended(cli: Terminal, orders: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("external_id: customer\nat: day\ntype: =nothing.yet\ndata: [total]\n", encoding="utf-8")
    cli("import", "events", str(orders), "--mapping", str(mapping), "--map", "type==order.placed")
    assert cli("evaluate", "sum(order.placed.total)", "--profile", "ann") == "42.5\n"


def test_contacts_are_imported_with_their_attributes(cli: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("id,email,country\nann,ann@example.com,FR\n", encoding="utf-8")
    mapped = ("-m", "external_id=id", "-m", "email=email", "-m", "attributes=country")
    assert "1 rows: 1 loaded" in cli("import", "contacts", str(path), *mapped)
    assert cli.json("profile", "email:ann@example.com")["attributes"]["country"] == "FR"


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (("--map", "external_id=nobody"), "no column 'nobody'"),
        (("--map", "external_id"), "is not a mapping"),
        (("--map", "colour=customer"), "colour"),
    ],
)
def test_a_mapping_that_does_not_fit_is_told_with_the_columns_there_are(
    cli: Terminal, orders: Path, extra: tuple[str, ...], told: str
) -> None:
    assert told in cli.fails("import", "events", str(orders), *extra)


def test_a_file_in_another_encoding_and_with_another_delimiter_is_read(cli: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes("id|city\nann|Orléans\n".encode("latin-1"))
    mapped = ("-m", "external_id=id", "-m", "attributes=city", "--delimiter", "|")
    cli("import", "contacts", str(path), *mapped, "--encoding", "latin-1", "--rejected", str(tmp_path / "rejected.jsonl"))
    assert cli.json("profile", "ann")["attributes"]["city"] == "Orléans"
    assert "'klingon' is not known" in cli.fails("import", "contacts", str(path), *mapped, "--encoding", "klingon")
    assert "delimiter '||'" in cli.fails("import", "contacts", str(path), "--delimiter", "||")


def test_a_mapping_file_that_is_none_is_told(cli: Terminal, orders: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("just words", encoding="utf-8")
    assert "is not a mapping" in cli.fails("import", "events", str(orders), "--mapping", str(mapping))


def test_a_file_that_is_not_there_is_wrong_usage(cli: Terminal) -> None:
    assert "does not exist" in cli.fails("import", "events", "nothing.csv", code=2)
