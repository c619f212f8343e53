"""Enrichment from the command line, against simulators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.terminal import Ran, Terminal, run
from simulated import served
from tailorbird.simulators import ApolloSimulator, DropcontactSimulator


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApolloSimulator]:
    apollo, dropcontact = ApolloSimulator(unknown=0), DropcontactSimulator(unknown=0, ready_after=0)
    with served(apollo) as one, served(dropcontact) as other:
        monkeypatch.setenv("TAILORBIRD_APOLLO_URL", one + "/api/v1")
        monkeypatch.setenv("TAILORBIRD_DROPCONTACT_URL", other)
        monkeypatch.setenv("TAILORBIRD_DROPCONTACT_POLL", "1")
        for name in ("APOLLO", "DROPCONTACT"):
            monkeypatch.setenv(f"TAILORBIRD_{name}_KEY", "simulated")
        yield apollo


def ran(cli: Terminal, *words: str) -> Ran:
    return run("--database", cli.database, *words)


def people(cli: Terminal, count: int) -> list[str]:
    for place in range(count):
        cli("identify", "--profile", f"p{place}", "campaign=spring", "--also", f"email=p{place}@shop.example")
    return [f"p{place}" for place in range(count)]


def test_people_are_enriched_and_the_answers_are_theirs(cli: Terminal, asked: ApolloSimulator) -> None:
    people(cli, 2)
    assert "2 begun" in cli("enrich", "contacts", "p0", "p1")
    assert "title" in cli("profile", "p0")
    assert "again after 90 days" in ran(cli, "enrich", "contacts", "p0").err
    found = cli.json("enrich", "statistics")
    assert (found["enriched"], found["waiting"]) == (2, 0)
    assert "apollo" in cli("enrich", "statistics")


def test_a_big_run_has_to_be_confirmed(cli: Terminal, asked: ApolloSimulator, tmp_path: Path) -> None:
    refs = people(cli, 10)
    file = tmp_path / "people.txt"
    file.write_text("\n".join(refs), encoding="utf-8")
    assert "20 credits at most" in cli("enrich", "cost", "--file", str(file))
    assert ran(cli, "--json", "enrich", "contacts", "--file", str(file)).code == 1
    assert asked.log == []
    done = cli.json("enrich", "campaign", "spring", "--yes", "--no-wait")
    assert (done["begun"], done["waiting"]) == (10, 0)
    assert asked.log == []  # the server delivers


def test_without_keys_it_is_a_no_op_with_a_reason(cli: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("APOLLO", "DROPCONTACT"):
        monkeypatch.delenv(f"TAILORBIRD_{name}_KEY", raising=False)
    people(cli, 1)
    done = ran(cli, "enrich", "contacts", "p0")
    assert done.code == 0
    assert "TAILORBIRD_APOLLO_KEY" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["contacts"], "nobody was named"),
        (["contacts", "ghost"], "No profile is known"),
        (["campaign", "ghost"], "Nobody came with a campaign"),
        (["cost", "--definition", "ghost", "x"], "no enrichment called ghost"),
    ],
)
def test_what_is_asked_wrongly_is_told(cli: Terminal, words: list[str], said: str) -> None:
    done = ran(cli, "enrich", *words)
    assert done.code == 1
    assert said in done.err


def test_a_latency_that_is_none_is_told(cli: Terminal) -> None:
    assert "is not a latency" in ran(cli, "simulate", "apollo", "--latency", "slow").err


def test_a_file_of_people_that_is_no_text_is_told(cli: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "people.bin"
    file.write_bytes(bytes(range(256)))
    assert "is not text in UTF-8" in ran(cli, "enrich", "contacts", "--file", str(file)).err


def test_providers_that_fail_are_told_with_what_to_do(
    cli: Terminal, asked: ApolloSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("APOLLO", "DROPCONTACT"):
        monkeypatch.setenv(f"TAILORBIRD_{name}_KEY", "wrong")
    people(cli, 1)
    done = ran(cli, "enrich", "contacts", "p0")
    assert done.code == 1, done
    assert "apollo failed for 1: " in done.err
    assert "--force" in done.err
