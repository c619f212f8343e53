"""CRMs on the command line: connect, pull, see what would be written, push, ask; over real HTTP to a simulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.terminal import Terminal
from simulated import served
from tailorbird.simulators.custom import CustomSimulator

EXAMPLE = Path(__file__).parents[2] / "examples" / "crm" / "customers.yaml"


def test_a_crm_is_pulled_pushed_and_asked(cli: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    app = CustomSimulator(people=12)
    monkeypatch.setenv("TAILORBIRD_VAULT_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
    monkeypatch.setenv("OUR_KEY", app.key)
    with served(app) as url:
        cli("connect", "custom", "--key-env", "OUR_KEY", "--set", f"spec={EXAMPLE}", "--url", f"{url}/api/v1")
        assert "12 records read: 12 new" in cli("crm", "pull")
        assert "0 records read" in cli("crm", "pull") or "nothing new" in cli("crm", "pull")
        people = cli.json("crm", "query", "--limit", "3")
        assert len(people) == 3
        one = people[0]
        cli("identify", "--profile", f"crm:custom:{one['id']}", "title=Keeper of bees")
        shown = cli("crm", "push", "--dry-run")
        assert one["id"] in shown
        assert "Keeper of bees" in shown
        assert "1 records written" in cli("crm", "push", "custom")
        assert cli.json("crm", "find", one["id"])["title"] == "Keeper of bees"
        assert cli.json("crm", "conflicts") == []
        assert cli.json("crm", "push", "--dry-run")["rows"] == []
        assert "no record" in cli.fails("crm", "find", "nobody")
        assert "attribute=value" in cli.fails("crm", "query", "--where", "city")


def test_without_a_connection_the_mend_is_said(cli: Terminal) -> None:
    assert "No CRM credentials found" in cli.fails("crm", "pull")
