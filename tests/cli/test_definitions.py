"""apply, check and definitions on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.terminal import Terminal, run

WRONG = {
    "a.yaml": "kind: segment\nname: odd\nwhen: cuntry = and 3\n",
    "b.yaml": "kind: segment\nname: Bad Name\nwhen: did(page.viewed)\n---\nkind: sgment\nname: c\n",
    "c.yaml": 'kind: segment\nname: lost\nwhen: member_of("nobody")\n',
}


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    folder = tmp_path / "wrong"
    folder.mkdir()
    for name, text in WRONG.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_apply_activates_and_a_second_time_changes_nothing(cli: Terminal, definitions: Path) -> None:
    first = cli("apply", str(definitions))
    assert "active    segment hot_lead v1: 0 members" in first
    assert "5 activated, 5 stored, 0 archived, 0 unchanged" in first
    assert "0 activated, 0 stored, 0 archived, 5 unchanged" in cli("apply", str(definitions))


def test_all_mistakes_of_a_folder_are_told_at_once_with_file_line_and_caret(cli: Terminal, wrong: Path) -> None:
    for command in ("apply", "check"):
        said = cli.fails(command, str(wrong))
        assert "Nothing was applied" in said
        assert f"{wrong / 'a.yaml'}:3:16: " in said
        assert "\n  cuntry = and 3\n           ^^^\n" in said
        assert f"{wrong / 'b.yaml'}:2" in said
        assert "Did you mean segment?" in said
        assert f"{wrong / 'c.yaml'}:3" in said
    assert cli.json("definitions") == []


def test_mistakes_are_json_where_json_is_asked_for(cli: Terminal, wrong: Path) -> None:
    ran = run("-d", cli.database, "--json", "apply", str(wrong))
    assert ran.code == 1
    error = ran.json["error"]
    assert error["code"] == "invalid_definition"
    assert len(error["mistakes"]) >= 4
    assert ran.err == ""


def test_a_dry_run_shows_who_would_enter_and_leave_and_changes_nothing(shop: Terminal, definitions: Path) -> None:
    path = definitions / "all.yaml"
    path.write_text(path.read_text().replace("did(page.viewed)", 'country = "FR"'), encoding="utf-8")
    said = shop("apply", str(definitions), "--dry-run")
    assert "visitor: 1 of 2 (50.0 %)" in said
    assert "would enter: 0" in said
    assert "would leave: 1 (for example ben)" in said
    assert "hot_lead" not in said
    (found,) = shop.json("apply", str(definitions), "--dry-run")
    assert (found["segment"], found["leaving"]) == ("visitor", 1)
    assert "visitor" in shop.json("profile", "ben")["segments"]


def test_check_says_what_applying_would_do(shop: Terminal, definitions: Path) -> None:
    assert "0 to activate, 0 to store, 0 to archive, 5 unchanged" in shop("check", str(definitions))


def test_definitions_are_listed_with_version_and_status(shop: Terminal) -> None:
    for said in (shop("definitions"), shop("definitions", "list")):
        assert "hot_lead" in said
        assert "active" in said
    assert {d["name"] for d in shop.json("definitions", "--kind", "feature")} == {"views_7d", "last_page"}
    assert shop.json("definitions", "list", "--status", "archived") == []
    assert "nonsense" in shop.fails("definitions", "--status", "nonsense", code=2)


def test_a_version_can_be_stored_activated_and_rolled_back(shop: Terminal, definitions: Path) -> None:
    path = definitions / "all.yaml"
    path.write_text(path.read_text().replace(">= 3", ">= 30"), encoding="utf-8")
    assert "0 activated, 1 stored" in shop("apply", str(definitions), "--no-activate")
    assert shop.json("profile", "ann")["segments"] == ["hot_lead", "visitor"]
    assert "active    segment hot_lead v2: 0 members" in shop("definitions", "activate", "segment", "hot_lead")
    assert shop.json("profile", "ann")["segments"] == ["visitor"]
    assert "active    segment hot_lead v1: 1 members" in shop("definitions", "rollback", "segment", "hot_lead")
    assert shop.json("profile", "ann")["segments"] == ["hot_lead", "visitor"]
    assert "v2" in shop("definitions", "activate", "segment", "hot_lead", "2")


def test_an_archived_segment_is_gone_and_one_that_is_needed_stays(shop: Terminal, tmp_path: Path) -> None:
    needs = tmp_path / "needs.yaml"
    needs.write_text('kind: segment\nname: frequent\nwhen: member_of("visitor") and country = "FR"\n', encoding="utf-8")
    shop("apply", str(needs))
    assert "frequent" in shop.fails("definitions", "archive", "segment", "visitor")
    assert "archived  segment hot_lead v1" in shop("definitions", "archive", "segment", "hot_lead")
    assert "hot_lead" not in shop("segments")


def test_what_does_not_exist_is_told(shop: Terminal) -> None:
    assert "hot_leed" in shop.fails("definitions", "activate", "segment", "hot_leed")
    assert "no earlier version" in shop.fails("definitions", "rollback", "segment", "hot_lead")
    assert "does not exist" in shop.fails("apply", "nowhere/", code=2)
