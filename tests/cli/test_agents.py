"""mcp, invoke and personalization on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.terminal import Terminal
from tailorbird.definitions.shipped import PERSONALIZATION


@pytest.fixture
def ann(cli: Terminal) -> Terminal:
    """A terminal on a database with Ann, who opted in and opened an e-mail."""
    cli("identify", "--profile", "ann", "first_name=Ann", "--also", "email=ann@example.com")
    cli("consent", "ann", "email", "marketing", "--explicit")
    cli("track", "email.opened", "--profile", "ann")
    return cli


def test_invoke_tells_people_and_programs(ann: Terminal) -> None:
    said = ann("invoke", "email:ann@example.com", "--query", "what is missing?")
    assert "nurture" in said and "education series, case studies, trial extension" in said
    assert "Today Ann opened an e-mail, the only interaction so far." in said
    found = ann.json("invoke", "ann", "--limit", "1")
    assert found["segmentation"]["segment"] == "nurture" and len(found["crm_context"]["interactions"]) == 1


def test_invoke_says_who_is_not_known(ann: Terminal) -> None:
    assert "contact not found" in ann.fails("invoke", "nobody")
    assert "interaction_limit" in ann.fails("invoke", "ann", "--limit", "0")


def test_the_rules_are_printed_to_be_edited_and_applied(ann: Terminal, tmp_path: Path) -> None:
    said = ann("personalization")
    assert said.rstrip("\n") == PERSONALIZATION.read_text(encoding="utf-8").rstrip("\n")
    file = tmp_path / "ours.yaml"
    file.write_text(said.replace("label: nurture", "label: warm"), encoding="utf-8")
    ann("apply", str(file))
    assert ann.json("invoke", "ann")["segmentation"]["segment"] == "warm"
    again = ann("personalization")
    file.write_text(again, encoding="utf-8")
    assert "label: warm" in again
    ann("apply", str(file))
    assert [item["version"] for item in ann.json("definitions", "list") if item["kind"] == "personalization"] == [1]


def test_the_rules_in_force_are_told_to_programs(ann: Terminal) -> None:
    assert [rule["label"] for rule in ann.json("personalization")["labels"]] == [
        "do-not-contact",
        "new-lead",
        "engaged",
        "nurture",
    ]
