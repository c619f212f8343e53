"""segments on the command line."""

from __future__ import annotations

import pytest

from cli.terminal import Terminal


def test_segments_are_listed_with_their_sizes(shop: Terminal) -> None:
    for said in (shop("segments"), shop("segments", "list")):
        assert "hot_lead" in said
        assert "kept by hand" in said
    assert {s["name"]: s["size"] for s in shop.json("segments")} == {"hot_lead": 1, "visitor": 2, "testers": 0}


def test_members_are_read_page_by_page(shop: Terminal) -> None:
    first = shop.json("segments", "members", "visitor", "--limit", "1")
    second = shop.json("segments", "members", "visitor", "--limit", "1", "--after", first["next"])
    names = {m["name"] for page in (first, second) for m in page["members"]}
    assert names == {"ann@example.com", "ben"}
    assert second["next"] is None
    assert "ann@example.com" in shop("segments", "members", "hot_lead")


def test_history_overlap_and_drift_are_shown(shop: Terminal) -> None:
    said = shop("segments", "history", "visitor", "--step", "7d")
    assert said.split("\n")[0].split() == ["from", "size", "entered", "left"]
    assert shop.json("segments", "history", "visitor", "--step", "7d")[-1]["size"] == 2
    said = shop("segments", "overlap", "hot_lead", "visitor")
    assert "100.0 %" in said
    assert shop("segments", "overlap") == said
    assert shop("segments", "drift", "visitor").startswith("visitor: ")
    assert "items" in shop.json("segments", "drift", "visitor")


def test_people_are_put_on_a_list_and_taken_off(shop: Terminal) -> None:
    assert shop("segments", "add", "testers", "ann", "ben") == "2 added\n"
    assert shop.json("segments", "add", "testers", "ann") == {"added": 0}
    assert "testers" in shop.json("profile", "ben")["segments"]
    assert shop.json("segments", "remove", "testers", "ben") == {"removed": 1}
    assert "testers" not in shop.json("profile", "ben")["segments"]
    assert "not kept by hand" in shop.fails("segments", "add", "visitor", "ann")
    assert "No profile" in shop.fails("segments", "add", "testers", "nobody")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("members", "visitors"), "Did you mean visitor?"),
        (("members", "visitor", "--after", "x"), "not a cursor"),
        (("history", "visitors"), "Did you mean visitor?"),
        (("history", "visitor", "--step", "0d"), "not a duration"),
        (("history", "visitor", "--since", "tomorrow"), "not an instant"),
        (("overlap", "visitor", "nobody"), "no live segment called nobody"),
        (("drift", "visitors"), "Did you mean visitor?"),
        (("add", "nobody", "ann"), "no live segment called nobody"),
    ],
)
def test_what_cannot_be_answered_is_said(shop: Terminal, arguments: tuple[str, ...], told: str) -> None:
    assert told in shop.fails("segments", *arguments)
