"""profile, timeline, why, evaluate, features, outbox and export on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.terminal import Terminal


def test_a_profile_shows_names_attributes_tags_consent_and_segments(shop: Terminal) -> None:
    shop("tag", "ann", "beta")
    shop("consent", "ann", "email", "marketing")
    said = shop("profile", "email:ann@example.com")
    for part in ("(person)", "external_id", "ann@example.com", "country", "FR", "tags: beta", "segments: hot_lead, visitor"):
        assert part in said
    assert "consent: email/marketing given" in said
    assert shop.json("profile", "ann")["segments"] == ["hot_lead", "visitor"]


def test_a_timeline_is_read_page_by_page_newest_first(shop: Terminal) -> None:
    seen, cursor = [], None
    while True:
        page = shop.json("timeline", "ann", "--limit", "2", *(("--before", cursor) if cursor else ()))
        seen += [e["type"] for e in page["events"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen.count("page.viewed") == 3
    assert seen[-1] == "profile.updated"
    assert "page.viewed" in shop("timeline", "ann", "--limit", "100")
    assert "not a cursor" in shop.fails("timeline", "ann", "--before", "x")
    assert "limit" in shop.fails("timeline", "ann", "--limit", "0", code=2)


def test_why_tells_each_clause_and_the_events_behind_it(shop: Terminal) -> None:
    said = shop("why", "ann", "hot_lead")
    assert said.startswith("ann is in hot_lead\n✓ ")
    assert "3 of 3" in said
    assert "until" in said
    said = shop("why", "ben", "hot_lead")
    assert said.startswith("ben is not in hot_lead\n")
    assert "✗" in said
    assert "ann is not in hot_lead" in shop("why", "ann", "hot_lead", "--as-of", "2020-01-01")
    assert shop.json("why", "ann", "hot_lead")["value"] is True


def test_an_expression_is_evaluated_for_one_person_or_counted(shop: Terminal) -> None:
    assert shop("evaluate", "count(page.viewed)", "--profile", "ann") == "3\n"
    assert shop("evaluate", 'country = "FR"', "-p", "ben") == "unknown\n"
    assert shop("evaluate", "did(page.viewed)") == "2 of 2 (100.0 %)\n"
    assert shop("evaluate", "did(page.viewed)", "--as-of", "2020-01-01") == "0 of 2\n"
    answer = shop.json("evaluate", 'member_of("hot_lead")')
    assert (answer["count"], answer["total"]) == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("evaluate", "count(page.viewed"), "^"),
        (("evaluate", "count(page.viewed)"), "not a condition"),
        (("evaluate", 'cuntry = "FR" and'), "line 1, column"),
        (("evaluate", 'country = "FR"', "--as-of", "yesterday"), "not an instant"),
        (("evaluate", 'country = "FR"', "-p", "nobody"), "No profile is known as 'nobody'"),
        (("profile", "nobody"), "No profile is known as 'nobody'"),
        (("timeline", "nobody"), "No profile"),
        (("why", "ann", "hot_leed"), "Did you mean hot_lead?"),
        (("why", "nobody", "hot_lead"), "No profile"),
        (("features", "ann", "views_8d"), "views_8d"),
        (("export", "nobody"), "No profile"),
        (("outbox", "--requeue", "nothing"), "'nothing'"),
    ],
)
def test_what_cannot_be_answered_is_said(shop: Terminal, arguments: tuple[str, ...], told: str) -> None:
    assert told in shop.fails(*arguments)


def test_features_are_shown_for_a_person_by_view_and_as_of_any_instant(shop: Terminal) -> None:
    assert shop("features", "ann") == "last_page  /pricing\nviews_7d   3\n"
    assert shop.json("features", "ann", "browsing") == {"views_7d": 3}
    assert shop.json("features", "ann", "--as-of", "2020-01-01") == {"views_7d": 0, "last_page": None}
    assert "count(page.viewed, within 7d)" in shop("features")
    assert {f["name"] for f in shop.json("features")} == {"views_7d", "last_page"}


def test_the_outbox_is_listed(shop: Terminal) -> None:
    assert shop.json("outbox") == {"actions": [], "next": None}
    assert "sent" in shop.fails("outbox", "--status", "nonsense", code=2)


def test_an_export_is_one_json_document_on_the_screen_or_in_a_file(shop: Terminal, tmp_path: Path) -> None:
    shown = json.loads(shop("export", "ann"))
    path = tmp_path / "ann.json"
    shop("export", "ann", "--to", str(path))
    written = json.loads(path.read_text(encoding="utf-8"))
    shown.pop("exported_at", None)
    written.pop("exported_at", None)
    assert shown == written
    assert "ann@example.com" in json.dumps(shown)
    assert "error: " in shop.fails("export", "ann", "--to", str(tmp_path / "no" / "ann.json"), code=2)
