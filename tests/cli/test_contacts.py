"""The commands of the small CRM."""

from __future__ import annotations

from cli.terminal import Terminal
from tailorbird.cli.output import instant_text


def test_a_contact_goes_through_the_life_cycle(cli: Terminal) -> None:
    cli("identify", "--profile", "ann", "email=ann@acme.io", "--also", "email=ann@acme.io")
    assert cli("contacts", "stage", "ann").startswith("[new] · enriched")
    told = cli.json("contacts", "engage", "ann", "reply_received", "text=I love this", "--at", "2026-01-01")
    assert (told["stage"], told["sentiment"]) == ("engaged", "positive")
    assert "leads back" in cli.fails("contacts", "move", "ann", "new")
    assert "stage: new" in cli("contacts", "move", "ann", "new", "--reason", "a test")
    assert "engaged → new  (hand: a test)" in cli("contacts", "stage", "ann")
    assert "disqualified" in cli("contacts", "disqualify", "ann", "--reason", "a bot")
    cli("identify", "--profile", "ben", "status=gold")
    assert "no stage" in cli("contacts", "stage", "ben")


def test_notes_tasks_and_deals_are_kept(cli: Terminal) -> None:
    cli("identify", "--profile", "ann", "email=ann@acme.io", "--also", "email=ann@acme.io")
    assert "noted" in cli("contacts", "note", "ann", "Met at the fair", "--by", "bob")
    assert "Met at the fair" in cli("contacts", "notes", "ann")
    task = cli.json("contacts", "task", "ann", "Call", "--due", "2026-03-01", "--assignee", "bob")
    cli("contacts", "task", "ann", "Write")
    assert "2026-03-01" in cli("contacts", "tasks", "--assignee", "bob", "--about", "ann")
    assert [t["title"] for t in cli.json("contacts", "tasks", "--limit", "1")["tasks"]] == ["Call"]
    assert "done" in cli("contacts", "done", task["id"], "--outcome", "yes")
    assert "done already" in cli.fails("contacts", "cancel", task["id"])
    assert len(cli.json("contacts", "tasks", "--status", "all")["tasks"]) == 2
    deal = cli.json("contacts", "deal", "ann", "Toys", "--amount", "100", "--currency", "eur", "--due", "2026-05-01")
    assert "proposal" in cli("contacts", "advance", deal["id"], "proposal")
    assert "50.00 EUR" in cli("contacts", "pipeline")
    assert "won" in cli("contacts", "win", deal["id"], "--amount", "120")
    assert "120.00 EUR" in cli("contacts", "deals", "--with", "ann", "--status", "won")
    other = cli.json("contacts", "deal", "ann", "Balls")
    assert "lost" in cli("contacts", "lose", other["id"], "--reason", "too dear")


def test_companies_have_their_contacts(cli: Terminal) -> None:
    cli("identify", "--profile", "ann", "first_name=Ann", "--also", "email=ann@acme.io")
    assert "company: p_" in cli("contacts", "company", "ann")
    assert "Ann" in cli("contacts", "people", "acme.io")
    assert "No profile is known" in cli.fails("contacts", "people", "nobody.example")


def test_a_due_date_that_no_calendar_has_is_refused_and_shown_in_ms(cli: Terminal) -> None:
    cli("identify", "--profile", "ann", "email=ann@acme.io")
    for due in ("1700000000000000", "99999999999999999999"):
        assert "not micro- or nanoseconds" in cli.fails("contacts", "deal", "ann", "Toys", "--due", due)
        assert "not micro- or nanoseconds" in cli.fails("contacts", "task", "ann", "Call", "--due", due)
        assert "not micro- or nanoseconds" in cli.fails("contacts", "tasks", "--due", due)
        assert "not micro- or nanoseconds" in cli.fails("evaluate", "did(page.viewed)", "--profile", "ann", "--as-of", due)
    assert instant_text(1_700_000_000_000_000) == "1700000000000000 ms"
